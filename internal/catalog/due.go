package catalog

import (
	"context"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Due is a protection whose time has come.
type Due struct {
	Tenant    tenantry.TenantID
	Policy    tenantry.PolicyID
	Resource  tenantry.ResourceID
	Workload  tenantry.Workload
	DueAt     time.Time
	Next      time.Time // to be filled by the caller, see NextDue
	PolicyRow Policy
}

// Due lists the protections whose time has come, the longest due first; limit 0 is 100.
func (f *Fleet) Due(ctx context.Context, now time.Time, limit int) ([]Due, error) {
	if limit <= 0 {
		limit = defaultPage
	}
	var found []struct {
		policyRow
		Resource  tenantry.ResourceID
		Workload  tenantry.Workload
		NextDueAt int64
	}
	err := f.c.read(ctx, "list due protections", &found, `
		SELECT d.resource, d.workload, d.next_due_at, ?2
		FROM (SELECT * FROM protections WHERE next_due_at <= ?0 ORDER BY next_due_at LIMIT ?1) d
		JOIN policies p ON p.tenant = d.tenant AND p.id = d.policy
		ORDER BY d.next_due_at`, micros(now), limit, policyColumns)
	if err != nil {
		return nil, err
	}
	out := make([]Due, len(found))
	for i, row := range found {
		out[i] = Due{
			Tenant: row.Tenant, Policy: row.ID, Resource: row.Resource, Workload: row.Workload,
			DueAt: fromMicros(row.NextDueAt), PolicyRow: row.policy(),
		}
	}
	return out, nil
}

// DueSyncs lists the connected tenants whose directory sync is due, the longest due first;
// one that was never synced is due at once. Limit 0 is 100.
func (f *Fleet) DueSyncs(ctx context.Context, now time.Time, limit int) ([]tenantry.TenantID, error) {
	if limit <= 0 {
		limit = defaultPage
	}
	var found []tenantry.TenantID
	err := f.c.read(ctx, "list due syncs", &found,
		"SELECT id FROM tenants WHERE state = 'connected' AND next_sync_at <= ? ORDER BY next_sync_at, id LIMIT ?", micros(now), limit)
	return found, err
}

// Start inserts backups for what is due (one run per policy and cycle of its schedule, which of most is a day) and moves
// next_due_at to Next, guarded by the leader's fence (Fenced) and by the old DueAt: what
// has moved already is left alone, so that a repeated Start changes nothing. A series with
// an unfinished backup only moves on. Returns how many tasks. Invalid: Next is not after DueAt.
func (f *Fleet) Start(ctx context.Context, fence int64, due []Due, now time.Time) (tasks int, err error) {
	const op = "start what is due"
	for _, d := range due {
		if !d.Next.After(d.DueAt) {
			return 0, tenantry.Errorf(tenantry.Invalid, "%s: next of %s/%s/%s is not after its due time", op, d.Tenant, d.Resource, d.Workload)
		}
	}
	err = f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		tasks = 0
		if err := f.c.fence(ctx, tx, fence); err != nil {
			return err
		}
		moved, err := moveOn(ctx, tx, due)
		if err != nil {
			return err
		}
		tasks, err = startBackups(ctx, tx, moved, now)
		return err
	})
	return tasks, err
}

// moveOn sets the next due time of protections that are still due as given, and returns those.
func moveOn(ctx context.Context, tx bun.Tx, due []Due) ([]Due, error) {
	type key struct {
		Tenant   tenantry.TenantID
		Policy   tenantry.PolicyID
		Resource tenantry.ResourceID
		Workload tenantry.Workload
	}
	var moved []Due
	for chunk := range slices.Chunk(due, batch) {
		byKey := make(map[key]Due, len(chunk))
		var values rows
		for _, d := range chunk {
			byKey[key{d.Tenant, d.Policy, d.Resource, d.Workload}] = d
			values = append(values, []any{d.Tenant, d.Policy, d.Resource, d.Workload, micros(d.DueAt), micros(d.Next)})
		}
		var found []key
		err := scan(ctx, tx, &found, `
			WITH v (tenant, policy, resource, workload, due, next) AS (VALUES ?)
			UPDATE protections SET next_due_at = v.next FROM v
			WHERE protections.tenant = v.tenant AND protections.policy = v.policy AND protections.resource = v.resource
				AND protections.workload = v.workload AND protections.next_due_at = v.due
			RETURNING protections.tenant AS tenant, protections.policy AS policy, protections.resource AS resource,
				protections.workload AS workload`, values)
		if err != nil {
			return nil, err
		}
		for _, k := range found {
			moved = append(moved, byKey[k])
		}
	}
	return moved, nil
}

// daily names the scheduled run of a policy: that of one cycle of its schedule.
type daily struct {
	tenant tenantry.TenantID
	policy tenantry.PolicyID
	day    int64 // see cycleOf
}

// startBackups inserts a backup for each due series that has no unfinished one.
func startBackups(ctx context.Context, tx bun.Tx, due []Due, now time.Time) (int, error) {
	fresh := make([]taskRow, len(due))
	runOf := make(map[tenantry.TaskID]daily, len(due))
	for i, d := range due {
		fresh[i] = newRow(d.Tenant, NewTask{
			Resource: d.Resource, Workload: d.Workload, Action: tenantry.Backup,
			Queue: defaultQueue(tenantry.Backup, TriggerSchedule, len(due)),
		}, now, i)
		runOf[fresh[i].ID] = daily{d.Tenant, d.Policy, cycleOf(d.PolicyRow, d.DueAt)}
	}
	won, err := reserveSeries(ctx, tx, fresh)
	if err != nil {
		return 0, err
	}
	count := map[daily]int64{}
	for _, row := range won {
		count[runOf[row.ID]]++
	}
	ids, err := dailyRuns(ctx, tx, count, now)
	if err != nil {
		return 0, err
	}
	for i := range won {
		won[i].Run = ids[runOf[won[i].ID]]
	}
	return len(won), insertTasks(ctx, tx, won)
}

// dailyRuns makes the runs of the day, or adds to them, and returns their IDs.
func dailyRuns(ctx context.Context, tx bun.Tx, count map[daily]int64, now time.Time) (map[daily]tenantry.RunID, error) {
	var fresh []runRow
	for d, n := range count {
		run := newRun(d.tenant, tenantry.Backup, TriggerSchedule, n, now)
		run.Policy, run.Day = d.policy, d.day
		fresh = append(fresh, run)
	}
	slices.SortFunc(fresh, compareRuns)
	ids := make(map[daily]tenantry.RunID, len(fresh))
	for chunk := range slices.Chunk(fresh, batch) {
		var found []runRow
		err := tx.NewInsert().Model(&chunk).ModelTableExpr("runs AS old").
			On("CONFLICT (tenant, policy, day) WHERE day > 0 DO UPDATE").
			Set("tasks = old.tasks + excluded.tasks, state = 'running', ended_at = 0").
			Returning("id, tenant, policy, day").Scan(ctx, &found)
		if err != nil {
			return nil, err
		}
		for _, row := range found {
			ids[daily{row.Tenant, row.Policy, row.Day}] = row.ID
		}
	}
	return ids, nil
}

// StartSync inserts the sync run of connected tenants that are due and moves their next
// sync, guarded by the leader's fence (Fenced). A tenant with an unfinished sync only moves
// on. Returns how many tasks.
func (f *Fleet) StartSync(ctx context.Context, fence int64, ids []tenantry.TenantID, next, now time.Time) (int, error) {
	const op = "start due syncs"
	if !next.After(now) {
		return 0, tenantry.Errorf(tenantry.Invalid, "%s: next is not after now", op)
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	var tasks []taskRow
	err := f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		tasks = nil
		if err := f.c.fence(ctx, tx, fence); err != nil {
			return err
		}
		var runs []runRow
		for i, id := range ids {
			row := newRow(id, NewTask{Action: tenantry.Sync, Queue: queueDirectory}, now, i)
			run := newRun(id, tenantry.Sync, TriggerSystem, 1, now)
			started, err := moveSync(ctx, tx, row, next, now)
			if err != nil {
				return err
			}
			if started {
				row.Run = run.ID
				runs, tasks = append(runs, run), append(tasks, row)
			}
		}
		if len(tasks) == 0 {
			return nil
		}
		if _, err := tx.NewInsert().Model(&runs).Exec(ctx); err != nil {
			return err
		}
		return insertTasks(ctx, tx, tasks)
	})
	return len(tasks), err
}

// moveSync moves a due tenant's next sync and enters task as its unfinished one, unless
// there is one.
func moveSync(ctx context.Context, tx bun.Tx, task taskRow, next, now time.Time) (started bool, err error) {
	var found []tenantry.TaskID
	err = scan(ctx, tx, &found, `
		UPDATE tenants SET next_sync_at = ?0, sync_task = CASE WHEN sync_task = '' THEN ?1 ELSE sync_task END
		WHERE id = ?2 AND state = 'connected' AND next_sync_at <= ?3 RETURNING sync_task`,
		micros(next), task.ID, task.Tenant, micros(now))
	return len(found) == 1 && found[0] == task.ID, err
}

// NextReady is when to look again: the earliest time after now at which a ready task may
// be admitted, a protection is due or a tenant's sync is; zero if there is none. What is
// overdue already is not counted: Due, DueSyncs and Loads show it.
func (f *Fleet) NextReady(ctx context.Context, now time.Time) (time.Time, error) {
	var next int64
	err := f.c.read(ctx, "find the next ready task", &next, `
		SELECT coalesce(min(at), 0) FROM (
			SELECT min(not_before) AS at FROM tasks WHERE waiting AND not_before > ?0
			UNION ALL SELECT min(next_due_at) FROM protections WHERE next_due_at > ?0
			UNION ALL SELECT min(next_sync_at) FROM tenants WHERE state = 'connected' AND next_sync_at > ?0
		) AS times`, micros(now))
	return fromMicros(next), err
}
