package throttle

import (
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Call is what one Graph request draws on.
type Call struct {
	Tenant      tenantry.TenantID
	Service     tenantry.Service
	Mailbox     string // object ID of the mailbox, for Outlook
	Units       int    // resource units (identity, SharePoint); below 1 counts as 1; requests count themselves
	Write       bool
	UploadBytes int64 // body bytes of Outlook writes
	Reserve     bool  // may draw below the balance floor kept for restores
}

// Size is what sizes a tenant's limits.
type Size struct{ Users, Licences int64 }

// The names of the accounts: codes of errors, and what Usage shows.
const (
	appRequests      = "app/requests"
	appUnits         = "app/identity"
	appWrites        = "app/writes"
	appTeams         = "app/teams"
	identityUnits    = "identity/10s"
	identityWrites   = "identity/writes"
	sharePointMinute = "sharepoint/minute"
	sharePointDay    = "sharepoint/day"
	teamsRequests    = "teams/10s"
	outlookRequests  = "outlook/requests"
	outlookUpload    = "outlook/upload"
	outlookPermits   = "outlook/concurrency"
	bookLost         = "book/lost"
)

const (
	// longestLife bounds a block's life, and with it what a dead process wastes.
	longestLife = 5 * time.Second
	// ringSlots is into how many slots a ring divides its window. The oldest one
	// counts until it has left as a whole, so 1/48 of the window is what it costs.
	ringSlots = 48
	// leastSlack keeps a bucket of a small limit able to hold the dearest call.
	leastSlack = 16
	// largestBlock is the most that is drawn ahead by default.
	largestBlock = 50
)

// account is one account that a call draws on, as the script needs it. Times are
// milliseconds.
type account struct {
	key  string // without the book's prefix
	ring bool
	max  int64         // block size at most
	life time.Duration // of a block

	Name   string  `json:"name"`
	Ring   bool    `json:"ring"`
	Need   int64   `json:"need"`
	Want   int64   `json:"want"` // drawn ahead, if there is enough
	Floor  float64 `json:"floor"`
	Limit  int64   `json:"limit"`
	Window int64   `json:"window"`
	Life   int64   `json:"life"`
	Slot   int64   `json:"slot"` // ring: length; bucket: how finely leases expire
	TTL    int64   `json:"ttl"`

	Cap  float64 `json:"cap"`  // bucket: holds at most
	Out  float64 `json:"out"`  // bucket: lends out at most
	Rate float64 `json:"rate"` // bucket: refill per ms

	Slots    int64 `json:"slots"`    // ring: how many past slots count
	Mirrored bool  `json:"mirrored"` // ring: waits for Resume after a loss
	Melts    bool  `json:"melts"`    // ring: the floor melts over the UTC day
}

func (l Limits) bucket(name, key string, limit Limit, need int64) account {
	amount := float64(limit.Amount)
	slack := max(l.Slack*amount, min(leastSlack, amount/2))
	window := time.Duration(limit.Window)
	a := l.account(name, key, limit, need)
	a.Cap, a.Out = slack/2, slack/2
	a.Floor = l.Reserve * a.Cap
	a.Rate = (amount - slack) / float64(window.Milliseconds())
	a.Slot = max(1, a.life.Milliseconds()/2)
	a.TTL = 2 * window.Milliseconds() // it is full again long before
	if a.max == 0 {
		a.max = max(1, min(largestBlock, int64(slack/8)))
	}
	return a
}

func (l Limits) ringed(name, key string, limit Limit, need int64) account {
	window := time.Duration(limit.Window)
	a := l.account(name, key, limit, need)
	a.ring, a.Ring = true, true
	a.Floor = l.Reserve * float64(limit.Amount)
	a.Slot = max(1, window.Milliseconds()/ringSlots)
	a.Slots = (window.Milliseconds() + a.Life + a.Slot - 1) / a.Slot
	a.TTL = (a.Slots + 2) * a.Slot
	if a.max == 0 {
		a.max = max(1, min(largestBlock, limit.Amount/1000))
	}
	return a
}

func (l Limits) account(name, key string, limit Limit, need int64) account {
	window := time.Duration(limit.Window)
	life := min(window/20, longestLife)
	return account{
		key: key, max: limit.Block, life: life,
		Name: name, Limit: limit.Amount, Need: min(need, limit.Amount),
		Window: window.Milliseconds(), Life: life.Milliseconds(),
	}
}

// accounts lists what a call draws on, the widest first.
func (l Limits) accounts(c Call, s Size) []account {
	units, tenant := int64(max(c.Units, 1)), string(c.Tenant)
	list := []account{l.bucket(appRequests, "app", l.App, 1)}
	switch c.Service {
	case tenantry.Identity:
		list = append(list, l.bucket(appUnits, "app/identity", l.Identity.AppUnits, units),
			l.bucket(identityUnits, "identity/"+tenant, l.Identity.units(s), units))
		if c.Write {
			list = append(list, l.bucket(appWrites, "app/writes", l.Identity.AppWrites, 1),
				l.bucket(identityWrites, "writes/"+tenant, l.Identity.Writes, 1))
		}
	case tenantry.SharePoint:
		list = append(list, l.sharePoint(c.Tenant, s, units)...)
	case tenantry.Teams:
		list = append(list, l.bucket(appTeams, "app/teams", l.Teams.App, 1),
			l.bucket(teamsRequests, "teams/"+tenant, l.Teams.Tenant, 1))
	case tenantry.Outlook:
		if c.Mailbox == "" {
			break
		}
		list = append(list, l.bucket(outlookRequests, "mailbox/"+mailboxKey(c), l.Outlook.Requests, 1))
		if c.UploadBytes > 0 {
			list = append(list, l.ringed(outlookUpload, "upload/"+mailboxKey(c), l.Outlook.Upload, c.UploadBytes))
		}
	}
	return list
}

const dayPrefix = "day/"

func (l Limits) sharePoint(tenant tenantry.TenantID, s Size, units int64) []account {
	tier := l.SharePoint.tier(s)
	daily := l.ringed(sharePointDay, dayPrefix+string(tenant), tier.Day, units)
	daily.Mirrored, daily.Melts = true, true
	return []account{l.bucket(sharePointMinute, "minute/"+string(tenant), tier.Minute, units), daily}
}

func mailboxKey(c Call) string { return string(c.Tenant) + "/" + c.Mailbox }

// The scopes that can cool. A scope that ends in "/write" closes writes only.
func appScope(s tenantry.Service) string { return "app/" + string(s) }
func tenantScope(t tenantry.TenantID, s tenantry.Service) string {
	return "tenant/" + string(t) + "/" + string(s)
}
func mailboxScope(t tenantry.TenantID, mbox string) string {
	return "mailbox/" + string(t) + "/" + mbox
}

const writeSuffix = "/write"

// scopes lists what closes a call when it cools.
func (c Call) scopes() []string {
	list := []string{appScope(c.Service), tenantScope(c.Tenant, c.Service)}
	if c.Write && c.Service == tenantry.Identity {
		list = append(list, appScope(c.Service)+writeSuffix, tenantScope(c.Tenant, c.Service)+writeSuffix)
	}
	if c.Mailbox != "" {
		list = append(list, mailboxScope(c.Tenant, c.Mailbox))
	}
	return list
}
