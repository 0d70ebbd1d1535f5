package workload

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// driveTarget writes into one drive.
type driveTarget struct {
	api      DriveWriter
	drive    string
	folder   string
	conflict string

	mu   sync.Mutex // guards root
	root string
}

// NewDriveTarget returns the target that writes into a drive: into a folder of its own that is found or
// made under the root, or, with folder "", to the original places. conflict is skip, copy or replace
// ("" is copy) and says what becomes of a file whose name a different one has. Invalid names a
// conflict that is none of these at the first write.
func NewDriveTarget(api DriveWriter, driveID, folder, conflict string) engine.Target {
	return &driveTarget{api: api, drive: driveID, folder: folder, conflict: conflict}
}

// Folder finds or makes the folder that stands for e. The source drive's root stands for the target's.
func (t *driveTarget) Folder(ctx context.Context, parent string, e repository.Entry, raw []byte) (string, error) {
	var d driveItem
	if err := parse("a stored folder", raw, &d); err != nil {
		return "", err
	}
	parent, err := t.place(ctx, parent)
	if err != nil || d.Root != nil {
		return parent, err
	}
	id, err := t.findOrMake(ctx, parent, d.Name)
	if tenantry.KindOf(err) == tenantry.Conflict { // a file has the name
		id, err = t.findOrMake(ctx, parent, d.Name+" (restored)")
	}
	return id, err
}

// place returns the ID of a folder that the engine names; "" is the target's root.
func (t *driveTarget) place(ctx context.Context, folder string) (string, error) {
	if folder != "" {
		return folder, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.root != "" {
		return t.root, nil
	}
	switch t.conflict {
	case "", conflictSkip, conflictCopy, conflictReplace:
	default:
		return "", tenantry.Errorf(tenantry.Invalid, "restore: conflict is %q, not skip, copy or replace", t.conflict)
	}
	root, err := t.api.DriveRoot(ctx, t.drive)
	if err != nil {
		return "", err
	}
	if t.folder != "" {
		if root, err = t.findOrMake(ctx, root, t.folder); err != nil {
			return "", err
		}
	}
	t.root = root
	return root, nil
}

// findOrMake finds a folder by its name or makes it. Conflict: something else has the name.
func (t *driveTarget) findOrMake(ctx context.Context, parent, name string) (string, error) {
	d, ok, err := t.child(ctx, parent, name)
	if err == nil && !ok {
		var raw jsontext.Value
		raw, err = t.api.CreateDriveFolder(ctx, t.drive, parent, name)
		if tenantry.KindOf(err) == tenantry.Conflict { // made by somebody else since we looked
			d, _, err = t.child(ctx, parent, name)
		} else if err == nil {
			err = parse("a new folder", raw, &d)
		}
	}
	switch {
	case err != nil:
		return "", err
	case d.kind() != engine.KindFolder && d.kind() != engine.KindPackage:
		return "", tenantry.Errorf(tenantry.Conflict, "restore folder %s: a file has its name", name)
	}
	return d.ID, nil
}

func (t *driveTarget) child(ctx context.Context, parent, name string) (d driveItem, ok bool, err error) {
	raw, err := t.api.DriveChild(ctx, t.drive, parent, name)
	if tenantry.KindOf(err) == tenantry.NotFound {
		return d, false, nil
	}
	if err != nil {
		return d, false, err
	}
	return d, true, parse("a drive item", raw, &d)
}

// Item writes a file, unless it is there.
func (t *driveTarget) Item(ctx context.Context, folder string, e repository.Entry, raw []byte, open engine.OpenPart) (engine.Written, error) {
	var d driveItem
	if err := parse("a stored drive item", raw, &d); err != nil {
		return engine.Written{}, err
	}
	content, err := fileContent(e)
	if err != nil {
		return engine.Written{}, err
	}
	if folder, err = t.place(ctx, folder); err != nil {
		return engine.Written{}, err
	}
	for i, name := range names(d.Name, content) {
		there, ok, err := t.child(ctx, folder, name)
		switch {
		case err != nil:
			return engine.Written{}, err
		case !ok:
			return t.upload(ctx, folder, name, "fail", d, content, open)
		case sameFile(there, d, content) || i == 0 && t.conflict == conflictSkip:
			return engine.Written{ID: there.ID, Existed: true}, nil
		case i == 0 && t.conflict == conflictReplace && there.kind() == kindFile:
			return t.upload(ctx, folder, name, "replace", d, content, open)
		}
	}
	return engine.Written{}, tenantry.Errorf(tenantry.Conflict, "restore file %s: its name and those of its copies are taken", d.Name)
}

func fileContent(e repository.Entry) (repository.Part, error) {
	for _, p := range e.Parts {
		if p.Name == contentPart {
			return p, nil
		}
	}
	if e.Kind == kindShortcut {
		return repository.Part{}, tenantry.Errorf(tenantry.Poison, "restore %s: it is a shortcut to another drive, which Graph cannot write", e.Name)
	}
	return repository.Part{}, tenantry.Errorf(tenantry.Poison, "restore %s: its content was not saved", e.Name)
}

// names are what a restored file may be called, in order: its own name, and those of a copy. They depend
// on nothing but the file, so that a repeated restore finds what the first one wrote.
func names(name string, content repository.Part) []string {
	ext := path.Ext(name)
	base := strings.TrimSuffix(name, ext)
	if base == "" { // ".profile" has no extension
		base, ext = name, ""
	}
	return []string{
		name,
		base + " (restored)" + ext,
		fmt.Sprintf("%s (restored %.8s)%s", base, shortHash(content.Digest), ext),
	}
}

// sameFile reports whether what is there is what would be written: the same bytes, or an Office file that an
// earlier restore wrote. SharePoint writes properties into those, but keeps the time.
func sameFile(there, d driveItem, content repository.Part) bool {
	if there.kind() != kindFile {
		return false
	}
	if there.hash() != "" && there.hash() == d.hash() && there.Size == content.Size {
		return true
	}
	_, has := there.fileTimes()
	_, want := d.fileTimes()
	altered := there.hash() == "" || strings.Contains(officeFiles, strings.ToLower(path.Ext(d.Name))+".")
	return altered && !want.IsZero() && has.Unix() == want.Unix()
}

// officeFiles are the extensions of files that SharePoint writes properties into.
const officeFiles = ".docx.docm.dotx.xlsx.xlsm.xltx.pptx.pptm.potx.doc.xls.ppt."

func (t *driveTarget) upload(ctx context.Context, folder, name, conflict string, d driveItem, content repository.Part, open engine.OpenPart) (engine.Written, error) {
	body, err := open(ctx, content)
	if err != nil {
		return engine.Written{}, err
	}
	defer body.Close()
	created, modified := d.fileTimes()
	raw, err := t.api.Upload(ctx, t.drive, folder, name, conflict, content.Size, created, modified, body)
	if err != nil {
		return engine.Written{}, err
	}
	var made driveItem
	if err := parse("a new file", raw, &made); err != nil {
		return engine.Written{}, err
	}
	return engine.Written{ID: made.ID}, nil
}
