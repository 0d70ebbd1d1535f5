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

// placesEvery is how often it is read which tenants are elsewhere than most.
const placesEvery = time.Second

// places are those of the tenants that are elsewhere than most, as read last: in another pool than the main one, in
// another region, in another cloud.
type places struct {
	of map[tenantry.TenantID]catalog.Place
	at time.Time
}

// readPlaces reads which tenants are elsewhere, when that is old.
func (t *term) readPlaces(ctx context.Context, now time.Time) error {
	if known := t.places.Load(); known != nil && now.Sub(known.at).Abs() < placesEvery {
		return nil
	}
	of, err := t.fleet.PlacedTenants(ctx, t.cfg.Cloud)
	if err != nil {
		return err
	}
	t.places.Store(&places{of, now})
	return nil
}

// placeOf is where a tenant is.
func (s *Scheduler) placeOf(id tenantry.TenantID) catalog.Place {
	if known := s.places.Load(); known != nil {
		if place, elsewhere := known.of[id]; elsewhere {
			return place
		}
	}
	return catalog.Place{Pool: queue.MainPool, Region: catalog.DefaultRegion, Cloud: s.cfg.Cloud}
}

// poolOf is the pool that a tenant belongs to.
func (s *Scheduler) poolOf(id tenantry.TenantID) string { return s.placeOf(id).Pool }

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
		part.Pool, part.Loads, part.Slots = name, loads[name], slots[name]
		parts = append(parts, part)
	}
	return parts
}
