package catalogtest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func testTenants(_ *testing.T, w *world) {
	w.kind(w.f.AddTenant(w.ctx, catalog.TenantRow{}), tenantry.Invalid)
	w.kind(w.f.AddTenant(w.ctx, catalog.TenantRow{ID: "t-x", Weight: 101}), tenantry.Invalid)
	w.ok(w.f.AddTenant(w.ctx, catalog.TenantRow{ID: "t-a", Name: "It's \"A\" ? \\", Directory: "a.example", AddedAt: now}))
	err := w.f.AddTenant(w.ctx, catalog.TenantRow{ID: "t-b", Directory: "A.example"})
	w.kind(err, tenantry.Conflict)
	expect(w, "what is shown of a conflict", err.Error(), "add tenant t-b: it exists already")
	w.kind(w.f.AddTenant(w.ctx, catalog.TenantRow{ID: "t-a"}), tenantry.Conflict)
	w.ok(w.f.AddTenant(w.ctx, catalog.TenantRow{ID: "t-b", AddedAt: now}))
	w.ok(w.f.AddTenant(w.ctx, catalog.TenantRow{ID: "t-c", AddedAt: now}))

	a := w.c.Tenant("t-a")
	got, err := a.Get(w.ctx)
	w.ok(err)
	expected := catalog.TenantRow{
		ID: "t-a", Name: "It's \"A\" ? \\", Directory: "a.example", State: tenantry.TenantPending, Weight: 10, AddedAt: now, StateAt: now,
		Region: catalog.DefaultRegion, Pool: catalog.MainPool, Seats: catalog.SeatsAutomatic,
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		w.t.Fatal(diff)
	}

	w.ok(a.SetDirectoryID(w.ctx, "guid-1"))
	w.kind(w.c.Tenant("t-b").SetDirectoryID(w.ctx, "GUID-1"), tenantry.Conflict)
	w.ok(a.SetSize(w.ctx, 100, 90))
	w.ok(a.SetRoles(w.ctx, []string{"Mail.Read", "Files.Read.All"}))
	if row, err := a.Get(w.ctx); err != nil || strings.Join(row.Roles, " ") != "Mail.Read Files.Read.All" {
		w.t.Errorf("the roles came back as %q: %v", row.Roles, err)
	}
	w.ok(a.SetRoles(w.ctx, nil))
	w.ok(w.f.ChangeTenant(w.ctx, "t-a", catalog.TenantChange{Weight: new(30)}, now))
	w.ok(a.SyncDone(w.ctx, now, now.Add(time.Hour)))
	w.ok(a.SetState(w.ctx, tenantry.TenantConnected, "consented"))
	w.kind(a.SetState(w.ctx, "odd", ""), tenantry.Invalid)
	first, err := a.Get(w.ctx)
	w.ok(err)
	w.ok(a.SetState(w.ctx, tenantry.TenantConnected, "again"))
	again, err := a.Get(w.ctx)
	w.ok(err)
	expect(w, "state_at of an unchanged state", again.StateAt, first.StateAt)
	again.StateAt = time.Time{}
	expected = catalog.TenantRow{
		ID: "t-a", Name: expected.Name, Directory: "a.example", DirectoryID: "guid-1", State: tenantry.TenantConnected, Reason: "again",
		Weight: 30, Users: 100, Licences: 90, AddedAt: now, LastSyncAt: now, NextSyncAt: now.Add(time.Hour),
		Region: catalog.DefaultRegion, Pool: catalog.MainPool, Seats: catalog.SeatsAutomatic,
	}
	if diff := cmp.Diff(expected, again); diff != "" {
		w.t.Fatal(diff)
	}

	page, err := w.f.Tenants(w.ctx, "t-a", 1)
	w.ok(err)
	expect(w, "tenants after t-a", page[0].ID, "t-b")
	expect(w, "length of the page", len(page), 1)

	nobody := w.c.Tenant("t-nobody")
	_, err = nobody.Get(w.ctx)
	w.kind(err, tenantry.NotFound)
	for _, c := range []catalog.TenantChange{{}, {Weight: new(30)}, {Seats: new(catalog.SeatsManual)}} {
		w.kind(w.f.ChangeTenant(w.ctx, "t-nobody", c, now), tenantry.NotFound)
	}
	w.kind(nobody.SetSize(w.ctx, 1, 1), tenantry.NotFound)
	w.kind(nobody.SetState(w.ctx, tenantry.TenantConnected, ""), tenantry.NotFound)
	w.kind(nobody.AddPolicy(w.ctx, policy("x"), now), tenantry.NotFound)
	w.kind(nobody.ApplySync(w.ctx, tenantry.User, users(1), "", now), tenantry.NotFound)
	_, err = nobody.StartRun(w.ctx, tenantry.Backup, catalog.TriggerManual, "", mailboxes(1), now)
	w.kind(err, tenantry.NotFound)
}

func testConsents(_ *testing.T, w *world) {
	a := w.tenant("a")
	w.kind(w.c.Tenant("t-nobody").StartConsent(w.ctx, "hash", now), tenantry.NotFound)
	w.ok(a.StartConsent(w.ctx, "used", now.Add(time.Minute)))
	w.ok(a.StartConsent(w.ctx, "expired", now))
	_, err := w.f.UseConsent(w.ctx, "expired", now)
	w.kind(err, tenantry.NotFound)
	_, err = w.f.UseConsent(w.ctx, "unknown", now)
	w.kind(err, tenantry.NotFound)
	errs := race(8, func(int) error {
		id, err := w.f.UseConsent(w.ctx, "used", now)
		if err == nil && id != "t-a" {
			w.t.Errorf("consent is of tenant %s", id)
		}
		return err
	})
	expect(w, "uses of one consent", count(errs, ""), 1)
	expect(w, "refused uses", count(errs, tenantry.NotFound), 7)
}

func testTokens(_ *testing.T, w *world) {
	n, err := w.f.CountTokens(w.ctx)
	w.ok(err)
	expect(w, "tokens at first", n, 0)
	admin := catalog.Token{Name: "admin", Role: "provider-admin", CreatedBy: "init", CreatedAt: now}
	w.ok(w.f.AddToken(w.ctx, admin, "h1"))
	w.kind(w.f.AddToken(w.ctx, admin, "h2"), tenantry.Conflict)
	got, err := w.f.Token(w.ctx, "h1", now)
	w.ok(err)
	expect(w, "token", got, admin)
	_, err = w.f.Token(w.ctx, "h2", now)
	w.kind(err, tenantry.Unauthorized)

	ada := catalog.Token{Name: "ada", Role: "tenant-admin", Tenant: "t-a", CreatedBy: "admin", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
	w.ok(w.f.AddToken(w.ctx, ada, "h3"))
	got, err = w.f.Token(w.ctx, "h3", now.Add(time.Hour-time.Microsecond))
	w.ok(err)
	expect(w, "token of a tenant", got, ada)
	_, err = w.f.Token(w.ctx, "h3", now.Add(time.Hour))
	w.kind(err, tenantry.Unauthorized)
	n, err = w.f.CountTokens(w.ctx)
	w.ok(err)
	expect(w, "tokens", n, 2)

	// Names of other tenants, and of the fleet, are free.
	other := catalog.Token{Name: "ada", Role: "tenant-admin", Tenant: "t-b", CreatedBy: "t-b/eve", CreatedAt: now}
	w.kind(w.f.AddToken(w.ctx, ada, "h4"), tenantry.Conflict)
	w.ok(w.f.AddToken(w.ctx, other, "h4"))
	fleets := catalog.Token{Name: "ada", Role: "operator", CreatedBy: "admin", CreatedAt: now}
	w.ok(w.f.AddToken(w.ctx, fleets, "h5"))
	named, err := w.f.TokensNamed(w.ctx, "ada")
	w.ok(err)
	expect(w, "tokens of one name", len(named), 3)
	if named, err = w.f.TokensNamed(w.ctx, "t-b/ada"); err != nil || len(named) != 0 {
		w.t.Errorf("a key is no name: %v %v", named, err)
	}
	w.kind(w.f.RevokeToken(w.ctx, "", "t-b/ada"), tenantry.NotFound)
	w.ok(w.f.RevokeToken(w.ctx, "", "ada"))
	w.ok(w.f.RevokeToken(w.ctx, "t-b", "ada"))
	if got, err := w.f.Token(w.ctx, "h3", now); err != nil || got.Key() != "t-a/ada" {
		w.t.Errorf("another's token of the same name was revoked: %v", err)
	}

	for _, list := range []struct {
		tenant tenantry.TenantID
		after  string
		want   []catalog.Token
	}{{"", "", []catalog.Token{admin, ada}}, {"", "admin", []catalog.Token{ada}}, {"t-a", "", []catalog.Token{ada}}, {"t-b", "", []catalog.Token{}}} {
		all, err := w.f.Tokens(w.ctx, list.tenant, list.after, 0)
		w.ok(err)
		if diff := cmp.Diff(list.want, all); diff != "" {
			w.t.Fatal(diff)
		}
	}
	w.kind(w.f.RevokeToken(w.ctx, "t-b", "ada"), tenantry.NotFound)
	w.kind(w.f.RevokeToken(w.ctx, "t-a", "admin"), tenantry.NotFound)
	w.ok(w.f.RevokeToken(w.ctx, "t-a", "ada"))
	w.kind(w.f.RevokeToken(w.ctx, "t-a", "ada"), tenantry.NotFound)
	w.ok(w.f.RevokeToken(w.ctx, "", "admin"))
	_, err = w.f.Token(w.ctx, "h1", now)
	w.kind(err, tenantry.Unauthorized)
}

// Whoever asks first makes a secret; all get the same.
func testSecrets(_ *testing.T, w *world) {
	got := make([]string, 8)
	for _, err := range race(len(got), func(i int) error {
		secret, err := w.f.Secret(w.ctx, "it's \"one\" ?")
		got[i] = secret.Reveal()
		return err
	}) {
		w.ok(err)
	}
	for _, secret := range got {
		expect(w, "secret", secret, got[0])
	}
	expect(w, "characters of 32 bytes in base64url", len(got[0]), 43)
	other, err := w.f.Secret(w.ctx, "other")
	w.ok(err)
	if other.Reveal() == got[0] {
		w.t.Fatal("two names have one secret")
	}
	again, err := w.f.Secret(w.ctx, "other")
	w.ok(err)
	expect(w, "secret asked for again", again.Reveal(), other.Reveal())
}

func testAudit(_ *testing.T, w *world) {
	entry := catalog.AuditEntry{At: now, Actor: "admin", Tenant: "t-a", Detail: "detail", Source: "192.0.2.1"}
	for _, entry.Action = range []string{"one", "two", "three"} {
		w.ok(w.f.Audit(w.ctx, entry))
	}
	w.ok(w.f.Audit(w.ctx, catalog.AuditEntry{At: now, Actor: "admin", Action: "fleet"}))
	trail, err := w.c.Tenant("t-a").AuditTrail(w.ctx, 0, 2)
	w.ok(err)
	expect(w, "length", len(trail), 2)
	expect(w, "newest", trail[0].Action, "three")
	older, err := w.c.Tenant("t-a").AuditTrail(w.ctx, trail[1].ID, 2)
	w.ok(err)
	expect(w, "length of the second page", len(older), 1)
	entry.ID, entry.Action = older[0].ID, "one"
	expect(w, "oldest", older[0], entry)

	all, err := w.f.AuditTrail(w.ctx, 0, 0)
	w.ok(err)
	expect(w, "length of the fleet's", len(all), 4)
	expect(w, "newest of the fleet's", all[0].Action, "fleet")
	rest, err := w.f.AuditTrail(w.ctx, all[2].ID, 0)
	w.ok(err)
	expect(w, "length below an entry", len(rest), 1)
}

func testAlarms(_ *testing.T, w *world) {
	minute := func(n int) time.Time { return now.Add(time.Duration(n) * time.Minute) }
	w.ok(w.f.Pause(w.ctx, "bucket", "first", minute(5), now))
	w.ok(w.f.Pause(w.ctx, "bucket", "second", minute(4), minute(1)))
	w.ok(w.f.Pause(w.ctx, "redis", "down", minute(1), now))
	got, err := w.f.Paused(w.ctx, minute(2))
	w.ok(err)
	expected := []catalog.Alarm{{Cause: "bucket", Detail: "second", Since: now, Until: minute(5), Times: 2}}
	if diff := cmp.Diff(expected, got); diff != "" {
		w.t.Fatal(diff)
	}
	// A probe that fails goes on with the alarm; what comes later is another one.
	w.ok(w.f.Pause(w.ctx, "graph", "down", minute(1), now))
	w.ok(w.f.Pause(w.ctx, "graph", "probed", minute(2), minute(1).Add(catalog.AlarmMemory-time.Second)))
	got, err = w.f.Paused(w.ctx, minute(1))
	w.ok(err)
	if diff := cmp.Diff(catalog.Alarm{Cause: "graph", Detail: "probed", Since: now, Until: minute(2), Times: 2}, got[1]); diff != "" {
		w.t.Fatal(diff)
	}
	w.ok(w.f.Resume(w.ctx, "graph"))
	w.ok(w.f.Pause(w.ctx, "redis", "again", minute(9), minute(3)))
	w.ok(w.f.Resume(w.ctx, "bucket"))
	w.ok(w.f.Resume(w.ctx, "bucket"))
	got, err = w.f.Paused(w.ctx, minute(4))
	w.ok(err)
	expected = []catalog.Alarm{{Cause: "redis", Detail: "again", Since: minute(3), Until: minute(9), Times: 1}}
	if diff := cmp.Diff(expected, got); diff != "" {
		w.t.Fatal(diff)
	}
}

func testMirrors(_ *testing.T, w *world) {
	_, _, err := w.f.LoadMirror(w.ctx, "throttle")
	w.kind(err, tenantry.NotFound)
	w.ok(w.f.SaveMirror(w.ctx, "throttle", []byte(`{"a":"it's ?"}`), now))
	w.ok(w.f.SaveMirror(w.ctx, "throttle", []byte("\x00\xff'"), now.Add(time.Second)))
	doc, at, err := w.f.LoadMirror(w.ctx, "throttle")
	w.ok(err)
	expect(w, "document", string(doc), "\x00\xff'")
	expect(w, "time", at, now.Add(time.Second))
}

// A request with a key is done once, whoever asks at the same time.
func testRequests(_ *testing.T, w *world) {
	r := catalog.Request{Actor: "ada", Key: "k", Content: "refresh"}
	errs := race(8, func(int) error {
		_, err := w.f.BeginRequest(w.ctx, r, now)
		return err
	})
	expect(w, "who was first", count(errs, ""), 1)
	expect(w, "others", count(errs, tenantry.Conflict), 7)
	_, err := w.f.BeginRequest(w.ctx, r, now)
	w.kind(err, tenantry.Conflict)
	w.ok(w.f.EndRequest(w.ctx, r, []byte("answer")))
	w.kind(w.f.EndRequest(w.ctx, r, []byte("another")), tenantry.Internal)
	w.ok(w.f.DropRequest(w.ctx, r)) // too late: it has its answer
	answer, err := w.f.BeginRequest(w.ctx, r, now)
	w.ok(err)
	expect(w, "answer", string(answer), "answer")
	_, err = w.f.BeginRequest(w.ctx, catalog.Request{Actor: "ada", Key: "k", Content: "other"}, now)
	w.kind(err, tenantry.Invalid)
	_, err = w.f.BeginRequest(w.ctx, catalog.Request{Actor: "bob", Key: "k", Content: "other"}, now)
	w.ok(err)
	w.ok(w.f.DropRequest(w.ctx, catalog.Request{Actor: "bob", Key: "k"}))
	_, err = w.f.BeginRequest(w.ctx, catalog.Request{Actor: "bob", Key: "k", Content: "a third"}, now)
	w.ok(err)

	w.ok(w.f.Partitions(w.ctx, now.Add(catalog.KeepRequests), 24*time.Hour))
	answer, err = w.f.BeginRequest(w.ctx, r, now)
	w.ok(err)
	expect(w, "answer after a day", string(answer), "answer")
	w.ok(w.f.Partitions(w.ctx, now.Add(catalog.KeepRequests+time.Second), 24*time.Hour))
	answer, err = w.f.BeginRequest(w.ctx, r, now)
	w.ok(err)
	expect(w, "answer after more than a day", string(answer), "")
}

// The overview counts everything of every tenant, of one moment.
func testOverview(_ *testing.T, w *world) {
	empty, err := w.f.Overview(w.ctx, now)
	w.ok(err)
	expect(w, "tenants at first", len(empty.Tenants), 0)
	none, err := w.f.Inventory(w.ctx)
	w.ok(err)
	expect(w, "resources at first", len(none.Resources), 0)
	expect(w, "enrolments at first", none.Protected+none.Unsaved, 0)
	p := w.worker("worker")
	w.fill("a", p)
	w.fill("b", p)
	w.start(w.c.Tenant("t-a"), tenantry.Sync, []catalog.NewTask{{Action: tenantry.Sync}})
	w.ok(w.f.AddTenant(w.ctx, catalog.TenantRow{ID: "t-new", State: tenantry.TenantPending, AddedAt: now}))
	got, err := w.f.Overview(w.ctx, now)
	w.ok(err)
	expect(w, "pending tenants", got.Tenants[tenantry.TenantPending], 1)
	var tenants, resources, ready, flight int64
	for _, n := range got.Tenants {
		tenants += n
	}
	stock, err := w.f.Inventory(w.ctx)
	w.ok(err)
	for _, n := range stock.Resources {
		resources += n
	}
	for _, n := range got.Ready {
		ready += n
	}
	for _, n := range got.InFlight {
		flight += n
	}
	expect(w, "tenants", tenants, 3)
	expect(w, "tasks in flight", flight, 4) // one running and one admitted each
	expect(w, "tasks that wait", ready, 1)
	expect(w, "resources", resources, 8)
	expect(w, "runs of backups", got.Backups[catalog.RunRunning], 2)
	expect(w, "enrolments without a snapshot", stock.Unsaved, stock.Protected-2)
}

// What no database keeps comes back with U+FFFD in its place, and keeps nothing from being stored.
func testEvilText(_ *testing.T, w *world) {
	const evil, kept = "a\x00b'\xff; DROP TABLE tenants; --", "a\uFFFDb'\uFFFD; DROP TABLE tenants; --"
	a := w.enrolled("a", 1)
	_, claims := w.claimed(a, w.worker("worker"), 1)
	w.ok(a.ApplySync(w.ctx, tenantry.Site, []catalog.Resource{{
		ID: tenantry.SiteResource("s"), Kind: tenantry.Site, ObjectID: "s", Name: evil, Address: evil, State: tenantry.Active,
	}}, evil, now))
	site, err := a.Resource(w.ctx, tenantry.SiteResource("s"))
	w.ok(err)
	expect(w, "name", site.Name, kept)
	w.ok(a.Settle(w.ctx, claims[0], catalog.Settlement{
		State: catalog.TaskDone, Reason: evil, Snapshot: &catalog.SnapshotRow{Seq: 1, Time: now},
		Problems: []catalog.Problem{{ItemID: evil, Name: evil, Reason: evil}},
	}, now))
	problems, err := a.Problems(w.ctx, claims[0].ID)
	w.ok(err)
	expect(w, "name of an item", problems[0].Name, kept)
}
