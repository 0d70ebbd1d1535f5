package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Process is a live worker or scheduler.
type Process struct {
	ID    tenantry.ProcessID
	Role  string         // worker, scheduler
	Slots map[string]int // per queue
	Pool  string         // whose tenants it works for, default MainPool
}

// Lead takes or renews the leader lease for ttl. The fence rises with every change of
// leader. ok=false: somebody else leads. The database's clock decides.
func (f *Fleet) Lead(ctx context.Context, p tenantry.ProcessID, ttl time.Duration) (fence int64, ok bool, err error) {
	var fences []int64
	err = f.c.write(ctx, "take the lead", func(ctx context.Context, tx bun.Tx) error {
		fences = nil
		return scan(ctx, tx, &fences, `
			UPDATE leader SET fence = CASE WHEN process = ?0 THEN fence ELSE fence + 1 END, process = ?0, expires_at = ?1 + ?2
			WHERE process = ?0 OR expires_at <= ?1 RETURNING fence`, p, f.c.now(), ttl.Microseconds())
	})
	if err != nil || len(fences) == 0 {
		return 0, false, err
	}
	return fences[0], true, nil
}

// Resign gives up the lead, if p has it: another scheduler takes over at once, and what p
// still writes is Fenced.
func (f *Fleet) Resign(ctx context.Context, p tenantry.ProcessID) error {
	return f.c.one(ctx, "resign the lead", nil, "UPDATE leader SET process = '', expires_at = 0 WHERE process = ?", p)
}

// Beat renews a process lease for ttl (creating it), by the database's clock.
func (f *Fleet) Beat(ctx context.Context, p Process, ttl time.Duration) error {
	op := "renew the lease of process " + string(p.ID)
	slots, err := json.Marshal(p.Slots)
	if err != nil {
		return tenantry.E(tenantry.Invalid, op, err)
	}
	return f.c.one(ctx, op, nil, `INSERT INTO processes (id, role, slots, pool, expires_at) VALUES (?, ?, ?, ?, ? + ?)
		ON CONFLICT (id) DO UPDATE SET role = excluded.role, slots = excluded.slots, pool = excluded.pool, expires_at = excluded.expires_at`,
		p.ID, p.Role, string(slots), cmp.Or(p.Pool, MainPool), f.c.now(), ttl.Microseconds())
}

// Leave ends a process lease at a clean stop: what the process still runs is ready again, or
// ends if it is to be canceled; its series are free, and no failure is counted.
func (f *Fleet) Leave(ctx context.Context, p tenantry.ProcessID) error {
	return f.c.write(ctx, "leave the fleet as "+string(p), func(ctx context.Context, tx bun.Tx) error {
		if _, err := exec(ctx, tx, "DELETE FROM processes WHERE id = ?", p); err != nil {
			return err
		}
		left, err := giveUp(ctx, tx, []tenantry.ProcessID{p}, "its worker stopped", 0)
		if err != nil {
			return err
		}
		return f.c.endCanceled(ctx, tx, left, time.Now())
	})
}

// Reap ends the leases that have expired and makes the tasks of those processes ready
// again (series released, one failure counted, so that a task which kills its workers
// comes to an end), or ends them if they are to be canceled; it returns how many tasks. What a dead slice waited for itself nobody
// knows: all of the time from its admission to now counts as waiting for workers. The leases
// are judged by the database's clock.
func (f *Fleet) Reap(ctx context.Context, now time.Time) (tasks int, err error) {
	err = f.c.write(ctx, "reap expired processes", func(ctx context.Context, tx bun.Tx) error {
		tasks = 0
		var dead []tenantry.ProcessID
		if err := scan(ctx, tx, &dead, "DELETE FROM processes WHERE expires_at <= ? RETURNING id", f.c.now()); err != nil || len(dead) == 0 {
			return err
		}
		lost, err := giveUp(ctx, tx, dead, "its worker died", 1)
		if err != nil {
			return err
		}
		tasks = len(lost)
		if err := chargeWorkers(ctx, tx, lost, now); err != nil {
			return err
		}
		return f.c.endCanceled(ctx, tx, lost, now)
	})
	return tasks, err
}

// chargeWorkers adds the time that tasks lost with their workers to their delays, and to the
// ledgers of their runs and days.
func chargeWorkers(ctx context.Context, tx bun.Tx, lost []taskRow, now time.Time) error {
	settled := make([]*settleAsk, 0, len(lost))
	var values rows
	for _, row := range lost {
		task := row.task()
		delays := tenantry.Delays{Worker: max(0, now.Sub(task.AdmittedAt))}
		settled = append(settled, &settleAsk{claim: Claim{Task: task}, Settlement: Settlement{State: TaskReady, Delays: delays}, now: now})
		values = append(values, []any{row.Tenant, row.ID, encodeDelays(task.Delays.Add(delays))})
	}
	for chunk := range slices.Chunk(values, batch) {
		_, err := exec(ctx, tx, `WITH v (v_tenant, v_id, v_delays) AS (VALUES ?)
			UPDATE tasks SET delays = v_delays FROM v WHERE tenant = v_tenant AND id = v_id`, chunk)
		if err != nil {
			return err
		}
	}
	return literal{tx}.run(ctx, enterLedger(settled, entriesOf)...)
}

// giveUp makes the running tasks of processes ready again, frees their series, and returns
// the tasks.
func giveUp(ctx context.Context, tx bun.Tx, dead []tenantry.ProcessID, reason string, failures int) ([]taskRow, error) {
	var given []taskRow
	err := scan(ctx, tx, &given, `UPDATE tasks SET state = 'ready', process = '', reason = ?, kind = ?, attempt = attempt + ?
		WHERE NOT waiting AND state = 'running' AND process IN (?) RETURNING ?`, reason, tenantry.Transient, failures, bun.List(dead), taskColumns)
	if err != nil {
		return nil, err
	}
	_, err = exec(ctx, tx, `UPDATE series SET owner_task = '', owner_process = ''
		WHERE owner_process <> '' AND owner_process IN (?)`, bun.List(dead))
	return given, err
}

// Processes lists the processes whose lease is in force, by ID.
func (f *Fleet) Processes(ctx context.Context) ([]Process, error) {
	const op = "list processes"
	var found []struct {
		ID    tenantry.ProcessID
		Role  string
		Slots string
		Pool  string
	}
	if err := f.c.read(ctx, op, &found, "SELECT id, role, slots, pool FROM processes WHERE expires_at > ? ORDER BY id", f.c.now()); err != nil {
		return nil, err
	}
	out := make([]Process, len(found))
	for i, row := range found {
		out[i] = Process{ID: row.ID, Role: row.Role, Pool: row.Pool}
		if err := json.Unmarshal([]byte(row.Slots), &out[i].Slots); err != nil {
			return nil, tenantry.E(tenantry.Internal, fmt.Sprintf("%s: slots of %s", op, row.ID), err)
		}
	}
	return out, nil
}
