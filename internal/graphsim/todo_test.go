package graphsim_test

import (
	"io"
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

// TestFilesOfTasks: a task tells whether it has files; their list has no bytes, one of them has, and $value is them.
// An application cannot delete one.
func TestFilesOfTasks(t *testing.T) {
	t.Parallel()
	world := func(o graphsim.ExchangeOptions) (c *client, base string) {
		_, c = start(t, graphsim.Options{Exchange: o}, graphsim.TenantSpec{Users: 1, TasksPerUser: 1})
		c.tenant.Consent(roles("Tasks.ReadWrite.All")...)
		c.token = c.mustToken()
		base = "users/" + c.tenant.Users()[0].ID + "/todo/lists"
		return c, base + "/" + c.get(base)["value"].([]any)[0].(object)["id"].(string) + "/tasks"
	}
	c, base := world(graphsim.ExchangeOptions{})
	c.refused(400, "GET", base+"/"+c.want(201, "POST", base, object{"title": "t"})["id"].(string)+"/attachments", nil)
	c, base = world(graphsim.ExchangeOptions{TaskAttachments: true})
	task := c.want(201, "POST", base, object{"title": "t"})
	files := base + "/" + task["id"].(string) + "/attachments"
	if task["hasAttachments"] != false {
		t.Errorf("a new task: %v", task)
	}
	_, link, _ := c.round(base + "/delta")
	id := c.want(201, "POST", files, object{"@odata.type": "#microsoft.graph.taskFileAttachment", "name": "a.txt", "contentBytes": "YWJj"})["id"].(string)
	changed, _, _ := c.round(link)
	if len(changed) != 1 || changed[0]["hasAttachments"] != true {
		t.Errorf("the delta shows %v", changed)
	}
	for _, a := range c.get(files)["value"].([]any) {
		if a := a.(object); a["contentBytes"] != nil || a["@odata.type"] != "#microsoft.graph.taskFileAttachment" || a["size"] != 3.0 {
			t.Errorf("listed: %v", a)
		}
	}
	if a := c.get(files + "/" + id); a["contentBytes"] != "YWJj" {
		t.Errorf("%v", a)
	}
	resp := c.do("GET", files+"/"+id+"/$value", nil)
	data, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if must(t, err); string(data) != "abc" {
		t.Errorf("%q", data)
	}
	c.refused(400, "POST", files, object{"@odata.type": "#microsoft.graph.itemAttachment", "name": "m", "item": object{"subject": "s"}})
	c.refused(400, "POST", files, object{"@odata.type": "#microsoft.graph.taskFileAttachment", "contentBytes": "YWJj"})
	truth, err := c.tenant.TaskTruth(c.tenant.Users()[0].ID)
	must(t, err)
	for _, x := range truth {
		if x.Title == "t" && (len(x.Attachments) != 1 || x.Attachments[0].Size != 3) {
			t.Errorf("%+v", x)
		}
	}
}
