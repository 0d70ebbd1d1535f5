package graphsim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// ticket is what a pre-authenticated download URL carries.
type ticket struct {
	Tenant  string        `json:"t"`
	Drive   string        `json:"d"`
	Item    string        `json:"i"`
	Version string        `json:"v,omitempty"` // of an old version
	User    string        `json:"u,omitempty"` // on whose behalf it was asked for
	Link    string        `json:"l,omitempty"` // of a sharing link: its permission
	Expires time.Duration `json:"e,omitempty"` // simulated; a link's own end is its permission's
}

// downloadURL is the pre-authenticated URL of a file, or of one of its old versions.
func (c *call) downloadURL(d *drive, item *driveItem, version string) string {
	k := ticket{Tenant: c.t.id, Drive: d.id, Item: item.id, Version: version, User: c.user, Expires: c.s.elapsed() + c.s.o.LinkLife}
	return c.filesRoot() + "/download/" + c.s.writeTicket(k) + "?tempauth=v1"
}

// writeTicket signs a ticket; the same ticket is always the same text.
func (s *Server) writeTicket(k ticket) string {
	data, _ := json.Marshal(k) //nolint:errchkjson // strings and a number
	return base64.RawURLEncoding.EncodeToString(append(s.sign(data), data...))
}

func (s *Server) readTicket(text string) (k ticket, ok bool) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(data) < signatureSize || string(data[:signatureSize]) != string(s.sign(data[signatureSize:])) {
		return ticket{}, false
	}
	return k, json.Unmarshal(data[signatureSize:], &k) == nil
}

// serveFiles is the host of pre-authenticated URLs. It refuses an Authorization
// header: a client that sends one leaks its token to another host.
func (s *Server) serveFiles(w http.ResponseWriter, r *http.Request) {
	kind, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	requestID := newID()
	if r.Header.Get("Authorization") != "" && !s.lenient(r) {
		fail(http.StatusUnauthorized, "unauthenticated", "A pre-authenticated URL does not take an Authorization header.").write(w, requestID, requestID)
		return
	}
	serve := func(w http.ResponseWriter) {
		done, refused := s.admitFiles(w, r, id)
		if refused != nil {
			refused.write(w, requestID, requestID)
			return
		}
		counted := &countedAnswer{ResponseWriter: w}
		defer func() { done(counted.n) }()
		w = counted
		switch kind {
		case "download":
			s.serveDownload(w, r, id)
		case sharedFiles:
			s.serveLink(w, r, id)
		case "upload", "attachment":
			s.serveUpload(w, r, id)
		case "api":
			s.serveImport(w, r)
		default:
			http.NotFound(w, r)
		}
	}
	tenant := ""
	if k, ok := s.readTicket(id); ok {
		tenant = k.Tenant
		s.stats.request(tenant, "files")
	}
	if k, ok := s.readImportTicket(r); ok {
		tenant = k.Tenant
	}
	if fault := s.faults.take(faultQuery{method: r.Method, path: r.URL.Path, tenant: tenant}); fault != nil {
		if fault.apply(w, r, serve) {
			return
		}
	}
	serve(w)
}

func (s *Server) serveDownload(w http.ResponseWriter, r *http.Request, id string) {
	requestID := newID()
	k, ok := s.readTicket(id)
	if !ok || k.Expires < s.elapsed() {
		fail(http.StatusUnauthorized, "unauthenticated", "The download URL has expired.").write(w, requestID, requestID)
		return
	}
	data, etag, err := s.downloadable(k)
	if err != nil {
		asAPIError(err).write(w, requestID, requestID)
		return
	}
	writeContent(w, r, data, etag)
}

// writeContent answers with the bytes of a file, or with the range that is asked for.
func writeContent(w http.ResponseWriter, r *http.Request, data content, etag string) {
	requestID := newID()
	rd, err := data.open()
	if err != nil {
		asAPIError(err).write(w, requestID, requestID)
		return
	}
	defer rd.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", etag)
	if requested := r.Header.Get("Range"); requested != "" {
		switch {
		case data.size() == 0 || emptySuffix.MatchString(requested):
			w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", data.size()))
			fail(http.StatusRequestedRangeNotSatisfiable, "invalidRange", "The range cannot be satisfied.").write(w, requestID, requestID)
			return
		case strings.Contains(requested, ","): // several ranges are not served: the whole is
			r.Header.Del("Range")
		}
	}
	http.ServeContent(w, r, "", time.Time{}, rd)
}

// emptySuffix is a range of the last no bytes, which cannot be satisfied: net/http
// answers it with 206, as it answers any range of an empty file with 200, where the
// service has been seen to answer 416.
var emptySuffix = regexp.MustCompile(`^bytes=\s*-\s*0+\s*$`)

func (s *Server) downloadable(k ticket) (content, string, error) {
	t := s.Tenant(k.Tenant)
	if t == nil {
		return nil, "", itemNotFound()
	}
	d, err := t.openDrive(k.Drive)
	if err != nil {
		return nil, "", itemNotFound()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	item := d.items[k.Item]
	if item == nil || item.deleted || !item.isFile() {
		return nil, "", itemNotFound()
	}
	if refused := s.unreadable(item); refused != nil {
		return nil, "", refused
	}
	if k.Version != "" {
		old := item.version(k.Version)
		if old == nil {
			return nil, "", itemNotFound()
		}
		return old.data, `"` + k.Version + `"`, nil
	}
	item.read = true
	return item.data, item.etag(), nil
}
