package api

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// Budgets reads the account book that the fleet shares (*throttle.Book). Called once per
// request, from any goroutine. Shared: Redis does not answer.
type Budgets interface {
	Usage(ctx context.Context, t tenantry.TenantID) ([]throttle.Account, error)
}

// Budget is what Microsoft Graph still allows for a tenant.
type Budget struct {
	Accounts []Account `json:"accounts" nullable:"false" doc:"What Microsoft limits as a whole, and after it the mailboxes that have to wait"`
}

// Account is one limit of Microsoft Graph and how it stands.
type Account struct {
	Name         string     `json:"name" doc:"Which limit: service/window. outlook/mailbox/ID is a mailbox that Microsoft told to wait" example:"sharepoint/day"`
	Limit        int64      `json:"limit,omitempty" doc:"Requests, resource units or bytes in the limit's window; absent for a mailbox that waits"`
	Left         int64      `json:"left" doc:"Of accounts over hours: what is left of the window. Of short ones, which refill all the time: how full they are, as a share of the limit"`
	Share        float64    `json:"share" minimum:"0" maximum:"1" doc:"Share of the documented rate that is in use: below 1, Microsoft showed that less is allowed now. It grows back slowly"`
	SlowedAt     *time.Time `json:"slowed_at,omitempty" doc:"When the share last fell; absent if it never did lately"`
	CoolingUntil *time.Time `json:"cooling_until,omitempty" doc:"Microsoft asked to send nothing until then"`
}

func accountOf(a throttle.Account) Account {
	return Account{
		Name: a.Name, Limit: a.Limit, Left: a.Left, Share: a.Share,
		SlowedAt: when(a.SlowedAt), CoolingUntil: when(a.CoolingUntil),
	}
}

func (s *service) budgetRoutes() {
	read(s, get("get-budget", "tenants", "/v1/tenants/{tenant}/budget", "Show what Microsoft Graph still allows for a tenant"), s.getBudget)
}

func (s *service) getBudget(ctx context.Context, in *tenantInput) (*body[Budget], error) {
	if _, _, err := s.tenant(ctx, in.Tenant); err != nil {
		return nil, err
	}
	if s.Budgets == nil {
		return nil, tenantry.Errorf(tenantry.Shared, "this API is not told where the account book of Graph's budgets is")
	}
	accounts, err := s.Budgets.Usage(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	b := Budget{Accounts: make([]Account, 0, len(accounts))}
	for _, a := range accounts {
		b.Accounts = append(b.Accounts, accountOf(a))
	}
	return &body[Budget]{b}, nil
}
