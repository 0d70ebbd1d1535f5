package workload_test

import (
	"bytes"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// TestMailboxWithoutDelta reads a mailbox whose delta fails, because it is over its quota or the cloud has no
// such function, from the beginning or later on: every snapshot is the truth of its time, and where the delta
// comes back it is used again.
func TestMailboxWithoutDelta(t *testing.T) {
	noFunction := graphsim.Fault{Path: `/delta`, Status: 400, Code: "ErrorInvalidRequest"}
	overQuota := graphsim.Fault{Path: `/delta`, Status: 507, Code: "ErrorQuotaExceeded"}
	none := graphsim.Fault{}
	for name, faults := range map[string][]graphsim.Fault{
		"no such function":    {noFunction, noFunction, noFunction},
		"over quota":          {overQuota, overQuota, none, none},
		"over quota later on": {none, overQuota, overQuota, none},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCompany(t, graphsim.TenantSpec{Users: 2, MailsPerUser: 50, ContactsPerUser: 6, EventsPerUser: 6, TasksPerUser: 6}, graphsim.Options{PageSize: 9})
			s := c.series(0, tenantry.Mailbox)
			for run, fault := range faults {
				if fault.Path != "" {
					_, err := c.sim.Inject(fault)
					must(t, err)
				}
				_, err := c.truth.Churn(int64(run), 60)
				must(t, err)
				out := c.backup(t, s, c.mailbox(0), engine.Limits{CheckpointBytes: 16 << 10})
				again := c.backup(t, s, c.mailbox(0), engine.Limits{})
				if again.Counts.Bytes > 0 && fault.Path != "" {
					t.Errorf("run %d: at rest %+v", run, again.Counts)
				}
				c.sim.Clear("")
				folder := "Back " + string(rune('A'+run))
				c.restoreWell(t, s, out.Snapshot.Seq, c.into(1, folder, ""))
				equal(t, c.mails(t, 0, ""), c.mails(t, 1, folder+"/"))
				equal(t, c.contactsOf(t, 0, ""), c.contactsOf(t, 1, "Contacts/"+folder+"/"))
				equal(t, c.tasksOf(t, 0, ""), c.tasksOf(t, 1, folder+" - "))
			}
			if faults[len(faults)-1].Path == "" {
				if idle := c.backup(t, s, c.mailbox(0), engine.Limits{}); idle.Counts.Items > 0 {
					t.Errorf("at rest, with the delta back: %+v", idle.Counts)
				}
			}
		})
	}
}

// TestHiddenFoldersAreLookedForDaily has folders hidden after the first backup: the delta does not tell, and the
// first run of the next day finds them, at every depth.
func TestHiddenFoldersAreLookedForDaily(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1, MailsPerUser: 5}, graphsim.Options{})
	user := c.users[0].ID
	src := c.mailbox(0)()
	read := func(link string) (names []string, next string) {
		t.Helper()
		for {
			p, err := src.Page(t.Context(), "part:mail", link)
			must(t, err)
			for _, item := range p.Items {
				names = append(names, item.Name)
			}
			if link = p.Next; p.Done {
				return names, link
			}
		}
	}
	_, link := read("")
	parent, err := c.graph.CreateMailFolder(t.Context(), user, "", "Seen", false)
	must(t, err)
	_, err = c.graph.CreateMailFolder(t.Context(), user, parent, "Deep and hidden", true)
	must(t, err)
	names, link := read(link)
	if slices.Contains(names, "Deep and hidden") {
		t.Errorf("the delta shows hidden folders: %q", names)
	}
	if names, _ := read(link); len(names) > 0 {
		t.Errorf("at rest: %q", names)
	}
	yesterday := regexp.MustCompile(`^(root \S+) \d+`).ReplaceAllString(link, "$1 1000000000")
	if names, _ := read(yesterday); !slices.Contains(names, "Deep and hidden") {
		t.Errorf("the next day: %q", names)
	}
}

// TestMailOptions keeps each mail as MIME, and what can be recovered, where that is wanted. Being read does not
// fetch MIME again.
func TestMailOptions(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 2, MailsPerUser: 20}, graphsim.Options{})
	user := c.users[0].ID
	s := c.series(0, tenantry.Mailbox)
	src := func(o tenantry.BackupOptions) func() engine.Source {
		return func() engine.Source { return workload.NewMailboxSource(c.graph, user, o) }
	}
	c.backup(t, s, src(tenantry.BackupOptions{MIME: true}), engine.Limits{})
	truth, err := c.truth.MailTruth(user)
	must(t, err)
	must(t, c.graph.DeleteMessage(t.Context(), user, truth[0].ID)) // to Deleted Items, or from there
	must(t, c.graph.DeleteMessage(t.Context(), user, truth[0].ID))
	wanted := src(tenantry.BackupOptions{MIME: true, Recoverable: true})
	out := c.backup(t, s, wanted, engine.Limits{})
	snap, err := c.repo.OpenSnapshot(t.Context(), s, out.Snapshot.Seq)
	must(t, err)
	defer snap.Close()
	mails, recovered := 0, false
	var walk func(parent, name string)
	walk = func(parent, name string) {
		for e, err := range snap.Children(t.Context(), parent) {
			must(t, err)
			if e.Kind != "message" {
				walk(e.ID, e.Name)
				continue
			}
			mails++
			recovered = recovered || e.ID == truth[0].ID && name == "Deletions"
			at := slices.IndexFunc(e.Parts, func(p repository.Part) bool { return p.Name == "message.eml" })
			if at < 0 {
				t.Errorf("%s is not kept as MIME: %+v", e.Name, e.Parts)
				continue
			}
			equal(t, c.mimeOf(t, user, e.ID), readPart(t, snap, e, e.Parts[at]))
		}
	}
	walk("", "")
	if mails == 0 || !recovered {
		t.Errorf("%d mails; the deleted one is among what can be recovered: %t", mails, recovered)
	}
	again := func() int64 { return c.requests(func() { c.backup(t, s, wanted, engine.Limits{}) }) }
	most := again() + int64(len(truth))/2
	for _, m := range truth[1:] {
		must(t, c.truth.EditMail(user, m.ID, map[string]any{"isRead": !strings.Contains(m.Subject, "x")}))
	}
	if n := again(); n > most {
		t.Errorf("%d requests after %d mails were read, more than %d", n, len(truth), most)
	}
	c.restore(t, s, out.Snapshot.Seq, c.into(1, "Back", ""), tenantry.RestoreRequest{})
	if got := c.mails(t, 1, "Back/Deletions"); len(got) != 1 {
		t.Errorf("what can be recovered came back as %+v", got)
	}
}

func (c *company) mimeOf(t *testing.T, user, message string) string {
	t.Helper()
	body, err := c.graph.MessageMIME(t.Context(), user, message)
	must(t, err)
	defer body.Close()
	text, err := io.ReadAll(body)
	must(t, err)
	return string(text)
}

func readPart(t *testing.T, snap *repository.Reader, e repository.Entry, p repository.Part) string {
	t.Helper()
	body, err := snap.Open(t.Context(), e, p)
	must(t, err)
	defer body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(body)
	must(t, err)
	return b.String()
}

// TestMailboxesOfAllKinds backs up mailboxes of people, of teams of them, of rooms and of things, and says
// what each is for.
func TestMailboxesOfAllKinds(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 1, Shared: 1, Rooms: 1, Equipment: 1, MailsPerUser: 6, EventsPerUser: 4}, graphsim.Options{})
	found := map[string]bool{}
	for i, u := range c.users {
		if !u.Mailbox {
			continue
		}
		s := c.series(i, tenantry.Mailbox)
		out := c.backup(t, s, c.mailbox(i), engine.Limits{})
		snap, err := c.repo.OpenSnapshot(t.Context(), s, out.Snapshot.Seq)
		must(t, err)
		e, ok, err := snap.Lookup(t.Context(), "settings:mailbox")
		must(t, err)
		raw, err := snap.Payload(t.Context(), e)
		must(t, err)
		snap.Close()
		purpose := regexp.MustCompile(`"userPurpose":"(\w+)"`).FindSubmatch(raw)
		if !ok || purpose == nil || out.Snapshot.Counts.Skipped > 0 || out.Snapshot.Counts.Items < 8 {
			t.Errorf("%s: %s: %+v", u.Name, raw, out.Snapshot.Counts)
			continue
		}
		found[string(purpose[1])] = true
	}
	for _, kind := range []string{"user", "shared", "room", "equipment"} {
		if !found[kind] {
			t.Errorf("no mailbox of the kind %s was saved: %v", kind, found)
		}
	}
}
