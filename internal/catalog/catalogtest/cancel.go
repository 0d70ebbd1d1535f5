package catalogtest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// testCanceledIsPrunedSoon holds that the series of a canceled backup whose worker was lost is pruned next: its snapshot
// may be sealed and not settled. One whose worker settled it, a first one, and other actions are left as they were.
func testCanceledIsPrunedSoon(_ *testing.T, w *world) {
	fence := w.lead()
	lost := map[string]func(p tenantry.ProcessID){
		"leaves": func(p tenantry.ProcessID) { w.ok(w.f.Leave(w.ctx, p)) },
		"dies": func(p tenantry.ProcessID) {
			w.die(p)
			_, err := w.f.Reap(w.ctx, now)
			w.ok(err)
		},
	}
	for i, test := range []struct {
		end   string
		saved bool // a backup ended well before
		want  int  // prunes that are due
	}{{"leaves", true, 1}, {"dies", true, 1}, {"dies", false, 0}, {"settles", true, 0}} {
		name := string(rune('a' + i))
		a, p := w.tenant(name), w.worker(name)
		if test.saved {
			_, claims := w.claimed(a, p, 1)
			w.ok(a.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskDone, Snapshot: &catalog.SnapshotRow{Seq: 1, Time: now}}, now))
		}
		run, claims := w.claimed(a, p, 1)
		w.ok(a.CancelRun(w.ctx, run.ID, now))
		if test.end == "settles" {
			w.ok(a.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskReady}, now))
		} else {
			lost[test.end](p)
		}
		// Pruned by now in real time: leaving has no clock of the caller's.
		n, err := w.f.StartPrunes(w.ctx, fence, 10, time.Now().Add(time.Minute))
		w.ok(err)
		expect(w, fmt.Sprintf("prunes that are due when its worker %s, with a backup before: %v", test.end, test.saved), n, test.want)
	}
}

// later is some time after now.
var later = now.Add(time.Hour)

// testCancelRunning cancels a run whose tasks are with workers: whatever happens to those,
// each task ends once, and its series is free.
func testCancelRunning(_ *testing.T, w *world) {
	parked := catalog.Settlement{State: catalog.TaskReady, Reason: "throttled", Counts: tenantry.Counts{Items: 3}}
	for i, end := range []struct {
		name  string
		do    func(a *catalog.Tenant, p tenantry.ProcessID, c catalog.Claim)
		state catalog.TaskState
		run   catalog.RunState
	}{
		{"gives it back", func(a *catalog.Tenant, _ tenantry.ProcessID, c catalog.Claim) { w.ok(a.Settle(w.ctx, c, parked, now)) }, catalog.TaskCanceled, catalog.RunCanceled},
		{"has done it", func(a *catalog.Tenant, _ tenantry.ProcessID, c catalog.Claim) {
			w.ok(a.Settle(w.ctx, c, catalog.Settlement{State: catalog.TaskDone}, now))
		}, catalog.TaskDone, catalog.RunDone},
		{"fails", func(a *catalog.Tenant, _ tenantry.ProcessID, c catalog.Claim) {
			w.ok(a.Settle(w.ctx, c, catalog.Settlement{State: catalog.TaskFailed}, now))
		}, catalog.TaskFailed, catalog.RunFailed},
		{"leaves", func(_ *catalog.Tenant, p tenantry.ProcessID, _ catalog.Claim) { w.ok(w.f.Leave(w.ctx, p)) }, catalog.TaskCanceled, catalog.RunCanceled},
		{"dies", func(a *catalog.Tenant, p tenantry.ProcessID, c catalog.Claim) {
			w.die(p)
			n, err := w.f.Reap(w.ctx, now)
			w.ok(err)
			expect(w, "reaped", n, 1)
			w.kind(a.Settle(w.ctx, c, catalog.Settlement{State: catalog.TaskDone}, now), tenantry.Fenced)
		}, catalog.TaskCanceled, catalog.RunCanceled},
	} {
		name := string(rune('a' + i))
		a, p := w.tenant(name), w.worker(name)
		run := w.start(a, tenantry.Backup, mailboxes(1))
		task := w.admit(tenantry.TenantID("t-"+name), "backup", 1)[0]
		claim, err := a.Claim(w.ctx, task.ID, task.Admission, p)
		w.ok(err)
		told(w, p)
		w.ok(a.CancelRun(w.ctx, run.ID, now))
		told(w, p, claim.ID)
		w.ok(a.CancelRun(w.ctx, run.ID, later)) // again: the first counts
		read, err := a.Run(w.ctx, run.ID)
		w.ok(err)
		expect(w, "since when", read.CanceledAt, now)
		expect(w, "state while its worker has it", read.State, catalog.RunRunning)
		w.ok(a.Progress(w.ctx, claim, tenantry.Counts{Items: 3})) // the claim holds until then

		end.do(a, p, claim)
		told(w, p)
		got, err := a.Task(w.ctx, task.ID)
		w.ok(err)
		expect(w, "state of a task whose worker "+end.name, got.State, end.state)
		expect(w, "its end", got.EndedAt.IsZero(), false)
		if got.State == catalog.TaskCanceled {
			expect(w, "its kind", got.Kind, tenantry.Canceled)
			expect(w, "what it had done", got.Counts.Items, int64(3))
		}
		read, err = a.Run(w.ctx, run.ID)
		w.ok(err)
		expect(w, "state of the run whose worker "+end.name, read.State, end.run)
		w.start(a, tenantry.Backup, mailboxes(1))
		next := w.admit(tenantry.TenantID("t-"+name), "backup", 1)[0]
		again, err := a.Claim(w.ctx, next.ID, next.Admission, w.worker(name+"2"))
		w.ok(err)
		expect(w, "epoch of the next backup", again.Epoch, claim.Epoch+1)
	}
}

func told(w *world, p tenantry.ProcessID, expected ...tenantry.TaskID) {
	got, err := w.f.CanceledTasks(w.ctx, p)
	w.ok(err)
	if diff := cmp.Diff(expected, got); diff != "" && len(expected)+len(got) > 0 {
		w.t.Fatalf("canceled tasks of %s:\n%s", p, diff)
	}
}

// testCancelRace cancels a run while workers claim, park and end its tasks: every task ends,
// once, and nothing of it can be claimed any more.
func testCancelRace(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	const n = 40
	run, claims := w.claimed(a, p, n)
	var all sync.WaitGroup
	for i, c := range claims {
		all.Go(func() {
			state := catalog.TaskReady
			if i%4 == 0 {
				state = catalog.TaskDone
			}
			w.ok(a.Settle(w.ctx, c, catalog.Settlement{State: state}, now))
		})
	}
	all.Go(func() { w.ok(a.CancelRun(w.ctx, run.ID, now)) })
	all.Wait()
	read, err := a.Run(w.ctx, run.ID)
	w.ok(err)
	expect(w, "done", read.Done, int64(n/4))
	expect(w, "canceled", read.Canceled, int64(n-n/4))
	expect(w, "state", read.State, catalog.RunPartial)
	told(w, p)
	expect(w, "what is left to admit", len(w.admit("t-a", "backup", n)), 0)
}

// testRetryRun starts what failed of a run again, and only that.
func testRetryRun(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	run, claims := w.claimed(a, p, 3)
	_, err := a.RetryRun(w.ctx, run.ID, now)
	w.kind(err, tenantry.Conflict) // it has not ended
	w.ok(a.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskDone}, now))
	for _, c := range claims[1:] {
		w.ok(a.Settle(w.ctx, c, catalog.Settlement{State: catalog.TaskFailed, Kind: tenantry.Denied, Reason: "refused", Attempt: 8}, now))
	}
	again, err := a.RetryRun(w.ctx, run.ID, later)
	w.ok(err)
	expect(w, "tasks", again.Tasks, int64(2))
	expect(w, "the old run", again.RetryOf, run.ID)
	expect(w, "trigger", again.Trigger, catalog.TriggerManual)
	if again.ID == run.ID || again.Reference == run.Reference {
		w.t.Fatalf("the retry is the old run: %+v", again)
	}
	_, err = a.RetryRun(w.ctx, run.ID, later)
	w.kind(err, tenantry.Conflict) // it is under way
	tasks, err := a.Tasks(w.ctx, again.ID, "", 0)
	w.ok(err)
	for i, task := range tasks {
		expect(w, "series", task.Series(), claims[i+1].Series())
		expect(w, "failures so far", task.Attempt, 0)
		expect(w, "state", task.State, catalog.TaskReady)
	}
	read, err := a.Run(w.ctx, run.ID)
	w.ok(err)
	expect(w, "state of the old run", read.State, catalog.RunPartial)
	w.ok(a.CancelRun(w.ctx, again.ID, later))
	_, err = a.RetryRun(w.ctx, again.ID, later)
	w.kind(err, tenantry.Conflict) // nothing of it failed
	_, err = a.RetryRun(w.ctx, run.ID, later)
	w.ok(err) // the first retry was canceled
	_, err = a.RetryRun(w.ctx, "none", later)
	w.kind(err, tenantry.NotFound)

	params := []byte(`{"snapshot":7}`)
	restore, err := a.StartRun(w.ctx, tenantry.Restore, catalog.TriggerManual, "",
		[]catalog.NewTask{{Resource: user(9), Workload: tenantry.Drive, Params: params}}, now)
	w.ok(err)
	task := w.admit("t-a", "interactive", 1)[0]
	c, err := a.Claim(w.ctx, task.ID, task.Admission, p)
	w.ok(err)
	w.ok(a.Settle(w.ctx, c, catalog.Settlement{State: catalog.TaskFailed}, now))
	again, err = a.RetryRun(w.ctx, restore.ID, later)
	w.ok(err)
	tasks, err = a.Tasks(w.ctx, again.ID, "", 0)
	w.ok(err)
	expect(w, "what is asked", string(tasks[0].Params), string(params))
	expect(w, "action", tasks[0].Action, tenantry.Restore)
	expect(w, "queue", tasks[0].Queue, "interactive")
}

// testReferences finds runs by what people call them.
func testReferences(_ *testing.T, w *world) {
	a, b := w.tenant("a"), w.tenant("b")
	run := w.start(a, tenantry.Backup, mailboxes(1))
	w.start(b, tenantry.Backup, mailboxes(1))
	if parsed, err := tenantry.ParseReference(run.Reference.String()); err != nil || parsed != run.Reference {
		w.t.Fatalf("reference %d: %v", run.Reference, err)
	}
	for _, test := range []struct {
		r      tenantry.Reference
		tenant tenantry.TenantID
		found  int
	}{{run.Reference, "", 1}, {run.Reference, "t-a", 1}, {run.Reference, "t-b", 0}, {tenantry.NewReference(), "", 0}, {0, "", 0}} {
		got, err := w.f.RunsByReference(w.ctx, test.r, test.tenant)
		w.ok(err)
		expect(w, "found", len(got), test.found)
		if len(got) == 1 {
			expect(w, "run", got[0].ID, run.ID)
			expect(w, "tenant", got[0].Tenant, tenantry.TenantID("t-a"))
		}
	}
	listed, err := a.Runs(w.ctx, "", 0)
	w.ok(err)
	expect(w, "reference in the list", listed[0].Reference, run.Reference)
	for only, n := range map[catalog.RunFilter]int{
		{Action: tenantry.Backup}:                               1,
		{Action: tenantry.Restore}:                              0,
		{State: catalog.RunRunning}:                             1,
		{State: catalog.RunDone}:                                0,
		{Policy: "p-1"}:                                         0,
		{Action: tenantry.Backup, State: catalog.RunRunning}:    1,
		{Action: tenantry.Backup, Policy: "p-1", State: "done"}: 0,
	} {
		list, err := a.RunsOf(w.ctx, only, "", 0)
		w.ok(err)
		expect(w, "runs that pass", len(list), n)
	}
}

// testRunFailures walks the items that tasks of a run could not take, page by page.
func testRunFailures(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	run, claims := w.claimed(a, p, 3)
	problem := func(id string) catalog.Problem {
		return catalog.Problem{ItemID: id, Name: "item " + id, Reason: "refused", Kind: tenantry.Denied, Since: now, Snapshot: 4, Again: true}
	}
	three := tenantry.Counts{Items: 9, Skipped: 3}
	w.ok(a.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskDone, Counts: three, Problems: []catalog.Problem{problem("1"), problem("2"), problem("3")}}, now))
	w.ok(a.Settle(w.ctx, claims[1], catalog.Settlement{State: catalog.TaskDone}, now))
	w.ok(a.Settle(w.ctx, claims[2], catalog.Settlement{
		State: catalog.TaskReady, NotBefore: later, Counts: tenantry.Counts{Skipped: 1}, Problems: []catalog.Problem{problem("4")},
	}, now))
	other, others := w.claimed(a, p, 1) // of a series that is free again
	w.ok(a.Settle(w.ctx, others[0], catalog.Settlement{State: catalog.TaskDone, Counts: three, Problems: []catalog.Problem{problem("5")}}, now))
	if list, err := a.RunFailures(w.ctx, other.ID, catalog.FailureCursor{}, 0); err != nil || len(list) != 1 {
		w.t.Fatalf("failures of the other run: %+v, %v", list, err)
	}
	for limit := 1; limit <= 5; limit++ {
		var met []string
		for after := (catalog.FailureCursor{}); ; {
			list, err := a.RunFailures(w.ctx, run.ID, after, limit)
			w.ok(err)
			for _, f := range list {
				met = append(met, f.ItemID)
				if diff := cmp.Diff(problem(f.ItemID), f.Problem); diff != "" {
					w.t.Fatal(diff)
				}
				of := claims[0]
				if f.ItemID == "4" {
					of = claims[2]
					expect(w, "when the task goes on", f.Task.NotBefore, later)
				}
				expect(w, "task", f.TaskID, of.ID)
				expect(w, "series", f.Task.Series(), of.Series())
				after = f.FailureCursor
			}
			if len(list) < limit {
				break
			}
		}
		if diff := cmp.Diff([]string{"1", "2", "3", "4"}, met); diff != "" {
			w.t.Fatalf("pages of %d:\n%s", limit, diff)
		}
	}
}
