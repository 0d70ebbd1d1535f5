package directory_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// subkinds returns what kind each active resource of a kind is.
func (w *world) subkinds(kind tenantry.ResourceKind) map[tenantry.ResourceID]tenantry.Subkind {
	w.t.Helper()
	all, err := w.cat.Tenant(w.id).Resources(w.t.Context(), catalog.ResourceFilter{Kind: kind, State: tenantry.Active, Limit: 1000})
	w.must(err)
	kinds := map[tenantry.ResourceID]tenantry.Subkind{}
	for _, r := range all {
		kinds[r.ID] = r.Subkind
	}
	return kinds
}

// kindsLikeTheTruth compares the kinds in the catalog with what the simulator knows. Its oldest site that is nobody's
// is the root; those of channels look like any.
func (w *world) kindsLikeTheTruth() {
	w.t.Helper()
	groups := map[tenantry.ResourceID]tenantry.Subkind{}
	teams := map[string]bool{}
	for _, g := range w.sim.Groups() {
		if g.State != graphsim.Active {
			continue
		}
		kind := tenantry.GroupDistribution
		switch {
		case g.Team:
			kind, teams[g.ID] = tenantry.GroupTeam, true
		case g.Unified:
			kind = tenantry.GroupMicrosoft365
		case g.Mail && g.Secures:
			kind = tenantry.GroupMailSecurity
		case g.Secures:
			kind = tenantry.GroupSecurity
		}
		groups[tenantry.GroupResource(g.ID)] = kind
	}
	if diff := cmp.Diff(groups, w.subkinds(tenantry.Group)); diff != "" {
		w.t.Errorf("groups (-truth +catalog):\n%s", diff)
	}
	sites, hasRoot := map[tenantry.ResourceID]tenantry.Subkind{}, false
	for _, s := range w.sim.Sites() {
		if s.Owner != "" || s.State != graphsim.Active {
			continue
		}
		kind := tenantry.SiteOther
		switch {
		case s.Parent != "":
			kind = tenantry.SiteSub
		case teams[s.Group]:
			kind = tenantry.SiteOfTeam
		case s.Group != "":
			kind = tenantry.SiteOfGroup
		case !hasRoot:
			kind, hasRoot = tenantry.SiteRoot, true
		}
		sites[tenantry.SiteResource(s.ID)] = kind
	}
	if diff := cmp.Diff(sites, w.subkinds(tenantry.Site)); diff != "" {
		w.t.Errorf("sites (-truth +catalog):\n%s", diff)
	}
}

// Groups and sites have kinds, and follow when they become something else.
func TestKindsOfGroupsAndSites(t *testing.T) {
	w := newWorldOf(t, graphsim.Options{Seed: 7, PageSize: 5, SubsitesInDelta: true},
		graphsim.TenantSpec{Domain: "contoso.example", Users: 3, Groups: 8, Sites: 3, Subsites: 2, ClosedChannels: 1})
	w.sim.Consent()
	w.must(w.dir.Connect(t.Context(), w.id, w.conn))
	w.sync()
	w.kindsLikeTheTruth()
	seen := slices.Compact(slices.Sorted(func(yield func(tenantry.Subkind) bool) {
		for _, kind := range []tenantry.ResourceKind{tenantry.Group, tenantry.Site} {
			for _, k := range w.subkinds(kind) {
				if !yield(k) {
					return
				}
			}
		}
	}))
	want := []tenantry.Subkind{
		tenantry.GroupDistribution, tenantry.SiteOfGroup, tenantry.GroupMailSecurity, tenantry.GroupMicrosoft365, tenantry.SiteRoot,
		tenantry.GroupSecurity, tenantry.SiteOther, tenantry.SiteSub, tenantry.GroupTeam, tenantry.SiteOfTeam,
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}

	for _, g := range w.sim.Groups() {
		if g.Unified && !g.Team {
			w.must(w.sim.MakeTeam(g.ID))
			break
		}
	}
	for _, s := range w.sim.Sites() { // another one is the root then
		if s.Owner == "" && s.Group == "" && s.Parent == "" && w.subkinds(tenantry.Site)[tenantry.SiteResource(s.ID)] == tenantry.SiteRoot {
			w.must(w.sim.DeleteSite(s.ID))
		}
	}
	w.sync()
	w.kindsLikeTheTruth()
	w.sync()
	w.kindsLikeTheTruth()
}

// What a release listed that knew no kinds is listed anew, once.
func TestUnsortedResourcesAreListedAnew(t *testing.T) {
	w := newWorld(t, graphsim.TenantSpec{Domain: "contoso.example", Users: 2, Groups: 6, Sites: 2})
	w.sim.Consent()
	w.must(w.dir.Connect(t.Context(), w.id, w.conn))
	w.sync()
	scope := w.cat.Tenant(w.id)
	for _, kind := range []tenantry.ResourceKind{tenantry.Group, tenantry.Site} {
		all, err := scope.Resources(t.Context(), catalog.ResourceFilter{Kind: kind, Limit: 1000})
		w.must(err)
		var left []catalog.Resource
		for _, r := range all {
			r.Subkind, r.Site, r.Dynamic = "", "", false
			if len(r.Workloads) > 0 { // it knew no others
				left = append(left, r)
			}
		}
		link, at, err := scope.SyncLink(t.Context(), kind)
		w.must(err)
		w.must(scope.ApplySync(t.Context(), kind, left, link, at))
	}
	w.sync()
	w.kindsLikeTheTruth()
}
