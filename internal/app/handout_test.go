package app

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Tokens for workers outside go by the provider's credential alone, whatever stands in the rows of the tenant, which such
// a worker may write; a credential that is on the workers' machines alone keeps no API from starting.
func TestIssuers(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	login := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		token := strings.Join([]string{r.PostFormValue("client_id"), r.PostFormValue("client_secret"), r.URL.Path}, " ")
		_, _ = w.Write([]byte(`{"token_type":"Bearer","expires_in":3600,"access_token":"` + token + `"}`))
	}))
	t.Cleanup(login.Close)
	cat, err := catalog.Open(ctx, catalogtest.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cat.Close() })
	keys, err := repository.OpenKeyFile(filepath.Join(t.TempDir(), "keys"), true)
	if err != nil {
		t.Fatal(err)
	}
	sealed := func(owner tenantry.TenantID, client, secret string) catalog.Credential {
		c := catalog.Credential{ID: "c-" + client, Purpose: tenantry.ToBackup, Kind: catalog.ClientSecret, ClientID: client, AddedAt: time.Now()}
		plain, err := tenantry.CredentialSecret{ID: c.ID, Secret: tenantry.NewSecret(secret)}.Seal()
		if err != nil {
			t.Fatal(err)
		}
		if c.Wrapped, c.KeyID, err = keys.Wrap(ctx, owner, plain); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := cat.Fleet().AddTenant(ctx, catalog.TenantRow{ID: "t-1", Name: "one", Directory: "one.example", AddedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := cat.Tenant("t-1").AddCredential(ctx, sealed("t-1", "theirs", "their-secret")); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Cloud: "global", ClientID: "ours", LoginURL: login.URL}
	open := func(cfg Config) issuers {
		t.Helper()
		all, err := newIssuers(cfg, cat, keys, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	gives := func(what string, all issuers, want string) {
		t.Helper()
		for purpose, directory := range map[tenantry.Purpose]string{tenantry.ToBackup: "one.example", tenantry.ToRestore: "two.example"} {
			got, err := all.Token(ctx, "t-1", "", directory, purpose)
			if want := want + " /" + directory + "/oauth2/v2.0/token"; err != nil || got.Value.Reveal() != want {
				t.Errorf("%s: %s: %q, %v, want %q", what, purpose, got.Value.Reveal(), err, want)
			}
		}
	}

	elsewhere := cfg
	elsewhere.Certificate = filepath.Join(t.TempDir(), "not-here.pem")
	for what, all := range map[string]issuers{"none": open(cfg), "one that is elsewhere": open(elsewhere)} {
		if has, err := all.Has(ctx, ""); has || err != nil {
			t.Errorf("%s: has a credential: %v, %v", what, has, err)
		}
		if _, err := all.Token(ctx, "t-1", "", "one.example", tenantry.ToBackup); tenantry.KindOf(err) != tenantry.Denied {
			t.Errorf("%s: %v", what, err)
		}
	}
	configured := cfg
	configured.ClientSecret = tenantry.NewSecret("configured-secret")
	all := open(configured)
	if has, err := all.Has(ctx, "global"); !has || err != nil {
		t.Errorf("configured: %v, %v", has, err)
	}
	gives("configured", all, "ours configured-secret")
	if has, err := all.Has(ctx, "china"); has || err != nil {
		t.Errorf("another cloud: %v, %v", has, err)
	}
	if _, err := all.Token(ctx, "t-1", "china", "one.example", tenantry.ToBackup); tenantry.CodeOf(err) != "cloud" {
		t.Errorf("another cloud: %v", err)
	}
	if err := cat.Fleet().AddCredential(ctx, sealed(tenantry.FleetOwner, "ours-too", "wrapped-secret")); err != nil {
		t.Fatal(err)
	}
	gives("in SQL", open(configured), "ours-too wrapped-secret")
}
