package catalogtest

import (
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// states lists the states of the tenant's workloads, in their order.
func (w *world) states(a *catalog.Tenant) map[tenantry.Workload]tenantry.EnableState {
	w.t.Helper()
	rows, err := a.Workloads(w.ctx)
	w.ok(err)
	expect(w, "workloads", len(rows), len(tenantry.Workloads()))
	out := map[tenantry.Workload]tenantry.EnableState{}
	for _, r := range rows {
		out[r.Workload] = r.State
	}
	return out
}

// fresh adds a tenant of which nothing is enabled.
func (w *world) fresh(name string) *catalog.Tenant {
	w.t.Helper()
	id := tenantry.TenantID("t-" + name)
	w.ok(w.f.AddTenant(w.ctx, catalog.TenantRow{ID: id, Name: name, Directory: name + ".example", AddedAt: now}))
	return w.c.Tenant(id)
}

func testWorkloads(_ *testing.T, w *world) {
	a := w.fresh("a")
	mail := func(what string, state tenantry.EnableState) {
		w.t.Helper()
		expect(w, "mail once "+what, w.states(a)[tenantry.Mailbox], state)
	}
	lacks := map[tenantry.Workload][]string{tenantry.Mailbox: {"Mail.Read"}, tenantry.SiteContent: {"Sites.Read.All"}}
	mail("added", tenantry.Unauthorised)
	w.ok(a.AuthoriseWorkloads(w.ctx, nil, now))
	mail("consented", tenantry.Authorised)
	w.ok(a.AuthoriseWorkloads(w.ctx, lacks, now))
	mail("the consent is narrower", tenantry.Unauthorised)
	expect(w, "drive beside it", w.states(a)[tenantry.Drive], tenantry.Authorised)

	w.ok(a.EnableWorkload(w.ctx, tenantry.Mailbox, catalog.Enabling{Missing: lacks[tenantry.Mailbox]}, now))
	mail("enabled without consent", tenantry.Unauthorised)
	rows, err := a.Workloads(w.ctx)
	w.ok(err)
	expect(w, "reason names it", rows[0].Reason, "the consent lacks Mail.Read")
	expect(w, "a remedy", rows[0].Remedy != "", true)
	expect(w, "protected", rows[0].Protected(), false)
	w.ok(a.ListingBegan(w.ctx, now))
	w.ok(a.ListingEnded(w.ctx, nil, now))
	mail("listed without consent", tenantry.Unauthorised)

	later := now.Add(time.Minute)
	w.ok(a.AuthoriseWorkloads(w.ctx, nil, later)) // what was asked for begins by itself
	mail("consented again", tenantry.Enabling)
	w.ok(a.ListingBegan(w.ctx, later))
	mail("a sync begins", tenantry.Listing)
	w.ok(a.AuthoriseWorkloads(w.ctx, nil, later))
	mail("asked again meanwhile", tenantry.Listing)
	w.ok(a.ListingEnded(w.ctx, nil, later))
	mail("the sync ended", tenantry.Ready)
	expect(w, "others are not enabled", w.states(a)[tenantry.Drive], tenantry.Authorised)
	rows, err = a.Workloads(w.ctx)
	w.ok(err)
	expect(w, "since", rows[0].StateAt, later)
	w.ok(a.AuthoriseWorkloads(w.ctx, nil, later.Add(time.Hour)))
	rows, err = a.Workloads(w.ctx)
	w.ok(err)
	expect(w, "a state that stays keeps its time", rows[0].StateAt, later)

	w.ok(a.AuthoriseWorkloads(w.ctx, lacks, later))
	mail("the consent lost it", tenantry.Failed)
	w.ok(a.ListingEnded(w.ctx, nil, later))
	mail("a sync ended that could not help", tenantry.Failed)
	w.ok(a.AuthoriseWorkloads(w.ctx, nil, later))
	mail("repaired", tenantry.Enabling)
	w.ok(a.DisableWorkload(w.ctx, tenantry.Mailbox, nil, later))
	mail("disabled", tenantry.Authorised)
	w.ok(a.EnableWorkload(w.ctx, tenantry.Mailbox, catalog.Enabling{Missing: lacks[tenantry.Mailbox], Trusted: true}, later))
	mail("enabled on trust", tenantry.Enabling)
	w.ok(a.AuthoriseWorkloads(w.ctx, lacks, later))
	mail("a look at a trusted one", tenantry.Enabling)

	w.ok(a.EnableWorkload(w.ctx, tenantry.SiteContent, catalog.Enabling{}, later))
	w.ok(a.ListingEnded(w.ctx, map[tenantry.ResourceKind]string{tenantry.Site: "no SharePoint"}, later))
	expect(w, "sites that cannot be listed", w.states(a)[tenantry.SiteContent], tenantry.Failed)
	w.ok(a.EnableWorkload(w.ctx, tenantry.SiteContent, catalog.Enabling{}, later))
	expect(w, "tried again", w.states(a)[tenantry.SiteContent], tenantry.Enabling)

	nobody := w.c.Tenant("t-none")
	_, err = nobody.Workloads(w.ctx)
	w.kind(err, tenantry.NotFound)
	w.kind(nobody.EnableWorkload(w.ctx, tenantry.Mailbox, catalog.Enabling{}, now), tenantry.NotFound)
}

// Nothing is enrolled before its workload is enabled and permitted, and nothing is after it was disabled.
func testNothingBeforeEnabled(_ *testing.T, w *world) {
	a := w.fresh("a")
	w.ok(a.ApplySync(w.ctx, tenantry.User, users(2), "1", now))
	w.ok(a.AddPolicy(w.ctx, policy("daily"), now))
	w.ok(a.ApplySync(w.ctx, tenantry.User, users(3), "2", now))
	expect(w, "enrolled", len(w.due()), 0)
	w.ok(a.EnableWorkload(w.ctx, tenantry.Mailbox, catalog.Enabling{Missing: []string{"Mail.Read"}}, now))
	expect(w, "enrolled without permission", len(w.due()), 0)
	w.ok(a.AuthoriseWorkloads(w.ctx, nil, now))
	expect(w, "enrolled mailboxes", len(w.due()), 3)
	w.ok(a.EnableWorkload(w.ctx, tenantry.Drive, catalog.Enabling{}, now))
	expect(w, "enrolled mailboxes and drives", len(w.due()), 6)
	eligible, err := a.Eligible(w.ctx)
	w.ok(err)
	expect(w, "eligible drives", eligible[tenantry.Drive], int64(3))
	expect(w, "eligible sites", eligible[tenantry.SiteContent], int64(0))
	w.ok(a.AuthoriseWorkloads(w.ctx, map[tenantry.Workload][]string{tenantry.Drive: {"Files.Read.All"}}, now))
	expect(w, "a consent that was lost unenrols nothing", len(w.due()), 6)
	w.ok(a.DisableWorkload(w.ctx, tenantry.Mailbox, nil, now))
	expect(w, "left", len(w.due()), 3)
}
