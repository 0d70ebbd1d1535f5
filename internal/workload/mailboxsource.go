package workload

import (
	"context"
	"strings"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The parts of a mailbox: folders of our own at its root, under which everything lies. Nothing moves from
// one to another, and each may be refused by itself.
const (
	partMail      = "part:mail"
	partContacts  = "part:contacts"
	partCalendars = "part:calendars"
	partTasks     = "part:tasks"
	partSettings  = "part:settings"
)

// partsLink is the cursor of the root. It changes when parts are added, so that older series list them.
const partsLink = "parts 2"

var mailboxParts = []struct{ id, name string }{
	{partMail, "Mail"}, {partContacts, "Contacts"}, {partCalendars, "Calendars"}, {partTasks, "Tasks"}, {partSettings, "Settings"},
}

// mailboxSource reads one mailbox.
type mailboxSource[P Pages] struct {
	mail      *mailSource[P]
	contacts  *contactSource[P]
	calendars *calendarSource[P]
	tasks     *taskSource[P]
	settings  *settingsSource[P]
}

// NewMailboxSource returns the source of a user's mailbox; user is the Entra object ID. Its collections
// are its parts, which list folders and calendars, and these.
func NewMailboxSource[P Pages](api MailboxReader[P], user string, o tenantry.BackupOptions) engine.Source {
	return &mailboxSource[P]{
		mail: newMailSource(api, user, o), contacts: newContactSource(api, user), calendars: newCalendarSource(api, user),
		tasks: &taskSource[P]{api: api, user: user}, settings: newSettingsSource(api, user, o),
	}
}

// Tree says that items move between folders; rules and categories stay where they are.
func (s *mailboxSource[P]) Tree(id string) (string, bool) {
	switch {
	case id == settingsRules, strings.HasPrefix(id, ruleID):
		return settingsRules, true
	case id == settingsCategories, strings.HasPrefix(id, categoryID):
		return settingsCategories, true
	}
	return "", false
}

// Page reads a page of one collection.
func (s *mailboxSource[P]) Page(ctx context.Context, collection, link string) (engine.Page, error) {
	switch collection {
	case engine.RootCollection:
		return parts(link)
	case partMail:
		return s.mail.folderPage(ctx, link)
	case partContacts:
		return s.contacts.folderPage(ctx, link)
	case partCalendars:
		return s.calendars.calendarPage(ctx)
	case partTasks:
		return s.tasks.listPage(ctx)
	case partSettings, settingsRules, settingsCategories:
		return s.settings.page(ctx, collection)
	}
	if folder, ok := strings.CutPrefix(collection, contactFolderID); ok {
		return s.contacts.page(ctx, folder, link)
	}
	if calendar, ok := strings.CutPrefix(collection, calendarID); ok {
		return s.calendars.page(ctx, calendar, link)
	}
	if list, ok := strings.CutPrefix(collection, taskListID); ok {
		return s.tasks.page(ctx, list, link)
	}
	return s.mail.messages(ctx, collection, link)
}

// Quiet: folders of mail, of contacts and lists of tasks that have a delta answer with an empty page at rest.
func (s *mailboxSource[P]) Quiet(collection, link string) bool {
	switch {
	case strings.HasPrefix(link, listed), strings.HasPrefix(link, listingLink), strings.HasPrefix(collection, calendarID),
		strings.HasPrefix(collection, "part:"), collection == settingsRules, collection == settingsCategories:
		return false
	}
	return link != ""
}

// parts lists the parts of a mailbox, which need no request.
func parts(link string) (engine.Page, error) {
	switch link {
	case partsLink:
		return engine.Page{Next: partsLink, Done: true}, nil
	case "":
	default:
		return engine.Page{}, tenantry.Errorf(tenantry.Resync, "list the parts of a mailbox: they are others than in %q", link)
	}
	p := engine.Page{Next: partsLink, Done: true}
	for _, part := range mailboxParts {
		p.Items = append(p.Items, engine.Item{
			ID: part.id, Kind: engine.KindFolder, Name: part.name, ETag: "1", Collection: part.id, Apart: true,
		})
	}
	return p, nil
}

// Locate tells where a message lies now; what else a mailbox has is not asked for by itself.
func (s *mailboxSource[P]) Locate(e repository.Entry) func(context.Context) (string, error) {
	if e.Kind != kindMessage {
		return nil
	}
	return func(ctx context.Context) (string, error) { return s.mail.api.MessageFolder(ctx, s.mail.user, e.ID) }
}

// Reread returns the parts of an item that could not be read before.
func (s *mailboxSource[P]) Reread(e repository.Entry) func(context.Context) ([]engine.ItemPart, error) {
	switch e.Kind {
	case kindMessage:
		return func(ctx context.Context) ([]engine.ItemPart, error) { return s.mail.reread(ctx, e.ID) }
	case kindContact:
		return func(ctx context.Context) ([]engine.ItemPart, error) { return s.contacts.photo(ctx, e.ID) }
	case kindEvent:
		return func(ctx context.Context) ([]engine.ItemPart, error) { return s.calendars.reread(ctx, e.ID) }
	case kindTask:
		return func(ctx context.Context) ([]engine.ItemPart, error) {
			return s.tasks.parts(ctx, strings.TrimPrefix(e.Parent, taskListID), e.ID, true, true)
		}
	}
	return nil
}
