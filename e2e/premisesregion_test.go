package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/servertest"
)

// A worker outside of a pool of another data region: it knows neither the region nor its bucket, and what it takes is in that
// bucket alone.
func TestWorkerOnPremisesOfARegion(t *testing.T) {
	f := newFleet(t, "--tenants", "1", "--users", "2", "--mails", "3", "--files-per-user", "1", "--groups", "0", "--sites", "0")
	au := f.region("au")
	f.scheduler("scheduler")
	f.worker("main") // keeps the mirror of the account book
	f.must("POST", "/pools", map[string]any{"name": "sydney", "region": "au"}, nil)
	away := tenant{sim: f.simTenants()[0]}
	f.must("POST", "/tenants", map[string]any{"name": away.sim.Name, "directory": away.sim.Domain, "region": "au", "pool": "sydney"}, &away)
	f.must("POST", "/tenants/"+away.ID+"/credentials", map[string]any{"kind": "secret", "client_id": clientID, "secret": clientSecret, "purpose": "backup"}, nil)

	identity := filepath.Join(t.TempDir(), "identity.json")
	enrol := exec.Command(f.program("worker"), "enrol", "-url", f.api, "-token-file", "-", "-identity", identity, "-name", "premises")
	enrol.Stdin = strings.NewReader(f.run("tenantry", "pools", "enrol", "sydney") + "\n")
	says(t, "enrol", f.execute(enrol), "of the pool sydney")
	addr := servertest.Addr(t)
	premises := spawn(t, "premises", addr, "http://"+addr+"/readyz", nil, f.program("worker"), "-identity", identity, "-listen", addr)
	f.started["premises"] = premises

	f.enable(away, "mailbox")
	f.consentAs(away, away.sim.ID, "accept")
	f.awaitState(&away, "connected")
	f.awaitWorkload(away, "mailbox", "ready")
	user := f.resources(away, "kind=user&limit=100")[0]
	done := f.awaitDone(away, f.backupOf(away, []string{"mailbox"}, user))
	for _, x := range f.tasks(away, done) {
		if x.Process != premises.fleetName() {
			t.Errorf("%s ran on %s, not on the premises", x.Workload, x.Process)
		}
	}
	f.complete(away, user, "mailbox", f.latest(away, user, "mailbox").Seq)
	if there, here := objects(t, au.s3, away), objects(t, f.s3, away); there == 0 || here != 0 {
		t.Errorf("%s has %d objects in its region's bucket, and %d in the default one", away.Name, there, here)
	}
}
