package workload_test

import (
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// requests counts those of the mailbox that run makes.
func (c *company) requests(run func()) int64 {
	before := c.sim.Stats().Tenants[c.truth.ID()].Requests["outlook"]
	run()
	return c.sim.Stats().Tenants[c.truth.ID()].Requests["outlook"] - before
}

// TestAMailboxAtRestIsCheap counts what a run over an unchanged mailbox asks for: each folder and calendar
// and list of tasks once, the lists of them, what lies below each contact folder but the default one, which no
// delta tells, and the three kinds of settings. All calendars but the longest are listed a second time: events move
// between them, which no list tells. A message that only moved costs nothing on top but its pages,
// and one that was deleted is asked for.
func TestAMailboxAtRestIsCheap(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1, MailsPerUser: 60, ContactsPerUser: 10, EventsPerUser: 10}, graphsim.Options{})
	s, user := c.series(0, tenantry.Mailbox), c.users[0].ID
	c.backup(t, s, c.mailbox(0), engine.Limits{})
	mailFolders, err := c.truth.FolderTruth(user)
	must(t, err)
	contactFolders, err := c.truth.ContactFolderTruth(user)
	must(t, err)
	calendars, err := c.truth.CalendarTruth(user)
	must(t, err)
	taskLists, err := c.truth.TaskListTruth(user)
	must(t, err)
	want := int64(1+len(mailFolders)) + int64(1+len(contactFolders)+len(contactFolders)-1) + int64(1+len(calendars)+len(calendars)-1) + int64(1+len(taskLists)) + 3
	rest := func() int64 {
		return c.requests(func() { c.backup(t, s, c.mailbox(0), engine.Limits{}) })
	}
	if got := rest(); got > want {
		t.Errorf("%d requests for %d mail folders, %d contact folders, %d calendars, %d lists of tasks: more than %d",
			got, len(mailFolders), len(contactFolders), len(calendars), len(taskLists), want)
	}
	mails, err := c.truth.MailTruth(user)
	must(t, err)
	must(t, c.truth.MoveMail(user, mails[0].ID, mailFolders[len(mailFolders)-1].ID))
	if got := rest(); got > want+2 {
		t.Errorf("a message that moved: %d requests, at rest at most %d", got, want)
	}
	must(t, c.truth.DeleteMail(user, mails[1].ID))
	if got := rest(); got > want+3 {
		t.Errorf("a message that was deleted: %d requests, at rest at most %d", got, want)
	}
}

// TestAFullBackupIsCheap: bodies come with the pages, and attachments with their list, so that a mailbox of mails
// of which one in five has an attachment of 40 KiB costs less than 0.3 requests an item.
func TestAFullBackupIsCheap(t *testing.T) {
	const mails = 1000
	c := newCompany(t, graphsim.TenantSpec{Users: 1, MailsPerUser: mails, AttachmentSize: 40 << 10}, graphsim.Options{})
	s := c.series(0, tenantry.Mailbox)
	var out engine.Outcome
	n := c.requests(func() { out = c.backup(t, s, c.mailbox(0), engine.Limits{}) })
	truth, err := c.truth.MailTruth(c.users[0].ID)
	must(t, err)
	with := 0
	for _, m := range truth {
		if len(m.Attachments) > 0 {
			with++
		}
	}
	if out.Counts.Items < mails || with < mails/8 {
		t.Fatalf("%+v, %d with attachments", out.Counts, with)
	}
	t.Logf("%d requests for %d mails, %d of them with attachments: %.3f an item", n, mails, with, float64(n)/mails)
	if n > mails*3/10 {
		t.Errorf("%d requests for %d mails", n, mails)
	}
}
