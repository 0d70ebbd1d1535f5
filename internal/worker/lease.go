package worker

import (
	"context"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// lease keeps the process known to the fleet, and ends the slices of a process that
// cannot: it may be taken for dead, and its tasks given to others.
//
//	held --renewed in time--> held
//	held --not renewed for nine tenths of the lease--> lost (every slice canceled)
//	lost --renewed--> held (new slices only)
type lease struct {
	fleet    beats
	process  catalog.Process
	life     time.Duration
	every    time.Duration
	log      queue.Logger
	observer Observer

	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	held context.Context // ends when the lease is lost
	lose context.CancelCauseFunc
}

// beats is where leases stand: in the catalog. One renewal at a time is asked for.
type beats interface {
	Beat(ctx context.Context, p catalog.Process, ttl time.Duration) error
	Leave(ctx context.Context, p tenantry.ProcessID) error
}

// errLeaseLost is why slices end when the process could not renew its lease. Their tasks
// are settled as canceled if nobody has reaped them, else the settlement is refused.
var errLeaseLost = tenantry.Errorf(tenantry.Canceled, "the worker could not renew its lease in time")

func newLease(cfg Config) *lease {
	return &lease{
		fleet:    cfg.Catalog.Fleet(),
		process:  catalog.Process{ID: cfg.ID, Role: "worker", Slots: cfg.Slots, Pool: cfg.Pool},
		life:     cfg.LeaseTime,
		every:    cfg.BeatEvery,
		log:      cfg.Log,
		observer: cfg.Observer,
	}
}

// start takes the lease and keeps renewing it until stop.
func (l *lease) start(ctx context.Context) error {
	asked := time.Now()
	if err := l.fleet.Beat(ctx, l.process, l.life); err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.Background())
	l.cancel, l.done = cancel, make(chan struct{})
	l.hold(run)
	go func() {
		defer close(l.done)
		l.keep(run, asked)
	}()
	return nil
}

// stop ends the lease: what the process still owns is ready for others.
func (l *lease) stop(ctx context.Context) error {
	if l.cancel == nil {
		return nil
	}
	l.cancel()
	<-l.done
	return l.fleet.Leave(ctx, l.process.ID)
}

// keep renews until ctx ends. The time that counts is when the renewal was asked for: the
// database cannot have counted from earlier. The monotonic clock measures it.
func (l *lease) keep(ctx context.Context, asked time.Time) {
	ticker := time.NewTicker(l.every)
	defer ticker.Stop()
	safe := l.life - l.life/10
	expiry := time.NewTimer(safe - time.Since(asked))
	defer expiry.Stop()
	beats := make(chan beat, 1)
	beating := false
	for {
		select {
		case <-ctx.Done():
			if beating {
				<-beats
			}
			return
		case <-expiry.C:
			l.lost()
		case <-ticker.C:
			if !beating {
				beating = true
				go func() { beats <- l.beat(ctx) }()
			}
		case b := <-beats:
			beating = false
			left := safe - time.Since(b.asked)
			if b.err != nil || left <= 0 {
				l.log.Warnw("cannot renew the worker's lease; trying on", "error", b.err)
				continue
			}
			expiry.Reset(left)
			l.hold(ctx)
		}
	}
}

type beat struct {
	asked time.Time
	err   error
}

func (l *lease) beat(ctx context.Context) beat {
	ctx, cancel := context.WithTimeout(ctx, l.life)
	defer cancel()
	b := beat{asked: time.Now()}
	b.err = l.fleet.Beat(ctx, l.process, l.life)
	return b
}

// hold notes that the lease lives; after a loss it begins anew.
func (l *lease) hold(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held != nil && l.held.Err() == nil {
		return
	}
	l.held, l.lose = context.WithCancelCause(ctx)
	l.observer.Leased(true)
}

func (l *lease) lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held.Err() != nil {
		return
	}
	l.lose(errLeaseLost)
	l.observer.Leased(false)
	l.log.Errorw("lost the worker's lease: canceled all slices; their tasks run elsewhere")
}

func (l *lease) alive() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held != nil && l.held.Err() == nil
}

// bind returns a context that ends with ctx, and with errLeaseLost as its cause when the
// lease that is held now is lost.
func (l *lease) bind(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	l.mu.Lock()
	held := l.held
	l.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(held, func() { cancel(context.Cause(held)) })
	return ctx, func(cause error) {
		stop()
		cancel(cause)
	}
}
