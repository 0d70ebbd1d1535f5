package catalog

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// RunState is where a run stands.
type RunState string

// The states of a run. It ends when all its tasks have ended; a policy's run of the day
// is running again when more of its tasks come due.
const (
	RunRunning RunState = "running"
	RunDone    RunState = "done"    // every task succeeded
	RunPartial RunState = "partial" // some succeeded, some failed or were canceled
	RunFailed  RunState = "failed"  // no task succeeded, some failed
	// RunCanceled means that every task was canceled. A run of which something was done, or
	// failed, before it was canceled is partial or failed; CanceledAt tells.
	RunCanceled RunState = "canceled"
)

// What starts a run.
const (
	TriggerSchedule = "schedule"
	TriggerManual   = "manual"
	TriggerSystem   = "system"
)

// Run is one execution of a policy or one request.
type Run struct {
	ID                            tenantry.RunID
	Reference                     tenantry.Reference // by which people name it, 0 none
	Tenant                        tenantry.TenantID
	Policy                        tenantry.PolicyID // "" for manual and system runs
	PolicyName                    string            // as it is called now, also when it was deleted
	RetryOf                       tenantry.RunID    // whose failed tasks it tries again, "" none
	Action                        tenantry.Action
	Trigger                       string // schedule, manual, system
	State                         RunState
	Tasks, Done, Failed, Canceled int64
	Counts                        tenantry.Counts // of ended and of unfinished tasks
	CreatedAt, EndedAt            time.Time
	CanceledAt                    time.Time // when somebody asked for its end, first; zero never
}

type runRow struct {
	bun.BaseModel `bun:"table:runs"`

	ID        tenantry.RunID
	Tenant    tenantry.TenantID
	Policy    tenantry.PolicyID
	Action    tenantry.Action
	StartedBy string
	Day       int64
	State     RunState
	Tasks     int64
	Done      int64
	Failed    int64
	Canceled  int64
	Items     int64
	Total     int64
	Skipped   int64
	Bytes     int64
	Stored    int64
	CreatedAt int64
	EndedAt   int64

	Reference  tenantry.Reference
	Reserved   tenantry.Reference // the same, of a restore or export: there it is unique
	RetryOf    tenantry.RunID
	CanceledAt int64
	Found      int64
	FoundBytes int64
	PolicyName string `bun:",scanonly"` // of its policy
}

// newRun is a running run of so many tasks.
func newRun(tenant tenantry.TenantID, action tenantry.Action, trigger string, tasks int64, now time.Time) runRow {
	return runRow{
		ID: tenantry.NewRunID(now), Reference: tenantry.NewReference(), Tenant: tenant, Action: action, StartedBy: trigger,
		State: RunRunning, Tasks: tasks, CreatedAt: micros(now),
	}
}

func (r runRow) run() Run {
	return Run{
		ID: r.ID, Tenant: r.Tenant, Policy: r.Policy, PolicyName: r.PolicyName, Action: r.Action, Trigger: r.StartedBy, State: r.State,
		Tasks: r.Tasks, Done: r.Done, Failed: r.Failed, Canceled: r.Canceled,
		Counts: tenantry.Counts{
			Items: r.Items, Total: r.Total, Skipped: r.Skipped, Bytes: r.Bytes, Stored: r.Stored, Found: r.Found, FoundBytes: r.FoundBytes,
		},
		CreatedAt: fromMicros(r.CreatedAt), EndedAt: fromMicros(r.EndedAt),
		Reference: r.Reference, RetryOf: r.RetryOf, CanceledAt: fromMicros(r.CanceledAt),
	}
}

// runQuery reads runs of one tenant (?0); ?1 are all queues. A run's row has the counts of its ended tasks;
// those begun and unfinished are few, and are added here, in the same statement.
const runQuery = `
	SELECT r.id, r.tenant, r.policy, r.action, r.started_by, r.day, r.state, r.tasks, r.done, r.failed, r.canceled,
		r.items + coalesce(b.items, 0) AS items, r.total + coalesce(b.total, 0) AS total,
		r.skipped + coalesce(b.skipped, 0) AS skipped, r.bytes + coalesce(b.bytes, 0) AS bytes,
		r.stored + coalesce(b.stored, 0) AS stored, r.found + coalesce(b.found, 0) AS found,
		r.found_bytes + coalesce(b.found_bytes, 0) AS found_bytes, r.created_at, r.ended_at, r.reference, r.retry_of, r.canceled_at,
		coalesce(l.name, '') AS policy_name
	FROM runs r LEFT JOIN policies l ON l.tenant = ?0 AND l.id = r.policy LEFT JOIN (
		SELECT run, CAST(sum(items) AS bigint) AS items, CAST(sum(total) AS bigint) AS total,
			CAST(sum(skipped) AS bigint) AS skipped, CAST(sum(bytes) AS bigint) AS bytes, CAST(sum(stored) AS bigint) AS stored,
			CAST(sum(found) AS bigint) AS found, CAST(sum(found_bytes) AS bigint) AS found_bytes
		FROM (
			SELECT run, items, total, skipped, bytes, stored, found, found_bytes FROM tasks WHERE tenant = ?0 AND waiting AND admission > 0
			UNION ALL
			SELECT run, items, total, skipped, bytes, stored, found, found_bytes FROM tasks WHERE tenant = ?0 AND NOT waiting AND queue IN (?1)
		) AS begun GROUP BY run
	) b ON b.run = r.id
	WHERE r.tenant = ?0`

// Run reads one run. NotFound.
func (t *Tenant) Run(ctx context.Context, id tenantry.RunID) (Run, error) {
	var found []runRow
	op := fmt.Sprintf("read run %s of tenant %s", id, t.id)
	if err := t.c.read(ctx, op, &found, runQuery+" AND r.id = ?2", t.id, allQueues, id); err != nil {
		return Run{}, err
	}
	if len(found) == 0 {
		return Run{}, noRun(op)
	}
	return found[0].run(), nil
}

func noRun(op string) error {
	return tenantry.Errorf(tenantry.NotFound, "%s: there is no such run", op)
}

// Runs lists the runs older than before ("" all), newest first; limit 0 is 100, at most 1000.
func (t *Tenant) Runs(ctx context.Context, before tenantry.RunID, limit int) ([]Run, error) {
	return t.RunsOf(ctx, RunFilter{}, before, limit)
}

// RunFilter says which runs are listed: those that are as its fields say; "" is any.
type RunFilter struct {
	Action tenantry.Action
	State  RunState
	Policy tenantry.PolicyID
}

// RunsOf is Runs of those that pass a filter.
func (t *Tenant) RunsOf(ctx context.Context, only RunFilter, before tenantry.RunID, limit int) ([]Run, error) {
	var found []runRow
	err := t.c.read(ctx, "list runs of tenant "+string(t.id), &found, runQuery+` AND (?2 = '' OR r.id < ?2)
		AND (?4 = '' OR r.action = ?4) AND (?5 = '' OR r.state = ?5) AND (?6 = '' OR r.policy = ?6) ORDER BY r.id DESC LIMIT ?3`,
		t.id, allQueues, before, page(limit), only.Action, only.State, only.Policy)
	if err != nil {
		return nil, err
	}
	return runsOf(found), nil
}

func runsOf(found []runRow) []Run {
	out := make([]Run, len(found))
	for i, row := range found {
		out[i] = row.run()
	}
	return out
}

// StartRun inserts a run and its tasks, ready. A backup of a series that has an unfinished
// one already is not inserted twice, nor a second sync of the tenant; when nothing is left,
// Conflict names why. A task without action has the run's. Invalid: no tasks, or one
// without the resource and workload its action needs; NotFound: no such tenant.
func (t *Tenant) StartRun(ctx context.Context, action tenantry.Action, trigger string, policy tenantry.PolicyID, tasks []NewTask, now time.Time) (Run, error) {
	run := newRun(t.id, action, trigger, 0, now)
	run.Policy = policy
	return t.startRun(ctx, run, tasks, now)
}

// startRun inserts run with tasks, those of which are not under way already.
func (t *Tenant) startRun(ctx context.Context, run runRow, tasks []NewTask, now time.Time) (Run, error) {
	op := fmt.Sprintf("start %s of tenant %s", run.Action, t.id)
	fresh, err := t.newRows(op, run.Action, run.StartedBy, tasks, now)
	if err != nil {
		return Run{}, err
	}
	err = t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.exists(ctx, tx, op); err != nil {
			return err
		}
		won, err := t.c.reserve(ctx, tx, fresh)
		if err != nil {
			return err
		}
		if len(won) == 0 {
			return tenantry.Errorf(tenantry.Conflict, "%s: %s is under way already", op, describe(fresh[0]))
		}
		run.Tasks = int64(len(won))
		if err := t.c.insertRun(ctx, tx, op, &run); err != nil {
			return err
		}
		for i := range won {
			won[i].Run = run.ID
		}
		return insertTasks(ctx, tx, won)
	})
	if err != nil {
		return Run{}, err
	}
	return run.run(), nil
}

// referenceDraws is how often a reference is drawn for a run: one is taken already once in millions of times.
const referenceDraws = 5

// insertRun inserts a run. That of a restore or an export gets a reference that no other of them has; Transient: each
// that was drawn is taken.
func (c *Catalog) insertRun(ctx context.Context, tx bun.Tx, op string, run *runRow) error {
	if run.Action != tenantry.Restore && run.Action != tenantry.Export {
		_, err := tx.NewInsert().Model(run).Exec(ctx)
		return err
	}
	for range referenceDraws {
		run.Reference = c.drawReference()
		run.Reserved = run.Reference
		result, err := tx.NewInsert().Model(run).On("CONFLICT (reserved) WHERE reserved > 0 DO NOTHING").Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n > 0 {
			return err
		}
	}
	return tenantry.Errorf(tenantry.Transient, "%s: every reference that was drawn is taken", op)
}

func (t *Tenant) newRows(op string, action tenantry.Action, trigger string, tasks []NewTask, now time.Time) ([]taskRow, error) {
	if len(tasks) == 0 {
		return nil, tenantry.Errorf(tenantry.Invalid, "%s: tasks is empty", op)
	}
	out := make([]taskRow, len(tasks))
	for i, n := range tasks {
		n.Action = cmp.Or(n.Action, action)
		n.Queue = cmp.Or(n.Queue, defaultQueue(n.Action, trigger, len(tasks)))
		if !ofTenant(n.Action) && (n.Resource == "" || n.Workload == "") {
			return nil, tenantry.Errorf(tenantry.Invalid, "%s: a task has no resource or no workload", op)
		}
		out[i] = newRow(t.id, n, now, i)
	}
	return out, nil
}

// ofTenant reports whether tasks of an action are about a tenant as a whole.
func ofTenant(a tenantry.Action) bool {
	switch a {
	case tenantry.Connect, tenantry.Sync, tenantry.Collect, tenantry.Patrol, tenantry.Search:
		return true
	}
	return false
}

func describe(r taskRow) string {
	if r.Resource == "" {
		return string(r.Action)
	}
	return fmt.Sprintf("%s of %s of %s", r.Action, r.Workload, r.Resource)
}

// reserve enters fresh backups in their series, and syncs in their tenant, and returns the
// rows that may be inserted: those that found no unfinished one.
func (c *Catalog) reserve(ctx context.Context, tx bun.Tx, fresh []taskRow) ([]taskRow, error) {
	var backups, won []taskRow
	for _, row := range fresh {
		switch row.Action {
		case tenantry.Backup:
			backups = append(backups, row)
		case tenantry.Sync:
			n, err := exec(ctx, tx, "UPDATE tenants SET sync_task = ? WHERE id = ? AND sync_task = ''", row.ID, row.Tenant)
			if err != nil {
				return nil, err
			}
			if n == 1 {
				won = append(won, row)
			}
		default:
			won = append(won, row)
		}
	}
	reserved, err := reserveSeries(ctx, tx, backups)
	return append(won, reserved...), err
}

// reserveSeries enters backups in their series, in the order of the series, so that two
// transactions wait for each other at most in one direction.
func reserveSeries(ctx context.Context, tx bun.Tx, backups []taskRow) ([]taskRow, error) {
	bySeries := func(a, b taskRow) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Workload, b.Workload))
	}
	slices.SortStableFunc(backups, bySeries)
	backups = slices.CompactFunc(backups, func(a, b taskRow) bool { return bySeries(a, b) == 0 })
	var won []taskRow
	for chunk := range slices.Chunk(backups, batch) {
		var keys rows
		for _, row := range chunk {
			keys = append(keys, []any{row.Tenant, row.Resource, row.Workload, 0, "", "", row.ID})
		}
		var ids []tenantry.TaskID
		err := scan(ctx, tx, &ids, `
			INSERT INTO series AS old (tenant, resource, workload, epoch, owner_task, owner_process, backup_task) VALUES ?
			ON CONFLICT (tenant, resource, workload) DO UPDATE SET backup_task = excluded.backup_task WHERE old.backup_task = ''
			RETURNING backup_task`, keys)
		if err != nil {
			return nil, err
		}
		entered := make(map[tenantry.TaskID]bool, len(ids))
		for _, id := range ids {
			entered[id] = true
		}
		for _, row := range chunk {
			if entered[row.ID] {
				won = append(won, row)
			}
		}
	}
	slices.SortFunc(won, func(a, b taskRow) int { return cmp.Compare(a.ID, b.ID) })
	return won, nil
}

// ending is what tasks that ended together add to the numbers of their run.
type ending struct {
	tenant                 tenantry.TenantID
	done, failed, canceled int64
	counts                 tenantry.Counts
	at                     int64
}

// bookEnded adds ended tasks to their runs' numbers, once for each run, and ends the runs
// whose last tasks they are.
func (c *Catalog) bookEnded(ended []taskRow) []step {
	endings := map[tenantry.RunID]*ending{}
	for _, row := range ended {
		e := endings[row.Run]
		if e == nil {
			e = &ending{tenant: row.Tenant}
			endings[row.Run] = e
		}
		switch row.State {
		case TaskDone:
			e.done++
		case TaskFailed:
			e.failed++
		default:
			e.canceled++
		}
		e.counts, e.at = e.counts.Add(row.counts()), max(e.at, row.EndedAt)
	}
	ids := slices.Sorted(maps.Keys(endings))
	var values rows
	for _, id := range ids {
		e := endings[id]
		n := e.counts
		values = append(values, []any{e.tenant, id, e.done, e.failed, e.canceled, e.at, n.Items, n.Total, n.Skipped, n.Bytes, n.Stored, n.Found, n.FoundBytes})
	}
	return append(c.lockRuns(ids), step{query: `
		WITH v (v_tenant, v_id, v_done, v_failed, v_canceled, v_at, v_items, v_total, v_skipped, v_bytes, v_stored, v_found, v_found_bytes) AS (VALUES ?0)
		UPDATE runs SET
			state = CASE
				WHEN done + failed + canceled + v_done + v_failed + v_canceled < tasks THEN 'running'
				WHEN failed + canceled + v_failed + v_canceled = 0 THEN 'done'
				WHEN done + v_done + failed + v_failed = 0 THEN 'canceled'
				WHEN done + v_done = 0 THEN 'failed'
				ELSE 'partial' END,
			ended_at = CASE WHEN done + failed + canceled + v_done + v_failed + v_canceled < tasks THEN 0 ELSE v_at END,
			done = done + v_done, failed = failed + v_failed, canceled = canceled + v_canceled,
			items = items + v_items, total = total + v_total, skipped = skipped + v_skipped, bytes = bytes + v_bytes, stored = stored + v_stored,
			found = found + v_found, found_bytes = found_bytes + v_found_bytes
		FROM v WHERE tenant = v_tenant AND id = v_id`, args: []any{values}})
}

// lockRuns locks runs in the order of their IDs. An UPDATE takes its rows as it finds them,
// and two that book in the same runs would wait for each other.
func (c *Catalog) lockRuns(ids []tenantry.RunID) []step {
	if c.postgres == nil || len(ids) < 2 {
		return nil
	}
	var keys rows
	for _, id := range ids {
		keys = append(keys, []any{id})
	}
	return []step{{query: "SELECT 1 FROM runs WHERE id IN (VALUES ?0) ORDER BY id FOR UPDATE", args: []any{keys}}}
}

// compareRuns orders runs for locking.
func compareRuns(a, b runRow) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Day, b.Day))
}
