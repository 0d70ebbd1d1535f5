package graphsim

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

var rolesManageSites = []string{"Sites.Manage.All", "Sites.FullControl.All"}

func listRoutes() []route {
	const one, item = "sites/{site}/lists/{list}", "sites/{site}/lists/{list}/items/{row}"
	op := func(method, pattern string, units int, roles []string, handle func(*call) error, options ...string) route {
		return route{method: method, pattern: pattern, service: sharePoint, units: units, roles: roles,
			takes: takes(nil, options...), handle: handle}
	}
	return []route{
		op("GET", "sites/{site}/lists", 2, rolesSites, listLists, "$select", "$expand", "$top", "$skiptoken"),
		op("POST", "sites/{site}/lists", 2, rolesManageSites, createList),
		op("GET", one, 1, rolesSites, getList, "$select", "$expand"),
		op("PATCH", one, 2, rolesManageSites, patchList),
		op("DELETE", one, 2, rolesManageSites, deleteList),
		op("GET", one+"/drive", 1, rolesFiles, getListDrive, "$select"),
		op("GET", one+"/columns", 2, rolesSites, listColumns, "$select", "$top", "$skiptoken"),
		op("POST", one+"/columns", 2, rolesManageSites, createColumn),
		op("GET", one+"/columns/{column}", 1, rolesSites, getColumn, "$select"),
		op("PATCH", one+"/columns/{column}", 2, rolesManageSites, patchColumn),
		op("DELETE", one+"/columns/{column}", 2, rolesManageSites, deleteColumn),
		op("GET", one+"/contentTypes", 2, rolesSites, listContentTypes, "$select"),
		op("GET", one+"/items", 2, rolesSites, listItems, "$select", "$expand", "$top", "$skiptoken"),
		op("POST", one+"/items", 2, rolesSitesWrite, createItem),
		op("GET", one+"/items/delta", 2, rolesSites, itemsDelta, "token", "$deltatoken", "$skiptoken", "$select", "$expand", "$top"),
		op("GET", item, 1, rolesSites, getListItem, "$select", "$expand"),
		op("DELETE", item, 2, rolesSitesWrite, deleteListItem),
		op("GET", item+"/fields", 1, rolesSites, getFields, "$select"),
		op("PATCH", item+"/fields", 2, rolesSitesWrite, patchFields),
		op("GET", item+"/versions", 2, rolesSites, listItemVersions, "$select", "$expand", "$top", "$skiptoken"),
	}
}

var rolesSitesWrite = []string{"Sites.ReadWrite.All", "Sites.Manage.All", "Sites.FullControl.All"}

// withStore calls do with the lists and pages of the site of a request.
func (c *call) withStore(do func(*siteStore) error) error {
	site, err := c.ownSite()
	if err != nil {
		return err
	}
	st, err := c.t.openSite(site.id)
	if err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return do(st)
}

func (c *call) withList(do func(*siteStore, *list) error) error {
	return c.withStore(func(st *siteStore) error {
		l, err := st.find(c.param("list"))
		if err != nil {
			return err
		}
		return do(st, l)
	})
}

func (c *call) withRow(do func(*siteStore, *list, *listItem) error) error {
	return c.withList(func(st *siteStore, l *list) error {
		item, err := l.item(c.param("row"))
		if err != nil {
			return err
		}
		return do(st, l, item)
	})
}

func (c *call) renderList(st *siteStore, l *list) []byte {
	o := newObject(c.sel)
	o.str("id", l.id)
	o.str("name", l.name)
	o.str("displayName", l.name)
	o.str("description", l.description)
	o.instant("createdDateTime", l.created)
	o.instant("lastModifiedDateTime", l.modified)
	host, _, _ := strings.Cut(st.site.id, ",")
	o.str("webUrl", "https://"+host+"/"+st.site.path+"/Lists/"+l.id)
	o.raw("list", `{"template":`+quoted(l.template)+`,"hidden":`+strconv.FormatBool(l.hidden)+`,"contentTypesEnabled":false}`)
	if l.system {
		o.raw("system", "{}")
	}
	if c.expands("columns") {
		o.always("columns")
		o.b = append(o.b, '[')
		for i, col := range l.columns {
			if i > 0 {
				o.b = append(o.b, ',')
			}
			o.b = append(o.b, col.render(nil)...)
		}
		o.b = append(o.b, ']')
	}
	return o.done()
}

// listLists leaves the system lists out unless the property system is selected.
func listLists(c *call) error {
	return c.withStore(func(st *siteStore) error {
		shown := slices.DeleteFunc(slices.Clone(st.lists), func(l *list) bool { return l.system && !c.sel.asked("system") })
		return c.skipPage(len(shown), c.pageSize(200, 1000), "$skiptoken", func(i int) []byte { return c.renderList(st, shown[i]) })
	})
}

func getList(c *call) error {
	return c.withList(func(st *siteStore, l *list) error { return c.json(http.StatusOK, c.renderList(st, l)) })
}

// listRequest is the body of a request on a list.
type listRequest struct {
	Name        string                       `json:"displayName"`
	Description *string                      `json:"description"`
	Columns     []map[string]json.RawMessage `json:"columns"`
	List        struct {
		Template string `json:"template"`
		Hidden   bool   `json:"hidden"`
	} `json:"list"`
}

func createList(c *call) error {
	var in listRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	columns := []*column{textColumn("Title")}
	for _, raw := range in.Columns {
		col, err := readColumn(raw)
		if err != nil {
			return err
		}
		columns = append(columns, col)
	}
	setDefault(&in.List.Template, "genericList")
	return c.withStore(func(st *siteStore) error {
		switch {
		case in.Name == "":
			return fail(http.StatusBadRequest, "invalidRequest", "displayName is required.")
		case slices.ContainsFunc(st.lists, func(l *list) bool { return strings.EqualFold(l.name, in.Name) }):
			return nameAlreadyExists()
		case in.List.Template == "documentLibrary":
			return fail(http.StatusNotImplemented, "notSupported", "Libraries are not created here.")
		}
		l := st.addList(in.Name, in.List.Template, time.Now().UTC().Truncate(time.Second))
		l.id, l.hidden = newID(), in.List.Hidden
		if in.Description != nil {
			l.description = *in.Description
		}
		for _, col := range columns {
			l.addColumn(col)
		}
		return c.json(http.StatusCreated, c.renderList(st, l))
	})
}

func patchList(c *call) error {
	var in listRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withList(func(st *siteStore, l *list) error {
		if in.Name != "" {
			l.name = in.Name
		}
		if in.Description != nil {
			l.description = *in.Description
		}
		l.modified = time.Now().UTC().Truncate(time.Second)
		return c.json(http.StatusOK, c.renderList(st, l))
	})
}

func deleteList(c *call) error {
	return c.withList(func(st *siteStore, l *list) error {
		if l.drive != "" || l.system {
			return fail(http.StatusForbidden, "accessDenied", "This list cannot be deleted.")
		}
		st.lists = slices.DeleteFunc(st.lists, func(other *list) bool { return other == l })
		return c.empty(http.StatusNoContent)
	})
}

func getListDrive(c *call) error {
	id := ""
	if err := c.withList(func(_ *siteStore, l *list) error { id = l.drive; return nil }); err != nil {
		return err
	}
	c.t.mu.RLock()
	site, lib := c.t.libraryByDrive(id)
	c.t.mu.RUnlock()
	if site == nil {
		return itemNotFound()
	}
	return c.answerDrive(site, lib)
}

func (col *column) render(sel selection) []byte {
	o := newObject(sel)
	o.str("id", col.id)
	o.str("name", col.name)
	o.boolean("readOnly", col.readOnly)
	o.boolean("hidden", false)
	for _, name := range slices.Sorted(maps.Keys(col.definition)) {
		o.raw(name, string(col.definition[name]))
	}
	return o.done()
}

func listColumns(c *call) error {
	return c.withList(func(_ *siteStore, l *list) error {
		return c.skipPage(len(l.columns), c.pageSize(200, 1000), "$skiptoken", func(i int) []byte { return l.columns[i].render(c.sel) })
	})
}

func createColumn(c *call) error {
	raw := map[string]json.RawMessage{}
	if err := c.decode(&raw); err != nil {
		return err
	}
	col, err := readColumn(raw)
	if err != nil {
		return err
	}
	return c.withList(func(_ *siteStore, l *list) error {
		if l.column(col.name) != nil {
			return nameAlreadyExists()
		}
		l.addColumn(col)
		return c.json(http.StatusCreated, col.render(nil))
	})
}

// withColumn calls do with the column of a request, by its ID or name.
func (c *call) withColumn(do func(*list, *column) error) error {
	return c.withList(func(_ *siteStore, l *list) error {
		for _, col := range l.columns {
			if col.id == c.param("column") || col.name == c.param("column") {
				return do(l, col)
			}
		}
		return itemNotFound()
	})
}

func getColumn(c *call) error {
	return c.withColumn(func(_ *list, col *column) error { return c.json(http.StatusOK, col.render(c.sel)) })
}

func patchColumn(c *call) error {
	raw := map[string]json.RawMessage{}
	if err := c.decode(&raw); err != nil {
		return err
	}
	return c.withColumn(func(_ *list, col *column) error {
		for name, value := range raw {
			if slices.Contains(columnKinds, name) && name != col.kind {
				return fail(http.StatusBadRequest, "invalidRequest", "The type of a column cannot be changed.")
			}
			if name != "id" && name != "name" && name != "readOnly" && name != "hidden" {
				col.definition[name] = value
			}
		}
		return c.json(http.StatusOK, col.render(nil))
	})
}

func deleteColumn(c *call) error {
	return c.withColumn(func(l *list, col *column) error {
		if col.name == "Title" {
			return fail(http.StatusForbidden, "accessDenied", "This column cannot be deleted.")
		}
		l.columns = slices.DeleteFunc(l.columns, func(other *column) bool { return other == col })
		return c.empty(http.StatusNoContent)
	})
}

// The content types of lists and their well-known IDs.
const (
	itemTypeID   = "0x01"
	fileTypeID   = "0x0101"
	folderTypeID = "0x0120"
)

func listContentTypes(c *call) error {
	return c.withList(func(_ *siteStore, l *list) error {
		types := [][2]string{{itemTypeID, "Item"}, {folderTypeID, "Folder"}}
		if l.drive != "" {
			types[0] = [2]string{fileTypeID, "Document"}
		}
		types = append(types, l.ownTypes()...)
		return c.skipPage(len(types), 200, "$skiptoken", func(i int) []byte {
			o := newObject(c.sel)
			o.str("id", types[i][0])
			o.str("name", types[i][1])
			o.boolean("hidden", false)
			return o.done()
		})
	})
}

// ownTypes are the content types that a list has besides the usual ones: those of its items.
func (l *list) ownTypes() (types [][2]string) {
	names := map[string]bool{}
	for _, item := range l.items {
		if item.contentType != "" && !names[item.contentType] {
			names[item.contentType] = true
			types = append(types, [2]string{item.typeID(), item.contentType})
		}
	}
	return types
}

func (i *listItem) typeName() string { return cmp.Or(i.contentType, "Item") }

func (i *listItem) typeID() string {
	if i.contentType == "" {
		return itemTypeID
	}
	return itemTypeID + "00" + strings.ToUpper(strings.ReplaceAll(guid(mixString('t', i.contentType)), "-", ""))
}

// fieldSelection is the $select inside $expand=fields(...), and whether fields are
// expanded at all: without it an item shows no values ("List items").
func (c *call) fieldSelection() (selection, bool) {
	for _, e := range c.expand {
		if strings.EqualFold(e.name, "fields") {
			return parseSelect(e.options.Get("$select")), true
		}
	}
	return nil, false
}

func (c *call) renderRow(st *siteStore, l *list, item *listItem) []byte {
	o := newObject(c.sel)
	o.str("id", strconv.Itoa(item.id))
	o.raw("contentType", `{"id":"`+item.typeID()+`","name":`+quoted(item.typeName())+`}`)
	if item.deleted {
		o.always("deleted")
		o.b = append(o.b, `{"state":"deleted"}`...)
		return o.done()
	}
	o.str("@odata.etag", item.etag())
	o.str("eTag", item.etag())
	o.instant("createdDateTime", item.created)
	o.instant("lastModifiedDateTime", item.modified)
	host, _, _ := strings.Cut(st.site.id, ",")
	o.str("webUrl", "https://"+host+"/"+st.site.path+"/Lists/"+l.id+"/"+strconv.Itoa(item.id)+"_.000")
	o.raw("createdBy", st.identity(item.author))
	o.raw("lastModifiedBy", st.identity(item.editor))
	ids := strings.Split(st.site.id, ",")
	o.raw("parentReference", `{"id":"`+l.id+`","siteId":`+quoted(st.site.id)+`}`)
	if c.sel.asked("sharepointIds") {
		o.raw("sharepointIds", `{"listId":"`+l.id+`","listItemId":"`+strconv.Itoa(item.id)+`","siteId":"`+ids[1]+`","webId":"`+ids[2]+`"}`)
	}
	if sel, wanted := c.fieldSelection(); wanted {
		o.always("fields")
		o.b = append(o.b, renderFields(item, item.fields, sel)...)
	}
	return o.done()
}

func (st *siteStore) identity(set string) string {
	if set != "" {
		return set
	}
	return `{"user":{"displayName":` + quoted(st.site.name) + `}}`
}

func renderFields(item *listItem, fields map[string]json.RawMessage, sel selection) []byte {
	o := newObject(sel)
	o.str("@odata.etag", item.etag())
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		o.raw(name, string(fields[name]))
	}
	o.str("id", strconv.Itoa(item.id))
	o.str("ContentType", item.typeName())
	return o.done()
}

func listItems(c *call) error {
	return c.withList(func(st *siteStore, l *list) error {
		if l.drive != "" {
			return fail(http.StatusNotImplemented, "notSupported", "The items of a library are read through its drive.")
		}
		shown := slices.DeleteFunc(slices.Clone(l.items), func(item *listItem) bool { return item.deleted })
		return c.skipPage(len(shown), c.pageSize(200, 1000), "$skiptoken", func(i int) []byte { return c.renderRow(st, l, shown[i]) })
	})
}

func getListItem(c *call) error {
	return c.withRow(func(st *siteStore, l *list, item *listItem) error {
		return c.json(http.StatusOK, c.renderRow(st, l, item))
	})
}

func createItem(c *call) error {
	var in struct {
		Fields map[string]json.RawMessage `json:"fields"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withList(func(st *siteStore, l *list) error {
		if l.drive != "" {
			return fail(http.StatusBadRequest, "invalidRequest", "Files are created in the drive of a library.")
		}
		if err := st.check(l, in.Fields, nil); err != nil {
			return err
		}
		if in.Fields == nil {
			in.Fields = map[string]json.RawMessage{}
		}
		maps.DeleteFunc(in.Fields, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
		item := l.add(in.Fields, time.Now().UTC().Truncate(time.Second))
		item.author, item.editor = c.application(), c.application()
		c.expand = []expansion{{name: "fields"}}
		return c.json(http.StatusCreated, c.renderRow(st, l, item))
	})
}

func getFields(c *call) error {
	return c.withRow(func(_ *siteStore, _ *list, item *listItem) error {
		return c.json(http.StatusOK, renderFields(item, item.fields, c.sel))
	})
}

func patchFields(c *call) error {
	fields := map[string]json.RawMessage{}
	if err := c.decode(&fields); err != nil {
		return err
	}
	return c.withRow(func(st *siteStore, l *list, item *listItem) error {
		if err := c.rowUnchanged(item); err != nil {
			return err
		}
		if err := st.check(l, fields, item); err != nil {
			return err
		}
		l.edit(item, fields, c.s.o.SharePoint.VersionLimit)
		item.editor = c.application()
		return c.json(http.StatusOK, renderFields(item, item.fields, nil))
	})
}

func (c *call) rowUnchanged(item *listItem) error {
	if match := c.r.Header.Get("If-Match"); match != "" && match != "*" && match != item.etag() {
		return fail(http.StatusPreconditionFailed, "resourceModified", "The resource has changed since the caller last read it.").
			withInner("entityTagDoesNotMatch")
	}
	return nil
}

func deleteListItem(c *call) error {
	return c.withRow(func(_ *siteStore, l *list, item *listItem) error {
		if err := c.rowUnchanged(item); err != nil {
			return err
		}
		l.remove(item)
		return c.empty(http.StatusNoContent)
	})
}

func listItemVersions(c *call) error {
	return c.withRow(func(st *siteStore, _ *list, item *listItem) error {
		all := append(slices.Clone(item.history), itemVersion{item.revision, item.fields, item.modified, item.editor})
		slices.Reverse(all)
		return c.skipPage(len(all), c.pageSize(200, 1000), "$skiptoken", func(i int) []byte {
			o := newObject(c.sel)
			o.str("id", strconv.Itoa(all[i].revision)+".0")
			o.instant("lastModifiedDateTime", all[i].modified)
			o.raw("lastModifiedBy", st.identity(all[i].editor))
			if _, wanted := c.fieldSelection(); wanted {
				o.always("fields")
				o.b = append(o.b, renderFields(item, all[i].fields, nil)...)
			}
			return o.done()
		})
	})
}

// itemsDelta tracks the items of a list ("listItem: delta").
func itemsDelta(c *call) error {
	return c.withList(func(st *siteStore, l *list) error {
		if l.drive != "" {
			return fail(http.StatusBadRequest, "invalidRequest", "Parameter 'DeltaToken' not supported for this request.")
		}
		c.bake(nil, "$expand")
		src := deltaSource{collection: l.id, generation: l.generation, log: &l.log,
			list: func(after uint64, limit int) (items [][]byte, reached uint64, more bool) {
				for reached = after; reached < uint64(len(l.items)); reached++ {
					if len(items) == limit {
						return items, reached, true
					}
					if item := l.items[reached]; !item.deleted {
						items = append(items, c.renderRow(st, l, item))
					}
				}
				return items, reached, false
			},
			render: func(ids []string) (items [][]byte) {
				for _, id := range ids {
					n, _ := strconv.Atoi(id)
					items = append(items, c.renderRow(st, l, l.items[n-1]))
				}
				return items
			},
		}
		stale := staleDrive
		if l.keepBoth {
			stale = staleKeepBoth
		}
		return c.deltaPage(src, deltaOptions{nextParam: "token", deltaParam: "token", pageSize: c.pageSize(200, 1000), stale: stale})
	})
}
