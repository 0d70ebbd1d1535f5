package app

import (
	"context"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Rebuilt says what became of one tenant's mirror of snapshots.
type Rebuilt struct {
	Tenant    tenantry.TenantID
	Series    int
	Snapshots int
	Err       error // why the tenant could not be read whole; what was read is mirrored
}

// RebuildSnapshots makes the catalog's list of snapshots what the bucket says, for one
// tenant or, with "", for all: one listing and one GET per series. It may run beside a
// working fleet and be repeated. A tenant whose key does not open is told and left as it is.
func RebuildSnapshots(ctx context.Context, cfg Config, only tenantry.TenantID, told func(Rebuilt)) error {
	vault, err := OpenVault(ctx, cfg)
	if err != nil {
		return err
	}
	cat, err := catalog.Open(ctx, cfg.Catalog)
	if err != nil {
		return err
	}
	defer func() { _ = cat.Close() }()
	tenants := []tenantry.TenantID{only}
	if only == "" {
		if tenants, err = repository.Tenants(ctx, vault.Store); err != nil {
			return err
		}
	}
	for _, id := range tenants {
		r := Rebuilt{Tenant: id}
		r.Err = rebuildTenant(ctx, vault, cat, &r)
		if ctx.Err() != nil {
			return r.Err
		}
		told(r)
	}
	return nil
}

func rebuildTenant(ctx context.Context, vault *Vault, cat *catalog.Catalog, r *Rebuilt) error {
	repo, err := repository.OpenExisting(ctx, vault.Store, vault.Keys, r.Tenant)
	if err != nil {
		return err
	}
	all, err := repo.List(ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, s := range all {
		live, err := repo.Snapshots(ctx, s)
		if tenantry.KindOf(err) == tenantry.Corrupt {
			failed = err // of this series alone
			continue
		}
		if err != nil {
			return err
		}
		rows := make([]catalog.SnapshotRow, 0, len(live))
		for _, one := range live {
			rows = append(rows, catalog.SnapshotRow{Series: s, Seq: one.Seq, Time: one.Time, Task: one.Task, Counts: one.Counts})
		}
		if err := cat.Tenant(r.Tenant).MirrorSnapshots(ctx, s.Resource, s.Workload, rows); err != nil {
			return err
		}
		r.Series++
		r.Snapshots += len(rows)
	}
	return failed
}
