package app

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Rebuilt says what became of one tenant's mirror of snapshots.
type Rebuilt struct {
	Tenant    tenantry.TenantID
	Series    int
	Snapshots int
	Adopted   int   // resources that the catalog did not know: they are listed as gone until a sync sees them
	Err       error // why the tenant could not be read whole; what was read is mirrored
}

// Adoption says what the catalog is to know of a tenant that it has lost: the bucket has its ID and
// its backups, but not whose they are.
type Adoption struct {
	Directory string // the Microsoft tenant that is expected to consent: GUID or domain
	Name      string // "": the directory
}

// Rebuild says which tenants are rebuilt.
type Rebuild struct {
	Only  tenantry.TenantID // "": all that the bucket has
	Adopt map[tenantry.TenantID]Adoption
}

// RebuildSnapshots makes the catalog's list of snapshots what the bucket says, for one
// tenant or, with "", for all of the configuration's data region (see Config.In): one listing and one GET per series. It may run beside a
// working fleet and be repeated. A tenant whose key does not open is told and left as it is.
//
// A tenant that the catalog does not know is added under the ID that its backups have, if its key
// opens and it is said whose it is; it has to consent again. Resources that only the bucket knows are
// added as gone, so that they can be restored to others; the first sync says which of them are there.
func RebuildSnapshots(ctx context.Context, cfg Config, what Rebuild, told func(Rebuilt)) error {
	vault, err := OpenVault(ctx, cfg)
	if err != nil {
		return err
	}
	cat, err := catalog.Open(ctx, cfg.Catalog)
	if err != nil {
		return err
	}
	defer func() { _ = cat.Close() }()
	tenants := []tenantry.TenantID{what.Only}
	if what.Only == "" {
		if tenants, err = repository.Tenants(ctx, vault.Store); err != nil {
			return err
		}
	}
	for _, id := range tenants {
		r := Rebuilt{Tenant: id}
		r.Err = rebuildTenant(ctx, cfg, vault, cat, what.Adopt, &r)
		if ctx.Err() != nil {
			return r.Err
		}
		told(r)
	}
	return nil
}

func rebuildTenant(ctx context.Context, cfg Config, vault *Vault, cat *catalog.Catalog, adopt map[tenantry.TenantID]Adoption, r *Rebuilt) error {
	repo, err := repository.OpenExisting(ctx, vault.Store, vault.Keys, r.Tenant)
	if err != nil {
		return err
	}
	if err := adoptTenant(ctx, cfg, cat, r.Tenant, adopt); err != nil {
		return err
	}
	all, err := repo.List(ctx)
	if err != nil {
		return err
	}
	if r.Adopted, err = cat.Tenant(r.Tenant).AdoptResources(ctx, resourcesOf(all), time.Now()); err != nil {
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

// adoptTenant adds a tenant that the catalog does not know, if it is said whose it is, to the region in whose bucket
// it was found. One that belongs to another region is refused: what the list says has to lie where it is looked for.
func adoptTenant(ctx context.Context, cfg Config, cat *catalog.Catalog, id tenantry.TenantID, adopt map[tenantry.TenantID]Adoption) error {
	region := cmp.Or(cfg.Region, catalog.DefaultRegion)
	known, err := cat.Tenant(id).Get(ctx)
	if err == nil && known.Region != region {
		return tenantry.Errorf(tenantry.Conflict, "the tenant belongs to the data region %q, and this bucket is that of %q", known.Region, region)
	}
	if tenantry.KindOf(err) != tenantry.NotFound {
		return err
	}
	a, ok := adopt[id]
	if !ok {
		return tenantry.Errorf(tenantry.NotFound, "the catalog does not know the tenant: say whose it is with --adopt %s=DIRECTORY", id)
	}
	row := catalog.TenantRow{ID: id, Region: region, Pool: cfg.poolOf(region), Name: a.Name, Directory: strings.ToLower(a.Directory), Reason: "adopted from its backups: it has to consent again"}
	if row.Name == "" {
		row.Name = row.Directory
	}
	return cat.Fleet().AddTenant(ctx, row)
}

// resourcesOf tells from the names of series which resources they are of. Their names in Microsoft 365
// are not in the bucket's listing; their IDs have to do.
func resourcesOf(all []tenantry.Series) []catalog.Resource {
	kinds := map[string]tenantry.ResourceKind{"u-": tenantry.User, "g-": tenantry.Group, "s-": tenantry.Site}
	var out []catalog.Resource
	for _, s := range all {
		id := string(s.Resource)
		kind, ok := kinds[id[:min(2, len(id))]]
		if !ok {
			continue
		}
		if n := len(out); n > 0 && out[n-1].ID == s.Resource { // series are sorted
			if !slices.Contains(out[n-1].Workloads, s.Workload) {
				out[n-1].Workloads = append(out[n-1].Workloads, s.Workload)
			}
			continue
		}
		out = append(out, catalog.Resource{
			ID: s.Resource, Kind: kind, ObjectID: id[2:], Name: id, State: tenantry.Gone, Workloads: []tenantry.Workload{s.Workload},
		})
	}
	return out
}
