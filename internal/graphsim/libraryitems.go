package graphsim

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func libraryItemRoutes() []route {
	return driveItemRoutes(
		driveOperation{"GET", 1, rolesSites, []string{"$select", "$expand"}}.at("listItem", getItemRow),
		driveOperation{"GET", 1, rolesSites, []string{"$select"}}.at("listItem/fields", getItemFields),
		driveWrite("PATCH", rolesSitesWrite).at("listItem/fields", patchItemFields),
	)
}

// libraryListID is the ID of the list that a library of a site is.
func libraryListID(t *Tenant, site string, library int) string {
	return guid(mix(mixString(t.seed, "lists/"+site), 'l', uint64(library)))
}

// inList reports whether an item is a row of its library's list: all are but the root.
func (d *drive) inList(item *driveItem) bool { return item != d.root }

// The custom columns of libraries, as far as TenantSpec.LibraryColumns wants them, by name. The last looks items of
// the site's first list up, where there is one.
var libraryColumns = []struct{ name, kind, facet string }{
	{"Client", "text", `{}`},
	{"Amount", "number", `{"decimalPlaces":"two"}`},
	{"Status", "choice", `{"choices":["draft","signed"]}`},
	{"Reviewed", "dateTime", `{"format":"dateOnly"}`},
	{"Approved", "boolean", `{}`},
	{"Related", "lookup", ""},
}

// hasColumns reports whether a library of the site has custom columns.
func (t *Tenant) hasColumns(site *entry, lib library) bool {
	return t.spec.LibraryColumns > 0 && site.owner == "" && !lib.system && lib.number != pagesLibrary
}

// seedLibraryColumns gives the libraries of the site their custom columns.
func (st *siteStore) seedLibraryColumns() {
	for i, lib := range st.t.librariesOf(st.site) {
		if !st.t.hasColumns(st.site, lib) {
			continue
		}
		for _, c := range libraryColumns[:min(st.t.spec.LibraryColumns, len(libraryColumns))] {
			facet := c.facet
			if c.kind == "lookup" {
				at := slices.IndexFunc(st.lists, func(l *list) bool { return l.drive == "" && !l.system })
				if at < 0 {
					continue
				}
				facet = `{"listId":"` + st.lists[at].id + `","columnName":"Title"}`
			}
			st.lists[i].addColumn(&column{name: c.name, kind: c.kind, definition: map[string]json.RawMessage{
				"displayName": json.RawMessage(quoted(c.name)), c.kind: json.RawMessage(facet)}})
		}
	}
}

// seedValues gives an item values in the custom columns of its library; every fourth has none.
func (d *drive) seedValues(item *driveItem) {
	if !d.t.hasColumns(d.site, d.lib) || item.number%4 == 0 {
		return
	}
	r := newRand(mix(d.seed, 'v', item.number))
	item.fields = map[string]json.RawMessage{}
	for _, c := range libraryColumns[:min(d.t.spec.LibraryColumns, len(libraryColumns))] {
		if r.IntN(5) == 0 {
			continue
		}
		if c.kind == "lookup" {
			if d.t.spec.Lists*d.t.spec.ListItems > 0 {
				item.fields[c.name+"LookupId"] = json.RawMessage(quoted(strconv.Itoa(1 + r.IntN(d.t.spec.ListItems))))
			}
			continue
		}
		item.fields[c.name] = seedValue(r, c.kind)
	}
}

func seedValue(r *rand.Rand, kind string) json.RawMessage {
	switch kind {
	case "number":
		return json.RawMessage(strconv.Itoa(r.IntN(100_000)))
	case "choice":
		return json.RawMessage(quoted(pick(r, []string{"draft", "signed"})))
	case "dateTime":
		return json.RawMessage(quoted(formatTime(epoch.AddDate(0, 0, r.IntN(90)).Truncate(24 * time.Hour))))
	case "boolean":
		return json.RawMessage(strconv.FormatBool(r.IntN(2) == 0))
	}
	return json.RawMessage(quoted(sentence(r, 2)))
}

// libraryFields are the values of a file in the list that its library is.
func (d *drive) libraryFields(item *driveItem, sel selection) []byte {
	o := newObject(sel)
	o.str("@odata.etag", item.etag())
	for _, name := range slices.Sorted(maps.Keys(item.fields)) {
		o.raw(name, string(item.fields[name]))
	}
	o.str("FileLeafRef", item.name)
	o.str("id", strconv.FormatUint(item.number, 10))
	_, kind := item.typeOfContent()
	o.str("ContentType", kind)
	return o.done()
}

// typeOfContent is the ID and the name of an item's content type. Those of types that somebody made begin with the ID of
// the one they are made from.
func (i *driveItem) typeOfContent() (id, name string) {
	id, name = fileTypeID, "Document"
	if i.isContainer() {
		id, name = folderTypeID, "Folder"
	}
	if i.contentType != "" {
		seed := uint64(0)
		for _, b := range []byte(i.contentType) {
			seed = mix(seed, uint64(b))
		}
		id, name = id+"00"+strings.ToUpper(strings.ReplaceAll(guid(seed), "-", "")), i.contentType
	}
	return id, name
}

// renderItemRow shows a file as the row of its library's list ("driveItem resource type").
func (c *call) renderItemRow(d *drive, item *driveItem) []byte {
	o := newObject(c.sel)
	o.str("@odata.etag", item.etag())
	o.str("id", strconv.FormatUint(item.number, 10))
	o.str("eTag", item.etag())
	o.instant("createdDateTime", item.created)
	o.instant("lastModifiedDateTime", item.touched)
	kind, name := item.typeOfContent()
	o.raw("contentType", `{"id":"`+kind+`","name":`+quoted(name)+`}`)
	o.raw("sharepointIds", d.sharePointIDs(item))
	if sel, wanted := c.fieldSelection(); wanted {
		o.always("fields")
		o.b = append(o.b, d.libraryFields(item, sel)...)
	}
	return o.done()
}

// withRowOf calls do with the item of the request, which is a row of a list.
func (c *call) withRowOf(do func(*drive, *driveItem) error) error {
	return c.withItem(func(d *drive, item *driveItem) error {
		if !d.inList(item) {
			return itemNotFound()
		}
		return do(d, item)
	})
}

func getItemRow(c *call) error {
	return c.withRowOf(func(d *drive, item *driveItem) error { return c.json(http.StatusOK, c.renderItemRow(d, item)) })
}

func getItemFields(c *call) error {
	return c.withRowOf(func(d *drive, item *driveItem) error { return c.json(http.StatusOK, d.libraryFields(item, c.sel)) })
}

// patchItemFields sets values of a file in the columns of its library's list. That the file counts as modified then is
// not documented: the harsher reading.
func patchItemFields(c *call) error {
	values := map[string]json.RawMessage{}
	if err := c.decode(&values); err != nil {
		return err
	}
	if err := c.t.checkFileFields(c.param("drive"), values); err != nil {
		return err
	}
	return c.withRowOf(func(d *drive, item *driveItem) error {
		if err := c.unchanged(item); err != nil {
			return err
		}
		d.setFields(item, values, c.application())
		return c.json(http.StatusOK, d.libraryFields(item, nil))
	})
}

// checkFileFields refuses values that do not belong to the columns of a library.
func (t *Tenant) checkFileFields(drive string, values map[string]json.RawMessage) error {
	t.mu.Lock() // a site that is named by itself is kept
	site, lib := t.libraryByDrive(drive)
	t.mu.Unlock()
	if site == nil {
		return itemNotFound()
	}
	return t.withSite(site.id, func(st *siteStore) error {
		l, err := st.find(libraryListID(t, site.id, lib.number))
		if err != nil {
			return err
		}
		return st.check(l, values, nil)
	})
}

// setFields changes values of an item; null takes one away.
func (d *drive) setFields(item *driveItem, values map[string]json.RawMessage, editor string) {
	merged := maps.Clone(item.fields)
	if merged == nil {
		merged = map[string]json.RawMessage{}
	}
	maps.Copy(merged, values)
	maps.DeleteFunc(merged, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	item.fields, item.editor = merged, editor
	item.modified = time.Now().UTC().Truncate(time.Second)
	d.note(item)
}

// SetFileFields changes values of a file or folder in the columns of its library; nil takes one away. Errors: a
// path that is not there, a value that does not fit.
func (t *Tenant) SetFileFields(owner, path string, values map[string]any) error {
	fields, err := rawFields(values)
	if err != nil {
		return err
	}
	d, err := t.openDrive(owner)
	if err != nil {
		return err
	}
	if err := t.checkFileFields(d.id, fields); err != nil {
		return err
	}
	return t.withPath(d.id, path, func(d *drive, item *driveItem) error {
		if !d.inList(item) {
			return itemNotFound()
		}
		d.setFields(item, fields, "")
		return nil
	})
}

// SetContentType gives a file or folder a content type of a library's own, by its name; "" the usual one. Error: a path
// that is not there.
func (t *Tenant) SetContentType(owner, path, name string) error {
	d, err := t.openDrive(owner)
	if err != nil {
		return err
	}
	return t.withPath(d.id, path, func(d *drive, item *driveItem) error {
		if !d.inList(item) {
			return itemNotFound()
		}
		item.contentType = name
		d.setFields(item, nil, "")
		return nil
	})
}
