package catalogtest

import (
	"fmt"
	"testing"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// testZones holds that a tenant follows the time zone of its region until it is given one of its own, and its policies
// that start off-peak with it.
func testZones(_ *testing.T, w *world) {
	follows, own := w.tenant("follows"), w.tenant("own")
	for _, t := range []*catalog.Tenant{follows, own} {
		for _, p := range []catalog.Policy{{ID: "p-night", Schedule: catalog.ScheduleOffPeak}, {ID: "p-day", Schedule: catalog.ScheduleDaily}} {
			p.Name, p.State, p.TimeZone, p.CreatedAt = string(p.ID), catalog.PolicyActive, catalog.DefaultZone, now
			p.Kinds, p.Workloads = []tenantry.ResourceKind{tenantry.User}, []tenantry.Workload{tenantry.Mailbox}
			w.ok(t.AddPolicy(w.ctx, p, now))
		}
	}
	has := func(what string, t *catalog.Tenant, want catalog.Planning) {
		w.t.Helper()
		got, err := t.Planning(w.ctx)
		w.ok(err)
		expect(w, what, got, want)
		policies, err := t.Policies(w.ctx)
		w.ok(err)
		for _, p := range policies {
			zone := catalog.DefaultZone
			if p.Schedule == catalog.ScheduleOffPeak {
				zone = want.TimeZone
			}
			expect(w, what+": "+p.Name, p.TimeZone, zone)
		}
	}
	off := func(what, region, zone string, want ...tenantry.TenantID) {
		w.t.Helper()
		got, err := w.f.OffZone(w.ctx, region, zone)
		w.ok(err)
		expect(w, what, fmt.Sprint(got), fmt.Sprint(want))
	}
	has("as added", follows, catalog.Planning{TimeZone: "UTC", OfRegion: true})
	w.ok(own.SetPlanning(w.ctx, catalog.Planning{TimeZone: "UTC", OpenSchedules: true}, now)) // on purpose
	has("given one", own, catalog.Planning{TimeZone: "UTC", OpenSchedules: true})
	off("before", catalog.DefaultRegion, "UTC")
	off("changed", catalog.DefaultRegion, "Asia/Tokyo", "t-follows")
	off("another region", "au", "Asia/Tokyo")
	for _, t := range []*catalog.Tenant{follows, own} {
		w.ok(t.FollowZone(w.ctx, "Asia/Tokyo", now))
	}
	has("its region has changed", follows, catalog.Planning{TimeZone: "Asia/Tokyo", OfRegion: true})
	has("not its own", own, catalog.Planning{TimeZone: "UTC", OpenSchedules: true})
	off("afterwards", catalog.DefaultRegion, "Asia/Tokyo")

	w.ok(follows.SetPlanning(w.ctx, catalog.Planning{TimeZone: "Asia/Tokyo"}, now))
	w.ok(follows.FollowZone(w.ctx, "Europe/Vienna", now))
	has("the same, but its own", follows, catalog.Planning{TimeZone: "Asia/Tokyo"})
	w.ok(own.SetPlanning(w.ctx, catalog.Planning{TimeZone: "Europe/Vienna", OfRegion: true}, now))
	has("its region's again", own, catalog.Planning{TimeZone: "Europe/Vienna", OfRegion: true})
	for _, zone := range []string{"", "Local", "Vienna"} {
		expect(w, "zone "+zone, tenantry.KindOf(own.FollowZone(w.ctx, zone, now)), tenantry.Invalid)
		expect(w, "zone "+zone, tenantry.KindOf(own.SetPlanning(w.ctx, catalog.Planning{TimeZone: zone, OfRegion: true}, now)), tenantry.Invalid)
	}
	w.ok(w.c.Tenant("t-nobody").FollowZone(w.ctx, "Asia/Tokyo", now))
}
