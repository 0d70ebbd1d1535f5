package catalogtest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// testPlaces holds that a tenant is in one region and one cloud, that its pool is one of its region, and that it
// leaves a region only while nothing of it is there, a cloud only before its consent was proved.
func testPlaces(t *testing.T, w *world) {
	for _, p := range []catalog.Pool{{Name: "sydney", Region: "au"}, {Name: "perth", Region: "au"}, {Name: "munich"}} {
		p.AddedAt = now
		w.ok(w.f.AddPool(w.ctx, p))
	}
	pools, err := w.f.Pools(w.ctx)
	w.ok(err)
	regions := map[string]string{}
	for _, p := range pools {
		regions[p.Name] = p.Region
	}
	expect(w, "region of main", regions[catalog.MainPool], catalog.DefaultRegion)
	expect(w, "region of munich", regions["munich"], catalog.DefaultRegion)
	expect(w, "region of sydney", regions["sydney"], "au")
	for name, want := range regions {
		region, err := w.f.PoolRegion(w.ctx, name)
		w.ok(err)
		expect(w, "region of the pool "+name, region, want)
	}
	_, err = w.f.PoolRegion(w.ctx, "nowhere")
	expect(w, "region of no pool", tenantry.KindOf(err), tenantry.NotFound)

	here := w.tenant("here")
	w.ok(w.f.AddTenant(w.ctx, catalog.TenantRow{ID: "t-away", Directory: "away.example", Region: "au", Pool: "sydney", Cloud: "china", AddedAt: now}))
	w.ok(w.f.AddTenant(w.ctx, catalog.TenantRow{ID: "t-near", Directory: "near.example", Pool: "munich", Cloud: "global", AddedAt: now}))
	row, err := w.c.Tenant("t-away").Get(w.ctx)
	w.ok(err)
	expect(w, "region", row.Region, "au")
	expect(w, "cloud", row.Cloud, "china")
	row, err = here.Get(w.ctx)
	w.ok(err)
	expect(w, "region of most", row.Region, catalog.DefaultRegion)
	for what, bad := range map[string]catalog.TenantRow{
		"a region without its pool": {Region: "au"}, "another region's pool": {Pool: "sydney"}, "no pool": {Region: "au", Pool: "atlantis"},
	} {
		bad.ID, bad.Directory = "t-bad", "bad.example"
		w.refused(w.f.AddTenant(w.ctx, bad), tenantry.Invalid, "pool", what)
	}
	w.placed("global", map[tenantry.TenantID]catalog.Place{
		"t-away": {Pool: "sydney", Region: "au", Cloud: "china"}, "t-near": {Pool: "munich", Region: "default", Cloud: "global"},
	})
	w.placed("china", map[tenantry.TenantID]catalog.Place{
		"t-away": {Pool: "sydney", Region: "au", Cloud: "china"}, "t-near": {Pool: "munich", Region: "default", Cloud: "global"},
	})
	counts, err := w.f.TenantsByRegion(w.ctx)
	w.ok(err)
	if diff := cmp.Diff(map[string]int64{"default": 2, "au": 1}, counts); diff != "" {
		t.Fatal(diff)
	}

	change := func(id tenantry.TenantID, c catalog.TenantChange) error { return w.f.ChangeTenant(w.ctx, id, c, now) }
	w.refused(change("t-away", catalog.TenantChange{Pool: new("main")}), tenantry.Invalid, "pool", "out of the region by its pool")
	w.refused(change("t-away", catalog.TenantChange{Region: new("default")}), tenantry.Invalid, "pool", "another region with the pool of this")
	w.ok(change("t-away", catalog.TenantChange{Pool: new("perth"), Region: new("au")}))
	w.ok(change("t-away", catalog.TenantChange{Pool: new("main"), Region: new("default"), Cloud: new("global")}))
	row, err = w.c.Tenant("t-away").Get(w.ctx)
	w.ok(err)
	if got := (catalog.Place{Pool: row.Pool, Region: row.Region, Cloud: row.Cloud}); got != (catalog.Place{Pool: "main", Region: "default", Cloud: "global"}) {
		t.Fatalf("moved to %+v", got)
	}
	w.ok(change("t-away", catalog.TenantChange{Pool: new("sydney"), Region: new("au")}))
	w.staysPut()
}

// staysPut holds that a tenant stays where anything of it is.
func (w *world) staysPut() {
	w.t.Helper()
	move := catalog.TenantChange{Name: new("Moved"), Region: new("au"), Pool: new("sydney")}
	for name, keep := range map[string]func(*catalog.Tenant){
		"credential": func(t *catalog.Tenant) { w.ok(t.AddCredential(w.ctx, catalog.Credential{ID: "c-1", AddedAt: now})) },
		"snapshot": func(t *catalog.Tenant) {
			w.ok(t.MirrorSnapshots(w.ctx, user(0), tenantry.Mailbox, []catalog.SnapshotRow{{Seq: 1, Time: now}}))
		},
		"task": func(t *catalog.Tenant) {
			_, err := t.StartRun(w.ctx, tenantry.Collect, catalog.TriggerManual, "", []catalog.NewTask{{Action: tenantry.Collect}}, now)
			w.ok(err)
		},
	} {
		tenant := w.tenant("keeps-" + name)
		id := tenantry.TenantID("t-keeps-" + name)
		_, err := tenant.StartRun(w.ctx, tenantry.Connect, catalog.TriggerManual, "", []catalog.NewTask{{Action: tenantry.Connect}}, now)
		w.ok(err)
		keep(tenant)
		w.refused(w.f.ChangeTenant(w.ctx, id, move, now), tenantry.Conflict, "region", "with a "+name)
		w.ok(w.f.ChangeTenant(w.ctx, id, catalog.TenantChange{Region: new("default"), Pool: new("munich")}, now)) // its own
		row, err := tenant.Get(w.ctx)
		w.ok(err)
		if row.Region != catalog.DefaultRegion || row.Name == "Moved" {
			w.t.Fatalf("a refused move changed %+v", row)
		}
	}
	proved := w.tenant("proved")
	w.ok(proved.SetDirectoryID(w.ctx, strings.Repeat("1", 36)))
	w.refused(w.f.ChangeTenant(w.ctx, "t-proved", catalog.TenantChange{Cloud: new("china")}, now), tenantry.Conflict, "cloud", "once its consent is proved")
	w.ok(w.f.ChangeTenant(w.ctx, "t-proved", move, now)) // a consent alone keeps nothing in a region
}

// placed holds which tenants are elsewhere than most of a fleet in a cloud.
func (w *world) placed(cloud string, want map[tenantry.TenantID]catalog.Place) {
	w.t.Helper()
	got, err := w.f.PlacedTenants(w.ctx, cloud)
	w.ok(err)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatal(diff)
	}
}

// refused holds kind and code of a refusal.
func (w *world) refused(err error, kind tenantry.Kind, code, what string) {
	w.t.Helper()
	if tenantry.KindOf(err) != kind || tenantry.CodeOf(err) != code {
		w.t.Errorf("%s: %v, want %s with the code %q", what, err, kind, code)
	}
}
