package api_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// signIn posts the login form and returns the answer and its cookie.
func (h *house) signIn(token string) (reply, *http.Cookie) {
	h.t.Helper()
	form := url.Values{"token": {token}}
	r := h.request("POST", "/login", form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got := h.send(r)
	cookies := (&http.Response{Header: got.header}).Cookies()
	if len(cookies) == 0 {
		return got, nil
	}
	return got, cookies[0]
}

func TestSessionCookie(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	got, cookie := h.signIn(h.token)
	if got.status != http.StatusSeeOther || got.header.Get("Location") != "/queues/" || cookie == nil {
		t.Fatalf("login: %d to %q", got.status, got.header.Get("Location"))
	}
	if !cookie.HttpOnly || !cookie.Secure || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/queues" || cookie.MaxAge <= 0 {
		t.Errorf("cookie %+v", cookie)
	}
	r := h.request("GET", "/queues/api/queues", nil)
	r.AddCookie(cookie)
	if got := h.send(r); got.status != http.StatusOK || string(got.body) != "monitor /queues/api/queues" {
		t.Errorf("with cookie: %d %s", got.status, got.body)
	}
	if got := h.call("GET", "/queues/", nil); got.status != http.StatusOK {
		t.Errorf("with header: %d", got.status)
	}

	out := h.send(h.request("POST", "/logout", nil))
	cleared := (&http.Response{Header: out.header}).Cookies()
	if out.status != http.StatusSeeOther || len(cleared) != 1 || cleared[0].MaxAge >= 0 || cleared[0].Path != cookie.Path {
		t.Errorf("logout: %d %v", out.status, cleared)
	}
}

func TestLoginRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for name, token := range map[string]string{"empty": "", "unknown": "tenantry_nothing", "long": strings.Repeat("x", 10000)} {
		got, cookie := h.signIn(token)
		if got.status != http.StatusUnauthorized || cookie != nil || !strings.Contains(string(got.body), "not valid") {
			t.Errorf("%s: %d, cookie %v: %s", name, got.status, cookie, got.body)
		}
	}
}

// People are led to the login page, programs get a 401.
func TestQueuesUnauthenticated(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.request("GET", "/queues/", nil)
	r.Header.Set("Accept", "text/html,*/*")
	if got := h.send(r); got.status != http.StatusSeeOther || got.header.Get("Location") != "/login" {
		t.Errorf("person: %d to %q", got.status, got.header.Get("Location"))
	}
	for _, method := range []string{"GET", "POST", "DELETE"} {
		h.problemWith(h.send(h.request(method, "/queues/api/queues", nil)), http.StatusUnauthorized, tenantry.Unauthorized)
	}
	wrong := h.request("GET", "/queues/", nil)
	wrong.AddCookie(&http.Cookie{Name: "tenantry_session", Value: api.HashToken(h.token)})
	h.problemWith(h.send(wrong), http.StatusUnauthorized, tenantry.Unauthorized)
}

// A foreign page cannot make a browser write, even with the cookie.
func TestForeignPagesCannotWrite(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	_, cookie := h.signIn(h.token)
	for _, path := range []string{"/queues/api/queues/backup:pause", "/login", "/logout"} {
		r := h.request("POST", path, nil)
		r.AddCookie(cookie)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Origin", "https://evil.example")
		h.problemWith(h.send(r), http.StatusForbidden, tenantry.Forbidden, "another origin")
	}
}

// audited returns how many audit entries an action has.
func (h *house) audited(action string) int {
	h.t.Helper()
	db, err := sql.Open("sqlite", "file:"+h.file)
	must(h.t, err)
	defer func() { _ = db.Close() }()
	var n int
	must(h.t, db.QueryRowContext(h.t.Context(), "SELECT count(*) FROM audit WHERE action = ? AND actor <> ''", action).Scan(&n))
	return n
}

// Every operation that is not a GET leaves an audit entry, and so do looks into content,
// writes in the monitor and the callback. A preview changes nothing: it has a body, that
// is all.
func TestEveryWriteIsAudited(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	for _, op := range operations(t) {
		looks := slices.Contains([]string{"browse-items", "compare-snapshots", "get-item", "search-snapshot", "search-tenant", "list-found", "fetch-export"}, op.id)
		writes := looks || (op.method != "GET" && op.id != "preview-policy" && op.id != "propose-retention")
		before := h.audited(op.id)
		got := h.call(op.method, op.filled(id), bodies()[op.id])
		added := h.audited(op.id) - before
		if (added == 1) != writes || added > 1 {
			t.Errorf("%s (%d): %d audit entries", op.id, got.status, added)
		}
		if failed := h.audited(op.id + ".failed"); (failed > 0) != (writes && got.status >= 400) {
			t.Errorf("%s (%d): %d entries of failure", op.id, got.status, failed)
		}
	}
	h.call("DELETE", "/queues/api/queues/backup", nil)
	h.redirect(agreed(h.ask(id), contosoGUID))
	h.redirect(agreed(h.ask(id), fabrikamGUID))
	for _, action := range []string{"queues-delete", "consent-granted", "consent-refused"} {
		if n := h.audited(action); n != 1 {
			t.Errorf("%s: %d audit entries", action, n)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ask := func(path string, status int, body string) {
		t.Helper()
		if got := h.send(h.request("GET", path, nil)); got.status != status || string(got.body) != body {
			t.Errorf("%s: %d %q, want %d %q", path, got.status, got.body, status, body)
		}
	}
	ask("/healthz", 200, "ok\n")
	ask("/readyz", 200, "ready\n")
	ask("/metrics", 200, "metric 1\n")
	h.ready.set(errors.New("dial tcp 10.0.0.1:6379: refused"))
	ask("/readyz", 503, "not ready\n")
	ask("/readyz", 503, "not ready\n")
	ask("/healthz", 200, "ok\n")
	h.ready.set(nil)
	ask("/readyz", 200, "ready\n")
	if n := h.logs.FilterMessage("readiness changed").Len(); n != 2 {
		t.Errorf("readiness was logged %d times, want once per change", n)
	}
}

// When the database is gone, nobody is told that a token is wrong.
func TestDatabaseDown(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	must(t, h.catalog.Close())
	got := h.call("GET", "/v1/tenants", nil)
	if got.status < 500 || got.text("kind") == "" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if page, cookie := h.signIn(h.token); page.status < 500 || cookie != nil {
		t.Errorf("login: %d", page.status)
	}
}

func TestPanicIsOneLogEntry(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *api.Config) {
		c.Monitor = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("broken monitor") })
	})
	got := h.call("GET", "/queues/", nil)
	h.problemWith(got, http.StatusInternalServerError, tenantry.Internal)
	if h.logs.FilterMessage("panic").Len() != 1 || strings.Contains(string(got.body), "broken") {
		t.Errorf("%s, %d log entries", got.body, h.logs.Len())
	}
}

// Behind a proxy that strips a path, links and cookie carry that path.
func TestPublicPath(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *api.Config) { c.PublicURL = "http://backup.example.com/tenantry" })
	got, cookie := h.signIn(h.token)
	if got.header.Get("Location") != "/tenantry/queues/" || cookie.Path != "/tenantry/queues" || cookie.Secure {
		t.Errorf("to %q with %+v", got.header.Get("Location"), cookie)
	}
	page := h.send(h.request("GET", "/docs", nil))
	if !strings.Contains(string(page.body), `href="/tenantry/assets/page.css"`) {
		t.Errorf("page %s", page.body)
	}
}

func TestBodyLimitOutsideOperations(t *testing.T) {
	t.Parallel()
	var read int64
	h := newHouse(t, func(c *api.Config) {
		c.Monitor = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			read = n
			fmt.Fprint(w, err)
		})
	})
	got := h.call("POST", "/queues/x", strings.Repeat("x", 3<<20))
	if read > 1<<20+1 || !strings.Contains(string(got.body), "too large") {
		t.Errorf("read %d bytes: %s", read, got.body)
	}
}
