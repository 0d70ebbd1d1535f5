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
	// Anew says that the slice began from the start again: what it tells of an item that a slice before told is not
	// appended a second time.
	Anew bool

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

func (q *settleAsk) guard() guard {
	return guard{q.claim.Tenant, q.claim.ID, q.claim.Admission, q.claim.Process}
}

func (q *settleAsk) String() string {
	return fmt.Sprintf("settle task %s of tenant %s", q.claim.ID, q.claim.Tenant)
}

// sealed is the snapshot that a task has sealed by the end of a settlement.
func (q *settleAsk) sealed() int64 {
	if q.Snapshot != nil {
		return q.Snapshot.Seq
	}
	return q.claim.Snapshot
}

// delays is what a task has waited for by the end of a settlement.
func (q *settleAsk) delays() string { return encodeDelays(q.claim.Delays.Add(q.Delays)) }

// Settle ends a claim: task row, series owner, run aggregates, snapshot mirror, problems, in
// one transaction. Fenced if no longer owner; Invalid: a state that no settlement has, or a
// snapshot of another series.
//
// Settlements that are made at about the same time share a transaction, with claims too.
func (t *Tenant) Settle(ctx context.Context, c Claim, s Settlement, now time.Time) error {
	q := &settleAsk{claim: c, Settlement: s, now: now}
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
	_, err := t.c.handovers.ask(ctx, q, handover{settle: q})
	return err
}

// settling is what a transaction finds of the settlements that it answers.
type settling struct {
	asked      []*settleAsk
	back, over []*settleAsk  // what goes back to ready, and what ends
	at         map[guard]int // the first who asked; a second has lost by then
	problems   map[tenantry.TaskID][]toldProblem

	given, ended []*settleAsk // those that were held
	tallied      bool         // what they waited for is left to the tally
}

func newSettling(asked []*settleAsk) *settling {
	l := &settling{asked: asked, at: make(map[guard]int, len(asked)), problems: map[tenantry.TaskID][]toldProblem{}}
	for i, q := range asked {
		if _, twice := l.at[q.guard()]; twice {
			continue
		}
		l.at[q.guard()] = i
		if q.State == TaskReady {
			l.back = append(l.back, q)
		} else {
			l.over = append(l.over, q)
		}
	}
	return l
}

// begin ends the claims that are held.
func (l *settling) begin(c *Catalog) []step {
	return slices.Concat(giveBack(l.back, &l.given), c.moveEnded(l.over, &l.ended), countProblems(l.asked, l.problems))
}

// cancel ends those that were to go back to ready and that somebody wants canceled.
func (l *settling) cancel(c *Catalog) []step {
	if len(l.given) == len(l.back) {
		return nil
	}
	return c.moveEnded(canceledOf(l.back, l.given), &l.ended)
}

func (l *settling) settled() []*settleAsk { return slices.Concat(l.given, l.ended) }

// answers are Fenced for those that were not held.
func (l *settling) answers() []error {
	won := make([]bool, len(l.asked))
	for _, q := range l.settled() {
		won[l.at[q.guard()]] = true // q is a copy where its task is canceled
	}
	errs := make([]error, len(l.asked))
	for i, q := range l.asked {
		if !won[i] {
			errs[i] = fenced(q.String())
		}
	}
	return errs
}

// book writes what settlements mean beside their task rows and their series' owners, in the
// order of locks. What they waited for is left to the tally, unless that is full.
func (l *settling) book(c *Catalog) []step {
	settled := l.settled()
	if len(settled) == 0 {
		return nil
	}
	ended := make([]taskRow, len(l.ended))
	for i, q := range l.ended {
		ended[i] = q.ended()
	}
	entries := entriesOf
	if l.tallied = !c.tally.full(); l.tallied {
		entries = countsOf
	}
	return slices.Concat(putSettled(settled), addProblems(settled, l.problems), c.afterEnd(ended), keepPaces(settled), enterLedger(settled, entries))
}

// ended is the row of the task as a settlement ends it, as far as it is looked at afterwards.
func (q *settleAsk) ended() taskRow {
	t := q.claim.Task
	row := taskRow{
		ID: t.ID, Run: t.Run, Tenant: t.Tenant, Resource: t.Resource, Workload: t.Workload, Action: t.Action,
		State: q.State, EndedAt: micros(q.now),
	}
	row.setCounts(q.Counts)
	return row
}

// settledColumns are the columns of values.
const settledColumns bun.Safe = `v_tenant, v_id, v_admission, v_process, v_state, v_not_before, v_reason, v_kind, v_attempt,
	v_items, v_total, v_skipped, v_bytes, v_stored, v_found, v_found_bytes, v_snapshot, v_ended_at, v_delays`

// values are what settlements are known by, and what their tasks become.
func values(asked []*settleAsk) (list rows) {
	for _, q := range asked {
		c, n := q.claim, q.Counts
		list = append(list, []any{
			c.Tenant, c.ID, c.Admission, c.Process, q.State, max(micros(q.NotBefore), micros(c.CreatedAt)), q.Reason, q.Kind, q.Attempt,
			n.Items, n.Total, n.Skipped, n.Bytes, n.Stored, n.Found, n.FoundBytes, q.sealed(), micros(q.now), q.delays(),
		})
	}
	return list
}

// isHeld is held as the condition of a join with values.
const isHeld bun.Safe = "tenant = v_tenant AND id = v_id AND admission = v_admission AND process = v_process AND state = 'running'"

// winners enters those of asked whose tasks a step returns as id and admission. An admission
// is claimed once: it names the process.
func winners(asked []*settleAsk, won *[]*settleAsk) func(scan scanRow) error {
	type admission struct {
		id     tenantry.TaskID
		number int64
	}
	by := make(map[admission]*settleAsk, len(asked))
	for _, q := range asked {
		by[admission{q.claim.ID, q.claim.Admission}] = q
	}
	return func(scan scanRow) error {
		var a admission
		err := scan(&a.id, &a.number)
		*won = append(*won, by[a])
		return err
	}
}

// giveBack makes claimed tasks ready again, and enters those that were held and that nobody
// wants canceled.
func giveBack(asked []*settleAsk, won *[]*settleAsk) []step {
	if len(asked) == 0 {
		return nil
	}
	return []step{{
		query: `
			WITH v (?1) AS (VALUES ?0)
			UPDATE tasks SET state = 'ready', process = '', not_before = v_not_before, reason = v_reason, kind = v_kind, attempt = v_attempt,
				items = v_items, total = v_total, skipped = v_skipped, bytes = v_bytes, stored = v_stored,
				found = v_found, found_bytes = v_found_bytes, snapshot = v_snapshot, delays = v_delays
			FROM v WHERE ?2 AND canceled_at = 0 RETURNING id, admission`,
		args: []any{values(asked), settledColumns, isHeld},
		row:  winners(asked, won),
	}}
}

// endedValues are the values of taskColumns of a task that ends: its own, and those of values.
const endedValues bun.Safe = `id, run, tenant, resource, workload, action, queue, service, v_state, admission, v_attempt, not_before, v_reason, v_kind,
	params, v_items, v_total, v_skipped, v_bytes, v_stored, v_found, v_found_bytes, v_snapshot, process, created_at, admitted_at, started_at, v_ended_at, v_delays`

// moveEnded takes claimed tasks from the unfinished ones to the history, as they ended, and
// enters those that were held.
func (c *Catalog) moveEnded(asked []*settleAsk, won *[]*settleAsk) []step {
	if len(asked) == 0 {
		return nil
	}
	args := []any{values(asked), settledColumns, isHeld, taskColumns, endedValues}
	row := winners(asked, won)
	if c.postgres != nil {
		return []step{{query: `
			WITH v (?1) AS (VALUES ?0), gone AS (DELETE FROM tasks USING v WHERE ?2 RETURNING *)
			INSERT INTO ended_tasks (?3) SELECT ?4 FROM gone RETURNING id, admission`, args: args, row: row}}
	}
	return []step{
		{query: "WITH v (?1) AS (VALUES ?0) INSERT INTO ended_tasks (?3) SELECT ?4 FROM tasks JOIN v ON ?2 RETURNING id, admission", args: args, row: row},
		{query: "WITH v (?1) AS (VALUES ?0) DELETE FROM tasks WHERE EXISTS (SELECT 1 FROM v WHERE ?2)", args: args},
	}
}

// freeSeries ends the tasks' ownership of their series, where they have it. It locks those
// that claimed tasks will own, too, in one order with the others.
func (c *Catalog) freeSeries(settled []*settleAsk, claimed []*reply[Claim]) []step {
	var owners, wanted rows
	for _, q := range settled {
		if t := q.claim.Task; writesSeries(t.Action) {
			owners = append(owners, []any{t.Tenant, t.Resource, t.Workload, t.ID})
		}
	}
	if len(owners) == 0 {
		return nil // who only owns takes them in order by itself
	}
	for _, r := range claimed {
		wanted = append(wanted, []any{r.value.Tenant, r.value.Resource, r.value.Workload})
	}
	return append(c.lockSeries(slices.Concat(owners, wanted)), step{
		query: "UPDATE series SET owner_task = '', owner_process = '' WHERE (tenant, resource, workload, owner_task) IN (VALUES ?0)",
		args:  []any{owners},
	})
}

// lockSeries locks the series that rows name in their first columns, in the order in which
// all transactions do: an UPDATE alone takes its rows as it finds them.
func (c *Catalog) lockSeries(named rows) []step {
	if c.postgres == nil || len(named) < 2 {
		return nil
	}
	var keys rows
	for _, row := range named {
		keys = append(keys, row[:3])
	}
	return []step{{
		query: "SELECT 1 FROM series WHERE (tenant, resource, workload) IN (VALUES ?0) ORDER BY tenant, resource, workload FOR UPDATE",
		args:  []any{keys},
	}}
}

// putSettled records the snapshots of settlements.
func putSettled(settled []*settleAsk) (steps []step) {
	for _, q := range settled {
		if q.Snapshot != nil {
			steps = append(steps, putSnapshot(q.claim.Task, *q.Snapshot))
		}
	}
	return steps
}

// paceMemory is how much of a flow's pace each settlement leaves as it was.
const paceMemory = 0.875

// keepPaces mixes slices into their flows' moving means, one of each flow at a time.
func keepPaces(settled []*settleAsk) (steps []step) {
	type flow struct {
		tenant  tenantry.TenantID
		service tenantry.Service
	}
	compare := func(a, b flow) int { return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.service, b.service)) }
	paces := map[flow][]*settleAsk{}
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
		steps = append(steps, step{
			query: `
				INSERT INTO paces AS old (tenant, service, seconds, units) VALUES ?0
				ON CONFLICT (tenant, service) DO UPDATE
				SET seconds = old.seconds * ?1 + excluded.seconds * (1 - ?1), units = old.units * ?1 + excluded.units * (1 - ?1)`,
			args: []any{values, paceMemory},
		})
	}
	return steps
}
