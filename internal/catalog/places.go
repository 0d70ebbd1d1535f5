package catalog

import (
	"cmp"
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// move adds the columns of a change of cloud, region and pool, or says why the tenant has to stay where it is.
func (t *Tenant) move(ctx context.Context, tx bun.Tx, op string, c TenantChange, add func(column string, values ...any)) error {
	if c.Cloud == nil && c.Region == nil && c.Pool == nil {
		return nil
	}
	// Written before anything is read: whoever else would move it waits, and what is read is what stands then.
	if _, err := exec(ctx, tx, "UPDATE tenants SET pool = pool WHERE id = ?", t.id); err != nil {
		return err
	}
	var found []struct{ Cloud, Region, Pool, DirectoryID string }
	if err := scan(ctx, tx, &found, "SELECT cloud, region, pool, directory_id FROM tenants WHERE id = ?", t.id); err != nil {
		return err
	}
	if len(found) == 0 {
		return t.notFound(op)
	}
	now := found[0]
	now.Region = cmp.Or(now.Region, DefaultRegion)
	if c.Cloud != nil && *c.Cloud != now.Cloud {
		if now.DirectoryID != "" {
			return stays(op, "cloud", "its consent was proved in cloud %q, and a Microsoft tenant never moves: add it anew", now.Cloud)
		}
		add("cloud = ?", *c.Cloud)
	}
	region, pool := now.Region, now.Pool
	if c.Region != nil && *c.Region != now.Region {
		if err := t.mayLeave(ctx, tx, op, now.Region); err != nil {
			return err
		}
		region = cmp.Or(*c.Region, DefaultRegion)
		add("region = ?", region)
	}
	if c.Pool != nil {
		pool = *c.Pool
		add("pool = ?", pool)
	}
	return t.c.poolServes(ctx, tx, op, pool, region)
}

// mayLeave refuses to take a tenant out of a region that has anything of it: backups, tasks that may be writing
// some, or credentials, which are wrapped by the region's keys.
func (t *Tenant) mayLeave(ctx context.Context, tx bun.Tx, op, region string) error {
	for _, what := range []struct{ query, says string }{
		{"SELECT 1 FROM series WHERE tenant = ?", "its backups are there, and are not moved: add it anew in the other region"},
		{"SELECT 1 FROM snapshots WHERE tenant = ?", "its backups are there, and are not moved: add it anew in the other region"},
		{"SELECT 1 FROM tasks WHERE tenant = ? AND action NOT IN ('connect', 'sync')", "tasks of it are under way: cancel them first"},
		{"SELECT 1 FROM credentials WHERE tenant = ?", "its credentials are wrapped by keys of that region: remove them first"},
		{"SELECT 1 FROM registrations WHERE tenant = ? AND wrapped IS NOT NULL", "an application is being registered for it: cancel that first"},
	} {
		var found []int64
		if err := scan(ctx, tx, &found, what.query+" LIMIT 1", t.id); err != nil {
			return err
		}
		if len(found) > 0 {
			return stays(op, "region", "it belongs to the region %q: %s", region, what.says)
		}
	}
	return nil
}

// stays is the refusal to move a tenant.
func stays(op, code, format string, args ...any) error {
	return &tenantry.Error{Kind: tenantry.Conflict, Op: op, Code: code, Err: fmt.Errorf(format, args...)}
}
