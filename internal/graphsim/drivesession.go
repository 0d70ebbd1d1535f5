package graphsim

import (
	"net/http"
	"strings"
)

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
	return c.withFile(func(d *drive, item *driveItem) error {
		if err := c.unchanged(item); err != nil {
			return err
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
	if old := parent.children[fold(name)]; old != nil {
		if err := c.unchanged(old); err != nil {
			return err
		}
	}
	return c.startSession(in, &fileUpload{drive: d, parent: parent, name: name})
}

func (c *call) sessionRequest() (in sessionRequest, err error) {
	if c.r.ContentLength != 0 {
		err = c.decode(&in)
	}
	if err == nil {
		err = checkConflict(in.Item.Conflict)
	}
	if c.s.lenient(c.r) {
		setDefault(&in.Item.Conflict, onConflictReplace)
	}
	setDefault(&in.Item.Conflict, onConflictFail)
	return in, err
}

// maxFile is the largest file SharePoint holds (SharePoint Embedded limits).
const maxFile = 250 << 30

func (c *call) startSession(in sessionRequest, up *fileUpload) error {
	total := int64(-1)
	if in.Item.FileSize != nil {
		total = *in.Item.FileSize
	}
	switch {
	case in.Item.FileSize != nil && total < 0:
		return fail(http.StatusBadRequest, "invalidRequest", "fileSize is negative.")
	case total > maxFile:
		return fail(http.StatusRequestEntityTooLarge, "invalidRequest", "The file is too large.").withInner("maxFileSizeExceeded")
	}
	if err := up.drive.room(total); err != nil {
		return err
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
	if (item != nil && item.deleted) || (u.parent != nil && u.parent.deleted) {
		return nil, itemNotFound()
	}
	if err := u.drive.room(data.size()); err != nil {
		return nil, err
	}
	if item != nil {
		u.drive.setContent(item, data)
	} else {
		var err error
		if item, fresh, err = u.drive.putFile(u.parent, u.name, data, u.conflict); err != nil {
			return nil, err
		}
	}
	item.signed(fresh, u.call.application())
	u.times.apply(item)
	return &uploadResult{status: createdOr(fresh), body: u.call.renderItem(u.drive, item, itemView{})}, nil
}

// commitSession ends a session whose bytes are there but whose name was taken: a PUT
// of the item, with the URL of the session as its source (createUploadSession).
func commitSession(c *call) error {
	var in struct {
		Name     string `json:"name"`
		Conflict string `json:"@microsoft.graph.conflictBehavior"`
		Source   string `json:"@microsoft.graph.sourceUrl"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := checkConflict(in.Conflict); err != nil {
		return err
	}
	_, id, found := strings.Cut(in.Source, "/upload/")
	if !found {
		return fail(http.StatusBadRequest, "invalidRequest", "@microsoft.graph.sourceUrl is required.")
	}
	session := c.s.uploads.find(id)
	if session == nil {
		return itemNotFound().withInner("uploadSessionNotFound")
	}
	session.mu.Lock()
	defer session.mu.Unlock()
	target, ok := session.target.(*fileUpload)
	if !ok {
		return itemNotFound().withInner("uploadSessionNotFound")
	}
	if err := c.redirectSession(target, in.Name); err != nil {
		return err
	}
	setDefault(&in.Conflict, onConflictFail)
	target.conflict = in.Conflict
	return session.commit(c.s, c.w)
}

// redirectSession gives a session the place that a commit names.
func (c *call) redirectSession(target *fileUpload, name string) error {
	d, err := c.lockDrive()
	if err != nil {
		return err
	}
	defer d.mu.Unlock()
	if d != target.drive {
		return itemNotFound().withInner("uploadSessionNotFound")
	}
	if c.param("@path") == "" {
		if target.item, err = c.base(d); err != nil {
			return err
		}
		return nil
	}
	parent, last, err := c.newPlace(d)
	if err != nil {
		return err
	}
	setDefault(&name, last)
	target.item, target.parent, target.name = nil, parent, name
	return checkName(parent, name)
}
