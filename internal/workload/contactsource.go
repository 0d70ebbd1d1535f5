package workload

import (
	"context"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	kindContact       = "contact"
	kindContactFolder = "contactFolder"

	// contactFolderID precedes the ID of a contact folder, which may look like that of a mail folder.
	contactFolderID = "contacts:"
	// photoPart is a contact's picture.
	photoPart = "photo"
	// defaultContacts marks the folder that every mailbox has.
	defaultContacts = "contacts"

	contactPage = 100
	// maxPhoto bounds what is read of a picture into memory.
	maxPhoto = 8 << 20

	// listed precedes a link of a collection that has no delta here.
	listed = "listed "
	// homeLink precedes the default folder's ID, which never changes, in the link of the folders.
	homeLink = "home "
)

// contactSource reads the contacts of one mailbox.
type contactSource[P Pages] struct {
	api  ContactReader[P]
	user string
}

func newContactSource[P Pages](api ContactReader[P], user string) *contactSource[P] {
	return &contactSource[P]{api: api, user: user}
}

type contactFolder struct {
	ID     string `json:"id"`
	Name   string `json:"displayName"`
	Parent string `json:"parentFolderId"`
	raw    jsontext.Value
}

// folderPage lists all contact folders: what lies below a folder is not tracked by their delta. The
// default folder may not be in the list that Graph gives; its ID is known from the contacts in it.
func (s *contactSource[P]) folderPage(ctx context.Context, link string) (engine.Page, error) {
	home, known := strings.CutPrefix(link, homeLink)
	if !known {
		var err error
		if home, err = s.api.DefaultContactFolder(ctx, s.user); err != nil {
			return engine.Page{}, err
		}
	}
	found, err := s.folders(ctx, home)
	if err != nil {
		return engine.Page{}, err
	}
	there := map[string]bool{home: home != ""}
	for _, f := range found {
		there[f.ID] = true
	}
	list := newChanges(len(found) + 1)
	if home != "" {
		list.put(folderItem(contactFolder{ID: home, Name: "Contacts"}, partContacts, true))
	}
	for _, f := range found {
		parent := partContacts
		if there[f.Parent] && f.ID != home {
			parent = contactFolderID + f.Parent
		}
		list.put(folderItem(f, parent, f.ID == home))
	}
	next := ""
	if home != "" {
		next = homeLink + home
	}
	p := list.page(next, true)
	p.Listed = true
	return p, nil
}

// folders walks the tree of contact folders.
func (s *contactSource[P]) folders(ctx context.Context, home string) ([]contactFolder, error) {
	var found []contactFolder
	seen := map[string]bool{}
	level := []string{""}
	for depth := 0; len(level) > 0 && depth < maxFolderDepth; depth++ {
		var below []string
		for _, parent := range level {
			err := walk(func(link string) (P, error) { return s.api.ContactFolders(ctx, s.user, parent, link) }, func(raw jsontext.Value) error {
				f := contactFolder{raw: raw}
				switch err := parse("a contact folder", raw, &f); {
				case err != nil:
					return err
				case f.ID == "":
					return tenantry.Errorf(tenantry.Internal, "read a contact folder: it has no ID")
				case seen[f.ID]:
					return nil
				}
				seen[f.ID] = true
				found = append(found, f)
				if f.ID != home { // what lies below the default folder is the first level
					below = append(below, f.ID)
				}
				return nil
			})
			if err != nil && (parent == "" || tenantry.KindOf(err) != tenantry.NotFound) {
				return nil, err
			}
		}
		level = below
	}
	return found, nil
}

func folderItem(f contactFolder, parent string, isDefault bool) engine.Item {
	id := contactFolderID + f.ID
	item := engine.Item{ID: id, Parent: parent, Kind: kindContactFolder, Name: f.Name, Collection: id, ETag: digest(f.raw), Raw: f.raw}
	if isDefault {
		item.ETag += " default"
		item.Content = "well-known name"
		item.Parts = func(context.Context) ([]engine.ItemPart, error) {
			return []engine.ItemPart{bytesPart(wellKnownPart+defaultContacts, nil)}, nil
		}
	}
	return item
}

type contact struct {
	ID        string    `json:"id"`
	ETag      string    `json:"@odata.etag"`
	ChangeKey string    `json:"changeKey"`
	Removed   *struct{} `json:"@removed"`
	Name      string    `json:"displayName"`
	Modified  string    `json:"lastModifiedDateTime"`
}

// page reads a page of a folder's delta, or of its list where the cloud has no delta (21Vianet's schema
// binds none to contacts).
func (s *contactSource[P]) page(ctx context.Context, folder, link string) (engine.Page, error) {
	next, asList := strings.CutPrefix(link, listed)
	if !asList {
		got, err := s.api.ContactChanges(ctx, s.user, folder, link, contactPage)
		if err == nil {
			return s.items(folder, page(got), false)
		}
		if !withoutDelta(err, link) {
			return engine.Page{}, err
		}
		next = ""
	}
	got, err := s.api.Contacts(ctx, s.user, folder, "", "", next)
	if err != nil {
		return engine.Page{}, err
	}
	return s.items(folder, page(got), true)
}

func (s *contactSource[P]) items(folder string, p page, asList bool) (engine.Page, error) {
	list := newChanges(len(p.Items))
	for _, raw := range p.Items {
		var c contact
		switch err := parse("a contact", raw, &c); {
		case err != nil:
			return engine.Page{}, err
		case c.ID == "":
			return engine.Page{}, tenantry.Errorf(tenantry.Internal, "read a contact: it has no ID")
		case c.Removed != nil:
			list.remove(c.ID)
			continue
		}
		item := engine.Item{
			ID: c.ID, Parent: contactFolderID + folder, Kind: kindContact, Name: c.Name, ETag: version(c.ChangeKey, c.ETag, raw),
			Modified: instant(c.Modified), Size: int64(len(raw)), Raw: raw,
			Parts: func(ctx context.Context) ([]engine.ItemPart, error) { return s.photo(ctx, c.ID) },
		}
		if asList {
			item = unlessStored(item)
		}
		list.put(item)
	}
	if asList {
		p.Next = listed + p.Next
	}
	out := list.page(p.Next, p.Done)
	out.Listed = asList
	return out, nil
}

// version is an item's change key, which is the same in every answer that shows it, or what else tells it
// from others.
func version(changeKey, etag string, raw []byte) string {
	switch {
	case changeKey != "":
		return changeKey
	case etag != "":
		return etag
	}
	return digest(raw)
}

// photo reads a contact's picture. That there is one shows nowhere but in the attempt.
func (s *contactSource[P]) photo(ctx context.Context, id string) ([]engine.ItemPart, error) {
	b, err := readAll(ctx, func(ctx context.Context) (io.ReadCloser, error) { return s.api.ContactPhoto(ctx, s.user, id) }, maxPhoto)
	switch {
	case tenantry.KindOf(err) == tenantry.NotFound:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return []engine.ItemPart{bytesPart(photoPart, b)}, nil
}
