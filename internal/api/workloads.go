package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// WorkloadStatus is how far a workload of a tenant is on its way to being protected, and what it can do.
type WorkloadStatus struct {
	Workload tenantry.Workload    `json:"workload"`
	Enabled  bool                 `json:"enabled" doc:"Somebody asked for it. Nothing of it is protected before"`
	State    tenantry.EnableState `json:"state" enum:"unauthorised,authorised,enabling,listing,ready,failed"`
	Reason   string               `json:"reason,omitempty" doc:"Why it is in this state, for a person"`
	Remedy   string               `json:"remedy,omitempty" doc:"What a person can do about it"`
	StateAt  *time.Time           `json:"state_at,omitempty" doc:"Since when it is in this state"`
	Trusted  bool                 `json:"trusted" doc:"Its permissions are not looked for: the customer grants them another way, such as Exchange's RBAC for Applications"`
	Eligible int64                `json:"eligible" doc:"Active resources that have it, by their licences or their kind"`
	Backup   Readiness            `json:"backup"`
	Restore  Readiness            `json:"restore"`
	// ConsentURL is on the answer of enable-workload alone.
	ConsentURL string `json:"consent_url,omitempty" doc:"When something is missing: where an administrator of the tenant consents to it. It works once"`
}

// Readiness is whether the tenant's consent, as it was proved last, allows something.
type Readiness struct {
	Ready       bool              `json:"ready"`
	Reason      string            `json:"reason,omitempty" doc:"Why it would fail"`
	Permissions []PermissionGrant `json:"permissions" nullable:"false"`
}

// PermissionGrant is a permission, what it is for, and whether the consent gives it.
type PermissionGrant struct {
	Name     string            `json:"name" example:"Mail.Read"`
	Purpose  tenantry.Purpose  `json:"purpose" enum:"list,backup,restore"`
	Workload tenantry.Workload `json:"workload,omitempty" doc:"Absent: the tenant itself"`
	For      string            `json:"for" doc:"What it allows, for a person"`
	Partial  bool              `json:"partial" doc:"Without it the rest of the workload goes on"`
	Granted  bool              `json:"granted"`
}

// grants says which permissions of a list the roles hold.
func grants(list []tenantry.Permission, roles []string) []PermissionGrant {
	out := make([]PermissionGrant, len(list))
	for i, p := range list {
		out[i] = PermissionGrant{Name: p.Name, Purpose: p.Purpose, Workload: p.Workload, For: p.For, Partial: p.Partial, Granted: p.Granted(roles)}
	}
	return out
}

// readiness is what a consent allows of one purpose of a workload.
func readiness(purpose tenantry.Purpose, w tenantry.Workload, tenant catalog.TenantRow, trusted bool) Readiness {
	list, roles := tenantry.PermissionsFor(purpose, w), tenant.Roles
	if purpose == tenantry.ToRestore {
		roles = restoreRoles(tenant)
	}
	missing, _ := tenantry.Missing(list, roles)
	r := Readiness{Permissions: grants(list, roles)}
	switch {
	case tenant.State != tenantry.TenantConnected:
		r.Reason = "the tenant is " + string(tenant.State) + ": an administrator has to consent"
	case len(list) == 0:
		r.Reason = "Microsoft lets no application write it"
	case len(missing) > 0 && !trusted:
		r.Reason = "the consent lacks " + strings.Join(missing, ", ")
	default:
		r.Ready = true
	}
	return r
}

// restoreRoles are the permissions by which restores write: of the application for restores if it has a consent.
func restoreRoles(tenant catalog.TenantRow) []string {
	if len(tenant.RestoreRoles) > 0 {
		return tenant.RestoreRoles
	}
	return tenant.Roles
}

func workloadOf(row catalog.WorkloadRow, tenant catalog.TenantRow, eligible int64) WorkloadStatus {
	return WorkloadStatus{
		Workload: row.Workload, Enabled: row.Enabled, State: row.State, Reason: row.Reason, Remedy: row.Remedy, StateAt: when(row.StateAt),
		Trusted: row.Trusted, Eligible: eligible,
		Backup:  readiness(tenantry.ToBackup, row.Workload, tenant, row.Trusted),
		Restore: readiness(tenantry.ToRestore, row.Workload, tenant, false),
	}
}

// WorkloadPath names a workload of a tenant in the path.
type WorkloadPath struct {
	TenantPath
	Workload tenantry.Workload `path:"workload" enum:"mailbox,drive,site,group,team" doc:"Which of its workloads"`
}

// EnableWorkload is how a workload is enabled.
type EnableWorkload struct {
	Trusted bool        `json:"trusted,omitempty" example:"false" doc:"Do not look for its permissions: the customer grants them another way, such as Exchange's RBAC for Applications"`
	Notices *NewNotices `json:"notices,omitempty" doc:"Who is told how the first backup of this workload goes; without it whoever is told about the tenant. Reports and trouble come by the tenant's notices: these become its own where it has none, and their addresses join its own where it has"`
}

type enableInput struct {
	WorkloadPath
	Body *EnableWorkload
}

// trusted is what the body says, which may be left out.
func (in *enableInput) trusted() bool { return in.Body != nil && in.Body.Trusted }

func (in *enableInput) audit() (tenantry.TenantID, any) {
	asked := map[string]any{"workload": in.Workload, "trusted": in.trusted()}
	if in.Body != nil && in.Body.Notices != nil {
		asked["notices"] = in.Body.Notices
	}
	return in.Tenant, asked
}

type disableInput struct{ WorkloadPath }

func (in *disableInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Workload }

type probeInput struct{ TenantPath }

func (in *probeInput) audit() (tenantry.TenantID, any) { return in.Tenant, nil }

func (s *service) workloadRoutes() {
	const tag, all, one = "tenants", "/v1/tenants/{tenant}/workloads", "/v1/tenants/{tenant}/workloads/{workload}"
	read(s, get("list-workloads", tag, all, "Show how far each workload is, what would fail and why, and whether it can be restored"), s.listWorkloads)
	write(s, post(http.StatusOK, "enable-workload", tag, one+"/enable", "Enable a workload; nothing of it is protected before"), s.enableWorkload)
	write(s, post(http.StatusOK, "disable-workload", tag, one+"/disable", "Disable a workload: it is protected no more, its backups stay"), s.disableWorkload)
	write(s, post(http.StatusCreated, "probe-tenant", tag, "/v1/tenants/{tenant}/probe",
		"Prove anew what the tenant's consent permits; connects a tenant whose consent is there already"), s.probeTenant)
}

func (s *service) listWorkloads(ctx context.Context, in *tenantInput) (*body[Page[WorkloadStatus]], error) {
	t, tenant, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	rows, err := t.Workloads(ctx)
	if err != nil {
		return nil, err
	}
	eligible, err := t.Eligible(ctx)
	if err != nil {
		return nil, err
	}
	of := func(r catalog.WorkloadRow) WorkloadStatus { return workloadOf(r, tenant, eligible[r.Workload]) }
	return paged(rows, len(rows), of, nil), nil
}

// enableWorkload reuses the consent that there is. What it lacks is asked for by a link; the workload then
// goes on by itself.
func (s *service) enableWorkload(ctx context.Context, in *enableInput) (*body[WorkloadStatus], error) {
	t, tenant, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	enabling := catalog.Enabling{Trusted: in.trusted()}
	if in.Body != nil && in.Body.Notices != nil {
		told, err := s.noticesFor(ctx, t, "", *in.Body.Notices, "body.notices")
		if err != nil {
			return nil, err
		}
		enabling.Told = &told
	}
	missing, _ := tenantry.Missing(tenantry.PermissionsFor(tenantry.ToBackup, in.Workload), tenant.Roles)
	enabling.Missing = missing
	if err := t.EnableWorkload(ctx, in.Workload, enabling, s.Now()); err != nil {
		return nil, err
	}
	var link string
	if len(missing) > 0 && !in.trusted() && s.Consent != nil {
		consent, err := s.consentLink(ctx, t, tenant, tenantry.ToBackup)
		if err != nil {
			return nil, err
		}
		link = consent.URL
	} else if err := s.relist(ctx, t, tenant); err != nil {
		return nil, err
	}
	return s.workloadAfter(ctx, t, tenant, in.Workload, link)
}

// relist starts a sync, unless one is under way.
func (s *service) relist(ctx context.Context, t *catalog.Tenant, tenant catalog.TenantRow) error {
	if tenant.State != tenantry.TenantConnected {
		return nil // connecting starts one
	}
	_, err := t.StartRun(ctx, tenantry.Sync, catalog.TriggerManual, "", []catalog.NewTask{{Action: tenantry.Sync}}, s.Now())
	if err != nil && tenantry.KindOf(err) != tenantry.Conflict {
		return err
	}
	s.wake(ctx)
	return nil
}

func (s *service) workloadAfter(ctx context.Context, t *catalog.Tenant, tenant catalog.TenantRow, w tenantry.Workload, link string) (*body[WorkloadStatus], error) {
	rows, err := t.Workloads(ctx)
	if err != nil {
		return nil, err
	}
	eligible, err := t.Eligible(ctx)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if row.Workload == w {
			status := workloadOf(row, tenant, eligible[w])
			status.ConsentURL = link
			return &body[WorkloadStatus]{status}, nil
		}
	}
	return nil, tenantry.Errorf(tenantry.Internal, "the tenant has no workload %q", w)
}

func (s *service) disableWorkload(ctx context.Context, in *disableInput) (*body[WorkloadStatus], error) {
	t, tenant, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	missing, _ := tenantry.Missing(tenantry.PermissionsFor(tenantry.ToBackup, in.Workload), tenant.Roles)
	if err := t.DisableWorkload(ctx, in.Workload, missing, s.Now()); err != nil {
		return nil, err
	}
	return s.workloadAfter(ctx, t, tenant, in.Workload, "")
}

func (s *service) probeTenant(ctx context.Context, in *probeInput) (*created[Run], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	return s.start(ctx, t, tenantry.Connect, "", []catalog.NewTask{{Action: tenantry.Connect, Params: []byte("{}")}})
}

// enabledIn tells which workloads of a tenant may be backed up.
func enabledIn(ctx context.Context, t *catalog.Tenant) (func(tenantry.Workload) bool, error) {
	rows, err := t.Workloads(ctx)
	enabled := map[tenantry.Workload]bool{}
	for _, row := range rows {
		enabled[row.Workload] = row.Protected()
	}
	return func(w tenantry.Workload) bool { return enabled[w] }, err
}
