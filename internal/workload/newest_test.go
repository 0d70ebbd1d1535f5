package workload_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// TestNewestMailIsSafeFirst ends a first backup after some pages, as a deploy does. What its
// checkpoint holds of the inbox is the newest of it, and nothing of other folders than inbox
// and sent items; and the slices after it bring the rest, and what came meanwhile.
func TestNewestMailIsSafeFirst(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1, MailsPerUser: 400, AttachmentSize: 20 << 10}, graphsim.Options{PageSize: 10})
	s := c.series(0, tenantry.Mailbox)
	task := tenantry.NewTaskID(time.Now())
	begin := func() *repository.Writer {
		w, err := c.repo.Begin(t.Context(), s, repository.Fence{Epoch: c.epoch.Add(1), Task: task})
		must(t, err)
		return w
	}
	messages := func() (list []repository.Entry) {
		w := begin()
		defer w.Close()
		for e, err := range w.Entries(t.Context()) {
			must(t, err)
			if e.Kind == "message" {
				list = append(list, e)
			}
		}
		return list
	}
	places := map[string]bool{}
	for _, name := range []string{"inbox", "sentitems"} {
		id, err := c.graph.MailFolderID(t.Context(), c.users[0].ID, name)
		must(t, err)
		places[id] = true
	}
	inbox, err := c.graph.MailFolderID(t.Context(), c.users[0].ID, "inbox")
	must(t, err)
	latest, err := c.truth.NewMail(c.users[0].ID, graphsim.MailSpec{Subject: "came last"}) // what a folder lists last by itself
	must(t, err)

	var early []repository.Entry
	for len(early) == 0 { // the first pages are of folders
		w := begin()
		out, err := engine.Backup(t.Context(), c.mailbox(0)(), w, engine.Limits{SlicePages: 3}, nil, nil)
		w.Close()
		must(t, err)
		if out.Done {
			t.Fatal("the backup was through before it was interrupted")
		}
		early = messages()
	}
	safe, oldest := map[string]bool{}, time.Now()
	for _, e := range early {
		if safe[e.ID] = true; !places[e.Parent] {
			t.Errorf("%q of %s, which is neither in the inbox nor sent, came first", e.Name, e.Date)
		}
		if e.Parent == inbox && e.Date.Before(oldest) {
			oldest = e.Date
		}
	}
	if !safe[latest] {
		t.Error("the message that came last was not among the first")
	}
	_, err = c.truth.NewMail(c.users[0].ID, graphsim.MailSpec{Subject: "came in between"})
	must(t, err)
	c.backup(t, s, c.mailbox(0), engine.Limits{})
	all := messages()
	if len(early) >= len(all) || !slices.ContainsFunc(all, func(e repository.Entry) bool { return e.Parent == inbox && !safe[e.ID] }) {
		t.Fatalf("%d of %d messages were safe: nothing was left of the inbox", len(early), len(all))
	}
	for _, e := range all {
		if e.Parent == inbox && !safe[e.ID] && e.Date.After(oldest) && e.Name != "came in between" {
			t.Errorf("a message of %s was not safe when one of %s was", e.Date, oldest)
		}
	}
	if truth, err := c.truth.MailTruth(c.users[0].ID); err != nil || len(truth) != len(all) {
		t.Errorf("%d messages backed up of %d: %v", len(all), len(truth), err)
	}
}
