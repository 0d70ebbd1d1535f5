package workload_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/workload"
)

// tasksOf returns what a user's To Do lists whose names begin so hold, as a restore has to bring it back.
func (c *company) tasksOf(t testing.TB, user int, below string) []graphsim.TaskTruth {
	t.Helper()
	all, err := c.truth.TaskTruth(c.users[user].ID)
	if err != nil {
		t.Fatal(err)
	}
	var list []graphsim.TaskTruth
	for _, x := range all {
		if name, ok := strings.CutPrefix(x.List, below); ok {
			x.ID, x.List = "", name
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b graphsim.TaskTruth) int { return strings.Compare(a.List+a.Digest, b.List+b.Digest) })
	return list
}

// settingsOf returns a user's settings, rules and categories, those of the named kinds.
func (c *company) settingsOf(t testing.TB, user int, kinds ...string) []graphsim.SettingTruth {
	t.Helper()
	all, err := c.truth.SettingTruth(c.users[user].ID)
	if err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(x graphsim.SettingTruth) bool { return !slices.Contains(kinds, x.Kind) })
	slices.SortFunc(all, func(a, b graphsim.SettingTruth) int {
		return strings.Compare(a.Kind+a.Name+a.Digest, b.Kind+b.Name+b.Digest)
	})
	return all
}

// bare takes away what the simulator gives every mailbox of rules and categories.
func (c *company) bare(t *testing.T, user int) {
	t.Helper()
	id := c.users[user].ID
	rules, err := c.graph.MessageRules(t.Context(), id, "")
	must(t, err)
	for _, raw := range rules.Items {
		must(t, c.graph.DeleteMessageRule(t.Context(), id, idOf(t, raw)))
	}
	categories, err := c.graph.MasterCategories(t.Context(), id, "")
	must(t, err)
	for _, raw := range categories.Items {
		must(t, c.graph.DeleteMasterCategory(t.Context(), id, idOf(t, raw)))
	}
}

// TestTasksThereAndBack takes tasks with their checklists and links into lists of their own and to their
// original places, twice; two that say the same are two; one that was begun is completed.
func TestTasksThereAndBack(t *testing.T) {
	for name, plain := range map[string]bool{"expanded": false, "one by one": true} {
		t.Run(name, func(t *testing.T) {
			c := newCompany(t, graphsim.TenantSpec{Users: 3, TasksPerUser: 24}, graphsim.Options{PageSize: 7})
			user := c.users[0].ID
			lists, err := c.truth.TaskListTruth(user)
			must(t, err)
			for range 2 {
				id, err := c.graph.CreateTask(t.Context(), user, lists[0].ID, []byte(`{"title":"twice","body":{"contentType":"text","content":"a < b"}}`))
				must(t, err)
				must(t, c.graph.AddTaskPart(t.Context(), user, lists[0].ID, id, "checklistItems", []byte(`{"displayName":"same"}`)))
			}
			src := c.mailbox(0)
			if plain {
				src = func() engine.Source {
					return workload.NewMailboxSource(unexpanded{c.graph}, user, tenantry.BackupOptions{})
				}
			}
			s := c.series(0, tenantry.Mailbox)
			out := c.backup(t, s, src, engine.Limits{})
			want := c.tasksOf(t, 0, "")
			if len(want) < 26 || out.Snapshot.Counts.Skipped > 0 {
				t.Fatalf("%d tasks: %+v", len(want), out)
			}
			there := len(c.tasksOf(t, 2, ""))
			for range 2 {
				c.restoreWell(t, s, out.Snapshot.Seq, c.into(1, "Back", ""))
				equal(t, want, c.tasksOf(t, 1, "Back - "))
				c.restoreWell(t, s, out.Snapshot.Seq, c.into(2, "", ""))
				if got := len(c.tasksOf(t, 2, "")); got != there+len(want) {
					t.Errorf("%d tasks, of %d and %d", got, there, len(want))
				}
				c.restoreWell(t, s, out.Snapshot.Seq, c.into(0, "", ""))
				equal(t, want, c.tasksOf(t, 0, ""))
			}
			_, err = c.sim.Inject(graphsim.Fault{Method: "POST", Path: `/linkedResources$`, Kind: graphsim.FaultReset, Nth: 2})
			must(t, err)
			c.restoreWell(t, s, out.Snapshot.Seq, c.into(1, "Again", "")) // which is cut, and goes on
			equal(t, want, c.tasksOf(t, 1, "Again - "))
		})
	}
}

// unexpanded is a service that brings nothing along with a task.
type unexpanded struct{ *graph.Tenant }

func (u unexpanded) TaskChanges(ctx context.Context, user, list, link string, pageSize int, expanded bool) (graph.RawPage, error) {
	if expanded {
		return graph.RawPage{}, tenantry.Errorf(tenantry.Invalid, "read a page of tasks: $expand is not supported")
	}
	return u.Tenant.TaskChanges(ctx, user, list, link, pageSize, false)
}

func (c *company) into(user int, folder, conflict string) func() engine.Target {
	return func() engine.Target { return workload.NewMailboxTarget(c.graph, c.users[user].ID, folder, conflict) }
}

// TestTasksFollowChanges lets tasks change, go and come between backups.
func TestTasksFollowChanges(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 2, TasksPerUser: 12}, graphsim.Options{PageSize: 5})
	user := c.users[0].ID
	s := c.series(0, tenantry.Mailbox)
	first := c.backup(t, s, c.mailbox(0), engine.Limits{})
	before := c.tasksOf(t, 0, "")
	list, err := c.graph.CreateTaskList(t.Context(), user, "New list")
	must(t, err)
	id, err := c.graph.CreateTask(t.Context(), user, list, []byte(`{"title":"new"}`))
	must(t, err)
	must(t, c.graph.AddTaskPart(t.Context(), user, list, id, "checklistItems", []byte(`{"displayName":"one","isChecked":true}`)))
	lists, err := c.truth.TaskListTruth(user)
	must(t, err)
	gone, err := c.graph.Tasks(t.Context(), user, lists[0].ID, "")
	must(t, err)
	must(t, c.graph.DeleteTask(t.Context(), user, lists[0].ID, idOf(t, gone.Items[0])))
	second := c.backup(t, s, c.mailbox(0), engine.Limits{})
	after := c.tasksOf(t, 0, "")
	must(t, c.graph.AddTaskPart(t.Context(), user, list, id, "checklistItems", []byte(`{"displayName":"two"}`)))
	third := c.backup(t, s, c.mailbox(0), engine.Limits{})
	now := c.tasksOf(t, 0, "")
	for folder, at := range map[string]struct {
		seq  int64
		want []graphsim.TaskTruth
	}{"First": {first.Snapshot.Seq, before}, "Second": {second.Snapshot.Seq, after}, "Third": {third.Snapshot.Seq, now}} {
		c.restoreWell(t, s, at.seq, c.into(1, folder, ""))
		equal(t, at.want, c.tasksOf(t, 1, folder+" - "))
	}
}

// TestSettingsThereAndBack takes rules, categories and settings into another mailbox: rules move mail to
// folders of the same place there, nothing is there twice, and nothing begins to send mail.
func TestSettingsThereAndBack(t *testing.T) {
	c := newCompany(t, graphsim.TenantSpec{Users: 3, MailsPerUser: 8, ContactsPerUser: 1}, graphsim.Options{})
	user := c.users[0].ID
	parent, err := c.graph.CreateMailFolder(t.Context(), user, "", "Projects", false)
	must(t, err)
	deep, err := c.graph.CreateMailFolder(t.Context(), user, parent, "A/B", false)
	must(t, err)
	_, err = c.graph.CreateMessageRule(t.Context(), user, []byte(`{"displayName":"sort","sequence":2,"isEnabled":true,"conditions":{"subjectContains":["x"]},"actions":{"moveToFolder":"`+deep+`"}}`))
	must(t, err)
	s := c.series(0, tenantry.Mailbox)
	out := c.backup(t, s, c.mailbox(0), engine.Limits{})
	want := c.settingsOf(t, 0, "rule", "category")
	if len(want) < 5 || out.Snapshot.Counts.Skipped > 0 {
		t.Fatalf("%d rules and categories: %+v", len(want), out)
	}
	c.bare(t, 1)
	settings := c.settingsOf(t, 1, "settings")
	must(t, c.graph.UpdateMailboxSettings(t.Context(), user, []byte(`{"automaticRepliesSetting":{"status":"alwaysEnabled","internalReplyMessage":"away"},"timeZone":"UTC"}`)))
	for range 2 {
		c.restoreWell(t, s, out.Snapshot.Seq, c.into(1, "", ""))
		equal(t, want, c.settingsOf(t, 1, "rule", "category"))
		equal(t, settings, c.settingsOf(t, 1, "settings"))
		c.restoreWell(t, s, out.Snapshot.Seq, c.into(0, "", ""))
		equal(t, want, c.settingsOf(t, 0, "rule", "category"))
	}
	_, err = c.graph.CreateMessageRule(t.Context(), user, []byte(`{"displayName":"forward","sequence":3,"actions":{"forwardTo":[{"emailAddress":{"address":"a@example.com"}}]}}`))
	must(t, err)
	out = c.backup(t, s, c.mailbox(0), engine.Limits{})
	problems := c.restore(t, s, out.Snapshot.Seq, c.into(1, "", "replace"), tenantry.RestoreRequest{}).Problems
	var off []string
	for _, p := range problems {
		if !strings.Contains(p.Reason, "switched off") {
			t.Errorf("%+v", p)
		}
		off = append(off, p.Name)
	}
	slices.Sort(off)
	equal(t, []string{"Mailbox settings", "forward"}, off)
	rules, err := c.graph.MessageRules(t.Context(), c.users[1].ID, "")
	must(t, err)
	if len(rules.Items) != 3 || !slices.ContainsFunc(rules.Items, func(raw jsontext.Value) bool {
		return strings.Contains(string(raw), `"forward"`) && strings.Contains(string(raw), `"isEnabled":false`)
	}) {
		t.Errorf("%s", rules.Items)
	}
	now, err := c.graph.MailboxSettings(t.Context(), c.users[1].ID)
	must(t, err)
	if text := string(now); !strings.Contains(text, `"internalReplyMessage":"away"`) || !strings.Contains(text, `"status":"disabled"`) ||
		!strings.Contains(text, `"timeZone":"UTC"`) {
		t.Errorf("settings that replace others: %s", text)
	}
	c.bare(t, 2)
	for range 2 {
		notes := c.restore(t, s, out.Snapshot.Seq, c.into(2, "Back", ""), tenantry.RestoreRequest{}).Notes
		for _, said := range []string{"rules are switched off", "settings of the mailbox were left"} {
			if strings.Count(notes, said) != 1 {
				t.Errorf("%q is not told once: %s", said, notes)
			}
		}
	}
	rules, err = c.graph.MessageRules(t.Context(), c.users[2].ID, "")
	must(t, err)
	if len(rules.Items) != 3 || slices.ContainsFunc(rules.Items, func(raw jsontext.Value) bool { return strings.Contains(string(raw), `"isEnabled":true`) }) {
		t.Errorf("a restore into a folder has switched rules on: %s", rules.Items)
	}
}

func idOf(t *testing.T, raw jsontext.Value) string {
	t.Helper()
	var x struct {
		ID string `json:"id"`
	}
	must(t, json.Unmarshal(raw, &x))
	return x.ID
}
