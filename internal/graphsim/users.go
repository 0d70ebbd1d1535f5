package graphsim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// directoryTokenLife is how long tokens of users and groups live (delta query overview).
const directoryTokenLife = 7 * 24 * time.Hour

func directoryRoutes() []route {
	return []route{
		{method: "GET", pattern: "organization", units: 1, roles: rolesOrganization, handle: getOrganization},
		{method: "GET", pattern: "subscribedSkus", units: 3, roles: rolesSkus, handle: getSkus},
		{method: "GET", pattern: "users", units: 2, roles: rolesUsers, handle: listUsers},
		{method: "GET", pattern: "users/delta", units: 1, roles: rolesUsers, handle: usersDelta},
		{method: "GET", pattern: "users/{user}", units: 1, roles: rolesUsers, handle: getUser},
		{method: "GET", pattern: "users/{user}/mailboxSettings", service: outlook, roles: rolesSettings, handle: getMailboxSettings},
		{method: "GET", pattern: "users/{user}/licenseDetails", units: 2, roles: rolesUsers, handle: getLicenseDetails},
		{method: "GET", pattern: "groups", units: 1, roles: rolesGroups, handle: listGroups},
		{method: "GET", pattern: "groups/delta", units: 1, roles: rolesGroups, handle: groupsDelta},
		{method: "GET", pattern: "groups/{group}", units: 1, roles: rolesGroups, handle: getGroup},
		{method: "GET", pattern: "groups/{group}/members", units: 3, roles: rolesGroups, handle: listMembers},
		{method: "GET", pattern: "groups/{group}/owners", units: 1, roles: rolesGroups, handle: listMembers},
		{method: "GET", pattern: "directory/deletedItems/microsoft.graph.user", units: 1, roles: rolesDeleted, handle: listDeletedUsers},
		{method: "GET", pattern: "directory/deletedItems/microsoft.graph.group", units: 1, roles: rolesDeleted, handle: listDeletedGroups},
		{method: "GET", pattern: "directory/deletedItems/{id}", units: 1, roles: rolesDeleted, handle: getDeleted},
		{method: "GET", pattern: "directory/deletedItems/{id}/microsoft.graph.user", units: 1, roles: rolesDeleted, handle: getDeleted},
		{method: "GET", pattern: "directory/deletedItems/{id}/microsoft.graph.group", units: 1, roles: rolesDeleted, handle: getDeleted},
		{method: "POST", pattern: "directory/deletedItems/{id}/restore", units: 1, roles: rolesRestore, handle: restoreDeleted},
	}
}

func getOrganization(c *call) error {
	o := newObject(c.sel)
	o.str("id", c.t.id)
	o.str("displayName", c.t.spec.Name)
	o.raw("countryLetterCode", `"DE"`)
	o.instant("createdDateTime", epoch.AddDate(-5, 0, 0))
	o.raw("verifiedDomains", `[{"capabilities":"Email, OfficeCommunicationsOnline","isDefault":true,"isInitial":true,"name":`+
		quoted(c.t.spec.Domain)+`,"type":"Managed"}]`)
	return c.page([][]byte{o.done()}, "", "")
}

const (
	skuID             = "05e9a617-0261-4cee-bb44-138d3ef5d965"
	planExchange      = "efb87545-963c-4e0d-99df-69c6916d9eb0"
	planSharePoint    = "5dbe027f-2339-4123-9542-606e4d348a72"
	exchangePlan      = `{"assignedDateTime":"2024-01-02T03:04:05Z","capabilityStatus":"Enabled","service":"exchange","servicePlanId":"` + planExchange + `"}`
	sharePointPlan    = `{"assignedDateTime":"2024-01-02T03:04:05Z","capabilityStatus":"Enabled","service":"SharePoint","servicePlanId":"` + planSharePoint + `"}`
	licensedPlans     = `[` + exchangePlan + `,` + sharePointPlan + `]`
	licensedLicenses  = `[{"disabledPlans":[],"skuId":"` + skuID + `"}]`
	unlicensedAccount = `[]`
)

func getSkus(c *call) error {
	c.t.mu.RLock()
	used := 0
	for _, e := range c.t.users.order {
		if e.licensed && e.state == Active {
			used++
		}
	}
	c.t.mu.RUnlock()
	o := newObject(c.sel)
	o.str("id", c.t.id+"_"+skuID)
	o.str("skuId", skuID)
	o.str("skuPartNumber", "SPE_E3")
	o.str("capabilityStatus", "Enabled")
	o.str("appliesTo", "User")
	o.num("consumedUnits", int64(used))
	if o.member("prepaidUnits") {
		units := newObject(nil)
		units.num("enabled", c.t.licences())
		units.raw("suspended", "0")
		units.raw("warning", "0")
		units.raw("lockedOut", "0")
		o.b = append(o.b, units.done()...)
	}
	return c.page([][]byte{o.done()}, "", "")
}

// renderUser writes a user; removed ones as delta does.
func (c *call) renderUser(e *entry) []byte {
	if e.state != Active {
		return removedEntry(e)
	}
	o := newObject(c.sel)
	o.str("id", e.id)
	o.str("displayName", e.name)
	first, last, _ := strings.Cut(e.name, " ")
	o.str("givenName", first)
	o.str("surname", last)
	o.str("userPrincipalName", c.t.principalName(e))
	if e.hasMailbox() {
		o.str("mail", c.t.principalName(e))
	} else {
		o.raw("mail", "null")
	}
	o.raw("businessPhones", `[]`)
	o.raw("jobTitle", "null")
	o.raw("mobilePhone", "null")
	o.raw("officeLocation", "null")
	o.raw("preferredLanguage", "null")
	if o.sel == nil {
		return o.done()
	}
	o.str("mailNickname", e.alias)
	o.str("userType", "Member")
	o.boolean("accountEnabled", !e.shared)
	o.raw("usageLocation", `"DE"`)
	o.instant("createdDateTime", e.created)
	o.raw("onPremisesSyncEnabled", "null")
	o.strings("proxyAddresses", []string{"SMTP:" + c.t.principalName(e)})
	plans, licenses := unlicensedAccount, unlicensedAccount
	if e.licensed {
		plans, licenses = licensedPlans, licensedLicenses
	}
	o.raw("assignedPlans", plans)
	o.raw("assignedLicenses", licenses)
	return o.done()
}

func removedEntry(e *entry) []byte {
	reason := "changed"
	if e.state == Purged {
		reason = "deleted"
	}
	return []byte(`{"id":` + quoted(e.id) + `,"@removed":{"reason":"` + reason + `"}}`)
}

func (c *call) renderGroup(e *entry) []byte {
	if e.state != Active {
		return removedEntry(e)
	}
	o := newObject(c.sel)
	o.str("id", e.id)
	o.str("displayName", e.name)
	types, options := "[]", "[]"
	if e.unified {
		types = `["Unified"]`
	}
	if e.team {
		options = `["Team"]`
	}
	o.raw("groupTypes", types)
	o.boolean("mailEnabled", e.unified)
	o.boolean("securityEnabled", !e.unified)
	if e.unified {
		o.str("mail", e.alias+"@"+c.t.spec.Domain)
	} else {
		o.raw("mail", "null")
	}
	o.str("mailNickname", e.alias)
	o.raw("resourceProvisioningOptions", options)
	o.instant("createdDateTime", e.created)
	o.raw("visibility", `"Private"`)
	return o.done()
}

func listUsers(c *call) error { return c.listEntries(&c.t.users, Active, c.renderUser) }

func listGroups(c *call) error { return c.listEntries(&c.t.groups, Active, c.renderGroup) }

func (c *call) listEntries(d *directory, state State, render func(*entry) []byte) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	var entries []*entry
	for _, e := range d.order {
		if e.state == state {
			entries = append(entries, e)
		}
	}
	return c.skipPage(len(entries), c.pageSize(100, 999), "$skiptoken", func(i int) []byte { return render(entries[i]) })
}

func (c *call) directoryOptions() deltaOptions {
	// $top is not supported here; the server decides, odata.maxpagesize asks.
	c.query.Del("$top")
	return deltaOptions{nextParam: "$skiptoken", deltaParam: "$deltatoken", life: directoryTokenLife,
		pageSize: c.pageSize(100, 999), stale: staleDirectory}
}

func usersDelta(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	return c.deltaPage(c.t.users.source(c.t.id, c.renderUser), c.directoryOptions())
}

func groupsDelta(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	return c.deltaPage(c.t.groups.source(c.t.id, c.renderGroup), c.directoryOptions())
}

func getUser(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	e := c.t.userByKey(c.param("user"))
	if e == nil {
		return directoryNotFound(c.param("user"))
	}
	return c.json(http.StatusOK, c.renderUser(e))
}

func getGroup(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	e := c.t.groups.active(c.param("group"))
	if e == nil {
		return directoryNotFound(c.param("group"))
	}
	return c.json(http.StatusOK, c.renderGroup(e))
}

// listMembers returns some users as members of any group, by the group's seed.
func listMembers(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	e := c.t.groups.active(c.param("group"))
	if e == nil {
		return directoryNotFound(c.param("group"))
	}
	var members []*entry
	for _, u := range c.t.users.order {
		if u.state != Purged && mixString(u.ordinal, e.id)%4 == 0 {
			members = append(members, u)
		}
	}
	return c.skipPage(len(members), c.pageSize(100, 999), "$skiptoken", func(i int) []byte {
		return []byte(`{"@odata.type":"#microsoft.graph.user","id":` + quoted(members[i].id) + `}`)
	})
}

func getMailboxSettings(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	e := c.t.userByKey(c.param("user"))
	switch {
	case e == nil:
		return fail(http.StatusNotFound, "ErrorInvalidUser", "The requested user '%s' is invalid.", c.param("user"))
	case !e.hasMailbox():
		return mailboxNotEnabled()
	}
	purpose := "user"
	if e.shared {
		purpose = "shared"
	}
	o := newObject(c.sel)
	o.str("userPurpose", purpose)
	o.str("timeZone", "UTC")
	o.raw("archiveFolder", "null")
	return c.json(http.StatusOK, o.done())
}

func getLicenseDetails(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	e := c.t.userByKey(c.param("user"))
	if e == nil {
		return directoryNotFound(c.param("user"))
	}
	var items [][]byte
	if e.licensed {
		items = append(items, []byte(`{"id":"`+skuID+`","skuId":"`+skuID+`","skuPartNumber":"SPE_E3","servicePlans":[]}`))
	}
	return c.page(items, "", "")
}

func listDeletedUsers(c *call) error {
	return c.listEntries(&c.t.users, Deleted, func(e *entry) []byte { return c.renderDeleted(e, "user") })
}

func listDeletedGroups(c *call) error {
	return c.listEntries(&c.t.groups, Deleted, func(e *entry) []byte { return c.renderDeleted(e, "group") })
}

func (c *call) renderDeleted(e *entry, kind string) []byte {
	o := newObject(c.sel)
	o.raw("@odata.type", `"#microsoft.graph.`+kind+`"`)
	o.str("id", e.id)
	o.str("displayName", e.name)
	o.instant("deletedDateTime", e.removed)
	if kind == "user" {
		// A deleted user's principal name is prefixed by its ID.
		o.str("userPrincipalName", strings.ReplaceAll(e.id, "-", "")+c.t.principalName(e))
	}
	return o.done()
}

func getDeleted(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	id := c.param("id")
	if e := c.t.users.find(id); e != nil && e.state == Deleted {
		return c.json(http.StatusOK, c.renderDeleted(e, "user"))
	}
	if e := c.t.groups.find(id); e != nil && e.state == Deleted {
		return c.json(http.StatusOK, c.renderDeleted(e, "group"))
	}
	return directoryNotFound(id)
}

func restoreDeleted(c *call) error {
	id := c.param("id")
	c.t.mu.RLock()
	isUser := c.t.users.find(id) != nil
	c.t.mu.RUnlock()
	restore, role, kind := c.t.RestoreGroup, "Group.ReadWrite.All", "group"
	if isUser {
		restore, role, kind = c.t.RestoreUser, "User.DeleteRestore.All", "user"
	}
	if !slices.Contains(c.roles, role) {
		return fail(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
	}
	if restore(id) != nil {
		return directoryNotFound(id)
	}
	return c.json(http.StatusOK, []byte(`{"@odata.type":"#microsoft.graph.`+kind+`","id":`+quoted(id)+`}`))
}
