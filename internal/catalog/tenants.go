package catalog

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// TenantRow is what is known of a tenant.
type TenantRow struct {
	ID                                       tenantry.TenantID
	Name                                     string
	Directory                                string // expected Microsoft tenant: GUID or domain, given when added
	DirectoryID                              string // proved Microsoft tenant GUID, "" before connect
	State                                    tenantry.TenantState
	Reason                                   string    // of the state, for a person
	Weight                                   int       // service level, 1..100, default 10
	Licences                                 int64     // from the directory sync, sizes the SharePoint budget
	Users                                    int64     // number of directory users, sizes the identity budget
	Roles                                    []string  // application permissions that its consent gave when it was last proved
	RestoreRoles                             []string  // likewise, by which restores write
	AddedAt, StateAt, LastSyncAt, NextSyncAt time.Time // zero = never

	Cloud           string        // Microsoft's, in which it lives: global, gcchigh, dod, china; "" the fleet's own
	Region          string        // where its data lies, default DefaultRegion
	Pool            string        // whose workers do its work: one of its region, default MainPool
	ApplicationName string        // of an application that is registered for it, "" a name of ours
	SyncEvery       time.Duration // between two syncs of its directory, 0 a day
	Seats           SeatMode      // how its seats are given, default SeatsAutomatic
}

// MainPool is the pool of workers that every fleet has.
const MainPool = "main"

// defaultWeight is the service level of a tenant that is given none.
const defaultWeight = 10

type tenantRow struct {
	bun.BaseModel `bun:"table:tenants"`

	ID          tenantry.TenantID
	Name        string
	Directory   string
	DirectoryID string
	State       tenantry.TenantState
	Reason      string
	Weight      int
	Licences    int64
	Users       int64
	Roles       string
	AddedAt     int64
	StateAt     int64
	LastSyncAt  int64
	NextSyncAt  int64

	Cloud           string
	Region          string
	Pool            string
	ApplicationName string
	SyncEvery       int64
	SeatMode        SeatMode
	RestoreRoles    string
}

const tenantColumns bun.Safe = `id, name, directory, directory_id, state, reason, weight, licences, users, roles,
	added_at, state_at, last_sync_at, next_sync_at, cloud, region, pool, application_name, sync_every, seat_mode, restore_roles`

// columns is where the values of tenantColumns go.
func (r *tenantRow) columns() []any {
	return []any{
		&r.ID, &r.Name, &r.Directory, &r.DirectoryID, &r.State, &r.Reason, &r.Weight, &r.Licences, &r.Users, &r.Roles,
		&r.AddedAt, &r.StateAt, &r.LastSyncAt, &r.NextSyncAt, &r.Cloud, &r.Region, &r.Pool, &r.ApplicationName, &r.SyncEvery, &r.SeatMode, &r.RestoreRoles,
	}
}

func (r tenantRow) tenant() TenantRow {
	return TenantRow{
		ID: r.ID, Name: r.Name, Directory: r.Directory, DirectoryID: r.DirectoryID, State: r.State, Reason: r.Reason,
		Weight: r.Weight, Licences: r.Licences, Users: r.Users, Roles: rolesOf(r.Roles),
		AddedAt: fromMicros(r.AddedAt), StateAt: fromMicros(r.StateAt),
		LastSyncAt: fromMicros(r.LastSyncAt), NextSyncAt: fromMicros(r.NextSyncAt),
		Cloud: r.Cloud, Region: cmp.Or(r.Region, DefaultRegion), Pool: r.Pool, ApplicationName: r.ApplicationName,
		SyncEvery: time.Duration(r.SyncEvery) * time.Microsecond, Seats: r.SeatMode, RestoreRoles: rolesOf(r.RestoreRoles),
	}
}

// rolesOf reads what SetRoles wrote; nil if that was never.
func rolesOf(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Fields(text)
}

// AddTenant inserts a tenant, of which no workload is enabled. A zero State is pending, a zero Weight 10, a zero AddedAt
// now, no Region the default one, no Pool the main one, no Seats automatic. Invalid: no ID, a weight or an interval out
// of range, no such mode of seats; with the code "pool": no such pool, or one of another region. Conflict: its ID,
// Directory or DirectoryID is there already.
func (f *Fleet) AddTenant(ctx context.Context, t TenantRow) error {
	op := "add tenant " + string(t.ID)
	if t.State == "" {
		t.State = tenantry.TenantPending
	}
	if t.Weight == 0 {
		t.Weight = defaultWeight
	}
	t.Region, t.Pool, t.Seats = cmp.Or(t.Region, DefaultRegion), cmp.Or(t.Pool, MainPool), cmp.Or(t.Seats, SeatsAutomatic)
	if t.AddedAt.IsZero() {
		t.AddedAt = time.Now()
	}
	if t.StateAt.IsZero() {
		t.StateAt = t.AddedAt
	}
	if t.ID == "" {
		return tenantry.Errorf(tenantry.Invalid, "%s: id is empty", op)
	}
	if err := (TenantChange{Weight: &t.Weight, SyncEvery: &t.SyncEvery, Seats: &t.Seats}).validate(op); err != nil {
		return err
	}
	row := &tenantRow{
		ID: t.ID, Name: t.Name, Directory: t.Directory, DirectoryID: t.DirectoryID, State: t.State, Reason: t.Reason,
		Weight: t.Weight, Licences: t.Licences, Users: t.Users,
		AddedAt: micros(t.AddedAt), StateAt: micros(t.StateAt), LastSyncAt: micros(t.LastSyncAt), NextSyncAt: micros(t.NextSyncAt),
		Cloud: t.Cloud, Region: t.Region, Pool: t.Pool, ApplicationName: t.ApplicationName,
		SyncEvery: t.SyncEvery.Microseconds(), SeatMode: t.Seats,
	}
	workloads := freshWorkloads(t.ID, t.AddedAt)
	return f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := f.c.poolServes(ctx, tx, op, row.Pool, row.Region); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
			return err
		}
		return writeWorkloads(ctx, tx, workloads)
	})
}

// TenantNames puts what people call tenants beside their IDs; those that are not there stay as they are.
func (f *Fleet) TenantNames(ctx context.Context, names map[tenantry.TenantID]string) error {
	for chunk := range slices.Chunk(slices.Collect(maps.Keys(names)), batch) {
		var found []struct {
			ID   tenantry.TenantID
			Name string
		}
		if err := f.c.read(ctx, "name tenants", &found, "SELECT id, name FROM tenants WHERE id IN (?)", bun.List(chunk)); err != nil {
			return err
		}
		for _, row := range found {
			names[row.ID] = row.Name
		}
	}
	return nil
}

// Tenants lists tenants by ascending ID from after on; limit 0 is 100, at most 1000.
func (f *Fleet) Tenants(ctx context.Context, after tenantry.TenantID, limit int) ([]TenantRow, error) {
	var found []tenantRow
	err := f.c.read(ctx, "list tenants", &found,
		"SELECT ? FROM tenants WHERE id > ? ORDER BY id LIMIT ?", tenantColumns, after, page(limit))
	if err != nil {
		return nil, err
	}
	out := make([]TenantRow, len(found))
	for i, row := range found {
		out[i] = row.tenant()
	}
	return out, nil
}

// Get reads the tenant. NotFound when there is none.
func (t *Tenant) Get(ctx context.Context) (TenantRow, error) {
	var found []tenantRow
	op := "read tenant " + string(t.id)
	if err := t.c.read(ctx, op, &found, "SELECT ? FROM tenants WHERE id = ?", tenantColumns, t.id); err != nil {
		return TenantRow{}, err
	}
	if len(found) == 0 {
		return TenantRow{}, t.notFound(op)
	}
	return found[0].tenant(), nil
}

func (t *Tenant) notFound(op string) error {
	return tenantry.Errorf(tenantry.NotFound, "%s: there is no tenant %s", op, t.id)
}

// exists returns NotFound unless the tenant is there.
func (t *Tenant) exists(ctx context.Context, tx bun.Tx, op string) error {
	var found []tenantry.TenantID
	if err := scan(ctx, tx, &found, "SELECT id FROM tenants WHERE id = ?", t.id); err != nil {
		return err
	}
	if len(found) == 0 {
		return t.notFound(op)
	}
	return nil
}

// update changes columns of the tenant's row. NotFound when there is none.
func (t *Tenant) update(ctx context.Context, what, set string, args ...any) error {
	op := what + " of tenant " + string(t.id)
	return t.c.one(ctx, op, t.notFound(op), "UPDATE tenants SET "+set+" WHERE id = ?", append(args, t.id)...)
}

// SetState sets the state and its reason, for a person. While a tenant is disconnected or
// refused, nothing but its connect tasks is admitted: the others wait. NotFound.
func (t *Tenant) SetState(ctx context.Context, s tenantry.TenantState, reason string) error {
	switch s {
	case tenantry.TenantPending, tenantry.TenantConnected, tenantry.TenantRefused, tenantry.TenantDisconnected:
	default:
		return tenantry.Errorf(tenantry.Invalid, "set state of tenant %s: there is no state %q", t.id, s)
	}
	return t.update(ctx, "set state",
		"state_at = CASE WHEN state = ? THEN state_at ELSE ? END, state = ?, reason = ?", s, t.c.now(), s, reason)
}

// SetDirectoryID records the proved Microsoft tenant. NotFound; Conflict when another
// tenant has it.
func (t *Tenant) SetDirectoryID(ctx context.Context, directoryID string) error {
	return t.update(ctx, "set Microsoft tenant", "directory_id = ?", directoryID)
}

// SetSize records the number of directory users and of licences, which size budgets. NotFound.
func (t *Tenant) SetSize(ctx context.Context, users, licences int64) error {
	return t.update(ctx, "set size", "users = ?, licences = ?", users, licences)
}

// SetRoles records the application permissions that a proved consent gives. NotFound.
func (t *Tenant) SetRoles(ctx context.Context, roles []string) error {
	return t.update(ctx, "set roles", "roles = ?", joinRoles(roles))
}

func joinRoles(roles []string) string { return strings.Join(roles, " ") }

// SyncDone records a finished directory sync and when the next is due. NotFound.
func (t *Tenant) SyncDone(ctx context.Context, at, next time.Time) error {
	return t.update(ctx, "record the sync", "last_sync_at = ?, next_sync_at = ?", micros(at), micros(next))
}

// StartConsent stores the hash of a one-time state that expires; UseConsent burns it. NotFound.
func (t *Tenant) StartConsent(ctx context.Context, stateHash string, expires time.Time) error {
	op := "start consent of tenant " + string(t.id)
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.exists(ctx, tx, op); err != nil {
			return err
		}
		_, err := exec(ctx, tx, "INSERT INTO consents (state_hash, tenant, expires_at) VALUES (?, ?, ?)",
			stateHash, t.id, micros(expires))
		return err
	})
}

// UseConsent burns a state and returns the tenant it was made for. NotFound: unknown,
// used or expired.
func (f *Fleet) UseConsent(ctx context.Context, stateHash string, now time.Time) (tenantry.TenantID, error) {
	const op = "use consent"
	var found []tenantry.TenantID
	err := f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		found = nil
		return scan(ctx, tx, &found, "DELETE FROM consents WHERE state_hash = ? AND expires_at > ? RETURNING tenant",
			stateHash, micros(now))
	})
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", tenantry.Errorf(tenantry.NotFound, "%s: the state is unknown, used or expired", op)
	}
	return found[0], nil
}
