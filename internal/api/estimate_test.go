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

// A single task is estimated as a run of its own, by its share of what the run's items cost; one that has ended, or has
// not begun, is not.
func TestEstimateOfATask(t *testing.T) {
	began := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	now := began.Add(100 * time.Second)
	task := catalog.Task{
		State: catalog.TaskRunning, Action: tenantry.Backup, Service: tenantry.Outlook, StartedAt: began, CreatedAt: began.Add(-time.Hour),
		Counts: tenantry.Counts{Items: 100, Total: 400, Bytes: 1000},
	}
	run, ok := asRun(task)
	if !ok {
		t.Fatal("a running task is not estimated")
	}
	e := estimateOf(run, now)
	if e == nil || e.ItemsPerSecond != 1 || e.BytesPerSecond != 10 || e.Items != 400 || e.Bytes != 4000 || e.CompletesAt == nil || e.CompletesAt.Sub(now) != 300*time.Second {
		t.Fatalf("%+v", e)
	}
	whole := catalog.Run{Tasks: 3, Counts: tenantry.Counts{Items: 1000}}
	share := shareOf(map[tenantry.Service]int64{tenantry.Outlook: 300_000, tenantry.SharePoint: 7}, task, whole)
	if len(share) != 1 || share[tenantry.Outlook] != 30_000 {
		t.Errorf("its share is %v", share)
	}
	e.allow(throttle.Documented(), throttle.Size{Users: 10, Licences: 10}, run, share, now)
	if e.Binding != "outlook/requests" || e.CompletesAt.Sub(now) < 80*time.Minute {
		t.Errorf("by the budget: %+v", e)
	}
	for name, change := range map[string]func(*catalog.Task){
		"ended":     func(t *catalog.Task) { t.State = catalog.TaskDone },
		"canceled":  func(t *catalog.Task) { t.State = catalog.TaskCanceled },
		"not begun": func(t *catalog.Task) { t.StartedAt = time.Time{} },
	} {
		other := task
		change(&other)
		if _, ok := asRun(other); ok {
			t.Errorf("%s: it is estimated", name)
		}
	}
}
