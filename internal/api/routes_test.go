package api_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Every operation of the document answers once as it should.
func TestEveryOperation(t *testing.T) {
	t.Parallel()
	book := openBook(t)
	h := newHouse(t, func(c *api.Config) { c.Budgets, c.Archives, c.Gateway = book, attic{content: "{}\n"}, &door{} })
	h.browser.items = []api.BrowseItem{
		{ID: "inbox", Kind: "folder", Name: "Inbox"},
		{ID: "i1", Parent: "inbox", Kind: "message", Name: "Hello", Size: 12},
		{ID: "i2", Parent: "inbox", Kind: "message", Name: "World", Size: 13, Problem: "too large"},
	}
	id := h.addConnected("Contoso", contosoGUID)
	seq := h.seal(id, catalog.Problem{ItemID: "m1", Name: "A mail", Reason: "ErrorItemCorrupt"})
	base := "/v1/tenants/" + string(id)

	done := map[string]bool{}
	call := func(operation string, status int, method, path string, body any, checks map[string]any) reply {
		t.Helper()
		done[operation] = true
		r := h.want(status, method, path, body)
		for field, want := range checks {
			if got := r.field(field); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %s is %v, want %v: %s", operation, field, got, want, r.body)
			}
		}
		return r
	}

	call("add-tenant", 201, "POST", "/v1/tenants", map[string]any{"name": "Fabrikam", "directory": "Fabrikam.com", "weight": 20,
		"application_name": "Our backup", "sync_hours": 168, "pool": "main", "seats": "manual"},
		map[string]any{"state": "pending", "directory": "fabrikam.com", "weight": 20, "application_name": "Our backup", "sync_hours": 168, "pool": "main", "seats": "manual"})
	call("list-tenants", 200, "GET", "/v1/tenants", nil, map[string]any{"next": nil})
	call("get-tenant", 200, "GET", base, nil, map[string]any{"name": "Contoso", "state": "connected", "directory_id": contosoGUID, "weight": 10,
		"resources.active": 2, "resources.inactive": 0, "resources.gone": 1})
	call("change-tenant", 200, "PATCH", base, map[string]any{"weight": 40}, map[string]any{"name": "Contoso", "weight": 40, "resources.active": 2,
		"pool": "main", "sync_hours": 24, "seats": "automatic", "application_name": nil})
	call("get-budget", 200, "GET", base+"/budget", nil, map[string]any{"accounts.0.name": "identity/10s", "accounts.0.limit": 3500, "accounts.0.share": 1})
	call("start-consent", 200, "POST", base+"/consent", nil, nil)
	call("refresh-tenant", 201, "POST", base+"/refresh", nil, map[string]any{"action": "sync", "state": "running", "tasks": 1})

	call("list-workloads", 200, "GET", base+"/workloads", nil, map[string]any{"items.0.workload": "mailbox", "items.0.enabled": true, "items.0.eligible": 2,
		"items.0.backup.ready": false, "items.0.backup.permissions.0.name": "Mail.Read", "items.0.restore.permissions.0.granted": false})
	call("disable-workload", 200, "POST", base+"/workloads/drive/disable", nil, map[string]any{"enabled": false, "state": "unauthorised"})
	call("enable-workload", 200, "POST", base+"/workloads/drive/enable", map[string]any{"trusted": true}, map[string]any{"enabled": true, "state": "enabling", "trusted": true})
	h.problemWith(h.call("POST", base+"/workloads/drive/enable", map[string]any{"notices": map[string]any{"to": []string{"nobody"}}}), 422, tenantry.Invalid, "body.notices.to[0]")
	call("enable-workload", 200, "POST", base+"/workloads/drive/enable", map[string]any{"trusted": true, "notices": map[string]any{"to": []string{"ada@contoso.com"}, "report": "weekly"}}, map[string]any{"enabled": true})
	call("list-notices", 200, "GET", base+"/notices", nil, map[string]any{"items.0.to.0": "ada@contoso.com", "items.0.report": "weekly"})
	call("probe-tenant", 201, "POST", base+"/probe", nil, map[string]any{"action": "connect", "state": "running"})
	call("add-pool", 201, "POST", "/v1/pools", map[string]any{"name": "munich", "note": "on premises"}, map[string]any{"name": "munich", "workers": 0})
	call("set-pool", 200, "PUT", base+"/pool", map[string]any{"pool": "munich"}, map[string]any{"pool": "munich"})
	call("list-pools", 200, "GET", "/v1/pools", nil, map[string]any{"items.1.name": "munich", "items.1.tenants": 1, "items.0.name": "main"})
	call("list-regions", 200, "GET", "/v1/regions", nil, map[string]any{"items.0.name": "default", "items.0.default": true, "items.0.pool": "main", "items.0.pools.1": "munich", "items.0.known": true})
	call("list-clouds", 200, "GET", "/v1/clouds", nil, map[string]any{"items.0.name": "global", "items.0.default": true})
	h.want(409, "DELETE", "/v1/pools/munich", nil)
	h.want(422, "PUT", base+"/pool", map[string]any{"pool": "atlantis"})
	call("change-tenant", 200, "PATCH", base, map[string]any{"name": " Contoso Ltd ", "application_name": "Our backup", "sync_hours": 6, "pool": "main", "seats": "manual"},
		map[string]any{"name": "Contoso Ltd", "weight": 40, "application_name": "Our backup", "sync_hours": 6, "pool": "main", "seats": "manual"})
	call("change-tenant", 200, "PATCH", base, map[string]any{"name": "Contoso", "application_name": "", "seats": "automatic"},
		map[string]any{"name": "Contoso", "weight": 40, "application_name": nil, "sync_hours": 6, "seats": "automatic"})
	enrolmentRoutes(h, call)
	call("remove-pool", 204, "DELETE", "/v1/pools/munich", nil, nil)
	call("start-registration", 201, "POST", base+"/registration", map[string]any{"name": "Our backup"}, map[string]any{"state": "asking", "name": "Our backup", "started_by": "operator"})
	call("get-registration", 200, "GET", base+"/registration", nil, map[string]any{"state": "asking"})
	call("cancel-registration", 200, "POST", base+"/registration/cancel", nil, map[string]any{"state": "undoing"})
	credential := call("add-credential", 201, "POST", base+"/credentials", map[string]any{"kind": "secret", "client_id": contosoGUID, "secret": "hush", "purpose": "restore"},
		map[string]any{"kind": "secret", "purpose": "restore", "added_by": "operator", "secret": nil})
	call("list-credentials", 200, "GET", base+"/credentials", nil, map[string]any{"items.0.client_id": contosoGUID})
	must(h.t, h.catalog.Tenant(id).AddCredential(h.t.Context(), catalog.Credential{
		ID: "c-registered", Purpose: tenantry.ToBackup, Kind: catalog.Certificate, ClientID: contosoGUID, ObjectID: fabrikamGUID, AddedAt: h.clock.Now(),
	}))
	call("rotate-credential", 200, "POST", base+"/credentials/rotate", nil, map[string]any{"id": "c-registered", "rotates": true})
	call("remove-credential", 204, "DELETE", base+"/credentials/c-registered", nil, nil)
	call("remove-credential", 204, "DELETE", base+"/credentials/"+credential.text("id"), nil, nil)
	credential = call("add-fleet-credential", 201, "POST", "/v1/credentials", map[string]any{"kind": "federated", "client_id": contosoGUID}, map[string]any{"purpose": "backup"})
	call("list-fleet-credentials", 200, "GET", "/v1/credentials", nil, map[string]any{"items.0.kind": "federated"})
	call("remove-fleet-credential", 204, "DELETE", "/v1/credentials/"+credential.text("id"), nil, nil)
	call("list-resources", 200, "GET", base+"/resources", nil, map[string]any{"items.0.name": "Ada", "items.1.name": "Bob", "items.2": nil})
	call("get-resource", 200, "GET", base+"/resources/"+string(ada), nil, map[string]any{"address": "ada@contoso.com", "workloads": "[mailbox drive]", "licensed": true})

	p := call("add-policy", 201, "POST", base+"/policies", map[string]any{
		"name": "Nightly", "activate": true, "schedule": map[string]any{"kind": "window", "at": "01:30", "time_zone": "Europe/Vienna"},
	}, map[string]any{"state": "active", "schedule.at": "01:30", "schedule.window_minutes": 240, "kinds": "[user]", "workloads": "[mailbox drive]"})
	policy := base + "/policies/" + p.text("id")
	call("preview-policy", 200, "POST", base+"/policies/preview", map[string]any{"name": "Weekly"},
		map[string]any{"feasible": true, "protected_by_others": 2, "seats_used": 1, "interval_seconds": 86400, "workloads.0.basis": "default"})
	call("get-ledger", 200, "GET", base+"/ledger", nil, map[string]any{"today.0.service": "identity"})
	call("list-policies", 200, "GET", base+"/policies", nil, map[string]any{"items.0.name": "Nightly"})
	call("get-policy", 200, "GET", policy, nil, map[string]any{"schedule.time_zone": "Europe/Vienna"})
	planRoutes(call, base, policy)

	call("set-retention", 200, "PUT", policy+"/retention", map[string]any{"last": 1, "daily": 7}, map[string]any{"retention.daily": 7})
	call("propose-retention", 200, "POST", policy+"/retention-preview", map[string]any{"hourly": 1}, map[string]any{"items.0.kept": 1, "items.0.snapshots.0.rules.0": "hourly"})
	call("preview-retention", 200, "GET", policy+"/retention-preview", nil, map[string]any{"items.0.kept": 1, "items.0.dropped": 0, "items.0.snapshots.0.rules.0": "last"})
	call("set-hold", 201, "POST", base+"/holds", map[string]any{"reason": "case 7"}, map[string]any{"reason": "case 7", "actor": "operator"})
	call("list-holds", 200, "GET", base+"/holds", nil, map[string]any{"items.0.reason": "case 7"})
	call("lift-hold", 204, "DELETE", base+"/holds", nil, nil)
	series := base + "/resources/" + string(ada) + "/workloads/mailbox"
	call("start-prune", 201, "POST", series+"/prune", nil, map[string]any{"action": "prune"})
	must(t, h.catalog.Tenant(id).Suspend(t.Context(), ada, tenantry.Mailbox, 7, "half of it went", time.Now()))
	call("start-repair", 201, "POST", series+"/repair", nil, map[string]any{"action": "repair"})
	call("list-alarms-of-tenant", 200, "GET", base+"/alarms", nil, map[string]any{"items.0.cause": "mass_change", "items.0.detail": "half of it went"})
	call("list-tenant-alarms", 200, "GET", "/v1/tenant-alarms?cause=mass_change", nil, map[string]any{"items.0.tenant": string(id)})
	call("acknowledge-mass-change", 204, "POST", series+"/acknowledge", nil, nil)
	call("start-collection", 201, "POST", base+"/collect", nil, map[string]any{"action": "collect"})

	run := call("start-run", 201, "POST", base+"/runs", map[string]any{"policy": p.text("id")},
		map[string]any{"action": "backup", "trigger": "manual", "tasks": 3, "policy": p.text("id")})
	one := base + "/runs/" + run.text("id")
	if got := run.header.Get("Location"); got != one {
		t.Errorf("location %q, want %q", got, one)
	}
	runs := call("list-runs", 200, "GET", base+"/runs", nil, map[string]any{"items.0.id": run.text("id")})
	tasks := call("list-tasks", 200, "GET", one+"/tasks", nil, map[string]any{"items.0.state": "ready"})
	call("get-task", 200, "GET", one+"/tasks/"+tasks.text("items.0.id"), nil, map[string]any{"action": "backup"})
	call("cancel-run", 200, "POST", one+"/cancel", nil, map[string]any{"state": "canceled", "tasks_canceled": 3})
	call("list-runs", 200, "GET", base+"/runs?action=backup&state=canceled&policy="+p.text("id"), nil, map[string]any{"items.0.id": run.text("id"), "items.1": nil})
	call("list-runs", 200, "GET", base+"/runs?action=restore", nil, map[string]any{"items.0": nil})
	call("find-runs", 200, "GET", "/v1/runs?reference="+strings.ReplaceAll(run.text("reference"), "-", "%20"), nil, map[string]any{"items.0.id": run.text("id")})
	done["watch-run"] = true // its answer is a stream: watch_test.go
	for _, item := range runs.field("items").([]any) {
		if sealed := item.(map[string]any); sealed["state"] == "done" && sealed["action"] == "backup" {
			call("get-run", 200, "GET", base+"/runs/"+sealed["id"].(string), nil, map[string]any{
				"progress.items": 40, "progress.total": 42, "progress.skipped": 1, "tasks_done": 1, "problems.0.skipped": 1, "problems.0.reason": "A mail: ErrorItemCorrupt",
			})
			call("list-failures", 200, "GET", base+"/runs/"+sealed["id"].(string)+"/failures?limit=1", nil, map[string]any{
				"items.0.item": "m1", "items.0.resource": ada, "items.0.workload": "mailbox", "items.0.reason": "ErrorItemCorrupt", "next": nil,
			})
			h.problemWith(h.call("GET", base+"/runs/"+sealed["id"].(string)+"/failures?after=x", nil), 422, tenantry.Invalid, "query.after")
		}
	}
	notices := map[string]any{"to": []string{"ada@contoso.com"}, "report": "daily", "problems": true}
	call("set-notices", 200, "PUT", base+"/notices", notices, map[string]any{"time_zone": "Europe/Vienna", "at": "07:00", "stale_hours": nil, "to.0": "ada@contoso.com"})
	call("set-policy-notices", 200, "PUT", policy+"/notices", map[string]any{"to": []string{"bob@contoso.com"}, "events": []string{"none"}}, map[string]any{"policy": p.text("id"), "report": "off", "events": "[none]"})
	h.problemWith(h.call("PUT", base+"/notices", map[string]any{"to": []string{"ada@contoso.com\r\nBcc: eve@evil.example"}}), 422, tenantry.Invalid, "body.to[0]")
	h.problemWith(h.call("PUT", base+"/notices", map[string]any{"to": []string{}, "events": []string{"none", "failed"}}), 422, tenantry.Invalid, "body.events")
	h.problemWith(h.call("PUT", base+"/notices", map[string]any{"to": []string{}, "time_zone": "Mars/Olympus"}), 422, tenantry.Invalid, "body.time_zone")
	call("test-notices", 202, "POST", base+"/notices/test", nil, nil)
	h.problemWith(h.call("POST", base+"/notices/test", nil), 409, tenantry.Conflict, "asked for before")
	call("send-report", 202, "POST", base+"/notices/report", nil, nil)
	h.problemWith(h.call("POST", base+"/notices/report?policy="+p.text("id"), nil), 409, tenantry.Conflict, "nobody is to get reports")
	call("list-mails", 200, "GET", base+"/mails", nil, map[string]any{"items.1.to": "ada@contoso.com", "items.0.event": "test", "items.0.state": "waiting"})
	call("get-policy-notices", 200, "GET", policy+"/notices", nil, map[string]any{"policy": p.text("id"), "to.0": "bob@contoso.com"})
	call("list-notices", 200, "GET", base+"/notices", nil, map[string]any{"items.0.to.0": "ada@contoso.com", "items.1.policy": p.text("id")})
	call("remove-notices", 204, "DELETE", base+"/notices?policy="+p.text("id"), nil, nil)
	call("get-fleet-notices", 200, "GET", "/v1/notices", nil, map[string]any{"to": "[]"})
	h.problemWith(h.call("POST", "/v1/notices/test", nil), 409, tenantry.Conflict, "set notices first")
	call("set-fleet-notices", 200, "PUT", "/v1/notices", notices, map[string]any{"to.0": "ada@contoso.com", "problems": true})
	call("test-fleet-notices", 202, "POST", "/v1/notices/test", nil, nil)
	call("send-fleet-report", 202, "POST", "/v1/notices/report", nil, nil)
	call("list-fleet-mails", 200, "GET", "/v1/mails", nil, map[string]any{"items.0.subject": "Test of the backup's notices"})
	call("delete-policy", 204, "DELETE", policy, nil, nil)
	h.want(404, "GET", policy, nil)

	snapshots := base + "/resources/" + string(ada) + "/workloads/mailbox/snapshots"
	call("list-snapshots", 200, "GET", snapshots, nil, map[string]any{"items.0.seq": seq, "items.0.counts.items": 40})
	first := call("browse-items", 200, "GET", snapshots+"/7/items?parent=inbox&limit=1", nil, map[string]any{"items.0.id": "i1", "items.1": nil})
	call("compare-snapshots", 200, "GET", snapshots+"/7/changes?since=6&limit=1", nil, map[string]any{"items.0.what": "changed", "items.0.id": "inbox", "items.1": nil})
	h.problemWith(h.call("GET", snapshots+"/7/changes?since=7", nil), 422, tenantry.Invalid, "earlier")
	call("browse-items", 200, "GET", snapshots+"/7/items?parent=inbox&after="+first.text("next"), nil, map[string]any{"items.0.problem": "too large", "next": nil})
	first = call("search-snapshot", 200, "GET", snapshots+"/7/search?text=World&folder=inbox&since=2026-01-01T00:00:00Z", nil, map[string]any{"items.0": nil})
	call("search-snapshot", 200, "GET", snapshots+"/7/search?text=World&folder=inbox&since=2026-01-01T00:00:00Z&after="+first.text("next"), nil, map[string]any{"items.0.id": "i2", "next": nil})
	call("search-tenant", 200, "GET", base+"/search?text=Hello", nil, map[string]any{"items.0.id": "i1", "items.0.resource": ada, "items.0.snapshot": seq})
	call("get-item", 200, "GET", snapshots+"/7/items/i1", nil, map[string]any{"name": "Hello", "size": 12})
	if want := (tenantry.Series{Tenant: id, Resource: ada, Workload: tenantry.Mailbox}); !slices.Equal(h.browser.asked, []tenantry.Series{want, want}) {
		t.Errorf("browsed %v", h.browser.asked)
	}

	must(t, h.catalog.Tenant(id).SetRoles(t.Context(), []string{"Mail.ReadWrite", "Contacts.ReadWrite", "Calendars.ReadWrite", "Tasks.ReadWrite.All"}))
	call("preview-restore", 200, "POST", base+"/restores/preview", map[string]any{"resource": ada, "workload": "mailbox", "snapshot": seq, "items": []string{"i1"}, "to": bob},
		map[string]any{"items": 100000, "bytes": 1e10, "unsaved": 1, "whole": true, "target_name": "Bob", "permissions_missing": "[MailboxSettings.ReadWrite]",
			"binding": "outlook/upload", "takes_seconds": 20000, "folder": "Restored " + h.clock.Now().UTC().Format("2006-01-02 15-04-05"),
			"warnings.0": "Microsoft's limit outlook/upload makes it take at least 5.6 hours"})
	call("preview-restore", 200, "POST", base+"/restores/preview", map[string]any{"resource": ada, "workload": "mailbox", "snapshot": seq, "to": bob, "original": true},
		map[string]any{"folder": nil})
	restored := call("start-restore", 201, "POST", base+"/restores", map[string]any{
		"resource": ada, "workload": "mailbox", "snapshot": seq, "items": []string{"i1"}, "to": bob, "folder": "Restored",
	}, map[string]any{"action": "restore", "tasks": 1})
	checkRestore(t, h, id, tenantry.RunID(restored.text("id")))

	failed := h.claim(id, tenantry.RunID(restored.text("id")))
	must(t, h.catalog.Tenant(id).Settle(t.Context(), failed, catalog.Settlement{State: catalog.TaskFailed, Kind: tenantry.Capacity}, h.clock.Now()))
	retried := call("retry-run", 201, "POST", base+"/runs/"+restored.text("id")+"/retry", nil,
		map[string]any{"action": "restore", "tasks": 1, "retry_of": restored.text("id")})
	checkRestore(t, h, id, tenantry.RunID(retried.text("id")))

	export := call("start-export", 201, "POST", base+"/exports", map[string]any{"resource": ada, "workload": "mailbox", "snapshot": seq, "json": true},
		map[string]any{"action": "export", "tasks": 1})
	must(t, h.catalog.Tenant(id).Settle(t.Context(), h.claim(id, tenantry.RunID(export.text("id"))), catalog.Settlement{State: catalog.TaskDone}, h.clock.Now()))
	call("get-export", 200, "GET", base+"/exports/"+export.text("id"), nil, map[string]any{"size": 3})
	call("fetch-export", 200, "GET", base+"/exports/"+export.text("id")+"/content", nil, nil)
	search := call("start-search", 201, "POST", base+"/searches", map[string]any{"text": "Hello", "all": true}, map[string]any{"action": "search", "tasks": 1})
	must(t, h.catalog.Tenant(id).Settle(t.Context(), h.claim(id, tenantry.RunID(search.text("id"))), catalog.Settlement{State: catalog.TaskDone}, h.clock.Now()))
	call("get-search", 200, "GET", base+"/searches/"+search.text("id"), nil, map[string]any{"found": 0, "more": false})
	call("list-found", 200, "GET", base+"/searches/"+search.text("id")+"/items", nil, map[string]any{"items.0": nil, "next": nil})
	call("start-verification", 201, "POST", base+"/verifications", map[string]any{"resource": ada, "workload": "mailbox", "snapshot": seq},
		map[string]any{"action": "verify"})

	call("list-audit", 200, "GET", base+"/audit?limit=1", nil, map[string]any{
		"items.0.action": "start-verification", "items.0.actor": "operator",
		"items.0.detail": fmt.Sprintf(`{"resource":"%s","workload":"mailbox","snapshot":7}`, ada),
	})
	must(t, h.catalog.Fleet().Pause(t.Context(), "bucket", "no such bucket", h.clock.Now().Add(1e12), h.clock.Now()))
	call("list-alarms", 200, "GET", "/v1/alarms", nil, map[string]any{"items.0.cause": "bucket", "items.0.detail": "no such bucket"})
	call("get-fleet", 200, "GET", "/v1/fleet", nil, map[string]any{"tenants.connected": 1, "tenants.pending": 1, "resources.active": 2, "resources.gone": 1,
		"protected": 0, "backups.done": 1, "alarms.0.cause": "bucket", "processes.worker": 4, "ready.interactive": 7, "backups.canceled": 1})
	call("list-backlogs", 200, "GET", "/v1/backlogs?limit=1", nil, map[string]any{"items.0.tenant": string(id), "items.0.name": "Contoso", "items.0.in_flight": 0,
		"items.0.tightest.share": 1, "items.1": nil})
	call("list-processes", 200, "GET", "/v1/processes", nil, map[string]any{"items.0.role": "worker", "items.0.slots.interactive": 2})

	call("whoami", 200, "GET", "/v1/whoami", nil, map[string]any{"name": "operator", "role": "provider-admin", "permissions.0": "audit"})
	call("add-token", 201, "POST", "/v1/tokens", map[string]any{"name": "bob", "role": "auditor", "days": 1},
		map[string]any{"name": "bob", "role": "auditor", "tenant": nil, "created_by": "operator"})
	tokens := call("list-tokens", 200, "GET", "/v1/tokens?limit=1", nil, map[string]any{"items.0.name": "bob", "items.0.token": nil})
	call("list-tokens", 200, "GET", "/v1/tokens?limit=1&after="+tokens.text("next"), nil, map[string]any{"items.0.name": "operator", "next": nil})
	call("revoke-token", 204, "DELETE", "/v1/tokens/bob", nil, nil)
	call("list-fleet-audit", 200, "GET", "/v1/audit?limit=1", nil, map[string]any{"items.0.action": "revoke-token", "items.0.source": "127.0.0.1"})

	for _, op := range operations(t) {
		if !done[op.id] {
			t.Errorf("%s is not tested", op.id)
		}
	}
}

func checkRestore(t *testing.T, h *house, id tenantry.TenantID, run tenantry.RunID) {
	t.Helper()
	tasks, err := h.catalog.Tenant(id).Tasks(t.Context(), run, "", 10)
	must(t, err)
	var got tenantry.RestoreRequest
	must(t, json.Unmarshal(tasks[0].Params, &got))
	want := tenantry.RestoreRequest{Snapshot: 7, Items: []string{"i1"}, To: bob, Folder: "Restored", Conflict: "copy"}
	if fmt.Sprint(got) != fmt.Sprint(want) || tasks[0].Resource != ada || tasks[0].Workload != tenantry.Mailbox {
		t.Errorf("task %+v with %+v, want %+v", tasks[0], got, want)
	}
}

// The problems of a single task are named item by item.
func TestTaskNamesItsItems(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	since := h.clock.Now().Add(-48 * time.Hour).UTC().Truncate(time.Second)
	h.seal(id,
		catalog.Problem{ItemID: "m1", Name: "A mail", Reason: "ErrorItemCorrupt", Kind: tenantry.Poison, Since: since, Snapshot: 5, Again: true},
		catalog.Problem{ItemID: "m2", Reason: "the service reports malware", Kind: tenantry.Poison})
	base := "/v1/tenants/" + string(id) + "/runs"
	run := h.want(200, "GET", base, nil).text("items.0.id")
	task := h.want(200, "GET", base+"/"+run+"/tasks", nil).text("items.0.id")
	r := h.want(200, "GET", base+"/"+run+"/tasks/"+task, nil)
	if r.text("problems.0.reason") != "ErrorItemCorrupt" || r.text("problems.0.name") != "A mail" || r.field("snapshot") != 7.0 {
		t.Errorf("task %s", r.body)
	}
	for field, want := range map[string]any{
		"problems.0.kind": "poison", "problems.0.last_good": 5.0, "problems.0.since": since.Format(time.RFC3339), "problems.0.retry": "next_backup",
		"problems.0.next_try": nil, // no policy has it
		"problems.1.retry":    "when_changed", "problems.1.last_good": nil,
	} {
		if got := r.field(field); got != want {
			t.Errorf("%s is %v, want %v: %s", field, got, want, r.body)
		}
	}
	h.want(201, "POST", "/v1/tenants/"+string(id)+"/policies", map[string]any{"name": "daily", "activate": true, "workloads": []string{"mailbox"}})
	r = h.want(200, "GET", base+"/"+run+"/tasks/"+task, nil)
	if next, err := time.Parse(time.RFC3339, r.text("problems.0.next_try")); err != nil || !next.After(h.clock.Now()) {
		t.Errorf("the next try of a protected item: %v, %s", err, r.body)
	}
	if got := r.field("problems.1.next_try"); got != nil {
		t.Errorf("what is asked for when it changes is tried next at %v", got)
	}
}

// A run shows why its task failed, with the kind.
func TestRunShowsReasons(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind   tenantry.Kind
		reason string
	}{
		{tenantry.Reconnect, "AADSTS700016: the application was removed"},
		{tenantry.Absent, "the mailbox has no licence"},
		{tenantry.Corrupt, "pack 12 is damaged"},
		{tenantry.WrongKey, "the key does not open the repository"},
		{tenantry.Capacity, "no space left on device"},
	} {
		h := newHouse(t)
		id := h.addConnected("Contoso", contosoGUID)
		base := "/v1/tenants/" + string(id) + "/runs"
		run := h.want(201, "POST", base, map[string]any{"resources": []string{string(bob)}}).text("id")
		claim := h.claim(id, tenantry.RunID(run))
		must(t, h.catalog.Tenant(id).Settle(t.Context(), claim, catalog.Settlement{
			State: catalog.TaskFailed, Kind: c.kind, Reason: c.reason, Attempt: 1,
		}, h.clock.Now()))
		r := h.want(200, "GET", base+"/"+run, nil)
		if r.text("state") != "failed" || r.text("problems.0.kind") != string(c.kind) || r.text("problems.0.reason") != c.reason {
			t.Errorf("%s: %s", c.kind, r.body)
		}
	}
}

func TestResourceFilters(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	for query, want := range map[string]string{
		"":                   "Ada Bob",
		"?state=gone":        "Gone",
		"?state=inactive":    "",
		"?kind=group":        "",
		"?kind=user&limit=1": "Ada",
	} {
		r := h.want(200, "GET", "/v1/tenants/"+string(id)+"/resources"+query, nil)
		var names []string
		for _, item := range r.field("items").([]any) {
			names = append(names, item.(map[string]any)["name"].(string))
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("resources%s: %q, want %q", query, got, want)
		}
	}
}

// However many departed resources lie between, walking the pages finds all the
// others, each once.
func TestPagesSkipGone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addTenant("Contoso", contosoGUID)
	var users []catalog.Resource
	want := 0
	for i := range 120 {
		object := fmt.Sprintf("bbbbbbbb-0000-4000-8000-%012d", i)
		state := tenantry.Gone
		if i%40 == 39 {
			state = tenantry.Active
			want++
		}
		users = append(users, catalog.Resource{ID: tenantry.UserResource(object), Kind: tenantry.User, ObjectID: object, Name: object, State: state, StateAt: h.clock.Now()})
	}
	must(t, h.catalog.Tenant(id).ApplySync(t.Context(), tenantry.User, users, "link", h.clock.Now()))
	for _, limit := range []int{1, 2, 3, 100} {
		seen, after, pages := map[string]bool{}, "", 0
		for ; pages == 0 || after != ""; pages++ {
			r := h.want(200, "GET", fmt.Sprintf("/v1/tenants/%s/resources?limit=%d&after=%s", id, limit, after), nil)
			for _, item := range r.field("items").([]any) {
				if name := item.(map[string]any)["id"].(string); seen[name] {
					t.Errorf("limit %d: %s twice", limit, name)
				} else {
					seen[name] = true
				}
			}
			after = r.text("next")
		}
		if len(seen) != want || pages > 10 {
			t.Errorf("limit %d: %d resources on %d pages, want %d", limit, len(seen), pages, want)
		}
	}
}

// Walking the pages meets everything once, whatever the page size.
func TestPages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	want := map[string]bool{}
	for i := range 7 {
		want[string(h.addTenant("T", fmt.Sprintf("t%d.example.com", i)))] = true
	}
	for _, limit := range []int{1, 3, 7, 500} {
		seen, after, pages := map[string]bool{}, "", 0
		for {
			r := h.want(200, "GET", fmt.Sprintf("/v1/tenants?limit=%d&after=%s", limit, after), nil)
			for _, item := range r.field("items").([]any) {
				seen[item.(map[string]any)["id"].(string)] = true
			}
			pages++
			if after = r.text("next"); after == "" {
				break
			}
		}
		if len(seen) != len(want) || pages != (len(want)+limit-1)/limit {
			t.Errorf("limit %d: %d tenants on %d pages", limit, len(seen), pages)
		}
	}
}

// The generated client is that of this API.
func TestGeneratedDocumentIsCurrent(t *testing.T) {
	t.Parallel()
	doc, err := api.OpenAPI()
	must(t, err)
	file, err := os.ReadFile("../apiclient/openapi.json")
	must(t, err)
	var now, then any
	must(t, json.Unmarshal(doc, &now))
	must(t, json.Unmarshal(file, &then))
	if fmt.Sprint(now) != fmt.Sprint(then) {
		t.Error("internal/apiclient/openapi.json is old: run go generate ./internal/apiclient")
	}
}

// Every body that a request has says by an example what belongs into it.
func TestBodiesHaveExamples(t *testing.T) {
	t.Parallel()
	text, err := api.OpenAPI()
	must(t, err)
	type content map[string]struct {
		Schema struct {
			Ref string `json:"$ref"`
		}
	}
	var doc struct {
		Paths      map[string]map[string]struct{ RequestBody struct{ Content content } }
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct{ Example any }
			}
		}
	}
	must(t, json.Unmarshal(text, &doc))
	bodies := 0
	for path, methods := range doc.Paths {
		for method, operation := range methods {
			for _, c := range operation.RequestBody.Content {
				bodies++
				examples := 0
				for _, property := range doc.Components.Schemas[strings.TrimPrefix(c.Schema.Ref, "#/components/schemas/")].Properties {
					if property.Example != nil {
						examples++
					}
				}
				if examples == 0 {
					t.Errorf("%s %s: the body %s has no example", method, path, c.Schema.Ref)
				}
			}
		}
	}
	if bodies < 25 {
		t.Errorf("the document has %d bodies", bodies)
	}
}

// The docs page and its script name no other host.
func TestDocsLoadNothingForeign(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, path := range []string{"/docs", "/assets/docs.js", "/assets/page.css", "/login"} {
		r := h.send(h.request("GET", path, nil))
		if found := regexp.MustCompile(`(https?:)?//[a-z]`).FindString(strings.ReplaceAll(string(r.body), "// ", "")); found != "" {
			t.Errorf("%s names %q", path, found)
		}
		if !strings.Contains(r.header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: policy %q", path, r.header.Get("Content-Security-Policy"))
		}
	}
}
