package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// graphAppID is Microsoft Graph's own application ID, the same everywhere. Its service principal is found by it: a
// name could be imitated.
const graphAppID = "00000003-0000-0000-c000-000000000000"

// Registrar registers our application in one Microsoft tenant with the token of a person who signed in. Every method
// may be repeated and finds what an earlier try has made ("application: upsert", "servicePrincipal: upsert",
// "servicePrincipal: post appRoleAssignedTo"). Right after something was made NotFound, Reconnect and Invalid may
// pass: Microsoft's nodes learn of it one by one.
type Registrar struct{ t *Tenant }

// SignedIn returns the registrar of a tenant.
func (c *Client) SignedIn(id tenantry.TenantID, directory string, token tenantry.Secret) *Registrar {
	t := c.Tenant(id, directory)
	t.bearer = token
	return &Registrar{t}
}

// With returns a handle that speaks as the given application.
func (t *Tenant) With(app *Application) *Tenant {
	r := *t
	r.app = app
	return &r
}

func (r *Registrar) request(ctx context.Context, op, method, path string, header http.Header, in, out any) error {
	c := call{op: op, method: method, url: r.t.client.build.base + path, header: http.Header{}, cost: r.t.identity(identityLicense)}
	for name, values := range header {
		c.header[name] = values
	}
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return tenantry.E(tenantry.Invalid, op, err)
		}
		c.body = body
		c.header.Set("Content-Type", "application/json")
	}
	return r.t.do(ctx, c, func(a *answer) error {
		body, err := readAll(a)
		if err != nil || out == nil || len(body) == 0 {
			return err
		}
		if err := json.Unmarshal(body, out); err != nil {
			return misread(op, err)
		}
		return nil
	})
}

var upsert = http.Header{"Prefer": {"create-if-missing"}}

type resourceAccess struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// Application makes the application with a unique name of ours, shown under name, that asks for the roles, and
// returns its object and client IDs.
func (r *Registrar) Application(ctx context.Context, unique, name string, roles []string) (objectID, clientID string, err error) {
	_, ids, err := r.roles(ctx, roles)
	if err != nil {
		return "", "", err
	}
	access := make([]resourceAccess, 0, len(ids))
	for _, role := range roles {
		if ids[role] != "" {
			access = append(access, resourceAccess{ids[role], "Role"})
		}
	}
	path := "/applications(uniqueName='" + url.PathEscape(unique) + "')"
	err = r.request(ctx, "register the application", http.MethodPatch, path, upsert, map[string]any{
		"displayName": name, "signInAudience": "AzureADMyOrg",
		"requiredResourceAccess": []any{map[string]any{"resourceAppId": graphAppID, "resourceAccess": access}},
	}, nil)
	if err != nil {
		return "", "", err
	}
	var found struct{ ID, AppID string }
	err = r.request(ctx, "find the registered application", http.MethodGet, path+"?$select=id,appId", nil, nil, &found)
	return found.ID, found.AppID, err
}

// roles returns the object ID of Graph's service principal, and the IDs of its application roles by their names.
// A role that this cloud lacks is not among them.
func (r *Registrar) roles(ctx context.Context, names []string) (graphID string, ids map[string]string, err error) {
	var principal struct {
		ID       string `json:"id"`
		AppRoles []struct {
			ID      string   `json:"id"`
			Value   string   `json:"value"`
			Enabled bool     `json:"isEnabled"`
			Members []string `json:"allowedMemberTypes"`
		} `json:"appRoles"`
	}
	err = r.request(ctx, "read Graph's roles", http.MethodGet, "/servicePrincipals(appId='"+graphAppID+"')?$select=id,appRoles", nil, nil, &principal)
	ids = map[string]string{}
	for _, role := range principal.AppRoles {
		if role.Enabled && slices.Contains(role.Members, "Application") && slices.Contains(names, role.Value) {
			ids[role.Value] = role.ID
		}
	}
	return principal.ID, ids, err
}

type keyCredential struct {
	Type  string    `json:"type"`
	Usage string    `json:"usage"`
	Name  string    `json:"displayName"`
	Key   []byte    `json:"key"`
	Start time.Time `json:"startDateTime"`
	End   time.Time `json:"endDateTime"`
}

// Certificate gives the application its certificate, unless it has one of that name ("application: update";
// the public part alone leaves us), and returns its ID at Microsoft; "" while that is not shown yet.
func (r *Registrar) Certificate(ctx context.Context, objectID, name string, certificate tenantry.Certificate) (string, error) {
	path := "/applications/" + url.PathEscape(objectID)
	has, err := r.keys(ctx, path)
	if err != nil {
		return "", err
	}
	if known, id := keyNamed(has, name); known {
		return id, nil
	}
	fresh, err := json.Marshal(keyCredential{"AsymmetricX509Cert", "Verify", name, certificate.DER, certificate.From.UTC(), certificate.Ends.UTC()})
	if err != nil {
		return "", tenantry.E(tenantry.Invalid, "describe the certificate", err)
	}
	all := make([]json.RawMessage, 0, len(has)+1) // the whole collection is replaced: what is there goes along unchanged
	for _, key := range has {
		all = append(all, key.raw)
	}
	err = r.request(ctx, "add the certificate", http.MethodPatch, path, nil, map[string]any{"keyCredentials": append(all, fresh)}, nil)
	if err != nil {
		return "", err
	}
	if has, err = r.keys(ctx, path); err != nil {
		return "", err
	}
	_, id := keyNamed(has, name)
	return id, nil
}

func keyNamed(keys []knownKey, name string) (known bool, id string) {
	for _, key := range keys {
		if key.Name == name {
			return true, key.ID
		}
	}
	return false, ""
}

// Principal makes the application's service principal, and returns its object ID.
func (r *Registrar) Principal(ctx context.Context, clientID, name string) (string, error) {
	path := "/servicePrincipals(appId='" + url.PathEscape(clientID) + "')"
	if err := r.request(ctx, "make the service principal", http.MethodPatch, path, upsert, map[string]any{"displayName": name}, nil); err != nil {
		return "", err
	}
	var found struct{ ID string }
	err := r.request(ctx, "find the service principal", http.MethodGet, path+"?$select=id", nil, nil, &found)
	return found.ID, err
}

// Grant gives the service principal the roles it lacks. Denied: the person may not grant Graph's roles.
func (r *Registrar) Grant(ctx context.Context, principal string, roles []string) error {
	graphID, ids, err := r.roles(ctx, roles)
	if err != nil {
		return err
	}
	granted, err := r.granted(ctx, principal)
	if err != nil {
		return err
	}
	for _, role := range roles {
		id := ids[role]
		if id == "" || slices.Contains(granted, id) {
			continue
		}
		err := r.request(ctx, "grant "+role, http.MethodPost, "/servicePrincipals/"+url.PathEscape(graphID)+"/appRoleAssignedTo", nil,
			map[string]string{"principalId": principal, "resourceId": graphID, "appRoleId": id}, nil)
		switch {
		case err == nil, strings.Contains(err.Error(), "already exist"):
		case strings.EqualFold(tenantry.CodeOf(err), "Authorization_RequestDenied"):
			return tenantry.E(tenantry.Denied, "grant "+role, fmt.Errorf("who signed in may not grant Graph's permissions: %w", err))
		default:
			return err
		}
	}
	return nil
}

// granted lists the IDs of the roles that a service principal has, over all pages.
func (r *Registrar) granted(ctx context.Context, principal string) ([]string, error) {
	var ids []string
	for path := "/servicePrincipals/" + url.PathEscape(principal) + "/appRoleAssignments"; path != ""; {
		var page struct {
			Value []struct {
				AppRoleID string `json:"appRoleId"`
			} `json:"value"`
			Next string `json:"@odata.nextLink"`
		}
		if err := r.request(ctx, "list what was granted", http.MethodGet, path, nil, nil, &page); err != nil {
			return nil, err
		}
		for _, a := range page.Value {
			ids = append(ids, a.AppRoleID)
		}
		rest, own := strings.CutPrefix(page.Next, r.t.client.build.base)
		if page.Next != "" && !own {
			return nil, tenantry.Errorf(tenantry.Internal, "list what was granted: a page links elsewhere")
		}
		path = rest
	}
	return ids, nil
}

// Remove deletes the application; its service principal goes with it. One that is gone is fine.
func (r *Registrar) Remove(ctx context.Context, objectID string) error {
	err := r.request(ctx, "delete the application", http.MethodDelete, "/applications/"+url.PathEscape(objectID), nil, nil, nil)
	if tenantry.KindOf(err) == tenantry.NotFound {
		return nil
	}
	return err
}
