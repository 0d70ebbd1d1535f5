package graphsim_test

import (
	"net/url"
	"testing"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// What was kept of a moment is what was true then, whatever has changed since.
func TestMoments(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 2, MailsPerUser: 10, FilesPerUser: 5, ContactsPerUser: 3, EventsPerUser: 3,
		TasksPerUser: 3, Groups: 2, ThreadsPerGroup: 1, Sites: 1, Lists: 1, ListItems: 3, Pages: 1, Chats: 1, Messages: 3})
	sim := s.AdminURL() + "/_sim/"
	user, group, site := c.tenant.Users()[0].ID, c.tenant.Groups()[0].ID, c.tenant.Groups()[0].Site
	truths := []string{}
	for owner, kinds := range map[string][]string{"users/" + user: {"mail", "drive", "contacts", "events", "todo", "chats"},
		"groups/" + group: {"members", "posts", "messages"}, "sites/" + url.PathEscape(site): {"drive", "listItems", "pages"}} {
		for _, kind := range kinds {
			truths = append(truths, sim+"truth/"+c.tenant.ID()+"/"+owner+"/"+kind)
		}
	}
	then := map[string]string{}
	for _, truth := range truths {
		then[truth] = string(c.bytes(truth))
	}
	if kept := c.want(200, "POST", sim+"moments", object{"name": "monday", "tenant": c.tenant.ID()})["kept"].(float64); int(kept) < len(truths) {
		t.Errorf("%v exports kept", kept)
	}
	_, err := c.tenant.Churn(1, 200)
	must(t, err)
	must(t, c.tenant.PurgeUser(c.tenant.Users()[1].ID))
	changed := 0
	for _, truth := range truths {
		if at := string(c.bytes(truth + "?at=monday")); at != then[truth] {
			t.Errorf("%s was\n%s\nis kept as\n%s", truth, then[truth], at)
		}
		if string(c.bytes(truth)) != then[truth] {
			changed++
		}
	}
	if changed < 4 {
		t.Errorf("only %d of %d truths changed, which proves little", changed, len(truths))
	}
	one := c.want(200, "POST", sim+"moments", object{"name": "tuesday", "tenant": c.tenant.ID(), "owners": []string{user}, "kinds": []string{"mail"}})
	if one["kept"] != 1.0 {
		t.Errorf("%v", one)
	}
	c.want(400, "POST", sim+"moments", object{"name": "monday", "tenant": c.tenant.ID()})
	c.want(400, "POST", sim+"moments", object{"name": "", "tenant": c.tenant.ID()})
	c.want(404, "GET", truths[0]+"?at=never", nil)
	c.want(200, "DELETE", sim+"moments", nil)
	c.want(404, "GET", truths[0]+"?at=monday", nil)
}
