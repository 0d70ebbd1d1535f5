package graph

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// login serves a token endpoint and returns the tokens that ask it.
func login(t *testing.T, cfg Config, serve http.HandlerFunc) *tokens {
	t.Helper()
	server := httptest.NewServer(serve)
	cfg.LoginURL, cfg.ClientID = server.URL, testClientID
	if cfg.Certificate == "" {
		cfg.Secret = tenantry.NewSecret(testSecret)
	}
	at, err := resolve(cfg)
	if err != nil {
		t.Fatal(err)
	}
	rt := transport()
	tokens, err := newTokens(cfg, at, rt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		rt.CloseIdleConnections()
		server.Close()
	})
	return tokens
}

func grantToken(w http.ResponseWriter, value string, seconds int) {
	writeJSON(w, 200, map[string]any{"token_type": "Bearer", "expires_in": seconds, "access_token": value})
}

func refuseToken(status, code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, status, map[string]any{"error": "unauthorized_client", "error_description": "AADSTS: text\r\nTrace ID: x",
			"error_codes": []int{code}, "trace_id": "trace-5"})
	}
}

func TestTokenRequest(t *testing.T) {
	tokens := login(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		form := map[string]string{"grant_type": "client_credentials", "client_id": testClientID, "client_secret": testSecret,
			"scope": "https://graph.microsoft.com/.default"}
		for k, want := range form {
			if got := r.PostFormValue(k); got != want {
				t.Errorf("%s is %q, want %q", k, got, want)
			}
		}
		if r.URL.Path != "/"+testDirectory+"/oauth2/v2.0/token" {
			t.Errorf("path is %s", r.URL.Path)
		}
		grantToken(w, "tok", 3600)
	})
	if got, err := tokens.get(t.Context(), holder{directory: testDirectory}); got != "tok" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestOneTokenForAll: a worker's slots that start together ask once.
func TestOneTokenForAll(t *testing.T) {
	var mu sync.Mutex
	asked := 0
	tokens := login(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		asked++
		mu.Unlock()
		grantToken(w, "tok", 3600)
	})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if got, err := tokens.get(t.Context(), holder{directory: testDirectory}); got != "tok" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	wg.Wait()
	if asked != 1 {
		t.Errorf("%d token requests", asked)
	}
	tokens.drop("an older one")
	if _, err := tokens.get(t.Context(), holder{directory: testDirectory}); err != nil || asked != 1 {
		t.Errorf("%d token requests after a late 401, %v", asked, err)
	}
}

// TestWhoeverGivesUp leaves the others their token.
func TestWhoeverGivesUp(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	tokens := login(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		grantToken(w, "tok", 3600)
	})
	ctx, cancel := context.WithCancel(t.Context())
	impatient := make(chan error)
	go func() {
		_, err := tokens.get(ctx, holder{directory: testDirectory})
		impatient <- err
	}()
	<-asked
	cancel()
	wantKind(t, <-impatient, tenantry.Canceled)
	close(release)
	if got, err := tokens.get(t.Context(), holder{directory: testDirectory}); got != "tok" || err != nil { // a second request would close asked twice
		t.Errorf("%q, %v", got, err)
	}
}

// TestRenewal: in the last minutes a token is renewed; if that fails in passing,
// the old one still serves.
func TestRenewal(t *testing.T) {
	serve := inTurn(
		func(w http.ResponseWriter, _ *http.Request) { grantToken(w, "one", 3600) },
		answerWith(503, "<html>"),
		func(w http.ResponseWriter, _ *http.Request) { grantToken(w, "two", 3600) },
	)
	tokens := login(t, Config{}, serve)
	age := func() {
		tokens.mu.Lock()
		defer tokens.mu.Unlock()
		k := tokens.known[testDirectory]
		k.renew = time.Now().Add(-time.Second)
		tokens.known[testDirectory] = k
	}
	for i, want := range []string{"one", "one", "one", "two"} {
		got, err := tokens.get(t.Context(), holder{directory: testDirectory})
		if got != want || err != nil {
			t.Fatalf("round %d: %q, %v, want %q", i, got, err, want)
		}
		if i != 1 { // after the failure the old one is left alone for a while
			age()
		}
	}
}

func TestTokenLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		life := time.Duration(rapid.Int64Range(1, 28*3600).Draw(t, "seconds")) * time.Second
		k := newToken("x", noon.Add(life), noon)
		early := k.expires.Sub(k.renew)
		if early > life/2 || early > renewBefore+renewJitter || life > 2*(renewBefore+renewJitter) && early < renewBefore {
			t.Fatalf("a token of %v is renewed %v before its end", life, early)
		}
	})
}

func TestSignInClasses(t *testing.T) {
	for _, test := range []struct {
		status, code int
		kind         tenantry.Kind
	}{
		{400, 700016, tenantry.Reconnect}, {400, 65001, tenantry.Reconnect}, {400, 90002, tenantry.Reconnect},
		{400, 7000112, tenantry.Reconnect}, {400, 53003, tenantry.Reconnect},
		{401, 7000215, tenantry.Shared}, {401, 7000222, tenantry.Shared}, {401, 700027, tenantry.Shared}, {400, 50013, tenantry.Shared},
		{400, 90033, tenantry.Transient}, {503, 0, tenantry.Transient}, {400, 90055, tenantry.Throttled}, {429, 0, tenantry.Throttled},
		{400, 900432, tenantry.Invalid}, {400, 650052, tenantry.Denied}, {400, 999999, tenantry.Reconnect}, // by "unauthorized_client"
	} {
		tokens := login(t, Config{}, refuseToken(test.status, test.code))
		_, err := tokens.get(t.Context(), holder{directory: testDirectory})
		if got := tenantry.KindOf(err); got != test.kind {
			t.Errorf("%d is %s, want %s: %v", test.code, got, test.kind, err)
		}
		if test.kind == tenantry.Throttled && tenantry.UntilOf(err).IsZero() {
			t.Errorf("%d has no time to come back", test.code)
		}
		if test.code == 700016 && (tenantry.CodeOf(err) != "AADSTS700016" || !strings.Contains(err.Error(), "trace-5")) {
			t.Errorf("code or trace is missing: %v", err)
		}
	}
}

// TestRefusalsAreRemembered for a moment: a thousand tasks of a tenant that was
// disconnected ask once; a person who asks for the grant is answered anew.
func TestRefusalsAreRemembered(t *testing.T) {
	asked := 0
	tokens := login(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked < 2 {
			refuseToken(400, 700016)(w, r)
			return
		}
		grantToken(w, "tok", 3600)
	})
	for range 3 {
		_, err := tokens.get(t.Context(), holder{directory: testDirectory})
		wantKind(t, err, tenantry.Reconnect)
	}
	if asked != 1 {
		t.Errorf("%d token requests", asked)
	}
	if _, err := tokens.fetch(t.Context(), holder{directory: testDirectory}, true); err != nil {
		t.Error(err)
	}
	if got, err := tokens.get(t.Context(), holder{directory: testDirectory}); got != "tok" || err != nil {
		t.Errorf("%q, %v after the consent was repaired", got, err)
	}
}

func TestLoginThatCannotBeReached(t *testing.T) {
	tokens := login(t, Config{}, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	_, err := tokens.get(t.Context(), holder{directory: testDirectory})
	wantKind(t, err, tenantry.Transient)
	if strings.Contains(err.Error(), url.QueryEscape(testSecret)) {
		t.Error("the secret shows")
	}
	tokens = login(t, Config{}, answerWith(302, "", "Location", "https://evil.example/"))
	_, err = tokens.get(t.Context(), holder{directory: testDirectory})
	wantKind(t, err, tenantry.Transient)
}

func TestAssertion(t *testing.T) {
	key, file, der := certificate(t)
	var audience string
	tokens := login(t, Config{Certificate: file}, func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("client_secret") != "" || r.PostFormValue("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			t.Errorf("form: %v", r.PostForm)
		}
		var claims jwt.RegisteredClaims
		token, err := jwt.ParseWithClaims(r.PostFormValue("client_assertion"), &claims,
			func(*jwt.Token) (any, error) { return &key.PublicKey, nil }, jwt.WithValidMethods([]string{"PS256"}))
		if err != nil {
			t.Error(err)
			return
		}
		sum := sha256.Sum256(der)
		if token.Header["x5t#S256"] != base64.RawURLEncoding.EncodeToString(sum[:]) {
			t.Errorf("header: %v", token.Header)
		}
		if claims.Issuer != testClientID || claims.Subject != testClientID || claims.ID == "" || claims.Audience[0] != audience {
			t.Errorf("claims: %+v", claims)
		}
		grantToken(w, "tok", 3600)
	})
	audience = tokens.at.tokenURL(testDirectory)
	if _, err := tokens.get(t.Context(), holder{directory: testDirectory}); err != nil {
		t.Error(err)
	}
}

// certificate writes a self-signed certificate with its key to a file.
func certificate(t *testing.T) (key *rsa.PrivateKey, file string, der []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tenantry"}, NotAfter: time.Now().Add(time.Hour)}
	der, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	file = filepath.Join(t.TempDir(), "app.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return key, file, der
}

func TestConfigurations(t *testing.T) {
	good := Config{ClientID: testClientID, Secret: tenantry.NewSecret(testSecret)}
	with := func(change func(*Config)) Config {
		c := good
		change(&c)
		return c
	}
	for _, test := range []struct {
		cfg  Config
		name string // of the key that the error has to name; "" none
	}{
		{good, ""},
		{with(func(c *Config) { c.Cloud = "gcchigh" }), ""},
		{with(func(c *Config) { c.GraphURL = "http://[::1]:1/v1.0/" }), ""},
		{with(func(c *Config) { c.Cloud = "mars" }), "cloud"},
		{with(func(c *Config) { c.GraphURL = "http://graph.example" }), "graph-url"},
		{with(func(c *Config) { c.GraphURL = "graph.example" }), "graph-url"},
		{with(func(c *Config) { c.LoginURL = "ftp://127.0.0.1" }), "login-url"},
		{with(func(c *Config) { c.LoginURL = "https://user:pw@host" }), "login-url"},
		{with(func(c *Config) { c.ClientID = "" }), "client-id"},
		{with(func(c *Config) { c.Secret = tenantry.Secret{} }), "client-secret"},
		{with(func(c *Config) { c.Certificate = "/does/not/exist.pem" }), "certificate"},
	} {
		client, err := New(test.cfg, &unmetered{})
		if test.name == "" {
			if err != nil {
				t.Error(err)
			} else if !strings.HasSuffix(client.at.graph.String(), "/v1.0") || strings.Count(client.at.graph.String(), "v1.0") != 1 {
				t.Errorf("root is %s", client.at.graph)
			}
			continue
		}
		wantKind(t, err, tenantry.Invalid)
		if !strings.HasPrefix(err.Error(), test.name+":") {
			t.Errorf("the error does not name %s: %v", test.name, err)
		}
	}
}

func TestConsentURL(t *testing.T) {
	got, err := ConsentURL(Config{Cloud: "china", ClientID: testClientID}, "", "st ate", "https://x.example/cb?a=b")
	want := "https://login.partner.microsoftonline.cn/common/adminconsent?client_id=" + testClientID +
		"&redirect_uri=https%3A%2F%2Fx.example%2Fcb%3Fa%3Db&state=st+ate"
	if got != want || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}

func TestContentHosts(t *testing.T) {
	at, err := resolve(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for link, want := range map[string]bool{
		"https://contoso-my.sharepoint.com/a?tempauth=x": true, "https://outlook.office.com/up": true,
		"http://contoso.sharepoint.com/a": false, "https://sharepoint.com.evil.example/": false, "https://evilsharepoint.com/": false,
		"https://user@contoso.sharepoint.com/": false, "https://contoso.sharepoint.us/": false, "http://127.0.0.1/": false, "/relative": false, "": false,
	} {
		if got := at.contentLink(link); got != want {
			t.Errorf("%s: %v", link, got)
		}
	}
}

func TestGrant(t *testing.T) {
	m, tenant := newMicrosoft(t, answerWith(200, "{}"), nil)
	grant, err := tenant.Grant(t.Context())
	if err != nil || grant.DirectoryID != testDirectory || len(grant.Roles) != 1 || time.Until(grant.Expires) < 50*time.Minute {
		t.Errorf("%+v, %v", grant, err)
	}
	if _, err = tenant.Grant(t.Context()); err != nil || m.tokenCount() != 2 {
		t.Errorf("a grant from memory: %v, %d requests", err, m.tokenCount())
	}
	_, err = readGrant("opaque")
	var e *tenantry.Error
	if !errors.As(err, &e) || e.Kind != tenantry.Internal || strings.Contains(err.Error(), "opaque") {
		t.Errorf("%v", err)
	}
}
