package catalog

import (
	"context"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

var then = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)

// confined is a fleet with a tenant here, in the pool of an enrolled worker, and one elsewhere.
type confined struct {
	*Catalog // as the provider
	dsn      string
	worker   RemoteWorker
}

func newConfined(t *testing.T, server *servertest.PostgresServer) *confined {
	t.Helper()
	dsn := server.Database(t)
	c, err := Open(t.Context(), dsn)
	ok(t, err)
	t.Cleanup(func() { _ = c.Close() })
	f := &confined{Catalog: c, dsn: dsn}
	ok(t, f.Fleet().AddPool(t.Context(), Pool{Name: "munich", AddedAt: then}))
	for id, pool := range map[tenantry.TenantID]string{"t-here": "munich", "t-elsewhere": MainPool} {
		ok(t, f.Fleet().AddTenant(t.Context(), TenantRow{ID: id, Name: string(id), State: tenantry.TenantConnected, Pool: pool, AddedAt: then}))
		ok(t, f.Tenant(id).SetState(t.Context(), tenantry.TenantConnected, ""))
	}
	f.worker = f.enrol(t, "one")
	return f
}

// enrol makes a worker of the pool munich by a token.
func (f *confined) enrol(t *testing.T, name string) RemoteWorker {
	t.Helper()
	e := Enrolment{ID: "e-" + name, Pool: "munich", MadeBy: "admin", MadeAt: then, ExpiresAt: then.Add(time.Hour)}
	ok(t, f.Fleet().AddEnrolment(t.Context(), e, "token "+name))
	w, err := f.Fleet().EnrolWorker(t.Context(), "token "+name, RemoteWorker{ID: NewWorkerID(), Name: name, Hash: "credential " + name}, then)
	ok(t, err)
	return w
}

// as opens the catalog as the worker does.
func (f *confined) as(t *testing.T, w RemoteWorker) *Catalog {
	t.Helper()
	ok(t, f.Fleet().Confine(t.Context(), w.Login, tenantry.NewSecret("password")))
	u, err := url.Parse(f.dsn)
	ok(t, err)
	u.User = url.UserPassword(w.Login, "password")
	c, err := OpenConfined(t.Context(), u.String(), nil)
	ok(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestConfined shows what the database shows to enrolled workers, on one server.
func TestConfined(t *testing.T) {
	server := servertest.Postgres(t)
	for name, test := range map[string]func(*testing.T, *servertest.PostgresServer){
		"rows": confinedRowsOf, "tenants": confinedToTenants, "work": confinedWork, "others": confinedByOthers, "password": scramVerifies,
	} {
		t.Run(name, func(t *testing.T) { test(t, server) })
	}
}

// confinedRowsOf asks every table of the schema for rows of another tenant, in the worker's own words.
func confinedRowsOf(t *testing.T, server *servertest.PostgresServer) {
	f := newConfined(t, server)
	w := f.as(t, f.worker)
	var tables []confinedTable
	ok(t, f.write(t.Context(), "tables", func(ctx context.Context, tx bun.Tx) (err error) {
		tables, err = tablesOf(ctx, tx)
		return err
	}))
	ok(t, f.Fleet().Audit(t.Context(), AuditEntry{At: then, Actor: "a", Tenant: "t-elsewhere", Action: "x"}))
	for _, table := range tables {
		var n int64
		count := func(query string) error { return w.read(t.Context(), "count", &n, query, bun.Ident(table.Name)) }
		err := count("SELECT count(*) FROM ?")
		switch {
		case table.Name == "tenants":
			if err != nil || n != 1 {
				t.Errorf("tenants: a confined worker sees %d, %v", n, err)
			}
		case table.Tenant || table.Name == "processes":
			if err == nil && (!table.Secured || table.Policies != 1) {
				t.Errorf("%s: a confined worker reads it without row-level security", table.Name)
			}
		case err == nil && table.Name != "goose_db_version" && table.Name != "schema_floor":
			t.Errorf("%s: a confined worker reads a table of the fleet", table.Name)
		}
	}
	if len(tables) < 30 {
		t.Fatalf("only %d tables were looked at", len(tables))
	}
}

// confinedToTenants has a worker do to another pool's tenant what it may do to its own.
func confinedToTenants(t *testing.T, server *servertest.PostgresServer) {
	f := newConfined(t, server)
	w, ctx := f.as(t, f.worker), t.Context()
	if _, err := w.Tenant("t-here").Get(ctx); err != nil {
		t.Fatalf("its own tenant: %v", err)
	}
	if _, err := w.Tenant("t-elsewhere").Get(ctx); tenantry.KindOf(err) != tenantry.NotFound {
		t.Fatalf("another pool's tenant: %v, want not_found", err)
	}
	for id, want := range map[tenantry.TenantID]bool{"t-here": true, "t-elsewhere": false} {
		for what, do := range map[string]func() error{
			"alarm": func() error { return w.Tenant(id).RaiseAlarm(ctx, AlarmKey, "", "x", then) },
			"audit": func() error {
				return w.Fleet().Audit(ctx, AuditEntry{At: then, Actor: "worker", Tenant: id, Action: "register"})
			},
		} {
			if err := do(); (err == nil) != want {
				t.Errorf("%s of %s: %v, want allowed %v", what, id, err, want)
			}
		}
	}
	refused := map[string]string{
		"is of another directory":  "UPDATE tenants SET directory = 'other.example' WHERE id = 't-here'",
		"is in another cloud":      "UPDATE tenants SET cloud = 'china', reason = 'x' WHERE id = 't-here'",
		"moves its tenant":         "UPDATE tenants SET pool = 'main' WHERE id = 't-here'",
		"takes a tenant":           "UPDATE tenants SET pool = 'munich' WHERE id = 't-elsewhere'",
		"makes a tenant":           "INSERT INTO tenants (id) VALUES ('t-new')",
		"reads tokens":             "SELECT hash FROM tokens",
		"reads secrets":            "SELECT value FROM secrets",
		"reads workers":            "SELECT hash FROM workers",
		"becomes another":          "SET SESSION AUTHORIZATION tenantry",
		"switches policies off":    "ALTER TABLE tasks DISABLE ROW LEVEL SECURITY",
		"reads a partition":        "SELECT * FROM ended_tasks_default",
		"stops the fleet":          "INSERT INTO alarms (cause) VALUES ('x')",
		"forges a lease's worker":  "INSERT INTO processes (id, role, slots, expires_at, worker) VALUES ('p', 'worker', '{}', 0, 'w-other')",
		"changes what was audited": "DELETE FROM audit",
	}
	for what, statement := range refused {
		if err := w.one(ctx, what, nil, "?", bun.Safe(statement)); tenantry.KindOf(err) != tenantry.Forbidden {
			t.Errorf("a confined worker %s: %v, want forbidden", what, err)
		}
	}
	if row, err := f.Tenant("t-elsewhere").Get(ctx); err != nil || row.Pool != MainPool {
		t.Errorf("the other tenant is now in pool %q, %v", row.Pool, err)
	}
}

// confinedWork lets a worker claim, renew and settle, and ends that by revoking it.
func confinedWork(t *testing.T, server *servertest.PostgresServer) {
	f := newConfined(t, server)
	w, ctx := f.as(t, f.worker), t.Context()
	process := Process{ID: "worker@munich", Role: "worker", Slots: map[string]int{"backup": 2}, Pool: "munich"}
	ok(t, w.Fleet().Beat(ctx, process, time.Hour))
	ok(t, w.Fleet().Beat(ctx, process, time.Hour))
	var claims []Claim
	for _, id := range []tenantry.TenantID{"t-here", "t-elsewhere"} {
		fence, _, err := f.Fleet().Lead(ctx, "s", time.Hour)
		ok(t, err)
		_, err = f.Tenant(id).StartRun(ctx, tenantry.Sync, "manual", "", []NewTask{{Action: tenantry.Sync, Queue: "directory"}}, then)
		ok(t, err)
		tasks, err := f.Fleet().Admit(ctx, fence, []Pick{{Tenant: id, Queue: "directory", Service: tenantry.Identity, N: 1}}, then)
		ok(t, err)
		if len(tasks) != 1 {
			t.Fatalf("%d tasks of %s were admitted", len(tasks), id)
		}
		claim, err := w.Tenant(id).Claim(ctx, tasks[0].ID, tasks[0].Admission, process.ID)
		if id == "t-elsewhere" {
			if tenantry.KindOf(err) != tenantry.Conflict {
				t.Fatalf("claim of another pool's task: %v, want a stale delivery", err)
			}
			continue
		}
		ok(t, err)
		if claim.Of.ID != id {
			t.Fatalf("the claim brings tenant %q", claim.Of.ID)
		}
		claims = append(claims, claim)
	}
	ok(t, w.Tenant("t-here").Settle(ctx, claims[0], Settlement{State: TaskDone, Counts: tenantry.Counts{Items: 3}}, then))
	all, err := f.Fleet().RemoteWorkers(ctx)
	ok(t, err)
	if len(all) != 1 || !all[0].Live {
		t.Fatalf("workers %+v, want one that lives", all)
	}

	ok(t, f.Fleet().RevokeWorker(ctx, f.worker.ID, "admin", then))
	if _, err := w.Tenant("t-here").Get(ctx); tenantry.KindOf(err) != tenantry.NotFound {
		t.Errorf("a revoked worker's open session reads its tenant: %v", err)
	}
	if err := w.Fleet().Beat(ctx, process, time.Hour); err == nil {
		t.Error("a revoked worker renewed its lease")
	}
	if n, err := f.Fleet().Reap(ctx, then); err != nil || n != 0 {
		t.Errorf("reaped %d tasks, %v", n, err)
	}
	if left, err := f.Fleet().Processes(ctx); err != nil || len(left) != 0 {
		t.Errorf("processes %+v, %v after the revocation", left, err)
	}
	ok(t, f.Fleet().Unconfine(ctx, f.worker.Login))
	ok(t, f.Fleet().Unconfine(ctx, f.worker.Login))
	if _, err := w.Tenant("t-here").Get(ctx); err == nil {
		t.Error("a session without its role reads on")
	}
}

// confinedByOthers shows that the provider's processes see what they saw, whoever owns the tables.
func confinedByOthers(t *testing.T, server *servertest.PostgresServer) {
	f := newConfined(t, server)
	f.as(t, f.worker)
	ctx := t.Context()
	ok(t, f.one(ctx, "another account", nil, `CREATE ROLE other_account LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO other_account`))
	u, err := url.Parse(f.dsn)
	ok(t, err)
	u.User = url.User("other_account")
	other, err := OpenConfined(ctx, u.String(), nil)
	ok(t, err)
	defer other.Close()
	for _, c := range []*Catalog{f.Catalog, other} {
		for _, id := range []tenantry.TenantID{"t-here", "t-elsewhere"} {
			if _, err := c.Tenant(id).Get(ctx); err != nil {
				t.Errorf("tenant %s: %v", id, err)
			}
		}
	}
	if err := other.Fleet().Confine(ctx, f.worker.Login, tenantry.NewSecret("x")); tenantry.CodeOf(err) != "needs_createrole" {
		t.Errorf("an account that may not make roles: %v", err)
	}
}

// scramVerifies holds what we make of a password against what Postgres makes of it.
func scramVerifies(t *testing.T, server *servertest.PostgresServer) {
	f := newConfined(t, server)
	ok(t, f.one(t.Context(), "role", nil, "SET LOCAL password_encryption = 'scram-sha-256'; CREATE ROLE tenantry_w_scram PASSWORD 'pencil'"))
	var kept string
	ok(t, f.read(t.Context(), "password", &kept, "SELECT rolpassword FROM pg_authid WHERE rolname = 'tenantry_w_scram'"))
	_, rest, _ := strings.Cut(kept, ":")
	text, _, _ := strings.Cut(rest, "$")
	salt, err := base64.StdEncoding.DecodeString(text)
	ok(t, err)
	if got := scramVerifier(tenantry.NewSecret("pencil"), salt); got != kept {
		t.Errorf("verifier %q, Postgres keeps %q", got, kept)
	}
}

// TestConfineNeedsPostgres: a SQLite file has no roles.
func TestConfineNeedsPostgres(t *testing.T) {
	c, err := Open(t.Context(), databases["sqlite"](t))
	ok(t, err)
	defer c.Close()
	if err := c.Fleet().Confine(t.Context(), "tenantry_w_x", tenantry.NewSecret("x")); tenantry.CodeOf(err) != "needs_postgres" {
		t.Errorf("confined on SQLite: %v", err)
	}
	if _, err := c.Fleet().Upstream(); tenantry.CodeOf(err) != "needs_postgres" {
		t.Errorf("upstream of SQLite: %v", err)
	}
	ok(t, c.Fleet().Unconfine(t.Context(), "tenantry_w_x"))
}
