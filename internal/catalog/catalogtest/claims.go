package catalogtest

import (
	"fmt"
	"testing"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func testClaimGuards(_ *testing.T, w *world) {
	a, b, p := w.tenant("a"), w.tenant("b"), w.worker("1")
	w.start(a, tenantry.Backup, mailboxes(1))
	task := w.admit("t-a", "backup", 1)[0]
	for name, claim := range map[string]func() error{
		"another admission": func() error { _, err := a.Claim(w.ctx, task.ID, task.Admission+1, p); return err },
		"another tenant":    func() error { _, err := b.Claim(w.ctx, task.ID, task.Admission, p); return err },
		"no such task":      func() error { _, err := a.Claim(w.ctx, "none", 1, p); return err },
	} {
		if err := claim(); tenantry.KindOf(err) != tenantry.Conflict {
			w.t.Errorf("%s: got %v, expected kind conflict", name, err)
		}
	}
	_, err := a.Claim(w.ctx, task.ID, task.Admission, "worker@nobody")
	w.kind(err, tenantry.Fenced)
	dead := w.worker("dead")
	w.die(dead)
	_, err = a.Claim(w.ctx, task.ID, task.Admission, dead)
	w.kind(err, tenantry.Fenced)
	c, err := a.Claim(w.ctx, task.ID, task.Admission, p)
	w.ok(err)
	_, err = a.Claim(w.ctx, task.ID, task.Admission, p)
	w.kind(err, tenantry.Conflict)
	w.kind(b.Settle(w.ctx, c, catalog.Settlement{State: catalog.TaskDone}, now), tenantry.Fenced)
	w.kind(b.Progress(w.ctx, c, tenantry.Counts{}), tenantry.Fenced)
	_, err = b.RaiseEpoch(w.ctx, c, 1)
	w.kind(err, tenantry.Fenced)
}

func testClaimOnce(_ *testing.T, w *world) {
	a := w.tenant("a")
	w.start(a, tenantry.Backup, mailboxes(5))
	for _, task := range w.admit("t-a", "backup", 5) {
		errs := race(8, func(i int) error {
			_, err := a.Claim(w.ctx, task.ID, task.Admission, w.worker(fmt.Sprint(i)))
			return err
		})
		expect(w, "winners", count(errs, ""), 1)
		expect(w, "losers", count(errs, tenantry.Conflict), 7)
	}
}

func testEpochs(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	_, claims := w.claimed(a, p, 1)
	c := claims[0]
	for _, test := range []struct{ above, epoch int64 }{{0, 1}, {1, 2}, {1, 2}, {41, 42}, {7, 42}} {
		epoch, err := a.RaiseEpoch(w.ctx, c, test.above)
		w.ok(err)
		expect(w, fmt.Sprintf("epoch above %d", test.above), epoch, test.epoch)
	}
	w.ok(a.Settle(w.ctx, c, catalog.Settlement{State: catalog.TaskDone}, now))
	_, err := a.RaiseEpoch(w.ctx, c, 50)
	w.kind(err, tenantry.Fenced)
	_, claims = w.claimed(a, p, 1)
	expect(w, "epoch of the next backup", claims[0].Epoch, int64(43))

	w.start(a, tenantry.Restore, mailboxes(1))
	restores := w.claimAll(a, p, w.admit("t-a", "interactive", 1), 1)
	expect(w, "epoch of a restore beside it", restores[0].Epoch, int64(0))
	_, err = a.RaiseEpoch(w.ctx, restores[0], 50)
	w.kind(err, tenantry.Fenced)
}

func testZombie(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("zombie")
	run, claims := w.claimed(a, p, 2)
	n, err := w.f.Reap(w.ctx, now)
	w.ok(err)
	expect(w, "reaped from the living", n, 0)
	w.die(p)
	n, err = w.f.Reap(w.ctx, now)
	w.ok(err)
	expect(w, "reaped", n, 2)
	processes, err := w.f.Processes(w.ctx)
	w.ok(err)
	expect(w, "live processes", len(processes), 0)

	w.kind(a.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskDone}, now), tenantry.Fenced)
	w.kind(a.Progress(w.ctx, claims[0], tenantry.Counts{Items: 1}), tenantry.Fenced)
	_, err = a.RaiseEpoch(w.ctx, claims[0], 5)
	w.kind(err, tenantry.Fenced)

	again := w.claimAll(a, w.worker("next"), w.admit("t-a", "backup", 2), 2)
	expect(w, "epoch of the new owner", again[0].Epoch, int64(2))
	expect(w, "a death counts as failure", again[0].Attempt, 1)
	w.worker("zombie") // it comes back to life: its old claims do not
	w.kind(a.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskReady}, now), tenantry.Fenced)
	for _, c := range again {
		w.ok(a.Settle(w.ctx, c, catalog.Settlement{State: catalog.TaskDone}, now))
	}
	read, err := a.Run(w.ctx, run.ID)
	w.ok(err)
	expect(w, "state", read.State, catalog.RunDone)
	expect(w, "done", read.Done, int64(2))
}

func testLeave(_ *testing.T, w *world) {
	a, p, other := w.tenant("a"), w.worker("1"), w.worker("2")
	w.start(a, tenantry.Backup, mailboxes(2))
	tasks := w.admit("t-a", "backup", 2)
	mine := w.claimAll(a, p, tasks[:1], 1)[0]
	theirs := w.claimAll(a, other, tasks[1:], 1)[0]
	w.ok(w.f.Leave(w.ctx, p))
	w.kind(a.Settle(w.ctx, mine, catalog.Settlement{State: catalog.TaskDone}, now), tenantry.Fenced)
	w.ok(a.Settle(w.ctx, theirs, catalog.Settlement{State: catalog.TaskDone}, now))
	again := w.claimAll(a, other, w.admit("t-a", "backup", 1), 1)[0]
	expect(w, "a clean stop is no failure", again.Attempt, 0)
	expect(w, "epoch", again.Epoch, int64(2))
	processes, err := w.f.Processes(w.ctx)
	w.ok(err)
	expect(w, "live processes", len(processes), 1)
	expect(w, "slots", processes[0].Slots["backup"], 4)
}

// Whoever comes first, Reap or Settle, has the task; the run's numbers agree in the end.
func testReapWhileSettling(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	const n = 24
	run, claims := w.claimed(a, p, n)
	w.die(p)
	reaped := 0
	errs := race(n+1, func(i int) (err error) {
		if i == n {
			reaped, err = w.f.Reap(w.ctx, now)
			return err
		}
		return a.Settle(w.ctx, claims[i], catalog.Settlement{State: catalog.TaskDone, Counts: tenantry.Counts{Items: 1}}, now)
	})
	w.ok(errs[n])
	done, lost := count(errs[:n], ""), count(errs[:n], tenantry.Fenced)
	expect(w, "settled or fenced", done+lost, n)
	expect(w, "reaped", reaped, lost)
	rest := w.claimAll(a, w.worker("2"), w.admit("t-a", "backup", n), lost)
	for _, c := range rest {
		expect(w, "epoch", c.Epoch, int64(2))
		w.ok(a.Settle(w.ctx, c, catalog.Settlement{State: catalog.TaskDone, Counts: tenantry.Counts{Items: 1}}, now))
	}
	read, err := a.Run(w.ctx, run.ID)
	w.ok(err)
	expect(w, "done", read.Done, int64(n))
	expect(w, "items", read.Counts.Items, int64(n))
	expect(w, "state", read.State, catalog.RunDone)
}

// Claims and settlements of many tasks at once, with stale and foreign ones between them, as
// they share transactions: each task is claimed and settled once, by whom it was meant for.
func testStaleInBatch(_ *testing.T, w *world) {
	a, b, p := w.tenant("a"), w.tenant("b"), w.worker("1")
	const n = 16
	run := w.start(a, tenantry.Backup, mailboxes(n))
	tasks := w.admit("t-a", "backup", n)
	claims := make([]catalog.Claim, n)
	errs := race(4*n, func(i int) (err error) {
		switch task := tasks[i%n]; i / n {
		case 0:
			claims[i], err = a.Claim(w.ctx, task.ID, task.Admission, p)
		case 1:
			_, err = a.Claim(w.ctx, task.ID, task.Admission-1, p)
		case 2:
			_, err = b.Claim(w.ctx, task.ID, task.Admission, p)
		default:
			_, err = a.Claim(w.ctx, task.ID, task.Admission, "worker@nobody")
		}
		return err
	})
	expect(w, "claimed", count(errs[:n], ""), n)
	expect(w, "stale and foreign", count(errs[n:3*n], tenantry.Conflict), 2*n)
	expect(w, "without a lease", count(errs[3*n:], tenantry.Fenced), n)
	errs = race(3*n, func(i int) error {
		c := claims[i%n]
		s := catalog.Settlement{State: catalog.TaskDone, Counts: tenantry.Counts{Items: 1}}
		if i%2 == 1 {
			s.State = catalog.TaskFailed
		}
		if i >= 2*n {
			c.Admission--
		}
		return a.Settle(w.ctx, c, s, now)
	})
	expect(w, "settled", count(errs[:2*n], ""), n)
	expect(w, "settled twice, or stale", count(errs, tenantry.Fenced), 2*n)
	read, err := a.Run(w.ctx, run.ID)
	w.ok(err)
	expect(w, "done", read.Done, int64(n/2))
	expect(w, "failed", read.Failed, int64(n/2))
	expect(w, "items", read.Counts.Items, int64(n))
}
