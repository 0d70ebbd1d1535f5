package graphsim

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
)

func driveRoutes() []route {
	const item = "drives/{drive}/items/{item}"
	read := func(pattern string, units int, handle func(*call) error) route {
		return route{method: "GET", pattern: pattern, service: sharePoint, units: units, roles: rolesFiles, handle: handle}
	}
	return []route{
		read("users/{user}/drive", 1, getOwnDrive), read("users/{user}/drives", 2, listDrives),
		read("groups/{group}/drive", 1, getOwnDrive), read("groups/{group}/drives", 2, listDrives),
		read("sites/{site}/drive", 1, getOwnDrive), read("sites/{site}/drives", 2, listDrives),
		read("drives/{drive}", 1, getDrive),
		read(item, 1, getItem), read(item+"/@path", 1, getItem),
		read(item+"/children", 2, listChildren), read(item+"/@path/children", 2, listChildren),
		read(item+"/content", 1, getContent), read(item+"/@path/content", 1, getContent),
		read(item+"/delta", 2, driveDelta),
	}
}

// resolveDrive replaces users/{id}/drive/..., groups/... and sites/... by the
// drive itself, and root by the item of that name.
func (t *Tenant) resolveDrive(segments []string) ([]string, error) {
	if len(segments) > 3 && strings.EqualFold(segments[2], "drive") {
		switch segments[0] {
		case "users", "groups", "sites":
			site, err := t.librarySite(segments[0], segments[1])
			if err != nil {
				return nil, err
			}
			segments = append([]string{"drives", driveIDOf(site.id)}, segments[3:]...)
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
		if site = t.sites.byID[e.site]; site == nil {
			return nil, fail(http.StatusNotFound, "ResourceNotFound", "User's mysite not found.")
		}
	case "groups":
		e := t.groups.active(id)
		if e == nil {
			return nil, directoryNotFound(id)
		}
		site = t.sites.byID[e.site]
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

func getOwnDrive(c *call) error {
	site, err := c.ownSite()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, c.renderDrive(site))
}

func listDrives(c *call) error {
	site, err := c.ownSite()
	if err != nil {
		return err
	}
	return c.page([][]byte{c.renderDrive(site)}, "", "")
}

func getDrive(c *call) error {
	d, err := c.lockDrive()
	if err != nil {
		return err
	}
	defer d.mu.Unlock()
	return c.json(http.StatusOK, c.renderDrive(d.site))
}

func (c *call) renderDrive(site *entry) []byte {
	kind, owner := "documentLibrary", `{"group":{"id":`+quoted(site.group)+`}}`
	switch {
	case site.owner != "":
		kind, owner = "business", `{"user":{"id":`+quoted(site.owner)+`,"displayName":`+quoted(site.name)+`}}`
	case site.group == "":
		owner = `{}`
	}
	host, _, _ := strings.Cut(site.id, ",")
	o := newObject(c.sel)
	o.str("id", driveIDOf(site.id))
	o.str("driveType", kind)
	o.str("name", "Documents")
	o.instant("createdDateTime", site.created)
	o.instant("lastModifiedDateTime", site.created)
	o.str("webUrl", "https://"+host+"/"+site.path+"/Documents")
	o.raw("owner", owner)
	o.raw("quota", `{"deleted":0,"remaining":1099511627776,"state":"normal","total":1099511627776,"used":0}`)
	return o.done()
}

// lockDrive returns the drive a request names, locked. The drive of a softly
// deleted user stays readable; that of a purged one, or of a deleted site, is gone.
func (c *call) lockDrive() (*drive, error) {
	c.t.mu.Lock()
	site := c.t.libraries[c.param("drive")]
	if site == nil || site.state != Active {
		c.t.mu.Unlock()
		return nil, itemNotFound()
	}
	d := c.t.driveOf(site)
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

// itemView is how a request wants items shown.
type itemView struct {
	sel   selection
	delta bool // without cTag and path, as OneDrive for Business does
}

func (c *call) renderItem(d *drive, item *driveItem, v itemView) []byte {
	o := newObject(v.sel)
	if item.deleted {
		o.str("id", item.id)
		o.raw("@odata.type", `"#microsoft.graph.driveItem"`)
		o.always("deleted")
		o.b = append(o.b, `{"state":"deleted"}`...)
		o.raw("parentReference", d.parentReference(item, v.delta))
		return o.done()
	}
	if !item.isFolder() && (v.sel == nil || v.sel.asked("@microsoft.graph.downloadUrl") || v.sel.asked("content.downloadUrl")) {
		o.str("@microsoft.graph.downloadUrl", c.downloadURL(d, item))
	}
	o.instant("createdDateTime", item.created)
	if !v.delta && !item.isFolder() {
		o.str("cTag", fmt.Sprintf(`"c:{%s},%d"`, item.id, item.edition+1))
	}
	o.str("eTag", item.etag())
	o.str("id", item.id)
	o.instant("lastModifiedDateTime", item.touched)
	o.str("name", item.name)
	o.str("webUrl", "https://"+d.t.personalHost()+"/Documents/"+(&url.URL{Path: item.path()}).EscapedPath())
	o.num("size", item.totalSize())
	o.raw("createdBy", `{"user":{"displayName":`+quoted(d.site.name)+`}}`)
	o.raw("lastModifiedBy", `{"user":{"displayName":`+quoted(d.site.name)+`}}`)
	if item.parent != nil || !v.delta {
		o.raw("parentReference", d.parentReference(item, v.delta))
	} else {
		o.raw("parentReference", `{"driveType":"business","driveId":"`+d.id+`"}`)
	}
	renderFacets(o, item)
	if item == d.root {
		o.raw("root", "{}")
	}
	return o.done()
}

// renderFacets writes what a file or a folder has of its own. A file that cannot
// be read (of a corpus that went away) has no hash, which Graph allows.
func renderFacets(o *object, item *driveItem) {
	times := newObject(nil)
	times.instant("createdDateTime", item.created)
	times.instant("lastModifiedDateTime", item.modified)
	o.raw("fileSystemInfo", string(times.done()))
	if item.isFolder() {
		o.raw("folder", fmt.Sprintf(`{"childCount":%d}`, len(item.children)))
		return
	}
	if !o.sel.has("file") {
		return
	}
	hashes := "{}"
	if item.fingerprint() == nil {
		hashes = `{"quickXorHash":"` + item.quickXor + `"}`
	}
	o.raw("file", `{"mimeType":`+quoted(mimeType(item.name))+`,"hashes":`+hashes+`}`)
}

func mimeType(name string) string {
	for _, kind := range fileKinds {
		if strings.EqualFold(path.Ext(name), kind[0]) {
			return kind[1]
		}
	}
	return "application/octet-stream"
}

func (i *driveItem) etag() string { return fmt.Sprintf(`"{%s},%d"`, i.id, i.revision+1) }

func (i *driveItem) totalSize() int64 {
	if !i.isFolder() {
		return i.data.size()
	}
	var sum int64
	for _, child := range i.children {
		sum += child.totalSize()
	}
	return sum
}

func (d *drive) parentReference(item *driveItem, delta bool) string {
	kind := "documentLibrary"
	if d.site.owner != "" {
		kind = "business"
	}
	o := newObject(nil)
	o.str("driveType", kind)
	o.str("driveId", d.id)
	if item.parent != nil {
		o.str("id", item.parent.id)
		if !delta {
			p := "/drives/" + d.id + "/root:"
			if above := item.parent.path(); above != "" {
				p += "/" + (&url.URL{Path: above}).EscapedPath()
			}
			o.str("path", p)
		}
	}
	o.str("siteId", strings.Split(d.site.id, ",")[1])
	return string(o.done())
}

func getItem(c *call) error {
	return c.withItem(func(d *drive, item *driveItem) error { return c.answerItem(http.StatusOK, d, item) })
}

func (c *call) answerItem(status int, d *drive, item *driveItem) error {
	return c.json(status, c.renderItem(d, item, itemView{sel: c.sel}))
}

func listChildren(c *call) error {
	return c.withItem(func(d *drive, item *driveItem) error {
		if !item.isFolder() {
			return c.page(nil, "", "")
		}
		list := item.sorted()
		return c.skipPage(len(list), c.pageSize(200, 1000), "$skiptoken", func(i int) []byte {
			return c.renderItem(d, list[i], itemView{sel: c.sel})
		})
	})
}

func getContent(c *call) error {
	return c.withItem(func(d *drive, item *driveItem) error {
		if item.isFolder() {
			return fail(http.StatusBadRequest, "invalidRequest", "A folder has no content.")
		}
		if match := c.r.Header.Get("If-None-Match"); match != "" && (match == item.etag() || match == fmt.Sprintf(`"c:{%s},%d"`, item.id, item.edition+1)) {
			return c.empty(http.StatusNotModified)
		}
		c.w.Header().Set("Location", c.downloadURL(d, item))
		return c.empty(http.StatusFound)
	})
}

// driveDelta tracks a drive, from its root only.
func driveDelta(c *call) error {
	d, err := c.lockDrive()
	if err != nil {
		return err
	}
	defer d.mu.Unlock()
	if c.param("item") != "root" && c.param("item") != d.root.id {
		return fail(http.StatusBadRequest, "invalidRequest", "Parameter 'DeltaToken' not supported for this request.")
	}
	show := func(item *driveItem) []byte { return c.renderItem(d, item, itemView{sel: c.sel, delta: true}) }
	src := deltaSource{collection: d.id, generation: d.generation, log: &d.log,
		list: func(after uint64, limit int) (items [][]byte, reached uint64, more bool) {
			for reached = after; reached < uint64(len(d.order)); reached++ {
				if len(items) == limit {
					return items, reached, true
				}
				if item := d.order[reached]; !item.deleted {
					items = append(items, show(item))
				}
			}
			return items, reached, false
		},
		render: func(ids []string) (items [][]byte) {
			for _, item := range d.withAncestors(ids, c.r.Header.Get("deltaExcludeParent") == "") {
				items = append(items, show(item))
			}
			return items
		},
	}
	return c.deltaPage(src, deltaOptions{nextParam: "token", deltaParam: "token", pageSize: c.pageSize(200, 1000), stale: staleDrive})
}

// withAncestors returns changed items, each after its parent chain unless that is
// not wanted, none twice.
func (d *drive) withAncestors(ids []string, ancestors bool) (list []*driveItem) {
	seen := map[*driveItem]bool{}
	var add func(*driveItem)
	add = func(item *driveItem) {
		if item == nil || seen[item] || item.silent {
			return
		}
		seen[item] = true
		if ancestors && !item.deleted {
			add(item.parent)
		}
		list = append(list, item)
	}
	for _, id := range ids {
		add(d.items[id])
	}
	return list
}
