package graphsim

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// itemView is how a request wants items shown.
type itemView struct {
	sel   selection
	delta bool // without cTag and path, as OneDrive for Business does
	// hierarchical is Prefer: hierarchicalsharing.
	hierarchical bool
	// marked, if not nil, says whether an item is shown because its permissions changed.
	marked func(*driveItem) bool
}

func (c *call) renderItem(d *drive, item *driveItem, v itemView) []byte {
	o := newObject(v.sel)
	if item.deleted {
		o.raw("@odata.type", `"#microsoft.graph.driveItem"`)
		o.str("id", item.id)
		o.always("deleted")
		o.b = append(o.b, `{"state":"deleted"}`...)
		o.raw("parentReference", d.parentReference(item, v.delta))
		return o.done()
	}
	if item.isFile() && (v.sel == nil || v.sel.asked("@microsoft.graph.downloadUrl") || v.sel.asked("content.downloadUrl")) {
		o.str("@microsoft.graph.downloadUrl", c.downloadURL(d, item, ""))
	}
	if v.marked != nil && v.marked(item) {
		o.str("@microsoft.graph.sharedChanged", "True")
	}
	o.instant("createdDateTime", item.created)
	if !v.delta && item.isFile() {
		o.str("cTag", item.ctag())
	}
	o.str("eTag", item.etag())
	o.str("id", item.id)
	o.instant("lastModifiedDateTime", item.touched)
	o.str("name", item.name)
	o.str("webUrl", d.webURL()+"/"+(&url.URL{Path: item.path()}).EscapedPath())
	o.num("size", item.totalSize())
	o.raw("createdBy", d.identity(item.author))
	o.raw("lastModifiedBy", d.identity(item.editor))
	o.raw("parentReference", d.parentReference(item, v.delta))
	d.renderFacets(o, item)
	if facet := d.sharedFacet(item, v.hierarchical); facet != "" {
		o.raw("shared", facet)
	}
	return c.expandItem(o, d, item)
}

// renderFacets writes what kind of item this is. A file that cannot be read (of a
// corpus that went away) has no hash, which Graph allows.
func (d *drive) renderFacets(o *object, item *driveItem) {
	times := newObject(nil)
	times.instant("createdDateTime", item.created)
	times.instant("lastModifiedDateTime", item.modified)
	o.raw("fileSystemInfo", string(times.done()))
	if item.description != "" {
		o.str("description", item.description)
	}
	if o.sel.asked("sharepointIds") {
		o.raw("sharepointIds", d.sharePointIDs(item))
	}
	switch {
	case item == d.root:
		o.raw("folder", fmt.Sprintf(`{"childCount":%d}`, len(item.children)))
		o.raw("root", "{}")
	case item.remote != nil:
		o.raw("remoteItem", item.remote.facet())
	case item.pkg != "":
		o.raw("package", `{"type":`+quoted(item.pkg)+`}`)
	case item.isFolder():
		o.raw("folder", fmt.Sprintf(`{"childCount":%d}`, len(item.children)))
	default:
		d.renderFile(o, item)
	}
}

func (d *drive) renderFile(o *object, item *driveItem) {
	if o.sel.asked("publication") {
		o.raw("publication", publication(item.edition))
	}
	if item.malware != "" {
		o.raw("malware", `{"description":`+quoted(item.malware)+`}`)
	}
	if !o.sel.has("file") {
		return
	}
	hashes := "{}"
	if !d.t.s.o.SharePoint.LateHashes || item.read {
		if item.fingerprint() == nil {
			hashes = `{"quickXorHash":"` + item.quickXor + `"}`
		}
	}
	o.raw("file", `{"mimeType":`+quoted(mimeType(item.name))+`,"hashes":`+hashes+`}`)
}

// expandItem adds the relations that $expand names and ends the object.
func (c *call) expandItem(o *object, d *drive, item *driveItem) []byte {
	for _, relation := range c.expand {
		switch strings.ToLower(relation.name) {
		case "permissions":
			parts := []string{}
			for _, p := range d.permissionsOf(item) {
				parts = append(parts, string(c.withSelection(nil).renderPermission(d, item, p)))
			}
			o.always("permissions")
			o.b = append(o.b, "["+strings.Join(parts, ",")+"]"...)
		case "children":
			parts := []string{}
			for _, child := range item.sorted() {
				parts = append(parts, string(c.withSelection(nil).renderItem(d, child, itemView{})))
			}
			o.always("children")
			o.b = append(o.b, "["+strings.Join(parts, ",")+"]"...)
		case "listitem":
			if d.inList(item) {
				o.always("listItem")
				o.b = append(o.b, relation.inside(c).renderItemRow(d, item)...)
			}
		}
	}
	return o.done()
}

// inside is the call as a relation sees it whose own relations may be expanded, too.
func (e expansion) inside(c *call) *call {
	inner := c.withSelection(parseSelect(e.options.Get("$select")))
	for _, name := range strings.Split(e.options.Get("$expand"), ",") {
		if name != "" {
			inner.expand = append(inner.expand, expansion{name: strings.TrimSpace(name), options: url.Values{}})
		}
	}
	return inner
}

// withSelection is the call as an expanded relation sees it: with another $select
// and without $expand.
func (c *call) withSelection(sel selection) *call {
	inner := *c
	inner.sel, inner.expand = sel, nil
	return &inner
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

func (i *driveItem) ctag() string { return fmt.Sprintf(`"c:{%s},%d"`, i.id, i.edition+1) }

// isAt reports whether an If-Match or If-None-Match header names the item's state,
// by its eTag or, of a file, its cTag.
func (i *driveItem) isAt(header string) bool {
	return header == "*" || header == i.etag() || (i.isFile() && header == i.ctag())
}

// unchanged refuses a request whose If-Match is not the item's state, or whose
// If-None-Match is.
func (c *call) unchanged(item *driveItem) error {
	match, none := c.r.Header.Get("If-Match"), c.r.Header.Get("If-None-Match")
	if (match != "" && !item.isAt(match)) || (none != "" && item.isAt(none)) {
		return fail(http.StatusPreconditionFailed, "resourceModified", "The resource has changed since the caller last read it.").
			withInner("entityTagDoesNotMatch")
	}
	return nil
}

func (i *driveItem) totalSize() int64 {
	if i.isFile() {
		return i.data.size()
	}
	var sum int64
	for _, child := range i.children {
		sum += child.totalSize()
	}
	return sum
}

func (d *drive) parentReference(item *driveItem, delta bool) string {
	o := newObject(nil)
	o.str("driveType", d.kind())
	o.str("driveId", d.id)
	if item.parent != nil {
		o.str("id", item.parent.id)
		if !delta {
			o.str("path", d.pathOf(item.parent))
		}
		o.str("siteId", strings.Split(d.site.id, ",")[1])
	}
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
		if !item.isContainer() {
			return c.page(nil, "", "")
		}
		list := item.sorted()
		return c.list(listing{count: len(list), usual: 200, most: 1000,
			render: func(i int) []byte { return c.renderItem(d, list[i], itemView{sel: c.sel}) },
			full:   func(i int) []byte { return c.withSelection(nil).renderItem(d, list[i], itemView{}) }})
	})
}

func getContent(c *call) error {
	return c.withFile(func(d *drive, item *driveItem) error {
		if match := c.r.Header.Get("If-None-Match"); match != "" && item.isAt(match) {
			return c.empty(http.StatusNotModified)
		}
		return c.redirectTo(d, item, "")
	})
}

// redirectTo answers with the pre-authenticated URL of a file, or of one of its
// old versions.
func (c *call) redirectTo(d *drive, item *driveItem, version string) error {
	if refused := c.s.unreadable(item); refused != nil {
		return refused
	}
	c.w.Header().Set("Location", c.downloadURL(d, item, version))
	return c.empty(http.StatusFound)
}
