package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// What no application may write is refused where it is started, which says where a group's files are; its preview counts
// it, and says that it is exported.
func TestNoRestoreOfWhatNobodyMayWrite(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	r := h.call("POST", "/v1/tenants/"+string(id)+"/restores", map[string]any{"resource": ada, "workload": "group", "snapshot": 7})
	h.problemWith(r, http.StatusUnprocessableEntity, tenantry.Invalid, "body.workload")
	h.problemWith(r, http.StatusUnprocessableEntity, tenantry.Invalid, "a resource of its own")
}

// The preview of a group counts its site, as the site was when the group's snapshot was made, and says how to get
// that one back.
func TestPreviewOfAGroupCountsItsSite(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	now := h.clock.Now()
	group := catalog.Resource{ID: "g-1", Kind: tenantry.Group, ObjectID: "1", Name: "Staff", State: tenantry.Active, StateAt: now, Workloads: []tenantry.Workload{tenantry.GroupContent}}
	site := catalog.Resource{ID: tenantry.SiteResource("host,1,2"), Kind: tenantry.Site, ObjectID: "host,1,2", Name: "Staff", State: tenantry.Active, StateAt: now, Workloads: []tenantry.Workload{tenantry.SiteContent}}
	tenant := h.catalog.Tenant(id)
	must(t, tenant.ApplySync(t.Context(), tenantry.Group, []catalog.Resource{group}, "https://graph.example/groups", now))
	must(t, tenant.ApplySync(t.Context(), tenantry.Site, []catalog.Resource{site}, "https://graph.example/sites", now))
	ofGroup := tenantry.Series{Tenant: id, Resource: group.ID, Workload: tenantry.GroupContent}
	ofSite := tenantry.Series{Tenant: id, Resource: site.ID, Workload: tenantry.SiteContent}
	made := func(s tenantry.Series, hours ...int) {
		var rows []catalog.SnapshotRow
		for seq, hour := range hours {
			rows = append(rows, catalog.SnapshotRow{Series: s, Seq: int64(seq + 1), Time: now.Add(time.Duration(hour) * time.Hour), Task: "t"})
		}
		must(t, tenant.MirrorSnapshots(t.Context(), s.Resource, s.Workload, rows))
	}
	made(ofGroup, 1, 5, 9)
	h.browser.sizes = map[tenantry.Series]tenantry.Counts{
		ofGroup: {Items: 100, Bytes: 1000, Skipped: 1}, ofSite: {Items: 1000, Bytes: 10_000_000_000, Skipped: 2},
	}
	preview := func(seq int, items ...string) reply {
		t.Helper()
		ask := map[string]any{"resource": group.ID, "workload": "group", "snapshot": seq}
		if len(items) > 0 {
			ask["items"] = items
		}
		return h.want(http.StatusOK, "POST", "/v1/tenants/"+string(id)+"/restores/preview", ask)
	}
	says := func(r reply, want map[string]any) {
		t.Helper()
		for path, value := range want {
			if got := r.field(path); got != value {
				t.Errorf("%s is %v, not %v: %s", path, got, value, r.body)
			}
		}
	}

	says(preview(2), map[string]any{"items": 102.0, "bytes": 1000.0, "site": nil, "takes_seconds": 0.0,
		"warnings.1": "this snapshot does not name the group's site: its files are not counted here"})
	h.browser.items = []api.BrowseItem{
		{ID: "part:calendar", Kind: "folder", Name: "Calendar"},
		{ID: "groupSite:host,1,2", Kind: "groupSite", Name: "Staff"},
	}
	says(preview(2), map[string]any{"items": 102.0, "site.resource": string(site.ID), "site.name": "Staff", "site.snapshot": nil, "site.items": 0.0,
		"warnings.1": "the group's site has no snapshot: is there a policy that protects sites?"})
	made(ofSite, 2, 4, 6)
	for seq, of := range map[int]int{1: 1, 2: 2, 3: 3} { // none is older than the first
		got := preview(seq)
		says(got, map[string]any{
			"items": float64(1100 + seq + of), "bytes": 10_000_001_000.0, "unsaved": 3.0,
			"site.snapshot": float64(of), "site.items": float64(1000 + of), "site.bytes": 1e10, "site.unsaved": 2.0,
			"warnings.1": "files, lists and pages are restored with the group's site, " + string(site.ID),
		})
		for _, permission := range []string{"Sites.ReadWrite.All", "Files.ReadWrite.All"} {
			if !strings.Contains(string(got.body), permission) {
				t.Errorf("no %s: %s", permission, got.body)
			}
		}
	}
	says(preview(2, "part:calendar"), map[string]any{"items": 102.0, "bytes": 1000.0, "site": nil})
	says(preview(2, "groupSite:host,1,2"), map[string]any{"site.snapshot": 2.0})
}

// The preview of a site says what list items lose, where there are any in what was asked for, and once.
func TestPreviewOfASiteTellsOfListItems(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	now := h.clock.Now()
	site := catalog.Resource{ID: tenantry.SiteResource("host,1,2"), Kind: tenantry.Site, ObjectID: "host,1,2", Name: "Staff", State: tenantry.Active, StateAt: now, Workloads: []tenantry.Workload{tenantry.SiteContent}}
	tenant := h.catalog.Tenant(id)
	must(t, tenant.ApplySync(t.Context(), tenantry.Site, []catalog.Resource{site}, "https://graph.example/sites", now))
	of := tenantry.Series{Tenant: id, Resource: site.ID, Workload: tenantry.SiteContent}
	must(t, tenant.MirrorSnapshots(t.Context(), of.Resource, of.Workload, []catalog.SnapshotRow{{Series: of, Seq: 1, Time: now, Task: "t"}}))
	h.browser.sizes = map[tenantry.Series]tenantry.Counts{of: {Items: 10}}
	tells := func(items ...string) int {
		t.Helper()
		ask := map[string]any{"resource": site.ID, "workload": "site", "snapshot": 1}
		if len(items) > 0 {
			ask["items"] = items
		}
		r := h.want(http.StatusOK, "POST", "/v1/tenants/"+string(id)+"/restores/preview", ask)
		return strings.Count(string(r.body), "the application as author")
	}
	h.browser.items = []api.BrowseItem{
		{ID: "site:1", Kind: "site", Name: "Staff"}, {ID: "drive:d", Kind: "folder", Name: "Documents", Parent: "site:1"},
	}
	if n := tells(); n != 0 {
		t.Errorf("a site without lists: told %d times", n)
	}
	h.browser.items = append(h.browser.items, api.BrowseItem{ID: "list:l", Kind: "list", Name: "Tasks", Parent: "site:1"},
		api.BrowseItem{ID: "list:l/1", Kind: "listItem", Name: "One", Parent: "list:l"})
	for _, test := range []struct {
		items []string
		want  int
	}{{nil, 1}, {[]string{"site:1"}, 1}, {[]string{"drive:d"}, 0}, {[]string{"drive:d", "list:l"}, 1}, {[]string{"list:l/1"}, 1}, {[]string{"not there"}, 0}} {
		if n := tells(test.items...); n != test.want {
			t.Errorf("%q: told %d times, expected %d", test.items, n, test.want)
		}
	}
}
