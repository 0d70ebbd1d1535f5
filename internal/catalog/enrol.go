package catalog

import (
	"context"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// neverDue is when the protections of a paused policy are due: the year 9999, which a
// program of any release takes for a time in the future.
const neverDue = 253_402_300_799_000_000

// protection is one workload of one resource under one policy of a tenant.
type protection struct {
	Policy   tenantry.PolicyID
	Resource tenantry.ResourceID
	Workload tenantry.Workload
}

// lockEnrolment keeps syncs and changes of policies of one tenant apart, so that a policy
// added during a sync misses nobody. SQLite has one writer anyway. NotFound: no such tenant.
func (t *Tenant) lockEnrolment(ctx context.Context, tx bun.Tx, op string) error {
	if t.c.postgres != nil {
		if _, err := exec(ctx, tx, "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", "enrolment "+string(t.id)); err != nil {
			return err
		}
	}
	return t.exists(ctx, tx, op)
}

// enroller makes rows what the rules say, in one transaction under lockEnrolment.
type enroller struct {
	t     *Tenant
	tx    bun.Tx
	now   time.Time
	plans []plan
	has   map[tenantry.Workload]bool // which workloads are enabled
	seats *seating
	joins act
}

func (t *Tenant) enroller(ctx context.Context, tx bun.Tx, now time.Time, joins act) (*enroller, error) {
	policies, err := t.policies(ctx, "read policies", tx)
	if err != nil {
		return nil, err
	}
	e := &enroller{t: t, tx: tx, now: now, joins: joins}
	for _, p := range policies {
		e.plans = append(e.plans, newPlan(p))
	}
	if e.has, err = t.enabled(ctx, tx); err != nil {
		return nil, err
	}
	e.seats, err = t.seating(ctx, tx)
	return e, err
}

// enrolAll brings all active resources of the kinds up to date; nil is all kinds.
func (t *Tenant) enrolAll(ctx context.Context, tx bun.Tx, kinds []tenantry.ResourceKind, now time.Time) error {
	return t.enrolWith(ctx, tx, kinds, now, nil)
}

// enrolBy brings all active resources up to date after somebody's act.
func (t *Tenant) enrolBy(ctx context.Context, tx bun.Tx, now time.Time, joins act) error {
	return t.enrolWith(ctx, tx, nil, now, joins)
}

func (t *Tenant) enrolWith(ctx context.Context, tx bun.Tx, kinds []tenantry.ResourceKind, now time.Time, joins act) error {
	e, err := t.enroller(ctx, tx, now, joins)
	if err != nil {
		return err
	}
	if len(kinds) == 0 {
		kinds = []tenantry.ResourceKind{tenantry.User, tenantry.Group, tenantry.Site}
	}
	if err := e.all(ctx, tenantry.Active, kinds); err != nil {
		return err
	}
	return e.finish(ctx)
}

func (e *enroller) all(ctx context.Context, state tenantry.LifeState, kinds []tenantry.ResourceKind) error {
	for after := tenantry.ResourceID(""); ; {
		var found []resourceRow
		err := scan(ctx, e.tx, &found, "SELECT ? FROM resources WHERE tenant = ? AND id > ? AND state = ? AND kind IN (?) ORDER BY id LIMIT ?",
			resourceColumns, e.t.id, after, state, bun.List(kinds), batch)
		if err != nil || len(found) == 0 {
			return err
		}
		if err := e.enrol(ctx, found); err != nil {
			return err
		}
		after = found[len(found)-1].ID
	}
}

// named brings some resources up to date.
func (e *enroller) named(ctx context.Context, ids []tenantry.ResourceID) error {
	for chunk := range slices.Chunk(ids, batch) {
		var found []resourceRow
		err := scan(ctx, e.tx, &found, "SELECT ? FROM resources WHERE tenant = ? AND id IN (?) ORDER BY id", resourceColumns, e.t.id, bun.List(chunk))
		if err != nil {
			return err
		}
		if err := e.enrol(ctx, found); err != nil {
			return err
		}
	}
	return nil
}

// enrol makes enrolments, protections, seats and standing of at most batch resources what
// the rules say of them.
func (e *enroller) enrol(ctx context.Context, resources []resourceRow) error {
	if len(resources) == 0 {
		return nil
	}
	resources = slices.SortedFunc(slices.Values(resources), func(a, b resourceRow) int { return compareIDs(a.ID, b.ID) })
	ids := make([]tenantry.ResourceID, len(resources))
	for i, r := range resources {
		ids[i] = r.ID
	}
	known, err := e.facts(ctx, resources, ids)
	if err != nil {
		return err
	}
	if err := e.seats.load(ctx, e.tx, ids); err != nil {
		return err
	}
	wanted := map[protection]time.Time{}
	standing := make(map[tenantry.ResourceID]Standing, len(ids))
	var taken rows
	for _, f := range known {
		v := judge(e.plans, f, e.joins)
		for policy, cause := range v.taken {
			taken = append(taken, []any{e.t.id, policy, f.ID, micros(e.now), cause})
		}
		standing[f.ID] = e.seats.settle(f.resourceRow, len(v.wins) > 0, v.reason, e.now)
		if standing[f.ID] != StandingCovered {
			continue
		}
		for w, p := range v.wins {
			wanted[protection{p.ID, f.ID, w}] = p.nextDue(f.ID, w, e.now)
		}
	}
	if err := e.write(ctx, "INSERT INTO policy_members (tenant, policy, resource, at, cause) VALUES ? ON CONFLICT DO NOTHING", taken); err != nil {
		return err
	}
	if err := e.protect(ctx, ids, wanted); err != nil {
		return err
	}
	if err := e.seats.store(ctx, e.tx, e.now); err != nil {
		return err
	}
	return e.stand(ctx, known, standing)
}

func compareIDs(a, b tenantry.ResourceID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// nextDue is NextDue of a policy that may be paused.
func (p Policy) nextDue(r tenantry.ResourceID, w tenantry.Workload, now time.Time) time.Time {
	if p.State == PolicyPaused {
		return fromMicros(neverDue)
	}
	return NextDue(p, r, w, now)
}

// facts reads what the rules ask of resources. Their standing is that of the table.
func (e *enroller) facts(ctx context.Context, resources []resourceRow, ids []tenantry.ResourceID) ([]facts, error) {
	groups, err := e.memberships(ctx, ids)
	if err != nil {
		return nil, err
	}
	var enrolled []protection
	err = scan(ctx, e.tx, &enrolled, "SELECT policy, resource FROM policy_members WHERE tenant = ? AND resource IN (?)", e.t.id, bun.List(ids))
	if err != nil {
		return nil, err
	}
	by := map[tenantry.ResourceID]map[tenantry.PolicyID]bool{}
	for _, row := range enrolled {
		if by[row.Resource] == nil {
			by[row.Resource] = map[tenantry.PolicyID]bool{}
		}
		by[row.Resource][row.Policy] = true
	}
	out := make([]facts, len(resources))
	for i, r := range resources {
		out[i] = facts{resourceRow: r, has: r.enabled(e.has), groups: groups[r.ID], enrolled: by[r.ID]}
	}
	return out, nil
}

// enabled lists those of the resource's workloads that are.
func (r resourceRow) enabled(set map[tenantry.Workload]bool) []tenantry.Workload {
	return slices.DeleteFunc(split[tenantry.Workload](r.Workloads), func(w tenantry.Workload) bool { return !set[w] })
}

// memberships reads which of the groups that policies name resources are in.
func (e *enroller) memberships(ctx context.Context, ids []tenantry.ResourceID) (map[tenantry.ResourceID][]string, error) {
	named := slices.ContainsFunc(e.plans, func(p plan) bool { return len(p.groups)+len(p.excludedGroups) > 0 })
	if !named {
		return nil, nil
	}
	var found []struct {
		Grp      string
		Resource tenantry.ResourceID
	}
	err := scan(ctx, e.tx, &found, "SELECT grp, resource FROM group_members WHERE tenant = ? AND resource IN (?)", e.t.id, bun.List(ids))
	groups := map[tenantry.ResourceID][]string{}
	for _, row := range found {
		groups[row.Resource] = append(groups[row.Resource], row.Grp)
	}
	return groups, err
}

// protect makes the protections of resources the wanted ones. One that is there keeps its
// due time.
func (e *enroller) protect(ctx context.Context, ids []tenantry.ResourceID, wanted map[protection]time.Time) error {
	var present []protection
	err := scan(ctx, e.tx, &present, "SELECT policy, resource, workload FROM protections WHERE tenant = ? AND resource IN (?)", e.t.id, bun.List(ids))
	if err != nil {
		return err
	}
	var stale, fresh rows
	for _, p := range present {
		if _, ok := wanted[p]; !ok {
			stale = append(stale, []any{p.Policy, p.Resource, p.Workload})
		}
		delete(wanted, p)
	}
	for p, due := range wanted {
		fresh = append(fresh, []any{e.t.id, p.Policy, p.Resource, p.Workload, micros(due)})
	}
	for chunk := range slices.Chunk(stale, batch) {
		_, err := exec(ctx, e.tx, "DELETE FROM protections WHERE tenant = ? AND (policy, resource, workload) IN (VALUES ?)", e.t.id, chunk)
		if err != nil {
			return err
		}
	}
	return e.write(ctx, "INSERT INTO protections (tenant, policy, resource, workload, next_due_at) VALUES ?", fresh)
}

// stand writes the standings that changed.
func (e *enroller) stand(ctx context.Context, known []facts, standing map[tenantry.ResourceID]Standing) error {
	ids := make([]tenantry.ResourceID, len(known))
	for i, f := range known {
		ids[i] = f.ID
	}
	var found []struct {
		ID       tenantry.ResourceID
		Standing Standing
	}
	if err := scan(ctx, e.tx, &found, "SELECT id, standing FROM resources WHERE tenant = ? AND id IN (?)", e.t.id, bun.List(ids)); err != nil {
		return err
	}
	changed := map[Standing][]tenantry.ResourceID{}
	for _, row := range found {
		if next := standing[row.ID]; next != row.Standing {
			changed[next] = append(changed[next], row.ID)
		}
	}
	for next, ids := range changed {
		if _, err := exec(ctx, e.tx, "UPDATE resources SET standing = ? WHERE tenant = ? AND id IN (?)", next, e.t.id, bun.List(ids)); err != nil {
			return err
		}
	}
	return nil
}

func (e *enroller) write(ctx context.Context, insert string, fresh rows) error {
	for chunk := range slices.Chunk(fresh, batch) {
		if _, err := exec(ctx, e.tx, insert, chunk); err != nil {
			return err
		}
	}
	return nil
}

// finish gives the seats that a hard quota leaves to those who wait, first come, first
// served, and raises or ends the alarms about quotas.
func (e *enroller) finish(ctx context.Context) error {
	if free := e.seats.free(); free > 0 {
		var waiting []tenantry.ResourceID
		err := scan(ctx, e.tx, &waiting, `SELECT r.id FROM resources r WHERE r.tenant = ?0 AND r.standing = 'quota'
			ORDER BY (SELECT min(n.at) FROM policy_members n WHERE n.tenant = ?0 AND n.resource = r.id), r.id LIMIT ?1`, e.t.id, free)
		if err != nil {
			return err
		}
		e.joins, e.seats.giving = nil, true
		for len(waiting) > 0 {
			if err := e.named(ctx, waiting[:min(batch, len(waiting))]); err != nil {
				return err
			}
			waiting = waiting[min(batch, len(waiting)):]
		}
	}
	return e.seats.alarm(ctx, e.tx, e.now)
}

// reschedule gives the protections of a policy their due times anew if its schedule, or
// whether it is paused, changed.
func (t *Tenant) reschedule(ctx context.Context, tx bun.Tx, old, next Policy, now time.Time) error {
	before, after := old.row(t.id, now), next.row(t.id, now)
	same := before.Schedule == after.Schedule && before.AtMinute == after.AtMinute && before.WindowLen == after.WindowLen &&
		before.Hours == after.Hours && before.TimeZone == after.TimeZone && before.Blackouts == after.Blackouts
	if same && (old.State == PolicyPaused) == (next.State == PolicyPaused) {
		return nil
	}
	var found []protection
	err := scan(ctx, tx, &found, "SELECT policy, resource, workload FROM protections WHERE tenant = ? AND policy = ? ORDER BY resource, workload", t.id, next.ID)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(found, batch) {
		var values rows
		for _, p := range chunk {
			values = append(values, []any{p.Resource, p.Workload, micros(next.nextDue(p.Resource, p.Workload, now))})
		}
		_, err := exec(ctx, tx, `WITH v (resource, workload, next) AS (VALUES ?)
			UPDATE protections SET next_due_at = v.next
			FROM v WHERE protections.tenant = ? AND protections.policy = ? AND protections.resource = v.resource AND protections.workload = v.workload`,
			values, t.id, next.ID)
		if err != nil {
			return err
		}
	}
	return nil
}

// nextEnrolment is when a policy of EnrolDaily takes in newcomers next: the local time
// EnrolAt, on days without it the instant of the change of clocks.
func nextEnrolment(p Policy, after time.Time) time.Time {
	p.Schedule, p.At, p.Window, p.Blackouts = ScheduleFixed, p.EnrolAt, 1, nil
	c := cycleBefore(&p, after)
	for ; !c.start.After(after); c = c.next() {
	}
	return c.start
}

// Enrol takes in newcomers of at most limit policies of EnrolDaily whose time of day has
// come, one transaction each, guarded by the leader's fence (Fenced). It returns how many
// policies there were.
func (f *Fleet) Enrol(ctx context.Context, fence int64, limit int, now time.Time) (int, error) {
	var due []policyRow
	err := f.c.read(ctx, "list policies that take in newcomers", &due, `SELECT ? FROM policies p
		WHERE p.next_enrol_at > 0 AND p.next_enrol_at <= ? ORDER BY p.next_enrol_at LIMIT ?`, policyColumns, micros(now), limit)
	if err != nil {
		return 0, err
	}
	for _, row := range due {
		if err := f.enrolDaily(ctx, fence, row, now); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

func (f *Fleet) enrolDaily(ctx context.Context, fence int64, due policyRow, now time.Time) error {
	t := f.c.Tenant(due.Tenant)
	op := "take in newcomers of tenant " + string(due.Tenant)
	return f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := f.c.fence(ctx, tx, fence); err != nil {
			return err
		}
		if err := t.lockEnrolment(ctx, tx, op); err != nil {
			return err
		}
		n, err := exec(ctx, tx, `UPDATE policies SET next_enrol_at = ? WHERE tenant = ? AND id = ? AND next_enrol_at = ?`,
			micros(nextEnrolment(due.policy(), now)), due.Tenant, due.ID, due.NextEnrolAt)
		if err != nil || n == 0 { // somebody changed it meanwhile
			return err
		}
		e, err := t.enroller(ctx, tx, now, takeIn(due.ID, causeHour))
		if err != nil {
			return err
		}
		var newcomers []tenantry.ResourceID
		err = scan(ctx, tx, &newcomers, `SELECT r.id FROM resources r WHERE r.tenant = ?0 AND r.state = 'active' AND NOT EXISTS (
			SELECT 1 FROM policy_members n WHERE n.tenant = ?0 AND n.resource = r.id AND n.policy = ?1) ORDER BY r.id`, due.Tenant, due.ID)
		if err != nil {
			return err
		}
		if err := e.named(ctx, newcomers); err != nil {
			return err
		}
		return e.finish(ctx)
	})
}
