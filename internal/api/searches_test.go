package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// What a search task found is listed page by page, whatever their size, once it is done; its parameters are those that were
// asked for.
func TestResultOfASearch(t *testing.T) {
	t.Parallel()
	var lines strings.Builder
	var want []string
	encoder := json.NewEncoder(&lines)
	for i := range 23 {
		must(t, encoder.Encode(tenantry.FoundItem{Resource: ada, Workload: tenantry.Mailbox, Snapshot: 7, ID: fmt.Sprint("m", i), Kind: "message", Name: strings.Repeat("ü", i*20)}))
		want = append(want, fmt.Sprint("m", i))
	}
	must(t, encoder.Encode(tenantry.SearchSummary{Found: 23, Snapshots: 3, Examined: 99, More: true, Unreadable: []tenantry.UnreadableSnapshot{
		{Resource: bob, Workload: tenantry.Drive, Snapshot: 4, Kind: tenantry.Corrupt}}}))
	h := newHouse(t, func(c *api.Config) { c.Archives = attic{content: lines.String()} })
	id := h.addConnected("Contoso", contosoGUID)
	base := "/v1/tenants/" + string(id) + "/searches"
	r := h.want(http.StatusCreated, "POST", base, map[string]any{"text": "invoice", "since": "2026-01-01T00:00:00Z", "workload": "mailbox", "all": true})
	run := tenantry.RunID(r.text("id"))
	one := base + "/" + string(run)
	h.problemWith(h.call("GET", one, nil), http.StatusConflict, tenantry.Conflict, "ready")
	claim := h.claim(id, run)
	if want := `{"text":"invoice","since":"2026-01-01T00:00:00Z","workload":"mailbox","all":true}`; string(claim.Params) != want {
		t.Errorf("the task's parameters are %s", claim.Params)
	}
	must(t, h.catalog.Tenant(id).Settle(t.Context(), claim, catalog.Settlement{State: catalog.TaskDone}, h.clock.Now()))
	r = h.want(http.StatusOK, "GET", one, nil)
	for name, value := range map[string]any{"found": 23.0, "snapshots": 3.0, "examined": 99.0, "more": true, "unreadable.0.kind": "corrupt", "removed_at": "1970-01-08T00:00:01Z"} {
		if got := r.field(name); got != value {
			t.Errorf("%s is %v, not %v", name, got, value)
		}
	}
	for _, limit := range []int{1, 4, 22, 23, 24, 500} {
		var found []string
		for after := ""; ; {
			r := h.want(http.StatusOK, "GET", fmt.Sprintf("%s/items?limit=%d&after=%s", one, limit, after), nil)
			for _, item := range r.field("items").([]any) {
				found = append(found, item.(map[string]any)["id"].(string))
			}
			next, more := r.field("next").(string)
			if !more {
				break
			}
			after = next
		}
		if !slices.Equal(found, want) {
			t.Errorf("in pages of %d: %v", limit, found)
		}
	}
	for _, after := range []string{"7", "x", "-1", "0", "99999999"} {
		h.problemWith(h.call("GET", one+"/items?after="+after, nil), http.StatusUnprocessableEntity, tenantry.Invalid, "after")
	}
	h.problemWith(h.call("GET", "/v1/tenants/"+string(id)+"/exports/"+string(run), nil), http.StatusNotFound, tenantry.NotFound, "no export")
	h.problemWith(h.call("POST", base, map[string]any{"since": "2026-01-02T00:00:00Z", "before": "2026-01-01T00:00:00Z"}), http.StatusUnprocessableEntity, tenantry.Invalid, "before")
}
