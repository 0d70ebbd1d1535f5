package workload_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// contactsOf returns a user's contacts below a folder, as a restore has to bring them back.
func (c *company) contactsOf(t testing.TB, user int, below string) []graphsim.ContactTruth {
	t.Helper()
	all, err := c.truth.ContactTruth(c.users[user].ID)
	if err != nil {
		t.Fatal(err)
	}
	var list []graphsim.ContactTruth
	for _, x := range all {
		if path, ok := strings.CutPrefix(x.Path, below); ok {
			x.ID, x.Path = "", path
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b graphsim.ContactTruth) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Digest, b.Digest), strings.Compare(a.Photo, b.Photo))
	})
	return list
}

// eventsOf returns a user's own events in the calendars whose names begin so. Links, which Graph cannot
// write, are left out, and attendees, who must not be invited.
func (c *company) eventsOf(t testing.TB, user int, below string) []graphsim.EventTruth {
	t.Helper()
	all, err := c.truth.EventTruth(c.users[user].ID)
	if err != nil {
		t.Fatal(err)
	}
	links := func(list []graphsim.AttachmentTruth) []graphsim.AttachmentTruth {
		return slices.DeleteFunc(slices.Clone(list), func(a graphsim.AttachmentTruth) bool { return a.Kind == "reference" })
	}
	var list []graphsim.EventTruth
	for _, x := range all {
		name, ok := strings.CutPrefix(x.Calendar, below)
		if !ok || x.Shared {
			continue
		}
		x.ID, x.Calendar, x.Attendees, x.Attachments = "", name, nil, links(x.Attachments)
		x.Exceptions = slices.Clone(x.Exceptions)
		for i := range x.Exceptions {
			x.Exceptions[i].Attachments = links(x.Exceptions[i].Attachments)
		}
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b graphsim.EventTruth) int {
		return cmp.Or(strings.Compare(a.Calendar, b.Calendar), strings.Compare(a.Digest, b.Digest))
	})
	return list
}

// sent returns what a user's mailbox has sent.
func (c *company) sent(t testing.TB, user int) []graphsim.SentTruth {
	t.Helper()
	list, err := c.truth.SentTruth(c.users[user].ID)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestContactsAndCalendarsThereAndBack takes contacts and calendars into another mailbox, to folders of
// their own and to their original places, and holds each against the truth. Nothing is sent.
func TestContactsAndCalendarsThereAndBack(t *testing.T) {
	for name, options := range map[string]graphsim.ExchangeOptions{"default folder hidden": {}, "default folder listed": {ListDefaultContacts: true}} {
		t.Run(name, func(t *testing.T) {
			c := newCompany(t, graphsim.TenantSpec{Users: 4, ContactsPerUser: 24, EventsPerUser: 24}, graphsim.Options{PageSize: 20, Exchange: options})
			const src = 3
			s := c.series(src, tenantry.Mailbox)
			out := c.backup(t, s, c.mailbox(src), engine.Limits{CheckpointBytes: 64 << 10})
			if out.Snapshot.Counts.Skipped > 0 {
				t.Errorf("%+v", out)
			}
			people, events := c.contactsOf(t, src, ""), c.eventsOf(t, src, "")
			if len(people) < 20 || len(events) < 20 {
				t.Fatalf("%d contacts, %d events", len(people), len(events))
			}
			into := func(user int, folder string) func() engine.Target {
				return func() engine.Target { return workload.NewMailboxTarget(c.graph, c.users[user].ID, folder, "") }
			}
			elsewhere := c.eventsOf(t, 2, "")
			known := c.contactsOf(t, 2, "")
			for range 2 { // twice: no duplicates
				c.restoreWell(t, s, out.Snapshot.Seq, into(1, "Back"))
				equal(t, people, c.contactsOf(t, 1, "Contacts/Back/"))
				equal(t, events, c.eventsOf(t, 1, "Back - "))
				c.restoreWell(t, s, out.Snapshot.Seq, into(2, ""))
				if got := len(c.eventsOf(t, 2, "")); got != len(events)+len(elsewhere) {
					t.Errorf("%d events, of %d and %d", got, len(events), len(elsewhere))
				}
				if got := len(c.contactsOf(t, 2, "")); got != len(people)+len(known) {
					t.Errorf("%d contacts, of %d and %d", got, len(people), len(known))
				}
			}
			c.restoreWell(t, s, out.Snapshot.Seq, into(src, "")) // everything is there
			equal(t, people, c.contactsOf(t, src, ""))
			equal(t, events, c.eventsOf(t, src, ""))
			for user := range c.users {
				if sent := c.sent(t, user); len(sent) > 0 {
					t.Errorf("user %d sent %+v", user, sent)
				}
			}
		})
	}
}

// restoreWell restores everything and sees that nothing but links is missing.
func (c *company) restoreWell(t *testing.T, s tenantry.Series, seq int64, dst func() engine.Target) {
	t.Helper()
	for _, p := range c.restore(t, s, seq, dst, tenantry.RestoreRequest{}).Problems {
		if !strings.Contains(p.Reason, "a link, which Graph cannot write") {
			t.Errorf("%+v", p)
		}
	}
}

// TestContactsAndCalendarsFollowChanges lets them change between backups, under faults and cut at any page:
// what is restored is the truth of its time, and a mailbox at rest has nothing to tell. (That it is so in
// any order of changes, also of those under way, is a property of package engine.)
func TestContactsAndCalendarsFollowChanges(t *testing.T) {
	for seed := range int64(2) {
		c := newCompany(t, graphsim.TenantSpec{Users: 2, ContactsPerUser: 16, EventsPerUser: 16}, graphsim.Options{PageSize: 7})
		s := c.series(0, tenantry.Mailbox)
		for run := range 3 {
			for _, f := range []graphsim.Fault{
				{Path: `/contacts/delta`, Kind: graphsim.FaultCut, Nth: 2},
				{Path: `/contacts/delta`, Kind: graphsim.FaultGone, Nth: 3},
				{Path: `/events$`, Kind: graphsim.FaultReset, Nth: 3},
				{Path: `/events/[^/]+$`, Kind: graphsim.FaultCut, Nth: 2},
			} {
				_, err := c.sim.Inject(f)
				must(t, err)
			}
			_, err := c.truth.Churn(10*seed+int64(run), 80)
			must(t, err)
			c.backup(t, s, c.mailbox(0), engine.Limits{CheckpointBytes: 8 << 10})
			c.sim.Clear("")
		}
		out := c.backup(t, s, c.mailbox(0), engine.Limits{})
		people, events := c.contactsOf(t, 0, ""), c.eventsOf(t, 0, "")
		c.restoreWell(t, s, out.Snapshot.Seq, func() engine.Target { return workload.NewMailboxTarget(c.graph, c.users[1].ID, "Back", "") })
		equal(t, people, c.contactsOf(t, 1, "Contacts/Back/"))
		equal(t, events, c.eventsOf(t, 1, "Back - "))
		if idle := c.backup(t, s, c.mailbox(0), engine.Limits{}); idle.Counts.Items > 0 || idle.Counts.Bytes > 0 {
			t.Errorf("a mailbox at rest: %+v", idle)
		}
	}
}

// TestAPartThatIsRefused lets the permission for calendars be missing: the rest is saved, the calendars say
// why they are not; what was saved of them stays, and they are saved again with the permission.
func TestAPartThatIsRefused(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1, MailsPerUser: 10, ContactsPerUser: 10, EventsPerUser: 10}, graphsim.Options{})
	s := c.series(0, tenantry.Mailbox)
	items := func(out engine.Outcome, skipped int64) int64 {
		t.Helper()
		if out.Snapshot.Counts.Skipped != skipped {
			t.Errorf("%+v", out)
		}
		return out.Snapshot.Counts.Items
	}
	refuse := func() {
		_, err := c.sim.Inject(graphsim.Fault{Path: `/calendars`, Status: 403, Code: "ErrorAccessDenied"})
		must(t, err)
	}
	refuse()
	without := items(c.backup(t, s, c.mailbox(0), engine.Limits{}), 1)
	c.struck(t)
	all := items(c.backup(t, s, c.mailbox(0), engine.Limits{}), 0)
	if all <= without {
		t.Errorf("%d items with calendars, %d without", all, without)
	}
	refuse()
	out := c.backup(t, s, c.mailbox(0), engine.Limits{})
	if kept := items(out, 1); kept != all || len(out.Problems) != 1 || !strings.Contains(out.Problems[0].Reason, "ErrorAccessDenied") {
		t.Errorf("%d of %d items are kept: %+v", kept, all, out.Problems)
	}
	c.struck(t)
}

// TestAMailboxThatIsRefused is refused as a whole, with its own reason.
func TestAMailboxThatIsRefused(t *testing.T) {
	for code, kind := range map[string]tenantry.Kind{"ErrorAccessDenied": tenantry.Denied, "MailboxNotEnabledForRESTAPI": tenantry.Absent} {
		c := newCompany(t, graphsim.TenantSpec{Users: 1, MailsPerUser: 1}, graphsim.Options{})
		_, err := c.sim.Inject(graphsim.Fault{Path: `/users/`, Status: 403, Code: code})
		must(t, err)
		w, err := c.repo.Begin(t.Context(), c.series(0, tenantry.Mailbox), repository.Fence{Epoch: 1, Task: tenantry.NewTaskID(time.Now())})
		must(t, err)
		_, err = engine.Backup(t.Context(), c.mailbox(0)(), w, engine.Limits{}, nil, nil)
		w.Close()
		if tenantry.KindOf(err) != kind {
			t.Errorf("%s: %v (%s)", code, err, tenantry.KindOf(err))
		}
	}
}
