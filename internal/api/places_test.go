package api_test

import (
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
)

// inRegions gives the fleet regions with time zones: the default one, au, and eu, which says none.
func inRegions(c *api.Config) {
	c.Places = api.Places{
		Pools: map[string]string{catalog.DefaultRegion: catalog.MainPool, "au": "au", "eu": "eu"},
		Zones: map[string]string{catalog.DefaultRegion: "Europe/Vienna", "au": "Australia/Sydney"},
	}
}

// A tenant's nights are those of its region, wherever that is, until it is given a time zone of its own; the answer
// says which zone it is, and whose.
func TestNightsAreTheRegions(t *testing.T) {
	t.Parallel()
	h := newHouse(t, inRegions)
	for _, region := range []string{"au", "eu"} {
		h.want(201, "POST", "/v1/pools", map[string]any{"name": region, "region": region})
	}
	regions := h.want(200, "GET", "/v1/regions", nil)
	for i, want := range []string{"au Australia/Sydney", "default Europe/Vienna", "eu UTC"} {
		at := "items." + string(rune('0'+i)) + "."
		if got := regions.text(at+"name") + " " + regions.text(at+"time_zone"); got != want {
			t.Errorf("region %d is %s, want %s", i, got, want)
		}
	}
	id := h.want(201, "POST", "/v1/tenants", map[string]any{"name": "Contoso", "directory": contosoGUID, "region": "au"}).text("id")
	base := "/v1/tenants/" + id
	policy := base + "/policies/" + h.want(201, "POST", base+"/policies", map[string]any{"name": "Nights", "schedule": map[string]any{"kind": "off-peak"}}).text("id")
	is := func(when, zone, of string) {
		t.Helper()
		planning, nights := h.want(200, "GET", base+"/planning", nil), h.want(200, "GET", policy, nil)
		if got := planning.text("time_zone") + " of " + planning.text("time_zone_of"); got != zone+" of "+of || nights.text("schedule.time_zone") != zone {
			t.Errorf("%s: %s, and the policy goes by %s; want %s of %s", when, got, nights.text("schedule.time_zone"), zone, of)
		}
	}
	is("added", "Australia/Sydney", "region")
	h.want(200, "PATCH", base, map[string]any{"region": "default"})
	is("moved", "Europe/Vienna", "region")
	h.want(200, "PUT", base+"/planning", map[string]any{"time_zone": "Asia/Tokyo", "open_schedules": false})
	is("given one", "Asia/Tokyo", "tenant")
	h.want(200, "PATCH", base, map[string]any{"region": "eu"})
	is("moved with its own", "Asia/Tokyo", "tenant")
	h.want(200, "PUT", base+"/planning", map[string]any{"open_schedules": false})
	is("its region's again", "UTC", "region")
	refused := h.call("PATCH", policy, map[string]any{"schedule": map[string]any{"kind": "off-peak", "time_zone": "Asia/Tokyo"}})
	if refused.status != 422 || !strings.Contains(string(refused.body), "UTC") {
		t.Errorf("off-peak in another zone: %d %s", refused.status, refused.body)
	}
}

// Where a fleet has several regions, coverage and seats say which one a tenant belongs to.
func TestCoverageNamesTheRegion(t *testing.T) {
	t.Parallel()
	h := newHouse(t, inRegions)
	h.want(201, "POST", "/v1/pools", map[string]any{"name": "au", "region": "au"})
	home := h.addConnected("Fabrikam", fabrikamGUID)
	away := h.want(201, "POST", "/v1/tenants", map[string]any{"name": "Contoso", "directory": contosoGUID, "region": "au"}).text("id")
	fleet, want := h.want(200, "GET", "/v1/coverage", nil), map[string]string{string(home): "default", away: "au"}
	for i := range 2 {
		at := "items." + string(rune('0'+i)) + "."
		if id, got := fleet.text(at+"tenant"), fleet.text(at+"region"); got != want[id] {
			t.Errorf("%s is in %s, want %s", id, got, want[id])
		}
	}
	if got := h.want(200, "GET", "/v1/tenants/"+away+"/coverage", nil).text("region"); got != "au" {
		t.Errorf("a tenant's own coverage says %q", got)
	}
	if got := fleet.field("total.region"); got != nil {
		t.Errorf("all tenants are in the region %v", got)
	}
	h.want(201, "POST", "/v1/tenants/"+string(home)+"/policies", map[string]any{"name": "Daily", "activate": true})
	file := string(h.want(200, "GET", "/v1/seats.csv", nil).body)
	if !strings.HasPrefix(file, "tenant,name,month,rule,seats,region\n") || !strings.Contains(file, ",default\n") {
		t.Errorf("the file of seats is %q", file)
	}
}
