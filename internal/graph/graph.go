// Package graph is the only user of the Graph SDK: authentication, clouds, paging,
// delta, download, upload, errors. Payloads that are backed up pass through as the
// bytes Graph sent.
// (CONTRACT FILE: signatures first, to be filled in.)
package graph

import (
	"context"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// Limiter is the account book as this package needs it (*throttle.Book).
type Limiter interface {
	Acquire(ctx context.Context, c throttle.Call) (*throttle.Permit, error)
}

// Config is one application in one cloud.
type Config struct {
	Cloud       string // global, gcchigh, dod, china
	GraphURL    string // overrides the cloud's Graph root ("http://127.0.0.1:p"), loopback http allowed
	LoginURL    string
	ClientID    string
	Secret      tenantry.Secret
	Certificate string // PEM file with certificate and key, instead of Secret
	UserAgent   string // default "ISV|Tenantry|Tenantry/<version>"
}

func New(cfg Config, limiter Limiter) (*Client, error) { panic("contract") } // Invalid names the key
type Client struct{}

// ConsentURL is where an administrator of directory (GUID, domain or "common") consents.
func (c *Client) ConsentURL(directory, state, redirect string) string          { panic("contract") }
func ConsentURL(cfg Config, directory, state, redirect string) (string, error) { panic("contract") } // the same without a credential, for the api
// Tenant returns the handle for a tenant; directory is its GUID or domain.
func (c *Client) Tenant(id tenantry.TenantID, directory string) *Tenant { panic("contract") }

// Tenant speaks to one Microsoft tenant. Safe for concurrent use.
type Tenant struct{}

// Reserve returns a handle whose calls may use the restores' reserve.
func (t *Tenant) Reserve() *Tenant { panic("contract") }

// Grant asks for a fresh token and tells what it says. Reconnect, Shared by AADSTS class.
func (t *Tenant) Grant(ctx context.Context) (Grant, error) { panic("contract") }

type Grant struct {
	DirectoryID string
	Roles       []string
	Expires     time.Time
}
type Organization struct {
	ID, Name string
	Domains  []string
}

func (t *Tenant) Organization(ctx context.Context) (Organization, error)       { panic("contract") }
func (t *Tenant) Licences(ctx context.Context) (int64, error)                  { panic("contract") } // sum of enabled prepaid units over subscribedSkus
func (t *Tenant) MailboxKind(ctx context.Context, user string) (string, error) { panic("contract") } // userPurpose; Absent

type User struct {
	ID, Name, PrincipalName, Mail string
	Enabled, Licensed             bool // Licensed: any assigned plan of exchange or sharepoint that still has data
	Guest                         bool
	HasMailPlan, HasDrivePlan     bool
	Removed                       string // "", "changed" (soft-deleted), "deleted" (for good)
}
type Group struct {
	ID, Name, Mail string
	Unified, Team  bool
	Removed        string
}
type Site struct {
	ID, Name, WebURL string
	Personal         bool
	Deleted          bool
}

// Changes is one page of a typed delta; Next is nextLink, or deltaLink when Done.
type Changes[T any] struct {
	Items []T
	Next  string
	Done  bool
}

func (t *Tenant) UserChanges(ctx context.Context, link string) (Changes[User], error) {
	panic("contract")
}
func (t *Tenant) GroupChanges(ctx context.Context, link string) (Changes[Group], error) {
	panic("contract")
}
func (t *Tenant) SiteChanges(ctx context.Context, link string) (Changes[Site], error) {
	panic("contract")
}

// Exists tells where an object is: "active", "inactive" (deletedItems), "gone".
func (t *Tenant) UserState(ctx context.Context, id string) (tenantry.LifeState, error) {
	panic("contract")
}
func (t *Tenant) GroupState(ctx context.Context, id string) (tenantry.LifeState, error) {
	panic("contract")
}
func (t *Tenant) SiteState(ctx context.Context, id string) (tenantry.LifeState, error) {
	panic("contract")
}

// RawPage is one page of payloads, byte-identical. Items with @removed or a deleted facet are in it like any other.
type RawPage struct {
	Items []jsontext.Value
	Next  string
	Done  bool // Next is a deltaLink (delta), or "" (list)
}

// Mail. All requests carry Prefer: IdType="ImmutableId". user is the object ID.
func (t *Tenant) MailFolderChanges(ctx context.Context, user, link string) (RawPage, error) {
	panic("contract")
}
func (t *Tenant) MailFolderID(ctx context.Context, user, wellKnown string) (string, error) {
	panic("contract")
} // "msgfolderroot", "inbox", ...
func (t *Tenant) MailFolders(ctx context.Context, user, parent, link string) (RawPage, error) {
	panic("contract")
} // child folders; parent "" = root
func (t *Tenant) MessageChanges(ctx context.Context, user, folder, link string, pageSize int) (RawPage, error) {
	panic("contract")
} // internetMessageHeaders and body selected
func (t *Tenant) Attachments(ctx context.Context, user, message, link string) (RawPage, error) {
	panic("contract")
} // without contentBytes
func (t *Tenant) Attachment(ctx context.Context, user, message, attachment string) (jsontext.Value, error) {
	panic("contract")
} // item attachments expanded
func (t *Tenant) AttachmentContent(ctx context.Context, user, message, attachment string) (io.ReadCloser, error) {
	panic("contract")
} // $value
func (t *Tenant) CreateMailFolder(ctx context.Context, user, parent, name string, hidden bool) (id string, err error) {
	panic("contract")
} // Conflict: ErrorFolderExists
// Messages lists a folder with select and the string property prop expanded ("" none): for finding what was restored.
func (t *Tenant) Messages(ctx context.Context, user, folder, sel, prop, link string) (RawPage, error) {
	panic("contract")
}
func (t *Tenant) CreateMessage(ctx context.Context, user, folder string, body []byte) (id string, err error) {
	panic("contract")
}
func (t *Tenant) AddAttachment(ctx context.Context, user, message string, body []byte) error {
	panic("contract")
}
func (t *Tenant) UploadAttachment(ctx context.Context, user, message, name, contentType, contentID string, inline bool, size int64, r io.Reader) error {
	panic("contract")
}
func (t *Tenant) DeleteMessage(ctx context.Context, user, message string) error { panic("contract") }

// Drives.
func (t *Tenant) UserDrive(ctx context.Context, user string) (driveID string, err error) {
	panic("contract")
} // Absent: not provisioned
func (t *Tenant) DriveChanges(ctx context.Context, drive, link string) (RawPage, error) {
	panic("contract")
}
func (t *Tenant) DriveRoot(ctx context.Context, drive string) (itemID string, err error) {
	panic("contract")
}
func (t *Tenant) Download(ctx context.Context, drive, item string, offset int64) (io.ReadCloser, error) {
	panic("contract")
}
func (t *Tenant) DriveChildren(ctx context.Context, drive, folder, link string) (RawPage, error) {
	panic("contract")
}
func (t *Tenant) DriveChild(ctx context.Context, drive, folder, name string) (jsontext.Value, error) {
	panic("contract")
} // NotFound
func (t *Tenant) CreateDriveFolder(ctx context.Context, drive, parent, name string) (jsontext.Value, error) {
	panic("contract")
} // Conflict: exists
// Upload writes a file of known size: small ones by PUT, others by upload session; conflict is fail, replace or rename.
func (t *Tenant) Upload(ctx context.Context, drive, parent, name, conflict string, size int64, created, modified time.Time, r io.Reader) (jsontext.Value, error) {
	panic("contract")
}
