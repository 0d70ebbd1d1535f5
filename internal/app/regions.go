package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// reopenAfter is how long a region whose bucket did not open is left alone.
const reopenAfter = 5 * time.Second

// openTime bounds an attempt to open a bucket: others that need it wait meanwhile.
const openTime = 30 * time.Second

// opener opens tenants' repositories: *repositories those of one region, *regions those of all.
type opener interface {
	Open(ctx context.Context, t tenantry.TenantID) (*repository.Repository, error)
}

// regions opens each tenant's repository in its own data region, and wraps its secrets by that region's keys. A
// region whose bucket is away harms its own tenants alone. Safe for concurrent use.
type regions struct {
	cat   *catalog.Catalog
	all   map[string]*regional
	home  repository.Keyring // of the fleet's own secrets
	cache *repository.Cache  // of index objects of all regions; nil: none
}

// regional is one region: its keys, and its bucket from the first use on.
type regional struct {
	cfg   Config
	keys  repository.Keyring
	cache *repository.Cache

	mu     sync.Mutex
	repos  *repositories
	failed error
	at     time.Time // of the failure
}

// openRegions opens the keys of every region, and the buckets. The only bucket there is has to open; of several,
// those that do not are tried again whenever they are needed.
func openRegions(ctx context.Context, cfg Config, cat *catalog.Catalog, log *zap.Logger) (*regions, error) {
	r := &regions{cat: cat, all: map[string]*regional{}, cache: openCache(cfg, log)}
	for _, name := range cfg.RegionNames() {
		of, err := cfg.In(name)
		if err != nil {
			return nil, err
		}
		keys, err := openKeys(ctx, of)
		if err != nil {
			return nil, err
		}
		r.all[name] = &regional{cfg: of, keys: keys, cache: r.cache}
	}
	r.home = r.all[catalog.DefaultRegion].keys
	var group sync.WaitGroup
	errs := make(chan error, len(r.all))
	for name, one := range r.all {
		group.Go(func() {
			if _, err := one.open(ctx); err != nil {
				log.Warn("the bucket of a data region does not open; it is tried again when it is needed", zap.String("region", name), zap.Error(err))
				errs <- err
			}
		})
	}
	group.Wait()
	if len(r.all) == 1 && len(errs) > 0 {
		return nil, <-errs
	}
	return r, nil
}

// open opens the region's bucket, which proves that it can carry the fence.
func (r *regional) open(ctx context.Context) (*repositories, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.repos != nil {
		return r.repos, nil
	}
	if r.failed != nil && time.Since(r.at) < reopenAfter {
		return nil, r.failed
	}
	opening, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	store, err := openStore(opening, r.cfg)
	if err != nil {
		if ctx.Err() == nil {
			r.failed, r.at = err, time.Now()
		}
		return nil, err
	}
	r.repos = newRepositories(store, r.keys)
	r.repos.useCache(r.cache, r.cfg)
	return r.repos, nil
}

// of is a tenant's region.
func (r *regions) of(ctx context.Context, t tenantry.TenantID) (*regional, error) {
	row, err := r.cat.Tenant(t).Get(ctx)
	if err != nil {
		return nil, err
	}
	one, ok := r.all[row.Region]
	if !ok {
		return nil, &tenantry.Error{Kind: tenantry.Shared, Code: "region", Op: "reach the data of tenant " + string(t),
			Err: fmt.Errorf("its data region %q is not in this program's configuration", row.Region)}
	}
	return one, nil
}

// Store implements gateway.Regions, as does Keys. Whatever keeps the bucket from opening, no worker outside can mend it.
func (r *regions) Store(ctx context.Context, region string) (blob.Store, error) {
	one, err := r.named(region)
	if err != nil {
		return nil, err
	}
	repos, err := one.open(ctx)
	if err != nil && ctx.Err() == nil {
		return nil, &tenantry.Error{Kind: tenantry.Shared, Code: "bucket", Op: "open the bucket of the data region " + region, Err: err}
	}
	if err != nil {
		return nil, err
	}
	return repos.store, nil
}

// Keys returns the keys of a region, whether its bucket opens or not.
func (r *regions) Keys(region string) (repository.Keyring, error) {
	one, err := r.named(region)
	if err != nil {
		return nil, err
	}
	return one.keys, nil
}

func (r *regions) named(region string) (*regional, error) {
	one, ok := r.all[region]
	if !ok {
		return nil, &tenantry.Error{Kind: tenantry.Shared, Code: "region", Err: fmt.Errorf("the data region %q is not in the API's configuration", region)}
	}
	return one, nil
}

// Open opens the tenant's repository. Shared, with the code "region", if this program lacks the region.
func (r *regions) Open(ctx context.Context, t tenantry.TenantID) (*repository.Repository, error) {
	one, err := r.of(ctx, t)
	if err != nil {
		return nil, err
	}
	repos, err := one.open(ctx)
	if err != nil {
		return nil, err
	}
	return repos.Open(ctx, t)
}

// Wrap wraps a secret of the tenant by its region's keys, one of the fleet by the default region's.
func (r *regions) Wrap(ctx context.Context, t tenantry.TenantID, key []byte) (wrapped []byte, keyID string, err error) {
	if t == tenantry.FleetOwner {
		return r.home.Wrap(ctx, t, key)
	}
	one, err := r.of(ctx, t)
	if err != nil {
		return nil, "", err
	}
	return one.keys.Wrap(ctx, t, key)
}

// checkPool refuses to start a worker whose pool works for another region: it would take tasks whose data it must
// not touch. A pool that nobody has added yet gets no tasks.
func checkPool(ctx context.Context, cat *catalog.Catalog, cfg Config) error {
	pools, err := cat.Fleet().Pools(ctx)
	if tenantry.KindOf(err) == tenantry.Forbidden {
		return nil // an enrolled worker may not read them: each tenant's row tells it
	}
	if err != nil {
		return err
	}
	for _, p := range pools {
		if p.Name == cfg.pool() && p.Region != cfg.Region {
			return tenantry.Errorf(tenantry.Invalid, "configuration: region is %q, but pool %q works for the region %q: set region to that, or pool to one of region %q",
				cfg.Region, p.Name, p.Region, cfg.Region)
		}
	}
	return nil
}
