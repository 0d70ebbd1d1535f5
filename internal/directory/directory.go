// Package directory owns how a tenant gets connected, and the users, groups and sites
// that it has: their sync from Microsoft 365 and the life cycle of a resource.
//
// A resource lives as follows; what moves it is in brackets:
//
//	(none) --[reported]--> active
//	active --[reported as soft-deleted, or a site as deleted]--> inactive
//	active | inactive --[reported as deleted for good]--> gone
//	active | inactive --[a look finds it no more]--> gone
//	inactive | gone --[reported again: restored]--> active
//	inactive --[a look finds it in its place]--> active (users and groups)
//
// A look (at inactive ones in every sync, at what a complete round did not show) asks for
// a user or group in its place and among the deleted. Of a site it learns only whether it
// can be read, since a deleted one may be and does not say so: readable is inactive there,
// and a restored site is told by the delta.
//
// Inactive resources are shown but not backed up; gone ones leave the list, and their
// backups stay. What was never known and is reported as deleted is not a resource.
//
// A sync reads the delta of each kind of object page by page, and each page is applied
// in one transaction together with the link behind it: any page may be read twice, none
// is lost. A round from the start, when something is known already (the link expired:
// 7 days for users and groups), keeps no position before its end: only a complete round
// tells what it did not show, and that is looked up object by object before it is
// believed gone ("Delta query overview").
//
// What kind a group is stands in the group. Of sites v1.0 tells less: which one is a group's only the group says, and
// which one is the root, or below another, has to be asked. That is done at the end of a sync, once for each, and what
// nobody tells is said to be so: a "site" may be a communication site, a hub or a channel's as well.
package directory

import (
	"cmp"
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Graph is what this package asks of one Microsoft tenant (*graph.Tenant). Lookups are
// called from up to four goroutines, the rest from one. Errors carry kinds.
type Graph interface {
	Facts
	Changes
	Lookups
}

// Granter asks for a fresh token and tells whose it is and what it permits.
type Granter interface {
	Grant(ctx context.Context) (graph.Grant, error)
}

// Facts are asked once per connect or sync.
type Facts interface {
	Granter
	Organization(ctx context.Context) (graph.Organization, error)
	Licences(ctx context.Context) (int64, error)
}

// Changes are pages of deltas; link "" begins a round. Resync: the link is not valid any more.
type Changes interface {
	UserChanges(ctx context.Context, link string) (graph.Changes[graph.User], error)
	GroupChanges(ctx context.Context, link string) (graph.Changes[graph.Group], error)
	SiteChanges(ctx context.Context, link string) (graph.Changes[graph.Site], error)
}

// Lookups ask about one object.
type Lookups interface {
	UserState(ctx context.Context, objectID string) (tenantry.LifeState, error)
	GroupState(ctx context.Context, objectID string) (tenantry.LifeState, error)
	SiteReadable(ctx context.Context, siteID string) (bool, error)
	// SiteOfGroup is the ID of a group's site (NotFound: it has none), RootSite that of the tenant's root site; TopSite
	// tells whether a site is the top of its collection.
	SiteOfGroup(ctx context.Context, groupID string) (siteID string, err error)
	RootSite(ctx context.Context) (siteID string, err error)
	TopSite(ctx context.Context, siteID string) (bool, error)
	// MailboxKind is the purpose of a user's mailbox. Absent: there is none.
	MailboxKind(ctx context.Context, objectID string) (string, error)
	// GroupMembers is a page of the users in a group; link "" is the first one. NotFound.
	GroupMembers(ctx context.Context, groupID, link string) (graph.Members, error)
}

// Logger is what this package says for operators (zap's SugaredLogger has it).
type Logger interface {
	Infow(msg string, kv ...any)
	Warnw(msg string, kv ...any)
}

// Config is what a Directory works with.
type Config struct {
	Catalog *catalog.Catalog
	// Open returns the handle of a Microsoft tenant, named by GUID or domain.
	Open func(t tenantry.TenantID, directory string) Graph
	// SignIns and Keys are what registrations by device code take, and the rotation of what they made; nil: none can
	// be made.
	SignIns SignIns
	Keys    Keyring
	// RotateBefore is how long before its end a certificate that a registration made is rotated (default 60 days),
	// RotateOverlap how long the old one stays beside the new one (default a week), and RotateSettle how much time lies
	// between the two times that Microsoft has to have taken the new one before it is used (default 5 minutes: some of its
	// nodes know it later than others).
	RotateBefore, RotateOverlap, RotateSettle time.Duration
	// ForRestores returns what restores of a Microsoft tenant speak as; nil: as everything else.
	ForRestores func(t tenantry.TenantID, directory string) Granter
	Log         Logger
	// Required are the application permissions without which a tenant is not connected
	// (default RequiredRoles).
	Required []string
	// Now is the clock (default time.Now).
	Now func() time.Time
}

// Directory connects tenants and syncs them. Safe for concurrent use; two syncs of one
// tenant at once are harmless and wasteful.
type Directory struct {
	cfg Config
}

// New returns a Directory. Invalid if a part is missing.
func New(cfg Config) (*Directory, error) {
	if cfg.Catalog == nil || cfg.Open == nil || cfg.Log == nil {
		return nil, tenantry.Errorf(tenantry.Invalid, "directory: catalog, open and log are needed")
	}
	if cfg.Required == nil {
		cfg.Required = RequiredRoles()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.RotateBefore, cfg.RotateOverlap = cmp.Or(cfg.RotateBefore, rotateBefore), cmp.Or(cfg.RotateOverlap, rotateOverlap)
	cfg.RotateSettle = cmp.Or(cfg.RotateSettle, replication)
	return &Directory{cfg: cfg}, nil
}
