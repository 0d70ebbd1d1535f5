package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Credential is how the fleet proves to Microsoft that it is an application: of a tenant, or of the provider. What
// is secret in it is wrapped; nobody but a worker opens it.
type Credential struct {
	ID          string
	Tenant      tenantry.TenantID // "" is the provider
	Purpose     tenantry.Purpose  // ToBackup, ToRestore
	Kind        CredentialKind
	ClientID    string // of the application
	Label       string // what people call it
	Fingerprint string // SHA-256 of a certificate
	KeyID       string // the wrapping key
	Wrapped     []byte
	ExpiresAt   time.Time // zero: not known
	AddedAt     time.Time
	AddedBy     string
	AcceptedAt  time.Time // when Microsoft took it first
	RefusedAt   time.Time // when Microsoft refused it since; zero: never
	Refusal     string
	// Of a certificate that the fleet registered itself, and rotates:
	ObjectID  string    // of the application; "" is none of those
	RemoteKey string    // the certificate's ID at Microsoft, "" is not known
	OfferedAt time.Time // when Microsoft was asked last to take it; zero: never
	Stuck     string    // why it could not be rotated
	RotateAt  time.Time // when somebody asked for it to be rotated now; zero: nobody did
}

// CredentialKind is what proves an application.
type CredentialKind string

// The kinds of credential.
const (
	ClientSecret CredentialKind = "secret"
	Certificate  CredentialKind = "certificate"
	Federated    CredentialKind = "federated" // a token file of the workers: nothing is stored
)

type credentialRow struct {
	bun.BaseModel `bun:"table:credentials"`

	Tenant      tenantry.TenantID
	ID          string
	Purpose     tenantry.Purpose
	Kind        CredentialKind
	ClientID    string
	Label       string
	Fingerprint string
	KeyID       string
	Wrapped     []byte
	ExpiresAt   int64
	AddedAt     int64
	AddedBy     string
	RefusedAt   int64
	Refusal     string
	AcceptedAt  int64
	ObjectID    string
	RemoteKey   string
	OfferedAt   int64
	Stuck       string
	RotateAt    int64
}

const credentialColumns bun.Safe = `tenant, id, purpose, kind, client_id, label, fingerprint, key_id, wrapped, expires_at,
	added_at, added_by, refused_at, refusal, accepted_at, object_id, remote_key, offered_at, stuck, rotate_at`

// maxCredentials is how many credentials an owner has at most: two of each purpose overlap while they are rotated.
const maxCredentials = 10

func (r credentialRow) credential() Credential {
	return Credential{
		ID: r.ID, Tenant: r.Tenant, Purpose: r.Purpose, Kind: r.Kind, ClientID: r.ClientID, Label: r.Label, Fingerprint: r.Fingerprint,
		KeyID: r.KeyID, Wrapped: r.Wrapped, ExpiresAt: fromMicros(r.ExpiresAt), AddedAt: fromMicros(r.AddedAt), AddedBy: r.AddedBy,
		AcceptedAt: fromMicros(r.AcceptedAt), RefusedAt: fromMicros(r.RefusedAt), Refusal: r.Refusal,
		ObjectID: r.ObjectID, RemoteKey: r.RemoteKey, OfferedAt: fromMicros(r.OfferedAt), Stuck: r.Stuck, RotateAt: fromMicros(r.RotateAt),
	}
}

// AddCredential stores a credential of the tenant. Conflict: its ID is there, the tenant has ten, or it is to rotate
// an application of which another one is. NotFound: no such tenant.
func (t *Tenant) AddCredential(ctx context.Context, cr Credential) error {
	op := "add a credential of tenant " + string(t.id)
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.exists(ctx, tx, op); err != nil {
			return err
		}
		return addCredential(ctx, tx, op, t.id, cr)
	})
}

// AddCredential is Tenant.AddCredential for the provider.
func (f *Fleet) AddCredential(ctx context.Context, cr Credential) error {
	const op = "add a credential of the provider"
	return f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error { return addCredential(ctx, tx, op, "", cr) })
}

func addCredential(ctx context.Context, tx bun.Tx, op string, owner tenantry.TenantID, cr Credential) error {
	var n []int
	if err := scan(ctx, tx, &n, "SELECT count(*) FROM credentials WHERE tenant = ?", owner); err != nil {
		return err
	}
	if n[0] >= maxCredentials {
		return tenantry.Errorf(tenantry.Conflict, "%s: there are %d: remove one that is of no use any more", op, n[0])
	}
	_, err := tx.NewInsert().Model(&credentialRow{
		Tenant: owner, ID: cr.ID, Purpose: cr.Purpose, Kind: cr.Kind, ClientID: cr.ClientID, Label: cr.Label, Fingerprint: cr.Fingerprint,
		KeyID: cr.KeyID, Wrapped: cr.Wrapped, ExpiresAt: micros(cr.ExpiresAt), AddedAt: micros(cr.AddedAt), AddedBy: cr.AddedBy,
		ObjectID: cr.ObjectID, RemoteKey: cr.RemoteKey,
	}).Exec(ctx)
	return err
}

// Credentials lists the tenant's credentials, the newest first.
func (t *Tenant) Credentials(ctx context.Context) ([]Credential, error) {
	return t.c.credentials(ctx, "list credentials of tenant "+string(t.id), t.id)
}

// Credentials is Tenant.Credentials for the provider.
func (f *Fleet) Credentials(ctx context.Context) ([]Credential, error) {
	return f.c.credentials(ctx, "list credentials of the provider", "")
}

func (c *Catalog) credentials(ctx context.Context, op string, owner tenantry.TenantID) ([]Credential, error) {
	var found []credentialRow
	err := c.read(ctx, op, &found, "SELECT ? FROM credentials WHERE tenant = ? ORDER BY added_at DESC, id DESC", credentialColumns, owner)
	if err != nil {
		return nil, err
	}
	out := make([]Credential, len(found))
	for i, row := range found {
		out[i] = row.credential()
	}
	return out, nil
}

// RemoveCredential deletes a credential of the tenant. NotFound.
func (t *Tenant) RemoveCredential(ctx context.Context, id string) error {
	return t.c.removeCredential(ctx, t.id, id)
}

// RemoveCredential is Tenant.RemoveCredential for the provider.
func (f *Fleet) RemoveCredential(ctx context.Context, id string) error {
	return f.c.removeCredential(ctx, "", id)
}

func (c *Catalog) removeCredential(ctx context.Context, owner tenantry.TenantID, id string) error {
	op := "remove credential " + id
	return c.one(ctx, op, tenantry.Errorf(tenantry.NotFound, "%s: there is no such credential", op),
		"DELETE FROM credentials WHERE tenant = ? AND id = ?", owner, id)
}

// CredentialTold notes what Microsoft said to a credential of the tenant: refusal "" is that it was accepted. One
// that is gone meanwhile is fine.
func (t *Tenant) CredentialTold(ctx context.Context, id, refusal string, now time.Time) error {
	return t.c.credentialTold(ctx, t.id, id, refusal, now)
}

// CredentialTold is Tenant.CredentialTold for the provider.
func (f *Fleet) CredentialTold(ctx context.Context, id, refusal string, now time.Time) error {
	return f.c.credentialTold(ctx, "", id, refusal, now)
}

func (c *Catalog) credentialTold(ctx context.Context, owner tenantry.TenantID, id, refusal string, now time.Time) error {
	op := fmt.Sprintf("note what became of credential %s", id)
	if refusal == "" {
		return c.one(ctx, op, nil, `UPDATE credentials SET accepted_at = CASE WHEN accepted_at = 0 THEN ?0 ELSE accepted_at END,
			refused_at = 0, refusal = '' WHERE tenant = ?1 AND id = ?2`, micros(now), owner, id)
	}
	return c.one(ctx, op, nil, "UPDATE credentials SET refused_at = ?, refusal = ? WHERE tenant = ? AND id = ?", micros(now), refusal, owner, id)
}

// OfferCredential notes that Microsoft is about to be asked to take a credential, guarded by when it was asked last.
// Conflict: somebody else is at it, or it is gone.
func (t *Tenant) OfferCredential(ctx context.Context, id string, last, now time.Time) error {
	op := "offer credential " + id
	return t.c.one(ctx, op, tenantry.Errorf(tenantry.Conflict, "%s: somebody else is at it", op),
		"UPDATE credentials SET offered_at = ? WHERE tenant = ? AND id = ? AND offered_at = ?", micros(now), t.id, id, micros(last))
}

// CredentialKnownAs notes the ID under which Microsoft knows a certificate, "" for not known. One that is gone
// meanwhile is fine.
func (t *Tenant) CredentialKnownAs(ctx context.Context, id, remoteKey string) error {
	return t.c.one(ctx, "note what Microsoft calls credential "+id, nil,
		"UPDATE credentials SET remote_key = ? WHERE tenant = ? AND id = ?", remoteKey, t.id, id)
}

// CredentialStuck notes why a credential could not be rotated; "": nothing is in the way. One that is gone meanwhile
// is fine.
func (t *Tenant) CredentialStuck(ctx context.Context, id, reason string) error {
	return t.c.one(ctx, "note what keeps credential "+id+" from being rotated", nil,
		"UPDATE credentials SET stuck = ? WHERE tenant = ? AND id = ?", reason, t.id, id)
}

// AskRotation notes that somebody wants a certificate that the fleet registered to be rotated now. Asked again it
// changes nothing. Conflict: it is none of those, or gone.
func (t *Tenant) AskRotation(ctx context.Context, id string, now time.Time) error {
	op := "ask for the rotation of credential " + id
	return t.c.one(ctx, op, tenantry.Errorf(tenantry.Conflict, "%s: there is none that the fleet registered", op),
		"UPDATE credentials SET rotate_at = CASE WHEN rotate_at = 0 THEN ? ELSE rotate_at END WHERE tenant = ? AND id = ? AND object_id <> ''", micros(now), t.id, id)
}

// SetRestoreRoles records what the tenant's application for restores may do. NotFound.
func (t *Tenant) SetRestoreRoles(ctx context.Context, roles []string) error {
	return t.update(ctx, "set roles for restores", "restore_roles = ?", joinRoles(roles))
}

// How long before the end of a credential people are told: first, and last.
const (
	CredentialSoon = 30 * day
	CredentialLast = 7 * day
)

// Alarm is the cause of the alarm that a credential raises: AlarmCredential, AlarmCredentialLast, "" for none. A
// later stage has a cause of its own, so that people are told again.
func (c Credential) Alarm(now time.Time) string {
	switch {
	case c.Warning(now) == "":
		return ""
	case c.Refusal != "" || c.ExpiresAt.Sub(now) < CredentialLast:
		return AlarmCredentialLast
	}
	return AlarmCredential
}

// CredentialAlarms lists the causes of alarms about credentials.
func CredentialAlarms() []string { return []string{AlarmCredential, AlarmCredentialLast} }

// Warning says what a person should see to: it is refused, has ended, or ends within CredentialSoon; "" if nothing.
func (c Credential) Warning(now time.Time) string {
	ends := c.ExpiresAt.UTC().Format(time.DateOnly)
	if c.ObjectID != "" && c.Refusal == "" && !c.ExpiresAt.IsZero() {
		return c.rotationWarning(ends, now)
	}
	switch {
	case c.Refusal != "":
		return "Microsoft refuses it (" + c.Refusal + "): add another and remove this one"
	case c.ExpiresAt.IsZero():
		return ""
	case !now.Before(c.ExpiresAt):
		return "it ended on " + ends + ": add another and remove this one"
	case c.ExpiresAt.Sub(now) < CredentialSoon:
		return "it ends on " + ends + ": add another before that"
	}
	return ""
}

// rotationWarning is Warning of a certificate that is rotated by itself: the fleet comes to that long before its end.
func (c Credential) rotationWarning(ends string, now time.Time) string {
	const again = "register the application again by device code, which finds it"
	why := c.Stuck
	if why == "" {
		why = "the next syncs try"
	}
	switch {
	case !now.Before(c.ExpiresAt):
		return "it ended on " + ends + ": " + again
	case c.ExpiresAt.Sub(now) < CredentialSoon:
		return "it ends on " + ends + ", and has not been rotated (" + why + "): " + again
	}
	return ""
}
