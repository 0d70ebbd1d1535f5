package e2e

import (
	"testing"
	"time"
)

// TestAGiantMailboxHoldsUpNobody lets mailboxes of 20,000 messages have every slot there is,
// and then asks for the tenant's drives: each slice ends after some pages, so that the drives
// are through long before any mailbox. Told to stop in the middle, the worker is gone within
// seconds, and each mailbox keeps what it had.
func TestAGiantMailboxHoldsUpNobody(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--users", "3", "--mails", "20000", "--files-per-user", "3", "--latency", "20ms")
	f.scheduler("scheduler")
	w := f.worker("worker", "TENANTRY_SLOTS_INTERACTIVE=2", "TENANTRY_SLICE_PAGES=10")
	tn := f.connect(f.simTenants()[0])
	mails := f.backupOf(tn, []string{"mailbox"}, f.users(tn, "mailbox")...)
	eventually(t, "mailboxes have all slots", func() (bool, string) {
		return len(f.heldBy(w.fleetName(), tn, mails)) == 2, ""
	})
	asked := time.Now()
	drives := f.awaitDone(tn, f.backupOf(tn, []string{"drive"}, f.users(tn, "drive")...))
	t.Logf("%d drives were through in %v", drives.Done, time.Since(asked).Round(time.Millisecond))

	var before int64
	for _, x := range f.tasks(tn, mails) {
		if before += x.Progress.Items; x.State == "done" {
			t.Errorf("mailbox task %s was through before the drives: they proved nothing", x.ID)
		}
	}
	asked = time.Now()
	w.stop()
	if took := time.Since(asked); took > 10*time.Second {
		t.Errorf("the worker took %v to drain", took)
	} else {
		t.Logf("drained in %v", took.Round(time.Millisecond))
	}
	var after int64
	for _, x := range f.tasks(tn, mails) {
		if after += x.Progress.Items; x.State != "ready" && x.State != "admitted" || x.Attempt != 0 {
			t.Errorf("mailbox task %s is %s after %d failures, and its worker has left", x.ID, x.State, x.Attempt)
		}
	}
	if after == 0 || after < before {
		t.Errorf("%d items were committed, and %d before the drain", after, before)
	}
}
