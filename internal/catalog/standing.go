package catalog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Explanation says why a resource is protected, or why not.
type Explanation struct {
	Standing  Standing // why, in a word; "" unless the resource is active
	Policies  []PolicyPart
	Workloads []WorkloadProtection
	Class     SeatClass // how seats count it
	NeedsSeat bool      // whether that class takes a seat
	Seat      *SeatRow  // the one it has
}

// PolicyPart is one policy's part in what becomes of a resource.
type PolicyPart struct {
	Policy   Policy
	Reach    Reach // how it reaches the resource
	Excluded bool  // it excludes it
	Enrolled bool  // it has taken it in
	// Standing is what would become of the resource if there were no other policy, and seats enough.
	Standing Standing
	Protects []tenantry.Workload // what it protects, before all others that would
}

// WorkloadProtection is a workload that a policy protects.
type WorkloadProtection struct {
	Workload tenantry.Workload
	Policy   tenantry.PolicyID
	NextDue  time.Time // zero: the policy is paused
	SavedAt  time.Time // when its last backup ended well; zero: never
	Stale    bool      // longer ago than the policy's objective
}

// factsOf reads the tenant's policies, and of a resource what the rules ask of it.
func (t *Tenant) factsOf(ctx context.Context, db bun.IDB, r Resource) ([]Policy, facts, error) {
	f := facts{
		resourceRow: resourceRow{ID: r.ID, Kind: r.Kind, State: r.State, Workloads: join(r.Workloads), MailboxKind: r.MailboxKind, Subkind: r.Subkind, Licensed: r.Licensed},
		enrolled:    map[tenantry.PolicyID]bool{},
	}
	op := fmt.Sprintf("read the standing of %s of tenant %s", r.ID, t.id)
	enabled, err := t.enabled(ctx, db)
	if err != nil {
		return nil, f, err
	}
	f.has = f.enabled(enabled)
	policies, err := t.policies(ctx, op, db)
	if err != nil {
		return nil, f, err
	}
	if err := db.NewRaw("SELECT grp FROM group_members WHERE tenant = ? AND resource = ?", t.id, r.ID).Scan(ctx, &f.groups); err != nil {
		return nil, f, wrapIn(ctx, op, err)
	}
	var enrolled []tenantry.PolicyID
	if err := db.NewRaw("SELECT policy FROM policy_members WHERE tenant = ? AND resource = ?", t.id, r.ID).Scan(ctx, &enrolled); err != nil {
		return nil, f, wrapIn(ctx, op, err)
	}
	for _, id := range enrolled {
		f.enrolled[id] = true
	}
	return policies, f, nil
}

// Explain says why a resource is protected, or why not. NotFound: no such resource.
func (t *Tenant) Explain(ctx context.Context, id tenantry.ResourceID, now time.Time) (Explanation, error) {
	r, err := t.Resource(ctx, id)
	if err != nil {
		return Explanation{}, err
	}
	policies, f, err := t.factsOf(ctx, t.c.reader, r)
	if err != nil {
		return Explanation{}, err
	}
	x := Explanation{Standing: r.Standing, Class: classOf(f.resourceRow)}
	licensing, err := t.licensing(ctx, t.c.reader)
	if err != nil {
		return x, wrapIn(ctx, "read the licensing of tenant "+string(t.id), err)
	}
	x.NeedsSeat = slices.Contains(licensing.Take, x.Class)
	if x.Seat, err = t.seatOf(ctx, id); err != nil {
		return x, err
	}
	if x.Workloads, err = t.protectionsOf(ctx, id, now); err != nil {
		return x, err
	}
	x.Policies = parts(policies, f, x.Workloads)
	return x, nil
}

// parts tells of each policy that has to do with the resource, the one that goes before
// the others first.
func parts(policies []Policy, f facts, protected []WorkloadProtection) []PolicyPart {
	var plans []plan
	for _, p := range policies {
		plans = append(plans, newPlan(p))
	}
	told := judge(plans, f, nil).told
	var list []PolicyPart
	for _, p := range policies {
		s := told[p.ID]
		if s.reach == ReachNone && !s.excluded {
			continue
		}
		part := PolicyPart{Policy: p, Reach: s.reach, Excluded: s.excluded, Enrolled: s.enrolled, Standing: s.standing}
		for _, w := range protected {
			if w.Policy == p.ID {
				part.Protects = append(part.Protects, w.Workload)
			}
		}
		list = append(list, part)
	}
	slices.SortFunc(list, func(a, b PolicyPart) int { return comparePrecedence(a.Policy, a.Reach, b.Policy, b.Reach) })
	return list
}

func (t *Tenant) protectionsOf(ctx context.Context, id tenantry.ResourceID, now time.Time) ([]WorkloadProtection, error) {
	var found []struct {
		Workload  tenantry.Workload
		Policy    tenantry.PolicyID
		NextDueAt int64
		SavedAt   int64
		Objective int64
	}
	err := t.c.read(ctx, fmt.Sprintf("list protections of %s of tenant %s", id, t.id), &found, `
		SELECT p.workload, p.policy, p.next_due_at, coalesce(s.saved_at, 0) AS saved_at, l.objective
		FROM protections p JOIN policies l ON l.tenant = p.tenant AND l.id = p.policy
		LEFT JOIN series s ON s.tenant = ?0 AND s.resource = p.resource AND s.workload = p.workload
		WHERE p.tenant = ?0 AND l.tenant = ?0 AND p.resource = ?1 ORDER BY p.workload, p.policy`, t.id, id)
	out := make([]WorkloadProtection, len(found))
	for i, row := range found {
		out[i] = WorkloadProtection{Workload: row.Workload, Policy: row.Policy, SavedAt: fromMicros(row.SavedAt)}
		out[i].Stale = row.SavedAt > 0 && row.SavedAt+row.Objective < micros(now)
		if row.NextDueAt < neverDue {
			out[i].NextDue = fromMicros(row.NextDueAt)
		}
	}
	return out, err
}

func (t *Tenant) seatOf(ctx context.Context, id tenantry.ResourceID) (*SeatRow, error) {
	var found []seatRow
	err := t.c.read(ctx, fmt.Sprintf("read the seat of %s of tenant %s", id, t.id), &found,
		seatQuery+" WHERE s.tenant = ?0 AND s.resource = ?1 AND s.until = 0", t.id, id)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &seatRows(found)[0], nil
}

// Forecast is what a policy would cover if it were active, beside the tenant's others.
type Forecast struct {
	Resources int64                       // that it would protect, of at least one workload
	Workloads map[tenantry.Workload]int64 // that it would protect
	Newly     int64                       // of Resources, those that nothing protects now
	Yielded   int64                       // resources that it covers and another policy protects, before it
	Seats     int64                       // that it would take beyond those that are taken
	Used      int64                       // seats that are taken now
	Unseated  int64                       // resources that would get no seat
	Soft      int64                       // quotas; 0: none
	Hard      int64
	Unlisted  []string // groups that it names and that no sync has listed yet
}

// Forecast tells what a policy, added or only proposed, would cover if it were active. Of a
// new policy CreatedAt is now: older ones go before it. It changes nothing, and reads all
// resources of the tenant.
func (t *Tenant) Forecast(ctx context.Context, p Policy) (Forecast, error) {
	p = p.settled()
	p.State, p.Enrol = PolicyActive, EnrolAutomatic
	f := Forecast{Workloads: map[tenantry.Workload]int64{}}
	op := "forecast a policy of tenant " + string(t.id)
	err := t.c.reader.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		e, err := t.enroller(ctx, tx, p.CreatedAt, nil)
		if err != nil {
			return err
		}
		e.plans = slices.DeleteFunc(e.plans, func(o plan) bool { return o.ID == p.ID })
		e.plans = append(e.plans, newPlan(p))
		e.seats.giving = true
		return e.forecast(ctx, p.ID, &f)
	})
	if err != nil {
		return f, wrapIn(ctx, op, err)
	}
	var listed []string
	groups := slices.Concat(p.Targets.Groups, p.Targets.ExcludeGroups)
	if len(groups) > 0 {
		err = t.c.read(ctx, op, &listed, "SELECT grp FROM member_lists WHERE tenant = ? AND at > 0 AND grp IN (?)", t.id, bun.List(groups))
		f.Unlisted = slices.DeleteFunc(groups, func(g string) bool { return slices.Contains(listed, g) })
	}
	return f, err
}

// forecast counts what the policy would win, and what seats that takes, without writing.
func (e *enroller) forecast(ctx context.Context, id tenantry.PolicyID, f *Forecast) error {
	for after := tenantry.ResourceID(""); ; {
		var found []resourceRow
		err := scan(ctx, e.tx, &found, "SELECT ? FROM resources WHERE tenant = ? AND id > ? AND state = 'active' ORDER BY id LIMIT ?",
			resourceColumns, e.t.id, after, batch)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			break
		}
		ids := idsOf(found)
		known, err := e.facts(ctx, found, ids)
		if err != nil {
			return err
		}
		if err := e.seats.load(ctx, e.tx, ids); err != nil {
			return err
		}
		for _, one := range known {
			f.add(judge(e.plans, one, nil), one, id, e)
		}
		after = ids[len(ids)-1]
	}
	f.Soft, f.Hard = e.seats.Soft, e.seats.Hard
	return scan(ctx, e.tx, &f.Used, "SELECT count(*) FROM seats WHERE tenant = ? AND until = 0", e.t.id)
}

func (f *Forecast) add(v verdict, one facts, id tenantry.PolicyID, e *enroller) {
	won := false
	for w, p := range v.wins {
		if p.ID == id {
			won = true
			f.Workloads[w]++
		}
	}
	if !won {
		if v.told[id].standing == StandingCovered {
			f.Yielded++
		}
		return
	}
	_, seated := e.seats.has[one.ID]
	standing := e.seats.settle(one.resourceRow, true, v.reason, e.now)
	_, seats := e.seats.has[one.ID]
	if standing != StandingCovered {
		f.Unseated++
	}
	if seats && !seated {
		f.Seats++
	}
	f.Resources++
	if one.Standing != StandingCovered {
		f.Newly++
	}
}
