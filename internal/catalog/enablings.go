package catalog

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// FirstStage is how far the first backup of a workload has come, as far as mails tell it.
type FirstStage string

// The stages of a first backup. Enabling a workload that was disabled, or had failed, begins it anew.
//
//	new --somebody is told that it was accepted--> accepted --the workload is ready--> listed --all was tried--> ended
//	accepted --the workload has failed--> failed --it is ready after all--> listed
const (
	FirstNew      FirstStage = "new"
	FirstAccepted FirstStage = "accepted"
	FirstFailed   FirstStage = "failed"
	FirstListed   FirstStage = "listed"
	FirstEnded    FirstStage = "ended"
)

// FirstBackup is the first backup of a workload that somebody has enabled, and that has not ended.
type FirstBackup struct {
	Tenant   tenantry.TenantID
	Workload tenantry.Workload
	Stage    FirstStage
	// Told is who was named when it was enabled; nil: whoever is told about the tenant.
	Told    *tenantry.Notices
	BegunAt time.Time // when it was enabled
	ToldAt  time.Time // of the last mail about it
	// Rest is how much longer than others it need not be looked at; for Post alone.
	Rest time.Duration
}

// FirstBackups lists first backups that have not ended and were not looked at since a time, the longest first.
func (f *Fleet) FirstBackups(ctx context.Context, before time.Time, limit int) ([]FirstBackup, error) {
	var found []struct {
		Tenant   tenantry.TenantID
		Workload tenantry.Workload
		Stage    FirstStage
		Settings string
		BegunAt  int64
		ToldAt   int64
	}
	err := f.c.read(ctx, "list first backups", &found, `SELECT tenant, workload, stage, settings, begun_at, told_at FROM enablings
		WHERE stage <> 'ended' AND looked_at < ? ORDER BY looked_at, tenant, workload LIMIT ?`, micros(before), page(limit))
	out := make([]FirstBackup, len(found))
	for i, row := range found {
		out[i] = FirstBackup{
			Tenant: row.Tenant, Workload: row.Workload, Stage: row.Stage, BegunAt: fromMicros(row.BegunAt), ToldAt: fromMicros(row.ToldAt),
		}
		var told tenantry.Notices
		if row.Settings != "" && json.Unmarshal([]byte(row.Settings), &told) == nil { // else as is set for the tenant
			out[i].Told = &told
		}
	}
	return out, err
}

// moveFirstBackup writes down how far a first backup has come. Conflict: it began anew meanwhile.
func moveFirstBackup(ctx context.Context, tx bun.Tx, op string, b FirstBackup, now time.Time) error {
	n, err := exec(ctx, tx, "UPDATE enablings SET stage = ?, told_at = ?, looked_at = ? WHERE tenant = ? AND workload = ? AND begun_at = ?",
		b.Stage, micros(b.ToldAt), micros(now.Add(b.Rest)), b.Tenant, b.Workload, micros(b.BegunAt))
	if err == nil && n == 0 {
		return tenantry.Errorf(tenantry.Conflict, "%s: the workload was enabled anew, or disabled", op)
	}
	return err
}

// noteEnabled notes that a workload was enabled, and who is told of its first backup: told, else as before. What they
// are told later is the tenant's: its notices are theirs where it has none, and gain their addresses where it has.
func (t *Tenant) noteEnabled(ctx context.Context, tx bun.Tx, before WorkloadRow, told *tenantry.Notices, now time.Time) error {
	settings := ""
	if told != nil {
		text, err := json.Marshal(told)
		if err != nil {
			return err
		}
		settings = string(text)
	}
	anew := !before.Enabled || before.State == tenantry.Failed
	_, err := exec(ctx, tx, `INSERT INTO enablings AS old (tenant, workload, stage, settings, begun_at, told_at, looked_at) VALUES (?0, ?1, 'new', ?2, ?3, 0, 0)
		ON CONFLICT (tenant, workload) DO UPDATE SET settings = CASE WHEN ?2 <> '' THEN excluded.settings ELSE old.settings END,
			stage = CASE WHEN ?4 THEN 'new' ELSE old.stage END, begun_at = CASE WHEN ?4 THEN excluded.begun_at ELSE old.begun_at END,
			told_at = CASE WHEN ?4 THEN 0 ELSE old.told_at END, looked_at = CASE WHEN ?4 THEN 0 ELSE old.looked_at END`,
		t.id, before.Workload, settings, micros(now), anew)
	if err != nil || told == nil {
		return err
	}
	return t.joinNotices(ctx, tx, *told, now)
}

// joinNotices has those who are told of a first backup told of the tenant, too.
func (t *Tenant) joinNotices(ctx context.Context, tx bun.Tx, told tenantry.Notices, now time.Time) error {
	var found []noticeRow
	if err := scan(ctx, tx, &found, "SELECT ? FROM notices WHERE tenant = ? AND policy = ''", noticeColumns, t.id); err != nil {
		return err
	}
	if len(found) == 0 || len(found[0].notice().Settings.To) == 0 {
		return setNotices(ctx, tx, t.id, "", told, now)
	}
	old := found[0].notice().Settings
	joined := old
	joined.To = slices.Clone(old.To)
	for _, address := range told.To {
		if !slices.Contains(joined.To, address) && len(joined.To) < tenantry.MaxAddresses {
			joined.To = append(joined.To, address)
		}
	}
	if len(joined.To) == len(old.To) {
		return nil
	}
	return setNotices(ctx, tx, t.id, "", joined, now)
}
