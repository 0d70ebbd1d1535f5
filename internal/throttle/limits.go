package throttle

import (
	"fmt"
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
}

// SharePointTier is the limits of tenants with up to Licences licences, in resource units.
type SharePointTier struct {
	Licences int64 `json:"licences" yaml:"licences"` // 0: no upper end
	Minute   Limit `json:"minute" yaml:"minute"`
	Day      Limit `json:"day" yaml:"day"`
}

// TeamsLimits are requests per application and per application and tenant.
type TeamsLimits struct {
	App    Limit `json:"app" yaml:"app"`
	Tenant Limit `json:"tenant" yaml:"tenant"`
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
		App: per(130_000, 10*time.Second),
		// Same page, "Identity and access service limits".
		Identity: IdentityLimits{
			AppUnits:  per(150_000, 20*time.Second),
			AppWrites: per(35_000, 5*time.Minute),
			Small:     per(3_500, 10*time.Second),
			Medium:    per(5_000, 10*time.Second),
			Large:     per(8_000, 10*time.Second),
			Writes:    per(3_000, 150*time.Second),
		},
		// Same page, "Outlook service limits", per app and mailbox. Own choices: one
		// of the four kept for restores; two minutes, because the slowest answers
		// that were seen (large pages, uploads of 4 MB) end within one.
		Outlook: OutlookLimits{
			Requests:    per(10_000, 10*time.Minute),
			Upload:      Limit{Amount: 150 << 20, Window: Duration(5 * time.Minute), Block: 1 << 20},
			Concurrency: 4, KeepFree: 1,
			LongestRequest: Duration(2 * time.Minute),
			PermitLife:     Duration(15 * time.Second),
		},
		// "How to avoid getting throttled or blocked in SharePoint Online", per app and tenant.
		SharePoint: SharePointLimits{Tiers: []SharePointTier{
			{Licences: 1_000, Minute: per(1_250, time.Minute), Day: per(1_200_000, day)},
			{Licences: 5_000, Minute: per(2_500, time.Minute), Day: per(2_400_000, day)},
			{Licences: 15_000, Minute: per(3_750, time.Minute), Day: per(3_600_000, day)},
			{Licences: 50_000, Minute: per(5_000, time.Minute), Day: per(4_800_000, day)},
			{Minute: per(6_250, time.Minute), Day: per(6_000_000, day)},
		}},
		// First page, "Microsoft Teams service limits": the row of any other GET, 1,500
		// and 30 a second, of which 83 % is what it sustains.
		Teams:    TeamsLimits{App: per(12_450, 10*time.Second), Tenant: per(249, 10*time.Second)},
		Slack:    0.04,
		Reserve:  0.10,
		Patience: Duration(5 * time.Second),
	}
}

// Validate returns an Invalid error that names the first number that makes no sense.
func (l Limits) Validate() error {
	named := []struct {
		name string
		Limit
	}{
		{"app", l.App},
		{"identity.app_units", l.Identity.AppUnits},
		{"identity.app_writes", l.Identity.AppWrites},
		{"identity.small", l.Identity.Small},
		{"identity.medium", l.Identity.Medium},
		{"identity.large", l.Identity.Large},
		{"identity.writes", l.Identity.Writes},
		{"outlook.requests", l.Outlook.Requests},
		{"outlook.upload", l.Outlook.Upload},
		{"teams.app", l.Teams.App},
		{"teams.tenant", l.Teams.Tenant},
	}
	for i, t := range l.SharePoint.Tiers {
		name := fmt.Sprintf("sharepoint.tiers[%d]", i)
		named = append(named, struct {
			name string
			Limit
		}{name + ".minute", t.Minute}, struct {
			name string
			Limit
		}{name + ".day", t.Day})
		if last := i == len(l.SharePoint.Tiers)-1; last != (t.Licences == 0) {
			return tenantry.Errorf(tenantry.Invalid, "limits: %s.licences: only the last tier has no upper end", name)
		}
	}
	for _, n := range named {
		if n.Amount <= 0 || time.Duration(n.Window) < 100*time.Millisecond || n.Block < 0 {
			return tenantry.Errorf(tenantry.Invalid, "limits: %s: needs an amount above 0 and a window of 100ms or more", n.name)
		}
	}
	switch {
	case len(l.SharePoint.Tiers) == 0:
		return tenantry.Errorf(tenantry.Invalid, "limits: sharepoint.tiers: at least one")
	case l.Slack <= 0 || l.Slack > 0.5:
		return tenantry.Errorf(tenantry.Invalid, "limits: slack: above 0, at most 0.5")
	case l.Reserve < 0 || l.Reserve > 0.9:
		return tenantry.Errorf(tenantry.Invalid, "limits: reserve: from 0 to 0.9")
	case l.Outlook.Concurrency < 1 || l.Outlook.KeepFree < 0 || l.Outlook.KeepFree >= l.Outlook.Concurrency:
		return tenantry.Errorf(tenantry.Invalid, "limits: outlook.concurrency: at least 1, and more than keep_free")
	case l.Outlook.LongestRequest < Duration(time.Second):
		return tenantry.Errorf(tenantry.Invalid, "limits: outlook.longest_request: at least 1s")
	case l.Outlook.PermitLife < Duration(time.Second):
		return tenantry.Errorf(tenantry.Invalid, "limits: outlook.permit_life: at least 1s")
	}
	return nil
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
