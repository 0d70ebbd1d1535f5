package graphsim

import (
	"slices"
	"strings"
	"time"
)

// FileTruth is a file, folder, package or shortcut of a drive.
type FileTruth struct {
	ID       string    `json:"id"`
	Path     string    `json:"path"` // from the root, without a leading slash
	Size     int64     `json:"size"`
	SHA256   string    `json:"sha256,omitempty"` // hex, of files
	Modified time.Time `json:"modified"`         // as in fileSystemInfo
	Created  time.Time `json:"created"`
	Folder   bool      `json:"folder,omitempty"`  // packages are folders too
	Package  string    `json:"package,omitempty"` // the type of a package
	Malware  string    `json:"malware,omitempty"` // what is in an infected file
	// Shortcut is "drive ID/item ID" of what a remote item refers to.
	Shortcut string `json:"shortcut,omitempty"`
	// Versions are the old versions of a file, oldest first.
	Versions []VersionTruth `json:"versions,omitempty"`
	// Permissions are those of the item itself, not the inherited ones; Unique says
	// that it inherits none.
	Permissions []PermissionTruth `json:"permissions,omitempty"`
	Unique      bool              `json:"unique,omitempty"`
	// Fields are the values in the columns of the library, compact JSON by column.
	Fields map[string]string `json:"fields,omitempty"`
}

// VersionTruth is an old version of a file.
type VersionTruth struct {
	ID       string    `json:"id"` // "3.0"
	Size     int64     `json:"size"`
	SHA256   string    `json:"sha256"`
	Modified time.Time `json:"modified"`
}

// PermissionTruth is a direct grant, or a link of that type and scope.
type PermissionTruth struct {
	Roles     []string   `json:"roles"`
	Grantees  []string   `json:"grantees,omitempty"` // object IDs, or addresses of strangers
	LinkType  string     `json:"linkType,omitempty"`
	LinkScope string     `json:"linkScope,omitempty"`
	Expires   *time.Time `json:"expires,omitempty"`
}

// DriveInfo is a drive as tests want to know it.
type DriveInfo struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Type   string `json:"type"` // business or documentLibrary
	System bool   `json:"system,omitempty"`
	// Invitations is how many mails sharing on this drive has sent.
	Invitations int `json:"invitations,omitempty"`
}

// DriveTruth returns every item of the default drive of a user, group or site (or of
// a drive by its ID), whatever their state. Ordered by path; the root is left out.
// Errors: an owner without a drive, content that cannot be read any more.
func (t *Tenant) DriveTruth(owner string) ([]FileTruth, error) {
	d, err := t.openDrive(owner)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []FileTruth{}
	for _, item := range d.order[1:] {
		if item.deleted {
			continue
		}
		truth, err := item.truth()
		if err != nil {
			return nil, err
		}
		list = append(list, truth)
	}
	slices.SortFunc(list, func(x, y FileTruth) int { return strings.Compare(x.Path, y.Path) })
	return list, nil
}

func (i *driveItem) truth() (FileTruth, error) {
	truth := FileTruth{ID: i.id, Path: i.path(), Modified: i.modified, Created: i.created, Folder: i.isContainer(),
		Package: i.pkg, Malware: i.malware, Unique: i.unique}
	if len(i.fields) > 0 {
		truth.Fields = map[string]string{}
		for name, value := range i.fields {
			truth.Fields[name] = sameJSON(value)
		}
	}
	for _, p := range i.grants {
		truth.Permissions = append(truth.Permissions, p.truth())
	}
	if i.remote != nil {
		truth.Shortcut = i.remote.drive + "/" + i.remote.item
	}
	if !i.isFile() {
		return truth, nil
	}
	if err := i.fingerprint(); err != nil {
		return truth, err
	}
	truth.Size, truth.SHA256 = i.data.size(), i.sha
	for n := range i.history {
		v := &i.history[n]
		if err := v.fingerprint(); err != nil {
			return truth, err
		}
		truth.Versions = append(truth.Versions, VersionTruth{ID: versionLabel(v.edition), Size: v.data.size(), SHA256: v.sha, Modified: v.modified})
	}
	return truth, nil
}

func (p *permission) truth() PermissionTruth {
	truth := PermissionTruth{Roles: p.roles, LinkType: p.linkType, LinkScope: p.linkScope, Expires: p.expires}
	for _, g := range p.grantees {
		id := g.id
		setDefault(&id, g.mail)
		truth.Grantees = append(truth.Grantees, id)
	}
	return truth
}

// Drives returns the libraries of the site that belongs to a user, group or site
// (or a drive), the system ones too. Errors: an owner without a site.
func (t *Tenant) Drives(owner string) ([]DriveInfo, error) {
	d, err := t.openDrive(owner)
	if err != nil {
		return nil, err
	}
	list := []DriveInfo{}
	for _, lib := range t.librariesOf(d.site) {
		each, err := t.openDrive(libraryID(d.site.id, lib.number))
		if err != nil {
			return nil, err
		}
		each.mu.Lock()
		list = append(list, DriveInfo{ID: each.id, Name: lib.name, Type: each.kind(), System: lib.system, Invitations: each.invitations})
		each.mu.Unlock()
	}
	return list, nil
}
