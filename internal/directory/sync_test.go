package directory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestMain(m *testing.M) { servertest.Main(m) }

const (
	contosoID = "11111111-1111-4111-8111-111111111111"
	otherID   = "22222222-2222-4222-8222-222222222222"
)

// script is a Microsoft tenant that answers what a test has written down. How the real
// one answers is tested against the simulator.
type script struct {
	mu     sync.Mutex
	users  map[string]graph.Changes[graph.User] // by link
	sites  map[string]graph.Changes[graph.Site]
	errs   map[string]error // by link of users; "sites " before one of sites
	states map[string]tenantry.LifeState
	kinds  map[string]string // of mailboxes
	asked  []string          // lookups, in order
	root   string            // the ID of the root site
	below  map[string]bool   // sites that are below others

	grant    graph.Grant
	grantErr error
	org      graph.Organization
	opened   string
}

func (s *script) Grant(context.Context) (graph.Grant, error) { return s.grant, s.grantErr }

func (s *script) Organization(context.Context) (graph.Organization, error) { return s.org, nil }

func (s *script) Licences(context.Context) (int64, error) { return 25, nil }

func (s *script) UserChanges(_ context.Context, link string) (graph.Changes[graph.User], error) {
	if err := s.errs[link]; err != nil {
		return graph.Changes[graph.User]{}, err
	}
	c, ok := s.users[link]
	if !ok {
		c = graph.Changes[graph.User]{Next: link, Done: true}
	}
	return c, nil
}

func (s *script) GroupChanges(context.Context, string) (graph.Changes[graph.Group], error) {
	return graph.Changes[graph.Group]{}, tenantry.Errorf(tenantry.Denied, "no groups for you")
}

func (s *script) SiteChanges(_ context.Context, link string) (graph.Changes[graph.Site], error) {
	if err := s.errs["sites "+link]; err != nil {
		return graph.Changes[graph.Site]{}, err
	}
	c, ok := s.sites[link]
	if !ok {
		c = graph.Changes[graph.Site]{Next: link, Done: true}
	}
	return c, nil
}

func (s *script) look(what, id string) (tenantry.LifeState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, what+" "+id)
	state, ok := s.states[id]
	if !ok {
		return "", tenantry.Errorf(tenantry.NotFound, "no such object: %s", id)
	}
	return state, nil
}

func (s *script) UserState(_ context.Context, id string) (tenantry.LifeState, error) {
	return s.look("user", id)
}

func (s *script) GroupMembers(context.Context, string, string) (graph.Members, error) {
	return graph.Members{Done: true}, nil
}

func (s *script) GroupState(_ context.Context, id string) (tenantry.LifeState, error) {
	return s.look("group", id)
}

func (s *script) SiteReadable(_ context.Context, id string) (bool, error) {
	_, err := s.look("site", id)
	if tenantry.KindOf(err) == tenantry.NotFound {
		return false, nil
	}
	return err == nil, err
}

func (s *script) MailboxKind(_ context.Context, id string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, "mailbox "+id)
	kind, ok := s.kinds[id]
	if !ok {
		return "", tenantry.Errorf(tenantry.Absent, "no mailbox")
	}
	return kind, nil
}

func (s *script) SiteOfGroup(_ context.Context, id string) (string, error) {
	return "", tenantry.Errorf(tenantry.NotFound, "group %s has no site", id)
}

func (s *script) RootSite(context.Context) (string, error) {
	if s.root == "" {
		return "", tenantry.Errorf(tenantry.NotFound, "there is no root site")
	}
	return s.root, nil
}

func (s *script) TopSite(_ context.Context, id string) (bool, error) { return !s.below[id], nil }

// fixture is a catalog with one tenant, and its script.
type fixture struct {
	t      *testing.T
	script *script
	cat    *catalog.Catalog
	id     tenantry.TenantID
	dir    *Directory
	now    time.Time
}

func newFixture(t *testing.T, directory string) *fixture {
	t.Helper()
	cat, err := catalog.Open(t.Context(), catalogtest.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cat.Close() })
	f := &fixture{t: t, cat: cat, id: tenantry.NewTenantID(), now: today, script: &script{
		users: map[string]graph.Changes[graph.User]{}, sites: map[string]graph.Changes[graph.Site]{},
		errs: map[string]error{}, states: map[string]tenantry.LifeState{}, kinds: map[string]string{},
		grant: graph.Grant{DirectoryID: contosoID, Roles: append(RequiredRoles(), "Sites.Read.All")},
		org:   graph.Organization{ID: contosoID, Name: "Contoso", Domains: []string{"contoso.example"}},
	}}
	f.must(cat.Fleet().AddTenant(t.Context(), catalog.TenantRow{
		ID: f.id, Name: "Contoso", Directory: directory, State: tenantry.TenantPending, Weight: 10, AddedAt: yesterday,
	}))
	f.dir, err = New(Config{
		Catalog: cat, Log: zap.NewNop().Sugar(), Now: func() time.Time { return f.now },
		Open: func(_ tenantry.TenantID, directory string) Graph { f.script.opened = directory; return f.script },
	})
	f.must(err)
	return f
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) sync() {
	f.t.Helper()
	_, err := f.dir.Sync(f.t.Context(), f.id)
	f.must(err)
}

// states returns where every resource of the tenant stands.
func (f *fixture) states() map[tenantry.ResourceID]tenantry.LifeState {
	f.t.Helper()
	all, err := f.cat.Tenant(f.id).Resources(f.t.Context(), catalog.ResourceFilter{})
	f.must(err)
	out := map[tenantry.ResourceID]tenantry.LifeState{}
	for _, r := range all {
		out[r.ID] = r.State
	}
	return out
}

func (f *fixture) want(want map[tenantry.ResourceID]tenantry.LifeState) {
	f.t.Helper()
	if diff := cmp.Diff(want, f.states()); diff != "" {
		f.t.Errorf("resources (-want +got):\n%s", diff)
	}
}

func user(id string) graph.User {
	return graph.User{ID: id, Name: "user " + id, PrincipalName: id + "@contoso.example", Licensed: true, HasMailPlan: true, Enabled: true}
}

func users(next string, done bool, items ...graph.User) graph.Changes[graph.User] {
	return graph.Changes[graph.User]{Items: items, Next: next, Done: done}
}

type states = map[tenantry.ResourceID]tenantry.LifeState

func TestSyncFollowsALife(t *testing.T) {
	f := newFixture(t, contosoID)
	f.script.users[""] = users("p2", false, user("ann"), user("bob"))
	f.script.users["p2"] = users("d1", true, user("eve"), graph.User{ID: "old", Removed: "changed"})
	f.script.sites[""] = graph.Changes[graph.Site]{Done: true, Next: "s1", Items: []graph.Site{
		{ID: "h,1,2", Name: "finance"}, {ID: "h,3,4", Personal: true},
	}}
	f.sync()
	f.want(states{"u-ann": tenantry.Active, "u-bob": tenantry.Active, "u-eve": tenantry.Active, "s-1-2": tenantry.Active})

	row, err := f.cat.Tenant(f.id).Get(t.Context())
	f.must(err)
	if row.Users != 3 || row.Licences != 25 || !row.LastSyncAt.Equal(today) || !row.NextSyncAt.Equal(yesterday.Add(48*time.Hour)) {
		t.Errorf("tenant after the sync: %+v", row)
	}

	// Ann is soft-deleted, Bob deleted for good; Ann is still in the recycle bin.
	f.script.users["d1"] = users("d2", true, graph.User{ID: "ann", Removed: "changed"}, graph.User{ID: "bob", Removed: "deleted"})
	f.script.states["ann"] = tenantry.Inactive
	f.script.sites["s1"] = graph.Changes[graph.Site]{Done: true, Next: "s2", Items: []graph.Site{{ID: "h,1,2", Deleted: true}}}
	f.script.states["h,1,2"] = "" // what is found of a site tells no state
	f.sync()
	f.want(states{"u-ann": tenantry.Inactive, "u-bob": tenantry.Gone, "u-eve": tenantry.Active, "s-1-2": tenantry.Inactive})

	// A month later nothing reports her, and she is not to be found; nor is the site.
	delete(f.script.states, "ann")
	delete(f.script.states, "h,1,2")
	f.sync()
	f.want(states{"u-ann": tenantry.Gone, "u-bob": tenantry.Gone, "u-eve": tenantry.Active, "s-1-2": tenantry.Gone})

	// Both were restored after all.
	f.script.users["d2"] = users("d3", true, user("ann"), user("bob"))
	f.script.sites["s2"] = graph.Changes[graph.Site]{Done: true, Next: "s3", Items: []graph.Site{{ID: "h,1,2", Name: "finance"}}}
	f.sync()
	f.want(states{"u-ann": tenantry.Active, "u-bob": tenantry.Active, "u-eve": tenantry.Active, "s-1-2": tenantry.Active})
}

func TestLastReportOfAPageWins(t *testing.T) {
	f := newFixture(t, contosoID)
	renamed := user("ann")
	renamed.Name = "Ann"
	f.script.users[""] = users("d1", true, user("ann"), graph.User{ID: "ann", Removed: "changed"}, renamed,
		user("bob"), graph.User{ID: "bob", Removed: "changed"})
	f.script.states["bob"] = tenantry.Inactive
	f.sync()
	f.want(states{"u-ann": tenantry.Active, "u-bob": tenantry.Inactive})
	ann, err := f.cat.Tenant(f.id).Resource(t.Context(), "u-ann")
	f.must(err)
	if ann.Name != "Ann" {
		t.Errorf("Ann is called %q", ann.Name)
	}
}

func TestResyncLooksBeforeItBelieves(t *testing.T) {
	f := newFixture(t, contosoID)
	f.script.users[""] = users("d1", true, user("ann"), user("bob"), user("cyd"), user("dan"))
	f.sync()
	// The link has expired. The new listing shows Ann only: Bob was purged while nobody
	// looked, Cyd soft-deleted, and Dan is there but the listing is behind.
	f.script.errs["d1"] = tenantry.Errorf(tenantry.Resync, "gone")
	f.script.users[""] = users("q2", false, user("ann"))
	f.script.users["q2"] = users("d2", true, user("eve"))
	f.script.states["cyd"], f.script.states["dan"] = tenantry.Inactive, tenantry.Active
	f.sync()
	f.want(states{"u-ann": tenantry.Active, "u-bob": tenantry.Gone, "u-cyd": tenantry.Inactive, "u-dan": tenantry.Active, "u-eve": tenantry.Active})
	link, _, err := f.cat.Tenant(f.id).SyncLink(t.Context(), tenantry.User)
	f.must(err)
	if link != "d2" {
		t.Errorf("the link is %q", link)
	}
}

// A worker dies within a round. A first listing goes on where it was; a second listing
// begins again, because only a whole one tells what is missing.
func TestInterruptedRounds(t *testing.T) {
	f := newFixture(t, contosoID)
	cut := tenantry.Errorf(tenantry.Transient, "connection cut")
	f.script.users[""] = users("p2", false, user("ann"))
	f.script.users["p2"] = users("d1", true, user("bob"))
	f.script.errs["p2"] = cut
	if _, err := f.dir.Sync(t.Context(), f.id); tenantry.KindOf(err) != tenantry.Transient {
		t.Fatalf("got %v", err)
	}
	f.want(states{"u-ann": tenantry.Active})
	delete(f.script.errs, "p2")
	f.script.errs[""] = tenantry.Errorf(tenantry.Internal, "the first page was read again")
	f.sync()
	f.want(states{"u-ann": tenantry.Active, "u-bob": tenantry.Active})

	delete(f.script.errs, "")
	f.script.errs["d1"] = tenantry.Errorf(tenantry.Resync, "gone")
	f.script.users[""] = users("p2", false, user("bob"))
	f.script.users["p2"] = users("d2", true, user("cyd"))
	f.script.errs["p2"] = cut
	if _, err := f.dir.Sync(t.Context(), f.id); tenantry.KindOf(err) != tenantry.Transient {
		t.Fatalf("got %v", err)
	}
	f.want(states{"u-ann": tenantry.Active, "u-bob": tenantry.Active})
	delete(f.script.errs, "p2")
	f.sync()
	f.want(states{"u-ann": tenantry.Gone, "u-bob": tenantry.Active, "u-cyd": tenantry.Active})
}

// A link that is refused over and over ends the sync; it does not loop.
func TestEndlessResyncEnds(t *testing.T) {
	f := newFixture(t, contosoID)
	f.script.errs[""] = tenantry.Errorf(tenantry.Resync, "no, again")
	_, err := f.dir.Sync(t.Context(), f.id)
	if tenantry.KindOf(err) != tenantry.Transient {
		t.Errorf("got %v (%s), want Transient", err, tenantry.KindOf(err))
	}
}

func TestSharedMailboxesAreAskedOnce(t *testing.T) {
	f := newFixture(t, contosoID)
	info := graph.User{ID: "info", Name: "info", PrincipalName: "info@contoso.example", Mail: "info@contoso.example"}
	robot := graph.User{ID: "robot", Name: "robot", PrincipalName: "robot@contoso.example", Mail: "robot@fabrikam.example"}
	f.script.users[""] = users("d1", true, user("ann"), info, robot)
	f.script.kinds["info"] = "shared"
	f.sync()
	info.Name = "Information"
	f.script.users["d1"] = users("d2", true, info, robot)
	f.sync()
	got, err := f.cat.Tenant(f.id).Resource(t.Context(), "u-info")
	f.must(err)
	if got.MailboxKind != "shared" || len(got.Workloads) != 1 || got.Workloads[0] != tenantry.Mailbox || got.Name != "Information" {
		t.Errorf("shared mailbox: %+v", got)
	}
	got, err = f.cat.Tenant(f.id).Resource(t.Context(), "u-robot")
	f.must(err)
	if len(got.Workloads) != 0 {
		t.Errorf("user without a mailbox: %+v", got)
	}
	asked := map[string]int{}
	for _, a := range f.script.asked {
		asked[a]++
	}
	if diff := cmp.Diff(map[string]int{"mailbox info": 1, "mailbox robot": 1}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestManyUsersInOnePage(t *testing.T) {
	f := newFixture(t, contosoID)
	var all []graph.User
	for i := range 2500 {
		all = append(all, user(fmt.Sprintf("%05d", i)))
	}
	f.script.users[""] = users("d1", true, all...)
	f.sync()
	row, err := f.cat.Tenant(f.id).Get(t.Context())
	f.must(err)
	if row.Users != 2500 {
		t.Errorf("%d users", row.Users)
	}
}

// A deleted site is asked about once in a sync, whichever way the deletion became known.
func TestDeletedSiteIsAskedAboutOnce(t *testing.T) {
	f := newFixture(t, contosoID)
	f.script.sites[""] = graph.Changes[graph.Site]{Done: true, Next: "s1", Items: []graph.Site{
		{ID: "h,1,2", Name: "told"}, {ID: "h,3,4", Name: "untold"}, {ID: "h,5,6", Name: "stays"}, {ID: "h,7,8", Name: "purged"},
	}}
	f.sync()
	f.script.states["h,1,2"], f.script.states["h,3,4"] = "", ""
	looks := func() (sites []string) {
		f.script.asked = nil
		f.sync()
		for _, what := range f.script.asked {
			if id, ok := strings.CutPrefix(what, "site "); ok {
				sites = append(sites, id)
			}
		}
		slices.Sort(sites)
		return sites
	}
	f.script.sites["s1"] = graph.Changes[graph.Site]{Done: true, Next: "s2", Items: []graph.Site{{ID: "h,1,2", Deleted: true}}}
	if got := looks(); !slices.Equal(got, []string{"h,1,2"}) {
		t.Errorf("told of a deletion, the sync looked at %v", got)
	}
	f.script.errs["sites s2"] = tenantry.Errorf(tenantry.Resync, "gone")
	f.script.sites[""] = graph.Changes[graph.Site]{Done: true, Next: "s3", Items: []graph.Site{{ID: "h,5,6", Name: "stays"}}}
	if got := looks(); !slices.Equal(got, []string{"h,1,2", "h,3,4", "h,7,8"}) {
		t.Errorf("after a complete round the sync looked at %v", got)
	}
	f.want(states{"s-1-2": tenantry.Inactive, "s-3-4": tenantry.Inactive, "s-5-6": tenantry.Active, "s-7-8": tenantry.Gone})
	if got := looks(); !slices.Equal(got, []string{"h,1,2", "h,3,4"}) {
		t.Errorf("a day later the sync looked at %v", got)
	}
}
