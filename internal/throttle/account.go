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
	Units       int    // resource units (identity, SharePoint); 0 counts as 1; requests count themselves
	Write       bool
	UploadBytes int64 // body bytes of writes to Outlook and SharePoint
	// DownloadBytes is how many bytes of content a SharePoint answer brings.
	DownloadBytes int64
	Kind          string // of a Teams request: TeamsExport, ...; "" is TeamsOther
	Resource      string // the team, channel or chat it is about, if there is one
	Reserve       bool   // may draw below the balance floor kept for restores
}

// Covered as Call.Units is a request that another one has paid for: it draws on no
// account of requests or units, only on those of bytes, and waits for cooldowns.
const Covered = -1

// Size is what sizes a tenant's limits.
type Size struct{ Users, Licences int64 }

// The names of the accounts: codes of errors, and what Usage shows.
const (
	appRequests      = "app/requests"
	appUnits         = "app/identity"
	appWrites        = "app/writes"
	appTeams         = "app/teams/" // and the kind
	identityUnits    = "identity/10s"
	identityWrites   = "identity/writes"
	identityAllApps  = "identity/all_apps"
	sharePointMinute = "sharepoint/minute"
	sharePointDay    = "sharepoint/day"
	sharePointAll    = "sharepoint/all_apps"
	sharePointIn     = "sharepoint/ingress"
	sharePointOut    = "sharepoint/egress"
	teamsTenant      = "teams/tenant/"   // and the kind
	teamsResource    = "teams/resource/" // and the kind
	outlookRequests  = "outlook/requests"
	outlookUpload    = "outlook/upload"
	outlookPermits   = "outlook/concurrency"
	bookLost         = "book/lost"
)

const (
	// longestLife bounds the life of a block that others could use, and with it what a dead
	// process wastes.
	longestLife = 5 * time.Second
	// ringSlots is into how many slots a ring divides its window. The oldest one
	// counts until it has left as a whole, so 1/48 of the window is what it costs.
	ringSlots = 48
	// leastSlack keeps a bucket of a small limit able to hold the dearest call, which
	// is of 8 units.
	leastSlack = 16
	// tiny is the largest limit from which nothing is drawn ahead.
	tiny = 64
	// largestBlock is the most that is drawn ahead by default, blockShare the most of
	// what a bucket can hold and lend that goes into one block.
	largestBlock = 128
	blockShare   = 0.34
	// capShare is what a bucket holds of the slack at most; the rest it may lend out.
	capShare = 0.4
)

// account is one account that a call draws on, as the script needs it. Times are
// milliseconds.
type account struct {
	key   string // without the book's prefix
	ring  bool
	alone bool          // one process at a time draws on it, as a rule
	max   int64         // block size at most
	life  time.Duration // of a block

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
	Grow float64 `json:"grow"` // bucket: share of the rate that a slowed one regains per ms

	Spent [][2]int64 `json:"spent,omitempty"` // bucket: slot and amount of lent blocks that was used
	Eager bool       `json:"eager,omitempty"` // bucket: the blocks before were used up

	Slots    int64 `json:"slots"`    // ring: how many past slots count
	Mirrored bool  `json:"mirrored"` // ring: waits for Resume after a loss
	Melts    bool  `json:"melts"`    // ring: the floor melts over the UTC day
}

func (l Limits) bucket(name, key string, limit Limit, need int64) account {
	amount := float64(limit.Amount)
	window := time.Duration(limit.Window)
	a := l.account(name, key, limit, need)
	slack := max(l.Slack*amount, min(leastSlack, amount/2))
	if amount < tiny { // one at a time, and nothing drawn ahead
		slack = 1
		a.max, a.Cap = 0, slack
	} else {
		a.Cap, a.Out = capShare*slack, (1-capShare)*slack
		if a.max == 0 {
			a.max = max(1, min(largestBlock, int64(slack*blockShare)))
		}
	}
	a.Need = min(a.Need, int64(a.Cap)) // more than it can ever hold counts as all it holds
	a.Floor = l.Reserve * a.Cap
	a.Rate = (amount - slack) / float64(window.Milliseconds())
	a.Grow = l.grow()
	a.lives(a.life)
	a.TTL = 2 * window.Milliseconds() // it is full again long before
	return a
}

// lives sets how long blocks of a bucket live.
func (a *account) lives(d time.Duration) {
	a.life, a.Life, a.Slot = d, d.Milliseconds(), max(1, d.Milliseconds()/2)
}

// grow is the share of its rate that a slowed account regains per ms.
func (l Limits) grow() float64 { return l.Pace.Recovery / float64(time.Minute.Milliseconds()) }

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

// most is how many accounts a call draws on at most.
const most = 6

// accounts lists what a call draws on, the widest first.
func (l Limits) accounts(c Call, s Size) []account {
	units, tenant := int64(max(c.Units, 1)), string(c.Tenant)
	if c.Units == Covered {
		return l.bytes(nil, c)
	}
	app := l.bucket(appRequests, "app", l.App, 1)
	app.lives(min(time.Duration(l.App.Window)/5, longestLife)) // every request asks for it, and it never binds
	list := append(make([]account, 0, most), app)
	switch c.Service {
	case tenantry.Identity:
		list = append(list, l.bucket(appUnits, "app/identity", l.Identity.AppUnits, units),
			l.bucket(identityUnits, "identity/"+tenant, l.Identity.units(s), units))
		if c.Write {
			list = append(list, l.bucket(appWrites, "app/writes", l.Identity.AppWrites, 1),
				l.bucket(identityWrites, "writes/"+tenant, l.Identity.Writes, 1),
				l.bucket(identityAllApps, "all_writes/"+tenant, l.Identity.TenantWrites, 1))
		}
	case tenantry.SharePoint:
		list = l.sharePoint(list, c, s, units)
	case tenantry.Teams:
		list = append(list, l.teams(c)...)
	case tenantry.Outlook:
		if c.Mailbox == "" {
			break
		}
		requests := l.bucket(outlookRequests, "mailbox/"+mailboxKey(c), l.Outlook.Requests, 1)
		requests.alone = true
		requests.lives(time.Duration(l.Outlook.Requests.Window) / 20) // nobody else misses it
		list = append(list, requests)
		if c.UploadBytes > 0 {
			list = append(list, l.ringed(outlookUpload, "upload/"+mailboxKey(c), l.Outlook.Upload, c.UploadBytes))
		}
	}
	return list
}

const dayPrefix = "day/"

// sharePoint adds what a call to SharePoint draws on.
func (l Limits) sharePoint(list []account, c Call, s Size, units int64) []account {
	tier, tenant := l.SharePoint.tier(s), string(c.Tenant)
	list = append(list, l.bucket(sharePointMinute, "minute/"+tenant, tier.Minute, units), l.dayRing(c.Tenant, s, units))
	if tier.Tenant.Amount > 0 {
		list = append(list, l.bucket(sharePointAll, "all/"+tenant, tier.Tenant, units))
	}
	return l.bytes(list, c)
}

// bytes adds the accounts of bytes that a SharePoint call draws on.
func (l Limits) bytes(list []account, c Call) []account {
	if c.Service != tenantry.SharePoint {
		return list
	}
	if c.UploadBytes > 0 {
		list = append(list, l.bucket(sharePointIn, "in/"+string(c.Tenant), l.SharePoint.Ingress, c.UploadBytes))
	}
	if c.DownloadBytes > 0 {
		list = append(list, l.bucket(sharePointOut, "out/"+string(c.Tenant), l.SharePoint.Egress, c.DownloadBytes))
	}
	return list
}

// dayRing is the 24 h account of a tenant.
func (l Limits) dayRing(t tenantry.TenantID, s Size, units int64) account {
	a := l.ringed(sharePointDay, dayPrefix+string(t), l.SharePoint.tier(s).Day, units)
	a.Mirrored, a.Melts = true, true
	return a
}

// teams are independent of each other by kind of request.
func (l Limits) teams(c Call) []account {
	kind, row := l.Teams.of(c.Kind)
	list := []account{
		l.bucket(appTeams+kind, "app/teams/"+kind, l.Teams.sustained(row.App), 1),
		l.bucket(teamsTenant+kind, "teams/"+string(c.Tenant)+"/"+kind, l.Teams.sustained(row.Tenant), 1),
	}
	if row.Resource > 0 && c.Resource != "" {
		key := "teams/" + string(c.Tenant) + "/" + kind + "/" + c.Resource
		list = append(list, l.bucket(teamsResource+kind, key, l.Teams.sustained(row.Resource), 1))
	}
	return list
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

// scopes lists what closes a call when it cools: the service in the application, then in the tenant, then the others.
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
