package graphsim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// permission is a direct grant or a sharing link of an item, inherited by what is
// below it.
type permission struct {
	id    string
	roles []string
	// Links: type is view, edit or embed, scope anonymous, organization or users.
	linkType, linkScope string
	// Grants: one user or group; links of scope users: those who may use them.
	grantees []grantee
	expires  *time.Time
	password bool
}

// grantee is who is given something: a user or group of the directory, or somebody
// outside it known by address.
type grantee struct {
	kind, id, name, mail string
}

func (g grantee) identity() string {
	o := newObject(nil)
	if g.id != "" {
		o.str("id", g.id)
	}
	o.str("displayName", g.name)
	if g.mail != "" {
		o.str("email", g.mail)
	}
	return `{"` + g.kind + `":` + string(o.done()) + `}`
}

// effective returns what holds for an item: its own permissions and those it
// inherits, each with the item it stands on, the nearest first.
func (i *driveItem) effective() (list []heldPermission) {
	for at := i; at != nil; at = at.parent {
		for _, p := range at.grants {
			list = append(list, heldPermission{p, at})
		}
		if at.unique {
			break
		}
	}
	return list
}

type heldPermission struct {
	*permission
	on *driveItem
}

// sharing is the facet that tells of an item's permissions: "" when there are none.
func (d *drive) sharing(held []heldPermission) string {
	scope := ""
	for _, p := range held {
		switch {
		case p.linkScope == "anonymous":
			scope = "anonymous"
		case p.linkScope == "organization" && scope != "anonymous":
			scope = "organization"
		case scope == "":
			scope = "users"
		}
	}
	if scope == "" {
		return ""
	}
	return `{"scope":"` + scope + `","owner":` + d.identity("") + `}`
}

// sharedFacet is the shared facet as a request wants it. Under hierarchicalsharing
// only the root and items with permissions of their own carry it, empty where there
// is nothing to tell (driveItem: delta).
func (d *drive) sharedFacet(item *driveItem, hierarchical bool) string {
	own := item == d.root || item.unique || len(item.grants) > 0
	if hierarchical && !own {
		return ""
	}
	facet := d.sharing(item.effective())
	if facet == "" && hierarchical {
		return "{}"
	}
	return facet
}

// permissionsChanged tells the log that an item's permissions changed.
func (d *drive) permissionsChanged(item *driveItem) {
	item.sharingChanged = d.log.position() + 1
	d.note(item)
}

func (d *drive) grant(item *driveItem, p *permission) *permission {
	p.id = newID()
	item.grants = append(item.grants, p)
	d.permissionsChanged(item)
	return p
}

// breakInheritance copies what an item inherits to itself, or drops it, so that it
// stands alone from now on.
func (d *drive) breakInheritance(item *driveItem, keep bool) {
	if item.unique || item.parent == nil {
		return
	}
	if keep {
		for _, held := range item.parent.effective() {
			copied := *held.permission
			copied.id = newID()
			item.grants = append(item.grants, &copied)
		}
	}
	item.unique = true
	d.permissionsChanged(item)
}

func permissionRoutes() []route {
	list, one := driveRead(5), driveRead(1)
	one.units = 5
	write := func(method string) driveOperation {
		op := driveWrite(method, rolesFilesWrite)
		op.units = 5
		return op
	}
	return driveItemRoutes(
		list.at("permissions", listPermissions),
		one.at("permissions/{permission}", getPermission),
		write("DELETE").at("permissions/{permission}", deletePermission),
		write("POST").at("invite", invite),
		write("POST").at("createLink", createLink),
	)
}

// renderPermission writes a permission. Secrets of links are only for those who may
// create them (driveItem: list permissions).
func (c *call) renderPermission(d *drive, item *driveItem, p heldPermission) []byte {
	secrets := slices.ContainsFunc(rolesFilesWrite, func(role string) bool { return slices.Contains(c.roles, role) })
	o := newObject(c.sel)
	o.str("id", p.id)
	o.strings("roles", p.roles)
	if p.linkType != "" {
		link := newObject(nil)
		link.str("type", p.linkType)
		link.str("scope", p.linkScope)
		if secrets {
			link.str("webUrl", c.linkURL(d, p))
		}
		link.boolean("preventsDownload", false)
		o.raw("link", string(link.done()))
		if secrets {
			o.str("shareId", "u!"+p.id)
		}
		o.boolean("hasPassword", p.password)
		o.raw("grantedToIdentitiesV2", identities(p.grantees))
	} else if len(p.grantees) == 1 {
		o.raw("grantedToV2", p.grantees[0].identity())
	}
	if p.expires != nil {
		o.instant("expirationDateTime", *p.expires)
	}
	if p.on != item {
		o.raw("inheritedFrom", c.inheritedFrom(d, p.on))
	}
	return o.done()
}

func (c *call) inheritedFrom(d *drive, on *driveItem) string {
	o := newObject(nil)
	o.str("driveId", d.id)
	o.str("id", on.id)
	o.str("path", d.pathOf(on))
	return string(o.done())
}

func identities(list []grantee) string {
	parts := make([]string, len(list))
	for i, g := range list {
		parts[i] = g.identity()
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// ownerPermission is what the owner of a drive holds on all of it.
func (d *drive) ownerPermission() heldPermission {
	g := grantee{kind: "user", id: d.site.owner, name: d.site.name}
	if d.site.owner == "" {
		g = grantee{kind: "group", id: d.site.group, name: d.site.name + " Owners"}
	}
	return heldPermission{&permission{id: "owner", roles: []string{"owner"}, grantees: []grantee{g}}, d.root}
}

func (d *drive) permissionsOf(item *driveItem) []heldPermission {
	return append([]heldPermission{d.ownerPermission()}, item.effective()...)
}

func (d *drive) findPermission(item *driveItem, id string) (heldPermission, error) {
	for _, p := range d.permissionsOf(item) {
		if p.id == id {
			return p, nil
		}
	}
	return heldPermission{}, itemNotFound()
}

func listPermissions(c *call) error {
	return c.withItem(func(d *drive, item *driveItem) error {
		list := d.permissionsOf(item)
		return c.skipPage(len(list), c.pageSize(200, 1000), "$skiptoken", func(i int) []byte {
			return c.renderPermission(d, item, list[i])
		})
	})
}

func getPermission(c *call) error {
	return c.withItem(func(d *drive, item *driveItem) error {
		p, err := d.findPermission(item, c.param("permission"))
		if err != nil {
			return err
		}
		return c.json(http.StatusOK, c.renderPermission(d, item, p))
	})
}

func deletePermission(c *call) error {
	return c.withItem(func(d *drive, item *driveItem) error {
		p, err := d.findPermission(item, c.param("permission"))
		if err != nil {
			return err
		}
		if p.on != item || p.id == "owner" {
			return fail(http.StatusForbidden, "accessDenied", "An inherited permission is deleted where it stands.")
		}
		d.ungrant(item, p.id)
		return c.empty(http.StatusNoContent)
	})
}

func (d *drive) ungrant(item *driveItem, id string) {
	item.grants = slices.DeleteFunc(item.grants, func(p *permission) bool { return p.id == id })
	d.permissionsChanged(item)
}

// invitee is one of those an invitation is for.
type invitee struct {
	Email    string `json:"email"`
	Alias    string `json:"alias"`
	ObjectID string `json:"objectId"`
}

func invite(c *call) error {
	var in struct {
		Recipients []invitee  `json:"recipients"`
		Roles      []string   `json:"roles"`
		Retain     *bool      `json:"retainInheritedPermissions"`
		Send       bool       `json:"sendInvitation"`
		Expires    *time.Time `json:"expirationDateTime"`
		Password   string     `json:"password"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if len(in.Recipients) == 0 || len(in.Roles) == 0 || slices.ContainsFunc(in.Roles, unknownRole) {
		return fail(http.StatusBadRequest, "invalidRequest", "recipients and roles (read, write or owner) are required.")
	}
	people := make([]grantee, len(in.Recipients))
	for i, r := range in.Recipients {
		var err error
		if people[i], err = c.resolve(r); err != nil {
			return err
		}
	}
	if err := c.sendsOutside(in.Send, people); err != nil {
		return err
	}
	return c.withItem(func(d *drive, item *driveItem) error {
		if in.Retain != nil && !*in.Retain {
			d.breakInheritance(item, false)
		}
		granted := make([][]byte, len(people))
		for i, who := range people {
			p := d.grant(item, &permission{roles: in.Roles, grantees: []grantee{who}, expires: in.Expires, password: in.Password != ""})
			granted[i] = c.renderPermission(d, item, heldPermission{p, item})
		}
		if in.Send {
			d.invitations += len(people)
		}
		return c.page(granted, "", "")
	})
}

func unknownRole(role string) bool { return !slices.Contains([]string{"read", "write", "owner"}, role) }

// resolve finds a invitee in the directory. One that is not there can be invited
// by address where the tenant shares outside.
func (c *call) resolve(r invitee) (grantee, error) {
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	for _, key := range []string{r.ObjectID, r.Email, r.Alias} {
		if key == "" {
			continue
		}
		if e := c.t.userByKey(key); e != nil {
			return grantee{kind: "user", id: e.id, name: e.name, mail: c.t.principalName(e)}, nil
		}
		if e := c.t.groups.active(key); e != nil {
			return grantee{kind: "group", id: e.id, name: e.name}, nil
		}
	}
	if r.ObjectID == "" && strings.Contains(r.Email, "@") && c.s.o.SharePoint.ExternalSharing {
		return grantee{kind: "user", name: r.Email, mail: r.Email}, nil
	}
	return grantee{}, fail(http.StatusBadRequest, "invalidRequest", "One or more users could not be resolved.").withInner("noResolvedUsers")
}

func createLink(c *call) error {
	var in struct {
		Type     string     `json:"type"`
		Scope    string     `json:"scope"`
		Password string     `json:"password"`
		Expires  *time.Time `json:"expirationDateTime"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	setDefault(&in.Scope, "organization")
	switch {
	case !slices.Contains([]string{"view", "edit", "embed"}, in.Type):
		return fail(http.StatusBadRequest, "invalidRequest", "The type of a link is view, edit or embed.")
	case !slices.Contains([]string{"anonymous", "organization", "users"}, in.Scope):
		return fail(http.StatusBadRequest, "invalidRequest", "The scope of a link is anonymous, organization or users.")
	case in.Scope == "anonymous" && !c.s.o.SharePoint.ExternalSharing:
		return fail(http.StatusForbidden, "accessDenied", "Sharing outside the organization is off.").withInner("sharingDisabled")
	}
	return c.withItem(func(d *drive, item *driveItem) error {
		for _, p := range item.grants {
			if p.linkType == in.Type && p.linkScope == in.Scope && in.Scope != "users" {
				return c.json(http.StatusOK, c.renderPermission(d, item, heldPermission{p, item}))
			}
		}
		if in.Scope == "anonymous" {
			if err := c.linksAnonymously(d); err != nil {
				return err
			}
		}
		p := d.grant(item, &permission{roles: linkRoles(in.Type), linkType: in.Type, linkScope: in.Scope,
			expires: in.Expires, password: in.Password != ""})
		return c.json(http.StatusCreated, c.renderPermission(d, item, heldPermission{p, item}))
	})
}

func linkRoles(kind string) []string {
	if kind == "edit" {
		return []string{"write"}
	}
	return []string{"read"}
}
