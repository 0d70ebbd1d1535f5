package throttle

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Duration is a time.Duration that is written "10m" in JSON and YAML.
type Duration time.Duration

// MarshalText writes d as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// Limit is an amount (requests, resource units or bytes) in a window.
type Limit struct {
	Amount int64    `json:"amount" yaml:"amount"`
	Window Duration `json:"window" yaml:"window"`
	// Block is the largest amount a process draws ahead; 0 chooses by the limit.
	Block int64 `json:"block,omitempty" yaml:"block,omitempty"`
}

// Limits is the table of numbers. Every page that lists them says that they change
// without notice, so all of it is configuration. Start from Documented.
type Limits struct {
	// App is any request of the application, over all tenants.
	App        Limit            `json:"app" yaml:"app"`
	Identity   IdentityLimits   `json:"identity" yaml:"identity"`
	Outlook    OutlookLimits    `json:"outlook" yaml:"outlook"`
	SharePoint SharePointLimits `json:"sharepoint" yaml:"sharepoint"`
	Teams      TeamsLimits      `json:"teams" yaml:"teams"`
	// Slack is the share of a limit that may be drawn at once, in buckets.
	Slack float64 `json:"slack" yaml:"slack"`
	// Reserve is the share of each balance that only restores may draw.
	Reserve float64 `json:"reserve" yaml:"reserve"`
	// Patience is how long Acquire waits in place.
	Patience Duration `json:"patience" yaml:"patience"`
	// Pace is how the rate follows answers that prove a limit wrong.
	Pace PaceLimits `json:"pace" yaml:"pace"`
}

// PaceLimits say how an account's rate follows what Microsoft answers. All are our own
// choices.
type PaceLimits struct {
	// Fall is what a throttled answer leaves of the account's rate, Least the smallest
	// share of the documented rate that it falls to, Recovery the share that comes back
	// per minute.
	Fall     float64 `json:"fall" yaml:"fall"`
	Least    float64 `json:"least" yaml:"least"`
	Recovery float64 `json:"recovery" yaml:"recovery"`
	// Mailboxes of one tenant that are throttled Within a time mean that it is not the
	// mailboxes: the tenant's Outlook cools, for Longest at most.
	Mailboxes int      `json:"mailboxes" yaml:"mailboxes"`
	Within    Duration `json:"within" yaml:"within"`
	Longest   Duration `json:"longest" yaml:"longest"`
}

// IdentityLimits are those of users, groups and the directory, in resource units and
// in writes (requests).
type IdentityLimits struct {
	AppUnits  Limit `json:"app_units" yaml:"app_units"`
	AppWrites Limit `json:"app_writes" yaml:"app_writes"`
	// Small, Medium and Large are per tenant: under 50 users, up to 500, more.
	Small  Limit `json:"small" yaml:"small"`
	Medium Limit `json:"medium" yaml:"medium"`
	Large  Limit `json:"large" yaml:"large"`
	Writes Limit `json:"writes" yaml:"writes"`
	// TenantWrites is per tenant over all applications; of these we count our own.
	TenantWrites Limit `json:"tenant_writes" yaml:"tenant_writes"`
}

// OutlookLimits are per application and mailbox.
type OutlookLimits struct {
	Requests Limit `json:"requests" yaml:"requests"`
	Upload   Limit `json:"upload" yaml:"upload"` // bytes of request bodies
	// Concurrency is how many requests may run at once, KeepFree how many of these
	// only restores may use.
	Concurrency int `json:"concurrency" yaml:"concurrency"`
	KeepFree    int `json:"keep_free" yaml:"keep_free"`
	// LongestRequest is when a request must have ended (see Permit.Deadline).
	LongestRequest Duration `json:"longest_request" yaml:"longest_request"`
	// PermitLife is how long a concurrency permit lives unless it is renewed: what a
	// killed process holds of a mailbox is free after it. Redis is asked every third
	// of it, and may be away for half of it without a request being cut.
	PermitLife Duration `json:"permit_life" yaml:"permit_life"`
}

// SharePointLimits are per application and tenant, by the tenant's licences.
type SharePointLimits struct {
	// Tiers are in rising order; the last one has no upper end.
	Tiers []SharePointTier `json:"tiers" yaml:"tiers"`
	// Ingress and Egress are bytes sent to and read from one tenant.
	Ingress Limit `json:"ingress" yaml:"ingress"`
	Egress  Limit `json:"egress" yaml:"egress"`
}

// SharePointTier is the limits of tenants with up to Licences licences, in resource units.
type SharePointTier struct {
	Licences int64 `json:"licences" yaml:"licences"` // 0: no upper end
	Minute   Limit `json:"minute" yaml:"minute"`
	Day      Limit `json:"day" yaml:"day"`
	// Tenant is per tenant over all applications; of these we count our own. Zero: no
	// such limit.
	Tenant Limit `json:"tenant" yaml:"tenant"`
}

// TeamsLimits are by kind of request (Call.Kind); TeamsOther stands for every kind that
// is not named.
type TeamsLimits struct {
	Kinds map[string]TeamsLimit `json:"kinds" yaml:"kinds"`
	// Sustained is the share of the listed rates that holds for longer than a burst.
	Sustained float64 `json:"sustained" yaml:"sustained"`
}

// TeamsLimit is requests a second as listed: per application; per application and
// tenant; per team, channel or chat (0: no such limit).
type TeamsLimit struct {
	App      int64 `json:"app" yaml:"app"`
	Tenant   int64 `json:"tenant" yaml:"tenant"`
	Resource int64 `json:"resource" yaml:"resource"`
}

// The kinds of requests to Teams.
const (
	TeamsExport   = "export"   // getAllMessages, allMessages, getAllRetainedMessages
	TeamsMessages = "messages" // the messages of one channel or chat
	TeamsHosted   = "hosted"   // hosted contents, and one's bytes
	TeamsTeam     = "team"     // one team
	TeamsChannels = "channels" // a team's channels
	TeamsChannel  = "channel"  // one channel
	TeamsMembers  = "members"  // a team's members
	TeamsPost     = "post"     // send or import a message
	TeamsWrite    = "write"    // any other POST, PUT, PATCH
	TeamsDelete   = "delete"   // any DELETE
	TeamsOther    = "other"    // any other GET
)

// teamsWindow is the window that a Teams rate is kept over.
const teamsWindow = 10 * time.Second

// of returns the limits of a kind and the name they are counted under.
func (l TeamsLimits) of(kind string) (string, TeamsLimit) {
	if row, ok := l.Kinds[kind]; ok {
		return kind, row
	}
	return TeamsOther, l.Kinds[TeamsOther]
}

// sustained is a listed rate as a limit.
func (l TeamsLimits) sustained(rate int64) Limit {
	return per(max(1, int64(l.Sustained*float64(rate)*teamsWindow.Seconds())), teamsWindow)
}

const day = 24 * time.Hour

func per(amount int64, window time.Duration) Limit {
	return Limit{Amount: amount, Window: Duration(window)}
}

// Documented returns the limits that Microsoft publishes (graph/throttling.md holds
// each with its page), and our own choices where it publishes none.
func Documented() Limits {
	return Limits{
		// "Microsoft Graph service-specific throttling limits": any request, per app.
		App: Limit{Amount: 130_000, Window: Duration(10 * time.Second), Block: 500},
		// Same page, "Identity and access service limits".
		Identity: IdentityLimits{
			AppUnits:  per(150_000, 20*time.Second),
			AppWrites: per(35_000, 5*time.Minute),
			Small:     per(3_500, 10*time.Second),
			Medium:    per(5_000, 10*time.Second),
			Large:     per(8_000, 10*time.Second),
			Writes:    per(3_000, 150*time.Second),

			TenantWrites: per(18_000, 5*time.Minute),
		},
		// Same page, "Outlook service limits", per app and mailbox. Own choices: one
		// of the four kept for restores; two minutes, because the slowest answers
		// that were seen (large pages, uploads of 4 MB) end within one.
		Outlook: OutlookLimits{
			Requests:    per(10_000, 10*time.Minute),
			Upload:      megabytes(150),
			Concurrency: 4, KeepFree: 1,
			LongestRequest: Duration(2 * time.Minute),
			PermitLife:     Duration(15 * time.Second),
		},
		// "How to avoid getting throttled or blocked in SharePoint Online", per app and tenant.
		SharePoint: SharePointLimits{Ingress: gigabytes(400), Egress: gigabytes(400), Tiers: []SharePointTier{
			{Licences: 1_000, Minute: per(1_250, time.Minute), Day: per(1_200_000, day), Tenant: per(18_750, 5*time.Minute)},
			{Licences: 5_000, Minute: per(2_500, time.Minute), Day: per(2_400_000, day), Tenant: per(37_500, 5*time.Minute)},
			{Licences: 15_000, Minute: per(3_750, time.Minute), Day: per(3_600_000, day), Tenant: per(56_250, 5*time.Minute)},
			{Licences: 50_000, Minute: per(5_000, time.Minute), Day: per(4_800_000, day), Tenant: per(75_000, 5*time.Minute)},
			{Minute: per(6_250, time.Minute), Day: per(6_000_000, day), Tenant: per(93_750, 5*time.Minute)},
		}},
		// First page, "Microsoft Teams service limits", which also says that about 83 % of
		// the listed rates is what they sustain.
		Teams: TeamsLimits{Sustained: 0.83, Kinds: map[string]TeamsLimit{
			TeamsExport:   {App: 1_000, Tenant: 200},
			TeamsMessages: {App: 200, Tenant: 20, Resource: 1},
			TeamsHosted:   {App: 500, Tenant: 50, Resource: 1},
			TeamsTeam:     {App: 1_500, Tenant: 30, Resource: 4},
			TeamsChannels: {App: 1_200, Tenant: 60, Resource: 4},
			TeamsChannel:  {App: 600, Tenant: 30, Resource: 1},
			TeamsMembers:  {App: 1_200, Tenant: 60, Resource: 4},
			TeamsPost:     {App: 500, Tenant: 50, Resource: 1},
			TeamsWrite:    {App: 300, Tenant: 30, Resource: 1},
			TeamsDelete:   {App: 150, Tenant: 15, Resource: 1},
			TeamsOther:    {App: 1_500, Tenant: 30, Resource: 1},
		}},
		Slack:    0.04,
		Reserve:  0.10,
		Patience: Duration(5 * time.Second),
		Pace: PaceLimits{
			Fall: 0.8, Least: 0.1, Recovery: 0.02,
			Mailboxes: 3, Within: Duration(30 * time.Second), Longest: Duration(time.Minute),
		},
	}
}

// gigabytes an hour; drawn in blocks of some files.
// megabytes is an account of so many MB in five minutes: of 10^6 bytes, the harsher reading of the page.
func megabytes(n int64) Limit {
	return Limit{Amount: n * 1_000_000, Window: Duration(5 * time.Minute), Block: 1 << 20}
}

func gigabytes(n int64) Limit {
	return Limit{Amount: n * 1_000_000_000, Window: Duration(time.Hour), Block: 64 << 20}
}

// Validate returns an Invalid error that names the first number that makes no sense.
func (l Limits) Validate() error {
	for _, n := range l.named() {
		if n.Amount <= 0 || time.Duration(n.Window) < 100*time.Millisecond || n.Block < 0 {
			return tenantry.Errorf(tenantry.Invalid, "limits: %s: needs an amount above 0 and a window of 100ms or more", n.name)
		}
	}
	for kind, row := range l.Teams.Kinds {
		if row.App <= 0 || row.Tenant <= 0 || row.Resource < 0 {
			return tenantry.Errorf(tenantry.Invalid, "limits: teams.kinds.%s: app and tenant need a rate above 0", kind)
		}
	}
	for i, t := range l.SharePoint.Tiers {
		if last := i == len(l.SharePoint.Tiers)-1; last != (t.Licences == 0) {
			return tenantry.Errorf(tenantry.Invalid, "limits: sharepoint.tiers[%d].licences: only the last tier has no upper end", i)
		}
	}
	for _, rule := range l.rules() {
		if !rule.kept {
			return tenantry.Errorf(tenantry.Invalid, "limits: %s", rule.text)
		}
	}
	return nil
}

// Faster returns the limits of a Microsoft 365 whose clock runs so many times as fast as
// ours (a simulated one): the same amounts in windows as much shorter, rates as much
// higher. Our own choices stay.
func (l Limits) Faster(times float64) Limits {
	l.SharePoint.Tiers, l.Teams.Kinds = slices.Clone(l.SharePoint.Tiers), maps.Clone(l.Teams.Kinds)
	for _, n := range l.named() {
		n.Window = Duration(float64(n.Window) / times)
	}
	rate := func(perSecond int64) int64 { return int64(math.Round(float64(perSecond) * times)) }
	for kind, row := range l.Teams.Kinds {
		l.Teams.Kinds[kind] = TeamsLimit{App: rate(row.App), Tenant: rate(row.Tenant), Resource: rate(row.Resource)}
	}
	return l
}

type namedLimit struct {
	name string
	*Limit
}

// named lists every limit that is an amount in a window.
func (l *Limits) named() []namedLimit {
	list := []namedLimit{
		{"app", &l.App},
		{"identity.app_units", &l.Identity.AppUnits},
		{"identity.app_writes", &l.Identity.AppWrites},
		{"identity.small", &l.Identity.Small},
		{"identity.medium", &l.Identity.Medium},
		{"identity.large", &l.Identity.Large},
		{"identity.writes", &l.Identity.Writes},
		{"outlook.requests", &l.Outlook.Requests},
		{"outlook.upload", &l.Outlook.Upload},
		{"identity.tenant_writes", &l.Identity.TenantWrites},
		{"sharepoint.ingress", &l.SharePoint.Ingress},
		{"sharepoint.egress", &l.SharePoint.Egress},
	}
	for i := range l.SharePoint.Tiers {
		t := &l.SharePoint.Tiers[i]
		name := fmt.Sprintf("sharepoint.tiers[%d].", i)
		list = append(list, namedLimit{name + "minute", &t.Minute}, namedLimit{name + "day", &t.Day})
		if t.Tenant != (Limit{}) {
			list = append(list, namedLimit{name + "tenant", &t.Tenant})
		}
	}
	return list
}

type rule struct {
	kept bool
	text string
}

func (l Limits) rules() []rule {
	share := func(v float64) bool { return v > 0 && v <= 1 }
	_, other := l.Teams.Kinds[TeamsOther]
	return []rule{
		{len(l.SharePoint.Tiers) > 0, "sharepoint.tiers: at least one"},
		{other, "teams.kinds: needs the kind " + TeamsOther},
		{share(l.Teams.Sustained), "teams.sustained: above 0, at most 1"},
		{l.Slack > 0 && l.Slack <= 0.5, "slack: above 0, at most 0.5"},
		{l.Reserve >= 0 && l.Reserve <= 0.9, "reserve: from 0 to 0.9"},
		{
			l.Outlook.Concurrency >= 1 && l.Outlook.KeepFree >= 0 && l.Outlook.KeepFree < l.Outlook.Concurrency,
			"outlook.concurrency: at least 1, and more than keep_free",
		},
		{l.Outlook.LongestRequest >= Duration(time.Second), "outlook.longest_request: at least 1s"},
		{l.Outlook.PermitLife >= Duration(time.Second), "outlook.permit_life: at least 1s"},
		{share(l.Pace.Fall), "pace.fall: above 0, at most 1"},
		{share(l.Pace.Least), "pace.least: above 0, at most 1"},
		{share(l.Pace.Recovery), "pace.recovery: above 0, at most 1"},
		{l.Pace.Mailboxes >= 2, "pace.mailboxes: at least 2"},
		{l.Pace.Within >= Duration(time.Second), "pace.within: at least 1s"},
		{l.Pace.Longest >= Duration(time.Second), "pace.longest: at least 1s"},
	}
}

func (l IdentityLimits) units(s Size) Limit {
	switch {
	case s.Users < 50:
		return l.Small
	case s.Users <= 500:
		return l.Medium
	}
	return l.Large
}

func (l SharePointLimits) tier(s Size) SharePointTier {
	for _, t := range l.Tiers {
		if t.Licences == 0 || s.Licences <= t.Licences {
			return t
		}
	}
	return l.Tiers[len(l.Tiers)-1]
}
