package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestFleetSurvivesTwoLostRedis takes everything away from Redis four times while fifty
// tenants are backed up: twice it is flushed under the running fleet, twice it is killed
// and started again empty. What is to be done stands in SQL: each time work goes on within
// 30 s, every series is sealed exactly once, and what was saved is what the simulator has.
func TestFleetSurvivesTwoLostRedis(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--tenants", "50", "--users", "1", "--groups", "0", "--sites", "0",
		"--mails", "6", "--files-per-user", "2", "--latency", "40ms")
	f.scheduler("scheduler")
	for i := range 2 {
		f.worker(fmt.Sprint("worker", i+1), "TENANTRY_SLOTS_INTERACTIVE=2", "TENANTRY_SLOTS_DIRECTORY=16", "TENANTRY_SLOTS_MAINTENANCE=16")
	}
	tenants, runs := f.backupMany()

	losses := []struct {
		name string
		lose func()
	}{
		{"flushed", f.flushRedis}, {"restarted", f.restartRedis}, {"flushed again", f.flushRedis}, {"restarted again", f.restartRedis},
	}
	for i, loss := range losses {
		// Each loss finds a further stretch of the run done, and much of it not.
		f.awaitEnded(tenants, runs, 8+16*i)
		loss.lose()
		lost, before := time.Now(), f.ended(tenants, runs)
		f.awaitEnded(tenants, runs, before+1)
		took := time.Since(lost)
		t.Logf("Redis was %s with %d of 100 tasks done; the next was done %v later", loss.name, before, took.Round(time.Millisecond))
		if before == 100 {
			t.Fatal("everything was done already: the loss proved nothing")
		}
		if took > 30*time.Second {
			t.Errorf("after Redis was %s nothing was done for %v", loss.name, took)
		}
	}
	for i, tn := range tenants {
		if r := f.awaitDone(tn, runs[i]); r.Tasks != 2 || r.Done != r.Tasks {
			t.Fatalf("%s: %d of %d tasks done", tn.Name, r.Done, r.Tasks)
		}
	}
	f.verifyAll(tenants)
}

// backupMany connects all simulated tenants side by side and starts a backup of each.
func (f *fleet) backupMany() (tenants []tenant, runs []run) {
	f.t.Helper()
	for _, sim := range f.simTenants() {
		t := f.add(sim)
		f.enable(t)
		f.consentAs(t, sim.ID, "accept")
		tenants = append(tenants, t)
	}
	for i := range tenants {
		f.awaitState(&tenants[i], "connected")
		f.awaitSyncs(tenants[i], 1)
	}
	policies := make([]string, len(tenants))
	for i, t := range tenants {
		policies[i] = f.policy(t)
	}
	for i, t := range tenants {
		runs = append(runs, f.backup(t, policies[i]))
	}
	return tenants, runs
}

// ended is how many tasks of the runs are done.
func (f *fleet) ended(tenants []tenant, runs []run) (n int) {
	f.t.Helper()
	for i, t := range tenants {
		r := runs[i]
		f.must("GET", "/tenants/"+t.ID+"/runs/"+r.ID, nil, &r)
		n += int(r.Done)
	}
	return n
}

func (f *fleet) awaitEnded(tenants []tenant, runs []run, least int) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("%d tasks are done", least), func() (bool, string) {
		n := f.ended(tenants, runs)
		return n >= least, fmt.Sprint(n)
	})
}

// flushRedis takes everything from a Redis that goes on running.
func (f *fleet) flushRedis() {
	f.t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: f.redis.Addr})
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := rdb.FlushAll(ctx).Err(); err != nil {
		f.t.Fatal(err)
	}
}

// restartRedis kills Redis and starts it again without any data.
func (f *fleet) restartRedis() {
	f.t.Helper()
	f.redis.Kill()
	f.redis.Start()
}
