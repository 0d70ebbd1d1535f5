package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// limiterCalls is the worker's metric of limiter scripts that Redis was asked to run.
const limiterCalls = "tenantry_limiter_calls_total"

// startLatency asks an idle fleet for backups, one after the other, and takes from the
// simulator when the first request of each came.
func startLatency(f *fleet, t *tenant, n int) {
	f.t.Helper()
	users, err := list[struct{ ID string }](f, "/tenants/"+t.ID+"/resources?kind=user&state=active")
	if err != nil || len(users) == 0 {
		f.t.Fatalf("the users of %s: %v", t.sim.Name, err)
	}
	var took []float64
	f.sim.sync()
	for i := range n {
		f.sim.write(http.MethodDelete, "/stats", nil, nil)
		began := time.Now()
		var r run
		f.must(http.MethodPost, "/tenants/"+t.ID+"/runs", map[string]any{
			"resources": []string{users[i%len(users)].ID}, "workloads": []string{"drive"},
		}, &r)
		var used []account
		eventually(f.t, "the first request of a run", 20*time.Millisecond, func() bool {
			used = f.sim.accounts("sharepoint.minute", t.sim.ID)
			return len(used) > 0
		})
		took = append(took, f.sim.at(used[0].First).Sub(began).Seconds()*1000)
		t.run = r
		f.await([]*tenant{t}, time.Minute)
	}
	slices.Sort(took)
	row("queue.start_p50_ms", took[len(took)/2], "ms")
	row("queue.start_p99_ms", took[(len(took)*99-1)/100], "ms")
}

// smallSlowdown compares how long small tenants take by themselves with how long others
// like them take beside a giant whose tasks were there before.
func smallSlowdown(f *fleet, z size) {
	f.t.Helper()
	small := map[string]any{"users": 20, "filesPerUser": 0}
	alone := f.connect(f.sim.addTenants("alone", z.small, small), "drive")
	beside := f.connect(f.sim.addTenants("beside", z.small, small), "drive")
	giant := f.connect(f.sim.addTenants("giant", 1, map[string]any{"users": z.giant, "filesPerUser": 0}), "drive")

	without := f.lastDone(alone)
	f.due(giant)
	with := f.lastDone(beside)
	row("fleet.small_slowdown", with/without, "ratio")
	row("fleet.small_alone_s", without, "s")
	f.await(giant, 3*time.Minute)
}

// lastDone backs up tenants and returns the seconds until the last request of the last of
// them, by the simulator's counters.
func (f *fleet) lastDone(all []*tenant) float64 {
	f.t.Helper()
	f.sim.write(http.MethodDelete, "/stats", nil, nil)
	began := time.Now()
	f.due(all)
	f.await(all, 3*time.Minute)
	last, mine := 0.0, map[string]bool{}
	for _, t := range all {
		mine[t.sim.ID] = true
	}
	for _, a := range f.sim.accounts("sharepoint.minute", "") {
		if mine[a.Tenant] {
			last = max(last, a.Last)
		}
	}
	return f.sim.at(last).Sub(began).Seconds()
}

// recovery kills a worker that has tasks and waits until another one has each of them. The
// tenant has few, so that they do not wait for each other.
func recovery(f *fleet) {
	f.t.Helper()
	long := f.connect(f.sim.addTenants("long", 1, map[string]any{"users": 4, "mailsPerUser": 20_000}), "mailbox")
	f.backup(long)
	t := long[0]
	var victim *process
	eventually(f.t, "a worker has tasks", 50*time.Millisecond, func() bool {
		for _, victim = range f.workers {
			if len(f.tasksOf(t, victim.fleetName())) > 0 {
				return true
			}
		}
		return false
	})
	killed := time.Now()
	victim.kill()
	held := f.tasksOf(t, victim.fleetName()) // what it settled at the last moment is not lost
	if len(held) == 0 {
		f.t.Fatal("the killed worker held no task: the kill proved nothing")
	}
	last, back := time.Duration(0), map[string]bool{}
	eventually(f.t, "the tasks of a killed worker run again", 50*time.Millisecond, func() bool {
		for _, h := range held {
			var now task
			f.must(http.MethodGet, "/tenants/"+t.ID+"/runs/"+t.run.ID+"/tasks/"+h.ID, nil, &now)
			if !back[h.ID] && now.Process != h.Process && (now.State == "running" || now.State == "done") {
				back[h.ID], last = true, time.Since(killed)
			}
		}
		return len(back) == len(held)
	})
	row("queue.recover_s", last.Seconds(), "s")
}

// tasksOf are the tasks of a run that a process runs.
func (f *fleet) tasksOf(t *tenant, process string) (held []task) {
	f.t.Helper()
	all, err := list[task](f, "/tenants/"+t.ID+"/runs/"+t.run.ID+"/tasks")
	if err != nil {
		f.t.Fatal(err)
	}
	for _, x := range all {
		if x.State == "running" && x.Process == process {
			held = append(held, x)
		}
	}
	return held
}

// withoutBook does the same work with clients that have no account book, both at once,
// each on a simulator of its own.
func withoutBook(b *testing.B, s servers, z size, perMinute int64, drives int) {
	documented := float64(perMinute) * clock / 60
	sdk := newNaive(b, s, "naive_sdk", z, perMinute, drives)
	local := newNaive(b, s, "naive_local", z, perMinute, drives, "-per-second", strconv.FormatFloat(documented, 'f', 3, 64),
		"-burst", strconv.Itoa(int(documented)))
	sdk.wait()
	local.wait()
}

// naive is a fleet of processes that only retry.
type naive struct {
	b         *testing.B
	name      string
	sim       *simulator
	perMinute int64
	start     float64
	processes []*process
	longest   time.Duration
}

func newNaive(b *testing.B, s servers, name string, z size, perMinute int64, drives int, args ...string) *naive {
	n := &naive{b: b, name: name, perMinute: perMinute, sim: newSimulator(b, s, "graphsim of "+name, clock, scaled(perMinute), "--latency", latency)}
	n.longest = time.Duration(z.windows) * time.Minute / clock * 11 / 10
	shares := make([]bytes.Buffer, workers)
	for _, t := range equalTenants(n.sim, z.equal, drives) {
		n.sim.write(http.MethodPost, "/tenants/"+t.ID+"/consent", nil, nil)
		var users []simUser
		n.sim.read("/tenants/"+t.ID+"/users", &users)
		for i, u := range users {
			_ = json.NewEncoder(&shares[i%workers]).Encode(map[string]string{"tenant": t.ID, "user": u.ID})
		}
	}
	n.sim.drain()
	n.start = n.sim.now()
	for i := range shares {
		p := spawnWith(b, fmt.Sprint(name, i+1), &shares[i], []string{"NAIVE_CLIENT_SECRET=" + clientSecret}, filepath.Join(s.programs, "naive"),
			append([]string{"-url", n.sim.url, "-client-id", clientID}, args...)...)
		n.processes = append(n.processes, p)
	}
	return n
}

// wait waits for the clients, at most a tenth longer than the limits require, and prints what the
// simulator counted.
func (n *naive) wait() {
	n.b.Helper()
	cut := false
	timeout := time.After(n.longest - time.Duration((n.sim.now()-n.start)/clock*float64(time.Second)))
	for _, p := range n.processes {
		select {
		case <-p.done:
			if !cut && !p.cmd.ProcessState.Success() {
				n.b.Fatalf("%s failed:\n%s", p.name, p.log)
			}
		case <-timeout:
			cut = true
			fmt.Printf("# %s was cut off after %v with work left: its makespan is projected from its goodput.\n", n.name, n.longest)
			for _, p := range n.processes {
				p.kill()
			}
		}
	}
	m := measure(n.sim, n.perMinute, n.start)
	row("fleet."+n.name+"_goodput_ratio", m.goodput, "ratio")
	row("fleet."+n.name+"_throttled_ratio", m.throttled, "ratio")
	row("fleet."+n.name+"_makespan_ratio", m.makespan, "ratio")
}

// busy is a fleet at work within the documented limits, by the real clock: mailboxes and
// drives of many tenants, of which the drives meet their tenants' limits.
func busy(b *testing.B, s servers, z size) {
	sim := newSimulator(b, s, "graphsim", 1, nil, "--latency", "50ms", "--page-size", "10")
	f := newFleet(b, s, sim)
	defer f.stop()
	n := int(z.busySeconds)
	mails := f.connect(sim.addTenants("mails", n, map[string]any{"users": 10, "mailsPerUser": 400}), "mailbox")
	files := f.connect(sim.addTenants("files", n, map[string]any{"users": 4, "filesPerUser": 50, "fileSize": fileSize}), "drive")
	sim.drain()
	before := f.metric(limiterCalls)
	f.due(slices.Concat(mails, files))
	f.await(slices.Concat(mails, files), 3*time.Minute)
	requests, throttled := sim.traffic()
	calls := f.metric(limiterCalls) - before
	row("throttle.calls_per_redis_call", float64(requests)/calls, "ratio")
	row("throttle.busy_requests", float64(requests), "requests")
	row("throttle.busy_throttled", float64(throttled), "requests")
}

// peakHour plans one day of tenants of very different size, each with a policy over the
// whole day that begins when it likes, and compares the busiest hour with the mean.
func peakHour() {
	var hours [24]int
	total := 0
	day := time.Date(2026, time.March, 3, 0, 0, 0, 0, time.UTC)
	for i := range 1000 {
		users := 1 + 50_000/(i+1)
		p := catalog.Policy{At: i * 37 % 1440, Window: 1440, TimeZone: "UTC"}
		for u := range users {
			due := catalog.NextDue(p, tenantry.ResourceID(fmt.Sprintf("u-%d-%d", i, u)), tenantry.Mailbox, day)
			if due.Before(day.Add(24 * time.Hour)) {
				hours[due.Hour()]++
				total++
			}
		}
	}
	row("scheduler.peak_hour_ratio", float64(slices.Max(hours[:]))/(float64(total)/24), "ratio")
}
