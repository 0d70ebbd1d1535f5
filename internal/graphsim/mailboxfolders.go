package graphsim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// The import and export family (/admin/exchange/mailboxes) shows everything a mailbox
// holds in one shape: folders and items of mail, contacts, calendars and tasks alike.
// Source: "Overview of the mailbox import and export APIs" and the pages of its resources.

// itemClass is one kind of item in that shape.
type itemClass struct {
	item, folder               byte // kinds of the IDs of this family
	outlookItem, outlookFolder byte // and of the Outlook family's
	folderType, itemType       string
	standard                   string // well-known name of the default folder, except mail's
}

const (
	mailClass = iota
	contactClass
	eventClass
	taskClass
)

var itemClasses = [...]itemClass{
	mailClass:    {'0', '4', regularMessage, folderKind, "IPF.Note", "IPM.Note", ""},
	contactClass: {'1', '5', contactKind, contactFolderKind, "IPF.Contact", "IPM.Contact", "contacts"},
	eventClass:   {'2', '6', eventKind, calendarKind, "IPF.Appointment", "IPM.Appointment", "calendar"},
	taskClass:    {'3', '7', taskKind, taskListKind, "IPF.Task", "IPM.Task", "tasks"},
}

// classOf finds a class by one of its kinds.
func classOf(is func(itemClass) bool) *itemClass {
	if at := slices.IndexFunc(itemClasses[:], is); at >= 0 {
		return &itemClasses[at]
	}
	return nil
}

// storeFolder is a folder of any class: a mail folder or a shelf.
type storeFolder struct {
	box   *mailbox
	mail  *mailFolder
	shelf *shelf
}

func (f storeFolder) class() *itemClass {
	if f.mail != nil {
		return &itemClasses[mailClass]
	}
	return classOf(func(k itemClass) bool { return k.outlookFolder == f.shelf.kind })
}

// id is the folder's ID in this family. That it is the one of the Outlook family is not
// documented: ExchangeOptions.OneIDSpace says so.
func (f storeFolder) id() string {
	kind, number := f.class().folder, uint64(0)
	if f.mail != nil {
		number = f.mail.number
	} else {
		number = f.shelf.number
	}
	if f.box.t.s.o.Exchange.OneIDSpace {
		kind = f.class().outlookFolder
	}
	return f.box.itemID(kind, number, 0)
}

func (f storeFolder) name() string {
	if f.mail != nil {
		return f.mail.name
	}
	return f.shelf.name
}

func (f storeFolder) wellKnown() string {
	p := f.box.store()
	switch {
	case f.mail != nil:
		return f.mail.wellKnown
	case f.shelf == p.contacts || f.shelf == p.calendar || f.shelf == p.tasks:
		return f.class().standard
	}
	return ""
}

func (f storeFolder) log() *changeLog {
	if f.mail != nil {
		return &f.mail.log
	}
	return &f.shelf.log
}

// How the mailbox's log of all folders names them.
func mailFolderKey(f *mailFolder) string { return "m" + strconv.FormatUint(f.number, 10) }
func shelfKey(s *shelf) string           { return "s" + strconv.FormatUint(s.number, 10) }

// shelfOrdinals lie above those of mail folders.
const shelfOrdinals = 1 << 40

func (f storeFolder) ordinal() uint64 {
	if f.mail != nil {
		return f.mail.number
	}
	return shelfOrdinals + f.shelf.number
}

// shown reports whether this family shows the folder: what hangs below the root, hidden
// or not, and is no virtual folder nor somebody else's calendar.
func (f storeFolder) shown() bool {
	if f.mail != nil {
		return !f.mail.gone && !f.mail.search && f.mail.visible()
	}
	return !f.shelf.gone && f.shelf.foreign == nil && f.class() != nil
}

// parent is the folder above; of the root there is none.
func (f storeFolder) parent() (storeFolder, bool) {
	switch {
	case f.mail != nil && f.mail.parent == nil:
		return storeFolder{}, false
	case f.mail != nil:
		return storeFolder{box: f.box, mail: f.mail.parent}, true
	case f.shelf.parent != nil:
		return storeFolder{box: f.box, shelf: f.shelf.parent}, true
	}
	return f.box.storeRoot(), true
}

func (b *mailbox) storeRoot() storeFolder {
	return storeFolder{box: b, mail: b.wellKnown["msgfolderroot"]}
}

// storeFolders are all folders of the family below the root, parents before children.
func (b *mailbox) storeFolders() (list []storeFolder) {
	for _, f := range b.order {
		if f := (storeFolder{box: b, mail: f}); f.shown() && f != b.storeRoot() {
			list = append(list, f)
		}
	}
	for _, s := range b.store().order {
		if f := (storeFolder{box: b, shelf: s}); f.shown() {
			list = append(list, f)
		}
	}
	return list
}

func (f storeFolder) children() (list []storeFolder) {
	for _, child := range f.box.storeFolders() {
		if parent, ok := child.parent(); ok && parent == f {
			list = append(list, child)
		}
	}
	return list
}

// storeFolder finds a folder by its ID. Names like "inbox" are documented for the Outlook
// family alone.
func (b *mailbox) storeFolder(id string) (storeFolder, error) {
	kind, number, _, ok := b.parseID(id)
	if !ok {
		return storeFolder{}, fail(http.StatusBadRequest, "ErrorInvalidIdMalformed", "Id is malformed.")
	}
	class := classOf(func(k itemClass) bool {
		return kind == k.folder || b.t.s.o.Exchange.OneIDSpace && kind == k.outlookFolder
	})
	f := storeFolder{box: b}
	switch {
	case class == nil:
		return f, mailItemNotFound()
	case class == &itemClasses[mailClass]:
		f.mail = b.folders[number]
	default:
		f.shelf = b.store().shelves[number]
	}
	if f.mail == nil && (f.shelf == nil || f.shelf.kind != class.outlookFolder) || !f.shown() {
		return f, mailItemNotFound()
	}
	return f, nil
}

// withStoreFolder calls do with the folder of the request, the root if it names none,
// under the mailbox's lock.
func (c *call) withStoreFolder(do func(storeFolder) error) error {
	return c.withBox(func(b *mailbox) error {
		f := b.storeRoot()
		if id := c.param("folder"); id != "" {
			var err error
			if f, err = b.storeFolder(id); err != nil {
				return err
			}
		}
		return do(f)
	})
}

func (c *call) renderStoreFolder(f storeFolder, sel selection) []byte {
	o := newObject(sel)
	o.str("id", f.id())
	o.str("displayName", f.name())
	if parent, ok := f.parent(); ok {
		o.str("parentFolderId", parent.id())
	} else {
		o.raw("parentFolderId", "null")
	}
	if o.sel.has("childFolderCount") {
		o.num("childFolderCount", int64(len(f.children())))
	}
	o.num("totalItemCount", int64(f.count()))
	o.str("type", f.class().folderType)
	o.nullable("wellKnownName", f.wellKnown())
	o.str("parentMailboxUrl", c.root()+"admin/exchange/mailboxes/"+f.box.exportID())
	c.expandStoreFolder(o, f)
	return o.done()
}

// expandStoreFolder writes the relations that $expand asks for.
func (c *call) expandStoreFolder(o *object, f storeFolder) {
	for _, e := range c.expand {
		sel := parseSelect(e.options.Get("$select"))
		var parts []string
		switch strings.ToLower(e.name) {
		case "childfolders":
			asked := c.expand
			c.expand = nil
			for _, child := range f.children() {
				parts = append(parts, string(c.renderStoreFolder(child, sel)))
			}
			c.expand = asked
		case "items":
			for _, it := range f.items() {
				parts = append(parts, string(it.render(sel)))
			}
		}
		o.always(e.name)
		o.b = append(o.b, "["+strings.Join(parts[:min(len(parts), maxExpanded)], ",")+"]"...)
	}
}

// listStoreFolders lists the direct children of the root or of a folder ("List folders").
func listStoreFolders(c *call) error {
	return c.withStoreFolder(func(f storeFolder) error {
		list := f.children()
		return c.list(listing{count: len(list), usual: folderPageSize, most: 1000, param: "$skip",
			render: func(i int) []byte { return c.renderStoreFolder(list[i], c.sel) },
			full:   func(i int) []byte { return c.renderStoreFolder(list[i], nil) }})
	})
}

func getStoreFolder(c *call) error {
	return c.withStoreFolder(func(f storeFolder) error { return c.entity(http.StatusOK, c.renderStoreFolder(f, c.sel)) })
}

// storeFoldersDelta tracks all folders below the root; with a folder, its direct children
// ("mailboxFolder: delta").
func storeFoldersDelta(c *call) error {
	return c.withStoreFolder(func(f storeFolder) error {
		b, only := f.box, c.param("folder") != ""
		if err := b.checkRoom(); err != nil {
			return err
		}
		tracks := func(x storeFolder) bool {
			parent, ok := x.parent()
			return x.shown() && ok && (!only || parent == f)
		}
		src := deltaSource{collection: "store/" + b.owner.id + "/" + c.param("folder"), generation: b.generation, log: &b.allFolders,
			list: func(after uint64, limit int) (page [][]byte, reached uint64, more bool) {
				for _, x := range b.storeFolders() {
					if x.ordinal() <= after || !tracks(x) {
						continue
					}
					if len(page) == limit {
						return page, reached, true
					}
					page, reached = append(page, c.renderStoreFolder(x, c.sel)), x.ordinal()
				}
				return page, reached, false
			},
			render: func(keys []string) (page [][]byte) {
				for _, key := range keys {
					x, ok := b.folderByKey(key)
					switch {
					case !ok: // of no class of this family
					case tracks(x):
						page = append(page, c.renderStoreFolder(x, c.sel))
					default:
						page = append(page, []byte(`{"id":`+quoted(x.id())+`,"@removed":{"reason":"deleted"}}`))
					}
				}
				return page
			}}
		return c.deltaPage(src, deltaOptions{nextParam: "$skiptoken", deltaParam: "$deltatoken", pageSize: c.pageSize(50, 1000), stale: staleMail})
	})
}

func (b *mailbox) folderByKey(key string) (storeFolder, bool) {
	number, _ := strconv.ParseUint(key[1:], 10, 64)
	f := storeFolder{box: b}
	if key[0] == 'm' {
		f.mail = b.folders[number]
		return f, !f.mail.search
	}
	f.shelf = b.store().shelves[number]
	return f, f.class() != nil && f.shelf.foreign == nil
}

// readStoreFolder reads what a client may write of a folder.
func (c *call) readStoreFolder() (in struct{ DisplayName, Type, ParentFolderID string }, err error) {
	var raw map[string]any
	if err = c.decode(&raw); err != nil {
		return in, err
	}
	for name, value := range raw {
		text, isText := value.(string)
		switch {
		case !isText:
			return in, badRequest("The property '%s' is no text.", name)
		case name == "displayName":
			in.DisplayName = text
		case name == "type" && c.r.Method == http.MethodPost:
			in.Type = text
		case name == "parentFolderId" && c.r.Method == http.MethodPost:
			in.ParentFolderID = text
		case !strings.Contains(name, "@"):
			return in, badRequest("The property '%s' cannot be written.", name)
		}
	}
	if strings.TrimSpace(in.DisplayName) == "" {
		return in, fail(http.StatusBadRequest, "ErrorInvalidRequest", "The folder has no displayName.")
	}
	return in, nil
}

// createStoreFolder makes a folder of a type below the root or the parentFolderId of the
// body. Contact folders lie below one another, calendars and task lists beside each other.
func createStoreFolder(c *call) error {
	in, err := c.readStoreFolder()
	if err != nil {
		return err
	}
	setDefault(&in.Type, itemClasses[mailClass].folderType)
	class := classOf(func(k itemClass) bool { return strings.EqualFold(k.folderType, in.Type) })
	if class == nil {
		return fail(http.StatusBadRequest, "ErrorInvalidRequest", "Folders of the type '%s' cannot be made.", in.Type)
	}
	return c.withBox(func(b *mailbox) error {
		parent := b.storeRoot()
		if in.ParentFolderID != "" {
			if parent, err = b.storeFolder(in.ParentFolderID); err != nil {
				return err
			}
		}
		f, err := b.addStoreFolder(parent, class, in.DisplayName)
		if err != nil {
			return err
		}
		return c.entity(http.StatusCreated, c.renderStoreFolder(f, nil))
	})
}

func (b *mailbox) addStoreFolder(parent storeFolder, class *itemClass, name string) (f storeFolder, err error) {
	p := b.store()
	f.box = b
	fits := parent == b.storeRoot() || class == &itemClasses[mailClass] && parent.mail != nil
	if class == &itemClasses[contactClass] {
		fits = parent.shelf != nil && parent.class() == class
	}
	switch {
	case !fits:
		return f, fail(http.StatusBadRequest, "ErrorInvalidRequest", "A folder of the type '%s' cannot lie there.", class.folderType)
	case class == &itemClasses[mailClass]:
		f.mail, err = b.addFolder(parent.mail, name, false)
		return f, err
	case class == &itemClasses[contactClass]:
		f.shelf, err = b.addContactFolder(parent.shelf, name)
		return f, err
	case p.named(class.outlookFolder, nil, name) != nil:
		return f, folderExists()
	}
	f.shelf = &shelf{kind: class.outlookFolder, name: name}
	if class == &itemClasses[eventClass] {
		f.shelf.group = p.list(calendarGroupKind, nil)[0].number
	}
	p.noteShelf(p.putShelf(f.shelf))
	return f, nil
}

func patchStoreFolder(c *call) error {
	in, err := c.readStoreFolder()
	if err != nil {
		return err
	}
	return c.withStoreFolder(func(f storeFolder) error {
		if f.wellKnown() != "" {
			return fail(http.StatusBadRequest, "ErrorInvalidRequest", "The folder cannot be renamed.")
		}
		parent, _ := f.parent()
		for _, other := range parent.children() {
			if other != f && other.class() == f.class() && strings.EqualFold(other.name(), in.DisplayName) {
				return folderExists()
			}
		}
		if f.mail != nil {
			f.mail.name = in.DisplayName
			f.box.noteFolder(f.mail)
		} else {
			f.shelf.name = in.DisplayName
			f.box.store().noteShelf(f.shelf)
		}
		return c.entity(http.StatusOK, c.renderStoreFolder(f, nil))
	})
}

func deleteStoreFolder(c *call) error {
	return c.withStoreFolder(func(f storeFolder) error {
		switch {
		case f.wellKnown() != "":
			return fail(http.StatusForbidden, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")
		case f.mail != nil:
			if err := f.box.dropFolder(f.mail); err != nil {
				return err
			}
		default:
			f.box.dropShelf(f.shelf)
		}
		return c.empty(http.StatusNoContent)
	})
}
