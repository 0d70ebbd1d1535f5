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

// settleAsk is a question of Settle.
type settleAsk struct {
	claim Claim
	Settlement
	now time.Time
}

// guard is what a claim is known by: held, as values.
type guard struct {
	tenant    tenantry.TenantID
	id        tenantry.TaskID
	admission int64
	process   tenantry.ProcessID
}

func (q settleAsk) guard() guard {
	return guard{q.claim.Tenant, q.claim.ID, q.claim.Admission, q.claim.Process}
}

func (q settleAsk) String() string {
	return fmt.Sprintf("settle task %s of tenant %s", q.claim.ID, q.claim.Tenant)
}

// sealed is the snapshot that a task has sealed by the end of a settlement.
func (q settleAsk) sealed() int64 {
	if q.Snapshot != nil {
		return q.Snapshot.Seq
	}
	return q.claim.Snapshot
}

// delays is what a task has waited for by the end of a settlement.
func (q settleAsk) delays() string { return encodeDelays(q.claim.Delays.Add(q.Delays)) }

// Settle ends a claim: task row, series owner, run aggregates, snapshot mirror, problems, in
// one transaction. Fenced if no longer owner; Invalid: a state that no settlement has, or a
// snapshot of another series.
//
// Settlements that are made at about the same time share a transaction, as claims do.
func (t *Tenant) Settle(ctx context.Context, c Claim, s Settlement, now time.Time) error {
	q := settleAsk{claim: c, Settlement: s, now: now}
	op := q.String()
	if s.State != TaskDone && s.State != TaskFailed && s.State != TaskReady {
		return tenantry.Errorf(tenantry.Invalid, "%s: state %q settles nothing", op, s.State)
	}
	if s.Snapshot != nil && s.Snapshot.Series != c.Series() && s.Snapshot.Series != (tenantry.Series{}) {
		return tenantry.Errorf(tenantry.Invalid, "%s: the snapshot is of series %s", op, s.Snapshot.Series)
	}
	if _, err := t.holds(op, c); err != nil {
		return err
	}
	_, err := t.c.settlements.ask(ctx, op, q)
	return err
}

// settleAll answers settlements in one transaction.
func (c *Catalog) settleAll(ctx context.Context, asked []settleAsk) (replies []reply[struct{}], err error) {
	err = c.write(ctx, "settle tasks", func(ctx context.Context, tx bun.Tx) error {
		replies = make([]reply[struct{}], len(asked))
		var back, over []settleAsk
		at := make(map[guard]int, len(asked)) // the first who asked; a second has lost by then
		for i, q := range asked {
			replies[i].err = fenced(q.String())
			if _, twice := at[q.guard()]; twice {
				continue
			}
			at[q.guard()] = i
			if q.State == TaskReady {
				back = append(back, q)
			} else {
				over = append(over, q)
			}
		}
		won, err := giveBack(ctx, tx, back)
		if err != nil {
			return err
		}
		if len(won) < len(back) {
			over = append(over, canceledOf(back, won)...)
		}
		ended, err := removeEnded(ctx, tx, over)
		if err != nil {
			return err
		}
		for _, row := range ended {
			won = append(won, row.guard())
		}
		settled := make([]settleAsk, len(won))
		for i, g := range won {
			settled[i] = asked[at[g]]
			replies[at[g]].err = nil
		}
		return c.book(ctx, tx, settled, ended)
	})
	return replies, err
}

// book writes what settlements mean beside their task rows, in the order of locks.
func (c *Catalog) book(ctx context.Context, tx bun.Tx, settled []settleAsk, ended []taskRow) error {
	if err := c.freeSeries(ctx, tx, settled); err != nil {
		return err
	}
	for _, q := range settled {
		if q.Snapshot != nil {
			if err := putSnapshot(ctx, tx, q.claim.Task, *q.Snapshot); err != nil {
				return err
			}
		}
		if err := addProblems(ctx, tx, q.claim.Task, q.Problems); err != nil {
			return err
		}
	}
	if err := c.endTasks(ctx, tx, ended); err != nil {
		return err
	}
	if err := keepPaces(ctx, tx, settled); err != nil {
		return err
	}
	return enterLedger(ctx, tx, settled)
}

// giveBack makes claimed tasks ready again, and returns those that were held and that nobody
// wants canceled.
func giveBack(ctx context.Context, tx bun.Tx, asked []settleAsk) ([]guard, error) {
	if len(asked) == 0 {
		return nil, nil
	}
	type admission struct {
		ID        tenantry.TaskID
		Admission int64
	}
	owner := make(map[admission]guard, len(asked)) // an admission is claimed once: it names the process
	var values rows
	for _, q := range asked {
		c, n := q.claim, q.Counts
		owner[admission{c.ID, c.Admission}] = q.guard()
		values = append(values, []any{
			c.Tenant, c.ID, c.Admission, c.Process, max(micros(q.NotBefore), micros(c.CreatedAt)), q.Reason, q.Kind, q.Attempt,
			n.Items, n.Total, n.Skipped, n.Bytes, n.Stored, q.sealed(), q.delays(),
		})
	}
	var found []admission
	err := scan(ctx, tx, &found, `
		WITH v (v_tenant, v_id, v_admission, v_process, v_not_before, v_reason, v_kind, v_attempt,
			v_items, v_total, v_skipped, v_bytes, v_stored, v_snapshot, v_delays) AS (VALUES ?)
		UPDATE tasks SET state = 'ready', process = '', not_before = v_not_before, reason = v_reason, kind = v_kind, attempt = v_attempt,
			items = v_items, total = v_total, skipped = v_skipped, bytes = v_bytes, stored = v_stored, snapshot = v_snapshot, delays = v_delays
		FROM v WHERE tenant = v_tenant AND id = v_id AND admission = v_admission AND process = v_process AND state = 'running' AND canceled_at = 0
		RETURNING id, admission`, values)
	if err != nil {
		return nil, err
	}
	given := make([]guard, len(found))
	for i, row := range found {
		given[i] = owner[row]
	}
	return given, nil
}

// removeEnded takes the tasks of claims that are held from the unfinished ones, and returns
// them as they ended.
func removeEnded(ctx context.Context, tx bun.Tx, asked []settleAsk) ([]taskRow, error) {
	if len(asked) == 0 {
		return nil, nil
	}
	by := make(map[guard]settleAsk, len(asked))
	var values rows
	for _, q := range asked {
		by[q.guard()] = q
		values = append(values, []any{q.claim.Tenant, q.claim.ID, q.claim.Admission, q.claim.Process})
	}
	var ended []taskRow
	err := scan(ctx, tx, &ended, `
		DELETE FROM tasks WHERE (tenant, id, admission, process) IN (VALUES ?) AND state = 'running' RETURNING ?`, values, taskColumns)
	if err != nil {
		return nil, err
	}
	for i := range ended {
		row := &ended[i]
		q := by[row.guard()]
		row.State, row.Reason, row.Kind, row.Attempt = q.State, q.Reason, q.Kind, q.Attempt
		row.Snapshot, row.EndedAt = q.sealed(), micros(q.now)
		row.setCounts(q.Counts)
		row.Delays = q.delays()
	}
	return ended, nil
}

func (r taskRow) guard() guard { return guard{r.Tenant, r.ID, r.Admission, r.Process} }

// freeSeries ends the tasks' ownership of their series, where they have it.
func (c *Catalog) freeSeries(ctx context.Context, tx bun.Tx, settled []settleAsk) error {
	var owners rows
	for _, q := range settled {
		if t := q.claim.Task; writesSeries(t.Action) {
			owners = append(owners, []any{t.Tenant, t.Resource, t.Workload, t.ID})
		}
	}
	if len(owners) == 0 {
		return nil
	}
	if err := c.lockSeries(ctx, tx, owners); err != nil {
		return err
	}
	_, err := exec(ctx, tx, `UPDATE series SET owner_task = '', owner_process = ''
		WHERE (tenant, resource, workload, owner_task) IN (VALUES ?)`, owners)
	return err
}

// lockSeries locks the series that rows name in their first columns, in the order in which
// all transactions do: an UPDATE alone takes its rows as it finds them.
func (c *Catalog) lockSeries(ctx context.Context, tx bun.Tx, named rows) error {
	if c.postgres == nil || len(named) < 2 {
		return nil
	}
	var keys rows
	for _, row := range named {
		keys = append(keys, row[:3])
	}
	_, err := exec(ctx, tx, `SELECT 1 FROM series WHERE (tenant, resource, workload) IN (VALUES ?)
		ORDER BY tenant, resource, workload FOR UPDATE`, keys)
	return err
}

// paceMemory is how much of a flow's pace each settlement leaves as it was.
const paceMemory = 0.875

// keepPaces mixes slices into their flows' moving means, one of each flow at a time.
func keepPaces(ctx context.Context, tx bun.Tx, settled []settleAsk) error {
	type flow struct {
		tenant  tenantry.TenantID
		service tenantry.Service
	}
	compare := func(a, b flow) int { return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.service, b.service)) }
	paces := map[flow][]settleAsk{}
	for _, q := range settled {
		if q.Units > 0 && q.claim.Service != tenantry.NoService {
			f := flow{q.claim.Tenant, q.claim.Service}
			paces[f] = append(paces[f], q)
		}
	}
	for len(paces) > 0 {
		var values rows
		for _, f := range slices.SortedFunc(maps.Keys(paces), compare) {
			q := paces[f][0]
			values = append(values, []any{f.tenant, f.service, q.Took.Seconds(), float64(q.Units)})
			if paces[f] = paces[f][1:]; len(paces[f]) == 0 {
				delete(paces, f)
			}
		}
		_, err := exec(ctx, tx, `
			INSERT INTO paces AS old (tenant, service, seconds, units) VALUES ?0
			ON CONFLICT (tenant, service) DO UPDATE
			SET seconds = old.seconds * ?1 + excluded.seconds * (1 - ?1), units = old.units * ?1 + excluded.units * (1 - ?1)`,
			values, paceMemory)
		if err != nil {
			return err
		}
	}
	return nil
}
