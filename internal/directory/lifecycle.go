package directory

import (
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// report is what Microsoft 365 says about one object.
type report struct {
	// resource is the object as it shows itself; of a removed one only the IDs.
	resource catalog.Resource
	// state is Active, Inactive (soft-deleted, or a deleted site) or Gone (for good).
	state tenantry.LifeState
	// protectable is whether an object that was not known so far becomes a resource.
	protectable bool
	// mailbox is whether only its mailbox's kind can tell if the user has one: it has an
	// address, and no licence.
	mailbox bool
}

// apply returns the resource after a report, and whether anything changed. known is nil
// for an object that was not known. It is pure, and applying a report twice changes
// nothing the second time.
func apply(known *catalog.Resource, r report, now time.Time) (catalog.Resource, bool) {
	if known == nil {
		next := r.resource
		next.State, next.StateAt = tenantry.Active, now
		return next, r.state == tenantry.Active && r.protectable
	}
	if r.state != tenantry.Active {
		return moved(*known, r.state, now)
	}
	next := r.resource
	next.State, next.StateAt = known.State, known.StateAt
	next.Site, next.Subkind = known.Site, sorted(*known, next)
	next, woken := moved(next, tenantry.Active, now)
	return next, woken || !same(next, *known)
}

// sorted is the kind of a resource after a report: what was found out about a site is more than its report says.
func sorted(known, reported catalog.Resource) tenantry.Subkind {
	if reported.Kind == tenantry.Site && known.Subkind != "" && (known.Subkind != tenantry.SubkindUnknown || reported.Subkind == "") {
		return known.Subkind
	}
	return reported.Subkind
}

// moved returns the resource in the state it was found in. What is gone does not become
// inactive again: a report of a soft deletion that comes late says nothing new.
func moved(r catalog.Resource, found tenantry.LifeState, now time.Time) (catalog.Resource, bool) {
	if r.State == found || (r.State == tenantry.Gone && found == tenantry.Inactive) {
		return r, false
	}
	r.State, r.StateAt = found, now
	return r, true
}

func same(a, b catalog.Resource) bool {
	return a.ID == b.ID && a.Kind == b.Kind && a.ObjectID == b.ObjectID && a.Name == b.Name &&
		a.Address == b.Address && a.MailboxKind == b.MailboxKind && a.Licensed == b.Licensed &&
		(a.Kind == tenantry.User || a.Subkind == b.Subkind) && a.Dynamic == b.Dynamic && a.Site == b.Site &&
		a.State == b.State && slices.Equal(a.Workloads, b.Workloads)
}

// removed maps the delta's reason ("Delta query overview").
func removed(reason string) tenantry.LifeState {
	switch reason {
	case "":
		return tenantry.Active
	case "changed":
		return tenantry.Inactive
	}
	return tenantry.Gone
}

// ofUser reports a user. Guests without a licence have no data here and are no resources.
func ofUser(u graph.User) report {
	r := catalog.Resource{
		ID: tenantry.UserResource(u.ID), Kind: tenantry.User, ObjectID: u.ID,
		Name: u.Name, Address: u.PrincipalName, Licensed: u.Licensed,
	}
	if u.HasMailPlan {
		r.Workloads = append(r.Workloads, tenantry.Mailbox)
		r.MailboxKind = "user"
	}
	if u.HasDrivePlan {
		r.Workloads = append(r.Workloads, tenantry.Drive)
	}
	return report{
		resource:    r,
		state:       removed(u.Removed),
		protectable: u.Licensed || !u.Guest,
		mailbox:     u.Removed == "" && !u.HasMailPlan && !u.Guest && u.Mail != "",
	}
}

// ofGroup reports a group. Only Microsoft 365 groups hold content ("Groups overview"); the others are listed because
// policies can go by who is in them.
func ofGroup(g graph.Group) report {
	r := catalog.Resource{
		ID: tenantry.GroupResource(g.ID), Kind: tenantry.Group, ObjectID: g.ID,
		Name: g.Name, Address: g.Mail, Subkind: subkindOfGroup(g), Dynamic: g.Dynamic,
	}
	if g.Unified {
		r.Workloads = append(r.Workloads, tenantry.GroupContent)
	}
	if g.Team {
		r.Workloads = append(r.Workloads, tenantry.TeamContent)
	}
	return report{resource: r, state: removed(g.Removed), protectable: true}
}

// subkindOfGroup goes by the table of "Overview of groups in Microsoft Graph".
func subkindOfGroup(g graph.Group) tenantry.Subkind {
	switch {
	case g.Team:
		return tenantry.GroupTeam
	case g.Unified:
		return tenantry.GroupMicrosoft365
	case g.MailEnabled && g.Security:
		return tenantry.GroupMailSecurity
	case g.Security:
		return tenantry.GroupSecurity
	case g.MailEnabled:
		return tenantry.GroupDistribution
	}
	return tenantry.SubkindUnknown
}

// ofSite reports a site. A personal site is its owner's drive and no resource of its own.
// A deleted site says only that ("site: delta"); a look tells whether it is gone.
func ofSite(s graph.Site) report {
	r := catalog.Resource{
		ID: tenantry.SiteResource(s.ID), Kind: tenantry.Site, ObjectID: s.ID,
		Name: s.Name, Address: s.WebURL, Workloads: []tenantry.Workload{tenantry.SiteContent},
		Subkind: tenantry.SubkindUnknown,
	}
	if s.Top {
		r.Subkind = tenantry.SiteOther
	}
	state := tenantry.Active
	if s.Deleted {
		state = tenantry.Inactive
	}
	return report{resource: r, state: state, protectable: !s.Personal}
}
