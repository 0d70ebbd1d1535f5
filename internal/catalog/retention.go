package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

func encodeRetention(r tenantry.Retention) string {
	if r == (tenantry.Retention{}) {
		return ""
	}
	text, _ := json.Marshal(r) // numbers and a time
	return string(text)
}

// decodeRetention reads a policy's rules. What cannot be read keeps everything: a version that knows
// more rules may have written it.
func decodeRetention(text string) tenantry.Retention {
	var r tenantry.Retention
	if text != "" && json.Unmarshal([]byte(text), &r) != nil {
		r = tenantry.Retention{}
	}
	return r
}

// SetRetention replaces the rules of a policy; they count from the next prune on. Invalid names the
// field; NotFound.
func (t *Tenant) SetRetention(ctx context.Context, id tenantry.PolicyID, r tenantry.Retention) error {
	if err := r.Validate(); err != nil {
		return err
	}
	op := fmt.Sprintf("set retention of policy %s of tenant %s", id, t.id)
	return t.c.one(ctx, op, noPolicy(op), "UPDATE policies SET retention = ? WHERE tenant = ? AND id = ? AND state <> 'deleted'", encodeRetention(r), t.id, id)
}

// Hold is a legal hold: nothing of the resource is dropped, or of the whole tenant.
type Hold struct {
	Resource tenantry.ResourceID // "": the tenant
	Reason   string
	Actor    string // who set it
	At       time.Time
}

// SetHold sets a legal hold, or changes its reason. Invalid: no reason; NotFound: no such tenant.
func (t *Tenant) SetHold(ctx context.Context, h Hold) error {
	op := fmt.Sprintf("set a hold of tenant %s", t.id)
	if h.Reason == "" {
		return tenantry.Errorf(tenantry.Invalid, "%s: reason is empty", op)
	}
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.exists(ctx, tx, op); err != nil {
			return err
		}
		_, err := exec(ctx, tx, `INSERT INTO holds (tenant, resource, reason, actor, at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (tenant, resource) DO UPDATE SET reason = excluded.reason, actor = excluded.actor, at = excluded.at`,
			t.id, h.Resource, h.Reason, h.Actor, micros(h.At))
		return err
	})
}

// LiftHold ends a legal hold. NotFound.
func (t *Tenant) LiftHold(ctx context.Context, resource tenantry.ResourceID) error {
	op := fmt.Sprintf("lift a hold of tenant %s", t.id)
	return t.c.one(ctx, op, tenantry.Errorf(tenantry.NotFound, "%s: there is none", op),
		"DELETE FROM holds WHERE tenant = ? AND resource = ?", t.id, resource)
}

// Holds lists the legal holds of the tenant, that of the whole tenant first.
func (t *Tenant) Holds(ctx context.Context) ([]Hold, error) {
	var found []struct {
		Resource tenantry.ResourceID
		Reason   string
		Actor    string
		At       int64
	}
	err := t.c.read(ctx, "list holds of tenant "+string(t.id), &found,
		"SELECT resource, reason, actor, at FROM holds WHERE tenant = ? ORDER BY resource", t.id)
	out := make([]Hold, len(found))
	for i, row := range found {
		out[i] = Hold{row.Resource, row.Reason, row.Actor, fromMicros(row.At)}
	}
	return out, err
}

// SeriesStanding is what retention needs to know of a series beside its snapshots.
type SeriesStanding struct {
	Policies  []tenantry.Retention // those that protect it, or did before its resource departed
	PolicyIDs []tenantry.PolicyID  // of Policies
	Departed  time.Time            // zero: it is there
	Hold      string               // the legal hold that covers it
	Suspended string               // the mass change that suspends its pruning
	Compared  int64                // newest snapshot that was looked at for one, or acknowledged
	InUse     map[int64]string     // snapshots that unfinished tasks read
}

// With returns what the standing would be under other rules of a policy; their time zone is the policy's.
func (s SeriesStanding) With(id tenantry.PolicyID, rules tenantry.Retention) SeriesStanding {
	s.Policies = slices.Clone(s.Policies)
	for i, one := range s.PolicyIDs {
		if one == id {
			rules.Zone = s.Policies[i].Zone
			s.Policies[i] = rules
		}
	}
	return s
}

// Keep decides on snapshots as of now. See tenantry.Keep.
func (s SeriesStanding) Keep(points []tenantry.RestorePoint, now time.Time) []tenantry.Kept {
	hold := s.Hold
	if hold == "" && s.Suspended != "" {
		hold = "suspended: " + s.Suspended
	}
	return tenantry.Keep(s.Policies, points, tenantry.Standing{Now: now, Departed: s.Departed, Hold: hold, InUse: s.InUse})
}

// SeriesStanding reads what retention needs to know of a series. NotFound: no such resource.
func (t *Tenant) SeriesStanding(ctx context.Context, resource tenantry.ResourceID, w tenantry.Workload) (SeriesStanding, error) {
	var s SeriesStanding
	r, err := t.Resource(ctx, resource)
	if err != nil {
		return s, err
	}
	if r.State != tenantry.Active {
		s.Departed = r.StateAt
	}
	policies, err := t.retaining(ctx, r, w)
	if err != nil {
		return s, err
	}
	for _, p := range policies {
		p.Retention.Zone = p.TimeZone
		s.Policies, s.PolicyIDs = append(s.Policies, p.Retention), append(s.PolicyIDs, p.ID)
	}
	holds, err := t.Holds(ctx)
	if err != nil {
		return s, err
	}
	for _, h := range holds {
		if h.Resource == "" || h.Resource == resource {
			s.Hold = "hold: " + h.Reason
		}
	}
	var found []struct {
		Suspended string
		Compared  int64
	}
	err = t.c.read(ctx, "read the standing of a series", &found,
		"SELECT suspended, compared FROM series WHERE tenant = ? AND resource = ? AND workload = ?", t.id, resource, w)
	if err == nil && len(found) > 0 {
		s.Suspended, s.Compared = found[0].Suspended, found[0].Compared
	}
	if err == nil {
		s.InUse, err = t.snapshotsInUse(ctx, resource, w)
	}
	return s, err
}

// retaining lists the policies whose rules count for a workload of a resource: those that
// cover it and have taken it in, whichever of them protects it, and also after it departed.
// What one of them keeps is kept.
func (t *Tenant) retaining(ctx context.Context, r Resource, w tenantry.Workload) ([]Policy, error) {
	policies, f, err := t.factsOf(ctx, t.c.reader, r)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(policies, func(p Policy) bool {
		return !f.enrolled[p.ID] || !slices.Contains(p.Workloads, w) || !newPlan(p).covers(f.resourceRow, f.groups)
	}), nil
}

// snapshotsInUse tells which snapshots of a series unfinished tasks read.
func (t *Tenant) snapshotsInUse(ctx context.Context, resource tenantry.ResourceID, w tenantry.Workload) (map[int64]string, error) {
	var found []struct {
		ID     tenantry.TaskID
		Action tenantry.Action
		Params []byte
	}
	err := t.c.read(ctx, "list tasks that read a series", &found, `SELECT id, action, params FROM tasks
		WHERE tenant = ? AND resource = ? AND workload = ? AND action NOT IN ('backup', 'prune')`, t.id, resource, w)
	used := map[int64]string{}
	for _, task := range found {
		var params struct {
			Snapshot int64 `json:"snapshot"`
		}
		if json.Unmarshal(task.Params, &params) == nil && params.Snapshot > 0 {
			used[params.Snapshot] = string(task.Action) + " " + string(task.ID)
		}
	}
	return used, err
}

// Suspend stops the pruning of a series until Acknowledge, for a mass change up to the given
// snapshot, with an alarm. An empty reason only notes that the snapshot was looked at.
func (t *Tenant) Suspend(ctx context.Context, resource tenantry.ResourceID, w tenantry.Workload, compared int64, reason string, now time.Time) error {
	return t.c.write(ctx, "note a mass change", func(ctx context.Context, tx bun.Tx) error {
		_, err := exec(ctx, tx, `UPDATE series SET compared = ?, suspended = CASE WHEN ? = '' THEN suspended ELSE ? END
			WHERE tenant = ? AND resource = ? AND workload = ?`, compared, reason, reason, t.id, resource, w)
		if err != nil || reason == "" {
			return err
		}
		return t.raise(ctx, tx, AlarmMassChange, subjectOf(resource, w), reason, now)
	})
}

// Acknowledge lets a suspended series be pruned again, and ends its alarm. NotFound: it is not suspended.
func (t *Tenant) Acknowledge(ctx context.Context, resource tenantry.ResourceID, w tenantry.Workload) error {
	const op = "acknowledge a mass change"
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		n, err := exec(ctx, tx, "UPDATE series SET suspended = '' WHERE tenant = ? AND resource = ? AND workload = ? AND suspended <> ''", t.id, resource, w)
		if err != nil {
			return err
		}
		if n == 0 {
			return tenantry.Errorf(tenantry.NotFound, "%s: pruning of %s/%s is not suspended", op, resource, w)
		}
		return t.clear(ctx, tx, AlarmMassChange, subjectOf(resource, w))
	})
}

// Suspension is a series whose pruning a mass change has stopped.
type Suspension struct {
	Resource  tenantry.ResourceID
	Workload  tenantry.Workload
	Suspended string // why
}

// Suspensions lists suspended series, at most 1000.
func (t *Tenant) Suspensions(ctx context.Context) ([]Suspension, error) {
	var found []Suspension
	err := t.c.read(ctx, "list suspended series of tenant "+string(t.id), &found,
		"SELECT resource, workload, suspended FROM series WHERE tenant = ? AND suspended <> '' ORDER BY resource, workload LIMIT ?", t.id, maxPage)
	return found, err
}

// RetainSnapshots makes the mirror of a series, up to a snapshot, those that are live. Those that it lacks are added: a
// backup that was sealed and never settled has one.
func (t *Tenant) RetainSnapshots(ctx context.Context, resource tenantry.ResourceID, w tenantry.Workload, upTo int64, live []SnapshotRow) error {
	seqs := []int64{0}
	for _, s := range live {
		seqs = append(seqs, s.Seq)
	}
	return t.c.write(ctx, "mirror what was pruned", func(ctx context.Context, tx bun.Tx) error {
		_, err := exec(ctx, tx, `DELETE FROM snapshots
			WHERE tenant = ? AND resource = ? AND workload = ? AND seq <= ? AND seq NOT IN (?)`, t.id, resource, w, upTo, bun.List(seqs))
		if err != nil {
			return err
		}
		if len(live) == 0 {
			return t.nothingSaved(ctx, tx, resource, w)
		}
		return t.addSnapshots(ctx, tx, resource, w, live)
	})
}

// addSnapshots mirrors those of the given snapshots that SQL does not know.
func (t *Tenant) addSnapshots(ctx context.Context, tx bun.Tx, resource tenantry.ResourceID, w tenantry.Workload, live []SnapshotRow) error {
	var known []int64
	if err := scan(ctx, tx, &known, "SELECT seq FROM snapshots WHERE tenant = ? AND resource = ? AND workload = ?", t.id, resource, w); err != nil {
		return err
	}
	mirrored := setOf(known)
	var steps []step
	var latest time.Time
	for _, s := range live {
		if !mirrored[s.Seq] {
			steps, latest = append(steps, putSnapshot(Task{Tenant: t.id, Resource: resource, Workload: w}, s)), later(latest, s.Time)
		}
	}
	if len(steps) == 0 {
		return nil
	}
	if err := (literal{tx}).run(ctx, steps...); err != nil {
		return err
	}
	_, err := exec(ctx, tx, "UPDATE series SET saved_at = ?0 WHERE tenant = ?1 AND resource = ?2 AND workload = ?3 AND saved_at < ?0", micros(latest), t.id, resource, w)
	return err
}

// pruneEvery is how often series are pruned and tenants collected.
const pruneEvery = 24 * time.Hour

// firstPrune is when a series is pruned for the first time: within a day and a half, spread by series.
func firstPrune(backup taskRow) time.Time {
	return fromMicros(backup.EndedAt).Add(pruneEvery/2 + spread(backup.Resource, backup.Workload, int(pruneEvery/time.Minute)))
}

// StartPrunes inserts the prune tasks of at most limit series that are due, and the collect and patrol
// tasks of tenants, one run for each tenant, and moves each on by a day, guarded by the leader's fence (Fenced).
// What has an unfinished one is not due. Returns how many tasks.
func (f *Fleet) StartPrunes(ctx context.Context, fence int64, limit int, now time.Time) (tasks int, err error) {
	err = f.c.write(ctx, "start due prunes", func(ctx context.Context, tx bun.Tx) error {
		tasks = 0
		if err := f.c.fence(ctx, tx, fence); err != nil {
			return err
		}
		prunes, err := f.c.duePrunes(ctx, tx, limit, now)
		if err != nil {
			return err
		}
		collects, err := dueTenants(ctx, tx, tenantry.Collect, "next_collect_at", limit, now)
		if err != nil {
			return err
		}
		patrols, err := dueTenants(ctx, tx, tenantry.Patrol, "next_patrol_at", limit, now)
		if err != nil {
			return err
		}
		all := slices.Concat(prunes, collects, patrols)
		tasks = len(all)
		return insertSystemRuns(ctx, tx, all, now)
	})
	return tasks, err
}

// moved is the next time after now in steps of a day from a due one.
func moved(due int64, now time.Time) time.Time {
	at := fromMicros(due)
	return at.Add(now.Sub(at).Truncate(pruneEvery) + pruneEvery)
}

func (c *Catalog) duePrunes(ctx context.Context, tx bun.Tx, limit int, now time.Time) ([]taskRow, error) {
	var found []struct {
		Tenant      tenantry.TenantID
		Resource    tenantry.ResourceID
		Workload    tenantry.Workload
		NextPruneAt int64
	}
	err := scan(ctx, tx, &found, `SELECT tenant, resource, workload, next_prune_at FROM series
		WHERE next_prune_at > 0 AND next_prune_at <= ? AND prune_task = '' ORDER BY next_prune_at LIMIT ?`, micros(now), limit)
	if err != nil {
		return nil, err
	}
	var out []taskRow
	for chunk := range slices.Chunk(found, batch) {
		var values rows
		tenants := map[tenantry.TenantID]bool{}
		for _, s := range chunk {
			row := newRow(s.Tenant, NewTask{Resource: s.Resource, Workload: s.Workload, Action: tenantry.Prune, Queue: queueMaintenance}, now, len(out))
			out = append(out, row)
			tenants[s.Tenant] = true
			values = append(values, []any{s.Tenant, s.Resource, s.Workload, row.ID, micros(moved(s.NextPruneAt, now))})
		}
		if err := (literal{tx}).run(ctx, c.lockSeries(values)...); err != nil {
			return nil, err
		}
		_, err := exec(ctx, tx, `WITH v (tenant, resource, workload, task, next) AS (VALUES ?)
			UPDATE series SET prune_task = v.task, next_prune_at = v.next FROM v
			WHERE series.tenant = v.tenant AND series.resource = v.resource AND series.workload = v.workload`, values)
		if err != nil {
			return nil, err
		}
		for tenant := range tenants {
			first := now.Add(pruneEvery/2 + spread(tenantry.ResourceID(tenant), "", int(pruneEvery/time.Minute)))
			for _, next := range []bun.Safe{"next_collect_at", "next_patrol_at"} {
				if _, err := exec(ctx, tx, "UPDATE tenants SET ?0 = ?1 WHERE id = ?2 AND ?0 = 0", next, micros(first), tenant); err != nil {
					return nil, err
				}
			}
		}
	}
	return out, nil
}

// dueTenants makes tasks of an action for tenants that are due by a column, and moves each on by a day.
func dueTenants(ctx context.Context, tx bun.Tx, action tenantry.Action, next bun.Safe, limit int, now time.Time) ([]taskRow, error) {
	var found []struct {
		ID  tenantry.TenantID
		Due int64
	}
	task := tenantTasks[action]
	err := scan(ctx, tx, &found, `SELECT id, ?0 AS due FROM tenants WHERE ?0 > 0 AND ?0 <= ?1 AND ?2 = '' ORDER BY ?0 LIMIT ?3`, next, micros(now), task, limit)
	if err != nil {
		return nil, err
	}
	var out []taskRow
	for _, t := range found {
		row := newRow(t.ID, NewTask{Action: action, Queue: queueMaintenance}, now, len(out))
		out = append(out, row)
		if _, err := exec(ctx, tx, "UPDATE tenants SET ? = ?, ? = ? WHERE id = ?", task, row.ID, next, micros(moved(t.Due, now)), t.ID); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// insertSystemRuns inserts tasks, with a run for each tenant and action.
func insertSystemRuns(ctx context.Context, tx bun.Tx, tasks []taskRow, now time.Time) error {
	type key struct {
		tenant tenantry.TenantID
		action tenantry.Action
	}
	at := map[key]int{}
	var runs []runRow
	for i := range tasks {
		k := key{tasks[i].Tenant, tasks[i].Action}
		n, ok := at[k]
		if !ok {
			n = len(runs)
			at[k] = n
			runs = append(runs, newRun(k.tenant, k.action, TriggerSystem, 0, now))
		}
		runs[n].Tasks++
		tasks[i].Run = runs[n].ID
	}
	for chunk := range slices.Chunk(runs, batch) {
		if _, err := tx.NewInsert().Model(&chunk).Exec(ctx); err != nil {
			return err
		}
	}
	return insertTasks(ctx, tx, tasks)
}
