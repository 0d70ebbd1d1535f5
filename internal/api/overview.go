package api

import (
	"context"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// overviewRuns is how many runs an overview shows.
const overviewRuns = 10

// TenantOverview is what a person wants to know first about a tenant.
type TenantOverview struct {
	Tenant    Tenant          `json:"tenant"`
	Coverage  Coverage        `json:"coverage"`
	Workloads []WorkloadState `json:"workloads" nullable:"false"`
	Seats     Licensing       `json:"seats"`
	Alarms    []TenantAlarm   `json:"alarms" nullable:"false" doc:"What is wrong with it now"`
	Running   []Run           `json:"running" nullable:"false" doc:"Its runs that are under way, newest first, at most 10"`
	Failed    []Run           `json:"failed" nullable:"false" doc:"Its runs that failed, newest first, at most 10"`
}

// WorkloadState is how far a workload is.
type WorkloadState struct {
	Workload tenantry.Workload    `json:"workload"`
	Enabled  bool                 `json:"enabled"`
	State    tenantry.EnableState `json:"state" enum:"unauthorised,authorised,enabling,listing,ready,failed"`
	Reason   string               `json:"reason,omitempty"`
	Remedy   string               `json:"remedy,omitempty"`
}

func (s *service) overviewRoutes() {
	read(s, get("get-tenant-overview", "tenants", "/v1/tenants/{tenant}/overview", "Show how a tenant is: protection, workloads, seats, alarms, runs"), s.tenantOverview)
}

func (s *service) tenantOverview(ctx context.Context, in *tenantInput) (*body[TenantOverview], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	tenant, err := s.getTenant(ctx, in)
	if err != nil {
		return nil, err
	}
	coverage, err := t.Coverage(ctx, s.Now())
	if err != nil {
		return nil, err
	}
	seats, err := s.getLicensing(ctx, in)
	if err != nil {
		return nil, err
	}
	alarms, err := s.listAlarmsOfTenant(ctx, in)
	if err != nil {
		return nil, err
	}
	o := TenantOverview{Tenant: tenant.Body, Coverage: coverageOf(coverage), Seats: seats.Body, Alarms: alarms.Body.Items}
	if o.Workloads, err = workloadStates(ctx, t); err != nil {
		return nil, err
	}
	for state, list := range map[catalog.RunState]*[]Run{catalog.RunRunning: &o.Running, catalog.RunFailed: &o.Failed} {
		rows, err := t.RunsOf(ctx, catalog.RunFilter{State: state}, "", overviewRuns)
		if err != nil {
			return nil, err
		}
		*list = paged(rows, overviewRuns, runOf, nil).Body.Items
	}
	return &body[TenantOverview]{o}, nil
}

func workloadStates(ctx context.Context, t *catalog.Tenant) ([]WorkloadState, error) {
	rows, err := t.Workloads(ctx)
	list := make([]WorkloadState, 0, len(rows))
	for _, w := range rows {
		list = append(list, WorkloadState{w.Workload, w.Enabled, w.State, w.Reason, w.Remedy})
	}
	return list, err
}
