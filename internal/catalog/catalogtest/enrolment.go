package catalogtest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func testResourceCounts(_ *testing.T, w *world) {
	a := w.tenant("a")
	w.ok(w.tenant("b").ApplySync(w.ctx, tenantry.User, users(9), "link", now)) // not counted
	counts, err := a.ResourceCounts(w.ctx)
	w.ok(err)
	expect(w, "kinds of state at first", len(counts), 0)
	all := users(5)
	all[1].State, all[2].State, all[3].State = tenantry.Inactive, tenantry.Gone, tenantry.Gone
	w.ok(a.ApplySync(w.ctx, tenantry.User, all, "link", now))
	w.ok(a.ApplySync(w.ctx, tenantry.Site, []catalog.Resource{{ID: "s-1", State: tenantry.Active}}, "link", now))
	counts, err = a.ResourceCounts(w.ctx)
	w.ok(err)
	expected := map[tenantry.LifeState]int64{tenantry.Active: 3, tenantry.Inactive: 1, tenantry.Gone: 2}
	if diff := cmp.Diff(expected, counts); diff != "" {
		w.t.Fatal(diff)
	}
}

func testResources(_ *testing.T, w *world) {
	a := w.tenant("a")
	link, at, err := a.SyncLink(w.ctx, tenantry.User)
	w.ok(err)
	expect(w, "link before the first sync", link, "")
	expect(w, "time before the first sync", at.IsZero(), true)

	all := users(1201) // several statements
	w.ok(a.ApplySync(w.ctx, tenantry.User, append(all, all[0]), "link-1", now))
	link, at, err = a.SyncLink(w.ctx, tenantry.User)
	w.ok(err)
	expect(w, "link", link, "link-1")
	expect(w, "time", at, now)
	got, err := a.Resource(w.ctx, user(7))
	w.ok(err)
	all[7].Standing = catalog.StandingNoPolicy
	if diff := cmp.Diff(all[7], got); diff != "" {
		w.t.Fatal(diff)
	}
	_, err = a.Resource(w.ctx, "u-none")
	w.kind(err, tenantry.NotFound)

	later := now.Add(time.Hour)
	changed := all[7]
	changed.Name, changed.StateAt = "renamed", later
	gone := all[8]
	gone.State, gone.StateAt, gone.Workloads = tenantry.Gone, time.Time{}, nil
	w.ok(a.ApplySync(w.ctx, tenantry.User, []catalog.Resource{changed, gone}, "link-2", later))
	got, err = a.Resource(w.ctx, user(7))
	w.ok(err)
	changed.StateAt = now // the state did not change
	if diff := cmp.Diff(changed, got); diff != "" {
		w.t.Fatal(diff)
	}
	page, err := a.Resources(w.ctx, catalog.ResourceFilter{State: tenantry.Gone})
	w.ok(err)
	gone.StateAt = later
	if diff := cmp.Diff([]catalog.Resource{gone}, page); diff != "" {
		w.t.Fatal(diff)
	}

	seen, after := 0, tenantry.ResourceID("")
	for {
		page, err := a.Resources(w.ctx, catalog.ResourceFilter{Kind: tenantry.User, State: tenantry.Active, After: after, Limit: 5000})
		w.ok(err)
		if len(page) == 0 {
			break
		}
		expect(w, "page is bounded", len(page) <= 1000, true)
		seen, after = seen+len(page), page[len(page)-1].ID
	}
	expect(w, "active users", seen, 1200)
	page, err = a.Resources(w.ctx, catalog.ResourceFilter{Kind: tenantry.Group})
	w.ok(err)
	expect(w, "groups", len(page), 0)

	w.kind(a.ApplySync(w.ctx, tenantry.Group, users(1), "", now), tenantry.Invalid)
	w.kind(a.ApplySync(w.ctx, tenantry.User, []catalog.Resource{{ID: "u-1"}}, "", now), tenantry.Invalid)
	w.kind(a.ApplySync(w.ctx, tenantry.User, []catalog.Resource{{State: tenantry.Active}}, "", now), tenantry.Invalid)
}

// A listing shows of each resource what reading it alone does, under every filter, and no row shares what
// can be changed with another.
func testResourceList(_ *testing.T, w *world) {
	a := w.tenant("a")
	w.ok(w.tenant("b").ApplySync(w.ctx, tenantry.User, users(3), "", now)) // another's
	all := users(8)
	states := []tenantry.LifeState{tenantry.Active, tenantry.Inactive, tenantry.Gone}
	for i := range all {
		all[i].State, all[i].Licensed, all[i].MailboxKind = states[i%3], i%2 == 0, []string{"", "user", "shared"}[i%3]
		all[i].Workloads = [][]tenantry.Workload{nil, {tenantry.Mailbox}, {tenantry.Mailbox, tenantry.Drive}}[i/3]
	}
	all[3].Name, all[4].Name, all[5].Address = "O'Hara $1 ?0", "ÅSA", "asa@contoso.com"
	w.ok(a.ApplySync(w.ctx, tenantry.User, all, "", now))
	w.ok(a.ApplySync(w.ctx, tenantry.Site, []catalog.Resource{{ID: "s-1", State: tenantry.Active, Name: "ASA@contoso.com"}}, "", now))
	listed := func(f catalog.ResourceFilter) []catalog.Resource {
		w.t.Helper()
		found, err := a.Resources(w.ctx, f)
		w.ok(err)
		for _, r := range found {
			alone, err := a.Resource(w.ctx, r.ID)
			w.ok(err)
			if diff := cmp.Diff(alone, r); diff != "" {
				w.t.Fatal(diff)
			}
		}
		return found
	}
	for _, one := range []struct {
		filter catalog.ResourceFilter
		want   int
	}{
		{catalog.ResourceFilter{}, 9},
		{catalog.ResourceFilter{Limit: 4}, 4},
		{catalog.ResourceFilter{Kind: tenantry.User}, 8},
		{catalog.ResourceFilter{Kind: tenantry.User, State: tenantry.Active, Limit: 2}, 2},
		{catalog.ResourceFilter{State: tenantry.Gone}, 2},
		{catalog.ResourceFilter{Standing: catalog.StandingNothing}, 2},
		{catalog.ResourceFilter{Standing: catalog.StandingNoPolicy}, 2},
		{catalog.ResourceFilter{Named: "o'hara $1 ?0"}, 1},
		{catalog.ResourceFilter{Named: "asa@CONTOSO.com"}, 2},
		{catalog.ResourceFilter{Named: "asa@contoso.com", Kind: tenantry.Site}, 1},
		{catalog.ResourceFilter{Named: "asa@contoso.com", After: user(4)}, 1},
		{catalog.ResourceFilter{Named: "' OR 1 = 1 --"}, 0},
	} {
		expect(w, "listed", len(listed(one.filter)), one.want)
	}
	found := listed(catalog.ResourceFilter{Kind: tenantry.User})
	for i := range found {
		found[i].Workloads = append(found[i].Workloads, tenantry.Workload(found[i].ID))
	}
	for i, r := range found {
		if diff := cmp.Diff(append(all[i].Workloads, tenantry.Workload(r.ID)), r.Workloads); diff != "" {
			w.t.Fatal(diff)
		}
	}
}

// due lists everything enrolled, with its due time.
func (w *world) due() []catalog.Due {
	w.t.Helper()
	due, err := w.f.Due(w.ctx, now.Add(72*time.Hour), 10000)
	w.ok(err)
	return due
}

func testEnrolment(_ *testing.T, w *world) {
	a := w.tenant("a")
	all := users(3)
	w.ok(a.ApplySync(w.ctx, tenantry.User, all[:2], "1", now))
	w.ok(a.AddPolicy(w.ctx, policy("daily"), now))
	w.kind(a.AddPolicy(w.ctx, policy("daily"), now), tenantry.Conflict)
	expect(w, "enrolled when the policy is added", len(w.due()), 4)

	w.ok(a.ApplySync(w.ctx, tenantry.User, all, "2", now.Add(time.Hour)))
	due := w.due()
	expect(w, "enrolled by the sync", len(due), 6)
	for _, d := range due {
		expect(w, "policy of "+string(d.Resource), d.PolicyRow.TimeZone, "Europe/Berlin")
		first := catalog.NextDue(d.PolicyRow, d.Resource, d.Workload, now)
		if second := catalog.NextDue(d.PolicyRow, d.Resource, d.Workload, now.Add(time.Hour)); d.Resource == user(2) {
			first = second
		}
		expect(w, "due time of "+string(d.Resource), d.DueAt, first.UTC())
	}

	targets, err := a.PolicyTargets(w.ctx, "p-daily")
	w.ok(err)
	expect(w, "targets", len(targets), 6)
	expect(w, "target's action", targets[0].Action, tenantry.Backup)
	_, err = a.PolicyTargets(w.ctx, "p-none")
	w.kind(err, tenantry.NotFound)

	all[0].State = tenantry.Inactive
	all[1].Workloads = []tenantry.Workload{tenantry.Mailbox}
	w.ok(a.ApplySync(w.ctx, tenantry.User, all[:2], "3", now))
	expect(w, "enrolled after one user and one drive went", len(w.due()), 3)
	all[0].State = tenantry.Active
	w.ok(a.ApplySync(w.ctx, tenantry.User, all[:1], "4", now))
	expect(w, "enrolled after the user came back", len(w.due()), 5)

	second := policy("mail")
	second.Workloads = []tenantry.Workload{tenantry.Mailbox}
	w.ok(a.AddPolicy(w.ctx, second, now))
	expect(w, "enrolled in two policies: the older one protects", len(w.due()), 5)
	list, err := a.Policies(w.ctx)
	w.ok(err)
	if diff := cmp.Diff([]catalog.Policy{added(policy("daily")), added(second)}, list); diff != "" {
		w.t.Fatal(diff)
	}
	w.ok(a.DeletePolicy(w.ctx, "p-daily", now))
	w.kind(a.DeletePolicy(w.ctx, "p-daily", now), tenantry.NotFound)
	_, err = a.Policy(w.ctx, "p-daily")
	w.kind(err, tenantry.NotFound)
	expect(w, "enrolled in the policy left", len(w.due()), 3)
	names, err := a.PolicyNames(w.ctx)
	w.ok(err)
	expect(w, "names of the policies, also of the deleted one", len(names), 2)
}

// added is a policy as it is stored when it was added now.
func added(p catalog.Policy) catalog.Policy {
	p.State, p.Schedule, p.Enrol, p.Objective = catalog.PolicyActive, catalog.ScheduleWindow, catalog.EnrolAutomatic, 36*time.Hour
	p.CreatedAt, p.ActivatedAt = now, now
	return p
}

func testPolicyRules(_ *testing.T, w *world) {
	a := w.tenant("a")
	for name, spoil := range map[string]func(p *catalog.Policy){
		"id":        func(p *catalog.Policy) { p.ID = "" },
		"name":      func(p *catalog.Policy) { p.Name = "" },
		"kinds":     func(p *catalog.Policy) { p.Kinds = nil },
		"workloads": func(p *catalog.Policy) { p.Workloads = nil },
		"at low":    func(p *catalog.Policy) { p.At = -1 },
		"at high":   func(p *catalog.Policy) { p.At = 1440 },
		"window":    func(p *catalog.Policy) { p.Window = 0 },
		"zone":      func(p *catalog.Policy) { p.TimeZone = "Europe/Atlantis" },
		"no zone":   func(p *catalog.Policy) { p.TimeZone = "" },
		"local":     func(p *catalog.Policy) { p.TimeZone = "Local" },
	} {
		p := policy("bad")
		spoil(&p)
		err := a.AddPolicy(w.ctx, p, now)
		if tenantry.KindOf(err) != tenantry.Invalid {
			w.t.Errorf("%s: got %v, expected kind invalid", name, err)
		}
	}
}
