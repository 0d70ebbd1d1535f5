package api

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Answers that name things by their IDs alone say what people call them, too. Handlers need not know: what an answer
// lacks is looked up for the whole of it, once, by whoever registers operations.

// label is a word that an answer lacks: where it goes, and what it is of. One of the fields says that.
type label struct {
	to       *string
	resource tenantry.ResourceID // its name, in the tenant that the request is about
	tenant   tenantry.TenantID   // its name
	policy   tenantry.PolicyID   // its name, in the tenant that the request is about
	zoneOf   string              // kind of a schedule: whose time zone it has
}

// labelled is an answer, or a part of one, that lacks words.
type labelled interface{ labels() []label }

func labelsOf(part any) []label {
	if one, ok := part.(labelled); ok {
		return one.labels()
	}
	return nil
}

func labelsIn[T any](parts []T) (all []label) {
	if len(parts) == 0 {
		return nil
	}
	if _, ok := any(&parts[0]).(labelled); !ok {
		return nil
	}
	for i := range parts {
		all = append(all, labelsOf(&parts[i])...)
	}
	return all
}

func (b *body[T]) labels() []label      { return labelsOf(&b.Body) }
func (c *created[T]) labels() []label   { return labelsOf(&c.Body) }
func (v *versioned[T]) labels() []label { return labelsOf(&v.Body) }
func (p *Page[T]) labels() []label      { return labelsIn(p.Items) }
func (p *SearchPage) labels() []label   { return append(labelsIn(p.Items), labelsIn(p.Unreadable)...) }
func (r *SearchResult) labels() []label { return labelsIn(r.Unreadable) }

func (r *Run) labels() []label {
	return append(labelsIn(r.Problems), label{to: &r.TenantName, tenant: r.Tenant})
}
func (p *TaskProblem) labels() []label { return []label{{to: &p.ResourceName, resource: p.Resource}} }
func (t *Task) labels() []label        { return []label{{to: &t.ResourceName, resource: t.Resource}} }
func (f *ItemFailure) labels() []label { return []label{{to: &f.ResourceName, resource: f.Resource}} }
func (f *FoundItem) labels() []label   { return []label{{to: &f.ResourceName, resource: f.Resource}} }
func (u *UnreadableSeries) labels() []label {
	return []label{{to: &u.ResourceName, resource: u.Resource}}
}
func (r *Retained) labels() []label    { return []label{{to: &r.ResourceName, resource: r.Resource}} }
func (h *Hold) labels() []label        { return []label{{to: &h.ResourceName, resource: h.Resource}} }
func (a *TenantAlarm) labels() []label { return []label{{to: &a.TenantName, tenant: a.Tenant}} }
func (t *Token) labels() []label       { return []label{{to: &t.TenantName, tenant: t.Tenant}} }
func (e *AuditEntry) labels() []label  { return []label{{to: &e.TenantName, tenant: e.Tenant}} }
func (n *Notices) labels() []label     { return []label{{to: &n.PolicyName, policy: n.Policy}} }
func (p *Policy) labels() []label      { return []label{{to: &p.TimeZoneOf, zoneOf: p.Schedule.Kind}} }

// about is an input that names a tenant.
type about interface{ named() tenantry.TenantID }

func (p *TenantPath) named() tenantry.TenantID { return p.Tenant }

// wanted are the words that an answer lacks, by what they are of.
type wanted struct {
	tenants   map[tenantry.TenantID]string
	resources map[tenantry.ResourceID]string
	policies  map[tenantry.PolicyID]string
	zoned     bool
	planning  catalog.Planning
}

func wantedBy(lacks []label) *wanted {
	w := &wanted{map[tenantry.TenantID]string{}, map[tenantry.ResourceID]string{}, map[tenantry.PolicyID]string{}, false, catalog.Planning{}}
	for _, l := range lacks {
		switch {
		case l.resource != "":
			w.resources[l.resource] = ""
		case l.tenant != "":
			w.tenants[l.tenant] = ""
		case l.policy != "":
			w.policies[l.policy] = ""
		case l.zoneOf != "":
			w.zoned = true
		}
	}
	return w
}

// of is the word for a label; a thing that is gone has none.
func (w *wanted) of(l label) string {
	switch {
	case l.resource != "":
		return w.resources[l.resource]
	case l.tenant != "":
		return w.tenants[l.tenant]
	case l.policy != "":
		return w.policies[l.policy]
	case l.zoneOf != "":
		return zoneOf(l.zoneOf, w.planning)
	}
	return ""
}

// read looks everything up: in the fleet, and in the tenant that the request is about.
func (w *wanted) read(ctx context.Context, c *catalog.Catalog, in any) (err error) {
	if request, ok := in.(about); ok {
		t := c.Tenant(request.named())
		err = errors.Join(t.ResourceNames(ctx, w.resources), policyNames(ctx, t, w.policies))
		if w.zoned && err == nil {
			w.planning, err = t.Planning(ctx)
		}
	}
	return errors.Join(err, c.Fleet().TenantNames(ctx, w.tenants))
}

// fill gives an answer the words that it lacks. What was asked for is done: without them it is an answer, too.
func (s *service) fill(ctx context.Context, in, out any) {
	lacks := labelsOf(out)
	if len(lacks) == 0 {
		return
	}
	words := wantedBy(lacks)
	if err := words.read(ctx, s.Catalog, in); err != nil {
		s.Logger.Warn("name what an answer is about", zap.Error(err))
		return
	}
	for _, l := range lacks {
		*l.to = words.of(l)
	}
}

func policyNames(ctx context.Context, t *catalog.Tenant, names map[tenantry.PolicyID]string) error {
	if len(names) == 0 {
		return nil
	}
	all, err := t.Policies(ctx)
	for _, p := range all {
		if _, asked := names[p.ID]; asked {
			names[p.ID] = p.Name
		}
	}
	return err
}

// zoneOf says whose time zone a schedule has: off-peak follows the tenant, which may follow its region; all others keep the one
// that they were given, or found when they were made.
func zoneOf(kind string, planning catalog.Planning) string {
	switch {
	case kind != string(catalog.ScheduleOffPeak):
		return "policy"
	case planning.OfRegion:
		return "region"
	}
	return "tenant"
}
