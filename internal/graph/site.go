package graph

import (
	"context"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json/jsontext"
)

// What is kept of sites and lists: not the times of their last change, which is that of any item in them.
const (
	siteProperties = "id,name,displayName,description,webUrl,createdDateTime,siteCollection,sharepointIds"
	listProperties = "id,name,displayName,description,webUrl,createdDateTime,list"
)

// Site returns a site.
func (t *Tenant) Site(ctx context.Context, site string) (jsontext.Value, error) {
	const op = "read a site"
	if err := given(op, site); err != nil {
		return nil, err
	}
	return t.document(ctx, t.client.build.plain(op, http.MethodGet, t.sharePoint(oneItem, false), url.Values{"$select": {siteProperties}}, OfSite, site))
}

// GroupSite returns the site of a group. NotFound: it has none.
func (t *Tenant) GroupSite(ctx context.Context, group string) (jsontext.Value, error) {
	const op = "read the site of a group"
	if err := given(op, group); err != nil {
		return nil, err
	}
	return t.document(ctx, t.client.build.plain(op, http.MethodGet, t.sharePoint(oneItem, false), url.Values{"$select": {siteProperties}}, OfGroup, group, "sites", "root"))
}

// Subsites lists the sites directly below a site.
func (t *Tenant) Subsites(ctx context.Context, site, link string) (RawPage, error) {
	const op = "list the sites below a site"
	if err := given(op, site); err != nil {
		return RawPage{}, err
	}
	return t.sitePage(ctx, op, manyItems, url.Values{"$select": {siteProperties}}, link, OfSite, site, "sites")
}

// Lists lists the lists of a site, its libraries too, without those that are the service's own.
func (t *Tenant) Lists(ctx context.Context, site, link string) (RawPage, error) {
	const op = "list the lists of a site"
	if err := given(op, site); err != nil {
		return RawPage{}, err
	}
	return t.sitePage(ctx, op, manyItems, url.Values{"$select": {listProperties}}, link, OfSite, site, "lists")
}

// List returns a list with its columns ("Get list").
func (t *Tenant) List(ctx context.Context, site, list string) (jsontext.Value, error) {
	const op = "read a list"
	if err := given(op, site, list); err != nil {
		return nil, err
	}
	return t.document(ctx, t.client.build.plain(op, http.MethodGet, t.sharePoint(oneItem, false),
		url.Values{"$select": {listProperties}, "$expand": {"columns"}}, OfSite, site, "lists", list))
}

// ContentTypes lists the content types of a list.
func (t *Tenant) ContentTypes(ctx context.Context, site, list, link string) (RawPage, error) {
	const op = "list the content types of a list"
	if err := given(op, site, list); err != nil {
		return RawPage{}, err
	}
	return t.sitePage(ctx, op, manyItems, nil, link, OfSite, site, "lists", list, "contentTypes")
}

// expandFields asks for the values of list items, which are not shown without it ("List items").
var expandFields = url.Values{"$expand": {"fields"}}

// ListItemChanges returns the page of a list's items, with their values, that link names, or with link "" the
// first page of a full round ("listItem: delta"). Resync: begin with "". Invalid: the list has no delta.
func (t *Tenant) ListItemChanges(ctx context.Context, site, list, link string) (RawPage, error) {
	const op = "read a page of list items"
	if err := given(op, site, list); err != nil {
		return RawPage{}, err
	}
	c := t.client.build.plain(op, http.MethodGet, t.siteDelta(link), expandFields, OfSite, site, "lists", list, "items", "delta")
	if link != "" {
		var err error
		if c, err = t.client.linked(c, link); err != nil {
			return RawPage{}, err
		}
	}
	return t.page(ctx, c, true)
}

// ListItems lists the items of a list with their values.
func (t *Tenant) ListItems(ctx context.Context, site, list, link string) (RawPage, error) {
	const op = "list the items of a list"
	if err := given(op, site, list); err != nil {
		return RawPage{}, err
	}
	return t.sitePage(ctx, op, manyItems, expandFields, link, OfSite, site, "lists", list, "items")
}

// Pages lists the pages of a site, without what is on them.
func (t *Tenant) Pages(ctx context.Context, site, link string) (RawPage, error) {
	const op = "list the pages of a site"
	if err := given(op, site); err != nil {
		return RawPage{}, err
	}
	return t.sitePage(ctx, op, manyItems, nil, link, OfSite, site, "pages")
}

// SitePage returns a page with what is on it, in the form in which it can be posted back ("Get sitePage").
func (t *Tenant) SitePage(ctx context.Context, site, page string) (jsontext.Value, error) {
	const op = "read a page of a site"
	if err := given(op, site, page); err != nil {
		return nil, err
	}
	c := t.client.build.plain(op, http.MethodGet, t.sharePoint(oneItem, false), url.Values{"$expand": {"canvasLayout"}},
		OfSite, site, "pages", page, "microsoft.graph.sitePage")
	c.header.Set("Accept", "application/json;odata.metadata=none")
	return t.document(ctx, c)
}

// CreateList creates a list from its JSON. Conflict: the name is taken.
func (t *Tenant) CreateList(ctx context.Context, site string, body []byte) (id string, err error) {
	return t.createdInSite(ctx, "create a list", body, OfSite, site, "lists")
}

// CreateColumn adds a column to a list from its JSON. Conflict: the name is taken.
func (t *Tenant) CreateColumn(ctx context.Context, site, list string, body []byte) error {
	_, err := t.createdInSite(ctx, "create a column", body, OfSite, site, "lists", list, "columns")
	return err
}

// CreateListItem adds an item to a list from its JSON, and returns it as it is there. After Transient it may be there all
// the same.
func (t *Tenant) CreateListItem(ctx context.Context, site, list string, body []byte) (item jsontext.Value, err error) {
	const op = "create a list item"
	if err := given(op, site, list); err != nil {
		return nil, err
	}
	c := t.driveWrite(op, http.MethodPost, body, nil, OfSite, site, "lists", list, "items")
	c.once = true
	if item, err = t.document(ctx, c); err != nil {
		return nil, err
	}
	_, err = idOf(op, item)
	return item, err
}

// CreatePage creates a page from its JSON; it is a draft until it is published. Conflict: the name is taken.
func (t *Tenant) CreatePage(ctx context.Context, site string, body []byte) (id string, err error) {
	return t.createdInSite(ctx, "create a page", body, OfSite, site, "pages")
}

func (t *Tenant) createdInSite(ctx context.Context, op string, body []byte, path ...string) (id string, err error) {
	if err := given(op, path...); err != nil {
		return "", err
	}
	c := t.driveWrite(op, http.MethodPost, body, nil, path...)
	c.once = true
	return t.identifier(ctx, c)
}

// UpdateListItem changes values of a list item; null takes one away.
func (t *Tenant) UpdateListItem(ctx context.Context, site, list, item string, fields []byte) error {
	const op = "change a list item"
	if err := given(op, site, list, item); err != nil {
		return err
	}
	return t.accepted(ctx, t.driveWrite(op, http.MethodPatch, fields, nil, OfSite, site, "lists", list, "items", item, "fields"))
}

// PublishPage makes a draft of a page what readers see.
func (t *Tenant) PublishPage(ctx context.Context, site, page string) error {
	const op = "publish a page"
	if err := given(op, site, page); err != nil {
		return err
	}
	return t.accepted(ctx, t.driveWrite(op, http.MethodPost, nil, nil, OfSite, site, "pages", page, "microsoft.graph.sitePage", "publish"))
}
