package workload_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
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
			c := newCompany(t, graphsim.TenantSpec{Users: 3, ContactsPerUser: 60, EventsPerUser: 60}, graphsim.Options{PageSize: 20, Exchange: options})
			s := c.series(0, tenantry.Mailbox)
			out := c.backup(t, s, c.mailbox(0), engine.Limits{CheckpointBytes: 64 << 10})
			if out.Snapshot.Counts.Skipped > 0 {
				t.Errorf("%+v", out)
			}
			people, events := c.contactsOf(t, 0, ""), c.eventsOf(t, 0, "")
			if len(people) < 50 || len(events) < 50 {
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
			c.restoreWell(t, s, out.Snapshot.Seq, into(0, "")) // everything is there
			equal(t, people, c.contactsOf(t, 0, ""))
			equal(t, events, c.eventsOf(t, 0, ""))
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

// TestContactsAndCalendarsFollowChanges lets them change in any order, under faults, between and during
// backups that are cut at any page: what is stored is the truth in the end, and a mailbox at rest is asked
// for nothing but its lists.
func TestContactsAndCalendarsFollowChanges(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := newCompany(t, graphsim.TenantSpec{Seed: r.Uint64().Draw(r, "seed"), Users: 2, ContactsPerUser: 12, EventsPerUser: 12},
			graphsim.Options{PageSize: rapid.IntRange(2, 9).Draw(r, "page size")})
		s := c.series(0, tenantry.Mailbox)
		for range rapid.IntRange(1, 3).Draw(r, "runs") {
			_, err := c.truth.Churn(r.Int64().Draw(r, "churn"), r.IntRange(0, 40).Draw(r, "changes"))
			must(t, err)
			c.backup(t, s, c.mailbox(0), engine.Limits{})
		}
	})
}
