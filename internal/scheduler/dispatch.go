package scheduler

import (
	"math"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The weight of a tenant: its service level. A tenant without one has the default.
const (
	minWeight     = 1
	maxWeight     = 100
	defaultWeight = 10
)

// ahead is how many tasks stand in Redis per slot of the fleet, waiting or running:
// enough that no worker waits for a tick of the leader, few enough that what is
// admitted now overtakes nothing and waits behind little.
const ahead = 2

// minCap is the smallest default cap of a tenant: a small fleet is still used well
// by a single tenant.
const minCap = 4

// minFlow is how many tasks of a flow may be in flight however little its budget is: one
// runs while the next one is on its way. firstFlow is it while nothing is known of its pace.
const (
	minFlow   = 2
	firstFlow = 4
)

// turnaround is how long it takes until a task that ended is replaced by the next one:
// settled, seen by a tick, admitted, enqueued, delivered. In seconds.
const turnaround = 0.3

// queues in the order in which they are filled. They do not compete for slots.
var queues = []string{queue.Interactive, queue.Directory, queue.Backup, queue.Maintenance}

// Flow is what Microsoft slows down as one: a tenant's requests to one service. A flow
// without a tenant stands for that service in all of them.
type Flow struct {
	Tenant  tenantry.TenantID
	Service tenantry.Service
}

// Situation is all that the choice of the next tasks depends on.
type Situation struct {
	Now   time.Time
	Pool  string // of workers; "" is the whole fleet
	Loads []catalog.Load
	// Slots is what the living workers can run at once, by queue. A queue that an
	// operator has paused has none.
	Slots map[string]int
	// Cooling flows get nothing before their time: Microsoft told them to wait.
	Cooling map[Flow]time.Time
	// Rate is how many units a second the tasks of a flow may spend together, in a tenant
	// of so many users and licences; 0, or no function, means that nothing bounds them.
	Rate func(service tenantry.Service, users, licences int64) float64
	// TenantCap is how many tasks of one tenant may be in flight in one queue;
	// 0 means half of the queue's slots, and at least 4.
	TenantCap int
	// Limit bounds how many tasks are picked in all; 0 means no bound. A probe
	// after an alarm picks one.
	Limit int
}

// Pick chooses whose tasks are admitted next. It is a pure function: the same situation
// gives the same picks, in the same order.
//
// Each queue is filled up to twice its slots. Within it, start-time fair queueing over
// tenants: a tenant's virtual time grows by 1/weight with each task, and the tenant with
// the smallest one is next, but none counts as less than the system's clock, which is the
// start tag of the task dispatched last. So
//   - credit is not saved: a tenant that was idle, cooling or at its cap does not
//     come back with a claim on the whole fleet;
//   - bypass is bounded: between two picks of a waiting tenant of weight w, another of
//     weight v is picked at most ceil(v/w)+1 times.
//
// A tenant whose turn it is gives it to that of its flows which has the least in flight;
// flows that cool or are at their cap are left out. So a tenant gets no more by having many flows, and one
// flow that cools holds up neither the others nor the tenant.
//
// No tenant and no flow exceeds its cap (TenantCap, FlowCap), and nothing stays idle while
// an eligible flow waits.
func Pick(s Situation) []catalog.Pick {
	clock := systemClock(s.Loads)
	picked := make(map[pickKey]int)
	virtual := make(map[tenantry.TenantID]float64)
	for _, l := range s.Loads {
		virtual[l.Tenant] = l.Virtual
	}
	left := s.Limit
	if left == 0 {
		left = math.MaxInt
	}
	var order []pickKey
	for _, q := range queues {
		free := min(left, ahead*s.Slots[q]-inFlight(s.Loads, q))
		line := newLine(s, q, clock, virtual)
		for ; free > 0 && line.Len() > 0; free-- {
			flow, tag := line.serve()
			key := pickKey{flow, q}
			if picked[key] == 0 {
				order = append(order, key)
			}
			picked[key]++
			virtual[flow.Tenant] = tag
			left--
		}
	}
	picks := make([]catalog.Pick, 0, len(order))
	for _, key := range order {
		picks = append(picks, catalog.Pick{
			Tenant: key.Tenant, Queue: key.queue, Service: key.Service, N: picked[key], Virtual: virtual[key.Tenant],
		})
	}
	return picks
}

type pickKey struct {
	Flow
	queue string
}

// TenantCap is the number of tasks of one tenant that may be in flight in a queue with
// so many slots; configured 0 means the default.
func TenantCap(configured, slots int) int {
	if configured > 0 {
		return configured
	}
	return max(minCap, slots/2)
}

// FlowCap is the number of tasks of one flow that may be in flight in a queue: as many as
// keep its budget busy, which is the rate of tasks that it pays for times how long each is
// in flight (Little's law), at least 2 and at most what the tenant may have. More would
// only wait for the budget in slots that others can use. rate is in units a second; a load
// whose pace is unknown starts with 4.
//
// While the budget is the bottleneck tasks last longer the more of them there are, and the
// cap stays where it is: it is approached from below.
func FlowCap(rate float64, l catalog.Load, tenantCap int) int {
	if rate <= 0 {
		return tenantCap
	}
	if l.Units <= 0 {
		return min(tenantCap, firstFlow)
	}
	tasks := rate / l.Units * (l.Seconds + turnaround)
	return min(tenantCap, max(minFlow, int(min(tasks, float64(tenantCap)))))
}

// flowCap is FlowCap in this situation.
func (s Situation) flowCap(l catalog.Load, tenantCap int) int {
	if s.Rate == nil {
		return tenantCap
	}
	return FlowCap(s.Rate(l.Service, l.Users, l.Licences), l, tenantCap)
}

// Demand is how many slots the fleet could use right now, by queue (each of them, 0 where it needs none): the sum over the
// tenants of what they have in flight and the backlog of those of their flows that do not
// cool, at most their caps. It does not depend on how many slots there are, so a pool can
// be scaled by it (pending tasks cannot tell: the dispatcher bounds them).
func Demand(s Situation) map[string]int {
	demand := make(map[string]int)
	for _, q := range queues {
		demand[q] = 0
		limit := TenantCap(s.TenantCap, s.Slots[q])
		for _, c := range candidates(s, q) {
			demand[q] += max(c.inFlight, min(c.inFlight+c.room(), limit))
		}
	}
	return demand
}

// systemClock is the start tag of the task dispatched last, as far as the loads tell.
// Tags are dispatched in rising order, so it is the largest. It never lies more than
// one step below any tenant's virtual time.
func systemClock(loads []catalog.Load) (clock float64) {
	for _, l := range loads {
		clock = max(clock, l.Virtual-step(l.Weight))
	}
	return clock
}

func inFlight(loads []catalog.Load, q string) (n int) {
	for _, l := range loads {
		if l.Queue == q {
			n += l.InFlight
		}
	}
	return n
}

// cooling reports whether a flow, or its service in all tenants, has been told to wait.
func (s Situation) cooling(f Flow) bool {
	if f.Service == tenantry.NoService {
		return false
	}
	return s.Cooling[f].After(s.Now) || s.Cooling[Flow{Service: f.Service}].After(s.Now)
}

// step is what one task costs in virtual time.
func step(weight int) float64 {
	if weight == 0 {
		weight = defaultWeight
	}
	return 1 / float64(min(max(weight, minWeight), maxWeight))
}
