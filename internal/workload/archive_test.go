package workload_test

import (
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// TestArchivesAreNamed: an in-place archive is in the snapshot as what was not saved, if somebody wants to know, as long as
// there is one; nobody asks for it otherwise, and a service that does not know is no reason to give up the mailbox.
func TestArchivesAreNamed(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1, MailsPerUser: 3}, graphsim.Options{})
	s, user := c.series(0, tenantry.Mailbox), c.users[0].ID
	must(t, c.truth.ArchiveMailbox(user, true))
	asked := c.watch(t, "/settings/exchange$")
	looking := func() engine.Source {
		return workload.NewMailboxSource(c.graph, user, tenantry.BackupOptions{Archives: true})
	}
	reason := func(src func() engine.Source) (string, bool) {
		t.Helper()
		out := c.backup(t, s, src, engine.Limits{})
		snap, err := c.repo.OpenSnapshot(t.Context(), s, out.Snapshot.Seq)
		must(t, err)
		defer snap.Close()
		e, ok, err := snap.Lookup(t.Context(), "settings:archive")
		must(t, err)
		if ok != (out.Snapshot.Counts.Skipped == 1) {
			t.Errorf("%+v, in the snapshot: %v", out.Snapshot.Counts, ok)
		}
		return e.Problem, ok
	}
	if text, ok := reason(c.mailbox(0)); ok || asked() > 0 {
		t.Errorf("nobody wanted to know: %q, %d requests", text, asked())
	}
	for range 2 {
		if text, ok := reason(looking); !ok || !strings.Contains(text, "no way to") || !strings.Contains(text, "preview") {
			t.Errorf("%q, %v", text, ok)
		}
	}
	_, err := c.sim.Inject(graphsim.Fault{Path: "/settings/exchange$", Status: 403, Code: "ErrorAccessDenied", Nth: 1})
	must(t, err)
	if text, ok := reason(looking); !ok || !strings.Contains(text, "nobody knows") {
		t.Errorf("%q, %v", text, ok)
	}
	must(t, c.truth.ArchiveMailbox(user, false))
	if text, ok := reason(looking); ok {
		t.Errorf("there is none any more: %q", text)
	}
}
