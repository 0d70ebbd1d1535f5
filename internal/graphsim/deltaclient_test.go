package graphsim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// mirror is a delta client that follows the documented rules: it keeps the last state
// of each item by ID, applies deletions at the end of a round, starts again where a 410
// says so, and asks again whatever failed.
type mirror struct {
	c     *client
	first string // the URL of a first call
	next  string
	items map[string]object
	seen  map[string]bool // of a full enumeration; nil in a round of changes
	gone  map[string]bool
	asked int
}

func newMirror(c *client, first string) *mirror {
	m := &mirror{c: c, first: first, items: map[string]object{}}
	m.restart(first)
	return m
}

func (m *mirror) restart(target string) {
	m.next, m.seen, m.gone = target, map[string]bool{}, map[string]bool{}
}

// page reads one page; it reports whether it was the last of a round.
func (m *mirror) page() (last bool, err error) {
	for range 60 {
		status, header, body := m.ask()
		switch {
		case status == http.StatusGone:
			if location := header.Get("Location"); location == "" {
				return false, fmt.Errorf("410 without Location")
			}
			m.restart(m.first)
		case status == http.StatusOK && body != nil:
			return m.apply(body), nil
		case status >= 400 && status < 500 && status != http.StatusTooManyRequests:
			return false, fmt.Errorf("%s: %d %v", m.next, status, body)
		}
	}
	return false, fmt.Errorf("%s: no answer", m.next)
}

// ask sends the request once; a broken answer has no body.
func (m *mirror) ask() (int, http.Header, object) {
	m.asked++
	req, err := http.NewRequestWithContext(m.c.t.Context(), "GET", m.next, nil)
	if err != nil {
		m.c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+m.c.token)
	resp, err := m.c.http.Do(req)
	if err != nil {
		return 0, nil, nil
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	var body object
	if err != nil || json.Unmarshal(data, &body) != nil {
		return resp.StatusCode, resp.Header, nil
	}
	return resp.StatusCode, resp.Header, body
}

func (m *mirror) apply(page object) (last bool) {
	for _, v := range page["value"].([]any) {
		item := v.(object)
		id := item["id"].(string)
		if item["deleted"] != nil {
			m.gone[id] = true
			continue
		}
		delete(m.gone, id)
		m.items[id] = item
		if m.seen != nil {
			m.seen[id] = true
		}
	}
	if next, more := page["@odata.nextLink"].(string); more {
		m.next = next
		return false
	}
	m.next = page["@odata.deltaLink"].(string)
	for id := range m.items {
		if m.gone[id] || (m.seen != nil && !m.seen[id]) {
			delete(m.items, id)
		}
	}
	m.seen, m.gone = nil, map[string]bool{}
	return true
}

// settle finishes the round and follows two more.
func (m *mirror) settle() error {
	for rounds := 0; rounds < 3; {
		last, err := m.page()
		if err != nil {
			return err
		}
		rounds += btoi(last)
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// files are the paths of all items that hang below the root, with their sizes: a
// folder may be told as deleted without what was in it.
func (m *mirror) files() map[string]string {
	found := map[string]string{}
	for id, item := range m.items {
		if where, ok := m.path(id); ok && item["root"] == nil {
			size := "folder"
			if item["file"] != nil {
				size = fmt.Sprint(int64(item["size"].(float64)))
			}
			found[id] = where + " " + size
		}
	}
	return found
}

func (m *mirror) path(id string) (string, bool) {
	item := m.items[id]
	if item == nil {
		return "", false
	}
	if item["root"] != nil {
		return "", true
	}
	parent, ok := item["parentReference"].(object)["id"].(string)
	above, there := m.path(parent)
	return path.Join(above, item["name"].(string)), ok && there
}

// unreliable makes the delta of a tenant fail in every way a client has to survive.
func unreliable(t *testing.T, s *graphsim.Server, tenant string) {
	t.Helper()
	for _, f := range []graphsim.Fault{
		{Kind: graphsim.FaultStatus, Status: 503, Probability: 0.06},
		{Kind: graphsim.FaultHTML, Probability: 0.04},
		{Kind: graphsim.FaultReset, Probability: 0.04},
		{Kind: graphsim.FaultLost, Probability: 0.04},
		{Kind: graphsim.FaultCut, Probability: 0.06},
		{Kind: graphsim.FaultGone, Probability: 0.03},
	} {
		f.Path, f.Tenant = "/delta", tenant
		_, err := s.Inject(f)
		must(t, err)
	}
}

// After any script of changes a delta client ends with exactly the truth.
func TestDriveDeltaEqualsTruth(t *testing.T) {
	t.Parallel()
	s, _ := start(t, graphsim.Options{PageSize: 5}, graphsim.TenantSpec{})
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		if n++; n > 40 {
			return // enough worlds for every run; rapid would make a hundred
		}
		tenant := s.AddTenant(graphsim.TenantSpec{Domain: fmt.Sprintf("drive%d.example", n), Users: 1})
		tenant.Consent()
		c := newClient(t, s, tenant)
		user := tenant.Users()[0].ID
		for i := range 12 {
			if _, err := tenant.PutFile(user, fmt.Sprintf("n%d/n%d.txt", i%3, i), make([]byte, i)); err != nil {
				rt.Fatal(err)
			}
		}
		s.Clear("")
		unreliable(t, s, tenant.ID())
		m := newMirror(c, s.URL()+"/v1.0/users/"+user+"/drive/root/delta")
		for range rapid.IntRange(1, 24).Draw(rt, "steps") {
			changeDrive(rt, tenant, user)
			for range rapid.IntRange(0, 2).Draw(rt, "pages") {
				if _, err := m.page(); err != nil {
					rt.Fatal(err)
				}
			}
		}
		if err := m.settle(); err != nil {
			rt.Fatal(err)
		}
		truth, err := tenant.DriveTruth(user)
		if err != nil {
			rt.Fatal(err)
		}
		want := map[string]string{}
		for _, f := range truth {
			size := "folder"
			if !f.Folder {
				size = fmt.Sprint(f.Size)
			}
			want[f.ID] = f.Path + " " + size
		}
		if got := m.files(); !maps.Equal(got, want) {
			rt.Fatalf("the client has\n%v\nthe truth is\n%v", sorted(got), sorted(want))
		}
	})
}

func sorted(m map[string]string) []string { return slices.Sorted(maps.Values(m)) }

// changeDrive makes one change; one that the drive refuses changes nothing.
func changeDrive(rt *rapid.T, tenant *graphsim.Tenant, user string) {
	truth, err := tenant.DriveTruth(user)
	if err != nil {
		rt.Fatal(err)
	}
	some := "new"
	if len(truth) > 0 {
		some = rapid.SampledFrom(truth).Draw(rt, "item").Path
	}
	name := fmt.Sprintf("n%d", rapid.IntRange(0, 9).Draw(rt, "name"))
	size := rapid.IntRange(0, 900).Draw(rt, "size")
	switch rapid.SampledFrom([]string{"put", "put", "edit", "move", "move", "delete", "share", "resync", "churn"}).Draw(rt, "op") {
	case "put":
		_, _ = tenant.PutFile(user, path.Join(path.Dir(some), name, name+".txt"), make([]byte, size))
	case "edit":
		_, _ = tenant.PutFile(user, some, make([]byte, size))
	case "move":
		_ = tenant.MoveFile(user, some, path.Join(name, path.Base(some)))
	case "delete":
		_ = tenant.DeleteFile(user, some)
	case "share":
		_, _ = tenant.LinkFile(user, some, "view", "organization")
	case "resync":
		if rapid.IntRange(0, 4).Draw(rt, "rarely") == 0 {
			_ = tenant.ResyncDrive(user, rapid.Bool().Draw(rt, "both"))
		}
	case "churn":
		if rapid.IntRange(0, 4).Draw(rt, "rarely") > 0 {
			return
		}
		if _, err := tenant.Churn(int64(size), 2); err != nil {
			rt.Fatal(err)
		}
	}
}

// Likewise for the items of a list.
func TestListDeltaEqualsTruth(t *testing.T) {
	t.Parallel()
	s, _ := start(t, graphsim.Options{PageSize: 4}, graphsim.TenantSpec{})
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		if n++; n > 40 {
			return // enough worlds for every run; rapid would make a hundred
		}
		tenant := s.AddTenant(graphsim.TenantSpec{Domain: fmt.Sprintf("list%d.example", n), Sites: 1, Lists: 1, ListItems: 9})
		tenant.Consent()
		c := newClient(t, s, tenant)
		site := tenant.Sites()[0].ID
		lists, err := tenant.Lists(site)
		if err != nil {
			rt.Fatal(err)
		}
		id := lists[len(lists)-1].ID
		s.Clear("")
		unreliable(t, s, tenant.ID())
		m := newMirror(c, s.URL()+"/v1.0/sites/"+url.PathEscape(site)+"/lists/"+id+"/items/delta?$expand=fields")
		for range rapid.IntRange(1, 24).Draw(rt, "steps") {
			changeList(rt, tenant, site, id)
			for range rapid.IntRange(0, 2).Draw(rt, "pages") {
				if _, err := m.page(); err != nil {
					rt.Fatal(err)
				}
			}
		}
		if err := m.settle(); err != nil {
			rt.Fatal(err)
		}
		truth, err := tenant.ListTruth(site)
		if err != nil {
			rt.Fatal(err)
		}
		want := map[string]string{}
		for _, item := range truth {
			want[item.ID] = item.Fields["Title"] + item.Fields["Amount"]
		}
		got := map[string]string{}
		for rowID, item := range m.items {
			fields := item["fields"].(object)
			title, _ := json.Marshal(fields["Title"])
			got[rowID] = string(title) + fmt.Sprint(fields["Amount"])
		}
		if !maps.Equal(got, want) {
			rt.Fatalf("the client has\n%v\nthe truth is\n%v", got, want)
		}
	})
}

func changeList(rt *rapid.T, tenant *graphsim.Tenant, site, list string) {
	row := fmt.Sprint(rapid.IntRange(1, 20).Draw(rt, "row"))
	values := object{"Title": fmt.Sprintf("t%d", rapid.IntRange(0, 99).Draw(rt, "title")), "Amount": rapid.IntRange(0, 999).Draw(rt, "amount")}
	switch rapid.SampledFrom([]string{"new", "edit", "edit", "delete", "resync"}).Draw(rt, "op") {
	case "new":
		if _, err := tenant.NewListItem(site, list, values); err != nil {
			rt.Fatal(err)
		}
	case "edit":
		_ = tenant.EditListItem(site, list, row, values) // that is not there
	case "delete":
		_ = tenant.DeleteListItem(site, list, row)
	case "resync":
		if rapid.IntRange(0, 4).Draw(rt, "rarely") == 0 {
			_ = tenant.ResyncList(site, list, rapid.Bool().Draw(rt, "both"))
		}
	}
}
