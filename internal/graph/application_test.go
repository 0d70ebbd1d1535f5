package graph

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// book of applications that a test writes.
type applicationBook struct {
	mu   sync.Mutex
	apps map[tenantry.Purpose]*Application
	told []string
}

func (b *applicationBook) Application(_ context.Context, t tenantry.TenantID, p tenantry.Purpose) (*Application, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t != "t-own" {
		return nil, nil
	}
	return b.apps[p], nil
}

func (b *applicationBook) Told(_ context.Context, _ tenantry.TenantID, proof string, refusal error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, proof+":"+tenantry.CodeOf(refusal))
}

// refuseOr grants a token that names who got it, unless the secret is not accepted.
func refuseOr(accepted string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s := r.PostFormValue("client_secret") + r.PostFormValue("client_assertion"); s != testSecret && s != accepted {
			refuseToken(401, 7000215)(w, r)
			return
		}
		grantToken(w, r.PostFormValue("client_id"), 3600)
	}
}

// A tenant's own application speaks for it alone, an old credential works on while a new one is not known yet, and
// what is wrong with it is that tenant's affair.
func TestOwnApplication(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("a.federated.jwt\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := func(id, value string) Proof { return Proof{ID: id, Secret: tenantry.NewSecret(value)} }
	for name, test := range map[string]struct {
		app  *Application
		told string
		kind tenantry.Kind
	}{
		"one secret":         {&Application{ClientID: "own", Proofs: []Proof{secret("c-1", "good")}}, "c-1:", ""},
		"new one not known":  {&Application{ClientID: "own", Proofs: []Proof{secret("c-2", "new"), secret("c-1", "good")}}, "c-2:AADSTS7000215 c-1:", ""},
		"all refused":        {&Application{ClientID: "own", Proofs: []Proof{secret("c-2", "x"), secret("c-1", "y")}}, "c-2:AADSTS7000215 c-1:AADSTS7000215", tenantry.Reconnect},
		"the provider's own": {&Application{ClientID: "own", Fleet: true, Proofs: []Proof{secret("c-1", "x")}}, "c-1:AADSTS7000215", tenantry.Shared},
		"not a certificate":  {&Application{ClientID: "own", Proofs: []Proof{{ID: "c-1", Certificate: tenantry.NewSecret("junk")}}}, "c-1:", tenantry.Reconnect},
	} {
		t.Run(name, func(t *testing.T) {
			book := &applicationBook{apps: map[tenantry.Purpose]*Application{tenantry.ToBackup: test.app}}
			tokens := login(t, Config{Applications: book}, refuseOr("good"))
			got, err := tokens.get(t.Context(), holder{tenant: "t-own", directory: testDirectory, purpose: tenantry.ToBackup})
			if tenantry.KindOf(err) != test.kind || (err == nil && got != "own") {
				t.Errorf("token of %q, %v (%s)", got, err, tenantry.KindOf(err))
			}
			if err != nil && strings.Contains(err.Error(), "junk") {
				t.Errorf("shows the credential: %v", err)
			}
			if told := strings.Join(book.told, " "); told != test.told {
				t.Errorf("told %q, want %q", told, test.told)
			}
			// Others go on with the configured one, and its token is another.
			if got, err := tokens.get(t.Context(), holder{tenant: "t-other", directory: testDirectory, purpose: tenantry.ToBackup}); got != testClientID || err != nil {
				t.Errorf("another tenant: token of %q, %v", got, err)
			}
		})
	}
	book := &applicationBook{apps: map[tenantry.Purpose]*Application{
		tenantry.ToBackup:  {ClientID: "own", Proofs: []Proof{{ID: "c-1", TokenFile: file}}},
		tenantry.ToRestore: {ClientID: "writer", Proofs: []Proof{secret("c-2", "a.federated.jwt")}},
	}}
	tokens := login(t, Config{Applications: book}, refuseOr("a.federated.jwt"))
	for purpose, want := range map[tenantry.Purpose]string{tenantry.ToBackup: "own", tenantry.ToRestore: "writer"} {
		if got, err := tokens.get(t.Context(), holder{tenant: "t-own", directory: testDirectory, purpose: purpose}); got != want || err != nil {
			t.Errorf("%s: token of %q, %v", purpose, got, err)
		}
	}
}
