package workload

import (
	"context"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	kindRule     = "rule"
	kindCategory = "category"
	kindSettings = "mailboxSettings"
	kindArchive  = "archive" // an in-place archive, of which there is no more than that

	// The lists that the part of settings has, and the one item beside them.
	settingsRules      = "settings:rules"
	settingsCategories = "settings:categories"
	settingsItem       = "settings:mailbox"
	settingsArchive    = "settings:archive"
	ruleID             = "rule:"
	categoryID         = "category:"

	// ruleFoldersPart says where the folders lie that a rule's actions name: by ID, the names on the way down.
	ruleFoldersPart = "folders.json"
)

// settingsSource reads the settings of a mailbox, the rules of its inbox and its categories. None of them
// has a delta, and none is long: each is read whole.
type settingsSource[P Pages] struct {
	api      SettingsReader[P]
	user     string
	archives bool // to be looked for

	mu     sync.Mutex // guards what follows
	common map[string]string
}

func newSettingsSource[P Pages](api SettingsReader[P], user string, o tenantry.BackupOptions) *settingsSource[P] {
	return &settingsSource[P]{api: api, user: user, archives: o.Archives}
}

func (s *settingsSource[P]) page(ctx context.Context, collection string) (engine.Page, error) {
	list := newChanges(0)
	var err error
	switch collection {
	case settingsRules:
		err = s.each(ctx, s.api.MessageRules, ruleID, list, s.rule)
	case settingsCategories:
		err = s.each(ctx, s.api.MasterCategories, categoryID, list, func(i *engine.Item) {
			i.Kind, i.Parent = kindCategory, settingsCategories
		})
	default:
		err = s.settings(ctx, list)
	}
	p := list.page("", true)
	p.Listed = true
	return p, err
}

// settings is the page of the part itself: the settings, and the lists beside them.
func (s *settingsSource[P]) settings(ctx context.Context, list *changes) error {
	raw, err := s.api.MailboxSettings(ctx, s.user)
	if err != nil {
		return err
	}
	list.put(unlessStored(engine.Item{
		ID: settingsItem, Parent: partSettings, Kind: kindSettings, Name: "Mailbox settings", ETag: digest(raw), Size: int64(len(raw)), Raw: raw,
	}))
	for id, name := range map[string]string{settingsRules: "Inbox rules", settingsCategories: "Categories"} {
		list.put(engine.Item{ID: id, Parent: partSettings, Kind: engine.KindFolder, Name: name, ETag: "1", Collection: id})
	}
	return s.archive(ctx, list)
}

// archive names the in-place archive of the mailbox, which v1.0 has no way to.
func (s *settingsSource[P]) archive(ctx context.Context, list *changes) error {
	if !s.archives {
		return nil
	}
	id, err := s.api.ArchiveMailbox(ctx, s.user)
	item := engine.Item{ID: settingsArchive, Parent: partSettings, Kind: kindArchive, Name: "In-place archive", ETag: digest([]byte(id))}
	switch kind := tenantry.KindOf(err); {
	case kind == tenantry.NotFound || kind == tenantry.Denied || kind == tenantry.Invalid || kind == tenantry.Absent || kind == tenantry.Internal:
		item.Problem = "nobody knows whether the mailbox has an in-place archive (preview, Microsoft Graph beta): " + err.Error()
	case err != nil:
		return err
	case id == "":
		return nil
	default:
		item.Problem = "not saved: the mailbox has an in-place archive, which Microsoft Graph v1.0 has no way to (told by a preview, beta)"
	}
	list.put(item)
	return nil
}

// each reads a whole list.
func (s *settingsSource[P]) each(ctx context.Context, read func(ctx context.Context, user, link string) (P, error), prefix string, list *changes, finish func(*engine.Item)) error {
	return walk(func(link string) (P, error) { return read(ctx, s.user, link) }, func(raw jsontext.Value) error {
		var entry struct {
			ID   string `json:"id"`
			Name string `json:"displayName"`
		}
		if err := parse("a mailbox setting", raw, &entry); err != nil {
			return err
		}
		if entry.ID == "" {
			return tenantry.Errorf(tenantry.Internal, "read a mailbox setting: it has no ID")
		}
		item := engine.Item{ID: prefix + entry.ID, Name: entry.Name, ETag: digest(raw), Size: int64(len(raw)), Raw: raw}
		finish(&item)
		list.put(unlessStored(item))
		return nil
	})
}

// unlessStored is an item that a list shows whole in every run, and that is news only in another version.
func unlessStored(item engine.Item) engine.Item {
	return engine.Item{
		ID: item.ID, Parent: item.Parent, Kind: item.Kind, ETag: item.ETag,
		Load: func(context.Context) (engine.Item, error) { return item, nil },
	}
}

func (s *settingsSource[P]) rule(item *engine.Item) {
	item.Kind, item.Parent = kindRule, settingsRules
	var r inboxRule
	if r.parse(item.Raw) == nil && len(r.folders()) > 0 {
		item.Parts = func(ctx context.Context) ([]engine.ItemPart, error) { return s.ruleFolders(ctx, r.folders()) }
	}
}

// inboxRule is what matters of a rule's actions.
type inboxRule struct {
	Actions struct {
		MoveTo              string           `json:"moveToFolder"`
		CopyTo              string           `json:"copyToFolder"`
		ForwardTo           []jsontext.Value `json:"forwardTo"`
		ForwardAsAttachment []jsontext.Value `json:"forwardAsAttachmentTo"`
		RedirectTo          []jsontext.Value `json:"redirectTo"`
	} `json:"actions"`
}

func (r *inboxRule) parse(raw []byte) error { return parse("an inbox rule", raw, r) }

// folders are the IDs of folders that the rule names.
func (r *inboxRule) folders() (ids []string) {
	for _, id := range []string{r.Actions.MoveTo, r.Actions.CopyTo} {
		if id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// sends reports whether the rule sends mail.
func (r *inboxRule) sends() bool {
	return len(r.Actions.ForwardTo)+len(r.Actions.ForwardAsAttachment)+len(r.Actions.RedirectTo) > 0
}

// ruleFolders says where the folders of a rule lie, since in another mailbox they have other IDs. A folder
// that is gone has no place.
func (s *settingsSource[P]) ruleFolders(ctx context.Context, ids []string) ([]engine.ItemPart, error) {
	places := map[string][]string{}
	for _, id := range ids {
		place, err := s.place(ctx, id)
		if tenantry.KindOf(err) == tenantry.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		places[id] = place
	}
	text, err := json.Marshal(places, json.Deterministic(true))
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "write where a rule's folders lie", err)
	}
	return []engine.ItemPart{bytesPart(ruleFoldersPart, text)}, nil
}

// place returns the names of the folders on the way down to one; a folder that has a well-known name
// begins the way, by that name.
func (s *settingsSource[P]) place(ctx context.Context, id string) (way []string, err error) {
	common, err := s.wellKnown(ctx)
	if err != nil {
		return nil, err
	}
	for range maxFolderDepth {
		if name, ok := common[id]; ok {
			return append([]string{wellKnownPart + name}, way...), nil
		}
		raw, err := s.api.MailFolder(ctx, s.user, id)
		if err != nil {
			return nil, err
		}
		var f mailFolder
		if err := parse("a mail folder", raw, &f); err != nil {
			return nil, err
		}
		way = append([]string{f.Name}, way...)
		id = f.Parent
	}
	return nil, tenantry.Errorf(tenantry.NotFound, "find a mail folder: it lies too deep")
}

// wellKnown returns the names that stand for folders by the folders' IDs, the root among them. It asks once.
func (s *settingsSource[P]) wellKnown(ctx context.Context) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.common != nil {
		return s.common, nil
	}
	names, err := wellKnownFolders(ctx, s.api, s.user, append([]string{rootFolder}, wellKnown...))
	if err == nil {
		s.common = names
	}
	return names, err
}
