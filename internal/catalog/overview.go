package catalog

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Overview is the whole fleet in numbers, all of one moment.
type Overview struct {
	Tenants      map[tenantry.TenantState]int64
	Resources    map[tenantry.LifeState]int64
	Protected    int64              // enrolments: a workload of a resource in a policy
	Unsaved      int64              // of these, those without any snapshot
	Ready        map[string]int64   // tasks that wait, by queue
	InFlight     map[string]int64   // tasks that are admitted or running, by queue
	Backups      map[RunState]int64 // runs of the last day
	TenantAlarms map[string]int64   // by cause
}

// Overview counts what there is, in one statement: about as long as it takes to count the
// resources of all tenants.
func (f *Fleet) Overview(ctx context.Context, now time.Time) (Overview, error) {
	var found []struct {
		What string
		Name string
		N    int64
	}
	err := f.c.read(ctx, "count the fleet", &found, `
		SELECT 'tenant' AS what, state AS name, count(*) AS n FROM tenants GROUP BY state
		UNION ALL SELECT 'resource', state, count(*) FROM resources GROUP BY state
		UNION ALL SELECT 'protected', '', count(*) FROM protections
		UNION ALL SELECT 'unsaved', '', count(*) FROM protections p WHERE NOT EXISTS (SELECT 1 FROM series s
			WHERE s.tenant = p.tenant AND s.resource = p.resource AND s.workload = p.workload AND s.saved_at > 0)
		UNION ALL SELECT CASE WHEN state = 'ready' THEN 'ready' ELSE 'flight' END, queue, count(*) FROM tasks
			WHERE state IN ('ready', 'admitted', 'running') GROUP BY 1, 2
		UNION ALL SELECT 'backup', state, count(*) FROM runs WHERE id >= ?0 AND action = ?1 GROUP BY state
		UNION ALL SELECT 'alarm', cause, count(*) FROM tenant_alarms GROUP BY cause`,
		tenantry.TaskIDFloor(now.Add(-24*time.Hour)), tenantry.Backup)
	o := Overview{
		Tenants: map[tenantry.TenantState]int64{}, Resources: map[tenantry.LifeState]int64{}, Ready: map[string]int64{},
		InFlight: map[string]int64{}, Backups: map[RunState]int64{}, TenantAlarms: map[string]int64{},
	}
	for _, row := range found {
		switch row.What {
		case "tenant":
			o.Tenants[tenantry.TenantState(row.Name)] = row.N
		case "resource":
			o.Resources[tenantry.LifeState(row.Name)] = row.N
		case "protected":
			o.Protected = row.N
		case "unsaved":
			o.Unsaved = row.N
		case "ready":
			o.Ready[row.Name] = row.N
		case "flight":
			o.InFlight[row.Name] = row.N
		case "backup":
			o.Backups[RunState(row.Name)] = row.N
		case "alarm":
			o.TenantAlarms[row.Name] = row.N
		}
	}
	return o, err
}
