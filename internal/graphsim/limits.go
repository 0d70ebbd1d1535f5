package graphsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// Quota is a number of requests, units or bytes in a window.
type Quota struct {
	Max     int64 `json:"max"`
	Seconds int64 `json:"seconds"`
}

func (q Quota) window() time.Duration { return time.Duration(q.Seconds) * time.Second }

// Tier is a quota that depends on the size of a tenant: it holds up to that many
// users (identity) or licences (SharePoint); 0 means no upper bound.
type Tier struct {
	UpTo int64 `json:"upTo"`
	Quota
}

// Limits is what the simulated services allow: the one table of all numbers, read
// from a file by LoadLimits and shown at /_sim/limits. A zero field takes its
// documented value ("Microsoft Graph service-specific throttling limits", 2026;
// "Avoid getting throttled or blocked in SharePoint Online", 2025). All are per
// application unless they say otherwise.
type Limits struct {
	// App bounds all requests of the application over all tenants.
	App Quota `json:"app"`

	// Mailbox bounds requests, MailboxConcurrent those at the same time, and
	// MailboxUpload the bytes written, each per mailbox of a user or group.
	Mailbox           Quota `json:"mailbox"`
	MailboxConcurrent int   `json:"mailboxConcurrent"`
	MailboxUpload     Quota `json:"mailboxUpload"`

	// Identity bounds resource units per tenant, IdentityApp over all tenants.
	// IdentityWrites bounds writes per tenant, IdentityAppWrites over all tenants,
	// IdentityTenantWrites those of all applications in a tenant.
	Identity             []Tier `json:"identity"`
	IdentityApp          Quota  `json:"identityApp"`
	IdentityWrites       Quota  `json:"identityWrites"`
	IdentityAppWrites    Quota  `json:"identityAppWrites"`
	IdentityTenantWrites Quota  `json:"identityTenantWrites"`
	// IdentityPriority is up to which share of the identity quotas requests are let
	// through, by the priority they ask for in x-ms-throttle-priority.
	IdentityPriority Priorities `json:"identityPriority"`

	// SharePointMinute and SharePointDay bound resource units per tenant,
	// SharePointTenant those of all applications in a tenant.
	SharePointMinute []Tier `json:"sharePointMinute"`
	SharePointDay    []Tier `json:"sharePointDay"`
	SharePointTenant []Tier `json:"sharePointTenant"`
	// SharePointUser bounds requests on behalf of one user.
	SharePointUser Quota `json:"sharePointUser"`
	// SharePointUserIngress and SharePointUserEgress bound their bytes,
	// SharePointUserTokens how often a user's token is asked for (delegation tokens), and
	// SharePointUserMails the invitations that a user sends outside.
	SharePointUserIngress Quota `json:"sharePointUserIngress"`
	SharePointUserEgress  Quota `json:"sharePointUserEgress"`
	SharePointUserTokens  Quota `json:"sharePointUserTokens"`
	SharePointUserMails   Quota `json:"sharePointUserMails"`
	// SharePointLinks bounds the anonymous links made in one site.
	SharePointLinks Quota `json:"sharePointLinks"`
	// SharePointAnonymousEgress bounds the bytes that callers without a token are sent of
	// one site, by such links.
	SharePointAnonymousEgress Quota `json:"sharePointAnonymousEgress"`
	// SharePointProbes is how many OneDrives that are not there one client address may ask
	// for before every OneDrive answers it with 429. That there is such a throttle is
	// documented, its threshold is not. A negative Max allows any number.
	SharePointProbes Quota `json:"sharePointProbes"`
	// SharePointIngress and SharePointEgress bound bytes per tenant.
	SharePointIngress Quota `json:"sharePointIngress"`
	SharePointEgress  Quota `json:"sharePointEgress"`
	// SharePointDownload and SharePointFragment are the units of a download by a
	// pre-authenticated URL and of a fragment of an upload session. Neither is
	// documented; the defaults are those of "download" (1) and "upload" (2). A
	// negative one is free.
	SharePointDownload int64 `json:"sharePointDownload"`
	SharePointFragment int64 `json:"sharePointFragment"`
	// SharePointBlock is how many throttled requests an application is forgiven:
	// with more it is blocked, by 503, until they have left the window. That there
	// is a block is documented, its threshold is not. A negative Max forgives all.
	SharePointBlock Quota `json:"sharePointBlock"`

	// Burst says for how long the Teams limits hold: the quotas of Rules with
	// Sustained are for short bursts, and over Seconds only Max per cent of them
	// are allowed. The share is documented, the window is not.
	Burst Quota `json:"burst"`
	// Rules bound requests by their path.
	Rules []Rule `json:"rules"`
}

// Priorities are per cent of a quota, by the priority of a request: once that much is used,
// requests of that priority are refused. That low ones are refused first and high ones
// last, and that no priority has a larger quota, is documented, the shares are not: by
// default low ones stop at 90, where the harsher reading has them give way, and all others
// at the quota, where throttling is documented to start.
type Priorities struct {
	Low    int64 `json:"low"`
	Normal int64 `json:"normal"`
	High   int64 `json:"high"`
}

// of is how much of a quota a request may use that asks for a priority; one that is not
// known is as none, which is normal.
func (p Priorities) of(priority string, q Quota) int64 {
	share := p.Normal
	switch strings.ToLower(priority) {
	case "low":
		share = p.Low
	case "high":
		share = p.High
	}
	return max(1, int64(float64(q.Max)*float64(share)/100))
}

func (p Priorities) check() error {
	if p.Low < 1 || p.Low > p.Normal || p.Normal > p.High || p.High > 100 {
		return fmt.Errorf("identityPriority is %d, %d, %d: shares from 1 to 100 that do not fall", p.Low, p.Normal, p.High)
	}
	return nil
}

// DocumentedLimits returns the published limits.
func DocumentedLimits() Limits { return Limits{}.withDefaults() }

// LoadLimits reads limits from a JSON file in the form of /_sim/limits; what it
// leaves out has its documented value. Errors: a name that is not in the table, a
// window without length.
func LoadLimits(file string) (Limits, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Limits{}, fmt.Errorf("read limits: %w", err)
	}
	var l Limits
	in := json.NewDecoder(bytes.NewReader(data))
	in.DisallowUnknownFields()
	if err := in.Decode(&l); err != nil {
		return Limits{}, fmt.Errorf("read limits from %s: %w", file, err)
	}
	l = l.withDefaults()
	if err := l.check(); err != nil {
		return Limits{}, fmt.Errorf("read limits from %s: %w", file, err)
	}
	return l, nil
}

func (l Limits) withDefaults() Limits {
	const perMinute, per5Minutes, perHour, perDay = 60, 300, 3600, 86_400
	setDefault(&l.App, Quota{130_000, 10})
	setDefault(&l.Mailbox, Quota{10_000, 600})
	setDefault(&l.MailboxConcurrent, 4)
	setDefault(&l.MailboxUpload, Quota{150_000_000, per5Minutes})
	setDefault(&l.IdentityApp, Quota{150_000, 20})
	setDefault(&l.IdentityWrites, Quota{3_000, 150})
	setDefault(&l.IdentityAppWrites, Quota{35_000, per5Minutes})
	setDefault(&l.IdentityTenantWrites, Quota{18_000, per5Minutes})
	setDefault(&l.IdentityPriority.Low, 90)
	setDefault(&l.IdentityPriority.Normal, 100)
	setDefault(&l.IdentityPriority.High, 100)
	if l.Identity == nil {
		l.Identity = tiers(10, []int64{49, 500, 0}, []int64{3_500, 5_000, 8_000})
	}
	licences := []int64{1_000, 5_000, 15_000, 50_000, 0}
	if l.SharePointMinute == nil {
		l.SharePointMinute = tiers(perMinute, licences, []int64{1_250, 2_500, 3_750, 5_000, 6_250})
	}
	if l.SharePointDay == nil {
		l.SharePointDay = tiers(perDay, licences, []int64{1_200_000, 2_400_000, 3_600_000, 4_800_000, 6_000_000})
	}
	if l.SharePointTenant == nil {
		l.SharePointTenant = tiers(per5Minutes, licences, []int64{18_750, 37_500, 56_250, 75_000, 93_750})
	}
	setDefault(&l.SharePointUser, Quota{3_000, per5Minutes})
	setDefault(&l.SharePointUserIngress, Quota{50_000_000_000, perHour})
	setDefault(&l.SharePointUserEgress, Quota{100_000_000_000, perHour})
	setDefault(&l.SharePointUserTokens, Quota{50, per5Minutes})
	setDefault(&l.SharePointUserMails, Quota{200, perHour})
	setDefault(&l.SharePointLinks, Quota{3_000, per5Minutes})
	setDefault(&l.SharePointAnonymousEgress, Quota{100_000_000_000, 2 * perHour})
	setDefault(&l.SharePointProbes, Quota{1_000, per5Minutes})
	setDefault(&l.SharePointIngress, Quota{400_000_000_000, perHour})
	setDefault(&l.SharePointEgress, Quota{400_000_000_000, perHour})
	setDefault(&l.SharePointDownload, 1)
	setDefault(&l.SharePointFragment, 2)
	setDefault(&l.SharePointBlock, Quota{2_000, perHour})
	setDefault(&l.Burst, Quota{83, perMinute})
	if l.Rules == nil {
		l.Rules = documentedRules()
	}
	return l
}

// check refuses a table that cannot be counted with.
func (l Limits) check() error {
	quotas := map[string]Quota{"app": l.App, "mailbox": l.Mailbox, "mailboxUpload": l.MailboxUpload, "identityApp": l.IdentityApp,
		"identityWrites": l.IdentityWrites, "identityAppWrites": l.IdentityAppWrites, "identityTenantWrites": l.IdentityTenantWrites,
		"sharePointUser": l.SharePointUser, "sharePointIngress": l.SharePointIngress, "sharePointEgress": l.SharePointEgress, "sharePointBlock": l.SharePointBlock, "burst": l.Burst,
		"sharePointUserIngress": l.SharePointUserIngress, "sharePointUserEgress": l.SharePointUserEgress, "sharePointUserTokens": l.SharePointUserTokens,
		"sharePointUserMails": l.SharePointUserMails, "sharePointLinks": l.SharePointLinks, "sharePointAnonymousEgress": l.SharePointAnonymousEgress, "sharePointProbes": l.SharePointProbes}
	for name, list := range map[string][]Tier{"identity": l.Identity, "sharePointMinute": l.SharePointMinute,
		"sharePointDay": l.SharePointDay, "sharePointTenant": l.SharePointTenant} {
		if len(list) == 0 {
			return fmt.Errorf("%s has no tier", name)
		}
		for _, t := range list {
			quotas[fmt.Sprintf("%s up to %d", name, t.UpTo)] = t.Quota
		}
	}
	for _, r := range l.Rules {
		for _, q := range append(append(append(append([]Quota{}, r.App...), r.AppTenant...), r.Tenant...), r.Resource...) {
			quotas["rule "+r.Name] = q
		}
	}
	if err := l.IdentityPriority.check(); err != nil {
		return err
	}
	for name, q := range quotas {
		if q.Seconds <= 0 {
			return fmt.Errorf("%s has a window of %d seconds", name, q.Seconds)
		}
	}
	return nil
}

func tiers(seconds int64, upTo, most []int64) []Tier {
	list := make([]Tier, len(upTo))
	for i := range upTo {
		list[i] = Tier{upTo[i], Quota{most[i], seconds}}
	}
	return list
}

func tierFor(list []Tier, size int64) Quota {
	for _, t := range list {
		if t.UpTo == 0 || size <= t.UpTo {
			return t.Quota
		}
	}
	return list[len(list)-1].Quota
}
