package catalog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Problem is one item that a task could not save or write, with its reason.
type Problem struct {
	ItemID, Name, Reason string
	Kind                 tenantry.Kind // class of the reason, "" unknown
	// What follows is of backups.
	Since    time.Time // it fails for this reason
	Snapshot int64     // that has its last good version, 0 unknown or none
	Again    bool      // the next backup asks for it again; else only a change of the item does
}

type problemRow struct {
	ItemID   string
	Name     string
	Reason   string
	Kind     tenantry.Kind
	Since    int64
	Snapshot int64
	Again    int64
}

func (r problemRow) problem() Problem {
	return Problem{
		ItemID: r.ItemID, Name: r.Name, Reason: r.Reason, Kind: r.Kind,
		Since: fromMicros(r.Since), Snapshot: r.Snapshot, Again: r.Again > 0,
	}
}

// maxProblems is how many problems are kept of one task; Counts.Skipped tells them all.
const maxProblems = 100

// Problems lists the problems of a task in the order they were met.
func (t *Tenant) Problems(ctx context.Context, id tenantry.TaskID) ([]Problem, error) {
	var found []problemRow
	err := t.c.read(ctx, fmt.Sprintf("list problems of task %s of tenant %s", id, t.id), &found,
		"SELECT item_id, name, reason, kind, since, snapshot, again FROM problems WHERE tenant = ? AND task = ? ORDER BY n", t.id, id)
	out := make([]Problem, len(found))
	for i, row := range found {
		out[i] = row.problem()
	}
	return out, err
}

// FirstProblems returns the problem that each of the named tasks met first, of those that have any.
func (t *Tenant) FirstProblems(ctx context.Context, tasks []tenantry.TaskID) (map[tenantry.TaskID]Problem, error) {
	out := map[tenantry.TaskID]Problem{}
	if len(tasks) == 0 {
		return out, nil
	}
	var found []struct {
		problemRow
		Task tenantry.TaskID
	}
	err := t.c.read(ctx, fmt.Sprintf("list first problems of tasks of tenant %s", t.id), &found,
		"SELECT task, item_id, name, reason, kind, since, snapshot, again FROM problems WHERE tenant = ? AND task IN (?) AND n = 0", t.id, bun.List(tasks))
	for _, row := range found {
		out[row.Task] = row.problem()
	}
	return out, err
}

// toldProblem is what makes a problem of a task the same.
type toldProblem struct{ item, reason string }

// countProblems tells which problems are kept of tasks, at most 100 of each, where there are any to add.
func countProblems(settled []*settleAsk, have map[tenantry.TaskID][]toldProblem) []step {
	var keys rows
	for _, q := range settled {
		if len(q.Problems) > 0 {
			keys = append(keys, []any{q.claim.Tenant, q.claim.ID})
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return []step{{
		query: "SELECT task, item_id, reason FROM problems WHERE (tenant, task) IN (VALUES ?0)",
		args:  []any{keys},
		row: func(scan scanRow) error {
			var id tenantry.TaskID
			var p toldProblem
			err := scan(&id, &p.item, &p.reason)
			have[id] = append(have[id], p)
			return err
		},
	}}
}

// addProblems appends to the problems of tasks until there are maxProblems of each.
func addProblems(settled []*settleAsk, have map[tenantry.TaskID][]toldProblem) (steps []step) {
	for _, q := range settled {
		task, kept := q.claim.Task, have[q.claim.ID]
		var fresh rows
		for _, p := range q.Problems {
			n := len(kept) + len(fresh)
			if n >= maxProblems {
				break
			}
			if q.Anew && slices.Contains(kept, toldProblem{p.ItemID, p.Reason}) {
				continue
			}
			fresh = append(fresh, p.row(task, n))
		}
		if len(fresh) > 0 {
			steps = append(steps, step{
				query: "INSERT INTO problems (task, n, tenant, item_id, name, reason, kind, since, snapshot, again) VALUES ?0",
				args:  []any{fresh},
			})
		}
	}
	return steps
}

// row is the nth problem of a task.
func (p Problem) row(task Task, n int) []any {
	again := 0
	if p.Again {
		again = 1
	}
	return []any{task.ID, n, task.Tenant, p.ItemID, p.Name, p.Reason, p.Kind, micros(p.Since), p.Snapshot, again}
}

// NextBackup returns when a workload of a resource is due next by a policy; zero if it is in none, or that is paused.
func (t *Tenant) NextBackup(ctx context.Context, r tenantry.ResourceID, w tenantry.Workload) (time.Time, error) {
	var found []struct{ At int64 }
	err := t.c.read(ctx, fmt.Sprintf("read when %s of %s of tenant %s is due", w, r, t.id), &found,
		"SELECT coalesce(min(next_due_at), 0) AS at FROM protections WHERE tenant = ? AND resource = ? AND workload = ? AND next_due_at < ?", t.id, r, w, neverDue)
	if err != nil || len(found) == 0 {
		return time.Time{}, err
	}
	return fromMicros(found[0].At), nil
}

// Hasten has a workload of a resource that policies protect backed up at the given time, unless it is due before or paused. What
// comes after that is as the policies say.
func (t *Tenant) Hasten(ctx context.Context, r tenantry.ResourceID, w tenantry.Workload, at time.Time) error {
	return t.c.write(ctx, fmt.Sprintf("hasten the backup of %s of %s of tenant %s", w, r, t.id), func(ctx context.Context, tx bun.Tx) error {
		_, err := exec(ctx, tx, "UPDATE protections SET next_due_at = ?3 WHERE tenant = ?0 AND resource = ?1 AND workload = ?2 AND next_due_at > ?3 AND next_due_at < ?4",
			t.id, r, w, micros(at), neverDue)
		return err
	})
}
