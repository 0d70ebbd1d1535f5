package app

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/scheduler"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/worker"
)

// The size of the comparison: what one run takes, what serves it, and how often each runs.
const (
	noops       = 12_000
	noopTenants = 40
	noopWorkers = 4
	noopSlots   = 64
	noopSenders = 16
	noopRounds  = 3
)

// BenchmarkEfficiency sends tasks that do nothing through scheduler, catalog, asynq and
// four workers, and the same number through raw asynq with four servers of as many slots,
// in turns, and prints the ratio of their rates: that of the middle round, since who else
// works on the machine disturbs one of them alone.
//
// It takes the harder reading of "raw asynq": all of its tasks stand in Redis before the
// time begins, so that sending them costs it nothing. Ours stand in SQL then; that they are
// admitted, sent and claimed is within their time.
//
// Both have the garbage collector as workers and schedulers set it.
func BenchmarkEfficiency(b *testing.B) {
	defer newCollector(heapFloor).end()
	type round struct{ raw, ours served }
	rounds := make([]round, noopRounds)
	for i := range rounds {
		rounds[i] = round{rawAsynq(b), wholeFleet(b)}
	}
	slices.SortFunc(rounds, func(a, b round) int { return cmp.Compare(a.ours.rate/a.raw.rate, b.ours.rate/b.raw.rate) })
	middle := rounds[len(rounds)/2]
	fmt.Printf("queue.raw_tasks_per_s %.0f 1/s\n", middle.raw.rate)
	fmt.Printf("queue.fleet_tasks_per_s %.0f 1/s\n", middle.ours.rate)
	fmt.Printf("queue.raw_cpu_us %.0f us\n", middle.raw.cpu())
	fmt.Printf("queue.fleet_cpu_us %.0f us\n", middle.ours.cpu())
	fmt.Printf("# CPU of a task: raw asynq %s; the fleet %s.\n", middle.raw, middle.ours)
	fmt.Printf("queue.efficiency %.2f ratio\n", middle.ours.rate/middle.raw.rate)
}

// served is how many tasks were done a second, and the CPU time that each of them cost, in
// microseconds: of Redis, of Postgres, and of this process, which is everybody else.
type served struct{ rate, redis, postgres, own float64 }

func (s served) cpu() float64 { return s.redis + s.postgres + s.own }

func (s served) String() string {
	return fmt.Sprintf("Redis %.0f us, Postgres %.0f, the rest %.0f", s.redis, s.postgres, s.own)
}

// measure measures the tasks that are served from now on until the function is called that it
// returns. postgres may be nil.
func measure(redis *servertest.RedisServer, postgres *servertest.PostgresServer) func() served {
	read := func() (of [3]time.Duration) {
		of[0] = redis.CPU()
		if postgres != nil {
			of[1] = postgres.CPU()
		}
		of[2] = servertest.CPU(os.Getpid()) - of[0] - of[1]
		return of
	}
	before, began := read(), time.Now()
	return func() served {
		took, after := time.Since(began), read()
		each := func(i int) float64 { return float64((after[i] - before[i]).Microseconds()) / noops }
		return served{rate: noops / took.Seconds(), redis: each(0), postgres: each(1), own: each(2)}
	}
}

// rawAsynq serves tasks that were sent before, and returns how many a second.
func rawAsynq(b *testing.B) served {
	redis := servertest.StartRedis(b)
	addr := redis.Addr
	client := asynq.NewClient(asynq.RedisClientOpt{Addr: addr})
	defer client.Close()
	send(b, client)
	var done atomic.Int64
	all := make(chan struct{})
	end := measure(redis, nil)
	for range noopWorkers {
		s := asynq.NewServer(asynq.RedisClientOpt{Addr: addr}, asynq.Config{
			Concurrency: noopSlots, TaskCheckInterval: 100 * time.Millisecond, LogLevel: asynq.FatalLevel,
		})
		check(b, s.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
			if done.Add(1) == noops {
				close(all)
			}
			return nil
		})))
		defer s.Shutdown()
	}
	<-all
	return end()
}

// send enqueues all tasks of the comparison.
func send(b *testing.B, client *asynq.Client) {
	b.Helper()
	group := errgroup.Group{}
	group.SetLimit(noopSenders)
	for i := range noops {
		group.Go(func() error {
			task := asynq.NewTask("noop", fmt.Appendf(nil, `{"task":"%d"}`, i))
			_, err := client.Enqueue(task, asynq.MaxRetry(0), asynq.Retention(time.Hour))
			return err
		})
	}
	check(b, group.Wait())
}

// wholeFleet runs as many tasks, which stand in SQL before, to their end.
func wholeFleet(b *testing.B) served {
	ctx := b.Context()
	redis, postgres := servertest.StartRedis(b), servertest.Postgres(b)
	options := queue.Options{URL: redis.Addr}
	dsn := postgres.Database(b)
	cat, err := catalog.Open(ctx, dsn)
	check(b, err)
	defer cat.Close()
	tasks := make([]catalog.NewTask, noops/noopTenants)
	for i := range tasks {
		tasks[i] = catalog.NewTask{Action: tenantry.Connect, Queue: queue.Backup, Params: []byte(`{"directory":"d"}`)}
	}
	for i := range noopTenants {
		id := tenantry.TenantID(fmt.Sprint("t-", i))
		check(b, cat.Fleet().AddTenant(ctx, catalog.TenantRow{ID: id, State: tenantry.TenantConnected, NextSyncAt: time.Now().Add(time.Hour)}))
		_, err := cat.Tenant(id).StartRun(ctx, tenantry.Connect, catalog.TriggerManual, "", tasks, time.Now())
		check(b, err)
	}
	dir := &idle{all: make(chan struct{})}
	for range noopWorkers {
		mine, err := catalog.Open(ctx, dsn)
		check(b, err)
		defer mine.Close()
		w, err := worker.New(worker.Config{
			Catalog: mine, Queue: options, Repositories: dir, Workloads: dir, Directory: dir, Log: zap.NewNop().Sugar(),
			Slots: map[string]int{queue.Backup: noopSlots},
		})
		check(b, err)
		check(b, w.Start(ctx))
		defer func() { _ = w.Drain(context.Background()) }()
	}
	deliveries, err := queue.NewClient(options)
	check(b, err)
	defer deliveries.Close()
	s, err := scheduler.New(scheduler.Config{Catalog: cat, Deliveries: deliveries, Log: zap.NewNop().Sugar()})
	check(b, err)
	end := measure(redis, postgres)
	check(b, s.Start(ctx))
	defer func() { _ = s.Stop(context.Background()) }()
	<-dir.all
	return end()
}

// idle is a directory whose connects do nothing, and the rest of a worker's needs.
type idle struct {
	done atomic.Int64
	all  chan struct{}
}

func (d *idle) Register(context.Context, tenantry.TenantID) (time.Time, error) {
	return time.Time{}, nil
}

func (d *idle) Connect(context.Context, tenantry.TenantID, tenantry.ConnectRequest) error {
	if d.done.Add(1) == noops {
		close(d.all)
	}
	return nil
}

func (d *idle) Sync(context.Context, tenantry.TenantID) (tenantry.Counts, error) {
	return tenantry.Counts{}, nil
}

func (d *idle) Open(context.Context, tenantry.TenantID) (*repository.Repository, error) {
	return nil, tenantry.Errorf(tenantry.Internal, "nothing is stored")
}

func (d *idle) Source(context.Context, catalog.TenantRow, catalog.Resource, tenantry.Workload, tenantry.BackupOptions) (engine.Source, error) {
	return nil, tenantry.Errorf(tenantry.Internal, "nothing is read")
}

func (d *idle) EndUploads(context.Context, catalog.TenantRow) error { return nil }

func (d *idle) Target(context.Context, catalog.TenantRow, tenantry.TaskID, catalog.Resource, tenantry.Workload, tenantry.RestoreRequest) (engine.Target, error) {
	return nil, tenantry.Errorf(tenantry.Internal, "nothing is written")
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
