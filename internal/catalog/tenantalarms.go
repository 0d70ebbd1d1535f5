package catalog

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// The causes of alarms of one tenant.
const (
	// AlarmKey: its key does not open; nothing of it can be read or backed up.
	AlarmKey = "key"
	// AlarmDamage: what is stored of a series is damaged, until a backup has healed it.
	AlarmDamage = "damage"
	// AlarmCredential: a credential of its own ends within CredentialSoon.
	AlarmCredential = "credential"
	// AlarmCredentialLast: a credential of its own ends within CredentialLast, has ended, or is refused.
	AlarmCredentialLast = "credential_last"
	// AlarmPlace: the workers of its pool lack its data region's bucket, or an application in its cloud.
	AlarmPlace = "place"
	// AlarmMassChange: the pruning of a series is suspended, until that is acknowledged.
	AlarmMassChange = "mass_change"
)

// TenantAlarm is something that is wrong with one tenant, until it is cleared. Others are not
// affected, and admission goes on.
type TenantAlarm struct {
	Tenant  tenantry.TenantID
	Cause   string // AlarmKey, ...
	Subject string // resource/workload; "" for the whole tenant
	Detail  string // what was seen last
	Since   time.Time
	Seen    time.Time // the last time
}

// subjectOf names a series within its tenant.
func subjectOf(r tenantry.ResourceID, w tenantry.Workload) string {
	return string(r) + "/" + string(w)
}

// SubjectOf is the subject of alarms about a series.
func SubjectOf(s tenantry.Series) string { return subjectOf(s.Resource, s.Workload) }

// RaiseAlarm raises an alarm of the tenant, or notes what was seen of one that is raised. NotFound: no
// such tenant.
func (t *Tenant) RaiseAlarm(ctx context.Context, cause, subject, detail string, now time.Time) error {
	op := "raise the alarm " + cause + " of tenant " + string(t.id)
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.exists(ctx, tx, op); err != nil {
			return err
		}
		return t.raise(ctx, tx, cause, subject, detail, now)
	})
}

func (t *Tenant) raise(ctx context.Context, tx bun.Tx, cause, subject, detail string, now time.Time) error {
	_, err := exec(ctx, tx, `INSERT INTO tenant_alarms (tenant, cause, subject, detail, since, seen) VALUES (?0, ?1, ?2, ?3, ?4, ?4)
		ON CONFLICT (tenant, cause, subject) DO UPDATE SET detail = excluded.detail, seen = excluded.seen`,
		t.id, cause, subject, detail, micros(now))
	return err
}

// ClearAlarm ends an alarm of the tenant; none is fine.
func (t *Tenant) ClearAlarm(ctx context.Context, cause, subject string) error {
	return t.c.write(ctx, "clear the alarm "+cause+" of tenant "+string(t.id), func(ctx context.Context, tx bun.Tx) error {
		return t.clear(ctx, tx, cause, subject)
	})
}

func (t *Tenant) clear(ctx context.Context, tx bun.Tx, cause, subject string) error {
	_, err := exec(ctx, tx, "DELETE FROM tenant_alarms WHERE tenant = ? AND cause = ? AND subject = ?", t.id, cause, subject)
	return err
}

type tenantAlarmRow struct {
	Tenant                 tenantry.TenantID
	Cause, Subject, Detail string
	Since, Seen            int64
}

func tenantAlarms(found []tenantAlarmRow) []TenantAlarm {
	out := make([]TenantAlarm, len(found))
	for i, r := range found {
		out[i] = TenantAlarm{r.Tenant, r.Cause, r.Subject, r.Detail, fromMicros(r.Since), fromMicros(r.Seen)}
	}
	return out
}

// Alarms lists the alarms of the tenant by cause and subject, at most 1000.
func (t *Tenant) Alarms(ctx context.Context) ([]TenantAlarm, error) {
	var found []tenantAlarmRow
	err := t.c.read(ctx, "list alarms of tenant "+string(t.id), &found,
		"SELECT tenant, cause, subject, detail, since, seen FROM tenant_alarms WHERE tenant = ? ORDER BY cause, subject LIMIT ?", t.id, maxPage)
	return tenantAlarms(found), err
}

// TenantAlarms lists the alarms of all tenants, of one cause or, with "", of all: by tenant, cause and
// subject, at most limit (0: 100, at most 1000) from the tenant after on.
func (f *Fleet) TenantAlarms(ctx context.Context, cause string, after tenantry.TenantID, limit int) ([]TenantAlarm, error) {
	var found []tenantAlarmRow
	err := f.c.read(ctx, "list alarms of tenants", &found, `SELECT tenant, cause, subject, detail, since, seen FROM tenant_alarms
		WHERE tenant > ?0 AND (?1 = '' OR cause = ?1) ORDER BY tenant, cause, subject LIMIT ?2`, after, cause, page(limit))
	return tenantAlarms(found), err
}
