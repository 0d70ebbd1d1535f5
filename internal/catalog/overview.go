package catalog

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Overview is how the whole fleet is now in numbers, all of one moment.
type Overview struct {
	Tenants      map[tenantry.TenantState]int64
	Ready        map[string]int64   // tasks that wait, by queue
	InFlight     map[string]int64   // tasks that are admitted or running, by queue
	Backups      map[RunState]int64 // runs of the last day
	TenantAlarms map[string]int64   // by cause
}

// Inventory is what the whole fleet protects in numbers, all of one moment.
type Inventory struct {
	Resources map[tenantry.LifeState]int64
	Protected int64 // enrolments: a workload of a resource in a policy
	Unsaved   int64 // of these, those without any snapshot
}

// Overview counts what goes on, in one statement: about as long as it takes to count the tasks
// that wait.
func (f *Fleet) Overview(ctx context.Context, now time.Time) (Overview, error) {
	o := Overview{
		Tenants: map[tenantry.TenantState]int64{}, Ready: map[string]int64{}, InFlight: map[string]int64{},
		Backups: map[RunState]int64{}, TenantAlarms: map[string]int64{},
	}
	err := f.numbers(ctx, "count the fleet", func(what, name string, n int64) {
		switch what {
		case "tenant":
			o.Tenants[tenantry.TenantState(name)] = n
		case "ready":
			o.Ready[name] = n
		case "flight":
			o.InFlight[name] = n
		case "backup":
			o.Backups[RunState(name)] = n
		case "alarm":
			o.TenantAlarms[name] = n
		}
	}, `
		SELECT 'tenant' AS what, state AS name, count(*) AS n FROM tenants GROUP BY state
		UNION ALL SELECT CASE WHEN state = 'ready' THEN 'ready' ELSE 'flight' END, queue, count(*) FROM tasks
			WHERE state IN ('ready', 'admitted', 'running') GROUP BY 1, 2
		UNION ALL SELECT 'backup', state, count(*) FROM runs WHERE id >= ?0 AND action = ?1 GROUP BY state
		UNION ALL SELECT 'alarm', cause, count(*) FROM tenant_alarms GROUP BY cause`,
		tenantry.TaskIDFloor(now.Add(-24*time.Hour)), tenantry.Backup)
	return o, err
}

// Inventory counts what there is, in one statement that reads the rows of all tenants: half a
// second and more where 400,000 resources have been backed up.
func (f *Fleet) Inventory(ctx context.Context) (Inventory, error) {
	i := Inventory{Resources: map[tenantry.LifeState]int64{}}
	err := f.numbers(ctx, "count what the fleet protects", func(what, name string, n int64) {
		switch what {
		case "resource":
			i.Resources[tenantry.LifeState(name)] = n
		case "unsaved":
			i.Protected, i.Unsaved = i.Protected+n, i.Unsaved+n
		case "saved":
			i.Protected += n
		}
	}, `
		SELECT 'resource' AS what, state AS name, count(*) AS n FROM resources GROUP BY state
		UNION ALL SELECT CASE WHEN s.tenant IS NULL THEN 'unsaved' ELSE 'saved' END, '', count(*)
			FROM protections p LEFT JOIN series s
			ON s.tenant = p.tenant AND s.resource = p.resource AND s.workload = p.workload AND s.saved_at > 0
			GROUP BY 1, 2`)
	return i, err
}

// numbers reads rows of a kind of number, a name and a number.
func (f *Fleet) numbers(ctx context.Context, op string, each func(what, name string, n int64), query string, args ...any) error {
	var found []struct {
		What string
		Name string
		N    int64
	}
	err := f.c.read(ctx, op, &found, query, args...)
	for _, row := range found {
		each(row.What, row.Name, row.N)
	}
	return err
}
