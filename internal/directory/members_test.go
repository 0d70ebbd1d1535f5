package directory_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A policy that names a group protects the users in it, as each sync finds them: over
// several pages, in groups of the group, and while the group cannot be listed.
func TestGroupsOfPolicies(t *testing.T) {
	w := newWorld(t, graphsim.TenantSpec{Domain: "contoso.example", Users: 23, Groups: 4, Sites: 1})
	w.sim.Consent()
	w.must(w.dir.Connect(t.Context(), w.id, w.conn))
	scope := w.cat.Tenant(w.id)
	w.must(scope.EnableWorkload(t.Context(), tenantry.Mailbox, catalog.Enabling{Trusted: true}, time.Now()))
	w.sync()
	users, group, nested := w.sim.Users(), w.sim.Groups()[0].ID, w.sim.Groups()[1].ID
	for i, u := range users {
		for _, g := range []string{group, nested} {
			if members, err := w.sim.Members(g); err == nil && slices.Contains(members, u.ID) {
				w.must(w.sim.RemoveMember(g, u.ID))
			}
		}
		if i < 9 {
			w.must(w.sim.AddMember(group, u.ID))
		}
	}
	w.must(w.sim.AddMember(nested, users[12].ID))
	w.must(w.sim.AddMember(group, nested))
	w.must(scope.AddPolicy(t.Context(), catalog.Policy{
		ID: "p-group", Name: "staff", Targets: catalog.Targets{Groups: []string{group}}, Workloads: []tenantry.Workload{tenantry.Mailbox},
		Schedule: catalog.ScheduleDaily, TimeZone: "UTC",
	}, time.Now()))
	w.protects(nil)
	w.sync()
	w.protects(append(users[:9:9], users[12]))

	w.must(w.sim.RemoveMember(group, users[0].ID))
	w.must(w.sim.AddMember(group, users[20].ID))
	w.sync()
	w.protects(append(users[1:9:9], users[12], users[20]))

	w.must(w.sim.PurgeGroup(group))
	w.sync()
	w.protects(append(users[1:9:9], users[12], users[20]))
	lists, err := scope.MemberLists(t.Context())
	w.must(err)
	if len(lists) != 1 || lists[0].Problem == "" || lists[0].Members != 10 {
		t.Errorf("the group that is gone: %+v", lists)
	}
}

// protects holds which users policies protect.
func (w *world) protects(users []graphsim.UserInfo) {
	w.t.Helper()
	targets, err := w.cat.Tenant(w.id).PolicyTargets(w.t.Context(), "p-group")
	w.must(err)
	got, want := []string{}, []string{}
	for _, target := range targets {
		got = append(got, string(target.Resource))
	}
	for _, u := range users {
		if u.Mailbox {
			want = append(want, string(tenantry.UserResource(u.ID)))
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatalf("protected (-want +got):\n%s", diff)
	}
}
