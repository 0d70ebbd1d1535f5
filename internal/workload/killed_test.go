package workload_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// mortal is a source whose worker dies at a page.
type mortal struct {
	engine.Source
	left atomic.Int64
	die  func() // with what is not committed
}

func (m *mortal) Page(ctx context.Context, collection, link string) (engine.Page, error) {
	if m.left.Add(-1) < 0 {
		m.die()
		return engine.Page{}, tenantry.Errorf(tenantry.Canceled, "killed")
	}
	return m.Source.Page(ctx, collection, link)
}

func (m *mortal) Reread(e repository.Entry) func(context.Context) ([]engine.ItemPart, error) {
	return m.Source.(engine.Rereader).Reread(e)
}

func (m *mortal) Quiet(collection, link string) bool {
	return m.Source.(engine.Parallel).Quiet(collection, link)
}

// backupWithDeaths runs a task to its end, whose workers die at any page, some of them with what they had not
// committed, and whose slices end after a few.
func (c *company) backupWithDeaths(t *testing.T, s tenantry.Series, src func() engine.Source, rnd *rand.Rand) (engine.Outcome, int) {
	t.Helper()
	task, deaths := tenantry.NewTaskID(time.Now()), 0
	for attempt := range 80 {
		w, err := c.repo.Begin(t.Context(), s, repository.Fence{Epoch: c.epoch.Add(1), Task: task})
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		m := &mortal{Source: src(), die: func() {}}
		if rnd.IntN(2) == 0 {
			m.die = cancel
		}
		m.left.Store(int64(rnd.IntN(6 + 4*attempt)))
		out, err := engine.Backup(ctx, m, w, engine.Limits{CheckpointBytes: 4 << 10, SlicePages: 1 + rnd.IntN(9), Concurrency: 1 + rnd.IntN(4)}, nil, nil)
		cancel()
		w.Close()
		switch kind := tenantry.KindOf(err); {
		case kind == tenantry.Canceled || kind == tenantry.Transient:
			deaths++
		case err != nil:
			t.Fatalf("%v (%s)", err, kind)
		case out.Done:
			return out, deaths
		}
	}
	t.Fatal("the backup does not come to an end")
	return engine.Outcome{}, 0
}

// TestMailboxKilledAtAnyPage lets all that a mailbox holds change in any order between backups whose workers die at
// any page: each snapshot is the truth of its time.
func TestMailboxKilledAtAnyPage(t *testing.T) {
	for seed := range uint64(2) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		c := newCompany(t, graphsim.TenantSpec{Users: 2, MailsPerUser: 25, ContactsPerUser: 12, EventsPerUser: 12, TasksPerUser: 10}, graphsim.Options{PageSize: 3 + rnd.IntN(9)})
		s := c.series(0, tenantry.Mailbox)
		for run := range 2 {
			_, err := c.truth.Churn(int64(seed)*10+int64(run), 20+rnd.IntN(60))
			must(t, err)
			out, deaths := c.backupWithDeaths(t, s, c.mailbox(0), rnd)
			folder := fmt.Sprint("Back", run)
			c.restoreWell(t, s, out.Snapshot.Seq, c.into(1, folder, ""))
			equal(t, c.mails(t, 0, ""), c.mails(t, 1, folder+"/"))
			equal(t, c.contactsOf(t, 0, ""), c.contactsOf(t, 1, "Contacts/"+folder+"/"))
			equal(t, c.eventsOf(t, 0, ""), c.eventsOf(t, 1, folder+" - "))
			equal(t, c.tasksOf(t, 0, ""), c.tasksOf(t, 1, folder+" - "))
			t.Logf("seed %d, run %d: %d deaths", seed, run, deaths)
		}
	}
}
