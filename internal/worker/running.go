package worker

import (
	"context"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// running are the slices under way in this process, so that they can be told to commit what
// they have and to end: all of them at a drain, one when somebody cancels its run. It is safe
// for concurrent use.
type running struct {
	draining chan struct{} // closed by drain

	mu   sync.Mutex
	jobs map[*job]context.CancelCauseFunc
	told map[*job]*time.Timer // those of canceled runs; the timer ends what does not end
}

// errCanceled is why a slice was ended that did not end by itself after its run was canceled.
var errCanceled = tenantry.Errorf(tenantry.Canceled, "its run was canceled")

func newRunning() *running {
	return &running{
		draining: make(chan struct{}), jobs: map[*job]context.CancelCauseFunc{}, told: map[*job]*time.Timer{},
	}
}

// enter makes a job's slice known, and gives it its drain channel; cancel ends the slice's
// context. The job leaves when its slice has ended.
func (r *running) enter(j *job, cancel context.CancelCauseFunc) (leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	drain := make(chan struct{})
	j.drain = drain
	j.stop = sync.OnceFunc(func() { close(drain) })
	select {
	case <-r.draining:
		j.stop()
	default:
	}
	r.jobs[j] = cancel
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if timer := r.told[j]; timer != nil {
			timer.Stop()
		}
		delete(r.jobs, j)
		delete(r.told, j)
	}
}

// drain tells every slice to end, and those that come. It may be called again.
func (r *running) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.draining:
		return
	default:
	}
	close(r.draining)
	for j := range r.jobs {
		j.stop()
	}
}

// cancel tells the slices of tasks to end, and ends those that have not after a grace.
func (r *running) cancel(tasks []tenantry.TaskID, grace time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range tasks {
		for j, end := range r.jobs {
			if j.claim.ID != id || r.told[j] != nil {
				continue
			}
			j.log.Infow("its run was canceled: the slice commits what it has and ends")
			j.stop()
			r.told[j] = time.AfterFunc(grace, func() { end(errCanceled) })
		}
	}
}

func (r *running) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.jobs) == 0
}

// watchCancels asks for canceled tasks of this process until ctx ends. What it does not hear
// of in time ends canceled all the same, with the slice's settlement.
func (w *Worker) watchCancels(ctx context.Context) {
	ticker := time.NewTicker(w.cfg.CancelEvery)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if w.running.idle() {
			continue
		}
		tasks, err := w.canceledTasks(ctx)
		if ctx.Err() != nil {
			return
		}
		if (err != nil) != failing {
			failing = err != nil
			w.cfg.Log.Infow("asking for canceled tasks", "failing", failing, "error", err)
		}
		w.running.cancel(tasks, w.cfg.CancelGrace)
	}
}

func (w *Worker) canceledTasks(ctx context.Context) ([]tenantry.TaskID, error) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.SettleTimeout)
	defer cancel()
	return w.cfg.Catalog.Fleet().CanceledTasks(ctx, w.cfg.ID)
}
