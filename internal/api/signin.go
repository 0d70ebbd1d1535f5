package api

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/signin"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A person who signs in with the provider's OpenID Connect gets a token of this fleet that
// lives an hour, and the cookie that carries it. Afterwards the browser is sent to the
// provider again, who usually asks nothing, so that what is taken away there ends here.

const (
	// idTokenMax bounds an ID token, in bytes: some providers put every group into it.
	idTokenMax = 16 << 10
	// signedInFor is how long a browser that signed in with the provider is believed.
	signedInFor = time.Hour
	// signInCookie remembers, in the browser, which sign-in it began; signInSeconds is how
	// long it may take.
	signInCookie, signInSeconds = "tenantry_sign_in", 600
)

// checkGrants fails when the sign-in gives a role that there is not, or one that must be
// confined to a tenant and is not.
func checkGrants(p *signin.Provider) error {
	if p == nil {
		return nil
	}
	for _, g := range p.Grants() {
		role := Role(g.Role)
		switch {
		case roles[role] == nil:
			return tenantry.Errorf(tenantry.Invalid, "oidc-grants: %q is no role; it may be one of %v", g.Role, Roles())
		case role.Confined() && g.Tenant == "":
			return tenantry.Errorf(tenantry.Invalid, "oidc-grants: %s is a role in one tenant: write %s=%s@TENANT", role, g.Value, role)
		case role.Wide() && g.Tenant != "":
			return tenantry.Errorf(tenantry.Invalid, "oidc-grants: %s is a role over the fleet: write %s=%s", role, g.Value, role)
		}
	}
	return nil
}

// looksSigned tells ID tokens from tokens of this fleet.
func looksSigned(token string) bool {
	return !strings.HasPrefix(token, tokenPrefix) && len(token) <= idTokenMax && strings.Count(token, ".") == 2
}

func callerIs(p signin.Person) caller {
	return caller{name: p.Name, role: Role(p.Role), tenant: p.Tenant}
}

// signInRoutes lets browsers sign in with the provider, and tells programs where to.
func (s *service) signInRoutes(mux *http.ServeMux) {
	if s.SignIn == nil {
		return
	}
	mux.HandleFunc("GET /login/provider", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": s.SignIn.Issuer(), "client_id": s.SignIn.DeviceClientID()})
	})
	mux.Handle("GET /login/oidc", s.bounded(http.HandlerFunc(s.signIn)))
	mux.Handle("GET /login/callback", s.bounded(http.HandlerFunc(s.signedIn)))
}

func (s *service) signInRedirect() string {
	return strings.TrimRight(s.public.String(), "/") + "/login/callback"
}

// signIn sends a browser to the provider.
func (s *service) signIn(w http.ResponseWriter, r *http.Request) {
	state, nonce, verifier := randomText(), randomText(), oauth2.GenerateVerifier()
	to, err := s.SignIn.CodeURL(r.Context(), s.signInRedirect(), state, nonce, verifier)
	if err != nil {
		s.signInFailed(w, err)
		return
	}
	http.SetCookie(w, s.signInState(strings.Join([]string{state, nonce, verifier}, "."), signInSeconds))
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// signInState is sent back by the provider's redirect, which comes from a foreign page.
func (s *service) signInState(value string, seconds int) *http.Cookie {
	return &http.Cookie{
		Name: signInCookie, Value: value, Path: s.public.Path + "/login", MaxAge: seconds,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: s.public.Scheme == "https",
	}
}

// signedIn takes a browser back from the provider.
func (s *service) signedIn(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, s.signInState("", -1))
	person, err := s.personOf(r)
	if err == nil {
		err = s.begin(w, r, callerIs(person))
	}
	if err != nil {
		s.signInFailed(w, err)
		return
	}
	// A redirect from here would still count as the foreign page's, and the cookie is for
	// our own pages only: this page leads on.
	s.page(w, http.StatusOK, "signedin.html", page{Title: "Signed in", Text: person.Name, To: "/queues/"})
}

var errorPattern = regexp.MustCompile(`^[a-z_]{1,64}$`)

// personOf finds out who came back, and that it is the browser that was sent.
func (s *service) personOf(r *http.Request) (signin.Person, error) {
	cookie, err := r.Cookie(signInCookie)
	if err != nil {
		return signin.Person{}, tenantry.Errorf(tenantry.Unauthorized, "this browser did not begin to sign in here, or too long ago")
	}
	began, q := strings.Split(cookie.Value, "."), r.URL.Query()
	if len(began) != 3 || subtle.ConstantTimeCompare([]byte(began[0]), []byte(q.Get("state"))) != 1 {
		return signin.Person{}, tenantry.Errorf(tenantry.Unauthorized, "the answer belongs to another sign-in")
	}
	if refused := q.Get("error"); refused != "" {
		if !errorPattern.MatchString(refused) {
			refused = "refused"
		}
		return signin.Person{}, tenantry.Errorf(tenantry.Unauthorized, "the provider said %s", refused)
	}
	return s.SignIn.Exchange(r.Context(), s.signInRedirect(), q.Get("code"), began[1], began[2])
}

// begin gives a browser a token of its own.
func (s *service) begin(w http.ResponseWriter, r *http.Request, c caller) error {
	c.source = remoteAddress(r.RemoteAddr)
	if err := s.audit(r.Context(), c, c.tenant, "sign-in", map[string]any{"role": c.role}); err != nil {
		return err
	}
	now := s.Now()
	token, hash := NewToken()
	err := s.Catalog.Fleet().AddSession(r.Context(), catalog.Token{
		Name: c.name + "#" + randomText()[:8], Role: string(c.role), Tenant: c.tenant, CreatedAt: now, ExpiresAt: now.Add(signedInFor),
	}, hash)
	if err != nil {
		return err
	}
	http.SetCookie(w, s.session(token.Reveal(), int(signedInFor/time.Second)))
	return nil
}

func (s *service) signInFailed(w http.ResponseWriter, err error) {
	p := s.problem("sign-in", err)
	text := "Signing in is not possible now. Try again in a minute."
	if p.Status < http.StatusInternalServerError {
		text = "You are not signed in: " + p.Detail + "."
	}
	s.page(w, p.Status, "login.html", page{Title: "Sign in", Failure: true, Text: text})
}
