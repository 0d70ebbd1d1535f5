package graphsim

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// TenantSpec describes a tenant to make. The zero value is a tenant with nobody in it.
type TenantSpec struct {
	Name   string `json:"name"`   // default: made from the domain
	Domain string `json:"domain"` // default: "tenantN.example"
	ID     string `json:"id"`     // GUID; default: made from seed and domain

	Users        int `json:"users"`        // licensed users with a mailbox and a drive
	MailsPerUser int `json:"mailsPerUser"` // messages in each mailbox
	// ContactsPerUser, EventsPerUser (series count once) and TasksPerUser are what each
	// mailbox has of them, further folders, calendars and lists included.
	ContactsPerUser int `json:"contactsPerUser"`
	EventsPerUser   int `json:"eventsPerUser"`
	TasksPerUser    int `json:"tasksPerUser"`
	// ThreadsPerGroup are the threads in the conversations of each Microsoft 365 group.
	ThreadsPerGroup int `json:"threadsPerGroup"`

	FilesPerUser int `json:"filesPerUser"` // files in each drive, those of sites included
	Groups       int `json:"groups"`       // every second one a Microsoft 365 group with a site
	Sites        int `json:"sites"`        // team sites besides those of groups

	// Libraries adds document libraries to each team and group site (at most 250). LibraryColumns
	// gives each library of such a site custom columns (at most 6, each of another kind), in which
	// most files and folders have values.
	Libraries      int `json:"libraries"`
	LibraryColumns int `json:"libraryColumns"`
	// Lists is how many lists each team and group site has, with ListItems items each;
	// Pages how many pages.
	Lists     int `json:"lists"`
	ListItems int `json:"listItems"`
	Pages     int `json:"pages"`
	// Channels adds standard channels to each team, ClosedChannels private and shared
	// ones in turn, each with a site of its own. Chats is with how many others each
	// user has a chat on either side, Messages how many each channel and chat holds.
	Channels       int `json:"channels"`
	ClosedChannels int `json:"closedChannels"`
	Chats          int `json:"chats"`
	Messages       int `json:"messages"`
	// FileSize makes each generated file of a drive this many bytes large; default: sizes
	// as people have them, from nothing to megabytes.
	FileSize int64 `json:"fileSize"`
	// MailSize makes the text of each generated message this many bytes large, and
	// AttachmentSize gives one message in five a file of that size and all others none:
	// three in ten of those files are one of a hundred that the whole tenant shares.
	// Default: as people have them.
	MailSize       int   `json:"mailSize"`
	AttachmentSize int64 `json:"attachmentSize"`
	// Languages is in how many languages generated messages, contacts, events and tasks are
	// written and files named, each in one of them: German, French, Polish, Russian, Greek,
	// Japanese, Chinese, Korean, from the front; 0 is English prose with words of others.
	// Charsets is how many messages of a hundred come in the older charset of their language
	// as MIME, not in UTF-8; all else has no charset.
	Languages int `json:"languages"`
	Charsets  int `json:"charsets"`
	// DriveQuota is the size of each drive in bytes; default 1 TiB.
	DriveQuota int64 `json:"driveQuota"`

	// Spread makes the numbers of messages and files means, from which single users
	// differ, a few by far: see World.
	Spread float64 `json:"spread"`

	// Unlicensed is how many of the users, the last ones, have neither mailbox
	// nor drive; NoDrive how many of the licensed, again the last ones, have a
	// mailbox but no drive yet. Shared adds shared mailboxes: accounts that are
	// disabled, without a licence, with a mailbox.
	Unlicensed int `json:"unlicensed"`
	NoDrive    int `json:"noDrive"`
	Shared     int `json:"shared"`
	// Rooms and Equipment are mailboxes of things, likewise without a licence; Subsites
	// are webs below the team sites.
	Rooms     int `json:"rooms"`
	Equipment int `json:"equipment"`
	Subsites  int `json:"subsites"`
	// Partner is a tenant of a service provider, whose customers the others are.
	Partner bool `json:"partner"`

	// MailLimit overrides the requests per window of each mailbox,
	// SharePointPerMinute the tenant's resource units per minute: a "busy" tenant.
	MailLimit           int `json:"mailLimit"`
	SharePointPerMinute int `json:"sharePointPerMinute"`
	// Licences is what the tenant bought; default: its licensed users.
	Licences int64 `json:"licences"`
}

// Tenant is one simulated customer. Its methods are safe for concurrent use. They
// take object IDs; those on mail take message and folder IDs, or well-known folder
// names, and give immutable IDs.
type Tenant struct {
	s    *Server
	spec TenantSpec
	id   string
	seed uint64

	consent   consent
	script    script
	mu        lazyLock // lays out the directory when it is first locked
	users     directory
	groups    directory
	sites     directory
	mailboxes map[string]*mailbox // by user ID, made when first asked for
	drives    map[string]*drive   // by drive ID, likewise
	// libraries are the sites of drives by their siteKey, personalDrives those of the
	// personal sites that the seed laid out.
	libraries      map[uint64]*entry
	personalDrives placeIndex
	renamed        []*entry // users who were given another principal name
	office         office
	nextPurge      atomic.Int64 // when the time of a deleted object ends, in simulated nanoseconds
}

// consent is what an administrator granted, and which applications are registered. It has a lock of its own, so that a
// tenant which only consented has no directory in memory yet.
type consent struct {
	mu     sync.RWMutex
	roles  []string // nil: not consented
	serial int      // of issued tokens

	at            time.Duration // simulated time of the last consent
	challenge     int           // of tokens whose clients declared cp1
	refusal       int           // AADSTS code that the token endpoint answers with
	refusals      int           // how often; below 1 is for good
	logins        map[string]*meter
	registrations registry
}

// lazyLock guards something that is made when it is first needed: a world of
// thousands of tenants costs nothing for those nobody asks for.
type lazyLock struct {
	sync.RWMutex
	fill func()
	once sync.Once
}

// Lock locks for writing what is now there.
func (l *lazyLock) Lock() {
	l.once.Do(l.fill)
	l.RWMutex.Lock()
}

// RLock locks for reading what is now there.
func (l *lazyLock) RLock() {
	l.once.Do(l.fill)
	l.RWMutex.RLock()
}

// AddTenant makes a tenant. What it contains depends on the server's seed and the
// spec's domain alone. It has not consented yet.
func (s *Server) AddTenant(spec TenantSpec) *Tenant {
	if spec.Domain == "" {
		spec.Domain = fmt.Sprintf("tenant%d.example", len(s.Tenants())+1)
	}
	seed := mixString(s.seed, spec.Domain)
	setDefault(&spec.Name, strings.ToUpper(spec.Domain[:1])+strings.Split(spec.Domain[1:], ".")[0])
	setDefault(&spec.ID, guid(seed))
	t := &Tenant{s: s, spec: spec, id: strings.ToLower(spec.ID), seed: seed,
		mailboxes: map[string]*mailbox{}, drives: map[string]*drive{},
		libraries: map[uint64]*entry{}, consent: consent{logins: map[string]*meter{}}}
	t.users, t.groups, t.sites = newDirectory("users"), newDirectory("groups"), newDirectory("sites")
	t.nextPurge.Store(int64(never))
	t.mu.fill = t.populate
	s.addTenant(t)
	return t
}

// ID is the tenant's GUID.
func (t *Tenant) ID() string { return t.id }

// Spec is what the tenant was made from.
func (t *Tenant) Spec() TenantSpec { return t.spec }

// Consent grants the application roles; none means DefaultRoles.
func (t *Tenant) Consent(roles ...string) {
	if len(roles) == 0 {
		roles = DefaultRoles
	}
	t.consent.mu.Lock()
	defer t.consent.mu.Unlock()
	t.consent.roles = slices.Clone(roles)
	t.consent.at = t.s.elapsed()
}

// Revoke removes the application from the tenant: no token is issued any more.
// Tokens already issued live until they expire, as Microsoft's do.
func (t *Tenant) Revoke() {
	t.consent.mu.Lock()
	defer t.consent.mu.Unlock()
	t.consent.roles = nil
}

// RevokeTokens makes Graph refuse the tokens issued so far (401).
func (t *Tenant) RevokeTokens() {
	t.consent.mu.Lock()
	defer t.consent.mu.Unlock()
	t.consent.serial++
}

// Consented reports whether an administrator has consented.
func (t *Tenant) Consented() bool {
	roles, _ := t.grant()
	return roles != nil
}

func (t *Tenant) grant() (roles []string, serial int) {
	t.consent.mu.RLock()
	defer t.consent.mu.RUnlock()
	return t.consent.roles, t.consent.serial
}

// Challenge is an event of continuous access evaluation: tokens of clients that declared
// the capability cp1 are answered with a claims challenge until they are replaced by
// tokens asked for with its claims. Others live until they expire.
func (t *Tenant) Challenge() {
	t.consent.mu.Lock()
	defer t.consent.mu.Unlock()
	t.consent.challenge++
}

func (t *Tenant) serials() (serial, challenge int) {
	t.consent.mu.RLock()
	defer t.consent.mu.RUnlock()
	return t.consent.serial, t.consent.challenge
}

// consentKnown is the simulated time from which the login host knows of the consent.
func (t *Tenant) consentKnown() time.Duration {
	t.consent.mu.RLock()
	defer t.consent.mu.RUnlock()
	return t.consent.at + t.s.o.ConsentDelay
}

func (t *Tenant) licences() int64 {
	if t.spec.Licences > 0 {
		return t.spec.Licences
	}
	return int64(max(0, t.spec.Users-t.spec.Unlicensed))
}

func (t *Tenant) userCount() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return int64(t.users.size())
}

// ExpireDelta makes every delta token that was issued so far unknown, in all
// collections of the tenant.
func (t *Tenant) ExpireDelta() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users.generation++
	t.groups.generation++
	t.sites.generation++
	for _, m := range t.mailboxes {
		m.expire()
	}
	t.office.expire()
	for _, d := range t.drives {
		d.expire()
	}
}

// epoch is where generated times end: the youngest seeded item is a little older.
var epoch = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
