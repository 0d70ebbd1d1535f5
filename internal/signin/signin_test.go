package signin_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"

	"github.com/tenantry/tenantry/internal/servertest/openid"
	"github.com/tenantry/tenantry/internal/signin"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const redirect = "http://localhost:9/login/callback"

var roles = map[string][]string{
	"ada": {"other", "backup-admins"}, "bob": {"contoso-it"}, "eve": {"nothing", "Backup-Admins"}, "both": {"contoso-it", "backup-admins"},
}

func start(t *testing.T, now func() time.Time) (*openid.Server, *signin.Provider) {
	t.Helper()
	server := openid.Start(t, redirect, roles)
	grants, err := signin.ParseGrants(" backup-admins=operator , contoso-it=tenant-admin@t-1,")
	must(t, err)
	p, err := signin.New(signin.Config{Issuer: server.Issuer, ClientID: server.ClientID, ClientSecret: tenantry.NewSecret(server.ClientSecret), Grants: grants, Now: now})
	must(t, err)
	return server, p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The first grant whose value somebody holds gives the role; who holds none may nothing.
func TestGrants(t *testing.T) {
	t.Parallel()
	server, p := start(t, nil)
	for name, want := range map[string]signin.Person{
		"ada": {Name: "ada/subject-ada", Role: "operator"}, "bob": {Name: "bob/subject-bob", Role: "tenant-admin", Tenant: "t-1"},
		"both": {Name: "both/subject-both", Role: "operator"}, "eve": {},
	} {
		got, err := p.Verify(t.Context(), server.IDToken(server.ClientID, server.ClientSecret, redirect, name))
		if want.Name == "" {
			if tenantry.KindOf(err) != tenantry.Forbidden || !strings.Contains(err.Error(), `"roles"`) {
				t.Errorf("%s: %+v %v", name, got, err)
			}
			continue
		}
		if until := time.Until(got.Expires); err != nil || until < 30*time.Minute || until > 2*time.Hour {
			t.Errorf("%s: %v, expires in %v", name, err, until)
		}
		got.Expires = time.Time{}
		if got != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A browser goes to the provider and comes back with a code that is good once, for the
// sign-in that it was made for.
func TestCode(t *testing.T) {
	t.Parallel()
	server, p := start(t, nil)
	sign := func() (code, verifier string) {
		verifier = oauth2.GenerateVerifier()
		page, err := p.CodeURL(t.Context(), redirect, "the state", "the nonce", verifier)
		must(t, err)
		back, err := url.Parse(server.Browse(page, "ada"))
		must(t, err)
		if back.Query().Get("state") != "the state" || !strings.HasPrefix(back.String(), redirect) {
			t.Fatalf("back at %s", back)
		}
		return back.Query().Get("code"), verifier
	}
	code, verifier := sign()
	got, err := p.Exchange(t.Context(), redirect, code, "the nonce", verifier)
	if err != nil || got.Name != "ada/subject-ada" || got.Role != "operator" {
		t.Fatalf("%+v %v", got, err)
	}
	unauthorized := func(what, code, nonce, verifier string) {
		t.Helper()
		if _, err := p.Exchange(t.Context(), redirect, code, nonce, verifier); tenantry.KindOf(err) != tenantry.Unauthorized {
			t.Errorf("%s: %v", what, err)
		}
	}
	unauthorized("a code again", code, "the nonce", verifier)
	unauthorized("no code", "nothing", "the nonce", verifier)
	code, _ = sign()
	unauthorized("another verifier", code, "the nonce", oauth2.GenerateVerifier())
	code, verifier = sign()
	unauthorized("another nonce", code, "other", verifier)
}

// A program shows a code, waits until somebody typed it, and renews what it got.
func TestDevice(t *testing.T) {
	t.Parallel()
	server, p := start(t, nil)
	device, err := signin.New(signin.Config{Issuer: server.Issuer, ClientID: server.ClientID, DeviceClientID: server.DeviceClientID, Grants: p.Grants()})
	must(t, err)
	s, err := signin.Device(t.Context(), device.Issuer(), device.DeviceClientID(), func(page, code string) {
		if !strings.HasPrefix(page, server.Issuer+"/device") {
			t.Errorf("page %q", page)
		}
		server.TypeCode(code, "ada", true)
	})
	must(t, err)
	if who, err := device.Verify(t.Context(), s.IDToken); err != nil || who.Name != "ada/subject-ada" || who.Role != "operator" {
		t.Fatalf("%+v %v", who, err)
	}
	if _, err := p.Verify(t.Context(), s.IDToken); tenantry.KindOf(err) != tenantry.Unauthorized {
		t.Errorf("where programs have no client of their own: %v", err)
	}
	same, err := s.Fresh(t.Context(), time.Now())
	if err != nil || same != s {
		t.Errorf("%+v %v", same, err)
	}
	renewed, err := s.Fresh(t.Context(), s.Expires)
	must(t, err)
	if _, err := device.Verify(t.Context(), renewed.IDToken); err != nil || renewed.IDToken == s.IDToken || renewed.Refresh == s.Refresh {
		t.Errorf("%+v %v", renewed, err)
	}
	if _, err := s.Fresh(t.Context(), s.Expires); tenantry.KindOf(err) != tenantry.Unauthorized {
		t.Errorf("renewed by a used token: %v", err)
	}
	s.Refresh = ""
	if _, err := s.Fresh(t.Context(), s.Expires); tenantry.KindOf(err) != tenantry.Unauthorized {
		t.Errorf("without a way to renew: %v", err)
	}
	_, err = signin.Device(t.Context(), server.Issuer, server.DeviceClientID, func(_, code string) { server.TypeCode(code, "ada", false) })
	if tenantry.KindOf(err) != tenantry.Unauthorized {
		t.Errorf("refused: %v", err)
	}
	if _, err := signin.Device(t.Context(), "http://login.example.com", "c", nil); tenantry.KindOf(err) != tenantry.Invalid {
		t.Errorf("plain http: %v", err)
	}
}

// Whatever is wrong with a token, it opens nothing.
func TestWrongTokens(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var ahead atomic.Int64
	server, p := start(t, func() time.Time { return now.Add(time.Duration(ahead.Load())) })
	good := server.IDToken(server.ClientID, server.ClientSecret, redirect, "ada")
	if _, err := p.Verify(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	head, payload, signature := parts(good)
	claims := func(change map[string]any) string {
		var all map[string]any
		data, err := base64.RawURLEncoding.DecodeString(payload)
		must(t, err)
		must(t, json.Unmarshal(data, &all))
		for name, value := range change {
			all[name] = value
		}
		data, err = json.Marshal(all)
		must(t, err)
		return base64.RawURLEncoding.EncodeToString(data)
	}
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	shared, err := jwt.New(jwt.SigningMethodHS256).SignedString([]byte(server.ClientSecret))
	must(t, err)
	for name, token := range map[string]string{
		"empty": "", "words": "not a token", "two dots": "..",
		"no signature": head + "." + payload + ".", "another payload": head + "." + claims(map[string]any{"roles": []string{"backup-admins"}, "sub": "eve"}) + "." + signature,
		"algorithm none":    encode(`{"alg":"none","typ":"JWT"}`) + "." + payload + ".",
		"of another client": server.IDToken("other", "of another client", redirect, "ada"),
		"a shared secret":   shared,
	} {
		if got, err := p.Verify(t.Context(), token); tenantry.KindOf(err) != tenantry.Unauthorized {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	for name, at := range map[string]time.Duration{"expired": 3 * time.Hour} {
		ahead.Store(int64(at))
		if got, err := p.Verify(t.Context(), good); tenantry.KindOf(err) != tenantry.Unauthorized {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	ahead.Store(0)
	elsewhere, err := signin.New(signin.Config{Issuer: server.Issuer, ClientID: "tenantry", Grants: p.Grants(), Claim: "groups"})
	must(t, err)
	if _, err := elsewhere.Verify(t.Context(), good); tenantry.KindOf(err) != tenantry.Forbidden {
		t.Errorf("another claim: %v", err)
	}
}

// Clocks differ by some minutes: the provider's may be ahead by as much as the verifier bears (five minutes, of its own
// choice), what has ended by ours has ended, and a token without an end is none.
func TestClocksDiffer(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	answer := func(path string, what any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(what) })
	}
	answer("/.well-known/openid-configuration", map[string]any{
		"issuer": server.URL, "jwks_uri": server.URL + "/keys", "id_token_signing_alg_values_supported": []string{"EdDSA"},
	})
	answer("/keys", map[string]any{"keys": []any{map[string]any{
		"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "k", "x": base64.RawURLEncoding.EncodeToString(public),
	}}})
	now := time.Now().Truncate(time.Second)
	p, err := signin.New(signin.Config{Issuer: server.URL, ClientID: "c", Now: func() time.Time { return now },
		Grants: []signin.Grant{{Value: "backup-admins", Role: "operator"}}})
	must(t, err)
	const never = 100 * time.Hour
	for _, c := range []struct {
		name        string
		begins, end time.Duration // from now on
		good        bool
	}{
		{"the same clock", 0, time.Hour, true},
		{"theirs is four minutes ahead", 4 * time.Minute, 64 * time.Minute, true},
		{"theirs is six minutes ahead", 6 * time.Minute, 66 * time.Minute, false},
		{"theirs is four minutes behind", -4 * time.Minute, 56 * time.Minute, true},
		{"about to end", -time.Hour, time.Second, true},
		{"ended a second ago", -time.Hour, -time.Second, false},
		{"ends before it begins", 2 * time.Minute, -time.Minute, false},
		{"without an end", 0, never, false},
	} {
		claims := jwt.MapClaims{"iss": server.URL, "aud": "c", "sub": "ada", "roles": []string{"backup-admins"},
			"iat": now.Add(c.begins).Unix(), "nbf": now.Add(c.begins).Unix()}
		if c.end != never {
			claims["exp"] = now.Add(c.end).Unix()
		}
		token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
		token.Header["kid"] = "k"
		signed, err := token.SignedString(private)
		must(t, err)
		who, err := p.Verify(t.Context(), signed)
		if c.good && (err != nil || who.Role != "operator") || !c.good && tenantry.KindOf(err) != tenantry.Unauthorized {
			t.Errorf("%s: %+v %v", c.name, who, err)
		}
	}
}

func parts(token string) (head, payload, signature string) {
	p := strings.Split(token, ".")
	return p[0], p[1], p[2]
}

// A provider that is away stops nobody whose key is known; others are told to try again.
func TestProviderIsAway(t *testing.T) {
	t.Parallel()
	server, p := start(t, nil)
	token := server.IDToken(server.ClientID, server.ClientSecret, redirect, "ada")
	_, err := p.Verify(t.Context(), token)
	must(t, err)
	late, err := signin.New(signin.Config{Issuer: server.Issuer, ClientID: server.ClientID, Grants: p.Grants()})
	must(t, err)
	server.Stop()
	if _, err := p.Verify(t.Context(), token); err != nil {
		t.Errorf("with known keys: %v", err)
	}
	_, payload, signature := parts(token)
	stranger := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"unknown"}`)) + "." + payload + "." + signature
	if _, err := p.Verify(t.Context(), stranger); tenantry.KindOf(err) != tenantry.Transient {
		t.Errorf("an unknown key: %v", err)
	}
	if _, err := late.Verify(t.Context(), token); tenantry.KindOf(err) != tenantry.Transient {
		t.Errorf("not discovered: %v", err)
	}
	if _, err := late.CodeURL(t.Context(), redirect, "s", "n", "v"); tenantry.KindOf(err) != tenantry.Transient {
		t.Errorf("not discovered: %v", err)
	}
}

// A provider that answered once not is asked again, but not by everybody at once; strangers
// cannot make us send it more than a few requests.
func TestProviderIsSpared(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(server.Close)
	now := time.Now()
	p, err := signin.New(signin.Config{Issuer: server.URL, ClientID: "c", Grants: []signin.Grant{{Value: "v", Role: "operator"}}, Now: func() time.Time { return now }})
	must(t, err)
	for range 100 {
		if _, err := p.Verify(t.Context(), "a.b.c"); tenantry.KindOf(err) != tenantry.Transient {
			t.Fatal(err)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
	now = now.Add(time.Minute)
	_, _ = p.Verify(t.Context(), "a.b.c")
	if asked.Load() != 2 {
		t.Errorf("asked %d times", asked.Load())
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	now = now.Add(time.Minute)
	if _, err := p.Verify(gone, "a.b.c"); err == nil {
		t.Error("a caller who is gone was answered")
	}
	_, _ = p.Verify(t.Context(), "a.b.c")
	if asked.Load() != 3 {
		t.Errorf("a caller who was gone stops others: asked %d times", asked.Load())
	}
}

func TestParseGrants(t *testing.T) {
	t.Parallel()
	got, err := signin.ParseGrants("a b=operator, 0f1=tenant-admin@t-9")
	want := []signin.Grant{{"a b", "operator", ""}, {"0f1", "tenant-admin", "t-9"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v", got, err)
	}
	for _, wrong := range []string{"a", "=operator", "a=", "a=operator@", "a=operator,b"} {
		if _, err := signin.ParseGrants(wrong); tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := signin.Config{Issuer: "https://login.example.com", ClientID: "c", Grants: []signin.Grant{{Value: "v", Role: "operator"}}}
	for key, change := range map[string]func(*signin.Config){
		"oidc-issuer":    func(c *signin.Config) { c.Issuer = "http://login.example.com" },
		"oidc-client-id": func(c *signin.Config) { c.ClientID = "" },
		"oidc-grants":    func(c *signin.Config) { c.Grants = nil },
	} {
		cfg := good
		change(&cfg)
		if _, err := signin.New(cfg); tenantry.KindOf(err) != tenantry.Invalid || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}
