package catalogtest

import (
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// testRetention: rules, holds and tasks under way decide what is kept, and series that were backed up
// are pruned once a day.
func testRetention(_ *testing.T, w *world) {
	t := w.enrolled("keeping", 2)
	standing := func() catalog.SeriesStanding {
		s, err := t.SeriesStanding(w.ctx, user(0), tenantry.Mailbox)
		w.ok(err)
		return s
	}
	policies, err := t.Policies(w.ctx)
	w.ok(err)
	rules := tenantry.Retention{Last: 2, Daily: 7, Until: now.Add(time.Hour)}
	w.ok(t.SetRetention(w.ctx, policies[0].ID, rules))
	w.kind(t.SetRetention(w.ctx, "p-none", rules), tenantry.NotFound)
	w.kind(t.SetRetention(w.ctx, policies[0].ID, tenantry.Retention{Last: -1}), tenantry.Invalid)
	rules.Zone = policies[0].TimeZone
	expect(w, "rules", standing().Policies[0], rules)
	proposed := standing().With(policies[0].ID, tenantry.Retention{Yearly: 1})
	expect(w, "proposed rules", proposed.Policies[0], tenantry.Retention{Yearly: 1, Zone: policies[0].TimeZone})
	expect(w, "rules under another policy's proposal", standing().With("p-none", tenantry.Retention{}).Policies[0], rules)

	w.kind(t.SetHold(w.ctx, catalog.Hold{At: now}), tenantry.Invalid)
	w.ok(t.SetHold(w.ctx, catalog.Hold{Resource: user(1), Reason: "another's", At: now}))
	expect(w, "hold of another", standing().Hold, "")
	w.ok(t.SetHold(w.ctx, catalog.Hold{Reason: "case 7", Actor: "ada", At: now}))
	expect(w, "hold of the tenant", standing().Hold, "hold: case 7")
	w.ok(t.LiftHold(w.ctx, ""))
	w.kind(t.LiftHold(w.ctx, ""), tenantry.NotFound)
	w.ok(t.SetHold(w.ctx, catalog.Hold{Resource: user(0), Reason: "case 8", At: now}))
	expect(w, "hold", standing().Hold, "hold: case 8")

	_, err = t.StartRun(w.ctx, tenantry.Restore, catalog.TriggerManual, "", []catalog.NewTask{{Resource: user(0), Workload: tenantry.Mailbox, Params: []byte(`{"snapshot":5}`)}}, now)
	w.ok(err)
	expect(w, "snapshots in use", len(standing().InUse[5]) > 0, true)

	// Nothing was backed up: nothing is due.
	fence := w.lead()
	starts := func(at time.Time) int {
		n, err := w.f.StartPrunes(w.ctx, fence, 10, at)
		w.ok(err)
		return n
	}
	expect(w, "prunes before a backup", starts(now.Add(48*time.Hour)), 0)
	_, claims := w.claimed(t, w.worker("keeper"), 1)
	w.ok(t.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskDone, Snapshot: &catalog.SnapshotRow{Seq: 1, Time: now}}, now))
	expect(w, "prunes at once", starts(now), 0)
	expect(w, "prunes of the next day", starts(now.Add(40*time.Hour)), 1)
	expect(w, "prunes while one is unfinished", starts(now.Add(200*time.Hour)), 2) // collection and patrol of the tenant
	expect(w, "collections while one is unfinished", starts(now.Add(400*time.Hour)), 0)
	_, err = w.f.StartPrunes(w.ctx, fence+1, 10, now)
	w.kind(err, tenantry.Fenced)

	series := claims[0].Series()
	w.ok(t.Suspend(w.ctx, series.Resource, series.Workload, 1, "", now))
	found, err := t.Suspensions(w.ctx)
	w.ok(err)
	expect(w, "suspended series", len(found), 0)
	w.ok(t.Suspend(w.ctx, series.Resource, series.Workload, 1, "half of it went", now))
	found, err = t.Suspensions(w.ctx)
	w.ok(err)
	expect(w, "suspended series", len(found), 1)
	alarms, err := t.Alarms(w.ctx)
	w.ok(err)
	expect(w, "alarms", len(alarms), 1)
	expect(w, "the alarm", alarms[0], catalog.TenantAlarm{
		Tenant: series.Tenant, Cause: catalog.AlarmMassChange, Subject: catalog.SubjectOf(series), Detail: "half of it went", Since: now, Seen: now,
	})
	w.ok(t.Acknowledge(w.ctx, series.Resource, series.Workload))
	w.kind(t.Acknowledge(w.ctx, series.Resource, series.Workload), tenantry.NotFound)
	alarms, err = t.Alarms(w.ctx)
	w.ok(err)
	expect(w, "alarms after the acknowledgement", len(alarms), 0)

	w.ok(t.RetainSnapshots(w.ctx, series.Resource, series.Workload, 1, []catalog.SnapshotRow{{Seq: 1, Time: now}}))
	rows, err := t.Snapshots(w.ctx, series.Resource, series.Workload, 0, 0)
	w.ok(err)
	expect(w, "snapshots", len(rows), 1)
	unsettled := catalog.SnapshotRow{Series: series, Seq: 3, Time: now.Add(time.Hour), Task: "k-sealed", Counts: tenantry.Counts{Items: 7}}
	w.ok(t.RetainSnapshots(w.ctx, series.Resource, series.Workload, 3, []catalog.SnapshotRow{unsettled, {Seq: 1, Time: now}}))
	rows, err = t.Snapshots(w.ctx, series.Resource, series.Workload, 0, 0)
	w.ok(err)
	expect(w, "snapshots with one that was never settled", len(rows), 2)
	same(w, "the one that was never settled", rows[0], unsettled)
	w.ok(t.RetainSnapshots(w.ctx, series.Resource, series.Workload, 1, nil))
	rows, err = t.Snapshots(w.ctx, series.Resource, series.Workload, 0, 0)
	w.ok(err)
	expect(w, "snapshots up to the first are not kept, later ones stay", len(rows), 1)
	w.ok(t.RetainSnapshots(w.ctx, series.Resource, series.Workload, 3, nil))
	rows, err = t.Snapshots(w.ctx, series.Resource, series.Workload, 0, 0)
	w.ok(err)
	expect(w, "snapshots", len(rows), 0)
}

// testTenantAlarms: an alarm of one tenant begins once, keeps its beginning, and ends when it is cleared.
func testTenantAlarms(_ *testing.T, w *world) {
	a, b := w.enrolled("alarmed", 1), w.enrolled("alarmed too", 1)
	later := now.Add(time.Hour)
	w.ok(a.RaiseAlarm(w.ctx, catalog.AlarmKey, "", "it is gone", now))
	w.ok(a.RaiseAlarm(w.ctx, catalog.AlarmKey, "", "it is still gone", later))
	w.ok(a.RaiseAlarm(w.ctx, catalog.AlarmDamage, "u/drive", "two items", later))
	w.ok(b.RaiseAlarm(w.ctx, catalog.AlarmKey, "", "it is gone", later))
	w.kind(w.c.Tenant("t-none").RaiseAlarm(w.ctx, catalog.AlarmKey, "", "", now), tenantry.NotFound)
	mine, err := a.Alarms(w.ctx)
	w.ok(err)
	expect(w, "alarms", len(mine), 2)
	expect(w, "the second", mine[1].Since, now)
	expect(w, "the second", mine[1].Seen, later)
	expect(w, "the second", mine[1].Detail, "it is still gone")
	all, err := w.f.TenantAlarms(w.ctx, "", "", 10)
	w.ok(err)
	expect(w, "alarms of all", len(all), 3)
	keys, err := w.f.TenantAlarms(w.ctx, catalog.AlarmKey, "", 10)
	w.ok(err)
	expect(w, "alarms of keys", len(keys), 2)
	rest, err := w.f.TenantAlarms(w.ctx, "", keys[0].Tenant, 10)
	w.ok(err)
	expect(w, "alarms behind the first tenant", rest[0].Tenant, keys[1].Tenant)
	w.ok(a.ClearAlarm(w.ctx, catalog.AlarmKey, ""))
	w.ok(a.ClearAlarm(w.ctx, catalog.AlarmKey, ""))
	mine, err = a.Alarms(w.ctx)
	w.ok(err)
	expect(w, "alarms", len(mine), 1)
}
