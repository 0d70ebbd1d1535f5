package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// busyWait is how long a task waits whose series has another owner.
const busyWait = 5 * time.Second

// Claim is a task owned by this process, with its series' epoch (0 for tasks that write no
// series). Its Counts are those of the slices before: Progress and Settle take the task's
// totals, over all its slices.
type Claim struct {
	Task
	Epoch int64
}

// Settlement says what becomes of a claimed task.
type Settlement struct {
	State     TaskState // TaskDone, TaskFailed, or TaskReady (more, parked, retry)
	NotBefore time.Time
	Reason    string
	Kind      tenantry.Kind
	Attempt   int
	Counts    tenantry.Counts // of the task, over all its slices
	Snapshot  *SnapshotRow    // recorded in the same transaction
	Problems  []Problem       // appended to the task's report (at most 100 kept per task)

	// Delays are what the slice waited for, before it, in it, and, if it is parked, until
	// NotBefore: added to those of the task, its run and the tenant's day. Spent is what
	// its requests cost by service.
	Delays tenantry.Delays
	Spent  map[tenantry.Service]int64

	// Took is how long the slice held its slot, and Units what it cost in Graph's resource
	// units as far as known; together they are the flow's pace. 0 units tell nothing.
	Took  time.Duration
	Units int64
}

// Claim takes an admitted task for a live process, guarded by (id, admission, admitted), and
// its series: the stored epoch rises by one. Conflict: the delivery is stale, drop it. Busy
// series: the task goes back to ready with a short not_before, error kind Transient. Fenced:
// the process has no lease (any more); the task stays admitted.
func (t *Tenant) Claim(ctx context.Context, id tenantry.TaskID, admission int64, p tenantry.ProcessID) (Claim, error) {
	op := fmt.Sprintf("claim task %s of tenant %s", id, t.id)
	var claim Claim
	var busy error
	err := t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		claim, busy = Claim{}, nil
		if err := t.c.alive(ctx, tx, op, p); err != nil {
			return err
		}
		var found []taskRow
		err := scan(ctx, tx, &found, `
			UPDATE tasks SET state = 'running', process = ?0, reason = '', kind = '',
				started_at = CASE WHEN started_at = 0 THEN ?1 ELSE started_at END
			WHERE tenant = ?2 AND id = ?3 AND admission = ?4 AND state = 'admitted' RETURNING ?5`,
			p, t.c.now(), t.id, id, admission, taskColumns)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return tenantry.Errorf(tenantry.Conflict, "%s: admission %d is not the current one, or is claimed", op, admission)
		}
		claim.Task = found[0].task()
		if !writesSeries(claim.Action) {
			return nil
		}
		if claim.Epoch, err = ownSeries(ctx, tx, claim.Task); err != nil || claim.Epoch > 0 {
			return err
		}
		busy, err = t.postpone(ctx, tx, op, claim.Task)
		return err
	})
	if err == nil {
		err = busy
	}
	if err != nil {
		return Claim{}, err
	}
	return claim, nil
}

// alive holds the lease of a process for the rest of the transaction, so that Reap either
// sees the claim or comes first.
func (c *Catalog) alive(ctx context.Context, tx bun.Tx, op string, p tenantry.ProcessID) error {
	var found []tenantry.ProcessID
	err := scan(ctx, tx, &found, "SELECT id FROM processes WHERE id = ? AND expires_at > ? ?", p, c.now(), c.lock(forShare))
	if err == nil && len(found) == 0 {
		err = tenantry.Errorf(tenantry.Fenced, "%s: process %s has no lease", op, p)
	}
	return err
}

// ownSeries makes the task's series its own and returns the new epoch, or 0 when another
// task owns it.
func ownSeries(ctx context.Context, tx bun.Tx, task Task) (epoch int64, err error) {
	var epochs []int64
	err = scan(ctx, tx, &epochs, `
		INSERT INTO series AS old (tenant, resource, workload, epoch, owner_task, owner_process, backup_task)
		VALUES (?, ?, ?, 1, ?, ?, '')
		ON CONFLICT (tenant, resource, workload) DO UPDATE
		SET epoch = old.epoch + 1, owner_task = excluded.owner_task, owner_process = excluded.owner_process
		WHERE old.owner_task IN ('', excluded.owner_task)
		RETURNING epoch`, task.Tenant, task.Resource, task.Workload, task.ID, task.Process)
	if err != nil || len(epochs) == 0 {
		return 0, err
	}
	return epochs[0], nil
}

// postpone gives a claimed task back because its series is busy.
func (t *Tenant) postpone(ctx context.Context, tx bun.Tx, op string, task Task) (busy, err error) {
	var until []int64
	err = scan(ctx, tx, &until, `
		UPDATE tasks SET state = 'ready', process = '', reason = 'its series is busy', kind = ?, not_before = ? + ?
		WHERE tenant = ? AND id = ? RETURNING not_before`, tenantry.Transient, t.c.now(), busyWait.Microseconds(), t.id, task.ID)
	if err != nil || len(until) == 0 {
		return nil, err
	}
	e := tenantry.Errorf(tenantry.Transient, "%s: series %s is busy", op, task.Series())
	e.Until = fromMicros(until[0])
	return e, nil
}

// held is the guard of a claim on its task row: (tenant, id, admission, process).
const held = "tenant = ? AND id = ? AND admission = ? AND process = ? AND state = 'running'"

// holds returns the claim's guard, behind the arguments before it, or Fenced when the claim is of another tenant.
func (t *Tenant) holds(op string, c Claim, before ...any) ([]any, error) {
	if c.Tenant != t.id {
		return nil, fenced(op)
	}
	return append(before, t.id, c.ID, c.Admission, c.Process), nil
}

func fenced(op string) error {
	return tenantry.Errorf(tenantry.Fenced, "%s: the claim is no longer ours", op)
}

// RaiseEpoch lifts the epoch of a claimed series above the bucket's head, and returns it:
// the claim's own if that is higher already. Fenced if no longer owner.
func (t *Tenant) RaiseEpoch(ctx context.Context, c Claim, above int64) (epoch int64, err error) {
	op := fmt.Sprintf("raise epoch of task %s of tenant %s", c.ID, t.id)
	args, err := t.holds(op, c, above, above, t.id, c.Resource, c.Workload, c.ID)
	if err != nil {
		return 0, err
	}
	var epochs []int64
	err = t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		epochs = nil
		return scan(ctx, tx, &epochs, `
			UPDATE series SET epoch = CASE WHEN epoch > ? THEN epoch ELSE ? + 1 END
			WHERE tenant = ? AND resource = ? AND workload = ? AND owner_task = ?
				AND EXISTS (SELECT 1 FROM tasks WHERE `+held+`)
			RETURNING epoch`, args...)
	})
	if err != nil {
		return 0, err
	}
	if len(epochs) == 0 {
		return 0, fenced(op)
	}
	return epochs[0], nil
}

// Progress updates counts of a running claim. Fenced if no longer owner.
func (t *Tenant) Progress(ctx context.Context, c Claim, counts tenantry.Counts) error {
	op := fmt.Sprintf("record progress of task %s of tenant %s", c.ID, t.id)
	args, err := t.holds(op, c, counts.Items, counts.Total, counts.Skipped, counts.Bytes, counts.Stored)
	if err != nil {
		return err
	}
	return t.c.one(ctx, op, fenced(op), "UPDATE tasks SET items = ?, total = ?, skipped = ?, bytes = ?, stored = ? WHERE "+held, args...)
}

// Settle ends a claim: task row, series owner, run aggregates, snapshot mirror, problems, in
// one transaction. Fenced if no longer owner; Invalid: a state that no settlement has, or a
// snapshot of another series.
func (t *Tenant) Settle(ctx context.Context, c Claim, s Settlement, now time.Time) error {
	op := fmt.Sprintf("settle task %s of tenant %s", c.ID, t.id)
	if s.State != TaskDone && s.State != TaskFailed && s.State != TaskReady {
		return tenantry.Errorf(tenantry.Invalid, "%s: state %q settles nothing", op, s.State)
	}
	if s.Snapshot != nil && s.Snapshot.Series != c.Series() && s.Snapshot.Series != (tenantry.Series{}) {
		return tenantry.Errorf(tenantry.Invalid, "%s: the snapshot is of series %s", op, s.Snapshot.Series)
	}
	if _, err := t.holds(op, c); err != nil {
		return err
	}
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		var err error
		if s.State == TaskReady {
			err = t.giveBack(ctx, tx, op, c, s)
		} else {
			err = t.end(ctx, tx, op, c, s, now)
		}
		if err != nil {
			return err
		}
		if s.Snapshot != nil {
			if err := putSnapshot(ctx, tx, c.Task, *s.Snapshot); err != nil {
				return err
			}
		}
		if err := addProblems(ctx, tx, c.Task, s.Problems); err != nil {
			return err
		}
		if err := keepPace(ctx, tx, c.Task, s); err != nil {
			return err
		}
		return book(ctx, tx, c.Task, s, now)
	})
}

// paceMemory is how much of a flow's pace each settlement leaves as it was.
const paceMemory = 0.875

// keepPace mixes a slice into its flow's moving means.
func keepPace(ctx context.Context, tx bun.Tx, task Task, s Settlement) error {
	if s.Units <= 0 || task.Service == tenantry.NoService {
		return nil
	}
	_, err := exec(ctx, tx, `
		INSERT INTO paces AS old (tenant, service, seconds, units) VALUES (?0, ?1, ?2, ?3)
		ON CONFLICT (tenant, service) DO UPDATE
		SET seconds = old.seconds * ?4 + excluded.seconds * (1 - ?4), units = old.units * ?4 + excluded.units * (1 - ?4)`,
		task.Tenant, task.Service, s.Took.Seconds(), float64(s.Units), paceMemory)
	return err
}

// giveBack makes a claimed task ready again.
func (t *Tenant) giveBack(ctx context.Context, tx bun.Tx, op string, c Claim, s Settlement) error {
	args, err := t.holds(op, c, max(micros(s.NotBefore), micros(c.CreatedAt)), s.Reason, s.Kind, s.Attempt,
		s.Counts.Items, s.Counts.Total, s.Counts.Skipped, s.Counts.Bytes, s.Counts.Stored, sealed(c, s), encodeDelays(c.Delays.Add(s.Delays)))
	if err != nil {
		return err
	}
	n, err := exec(ctx, tx, `
		UPDATE tasks SET state = 'ready', process = '', not_before = ?, reason = ?, kind = ?, attempt = ?,
			items = ?, total = ?, skipped = ?, bytes = ?, stored = ?, snapshot = ?, delays = ?
		WHERE `+held, args...)
	if err == nil && n == 0 {
		err = fenced(op)
	}
	if err != nil {
		return err
	}
	return freeSeries(ctx, tx, c.Task)
}

// end moves a claimed task to the history.
func (t *Tenant) end(ctx context.Context, tx bun.Tx, op string, c Claim, s Settlement, now time.Time) error {
	args, err := t.holds(op, c)
	if err != nil {
		return err
	}
	var ended []taskRow
	if err := scan(ctx, tx, &ended, "DELETE FROM tasks WHERE "+held+" RETURNING ?", append(args, taskColumns)...); err != nil {
		return err
	}
	if len(ended) == 0 {
		return fenced(op)
	}
	row := &ended[0]
	row.State, row.Reason, row.Kind, row.Attempt = s.State, s.Reason, s.Kind, s.Attempt
	row.Snapshot, row.EndedAt = sealed(c, s), micros(now)
	row.setCounts(s.Counts)
	row.Delays = encodeDelays(c.Delays.Add(s.Delays))
	if err := freeSeries(ctx, tx, c.Task); err != nil {
		return err
	}
	return endTasks(ctx, tx, ended, now)
}

// sealed is the snapshot that a task has sealed by the end of a settlement.
func sealed(c Claim, s Settlement) int64 {
	if s.Snapshot != nil {
		return s.Snapshot.Seq
	}
	return c.Snapshot
}

// freeSeries ends a task's ownership of its series, if it has it.
func freeSeries(ctx context.Context, tx bun.Tx, task Task) error {
	if !writesSeries(task.Action) {
		return nil
	}
	_, err := exec(ctx, tx, `UPDATE series SET owner_task = '', owner_process = ''
		WHERE tenant = ? AND resource = ? AND workload = ? AND owner_task = ?`, task.Tenant, task.Resource, task.Workload, task.ID)
	return err
}
