package graph

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/groups"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/sites"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Organization is the tenant's own entry.
type Organization struct {
	ID, Name string
	Domains  []string // verified ones
}

// User is what the directory says about a user, with or without a mailbox.
type User struct {
	ID, Name, PrincipalName, Mail string
	Enabled                       bool // may sign in; shared mailboxes usually may not
	Licensed                      bool // HasMailPlan or HasDrivePlan
	Guest                         bool
	HasMailPlan, HasDrivePlan     bool   // an assigned plan of Exchange or SharePoint whose data still exists
	Removed                       string // "", "changed" (soft-deleted), "deleted" (for good); then only ID is set
}

// Group is what the directory says about a group.
type Group struct {
	ID, Name, Mail string
	Unified        bool   // a Microsoft 365 group: mailbox, site, planner
	Team           bool   // Teams-enabled
	MailEnabled    bool   // has an address
	Security       bool   // may be given permissions
	Dynamic        bool   // a rule says who is in it
	Removed        string // as in User
}

// Site is what SharePoint says about a site.
type Site struct {
	ID, Name, WebURL string
	Personal         bool // somebody's OneDrive
	Top              bool // it says that it is the top of its collection; one that does not say so may be all the same
	Deleted          bool // then only ID is sure to be set
}

// Changes is one page of a typed delta. Items may repeat within a round: the
// last one counts. An empty page that is not Done is progress.
type Changes[T any] struct {
	Items []T
	Next  string // the link to give next time: nextLink, or deltaLink when Done
	Done  bool   // the round is complete
}

// fillers bounds how many incomplete entries of a page are read again at a time.
const fillers = 8

// Organization returns the tenant's own entry.
func (t *Tenant) Organization(ctx context.Context) (Organization, error) {
	c := t.client.build.plain("read the organization", http.MethodGet, t.identity(identityObject),
		url.Values{"$select": {"id,displayName,verifiedDomains"}}, "organization")
	page, err := typed[models.OrganizationCollectionResponseable](ctx, t, c, models.CreateOrganizationCollectionResponseFromDiscriminatorValue)
	if err != nil {
		return Organization{}, err
	}
	if len(page.GetValue()) == 0 || page.GetValue()[0] == nil || page.GetValue()[0].GetId() == nil {
		return Organization{}, wrong(tenantry.Transient, codeIncomplete, c.op, "the tenant has no organization entry")
	}
	o := page.GetValue()[0]
	org := Organization{ID: value(o.GetId()), Name: value(o.GetDisplayName())}
	for _, d := range o.GetVerifiedDomains() {
		if d != nil && d.GetName() != nil {
			org.Domains = append(org.Domains, *d.GetName())
		}
	}
	return org, nil
}

// Licences returns the sum of enabled prepaid units over all of the tenant's
// subscriptions: what sizes its SharePoint limits.
func (t *Tenant) Licences(ctx context.Context) (int64, error) {
	c := t.client.build.plain("read the subscriptions", http.MethodGet, t.identity(identityLicense),
		url.Values{"$select": {"skuId,prepaidUnits"}}, "subscribedSkus")
	page, err := typed[models.SubscribedSkuCollectionResponseable](ctx, t, c, models.CreateSubscribedSkuCollectionResponseFromDiscriminatorValue)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, sku := range page.GetValue() {
		if sku != nil && sku.GetPrepaidUnits() != nil {
			sum += int64(value(sku.GetPrepaidUnits().GetEnabled()))
		}
	}
	return sum, nil
}

var userProperties = []string{"id", "displayName", "userPrincipalName", "mail", "accountEnabled", "userType", "assignedPlans"}

// UserChanges returns the page of users that link names, or with link "" the
// first page of a full round. Resync when link is too old (Microsoft keeps them
// 7 days): begin with "" again.
func (t *Tenant) UserChanges(ctx context.Context, link string) (Changes[User], error) {
	const op = "read a page of users"
	c, err := t.client.build.built(ctx, op, t.identity(identityObject))(
		t.client.build.users().Delta().ToGetRequestInformation(ctx, &users.DeltaRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.DeltaRequestBuilderGetQueryParameters{Select: userProperties}}))
	if err != nil {
		return Changes[User]{}, err
	}
	return changes(ctx, t, c, link, func(body []byte) (delta[User], error) {
		page, err := decode[users.DeltaGetResponseable](body, users.CreateDeltaGetResponseFromDiscriminatorValue)
		if err != nil {
			return delta[User]{}, err
		}
		return newDelta(page, page.GetValue(), func(u models.Userable) (User, bool) {
			whole := u.GetUserPrincipalName() != nil && u.GetAccountEnabled() != nil && u.GetAssignedPlans() != nil
			return newUser(u), whole || removed(u) != ""
		}), nil
	}, t.user, func(u User) string { return u.ID })
}

// user reads one user. Deltas may bring a changed user with the changed
// properties alone (Microsoft, "use delta query": "at least").
func (t *Tenant) user(ctx context.Context, id string) (User, error) {
	c := t.client.build.plain("read a user", http.MethodGet, t.identity(identityObject),
		url.Values{"$select": {strings.Join(userProperties, ",")}}, "users", id)
	u, err := typed[models.Userable](ctx, t, c, models.CreateUserFromDiscriminatorValue)
	if err != nil {
		return User{}, err
	}
	return newUser(u), nil
}

var groupProperties = []string{"id", "displayName", "mail", "groupTypes", "resourceProvisioningOptions", "mailEnabled", "securityEnabled"}

// GroupChanges is UserChanges for groups. Members are not asked for: they would
// dominate the traffic.
func (t *Tenant) GroupChanges(ctx context.Context, link string) (Changes[Group], error) {
	const op = "read a page of groups"
	c, err := t.client.build.built(ctx, op, t.identity(identityObject))(
		t.client.build.groups().Delta().ToGetRequestInformation(ctx, &groups.DeltaRequestBuilderGetRequestConfiguration{
			QueryParameters: &groups.DeltaRequestBuilderGetQueryParameters{Select: groupProperties}}))
	if err != nil {
		return Changes[Group]{}, err
	}
	return changes(ctx, t, c, link, func(body []byte) (delta[Group], error) {
		page, err := decode[groups.DeltaGetResponseable](body, groups.CreateDeltaGetResponseFromDiscriminatorValue)
		if err != nil {
			return delta[Group]{}, err
		}
		return newDelta(page, page.GetValue(), func(g models.Groupable) (Group, bool) {
			whole := g.GetDisplayName() != nil && g.GetSecurityEnabled() != nil && g.GetGroupTypes() != nil
			return newGroup(g), whole || removed(g) != ""
		}), nil
	}, t.group, func(g Group) string { return g.ID })
}

func (t *Tenant) group(ctx context.Context, id string) (Group, error) {
	c := t.client.build.plain("read a group", http.MethodGet, t.identity(identityObject),
		url.Values{"$select": {strings.Join(groupProperties, ",")}}, "groups", id)
	g, err := typed[models.Groupable](ctx, t, c, models.CreateGroupFromDiscriminatorValue)
	if err != nil {
		return Group{}, err
	}
	return newGroup(g), nil
}

// SiteChanges is UserChanges for sites. Sites are marked as deleted like drive
// items, by a facet; the life of their links is not documented.
func (t *Tenant) SiteChanges(ctx context.Context, link string) (Changes[Site], error) {
	const op = "read a page of sites"
	c, err := t.client.build.built(ctx, op, t.siteDelta(link))(
		t.client.build.sites().Delta().ToGetRequestInformation(ctx, nil))
	if err != nil {
		return Changes[Site]{}, err
	}
	return changes(ctx, t, c, link, func(body []byte) (delta[Site], error) {
		page, err := decode[sites.DeltaGetResponseable](body, sites.CreateDeltaGetResponseFromDiscriminatorValue)
		if err != nil {
			return delta[Site]{}, err
		}
		return newDelta(page, page.GetValue(), func(s models.Siteable) (Site, bool) {
			site := newSite(s)
			return site, site.Deleted || s.GetWebUrl() != nil
		}), nil
	}, t.site, func(s Site) string { return s.ID })
}

func (t *Tenant) site(ctx context.Context, id string) (Site, error) {
	c := t.client.build.plain("read a site", http.MethodGet, t.sharePoint(oneItem, false), nil, "sites", id)
	s, err := typed[models.Siteable](ctx, t, c, models.CreateSiteFromDiscriminatorValue)
	if err != nil {
		return Site{}, err
	}
	return newSite(s), nil
}

// SiteOfGroup returns the ID of a group's site. NotFound: it has none.
func (t *Tenant) SiteOfGroup(ctx context.Context, group string) (siteID string, err error) {
	const op = "find the site of a group"
	if err := given(op, group); err != nil {
		return "", err
	}
	s, err := t.someSite(ctx, op, OfGroup, group, "sites", "root")
	return s.ID, err
}

// RootSite returns the ID of the tenant's root site.
func (t *Tenant) RootSite(ctx context.Context) (siteID string, err error) {
	s, err := t.someSite(ctx, "find the root site", OfSite, "root")
	return s.ID, err
}

// TopSite reports whether a site is the top of its collection: one read by itself says so where it is ("site resource
// type", root).
func (t *Tenant) TopSite(ctx context.Context, siteID string) (bool, error) {
	const op = "ask a site whether it is below another"
	if err := given(op, siteID); err != nil {
		return false, err
	}
	s, err := t.someSite(ctx, op, OfSite, siteID)
	return s.Top, err
}

// someSite reads what tells sites apart.
func (t *Tenant) someSite(ctx context.Context, op string, path ...string) (Site, error) {
	c := t.client.build.plain(op, http.MethodGet, t.sharePoint(oneItem, false), url.Values{"$select": {"id,root,siteCollection"}}, path...)
	s, err := typed[models.Siteable](ctx, t, c, models.CreateSiteFromDiscriminatorValue)
	if err != nil {
		return Site{}, err
	}
	if value(s.GetId()) == "" {
		return Site{}, wrong(tenantry.Transient, codeIncomplete, op, "the site has no ID")
	}
	return newSite(s), nil
}

// delta is one parsed page of a typed delta.
type delta[T any] struct {
	items []T
	whole []bool // whether an item came with everything that is wanted
	links splitted
}

// linkHolder is what all typed deltas of the SDK have in common.
type linkHolder interface {
	GetOdataNextLink() *string
	GetOdataDeltaLink() *string
}

func newDelta[T any, M models.Entityable](page linkHolder, list []M, convert func(M) (T, bool)) delta[T] {
	d := delta[T]{links: splitted{next: value(page.GetOdataNextLink()), delta: value(page.GetOdataDeltaLink())}}
	for _, m := range list {
		if any(m) == nil || value(m.GetId()) == "" {
			continue // nothing to know it by
		}
		item, whole := convert(m)
		d.items, d.whole = append(d.items, item), append(d.whole, whole)
	}
	return d
}

// changes reads one page of a typed delta, and what it left out of its items.
func changes[T any](ctx context.Context, t *Tenant, c call, link string, parse func([]byte) (delta[T], error),
	fill func(context.Context, string) (T, error), id func(T) string,
) (Changes[T], error) {
	if link != "" {
		var err error
		if c, err = t.client.linked(c, link); err != nil {
			return Changes[T]{}, err
		}
	}
	var d delta[T]
	var links RawPage
	err := t.do(ctx, c, func(a *answer) error {
		body, err := readAll(a)
		if err == nil {
			d, err = parse(body)
		}
		if err != nil {
			return misread(c.op, err)
		}
		links, err = t.client.follow(c, d.links, true)
		return err
	})
	if err != nil {
		return Changes[T]{}, err
	}
	items, err := fillIn(ctx, d, fill, id)
	return Changes[T]{Items: items, Next: links.Next, Done: links.Done}, err
}

// fillIn reads the items again that came incomplete. One that is gone meanwhile
// is left out: its removal comes with a later page.
func fillIn[T any](ctx context.Context, d delta[T], fill func(context.Context, string) (T, error), id func(T) string) ([]T, error) {
	gone := make([]bool, len(d.items))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fillers)
	for i, whole := range d.whole {
		if whole {
			continue
		}
		group.Go(func() error {
			item, err := fill(ctx, id(d.items[i]))
			switch {
			case tenantry.KindOf(err) == tenantry.NotFound:
				gone[i] = true
			case err != nil:
				return err
			default:
				d.items[i] = item
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	kept := d.items[:0]
	for i, item := range d.items {
		if !gone[i] {
			kept = append(kept, item)
		}
	}
	return kept, nil
}

// annotated is a model with the properties that its schema does not know.
type annotated interface{ GetAdditionalData() map[string]any }

// removed returns the reason of an @removed annotation, or "".
func removed(m annotated) string {
	annotation, ok := m.GetAdditionalData()["@removed"].(map[string]any)
	if !ok {
		return ""
	}
	if reason := text(annotation["reason"]); reason != "" {
		return reason
	}
	return "changed" // the reason that can be undone
}

// text is a string or what a *string points to: the SDK's raw values are either.
func text(v any) string {
	switch s := v.(type) {
	case string:
		return s
	case *string:
		return value(s)
	}
	return ""
}

func newUser(u models.Userable) User {
	user := User{
		ID: value(u.GetId()), Name: value(u.GetDisplayName()), PrincipalName: value(u.GetUserPrincipalName()),
		Mail: value(u.GetMail()), Enabled: value(u.GetAccountEnabled()),
		Guest: strings.EqualFold(value(u.GetUserType()), "Guest"), Removed: removed(u),
	}
	for _, plan := range u.GetAssignedPlans() {
		if plan == nil || !hasData(value(plan.GetCapabilityStatus())) {
			continue
		}
		switch strings.ToLower(value(plan.GetService())) {
		case "exchange":
			user.HasMailPlan = true
		case "sharepoint":
			user.HasDrivePlan = true
		}
	}
	user.Licensed = user.HasMailPlan || user.HasDrivePlan
	return user
}

// hasData reports whether a plan in this state still has its data: in grace,
// suspended and locked out it has (Microsoft Graph, resource assignedPlan).
func hasData(status string) bool {
	switch strings.ToLower(status) {
	case "enabled", "warning", "suspended", "lockedout":
		return true
	}
	return false
}

func newGroup(g models.Groupable) Group {
	return Group{
		ID: value(g.GetId()), Name: value(g.GetDisplayName()), Mail: value(g.GetMail()),
		Unified: containsFold(g.GetGroupTypes(), "Unified"), Removed: removed(g),
		Team:        containsFold(provisioned(g), "Team"),
		MailEnabled: value(g.GetMailEnabled()), Security: value(g.GetSecurityEnabled()),
		Dynamic: containsFold(g.GetGroupTypes(), "DynamicMembership"),
	}
}

// provisioned reads resourceProvisioningOptions, which the v1.0 schema lacks.
func provisioned(g annotated) []string {
	var options []string
	list, _ := g.GetAdditionalData()["resourceProvisioningOptions"].([]any)
	for _, v := range list {
		options = append(options, text(v))
	}
	return options
}

func containsFold(list []string, want string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, want) })
}

func newSite(s models.Siteable) Site {
	site := Site{
		ID: value(s.GetId()), Name: value(s.GetDisplayName()), WebURL: value(s.GetWebUrl()),
		Personal: personal(s), Deleted: s.GetAdditionalData()["deleted"] != nil,
		Top: s.GetRoot() != nil || s.GetSiteCollection() != nil && s.GetSiteCollection().GetRoot() != nil,
	}
	if site.Name == "" {
		site.Name = value(s.GetName())
	}
	return site
}

// personal goes by the property, or where an answer lacks it by the convention
// that OneDrives live below /personal/.
func personal(s models.Siteable) bool {
	if p := s.GetIsPersonalSite(); p != nil {
		return *p
	}
	return strings.Contains(strings.ToLower(value(s.GetWebUrl())), "-my.sharepoint") && strings.Contains(value(s.GetWebUrl()), "/personal/")
}
