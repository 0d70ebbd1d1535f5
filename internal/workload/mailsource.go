package workload

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	kindMessage = "message"

	// maxMailPage messages come with their bodies, some megabytes in all. Above a few hundred the
	// service answers with 504.
	maxMailPage = 100
	minMailPage = 10

	// While the folders are enumerated, the link says so: only then the hidden ones, which the delta
	// is not documented to show, are looked for.
	enumerating = "enumerating "
	hidden      = "hidden "

	// rooted precedes the root folder's ID in links of folders.
	rooted = "root "
)

// wellKnown are the names that stand for a folder in every language.
var wellKnown = []string{
	"inbox", "drafts", "sentitems", "deleteditems", "junkemail", "archive", "outbox", "conversationhistory",
}

// mailSource reads one mailbox.
type mailSource[P Pages] struct {
	api         MailReader[P]
	user        string
	attachments attachmentSource[P]

	pageSize int // of messages, adapted to what the service answers in time
	root     string

	mu    sync.Mutex // guards names, which parts ask for
	names map[string]string
}

func newMailSource[P Pages](api MailReader[P], user string) *mailSource[P] {
	return &mailSource[P]{
		api: api, user: user, pageSize: maxMailPage, attachments: attachmentSource[P]{api: api, user: user, of: ofMessage},
	}
}

// folderPage reads a page of the mail folders: their delta, and behind an enumeration the hidden ones.
func (s *mailSource[P]) folderPage(ctx context.Context, link string) (engine.Page, error) {
	link, err := s.rooted(ctx, link)
	if err != nil {
		return engine.Page{}, err
	}
	var p engine.Page
	if delta, ok := strings.CutPrefix(link, hidden); ok {
		p, err = s.hiddenFolders(ctx, delta)
	} else {
		p, err = s.folders(ctx, link)
	}
	p.Next = rooted + s.root + " " + p.Next
	return p, err
}

// rooted learns which folder is the root, which never changes: from the link, or by asking. It returns
// the link without it.
func (s *mailSource[P]) rooted(ctx context.Context, link string) (string, error) {
	if root, ok := strings.CutPrefix(link, rooted); ok {
		s.root, link, _ = strings.Cut(root, " ")
	}
	if s.root != "" {
		return link, nil
	}
	id, err := s.api.MailFolderID(ctx, s.user, rootFolder)
	s.root = id
	return link, err
}

// folders reads a page of the folders' delta.
func (s *mailSource[P]) folders(ctx context.Context, link string) (engine.Page, error) {
	next, within := strings.CutPrefix(link, enumerating)
	if link == "" || within {
		if _, err := s.wellKnownNames(ctx); err != nil {
			return engine.Page{}, err
		}
	}
	got, err := s.api.MailFolderChanges(ctx, s.user, next)
	if err != nil {
		return engine.Page{}, err
	}
	p := page(got)
	list := newChanges(len(p.Items))
	for _, raw := range p.Items {
		if err := s.folder(list, raw, false); err != nil {
			return engine.Page{}, err
		}
	}
	switch full := within || link == ""; {
	case full && p.Done:
		return list.page(hidden+p.Next, false), nil
	case full:
		return list.page(enumerating+p.Next, false), nil
	}
	return list.page(p.Next, p.Done), nil
}

type mailFolder struct {
	ID       string    `json:"id"`
	Type     string    `json:"@odata.type"`
	ETag     string    `json:"@odata.etag"`
	Removed  *struct{} `json:"@removed"`
	Name     string    `json:"displayName"`
	Parent   string    `json:"parentFolderId"`
	Children int       `json:"childFolderCount"`
	Hidden   bool      `json:"isHidden"`
}

// folder adds one folder to a page. Search folders are left out: they only show items of others.
func (s *mailSource[P]) folder(list *changes, raw jsontext.Value, below bool) error {
	var f mailFolder
	switch err := parse("a mail folder", raw, &f); {
	case err != nil:
		return err
	case f.ID == "":
		return tenantry.Errorf(tenantry.Internal, "read a mail folder: it has no ID")
	case f.Removed != nil:
		list.remove(f.ID)
		return nil
	case f.ID == s.root || strings.HasSuffix(f.Type, "mailSearchFolder") || below && !f.Hidden:
		return nil
	case f.Parent == s.root:
		f.Parent = partMail
	}
	item := engine.Item{
		ID: f.ID, Parent: f.Parent, Kind: engine.KindFolder, Name: f.Name, Collection: f.ID,
		// Folders have no version of their own that all clouds show. What counts their items is a part of it.
		ETag: digest(raw), Raw: raw,
		Content: "well-known name", // asked for once: it never changes
		Parts:   func(ctx context.Context) ([]engine.ItemPart, error) { return s.wellKnownName(ctx, f.ID) },
		First:   s.isFirst(f.ID),
	}
	list.put(item)
	return nil
}

// hiddenFolders closes an enumeration with the folders that the delta may not show.
func (s *mailSource[P]) hiddenFolders(ctx context.Context, delta string) (engine.Page, error) {
	list := newChanges(0)
	level := []string{""}
	for depth := 0; len(level) > 0 && depth < maxFolderDepth; depth++ {
		var below []string
		for _, parent := range level {
			err := walk(func(link string) (P, error) { return s.api.MailFolders(ctx, s.user, parent, link) }, func(raw jsontext.Value) error {
				var f mailFolder
				if err := parse("a mail folder", raw, &f); err != nil {
					return err
				}
				if f.Children > 0 && !strings.HasSuffix(f.Type, "mailSearchFolder") {
					below = append(below, f.ID)
				}
				return s.folder(list, raw, true)
			})
			// A folder that vanished in the meantime is told by the next round of the delta.
			if err != nil && tenantry.KindOf(err) != tenantry.NotFound {
				return engine.Page{}, err
			}
		}
		level = below
	}
	return list.page(delta, true), nil
}

// maxFolderDepth is what Exchange allows.
const maxFolderDepth = 300

// wellKnownName returns a folder's well-known name as a part, if it has one.
func (s *mailSource[P]) wellKnownName(ctx context.Context, id string) ([]engine.ItemPart, error) {
	names, err := s.wellKnownNames(ctx)
	if err != nil {
		return nil, err
	}
	name, ok := names[id]
	if !ok {
		return nil, nil
	}
	return []engine.ItemPart{bytesPart(wellKnownPart+name, nil)}, nil
}

// wellKnownNames asks once which folders have one, and returns the names by ID.
func (s *mailSource[P]) wellKnownNames(ctx context.Context) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names != nil {
		return s.names, nil
	}
	names, err := wellKnownFolders(ctx, s.api, s.user, wellKnown)
	if err != nil {
		return nil, err
	}
	s.names = names
	return names, nil
}

// folderNamer finds folders by their well-known names.
type folderNamer interface {
	MailFolderID(ctx context.Context, user, wellKnown string) (string, error)
}

// wellKnownFolders asks which folders have the given names, and returns the names by ID.
func wellKnownFolders(ctx context.Context, api folderNamer, user string, names []string) (map[string]string, error) {
	byID := map[string]string{}
	for _, name := range names {
		folder, err := api.MailFolderID(ctx, user, name)
		switch {
		case tenantry.KindOf(err) == tenantry.NotFound: // not every mailbox has all of them
		case err != nil:
			return nil, err
		default:
			byID[folder] = name
		}
	}
	return byID, nil
}

// rootFolder is the name of what holds all that a user sees.
const rootFolder = "msgfolderroot"

// isFirst reports whether a folder is one where the newest mail is: a first backup reads it
// before the others, each the newest messages first. It knows while folders are enumerated.
func (s *mailSource[P]) isFirst(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[id] == "inbox" || s.names[id] == "sentitems"
}

const wellKnownPart = "wellKnown="

type message struct {
	ID        string    `json:"id"`
	ETag      string    `json:"@odata.etag"`
	ChangeKey string    `json:"changeKey"`
	Removed   *struct{} `json:"@removed"`
	Subject   string    `json:"subject"`
	Parent    string    `json:"parentFolderId"`
	Modified  string    `json:"lastModifiedDateTime"`
	Received  string    `json:"receivedDateTime"`
	From      struct {
		Address struct {
			Name    string `json:"name"`
			Address string `json:"address"`
		} `json:"emailAddress"`
	} `json:"from"`
	Attachments bool `json:"hasAttachments"`
	Headers     []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"internetMessageHeaders"`
}

// sender is what a search for a sender looks through.
func (m *message) sender() string {
	return strings.TrimSpace(m.From.Address.Name + " " + m.From.Address.Address)
}

// mayHaveAttachments reports whether it is worth a request to ask for attachments. hasAttachments does not
// count those that are shown within the text: the text refers to them, or the message is of a type that
// holds more than text. The usual pair of a plain and an HTML text is not: only what its HTML refers to
// can be hidden in it, and most mail is of this type.
func (m *message) mayHaveAttachments(raw jsontext.Value) bool {
	if m.Attachments || bytes.Contains(raw, []byte("cid:")) || bytes.Contains(raw, []byte("CID:")) {
		return true
	}
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, "Content-Type") {
			kind, _, _ := strings.Cut(strings.ToLower(h.Value), ";")
			kind = strings.TrimSpace(kind)
			return strings.Contains(kind, "/") && !strings.HasPrefix(kind, "text/") && kind != "multipart/alternative"
		}
	}
	return false
}

// messages reads a page of a folder's delta, in a size that the service answers in time.
func (s *mailSource[P]) messages(ctx context.Context, folder, link string) (engine.Page, error) {
	got, err := s.api.MessageChanges(ctx, s.user, folder, link, s.pageSize)
	if tenantry.KindOf(err) == tenantry.Transient && s.pageSize > minMailPage {
		s.pageSize = minMailPage
		got, err = s.api.MessageChanges(ctx, s.user, folder, link, s.pageSize)
	}
	if err != nil {
		return engine.Page{}, err
	}
	p := page(got)
	s.adapt(len(p.Items), p.Done)
	list := newChanges(len(p.Items))
	for _, raw := range p.Items {
		if err := s.message(list, folder, raw); err != nil {
			return engine.Page{}, err
		}
	}
	return list.page(p.Next, p.Done), nil
}

// adapt follows what the service answers: where a page came in a smaller portion than was asked for, the
// larger one is not asked for again at once.
func (s *mailSource[P]) adapt(got int, done bool) {
	if !done && got < s.pageSize/2 {
		s.pageSize = max(s.pageSize/2, minMailPage)
		return
	}
	s.pageSize = min(s.pageSize+s.pageSize/4, maxMailPage)
}

func (s *mailSource[P]) message(list *changes, folder string, raw jsontext.Value) error {
	var m message
	switch err := parse("a message", raw, &m); {
	case err != nil:
		return err
	case m.ID == "":
		return tenantry.Errorf(tenantry.Internal, "read a message: it has no ID")
	case m.Removed != nil:
		list.remove(m.ID)
		return nil
	}
	item := engine.Item{
		ID: m.ID, Parent: m.Parent, Kind: kindMessage, Name: m.Subject, ETag: m.ETag,
		Modified: instant(m.Modified), Size: int64(len(raw)), Raw: raw, From: m.sender(), Date: instant(m.Received),
	}
	if item.Parent == "" {
		item.Parent = folder
	}
	if item.ETag == "" {
		item.ETag = digest(raw)
	}
	if m.mayHaveAttachments(raw) {
		item.Parts = func(ctx context.Context) ([]engine.ItemPart, error) {
			return s.attachments.parts(ctx, m.ID, attachmentsPart)
		}
	}
	list.put(item)
	return nil
}

// instant reads a time; zero if it is not one, which is not worth losing an item over.
func instant(s string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, s)
	return t
}
