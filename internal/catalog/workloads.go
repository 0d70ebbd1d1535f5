package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// WorkloadRow is how far one workload of a tenant is on its way to being protected (see
// tenantry.EnableState for the state machine).
type WorkloadRow struct {
	Workload tenantry.Workload
	Enabled  bool // somebody asked for it
	Trusted  bool // its permissions are not looked for: the customer grants them another way
	State    tenantry.EnableState
	Reason   string // of the state, for a person
	Remedy   string // what that person can do
	StateAt  time.Time
}

// Protected reports whether resources may be enrolled for the workload.
func (r WorkloadRow) Protected() bool { return r.Enabled && r.State != tenantry.Unauthorised }

type workloadRow struct {
	bun.BaseModel `bun:"table:tenant_workloads"`

	Tenant   tenantry.TenantID
	Workload tenantry.Workload
	Enabled  bool
	Trusted  bool
	State    tenantry.EnableState
	Reason   string
	Remedy   string
	StateAt  int64
}

func (r workloadRow) row() WorkloadRow {
	return WorkloadRow{
		Workload: r.Workload, Enabled: r.Enabled, Trusted: r.Trusted, State: r.State, Reason: r.Reason, Remedy: r.Remedy,
		StateAt: fromMicros(r.StateAt),
	}
}

// freshWorkloads are the rows of a new tenant: nothing is enabled.
func freshWorkloads(id tenantry.TenantID, at time.Time) []workloadRow {
	var list []workloadRow
	for _, w := range tenantry.Workloads() {
		list = append(list, workloadRow{Tenant: id, Workload: w, State: tenantry.Unauthorised, StateAt: micros(at)})
	}
	return list
}

// Workloads lists all workloads of the tenant, in the order of tenantry.Workloads. NotFound: no such tenant.
func (t *Tenant) Workloads(ctx context.Context) ([]WorkloadRow, error) {
	op := "list workloads of tenant " + string(t.id)
	rows, err := t.workloads(ctx, op, t.c.reader)
	if err != nil {
		return nil, err
	}
	if rows[0].StateAt.IsZero() { // it has no rows, or is no tenant
		_, err = t.Get(ctx)
	}
	return rows, err
}

// workloads reads them. A tenant without rows was added by a process of the last release, which knew no
// such thing: its workloads are enabled.
func (t *Tenant) workloads(ctx context.Context, op string, db bun.IDB) ([]WorkloadRow, error) {
	var found []workloadRow
	err := db.NewRaw("SELECT tenant, workload, enabled, trusted, state, reason, remedy, state_at FROM tenant_workloads WHERE tenant = ?", t.id).
		Scan(ctx, &found)
	if err != nil {
		return nil, wrapIn(ctx, op, err)
	}
	rows := make([]WorkloadRow, 0, len(tenantry.Workloads()))
	for _, w := range tenantry.Workloads() {
		i := slices.IndexFunc(found, func(r workloadRow) bool { return r.Workload == w })
		if i < 0 {
			rows = append(rows, WorkloadRow{Workload: w, Enabled: true, State: tenantry.Ready})
			continue
		}
		rows = append(rows, found[i].row())
	}
	return rows, nil
}

// Enabling is how a workload is enabled.
type Enabling struct {
	Missing []string // the permissions that it lacks: none, or ask for them
	Trusted bool     // they are not to be looked for
	// Told is who is told of its first backup; nil: whoever is told about the tenant. Those who are named are told
	// about the tenant later: the settings become its own where it has none, else their addresses join its own.
	Told *tenantry.Notices
}

// EnableWorkload enables a workload. What it protects is enrolled in the same transaction. Asked again it
// tries again what failed. Invalid names a field of Told; NotFound: no such tenant.
func (t *Tenant) EnableWorkload(ctx context.Context, w tenantry.Workload, e Enabling, now time.Time) error {
	if e.Told != nil {
		if err := e.Told.Validate(); err != nil {
			return err
		}
	}
	enable := func(r WorkloadRow) WorkloadRow {
		if r.Workload != w {
			return r
		}
		r.Enabled, r.Trusted = true, e.Trusted
		switch {
		case len(e.Missing) > 0 && !e.Trusted:
			return r.lacks(e.Missing)
		case r.State != tenantry.Listing && r.State != tenantry.Ready:
			return r.to(tenantry.Enabling, "", "")
		}
		return r
	}
	note := func(ctx context.Context, tx bun.Tx, before []WorkloadRow) error {
		i := slices.IndexFunc(before, func(r WorkloadRow) bool { return r.Workload == w })
		if i < 0 {
			return nil
		}
		return t.noteEnabled(ctx, tx, before[i], e.Told, now)
	}
	return t.moveWorkloads(ctx, "enable "+string(w), now, enable, note)
}

// DisableWorkload disables a workload: what it protected is protected no more, its backups stay. missing are
// the permissions it lacks. NotFound: no such tenant.
func (t *Tenant) DisableWorkload(ctx context.Context, w tenantry.Workload, missing []string, now time.Time) error {
	disable := func(r WorkloadRow) WorkloadRow {
		if r.Workload != w {
			return r
		}
		r.Enabled, r.Trusted = false, false
		return r.authorised(missing)
	}
	return t.moveWorkloads(ctx, "disable "+string(w), now, disable, func(ctx context.Context, tx bun.Tx, _ []WorkloadRow) error {
		_, err := exec(ctx, tx, "UPDATE enablings SET stage = 'ended' WHERE tenant = ? AND workload = ?", t.id, w)
		return err
	})
}

// AuthoriseWorkloads notes which permissions each workload lacks, as a token has just proved; a workload that
// is not in the map lacks none. NotFound: no such tenant.
func (t *Tenant) AuthoriseWorkloads(ctx context.Context, missing map[tenantry.Workload][]string, now time.Time) error {
	return t.moveWorkloads(ctx, "authorise workloads", now, func(r WorkloadRow) WorkloadRow { return r.authorised(missing[r.Workload]) }, nil)
}

// ListingBegan notes that a sync reads what the enabled workloads protect. NotFound: no such tenant.
func (t *Tenant) ListingBegan(ctx context.Context, now time.Time) error {
	return t.moveWorkloads(ctx, "begin to list workloads", now, func(r WorkloadRow) WorkloadRow {
		if r.State == tenantry.Enabling {
			return r.to(tenantry.Listing, "", "")
		}
		return r
	}, nil)
}

// ListingEnded notes that a sync has listed everything, but for the kinds of resource in the map, each with
// the reason. NotFound: no such tenant.
func (t *Tenant) ListingEnded(ctx context.Context, failed map[tenantry.ResourceKind]string, now time.Time) error {
	return t.moveWorkloads(ctx, "end listing workloads", now, func(r WorkloadRow) WorkloadRow {
		reason, bad := failed[tenantry.KindOfWorkload(r.Workload)]
		switch {
		case !r.Enabled || r.State == tenantry.Unauthorised:
			return r
		case bad:
			return r.to(tenantry.Failed, "cannot be listed: "+reason, "see to it that the customer has the service and the consent covers it, then enable the workload again")
		case r.State == tenantry.Enabling || r.State == tenantry.Listing:
			return r.to(tenantry.Ready, "", "")
		}
		return r
	}, nil)
}

// authorised is the row once it is known which permissions it lacks.
func (r WorkloadRow) authorised(missing []string) WorkloadRow {
	switch {
	case len(missing) > 0 && !r.Trusted:
		return r.lacks(missing)
	case !r.Enabled:
		return r.to(tenantry.Authorised, "", "")
	case r.State == tenantry.Unauthorised, r.State == tenantry.Authorised, r.State == tenantry.Failed:
		return r.to(tenantry.Enabling, "", "")
	}
	return r
}

func (r WorkloadRow) lacks(missing []string) WorkloadRow {
	state := tenantry.Unauthorised
	if r.Enabled && r.State != tenantry.Unauthorised && r.State != tenantry.Authorised {
		state = tenantry.Failed
	}
	return r.to(state, "the consent lacks "+strings.Join(missing, ", "), "have an administrator of the tenant consent again")
}

func (r WorkloadRow) to(s tenantry.EnableState, reason, remedy string) WorkloadRow {
	if r.State != s {
		r.StateAt = time.Time{}
	}
	r.State, r.Reason, r.Remedy = s, reason, remedy
	return r
}

// moveWorkloads writes what move makes of each row, and enrols what that protects, or protects no more. In the same
// transaction it calls also, unless that is nil, with the rows as they were.
func (t *Tenant) moveWorkloads(ctx context.Context, what string, now time.Time, move func(WorkloadRow) WorkloadRow,
	also func(context.Context, bun.Tx, []WorkloadRow) error,
) error {
	op := fmt.Sprintf("%s of tenant %s", what, t.id)
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.lockEnrolment(ctx, tx, op); err != nil {
			return err
		}
		before, err := t.workloads(ctx, op, tx)
		if err != nil {
			return err
		}
		var changed []workloadRow
		var kinds []tenantry.ResourceKind
		for _, r := range before {
			next := move(r)
			if next == r {
				continue
			}
			if next.StateAt.IsZero() {
				next.StateAt = now
			}
			changed = append(changed, workloadRow{
				Tenant: t.id, Workload: next.Workload, Enabled: next.Enabled, Trusted: next.Trusted, State: next.State,
				Reason: next.Reason, Remedy: next.Remedy, StateAt: micros(next.StateAt),
			})
			if kind := tenantry.KindOfWorkload(r.Workload); next.Protected() != r.Protected() && !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
		if also != nil {
			if err := also(ctx, tx, before); err != nil {
				return err
			}
		}
		if err := writeWorkloads(ctx, tx, changed); err != nil || len(kinds) == 0 {
			return err
		}
		return t.enrolAll(ctx, tx, kinds, now)
	})
}

func writeWorkloads(ctx context.Context, tx bun.Tx, changed []workloadRow) error {
	if len(changed) == 0 {
		return nil
	}
	_, err := tx.NewInsert().Model(&changed).On("CONFLICT (tenant, workload) DO UPDATE").
		Set("enabled = excluded.enabled, trusted = excluded.trusted, state = excluded.state").
		Set("reason = excluded.reason, remedy = excluded.remedy, state_at = excluded.state_at").Exec(ctx)
	return err
}

// enabled are the workloads for which resources may be enrolled.
func (t *Tenant) enabled(ctx context.Context, db bun.IDB) (map[tenantry.Workload]bool, error) {
	rows, err := t.workloads(ctx, "read workloads of tenant "+string(t.id), db)
	set := map[tenantry.Workload]bool{}
	for _, r := range rows {
		set[r.Workload] = r.Protected()
	}
	return set, err
}

// Eligible counts the tenant's active resources that have each workload, by their licences or kind.
func (t *Tenant) Eligible(ctx context.Context) (map[tenantry.Workload]int64, error) {
	var found []struct {
		Workloads string
		N         int64
	}
	err := t.c.read(ctx, "count eligible resources of tenant "+string(t.id), &found,
		"SELECT workloads, count(*) AS n FROM resources WHERE tenant = ? AND state = ? GROUP BY workloads", t.id, tenantry.Active)
	if err != nil {
		return nil, err
	}
	counts := map[tenantry.Workload]int64{}
	for _, row := range found {
		for _, w := range split[tenantry.Workload](row.Workloads) {
			counts[w] += row.N
		}
	}
	return counts, nil
}
