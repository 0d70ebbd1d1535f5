package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Role is what the holder of a token may do.
type Role string

// The roles. Operators and provider administrators belong to the service provider and see
// every tenant; tenant administrators see theirs; the others either.
const (
	ProviderAdmin   Role = "provider-admin"
	Operator        Role = "operator"
	TenantAdmin     Role = "tenant-admin"
	RestoreOperator Role = "restore-operator"
	Auditor         Role = "auditor"
	ReadOnly        Role = "read-only"
)

// permission is a kind of operation.
type permission string

const (
	toLook    permission = "look"    // states and counts, names of resources, runs and their problems
	toRun     permission = "run"     // back up, verify, synchronise
	toSteer   permission = "steer"   // cancel and retry runs, of the kinds that one may start
	toProtect permission = "protect" // consent, policies
	toOpen    permission = "open"    // what lies in a snapshot
	toRestore permission = "restore"
	toRetain  permission = "retain" // what is kept, held and dropped
	toManage  permission = "manage" // add tenants, change their service level
	toWatch   permission = "watch"  // the fleet's own processes, alarms and queues
	toGrant   permission = "grant"  // tokens
	toAudit   permission = "audit"  // who did what
)

// roles is the one place that says who may do what.
var roles = map[Role][]permission{
	ProviderAdmin:   {toLook, toRun, toSteer, toProtect, toOpen, toRestore, toRetain, toManage, toWatch, toGrant, toAudit},
	Operator:        {toLook, toRun, toSteer, toProtect, toWatch},
	TenantAdmin:     {toLook, toRun, toSteer, toProtect, toOpen, toRestore, toGrant, toAudit},
	RestoreOperator: {toLook, toSteer, toOpen, toRestore},
	Auditor:         {toLook, toAudit},
	ReadOnly:        {toLook},
}

// needs is the permission that each operation asks for. An operation that is not here
// cannot be registered.
var needs = map[string]permission{
	"add-tenant": toManage, "change-tenant": toManage, "list-tenants": toLook, "get-tenant": toLook, "get-tenant-overview": toLook,
	"start-consent": toProtect, "refresh-tenant": toRun, "get-budget": toLook, "get-ledger": toLook,
	"list-workloads": toLook, "enable-workload": toProtect, "disable-workload": toProtect, "probe-tenant": toProtect,
	"add-credential": toProtect, "list-credentials": toProtect, "remove-credential": toProtect, "rotate-credential": toProtect,
	"start-registration": toProtect, "get-registration": toLook, "cancel-registration": toProtect,
	"add-pool": toManage, "remove-pool": toManage, "set-pool": toManage, "list-pools": toWatch, "list-regions": toWatch, "list-clouds": toWatch,
	"add-enrolment": toManage, "list-enrolments": toWatch, "revoke-enrolment": toManage, "list-workers": toWatch, "revoke-worker": toManage,
	"add-fleet-credential": toManage, "list-fleet-credentials": toManage, "remove-fleet-credential": toManage,
	"list-audit": toAudit, "list-fleet-audit": toAudit,
	"add-token": toGrant, "list-tokens": toGrant, "revoke-token": toGrant, "whoami": toLook,
	"list-resources": toLook, "get-resource": toLook,
	"add-policy": toProtect, "preview-policy": toLook, "list-policies": toLook, "get-policy": toLook, "delete-policy": toProtect,
	"forecast-policy": toLook, "change-policy": toProtect, "activate-policy": toProtect, "pause-policy": toProtect,
	"get-planning": toLook, "set-planning": toManage, "get-licensing": toLook, "set-licensing": toManage,
	"list-seats": toLook, "fetch-seats": toLook, "assign-seats": toProtect, "revoke-seats": toProtect, "count-seats": toWatch, "fetch-seat-counts": toWatch,
	"get-coverage": toLook, "fetch-coverage": toLook, "get-fleet-coverage": toWatch, "fetch-fleet-coverage": toWatch, "get-protection": toLook,
	"set-retention": toRetain, "preview-retention": toLook, "propose-retention": toLook, "list-holds": toLook, "set-hold": toRetain, "lift-hold": toRetain,
	"start-prune": toRetain, "acknowledge-mass-change": toRetain, "start-collection": toRetain,
	"start-run": toRun, "list-runs": toLook, "get-run": toLook, "find-runs": toLook, "watch-run": toLook, "list-failures": toLook, "cancel-run": toSteer, "retry-run": toSteer, "list-tasks": toLook, "get-task": toLook,
	"start-verification": toRun, "start-repair": toRun, "start-restore": toRestore, "preview-restore": toRestore,
	"list-snapshots": toLook, "browse-items": toOpen, "get-item": toOpen, "compare-snapshots": toOpen, "search-snapshot": toOpen, "search-tenant": toOpen,
	"start-search": toOpen, "get-search": toOpen, "list-found": toOpen,
	"start-export": toRestore, "get-export": toRestore, "fetch-export": toRestore,
	"list-notices": toLook, "set-notices": toProtect, "set-policy-notices": toProtect, "get-policy-notices": toLook, "remove-notices": toProtect, "test-notices": toProtect, "send-report": toProtect, "list-mails": toLook,
	"get-fleet-notices": toWatch, "set-fleet-notices": toManage, "test-fleet-notices": toManage, "send-fleet-report": toManage, "list-fleet-mails": toWatch,
	"get-fleet": toWatch, "list-backlogs": toWatch, "list-alarms": toWatch, "list-tenant-alarms": toWatch, "list-alarms-of-tenant": toLook, "list-processes": toWatch,
}

// starts is the permission that it takes to start a run of an action, and so to retry it.
// Whoever may run may cancel anything: ending a restore shows nobody's content.
var starts = map[tenantry.Action]permission{
	tenantry.Connect: toProtect, tenantry.Sync: toRun, tenantry.Backup: toRun, tenantry.Verify: toRun, tenantry.Repair: toRun,
	tenantry.Patrol: toRun, tenantry.Restore: toRestore, tenantry.Export: toRestore, tenantry.Search: toOpen, tenantry.Prune: toRetain, tenantry.Collect: toRetain,
}

// scoped are the operations over the fleet that a token of one tenant may use: they show
// it its own.
var scoped = map[string]bool{"list-tenants": true, "add-token": true, "list-tokens": true, "revoke-token": true, "whoami": true, "find-runs": true}

// Roles lists the names of the roles.
func Roles() []Role { return slices.Sorted(maps.Keys(roles)) }

// Confined reports whether a token of the role must name its tenant, and Wide whether it
// must not.
func (r Role) Confined() bool { return r == TenantAdmin }

// Wide is the opposite of Confined; roles that are neither may be both.
func (r Role) Wide() bool { return r == ProviderAdmin || r == Operator }

// caller is who sent a request.
type caller struct {
	name   string
	role   Role
	tenant tenantry.TenantID // "" is the whole fleet
	source string            // network address
}

// key names the caller in the whole fleet: two tenants' tokens may have one name.
func (c caller) key() string { return catalog.Token{Name: c.name, Tenant: c.tenant}.Key() }

func (c caller) may(p permission) bool { return slices.Contains(roles[c.role], p) }

type callerKey struct{}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// authorize says whether the caller may call an operation about a tenant, "" for one that
// is about none. Another's tenant is as unknown as one that does not exist.
func authorize(c caller, operation string, tenant tenantry.TenantID) error {
	if p := needs[operation]; !c.may(p) {
		return tenantry.Errorf(tenantry.Forbidden, "a token with the role %s may not %s: it takes the permission to %s", c.role, operation, p)
	}
	switch {
	case c.tenant == "" || c.tenant == tenant || (tenant == "" && scoped[operation]):
		return nil
	case tenant == "":
		return tenantry.Errorf(tenantry.Forbidden, "a token of one tenant may not %s: it is about the whole fleet", operation)
	}
	return unknownTenant(tenant)
}

func unknownTenant(id tenantry.TenantID) error {
	return tenantry.Errorf(tenantry.NotFound, "tenant %q is unknown", id)
}

// authenticate is huma's middleware in front of every operation: who is it, and may they?
func (s *service) authenticate(ctx huma.Context, next func(huma.Context)) {
	operation := ctx.Operation().OperationID
	c, err := s.admit(ctx, operation)
	if err == nil {
		ctx, err = withKey(huma.WithValue(ctx, callerKey{}, c))
	}
	if err == nil {
		s.validating(ctx, next)
		return
	}
	s.answer(ctx, s.problem(operation, err))
}

// answer writes a problem.
func (s *service) answer(ctx huma.Context, p *Problem) {
	ctx.SetHeader("Content-Type", p.ContentType(""))
	for name, values := range p.GetHeaders() {
		ctx.SetHeader(name, values[0])
	}
	if p.Kind == tenantry.Unauthorized {
		ctx.SetHeader("WWW-Authenticate", challenge)
	}
	ctx.SetStatus(p.Status)
	_ = s.api.Marshal(ctx.BodyWriter(), "application/json", p) // the caller is gone: nobody to tell
}

type validatedKey struct{}

// validating calls next. huma's validation panics at a list or an object inside a list of
// words (it hashes and compares what cannot be): that is the caller's mistake.
func (s *service) validating(ctx huma.Context, next func(huma.Context)) {
	done := false
	defer func() {
		if done {
			return // a panic of a handler is ours
		}
		if cause := recover(); cause != nil {
			if _, ok := cause.(runtime.Error); !ok {
				panic(cause)
			}
			s.answer(ctx, invalid("body", nil, "a list holds a list or an object where a word must be"))
		}
	}()
	next(huma.WithValue(ctx, validatedKey{}, &done))
}

// validated says that an operation's input is valid, and its handler begins.
func validated(ctx context.Context) {
	if done, ok := ctx.Value(validatedKey{}).(*bool); ok {
		*done = true
	}
}

// admit returns the caller of an operation, if it may call it and has not called too often.
func (s *service) admit(ctx huma.Context, operation string) (caller, error) {
	source := remoteAddress(ctx.RemoteAddr())
	c, err := s.bearer(ctx.Context(), ctx.Header("Authorization"))
	if tenantry.KindOf(err) == tenantry.Unauthorized {
		if wait := s.strangers.take(source, s.Now()); wait > 0 {
			return c, tooMany(wait)
		}
	}
	if err != nil {
		return c, err
	}
	c.source = source
	if wait := s.callers.take(c.key(), s.Now()); wait > 0 {
		return c, tooMany(wait)
	}
	return c, authorize(c, operation, tenantry.TenantID(ctx.Param("tenant")))
}

// remoteAddress drops the port. Behind a proxy it is the proxy's: a header could be
// written by anybody.
func remoteAddress(hostPort string) string {
	host, _, found := strings.Cut(hostPort, "]")
	if found {
		return strings.TrimPrefix(host, "[")
	}
	host, _, _ = strings.Cut(hostPort, ":")
	return host
}

// operatorOf authenticates a request for /queues by header or cookie: it shows every
// tenant's tasks and stops queues, so that it is for the provider alone.
func (s *service) operatorOf(r *http.Request) (caller, error) {
	var (
		c   caller
		err error
	)
	if header := r.Header.Get("Authorization"); header != "" {
		c, err = s.bearer(r.Context(), header)
	} else if cookie, missing := r.Cookie(sessionCookie); missing != nil {
		err = unauthorized()
	} else {
		c, err = s.callerWith(r.Context(), cookie.Value)
	}
	if err != nil {
		return caller{}, err
	}
	c.source = remoteAddress(r.RemoteAddr)
	if c.tenant != "" || !c.may(toWatch) {
		return caller{}, tenantry.Errorf(tenantry.Forbidden, "a token with the role %s may not see the queues", c.role)
	}
	return c, nil
}

// checkRoles fails when an operation asks for no permission or a name is of none.
func checkRoles(operations map[string]bool) error {
	for id := range operations {
		if needs[id] == "" {
			return fmt.Errorf("api: operation %s asks for no permission: see roles.go", id)
		}
	}
	for id := range needs {
		if !operations[id] {
			return fmt.Errorf("api: roles.go names %s, which is no operation", id)
		}
	}
	return nil
}
