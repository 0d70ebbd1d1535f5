package graphsim_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// tracker is a delta client of users, groups or sites that follows the documented rules:
// the last state of an object in a round wins, memberships add up over the slices of a
// group, a 410 begins anew and only the end of that round removes what it did not show.
type tracker struct {
	*mirror
	sites   bool
	members map[string]map[string]bool // of groups
	told    map[string]map[string]bool // in the round of a full enumeration
}

func newTracker(c *client, kind string) *tracker {
	first := c.s.URL() + "/v1.0/" + kind + "/delta"
	return &tracker{mirror: newMirror(c, first), sites: kind == "sites", members: map[string]map[string]bool{}, told: map[string]map[string]bool{}}
}

// page reads one page; it reports whether it was the last of a round.
func (k *tracker) page() (last bool, err error) {
	for range 80 {
		status, header, body := k.ask()
		switch {
		case status == http.StatusGone:
			if header.Get("Location") == "" {
				return false, fmt.Errorf("410 without Location")
			}
			k.restart(k.first)
			k.told = map[string]map[string]bool{}
		case status == http.StatusOK && body != nil:
			return k.take(body), nil
		case status >= 400 && status < 500 && status != http.StatusTooManyRequests:
			return false, fmt.Errorf("%s: %d %v", k.next, status, body)
		}
	}
	return false, fmt.Errorf("%s: no answer", k.next)
}

func (k *tracker) take(page object) (last bool) {
	for _, item := range values(page) {
		id := item["id"].(string)
		if item["@removed"] != nil || k.sites && item["deleted"] != nil {
			delete(k.items, id)
			delete(k.seen, id)
			delete(k.members, id) // a group that comes back tells all its members
			continue
		}
		k.items[id] = item
		if k.seen != nil {
			k.seen[id] = true
		}
		k.join(id, item)
	}
	if next, more := page["@odata.nextLink"].(string); more {
		k.next = next
		return false
	}
	k.next = page["@odata.deltaLink"].(string)
	if k.seen != nil {
		maps.DeleteFunc(k.items, func(id string, _ object) bool { return !k.seen[id] })
		k.members = k.told
	}
	k.seen, k.told = nil, nil
	return true
}

// join applies what a group says of its members.
func (k *tracker) join(group string, item object) {
	of := k.members
	if k.told != nil {
		of = k.told
	}
	list, _ := item["members@delta"].([]any)
	for _, v := range list {
		member := v.(object)
		if of[group] == nil {
			of[group] = map[string]bool{}
		}
		if id := member["id"].(string); member["@removed"] != nil {
			delete(of[group], id)
		} else {
			of[group][id] = true
		}
	}
}

func (k *tracker) settle() error {
	for rounds := 0; rounds < 3; {
		last, err := k.page()
		if err != nil {
			return err
		}
		rounds += btoi(last)
	}
	return nil
}

// state is what the client believes: ID to name, and of groups to the members.
func (k *tracker) state() map[string]string {
	got := map[string]string{}
	for id, item := range k.items {
		got[id] = fmt.Sprint(item["displayName"])
		if of := k.members[id]; len(of) > 0 {
			got[id] += fmt.Sprint(slices.Sorted(maps.Keys(of)))
		}
	}
	return got
}

// directoryTruth is what the clients of users, groups and sites have to end with.
func directoryTruth(t *rapid.T, tenant *graphsim.Tenant) map[string]map[string]string {
	want := map[string]map[string]string{"users": {}, "groups": {}, "sites": {}}
	for _, u := range tenant.Users() {
		if u.State == graphsim.Active {
			want["users"][u.ID] = u.Name
		}
	}
	for _, g := range tenant.Groups() {
		if g.State != graphsim.Active {
			continue
		}
		members, err := tenant.Members(g.ID)
		if err != nil {
			t.Fatal(err)
		}
		want["groups"][g.ID] = g.Name
		if slices.Sort(members); len(members) > 0 {
			want["groups"][g.ID] += fmt.Sprint(members)
		}
	}
	for _, s := range tenant.Sites() {
		if s.State == graphsim.Active {
			want["sites"][s.ID] = s.Name
		}
	}
	return want
}

// After any script of changes to users, groups, memberships and sites, with faults on, the
// delta clients of all three end with exactly the truth.
func TestDirectoryDeltaEqualsTruth(t *testing.T) {
	t.Parallel()
	s, _ := start(t, graphsim.Options{PageSize: 4}, graphsim.TenantSpec{})
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		if n++; n > 30 {
			return // enough worlds for every run; rapid would make a hundred
		}
		tenant := s.AddTenant(graphsim.TenantSpec{Domain: fmt.Sprintf("directory%d.example", n), Users: 30, Groups: 5, Sites: 2})
		tenant.Consent()
		c := newClient(t, s, tenant)
		s.Clear("")
		unreliable(t, s, tenant.ID())
		for _, kind := range []graphsim.FaultKind{graphsim.FaultDuplicate, graphsim.FaultReorder} {
			_, err := s.Inject(graphsim.Fault{Kind: kind, Path: "/delta", Tenant: tenant.ID(), Probability: 0.1})
			must(t, err)
		}
		clients := map[string]*tracker{}
		for _, kind := range []string{"users", "groups", "sites"} {
			clients[kind] = newTracker(c, kind)
		}
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			changeDirectory(rt, tenant)
			kind := rapid.SampledFrom([]string{"users", "groups", "sites"}).Draw(rt, "kind")
			for range rapid.IntRange(0, 3).Draw(rt, "pages") {
				if _, err := clients[kind].page(); err != nil {
					rt.Fatal(err)
				}
			}
		}
		want := directoryTruth(rt, tenant)
		for kind, k := range clients {
			if err := k.settle(); err != nil {
				rt.Fatal(err)
			}
			if got := k.state(); !maps.Equal(got, want[kind]) {
				rt.Fatalf("%s: the client has\n%v\nthe truth is\n%v", kind, sorted(got), sorted(want[kind]))
			}
		}
	})
}

// changeDirectory lets a script of a few steps run to its end, or makes one change that
// scripts do not make.
func changeDirectory(rt *rapid.T, tenant *graphsim.Tenant) {
	users, groups := tenant.Users(), tenant.Groups()
	some := rapid.SampledFrom(users).Draw(rt, "user").ID
	group := rapid.SampledFrom(groups).Draw(rt, "group").ID
	switch rapid.SampledFrom([]string{"script", "script", "purge", "join", "leave", "drop group", "expire"}).Draw(rt, "op") {
	case "script":
		seed := rapid.Int64().Draw(rt, "seed")
		for step := range rapid.IntRange(1, 6).Draw(rt, "length") {
			if _, err := tenant.ChurnDirectory(seed, step); err != nil {
				rt.Fatal(err)
			}
		}
	case "purge":
		_ = tenant.PurgeUser(some) // who is gone already
	case "join":
		_ = tenant.AddMember(group, some)
	case "leave":
		_ = tenant.RemoveMember(group, some)
	case "drop group":
		_ = tenant.DeleteGroup(group)
	case "expire":
		if rapid.IntRange(0, 4).Draw(rt, "rarely") == 0 {
			tenant.ExpireDelta()
		}
	}
}
