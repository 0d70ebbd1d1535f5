package catalogtest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// testTenantSettings holds that a tenant's settings are what they were added with and changed to, that what a change
// does not name stays, and that a refused change changes nothing.
func testTenantSettings(t *testing.T, w *world) {
	w.ok(w.f.AddPool(w.ctx, catalog.Pool{Name: "munich", AddedAt: now}))
	given := catalog.TenantRow{
		ID: "t-given", Name: "Given", Directory: "given.example", State: tenantry.TenantPending, Weight: 20, AddedAt: now, StateAt: now,
		Cloud: "gcchigh", Region: catalog.DefaultRegion, Pool: "munich", ApplicationName: "It's \"ours\" ?", SyncEvery: 6 * time.Hour, Seats: catalog.SeatsManual,
	}
	w.ok(w.f.AddTenant(w.ctx, given))
	w.settings(given)
	l, _, err := w.c.Tenant(given.ID).Licensing(w.ctx)
	w.ok(err)
	expect(w, "mode of its licensing", l.Mode, catalog.SeatsManual)
	for what, bad := range map[string]catalog.TenantRow{
		"weight": {Weight: -1}, "interval": {SyncEvery: -1}, "seats": {Seats: "free"}, "pool": {Pool: "atlantis"},
	} {
		bad.ID = "t-bad"
		if err := w.f.AddTenant(w.ctx, bad); tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("added with a bad %s: %v", what, err)
		}
	}

	id := given.ID
	for _, c := range []struct {
		change catalog.TenantChange
		want   func(*catalog.TenantRow)
	}{
		{catalog.TenantChange{}, func(*catalog.TenantRow) {}},
		{catalog.TenantChange{Name: new("Other")}, func(r *catalog.TenantRow) { r.Name = "Other" }},
		{catalog.TenantChange{Weight: new(100)}, func(r *catalog.TenantRow) { r.Weight = 100 }},
		{catalog.TenantChange{ApplicationName: new("")}, func(r *catalog.TenantRow) { r.ApplicationName = "" }},
		{catalog.TenantChange{SyncEvery: new(time.Hour)}, func(r *catalog.TenantRow) { r.SyncEvery = time.Hour }},
		{catalog.TenantChange{Pool: new(catalog.MainPool)}, func(r *catalog.TenantRow) { r.Pool = catalog.MainPool }},
		{catalog.TenantChange{Seats: new(catalog.SeatsAutomatic)}, func(r *catalog.TenantRow) { r.Seats = catalog.SeatsAutomatic }},
		{
			catalog.TenantChange{Name: new("All"), Weight: new(1), Pool: new("munich"), Seats: new(catalog.SeatsManual)},
			func(r *catalog.TenantRow) {
				r.Name, r.Weight, r.Pool, r.Seats = "All", 1, "munich", catalog.SeatsManual
			},
		},
	} {
		w.ok(w.f.ChangeTenant(w.ctx, id, c.change, now))
		c.want(&given)
		w.settings(given)
	}
	for what, bad := range map[string]catalog.TenantChange{
		"no weight": {Weight: new(0)}, "weight": {Weight: new(101)}, "interval": {SyncEvery: new(-time.Hour)},
		"seats": {Seats: new(catalog.SeatMode("free"))}, "pool": {Pool: new("atlantis"), Seats: new(catalog.SeatsAutomatic)},
	} {
		bad.Name = new("Bad")
		if err := w.f.ChangeTenant(w.ctx, id, bad, now); tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("bad %s: %v", what, err)
		}
	}
	w.settings(given)
	w.replanned()
	w.reseated()
}

// settings holds that a tenant's row is as expected.
func (w *world) settings(expected catalog.TenantRow) {
	w.t.Helper()
	got, err := w.c.Tenant(expected.ID).Get(w.ctx)
	w.ok(err)
	if diff := cmp.Diff(expected, got); diff != "" {
		w.t.Fatal(diff)
	}
}

// replanned holds that another interval plans a planned sync anew, and neither one that is due nor one that is not
// to be.
func (w *world) replanned() {
	w.t.Helper()
	a := w.tenant("a")
	for _, c := range []struct{ next, want time.Time }{
		{now.Add(20 * time.Hour), now.Add(4 * time.Hour)},
		{now.Add(time.Hour), now.Add(time.Hour)}, // due
		{time.Time{}, time.Time{}},
	} {
		w.ok(a.SyncDone(w.ctx, now, c.next))
		w.ok(w.f.ChangeTenant(w.ctx, "t-a", catalog.TenantChange{SyncEvery: new(2 * time.Hour)}, now.Add(3*time.Hour)))
		row, err := a.Get(w.ctx)
		w.ok(err)
		expect(w, "next sync", row.NextSyncAt, c.want)
	}
}

// reseated holds that a change of how seats are given leaves quotas and rules, and gives seats by it at once.
func (w *world) reseated() {
	w.t.Helper()
	b := w.tenant("b")
	w.ok(b.AddPolicy(w.ctx, policy("daily"), now))
	l := catalog.Licensing{Mode: catalog.SeatsManual, Soft: 8, Hard: 9, Take: []catalog.SeatClass{catalog.SeatUser}}
	w.ok(b.SetLicensing(w.ctx, l, now))
	w.ok(b.ApplySync(w.ctx, tenantry.User, users(1), "1", now))
	expect(w, "without a seat", w.standings(b)[user(0)], catalog.StandingNoSeat)
	w.ok(w.f.ChangeTenant(w.ctx, "t-b", catalog.TenantChange{Seats: new(catalog.SeatsAutomatic)}, now))
	expect(w, "with a seat by itself", w.standings(b)[user(0)], catalog.StandingCovered)
	l.Mode = catalog.SeatsAutomatic
	got, _, err := b.Licensing(w.ctx)
	w.ok(err)
	same(w, "licensing", []catalog.Licensing{got}, []catalog.Licensing{l})
}

// A pool that is removed while a tenant comes into it: one of both is refused.
func testPoolRace(_ *testing.T, w *world) {
	for round := range 10 {
		pool, id := fmt.Sprint("pool-", round), tenantry.TenantID(fmt.Sprint("t-", round))
		w.ok(w.f.AddPool(w.ctx, catalog.Pool{Name: pool, AddedAt: now}))
		var removed, added error
		var both sync.WaitGroup
		both.Go(func() { removed = w.f.RemovePool(w.ctx, pool) })
		both.Go(func() {
			added = w.f.AddTenant(w.ctx, catalog.TenantRow{ID: id, State: tenantry.TenantConnected, Pool: pool, AddedAt: now, NextSyncAt: now})
		})
		both.Wait()
		switch {
		case removed == nil && tenantry.KindOf(added) == tenantry.Invalid:
		case added == nil && tenantry.KindOf(removed) == tenantry.Conflict:
		default:
			w.t.Fatalf("removing a pool gives %v, and adding a tenant to it %v", removed, added)
		}
	}
}
