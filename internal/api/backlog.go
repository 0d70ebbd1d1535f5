package api

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// backlogMax bounds how many tenants' budgets one request reads.
const backlogMax = 100

// Backlog is what a tenant has to do, what that waits for, and what Microsoft still allows.
type Backlog struct {
	Tenant   tenantry.TenantID    `json:"tenant"`
	Name     string               `json:"name"`
	State    tenantry.TenantState `json:"state"`
	Weight   int                  `json:"weight" doc:"Service level: its share when the fleet is busy"`
	Ready    int64                `json:"ready" doc:"Tasks that could run now, and wait for their turn"`
	Waiting  int64                `json:"waiting" doc:"Tasks that wait for a time: Microsoft's, or a retry's"`
	InFlight int64                `json:"in_flight" doc:"Tasks that are admitted or running"`
	Oldest   *time.Time           `json:"oldest_at,omitempty" doc:"When the oldest unfinished task was made"`
	Waits    map[string]int64     `json:"waits" doc:"The waiting tasks by what they wait for: throttled, transient, reconnect, shared, ...; other where there is no kind"`
	Tightest *Account             `json:"tightest,omitempty" doc:"The account of Graph with the smallest share left, or that Microsoft asked to wait for; absent if the account book cannot be read"`
}

type backlogInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"How many tenants, those with the most to do"`
}

func (s *service) listBacklogs(ctx context.Context, in *backlogInput) (*body[Page[Backlog]], error) {
	rows, err := s.Catalog.Fleet().Busiest(ctx, s.Now(), min(in.Limit, backlogMax))
	if err != nil {
		return nil, err
	}
	readable := s.Budgets != nil
	return paged(rows, len(rows), func(row catalog.Busy) Backlog {
		b := backlogOf(row)
		if readable { // one that cannot be read is not asked for again and again
			b.Tightest, err = s.tightest(ctx, row.Tenant)
			readable = err == nil
		}
		return b
	}, nil), nil
}

func backlogOf(row catalog.Busy) Backlog {
	b := Backlog{
		Tenant: row.Tenant, Name: row.Name, State: row.State, Weight: row.Weight, Ready: row.Ready, Waiting: row.Waiting,
		InFlight: row.InFlight, Oldest: when(row.Oldest), Waits: map[string]int64{},
	}
	for kind, n := range row.Waits {
		if kind == "" {
			kind = "other"
		}
		b.Waits[string(kind)] += n
	}
	return b
}

// tightest is the account of a tenant that holds it up most: one that cools, else the one with
// the smallest share left.
func (s *service) tightest(ctx context.Context, id tenantry.TenantID) (*Account, error) {
	accounts, err := s.Budgets.Usage(ctx, id)
	if err != nil {
		return nil, err
	}
	var found *Account
	for _, account := range accounts {
		if a := accountOf(account); a.Limit > 0 && (found == nil || a.tighter(found)) {
			found = &a
		}
	}
	return found, nil
}

func (a Account) tighter(than *Account) bool {
	if (a.CoolingUntil == nil) != (than.CoolingUntil == nil) {
		return a.CoolingUntil != nil
	}
	if a.CoolingUntil != nil && !a.CoolingUntil.Equal(*than.CoolingUntil) {
		return a.CoolingUntil.After(*than.CoolingUntil)
	}
	return a.leftShare() < than.leftShare()
}

func (a Account) leftShare() float64 { return float64(a.Left) / float64(a.Limit) }
