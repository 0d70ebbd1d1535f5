package api

import (
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
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
	ended := running(100, 400, 1, 1)
	ended.State = catalog.RunDone
	for name, run := range map[string]catalog.Run{"ended": ended, "nothing done": running(0, 400, 1, 0)} {
		if e := estimateOf(run, now); e != nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
