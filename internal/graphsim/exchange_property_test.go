package graphsim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// follower is a delta client that follows the rules and nothing else: it repeats
// what failed, applies what pages say, keeps links, and begins a collection anew
// when its token is refused.
type follower struct {
	c           *client
	user        string
	collections map[string]*followed // by the path of the first call
}

type followed struct {
	link  string
	items map[string]string // ID -> what it is called
	// of is the master of each instance of a series. A page that tells of a master tells
	// of all its instances after it, and none outlives it.
	of map[string]string
}

func begin(link string) *followed {
	return &followed{link: link, items: map[string]string{}, of: map[string]string{}}
}

// apply takes over one entry of a page.
func (f *followed) apply(item object, property string) {
	id := item["id"].(string)
	if item["@removed"] != nil || item["type"] == "seriesMaster" {
		delete(f.items, id)
		for instance, master := range f.of {
			if master == id {
				delete(f.of, instance)
			}
		}
	}
	switch master, ok := item["seriesMasterId"].(string); {
	case item["@removed"] != nil:
		delete(f.of, id)
	case ok:
		f.of[id] = master
	default:
		f.items[id] = fmt.Sprint(item[property])
	}
}

// try asks once; ok is false for a failure that is worth repeating.
func (f *follower) try(target string) (status int, page object, ok bool) {
	req, err := http.NewRequestWithContext(f.c.t.Context(), http.MethodGet, target, nil)
	must(f.c.t, err)
	req.Header.Set("Authorization", "Bearer "+f.c.token)
	req.Header.Set("Prefer", f.c.prefer)
	resp, err := f.c.http.Do(req)
	if err != nil {
		return 0, nil, false
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		return 0, nil, false
	}
	if json.Unmarshal(data, &page) != nil {
		return 0, nil, false
	}
	return resp.StatusCode, page, true
}

func (f *follower) ask(t *rapid.T, target string) (int, object) {
	for range 200 {
		if status, page, ok := f.try(target); ok {
			return status, page
		}
	}
	t.Fatalf("GET %s fails for good", target)
	return 0, nil
}

// sync brings a collection up to date and returns its items; gone reports that the
// collection is not there any more. At most limit pages are read.
func (f *follower) sync(t *rapid.T, path, property string, limit int) (items map[string]string, gone bool) {
	at := f.collections[path]
	if at == nil {
		at = begin(f.c.s.URL() + "/v1.0/" + path)
		f.collections[path] = at
	}
	for range limit {
		status, page := f.ask(t, at.link)
		switch status {
		case http.StatusOK:
		case http.StatusGone:
			*at = *begin(f.c.s.URL() + "/v1.0/" + path)
			continue
		case http.StatusNotFound:
			delete(f.collections, path)
			return nil, true
		default:
			t.Fatalf("GET %s: %d %v", at.link, status, page)
		}
		for _, v := range page["value"].([]any) {
			at.apply(v.(object), property)
		}
		next, more := page["@odata.nextLink"].(string)
		if !more {
			at.link = page["@odata.deltaLink"].(string)
			return at.items, false
		}
		at.link = next
	}
	return at.items, false
}

// view is the calendar as far as it goes in one view.
const view = "/calendarView/delta?startDateTime=2024-06-01T00:00:00Z&endDateTime=2029-05-01T00:00:00Z"

// all brings everything up to date and returns it: "kind ID" -> name.
func (f *follower) all(t *rapid.T, limit int) map[string]string {
	got := map[string]string{}
	add := func(kind string, items map[string]string) {
		for id, name := range items {
			got[kind+" "+id] = name
		}
	}
	folders, _ := f.sync(t, f.user+"/mailFolders/delta", "displayName", limit)
	add("folder", folders)
	for id := range folders {
		items, _ := f.sync(t, f.user+"/mailFolders/"+id+"/messages/delta", "subject", limit)
		add("message", items)
	}
	shelves, _ := f.sync(t, f.user+"/contactFolders/delta", "displayName", limit)
	for id := range shelves {
		items, _ := f.sync(t, f.user+"/contactFolders/"+id+"/contacts/delta", "displayName", limit)
		add("contact", items)
	}
	lists, _ := f.sync(t, f.user+"/todo/lists/delta", "displayName", limit)
	for id := range lists {
		items, _ := f.sync(t, f.user+"/todo/lists/"+id+"/tasks/delta", "title", limit)
		add("task", items)
	}
	events, _ := f.sync(t, f.user+view, "subject", limit)
	add("event", events)
	return got
}

// truth is what all has to end with; instances of series are not in it.
func (f *follower) truth(t *rapid.T) map[string]string {
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	want, user := map[string]string{}, f.user[len("users/"):]
	folders, err := f.c.tenant.FolderTruth(user)
	check(err)
	for _, folder := range folders {
		if !folder.Hidden {
			want["folder "+folder.ID] = "?"
		}
	}
	mails, err := f.c.tenant.MailTruth(user)
	check(err)
	for _, m := range mails {
		want["message "+m.ID] = m.Subject
	}
	contacts, err := f.c.tenant.ContactTruth(user)
	check(err)
	for _, c := range contacts {
		want["contact "+c.ID] = c.Name
	}
	tasks, err := f.c.tenant.TaskTruth(user)
	check(err)
	for _, task := range tasks {
		want["task "+task.ID] = task.Title
	}
	events, err := f.c.tenant.EventTruth(user)
	check(err)
	for _, e := range events {
		if e.Calendar == "Calendar" {
			want["event "+e.ID] = e.Subject
		}
	}
	return want
}

// Whatever changes while whatever goes wrong: a client that follows the rules ends
// with the truth.
func TestDeltaClientEndsWithTheTruth(t *testing.T) {
	s, _ := start(t, graphsim.Options{PageSize: 6, Exchange: graphsim.ExchangeOptions{ListDefaultContacts: true}}, graphsim.TenantSpec{})
	number := 0
	rapid.Check(t, func(rt *rapid.T) {
		if number++; number > 12 {
			return // a dozen worlds are enough for every run; rapid would make a hundred
		}
		tenant := s.AddTenant(graphsim.TenantSpec{Users: 1, MailsPerUser: 10, ContactsPerUser: 6, EventsPerUser: 4, TasksPerUser: 4, Domain: fmt.Sprintf("p%d.example", number)})
		tenant.Consent(roles("Tasks.Read.All")...)
		f := &follower{c: newClient(t, s, tenant), user: "users/" + tenant.Users()[0].ID, collections: map[string]*followed{}}
		for _, fault := range []graphsim.Fault{{Kind: graphsim.FaultStatus, Probability: 0.05}, {Kind: graphsim.FaultCut, Probability: 0.05},
			{Kind: graphsim.FaultHTML, Probability: 0.03}, {Kind: graphsim.FaultGone, Path: "delta", Probability: 0.02},
			{Kind: graphsim.FaultMove, Path: "messages/delta", Probability: 0.1}} {
			fault.Tenant = tenant.ID()
			_, err := s.Inject(fault)
			must(t, err)
		}
		for range rapid.IntRange(1, 2).Draw(rt, "rounds") {
			_, err := tenant.Churn(rapid.Int64().Draw(rt, "seed"), rapid.IntRange(1, 15).Draw(rt, "changes"))
			must(t, err)
			f.all(rt, rapid.IntRange(1, 6).Draw(rt, "pages")) // maybe not to the end
			if rapid.IntRange(0, 9).Draw(rt, "expire") == 0 {
				tenant.ExpireDelta()
			}
		}
		s.Clear("")
		f.all(rt, 1_000) // what changed during a round is told by the next
		got := f.all(rt, 1_000)
		want := f.truth(rt)
		for id, name := range got {
			if want[id] == "?" {
				want[id] = name
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatal(diff)
		}
	})
}
