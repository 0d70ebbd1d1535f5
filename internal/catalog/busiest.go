package catalog

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Busy is what a tenant has to do now.
type Busy struct {
	Tenant   tenantry.TenantID
	Name     string
	Weight   int
	State    tenantry.TenantState
	Ready    int64                   // tasks that could run now, and wait for their turn
	Waiting  int64                   // tasks that wait for a time: Microsoft's, or a retry's
	InFlight int64                   // admitted and running
	Oldest   time.Time               // when the oldest of all of them was made
	Waits    map[tenantry.Kind]int64 // the waiting ones, by the kind of what they wait for; "" is none
}

// Busiest lists the tenants with the most to do, at most limit (0: 100, at most 1000). It
// counts all unfinished tasks: half a second for a million of them.
func (f *Fleet) Busiest(ctx context.Context, now time.Time, limit int) ([]Busy, error) {
	var found []struct {
		Tenant                   tenantry.TenantID
		Name                     string
		Weight                   int
		State                    tenantry.TenantState
		Ready, Waiting, InFlight int64
		Oldest                   int64
	}
	err := f.c.read(ctx, "count the tenants' backlogs", &found, `
		SELECT b.tenant, t.name, t.weight, t.state, b.ready, b.waiting, b.in_flight, b.oldest FROM (
			SELECT tenant, CAST(sum(CASE WHEN state = 'ready' AND not_before <= ?0 THEN 1 ELSE 0 END) AS bigint) AS ready,
				CAST(sum(CASE WHEN state = 'ready' AND not_before > ?0 THEN 1 ELSE 0 END) AS bigint) AS waiting,
				CAST(sum(CASE WHEN state <> 'ready' THEN 1 ELSE 0 END) AS bigint) AS in_flight, count(*) AS n, min(created_at) AS oldest
			FROM tasks GROUP BY tenant ORDER BY n DESC, tenant LIMIT ?1
		) b JOIN tenants t ON t.id = b.tenant ORDER BY b.n DESC, b.tenant`, micros(now), page(limit))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	list := make([]Busy, len(found))
	at := make(map[tenantry.TenantID]*Busy, len(found))
	ids := make([]tenantry.TenantID, len(found))
	for i, row := range found {
		list[i] = Busy{
			Tenant: row.Tenant, Name: row.Name, Weight: row.Weight, State: row.State, Ready: row.Ready, Waiting: row.Waiting,
			InFlight: row.InFlight, Oldest: fromMicros(row.Oldest), Waits: map[tenantry.Kind]int64{},
		}
		at[row.Tenant], ids[i] = &list[i], row.Tenant
	}
	var waits []struct {
		Tenant tenantry.TenantID
		Kind   tenantry.Kind
		N      int64
	}
	err = f.c.read(ctx, "count what tasks wait for", &waits, `
		SELECT tenant, kind, count(*) AS n FROM tasks
		WHERE state = 'ready' AND not_before > ? AND tenant IN (?) GROUP BY tenant, kind`, micros(now), bun.List(ids))
	for _, row := range waits {
		at[row.Tenant].Waits[row.Kind] = row.N
	}
	return list, err
}
