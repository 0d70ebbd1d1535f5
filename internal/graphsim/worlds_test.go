package graphsim_test

import (
	"encoding/json"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// A world has tenants and mailboxes of very different size around the given mean,
// and is the same for the same seed.
func TestWorldsAreUneven(t *testing.T) {
	t.Parallel()
	world := graphsim.World{Tenants: 400, Spread: 1, Tenant: graphsim.TenantSpec{Users: 100, MailsPerUser: 40, FilesPerUser: 20, Spread: 1}}
	sizes := func() (list []int, s *graphsim.Server) {
		s, _ = start(t, graphsim.Options{Seed: 9}, graphsim.TenantSpec{Domain: "other.example"})
		for _, tenant := range s.AddWorld(world) {
			list = append(list, tenant.Spec().Users)
		}
		return list, s
	}
	first, s := sizes()
	second, _ := sizes()
	if !slices.Equal(first, second) {
		t.Error("the same seed makes another world")
	}
	sum := 0
	for _, n := range first {
		sum += n
	}
	if mean := sum / len(first); mean < 80 || mean > 125 || slices.Max(first) < 400 || slices.Min(first) > 30 {
		t.Errorf("mean %d, from %d to %d", mean, slices.Min(first), slices.Max(first))
	}
	tenant := s.Tenant("tenant1.example")
	var mails []int
	for _, u := range tenant.Users()[:20] {
		truth, err := tenant.MailTruth(u.ID)
		must(t, err)
		mails = append(mails, len(truth))
	}
	if slices.Max(mails) < 2*slices.Min(mails) {
		t.Errorf("mailboxes of %v messages", mails)
	}
}

// A script changes a tenant while a client follows: the client ends with the truth.
func TestScriptRunsWhileClientsRead(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{PageSize: 10}, graphsim.TenantSpec{Users: 4, MailsPerUser: 30, FilesPerUser: 10})
	sim := s.AdminURL() + "/_sim/tenants/" + c.tenant.ID() + "/script"
	c.want(200, "POST", sim, object{"seed": 1, "count": 150, "rate": 2000, "directory": 20})
	c.want(400, "POST", sim, object{"seed": 1, "count": 5})
	known := map[string]bool{}
	link := "users/delta"
	follow := func() {
		items, next, _ := c.round(link)
		link = next
		for _, u := range items {
			if u["@removed"] != nil {
				delete(known, u["id"].(string))
			} else {
				known[u["id"].(string)] = true
			}
		}
	}
	follow()
	for c.tenant.Script().Running {
		follow()
	}
	follow()
	state := graphsim.ScriptState{}
	must(t, json.Unmarshal(c.bytes(sim), &state))
	if state.Step != 150 || state.Error != "" || state.Changed < 50 {
		t.Errorf("script %+v", state)
	}
	active := 0
	for _, u := range c.tenant.Users() {
		if u.State == graphsim.Active {
			active++
			if !known[u.ID] {
				t.Errorf("user %s is not known", u.ID)
			}
		}
	}
	if active != len(known) {
		t.Errorf("%d users are active, %d known", active, len(known))
	}
}

// A script that is told to stops; a server that closes ends it.
func TestScriptStops(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 2})
	must(t, c.tenant.StartScript(graphsim.ScriptSpec{Count: 1_000_000, Rate: 5}))
	c.tenant.StopScript()
	if c.tenant.Script().Running {
		t.Error("it is running")
	}
	must(t, c.tenant.StartScript(graphsim.ScriptSpec{Count: 1_000_000, Rate: 0.001}))
	for c.tenant.Script().Step == 0 { // it waits for its second step when the server closes
		time.Sleep(time.Millisecond)
	}
	for _, bad := range []graphsim.ScriptSpec{{}, {Count: 1, Rate: -1}, {Count: 1, Directory: 101}} {
		if c.tenant.StartScript(bad) == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// A client may read a large directory from end to end, in every way that lists have: what is
// kept afterwards is a few bytes for each user, the connection's own included, and not the
// users.
func TestListingAWorldKeepsNothing(t *testing.T) {
	const users = 25_000
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: users, Groups: 4, Sites: 3, Subsites: 2, Shared: 2, Rooms: 2})
	c.prefer += ", odata.maxpagesize=999"
	count := func(target string) (n int) {
		for target != "" {
			page := c.get(target)
			n += len(page["value"].([]any))
			target, _ = page["@odata.nextLink"].(string)
		}
		return n
	}
	before := liveHeap()
	for target, want := range map[string]int{
		"users/delta?$select=id":                             users + 4,
		"users?$select=id&$top=999":                          users + 4,
		"sites/getAllSites?$select=id":                       users + 2 + 3,
		"sites/delta?$select=id":                             users + 2 + 3,
		"groups/delta?$select=id":                            4,
		"users?$filter=startswith(userPrincipalName,'room')": 2,
	} {
		if n := count(target); n != want {
			t.Errorf("%s: %d, want %d", target, n, want)
		}
	}
	one := c.get("users?$top=1&$select=id,userPrincipalName&$orderby=userPrincipalName")["value"].([]any)[0].(object)
	if c.get("users/" + one["userPrincipalName"].(string))["id"] != one["id"] || c.get("users/" + one["id"].(string) + "/drive")["id"] == nil {
		t.Errorf("%v is not found", one)
	}
	if each := float64(liveHeap()-before) / users; each > 64 {
		t.Errorf("%.1f bytes are kept for each user", each)
	}
}

// liveHeap is how many bytes are in use.
func liveHeap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
