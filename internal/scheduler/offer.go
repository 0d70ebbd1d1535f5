package scheduler

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// sweepLimit bounds one sweep. The catalog lists the longest admitted first, and Redis
// serves them in that order, so that a lost one comes to the front.
const sweepLimit = 1000

// offersAtOnce is how many deliveries are on their way to Redis at the same time. It moves
// their order by no more than so many places.
const offersAtOnce = 32

// enqueue begins to offer freshly admitted tasks to Redis. What could not be offered stands
// admitted in SQL, and the sweep offers it again.
func (t *term) enqueue(ctx context.Context, tasks []catalog.Task) {
	done := make(chan error, 1)
	t.offers = done
	go func() { done <- t.offerAll(ctx, tasks) }()
}

// How offered looks after what was admitted last.
const (
	look = false // whether it has been offered already
	wait = true
)

// offered returns what failed of the offers that enqueue has begun; while they last nil, or
// it waits for them.
func (t *term) offered(wait bool) (err error) {
	if t.offers == nil {
		return nil
	}
	if !wait {
		select {
		case err = <-t.offers:
		default:
			return nil
		}
	} else {
		err = <-t.offers
	}
	t.offers = nil
	return err
}

func (t *term) offerAll(ctx context.Context, tasks []catalog.Task) error {
	group, offers := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(offersAtOnce, len(tasks)) {
		group.Go(func() error {
			for offers.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(tasks) {
					break
				}
				if _, err := t.offer(offers, tasks[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return t.redisFailed(ctx, group.Wait())
}

// offer puts the task's admission into Redis. A delivery that Redis holds as settled
// can never be claimed: the task gets a new admission and is offered under that.
func (t *term) offer(ctx context.Context, task catalog.Task) (queue.State, error) {
	state, err := t.cfg.Deliveries.Enqueue(ctx, t.queueOf(task), ref(task))
	if err != nil {
		return state, redisError{err}
	}
	if state != queue.Settled {
		return state, nil
	}
	return queue.Pending, t.readmit(ctx, task)
}

func (t *term) readmit(ctx context.Context, task catalog.Task) error {
	again, err := t.fleet.Readmit(ctx, t.fence, task.ID, task.Admission, t.cfg.Now())
	switch tenantry.KindOf(err) {
	case "":
	case tenantry.Conflict, tenantry.NotFound: // claimed or canceled meanwhile
		return nil
	default:
		return err
	}
	t.cfg.Observer.Moved("readmitted", 1)
	if _, err = t.cfg.Deliveries.Enqueue(ctx, t.queueOf(again), ref(again)); err != nil {
		return redisError{err}
	}
	return nil
}

func ref(t catalog.Task) queue.Ref {
	return queue.Ref{Tenant: t.Tenant, Task: t.ID, Admission: t.Admission}
}

// sweep reconciles SQL with Redis: which queues an operator paused, and which admitted
// tasks nobody has claimed. Redis may have lost them (offered again under the same ID),
// settled them (deleted or archived by an operator, or the worker could not reach SQL:
// next admission), or a worker died between delivery and claim (active in two sweeps:
// next admission; should that worker live after all, its claim of the old admission is
// refused).
func (t *term) sweep(ctx context.Context) error {
	if err := t.look(ctx); err != nil {
		return t.redisFailed(ctx, redisError{err})
	}
	if err := t.readPlaces(ctx, t.cfg.Now()); err != nil {
		return err
	}
	tasks, err := t.fleet.Unclaimed(ctx, t.cfg.Now().Add(-t.cfg.Unclaimed), sweepLimit)
	if err != nil {
		return err
	}
	active := make(map[string]bool)
	for _, task := range tasks {
		state, err := t.offer(ctx, task)
		if state == queue.Active {
			key := fmt.Sprintf("%s:%d", task.ID, task.Admission)
			if active[key] = true; t.seenActive[key] {
				err = t.readmit(ctx, task)
			}
		}
		if tenantry.KindOf(err) == tenantry.Fenced {
			return err
		}
		if err != nil {
			return t.redisFailed(ctx, err)
		}
	}
	t.seenActive = active
	t.cfg.Observer.Moved("offered", len(tasks))
	return nil
}

// redisView is what Redis says of the queues.
type redisView struct {
	paused map[string]bool // by an operator; queues of pools by their names in Redis
	depth  map[string]int
}

func (s *Scheduler) view() redisView {
	if v := s.redis.Load(); v != nil {
		return *v
	}
	return redisView{}
}

func (t *term) look(ctx context.Context) error {
	names, err := t.cfg.Deliveries.Paused(ctx)
	if err != nil {
		return err
	}
	depth, err := t.cfg.Deliveries.Depth(ctx)
	if err != nil {
		return err
	}
	before, now := t.view(), redisView{paused: make(map[string]bool, len(names)), depth: depth}
	for _, q := range names {
		now.paused[q] = true
		if !before.paused[q] {
			t.cfg.Log.Warnw("an operator paused a queue; nothing more is admitted to it", "queue", q)
		}
	}
	for q := range before.paused {
		if !now.paused[q] {
			t.cfg.Log.Infow("a paused queue goes on", "queue", q)
		}
	}
	t.redis.Store(&now)
	return nil
}
