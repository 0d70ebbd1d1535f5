package catalog

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Pool is a pool of workers. A tenant belongs to one, and only its workers do the tenant's work.
type Pool struct {
	Name    string
	Note    string
	AddedAt time.Time // zero: the main pool, which was always there
	Tenants int64     // that belong to it
}

// AddPool adds a pool. Conflict: it is there.
func (f *Fleet) AddPool(ctx context.Context, p Pool) error {
	return f.c.one(ctx, "add pool "+p.Name, nil, "INSERT INTO pools (name, note, added_at) VALUES (?, ?, ?)", p.Name, p.Note, micros(p.AddedAt))
}

// Pools lists the pools by name: a provider has a few.
func (f *Fleet) Pools(ctx context.Context) ([]Pool, error) {
	var found []struct {
		Name    string
		Note    string
		AddedAt int64
		Tenants int64
	}
	err := f.c.read(ctx, "list pools", &found, `SELECT p.name, p.note, p.added_at, (SELECT count(*) FROM tenants t WHERE t.pool = p.name) AS tenants
		FROM pools p ORDER BY p.name LIMIT 1000`)
	out := make([]Pool, len(found))
	for i, row := range found {
		out[i] = Pool{Name: row.Name, Note: row.Note, AddedAt: fromMicros(row.AddedAt), Tenants: row.Tenants}
	}
	return out, err
}

// RemovePool removes a pool, with what is known of workers that were revoked. Conflict: tenants belong to it, workers are enrolled
// in it, or it is the main one. NotFound.
func (f *Fleet) RemovePool(ctx context.Context, name string) error {
	op := "remove pool " + name
	if name == MainPool {
		return tenantry.Errorf(tenantry.Conflict, "%s: every fleet has it", op)
	}
	return f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
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

// PooledTenants returns the tenants that belong to another pool than the main one, and to which.
func (f *Fleet) PooledTenants(ctx context.Context) (map[tenantry.TenantID]string, error) {
	var found []struct {
		ID   tenantry.TenantID
		Pool string
	}
	err := f.c.read(ctx, "list tenants of pools", &found, "SELECT id, pool FROM tenants WHERE pool <> ?", MainPool)
	out := make(map[tenantry.TenantID]string, len(found))
	for _, row := range found {
		out[row.ID] = row.Pool
	}
	return out, err
}

// poolExists returns Invalid unless the pool is there.
func poolExists(ctx context.Context, tx bun.Tx, op, name string) error {
	var found []string
	if err := scan(ctx, tx, &found, "SELECT name FROM pools WHERE name = ?", name); err != nil {
		return err
	}
	if len(found) == 0 {
		return tenantry.Errorf(tenantry.Invalid, "%s: there is no pool %q", op, name)
	}
	return nil
}
