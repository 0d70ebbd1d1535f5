package api

import (
	"context"
	"net/http"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Coverage counts the active resources of a tenant, or of all, by how well they are protected.
type Coverage struct {
	Tenant      tenantry.TenantID `json:"tenant,omitempty" doc:"Absent: all tenants"`
	Name        string            `json:"name,omitempty"`
	Region      string            `json:"region,omitempty" doc:"Data region of the tenant (list-regions)"`
	Eligible    int64             `json:"eligible" doc:"Have something that can be backed up"`
	Covered     int64             `json:"covered" doc:"Protected by a policy: within_objective, stale and never_backed_up together"`
	Within      int64             `json:"within_objective" doc:"All protected workloads were backed up within their policies' objectives"`
	Stale       int64             `json:"stale" doc:"One was backed up longer ago"`
	Never       int64             `json:"never_backed_up" doc:"One was never backed up"`
	Paused      int64             `json:"paused" doc:"Of those that are covered, by a policy that is paused"`
	Excluded    int64             `json:"excluded" doc:"Excluded by a policy, and covered by none"`
	Unprotected map[string]int64  `json:"unprotected" doc:"The others by reason: no_policy, draft, awaits_hour, came_later, other_workloads, not_enabled, quota, no_seat"`
}

func coverageOf(c catalog.Coverage) Coverage {
	return Coverage{
		Tenant: c.Tenant, Name: c.Name, Region: c.Region, Eligible: c.Eligible, Covered: c.Covered, Within: c.Within, Stale: c.Stale, Never: c.Never,
		Paused: c.Paused, Excluded: c.Excluded, Unprotected: words(c.Unprotected),
	}
}

// FleetCoverage is the coverage of all tenants.
type FleetCoverage struct {
	Total Coverage   `json:"total"`
	Items []Coverage `json:"items" nullable:"false" doc:"Tenants by ascending ID"`
	Next  string     `json:"next,omitempty" doc:"Pass it as 'after' for the next page; absent on the last"`
}

// Protection says why a resource is protected, or why not.
type Protection struct {
	Standing  catalog.Standing      `json:"standing" doc:"covered, or the nearest reason why not: no_seat, quota, awaits_hour, came_later, draft, other_workloads, excluded, no_policy, not_enabled, nothing; empty unless it is active"`
	Rule      string                `json:"rule" doc:"How one of several policies is chosen"`
	Workloads []ProtectedWorkload   `json:"workloads" nullable:"false" doc:"What is protected"`
	Policies  []PolicyPart          `json:"policies" nullable:"false" doc:"The policies that have to do with it, the one that goes before the others first"`
	SeatClass catalog.SeatClass     `json:"seat_class" doc:"How seats count it"`
	NeedsSeat bool                  `json:"needs_seat"`
	Seat      *Seat                 `json:"seat,omitempty" doc:"The seat it has"`
	Resource  tenantry.ResourceID   `json:"resource"`
	Kind      tenantry.ResourceKind `json:"kind"`
	Name      string                `json:"name"`
	State     tenantry.LifeState    `json:"state"`
}

// PolicyPart is one policy's part in what becomes of a resource.
type PolicyPart struct {
	Policy   tenantry.PolicyID   `json:"policy"`
	Name     string              `json:"name"`
	State    catalog.PolicyState `json:"state"`
	Reach    catalog.Reach       `json:"reach,omitempty" doc:"chosen: named by itself; group: a member of a group that is named; kind: one of all of its kind"`
	Excluded bool                `json:"excluded"`
	Enrolled bool                `json:"enrolled" doc:"The policy has taken it in"`
	Standing catalog.Standing    `json:"standing" doc:"What would become of the resource if there were no other policy, and seats enough"`
	Protects []tenantry.Workload `json:"protects" nullable:"false" doc:"What it protects, before all others that would"`
}

// ProtectedWorkload is a workload that a policy protects.
type ProtectedWorkload struct {
	Workload tenantry.Workload `json:"workload"`
	Policy   tenantry.PolicyID `json:"policy"`
	NextDue  *time.Time        `json:"next_due,omitempty" doc:"Absent: the policy is paused"`
	SavedAt  *time.Time        `json:"saved_at,omitempty" doc:"When its last backup ended well; absent: never"`
	Stale    bool              `json:"stale" doc:"That is longer ago than the policy's objective"`
}

// precedence is the rule in words.
const precedence = "one policy protects each workload: one that names the resource before one that names a group of it before one of its whole kind; of these the oldest; an exclusion is stronger than everything within its own policy"

func protectionOf(r catalog.Resource, x catalog.Explanation) Protection {
	p := Protection{
		Standing: x.Standing, Rule: precedence, Workloads: []ProtectedWorkload{}, Policies: []PolicyPart{},
		SeatClass: x.Class, NeedsSeat: x.NeedsSeat, Resource: r.ID, Kind: r.Kind, Name: r.Name, State: r.State,
	}
	if x.Seat != nil {
		seat := seatOf(*x.Seat)
		p.Seat = &seat
	}
	for _, w := range x.Workloads {
		p.Workloads = append(p.Workloads, ProtectedWorkload{w.Workload, w.Policy, when(w.NextDue), when(w.SavedAt), w.Stale})
	}
	for _, part := range x.Policies {
		p.Policies = append(p.Policies, PolicyPart{
			Policy: part.Policy.ID, Name: part.Policy.Name, State: part.Policy.State, Reach: part.Reach, Excluded: part.Excluded,
			Enrolled: part.Enrolled, Standing: part.Standing, Protects: append([]tenantry.Workload{}, part.Protects...),
		})
	}
	return p
}

// Planning is what the provider says of all policies of a tenant.
type Planning struct {
	TimeZone      string `json:"time_zone" doc:"IANA name: nights there are off-peak, and times of day are meant there that name no other" example:"Australia/Sydney"`
	TimeZoneOf    string `json:"time_zone_of" enum:"region,tenant" doc:"Whose time zone it is: that of the tenant's data region (list-regions), or one that the tenant was given"`
	OpenSchedules bool   `json:"open_schedules" doc:"Tokens of the tenant may choose other schedules than daily"`
}

// NewPlanning is what is set of it.
type NewPlanning struct {
	TimeZone      string `json:"time_zone,omitempty" maxLength:"64" doc:"IANA name; absent: that of the tenant's data region, also when that changes" example:"Australia/Sydney"`
	OpenSchedules bool   `json:"open_schedules" doc:"Tokens of the tenant may choose other schedules than daily"`
}

func planningOf(p catalog.Planning) *versioned[Planning] {
	out := Planning{TimeZone: p.TimeZone, TimeZoneOf: "tenant", OpenSchedules: p.OpenSchedules}
	if p.OfRegion {
		out.TimeZoneOf = "region"
	}
	return &versioned[Planning]{etagOf(p), out}
}

type planningInput struct {
	TenantPath
	IfMatch
	Body NewPlanning
}

func (in *planningInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Body }

func (s *service) coverageRoutes() {
	const tag, one = "coverage", "/v1/tenants/{tenant}"
	read(s, get("get-coverage", tag, one+"/coverage", "Count a tenant's resources by how well they are protected"), s.getCoverage)
	read(s, get("get-fleet-coverage", tag, "/v1/coverage", "Count the resources of all tenants by how well they are protected"), s.fleetCoverage)
	read(s, csvFile(get("fetch-coverage", tag, one+"/coverage.csv", "Fetch how well a tenant is covered, as CSV of one line")), s.fetchCoverage)
	read(s, csvFile(get("fetch-fleet-coverage", tag, "/v1/coverage.csv", "Fetch how well all tenants are covered, as CSV of a line each, with a column for each reason why something is not protected")), s.fetchFleetCoverage)
	read(s, get("get-protection", tag, one+"/resources/{resource}/protection", "Tell why a resource is protected, or why not"), s.getProtection)
	read(s, get("get-planning", "policies", one+"/planning", "Show what the provider says of all policies of a tenant"), s.getPlanning)
	write(s, operation(http.MethodPut, http.StatusOK, "set-planning", "policies", one+"/planning", "Set a tenant's time zone, or that it follows its region's, and whether its own tokens may choose schedules"), s.setPlanning)
}

func (s *service) getCoverage(ctx context.Context, in *tenantInput) (*body[Coverage], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	c, err := t.Coverage(ctx, s.Now())
	return &body[Coverage]{coverageOf(c)}, err
}

func (s *service) fleetCoverage(ctx context.Context, in *PageQuery) (*body[FleetCoverage], error) {
	total, tenants, err := s.Catalog.Fleet().Coverage(ctx, s.Now())
	if err != nil {
		return nil, err
	}
	after := 0
	for after < len(tenants) && tenants[after].Tenant <= tenantry.TenantID(in.After) {
		after++
	}
	tenants = tenants[after:]
	page := paged(tenants, in.Limit, coverageOf, func(c catalog.Coverage) string { return string(c.Tenant) })
	return &body[FleetCoverage]{FleetCoverage{Total: coverageOf(total), Items: page.Body.Items, Next: page.Body.Next}}, nil
}

func (s *service) getProtection(ctx context.Context, in *resourceInput) (*body[Protection], error) {
	t, r, err := s.resource(ctx, in.ResourcePath)
	if err != nil {
		return nil, err
	}
	x, err := t.Explain(ctx, r.ID, s.Now())
	return &body[Protection]{protectionOf(r, x)}, err
}

func (s *service) getPlanning(ctx context.Context, in *tenantInput) (*versioned[Planning], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := t.Planning(ctx)
	return planningOf(p), err
}

func (s *service) setPlanning(ctx context.Context, in *planningInput) (*versioned[Planning], error) {
	t, row, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	p := catalog.Planning{TimeZone: s.Places.zone(row.Region), OfRegion: true, OpenSchedules: in.Body.OpenSchedules}
	if in.Body.TimeZone != "" {
		p.OfRegion = false
		if p.TimeZone, err = zoneName("body.time_zone", in.Body.TimeZone); err != nil {
			return nil, err
		}
	}
	err = s.change(ctx, t, in.IfMatch, func(ctx context.Context) (any, error) { return t.Planning(ctx) },
		func(ctx context.Context) error { return t.SetPlanning(ctx, p, s.Now()) })
	if err != nil {
		return nil, err
	}
	s.wake(ctx)
	return planningOf(p), nil
}
