package catalogtest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func waits(queue time.Duration, graph map[string]time.Duration) tenantry.Delays {
	return tenantry.Delays{Queue: queue, Graph: graph}
}

// A task carries the delays of all its slices, also when it has ended.
func testTaskDelays(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	_, claims := w.claimed(a, p, 1)
	if c := claims[0]; !c.AdmittedAt.Equal(now) || c.Delays.Queue != 0 {
		w.t.Fatalf("claimed as %+v", c)
	}
	first := waits(2*time.Second, map[string]time.Duration{"outlook/requests": time.Second})
	w.ok(a.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskReady, NotBefore: now, Delays: first}, now))
	open, err := a.Task(w.ctx, claims[0].ID)
	w.ok(err)
	if diff := cmp.Diff(first, open.Delays); diff != "" {
		w.t.Fatal(diff)
	}
	again := w.claimAll(a, p, w.admit("t-a", "backup", 1), 1)[0]
	second := waits(time.Second, map[string]time.Duration{"outlook/requests": time.Second, "cooldown/mailbox": time.Minute})
	w.ok(a.Settle(w.ctx, again, catalog.Settlement{State: catalog.TaskDone, Delays: second}, now))
	ended, err := a.Task(w.ctx, claims[0].ID)
	w.ok(err)
	if diff := cmp.Diff(waits(3*time.Second, map[string]time.Duration{"outlook/requests": 2 * time.Second, "cooldown/mailbox": time.Minute}), ended.Delays); diff != "" {
		w.t.Fatal(diff)
	}
}

// Settlements add up by run and by the tenant's days.
func testLedger(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	run, claims := w.claimed(a, p, 3)
	yesterday := now.Add(-24 * time.Hour)
	delays := tenantry.Delays{
		Queue: time.Second, Worker: 2 * time.Second, Storage: 3 * time.Second, Retry: 4 * time.Second,
		Graph: map[string]time.Duration{"sharepoint/day": time.Hour, "cooldown/mailbox": time.Millisecond},
	}
	for i, at := range []time.Time{yesterday, now, now} {
		s := catalog.Settlement{
			State: catalog.TaskDone, Delays: delays, Spent: map[tenantry.Service]int64{tenantry.Outlook: 30, tenantry.SharePoint: 1},
			Snapshot: &catalog.SnapshotRow{Seq: 1, Time: now},
		}
		if i == 2 {
			s.State, s.Snapshot = catalog.TaskReady, nil
		}
		w.ok(a.Settle(w.ctx, claims[i], s, at))
	}
	sum := catalog.Ledger{
		Delays: delays.Add(delays).Add(delays), Units: map[tenantry.Service]int64{tenantry.Outlook: 90, tenantry.SharePoint: 3},
		Backups: map[tenantry.Workload]int64{tenantry.Mailbox: 2}, Cost: map[tenantry.Workload]int64{tenantry.Mailbox: 90},
	}
	got, err := a.RunLedger(w.ctx, run.ID)
	w.ok(err)
	if diff := cmp.Diff(sum, got); diff != "" {
		w.t.Fatal("run:", diff)
	}
	days, err := a.Ledger(w.ctx, yesterday, now)
	w.ok(err)
	midnight := now.Truncate(24 * time.Hour)
	expected := []catalog.Ledger{
		{
			Day: midnight, Delays: delays.Add(delays), Units: map[tenantry.Service]int64{tenantry.Outlook: 60, tenantry.SharePoint: 2},
			Backups: map[tenantry.Workload]int64{tenantry.Mailbox: 1}, Cost: map[tenantry.Workload]int64{tenantry.Mailbox: 60},
		},
		{
			Day: midnight.Add(-24 * time.Hour), Delays: delays, Units: map[tenantry.Service]int64{tenantry.Outlook: 30, tenantry.SharePoint: 1},
			Backups: map[tenantry.Workload]int64{tenantry.Mailbox: 1}, Cost: map[tenantry.Workload]int64{tenantry.Mailbox: 30},
		},
	}
	if diff := cmp.Diff(expected, days); diff != "" {
		w.t.Fatal("days:", diff)
	}
	today, err := a.Ledger(w.ctx, now, now)
	w.ok(err)
	expect(w, "days from now to now", len(today), 1)
	none, err := a.RunLedger(w.ctx, "none")
	w.ok(err)
	if diff := cmp.Diff(catalog.Ledger{}, none); diff != "" {
		w.t.Fatal("no run:", diff)
	}
}

// Settlements of one run at once lose nothing.
func testLedgerRace(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	run, claims := w.claimed(a, p, 16)
	errs := race(len(claims), func(i int) error {
		return a.Settle(w.ctx, claims[i], catalog.Settlement{
			State: catalog.TaskDone, Delays: waits(time.Second, map[string]time.Duration{"sharepoint/day": time.Second}),
			Spent: map[tenantry.Service]int64{tenantry.Outlook: 1},
		}, now)
	})
	expect(w, "settled", count(errs, ""), len(claims))
	got, err := a.RunLedger(w.ctx, run.ID)
	w.ok(err)
	expect(w, "queue", got.Delays.Queue, 16*time.Second)
	expect(w, "graph", got.Delays.GraphTotal(), 16*time.Second)
	expect(w, "units", got.Units[tenantry.Outlook], 16)
}

// The time that slices lose with their worker stands on their tasks, in their run and on the
// day, beside what was waited for before.
func testLedgerOfTheDead(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	run, claims := w.claimed(a, p, 3)
	w.ok(a.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskReady, Delays: waits(time.Second, nil)}, now))
	w.ok(w.f.Leave(w.ctx, p)) // a clean stop loses nothing
	other := w.worker("2")
	w.claimAll(a, other, w.admit("t-a", "backup", 3), 3)
	w.die(other)
	n, err := w.f.Reap(w.ctx, now.Add(25*time.Second))
	w.ok(err)
	expect(w, "reaped", n, 3)
	task, err := a.Task(w.ctx, claims[0].ID)
	w.ok(err)
	expect(w, "queue", task.Delays.Queue, time.Second)
	expect(w, "worker", task.Delays.Worker, 25*time.Second)
	got, err := a.RunLedger(w.ctx, run.ID)
	w.ok(err)
	expect(w, "of the run", got.Delays.Worker, 75*time.Second)
	days, err := a.Ledger(w.ctx, now, now)
	w.ok(err)
	expect(w, "of the day", days[0].Delays.Worker, 75*time.Second)
}

// The ledger outlives its tasks, not its runs.
func testLedgerExpiry(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	run, claims := w.claimed(a, p, 1)
	w.ok(a.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskDone, Delays: waits(time.Second, nil)}, now))
	for _, step := range []struct {
		days int
		kept time.Duration
	}{{399, time.Second}, {402, 0}} {
		w.ok(w.f.Partitions(w.ctx, now.Add(time.Duration(step.days)*24*time.Hour), time.Hour))
		of, err := a.RunLedger(w.ctx, run.ID)
		w.ok(err)
		expect(w, "of the run", of.Delays.Queue, step.kept)
		days, err := a.Ledger(w.ctx, now, now)
		w.ok(err)
		expect(w, "of the day", len(days), int(step.kept/time.Second))
	}
}

// What a tenant has open, by service, with its pace.
func testFlows(_ *testing.T, w *world) {
	a, p := w.tenant("a"), w.worker("1")
	w.ok(a.ApplySync(w.ctx, tenantry.User, append(users(2), catalog.Resource{ID: user(9), Kind: tenantry.User, State: tenantry.Inactive}), "link", now))
	w.start(a, tenantry.Backup, append(mailboxes(4), drives(3)...))
	c := w.claimAll(a, p, w.admit("t-a", "backup", 1)[:1], 1)[0]
	w.ok(a.Settle(w.ctx, c, catalog.Settlement{State: catalog.TaskReady, NotBefore: now.Add(time.Hour), Took: time.Second, Units: 8}, now))
	got, err := a.Flows(w.ctx)
	w.ok(err)
	expected := []catalog.FlowState{{Service: tenantry.Outlook, Open: 4}, {Service: tenantry.SharePoint, Open: 3}}
	for i := range expected {
		if expected[i].Service == c.Service {
			expected[i].Seconds, expected[i].Units = 1, 8
		}
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		w.t.Fatal(diff)
	}
}
