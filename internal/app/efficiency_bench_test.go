package app

import (
	"context"
	"fmt"
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

// The size of the comparison: what one run takes, and what serves it.
const (
	noops       = 12_000
	noopTenants = 40
	noopWorkers = 4
	noopSlots   = 64
	noopSenders = 16
)

// BenchmarkEfficiency sends tasks that do nothing through scheduler, catalog, asynq and
// four workers, and the same number through raw asynq with four servers of as many slots,
// and prints the ratio of their rates. Neither has anything in Redis when it begins: ours
// stands in SQL, and raw asynq is sent it by one client, as many side by side as the leader
// does. What raw asynq serves when everything was sent before is printed beside.
func BenchmarkEfficiency(b *testing.B) {
	served := rawAsynq(b, true)
	raw := rawAsynq(b, false)
	ours := wholeFleet(b)
	fmt.Printf("queue.raw_served_per_s %.0f 1/s\n", served)
	fmt.Printf("queue.raw_tasks_per_s %.0f 1/s\n", raw)
	fmt.Printf("queue.fleet_tasks_per_s %.0f 1/s\n", ours)
	fmt.Printf("queue.efficiency %.2f ratio\n", ours/raw)
	fmt.Printf("queue.efficiency_of_served %.2f ratio\n", ours/served)
}

// rawAsynq sends tasks and serves them, and returns how many a second. before: they are all
// sent before the time begins.
func rawAsynq(b *testing.B, before bool) float64 {
	addr := servertest.Redis(b)
	client := asynq.NewClient(asynq.RedisClientOpt{Addr: addr})
	defer client.Close()
	var done atomic.Int64
	all := make(chan struct{})
	began := time.Now()
	if before {
		send(b, client)
		began = time.Now()
	}
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
	if !before {
		send(b, client)
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
