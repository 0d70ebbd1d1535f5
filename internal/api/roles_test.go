package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// What each role may call, written out: roles.go derives it, and must agree.
var (
	looks = strings.Fields(`whoami list-tenants get-tenant get-tenant-overview get-budget get-ledger list-resources get-resource
		preview-policy list-policies get-policy forecast-policy get-planning get-licensing list-seats fetch-seats get-coverage fetch-coverage get-protection preview-retention propose-retention list-holds list-runs get-run find-runs watch-run list-failures list-tasks get-task
		list-snapshots list-alarms-of-tenant list-workloads get-registration
		list-notices get-policy-notices list-mails`)
	opens    = strings.Fields("compare-snapshots browse-items get-item search-snapshot search-tenant start-search get-search list-found start-restore preview-restore start-export get-export fetch-export")
	steers   = strings.Fields("cancel-run retry-run")
	operates = strings.Fields("start-run start-verification start-repair refresh-tenant start-consent add-policy change-policy activate-policy pause-policy delete-policy assign-seats revoke-seats")
	onboards = strings.Fields("enable-workload disable-workload probe-tenant set-notices set-policy-notices remove-notices test-notices send-report add-credential list-credentials remove-credential rotate-credential start-registration cancel-registration")
	watches  = strings.Fields("get-fleet list-backlogs list-alarms list-tenant-alarms list-processes list-pools list-regions list-clouds list-enrolments list-workers count-seats fetch-seat-counts get-fleet-coverage fetch-fleet-coverage get-fleet-notices list-fleet-mails")
	audits   = strings.Fields("list-audit list-fleet-audit")
	grants   = strings.Fields("add-token list-tokens revoke-token")
	manages  = strings.Fields(`add-tenant change-tenant set-planning set-licensing set-retention set-hold lift-hold start-prune
		acknowledge-mass-change start-collection add-pool remove-pool set-pool add-enrolment revoke-enrolment revoke-worker add-fleet-credential list-fleet-credentials remove-fleet-credential set-fleet-notices test-fleet-notices send-fleet-report`)

	mayCall = map[api.Role][]string{
		api.ProviderAdmin:   slices.Concat(looks, onboards, opens, steers, operates, watches, audits, grants, manages),
		api.Operator:        slices.Concat(looks, onboards, steers, operates, watches),
		api.TenantAdmin:     slices.Concat(looks, onboards, opens, steers, operates, audits, grants),
		api.RestoreOperator: slices.Concat(looks, opens, steers),
		api.Auditor:         slices.Concat(looks, audits),
		api.ReadOnly:        looks,
	}
	// What a token of one tenant may call that names no tenant.
	ofItself = strings.Fields("whoami list-tenants add-token list-tokens revoke-token find-runs")
)

// token makes a token by way of the catalog.
func (h *house) tokenFor(role api.Role, tenant tenantry.TenantID) string {
	h.t.Helper()
	token, hash := api.NewToken()
	name := fmt.Sprintf("%s-%s", role, token.Reveal()[len(token.Reveal())-8:])
	must(h.t, h.catalog.Fleet().AddToken(h.t.Context(),
		catalog.Token{Name: name, Role: string(role), Tenant: tenant, CreatedAt: h.clock.Now()}, hash))
	return token.Reveal()
}

// as runs what f asks with another token.
func (h *house) as(token string, f func()) {
	own := h.token
	h.token = token
	defer func() { h.token = own }()
	f()
}

// The walk: every operation, as every role, of the fleet, of the tenant and of another.
func TestRoleWalk(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *api.Config) { c.Budgets = openBook(t) })
	contoso := h.addConnected("Contoso", contosoGUID)
	fabrikam := h.addConnected("Fabrikam", fabrikamGUID)
	if len(mayCall) != len(api.Roles()) {
		t.Fatalf("the walk has %d roles, the API %v", len(mayCall), api.Roles())
	}
	calls := 0
	for role, allowed := range mayCall {
		for _, home := range []tenantry.TenantID{"", contoso} {
			if (home == "" && role.Confined()) || (home != "" && role.Wide()) {
				continue
			}
			token := h.tokenFor(role, home)
			for _, op := range operations(t) {
				for _, about := range []tenantry.TenantID{contoso, fabrikam} {
					var got reply
					h.as(token, func() { got = h.call(op.method, op.filled(about), walkBody(op)) })
					calls++
					names := strings.Contains(op.path, "{tenant}")
					where := fmt.Sprintf("%s of %q: %s about %s: %d %s", role, home, op.id, about, got.status, got.body)
					unknown := got.status == http.StatusNotFound && strings.Contains(string(got.body), fmt.Sprintf(`tenant \"%s\" is unknown`, about))
					switch {
					case !slices.Contains(allowed, op.id), home != "" && !names && !slices.Contains(ofItself, op.id):
						if got.status != http.StatusForbidden || got.text("kind") != "forbidden" {
							t.Errorf("%s: want 403", where)
						}
					case home != "" && names && about != home:
						if !unknown {
							t.Errorf("%s: want 404 as if there were no such tenant", where)
						}
					case got.status == http.StatusUnauthorized || got.status == http.StatusForbidden || unknown:
						t.Errorf("%s: must be let in", where)
					}
				}
			}
		}
	}
	if calls < 500 {
		t.Fatalf("%d calls only", calls)
	}
}

// walkBody is a body for operations that have one: what is missing in it is found behind
// the gate.
func walkBody(op operation) any {
	switch op.method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return map[string]any{}
	}
	return nil
}

// A token of one tenant sees that tenant alone, also where no path names it.
func TestScopedListings(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	contoso := h.addConnected("Contoso", contosoGUID)
	h.addConnected("Fabrikam", fabrikamGUID)
	h.tokenFor(api.Auditor, "")
	h.as(h.tokenFor(api.TenantAdmin, contoso), func() {
		if r := h.want(200, "GET", "/v1/tenants", nil); r.text("items.0.id") != string(contoso) || r.field("items.1") != nil {
			t.Errorf("tenants: %s", r.body)
		}
		if r := h.want(200, "GET", "/v1/tokens", nil); r.text("items.0.role") != "tenant-admin" || r.field("items.1") != nil {
			t.Errorf("tokens: %s", r.body)
		}
		if r := h.want(200, "GET", "/v1/whoami", nil); r.text("tenant") != string(contoso) {
			t.Errorf("whoami: %s", r.body)
		}
	})
}

// A token makes none that may do more, or elsewhere, and none that makes no sense.
func TestTokensGrantNoMore(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	contoso := h.addConnected("Contoso", contosoGUID)
	fabrikam := h.addConnected("Fabrikam", fabrikamGUID)
	ask := func(status int, name string, role api.Role, tenant tenantry.TenantID) reply {
		t.Helper()
		body := map[string]any{"name": name, "role": role}
		if tenant != "" {
			body["tenant"] = tenant
		}
		return h.want(status, "POST", "/v1/tokens", body)
	}
	ask(422, "a", api.TenantAdmin, "")
	ask(422, "a", api.Operator, contoso)
	ask(422, "a b", api.Auditor, "")
	ask(422, "a", "emperor", "")
	ask(404, "a", api.Auditor, "t-none")
	admin := ask(201, "admin@contoso", api.TenantAdmin, contoso)
	ask(409, "admin@contoso", api.TenantAdmin, contoso)
	// Names of others are free, and nobody learns that they have them.
	theirs := ask(201, "admin@contoso", api.TenantAdmin, fabrikam)
	fleets := ask(201, "admin@contoso", api.Auditor, "")
	h.as(theirs.text("token"), func() {
		ask(201, "operator", api.ReadOnly, fabrikam)
		h.want(204, "DELETE", "/v1/tokens/operator", nil)
		h.want(404, "DELETE", "/v1/tokens/admin@contoso?tenant="+string(contoso), nil)
		if got := h.want(200, "GET", "/v1/whoami", nil); got.text("name") != "admin@contoso" || got.text("tenant") != string(fabrikam) {
			t.Errorf("%s", got.body)
		}
	})
	several := h.call("DELETE", "/v1/tokens/admin@contoso", nil)
	h.problemWith(several, 409, tenantry.Conflict, string(contoso), string(fabrikam), "fleet")
	if several.text("code") != "ambiguous" {
		t.Errorf("%s", several.body)
	}
	h.want(204, "DELETE", "/v1/tokens/admin@contoso?tenant=fleet", nil)
	h.as(fleets.text("token"), func() { h.want(401, "GET", "/v1/whoami", nil) })
	h.want(204, "DELETE", "/v1/tokens/admin@contoso?tenant="+string(fabrikam), nil)
	h.as(admin.text("token"), func() {
		ask(403, "a", api.ProviderAdmin, "")
		ask(403, "a", api.Operator, "")
		ask(404, "a", api.ReadOnly, fabrikam)
		if r := ask(201, "helpdesk@contoso", api.RestoreOperator, ""); r.text("tenant") != string(contoso) || r.text("created_by") != string(contoso)+"/admin@contoso" {
			t.Errorf("not in the maker's tenant: %s", r.body)
		}
		h.want(404, "DELETE", "/v1/tokens/operator", nil)
	})
	h.want(204, "DELETE", "/v1/tokens/admin@contoso", nil)
	h.as(admin.text("token"), func() { h.want(401, "GET", "/v1/whoami", nil) })
}

func TestTokensExpire(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	made := h.want(201, "POST", "/v1/tokens", map[string]any{"name": "guest", "role": "read-only", "days": 2})
	h.as(made.text("token"), func() {
		h.want(200, "GET", "/v1/tenants", nil)
		h.clock.Add(48 * time.Hour)
		h.want(401, "GET", "/v1/tenants", nil)
	})
}

// The queues show all tenants' tasks: they are the provider's.
func TestQueuesAreTheProviders(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	contoso := h.addConnected("Contoso", contosoGUID)
	for role := range mayCall {
		home := tenantry.TenantID("")
		if role.Confined() {
			home = contoso
		}
		want := http.StatusForbidden
		if role.Wide() {
			want = http.StatusOK
		}
		h.as(h.tokenFor(role, home), func() {
			if got := h.call("GET", "/queues/api/queues", nil); got.status != want {
				t.Errorf("%s: %d, want %d", role, got.status, want)
			}
		})
	}
}

// Looking into content leaves a trace that names who, what and from where.
func TestLooksAreAudited(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	h.seal(id)
	h.browser.items = []api.BrowseItem{{ID: "inbox", Kind: "folder", Name: "Inbox"}}
	base := "/v1/tenants/" + string(id)
	h.as(h.tokenFor(api.RestoreOperator, id), func() {
		h.want(200, "GET", base+"/resources/"+string(ada)+"/workloads/mailbox/snapshots/7/items?parent=inbox", nil)
	})
	r := h.want(200, "GET", base+"/audit?limit=1", nil)
	if r.text("items.0.action") != "browse-items" || !strings.HasPrefix(r.text("items.0.actor"), "restore-operator-") || r.text("items.0.actor_tenant") != string(id) ||
		r.text("items.0.source") != "127.0.0.1" || !strings.Contains(r.text("items.0.detail"), `"snapshot":7,"item":"inbox"`) {
		t.Errorf("audit: %s", r.body)
	}
}
