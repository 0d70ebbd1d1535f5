package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/servertest/openid"
	"github.com/tenantry/tenantry/internal/signin"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// newSignInAPI is a real API whose people sign in with a real provider.
func newSignInAPI(t *testing.T) (address string, provider *openid.Server) {
	t.Helper()
	provider = openid.Start(t, "http://localhost:9/login/callback", map[string][]string{"ada": {"admins"}})
	people, err := signin.New(signin.Config{Issuer: provider.Issuer, ClientID: provider.ClientID, DeviceClientID: provider.DeviceClientID,
		Grants: []signin.Grant{{Value: "admins", Role: "provider-admin"}}})
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Open(t.Context(), catalogtest.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cat.Close() })
	handler, err := api.New(api.Config{Catalog: cat, PublicURL: "https://backup.example.com", SignIn: people})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL, provider
}

// typed watches what a command prints and types the code into the provider.
type typed struct {
	bytes.Buffer
	provider *openid.Server
}

var shownCode = regexp.MustCompile(`shows the code ([A-Z-]+)`)

func (p *typed) Write(b []byte) (int, error) {
	if code := shownCode.FindSubmatch(b); code != nil {
		p.provider.TypeCode(string(code[1]), "ada", true)
	}
	return p.Buffer.Write(b)
}

// tenantryCommand runs a command as main does.
func tenantryCommand(t *testing.T, errors *typed, args ...string) (string, error) {
	t.Helper()
	root := rootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(errors)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// Somebody signs in once by a code; commands work without a token, at that API alone.
func TestLogin(t *testing.T) {
	address, provider := newSignInAPI(t)
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("TENANTRY_TOKEN", "")
	t.Setenv("TENANTRY_URL", address)
	shown := &typed{provider: provider}
	if _, err := tenantryCommand(t, shown, "whoami"); tenantry.KindOf(err) != tenantry.Invalid {
		t.Fatalf("before: %v", err)
	}
	if _, err := tenantryCommand(t, shown, "login"); err != nil {
		t.Fatalf("%v: %s", err, shown)
	}
	if out, err := tenantryCommand(t, shown, "whoami"); err != nil || !strings.Contains(out, "ada/subject-ada") {
		t.Fatalf("%v: %s", err, out)
	}
	file := filepath.Join(home, "tenantry", "sign-in.json")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	var sent atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sent.Store(true) }))
	defer elsewhere.Close()
	if _, err := tenantryCommand(t, shown, "whoami", "--url", elsewhere.URL); tenantry.KindOf(err) != tenantry.Invalid || sent.Load() {
		t.Errorf("another API: %v, sent %v", err, sent.Load())
	}
	if _, err := tenantryCommand(t, shown, "logout"); err != nil {
		t.Fatal(err)
	}
	if _, err := tenantryCommand(t, shown, "whoami"); tenantry.KindOf(err) != tenantry.Invalid {
		t.Errorf("after: %v", err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tenantryCommand(t, shown, "whoami"); tenantry.KindOf(err) != tenantry.Invalid || !strings.Contains(err.Error(), file) {
		t.Errorf("a spoilt file: %v", err)
	}
}
