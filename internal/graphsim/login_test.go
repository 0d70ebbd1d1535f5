package graphsim_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math"
	"math/big"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tenantry/tenantry/internal/graphsim"
)

func TestTokenErrors(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	stranger := s.AddTenant(graphsim.TenantSpec{Domain: "stranger.example"})
	good := secretForm(graphsim.DefaultClientID, graphsim.DefaultSecret)
	with := func(key, value string) url.Values {
		form := url.Values{}
		for k, v := range good {
			form[k] = v
		}
		form.Set(key, value)
		return form
	}
	for name, tc := range map[string]struct {
		tenant string
		form   url.Values
		code   float64
	}{
		"wrong secret":   {c.tenant.ID(), with("client_secret", "x"), 7000215},
		"no secret":      {c.tenant.ID(), with("client_secret", ""), 7000218},
		"unknown app":    {c.tenant.ID(), with("client_id", "x"), 700016},
		"unknown tenant": {"11111111-1111-4111-8111-111111111111", good, 90002},
		"not consented":  {stranger.ID(), good, 700016},
		"common":         {"common", good, 9001023},
		"wrong scope":    {c.tenant.ID(), with("scope", "https://other.example/.default"), 500011},
		"no default":     {c.tenant.ID(), with("scope", "https://graph.microsoft.com/Mail.Read"), 70011},
		"two resources":  {c.tenant.ID(), with("scope", "https://graph.microsoft.com/.default https://other.example/.default"), 700022},
	} {
		status, body := c.askToken(tc.tenant, tc.form)
		if codes, _ := body["error_codes"].([]any); status < 400 || len(codes) != 1 || codes[0] != tc.code {
			t.Errorf("%s: %d %v", name, status, body)
		}
	}
	if status, body := c.askToken("tenant1.example", good); status != 200 {
		t.Errorf("by domain: %d %v", status, body)
	}
}

func TestBearerAndRoles(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	old := c.token
	for _, token := range []string{"", "x.y.z", old + "x"} {
		c.token = token
		if code := c.refused(401, "GET", "organization", nil); code != "InvalidAuthenticationToken" {
			t.Errorf("token %.10q: %s", token, code)
		}
	}
	c.tenant.Consent("User.Read.All")
	c.token = c.mustToken()
	c.get("users")
	if code := c.refused(403, "GET", "groups", nil); code != "Authorization_RequestDenied" {
		t.Errorf("code %s", code)
	}
	c.tenant.Revoke()
	c.get("users") // lives until it expires
	if status, _ := c.askToken(c.tenant.ID(), secretForm(graphsim.DefaultClientID, graphsim.DefaultSecret)); status != 400 {
		t.Errorf("token after revoke: %d", status)
	}
	c.tenant.RevokeTokens()
	c.refused(401, "GET", "users", nil)
}

func TestTokensExpire(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{TokenLife: time.Nanosecond}, graphsim.TenantSpec{Users: 1})
	c.refused(401, "GET", "users", nil)
}

func TestAccessTokenVerifiesWithPublishedKey(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	discovery := c.get(s.URL() + "/" + c.tenant.ID() + "/v2.0/.well-known/openid-configuration")
	key := c.get(discovery["jwks_uri"].(string))["keys"].([]any)[0].(object)
	n, err := base64.RawURLEncoding.DecodeString(key["n"].(string))
	must(t, err)
	claims := jwt.MapClaims{}
	_, err = jwt.ParseWithClaims(c.token, claims, func(*jwt.Token) (any, error) {
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}, nil
	})
	must(t, err)
	if claims["tid"] != c.tenant.ID() || claims["appid"] != graphsim.DefaultClientID || len(claims["roles"].([]any)) < 5 {
		t.Errorf("claims %v", claims)
	}
}

// A faster clock shortens the life of access tokens, to a minute at least, and of device
// codes; what the answer says is by the client's clock.
func TestClockShortensTokens(t *testing.T) {
	t.Parallel()
	for clock, want := range map[float64][2]float64{1: {3599, 5401}, 40: {89, 136}, 10_000: {59, 60}} {
		_, c := start(t, graphsim.Options{Clock: clock}, graphsim.TenantSpec{Users: 1})
		_, body := c.askToken(c.tenant.ID(), secretForm(graphsim.DefaultClientID, graphsim.DefaultSecret))
		if life := body["expires_in"].(float64); life < want[0] || life > want[1] {
			t.Errorf("clock %v: a token lives %v s", clock, life)
		}
		code := c.postForm("organizations/oauth2/v2.0/devicecode", url.Values{"client_id": {graphsim.DefaultClientID}, "scope": {"User.Read.All"}})
		if got, want := code["expires_in"].(float64), math.Ceil(900/clock); got != want {
			t.Errorf("clock %v: a device code lives %v s, want %v", clock, got, want)
		}
	}
}

// Two servers of a seed have the same tenants, but neither takes the tokens of the other.
func TestTokensAreOfOneServer(t *testing.T) {
	t.Parallel()
	_, one := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	_, two := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	if one.tenant.ID() != two.tenant.ID() {
		t.Fatal("the tenants differ")
	}
	two.token = one.token
	codeIs(t, two.refused(401, "GET", "users", nil), "InvalidAuthenticationToken")
}

func TestCertificateAssertion(t *testing.T) {
	t.Parallel()
	key, cert := newCertificate(t)
	other, _ := newCertificate(t)
	s, c := start(t, graphsim.Options{CertificatePEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})}, graphsim.TenantSpec{Users: 1})
	strong, weak := sha256.Sum256(cert), sha1.Sum(cert)
	audience := s.URL() + "/" + c.tenant.ID() + "/oauth2/v2.0/token"
	for name, tc := range map[string]struct {
		method jwt.SigningMethod
		key    *rsa.PrivateKey
		header map[string]any
		aud    string
		exp    time.Duration
		code   float64
	}{
		"PS256":         {jwt.SigningMethodPS256, key, map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(strong[:])}, audience, time.Minute, 0},
		"PS256 std":     {jwt.SigningMethodPS256, key, map[string]any{"x5t#S256": base64.StdEncoding.EncodeToString(strong[:])}, audience, time.Minute, 0},
		"RS256":         {jwt.SigningMethodRS256, key, map[string]any{"x5t": base64.RawURLEncoding.EncodeToString(weak[:])}, audience, time.Minute, 0},
		"wrong key":     {jwt.SigningMethodPS256, other, map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(strong[:])}, audience, time.Minute, 700027},
		"no thumbprint": {jwt.SigningMethodPS256, key, nil, audience, time.Minute, 700027},
		"expired":       {jwt.SigningMethodPS256, key, map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(strong[:])}, audience, -time.Hour, 500133},
		"audience":      {jwt.SigningMethodPS256, key, map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(strong[:])}, s.URL(), time.Minute, 50012},
	} {
		now := time.Now()
		token := jwt.NewWithClaims(tc.method, jwt.MapClaims{"aud": tc.aud, "iss": graphsim.DefaultClientID, "sub": graphsim.DefaultClientID,
			"jti": name, "nbf": now.Add(-2 * time.Hour).Unix(), "exp": now.Add(tc.exp).Unix()})
		for k, v := range tc.header {
			token.Header[k] = v
		}
		signed, err := token.SignedString(tc.key)
		must(t, err)
		status, body := c.askToken(c.tenant.ID(), url.Values{"grant_type": {"client_credentials"}, "client_id": {graphsim.DefaultClientID},
			"scope": {s.URL() + "/.default"}, "client_assertion": {signed},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}})
		if tc.code == 0 && status == 200 {
			continue
		}
		if codes, _ := body["error_codes"].([]any); len(codes) != 1 || codes[0] != tc.code {
			t.Errorf("%s: %d %v", name, status, body)
		}
	}
}

func newCertificate(t *testing.T) (*rsa.PrivateKey, []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fleet"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	return key, der
}

func TestConsent(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	tenant := s.AddTenant(graphsim.TenantSpec{Domain: "new.example"})
	consent := func(auto, redirect string) (int, url.Values) {
		q := url.Values{"client_id": {graphsim.DefaultClientID}, "state": {"st&1"}, "redirect_uri": {redirect}, "auto": {auto}, "as": {tenant.ID()}}
		resp := c.do("GET", s.URL()+"/common/adminconsent?"+q.Encode(), nil)
		resp.Body.Close()
		location, err := url.Parse(resp.Header.Get("Location"))
		must(t, err)
		return resp.StatusCode, location.Query()
	}
	status, q := consent("refuse", "http://localhost:1/back?x=1")
	if status != http.StatusFound || q.Get("error") != "permission_denied" || q.Get("state") != "st&1" || tenant.Consented() {
		t.Errorf("refuse: %d %v", status, q)
	}
	status, q = consent("accept", "http://localhost:1/back?x=1")
	if status != http.StatusFound || q.Get("tenant") != tenant.ID() || q.Get("admin_consent") != "True" || q.Get("x") != "1" || !tenant.Consented() {
		t.Errorf("accept: %d %v", status, q)
	}
	if status, _ := consent("accept", "https://evil.example/"); status != 400 {
		t.Errorf("foreign redirect: %d", status)
	}
	if status, _ := consent("", "http://localhost:1/back"); status != 200 {
		t.Errorf("page: %d", status)
	}
}

func TestLoginControl(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	post := func(status int, path string, body object) {
		t.Helper()
		resp := c.do("POST", s.AdminURL()+"/_sim/"+path, body)
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	post(200, "tenants/"+c.tenant.ID()+"/refuse", object{"code": 53003, "times": 1})
	if a, b := c.sts(c.form()), c.sts(c.form()); a != 53003 || b != 0 {
		t.Errorf("%d, then %d", a, b)
	}
	post(400, "tenants/"+c.tenant.ID()+"/refuse", object{"code": 1})
	_, body := c.askToken(c.tenant.ID(), c.form("claims", cp1))
	c.token = body["access_token"].(string)
	c.get("users")
	post(200, "tenants/"+c.tenant.ID()+"/challenge", nil)
	c.refused(401, "GET", "users", nil)
	code := c.postForm("common/oauth2/v2.0/devicecode", url.Values{"client_id": {graphsim.DefaultClientID}, "scope": {"User.Read.All"}})
	post(204, "device", object{"userCode": code["user_code"], "tenant": c.tenant.ID(), "name": "ann"})
	post(400, "device", object{"userCode": code["user_code"], "tenant": c.tenant.ID()})
	answer := c.postForm("common/oauth2/v2.0/token", devicePoll(code["device_code"].(string)))
	if claimsOf(t, answer["access_token"].(string))["upn"] != "ann@"+c.tenant.Spec().Domain {
		t.Errorf("%v", answer)
	}
}
