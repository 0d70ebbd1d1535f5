package catalog

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// SnapshotRow mirrors a sealed snapshot for listing. What is stored is known to the bucket
// alone.
type SnapshotRow struct {
	Series tenantry.Series
	Seq    int64
	Time   time.Time
	Task   tenantry.TaskID
	Counts tenantry.Counts
}

type snapshotRow struct {
	bun.BaseModel `bun:"table:snapshots"`

	Tenant   tenantry.TenantID
	Resource tenantry.ResourceID
	Workload tenantry.Workload
	Seq      int64
	TakenAt  int64
	Task     tenantry.TaskID
	Items    int64
	Total    int64
	Skipped  int64
	Bytes    int64
	Stored   int64
}

// Snapshots lists the snapshots of a series below beforeSeq (0 all), newest first; limit 0
// is 100, at most 1000.
func (t *Tenant) Snapshots(ctx context.Context, resource tenantry.ResourceID, w tenantry.Workload, beforeSeq int64, limit int) ([]SnapshotRow, error) {
	if beforeSeq <= 0 {
		beforeSeq = math.MaxInt64
	}
	var found []snapshotRow
	err := t.c.read(ctx, fmt.Sprintf("list snapshots of %s/%s/%s", t.id, resource, w), &found, `
		SELECT * FROM snapshots WHERE tenant = ? AND resource = ? AND workload = ? AND seq < ?
		ORDER BY seq DESC LIMIT ?`, t.id, resource, w, beforeSeq, page(limit))
	if err != nil {
		return nil, err
	}
	return toSnapshotRows(found), nil
}

func toSnapshotRows(found []snapshotRow) []SnapshotRow {
	out := make([]SnapshotRow, len(found))
	for i, row := range found {
		out[i] = SnapshotRow{
			Series: tenantry.Series{Tenant: row.Tenant, Resource: row.Resource, Workload: row.Workload},
			Seq:    row.Seq, Time: fromMicros(row.TakenAt), Task: row.Task,
			Counts: tenantry.Counts{Items: row.Items, Total: row.Total, Skipped: row.Skipped, Bytes: row.Bytes, Stored: row.Stored},
		}
	}
	return out
}

// NewestSnapshots lists the newest snapshot of each series behind one ("" and "": of all) in ascending order of
// resource, then workload; limit 0 is 100, at most 1000.
func (t *Tenant) NewestSnapshots(ctx context.Context, resource tenantry.ResourceID, w tenantry.Workload, limit int) ([]SnapshotRow, error) {
	var found []snapshotRow
	err := t.c.read(ctx, "list the newest snapshots of "+string(t.id), &found, `
		SELECT * FROM snapshots s WHERE tenant = ? AND (resource, workload) > (?, ?)
		AND NOT EXISTS (SELECT 1 FROM snapshots n WHERE n.tenant = ? AND n.resource = s.resource AND n.workload = s.workload AND n.seq > s.seq)
		ORDER BY resource, workload LIMIT ?`, t.id, resource, w, t.id, page(limit))
	if err != nil {
		return nil, err
	}
	return toSnapshotRows(found), nil
}

// MirrorSnapshots makes the mirror of one series what the bucket says: live are its
// snapshots as of now. Those that a task settles meanwhile, which are newer, stay.
func (t *Tenant) MirrorSnapshots(ctx context.Context, resource tenantry.ResourceID, w tenantry.Workload, live []SnapshotRow) error {
	newest := int64(0)
	seqs := []int64{0}
	var latest time.Time
	for _, s := range live {
		newest, latest = max(newest, s.Seq), later(latest, s.Time)
		seqs = append(seqs, s.Seq)
	}
	op := fmt.Sprintf("mirror snapshots of %s/%s/%s", t.id, resource, w)
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewDelete().Model((*snapshotRow)(nil)).
			Where("tenant = ? AND resource = ? AND workload = ? AND seq <= ?", t.id, resource, w, newest).
			Where("seq NOT IN (?)", bun.List(seqs)).Exec(ctx)
		if err != nil {
			return err
		}
		steps := make([]step, len(live))
		for i, s := range live {
			steps[i] = putSnapshot(Task{Tenant: t.id, Resource: resource, Workload: w}, s)
		}
		if err := (literal{tx}).run(ctx, steps...); err != nil {
			return err
		}
		if len(live) == 0 {
			return t.nothingSaved(ctx, tx, resource, w)
		}
		// The series has no row if SQL has lost it: its next backup finds one that is free.
		_, err = exec(ctx, tx, `INSERT INTO series AS old (tenant, resource, workload, epoch, owner_task, owner_process, backup_task, saved_at)
			VALUES (?, ?, ?, 0, '', '', '', ?) ON CONFLICT (tenant, resource, workload) DO UPDATE
			SET saved_at = CASE WHEN old.saved_at < excluded.saved_at THEN excluded.saved_at ELSE old.saved_at END`, t.id, resource, w, micros(latest))
		return err
	})
}

// nothingSaved notes that a series without snapshots is not saved, whatever it once was.
func (t *Tenant) nothingSaved(ctx context.Context, tx bun.Tx, resource tenantry.ResourceID, w tenantry.Workload) error {
	_, err := exec(ctx, tx, `UPDATE series SET saved_at = 0 WHERE tenant = ?0 AND resource = ?1 AND workload = ?2 AND NOT EXISTS (
		SELECT 1 FROM snapshots s WHERE s.tenant = ?0 AND s.resource = ?1 AND s.workload = ?2)`, t.id, resource, w)
	return err
}

// putSnapshot records a snapshot of the task's series; one that is there already is
// overwritten, since the same seal may be settled twice.
func putSnapshot(task Task, s SnapshotRow) step {
	return step{
		query: `
			INSERT INTO snapshots (tenant, resource, workload, seq, taken_at, task, items, total, skipped, bytes, stored) VALUES ?0
			ON CONFLICT (tenant, resource, workload, seq) DO UPDATE
			SET taken_at = excluded.taken_at, task = excluded.task, items = excluded.items, total = excluded.total,
				skipped = excluded.skipped, bytes = excluded.bytes, stored = excluded.stored`,
		args: []any{rows{{
			task.Tenant, task.Resource, task.Workload, s.Seq, micros(s.Time), cmp.Or(s.Task, task.ID),
			s.Counts.Items, s.Counts.Total, s.Counts.Skipped, s.Counts.Bytes, s.Counts.Stored,
		}}},
	}
}
