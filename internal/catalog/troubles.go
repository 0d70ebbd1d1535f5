package catalog

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// The causes of trouble that are not failures ("failed/ACTION/KIND"), alarms of a tenant ("alarm/CAUSE") or workloads that failed ("workload/NAME").
const (
	TroubleFailed       = "failed/"
	TroubleAlarm        = "alarm/"
	TroubleWorkload     = "workload/"    // an enabled workload has failed: its permissions, or its listing
	TroubleDisconnected = "disconnected" // the tenant's consent is gone
	TroubleStale        = "stale"        // series whose newest snapshot is too old
	TroubleShared       = "shared/"      // of everybody: what stops admission, or befalls many
)

// Trouble is what is wrong with a tenant for one cause, and how much of it nobody was told.
type Trouble struct {
	Tenant tenantry.TenantID // "": everybody
	Cause  string
	Seen   int64     // as it was counted last
	Untold int64     // of that, what no mail has told
	Since  time.Time // of what is untold
	ToldAt time.Time // of the last mail at once
	Now    int64     // as it is counted now; not stored
}

type troubleRow struct {
	Tenant tenantry.TenantID
	Cause  string
	Seen   int64
	Untold int64
	Since  int64
	ToldAt int64
	Now    int64
}

// troubleLimit bounds what one look at troubles returns: the rest shows in the next one.
const troubleLimit = 5000

// Troubles lists what is counted otherwise than last time (failures only rise; alarms and lost consents come
// and go), what is untold, and what was told since a time: at most 5000, by tenant and cause. Stale backups
// and shared causes are counted by their own callers: their Now is what was seen.
func (f *Fleet) Troubles(ctx context.Context, toldSince, now time.Time) ([]Trouble, error) {
	var found []troubleRow
	err := f.c.read(ctx, "look at troubles", &found, `
		WITH measured AS (
			SELECT tenant, 'failed/' || account AS cause, amount AS n FROM ledger WHERE run = '' AND day = 0 AND entry = ?0
			UNION ALL SELECT tenant, 'alarm/' || cause, count(*) FROM tenant_alarms GROUP BY tenant, cause
			UNION ALL SELECT '', 'alarm/' || cause, count(*) FROM provider_warnings WHERE seen > ?3 GROUP BY cause
			UNION ALL SELECT id, 'disconnected', 1 FROM tenants WHERE state = 'disconnected'
			UNION ALL SELECT tenant, 'workload/' || workload, 1 FROM tenant_workloads WHERE enabled AND state = 'failed'
		)
		SELECT m.tenant, m.cause, coalesce(t.seen, 0) AS seen, coalesce(t.untold, 0) AS untold, coalesce(t.since, 0) AS since,
			coalesce(t.told_at, 0) AS told_at, m.n AS now
		FROM measured m LEFT JOIN troubles t ON t.tenant = m.tenant AND t.cause = m.cause
		WHERE m.n <> coalesce(t.seen, 0) OR t.untold > 0 OR t.told_at > ?1
		UNION ALL
		SELECT t.tenant, t.cause, t.seen, t.untold, t.since, t.told_at,
			CASE WHEN t.cause LIKE 'alarm/%' OR t.cause LIKE 'workload/%' OR t.cause = 'disconnected' THEN 0 ELSE t.seen END
		FROM troubles t WHERE (t.seen > 0 OR t.untold > 0) AND NOT EXISTS (SELECT 1 FROM measured m WHERE m.tenant = t.tenant AND m.cause = t.cause)
		ORDER BY 1, 2 LIMIT ?2`, entryFailed, micros(toldSince), troubleLimit, micros(now.Add(-WarningMemory)))
	out := make([]Trouble, len(found))
	for i, row := range found {
		out[i] = Trouble{row.Tenant, row.Cause, row.Seen, row.Untold, fromMicros(row.Since), fromMicros(row.ToldAt), row.Now}
	}
	return out, err
}

// Posting is mails together with what they tell, written in one transaction or not at all.
type Posting struct {
	Mails []Mail
	// Report moves a report that was due on to Next; it must still be due as it was read.
	Report *NoticeRow
	Next   time.Time
	// First is a first backup with its new stage, and when it was told and looked at.
	First *FirstBackup
	// Troubles replace what is known of them.
	Troubles []Trouble
	// Looked is a tenant in which stale backups were looked for.
	Looked tenantry.TenantID
}

// Post writes mails down, each key once for each address, and what they tell, guarded by the leader's fence
// (Fenced). Conflict: the report is not due any more as it was, or the workload was enabled anew. Returns how many mails are new.
func (f *Fleet) Post(ctx context.Context, fence int64, p Posting, now time.Time) (fresh int64, err error) {
	const op = "post mails"
	err = f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := f.c.fence(ctx, tx, fence); err != nil {
			return err
		}
		if r := p.Report; r != nil {
			n, err := exec(ctx, tx, `UPDATE notices SET reported_at = ?, next_report_at = ? WHERE tenant = ? AND policy = ? AND next_report_at = ?`,
				micros(now), micros(p.Next), r.Tenant, r.Policy, micros(r.NextReport))
			if err != nil {
				return err
			}
			if n == 0 {
				return tenantry.Errorf(tenantry.Conflict, "%s: the report was sent, or changed, meanwhile", op)
			}
		}
		if b := p.First; b != nil {
			if err := moveFirstBackup(ctx, tx, op, *b, now); err != nil {
				return err
			}
		}
		if err := putTroubles(ctx, tx, p.Troubles); err != nil {
			return err
		}
		if p.Looked != "" {
			if _, err := exec(ctx, tx, "UPDATE notices SET looked_at = ? WHERE tenant = ?", micros(now), p.Looked); err != nil {
				return err
			}
		}
		fresh, err = putMails(ctx, tx, p.Mails, now)
		return err
	})
	return fresh, err
}

func putTroubles(ctx context.Context, tx bun.Tx, troubles []Trouble) error {
	var values rows
	for _, t := range troubles {
		values = append(values, []any{t.Tenant, t.Cause, t.Seen, t.Untold, micros(t.Since), micros(t.ToldAt)})
	}
	for len(values) > 0 {
		chunk := values[:min(len(values), batch)]
		values = values[len(chunk):]
		_, err := exec(ctx, tx, `INSERT INTO troubles (tenant, cause, seen, untold, since, told_at) VALUES ?
			ON CONFLICT (tenant, cause) DO UPDATE SET seen = excluded.seen, untold = excluded.untold, since = excluded.since, told_at = excluded.told_at`, chunk)
		if err != nil {
			return err
		}
	}
	return nil
}

// Deserted counts the tenants that are there, and those whose consent is gone.
func (f *Fleet) Deserted(ctx context.Context) (tenants, disconnected int64, err error) {
	var found []struct {
		State tenantry.TenantState
		N     int64
	}
	err = f.c.read(ctx, "count tenants", &found, "SELECT state, count(*) AS n FROM tenants GROUP BY state")
	for _, row := range found {
		tenants += row.N
		if row.State == tenantry.TenantDisconnected {
			disconnected = row.N
		}
	}
	return tenants, disconnected, err
}
