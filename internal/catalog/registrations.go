package catalog

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Registration is the registration of an application in a tenant by device code; package directory draws its
// states. What is secret of it (the device code, then the token of who signed in) is wrapped, and dropped as soon
// as it is of no use.
type Registration struct {
	State      tenantry.RegistrationState
	Name       string // of the application, as the customer sees it
	Restore    bool   // with permissions to write
	StartedBy  string
	StartedAt  time.Time
	StateAt    time.Time
	UserCode   string
	VerifyAt   string    // the page on which it is entered
	ExpiresAt  time.Time // of the code, then of the sign-in
	PollEvery  time.Duration
	Directory  string // of who signed in
	ObjectID   string // of the application
	ClientID   string
	Principal  string
	Credential string
	Reason     string
	Remedy     string
	KeyID      string
	Wrapped    []byte
}

type registrationRow struct {
	bun.BaseModel `bun:"table:registrations"`

	Tenant     tenantry.TenantID
	State      tenantry.RegistrationState
	Name       string
	Restore    bool
	StartedBy  string
	StartedAt  int64
	StateAt    int64
	UserCode   string
	VerifyAt   string
	ExpiresAt  int64
	PollEvery  int64
	Directory  string
	ObjectID   string
	ClientID   string
	Principal  string
	Credential string
	Reason     string
	Remedy     string
	KeyID      string
	Wrapped    []byte
}

const registrationColumns bun.Safe = `tenant, state, name, restore, started_by, started_at, state_at, user_code, verify_at, expires_at,
	poll_every, directory, object_id, client_id, principal, credential, reason, remedy, key_id, wrapped`

func (t *Tenant) registrationRow(r Registration) *registrationRow {
	return &registrationRow{
		Tenant: t.id, State: r.State, Name: r.Name, Restore: r.Restore, StartedBy: r.StartedBy, StartedAt: micros(r.StartedAt),
		StateAt: micros(r.StateAt), UserCode: r.UserCode, VerifyAt: r.VerifyAt, ExpiresAt: micros(r.ExpiresAt),
		PollEvery: r.PollEvery.Microseconds(), Directory: r.Directory, ObjectID: r.ObjectID, ClientID: r.ClientID, Principal: r.Principal,
		Credential: r.Credential, Reason: r.Reason, Remedy: r.Remedy, KeyID: r.KeyID, Wrapped: r.Wrapped,
	}
}

func (r registrationRow) registration() Registration {
	return Registration{
		State: r.State, Name: r.Name, Restore: r.Restore, StartedBy: r.StartedBy, StartedAt: fromMicros(r.StartedAt),
		StateAt: fromMicros(r.StateAt), UserCode: r.UserCode, VerifyAt: r.VerifyAt, ExpiresAt: fromMicros(r.ExpiresAt),
		PollEvery: time.Duration(r.PollEvery) * time.Microsecond, Directory: r.Directory, ObjectID: r.ObjectID, ClientID: r.ClientID,
		Principal: r.Principal, Credential: r.Credential, Reason: r.Reason, Remedy: r.Remedy, KeyID: r.KeyID, Wrapped: r.Wrapped,
	}
}

// StartRegistration begins a registration. One that ended is replaced; what it left in the tenant is found again.
// Conflict: one is under way. NotFound: no such tenant.
func (t *Tenant) StartRegistration(ctx context.Context, r Registration) error {
	op := "start a registration in tenant " + string(t.id)
	row := t.registrationRow(r)
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.exists(ctx, tx, op); err != nil {
			return err
		}
		if _, err := exec(ctx, tx, "DELETE FROM registrations WHERE tenant = ? AND state IN (?)", t.id, bun.List(tenantry.RegistrationEnded())); err != nil {
			return err
		}
		_, err := tx.NewInsert().Model(row).Exec(ctx)
		return err
	})
}

// Registration reads the tenant's registration, ended ones too. NotFound: there never was one.
func (t *Tenant) Registration(ctx context.Context) (Registration, error) {
	var found []registrationRow
	op := "read the registration in tenant " + string(t.id)
	if err := t.c.read(ctx, op, &found, "SELECT ? FROM registrations WHERE tenant = ?", registrationColumns, t.id); err != nil {
		return Registration{}, err
	}
	if len(found) == 0 {
		return Registration{}, tenantry.Errorf(tenantry.NotFound, "%s: there is none", op)
	}
	return found[0].registration(), nil
}

// MoveRegistration writes the registration, guarded by the state it was in: Conflict when that has changed.
func (t *Tenant) MoveRegistration(ctx context.Context, from tenantry.RegistrationState, r Registration) error {
	op := "move the registration in tenant " + string(t.id)
	row := t.registrationRow(r)
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		result, err := tx.NewUpdate().Model(row).ExcludeColumn("tenant").Where("tenant = ?", t.id).Where("state = ?", from).Exec(ctx)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if err == nil && n == 0 {
			err = tenantry.Errorf(tenantry.Conflict, "%s: it is %s no more", op, from)
		}
		return err
	})
}

// UseCredential gives a credential of the tenant its purpose: from now on it is used. NotFound.
func (t *Tenant) UseCredential(ctx context.Context, id string, purpose tenantry.Purpose) error {
	op := "use credential " + id
	return t.c.one(ctx, op, tenantry.Errorf(tenantry.NotFound, "%s: there is no such credential", op),
		"UPDATE credentials SET purpose = ? WHERE tenant = ? AND id = ?", purpose, t.id, id)
}
