package catalogtest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The plan model says of six users and four policies who protects what, by the words of the
// documentation alone: no batches, no changes, everything worked out anew each time.
type planModel struct {
	w       *world
	t       *catalog.Tenant
	id      tenantry.TenantID
	added   int
	now     time.Time
	fence   int64
	users   map[tenantry.ResourceID]catalog.Resource
	group   map[tenantry.ResourceID]bool
	listed  bool
	named   bool // some policy names the group
	plans   map[tenantry.PolicyID]*modelPlan
	license catalog.Licensing
	seats   map[tenantry.ResourceID]bool
}

type modelPlan struct {
	catalog.Policy
	joined    map[tenantry.ResourceID]time.Time
	nextEnrol time.Time
}

var bothWorkloads = []tenantry.Workload{tenantry.Mailbox, tenantry.Drive}

// reach is 0 for chosen, 1 for a group, 2 for a kind, 3 for none or excluded.
func (m *planModel) reach(p catalog.Policy, id tenantry.ResourceID) int {
	in := m.listed && m.group[id]
	switch {
	case slices.Contains(p.Targets.Exclude, id), slices.Contains(p.Targets.ExcludeSubkinds, tenantry.Subkind(m.users[id].MailboxKind)), len(p.Targets.ExcludeGroups) > 0 && in:
		return 3
	case slices.Contains(p.Targets.Chosen, id):
		return 0
	case len(p.Targets.Groups) > 0 && in:
		return 1
	case len(p.Kinds) > 0:
		return 2
	}
	return 3
}

func (m *planModel) covers(p catalog.Policy, id tenantry.ResourceID) bool { return m.reach(p, id) < 3 }

// join takes into a policy whom it covers and pick lets through.
func (m *planModel) join(p *modelPlan, pick func(tenantry.ResourceID) bool) {
	for id, u := range m.users {
		if _, in := p.joined[id]; !in && u.State == tenantry.Active && m.covers(p.Policy, id) && pick(id) {
			p.joined[id] = m.now
		}
	}
}

func everybody(tenantry.ResourceID) bool { return true }

// settle is what holds after every step: automatic policies have taken in whom they cover,
// and seats go to those who wait longest.
func (m *planModel) settle() (protects map[string]tenantry.PolicyID) {
	for _, p := range m.plans {
		if p.State == catalog.PolicyActive && p.Enrol == catalog.EnrolAutomatic {
			m.join(p, everybody)
		}
	}
	protects = map[string]tenantry.PolicyID{}
	var waiting []tenantry.ResourceID
	for id, u := range m.users {
		wins := m.wins(u)
		needs := slices.Contains(m.license.Take, map[bool]catalog.SeatClass{true: catalog.SeatUser, false: catalog.SeatShared}[u.Licensed])
		if len(wins) == 0 || !needs {
			delete(m.seats, id)
		} else if !m.seats[id] {
			waiting = append(waiting, id)
		}
	}
	slices.SortFunc(waiting, func(a, b tenantry.ResourceID) int { return cmp.Or(m.since(a).Compare(m.since(b)), cmp.Compare(a, b)) })
	unseated := map[tenantry.ResourceID]bool{}
	for _, id := range waiting {
		if m.license.Hard > 0 && int64(len(m.seats)) >= m.license.Hard {
			unseated[id] = true
			continue
		}
		m.seats[id] = true
	}
	for id, u := range m.users {
		if unseated[id] {
			continue
		}
		for w, p := range m.wins(u) {
			protects[fmt.Sprint(id, "/", w)] = p
		}
	}
	return protects
}

func (m *planModel) since(id tenantry.ResourceID) (first time.Time) {
	for _, p := range m.plans {
		if at, in := p.joined[id]; in && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// wins is which policy would protect each workload of a user, seats aside.
func (m *planModel) wins(u catalog.Resource) map[tenantry.Workload]tenantry.PolicyID {
	wins := map[tenantry.Workload]tenantry.PolicyID{}
	if u.State != tenantry.Active {
		return wins
	}
	for _, w := range u.Workloads {
		var best *modelPlan
		for _, p := range m.plans {
			if _, in := p.joined[u.ID]; !in || !m.covers(p.Policy, u.ID) || !slices.Contains(p.Workloads, w) {
				continue
			}
			if best == nil || cmp.Or(cmp.Compare(m.reach(p.Policy, u.ID), m.reach(best.Policy, u.ID)), p.CreatedAt.Compare(best.CreatedAt), cmp.Compare(p.ID, best.ID)) < 0 {
				best = p
			}
		}
		if best != nil {
			wins[w] = best.ID
		}
	}
	return wins
}

// check holds SQL against the model.
func (m *planModel) check() {
	m.w.t.Helper()
	expected := m.settle()
	due, err := m.w.f.Due(m.w.ctx, time.UnixMicro(1<<60), 100_000)
	m.w.ok(err)
	got := map[string]tenantry.PolicyID{}
	for _, d := range due {
		if d.Tenant != m.id {
			continue
		}
		series := fmt.Sprint(d.Resource, "/", d.Workload)
		if first, twice := got[series]; twice {
			m.w.t.Fatalf("%s is enrolled in %s and in %s", series, first, d.Policy)
		}
		got[series] = d.Policy
		if paused := m.plans[d.Policy].State == catalog.PolicyPaused; paused != (d.DueAt.Year() > 9000) {
			m.w.t.Fatalf("%s of %s, which is %s, is due %s", series, d.Policy, m.plans[d.Policy].State, d.DueAt)
		}
	}
	same(m.w, "who protects what", got, expected)
	for id, standing := range m.w.standings(m.t) {
		_, mailbox := expected[fmt.Sprint(id, "/", tenantry.Mailbox)]
		_, drive := expected[fmt.Sprint(id, "/", tenantry.Drive)]
		if covered := mailbox || drive; covered != (standing == catalog.StandingCovered) {
			m.w.t.Fatalf("%s stands %q, and is protected: %v", id, standing, covered)
		}
	}
	_, used, err := m.t.Licensing(m.w.ctx)
	m.w.ok(err)
	expect(m.w, "seats", used, int64(len(m.seats)))
}

func drawTargets(t *rapid.T) catalog.Targets {
	some := func(label string) []tenantry.ResourceID {
		var out []tenantry.ResourceID
		for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, 5), 0, 3, rapid.ID).Draw(t, label) {
			out = append(out, user(i))
		}
		slices.Sort(out)
		return out
	}
	targets := catalog.Targets{Chosen: some("chosen"), Exclude: some("excluded")}
	if rapid.Bool().Draw(t, "names the group") {
		targets.Groups = []string{someGroup}
	}
	if rapid.IntRange(0, 4).Draw(t, "excludes the group") == 0 {
		targets.ExcludeGroups = []string{someGroup}
	}
	if rapid.IntRange(0, 3).Draw(t, "excludes shared mailboxes") == 0 {
		targets.ExcludeSubkinds = []tenantry.Subkind{tenantry.MailboxShared}
	}
	return targets
}

// drawPlan draws what can be changed of a policy.
func drawPlan(t *rapid.T, p catalog.Policy) catalog.Policy {
	p.Targets = drawTargets(t)
	p.Kinds = nil
	if rapid.Bool().Draw(t, "all users") || len(p.Targets.Chosen)+len(p.Targets.Groups) == 0 {
		p.Kinds = []tenantry.ResourceKind{tenantry.User}
	}
	p.Workloads = rapid.SampledFrom([][]tenantry.Workload{bothWorkloads, bothWorkloads[:1], bothWorkloads[1:]}).Draw(t, "workloads")
	p.Enrol = rapid.SampledFrom([]catalog.EnrolMode{catalog.EnrolAutomatic, catalog.EnrolDaily, catalog.EnrolPresent}).Draw(t, "enrol")
	return p
}

// step does one thing to SQL and to the model.
func (m *planModel) step(t *rapid.T) {
	kinds := []string{"sync", "sync", "members", "hour", "licence"}
	if len(m.plans) < 4 {
		kinds = append(kinds, "add", "add", "add")
	}
	var p *modelPlan
	if len(m.plans) > 0 {
		kinds = append(kinds, "change", "activate", "activate some", "pause", "delete")
		p = m.plans[rapid.SampledFrom(slices.Sorted(maps.Keys(m.plans))).Draw(t, "policy")]
	}
	switch kind := rapid.SampledFrom(kinds).Draw(t, "step"); kind {
	case "sync":
		m.sync(t)
	case "members":
		m.members(t)
	case "hour":
		_, err := m.w.f.Enrol(m.w.ctx, m.fence, 1000, m.now)
		m.w.ok(err)
		for _, p := range m.plans {
			if !p.nextEnrol.IsZero() && !p.nextEnrol.After(m.now) {
				m.join(p, everybody)
				p.nextEnrol = m.midnight()
			}
		}
	case "licence":
		m.license = catalog.Licensing{
			Mode: catalog.SeatsAutomatic, Hard: rapid.Int64Range(0, 5).Draw(t, "hard"),
			Take: rapid.SampledFrom([][]catalog.SeatClass{nil, {catalog.SeatUser}, {catalog.SeatUser, catalog.SeatShared}}).Draw(t, "take"),
		}
		m.w.ok(m.t.SetLicensing(m.w.ctx, m.license, m.now))
	case "add":
		m.add(t)
	default:
		m.act(t, kind, p)
	}
}

// begin makes a world in which things meet: all users are there, and some policies.
func (m *planModel) begin(t *rapid.T) {
	for _, u := range users(6) {
		m.users[u.ID] = u
	}
	m.w.ok(m.t.ApplySync(m.w.ctx, tenantry.User, users(6), "link", m.now))
	for range rapid.IntRange(1, 3).Draw(t, "policies") {
		m.now = m.now.Add(time.Hour)
		m.add(t)
	}
	m.members(t)
	m.check()
}

func (m *planModel) midnight() time.Time { return m.now.Truncate(24 * time.Hour).Add(24 * time.Hour) }

func (m *planModel) sync(t *rapid.T) {
	var changed []catalog.Resource
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, 5), 1, 4, rapid.ID).Draw(t, "users") {
		u := users(6)[i]
		u.State = rapid.SampledFrom([]tenantry.LifeState{tenantry.Active, tenantry.Active, tenantry.Active, tenantry.Inactive, tenantry.Gone}).Draw(t, "state")
		u.Workloads = rapid.SampledFrom([][]tenantry.Workload{bothWorkloads, bothWorkloads, bothWorkloads[:1], nil}).Draw(t, "has")
		if u.Licensed = rapid.Bool().Draw(t, "licensed"); !u.Licensed {
			u.MailboxKind = "shared"
		}
		changed = append(changed, u)
		m.users[u.ID] = u
	}
	m.w.ok(m.t.ApplySync(m.w.ctx, tenantry.User, changed, "link", m.now))
}

func (m *planModel) members(t *rapid.T) {
	var in []tenantry.ResourceID
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, 5), 0, 5, rapid.ID).Draw(t, "members") {
		in = append(in, user(i))
	}
	m.w.ok(m.t.ApplyMembers(m.w.ctx, someGroup, in, "", m.now))
	if !m.named {
		return // nobody asked for it
	}
	first := !m.listed
	m.listed, m.group = true, map[tenantry.ResourceID]bool{}
	for _, id := range in {
		m.group[id] = true
	}
	for _, p := range m.plans {
		if first && p.State == catalog.PolicyActive && p.Enrol == catalog.EnrolPresent && len(p.Targets.Groups) > 0 {
			m.join(p, func(id tenantry.ResourceID) bool { return m.group[id] })
		}
	}
}

// renamed notes whether a policy still names the group: its members are forgotten otherwise.
func (m *planModel) renamed() {
	m.named = false
	for _, p := range m.plans {
		m.named = m.named || len(p.Targets.Groups)+len(p.Targets.ExcludeGroups) > 0
	}
	if !m.named {
		m.listed, m.group = false, map[tenantry.ResourceID]bool{}
	}
}

func (m *planModel) add(t *rapid.T) {
	m.added++
	id := tenantry.PolicyID(fmt.Sprintf("p-%d-%d", rapid.IntRange(0, 9).Draw(t, "id"), m.added))
	p := drawPlan(t, catalog.Policy{
		ID: id, Name: string(id), State: rapid.SampledFrom([]catalog.PolicyState{catalog.PolicyDraft, catalog.PolicyActive}).Draw(t, "state"),
		Schedule: catalog.ScheduleDaily, TimeZone: "UTC", CreatedAt: m.now,
	})
	m.w.ok(m.t.AddPolicy(m.w.ctx, p, m.now))
	m.plans[id] = &modelPlan{Policy: p, joined: map[tenantry.ResourceID]time.Time{}}
	m.renamed()
	if p.State == catalog.PolicyActive {
		m.join(m.plans[id], everybody)
	}
	m.schedule(m.plans[id])
}

// schedule notes when the policy takes in newcomers next.
func (m *planModel) schedule(p *modelPlan) {
	p.nextEnrol = time.Time{}
	if p.State == catalog.PolicyActive && p.Enrol == catalog.EnrolDaily {
		p.nextEnrol = m.midnight()
	}
}

func (m *planModel) act(t *rapid.T, kind string, p *modelPlan) {
	var err error
	switch kind {
	case "change":
		old, next := p.Policy, drawPlan(t, p.Policy)
		_, err = m.t.ChangePolicy(m.w.ctx, p.ID, func(o catalog.Policy) (catalog.Policy, error) {
			o.Targets, o.Kinds, o.Workloads, o.Enrol = next.Targets, next.Kinds, next.Workloads, next.Enrol
			return o, nil
		}, m.now)
		m.change(p, old, next)
	case "activate":
		_, err = m.t.ActivatePolicy(m.w.ctx, p.ID, nil, m.now)
		resumed := p.State == catalog.PolicyPaused
		if p.State = catalog.PolicyActive; !resumed {
			m.join(p, everybody)
		}
	case "activate some":
		one := user(rapid.IntRange(0, 5).Draw(t, "user"))
		_, err = m.t.ActivatePolicy(m.w.ctx, p.ID, []tenantry.ResourceID{one}, m.now)
		_, in := p.joined[one]
		if u, known := m.users[one]; !in && (!known || u.State != tenantry.Active || !m.covers(p.Policy, one)) {
			m.w.kind(err, tenantry.Invalid)
			return
		}
		m.join(p, func(id tenantry.ResourceID) bool { return id == one })
	case "pause":
		_, err = m.t.PausePolicy(m.w.ctx, p.ID, m.now)
		if p.State == catalog.PolicyDraft {
			m.w.kind(err, tenantry.Conflict)
			return
		}
		p.State = catalog.PolicyPaused
	case "delete":
		err = m.t.DeletePolicy(m.w.ctx, p.ID, m.now)
		delete(m.plans, p.ID)
		m.renamed()
	}
	m.w.ok(err)
	m.schedule(p)
}

// change takes in whom an active policy reaches now and did not before; the group counts as
// it is known after the change.
func (m *planModel) change(p *modelPlan, old, next catalog.Policy) {
	p.Policy = next
	m.renamed()
	if p.State != catalog.PolicyActive {
		return
	}
	m.join(p, func(id tenantry.ResourceID) bool { return !m.covers(old, id) })
}

// testPlanModel holds enrolment under any order of syncs, edits of policies, members, hours
// and quotas against the model: nobody is enrolled twice, and precedence decides everything.
func testPlanModel(t *testing.T, w *world) {
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		sub := &world{t: rt, c: w.c, f: w.f, ctx: w.ctx}
		name := fmt.Sprint("model-", n)
		m := &planModel{
			w: sub, t: sub.tenant(name), id: tenantry.TenantID("t-" + name), now: now, fence: sub.lead(),
			users: map[tenantry.ResourceID]catalog.Resource{}, group: map[tenantry.ResourceID]bool{},
			plans: map[tenantry.PolicyID]*modelPlan{}, seats: map[tenantry.ResourceID]bool{},
			license: catalog.Licensing{Mode: catalog.SeatsAutomatic, Take: []catalog.SeatClass{catalog.SeatUser}},
		}
		m.begin(rt)
		for range rapid.IntRange(2, 10).Draw(rt, "steps") {
			m.now = m.now.Add(time.Duration(rapid.IntRange(1, 30).Draw(rt, "hours")) * time.Hour)
			m.step(rt)
			m.check()
		}
	})
}
