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
	ID               tenantry.PolicyID       `json:"id"`
	Name             string                  `json:"name"`
	State            catalog.PolicyState     `json:"state" enum:"draft,active,paused" doc:"draft: protects only whom it was activated for by name; paused: starts nothing, and goes on holding whom it protects"`
	Kinds            []tenantry.ResourceKind `json:"kinds" nullable:"false" doc:"All resources of these kinds"`
	Workloads        []tenantry.Workload     `json:"workloads" nullable:"false"`
	Enrol            catalog.EnrolMode       `json:"enrol" enum:"automatic,daily,present" doc:"automatic: takes in later resources with the sync that finds them; daily: at a local time; present: takes in those who are there when it is activated, once"`
	EnrolAt          string                  `json:"enrol_at,omitempty" doc:"daily: local time of day at which it takes in newcomers" example:"20:00"`
	Schedule         Schedule                `json:"schedule"`
	TimeZoneOf       string                  `json:"time_zone_of,omitempty" enum:"region,tenant,policy" doc:"Whose time zone its schedule has: with off-peak that of the tenant or, if that follows it, of its data region, whatever it becomes; else its own, given or taken from the tenant when it was added"`
	ObjectiveMinutes int64                   `json:"objective_minutes" doc:"Up to this age the newest backup of a workload counts as fresh"`
	CreatedAt        *time.Time              `json:"created_at,omitempty"`
	ActivatedAt      *time.Time              `json:"activated_at,omitempty"`
	Options          tenantry.BackupOptions  `json:"options" doc:"What its backups save besides the usual"`
	Retention        tenantry.Retention      `json:"retention" doc:"Which snapshots are kept; without rules all"`
	Named            int                     `json:"named" doc:"How many resources, groups and kinds it names, as targets or exclusions"`
	// Telling reads more than a row, so listings go without.
	Targets     *Targets     `json:"targets,omitempty" doc:"On a single policy: whom it names"`
	Groups      []MemberList `json:"groups,omitempty" nullable:"false" doc:"On a single policy: what is known of the groups it names"`
	Feasibility *Feasibility `json:"feasibility,omitempty" doc:"On a single policy: whether Microsoft's limits allow it. It warns, and refuses nothing"`
}

// Targets is whom a policy names. An exclusion is stronger than everything that includes.
type Targets struct {
	Resources        []tenantry.ResourceID `json:"resources,omitempty" nullable:"false" maxItems:"10000" uniqueItems:"true" doc:"These resources"`
	Groups           []string              `json:"groups,omitempty" nullable:"false" maxItems:"100" uniqueItems:"true" doc:"The users in these groups, and in groups of theirs: Entra object IDs. They are listed with the next sync"`
	ExcludeResources []tenantry.ResourceID `json:"exclude_resources,omitempty" nullable:"false" maxItems:"10000" uniqueItems:"true" doc:"But not these resources"`
	ExcludeGroups    []string              `json:"exclude_groups,omitempty" nullable:"false" maxItems:"100" uniqueItems:"true" doc:"Nor the users in these groups"`
	ExcludeSubkinds  []tenantry.Subkind    `json:"exclude_subkinds,omitempty" nullable:"false" maxItems:"17" enum:"user,linked,shared,room,equipment,others,microsoft365,team,security,mail_security,distribution,root,group_site,team_site,subsite,site,unknown" uniqueItems:"true" doc:"Nor these kinds of users (by their mailbox), groups and sites, whoever names them" example:"[\"room\",\"subsite\"]"`
}

// MemberList is what is known of a group that policies name.
type MemberList struct {
	Group    string     `json:"group" doc:"Entra object ID"`
	ListedAt *time.Time `json:"listed_at,omitempty" doc:"Absent: no sync has listed it yet"`
	Members  int64      `json:"members" doc:"Users in it"`
	Problem  string     `json:"problem,omitempty" doc:"Why it could not be listed the last time; its members stay as they were known"`
}

func policyOf(p catalog.Policy) Policy {
	out := Policy{
		ID: p.ID, Name: p.Name, State: p.State, Kinds: append([]tenantry.ResourceKind{}, p.Kinds...),
		Workloads: append([]tenantry.Workload{}, p.Workloads...), Enrol: p.Enrol, Schedule: scheduleOf(p),
		ObjectiveMinutes: int64(p.Objective / time.Minute), CreatedAt: when(p.CreatedAt), ActivatedAt: when(p.ActivatedAt),
		Options: p.Options, Retention: p.Retention,
		Named: len(p.Targets.Chosen) + len(p.Targets.Groups) + len(p.Targets.Exclude) + len(p.Targets.ExcludeGroups) + len(p.Targets.ExcludeSubkinds),
	}
	if p.Enrol == catalog.EnrolDaily {
		out.EnrolAt = clockTime(p.EnrolAt)
	}
	return out
}

// wholePolicy is a policy with what is shown of a single one.
func wholePolicy(ctx context.Context, t *catalog.Tenant, p catalog.Policy, f *Feasibility) (Policy, error) {
	out := policyOf(p)
	out.Feasibility = f
	if out.Named == 0 {
		return out, nil
	}
	out.Targets = &Targets{
		Resources: p.Targets.Chosen, Groups: p.Targets.Groups, ExcludeResources: p.Targets.Exclude, ExcludeGroups: p.Targets.ExcludeGroups,
		ExcludeSubkinds: p.Targets.ExcludeSubkinds,
	}
	lists, err := t.MemberLists(ctx)
	for _, l := range lists {
		if p.Targets.Names(l.Group) {
			out.Groups = append(out.Groups, MemberList{Group: l.Group, ListedAt: when(l.At), Members: l.Members, Problem: l.Problem})
		}
	}
	return out, err
}

// NewPolicy is what adds a policy.
type NewPolicy struct {
	Name             string                  `json:"name" minLength:"1" maxLength:"200"`
	Kinds            []tenantry.ResourceKind `json:"kinds,omitempty" nullable:"false" maxItems:"3" enum:"user,group,site" uniqueItems:"true" doc:"All resources of these kinds; without it, and without targets, all users"`
	Targets          *Targets                `json:"targets,omitempty" doc:"Whom it names besides"`
	Workloads        []tenantry.Workload     `json:"workloads,omitempty" nullable:"false" maxItems:"5" enum:"mailbox,drive,site,group,team" uniqueItems:"true" doc:"Without it all that the kinds and the named ones have"`
	Enrol            string                  `json:"enrol,omitempty" enum:"automatic,daily,present" default:"automatic" doc:"When it takes in whom it covers: with the sync that finds them, at a local time of day, or once when it is activated"`
	EnrolAt          string                  `json:"enrol_at,omitempty" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" patternDescription:"time of day, HH:MM" doc:"With enrol daily; in the schedule's time zone" example:"20:00"`
	Schedule         *Schedule               `json:"schedule,omitempty" doc:"Without it daily"`
	ObjectiveMinutes int64                   `json:"objective_minutes,omitempty" minimum:"1" maximum:"527040" doc:"Up to this age a backup counts as fresh; without it half as long again as the schedule's interval"`
	Versions         int                     `json:"versions,omitempty" minimum:"0" maximum:"500" doc:"Save so many old versions of each file"`
	MIME             bool                    `json:"mime,omitempty" doc:"Keep each mail as MIME, too: a request more for each. Signed and encrypted mail is kept so anyway"`
	Recoverable      bool                    `json:"recoverable,omitempty" doc:"Save what was deleted from mailboxes and can still be recovered, too"`
	Archives         bool                    `json:"archives,omitempty" doc:"Preview: look for in-place archives of mailboxes by an identifier of Microsoft Graph beta, and name them in snapshots. They cannot be saved"`
	Activate         bool                    `json:"activate,omitempty" doc:"Activate it at once; without it it is a draft"`
}

// PolicyChange is what can be changed of a policy; what is absent stays.
type PolicyChange struct {
	Name             *string                  `json:"name,omitempty" minLength:"1" maxLength:"200"`
	Kinds            *[]tenantry.ResourceKind `json:"kinds,omitempty" nullable:"false" maxItems:"3" enum:"user,group,site" uniqueItems:"true"`
	Targets          *Targets                 `json:"targets,omitempty" doc:"Replaces whom it names"`
	Workloads        *[]tenantry.Workload     `json:"workloads,omitempty" nullable:"false" minItems:"1" maxItems:"5" enum:"mailbox,drive,site,group,team" uniqueItems:"true"`
	Enrol            *string                  `json:"enrol,omitempty" enum:"automatic,daily,present"`
	EnrolAt          *string                  `json:"enrol_at,omitempty" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" patternDescription:"time of day, HH:MM" example:"20:00"`
	Schedule         *Schedule                `json:"schedule,omitempty" doc:"Replaces the schedule"`
	ObjectiveMinutes *int64                   `json:"objective_minutes,omitempty" minimum:"0" maximum:"527040" doc:"0: what follows from the schedule"`
	Versions         *int                     `json:"versions,omitempty" minimum:"0" maximum:"500"`
	MIME             *bool                    `json:"mime,omitempty"`
	Recoverable      *bool                    `json:"recoverable,omitempty"`
	Archives         *bool                    `json:"archives,omitempty"`
}

// Activation names for whom a policy is activated.
type Activation struct {
	Resources []tenantry.ResourceID `json:"resources,omitempty" nullable:"false" maxItems:"500" uniqueItems:"true" example:"u-0f1e2d3c-4b5a-4697-8877-665544332211" doc:"Take in these alone, and leave the policy's state: a draft protects just them. Without it the policy becomes active"`
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

// actPolicyInput names a policy that something is done to, without more to say.
type actPolicyInput struct {
	PolicyPath
	IfMatch
}

func (in *actPolicyInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Policy }

type changePolicyInput struct {
	PolicyPath
	IfMatch
	Body PolicyChange
}

func (in *changePolicyInput) audit() (tenantry.TenantID, any) {
	return in.Tenant, map[string]any{"policy": in.Policy, "change": in.Body}
}

type activatePolicyInput struct {
	PolicyPath
	IfMatch
	Body Activation
}

func (in *activatePolicyInput) audit() (tenantry.TenantID, any) {
	return in.Tenant, map[string]any{"policy": in.Policy, "for": in.Body}
}

func (s *service) policyRoutes() {
	const tag, all, one = "policies", "/v1/tenants/{tenant}/policies", "/v1/tenants/{tenant}/policies/{policy}"
	write(s, post(http.StatusCreated, "add-policy", tag, all, "Add a policy: a draft, unless it is activated at once"), s.addPolicy)
	read(s, post(http.StatusOK, "preview-policy", tag, all+"/preview", "Tell whom a policy would cover, in seats and units, without adding it"), s.previewPolicy)
	read(s, get("list-policies", tag, all, "List the policies of a tenant"), s.listPolicies)
	read(s, get("get-policy", tag, one, "Show a policy"), s.getPolicy)
	read(s, get("forecast-policy", tag, one+"/forecast", "Tell whom a policy covers when it is active, in seats and units"), s.forecastPolicy)
	write(s, patch("change-policy", tag, one, "Change a policy; its history stays, and other times count from now on"), s.changePolicy)
	write(s, post(http.StatusOK, "activate-policy", tag, one+"/activate", "Activate a policy, or let a paused one go on"), s.activatePolicy)
	write(s, post(http.StatusOK, "pause-policy", tag, one+"/pause", "Let a policy start nothing until it is activated again"), s.pausePolicy)
	write(s, remove("delete-policy", tag, one, "Delete a policy; what it backed up stays"), s.deletePolicy)
}

func (s *service) addPolicy(ctx context.Context, in *addPolicyInput) (*created[Policy], error) {
	t, tenant, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	row, err := s.newPolicyRow(ctx, t, in.Body)
	if err != nil {
		return nil, err
	}
	// Before it is added: the answer must not fail once it has been.
	feasibility, err := s.feasibility(ctx, t, tenant, row, nil)
	if err != nil {
		return nil, err
	}
	if err := t.AddPolicy(ctx, row, s.Now()); err != nil {
		return nil, err
	}
	s.listGroups(ctx, t, tenant, row)
	s.wake(ctx)
	row, err = policyIn(ctx, t, row.ID)
	if err != nil {
		return nil, err
	}
	p, err := wholePolicy(ctx, t, row, feasibility)
	return &created[Policy]{fmt.Sprintf("/v1/tenants/%s/policies/%s", in.Tenant, row.ID), p}, err
}

// newPolicyRow is the policy that a request describes.
func (s *service) newPolicyRow(ctx context.Context, t *catalog.Tenant, n NewPolicy) (catalog.Policy, error) {
	planning, err := t.Planning(ctx)
	if err != nil {
		return catalog.Policy{}, err
	}
	if err := mayChoose(callerOf(ctx), n.Schedule, planning); err != nil {
		return catalog.Policy{}, err
	}
	var wrong complaints
	name, err := givenName(n.Name)
	wrong.add(err)
	p := catalog.Policy{
		ID: tenantry.NewPolicyID(), Name: name, State: catalog.PolicyDraft, Kinds: n.Kinds, Workloads: n.Workloads,
		Enrol: catalog.EnrolMode(n.Enrol), Objective: time.Duration(n.ObjectiveMinutes) * time.Minute, CreatedAt: s.Now(),
		Options: tenantry.BackupOptions{Versions: n.Versions, MIME: n.MIME, Recoverable: n.Recoverable, Archives: n.Archives},
	}
	if n.Activate {
		p.State = catalog.PolicyActive
	}
	if len(p.Kinds) == 0 && (n.Targets == nil || len(n.Targets.Resources)+len(n.Targets.Groups) == 0) {
		p.Kinds = []tenantry.ResourceKind{tenantry.User}
	}
	wrong.add(setTargets(ctx, t, &p, n.Targets))
	if len(p.Workloads) == 0 {
		p.Workloads = workloadsOfTargets(p)
	}
	wrong.add(setEnrolment(&p, n.EnrolAt))
	schedule := Schedule{Kind: string(catalog.ScheduleDaily)}
	if n.Schedule != nil {
		schedule = *n.Schedule
	}
	wrong.add(schedule.apply(&p, planning.TimeZone))
	return p, wrong.err()
}

func setEnrolment(p *catalog.Policy, at string) (err error) {
	p.EnrolAt = 0
	switch {
	case p.Enrol == catalog.EnrolDaily && at == "":
		return invalid("body.enrol_at", at, "must be given with the enrolment daily")
	case p.Enrol == catalog.EnrolDaily:
		p.EnrolAt, err = minuteOf("body.enrol_at", at)
	case at != "":
		return invalid("body.enrol_at", at, "goes with the enrolment daily")
	}
	return err
}

// setTargets puts into the policy whom it names, if they are there.
func setTargets(ctx context.Context, t *catalog.Tenant, p *catalog.Policy, n *Targets) error {
	p.Targets = catalog.Targets{}
	if n == nil {
		return nil
	}
	var wrong complaints
	wrong.add(present(ctx, t, "body.targets.resources", n.Resources))
	wrong.add(present(ctx, t, "body.targets.exclude_resources", n.ExcludeResources))
	for _, groups := range []struct {
		field string
		list  []string
	}{{"groups", n.Groups}, {"exclude_groups", n.ExcludeGroups}} {
		for i, id := range groups.list {
			groups.list[i] = strings.ToLower(strings.TrimPrefix(id, "g-"))
			if !guidPattern.MatchString(groups.list[i]) {
				wrong.add(invalid(fmt.Sprintf("body.targets.%s[%d]", groups.field, i), id, "must be the Entra object ID of a group"))
			}
		}
	}
	p.Targets = catalog.Targets{
		Chosen: n.Resources, Groups: n.Groups, Exclude: n.ExcludeResources, ExcludeGroups: n.ExcludeGroups, ExcludeSubkinds: n.ExcludeSubkinds,
	}
	return wrong.err()
}

// present refuses each resource of a list that the tenant does not have, by its place in the field.
func present(ctx context.Context, t *catalog.Tenant, field string, list []tenantry.ResourceID) error {
	missing, err := t.Missing(ctx, list)
	if err != nil {
		return err
	}
	unknown := map[tenantry.ResourceID]bool{}
	for _, id := range missing {
		unknown[id] = true
	}
	var wrong complaints
	for i, id := range list {
		if unknown[id] {
			wrong.add(invalid(fmt.Sprintf("%s[%d]", field, i), id, "the tenant has no such resource"))
		}
	}
	return wrong.err()
}

// workloadsOfKind is what a policy backs up that does not say.
var workloadsOfKind = map[tenantry.ResourceKind][]tenantry.Workload{
	tenantry.User:  {tenantry.Mailbox, tenantry.Drive},
	tenantry.Group: {tenantry.GroupContent, tenantry.TeamContent},
	tenantry.Site:  {tenantry.SiteContent},
}

// kindOfID is the kind that a resource's ID tells.
func kindOfID(id tenantry.ResourceID) tenantry.ResourceKind {
	switch {
	case strings.HasPrefix(string(id), "g-"):
		return tenantry.Group
	case strings.HasPrefix(string(id), "s-"):
		return tenantry.Site
	}
	return tenantry.User
}

// workloadsOfTargets is what everything that the policy means can have.
func workloadsOfTargets(p catalog.Policy) (list []tenantry.Workload) {
	means := map[tenantry.ResourceKind]bool{tenantry.User: len(p.Targets.Groups) > 0}
	for _, kind := range p.Kinds {
		means[kind] = true
	}
	for _, id := range p.Targets.Chosen {
		means[kindOfID(id)] = true
	}
	for _, kind := range []tenantry.ResourceKind{tenantry.User, tenantry.Group, tenantry.Site} {
		if means[kind] {
			list = append(list, workloadsOfKind[kind]...)
		}
	}
	return list
}

// listGroups has the groups of a policy listed that nobody has listed yet. The next sync does so in
// any case, so what keeps it from starting now is no failure.
func (s *service) listGroups(ctx context.Context, t *catalog.Tenant, tenant catalog.TenantRow, p catalog.Policy) {
	if tenant.State != tenantry.TenantConnected || len(p.Targets.Groups)+len(p.Targets.ExcludeGroups) == 0 {
		return
	}
	lists, err := t.MemberLists(ctx)
	if err != nil {
		return
	}
	for _, l := range lists {
		if l.At.IsZero() && p.Targets.Names(l.Group) {
			_, _ = t.StartRun(ctx, tenantry.Sync, catalog.TriggerSystem, "", []catalog.NewTask{{Action: tenantry.Sync}}, s.Now())
			return
		}
	}
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

func (s *service) getPolicy(ctx context.Context, in *policyInput) (*versioned[Policy], error) {
	t, tenant, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	row, err := policyIn(ctx, t, in.Policy)
	if err != nil {
		return nil, err
	}
	return s.onePolicy(ctx, t, tenant, row)
}

func (s *service) onePolicy(ctx context.Context, t *catalog.Tenant, tenant catalog.TenantRow, row catalog.Policy) (*versioned[Policy], error) {
	f, err := s.feasibility(ctx, t, tenant, row, nil)
	if err != nil {
		return nil, err
	}
	p, err := wholePolicy(ctx, t, row, f)
	return &versioned[Policy]{policyETag(row), p}, err
}

// policyETag names what can be changed of a policy.
func policyETag(p catalog.Policy) string { return etagOf([]any{policyOf(p), p.Targets}) }

// policySettings reads what policyETag names.
func policySettings(t *catalog.Tenant, id tenantry.PolicyID) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) {
		p, err := policyIn(ctx, t, id)
		return []any{policyOf(p), p.Targets}, err
	}
}

func (s *service) changePolicy(ctx context.Context, in *changePolicyInput) (*versioned[Policy], error) {
	t, tenant, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if _, err := policyIn(ctx, t, in.Policy); err != nil {
		return nil, err
	}
	planning, err := t.Planning(ctx)
	if err != nil {
		return nil, err
	}
	if err := mayChoose(callerOf(ctx), in.Body.Schedule, planning); err != nil {
		return nil, err
	}
	named := catalog.Policy{} // looked up before the transaction, which may be run again
	var wrong complaints
	wrong.add(setTargets(ctx, t, &named, in.Body.Targets))
	if wrong.other != nil {
		return nil, wrong.other
	}
	var row catalog.Policy
	err = s.change(ctx, t, in.IfMatch, policySettings(t, in.Policy), func(ctx context.Context) (err error) {
		row, err = t.ChangePolicy(ctx, in.Policy, func(p catalog.Policy) (catalog.Policy, error) {
			if in.Body.Targets != nil {
				p.Targets = named.Targets
			}
			all := wrong
			all.add(in.Body.apply(&p, planning.TimeZone))
			return p, all.err()
		}, s.Now())
		return err
	})
	if err != nil {
		return nil, err
	}
	s.listGroups(ctx, t, tenant, row)
	s.wake(ctx)
	return s.onePolicy(ctx, t, tenant, row)
}

// apply puts the change into a policy, but for whom it names.
func (n PolicyChange) apply(p *catalog.Policy, region string) error {
	var wrong complaints
	if n.Name != nil {
		name, err := givenName(*n.Name)
		wrong.add(err)
		p.Name = name
	}
	if n.Kinds != nil {
		p.Kinds = *n.Kinds
	}
	if len(p.Kinds)+len(p.Targets.Chosen)+len(p.Targets.Groups) == 0 {
		wrong.add(invalid("body.kinds", p.Kinds, "must name a kind, or the targets somebody"))
	}
	if n.Workloads != nil {
		p.Workloads = *n.Workloads
	}
	if n.Enrol != nil || n.EnrolAt != nil {
		at := clockTime(p.EnrolAt)
		if n.Enrol != nil {
			p.Enrol = catalog.EnrolMode(*n.Enrol)
		}
		switch {
		case n.EnrolAt != nil:
			at = *n.EnrolAt
		case p.Enrol != catalog.EnrolDaily:
			at = ""
		}
		wrong.add(setEnrolment(p, at))
	}
	if n.ObjectiveMinutes != nil {
		p.Objective = time.Duration(*n.ObjectiveMinutes) * time.Minute
	}
	for _, option := range []struct{ to, from *bool }{{&p.Options.MIME, n.MIME}, {&p.Options.Recoverable, n.Recoverable}, {&p.Options.Archives, n.Archives}} {
		if option.from != nil {
			*option.to = *option.from
		}
	}
	if n.Versions != nil {
		p.Options.Versions = *n.Versions
	}
	if n.Schedule != nil {
		wrong.add(n.Schedule.apply(p, region))
	}
	return wrong.err()
}

func (s *service) activatePolicy(ctx context.Context, in *activatePolicyInput) (*versioned[Policy], error) {
	t, tenant, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if _, err := policyIn(ctx, t, in.Policy); err != nil {
		return nil, err
	}
	if err := present(ctx, t, "body.resources", in.Body.Resources); err != nil {
		return nil, err
	}
	var row catalog.Policy
	err = s.change(ctx, t, in.IfMatch, policySettings(t, in.Policy), func(ctx context.Context) (err error) {
		row, err = t.ActivatePolicy(ctx, in.Policy, in.Body.Resources, s.Now())
		return err
	})
	if err != nil {
		return nil, err
	}
	s.wake(ctx)
	return s.onePolicy(ctx, t, tenant, row)
}

func (s *service) pausePolicy(ctx context.Context, in *actPolicyInput) (*versioned[Policy], error) {
	t, tenant, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if _, err := policyIn(ctx, t, in.Policy); err != nil {
		return nil, err
	}
	var row catalog.Policy
	err = s.change(ctx, t, in.IfMatch, policySettings(t, in.Policy), func(ctx context.Context) (err error) {
		row, err = t.PausePolicy(ctx, in.Policy, s.Now())
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.onePolicy(ctx, t, tenant, row)
}

func (s *service) deletePolicy(ctx context.Context, in *actPolicyInput) (*struct{}, error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if _, err := policyIn(ctx, t, in.Policy); err != nil {
		return nil, err
	}
	return nil, s.change(ctx, t, in.IfMatch, policySettings(t, in.Policy), func(ctx context.Context) error { return t.DeletePolicy(ctx, in.Policy, s.Now()) })
}

func policyIn(ctx context.Context, t *catalog.Tenant, id tenantry.PolicyID) (catalog.Policy, error) {
	p, err := t.Policy(ctx, id)
	if tenantry.KindOf(err) == tenantry.NotFound {
		return p, tenantry.Errorf(tenantry.NotFound, "the tenant has no policy %q", id)
	}
	return p, err
}
