package scheduler

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// campaign takes the lease whenever it is free, and leads while it is held.
func (s *Scheduler) campaign(ctx context.Context) {
	retry := time.NewTicker(min(time.Second, s.cfg.LeaseTime/3))
	defer retry.Stop()
	for {
		asked := time.Now()
		fence, ok, err := s.fleet.Lead(ctx, s.cfg.ID, s.cfg.LeaseTime)
		s.troubles.note(ctx, "campaign for the leader lease", err)
		if err == nil && ok {
			s.lead(ctx, fence, asked)
		}
		select {
		case <-ctx.Done():
			return
		case <-retry.C:
		}
	}
}

// lead acts as the leader under fence until the lease is lost or ctx ends. The lease
// was asked for at asked.
func (s *Scheduler) lead(ctx context.Context, fence int64, asked time.Time) {
	s.leading.Store(true)
	s.cfg.Observer.Leading(true)
	s.cfg.Log.Infow("leading", "process", s.cfg.ID, "fence", fence)
	t := &term{Scheduler: s, fence: fence}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return t.renew(ctx, asked) })
	group.Go(func() error { return t.act(ctx) })
	group.Go(func() error { return s.every(ctx, s.cfg.ReapEvery, "reap dead processes", t.reap) })
	group.Go(func() error { return s.every(ctx, s.cfg.Unclaimed/2, "offer unclaimed tasks", t.sweep) })
	group.Go(func() error { return t.upkeep(ctx) })
	if s.cfg.Notices != nil {
		group.Go(func() error {
			return s.every(ctx, s.cfg.NoticesEvery, "tell people by mail", func(ctx context.Context) error { return s.cfg.Notices.Round(ctx, fence) })
		})
	}
	err := group.Wait()
	s.leading.Store(false)
	s.cfg.Observer.Leading(false)
	if err != nil {
		s.cfg.Log.Warnw("not leading any more", "process", s.cfg.ID, "fence", fence, "reason", err)
	}
}

// term is one time of leadership.
type term struct {
	*Scheduler
	fence int64

	offers     chan error         // of the last admission; of the ticks
	dueAt      time.Time          // when what is due was read last; of the ticks
	countedAt  time.Time          // when loads were counted in full; of the ticks
	cooling    map[Flow]time.Time // as read last; of the ticks
	cooledAt   time.Time          // when that was; of the ticks
	watches    map[scope]*watch   // alarms that are not known to be over; of the ticks
	seenActive map[string]bool    // deliveries found active and unclaimed; of the sweeps
}

// renew keeps the lease. It ends the term when another holds it, when this process got
// it anew under another fence (it had expired in between), or in time before the lease
// can have passed on: the margin covers what is under way.
func (t *term) renew(ctx context.Context, asked time.Time) error {
	ticker := time.NewTicker(t.cfg.LeaseTime / 3)
	defer ticker.Stop()
	good := asked.Add(t.cfg.LeaseTime - t.cfg.LeaseTime/10)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		asked = time.Now()
		call, cancel := context.WithDeadline(ctx, good)
		fence, ok, err := t.fleet.Lead(call, t.cfg.ID, t.cfg.LeaseTime)
		cancel()
		switch {
		case err != nil && time.Now().Before(good):
			t.troubles.note(ctx, "renew the leader lease", err)
		case err != nil:
			if ctx.Err() != nil {
				return nil
			}
			return tenantry.E(tenantry.Fenced, "renew the leader lease in time", err)
		case !ok || fence != t.fence:
			return tenantry.Errorf(tenantry.Fenced, "the leader lease has passed on")
		default:
			t.troubles.note(ctx, "renew the leader lease", nil)
			good = asked.Add(t.cfg.LeaseTime - t.cfg.LeaseTime/10)
		}
	}
}

// restShare is which part of a tick's time the leader rests after it, at least.
const restShare = 4

// act ticks: on a wake, when the next task becomes ready, and at least every Tick; at most
// every BusyTick, and after a long tick not before a quarter of its time has passed. The
// leader asks SQL and Redis one thing after the other: it cannot crowd others out.
func (t *term) act(ctx context.Context) error {
	defer func() { _ = t.offered(wait) }() // it was told to end; what it left is offered by the next leader's sweep
	for {
		start := time.Now()
		pause, err := t.tick(ctx)
		took := time.Since(start)
		t.cfg.Observer.Ticked(took, err)
		if tenantry.KindOf(err) == tenantry.Fenced {
			return err
		}
		t.troubles.note(ctx, "tick", err)
		if !sleep(ctx, max(t.cfg.BusyTick, took/restShare), nil) {
			return nil
		}
		if !sleep(ctx, pause-t.cfg.BusyTick, t.wakes) {
			return nil
		}
	}
}

// sleep waits for d, or until wake says something. It reports false when ctx has ended.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-wake:
	}
	return true
}

func (t *term) reap(ctx context.Context) error {
	n, err := t.fleet.Reap(ctx, t.cfg.Now())
	if n > 0 {
		t.cfg.Observer.Moved("reaped", n)
		t.cfg.Log.Warnw("processes died; their tasks run again", "tasks", n)
	}
	return err
}

// upkeep makes task partitions ahead of time and drops old ones: at the beginning of
// the term and every six hours.
func (t *term) upkeep(ctx context.Context) error {
	partitions := func(ctx context.Context) error {
		return t.fleet.Partitions(ctx, t.cfg.Now(), t.cfg.KeepTasks)
	}
	t.troubles.note(ctx, "make task partitions", partitions(ctx))
	return t.every(ctx, 6*time.Hour, "make task partitions", partitions)
}
