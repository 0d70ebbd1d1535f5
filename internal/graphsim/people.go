package graphsim

import (
	"fmt"
	"slices"
)

// UserInfo is a user as tests want to know it.
type UserInfo struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	PrincipalName string `json:"principalName"`
	State         State  `json:"state"`
	Mailbox       bool   `json:"mailbox"`
	Drive         string `json:"drive,omitempty"` // drive ID, "" when there is none
}

// GroupInfo is a group; Drive is the library of its site.
type GroupInfo struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	State   State  `json:"state"`
	Unified bool   `json:"unified"`
	Team    bool   `json:"team"`
	Site    string `json:"site,omitempty"`
	Drive   string `json:"drive,omitempty"`
	// What kind of group it is, as Graph shows it: mailEnabled, securityEnabled, and that a rule says who is in it.
	Mail, Secures, Dynamic bool `json:"-"`
}

// SiteInfo is a site; Owner is the user of a personal one, Group the group of a
// group's.
type SiteInfo struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	State State  `json:"state"`
	Owner string `json:"owner,omitempty"`
	Group string `json:"group,omitempty"`
	// Parent is the site that a subsite is below.
	Parent string `json:"-"`
	Drive  string `json:"drive"`
}

// Users returns all users by age, the removed ones too.
func (t *Tenant) Users() []UserInfo {
	t.purgeExpired()
	t.mu.RLock()
	defer t.mu.RUnlock()
	list := make([]UserInfo, 0, t.users.size())
	for e := range t.users.all() {
		list = append(list, t.userInfo(e))
	}
	return list
}

func (t *Tenant) userInfo(e *entry) UserInfo {
	return UserInfo{ID: e.id, Name: e.name, PrincipalName: t.principalName(e), State: e.state,
		Mailbox: e.hasMailbox(), Drive: driveIDOf(e.site)}
}

// Groups returns all groups by age, the removed ones too.
func (t *Tenant) Groups() []GroupInfo {
	t.purgeExpired()
	t.mu.RLock()
	defer t.mu.RUnlock()
	list := make([]GroupInfo, 0, t.groups.size())
	for e := range t.groups.all() {
		list = append(list, GroupInfo{ID: e.id, Name: e.name, State: e.state, Unified: e.unified, Team: e.team, Mail: e.mailed, Secures: e.secures, Dynamic: e.dynamic,
			Site: e.site, Drive: driveIDOf(e.site)})
	}
	return list
}

// Sites returns all sites by age, the removed and the personal ones too.
func (t *Tenant) Sites() []SiteInfo {
	t.purgeExpired()
	t.mu.RLock()
	defer t.mu.RUnlock()
	list := make([]SiteInfo, 0, t.sites.size())
	for e := range t.sites.all() {
		list = append(list, siteInfo(e))
	}
	return list
}

// addedSites returns the sites that are not personal ones from the seed.
func (t *Tenant) addedSites() (list []SiteInfo) {
	t.purgeExpired()
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, e := range t.sites.added {
		list = append(list, siteInfo(e))
	}
	return list
}

func siteInfo(e *entry) SiteInfo {
	return SiteInfo{ID: e.id, Name: e.name, State: e.state, Owner: e.owner, Group: e.group, Parent: e.parent, Drive: driveIDOf(e.id)}
}

// NewUser adds a licensed user with an empty mailbox and an empty drive. "" makes a name.
func (t *Tenant) NewUser(name string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.addUser()
	if name != "" {
		e.name = name
	}
	t.users.log.note(e.id)
	t.sites.log.note(e.site)
	t.mailboxes[e.id] = newEmptyMailbox(t, e)
	site := t.sites.find(e.site)
	t.drives[driveIDOf(e.site)] = newDrive(t, site, t.librariesOf(site)[defaultLibrary], 0)
	return e.id, nil
}

// DeleteUser deletes a user softly: it can be restored.
func (t *Tenant) DeleteUser(id string) error { return t.turn(&t.users, id, Deleted, Active) }

// RestoreUser brings a softly deleted user back, with the same ID.
func (t *Tenant) RestoreUser(id string) error { return t.turn(&t.users, id, Active, Deleted) }

// PurgeUser removes a user for good; the personal site goes with it.
func (t *Tenant) PurgeUser(id string) error { return t.turn(&t.users, id, Purged, Active, Deleted) }

// NewGroup adds a Microsoft 365 group with a site.
func (t *Tenant) NewGroup(name string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.addGroup(name, true)
	t.groups.log.note(e.id)
	t.sites.log.note(e.site)
	return e.id, nil
}

// DeleteGroup deletes a group: a Microsoft 365 group softly, another for good.
func (t *Tenant) DeleteGroup(id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	to := Deleted
	if e := t.groups.find(id); e != nil && !e.unified {
		to = Purged
	}
	return t.turnLocked(&t.groups, id, to, Active)
}

// RestoreGroup brings a softly deleted group back.
func (t *Tenant) RestoreGroup(id string) error { return t.turn(&t.groups, id, Active, Deleted) }

// PurgeGroup removes a group for good.
func (t *Tenant) PurgeGroup(id string) error { return t.turn(&t.groups, id, Purged, Active, Deleted) }

// NewSite adds a team site with an empty library.
func (t *Tenant) NewSite(name string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.addSite(name, nil, nil)
	t.sites.log.note(e.id)
	t.drives[driveIDOf(e.id)] = newDrive(t, e, t.librariesOf(e)[defaultLibrary], 0)
	return e.id, nil
}

// DeleteSite deletes a site: the delta says so, and it can be read by its ID until its
// time (Options.Retention) ends or it is purged.
func (t *Tenant) DeleteSite(id string) error { return t.turn(&t.sites, id, Deleted, Active) }

// RestoreSite brings a deleted site back.
func (t *Tenant) RestoreSite(id string) error { return t.turn(&t.sites, id, Active, Deleted) }

// PurgeSite removes a site for good.
func (t *Tenant) PurgeSite(id string) error { return t.turn(&t.sites, id, Purged, Active, Deleted) }

func (t *Tenant) turn(d *directory, id string, to State, from ...State) error {
	t.purgeExpired()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.turnLocked(d, id, to, from...)
}

// turnLocked changes the state of an object, and of its site where that follows: a
// group's site lives and dies with the group, a user's is deleted when the user is purged.
func (t *Tenant) turnLocked(d *directory, id string, to State, from ...State) error {
	var in []*entry
	if e := d.find(id); e != nil && to == Purged && d != &t.sites {
		in = slices.DeleteFunc(slices.Clone(t.groups.added), func(g *entry) bool { return !t.isMember(g, t.refOf(e)) })
	}
	if err := d.move(id, to, from...); err != nil {
		return err
	}
	e := d.find(id)
	if to == Deleted {
		t.keepUntil(d, e)
	}
	for _, g := range in {
		t.groups.log.note(memberChange(g.id, e.id)) // only now: a soft deletion ends no membership
	}
	site := t.sites.find(e.site)
	switch {
	case site == nil || (d == &t.users && to != Purged):
		return nil
	case to == Active && site.state == Deleted:
		return t.turnLocked(&t.sites, site.id, Active, Deleted)
	case to == Purged && d == &t.groups && site.state != Purged:
		return t.turnLocked(&t.sites, site.id, Purged, Active, Deleted)
	case to != Active && site.state == Active:
		return t.turnLocked(&t.sites, site.id, Deleted, Active)
	}
	return nil
}

// EditUser renames a user.
func (t *Tenant) EditUser(id, name string) error { return t.rename(&t.users, id, name) }

func (t *Tenant) rename(d *directory, id, name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := d.active(id)
	if e == nil {
		return fmt.Errorf("graphsim: %s %s is not active", d.name, id)
	}
	e.name = name
	properties := []string{"displayName"}
	if d == &t.users {
		properties = append(properties, "givenName", "surname")
	}
	for _, property := range properties {
		d.log.note(propertyChange(e.id, property))
	}
	return nil
}

// Members returns the object IDs of a group's direct members, softly deleted users
// included: their membership ends when they are purged. Errors: an unknown group.
func (t *Tenant) Members(group string) ([]string, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := t.groups.find(group)
	if e == nil {
		return nil, fmt.Errorf("graphsim: no group %q", group)
	}
	list := []string{}
	for _, m := range t.members(e) {
		list = append(list, m.entry().id)
	}
	return list, nil
}
