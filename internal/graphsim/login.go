package graphsim

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
)

// serveLogin is the login host: tokens, consent, discovery.
func (s *Server) serveLogin(w http.ResponseWriter, r *http.Request) {
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	host := origin(r)
	switch {
	case rest == "oauth2/v2.0/token" && r.Method == http.MethodPost:
		s.serveToken(w, r, tenant)
	case rest == "oauth2/v2.0/devicecode" && r.Method == http.MethodPost:
		s.serveDeviceCode(w, r, tenant)
	case tenant == "devicelogin":
		s.serveDeviceLogin(w, r)
	case rest == "adminconsent" || rest == "v2.0/adminconsent":
		s.serveConsent(w, r, tenant, rest == "v2.0/adminconsent")
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
			aadsts(90002, "Tenant '%s'.", tenant).write(w)
			return
		}
		issuer = t.id
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer": host + "/" + issuer + "/v2.0", "token_endpoint": host + "/" + tenant + "/oauth2/v2.0/token",
		"authorization_endpoint":                host + "/" + tenant + "/oauth2/v2.0/authorize",
		"device_authorization_endpoint":         host + "/" + tenant + "/oauth2/v2.0/devicecode",
		"jwks_uri":                              host + "/" + tenant + "/discovery/v2.0/keys",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func isCommon(tenant string) bool {
	return tenant == "common" || tenant == "organizations" || tenant == "consumers"
}

var consentPage = template.Must(template.New("consent").Parse(`<!doctype html><meta charset="utf-8"><title>Permissions requested</title>
<h1>Permissions requested</h1><p>Application {{.Client}} asks for access to an organisation of this simulator.</p>
<form method="get">{{range $k, $v := .Query}}{{range $v}}<input type="hidden" name="{{$k}}" value="{{.}}">{{end}}{{end}}
<label>Sign in as the administrator of <select name="as">{{range .Tenants}}<option value="{{.ID}}">{{.Name}} ({{.Domain}})</option>{{end}}</select></label>
<button name="auto" value="accept">Accept</button> <button name="auto" value="refuse">Cancel</button></form>`))

// serveConsent is the admin-consent page in its two forms: answered by a person, or at
// once with auto=accept or auto=refuse and as=<tenant>; admin=false is a person who is no
// administrator.
func (s *Server) serveConsent(w http.ResponseWriter, r *http.Request, tenant string, v2 bool) {
	q := r.URL.Query()
	redirect, refused := s.checkConsent(q, v2)
	as := q.Get("as")
	if as == "" && !isCommon(tenant) {
		as = tenant
	}
	t := s.Tenant(as)
	switch {
	case refused != nil:
	case q.Get("auto") == "":
		s.showConsentPage(w, q, t)
		return
	case t == nil:
		refused = aadsts(90002, "Tenant '%s'.", as)
	case q.Get("admin") == "false":
		refused = aadsts(90094, "")
	}
	if refused != nil {
		http.Error(w, fmt.Sprintf("AADSTS%d: %s", refused.code, refused.text), http.StatusBadRequest)
		return
	}
	answer := redirect.Query()
	answer.Set("state", q.Get("state"))
	if q.Get("auto") == "accept" {
		t.Consent()
		answer.Set("tenant", t.id)
		answer.Set("admin_consent", "True")
		if v2 {
			answer.Set("scope", q.Get("scope"))
		}
	} else {
		refuseConsent(answer, t, v2)
	}
	redirect.RawQuery = answer.Encode()
	http.Redirect(w, r, redirect.String(), http.StatusFound)
}

// refuseConsent writes the refusal. That of the newer form says admin_consent=True, too
// ("Admin consent on the Microsoft identity platform").
func refuseConsent(answer url.Values, t *Tenant, v2 bool) {
	if !v2 {
		answer.Set("error", "permission_denied")
		answer.Set("error_description", "The admin canceled the request")
		return
	}
	answer.Set("error", "consent_required")
	answer.Set("error_description", "AADSTS65004: "+stsCodes[65004].text)
	answer.Set("admin_consent", "True")
	answer.Set("tenant", t.id)
}

// checkConsent reads what a consent request has to say.
func (s *Server) checkConsent(q url.Values, v2 bool) (*url.URL, *stsError) {
	if !strings.EqualFold(q.Get("client_id"), s.o.ClientID) {
		return nil, aadsts(700016, "Application '%s'.", q.Get("client_id"))
	}
	if q.Get("redirect_uri") == "" {
		return nil, aadsts(900971, "")
	}
	redirect, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || !s.redirectAllowed(redirect, v2) {
		return nil, aadsts(50011, "")
	}
	if v2 && q.Get("scope") == "" {
		return nil, aadsts(900144, "scope.")
	}
	return redirect, nil
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

// redirectAllowed applies the rule for registered redirect URIs: equal, or in the older
// form of consent the registered one with more path behind it.
func (s *Server) redirectAllowed(u *url.URL, exact bool) bool {
	if s.o.RedirectURI == "" {
		host := u.Hostname()
		return host == "localhost" || host == "127.0.0.1" || host == "::1"
	}
	plain := *u
	plain.RawQuery, plain.Fragment = "", ""
	got, want := plain.String(), strings.TrimSuffix(s.o.RedirectURI, "/")
	return got == want || !exact && strings.HasPrefix(got, want+"/")
}
