package api

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// Feasibility says whether what Microsoft allows a tenant is enough for a policy.
type Feasibility struct {
	Feasible    bool               `json:"feasible" doc:"All of it can be paid for before the next round begins"`
	Warning     string             `json:"warning,omitempty" doc:"If not: why, for a person"`
	Interval    int64              `json:"interval_seconds" doc:"From one round to the next"`
	Takes       int64              `json:"takes_seconds" doc:"How long a round takes at least, by what Microsoft allows"`
	CompletesAt *time.Time         `json:"completes_at,omitempty" doc:"When the next round is through at the earliest"`
	Binding     string             `json:"binding,omitempty" doc:"The account that takes longest; absent if none has to be waited for" example:"sharepoint/day"`
	Workloads   []ExpectedWorkload `json:"workloads" nullable:"false" doc:"What is expected of the policy"`
	Accounts    []AccountTime      `json:"accounts" nullable:"false" doc:"What the policy and the tenant's others together ask of each account"`
}

// ExpectedWorkload is what a policy asks for one workload.
type ExpectedWorkload struct {
	Workload  tenantry.Workload `json:"workload"`
	Resources int64             `json:"resources" doc:"Active resources that have it"`
	Units     float64           `json:"units" doc:"Of each backup: resource units (drive), requests (mailbox)"`
	Basis     string            `json:"basis" enum:"history,default" doc:"Whether that is the mean of the tenant's last seven days, or a guess for an unchanged resource of average size"`
}

// AccountTime is how long one account needs for what is asked of it.
type AccountTime struct {
	Account string  `json:"account"`
	Units   float64 `json:"units" doc:"Asked of it in one round; of outlook/requests, which each mailbox has for itself, by one mailbox"`
	Limit   int64   `json:"limit" doc:"In its window"`
	Window  int64   `json:"window_seconds"`
	Takes   int64   `json:"takes_seconds"`
}

// historyDays is how many days of the ledger tell what a backup costs.
const historyDays = 7

// defaultUnits is what a backup costs until the tenant's own history tells: of a mailbox
// with 50 folders and 50 changed items, most of them in few pages, about 55 requests; of a
// drive, its delta and one file; of a site, its lists (2 units) and the delta of four of
// them; of a group, its threads and a post of each of four; of a team, its channels and
// their messages.
var defaultUnits = map[tenantry.Workload]float64{
	tenantry.Mailbox: 55, tenantry.Drive: 2, tenantry.SiteContent: 10, tenantry.GroupContent: 5, tenantry.TeamContent: 5,
}

// otherUnits is the same for workloads of a later version.
const otherUnits = 10

// feasibility tells how a policy stands beside the tenant's others. Of one that is active, what it
// protects counts; of others what the forecast says, which is made if it is not given.
func (s *service) feasibility(ctx context.Context, t *catalog.Tenant, row catalog.TenantRow, p catalog.Policy, f *catalog.Forecast) (*Feasibility, error) {
	now := s.Now()
	policies, err := t.Policies(ctx)
	if err != nil {
		return nil, err
	}
	days, err := t.Ledger(ctx, now.AddDate(0, 0, 1-historyDays), now)
	if err != nil {
		return nil, err
	}
	protected, err := t.CountProtections(ctx)
	if err != nil {
		return nil, err
	}
	targets, stored := protected[p.ID]
	if f == nil && (!stored || p.State == catalog.PolicyDraft) {
		made, err := t.Forecast(ctx, p)
		if err != nil {
			return nil, err
		}
		f = &made
	}
	if f != nil {
		targets = f.Workloads
	}
	own := workloadsOf(p, targets, days)
	demands := demandsOf(own)
	for _, other := range policies {
		if other.ID != p.ID {
			demands = append(demands, demandsOf(workloadsOf(other, protected[other.ID], days))...)
		}
	}
	found := s.Limits.Feasibility(throttle.Size{Users: row.Users, Licences: row.Licences}, demands)
	return feasibilityOf(p, own, found, now), nil
}

// workloadsOf is what one round of a policy asks for, by workload.
func workloadsOf(p catalog.Policy, targets map[tenantry.Workload]int64, days []catalog.Ledger) []ExpectedWorkload {
	list := make([]ExpectedWorkload, 0, len(p.Workloads))
	for _, w := range p.Workloads {
		units, basis := unitsOfBackup(w, days)
		list = append(list, ExpectedWorkload{Workload: w, Resources: targets[w], Units: units, Basis: basis})
	}
	return list
}

// unitsOfBackup is the mean over the days, or a default.
func unitsOfBackup(w tenantry.Workload, days []catalog.Ledger) (units float64, basis string) {
	var cost, backups int64
	for _, d := range days {
		cost, backups = cost+d.Cost[w], backups+d.Backups[w]
	}
	if cost > 0 && backups > 0 {
		return float64(cost) / float64(backups), "history"
	}
	if units, ok := defaultUnits[w]; ok {
		return units, "default"
	}
	return otherUnits, "default"
}

func demandsOf(list []ExpectedWorkload) (demands []throttle.Demand) {
	for _, e := range list {
		demands = append(demands, throttle.Demand{
			Service: tenantry.ServiceOf(tenantry.Backup, e.Workload), Resources: e.Resources, Units: e.Units,
		})
	}
	return demands
}

// feasibilityOf puts a finding into words.
func feasibilityOf(p catalog.Policy, own []ExpectedWorkload, found throttle.Feasibility, now time.Time) *Feasibility {
	interval := p.Interval()
	f := &Feasibility{
		Feasible: found.Takes <= interval, Interval: seconds(interval), Takes: seconds(found.Takes),
		Binding: found.Binding, Workloads: own, Accounts: make([]AccountTime, 0, len(found.Accounts)),
	}
	for _, a := range found.Accounts {
		f.Accounts = append(f.Accounts, AccountTime{
			Account: a.Name, Units: a.Units, Limit: a.Limit, Window: seconds(a.Window), Takes: seconds(a.Takes),
		})
	}
	through := max(found.Takes, time.Duration(p.Window)*time.Minute) // the last ones start at the window's end
	if opens := opening(p, now); through < 100*365*24*time.Hour {
		f.CompletesAt = when(opens.Add(through))
	}
	if !f.Feasible {
		f.Warning = fmt.Sprintf("Microsoft's limit %s allows one round in %s at best, not in %s: resources will be backed up less often than the policy says",
			f.Binding, found.Takes.Round(time.Minute), interval)
	}
	return f
}

// opening is when the policy's window opens next; a policy that spreads over the whole time has none.
func opening(p catalog.Policy, now time.Time) time.Time {
	if p.Schedule == catalog.ScheduleDaily || p.Schedule == catalog.ScheduleEvery {
		return now
	}
	p.Window, p.Schedule = 1, catalog.ScheduleFixed // no start is spread by more than a minute
	return catalog.NextDue(p, "", "", now).Truncate(time.Minute)
}

func seconds(d time.Duration) int64 { return int64(d.Round(time.Second) / time.Second) }

// PolicyPreview says whom a policy would cover if it were active, and what that takes.
type PolicyPreview struct {
	Feasibility
	Resources int64    `json:"resources" doc:"That it would protect, with a seat where they need one"`
	Newly     int64    `json:"newly_protected" doc:"Of these, those that nothing protects now"`
	Yielded   int64    `json:"protected_by_others" doc:"That it covers and another policy protects, which goes before it"`
	Unseated  int64    `json:"without_seat" doc:"That would not be protected for want of a seat"`
	Seats     int64    `json:"seats_needed" doc:"Seats it would take beyond those that are taken"`
	Used      int64    `json:"seats_used" doc:"Seats that are taken now"`
	Soft      int64    `json:"soft_quota,omitempty"`
	Hard      int64    `json:"hard_quota,omitempty"`
	Units     []Units  `json:"units_per_round" nullable:"false" doc:"What one round asks of Microsoft's accounts"`
	Unlisted  []string `json:"groups_not_listed" nullable:"false" doc:"Groups it names whose members no sync has listed yet: they are not counted"`
}

type previewPolicyInput struct {
	TenantPath
	Body NewPolicy
}

// previewPolicy answers as if the policy had been added and activated.
func (s *service) previewPolicy(ctx context.Context, in *previewPolicyInput) (*body[PolicyPreview], error) {
	t, row, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := s.newPolicyRow(ctx, t, in.Body)
	if err != nil {
		return nil, err
	}
	return s.foretell(ctx, t, row, p)
}

func (s *service) forecastPolicy(ctx context.Context, in *policyInput) (*body[PolicyPreview], error) {
	t, row, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	p, err := policyIn(ctx, t, in.Policy)
	if err != nil {
		return nil, err
	}
	return s.foretell(ctx, t, row, p)
}

func (s *service) foretell(ctx context.Context, t *catalog.Tenant, row catalog.TenantRow, p catalog.Policy) (*body[PolicyPreview], error) {
	f, err := t.Forecast(ctx, p)
	if err != nil {
		return nil, err
	}
	feasibility, err := s.feasibility(ctx, t, row, p, &f)
	if err != nil {
		return nil, err
	}
	units := map[tenantry.Service]int64{}
	for _, w := range feasibility.Workloads {
		units[tenantry.ServiceOf(tenantry.Backup, w.Workload)] += int64(math.Ceil(float64(w.Resources) * w.Units))
	}
	return &body[PolicyPreview]{PolicyPreview{
		Feasibility: *feasibility, Resources: f.Resources - f.Unseated, Newly: f.Newly, Yielded: f.Yielded, Unseated: f.Unseated,
		Seats: f.Seats, Used: f.Used, Soft: f.Soft, Hard: f.Hard, Units: unitsOf(units), Unlisted: append([]string{}, f.Unlisted...),
	}}, nil
}
