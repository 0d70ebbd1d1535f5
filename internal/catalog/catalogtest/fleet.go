package catalogtest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func testLeader(_ *testing.T, w *world) {
	lead := func(p tenantry.ProcessID, ttl time.Duration) (int64, bool) {
		fence, ok, err := w.f.Lead(w.ctx, p, ttl)
		w.ok(err)
		return fence, ok
	}
	first, ok := lead("a", time.Hour)
	expect(w, "a leads", ok, true)
	_, ok = lead("b", time.Hour)
	expect(w, "b waits", ok, false)
	renewed, _ := lead("a", -time.Second) // expires at once
	expect(w, "fence of a renewal", renewed, first)
	second, ok := lead("b", time.Hour)
	expect(w, "b takes over", ok, true)
	expect(w, "the fence rises", second > first, true)
	_, ok = lead("a", time.Hour)
	expect(w, "a waits", ok, false)
	w.ok(w.f.Resign(w.ctx, "a")) // it does not lead: nothing happens
	_, ok = lead("a", time.Hour)
	expect(w, "a still waits", ok, false)

	_, err := w.f.Admit(w.ctx, first, []catalog.Pick{{Tenant: "t-a", Queue: "backup", Service: tenantry.Outlook, N: 1}}, now)
	w.kind(err, tenantry.Fenced)
	_, err = w.f.Readmit(w.ctx, first, "x", 1, now)
	w.kind(err, tenantry.Fenced)
	_, err = w.f.Start(w.ctx, first, nil, now)
	w.kind(err, tenantry.Fenced)
	_, err = w.f.StartSync(w.ctx, first, nil, now.Add(time.Hour), now)
	w.kind(err, tenantry.Fenced)

	w.ok(w.f.Resign(w.ctx, "b"))
	_, err = w.f.Start(w.ctx, second, nil, now)
	w.kind(err, tenantry.Fenced)
	third, ok := lead("a", time.Hour)
	expect(w, "a leads again", ok && third > second, true)
}

func testLeaderRace(_ *testing.T, w *world) {
	leaders := make([]bool, 8)
	for _, err := range race(8, func(i int) (err error) {
		_, leaders[i], err = w.f.Lead(w.ctx, tenantry.ProcessID(rune('a'+i)), time.Hour)
		return err
	}) {
		w.ok(err)
	}
	n := 0
	for _, leads := range leaders {
		if leads {
			n++
		}
	}
	expect(w, "leaders", n, 1)
}

// enrolled adds a tenant with n users in one policy.
func (w *world) enrolled(name string, n int) *catalog.Tenant {
	w.t.Helper()
	a := w.tenant(name)
	w.ok(a.AddPolicy(w.ctx, policy("daily"), now))
	w.ok(a.ApplySync(w.ctx, tenantry.User, users(n), "1", now))
	return a
}

// next fills in the next due time.
func next(due []catalog.Due) []catalog.Due {
	for i, d := range due {
		due[i].Next = catalog.NextDue(d.PolicyRow, d.Resource, d.Workload, d.DueAt)
	}
	return due
}

func testStart(_ *testing.T, w *world) {
	a := w.enrolled("a", 5)
	later := now.Add(25 * time.Hour)
	none, err := w.f.Due(w.ctx, now, 0)
	w.ok(err)
	expect(w, "due at once", len(none), 0)
	due, err := w.f.Due(w.ctx, later, 100)
	w.ok(err)
	expect(w, "due after a day", len(due), 10)
	for i := range due[1:] {
		expect(w, "longest due first", due[i+1].DueAt.Before(due[i].DueAt), false)
	}
	few, err := w.f.Due(w.ctx, later, 3)
	w.ok(err)
	if diff := cmp.Diff(due[:3], few); diff != "" {
		w.t.Fatal(diff)
	}
	_, err = w.f.Start(w.ctx, w.lead(), due, later)
	w.kind(err, tenantry.Invalid) // Next is not filled in

	// One of the series has a backup under way: it only moves on.
	w.ok(err2(a.StartRun(w.ctx, tenantry.Backup, catalog.TriggerManual, "",
		[]catalog.NewTask{{Resource: due[0].Resource, Workload: due[0].Workload}}, now)))

	next(due)
	n, err := w.f.Start(w.ctx, w.fence, due[:4], later)
	w.ok(err)
	expect(w, "tasks of the first tick", n, 3)
	n, err = w.f.Start(w.ctx, w.fence, due, later.Add(time.Minute))
	w.ok(err)
	expect(w, "tasks of the second tick", n, 6)
	n, err = w.f.Start(w.ctx, w.fence, due, later)
	w.ok(err)
	expect(w, "tasks of a repeated tick", n, 0)
	rest, err := w.f.Due(w.ctx, later, 100)
	w.ok(err)
	for _, d := range rest { // of a window that opened again meanwhile
		expect(w, "moved on", d.DueAt.After(now.Add(time.Hour)), true)
	}

	days := map[int64]int64{}
	for i, d := range due {
		if i > 0 {
			days[d.DueAt.Unix()/86400]++
		}
	}
	runs, err := a.Runs(w.ctx, "", 0)
	w.ok(err)
	expect(w, "runs: one per day, and the manual one", len(runs), len(days)+1)
	var tasks int64
	for _, run := range runs {
		if run.Trigger == catalog.TriggerSchedule {
			expect(w, "policy", run.Policy, "p-daily")
			expect(w, "action", run.Action, tenantry.Backup)
			tasks += run.Tasks
			list, err := a.Tasks(w.ctx, run.ID, "", 0)
			w.ok(err)
			expect(w, "tasks listed", int64(len(list)), run.Tasks)
		}
	}
	expect(w, "scheduled tasks", tasks, int64(9))
}

// err2 drops a value.
func err2[T any](_ T, err error) error { return err }

// Many ticks on the same list start each backup once, also against a manual run.
func testStartRace(_ *testing.T, w *world) {
	a := w.enrolled("a", 30)
	later := now.Add(25 * time.Hour)
	due, err := w.f.Due(w.ctx, later, 100)
	w.ok(err)
	next(due)
	w.lead()
	counts := make([]int, 8)
	errs := race(8, func(i int) (err error) {
		if i == 0 {
			run, err := a.StartRun(w.ctx, tenantry.Backup, catalog.TriggerManual, "", mailboxes(30), later)
			counts[i] = int(run.Tasks)
			if tenantry.KindOf(err) == tenantry.Conflict {
				return nil
			}
			return err
		}
		counts[i], err = w.f.Start(w.ctx, w.fence, due, later)
		return err
	})
	sum := 0
	for i, err := range errs {
		w.ok(err)
		sum += counts[i]
	}
	expect(w, "tasks", sum, 60)
	tasks := 0
	for tick := 0; ; tick++ {
		n := len(w.admitAt("t-a", later))
		if n == 0 {
			break
		}
		tasks += n
	}
	expect(w, "tasks admitted", tasks, 60)
}

// admitAt admits from both queues of backups.
func (w *world) admitAt(tenant tenantry.TenantID, at time.Time) []catalog.Task {
	w.t.Helper()
	tasks, err := w.f.Admit(w.ctx, w.lead(), append(flows(tenant, "backup", 7), flows(tenant, "interactive", 7)...), at)
	w.ok(err)
	return tasks
}

func testStartSync(_ *testing.T, w *world) {
	a, b := w.tenant("a"), w.tenant("b")
	w.ok(w.f.AddTenant(w.ctx, catalog.TenantRow{ID: "t-pending", NextSyncAt: now}))
	later := now.Add(2 * time.Hour)
	ids, err := w.f.DueSyncs(w.ctx, now, 0)
	w.ok(err)
	expect(w, "due at once", len(ids), 0)
	ids, err = w.f.DueSyncs(w.ctx, later, 0)
	w.ok(err)
	if diff := cmp.Diff([]tenantry.TenantID{"t-a", "t-b"}, ids); diff != "" {
		w.t.Fatal(diff)
	}
	w.ok(err2(a.StartRun(w.ctx, tenantry.Sync, catalog.TriggerManual, "", []catalog.NewTask{{}}, now)))
	n, err := w.f.StartSync(w.ctx, w.lead(), append(ids, "t-pending", "t-b"), later.Add(time.Hour), later)
	w.ok(err)
	expect(w, "syncs started", n, 1)
	n, err = w.f.StartSync(w.ctx, w.fence, ids, later.Add(time.Hour), later)
	w.ok(err)
	expect(w, "syncs started again", n, 0)

	runs, err := b.Runs(w.ctx, "", 0)
	w.ok(err)
	expect(w, "run's trigger", runs[0].Trigger, catalog.TriggerSystem)
	p := w.worker("1")
	c := w.claimAll(b, p, w.admitDirectory(later), 1)[0]
	w.ok(b.SyncDone(w.ctx, later, later.Add(time.Minute)))
	w.ok(b.Settle(w.ctx, c, catalog.Settlement{State: catalog.TaskDone}, later))
	n, err = w.f.StartSync(w.ctx, w.fence, []tenantry.TenantID{"t-b"}, later.Add(3*time.Hour), later.Add(2*time.Minute))
	w.ok(err)
	expect(w, "next sync", n, 1)
}

func (w *world) admitDirectory(at time.Time) []catalog.Task {
	w.t.Helper()
	tasks, err := w.f.Admit(w.ctx, w.fence, flows("t-b", "directory", 1), at)
	w.ok(err)
	return tasks
}

func testLoads(_ *testing.T, w *world) {
	a, b, p := w.tenant("a"), w.tenant("b"), w.worker("1")
	w.start(a, tenantry.Backup, mailboxes(catalog.LoadDepth+50))
	w.start(a, tenantry.Restore, mailboxes(2))
	w.start(b, tenantry.Backup, append(mailboxes(4), drives(3)...))
	w.start(b, tenantry.Verify, mailboxes(1))
	tasks, err := w.f.Admit(w.ctx, w.lead(), []catalog.Pick{
		{Tenant: "t-b", Queue: "backup", Service: tenantry.Outlook, N: 2, Virtual: 1.25},
		{Tenant: "t-b", Queue: "backup", Service: tenantry.SharePoint, N: 1, Virtual: 1.25},
		{Tenant: "t-b", Queue: "maintenance", N: 1, Virtual: 2.5},
	}, now)
	w.ok(err)
	expect(w, "admitted", len(tasks), 4)
	backup := slices.IndexFunc(tasks, func(task catalog.Task) bool { return task.Queue == "backup" && task.Service == tenantry.Outlook })
	c := w.claimAll(b, p, tasks[backup:backup+1], 1)[0]
	w.ok(b.SetSize(w.ctx, 9, 7))
	w.ok(b.Settle(w.ctx, c, catalog.Settlement{State: catalog.TaskReady, NotBefore: now.Add(time.Hour), Took: 2 * time.Second, Units: 40}, now))
	got, err := w.f.Loads(w.ctx, now, catalog.LoadDepth)
	w.ok(err)
	expected := []catalog.Load{
		{Tenant: "t-a", Queue: "backup", Service: tenantry.Outlook, Weight: 10, Ready: catalog.LoadDepth},
		{Tenant: "t-a", Queue: "interactive", Service: tenantry.Outlook, Weight: 10, Ready: 2},
		{Tenant: "t-b", Queue: "backup", Service: tenantry.Outlook, Weight: 10, Users: 9, Licences: 7, Seconds: 2, Units: 40, Ready: 2, InFlight: 1, Virtual: 2.5},
		{Tenant: "t-b", Queue: "backup", Service: tenantry.SharePoint, Weight: 10, Users: 9, Licences: 7, Ready: 2, InFlight: 1, Virtual: 2.5},
		{Tenant: "t-b", Queue: "maintenance", Weight: 10, Users: 9, Licences: 7, InFlight: 1, Virtual: 2.5},
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		w.t.Fatal(diff)
	}
	expected[0].Ready = catalog.GlanceDepth
	got, err = w.f.Loads(w.ctx, now, catalog.GlanceDepth)
	w.ok(err)
	if diff := cmp.Diff(expected, got); diff != "" {
		w.t.Fatalf("at a glance: %s", diff)
	}
	backlog, err := w.f.Backlogs(w.ctx, now)
	w.ok(err)
	all := []catalog.Backlog{
		{Queue: "backup", Ready: catalog.LoadDepth + 54, Parked: 1, InFlight: 2},
		{Queue: "interactive", Ready: 2}, {Queue: "maintenance", InFlight: 1},
	}
	if diff := cmp.Diff(all, backlog); diff != "" {
		w.t.Fatal(diff)
	}
}

// Settlements that tell what a slice took and cost are mixed into the pace of their flow;
// others leave it as it was.
func testPace(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	pace := func() (seconds, units float64) {
		w.start(a, tenantry.Restore, mailboxes(1)) // so that the flow is listed
		loads, err := w.f.Loads(w.ctx, now, catalog.LoadDepth)
		w.ok(err)
		return loads[0].Seconds, loads[0].Units
	}
	settle := func(s catalog.Settlement) {
		w.start(a, tenantry.Restore, mailboxes(1))
		s.State = catalog.TaskDone
		for _, c := range w.claimAll(a, p, w.admit("t-a", "interactive", 1), 1) {
			w.ok(a.Settle(w.ctx, c, s, now))
		}
	}
	for _, step := range []struct {
		took           time.Duration
		units          int64
		seconds, costs float64
	}{
		{time.Second, 0, 0, 0}, {4 * time.Second, 80, 4, 80}, {12 * time.Second, 160, 5, 90}, {time.Hour, 0, 5, 90},
	} {
		settle(catalog.Settlement{Took: step.took, Units: step.units})
		seconds, units := pace()
		expect(w, "seconds", seconds, step.seconds)
		expect(w, "units", units, step.costs)
	}
}

// The tasks of a disconnected tenant wait for a new consent; its connect task runs.
func testLoadsBlocked(_ *testing.T, w *world) {
	a := w.tenant("a")
	w.start(a, tenantry.Backup, mailboxes(3))
	w.start(a, tenantry.Restore, mailboxes(3))
	w.start(a, tenantry.Connect, []catalog.NewTask{{}})
	w.start(a, tenantry.Verify, mailboxes(2))
	w.ok(a.SetState(w.ctx, tenantry.TenantDisconnected, "consent revoked"))
	got, err := w.f.Loads(w.ctx, now, catalog.LoadDepth)
	w.ok(err)
	ready := map[string]int{}
	for _, l := range got {
		ready[l.Queue] += l.Ready
	}
	if diff := cmp.Diff(map[string]int{"interactive": 1, "maintenance": 2}, ready); diff != "" {
		w.t.Fatal(diff)
	}
	expect(w, "verifications admitted", len(w.admit("t-a", "maintenance", 9)), 2)
	expect(w, "backups admitted", len(w.admit("t-a", "backup", 9)), 0)
	tasks := w.admit("t-a", "interactive", 9)
	expect(w, "tasks admitted", len(tasks), 1)
	expect(w, "admitted", tasks[0].Action, tenantry.Connect)
	w.ok(a.SetState(w.ctx, tenantry.TenantConnected, ""))
	expect(w, "backups admitted after the consent", len(w.admit("t-a", "backup", 9)), 3)
}

func testAdmit(_ *testing.T, w *world) {
	a := w.tenant("a")
	old := w.start(a, tenantry.Backup, mailboxes(3))
	w.ok(err2(a.StartRun(w.ctx, tenantry.Backup, catalog.TriggerSchedule, "", mailboxes(6)[3:], now.Add(-time.Minute))))
	w.lead()
	got := make([][]catalog.Task, 4)
	for _, err := range race(4, func(i int) (err error) {
		got[i], err = w.f.Admit(w.ctx, w.fence, []catalog.Pick{{Tenant: "t-a", Queue: "backup", Service: tenantry.Outlook, N: 1}}, now)
		return err
	}) {
		w.ok(err)
	}
	seen := map[tenantry.TaskID]int{}
	for _, tasks := range got {
		for _, task := range tasks {
			expect(w, "state", task.State, catalog.TaskAdmitted)
			expect(w, "admission", task.Admission, int64(1))
			seen[task.ID]++
		}
	}
	rest := w.admit("t-a", "backup", 9)
	expect(w, "admitted once each", len(seen)+len(rest), 6)
	expect(w, "the newest are last", rest[len(rest)-1].Run, old.ID)
	expect(w, "nothing left", len(w.admit("t-a", "backup", 9)), 0)
	none, err := w.f.Admit(w.ctx, w.fence, nil, now)
	w.ok(err)
	expect(w, "no picks", len(none), 0)
}

func testReadmit(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	w.start(a, tenantry.Backup, mailboxes(2))
	tasks := w.admit("t-a", "backup", 2)
	w.claimAll(a, p, tasks[1:], 1)
	lost, err := w.f.Unclaimed(w.ctx, now, 0)
	w.ok(err)
	expect(w, "unclaimed too early", len(lost), 0)
	lost, err = w.f.Unclaimed(w.ctx, now.Add(10*time.Second), 0)
	w.ok(err)
	if diff := cmp.Diff(tasks[:1], lost); diff != "" {
		w.t.Fatal(diff)
	}
	again, err := w.f.Readmit(w.ctx, w.fence, tasks[0].ID, 1, now.Add(10*time.Second))
	w.ok(err)
	expect(w, "admission", again.Admission, int64(2))
	_, err = w.f.Readmit(w.ctx, w.fence, tasks[0].ID, 1, now)
	w.kind(err, tenantry.Conflict)
	_, err = w.f.Readmit(w.ctx, w.fence, tasks[1].ID, 1, now)
	w.kind(err, tenantry.Conflict)
	_, err = a.Claim(w.ctx, tasks[0].ID, 1, p)
	w.kind(err, tenantry.Conflict)
	_, err = a.Claim(w.ctx, tasks[0].ID, 2, p)
	w.ok(err)
}

func testNextReady(_ *testing.T, w *world) {
	at := func() time.Time {
		at, err := w.f.NextReady(w.ctx, now)
		w.ok(err)
		return at
	}
	expect(w, "nothing to do", at().IsZero(), true)
	a, p := w.tenant("a"), w.worker("1")
	expect(w, "next sync", at(), now.Add(time.Hour))
	_, claims := w.claimed(a, p, 1)
	w.ok(a.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskReady, NotBefore: now.Add(time.Minute)}, now))
	expect(w, "next parked task", at(), now.Add(time.Minute))
	w.ok(a.SyncDone(w.ctx, now, now.Add(30*time.Second)))
	expect(w, "next sync again", at(), now.Add(30*time.Second))
}

func testPartitions(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	const days = 24 * time.Hour
	w.lead()
	// One ended task a day over ten days, the oldest also with one that has not ended.
	old := map[int]catalog.Claim{}
	var open catalog.Claim
	for i := 10; i >= 1; i-- {
		at := now.Add(-time.Duration(i) * days)
		w.ok(w.f.Partitions(w.ctx, at, 30*days))
		tasks := mailboxes(1)
		if i == 10 {
			tasks = mailboxes(2)
		}
		w.ok(err2(a.StartRun(w.ctx, tenantry.Backup, catalog.TriggerSchedule, "", tasks, at)))
		admitted, err := w.f.Admit(w.ctx, w.fence, []catalog.Pick{{Tenant: "t-a", Queue: "backup", Service: tenantry.Outlook, N: 9}}, at)
		w.ok(err)
		claims := w.claimAll(a, p, admitted, len(tasks))
		if i == 10 {
			open = claims[1]
		}
		w.ok(a.Settle(w.ctx, claims[0], catalog.Settlement{
			State: catalog.TaskDone, Problems: []catalog.Problem{{ItemID: "i"}},
		}, at))
		old[i] = claims[0]
	}
	w.ok(w.f.Partitions(w.ctx, now, 5*days))
	w.ok(w.f.Partitions(w.ctx, now, 5*days)) // again: nothing to do
	for i := 1; i <= 9; i++ {
		_, err := a.Task(w.ctx, old[i].ID)
		problems, problemsErr := a.Problems(w.ctx, old[i].ID)
		w.ok(problemsErr)
		if i > 6 { // wholly older than five days, whatever the hour
			w.kind(err, tenantry.NotFound)
			expect(w, "expired problems", len(problems), 0)
		}
		if i < 5 {
			w.ok(err)
			expect(w, "problems", len(problems), 1)
		}
	}
	runs, err := a.Runs(w.ctx, "", 0)
	w.ok(err)
	expect(w, "runs outlive their tasks", len(runs), 10)

	w.ok(a.Settle(w.ctx, open, catalog.Settlement{State: catalog.TaskDone}, now))
	_, err = a.Task(w.ctx, open.ID)
	w.ok(err)
	w.ok(w.f.Partitions(w.ctx, now, 5*days))
	_, err = a.Task(w.ctx, open.ID)
	w.kind(err, tenantry.NotFound)

	// Two years on, a leader finds nothing prepared: what ends meanwhile is kept all the same.
	far := now.Add(2 * 365 * days)
	w.ok(err2(a.StartRun(w.ctx, tenantry.Backup, catalog.TriggerSchedule, "", mailboxes(1), far)))
	admitted, err := w.f.Admit(w.ctx, w.fence, []catalog.Pick{{Tenant: "t-a", Queue: "backup", Service: tenantry.Outlook, N: 9}}, far)
	w.ok(err)
	stray := w.claimAll(a, p, admitted, 1)[0]
	w.ok(a.Settle(w.ctx, stray, catalog.Settlement{State: catalog.TaskDone, Problems: []catalog.Problem{{ItemID: "i"}}}, far))
	for _, err := range race(3, func(int) error { return w.f.Partitions(w.ctx, far, 5*days) }) {
		w.ok(err)
	}
	_, err = a.Task(w.ctx, stray.ID)
	w.ok(err)
	problems, err := a.Problems(w.ctx, stray.ID)
	w.ok(err)
	expect(w, "problems of the stray", len(problems), 1)
	runs, err = a.Runs(w.ctx, "", 0)
	w.ok(err)
	expect(w, "runs after two years", len(runs), 1)
}

func testWakes(t *testing.T, w *world) {
	wakes, err := w.f.Wakes(t.Context())
	w.ok(err)
	more, err := w.f.Wakes(t.Context())
	w.ok(err)
	for range 3 {
		w.ok(w.f.Wake(w.ctx))
		for _, ch := range []<-chan struct{}{wakes, more} {
			select {
			case <-ch:
			case <-time.After(10 * time.Second):
				w.t.Fatal("the wake did not arrive")
			}
		}
	}
	w.ok(w.c.Close())
	for range more { // closes after at most what is left
	}
	_, err = w.f.Wakes(t.Context())
	if err == nil {
		w.t.Fatal("a closed catalog listens")
	}
	w.kind(w.f.Wake(w.ctx), tenantry.Shared)
	w.kind(w.c.Ping(w.ctx), tenantry.Shared)
}
