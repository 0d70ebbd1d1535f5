package engine

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/flate"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The forms of an export: what its archive is.
const (
	FormZip  = "zip"  // every item as a file, in its folders: .eml, .ics, .vcf, files as they are, with their old versions
	FormMbox = "mbox" // all messages in one mailbox file (mboxrd); nothing else
	FormICS  = "ics"  // all events in one calendar; nothing else
	FormVCF  = "vcf"  // all contacts in one address book; nothing else
	FormItem = "item" // the one item that was chosen, as its own file
)

// Forms are all of them.
var Forms = []string{FormZip, FormMbox, FormICS, FormVCF, FormItem}

// stagedBytes is how much of an item is held before it goes into the archive: one that cannot be read then
// leaves nothing behind. Times Limits.Concurrency it is the memory of an export.
const stagedBytes = 1 << 20

// Export writes req.Items, or everything, to w in the form that req wants, as Restore would write it to
// Microsoft 365: a folder stands for all that lies under it, and what cannot be read is a problem of its own.
// It returns the name of the file as well. A stream cannot be gone on with, so that only closing drain ends
// it early, with Outcome.Done false: then what was written is void. Invalid: the form, or a selection that does
// not fit it.
func Export(ctx context.Context, snap Snapshot, w io.Writer, req tenantry.ExportRequest, l Limits, drain <-chan struct{}, progress func(tenantry.Counts)) (Outcome, string, error) {
	form := req.Form
	if form == "" {
		form = FormZip
	}
	a := &archive{out: &archiveWriter{w: w}, json: req.JSON}
	name := "export." + form
	switch form {
	case FormZip:
		a.openZip()
	case FormMbox:
		a.kind, a.frame = exportMessage, mboxFrame
	case FormICS:
		a.kind, a.frame, a.tail = exportEvent, calendarFrame, calendarTail
		_, _ = io.WriteString(a.out, calendarHead) // a failure is remembered
	case FormVCF:
		a.kind, a.frame = exportContact, plainFrame
	case FormItem:
		var err error
		if name, err = nameOfOne(ctx, snap, req.Items); err != nil {
			return Outcome{}, "", err
		}
		a.frame = plainFrame
	default:
		return Outcome{}, "", tenantry.Errorf(tenantry.Invalid, "export as %q: it may be %s", form, strings.Join(Forms, ", "))
	}
	s := newSlice(l, drain, progress)
	s.whole = true
	out, err := newRestore(snap, a, s).run(ctx, req.Items)
	if err == nil && out.Done {
		err = a.close()
	}
	if a.out.err != nil { // more than one item's
		err = a.out.err
	}
	if err != nil {
		out.Done = false
	}
	return out, name, err
}

// nameOfOne is the name of the file of a single item.
func nameOfOne(ctx context.Context, snap Snapshot, items []string) (string, error) {
	if len(items) != 1 {
		return "", tenantry.Errorf(tenantry.Invalid, "export as %s: %d items are chosen, it may be one", FormItem, len(items))
	}
	e, ok, err := snap.Lookup(ctx, items[0])
	switch {
	case err != nil:
		return "", err
	case !ok:
		return "", tenantry.Errorf(tenantry.Invalid, "export item %s: it is not in this snapshot", items[0])
	case container(e):
		return "", tenantry.Errorf(tenantry.Invalid, "export %s as %s: it is a folder", e.Name, FormItem)
	case !saved(e):
		return "", tenantry.Errorf(tenantry.Invalid, "export %s: no version of it was saved: %s", e.Name, e.Problem)
	}
	f := formOf(e)
	return safeName(f.title(e), e.ID, f.suffix, false), nil
}

// archive is a Target that writes one stream. Items come several at once and go in one by one.
type archive struct {
	out  *archiveWriter
	json bool // in a zip: beside every item

	zip   *zip.Writer // or else
	kind  string      // what goes in, "" for anything, each
	frame func(e repository.Entry, w io.Writer) io.WriteCloser
	tail  string

	mu sync.Mutex // held by the item that is going in
}

// archiveWriter remembers what the destination answered, to tell it from what was to be written.
type archiveWriter struct {
	w   io.Writer
	err error
}

func (a *archiveWriter) Write(p []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	n, err := a.w.Write(p)
	a.err = err
	return n, err
}

// openZip compresses quickly: most of what is large is compressed already.
func (a *archive) openZip() {
	a.zip = zip.NewWriter(a.out)
	a.zip.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
}

// Folder implements Target: the ID of a folder is its path.
func (a *archive) Folder(_ context.Context, parent string, e repository.Entry, _ []byte) (string, error) {
	if e.Parent == "" && parent == "" && strings.EqualFold(e.Name, "root") {
		return parent, nil
	}
	dir := path.Join(parent, safeName(e.Name, e.ID, "", false))
	if a.zip == nil {
		return dir, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := a.zip.CreateHeader(&zip.FileHeader{Name: dir + "/", Modified: e.Modified})
	return dir, err
}

// Item implements Target.
func (a *archive) Item(ctx context.Context, folder string, e repository.Entry, raw []byte, open OpenPart) (Written, error) {
	if a.kind != "" && a.kind != e.Kind {
		return Written{Left: true}, nil
	}
	form := formOf(e)
	name := path.Join(folder, safeName(form.title(e), e.ID, form.suffix, e.Kind != kindExportFile))
	if a.zip != nil && a.json && form.suffix != exportExpanded {
		err := a.put(e, name+exportExpanded, e.Modified, func(w io.Writer) error { _, err := w.Write(raw); return err })
		if err != nil {
			return Written{}, err
		}
	}
	err := a.put(e, name, e.Modified, func(w io.Writer) error { return form.write(ctx, w, e, raw, open) })
	if err != nil || a.zip == nil {
		return Written{ID: name}, err
	}
	return Written{ID: name}, a.beside(ctx, folder, e, open)
}

// beside lets the companions of an item go in.
func (a *archive) beside(ctx context.Context, folder string, e repository.Entry, open OpenPart) error {
	all, err := companions(ctx, e, open)
	if err != nil {
		return err
	}
	for _, c := range all {
		if err := a.put(e, path.Join(folder, c.name), c.modified, c.write(ctx, open)); err != nil {
			return err
		}
	}
	return nil
}

// put lets an item go in whole, as far as it is small, or what belongs to it.
func (a *archive) put(e repository.Entry, name string, modified time.Time, write func(io.Writer) error) error {
	s := &staged{enter: func() (io.WriteCloser, error) {
		a.mu.Lock()
		if a.zip == nil {
			return a.frame(e, a.out), nil
		}
		method := zip.Deflate
		if e.Kind == kindExportFile && slices.Contains(packed, strings.ToLower(path.Ext(name))) {
			method = zip.Store
		}
		w, err := a.zip.CreateHeader(&zip.FileHeader{Name: name, Method: method, Modified: modified})
		return nopCloser{w}, err
	}}
	err := write(s)
	var broken error
	if s.into != nil || err == nil {
		err = s.finish(err)
		broken = a.out.err // others may write as soon as the turn is over
		a.mu.Unlock()
	}
	switch {
	case broken != nil: // the end of all items
		return tenantry.E(tenantry.Transient, "write an archive", broken)
	case err != nil && s.into != nil:
		return tenantry.Errorf(tenantry.KindOf(err), "its file in the archive is cut short: %w", err)
	}
	return err
}

// packed are files that compress no further.
var packed = []string{".zip", ".jpg", ".jpeg", ".png", ".mp4", ".mov", ".mp3", ".docx", ".xlsx", ".pptx", ".gz", ".7z", ".webp", ".heic"}

// close ends the archive. Nobody writes any more.
func (a *archive) close() error {
	if a.zip != nil {
		return a.zip.Close()
	}
	_, err := io.WriteString(a.out, a.tail)
	return err
}

// staged holds the beginning of an item back.
type staged struct {
	enter func() (io.WriteCloser, error) // waits for its turn, which ends after finish
	held  bytes.Buffer
	into  io.WriteCloser // nil while everything is held
}

func (s *staged) Write(p []byte) (int, error) {
	if s.into == nil && s.held.Len()+len(p) <= stagedBytes {
		return s.held.Write(p)
	}
	if err := s.begin(); err != nil {
		return 0, err
	}
	return s.into.Write(p)
}

func (s *staged) begin() (err error) {
	if s.into != nil {
		return nil
	}
	into, err := s.enter()
	if s.into = into; into == nil {
		s.into = nopCloser{io.Discard}
	}
	if err == nil {
		_, err = s.held.WriteTo(s.into)
	}
	return err
}

// finish ends the item, which was written with the given error.
func (s *staged) finish(written error) error {
	err := s.begin()
	if closeErr := s.into.Close(); err == nil {
		err = closeErr
	}
	if written != nil {
		return written
	}
	return err
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func plainFrame(_ repository.Entry, w io.Writer) io.WriteCloser { return nopCloser{w} }
