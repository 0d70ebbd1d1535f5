package e2e

import (
	"testing"
	"time"
)

// TestALongFileGoesOnAfterAKill cuts the download of a file of 192 MiB in its middle, and kills its worker with SIGKILL
// while that waits for the rest. The next worker goes on where the last checkpoint is: no byte range before it is
// served twice.
func TestALongFileGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	const size, tail = 192 << 20, 64<<20 + 8<<20 // engine.Limits.ContentBytes, and what is cut and read ahead
	f := newFleet(t, "--tenants", "0")
	var sim simTenant
	f.simulate("POST", "/tenants", map[string]any{"domain": "long.example", "users": 1, "filesPerUser": 1, "fileSize": size}, &sim)
	f.scheduler("scheduler")
	f.worker("first")
	tn := f.connect(sim)
	f.fault(map[string]any{"path": "^/download/", "kind": "cut", "nth": 1})
	rest := f.fault(map[string]any{"path": "^/download/", "kind": "slow", "delay": int64(5 * time.Minute), "nth": 1}) // of those that are not cut
	owner := f.users(tn, "drive")[0]
	r := f.backupOf(tn, []string{"drive"}, owner)
	f.awaitStruck(rest)
	f.started["first"].kill()
	before := f.sentTo(sim) // the simulator counts all of the answer that it cut
	f.worker("second")
	f.awaitDone(tn, r)
	if sent := f.sentTo(sim) - before; sent < size/2 || sent > size/2+tail {
		t.Errorf("%d bytes were sent to the second worker, of a file of %d of which the first one had half", sent, size)
	} else {
		t.Logf("%d bytes were sent twice, of a file of %d", sent-size/2, size)
	}
	if checked := f.awaitDone(tn, f.verify(tn, owner, "drive", f.latest(tn, owner, "drive").Seq)); checked.Failed > 0 {
		t.Errorf("the snapshot is damaged: %+v", checked)
	}
}

// sentTo is how many bytes of contents the simulator has sent to a tenant.
func (f *fleet) sentTo(sim simTenant) (bytes int64) {
	f.t.Helper()
	var accounts []struct{ Used int64 }
	f.simulate("GET", "/accounts?kind=sharepoint.egress&tenant="+sim.ID, nil, &accounts)
	for _, a := range accounts {
		bytes += a.Used
	}
	return bytes
}
