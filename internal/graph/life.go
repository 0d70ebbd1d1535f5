package graph

import (
	"context"
	"net/http"
	"net/url"

	"github.com/tenantry/tenantry/internal/tenantry"
)

var onlyID = url.Values{"$select": {"id"}}

// UserState tells where a user stands: Active, Inactive (soft-deleted, can be
// restored for 30 days) or Gone.
func (t *Tenant) UserState(ctx context.Context, id string) (tenantry.LifeState, error) {
	return t.lifeState(ctx, "users", id)
}

// GroupState is UserState for a group. Only Microsoft 365 groups are ever
// Inactive: others are deleted at once.
func (t *Tenant) GroupState(ctx context.Context, id string) (tenantry.LifeState, error) {
	return t.lifeState(ctx, "groups", id)
}

// SiteReadable tells whether a site can be read by its ID. A deleted one may be, for a
// time that nobody documents, and nothing in it says that it is deleted: only the sites
// delta tells that. A site that is locked or denied is there: that is readable, too.
func (t *Tenant) SiteReadable(ctx context.Context, id string) (bool, error) {
	const op = "look for a site"
	if err := given(op, id); err != nil {
		return false, err
	}
	_, err := t.document(ctx, t.client.build.plain(op, http.MethodGet, t.sharePoint(oneItem, false), onlyID, "sites", id))
	switch tenantry.KindOf(err) {
	case "", tenantry.Denied:
		return true, nil
	case tenantry.NotFound, tenantry.Absent:
		return false, nil
	}
	return false, err
}

func (t *Tenant) lifeState(ctx context.Context, collection, id string) (tenantry.LifeState, error) {
	op := "look for one of the " + collection
	if err := given(op, id); err != nil {
		return "", err
	}
	c := t.client.build.plain(op, http.MethodGet, t.identity(identityObject), onlyID, collection, id)
	state, err := t.found(ctx, c, tenantry.Active)
	if err != nil || state == tenantry.Active {
		return state, err
	}
	c = t.client.build.plain(op+" among the deleted", http.MethodGet, t.identity(identityObject), onlyID, "directory", "deletedItems", id)
	return t.found(ctx, c, tenantry.Inactive)
}

// found is there when c finds its object, else Gone.
func (t *Tenant) found(ctx context.Context, c call, there tenantry.LifeState) (tenantry.LifeState, error) {
	_, err := t.document(ctx, c)
	switch {
	case err == nil:
		return there, nil
	case tenantry.KindOf(err) == tenantry.NotFound:
		return tenantry.Gone, nil
	}
	return "", err
}
