package graphsim

import (
	"net/http"
	"path"
	"time"
)

// maxPut is the largest file a plain PUT takes.
const maxPut = 250 << 20

func driveWriteRoutes() []route {
	const item = "drives/{drive}/items/{item}"
	write := func(method, pattern string, roles []string, handle func(*call) error) route {
		return route{method: method, pattern: pattern, service: sharePoint, units: 2, roles: roles, handle: handle}
	}
	return []route{
		write("POST", item+"/children", rolesFilesWrite, createFolder),
		write("PATCH", item, rolesFilesWrite, patchItem),
		write("DELETE", item, rolesFilesWrite, deleteItem),
		write("PUT", item+"/content", rolesFilesWrite, putContent),
		write("PUT", item+"/@path/content", rolesFilesWrite, putNewContent),
		write("POST", item+"/createUploadSession", rolesUploadSession, createSession),
		write("POST", item+"/@path/createUploadSession", rolesUploadSession, createNewSession),
	}
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
		FileSystemInfo *fileTimes `json:"fileSystemInfo"`
	}
	if err := c.decode(&in); err != nil {
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
		return c.answerItem(http.StatusCreated, d, item)
	})
}

func patchItem(c *call) error {
	var in struct {
		Name            *string    `json:"name"`
		FileSystemInfo  *fileTimes `json:"fileSystemInfo"`
		ParentReference *struct {
			ID string `json:"id"`
		} `json:"parentReference"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withItem(func(d *drive, item *driveItem) error {
		if match := c.r.Header.Get("If-Match"); match != "" && match != "*" && match != item.etag() {
			return fail(http.StatusPreconditionFailed, "resourceModified", "The resource has changed since the caller last read it.")
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
		return c.answerItem(http.StatusOK, d, item)
	})
}

func deleteItem(c *call) error {
	return c.withItem(func(d *drive, item *driveItem) error {
		if err := d.remove(item); err != nil {
			return err
		}
		return c.empty(http.StatusNoContent)
	})
}

func putContent(c *call) error {
	data, err := c.fileBody()
	if err != nil {
		return err
	}
	return c.withItem(func(d *drive, item *driveItem) error {
		if item.isFolder() {
			return fail(http.StatusBadRequest, "invalidRequest", "A folder has no content.")
		}
		d.setContent(item, data)
		return c.answerItem(http.StatusOK, d, item)
	})
}

func (c *call) fileBody() (content, error) {
	raw, err := c.body(maxPut)
	if err != nil {
		return nil, err
	}
	return c.s.keep(raw)
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
	d, err := c.lockDrive()
	if err != nil {
		return err
	}
	defer d.mu.Unlock()
	parent, name, err := c.newPlace(d)
	if err != nil {
		return err
	}
	item, fresh, err := d.putFile(parent, name, data, conflict)
	if err != nil {
		return err
	}
	return c.answerItem(createdOr(fresh), d, item)
}

func createdOr(fresh bool) int {
	if fresh {
		return http.StatusCreated
	}
	return http.StatusOK
}

// fileUpload is an upload session of a file. item is what it replaces, or nil
// for a new name in parent.
type fileUpload struct {
	call     *call // for rendering the answer
	drive    *drive
	item     *driveItem
	parent   *driveItem
	name     string
	conflict string
	times    *fileTimes
}

// sessionRequest is the body of createUploadSession.
type sessionRequest struct {
	Item struct {
		Conflict       string     `json:"@microsoft.graph.conflictBehavior"`
		Name           string     `json:"name"`
		FileSize       *int64     `json:"fileSize"`
		FileSystemInfo *fileTimes `json:"fileSystemInfo"`
	} `json:"item"`
	DeferCommit bool `json:"deferCommit"`
}

func createSession(c *call) error {
	in, err := c.sessionRequest()
	if err != nil {
		return err
	}
	return c.withItem(func(d *drive, item *driveItem) error {
		if match := c.r.Header.Get("If-Match"); match != "" && match != item.etag() {
			return fail(http.StatusPreconditionFailed, "resourceModified", "The resource has changed since the caller last read it.")
		}
		return c.startSession(in, &fileUpload{drive: d, item: item})
	})
}

func createNewSession(c *call) error {
	in, err := c.sessionRequest()
	if err != nil {
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
	if in.Item.Name != "" {
		name = in.Item.Name
	}
	if err := checkName(parent, name); err != nil {
		return err
	}
	return c.startSession(in, &fileUpload{drive: d, parent: parent, name: name})
}

func (c *call) sessionRequest() (in sessionRequest, err error) {
	if c.r.ContentLength != 0 {
		err = c.decode(&in)
	}
	setDefault(&in.Item.Conflict, onConflictFail)
	return in, err
}

func (c *call) startSession(in sessionRequest, up *fileUpload) error {
	total := int64(-1)
	if in.Item.FileSize != nil {
		total = *in.Item.FileSize
	}
	up.call, up.conflict, up.times = c, in.Item.Conflict, in.Item.FileSystemInfo
	session, err := c.s.uploads.start(c.s, total, up)
	if err != nil {
		return err
	}
	session.deferred = in.DeferCommit
	o := newObject(nil)
	o.str("uploadUrl", c.filesRoot()+"/upload/"+session.id)
	o.instant("expirationDateTime", session.expiry())
	o.raw("nextExpectedRanges", `["0-"]`)
	return c.json(http.StatusOK, o.done())
}

// fragmentUnit is what fragments but the last must be a multiple of, and
// maxFragment what each must stay below (createUploadSession page).
const (
	fragmentUnit = 320 << 10
	maxFragment  = 60 << 20
)

func (u *fileUpload) fragmentRule(size int64, last bool) *apiError {
	switch {
	case size >= maxFragment:
		return fail(http.StatusRequestEntityTooLarge, "invalidRequest", "A fragment must be below 60 MiB.").withInner("maxFragmentLengthExceeded")
	case !last && size%fragmentUnit != 0:
		return fail(http.StatusBadRequest, "invalidRequest", "A fragment must be a multiple of 320 KiB.").withInner("fragmentLengthMismatch")
	}
	return nil
}

func (u *fileUpload) finish(_ *Server, data content) (*uploadResult, error) {
	u.drive.mu.Lock()
	defer u.drive.mu.Unlock()
	item, fresh := u.item, false
	switch {
	case item != nil && item.deleted, u.parent != nil && u.parent.deleted:
		return nil, itemNotFound()
	case item != nil:
		u.drive.setContent(item, data)
	default:
		var err error
		if item, fresh, err = u.drive.putFile(u.parent, u.name, data, u.conflict); err != nil {
			return nil, err
		}
	}
	u.times.apply(item)
	return &uploadResult{status: createdOr(fresh), body: u.call.renderItem(u.drive, item, itemView{})}, nil
}
