package app

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/scheduler"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// startScheduler needs SQL and Redis, and the applications' IDs to find their account books: no
// storage, no keys, no Graph credential.
func (p *Program) startScheduler(ctx context.Context, cfg Config) error {
	spareCollector()
	cat, err := openCatalog(ctx, cfg)
	if err != nil {
		return err
	}
	p.closes(cat.Close)
	options := queue.Options{URL: cfg.Redis}
	deliveries, err := queue.NewClient(options)
	if err != nil {
		return err
	}
	p.closes(deliveries.Close)
	rdb, err := options.RedisClient()
	if err != nil {
		return err
	}
	p.closes(rdb.Close)
	limits, err := readLimits(cfg.LimitsFile)
	if err != nil {
		return err
	}
	metrics := newMeter(RoleScheduler)
	budgets := budgets{p.openBooks(cfg, rdb, limits, cat), limits}
	newCoolingFlows(metrics, budgets)
	id := tenantry.NewProcessID("scheduler", hostname())
	observer := newSchedulerMetrics(metrics)
	notices, err := newNotices(cfg, cat, id, observer, p.log.Sugar())
	if err != nil {
		return err
	}
	s, err := scheduler.New(scheduler.Config{
		Catalog: cat, Deliveries: deliveries, Budgets: budgets, Observer: observer, Log: p.log.Sugar(), ID: id,
		Cloud: cfg.Cloud, TenantCap: cfg.TenantCap, KeepTasks: cfg.KeepTasks, Notices: notices, NoticesEvery: cfg.NoticesEvery,
	})
	if err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	p.onStop(s.Stop)
	ready := readiness(map[string]pinger{"catalog": cat, "redis": deliveries})
	return p.serve(cfg.Listen, nil, healthHandler(ready, metrics))
}

// budgets tells the leader which flows cool, and what each may spend.
type budgets struct {
	books  books
	limits throttle.Limits
}

// Rate implements scheduler.Budgets.
func (b budgets) Rate(service tenantry.Service, users, licences int64) float64 {
	return b.limits.Rate(service, throttle.Size{Users: users, Licences: licences})
}

// Cooling implements scheduler.Budgets. A mailbox that cools is one task's own affair: it
// parks. So are writes: what the leader admits mostly reads.
func (b budgets) Cooling(ctx context.Context) (map[scheduler.Flow]time.Time, error) {
	list, err := b.books.Cooling(ctx)
	flows := make(map[scheduler.Flow]time.Time)
	for _, c := range list {
		if c.Mailbox != "" || c.Writes {
			continue
		}
		services := []tenantry.Service{c.Service}
		if c.Service == tenantry.NoService {
			services = []tenantry.Service{tenantry.Identity, tenantry.Outlook, tenantry.SharePoint, tenantry.Teams}
		}
		for _, s := range services {
			f := scheduler.Flow{Tenant: c.Tenant, Service: s}
			if c.Until.After(flows[f]) {
				flows[f] = c.Until
			}
		}
	}
	return flows, err
}
