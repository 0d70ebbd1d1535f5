package graphsim

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// driveOperation is what routes of drives have in common.
type driveOperation struct {
	method string
	units  int
	roles  []string
	// options are the query options it takes.
	options []string
}

// driveRead reads one object, or a list, and takes the options of either.
func driveRead(units int) driveOperation {
	options := []string{"$select"}
	if units > 1 {
		options = append(options, "$top", "$skiptoken")
	}
	return driveOperation{"GET", units, rolesFiles, options}
}

func driveWrite(method string, roles []string, options ...string) driveOperation {
	return driveOperation{method, 2, roles, options}
}

// and is the operation with further options.
func (op driveOperation) and(options ...string) driveOperation {
	op.options = append(slices.Clone(op.options), options...)
	return op
}

// without is the operation without options.
func (op driveOperation) without() driveOperation {
	op.options = nil
	return op
}

// at makes a route with a pattern.
func (op driveOperation) at(pattern string, handle func(*call) error) route {
	return route{method: op.method, pattern: pattern, service: sharePoint, units: op.units, roles: op.roles,
		takes: takes(nil, op.options...), handle: handle}
}

// driveItemRoutes makes each route, whose pattern begins behind an item, reachable
// by the item's ID and by path. The pattern "" is the item itself.
func driveItemRoutes(list ...route) []route {
	var both []route
	for _, rt := range list {
		suffix := rt.pattern
		for _, base := range []string{"drives/{drive}/items/{item}", "drives/{drive}/items/{item}/@path"} {
			rt.pattern = strings.TrimSuffix(base+"/"+suffix, "/")
			both = append(both, rt)
		}
	}
	return both
}

func driveRoutes() []route {
	one, many := driveRead(1), driveRead(2)
	return append([]route{
		one.at("users/{user}/drive", getOwnDrive), many.at("users/{user}/drives", listDrives),
		one.at("groups/{group}/drive", getOwnDrive), many.at("groups/{group}/drives", listDrives),
		one.at("sites/{site}/drive", getOwnDrive), many.at("sites/{site}/drives", listDrives),
		one.at("drives/{drive}", getDrive),
		many.and("token", "$deltatoken", "$expand").at("drives/{drive}/items/{item}/delta", driveDelta),
	}, driveItemRoutes(
		one.and("$expand").at("", getItem),
		many.and("$expand", "$orderby", "$filter").at("children", listChildren),
		one.without().at("content", getContent),
	)...)
}

// resolveDrive replaces users/{id}/drive/..., groups/... and sites/... by the
// drive itself, and root by the item of that name.
func (t *Tenant) resolveDrive(segments []string) ([]string, error) {
	if len(segments) > 3 && (segments[0] == "users" || segments[0] == "groups" || segments[0] == "sites") {
		switch {
		case strings.EqualFold(segments[2], "drive"):
			site, err := t.librarySite(segments[0], segments[1])
			if err != nil {
				return nil, err
			}
			segments = append([]string{"drives", driveIDOf(site.id)}, segments[3:]...)
		case strings.EqualFold(segments[2], "drives"):
			segments = append([]string{"drives"}, segments[3:]...)
		}
	}
	if len(segments) > 2 && segments[0] == "drives" && segments[2] == "root" {
		segments = append([]string{"drives", segments[1], "items"}, segments[2:]...)
	}
	return segments, nil
}

// librarySite returns the site whose library belongs to an owner, or Graph's
// answer for one that has none.
func (t *Tenant) librarySite(kind, id string) (*entry, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var site *entry
	switch kind {
	case "users":
		e := t.userByKey(id)
		if e == nil {
			return nil, directoryNotFound(id)
		}
		// Without a user, Graph does not provision a drive: it is just not there.
		if site = t.sites.find(e.site); site == nil {
			missing := fail(http.StatusNotFound, "ResourceNotFound", "User's mysite not found.")
			missing.probe = true
			return nil, missing
		}
	case "groups":
		e := t.groups.active(id)
		if e == nil {
			return nil, directoryNotFound(id)
		}
		site = t.sites.find(e.site)
	default:
		if site = t.sites.find(id); id == "root" {
			site = t.rootSite()
		}
	}
	if site == nil || site.state != Active {
		return nil, fail(http.StatusNotFound, "itemNotFound", "Requested site could not be found")
	}
	return site, nil
}

func (c *call) ownSite() (*entry, error) {
	for param, kind := range map[string]string{"user": "users", "group": "groups", "site": "sites"} {
		if id := c.param(param); id != "" {
			return c.t.librarySite(kind, id)
		}
	}
	return nil, itemNotFound()
}

// answerDrive writes one library of a site.
func (c *call) answerDrive(site *entry, lib library) error {
	c.t.mu.Lock()
	d := c.t.driveOf(site, lib)
	c.t.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	return c.json(http.StatusOK, c.renderDrive(d))
}

func getOwnDrive(c *call) error {
	site, err := c.ownSite()
	if err != nil {
		return err
	}
	return c.answerDrive(site, c.t.librariesOf(site)[defaultLibrary])
}

// listDrives lists the libraries of a site; system libraries only when the property
// system is asked for (List drives).
func listDrives(c *call) error {
	site, err := c.ownSite()
	if err != nil {
		return err
	}
	var shown []*drive
	c.t.mu.Lock()
	for _, lib := range c.t.librariesOf(site) {
		if !lib.system || c.sel.asked("system") {
			shown = append(shown, c.t.driveOf(site, lib))
		}
	}
	c.t.mu.Unlock()
	return c.skipPage(len(shown), c.pageSize(200, 1000), "$skiptoken", func(i int) []byte {
		shown[i].mu.Lock()
		defer shown[i].mu.Unlock()
		return c.renderDrive(shown[i])
	})
}

func getDrive(c *call) error {
	d, err := c.lockDrive()
	if err != nil {
		return err
	}
	defer d.mu.Unlock()
	return c.json(http.StatusOK, c.renderDrive(d))
}

func (c *call) renderDrive(d *drive) []byte {
	owner := `{"group":{"id":` + quoted(d.site.group) + `,"displayName":` + quoted(d.site.name) + `}}`
	switch {
	case d.site.owner != "":
		owner = `{"user":{"id":` + quoted(d.site.owner) + `,"displayName":` + quoted(d.site.name) + `}}`
	case d.site.group == "":
		owner = `{}`
	}
	o := newObject(c.sel)
	o.str("id", d.id)
	o.str("driveType", d.kind())
	o.str("name", d.lib.name)
	o.str("description", "")
	o.instant("createdDateTime", d.site.created())
	o.instant("lastModifiedDateTime", d.lastModified())
	o.str("webUrl", d.webURL())
	o.raw("owner", owner)
	o.raw("quota", d.quotaFacet())
	if c.sel.asked("sharePointIds") {
		o.raw("sharePointIds", d.sharePointIDs(nil))
	}
	if d.lib.system {
		o.raw("system", "{}")
	}
	return o.done()
}

// kind is the driveType: business for the OneDrive of a user.
func (d *drive) kind() string {
	if d.site.owner != "" {
		return "business"
	}
	return "documentLibrary"
}

func (d *drive) host() string {
	host, _, _ := strings.Cut(d.site.id, ",")
	return host
}

func (d *drive) webURL() string { return "https://" + d.host() + "/" + d.site.path + "/" + d.lib.path }

func (d *drive) lastModified() (latest time.Time) {
	for _, item := range d.order {
		if item.touched.After(latest) {
			latest = item.touched
		}
	}
	return latest
}

// listID is the ID of the list that is this library.
func (d *drive) listID() string { return libraryListID(d.t, d.site.id, d.lib.number) }

// sharePointIDs is how SharePoint names the library, and an item of it.
func (d *drive) sharePointIDs(item *driveItem) string {
	ids := strings.Split(d.site.id, ",")
	o := newObject(nil)
	o.str("siteId", ids[1])
	o.str("webId", ids[2])
	o.str("siteUrl", "https://"+d.host()+"/"+d.site.path)
	o.str("listId", d.listID())
	if item != nil {
		o.str("listItemId", strconv.FormatUint(item.number, 10))
		o.str("listItemUniqueId", guid(mix(d.seed, item.number)))
	}
	o.str("tenantId", d.t.id)
	return string(o.done())
}

// defaultQuota is the size of a drive in bytes unless TenantSpec.DriveQuota says another.
const defaultQuota = 1 << 40

func (d *drive) quota() (total, used int64) {
	total = defaultQuota
	if d.t.spec.DriveQuota > 0 {
		total = d.t.spec.DriveQuota
	}
	for _, item := range d.order {
		if !item.deleted && item.isFile() {
			used += item.data.size()
		}
	}
	return total, used
}

func (d *drive) quotaFacet() string {
	total, used := d.quota()
	state := "normal"
	switch left := total - used; {
	case left <= 0:
		state = "exceeded"
	case left < total/100:
		state = "critical"
	case left < total/10:
		state = "nearing"
	}
	o := newObject(nil)
	o.num("deleted", 0)
	o.num("remaining", max(0, total-used))
	o.str("state", state)
	o.num("total", total)
	o.num("used", used)
	return string(o.done())
}

// room refuses bytes that the drive has no place for.
func (d *drive) room(size int64) error {
	if total, used := d.quota(); used+size > total {
		return fail(http.StatusInsufficientStorage, "quotaLimitReached", "The drive has reached its quota.")
	}
	return nil
}

// lockDrive returns the drive a request names, locked. The drive of a softly
// deleted user stays readable; that of a purged one, or of a deleted site, is gone.
func (c *call) lockDrive() (*drive, error) {
	c.t.mu.Lock()
	site, lib := c.t.libraryByDrive(c.param("drive"))
	if site == nil || site.state != Active {
		c.t.mu.Unlock()
		return nil, itemNotFound()
	}
	d := c.t.driveOf(site, lib)
	c.t.mu.Unlock()
	d.mu.Lock()
	return d, nil
}

// withItem calls do with the item of the request, under the drive's lock.
func (c *call) withItem(do func(*drive, *driveItem) error) error {
	d, err := c.lockDrive()
	if err != nil {
		return err
	}
	defer d.mu.Unlock()
	item, err := c.base(d)
	if err != nil {
		return err
	}
	if item = item.at(c.param("@path")); item == nil {
		return itemNotFound()
	}
	return do(d, item)
}

// base is the item that the path of the request starts from.
func (c *call) base(d *drive) (*driveItem, error) {
	if c.param("item") == "root" {
		return d.root, nil
	}
	item := d.items[c.param("item")]
	if item == nil || item.deleted {
		return nil, itemNotFound()
	}
	return item, nil
}

// pathOf is an item's place as parentReference writes it.
func (d *drive) pathOf(item *driveItem) string {
	p := "/drives/" + d.id + "/root:"
	if below := item.path(); below != "" {
		p += "/" + (&url.URL{Path: below}).EscapedPath()
	}
	return p
}
