// Package throttle owns the account book of Graph's budgets that the whole fleet
// shares in Redis: what a request costs, what is left, cooldowns, what headers teach.
// (CONTRACT FILE: signatures first, to be filled in.)
package throttle

import (
	"context"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Service is which of Microsoft's limiters a request meets.
type Service string

const (
	Identity   Service = "identity"
	Outlook    Service = "outlook"
	SharePoint Service = "sharepoint"
	Teams      Service = "teams"
)

// Call is what one Graph request draws on.
type Call struct {
	Tenant      tenantry.TenantID
	Service     Service
	Mailbox     string // object ID of the mailbox, for Outlook
	Units       int    // resource units (identity, SharePoint); requests count themselves
	Write       bool
	UploadBytes int64 // body bytes of Outlook writes
	Reserve     bool  // may draw below the balance floor kept for restores
}

// Size is what sizes a tenant's limits.
type Size struct{ Users, Licences int64 }

// Book is one process's view of the shared account book. Safe for concurrent use.
type Book struct{}

// New opens the book of one application (Entra app ID) on Redis. limits: Documented() or an override.
func New(rdb redis.UniversalClient, app string, limits Limits, size func(tenantry.TenantID) Size) *Book {
	panic("contract")
}

// Acquire takes from all accounts of the call or from none. It waits in place up to 5 s; a longer wait is an
// error of kind Throttled with Until and a Code naming the account, and nothing is taken. Redis down: Shared.
// The permit must be released exactly once, when the response's body is done.
func (b *Book) Acquire(ctx context.Context, c Call) (*Permit, error) { panic("contract") }

// Close returns what block leases still hold.
func (b *Book) Close(ctx context.Context) error { panic("contract") }

// Snapshot and Resume carry 24 h usage and cooldowns to and from the SQL mirror (JSON).
func (b *Book) Snapshot(ctx context.Context) ([]byte, error) { panic("contract") }
func (b *Book) Resume(ctx context.Context, doc []byte) error { panic("contract") }

// Usage is what one tenant has used and has left, per account, for people.
func (b *Book) Usage(ctx context.Context, t tenantry.TenantID) ([]Account, error) { panic("contract") }

type Account struct {
	Name         string // "sharepoint/day", "identity/10s", ...
	Limit        int64
	Left         int64
	CoolingUntil time.Time
}

type Permit struct{}

// Done tells what came back (status 0: no answer): 429 and 503 set cooldowns with scope for the whole fleet, headers teach.
// It returns how long this very call should wait before it is tried again (0 unless throttled).
func (p *Permit) Done(status int, h http.Header) time.Duration { panic("contract") }

// Release gives back the concurrency permit.
func (p *Permit) Release() { panic("contract") }

// Limits is the table of numbers, all of it configuration.
type Limits struct { /* owner's choice; JSON/YAML tags; Documented() gives throttling.md's numbers */
}

func Documented() Limits { panic("contract") }
