package api_test

import (
	"net/http"
	"testing"

	"github.com/tenantry/tenantry/internal/catalog"
)

// Answers say what people call the things that they name by ID, and nothing where there is nothing.
func TestAnswersNameThings(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	base := "/v1/tenants/" + string(id)
	h.seal(id, catalog.Problem{ItemID: "m1", Name: "A mail", Reason: "ErrorItemCorrupt"})
	policy := h.want(http.StatusCreated, "POST", base+"/policies", map[string]any{"name": "Daily"})
	own := base + "/policies/" + policy.text("id")
	h.want(http.StatusOK, "PUT", own+"/notices", map[string]any{"to": []string{"ada@contoso.com"}})
	h.want(http.StatusCreated, "POST", base+"/holds", map[string]any{"reason": "case 7", "resource": ada})
	h.want(http.StatusCreated, "POST", "/v1/tokens", map[string]any{"name": "theirs", "role": "auditor", "tenant": id})
	run := h.want(http.StatusOK, "GET", base+"/runs", nil).text("items.0.id")
	reference := h.want(http.StatusOK, "GET", base+"/runs/"+run, nil).text("reference")
	for path, want := range map[string][2]string{
		base + "/runs/" + run:               {"problems.0.resource_name", "Ada"},
		base + "/runs/" + run + "/tasks":    {"items.0.resource_name", "Ada"},
		base + "/runs/" + run + "/failures": {"items.0.resource_name", "Ada"},
		base + "/holds":                     {"items.0.resource_name", "Ada"},
		base + "/notices":                   {"items.0.policy_name", "Daily"},
		own + "/notices":                    {"policy_name", "Daily"},
		"/v1/runs?reference=" + reference:   {"items.0.tenant_name", "Contoso"},
		base + "/audit":                     {"items.0.tenant_name", "Contoso"},
		"/v1/tokens":                        {"items.1.tenant_name", "Contoso"},
		base + "/policies":                  {"items.0.time_zone_of", "policy"},
	} {
		if got := h.want(http.StatusOK, "GET", path, nil); got.text(want[0]) != want[1] {
			t.Errorf("%s: %s is %q, want %q: %s", path, want[0], got.text(want[0]), want[1], got.body)
		}
	}
	if got := h.want(http.StatusOK, "GET", "/v1/tokens?limit=1", nil); got.field("items.0.tenant_name") != nil {
		t.Errorf("a token of the fleet has a tenant: %s", got.body)
	}

	// Off-peak follows the tenant, and the tenant its region until it has a zone of its own.
	h.want(http.StatusOK, "PATCH", own, map[string]any{"schedule": map[string]any{"kind": "off-peak"}})
	if got := h.want(http.StatusOK, "GET", own, nil); got.text("time_zone_of") != "region" {
		t.Errorf("%s", got.body)
	}
	h.want(http.StatusOK, "PUT", base+"/planning", map[string]any{"time_zone": "Europe/Vienna", "open_schedules": false})
	if got := h.want(http.StatusOK, "GET", own, nil); got.text("time_zone_of") != "tenant" || got.text("schedule.time_zone") != "Europe/Vienna" {
		t.Errorf("%s", got.body)
	}
}
