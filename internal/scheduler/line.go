package scheduler

import (
	"cmp"
	"container/heap"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// candidate is a tenant that may be served in one queue.
type candidate struct {
	tenant   tenantry.TenantID
	tag      float64 // start tag of its next task
	raw      float64 // stored virtual time: who was served least goes first among equals
	step     float64
	inFlight int    // of all its flows, cooling ones too
	flows    []lane // those that have room: they have tasks ready, and do not cool
}

// lane is one flow of a candidate.
type lane struct {
	service  tenantry.Service
	inFlight int
	room     int // how many more it may get: backlog and cap
}

// room is how many more tasks the flows of a tenant may get together, its own cap aside.
func (c *candidate) room() (n int) {
	for _, l := range c.flows {
		n += l.room
	}
	return n
}

// candidates gathers the tenants of a queue, in the order of the loads.
func candidates(s Situation, q string) []candidate {
	var list []candidate
	limit := TenantCap(s.TenantCap, s.Slots[q])
	at := make(map[tenantry.TenantID]int)
	for _, load := range s.Loads {
		if load.Queue != q {
			continue
		}
		i, seen := at[load.Tenant]
		if !seen {
			i = len(list)
			at[load.Tenant] = i
			list = append(list, candidate{tenant: load.Tenant, step: step(load.Weight)})
		}
		c := &list[i]
		c.inFlight += load.InFlight
		room := min(load.Ready, s.flowCap(load, limit)-load.InFlight)
		if room > 0 && !s.cooling(Flow{load.Tenant, load.Service}) {
			c.flows = append(c.flows, lane{load.Service, load.InFlight, room})
		}
	}
	return list
}

// line is the heap of candidates that may be served, the next one first.
type line struct {
	list  []candidate
	limit int // in flight per tenant
}

func newLine(s Situation, q string, clock float64, virtual map[tenantry.TenantID]float64) *line {
	l := &line{limit: TenantCap(s.TenantCap, s.Slots[q])}
	for _, c := range candidates(s, q) {
		if l.eligible(&c) {
			c.raw = virtual[c.tenant]
			c.tag = max(c.raw, clock)
			l.list = append(l.list, c)
		}
	}
	heap.Init(l)
	return l
}

func (l *line) eligible(c *candidate) bool { return len(c.flows) > 0 && c.inFlight < l.limit }

// serve takes one task of the next candidate. It returns its flow and the tenant's new
// virtual time.
func (l *line) serve() (Flow, float64) {
	c := &l.list[0]
	c.tag += c.step
	c.raw = c.tag
	c.inFlight++
	flow, tag := Flow{c.tenant, c.take()}, c.tag
	if l.eligible(c) {
		heap.Fix(l, 0)
	} else {
		heap.Pop(l)
	}
	return flow, tag
}

// take takes one task of the flow that has the least in flight, the first among equals.
func (c *candidate) take() tenantry.Service {
	least := 0
	for i, f := range c.flows {
		if f.inFlight < c.flows[least].inFlight {
			least = i
		}
	}
	f := &c.flows[least]
	f.inFlight++
	f.room--
	service := f.service
	if f.room == 0 {
		c.flows = append(c.flows[:least], c.flows[least+1:]...)
	}
	return service
}

func (l *line) Len() int { return len(l.list) }

func (l *line) Less(i, j int) bool {
	a, b := &l.list[i], &l.list[j]
	return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.raw, b.raw), cmp.Compare(a.tenant, b.tenant)) < 0
}

func (l *line) Swap(i, j int) { l.list[i], l.list[j] = l.list[j], l.list[i] }

// Push is part of heap.Interface; candidates only leave the line.
func (l *line) Push(x any) { l.list = append(l.list, x.(candidate)) }

// Pop is part of heap.Interface.
func (l *line) Pop() any {
	last := len(l.list) - 1
	c := l.list[last]
	l.list = l.list[:last]
	return c
}
