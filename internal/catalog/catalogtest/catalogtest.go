// Package catalogtest owns the conformance suite of the catalog: what holds on SQLite must
// hold on Postgres. It is used by tests only.
package catalogtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Run runs the suite, its tests in parallel; open returns a fresh, empty catalog that it closes at the end of t.
func Run(t *testing.T, open func(t *testing.T) *catalog.Catalog) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, w *world)
	}{
		{"Tenants", testTenants},
		{"TenantSettings", testTenantSettings},
		{"RemoteWorkers", testRemoteWorkers},
		{"Places", testPlaces},
		{"Zones", testZones},
		{"Exclusive", testExclusive},
		{"Consents", testConsents},
		{"Tokens", testTokens},
		{"Secrets", testSecrets},
		{"Audit", testAudit},
		{"Requests", testRequests},
		{"Overview", testOverview},
		{"EvilText", testEvilText},
		{"Alarms", testAlarms},
		{"Mirrors", testMirrors},
		{"Resources", testResources},
		{"ResourceList", testResourceList},
		{"ResourceCounts", testResourceCounts},
		{"Enrolment", testEnrolment},
		{"Workloads", testWorkloads},
		{"Credentials", testCredentials},
		{"Uploads", testUploads},
		{"NothingBeforeEnabled", testNothingBeforeEnabled},
		{"PolicyRules", testPolicyRules},
		{"PolicyLife", testPolicyLife},
		{"Targets", testTargets},
		{"Subkinds", testSubkinds},
		{"EnrolModes", testEnrolModes},
		{"Seats", testSeats},
		{"DepartedSeats", testDepartedSeats},
		{"Coverage", testCoverage},
		{"Forecast", testForecast},
		{"PlanModel", testPlanModel},
		{"StartRun", testStartRun},
		{"StartRunOnce", testStartRunOnce},
		{"DefaultQueues", testDefaultQueues},
		{"TaskLife", testTaskLife},
		{"Parking", testParking},
		{"Problems", testProblems},
		{"Hasten", testHasten},
		{"RunProblems", testRunProblems},
		{"RunStates", testRunStates},
		{"CancelRun", testCancelRun},
		{"CancelRunning", testCancelRunning},
		{"CanceledIsPrunedSoon", testCanceledIsPrunedSoon},
		{"CancelRace", testCancelRace},
		{"RetryRun", testRetryRun},
		{"References", testReferences},
		{"RunFailures", testRunFailures},
		{"ClaimGuards", testClaimGuards},
		{"ClaimOnce", testClaimOnce},
		{"StaleInBatch", testStaleInBatch},
		{"Epochs", testEpochs},
		{"Zombie", testZombie},
		{"Leave", testLeave},
		{"ReapWhileSettling", testReapWhileSettling},
		{"Leader", testLeader},
		{"LeaderRace", testLeaderRace},
		{"Start", testStart},
		{"StartRace", testStartRace},
		{"StartSync", testStartSync},
		{"Loads", testLoads},
		{"Busiest", testBusiest},
		{"LoadsBlocked", testLoadsBlocked},
		{"Pace", testPace},
		{"TaskDelays", testTaskDelays},
		{"Ledger", testLedger},
		{"LedgerRace", testLedgerRace},
		{"LedgerOfTheDead", testLedgerOfTheDead},
		{"LedgerExpiry", testLedgerExpiry},
		{"Flows", testFlows},
		{"Admit", testAdmit},
		{"Readmit", testReadmit},
		{"NextReady", testNextReady},
		{"Partitions", testPartitions},
		{"Wakes", testWakes},
		{"Scope", testScope},
		{"Retention", testRetention},
		{"TenantAlarms", testTenantAlarms},
		{"Notices", testNotices},
		{"Outbox", testOutbox},
		{"OutboxRace", testOutboxRace},
		{"PoolRace", testPoolRace},
		{"FirstBackups", testFirstBackups},
		{"EnablingNotices", testEnablingNotices},
		{"Warnings", testWarnings},
		{"Troubles", testTroubles},
		{"Model", testModel},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, newWorld(t, open(t)))
		})
	}
}

// now is the time of the suite: fixed, on a whole microsecond, today so that leases by the
// database's clock and tasks by the caller's agree.
var now = time.Now().UTC().Truncate(time.Microsecond)

// world is a catalog with helpers that fail the test.
type world struct {
	t     failer
	c     *catalog.Catalog
	f     *catalog.Fleet
	ctx   context.Context
	fence int64
}

// failer is what testing.T and rapid.T have in common.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

const leader = tenantry.ProcessID("scheduler@test-1")

func newWorld(t *testing.T, c *catalog.Catalog) *world {
	return &world{t: t, c: c, f: c.Fleet(), ctx: t.Context()}
}

// lead makes the suite's leader lead.
func (w *world) lead() int64 {
	w.t.Helper()
	fence, ok, err := w.f.Lead(w.ctx, leader, time.Hour)
	w.ok(err)
	if !ok {
		w.t.Fatal("somebody else leads")
	}
	w.fence = fence
	return fence
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// kind fails the test unless err is of the kind.
func (w *world) kind(err error, kind tenantry.Kind) {
	w.t.Helper()
	var typed *tenantry.Error
	if tenantry.KindOf(err) != kind || !errors.As(err, &typed) {
		w.t.Fatalf("got error %v of kind %q, expected kind %q", err, tenantry.KindOf(err), kind)
	}
}

// tenant adds a connected tenant with all of its workloads enabled.
func (w *world) tenant(name string) *catalog.Tenant {
	w.t.Helper()
	id := tenantry.TenantID("t-" + name)
	w.ok(w.f.AddTenant(w.ctx, catalog.TenantRow{
		ID: id, Name: name, Directory: name + ".example", State: tenantry.TenantConnected, AddedAt: now, NextSyncAt: now.Add(time.Hour),
	}))
	for _, load := range tenantry.Workloads() {
		w.ok(w.c.Tenant(id).EnableWorkload(w.ctx, load, catalog.Enabling{}, now))
	}
	return w.c.Tenant(id)
}

// worker makes a process live.
func (w *world) worker(name string) tenantry.ProcessID {
	w.t.Helper()
	id := tenantry.ProcessID("worker@" + name)
	w.ok(w.f.Beat(w.ctx, catalog.Process{ID: id, Role: "worker", Slots: map[string]int{"backup": 4}}, time.Hour))
	return id
}

// die ends a worker's lease by the database's clock.
func (w *world) die(p tenantry.ProcessID) {
	w.t.Helper()
	w.ok(w.f.Beat(w.ctx, catalog.Process{ID: p, Role: "worker"}, -time.Second))
}

func user(n int) tenantry.ResourceID { return tenantry.UserResource(fmt.Sprintf("%04d", n)) }

// users are active users with a mailbox and a drive.
func users(n int) []catalog.Resource {
	out := make([]catalog.Resource, n)
	for i := range out {
		out[i] = catalog.Resource{
			ID: user(i), Kind: tenantry.User, ObjectID: fmt.Sprintf("%04d", i), Name: fmt.Sprintf("User %d", i),
			Address: fmt.Sprintf("user%d@example", i), MailboxKind: "user", Subkind: tenantry.MailboxOfUser, Licensed: true, State: tenantry.Active, StateAt: now,
			Workloads: []tenantry.Workload{tenantry.Mailbox, tenantry.Drive},
		}
	}
	return out
}

func policy(id string) catalog.Policy {
	return catalog.Policy{
		ID: tenantry.PolicyID("p-" + id), Name: id, Kinds: []tenantry.ResourceKind{tenantry.User},
		Workloads: []tenantry.Workload{tenantry.Mailbox, tenantry.Drive}, At: 60, Window: 120, TimeZone: "Europe/Berlin",
	}
}

// mailboxes are backups of n mailboxes.
func mailboxes(n int) []catalog.NewTask {
	out := make([]catalog.NewTask, n)
	for i := range out {
		out[i] = catalog.NewTask{Resource: user(i), Workload: tenantry.Mailbox}
	}
	return out
}

// drives are the same for the drives of n users.
func drives(n int) []catalog.NewTask {
	out := mailboxes(n)
	for i := range out {
		out[i].Workload = tenantry.Drive
	}
	return out
}

// start starts a scheduled run of tasks.
func (w *world) start(t *catalog.Tenant, action tenantry.Action, tasks []catalog.NewTask) catalog.Run {
	w.t.Helper()
	run, err := t.StartRun(w.ctx, action, catalog.TriggerSchedule, "", tasks, now)
	w.ok(err)
	return run
}

// flows picks up to n tasks of each flow of a tenant in a queue.
func flows(tenant tenantry.TenantID, queue string, n int) (picks []catalog.Pick) {
	for _, s := range []tenantry.Service{
		tenantry.NoService, tenantry.Identity, tenantry.Outlook, tenantry.SharePoint, tenantry.Teams,
	} {
		picks = append(picks, catalog.Pick{Tenant: tenant, Queue: queue, Service: s, N: n})
	}
	return picks
}

// admit admits up to n tasks of each flow of a queue.
func (w *world) admit(tenant tenantry.TenantID, queue string, n int) []catalog.Task {
	w.t.Helper()
	tasks, err := w.f.Admit(w.ctx, w.lead(), flows(tenant, queue, n), now)
	w.ok(err)
	return tasks
}

// claimed starts n mailbox backups of a tenant and claims them for p.
func (w *world) claimed(t *catalog.Tenant, p tenantry.ProcessID, n int) (catalog.Run, []catalog.Claim) {
	w.t.Helper()
	run := w.start(t, tenantry.Backup, mailboxes(n))
	return run, w.claimAll(t, p, w.admit(run.Tenant, "backup", n), n)
}

func (w *world) claimAll(t *catalog.Tenant, p tenantry.ProcessID, tasks []catalog.Task, n int) []catalog.Claim {
	w.t.Helper()
	if len(tasks) != n {
		w.t.Fatalf("admitted %d tasks, expected %d", len(tasks), n)
	}
	claims := make([]catalog.Claim, n)
	for i, task := range tasks {
		claim, err := t.Claim(w.ctx, task.ID, task.Admission, p)
		w.ok(err)
		claims[i] = claim
	}
	return claims
}

// race runs n calls at once and returns their errors.
func race(n int, call func(i int) error) []error {
	errs := make([]error, n)
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			errs[i] = call(i)
		})
	}
	done.Wait()
	return errs
}

// count counts the errors of a kind; "" counts successes.
func count(errs []error, kind tenantry.Kind) (n int) {
	for _, err := range errs {
		if tenantry.KindOf(err) == kind {
			n++
		}
	}
	return n
}

func expect[T comparable](w *world, what string, got, expected T) {
	w.t.Helper()
	if got != expected {
		w.t.Fatalf("%s: got %v, expected %v", what, got, expected)
	}
}
