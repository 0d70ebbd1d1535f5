package app

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/directory"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// books are the account books of the fleet: an application has one, and each cloud an application.
type books struct {
	cat *catalog.Catalog
	own string
	all map[string]*throttle.Book // by cloud
}

// openBooks opens the books to read them, by the applications' IDs.
func (p *Program) openBooks(cfg Config, rdb redis.UniversalClient, limits throttle.Limits, cat *catalog.Catalog) books {
	b := books{cat: cat, own: cfg.Cloud, all: map[string]*throttle.Book{}}
	sizes := newSizes(cat)
	for _, cloud := range cfg.cloudNames() {
		in, _ := cfg.at(cloud)
		b.all[cloud] = throttle.New(rdb, in.ClientID, limits, sizes.of)
		p.onStop(b.all[cloud].Close)
	}
	return b
}

// Usage implements api.Budgets.
func (b books) Usage(ctx context.Context, t tenantry.TenantID) ([]throttle.Account, error) {
	cloud, err := cloudOf(ctx, b.cat, t, b.own, len(b.all))
	if err != nil {
		return nil, err
	}
	book, ok := b.all[cloud]
	if !ok {
		return nil, notInCloud(cloud)
	}
	return book.Usage(ctx, t)
}

// Cooling lists what cools in all clouds.
func (b books) Cooling(ctx context.Context) ([]throttle.Cooldown, error) {
	list, err := b.all[b.own].Cooling(ctx)
	for cloud, book := range b.all {
		if cloud == b.own || err != nil {
			continue
		}
		var more []throttle.Cooldown
		more, err = book.Cooling(ctx)
		for _, c := range more {
			if c.Tenant != "" { // what stands for all tenants is not of those in other clouds: tasks meet it and park
				list = append(list, c)
			}
		}
	}
	return list, err
}

// cloudOf is the cloud of a tenant; where there is but one, nothing is looked up.
func cloudOf(ctx context.Context, cat *catalog.Catalog, t tenantry.TenantID, own string, clouds int) (string, error) {
	if clouds < 2 {
		return own, nil
	}
	row, err := cat.Tenant(t).Get(ctx)
	return cmp.Or(row.Cloud, own), err
}

func notInCloud(cloud string) error {
	return &tenantry.Error{Kind: tenantry.Shared, Code: "cloud", Err: fmt.Errorf("this program has no application in the cloud %q", cloud)}
}

// clouds are what a worker speaks to Microsoft with: an application in each cloud. It never speaks to a tenant in
// another cloud than its own.
type clouds struct {
	cat   *catalog.Catalog
	own   string // the fleet's own
	known int    // how many the fleet has
	all   map[string]*inCloud
}

type inCloud struct {
	workloads workloads
	dir       *directory.Directory
}

// openClouds opens an account book and a Graph client for each cloud. fleetKeys says that ring opens the provider's
// own credentials, too.
func (p *Program) openClouds(ctx context.Context, g ground, rdb redis.UniversalClient, fleetKeys bool, metrics *meter) (*clouds, error) {
	cfg, cat, ring := g.cfg, g.cat, g.repos.ring
	limits, err := readLimits(cfg.LimitsFile)
	if g.limits != nil {
		limits, err = parseLimits("of the fleet", g.limits)
	}
	if err != nil {
		return nil, err
	}
	books := p.openBooks(cfg, rdb, limits, cat)
	observer := newBookMetrics(metrics, books)
	c := &clouds{cat: cat, own: cfg.Cloud, known: len(cfg.cloudNames()), all: map[string]*inCloud{}}
	for _, cloud := range cfg.cloudNames() {
		if !cfg.serves(cloud) {
			continue
		}
		in, _ := cfg.at(cloud)
		book := books.all[cloud]
		book.Observe(observer)
		if !g.outside { // the mirror holds every tenant: workers inside keep it
			m := mirror{name: "throttle/" + in.ClientID, book: book, fleet: cat.Fleet()}
			if err := m.resume(ctx); err != nil {
				return nil, err
			}
			p.background(func(ctx context.Context) { m.run(ctx, p.log) })
		}
		graphCfg := graphConfig(in)
		apps := newApplications(cat, ring, in.FederatedTokenFile, fleetKeys && cloud == cfg.Cloud, p.log)
		if g.outside && !in.credential() {
			apps.door, apps.clientID = g.door, in.ClientID
		}
		graphCfg.Applications = apps
		if c.all[cloud], err = openCloud(cfg, graphCfg, book, cat, ring, p.log); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func openCloud(fleet Config, cfg graph.Config, book *throttle.Book, cat *catalog.Catalog, ring repository.Keyring, log *zap.Logger) (*inCloud, error) {
	client, err := graph.New(cfg, book)
	if err != nil {
		return nil, err
	}
	dir, err := directory.New(directory.Config{
		Catalog: cat, Log: log.Sugar(),
		Open:    func(t tenantry.TenantID, name string) directory.Graph { return client.Tenant(t, name) },
		SignIns: signIns{client}, Keys: ring,
		RotateBefore: fleet.RotateBefore, RotateOverlap: fleet.RotateOverlap, RotateSettle: fleet.RotateSettle,
		ForRestores: func(t tenantry.TenantID, name string) directory.Granter {
			return client.Tenant(t, name).As(tenantry.ToRestore)
		},
	})
	return &inCloud{workloads{client, cat, ring}, dir}, err
}

// in is what speaks to a cloud; "" is the fleet's own.
func (c *clouds) in(cloud string) (*inCloud, error) {
	one, ok := c.all[cmp.Or(cloud, c.own)]
	if !ok {
		return nil, notInCloud(cloud)
	}
	return one, nil
}

func (c *clouds) of(ctx context.Context, t tenantry.TenantID) (*inCloud, error) {
	cloud, err := cloudOf(ctx, c.cat, t, c.own, c.known)
	if err != nil {
		return nil, err
	}
	return c.in(cloud)
}

// unserved says why a worker of a region leaves a tenant's tasks alone; "" if it does not.
func (c *clouds) unserved(region string) func(catalog.TenantRow) string {
	return func(t catalog.TenantRow) string {
		if t.Region != region {
			return fmt.Sprintf("the tenant's data belongs in the region %q, and the workers of pool %q are in %q: move it to a pool of its region", t.Region, t.Pool, region)
		}
		if _, err := c.in(t.Cloud); err != nil {
			return fmt.Sprintf("the tenant is in the cloud %q, and the workers of pool %q have no application there: name one in their clouds-file, and the cloud in their serves-clouds, or move the tenant to a pool that serves it", cmp.Or(t.Cloud, c.own), t.Pool)
		}
		return ""
	}
}

// Source implements worker.Workloads, as do Target and EndUploads.
func (c *clouds) Source(ctx context.Context, t catalog.TenantRow, r catalog.Resource, load tenantry.Workload, o tenantry.BackupOptions) (engine.Source, error) {
	in, err := c.in(t.Cloud)
	if err != nil {
		return nil, err
	}
	return in.workloads.Source(ctx, t, r, load, o)
}

func (c *clouds) Target(ctx context.Context, t catalog.TenantRow, task tenantry.TaskID, r catalog.Resource, load tenantry.Workload, req tenantry.RestoreRequest) (engine.Target, error) {
	in, err := c.in(t.Cloud)
	if err != nil {
		return nil, err
	}
	return in.workloads.Target(ctx, t, task, r, load, req)
}

func (c *clouds) EndUploads(ctx context.Context, t catalog.TenantRow) error {
	in, err := c.in(t.Cloud)
	if err != nil {
		return err
	}
	return in.workloads.EndUploads(ctx, t)
}

// Connect implements worker.Directory, as do Register and Sync.
func (c *clouds) Connect(ctx context.Context, t tenantry.TenantID, req tenantry.ConnectRequest) error {
	in, err := c.of(ctx, t)
	if err != nil {
		return err
	}
	return in.dir.Connect(ctx, t, req)
}

func (c *clouds) Register(ctx context.Context, t tenantry.TenantID) (time.Time, error) {
	in, err := c.of(ctx, t)
	if err != nil {
		return time.Time{}, err
	}
	return in.dir.Register(ctx, t)
}

func (c *clouds) Sync(ctx context.Context, t tenantry.TenantID) (tenantry.Counts, error) {
	in, err := c.of(ctx, t)
	if err != nil {
		return tenantry.Counts{}, err
	}
	return in.dir.Sync(ctx, t)
}
