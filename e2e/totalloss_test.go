package e2e

import (
	"slices"
	"strings"
	"testing"
)

// TestTotalLoss loses SQL and Redis whole: nothing is left but the bucket and the key file. The tenant is
// added again under the ID that its backups have, its snapshots are listed again, restore from before
// the loss, and its backups go on where they were.
func TestTotalLoss(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--users", "2", "--mails", "10", "--files-per-user", "2", "--groups", "0", "--sites", "0")
	f.scheduler("scheduler")
	f.worker("worker")
	sim := f.simTenants()[0]
	tn := f.connect(sim)
	f.awaitDone(tn, f.backup(tn, f.policy(tn)))
	users := f.simUsers(tn)
	source := f.userOf(tn, users[0].ID)
	before := f.snapshots(tn, source, "mailbox")

	f.lose()
	shown := f.run("tenantry", "snapshots", "rebuild", "--adopt", tn.ID+"="+sim.Domain+"="+sim.Name)
	if !strings.Contains(shown, tn.ID) {
		t.Fatalf("rebuilt: %s", shown)
	}
	f.scheduler("scheduler")
	f.worker("worker")
	f.awaitState(&tn, "pending")
	gone := f.resources(tn, "state=gone")
	if len(gone) < len(users) || !slices.ContainsFunc(gone, func(r resource) bool { return r.ID == source.ID }) {
		t.Errorf("%d resources are known by their backups, of %d users", len(gone), len(users))
	}
	f.enable(tn) // what was enabled is lost, too
	f.consentAs(tn, sim.ID, "accept")
	f.awaitState(&tn, "connected")
	f.awaitSyncs(tn, 1)
	if r := f.userOf(tn, users[0].ID); r.Name != source.Name || r.State != "active" {
		t.Errorf("after the sync %+v, before the loss %+v", r, source)
	}
	after := f.snapshots(tn, source, "mailbox")
	if len(after) != len(before) || after[0].Seq != before[0].Seq {
		t.Fatalf("the snapshots are %+v, before the loss %+v", after, before)
	}
	restoreWhole(f, tn, users[0], users[1], "mailbox")
	r := f.awaitDone(tn, f.backupOf(tn, []string{"mailbox"}, source))
	if r.Progress.Bytes > 0 {
		t.Errorf("the first backup after the loss read %d bytes again", r.Progress.Bytes)
	}
	f.complete(tn, source, "mailbox", f.latest(tn, source, "mailbox").Seq)
}

// lose loses the whole fleet, SQL and Redis, and starts an empty one on the same bucket and keys.
func (f *fleet) lose() {
	f.t.Helper()
	f.die()
	f.begin()
}

// die ends all programs of the fleet and Redis as a crash would.
func (f *fleet) die() {
	f.t.Helper()
	for _, name := range []string{"worker", "scheduler", "api"} {
		f.started[name].kill()
	}
	f.redis.Kill()
}

// begin starts an empty Redis and the api on an empty database.
func (f *fleet) begin() {
	f.t.Helper()
	f.redis.Start()
	old := f.catalog
	f.catalog = f.postgres.Database(f.t)
	for i, v := range f.env {
		f.env[i] = strings.Replace(v, "TENANTRY_CATALOG="+old, "TENANTRY_CATALOG="+f.catalog, 1)
	}
	f.token = ""
	f.token = f.run("tenantry", "init")
	api := f.started["api"].addr
	f.started["api"] = spawn(f.t, "api", api, f.api+"/readyz", f.env, "api", "-listen", api)
}
