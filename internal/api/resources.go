package api

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// skipPages bounds how many pages of gone resources one request looks past.
const skipPages = 10

// Resource is one protected thing of a tenant.
type Resource struct {
	ID          tenantry.ResourceID   `json:"id"`
	Kind        tenantry.ResourceKind `json:"kind" enum:"user,group,site"`
	ObjectID    string                `json:"object_id" doc:"Microsoft's ID of it"`
	Name        string                `json:"name"`
	Address     string                `json:"address" doc:"User principal name, mail address or web address"`
	MailboxKind string                `json:"mailbox_kind,omitempty" doc:"user, shared, room, equipment; absent while unknown"`
	Subkind     tenantry.Subkind      `json:"subkind,omitempty" doc:"What kind of user, group or site, as far as Microsoft tells. Users by their mailbox: user, linked, shared, room, equipment, others; groups: microsoft365, team, security, mail_security, distribution; sites: root, group_site, team_site, subsite, and site for all others (v1.0 of Graph does not tell communication sites, hubs and those of channels apart); unknown"`
	Dynamic     bool                  `json:"dynamic_members,omitempty" doc:"Of a group: a rule says who is in it"`
	Site        tenantry.ResourceID   `json:"site,omitempty" doc:"Of a Microsoft 365 group: its site"`
	Licensed    bool                  `json:"licensed"`
	State       tenantry.LifeState    `json:"state" enum:"active,inactive,gone" doc:"inactive: deleted in Microsoft 365, not backed up; gone: no longer readable there, its backups stay"`
	StateAt     *time.Time            `json:"state_at,omitempty"`
	Workloads   []tenantry.Workload   `json:"workloads" nullable:"false" doc:"What it can have"`
	Standing    catalog.Standing      `json:"standing,omitempty" doc:"covered, or the reason why it is not protected: see its protection; absent unless it is active"`
}

func resourceOf(r catalog.Resource) Resource {
	return Resource{
		ID: r.ID, Kind: r.Kind, ObjectID: r.ObjectID, Name: r.Name, Address: r.Address,
		MailboxKind: r.MailboxKind, Subkind: r.Subkind, Dynamic: r.Dynamic, Site: r.Site, Licensed: r.Licensed, State: r.State, StateAt: when(r.StateAt),
		Workloads: append([]tenantry.Workload{}, r.Workloads...), Standing: r.Standing,
	}
}

// ResourceCounts is how many resources of a tenant are in which state.
type ResourceCounts struct {
	Active   int64 `json:"active"`
	Inactive int64 `json:"inactive"`
	Gone     int64 `json:"gone"`
}

type listResourcesInput struct {
	TenantPath
	PageQuery
	Kind     tenantry.ResourceKind `query:"kind" enum:"user,group,site" doc:"Only this kind"`
	Subkind  tenantry.Subkind      `query:"subkind" enum:"user,linked,shared,room,equipment,others,microsoft365,team,security,mail_security,distribution,root,group_site,team_site,subsite,site,unknown" doc:"Only this kind of user, group or site"`
	State    tenantry.LifeState    `query:"state" enum:"active,inactive,gone" doc:"Only this state; without it all but the gone ones"`
	Named    string                `query:"named" maxLength:"512" doc:"Only those with this address or name, whatever its case"`
	Standing catalog.Standing      `query:"standing" enum:"covered,no_seat,quota,awaits_hour,came_later,draft,other_workloads,excluded,no_policy,not_enabled,nothing" doc:"Only those that stand so"`
}

type resourceInput struct{ ResourcePath }

func (s *service) resourceRoutes() {
	const tag, all = "resources", "/v1/tenants/{tenant}/resources"
	read(s, get("list-resources", tag, all, "List the resources of a tenant"), s.listResources)
	read(s, get("get-resource", tag, all+"/{resource}", "Show a resource"), s.getResource)
}

func (s *service) listResources(ctx context.Context, in *listResourcesInput) (*body[Page[Resource]], error) {
	filter := catalog.ResourceFilter{Kind: in.Kind, State: in.State, Standing: in.Standing, Subkind: in.Subkind, Named: in.Named, After: tenantry.ResourceID(in.After), Limit: in.Limit + 1}
	rows, next, err := listed(ctx, s.Catalog.Tenant(in.Tenant), filter, in.Limit)
	if err == nil && len(rows) == 0 { // none has none, too: is there such a tenant?
		_, _, err = s.tenant(ctx, in.Tenant)
	}
	if err != nil {
		return nil, err
	}
	page := paged(rows, in.Limit, resourceOf, func(r catalog.Resource) string { return string(r.ID) })
	if page.Body.Next == "" {
		page.Body.Next = string(next)
	}
	return page, nil
}

// listed reads until more than limit resources are found that belong in the list:
// without a state asked for, gone ones do not. Where too many of those lie in a
// row the page ends early, with the place to go on.
func listed(ctx context.Context, t *catalog.Tenant, f catalog.ResourceFilter, limit int) (rows []catalog.Resource, next tenantry.ResourceID, err error) {
	for range skipPages {
		found, err := t.Resources(ctx, f)
		if err != nil {
			return nil, "", err
		}
		for _, r := range found {
			if f.State != "" || r.State != tenantry.Gone {
				rows = append(rows, r)
			}
		}
		if len(found) < f.Limit || len(rows) > limit {
			return rows, "", nil
		}
		f.After = found[len(found)-1].ID
	}
	return rows, f.After, nil
}

func (s *service) getResource(ctx context.Context, in *resourceInput) (*body[Resource], error) {
	_, r, err := s.resource(ctx, in.ResourcePath)
	if err != nil {
		return nil, err
	}
	return &body[Resource]{resourceOf(r)}, nil
}

// resource is the gate of operations on one resource of one tenant.
func (s *service) resource(ctx context.Context, p ResourcePath) (*catalog.Tenant, catalog.Resource, error) {
	t, _, err := s.tenant(ctx, p.Tenant)
	if err != nil {
		return nil, catalog.Resource{}, err
	}
	r, err := resourceIn(ctx, t, p.Resource)
	return t, r, err
}

func resourceIn(ctx context.Context, t *catalog.Tenant, id tenantry.ResourceID) (catalog.Resource, error) {
	r, err := t.Resource(ctx, id)
	if tenantry.KindOf(err) == tenantry.NotFound {
		return r, tenantry.Errorf(tenantry.NotFound, "the tenant has no resource %q", id)
	}
	return r, err
}
