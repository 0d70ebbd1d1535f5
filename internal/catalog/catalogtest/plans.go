package catalogtest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	someGroup  = "00000000-0000-4000-8000-000000000001"
	otherGroup = "00000000-0000-4000-8000-000000000002"
)

// standings reads why each resource of a tenant is protected, or why not.
func (w *world) standings(t *catalog.Tenant) map[tenantry.ResourceID]catalog.Standing {
	w.t.Helper()
	out := map[tenantry.ResourceID]catalog.Standing{}
	all, err := t.Resources(w.ctx, catalog.ResourceFilter{Limit: 1000})
	w.ok(err)
	for _, r := range all {
		out[r.ID] = r.Standing
	}
	return out
}

// protectors reads which policy protects the mailbox of each user, with its due time.
func (w *world) protectors() map[tenantry.ResourceID]tenantry.PolicyID {
	w.t.Helper()
	out := map[tenantry.ResourceID]tenantry.PolicyID{}
	due, err := w.f.Due(w.ctx, time.UnixMicro(1<<60), 10000)
	w.ok(err)
	for _, d := range due {
		if d.Workload != tenantry.Mailbox {
			continue
		}
		if before, twice := out[d.Resource]; twice {
			w.t.Fatalf("%s is protected by %s and by %s", d.Resource, before, d.Policy)
		}
		out[d.Resource] = d.Policy
	}
	return out
}

func same[T any](w *world, what string, got, expected T) {
	w.t.Helper()
	if diff := cmp.Diff(expected, got); diff != "" {
		w.t.Fatalf("%s (-expected +got):\n%s", what, diff)
	}
}

// testPolicyLife walks a policy through its states.
func testPolicyLife(_ *testing.T, w *world) {
	a := w.tenant("a")
	w.ok(a.ApplySync(w.ctx, tenantry.User, users(3), "1", now))
	p := policy("daily")
	p.State = catalog.PolicyDraft
	w.ok(a.AddPolicy(w.ctx, p, now))
	expect(w, "protected by a draft", len(w.due()), 0)
	expect(w, "standing under a draft", w.standings(a)[user(0)], catalog.StandingDraft)
	_, err := a.PausePolicy(w.ctx, p.ID, now)
	w.kind(err, tenantry.Conflict)

	_, err = a.ActivatePolicy(w.ctx, p.ID, []tenantry.ResourceID{user(1), "u-none"}, now)
	w.kind(err, tenantry.Invalid)
	expect(w, "protected after a refused activation", len(w.due()), 0)
	draft, err := a.ActivatePolicy(w.ctx, p.ID, []tenantry.ResourceID{user(1)}, now)
	w.ok(err)
	expect(w, "state after activation for one user", draft.State, catalog.PolicyDraft)
	same(w, "protected by a draft for one user", w.protectors(), map[tenantry.ResourceID]tenantry.PolicyID{user(1): p.ID})

	active, err := a.ActivatePolicy(w.ctx, p.ID, nil, now.Add(time.Minute))
	w.ok(err)
	expect(w, "activated at", active.ActivatedAt, now.Add(time.Minute))
	expect(w, "protected when active", len(w.due()), 6)

	_, err = a.PausePolicy(w.ctx, p.ID, now)
	w.ok(err)
	expect(w, "due in three days while paused", len(w.due()), 0)
	expect(w, "standing while paused", w.standings(a)[user(0)], catalog.StandingCovered)
	w.ok(a.ApplySync(w.ctx, tenantry.User, users(4), "2", now))
	expect(w, "newcomer while paused", w.standings(a)[user(3)], catalog.StandingLater)
	paused, err := a.Coverage(w.ctx, now)
	w.ok(err)
	expect(w, "paused resources", paused.Paused, int64(3))
	_, err = a.ActivatePolicy(w.ctx, p.ID, nil, now)
	w.ok(err)
	expect(w, "protected when it goes on", len(w.due()), 8)

	later := now.Add(time.Hour)
	changed, err := a.ChangePolicy(w.ctx, p.ID, func(p catalog.Policy) (catalog.Policy, error) {
		p.Name, p.Schedule, p.Hours = "six-hourly", catalog.ScheduleEvery, 6
		return p, nil
	}, later)
	w.ok(err)
	expect(w, "objective goes with the schedule", changed.Objective, 9*time.Hour)
	for _, d := range w.due() {
		expect(w, "due time of "+string(d.Resource), d.DueAt, catalog.NextDue(changed, d.Resource, d.Workload, later).UTC())
		expect(w, "name", d.PolicyRow.Name, "six-hourly")
	}
	_, err = a.ChangePolicy(w.ctx, p.ID, func(p catalog.Policy) (catalog.Policy, error) { p.Hours = 0; return p, nil }, later)
	w.kind(err, tenantry.Invalid)
	_, err = a.ChangePolicy(w.ctx, "p-none", func(p catalog.Policy) (catalog.Policy, error) { return p, nil }, later)
	w.kind(err, tenantry.NotFound)
}

// testTargets holds who is reached how, and that an exclusion is stronger.
func testTargets(_ *testing.T, w *world) {
	a := w.tenant("a")
	w.ok(a.ApplySync(w.ctx, tenantry.User, users(6), "1", now))
	all, members, chosen := policy("a-all"), policy("b-group"), policy("c-chosen")
	all.Targets = catalog.Targets{Exclude: []tenantry.ResourceID{user(5)}, ExcludeGroups: []string{otherGroup}}
	members.Kinds, members.Targets = nil, catalog.Targets{Groups: []string{someGroup}}
	chosen.Kinds, chosen.Targets = nil, catalog.Targets{Chosen: []tenantry.ResourceID{user(0)}}
	for _, p := range []catalog.Policy{all, members, chosen} {
		w.ok(a.AddPolicy(w.ctx, p, now))
	}
	lists, err := a.MemberLists(w.ctx)
	w.ok(err)
	same(w, "groups to list", lists, []catalog.MemberList{{Group: someGroup}, {Group: otherGroup}})
	w.ok(a.ApplyMembers(w.ctx, someGroup, []tenantry.ResourceID{user(0), user(1), user(2), "u-unknown"}, "", now))
	w.ok(a.ApplyMembers(w.ctx, otherGroup, []tenantry.ResourceID{user(4)}, "", now))
	w.ok(a.ApplyMembers(w.ctx, "00000000-0000-4000-8000-000000000003", []tenantry.ResourceID{user(4)}, "", now)) // nobody named it
	same(w, "who protects whom", w.protectors(), map[tenantry.ResourceID]tenantry.PolicyID{
		user(0): chosen.ID, user(1): members.ID, user(2): members.ID, user(3): all.ID,
	})
	expect(w, "excluded by a group", w.standings(a)[user(4)], catalog.StandingExcluded)
	expect(w, "excluded by name", w.standings(a)[user(5)], catalog.StandingExcluded)

	x, err := a.Explain(w.ctx, user(0), now)
	w.ok(err)
	var order []string
	for _, part := range x.Policies {
		order = append(order, fmt.Sprint(part.Policy.ID, " ", part.Reach, " ", part.Protects))
	}
	same(w, "why", order, []string{"p-c-chosen chosen [drive mailbox]", "p-b-group group []", "p-a-all kind []"})

	w.ok(a.ApplyMembers(w.ctx, someGroup, []tenantry.ResourceID{user(2)}, "", now))
	expect(w, "who left the group", w.protectors()[user(1)], all.ID)
	w.ok(a.ApplyMembers(w.ctx, someGroup, nil, "the group is gone", now))
	expect(w, "who was in a group that cannot be listed", w.protectors()[user(2)], members.ID)
	lists, err = a.MemberLists(w.ctx)
	w.ok(err)
	same(w, "a group with its problem", lists[0], catalog.MemberList{Group: someGroup, At: now, Members: 1, Problem: "the group is gone"})
	w.ok(a.DeletePolicy(w.ctx, members.ID, now))
	expect(w, "who was in the group of a deleted policy", w.protectors()[user(2)], all.ID)
	lists, err = a.MemberLists(w.ctx)
	w.ok(err)
	expect(w, "groups that are named still", len(lists), 1)
}

// testEnrolModes holds when newcomers are taken in.
func testEnrolModes(_ *testing.T, w *world) {
	a := w.tenant("a")
	fence := w.lead()
	w.ok(a.ApplySync(w.ctx, tenantry.User, users(2), "1", now))
	p := policy("daily")
	p.Enrol, p.EnrolAt, p.TimeZone = catalog.EnrolDaily, 20*60, "Australia/Sydney"
	w.ok(a.AddPolicy(w.ctx, p, now))
	w.ok(a.ApplySync(w.ctx, tenantry.User, users(3), "2", now))
	expect(w, "newcomer before the hour", w.standings(a)[user(2)], catalog.StandingAwaitsHour)
	n, err := w.f.Enrol(w.ctx, fence, 10, now)
	w.ok(err)
	expect(w, "policies at their hour", n, 0)
	_, err = w.f.Enrol(w.ctx, fence+1, 10, now.Add(25*time.Hour))
	w.kind(err, tenantry.Fenced)
	hour := catalog.NextDue(catalog.Policy{Schedule: catalog.ScheduleFixed, At: p.EnrolAt, Window: 1, TimeZone: p.TimeZone}, "", "", now).Truncate(time.Minute)
	for range 2 { // again: nothing more
		_, err = w.f.Enrol(w.ctx, fence, 10, hour)
		w.ok(err)
		expect(w, "newcomer after the hour", w.standings(a)[user(2)], catalog.StandingCovered)
	}
	for _, d := range w.due() {
		if d.Resource == user(2) {
			expect(w, "first backup of the newcomer", d.DueAt, catalog.NextDue(d.PolicyRow, d.Resource, d.Workload, hour).UTC())
		}
	}

	_, err = a.ChangePolicy(w.ctx, p.ID, func(p catalog.Policy) (catalog.Policy, error) { p.Enrol = catalog.EnrolPresent; return p, nil }, now)
	w.ok(err)
	all := users(5)
	w.ok(a.ApplySync(w.ctx, tenantry.User, all, "3", now))
	expect(w, "who came later", w.standings(a)[user(3)], catalog.StandingLater)
	all[0].State = tenantry.Inactive
	w.ok(a.ApplySync(w.ctx, tenantry.User, all[:1], "4", now))
	all[0].State = tenantry.Active
	w.ok(a.ApplySync(w.ctx, tenantry.User, all[:1], "5", now))
	expect(w, "who came back", w.standings(a)[user(0)], catalog.StandingCovered)
	choose := func(p catalog.Policy) (catalog.Policy, error) {
		p.Kinds = append(p.Kinds, tenantry.Group)
		p.Targets.Chosen = []tenantry.ResourceID{user(4)}
		return p, nil
	}
	_, err = a.ChangePolicy(w.ctx, p.ID, choose, now)
	w.ok(err)
	expect(w, "who was reached before the change", w.standings(a)[user(4)], catalog.StandingLater)
	_, err = a.ActivatePolicy(w.ctx, p.ID, nil, now)
	w.ok(err)
	expect(w, "who was there when it was activated again", w.standings(a)[user(3)], catalog.StandingCovered)
}

// testSeats holds quotas, manual seats, and months.
func testSeats(_ *testing.T, w *world) {
	a := w.tenant("a")
	w.ok(a.AddPolicy(w.ctx, policy("daily"), now))
	usual := catalog.Licensing{Mode: catalog.SeatsAutomatic, Soft: 2, Hard: 3, Take: []catalog.SeatClass{catalog.SeatUser}}
	w.ok(a.SetLicensing(w.ctx, usual, now))
	all := users(6)
	all[5].MailboxKind, all[5].Licensed = "shared", false
	w.ok(a.ApplySync(w.ctx, tenantry.User, all, "1", now))
	for i := range 6 {
		expected := catalog.StandingCovered
		if i == 3 || i == 4 {
			expected = catalog.StandingQuota
		}
		expect(w, fmt.Sprint("standing of user ", i), w.standings(a)[user(i)], expected)
	}
	expect(w, "alarms", alarmsOf(w, a), "quota_hard quota_soft ")

	gone := all[0]
	gone.State = tenantry.Gone
	w.ok(a.ApplySync(w.ctx, tenantry.User, []catalog.Resource{gone}, "2", now.Add(time.Second)))
	expect(w, "who waited gets the free seat", w.standings(a)[user(3)], catalog.StandingCovered)
	expect(w, "who waits still", w.standings(a)[user(4)], catalog.StandingQuota)
	month, err := a.Seats(w.ctx, now.Year(), now.Month(), "", 0)
	w.ok(err)
	expect(w, "seats of the month: one ended, three last", len(month), 4)
	expect(w, "the ended one", month[0].Until, now.Add(time.Second))
	expect(w, "rule", month[1].Rule, catalog.SeatUser)
	before, err := a.Seats(w.ctx, now.Year()-1, now.Month(), "", 0)
	w.ok(err)
	expect(w, "seats of a month long ago", len(before), 0)
	counts, err := w.f.SeatCounts(w.ctx, now.Year(), now.Month(), "", 0)
	w.ok(err)
	same(w, "the fleet's seats", counts, []catalog.SeatCount{{Tenant: "t-a", Name: "a", Rule: catalog.SeatUser, Seats: 4}})

	usual.Hard, usual.Take = 0, append(usual.Take, catalog.SeatShared)
	w.ok(a.SetLicensing(w.ctx, usual, now.Add(2*time.Second)))
	expect(w, "without a quota", w.standings(a)[user(4)], catalog.StandingCovered)
	expect(w, "alarms without a hard quota", alarmsOf(w, a), "quota_soft ")
	_, used, err := a.Licensing(w.ctx)
	w.ok(err)
	expect(w, "seats with the shared mailbox", used, int64(5))

	w.kind(a.AssignSeats(w.ctx, []tenantry.ResourceID{user(1)}, "ada", now), tenantry.Conflict)
	w.ok(a.SetLicensing(w.ctx, catalog.Licensing{Mode: catalog.SeatsManual, Hard: 5, Take: usual.Take}, now.Add(3*time.Second)))
	w.ok(a.RevokeSeats(w.ctx, []tenantry.ResourceID{user(1)}, now.Add(3*time.Second)))
	expect(w, "without a seat", w.standings(a)[user(1)], catalog.StandingNoSeat)
	w.ok(a.ApplySync(w.ctx, tenantry.User, []catalog.Resource{all[0]}, "3", now.Add(4*time.Second)))
	expect(w, "a newcomer without a seat", w.standings(a)[user(0)], catalog.StandingNoSeat)
	w.kind(a.AssignSeats(w.ctx, []tenantry.ResourceID{user(0), user(1)}, "ada", now), tenantry.Conflict)
	w.kind(a.AssignSeats(w.ctx, []tenantry.ResourceID{"u-none"}, "ada", now), tenantry.NotFound)
	w.ok(a.AssignSeats(w.ctx, []tenantry.ResourceID{user(1)}, "ada", now.Add(5*time.Second)))
	expect(w, "with a seat by hand", w.standings(a)[user(1)], catalog.StandingCovered)
	x, err := a.Explain(w.ctx, user(1), now)
	w.ok(err)
	expect(w, "who assigned it", x.Seat.Actor, "ada")
	for _, bad := range []catalog.Licensing{
		{}, {Mode: catalog.SeatsAutomatic, Soft: 3, Hard: 2}, {Mode: catalog.SeatsManual, Hard: -1}, {Mode: catalog.SeatsManual, Take: []catalog.SeatClass{"dog"}},
	} {
		w.kind(a.SetLicensing(w.ctx, bad, now), tenantry.Invalid)
	}
}

// testDepartedSeats holds that who left keeps a seat while backups are stored, where the rule says so.
func testDepartedSeats(_ *testing.T, w *world) {
	a := w.enrolled("a", 2)
	p := w.worker("1")
	_, claims := w.claimed(a, p, 1)
	w.ok(a.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskDone, Snapshot: &catalog.SnapshotRow{Seq: 1, Time: now}}, now))
	rules := catalog.Licensing{Mode: catalog.SeatsAutomatic, Take: []catalog.SeatClass{catalog.SeatUser, catalog.SeatDeparted}}
	w.ok(a.SetLicensing(w.ctx, rules, now))
	all := users(2)
	all[0].State, all[1].State = tenantry.Inactive, tenantry.Inactive
	w.ok(a.ApplySync(w.ctx, tenantry.User, all, "2", now.Add(time.Second)))
	x, err := a.Explain(w.ctx, user(0), now)
	w.ok(err)
	expect(w, "who left with backups", x.Seat.Rule, catalog.SeatDeparted)
	x, err = a.Explain(w.ctx, user(1), now)
	w.ok(err)
	if x.Seat != nil {
		w.t.Fatalf("who left without backups has a seat: %+v", x.Seat)
	}
}

func alarmsOf(w *world, t *catalog.Tenant) (causes string) {
	w.t.Helper()
	list, err := t.Alarms(w.ctx)
	w.ok(err)
	for _, alarm := range list {
		causes += alarm.Cause + " "
	}
	return causes
}

// testCoverage holds how resources are counted.
func testCoverage(_ *testing.T, w *world) {
	a := w.tenant("a")
	plan := policy("daily")
	plan.Workloads = []tenantry.Workload{tenantry.Mailbox}
	plan.Targets.Exclude = []tenantry.ResourceID{user(3)}
	plan.Objective = time.Hour
	w.ok(a.AddPolicy(w.ctx, plan, now))
	all := users(7)
	all[4].Workloads, all[5].Workloads, all[6].State = []tenantry.Workload{tenantry.Drive}, nil, tenantry.Gone
	w.ok(a.ApplySync(w.ctx, tenantry.User, all, "1", now))
	w.ok(w.tenant("b").ApplySync(w.ctx, tenantry.User, users(2), "1", now))

	p := w.worker("1")
	_, claims := w.claimed(a, p, 3)
	w.ok(a.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskDone}, now))
	w.ok(a.Settle(w.ctx, claims[1], catalog.Settlement{State: catalog.TaskDone}, now.Add(-2*time.Hour)))
	w.ok(a.Settle(w.ctx, claims[2], catalog.Settlement{State: catalog.TaskFailed, Kind: tenantry.Denied}, now))
	expected := catalog.Coverage{
		Tenant: "t-a", Name: "a", Region: catalog.DefaultRegion, Eligible: 5, Covered: 3, Within: 1, Stale: 1, Never: 1, Excluded: 1,
		Unprotected: map[catalog.Standing]int64{catalog.StandingWorkloads: 1},
	}
	got, err := a.Coverage(w.ctx, now)
	w.ok(err)
	same(w, "coverage", got, expected)
	total, tenants, err := w.f.Coverage(w.ctx, now)
	w.ok(err)
	same(w, "coverage of the first tenant in the fleet's", tenants[0], expected)
	expect(w, "eligible in all", total.Eligible, int64(7))
	expect(w, "without a policy in all", total.Unprotected[catalog.StandingNoPolicy], int64(2))
	_, err = w.c.Tenant("t-none").Coverage(w.ctx, now)
	w.kind(err, tenantry.NotFound)
}

// testForecast holds that a preview tells what the policy then does.
func testForecast(_ *testing.T, w *world) {
	a := w.tenant("a")
	w.ok(a.SetLicensing(w.ctx, catalog.Licensing{Mode: catalog.SeatsAutomatic, Hard: 4, Take: []catalog.SeatClass{catalog.SeatUser}}, now))
	first := policy("first")
	first.Kinds, first.Targets = nil, catalog.Targets{Chosen: []tenantry.ResourceID{user(0)}}
	w.ok(a.AddPolicy(w.ctx, first, now))
	w.ok(a.ApplySync(w.ctx, tenantry.User, users(6), "1", now))
	next := policy("next")
	next.CreatedAt, next.Targets.Groups = now, []string{someGroup}
	f, err := a.Forecast(w.ctx, next)
	w.ok(err)
	same(w, "forecast", f, catalog.Forecast{
		Resources: 5, Workloads: map[tenantry.Workload]int64{tenantry.Mailbox: 5, tenantry.Drive: 5}, Newly: 5, Yielded: 1,
		Seats: 3, Used: 1, Unseated: 2, Hard: 4, Unlisted: []string{someGroup},
	})
	expect(w, "protected after the forecast", len(w.protectors()), 1)
	w.ok(a.AddPolicy(w.ctx, next, now))
	won := 0
	for _, p := range w.protectors() {
		if p == next.ID {
			won++
		}
	}
	expect(w, "protected by it", int64(won), f.Resources-f.Unseated)
	if !slices.Contains(f.Unlisted, someGroup) {
		w.t.Fatalf("unlisted: %v", f.Unlisted)
	}
}
