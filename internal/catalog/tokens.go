package catalog

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Token is what is known of an API token; the token itself is known to its holder alone.
type Token struct {
	Name      string            // unique in its tenant, or among those of the whole fleet
	Role      string            // what it may do; the API knows the roles
	Tenant    tenantry.TenantID // the only tenant it is good for; "" is the whole fleet
	CreatedBy string            // key of a token, or a process
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
}

// Key names a token in the whole fleet: NAME, or TENANT/NAME of a tenant's. It is who the audit log names.
func (t Token) Key() string { return tokenKey(t.Tenant, t.Name) }

func tokenKey(tenant tenantry.TenantID, name string) string {
	if tenant == "" {
		return name
	}
	return string(tenant) + "/" + name
}

// SplitKey says whose token a key names, "" is the fleet's, and its name.
func SplitKey(key string) (tenantry.TenantID, string) {
	if tenant, name, found := strings.Cut(key, "/"); found && strings.HasPrefix(tenant, "t-") {
		return tenantry.TenantID(tenant), name
	}
	return "", key
}

// tokenRow has the key of a token as its name.
type tokenRow struct {
	Name      string
	Role      string
	Tenant    tenantry.TenantID
	CreatedBy string
	CreatedAt int64
	ExpiresAt int64
}

func (r tokenRow) token() Token {
	return Token{
		Name: strings.TrimPrefix(r.Name, tokenKey(r.Tenant, "")), Role: r.Role, Tenant: r.Tenant, CreatedBy: r.CreatedBy,
		CreatedAt: fromMicros(r.CreatedAt), ExpiresAt: fromMicros(r.ExpiresAt),
	}
}

// AddToken stores a token by its hash. Conflict: the name is taken by another one of its tenant.
func (f *Fleet) AddToken(ctx context.Context, t Token, hash string) error {
	return f.c.one(ctx, "add token "+t.Name, nil,
		"INSERT INTO tokens (hash, name, role, tenant, created_by, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
		hash, t.Key(), t.Role, t.Tenant, t.CreatedBy, micros(t.CreatedAt), micros(t.ExpiresAt))
}

// sessions are the tokens that AddSession made: no token can have this name.
const sessions = "sign-in/"

// AddSession stores a token that somebody got by signing in, and drops those that expired
// before it was made. Its CreatedBy is ours. Conflict: the name is taken.
func (f *Fleet) AddSession(ctx context.Context, t Token, hash string) error {
	return f.c.write(ctx, "add session of "+t.Name, func(ctx context.Context, tx bun.Tx) error {
		if _, err := exec(ctx, tx, "DELETE FROM tokens WHERE created_by = ? AND expires_at < ?", sessions, micros(t.CreatedAt)); err != nil {
			return err
		}
		_, err := exec(ctx, tx, "INSERT INTO tokens (hash, name, role, tenant, created_by, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
			hash, t.Key(), t.Role, t.Tenant, sessions, micros(t.CreatedAt), micros(t.ExpiresAt))
		return err
	})
}

// Token returns what is known of the token with a hash. Unauthorized when there is none,
// or when it has expired.
func (f *Fleet) Token(ctx context.Context, hash string, now time.Time) (Token, error) {
	const op = "look up token"
	var found []tokenRow
	err := f.c.read(ctx, op, &found, "SELECT name, role, tenant, created_by, created_at, expires_at FROM tokens WHERE hash = ?", hash)
	if err != nil {
		return Token{}, err
	}
	if len(found) == 0 {
		return Token{}, tenantry.Errorf(tenantry.Unauthorized, "%s: it is not known", op)
	}
	t := found[0].token()
	if !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt) {
		return Token{}, tenantry.Errorf(tenantry.Unauthorized, "%s: it expired at %s", op, t.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return t, nil
}

// Tokens lists tokens by key, after the given one, expired ones too: those of one tenant,
// or all if it is ""; limit 0 is 100, at most 1000.
func (f *Fleet) Tokens(ctx context.Context, tenant tenantry.TenantID, after string, limit int) ([]Token, error) {
	var found []tokenRow
	err := f.c.read(ctx, "list tokens", &found, `
		SELECT name, role, tenant, created_by, created_at, expires_at FROM tokens
		WHERE (?0 = '' OR tenant = ?0) AND name > ?1 ORDER BY name LIMIT ?2`, tenant, after, page(limit))
	if err != nil {
		return nil, err
	}
	return tokensIn(found), nil
}

func tokensIn(rows []tokenRow) []Token {
	out := make([]Token, len(rows))
	for i, row := range rows {
		out[i] = row.token()
	}
	return out
}

// TokensNamed lists the tokens that have a name, whosever they are, at most 100.
func (f *Fleet) TokensNamed(ctx context.Context, name string) ([]Token, error) {
	var found []tokenRow
	err := f.c.read(ctx, "look up tokens by name", &found, `
		SELECT name, role, tenant, created_by, created_at, expires_at FROM tokens
		WHERE (tenant = '' AND name = ?0) OR (tenant <> '' AND name = tenant || '/' || ?0) ORDER BY name LIMIT 100`, name)
	return tokensIn(found), err
}

// RevokeToken deletes the token of a name of one tenant, or of the fleet if it is "".
// NotFound when there is none.
func (f *Fleet) RevokeToken(ctx context.Context, tenant tenantry.TenantID, name string) error {
	op := "revoke token " + name
	return f.c.one(ctx, op, tenantry.Errorf(tenantry.NotFound, "%s: it is not known", op),
		"DELETE FROM tokens WHERE tenant = ? AND name = ?", tenant, tokenKey(tenant, name))
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
	if known, err := f.KnownSecret(ctx, name); err != nil || !known.IsZero() {
		return known, err
	}
	var found []string
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

// KnownSecret is Secret, but zero where nobody has asked for it yet.
func (f *Fleet) KnownSecret(ctx context.Context, name string) (tenantry.Secret, error) {
	var found []string
	err := f.c.read(ctx, "read secret "+name, &found, "SELECT value FROM secrets WHERE name = ?", name)
	if err != nil || len(found) == 0 {
		return tenantry.Secret{}, err
	}
	return tenantry.NewSecret(found[0]), nil
}

// AuditEntry is one thing that somebody did.
type AuditEntry struct {
	ID     int64 // rises
	At     time.Time
	Actor  string            // key of a token, or a process
	Tenant tenantry.TenantID // may be empty
	Action string
	Detail string
	Source string // address the request came from, if it is one
}

// Audit records what somebody did. Entries are never changed or deleted: the database
// itself refuses it. The ID is given by it.
func (f *Fleet) Audit(ctx context.Context, e AuditEntry) error {
	return f.c.one(ctx, "record audit", nil,
		"INSERT INTO audit (at, actor, tenant, action, detail, source) VALUES (?, ?, ?, ?, ?, ?)",
		micros(e.At), e.Actor, e.Tenant, e.Action, e.Detail, e.Source)
}

type auditRow struct {
	ID     int64
	At     int64
	Actor  string
	Tenant tenantry.TenantID
	Action string
	Detail string
	Source string
}

func auditEntries(rows []auditRow) []AuditEntry {
	out := make([]AuditEntry, len(rows))
	for i, r := range rows {
		out[i] = AuditEntry{ID: r.ID, At: fromMicros(r.At), Actor: r.Actor, Tenant: r.Tenant, Action: r.Action, Detail: r.Detail, Source: r.Source}
	}
	return out
}

// AuditTrail lists what was done to the tenant, newest first, below the ID before (0 all);
// limit 0 is 100, at most 1000.
func (t *Tenant) AuditTrail(ctx context.Context, before int64, limit int) ([]AuditEntry, error) {
	var found []auditRow
	err := t.c.read(ctx, "read audit of tenant "+string(t.id), &found, `
		SELECT id, at, actor, tenant, action, detail, source FROM audit
		WHERE tenant = ?0 AND (?1 = 0 OR id < ?1) ORDER BY id DESC LIMIT ?2`, t.id, before, page(limit))
	return auditEntries(found), err
}

// AuditTrail is Tenant.AuditTrail for the whole fleet.
func (f *Fleet) AuditTrail(ctx context.Context, before int64, limit int) ([]AuditEntry, error) {
	var found []auditRow
	err := f.c.read(ctx, "read audit", &found, `
		SELECT id, at, actor, tenant, action, detail, source FROM audit
		WHERE ?0 = 0 OR id < ?0 ORDER BY id DESC LIMIT ?1`, before, page(limit))
	return auditEntries(found), err
}
