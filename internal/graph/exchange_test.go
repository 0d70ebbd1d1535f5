package graph

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

const rootItem = `{"id":"root-1"}`

// TestTries holds the one policy against answers that services really give: how
// often a read is asked, and what comes of it.
func TestTries(t *testing.T) {
	html := "<html><body>Service Unavailable " + strings.Repeat("x", 100<<10) + "</body></html>"
	ok := answerWith(200, rootItem)
	for _, test := range []struct {
		name  string
		serve http.HandlerFunc
		kind  tenantry.Kind
		code  string
		tries int
	}{
		{"ok", ok, "", "", 1},
		{"html 503", inTurn(answerWith(503, html, "Content-Type", "text/html"), ok), "", "", 2},
		{"empty 503", inTurn(answerWith(503, ""), ok), "", "", 2},
		{"504 all the time", answerWith(504, ""), tenantry.Transient, "", 5},
		{"cut before the answer", inTurn(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ok), "", "", 2},
		{"cut within the answer", inTurn(cutAfter(200, `{"id":"ro`), ok), "", "", 2},
		{"html with status 200", inTurn(answerWith(200, html), ok), "", "", 2},
		{"nothing with status 204", answerWith(204, ""), tenantry.Transient, codeIncomplete, 5},
		{"null", answerWith(200, "null"), tenantry.Transient, codeIncomplete, 5},
		{"an object without id", answerWith(200, "{}"), tenantry.Transient, codeIncomplete, 1},
		{"fraction to wait", inTurn(answerWith(429, "", "Retry-After", "0.02"), ok), "", "", 2},
		{"long wait", answerWith(429, `{"error":{"code":"ActivityLimitReached"}}`, "Retry-After", "27"), tenantry.Throttled, "ActivityLimitReached", 1},
		{"503 with a long wait", answerWith(503, "", "Retry-After", "120"), tenantry.Throttled, "", 1},
		{"throttled in words only", inTurn(answerWith(403, `{"error":{"code":"ApplicationThrottled"}}`), ok), "", "", 2},
		{"denied", answerWith(403, `{"error":{"code":"accessDenied","message":"no"}}`), tenantry.Denied, "accessDenied", 1},
		{"permission missing", answerWith(403, `{"error":{"code":"Authorization_RequestDenied"}}`), tenantry.Reconnect, "Authorization_RequestDenied", 1},
		{"bad request", answerWith(400, `{"error":{"code":"","message":""}}`), tenantry.Invalid, "", 1},
		{"redirect nobody expects", answerWith(302, "", "Location", "https://evil.example/"), tenantry.Transient, codeIncomplete, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, tenant := newMicrosoft(t, test.serve, nil)
			id, err := tenant.DriveRoot(t.Context(), "b!drive")
			wantKind(t, err, test.kind)
			if err == nil && id != "root-1" {
				t.Errorf("id is %q", id)
			}
			if got := tenantry.CodeOf(err); got != test.code {
				t.Errorf("code is %q, want %q", got, test.code)
			}
			if got := len(m.requests()); got != test.tries {
				t.Errorf("%d requests, want %d", got, test.tries)
			}
			if test.kind == tenantry.Throttled && time.Until(tenantry.UntilOf(err)) < 20*time.Second {
				t.Errorf("until is %v", tenantry.UntilOf(err))
			}
		})
	}
}

func TestThrottleWithoutTimeGetsOne(t *testing.T) {
	_, tenant := newMicrosoft(t, answerWith(429, ""), nil)
	before := time.Now()
	_, err := tenant.DriveRoot(t.Context(), "b!drive")
	wantKind(t, err, tenantry.Throttled)
	if !tenantry.UntilOf(err).After(before) {
		t.Errorf("until is %v: a task could not be parked", tenantry.UntilOf(err))
	}
}

// closedBook refuses every call.
type closedBook struct{}

func (closedBook) Acquire(context.Context, throttle.Call) (*throttle.Permit, error) {
	return nil, &tenantry.Error{Kind: tenantry.Throttled, Op: "wait", Code: "cooldown/x", Until: time.Now().Add(time.Minute)}
}

// TestWhoThrottled: only what Microsoft answered may count against an item.
func TestWhoThrottled(t *testing.T) {
	m, tenant := newMicrosoft(t, answerWith(503, "", "Retry-After", "120"), nil)
	var answer interface{ Answered() int }
	_, err := tenant.Download(t.Context(), "b!drive", "item", "", 0)
	wantKind(t, err, tenantry.Throttled)
	if !errors.As(err, &answer) || answer.Answered() != 503 {
		t.Errorf("Microsoft's answer does not show: %v", err)
	}
	m.client.limiter = closedBook{}
	_, err = tenant.Download(t.Context(), "b!drive", "item", "", 0)
	wantKind(t, err, tenantry.Throttled)
	if errors.As(err, &answer) {
		t.Errorf("the account book's refusal looks like an answer: %v", err)
	}
}

func TestEveryRequestIsDressed(t *testing.T) {
	m, tenant := newMicrosoft(t, inTurn(answerWith(503, ""), answerWith(200, rootItem)), nil)
	if _, err := tenant.DriveRoot(t.Context(), "b!drive"); err != nil {
		t.Fatal(err)
	}
	asked := m.requests()
	ids := map[string]bool{}
	for _, r := range asked {
		if !strings.HasPrefix(r.header.Get("Authorization"), "Bearer ey") {
			t.Errorf("authorization is %q", r.header.Get("Authorization"))
		}
		if got := r.header.Get("User-Agent"); !strings.HasPrefix(got, "ISV|Tenantry|Tenantry/") {
			t.Errorf("user agent is %q", got)
		}
		ids[r.header.Get("Client-Request-Id")] = true
	}
	if len(ids) != len(asked) || ids[""] {
		t.Errorf("client-request-ids are not fresh: %v", ids)
	}
	if len(m.limiter.calls) != 2 || m.limiter.calls[0].Tenant != testTenant || m.limiter.calls[0].Units != 1 {
		t.Errorf("the account book was asked for %+v", m.limiter.calls)
	}
}

// TestUnauthorized: the first 401 means that the token is no longer good, the
// second one that the tenant is not.
func TestUnauthorized(t *testing.T) {
	refuse := answerWith(401, `{"error":{"code":"InvalidAuthenticationToken","message":"expired"}}`,
		"WWW-Authenticate", `Bearer realm="", error=insufficient_claims, claims=eyJub3QiOiJxdW90ZWQifQ==`)
	m, tenant := newMicrosoft(t, inTurn(refuse, answerWith(200, rootItem)), nil)
	if _, err := tenant.DriveRoot(t.Context(), "b!drive"); err != nil {
		t.Fatal(err)
	}
	if got := m.tokenCount(); got != 2 {
		t.Errorf("%d tokens asked for, want 2", got)
	}

	m, tenant = newMicrosoft(t, refuse, nil)
	_, err := tenant.DriveRoot(t.Context(), "b!drive")
	wantKind(t, err, tenantry.Reconnect)
	if got := len(m.requests()); got != 2 {
		t.Errorf("%d requests, want 2", got)
	}

	// Exchange says so of one mailbox without a licence.
	_, tenant = newMicrosoft(t, answerWith(401, `{"error":{"code":"AuthenticationError"}}`), nil)
	_, err = tenant.MailFolderChanges(t.Context(), "u1", "")
	wantKind(t, err, tenantry.Denied)
}

// TestWritesAreNotDoubled: a write that may have been carried out is not sent
// again; one that was refused at the door is.
func TestWritesAreNotDoubled(t *testing.T) {
	created := answerWith(201, `{"id":"m1"}`)
	for _, test := range []struct {
		name  string
		serve http.HandlerFunc
		kind  tenantry.Kind
		tries int
	}{
		{"throttled", inTurn(answerWith(429, "", "Retry-After", "0.01"), created), "", 2},
		{"busy", inTurn(answerWith(503, ""), created), "", 2},
		{"server error", answerWith(500, ""), tenantry.Transient, 1},
		{"time-out of a gateway", answerWith(504, ""), tenantry.Transient, 1},
		{"cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, tenantry.Transient, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, tenant := newMicrosoft(t, test.serve, nil)
			_, err := tenant.CreateMessage(t.Context(), "u1", "f1", []byte(`{"subject":"x"}`))
			wantKind(t, err, test.kind)
			if got := len(m.requests()); got != test.tries {
				t.Errorf("%d requests, want %d", got, test.tries)
			}
		})
	}
}

func TestCanceled(t *testing.T) {
	arrived := make(chan struct{})
	_, tenant := newMicrosoft(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := tenant.DriveRoot(ctx, "b!drive")
	wantKind(t, err, tenantry.Canceled)
}

// patience is more than a slow machine takes for an answer's first bytes.
const patience = 3 * time.Second

// TestSlowAnswers: every request ends by itself.
func TestSlowAnswers(t *testing.T) {
	t.Parallel() // it waits, most of the time
	hang := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	m, tenant := newMicrosoft(t, hang, nil)
	m.client.policy.request, m.client.policy.stall = 20*time.Millisecond, patience
	_, err := tenant.DriveRoot(t.Context(), "b!drive")
	wantKind(t, err, tenantry.Transient)
	if !errors.Is(err, errTooSlow) {
		t.Errorf("the reason is missing: %v", err)
	}
	body, err := tenant.AttachmentContent(t.Context(), "u1", OfMessage, "m1", "a1")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	_, err = body.Read(make([]byte, 10))
	wantKind(t, err, tenantry.Transient)
	if !errors.Is(err, errStalled) {
		t.Errorf("the reason is missing: %v", err)
	}

	// An error whose body never ends is an error all the same.
	_, tenant = newMicrosoft(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(403)
		hang(w, r)
	}, nil)
	tenant.client.policy.stall = patience
	_, err = tenant.AttachmentContent(t.Context(), "u1", OfMessage, "m1", "a1")
	wantKind(t, err, tenantry.Denied)
}

// TestErrorsTellNoSecrets: the text of an error may go into a log.
func TestErrorsTellNoSecrets(t *testing.T) {
	m, tenant := newMicrosoft(t, nil, nil)
	m.graph.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/token") {
			m.serveToken(w)
			return
		}
		w.Header().Set("request-id", "req-77")
		if strings.HasSuffix(r.URL.Path, "/content") {
			w.Header().Set("Location", m.content.URL+"/f?tempauth=CREDENTIAL")
			w.WriteHeader(302)
			return
		}
		write(w, 403, `{"error":{"code":"accessDenied","message":"see https://x.sharepoint.com/f?tempauth=CREDENTIAL for more"}}`)
	})
	m.content.Close() // nothing listens: the HTTP client's error names the address
	_, downloadErr := tenant.Download(t.Context(), "d", "i", "", 0)
	wantKind(t, downloadErr, tenantry.Transient)
	_, deniedErr := tenant.DriveRoot(t.Context(), "d")
	for _, err := range []error{downloadErr, deniedErr} {
		for _, secret := range []string{"CREDENTIAL", testSecret, "Bearer", "eyJ"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("an error shows %q: %v", secret, err)
			}
		}
	}
	if !strings.Contains(deniedErr.Error(), "req-77") || !strings.Contains(deniedErr.Error(), "403") {
		t.Errorf("status or request-id is missing: %v", deniedErr)
	}
}

func TestForeignHosts(t *testing.T) {
	var foreign int
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { foreign++ }))
	defer evil.Close()
	m, tenant := newMicrosoft(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/content"):
			w.Header().Set("Location", "https://evil.example/file")
			w.WriteHeader(302)
		case strings.HasSuffix(r.URL.Path, "createUploadSession"):
			write(w, 200, `{"uploadUrl":"https://evil.example/up"}`)
		default:
			write(w, 200, `{"value":[],"@odata.nextLink":"`+evil.URL+`/v1.0/next"}`)
		}
	}, nil)

	_, err := tenant.DriveChanges(t.Context(), "d", "")
	wantKind(t, err, tenantry.Internal)
	_, err = tenant.UserChanges(t.Context(), "")
	wantKind(t, err, tenantry.Internal)
	_, err = tenant.DriveChanges(t.Context(), "d", evil.URL+"/v1.0/drives/d/root/delta")
	wantKind(t, err, tenantry.Resync)
	_, err = tenant.Download(t.Context(), "d", "i", "", 0)
	wantKind(t, err, tenantry.Internal)
	_, err = tenant.Upload(t.Context(), "d", "p", "n", "fail", time.Time{}, time.Time{}, sized(smallFile+1, zeros(smallFile+1)))
	wantKind(t, err, tenantry.Internal)
	if tenantry.CodeOf(err) != codeForeign {
		t.Errorf("code is %q", tenantry.CodeOf(err))
	}
	if foreign != 0 {
		t.Errorf("%d requests left the cloud", foreign)
	}
	if got := len(m.requests()); got != 4 {
		t.Errorf("%d requests, want 4", got)
	}
}

func TestEmptyIDsAreRefused(t *testing.T) {
	m, tenant := newMicrosoft(t, answerWith(200, rootItem), nil)
	_, err := tenant.DriveRoot(t.Context(), "")
	wantKind(t, err, tenantry.Invalid)
	_, err = tenant.MessageChanges(t.Context(), "u", "", "", 0)
	wantKind(t, err, tenantry.Invalid)
	_, err = tenant.DriveChild(t.Context(), "d", "p", "../x")
	wantKind(t, err, tenantry.Invalid)
	if got := len(m.requests()); got != 0 {
		t.Errorf("%d requests, want none", got)
	}
}

// TestOneBadItem: a 500 that stays is poison only if what is around it is well.
func TestOneBadItem(t *testing.T) {
	for _, test := range []struct {
		probe int
		kind  tenantry.Kind
	}{{200, tenantry.Poison}, {500, tenantry.Transient}} {
		_, tenant := newMicrosoft(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/messages/m1") {
				write(w, test.probe, `{"id":"m1"}`)
				return
			}
			write(w, 500, `{"error":{"code":"ErrorInternalServerError"}}`)
		}, nil)
		_, err := tenant.Attachment(t.Context(), "u1", OfMessage, "m1", "a1")
		wantKind(t, err, test.kind)
		_, err = tenant.AttachmentContent(t.Context(), "u1", OfMessage, "m1", "a1")
		wantKind(t, err, test.kind)
	}
	_, tenant := newMicrosoft(t, answerWith(500, `{"error":{"code":"ErrorCorruptData"}}`), nil)
	_, err := tenant.MessageChanges(t.Context(), "u1", "f1", "", 0)
	wantKind(t, err, tenantry.Internal)
}
