package graphsim

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
)

// library says which of a site's document libraries a drive is.
type library struct {
	number int
	name   string
	// path is the library's own segment of its URL.
	path string
	// system libraries are left out of lists that do not ask for them.
	system bool
}

// The libraries every site begins with, by number; those that TenantSpec.Libraries
// adds follow.
const (
	defaultLibrary = iota
	pagesLibrary
	systemLibrary
	firstExtraLibrary
)

// maxLibraries is how many libraries the last byte of a drive's ID can tell apart.
const maxLibraries = 255

// librariesOf returns the libraries of a site, by number.
func (t *Tenant) librariesOf(site *entry) []library {
	list := []library{{name: "Documents", path: "Shared%20Documents"}}
	if site.owner != "" {
		list[0].path = "Documents"
		return list
	}
	list = append(list, library{number: pagesLibrary, name: "Site Pages", path: "SitePages"},
		library{number: systemLibrary, name: "Style Library", path: "Style%20Library", system: true})
	for i := range min(t.spec.Libraries, maxLibraries-firstExtraLibrary) {
		list = append(list, library{number: firstExtraLibrary + i, name: fmt.Sprintf("Library %d", i+1),
			path: fmt.Sprintf("Library%%20%d", i+1)})
	}
	return list
}

// driveIDOf is the ID of a site's default library; "" of no site.
func driveIDOf(site string) string {
	if site == "" {
		return ""
	}
	return libraryID(site, defaultLibrary)
}

// libraryID is the ID of one of a site's libraries. Its last bytes repeat the first
// ones, and the very last is changed by the number, so that the site of a drive is
// found from the ID alone and no table of all libraries is needed.
func libraryID(site string, number int) string {
	sum := sha256.Sum256([]byte(site))
	raw := append(sum[:], sum[:16]...)
	raw[47] ^= byte(number)
	return "b!" + base64.RawURLEncoding.EncodeToString(raw)
}

// siteKey and driveKey are the same short number for a site's ID and for that of its default
// library, whose text is derived from it.
func siteKey(site string) uint64 {
	sum := sha256.Sum256([]byte(site))
	return binary.BigEndian.Uint64(sum[:])
}

func driveKey(id string) uint64 {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(id, "b!"))
	if err != nil || len(raw) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(raw)
}

// splitDriveID returns the ID of the default library of the same site, and the
// library's number. An ID of another form is returned as it is.
func splitDriveID(id string) (base string, number int) {
	text, ok := strings.CutPrefix(id, "b!")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil || len(raw) != 48 {
		return id, defaultLibrary
	}
	number = int(raw[47] ^ raw[15])
	raw[47] = raw[15]
	return "b!" + base64.RawURLEncoding.EncodeToString(raw), number
}

// libraryByDrive returns the site of a drive ID and which library it is; a nil site
// for an ID that is not one. Called under the tenant's lock.
func (t *Tenant) libraryByDrive(id string) (*entry, library) {
	base, number := splitDriveID(id)
	key := driveKey(base)
	site := t.libraries[key]
	if place, ok := t.personalDrives.find(key, func(place int) bool { return driveIDOf(t.personalSite(place)) == base }); ok {
		site = t.sites.keep(place)
	}
	if site == nil || driveIDOf(site.id) != base {
		return nil, library{}
	}
	list := t.librariesOf(site)
	if number >= len(list) {
		return nil, library{}
	}
	return site, list[number]
}

// openDrive returns the default drive of a user, group or site, or a drive by its
// own ID, whatever the state of its owner.
func (t *Tenant) openDrive(owner string) (*drive, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	site, lib := t.libraryByDrive(owner)
	if site != nil {
		return t.driveOf(site, lib), nil
	}
	for _, d := range []*directory{&t.users, &t.groups} {
		if e := d.find(owner); e != nil {
			site = t.sites.find(e.site)
		}
	}
	if e := t.sites.find(owner); e != nil {
		site = e
	}
	if site == nil {
		return nil, fmt.Errorf("graphsim: no drive of %q", owner)
	}
	return t.driveOf(site, t.librariesOf(site)[defaultLibrary]), nil
}

// driveOf lays a library out when it is first asked for. Called under the tenant's
// lock.
func (t *Tenant) driveOf(site *entry, lib library) *drive {
	id := libraryID(site.id, lib.number)
	d := t.drives[id]
	if d == nil {
		files := 0
		if lib.number == defaultLibrary || lib.number >= firstExtraLibrary {
			files = t.share('f', site.ordinal, t.spec.FilesPerUser)
		}
		d = newDrive(t, site, lib, files)
		t.drives[id] = d
	}
	return d
}
