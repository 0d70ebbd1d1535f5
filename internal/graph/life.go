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

// SiteState tells whether a site is Active or Gone. A deleted site can be
// restored for 93 days, but Graph does not show it: it is Gone until it is back.
func (t *Tenant) SiteState(ctx context.Context, id string) (tenantry.LifeState, error) {
	const op = "look for a site"
	if err := given(op, id); err != nil {
		return "", err
	}
	return t.found(ctx, t.client.build.plain(op, http.MethodGet, t.sharePoint(oneItem, false), onlyID, "sites", id), tenantry.Active)
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
