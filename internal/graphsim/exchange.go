package graphsim

import (
	"net/http"
	"slices"
	"time"
)

// ExchangeOptions decides what the documentation of Exchange in Graph leaves open.
// The zero value is the reading that is harder on a client.
type ExchangeOptions struct {
	// ListDefaultContacts shows the default folder in contactFolders and its delta.
	// Otherwise a client learns its ID as the parentFolderId of a contact or folder
	// in it. (List contactFolders says "under the default Contacts folder", its
	// example shows the folder itself.)
	ListDefaultContacts bool
	// EventsDelta offers /events/delta on every calendar; event: delta documents
	// calendarView/delta alone.
	EventsDelta bool
	// ChildFoldersDelta offers /mailFolders/{id}/childFolders/delta, which the schema
	// has and the reference does not.
	ChildFoldersDelta bool
	// DeltaShowsRoot and DeltaShowsHidden put the root and the hidden folders into
	// /mailFolders/delta, also when nobody asks for them.
	DeltaShowsRoot   bool
	DeltaShowsHidden bool
	// PostAttachments lets applications list the attachments of posts in groups: the
	// page of 2021 lists a role, the permissions reference delegated callers alone.
	PostAttachments bool
	// TaskAttachments serves the files of tasks (taskFileAttachment), which the pages that the
	// simulator follows do not have.
	TaskAttachments bool
	// OneIDSpace lets the import and export family share its IDs of folders and items with
	// the Outlook family.
	OneIDSpace bool
	// ImportSessionLife is how long an importUrl works, simulated; default 15 minutes.
	ImportSessionLife time.Duration
	// OneImportPerSession lets an importUrl take a single item: that it takes more is
	// implied by its expiry, and not stated.
	OneImportPerSession bool
	// ImportSessionCreated answers createImportSession with 201, as the page of 2024 does;
	// that of 2026 shows 200.
	ImportSessionCreated bool
	// MaxItemSize is the largest stream of an item that is exported or imported, in bytes;
	// default 150 MiB, what an attachment may have.
	MaxItemSize int64
}

func (o ExchangeOptions) withDefaults() ExchangeOptions {
	setDefault(&o.ImportSessionLife, 15*time.Minute)
	setDefault(&o.MaxItemSize, 150<<20)
	return o
}

// exchangeTruth answers with what a mailbox holds besides mail; known is false for
// another kind of truth.
func (t *Tenant) exchangeTruth(w http.ResponseWriter, r *http.Request, owner, kind string) (known bool) {
	switch kind {
	case "contacts":
		writeLines(w, r, t.ContactTruth, owner)
	case "contactFolders":
		writeLines(w, r, t.ContactFolderTruth, owner)
	case "events":
		writeLines(w, r, t.EventTruth, owner)
	case "calendars":
		writeLines(w, r, t.CalendarTruth, owner)
	case "todo":
		writeLines(w, r, t.TaskTruth, owner)
	case "todoLists":
		writeLines(w, r, t.TaskListTruth, owner)
	case "settings":
		writeLines(w, r, t.SettingTruth, owner)
	case "posts":
		writeLines(w, r, t.PostTruth, owner)
	case "sent":
		writeLines(w, r, t.SentTruth, owner)
	default:
		return false
	}
	return true
}

// exchangeRoutes are the operations on mailboxes.
func exchangeRoutes() []route {
	return declared(slices.Concat(mailFolderRoutes(), messageRoutes(), attachmentRoutes(), contactRoutes(), calendarRoutes(), eventRoutes(),
		todoRoutes(), settingsRoutes(), groupMailRoutes(), importExportRoutes()))
}

// Which roles open what a mailbox holds besides mail (permissions reference).
var (
	rolesSettingsWrite = []string{"MailboxSettings.ReadWrite"}
	rolesConversations = []string{"Group-Conversation.Read.All", "Group.Read.All", "Group.ReadWrite.All"}
	rolesSend          = []string{"Mail.Send"}
	rolesTranslate     = []string{"User.Read.All", "User.ReadWrite.All", "Mail.Read", "Mail.ReadWrite"}
	rolesTasks         = []string{"Tasks.Read.All", "Tasks.ReadWrite.All"}
	rolesTasksWrite    = []string{"Tasks.ReadWrite.All"}
	// Hidden items of Outlook (userConfiguration).
	rolesConfigurations      = []string{"MailboxConfigItem.Read", "MailboxConfigItem.ReadWrite"}
	rolesConfigurationsWrite = []string{"MailboxConfigItem.ReadWrite"}
)
