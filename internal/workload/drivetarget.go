package workload

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// driveTarget writes into the drives of one owner. What it calls a folder is "drive/item".
type driveTarget[P Pages] struct {
	api         DriveWriter[P]
	of, owner   string
	folder      string
	conflict    string
	permissions bool
	only        string // the one drive that is written into, "" any of the owner's
	// find looks for a child of a folder: as DriveFinder.DriveChild, or with more of it.
	find func(ctx context.Context, drive, folder, name string) (jsontext.Value, error)
	// describe gives an item its values in the columns of a library; nil where there is none. It returns whether it
	// changed the item, with an error when that lacks some of them.
	describe func(ctx context.Context, w described) (changed bool, err error)
	said     *notes

	mu     sync.Mutex        // guards what follows
	drives []ownDrive        // of the owner
	tops   map[string]string // by drive: where restored files begin
	made   map[string]bool   // folders that this target made
	beside map[string]string // folders that have another name than they had, by ID: why
	plain  map[string]bool   // folders that were packages
}

type ownDrive struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type string `json:"driveType"`
}

// businessDrive is the driveType of a user's OneDrive ("drive resource type").
const businessDrive = "business"

// NewDriveTarget returns the target that writes into a user's drives; user is the Entra object ID. A drive
// is restored into the one it was, else into one of its name, else into the default drive; there into a folder
// of its own that is found or made under the root, or, without req.Folder, to the original places.
// req.Conflict is skip, copy or replace ("" is copy) and says what becomes of a file whose name a different
// one has; Invalid names a conflict that is none of these at the first write. With req.Permissions
// grants and links are made, too; nobody is told.
func NewDriveTarget[P Pages](api DriveWriter[P], user string, req tenantry.RestoreRequest) engine.Target {
	return newDriveTarget(api, ofUser, user, req)
}

func newDriveTarget[P Pages](api DriveWriter[P], of, owner string, req tenantry.RestoreRequest) *driveTarget[P] {
	return &driveTarget[P]{
		api: api, of: of, owner: owner, folder: req.Folder, conflict: req.Conflict, permissions: req.Permissions,
		find: api.DriveChild, said: &notes{},
		tops: map[string]string{}, made: map[string]bool{}, beside: map[string]string{}, plain: map[string]bool{},
	}
}

// Folder finds or makes the folder that stands for e, which may be a drive. The source drive's root stands for
// the place where the drive is restored.
func (t *driveTarget[P]) Folder(ctx context.Context, parent string, e repository.Entry, raw []byte) (string, error) {
	if within(e.ID) == "" {
		return t.drive(ctx, e, raw)
	}
	var d driveItem
	if err := parse("a stored folder", raw, &d); err != nil {
		return "", err
	}
	parent, err := t.place(ctx, parent)
	if err != nil || d.Root != nil {
		return parent, err
	}
	id, err := t.findOrMake(ctx, parent, d.Name, d)
	if tenantry.KindOf(err) == tenantry.Conflict { // a file has the name
		other := d.Name + " (restored)"
		if id, err = t.findOrMake(ctx, parent, other, d); err == nil {
			t.mu.Lock()
			defer t.mu.Unlock()
			if len(t.beside) < maxMade {
				t.beside[id] = other
			}
		}
	}
	return id, err
}

// Notes says what became of much of what was written, and is no fault of single files.
func (t *driveTarget[P]) Notes() string { return t.said.text() }

// Begin names a folder that is restored under another name, since a file has its own, or that was no folder, but a notebook:
// no request of v1.0 makes a package (package resource type).
func (t *driveTarget[P]) Begin(_ context.Context, id string, e repository.Entry, _ engine.OpenPart) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if other, ok := t.beside[id]; ok {
		return tenantry.Errorf(tenantry.Conflict, "restored as %q: a file has the name of folder %s now", other, e.Name)
	}
	if t.plain[id] && e.Kind == engine.KindPackage {
		return tenantry.Errorf(tenantry.Poison, "restored as a folder with the files of its sections: Graph makes no notebook of them")
	}
	return nil
}

// drive returns where a drive is restored.
func (t *driveTarget[P]) drive(ctx context.Context, e repository.Entry, raw []byte) (string, error) {
	source := ownDrive{Name: e.Name}
	if err := parse("a stored drive", raw, &source); err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.only != "" {
		return t.top(ctx, t.only)
	}
	if err := t.list(ctx); err != nil {
		return "", err
	}
	for _, same := range []func(d ownDrive) bool{
		func(d ownDrive) bool { return d.ID == source.ID },
		func(d ownDrive) bool { return strings.EqualFold(d.Name, source.Name) },
	} {
		for _, d := range t.drives {
			if same(d) {
				return t.top(ctx, d.ID)
			}
		}
	}
	top, err := t.defaultTop(ctx)
	if err != nil || source.Type == businessDrive {
		return top, err
	}
	return t.findOrMakeLocked(ctx, top, e.Name, driveItem{})
}

// list reads the owner's drives, once.
func (t *driveTarget[P]) list(ctx context.Context) error {
	if t.drives != nil {
		return nil
	}
	return walk(func(link string) (P, error) { return t.api.Drives(ctx, t.of, t.owner, link) }, func(raw jsontext.Value) error {
		var d ownDrive
		err := parse("a drive", raw, &d)
		t.drives = append(t.drives, d)
		return err
	})
}

// place returns the folder that the engine names; "" is the top of the default drive.
func (t *driveTarget[P]) place(ctx context.Context, folder string) (string, error) {
	if folder != "" {
		return folder, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.defaultTop(ctx)
}

func (t *driveTarget[P]) defaultTop(ctx context.Context) (string, error) {
	if t.only != "" {
		return t.top(ctx, t.only)
	}
	id, err := t.api.DefaultDrive(ctx, t.of, t.owner)
	if err != nil {
		return "", err
	}
	return t.top(ctx, id)
}

// top finds or makes the folder of a drive below which everything is restored.
func (t *driveTarget[P]) top(ctx context.Context, drive string) (string, error) {
	if known, ok := t.tops[drive]; ok {
		return known, nil
	}
	if err := knownConflict(t.conflict); err != nil {
		return "", err
	}
	root, err := t.api.DriveRoot(ctx, drive)
	if err != nil {
		return "", err
	}
	top := drive + "/" + root
	if t.folder != "" {
		if top, err = t.findOrMakeLocked(ctx, top, t.folder, driveItem{}); err != nil {
			return "", err
		}
	}
	t.tops[drive] = top
	return top, nil
}

// knownConflict refuses what is no way to treat a conflict.
func knownConflict(conflict string) error {
	switch conflict {
	case "", conflictSkip, conflictCopy, conflictReplace:
		return nil
	}
	return tenantry.Errorf(tenantry.Invalid, "restore: conflict is %q, not skip, copy or replace", conflict)
}

func (t *driveTarget[P]) findOrMake(ctx context.Context, parent, name string, like driveItem) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.findOrMakeLocked(ctx, parent, name, like)
}

// findOrMakeLocked finds a folder by its name or makes it, with the times of another. Conflict: something else
// has the name.
func (t *driveTarget[P]) findOrMakeLocked(ctx context.Context, parent, name string, like driveItem) (string, error) {
	drive, folder, _ := strings.Cut(parent, "/")
	d, ok, err := t.child(ctx, parent, name)
	made := false
	if err == nil && !ok {
		created, modified := like.fileTimes()
		var raw jsontext.Value
		raw, err = t.api.CreateDriveFolder(ctx, drive, folder, name, created, modified)
		if tenantry.KindOf(err) == tenantry.Conflict { // made by somebody else since we looked
			d, _, err = t.child(ctx, parent, name)
		} else if err == nil {
			made, err = true, parse("a new folder", raw, &d)
		}
	}
	switch {
	case err != nil:
		return "", err
	case d.kind() != engine.KindFolder && d.kind() != engine.KindPackage:
		return "", tenantry.Errorf(tenantry.Conflict, "restore folder %s: a file has its name", name)
	}
	id := drive + "/" + d.ID
	if made && len(t.made) < maxMade {
		t.made[id] = true
	}
	if like.kind() == engine.KindPackage && d.kind() != engine.KindPackage && len(t.plain) < maxMade {
		t.plain[id] = true
	}
	return id, nil
}

// maxMade bounds the folders that are remembered as made.
const maxMade = 100_000

func (t *driveTarget[P]) child(ctx context.Context, parent, name string) (d driveItem, ok bool, err error) {
	drive, folder, _ := strings.Cut(parent, "/")
	raw, err := t.find(ctx, drive, folder, name)
	if tenantry.KindOf(err) == tenantry.NotFound {
		return d, false, nil
	}
	if err != nil {
		return d, false, err
	}
	return d, true, parse("a drive item", raw, &d)
}

// Finish gives a folder that was restored its times, which what was put into it has changed, and its
// permissions. A folder that was there in its original place keeps its own times.
func (t *driveTarget[P]) Finish(ctx context.Context, id string, e repository.Entry, raw []byte, open engine.OpenPart) error {
	var d driveItem
	if within(e.ID) == "" {
		return nil
	}
	if err := parse("a stored folder", raw, &d); err != nil || d.Root != nil {
		return err
	}
	drive, folder, _ := strings.Cut(id, "/")
	t.mu.Lock()
	ours := t.made[id] || t.folder != ""
	t.mu.Unlock()
	var lost error
	if ours && t.describe != nil {
		if _, err := t.describe(ctx, described{stored: e.ID, drive: drive, item: folder, row: d.Row, like: &d}); err != nil {
			if !isLost(err) {
				return err
			}
			lost = err
		}
	}
	if created, modified := d.fileTimes(); ours && !modified.IsZero() {
		if err := t.api.SetItemTimes(ctx, drive, folder, created, modified); err != nil {
			return err
		}
	}
	return cmp.Or(t.share(ctx, drive, folder, e, open), lost)
}

// Item writes a file, unless it is there.
func (t *driveTarget[P]) Item(ctx context.Context, folder string, e repository.Entry, raw []byte, open engine.OpenPart) (engine.Written, error) {
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
	if slices.ContainsFunc(e.Parts, func(p repository.Part) bool { return strings.HasPrefix(p.Name, versionPart) }) {
		t.said.say(versionsNote)
	}
	written, there, lost, err := t.file(ctx, folder, d, content, open)
	if err != nil {
		return engine.Written{}, err
	}
	drive, _, _ := strings.Cut(folder, "/")
	if t.describe != nil && (!written.Existed || sameFile(there, d, content)) {
		unset := t.values(ctx, drive, e, d, there, written)
		if unset != nil && !isLost(unset) {
			return written, unset
		}
		lost = cmp.Or(lost, unset)
	}
	return written, cmp.Or(t.share(ctx, drive, written.ID, e, open), lost)
}

// values gives a file its values in the columns of the library, and then the times that writing them has changed.
func (t *driveTarget[P]) values(ctx context.Context, drive string, e repository.Entry, d, there driveItem, w engine.Written) error {
	ask := described{stored: e.ID, drive: drive, item: w.ID, row: d.Row, like: &d}
	if w.Existed {
		ask.like, ask.existed, ask.there = &there, true, there.Row
	}
	changed, lost := t.describe(ctx, ask)
	if created, modified := ask.like.fileTimes(); changed && !modified.IsZero() {
		if err := t.api.SetItemTimes(ctx, drive, w.ID, created, modified); err != nil {
			return err
		}
	}
	return lost
}

// file returns what it found, too, where it left that, and as lost why the file is not where it was, though what has its
// place should have been replaced.
func (t *driveTarget[P]) file(ctx context.Context, folder string, d driveItem, content repository.Part, open engine.OpenPart) (w engine.Written, there driveItem, lost, err error) {
	for i, name := range names(d.Name, content) {
		there, ok, err := t.child(ctx, folder, name)
		switch {
		case err != nil:
			return w, there, lost, err
		case !ok:
			w, err = t.upload(ctx, folder, name, "fail", d, content, open)
			return w, there, lost, err
		case sameFile(there, d, content) || i == 0 && t.conflict == conflictSkip:
			return engine.Written{ID: there.ID, Existed: true}, there, lost, nil
		case i == 0 && t.conflict == conflictReplace && there.kind() == kindFile:
			w, err = t.upload(ctx, folder, name, "replace", d, content, open)
			return w, there, lost, err
		case i == 0 && t.conflict == conflictReplace:
			lost = tenantry.Errorf(tenantry.Conflict, "restored beside what has its place, under another name: there is a %s now", there.kind())
		}
	}
	return w, there, lost, tenantry.Errorf(tenantry.Conflict, "restore file %s: its name and those of its copies are taken", d.Name)
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
	return (there.hash() == "" || altered(d.Name)) && !want.IsZero() && has.Unix() == want.Unix()
}

// altered reports whether SharePoint writes into files of that name.
func altered(name string) bool {
	return strings.Contains(officeFiles, strings.ToLower(path.Ext(name))+".")
}

// officeFiles are the extensions of files that SharePoint writes properties into.
const officeFiles = ".docx.docm.dotx.xlsx.xlsm.xltx.pptx.pptm.potx.doc.xls.ppt."

func (t *driveTarget[P]) upload(ctx context.Context, folder, name, conflict string, d driveItem, content repository.Part, open engine.OpenPart) (engine.Written, error) {
	drive, parent, _ := strings.Cut(folder, "/")
	created, modified := d.fileTimes()
	raw, err := t.api.Upload(ctx, drive, parent, name, conflict, created, modified, uploadOf(content, open))
	if err != nil {
		return engine.Written{}, err
	}
	var made driveItem
	if err := parse("a new file", raw, &made); err != nil {
		return engine.Written{}, err
	}
	if made.hash() != "" && d.hash() != "" && made.hash() != d.hash() && !altered(d.Name) {
		return engine.Written{}, tenantry.Errorf(tenantry.Internal, "restore file %s: the service says of what it was sent that it is another content", name)
	}
	return engine.Written{ID: made.ID}, nil
}

// uploadOf is a stored part as it is uploaded.
func uploadOf(p repository.Part, open engine.OpenPart) tenantry.Upload {
	return tenantry.Upload{
		Size: p.Size, Version: hex.EncodeToString(p.Digest),
		Open: func(ctx context.Context, from int64) (io.ReadCloser, error) { return open(ctx, p, from) },
	}
}

// fileTimes returns the times to give a restored file or folder.
func (d *driveItem) fileTimes() (created, modified time.Time) {
	return instant(d.Times.Created), instant(d.Times.Modified)
}
