package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// canceledReason stands with tasks that ended because somebody did not want them any more.
const canceledReason = "canceled"

// CancelRun ends what is unfinished of a run: tasks that wait or are admitted at once, and a
// running one when its worker has committed a checkpoint and settles it, or when that worker
// is taken for dead. A run that has ended stays as it is; what a policy adds to its run of the
// day afterwards is not canceled. It may be called again. NotFound.
func (t *Tenant) CancelRun(ctx context.Context, id tenantry.RunID, now time.Time) error {
	if _, err := t.Run(ctx, id); err != nil {
		return err
	}
	op := fmt.Sprintf("cancel run %s of tenant %s", id, t.id)
	for { // in batches: a run has up to 200,000 tasks, and others write meanwhile
		var n int
		err := t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) (err error) {
			n, err = t.cancelSome(ctx, tx, id, now)
			return err
		})
		if err != nil || n < batch {
			return err
		}
	}
}

// cancelSome marks unfinished tasks of a run and ends those that no worker has. A marked row
// is locked until the transaction ends, so that no task is between its states: after it only
// running ones are marked, and none of them goes back to ready.
func (t *Tenant) cancelSome(ctx context.Context, tx bun.Tx, id tenantry.RunID, now time.Time) (int, error) {
	var marked []struct {
		ID    tenantry.TaskID
		State TaskState
	}
	err := scan(ctx, tx, &marked, `
		UPDATE tasks SET canceled_at = ?0 WHERE tenant = ?1 AND canceled_at = 0 AND id IN (
			SELECT id FROM tasks WHERE tenant = ?1 AND run = ?2 AND canceled_at = 0 ORDER BY id LIMIT ?3
		) RETURNING id, state`, micros(now), t.id, id, batch)
	if err != nil || len(marked) == 0 {
		return 0, err
	}
	var waiting []tenantry.TaskID
	for _, task := range marked {
		if task.State != TaskRunning {
			waiting = append(waiting, task.ID)
		}
	}
	if err := t.endWaiting(ctx, tx, waiting, now); err != nil {
		return 0, err
	}
	_, err = exec(ctx, tx, "UPDATE runs SET canceled_at = ? WHERE tenant = ? AND id = ? AND canceled_at = 0", micros(now), t.id, id)
	return len(marked), err
}

// endWaiting ends marked tasks that no worker has.
func (t *Tenant) endWaiting(ctx context.Context, tx bun.Tx, ids []tenantry.TaskID, now time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	var ended []taskRow
	err := scan(ctx, tx, &ended, "DELETE FROM tasks WHERE tenant = ? AND id IN (?) RETURNING ?", t.id, bun.List(ids), taskColumns)
	if err != nil {
		return err
	}
	return t.c.endTasks(ctx, tx, canceledRows(ended, now))
}

// canceledRows are tasks as they end when they are canceled.
func canceledRows(tasks []taskRow, now time.Time) []taskRow {
	for i := range tasks {
		row := &tasks[i]
		row.State, row.Kind, row.Reason, row.EndedAt, row.Process = TaskCanceled, tenantry.Canceled, canceledReason, micros(now), ""
	}
	return tasks
}

// endCanceled ends those of tasks, which their processes have lost, that are to be canceled.
func (c *Catalog) endCanceled(ctx context.Context, tx bun.Tx, lost []taskRow, now time.Time) error {
	var keys rows
	for _, row := range lost {
		keys = append(keys, []any{row.Tenant, row.ID})
	}
	if len(keys) == 0 {
		return nil
	}
	var ended []taskRow
	err := scan(ctx, tx, &ended, "DELETE FROM tasks WHERE (tenant, id) IN (VALUES ?) AND canceled_at > 0 RETURNING ?", keys, taskColumns)
	if err != nil || len(ended) == 0 {
		return err
	}
	if err := c.endTasks(ctx, tx, canceledRows(ended, now)); err != nil {
		return err
	}
	return c.pruneSoon(ctx, tx, ended, now)
}

// pruneSoon has the series of backups pruned next whose workers were lost and that nobody goes on with: one may have
// been sealed and not settled. The prune lists it, and looks whether it is a mass change, which people must hear of
// before tomorrow. A first backup is none.
func (c *Catalog) pruneSoon(ctx context.Context, tx bun.Tx, ended []taskRow, now time.Time) error {
	var series rows
	for _, row := range ended {
		if row.Action == tenantry.Backup {
			series = append(series, []any{row.Tenant, row.Resource, row.Workload})
		}
	}
	if len(series) == 0 {
		return nil
	}
	if err := (literal{tx}).run(ctx, c.lockSeries(series)...); err != nil {
		return err
	}
	_, err := exec(ctx, tx, `UPDATE series SET next_prune_at = ?0
		WHERE (tenant, resource, workload) IN (VALUES ?1) AND saved_at > 0 AND next_prune_at > ?0`, micros(now), series)
	return err
}

// canceledOf are the settlements that giveBack left alone, as they stand if their tasks are to
// be canceled; those that are no longer held end nothing.
func canceledOf(back, given []*settleAsk) []*settleAsk {
	won := make(map[guard]bool, len(given))
	for _, q := range given {
		won[q.guard()] = true
	}
	var over []*settleAsk
	for _, q := range back {
		if !won[q.guard()] {
			canceled := *q
			canceled.State, canceled.Kind, canceled.Reason = TaskCanceled, tenantry.Canceled, canceledReason
			over = append(over, &canceled)
		}
	}
	return over
}

// CanceledTasks lists the running tasks of a process that are to be canceled: their slices
// shall commit what they have and end.
func (f *Fleet) CanceledTasks(ctx context.Context, p tenantry.ProcessID) ([]tenantry.TaskID, error) {
	var found []tenantry.TaskID
	err := f.c.read(ctx, "list canceled tasks of process "+string(p), &found,
		"SELECT id FROM tasks WHERE process = ? AND canceled_at > 0 ORDER BY id LIMIT ?", p, maxPage)
	return found, err
}
