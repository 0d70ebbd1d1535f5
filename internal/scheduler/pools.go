package scheduler

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// poolsEvery is how often it is read which tenants belong to other pools than the main one.
const poolsEvery = time.Second

// pooled is which tenants belong to another pool than the main one, as read last.
type pooled struct {
	of map[tenantry.TenantID]string
	at time.Time
}

// readPools reads which tenants belong to which pool, when that is old.
func (t *term) readPools(ctx context.Context, now time.Time) error {
	if known := t.pools.Load(); known != nil && now.Sub(known.at).Abs() < poolsEvery {
		return nil
	}
	of, err := t.fleet.PooledTenants(ctx)
	if err != nil {
		return err
	}
	t.pools.Store(&pooled{of, now})
	return nil
}

// poolOf is the pool that a tenant belongs to.
func (s *Scheduler) poolOf(id tenantry.TenantID) string {
	if known := s.pools.Load(); known != nil && known.of[id] != "" {
		return known.of[id]
	}
	return queue.MainPool
}

// queueOf is the queue in Redis through which a task reaches the workers of its tenant's pool.
func (s *Scheduler) queueOf(task catalog.Task) string {
	return queue.In(s.poolOf(task.Tenant), task.Queue)
}

// apart takes a situation apart into those of its pools, the main one first: each has workers of its own, and
// only its tenants' tasks. slots are those of each pool.
func (s *Scheduler) apart(all Situation, slots map[string]map[string]int) []Situation {
	loads := map[string][]catalog.Load{queue.MainPool: nil}
	for _, l := range all.Loads {
		pool := s.poolOf(l.Tenant)
		loads[pool] = append(loads[pool], l)
	}
	names := slices.Sorted(maps.Keys(loads))
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case a == queue.MainPool && b != queue.MainPool:
			return -1
		case b == queue.MainPool && a != queue.MainPool:
			return 1
		}
		return 0
	})
	parts := make([]Situation, 0, len(names))
	for _, name := range names {
		part := all
		part.Loads, part.Slots = loads[name], slots[name]
		parts = append(parts, part)
	}
	return parts
}
