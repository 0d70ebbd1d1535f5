package workload_test

import (
	"context"
	"slices"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// undeleting is a mailbox whose writer dies before it deletes anything.
type undeleting struct{ *graph.Tenant }

func killed() error { return tenantry.Errorf(tenantry.Canceled, "killed") }

func (undeleting) DeleteMessage(context.Context, string, string) error { return killed() }
func (undeleting) DeleteContact(context.Context, string, string) error { return killed() }
func (undeleting) DeleteEvent(context.Context, string, string) error   { return killed() }

// state is what a mailbox has, or a folder of each of its parts.
type state struct {
	Mails    []mail
	Contacts []graphsim.ContactTruth
	Events   []graphsim.EventTruth
}

func (c *company) state(t *testing.T, user int, folder string) state {
	t.Helper()
	mails, contacts, events := "", "", ""
	if folder != "" {
		mails, contacts, events = folder+"/", "Contacts/"+folder+"/", folder+" - "
	}
	gone := func(m mail) bool { return m.Path == "Deleted Items" } // which a message lies in that was removed
	return state{slices.DeleteFunc(c.mails(t, user, mails), gone), c.contactsOf(t, user, contacts), c.eventsOf(t, user, events)}
}

func (s state) count() []int { return []int{len(s.Mails), len(s.Contacts), len(s.Events)} }

// TestReplacingIsFinished kills the worker of a restore that replaces, behind each version that it made and before what that
// replaces is removed: the next slice removes it, be it the original or what an earlier restore made.
func TestReplacingIsFinished(t *testing.T) {
	for name, folder := range map[string]string{"the original": "", "what was restored before": "Back"} {
		t.Run(name, func(t *testing.T) {
			c := newCompany(t, graphsim.TenantSpec{Users: 1}, graphsim.Options{})
			user, s := c.users[0].ID, c.series(0, tenantry.Mailbox)
			chosen := c.oneOfEach(t, user)
			first := c.backup(t, s, c.mailbox(0), engine.Limits{}).Snapshot.Seq
			want := c.state(t, 0, "")
			change := func(text string) {
				t.Helper()
				must(t, c.truth.EditMail(user, chosen[0], map[string]any{"subject": text}))
				must(t, c.truth.EditItem(user, chosen[1], map[string]any{"displayName": text}))
				must(t, c.truth.EditItem(user, chosen[2], map[string]any{"subject": text}))
			}
			change("changed")
			if folder != "" { // whose version lies in the folder then, and the original elsewhere
				second := c.backup(t, s, c.mailbox(0), engine.Limits{}).Snapshot.Seq
				c.restore(t, s, second, c.into(0, folder, ""), tenantry.RestoreRequest{Items: chosen})
			}
			c.dieReplacing(t, s, first, folder, chosen)
			equal(t, []int{2, 2, 2}, c.state(t, 0, folder).count())
			for range 2 {
				c.restore(t, s, first, c.into(0, folder, "replace"), tenantry.RestoreRequest{Items: chosen})
				equal(t, want, c.state(t, 0, folder))
			}
		})
	}
}

// oneOfEach makes a mail, a contact and an event, and returns their IDs.
func (c *company) oneOfEach(t *testing.T, user string) []string {
	t.Helper()
	m, err := c.truth.NewMail(user, graphsim.MailSpec{Subject: "a mail"})
	must(t, err)
	p, err := c.truth.NewContact(user, "", map[string]any{"displayName": "a person"})
	must(t, err)
	at := func(hour string) map[string]any {
		return map[string]any{"dateTime": "2026-12-01T" + hour + ":00:00", "timeZone": "UTC"}
	}
	e, err := c.truth.NewEvent(user, "", map[string]any{"subject": "an event", "start": at("09"), "end": at("10")})
	must(t, err)
	return []string{m, p, e}
}

// dieReplacing restores items one by one, each by a worker that dies before it removes what was there.
func (c *company) dieReplacing(t *testing.T, s tenantry.Series, seq int64, folder string, chosen []string) {
	t.Helper()
	snap, err := c.repo.OpenSnapshot(t.Context(), s, seq)
	must(t, err)
	defer snap.Close()
	for _, item := range chosen {
		dst := workload.NewMailboxTarget(undeleting{c.graph}, c.users[0].ID, folder, "replace")
		out, err := engine.Restore(t.Context(), snap, dst, tenantry.RestoreRequest{Items: []string{item}}, engine.Limits{}, nil, nil)
		if tenantry.KindOf(err) != tenantry.Canceled || out.Done {
			t.Errorf("the worker lived: %+v %v", out, err)
		}
	}
}
