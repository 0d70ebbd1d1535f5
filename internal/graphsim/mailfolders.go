package graphsim

import (
	"net/http"
	"strconv"
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
	unread := 0
	if sel.has("unreadItemCount") {
		for _, m := range f.items {
			if !b.isRead(m) {
				unread++
			}
		}
	}
	o.num("childFolderCount", int64(len(b.children(f))))
	o.num("unreadItemCount", int64(unread))
	o.num("totalItemCount", int64(len(f.items)))
	o.num("sizeInBytes", int64(len(f.items))*9_000)
	o.boolean("isHidden", f.hidden)
	return o.done()
}

func (b *mailbox) isRead(m *message) bool { return b.content(m).isRead }

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
	return c.skipPage(len(list), c.pageSize(folderPageSize, 1000), "$skip", func(i int) []byte { return b.renderFolder(list[i], c.sel) })
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

// mailFoldersDelta tracks all folders below the root, without the root itself.
// Hidden folders are left out unless asked for: whether Microsoft returns them is
// not documented, so a client must not rely on it.
func mailFoldersDelta(c *call) error {
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	if c.query.Get("includeHiddenFolders") == "true" {
		c.extra = "hidden"
	}
	src := deltaSource{collection: b.owner.id + "/folders", generation: b.generation, log: &b.folderLog,
		list: func(after uint64, limit int) (items [][]byte, reached uint64, more bool) {
			for _, f := range b.order {
				if f.number <= after || !c.tracks(f) {
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
				items = append(items, b.renderFolderChange(c, id))
			}
			return items
		},
	}
	return c.deltaPage(src, deltaOptions{nextParam: "$skiptoken", deltaParam: "$deltatoken", pageSize: c.pageSize(50, 1000), stale: staleDirectory})
}

func (c *call) tracks(f *mailFolder) bool {
	return !f.gone && f.visible() && f.wellKnown != "msgfolderroot" && !f.search && (!f.hidden || c.extra == "hidden")
}

func (b *mailbox) renderFolderChange(c *call, id string) []byte {
	number, _ := strconv.ParseUint(id, 10, 64)
	f := b.folders[number]
	if c.tracks(f) {
		return b.renderFolder(f, c.sel)
	}
	return []byte(`{"id":` + quoted(f.id()) + `,"@removed":{"reason":"deleted"}}`)
}

func createMailFolder(c *call) error {
	var in struct {
		DisplayName string `json:"displayName"`
		IsHidden    bool   `json:"isHidden"`
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
	f, err := b.addFolder(parent, in.DisplayName, in.IsHidden)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, b.renderFolder(f, nil))
}

func patchMailFolder(c *call) error {
	var in struct {
		DisplayName string `json:"displayName"`
	}
	if err := c.decode(&in); err != nil {
		return err
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
