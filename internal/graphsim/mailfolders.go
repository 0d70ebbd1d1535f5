package graphsim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func mailFolderRoutes() []route {
	return []route{
		{method: "GET", pattern: "users/{user}/mailFolders", service: outlook, roles: rolesMail, handle: listMailFolders},
		{method: "POST", pattern: "users/{user}/mailFolders", service: outlook, roles: rolesMailWrite, handle: createMailFolder},
		{method: "GET", pattern: "users/{user}/mailFolders/delta", service: outlook, roles: rolesMail, handle: mailFoldersDelta},
		{method: "GET", pattern: "users/{user}/mailFolders/{folder}", service: outlook, roles: rolesMail, handle: getMailFolder},
		{method: "PATCH", pattern: "users/{user}/mailFolders/{folder}", service: outlook, roles: rolesMailWrite, handle: patchMailFolder},
		{method: "DELETE", pattern: "users/{user}/mailFolders/{folder}", service: outlook, roles: rolesMailWrite, handle: deleteMailFolder},
		{method: "POST", pattern: "users/{user}/mailFolders/{folder}/move", service: outlook, roles: rolesMailWrite, handle: moveMailFolder},
		{method: "POST", pattern: "users/{user}/mailFolders/{folder}/copy", service: outlook, roles: rolesMailWrite, handle: copyMailFolder},
		{method: "POST", pattern: "users/{user}/mailFolders/{folder}/permanentDelete", service: outlook, roles: rolesMailWrite, handle: purgeMailFolder},
		{method: "GET", pattern: "users/{user}/mailFolders/{folder}/childFolders/delta", service: outlook, roles: rolesMail, handle: childFoldersDelta},
		{method: "GET", pattern: "users/{user}/mailFolders/{folder}/childFolders", service: outlook, roles: rolesMail, handle: listMailFolders},
		{method: "POST", pattern: "users/{user}/mailFolders/{folder}/childFolders", service: outlook, roles: rolesMailWrite, handle: createMailFolder},
	}
}

// folderPageSize is how many folders a list returns by default; Outlook lists
// start at 10.
const folderPageSize = 10

func (b *mailbox) renderFolder(f *mailFolder, sel selection) []byte {
	o := newObject(sel)
	if f.search {
		o.raw("@odata.type", `"#microsoft.graph.mailSearchFolder"`)
	}
	o.str("id", f.id())
	o.str("displayName", f.name)
	if f.parent != nil {
		o.str("parentFolderId", f.parent.id())
	} else {
		o.raw("parentFolderId", "null")
	}
	items := f.items
	if f.search && (sel.has("unreadItemCount") || sel.has("totalItemCount")) {
		items = b.shownIn(f)
	}
	unread := 0
	if sel.has("unreadItemCount") {
		for _, m := range items {
			if !b.isRead(m) {
				unread++
			}
		}
	}
	o.num("childFolderCount", int64(len(b.children(f))))
	o.num("unreadItemCount", int64(unread))
	o.num("totalItemCount", int64(len(items)))
	o.num("sizeInBytes", int64(len(items))*9_000)
	o.boolean("isHidden", f.hidden)
	if f.query != nil {
		f.query.render(o)
	}
	return o.done()
}

// isRead does not generate the message: a folder counts thousands of them.
func (b *mailbox) isRead(m *message) bool {
	if m.own != nil {
		return m.own.isRead
	}
	return b.bornRead(m.number)
}

func listMailFolders(c *call) error {
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	parent := b.wellKnown["msgfolderroot"]
	if id := c.param("folder"); id != "" {
		if parent, err = b.folder(id); err != nil {
			return err
		}
	}
	var list []*mailFolder
	for _, f := range b.children(parent) {
		if !f.hidden || c.query.Get("includeHiddenFolders") == "true" {
			list = append(list, f)
		}
	}
	return c.list(listing{count: len(list), usual: folderPageSize, most: 1000, param: "$skip",
		render: func(i int) []byte { return b.renderFolder(list[i], c.sel) },
		full:   func(i int) []byte { return b.renderFolder(list[i], nil) }})
}

func getMailFolder(c *call) error {
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	f, err := b.folder(c.param("folder"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, b.renderFolder(f, c.sel))
}

// mailFoldersDelta tracks all folders below the root. Whether Microsoft returns the
// root itself and hidden folders is not documented: ExchangeOptions decide, and the
// hidden ones come when asked for.
func mailFoldersDelta(c *call) error { return c.foldersDelta(nil) }

// childFoldersDelta tracks the folders in one; the schema has it, the reference of
// v1.0 does not.
func childFoldersDelta(c *call) error {
	if !c.s.o.Exchange.ChildFoldersDelta {
		return fail(http.StatusBadRequest, "ErrorInvalidUrlQuery", "Change tracking is not supported for child folders.")
	}
	return c.foldersDelta(func(b *mailbox) (*mailFolder, error) { return b.folder(c.param("folder")) })
}

func (c *call) foldersDelta(within func(*mailbox) (*mailFolder, error)) error {
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	if err := b.checkRoom(); err != nil {
		return err
	}
	var parent *mailFolder
	collection := b.owner.id + "/folders"
	if within != nil {
		if parent, err = within(b); err != nil {
			return err
		}
		collection += "/" + parent.id()
	}
	if c.query.Get("includeHiddenFolders") == "true" {
		c.extra = "hidden"
	}
	src := deltaSource{collection: collection, generation: b.generation, log: &b.folderLog,
		list: func(after uint64, limit int) (items [][]byte, reached uint64, more bool) {
			for _, f := range b.order {
				if f.number <= after || !c.tracks(f) || (parent != nil && f.parent != parent) {
					continue
				}
				if len(items) == limit {
					return items, reached, true
				}
				items, reached = append(items, b.renderFolder(f, c.sel)), f.number
			}
			return items, reached, false
		},
		render: func(ids []string) (items [][]byte) {
			for _, id := range ids {
				items = append(items, b.renderFolderChange(c, id, parent))
			}
			return items
		},
	}
	return c.deltaPage(src, deltaOptions{nextParam: "$skiptoken", deltaParam: "$deltatoken", pageSize: c.pageSize(50, 1000), stale: staleDirectory})
}

func (c *call) tracks(f *mailFolder) bool {
	o := c.s.o.Exchange
	return !f.gone && f.visible() && (f.wellKnown != "msgfolderroot" || o.DeltaShowsRoot) && !f.search &&
		(!f.hidden || o.DeltaShowsHidden || c.extra == "hidden")
}

func (b *mailbox) renderFolderChange(c *call, id string, parent *mailFolder) []byte {
	number, _ := strconv.ParseUint(id, 10, 64)
	f := b.folders[number]
	if c.tracks(f) && (parent == nil || f.parent == parent) {
		return b.renderFolder(f, c.sel)
	}
	return []byte(`{"id":` + quoted(f.id()) + `,"@removed":{"reason":"deleted"}}`)
}

func createMailFolder(c *call) error {
	var in struct {
		Type        string `json:"@odata.type"`
		DisplayName string `json:"displayName"`
		IsHidden    bool   `json:"isHidden"`
		searchSpec
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.DisplayName == "" {
		return fail(http.StatusBadRequest, "ErrorInvalidRequest", "The folder has no displayName.")
	}
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	parent := b.wellKnown["msgfolderroot"]
	if id := c.param("folder"); id != "" {
		if parent, err = b.folder(id); err != nil {
			return err
		}
	}
	var query *searchQuery
	if strings.HasSuffix(in.Type, "mailSearchFolder") {
		if query, err = b.newSearch(in.searchSpec); err != nil {
			return err
		}
	}
	f, err := b.addFolder(parent, in.DisplayName, in.IsHidden)
	if err != nil {
		return err
	}
	f.query, f.search = query, query != nil
	return c.json(http.StatusCreated, b.renderFolder(f, nil))
}

func patchMailFolder(c *call) error {
	var in struct {
		DisplayName string `json:"displayName"`
		IsHidden    *bool  `json:"isHidden"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.IsHidden != nil { // once set at creation, it stays ("mailFolder resource type")
		return fail(http.StatusBadRequest, "ErrorInvalidRequest", "Whether a folder is hidden is said when it is made.")
	}
	return c.withFolder(func(b *mailbox, f *mailFolder) error {
		if f.wellKnown != "" || in.DisplayName == "" {
			return fail(http.StatusBadRequest, "ErrorInvalidRequest", "The folder cannot be renamed.")
		}
		if other := b.childNamed(f.parent, in.DisplayName); other != nil && other != f {
			return fail(http.StatusConflict, "ErrorFolderExists", "A folder with the specified name already exists.")
		}
		f.name = in.DisplayName
		b.noteFolder(f)
		return c.json(http.StatusOK, b.renderFolder(f, nil))
	})
}

// deleteMailFolder moves a folder to Deleted Items; from there it goes for good.
func deleteMailFolder(c *call) error {
	return c.withFolder(func(b *mailbox, f *mailFolder) error {
		deleted := b.wellKnown["deleteditems"]
		err := error(nil)
		if f.parent == deleted || b.childNamed(deleted, f.name) != nil {
			err = b.dropFolder(f)
		} else {
			err = b.moveFolder(f, deleted)
		}
		if err != nil {
			return err
		}
		return c.empty(http.StatusNoContent)
	})
}

func moveMailFolder(c *call) error {
	var in struct {
		DestinationID string `json:"destinationId"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withFolder(func(b *mailbox, f *mailFolder) error {
		to, err := b.folder(in.DestinationID)
		if err != nil {
			return err
		}
		if err := b.moveFolder(f, to); err != nil {
			return err
		}
		return c.json(http.StatusCreated, b.renderFolder(f, nil))
	})
}

// withFolder calls do with the folder of the request, under the mailbox's lock.
func (c *call) withFolder(do func(*mailbox, *mailFolder) error) error {
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	f, err := b.folder(c.param("folder"))
	if err != nil {
		return err
	}
	return do(b, f)
}

// purgeMailFolder removes a folder for good, wherever it lies.
func purgeMailFolder(c *call) error {
	return c.withFolder(func(b *mailbox, f *mailFolder) error {
		if err := b.dropFolder(f); err != nil {
			return err
		}
		return c.empty(http.StatusNoContent)
	})
}

// copyMailFolder copies a folder with all below it.
func copyMailFolder(c *call) error {
	var in struct {
		DestinationID string `json:"destinationId"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withFolder(func(b *mailbox, f *mailFolder) error {
		to, err := b.folder(in.DestinationID)
		if err == nil {
			err = b.checkRoom()
		}
		if err != nil {
			return err
		}
		for above := to; above != nil; above = above.parent {
			if above == f {
				return fail(http.StatusBadRequest, "ErrorInvalidOperation", "A folder cannot be copied below itself.")
			}
		}
		twin, err := b.copyFolder(f, to)
		if err != nil {
			return err
		}
		return c.json(http.StatusCreated, b.renderFolder(twin, nil))
	})
}

func (b *mailbox) copyFolder(f, to *mailFolder) (*mailFolder, error) {
	children, items := b.children(f), slices.Clone(f.items)
	twin, err := b.addFolder(to, f.name, f.hidden)
	if err != nil {
		return nil, err
	}
	for _, m := range items {
		content := *b.content(m)
		b.addMessage(twin, &content)
	}
	for _, child := range children {
		if _, err := b.copyFolder(child, twin); err != nil {
			return nil, err
		}
	}
	return twin, nil
}

// searchSpec is what makes a mailSearchFolder (mailSearchFolder resource type).
type searchSpec struct {
	SourceFolderIDs      []string `json:"sourceFolderIds"`
	IncludeNestedFolders bool     `json:"includeNestedFolders"`
	FilterQuery          string   `json:"filterQuery"`
}

// searchQuery is what a search folder shows.
type searchQuery struct {
	spec    searchSpec
	sources []*mailFolder
	filter  *predicate
}

func (b *mailbox) newSearch(spec searchSpec) (*searchQuery, error) {
	q := &searchQuery{spec: spec}
	for _, id := range spec.SourceFolderIDs {
		f, err := b.folder(id)
		if err != nil {
			return nil, err
		}
		q.sources = append(q.sources, f)
	}
	filter, err := parseFilter(spec.FilterQuery)
	if err != nil || len(q.sources) == 0 {
		return nil, fail(http.StatusBadRequest, "ErrorInvalidRequest", "A search folder needs sourceFolderIds and a filterQuery.")
	}
	q.filter = filter
	return q, nil
}

func (q *searchQuery) covers(f *mailFolder) bool {
	for at := f; at != nil && !f.search; at = at.parent {
		if slices.Contains(q.sources, at) {
			return true
		}
		if !q.spec.IncludeNestedFolders {
			return false
		}
	}
	return false
}

func (q *searchQuery) render(o *object) {
	o.boolean("isSupported", true)
	o.boolean("includeNestedFolders", q.spec.IncludeNestedFolders)
	o.strings("sourceFolderIds", q.spec.SourceFolderIDs)
	o.str("filterQuery", q.spec.FilterQuery)
}
