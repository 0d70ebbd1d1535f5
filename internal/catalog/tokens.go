package catalog

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// AddToken stores the hash of an API token under a name. Conflict: the name is taken.
func (f *Fleet) AddToken(ctx context.Context, name, hash string, now time.Time) error {
	return f.c.one(ctx, "add token "+name, nil,
		"INSERT INTO tokens (hash, name, created_at) VALUES (?, ?, ?)", hash, name, micros(now))
}

// TokenName returns the name under which a token's hash is stored. Unauthorized when it is not.
func (f *Fleet) TokenName(ctx context.Context, hash string) (string, error) {
	const op = "look up token"
	var found []string
	if err := f.c.read(ctx, op, &found, "SELECT name FROM tokens WHERE hash = ?", hash); err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", tenantry.Errorf(tenantry.Unauthorized, "%s: it is not known", op)
	}
	return found[0], nil
}

// CountTokens returns how many tokens there are.
func (f *Fleet) CountTokens(ctx context.Context) (int, error) {
	var n int
	err := f.c.read(ctx, "count tokens", &n, "SELECT count(*) FROM tokens")
	return n, err
}

// Secret returns the secret of the fleet under a name: 32 random bytes in base64url, made
// by whoever asks first and the same for all processes ever after. Like every row it is
// in dumps of the database: whoever can read that can read the hashes beside it, too.
func (f *Fleet) Secret(ctx context.Context, name string) (tenantry.Secret, error) {
	op := "read secret " + name
	var found []string
	if err := f.c.read(ctx, op, &found, "SELECT value FROM secrets WHERE name = ?", name); err != nil {
		return tenantry.Secret{}, err
	}
	if len(found) > 0 {
		return tenantry.NewSecret(found[0]), nil
	}
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // never fails since Go 1.24
	err := f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		_, err := exec(ctx, tx, "INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
			name, base64.RawURLEncoding.EncodeToString(fresh))
		if err != nil {
			return err
		}
		found = nil // another process may have been first
		return scan(ctx, tx, &found, "SELECT value FROM secrets WHERE name = ?", name)
	})
	if err != nil {
		return tenantry.Secret{}, err
	}
	if len(found) == 0 {
		return tenantry.Secret{}, tenantry.Errorf(tenantry.Internal, "%s: it was deleted meanwhile", op)
	}
	return tenantry.NewSecret(found[0]), nil
}

// AuditEntry is one thing that somebody did.
type AuditEntry struct {
	ID     int64 // rises
	At     time.Time
	Actor  string // name of a token or process
	Tenant tenantry.TenantID
	Action string
	Detail string
}

// Audit records what somebody did; tenant may be empty. Entries are never deleted.
func (f *Fleet) Audit(ctx context.Context, at time.Time, actor, tenant, action, detail string) error {
	return f.c.one(ctx, "record audit", nil,
		"INSERT INTO audit (at, actor, tenant, action, detail) VALUES (?, ?, ?, ?, ?)", micros(at), actor, tenant, action, detail)
}

// AuditTrail lists what was done to the tenant, newest first, below the ID before (0 all);
// limit 0 is 100, at most 1000.
func (t *Tenant) AuditTrail(ctx context.Context, before int64, limit int) ([]AuditEntry, error) {
	var found []struct {
		ID     int64
		At     int64
		Actor  string
		Tenant tenantry.TenantID
		Action string
		Detail string
	}
	err := t.c.read(ctx, "read audit of tenant "+string(t.id), &found, `
		SELECT id, at, actor, tenant, action, detail FROM audit
		WHERE tenant = ?0 AND (?1 = 0 OR id < ?1) ORDER BY id DESC LIMIT ?2`, t.id, before, page(limit))
	if err != nil {
		return nil, err
	}
	out := make([]AuditEntry, len(found))
	for i, row := range found {
		out[i] = AuditEntry{ID: row.ID, At: fromMicros(row.At), Actor: row.Actor, Tenant: row.Tenant, Action: row.Action, Detail: row.Detail}
	}
	return out, nil
}
