package api_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A search of a tenant finds every item once, in order, whatever the pages; what is damaged is named and holds
// nothing up.
func TestSearchOfATenant(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		h.browser.items = append(h.browser.items, api.BrowseItem{ID: name, Kind: "message", Name: "Invoice " + name})
	}
	h.browser.items = append(h.browser.items, api.BrowseItem{ID: "f", Kind: "message", Name: "Lunch"})
	h.browser.damaged = "u-05"
	id := h.addConnected("Contoso", contosoGUID)
	var want []string
	for i := range 20 {
		resource := tenantry.ResourceID(fmt.Sprintf("u-%02d", i))
		for _, w := range []tenantry.Workload{tenantry.Drive, tenantry.Mailbox} {
			rows := []catalog.SnapshotRow{{Seq: 3, Time: h.clock.Now()}, {Seq: 2, Time: h.clock.Now()}}
			must(t, h.catalog.Tenant(id).MirrorSnapshots(t.Context(), resource, w, rows))
			for _, item := range []string{"a", "b", "c", "d", "e"} {
				if resource != h.browser.damaged {
					want = append(want, fmt.Sprintf("%s/%s/3/%s", resource, w, item))
				}
			}
		}
	}
	for _, query := range []string{"limit=1", "limit=3", "limit=7", "limit=500", "limit=50&workload=drive"} {
		expected := want
		if strings.Contains(query, "drive") {
			expected = slices.DeleteFunc(slices.Clone(want), func(at string) bool { return strings.Contains(at, "mailbox") })
		}
		found, unreadable := h.search(id, "text=Invoice&"+query)
		if !slices.Equal(found, expected) {
			t.Errorf("%s: found %d of %d: %v", query, len(found), len(expected), found)
		}
		slices.Sort(unreadable)
		damaged := []string{"u-05/drive corrupt", "u-05/mailbox corrupt"}
		if strings.Contains(query, "drive") {
			damaged = damaged[:1]
		}
		if !slices.Equal(unreadable, damaged) {
			t.Errorf("%s: not readable: %v", query, unreadable)
		}
	}
	h.problemWith(h.call("GET", "/v1/tenants/"+string(id)+"/search?after=%21", nil), 422, tenantry.Invalid, "after")
	h.problemWith(h.call("GET", "/v1/tenants/t-none/search", nil), 404, tenantry.NotFound)
	h.browser.fail(tenantry.Errorf(tenantry.Shared, "no such bucket"))
	h.problemWith(h.call("GET", "/v1/tenants/"+string(id)+"/search", nil), 503, tenantry.Shared)
}

// search walks all pages.
func (h *house) search(id tenantry.TenantID, query string) (found, unreadable []string) {
	h.t.Helper()
	for after := ""; ; {
		r := h.want(200, "GET", "/v1/tenants/"+string(id)+"/search?"+query+"&after="+url.QueryEscape(after), nil)
		for _, item := range r.field("items").([]any) {
			i := item.(map[string]any)
			found = append(found, fmt.Sprintf("%s/%s/%v/%s", i["resource"], i["workload"], i["snapshot"], i["id"]))
		}
		for _, series := range r.field("unreadable").([]any) {
			u := series.(map[string]any)
			unreadable = append(unreadable, fmt.Sprintf("%s/%s %s", u["resource"], u["workload"], u["kind"]))
		}
		if next := r.field("next"); next != nil {
			after = next.(string)
			continue
		}
		return found, unreadable
	}
}
