package workload

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// maxLibraryBytes bounds the description of a list with its columns.
const maxLibraryBytes = 16 << 20

// Begin makes a library ready for the files of a stored one: it gets the columns that it has not. Of a list it names the
// content types that are missing.
func (t *siteTarget[P]) Begin(ctx context.Context, id string, e repository.Entry, open engine.OpenPart) error {
	if e.Kind == kindList {
		return t.lostTypes(ctx, e, open)
	}
	at := slices.IndexFunc(e.Parts, func(p repository.Part) bool { return p.Name == libraryPart })
	if within(e.ID) != "" && strings.HasPrefix(e.ID, driveID) {
		return t.drive(t.site, e.ID).Begin(ctx, id, e, open)
	}
	if !strings.HasPrefix(e.ID, driveID) || at < 0 {
		return nil
	}
	t.mu.Lock()
	_, known := t.lists[e.ID]
	t.mu.Unlock()
	if known {
		return nil
	}
	drive, _, _ := strings.Cut(id, "/")
	site, err := t.siteOf(ctx, e.ID, drive)
	if err != nil {
		return err
	}
	raw, err := readPart(ctx, open, e.Parts[at])
	if err != nil {
		return err
	}
	l, err := t.libraryFrom(raw)
	if err != nil {
		return err
	}
	l.site, l.drive = site, drive
	l.original = e.ID == driveID+l.drive
	if slices.ContainsFunc(l.columns, func(c column) bool { return c.made() }) {
		err = t.readyColumns(ctx, l)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lists[e.ID] = l
	return err
}

// ownerSite is the site into which a stored drive goes.
func (t *siteTarget[P]) ownerSite(_ context.Context, stored, _ string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.driveOf[stored].owner, nil
}

// hasColumns reports whether there are libraries with columns of their own.
func (t *siteTarget[P]) hasColumns() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lists {
		if slices.ContainsFunc(l.columns, func(c column) bool { return c.made() }) {
			return true
		}
	}
	return false
}

func readPart(ctx context.Context, open engine.OpenPart, p repository.Part) ([]byte, error) {
	body, err := open(ctx, p, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, maxLibraryBytes))
	if err != nil {
		return nil, tenantry.E(tenantry.KindOf(err), "read what is stored of a library", err)
	}
	return raw, nil
}

func (t *siteTarget[P]) libraryFrom(raw []byte) (*listTarget, error) {
	n, err := newNamed("a stored library", raw)
	if err != nil {
		return nil, err
	}
	columns, err := readColumns(raw)
	return &listTarget{
		source: n.ID, columns: columns, linked: map[string]map[string]string{}, unmade: map[string]bool{}, looks: map[string]string{}, types: map[string]string{},
	}, err
}

// readyColumns makes the columns that the library has not. When that fails as a whole nothing is written into them.
func (t *siteTarget[P]) readyColumns(ctx context.Context, l *listTarget) error {
	err := func() (err error) {
		if l.id, err = t.api.LibraryList(ctx, l.drive); err != nil {
			return err
		}
		// What is looked up may be there without being restored.
		if _, err = t.listed(listID+l.site, func(link string) (P, error) { return t.api.Lists(ctx, l.site, link) }); err != nil {
			return err
		}
		return t.makeColumns(ctx, l)
	}()
	if err != nil {
		for _, c := range l.columns {
			l.unmade[c.Name] = c.made()
		}
	}
	return err
}

// described is an item of a library that is to get its values.
type described struct {
	stored, drive, item string // IDs: as stored, and in the target
	row                 *fileRow
	like                *driveItem // has the times that the item is to have
	existed             bool       // it was there, with the same content, and
	there               *fileRow
}

// describe writes the values of a file or folder. Where one was there already that is not the restore's own, its values
// stay, and those that it has not are filled in.
func (t *siteTarget[P]) describe(ctx context.Context, w described) (changed bool, err error) {
	tree, _ := treeOf(w.stored)
	t.mu.Lock()
	l := t.lists[tree]
	t.mu.Unlock()
	if l == nil || w.row == nil {
		return false, nil
	}
	plain, linked, lost := l.split(w.row.Fields)
	if w.there != nil {
		ours := t.req.Folder != "" || t.req.Conflict == conflictReplace
		leave(plain, w.there.Fields, ours)
		t.settled(l, w, linked, ours)
	}
	if len(plain) > 0 {
		body, err := json.Marshal(plain)
		if err != nil {
			return false, tenantry.E(tenantry.Internal, "write the values of a file", err)
		}
		if err := t.api.UpdateFileFields(ctx, w.drive, w.item, body); err != nil {
			return false, err
		}
	}
	if !w.existed {
		lost = append(lost, t.lostType(ctx, l, w)...)
	}
	created, modified := w.like.fileTimes()
	t.mu.Lock()
	t.links.noteFile(l, w.stored, w.item, linked, fileSpan{created, modified})
	t.mu.Unlock()
	if len(lost) > 0 && !w.existed {
		err = lostValues(lost)
	}
	return len(plain) > 0, err
}

// lostType names the content type of a file that is new, if it is not the one that the library gives to new ones: no page
// of Graph's says how one is set. What new ones get is asked once for files and once for folders of a library; where that
// is refused nothing is known, and nothing said.
func (t *siteTarget[P]) lostType(ctx context.Context, l *listTarget, w described) []string {
	if w.row.Type == "" {
		return nil
	}
	kind := w.like.kind()
	t.mu.Lock()
	usual, known := l.types[kind]
	t.mu.Unlock()
	if !known {
		var row fileRow
		raw, err := t.api.FileRow(ctx, w.drive, w.item)
		if err == nil {
			err = parse("the row of a file", raw, &row)
		}
		switch tenantry.KindOf(err) {
		case "":
		case tenantry.Denied, tenantry.Invalid, tenantry.NotFound, tenantry.Absent:
			row.Type = ""
		default:
			return nil // the next one asks again
		}
		usual = row.Type
		t.mu.Lock()
		l.types[kind] = usual
		t.mu.Unlock()
	}
	return lostTypeOf(w.row.Type, usual)
}

// lostTypeOf names the content type that was saved, if it is another one than what is there has, or would have.
func lostTypeOf(saved, there string) []string {
	if saved == "" || there == "" || there == saved {
		return nil
	}
	return []string{"the content type " + saved}
}

// leave takes out of the values to write those that need not be, or must not be, written.
func leave(plain, there map[string]jsontext.Value, ours bool) {
	for name, value := range plain {
		has, ok := there[name]
		if ok = ok && has.Kind() != 'n'; ok && (!ours || sameField(has, value)) {
			delete(plain, name)
		}
	}
}

// settled does so with links, and notes what those say that are there.
func (t *siteTarget[P]) settled(l *listTarget, w described, linked map[string]string, ours bool) {
	has := map[string]string{}
	for name := range linked {
		id, ok := w.there.Fields[name+lookupSuffix]
		if ok && id.Kind() != 'n' {
			has[name] = strings.Trim(string(id), `"`)
			if !ours {
				delete(linked, name)
			}
		}
	}
	if len(linked) > 0 && len(has) > 0 {
		t.mu.Lock()
		l.linked[w.item] = has
		t.mu.Unlock()
	}
}

func sameField(a, b jsontext.Value) bool {
	return fingerprint(map[string]jsontext.Value{"": a}) == fingerprint(map[string]jsontext.Value{"": b})
}

// errLost marks what is restored all the same, without some of its values.
var errLost = errors.New("some values cannot be written")

func lostValues(names []string) error {
	return tenantry.E(tenantry.Poison, "restored without what Graph cannot write: "+strings.Join(names, ", "), errLost)
}

func isLost(err error) bool { return errors.Is(err, errLost) }
