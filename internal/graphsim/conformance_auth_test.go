package graphsim_test

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tenantry/tenantry/internal/graphsim"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func (c *client) form(pairs ...string) url.Values {
	form := secretForm(graphsim.DefaultClientID, graphsim.DefaultSecret)
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

// sts asks for a token and returns the AADSTS code of the refusal, 0 for a token.
func (c *client) sts(form url.Values) int {
	c.t.Helper()
	status, body := c.askToken(c.tenant.ID(), form)
	if status == http.StatusOK {
		return 0
	}
	codes, _ := body["error_codes"].([]any)
	if len(codes) != 1 || !strings.HasPrefix(fmt.Sprint(body["error_description"]), fmt.Sprintf("AADSTS%.0f: ", codes[0])) ||
		body["trace_id"] == nil || body["correlation_id"] == nil || body["timestamp"] == nil || body["error"] == "" {
		c.t.Fatalf("%d %v", status, body)
	}
	return int(codes[0].(float64))
}

func claimsOf(t *testing.T, token string) object {
	t.Helper()
	claims := jwt.MapClaims{}
	_, _, err := jwt.NewParser().ParseUnverified(token, claims)
	must(t, err)
	return claims
}

const cp1 = `{"access_token":{"xms_cc":{"values":["cp1"]}}}`

// Source: "OAuth 2.0 client credentials flow", "Authentication and authorization error
// codes", "Configurable token lifetimes", "Claims challenges".
func TestConformanceTokens(t *testing.T) {
	t.Parallel()
	conform(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1}, []rule{
		held("the answer has token_type, expires_in and access_token, and no refresh token", func(t *testing.T, c *client) {
			_, body := c.askToken(c.tenant.ID(), c.form())
			if body["token_type"] != "Bearer" || body["access_token"] == nil || body["refresh_token"] != nil {
				t.Errorf("%v", body)
			}
		}),
		held("tokens live 60 to 90 minutes, at random", func(t *testing.T, c *client) {
			lives := map[any]bool{}
			for range 6 {
				_, body := c.askToken(c.tenant.ID(), c.form())
				life := body["expires_in"].(float64)
				if lives[life] = true; life < 3599 || life > 5401 {
					t.Errorf("%v s", life)
				}
			}
			if len(lives) < 2 {
				t.Error("all the same")
			}
		}),
		held("claims: tid, appid, roles, aud, exp", func(t *testing.T, c *client) {
			claims := claimsOf(t, c.token)
			if claims["tid"] != c.tenant.ID() || claims["appid"] != graphsim.DefaultClientID || len(claims["roles"].([]any)) != len(graphsim.DefaultRoles) ||
				claims["exp"] == nil {
				t.Errorf("%v", claims)
			}
		}),
		held("common is not for this grant: AADSTS9001023", func(t *testing.T, c *client) {
			_, body := c.askToken("common", c.form())
			if body["error_codes"].([]any)[0] != 9001023.0 {
				t.Errorf("%v", body)
			}
		}),
		held("one resource per request: AADSTS700022", func(t *testing.T, c *client) {
			if got := c.sts(c.form("scope", "https://graph.microsoft.com/.default https://x.example/.default")); got != 700022 {
				t.Error(got)
			}
		}),
		held("scope without .default: AADSTS70011", func(t *testing.T, c *client) {
			if got := c.sts(c.form("scope", "https://graph.microsoft.com/Mail.Read")); got != 70011 {
				t.Error(got)
			}
		}),
		held("another resource: AADSTS500011", func(t *testing.T, c *client) {
			if got := c.sts(c.form("scope", "https://x.example/.default")); got != 500011 {
				t.Error(got)
			}
		}),
		held("an unknown application: AADSTS700016", func(t *testing.T, c *client) {
			if got := c.sts(c.form("client_id", "nobody")); got != 700016 {
				t.Error(got)
			}
		}),
		held("a wrong secret: AADSTS7000215, none: 7000218", func(t *testing.T, c *client) {
			if a, b := c.sts(c.form("client_secret", "x")), c.sts(c.form("client_secret", "")); a != 7000215 || b != 7000218 {
				t.Error(a, b)
			}
		}),
		held("an unknown tenant: AADSTS90002", func(t *testing.T, c *client) {
			_, body := c.askToken("11111111-1111-4111-8111-111111111111", c.form())
			if body["error_codes"].([]any)[0] != 90002.0 {
				t.Errorf("%v", body)
			}
		}),
		held("revoked consent: AADSTS700016, and issued tokens live on", func(t *testing.T, c *client) {
			c.tenant.Revoke()
			if got := c.sts(c.form()); got != 700016 {
				t.Error(got)
			}
			c.get("users")
		}),
		held("a role-less token is possible and opens nothing", func(t *testing.T, c *client) {
			c.tenant.Consent("Nothing.Read")
			c.token = c.mustToken()
			if got := c.code("users"); got != "403 Authorization_RequestDenied" {
				t.Error(got)
			}
		}),
		held("every documented AADSTS code can be answered", func(t *testing.T, c *client) {
			for _, code := range []int{50196, 90033, 90006, 90090, 90024, 50033, 90012, 90055, 700016, 700011, 65001, 650056, 650057, 65005, 500011, 650052,
				7000215, 7000222, 700027, 500133, 50013, 50012, 7000218, 7000112, 70001, 1000031, 90002, 90038, 900382, 900432, 50020, 50034, 53003, 530032,
				530035, 50105, 50076, 50079, 90094, 90095, 50194, 70011, 28002, 700022, 50011, 900971, 70021} {
				must(t, c.tenant.RefuseTokens(code, 1))
				if got := c.sts(c.form()); got != code {
					t.Errorf("%d instead of %d", got, code)
				}
			}
			if c.sts(c.form()) != 0 || c.tenant.RefuseTokens(4711, 1) == nil {
				t.Error("refusals do not end, or invent codes")
			}
		}),
		held("401 InvalidAuthenticationToken for a bad token", func(t *testing.T, c *client) {
			c.token += "x"
			if got := c.code("users"); got != "401 InvalidAuthenticationToken" {
				t.Error(got)
			}
		}),
		held("a claims challenge goes only to clients that declared cp1", func(t *testing.T, c *client) {
			c.tenant.Challenge()
			c.get("users")
			_, body := c.askToken(c.tenant.ID(), c.form("claims", cp1))
			c.token = body["access_token"].(string)
			resp := c.do("GET", "users", nil)
			resp.Body.Close()
			if resp.StatusCode != 401 {
				t.Fatalf("%d", resp.StatusCode)
			}
			_, rest, _ := strings.Cut(resp.Header.Get("WWW-Authenticate"), `claims="`)
			challenge, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(rest, `"`))
			must(t, err)
			if !strings.Contains(resp.Header.Get("WWW-Authenticate"), `error="insufficient_claims"`) {
				t.Error(resp.Header)
			}
			var merged map[string]map[string]any
			must(t, json.Unmarshal(challenge, &merged))
			merged["access_token"]["xms_cc"] = object{"values": []string{"cp1"}}
			data, _ := json.Marshal(merged)
			_, body = c.askToken(c.tenant.ID(), c.form("claims", string(data)))
			c.token = body["access_token"].(string)
			c.get("users")
		}),
		held("tokens of clients that declared cp1 live up to 28 hours, and are renewed early", func(t *testing.T, c *client) {
			_, body := c.askToken(c.tenant.ID(), c.form("claims", cp1))
			if body["expires_in"].(float64) < 28*3600-2 || body["refresh_in"] == nil {
				t.Errorf("%v", body)
			}
		}),
		held("instance discovery, openid-configuration and keys", func(t *testing.T, c *client) {
			root := c.s.URL() + "/" + c.tenant.ID()
			for _, at := range []string{c.s.URL() + "/common/discovery/instance?api-version=1.1", root + "/v2.0/.well-known/openid-configuration",
				root + "/discovery/v2.0/keys"} {
				c.get(at)
			}
			config := c.get(root + "/v2.0/.well-known/openid-configuration")
			if config["token_endpoint"] != root+"/oauth2/v2.0/token" || !strings.HasSuffix(config["device_authorization_endpoint"].(string), "/devicecode") {
				t.Errorf("%v", config)
			}
		}),
	})
	t.Run("a token per request is a loop: AADSTS50196", func(t *testing.T) {
		t.Parallel()
		s, c := start(t, graphsim.Options{TokenLoop: graphsim.Quota{Max: 3, Seconds: 300}}, graphsim.TenantSpec{})
		for range 2 {
			c.mustToken()
		}
		if got := c.sts(c.form()); got != 50196 {
			t.Error(got)
		}
		s.Advance(10 * time.Minute)
		c.mustToken()
	})
	t.Run("consent takes effect with a delay", func(t *testing.T) {
		t.Parallel()
		s, err := graphsim.Start(graphsim.Options{ConsentDelay: time.Minute})
		must(t, err)
		t.Cleanup(func() { _ = s.Close() })
		tenant := s.AddTenant(graphsim.TenantSpec{})
		tenant.Consent()
		c := &client{t: t, s: s, tenant: tenant, http: http.DefaultClient}
		if got := c.sts(c.form()); got != 700016 {
			t.Error(got)
		}
		s.Advance(time.Minute)
		c.mustToken()
		http.DefaultClient.CloseIdleConnections()
	})
}

// Source: "Admin consent on the Microsoft identity platform".
func TestConformanceConsent(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{RedirectURI: "http://localhost:1/back"}, graphsim.TenantSpec{})
	ask := func(path string, pairs ...string) (int, url.Values) {
		t.Helper()
		q := url.Values{"client_id": {graphsim.DefaultClientID}, "state": {"s 1"}, "redirect_uri": {"http://localhost:1/back"}, "auto": {"accept"}, "as": {c.tenant.ID()},
			"scope": {"https://graph.microsoft.com/.default"}}
		for i := 0; i+1 < len(pairs); i += 2 {
			q.Set(pairs[i], pairs[i+1])
		}
		resp := c.do("GET", s.URL()+"/common/"+path+"?"+q.Encode(), nil)
		resp.Body.Close()
		location, err := url.Parse(resp.Header.Get("Location"))
		must(t, err)
		return resp.StatusCode, location.Query()
	}
	for _, tc := range []struct {
		rule, path string
		pairs      []string
		status     int
		answer     map[string]string
	}{
		{"success names tenant, state and admin_consent=True", "adminconsent", nil, 302, map[string]string{"tenant": c.tenant.ID(), "state": "s 1", "admin_consent": "True", "scope": ""}},
		{"refusal is permission_denied", "adminconsent", []string{"auto", "refuse"}, 302, map[string]string{"error": "permission_denied", "error_description": "The admin canceled the request", "tenant": ""}},
		{"the redirect may have more path", "adminconsent", []string{"redirect_uri", "http://localhost:1/back/more"}, 302, map[string]string{"admin_consent": "True"}},
		{"v2 answers with the scope", "v2.0/adminconsent", nil, 302, map[string]string{"admin_consent": "True", "scope": "https://graph.microsoft.com/.default"}},
		{"v2 needs a scope", "v2.0/adminconsent", []string{"scope", ""}, 400, nil},
		{"v2 matches the redirect exactly", "v2.0/adminconsent", []string{"redirect_uri", "http://localhost:1/back/more"}, 400, nil},
		{"a v2 refusal carries admin_consent=True as well", "v2.0/adminconsent", []string{"auto", "refuse"}, 302, map[string]string{"error": "consent_required", "admin_consent": "True"}},
		{"a foreign redirect is refused", "adminconsent", []string{"redirect_uri", "http://evil.example/back"}, 400, nil},
		{"a missing redirect is refused", "adminconsent", []string{"redirect_uri", ""}, 400, nil},
		{"only an administrator can consent", "adminconsent", []string{"admin", "false"}, 400, nil},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			status, answer := ask(tc.path, tc.pairs...)
			if status != tc.status {
				t.Fatalf("%d %v", status, answer)
			}
			for name, want := range tc.answer {
				if answer.Get(name) != want {
					t.Errorf("%s is %q, want %q", name, answer.Get(name), want)
				}
			}
		})
	}
}

// postForm posts to the login host and returns the JSON answer.
func (c *client) postForm(path string, form url.Values) object {
	c.t.Helper()
	resp, err := c.http.PostForm(c.s.URL()+"/"+path, form)
	must(c.t, err)
	return decode[object](c.t, resp)
}

// operator signs a person in by device code; the client then speaks as that person.
func (c *client) operator(scope string, roles ...string) object {
	c.t.Helper()
	code := c.postForm(c.tenant.ID()+"/oauth2/v2.0/devicecode", url.Values{"client_id": {graphsim.DefaultClientID}, "scope": {scope}})
	must(c.t, c.s.ApproveDevice(code["user_code"].(string), graphsim.Operator{Roles: roles}))
	answer := c.postForm(c.tenant.ID()+"/oauth2/v2.0/token", devicePoll(code["device_code"].(string)))
	c.token, _ = answer["access_token"].(string)
	if c.token == "" {
		c.t.Fatalf("%v", answer)
	}
	return answer
}

func devicePoll(code string) url.Values {
	return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {graphsim.DefaultClientID}, "device_code": {code}}
}

// Source: "OAuth 2.0 device authorization grant flow".
func TestConformanceDeviceCode(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	begin := func() object {
		return c.postForm("organizations/oauth2/v2.0/devicecode", url.Values{"client_id": {graphsim.DefaultClientID}, "scope": {"User.Read.All offline_access openid"}})
	}
	poll := func(code any) object { return c.postForm("organizations/oauth2/v2.0/token", devicePoll(code.(string))) }
	t.Run("the answer has codes, an address, 15 minutes and an interval", func(t *testing.T) {
		code := begin()
		if code["device_code"] == nil || code["user_code"] == nil || code["verification_uri"] == nil || code["expires_in"] != 900.0 || code["interval"] == nil ||
			!strings.Contains(code["message"].(string), code["user_code"].(string)) || code["verification_uri_complete"] != nil {
			t.Errorf("%v", code)
		}
	})
	t.Run("authorization_pending, then tokens as the scopes ask", func(t *testing.T) {
		code := begin()
		if got := poll(code["device_code"]); got["error"] != "authorization_pending" {
			t.Errorf("%v", got)
		}
		page := c.do("GET", code["verification_uri"].(string)+"?auto=accept&as="+c.tenant.ID()+"&code="+url.QueryEscape(code["user_code"].(string)), nil)
		page.Body.Close()
		got := poll(code["device_code"])
		if page.StatusCode != 200 || got["access_token"] == nil || got["refresh_token"] == nil || got["id_token"] == nil || got["scope"] != "User.Read.All" {
			t.Fatalf("%v", got)
		}
		claims := claimsOf(t, got["access_token"].(string))
		if claims["scp"] != "User.Read.All" || claims["roles"] != nil {
			t.Errorf("%v", claims)
		}
		c.token = got["access_token"].(string)
		c.get("users")
		if got := c.code("groups"); got != "403 Authorization_RequestDenied" {
			t.Error(got)
		}
		refresh := url.Values{"grant_type": {"refresh_token"}, "client_id": {graphsim.DefaultClientID}, "refresh_token": {got["refresh_token"].(string)}}
		again := c.postForm("common/oauth2/v2.0/token", refresh)
		if again["access_token"] == nil || again["refresh_token"] == nil {
			t.Errorf("%v", again)
		}
		refresh.Set("refresh_token", "x")
		if bad := c.postForm("common/oauth2/v2.0/token", refresh); bad["error"] != "invalid_grant" {
			t.Errorf("%v", bad)
		}
	})
	t.Run("authorization_declined", func(t *testing.T) {
		code := begin()
		must(t, s.DeclineDevice(code["user_code"].(string)))
		if got := poll(code["device_code"]); got["error"] != "authorization_declined" {
			t.Errorf("%v", got)
		}
	})
	t.Run("bad_verification_code", func(t *testing.T) {
		if got := poll("nothing"); got["error"] != "bad_verification_code" {
			t.Errorf("%v", got)
		}
	})
	t.Run("expired_token", func(t *testing.T) {
		code := begin()
		s.Advance(16 * time.Minute)
		if got := poll(code["device_code"]); got["error"] != "expired_token" {
			t.Errorf("%v", got)
		}
	})
}

// signed makes a JWT for an assertion or a proof.
func signed(t *testing.T, key *rsa.PrivateKey, cert []byte, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodPS256, claims)
	sum := sha256.Sum256(cert)
	token.Header["x5t#S256"] = base64.RawURLEncoding.EncodeToString(sum[:])
	text, err := token.SignedString(key)
	must(t, err)
	return text
}

func (c *client) assertion(t *testing.T, key *rsa.PrivateKey, cert []byte, appID string) url.Values {
	now := time.Now()
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {appID}, "scope": {"https://graph.microsoft.com/.default"},
		"client_assertion_type": {assertionType}, "client_assertion": {signed(t, key, cert, jwt.MapClaims{
			"aud": c.s.URL() + "/" + c.tenant.ID() + "/oauth2/v2.0/token", "iss": appID, "sub": appID, "jti": "1", "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()})}}
}

const registrationScope = "Application.ReadWrite.All AppRoleAssignment.ReadWrite.All"

// Source: "Upsert application", "application: addKey", "servicePrincipal: grant an
// appRoleAssignment", "Application delete"; and what is seen in the field around them.
func TestConformanceRegistration(t *testing.T) {
	t.Parallel()
	prefer := []string{"Prefer", "create-if-missing"}
	app := object{"displayName": "Backup", "signInAudience": "AzureADMyOrg"}
	create := func(c *client, unique string) object {
		return c.want(201, "PATCH", "applications(uniqueName='"+unique+"')", app, prefer...)
	}
	principal := func(c *client, appID any) object {
		return c.want(201, "PATCH", fmt.Sprintf("servicePrincipals(appId='%s')", appID), object{}, prefer...)
	}
	key := func(cert []byte) object {
		return object{"type": "AsymmetricX509Cert", "usage": "Verify", "displayName": "CN=fleet", "key": base64.StdEncoding.EncodeToString(cert)}
	}
	graphOf := func(c *client) object {
		return c.get("servicePrincipals(appId='00000003-0000-0000-c000-000000000000')?$select=id,appId,appRoles")
	}
	const mailRead = "810c84a8-4a9e-49e6-bf7d-12d183f40d01"
	as := func(name string, check func(t *testing.T, c *client)) rule {
		return held(name, func(t *testing.T, c *client) { c.operator(registrationScope); check(t, c) })
	}
	conform(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1}, []rule{
		as("the whole sequence ends in a token with the granted role", func(t *testing.T, c *client) {
			made := create(c, "backup-1")
			k, cert := newCertificate(t)
			c.want(204, "PATCH", "applications/"+made["id"].(string), object{"keyCredentials": []object{key(cert)}})
			if got := c.sts(c.assertion(t, k, cert, made["appId"].(string))); got != 700016 {
				t.Errorf("without a service principal: %d", got)
			}
			sp, graph := principal(c, made["appId"]), graphOf(c)
			grant := object{"principalId": sp["id"], "resourceId": graph["id"], "appRoleId": mailRead}
			path := "servicePrincipals/" + graph["id"].(string) + "/appRoleAssignedTo"
			given := c.want(201, "POST", path, grant)
			if given["principalType"] != "ServicePrincipal" || given["id"] == nil || given["createdDateTime"] == nil {
				t.Errorf("%v", given)
			}
			_, body := c.askToken(c.tenant.ID(), c.assertion(t, k, cert, made["appId"].(string)))
			if roles := claimsOf(t, body["access_token"].(string))["roles"]; fmt.Sprint(roles) != "[Mail.Read]" {
				t.Errorf("roles %v", roles)
			}
			again := c.want(400, "POST", path, grant)["error"].(object)
			if again["code"] != "Request_BadRequest" || again["message"] != "Permission being assigned already exists on the object" {
				t.Errorf("%v", again)
			}
			list := values(c.get("servicePrincipals/" + sp["id"].(string) + "/appRoleAssignments"))
			if len(list) != 1 || list[0]["id"] != given["id"] {
				t.Errorf("%v", list)
			}
			c.want(204, "DELETE", path+"/"+given["id"].(string), nil)
			gone := c.want(400, "DELETE", path+"/"+given["id"].(string), nil)["error"].(object)
			if gone["message"] != "EntitlementGrant being updated or deleted is not found." {
				t.Errorf("%v", gone)
			}
		}),
		as("upsert answers 201 with a body, then 204 without", func(t *testing.T, c *client) {
			made := create(c, "u")
			c.want(204, "PATCH", "applications(uniqueName='u')", app, prefer...)
			if got := c.get("applications(uniqueName='u')"); got["id"] != made["id"] || got["uniqueName"] != "u" {
				t.Errorf("%v", got)
			}
		}),
		as("without Prefer an unknown uniqueName is 404", func(t *testing.T, c *client) {
			c.refused(404, "PATCH", "applications(uniqueName='u')", app)
		}),
		as("displayName is required, names are not unique", func(t *testing.T, c *client) {
			c.refused(400, "POST", "applications", object{"signInAudience": "AzureADMyOrg"})
			a, b := c.want(201, "POST", "applications", app), c.want(201, "POST", "applications", app)
			if a["id"] == b["id"] || a["appId"] == b["appId"] {
				t.Error("the same twice")
			}
		}),
		as("Graph does not create the service principal along", func(t *testing.T, c *client) {
			c.refused(404, "GET", fmt.Sprintf("servicePrincipals(appId='%s')", create(c, "u")["appId"]), nil)
		}),
		as("uniqueName and passwords cannot be set by the body", func(t *testing.T, c *client) {
			for _, name := range []string{"uniqueName", "passwordCredentials", "appId"} {
				c.refused(400, "POST", "applications", object{"displayName": "x", name: "y"})
			}
		}),
		as("at most 50 APIs and 400 permissions", func(t *testing.T, c *client) {
			access := make([]object, 401)
			for i := range access {
				access[i] = object{"id": mailRead, "type": "Role"}
			}
			c.refused(400, "POST", "applications", object{"displayName": "x", "requiredResourceAccess": []object{{"resourceAppId": "g", "resourceAccess": access}}})
			c.refused(400, "POST", "applications", object{"displayName": "x", "requiredResourceAccess": access[:51]})
		}),
		as("keys are shown by GET of one with $select only", func(t *testing.T, c *client) {
			_, cert := newCertificate(t)
			path := "applications/" + create(c, "u")["id"].(string)
			c.want(204, "PATCH", path, object{"keyCredentials": []object{key(cert)}})
			shown := c.get(path + "?$select=keyCredentials")["keyCredentials"].([]any)[0].(object)
			hidden := c.get(path)["keyCredentials"].([]any)[0].(object)
			if shown["key"] != base64.StdEncoding.EncodeToString(cert) || hidden["key"] != nil || shown["customKeyIdentifier"] == nil {
				t.Errorf("%v %v", shown, hidden)
			}
		}),
		as("PATCH sends all keys: one left out is removed, one kept is not altered", func(t *testing.T, c *client) {
			_, one := newCertificate(t)
			_, two := newCertificate(t)
			path := "applications/" + create(c, "u")["id"].(string)
			c.want(204, "PATCH", path, object{"keyCredentials": []object{key(one)}})
			kept := c.get(path + "?$select=keyCredentials")["keyCredentials"].([]any)[0].(object)
			kept["key"] = nil
			c.want(204, "PATCH", path, object{"keyCredentials": []object{kept, key(two)}})
			list := c.get(path + "?$select=keyCredentials")["keyCredentials"].([]any)
			if len(list) != 2 || list[0].(object)["key"] != base64.StdEncoding.EncodeToString(one) {
				t.Errorf("%v", list)
			}
			delete(kept, "usage")
			c.refused(400, "PATCH", path, object{"keyCredentials": []object{kept}})
			kept["usage"], kept["endDateTime"] = "Verify", "2020-01-01T00:00:00Z"
			c.refused(400, "PATCH", path, object{"keyCredentials": []object{kept}})
			c.want(204, "PATCH", path, object{"keyCredentials": []object{}})
			if list := c.get(path + "?$select=keyCredentials")["keyCredentials"].([]any); len(list) != 0 {
				t.Errorf("%v", list)
			}
		}),
		as("dates outside of the certificate's are refused", func(t *testing.T, c *client) {
			_, cert := newCertificate(t)
			late := key(cert)
			late["endDateTime"] = time.Now().AddDate(0, 6, 0).UTC()
			body := c.want(400, "PATCH", "applications/"+create(c, "u")["id"].(string), object{"keyCredentials": []object{late}})
			if !strings.Contains(body["error"].(object)["message"].(string), "end date is invalid") {
				t.Errorf("%v", body)
			}
		}),
		as("addKey and removeKey open with a proof, without a permission", func(t *testing.T, c *client) {
			made := create(c, "u")
			principal(c, made["appId"])
			k, one := newCertificate(t)
			k2, two := newCertificate(t)
			path := "applications/" + made["id"].(string)
			c.want(204, "PATCH", path, object{"keyCredentials": []object{key(one)}})
			operator := c.token
			_, body := c.askToken(c.tenant.ID(), c.assertion(t, k, one, made["appId"].(string)))
			c.token = body["access_token"].(string)
			proof := func(k *rsa.PrivateKey, cert []byte, life time.Duration) string {
				now := time.Now()
				return signed(t, k, cert, jwt.MapClaims{"aud": "00000002-0000-0000-c000-000000000000", "iss": made["id"], "nbf": now.Unix(), "exp": now.Add(life).Unix()})
			}
			add := object{"keyCredential": key(two), "passwordCredential": nil, "proof": proof(k2, two, time.Minute)}
			c.refused(403, "POST", path+"/addKey", add)
			add["proof"] = proof(k, one, time.Hour)
			c.refused(403, "POST", path+"/addKey", add)
			add["proof"] = proof(k, one, 10*time.Minute)
			c.want(200, "POST", path+"/addKey", add)
			if got := c.sts(c.assertion(t, k2, two, made["appId"].(string))); got != 0 {
				t.Errorf("the new key: %d", got)
			}
			c.token = operator
			id := c.get(path + "?$select=keyCredentials")["keyCredentials"].([]any)[0].(object)["keyId"]
			c.want(204, "POST", path+"/removeKey", object{"keyId": id, "proof": proof(k2, two, time.Minute)})
			if got := c.sts(c.assertion(t, k, one, made["appId"].(string))); got != 700027 {
				t.Errorf("the old key: %d", got)
			}
		}),
		as("a secret is shown once and works; an expired one is AADSTS7000222", func(t *testing.T, c *client) {
			made := create(c, "u")
			principal(c, made["appId"])
			path := "applications/" + made["id"].(string)
			p := c.want(200, "POST", path+"/addPassword", object{"passwordCredential": object{"displayName": "x"}})
			form := c.form("client_id", made["appId"].(string), "client_secret", p["secretText"].(string))
			if got := c.sts(form); got != 0 {
				t.Error(got)
			}
			if list := c.get(path)["passwordCredentials"].([]any); list[0].(object)["secretText"] != nil {
				t.Errorf("%v", list)
			}
			c.want(204, "POST", path+"/removePassword", object{"keyId": p["keyId"]})
			p = c.want(200, "POST", path+"/addPassword", object{"passwordCredential": object{"endDateTime": time.Now().Add(-time.Hour).UTC()}})
			form.Set("client_secret", p["secretText"].(string))
			if got := c.sts(form); got != 7000222 {
				t.Error(got)
			}
		}),
		as("Graph's own service principal lists its roles, another object id in each tenant", func(t *testing.T, c *client) {
			graph := graphOf(c)
			i := slices.IndexFunc(graph["appRoles"].([]any), func(v any) bool { return v.(object)["value"] == "Mail.Read" })
			role := graph["appRoles"].([]any)[i].(object)
			if role["id"] != mailRead || role["isEnabled"] != true || fmt.Sprint(role["allowedMemberTypes"]) != "[Application]" {
				t.Errorf("%v", role)
			}
		}),
		as("a reference that is not valid: swapped ids, unknown role", func(t *testing.T, c *client) {
			sp, graph := principal(c, create(c, "u")["appId"]), graphOf(c)
			path := "servicePrincipals/" + graph["id"].(string) + "/appRoleAssignedTo"
			c.refused(400, "POST", path, object{"principalId": graph["id"], "resourceId": sp["id"], "appRoleId": mailRead})
			c.refused(400, "POST", path, object{"principalId": sp["id"], "resourceId": graph["id"], "appRoleId": "00000000-0000-4000-8000-000000000000"})
		}),
		as("an application that is not there has no service principal", func(t *testing.T, c *client) {
			body := c.want(400, "POST", "servicePrincipals", object{"appId": "11111111-1111-4111-8111-111111111111"})["error"].(object)
			if body["code"] != "Request_BadRequest" || !strings.Contains(body["message"].(string), "does not reference a valid application object") {
				t.Errorf("%v", body)
			}
		}),
		as("deletion is soft, takes the service principal along, and restores without it", func(t *testing.T, c *client) {
			made := create(c, "u")
			sp := principal(c, made["appId"])
			c.want(204, "DELETE", "applications/"+made["id"].(string), nil)
			c.refused(404, "GET", "applications/"+made["id"].(string), nil)
			c.refused(404, "GET", "servicePrincipals/"+sp["id"].(string), nil)
			c.refused(404, "DELETE", "applications/"+made["id"].(string), nil)
			if list := values(c.get("directory/deletedItems/microsoft.graph.application")); len(list) != 1 || list[0]["deletedDateTime"] == nil {
				t.Errorf("%v", list)
			}
			c.want(200, "POST", "directory/deletedItems/"+made["id"].(string)+"/restore", object{})
			c.get("applications/" + made["id"].(string))
			c.refused(404, "GET", "servicePrincipals/"+sp["id"].(string), nil)
			c.want(204, "DELETE", "directory/deletedItems/"+sp["id"].(string), nil)
			c.refused(404, "GET", "directory/deletedItems/"+sp["id"].(string), nil)
		}),
		held("a person without the directory role is denied at the grant", func(t *testing.T, c *client) {
			c.operator(registrationScope, graphsim.ApplicationAdministrator)
			sp, graph := principal(c, create(c, "u")["appId"]), graphOf(c)
			if code := c.refused(403, "POST", "servicePrincipals/"+graph["id"].(string)+"/appRoleAssignedTo",
				object{"principalId": sp["id"], "resourceId": graph["id"], "appRoleId": mailRead}); code != "Authorization_RequestDenied" {
				t.Error(code)
			}
		}),
	})
	t.Run("what was just created is not found for a while", func(t *testing.T) {
		t.Parallel()
		s, c := start(t, graphsim.Options{RegistrationDelay: 10 * time.Second}, graphsim.TenantSpec{})
		c.operator(registrationScope)
		made := create(c, "u")
		c.refused(404, "GET", "applications/"+made["id"].(string), nil)
		c.refused(400, "POST", "servicePrincipals", object{"appId": made["appId"]})
		s.Advance(11 * time.Second)
		c.get("applications/" + made["id"].(string))
		sp, graph := principal(c, made["appId"]), graphOf(c)
		grant := object{"principalId": sp["id"], "resourceId": graph["id"], "appRoleId": mailRead}
		c.refused(400, "POST", "servicePrincipals/"+graph["id"].(string)+"/appRoleAssignedTo", grant)
		s.Advance(11 * time.Second)
		c.want(201, "POST", "servicePrincipals/"+graph["id"].(string)+"/appRoleAssignedTo", grant)
	})
	t.Run("a partner sees its customers, up to 300 a page", func(t *testing.T) {
		t.Parallel()
		s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Partner: true})
		for range 3 {
			s.AddTenant(graphsim.TenantSpec{})
		}
		c.tenant.Consent("DelegatedAdminRelationship.Read.All")
		c.token = c.mustToken()
		customers, _, pages := c.round("tenantRelationships/delegatedAdminCustomers?$top=2")
		if len(customers) != 3 || pages != 2 || customers[0]["tenantId"] != customers[0]["id"] || customers[0]["@odata.etag"] == nil {
			t.Errorf("%d pages, %v", pages, customers)
		}
		c.refused(400, "GET", "tenantRelationships/delegatedAdminCustomers?$top=301", nil)
	})
	t.Run("a partner sees its relationships, and by which group they are used", func(t *testing.T) {
		t.Parallel()
		const path = "tenantRelationships/delegatedAdminRelationships"
		s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Partner: true})
		customer := s.AddTenant(graphsim.TenantSpec{})
		s.AddTenant(graphsim.TenantSpec{})
		c.tenant.Consent("DelegatedAdminRelationship.Read.All")
		c.token = c.mustToken()
		all, _, pages := c.round(path + "?$top=1")
		if len(all) != 2 || pages != 2 {
			t.Fatalf("%d pages, %v", pages, all)
		}
		c.refused(400, "GET", path+"?$top=301", nil)
		one := all[0]
		roles := one["accessDetails"].(object)["unifiedRoles"].([]any)
		if one["customer"].(object)["tenantId"] != customer.ID() || len(one["id"].(string)) != 73 || one["status"] != "active" || one["duration"] != "P2Y" ||
			one["@odata.etag"] == nil || roles[0].(object)["roleDefinitionId"] != "e8611ab8-c189-46e8-94e1-60213ab1f814" {
			t.Errorf("%v", one)
		}
		access := values(c.get(path + "/" + one["id"].(string) + "/accessAssignments"))
		if len(access) != 1 || access[0]["accessContainer"].(object)["accessContainerType"] != "securityGroup" || access[0]["status"] != "active" {
			t.Errorf("%v", access)
		}
		c.refused(404, "GET", path+"/"+one["id"].(string)+"x/accessAssignments", nil)
		customer.Consent("DelegatedAdminRelationship.Read.All")
		other := newClient(t, s, customer)
		other.refused(403, "GET", path, nil)
	})
}

// FuzzToken: no bearer and no assertion but a signed one opens anything.
func FuzzToken(f *testing.F) {
	c := fuzzed(f, graphsim.TenantSpec{Users: 1})
	parts := strings.Split(c.token, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	symmetric := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT","kid":"graphsim-1"}`))
	for _, seed := range []string{"", "a.b.c", c.token + "x", c.token[1:], none + "." + parts[1] + ".", symmetric + "." + parts[1] + "." + parts[2],
		parts[0] + "." + parts[1] + ".", parts[0] + "..", strings.Repeat(".", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if token == c.token || strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' }) {
			return // the good one, or no header value
		}
		c := c.in(t)
		good := c.token
		c.token = token
		resp := c.do("GET", "organization", nil)
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("bearer: %d", resp.StatusCode)
		}
		c.token = good
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {graphsim.DefaultClientID}, "scope": {"https://graph.microsoft.com/.default"},
			"client_assertion_type": {assertionType}, "client_assertion": {token}}
		if status, body := c.askToken(c.tenant.ID(), form); status != 400 && status != 401 {
			t.Fatalf("assertion: %d %v", status, body)
		}
		form = url.Values{"grant_type": {"refresh_token"}, "client_id": {graphsim.DefaultClientID}, "refresh_token": {token}}
		if status, body := c.askToken(c.tenant.ID(), form); status != 400 {
			t.Fatalf("refresh: %d %v", status, body)
		}
	})
}
