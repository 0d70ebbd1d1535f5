package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// credential is one of a tenant's, as the API shows it.
type credential struct {
	ID       string `json:"id"`
	Purpose  string `json:"purpose"`
	Client   string `json:"client_id"`
	Accepted string `json:"accepted"`
	Rotating string `json:"rotating"`
	Stuck    string `json:"stuck"`
}

// The certificate of an application that was registered by device code is rotated on demand and by its age, by whatever
// worker is left: one dies when the new one is made, another when it is used. Backups go on all the time, and what was
// replaced is gone, at Microsoft too.
func TestCertificateRotation(t *testing.T) {
	f := newFleet(t, "--tenants", "1", "--users", "2", "--mails", "3", "--files-per-user", "0", "--groups", "0", "--sites", "0",
		"--registration-delay", "0s")
	f.env = append(f.env, "TENANTRY_ROTATE_SETTLE=1s", "TENANTRY_LEASE_TIME=8s")
	f.scheduler("scheduler")
	worker := f.worker("first")
	tn := f.add(f.simTenants()[0])
	f.enable(tn, "mailbox")
	f.refused("POST", "/tenants/"+tn.ID+"/credentials/rotate", nil, 409, "reconnect", "")
	f.must("POST", "/tenants/"+tn.ID+"/registration", map[string]any{"name": "Our backup"}, nil)
	f.enterCode(tn, f.awaitRegistration(tn, "waiting").Code)
	client := f.awaitRegistration(tn, "done").Client
	f.awaitState(&tn, "connected")
	f.awaitWorkload(tn, "mailbox", "ready")
	user := f.resources(tn, "kind=user&limit=100")[0]
	backsUp := func() {
		t.Helper()
		f.awaitDone(tn, f.backupOf(tn, []string{"mailbox"}, user))
	}
	backsUp()
	first := f.credentials(tn)[0]

	says(t, "rotate", f.run("tenantry", "credentials", "rotate", tn.ID), first.ID, "to be rotated since")
	var asked credential
	f.must("POST", "/tenants/"+tn.ID+"/credentials/rotate", nil, &asked) // again: it is the same rotation
	eventually(t, "a new certificate is made", func() (bool, string) {
		list := f.credentials(tn)
		return list[0].ID != first.ID, fmt.Sprint(list)
	})
	worker.kill()
	worker = f.worker("second")
	second := f.awaitRotated(tn, first)
	worker.kill()
	f.worker("third")
	backsUp()
	if list := f.credentials(tn); len(list) != 2 || list[1].ID != first.ID || !f.atMicrosoft(tn, client, first.ID, second.ID) {
		t.Fatalf("in the overlap: %+v, at Microsoft %v", list, f.applications(tn))
	}

	f.ages(tn, second, "accepted_at", -8*24*time.Hour)
	f.syncsSoon(tn)
	eventually(t, "the old certificate is gone", func() (bool, string) {
		list := f.credentials(tn)
		return len(list) == 1 && list[0].ID == second.ID && f.atMicrosoft(tn, client, second.ID), fmt.Sprint(list, f.applications(tn))
	})
	backsUp()

	// By its age: ten months have passed since it was made.
	f.ages(tn, second, "expires_at", -310*24*time.Hour)
	f.syncsSoon(tn)
	third := f.awaitRotated(tn, second)
	backsUp()
	f.ages(tn, third, "accepted_at", -8*24*time.Hour)
	f.syncsSoon(tn)
	eventually(t, "the second certificate is gone", func() (bool, string) {
		list := f.credentials(tn)
		return len(list) == 1 && list[0].ID == third.ID, fmt.Sprint(list)
	})
	backsUp()
	trail := f.run("tenantry", "tenants", "audit", tn.ID)
	says(t, "the audit log", trail, "rotate-credential", "credential-offered", "credential-rotated", "credential-retired", second.ID, third.ID)
}

func (f *fleet) credentials(tn tenant) []credential {
	f.t.Helper()
	var found page[credential]
	f.must("GET", "/tenants/"+tn.ID+"/credentials", nil, &found)
	if len(found.Items) == 0 {
		f.t.Fatalf("%s has no credentials", tn.Name)
	}
	return found.Items
}

// awaitRotated waits until a newer certificate than old is used, beside it, and returns it.
func (f *fleet) awaitRotated(tn tenant, old credential) (used credential) {
	f.t.Helper()
	eventually(f.t, "the new certificate is used", func() (bool, string) {
		list := f.credentials(tn)
		used = list[0]
		return len(list) == 2 && used.Purpose == "backup" && used.ID != old.ID && list[1].ID == old.ID && used.Accepted != "", fmt.Sprint(list)
	})
	return used
}

// ages moves a time of a credential, as if it had passed.
func (f *fleet) ages(tn tenant, c credential, column string, by time.Duration) {
	f.t.Helper()
	db, err := pgx.Connect(f.t.Context(), f.catalog)
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close(f.t.Context())
	done, err := db.Exec(f.t.Context(), "UPDATE credentials SET "+column+" = "+column+" + $1 WHERE tenant = $2 AND id = $3", by.Microseconds(), tn.ID, c.ID)
	if err != nil || done.RowsAffected() != 1 {
		f.t.Fatalf("%s of %s: %v, %v", column, c.ID, done, err)
	}
}

// syncsSoon starts a sync once none is under way.
func (f *fleet) syncsSoon(tn tenant) {
	f.t.Helper()
	eventually(f.t, "a sync starts", func() (bool, string) {
		p := f.call("POST", "/tenants/"+tn.ID+"/refresh", nil, nil)
		return p == nil, fmt.Sprintf("%+v", p)
	})
}

// applications are the certificates that the simulated tenant knows, by application.
func (f *fleet) applications(tn tenant) map[string][]string {
	f.t.Helper()
	var all map[string][]string
	f.simulate("GET", "/tenants/"+tn.sim.ID+"/applications", nil, &all)
	return all
}

func (f *fleet) atMicrosoft(tn tenant, client string, want ...string) bool {
	f.t.Helper()
	got := f.applications(tn)[client]
	slices.Sort(got)
	slices.Sort(want)
	return slices.Equal(got, want)
}
