package api

import (
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

func TestEstimate(t *testing.T) {
	began := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	now := began.Add(100 * time.Second)
	running := func(items, total, tasks, done int64) catalog.Run {
		return catalog.Run{State: catalog.RunRunning, CreatedAt: began, Tasks: tasks, Done: done, Counts: tenantry.Counts{Items: items, Total: total, Bytes: 10 * items}}
	}
	for name, c := range map[string]struct {
		run     catalog.Run
		items   int64
		seconds float64 // from now, 0 for unknown
	}{
		"a restore that was listed":     {running(100, 400, 1, 0), 400, 300},
		"a backup, a quarter of it":     {running(100, 0, 4, 1), 400, 300},
		"a backup, nothing has ended":   {running(100, 0, 4, 0), 0, 0},
		"more was done than was listed": {running(100, 50, 1, 0), 0, 0},
	} {
		e := estimateOf(c.run, now)
		if e == nil || e.ItemsPerSecond != 1 || e.BytesPerSecond != 10 || e.Items != c.items {
			t.Errorf("%s: %+v", name, e)
			continue
		}
		if (c.seconds == 0) != (e.CompletesAt == nil) || e.CompletesAt != nil && e.CompletesAt.Sub(now).Seconds() != c.seconds {
			t.Errorf("%s: completes at %v", name, e.CompletesAt)
		}
	}
	restore := running(100, 400, 1, 0)
	restore.Action, restore.Counts.Bytes = tenantry.Restore, 1<<30
	for name, c := range map[string]struct {
		run     catalog.Run
		spent   map[tenantry.Service]int64
		least   time.Duration // until it completes
		binding string
	}{
		"nothing is booked yet":          {running(100, 400, 1, 0), nil, 300 * time.Second, ""},
		"the accounts have enough":       {running(100, 400, 1, 0), map[tenantry.Service]int64{tenantry.Outlook: 50}, 300 * time.Second, ""},
		"a mailbox of many requests":     {running(100, 400, 1, 0), map[tenantry.Service]int64{tenantry.Outlook: 30_000}, 80 * time.Minute, "outlook/requests"},
		"a tenant's files, beyond a day": {running(100, 400, 1, 0), map[tenantry.Service]int64{tenantry.SharePoint: 1_000_000}, 24 * time.Hour, "sharepoint/day"},
		"3 GiB to upload":                {restore, map[tenantry.Service]int64{tenantry.Outlook: 50}, 100 * time.Minute, "outlook/upload"},
	} {
		e := estimateOf(c.run, now)
		e.allow(throttle.Documented(), throttle.Size{Users: 10, Licences: 10}, c.run, c.spent, now)
		if e.Binding != c.binding || e.CompletesAt == nil || e.CompletesAt.Sub(now) < c.least || e.CompletesAt.Sub(now) > 3*c.least ||
			(c.binding != "") != (e.Takes > 0) || e.Bytes != 4*c.run.Counts.Bytes {
			t.Errorf("%s: %+v completes in %s", name, e, e.CompletesAt.Sub(now))
		}
	}
	ended := running(100, 400, 1, 1)
	ended.State = catalog.RunDone
	for name, run := range map[string]catalog.Run{"ended": ended, "nothing done": running(0, 400, 1, 0)} {
		if e := estimateOf(run, now); e != nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
