package catalog

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// wrap gives an error of the database its kind. An error that has one already passes:
// it was made by the same call, inside of its transaction.
func wrap(op string, err error) error {
	var ours *tenantry.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ours):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return tenantry.E(tenantry.KindOf(err), op, err)
	case errors.Is(err, sql.ErrNoRows):
		return tenantry.E(tenantry.NotFound, op, errors.New("there is no such row"))
	}
	kind, words := classify(err)
	if kind == tenantry.Conflict { // callers are shown it, and names of constraints say nothing to them
		return tenantry.Errorf(kind, "%s: %s", op, words)
	}
	if words != "" {
		op += ": " + words
	}
	e := tenantry.E(kind, op, err)
	if kind == tenantry.Shared {
		e.Code = codeCatalog
	}
	return e
}

// codeCatalog tells SQL from the other causes that all tenants share.
const codeCatalog = "catalog"

// wrapIn is wrap for a call under ctx: when that has ended, this is the cause, whatever a
// driver says about the statement it cut short.
func wrapIn(ctx context.Context, op string, err error) error {
	var ours *tenantry.Error
	if cause := ctx.Err(); cause != nil && err != nil && !errors.As(err, &ours) {
		return tenantry.E(tenantry.KindOf(cause), op, cause)
	}
	return wrap(op, err)
}

func classify(err error) (kind tenantry.Kind, words string) {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return classifySQLite(lite.Code())
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return classifyPostgres(pg.Code)
	}
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.As(err, &connect), errors.As(err, &network), errors.Is(err, sql.ErrConnDone), pgconn.SafeToRetry(err):
		return tenantry.Shared, "the database cannot be reached"
	case strings.Contains(err.Error(), "unexpected EOF"), strings.Contains(err.Error(), "conn closed"),
		strings.Contains(err.Error(), "bad connection"), strings.Contains(err.Error(), "database is closed"):
		return tenantry.Shared, "the connection to the database was lost"
	}
	return tenantry.Internal, ""
}

// classifySQLite maps a result code (https://www.sqlite.org/rescode.html).
func classifySQLite(code int) (tenantry.Kind, string) {
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return tenantry.Conflict, "it exists already"
	}
	switch code & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return tenantry.Shared, "the database is locked by another process"
	case sqlite3.SQLITE_FULL:
		return tenantry.Shared, "the disk is full"
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return tenantry.Shared, "the database file cannot be used"
	case sqlite3.SQLITE_INTERRUPT:
		return tenantry.Canceled, ""
	}
	return tenantry.Internal, ""
}

// classifyPostgres maps an SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html).
func classifyPostgres(code string) (tenantry.Kind, string) {
	switch code {
	case "23505":
		return tenantry.Conflict, "it exists already"
	case "40001", "40P01", "55P03":
		return tenantry.Transient, "another transaction was in the way"
	case "57014":
		return tenantry.Transient, "the statement took too long"
	case "53100":
		return tenantry.Shared, "the disk of the database is full"
	case "53300":
		return tenantry.Shared, "the database has no connection left"
	case "25006":
		return tenantry.Shared, "the database is read-only"
	case noPrivilege:
		return tenantry.Forbidden, "the database refuses it to this account"
	}
	switch code[:min(2, len(code))] {
	case "08", "28", "3D", "53", "57", "58":
		return tenantry.Shared, "the database cannot be used"
	}
	return tenantry.Internal, ""
}

// collided reports whether the database ended a transaction because of another one, and
// running it again is right.
func collided(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}

// locked reports whether another process holds a SQLite file.
func locked(err error) bool {
	var lite *sqlite.Error
	return errors.As(err, &lite) && lite.Code()&0xff == sqlite3.SQLITE_BUSY
}
