package scheduler

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func backup(tenant string, weight, ready, inFlight int, virtual float64) catalog.Load {
	return catalog.Load{
		Tenant: tenantry.TenantID(tenant), Queue: queue.Backup, Service: tenantry.Outlook,
		Weight: weight, Ready: ready, InFlight: inFlight, Virtual: virtual,
	}
}

// drives is the same load in the tenant's SharePoint flow.
func drives(l catalog.Load) catalog.Load {
	l.Service = tenantry.SharePoint
	return l
}

func TestPick(t *testing.T) {
	slots := map[string]int{queue.Backup: 4}
	tests := []struct {
		name string
		s    Situation
		want map[string]int
	}{
		{"nothing to do", Situation{Slots: slots}, map[string]int{}},
		{
			"no workers, no admission",
			Situation{Loads: []catalog.Load{backup("a", 10, 5, 0, 0)}},
			map[string]int{},
		},
		{
			"one tenant up to its cap",
			Situation{Slots: slots, TenantCap: 3, Loads: []catalog.Load{backup("a", 10, 50, 0, 0)}},
			map[string]int{"a": 3},
		},
		{
			"what is in flight counts",
			Situation{Slots: slots, TenantCap: 5, Loads: []catalog.Load{backup("a", 10, 50, 2, 1), backup("b", 10, 50, 5, 1)}},
			map[string]int{"a": 1},
		},
		{
			"equal weights share",
			Situation{Slots: slots, TenantCap: 8, Loads: []catalog.Load{backup("a", 10, 50, 0, 0), backup("b", 10, 50, 0, 0)}},
			map[string]int{"a": 4, "b": 4},
		},
		{
			"weights count",
			Situation{Slots: slots, TenantCap: 8, Loads: []catalog.Load{backup("a", 30, 50, 0, 0), backup("b", 10, 50, 0, 0)}},
			map[string]int{"a": 6, "b": 2},
		},
		{
			"a cooling tenant waits",
			Situation{
				Slots: slots, TenantCap: 8,
				Cooling: map[Flow]time.Time{{"a", tenantry.Outlook}: noon.Add(time.Minute), {"b", tenantry.Outlook}: noon},
				Loads:   []catalog.Load{backup("a", 10, 50, 0, 0), backup("b", 10, 50, 0, 0)},
			},
			map[string]int{"b": 8},
		},
		{
			"one flow that cools stops neither the tenant's other one nor other tenants' same one",
			Situation{
				Slots: slots, TenantCap: 6, Cooling: map[Flow]time.Time{{"a", tenantry.SharePoint}: noon.Add(time.Minute)},
				Loads: []catalog.Load{backup("a", 10, 50, 0, 0), drives(backup("a", 10, 50, 1, 0)), drives(backup("b", 10, 50, 0, 0))},
			},
			map[string]int{"a": 4, "b drives": 3},
		},
		{
			"a service that cools for the application cools for all tenants",
			Situation{
				Slots: slots, TenantCap: 6, Cooling: map[Flow]time.Time{{"", tenantry.SharePoint}: noon.Add(time.Minute)},
				Loads: []catalog.Load{backup("a", 10, 50, 0, 0), drives(backup("a", 10, 50, 0, 0)), drives(backup("b", 10, 50, 0, 0))},
			},
			map[string]int{"a": 6},
		},
		{
			"what asks nothing of Microsoft never cools",
			Situation{
				Slots: slots, TenantCap: 6, Cooling: map[Flow]time.Time{{}: noon.Add(time.Minute), {Tenant: "a"}: noon.Add(time.Minute)},
				Loads: []catalog.Load{{Tenant: "a", Queue: queue.Backup, Ready: 3}},
			},
			map[string]int{"a": 3},
		},
		{
			"two flows are no two shares",
			Situation{
				Slots: slots, TenantCap: 8,
				Loads: []catalog.Load{backup("a", 10, 50, 0, 0), drives(backup("a", 10, 50, 0, 0)), backup("b", 10, 50, 0, 0)},
			},
			map[string]int{"a": 2, "a drives": 2, "b": 4},
		},
		{
			"the flow that has less in flight goes first",
			Situation{
				Slots: slots, TenantCap: 8,
				Loads: []catalog.Load{backup("a", 10, 50, 3, 0), drives(backup("a", 10, 50, 1, 0))},
			},
			map[string]int{"a": 1, "a drives": 3},
		},
		{
			"an idle tenant's old virtual time is no claim on everything",
			Situation{Slots: slots, TenantCap: 8, Loads: []catalog.Load{backup("new", 10, 50, 0, 0), backup("old", 10, 50, 2, 900)}},
			map[string]int{"new": 4, "old": 2},
		},
		{
			"a large old virtual time is no debt for ever",
			Situation{Slots: slots, TenantCap: 8, Loads: []catalog.Load{backup("new", 10, 50, 0, 0), backup("old", 10, 50, 0, 900)}},
			map[string]int{"new": 5, "old": 3},
		},
		{
			"a probe is one task",
			Situation{Slots: slots, Limit: 1, Loads: []catalog.Load{backup("a", 10, 50, 0, 0), backup("b", 10, 50, 0, 0)}},
			map[string]int{"a": 1},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.s.Now = noon
			got := map[string]int{}
			for _, p := range Pick(test.s) {
				name := string(p.Tenant)
				if p.Service == tenantry.SharePoint {
					name += " drives"
				}
				got[name] += p.N
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("picks (-want +got):\n%s", diff)
			}
		})
	}
}

func TestQueuesDoNotCompete(t *testing.T) {
	a := backup("a", 10, 50, 8, 7)
	restore := a
	restore.Queue, restore.InFlight = queue.Interactive, 0
	picks := Pick(Situation{
		Now: noon, Loads: []catalog.Load{a, restore},
		Slots: map[string]int{queue.Backup: 4, queue.Interactive: 2},
	})
	want := []catalog.Pick{{Tenant: "a", Queue: queue.Interactive, Service: tenantry.Outlook, N: 4, Virtual: 7.4}}
	if diff := cmp.Diff(want, picks, approx); diff != "" {
		t.Errorf("picks (-want +got):\n%s", diff)
	}
}

var approx = cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })

func TestDemandIgnoresSlotsAndCooling(t *testing.T) {
	s := Situation{
		Now: noon, TenantCap: 5,
		Cooling: map[Flow]time.Time{{"c", tenantry.Outlook}: noon.Add(time.Hour)},
		Loads: []catalog.Load{
			backup("a", 10, 500, 2, 0),       // 5: its cap
			backup("b", 10, 1, 1, 0),         // 2
			backup("c", 10, 90, 1, 0),        // 1: cooling, what runs still runs
			drives(backup("c", 10, 2, 0, 0)), // 2: its drives do not cool
		},
	}
	if got := Demand(s)[queue.Backup]; got != 10 {
		t.Errorf("demand is %d, want 10", got)
	}
}

// situations draws what a leader can meet.
func situations(t *rapid.T) Situation {
	s := Situation{
		Now:       noon,
		Slots:     map[string]int{},
		Cooling:   map[Flow]time.Time{},
		TenantCap: rapid.IntRange(0, 12).Draw(t, "cap"),
	}
	for _, q := range queues {
		s.Slots[q] = rapid.IntRange(0, 20).Draw(t, "slots of "+q)
	}
	cools := func(f Flow) {
		if rapid.IntRange(0, 5).Draw(t, "cools") == 0 {
			s.Cooling[f] = noon.Add(time.Duration(rapid.IntRange(-5, 5).Draw(t, "for")) * time.Second)
		}
	}
	if rapid.Bool().Draw(t, "budgets are known") {
		s.Rate = func(service tenantry.Service, _, licences int64) float64 {
			if service != tenantry.SharePoint {
				return 0
			}
			return float64(licences)
		}
	}
	services := []tenantry.Service{tenantry.NoService, tenantry.Outlook, tenantry.SharePoint}
	for _, service := range services {
		cools(Flow{Service: service})
	}
	for i := range rapid.IntRange(0, 30).Draw(t, "tenants") {
		id := tenantry.TenantID(fmt.Sprintf("t%02d", i))
		weight := rapid.IntRange(0, 120).Draw(t, "weight")
		virtual := rapid.Float64Range(0, 1000).Draw(t, "virtual")
		for _, service := range services {
			cools(Flow{id, service})
		}
		for _, q := range rapid.SliceOfNDistinct(rapid.SampledFrom(queues), 1, 3, rapid.ID).Draw(t, "queues") {
			for _, service := range rapid.SliceOfNDistinct(rapid.SampledFrom(services), 1, 3, rapid.ID).Draw(t, "services") {
				s.Loads = append(s.Loads, catalog.Load{
					Tenant: id, Queue: q, Service: service, Weight: weight, Virtual: virtual,
					Ready:    rapid.IntRange(0, 40).Draw(t, "ready"),
					InFlight: rapid.IntRange(0, 14).Draw(t, "in flight"),
					Licences: rapid.Int64Range(0, 50).Draw(t, "rate"),
					Seconds:  rapid.Float64Range(0, 10).Draw(t, "seconds"),
					Units:    rapid.Float64Range(0, 100).Draw(t, "units"),
				})
			}
		}
	}
	return s
}

// cold says in the test's own words what cools: a flow, or its service everywhere.
func cold(s Situation, l catalog.Load) bool {
	for f, until := range s.Cooling {
		if f.Service == l.Service && f.Service != "" && (f.Tenant == "" || f.Tenant == l.Tenant) && until.After(s.Now) {
			return true
		}
	}
	return false
}

func TestPickProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := situations(t)
		picks := Pick(s)
		if diff := cmp.Diff(picks, Pick(s)); diff != "" {
			t.Fatalf("not deterministic:\n%s", diff)
		}
		got := map[pickKey]int{}
		total := map[string]int{}
		for _, p := range picks {
			key := pickKey{Flow{p.Tenant, p.Service}, p.Queue}
			if p.N <= 0 || got[key] > 0 {
				t.Fatalf("empty or repeated pick %+v", p)
			}
			got[key] = p.N
			total[p.Queue] += p.N
		}
		type share struct {
			tenant tenantry.TenantID
			queue  string
		}
		flight, picked := map[share]int{}, map[share]int{}
		for _, l := range s.Loads {
			n := got[pickKey{Flow{l.Tenant, l.Service}, l.Queue}]
			if n > l.Ready {
				t.Fatalf("%s: picked %d of %d ready", l.Tenant, n, l.Ready)
			}
			if most := s.flowCap(l, TenantCap(s.TenantCap, s.Slots[l.Queue])); n > 0 && l.InFlight+n > most {
				t.Fatalf("%s %s: %d in flight and %d picked, flow's cap %d", l.Tenant, l.Service, l.InFlight, n, most)
			}
			if n > 0 && cold(s, l) {
				t.Fatalf("%s %s is cooling and got %d", l.Tenant, l.Service, n)
			}
			flight[share{l.Tenant, l.Queue}] += l.InFlight + n
			picked[share{l.Tenant, l.Queue}] += n
		}
		for who, n := range picked {
			if limit := TenantCap(s.TenantCap, s.Slots[who.queue]); n > 0 && flight[who] > limit {
				t.Fatalf("%v: %d in flight with %d picked, cap %d", who, flight[who], n, limit)
			}
		}
		waiting := map[string]bool{}
		for _, l := range s.Loads {
			n := got[pickKey{Flow{l.Tenant, l.Service}, l.Queue}]
			limit := TenantCap(s.TenantCap, s.Slots[l.Queue])
			room := flight[share{l.Tenant, l.Queue}] < limit && l.InFlight+n < s.flowCap(l, limit)
			waiting[l.Queue] = waiting[l.Queue] || n < l.Ready && room && !cold(s, l)
		}
		for _, q := range queues {
			room := ahead*s.Slots[q] - inFlight(s.Loads, q)
			if total[q] > max(0, room) {
				t.Fatalf("%s: picked %d with room for %d", q, total[q], room)
			}
			if waiting[q] && total[q] < room {
				t.Fatalf("%s: not work conserving: picked %d with room for %d while an eligible tenant waits", q, total[q], room)
			}
		}
	})
}

// fleet plays a fleet over many ticks: tasks end in any order, tenants come and go.
type fleet struct {
	loads map[tenantry.TenantID]*catalog.Load
	order []tenantry.TenantID
	done  map[tenantry.TenantID]int
	slots int
	limit int
}

func (f *fleet) tick() []catalog.Pick {
	s := Situation{Now: noon, Slots: map[string]int{queue.Backup: f.slots}, TenantCap: f.limit}
	for _, id := range f.order {
		if l := f.loads[id]; l.Ready > 0 || l.InFlight > 0 {
			s.Loads = append(s.Loads, *l)
		}
	}
	picks := Pick(s)
	for _, p := range picks {
		l := f.loads[p.Tenant]
		l.Ready -= p.N
		l.InFlight += p.N
		l.Virtual = p.Virtual
		f.done[p.Tenant] += p.N
	}
	return picks
}

// Nobody starves and bypass is bounded: between two picks of a tenant that always has
// work and room, any other gets at most ceil(v/w)+1 per started pick of it.
// A count that was cut short either gives the picks of the whole one, or says that it may not.
func TestAGlanceTells(t *testing.T) {
	two := Situation{
		Slots: map[string]int{queue.Backup: 4}, TenantCap: 8,
		Loads: []catalog.Load{backup("a", 10, 3, 0, 0), backup("b", 10, 3, 0, 0)},
	}
	if picks := Pick(two); two.tells(picks, 3) || !two.tells(picks, 4) {
		t.Errorf("picks of all that was counted tell only when nothing was left out: %+v", picks)
	}
	rapid.Check(t, func(t *rapid.T) {
		whole := situations(t)
		depth := rapid.IntRange(1, 20).Draw(t, "depth")
		glance := whole
		glance.Loads = slices.Clone(whole.Loads)
		for i := range glance.Loads {
			l := &glance.Loads[i]
			l.Ready = min(l.Ready, depth)
		}
		picks := Pick(glance)
		if !glance.tells(picks, depth) {
			return
		}
		if diff := cmp.Diff(Pick(whole), picks); diff != "" {
			t.Fatalf("a glance of %d gives other picks:\n%s", depth, diff)
		}
	})
}

func TestNobodyStarves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(t, "tenants")
		f := &fleet{
			loads: map[tenantry.TenantID]*catalog.Load{}, done: map[tenantry.TenantID]int{},
			slots: rapid.IntRange(1, 6).Draw(t, "slots"), limit: 1000,
		}
		for i := range n {
			l := backup(fmt.Sprintf("t%02d", i), rapid.IntRange(1, 20).Draw(t, "weight"), 1<<20, 0,
				rapid.Float64Range(0, 500).Draw(t, "virtual"))
			f.loads[l.Tenant] = &l
			f.order = append(f.order, l.Tenant)
		}
		for round := range 60 {
			f.tick()
			for _, id := range f.order {
				l := f.loads[id]
				l.InFlight -= rapid.IntRange(0, l.InFlight).Draw(t, "ended")
				if round%7 == 3 && rapid.Bool().Draw(t, "all of it") {
					l.InFlight = 0
				}
			}
		}
		for id := range f.loads {
			for other := range f.loads {
				w, v := f.loads[id].Weight, f.loads[other].Weight
				if most := (f.done[id] + 1) * ((v+w-1)/w + 1); f.done[other] > most+1 {
					t.Fatalf("%s (weight %d) got %d while %s (weight %d) got %d: more than %d",
						id, w, f.done[id], other, v, f.done[other], most)
				}
			}
		}
	})
}

// Cooling is no starvation and no advantage: a tenant of which one flow at a time cools, any
// of them, for any stretch, is bypassed no more than one of which none does.
func TestCoolingFlowsStarveNobody(t *testing.T) {
	services := []tenantry.Service{tenantry.Outlook, tenantry.SharePoint}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 8).Draw(t, "tenants")
		s := Situation{Now: noon, TenantCap: 1000, Slots: map[string]int{queue.Backup: rapid.IntRange(1, 6).Draw(t, "slots")}}
		for i := range n {
			weight := rapid.IntRange(1, 20).Draw(t, "weight")
			for _, service := range services {
				l := backup(fmt.Sprintf("t%02d", i), weight, 1<<20, 0, 0)
				l.Service = service
				s.Loads = append(s.Loads, l)
			}
		}
		done := map[tenantry.TenantID]int{}
		for range 60 {
			s.Cooling = map[Flow]time.Time{}
			for i := 0; i < len(s.Loads); i += len(services) {
				if which := rapid.IntRange(0, len(services)).Draw(t, "cools"); which < len(services) {
					s.Cooling[Flow{s.Loads[i].Tenant, services[which]}] = noon.Add(time.Second)
				}
			}
			for _, p := range Pick(s) {
				done[p.Tenant] += p.N
				for i := range s.Loads {
					if s.Loads[i].Tenant == p.Tenant {
						s.Loads[i].Virtual = p.Virtual
					}
				}
			}
		}
		for i := 0; i < len(s.Loads); i += len(services) {
			for j := 0; j < len(s.Loads); j += len(services) {
				a, b := s.Loads[i], s.Loads[j]
				w, v := a.Weight, b.Weight
				if most := (done[a.Tenant]+1)*((v+w-1)/w+1) + 1; done[b.Tenant] > most {
					t.Fatalf("%s (weight %d) got %d while %s (weight %d) got %d: more than %d", a.Tenant, w, done[a.Tenant], b.Tenant, v, done[b.Tenant], most)
				}
			}
		}
	})
}

// Over a long time with enough work, service follows the weights.
func TestWeightsAreHonoured(t *testing.T) {
	f := &fleet{loads: map[tenantry.TenantID]*catalog.Load{}, done: map[tenantry.TenantID]int{}, slots: 10, limit: 1000}
	weights := map[tenantry.TenantID]int{"bronze": 5, "silver": 10, "gold": 40}
	for _, id := range []tenantry.TenantID{"bronze", "gold", "silver"} {
		l := backup(string(id), weights[id], 1<<30, 0, 0)
		f.loads[id], f.order = &l, append(f.order, id)
	}
	for range 500 {
		f.tick()
		for _, l := range f.loads {
			l.InFlight -= (l.InFlight + 1) / 2
		}
	}
	per := float64(f.done["bronze"]+f.done["silver"]+f.done["gold"]) / 55
	for id, w := range weights {
		if share := float64(f.done[id]) / (per * float64(w)); share < 0.95 || share > 1.05 {
			t.Errorf("%s with weight %d got %.2f of its share", id, w, share)
		}
	}
}

// The large tenant that came first does not hold up two hundred small ones.
func TestSmallTenantsPassALargeOne(t *testing.T) {
	f := &fleet{loads: map[tenantry.TenantID]*catalog.Load{}, done: map[tenantry.TenantID]int{}, slots: 16}
	big := backup("big", 10, 6000, 0, 0)
	f.loads["big"], f.order = &big, []tenantry.TenantID{"big"}
	f.tick()
	for i := range 200 {
		l := backup(fmt.Sprintf("small%03d", i), 10, 20, 0, 0)
		f.loads[l.Tenant], f.order = &l, append(f.order, l.Tenant)
	}
	served := 0
	for round := 0; served < 200*20; round++ {
		for _, l := range f.loads {
			l.InFlight = 0
		}
		for _, p := range f.tick() {
			if p.Tenant != "big" {
				served += p.N
			}
		}
		// 4,000 small tasks, 32 a tick, and the large tenant's own share of one in 201.
		if round > 130 {
			t.Fatalf("after %d ticks only %d of 4000 small tasks were served; big got %d", round, served, f.done["big"])
		}
	}
}

func TestFlowCap(t *testing.T) {
	for _, test := range []struct {
		name           string
		rate           float64
		units, seconds float64
		want           int
	}{
		{"nothing bounds the flow as a whole", 0, 30, 1, 32},
		{"nothing is known of its pace", 20, 0, 0, 4},
		{"one large drive spends the whole budget", 20, 3000, 120, minFlow},
		{"drives without changes", 20, 3, 0.15, 3},
		{"a large tenant's drives without changes", 100, 3, 0.15, 15},
		{"never more than the tenant may have", 100, 1, 10, 32},
		{"nonsense of a clock is no number", 20, 1e-300, 1e300, 32},
	} {
		got := FlowCap(test.rate, catalog.Load{Units: test.units, Seconds: test.seconds}, 32)
		if got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

// A flow's cap, found from how its tasks fare under that same cap, keeps the budget busy
// and comes to rest: waiting for the budget is not taken for work that needs more slots.
func TestFlowCapComesToRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 64
		rate := rapid.Float64Range(1, 200).Draw(t, "units a second")
		units := rapid.Float64Range(1, 200).Draw(t, "units of a task")
		alone := rapid.Float64Range(0.05, 30).Draw(t, "seconds of a task alone")
		needed := rate / units * (alone + turnaround) // in flight, to spend the whole budget
		l := catalog.Load{}
		k := 0
		for range 200 {
			k = FlowCap(rate, l, most)
			// Tasks in flight share the budget: they last as long as it makes them.
			l.Units, l.Seconds = units, max(alone, float64(k)*units/rate-turnaround)
		}
		if float64(k) < min(math.Floor(needed), most) {
			t.Fatalf("%d in flight leave the budget idle: it takes %.1f", k, needed)
		}
		if float64(k) > max(firstFlow, needed) {
			t.Fatalf("%d in flight only wait: %.1f spend the whole budget", k, needed)
		}
	})
}

func BenchmarkPick(b *testing.B) {
	s := Situation{Now: noon, Slots: map[string]int{queue.Backup: 1000}}
	for i := range 5000 {
		s.Loads = append(s.Loads, backup(fmt.Sprintf("t%04d", i), 10, 400, 0, float64(i%17)/10))
	}
	for b.Loop() {
		if len(Pick(s)) == 0 {
			b.Fatal("no picks")
		}
	}
}
