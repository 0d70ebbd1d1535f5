package workload

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// permission is what is made anew of a permission: a link, or a grant. Addresses and passwords of links
// cannot be had ("driveItem: list permissions").
type permission struct {
	Roles     []string       `json:"roles"`
	Link      *link          `json:"link"`
	Granted   *identitySet   `json:"grantedToV2"`
	Grantees  []identitySet  `json:"grantedToIdentitiesV2"`
	Inherited jsontext.Value `json:"inheritedFrom"`
	Expires   string         `json:"expirationDateTime"`
}

type link struct {
	Type  string `json:"type"`
	Scope string `json:"scope"`
}

type identitySet struct {
	User  identityOf `json:"user"`
	Group identityOf `json:"group"`
}

type identityOf struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

// key names who is meant, "" if nobody is.
func (i identitySet) key() string {
	for _, who := range []string{i.User.ID, i.Group.ID, i.User.Email, i.Group.Email} {
		if who != "" {
			return who
		}
	}
	return ""
}

// scopeUsers is the scope of a link that works for those alone who were given it, whom it names.
const scopeUsers = "users"

// wish is one permission to make: a link, or a grant to one.
type wish struct{ link, scope, who, role, expires string }

// wishes are the item's own permissions, one each; what is inherited comes with the folder, and the owner is
// the target's.
func wishes(list []jsontext.Value) ([]wish, error) {
	var all []wish
	for _, raw := range list {
		var p permission
		if err := parse("a permission", raw, &p); err != nil {
			return nil, err
		}
		if len(p.Inherited) > 0 && p.Inherited.Kind() != 'n' || slices.Contains(p.Roles, "owner") {
			continue
		}
		expires := p.Expires
		if strings.HasPrefix(expires, "0001-") { // never
			expires = ""
		}
		if p.Link != nil && p.Link.Scope != scopeUsers {
			all = append(all, wish{link: p.Link.Type, scope: p.Link.Scope, expires: expires})
			continue
		}
		who := p.Grantees
		if p.Granted != nil {
			who = append(who, *p.Granted)
		}
		for _, one := range who {
			for _, role := range p.Roles {
				if key := one.key(); key != "" {
					all = append(all, wish{who: key, role: role, expires: expires})
				}
			}
		}
	}
	return all, nil
}

// share makes the permissions that an item had of its own and has not, if that is wanted.
func (t *driveTarget[P]) share(ctx context.Context, drive, item string, e repository.Entry, open engine.OpenPart) error {
	if !t.permissions {
		return nil
	}
	data, ok, err := storedPart(ctx, e, permissionsPart, open)
	if err != nil || !ok {
		return err
	}
	var list []jsontext.Value
	if err := parse("stored permissions", data, &list); err != nil {
		return err
	}
	wanted, err := wishes(list)
	if err != nil || len(wanted) == 0 {
		return err
	}
	list, err = collect(func(link string) (P, error) { return t.api.Permissions(ctx, drive, item, link) })
	if err != nil {
		return err
	}
	there, err := wishes(list)
	if err != nil {
		return err
	}
	for _, w := range wanted {
		if w.expired() || slices.Contains(there, w) {
			continue
		}
		if err := t.grant(ctx, drive, item, w); err != nil {
			return tenantry.E(tenantry.KindOf(err), "the file was restored, but not all of its permissions", err)
		}
	}
	return nil
}

// expired reports whether nothing would come of a permission any more.
func (w wish) expired() bool {
	end := instant(w.expires)
	return !end.IsZero() && end.Before(time.Now())
}

func (t *driveTarget[P]) grant(ctx context.Context, drive, item string, w wish) error {
	body := map[string]any{}
	if w.expires != "" {
		body["expirationDateTime"] = w.expires
	}
	if w.link != "" {
		body["type"], body["scope"] = w.link, w.scope
		return t.send(ctx, drive, item, body, t.api.CreateLink)
	}
	who := map[string]string{"objectId": w.who}
	if strings.Contains(w.who, "@") {
		who = map[string]string{"email": w.who}
	}
	body["recipients"], body["roles"] = []any{who}, []string{w.role}
	body["requireSignIn"], body["sendInvitation"], body["retainInheritedPermissions"] = true, false, true
	return t.send(ctx, drive, item, body, t.api.Invite)
}

func (t *driveTarget[P]) send(ctx context.Context, drive, item string, body any, how func(ctx context.Context, drive, item string, body []byte) error) error {
	data, err := json.Marshal(body)
	if err != nil {
		return tenantry.E(tenantry.Internal, "write a permission", err)
	}
	return how(ctx, drive, item, data)
}
