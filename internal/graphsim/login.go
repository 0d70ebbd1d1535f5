package graphsim

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// serveLogin is the login host: tokens, consent, discovery.
func (s *Server) serveLogin(w http.ResponseWriter, r *http.Request) {
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	host := origin(r)
	switch {
	case rest == "oauth2/v2.0/token" && r.Method == http.MethodPost:
		s.serveToken(w, r, tenant)
	case rest == "adminconsent" || rest == "v2.0/adminconsent":
		s.serveConsent(w, r, tenant)
	case rest == "v2.0/.well-known/openid-configuration":
		s.serveOpenID(w, tenant, host)
	case rest == "discovery/v2.0/keys":
		s.serveKeys(w)
	case r.URL.Path == "/common/discovery/instance":
		writeJSON(w, http.StatusOK, map[string]any{
			"tenant_discovery_endpoint": host + "/common/v2.0/.well-known/openid-configuration", "api-version": "1.1",
			"metadata": []map[string]any{{"preferred_network": r.Host, "preferred_cache": r.Host, "aliases": []string{r.Host}}},
		})
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) serveOpenID(w http.ResponseWriter, tenant, host string) {
	issuer := "{tenantid}"
	if !isCommon(tenant) {
		t := s.Tenant(tenant)
		if t == nil {
			unknownTenant(tenant).write(w)
			return
		}
		issuer = t.id
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer": host + "/" + issuer + "/v2.0", "token_endpoint": host + "/" + tenant + "/oauth2/v2.0/token",
		"authorization_endpoint":                host + "/" + tenant + "/oauth2/v2.0/authorize",
		"jwks_uri":                              host + "/" + tenant + "/discovery/v2.0/keys",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

// stsError is an answer of the token endpoint. A bad credential of the client is
// 401, everything else 400; the error reference names only the codes.
type stsError struct {
	status int
	name   string
	code   int
	text   string
}

func (e *stsError) write(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store, no-cache")
	trace, correlation := newID(), newID()
	now := time.Now().UTC().Format("2006-01-02 15:04:05Z")
	writeJSON(w, e.status, map[string]any{
		"error": e.name,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			e.code, e.text, trace, correlation, now),
		"error_codes": []int{e.code}, "timestamp": now, "trace_id": trace, "correlation_id": correlation,
		"error_uri": fmt.Sprintf("http://login.invalid/error?code=%d", e.code),
	})
}

func stsFail(status int, name string, code int, format string, args ...any) *stsError {
	return &stsError{status, name, code, fmt.Sprintf(format, args...)}
}

func unknownTenant(id string) *stsError {
	return stsFail(400, "invalid_request", 90002, "Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.", id)
}

func isCommon(tenant string) bool {
	return tenant == "common" || tenant == "organizations" || tenant == "consumers"
}

// serveToken is the client-credentials grant.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request, tenant string) {
	if fault := s.faults.take(faultQuery{method: r.Method, path: r.URL.Path, tenant: tenant}); fault != nil {
		if done := fault.apply(w, r, func(w http.ResponseWriter) { s.answerToken(w, r, tenant) }); done {
			return
		}
	}
	s.answerToken(w, r, tenant)
}

func (s *Server) answerToken(w http.ResponseWriter, r *http.Request, tenant string) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		stsFail(400, "invalid_request", 900144, "The request body is not a form.").write(w)
		return
	}
	t, audience, refused := s.checkTokenRequest(r, tenant)
	if refused != nil {
		s.stats.token(tenant, false)
		refused.write(w)
		return
	}
	token, err := s.issueToken(t, audience, origin(r))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.stats.token(t.id, true)
	life := int(s.o.TokenLife / time.Second)
	writeJSON(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token})
}

func (s *Server) checkTokenRequest(r *http.Request, tenant string) (*Tenant, string, *stsError) {
	form := r.PostForm
	if form.Get("grant_type") != "client_credentials" {
		return nil, "", stsFail(400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type '%s'.", form.Get("grant_type"))
	}
	if isCommon(tenant) {
		return nil, "", stsFail(400, "invalid_request", 9001023, "The grant type is not supported over the /%s endpoint. Please use a tenant-specific endpoint.", tenant)
	}
	t := s.Tenant(tenant)
	if t == nil {
		return nil, "", unknownTenant(tenant)
	}
	audience, isDefault := strings.CutSuffix(form.Get("scope"), "/.default")
	if !isDefault || !isGraph(audience, r.Host) {
		return nil, "", stsFail(400, "invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid: '%s'.", form.Get("scope"))
	}
	clientID := form.Get("client_id")
	if user, _, ok := r.BasicAuth(); ok && clientID == "" {
		clientID, _ = url.QueryUnescape(user)
	}
	if !strings.EqualFold(clientID, s.o.ClientID) {
		return nil, "", stsFail(400, "unauthorized_client", 700016, "Application with identifier '%s' was not found in the directory '%s'.", clientID, t.spec.Name)
	}
	if refused := s.checkCredential(r, t, tenant); refused != nil {
		return nil, "", refused
	}
	if !t.Consented() {
		return nil, "", stsFail(400, "unauthorized_client", 700016, "Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant.", clientID, t.spec.Name)
	}
	return t, audience, nil
}

func (s *Server) checkCredential(r *http.Request, t *Tenant, tenant string) *stsError {
	secret := r.PostForm.Get("client_secret")
	if _, password, ok := r.BasicAuth(); ok && secret == "" {
		secret, _ = url.QueryUnescape(password)
	}
	assertion := r.PostForm.Get("client_assertion")
	switch {
	case assertion != "":
		return s.checkAssertion(r, t, tenant, assertion)
	case secret == "":
		return stsFail(401, "invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
	case subtle.ConstantTimeCompare([]byte(secret), []byte(s.o.Secret)) != 1:
		return stsFail(401, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", s.o.ClientID)
	}
	return nil
}

// checkAssertion checks a signed assertion as the certificate-credentials page
// describes it: PS256 (or RS256), thumbprint, audience, issuer, times.
func (s *Server) checkAssertion(r *http.Request, t *Tenant, tenant, assertion string) *stsError {
	if r.PostForm.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return stsFail(400, "invalid_request", 900144, "The request body must contain the parameter 'client_assertion_type'.")
	}
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(assertion, &claims, s.assertionKey,
		jwt.WithValidMethods([]string{"PS256", "RS256"}), jwt.WithExpirationRequired(), jwt.WithLeeway(5*time.Minute))
	switch {
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenNotValidYet):
		return stsFail(401, "invalid_client", 700024, "Client assertion is not within its valid time range.")
	case err != nil:
		return stsFail(401, "invalid_client", 700027, "The certificate with identifier used to sign the client assertion is not registered on application, or the signature is invalid: %v.", err)
	case !slices.ContainsFunc(claims.Audience, func(a string) bool { return s.isTokenEndpoint(a, r.Host, tenant, t) }):
		return stsFail(401, "invalid_client", 50027, "JWT token is invalid or malformed: audience %v.", claims.Audience)
	case claims.Issuer != s.o.ClientID || claims.Subject != s.o.ClientID:
		return stsFail(401, "invalid_client", 700030, "Invalid certificate - the issuer or subject of the assertion is not the client.")
	case claims.ID == "":
		return stsFail(401, "invalid_client", 50027, "JWT token is invalid or malformed: no jti.")
	}
	return nil
}

func (s *Server) isTokenEndpoint(audience, host, tenant string, t *Tenant) bool {
	for _, root := range []string{"http://" + host, "https://login.microsoftonline.com"} {
		for _, name := range []string{tenant, t.id} {
			if audience == root+"/"+name+"/oauth2/v2.0/token" || audience == root+"/"+name+"/v2.0" {
				return true
			}
		}
	}
	return false
}

var consentPage = template.Must(template.New("consent").Parse(`<!doctype html><meta charset="utf-8"><title>Permissions requested</title>
<h1>Permissions requested</h1><p>Application {{.Client}} asks for access to an organisation of this simulator.</p>
<form method="get">{{range $k, $v := .Query}}{{range $v}}<input type="hidden" name="{{$k}}" value="{{.}}">{{end}}{{end}}
<label>Sign in as the administrator of <select name="as">{{range .Tenants}}<option value="{{.ID}}">{{.Name}} ({{.Domain}})</option>{{end}}</select></label>
<button name="auto" value="accept">Accept</button> <button name="auto" value="refuse">Cancel</button></form>`))

// serveConsent is the admin-consent page: answered by a person, or at once with
// auto=accept or auto=refuse and as=<tenant>.
func (s *Server) serveConsent(w http.ResponseWriter, r *http.Request, tenant string) {
	q := r.URL.Query()
	if !strings.EqualFold(q.Get("client_id"), s.o.ClientID) {
		http.Error(w, "AADSTS700016: Application not found.", http.StatusBadRequest)
		return
	}
	redirect, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || !s.redirectAllowed(redirect) {
		http.Error(w, "AADSTS50011: The redirect URI specified in the request does not match the redirect URIs configured for the application.", http.StatusBadRequest)
		return
	}
	as := q.Get("as")
	if as == "" && !isCommon(tenant) {
		as = tenant
	}
	t := s.Tenant(as)
	if q.Get("auto") == "" {
		s.showConsentPage(w, q, t)
		return
	}
	if t == nil {
		http.Error(w, "AADSTS90002: Tenant '"+as+"' not found.", http.StatusBadRequest)
		return
	}
	answer := redirect.Query()
	answer.Set("state", q.Get("state"))
	if q.Get("auto") == "accept" {
		t.Consent()
		answer.Set("tenant", t.id)
		answer.Set("admin_consent", "True")
	} else {
		answer.Set("error", "permission_denied")
		answer.Set("error_description", "The admin canceled the request")
	}
	redirect.RawQuery = answer.Encode()
	http.Redirect(w, r, redirect.String(), http.StatusFound)
}

func (s *Server) showConsentPage(w http.ResponseWriter, q url.Values, only *Tenant) {
	type choice struct{ ID, Name, Domain string }
	tenants := s.Tenants()
	if only != nil {
		tenants = []*Tenant{only}
	}
	choices := make([]choice, len(tenants))
	for i, t := range tenants {
		choices[i] = choice{t.id, t.spec.Name, t.spec.Domain}
	}
	q.Del("as")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = consentPage.Execute(w, map[string]any{"Client": s.o.ClientID, "Query": q, "Tenants": choices})
}

// redirectAllowed applies the rule for registered redirect URIs: equal, or the
// registered one with more path behind it.
func (s *Server) redirectAllowed(u *url.URL) bool {
	if s.o.RedirectURI == "" {
		host := u.Hostname()
		return host == "localhost" || host == "127.0.0.1" || host == "::1"
	}
	plain := *u
	plain.RawQuery, plain.Fragment = "", ""
	got, want := plain.String(), strings.TrimSuffix(s.o.RedirectURI, "/")
	return got == want || strings.HasPrefix(got, want+"/")
}
