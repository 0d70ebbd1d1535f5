package api_test

import (
	"encoding/csv"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const staff = "22222222-2222-4222-8222-222222222222"

// planBody is a valid policy of everything that can be said, but for its name.
func planBody() map[string]any {
	return map[string]any{
		"name": "P", "kinds": []string{"user"}, "workloads": []string{"mailbox"}, "enrol": "daily", "enrol_at": "20:00", "objective_minutes": 3000,
		"targets": map[string]any{"groups": []string{staff}, "exclude_resources": []string{string(bob)}},
		"schedule": map[string]any{
			"kind": "window", "at": "01:30", "window_minutes": 60, "time_zone": "Australia/Sydney",
			"blackouts": []any{map[string]any{"days": []string{"mon", "fri"}, "from": "08:00", "to": "18:00"}},
		},
	}
}

type caller func(operation string, status int, method, path string, body any, checks map[string]any) reply

// planRoutes calls what is about policies, seats and coverage. The policy protects all users.
func planRoutes(call caller, base, policy string) {
	call("change-policy", 200, "PATCH", policy, map[string]any{
		"name": "Renamed", "schedule": map[string]any{"kind": "every", "every_hours": 6}, "enrol": "daily", "enrol_at": "20:00",
	}, map[string]any{"name": "Renamed", "state": "active", "schedule.every_hours": 6, "objective_minutes": 540, "enrol_at": "20:00"})
	call("pause-policy", 200, "POST", policy+"/pause", nil, map[string]any{"state": "paused"})
	call("get-protection", 200, "GET", base+"/resources/"+string(ada)+"/protection", nil, map[string]any{
		"standing": "covered", "workloads.0.workload": "drive", "workloads.0.next_due": nil, "policies.0.reach": "kind", "policies.0.name": "Renamed",
		"seat.rule": "user",
	})
	call("activate-policy", 200, "POST", policy+"/activate", map[string]any{}, map[string]any{"state": "active"})
	call("forecast-policy", 200, "GET", policy+"/forecast", nil, map[string]any{"resources": 2, "newly_protected": 0, "units_per_round.0.service": "outlook"})
	call("get-planning", 200, "GET", base+"/planning", nil, map[string]any{"time_zone": "UTC", "time_zone_of": "region", "open_schedules": false})
	call("set-planning", 200, "PUT", base+"/planning", map[string]any{"time_zone": "Australia/Sydney", "open_schedules": true},
		map[string]any{"time_zone": "Australia/Sydney", "time_zone_of": "tenant"})
	call("get-coverage", 200, "GET", base+"/coverage", nil, map[string]any{"eligible": 2, "covered": 2, "never_backed_up": 2})
	call("get-tenant-overview", 200, "GET", base+"/overview", nil, map[string]any{"coverage.covered": 2, "seats.used": 1, "workloads.0.workload": "mailbox"})
	call("get-fleet-coverage", 200, "GET", "/v1/coverage?limit=1", nil, map[string]any{"total.eligible": 2, "items.1": nil})

	call("fetch-coverage", 200, "GET", base+"/coverage.csv", nil, nil)
	call("fetch-fleet-coverage", 200, "GET", "/v1/coverage.csv", nil, nil)

	call("get-licensing", 200, "GET", base+"/licensing", nil, map[string]any{"mode": "automatic", "used": 1, "take.0": "user"})
	call("set-licensing", 200, "PUT", base+"/licensing", map[string]any{"mode": "manual", "take": []string{"user", "shared"}, "hard_quota": 2},
		map[string]any{"mode": "manual", "used": 1})
	call("revoke-seats", 200, "POST", base+"/seats/revoke", map[string]any{"resources": []string{string(ada)}}, map[string]any{"used": 0})
	call("assign-seats", 200, "POST", base+"/seats/assign", map[string]any{"resources": []string{string(ada)}}, map[string]any{"used": 1})
	call("assign-seats", 200, "POST", base+"/seats/assign", map[string]any{"resources": []string{string(bob)}}, map[string]any{"used": 2})
	call("list-seats", 200, "GET", base+"/seats", nil, map[string]any{"items.0.name": "Ada", "items.1.rule": "shared", "items.1.assigned_by": "operator"})
	call("count-seats", 200, "GET", "/v1/seats", nil, map[string]any{"items.0.seats": 1, "items.0.rule": "shared", "items.1.rule": "user"})
	call("fetch-seats", 200, "GET", base+"/seats.csv", nil, nil)
	call("fetch-seat-counts", 200, "GET", "/v1/seats.csv", nil, nil)
}

// A policy is a draft until somebody activates it; then it protects, and runs say its name.
func TestDraftsProtectNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	base := "/v1/tenants/" + string(h.addConnected("Contoso", contosoGUID))
	h.want(200, "PUT", base+"/licensing", map[string]any{"mode": "automatic", "take": []string{"user", "shared"}, "hard_quota": 1})
	policy := base + "/policies/" + h.want(201, "POST", base+"/policies", map[string]any{"name": "Plan"}).text("id")
	preview := h.want(200, "GET", policy+"/forecast", nil)
	if preview.field("resources") != 1.0 || preview.field("without_seat") != 1.0 || preview.field("seats_needed") != 1.0 {
		t.Errorf("forecast of a draft: %s", preview.body)
	}
	for _, r := range []struct{ standing, query string }{{"draft", "draft"}, {"", "covered"}} {
		if got := h.want(200, "GET", base+"/resources?standing="+r.query, nil); fmt.Sprint(got.field("items.0.standing")) != r.standing && r.standing != "" {
			t.Errorf("standing %s: %s", r.query, got.body)
		}
	}
	h.problemWith(h.call("POST", base+"/runs", map[string]any{"policy": policy[len(base+"/policies/"):]}), 409, tenantry.Conflict)
	h.problemWith(h.call("POST", policy+"/pause", nil), 409, tenantry.Conflict, "draft")
	h.want(200, "POST", policy+"/activate", map[string]any{"resources": []string{string(bob)}})
	h.want(200, "POST", policy+"/activate", map[string]any{})
	if got := h.want(200, "GET", base+"/resources?standing=quota", nil); got.text("items.0.id") != string(ada) || got.field("items.1") != nil {
		t.Errorf("over the hard quota: %s", got.body)
	}
	if got := h.want(200, "GET", base+"/alarms", nil); got.text("items.0.cause") != catalog.AlarmQuotaHard {
		t.Errorf("alarms: %s", got.body)
	}
	run := h.want(201, "POST", base+"/runs", map[string]any{"policy": policy[len(base+"/policies/"):]}).text("id")
	h.want(200, "PATCH", policy, map[string]any{"name": "Renamed"})
	h.want(204, "DELETE", policy, nil)
	if got := h.want(200, "GET", base+"/runs/"+run, nil); got.text("policy_name") != "Renamed" {
		t.Errorf("a run of a policy that was renamed, and deleted: %s", got.body)
	}
}

// For the even load of the fleet a tenant's own tokens choose daily, unless the provider lets them.
func TestSchedulesAreLocked(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	base := "/v1/tenants/" + string(id)
	own := h.tokenFor(api.TenantAdmin, id)
	nightly := map[string]any{"name": "Nightly", "schedule": map[string]any{"kind": "fixed", "at": "02:00"}}
	var policy string
	h.as(own, func() {
		h.problemWith(h.call("POST", base+"/policies", nightly), 403, tenantry.Forbidden, "schedule")
		policy = base + "/policies/" + h.want(201, "POST", base+"/policies", map[string]any{"name": "Daily", "schedule": map[string]any{"kind": "daily"}}).text("id")
		h.problemWith(h.call("PATCH", policy, map[string]any{"schedule": nightly["schedule"]}), 403, tenantry.Forbidden, "schedule")
		h.problemWith(h.call("PUT", base+"/planning", map[string]any{"time_zone": "UTC", "open_schedules": true}), 403, tenantry.Forbidden)
		h.want(200, "PATCH", policy, map[string]any{"name": "Renamed"})
	})
	h.want(200, "PUT", base+"/planning", map[string]any{"time_zone": "Europe/Vienna", "open_schedules": true})
	h.as(own, func() {
		off := h.want(200, "PATCH", policy, map[string]any{"schedule": map[string]any{"kind": "off-peak"}})
		if off.text("schedule.time_zone") != "Europe/Vienna" || off.text("schedule.at") != "20:00" {
			t.Errorf("off-peak: %s", off.body)
		}
	})
	h.want(200, "PUT", base+"/planning", map[string]any{"time_zone": "Asia/Tokyo", "open_schedules": false})
	if got := h.want(200, "GET", policy, nil); got.text("schedule.time_zone") != "Asia/Tokyo" {
		t.Errorf("off-peak after the region's zone changed: %s", got.body)
	}
}

// The file of seats is what the listing says, and no formula.
func TestSeatFile(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	base := "/v1/tenants/" + string(id)
	evil := catalog.Resource{
		ID: "u-evil", Name: "=cmd|' /C calc'!A0", Address: "+evil@contoso.com", Licensed: true, State: tenantry.Active,
		Workloads: []tenantry.Workload{tenantry.Mailbox},
	}
	must(t, h.catalog.Tenant(id).ApplySync(t.Context(), tenantry.User, []catalog.Resource{evil}, "link", h.clock.Now()))
	h.want(201, "POST", base+"/policies", map[string]any{"name": "All", "activate": true})
	file := h.want(200, "GET", base+"/seats.csv", nil)
	if file.header.Get("Content-Type") != "text/csv; charset=utf-8" || !strings.Contains(file.header.Get("Content-Disposition"), "seats-"+string(id)) {
		t.Errorf("headers: %v", file.header)
	}
	lines, err := csv.NewReader(strings.NewReader(string(file.body))).ReadAll()
	must(t, err)
	if len(lines) != 3 || fmt.Sprint(lines[0]) != "[tenant month resource name address rule assigned_by since until]" {
		t.Fatalf("lines: %v", lines)
	}
	found := false
	for _, line := range lines {
		if line[2] == "u-evil" {
			found = line[3] == "'=cmd|' /C calc'!A0" && line[4] == "'+evil@contoso.com" && line[5] == "user"
		}
	}
	if !found {
		t.Errorf("lines: %v", lines)
	}
	if got := h.want(200, "GET", base+"/seats.csv?month=2001-01", nil); strings.Count(string(got.body), "\n") != 1 {
		t.Errorf("a month long ago: %s", got.body)
	}
}

// The file of coverage has a line for each tenant, says what the listing says, and is no formula.
func TestCoverageFile(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	evil, other := h.addConnected("=HYPERLINK(\"https://evil.example\")", contosoGUID), h.addConnected("Fabrikam", fabrikamGUID)
	h.want(201, "POST", "/v1/tenants/"+string(evil)+"/policies", map[string]any{"name": "All", "activate": true})
	read := func(path, name string) [][]string {
		file := h.want(200, "GET", path, nil)
		if file.header.Get("Content-Type") != "text/csv; charset=utf-8" || !strings.Contains(file.header.Get("Content-Disposition"), name) {
			t.Errorf("headers: %v", file.header)
		}
		lines, err := csv.NewReader(strings.NewReader(string(file.body))).ReadAll()
		must(t, err)
		return lines
	}
	lines := read("/v1/coverage.csv", "coverage-")
	if len(lines) != 3 {
		t.Fatalf("lines: %v", lines)
	}
	cells := map[string]map[string]string{}
	for _, line := range lines[1:] {
		one := map[string]string{}
		for i, head := range lines[0] {
			one[head] = line[i]
		}
		cells[one["tenant"]] = one
	}
	for _, id := range []tenantry.TenantID{evil, other} {
		listed, file := h.want(200, "GET", "/v1/tenants/"+string(id)+"/coverage", nil), cells[string(id)]
		for _, column := range []string{"eligible", "covered", "within_objective", "stale", "never_backed_up", "paused", "excluded"} {
			if fmt.Sprint(listed.field(column)) != file[column] {
				t.Errorf("%s of %s is %q, the listing says %v", column, id, file[column], listed.field(column))
			}
		}
	}
	if got := cells[string(evil)]; got["name"] != "'=HYPERLINK(\"https://evil.example\")" || got["covered"] != "2" || got["unprotected"] != "0" {
		t.Errorf("the covered one: %v", got)
	}
	if got := cells[string(other)]; got["no_policy"] != "2" || got["unprotected"] != "2" || got["region"] != "default" || got["at"] == "" {
		t.Errorf("the other one: %v", got)
	}
	if one := read("/v1/tenants/"+string(other)+"/coverage.csv", "coverage-"+string(other)); len(one) != 2 || fmt.Sprint(one[0]) != fmt.Sprint(lines[0]) || one[1][1] != string(other) {
		t.Errorf("the file of one tenant: %v", one)
	}
}

// Every reason that a tenant's coverage counts has a column in the file.
func TestCoverageFileHasEveryReason(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	doc := string(h.want(200, "GET", "/openapi.json", nil).body)
	_, list, found := strings.Cut(doc, "The others by reason: ")
	if !found {
		t.Fatal("the document does not list the reasons")
	}
	list, _, _ = strings.Cut(list, "\"")
	h.addConnected("Contoso", contosoGUID)
	head, _, _ := strings.Cut(string(h.want(200, "GET", "/v1/coverage.csv", nil).body), "\n")
	for reason := range strings.SplitSeq(list, ", ") {
		if !strings.Contains(head+",", ","+reason+",") {
			t.Errorf("the file has no column %s: %s", reason, head)
		}
	}
}

// Resources are listed by what kind of user, group or site they are, and a policy leaves such kinds out.
func TestSubkinds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	base := "/v1/tenants/" + string(h.addConnected("Contoso", contosoGUID))
	shared := h.want(200, "GET", base+"/resources?subkind=shared", nil)
	if shared.text("items.0.id") != string(bob) || shared.text("items.0.subkind") != "shared" || shared.field("items.1") != nil {
		t.Errorf("shared mailboxes: %s", shared.body)
	}
	h.problemWith(h.call("GET", base+"/resources?subkind=planet", nil), 422, tenantry.Invalid, "query.subkind")
	policy := h.want(201, "POST", base+"/policies", map[string]any{
		"name": "People", "activate": true, "targets": map[string]any{"exclude_subkinds": []string{"shared", "room"}},
	})
	if policy.text("kinds.0") != "user" || policy.field("named") != 2.0 || policy.text("targets.exclude_subkinds.0") != "room" {
		t.Errorf("the policy: %s", policy.body)
	}
	left := h.want(200, "GET", base+"/resources?standing=excluded", nil)
	if left.text("items.0.id") != string(bob) || left.field("items.1") != nil {
		t.Errorf("left out: %s", left.body)
	}
	h.problemWith(h.call("POST", base+"/policies", map[string]any{"name": "P", "targets": map[string]any{"exclude_subkinds": []string{"planet"}}}),
		422, tenantry.Invalid, "body.targets.exclude_subkinds[0]")
}
