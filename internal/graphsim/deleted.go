package graphsim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

func deletedRoutes() []route {
	list := takes(deletedType, "$select", "$filter", "$top", "$count", "$orderby", "$search", "$skiptoken")
	one := takesOne(deletedType, "$select")
	routes := []route{
		{method: "GET", pattern: "directory/deletedItems", units: 1, roles: rolesDeleted, takes: takes(nil), handle: listDeletedUncast},
		{method: "GET", pattern: "directory/deletedItems/{id}", units: 1, roles: rolesDeleted, takes: one, handle: getDeleted},
		{method: "DELETE", pattern: "directory/deletedItems/{id}", units: 1, roles: rolesPurge, takes: takes(nil), handle: purgeDeleted},
		{method: "POST", pattern: "directory/deletedItems/{id}/restore", units: 1, roles: rolesRestore, takes: takes(nil), handle: restoreDeleted},
	}
	for _, kind := range []string{"user", "group", "application", "servicePrincipal"} {
		routes = slices.Concat([]route{
			{method: "GET", pattern: "directory/deletedItems/microsoft.graph." + kind, units: 1, roles: rolesDeleted, takes: list, handle: listDeleted},
			{method: "GET", pattern: "directory/deletedItems/{id}/microsoft.graph." + kind, units: 1, roles: rolesDeleted, takes: one, handle: getDeleted},
		}, routes)
	}
	return routes
}

// deletedKinds are the collections whose objects can be restored, by type.
func (t *Tenant) deletedKinds() map[string]*directory {
	return map[string]*directory{"user": &t.users, "group": &t.groups}
}

func listDeletedUncast(*call) error {
	return fail(http.StatusBadRequest, "Request_BadRequest", "A type has to follow the collection: microsoft.graph.user, for example.")
}

// mayRead applies the permission of the kind: each deleted object needs that of its own.
func (c *call) mayReadDeleted(kind string) error {
	need := map[string][]string{"user": rolesUsers, "group": rolesGroups, "application": rolesApplications, "servicePrincipal": rolesApplications}[kind]
	if !slices.ContainsFunc(need, func(role string) bool { return slices.Contains(c.roles, role) }) {
		return requestDenied()
	}
	return nil
}

func listDeleted(c *call) error {
	kind := strings.TrimPrefix(c.rt.segments[2], "microsoft.graph.")
	if err := c.mayReadDeleted(kind); err != nil {
		return err
	}
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	if d := c.t.deletedKinds()[kind]; d != nil {
		return c.listEntries(rollOf(d.deleted()), func(e *entry) []byte { return c.renderDeleted(e) }, deletedType)
	}
	c.t.consent.mu.RLock()
	defer c.t.consent.mu.RUnlock()
	return c.listRegistrations(c.t.consent.registrations.deleted(kind))
}

func (c *call) renderDeleted(e *entry) []byte {
	o := newObject(c.sel)
	o.raw("@odata.type", `"#microsoft.graph.`+e.kindName()+`"`)
	o.str("id", e.id)
	o.str("displayName", e.name)
	o.instant("deletedDateTime", e.left.at)
	if e.isGroup {
		o.str("mailNickname", e.alias)
		o.raw("groupTypes", `["Unified"]`)
		return o.done()
	}
	// A deleted user's principal name is prefixed by its ID.
	o.str("userPrincipalName", strings.ReplaceAll(e.id, "-", "")+c.t.principalName(e))
	return o.done()
}

// findDeleted returns a deleted user or group, or nil.
func (t *Tenant) findDeleted(id string) *entry {
	for _, d := range t.deletedKinds() {
		if e := d.find(id); e != nil && e.state == Deleted {
			return e
		}
	}
	return nil
}

func getDeleted(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	id := c.param("id")
	cast := ""
	if len(c.rt.segments) == 4 {
		cast = strings.TrimPrefix(c.rt.segments[3], "microsoft.graph.")
	}
	if e := c.t.findDeleted(id); e != nil && (cast == "" || cast == e.kindName()) {
		if err := c.mayReadDeleted(e.kindName()); err != nil {
			return err
		}
		return c.json(http.StatusOK, c.renderDeleted(e))
	}
	c.t.consent.mu.RLock()
	defer c.t.consent.mu.RUnlock()
	if r := c.t.consent.registrations.find(id); r != nil && r.state == Deleted && (cast == "" || cast == r.kind) {
		if err := c.mayReadDeleted(r.kind); err != nil {
			return err
		}
		return c.json(http.StatusOK, r.write(c.sel, false))
	}
	return directoryNotFound(id)
}

// restoreDeleted brings an object back. The body is optional ("deletedItems: restore").
func restoreDeleted(c *call) error {
	var in struct {
		AutoReconcileProxyConflict bool
		NewUserPrincipalName       string
	}
	if err := c.decodeOptional(&in); err != nil {
		return err
	}
	id := c.param("id")
	if r := c.t.registration(id); r != nil {
		return c.restoreRegistration(r)
	}
	c.t.mu.RLock()
	e := c.t.findDeleted(id)
	c.t.mu.RUnlock()
	if e == nil {
		return directoryNotFound(id)
	}
	restore, role := c.t.RestoreUser, "User.DeleteRestore.All"
	if e.isGroup {
		restore, role = c.t.RestoreGroup, "Group.ReadWrite.All"
	}
	if !slices.Contains(c.roles, role) {
		return requestDenied()
	}
	if in.NewUserPrincipalName != "" {
		if err := c.t.setPrincipalName(e, in.NewUserPrincipalName); err != nil {
			return err
		}
	}
	if restore(id) != nil {
		return directoryNotFound(id)
	}
	return c.json(http.StatusOK, []byte(`{"@odata.type":"#microsoft.graph.`+e.kindName()+`","id":`+quoted(e.id)+`}`))
}

// setPrincipalName gives a user another name within the tenant's domain.
func (t *Tenant) setPrincipalName(e *entry, name string) error {
	alias, ok := strings.CutSuffix(strings.ToLower(name), "@"+strings.ToLower(t.spec.Domain))
	t.mu.Lock()
	defer t.mu.Unlock()
	other := t.userByAlias(alias)
	if !ok || alias == "" || other != nil && other != e || e.isGroup {
		return fail(http.StatusBadRequest, "Request_BadRequest", "The user principal name '%s' is taken or not of this tenant.", name)
	}
	e.alias = alias
	if !slices.Contains(t.renamed, e) {
		t.renamed = append(t.renamed, e)
	}
	return nil
}

// purgeDeleted removes a deleted object for good.
func purgeDeleted(c *call) error {
	id := c.param("id")
	if r := c.t.registration(id); r != nil && r.state == Deleted {
		if !slices.Contains(c.roles, "Application.ReadWrite.All") {
			return requestDenied()
		}
		c.t.purgeRegistration(r)
		return c.empty(http.StatusNoContent)
	}
	c.t.mu.RLock()
	e := c.t.findDeleted(id)
	c.t.mu.RUnlock()
	if e == nil {
		return directoryNotFound(id)
	}
	purge, role := c.t.PurgeUser, "User.DeleteRestore.All"
	if e.isGroup {
		purge, role = c.t.PurgeGroup, "Group.ReadWrite.All"
	}
	if !slices.Contains(c.roles, role) {
		return requestDenied()
	}
	if purge(id) != nil {
		return directoryNotFound(id)
	}
	return c.empty(http.StatusNoContent)
}

// decodeOptional reads a JSON body, if there is one.
func (c *call) decodeOptional(v any) error {
	data, err := c.body(maxJSONBody)
	if err != nil || len(bytes.TrimSpace(data)) == 0 {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return badRequest("Unable to read JSON request payload: %v", err)
	}
	return nil
}
