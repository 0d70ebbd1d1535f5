package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// NoticeRow says who is told what about a tenant, one of its policies, or the fleet.
type NoticeRow struct {
	Tenant     tenantry.TenantID // "": the provider
	Policy     tenantry.PolicyID // "": the tenant as a whole
	Settings   tenantry.Notices
	ChangedAt  time.Time
	ReportedAt time.Time // what the next report begins at
	NextReport time.Time // zero: none is wanted
}

type noticeRow struct {
	Tenant       tenantry.TenantID
	Policy       tenantry.PolicyID
	Settings     string
	ChangedAt    int64
	ReportedAt   int64
	NextReportAt int64
}

const noticeColumns bun.Safe = "tenant, policy, settings, changed_at, reported_at, next_report_at"

func (r noticeRow) notice() NoticeRow {
	n := NoticeRow{
		Tenant: r.Tenant, Policy: r.Policy, ChangedAt: fromMicros(r.ChangedAt),
		ReportedAt: fromMicros(r.ReportedAt), NextReport: fromMicros(r.NextReportAt),
	}
	// What cannot be read tells nobody: a version that knows more may have written it.
	if json.Unmarshal([]byte(r.Settings), &n.Settings) != nil {
		n.Settings = tenantry.Notices{}
	}
	return n
}

func noticeRows(found []noticeRow) []NoticeRow {
	out := make([]NoticeRow, len(found))
	for i, row := range found {
		out[i] = row.notice()
	}
	return out
}

// setNotices stores settings; the first report begins now.
func setNotices(ctx context.Context, tx bun.Tx, tenant tenantry.TenantID, policy tenantry.PolicyID, n tenantry.Notices, now time.Time) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	_, err = exec(ctx, tx, `INSERT INTO notices (tenant, policy, settings, changed_at, reported_at, next_report_at, looked_at)
		VALUES (?0, ?1, ?2, ?3, ?3, ?4, 0) ON CONFLICT (tenant, policy) DO UPDATE
		SET settings = excluded.settings, changed_at = excluded.changed_at, next_report_at = excluded.next_report_at`,
		tenant, policy, string(text), micros(now), micros(n.NextReport(now)))
	return err
}

// SetNotices says who is told what about the tenant, or about one policy of it. Invalid names the field;
// NotFound: no such tenant or policy.
func (t *Tenant) SetNotices(ctx context.Context, policy tenantry.PolicyID, n tenantry.Notices, now time.Time) error {
	if err := n.Validate(); err != nil {
		return err
	}
	op := "set notices of tenant " + string(t.id)
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.exists(ctx, tx, op); err != nil {
			return err
		}
		if policy != "" {
			var found []tenantry.PolicyID
			if err := scan(ctx, tx, &found, "SELECT id FROM policies WHERE tenant = ? AND id = ? AND state <> 'deleted'", t.id, policy); err != nil {
				return err
			}
			if len(found) == 0 {
				return noPolicy(op)
			}
		}
		return setNotices(ctx, tx, t.id, policy, n, now)
	})
}

// Notices lists who is told what about the tenant: the row of the whole tenant first, then those of policies.
func (t *Tenant) Notices(ctx context.Context) ([]NoticeRow, error) {
	var found []noticeRow
	err := t.c.read(ctx, "list notices of tenant "+string(t.id), &found,
		"SELECT ? FROM notices WHERE tenant = ? ORDER BY policy LIMIT ?", noticeColumns, t.id, maxPage)
	return noticeRows(found), err
}

// RemoveNotices ends the notices of the tenant, or of one policy. NotFound: there are none.
func (t *Tenant) RemoveNotices(ctx context.Context, policy tenantry.PolicyID) error {
	op := "remove notices of tenant " + string(t.id)
	return t.c.one(ctx, op, tenantry.Errorf(tenantry.NotFound, "%s: there are none", op),
		"DELETE FROM notices WHERE tenant = ? AND policy = ?", t.id, policy)
}

// SetNotices says what the provider is told about the fleet. Invalid names the field.
func (f *Fleet) SetNotices(ctx context.Context, n tenantry.Notices, now time.Time) error {
	if err := n.Validate(); err != nil {
		return err
	}
	return f.c.write(ctx, "set notices of the provider", func(ctx context.Context, tx bun.Tx) error {
		return setNotices(ctx, tx, "", "", n, now)
	})
}

// Notices reads what the provider is told about the fleet; without settings nothing.
func (f *Fleet) Notices(ctx context.Context) (NoticeRow, error) {
	var found []noticeRow
	err := f.c.read(ctx, "read notices of the provider", &found, "SELECT ? FROM notices WHERE tenant = '' AND policy = ''", noticeColumns)
	if err != nil || len(found) == 0 {
		return NoticeRow{}, err
	}
	return found[0].notice(), nil
}

// ReportNow makes the report about the tenant, or a policy of it, due at once, and the next one at its time. Conflict:
// none is wanted, or one was sent within this minute.
func (t *Tenant) ReportNow(ctx context.Context, policy tenantry.PolicyID, now time.Time) error {
	return t.c.reportNow(ctx, t.id, policy, now)
}

// ReportNow is Tenant.ReportNow for the provider's report.
func (f *Fleet) ReportNow(ctx context.Context, now time.Time) error {
	return f.c.reportNow(ctx, "", "", now)
}

func (c *Catalog) reportNow(ctx context.Context, tenant tenantry.TenantID, policy tenantry.PolicyID, now time.Time) error {
	const op = "ask for a report"
	minute := micros(now.Truncate(time.Minute))
	return c.one(ctx, op, tenantry.Errorf(tenantry.Conflict, "%s: nobody is to get reports, or one was sent within this minute", op),
		`UPDATE notices SET next_report_at = ?0 WHERE tenant = ?1 AND policy = ?2 AND next_report_at > 0
			AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.tenant = ?1 AND o.policy = ?2 AND o.event = 'report' AND o.created_at >= ?0)`, minute, tenant, policy)
}

// DueReports lists whose report is due, the longest due first; limit 0 is 100, at most 1000.
func (f *Fleet) DueReports(ctx context.Context, now time.Time, limit int) ([]NoticeRow, error) {
	var found []noticeRow
	err := f.c.read(ctx, "list due reports", &found, `SELECT ? FROM notices
		WHERE next_report_at > 0 AND next_report_at <= ? ORDER BY next_report_at LIMIT ?`, noticeColumns, micros(now), page(limit))
	return noticeRows(found), err
}

// DueLooks lists tenants with notices in which stale backups were not looked for since a time.
func (f *Fleet) DueLooks(ctx context.Context, before time.Time, limit int) ([]tenantry.TenantID, error) {
	var found []tenantry.TenantID
	err := f.c.read(ctx, "list tenants to look at", &found, `SELECT n.tenant FROM notices n JOIN tenants t ON t.id = n.tenant
		WHERE t.state = 'connected' GROUP BY n.tenant HAVING min(n.looked_at) < ? ORDER BY min(n.looked_at) LIMIT ?`, micros(before), page(limit))
	return found, err
}

// WorkloadStanding is how the enrolments of one workload stand.
type WorkloadStanding struct {
	Workload tenantry.Workload
	Total    int64 // enrolled series
	Tried    int64 // of them, those of which a backup has ended, well or not
	Saved    int64 // those with a snapshot
	Stale    int64 // those of active policies whose newest snapshot is too old
}

// Standings tells how what a policy covers stands as of now, or with "" what all of them do, by workload: which of it
// was backed up, and of which the newest snapshot is older than stale; 0: than the objective of its policy.
func (t *Tenant) Standings(ctx context.Context, policy tenantry.PolicyID, stale time.Duration, now time.Time) ([]WorkloadStanding, error) {
	var found []WorkloadStanding
	err := t.c.read(ctx, "tell how the series of tenant "+string(t.id)+" stand", &found, `
		SELECT p.workload, count(*) AS total,
			CAST(sum(CASE WHEN s.next_prune_at > 0 THEN 1 ELSE 0 END) AS bigint) AS tried,
			CAST(sum(CASE WHEN s.saved_at > 0 THEN 1 ELSE 0 END) AS bigint) AS saved,
			CAST(sum(CASE WHEN s.saved_at > 0 AND l.state = 'active'
				AND s.saved_at + CASE WHEN ?2 > 0 THEN ?2 ELSE l.objective END < ?3 THEN 1 ELSE 0 END) AS bigint) AS stale
		FROM protections p JOIN policies l ON l.tenant = ?0 AND l.id = p.policy
		LEFT JOIN series s ON s.tenant = ?0 AND s.resource = p.resource AND s.workload = p.workload
		WHERE p.tenant = ?0 AND (?1 = '' OR p.policy = ?1) GROUP BY p.workload ORDER BY p.workload`,
		t.id, policy, stale.Microseconds(), micros(now))
	return found, err
}

// Activity is what the runs of one action came to.
type Activity struct {
	Action         tenantry.Action
	Runs, Open     int64 // open: they have not ended
	Done, Failed   int64 // tasks
	Items, Skipped int64
	Bytes, Stored  int64
}

// activityAge is how far back runs are looked for that ended in a period.
const activityAge = 45 * day

// Activity sums what ended in [from, to), and what is under way, by action: the tenant's runs, or those of a policy.
func (t *Tenant) Activity(ctx context.Context, policy tenantry.PolicyID, from, to time.Time) ([]Activity, error) {
	var found []Activity
	err := t.c.read(ctx, "sum the runs of tenant "+string(t.id), &found, `
		SELECT action, count(*) AS runs, CAST(sum(CASE WHEN ended_at = 0 THEN 1 ELSE 0 END) AS bigint) AS open,
			CAST(sum(done) AS bigint) AS done, CAST(sum(failed) AS bigint) AS failed, CAST(sum(items) AS bigint) AS items,
			CAST(sum(skipped) AS bigint) AS skipped, CAST(sum(bytes) AS bigint) AS bytes, CAST(sum(stored) AS bigint) AS stored
		FROM runs WHERE tenant = ?0 AND id >= ?1 AND (?2 = '' OR policy = ?2) AND (ended_at = 0 OR ended_at >= ?3 AND ended_at < ?4)
		GROUP BY action ORDER BY action`, t.id, tenantry.TaskIDFloor(from.Add(-activityAge)), policy, micros(from), micros(to))
	return found, err
}

// Failures counts the tasks that failed in runs which ended in [from, to) or are under way, by action and kind
// ("backup/denied"): of the tenant, or of a policy.
func (t *Tenant) Failures(ctx context.Context, policy tenantry.PolicyID, from, to time.Time) (map[string]int64, error) {
	var found []struct {
		Account string
		N       int64
	}
	err := t.c.read(ctx, fmt.Sprintf("count failures of tenant %s", t.id), &found, `
		SELECT l.account, CAST(sum(l.amount) AS bigint) AS n FROM ledger l JOIN runs r ON r.tenant = ?0 AND r.id = l.run
		WHERE l.tenant = ?0 AND l.run >= ?1 AND l.day = 0 AND l.entry = ?2 AND (?3 = '' OR r.policy = ?3)
			AND (r.ended_at = 0 OR r.ended_at >= ?4 AND r.ended_at < ?5)
		GROUP BY l.account`, t.id, tenantry.TaskIDFloor(from.Add(-activityAge)), entryFailed, policy, micros(from), micros(to))
	out := make(map[string]int64, len(found))
	for _, row := range found {
		out[row.Account] = row.N
	}
	return out, err
}
