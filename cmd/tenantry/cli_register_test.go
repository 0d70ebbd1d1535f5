package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// onWords calls, once, when words were written.
type onWords struct {
	bytes.Buffer
	words string
	call  func()
}

func (w *onWords) Write(data []byte) (int, error) {
	n, err := w.Buffer.Write(data)
	if w.call != nil && strings.Contains(w.String(), w.words) {
		w.call()
		w.call = nil
	}
	return n, err
}

// Who left the command while the code waited types it again and sees the same code; another application is refused
// meanwhile.
func TestRegisterGoesOn(t *testing.T) {
	o := newOffice(t)
	tenant := value(o.shows([]string{"pending"}, "tenants", "add", "Contoso", "contoso.com"), "id")
	scope := o.catalog.Tenant(tenantry.TenantID(tenant))
	waiting := catalog.Registration{
		State: tenantry.RegWaiting, Name: "Our backup", UserCode: "ABCDEFGH", VerifyAt: "https://login.example/device",
		StartedBy: "test", StartedAt: time.Now(), StateAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
	}
	must(t, scope.StartRegistration(t.Context(), waiting))
	for _, other := range []string{"--name=Another", "--restore"} {
		if _, err := o.run("tenants", "register", "Contoso", other); tenantry.KindOf(err) != tenantry.Conflict {
			t.Errorf("%s while another is under way: %v", other, err)
		}
	}
	for _, line := range [][]string{{"--name", "Our backup"}, nil} {
		said := &onWords{words: "enters the code ABCDEFGH", call: func() {
			done := waiting
			done.State, done.UserCode = tenantry.RegDone, ""
			must(t, scope.MoveRegistration(t.Context(), tenantry.RegWaiting, done))
		}}
		root := rootCommand()
		root.SetErr(said)
		root.SetOut(said)
		root.SetArgs(append([]string{"tenants", "register", "Contoso"}, line...))
		root.SetContext(t.Context())
		if err := execute(root); err != nil || said.call != nil || !strings.HasSuffix(said.String(), "done\n") {
			t.Errorf("register %v again: %v, says %q", line, err, said.String())
		}
		must(t, scope.MoveRegistration(t.Context(), tenantry.RegDone, waiting))
	}
	undoing := waiting
	undoing.State = tenantry.RegUndoing
	must(t, scope.MoveRegistration(t.Context(), tenantry.RegWaiting, undoing))
	if _, err := o.run("tenants", "register", "Contoso"); tenantry.KindOf(err) != tenantry.Conflict {
		t.Errorf("while one is given up: %v", err)
	}
}
