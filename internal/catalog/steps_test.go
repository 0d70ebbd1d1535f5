package catalog

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/schema"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The plan of a step is made once, perhaps while there is nothing in the tables. It must find
// rows by key all the same: tasks by their ID, or in the order of the leader's indexes.
func TestPlansOfSteps(t *testing.T) {
	t.Parallel()
	ctx, now := t.Context(), time.Now()
	c, err := Open(ctx, servertest.Postgres(t).Database(t))
	ok(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.writer.Exec("VACUUM ANALYZE")
	ok(t, err)
	everyStep(t, c, now)

	plans := 0
	for _, conn := range c.keyed.AcquireAllIdle(ctx) {
		for _, plan := range plansOn(t, conn) {
			plans++
			if strings.Contains(strings.ReplaceAll(plan, "Seq Scan on leader", ""), "Seq Scan") { // the leader is one row
				t.Errorf("a step reads a whole table:\n%s", plan)
			}
			for _, index := range tasksIndex.FindAllStringSubmatch(plan, -1) {
				if byID, leaders := index[1] == "tasks_pkey", strings.Contains(plan, "t.waiting"); !byID && !leaders {
					t.Errorf("a step looks for tasks in %s:\n%s", index[1], plan)
				}
			}
		}
		conn.Release()
	}
	if plans < 15 {
		t.Errorf("looked at %d plans only", plans)
	}
}

// tasksIndex finds which indexes of tasks a plan uses.
var tasksIndex = regexp.MustCompile(`(?:using|Index Scan on) (tasks_\w+)`)

// everyStep has connections prepare what claims, settlements, admissions, loads and listings are made of.
func everyStep(t *testing.T, c *Catalog, now time.Time) {
	t.Helper()
	ctx := t.Context()
	ok(t, c.Fleet().AddTenant(ctx, TenantRow{ID: scoped, State: tenantry.TenantConnected}))
	ok(t, c.Fleet().Beat(ctx, Process{ID: "worker@1"}, time.Hour))
	fence, _, err := c.Fleet().Lead(ctx, "leader", time.Hour)
	ok(t, err)
	a := c.Tenant(scoped)
	for _, f := range []ResourceFilter{{}, {Named: "ada"}} {
		_, err := a.Resources(ctx, f)
		ok(t, err)
	}
	_, err = a.StartRun(ctx, tenantry.Backup, TriggerSchedule, "", []NewTask{{Resource: "u-1", Workload: tenantry.Mailbox}}, now)
	ok(t, err)
	settlements := []Settlement{{State: TaskReady, NotBefore: now}, {
		State: TaskDone, Snapshot: &SnapshotRow{Seq: 1}, Problems: []Problem{{ItemID: "i"}}, Units: 1, Took: time.Second,
		Delays: tenantry.Delays{Queue: time.Second},
	}}
	for _, s := range settlements {
		loads, err := c.Fleet().Loads(ctx, now.Add(time.Hour), LoadDepth)
		ok(t, err)
		if len(loads) != 1 || loads[0].Ready != 1 {
			t.Fatalf("loads: %+v", loads)
		}
		tasks, err := c.Fleet().Admit(ctx, fence, []Pick{{Tenant: scoped, Queue: queueBackup, Service: tenantry.Outlook, N: 1}}, now.Add(time.Hour))
		ok(t, err)
		claim, err := a.Claim(ctx, tasks[0].ID, tasks[0].Admission, "worker@1")
		ok(t, err)
		ok(t, a.Settle(ctx, claim, s, now))
	}
}

// plansOn lists the plans of the statements that a connection has prepared.
func plansOn(t *testing.T, conn *pgxpool.Conn) (plans []string) {
	t.Helper()
	ctx := t.Context()
	found, err := conn.Query(ctx, `SELECT name, statement, parameter_types::text[] FROM pg_prepared_statements
		WHERE statement NOT IN ('BEGIN', 'COMMIT') AND statement NOT LIKE '%pg_prepared_statements%'`)
	ok(t, err)
	explain := map[string]string{}
	for found.Next() {
		var name, statement string
		var types []string
		ok(t, found.Scan(&name, &statement, &types))
		for i, typed := range types {
			types[i] = "NULL::" + typed
		}
		args := ""
		if len(types) > 0 {
			args = "(" + strings.Join(types, ", ") + ")"
		}
		explain[statement] = fmt.Sprintf("EXPLAIN EXECUTE %q%s", name, args)
	}
	ok(t, found.Err())
	for statement, query := range explain {
		lines, err := conn.Query(ctx, query)
		ok(t, err)
		plan := statement + "\n"
		for lines.Next() {
			var line string
			ok(t, lines.Scan(&line))
			plan += line + "\n"
		}
		ok(t, lines.Err())
		plans = append(plans, plan)
	}
	return plans
}

// A step that carries what no column has fails, and changes nothing.
func TestStepsRefuse(t *testing.T) {
	gen := schema.NewQueryGen(postgresDialect{pgdialect.New()})
	for _, args := range [][]any{{true}, {rows{{"a", 1}, {"b", "c"}}}, {rows{{struct{}{}}}}} {
		if _, _, err := prepare(gen, step{query: "SELECT ?0", args: args}); tenantry.KindOf(err) != tenantry.Internal {
			t.Errorf("%v: %v", args, err)
		}
	}
	query, values, err := prepare(gen, step{
		query: "INSERT INTO x (VALUES ?1) WHERE a = ?0 AND b = ?0 ?2",
		args:  []any{tenantry.TaskID("t\x00"), rows{{"a", 1, 0.5}, {"b", 2, 1.5}}, skipTaken},
	})
	ok(t, err)
	const expected = "INSERT INTO x (SELECT * FROM unnest($2::text[], $3::bigint[], $4::double precision[])) WHERE a = $1 AND b = $1 FOR UPDATE SKIP LOCKED"
	if query != expected || fmt.Sprint(values) != "[t\uFFFD [a b] [1 2] [0.5 1.5]]" {
		t.Errorf("prepared as %s with %q", query, values)
	}
}
