package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// previewResources is how many resources one page of a preview looks at: each takes some reads.
const previewResources = 50

// Hold is a legal hold: no snapshot is dropped.
type Hold struct {
	Resource     tenantry.ResourceID `json:"resource,omitempty" doc:"What is held; absent: the whole tenant"`
	ResourceName string              `json:"resource_name,omitempty" doc:"What people call it"`
	Reason       string              `json:"reason"`
	Actor        string              `json:"actor" doc:"Who set it"`
	At           *time.Time          `json:"at,omitempty"`
}

// NewHold sets a hold.
type NewHold struct {
	Resource tenantry.ResourceID `json:"resource,omitempty" maxLength:"200" doc:"What to hold; without it the whole tenant"`
	Reason   string              `json:"reason" minLength:"1" maxLength:"500" example:"case 2026-117" doc:"The case it is for"`
}

// Retained says what retention makes of the snapshots of one series.
type Retained struct {
	Resource     tenantry.ResourceID `json:"resource"`
	ResourceName string              `json:"resource_name,omitempty" doc:"What people call it"`
	Workload     tenantry.Workload   `json:"workload"`
	Suspended    string              `json:"suspended,omitempty" doc:"The mass change that suspends pruning until it is acknowledged"`
	Kept         int                 `json:"kept" doc:"How many snapshots stay"`
	Dropped      int                 `json:"dropped" doc:"How many go with the next prune"`
	Snapshots    []RetainedSnapshot  `json:"snapshots" nullable:"false" doc:"Newest first"`
}

// RetainedSnapshot is the verdict on one snapshot.
type RetainedSnapshot struct {
	Seq   int64      `json:"seq"`
	Time  *time.Time `json:"time,omitempty"`
	Keep  bool       `json:"keep"`
	Rules []string   `json:"rules" nullable:"false" doc:"What keeps it: last, daily, hold: ..., none if it goes"`
}

type setRetentionInput struct {
	PolicyPath
	IfMatch
	Body tenantry.Retention
}

func (in *setRetentionInput) audit() (tenantry.TenantID, any) {
	return in.Tenant, map[string]any{"policy": in.Policy, "retention": in.Body}
}

type previewInput struct {
	PolicyPath
	CursorQuery
}

type proposeInput struct {
	PolicyPath
	CursorQuery
	Body tenantry.Retention
}

type setHoldInput struct {
	TenantPath
	Body NewHold
}

func (in *setHoldInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Body }

type liftHoldInput struct {
	TenantPath
	Resource tenantry.ResourceID `query:"resource" maxLength:"200" doc:"Whose hold; without it that of the whole tenant"`
}

func (in *liftHoldInput) audit() (tenantry.TenantID, any) {
	return in.Tenant, map[string]any{"resource": in.Resource}
}

type pruneInput struct{ SeriesPath }

func (in *pruneInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.series().String() }

type collectInput struct{ TenantPath }

func (in *collectInput) audit() (tenantry.TenantID, any) { return in.Tenant, nil }

func (s *service) retentionRoutes() {
	const tag, tenant = "retention", "/v1/tenants/{tenant}"
	const series = tenant + "/resources/{resource}/workloads/{workload}"
	const policy = tenant + "/policies/{policy}"
	write(s, operation(http.MethodPut, http.StatusOK, "set-retention", tag, policy+"/retention", "Set which snapshots a policy keeps; the next daily prune drops the others"), s.setRetention)
	read(s, get("preview-retention", tag, policy+"/retention-preview", "Show which snapshots would go now"), s.previewRetention)
	read(s, post(http.StatusOK, "propose-retention", tag, policy+"/retention-preview", "Show which snapshots would go now under other rules of the policy; nothing is changed"), s.proposeRetention)
	read(s, get("list-holds", tag, tenant+"/holds", "List the legal holds of a tenant"), s.listHolds)
	write(s, post(http.StatusCreated, "set-hold", tag, tenant+"/holds", "Hold a resource, or the whole tenant: nothing is dropped"), s.setHold)
	write(s, remove("lift-hold", tag, tenant+"/holds", "Lift a legal hold"), s.liftHold)
	write(s, post(http.StatusCreated, "start-prune", tag, series+"/prune", "Drop now what no rule keeps"), s.startPrune)
	write(s, post(http.StatusNoContent, "acknowledge-mass-change", tag, series+"/acknowledge", "Let a series be pruned again that a mass change has suspended"), s.acknowledge)
	write(s, post(http.StatusCreated, "start-collection", tag, tenant+"/collect", "Collect shared content that nothing needs; it takes some hours"), s.startCollection)
}

func (s *service) setRetention(ctx context.Context, in *setRetentionInput) (*versioned[Policy], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if _, err := policyIn(ctx, t, in.Policy); err != nil {
		return nil, err
	}
	err = s.change(ctx, t, in.IfMatch, policySettings(t, in.Policy), func(ctx context.Context) error { return t.SetRetention(ctx, in.Policy, in.Body) })
	if err != nil {
		return nil, err
	}
	row, err := policyIn(ctx, t, in.Policy)
	return &versioned[Policy]{policyETag(row), policyOf(row)}, err
}

func (s *service) previewRetention(ctx context.Context, in *previewInput) (*body[Page[Retained]], error) {
	return s.preview(ctx, in, nil)
}

func (s *service) proposeRetention(ctx context.Context, in *proposeInput) (*body[Page[Retained]], error) {
	if err := in.Body.Validate(); err != nil {
		return nil, err
	}
	return s.preview(ctx, &previewInput{in.PolicyPath, in.CursorQuery}, &in.Body)
}

// preview shows what the rules of a policy, or others in their place, make of a page of resources.
func (s *service) preview(ctx context.Context, in *previewInput, proposed *tenantry.Retention) (*body[Page[Retained]], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	policy, err := policyIn(ctx, t, in.Policy)
	if err != nil {
		return nil, err
	}
	page := Page[Retained]{Items: []Retained{}}
	resources, err := t.Resources(ctx, catalog.ResourceFilter{After: tenantry.ResourceID(in.After), Limit: previewResources})
	if err != nil {
		return nil, err
	}
	for _, r := range resources {
		for _, w := range policy.Workloads {
			counts := false
			retained, err := s.retained(ctx, t, r.ID, w, func(st catalog.SeriesStanding) catalog.SeriesStanding {
				counts = slices.Contains(st.PolicyIDs, in.Policy)
				if proposed == nil {
					return st
				}
				return st.With(in.Policy, *proposed)
			})
			if err != nil {
				return nil, err
			}
			if counts && len(retained.Snapshots) > 0 {
				page.Items = append(page.Items, retained)
			}
		}
	}
	if len(resources) == previewResources {
		page.Next = string(resources[len(resources)-1].ID)
	}
	return &body[Page[Retained]]{page}, nil
}

// retained decides on the snapshots of a series that SQL mirrors, by its standing as it is adjusted.
func (s *service) retained(ctx context.Context, t *catalog.Tenant, r tenantry.ResourceID, w tenantry.Workload, adjust func(catalog.SeriesStanding) catalog.SeriesStanding) (Retained, error) {
	out := Retained{Resource: r, Workload: w, Snapshots: []RetainedSnapshot{}}
	var points []tenantry.RestorePoint
	for before := int64(0); ; {
		rows, err := t.Snapshots(ctx, r, w, before, 1000)
		if err != nil {
			return out, err
		}
		for _, row := range rows {
			points = append(points, tenantry.RestorePoint{Seq: row.Seq, Time: row.Time})
		}
		if len(rows) < 1000 {
			break
		}
		before = rows[len(rows)-1].Seq
	}
	if len(points) == 0 {
		return out, nil
	}
	standing, err := t.SeriesStanding(ctx, r, w)
	if err != nil {
		return out, err
	}
	out.Suspended = standing.Suspended
	for _, v := range adjust(standing).Keep(points, s.Now()) {
		out.Snapshots = append(out.Snapshots, RetainedSnapshot{Seq: v.Seq, Time: when(v.Time), Keep: v.Keep(), Rules: append([]string{}, v.Rules...)})
		if v.Keep() {
			out.Kept++
		} else {
			out.Dropped++
		}
	}
	return out, nil
}

func (s *service) listHolds(ctx context.Context, in *tenantInput) (*body[Page[Hold]], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	rows, err := t.Holds(ctx)
	if err != nil {
		return nil, err
	}
	return paged(rows, len(rows), holdOf, nil), nil
}

func holdOf(h catalog.Hold) Hold {
	return Hold{Resource: h.Resource, Reason: h.Reason, Actor: h.Actor, At: when(h.At)}
}

func (s *service) setHold(ctx context.Context, in *setHoldInput) (*body[Hold], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if in.Body.Resource != "" {
		if _, err := resourceIn(ctx, t, in.Body.Resource); err != nil {
			return nil, err
		}
	}
	h := catalog.Hold{Resource: in.Body.Resource, Reason: in.Body.Reason, Actor: callerOf(ctx).key(), At: s.Now()}
	return &body[Hold]{holdOf(h)}, t.SetHold(ctx, h)
}

func (s *service) liftHold(ctx context.Context, in *liftHoldInput) (*struct{}, error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	return nil, t.LiftHold(ctx, in.Resource)
}

func (s *service) startPrune(ctx context.Context, in *pruneInput) (*created[Run], error) {
	t, r, err := s.resource(ctx, in.ResourcePath)
	if err != nil {
		return nil, err
	}
	return s.start(ctx, t, tenantry.Prune, "", []catalog.NewTask{{Resource: r.ID, Workload: in.Workload}})
}

func (s *service) acknowledge(ctx context.Context, in *pruneInput) (*struct{}, error) {
	t, r, err := s.resource(ctx, in.ResourcePath)
	if err != nil {
		return nil, err
	}
	return nil, t.Acknowledge(ctx, r.ID, in.Workload)
}

func (s *service) startCollection(ctx context.Context, in *collectInput) (*created[Run], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	return s.start(ctx, t, tenantry.Collect, "", []catalog.NewTask{{}})
}
