package catalog

import (
	"cmp"
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Coverage counts the active resources of a tenant, or of all, by how well they are
// protected.
type Coverage struct {
	Tenant tenantry.TenantID // "" of all
	Name   string
	Region string // the tenant's data region, "" of all
	// Eligible have something that could be backed up: Covered, Excluded, and those that
	// Unprotected counts.
	Eligible int64
	Covered  int64 // protected by a policy: Within, Stale and Never together
	Within   int64 // all protected workloads were saved within their policies' objectives
	Stale    int64 // one was saved longer ago
	Never    int64 // one was never saved
	Paused   int64 // of Covered: protected by a policy that is paused
	Excluded int64 // excluded by a policy, and covered by none
	// Unprotected counts the others by reason.
	Unprotected map[Standing]int64
}

func (c *Coverage) add(row coverageRow) {
	switch {
	case row.Standing == StandingNothing || row.Standing == standingNone:
		return
	case row.Standing == StandingExcluded:
		c.Excluded += row.N
	case row.Standing != StandingCovered:
		c.Unprotected[row.Standing] += row.N
	default:
		c.Covered += row.N
		c.Paused += row.Paused
		switch row.Worst {
		case 0:
			c.Within += row.N
		case 1:
			c.Stale += row.N
		default:
			c.Never += row.N
		}
	}
	c.Eligible += row.N
}

type coverageRow struct {
	Tenant   tenantry.TenantID
	Standing Standing
	Worst    int // of its workloads: 0 within the objective, 1 stale, 2 never saved
	N        int64
	Paused   int64
}

// coverageQuery counts active resources: ?0 narrows them, ?1 their protections, ?3 the series.
// A resource is as well protected as the worst of its protected workloads.
const coverageQuery = `
	SELECT r.tenant, r.standing, coalesce(f.worst, 2) AS worst, count(*) AS n, CAST(coalesce(sum(f.paused), 0) AS bigint) AS paused
	FROM resources r LEFT JOIN (
		SELECT p.tenant, p.resource,
			max(CASE WHEN coalesce(s.saved_at, 0) = 0 THEN 2 WHEN s.saved_at + l.objective < ?2 THEN 1 ELSE 0 END) AS worst,
			max(CASE WHEN l.state = 'paused' THEN 1 ELSE 0 END) AS paused
		FROM protections p JOIN policies l ON l.tenant = p.tenant AND l.id = p.policy
		LEFT JOIN series s ON ?3 AND s.tenant = p.tenant AND s.resource = p.resource AND s.workload = p.workload
		WHERE ?1 GROUP BY p.tenant, p.resource
	) f ON f.tenant = r.tenant AND f.resource = r.id
	WHERE ?0 AND r.state = 'active' GROUP BY r.tenant, r.standing, coalesce(f.worst, 2)`

// Coverage counts the tenant's resources by how well they are protected, in one statement.
// NotFound.
func (t *Tenant) Coverage(ctx context.Context, now time.Time) (Coverage, error) {
	row, err := t.Get(ctx)
	if err != nil {
		return Coverage{}, err
	}
	var found []coverageRow
	err = t.c.read(ctx, "count the coverage of tenant "+string(t.id), &found, coverageQuery,
		bun.SafeQuery("r.tenant = ?", t.id), bun.SafeQuery("p.tenant = ?0 AND l.tenant = ?0", t.id), micros(now), bun.SafeQuery("s.tenant = ?", t.id))
	c := Coverage{Tenant: t.id, Name: row.Name, Region: row.Region, Unprotected: map[Standing]int64{}}
	for _, one := range found {
		c.add(one)
	}
	return c, err
}

// Coverage counts the resources of all tenants by how well they are protected, in one
// statement: of each tenant, by ascending ID, and of all together.
func (f *Fleet) Coverage(ctx context.Context, now time.Time) (total Coverage, tenants []Coverage, err error) {
	total.Unprotected = map[Standing]int64{}
	var names []struct {
		ID           tenantry.TenantID
		Name, Region string
	}
	if err := f.c.read(ctx, "list names of tenants", &names, "SELECT id, name, region FROM tenants ORDER BY id"); err != nil {
		return total, nil, err
	}
	var found []coverageRow
	all := bun.Safe("1 = 1")
	if err := f.c.read(ctx, "count the coverage of the fleet", &found, coverageQuery, all, all, micros(now), all); err != nil {
		return total, nil, err
	}
	at := make(map[tenantry.TenantID]int, len(names))
	for i, row := range names {
		at[row.ID] = i
		tenants = append(tenants, Coverage{Tenant: row.ID, Name: row.Name, Region: cmp.Or(row.Region, DefaultRegion), Unprotected: map[Standing]int64{}})
	}
	for _, row := range found {
		total.add(row)
		if i, known := at[row.Tenant]; known { // one that was added in between counts in total alone
			tenants[i].add(row)
		}
	}
	return total, tenants, nil
}
