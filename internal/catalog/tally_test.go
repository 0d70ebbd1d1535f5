package catalog_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// tallied is a run whose tasks are settled one after the other, each having waited for as long.
type tallied struct {
	t       *testing.T
	c       *catalog.Catalog
	run     catalog.Run
	claims  []catalog.Claim
	settled int
}

// each is what one task waits for by the queue, and for each of so many accounts of Graph.
const each = time.Second

func startTallied(t *testing.T, c *catalog.Catalog, tasks int) *tallied {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	f, a := c.Fleet(), c.Tenant("t-a")
	worker, leader := tenantry.NewProcessID("worker", "a"), tenantry.NewProcessID("scheduler", "a")
	must(t, f.AddTenant(ctx, catalog.TenantRow{ID: "t-a", State: tenantry.TenantConnected}))
	must(t, f.Beat(ctx, catalog.Process{ID: worker, Role: "worker"}, time.Hour))
	list := make([]catalog.NewTask, tasks)
	for i := range list {
		list[i] = catalog.NewTask{Resource: tenantry.UserResource(fmt.Sprint(i)), Workload: tenantry.Mailbox}
	}
	run, err := a.StartRun(ctx, tenantry.Backup, catalog.TriggerSchedule, "", list, now)
	must(t, err)
	fence, _, err := f.Lead(ctx, leader, time.Hour)
	must(t, err)
	admitted, err := f.Admit(ctx, fence, []catalog.Pick{{Tenant: "t-a", Queue: "backup", Service: tenantry.Outlook, N: tasks}}, now.Add(time.Second))
	must(t, err)
	s := &tallied{t: t, c: c, run: run}
	for _, task := range admitted {
		claim, err := a.Claim(ctx, task.ID, task.Admission, worker)
		must(t, err)
		s.claims = append(s.claims, claim)
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// settle settles the next task, which has waited for so many accounts.
func (s *tallied) settle(accounts int) {
	s.t.Helper()
	d := tenantry.Delays{Queue: each, Graph: map[string]time.Duration{}}
	for i := range accounts {
		d.Graph[fmt.Sprint("account/", i)] = each
	}
	err := s.c.Tenant("t-a").Settle(s.t.Context(), s.claims[s.settled], catalog.Settlement{
		State: catalog.TaskDone, Delays: d, Spent: map[tenantry.Service]int64{tenantry.Outlook: 1},
	}, time.Now())
	must(s.t, err)
	s.settled++
}

// ledger is that of the run, as a catalog sees it.
func (s *tallied) ledger(of *catalog.Catalog) catalog.Ledger {
	s.t.Helper()
	l, err := of.Tenant("t-a").RunLedger(s.t.Context(), s.run.ID)
	must(s.t, err)
	return l
}

func onBoth(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { test(t, sqliteDSN(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, servertest.Postgres(t).Database(t)) })
}

// Waits reach other processes within seconds; units at once; and the process that settled
// sees each of both exactly once, before, while and after they are written.
func TestWaitsReachTheLedger(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		mine, theirs := open(t, dsn), open(t, dsn)
		s := startTallied(t, mine, 3)
		for n := range 3 {
			s.settle(1)
			if got := s.ledger(theirs).Units[tenantry.Outlook]; got != int64(n+1) {
				t.Errorf("others see %d units of %d tasks", got, n+1)
			}
			want := time.Duration(n+1) * each
			for deadline, written := time.Now().Add(2*time.Minute), false; !written; {
				if got := s.ledger(mine).Delays; got.Queue != want || got.GraphTotal() != want {
					t.Fatalf("the process itself sees %+v after %d tasks", got, n+1)
				}
				got := s.ledger(theirs).Delays.Queue
				written = got == want
				if got > want || time.Now().After(deadline) {
					t.Fatalf("others see %v of waits, expected %v", got, want)
				}
			}
		}
		days, err := theirs.Tenant("t-a").Ledger(t.Context(), time.Now().Add(-48*time.Hour), time.Now())
		must(t, err)
		var sum time.Duration // of two days, if midnight has passed
		for _, day := range days {
			sum += day.Delays.Queue
		}
		if sum != 3*each {
			t.Errorf("days have %v", sum)
		}
	})
}

// A tally that is full is written at once, and settlements write theirs; closing writes what is left.
func TestTallyIsBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		mine, err := catalog.Open(t.Context(), dsn)
		must(t, err)
		s := startTallied(t, mine, 4)
		for range 3 {
			s.settle(2500) // of the run and of the day
		}
		s.settle(1)
		must(t, mine.Close())
		got := s.ledger(open(t, dsn)).Delays
		if got.Queue != 4*each || got.GraphTotal() != 7501*each {
			t.Errorf("the ledger has %v of the queue, %v of Graph", got.Queue, got.GraphTotal())
		}
	})
}

// What was waited for outlasts a database that is away when it is to be written.
func TestTallyOutlastsTheDatabase(t *testing.T) {
	t.Parallel()
	server := servertest.Postgres(t)
	mine := open(t, server.Database(t))
	s := startTallied(t, mine, 2)
	s.settle(1)
	server.Stop()
	catalog.AddWaits(mine, s.claims[1], tenantry.Delays{Queue: each}, time.Now())
	if err := catalog.FlushTally(t.Context(), mine); tenantry.KindOf(err) != tenantry.Shared {
		t.Fatalf("waits were written to a database that is away: %v", err)
	}
	server.Start()
	for deadline := time.Now().Add(time.Minute); mine.Ping(t.Context()) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("the database does not come back")
		}
	}
	must(t, catalog.FlushTally(t.Context(), mine))
	if got := s.ledger(mine).Delays.Queue; got != 2*each {
		t.Errorf("the ledger has %v", got)
	}
}
