// Package tenantry owns the nouns of the fleet: typed identifiers, the kinds of
// work, the kinds of error, and the meter that goes with a task's calls through all
// rooms. Every room may import it; it imports only the standard library.
//
// Words: a provider runs the fleet; a tenant is one customer's Microsoft 365
// organisation; a resource is one protected thing of a tenant; a workload is
// one service's data of one resource and the unit a worker runs; a series is
// the sequence of snapshots of one workload of one resource and the unit of
// exclusion.
package tenantry

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// TenantID names a tenant inside Tenantry. It is ours, not Microsoft's: a tenant
// exists here before its administrator has consented.
type TenantID string

// ResourceID names a protected thing of a tenant. It is derived from Microsoft's
// object ID (see UserResource, GroupResource, SiteResource), so that the same
// object has the same ID after a restore and in a bucket without a catalog.
type ResourceID string

// PolicyID names a protection plan of one tenant.
type PolicyID string

// RunID names one execution of a policy or one manual request.
type RunID string

// TaskID names one task. It begins with its creation time (see NewTaskID), so
// that IDs sort by age and task rows expire by time partition.
type TaskID string

// ProcessID names one worker or scheduler process for as long as it lives.
type ProcessID string

// NewTenantID returns a fresh random tenant ID.
func NewTenantID() TenantID { return TenantID("t-" + randomHex(8)) }

// NewPolicyID returns a fresh random policy ID.
func NewPolicyID() PolicyID { return PolicyID("p-" + randomHex(8)) }

// NewRunID returns a fresh run ID that sorts by now.
func NewRunID(now time.Time) RunID { return RunID(timePrefix(now) + randomHex(6)) }

// NewTaskID returns a fresh task ID that sorts by now.
func NewTaskID(now time.Time) TaskID { return TaskID(timePrefix(now) + randomHex(8)) }

// TaskIDFloor returns the smallest ID a task created at t can have: the bound of
// a time partition.
func TaskIDFloor(t time.Time) TaskID { return TaskID(timePrefix(t)) }

// NewProcessID returns a fresh process ID, readable by its role and host.
func NewProcessID(role, host string) ProcessID {
	return ProcessID(role + "@" + host + "-" + randomHex(4))
}

// timePrefix sorts by time. Thirteen hexadecimal digits hold the microseconds until 2112; later ones get a
// letter that sorts behind them, so that no ID that exists has to change.
func timePrefix(t time.Time) string {
	const full = 1 << (13 * 4)
	micros := t.UnixMicro()
	if micros >= full {
		return fmt.Sprintf("g%013x", micros-full)
	}
	return fmt.Sprintf("%013x", micros)
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand.Read never fails since Go 1.24
	return hex.EncodeToString(b)
}

// ResourceKind says what Microsoft 365 object a resource stands for.
type ResourceKind string

// The kinds of resource.
const (
	User  ResourceKind = "user"
	Group ResourceKind = "group"
	Site  ResourceKind = "site"
)

// UserResource returns the ID of the user with the given Entra object ID.
func UserResource(objectID string) ResourceID { return ResourceID("u-" + objectID) }

// GroupResource returns the ID of the group with the given Entra object ID.
func GroupResource(objectID string) ResourceID { return ResourceID("g-" + objectID) }

// SiteResource returns the ID of a site. Microsoft's site ID is
// "host,collection,web"; the host can be renamed, so only the two GUIDs count.
func SiteResource(siteID string) ResourceID {
	parts := strings.SplitN(siteID, ",", 2)
	return ResourceID("s-" + strings.ReplaceAll(parts[len(parts)-1], ",", "-"))
}

// LifeState is where a resource stands in its life.
//
//	active -> inactive   soft-deleted in Microsoft 365: greyed, not backed up
//	inactive -> active   restored there
//	inactive -> gone     no longer readable: leaves the list, backups stay
//	active -> gone       deleted for good at once
//	gone -> active       restored there after all
type LifeState string

// The life states of a resource.
const (
	Active   LifeState = "active"
	Inactive LifeState = "inactive"
	Gone     LifeState = "gone"
)

// TenantState is where a tenant stands in its connection to Microsoft 365.
//
//	pending -> connected       consent given, token and roles proved
//	pending -> refused         the administrator refused or the wrong tenant consented
//	connected -> disconnected  consent revoked, application removed: reconnect
//	refused, disconnected -> connected
type TenantState string

// The states of a tenant.
const (
	TenantPending      TenantState = "pending"
	TenantConnected    TenantState = "connected"
	TenantRefused      TenantState = "refused"
	TenantDisconnected TenantState = "disconnected"
)

// Workload is one service's data of one resource.
type Workload string

// The workloads.
const (
	Mailbox      Workload = "mailbox"
	Drive        Workload = "drive"
	SiteContent  Workload = "site"
	GroupContent Workload = "group"
	TeamContent  Workload = "team"
)

// Series is the sequence of snapshots of one workload of one resource.
type Series struct {
	Tenant   TenantID
	Resource ResourceID
	Workload Workload
}

func (s Series) String() string {
	return string(s.Tenant) + "/" + string(s.Resource) + "/" + string(s.Workload)
}

// Action is what a task does.
type Action string

// The actions of tasks.
const (
	Connect Action = "connect" // prove a consent: token, roles, tenant facts
	Sync    Action = "sync"    // users, groups and sites of a tenant
	Backup  Action = "backup"  // one workload to one sealed snapshot
	Restore Action = "restore" // one snapshot, or part of it, back to Microsoft 365
	Verify  Action = "verify"  // re-read everything a snapshot names
	Prune   Action = "prune"   // drop what retention lets go, and what only that needed
	Collect Action = "collect" // delete content that no series of a tenant needs any more
	Export  Action = "export"  // a snapshot, or part of it, as files in an archive to fetch
	Patrol  Action = "patrol"  // read a day's share of all that a tenant has stored
	Search  Action = "search"  // look for items in the snapshots of a tenant, or in all of them
	Repair  Action = "repair"  // have the next backup fetch again what is damaged of a series
)

// Service is one of Microsoft's services, which limit what is asked of them each on
// their own (Microsoft Learn, "Microsoft Graph service-specific throttling limits").
type Service string

// The services. A task of NoService asks nothing of Microsoft.
const (
	NoService  Service = ""
	Identity   Service = "identity"
	Outlook    Service = "outlook"
	SharePoint Service = "sharepoint"
	Teams      Service = "teams"
)

// ServiceOf returns the service whose limits a task mostly meets. Together with the
// tenant it names the flow of the task: what Microsoft slows down as one. Verify, prune and
// the like know the bucket alone.
func ServiceOf(a Action, w Workload) Service {
	switch a {
	case Connect, Sync:
		return Identity
	case Verify, Prune, Collect, Export, Patrol, Repair, Search:
		return NoService
	}
	switch w {
	case Mailbox, GroupContent:
		return Outlook
	case Drive, SiteContent:
		return SharePoint
	case TeamContent:
		return Teams
	}
	return NoService
}

// Counts is what a task has done so far, in items and bytes.
type Counts struct {
	Items   int64 `json:"items"`   // items listed or written: done
	Total   int64 `json:"total"`   // items expected, 0 while unknown
	Skipped int64 `json:"skipped"` // items that cannot be saved, each with its reason
	Bytes   int64 `json:"bytes"`   // payload bytes read or written, before compression
	Stored  int64 `json:"stored"`  // bytes added to the bucket
	// Of a backup: what listings and delta pages have shown so far, done or not; 0 of everything else.
	Found      int64 `json:"found"`       // items
	FoundBytes int64 `json:"found_bytes"` // Bytes, and what is still to be read of items found, as far as their listing says
}

// Add returns the sum of c and d, field by field.
func (c Counts) Add(d Counts) Counts {
	return Counts{
		Items: c.Items + d.Items, Total: c.Total + d.Total, Skipped: c.Skipped + d.Skipped,
		Bytes: c.Bytes + d.Bytes, Stored: c.Stored + d.Stored, Found: c.Found + d.Found, FoundBytes: c.FoundBytes + d.FoundBytes,
	}
}

// Secret is a value that never shows itself: it prints and marshals as "***".
// Read it with Reveal, at the place that needs it and nowhere else.
type Secret struct{ value string }

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the wrapped value.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether nothing is wrapped.
func (s Secret) IsZero() bool { return s.value == "" }

func (s Secret) String() string { return "***" }

// GoString keeps %#v from showing the value.
func (s Secret) GoString() string { return "***" }

// MarshalText keeps encoders from showing the value.
func (s Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// UnmarshalText wraps the text, so that configuration files can carry secrets.
func (s *Secret) UnmarshalText(text []byte) error {
	s.value = string(text)
	return nil
}

// ConnectRequest is the parameter of a connect task.
type ConnectRequest struct {
	// Directory is the Microsoft tenant GUID that came back from the consent page.
	Directory string `json:"directory"`
	// Register goes on with the tenant's registration by device code, which connects it at its end.
	Register bool `json:"register,omitempty"`
}

// RestoreRequest is the parameter of a restore task; the task itself names the
// series that is restored.
type RestoreRequest struct {
	Snapshot int64      `json:"snapshot"`           // sequence number of the snapshot
	Items    []string   `json:"items,omitempty"`    // IDs of folders and items; empty: everything
	To       ResourceID `json:"to,omitempty"`       // another resource; empty: the same
	Folder   string     `json:"folder,omitempty"`   // name of a new folder; empty: the original place
	Conflict string     `json:"conflict,omitempty"` // skip, copy or replace, when a different item has the place; default copy
	// Permissions makes grants and links on restored files, too. Nobody is told.
	Permissions bool `json:"permissions,omitempty"`
}

// BackupOptions are what a policy wants of its backups besides the usual.
type BackupOptions struct {
	// Versions is how many old versions of each file are saved, the newest of them, from 0 to MaxVersions. A file
	// that does not change after they were wanted is saved as it is.
	Versions int `json:"versions,omitempty"`
	// MIME keeps each mail as MIME, too: one more request for each. A mail that does not change after that was wanted is
	// saved as it is; signed and encrypted ones are kept so anyway.
	MIME bool `json:"mime,omitempty"`
	// Recoverable saves what was deleted from a mailbox and can still be recovered, too. A mailbox of which that was
	// once wanted goes on with it.
	Recoverable bool `json:"recoverable,omitempty"`
	// Archives names in-place archives in the snapshots of their mailboxes, as not saved: a preview, since nothing but an
	// identifier of beta tells of them.
	Archives bool `json:"archives,omitempty"`
}

// MaxVersions bounds BackupOptions.Versions.
const MaxVersions = 500

// With returns what two policies want together.
func (o BackupOptions) With(other BackupOptions) BackupOptions {
	return BackupOptions{
		Versions: max(o.Versions, other.Versions), MIME: o.MIME || other.MIME, Recoverable: o.Recoverable || other.Recoverable,
		Archives: o.Archives || other.Archives,
	}
}

// Validate returns Invalid, with the field, for options out of their bounds.
func (o BackupOptions) Validate() error {
	if o.Versions < 0 || o.Versions > MaxVersions {
		return Errorf(Invalid, "options: versions %d is not in 0..%d", o.Versions, MaxVersions)
	}
	return nil
}

// SearchRequest is the parameter of a search task: what is not given does not matter, all that is given must hold. Text
// is looked for in any case.
type SearchRequest struct {
	Text     string    `json:"text,omitempty"`     // in the name or the sender
	From     string    `json:"from,omitempty"`     // in the sender
	To       string    `json:"to,omitempty"`       // in the recipients
	In       string    `json:"in,omitempty"`       // in the name of the folder it lies in
	Kind     string    `json:"kind,omitempty"`     // exactly
	Since    time.Time `json:"since,omitzero"`     // received, or else changed, at that time or later
	Before   time.Time `json:"before,omitzero"`    // and before that time
	Workload Workload  `json:"workload,omitempty"` // only in this one
	All      bool      `json:"all,omitempty"`      // in all snapshots, not only in the newest of each series
}

// FoundItem is an item that a search found, as the archive of its task has it: a line of JSON each.
type FoundItem struct {
	Resource ResourceID `json:"resource"`
	Workload Workload   `json:"workload"`
	Snapshot int64      `json:"snapshot"` // the newest that has this version of it
	ID       string     `json:"id"`
	Parent   string     `json:"parent,omitempty"`
	Kind     string     `json:"kind"`
	Name     string     `json:"name"`
	Size     int64      `json:"size"`
	Parts    int        `json:"parts"`
	Problem  string     `json:"problem,omitempty"`
	From     string     `json:"from,omitempty"`
	To       string     `json:"to,omitempty"`
	Modified time.Time  `json:"modified,omitzero"`
	Date     time.Time  `json:"date,omitzero"`
}

// UnreadableSnapshot is one that a search could not look into.
type UnreadableSnapshot struct {
	Resource ResourceID `json:"resource"`
	Workload Workload   `json:"workload"`
	Snapshot int64      `json:"snapshot"`
	Kind     Kind       `json:"kind"`
}

// SearchSummary ends the archive of a search, as its last line.
type SearchSummary struct {
	Found      int64                `json:"found"`          // items
	Snapshots  int64                `json:"snapshots"`      // looked into
	Examined   int64                `json:"examined"`       // items looked at
	More       bool                 `json:"more,omitempty"` // it found as much as it may: there may be more
	Unreadable []UnreadableSnapshot `json:"unreadable,omitempty"`
}

// ExportRequest is the parameter of an export task; the task itself names the series.
type ExportRequest struct {
	Snapshot int64    `json:"snapshot"`        // sequence number of the snapshot
	Items    []string `json:"items,omitempty"` // IDs of folders and items; empty: everything
	Form     string   `json:"form,omitempty"`  // of the archive (engine.Forms); default zip
	JSON     bool     `json:"json,omitempty"`  // in a zip: the JSON that Microsoft sent beside every item
}

// VerifyRequest is the parameter of a verify task.
type VerifyRequest struct {
	Snapshot int64 `json:"snapshot"`
	// Quick looks at the structure alone: the index, and that every object it names is there.
	Quick bool `json:"quick,omitempty"`
}

// RepairRequest is the parameter of a repair task: what the next backup is to read again.
type RepairRequest struct {
	Snapshot int64    `json:"snapshot"`        // in which the items are damaged
	Items    []string `json:"items,omitempty"` // their IDs
	Index    bool     `json:"index,omitempty"` // make the index anew from manifests and packs
}
