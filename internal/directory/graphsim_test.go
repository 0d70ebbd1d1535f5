package directory_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/directory"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// unlimited is no account book: what may be asked is not what is tested here.
type unlimited struct{}

func (unlimited) Acquire(context.Context, throttle.Call) (*throttle.Permit, error) {
	return new(throttle.Permit), nil
}

// world is a directory over the real Graph client and the simulator.
type world struct {
	t    *testing.T
	sim  *graphsim.Tenant
	cat  *catalog.Catalog
	dir  *directory.Directory
	id   tenantry.TenantID
	conn tenantry.ConnectRequest
}

func newWorld(t *testing.T, spec graphsim.TenantSpec) *world {
	t.Helper()
	return newWorldOf(t, graphsim.Options{Seed: 7, PageSize: 5}, spec)
}

func newWorldOf(t *testing.T, o graphsim.Options, spec graphsim.TenantSpec) *world {
	t.Helper()
	server, err := graphsim.Start(o)
	w := &world{t: t, id: tenantry.NewTenantID()}
	w.must(err)
	t.Cleanup(func() { _ = server.Close() })
	w.sim = server.AddTenant(spec)
	w.conn.Directory = w.sim.ID()
	client, err := graph.New(graph.Config{
		GraphURL: server.URL(), LoginURL: server.URL(),
		ClientID: graphsim.DefaultClientID, Secret: tenantry.NewSecret(graphsim.DefaultSecret),
	}, unlimited{})
	w.must(err)
	w.cat, err = catalog.Open(t.Context(), catalogtest.SQLite(t))
	w.must(err)
	t.Cleanup(func() { _ = w.cat.Close() })
	w.must(w.cat.Fleet().AddTenant(t.Context(), catalog.TenantRow{
		ID: w.id, Name: "Contoso", Directory: spec.Domain, State: tenantry.TenantPending, AddedAt: time.Now(), Weight: 10,
	}))
	w.dir, err = directory.New(directory.Config{
		Catalog: w.cat, Log: zap.NewNop().Sugar(),
		Open: func(id tenantry.TenantID, name string) directory.Graph { return client.Tenant(id, name) },
	})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) sync() {
	w.t.Helper()
	_, err := w.dir.Sync(w.t.Context(), w.id)
	w.must(err)
}

// resources returns the state of each resource of a kind.
func (w *world) resources(kind tenantry.ResourceKind) map[tenantry.ResourceID]tenantry.LifeState {
	w.t.Helper()
	all, err := w.cat.Tenant(w.id).Resources(w.t.Context(), catalog.ResourceFilter{Kind: kind, Limit: 1000})
	w.must(err)
	states := map[tenantry.ResourceID]tenantry.LifeState{}
	for _, r := range all {
		states[r.ID] = r.State
	}
	return states
}

var life = map[graphsim.State]tenantry.LifeState{
	graphsim.Active: tenantry.Active, graphsim.Deleted: tenantry.Inactive, graphsim.Purged: tenantry.Gone,
}

// likeTheTruth compares the catalog with what the simulator knows.
func (w *world) likeTheTruth() {
	w.t.Helper()
	users := map[tenantry.ResourceID]tenantry.LifeState{}
	for _, u := range w.sim.Users() {
		users[tenantry.UserResource(u.ID)] = life[u.State]
	}
	if diff := cmp.Diff(users, w.resources(tenantry.User)); diff != "" {
		w.t.Errorf("users (-truth +catalog):\n%s", diff)
	}
	groups := map[tenantry.ResourceID]tenantry.LifeState{}
	for _, g := range w.sim.Groups() {
		groups[tenantry.GroupResource(g.ID)] = life[g.State]
	}
	if diff := cmp.Diff(groups, w.resources(tenantry.Group)); diff != "" {
		w.t.Errorf("groups (-truth +catalog):\n%s", diff)
	}
	sites := map[tenantry.ResourceID]tenantry.LifeState{}
	for _, s := range w.sim.Sites() {
		if s.Owner != "" {
			continue
		}
		sites[tenantry.SiteResource(s.ID)] = life[s.State]
	}
	if diff := cmp.Diff(sites, w.resources(tenantry.Site)); diff != "" {
		w.t.Errorf("sites (-truth +catalog):\n%s", diff)
	}
}

func TestTenantFromConsentToGone(t *testing.T) {
	w := newWorld(t, graphsim.TenantSpec{Domain: "contoso.example", Users: 23, Unlicensed: 2, Shared: 2, Groups: 6, Sites: 3})
	err := w.dir.Connect(t.Context(), w.id, w.conn)
	if tenantry.KindOf(err) != tenantry.Transient {
		t.Fatalf("before the consent: %v (%s), want Transient", err, tenantry.KindOf(err))
	}
	w.sim.Consent("User.Read.All", "Organization.Read.All")
	if err := w.dir.Connect(t.Context(), w.id, w.conn); tenantry.KindOf(err) != tenantry.Reconnect || !strings.Contains(err.Error(), "Group.Read.All") {
		t.Fatalf("with half the roles: %v", err)
	}
	w.sim.Consent()
	w.must(w.dir.Connect(t.Context(), w.id, w.conn))
	w.sync()
	w.likeTheTruth()

	row, err := w.cat.Tenant(w.id).Get(t.Context())
	w.must(err)
	if row.State != tenantry.TenantConnected || row.DirectoryID != w.sim.ID() || row.Users != int64(len(w.sim.Users())) || row.Licences == 0 {
		t.Errorf("tenant: %+v", row)
	}
	for _, u := range w.sim.Users() {
		r, err := w.cat.Tenant(w.id).Resource(t.Context(), tenantry.UserResource(u.ID))
		w.must(err)
		if got := slices.Contains(r.Workloads, tenantry.Mailbox); got != u.Mailbox {
			t.Errorf("%s: workloads %v, has a mailbox: %v", u.PrincipalName, r.Workloads, u.Mailbox)
		}
	}

	users, groups, sites := w.sim.Users(), w.sim.Groups(), w.sim.Sites()
	w.must(w.sim.DeleteUser(users[0].ID))
	w.must(w.sim.DeleteUser(users[1].ID))
	w.must(w.sim.PurgeUser(users[2].ID))
	newcomer, err := w.sim.NewUser("Newcomer")
	w.must(err)
	for _, g := range groups {
		if g.Unified {
			w.must(w.sim.DeleteGroup(g.ID))
			break
		}
	}
	for _, s := range sites {
		if s.Owner == "" && s.Group == "" {
			w.must(w.sim.DeleteSite(s.ID))
			break
		}
	}
	w.sync()
	w.likeTheTruth()
	if w.resources(tenantry.User)[tenantry.UserResource(newcomer)] != tenantry.Active {
		t.Error("the new user is not there")
	}

	w.must(w.sim.RestoreUser(users[0].ID))
	w.must(w.sim.PurgeUser(users[1].ID))
	w.sync()
	w.likeTheTruth()
	w.sync() // and nothing changes by itself
	w.likeTheTruth()
}

func TestWrongOrganizationIsNamed(t *testing.T) {
	w := newWorld(t, graphsim.TenantSpec{Domain: "contoso.example", Name: "Contoso", Users: 1})
	w.sim.Consent()
	id := tenantry.NewTenantID()
	w.must(w.cat.Fleet().AddTenant(t.Context(), catalog.TenantRow{
		ID: id, Name: "Fabrikam", Directory: "fabrikam.example", State: tenantry.TenantPending, AddedAt: time.Now(), Weight: 10,
	}))
	err := w.dir.Connect(t.Context(), id, w.conn)
	if tenantry.KindOf(err) != tenantry.Invalid || !strings.Contains(err.Error(), "fabrikam.example") || !strings.Contains(err.Error(), w.sim.ID()) {
		t.Errorf("got %v (%s)", err, tenantry.KindOf(err))
	}
}

// Workloads get on board one by one, as the consent and the administrator allow.
func TestWorkloadsGetOnBoard(t *testing.T) {
	w := newWorld(t, graphsim.TenantSpec{Domain: "contoso.example", Users: 3, Groups: 2, Sites: 2})
	scope := w.cat.Tenant(w.id)
	states := func() string {
		t.Helper()
		rows, err := scope.Workloads(t.Context())
		w.must(err)
		var out []string
		for _, r := range rows {
			out = append(out, string(r.State))
		}
		return strings.Join(out, " ")
	}
	expect := func(what, want string) {
		t.Helper()
		if got := states(); got != want {
			t.Fatalf("%s: %s, want %s", what, got, want)
		}
	}
	list := []string{"User.Read.All", "Group.Read.All", "Organization.Read.All"}
	w.sim.Consent(append(list, "Mail.Read")...)
	w.must(w.dir.Connect(t.Context(), w.id, w.conn))
	expect("mail alone consented", "authorised unauthorised unauthorised authorised authorised")

	now := time.Now()
	w.must(scope.EnableWorkload(t.Context(), tenantry.Mailbox, catalog.Enabling{}, now))
	w.must(scope.EnableWorkload(t.Context(), tenantry.SiteContent, catalog.Enabling{Missing: []string{"Sites.Read.All"}}, now))
	w.sync()
	expect("mail enabled", "ready unauthorised unauthorised authorised authorised")

	w.sim.Consent()
	w.must(w.dir.Connect(t.Context(), w.id, w.conn))
	expect("everything consented", "ready authorised enabling authorised authorised")
	w.sync()
	expect("sites listed", "ready authorised ready authorised authorised")

	w.sim.Consent(append(list, "Sites.Read.All")...) // an administrator takes mail away
	w.sync()
	expect("the daily sync sees it", "failed authorised ready authorised authorised")
	rows, err := scope.Workloads(t.Context())
	w.must(err)
	if !strings.Contains(rows[0].Reason, "Mail.Read") || rows[0].Remedy == "" {
		t.Errorf("failed mail: %+v", rows[0])
	}
	trail, err := scope.AuditTrail(t.Context(), 0, 10)
	w.must(err)
	if len(trail) != 2 || trail[0].Action != "consent-proved" || !strings.Contains(trail[1].Detail, "Mail.Read") {
		t.Errorf("audit: %+v", trail)
	}
}
