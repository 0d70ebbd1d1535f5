package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/tenantry/tenantry/internal/throttle"
)

// limits are the numbers of the simulator's table that the product has, too.
type limits struct {
	App                  quota  `json:"app"`
	Mailbox              quota  `json:"mailbox"`
	MailboxConcurrent    int    `json:"mailboxConcurrent"`
	MailboxUpload        quota  `json:"mailboxUpload"`
	Identity             []tier `json:"identity"`
	IdentityApp          quota  `json:"identityApp"`
	IdentityWrites       quota  `json:"identityWrites"`
	IdentityAppWrites    quota  `json:"identityAppWrites"`
	IdentityTenantWrites quota  `json:"identityTenantWrites"`
	SharePointMinute     []tier `json:"sharePointMinute"`
	SharePointDay        []tier `json:"sharePointDay"`
	SharePointTenant     []tier `json:"sharePointTenant"`
	SharePointIngress    quota  `json:"sharePointIngress"`
	SharePointEgress     quota  `json:"sharePointEgress"`
}

type quota struct {
	Max     int64 `json:"max"`
	Seconds int64 `json:"seconds"`
}

type tier struct {
	UpTo int64 `json:"upTo"`
	quota
}

// limitsFile writes the simulator's table as the product reads it (limits-file): the same
// amounts, in windows of our clock.
func (s *simulator) limitsFile(dir string) string {
	s.t.Helper()
	file := filepath.Join(dir, "limits.json")
	text, err := json.Marshal(s.table.product(s.clock))
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return file
}

// product is the table of a simulator whose clock runs so many times faster than ours.
func (l limits) product(clock float64) throttle.Limits {
	scaled := func(q quota) throttle.Limit {
		return throttle.Limit{Amount: q.Max, Window: throttle.Duration(float64(q.Seconds) / clock * float64(time.Second))}
	}
	out := throttle.Documented()
	block := out.App.Block
	out.App, out.App.Block = scaled(l.App), block
	out.Outlook.Requests, out.Outlook.Concurrency = scaled(l.Mailbox), l.MailboxConcurrent
	block = out.Outlook.Upload.Block
	out.Outlook.Upload, out.Outlook.Upload.Block = scaled(l.MailboxUpload), block
	out.Identity = throttle.IdentityLimits{
		AppUnits: scaled(l.IdentityApp), AppWrites: scaled(l.IdentityAppWrites),
		Small: scaled(l.Identity[0].quota), Medium: scaled(l.Identity[1].quota), Large: scaled(l.Identity[2].quota),
		Writes: scaled(l.IdentityWrites), TenantWrites: scaled(l.IdentityTenantWrites),
	}
	block = out.SharePoint.Ingress.Block
	out.SharePoint.Ingress, out.SharePoint.Egress = scaled(l.SharePointIngress), scaled(l.SharePointEgress)
	out.SharePoint.Ingress.Block, out.SharePoint.Egress.Block = block, block
	out.SharePoint.Tiers = nil
	for i, t := range l.SharePointMinute {
		out.SharePoint.Tiers = append(out.SharePoint.Tiers, throttle.SharePointTier{
			Licences: t.UpTo, Minute: scaled(t.quota), Day: scaled(l.SharePointDay[i].quota), Tenant: scaled(l.SharePointTenant[i].quota),
		})
	}
	return out
}

// boundless is a table that nothing on one machine reaches.
func boundless() map[string]any {
	const huge = 1_000_000_000
	table := map[string]any{"sharePointBlock": map[string]any{"max": free, "seconds": 3600}}
	for name, seconds := range map[string]int{"app": 10, "mailbox": 600, "identityApp": 20} {
		table[name] = map[string]any{"max": huge, "seconds": seconds}
	}
	for name, seconds := range map[string]int{"sharePointMinute": 60, "sharePointDay": 86_400, "sharePointTenant": 300} {
		table[name] = tiersOf(huge, seconds)
	}
	table["identity"] = []map[string]any{
		{"upTo": 49, "max": huge, "seconds": 10}, {"upTo": 500, "max": huge, "seconds": 10}, {"upTo": 0, "max": huge, "seconds": 10},
	}
	return table
}

// free: throttled requests do not block an application. How many do is not documented, and
// it would only make the clients without an account book look worse.
const free = -1

// scaled is the documented table with another number of SharePoint units per minute and
// tenant: the binding account. That of all applications is three times it, as documented.
func scaled(perMinute int64) map[string]any {
	return map[string]any{
		"sharePointBlock":  map[string]any{"max": free, "seconds": 3600},
		"sharePointMinute": tiersOf(perMinute, 60), "sharePointTenant": tiersOf(15*perMinute, 300),
	}
}

func tiersOf(most int64, seconds int) (list []map[string]any) {
	for _, licences := range []int64{1_000, 5_000, 15_000, 50_000, 0} {
		list = append(list, map[string]any{"upTo": licences, "max": most, "seconds": seconds})
	}
	return list
}
