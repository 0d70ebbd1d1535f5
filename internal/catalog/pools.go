package catalog

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// DefaultRegion is the data region that every fleet has.
const DefaultRegion = "default"

// Pool is a pool of workers. A tenant belongs to one, and only its workers do the tenant's work. A pool works for one
// region: it has that region's tenants alone, and its workers need no other bucket.
type Pool struct {
	Name    string
	Region  string // default DefaultRegion; never changes
	Note    string
	AddedAt time.Time // zero: the main pool, which was always there
	Tenants int64     // that belong to it
}

// AddPool adds a pool. Conflict: it is there.
func (f *Fleet) AddPool(ctx context.Context, p Pool) error {
	return f.c.one(ctx, "add pool "+p.Name, nil, "INSERT INTO pools (name, region, note, added_at) VALUES (?, ?, ?, ?)",
		p.Name, cmp.Or(p.Region, DefaultRegion), p.Note, micros(p.AddedAt))
}

// Pools lists the pools by name: a provider has a few.
func (f *Fleet) Pools(ctx context.Context) ([]Pool, error) {
	var found []struct {
		Name    string
		Region  string
		Note    string
		AddedAt int64
		Tenants int64
	}
	err := f.c.read(ctx, "list pools", &found, `SELECT p.name, p.region, p.note, p.added_at, (SELECT count(*) FROM tenants t WHERE t.pool = p.name) AS tenants
		FROM pools p ORDER BY p.name LIMIT 1000`)
	out := make([]Pool, len(found))
	for i, row := range found {
		out[i] = Pool{Name: row.Name, Region: cmp.Or(row.Region, DefaultRegion), Note: row.Note, AddedAt: fromMicros(row.AddedAt), Tenants: row.Tenants}
	}
	return out, err
}

// PoolRegion returns the data region that a pool works for, and to which its tenants belong. NotFound: no such pool.
func (f *Fleet) PoolRegion(ctx context.Context, pool string) (string, error) {
	op := "read the region of pool " + pool
	var found []string
	if err := f.c.read(ctx, op, &found, "SELECT region FROM pools WHERE name = ?", pool); err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", tenantry.Errorf(tenantry.NotFound, "%s: there is none", op)
	}
	return cmp.Or(found[0], DefaultRegion), nil
}

// RemovePool removes a pool, with what is known of workers that were revoked. Conflict: tenants belong to it, workers are enrolled
// in it, or it is the main one. NotFound.
func (f *Fleet) RemovePool(ctx context.Context, name string) error {
	op := "remove pool " + name
	if name == MainPool {
		return tenantry.Errorf(tenantry.Conflict, "%s: every fleet has it", op)
	}
	return f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		var held []string // against tenants that come meanwhile, see poolServes
		if err := scan(ctx, tx, &held, "SELECT name FROM pools WHERE name = ? ?", name, f.c.lock(forUpdate)); err != nil {
			return err
		}
		var n []int64
		if err := scan(ctx, tx, &n, "SELECT count(*) FROM tenants WHERE pool = ?", name); err != nil {
			return err
		}
		if n[0] > 0 {
			return tenantry.Errorf(tenantry.Conflict, "%s: %d tenants belong to it: move them first", op, n[0])
		}
		n = nil
		if err := scan(ctx, tx, &n, "SELECT count(*) FROM workers WHERE pool = ? AND revoked_at = 0", name); err != nil {
			return err
		}
		if n[0] > 0 {
			return tenantry.Errorf(tenantry.Conflict, "%s: %d workers are enrolled in it: revoke them first", op, n[0])
		}
		if _, err := exec(ctx, tx, "DELETE FROM workers WHERE pool = ?", name); err != nil {
			return err
		}
		changed, err := exec(ctx, tx, "DELETE FROM pools WHERE name = ?", name)
		if err == nil && changed == 0 {
			err = tenantry.Errorf(tenantry.NotFound, "%s: there is none", op)
		}
		return err
	})
}

// Place is where a tenant's work is done: by whose workers, on which region's data, in which of Microsoft's clouds.
type Place struct {
	Pool, Region, Cloud string
}

// PlacedTenants returns the places of the tenants that are elsewhere than most: in another pool than the main one, in
// another region than the default one, or in another cloud than the fleet's own.
func (f *Fleet) PlacedTenants(ctx context.Context, cloud string) (map[tenantry.TenantID]Place, error) {
	var found []struct {
		ID                  tenantry.TenantID
		Pool, Region, Cloud string
	}
	err := f.c.read(ctx, "list tenants that are elsewhere", &found,
		"SELECT id, pool, region, cloud FROM tenants WHERE pool <> ? OR region NOT IN ('', ?) OR cloud NOT IN ('', ?)", MainPool, DefaultRegion, cloud)
	out := make(map[tenantry.TenantID]Place, len(found))
	for _, row := range found {
		out[row.ID] = Place{row.Pool, cmp.Or(row.Region, DefaultRegion), cmp.Or(row.Cloud, cloud)}
	}
	return out, err
}

// TenantsByRegion counts the tenants of each region that has any.
func (f *Fleet) TenantsByRegion(ctx context.Context) (map[string]int64, error) {
	var found []struct {
		Region string
		N      int64
	}
	err := f.c.read(ctx, "count tenants by region", &found, "SELECT region, count(*) AS n FROM tenants GROUP BY region")
	out := make(map[string]int64, len(found))
	for _, row := range found {
		out[cmp.Or(row.Region, DefaultRegion)] += row.N
	}
	return out, err
}

// poolServes returns Invalid, with the code "pool", unless the pool is there and works for the region, and keeps
// it as it is for the rest of the transaction.
func (c *Catalog) poolServes(ctx context.Context, tx bun.Tx, op, pool, region string) error {
	var found []string
	if err := scan(ctx, tx, &found, "SELECT region FROM pools WHERE name = ? ?", pool, c.lock(forShare)); err != nil {
		return err
	}
	refused := func(format string, args ...any) error {
		return &tenantry.Error{Kind: tenantry.Invalid, Op: op, Code: codePool, Err: fmt.Errorf(format, args...)}
	}
	if len(found) == 0 {
		return refused("there is no pool %q", pool)
	}
	if of := cmp.Or(found[0], DefaultRegion); of != region {
		return refused("the workers of pool %q are in the region %q, and the tenant is in %q", pool, of, region)
	}
	return nil
}

// codePool is the code of refusals that a pool is the reason of.
const codePool = "pool"
