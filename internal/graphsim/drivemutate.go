package graphsim

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// withPath calls do with the item at a path of a drive, under the drive's lock.
func (t *Tenant) withPath(owner, name string, do func(*drive, *driveItem) error) error {
	return t.withDrive(owner, func(d *drive) error {
		item := d.root.at(name)
		if item == nil {
			return itemNotFound()
		}
		return do(d, item)
	})
}

// inFolder calls do with the folder of a path, made if it is missing, and the name.
func (t *Tenant) inFolder(owner, name string, do func(d *drive, parent *driveItem, name string) error) error {
	return t.withDrive(owner, func(d *drive) error {
		dir, base := path.Split(strings.Trim(name, "/"))
		parent, err := d.folders(dir)
		if err != nil {
			return err
		}
		return do(d, parent, base)
	})
}

// ShareFile grants a user or group (by object ID) a role (read, write or owner) on a
// file or folder, by path, and returns the permission's ID.
func (t *Tenant) ShareFile(owner, name, with, role string) (id string, err error) {
	t.mu.RLock()
	g := grantee{kind: "user", id: with}
	if e := t.users.find(with); e != nil {
		g.name, g.mail = e.name, t.principalName(e)
	} else if e := t.groups.find(with); e != nil {
		g.kind, g.name = "group", e.name
	} else {
		g.id = ""
	}
	t.mu.RUnlock()
	setDefault(&role, "read")
	if g.id == "" || unknownRole(role) {
		return "", fmt.Errorf("graphsim: cannot share with %q as %q", with, role)
	}
	err = t.withPath(owner, name, func(d *drive, item *driveItem) error {
		id = d.grant(item, &permission{roles: []string{role}, grantees: []grantee{g}}).id
		return nil
	})
	return id, err
}

// LinkFile makes a sharing link of a type (view, edit, embed) and a scope (anonymous,
// organization, users), whatever the tenant's settings, and returns the permission's ID.
func (t *Tenant) LinkFile(owner, name, linkType, scope string) (id string, err error) {
	if !slices.Contains([]string{"view", "edit", "embed"}, linkType) || !slices.Contains([]string{"anonymous", "organization", "users"}, scope) {
		return "", fmt.Errorf("graphsim: no link of type %q and scope %q", linkType, scope)
	}
	err = t.withPath(owner, name, func(d *drive, item *driveItem) error {
		id = d.grant(item, &permission{roles: linkRoles(linkType), linkType: linkType, linkScope: scope}).id
		return nil
	})
	return id, err
}

// UnshareFile removes one permission of a file or folder; "" removes all of its own.
func (t *Tenant) UnshareFile(owner, name, id string) error {
	return t.withPath(owner, name, func(d *drive, item *driveItem) error {
		for _, p := range slices.Clone(item.grants) {
			if id == "" || p.id == id {
				d.ungrant(item, p.id)
			}
		}
		return nil
	})
}

// IsolateFile stops an item from inheriting permissions; keep copies what it inherits.
func (t *Tenant) IsolateFile(owner, name string, keep bool) error {
	return t.withPath(owner, name, func(d *drive, item *driveItem) error {
		d.breakInheritance(item, keep)
		return nil
	})
}

// InfectFile marks a file as infected: it is listed, but not given out. A new
// content heals it.
func (t *Tenant) InfectFile(owner, name string) error {
	return t.withPath(owner, name, func(d *drive, item *driveItem) error {
		if !item.isFile() {
			return itemNotFound()
		}
		item.malware = "Trojan:Win32/Simulated"
		d.note(item)
		return nil
	})
}

// NewNotebook makes a OneNote notebook at a path and returns its ID.
func (t *Tenant) NewNotebook(owner, name string) (id string, err error) {
	err = t.inFolder(owner, name, func(d *drive, parent *driveItem, base string) error {
		item, err := d.addNotebook(parent, base)
		if err == nil {
			id = item.id
		}
		return err
	})
	return id, err
}

// NewShortcut makes a shortcut at a path to an item of another drive, by path, and
// returns its ID.
func (t *Tenant) NewShortcut(owner, name, targetOwner, target string) (id string, err error) {
	to := &shortcut{}
	err = t.withPath(targetOwner, target, func(d *drive, item *driveItem) error {
		*to = shortcut{drive: d.id, item: item.id, name: item.name, folder: item.isContainer(), size: item.totalSize()}
		return nil
	})
	if err != nil {
		return "", err
	}
	err = t.inFolder(owner, name, func(d *drive, parent *driveItem, base string) error {
		item, err := d.addShortcut(parent, base, to)
		if err == nil {
			id = item.id
		}
		return err
	})
	return id, err
}

// TouchFile sets the modification time of a file, as a client that syncs it does.
func (t *Tenant) TouchFile(owner, name string, modified time.Time) error {
	return t.withPath(owner, name, func(d *drive, item *driveItem) error {
		item.modified = modified.UTC()
		d.note(item)
		return nil
	})
}

// ResyncDrive makes a drive forget the delta tokens it gave out. With keepBoth the
// answer to them is resyncChangesUploadDifferences, else resyncChangesApplyDifferences.
func (t *Tenant) ResyncDrive(owner string, keepBoth bool) error {
	d, err := t.openDrive(owner)
	if err != nil {
		return err
	}
	d.resync(keepBoth)
	return nil
}

// applyDrive makes a change of a drive; known is false for another op.
func (t *Tenant) applyDrive(m Mutation) (id string, known bool, err error) {
	text := func(name string) string { s, _ := m.Properties[name].(string); return s }
	flag := func(name string) bool { b, _ := m.Properties[name].(bool); return b }
	known = true
	switch strings.ToLower(m.Op) {
	case "sharefile":
		id, err = t.ShareFile(m.User, m.Path, m.To, text("role"))
	case "linkfile":
		id, err = t.LinkFile(m.User, m.Path, text("type"), text("scope"))
	case "unsharefile":
		err = t.UnshareFile(m.User, m.Path, m.ID)
	case "isolatefile":
		err = t.IsolateFile(m.User, m.Path, flag("keep"))
	case "infectfile":
		err = t.InfectFile(m.User, m.Path)
	case "newnotebook":
		id, err = t.NewNotebook(m.User, m.Path)
	case "newshortcut":
		id, err = t.NewShortcut(m.User, m.Path, m.ID, m.To)
	case "touchfile":
		var at time.Time
		if at, err = time.Parse(time.RFC3339, text("modified")); err == nil {
			err = t.TouchFile(m.User, m.Path, at)
		}
	case "setfilefields":
		err = t.SetFileFields(m.User, m.Path, m.Properties)
	case "resyncdrive":
		err = t.ResyncDrive(m.User, flag("keepBoth"))
	default:
		known = false
	}
	return id, known, err
}
