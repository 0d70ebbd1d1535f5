package graphsim

import (
	"maps"
	"sync"
)

// Stats counts what a simulator was asked.
type Stats struct {
	// Refused is requests without a valid access token.
	Refused int64 `json:"refused"`
	// Tenants by ID.
	Tenants map[string]TenantStats `json:"tenants"`
}

// TenantStats counts requests of one tenant. The maps go by service: identity,
// outlook, sharepoint, teams, files (downloads and uploads), unrouted.
type TenantStats struct {
	Tokens        int64            `json:"tokens"`
	TokensRefused int64            `json:"tokensRefused"`
	Requests      map[string]int64 `json:"requests"`
	Throttled     map[string]int64 `json:"throttled"`
}

// TotalRequests is the sum over the services.
func (t TenantStats) TotalRequests() int64 { return sum(t.Requests) }

// TotalThrottled is how many requests were answered 429 by the limits.
func (t TenantStats) TotalThrottled() int64 { return sum(t.Throttled) }

func sum(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

type statsBook struct {
	mu  sync.Mutex
	now Stats
}

func (b *statsBook) update(tenant string, change func(*TenantStats)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now.Tenants == nil {
		b.now.Tenants = map[string]TenantStats{}
	}
	t := b.now.Tenants[tenant]
	if t.Requests == nil {
		t.Requests, t.Throttled = map[string]int64{}, map[string]int64{}
	}
	change(&t)
	b.now.Tenants[tenant] = t
}

func (b *statsBook) request(tenant, service string) {
	b.update(tenant, func(t *TenantStats) { t.Requests[service]++ })
}

func (b *statsBook) throttled(tenant, service string) {
	b.update(tenant, func(t *TenantStats) { t.Throttled[service]++ })
}

func (b *statsBook) token(tenant string, granted bool) {
	b.update(tenant, func(t *TenantStats) {
		if granted {
			t.Tokens++
		} else {
			t.TokensRefused++
		}
	})
}

func (b *statsBook) refused() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now.Refused++
}

// Stats returns the counts since the start or the last ResetStats.
func (s *Server) Stats() Stats {
	b := &s.stats
	b.mu.Lock()
	defer b.mu.Unlock()
	out := Stats{Refused: b.now.Refused, Tenants: map[string]TenantStats{}}
	for id, t := range b.now.Tenants {
		t.Requests, t.Throttled = maps.Clone(t.Requests), maps.Clone(t.Throttled)
		out.Tenants[id] = t
	}
	return out
}

// ResetStats sets all counts to zero, those of Accounts too; what limits count stays.
func (s *Server) ResetStats() {
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	s.stats.now = Stats{}
	s.limits.mu.Lock()
	defer s.limits.mu.Unlock()
	s.limits.accounts = nil
}
