package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Tenant is a customer's Microsoft 365 organisation.
type Tenant struct {
	ID          tenantry.TenantID    `json:"id"`
	Name        string               `json:"name"`
	Directory   string               `json:"directory" doc:"The Microsoft tenant that is expected to consent: GUID or domain"`
	DirectoryID string               `json:"directory_id,omitempty" doc:"The Microsoft tenant that is proved to have consented"`
	State       tenantry.TenantState `json:"state" enum:"pending,connected,refused,disconnected"`
	Reason      string               `json:"reason,omitempty" doc:"Why it is in this state, for a person"`
	Cloud       string               `json:"cloud" doc:"Microsoft's cloud in which it lives" example:"global"`
	Region      string               `json:"region" doc:"Data region: in whose bucket its backups lie" example:"default"`
	Pool        string               `json:"pool" doc:"Pool of workers that does its work, one of its region"`
	Weight      int                  `json:"weight" doc:"Service level: its share when the fleet is busy"`
	SyncHours   int                  `json:"sync_hours" doc:"Hours between two syncs of its directory"`
	Application string               `json:"application_name,omitempty" doc:"What an application is called that is registered for it; absent: the fleet's name for it"`
	Seats       catalog.SeatMode     `json:"seats" enum:"automatic,manual" doc:"How its seats are given: see its licensing"`
	Users       int64                `json:"users" doc:"Users in the directory, as the last sync saw it"`
	Licences    int64                `json:"licences"`
	AddedAt     *time.Time           `json:"added_at,omitempty"`
	StateAt     *time.Time           `json:"state_at,omitempty" doc:"Since when it is in this state"`
	LastSyncAt  *time.Time           `json:"last_sync_at,omitempty"`
	NextSyncAt  *time.Time           `json:"next_sync_at,omitempty"`
	// What somebody has to see to, and counting, read more than a row, so listings go without.
	Needs     []Need          `json:"needs,omitempty" nullable:"false" doc:"On a single tenant: what somebody has to see to before the workers of its pool can do its work"`
	Resources *ResourceCounts `json:"resources,omitempty" doc:"On a single tenant: what it has"`
}

// Need is something that a tenant lacks.
type Need struct {
	Code   string `json:"code" enum:"needs_own_application" doc:"needs_own_application: its pool has workers outside of the provider's network, which get tokens of the provider's application from the API, and the API has no credential of it"`
	Remedy string `json:"remedy" doc:"What to do about it, for a person"`
}

// needs says what a tenant lacks where it is.
func (s *service) needs(ctx context.Context, t *catalog.Tenant, row catalog.TenantRow) ([]Need, error) {
	outside, err := s.Catalog.Fleet().OutsideWorkers(ctx, row.Pool)
	if err != nil || outside == 0 {
		return nil, err
	}
	credentials, err := t.Credentials(ctx)
	if err != nil || slices.ContainsFunc(credentials, func(c catalog.Credential) bool { return c.Purpose == tenantry.ToBackup }) {
		return nil, err
	}
	if s.Gateway != nil {
		// One that cannot be opened here is as good as none, and must not keep anybody from looking at the tenant.
		if hands, err := s.Gateway.HandsTokens(ctx, row.Cloud); err == nil && hands {
			return nil, nil
		}
	}
	return []Need{{"needs_own_application", fmt.Sprintf("workers of the pool %s stand outside of the provider's network and get tokens of its application from the API, which has no credential of it that it can open: "+
		"give the API one (tenantry credentials add fleet), or the tenant an application of its own (tenantry tenants register %s, or tenantry credentials add %s), "+
		"or move it to another pool (tenantry pools assign)", row.Pool, row.ID, row.ID)}}, nil
}

func (s *service) tenantOf(r catalog.TenantRow) Tenant {
	return Tenant{
		ID: r.ID, Name: r.Name, Directory: r.Directory, DirectoryID: r.DirectoryID,
		State: r.State, Reason: r.Reason, Cloud: cmp.Or(r.Cloud, s.Places.Cloud), Region: r.Region, Pool: r.Pool, Weight: r.Weight,
		SyncHours: int(cmp.Or(r.SyncEvery, catalog.DefaultSyncEvery) / time.Hour), Application: r.ApplicationName, Seats: r.Seats, Users: r.Users, Licences: r.Licences,
		AddedAt: when(r.AddedAt), StateAt: when(r.StateAt), LastSyncAt: when(r.LastSyncAt), NextSyncAt: when(r.NextSyncAt),
	}
}

// NewTenant is what adds a tenant.
type NewTenant struct {
	Name      string `json:"name" minLength:"1" maxLength:"200" doc:"What people call the customer"`
	Directory string `json:"directory" minLength:"1" maxLength:"253" doc:"The Microsoft tenant that is expected to consent: its GUID, or one of its domains" example:"contoso.com"`
	Weight    int    `json:"weight,omitempty" minimum:"1" maximum:"100" default:"10" doc:"Service level: its share when the fleet is busy"`

	ApplicationName string           `json:"application_name,omitempty" maxLength:"120" doc:"What an application is called that is registered in its Microsoft tenant; absent: the fleet's name for it" example:"Contoso backup"`
	SyncHours       int              `json:"sync_hours,omitempty" minimum:"1" maximum:"168" default:"24" doc:"Hours between two syncs of its directory"`
	Cloud           string           `json:"cloud,omitempty" enum:"global,gcchigh,dod,china" doc:"Microsoft's cloud in which it lives, one in which the fleet has an application (list-clouds); absent: the fleet's own"`
	Region          string           `json:"region,omitempty" pattern:"^[a-z][a-z0-9-]{0,39}$" doc:"Data region: in whose bucket its backups lie (list-regions); absent: the fleet's default. It cannot be changed once there are any" example:"default"`
	Pool            string           `json:"pool,omitempty" pattern:"^[a-z][a-z0-9-]{0,39}$" doc:"Whose workers do its work: a pool of its region; absent: that of the region, main in the default one" example:"main"`
	Seats           catalog.SeatMode `json:"seats,omitempty" enum:"automatic,manual" default:"automatic" doc:"automatic: whoever is to be protected and needs a seat gets one; manual: those alone are protected who were given one"`
}

// TenantChange is what can be changed of a tenant. What is absent stays.
type TenantChange struct {
	Name            *string           `json:"name,omitempty" minLength:"1" maxLength:"200" example:"Contoso Ltd" doc:"What people call the customer"`
	Weight          *int              `json:"weight,omitempty" minimum:"1" maximum:"100" doc:"Service level: its share when the fleet is busy. A tenant of 20 gets twice the tasks of one of 10"`
	ApplicationName *string           `json:"application_name,omitempty" maxLength:"120" doc:"What an application is called that is registered in its Microsoft tenant from now on; empty: the fleet's name for it"`
	SyncHours       *int              `json:"sync_hours,omitempty" minimum:"1" maximum:"168" doc:"Hours between two syncs of its directory; the next one is planned anew"`
	Cloud           *string           `json:"cloud,omitempty" enum:"global,gcchigh,dod,china" doc:"Microsoft's cloud in which it lives; only before its consent was proved"`
	Region          *string           `json:"region,omitempty" pattern:"^[a-z][a-z0-9-]{0,39}$" doc:"Data region; only while nothing of it is in the other one: no backups, no tasks under way, no credentials of its own. Its pool becomes that of the region, unless one is given"`
	Pool            *string           `json:"pool,omitempty" pattern:"^[a-z][a-z0-9-]{0,39}$" doc:"Whose workers do its work: main, or a pool that was added. What waits is done there, what runs ends where it is"`
	Seats           *catalog.SeatMode `json:"seats,omitempty" enum:"automatic,manual" doc:"How its seats are given. Changed to manual, those who have a seat keep it"`
}

// change is the catalog's words for it.
func (c TenantChange) change(places Places) (catalog.TenantChange, error) {
	out := catalog.TenantChange{Weight: c.Weight, Pool: c.Pool, Seats: c.Seats}
	var wrong complaints
	for _, field := range []struct {
		from  *string
		to    **string
		check func(string) (string, error)
	}{
		{c.Name, &out.Name, givenName}, {c.ApplicationName, &out.ApplicationName, nameOfApplication},
		{c.Region, &out.Region, places.region}, {c.Cloud, &out.Cloud, places.cloud},
	} {
		if field.from != nil {
			checked, err := field.check(*field.from)
			wrong.add(err)
			*field.to = &checked
		}
	}
	if c.SyncHours != nil {
		out.SyncEvery = new(hours(*c.SyncHours))
	}
	return out, wrong.err()
}

// value is what a pointer points at, "" for none.
func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func hours(n int) time.Duration { return time.Duration(n) * time.Hour }

// givenName is a name that people give to a tenant or a policy: it stands in tables, mails and their subjects.
func givenName(given string) (string, error) {
	name := strings.TrimSpace(given)
	if name == "" || strings.ContainsFunc(name, unicode.IsControl) {
		return "", invalid("body.name", given, "must be a name without control characters")
	}
	return name, nil
}

func nameOfApplication(given string) (string, error) {
	name := strings.TrimSpace(given)
	if strings.ContainsFunc(name, unicode.IsControl) {
		return "", invalid("body.application_name", given, "must be a name without control characters")
	}
	return name, nil
}

type changeTenantInput struct {
	TenantPath
	IfMatch
	Body TenantChange
}

func (in *changeTenantInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Body }

type addTenantInput struct{ Body NewTenant }

func (in *addTenantInput) audit() (tenantry.TenantID, any) { return "", in.Body }

// AuditEntry is one thing that somebody asked for.
type AuditEntry struct {
	At         *time.Time        `json:"at,omitempty"`
	Actor      string            `json:"actor" doc:"Name of the token, or who else it was"`
	Of         tenantry.TenantID `json:"actor_tenant,omitempty" doc:"Whose token it was: a tenant's; absent: the provider's"`
	Tenant     tenantry.TenantID `json:"tenant,omitempty"`
	TenantName string            `json:"tenant_name,omitempty" doc:"What people call the tenant"`
	Source     string            `json:"source,omitempty" doc:"Address that the request came from; behind a proxy the proxy's"`
	Action     string            `json:"action" doc:"The operation; with .failed behind it when it failed" example:"start-run"`
	Detail     string            `json:"detail,omitempty" doc:"What was asked for, as JSON; cut at 2000 bytes"`
}

func auditOf(e catalog.AuditEntry) AuditEntry {
	of, actor := catalog.SplitKey(e.Actor)
	return AuditEntry{At: when(e.At), Actor: actor, Of: of, Tenant: e.Tenant, Source: e.Source, Action: e.Action, Detail: e.Detail}
}

type listAuditInput struct {
	TenantPath
	PageQuery
}

type tenantInput struct{ TenantPath }

type refreshInput struct{ TenantPath }

func (in *refreshInput) audit() (tenantry.TenantID, any) { return in.Tenant, nil }

func (s *service) tenantRoutes() {
	const tag, one = "tenants", "/v1/tenants/{tenant}"
	write(s, post(http.StatusCreated, "add-tenant", tag, "/v1/tenants", "Add a tenant"), s.addTenant)
	read(s, get("list-tenants", tag, "/v1/tenants", "List tenants"), s.listTenants)
	read(s, get("get-tenant", tag, one, "Show a tenant"), s.getTenant)
	write(s, patch("change-tenant", tag, one, "Change a tenant's settings: those that are given"), s.changeTenant)
	write(s, post(http.StatusOK, "start-consent", tag, one+"/consent", "Ask for a one-time URL where an administrator of the tenant consents"), s.startConsent)
	read(s, get("list-audit", tag, one+"/audit", "List what was asked for about a tenant, newest first"), s.listAudit)
	write(s, post(http.StatusCreated, "refresh-tenant", tag, one+"/refresh", "Read users, groups and sites of the tenant now"), s.refreshTenant)
}

func (s *service) addTenant(ctx context.Context, in *addTenantInput) (*created[Tenant], error) {
	row, err := s.newTenantRow(in.Body)
	if err != nil {
		return nil, err
	}
	if err := s.Catalog.Fleet().AddTenant(ctx, row); err != nil {
		err = s.Places.refused(err, row.Region, row.Pool, in.Body.Pool != "")
		return nil, taken(err, "body.directory", row.Directory, "a tenant with this directory is there already")
	}
	t, row, err := s.tenant(ctx, row.ID)
	if err != nil {
		return nil, err
	}
	if err := t.FollowZone(ctx, s.Places.zone(row.Region), s.Now()); err != nil {
		return nil, err
	}
	tenant := s.tenantOf(row)
	if tenant.Needs, err = s.needs(ctx, t, row); err != nil {
		return nil, err
	}
	return &created[Tenant]{"/v1/tenants/" + string(row.ID), tenant}, nil
}

func (s *service) newTenantRow(n NewTenant) (catalog.TenantRow, error) {
	now := s.Now()
	var wrong complaints
	name, err := givenName(n.Name)
	wrong.add(err)
	application, err := nameOfApplication(n.ApplicationName)
	wrong.add(err)
	directory := strings.ToLower(strings.TrimSpace(n.Directory))
	if !guidPattern.MatchString(directory) && !domainPattern.MatchString(directory) {
		wrong.add(invalid("body.directory", n.Directory, "must be the GUID or a domain of a Microsoft tenant"))
	}
	region, err := s.Places.region(n.Region)
	wrong.add(err)
	cloud, err := s.Places.cloud(n.Cloud)
	wrong.add(err)
	if err := wrong.err(); err != nil {
		return catalog.TenantRow{}, err
	}
	return catalog.TenantRow{
		ID: tenantry.NewTenantID(), Name: name, Directory: directory, State: tenantry.TenantPending,
		Weight: n.Weight, AddedAt: now, StateAt: now,
		ApplicationName: application, SyncEvery: hours(n.SyncHours), Seats: n.Seats,
		Cloud: cloud, Region: region, Pool: cmp.Or(n.Pool, s.Places.Pools[region]),
	}, nil
}

func (s *service) listTenants(ctx context.Context, in *PageQuery) (*body[Page[Tenant]], error) {
	if own := callerOf(ctx).tenant; own != "" {
		_, row, err := s.tenant(ctx, own)
		if err != nil {
			return nil, err
		}
		return paged([]catalog.TenantRow{row}, in.Limit, s.tenantOf, nil), nil
	}
	rows, err := s.Catalog.Fleet().Tenants(ctx, tenantry.TenantID(in.After), in.Limit+1)
	if err != nil {
		return nil, err
	}
	return paged(rows, in.Limit, s.tenantOf, func(r catalog.TenantRow) string { return string(r.ID) }), nil
}

// tenantSettings are what people can change of a tenant; the rest the fleet finds out.
func tenantSettings(r catalog.TenantRow) any {
	return []any{r.Name, r.Weight, r.Cloud, r.Region, r.Pool, r.ApplicationName, r.SyncEvery, r.Seats}
}

// settingsOf reads tenantSettings.
func settingsOf(t *catalog.Tenant) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) {
		row, err := t.Get(ctx)
		return tenantSettings(row), err
	}
}

func (s *service) getTenant(ctx context.Context, in *tenantInput) (*versioned[Tenant], error) {
	t, row, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	counts, err := t.ResourceCounts(ctx)
	if err != nil {
		return nil, err
	}
	tenant := s.tenantOf(row)
	if tenant.Needs, err = s.needs(ctx, t, row); err != nil {
		return nil, err
	}
	tenant.Resources = &ResourceCounts{
		Active: counts[tenantry.Active], Inactive: counts[tenantry.Inactive], Gone: counts[tenantry.Gone],
	}
	return &versioned[Tenant]{etagOf(tenantSettings(row)), tenant}, nil
}

func (s *service) changeTenant(ctx context.Context, in *changeTenantInput) (*versioned[Tenant], error) {
	t, row, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	change, err := in.Body.change(s.Places)
	if err != nil {
		return nil, err
	}
	if cmp.Or(row.Cloud, s.Places.Cloud) == value(change.Cloud) {
		change.Cloud = nil
	}
	s.Places.setPlace(&change, row)
	err = s.change(ctx, t, in.IfMatch, settingsOf(t),
		func(ctx context.Context) error {
			if err := s.Catalog.Fleet().ChangeTenant(ctx, in.Tenant, change, s.Now()); err != nil || change.Region == nil {
				return err
			}
			return t.FollowZone(ctx, s.Places.zone(*change.Region), s.Now())
		})
	if err != nil {
		return nil, s.Places.refused(err, value(change.Region), value(change.Pool), in.Body.Pool != nil || change.Region == nil)
	}
	s.wake(ctx) // a sync may be due sooner, and seats may let more be backed up
	return s.getTenant(ctx, &tenantInput{in.TenantPath})
}

func (s *service) refreshTenant(ctx context.Context, in *refreshInput) (*created[Run], error) {
	t, err := s.connected(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	return s.start(ctx, t, tenantry.Sync, "", []catalog.NewTask{{Action: tenantry.Sync}})
}

func (s *service) listAudit(ctx context.Context, in *listAuditInput) (*body[Page[AuditEntry]], error) {
	before, err := below(in.After)
	if err != nil {
		return nil, err
	}
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	rows, err := t.AuditTrail(ctx, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return paged(rows, in.Limit, auditOf, func(e catalog.AuditEntry) string { return strconv.FormatInt(e.ID, 10) }), nil
}
