package api_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/servertest/openid"
	"github.com/tenantry/tenantry/internal/signin"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const signInRedirect = "https://backup.example.com/login/callback"

// newClub is a house whose people sign in with a real provider.
func newClub(t *testing.T, tenant tenantry.TenantID) (*house, *openid.Server) {
	t.Helper()
	server := openid.Start(t, signInRedirect, map[string][]string{"ada": {"admins"}, "bob": {"contoso"}, "eve": nil})
	p, err := signin.New(signin.Config{Issuer: server.Issuer, ClientID: server.ClientID, ClientSecret: tenantry.NewSecret(server.ClientSecret),
		Grants: []signin.Grant{{Value: "admins", Role: "provider-admin"}, {Value: "contoso", Role: "tenant-admin", Tenant: tenant}}})
	must(t, err)
	return newHouse(t, func(cfg *api.Config) { cfg.SignIn, cfg.Now = p, time.Now }), server
}

// withToken sends a request with somebody's ID token.
func (h *house) withToken(token, method, path string) reply {
	h.t.Helper()
	r := h.request(method, path, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return h.send(r)
}

// A provider's ID token is a bearer token with the role that its claims give, in the tenant
// that the grant names; the audit log names the person.
func TestIDTokensAreBearerTokens(t *testing.T) {
	t.Parallel()
	const contoso = "t-0000000000000001"
	h, server := newClub(t, contoso)
	token := func(name string) string {
		return server.IDToken(server.ClientID, server.ClientSecret, signInRedirect, name)
	}
	who := h.withToken(token("ada"), "GET", "/v1/whoami")
	if who.text("role") != "provider-admin" || who.text("name") != "ada/subject-ada" || who.field("tenant") != nil {
		t.Fatalf("%d %s", who.status, who.body)
	}
	bob := token("bob")
	if who := h.withToken(bob, "GET", "/v1/whoami"); who.text("role") != "tenant-admin" || who.text("tenant") != contoso {
		t.Fatalf("%d %s", who.status, who.body)
	}
	h.problemWith(h.withToken(bob, "GET", "/v1/tenants/"+string(h.addTenant("Fabrikam", fabrikamGUID))), http.StatusNotFound, tenantry.NotFound)
	h.problemWith(h.withToken(bob, "GET", "/v1/fleet"), http.StatusForbidden, tenantry.Forbidden)
	h.problemWith(h.withToken(token("eve"), "GET", "/v1/whoami"), http.StatusForbidden, tenantry.Forbidden)
	h.problemWith(h.withToken(bob[:len(bob)-8]+"AAAAAAAA", "GET", "/v1/whoami"), http.StatusUnauthorized, tenantry.Unauthorized)
	h.problemWith(h.withToken(strings.Repeat("x", 20000)+".y.z", "GET", "/v1/whoami"), http.StatusUnauthorized, tenantry.Unauthorized)

	r := h.request("POST", "/v1/tokens", map[string]any{"name": "robot", "role": "operator"})
	r.Header.Set("Authorization", "Bearer "+token("ada"))
	if got := h.send(r); got.status != http.StatusCreated || got.text("created_by") != "ada/subject-ada" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if entry := h.call("GET", "/v1/audit", nil); entry.text("items.0.actor") != "ada/subject-ada" {
		t.Errorf("%s", entry.body)
	}
}

// A browser signs in with the provider and sees the queues; the session is a token that
// ends by itself.
func TestBrowserSignsIn(t *testing.T) {
	t.Parallel()
	h, server := newClub(t, "t-0000000000000001")
	if page := h.send(h.request("GET", "/login", nil)); !strings.Contains(string(page.body), `href="/login/oidc"`) {
		t.Errorf("%s", page.body)
	}
	if got := h.send(h.request("GET", "/login/provider", nil)); got.text("issuer") != server.Issuer || got.text("client_id") != server.ClientID {
		t.Errorf("%s", got.body)
	}
	got, cookies := h.browse(server, "ada", nil)
	if got.status != http.StatusOK || !strings.Contains(string(got.body), "url=/queues/") {
		t.Fatalf("%d %s", got.status, got.body)
	}
	session := cookies["tenantry_session"]
	if session == nil || !session.HttpOnly || !session.Secure || session.SameSite != http.SameSiteStrictMode || session.MaxAge != 3600 {
		t.Fatalf("session %+v", session)
	}
	if left := cookies["tenantry_sign_in"]; left == nil || left.MaxAge >= 0 {
		t.Errorf("the state stays: %+v", left)
	}
	queues := h.request("GET", "/queues/", nil)
	queues.AddCookie(session)
	if got := h.send(queues); got.status != http.StatusOK {
		t.Errorf("queues: %d", got.status)
	}
	list := h.call("GET", "/v1/tokens", nil)
	if name := list.text("items.0.name"); !strings.HasPrefix(name, "ada/subject-ada#") || list.field("items.0.expires") == nil {
		t.Errorf("%s", list.body)
	}
	if h.audited("sign-in") != 1 {
		t.Error("the sign-in is not in the audit log")
	}
	got, cookies = h.browse(server, "bob", nil) // of a tenant: signed in, but not to the queues
	queues = h.request("GET", "/queues/", nil)
	queues.AddCookie(cookies["tenantry_session"])
	h.problemWith(h.send(queues), http.StatusForbidden, tenantry.Forbidden)
	if got, cookies := h.browse(server, "eve", nil); got.status != http.StatusForbidden || cookies["tenantry_session"] != nil {
		t.Errorf("eve: %d %s", got.status, got.body)
	}
}

// browse signs somebody in; spoil changes the way back.
func (h *house) browse(server *openid.Server, name string, spoil func(*http.Request)) (reply, map[string]*http.Cookie) {
	h.t.Helper()
	out := h.send(h.request("GET", "/login/oidc", nil))
	if out.status != http.StatusSeeOther {
		h.t.Fatalf("%d %s", out.status, out.body)
	}
	back, err := url.Parse(server.Browse(out.header.Get("Location"), name))
	must(h.t, err)
	r := h.request("GET", back.RequestURI(), nil)
	for _, c := range (&http.Response{Header: out.header}).Cookies() {
		if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/login" {
			h.t.Errorf("cookie %+v", c)
		}
		r.AddCookie(c)
	}
	if spoil != nil {
		spoil(r)
	}
	got := h.send(r)
	cookies := map[string]*http.Cookie{}
	for _, c := range (&http.Response{Header: got.header}).Cookies() {
		cookies[c.Name] = c
	}
	return got, cookies
}

// Whoever comes back otherwise than they were sent is not signed in.
func TestSpoiltSignIns(t *testing.T) {
	t.Parallel()
	h, server := newClub(t, "t-0000000000000001")
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) {
			q := r.URL.Query()
			q.Set(name, value)
			r.URL.RawQuery = q.Encode()
		}
	}
	cookie := func(value string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Del("Cookie")
			if value != "" {
				r.AddCookie(&http.Cookie{Name: "tenantry_sign_in", Value: value})
			}
		}
	}
	for name, spoil := range map[string]func(*http.Request){
		"another state": set("state", "x"), "another code": set("code", "x"), "refused": set("error", "access_denied"),
		"markup": set("error", "<script>"), "another browser": cookie(""), "a spoilt cookie": cookie("a.b"), "another cookie": cookie("a.b.c"),
	} {
		got, cookies := h.browse(server, "ada", spoil)
		if got.status != http.StatusUnauthorized || cookies["tenantry_session"] != nil || strings.Contains(string(got.body), "<script>") {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	server.Stop()
	if got := h.send(h.request("GET", "/login/oidc", nil)); got.status != http.StatusOK && got.status != http.StatusSeeOther {
		t.Errorf("a provider that is away, but known: %d", got.status)
	}
	if got, _ := h.signIn(h.token); got.status != http.StatusSeeOther {
		t.Errorf("a token without the provider: %d", got.status)
	}
}

// A grant of a role that there is not, or outside of where it holds, is found at the start.
func TestGrantsAreChecked(t *testing.T) {
	t.Parallel()
	for _, g := range []signin.Grant{{Value: "v", Role: "king"}, {Value: "v", Role: "tenant-admin"}, {Value: "v", Role: "operator", Tenant: "t-1"}} {
		p, err := signin.New(signin.Config{Issuer: "https://login.example.com", ClientID: "c", Grants: []signin.Grant{g}})
		must(t, err)
		h := newHouse(t)
		_, err = api.New(api.Config{Catalog: h.catalog, PublicURL: "https://backup.example.com", SignIn: p})
		if tenantry.KindOf(err) != tenantry.Invalid || !strings.Contains(err.Error(), "oidc-grants") {
			t.Errorf("%+v: %v", g, err)
		}
	}
}
