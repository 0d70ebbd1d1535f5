package graph

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// An issuer asks for the directory that it is told and keeps nothing; without a credential it says so.
func TestIssuer(t *testing.T) {
	t.Parallel()
	asked := 0
	book := &applicationBook{}
	i := &Issuer{login(t, Config{Applications: book}, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path != "/contoso.example/oauth2/v2.0/token" || r.PostFormValue("client_secret") != testSecret {
			t.Errorf("asked at %s", r.URL.Path)
		}
		grantToken(w, fmt.Sprint("tok", asked), 4000)
	})}
	ready, err := i.Ready(t.Context())
	if !ready || err != nil {
		t.Errorf("ready %v, %v", ready, err)
	}
	for n := 1; n < 3; n++ {
		before := time.Now()
		got, err := i.Issue(t.Context(), "t-1", "contoso.example", tenantry.ToBackup)
		if err != nil || got.Value.Reveal() != fmt.Sprint("tok", n) {
			t.Fatalf("token %q, %v", got.Value.Reveal(), err)
		}
		if life := got.Expires.Sub(before); life < 4000*time.Second || life > 4000*time.Second+time.Since(before) {
			t.Errorf("it lives %s, want what the authority says", life)
		}
	}
	bare, err := NewIssuer(Config{ClientID: testClientID, Applications: book})
	if err != nil {
		t.Fatal(err)
	}
	if ready, err := bare.Ready(t.Context()); ready || err != nil {
		t.Errorf("without a credential: ready %v, %v", ready, err)
	}
	if _, err := bare.Issue(t.Context(), "t-1", "contoso.example", tenantry.ToBackup); tenantry.KindOf(err) != tenantry.Denied || tenantry.CodeOf(err) != "no_credential" {
		t.Errorf("without a credential: %v", err)
	}
	if _, err := NewIssuer(Config{ClientID: testClientID}); tenantry.KindOf(err) != tenantry.Invalid {
		t.Errorf("without applications: %v", err)
	}
}

// counter gives numbered tokens, or an error.
type counter struct {
	name string

	mu    sync.Mutex
	given int
	life  time.Duration
	err   error
}

func (c *counter) Give(context.Context) (Token, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return Token{}, c.err
	}
	c.given++
	return Token{tenantry.NewSecret(fmt.Sprint(c.name, c.given)), time.Now().Add(c.life)}, nil
}

func (c *counter) set(life time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life, c.err = life, err
}

// Tokens of a giver are kept for a tenant and a purpose until they end or are refused, and then asked for anew.
func TestGiver(t *testing.T) {
	t.Parallel()
	backup, restore := &counter{name: "backup", life: time.Hour}, &counter{name: "restore", life: time.Hour}
	book := &applicationBook{apps: map[tenantry.Purpose]*Application{
		tenantry.ToBackup:  {ClientID: testClientID, Fleet: true, Proofs: []Proof{{Giver: backup}}},
		tenantry.ToRestore: {ClientID: testClientID, Fleet: true, Proofs: []Proof{{Giver: restore}}},
	}}
	tokens := login(t, Config{Applications: book}, func(http.ResponseWriter, *http.Request) { t.Error("Microsoft was asked") })
	get := func(what string, purpose tenantry.Purpose, want string) {
		t.Helper()
		if got, err := tokens.get(t.Context(), holder{tenant: "t-own", directory: testDirectory, purpose: purpose}); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", what, got, err, want)
		}
	}
	get("the first", tenantry.ToBackup, "backup1")
	get("kept", tenantry.ToBackup, "backup1")
	get("for restores", tenantry.ToRestore, "restore1")
	tokens.drop("backup1")
	get("after a 401", tenantry.ToBackup, "backup2")
	get("the other was not refused", tenantry.ToRestore, "restore1")
	if _, err := tokens.fetch(t.Context(), holder{tenant: "t-own", directory: testDirectory, purpose: tenantry.ToBackup}, true); err != nil {
		t.Error(err)
	}
	get("asked for anew", tenantry.ToBackup, "backup3")

	tokens.drop("backup3")
	backup.set(-time.Second, nil)
	get("one that has ended already", tenantry.ToBackup, "backup4")
	backup.set(time.Hour, nil)
	get("the next one", tenantry.ToBackup, "backup5")
	for kind, want := range map[tenantry.Kind]tenantry.Kind{tenantry.Shared: tenantry.Shared, tenantry.Denied: tenantry.Denied, tenantry.Transient: tenantry.Transient} {
		backup.set(0, &tenantry.Error{Kind: kind, Op: "ask"})
		w := holder{tenant: "t-own", directory: testDirectory, purpose: tenantry.ToBackup}
		if _, err := tokens.fetch(t.Context(), w, true); tenantry.KindOf(err) != want {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
