package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The overview of a tenant holds what its parts say by themselves.
func TestTenantOverview(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	base := "/v1/tenants/" + string(id)
	if got := h.call("POST", base+"/policies", map[string]any{"name": "daily", "activate": true}); got.status != http.StatusCreated {
		t.Fatalf("%d %s", got.status, got.body)
	}
	h.call("POST", base+"/refresh", nil)
	must(t, h.catalog.Tenant(id).RaiseAlarm(t.Context(), catalog.AlarmKey, "", "it does not open", h.clock.Now()))
	h.clock.Add(time.Second)
	got := h.call("GET", base+"/overview", nil)
	if got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	for part, path := range map[string]string{
		"tenant.name": "name", "tenant.resources.active": "resources.active",
	} {
		if want := h.call("GET", base, nil).field(path); want == nil || got.field(part) != want {
			t.Errorf("%s is %v, not %v", part, got.field(part), want)
		}
	}
	coverage := h.call("GET", base+"/coverage", nil)
	for _, name := range []string{"eligible", "covered", "never_backed_up"} {
		if want := coverage.field(name); want == nil || got.field("coverage."+name) != want {
			t.Errorf("%s is %v, not %v", name, got.field("coverage."+name), want)
		}
	}
	if got.text("workloads.0.workload") != string(tenantry.Mailbox) || got.text("alarms.0.detail") != "it does not open" ||
		got.text("running.0.action") != string(tenantry.Sync) || got.field("failed.0") != nil || got.text("seats.mode") != "automatic" {
		t.Errorf("%s", got.body)
	}
}
