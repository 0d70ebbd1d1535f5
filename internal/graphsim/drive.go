package graphsim

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// drive is the document library of a site. Everything in it is guarded by mu.
type drive struct {
	t    *Tenant
	site *entry
	id   string
	seed uint64

	mu         sync.Mutex
	root       *driveItem
	items      map[string]*driveItem
	order      []*driveItem // by number, the deleted ones too
	log        changeLog    // of item IDs
	generation int
}

// driveItem is a file or a folder.
type driveItem struct {
	id       string
	number   uint64
	name     string
	parent   *driveItem
	children map[string]*driveItem // folders only; by folded name
	data     content               // files only
	sha      string                // of data, once computed
	quickXor string
	revision int // of everything
	edition  int // of the content
	created  time.Time
	modified time.Time // fileSystemInfo, as clients set it
	touched  time.Time
	deleted  bool
	// silent means deleted along with a folder that is reported alone.
	silent bool
}

func (i *driveItem) isFolder() bool { return i.children != nil }

// driveIDOf is the ID of a site's library; "" of no site.
func driveIDOf(site string) string {
	if site == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(site))
	return "b!" + base64.RawURLEncoding.EncodeToString(append(sum[:], sum[:16]...))
}

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

// newDrive lays out a library with that many files.
func newDrive(t *Tenant, site *entry, files int) *drive {
	d := &drive{t: t, site: site, id: driveIDOf(site.id), seed: mixString(t.seed, site.id), items: map[string]*driveItem{}}
	d.root = d.newItem(nil, "root")
	d.root.children = map[string]*driveItem{}
	d.root.created, d.root.modified, d.root.touched = site.created, site.created, site.created
	r := newRand(d.seed)
	folders := []*driveItem{d.root}
	for i := range files {
		if i%8 == 0 {
			folders = append(folders, d.seedFolder(r, folders, i/8))
		}
		d.seedFile(r, pick(r, folders), i)
	}
	if owner := t.users.byID[site.owner]; owner != nil && owner == t.firstMailbox() {
		d.addCorpus(t.s.corpus)
	}
	return d
}

var folderNames = []string{"Documents", "Angebote & Verträge", "2026", "Fotos #1", "100% done", "O'Brien (old)", "資料", "Archive"}

func (d *drive) seedFolder(r *rand.Rand, folders []*driveItem, n int) *driveItem {
	parent := pick(r, folders)
	item := d.newItem(parent, fmt.Sprintf("%s %d", folderNames[n%len(folderNames)], n+1))
	item.children = map[string]*driveItem{}
	d.date(item, n)
	return item
}

func (d *drive) seedFile(r *rand.Rand, parent *driveItem, n int) {
	kind := pick(r, fileKinds)
	item := d.newItem(parent, fmt.Sprintf("%s %d%s", fileName(r), n+1, kind[0]))
	item.data = seededContent{seed: mix(d.seed, item.number), length: fileSize(r, n)}
	if r.IntN(12) == 0 { // the same file in many drives
		n := uint64(r.IntN(6))
		item.data = seededContent{seed: mix(d.t.seed, 'd', n), length: int64(150_000 + n*400_000)}
	}
	d.date(item, n)
}

func fileName(r *rand.Rand) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune(`"*:<>?/\|`, c) {
			return '_'
		}
		return c
	}, sentence(r, 2))
}

func fileSize(r *rand.Rand, n int) int64 {
	switch k := r.IntN(100); {
	case n == 3:
		return 0
	case k < 60:
		return int64(1_000 + r.IntN(50_000))
	case k < 90:
		return int64(50_000 + r.IntN(450_000))
	case k < 99:
		return int64(500_000 + r.IntN(2_500_000))
	default:
		return int64(4_000_000 + r.IntN(8_000_000))
	}
}

func (d *drive) date(item *driveItem, n int) {
	item.modified = epoch.Add(-time.Duration(n)*3*time.Hour - time.Duration(n%7)*time.Second)
	item.created = item.modified.AddDate(0, -1, 0)
	item.touched = item.modified
}

// addCorpus hangs the real files below a folder "Files".
func (d *drive) addCorpus(c *corpus) {
	if len(c.files) == 0 {
		return
	}
	top := d.newItem(d.root, "Files")
	top.children = map[string]*driveItem{}
	d.date(top, 0)
	byPath := map[string]*driveItem{"": top}
	for i, f := range c.files {
		dir, name := "", f.path
		if at := strings.LastIndexByte(f.path, '/'); at >= 0 {
			dir, name = f.path[:at], f.path[at+1:]
		}
		item := d.newItem(byPath[dir], name)
		if f.folder {
			item.children = map[string]*driveItem{}
			byPath[f.path] = item
		} else {
			item.data = f.data
		}
		d.date(item, i)
	}
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
		case conflict == onConflictReplace && !old.isFolder():
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

func (d *drive) setContent(item *driveItem, data content) {
	item.data, item.sha, item.quickXor = data, "", ""
	item.edition++
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

func (d *drive) bury(item *driveItem, reportBelow bool) {
	item.deleted = true
	for _, child := range item.sorted() {
		d.bury(child, reportBelow)
		child.silent = !reportBelow
		if reportBelow {
			d.note(child)
		}
	}
}

// sorted returns the children by name.
func (i *driveItem) sorted() []*driveItem {
	list := make([]*driveItem, 0, len(i.children))
	for _, child := range i.children {
		list = append(list, child)
	}
	slices.SortFunc(list, func(a, b *driveItem) int { return strings.Compare(a.name, b.name) })
	return list
}

func checkName(parent *driveItem, name string) error {
	switch {
	case !parent.isFolder():
		return fail(http.StatusBadRequest, "invalidRequest", "The parent is not a folder.")
	case name == "" || strings.ContainsAny(name, `"*:<>?/\|`) || strings.TrimSpace(name) != name || strings.HasSuffix(name, "."):
		return fail(http.StatusBadRequest, "invalidRequest", "The provided name cannot be used.")
	}
	return nil
}

func freeName(parent *driveItem, name string) string {
	stem, ext := name, ""
	if at := strings.LastIndexByte(name, '.'); at > 0 {
		stem, ext = name[:at], name[at:]
	}
	for n := 1; ; n++ {
		candidate := fmt.Sprintf("%s %d%s", stem, n, ext)
		if parent.children[fold(candidate)] == nil {
			return candidate
		}
	}
}

func nameAlreadyExists() *apiError {
	return fail(http.StatusConflict, "nameAlreadyExists", "The specified item name already exists.")
}

// at follows a relative path of names; nil if something on it is missing.
func (i *driveItem) at(path string) *driveItem {
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		if i = i.children[fold(name)]; i == nil {
			return nil
		}
	}
	return i
}

// path is the item's place below the root by names, without a leading slash.
func (i *driveItem) path() string {
	if i.parent == nil {
		return ""
	}
	if above := i.parent.path(); above != "" {
		return above + "/" + i.name
	}
	return i.name
}

func (d *drive) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.generation++
}

// openDrive returns the drive of a user, group or site, or by its own ID,
// whatever the state of its owner.
func (t *Tenant) openDrive(owner string) (*drive, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	site := t.libraries[owner]
	for _, d := range []*directory{&t.users, &t.groups} {
		if e := d.find(owner); e != nil {
			site = t.sites.byID[e.site]
		}
	}
	if e := t.sites.find(owner); e != nil {
		site = e
	}
	if site == nil {
		return nil, fmt.Errorf("graphsim: no drive of %q", owner)
	}
	return t.driveOf(site), nil
}

func (t *Tenant) driveOf(site *entry) *drive {
	id := driveIDOf(site.id)
	d := t.drives[id]
	if d == nil {
		d = newDrive(t, site, t.spec.FilesPerUser)
		t.drives[id] = d
	}
	return d
}
