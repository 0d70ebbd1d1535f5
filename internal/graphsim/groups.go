package graphsim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

func groupRoutes() []route {
	one := takesOne(groupType, "$select", "$expand")
	members := takes(nil, relatedOptions...)
	return []route{
		{method: "GET", pattern: "groups", units: 1, roles: rolesGroupList, takes: takes(groupType, listOptions...), handle: listGroups},
		{method: "GET", pattern: "groups/$count", units: 1, roles: rolesGroupList, takes: takes(groupType, "$filter", "$search"), handle: countGroups},
		{method: "GET", pattern: "groups/delta", units: 1, roles: rolesGroupList, takes: takes(groupType, deltaQuery...), handle: groupsDelta},
		{method: "GET", pattern: "groups/{group}", units: 1, roles: rolesGroupList, takes: one, handle: getGroup},
		{method: "GET", pattern: "groups/{group}/members", units: 3, roles: rolesMembers, takes: members, handle: listMembers},
		{method: "GET", pattern: "groups/{group}/members/$count", units: 1, roles: rolesMembers, takes: takes(nil), handle: countMembers},
		{method: "GET", pattern: "groups/{group}/members/microsoft.graph.user", units: 3, roles: rolesMembers, takes: takes(userType, relatedOptions...), handle: listMembers},
		{method: "GET", pattern: "groups/{group}/members/microsoft.graph.group", units: 3, roles: rolesMembers, takes: takes(groupType, relatedOptions...), handle: listMembers},
		{method: "GET", pattern: "groups/{group}/transitiveMembers", units: 5, roles: rolesMembers, takes: members, handle: listTransitiveMembers},
		{method: "GET", pattern: "groups/{group}/owners", units: 1, roles: rolesMembers, takes: members, handle: listOwners},
	}
}

func listGroups(c *call) error { return c.listDirectory(&c.t.groups, c.renderGroup, groupType) }

func countGroups(c *call) error { return c.countDirectory(&c.t.groups, c.renderGroup, groupType) }

func groupsDelta(c *call) error { return c.directoryDelta(&c.t.groups, c.renderGroup) }

// renderGroup writes a group; removed ones as delta does.
func (c *call) renderGroup(e *entry) []byte {
	if e.state != Active {
		return removedEntry(e)
	}
	o := newObject(c.sel)
	o.str("id", e.id)
	o.str("displayName", e.name)
	types, options := []string{}, []string{}
	if e.unified {
		types = append(types, "Unified")
	}
	if e.team {
		options = append(options, "Team")
	}
	if e.dynamic {
		types = append(types, "DynamicMembership")
	}
	o.strings("groupTypes", types)
	o.boolean("mailEnabled", e.mailed)
	o.boolean("securityEnabled", e.secures)
	if e.mailed {
		o.str("mail", e.alias+"@"+c.t.spec.Domain)
		o.strings("proxyAddresses", []string{"SMTP:" + e.alias + "@" + c.t.spec.Domain})
	} else {
		o.raw("mail", "null")
		o.raw("proxyAddresses", "[]")
	}
	o.str("mailNickname", e.alias)
	o.strings("resourceProvisioningOptions", options)
	o.instant("createdDateTime", e.created())
	o.instant("renewedDateTime", e.created())
	o.raw("visibility", `"Private"`)
	for _, name := range []string{"description", "classification", "expirationDateTime", "deletedDateTime", "onPremisesSyncEnabled",
		"preferredDataLocation"} {
		o.raw(name, "null")
	}
	if e.dynamic {
		o.str("membershipRule", `user.accountEnabled -eq true`)
	} else {
		o.raw("membershipRule", "null")
	}
	o.raw("resourceBehaviorOptions", "[]")
	c.renderGroupMore(o, e)
	c.expandEntry(o, "members", func() roll { return rollOfRefs(c.t.members(e)) })
	c.expandEntry(o, "owners", func() roll { return rollOfRefs(c.t.owners(e)) })
	return o.done()
}

// renderGroupMore writes what has to be asked for, some of it of one group only.
func (c *call) renderGroupMore(o *object, e *entry) {
	if c.sel.asked("assignedLabels") {
		o.raw("assignedLabels", "[]")
	}
	if c.sel.asked("uniqueName") {
		o.raw("uniqueName", "null")
	}
	if c.single() && c.sel != nil {
		o.boolean("isArchived", false)
		o.boolean("hideFromAddressLists", false)
		o.boolean("hideFromOutlookClients", e.team)
	}
}

func getGroup(c *call) error {
	return c.withGroup(func(e *entry) error { return c.entity(http.StatusOK, c.renderGroup(e)) })
}

// withGroup calls do with the group of the path.
func (c *call) withGroup(do func(*entry) error) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	e := c.t.groups.active(c.param("group"))
	if e == nil {
		return directoryNotFound(c.param("group"))
	}
	return do(e)
}

// listRelated lists users and groups, of one of the types if the path ends in it.
func (c *call) listRelated(list []ref) error {
	last := c.rt.segments[len(c.rt.segments)-1]
	if kind, cast := strings.CutPrefix(last, "microsoft.graph."); cast {
		list = slices.DeleteFunc(list, func(m ref) bool { return m.kindName() != kind })
	}
	l := c.entryListing(rollOfRefs(list), func(e *entry) []byte { return c.renderRelated(e, c.sel) }, userType)
	weighed := c.weighed(userType)
	l.full = func(i int) []byte { return c.renderRelated(list[i].entry(), weighed) }
	return c.list(l)
}

func listMembers(c *call) error {
	return c.withGroup(func(e *entry) error { return c.listRelated(c.t.members(e)) })
}

func countMembers(c *call) error {
	return c.withGroup(func(e *entry) error { return c.countOf(listing{count: len(c.t.members(e))}) })
}

func listTransitiveMembers(c *call) error {
	return c.withGroup(func(e *entry) error { return c.listRelated(c.t.transitiveMembers(e)) })
}

func listOwners(c *call) error {
	return c.withGroup(func(e *entry) error { return c.listRelated(c.t.owners(e)) })
}

func listMemberOf(c *call) error {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	e := c.t.userByKey(c.param("user"))
	if e == nil {
		return directoryNotFound(c.param("user"))
	}
	return c.listRelated(c.t.memberOf(e, strings.HasPrefix(c.rt.segments[2], "transitive")))
}

// isMember reports whether a user or group belongs to a group: a quarter of all users, by
// the group's ID, and of security groups the one before; changed by AddMember and
// RemoveMember. Users that are purged leave, softly deleted ones stay.
func (t *Tenant) isMember(group *entry, m ref) bool {
	if in, changed := group.membership[m]; changed {
		return in && !m.purged()
	}
	if m.in == &t.groups {
		e := m.entry()
		return !group.unified && !e.unified && e.ordinal+2 == group.ordinal && e.state == Active
	}
	return m.place < t.users.seeded.count && mixString(m.ordinal(), group.id)%4 == 0 && !m.purged()
}

// members returns the direct members of a group.
func (t *Tenant) members(group *entry) (list []ref) {
	for _, d := range []*directory{&t.users, &t.groups} {
		for place := range d.size() {
			if m := (ref{d, place}); t.isMember(group, m) {
				list = append(list, m)
			}
		}
	}
	return list
}

// transitiveMembers are the members and the members of groups among them.
func (t *Tenant) transitiveMembers(group *entry) (list []ref) {
	seen := map[ref]bool{t.refOf(group): true}
	waiting := []*entry{group}
	for len(waiting) > 0 {
		next := waiting[0]
		waiting = waiting[1:]
		for _, m := range t.members(next) {
			if seen[m] {
				continue
			}
			seen[m] = true
			list = append(list, m)
			if m.in == &t.groups {
				waiting = append(waiting, m.entry())
			}
		}
	}
	return list
}

// memberOf returns the groups that a user is in, directly or through other groups.
func (t *Tenant) memberOf(e *entry, transitive bool) (list []ref) {
	m := t.refOf(e)
	for _, g := range t.groups.added {
		if g.state == Active && (t.isMember(g, m) || transitive && slices.Contains(t.transitiveMembers(g), m)) {
			list = append(list, t.refOf(g))
		}
	}
	return list
}

// owners are the first two users of a group.
func (t *Tenant) owners(group *entry) (list []ref) {
	for place := 0; place < t.users.size() && len(list) < 2; place++ {
		if m := (ref{&t.users, place}); t.isMember(group, m) {
			list = append(list, m)
		}
	}
	return list
}

// refOf names a user or group.
func (t *Tenant) refOf(e *entry) ref {
	if e.isGroup {
		return ref{&t.groups, int(e.ordinal) - 1}
	}
	return ref{&t.users, int(e.ordinal) - 1}
}

// memberByID finds what can be a member, whatever its state.
func (t *Tenant) memberByID(id string) (m ref, ok bool) {
	for _, d := range []*directory{&t.users, &t.groups} {
		if place, ok := d.place(id); ok {
			return ref{d, place}, true
		}
	}
	return ref{}, false
}

// AddMember puts a user or group into a group.
func (t *Tenant) AddMember(group, member string) error { return t.setMember(group, member, true) }

// RemoveMember takes a user or group out of a group.
func (t *Tenant) RemoveMember(group, member string) error { return t.setMember(group, member, false) }

func (t *Tenant) setMember(group, member string, in bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.groups.active(group)
	m, ok := t.memberByID(member)
	if g == nil || !ok || m.purged() || m == t.refOf(g) {
		return fmt.Errorf("graphsim: %s cannot be a member of %s", member, group)
	}
	if g.membership == nil {
		g.membership = map[ref]bool{}
	}
	g.membership[m] = in
	t.groups.log.note(memberChange(g.id, m.entry().id))
	return nil
}

// EditGroup renames a group.
func (t *Tenant) EditGroup(id, name string) error { return t.rename(&t.groups, id, name) }

// MakeTeam makes a team of a Microsoft 365 group.
func (t *Tenant) MakeTeam(id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.groups.active(id)
	if e == nil || !e.unified {
		return fmt.Errorf("graphsim: there is no Microsoft 365 group %s", id)
	}
	if e.team {
		return nil
	}
	e.team = true
	t.addChannelSites(e)
	for _, site := range e.channelSites {
		t.sites.log.note(site)
	}
	t.groups.log.note(propertyChange(e.id, "resourceProvisioningOptions"))
	return nil
}
