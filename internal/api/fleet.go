package api

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Alarm is a shared cause that holds up every tenant.
type Alarm struct {
	Cause  string     `json:"cause" doc:"credential, bucket, redis, catalog, graph, key" example:"bucket"`
	Detail string     `json:"detail" doc:"What was seen"`
	Since  *time.Time `json:"since,omitempty"`
	Until  *time.Time `json:"until,omitempty" doc:"Admission is held up until then; then one task is tried, and the alarm goes on or ends"`
	Times  int        `json:"times" doc:"How often it was seen"`
}

func alarmOf(a catalog.Alarm) Alarm {
	return Alarm{Cause: a.Cause, Detail: a.Detail, Since: when(a.Since), Until: when(a.Until), Times: a.Times}
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

func (s *service) fleetRoutes() {
	read(s, get("list-alarms", "fleet", "/v1/alarms", "List what holds up every tenant now"), s.listAlarms)
	read(s, get("list-processes", "fleet", "/v1/processes", "List the workers and schedulers that are alive"), s.listProcesses)
}

func (s *service) listAlarms(ctx context.Context, _ *struct{}) (*body[Page[Alarm]], error) {
	// One that ran out and was not ended by a probe goes on for all we know.
	rows, err := s.Catalog.Fleet().Paused(ctx, s.Now().Add(-catalog.AlarmMemory))
	if err != nil {
		return nil, err
	}
	return paged(rows, len(rows), alarmOf, nil), nil
}

func (s *service) listProcesses(ctx context.Context, _ *struct{}) (*body[Page[Process]], error) {
	rows, err := s.Catalog.Fleet().Processes(ctx)
	if err != nil {
		return nil, err
	}
	return paged(rows, len(rows), processOf, nil), nil
}
