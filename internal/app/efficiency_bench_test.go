package app

import (
	"cmp"
	"context"
	"fmt"
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
func BenchmarkEfficiency(b *testing.B) {
	type round struct{ raw, ours float64 }
	rounds := make([]round, noopRounds)
	for i := range rounds {
		rounds[i] = round{rawAsynq(b), wholeFleet(b)}
	}
	slices.SortFunc(rounds, func(a, b round) int { return cmp.Compare(a.ours/a.raw, b.ours/b.raw) })
	middle := rounds[len(rounds)/2]
	fmt.Printf("queue.raw_tasks_per_s %.0f 1/s\n", middle.raw)
	fmt.Printf("queue.fleet_tasks_per_s %.0f 1/s\n", middle.ours)
	fmt.Printf("queue.efficiency %.2f ratio\n", middle.ours/middle.raw)
}

// rawAsynq serves tasks that were sent before, and returns how many a second.
func rawAsynq(b *testing.B) float64 {
	addr := servertest.Redis(b)
	client := asynq.NewClient(asynq.RedisClientOpt{Addr: addr})
	defer client.Close()
	send(b, client)
	var done atomic.Int64
	all := make(chan struct{})
	began := time.Now()
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
	return noops / time.Since(began).Seconds()
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
func wholeFleet(b *testing.B) float64 {
	ctx := b.Context()
	options := queue.Options{URL: servertest.Redis(b)}
	dsn := servertest.Postgres(b).Database(b)
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
	began := time.Now()
	check(b, s.Start(ctx))
	defer func() { _ = s.Stop(context.Background()) }()
	<-dir.all
	return noops / time.Since(began).Seconds()
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

func (d *idle) Target(context.Context, catalog.TenantRow, catalog.Resource, tenantry.Workload, tenantry.RestoreRequest) (engine.Target, error) {
	return nil, tenantry.Errorf(tenantry.Internal, "nothing is written")
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
