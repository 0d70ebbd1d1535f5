package catalogtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func testStartRun(_ *testing.T, w *world) {
	a := w.tenant("a")
	run, err := a.StartRun(w.ctx, tenantry.Backup, catalog.TriggerManual, "p-1", append(mailboxes(3), mailboxes(1)...), now)
	w.ok(err)
	expected := catalog.Run{
		ID: run.ID, Reference: run.Reference, Tenant: "t-a", Policy: "p-1", Action: tenantry.Backup, Trigger: catalog.TriggerManual,
		State: catalog.RunRunning, Tasks: 3, CreatedAt: now,
	}
	if diff := cmp.Diff(expected, run); diff != "" {
		w.t.Fatal(diff)
	}
	read, err := a.Run(w.ctx, run.ID)
	w.ok(err)
	if diff := cmp.Diff(run, read); diff != "" {
		w.t.Fatal(diff)
	}
	first, err := a.Tasks(w.ctx, run.ID, "", 2)
	w.ok(err)
	rest, err := a.Tasks(w.ctx, run.ID, first[1].ID, 2)
	w.ok(err)
	expect(w, "pages", len(first)*10+len(rest), 21)
	for i, task := range append(first, rest...) {
		expected := catalog.Task{
			ID: task.ID, Run: run.ID, Tenant: "t-a", Resource: user(i), Workload: tenantry.Mailbox, Action: tenantry.Backup,
			Queue: "interactive", Service: tenantry.Outlook, State: catalog.TaskReady, CreatedAt: now,
		}
		if diff := cmp.Diff(expected, task); diff != "" {
			w.t.Fatal(diff)
		}
		read, err := a.Task(w.ctx, task.ID)
		w.ok(err)
		if diff := cmp.Diff(task, read); diff != "" {
			w.t.Fatal(diff)
		}
	}

	_, err = a.StartRun(w.ctx, tenantry.Backup, catalog.TriggerManual, "", mailboxes(3), now)
	w.kind(err, tenantry.Conflict)
	more, err := a.StartRun(w.ctx, tenantry.Backup, catalog.TriggerManual, "", mailboxes(4), now.Add(time.Second))
	w.ok(err)
	expect(w, "tasks of what is left", more.Tasks, 1)
	_, err = a.StartRun(w.ctx, tenantry.Restore, catalog.TriggerManual, "", mailboxes(3), now.Add(2*time.Second))
	w.ok(err) // a restore owns no series

	_, err = a.StartRun(w.ctx, tenantry.Sync, catalog.TriggerManual, "", []catalog.NewTask{{}}, now)
	w.ok(err)
	_, err = a.StartRun(w.ctx, tenantry.Sync, catalog.TriggerManual, "", []catalog.NewTask{{}}, now)
	w.kind(err, tenantry.Conflict)

	list, err := a.Runs(w.ctx, "", 2)
	w.ok(err)
	expect(w, "newest run", list[0].Action, tenantry.Restore)
	older, err := a.Runs(w.ctx, list[1].ID, 0)
	w.ok(err)
	expect(w, "runs in all", len(list)+len(older), 4)

	_, err = a.StartRun(w.ctx, tenantry.Backup, catalog.TriggerManual, "", nil, now)
	w.kind(err, tenantry.Invalid)
	_, err = a.StartRun(w.ctx, tenantry.Backup, catalog.TriggerManual, "", []catalog.NewTask{{Resource: "u-1"}}, now)
	w.kind(err, tenantry.Invalid)
	_, err = a.Run(w.ctx, "none")
	w.kind(err, tenantry.NotFound)
	_, err = a.Task(w.ctx, "none")
	w.kind(err, tenantry.NotFound)
}

// One of many requests for the same backups starts each of them, and none waits forever.
func testStartRunOnce(_ *testing.T, w *world) {
	a := w.tenant("a")
	tasks := mailboxes(20)
	errs := race(8, func(i int) error {
		mine := append(append([]catalog.NewTask{}, tasks[i:]...), tasks[:i]...)
		_, err := a.StartRun(w.ctx, tenantry.Backup, catalog.TriggerManual, "", mine, now)
		return err
	})
	expect(w, "starts and conflicts", count(errs, "")+count(errs, tenantry.Conflict), 8)
	runs, err := a.Runs(w.ctx, "", 0)
	w.ok(err)
	var sum int64
	for _, run := range runs {
		sum += run.Tasks
	}
	expect(w, "tasks of all runs", sum, 20)
}

func testDefaultQueues(_ *testing.T, w *world) {
	a := w.tenant("a")
	for _, test := range []struct {
		action  tenantry.Action
		trigger string
		tasks   []catalog.NewTask
		queue   string
	}{
		{tenantry.Connect, catalog.TriggerManual, []catalog.NewTask{{}}, "interactive"},
		{tenantry.Sync, catalog.TriggerSystem, []catalog.NewTask{{}}, "directory"},
		{tenantry.Restore, catalog.TriggerManual, mailboxes(1), "interactive"},
		{tenantry.Verify, catalog.TriggerManual, mailboxes(1), "maintenance"},
		{tenantry.Backup, catalog.TriggerManual, mailboxes(1), "interactive"},
		{tenantry.Backup, catalog.TriggerSchedule, mailboxes(2), "backup"},
		{tenantry.Backup, catalog.TriggerManual, mailboxes(200), "backup"},
		{tenantry.Verify, catalog.TriggerManual, []catalog.NewTask{{Resource: user(1), Workload: tenantry.Mailbox, Queue: "directory"}}, "directory"},
	} {
		run, err := a.StartRun(w.ctx, test.action, test.trigger, "", test.tasks, now)
		w.ok(err)
		tasks, err := a.Tasks(w.ctx, run.ID, "", 1)
		w.ok(err)
		expect(w, "queue of "+string(test.action)+" "+test.trigger, tasks[0].Queue, test.queue)
	}
}

func testTaskLife(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	run, claims := w.claimed(a, p, 2)
	c := claims[0]
	expect(w, "state", c.State, catalog.TaskRunning)
	expect(w, "process", c.Process, p)
	expect(w, "admission", c.Admission, int64(1))
	expect(w, "epoch", c.Epoch, int64(1))
	expect(w, "started", c.StartedAt.IsZero(), false)

	w.ok(a.Progress(w.ctx, c, tenantry.Counts{Items: 5, Total: 10, Bytes: 50, Found: 8, FoundBytes: 80}))
	w.ok(a.Progress(w.ctx, claims[1], tenantry.Counts{Items: 1, Found: 3, FoundBytes: 30}))
	read, err := a.Run(w.ctx, run.ID)
	w.ok(err)
	expect(w, "counts of running tasks", read.Counts, tenantry.Counts{Items: 6, Total: 10, Bytes: 50, Found: 11, FoundBytes: 110})

	snapshot := catalog.SnapshotRow{Series: c.Series(), Seq: 3, Time: now, Task: c.ID, Counts: tenantry.Counts{Items: 10, Stored: 7}}
	wrong := snapshot
	wrong.Series.Tenant = "t-b"
	w.kind(a.Settle(w.ctx, c, catalog.Settlement{State: catalog.TaskDone, Snapshot: &wrong}, now), tenantry.Invalid)
	w.kind(a.Settle(w.ctx, c, catalog.Settlement{State: catalog.TaskRunning}, now), tenantry.Invalid)
	settlement := catalog.Settlement{
		State: catalog.TaskDone, Reason: "sealed", Counts: tenantry.Counts{Items: 10, Total: 10, Skipped: 1, Bytes: 100, Stored: 7, Found: 12, FoundBytes: 120},
		Snapshot: &snapshot, Problems: []catalog.Problem{
			{ItemID: "i", Name: "n", Reason: "r", Kind: tenantry.Poison, Since: now, Snapshot: 2, Again: true}, {ItemID: "j", Reason: "s"},
		},
	}
	w.ok(a.Settle(w.ctx, c, settlement, now.Add(time.Minute)))
	w.kind(a.Settle(w.ctx, c, settlement, now), tenantry.Fenced)
	w.kind(a.Progress(w.ctx, c, tenantry.Counts{}), tenantry.Fenced)

	task, err := a.Task(w.ctx, c.ID)
	w.ok(err)
	expected := c.Task
	expected.State, expected.Reason, expected.Counts = catalog.TaskDone, "sealed", settlement.Counts
	expected.Snapshot, expected.EndedAt = 3, now.Add(time.Minute)
	if diff := cmp.Diff(expected, task); diff != "" {
		w.t.Fatal(diff)
	}
	problems, err := a.Problems(w.ctx, c.ID)
	w.ok(err)
	if diff := cmp.Diff(settlement.Problems, problems); diff != "" {
		w.t.Fatal(diff)
	}
	snapshots, err := a.Snapshots(w.ctx, c.Resource, c.Workload, 0, 0)
	w.ok(err)
	if diff := cmp.Diff([]catalog.SnapshotRow{snapshot}, snapshots); diff != "" {
		w.t.Fatal(diff)
	}
	older, err := a.Snapshots(w.ctx, c.Resource, c.Workload, 3, 0)
	w.ok(err)
	expect(w, "snapshots before the first", len(older), 0)
	mirrored := snapshot
	mirrored.Seq, mirrored.Counts.Items = 2, 5 // as the bucket has it: the third was never there
	mirrored.Task = "task-x"
	newer := mirrored
	newer.Seq = 4
	w.ok(a.MirrorSnapshots(w.ctx, c.Resource, c.Workload, []catalog.SnapshotRow{newer, mirrored}))
	snapshots, err = a.Snapshots(w.ctx, c.Resource, c.Workload, 0, 0)
	w.ok(err)
	if diff := cmp.Diff([]catalog.SnapshotRow{newer, mirrored}, snapshots); diff != "" {
		w.t.Fatal(diff)
	}
	drive := catalog.SnapshotRow{Series: c.Series(), Seq: 9, Time: now, Task: "task-y"}
	drive.Series.Workload = tenantry.Drive
	w.ok(a.MirrorSnapshots(w.ctx, c.Resource, tenantry.Drive, []catalog.SnapshotRow{drive}))
	newest, err := a.NewestSnapshots(w.ctx, "", "", 0)
	w.ok(err)
	if diff := cmp.Diff([]catalog.SnapshotRow{drive, newer}, newest); diff != "" {
		w.t.Fatal(diff)
	}
	newest, err = a.NewestSnapshots(w.ctx, c.Resource, tenantry.Drive, 1)
	w.ok(err)
	if diff := cmp.Diff([]catalog.SnapshotRow{newer}, newest); diff != "" {
		w.t.Fatal(diff)
	}

	read, err = a.Run(w.ctx, run.ID)
	w.ok(err)
	expect(w, "state of the run", read.State, catalog.RunRunning)
	expect(w, "done", read.Done, int64(1))
	expect(w, "counts of ended and running", read.Counts, tenantry.Counts{Items: 11, Total: 10, Skipped: 1, Bytes: 100, Stored: 7, Found: 15, FoundBytes: 150})
	w.ok(a.Settle(w.ctx, claims[1], catalog.Settlement{State: catalog.TaskFailed, Kind: tenantry.Denied}, now.Add(time.Hour)))
	read, err = a.Run(w.ctx, run.ID)
	w.ok(err)
	expect(w, "state of the ended run", read.State, catalog.RunPartial)
	expect(w, "end of the run", read.EndedAt, now.Add(time.Hour))
	expect(w, "final counts", read.Counts, settlement.Counts)

	tasks, err := a.Tasks(w.ctx, run.ID, "", 0)
	w.ok(err)
	expect(w, "ended tasks in the list", len(tasks), 2)
	_, err = a.StartRun(w.ctx, tenantry.Backup, catalog.TriggerManual, "", mailboxes(2), now)
	w.ok(err) // both series are free again
}

func testParking(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	run, claims := w.claimed(a, p, 1)
	until := now.Add(10 * time.Minute)
	w.ok(a.Settle(w.ctx, claims[0], catalog.Settlement{
		State: catalog.TaskReady, NotBefore: until, Reason: "mailbox throttled", Kind: tenantry.Throttled, Attempt: 2,
		Counts: tenantry.Counts{Items: 4},
	}, now))
	task, err := a.Task(w.ctx, claims[0].ID)
	w.ok(err)
	expect(w, "parked until", task.NotBefore, until)
	expect(w, "reason", task.Reason, "mailbox throttled")
	expect(w, "attempt", task.Attempt, 2)
	read, err := a.Run(w.ctx, run.ID)
	w.ok(err)
	expect(w, "counts of parked tasks", read.Counts, tenantry.Counts{Items: 4})
	expect(w, "admitted while parked", len(w.admit("t-a", "backup", 9)), 0)

	tasks, err := w.f.Admit(w.ctx, w.fence, []catalog.Pick{{Tenant: "t-a", Queue: "backup", Service: tenantry.Outlook, N: 9}}, until)
	w.ok(err)
	expect(w, "admitted after it", len(tasks), 1)
	expect(w, "second admission", tasks[0].Admission, int64(2))
	c, err := a.Claim(w.ctx, tasks[0].ID, 2, p)
	w.ok(err)
	expect(w, "epoch of the second claim", c.Epoch, int64(2))
	expect(w, "counts go on", c.Counts, tenantry.Counts{Items: 4})
	expect(w, "attempt goes on", c.Attempt, 2)
	expect(w, "old reason", c.Reason, "")
	w.kind(a.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskDone}, now), tenantry.Fenced)
}

// testHasten: a backup can be due sooner, never later, and afterwards is due as its policy says.
func testHasten(_ *testing.T, w *world) {
	a := w.enrolled("a", 2)
	due, err := a.NextBackup(w.ctx, user(0), tenantry.Mailbox)
	w.ok(err)
	if !due.After(now) {
		w.t.Fatalf("due at %s", due)
	}
	w.ok(a.Hasten(w.ctx, user(0), tenantry.Mailbox, due.Add(time.Hour)))
	at, err := a.NextBackup(w.ctx, user(0), tenantry.Mailbox)
	w.ok(err)
	expect(w, "later", at, due)
	soon := now.Add(time.Minute)
	w.ok(a.Hasten(w.ctx, user(0), tenantry.Mailbox, soon))
	at, err = a.NextBackup(w.ctx, user(0), tenantry.Mailbox)
	w.ok(err)
	expect(w, "sooner", at, soon)
	list, err := w.f.Due(w.ctx, soon, 10)
	w.ok(err)
	if len(list) != 1 || list[0].Resource != user(0) || !list[0].DueAt.Equal(soon) {
		w.t.Fatalf("due: %+v", list)
	}
	at, err = a.NextBackup(w.ctx, "u-stranger", tenantry.Mailbox)
	w.ok(err)
	expect(w, "of nobody", at, time.Time{})
	w.ok(a.Hasten(w.ctx, "u-stranger", tenantry.Mailbox, soon))
}

func testProblems(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	_, claims := w.claimed(a, p, 1)
	many := make([]catalog.Problem, 60)
	for i := range many {
		many[i] = catalog.Problem{ItemID: string(user(i)), Reason: "unreadable"}
	}
	w.ok(a.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskReady, Problems: many}, now))
	again := w.claimAll(a, p, w.admit("t-a", "backup", 1), 1)
	w.ok(a.Settle(w.ctx, again[0], catalog.Settlement{State: catalog.TaskDone, Problems: many}, now))
	kept, err := a.Problems(w.ctx, claims[0].ID)
	w.ok(err)
	expect(w, "kept problems", len(kept), 100)
	expect(w, "order", kept[61].ItemID, string(user(1)))

	first, err := a.FirstProblems(w.ctx, []tenantry.TaskID{claims[0].ID, "k-none"})
	w.ok(err)
	expect(w, "tasks with a first problem", len(first), 1)
	expect(w, "the first problem", first[claims[0].ID].ItemID, string(user(0)))
	none, err := a.FirstProblems(w.ctx, nil)
	w.ok(err)
	expect(w, "of no task", len(none), 0)

	// Who begins from the start in every slice tells the same again: it is kept once.
	b := w.tenant("b")
	_, claims = w.claimed(b, p, 1)
	for i, slice := range []struct {
		state catalog.TaskState
		tells []catalog.Problem
		kept  int
	}{
		{catalog.TaskReady, many[0:2], 2}, {catalog.TaskReady, many[0:1], 2}, {catalog.TaskReady, many[0:3], 3}, {catalog.TaskReady, nil, 3},
		{catalog.TaskDone, []catalog.Problem{many[4], many[1], {ItemID: many[0].ItemID, Reason: "another"}}, 5},
	} {
		if i > 0 {
			claims = w.claimAll(b, p, w.admit("t-b", "backup", 1), 1)
		}
		w.ok(b.Settle(w.ctx, claims[0], catalog.Settlement{State: slice.state, Problems: slice.tells, Anew: true}, now))
		kept, err := b.Problems(w.ctx, claims[0].ID)
		w.ok(err)
		expect(w, fmt.Sprint("kept after slice ", i), len(kept), slice.kept)
		expect(w, "the first", kept[0], many[0])
	}
}

// Of a run of tasks that ended in every way, those are listed that need an explanation.
func testRunProblems(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	run, claims := w.claimed(a, p, 7)
	for i, s := range []catalog.Settlement{
		{State: catalog.TaskDone},
		{State: catalog.TaskDone, Reason: "no drive", Kind: tenantry.Absent},
		{State: catalog.TaskDone, Counts: tenantry.Counts{Skipped: 1}},
		{State: catalog.TaskFailed},
		{State: catalog.TaskReady, Reason: "throttled", NotBefore: now.Add(time.Hour)},
		{State: catalog.TaskReady, Counts: tenantry.Counts{Items: 1}},
	} { // the last one runs
		w.ok(a.Settle(w.ctx, claims[i], s, now))
	}
	found, err := a.RunProblems(w.ctx, run.ID, 0)
	w.ok(err)
	var ids []tenantry.TaskID
	for _, task := range found {
		ids = append(ids, task.ID)
	}
	expected := []tenantry.TaskID{claims[1].ID, claims[2].ID, claims[3].ID, claims[4].ID}
	if diff := cmp.Diff(expected, ids); diff != "" {
		w.t.Fatal(diff)
	}
	expect(w, "reason", found[0].Reason, "no drive")
	expect(w, "reason of what waits", found[3].Reason, "throttled")
	found, err = a.RunProblems(w.ctx, run.ID, 2)
	w.ok(err)
	expect(w, "length of a short list", len(found), 2)
	expect(w, "its last", found[1].ID, claims[2].ID)
	found, err = a.RunProblems(w.ctx, "", 0)
	w.ok(err)
	expect(w, "problems of no run", len(found), 0)
}

func testRunStates(_ *testing.T, w *world) {
	p := w.worker("1")
	const d, f = catalog.TaskDone, catalog.TaskFailed
	for i, test := range []struct {
		ends  []catalog.TaskState
		state catalog.RunState
	}{
		{[]catalog.TaskState{d, d}, catalog.RunDone},
		{[]catalog.TaskState{d, f}, catalog.RunPartial},
		{[]catalog.TaskState{f, d, d}, catalog.RunPartial},
		{[]catalog.TaskState{f, f}, catalog.RunFailed},
	} {
		a := w.tenant(string(rune('a' + i)))
		run, claims := w.claimed(a, p, len(test.ends))
		for j, end := range test.ends {
			read, err := a.Run(w.ctx, run.ID)
			w.ok(err)
			expect(w, "state before the last task", read.State, catalog.RunRunning)
			w.ok(a.Settle(w.ctx, claims[j], catalog.Settlement{State: end}, now))
		}
		read, err := a.Run(w.ctx, run.ID)
		w.ok(err)
		expect(w, "state", read.State, test.state)
	}
}

func testCancelRun(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	run := w.start(a, tenantry.Backup, mailboxes(1100))
	tasks := w.admit("t-a", "backup", 2)
	c, err := a.Claim(w.ctx, tasks[0].ID, tasks[0].Admission, p)
	w.ok(err)
	w.ok(a.CancelRun(w.ctx, run.ID, now))
	read, err := a.Run(w.ctx, run.ID)
	w.ok(err)
	expect(w, "canceled", read.Canceled, int64(1099))
	expect(w, "state with one running", read.State, catalog.RunRunning)
	_, err = a.Claim(w.ctx, tasks[1].ID, tasks[1].Admission, p)
	w.kind(err, tenantry.Conflict)
	w.ok(a.Settle(w.ctx, c, catalog.Settlement{State: catalog.TaskDone}, now))
	read, err = a.Run(w.ctx, run.ID)
	w.ok(err)
	expect(w, "state", read.State, catalog.RunPartial)
	w.ok(a.CancelRun(w.ctx, run.ID, now)) // again: nothing to do
	task, err := a.Task(w.ctx, tasks[1].ID)
	w.ok(err)
	expect(w, "state of the canceled task", task.State, catalog.TaskCanceled)
	w.kind(a.CancelRun(w.ctx, "none", now), tenantry.NotFound)
	_, err = a.StartRun(w.ctx, tenantry.Backup, catalog.TriggerManual, "", mailboxes(1100), now)
	w.ok(err)
	again, err := a.Runs(w.ctx, "", 1)
	w.ok(err)
	expect(w, "tasks of the next run", again[0].Tasks, int64(1100))
}
