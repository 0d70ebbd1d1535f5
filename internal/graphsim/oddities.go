package graphsim

import (
	"net/http"
	"time"
)

// shortcut is a remote item: a reference to an item of another drive.
type shortcut struct {
	drive, item, name string
	folder            bool
	size              int64
}

func (s *shortcut) facet() string {
	o := newObject(nil)
	o.str("id", s.item)
	o.str("name", s.name)
	o.num("size", s.size)
	if s.folder {
		o.raw("folder", `{}`)
	} else {
		o.raw("file", `{"mimeType":`+quoted(mimeType(s.name))+`}`)
	}
	o.raw("parentReference", `{"driveId":`+quoted(s.drive)+`}`)
	return string(o.done())
}

// addShortcut hangs a reference to an item of another drive into a folder.
func (d *drive) addShortcut(parent *driveItem, name string, to *shortcut) (*driveItem, error) {
	if err := checkName(parent, name); err != nil {
		return nil, err
	}
	if parent.children[fold(name)] != nil {
		return nil, nameAlreadyExists()
	}
	item := d.newItem(parent, name)
	item.remote, item.created = to, time.Now().UTC().Truncate(time.Second)
	item.modified = item.created
	d.note(item)
	return item, nil
}

// addNotebook makes a OneNote package with a section and its table of contents.
func (d *drive) addNotebook(parent *driveItem, name string) (*driveItem, error) {
	item, err := d.addFolder(parent, name)
	if err != nil {
		return nil, err
	}
	item.pkg = "oneNote"
	for n, part := range []string{"Open Notebook.onetoc2", "Section 1.one"} {
		data := seededContent{seed: mix(d.seed, item.number, uint64(n)), length: int64(6_000 * (n + 1))}
		if _, _, err := d.putFile(item, part, data, onConflictFail); err != nil {
			return nil, err
		}
	}
	return item, nil
}

// inNotebook reports whether an item is a part of a package.
func (i *driveItem) inNotebook() bool {
	for at := i.parent; at != nil; at = at.parent {
		if at.pkg != "" {
			return true
		}
	}
	return false
}

// unreadable is the answer to a download of a file whose bytes are not given out:
// an infected one, or, as long as it is not documented that they can be read, a
// part of a notebook, for which tools have seen 503 without end.
func (s *Server) unreadable(item *driveItem) *apiError {
	switch {
	case item.malware != "":
		return fail(http.StatusForbidden, "malwareDetected", "Malware was detected in the requested file.").
			withInner("virusSuspicious").with("X-Virus-Infected", "true")
	case item.inNotebook() && !s.o.SharePoint.NotebookContent:
		return fail(http.StatusServiceUnavailable, "serviceNotAvailable", "The service is not available. Try the request again after a delay.")
	}
	return nil
}
