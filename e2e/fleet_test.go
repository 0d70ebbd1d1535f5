package e2e

import (
	"testing"
)

// TestFleetSurvivesKills runs a whole fleet, kills the leading scheduler and a worker
// with SIGKILL while a run is under way, and expects the run to complete and every
// snapshot to verify.
func TestFleetSurvivesKills(t *testing.T) {
	f := newFleet(t, "--tenants", "3", "--users", "10", "--mails", "60", "--files-per-user", "8")
	first := f.scheduler("scheduler1")
	f.scheduler("scheduler2")
	victim := f.worker("worker1")
	f.worker("worker2")
	f.worker("worker3")

	var tenants []tenant
	for _, sim := range f.simTenants() {
		tenants = append(tenants, f.connect(sim))
	}
	runs := map[string]run{}
	for _, tn := range tenants {
		runs[tn.ID] = f.backup(tn, f.policy(tn))
	}
	eventually(t, "the run is under way", func() (bool, string) {
		var r run
		f.must("GET", "/tenants/"+tenants[0].ID+"/runs/"+runs[tenants[0].ID].ID, nil, &r)
		return r.Progress.Items > 0, ""
	})
	first.kill()
	victim.kill()

	for _, tn := range tenants {
		r := f.awaitDone(tn, runs[tn.ID])
		if r.Tasks == 0 || r.Done != r.Tasks {
			t.Fatalf("%s: %d of %d tasks done", tn.Name, r.Done, r.Tasks)
		}
		for _, res := range f.resources(tn, "kind=user&state=active") {
			for _, w := range res.Workloads {
				snaps := f.snapshots(tn, res, w)
				if len(snaps) != 1 {
					t.Fatalf("%s of %s has %d snapshots, expected 1: nothing runs twice to completion", w, res.Name, len(snaps))
				}
			}
		}
	}
	for _, tn := range tenants {
		var checks []run
		for _, res := range f.resources(tn, "kind=user&state=active") {
			for _, w := range res.Workloads {
				for _, s := range f.snapshots(tn, res, w) {
					checks = append(checks, f.verify(tn, res, w, s.Seq))
				}
			}
		}
		for _, c := range checks {
			f.awaitDone(tn, c)
		}
	}
}
