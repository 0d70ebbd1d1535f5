package app

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// A worker was told by SharePoint to wait: a scheduler without any credential admits the
// tenant's mailboxes, leaves its drives until the time has passed, and delivers nothing
// twice or in vain.
func TestSchedulerKnowsWhatCools(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED because of -short: starts a Redis and a scheduler")
	}
	ctx := t.Context()
	cfg := Defaults()
	cfg.Redis, cfg.Catalog = servertest.Redis(t), catalogtest.SQLite(t)
	cfg.Listen, cfg.ClientID = "127.0.0.1:0", "app"
	if err := cfg.Validate(RoleScheduler); err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Open(ctx, cfg.Catalog)
	must(t, err)
	t.Cleanup(func() { _ = cat.Close() })
	rdb, err := queue.Options{URL: cfg.Redis}.RedisClient()
	must(t, err)
	t.Cleanup(func() { _ = rdb.Close() })

	const tenant tenantry.TenantID = "t-1"
	run := sixTasks(t, cat, tenant)
	must(t, cat.Fleet().Beat(ctx, catalog.Process{ID: "worker@1", Role: "worker", Slots: map[string]int{queue.Backup: 16}}, time.Hour))
	warm := coolSharePoint(t, cat, rdb, tenant)

	p, err := Start(ctx, RoleScheduler, cfg, zap.NewNop())
	must(t, err)
	t.Cleanup(func() { _ = p.Stop(t.Context()) })

	states := func() (mailboxes, drives int) {
		tasks, err := cat.Tenant(tenant).Tasks(ctx, run, "", 0)
		must(t, err)
		for _, task := range tasks {
			switch {
			case task.State != catalog.TaskAdmitted:
			case task.Admission != 1:
				t.Errorf("task %s was delivered in vain: admission %d", task.ID, task.Admission)
			case task.Service == tenantry.Outlook:
				mailboxes++
			case task.Service == tenantry.SharePoint:
				drives++
			}
		}
		return mailboxes, drives
	}
	eventually(t, "the mailboxes are admitted", func() bool { n, _ := states(); return n == 3 })
	eventually(t, "the drives are admitted", func() bool {
		_, n := states()
		if early := time.Until(warm); n > 0 && early > 0 {
			t.Fatalf("%d drives were admitted %v before SharePoint may be asked", n, early)
		}
		return n == 3
	})
	// A task is admitted before its delivery is sent, so that the last ones may still be on their way.
	held := int64(0)
	eventually(t, "each of 6 tasks is delivered", func() bool {
		held, err = rdb.LLen(ctx, "asynq:{"+queue.Backup+"}:pending").Result()
		must(t, err)
		return held >= 6
	})
	if held != 6 {
		t.Errorf("Redis holds %d deliveries, want one for each of 6 tasks", held)
	}
}

// sixTasks starts a run over three mailboxes and three drives of a new tenant.
func sixTasks(t *testing.T, cat *catalog.Catalog, tenant tenantry.TenantID) tenantry.RunID {
	t.Helper()
	now := time.Now()
	must(t, cat.Fleet().AddTenant(t.Context(), catalog.TenantRow{
		ID: tenant, Name: "one", State: tenantry.TenantConnected, Weight: 10, AddedAt: now, NextSyncAt: now.Add(time.Hour),
	}))
	var tasks []catalog.NewTask
	for i := range 3 {
		for _, w := range []tenantry.Workload{tenantry.Mailbox, tenantry.Drive} {
			tasks = append(tasks, catalog.NewTask{
				Resource: tenantry.UserResource(fmt.Sprint(i)), Workload: w, Action: tenantry.Backup, Queue: queue.Backup,
			})
		}
	}
	run, err := cat.Tenant(tenant).StartRun(t.Context(), tenantry.Backup, catalog.TriggerManual, "", tasks, now)
	must(t, err)
	return run.ID
}

// coolSharePoint plays a worker that SharePoint answers with 429, and returns the time before
// which nobody may ask it again: by the clock of this machine before the answer, in Redis's
// milliseconds. What is read from the book later is later by what lies between two readings.
func coolSharePoint(t *testing.T, cat *catalog.Catalog, rdb redis.UniversalClient, tenant tenantry.TenantID) time.Time {
	t.Helper()
	book := throttle.New(rdb, "app", throttle.Documented(), newSizes(cat).of)
	defer func() { _ = book.Close(t.Context()) }()
	must(t, book.Resume(t.Context(), nil))
	permit, err := book.Acquire(t.Context(), throttle.Call{Tenant: tenant, Service: tenantry.SharePoint})
	must(t, err)
	answered := time.Now().Truncate(time.Millisecond)
	permit.Done(http.StatusTooManyRequests, http.Header{"Retry-After": {"8"}})
	permit.Release()
	list, err := book.Cooling(t.Context())
	must(t, err)
	if len(list) != 1 {
		t.Fatalf("one scope cools, listed are %+v", list)
	}
	return answered.Add(8 * time.Second)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls another goroutine's or process's work for at most two minutes.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
