package scheduler

import (
	"cmp"
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Deliveries is what the leader needs of Redis (*queue.Client). Called from several
// goroutines. Errors are of kind Shared: Redis does not answer.
type Deliveries interface {
	// Enqueue offers an admission; one that is in Redis already is not offered twice,
	// and its state is returned.
	Enqueue(ctx context.Context, queue string, r queue.Ref) (queue.State, error)
	// Paused lists the queues that an operator has paused, by their names in Redis.
	Paused(ctx context.Context) ([]string, error)
	// Depth is how many deliveries Redis holds, waiting or in hands, by queue.
	Depth(ctx context.Context) (map[string]int, error)
	// Ping reports whether Redis answers.
	Ping(ctx context.Context) error
}

// Budgets tells which flows Microsoft has told to wait, and until when. Called while there
// is a backlog, at most four times a second, from one goroutine; it must answer within a
// second. A flow without a tenant is that service in all tenants. On an error the leader
// goes on with what it knew.
type Budgets interface {
	Cooling(ctx context.Context) (map[Flow]time.Time, error)
	// Rate is how many units a second all tasks of a flow may spend together, in a tenant
	// of so many users and licences; 0 if nothing bounds them as a whole. Pure.
	Rate(service tenantry.Service, users, licences int64) float64
}

// Observer is told what the leader does. Called from several goroutines; must not block.
type Observer interface {
	// Leading tells that this process became the leader, or is it no longer.
	Leading(bool)
	// Ticked tells how long one tick of the leader took and whether it failed.
	Ticked(took time.Duration, err error)
	// Backlog tells, once in each Tick and more often in between, what waits and runs per queue.
	Backlog(map[string]QueueLoad)
	// Pools tells, in each tick, how many slots each pool of workers could use, by pool and queue; from one goroutine.
	Pools(demand map[string]map[string]int)
	// Moved counts tasks: "started" (became due), "admitted", "offered" (again),
	// "readmitted" (their delivery was lost), "reaped" (their process died).
	Moved(what string, n int)
	// Alarms tells how many shared causes stop admission.
	Alarms(n int)
}

// Notices tells people by mail (*report.Notifier). Called every few seconds while this process leads, from one goroutine;
// it acts under the leader's fence and ends with ctx. Fenced ends the term; other errors pass.
type Notices interface {
	Round(ctx context.Context, fence int64) error
}

// QueueLoad is what one queue holds and could use, in tasks.
type QueueLoad struct {
	Ready    int  // admissible now; of each flow at most catalog.LoadDepth are counted
	Cooling  int  // of them, those whose flow cools
	InFlight int  // admitted and running
	InRedis  int  // deliveries that Redis holds; what is in flight, a few seconds ago
	Slots    int  // what living workers can run at once
	Demand   int  // what the fleet could use: scale the pool by it
	Paused   bool // by an operator
}

// Logger is what this package says for operators (zap's SugaredLogger has it).
type Logger interface {
	Infow(msg string, kv ...any)
	Warnw(msg string, kv ...any)
}

// Config is what a scheduler works with and how. Zero durations and numbers mean the
// defaults named here.
type Config struct {
	Catalog    *catalog.Catalog
	Deliveries Deliveries
	Budgets    Budgets  // nil: no flow is known to cool
	Observer   Observer // nil: nobody listens
	Notices    Notices  // nil: nobody is told
	Log        Logger
	ID         tenantry.ProcessID // default: fresh, with the host's name

	// Cloud is Microsoft's cloud in which tenants are that say nothing else (default global).
	Cloud string
	// TenantCap is how many tasks of one tenant may be in flight in one queue; flows that
	// Microsoft limits as a whole get fewer, see Pick
	// (default: half of its slots, at least 4).
	TenantCap int
	// KeepTasks is how long ended tasks stay in the catalog (default 90 days).
	KeepTasks time.Duration
	// SyncRetry is when a started directory sync is due again unless it sets its own
	// next time by ending well (default 1 h).
	SyncRetry time.Duration

	// LeaseTime is the life of the leader lease (default 10 s: another scheduler takes
	// over within 15 s). It is renewed every third of it.
	LeaseTime time.Duration
	// Tick is the longest time between two ticks (default 1 s); BusyTick the time
	// between them while there is a backlog (default 10 ms, and at least a quarter of
	// the time that the last tick took).
	Tick, BusyTick time.Duration
	// ReapEvery is how often dead processes are looked for (default 2 s).
	ReapEvery time.Duration
	// Unclaimed is how long an admitted task may stay unclaimed before it is offered
	// again (default 10 s); it is looked for every half of that.
	Unclaimed time.Duration
	// NoticesEvery is how often people are told (default 10 s).
	NoticesEvery time.Duration
	// Now is the clock (default time.Now). Leases use the database's clock instead.
	Now func() time.Time
}

// Scheduler is one scheduler process: it campaigns for the leader lease and acts while
// it holds it.
type Scheduler struct {
	cfg    Config
	fleet  *catalog.Fleet
	cancel context.CancelFunc
	group  sync.WaitGroup
	wakes  <-chan struct{}

	leading  atomic.Bool
	redis    atomic.Pointer[redisView] // what the last sweep saw
	places   atomic.Pointer[places]
	troubles troubles
}

// New returns a scheduler; Start makes it run. Invalid if a part is missing.
func New(cfg Config) (*Scheduler, error) {
	if cfg.Catalog == nil || cfg.Deliveries == nil || cfg.Log == nil {
		return nil, tenantry.Errorf(tenantry.Invalid, "scheduler: catalog, deliveries and log are needed")
	}
	if cfg.Observer == nil {
		cfg.Observer = silent{}
	}
	if cfg.ID == "" {
		host, _ := os.Hostname() // an empty name still gives a unique ID
		cfg.ID = tenantry.NewProcessID("scheduler", host)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Cloud = cmp.Or(cfg.Cloud, "global")
	setDefault(&cfg.KeepTasks, 90*24*time.Hour)
	setDefault(&cfg.SyncRetry, time.Hour)
	setDefault(&cfg.LeaseTime, 10*time.Second)
	setDefault(&cfg.Tick, time.Second)
	setDefault(&cfg.BusyTick, 10*time.Millisecond)
	setDefault(&cfg.ReapEvery, 2*time.Second)
	setDefault(&cfg.Unclaimed, 10*time.Second)
	setDefault(&cfg.NoticesEvery, 10*time.Second)
	return &Scheduler{cfg: cfg, fleet: cfg.Catalog.Fleet(), troubles: troubles{log: cfg.Log}}, nil
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Start makes the process known to the fleet and begins to campaign. It returns when
// that is done; ctx bounds only the start. Errors are the catalog's.
func (s *Scheduler) Start(ctx context.Context) error {
	if s.cancel != nil {
		return tenantry.Errorf(tenantry.Internal, "start scheduler: it was started before")
	}
	run, cancel := context.WithCancel(context.Background())
	wakes, err := s.fleet.Wakes(run)
	if err == nil {
		err = s.beat(ctx)
	}
	if err != nil {
		cancel()
		return err
	}
	s.cancel, s.wakes = cancel, wakes
	s.group.Go(func() { _ = s.every(run, processBeat, "renew own process lease", s.beat) })
	s.group.Go(func() { s.campaign(run) })
	return nil
}

// Stop gives up the lease, so that another scheduler takes over at once, and returns
// when nothing of this one runs any more. ctx bounds what it says to the catalog.
func (s *Scheduler) Stop(ctx context.Context) error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	s.group.Wait()
	return errors.Join(s.fleet.Resign(ctx, s.cfg.ID), s.fleet.Leave(ctx, s.cfg.ID))
}

// Leading reports whether this process is the leader now.
func (s *Scheduler) Leading() bool { return s.leading.Load() }

// ID is the process ID under which the fleet knows this scheduler.
func (s *Scheduler) ID() tenantry.ProcessID { return s.cfg.ID }

// The lease of every process of the fleet (DESIGN: renewed every 5 s, expired after
// 20 s by the database's clock).
const (
	processBeat  = 5 * time.Second
	processLease = 20 * time.Second
)

func (s *Scheduler) beat(ctx context.Context) error {
	return s.fleet.Beat(ctx, catalog.Process{ID: s.cfg.ID, Role: "scheduler"}, processLease)
}

// every calls f each d until ctx ends or f says that this leader was fenced. Other
// errors pass: SQL or Redis may be back at the next call.
func (s *Scheduler) every(ctx context.Context, d time.Duration, what string, f func(context.Context) error) error {
	ticker := time.NewTicker(d)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		err := f(ctx)
		if tenantry.KindOf(err) == tenantry.Fenced {
			return err
		}
		s.troubles.note(ctx, what, err)
	}
}

// troubles logs a failing step once, and once that it works again, however often it
// is tried in between.
type troubles struct {
	log Logger
	mu  sync.Mutex
	now map[string]bool
}

func (t *troubles) note(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil && !t.now[what]:
		t.log.Warnw("cannot "+what+"; trying on", "error", err)
	case err == nil && t.now[what]:
		t.log.Infow("works again: " + what)
	}
	if t.now == nil {
		t.now = make(map[string]bool)
	}
	t.now[what] = err != nil
}

// silent is the observer of a scheduler that nobody observes.
type silent struct{}

func (silent) Leading(bool)                    {}
func (silent) Ticked(time.Duration, error)     {}
func (silent) Backlog(map[string]QueueLoad)    {}
func (silent) Pools(map[string]map[string]int) {}
func (silent) Moved(string, int)               {}
func (silent) Alarms(int)                      {}
