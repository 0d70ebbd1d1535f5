package scheduler

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// What is due is started in batches until dueTime is over; the rest waits for the next
// tick, which comes soon. So a million tasks that are due at once do not hold up the
// admission of the first ones. A batch of backups goes to SQL in dueParts at once, by
// tenant, so that no two of them write the same runs.
const (
	enrolBatch = 20
	syncBatch  = 500
	dueBatch   = 4000
	dueParts   = 4
	dueTime    = 300 * time.Millisecond
)

// How often it is read which flows cool, and how long that may take.
const (
	coolingEvery   = 250 * time.Millisecond
	coolingTimeout = time.Second
)

// tick starts what is due and admits what the fleet can take. It returns how long
// nothing will happen by itself.
func (t *term) tick(ctx context.Context) (pause time.Duration, err error) {
	now := t.cfg.Now()
	var dueErr error
	// Due times have a grain of minutes; reading them once a second is enough.
	more := false
	if now.Sub(t.dueAt).Abs() >= t.cfg.Tick {
		if more, dueErr = t.start(ctx, now); tenantry.KindOf(dueErr) == tenantry.Fenced {
			return 0, dueErr
		}
		if !more {
			t.dueAt = now
		}
	}
	// Admission goes on when a start failed: one broken policy must not stop the fleet.
	busy, err := t.admit(ctx, now)
	if err != nil || dueErr != nil {
		return t.cfg.Tick, errors.Join(dueErr, err)
	}
	if busy || more {
		return t.cfg.BusyTick, nil
	}
	next, err := t.fleet.NextReady(ctx, now)
	if err != nil || next.IsZero() {
		return t.cfg.Tick, err
	}
	return min(t.cfg.Tick, max(0, next.Sub(now))), nil
}

// start starts what is due, enrolments, syncs, backups and prunes, each for at most dueTime; one that fails
// does not hold up the other. more: time was up before all of it was started.
func (t *term) start(ctx context.Context, now time.Time) (more bool, err error) {
	var errs []error
	for _, due := range []struct {
		start func(context.Context, time.Time) (int, error)
		batch int
	}{{t.enrol, enrolBatch}, {t.startSyncs, syncBatch}, {t.startBackups, dueBatch}, {t.startPrunes, syncBatch}} {
		for began := time.Now(); ; {
			n, err := due.start(ctx, now)
			if err != nil {
				errs = append(errs, err)
			}
			if err != nil || n < due.batch {
				break
			}
			if time.Since(began) >= dueTime {
				more = true
				break
			}
		}
	}
	return more, errors.Join(errs...)
}

// enrol takes in the newcomers of policies whose time of day has come, and returns how many
// policies there were.
func (t *term) enrol(ctx context.Context, now time.Time) (int, error) {
	return t.fleet.Enrol(ctx, t.fence, enrolBatch, now)
}

// startSyncs starts the directory sync of a batch of tenants that are due, and returns how
// many were. A sync that ends well sets the tenant's next time itself; until then it is due
// again after SyncRetry, and an unfinished one is not started twice.
func (t *term) startSyncs(ctx context.Context, now time.Time) (int, error) {
	ids, err := t.fleet.DueSyncs(ctx, now, syncBatch)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	n, err := t.fleet.StartSync(ctx, t.fence, ids, now.Add(t.cfg.SyncRetry), now)
	t.cfg.Observer.Moved("started", n)
	return len(ids), err
}

// startBackups inserts tasks for a batch of protections whose time has come, moves each to
// its next time, and returns how many there were. Days that were missed altogether are not
// made up for: one backup now covers them.
func (t *term) startBackups(ctx context.Context, now time.Time) (int, error) {
	due, err := t.fleet.Due(ctx, now, dueBatch)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	for i, d := range due {
		after := now
		if d.DueAt.After(after) {
			after = d.DueAt
		}
		due[i].Next = catalog.NextDue(d.PolicyRow, d.Resource, d.Workload, after)
	}
	var group errgroup.Group // what one part cannot start does not keep the others
	for _, part := range byTenant(due, dueParts) {
		group.Go(func() error {
			n, err := t.fleet.Start(ctx, t.fence, part, now)
			t.cfg.Observer.Moved("started", n)
			return err
		})
	}
	return len(due), group.Wait()
}

// byTenant splits what is due into at most n parts that share no tenant, in order.
func byTenant(due []catalog.Due, n int) [][]catalog.Due {
	part := make(map[tenantry.TenantID]int)
	parts := make([][]catalog.Due, n)
	for _, d := range due {
		p, seen := part[d.Tenant]
		if !seen {
			p = len(part) % n
			part[d.Tenant] = p
		}
		parts[p] = append(parts[p], d)
	}
	return slices.DeleteFunc(parts, func(p []catalog.Due) bool { return len(p) == 0 })
}

// startPrunes starts the prunes, and collections of tenants, of a batch that is due, and returns how many.
func (t *term) startPrunes(ctx context.Context, now time.Time) (int, error) {
	n, err := t.fleet.StartPrunes(ctx, t.fence, syncBatch, now)
	t.cfg.Observer.Moved("started", n)
	return n, err
}

// admit picks, admits and enqueues. busy: more waits than was admitted. What is admitted goes
// to Redis while the next tick looks at SQL, which waits with its own until that is done.
func (t *term) admit(ctx context.Context, now time.Time) (busy bool, err error) {
	if err := t.offered(look); err != nil {
		return false, err
	}
	if err := t.readPlaces(ctx, now); err != nil {
		return false, err
	}
	gates, err := t.gates(ctx, now)
	if err != nil {
		return false, err
	}
	picks, waits, err := t.choose(ctx, now, gates)
	if err != nil {
		return false, err
	}
	if len(picks) == 0 {
		return waits, nil
	}
	if err := t.offered(wait); err != nil {
		return false, err
	}
	tasks, err := t.fleet.Admit(ctx, t.fence, picks, now)
	if err != nil {
		return false, err
	}
	t.cfg.Observer.Moved("admitted", len(tasks))
	t.noteProbes(tasks, gates, now)
	t.enqueue(ctx, interleave(tasks))
	return true, nil
}

// choose looks at the fleet and picks. Mostly a glance at what is ready tells whose turn it
// is: few slots are free, and many flows want them. All that counts is counted where a glance
// was too short to tell, and once in each Tick for those who watch. waits is as pick has it.
func (t *term) choose(ctx context.Context, now time.Time, gates map[scope]gate) (picks []catalog.Pick, waits bool, err error) {
	if now.Sub(t.countedAt).Abs() < t.cfg.Tick && gates[everywhere] != shut {
		s, parts, err := t.situation(ctx, now, catalog.GlanceDepth)
		if err != nil {
			return nil, false, err
		}
		if picks, waits = t.pick(parts, gates); s.tells(picks, catalog.GlanceDepth) {
			return picks, waits, nil
		}
	}
	s, parts, err := t.situation(ctx, now, catalog.LoadDepth)
	if err != nil {
		return nil, false, err
	}
	t.countedAt = now
	t.observe(s, parts)
	if gates[everywhere] == shut {
		return nil, false, nil
	}
	picks, waits = t.pick(parts, gates)
	return picks, waits, nil
}

// tells reports whether picks are those that any deeper count would have given: no flow that
// may have more tasks ready than were counted has got all that were.
func (s Situation) tells(picks []catalog.Pick, depth int) bool {
	cut := make(map[pickKey]bool)
	for _, l := range s.Loads {
		if l.Ready >= depth {
			cut[pickKey{Flow{l.Tenant, l.Service}, l.Queue}] = true
		}
	}
	return !slices.ContainsFunc(picks, func(p catalog.Pick) bool {
		return p.N >= depth && cut[pickKey{Flow{p.Tenant, p.Service}, p.Queue}]
	})
}

// pick chooses in each pool by itself, among tenants that no alarm stops. In a scope that is to be probed it picks a
// single task, of the first pool that has one: of a tenant that no other scope shuts out, for which the same task is
// the probe of all its scopes. waits: tenants that may have tasks admitted have some left.
func (t *term) pick(parts []Situation, gates map[scope]gate) (picks []catalog.Pick, waits bool) {
	for _, s := range parts {
		s = s.of(func(id tenantry.TenantID) bool { return len(t.stoppedBy(id, gates)) == 0 })
		picks = append(picks, Pick(s)...)
		waits = waits || s.waits()
	}
	probed := map[scope]bool{}
	for _, sc := range slices.Sorted(maps.Keys(gates)) {
		for _, s := range parts {
			if gates[sc] != probing || probed[sc] {
				break
			}
			s = s.of(func(id tenantry.TenantID) bool { return t.mayProbe(id, sc, gates, probed) })
			waits = waits || s.waits()
			for _, pick := range probes(s) {
				picks = append(picks, pick)
				for _, also := range t.stoppedBy(pick.Tenant, gates) {
					probed[also] = true
				}
			}
		}
	}
	return picks, waits
}

// of is the situation in which only some tenants have tasks that are ready. What all have in flight stays.
func (s Situation) of(some func(tenantry.TenantID) bool) Situation {
	for i, l := range s.Loads {
		if l.Ready > 0 && !some(l.Tenant) {
			s.Loads = slices.Clone(s.Loads)
			for j := i; j < len(s.Loads); j++ {
				if !some(s.Loads[j].Tenant) {
					s.Loads[j].Ready = 0
				}
			}
			return s
		}
	}
	return s
}

func probes(s Situation) []catalog.Pick {
	s.Limit = 1
	// Backups touch everything that can be broken: they make the best probe.
	all := s.Slots
	s.Slots = map[string]int{queue.Backup: all[queue.Backup]}
	if picks := Pick(s); len(picks) > 0 {
		return picks
	}
	s.Slots = all
	return Pick(s)
}

// situation is that of the whole fleet, and of each of its pools, with ready tasks counted to
// a depth.
func (t *term) situation(ctx context.Context, now time.Time, depth int) (Situation, []Situation, error) {
	s := Situation{Now: now, TenantCap: t.cfg.TenantCap, Slots: map[string]int{}}
	processes, err := t.fleet.Processes(ctx)
	if err != nil {
		return s, nil, err
	}
	paused, slots := t.view().paused, map[string]map[string]int{}
	for _, p := range processes {
		if slots[p.Pool] == nil {
			slots[p.Pool] = map[string]int{}
		}
		for q, n := range p.Slots {
			if !paused[queue.In(p.Pool, q)] {
				s.Slots[q] += n
				slots[p.Pool][q] += n
			}
		}
	}
	if s.Loads, err = t.fleet.Loads(ctx, now, depth); err != nil {
		return s, nil, err
	}
	if s.waits() {
		s.Cooling = t.cools(ctx, now)
	}
	if t.cfg.Budgets != nil {
		s.Rate = t.cfg.Budgets.Rate
	}
	return s, t.apart(s, slots), nil
}

// cools reads which flows cool. When it cannot, it goes on with what it knew: a cooldown
// is never taken back, and ends by itself. A flow that is not known to cool has its tasks
// admitted, and they park by themselves: slower, not wrong.
func (t *term) cools(ctx context.Context, now time.Time) map[Flow]time.Time {
	if t.cfg.Budgets == nil || now.Sub(t.cooledAt).Abs() < coolingEvery {
		return t.cooling
	}
	t.cooledAt = now
	ctx, cancel := context.WithTimeout(ctx, coolingTimeout)
	defer cancel()
	cooling, err := t.cfg.Budgets.Cooling(ctx)
	t.troubles.note(ctx, "read which flows cool", err)
	if err == nil {
		t.cooling = cooling
	}
	return t.cooling
}

// waits reports whether a flow that does not cool has tasks ready.
func (s Situation) waits() bool {
	return slices.ContainsFunc(s.Loads, func(l catalog.Load) bool {
		return l.Ready > 0 && !s.cooling(Flow{l.Tenant, l.Service})
	})
}

// observe tells what waits and what the fleet, and each of its pools, could use: a pool's demand is bounded by the
// caps of its own workers, so that the fleet's is not their sum.
func (t *term) observe(s Situation, parts []Situation) {
	pools := make(map[string]map[string]int, len(parts))
	for _, part := range parts {
		pools[part.Pool] = Demand(part)
	}
	t.cfg.Observer.Pools(pools)
	demand, redis := Demand(s), t.view()
	backlog := make(map[string]QueueLoad, len(queues))
	for _, q := range queues {
		backlog[q] = QueueLoad{Slots: s.Slots[q], Demand: demand[q], InRedis: redis.depth[q], Paused: redis.paused[q]}
	}
	for _, l := range s.Loads {
		b := backlog[l.Queue]
		b.Ready += l.Ready
		b.InFlight += l.InFlight
		if s.cooling(Flow{l.Tenant, l.Service}) {
			b.Cooling += l.Ready
		}
		backlog[l.Queue] = b
	}
	t.cfg.Observer.Backlog(backlog)
}

// interleave orders tasks so that tenants take turns: Redis serves them as they come.
func interleave(tasks []catalog.Task) []catalog.Task {
	turn := make(map[tenantry.TenantID]int)
	at := make(map[tenantry.TaskID]int, len(tasks))
	for _, task := range tasks {
		at[task.ID] = turn[task.Tenant]
		turn[task.Tenant]++
	}
	slices.SortStableFunc(tasks, func(a, b catalog.Task) int { return at[a.ID] - at[b.ID] })
	return tasks
}
