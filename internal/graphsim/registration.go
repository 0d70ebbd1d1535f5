package graphsim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

func registrationRoutes() []route {
	read, write := rolesApplications, rolesApplicationsWrite
	list := takes(nil, "$select", "$filter", "$top", "$count", "$orderby", "$search", "$skiptoken")
	one := takesOne(nil, "$select")
	granted := takes(nil, "$select", "$filter", "$top", "$count", "$orderby", "$skiptoken")
	none := takes(nil)
	var routes []route
	for _, kind := range []string{"applications", "servicePrincipals"} {
		routes = append(routes,
			route{method: "GET", pattern: kind, units: 2, roles: read, takes: list, handle: listRegistered},
			route{method: "POST", pattern: kind, units: 1, roles: write, takes: none, handle: createRegistered},
			route{method: "GET", pattern: kind + "/{id}", units: 1, roles: read, takes: one, handle: getRegistered},
			route{method: "PATCH", pattern: kind + "/{id}", units: 1, roles: write, takes: none, handle: patchRegistered},
			route{method: "DELETE", pattern: kind + "/{id}", units: 1, roles: write, takes: none, handle: deleteRegistered})
	}
	return append(routes,
		route{method: "POST", pattern: "applications/{id}/addPassword", units: 1, roles: write, takes: none, handle: addPassword},
		route{method: "POST", pattern: "applications/{id}/removePassword", units: 1, roles: write, takes: none, handle: removePassword},
		route{method: "POST", pattern: "applications/{id}/addKey", units: 1, takes: none, handle: addKey},
		route{method: "POST", pattern: "applications/{id}/removeKey", units: 1, takes: none, handle: removeKey},
		route{method: "GET", pattern: "servicePrincipals/{id}/appRoleAssignments", units: 2, roles: read, takes: granted, handle: listAssignments},
		route{method: "GET", pattern: "servicePrincipals/{id}/appRoleAssignedTo", units: 1, roles: read, takes: granted, handle: listAssignments},
		route{method: "POST", pattern: "servicePrincipals/{id}/appRoleAssignments", units: 1, roles: rolesAssign, takes: none, handle: assignRole},
		route{method: "POST", pattern: "servicePrincipals/{id}/appRoleAssignedTo", units: 1, roles: rolesAssign, takes: none, handle: assignRole},
		route{method: "DELETE", pattern: "servicePrincipals/{id}/appRoleAssignments/{assignment}", units: 1, roles: rolesAssign, takes: none, handle: revokeRole},
		route{method: "DELETE", pattern: "servicePrincipals/{id}/appRoleAssignedTo/{assignment}", units: 1, roles: rolesAssign, takes: none, handle: revokeRole})
}

// registeredKind is the type that the route is about.
func (c *call) registeredKind() string { return strings.TrimSuffix(c.rt.segments[0], "s") }

// registered finds the object of the path: by its ID, or by an alternate key as in
// applications(uniqueName='x') or servicePrincipals(appId='y'). The caller holds the lock.
func (c *call) registered() *registration {
	kind, id := c.registeredKind(), c.param("id")
	name, value, keyed := strings.Cut(id, "=")
	if !keyed {
		if kind == "servicePrincipal" {
			for _, r := range c.t.principals() {
				if strings.EqualFold(r.id, id) {
					return r
				}
			}
			return nil
		}
		if r := c.t.consent.registrations.find(id); r != nil && r.kind == kind && r.state == Active {
			return r
		}
		return nil
	}
	switch {
	case strings.EqualFold(name, "appId") && kind == "servicePrincipal":
		return c.t.principalOf(value)
	case strings.EqualFold(name, "appId"):
		return c.t.consent.registrations.byApp(kind, value)
	case strings.EqualFold(name, "uniqueName") && kind == "application":
		for _, r := range c.t.consent.registrations.ofKind(kind) {
			if r.uniqueName == value {
				return r
			}
		}
	}
	return nil
}

// withRegistered calls do with the object of the path, once it is known everywhere.
func (c *call) withRegistered(do func(*registration) error) error {
	c.t.consent.mu.Lock()
	defer c.t.consent.mu.Unlock()
	r := c.registered()
	if r == nil || c.s.elapsed() < r.usable {
		return directoryNotFound(c.param("id"))
	}
	return do(r)
}

func listRegistered(c *call) error {
	c.t.consent.mu.RLock()
	defer c.t.consent.mu.RUnlock()
	if c.registeredKind() == "servicePrincipal" {
		return c.listRegistrations(c.t.principals())
	}
	return c.listRegistrations(c.t.consent.registrations.ofKind("application"))
}

func (c *call) listRegistrations(all []*registration) error {
	return c.list(listing{count: len(all), usual: 100, most: 999,
		render: func(i int) []byte { return all[i].write(c.sel, false) },
		full:   func(i int) []byte { return all[i].write(nil, false) }})
}

func getRegistered(c *call) error {
	return c.withRegistered(func(r *registration) error {
		return c.entity(http.StatusOK, r.write(c.sel, c.sel.asked("keyCredentials")))
	})
}

// settable are the properties that a client may set, by kind.
var settable = map[string][]string{
	"application": {"displayName", "signInAudience", "requiredResourceAccess", "tags", "notes", "serviceManagementReference",
		"servicePrincipalLockConfiguration", "keyCredentials", "web", "publicClient", "description"},
	"servicePrincipal": {"appId", "displayName", "tags", "notes", "servicePrincipalLockConfiguration", "description"},
}

// readRegistered reads a body and refuses what cannot be set.
func (c *call) readRegistered(kind string) (map[string]json.RawMessage, []keyCredential, error) {
	var body map[string]json.RawMessage
	if err := c.decode(&body); err != nil {
		return nil, nil, err
	}
	var keys []keyCredential
	for name, value := range body {
		switch {
		case !slices.Contains(settable[kind], name):
			return nil, nil, fail(http.StatusBadRequest, "Request_BadRequest", "Property '%s' does not exist on '%s' or cannot be set.", name, kind)
		case name == "keyCredentials":
			if err := json.Unmarshal(value, &keys); err != nil {
				return nil, nil, badRequest("Unable to read JSON request payload: %v", err)
			}
			if keys == nil {
				keys = []keyCredential{}
			}
			delete(body, name)
		}
	}
	return body, keys, checkAccess(body["requiredResourceAccess"])
}

// checkAccess bounds what an application asks for: 50 APIs, 400 permissions.
func checkAccess(data json.RawMessage) error {
	var apis []struct {
		ResourceAccess []json.RawMessage `json:"resourceAccess"`
	}
	if data == nil {
		return nil
	}
	if err := json.Unmarshal(data, &apis); err != nil {
		return badRequest("Unable to read JSON request payload: %v", err)
	}
	total := 0
	for _, api := range apis {
		total += len(api.ResourceAccess)
	}
	if len(apis) > 50 || total > 400 {
		return fail(http.StatusBadRequest, "Request_BadRequest", "requiredResourceAccess is limited to 50 APIs and 400 permissions.")
	}
	return nil
}

func createRegistered(c *call) error {
	c.t.consent.mu.Lock()
	defer c.t.consent.mu.Unlock()
	r, err := c.register(c.registeredKind(), "", "")
	if err != nil {
		return err
	}
	return c.entity(http.StatusCreated, r.write(nil, false))
}

// register makes what the body describes. An application gets no service principal.
func (c *call) register(kind, uniqueName, appID string) (*registration, error) {
	body, keys, err := c.readRegistered(kind)
	if err != nil {
		return nil, err
	}
	r := &registration{id: newID(), kind: kind, uniqueName: uniqueName, appID: newID(), state: Active, body: body,
		created: time.Now().UTC().Truncate(time.Second), usable: c.s.elapsed() + c.s.o.RegistrationDelay}
	if kind == "application" {
		var name string
		if json.Unmarshal(body["displayName"], &name) != nil || name == "" {
			return nil, fail(http.StatusBadRequest, "Request_BadRequest", "A value is required for property 'displayName' of resource 'Application'.")
		}
		if body["signInAudience"] == nil {
			body["signInAudience"] = json.RawMessage(`"AzureADandPersonalMicrosoftAccount"`)
		}
		r.keys, err = mergeKeys(nil, keys)
	} else {
		err = c.backPrincipal(r, appID)
	}
	if err != nil {
		return nil, err
	}
	c.t.consent.registrations.all = append(c.t.consent.registrations.all, r)
	return r, nil
}

// backPrincipal ties a new service principal to its application.
func (c *call) backPrincipal(r *registration, appID string) error {
	if text := r.body["appId"]; appID == "" && json.Unmarshal(text, &appID) != nil {
		return fail(http.StatusBadRequest, "Request_BadRequest", "A value is required for property 'appId' of resource 'ServicePrincipal'.")
	}
	delete(r.body, "appId")
	app := c.t.consent.registrations.byApp("application", appID)
	if app == nil || c.s.elapsed() < app.usable {
		return fail(http.StatusBadRequest, "Request_BadRequest", "The appId '%s' of the service principal does not reference a valid application object.", appID)
	}
	if c.t.principalOf(appID) != nil {
		return fail(http.StatusBadRequest, "Request_BadRequest", "The service principal cannot be created because the service principal name %s is already in use.", appID)
	}
	r.appID = app.appID
	if r.body["displayName"] == nil {
		r.body["displayName"] = app.body["displayName"]
	}
	return nil
}

// patchRegistered changes an object, or makes it under its alternate key when the client
// prefers so ("Upsert application", "Upsert servicePrincipal").
func patchRegistered(c *call) error {
	c.t.consent.mu.Lock()
	defer c.t.consent.mu.Unlock()
	r := c.registered()
	if r == nil {
		name, value, keyed := strings.Cut(c.param("id"), "=")
		if !keyed || !c.prefer("create-if-missing") {
			return directoryNotFound(c.param("id"))
		}
		kind, unique, appID := c.registeredKind(), "", ""
		switch {
		case kind == "application" && strings.EqualFold(name, "uniqueName"):
			unique = value
		case kind == "servicePrincipal" && strings.EqualFold(name, "appId"):
			appID = value
		default:
			return directoryNotFound(c.param("id"))
		}
		made, err := c.register(kind, unique, appID)
		if err != nil {
			return err
		}
		return c.entity(http.StatusCreated, made.write(nil, false))
	}
	_, _, keyed := strings.Cut(c.param("id"), "=")
	if c.s.elapsed() < r.usable && !keyed {
		return directoryNotFound(c.param("id"))
	}
	return c.changeRegistered(r)
}

func (c *call) changeRegistered(r *registration) error {
	body, keys, err := c.readRegistered(r.kind)
	if err != nil {
		return err
	}
	if keys != nil {
		if r.keys, err = mergeKeys(r.keys, keys); err != nil {
			return err
		}
	}
	for name, value := range body {
		r.body[name] = value
	}
	return c.empty(http.StatusNoContent)
}

func deleteRegistered(c *call) error {
	c.t.consent.mu.RLock()
	r := c.registered()
	c.t.consent.mu.RUnlock()
	if r == nil || r.id == c.t.graphPrincipal() {
		return directoryNotFound(c.param("id"))
	}
	if r.id == c.t.ownPrincipal() {
		c.t.Revoke()
		return c.empty(http.StatusNoContent)
	}
	c.t.dropRegistration(r)
	return c.empty(http.StatusNoContent)
}

func addPassword(c *call) error {
	var in struct {
		PasswordCredential struct {
			DisplayName string
			EndDateTime time.Time
		}
	}
	if err := c.decodeOptional(&in); err != nil {
		return err
	}
	return c.withRegistered(func(r *registration) error {
		p := newPassword(in.PasswordCredential.DisplayName, in.PasswordCredential.EndDateTime)
		r.passwords = append(r.passwords, p)
		data, _ := json.Marshal(struct {
			passwordCredential
			SecretText string `json:"secretText"`
		}{p, p.secret})
		return c.json(http.StatusOK, data)
	})
}

func removePassword(c *call) error {
	var in struct{ KeyID string }
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withRegistered(func(r *registration) error {
		at := slices.IndexFunc(r.passwords, func(p passwordCredential) bool { return p.KeyID == in.KeyID })
		if at < 0 {
			return fail(http.StatusBadRequest, "Request_BadRequest", "No password credential found with keyId.")
		}
		r.passwords = slices.Delete(r.passwords, at, at+1)
		return c.empty(http.StatusNoContent)
	})
}

// addKey and removeKey need no permission for the application's own keys: the proof,
// signed by a certificate that is still valid, opens them ("application: addKey").
func addKey(c *call) error {
	var in struct {
		KeyCredential keyCredential
		Proof         string
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withRegistered(func(r *registration) error {
		if err := c.checkProof(r, in.Proof); err != nil {
			return err
		}
		key, err := newKey(in.KeyCredential)
		if err != nil {
			return err
		}
		r.keys = append(r.keys, key)
		return c.entity(http.StatusOK, []byte("{}"))
	})
}

func removeKey(c *call) error {
	var in struct{ KeyID, Proof string }
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withRegistered(func(r *registration) error {
		if err := c.checkProof(r, in.Proof); err != nil {
			return err
		}
		at := slices.IndexFunc(r.keys, func(k keyCredential) bool { return k.KeyID == in.KeyID })
		if at < 0 {
			return fail(http.StatusBadRequest, "Request_BadRequest", "No credentials found to be removed.")
		}
		r.keys = slices.Delete(r.keys, at, at+1)
		return c.empty(http.StatusNoContent)
	})
}

func listAssignments(c *call) error {
	resource := c.rt.segments[2] == "appRoleAssignedTo"
	return c.withRegistered(func(r *registration) error {
		all := c.t.assignmentsOf(r.id, resource)
		return c.list(listing{count: len(all), usual: 100, most: 999,
			render: func(i int) []byte { return selected(c.sel, all[i].write()) },
			full:   func(i int) []byte { return all[i].write() }})
	})
}

func (a assignment) write() []byte {
	o := newObject(nil)
	o.str("id", a.id)
	o.str("principalId", a.principal)
	o.raw("principalType", `"ServicePrincipal"`)
	o.str("resourceId", a.resource)
	o.str("appRoleId", a.role)
	o.instant("createdDateTime", a.created)
	return o.done()
}

// assignRole gives a role of Graph to a service principal; it is in tokens issued from now on.
func assignRole(c *call) error {
	var in struct{ PrincipalID, ResourceID, AppRoleID string }
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withRegistered(func(at *registration) error {
		bad := func(text string) error { return fail(http.StatusBadRequest, "Request_BadRequest", "%s", text) }
		i := slices.IndexFunc(c.t.principals(), func(r *registration) bool { return strings.EqualFold(r.id, in.PrincipalID) })
		resource := c.rt.segments[2] == "appRoleAssignedTo"
		mine := strings.EqualFold(at.id, in.PrincipalID)
		if resource {
			mine = strings.EqualFold(at.id, in.ResourceID)
		}
		if i < 0 || !mine || !strings.EqualFold(in.ResourceID, c.t.graphPrincipal()) || roleName(in.AppRoleID) == "" {
			return bad("Not a valid reference update.")
		}
		p := c.t.principals()[i]
		if c.s.elapsed() < p.usable {
			return bad("Not a valid reference update.")
		}
		if slices.ContainsFunc(c.t.assignmentsOf(p.id, false), func(a assignment) bool { return strings.EqualFold(a.role, in.AppRoleID) }) {
			return bad("Permission being assigned already exists on the object")
		}
		a := assignment{id: assignmentID(p.id, strings.ToLower(in.AppRoleID)), principal: p.id, resource: c.t.graphPrincipal(),
			role: strings.ToLower(in.AppRoleID), created: time.Now().UTC().Truncate(time.Second)}
		if p.id == c.t.ownPrincipal() {
			c.t.consent.roles = append(slices.Clone(c.t.consent.roles), roleName(a.role))
		} else {
			c.t.consent.registrations.assignments = append(c.t.consent.registrations.assignments, a)
		}
		return c.entity(http.StatusCreated, a.write())
	})
}

func revokeRole(c *call) error {
	return c.withRegistered(func(r *registration) error {
		resource := c.rt.segments[2] == "appRoleAssignedTo"
		all := c.t.assignmentsOf(r.id, resource)
		at := slices.IndexFunc(all, func(a assignment) bool { return a.id == c.param("assignment") })
		if at < 0 {
			return fail(http.StatusBadRequest, "Request_BadRequest", "EntitlementGrant being updated or deleted is not found.")
		}
		c.t.consent.registrations.assignments = slices.DeleteFunc(c.t.consent.registrations.assignments, func(a assignment) bool { return a.id == all[at].id })
		if all[at].principal == c.t.ownPrincipal() {
			c.t.consent.roles = slices.DeleteFunc(slices.Clone(c.t.consent.roles), func(role string) bool { return role == roleName(all[at].role) })
		}
		return c.empty(http.StatusNoContent)
	})
}
