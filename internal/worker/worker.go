// Package worker owns what a worker process does with a task: claim it, run one slice
// of it, settle it; the process's lease; and the drain when it is told to stop.
//
// A delivery from Redis names a task and its admission. What to do stands in SQL:
//
//	delivered --claim--> running slice --settle--> done | failed | ready (more, parked, retry)
//	    |                     |
//	    | stale, or series    | lease lost: slice canceled, nothing settled by us;
//	    | busy: dropped       | the reaper returns the task to ready
//
// Fencing. A worker may run slices only while its lease in SQL lives. When it cannot
// renew in time it cancels all of them before the lease ends, so that the task's next
// owner never meets it; the series' epoch in the bucket holds even if it does. What a
// slice has not committed then is void.
//
// Drain. The engine is told to checkpoint and to end; the slice settles as "more to
// do", and any worker goes on from the checkpoint. Nothing is lost, nothing done twice.
//
// Cancel. A slice whose run somebody cancels is told the same, within CancelEvery; the catalog
// ends its task where it would have gone back to ready. So it does when the worker dies before
// that, or never hears of it.
//
// Damage. A verification, a patrol, or a task that meets a damaged index raises the tenant's alarm and
// starts what follows: patrol → verify → repair → the next backup, which ends the alarm.
//
// There is one retry policy in the fleet, and it is here (see decide): the kind of
// error says what becomes of the task, and asynq retries nothing.
package worker

import (
	"cmp"
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Repositories opens tenants' repositories. Called once per slice, concurrently. Errors:
// WrongKey, Corrupt, Shared (the bucket does not answer).
type Repositories interface {
	Open(ctx context.Context, t tenantry.TenantID) (*repository.Repository, error)
}

// Workloads opens the two ends of Microsoft 365. Source or Target is called once per slice, concurrently; what
// is returned is used by that slice alone. Errors carry kinds: Absent (no mailbox, no
// drive), Denied, Reconnect, Throttled, Invalid with the code UnknownHere (a workload
// that this release does not know).
type Workloads interface {
	// Source reads a workload of a resource, with what its policies want besides the usual.
	Source(ctx context.Context, t catalog.TenantRow, r catalog.Resource, w tenantry.Workload, o tenantry.BackupOptions) (engine.Source, error)
	// Target writes a workload of a resource, as req says where and how. Uploads that a slice of the task began and
	// did not end are gone on with.
	Target(ctx context.Context, t catalog.TenantRow, task tenantry.TaskID, r catalog.Resource, w tenantry.Workload, req tenantry.RestoreRequest) (engine.Target, error)
	// EndUploads drops what ended tasks of the tenant have left at Microsoft of uploads that nobody goes on with. Called
	// after each slice of a restore, and after each sync; may be called again after any failure.
	EndUploads(ctx context.Context, t catalog.TenantRow) error
}

// Directory connects tenants and reads their users, groups and sites
// (*directory.Directory). Called once per slice, concurrently.
type Directory interface {
	// Connect proves a consent and sets the tenant connected. It changes no state when it
	// fails: that is the worker's, once it has given up.
	Connect(ctx context.Context, t tenantry.TenantID, req tenantry.ConnectRequest) error
	// Register goes on with a registration by device code, and says when to come back; zero: it has ended.
	Register(ctx context.Context, t tenantry.TenantID) (time.Time, error)
	// Sync may be called again after any failure and goes on where it was.
	Sync(ctx context.Context, t tenantry.TenantID) (tenantry.Counts, error)
}

// Observer is told what the worker does. Called from several goroutines; must not block.
type Observer interface {
	// Slice tells how a slice ended: done, more, parked, retry, failed, dropped.
	Slice(queue string, action tenantry.Action, result string, took time.Duration)
	// Waited tells what a settled slice, and its task before and after it, waited for. The
	// names of accounts are few.
	Waited(d tenantry.Delays)
	// Leased tells that the process holds its lease, or does no longer.
	Leased(bool)
	// Parked tells that a task gave up its slot to wait for Graph, and for which account.
	Parked(account string)
}

// Config is what a worker works with and how. Zero durations mean the defaults named.
type Config struct {
	Catalog      *catalog.Catalog
	Queue        queue.Options
	Repositories Repositories
	Workloads    Workloads
	Directory    Directory
	Observer     Observer     // nil: nobody listens
	Tracer       trace.Tracer // nil: no spans
	Log          queue.Logger
	ID           tenantry.ProcessID // default: fresh, with the host's name

	// Pool is whose tenants' work this worker does (default the main pool).
	Pool string
	// Region is whose bucket and keys Repositories opens, Cloud in which the application is that stands for tenants
	// that name none: shared causes of others bear their names in alarms.
	Region, Cloud string
	// Unserved says why this worker cannot do a tenant's work, "" if it can; its tasks then wait, and an alarm of the
	// tenant says so. Asked once per slice; nil: it can do everybody's.
	Unserved func(catalog.TenantRow) string
	// Outside says that the worker stands outside of the provider's network: what is out of its reach may be in others', and
	// stops nobody but its own tasks.
	Outside bool
	// Slots is how many tasks run at once, by queue.
	Slots map[string]int
	// Limits bound a slice.
	Limits engine.Limits

	// MassChange is the share of a snapshot's items, removed or changed since the one before, above
	// which the pruning of the series is suspended; 0: never.
	MassChange float64

	// KeepArchives is how long what an export made can be fetched (default 7 days).
	KeepArchives time.Duration

	// LeaseTime is the life of the process lease (default 20 s), BeatEvery how often it
	// is renewed (default 5 s).
	LeaseTime, BeatEvery time.Duration
	// ProgressEvery is how often the counts of a running slice are written (default 2 s).
	ProgressEvery time.Duration
	// CancelEvery is how often the catalog is asked whose runs were canceled (default 2 s), and
	// CancelGrace how long such a slice may take to commit what it has (default 1 min).
	CancelEvery, CancelGrace time.Duration
	// SettleTimeout bounds one attempt to settle a task (default 10 s); it is tried as
	// long as the process lives.
	SettleTimeout time.Duration
	// Now is the clock (default time.Now). Leases use the database's clock instead.
	Now func() time.Time
}

// Worker is one worker process.
//
//	New -> Start -> Drain (once; safe to call again)
type Worker struct {
	cfg    Config
	server *queue.Server
	lease  *lease
	dirty  uncommitted

	running *running
	unwatch func() // ends watchCancels

	graceOver chan struct{} // closed: drain's time is over, give up settling
	graceOnce sync.Once
}

// New returns a worker; Start makes it run. Invalid if a part is missing or Slots has none.
func New(cfg Config) (*Worker, error) {
	if cfg.Catalog == nil || cfg.Repositories == nil || cfg.Workloads == nil || cfg.Directory == nil || cfg.Log == nil {
		return nil, tenantry.Errorf(tenantry.Invalid, "worker: catalog, repositories, workloads, directory and log are needed")
	}
	if cfg.Observer == nil {
		cfg.Observer = silent{}
	}
	if cfg.Tracer == nil {
		cfg.Tracer = noop.NewTracerProvider().Tracer("")
	}
	if cfg.ID == "" {
		host, _ := os.Hostname() // an empty name still gives a unique ID
		cfg.ID = tenantry.NewProcessID("worker", host)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Pool = cmp.Or(cfg.Pool, catalog.MainPool)
	setDefault(&cfg.KeepArchives, 7*24*time.Hour)
	setDefault(&cfg.LeaseTime, 20*time.Second)
	setDefault(&cfg.BeatEvery, 5*time.Second)
	setDefault(&cfg.ProgressEvery, 2*time.Second)
	setDefault(&cfg.CancelEvery, 2*time.Second)
	setDefault(&cfg.CancelGrace, time.Minute)
	setDefault(&cfg.SettleTimeout, 10*time.Second)
	w := &Worker{cfg: cfg, running: newRunning(), unwatch: func() {}, graceOver: make(chan struct{})}
	w.lease = newLease(cfg)
	served := make(map[string]int, len(cfg.Slots))
	for name, n := range cfg.Slots {
		served[queue.In(cfg.Pool, name)] = n
	}
	server, err := queue.NewServer(cfg.Queue, served, w.handle, cfg.Log)
	if err != nil {
		return nil, err
	}
	w.server = server
	return w, nil
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Start takes the process lease and then deliveries. It returns when both is done; ctx
// bounds only the start. Shared if the catalog or Redis does not answer.
func (w *Worker) Start(ctx context.Context) error {
	if err := w.lease.start(ctx); err != nil {
		return err
	}
	if err := w.server.Start(ctx); err != nil {
		return errors.Join(err, w.lease.stop(ctx))
	}
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.watchCancels(watch)
	}()
	w.unwatch = func() { cancel(); <-done }
	return nil
}

// Drain takes no more deliveries, tells running slices to checkpoint and end, waits for
// them until ctx ends, and then cancels them. At the end the process leaves the fleet:
// whatever it still owns is ready for others at once.
func (w *Worker) Drain(ctx context.Context) error {
	w.running.drain()
	stop := context.AfterFunc(ctx, w.endGrace)
	defer stop()
	drained := w.server.Drain(ctx)
	w.unwatch()
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(drained, w.lease.stop(leave))
}

func (w *Worker) endGrace() { w.graceOnce.Do(func() { close(w.graceOver) }) }

// ID is the process ID under which the fleet knows this worker.
func (w *Worker) ID() tenantry.ProcessID { return w.cfg.ID }

// Alive reports whether the process holds its lease: without it no slice runs.
func (w *Worker) Alive() bool { return w.lease.alive() }

// Uncommitted returns how long ago the oldest of the running backups last committed, or
// began: what a crash now would have to read again. 0 if none runs.
func (w *Worker) Uncommitted() time.Duration { return w.dirty.age(time.Now()) }

// silent is the observer of a worker that nobody observes.
type silent struct{}

func (silent) Slice(string, tenantry.Action, string, time.Duration) {}
func (silent) Waited(tenantry.Delays)                               {}
func (silent) Leased(bool)                                          {}
func (silent) Parked(string)                                        {}
