package workload

import (
	"context"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// page is a page of payloads as graph.RawPage has it: byte-identical items, and a link that is a
// delta link when Done. The rooms' packages must not need the Graph SDK to be tested, so the interfaces
// below are generic over the name of that type.
type page struct {
	Items     []jsontext.Value
	Next      string
	Done      bool
	Addresses map[string]string
}

// Pages is any type of the shape of graph.RawPage.
type Pages interface {
	~struct {
		Items     []jsontext.Value
		Next      string
		Done      bool
		Addresses map[string]string
	}
}

// MailFolderReader lists folders. parent "" is the root of what a user sees, and well-known names
// stand for IDs. *graph.Tenant is one.
type MailFolderReader[P Pages] interface {
	MailFolderID(ctx context.Context, user, wellKnown string) (string, error)
	MailFolders(ctx context.Context, user, parent, link string) (P, error)
}

// AttachmentReader reads the attachments of an item: a message or an event, as of says.
type AttachmentReader[P Pages] interface {
	Attachments(ctx context.Context, user, of, item, link string) (P, error)
	SmallAttachments(ctx context.Context, user, of, item string) (list []jsontext.Value, contents map[string][]byte, ok bool, err error)
	Attachment(ctx context.Context, user, of, item, attachment string) (jsontext.Value, error)
	AttachmentContent(ctx context.Context, user, of, item, attachment string) (io.ReadCloser, error)
}

// What attachments belong to.
const (
	ofMessage = "messages"
	ofEvent   = "events"
)

// MailboxReader is what a mailbox's source needs of Graph. It is used from several goroutines at once.
type MailboxReader[P Pages] interface {
	MailReader[P]
	ContactReader[P]
	CalendarReader[P]
	TaskReader[P]
	SettingsReader[P]
}

// MailboxWriter is what a mailbox's target needs of Graph. It is used from several goroutines at once.
type MailboxWriter[P Pages] interface {
	MailWriter[P]
	ContactWriter[P]
	CalendarWriter[P]
	TaskWriter[P]
	SettingsWriter[P]
}

// ContactLister lists contact folders and contacts. folder and parent "" are the default one.
type ContactLister[P Pages] interface {
	ContactFolders(ctx context.Context, user, parent, link string) (P, error)
	DefaultContactFolder(ctx context.Context, user string) (id string, err error)
	Contacts(ctx context.Context, user, folder, sel, prop, link string) (P, error)
}

// ContactReader reads contacts.
type ContactReader[P Pages] interface {
	ContactLister[P]
	ContactChanges(ctx context.Context, user, folder, link string, pageSize int) (P, error)
	ContactPhoto(ctx context.Context, user, contact string) (io.ReadCloser, error)
}

// ContactWriter writes contacts.
type ContactWriter[P Pages] interface {
	ContactLister[P]
	CreateContactFolder(ctx context.Context, user, parent, name string) (id string, err error)
	CreateContact(ctx context.Context, user, folder string, body []byte) (id string, err error)
	PutContactPhoto(ctx context.Context, user, contact string, size int64, r io.Reader) error
	DeleteContact(ctx context.Context, user, contact string) error
}

// CalendarLister lists calendars and their events.
type CalendarLister[P Pages] interface {
	Calendars(ctx context.Context, user, link string) (P, error)
	Events(ctx context.Context, user, calendar, sel, prop, link string, pageSize int) (P, error)
}

// CalendarReader reads calendars.
type CalendarReader[P Pages] interface {
	CalendarLister[P]
	AttachmentReader[P]
	Event(ctx context.Context, user, event string) (jsontext.Value, error)
	EventSeries(ctx context.Context, user, event string) (jsontext.Value, error)
}

// CalendarWriter writes calendars. It never sends anything.
type CalendarWriter[P Pages] interface {
	CalendarLister[P]
	AttachmentWriter[P]
	Instances(ctx context.Context, user, event string, from, to time.Time, link string) (P, error)
	CreateCalendar(ctx context.Context, user, name string) (id string, err error)
	CreateEvent(ctx context.Context, user, calendar string, body []byte) (id string, err error)
	UpdateEvent(ctx context.Context, user, event string, body []byte) error
	DeleteEvent(ctx context.Context, user, event string) error
}

// TaskLister lists To Do lists, and what belongs to a task: its checklistItems, linkedResources or attachments, these
// without their content.
type TaskLister[P Pages] interface {
	TaskLists(ctx context.Context, user, link string) (P, error)
	TaskParts(ctx context.Context, user, list, task, part, link string) (P, error)
}

// TaskReader reads tasks. expanded asks for what belongs to each along with it; Invalid where that is not
// possible.
type TaskReader[P Pages] interface {
	TaskLister[P]
	TaskChanges(ctx context.Context, user, list, link string, pageSize int, expanded bool) (P, error)
	Tasks(ctx context.Context, user, list, link string) (P, error)
	TaskAttachment(ctx context.Context, user, list, task, attachment string) (io.ReadCloser, error)
}

// TaskWriter writes tasks.
type TaskWriter[P Pages] interface {
	TaskLister[P]
	Tasks(ctx context.Context, user, list, link string) (P, error)
	CreateTaskList(ctx context.Context, user, name string) (id string, err error)
	CreateTask(ctx context.Context, user, list string, body []byte) (id string, err error)
	AddTaskPart(ctx context.Context, user, list, task, part string, body []byte) error
	DeleteTask(ctx context.Context, user, list, task string) error
}

// SettingsReader reads the settings of a mailbox, the rules of its inbox and its categories, and the folders
// that rules name.
type SettingsReader[P Pages] interface {
	MailboxSettings(ctx context.Context, user string) (jsontext.Value, error)
	ArchiveMailbox(ctx context.Context, user string) (id string, err error)
	MessageRules(ctx context.Context, user, link string) (P, error)
	MasterCategories(ctx context.Context, user, link string) (P, error)
	MailFolder(ctx context.Context, user, folder string) (jsontext.Value, error)
	MailFolderID(ctx context.Context, user, wellKnown string) (string, error)
}

// SettingsWriter writes settings, rules and categories.
type SettingsWriter[P Pages] interface {
	SettingsReader[P]
	UpdateMailboxSettings(ctx context.Context, user string, body []byte) error
	CreateMessageRule(ctx context.Context, user string, body []byte) (id string, err error)
	DeleteMessageRule(ctx context.Context, user, rule string) error
	CreateMasterCategory(ctx context.Context, user string, body []byte) (id string, err error)
	DeleteMasterCategory(ctx context.Context, user, category string) error
}

// MailReader reads mail.
type MailReader[P Pages] interface {
	MailFolderReader[P]
	AttachmentReader[P]
	MailFolderChanges(ctx context.Context, user, link string) (P, error)
	MessageChanges(ctx context.Context, user, folder, link string, pageSize int) (P, error)
	MessageList(ctx context.Context, user, folder, link string, pageSize int) (P, error)
	Messages(ctx context.Context, user, folder, sel, prop, link string) (P, error)
	Message(ctx context.Context, user, message string) (jsontext.Value, error)
	MessageFolder(ctx context.Context, user, message string) (folder string, err error)
	MessageMIME(ctx context.Context, user, message string) (io.ReadCloser, error)
	MailFolder(ctx context.Context, user, folder string) (jsontext.Value, error)
}

// AttachmentWriter adds attachments to an item that was created.
type AttachmentWriter[P Pages] interface {
	Attachments(ctx context.Context, user, of, item, link string) (P, error)
	AddAttachment(ctx context.Context, user, of, item string, body []byte) error
	UploadAttachment(ctx context.Context, user, of, item, name, contentType, contentID string, inline bool, f tenantry.Upload) error
}

// MailWriter writes mail.
type MailWriter[P Pages] interface {
	MailFolderReader[P]
	AttachmentWriter[P]
	CreateMailFolder(ctx context.Context, user, parent, name string, hidden bool) (id string, err error)
	Messages(ctx context.Context, user, folder, sel, prop, link string) (P, error)
	CreateMessage(ctx context.Context, user, folder string, body []byte) (id string, err error)
	DeleteMessage(ctx context.Context, user, message string) error
}

// Whom drives belong to.
const (
	ofUser  = "users"
	ofSite  = "sites"
	ofGroup = "groups"
)

// DriveReader is what a drive's source needs of Graph. It is used from several goroutines at once.
type DriveReader[P Pages] interface {
	Drives(ctx context.Context, of, owner, link string) (P, error)
	DriveChanges(ctx context.Context, drive, link string) (P, error)
	Permissions(ctx context.Context, drive, item, link string) (P, error)
	DriveContent[P]
}

// DriveContent reads what files hold. address is what a page of DriveChanges told along with the file, or "".
type DriveContent[P Pages] interface {
	Download(ctx context.Context, drive, item, address string, offset int64) (io.ReadCloser, error)
	FileVersions(ctx context.Context, drive, item, link string) (P, error)
	DownloadVersion(ctx context.Context, drive, item, version string) (io.ReadCloser, error)
}

// DriveWriter is what a drive's target needs of Graph. It is used from several goroutines at once.
type DriveWriter[P Pages] interface {
	DriveFinder[P]
	CreateDriveFolder(ctx context.Context, drive, parent, name string, created, modified time.Time) (jsontext.Value, error)
	Upload(ctx context.Context, drive, parent, name, conflict string, created, modified time.Time, f tenantry.Upload) (jsontext.Value, error)
	SetItemTimes(ctx context.Context, drive, item string, created, modified time.Time) error
	DriveSharer[P]
}

// DriveFinder finds what is there.
type DriveFinder[P Pages] interface {
	Drives(ctx context.Context, of, owner, link string) (P, error)
	DefaultDrive(ctx context.Context, of, owner string) (driveID string, err error)
	DriveRoot(ctx context.Context, drive string) (itemID string, err error)
	DriveChild(ctx context.Context, drive, folder, name string) (jsontext.Value, error)
}

// DriveSharer shares items. It never sends anything.
type DriveSharer[P Pages] interface {
	Permissions(ctx context.Context, drive, item, link string) (P, error)
	Invite(ctx context.Context, drive, item string, body []byte) error
	CreateLink(ctx context.Context, drive, item string, body []byte) error
}

// SiteReader is what a site's source needs of Graph. It is used from several goroutines at once.
type SiteReader[P Pages] interface {
	DriveReader[P]
	SiteLister[P]
	Site(ctx context.Context, site string) (jsontext.Value, error)
	ContentTypes(ctx context.Context, site, list, link string) (P, error)
	ListItemChanges(ctx context.Context, site, list, link string) (P, error)
	LibraryReader[P]
}

// LibraryReader reads drives that are libraries: with the row of each file in the library's list.
type LibraryReader[P Pages] interface {
	LibraryChanges(ctx context.Context, drive, link string) (P, error)
}

// SiteLister lists what a site holds.
type SiteLister[P Pages] interface {
	Subsites(ctx context.Context, site, link string) (P, error)
	Lists(ctx context.Context, site, link string) (P, error)
	ListItems(ctx context.Context, site, list, link string) (P, error)
	PageReader[P]
	List(ctx context.Context, site, list string) (jsontext.Value, error)
}

// PageReader reads the pages of a site.
type PageReader[P Pages] interface {
	Pages(ctx context.Context, site, link string) (P, error)
	SitePage(ctx context.Context, site, page string) (jsontext.Value, error)
}

// SiteWriter is what a site's target needs of Graph. It is used from several goroutines at once.
type SiteWriter[P Pages] interface {
	DriveWriter[P]
	SiteLister[P]
	ContentTypes(ctx context.Context, site, list, link string) (P, error)
	CreateList(ctx context.Context, site string, body []byte) (id string, err error)
	CreateColumn(ctx context.Context, site, list string, body []byte) error
	CreateListItem(ctx context.Context, site, list string, body []byte) (item jsontext.Value, err error)
	UpdateListItem(ctx context.Context, site, list, item string, fields []byte) error
	LibraryWriter
	PageWriter
}

// LibraryWriter writes what the files of a library have in the columns of its list.
type LibraryWriter interface {
	LibraryList(ctx context.Context, drive string) (list string, err error)
	LibraryChild(ctx context.Context, drive, folder, name string) (jsontext.Value, error)
	FileRow(ctx context.Context, drive, item string) (jsontext.Value, error)
	UpdateFileFields(ctx context.Context, drive, item string, fields []byte) error
}

// PageWriter writes the pages of a site.
type PageWriter interface {
	CreatePage(ctx context.Context, site string, body []byte) (id string, err error)
	PublishPage(ctx context.Context, site, page string) error
}

// GroupReader is what a group's source needs of Graph. It is used from several goroutines at once.
type GroupReader[P Pages] interface {
	GroupThreads(ctx context.Context, group, link string) (P, error)
	GroupPosts(ctx context.Context, group, thread, link string) (P, error)
	PostAttachments(ctx context.Context, group, thread, post, link string) (P, error)
	GroupSite(ctx context.Context, group string) (jsontext.Value, error)
	GroupCalendar[P]
}

// GroupCalendar reads the calendar of a group.
type GroupCalendar[P Pages] interface {
	GroupCreated(ctx context.Context, group string) (time.Time, error)
	GroupCalendarView(ctx context.Context, group string, from, to time.Time, link string) (P, error)
	GroupEvent(ctx context.Context, group, event string) (jsontext.Value, error)
}

// TeamReader is what a team's source needs of Graph. It is used from several goroutines at once.
type TeamReader[P Pages] interface {
	DriveReader[P]
	ChannelLister[P]
	Team(ctx context.Context, team string) (jsontext.Value, error)
	TeamMembers(ctx context.Context, team, link string) (P, error)
	ChannelMembers(ctx context.Context, team, channel, link string) (P, error)
	TeamContent[P]
	LibraryReader[P]
	List(ctx context.Context, site, list string) (jsontext.Value, error)
}

// TeamContent reads what the channels of a team hold.
type TeamContent[P Pages] interface {
	ChannelMessages(ctx context.Context, team string, since time.Time, link string) (P, error)
	HostedContent(ctx context.Context, team, channel, message, reply, content string) (io.ReadCloser, error)
	Drive(ctx context.Context, drive string) (jsontext.Value, error)
}

// ChannelLister lists channels and finds where they keep files.
type ChannelLister[P Pages] interface {
	Channels(ctx context.Context, team, link string) (P, error)
	FilesFolder(ctx context.Context, team, channel string) (jsontext.Value, error)
}

// TeamWriter is what a team's target needs of Graph. It is used from several goroutines at once.
type TeamWriter[P Pages] interface {
	SiteWriter[P]
	ChannelLister[P]
	Drive(ctx context.Context, drive string) (jsontext.Value, error)
}

// parse reads what it needs of a payload. Graph is known to write a name twice now and then.
func parse(what string, raw jsontext.Value, into any) error {
	if err := json.Unmarshal(raw, into, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return tenantry.E(tenantry.Internal, "read "+what, err)
	}
	return nil
}

// collect returns the items of every page that list yields.
func collect[P Pages](list func(link string) (P, error)) ([]jsontext.Value, error) {
	var all []jsontext.Value
	err := walk(list, func(raw jsontext.Value) error { all = append(all, raw); return nil })
	return all, err
}

// walk calls visit for each item of every page that list yields.
func walk[P Pages](list func(link string) (P, error), visit func(jsontext.Value) error) error {
	for link := ""; ; {
		got, err := list(link)
		if err != nil {
			return err
		}
		p := page(got)
		for _, item := range p.Items {
			if err := visit(item); err != nil {
				return err
			}
		}
		if p.Done || p.Next == "" {
			return nil
		}
		if p.Next == link {
			return tenantry.Errorf(tenantry.Internal, "list: the next page is the page itself")
		}
		link = p.Next
	}
}
