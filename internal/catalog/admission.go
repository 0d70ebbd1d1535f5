package catalog

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// LoadDepth is how far Loads counts the ready tasks of one flow in one queue at most. A
// dispatcher looks no deeper in one tick, and counting all of 1,000,000 would take its whole
// tick. Where many flows wait, each gets fewer slots and is counted less far: together about
// loadBudget, each at least GlanceDepth, which is enough for a tick that finds few free slots.
const (
	LoadDepth   = 128
	GlanceDepth = 16
	loadBudget  = 32768
)

// blocked is the condition on a tenant's row under which only connects run and what asks
// Microsoft nothing: what is stored can be verified, exported and pruned for ever.
const (
	blocked    = "state IN ('disconnected', 'refused')"
	unblocked  = "action IN ('connect', 'verify', 'export', 'prune', 'collect', 'patrol', 'repair', 'search')"
	withoutAny = "queue IN ('backup', 'directory')" // queues that have none of them
)

// Load is what the dispatcher knows of one flow (a tenant's tasks that meet the limits of
// one service) in one queue.
type Load struct {
	Tenant   tenantry.TenantID
	Queue    string
	Service  tenantry.Service
	Weight   int
	Users    int64 // of the tenant; with its licences they size what Microsoft allows it
	Licences int64
	Seconds  float64 // that a slice of the flow held its slot lately; 0 unknown
	Units    float64 // that such a slice cost in Graph's resource units
	Ready    int     // admissible now (not_before passed, tenant connected), as far as they were counted
	InFlight int     // admitted + running
	Virtual  float64 // the tenant's virtual time spent so far, kept over leader changes
}

// Loads lists the flows and queues that have admissible tasks or tasks in flight, by tenant,
// queue and service; ready ones are counted up to depth, from GlanceDepth to LoadDepth. Its
// cost is three index descents per flow and queue that has ready tasks and the entries
// counted, whatever the backlog.
func (f *Fleet) Loads(ctx context.Context, now time.Time, depth int) ([]Load, error) {
	var found []Load
	err := f.c.look(ctx, "read loads", step{
		query: loadsQuery,
		args:  []any{micros(now), number(depth), number(loadBudget), number(GlanceDepth)},
		row: func(scan scanRow) error {
			var l Load
			err := scan(&l.Tenant, &l.Queue, &l.Service, &l.Weight, &l.Users, &l.Licences, &l.Seconds, &l.Units, &l.Ready, &l.InFlight, &l.Virtual)
			found = append(found, l)
			return err
		},
	})
	return found, err
}

// loadsQuery reads loads at a time (?0), to a depth (?1 to ?3). The recursions walk the index
// tasks_ready from one distinct key to the next.
const loadsQuery = `
	WITH RECURSIVE queues (queue) AS (
		SELECT min(queue) FROM tasks WHERE waiting
		UNION ALL
		SELECT (SELECT min(t.queue) FROM tasks t WHERE t.waiting AND t.queue > q.queue)
		FROM queues q WHERE q.queue IS NOT NULL
	), lanes (queue, tenant) AS (
		SELECT q.queue, (SELECT min(t.tenant) FROM tasks t WHERE t.waiting AND t.queue = q.queue)
		FROM queues q WHERE q.queue IS NOT NULL
		UNION ALL
		SELECT l.queue, (SELECT min(t.tenant) FROM tasks t WHERE t.waiting AND t.queue = l.queue AND t.tenant > l.tenant)
		FROM lanes l WHERE l.tenant IS NOT NULL
	), flows (queue, tenant, service) AS (
		SELECT l.queue, l.tenant, (SELECT min(t.service) FROM tasks t WHERE t.waiting AND t.queue = l.queue AND t.tenant = l.tenant)
		FROM lanes l WHERE l.tenant IS NOT NULL
		UNION ALL
		SELECT f.queue, f.tenant, (SELECT min(t.service) FROM tasks t WHERE t.waiting AND t.queue = f.queue AND t.tenant = f.tenant AND t.service > f.service)
		FROM flows f WHERE f.service IS NOT NULL
	), depth (n) AS (
		SELECT CASE WHEN ?2 / count(*) > ?1 THEN ?1 WHEN ?2 / count(*) < ?3 THEN ?3 ELSE ?2 / count(*) END
		FROM flows WHERE service IS NOT NULL HAVING count(*) > 0
	), counted (queue, tenant, service, ready, in_flight) AS (
		SELECT l.queue, l.tenant, l.service, CASE
			WHEN NOT (n.` + blocked + `) THEN (SELECT count(*) FROM (
				SELECT 1 FROM tasks t WHERE t.waiting AND t.queue = l.queue AND t.tenant = l.tenant AND t.service = l.service
					AND t.not_before <= ?0 LIMIT (SELECT n FROM depth)) AS few)
			WHEN l.` + withoutAny + ` THEN 0
			ELSE (SELECT count(*) FROM (
				SELECT 1 FROM tasks t WHERE t.waiting AND t.queue = l.queue AND t.tenant = l.tenant AND t.service = l.service
					AND t.not_before <= ?0 AND t.` + unblocked + ` LIMIT (SELECT n FROM depth)) AS few) END, 0
		FROM flows l JOIN tenants n ON n.id = l.tenant WHERE l.service IS NOT NULL
		UNION ALL
		SELECT queue, tenant, service, 0, count(*) FROM tasks WHERE NOT waiting GROUP BY queue, tenant, service
	)
	SELECT c.tenant, c.queue, c.service, n.weight, n.users, n.licences, coalesce(p.seconds, 0.0) AS seconds, coalesce(p.units, 0.0) AS units,
		CAST(sum(c.ready) AS bigint) AS ready, CAST(sum(c.in_flight) AS bigint) AS in_flight, n.virtual
	FROM counted c JOIN tenants n ON n.id = c.tenant LEFT JOIN paces p ON p.tenant = c.tenant AND p.service = c.service
	GROUP BY c.tenant, c.queue, c.service, n.weight, n.users, n.licences, p.seconds, p.units, n.virtual HAVING sum(c.ready) + sum(c.in_flight) > 0
	ORDER BY c.tenant, c.queue, c.service`

// Pick is so many tasks of one flow and queue to admit, oldest first.
type Pick struct {
	Tenant  tenantry.TenantID
	Queue   string
	Service tenantry.Service
	N       int
	Virtual float64 // new virtual time of the tenant
}

// picksAtOnce is how many picks one statement serves; SQLite takes at most 500 terms.
const picksAtOnce = 100

// Admit marks tasks admitted and raises their admission, in one transaction guarded by the
// fence (Fenced). It returns them, oldest first, for enqueueing: fewer than picked where
// they were canceled meanwhile. Oldest is by when they became admissible.
func (f *Fleet) Admit(ctx context.Context, fence int64, picks []Pick, now time.Time) ([]Task, error) {
	var admitted []taskRow
	err := f.c.transact(ctx, "admit tasks", func(ctx context.Context, tx stepper) ([]step, error) {
		admitted = nil
		leads := false
		steps := []step{f.c.holdFence(fence, &leads)}
		for chunk := range slices.Chunk(picks, picksAtOnce) {
			steps = append(steps, f.c.admit(chunk, now, &admitted))
		}
		err := tx.run(ctx, append(steps, spend(picks)...)...)
		if err == nil && !leads {
			err = deposed(fence)
		}
		return nil, err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(admitted, func(a, b taskRow) int {
		return cmp.Or(cmp.Compare(a.NotBefore, b.NotBefore), cmp.Compare(a.ID, b.ID))
	})
	return tasksOf(admitted), nil
}

// admit marks the tasks of picks admitted, and enters them.
func (c *Catalog) admit(picks []Pick, now time.Time, admitted *[]taskRow) step {
	s := step{
		query: "WITH picked (id) AS MATERIALIZED (" + pickedTasks + `)
			UPDATE tasks SET state = 'admitted', admission = admission + 1, admitted_at = ?1
			WHERE state = 'ready' AND id IN (SELECT id FROM picked) RETURNING ?2`,
		row: func(scan scanRow) error {
			var row taskRow
			err := scan(row.columns()...)
			*admitted = append(*admitted, row)
			return err
		},
	}
	if c.postgres == nil {
		s.query = strings.Replace(s.query, pickedTasks, "?0", 1)
		s.args = []any{unionPicks(picks, now), micros(now), taskColumns}
		return s
	}
	var values rows
	for _, pick := range picks {
		values = append(values, []any{pick.Tenant, pick.Queue, pick.Service, max(0, pick.N)})
	}
	s.args = []any{values, micros(now), taskColumns, skipTaken}
	return s
}

// pickedTasks is the SELECT of the oldest admissible tasks of each pick (?0) on Postgres: one
// plan that runs once for each pick. A plan with a branch for each took longer to make than to run.
const pickedTasks = `SELECT pick.id
	FROM (VALUES ?0) AS v (tenant, queue, service, n) JOIN tenants n ON n.id = v.tenant CROSS JOIN LATERAL (
		SELECT t.id FROM tasks t WHERE t.waiting AND t.queue = v.queue AND t.tenant = v.tenant AND t.service = v.service
			AND t.not_before <= ?1 AND (t.` + unblocked + ` OR NOT (n.` + blocked + `))
		ORDER BY t.not_before, t.id LIMIT v.n ?3) AS pick`

// unionPicks is pickedTasks where a LIMIT cannot differ from row to row.
func unionPicks(picks []Pick, now time.Time) unionAll {
	union := unionAll{}
	for _, pick := range picks {
		union = append(union, bun.SafeQuery(`SELECT id FROM (
			SELECT id FROM tasks WHERE waiting AND queue = ?0 AND tenant = ?1 AND service = ?4 AND not_before <= ?2
				AND (`+unblocked+` OR NOT EXISTS (SELECT 1 FROM tenants WHERE id = ?1 AND `+blocked+`))
			ORDER BY not_before, id LIMIT ?3) AS pick`,
			pick.Queue, pick.Tenant, micros(now), max(0, pick.N), pick.Service))
	}
	return union
}

// unionAll formats as the UNION ALL of queries. Never empty.
type unionAll []schema.QueryWithArgs

// AppendQuery implements schema.QueryAppender.
func (u unionAll) AppendQuery(gen schema.QueryGen, b []byte) ([]byte, error) {
	var err error
	for i, query := range u {
		if i > 0 {
			b = append(b, " UNION ALL "...)
		}
		if b, err = query.AppendQuery(gen, b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// spend stores the virtual times of picks, the highest of each tenant.
func spend(picks []Pick) (steps []step) {
	highest := map[tenantry.TenantID]float64{}
	for _, pick := range picks {
		if v, ok := highest[pick.Tenant]; !ok || pick.Virtual > v {
			highest[pick.Tenant] = pick.Virtual
		}
	}
	var values rows
	for id, virtual := range highest {
		values = append(values, []any{id, virtual})
	}
	for chunk := range slices.Chunk(values, batch) {
		steps = append(steps, step{
			query: "WITH v (id, virtual) AS (VALUES ?0) UPDATE tenants SET virtual = v.virtual FROM v WHERE tenants.id = v.id",
			args:  []any{chunk},
		})
	}
	return steps
}

// Unclaimed lists tasks admitted before t and not claimed, the longest admitted first;
// limit 0 is 100, at most 1000.
func (f *Fleet) Unclaimed(ctx context.Context, before time.Time, limit int) ([]Task, error) {
	var found []taskRow
	err := f.c.read(ctx, "list unclaimed tasks", &found,
		"SELECT ? FROM tasks WHERE NOT waiting AND state = 'admitted' AND admitted_at < ? ORDER BY admitted_at, id LIMIT ?",
		taskColumns, micros(before), page(limit))
	return tasksOf(found), err
}

// Readmit raises the admission of a task whose delivery was lost or settled in asynq; the
// guard is the old number. Fenced; Conflict: it was claimed, canceled or readmitted meanwhile.
func (f *Fleet) Readmit(ctx context.Context, fence int64, id tenantry.TaskID, admission int64, now time.Time) (Task, error) {
	op := "readmit task " + string(id)
	var found []taskRow
	err := f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		found = nil
		if err := f.c.fence(ctx, tx, fence); err != nil {
			return err
		}
		err := scan(ctx, tx, &found, `UPDATE tasks SET admission = admission + 1, admitted_at = ?
			WHERE id = ? AND admission = ? AND state = 'admitted' RETURNING ?`, micros(now), id, admission, taskColumns)
		if err == nil && len(found) == 0 {
			err = tenantry.Errorf(tenantry.Conflict, "%s: admission %d is not waiting for its claim", op, admission)
		}
		return err
	})
	if err != nil {
		return Task{}, err
	}
	return found[0].task(), nil
}

// Backlog is the number of unfinished tasks of one queue.
type Backlog struct {
	Queue    string
	Ready    int64 // admissible now
	Parked   int64 // ready later
	InFlight int64 // admitted + running
}

// Backlogs counts all unfinished tasks by queue: exact, for metrics and autoscaling, and
// too slow for every tick (it reads the whole index of ready tasks).
func (f *Fleet) Backlogs(ctx context.Context, now time.Time) ([]Backlog, error) {
	var found []Backlog
	err := f.c.read(ctx, "count the backlog", &found, `
		SELECT queue, CAST(sum(ready) AS bigint) AS ready, CAST(sum(parked) AS bigint) AS parked, CAST(sum(in_flight) AS bigint) AS in_flight
		FROM (
			SELECT queue, count(*) AS ready, 0 AS parked, 0 AS in_flight FROM tasks WHERE waiting AND not_before <= ?0 GROUP BY queue
			UNION ALL SELECT queue, 0, count(*), 0 FROM tasks WHERE waiting AND not_before > ?0 GROUP BY queue
			UNION ALL SELECT queue, 0, 0, count(*) FROM tasks WHERE NOT waiting GROUP BY queue
		) AS counted GROUP BY queue ORDER BY queue`, micros(now))
	return found, err
}
