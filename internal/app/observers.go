package app

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/scheduler"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
	"github.com/tenantry/tenantry/internal/worker"
)

// noAccount is the account of waits for something else than Graph.
const noAccount = "none"

// The labels of all metrics.
var (
	byQueue   = label{name: "queue", values: queue.Names()}
	byPool    = label{name: "pool", named: poolName}
	byAction  = label{name: "action", values: []string{"connect", "sync", "backup", "restore", "verify", "prune", "collect", "export", "patrol", "repair", "search"}}
	byResult  = label{name: "result", values: []string{"done", "more", "parked", "retry", "failed", "dropped"}}
	byAccount = label{name: "account", values: append(throttle.AccountNames(), noAccount)}
	byCause   = label{name: "cause", values: []string{"queue", "worker", "storage", "retry", "graph"}}
	byService = label{name: "service", values: []string{
		string(tenantry.Identity), string(tenantry.Outlook), string(tenantry.SharePoint), string(tenantry.Teams)}}
	byStatus  = label{name: "status", values: []string{"429", "503", "509"}}
	byOutcome = label{name: "outcome", values: []string{"sent", "deferred", "refused"}}
	byMove    = label{name: "what", values: []string{"started", "admitted", "offered", "readmitted", "reaped"}}
)

// schedulerMetrics shows what the leader does.
type schedulerMetrics struct {
	leading                                            *gauge
	tick                                               *histogram
	failures                                           *counter
	backlog, cooling, inFlight, inRedis, slots, paused *gauge
	demand, poolDemand                                 *gauge
	toldPools                                          map[[2]string]int // by Pools alone
	moved                                              *counter
	alarms                                             *gauge
	mails                                              *counter
}

func newSchedulerMetrics(m *meter) *schedulerMetrics {
	return &schedulerMetrics{
		leading:    m.gauge("tenantry_leader", "1 while this scheduler leads. What the fleet has and needs is told by the leader alone."),
		tick:       m.histogram("tenantry_tick_seconds", "Time that one tick of the leader took.", prometheus.ExponentialBuckets(0.001, 4, 7)),
		failures:   m.counter("tenantry_tick_failures_total", "Ticks of the leader that failed."),
		backlog:    m.gauge("tenantry_backlog_tasks", "Tasks that are ready and wait for admission; of one flow at most as many as the leader looks at.", byQueue),
		cooling:    m.gauge("tenantry_backlog_cooling_tasks", "Of the backlog, those whose flow Microsoft told to wait.", byQueue),
		inFlight:   m.gauge("tenantry_in_flight_tasks", "Tasks that are admitted or running.", byQueue),
		inRedis:    m.gauge("tenantry_deliveries", "Deliveries that Redis holds, waiting or in hands.", byQueue),
		slots:      m.gauge("tenantry_slots", "Tasks that living workers can run at once; 0 for a queue that an operator has paused.", byQueue),
		demand:     m.gauge("tenantry_demand_tasks", "Admissible demand: tasks that could run at once if there were slots. Scale workers by it.", byQueue),
		poolDemand: m.gauge("tenantry_pool_demand_tasks", "Admissible demand of the tenants of one pool of workers. Scale that pool's workers by it.", byPool, byQueue),
		paused:     m.gauge("tenantry_queue_paused", "1 while an operator has paused the queue.", byQueue),
		moved:      m.counter("tenantry_tasks_moved_total", "Tasks that became due (started), were admitted, offered again, readmitted (delivery lost), reaped (process died).", byMove),
		alarms:     m.gauge("tenantry_alarms", "Shared causes that hold up admission."),
		mails:      m.counter("tenantry_mails_total", "Attempts to send a mail: taken by the mail server (sent), put off (deferred), given up (refused).", byOutcome),
	}
}

func flag01(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// Leading implements scheduler.Observer, as do the following.
func (m *schedulerMetrics) Leading(yes bool) {
	m.leading.with().Set(flag01(yes))
	if !yes { // what it knew of the fleet is the next leader's to tell
		for _, g := range []*gauge{m.backlog, m.cooling, m.inFlight, m.inRedis, m.slots, m.demand, m.poolDemand, m.paused} {
			g.vec.Reset()
		}
		m.alarms.with().Set(0)
	}
}

func (m *schedulerMetrics) Ticked(took time.Duration, err error) {
	m.tick.with().Observe(took.Seconds())
	if err != nil {
		m.failures.with().Inc()
	}
}

func (m *schedulerMetrics) Backlog(queues map[string]scheduler.QueueLoad) {
	for name, l := range queues {
		m.backlog.with(name).Set(float64(l.Ready))
		m.cooling.with(name).Set(float64(l.Cooling))
		m.inFlight.with(name).Set(float64(l.InFlight))
		m.inRedis.with(name).Set(float64(l.InRedis))
		m.slots.with(name).Set(float64(l.Slots))
		m.demand.with(name).Set(float64(l.Demand))
		m.paused.with(name).Set(flag01(l.Paused))
	}
}

// maxPools is how many pools of workers have series of their own; those beyond count as other.
const maxPools = 50

// Pools never shows less than there is: whoever scales by it must not meet a moment at which all pools are gone.
func (m *schedulerMetrics) Pools(demand map[string]map[string]int) {
	sums := map[[2]string]int{} // by pool and queue
	for i, pool := range slices.Sorted(maps.Keys(demand)) {
		label := byPool.of(pool)
		if i >= maxPools {
			label = elsewhere
		}
		for name, n := range demand[pool] {
			sums[[2]string{label, name}] += n
		}
	}
	for at, n := range sums {
		m.poolDemand.with(at[0], at[1]).Set(float64(n))
	}
	for at := range m.toldPools {
		if _, there := sums[at]; !there {
			m.poolDemand.with(at[0], at[1]).Set(0)
		}
	}
	m.toldPools = sums
}

func (m *schedulerMetrics) Moved(what string, n int) { m.moved.with(what).Add(float64(n)) }

func (m *schedulerMetrics) Alarms(n int) { m.alarms.with().Set(float64(n)) }

// Mailed implements report.Observer.
func (m *schedulerMetrics) Mailed(what string) { m.mails.with(what).Inc() }

// coolingTimeout bounds what a scrape waits for Redis.
const coolingTimeout = time.Second

// coolingFlows counts, at each scrape, the flows that Microsoft told to wait.
type coolingFlows struct {
	desc    *prometheus.Desc
	cooling func(context.Context) (map[scheduler.Flow]time.Time, error)
}

func newCoolingFlows(m *meter, b scheduler.Budgets) {
	const name, help = "tenantry_cooling_flows", "Flows (a tenant's requests to one service, or a service in all tenants) that Microsoft told to wait; absent while Redis does not answer."
	names := m.define("gauge", name, help, []label{byService})
	m.MustRegister(&coolingFlows{prometheus.NewDesc(name, help, names, nil), b.Cooling})
}

// Describe implements prometheus.Collector.
func (c *coolingFlows) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect implements prometheus.Collector.
func (c *coolingFlows) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), coolingTimeout)
	defer cancel()
	flows, err := c.cooling(ctx)
	if err != nil {
		return // readiness tells that Redis does not answer
	}
	count := map[string]float64{}
	for f := range flows {
		count[byService.of(string(f.Service))]++
	}
	for _, s := range byService.values {
		to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, count[s], s)
	}
}

// workerMetrics shows what a worker does.
type workerMetrics struct {
	slices *histogram
	waits  *counter
	leased *gauge
	parks  *counter
}

func newWorkerMetrics(m *meter) *workerMetrics {
	return &workerMetrics{
		slices: m.histogram("tenantry_slice_seconds", "Time of one slice of a task, by how it ended.",
			prometheus.ExponentialBuckets(0.01, 4, 8), byQueue, byAction, byResult),
		waits:  m.counter("tenantry_wait_seconds_total", "Time that tasks waited, by cause and, of graph, by account.", byCause, byAccount),
		leased: m.gauge("tenantry_worker_leased", "1 while the process holds its lease: without it nothing runs."),
		parks:  m.counter("tenantry_parks_total", "Tasks that gave up their slot to wait for Microsoft Graph, by the account that was empty; graph/throttled: Microsoft itself asked to wait.", byAccount),
	}
}

// Slice implements worker.Observer, as do the following.
func (m *workerMetrics) Slice(queue string, action tenantry.Action, result string, took time.Duration) {
	m.slices.with(queue, string(action), result).Observe(took.Seconds())
}

func (m *workerMetrics) Leased(yes bool) { m.leased.with().Set(flag01(yes)) }

func (m *workerMetrics) Parked(account string) { m.parks.with(account).Inc() }

func (m *workerMetrics) Waited(d tenantry.Delays) {
	add := func(cause, account string, wait time.Duration) {
		if wait > 0 {
			m.waits.with(cause, account).Add(wait.Seconds())
		}
	}
	add("queue", noAccount, d.Queue)
	add("worker", noAccount, d.Worker)
	add("storage", noAccount, d.Storage)
	add("retry", noAccount, d.Retry)
	for account, wait := range d.Graph {
		add("graph", account, wait)
	}
}

// checkpointAge shows how much of this worker's running backups is not committed.
func checkpointAge(m *meter, w *worker.Worker) {
	m.asked("gauge", "tenantry_checkpoint_age_seconds",
		"How long ago the oldest running backup of this worker last committed: what a crash now would read again.",
		func() float64 { return w.Uncommitted().Seconds() })
}

// traffic adds up a count of all books.
func (b books) traffic(count func(granted, scripts uint64) uint64) float64 {
	sum := uint64(0)
	for _, book := range b.all {
		sum += count(book.Traffic())
	}
	return float64(sum)
}

// bookMetrics shows what the account book of a worker does.
type bookMetrics struct {
	waits     *histogram
	throttled *counter
}

func newBookMetrics(m *meter, of books) *bookMetrics {
	m.asked("counter", "tenantry_limiter_grants_total", "Calls to Microsoft Graph that the account book let go.", func() float64 {
		return of.traffic(func(granted, _ uint64) uint64 { return granted })
	})
	m.asked("counter", "tenantry_limiter_calls_total", "Times that the account book was asked in Redis: far fewer than calls granted.", func() float64 {
		return of.traffic(func(_, scripts uint64) uint64 { return scripts })
	})
	return &bookMetrics{
		waits: m.histogram("tenantry_graph_wait_seconds", "Time that calls waited in place for an account; longer waits park the task.",
			prometheus.ExponentialBuckets(0.005, 3, 7), byAccount),
		throttled: m.counter("tenantry_graph_throttled_total", "Answers of Microsoft that asked to wait.", byService, byStatus),
	}
}

// Waited implements throttle.Observer, as does Throttled.
func (m *bookMetrics) Waited(account string, d time.Duration) {
	m.waits.with(account).Observe(d.Seconds())
}

func (m *bookMetrics) Throttled(service tenantry.Service, status int) {
	m.throttled.with(string(service), strconv.Itoa(status)).Inc()
}
