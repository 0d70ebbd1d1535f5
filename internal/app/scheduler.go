package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/scheduler"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// startScheduler needs SQL and Redis, and the application's ID to find its account book: no
// storage, no keys, no Graph credential.
func (p *Program) startScheduler(ctx context.Context, cfg Config) error {
	cat, err := catalog.Open(ctx, cfg.Catalog)
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
	// It only reads the book, by the application's ID.
	book := throttle.New(rdb, cfg.ClientID, limits, newSizes(cat).of)
	p.onStop(book.Close)

	metrics := newRegistry()
	s, err := scheduler.New(scheduler.Config{
		Catalog: cat, Deliveries: deliveries, Budgets: budgets{book, limits}, Observer: newSchedulerMetrics(metrics), Log: p.log.Sugar(),
		TenantCap: cfg.TenantCap, KeepTasks: cfg.KeepTasks,
	})
	if err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	p.onStop(s.Stop)
	ready := readiness(map[string]pinger{"catalog": cat, "redis": deliveries})
	return p.serve(cfg.Listen, healthHandler(ready, metrics))
}

// budgets tells the leader which flows cool, and what each may spend.
type budgets struct {
	book   *throttle.Book
	limits throttle.Limits
}

// Rate implements scheduler.Budgets.
func (b budgets) Rate(service tenantry.Service, users, licences int64) float64 {
	return b.limits.Rate(service, throttle.Size{Users: users, Licences: licences})
}

// Cooling implements scheduler.Budgets. A mailbox that cools is one task's own affair: it
// parks. So are writes: what the leader admits mostly reads.
func (b budgets) Cooling(ctx context.Context) (map[scheduler.Flow]time.Time, error) {
	list, err := b.book.Cooling(ctx)
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

// schedulerMetrics shows what the leader does.
type schedulerMetrics struct {
	leading  prometheus.Gauge
	tick     prometheus.Histogram
	failures prometheus.Counter
	queues   *prometheus.GaugeVec
	moved    *prometheus.CounterVec
	alarms   prometheus.Gauge
}

func newSchedulerMetrics(r *prometheus.Registry) *schedulerMetrics {
	m := &schedulerMetrics{
		leading: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tenantry_leader", Help: "1 while this scheduler leads."}),
		tick: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tenantry_tick_seconds", Help: "Time one tick of the leader took.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 7)}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tenantry_tick_failures_total", Help: "Ticks that failed."}),
		queues: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tenantry_queue_tasks", Help: "Tasks by queue: ready, of them cooling, in flight, slots, and demand (scale workers by it)."}, []string{"queue", "what"}),
		moved: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tenantry_tasks_moved_total", Help: "Tasks started, admitted, offered again, readmitted, reaped."}, []string{"what"}),
		alarms: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tenantry_alarms", Help: "Shared causes that hold up admission."}),
	}
	r.MustRegister(m.leading, m.tick, m.failures, m.queues, m.moved, m.alarms)
	return m
}

func (m *schedulerMetrics) Leading(yes bool) {
	m.leading.Set(0)
	if yes {
		m.leading.Set(1)
	}
}

func (m *schedulerMetrics) Ticked(took time.Duration, err error) {
	m.tick.Observe(took.Seconds())
	if err != nil {
		m.failures.Inc()
	}
}

func (m *schedulerMetrics) Backlog(queues map[string]scheduler.QueueLoad) {
	for name, l := range queues {
		m.queues.WithLabelValues(name, "ready").Set(float64(l.Ready))
		m.queues.WithLabelValues(name, "cooling").Set(float64(l.Cooling))
		m.queues.WithLabelValues(name, "in_flight").Set(float64(l.InFlight))
		m.queues.WithLabelValues(name, "slots").Set(float64(l.Slots))
		m.queues.WithLabelValues(name, "demand").Set(float64(l.Demand))
	}
}

func (m *schedulerMetrics) Moved(what string, n int) { m.moved.WithLabelValues(what).Add(float64(n)) }

func (m *schedulerMetrics) Alarms(n int) { m.alarms.Set(float64(n)) }
