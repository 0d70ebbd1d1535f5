package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/servertest"
)

// size is how much is measured.
type size struct {
	windows     int // of the binding account, at least
	equal       int // tenants with equal work
	small       int // tenants of 20 drives beside the giant
	giant       int // drives of the giant
	starts      int // run-now requests
	busySeconds float64
}

func sizes() size {
	if os.Getenv(quickEnv) != "" {
		return size{windows: 4, equal: 4, small: 30, giant: 750, starts: 20, busySeconds: 5}
	}
	return size{windows: 10, equal: 4, small: 200, giant: 5000, starts: 100, busySeconds: 15}
}

// clock is how many times faster the simulator's windows are: a minute is 12 s.
const clock = 5

// The work of a drive: it is found among the user's (2 units), listed (2) and each file is
// read (1), small enough that the requests count and not the bytes.
const (
	filesPerDrive = 16
	unitsPerDrive = filesPerDrive + 4
	fileSize      = 2_000
	latency       = "10ms"
)

// BenchmarkFleet prints the rows of the issue that need a fleet of processes.
func BenchmarkFleet(b *testing.B) {
	s := servers{programs: build(b), postgres: servertest.Postgres(b)}
	z := sizes()
	capacity := withoutLimits(b, s, z)
	perMinute := allowance(capacity, z)
	drives := int(math.Ceil(float64(z.windows) * float64(perMinute) / unitsPerDrive))
	withLimits(b, s, z, perMinute, drives)
	withoutBook(b, s, z, perMinute, drives)
	busy(b, s, z)
	peakHour()
}

func row(name string, value float64, unit string) {
	digits := 3
	if math.Abs(value) >= 100 {
		digits = 0
	}
	fmt.Printf("%s %.*f %s\n", name, digits, value, unit)
}

// allowance is what each of the equal tenants may use in a simulated minute: together at
// most half of what the machine does without limits, and no more than is documented for
// the smallest tenants.
func allowance(capacity float64, z size) int64 {
	return min(1250, int64(capacity/2*60/clock/float64(z.equal)))
}

// equalTenants is the same work for whoever is measured.
func equalTenants(sim *simulator, n, drives int) []simTenant {
	return sim.addTenants("equal", n, map[string]any{"users": drives, "filesPerUser": filesPerDrive, "fileSize": fileSize})
}

// withoutLimits measures what this machine does, and all that is about the fleet and not
// about Microsoft's limits. It returns SharePoint units a second.
func withoutLimits(b *testing.B, s servers, z size) (capacity float64) {
	sim := newSimulator(b, s, "graphsim", 1, boundless(), "--latency", latency)
	f := newFleet(b, s, sim)
	defer f.stop()
	all := f.connect(equalTenants(sim, z.equal, 120), "drive")
	sim.drain()
	f.backup(all)
	f.await(all, 2*time.Minute)
	var units int64
	first, last := math.Inf(1), 0.0
	for _, a := range sim.accounts("sharepoint.minute", "") {
		units += a.Used
		first, last = min(first, a.First), max(last, a.Last)
	}
	capacity = float64(units) / (last - first)
	row("fleet.capacity_units_per_s", capacity, "1/s")
	startLatency(f, all[0], z.starts)
	smallSlowdown(f, z)
	recovery(f)
	return capacity
}

// withLimits runs the fleet against limits that bind.
func withLimits(b *testing.B, s servers, z size, perMinute int64, drives int) {
	sim := newSimulator(b, s, "graphsim", clock, scaled(perMinute), "--latency", latency)
	f := newFleet(b, s, sim)
	defer f.stop()
	all := f.connect(equalTenants(sim, z.equal, drives), "drive")
	sim.drain()
	before, calls := f.cpu(s), f.metric(limiterCalls)
	start, began := sim.now(), time.Now()
	f.backup(all)
	f.await(all, 5*time.Minute)
	took := time.Since(began).Seconds()
	m := measure(sim, perMinute, start)
	row("fleet.goodput_ratio", m.goodput, "ratio")
	row("fleet.throttled_ratio", m.throttled, "ratio")
	row("fleet.makespan_ratio", m.makespan, "ratio")
	row("fleet.jain", m.jain, "ratio")
	requests, _ := sim.traffic()
	row("fleet.requests", float64(requests), "requests")
	row("fleet.requests_per_s", float64(requests)/took, "1/s")
	row("fleet.allowed_units_per_s", float64(perMinute)*float64(z.equal)*clock/60, "1/s")
	row("fleet.windows", m.windows, "windows")
	row("fleet.scaled_calls_per_redis_call", float64(requests)/(f.metric(limiterCalls)-calls), "ratio")
	after := f.cpu(s)
	for _, name := range sorted(after) {
		row("fleet.cpu_"+name, (after[name]-before[name])/took, "cores")
	}
	fmt.Printf("# %d tenants of %d drives, %d requests each; %d SharePoint units per tenant and simulated minute (documented: 1,250), which lasts %d s. A download by a pre-authenticated URL costs a unit; throttled requests block nobody.\n",
		z.equal, drives, filesPerDrive+2, perMinute, 60/clock)
}

func sorted[V any](m map[string]V) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	return names
}

// usage is what the simulator's counters say of a run.
type usage struct{ goodput, throttled, makespan, jain, windows float64 }

// measure reads the simulator's accounts: start is when the work was there, in its seconds.
func measure(sim *simulator, perMinute int64, start float64) usage {
	var list []account
	for _, a := range sim.accounts("sharepoint.minute", "") {
		if a.Used > perMinute { // not what connecting left behind
			list = append(list, a)
		}
	}
	requests, throttled := sim.traffic()
	u := ratios(list, float64(perMinute), start)
	u.throttled = float64(throttled) / float64(max(requests, 1))
	return u
}

// ratios computes goodput, makespan and fairness of accounts that all may use so much in
// a minute. An account has work from start to its last request.
func ratios(list []account, perMinute, start float64) (u usage) {
	if len(list) == 0 {
		return u
	}
	const minute = 60
	var used, allowed, longest float64
	end, shortest := 0.0, math.Inf(1)
	for _, a := range list {
		used += float64(a.Used)
		allowed += (a.Last - start) / minute * perMinute
		longest = max(longest, float64(a.Used)/perMinute*minute)
		end, shortest = max(end, a.Last), min(shortest, a.Last)
	}
	u.goodput, u.makespan, u.windows = used/allowed, (end-start)/longest, (end-start)/minute
	u.jain = jain(shares(list, start, shortest))
	return u
}

// shares is what each account got in the windows that lie wholly between two times.
func shares(list []account, from, to float64) []float64 {
	got := make([]float64, len(list))
	for i, a := range list {
		for _, w := range a.Windows {
			if float64(w.Start) >= from && float64(w.Start+a.Seconds) <= to {
				got[i] += float64(w.Used)
			}
		}
	}
	return got
}

// jain is Jain's index of fairness: 1 if all shares are equal, 1/n if one has all.
func jain(shares []float64) float64 {
	var sum, squares float64
	for _, x := range shares {
		sum += x
		squares += x * x
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(shares)) * squares)
}
