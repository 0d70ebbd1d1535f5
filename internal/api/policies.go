package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Policy is a protection plan of a tenant.
type Policy struct {
	ID            tenantry.PolicyID       `json:"id"`
	Name          string                  `json:"name"`
	Kinds         []tenantry.ResourceKind `json:"kinds" nullable:"false" doc:"All resources of these kinds, also those to come"`
	Workloads     []tenantry.Workload     `json:"workloads" nullable:"false"`
	At            string                  `json:"at" doc:"Local time of day, HH:MM, at which backups begin to start" example:"01:30"`
	WindowMinutes int                     `json:"window_minutes" doc:"Starts are spread over so many minutes"`
	TimeZone      string                  `json:"time_zone" doc:"IANA name" example:"Europe/Vienna"`
	CreatedAt     *time.Time              `json:"created_at,omitempty"`
	Options       tenantry.BackupOptions  `json:"options" doc:"What its backups save besides the usual"`
	Retention     tenantry.Retention      `json:"retention" doc:"Which snapshots are kept; without rules all"`
	// Telling reads more than a row, so listings go without.
	Feasibility *Feasibility `json:"feasibility,omitempty" doc:"On a single policy: whether Microsoft's limits allow it. It warns, and refuses nothing"`
}

func policyOf(p catalog.Policy) Policy {
	return Policy{
		ID: p.ID, Name: p.Name, Kinds: append([]tenantry.ResourceKind{}, p.Kinds...),
		Workloads: append([]tenantry.Workload{}, p.Workloads...),
		At:        fmt.Sprintf("%02d:%02d", p.At/60, p.At%60), WindowMinutes: p.Window,
		TimeZone: p.TimeZone, CreatedAt: when(p.CreatedAt), Options: p.Options, Retention: p.Retention,
	}
}

// NewPolicy is what adds a policy.
type NewPolicy struct {
	Name          string                  `json:"name" minLength:"1" maxLength:"200"`
	Kinds         []tenantry.ResourceKind `json:"kinds,omitempty" nullable:"false" maxItems:"3" enum:"user,group,site" uniqueItems:"true" doc:"All resources of these kinds; without it all users"`
	Workloads     []tenantry.Workload     `json:"workloads,omitempty" nullable:"false" maxItems:"5" enum:"mailbox,drive,site,group,team" uniqueItems:"true" doc:"Without it all that the kinds have"`
	At            string                  `json:"at" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" patternDescription:"time of day, HH:MM" doc:"Local time of day at which backups begin to start" example:"01:30"`
	WindowMinutes int                     `json:"window_minutes,omitempty" minimum:"1" maximum:"1440" default:"240" doc:"Spread the starts over so many minutes"`
	TimeZone      string                  `json:"time_zone,omitempty" maxLength:"64" default:"UTC" doc:"IANA name" example:"Europe/Vienna"`
	Versions      int                     `json:"versions,omitempty" minimum:"0" maximum:"500" doc:"Save so many old versions of each file"`
	MIME          bool                    `json:"mime,omitempty" doc:"Keep each mail as MIME, too: a request more for each. Signed and encrypted mail is kept so anyway"`
	Recoverable   bool                    `json:"recoverable,omitempty" doc:"Save what was deleted from mailboxes and can still be recovered, too"`
	Archives      bool                    `json:"archives,omitempty" doc:"Preview: look for in-place archives of mailboxes by an identifier of Microsoft Graph beta, and name them in snapshots. They cannot be saved"`
}

type addPolicyInput struct {
	TenantPath
	Body NewPolicy
}

func (in *addPolicyInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Body }

// PolicyPath names a policy of a tenant in the path.
type PolicyPath struct {
	TenantPath
	Policy tenantry.PolicyID `path:"policy" maxLength:"64" doc:"ID of the policy"`
}

type policyInput struct{ PolicyPath }

type deletePolicyInput struct{ PolicyPath }

func (in *deletePolicyInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Policy }

func (s *service) policyRoutes() {
	const tag, all = "policies", "/v1/tenants/{tenant}/policies"
	write(s, post(http.StatusCreated, "add-policy", tag, all, "Add a policy"), s.addPolicy)
	read(s, post(http.StatusOK, "preview-policy", tag, all+"/preview", "Tell whether Microsoft's limits allow a policy, without adding it"), s.previewPolicy)
	read(s, get("list-policies", tag, all, "List the policies of a tenant"), s.listPolicies)
	read(s, get("get-policy", tag, all+"/{policy}", "Show a policy"), s.getPolicy)
	write(s, remove("delete-policy", tag, all+"/{policy}", "Delete a policy; what it backed up stays"), s.deletePolicy)
}

func (s *service) addPolicy(ctx context.Context, in *addPolicyInput) (*created[Policy], error) {
	row, err := newPolicyRow(in.Body, s.Now())
	if err != nil {
		return nil, err
	}
	t, tenant, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	// Before it is added: the answer must not fail once it has been.
	feasibility, err := s.feasibility(ctx, t, tenant, row)
	if err != nil {
		return nil, err
	}
	if err := t.AddPolicy(ctx, row, s.Now()); err != nil {
		return nil, err
	}
	s.wake(ctx)
	p := policyOf(row)
	p.Feasibility = feasibility
	return &created[Policy]{fmt.Sprintf("/v1/tenants/%s/policies/%s", in.Tenant, row.ID), p}, nil
}

func newPolicyRow(n NewPolicy, now time.Time) (catalog.Policy, error) {
	name := strings.TrimSpace(n.Name)
	if name == "" {
		return catalog.Policy{}, invalid("body.name", n.Name, "must not be blank")
	}
	at, err := time.Parse("15:04", n.At)
	if err != nil {
		return catalog.Policy{}, invalid("body.at", n.At, "must be a time of day, HH:MM")
	}
	zone, err := time.LoadLocation(n.TimeZone)
	if err != nil || zone == time.Local {
		return catalog.Policy{}, invalid("body.time_zone", n.TimeZone, "must be an IANA time zone such as Europe/Vienna")
	}
	p := catalog.Policy{
		ID: tenantry.NewPolicyID(), Name: name, Kinds: n.Kinds, Workloads: n.Workloads,
		At: at.Hour()*60 + at.Minute(), Window: n.WindowMinutes, TimeZone: zone.String(), CreatedAt: now,
		Options: tenantry.BackupOptions{Versions: n.Versions, MIME: n.MIME, Recoverable: n.Recoverable, Archives: n.Archives},
	}
	if len(p.Kinds) == 0 {
		p.Kinds = []tenantry.ResourceKind{tenantry.User}
	}
	if len(p.Workloads) == 0 {
		for _, kind := range p.Kinds {
			p.Workloads = append(p.Workloads, workloadsOfKind[kind]...)
		}
	}
	return p, nil
}

// workloadsOfKind is what a policy backs up that does not say.
var workloadsOfKind = map[tenantry.ResourceKind][]tenantry.Workload{
	tenantry.User:  {tenantry.Mailbox, tenantry.Drive},
	tenantry.Group: {tenantry.GroupContent, tenantry.TeamContent},
	tenantry.Site:  {tenantry.SiteContent},
}

func (s *service) listPolicies(ctx context.Context, in *tenantInput) (*body[Page[Policy]], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	rows, err := t.Policies(ctx)
	if err != nil {
		return nil, err
	}
	return paged(rows, len(rows), policyOf, nil), nil
}

func (s *service) getPolicy(ctx context.Context, in *policyInput) (*body[Policy], error) {
	t, tenant, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	row, err := policyIn(ctx, t, in.Policy)
	if err != nil {
		return nil, err
	}
	p := policyOf(row)
	p.Feasibility, err = s.feasibility(ctx, t, tenant, row)
	return &body[Policy]{p}, err
}

func (s *service) deletePolicy(ctx context.Context, in *deletePolicyInput) (*struct{}, error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if _, err := policyIn(ctx, t, in.Policy); err != nil {
		return nil, err
	}
	return nil, t.DeletePolicy(ctx, in.Policy)
}

func policyIn(ctx context.Context, t *catalog.Tenant, id tenantry.PolicyID) (catalog.Policy, error) {
	p, err := t.Policy(ctx, id)
	if tenantry.KindOf(err) == tenantry.NotFound {
		return p, tenantry.Errorf(tenantry.NotFound, "the tenant has no policy %q", id)
	}
	return p, err
}
