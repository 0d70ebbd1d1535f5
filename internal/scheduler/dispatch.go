package scheduler

import (
	"cmp"
	"container/heap"
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

// queues in the order in which they are filled. They do not compete for slots.
var queues = []string{queue.Interactive, queue.Directory, queue.Backup, queue.Maintenance}

// Situation is all that the choice of the next tasks depends on.
type Situation struct {
	Now   time.Time
	Loads []catalog.Load
	// Slots is what the living workers can run at once, by queue. A queue that an
	// operator has paused has none.
	Slots map[string]int
	// Cooling tenants get nothing before their time: Microsoft told them to wait.
	Cooling map[tenantry.TenantID]time.Time
	// TenantCap is how many tasks of one tenant may be in flight in one queue;
	// 0 means half of the queue's slots, and at least 4.
	TenantCap int
	// Limit bounds how many tasks are picked in all; 0 means no bound. A probe
	// after an alarm picks one.
	Limit int
}

// Pick chooses which tenants' tasks are admitted next. It is a pure function: the
// same situation gives the same picks, in the same order.
//
// Each queue is filled up to twice its slots. Within it, start-time fair queueing:
// a tenant's virtual time grows by 1/weight with each task, and the tenant with the
// smallest one is next, but none counts as less than the system's clock, which is the
// start tag of the task dispatched last. So
//   - credit is not saved: a tenant that was idle, cooling or at its cap does not
//     come back with a claim on the whole fleet;
//   - bypass is bounded: between two picks of a waiting tenant of weight w, another of
//     weight v is picked at most ceil(v/w)+1 times.
//
// No tenant exceeds its cap, and nothing stays idle while an eligible tenant waits.
func Pick(s Situation) []catalog.Pick {
	clock := systemClock(s.Loads)
	picked := make(map[pickKey]int)
	virtual := make(map[tenantry.TenantID]float64)
	for _, l := range s.Loads {
		virtual[l.Tenant] = l.Virtual
	}
	left := s.Limit
	if left == 0 {
		left = int(^uint(0) >> 1)
	}
	var order []pickKey
	for _, q := range queues {
		free := min(left, ahead*s.Slots[q]-inFlight(s.Loads, q))
		line := newLine(s, q, clock, virtual)
		for ; free > 0 && line.Len() > 0; free-- {
			c := line.serve()
			key := pickKey{c.tenant, q}
			if picked[key] == 0 {
				order = append(order, key)
			}
			picked[key]++
			virtual[c.tenant] = c.tag
			left--
		}
	}
	picks := make([]catalog.Pick, 0, len(order))
	for _, key := range order {
		picks = append(picks, catalog.Pick{
			Tenant: key.tenant, Queue: key.queue, N: picked[key], Virtual: virtual[key.tenant],
		})
	}
	return picks
}

type pickKey struct {
	tenant tenantry.TenantID
	queue  string
}

// TenantCap is the number of tasks of one tenant that may be in flight in a queue with
// so many slots; configured 0 means the default.
func TenantCap(configured, slots int) int {
	if configured > 0 {
		return configured
	}
	return max(minCap, slots/2)
}

// Demand is how many slots the fleet could use right now, by queue: the sum over the
// tenants that are not cooling of their backlog and tasks in flight, at most their
// cap. It does not depend on how many slots there are, so a pool can be scaled by it
// (pending tasks cannot tell: the dispatcher bounds them).
func Demand(s Situation) map[string]int {
	demand := make(map[string]int)
	for _, l := range s.Loads {
		n := l.InFlight
		if !cooling(s, l.Tenant) {
			n = max(n, min(l.Ready+l.InFlight, TenantCap(s.TenantCap, s.Slots[l.Queue])))
		}
		demand[l.Queue] += n
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

func cooling(s Situation, t tenantry.TenantID) bool { return s.Cooling[t].After(s.Now) }

// step is what one task costs in virtual time.
func step(weight int) float64 {
	if weight == 0 {
		weight = defaultWeight
	}
	return 1 / float64(min(max(weight, minWeight), maxWeight))
}

// candidate is a tenant that may be served in a queue.
type candidate struct {
	tenant tenantry.TenantID
	tag    float64 // start tag of its next task
	raw    float64 // stored virtual time: who was served least goes first among equals
	step   float64
	room   int // how many more it may get: backlog and cap
}

// line is the heap of candidates, the next one first.
type line []candidate

func newLine(s Situation, q string, clock float64, virtual map[tenantry.TenantID]float64) *line {
	l := make(line, 0)
	limit := TenantCap(s.TenantCap, s.Slots[q])
	for _, load := range s.Loads {
		if load.Queue != q || cooling(s, load.Tenant) {
			continue
		}
		if room := min(load.Ready, limit-load.InFlight); room > 0 {
			raw := virtual[load.Tenant]
			l = append(l, candidate{
				tenant: load.Tenant, tag: max(raw, clock), raw: raw, step: step(load.Weight), room: room,
			})
		}
	}
	heap.Init(&l)
	return &l
}

// serve takes one task of the next candidate; the answer's tag is its new virtual time.
func (l *line) serve() candidate {
	c := &(*l)[0]
	c.tag += c.step
	c.raw = c.tag
	c.room--
	served := *c
	if c.room == 0 {
		heap.Pop(l)
	} else {
		heap.Fix(l, 0)
	}
	return served
}

func (l line) Len() int { return len(l) }

func (l line) Less(i, j int) bool {
	return cmp.Or(
		cmp.Compare(l[i].tag, l[j].tag),
		cmp.Compare(l[i].raw, l[j].raw),
		cmp.Compare(l[i].tenant, l[j].tenant),
	) < 0
}

func (l line) Swap(i, j int) { l[i], l[j] = l[j], l[i] }

// Push is part of heap.Interface; candidates only leave the line.
func (l *line) Push(x any) { *l = append(*l, x.(candidate)) }

// Pop is part of heap.Interface.
func (l *line) Pop() any {
	last := len(*l) - 1
	c := (*l)[last]
	*l = (*l)[:last]
	return c
}
