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

// busyWait is how long a task waits whose series has another owner.
const busyWait = 5 * time.Second

// Claim is a task owned by this process, with its series' epoch (0 for tasks that write no
// series). Its Counts are those of the slices before: Progress and Settle take the task's
// totals, over all its slices.
type Claim struct {
	Task
	Epoch int64
	Of    TenantRow // the task's tenant, as it stood at the claim; no ID when there is none
}

// claimAsk is a question of Claim.
type claimAsk struct {
	tenant    tenantry.TenantID
	task      tenantry.TaskID
	admission int64
	process   tenantry.ProcessID
}

func (q claimAsk) String() string { return fmt.Sprintf("claim task %s of tenant %s", q.task, q.tenant) }

// Claim takes an admitted task for a live process, guarded by (id, admission, admitted), and
// its series: the stored epoch rises by one. Conflict: the delivery is stale, drop it. Busy
// series: the task goes back to ready with a short not_before, error kind Transient. Fenced:
// the process has no lease (any more); the task stays admitted.
//
// Claims that are made at about the same time share a transaction; each waits for at most
// 5 ms until that begins. Once it has begun, Claim awaits its end whatever becomes of ctx.
func (t *Tenant) Claim(ctx context.Context, id tenantry.TaskID, admission int64, p tenantry.ProcessID) (Claim, error) {
	q := claimAsk{tenant: t.id, task: id, admission: admission, process: p}
	return t.c.claims.ask(ctx, q.String(), q)
}

// claimAll answers claims in one transaction.
func (c *Catalog) claimAll(ctx context.Context, asked []claimAsk) (replies []reply[Claim], err error) {
	err = c.write(ctx, "claim tasks", func(ctx context.Context, tx bun.Tx) error {
		live, err := c.alive(ctx, tx, asked)
		if err != nil {
			return err
		}
		won, err := c.take(ctx, tx, asked, live)
		if err != nil {
			return err
		}
		replies = answerClaims(asked, live, won)
		if err := c.ownSeries(ctx, tx, replies); err != nil {
			return err
		}
		return describeTenants(ctx, tx, replies)
	})
	return replies, err
}

// alive holds the leases of processes for the rest of the transaction, so that Reap either
// sees their claims or comes first, and returns those that have one.
func (c *Catalog) alive(ctx context.Context, tx bun.Tx, asked []claimAsk) (map[tenantry.ProcessID]bool, error) {
	live := map[tenantry.ProcessID]bool{}
	for _, q := range asked {
		live[q.process] = false
	}
	var found []tenantry.ProcessID
	err := scan(ctx, tx, &found, "SELECT id FROM processes WHERE id IN (?) AND expires_at > ? ORDER BY id ?",
		bun.List(slices.Sorted(maps.Keys(live))), c.now(), c.lock(forShare))
	for _, id := range found {
		live[id] = true
	}
	return live, err
}

// take marks the tasks running whose admission is waiting for its claim, for those who live.
func (c *Catalog) take(ctx context.Context, tx bun.Tx, asked []claimAsk, live map[tenantry.ProcessID]bool) (map[tenantry.TaskID]taskRow, error) {
	var values rows
	for _, q := range asked {
		if live[q.process] {
			values = append(values, []any{q.tenant, q.task, q.admission, q.process})
		}
	}
	if len(values) == 0 {
		return nil, nil
	}
	var found []taskRow
	err := scan(ctx, tx, &found, `
		WITH v (v_tenant, v_id, v_admission, v_process) AS (VALUES ?0)
		UPDATE tasks SET state = 'running', process = v_process, reason = '', kind = '',
			started_at = CASE WHEN started_at = 0 THEN ?1 ELSE started_at END
		FROM v WHERE tenant = v_tenant AND id = v_id AND admission = v_admission AND state = 'admitted' RETURNING ?2`,
		values, c.now(), taskColumns)
	won := make(map[tenantry.TaskID]taskRow, len(found))
	for _, row := range found {
		won[row.ID] = row
	}
	return won, err
}

// answerClaims gives each task that was won to one who asked for it: several may have.
func answerClaims(asked []claimAsk, live map[tenantry.ProcessID]bool, won map[tenantry.TaskID]taskRow) []reply[Claim] {
	replies := make([]reply[Claim], len(asked))
	for i, q := range asked {
		row, ok := won[q.task]
		switch {
		case !live[q.process]:
			replies[i].err = tenantry.Errorf(tenantry.Fenced, "%s: process %s has no lease", q, q.process)
		case !ok || row.Tenant != q.tenant || row.Admission != q.admission || row.Process != q.process:
			replies[i].err = tenantry.Errorf(tenantry.Conflict, "%s: admission %d is not the current one, or is claimed", q, q.admission)
		default:
			replies[i].value.Task = row.task()
			delete(won, q.task)
		}
	}
	return replies
}

// ownSeries makes the claimed tasks' series their own, each under its next epoch. A task
// whose series another one owns goes back to ready.
func (c *Catalog) ownSeries(ctx context.Context, tx bun.Tx, replies []reply[Claim]) error {
	var claims []*reply[Claim]
	for i := range replies {
		if r := &replies[i]; r.err == nil && writesSeries(r.value.Action) {
			claims = append(claims, r)
		}
	}
	if len(claims) == 0 {
		return nil
	}
	slices.SortFunc(claims, func(a, b *reply[Claim]) int { return compareSeries(a.value.Task, b.value.Task) })
	var values rows
	for i, r := range claims {
		if task := r.value.Task; i == 0 || compareSeries(claims[i-1].value.Task, task) != 0 {
			values = append(values, []any{task.Tenant, task.Resource, task.Workload, 1, task.ID, task.Process, ""})
		}
	}
	var owned []struct {
		OwnerTask tenantry.TaskID
		Epoch     int64
	}
	err := scan(ctx, tx, &owned, `
		INSERT INTO series AS old (tenant, resource, workload, epoch, owner_task, owner_process, backup_task) VALUES ?
		ON CONFLICT (tenant, resource, workload) DO UPDATE
		SET epoch = old.epoch + 1, owner_task = excluded.owner_task, owner_process = excluded.owner_process
		WHERE old.owner_task IN ('', excluded.owner_task)
		RETURNING owner_task, epoch`, values)
	if err != nil {
		return err
	}
	epochs := make(map[tenantry.TaskID]int64, len(owned))
	for _, row := range owned {
		epochs[row.OwnerTask] = row.Epoch
	}
	var busy []*reply[Claim]
	for _, r := range claims {
		if r.value.Epoch = epochs[r.value.ID]; r.value.Epoch == 0 {
			busy = append(busy, r)
		}
	}
	return c.postpone(ctx, tx, busy)
}

// compareSeries orders tasks by the series they work on, which is also the order of locks.
func compareSeries(a, b Task) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Workload, b.Workload))
}

// postpone gives claimed tasks back because their series are busy.
func (c *Catalog) postpone(ctx context.Context, tx bun.Tx, busy []*reply[Claim]) error {
	if len(busy) == 0 {
		return nil
	}
	var keys rows
	for _, r := range busy {
		keys = append(keys, []any{r.value.Tenant, r.value.ID})
	}
	var until []int64
	err := scan(ctx, tx, &until, `
		UPDATE tasks SET state = 'ready', process = '', reason = 'its series is busy', kind = ?, not_before = ? + ?
		WHERE (tenant, id) IN (VALUES ?) RETURNING not_before`, tenantry.Transient, c.now(), busyWait.Microseconds(), keys)
	if err != nil {
		return err
	}
	for _, r := range busy {
		task := r.value.Task
		e := tenantry.Errorf(tenantry.Transient, "claim task %s of tenant %s: series %s is busy", task.ID, task.Tenant, task.Series())
		e.Until = fromMicros(slices.Max(until))
		r.value, r.err = Claim{}, e
	}
	return nil
}

// describeTenants tells the claims whose tasks they are.
func describeTenants(ctx context.Context, tx bun.Tx, replies []reply[Claim]) error {
	ids := map[tenantry.TenantID]bool{}
	for _, r := range replies {
		if r.err == nil {
			ids[r.value.Tenant] = true
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var found []tenantRow
	if err := scan(ctx, tx, &found, "SELECT ? FROM tenants WHERE id IN (?)", tenantColumns, bun.List(slices.Sorted(maps.Keys(ids)))); err != nil {
		return err
	}
	for _, row := range found {
		for i := range replies {
			if r := &replies[i]; r.err == nil && r.value.Tenant == row.ID {
				r.value.Of = row.tenant()
			}
		}
	}
	return nil
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
