package scheduler

import (
	"fmt"
	"math"
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
		Tenant: tenantry.TenantID(tenant), Queue: queue.Backup,
		Weight: weight, Ready: ready, InFlight: inFlight, Virtual: virtual,
	}
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
				Cooling: map[tenantry.TenantID]time.Time{"a": noon.Add(time.Minute), "b": noon},
				Loads:   []catalog.Load{backup("a", 10, 50, 0, 0), backup("b", 10, 50, 0, 0)},
			},
			map[string]int{"b": 8},
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
				got[string(p.Tenant)] += p.N
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
	want := []catalog.Pick{{Tenant: "a", Queue: queue.Interactive, N: 4, Virtual: 7.4}}
	if diff := cmp.Diff(want, picks, approx); diff != "" {
		t.Errorf("picks (-want +got):\n%s", diff)
	}
}

var approx = cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })

func TestDemandIgnoresSlotsAndCooling(t *testing.T) {
	s := Situation{
		Now: noon, TenantCap: 5,
		Cooling: map[tenantry.TenantID]time.Time{"c": noon.Add(time.Hour)},
		Loads: []catalog.Load{
			backup("a", 10, 500, 2, 0), // 5: its cap
			backup("b", 10, 1, 1, 0),   // 2
			backup("c", 10, 90, 1, 0),  // 1: cooling, what runs still runs
		},
	}
	if got := Demand(s)[queue.Backup]; got != 8 {
		t.Errorf("demand is %d, want 8", got)
	}
}

// situations draws what a leader can meet.
func situations(t *rapid.T) Situation {
	s := Situation{
		Now:       noon,
		Slots:     map[string]int{},
		Cooling:   map[tenantry.TenantID]time.Time{},
		TenantCap: rapid.IntRange(0, 12).Draw(t, "cap"),
	}
	for _, q := range queues {
		s.Slots[q] = rapid.IntRange(0, 20).Draw(t, "slots of "+q)
	}
	for i := range rapid.IntRange(0, 30).Draw(t, "tenants") {
		id := tenantry.TenantID(fmt.Sprintf("t%02d", i))
		weight := rapid.IntRange(0, 120).Draw(t, "weight")
		virtual := rapid.Float64Range(0, 1000).Draw(t, "virtual")
		if rapid.IntRange(0, 5).Draw(t, "cools") == 0 {
			s.Cooling[id] = noon.Add(time.Duration(rapid.IntRange(-5, 5).Draw(t, "for")) * time.Second)
		}
		for _, q := range rapid.SliceOfNDistinct(rapid.SampledFrom(queues), 1, 3, rapid.ID).Draw(t, "queues") {
			s.Loads = append(s.Loads, catalog.Load{
				Tenant: id, Queue: q, Weight: weight, Virtual: virtual,
				Ready:    rapid.IntRange(0, 40).Draw(t, "ready"),
				InFlight: rapid.IntRange(0, 14).Draw(t, "in flight"),
			})
		}
	}
	return s
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
			if p.N <= 0 || got[pickKey{p.Tenant, p.Queue}] > 0 {
				t.Fatalf("empty or repeated pick %+v", p)
			}
			got[pickKey{p.Tenant, p.Queue}] = p.N
			total[p.Queue] += p.N
		}
		waiting := map[string]bool{}
		for _, l := range s.Loads {
			n := got[pickKey{l.Tenant, l.Queue}]
			limit := TenantCap(s.TenantCap, s.Slots[l.Queue])
			if n > l.Ready {
				t.Fatalf("%s: picked %d of %d ready", l.Tenant, n, l.Ready)
			}
			if n > 0 && l.InFlight+n > limit {
				t.Fatalf("%s: %d in flight and %d picked, cap %d", l.Tenant, l.InFlight, n, limit)
			}
			if n > 0 && s.Cooling[l.Tenant].After(s.Now) {
				t.Fatalf("%s is cooling and got %d", l.Tenant, n)
			}
			eligible := !s.Cooling[l.Tenant].After(s.Now) && l.InFlight+n < limit && n < l.Ready
			waiting[l.Queue] = waiting[l.Queue] || eligible
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
