package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// ItemFailure is a problem of one of the tasks of a run.
type ItemFailure struct {
	Problem
	FailureCursor
	Task       Task      // what a listing needs of it: series, action, state, not_before
	NextBackup time.Time // when the series is due next by a policy; zero if it is in none
}

// FailureCursor is where a failure stands in the listing of its run: by task, in the order in
// which they were met.
type FailureCursor struct {
	TaskID tenantry.TaskID
	N      int
}

// RunFailures lists the items that tasks of a run could not save or write, as far as they are
// kept (100 of each task), behind the cursor; the zero cursor begins. limit 0 is 100, at most 1000.
func (t *Tenant) RunFailures(ctx context.Context, run tenantry.RunID, after FailureCursor, limit int) ([]ItemFailure, error) {
	var found []struct {
		problemRow
		Task      tenantry.TaskID
		N         int
		Resource  tenantry.ResourceID
		Workload  tenantry.Workload
		Action    tenantry.Action
		State     TaskState
		NotBefore int64
		NextDueAt int64
	}
	if after.TaskID == "" {
		after = FailureCursor{created(run), -1} // the least that there can be
	}
	// Of ended tasks the index ended_tasks_trouble knows those that skipped something.
	err := t.c.read(ctx, fmt.Sprintf("list failures of run %s of tenant %s", run, t.id), &found, `
		SELECT h.id AS task, h.resource, h.workload, h.action, h.state, h.not_before, p.n, p.item_id, p.name, p.reason, p.kind, p.since, p.snapshot, p.again,
			coalesce((SELECT min(d.next_due_at) FROM protections d WHERE d.tenant = ?0 AND d.resource = h.resource AND d.workload = h.workload), 0) AS next_due_at
		FROM (
			SELECT id, resource, workload, action, state, not_before FROM tasks WHERE tenant = ?0 AND run = ?1 AND id >= ?2 AND started_at > 0
			UNION ALL
			SELECT id, resource, workload, action, state, not_before FROM ended_tasks WHERE tenant = ?0 AND run = ?1 AND id >= ?2 AND skipped > 0
		) h JOIN problems p ON p.tenant = ?0 AND p.task = h.id
		WHERE h.id > ?2 OR p.n > ?3 ORDER BY h.id, p.n LIMIT ?4`, t.id, run, after.TaskID, after.N, page(limit))
	if err != nil {
		return nil, err
	}
	out := make([]ItemFailure, len(found))
	for i, row := range found {
		out[i] = ItemFailure{
			Problem: row.problem(), FailureCursor: FailureCursor{row.Task, row.N}, NextBackup: fromMicros(row.NextDueAt),
			Task: Task{
				ID: row.Task, Run: run, Tenant: t.id, Resource: row.Resource, Workload: row.Workload, Action: row.Action, State: row.State,
				NotBefore: fromMicros(row.NotBefore),
			},
		}
	}
	return out, nil
}
