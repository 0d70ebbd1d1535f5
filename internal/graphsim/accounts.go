package graphsim

import (
	"cmp"
	"net/http"
	"slices"
	"time"
)

// AccountUsage is what one account was asked for, window by window: what goodput,
// makespan and fairness are computed from. An account is a kind of limit
// (outlook.requests, sharepoint.minute, ...) of an application, a tenant and a
// resource; an empty one means all of them together.
type AccountUsage struct {
	Kind     string `json:"kind"`
	App      string `json:"app,omitempty"`
	Tenant   string `json:"tenant,omitempty"`
	Resource string `json:"resource,omitempty"`
	// Seconds is the length of a window. Times are simulated seconds since the start.
	Seconds int64 `json:"seconds"`
	// Used and Throttled are sums over all windows, the forgotten ones too; First and
	// Last say when the first and the last request was let through.
	Used      int64   `json:"used"`
	Throttled int64   `json:"throttled"`
	First     float64 `json:"first"`
	Last      float64 `json:"last"`
	// Windows are the latest fixed windows in which anything was asked.
	Windows []UsageWindow `json:"windows"`
}

// UsageWindow is one fixed window of an account.
type UsageWindow struct {
	Start     int64 `json:"start"`   // simulated seconds since the start
	Allowed   int64 `json:"allowed"` // what the quota allows in it
	Used      int64 `json:"used"`    // units of requests that were let through
	Throttled int64 `json:"throttled"`
}

// What is remembered: with more accounts those of single resources are counted
// together as resource "*", with more windows the oldest are forgotten.
const (
	maxAccounts = 20_000
	maxWindows  = 64
)

// accountBook remembers usage; guarded by the limiter's lock.
type accountBook map[account]*AccountUsage

func (b *accountBook) window(d *draw, now time.Duration) (*AccountUsage, *UsageWindow) {
	if *b == nil {
		*b = accountBook{}
	}
	key := d.account
	u := (*b)[key]
	if u == nil && len(*b) >= maxAccounts && key.resource != "" {
		key.resource = "*"
		u = (*b)[key]
	}
	if u == nil {
		u = &AccountUsage{Kind: key.kind, App: key.app, Tenant: key.tenant, Resource: key.resource, Seconds: d.Seconds, First: -1}
		(*b)[key] = u
	}
	start := int64(now/d.window()) * d.Seconds
	if n := len(u.Windows); n == 0 || u.Windows[n-1].Start != start {
		if n == maxWindows {
			u.Windows = slices.Delete(u.Windows, 0, 1)
		}
		u.Windows = append(u.Windows, UsageWindow{Start: start, Allowed: d.Max})
	}
	return u, &u.Windows[len(u.Windows)-1]
}

func (b *accountBook) used(d *draw, now time.Duration) {
	u, w := b.window(d, now)
	u.Used, w.Used = u.Used+d.units, w.Used+d.units
	u.Last = now.Seconds()
	if u.First < 0 {
		u.First = u.Last
	}
}

func (b *accountBook) throttled(d *draw, now time.Duration) {
	u, w := b.window(d, now)
	u.Throttled, w.Throttled = u.Throttled+1, w.Throttled+1
}

// Accounts returns the usage of every account that was drawn on since the start or
// the last ResetStats, ordered by kind, application, tenant and resource. Empty
// arguments select all.
func (s *Server) Accounts(kind, tenant string) []AccountUsage {
	s.limits.mu.Lock()
	list := []AccountUsage{}
	for _, u := range s.limits.accounts {
		if kind != "" && u.Kind != kind || tenant != "" && u.Tenant != tenant {
			continue
		}
		copied := *u
		copied.First = max(0, u.First)
		copied.Windows = slices.Clone(u.Windows)
		list = append(list, copied)
	}
	s.limits.mu.Unlock()
	slices.SortFunc(list, func(x, y AccountUsage) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.App, y.App), cmp.Compare(x.Tenant, y.Tenant), cmp.Compare(x.Resource, y.Resource))
	})
	return list
}

// controlAccounts serves /_sim/accounts?kind=&tenant=.
func (s *Server) controlAccounts(w http.ResponseWriter, r *http.Request) {
	tenant := r.URL.Query().Get("tenant")
	if t := s.Tenant(tenant); t != nil {
		tenant = t.id
	}
	writeJSON(w, http.StatusOK, s.Accounts(r.URL.Query().Get("kind"), tenant))
}
