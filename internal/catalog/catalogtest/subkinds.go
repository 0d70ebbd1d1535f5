package catalogtest

import (
	"testing"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// testSubkinds holds that resources are listed by their kind within their kind, that policies leave such kinds out, and
// that a change of it that a sync finds counts at once.
func testSubkinds(_ *testing.T, w *world) {
	a := w.tenant("a")
	people := users(3)
	people[1].MailboxKind, people[2].MailboxKind = "shared", "room"
	w.ok(a.ApplySync(w.ctx, tenantry.User, people, "1", now))
	site := func(name string, kind tenantry.Subkind) catalog.Resource {
		return catalog.Resource{
			ID: tenantry.ResourceID("s-" + name), Name: name, Subkind: kind, State: tenantry.Active, StateAt: now,
			Workloads: []tenantry.Workload{tenantry.SiteContent},
		}
	}
	w.ok(a.ApplySync(w.ctx, tenantry.Site, []catalog.Resource{site("root", tenantry.SiteRoot), site("sub", tenantry.SiteSub), site("old", "")}, "1", now))
	team := catalog.Resource{
		ID: "g-1", Name: "Sales", Subkind: tenantry.GroupTeam, Dynamic: true, Site: "s-1-2", State: tenantry.Active, StateAt: now,
		Workloads: []tenantry.Workload{tenantry.GroupContent, tenantry.TeamContent},
	}
	w.ok(a.ApplySync(w.ctx, tenantry.Group, []catalog.Resource{team}, "1", now))

	listed := func(f catalog.ResourceFilter) (ids []tenantry.ResourceID) {
		some, err := a.Resources(w.ctx, f)
		w.ok(err)
		for _, r := range some {
			ids = append(ids, r.ID)
		}
		return ids
	}
	same(w, "shared mailboxes", listed(catalog.ResourceFilter{Subkind: tenantry.MailboxShared}), []tenantry.ResourceID{user(1)})
	same(w, "subsites", listed(catalog.ResourceFilter{Kind: tenantry.Site, Subkind: tenantry.SiteSub}), []tenantry.ResourceID{"s-sub"})
	same(w, "what nobody has sorted", listed(catalog.ResourceFilter{Unsorted: true}), []tenantry.ResourceID{"s-old"})
	same(w, "users are sorted by their mailboxes", listed(catalog.ResourceFilter{Kind: tenantry.User, Unsorted: true}), nil)
	read, err := a.Resource(w.ctx, "g-1")
	w.ok(err)
	read.Standing = ""
	team.Kind = tenantry.Group
	same(w, "a group", read, team)
	room, err := a.Resource(w.ctx, user(2))
	w.ok(err)
	expect(w, "a room's kind", room.Subkind, tenantry.MailboxOfRoom)

	p := policy("all")
	p.Kinds = []tenantry.ResourceKind{tenantry.User, tenantry.Site}
	p.Workloads = append(p.Workloads, tenantry.SiteContent)
	p.Targets.Chosen = []tenantry.ResourceID{user(2)}
	p.Targets.ExcludeSubkinds = []tenantry.Subkind{tenantry.MailboxOfRoom, tenantry.SiteSub}
	w.ok(a.AddPolicy(w.ctx, p, now))
	stored, err := a.Policy(w.ctx, p.ID)
	w.ok(err)
	same(w, "stored", stored.Targets, p.Targets)
	standings := func(what string, shared, room, root, sub catalog.Standing) {
		s := w.standings(a)
		expect(w, what+": a shared mailbox", s[user(1)], shared)
		expect(w, what+": a room that is named, too", s[user(2)], room)
		expect(w, what+": the root", s["s-root"], root)
		expect(w, what+": a subsite", s["s-sub"], sub)
	}
	standings("with exclusions", catalog.StandingCovered, catalog.StandingExcluded, catalog.StandingCovered, catalog.StandingExcluded)

	people[1].MailboxKind, people[2].MailboxKind = "room", "user"
	w.ok(a.ApplySync(w.ctx, tenantry.User, people[1:], "2", now))
	w.ok(a.ApplySync(w.ctx, tenantry.Site, []catalog.Resource{site("sub", tenantry.SiteOfTeam), site("root", tenantry.SiteSub)}, "2", now))
	standings("after they became something else", catalog.StandingExcluded, catalog.StandingCovered, catalog.StandingExcluded, catalog.StandingCovered)

	_, err = a.ChangePolicy(w.ctx, p.ID, func(p catalog.Policy) (catalog.Policy, error) { p.Targets.ExcludeSubkinds = nil; return p, nil }, now)
	w.ok(err)
	standings("without exclusions", catalog.StandingCovered, catalog.StandingCovered, catalog.StandingCovered, catalog.StandingCovered)
	_, err = a.ChangePolicy(w.ctx, p.ID, func(p catalog.Policy) (catalog.Policy, error) {
		p.Targets.ExcludeSubkinds = []tenantry.Subkind{"planet"}
		return p, nil
	}, now)
	w.kind(err, tenantry.Invalid)
}
