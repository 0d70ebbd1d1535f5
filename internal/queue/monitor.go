package queue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/hibiken/asynqmon"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// describeTimeout bounds one call of Describe: a page shows up to a hundred.
const describeTimeout = 2 * time.Second

// Describe turns a payload into what asynqmon shows (tenant, resource, workload,
// attempt, why parked). It must not fail: what it cannot find out, it leaves out.
// Called from the goroutines of HTTP requests, once per task shown; ctx ends after 2 s.
type Describe func(ctx context.Context, r Ref) string

// Monitor serves asynqmon under root ("/queues"), read and write, WITHOUT
// authentication: mount it behind it. Writes must prove that they come from a page
// of the same origin; the content security policy keeps the page to itself, and what
// asynqmon's page would ask of other hosts (web fonts) is taken out of it. The second result closes its
// connections. Invalid for a root without a leading slash or an unreadable o.
func Monitor(o Options, root string, d Describe) (http.Handler, func() error, error) {
	if !strings.HasPrefix(root, "/") || strings.Trim(root, "/") == "" {
		return nil, nil, tenantry.Errorf(tenantry.Invalid, `queue monitor: root %q does not look like "/queues"`, root)
	}
	opt, err := o.parse()
	if err != nil {
		return nil, nil, err
	}
	root = strings.TrimRight(root, "/")
	mon := asynqmon.New(asynqmon.Options{
		RootPath:         root,
		RedisConnOpt:     connector{opt},
		PayloadFormatter: formatter(d),
	})
	pages := ownOnly(mon, root+"/api/")
	policy, err := contentPolicy(pages, root)
	if err != nil {
		_ = mon.Close()
		return nil, nil, err
	}
	return guard(pages, root+"/api/", policy), mon.Close, nil
}

func formatter(d Describe) asynqmon.PayloadFormatter {
	return asynqmon.PayloadFormatterFunc(func(_ string, payload []byte) string {
		ref, err := decode(payload)
		if err != nil {
			return "unreadable delivery" // not the payload: it is not ours
		}
		ctx, cancel := context.WithTimeout(context.Background(), describeTimeout)
		defer cancel()
		return d(ctx, ref)
	})
}

// guard answers reads, and writes under api from the same origin.
func guard(next http.Handler, api, policy string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		switch r.Method {
		case http.MethodGet, http.MethodHead:
		case http.MethodPost, http.MethodDelete:
			if !strings.HasPrefix(r.URL.Path, api) {
				h.Set("Allow", "GET, HEAD")
				http.Error(w, "this path can only be read", http.StatusMethodNotAllowed)
				return
			}
			if !sameOrigin(r) {
				http.Error(w, "a write must come from this page", http.StatusForbidden)
				return
			}
		default:
			h.Set("Allow", "GET, HEAD, POST, DELETE")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// sameOrigin reports whether what the browser says about a request's origin proves
// that it is ours. Every header that is there must agree, and one must be there:
// a request that says nothing is refused (no browser of this decade sends such).
func sameOrigin(r *http.Request) bool {
	proved := false
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		if site != "same-origin" {
			return false
		}
		proved = true
	}
	for _, name := range []string{"Origin", "Referer"} {
		value := r.Header.Get(name)
		if value == "" {
			continue
		}
		u, err := url.Parse(value)
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
			return false
		}
		proved = true
	}
	return proved
}

// foreignLink is an element that has a browser ask another host for a style sheet, a font or an icon.
var foreignLink = regexp.MustCompile(`(?i)<link\b[^>]*\bhref="?(https?:)?//[^>]*>`)

// ownOnly takes the links to other hosts out of pages.
func ownOnly(next http.Handler, api string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, api) {
			next.ServeHTTP(w, r)
			return
		}
		page := &pageBuffer{header: w.Header(), status: http.StatusOK} // files of the program, 2 MB at most
		next.ServeHTTP(page, r)
		body := page.Bytes()
		if page.header.Get("Content-Type") == "" {
			page.header.Set("Content-Type", http.DetectContentType(body))
		}
		if strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
			body = foreignLink.ReplaceAll(body, nil)
		}
		w.WriteHeader(page.status)
		_, _ = w.Write(body) // the caller is gone: nobody to tell
	})
}

var inlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

// contentPolicy allows the page's own inline scripts by their hashes and nothing
// from elsewhere. Styles are inline because its widget library injects them.
func contentPolicy(page http.Handler, root string) (string, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, root+"/", http.NoBody)
	if err != nil {
		return "", tenantry.E(tenantry.Internal, "read the page of the queue monitor", err)
	}
	body := &pageBuffer{header: make(http.Header), status: http.StatusOK}
	page.ServeHTTP(body, req)
	scripts := inlineScript.FindAllSubmatch(body.Bytes(), -1)
	if len(scripts) == 0 {
		return "", tenantry.Errorf(tenantry.Internal, "read the page of the queue monitor: it has no script")
	}
	allowed := "'self'"
	for _, s := range scripts {
		sum := sha256.Sum256(s[1])
		allowed += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'self'; script-src " + allowed + "; style-src 'self' 'unsafe-inline'; " +
		"img-src 'self' data:; font-src 'self'; connect-src 'self'; object-src 'none'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'self'", nil
}

// pageBuffer is a ResponseWriter that keeps the answer.
type pageBuffer struct {
	bytes.Buffer
	header http.Header
	status int
}

func (b *pageBuffer) Header() http.Header    { return b.header }
func (b *pageBuffer) WriteHeader(status int) { b.status = status }
