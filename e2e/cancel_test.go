package e2e

import (
	"testing"
	"time"
)

// TestCancel cancels backups that run: one whose worker lives, which commits what it has and
// ends, and one whose worker is killed before it can. Both end canceled, no snapshot comes of
// them, and the next backup is whole.
func TestCancel(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--users", "1", "--mails", "200", "--files-per-user", "0", "--no-drive", "1", "--groups", "0", "--sites", "0", "--page-size", "5", "--latency", "150ms")
	f.scheduler("scheduler")
	doomed := f.worker("doomed", "TENANTRY_LEASE_TIME=8s") // its loss is noticed when that is over
	tn := f.connect(f.simTenants()[0])
	u := f.simUsers(tn)[0]
	r := f.userOf(tn, u.ID)
	reads := func(x task) bool { return x.State == "running" && x.Progress.Items > 0 }

	lives := f.backupOf(tn, []string{"mailbox"}, r)
	f.underWay(tn, lives, reads)
	asked := time.Now()
	f.cli("runs", "cancel", tn.ID, lives.ID)
	f.canceled(tn, lives)
	t.Logf("ended canceled after %v", time.Since(asked).Round(time.Millisecond))

	dies := f.backupOf(tn, []string{"mailbox"}, r)
	f.underWay(tn, dies, reads)
	asked = time.Now()
	f.cli("runs", "cancel", tn.ID, dies.ID)
	doomed.kill()
	f.canceled(tn, dies)
	t.Logf("ended canceled %v after the cancel and SIGKILL", time.Since(asked).Round(time.Millisecond))

	f.worker("worker")
	whole := f.awaitDone(tn, f.backupOf(tn, []string{"mailbox"}, r))
	all := f.snapshots(tn, r, "mailbox")
	if len(all) != 1 || all[0].Counts.Items < 200 {
		t.Errorf("snapshots after %+v: %+v", whole, all)
	}
	if v := f.awaitDone(tn, f.verify(tn, r, "mailbox", all[0].Seq)); v.Failed != 0 {
		t.Errorf("verification: %+v", v)
	}
}

// canceled waits for the end of a canceled run, and fails if anything of it succeeded.
func (f *fleet) canceled(t tenant, r run) {
	f.t.Helper()
	r = f.awaitRun(t, r)
	x := f.tasks(t, r)[0]
	if r.State != "canceled" || x.State != "canceled" || x.Kind != "canceled" || x.Snapshot != 0 || x.Progress.Items == 0 {
		f.t.Fatalf("after it was canceled: %+v\n%+v", r, x)
	}
}
