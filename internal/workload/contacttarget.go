package workload

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
)

// writableContact are the properties of a contact that can be given at its creation.
var writableContact = []string{
	"categories", "birthday", "fileAs", "displayName", "givenName", "initials", "middleName", "nickName", "surname", "title",
	"yomiGivenName", "yomiSurname", "yomiCompanyName", "generation", "imAddresses", "jobTitle", "companyName", "department",
	"officeLocation", "profession", "businessHomePage", "assistantName", "manager", "homePhones", "mobilePhone",
	"businessPhones", "spouseName", "personalNotes", "children", "emailAddresses", "homeAddress", "businessAddress", "otherAddress",
}

// presentSelect is what tells whether a contact or an event is the one that was backed up.
const presentSelect = "id,changeKey"

// homeContacts stands for the default contact folder, whose ID nobody needs.
const homeContacts = partContacts

// contactTarget writes contacts into one mailbox.
type contactTarget[P Pages] struct {
	api      ContactWriter[P]
	user     string
	folder   string
	conflict string

	mu      sync.Mutex // guards what follows
	root    string     // folder under which everything goes: homeContacts, or one of its own
	folders map[string]map[string]string
	present presences
}

func newContactTarget[P Pages](api ContactWriter[P], user, folder, conflict string) *contactTarget[P] {
	return &contactTarget[P]{api: api, user: user, folder: folder, conflict: conflict, folders: map[string]map[string]string{}}
}

// Folder finds or makes the folder that stands for e.
func (t *contactTarget[P]) Folder(ctx context.Context, parent string, e repository.Entry) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.folder == "" && isWellKnown(e, defaultContacts) {
		return homeContacts, nil
	}
	parent, err := t.place(ctx, parent)
	if err != nil {
		return "", err
	}
	return t.findOrMake(ctx, parent, e.Name)
}

func isWellKnown(e repository.Entry, name string) bool {
	return slices.ContainsFunc(e.Parts, func(p repository.Part) bool { return p.Name == wellKnownPart+name })
}

// place returns the folder that the engine names; the part itself is the target's root.
func (t *contactTarget[P]) place(ctx context.Context, folder string) (string, error) {
	if folder != "" && folder != partContacts {
		return folder, nil
	}
	if t.folder == "" {
		return homeContacts, nil
	}
	if t.root == "" {
		root, err := t.findOrMake(ctx, homeContacts, t.folder)
		if err != nil {
			return "", err
		}
		t.root = root
	}
	return t.root, nil
}

// graphFolder is a folder as Graph knows it: the default one has paths of its own.
func graphFolder(folder string) string {
	if folder == homeContacts {
		return ""
	}
	return folder
}

func (t *contactTarget[P]) findOrMake(ctx context.Context, parent, name string) (string, error) {
	known, err := t.children(ctx, parent)
	if err != nil {
		return "", err
	}
	key := strings.ToLower(name)
	if id, ok := known[key]; ok {
		return id, nil
	}
	id, err := t.api.CreateContactFolder(ctx, t.user, graphFolder(parent), name)
	if mayExist(err) {
		delete(t.folders, parent)
		again, failed := t.children(ctx, parent)
		if failed != nil {
			return "", failed
		}
		if id := again[key]; id != "" {
			return id, nil
		}
	}
	if err != nil {
		return "", err
	}
	known[key] = id
	return id, nil
}

func (t *contactTarget[P]) children(ctx context.Context, parent string) (map[string]string, error) {
	if known, ok := t.folders[parent]; ok {
		return known, nil
	}
	home := ""
	if parent == homeContacts { // which may be in its own list
		var err error
		if home, err = t.api.DefaultContactFolder(ctx, t.user); err != nil {
			return nil, err
		}
	}
	known := map[string]string{}
	err := walk(func(link string) (P, error) { return t.api.ContactFolders(ctx, t.user, graphFolder(parent), link) }, func(raw jsontext.Value) error {
		var f contactFolder
		if err := parse("a contact folder", raw, &f); err != nil {
			return err
		}
		if f.ID != home {
			known[strings.ToLower(f.Name)] = f.ID
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.folders[parent] = known
	return known, nil
}

// Item writes a contact, unless it is there.
func (t *contactTarget[P]) Item(ctx context.Context, folder string, e repository.Entry, raw []byte, open engine.OpenPart) (engine.Written, error) {
	m, err := newRestoredContact(e, raw)
	if err != nil {
		return engine.Written{}, err
	}
	t.mu.Lock()
	folder, err = t.place(ctx, folder)
	there := t.present.of(folder)
	t.mu.Unlock()
	if err != nil {
		return engine.Written{}, err
	}
	folder = graphFolder(folder)
	list := func(property string, visit func(jsontext.Value) error) error {
		return walk(func(link string) (P, error) {
			return t.api.Contacts(ctx, t.user, folder, presentSelect, property, link)
		}, visit)
	}
	if err := there.load(list); err != nil {
		return engine.Written{}, err
	}
	return settle(ctx, there, m, t.conflict, itemWriter{
		create:   func(ctx context.Context) (string, error) { return t.api.CreateContact(ctx, t.user, folder, m.body) },
		complete: func(ctx context.Context, id string, _ bool) error { return t.photo(ctx, id, e, open) },
		remove:   func(ctx context.Context, id string) error { return t.api.DeleteContact(ctx, t.user, id) },
		list:     list,
	})
}

func newRestoredContact(e repository.Entry, raw []byte) (*restored, error) {
	have, who, err := readStored("a stored contact", raw)
	if err != nil {
		return nil, err
	}
	fields := keep(have, writableContact)
	m := &restored{id: e.ID, fingerprint: who.fingerprint(), mark: markOf(e, fields)}
	m.body = withProperties(fields, property(markProperty, m.mark.String()))
	return m, nil
}

// photo writes a contact's picture; writing it again changes nothing.
func (t *contactTarget[P]) photo(ctx context.Context, id string, e repository.Entry, open engine.OpenPart) error {
	for _, p := range e.Parts {
		if p.Name != photoPart {
			continue
		}
		body, err := open(ctx, p, 0)
		if err != nil {
			return err
		}
		defer body.Close()
		return t.api.PutContactPhoto(ctx, t.user, id, p.Size, body)
	}
	return nil
}
