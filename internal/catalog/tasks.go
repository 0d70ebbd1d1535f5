package catalog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// TaskState is where a task stands; the package comment draws the machine.
type TaskState string

// The states of a task.
const (
	TaskReady    TaskState = "ready"
	TaskAdmitted TaskState = "admitted"
	TaskRunning  TaskState = "running"
	TaskDone     TaskState = "done"
	TaskFailed   TaskState = "failed"
	TaskCanceled TaskState = "canceled"
)

// Task is one unit of work.
type Task struct {
	ID                            tenantry.TaskID
	Run                           tenantry.RunID
	Tenant                        tenantry.TenantID
	Resource                      tenantry.ResourceID // "" for connect and sync
	Workload                      tenantry.Workload
	Action                        tenantry.Action
	Queue                         string           // queue.Interactive ...
	Service                       tenantry.Service // with the tenant: its flow; see tenantry.ServiceOf
	State                         TaskState
	Admission                     int64
	Attempt                       int       // failures so far, reset by progress
	NotBefore                     time.Time // parked or backing off until
	Reason                        string    // why parked, failed, or ended without data
	Kind                          tenantry.Kind
	Params                        []byte          // JSON of the action (tenantry.RestoreRequest ...), never secrets
	Counts                        tenantry.Counts // of all slices so far
	Snapshot                      int64           // sealed by this task, 0 none
	Process                       tenantry.ProcessID
	Delays                        tenantry.Delays // of all slices so far, and between them
	AdmittedAt                    time.Time       // last
	CreatedAt, StartedAt, EndedAt time.Time
}

// Series returns the series that the task works on.
func (t Task) Series() tenantry.Series {
	return tenantry.Series{Tenant: t.Tenant, Resource: t.Resource, Workload: t.Workload}
}

// NewTask is a task to insert. Queue "" means the default of its action and trigger.
type NewTask struct {
	Resource tenantry.ResourceID
	Workload tenantry.Workload
	Action   tenantry.Action
	Queue    string
	Params   []byte
}

// The queues, by the names that the queue room serves (a room on the same floor).
const (
	queueInteractive = "interactive"
	queueDirectory   = "directory"
	queueBackup      = "backup"
	queueMaintenance = "maintenance"
)

// allQueues are the queues as a list in SQL. The tasks of one tenant are found by it: the indexes
// of tasks begin with the queue.
var allQueues = bun.List([]string{queueInteractive, queueDirectory, queueBackup, queueMaintenance})

// interactiveTasks bounds the manual run whose backups are interactive: somebody waits
// for one mailbox, and must not wait behind a whole organisation that was "run now".
const interactiveTasks = 100

// defaultQueue is the queue of a task that names none, in a run of so many.
func defaultQueue(action tenantry.Action, trigger string, tasks int) string {
	switch action {
	case tenantry.Connect, tenantry.Restore, tenantry.Export, tenantry.Search:
		return queueInteractive
	case tenantry.Sync:
		return queueDirectory
	case tenantry.Backup:
		if trigger == TriggerManual && tasks <= interactiveTasks {
			return queueInteractive
		}
		return queueBackup
	}
	return queueMaintenance
}

// writesSeries reports whether tasks of an action own their series while they run.
func writesSeries(action tenantry.Action) bool {
	return action == tenantry.Backup || action == tenantry.Prune || action == tenantry.Repair
}

type taskRow struct {
	bun.BaseModel `bun:"table:tasks"`

	ID         tenantry.TaskID
	Run        tenantry.RunID
	Tenant     tenantry.TenantID
	Resource   tenantry.ResourceID
	Workload   tenantry.Workload
	Action     tenantry.Action
	Queue      string
	Service    tenantry.Service
	State      TaskState
	Admission  int64
	Attempt    int
	NotBefore  int64
	Reason     string
	Kind       tenantry.Kind
	Params     []byte
	Items      int64
	Total      int64
	Skipped    int64
	Bytes      int64
	Stored     int64
	Found      int64
	FoundBytes int64
	Snapshot   int64
	Process    tenantry.ProcessID
	CreatedAt  int64
	AdmittedAt int64
	StartedAt  int64
	EndedAt    int64
	Delays     string
}

const taskColumns bun.Safe = `id, run, tenant, resource, workload, action, queue, service, state, admission, attempt, not_before, reason, kind,
	params, items, total, skipped, bytes, stored, found, found_bytes, snapshot, process, created_at, admitted_at, started_at, ended_at, delays`

// columns is where the values of taskColumns go.
func (r *taskRow) columns() []any {
	return []any{
		&r.ID, &r.Run, &r.Tenant, &r.Resource, &r.Workload, &r.Action, &r.Queue, &r.Service, &r.State, &r.Admission, &r.Attempt, &r.NotBefore,
		&r.Reason, &r.Kind, &r.Params, &r.Items, &r.Total, &r.Skipped, &r.Bytes, &r.Stored, &r.Found, &r.FoundBytes, &r.Snapshot, &r.Process,
		&r.CreatedAt, &r.AdmittedAt, &r.StartedAt, &r.EndedAt, &r.Delays,
	}
}

func (r taskRow) task() Task {
	t := Task{
		ID: r.ID, Run: r.Run, Tenant: r.Tenant, Resource: r.Resource, Workload: r.Workload, Action: r.Action,
		Queue: r.Queue, Service: r.Service, State: r.State, Admission: r.Admission, Attempt: r.Attempt, Reason: r.Reason, Kind: r.Kind,
		Params: r.Params, Counts: r.counts(),
		Snapshot: r.Snapshot, Process: r.Process, Delays: decodeDelays(r.Delays), AdmittedAt: fromMicros(r.AdmittedAt),
		CreatedAt: fromMicros(r.CreatedAt), StartedAt: fromMicros(r.StartedAt), EndedAt: fromMicros(r.EndedAt),
	}
	if r.NotBefore > r.CreatedAt { // a fresh task is admissible from its creation on
		t.NotBefore = fromMicros(r.NotBefore)
	}
	return t
}

func (r taskRow) counts() tenantry.Counts {
	return tenantry.Counts{
		Items: r.Items, Total: r.Total, Skipped: r.Skipped, Bytes: r.Bytes, Stored: r.Stored, Found: r.Found, FoundBytes: r.FoundBytes,
	}
}

func (r *taskRow) setCounts(c tenantry.Counts) {
	r.Items, r.Total, r.Skipped, r.Bytes, r.Stored = c.Items, c.Total, c.Skipped, c.Bytes, c.Stored
	r.Found, r.FoundBytes = c.Found, c.FoundBytes
}

func tasksOf(found []taskRow) []Task {
	out := make([]Task, len(found))
	for i, row := range found {
		out[i] = row.task()
	}
	return out
}

// newRow is a ready task. Tasks of one run get IDs a microsecond apart, so that they sort
// as they were given.
func newRow(tenant tenantry.TenantID, n NewTask, now time.Time, i int) taskRow {
	return taskRow{
		ID: tenantry.NewTaskID(now.Add(time.Duration(i) * time.Microsecond)), Tenant: tenant,
		Resource: n.Resource, Workload: n.Workload, Action: n.Action, Queue: n.Queue, Service: tenantry.ServiceOf(n.Action, n.Workload), Params: n.Params,
		State: TaskReady, NotBefore: micros(now), CreatedAt: micros(now),
	}
}

// insertTasks adds rows to the tasks of a run.
func insertTasks(ctx context.Context, tx bun.Tx, tasks []taskRow) error {
	for chunk := range slices.Chunk(tasks, batch) {
		if _, err := tx.NewInsert().Model(&chunk).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// endTasks moves rows that were deleted from tasks to the history, releases what their
// tasks reserved, and books them in their runs.
func (c *Catalog) endTasks(ctx context.Context, tx bun.Tx, ended []taskRow) error {
	for chunk := range slices.Chunk(ended, batch) {
		if _, err := tx.NewInsert().Model(&chunk).ModelTableExpr("ended_tasks").Exec(ctx); err != nil {
			return err
		}
		if err := (literal{tx}).run(ctx, c.afterEnd(chunk)...); err != nil {
			return err
		}
	}
	return nil
}

// afterEnd releases what tasks reserved that have ended, and books them in their runs. It
// looks at what never changes of the rows, their counts, and how and when they ended.
func (c *Catalog) afterEnd(ended []taskRow) []step {
	if len(ended) == 0 {
		return nil
	}
	return slices.Concat(c.releaseReservations(ended), c.bookEnded(ended), releaseTenants(ended))
}

// releaseReservations lets the next backup, or prune, of a series start. With the first backup
// it is settled when the series is pruned.
func (c *Catalog) releaseReservations(ended []taskRow) []step {
	var backups, prunes rows
	saved := rows{{"", "", "", ""}} // the backups that ended well, and none
	for _, task := range ended {
		row := []any{task.Tenant, task.Resource, task.Workload, task.ID}
		switch task.Action {
		case tenantry.Backup:
			backups = append(backups, row)
			if task.State == TaskDone {
				saved = append(saved, row)
			}
		case tenantry.Prune:
			prunes = append(prunes, row)
		}
	}
	steps := c.lockSeries(slices.Concat(backups, prunes))
	if len(backups) > 0 {
		steps = append(steps, step{
			// What is settled together is a handful: the first one's time is right enough for all.
			query: `UPDATE series SET backup_task = '', next_prune_at = CASE WHEN next_prune_at = 0 THEN ?0 ELSE next_prune_at END,
					saved_at = CASE WHEN (tenant, resource, workload, backup_task) IN (VALUES ?2) THEN ?3 ELSE saved_at END
				WHERE (tenant, resource, workload, backup_task) IN (VALUES ?1)`,
			args: []any{micros(firstPrune(ended[0])), backups, saved, ended[0].EndedAt},
		})
	}
	if len(prunes) > 0 {
		steps = append(steps, step{
			query: "UPDATE series SET prune_task = '' WHERE (tenant, resource, workload, prune_task) IN (VALUES ?0)",
			args:  []any{prunes},
		})
	}
	return steps
}

// tenantTasks names the columns of a tenant that hold its unfinished task of an action: there is at
// most one.
var tenantTasks = map[tenantry.Action]bun.Safe{
	tenantry.Sync: "sync_task", tenantry.Collect: "collect_task", tenantry.Patrol: "patrol_task",
}

// releaseTenants lets the next sync, collection or patrol of the tenants start whose last one has ended.
func releaseTenants(ended []taskRow) (steps []step) {
	for action, column := range tenantTasks {
		var keys rows
		for _, task := range ended {
			if task.Action == action {
				keys = append(keys, []any{task.Tenant, task.ID})
			}
		}
		if len(keys) > 0 {
			steps = append(steps, step{query: "UPDATE tenants SET ?0 = '' WHERE (id, ?0) IN (VALUES ?1)", args: []any{column, keys}})
		}
	}
	return steps
}

// Tasks lists the tasks of a run by ascending ID from after on, unfinished and ended ones;
// limit 0 is 100, at most 1000.
func (t *Tenant) Tasks(ctx context.Context, run tenantry.RunID, after tenantry.TaskID, limit int) ([]Task, error) {
	var found []taskRow
	// One statement, so that a task that ends meanwhile is seen in exactly one table.
	err := t.c.read(ctx, fmt.Sprintf("list tasks of run %s of tenant %s", run, t.id), &found, `
		SELECT * FROM (SELECT ?0 FROM tasks WHERE tenant = ?1 AND run = ?2 AND id > ?3 ORDER BY id LIMIT ?4) AS open
		UNION ALL
		SELECT * FROM (SELECT ?0 FROM ended_tasks WHERE tenant = ?1 AND run = ?2 AND id > ?3 AND id >= ?5 ORDER BY id LIMIT ?4) AS ended
		ORDER BY id LIMIT ?4`, taskColumns, t.id, run, after, page(limit), created(run))
	return tasksOf(found), err
}

// RunProblems lists the tasks of a run with something to explain, by ascending ID: they
// failed, ended or wait for a reason, or could not take every item. limit 0 is 100, at
// most 1000.
func (t *Tenant) RunProblems(ctx context.Context, run tenantry.RunID, limit int) ([]Task, error) {
	var found []taskRow
	// The condition is that of the index ended_tasks_trouble.
	const trouble bun.Safe = "(reason <> '' OR skipped > 0 OR state = 'failed')"
	err := t.c.read(ctx, fmt.Sprintf("list problems of run %s of tenant %s", run, t.id), &found, `
		SELECT * FROM (SELECT ?0 FROM tasks WHERE tenant = ?1 AND run = ?2 AND ?4 ORDER BY id LIMIT ?3) AS open
		UNION ALL
		SELECT * FROM (SELECT ?0 FROM ended_tasks WHERE tenant = ?1 AND run = ?2 AND ?4 AND id >= ?5 ORDER BY id LIMIT ?3) AS ended
		ORDER BY id LIMIT ?3`, taskColumns, t.id, run, page(limit), trouble, created(run))
	return tasksOf(found), err
}

// created is the smallest ID that a task of a run can have: no older partition is read.
func created(run tenantry.RunID) tenantry.TaskID {
	return tenantry.TaskID(run[:min(len(run), len(tenantry.TaskIDFloor(time.UnixMicro(0))))])
}

// Task reads one task. NotFound, also when it has expired.
func (t *Tenant) Task(ctx context.Context, id tenantry.TaskID) (Task, error) {
	var found []taskRow
	op := fmt.Sprintf("read task %s of tenant %s", id, t.id)
	err := t.c.read(ctx, op, &found, `
		SELECT ?0 FROM tasks WHERE tenant = ?1 AND id = ?2
		UNION ALL
		SELECT ?0 FROM ended_tasks WHERE tenant = ?1 AND id = ?2`, taskColumns, t.id, id)
	if err != nil {
		return Task{}, err
	}
	if len(found) == 0 {
		return Task{}, tenantry.Errorf(tenantry.NotFound, "%s: there is no such task", op)
	}
	return found[0].task(), nil
}
