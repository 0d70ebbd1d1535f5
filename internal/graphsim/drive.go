package graphsim

import (
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// drive is a document library of a site. Everything in it is guarded by mu.
type drive struct {
	t    *Tenant
	site *entry
	lib  library
	id   string
	seed uint64

	mu         sync.Mutex
	root       *driveItem
	items      map[string]*driveItem
	order      []*driveItem // by number, the deleted ones too
	log        changeLog    // of item IDs
	generation int
	// upload makes a resync say that the client keeps its own changes too.
	upload bool
	// invitations is how many mails sharing has sent.
	invitations int
}

// driveItem is a file, a folder, a package or a shortcut.
type driveItem struct {
	id       string
	number   uint64
	name     string
	parent   *driveItem
	children map[string]*driveItem // containers only; by folded name
	data     content               // files only
	sha      string                // of data, once computed
	quickXor string
	history  []fileVersion // what data was before, oldest first
	revision int           // of everything
	edition  int           // of the content
	created  time.Time
	modified time.Time // fileSystemInfo, as clients set it
	touched  time.Time
	// author and editor are identity sets; "" is the owner of the drive.
	author, editor string
	description    string
	fields         map[string]json.RawMessage // columns of the library's list
	contentType    string                     // its name, if it is not that of every file or folder
	pkg            string                     // the type of a package, which holds children but is no folder
	remote         *shortcut                  // what a shortcut points to
	malware        string                     // what was found in the file
	read           bool                       // somebody has downloaded it
	grants         []*permission
	unique         bool   // inherits no permissions
	sharingChanged uint64 // the place in the log just before the last change of permissions
	deleted        bool
}

// isContainer is true of folders and packages: they hold items.
func (i *driveItem) isContainer() bool { return i.children != nil }

// isFolder is true of containers that are not packages.
func (i *driveItem) isFolder() bool { return i.children != nil && i.pkg == "" }

// isFile is true of what has content.
func (i *driveItem) isFile() bool { return i.data != nil }

// fold makes names comparable the way SharePoint does, without regard to case.
func fold(name string) string { return strings.ToLower(name) }

func (d *drive) newItem(parent *driveItem, name string) *driveItem {
	number := uint64(len(d.order) + 1)
	raw := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, d.seed), mix(d.seed, number))
	raw = binary.BigEndian.AppendUint32(raw, uint32(number))
	item := &driveItem{id: "01" + base32.StdEncoding.EncodeToString(raw), number: number, name: name, parent: parent}
	d.items[item.id] = item
	d.order = append(d.order, item)
	if parent != nil {
		parent.children[fold(name)] = item
	}
	return item
}

// fingerprint computes the hashes of a file once per content.
func (i *driveItem) fingerprint() error {
	if i.sha != "" {
		return nil
	}
	sha, quick, err := fingerprint(i.data)
	if err != nil {
		return err
	}
	i.sha, i.quickXor = sha, quick
	return nil
}

// The changes of a drive, called under mu; what Graph and the Go methods end in.

func (d *drive) note(i *driveItem) {
	i.revision++
	i.touched = time.Now().UTC().Truncate(time.Second)
	d.log.note(i.id)
}

// addFolder makes a folder; an existing one of that name is a conflict.
func (d *drive) addFolder(parent *driveItem, name string) (*driveItem, error) {
	if err := checkName(parent, name); err != nil {
		return nil, err
	}
	if parent.children[fold(name)] != nil {
		return nil, nameAlreadyExists()
	}
	item := d.newItem(parent, name)
	item.children = map[string]*driveItem{}
	item.created = time.Now().UTC().Truncate(time.Second)
	item.modified = item.created
	d.note(item)
	return item, nil
}

// The ways to treat a name that is taken.
const (
	onConflictFail    = "fail"
	onConflictReplace = "replace"
	onConflictRename  = "rename"
)

// putFile writes a file into a folder.
func (d *drive) putFile(parent *driveItem, name string, data content, conflict string) (item *driveItem, fresh bool, err error) {
	if err := checkName(parent, name); err != nil {
		return nil, false, err
	}
	if old := parent.children[fold(name)]; old != nil {
		switch {
		case conflict == onConflictRename:
			name = freeName(parent, name)
		case conflict == onConflictReplace && old.isFile():
			d.setContent(old, data)
			return old, false, nil
		default:
			return nil, false, nameAlreadyExists()
		}
	}
	item = d.newItem(parent, name)
	item.created = time.Now().UTC().Truncate(time.Second)
	d.setContent(item, data)
	return item, true, nil
}

// setContent gives a file other bytes; the old ones become a version.
func (d *drive) setContent(item *driveItem, data content) {
	if item.data != nil {
		item.keepVersion(d.t.s.o.SharePoint.VersionLimit)
		item.edition++
	}
	item.data, item.sha, item.quickXor, item.malware = data, "", "", ""
	item.editor = ""
	item.modified = time.Now().UTC().Truncate(time.Second)
	d.note(item)
}

// move renames and re-parents an item.
func (d *drive) move(item, parent *driveItem, name string) error {
	if item == d.root {
		return fail(http.StatusForbidden, "accessDenied", "The root cannot be moved.")
	}
	if err := checkName(parent, name); err != nil {
		return err
	}
	for p := parent; p != nil; p = p.parent {
		if p == item {
			return fail(http.StatusBadRequest, "invalidRequest", "A folder cannot be moved below itself.")
		}
	}
	if other := parent.children[fold(name)]; other != nil && other != item {
		return nameAlreadyExists()
	}
	delete(item.parent.children, fold(item.name))
	item.parent, item.name = parent, name
	parent.children[fold(name)] = item
	d.note(item)
	return nil
}

// remove deletes an item with everything below it (package doc: Delta).
func (d *drive) remove(item *driveItem) error {
	if item == d.root {
		return fail(http.StatusForbidden, "accessDenied", "The root cannot be deleted.")
	}
	delete(item.parent.children, fold(item.name))
	d.bury(item, item.number%2 == 0)
	d.note(item)
	return nil
}

// unbury brings a deleted item back to where it was, with what was deleted with it.
func (d *drive) unbury(item *driveItem) error {
	if item.parent.children[fold(item.name)] != nil {
		return nameAlreadyExists()
	}
	item.parent.children[fold(item.name)] = item
	d.revive(item)
	return nil
}

func (d *drive) revive(item *driveItem) {
	item.deleted = false
	d.note(item)
	for _, child := range item.sorted() {
		d.revive(child)
	}
}

func (d *drive) bury(item *driveItem, reportBelow bool) {
	item.deleted = true
	for _, child := range item.sorted() {
		d.bury(child, reportBelow)
		if reportBelow {
			d.note(child)
		}
	}
}

// resync forgets the tokens of a drive; upload says whether the client is to keep
// its own changes.
func (d *drive) resync(upload bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.generation++
	d.upload = upload
}

func (d *drive) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.generation++
	d.upload = false
}
