package workload

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A link of the folders says first which folder is the root, which never changes, when hidden folders were
// last looked for, and whether what can be recovered is among the folders; then where to go on:
//
//	link               a page of the delta
//	enumerating link   a page of the first round
//	hidden link        the hidden folders, which the delta is not documented to show, then the delta
//	tree               there is no delta: all folders level by level
//	quota link         there is none while the mailbox is over its quota
const (
	rootedLink      = "root "
	enumeratingLink = "enumerating "
	hiddenLink      = "hidden "
	treeLink        = "tree"
	quotaLink       = "quota "
)

// hiddenEvery is how often hidden folders are looked for: once between the backups of two days.
const hiddenEvery = 20 * time.Hour

// maxFolderDepth is what Exchange allows.
const maxFolderDepth = 300

// wellKnown are the names that stand for a folder in every language.
var wellKnown = []string{
	"inbox", "drafts", "sentitems", "deleteditems", "junkemail", "archive", "outbox", "conversationhistory",
}

const (
	wellKnownPart = "wellKnown="
	// rootFolder is the name of what holds all that a user sees.
	rootFolder = "msgfolderroot"
	// recoverable is the name of what holds what was deleted from everywhere else. Nothing can be written there.
	recoverable = "recoverableitemsdeletions"
)

// folderLink is a link of the folders taken apart.
type folderLink struct {
	looked      time.Time // for hidden folders
	recoverable bool
	rest        string
}

// open takes a link apart. The root's ID is asked for once.
func (s *mailSource[P]) open(ctx context.Context, link string) (l folderLink, root string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.rest = link
	if text, ok := strings.CutPrefix(link, rootedLink); ok {
		fields := strings.SplitN(text, " ", 4)
		if len(fields) != 4 {
			return l, "", tenantry.Errorf(tenantry.Resync, "read the link of mail folders: it is malformed")
		}
		seconds, _ := strconv.ParseInt(fields[1], 10, 64) // if it is none, it is long ago
		s.root, l = fields[0], folderLink{looked: time.Unix(seconds, 0), recoverable: fields[2] == "r", rest: fields[3]}
	}
	if s.root == "" {
		s.root, err = s.api.MailFolderID(ctx, s.user, rootFolder)
	}
	return l, s.root, err
}

func (l folderLink) text(root string) string {
	mark := "-"
	if l.recoverable {
		mark = "r"
	}
	return strings.Join([]string{rootedLink + root, strconv.FormatInt(l.looked.Unix(), 10), mark, l.rest}, " ")
}

// folderPage reads a page of the mail folders.
func (s *mailSource[P]) folderPage(ctx context.Context, link string) (engine.Page, error) {
	l, root, err := s.open(ctx, link)
	if err != nil {
		return engine.Page{}, err
	}
	var p engine.Page
	switch delta, looks := strings.CutPrefix(l.rest, hiddenLink); {
	case looks:
		p, err = s.tree(ctx, root, true)
		p.Next, l.looked, l.recoverable = delta, time.Now(), s.options.Recoverable
	case l.rest == treeLink:
		p, err = s.listed(ctx, root, treeLink)
	default:
		p, err = s.changedFolders(ctx, root, l)
	}
	l.rest = p.Next
	p.Next = l.text(root)
	return p, err
}

// listed is a page of all folders.
func (s *mailSource[P]) listed(ctx context.Context, root, next string) (engine.Page, error) {
	if _, err := s.wellKnownNames(ctx); err != nil {
		return engine.Page{}, err
	}
	p, err := s.tree(ctx, root, false)
	p.Next, p.Listed = next, true
	return p, err
}

// changedFolders reads a page of the folders' delta; now and then the hidden folders are due behind it.
func (s *mailSource[P]) changedFolders(ctx context.Context, root string, l folderLink) (engine.Page, error) {
	next, overQuota := strings.CutPrefix(l.rest, quotaLink)
	next, within := strings.CutPrefix(next, enumeratingLink)
	full := next == "" || within
	if full {
		if _, err := s.wellKnownNames(ctx); err != nil {
			return engine.Page{}, err
		}
	}
	got, err := s.api.MailFolderChanges(ctx, s.user, next)
	switch {
	case tenantry.KindOf(err) == tenantry.Capacity:
		return s.listed(ctx, root, quotaLink+next)
	case withoutDelta(err, next):
		return s.listed(ctx, root, treeLink)
	case err != nil:
		return engine.Page{}, err
	case overQuota && full:
		return engine.Page{}, tenantry.Errorf(tenantry.Resync, "read mail folders: their delta is back")
	}
	p := page(got)
	list := newChanges(len(p.Items))
	for _, raw := range p.Items {
		if err := s.folder(list, root, raw, false); err != nil {
			return engine.Page{}, err
		}
	}
	due := full || time.Since(l.looked) > hiddenEvery || s.options.Recoverable && !l.recoverable
	switch {
	case due && p.Done:
		return list.page(hiddenLink+p.Next, false), nil
	case full:
		return list.page(enumeratingLink+p.Next, false), nil
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
	Items    int64     `json:"totalItemCount"`
	Hidden   bool      `json:"isHidden"`
}

// folder adds one folder to a page. Search folders are left out: they only show items of others.
func (s *mailSource[P]) folder(list *changes, root string, raw jsontext.Value, hidden bool) error {
	var f mailFolder
	switch err := parse("a mail folder", raw, &f); {
	case err != nil:
		return err
	case f.ID == "":
		return tenantry.Errorf(tenantry.Internal, "read a mail folder: it has no ID")
	case f.Removed != nil:
		list.remove(f.ID)
		return nil
	case f.ID == root || strings.HasSuffix(f.Type, "mailSearchFolder") || hidden && !f.Hidden:
		return nil
	case f.Parent == root:
		f.Parent = partMail
	}
	list.put(engine.Item{
		ID: f.ID, Parent: f.Parent, Kind: engine.KindFolder, Name: f.Name, Collection: f.ID, Holds: f.Items,
		// Folders have no version of their own that all clouds show. What counts their items is a part of it.
		ETag: digest(raw), Raw: raw,
		Content: "well-known name", // asked for once: it never changes
		Parts:   func(ctx context.Context) ([]engine.ItemPart, error) { return s.wellKnownName(ctx, f.ID) },
		First:   s.isFirst(f.ID),
	})
	return nil
}

// tree is a page of all folders, or of the hidden ones, and of what can be recovered if that is wanted.
func (s *mailSource[P]) tree(ctx context.Context, root string, hidden bool) (engine.Page, error) {
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
				return s.folder(list, root, raw, hidden)
			})
			// A folder that vanished in the meantime is told by the next round of the delta.
			if err != nil && (parent == "" || tenantry.KindOf(err) != tenantry.NotFound) {
				return engine.Page{}, err
			}
		}
		level = below
	}
	if err := s.recoverable(ctx, list); err != nil {
		return engine.Page{}, err
	}
	return list.page("", true), nil
}

// recoverable adds the folder of what can be recovered, which lies outside of the tree.
func (s *mailSource[P]) recoverable(ctx context.Context, list *changes) error {
	if !s.options.Recoverable {
		return nil
	}
	raw, err := s.api.MailFolder(ctx, s.user, recoverable)
	if tenantry.KindOf(err) == tenantry.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	var f mailFolder
	if err := parse("a mail folder", raw, &f); err != nil {
		return err
	}
	list.put(engine.Item{
		ID: f.ID, Parent: partMail, Kind: engine.KindFolder, Name: orElse(f.Name, "Deletions"), Collection: f.ID, ETag: digest(raw), Raw: raw,
		Content: "well-known name",
		Parts: func(context.Context) ([]engine.ItemPart, error) {
			return []engine.ItemPart{bytesPart(wellKnownPart+recoverable, nil)}, nil
		},
	})
	return nil
}

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

// isFirst reports whether a folder is one where the newest mail is: a first backup reads it
// before the others, each the newest messages first. It knows while folders are enumerated.
func (s *mailSource[P]) isFirst(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[id] == "inbox" || s.names[id] == "sentitems"
}
