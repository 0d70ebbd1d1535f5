package catalogtest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// testBusiest counts what tenants have to do, those with the most first.
func testBusiest(_ *testing.T, w *world) {
	a, b, p := w.tenant("a"), w.tenant("b"), w.worker("1")
	w.tenant("idle")
	w.start(b, tenantry.Backup, mailboxes(3))
	_, claims := w.claimed(a, p, 5)
	until := now.Add(time.Minute)
	for i, kind := range []tenantry.Kind{tenantry.Throttled, tenantry.Throttled, "", tenantry.Transient} {
		w.ok(a.Settle(w.ctx, claims[i], catalog.Settlement{State: catalog.TaskReady, Kind: kind, Reason: "later", NotBefore: until}, now))
	}
	first := catalog.Busy{
		Tenant: "t-a", Name: "a", Weight: 10, State: tenantry.TenantConnected, Waiting: 4, InFlight: 1, Oldest: now,
		Waits: map[tenantry.Kind]int64{tenantry.Throttled: 2, "": 1, tenantry.Transient: 1},
	}
	second := catalog.Busy{
		Tenant: "t-b", Name: "b", Weight: 10, State: tenantry.TenantConnected, Ready: 3, Oldest: now, Waits: map[tenantry.Kind]int64{},
	}
	for limit, expected := range map[int][]catalog.Busy{0: {first, second}, 1: {first}} {
		got, err := w.f.Busiest(w.ctx, now, limit)
		w.ok(err)
		if diff := cmp.Diff(expected, got); diff != "" {
			w.t.Fatal(diff)
		}
	}
	got, err := w.f.Busiest(w.ctx, until, 1)
	w.ok(err)
	expect(w, "ready when the time has come", got[0].Ready, int64(4))
}
