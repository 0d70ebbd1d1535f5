package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// childEnv carries the DSN to a child process of the test below.
const childEnv = "CATALOG_TEST_CHILD"

// children is how many processes share the file.
const children = 3

// childMain runs the child's part, in a child.
func childMain() bool {
	dsn := os.Getenv(childEnv)
	if dsn == "" {
		return false
	}
	if err := work(dsn); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return true
}

// work admits, claims and settles until the run has ended, as leader and worker in one.
func work(dsn string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	c, err := catalog.Open(ctx, dsn)
	if err != nil {
		return err
	}
	defer c.Close()
	me := tenantry.NewProcessID("worker", "child")
	if err := c.Fleet().Beat(ctx, catalog.Process{ID: me, Role: "worker"}, time.Hour); err != nil {
		return err
	}
	for live := 0; live < children; { // start together
		processes, err := c.Fleet().Processes(ctx)
		if err != nil {
			return err
		}
		live = len(processes)
	}
	for {
		runs, err := c.Tenant("t-a").Runs(ctx, "", 1)
		if err != nil || runs[0].State != catalog.RunRunning {
			return err
		}
		tasks, err := admitOne(ctx, c.Fleet(), me)
		if err != nil {
			return err
		}
		for _, task := range tasks {
			if err := workOn(ctx, c.Tenant("t-a"), task, me); err != nil {
				return err
			}
		}
	}
}

// admitOne leads for one admission, if nobody else leads.
func admitOne(ctx context.Context, f *catalog.Fleet, me tenantry.ProcessID) ([]catalog.Task, error) {
	fence, ok, err := f.Lead(ctx, me, time.Hour)
	if err != nil || !ok {
		return nil, err
	}
	tasks, err := f.Admit(ctx, fence, []catalog.Pick{{Tenant: "t-a", Queue: "backup", Service: tenantry.Outlook, N: 1}}, time.Now().Add(time.Second))
	return tasks, errors.Join(err, f.Resign(ctx, me))
}

func workOn(ctx context.Context, t *catalog.Tenant, task catalog.Task, me tenantry.ProcessID) error {
	claim, err := t.Claim(ctx, task.ID, task.Admission, me)
	if err != nil {
		return err
	}
	return t.Settle(ctx, claim, catalog.Settlement{State: catalog.TaskDone, Counts: tenantry.Counts{Items: 1}}, time.Now())
}

// TestProcessesShareSQLiteFile has real processes compete for the tasks of one file.
func TestProcessesShareSQLiteFile(t *testing.T) {
	t.Parallel()
	const tasks = 40
	dsn := sqliteDSN(t)
	c := open(t, dsn)
	if err := c.Fleet().AddTenant(t.Context(), catalog.TenantRow{ID: "t-a", State: tenantry.TenantConnected}); err != nil {
		t.Fatal(err)
	}
	list := make([]catalog.NewTask, tasks)
	for i := range list {
		list[i] = catalog.NewTask{Resource: tenantry.UserResource(fmt.Sprint(i)), Workload: tenantry.Mailbox}
	}
	a := c.Tenant("t-a")
	run, err := a.StartRun(t.Context(), tenantry.Backup, catalog.TriggerSchedule, "", list, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range children {
		wait.Go(func() {
			child := exec.CommandContext(t.Context(), os.Args[0])
			child.Env = append(os.Environ(), childEnv+"="+dsn)
			if out, err := child.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	wait.Wait()
	run, err = a.Run(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	if run.State != catalog.RunDone || run.Done != tasks || run.Counts.Items != tasks {
		t.Fatalf("the run ended as %+v", run)
	}
	ended, err := a.Tasks(t.Context(), run.ID, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	workers := map[tenantry.ProcessID]int{}
	for _, task := range ended {
		workers[task.Process]++
		if task.Admission != 1 || !strings.HasPrefix(string(task.Process), "worker@child-") {
			t.Errorf("task %+v", task)
		}
	}
	t.Logf("shares: %v", workers)
}
