package api

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Delays is what work waited for, in seconds summed over tasks.
type Delays struct {
	Queue   float64        `json:"queue_seconds" doc:"Ready, until its turn came: fairness, tasks in flight, what cools"`
	Worker  float64        `json:"worker_seconds" doc:"Admitted, until a worker had a slot"`
	Graph   float64        `json:"graph_seconds" doc:"For Microsoft's limits and answers, in a slot or parked"`
	Storage float64        `json:"storage_seconds" doc:"While calls of the bucket were under way; overlaps with reading from Graph"`
	Retry   float64        `json:"retry_seconds" doc:"Backing off after a failure, an alarm, a missing consent"`
	ByGraph []AccountDelay `json:"graph,omitempty" nullable:"false" doc:"graph_seconds by account, the longest first"`
}

// AccountDelay is what was waited for one account.
type AccountDelay struct {
	Account string  `json:"account" doc:"Which limit: service/window; cooldown/... where Microsoft said to wait; graph/... for its other answers" example:"sharepoint/minute"`
	Seconds float64 `json:"seconds"`
}

func delaysOf(d tenantry.Delays) *Delays {
	out := &Delays{
		Queue: d.Queue.Seconds(), Worker: d.Worker.Seconds(), Graph: d.GraphTotal().Seconds(),
		Storage: d.Storage.Seconds(), Retry: d.Retry.Seconds(),
	}
	for account, wait := range d.Graph {
		out.ByGraph = append(out.ByGraph, AccountDelay{account, wait.Seconds()})
	}
	slices.SortFunc(out.ByGraph, func(a, b AccountDelay) int {
		return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), cmp.Compare(a.Account, b.Account))
	})
	return out
}

// Units is what requests to one service cost.
type Units struct {
	Service tenantry.Service `json:"service" enum:"identity,outlook,sharepoint,teams"`
	Units   int64            `json:"units" doc:"Resource units (identity, sharepoint), else requests"`
}

func unitsOf(spent map[tenantry.Service]int64) []Units {
	list := make([]Units, 0, len(spent))
	for _, s := range slices.Sorted(maps.Keys(spent)) {
		list = append(list, Units{s, spent[s]})
	}
	return list
}

// LedgerDay is what a tenant's tasks waited for and spent on one day.
type LedgerDay struct {
	Day    string  `json:"day" doc:"UTC" example:"2026-11-21"`
	Delays *Delays `json:"delays"`
	Units  []Units `json:"units" nullable:"false"`
}

// Forecast is what is expected of one service until the UTC day ends.
type Forecast struct {
	Service   tenantry.Service `json:"service" enum:"identity,outlook,sharepoint,teams"`
	Used      int64            `json:"used" doc:"Units since 00:00 UTC, by settled slices"`
	OpenTasks int64            `json:"open_tasks" doc:"Unfinished tasks"`
	Backlog   int64            `json:"backlog" doc:"Units that the open tasks are about to cost: one slice each, as slices did lately"`
	Expected  int64            `json:"expected" doc:"Used, and what is more of the backlog and of going on as today until midnight"`
	Limit     int64            `json:"limit,omitempty" doc:"Units that Microsoft allows in 24 hours; absent where it has no such limit, or the account book cannot be read"`
	Left      *int64           `json:"left,omitempty" doc:"Of the limit, in the last 24 hours"`
	Short     bool             `json:"short" doc:"The backlog needs more than is left: some of it waits for tomorrow"`
}

// Ledger is the account of a tenant's time and units.
type Ledger struct {
	Today []Forecast  `json:"today" nullable:"false" doc:"By service, those that have been used or have tasks open"`
	Days  []LedgerDay `json:"days" nullable:"false" doc:"Newest first; without those on which nothing ran"`
}

type ledgerInput struct {
	TenantPath
	Days int `query:"days" minimum:"1" maximum:"90" default:"7" doc:"How many UTC days, today included"`
}

func (s *service) ledgerRoutes() {
	read(s, get("get-ledger", "tenants", "/v1/tenants/{tenant}/ledger", "Show what a tenant's tasks waited for and spent, by day, and what today will bring"), s.getLedger)
}

func (s *service) getLedger(ctx context.Context, in *ledgerInput) (*body[Ledger], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	now := s.Now().UTC()
	days, err := t.Ledger(ctx, now.AddDate(0, 0, 1-in.Days), now)
	if err != nil {
		return nil, err
	}
	flows, err := t.Flows(ctx)
	if err != nil {
		return nil, err
	}
	l := Ledger{Days: make([]LedgerDay, 0, len(days))}
	var used map[tenantry.Service]int64
	for _, d := range days {
		if d.Day.Equal(now.Truncate(24 * time.Hour)) {
			used = d.Units
		}
		l.Days = append(l.Days, LedgerDay{Day: d.Day.Format(time.DateOnly), Delays: delaysOf(d.Delays), Units: unitsOf(d.Units)})
	}
	l.Today = forecasts(now, used, flows)
	s.addLimits(ctx, in.Tenant, l.Today)
	return &body[Ledger]{l}, nil
}

// addLimits completes forecasts by the accounts of 24 hours. What SQL knows is worth
// showing without them.
func (s *service) addLimits(ctx context.Context, id tenantry.TenantID, today []Forecast) {
	if s.Budgets == nil {
		return
	}
	accounts, err := s.Budgets.Usage(ctx, id)
	if err != nil {
		s.Logger.Warn("the ledger is shown without what is left: the account book cannot be read", zap.Error(err))
		return
	}
	for _, a := range accounts {
		for i := range today {
			if f := &today[i]; a.Name == string(f.Service)+"/day" {
				f.Limit, f.Left, f.Short = a.Limit, &a.Left, f.Backlog > a.Left
			}
		}
	}
}

// leastElapsed is the part of a day from which at least the rest of it is foreseen.
const leastElapsed = time.Hour

// forecasts foresees the rest of the UTC day, by service. Pure.
func forecasts(now time.Time, used map[tenantry.Service]int64, flows []catalog.FlowState) []Forecast {
	services := map[tenantry.Service]*Forecast{}
	at := func(service tenantry.Service) *Forecast {
		if services[service] == nil {
			services[service] = &Forecast{Service: service, Used: used[service]}
		}
		return services[service]
	}
	for service := range used {
		at(service)
	}
	for _, flow := range flows {
		if flow.Service != tenantry.NoService {
			f := at(flow.Service)
			f.OpenTasks, f.Backlog = flow.Open, int64(float64(flow.Open)*flow.Units)
		}
	}
	elapsed := now.Sub(now.Truncate(24 * time.Hour))
	rest := (24*time.Hour - elapsed).Hours() / max(elapsed, leastElapsed).Hours()
	list := make([]Forecast, 0, len(services))
	for _, service := range slices.Sorted(maps.Keys(services)) {
		f := *services[service]
		f.Expected = f.Used + max(f.Backlog, int64(float64(f.Used)*rest))
		list = append(list, f)
	}
	return list
}
