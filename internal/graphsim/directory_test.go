package graphsim_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/graphsim"
)

func TestUsersDelta(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{PageSize: 4}, graphsim.TenantSpec{Users: 10, Unlicensed: 2, Shared: 1})
	users, link, pages := c.round("users/delta?$select=displayName,assignedPlans,accountEnabled")
	if len(users) != 11 || pages != 3 {
		t.Fatalf("%d users on %d pages", len(users), pages)
	}
	if users[0]["mail"] != nil || len(users[0]["assignedPlans"].([]any)) == 0 || len(users[9]["assignedPlans"].([]any)) != 0 {
		t.Errorf("selection: %v %v", users[0], users[9])
	}
	first, second := users[0]["id"].(string), users[1]["id"].(string)
	must(t, c.tenant.DeleteUser(first))
	must(t, c.tenant.PurgeUser(second))
	fresh, err := c.tenant.NewUser("New Person")
	must(t, err)
	changes, link, _ := c.round(link)
	got := ids(changes)
	reason := func(id string) any {
		removed, _ := got[id]["@removed"].(object)
		return removed["reason"]
	}
	if reason(first) != "changed" || reason(second) != "deleted" || got[fresh]["displayName"] != "New Person" {
		t.Errorf("changes: %v", changes)
	}
	c.refused(404, "GET", "users/"+first, nil)
	c.get("directory/deletedItems/" + first)
	deleted, _, _ := c.round("directory/deletedItems/microsoft.graph.user")
	if len(deleted) != 1 || deleted[0]["id"] != first {
		t.Errorf("deletedItems: %v", deleted)
	}
	c.want(200, "POST", "directory/deletedItems/"+first+"/restore", nil)
	c.get("users/" + first)
	if changes, _, _ := c.round(link); len(changes) != 1 || changes[0]["@removed"] != nil {
		t.Errorf("after the restore: %v", changes)
	}
	// Truth outlives its user.
	if _, err := c.tenant.MailTruth(second); err != nil {
		t.Error(err)
	}
}

func TestGroupsAndSites(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{PageSize: 3}, graphsim.TenantSpec{Users: 4, Groups: 4, Sites: 3})
	groups, groupLink, _ := c.round("groups/delta?$select=displayName,groupTypes")
	sites, siteLink, _ := c.round("sites/delta")
	if len(groups) != 4 || len(sites) != 4+2+3 {
		t.Fatalf("%d groups, %d sites", len(groups), len(sites))
	}
	all, _, pages := c.round("sites/getAllSites()?$top=3")
	if len(all) != len(sites) || pages != 3 {
		t.Errorf("getAllSites: %d sites on %d pages", len(all), pages)
	}
	must(t, c.tenant.DeleteGroup(groups[0]["id"].(string)))
	must(t, c.tenant.DeleteGroup(groups[1]["id"].(string))) // a security group: for good
	changes, _, _ := c.round(groupLink)
	reasons := []any{changes[0]["@removed"].(object)["reason"], changes[1]["@removed"].(object)["reason"]}
	if reasons[0] != "changed" || reasons[1] != "deleted" {
		t.Errorf("reasons %v", reasons)
	}
	team := c.tenant.Sites()[8]
	must(t, c.tenant.DeleteSite(team.ID))
	changes, siteLink, _ = c.round(siteLink)
	// The group's site went with it.
	if len(changes) != 2 || changes[1]["id"] != team.ID || changes[1]["deleted"].(object)["state"] != "deleted" || changes[1]["@removed"] != nil {
		t.Errorf("deleted site: %v", changes)
	}
	// It can still be read, and does not say that it is deleted.
	path := "sites/" + url.PathEscape(team.ID)
	if site := c.get(path); site["deleted"] != nil || site["name"] == nil {
		t.Errorf("deleted site by its ID: %v", site)
	}
	if all, _, _ := c.round("sites/getAllSites"); len(all) != len(sites)-2 {
		t.Errorf("%d sites are listed", len(all))
	}
	must(t, c.tenant.RestoreSite(team.ID))
	changes, siteLink, _ = c.round(siteLink)
	if len(changes) != 1 || changes[0]["name"] == nil {
		t.Errorf("restored site: %v", changes)
	}
	must(t, c.tenant.DeleteSite(team.ID))
	must(t, c.tenant.PurgeSite(team.ID))
	c.refused(404, "GET", path, nil)
	if changes, _, _ := c.round(siteLink); len(changes) != 1 || changes[0]["deleted"] == nil {
		t.Errorf("purged site: %v", changes)
	}
}

func TestDeletedObjectsLiveTheirTime(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	s, c := start(t, graphsim.Options{Retention: graphsim.Retention{Users: 10 * day}}, graphsim.TenantSpec{Users: 2, Groups: 1, Sites: 1})
	_, link, _ := c.round("users/delta")
	user, group, site := c.tenant.Users()[0].ID, c.tenant.Groups()[0], c.tenant.Sites()[3].ID
	must(t, c.tenant.DeleteUser(user))
	must(t, c.tenant.DeleteGroup(group.ID))
	must(t, c.tenant.DeleteSite(site))
	_, link, _ = c.round(link)
	readable := func(want ...string) {
		t.Helper()
		for i, path := range []string{"directory/deletedItems/" + user, "directory/deletedItems/" + group.ID,
			"sites/" + url.PathEscape(group.Site), "sites/" + url.PathEscape(site)} {
			resp := c.do("GET", path, nil)
			resp.Body.Close()
			if ok := resp.StatusCode == 200; ok != (want[i] == "yes") {
				t.Errorf("%s answers %d", path, resp.StatusCode)
			}
		}
	}
	readable("yes", "yes", "yes", "yes")
	s.Advance(6 * day)
	_, link, _ = c.round(link)
	s.Advance(4*day + time.Second)
	readable("no", "yes", "yes", "yes")
	if changes, _, _ := c.round(link); len(changes) != 1 || changes[0]["@removed"].(object)["reason"] != "deleted" {
		t.Errorf("after its time, the user is told as %v", changes)
	}
	if err := c.tenant.RestoreUser(user); err == nil {
		t.Error("a user whose time is over was restored")
	}
	s.Advance(20 * day)
	readable("no", "no", "no", "yes")
	s.Advance(63 * day)
	readable("no", "no", "no", "no")
}

func TestDirectoryTokenReset(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 2})
	_, link, _ := c.round("users/delta")
	c.tenant.ExpireDelta()
	resp := c.do("GET", link, nil)
	location := resp.Header.Get("Location")
	resp.Body.Close()
	if resp.StatusCode != http.StatusGone {
		t.Fatalf("status %d", resp.StatusCode)
	}
	if users, next, _ := c.round(location); len(users) != 2 || next == "" {
		t.Errorf("Location gives %d users", len(users))
	}
}

func TestDirectoryTokenAges(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 2})
	_, link, _ := c.round("users/delta")
	s.Advance(6 * 24 * time.Hour)
	c.get(link)
	s.Advance(25 * time.Hour)
	if code := c.refused(410, "GET", link, nil); code != "syncStateNotFound" {
		t.Errorf("code %s", code)
	}
}

func TestSmallReads(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 3, Unlicensed: 1, Shared: 1, Name: "Contoso", Domain: "contoso.example"})
	users := c.tenant.Users()
	org := c.get("organization")["value"].([]any)[0].(object)
	if org["id"] != c.tenant.ID() || org["displayName"] != "Contoso" {
		t.Errorf("organization %v", org)
	}
	sku := c.get("subscribedSkus")["value"].([]any)[0].(object)
	if sku["prepaidUnits"].(object)["enabled"] != 2.0 {
		t.Errorf("skus %v", sku)
	}
	for i, want := range []string{"user", "user", "", "shared"} {
		path := "users/" + users[i].ID + "/mailboxSettings?$select=userPurpose"
		if want == "" {
			c.refused(404, "GET", path, nil)
		} else if got := c.get(path)["userPurpose"]; got != want {
			t.Errorf("user %d is %v, want %s", i, got, want)
		}
	}
	if got := c.get("users/" + url.PathEscape(users[0].PrincipalName)); got["id"] != users[0].ID {
		t.Errorf("by name: %v", got)
	}
	c.refused(400, "GET", "nonsense/x/y", nil)
	c.refused(405, "DELETE", "organization", nil)
}

func TestBatch(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, FilesPerUser: 1})
	user := c.tenant.Users()[0].ID
	answer := c.want(200, "POST", "$batch", object{"requests": []object{
		{"id": "1", "method": "GET", "url": "/users/" + user},
		{"id": "2", "method": "GET", "url": "/users/nobody"},
		{"id": "3", "method": "GET", "url": "/users/" + user, "dependsOn": []string{"2"}},
	}})
	status := map[string]any{}
	for _, v := range answer["responses"].([]any) {
		status[v.(object)["id"].(string)] = v.(object)["status"]
	}
	if status["1"] != 200.0 || status["2"] != 404.0 || status["3"] != 424.0 {
		t.Errorf("statuses %v", status)
	}
	c.refused(400, "POST", "$batch", object{"requests": []object{{"id": "1", "method": "GET", "url": "/users"}, {"id": "1", "method": "GET", "url": "/users"}}})
}
