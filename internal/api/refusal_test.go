package api_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Each bad input is refused, naming its field.
func TestBadInputNamesField(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	h.seal(id)
	base := "/v1/tenants/" + string(id)
	series := base + "/resources/" + string(ada) + "/workloads/"
	type fields map[string]any
	scheduled := func(schedule fields) fields { return fields{"name": "P", "schedule": schedule} }
	restore := func(change fields) fields {
		f := fields{"resource": ada, "workload": "mailbox", "snapshot": 7}
		for k, v := range change {
			f[k] = v
		}
		return f
	}
	for _, c := range []struct {
		method, path string
		body         any
		field        string
	}{
		{"POST", "/v1/tenants", fields{"directory": contosoGUID}, "name"},
		{"POST", "/v1/tenants", fields{"name": " \t", "directory": contosoGUID}, "body.name"},
		{"POST", "/v1/tenants", fields{"name": "a\nb", "directory": contosoGUID}, "body.name"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": "common"}, "body.directory"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": "https://contoso.com"}, "body.directory"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": "../x"}, "body.directory"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": contosoGUID, "weight": 101}, "body.weight"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": contosoGUID, "application_name": "a\nb"}, "body.application_name"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": contosoGUID, "application_name": strings.Repeat("x", 121)}, "body.application_name"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": contosoGUID, "sync_hours": 169}, "body.sync_hours"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": contosoGUID, "sync_hours": 1.5}, "body.sync_hours"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": contosoGUID, "pool": "Atlantis"}, "body.pool"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": "new.example", "pool": "atlantis"}, "body.pool"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": contosoGUID, "seats": "free"}, "body.seats"},
		{"PATCH", base, fields{"weight": 0}, "body.weight"},
		{"PATCH", base, fields{"weight": 101}, "body.weight"},
		{"PATCH", base, fields{"name": ""}, "body.name"},
		{"PATCH", base, fields{"name": " \t"}, "body.name"},
		{"PATCH", base, fields{"name": "a\nb"}, "body.name"},
		{"PATCH", base, fields{"application_name": "a\x00b"}, "body.application_name"},
		{"PATCH", base, fields{"sync_hours": 0}, "body.sync_hours"},
		{"PATCH", base, fields{"sync_hours": 169}, "body.sync_hours"},
		{"PATCH", base, fields{"pool": "atlantis"}, "body.pool"},
		{"PATCH", base, fields{"pool": "../x"}, "body.pool"},
		{"PATCH", base, fields{"seats": "free"}, "body.seats"},
		{"PATCH", base, fields{"region": "eu"}, "body.region"},
		{"PATCH", base, fields{"cloud": "mars"}, "body.cloud"},
		{"PATCH", base, fields{"cloud": "china"}, "body.cloud"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": contosoGUID, "region": "eu"}, "body.region"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": contosoGUID, "region": "../x"}, "body.region"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": contosoGUID, "cloud": "mars"}, "body.cloud"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": contosoGUID, "cloud": "dod"}, "body.cloud"},
		{"POST", "/v1/pools", fields{"name": "perth", "region": "eu"}, "body.region"},
		{"POST", "/v1/pools", fields{"name": "perth", "region": "EU"}, "body.region"},
		{"POST", "/v1/tenants", fields{"name": "A", "directory": contosoGUID, "wieght": 1}, "wieght"},
		{"POST", "/v1/tenants", fields{"name": 7, "directory": contosoGUID}, "body.name"},
		{"GET", "/v1/tenants?limit=501", nil, "query.limit"},
		{"GET", "/v1/tenants?limit=x", nil, "query.limit"},
		{"GET", "/v1/tenants?offset=1", nil, "query.offset"},
		{"GET", base + "/resources?kind=printer", nil, "query.kind"},
		{"GET", base + "/resources?state=dead", nil, "query.state"},
		{"POST", base + "/policies", scheduled(fields{}), "body.schedule"},
		{"POST", base + "/policies", scheduled(fields{"kind": "window"}), "body.schedule.at"},
		{"POST", base + "/policies", fields{"name": " "}, "body.name"},
		{"POST", base + "/policies", scheduled(fields{"kind": "window", "at": "24:00"}), "body.schedule.at"},
		{"POST", base + "/policies", scheduled(fields{"kind": "window", "at": "1:30"}), "body.schedule.at"},
		{"POST", base + "/policies", scheduled(fields{"kind": "window", "at": "01:30", "time_zone": "Vienna"}), "body.schedule.time_zone"},
		{"POST", base + "/policies", scheduled(fields{"kind": "window", "at": "01:30", "time_zone": "Local"}), "body.schedule.time_zone"},
		{"POST", base + "/policies", scheduled(fields{"kind": "window", "at": "01:30", "time_zone": "../../etc/passwd"}), "body.schedule.time_zone"},
		{"POST", base + "/policies", scheduled(fields{"kind": "window", "at": "01:30", "window_minutes": 1441}), "body.schedule.window_minutes"},
		{"POST", base + "/policies", scheduled(fields{"kind": "hourly"}), "body.schedule.kind"},
		{"POST", base + "/policies", scheduled(fields{"kind": "every"}), "body.schedule.every_hours"},
		{"POST", base + "/policies", scheduled(fields{"kind": "every", "every_hours": 169}), "body.schedule.every_hours"},
		{"POST", base + "/policies", scheduled(fields{"kind": "daily", "every_hours": 2}), "body.schedule.every_hours"},
		{"POST", base + "/policies", scheduled(fields{"kind": "daily", "at": "01:30"}), "body.schedule.at"},
		{"POST", base + "/policies", scheduled(fields{"kind": "fixed", "at": "01:30", "window_minutes": 5}), "body.schedule.window_minutes"},
		{"POST", base + "/policies", scheduled(fields{"kind": "off-peak", "time_zone": "Europe/Vienna"}), "body.schedule.time_zone"},
		{"POST", base + "/policies", scheduled(fields{"kind": "daily", "blackouts": []fields{{"from": "00:00", "to": "00:00"}}}), "body.schedule.blackouts"},
		{"POST", base + "/policies", scheduled(fields{"kind": "daily", "blackouts": []fields{{"from": "00:00", "to": "8"}}}), "body.schedule.blackouts[0].to"},
		{"POST", base + "/policies", scheduled(fields{"kind": "daily", "blackouts": []fields{{"from": "00:00", "to": "01:00", "days": []string{"someday"}}}}), "body.schedule.blackouts[0].days[0]"},
		{"POST", base + "/policies", fields{"name": "P", "workloads": []string{"chat"}}, "body.workloads[0]"},
		{"POST", base + "/policies", fields{"name": "P", "kinds": []string{"device"}}, "body.kinds[0]"},
		{"POST", base + "/policies", fields{"name": "P", "enrol": "daily"}, "body.enrol_at"},
		{"POST", base + "/policies", fields{"name": "P", "enrol_at": "20:00"}, "body.enrol_at"},
		{"POST", base + "/policies", fields{"name": "P", "objective_minutes": 600000}, "body.objective_minutes"},
		{"POST", base + "/policies", fields{"name": "P", "targets": fields{"resources": []string{"u-none"}}}, "body.targets.resources"},
		{"POST", base + "/policies", fields{"name": "P", "targets": fields{"exclude_resources": []string{"u-none"}}}, "body.targets.exclude_resources"},
		{"POST", base + "/policies", fields{"name": "P", "targets": fields{"groups": []string{"staff"}}}, "body.targets.groups[0]"},
		{"PUT", base + "/licensing", fields{"mode": "loose", "take": []string{}}, "body.mode"},
		{"PUT", base + "/licensing", fields{"mode": "manual", "take": []string{"dog"}}, "body.take[0]"},
		{"PUT", base + "/licensing", fields{"mode": "manual", "take": []string{}, "soft_quota": 2, "hard_quota": 1}, "body.soft_quota"},
		{"PUT", base + "/planning", fields{"time_zone": "Vienna", "open_schedules": true}, "body.time_zone"},
		{"POST", base + "/seats/assign", fields{"resources": []string{"u-none"}}, "body.resources"},
		{"GET", base + "/seats?month=2026-13", nil, "query.month"},
		{"GET", base + "/seats.csv?month=november", nil, "query.month"},
		{"POST", base + "/runs", fields{}, "body.policy"},
		{"POST", base + "/runs", fields{"policy": "p-1", "resources": []string{string(ada)}}, "body.policy"},
		{"POST", base + "/runs", fields{"policy": "p-1", "workloads": []string{"drive"}}, "body.workloads"},
		{"POST", base + "/runs", fields{"resources": []string{string(ada), "u-none"}}, "body.resources[1]"},
		{"POST", base + "/runs", fields{"resources": []string{string(gone)}}, "body.resources[0]"},
		{"POST", base + "/runs", fields{"resources": []string{string(bob)}, "workloads": []string{"drive"}}, "body.resources[0]"},
		{"GET", series + "fax/snapshots", nil, "path.workload"},
		{"GET", series + "mailbox/snapshots?after=x", nil, "query.after"},
		{"GET", base + "/audit?after=-1", nil, "query.after"},
		{"GET", series + "mailbox/snapshots/0/items", nil, "path.snapshot"},
		{"GET", series + "mailbox/snapshots/one/items", nil, "path.snapshot"},
		{"POST", base + "/restores", fields{"resource": "g-1", "workload": "group", "snapshot": 1}, "body.workload"},
		{"POST", base + "/restores", restore(fields{"resource": "u-none"}), "body.resource"},
		{"POST", base + "/restores", restore(fields{"workload": "fax"}), "body.workload"},
		{"POST", base + "/restores", restore(fields{"snapshot": 6}), "body.snapshot"},
		{"POST", base + "/restores", restore(fields{"snapshot": 8}), "body.snapshot"},
		{"POST", base + "/restores", restore(fields{"workload": "drive"}), "body.snapshot"},
		{"POST", base + "/restores", restore(fields{"to": "u-none"}), "body.to"},
		{"POST", base + "/restores", restore(fields{"to": gone}), "body.to"},
		{"POST", base + "/restores", restore(fields{"conflict": "merge"}), "body.conflict"},
		{"POST", base + "/restores", restore(fields{"folder": "a/b"}), "body.folder"},
		{"POST", base + "/restores", restore(fields{"folder": ".."}), "body.folder"},
		{"POST", base + "/restores", restore(fields{"folder": "Back", "original": true}), "body.original"},
		{"POST", base + "/restores", restore(fields{"items": []string{""}}), "body.items"},
		{"POST", base + "/verifications", fields{"resource": ada, "workload": "mailbox", "snapshot": 6}, "body.snapshot"},
	} {
		r := h.call(c.method, c.path, c.body)
		h.problemWith(r, http.StatusUnprocessableEntity, tenantry.Invalid)
		if !strings.Contains(r.text("detail"), c.field) {
			t.Errorf("%s %s %v: the detail does not name %q: %s", c.method, c.path, c.body, c.field, r.body)
		}
	}
	if n := h.runCount(id); n != 1 {
		t.Errorf("%d runs, want the one backup only", n)
	}
}

func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for name, c := range map[string]struct {
		method, path string
		body         string
		status       int
	}{
		"no JSON":        {"POST", "/v1/tenants", "{", http.StatusBadRequest},
		"no body":        {"POST", "/v1/tenants", "", http.StatusBadRequest},
		"too large":      {"POST", "/v1/tenants", `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, http.StatusRequestEntityTooLarge},
		"unknown path":   {"GET", "/v2/tenants", "", http.StatusNotFound},
		"unknown method": {"PATCH", "/v1/tenants", "{}", http.StatusMethodNotAllowed},
	} {
		r := h.call(c.method, c.path, c.body)
		if r.status != c.status || r.text("kind") == "" || r.text("detail") == "" {
			t.Errorf("%s: %d, want %d: %s", name, r.status, c.status, r.body)
		}
	}
}

// What the tenant's state does not allow is a conflict that says what to do.
func TestNotConnected(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pending := h.addTenant("Contoso", contosoGUID)
	revoked := h.addConnected("Fabrikam", fabrikamGUID)
	h.seal(revoked)
	must(t, h.catalog.Tenant(revoked).SetState(t.Context(), tenantry.TenantDisconnected, "AADSTS700016: consent revoked"))
	for _, id := range []tenantry.TenantID{pending, revoked} {
		for path, body := range map[string]any{
			"/refresh":  nil,
			"/runs":     map[string]any{"resources": []string{string(ada)}},
			"/restores": map[string]any{"resource": ada, "workload": "mailbox", "snapshot": 7},
		} {
			r := h.call("POST", "/v1/tenants/"+string(id)+path, body)
			words, code := "has not consented yet", "never_consented"
			if id == revoked {
				words, code = "consent again", "consent_lost"
			}
			h.problemWith(r, http.StatusConflict, tenantry.Reconnect, "ask for a consent URL", words)
			if r.text("code") != code || id == pending && strings.Contains(r.text("detail"), "again") {
				t.Errorf("%s: %s", path, r.body)
			}
			if id == revoked && !strings.Contains(r.text("detail"), "AADSTS700016") {
				t.Errorf("%s: the reason is lost: %s", path, r.body)
			}
		}
	}
	// Reading the bucket needs no consent: a departed customer's backups can be verified.
	h.want(http.StatusCreated, "POST", "/v1/tenants/"+string(revoked)+"/verifications",
		map[string]any{"resource": ada, "workload": "mailbox", "snapshot": 7})
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	base := "/v1/tenants/" + string(id)
	for _, c := range []struct {
		path, field string
		body        map[string]any
	}{
		{"/v1/tenants", "body.directory", map[string]any{"name": "Again", "directory": strings.ToUpper(contosoGUID)}},
		{"/v1/pools", "body.name", map[string]any{"name": "main"}},
		{"/v1/tokens", "body.name", map[string]any{"name": "taken", "role": "auditor"}},
	} {
		got := h.call("POST", c.path, c.body)
		if c.path == "/v1/tokens" {
			got = h.call("POST", c.path, c.body)
		}
		h.problemWith(got, http.StatusConflict, tenantry.Conflict, c.field, "is there already")
		if got.text("errors.0.location") != c.field || strings.Contains(strings.ToLower(string(got.body)), "constraint") {
			t.Errorf("POST %s: %s", c.path, got.body)
		}
	}
	body := map[string]any{"resources": []string{string(bob)}}
	run := h.want(http.StatusCreated, "POST", base+"/runs", body).text("id")
	h.problemWith(h.call("POST", base+"/runs", body), http.StatusConflict, tenantry.Conflict)
	h.want(http.StatusOK, "POST", base+"/runs/"+run+"/cancel", nil)
	h.problemWith(h.call("POST", base+"/runs/"+run+"/cancel", nil), http.StatusConflict, tenantry.Conflict, "ended")
}

// An ID of one tenant leads nowhere under another.
func TestTenantsAreApart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	mine := h.addConnected("Contoso", contosoGUID)
	theirs := h.addTenant("Fabrikam", fabrikamGUID)
	must(t, h.catalog.Tenant(theirs).SetState(t.Context(), tenantry.TenantConnected, ""))
	h.seal(mine)
	own := "/v1/tenants/" + string(mine)
	policy := h.want(201, "POST", own+"/policies", map[string]any{"name": "P"}).text("id")
	run := h.want(200, "GET", own+"/runs", nil).text("items.0.id")
	task := h.want(200, "GET", own+"/runs/"+run+"/tasks", nil).text("items.0.id")
	paths := strings.NewReplacer("{resource}", string(ada), "{workload}", "mailbox", "{snapshot}", "7", "{item}", "i1",
		"{policy}", policy, "{run}", run, "{task}", task)

	for _, op := range operations(t) {
		if !strings.Contains(op.path, "{tenant}/") {
			continue
		}
		for _, other := range []tenantry.TenantID{theirs, "t-unknown"} {
			path := paths.Replace(strings.Replace(op.path, "{tenant}", string(other), 1))
			var body any
			switch op.id {
			case "start-restore", "preview-restore", "start-export", "start-verification":
				body = map[string]any{"resource": ada, "workload": "mailbox", "snapshot": 7}
			case "set-notices", "set-policy-notices":
				body = map[string]any{"to": []string{"boss@provider.example"}}
			case "start-run":
				body = map[string]any{"resources": []string{string(ada)}}
			case "set-retention", "propose-retention":
				body = map[string]any{"last": 1}
			case "set-hold":
				body = map[string]any{"reason": "case 7", "resource": ada}
			case "add-policy", "preview-policy", "change-policy", "activate-policy", "set-licensing", "set-planning", "assign-seats", "revoke-seats":
				body = bodies()[op.id]
			}
			if valid, ok := bodies()[op.id]; ok && body == nil {
				body = valid
			}
			r := h.call(op.method, path, body)
			named := strings.Count(strings.ReplaceAll(op.path, "{workload}", "mailbox"), "{") > 1 || op.id == "start-restore" || op.id == "preview-restore" || op.id == "start-export" || op.id == "start-verification" || op.id == "start-run" || op.id == "set-hold"
			switch {
			case named && r.status != http.StatusNotFound && r.status != http.StatusUnprocessableEntity,
				other == "t-unknown" && r.status != http.StatusNotFound:
				t.Errorf("%s under %s: %d %s", op.id, other, r.status, r.body)
			case strings.Contains(string(r.body), "ada@contoso.com"):
				t.Errorf("%s under %s shows another tenant's resource", op.id, other)
			}
		}
	}
	if got := h.want(200, "GET", own+"/policies/"+policy, nil).text("id"); got != policy {
		t.Error("another tenant's path deleted the policy")
	}
	body := map[string]any{"policy": policy}
	h.problemWith(h.call("POST", "/v1/tenants/"+string(theirs)+"/runs", body), http.StatusNotFound, tenantry.NotFound)
}

// Every kind of error becomes its status, shows its reason unless it is internal,
// and is logged once when it is not the caller's fault.
func TestKindsBecomeProblems(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	path := "/v1/tenants/" + string(id) + "/resources/" + string(ada) + "/workloads/mailbox/snapshots/7/items"
	cause := errors.New("dial tcp: password=hunter2")
	for _, c := range []struct {
		kind   tenantry.Kind
		status int
		shown  bool
		retry  bool
		logged int
	}{
		{tenantry.Internal, 500, false, false, 1},
		{tenantry.Transient, 503, true, true, 1},
		{tenantry.Throttled, 503, true, true, 1},
		{tenantry.Invalid, 422, true, false, 0},
		{tenantry.NotFound, 404, true, false, 0},
		{tenantry.Conflict, 409, true, false, 0},
		{tenantry.Absent, 409, true, false, 0},
		{tenantry.Denied, 502, true, false, 1},
		{tenantry.Reconnect, 409, true, false, 0},
		{tenantry.Shared, 503, true, true, 1},
		{tenantry.Resync, 500, true, false, 1},
		{tenantry.Poison, 500, true, false, 1},
		{tenantry.Capacity, 507, true, false, 1},
		{tenantry.Corrupt, 500, true, false, 1},
		{tenantry.WrongKey, 500, true, false, 1},
		{tenantry.Fenced, 409, true, false, 0},
		{tenantry.Canceled, 503, true, true, 0},
	} {
		h.logs.TakeAll()
		failure := tenantry.E(c.kind, "open pack 12", cause)
		failure.Code = "NoSuchBucket"
		h.browser.fail(failure)
		r := h.call("GET", path, nil)
		h.problemWith(r, c.status, c.kind)
		if got := strings.Contains(r.text("detail"), "open pack 12"); got != c.shown {
			t.Errorf("%s: detail %q", c.kind, r.text("detail"))
		}
		if c.shown != (r.text("cause") == "NoSuchBucket") || r.text("code") != string(c.kind) {
			t.Errorf("%s: code %q, cause %q", c.kind, r.text("code"), r.text("cause"))
		}
		if !c.shown && strings.Contains(string(r.body), "hunter2") {
			t.Errorf("%s leaks its cause: %s", c.kind, r.body)
		}
		if (r.header.Get("Retry-After") != "") != c.retry {
			t.Errorf("%s: Retry-After %q", c.kind, r.header.Get("Retry-After"))
		}
		if n := h.logs.Len(); n != c.logged {
			t.Errorf("%s: logged %d times, want %d", c.kind, n, c.logged)
		}
		if r.text("type") != "urn:tenantry:problem:"+string(c.kind) || r.field("status") != float64(c.status) {
			t.Errorf("%s: %s", c.kind, r.body)
		}
	}
}

func TestRetryAfterIsWhenTheCauseSays(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	h.browser.fail(&tenantry.Error{Kind: tenantry.Throttled, Op: "read", Until: h.clock.Now().Add(90*time.Second + 500*time.Millisecond)})
	r := h.call("GET", "/v1/tenants/"+string(id)+"/resources/"+string(ada)+"/workloads/mailbox/snapshots/7/items", nil)
	if got := r.header.Get("Retry-After"); got != "91" {
		t.Errorf("Retry-After %q, want 91", got)
	}
}

// A part that is not wired is named, not a crash.
func TestMissingParts(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *api.Config) { c.Consent, c.Browser, c.Monitor, c.Metrics = nil, nil, nil, nil })
	id := h.addConnected("Contoso", contosoGUID)
	base := "/v1/tenants/" + string(id)
	h.problemWith(h.call("POST", base+"/consent", nil), 503, tenantry.Shared, "application")
	h.problemWith(h.call("GET", base+"/resources/"+string(ada)+"/workloads/mailbox/snapshots/7/items", nil), 503, tenantry.Shared, "bucket")
	h.problemWith(h.call("GET", "/queues/", nil), 404, tenantry.NotFound)
	h.problemWith(h.call("GET", "/metrics", nil), 404, tenantry.NotFound)
}
