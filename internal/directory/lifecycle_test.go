package directory

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/tenantry"
)

var (
	yesterday = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	today     = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
)

// The life cycle: what is known (" " nothing) and what is reported give what stands then.
func TestLifeCycle(t *testing.T) {
	const none = tenantry.LifeState("")
	tests := []struct {
		known, reported, want tenantry.LifeState
		changed               bool
	}{
		{none, tenantry.Active, tenantry.Active, true},
		{none, tenantry.Inactive, none, false},
		{none, tenantry.Gone, none, false},
		{tenantry.Active, tenantry.Active, tenantry.Active, false},
		{tenantry.Active, tenantry.Inactive, tenantry.Inactive, true},
		{tenantry.Active, tenantry.Gone, tenantry.Gone, true},
		{tenantry.Inactive, tenantry.Active, tenantry.Active, true},
		{tenantry.Inactive, tenantry.Inactive, tenantry.Inactive, false},
		{tenantry.Inactive, tenantry.Gone, tenantry.Gone, true},
		{tenantry.Gone, tenantry.Active, tenantry.Active, true},
		{tenantry.Gone, tenantry.Inactive, tenantry.Gone, false},
		{tenantry.Gone, tenantry.Gone, tenantry.Gone, false},
	}
	for _, test := range tests {
		name := string(test.known) + " reported " + string(test.reported)
		t.Run(name, func(t *testing.T) {
			r := ofUser(graph.User{ID: "1", Name: "Ann", PrincipalName: "ann@contoso.example", Licensed: true, HasMailPlan: true})
			var known *catalog.Resource
			if test.known != none {
				k := r.resource
				k.State, k.StateAt = test.known, yesterday
				known = &k
			}
			r.state = test.reported
			if test.reported != tenantry.Active { // a delta says only the ID of what was removed
				r.resource = catalog.Resource{ID: r.resource.ID, Kind: tenantry.User, ObjectID: "1"}
			}
			got, changed := apply(known, r, today)
			if changed != test.changed {
				t.Fatalf("changed is %v, want %v", changed, test.changed)
			}
			if !changed {
				return
			}
			want := catalog.Resource{
				ID: "u-1", Kind: tenantry.User, ObjectID: "1", Name: "Ann", Address: "ann@contoso.example",
				Licensed: true, MailboxKind: "user", Workloads: []tenantry.Workload{tenantry.Mailbox},
				State: test.want, StateAt: today,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("resource (-want +got):\n%s", diff)
			}
			if again, changed := apply(&got, r, today.Add(time.Hour)); changed {
				t.Errorf("the same report again changes it to %+v", again)
			}
		})
	}
}

func TestRenameKeepsTheStateItHas(t *testing.T) {
	r := ofUser(graph.User{ID: "1", Name: "Ann"})
	known := r.resource
	known.State, known.StateAt = tenantry.Active, yesterday
	r.resource.Name = "Ann B."
	got, changed := apply(&known, r, today)
	if !changed || got.Name != "Ann B." || !got.StateAt.Equal(yesterday) {
		t.Errorf("changed %v to %+v", changed, got)
	}
}

func TestWhatBecomesAResource(t *testing.T) {
	licensed := graph.User{ID: "1", Licensed: true, HasMailPlan: true, HasDrivePlan: true}
	tests := []struct {
		name      string
		r         report
		want      bool
		workloads []tenantry.Workload
	}{
		{"licensed user", ofUser(licensed), true, []tenantry.Workload{tenantry.Mailbox, tenantry.Drive}},
		{"mail only", ofUser(graph.User{ID: "1", Licensed: true, HasMailPlan: true}), true, []tenantry.Workload{tenantry.Mailbox}},
		{"unlicensed user", ofUser(graph.User{ID: "1"}), true, nil},
		{"guest", ofUser(graph.User{ID: "1", Guest: true, Mail: "x@fabrikam.example"}), false, nil},
		{"licensed guest", ofUser(graph.User{ID: "1", Guest: true, Licensed: true, HasDrivePlan: true}), true, []tenantry.Workload{tenantry.Drive}},
		{"security group", ofGroup(graph.Group{ID: "1"}), true, nil},
		{"team", ofGroup(graph.Group{ID: "1", Unified: true, Team: true}), true, []tenantry.Workload{tenantry.GroupContent, tenantry.TeamContent}},
		{"site", ofSite(graph.Site{ID: "h,1,2"}), true, []tenantry.Workload{tenantry.SiteContent}},
		{"personal site", ofSite(graph.Site{ID: "h,1,2", Personal: true}), false, []tenantry.Workload{tenantry.SiteContent}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, changed := apply(nil, test.r, today)
			if changed != test.want {
				t.Errorf("becomes a resource: %v, want %v", changed, test.want)
			}
			if diff := cmp.Diff(test.workloads, got.Workloads); diff != "" {
				t.Errorf("workloads (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMissingRoles(t *testing.T) {
	required := []string{"User.Read.All", "Mail.Read", "Sites.Read.All"}
	for _, test := range []struct{ granted, want []string }{
		{nil, required},
		{required, nil},
		{[]string{"Directory.Read.All", "Mail.ReadWrite", "Sites.FullControl.All"}, nil},
		{[]string{"User.Read.All", "Mail.ReadBasic.All"}, []string{"Mail.Read", "Sites.Read.All"}},
	} {
		if diff := cmp.Diff(test.want, MissingRoles(required, test.granted)); diff != "" {
			t.Errorf("granted %v: missing (-want +got):\n%s", test.granted, diff)
		}
	}
}

func TestKindsOfGroups(t *testing.T) {
	for want, g := range map[tenantry.Subkind]graph.Group{
		tenantry.GroupTeam:         {Unified: true, Team: true, MailEnabled: true},
		tenantry.GroupMicrosoft365: {Unified: true, MailEnabled: true, Security: true},
		tenantry.GroupMailSecurity: {MailEnabled: true, Security: true},
		tenantry.GroupSecurity:     {Security: true},
		tenantry.GroupDistribution: {MailEnabled: true},
		tenantry.SubkindUnknown:    {},
	} {
		if got := ofGroup(g).resource.Subkind; got != want {
			t.Errorf("%+v is %s, want %s", g, got, want)
		}
	}
}

// What was found out about a site stays when its delta reports it again; what a group says of itself counts.
func TestReportsKeepWhatWasFoundOut(t *testing.T) {
	site := func(kind tenantry.Subkind) catalog.Resource {
		return catalog.Resource{Kind: tenantry.Site, Subkind: kind}
	}
	for _, test := range []struct{ known, reported, want catalog.Resource }{
		{site(tenantry.SiteOfTeam), site(tenantry.SiteOther), site(tenantry.SiteOfTeam)},
		{site(tenantry.SiteSub), site(tenantry.SubkindUnknown), site(tenantry.SiteSub)},
		{site(tenantry.SubkindUnknown), site(tenantry.SiteOther), site(tenantry.SiteOther)},
		{site(""), site(tenantry.SubkindUnknown), site(tenantry.SubkindUnknown)},
		{catalog.Resource{Kind: tenantry.Group, Subkind: tenantry.GroupMicrosoft365}, catalog.Resource{Kind: tenantry.Group, Subkind: tenantry.GroupTeam}, catalog.Resource{Subkind: tenantry.GroupTeam}},
	} {
		if got := sorted(test.known, test.reported); got != test.want.Subkind {
			t.Errorf("%s reported as %s is %s, want %s", test.known.Subkind, test.reported.Subkind, got, test.want.Subkind)
		}
	}
	group := catalog.Resource{ID: "g-1", Kind: tenantry.Group, Site: "s-1", Subkind: tenantry.GroupTeam, State: tenantry.Active}
	r := report{resource: group, state: tenantry.Active}
	r.resource.Site = ""
	if got, changed := apply(&group, r, today); changed || got.Site != "s-1" {
		t.Errorf("a report of the same group changed it to %+v", got)
	}
}
