package api

import (
	"context"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Alarm is a shared cause that holds up every tenant, or a warning of one that will.
type Alarm struct {
	Cause   string     `json:"cause" doc:"credential, bucket, redis, catalog, graph, key; a warning: credential (the provider's ends within 30 days), credential_last (within a week, has ended, or is refused)" example:"bucket"`
	Warning bool       `json:"warning" doc:"Nothing is held up yet"`
	Subject string     `json:"subject,omitempty" doc:"Of a warning: which credential"`
	Detail  string     `json:"detail" doc:"What was seen"`
	Since   *time.Time `json:"since,omitempty"`
	Until   *time.Time `json:"until,omitempty" doc:"Admission is held up until then; then one task is tried, and the alarm goes on or ends"`
	Times   int        `json:"times" doc:"How often it was seen; of a warning 0"`
}

func alarmOf(a catalog.Alarm) Alarm {
	return Alarm{Cause: a.Cause, Detail: a.Detail, Since: when(a.Since), Until: when(a.Until), Times: a.Times}
}

func warningOf(w catalog.ProviderWarning) Alarm {
	return Alarm{Cause: w.Cause, Warning: true, Subject: w.Subject, Detail: w.Detail, Since: when(w.Since)}
}

// TenantAlarm is what is wrong with one tenant; others go on.
type TenantAlarm struct {
	Tenant     tenantry.TenantID `json:"tenant"`
	TenantName string            `json:"tenant_name,omitempty" doc:"What people call the tenant"`
	Cause      string            `json:"cause" doc:"key: its key does not open; damage: what is stored of a series is damaged; place: no worker of its pool can reach its data region or its cloud; credential: one of its own ends within 30 days; credential_last: within a week, has ended, or is refused; mass_change: pruning is suspended; quota_soft, quota_hard: seats are short" example:"key"`
	Subject    string            `json:"subject,omitempty" doc:"The series, as resource/workload; absent: the whole tenant"`
	Detail     string            `json:"detail" doc:"What was seen last"`
	Since      *time.Time        `json:"since,omitempty"`
	Seen       *time.Time        `json:"seen,omitempty" doc:"When it was seen last"`
}

func tenantAlarmOf(a catalog.TenantAlarm) TenantAlarm {
	return TenantAlarm{Tenant: a.Tenant, Cause: a.Cause, Subject: a.Subject, Detail: a.Detail, Since: when(a.Since), Seen: when(a.Seen)}
}

type listTenantAlarmsInput struct {
	Cause string `query:"cause" enum:"key,damage,place,credential,credential_last,mass_change,quota_soft,quota_hard" doc:"Only those of one cause"`
	PageQuery
}

// Process is a worker or scheduler that is alive.
type Process struct {
	ID    tenantry.ProcessID `json:"id"`
	Role  string             `json:"role" doc:"worker, scheduler"`
	Slots map[string]int     `json:"slots" doc:"How many tasks it runs at once, by queue"`
}

func processOf(p catalog.Process) Process {
	slots := p.Slots
	if slots == nil {
		slots = map[string]int{}
	}
	return Process{ID: p.ID, Role: p.Role, Slots: slots}
}

// Overview is the whole fleet in numbers.
type Overview struct {
	Tenants   map[string]int64 `json:"tenants" doc:"By state: pending, connected, disconnected, refused, ..."`
	Resources ResourceCounts   `json:"resources" doc:"Counted at counted_at"`
	Protected int64            `json:"protected" doc:"Enrolments: workloads of resources that a policy covers; counted at counted_at"`
	Unsaved   int64            `json:"unsaved" doc:"Of these, those without any snapshot; counted at counted_at"`
	CountedAt time.Time        `json:"counted_at" doc:"When resources, protected and unsaved were counted: in a large fleet up to 30 seconds ago. All else is of now"`
	Ready     map[string]int64 `json:"ready" doc:"Tasks that wait, by queue"`
	InFlight  map[string]int64 `json:"in_flight" doc:"Tasks that are admitted or running, by queue"`
	Backups   map[string]int64 `json:"backups" doc:"Backup runs of the last 24 hours, by state: running, done, partial, failed"`
	Alarms    []Alarm          `json:"alarms" nullable:"false" doc:"What holds up every tenant, and warnings of what will"`
	Troubled  map[string]int64 `json:"troubled" doc:"Alarms of single tenants, by cause: key, damage, place, credential, credential_last, mass_change, quota_soft, quota_hard"`
	Processes map[string]int64 `json:"processes" doc:"Those that are alive, by role"`
}

// words are the keys of a map as text.
func words[K ~string](counts map[K]int64) map[string]int64 {
	out := make(map[string]int64, len(counts))
	for k, n := range counts {
		out[string(k)] = n
	}
	return out
}

func (s *service) overview(ctx context.Context, _ *struct{}) (*body[Overview], error) {
	fleet := s.Catalog.Fleet()
	counts, err := fleet.Overview(ctx, s.Now())
	if err != nil {
		return nil, err
	}
	stock, at, err := s.inventory.get(ctx, s.Now, fleet.Inventory)
	if err != nil {
		return nil, err
	}
	alarms, err := s.listAlarms(ctx, nil)
	if err != nil {
		return nil, err
	}
	alive, err := fleet.Processes(ctx)
	if err != nil {
		return nil, err
	}
	o := Overview{
		Tenants: words(counts.Tenants), Protected: stock.Protected, Unsaved: stock.Unsaved, CountedAt: at.UTC(),
		Resources: ResourceCounts{
			Active: stock.Resources[tenantry.Active], Inactive: stock.Resources[tenantry.Inactive], Gone: stock.Resources[tenantry.Gone],
		},
		Ready: counts.Ready, InFlight: counts.InFlight, Backups: words(counts.Backups), Troubled: counts.TenantAlarms,
		Alarms: alarms.Body.Items, Processes: map[string]int64{},
	}
	for _, p := range alive {
		o.Processes[p.Role]++
	}
	return &body[Overview]{o}, nil
}

func (s *service) fleetRoutes() {
	read(s, get("get-fleet", "fleet", "/v1/fleet", "Show the whole fleet in numbers"), s.overview)
	read(s, get("list-backlogs", "fleet", "/v1/backlogs", "List the tenants with the most to do: backlog, what it waits for, budget"), s.listBacklogs)
	read(s, get("list-alarms", "fleet", "/v1/alarms", "List what holds up every tenant now, and warnings of what will"), s.listAlarms)
	read(s, get("list-tenant-alarms", "fleet", "/v1/tenant-alarms", "List what is wrong with single tenants; the others go on"), s.listTenantAlarms)
	read(s, get("list-alarms-of-tenant", "fleet", "/v1/tenants/{tenant}/alarms", "List what is wrong with a tenant"), s.listAlarmsOfTenant)
	read(s, get("list-processes", "fleet", "/v1/processes", "List the workers and schedulers that are alive"), s.listProcesses)
}

func (s *service) listAlarms(ctx context.Context, _ *struct{}) (*body[Page[Alarm]], error) {
	// One that ran out and was not ended by a probe goes on for all we know.
	rows, err := s.Catalog.Fleet().Paused(ctx, s.Now().Add(-catalog.AlarmMemory))
	if err != nil {
		return nil, err
	}
	warnings, err := s.Catalog.Fleet().Warnings(ctx, s.Now())
	if err != nil {
		return nil, err
	}
	answer := paged(rows, len(rows), alarmOf, nil)
	for _, w := range warnings {
		answer.Body.Items = append(answer.Body.Items, warningOf(w))
	}
	return answer, nil
}

// listTenantAlarms pages by whole tenants: the cursor is the last one, whose alarms are all on the page.
func (s *service) listTenantAlarms(ctx context.Context, in *listTenantAlarmsInput) (*body[Page[TenantAlarm]], error) {
	rows, err := s.Catalog.Fleet().TenantAlarms(ctx, in.Cause, tenantry.TenantID(in.After), in.Limit+1)
	if err != nil {
		return nil, err
	}
	next := ""
	if len(rows) > in.Limit {
		last := rows[in.Limit].Tenant // perhaps not whole
		whole := slices.IndexFunc(rows, func(a catalog.TenantAlarm) bool { return a.Tenant == last })
		if whole == 0 { // one tenant alone fills the page: its own list has the rest
			whole = in.Limit
		}
		rows = rows[:whole]
		next = string(rows[whole-1].Tenant)
	}
	answer := paged(rows, len(rows), tenantAlarmOf, nil)
	answer.Body.Next = next
	return answer, nil
}

func (s *service) listAlarmsOfTenant(ctx context.Context, in *tenantInput) (*body[Page[TenantAlarm]], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	rows, err := t.Alarms(ctx)
	if err != nil {
		return nil, err
	}
	return paged(rows, len(rows), tenantAlarmOf, nil), nil
}

func (s *service) listProcesses(ctx context.Context, _ *struct{}) (*body[Page[Process]], error) {
	rows, err := s.Catalog.Fleet().Processes(ctx)
	if err != nil {
		return nil, err
	}
	return paged(rows, len(rows), processOf, nil), nil
}
