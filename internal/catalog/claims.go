package catalog

import (
	"cmp"
	"context"
	"fmt"
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

func (q *claimAsk) String() string {
	return fmt.Sprintf("claim task %s of tenant %s", q.task, q.tenant)
}

// Claim takes an admitted task for a live process, guarded by (id, admission, admitted), and
// its series: the stored epoch rises by one. Conflict: the delivery is stale, drop it. Busy
// series: the task goes back to ready with a short not_before, error kind Transient. Fenced:
// the process has no lease (any more); the task stays admitted.
//
// Claims and settlements that are made at about the same time share a transaction (see
// handOver): each waits for the one under way, and for company at most 5 ms. Once it has begun,
// Claim awaits its end whatever becomes of ctx.
func (t *Tenant) Claim(ctx context.Context, id tenantry.TaskID, admission int64, p tenantry.ProcessID) (Claim, error) {
	q := &claimAsk{tenant: t.id, task: id, admission: admission, process: p}
	return t.c.handovers.ask(ctx, q, handover{claim: q})
}

// claiming is what a transaction finds of the claims that it answers.
type claiming struct {
	asked   []*claimAsk
	live    map[tenantry.ProcessID]bool
	won     map[tenantry.TaskID]taskRow
	of      map[tenantry.TenantID]TenantRow
	replies []reply[Claim] // those of asked
}

func newClaiming(asked []*claimAsk) *claiming {
	return &claiming{
		asked: asked, live: map[tenantry.ProcessID]bool{}, won: map[tenantry.TaskID]taskRow{}, of: map[tenantry.TenantID]TenantRow{},
	}
}

// begin takes the tasks that are asked for; answer knows then whose they are.
func (l *claiming) begin(c *Catalog) []step {
	if len(l.asked) == 0 {
		return nil
	}
	at := c.instant()
	return []step{c.alive(l.asked, at, l.live), take(l.asked, at, l.won), tenantsOf(l.asked, l.of)}
}

// alive holds the leases of processes for the rest of the transaction, so that Reap either
// sees their claims or comes first, and enters those that have one.
func (c *Catalog) alive(asked []*claimAsk, at bun.Safe, live map[tenantry.ProcessID]bool) step {
	var values rows
	for _, q := range asked {
		if _, seen := live[q.process]; !seen {
			live[q.process] = false
			values = append(values, []any{q.process})
		}
	}
	return step{
		query: "SELECT id FROM processes WHERE id IN (VALUES ?0) AND expires_at > ?1 ORDER BY id ?2",
		args:  []any{values, at, c.lock(forShare)},
		row: func(scan scanRow) error {
			var id tenantry.ProcessID
			err := scan(&id)
			live[id] = true
			return err
		},
	}
}

// take marks the tasks running whose admission is waiting for its claim, for processes that
// live, and enters them.
func take(asked []*claimAsk, at bun.Safe, won map[tenantry.TaskID]taskRow) step {
	var values rows
	for _, q := range asked {
		values = append(values, []any{q.tenant, q.task, q.admission, q.process})
	}
	return step{
		query: `
			WITH v (v_tenant, v_id, v_admission, v_process) AS (VALUES ?0)
			UPDATE tasks SET state = 'running', process = v_process, reason = '', kind = '',
				started_at = CASE WHEN started_at = 0 THEN ?1 ELSE started_at END
			FROM v WHERE tenant = v_tenant AND id = v_id AND admission = v_admission AND state = 'admitted'
				AND EXISTS (SELECT 1 FROM processes p WHERE p.id = v_process AND p.expires_at > ?1) RETURNING ?2`,
		args: []any{values, at, taskColumns},
		row: func(scan scanRow) error {
			var row taskRow
			err := scan(row.columns()...)
			won[row.ID] = row
			return err
		},
	}
}

// tenantsOf reads the tenants of tasks.
func tenantsOf(asked []*claimAsk, of map[tenantry.TenantID]TenantRow) step {
	var values rows
	seen := map[tenantry.TenantID]bool{}
	for _, q := range asked {
		if !seen[q.tenant] {
			seen[q.tenant] = true
			values = append(values, []any{q.tenant})
		}
	}
	return step{
		query: "SELECT ?1 FROM tenants WHERE id IN (VALUES ?0)",
		args:  []any{values, tenantColumns},
		row: func(scan scanRow) error {
			var row tenantRow
			err := scan(row.columns()...)
			of[row.ID] = row.tenant()
			return err
		},
	}
}

// answer gives each task that was won to one who asked for it: several may have.
func (l *claiming) answer() {
	l.replies = make([]reply[Claim], len(l.asked))
	for i, q := range l.asked {
		r := &l.replies[i]
		row, ok := l.won[q.task]
		switch {
		case !l.live[q.process]:
			r.err = tenantry.Errorf(tenantry.Fenced, "%s: process %s has no lease", q, q.process)
		case !ok || row.Tenant != q.tenant || row.Admission != q.admission || row.Process != q.process:
			r.err = tenantry.Errorf(tenantry.Conflict, "%s: admission %d is not the current one, or is claimed", q, q.admission)
		default:
			r.value.Task, r.value.Of = row.task(), l.of[row.Tenant]
			delete(l.won, q.task)
		}
	}
}

// writers are the answers with tasks that write a series, in the order of locks.
func (l *claiming) writers() (claims []*reply[Claim]) {
	for i := range l.replies {
		if r := &l.replies[i]; r.err == nil && writesSeries(r.value.Action) {
			claims = append(claims, r)
		}
	}
	slices.SortFunc(claims, func(a, b *reply[Claim]) int { return compareSeries(a.value.Task, b.value.Task) })
	return claims
}

// ownSeries makes the claimed tasks' series their own, each under its next epoch. A task
// whose series another one owns goes back to ready. Steps before it run with it.
func (c *Catalog) ownSeries(ctx context.Context, tx stepper, before []step, claims []*reply[Claim]) error {
	var values rows
	for i, r := range claims {
		if task := r.value.Task; i == 0 || compareSeries(claims[i-1].value.Task, task) != 0 {
			values = append(values, []any{task.Tenant, task.Resource, task.Workload, 1, task.ID, task.Process, ""})
		}
	}
	epochs := make(map[tenantry.TaskID]int64, len(values))
	err := tx.run(ctx, append(before, step{
		query: `
			INSERT INTO series AS old (tenant, resource, workload, epoch, owner_task, owner_process, backup_task) VALUES ?0
			ON CONFLICT (tenant, resource, workload) DO UPDATE
			SET epoch = old.epoch + 1, owner_task = excluded.owner_task, owner_process = excluded.owner_process
			WHERE old.owner_task IN ('', excluded.owner_task)
			RETURNING owner_task, epoch`,
		args: []any{values},
		row: func(scan scanRow) error {
			var owner tenantry.TaskID
			var epoch int64
			err := scan(&owner, &epoch)
			epochs[owner] = epoch
			return err
		},
	})...)
	if err != nil {
		return err
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
func (c *Catalog) postpone(ctx context.Context, tx stepper, busy []*reply[Claim]) error {
	if len(busy) == 0 {
		return nil
	}
	var keys rows
	for _, r := range busy {
		keys = append(keys, []any{r.value.Tenant, r.value.ID})
	}
	var until int64
	err := tx.run(ctx, step{
		query: `UPDATE tasks SET state = 'ready', process = '', reason = 'its series is busy', kind = ?0, not_before = ?1 + ?2
			WHERE (tenant, id) IN (VALUES ?3) RETURNING not_before`,
		args: []any{tenantry.Transient, c.now(), busyWait.Microseconds(), keys},
		row: func(scan scanRow) error {
			var at int64
			err := scan(&at)
			until = max(until, at)
			return err
		},
	})
	if err != nil {
		return err
	}
	for _, r := range busy {
		task := r.value.Task
		e := tenantry.Errorf(tenantry.Transient, "claim task %s of tenant %s: series %s is busy", task.ID, task.Tenant, task.Series())
		e.Until = fromMicros(until)
		r.value, r.err = Claim{}, e
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
	args, err := t.holds(op, c, counts.Items, counts.Total, counts.Skipped, counts.Bytes, counts.Stored, counts.Found, counts.FoundBytes)
	if err != nil {
		return err
	}
	return t.c.one(ctx, op, fenced(op),
		"UPDATE tasks SET items = ?, total = ?, skipped = ?, bytes = ?, stored = ?, found = ?, found_bytes = ? WHERE "+held, args...)
}
