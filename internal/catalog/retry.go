package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// RetryRun starts a run of the tasks of an ended run that failed, and of no others; it names
// the old one. What each task was asked to do is asked again. NotFound: no such run. Conflict:
// the run has not ended, nothing of it failed, its tasks are too long ago to be known, or
// a retry of it is under way.
func (t *Tenant) RetryRun(ctx context.Context, id tenantry.RunID, now time.Time) (Run, error) {
	op := fmt.Sprintf("retry run %s of tenant %s", id, t.id)
	old, err := t.Run(ctx, id)
	switch {
	case err != nil:
		return Run{}, err
	case old.State == RunRunning:
		return Run{}, tenantry.Errorf(tenantry.Conflict, "%s: it has not ended", op)
	case old.Failed == 0:
		return Run{}, tenantry.Errorf(tenantry.Conflict, "%s: none of its tasks failed", op)
	}
	var running []tenantry.RunID
	err = t.c.read(ctx, op, &running, "SELECT id FROM runs WHERE tenant = ? AND retry_of = ? AND state = 'running'", t.id, id)
	if err != nil {
		return Run{}, err
	}
	if len(running) > 0 {
		return Run{}, tenantry.Errorf(tenantry.Conflict, "%s: run %s retries it already", op, running[0])
	}
	tasks, err := t.failedTasks(ctx, id)
	if err != nil {
		return Run{}, err
	}
	if len(tasks) == 0 {
		return Run{}, tenantry.Errorf(tenantry.Conflict, "%s: its tasks are too long ago to be known", op)
	}
	run := newRun(t.id, old.Action, TriggerManual, 0, now)
	run.Policy, run.RetryOf = old.Policy, id
	return t.startRun(ctx, run, tasks, now)
}

// failedTasks lists what the failed tasks of a run were asked to do.
func (t *Tenant) failedTasks(ctx context.Context, run tenantry.RunID) ([]NewTask, error) {
	var tasks []NewTask
	op := fmt.Sprintf("list failed tasks of run %s of tenant %s", run, t.id)
	for after := created(run); ; {
		var found []taskRow
		err := t.c.read(ctx, op, &found, `SELECT ? FROM ended_tasks
			WHERE tenant = ? AND run = ? AND state = 'failed' AND id > ? ORDER BY id LIMIT ?`, taskColumns, t.id, run, after, maxPage)
		if err != nil {
			return nil, err
		}
		for _, row := range found {
			tasks = append(tasks, NewTask{Resource: row.Resource, Workload: row.Workload, Action: row.Action, Params: row.Params})
			after = row.ID
		}
		if len(found) < maxPage {
			return tasks, nil
		}
	}
}

// RunsByReference lists the runs that people name by a reference, newest first: of one tenant,
// or of all where tenant is "". There is one restore or export of it, and another run but for an odd chance.
func (f *Fleet) RunsByReference(ctx context.Context, r tenantry.Reference, tenant tenantry.TenantID) ([]Run, error) {
	var found []runRow
	err := f.c.read(ctx, "find run "+r.String(), &found, `
		SELECT id, tenant, policy, action, started_by, day, state, tasks, done, failed, canceled, items, total, skipped, bytes, stored,
			found, found_bytes, created_at, ended_at, reference, retry_of, canceled_at
		FROM runs WHERE reference = ?0 AND reference > 0 AND (?1 = '' OR tenant = ?1) ORDER BY id DESC LIMIT ?2`, r, tenant, defaultPage)
	return runsOf(found), err
}
