package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// door is a gateway that says whom it was told of.
type door struct {
	told  []string
	hands bool // tokens
	fails error
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Door", r.URL.Path)
}

func (d *door) Known(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer worker" }

func (d *door) Revoked(_ context.Context, w catalog.RemoteWorker) error {
	d.told = append(d.told, w.ID)
	return nil
}

func (d *door) HandsTokens(context.Context, string) (bool, error) { return d.hands, d.fails }

// enrolmentRoutes calls the operations about workers outside. The pool is munich; no worker stays enrolled in it.
func enrolmentRoutes(h *house, call caller) {
	t := h.t
	const all = "/v1/pools/munich/enrolments"
	made := call("add-enrolment", 201, "POST", all, map[string]any{"hours": 2}, map[string]any{"pool": "munich", "state": "open", "made_by": "operator"})
	if token := made.text("token"); !strings.HasPrefix(token, "tenantry_enrol_") || len(token) < 50 {
		t.Errorf("token %q", token)
	}
	if got := made.header.Get("Location"); got != all+"/"+made.text("id") {
		t.Errorf("location %q", got)
	}
	other := call("add-enrolment", 201, "POST", all, map[string]any{}, nil)
	call("revoke-enrolment", 204, "DELETE", all+"/"+other.text("id"), nil, nil)
	joined, err := h.catalog.Fleet().EnrolWorker(t.Context(), api.HashToken(made.text("token")),
		catalog.RemoteWorker{ID: catalog.NewWorkerID(), Name: "m1", Hash: "x"}, h.clock.Now())
	must(t, err)
	listed := call("list-enrolments", 200, "GET", all, nil, nil)
	if text := string(listed.body); !strings.Contains(text, `"used"`) || !strings.Contains(text, `"revoked"`) || strings.Contains(text, "tenantry_enrol_") {
		t.Errorf("tokens: %s", text)
	}
	call("list-workers", 200, "GET", "/v1/workers", nil, map[string]any{"items.0.id": joined.ID, "items.0.pool": "munich", "items.0.name": "m1", "items.0.state": "silent", "items.0.hash": nil})
	h.want(409, "DELETE", "/v1/pools/munich", nil)
	h.want(409, "DELETE", all+"/"+made.text("id"), nil)
	h.want(404, "DELETE", "/v1/workers/w-nobody", nil)
	call("revoke-worker", 204, "DELETE", "/v1/workers/"+joined.ID, nil, nil)
	call("list-workers", 200, "GET", "/v1/workers", nil, map[string]any{"items.0.state": "revoked", "items.0.revoked_by": "operator"})
}

// TestEnrolmentsOfAPI: what is refused, what is told to the gateway, and what is not kept.
func TestEnrolmentsOfAPI(t *testing.T) {
	t.Parallel()
	gateway := &door{}
	h := newHouse(t, func(c *api.Config) { c.Gateway = gateway })
	h.problemWith(h.call("POST", "/v1/pools/atlantis/enrolments", map[string]any{}), 404, tenantry.NotFound)
	h.problemWith(h.call("POST", "/v1/pools/main/enrolments", map[string]any{"hours": 1000}), 422, tenantry.Invalid, "body.hours")
	made := h.want(201, "POST", "/v1/pools/main/enrolments", map[string]any{})
	worker, err := h.catalog.Fleet().EnrolWorker(t.Context(), api.HashToken(made.text("token")),
		catalog.RemoteWorker{ID: catalog.NewWorkerID(), Name: "m1", Hash: "x"}, h.clock.Now().Add(23*time.Hour))
	must(t, err)
	h.want(204, "DELETE", "/v1/workers/"+worker.ID, nil)
	h.want(204, "DELETE", "/v1/workers/"+worker.ID, nil)
	if len(gateway.told) != 2 || gateway.told[0] != worker.ID {
		t.Errorf("the gateway was told of %v", gateway.told)
	}
	if got := h.call("GET", "/gateway/anything", nil).header.Get("X-Door"); got != "/gateway/anything" {
		t.Errorf("the gateway was asked for %q", got)
	}

	without := newHouse(t)
	refused := without.call("POST", "/v1/pools/main/enrolments", map[string]any{})
	without.problemWith(refused, 409, tenantry.Conflict)
	if refused.text("code") != "needs_postgres" {
		t.Errorf("without a gateway: %s", refused.body)
	}
}

// Whoever chooses a pool with workers outside for a tenant without an application of its own, while the door has no
// credential of the provider's, is told at once what is missing, and what to do; and no longer, once it is done.
func TestPoolOutsideNeedsAnApplication(t *testing.T) {
	t.Parallel()
	gateway := &door{}
	h := newHouse(t, func(c *api.Config) { c.Gateway = gateway })
	id := h.addConnected("Contoso", contosoGUID)
	base := "/v1/tenants/" + string(id)
	h.want(201, "POST", "/v1/pools", map[string]any{"name": "munich"})
	enrol := func() string {
		made := h.want(201, "POST", "/v1/pools/munich/enrolments", map[string]any{})
		worker, err := h.catalog.Fleet().EnrolWorker(t.Context(), api.HashToken(made.text("token")),
			catalog.RemoteWorker{ID: catalog.NewWorkerID(), Name: "m1", Hash: made.text("id")}, h.clock.Now())
		must(t, err)
		return worker.ID
	}
	move := func(pool string) reply { return h.want(200, "PUT", base+"/pool", map[string]any{"pool": pool}) }
	if got := move("munich"); got.field("needs") != nil {
		t.Errorf("a pool without workers outside: %s", got.body)
	}
	worker := enrol()
	for what, got := range map[string]reply{"chosen": move("munich"), "shown": h.want(200, "GET", base, nil)} {
		if got.text("needs.0.code") != "needs_own_application" || !strings.Contains(got.text("needs.0.remedy"), "tenantry tenants register "+string(id)) {
			t.Errorf("%s: %s", what, got.body)
		}
	}
	added := h.want(201, "POST", "/v1/tenants", map[string]any{"name": "Fabrikam", "directory": fabrikamGUID, "pool": "munich"})
	if added.text("needs.0.code") != "needs_own_application" {
		t.Errorf("added to it: %s", added.body)
	}
	if got := move("main"); got.field("needs") != nil {
		t.Errorf("moved away: %s", got.body)
	}
	move("munich")
	gateway.hands = true
	if got := h.want(200, "GET", base, nil); got.field("needs") != nil {
		t.Errorf("though the door hands out tokens: %s", got.body)
	}
	gateway.fails = tenantry.Errorf(tenantry.Shared, "no federated-token-file")
	if got := h.want(200, "GET", base, nil); got.text("needs.0.code") != "needs_own_application" {
		t.Errorf("with a credential that the door cannot open: %s", got.body)
	}
	gateway.hands, gateway.fails = false, nil
	h.want(204, "DELETE", "/v1/workers/"+worker, nil)
	if got := h.want(200, "GET", base, nil); got.field("needs") != nil {
		t.Errorf("with its worker revoked: %s", got.body)
	}
	enrol()
	h.want(201, "POST", base+"/credentials", map[string]any{"kind": "secret", "client_id": "33333333-3333-4333-8333-333333333333", "secret": "s", "purpose": "backup"})
	if got := h.want(200, "GET", base, nil); got.field("needs") != nil {
		t.Errorf("with an application of its own: %s", got.body)
	}
}
