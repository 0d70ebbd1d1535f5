package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// What the workloads call the items and parts that have a form of their own.
const (
	exportMessage  = "message"
	exportEvent    = "event"
	exportContact  = "contact"
	exportContent  = "content"          // part: the bytes of a file
	exportList     = "attachments.json" // part: what is attached
	exportSeries   = "series.json"      // part: exceptions of a recurring event
	exportPhoto    = "photo"            // part: a contact's picture
	exportExpanded = ".json"            // suffix of an attached item's JSON
	exportDrive    = "drive:"           // what the ID of a drive begins with
)

const (
	// maxExportName bounds a file's name in bytes: most file systems take 255.
	maxExportName = 180
	// maxExportPart bounds the small parts that are read into memory.
	maxExportPart = 64 << 20
)

// FolderTarget is a Target that writes items as files that other programs open: mail as
// .eml, events as .ics, contacts as .vcf, files as they are, and what has no such form as
// the .json that Microsoft sent; old versions of a file, and the files of a task, as files beside it. A form is a reading of that JSON: with JSON set it is
// written beside every item, so that nothing is lost.
//
// Names are made safe for every common file system; a name that had to change, and that of
// every item but a file, ends with a part of the item's ID, so that no two meet and a
// second run finds what the first has written. A file appears whole or not at all. Nothing
// is written outside the folder. Safe for concurrent use.
type FolderTarget struct {
	root *os.Root
	json bool
}

// NewFolderTarget returns a target that writes under an existing folder. Close it.
func NewFolderTarget(dir string, json bool) (*FolderTarget, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, tenantry.E(tenantry.Invalid, "open folder "+dir, err)
	}
	return &FolderTarget{root: root, json: json}, nil
}

// Close implements io.Closer.
func (t *FolderTarget) Close() error { return t.root.Close() }

// Folder implements Target: the ID of a folder is its path.
func (t *FolderTarget) Folder(_ context.Context, parent string, e repository.Entry, _ []byte) (string, error) {
	inDrive := e.Parent == "" || strings.HasPrefix(e.Parent, exportDrive) && !strings.Contains(e.Parent, "/")
	if inDrive && strings.EqualFold(e.Name, "root") {
		return parent, nil // the root of a drive stands for the drive
	}
	dir := path.Join(parent, safeName(e.Name, e.ID, "", false))
	if err := t.root.MkdirAll(dir, 0o700); err != nil {
		return "", t.fail("make folder", dir, err)
	}
	return dir, nil
}

// Item implements Target.
func (t *FolderTarget) Item(ctx context.Context, folder string, e repository.Entry, raw []byte, open OpenPart) (Written, error) {
	form := formOf(e)
	name := path.Join(folder, safeName(form.title(e), e.ID, form.suffix, e.Kind != kindExportFile))
	if t.json && form.suffix != exportExpanded {
		if err := t.place(name+exportExpanded, e.Modified, func(w io.Writer) error { _, err := w.Write(raw); return err }); err != nil && !errors.Is(err, fs.ErrExist) {
			return Written{}, err
		}
	}
	err := t.place(name, e.Modified, func(w io.Writer) error { return form.write(ctx, w, e, raw, open) })
	existed := errors.Is(err, fs.ErrExist)
	if existed {
		err = nil
	}
	if err == nil {
		err = t.beside(ctx, folder, e, open)
	}
	return Written{ID: name, Existed: existed && err == nil}, err
}

// beside writes the companions of an item, as far as they are not there.
func (t *FolderTarget) beside(ctx context.Context, folder string, e repository.Entry, open OpenPart) error {
	all, err := companions(ctx, e, open)
	if err != nil {
		return err
	}
	for _, c := range all {
		if err := t.place(path.Join(folder, c.name), c.modified, c.write(ctx, open)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// kindExportFile is a file of a drive, the only item whose name is unique in its folder.
const kindExportFile = "file"

// place writes a file whole and gives it its name and time; fs.ErrExist if it is there.
func (t *FolderTarget) place(name string, modified time.Time, write func(io.Writer) error) error {
	if _, err := t.root.Lstat(name); err == nil {
		return fs.ErrExist
	}
	sum := sha256.Sum256([]byte(name))
	temp := path.Join(path.Dir(name), ".tmp-"+hex.EncodeToString(sum[:8]))
	f, err := t.root.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return t.fail("write", name, err)
	}
	out := &diskWriter{f: f}
	err = write(out)
	if closeErr := f.Close(); err == nil && closeErr != nil {
		out.err, err = closeErr, closeErr
	}
	if err != nil {
		_ = t.root.Remove(temp)
		if out.err != nil {
			return t.fail("write", name, out.err)
		}
		return err
	}
	if !modified.IsZero() {
		_ = t.root.Chtimes(temp, modified, modified) // a time that the disk cannot keep is no reason to fail
	}
	if err := t.root.Rename(temp, name); err != nil {
		return t.fail("name", name, err)
	}
	return nil
}

// diskWriter remembers what the disk answered, to tell it from what was to be written.
type diskWriter struct {
	f   *os.File
	err error
}

func (d *diskWriter) Write(p []byte) (int, error) {
	n, err := d.f.Write(p)
	if err != nil {
		d.err = err
	}
	return n, err
}

// fail is an error of the disk, which ends the whole.
func (t *FolderTarget) fail(action, name string, err error) error {
	return tenantry.E(tenantry.Shared, action+" "+path.Join(t.root.Name(), name), err)
}

// form is how one kind of item is written.
type form struct {
	suffix string
	title  func(repository.Entry) string
	write  func(context.Context, io.Writer, repository.Entry, []byte, OpenPart) error
}

func byName(e repository.Entry) string { return e.Name }

// byTime begins a name with the item's time, so that a folder sorts by it.
func byTime(e repository.Entry) string {
	if e.Modified.IsZero() {
		return e.Name
	}
	return e.Modified.UTC().Format("2006-01-02 1504 ") + e.Name
}

func formOf(e repository.Entry) form {
	switch {
	case e.Kind == exportMessage:
		return form{".eml", byTime, WriteMail}
	case e.Kind == exportEvent:
		return form{".ics", byName, WriteEvent}
	case e.Kind == exportContact:
		return form{".vcf", byName, WriteContact}
	case e.Kind == exportChat:
		return form{".html", byTime, WriteChat}
	case e.Kind == exportThread:
		return form{".html", byTime, WriteThread}
	case slices.ContainsFunc(e.Parts, func(p repository.Part) bool { return p.Name == exportContent }):
		return form{"", byName, writeFile}
	}
	return form{exportExpanded, byName, writeJSON}
}

func writeFile(ctx context.Context, w io.Writer, e repository.Entry, _ []byte, open OpenPart) error {
	for _, p := range e.Parts {
		if p.Name == exportContent {
			return copyPart(ctx, w, p, open)
		}
	}
	return nil
}

func writeJSON(_ context.Context, w io.Writer, _ repository.Entry, raw []byte, _ OpenPart) error {
	_, err := w.Write(raw)
	return err
}

func copyPart(ctx context.Context, w io.Writer, p repository.Part, open OpenPart) error {
	body, err := open(ctx, p, 0)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(w, body)
	return err
}

// readPart reads a small part; ok is false if the item has none of that name.
func readPart(ctx context.Context, e repository.Entry, name string, open OpenPart) (data []byte, ok bool, err error) {
	for _, p := range e.Parts {
		if p.Name != name {
			continue
		}
		if p.Size > maxExportPart {
			return nil, false, tenantry.Errorf(tenantry.Invalid, "part %s has %d bytes, more than %d", name, p.Size, maxExportPart)
		}
		body, err := open(ctx, p, 0)
		if err != nil {
			return nil, false, err
		}
		defer body.Close()
		data, err = io.ReadAll(body)
		return data, err == nil, err
	}
	return nil, false, nil
}

// safeName makes a file name of what people named an item. With marked, or where the name
// had to change, it ends with a part of the digest of the item's ID.
func safeName(name, id, suffix string, marked bool) string {
	clean := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, name)
	clean = strings.TrimRight(strings.TrimSpace(clean), ". ")
	if strings.HasPrefix(clean, ".tmp-") || strings.HasPrefix(clean, "..") || clean == "" || reservedName(clean) {
		clean = "_" + clean
	}
	for len(clean) > maxExportName {
		_, size := utf8.DecodeLastRuneInString(clean)
		clean = clean[:len(clean)-size]
	}
	if marked || clean != name {
		sum := sha256.Sum256([]byte(id))
		mark := " [" + hex.EncodeToString(sum[:5]) + "]"
		if suffix == "" { // of a file: its own suffix stays last
			if ext := path.Ext(clean); len(ext) > 1 && len(ext) < 12 && !strings.ContainsAny(ext, " _") {
				suffix, clean = ext, strings.TrimSuffix(clean, ext)
			}
		}
		clean += mark
	}
	return clean + suffix
}

// reservedName reports whether Windows keeps a name for a device.
func reservedName(name string) bool {
	base, _, _ := strings.Cut(strings.ToUpper(name), ".")
	switch base {
	case "CON", "PRN", "AUX", "NUL":
		return true
	}
	return len(base) == 4 && (strings.HasPrefix(base, "COM") || strings.HasPrefix(base, "LPT")) && base[3] >= '0' && base[3] <= '9'
}
