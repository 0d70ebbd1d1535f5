package catalog

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// An enrolled worker speaks SQL under a role of its own. What that may do is decided here and nowhere else:
//
//	tables with a column tenant   rows of its pool's tenants (row-level security), whatever the statement says
//	tenants                       read, and change but for ID, pool and region, directory and cloud (migration 00061)
//	processes                     its own leases
//	audit                         add entries of its tenants
//	what tells the schema's age   read
//	everything else               nothing: tokens, secrets, mails, other workers, alarms, the account book's mirror
//
// Row-level security does not concern the owner of the tables, under whom the provider's own processes run, nor any
// other role that is not an enrolled worker's (confined_tenants, migration 00040).

// withheld are tables that enrolled workers neither read nor write, though they name tenants.
var withheld = []string{"tokens", "secrets", "requests", "consents", "outbox", "leader", "mirrors", "alarms", "pools", "enrolments", "workers"}

// readable are tables of the fleet that enrolled workers may read.
var readable = []string{"goose_db_version", "schema_floor"}

// CanConfine returns nil if the database can hold workers apart (Postgres), else Conflict with the code needs_postgres.
func (f *Fleet) CanConfine() error {
	if f.c.postgres == nil {
		return coded("needs_postgres", tenantry.Errorf(tenantry.Conflict, "the catalog is a SQLite file, which no other machine can reach: workers outside need a fleet on Postgres"))
	}
	return nil
}

// Upstream is where a Postgres catalog lies, for whoever carries the connections of an enrolled worker to it.
type Upstream struct {
	Network, Address string // as net.Dial takes them
	Database         string
	TLS              bool // the server is spoken to under TLS
}

// Upstream tells where the database is. Conflict as CanConfine.
func (f *Fleet) Upstream() (Upstream, error) {
	if err := f.CanConfine(); err != nil {
		return Upstream{}, err
	}
	c := f.c.postgres
	network, address := pgNetwork(c)
	return Upstream{Network: network, Address: address, Database: c.Database, TLS: c.TLSConfig != nil}, nil
}

// pgNetwork is where a configuration connects to first, as net.Dial takes it.
func pgNetwork(c *pgx.ConnConfig) (network, address string) {
	port := fmt.Sprint(c.Port)
	if strings.HasPrefix(c.Host, "/") {
		return "unix", c.Host + "/.s.PGSQL." + port
	}
	return "tcp", net.JoinHostPort(c.Host, port)
}

// Confine makes the role of an enrolled worker, or brings it up to the present schema, and gives it a new password. It needs
// a database account that owns the tables and may make roles (CREATEROLE): else Conflict, with the code needs_createrole.
func (f *Fleet) Confine(ctx context.Context, login string, password tenantry.Secret) error {
	const op = "make a role for an enrolled worker"
	if err := f.CanConfine(); err != nil {
		return err
	}
	if !strings.HasPrefix(login, loginPrefix) {
		return tenantry.Errorf(tenantry.Internal, "%s: %q is the name of none", op, login)
	}
	role := bun.Ident(login)
	err := f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if _, err := exec(ctx, tx, "SELECT pg_advisory_xact_lock(hashtextextended('tenantry confine', 0))"); err != nil {
			return err
		}
		if err := makeRole(ctx, tx, role, login, password); err != nil {
			return err
		}
		tables, err := tablesOf(ctx, tx)
		if err != nil {
			return err
		}
		for _, t := range tables {
			if err := t.confine(ctx, tx, role); err != nil {
				return err
			}
		}
		return nil
	})
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == noPrivilege {
		return coded("needs_createrole", tenantry.Errorf(tenantry.Conflict, "%s: the catalog's account must own its tables and have CREATEROLE: %w", op, err))
	}
	return err
}

func makeRole(ctx context.Context, tx bun.Tx, role bun.Ident, login string, password tenantry.Secret) error {
	var found []string
	if err := scan(ctx, tx, &found, "SELECT rolname FROM pg_roles WHERE rolname = ?", login); err != nil {
		return err
	}
	verb := bun.Safe("ALTER")
	if len(found) == 0 {
		verb = "CREATE"
	}
	// The server gets what it would make of the password: that stands in no log of statements.
	_, err := exec(ctx, tx, "? ROLE ? LOGIN NOINHERIT CONNECTION LIMIT 64 PASSWORD ?", verb, role, scramVerifier(password, freshSalt()))
	return err
}

// confinedTable is a table, or a partitioned one as a whole.
type confinedTable struct {
	Name     string
	Tenant   bool // it has a column tenant
	Secured  bool // row-level security is on
	Columns  string
	Policies int64
}

func tablesOf(ctx context.Context, tx bun.Tx) ([]confinedTable, error) {
	var found []confinedTable
	err := scan(ctx, tx, &found, `
		SELECT c.relname AS name, c.relrowsecurity AS secured,
			EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped) AS tenant,
			(SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'confined') AS policies,
			(SELECT string_agg(quote_ident(a.attname), ', ') FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
				AND NOT a.attisdropped AND a.attname NOT IN ('id', 'pool', 'region')) AS columns
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname`)
	return found, err
}

// confine lets the role do with the table what the comment above says, and no more than that.
func (t confinedTable) confine(ctx context.Context, tx bun.Tx, role bun.Ident) error {
	table := bun.Ident(t.Name)
	var rows, grants string
	switch {
	case slices.Contains(readable, t.Name):
		grants = "SELECT"
	case slices.Contains(withheld, t.Name):
		return nil
	case t.Name == "processes":
		rows, grants = "(SELECT confined_worker()) = '' OR worker = (SELECT confined_worker())", "SELECT, INSERT, UPDATE, DELETE"
	case t.Name == "tenants":
		rows, grants = confinedRows("id"), "SELECT, UPDATE ("+t.Columns+")"
	case t.Name == "audit":
		rows, grants = confinedRows("tenant"), "INSERT"
	case t.Tenant:
		rows, grants = confinedRows("tenant"), "SELECT, INSERT, UPDATE, DELETE"
	default:
		return nil
	}
	if rows != "" && t.Policies == 0 {
		if _, err := exec(ctx, tx, "CREATE POLICY confined ON ? USING (?)", table, bun.Safe(rows)); err != nil {
			return err
		}
	}
	if rows != "" && !t.Secured {
		if _, err := exec(ctx, tx, "ALTER TABLE ? ENABLE ROW LEVEL SECURITY", table); err != nil {
			return err
		}
	}
	_, err := exec(ctx, tx, "GRANT ? ON ? TO ?", bun.Safe(grants), table, role)
	return err
}

// confinedRows is the policy of a table by the column that names the tenant. The function runs once a statement.
func confinedRows(column string) string {
	return "(SELECT confined_tenants()) IS NULL OR " + column + " = ANY ((SELECT confined_tenants())::text[])"
}

// Unconfine removes the role of an enrolled worker; absent is fine. Sessions that it has open are left without a right.
func (f *Fleet) Unconfine(ctx context.Context, login string) error {
	const op = "remove the role of an enrolled worker"
	if f.c.postgres == nil {
		return nil
	}
	return f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		var schema []string // of each such role, that is
		err := scan(ctx, tx, &schema, "SELECT current_schema() FROM pg_roles WHERE rolname = ?", login)
		if err != nil || len(schema) == 0 {
			return err
		}
		if _, err := exec(ctx, tx, "REVOKE ALL ON ALL TABLES IN SCHEMA ? FROM ?", bun.Ident(schema[0]), bun.Ident(login)); err != nil {
			return err
		}
		_, err = exec(ctx, tx, "DROP ROLE ?", bun.Ident(login))
		return err
	})
}

// noPrivilege is the SQLSTATE of a statement that the account may not do, or that row-level security refuses.
const noPrivilege = "42501"

// scramRounds is what Postgres itself takes (scram_iterations).
const scramRounds = 4096

// scramVerifier is what Postgres keeps of a password, and takes in its place (RFC 5803; PostgreSQL, "pg_authid").
func scramVerifier(password tenantry.Secret, salt []byte) string {
	key, err := pbkdf2.Key(sha256.New, password.Reveal(), salt, scramRounds, sha256.Size)
	if err != nil {
		return "" // only a length that is none fails: Postgres then refuses the statement
	}
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		_, _ = h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(mac(key, "Client Key"))
	text := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramRounds, text(salt), text(stored[:]), text(mac(key, "Server Key")))
}

func freshSalt() []byte {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails since Go 1.24
	return salt
}
