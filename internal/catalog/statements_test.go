package catalog

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// databases are the kinds of database that tests of this file run on.
var databases = map[string]func(t *testing.T) string{
	"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "c.db") },
	"postgres": func(t *testing.T) string { return servertest.Postgres(t).Database(t) },
}

func eachDatabase(t *testing.T, test func(t *testing.T, c *Catalog)) {
	for name, dsn := range databases {
		t.Run(name, func(t *testing.T) {
			c, err := Open(t.Context(), dsn(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			test(t, c)
		})
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// recorder keeps the statements that reach the database.
type recorder struct {
	mu         sync.Mutex
	statements []string
}

func (r *recorder) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }

func (r *recorder) AfterQuery(_ context.Context, event *bun.QueryEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statements = append(r.statements, event.Query)
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.statements
	r.statements = nil
	return taken
}

// TraceBatchStart implements pgx.BatchTracer.
func (r *recorder) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

// TraceBatchQuery keeps a prepared statement as it would be with literals in it.
func (r *recorder) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statements = append(r.statements, literally(data.SQL, data.Args))
}

// TraceBatchEnd implements pgx.BatchTracer.
func (r *recorder) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// TraceQueryStart keeps a prepared statement that comes by itself, as it would be with literals in it.
func (r *recorder) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statements = append(r.statements, literally(data.SQL, data.Args))
	return ctx
}

// TraceQueryEnd makes the recorder a tracer.
func (r *recorder) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

var (
	arrays     = regexp.MustCompile(`SELECT \* FROM unnest\(([^)]*)\)`)
	parameters = regexp.MustCompile(`\$(\d+)`)
)

// literally writes the arguments of a prepared statement into it, arrays as VALUES.
func literally(query string, args []any) string {
	argument := func(name string) reflect.Value {
		n, _ := strconv.Atoi(name[1:])
		return reflect.ValueOf(args[n-1])
	}
	literal := func(v reflect.Value) string {
		if v.Kind() == reflect.String {
			return "'" + v.String() + "'"
		}
		return fmt.Sprint(v)
	}
	query = arrays.ReplaceAllStringFunc(query, func(part string) string {
		names := parameters.FindAllString(part, -1)
		var list []string
		for i := range argument(names[0]).Len() {
			var row []string
			for _, name := range names {
				row = append(row, literal(argument(name).Index(i)))
			}
			list = append(list, "("+strings.Join(row, ", ")+")")
		}
		return "VALUES " + strings.Join(list, ", ")
	})
	return parameters.ReplaceAllStringFunc(query, func(name string) string { return literal(argument(name)) })
}

// listen lets r record the statements of c.
func (r *recorder) listen(t *testing.T, c *Catalog) {
	c.writer, c.reader = c.writer.WithQueryHook(r), c.reader.WithQueryHook(r)
	if c.keyed == nil {
		return
	}
	config := c.keyed.Config()
	config.ConnConfig.Tracer = r
	traced, err := pgxpool.NewWithConfig(t.Context(), config)
	ok(t, err)
	c.keyed.Close()
	c.keyed = traced
}

const scoped = tenantry.TenantID("t-0123456789abcdef")

// fleetTables are without a tenant: what a statement on them alone names is no tenant's.
var fleetTables = regexp.MustCompile(`(?i)^(SELECT id FROM processes WHERE id IN \(VALUES \('worker@1'\)\)|SELECT pg_advisory_xact_lock|SET jit = off;|BEGIN|COMMIT|ROLLBACK)`)

// TestTenantStatements enumerates the statements of every method of Tenant: each narrows
// every table it reads to the tenant, or writes rows that carry it.
func TestTenantStatements(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, c *Catalog) {
		ctx, now := t.Context(), time.Now()
		ok(t, c.Fleet().AddTenant(ctx, TenantRow{ID: scoped, State: tenantry.TenantConnected}))
		ok(t, c.Fleet().Beat(ctx, Process{ID: "worker@1"}, time.Hour))
		fence, _, err := c.Fleet().Lead(ctx, "leader", time.Hour)
		ok(t, err)
		a := c.Tenant(scoped)
		users := []Resource{{ID: "u-1", State: tenantry.Active, Workloads: []tenantry.Workload{tenantry.Mailbox}}}
		plan := Policy{
			ID: "p-1", Name: "n", Kinds: []tenantry.ResourceKind{tenantry.User}, Workloads: []tenantry.Workload{tenantry.Mailbox},
			Window: 1, TimeZone: "UTC",
		}
		var run Run
		var claim Claim
		admit := func() Task {
			tasks, err := c.Fleet().Admit(ctx, fence, []Pick{{Tenant: scoped, Queue: queueBackup, Service: tenantry.Outlook, N: 1}}, now.Add(time.Hour))
			ok(t, err)
			return tasks[0]
		}
		record := &recorder{}
		take := func() error {
			task := admit()
			record.take() // the admission's statements are the fleet's
			claim, err = a.Claim(ctx, task.ID, task.Admission, "worker@1")
			return err
		}

		methods := []struct {
			name string
			call func() error
		}{
			{"Get", func() error { _, err := a.Get(ctx); return err }},
			{"Exclusive", func() error {
				return a.Exclusive(ctx, func(ctx context.Context) error { _, err := a.Get(ctx); return err })
			}},
			{"SetState", func() error { return a.SetState(ctx, tenantry.TenantConnected, "") }},
			{"SetDirectoryID", func() error { return a.SetDirectoryID(ctx, "guid") }},
			{"Exclusive", func() error {
				return a.Exclusive(ctx, func(ctx context.Context) error { _, err := a.Get(ctx); return err })
			}},
			{"SetRoles", func() error { return a.SetRoles(ctx, []string{"Mail.Read"}) }},
			{"SetSize", func() error { return a.SetSize(ctx, 1, 1) }},
			{"SyncDone", func() error { return a.SyncDone(ctx, now, now) }},
			{"StartConsent", func() error { return a.StartConsent(ctx, "hash", now) }},
			{"EnableWorkload", func() error { return a.EnableWorkload(ctx, tenantry.Mailbox, Enabling{}, now) }},
			{"EnableWorkload", func() error { return a.EnableWorkload(ctx, tenantry.Drive, Enabling{}, now) }},
			{"AddPolicy", func() error { return a.AddPolicy(ctx, plan, now) }},
			{"ApplySync", func() error { return a.ApplySync(ctx, tenantry.User, users, "link", now) }},
			{"ApplySync", func() error {
				users[0].State = tenantry.Gone
				return a.ApplySync(ctx, tenantry.User, users, "link", now)
			}},
			{"Workloads", func() error { _, err := a.Workloads(ctx); return err }},
			{"Eligible", func() error { _, err := a.Eligible(ctx); return err }},
			{"AuthoriseWorkloads", func() error { return a.AuthoriseWorkloads(ctx, nil, now) }},
			{"AddCredential", func() error { return a.AddCredential(ctx, Credential{ID: "c-1", ObjectID: "object", AddedAt: now}) }},
			{"Credentials", func() error { _, err := a.Credentials(ctx); return err }},
			{"CredentialTold", func() error { return a.CredentialTold(ctx, "c-1", "", now) }},
			{"CredentialTold", func() error { return a.CredentialTold(ctx, "c-1", "AADSTS1", now) }},
			{"OfferCredential", func() error { return a.OfferCredential(ctx, "c-1", time.Time{}, now) }},
			{"CredentialKnownAs", func() error { return a.CredentialKnownAs(ctx, "c-1", "k") }},
			{"AskRotation", func() error { return a.AskRotation(ctx, "c-1", now) }},
			{"CredentialStuck", func() error { return a.CredentialStuck(ctx, "c-1", "why") }},
			{"UseCredential", func() error { return a.UseCredential(ctx, "c-1", tenantry.ToRestore) }},
			{"StartRegistration", func() error { return a.StartRegistration(ctx, Registration{State: tenantry.RegAsking}) }},
			{"Registration", func() error { _, err := a.Registration(ctx); return err }},
			{"MoveRegistration", func() error {
				return a.MoveRegistration(ctx, tenantry.RegAsking, Registration{State: tenantry.RegFailed})
			}},
			{"RemoveCredential", func() error { return a.RemoveCredential(ctx, "c-1") }},
			{"KeepUpload", func() error { return a.KeepUpload(ctx, KeptUpload{Task: "k-1", Name: "u-1", Wrapped: []byte{1}}) }},
			{"KeptUpload", func() error { _, err := a.KeptUpload(ctx, "k-1", "u-1"); return err }},
			{"LeftUploads", func() error { _, err := a.LeftUploads(ctx); return err }},
			{"DropUpload", func() error { return a.DropUpload(ctx, "k-1", "u-1") }},
			{"SetRestoreRoles", func() error { return a.SetRestoreRoles(ctx, []string{"Mail.ReadWrite"}) }},
			{"ListingBegan", func() error { return a.ListingBegan(ctx, now) }},
			{"ListingEnded", func() error { return a.ListingEnded(ctx, nil, now) }},
			{"DisableWorkload", func() error { return a.DisableWorkload(ctx, tenantry.SiteContent, nil, now) }},
			{"SyncLink", func() error { _, _, err := a.SyncLink(ctx, tenantry.User); return err }},
			{"Resources", func() error { _, err := a.Resources(ctx, ResourceFilter{}); return err }},
			{"ResourceCounts", func() error { _, err := a.ResourceCounts(ctx); return err }},
			{"Resource", func() error { _, err := a.Resource(ctx, "u-1"); return err }},
			{"SetRetention", func() error { return a.SetRetention(ctx, "p-1", tenantry.Retention{Last: 3}) }},
			{"SetHold", func() error { return a.SetHold(ctx, Hold{Reason: "case", At: now}) }},
			{"Holds", func() error { _, err := a.Holds(ctx); return err }},
			{"LiftHold", func() error { return a.LiftHold(ctx, "") }},
			{"SeriesStanding", func() error { _, err := a.SeriesStanding(ctx, "u-1", tenantry.Mailbox); return err }},
			{"RetainSnapshots", func() error { return a.RetainSnapshots(ctx, "u-1", tenantry.Mailbox, 1, nil) }},
			{"Policies", func() error { _, err := a.Policies(ctx); return err }},
			{"Policy", func() error { _, err := a.Policy(ctx, "p-1"); return err }},
			{"BackupOptions", func() error {
				_, err := a.BackupOptions(ctx, Resource{Kind: tenantry.User}, tenantry.Drive)
				return err
			}},
			{"ChangePolicy", func() error {
				_, err := a.ChangePolicy(ctx, "p-1", func(p Policy) (Policy, error) {
					p.Schedule, p.Hours = ScheduleEvery, 6
					p.Targets = Targets{Chosen: []tenantry.ResourceID{"u-1"}, Groups: []string{"00000000-0000-4000-8000-000000000001"}}
					return p, nil
				}, now)
				return err
			}},
			{"ApplyMembers", func() error {
				return a.ApplyMembers(ctx, "00000000-0000-4000-8000-000000000001", []tenantry.ResourceID{"u-1"}, "", now)
			}},
			{"ApplyMembers", func() error {
				return a.ApplyMembers(ctx, "00000000-0000-4000-8000-000000000001", nil, "gone", now)
			}},
			{"MemberLists", func() error { _, err := a.MemberLists(ctx); return err }},
			{"ApplySync", func() error {
				users[0].State = tenantry.Active
				return a.ApplySync(ctx, tenantry.User, users, "link", now)
			}},
			{"SetLicensing", func() error {
				return a.SetLicensing(ctx, Licensing{Mode: SeatsManual, Soft: 1, Hard: 1, Take: []SeatClass{SeatUnlicensed, SeatDeparted}}, now)
			}},
			{"AssignSeats", func() error { return a.AssignSeats(ctx, []tenantry.ResourceID{"u-1"}, "ada", now) }},
			{"Seats", func() error { _, err := a.Seats(ctx, 2026, time.November, "", 1); return err }},
			{"RevokeSeats", func() error { return a.RevokeSeats(ctx, []tenantry.ResourceID{"u-1"}, now) }},
			{"SetLicensing", func() error { return a.SetLicensing(ctx, Licensing{Mode: SeatsAutomatic}, now) }},
			{"Planning", func() error { _, err := a.Planning(ctx); return err }},
			{"SetPlanning", func() error { return a.SetPlanning(ctx, Planning{TimeZone: "Europe/Vienna"}, now) }},
			{"SetPlanning", func() error { return a.SetPlanning(ctx, Planning{TimeZone: "Europe/Vienna", OfRegion: true}, now) }},
			{"FollowZone", func() error { return a.FollowZone(ctx, "Asia/Tokyo", now) }},
			{"ResourceNames", func() error { return a.ResourceNames(ctx, map[tenantry.ResourceID]string{"u-1": ""}) }},
			{"Missing", func() error { _, err := a.Missing(ctx, []tenantry.ResourceID{"u-1"}); return err }},
			{"Licensing", func() error { _, _, err := a.Licensing(ctx); return err }},
			{"PausePolicy", func() error { _, err := a.PausePolicy(ctx, "p-1", now); return err }},
			{"ActivatePolicy", func() error { _, err := a.ActivatePolicy(ctx, "p-1", nil, now); return err }},
			{"ActivatePolicy", func() error { _, err := a.ActivatePolicy(ctx, "p-1", []tenantry.ResourceID{"u-1"}, now); return err }},
			{"Explain", func() error { _, err := a.Explain(ctx, "u-1", now); return err }},
			{"Forecast", func() error { _, err := a.Forecast(ctx, plan); return err }},
			{"Coverage", func() error { _, err := a.Coverage(ctx, now); return err }},
			{"CountProtections", func() error { _, err := a.CountProtections(ctx); return err }},
			{"PolicyNames", func() error { _, err := a.PolicyNames(ctx); return err }},
			{"PolicyTargets", func() error { _, err := a.PolicyTargets(ctx, "p-1"); return err }},
			{"StartRun", func() (err error) {
				run, err = a.StartRun(ctx, tenantry.Backup, TriggerSchedule, "", []NewTask{{Resource: "u-1", Workload: tenantry.Mailbox}, {Resource: "u-2", Workload: tenantry.Mailbox}}, now)
				return err
			}},
			{"StartRun", func() error {
				_, err := a.StartRun(ctx, tenantry.Sync, TriggerManual, "", []NewTask{{}}, now)
				return err
			}},
			{"Run", func() error { _, err := a.Run(ctx, run.ID); return err }},
			{"RunsOf", func() error { _, err := a.RunsOf(ctx, RunFilter{State: RunDone}, "", 1); return err }},
			{"Runs", func() error { _, err := a.Runs(ctx, "", 1); return err }},
			{"Claim", take},
			{"RaiseEpoch", func() error { _, err := a.RaiseEpoch(ctx, claim, 7); return err }},
			{"Progress", func() error { return a.Progress(ctx, claim, tenantry.Counts{}) }},
			{"Settle", func() error { return a.Settle(ctx, claim, Settlement{State: TaskReady}, now) }},
			{"Claim", take},
			{"Settle", func() error {
				return a.Settle(ctx, claim, Settlement{
					State: TaskDone, Snapshot: &SnapshotRow{Seq: 1}, Problems: []Problem{{ItemID: "i"}}, Delays: tenantry.Delays{Queue: time.Second},
				}, now)
			}},
			{"RunLedger", func() error { _, err := a.RunLedger(ctx, run.ID); return err }},
			{"Ledger", func() error { _, err := a.Ledger(ctx, now, now); return err }},
			{"Flows", func() error { _, err := a.Flows(ctx); return err }},
			{"Task", func() error { _, err := a.Task(ctx, claim.ID); return err }},
			{"Tasks", func() error { _, err := a.Tasks(ctx, run.ID, "", 1); return err }},
			{"RunProblems", func() error { _, err := a.RunProblems(ctx, run.ID, 1); return err }},
			{"NextBackup", func() error { _, err := a.NextBackup(ctx, "u-1", tenantry.Mailbox); return err }},
			{"Hasten", func() error { return a.Hasten(ctx, "u-1", tenantry.Mailbox, now) }},
			{"FirstProblems", func() error { _, err := a.FirstProblems(ctx, []tenantry.TaskID{claim.ID}); return err }},
			{"Problems", func() error { _, err := a.Problems(ctx, claim.ID); return err }},
			{"Snapshots", func() error { _, err := a.Snapshots(ctx, "u-1", tenantry.Mailbox, 0, 1); return err }},
			{"NewestSnapshots", func() error { _, err := a.NewestSnapshots(ctx, "u-1", tenantry.Mailbox, 1); return err }},
			{"MirrorSnapshots", func() error {
				return a.MirrorSnapshots(ctx, "u-1", tenantry.Mailbox, []SnapshotRow{{Seq: 7, Time: now}})
			}},
			{"Suspend", func() error { return a.Suspend(ctx, "u-1", tenantry.Mailbox, 1, "half of it went", now) }},
			{"Suspensions", func() error { _, err := a.Suspensions(ctx); return err }},
			{"Acknowledge", func() error { return a.Acknowledge(ctx, "u-1", tenantry.Mailbox) }},
			{"AdoptResources", func() error {
				_, err := a.AdoptResources(ctx, []Resource{{ID: "u-9", Kind: tenantry.User, State: tenantry.Gone}}, now)
				return err
			}},
			{"RaiseAlarm", func() error { return a.RaiseAlarm(ctx, AlarmKey, "", "gone", now) }},
			{"Alarms", func() error { _, err := a.Alarms(ctx); return err }},
			{"ClearAlarm", func() error { return a.ClearAlarm(ctx, AlarmKey, "") }},
			{"AuditTrail", func() error { _, err := a.AuditTrail(ctx, 0, 1); return err }},
			{"SetNotices", func() error { return a.SetNotices(ctx, "p-1", tenantry.Notices{}, now) }},
			{"Notices", func() error { _, err := a.Notices(ctx); return err }},
			{"ReportNow", func() error {
				if err := a.SetNotices(ctx, "p-1", tenantry.Notices{To: []string{"ada@contoso.com"}, Report: tenantry.ReportDaily}, now); err != nil {
					return err
				}
				return a.ReportNow(ctx, "p-1", now)
			}},
			{"RemoveNotices", func() error { return a.RemoveNotices(ctx, "p-1") }},
			{"Standings", func() error { _, err := a.Standings(ctx, "p-1", 0, now); return err }},
			{"Activity", func() error { _, err := a.Activity(ctx, "p-1", now, now); return err }},
			{"Failures", func() error { _, err := a.Failures(ctx, "p-1", now, now); return err }},
			{"PutMail", func() error { return a.PutMail(ctx, Mail{Key: "k", To: "ada@contoso.com"}, now) }},
			{"Mails", func() error { _, err := a.Mails(ctx, "", 1); return err }},
			{"CancelRun", func() error { return a.CancelRun(ctx, run.ID, now) }},
			{"RunFailures", func() error { _, err := a.RunFailures(ctx, run.ID, FailureCursor{}, 1); return err }},
			{"RetryRun", func() error {
				if _, err := a.RetryRun(ctx, run.ID, now); tenantry.KindOf(err) != tenantry.Conflict {
					return tenantry.Errorf(tenantry.Internal, "a run of which nothing failed is retried: %v", err)
				}
				return nil
			}},
			{"DeletePolicy", func() error { return a.DeletePolicy(ctx, "p-1", now) }},
		}
		called := map[string]bool{}
		record.listen(t, c)
		for _, method := range methods {
			record.take()
			ok(t, method.call())
			statements := record.take()
			if len(statements) == 0 {
				t.Errorf("Tenant.%s: no statement was recorded", method.name)
			}
			for _, statement := range statements {
				if !fleetTables.MatchString(strings.TrimSpace(statement)) && !scopedWhere(statement) {
					t.Errorf("Tenant.%s: not narrowed to the tenant: %s", method.name, statement)
				}
			}
			called[method.name] = true
		}
		handle := reflect.TypeFor[*Tenant]()
		for i := range handle.NumMethod() {
			if name := handle.Method(i).Name; !called[name] {
				t.Errorf("Tenant.%s is not in this test", name)
			}
		}
	})
}

var (
	anyTable = regexp.MustCompile(`(?i)\b(?:FROM|UPDATE|JOIN)\s+([a-z_]+)`)
	// A row of a batch begins with its tenant, and is joined by it.
	narrowed = regexp.MustCompile(`(?i)\b(?:tenant|id)\b"? (?:= |IN \((?:VALUES \()?)'` + string(scoped) + `'|\((?:tenant, |id, )[a-z_, ]+\) IN \(VALUES \('` +
		string(scoped) + `'|^WITH v \(v_tenant, [a-z_,\s]+\) AS \(VALUES \('` + string(scoped) + `'(?s:.*)\btenant = v_tenant\b`)
	insert = regexp.MustCompile(`(?i)^INSERT INTO`)
)

// scopedWhere reports whether a statement names the tenant at least once for each table
// that it reads or updates, or in the rows that it inserts.
func scopedWhere(statement string) bool {
	for _, noTable := range []string{"extract(epoch FROM", "FROM v ", "JOIN v ", "FROM gone ", "FROM processes "} {
		statement = strings.ReplaceAll(strings.TrimSpace(statement), noTable, "")
	}
	if insert.MatchString(statement) {
		return strings.Contains(statement, "'"+string(scoped)+"'")
	}
	return len(narrowed.FindAllString(statement, -1)) >= len(anyTable.FindAllString(statement, -1)) && narrowed.MatchString(statement)
}

// TestScopedWhere holds that the check above can fail.
func TestScopedWhere(t *testing.T) {
	for statement, expected := range map[string]bool{
		"SELECT id FROM tasks WHERE tenant = '" + string(scoped) + "'":                                                                                 true,
		"SELECT id FROM tasks WHERE run = 'r'":                                                                                                         false,
		"SELECT id FROM tasks WHERE tenant = 't-other'":                                                                                                false,
		"DELETE FROM tasks WHERE id IN (SELECT id FROM tasks) AND tenant = '" + string(scoped) + "'":                                                   false,
		"INSERT INTO tasks (tenant) VALUES ('t-other')":                                                                                                false,
		"DELETE FROM tasks WHERE (tenant, id) IN (VALUES ('" + string(scoped) + "', 'i'))":                                                             true,
		"DELETE FROM tasks WHERE (tenant, id) IN (VALUES ('t-other', 'i'))":                                                                            false,
		"DELETE FROM tasks WHERE (run, id) IN (VALUES ('" + string(scoped) + "', 'i'))":                                                                false,
		"WITH v (v_tenant, v_id) AS (VALUES ('" + string(scoped) + "', 'i')) UPDATE tasks SET state = '' FROM v WHERE tenant = v_tenant AND id = v_id": true,
		"WITH v (v_tenant, v_id) AS (VALUES ('" + string(scoped) + "', 'i')) UPDATE tasks SET state = '' FROM v WHERE id = v_id":                       false,
	} {
		if scopedWhere(statement) != expected {
			t.Errorf("%s: expected %v", statement, expected)
		}
	}
}

// A series can have another owner than its one unfinished backup when rows were restored
// from a dump. Its next backup waits until that owner is gone.
func TestBusySeries(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, c *Catalog) {
		ctx, now := t.Context(), time.Now()
		ok(t, c.Fleet().AddTenant(ctx, TenantRow{ID: scoped, State: tenantry.TenantConnected}))
		ok(t, c.Fleet().Beat(ctx, Process{ID: "worker@1"}, time.Hour))
		ok(t, c.Fleet().Beat(ctx, Process{ID: "worker@old"}, time.Hour))
		fence, _, err := c.Fleet().Lead(ctx, "leader", time.Hour)
		ok(t, err)
		a := c.Tenant(scoped)
		_, err = a.StartRun(ctx, tenantry.Backup, TriggerSchedule, "", []NewTask{{Resource: "u-1", Workload: tenantry.Mailbox}}, now)
		ok(t, err)
		ok(t, c.one(ctx, "own", nil, "UPDATE series SET owner_task = 'old', owner_process = 'worker@old', epoch = 8"))

		pick := []Pick{{Tenant: scoped, Queue: queueBackup, Service: tenantry.Outlook, N: 1}}
		tasks, err := c.Fleet().Admit(ctx, fence, pick, now)
		ok(t, err)
		_, err = a.Claim(ctx, tasks[0].ID, tasks[0].Admission, "worker@1")
		if tenantry.KindOf(err) != tenantry.Transient || !tenantry.UntilOf(err).After(now) {
			t.Fatalf("got %v until %v", err, tenantry.UntilOf(err))
		}
		task, err := a.Task(ctx, tasks[0].ID)
		ok(t, err)
		if task.State != TaskReady || !task.NotBefore.Equal(tenantry.UntilOf(err)) && !task.NotBefore.After(now) || task.Process != "" {
			t.Fatalf("the task stands as %+v", task)
		}

		ok(t, c.Fleet().Leave(ctx, "worker@old"))
		tasks, err = c.Fleet().Admit(ctx, fence, pick, task.NotBefore)
		ok(t, err)
		claim, err := a.Claim(ctx, tasks[0].ID, tasks[0].Admission, "worker@1")
		ok(t, err)
		if claim.Epoch != 9 || claim.Admission != 2 {
			t.Fatalf("claimed as %+v", claim)
		}
	})
}

// What the database answers becomes a kind: on a full disk and a locked file.
func TestSQLiteTroubles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.db")
	c, err := Open(t.Context(), "sqlite:"+path)
	ok(t, err)
	defer c.Close()
	expect := func(words string) {
		t.Helper()
		err := c.Fleet().SaveMirror(t.Context(), "big", make([]byte, 1<<20), time.Now())
		if tenantry.KindOf(err) != tenantry.Shared || !strings.Contains(fmt.Sprint(err), words) {
			t.Fatalf("got %v of kind %s, expected %q", err, tenantry.KindOf(err), words)
		}
	}
	var pages int
	ok(t, c.writer.QueryRow("PRAGMA page_count").Scan(&pages))
	_, err = c.writer.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages))
	ok(t, err)
	expect("the disk is full")
	_, err = c.writer.Exec("PRAGMA max_page_count = 100000")
	ok(t, err)

	other, err := Open(t.Context(), "sqlite:"+path)
	ok(t, err)
	defer other.Close()
	tx, err := other.writer.Begin()
	ok(t, err)
	defer tx.Rollback()
	_, err = c.writer.Exec("PRAGMA busy_timeout = 50")
	ok(t, err)
	expect("locked by another process")
}
