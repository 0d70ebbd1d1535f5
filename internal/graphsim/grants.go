package graphsim

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// oauthClient is an application that asks for tokens of a tenant: the fleet's own, which
// all tenants can consent to, or one that is registered there.
type oauthClient struct {
	id        string
	principal string // of its service principal in the tenant
	object    string // of the application; "" for the fleet's own
	certs     []registeredCert
	secrets   []string
	expired   bool // all its secrets are
	roles     []string
}

// serveToken is the token endpoint.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request, tenant string) {
	if fault := s.faults.take(faultQuery{method: r.Method, path: r.URL.Path, tenant: tenant}); fault != nil {
		if done := fault.apply(w, r, func(w http.ResponseWriter) { s.answerToken(w, r, tenant) }); done {
			return
		}
	}
	s.answerToken(w, r, tenant)
}

// maxForm bounds a request of the token endpoint.
const maxForm = 64 << 10

func (s *Server) answerToken(w http.ResponseWriter, r *http.Request, tenant string) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		aadsts(900144, "The body is not a form.").write(w)
		return
	}
	var t *Tenant
	var answer map[string]any
	var refused *stsError
	switch grant := r.PostForm.Get("grant_type"); grant {
	case "client_credentials":
		t, answer, refused = s.grantApplication(r, tenant)
	case "urn:ietf:params:oauth:grant-type:device_code", "device_code":
		t, answer, refused = s.grantDevice(r)
	case "refresh_token":
		t, answer, refused = s.grantRefresh(r, tenant)
	default:
		refused = &stsError{400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type '" + grant + "'."}
	}
	if refused != nil {
		s.stats.token(tenant, false)
		refused.write(w)
		return
	}
	s.stats.token(t.id, true)
	w.Header().Set("Cache-Control", "no-store, no-cache")
	writeJSON(w, http.StatusOK, answer)
}

// grantApplication is the client-credentials grant.
func (s *Server) grantApplication(r *http.Request, tenant string) (*Tenant, map[string]any, *stsError) {
	if isCommon(tenant) {
		return nil, nil, aadsts(9001023, "")
	}
	t := s.Tenant(tenant)
	if t == nil {
		return nil, nil, aadsts(90002, "Tenant '%s'.", tenant)
	}
	audience, refused := s.graphScope(r.PostForm.Get("scope"), r)
	if refused != nil {
		return nil, nil, refused
	}
	client := s.clientIn(t, clientID(r))
	if client == nil {
		return nil, nil, aadsts(700016, "Application '%s', directory '%s'.", clientID(r), t.spec.Name)
	}
	if refused := s.checkCredential(r, t, tenant, client); refused != nil {
		return nil, nil, refused
	}
	if refused := t.admits(client); refused != nil {
		return nil, nil, refused
	}
	wish, refused := readClaims(r.PostForm.Get("claims"))
	if refused != nil {
		return nil, nil, refused
	}
	token := s.newToken(t, client, audience, origin(r), wish)
	token.Roles = client.roles
	answer, err := s.signedAnswer(token)
	if err != nil {
		return nil, nil, aadsts(90033, "%v", err)
	}
	return t, answer, nil
}

// admits refuses a client whose application is not there, or may not have a token.
func (t *Tenant) admits(client *oauthClient) *stsError {
	if refused := t.refused(); refused != nil {
		return refused
	}
	switch {
	case client.principal == "" || client.object == "" && t.s.elapsed() < t.consentKnown():
		return aadsts(700016, "Application '%s', directory '%s'.", client.id, t.spec.Name)
	case t.loops(client.id):
		return aadsts(50196, "")
	}
	return nil
}

// clientIn is the application as a tenant knows it, or nil.
func (s *Server) clientIn(t *Tenant, id string) *oauthClient {
	t.consent.mu.RLock()
	defer t.consent.mu.RUnlock()
	if strings.EqualFold(id, s.o.ClientID) {
		c := &oauthClient{id: s.o.ClientID, certs: s.certs, secrets: []string{s.o.Secret}, roles: t.consent.roles}
		if t.consent.roles != nil {
			c.principal = t.ownPrincipal()
		}
		return c
	}
	app := t.consent.registrations.byApp("application", id)
	if app == nil || s.elapsed() < app.usable {
		return nil
	}
	c := &oauthClient{id: app.appID, object: app.id}
	c.certs, c.secrets = app.credentialsOf(time.Now())
	c.expired = len(app.passwords) > 0 && len(c.secrets) == 0
	if sp := t.consent.registrations.byApp("servicePrincipal", id); sp != nil && s.elapsed() >= sp.usable {
		c.principal, c.roles = sp.id, t.rolesOf(sp.id)
	}
	return c
}

// clientID is what the form or the Authorization header says.
func clientID(r *http.Request) string {
	id := r.PostForm.Get("client_id")
	if user, _, ok := r.BasicAuth(); ok && id == "" {
		id, _ = url.QueryUnescape(user)
	}
	return id
}

// graphScope reads a scope: exactly one resource, with /.default.
func (s *Server) graphScope(scope string, r *http.Request) (audience string, refused *stsError) {
	if len(strings.Fields(scope)) > 1 {
		return "", aadsts(700022, "scope '%s'.", scope)
	}
	audience, isDefault := strings.CutSuffix(scope, "/.default")
	switch {
	case !isDefault:
		return "", aadsts(70011, "scope '%s'.", scope)
	case !s.isGraph(audience, r):
		return "", aadsts(500011, "The resource principal named %s.", audience)
	}
	return audience, nil
}

func (s *Server) checkCredential(r *http.Request, t *Tenant, tenant string, client *oauthClient) *stsError {
	secret := r.PostForm.Get("client_secret")
	if _, password, ok := r.BasicAuth(); ok && secret == "" {
		secret, _ = url.QueryUnescape(password)
	}
	if assertion := r.PostForm.Get("client_assertion"); assertion != "" {
		return s.checkAssertion(r, t, tenant, client, assertion)
	}
	if secret == "" {
		return aadsts(7000218, "")
	}
	for _, known := range client.secrets {
		if subtle.ConstantTimeCompare([]byte(secret), []byte(known)) == 1 {
			return nil
		}
	}
	if client.expired {
		return aadsts(7000222, "Application '%s'.", client.id)
	}
	return aadsts(7000215, "Application '%s'.", client.id)
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// checkAssertion checks a signed assertion as the certificate-credentials page describes
// it: PS256 (or RS256), thumbprint, audience, issuer, times.
func (s *Server) checkAssertion(r *http.Request, t *Tenant, tenant string, client *oauthClient, assertion string) *stsError {
	if r.PostForm.Get("client_assertion_type") != assertionType {
		return aadsts(900144, "client_assertion_type.")
	}
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(assertion, &claims, keyAmong(client.certs),
		jwt.WithValidMethods([]string{"PS256", "RS256"}), jwt.WithExpirationRequired(), jwt.WithLeeway(5*time.Minute))
	switch {
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenNotValidYet):
		return aadsts(500133, "")
	case err != nil:
		return aadsts(700027, "%v", err)
	case !slices.ContainsFunc(claims.Audience, func(a string) bool { return s.isTokenEndpoint(a, r, tenant, t) }):
		return aadsts(50012, "The audience %v is not this token endpoint.", claims.Audience)
	case !strings.EqualFold(claims.Issuer, client.id) || !strings.EqualFold(claims.Subject, client.id):
		return aadsts(50012, "Issuer and subject of the assertion have to be the client.")
	case claims.ID == "":
		return aadsts(50012, "The assertion has no jti.")
	}
	return nil
}

func (s *Server) isTokenEndpoint(audience string, r *http.Request, tenant string, t *Tenant) bool {
	roots := []string{origin(r)}
	for _, login := range s.o.Cloud.hosts().logins {
		roots = append(roots, "https://"+login)
	}
	for _, root := range roots {
		for _, name := range []string{tenant, t.id} {
			if audience == root+"/"+name+"/oauth2/v2.0/token" || audience == root+"/"+name+"/v2.0" {
				return true
			}
		}
	}
	return false
}

// claimsWish is the claims parameter of a token request: what the client can do, and what
// a challenge asked for.
type claimsWish struct {
	AccessToken struct {
		Capabilities struct {
			Values []string `json:"values"`
		} `json:"xms_cc"`
		NotBefore json.RawMessage `json:"nbf"`
	} `json:"access_token"`
}

func readClaims(text string) (wish claimsWish, refused *stsError) {
	if text == "" {
		return wish, nil
	}
	if err := json.Unmarshal([]byte(text), &wish); err != nil {
		return wish, &stsError{400, "invalid_request", 900144, "The claims parameter is not well formed."}
	}
	return wish, nil
}

func (w claimsWish) cp1() bool { return slices.Contains(w.AccessToken.Capabilities.Values, "cp1") }

// loops counts a tenant's token requests of a client: who fetches one per request is told so.
func (t *Tenant) loops(client string) bool {
	if t.s.o.TokenLoop.Max <= 0 {
		return false
	}
	t.consent.mu.Lock()
	defer t.consent.mu.Unlock()
	m := t.consent.logins[client]
	if m == nil {
		m = &meter{window: t.s.o.TokenLoop.window()}
		t.consent.logins[client] = m
	}
	now := t.s.elapsed()
	m.add(now, 1)
	return m.used(now) > t.s.o.TokenLoop.Max
}
