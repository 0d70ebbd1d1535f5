package graphsim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// newDrive lays out a library with that many files.
func newDrive(t *Tenant, site *entry, lib library, files int) *drive {
	d := &drive{t: t, site: site, lib: lib, id: libraryID(site.id, lib.number), seed: mixString(t.seed, site.id),
		items: map[string]*driveItem{}}
	if lib.number != defaultLibrary {
		d.seed = mix(d.seed, uint64(lib.number))
	}
	d.root = d.newItem(nil, "root")
	d.root.children = map[string]*driveItem{}
	d.root.created, d.root.modified, d.root.touched = site.created(), site.created(), site.created()
	r := newRand(d.seed)
	folders := []*driveItem{d.root}
	for i := range files {
		if i%8 == 0 {
			folders = append(folders, d.seedFolder(r, folders, i/8))
		}
		d.seedFile(r, pick(r, folders), i)
	}
	if owner := t.users.find(site.owner); lib.number == defaultLibrary && owner != nil && owner == t.firstMailbox() {
		d.addCorpus(t.s.corpus)
	}
	if lib.number == pagesLibrary {
		d.addPages()
	}
	return d
}

var folderNames = []string{"Documents", "Angebote & Verträge", "2026", "Fotos #1", "100% done", "O'Brien (old)", "資料", "Archive"}

func (d *drive) seedFolder(r *rand.Rand, folders []*driveItem, n int) *driveItem {
	parent := pick(r, folders)
	name := folderNames[n%len(folderNames)]
	if of := d.t.tongue(mix(d.seed, 'f', uint64(n))); of > 0 {
		name = fileName(newRand(mix(d.seed, 'F', uint64(n))), languages[of])
	}
	item := d.newItem(parent, fmt.Sprintf("%s %d", name, n+1))
	item.children = map[string]*driveItem{}
	d.date(item, n)
	d.seedValues(item)
	return item
}

func (d *drive) seedFile(r *rand.Rand, parent *driveItem, n int) {
	kind, l := pick(r, fileKinds), languages[d.t.tongue(mix(d.seed, 'n', uint64(n)))]
	item := d.newItem(parent, fmt.Sprintf("%s %d%s", fileName(r, l), n+1, kind[0]))
	item.data = seededContent{seed: mix(d.seed, item.number), length: fileSize(r, n)}
	if r.IntN(12) == 0 { // the same file in many drives
		n := uint64(r.IntN(6))
		item.data = seededContent{seed: mix(d.t.seed, 'd', n), length: int64(150_000 + n*400_000)}
	}
	if size := d.t.spec.FileSize; size > 0 {
		item.data = seededContent{seed: mix(d.seed, item.number), length: size}
	}
	d.date(item, n)
	d.seedValues(item)
}

func fileName(r *rand.Rand, l language) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune(`"*:<>?/\|`, c) {
			return '_'
		}
		return c
	}, l.sentence(r, 2))
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

// addPages makes the files of the pages that the seed lays out.
func (d *drive) addPages() {
	st := &siteStore{t: d.t, site: d.site, seed: mixString(d.t.seed, "lists/"+d.site.id)}
	for i := range d.t.spec.Pages {
		st.seedPage(i)
		item := d.newItem(d.root, st.pages[i].name)
		item.data = st.pages[i].file()
		d.date(item, i)
	}
}
