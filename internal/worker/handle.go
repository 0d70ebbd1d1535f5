package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// handle runs one delivery: claim, slice, settle. The line and the error are for people
// who look at Redis; what becomes of the task stands in SQL.
func (w *Worker) handle(ctx context.Context, r queue.Ref) (string, error) {
	scope := w.cfg.Catalog.Tenant(r.Tenant)
	claim, err := scope.Claim(ctx, r.Task, r.Admission, w.cfg.ID)
	if err != nil {
		return w.unclaimed(r, err), nil
	}
	j := &job{
		Worker: w, scope: scope, claim: claim, before: claim.Counts, began: time.Now(),
		meter: tenantry.NewMeter(time.Now),
	}
	j.log = j.logger()
	ctx, j.span = j.traced(ctx)
	defer j.span.End()
	end, err := j.slice(ctx)
	line, err := j.settle(ctx, end, err)
	j.endUploads(ctx)
	return line, err
}

// unclaimed explains a delivery that this worker does not run. The task is not lost: it
// was claimed elsewhere, went back to ready, or stays admitted and is offered again.
func (w *Worker) unclaimed(r queue.Ref, err error) string {
	switch tenantry.KindOf(err) {
	case tenantry.Conflict, tenantry.NotFound:
		return "dropped: a stale delivery"
	case tenantry.Transient:
		return "dropped: its series is busy, it is tried again soon"
	}
	w.cfg.Log.Warnw("cannot claim a task; it is offered again", "task", r.Task, "tenant", r.Tenant, "error", err)
	return "not claimed: " + err.Error()
}

// job is one claimed task in this worker's hands.
type job struct {
	*Worker
	scope  *catalog.Tenant
	claim  catalog.Claim
	before tenantry.Counts // of earlier slices
	began  time.Time
	meter  *tenantry.Meter // of this slice
	log    queue.Logger    // says whose task it is
	drain  <-chan struct{} // closed: commit what there is and end the slice
	stop   func()          // closes drain
	span   trace.Span      // of the slice
}

// end says how a slice ended, beside its error.
type end struct {
	done     bool // nothing is left to do
	counts   tenantry.Counts
	snapshot *catalog.SnapshotRow
	problems []engine.Problem
	// notBefore is when a task that is not done may go on; zero: at once.
	notBefore time.Time
	reason    string // what somebody should know of a task that is done, or why it has to wait
}

// slice runs one slice under the process's lease, and reports its progress meanwhile.
func (j *job) slice(ctx context.Context) (e end, err error) {
	ctx, cancel := j.lease.bind(tenantry.WithMeter(ctx, j.meter))
	defer cancel(nil)
	defer j.running.enter(j, cancel)()
	p := j.report(ctx, cancel)
	defer p.stop()
	defer func() {
		if r := recover(); r != nil {
			err = tenantry.Errorf(tenantry.Internal, "%s: panic: %v", j.claim.Action, r)
			j.log.Errorw("a slice panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
		err = ended(ctx, err)
	}()
	return j.run(ctx, p.set)
}

// ended says why a slice failed whose context had ended: a canceled call has many faces.
func ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case err == nil || cause == nil:
		return err
	case errors.Is(cause, errLeaseLost), tenantry.KindOf(cause) == tenantry.Fenced:
		return cause
	}
	return tenantry.E(tenantry.Canceled, "the slice was ended", err)
}

// poolMove is how long a task waits whose tenant was moved to another pool: the scheduler has read it by then.
const poolMove = 2 * time.Second

func (j *job) run(ctx context.Context, progress func(tenantry.Counts)) (end, error) {
	if n := j.claim.Attempt; n >= attemptsOf(j.claim.Action) {
		// Only the reaper counts that far: a task that kills its workers comes to an end.
		return end{}, tenantry.Errorf(tenantry.Internal, "given up after %d failures: its workers died", n)
	}
	tenant := j.claim.Of
	if tenant.ID == "" {
		return end{}, tenantry.Errorf(tenantry.NotFound, "there is no tenant %s", j.claim.Tenant)
	}
	if a := j.claim.Action; needsTenant(a) && tenant.State != tenantry.TenantConnected {
		return end{}, tenantry.Errorf(tenantry.Reconnect, "tenant %s is %s: %s", tenant.Name, tenant.State, tenant.Reason)
	}
	if tenant.Pool != j.cfg.Pool { // it was moved while the delivery was under way
		return end{notBefore: j.cfg.Now().Add(poolMove)}, nil
	}
	if reason := j.unserved(tenant); reason != "" {
		return j.leave(ctx, reason)
	}
	if a := j.claim.Action; a == tenantry.Connect || a == tenantry.Sync {
		if err := j.inPlace(ctx); err != nil {
			return end{}, err
		}
	}
	switch j.claim.Action {
	case tenantry.Connect:
		return j.connect(ctx)
	case tenantry.Sync:
		return j.sync(ctx)
	case tenantry.Backup:
		return j.backup(ctx, tenant, progress)
	case tenantry.Restore:
		return j.restore(ctx, tenant, progress)
	case tenantry.Verify:
		return j.verify(ctx, progress)
	case tenantry.Prune:
		return j.prune(ctx)
	case tenantry.Collect:
		return j.collect(ctx)
	case tenantry.Patrol:
		return j.patrol(ctx)
	case tenantry.Export:
		return j.export(ctx, progress)
	case tenantry.Repair:
		return j.repair(ctx)
	case tenantry.Search:
		return j.search(ctx, progress)
	}
	return end{}, &tenantry.Error{Kind: tenantry.Invalid, Code: UnknownHere, Err: fmt.Errorf("this worker does not know the action %q", j.claim.Action)}
}

// needsTenant reports whether an action asks Microsoft for something of a tenant, which has to be
// connected for that.
func needsTenant(a tenantry.Action) bool {
	switch a {
	case tenantry.Connect, tenantry.Verify, tenantry.Prune, tenantry.Collect, tenantry.Export, tenantry.Patrol, tenantry.Repair, tenantry.Search:
		return false
	}
	return true
}

// progress writes the counts of a running slice to the catalog now and then, off the
// slice's own path. Its goroutine begins with the first counts: many slices have none.
type progress struct {
	latest chan tenantry.Counts // the newest, at most one
	begin  func()               // starts the goroutine, once
	done   sync.WaitGroup
	cancel context.CancelFunc
}

// report starts to write progress. When the catalog says that the claim is not ours any
// more, fence ends the slice.
func (j *job) report(ctx context.Context, fence context.CancelCauseFunc) *progress {
	ctx, cancel := context.WithCancel(ctx)
	p := &progress{latest: make(chan tenantry.Counts, 1), cancel: cancel}
	p.begin = sync.OnceFunc(func() {
		p.done.Go(func() { j.write(ctx, p.latest, fence) })
	})
	return p
}

// write writes the latest counts every ProgressEvery until ctx ends, or the claim has.
func (j *job) write(ctx context.Context, latest <-chan tenantry.Counts, fence context.CancelCauseFunc) {
	ticker := time.NewTicker(j.cfg.ProgressEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		select {
		case counts := <-latest:
			err := j.scope.Progress(ctx, j.claim, j.total(counts))
			if tenantry.KindOf(err) == tenantry.Fenced {
				fence(err)
				return
			}
			if err != nil && ctx.Err() == nil {
				j.log.Debugw("cannot write progress", "error", err)
			}
		default:
		}
	}
}

// set is handed to the engine; it never blocks.
func (p *progress) set(c tenantry.Counts) {
	p.begin()
	for {
		select {
		case p.latest <- c:
			return
		default:
		}
		select {
		case <-p.latest:
		default:
		}
	}
}

func (p *progress) stop() {
	p.cancel()
	p.done.Wait()
}

// total is what the task has done in all. A backup goes on where it was, and what its slice
// expects in all comes on top of that; the others walk their way again from the start, so that
// their last slice counts.
func (j *job) total(slice tenantry.Counts) tenantry.Counts {
	if j.claim.Action == tenantry.Backup {
		sum := j.before.Add(slice)
		sum.Total = j.before.Items + slice.Total
		// What an earlier slice found and did not do, this one finds again.
		sum.Found = max(j.before.Found, j.before.Items+slice.Found)
		sum.FoundBytes = max(j.before.FoundBytes, j.before.Bytes+slice.FoundBytes)
		return sum
	}
	return slice
}
