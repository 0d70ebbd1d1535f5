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
	one := func(t *entityType) *taken { return takesOne(t, "$select", "$expand") }
	return slices.Concat([]route{
		{method: "GET", pattern: "organization", units: 1, roles: rolesOrganization, takes: takes(organizationType, "$select"), handle: getOrganization},
		{method: "GET", pattern: "subscribedSkus", units: 3, roles: rolesSkus, takes: takes(skuType, "$select"), handle: getSkus},
		{method: "GET", pattern: "places/microsoft.graph.room", units: 1, roles: rolesPlaces, takes: takes(nil, "$top", "$skip", "$count"), handle: listRooms},
		{method: "GET", pattern: "tenantRelationships/delegatedAdminCustomers", units: 1, roles: rolesCustomers,
			takes: takes(customerType, "$select", "$filter", "$top", "$orderby", "$count", "$skiptoken"), handle: listCustomers},
		{method: "GET", pattern: "users", units: 2, roles: rolesUsers, takes: takes(userType, listOptions...), handle: listUsers},
		{method: "GET", pattern: "users/$count", units: 1, roles: rolesUsers, takes: takes(userType, "$filter", "$search"), handle: countUsers},
		{method: "GET", pattern: "users/delta", units: 1, roles: rolesUsers, takes: takesOne(userType, deltaQuery...), handle: usersDelta},
		{method: "GET", pattern: "users/{user}", units: 1, roles: rolesUsers, takes: one(userType), handle: getUser},
		{method: "GET", pattern: "users/{user}/licenseDetails", units: 2, roles: rolesUsers, takes: takes(licenseType, "$select"), handle: getLicenseDetails},
		{method: "GET", pattern: "users/{user}/memberOf", units: 2, roles: rolesGroups, takes: takes(groupType, relatedOptions...), handle: listMemberOf},
		{method: "GET", pattern: "users/{user}/transitiveMemberOf", units: 2, roles: rolesGroups, takes: takes(groupType, relatedOptions...), handle: listMemberOf},
	}, groupRoutes(), deletedRoutes())
}

// listUsers lists the active users; deleted ones stand in deletedItems.
func listUsers(c *call) error { return c.listDirectory(&c.t.users, c.renderUser, userType) }

func countUsers(c *call) error { return c.countDirectory(&c.t.users, c.renderUser, userType) }

// listDirectory lists the active objects of a kind.
func (c *call) listDirectory(d *directory, render func(*entry) []byte, of *entityType) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	return c.listEntries(d.present(), render, of)
}

func (c *call) countDirectory(d *directory, render func(*entry) []byte, of *entityType) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	return c.countOf(c.entryListing(d.present(), render, of))
}

// listEntries answers with a page of entries: 100, or up to 999 that the client asks for.
func (c *call) listEntries(entries roll, render func(*entry) []byte, of *entityType) error {
	return c.list(c.entryListing(entries, render, of))
}

func (c *call) entryListing(entries roll, render func(*entry) []byte, of *entityType) listing {
	weighed := c.weighed(of)
	return listing{
		count: entries.count, usual: 100, most: 999,
		render: func(i int) []byte { return render(entries.at(i)) },
		full: func(i int) []byte {
			asked := c.sel
			defer func() { c.sel = asked }()
			c.sel = weighed
			return render(entries.at(i))
		},
	}
}

// weighed selects the properties that $filter, $orderby and $search look at, of those that
// lists return.
func (c *call) weighed(of *entityType) selection {
	sel := selection{}
	see := func(path string) {
		name, _, _ := strings.Cut(strings.ToLower(path), "/")
		if p, known := of.properties[name]; known && p.kind != navigationProperty && !p.single {
			sel[name] = true
		}
	}
	c.filter.eachPath(see)
	for _, by := range c.order {
		see(by.path)
	}
	for _, term := range searchTerms(c.search) {
		see(term.property)
	}
	return sel
}

// renderUser writes a user; removed ones as delta does. Without $select there are eleven
// properties ("List users").
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
	for _, name := range []string{"jobTitle", "mobilePhone", "officeLocation", "preferredLanguage"} {
		o.raw(name, "null")
	}
	if o.sel != nil {
		c.renderUserMore(o, e)
	}
	c.expandEntry(o, "memberOf", func() roll { return rollOfRefs(c.t.memberOf(e, false)) })
	return o.done()
}

// renderUserMore writes what is returned only when it is selected.
func (c *call) renderUserMore(o *object, e *entry) {
	o.str("mailNickname", e.alias)
	o.str("userType", "Member")
	o.boolean("accountEnabled", !e.shared && e.purpose == "")
	o.raw("usageLocation", `"DE"`)
	o.instant("createdDateTime", e.created())
	for _, name := range []string{"onPremisesSyncEnabled", "deletedDateTime", "department", "employeeId", "externalUserState",
		"preferredDataLocation", "showInAddressList", "isResourceAccount", "signInActivity"} {
		o.raw(name, "null")
	}
	o.strings("otherMails", nil)
	if o.sel.has("proxyAddresses") {
		o.strings("proxyAddresses", []string{"SMTP:" + c.t.principalName(e)})
	}
	plans, licenses, provisioned := "[]", "[]", "[]"
	if e.licensed {
		plans, licenses = licensedPlans, licensedLicenses
		provisioned = `[{"capabilityStatus":"Enabled","provisioningStatus":"Success","service":"exchange"}]`
	}
	o.raw("assignedPlans", plans)
	o.raw("assignedLicenses", licenses)
	o.raw("provisionedPlans", provisioned)
	for _, name := range []string{"aboutMe", "birthday", "hireDate", "mySite", "preferredName"} {
		if c.single() {
			o.raw(name, "null")
		}
	}
	for _, name := range []string{"interests", "pastProjects", "responsibilities", "schools", "skills"} {
		if c.single() {
			o.raw(name, "[]")
		}
	}
	if c.single() && e.hasMailbox() && o.sel.asked("mailboxSettings") {
		o.raw("mailboxSettings", `{"userPurpose":`+quoted(e.userPurpose())+`,"timeZone":"UTC"}`)
	}
}

// single reports whether the request reads one object.
func (c *call) single() bool { return c.rt != nil && c.rt.takes != nil && c.rt.takes.single }

func removedEntry(e *entry) []byte {
	reason := "changed"
	if e.state == Purged {
		reason = "deleted"
	}
	return []byte(`{"id":` + quoted(e.id) + `,"@removed":{"reason":"` + reason + `"}}`)
}

// maxExpanded is how many related objects $expand returns, without a nextLink ("Use query
// parameters").
const maxExpanded = 20

// expandEntry writes related objects that $expand asked for.
func (c *call) expandEntry(o *object, name string, related func() roll) {
	for _, e := range c.expand {
		if !strings.EqualFold(e.name, name) {
			continue
		}
		list := related()
		sel := parseSelect(e.options.Get("$select"))
		o.always(name)
		o.b = append(o.b, '[')
		for i := range min(list.count, maxExpanded) {
			if i > 0 {
				o.b = append(o.b, ',')
			}
			o.b = append(o.b, c.renderRelated(list.at(i), sel)...)
		}
		o.b = append(o.b, ']')
	}
}

// renderRelated writes a user or group with its type.
func (c *call) renderRelated(e *entry, sel selection) []byte {
	asked, expand := c.sel, c.expand
	defer func() { c.sel, c.expand = asked, expand }()
	c.sel, c.expand = sel, nil
	kind, render := "user", c.renderUser
	if e.isGroup {
		kind, render = "group", c.renderGroup
	}
	if e.state != Active {
		// A soft-deleted member is listed still.
		return []byte(`{"@odata.type":"#microsoft.graph.` + kind + `","id":` + quoted(e.id) + `}`)
	}
	return append([]byte(`{"@odata.type":"#microsoft.graph.`+kind+`",`), render(e)[1:]...)
}

func getUser(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	e := c.t.userByKey(c.param("user"))
	if e == nil {
		return directoryNotFound(c.param("user"))
	}
	return c.entity(http.StatusOK, c.renderUser(e))
}

func usersDelta(c *call) error {
	for name := range c.sel {
		if userType.properties[name].single {
			// Changes of what is stored elsewhere are not tracked.
			return fail(http.StatusNotImplemented, "NotImplemented", "Property '%s' cannot be tracked by delta.", name)
		}
	}
	return c.directoryDelta(&c.t.users, c.renderUser)
}
