package api_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// changed sends a change with If-Match.
func (h *house) changed(method, path, etag string, body any) reply {
	h.t.Helper()
	r := h.request(method, path, body)
	r.Header.Set("Authorization", "Bearer "+h.token)
	r.Header.Set("If-Match", etag)
	return h.send(r)
}

// Whatever settings are read with an ETag: a change with it is done once, a second one with
// the same is refused and changes nothing, and what it answers names the new settings.
func TestChangesOfWhatWasRead(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	tenant := "/v1/tenants/" + string(h.addConnected("Contoso", contosoGUID))
	added := h.call("POST", tenant+"/policies", map[string]any{"name": "daily"})
	if added.status != http.StatusCreated {
		t.Fatalf("%d %s", added.status, added.body)
	}
	policy := tenant + "/policies/" + added.text("id")
	for name, c := range map[string]struct {
		read, method, write string
		first, second       any
	}{
		"tenant":    {tenant, "PATCH", tenant, map[string]any{"weight": 20}, map[string]any{"weight": 30}},
		"policy":    {policy, "PATCH", policy, map[string]any{"name": "nightly"}, map[string]any{"name": "weekly"}},
		"planning":  {tenant + "/planning", "PUT", tenant + "/planning", map[string]any{"time_zone": "Europe/Vienna", "open_schedules": true}, map[string]any{"time_zone": "UTC", "open_schedules": true}},
		"licensing": {tenant + "/licensing", "PUT", tenant + "/licensing", map[string]any{"mode": "automatic", "take": []string{"user"}, "soft_quota": 5}, map[string]any{"mode": "manual", "take": []string{"user"}}},
		"retention": {policy, "PUT", policy + "/retention", map[string]any{"last": 3}, map[string]any{"last": 4}},
		"notices of the fleet": {"/v1/notices", "PUT", "/v1/notices", map[string]any{"to": []string{"ada@example.com"}},
			map[string]any{"to": []string{"bob@example.com"}}},
		"notices": {tenant + "/notices", "PUT", tenant + "/notices", map[string]any{"to": []string{"ada@example.com"}}, map[string]any{"to": []string{"bob@example.com"}}},
	} {
		t.Run(name, func(t *testing.T) {
			etag := h.call("GET", c.read, nil).header.Get("ETag")
			if name == "notices" { // none are set: a list without rows
				etag = h.call(c.method, c.write, map[string]any{"to": []string{"eve@example.com"}}).header.Get("ETag")
			}
			if len(etag) < 10 {
				t.Fatalf("ETag %q", etag)
			}
			first := h.changed(c.method, c.write, etag, c.first)
			if first.status != http.StatusOK || first.header.Get("ETag") == etag || first.header.Get("ETag") == "" {
				t.Fatalf("%d %s %s", first.status, first.header.Get("ETag"), first.body)
			}
			second := h.changed(c.method, c.write, etag, c.second)
			h.problemWith(second, http.StatusPreconditionFailed, tenantry.Conflict)
			if second.text("code") != "changed_meanwhile" {
				t.Errorf("%s", second.body)
			}
			now := h.call("GET", c.read, nil)
			if name != "notices" && now.header.Get("ETag") != first.header.Get("ETag") || name == "notices" && now.text("items.0.etag") != first.header.Get("ETag") {
				t.Errorf("a refused change changed something: %s", now.body)
			}
			for _, good := range []string{first.header.Get("ETag"), "*", `"x", ` + h.call(c.method, c.write, c.first).header.Get("ETag")} {
				if got := h.changed(c.method, c.write, good, c.first); got.status != http.StatusOK {
					t.Errorf("If-Match %s: %d %s", good, got.status, got.body)
				}
			}
		})
	}
	etag := h.call("GET", policy, nil).header.Get("ETag")
	if paused := h.call("POST", policy+"/activate", map[string]any{}); paused.header.Get("ETag") == etag {
		t.Error("a policy has the ETag of the draft that it was")
	}
	h.problemWith(h.changed("DELETE", policy, etag, nil), http.StatusPreconditionFailed, tenantry.Conflict)
}

// Of changes at once of the same settings, all but one are refused.
func TestChangesAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	tenant := "/v1/tenants/" + string(h.addTenant("Contoso", contosoGUID))
	etag := h.call("GET", tenant, nil).header.Get("ETag")
	var mu sync.Mutex
	statuses := map[int]int{}
	var asking sync.WaitGroup
	for i := range 8 {
		asking.Go(func() {
			got := h.changed("PATCH", tenant, etag, map[string]any{"weight": 20 + i})
			mu.Lock()
			defer mu.Unlock()
			statuses[got.status]++
		})
	}
	asking.Wait()
	if statuses[http.StatusOK] != 1 || statuses[http.StatusPreconditionFailed] != 7 {
		t.Errorf("%v", statuses)
	}
	if !strings.HasPrefix(etag, `"`) {
		t.Errorf("ETag %s", etag)
	}
}
