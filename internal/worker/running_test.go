package worker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// impatient is a worker that hears of cancels at once.
func (h *house) impatient() Config {
	cfg := h.config()
	cfg.CancelEvery, cfg.CancelGrace = 10*time.Millisecond, time.Minute
	return cfg
}

func (h *house) cancel(task catalog.Task) {
	h.t.Helper()
	h.must(h.scope().CancelRun(h.t.Context(), task.Run, time.Now()))
}

// A canceled backup commits what it has and ends; the next one goes on from there.
func TestCancelCommitsAndEnds(t *testing.T) {
	h := newHouse(t)
	third, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h.source.before(func(_ context.Context, link string) error {
		if link == "from 100" {
			once.Do(func() { close(third); <-release })
		}
		return nil
	})
	w, _ := h.worker(h.impatient())
	task := h.backup()
	<-third
	h.cancel(task)
	h.until("the slice is told", func() bool { return w.running.toldAny() })
	close(release)
	got := h.ended(task.ID)
	if got.State != catalog.TaskCanceled || got.Kind != tenantry.Canceled || got.Counts.Items == 0 || got.Counts.Items == 250 {
		t.Errorf("canceled: %+v", got)
	}
	run, err := h.scope().Run(t.Context(), task.Run)
	h.must(err)
	if run.State != catalog.RunCanceled || run.Counts.Items != got.Counts.Items {
		t.Errorf("its run: %+v", run)
	}
	if rows := h.snapshots(); len(rows) != 0 {
		t.Errorf("a canceled backup has snapshots: %+v", rows)
	}
	h.source.before(func(_ context.Context, link string) error {
		if link == "" {
			return errors.New("what was committed is read again")
		}
		return nil
	})
	rest := h.done(h.backup().ID)
	if rest.Counts.Items+got.Counts.Items != 250 {
		t.Errorf("%d items and then %d, want 250", got.Counts.Items, rest.Counts.Items)
	}
	if rows := h.snapshots(); len(rows) != 1 || rows[0].Counts.Items != 250 {
		t.Errorf("snapshots: %+v", rows)
	}
}

// What does not end by itself is ended, and still is canceled, not failed.
func TestCancelEndsWhatHangs(t *testing.T) {
	h := newHouse(t)
	cfg := h.impatient()
	cfg.CancelGrace = 10 * time.Millisecond
	h.source.before(func(ctx context.Context, _ string) error {
		<-ctx.Done()
		return ctx.Err()
	})
	h.worker(cfg)
	task := h.backup()
	h.until("the slice runs", func() bool { return h.task(task.ID).State == catalog.TaskRunning })
	h.cancel(task)
	if got := h.ended(task.ID); got.State != catalog.TaskCanceled || got.Attempt != 0 {
		t.Errorf("canceled: %+v", got)
	}
}

// A sync has no checkpoints of its own: it ends where it is.
func TestCancelOfASync(t *testing.T) {
	h := newHouse(t)
	h.dir.hang.Store(true)
	h.worker(h.impatient())
	task := h.start(catalog.NewTask{Action: tenantry.Sync, Queue: queue.Directory})
	h.until("the sync runs", func() bool { return h.dir.runs.Load() == 1 })
	h.cancel(task)
	if got := h.ended(task.ID); got.State != catalog.TaskCanceled {
		t.Errorf("canceled: %+v", got)
	}
	h.dir.hang.Store(false)
	h.done(h.start(catalog.NewTask{Action: tenantry.Sync, Queue: queue.Directory}).ID)
}

// The worker dies after the cancel and before its slice has ended: the task ends canceled
// with the reaping, and the dead worker's epoch is fenced by the next backup's.
func TestCancelOfADeadWorkersTask(t *testing.T) {
	h := newHouse(t)
	task := h.backup()
	dead := catalog.Process{ID: tenantry.NewProcessID("worker", "dead"), Role: "worker", Slots: h.config().Slots}
	h.must(h.cat.Fleet().Beat(t.Context(), dead, time.Hour))
	h.until("the task is admitted", func() bool { return h.task(task.ID).State == catalog.TaskAdmitted })
	claim, err := h.scope().Claim(t.Context(), task.ID, h.task(task.ID).Admission, dead.ID)
	h.must(err)
	h.cancel(task)
	h.must(h.cat.Fleet().Beat(t.Context(), dead, time.Millisecond)) // and then no more
	if got := h.ended(task.ID); got.State != catalog.TaskCanceled || !strings.Contains(got.Reason, "canceled") {
		t.Errorf("canceled: %+v", got)
	}
	err = h.scope().Settle(t.Context(), claim, catalog.Settlement{State: catalog.TaskDone}, time.Now())
	if tenantry.KindOf(err) != tenantry.Fenced {
		t.Errorf("the dead worker settles: %v", err)
	}
	h.worker(h.impatient())
	h.done(h.backup().ID)
	if rows := h.snapshots(); len(rows) != 1 || rows[0].Counts.Items != 250 {
		t.Errorf("snapshots: %+v", rows)
	}
}

// toldAny reports whether a slice was told that its run was canceled.
func (r *running) toldAny() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.told) > 0
}
