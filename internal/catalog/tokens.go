package catalog

import (
	"context"
	"time"

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
