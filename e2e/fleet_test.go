package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestFleetSurvivesKills runs a whole fleet and kills with SIGKILL, while runs are under
// way, the scheduler that leads and a worker that holds tasks. Another scheduler leads,
// the worker's tasks run again, every series gets exactly one snapshot, and each shows
// exactly what the simulator has and verifies.
func TestFleetSurvivesKills(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--tenants", "3", "--users", "8", "--mails", "60", "--files-per-user", "6", "--latency", "30ms")
	first, second := f.scheduler("scheduler1"), f.scheduler("scheduler2")
	workers := map[string]*process{}
	for i := range 3 {
		w := f.worker(fmt.Sprint("worker", i+1))
		workers[w.fleetName()] = w
	}
	tenants, runs := f.backupAll()

	leads, others := f.leader(first, second)
	busy := f.underWay(tenants[0], runs[0], func(x task) bool { return x.Progress.Items > 0 || x.Process != "" })
	victim := workers[busy.Process]
	if victim == nil {
		t.Fatalf("task %s is held by %q, which is none of the workers", busy.ID, busy.Process)
	}
	killed := time.Now()
	leads.kill()
	victim.kill()
	var lost []task
	for i, tn := range tenants {
		lost = append(lost, f.heldBy(busy.Process, tn, runs[i])...)
	}
	if len(lost) == 0 {
		t.Fatal("the killed worker held no task: the kill proved nothing")
	}
	f.leader(others...)
	t.Logf("another scheduler leads after %v; the killed worker held %d tasks", time.Since(killed).Round(time.Millisecond), len(lost))

	for i, tn := range tenants {
		if r := f.awaitDone(tn, runs[i]); r.Tasks == 0 || r.Done != r.Tasks {
			t.Fatalf("%s: %d of %d tasks done", tn.Name, r.Done, r.Tasks)
		}
		for _, x := range f.tasks(tn, runs[i]) {
			held := slices.ContainsFunc(lost, func(l task) bool { return l.ID == x.ID })
			if held && (x.Process == busy.Process || x.Snapshot == 0) {
				t.Errorf("task %s, which the killed worker held, ended with process %q and snapshot %d", x.ID, x.Process, x.Snapshot)
			}
		}
	}
	t.Logf("all runs were done %v after the kills", time.Since(killed).Round(time.Millisecond))
	f.verifyAll(tenants)
}

// TestWorkerDrains stops a worker gracefully in the middle of a run, and expects that the
// tasks it had are ready at once, keep what they had committed, and are completed by the
// next worker without reading that again.
func TestWorkerDrains(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--users", "2", "--mails", "1000", "--files-per-user", "6", "--latency", "20ms", "--page-size", "40")
	f.scheduler("scheduler")
	small := "TENANTRY_CHECKPOINT_BYTES=65536"
	leaves := f.worker("worker1", small)
	tn := f.connect(f.simTenants()[0])
	r := f.backup(tn, f.policy(tn))
	f.underWay(tn, r, func(x task) bool { return x.Workload == "mailbox" && x.Progress.Items > 0 })

	asked := time.Now()
	leaves.stop()
	if code := leaves.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the worker ended with exit code %d:\n%s", code, leaves.log)
	}
	drained := time.Since(asked)
	t.Logf("drained in %v", drained.Round(time.Millisecond))
	if drained > 10*time.Second {
		t.Errorf("the worker took %v to drain: a deploy may not wait for a mailbox", drained)
	}
	kept := map[string]counts{}
	for _, x := range f.tasks(tn, r) {
		switch {
		case x.State == "running":
			t.Errorf("task %s is still running, and its worker has left", x.ID)
		case x.State == "ready" && x.Progress.Items > 0:
			kept[x.ID] = x.Progress
			if x.Attempt != 0 {
				t.Errorf("task %s counts %d failures: a drain is none", x.ID, x.Attempt)
			}
		}
	}
	if len(kept) == 0 {
		t.Fatal("no task was interrupted: the drain proved nothing")
	}
	f.worker("worker2", small)
	r = f.awaitDone(tn, r)

	var read, total int64
	for _, x := range f.tasks(tn, r) {
		if was, ok := kept[x.ID]; ok && (x.Progress.Items < was.Items || x.Progress.Stored < was.Stored) {
			t.Errorf("task %s had %+v when its worker left, and %+v in the end", x.ID, was, x.Progress)
		}
		read += x.Progress.Items
	}
	f.verifyAll([]tenant{tn})
	for _, u := range f.simUsers(tn) {
		total += int64(len(f.truths(tn, u.ID, "mail")) + len(f.truths(tn, u.ID, "settings")) + len(files(f.truths(tn, u.ID, "drive"))))
	}
	// What was committed is not read again.
	if read != total {
		t.Errorf("the tasks took %d items in all, and there are %d", read, total)
	}
}

// TestFleetSurvivesEmptyRedis kills Redis in the middle of a run and starts it again
// without any data: what was to be delivered is delivered again, and nothing runs twice
// to completion.
func TestFleetSurvivesEmptyRedis(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--tenants", "2", "--users", "8", "--mails", "40", "--files-per-user", "6", "--latency", "30ms")
	f.scheduler("scheduler")
	few := []string{"TENANTRY_SLOTS_BACKUP=2", "TENANTRY_SLOTS_INTERACTIVE=2"} // deliveries wait in Redis
	f.worker("worker1", few...)
	f.worker("worker2", few...)
	tenants, runs := f.backupAll()
	waits := func() (n int) {
		for i, tn := range tenants {
			for _, x := range f.tasks(tn, runs[i]) {
				if x.State == "admitted" {
					n++
				}
			}
		}
		return n
	}
	f.underWay(tenants[0], runs[0], func(x task) bool { return x.Process != "" })
	eventually(t, "deliveries wait behind busy workers", func() (bool, string) { n := waits(); return n >= 4, fmt.Sprint(n) })

	f.redis.Kill()
	waiting := waits()
	if waiting == 0 {
		t.Fatal("no delivery waited in Redis: the kill proved nothing")
	}
	f.redis.Start()
	began := time.Now()
	for i, tn := range tenants {
		if r := f.awaitDone(tn, runs[i]); r.Tasks == 0 || r.Done != r.Tasks {
			t.Fatalf("%s: %d of %d tasks done", tn.Name, r.Done, r.Tasks)
		}
	}
	t.Logf("%d deliveries were lost; all runs were done %v after Redis was back", waiting, time.Since(began).Round(time.Millisecond))
	f.verifyAll(tenants)
}

// backupAll connects every simulated tenant and starts a run of a policy in each.
func (f *fleet) backupAll() (tenants []tenant, runs []run) {
	f.t.Helper()
	for _, sim := range f.simTenants() {
		tenants = append(tenants, f.connect(sim))
	}
	policies := make([]string, len(tenants))
	for i, tn := range tenants {
		policies[i] = f.policy(tn)
	}
	for i, tn := range tenants {
		runs = append(runs, f.backup(tn, policies[i]))
	}
	return tenants, runs
}

// verifyAll fails unless every series has one complete snapshot that verifies.
func (f *fleet) verifyAll(tenants []tenant) {
	f.t.Helper()
	checks := make([][]run, len(tenants))
	for i, tn := range tenants {
		checks[i] = f.once(tn)
	}
	for i, tn := range tenants {
		for _, c := range checks[i] {
			f.awaitDone(tn, c)
		}
	}
}
