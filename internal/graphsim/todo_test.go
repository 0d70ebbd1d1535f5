package graphsim_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// roles are the default ones and more.
func roles(more ...string) []string {
	return append(append([]string{}, graphsim.DefaultRoles...), more...)
}

func TestTasksAndSettingsThereAndBack(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, TasksPerUser: 30})
	c.tenant.Consent(roles("Tasks.ReadWrite.All", "MailboxSettings.ReadWrite")...)
	c.token = c.mustToken()
	from := c.tenant.Users()[0].ID
	to, err := c.tenant.NewUser("Restored")
	must(t, err)
	target := c.get("users/" + to + "/todo/lists")["value"].([]any)[0].(object)["id"].(string)
	lists, _, _ := c.round("users/" + from + "/todo/lists/delta")
	for _, list := range lists {
		tasks, link, _ := c.round("users/" + from + "/todo/lists/" + list["id"].(string) + "/tasks/delta")
		for _, task := range tasks {
			full := c.get("users/" + from + "/todo/lists/" + list["id"].(string) + "/tasks/" + task["id"].(string) + "?$expand=checklistItems,linkedResources")
			c.want(201, "POST", "users/"+to+"/todo/lists/"+target+"/tasks", writable(full))
		}
		if again, _, _ := c.round(link); len(again) != 0 {
			t.Errorf("%d tasks changed without a change", len(again))
		}
	}
	want, err := c.tenant.TaskTruth(from)
	must(t, err)
	got, err := c.tenant.TaskTruth(to)
	must(t, err)
	less := cmpopts.SortSlices(func(x, y graphsim.TaskTruth) bool { return x.Digest < y.Digest })
	if diff := cmp.Diff(want, got, less, cmpopts.IgnoreFields(graphsim.TaskTruth{}, "ID", "List")); diff != "" {
		t.Error(diff)
	}
	c.restoreSettings(from, to)
}

// restoreSettings copies rules, categories and settings, and compares the truth.
func (c *client) restoreSettings(from, to string) {
	c.t.Helper()
	archive := func(user string) any { return c.get("users/" + user + "/mailFolders/archive")["id"] }
	for _, path := range []string{"mailFolders/inbox/messageRules", "outlook/masterCategories"} {
		items, _, _ := c.round("users/" + from + "/" + path)
		if len(items) == 0 {
			c.t.Errorf("no %s", path)
		}
		for _, item := range items {
			if actions, ok := item["actions"].(object); ok {
				c.refused(400, "POST", "users/"+to+"/"+path, writable(item)) // a folder of another mailbox
				if actions["moveToFolder"] != archive(from) {
					c.t.Errorf("the rule moves to %v", actions["moveToFolder"])
				}
				actions["moveToFolder"] = archive(to)
			}
			c.want(201, "POST", "users/"+to+"/"+path, writable(item))
		}
	}
	c.want(200, "PATCH", "users/"+to+"/mailboxSettings", writable(c.get("users/"+from+"/mailboxSettings")))
	want, err := c.tenant.SettingTruth(from)
	must(c.t, err)
	got, err := c.tenant.SettingTruth(to)
	must(c.t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Error(diff)
	}
}
