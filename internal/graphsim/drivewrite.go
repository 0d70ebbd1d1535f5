package graphsim

import (
	"errors"
	"net/http"
	"path"
	"time"
)

// maxPut is the largest file a plain PUT takes.
const maxPut = 250 << 20

func driveWriteRoutes() []route {
	return append(driveItemRoutes(
		driveWrite("POST", rolesFilesWrite, "$select").at("children", createFolder),
		driveWrite("PATCH", rolesFilesWrite, "$select").at("", patchItem),
		driveWrite("DELETE", rolesFilesWrite).at("", deleteItem),
		driveWrite("POST", rolesFilesWrite).at("permanentDelete", deleteItem),
	),
		driveWrite("POST", rolesFilesWrite).at("drives/{drive}/items/{item}/restore", restoreItem),
		driveWrite("PUT", rolesFilesWrite).at("drives/{drive}/items/{item}", commitSession),
		driveWrite("PUT", rolesFilesWrite).at("drives/{drive}/items/{item}/@path", commitSession),
		driveWrite("PUT", rolesFilesWrite, "$select", "@microsoft.graph.conflictBehavior").at("drives/{drive}/items/{item}/content", putContent),
		driveWrite("PUT", rolesFilesWrite, "$select", "@microsoft.graph.conflictBehavior").at("drives/{drive}/items/{item}/@path/content", putNewContent),
		driveWrite("POST", rolesUploadSession).at("drives/{drive}/items/{item}/createUploadSession", createSession),
		driveWrite("POST", rolesUploadSession).at("drives/{drive}/items/{item}/@path/createUploadSession", createNewSession),
	)
}

// fileTimes is the part of fileSystemInfo that clients may set.
type fileTimes struct {
	CreatedDateTime      *time.Time `json:"createdDateTime"`
	LastModifiedDateTime *time.Time `json:"lastModifiedDateTime"`
}

func (f *fileTimes) apply(item *driveItem) {
	if f == nil {
		return
	}
	if f.CreatedDateTime != nil {
		item.created = f.CreatedDateTime.UTC()
	}
	if f.LastModifiedDateTime != nil {
		item.modified = f.LastModifiedDateTime.UTC()
	}
}

func createFolder(c *call) error {
	var in struct {
		Name           string     `json:"name"`
		Folder         *struct{}  `json:"folder"`
		Conflict       string     `json:"@microsoft.graph.conflictBehavior"`
		Description    string     `json:"description"`
		FileSystemInfo *fileTimes `json:"fileSystemInfo"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := checkConflict(in.Conflict); err != nil {
		return err
	}
	if in.Folder == nil {
		return fail(http.StatusBadRequest, "invalidRequest", "Only folders are created here.")
	}
	return c.withItem(func(d *drive, parent *driveItem) error {
		if old := parent.children[fold(in.Name)]; old != nil {
			switch in.Conflict {
			case onConflictRename:
				in.Name = freeName(parent, in.Name)
			case onConflictReplace:
				if old.isFolder() {
					return c.answerItem(http.StatusOK, d, old)
				}
			}
		}
		item, err := d.addFolder(parent, in.Name)
		if err != nil {
			return err
		}
		in.FileSystemInfo.apply(item)
		item.author, item.editor, item.description = c.application(), c.application(), in.Description
		return c.answerItem(http.StatusCreated, d, item)
	})
}

func patchItem(c *call) error {
	var in struct {
		Name            *string    `json:"name"`
		Description     *string    `json:"description"`
		FileSystemInfo  *fileTimes `json:"fileSystemInfo"`
		ParentReference *struct {
			ID string `json:"id"`
		} `json:"parentReference"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withItem(func(d *drive, item *driveItem) error {
		if err := c.unchanged(item); err != nil {
			return err
		}
		parent, name := item.parent, item.name
		if in.ParentReference != nil && in.ParentReference.ID != "" {
			if parent = d.items[in.ParentReference.ID]; parent == nil || parent.deleted {
				return itemNotFound()
			}
		}
		if in.Name != nil {
			name = *in.Name
		}
		if parent != item.parent || name != item.name {
			if err := d.move(item, parent, name); err != nil {
				return err
			}
		} else {
			d.note(item)
		}
		in.FileSystemInfo.apply(item)
		if in.Description != nil {
			item.description = *in.Description
		}
		item.editor = c.application()
		return c.answerItem(http.StatusOK, d, item)
	})
}

// deleteItem takes an item away. The recycle bin it goes to cannot be seen through
// Graph, so a permanent deletion looks the same.
func deleteItem(c *call) error {
	return c.withItem(func(d *drive, item *driveItem) error {
		if err := c.unchanged(item); err != nil {
			return err
		}
		if err := d.remove(item); err != nil {
			return err
		}
		return c.empty(http.StatusNoContent)
	})
}

// restoreItem takes an item out of the recycle bin. On business drives it was not
// supported in 2021, and nothing newer says that it is (driveItem: restore).
func restoreItem(c *call) error {
	d, err := c.lockDrive()
	if err != nil {
		return err
	}
	defer d.mu.Unlock()
	item := d.items[c.param("item")]
	switch {
	case !c.s.o.SharePoint.RestoreDeleted:
		return fail(http.StatusNotImplemented, "notSupported", "Restoring is not supported on this drive.")
	case item == nil || !item.deleted || item.parent.deleted:
		return itemNotFound()
	}
	if err := d.unbury(item); err != nil {
		return err
	}
	return c.answerItem(http.StatusOK, d, item)
}

// putContent replaces a file by its ID; another conflict behaviour makes no sense there.
func putContent(c *call) error {
	if conflict := c.query.Get("@microsoft.graph.conflictBehavior"); conflict != "" && conflict != onConflictReplace {
		return fail(http.StatusBadRequest, "invalidRequest", "The content of an item is replaced; the conflict behavior '%s' is not supported here.", conflict)
	}
	data, err := c.fileBody()
	if err != nil {
		return err
	}
	return c.withFile(func(d *drive, item *driveItem) error {
		if err := c.unchanged(item); err != nil {
			return err
		}
		if err := d.room(data.size() - item.data.size()); err != nil {
			return err
		}
		d.setContent(item, data)
		item.editor = c.application()
		return c.answerItem(http.StatusOK, d, item)
	})
}

// fileBody stores the bytes of a plain PUT.
func (c *call) fileBody() (content, error) {
	tooBig := fail(http.StatusRequestEntityTooLarge, "invalidRequest", "The file is over %d bytes; use an upload session.", maxPut).
		withInner("maxFileSizeExceeded")
	if c.r.ContentLength > maxPut {
		return nil, tooBig
	}
	kept, err := c.s.keepStream(http.MaxBytesReader(c.w, c.r.Body, maxPut))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, tooBig
	case err != nil:
		return nil, badRequest("IO error during request payload read: %v", err)
	}
	return kept, nil
}

// newPlace is where path addressing points: the folder, which must exist, and the
// name, which need not.
func (c *call) newPlace(d *drive) (parent *driveItem, name string, err error) {
	base, err := c.base(d)
	if err != nil {
		return nil, "", err
	}
	dir, name := path.Split(c.param("@path"))
	if parent = base.at(dir); parent == nil {
		return nil, "", itemNotFound()
	}
	return parent, name, nil
}

func putNewContent(c *call) error {
	data, err := c.fileBody()
	if err != nil {
		return err
	}
	conflict := c.query.Get("@microsoft.graph.conflictBehavior")
	setDefault(&conflict, onConflictReplace)
	if err := checkConflict(conflict); err != nil {
		return err
	}
	d, err := c.lockDrive()
	if err != nil {
		return err
	}
	defer d.mu.Unlock()
	parent, name, err := c.newPlace(d)
	if err != nil {
		return err
	}
	if err := d.room(data.size()); err != nil {
		return err
	}
	item, fresh, err := d.putFile(parent, name, data, conflict)
	if err != nil {
		return err
	}
	item.signed(fresh, c.application())
	return c.answerItem(createdOr(fresh), d, item)
}

// signed names who wrote a file.
func (i *driveItem) signed(fresh bool, by string) {
	i.editor = by
	if fresh {
		i.author = by
	}
}

// checkConflict refuses a conflict behaviour that does not exist.
func checkConflict(behaviour string) error {
	switch behaviour {
	case "", onConflictFail, onConflictReplace, onConflictRename:
		return nil
	}
	return fail(http.StatusBadRequest, "invalidRequest", "The conflict behavior is fail, replace or rename.")
}

func createdOr(fresh bool) int {
	if fresh {
		return http.StatusCreated
	}
	return http.StatusOK
}
