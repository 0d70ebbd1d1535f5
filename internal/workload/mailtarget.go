package workload

import (
	"context"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// What to do when a different item has the place of a restored one.
const (
	conflictSkip    = "skip"
	conflictCopy    = "copy"
	conflictReplace = "replace"
)

// mailTarget writes into one mailbox.
type mailTarget[P Pages] struct {
	api         MailWriter[P]
	user        string
	folder      string
	conflict    string
	attachments attachmentTarget[P]
	said        *notes

	mu      sync.Mutex // guards what follows
	root    string
	folders map[string]map[string]string // by parent, then name in lower case
	present presences
}

func newMailTarget[P Pages](api MailWriter[P], user, folder, conflict string, said *notes) *mailTarget[P] {
	return &mailTarget[P]{
		api: api, user: user, folder: folder, conflict: conflict, folders: map[string]map[string]string{}, said: said,
		attachments: attachmentTarget[P]{api: api, user: user, of: ofMessage, said: said},
	}
}

// top returns the folder under which everything is restored.
func (t *mailTarget[P]) top(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.place(ctx, "")
}

// Folder finds or makes the folder that stands for e.
func (t *mailTarget[P]) Folder(ctx context.Context, parent string, e repository.Entry, raw []byte) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var f mailFolder
	if err := parse("a stored folder", raw, &f); err != nil {
		return "", err
	}
	if (parent == "" || parent == t.root) && t.folder == "" {
		if id, ok, err := t.wellKnown(ctx, e); err != nil || ok {
			return id, err
		}
	}
	parent, err := t.place(ctx, parent)
	if err != nil {
		return "", err
	}
	return t.findOrMake(ctx, parent, f.Name, f.Hidden)
}

// wellKnown returns the folder of the same well-known name.
func (t *mailTarget[P]) wellKnown(ctx context.Context, e repository.Entry) (id string, ok bool, err error) {
	for _, p := range e.Parts {
		name, found := strings.CutPrefix(p.Name, wellKnownPart)
		if !found || name == recoverable { // where nothing can be written
			continue
		}
		id, err := t.api.MailFolderID(ctx, t.user, name)
		if tenantry.KindOf(err) == tenantry.NotFound {
			return "", false, nil // this mailbox has none yet: by its name, then
		}
		return id, err == nil, err
	}
	return "", false, nil
}

// descend finds or makes the folder at the end of a way down: names, the first of which may be a well-known
// one. A restore into a folder looks below that.
func (t *mailTarget[P]) descend(ctx context.Context, way []string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if name, ok := strings.CutPrefix(way[0], wellKnownPart); ok {
		if way = way[1:]; name != rootFolder {
			id, err := t.api.MailFolderID(ctx, t.user, name)
			if err != nil {
				return "", err
			}
			return t.below(ctx, id, way)
		}
	}
	root, err := t.place(ctx, "")
	if err != nil {
		return "", err
	}
	return t.below(ctx, root, way)
}

func (t *mailTarget[P]) below(ctx context.Context, folder string, way []string) (string, error) {
	for _, name := range way {
		var err error
		if folder, err = t.findOrMake(ctx, folder, name, false); err != nil {
			return "", err
		}
	}
	return folder, nil
}

// place returns the ID of a folder that the engine names; "" is the target's root.
func (t *mailTarget[P]) place(ctx context.Context, folder string) (string, error) {
	if folder != "" || t.root != "" {
		return orElse(folder, t.root), nil
	}
	root, err := t.api.MailFolderID(ctx, t.user, rootFolder)
	if err != nil {
		return "", err
	}
	if t.folder != "" {
		if root, err = t.findOrMake(ctx, root, t.folder, false); err != nil {
			return "", err
		}
	}
	t.root = root
	return root, nil
}

func orElse(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// findOrMake finds a folder by its name, which Exchange compares without case, or makes it.
func (t *mailTarget[P]) findOrMake(ctx context.Context, parent, name string, hidden bool) (string, error) {
	known, err := t.children(ctx, parent)
	if err != nil {
		return "", err
	}
	if id, ok := known[strings.ToLower(name)]; ok {
		return id, nil
	}
	id, err := t.api.CreateMailFolder(ctx, t.user, parent, name, hidden)
	if tenantry.KindOf(err) == tenantry.Conflict { // made by somebody else since we looked
		delete(t.folders, parent)
		if known, err := t.children(ctx, parent); err != nil || known[strings.ToLower(name)] != "" {
			return known[strings.ToLower(name)], err
		}
	}
	if err != nil {
		return "", err
	}
	known[strings.ToLower(name)] = id
	t.folders[id] = map[string]string{} // nothing lies in it yet
	return id, nil
}

func (t *mailTarget[P]) children(ctx context.Context, parent string) (map[string]string, error) {
	if known, ok := t.folders[parent]; ok {
		return known, nil
	}
	known := map[string]string{}
	err := walk(func(link string) (P, error) { return t.api.MailFolders(ctx, t.user, parent, link) }, func(raw jsontext.Value) error {
		var f mailFolder
		if err := parse("a mail folder", raw, &f); err != nil {
			return err
		}
		known[strings.ToLower(f.Name)] = f.ID
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.folders[parent] = known
	return known, nil
}

// Item writes a message, unless it is there.
func (t *mailTarget[P]) Item(ctx context.Context, folder string, e repository.Entry, raw []byte, open engine.OpenPart) (engine.Written, error) {
	m, err := newRestored(e, raw)
	if err != nil {
		return engine.Written{}, err
	}
	folder, there, err := t.folderContent(ctx, folder)
	if err != nil {
		return engine.Written{}, err
	}
	return settle(ctx, there, m, t.conflict, itemWriter{
		create: func(ctx context.Context) (string, error) { return t.api.CreateMessage(ctx, t.user, folder, m.body) },
		complete: func(ctx context.Context, id string, fresh bool) error {
			return t.attachments.attach(ctx, id, fresh, e, attachmentsPart, open)
		},
		remove: func(ctx context.Context, id string) error { return t.api.DeleteMessage(ctx, t.user, id) },
		list:   t.lister(ctx, folder),
	})
}

// lister lists the messages of a folder as far as presence reads them, with one of our properties.
func (t *mailTarget[P]) lister(ctx context.Context, folder string) func(property string, visit func(jsontext.Value) error) error {
	return func(property string, visit func(jsontext.Value) error) error {
		return walk(func(link string) (P, error) {
			return t.api.Messages(ctx, t.user, folder, presenceSelect, property, link)
		}, visit)
	}
}

// folderContent returns the ID of a folder that the engine names, and what is known to be in it.
func (t *mailTarget[P]) folderContent(ctx context.Context, folder string) (string, *presence, error) {
	t.mu.Lock()
	id, err := t.place(ctx, folder)
	there := t.present.of(id)
	t.mu.Unlock()
	if err != nil {
		return "", nil, err
	}
	return id, there, there.load(t.lister(ctx, id))
}
