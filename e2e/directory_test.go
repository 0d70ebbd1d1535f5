package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestUsersLiveAndDie follows users through their life: active, soft-deleted, restored,
// purged, and new ones, and what each of it means for runs, listings and backups.
func TestUsersLiveAndDie(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--users", "5", "--mails", "12", "--files-per-user", "4", "--groups", "0", "--sites", "0")
	f.scheduler("scheduler")
	f.worker("worker")
	tn := f.connect(f.simTenants()[0])
	f.syncsDaily(tn)
	policy := f.policy(tn)
	f.awaitDone(tn, f.backup(tn, policy))
	users := f.simUsers(tn)
	stays, back, dies, forgotten, late := users[0], users[1], users[2], users[3], users[4]

	// Soft-deleted: still shown, and what was backed up can be read; not backed up any more.
	for _, u := range []simUser{back, dies} {
		f.mutate(tn, "deleteUser", map[string]any{"id": u.ID})
	}
	// Until a sync says so, a run meets the deletion by itself: there is nothing to back up.
	r := f.awaitDone(tn, f.backup(tn, policy))
	for _, x := range f.tasks(tn, r) {
		if gone := x.Resource == "u-"+back.ID || x.Resource == "u-"+dies.ID; gone && (x.Snapshot != 0 || x.Reason == "") {
			t.Errorf("%s of %s, whose user was deleted, ended with snapshot %d and the reason %q", x.Workload, x.Resource, x.Snapshot, x.Reason)
		}
	}
	f.syncNow(tn)
	for _, u := range []simUser{back, dies} {
		f.shown(tn, "u-"+u.ID, "inactive")
	}
	// A user whose deletion no delta tells, because its link has expired, is looked up.
	f.mutate(tn, "deleteUser", map[string]any{"id": forgotten.ID})
	f.expireDeltas(tn)
	fresh := f.mutate(tn, "newUser", map[string]any{"name": "Zora Neu"})
	f.mutate(tn, "newMail", map[string]any{"user": fresh, "mail": map[string]any{"subject": "first"}})
	f.syncNow(tn)
	for _, u := range []simUser{back, dies, forgotten} {
		f.shown(tn, "u-"+u.ID, "inactive")
		f.kept(tn, f.userOf(tn, u.ID))
		f.refusesBackup(tn, "u-"+u.ID)
	}
	// The new one needs nobody's hand to be protected.
	f.shown(tn, "u-"+fresh, "active")
	r = f.awaitDone(tn, f.backup(tn, policy))
	f.targets(tn, r, []string{"u-" + stays.ID, "u-" + late.ID, "u-" + fresh}, []string{"mailbox", "drive"})
	f.complete(tn, f.userOf(tn, fresh), "mailbox", f.latest(tn, f.userOf(tn, fresh), "mailbox").Seq)

	// Restored: active and protected again. Purged, and not to be read any more: gone.
	f.mutate(tn, "restoreUser", map[string]any{"id": back.ID})
	f.mutate(tn, "purgeUser", map[string]any{"id": dies.ID})
	f.mutate(tn, "purgeUser", map[string]any{"id": late.ID})
	f.syncNow(tn)
	f.mutate(tn, "purgeUser", map[string]any{"id": forgotten.ID})
	f.expireDeltas(tn)
	f.syncNow(tn)
	f.shown(tn, "u-"+back.ID, "active")
	for _, u := range []simUser{dies, late, forgotten} {
		f.shown(tn, "u-"+u.ID, "gone")
		f.kept(tn, f.userOf(tn, u.ID))
		f.refusesBackup(tn, "u-"+u.ID)
	}
	if f.must("GET", "/tenants/"+tn.ID, nil, &tn); tn.Resources.Active != 3 || tn.Resources.Inactive != 0 || tn.Resources.Gone != 3 {
		t.Errorf("the tenant counts %+v, expected 3 active, 3 gone", tn.Resources)
	}
	r = f.awaitDone(tn, f.backup(tn, policy))
	f.targets(tn, r, []string{"u-" + stays.ID, "u-" + back.ID, "u-" + fresh}, []string{"mailbox", "drive"})
	if n := len(f.snapshots(tn, f.userOf(tn, back.ID), "mailbox")); n != 2 {
		t.Errorf("the mailbox that came back has %d snapshots, expected 2", n)
	}

	// What is gone is brought back into somebody else's mailbox and drive, and nowhere else.
	gone := f.userOf(tn, dies.ID)
	for _, w := range gone.Workloads {
		ask := map[string]any{"resource": gone.ID, "workload": w, "snapshot": f.latest(tn, gone, w).Seq}
		if p := f.call("POST", "/tenants/"+tn.ID+"/restores", ask, nil); p == nil || p.Status != http.StatusUnprocessableEntity {
			t.Errorf("a restore to a user that is gone answers %+v, expected a refusal", p)
		}
		ask["to"], ask["folder"] = "u-"+stays.ID, "Of the departed"
		f.awaitDone(tn, f.restore(tn, ask))
		same(t, w+" of the departed", relative(f.truths(tn, dies.ID, truthOf(w))),
			under(f.truths(tn, stays.ID, truthOf(w)), "Of the departed"))
	}
}

// TestGroupsLiveAndDie follows Microsoft 365 groups, what kind they are, and their sites; groups of other types are
// listed with theirs, and hold nothing.
func TestGroupsLiveAndDie(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--users", "2", "--mails", "2", "--files-per-user", "1", "--groups", "4", "--sites", "0")
	f.scheduler("scheduler")
	f.worker("worker")
	tn := f.connect(f.simTenants()[0])
	f.syncsDaily(tn)
	groups := f.simObjects(tn, "groups")
	for _, g := range groups {
		f.shown(tn, "g-"+g.ID, "active")
		if !g.Unified {
			f.refusesBackup(tn, "g-"+g.ID)
		}
	}
	expectKinds := func(query string, want ...string) {
		t.Helper()
		var got []string
		for _, r := range f.resources(tn, query) {
			got = append(got, r.Subkind)
		}
		sameLines(t, "kinds of "+query, want, got)
	}
	expectKinds("kind=group", "distribution", "microsoft365", "security", "team")
	expectKinds("kind=site", "root", "group_site") // the older group's site is the simulator's root
	groups = slices.DeleteFunc(groups, func(g simObject) bool { return !g.Unified })
	back, dies := "g-"+groups[0].ID, "g-"+groups[1].ID

	fresh := f.mutate(tn, "newGroup", map[string]any{"name": "Neu gegründet"})
	f.mutate(tn, "makeTeam", map[string]any{"id": fresh})
	f.mutate(tn, "deleteGroup", map[string]any{"id": groups[0].ID})
	f.mutate(tn, "deleteGroup", map[string]any{"id": groups[1].ID})
	f.syncNow(tn)
	f.shown(tn, "g-"+fresh, "active")
	for _, id := range []string{back, dies} {
		f.shown(tn, id, "inactive")
		f.refusesBackup(tn, id)
	}

	f.mutate(tn, "restoreGroup", map[string]any{"id": groups[0].ID})
	f.mutate(tn, "purgeGroup", map[string]any{"id": groups[1].ID})
	f.syncNow(tn)
	f.shown(tn, back, "active")
	f.shown(tn, dies, "gone")
	expectKinds("kind=group&subkind=team", "team", "team")

	// Purged at once, and nothing tells so: the deltas have expired.
	f.mutate(tn, "purgeGroup", map[string]any{"id": fresh})
	f.expireDeltas(tn)
	f.syncNow(tn)
	f.shown(tn, "g-"+fresh, "gone")
	f.shown(tn, back, "active")

	// The site of a group lives and dies with it.
	for _, s := range f.simObjects(tn, "sites") {
		want := map[string]string{"active": "active", "deleted": "inactive", "purged": "gone"}[s.State]
		if s.Group != "" {
			f.shown(tn, siteResource(s.ID), want)
		}
	}
}

// TestSitesLiveAndDie follows sites. A deleted site is inactive while it can be read by its
// ID, which costs one request per sync, and gone afterwards; restored it is active again.
// Personal sites are their owners' drives and no resources.
func TestSitesLiveAndDie(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--users", "2", "--mails", "2", "--files-per-user", "1", "--groups", "0", "--sites", "3")
	f.scheduler("scheduler")
	f.worker("worker")
	tn := f.connect(f.simTenants()[0])
	f.syncsDaily(tn)
	var sites []simObject
	for _, s := range f.simObjects(tn, "sites") {
		if s.Owner == "" {
			sites = append(sites, s)
			f.shown(tn, siteResource(s.ID), "active")
		}
	}
	if all := f.resources(tn, "kind=site"); len(all) != len(sites) {
		t.Fatalf("%d sites are listed, expected %d: personal ones are none", len(all), len(sites))
	}

	told, untold, stays := sites[0], sites[1], sites[2]
	fresh := f.mutate(tn, "newSite", map[string]any{"name": "Neubau"})
	f.mutate(tn, "deleteSite", map[string]any{"id": told.ID})
	f.syncNow(tn)
	f.shown(tn, siteResource(fresh), "active")
	f.shown(tn, siteResource(told.ID), "inactive")
	f.refusesBackup(tn, siteResource(told.ID))

	f.mutate(tn, "restoreSite", map[string]any{"id": told.ID})
	f.mutate(tn, "deleteSite", map[string]any{"id": untold.ID})
	f.expireDeltas(tn) // and nothing tells of the deletion
	f.syncNow(tn)
	f.shown(tn, siteResource(told.ID), "active")
	f.shown(tn, siteResource(untold.ID), "inactive")

	// No longer readable: gone, told or not; and back when it is restored at last.
	f.mutate(tn, "purgeSite", map[string]any{"id": untold.ID})
	f.mutate(tn, "deleteSite", map[string]any{"id": told.ID})
	f.mutate(tn, "deleteSite", map[string]any{"id": fresh})
	f.syncNow(tn)
	f.shown(tn, siteResource(untold.ID), "gone")
	f.refusesBackup(tn, siteResource(untold.ID))
	f.shown(tn, siteResource(told.ID), "inactive")
	f.mutate(tn, "restoreSite", map[string]any{"id": told.ID})
	f.mutate(tn, "purgeSite", map[string]any{"id": fresh})
	f.expireDeltas(tn)
	f.syncNow(tn)
	f.shown(tn, siteResource(told.ID), "active")
	f.shown(tn, siteResource(fresh), "gone")
	f.shown(tn, siteResource(stays.ID), "active")
}

// simObject is a group or site of the simulator.
type simObject struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	State   string `json:"state"`
	Unified bool   `json:"unified"`
	Owner   string `json:"owner"`
	Group   string `json:"group"`
}

func (f *fleet) simObjects(t tenant, kind string) []simObject {
	f.t.Helper()
	var all []simObject
	f.simulate("GET", "/tenants/"+t.sim.ID+"/"+kind, nil, &all)
	return all
}

// siteResource is the ID that a site has in the API: without its host, which can be renamed.
func siteResource(id string) string {
	_, rest, _ := strings.Cut(id, ",")
	return "s-" + strings.ReplaceAll(rest, ",", "-")
}

// syncsDaily fails unless the next sync is a whole number of days after the tenant was
// added, within a day of the last one.
func (f *fleet) syncsDaily(t tenant) {
	f.t.Helper()
	f.must("GET", "/tenants/"+t.ID, nil, &t)
	steps, rest := t.NextSyncAt.Sub(t.AddedAt)/(24*time.Hour), t.NextSyncAt.Sub(t.AddedAt)%(24*time.Hour)
	ahead := t.NextSyncAt.Sub(t.LastSyncAt)
	if t.LastSyncAt.IsZero() || steps < 1 || rest != 0 || ahead <= 0 || ahead > 24*time.Hour {
		f.t.Errorf("%s was added %v and synced %v; its next sync is at %v", t.Name, t.AddedAt, t.LastSyncAt, t.NextSyncAt)
	}
}

// syncNow refreshes the tenant and fails unless that synced it, and left the daily time as it was.
func (f *fleet) syncNow(t tenant) {
	f.t.Helper()
	var before, after tenant
	f.must("GET", "/tenants/"+t.ID, nil, &before)
	if r := f.refresh(t); r.State != "done" {
		f.t.Fatalf("refresh of %s ended %s: %+v", t.Name, r.State, r)
	}
	f.must("GET", "/tenants/"+t.ID, nil, &after)
	if !after.LastSyncAt.After(before.LastSyncAt) || !after.NextSyncAt.Equal(before.NextSyncAt) {
		f.t.Errorf("a refresh moved the last sync from %v to %v, and the next from %v to %v",
			before.LastSyncAt, after.LastSyncAt, before.NextSyncAt, after.NextSyncAt)
	}
}

// shown fails unless the resource has that state wherever it is shown: by its ID, in the
// list of all (gone ones are not), and in those of one state.
func (f *fleet) shown(t tenant, id, state string) {
	f.t.Helper()
	var r resource
	f.must("GET", "/tenants/"+t.ID+"/resources/"+id, nil, &r)
	if r.State != state {
		f.t.Errorf("%s %s is %s, expected %s", r.Kind, r.Name, r.State, state)
		return
	}
	has := func(query string) bool {
		return slices.ContainsFunc(f.resources(t, query), func(x resource) bool { return x.ID == id })
	}
	if listed := has("kind=" + r.Kind); listed != (state != "gone") {
		f.t.Errorf("%s %s is %s; in the list of all: %v", r.Kind, r.Name, state, listed)
	}
	for _, s := range []string{"active", "inactive", "gone"} {
		if listed := has("state=" + s); listed != (s == state) {
			f.t.Errorf("%s %s is %s; in the list of what is %s: %v", r.Kind, r.Name, state, s, listed)
		}
	}
}

// kept fails unless the resource's backups are listed and can be looked into.
func (f *fleet) kept(t tenant, r resource) {
	f.t.Helper()
	if len(r.Workloads) == 0 {
		f.t.Errorf("%s has lost its workloads", r.Name)
	}
	for _, w := range r.Workloads {
		f.complete(t, r, w, f.latest(t, r, w).Seq)
	}
}

// refusesBackup fails unless a backup of the resource is refused with a reason.
func (f *fleet) refusesBackup(t tenant, id string) {
	f.t.Helper()
	p := f.call("POST", "/tenants/"+t.ID+"/runs", map[string]any{"resources": []string{id}}, nil)
	if p == nil || p.Status != http.StatusUnprocessableEntity {
		f.t.Errorf("a backup of %s answers %+v, expected a refusal", id, p)
	}
}

// targets fails unless the run had exactly one task for each workload of each resource.
func (f *fleet) targets(t tenant, r run, resources, workloads []string) {
	f.t.Helper()
	var want, got []string
	for _, id := range resources {
		for _, w := range workloads {
			want = append(want, id+" "+w)
		}
	}
	for _, x := range f.tasks(t, r) {
		got = append(got, x.Resource+" "+x.Workload)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		f.t.Errorf("the run had tasks for %v, expected %v", got, want)
	}
}
