package catalog

import (
	"database/sql"
	"testing"
	"testing/fstest"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/tenantry/tenantry/internal/servertest"
)

// A migration that meets a working fleet in a deadlock, and is the one that the database ends, is done again.
func TestMigrationAfterADeadlock(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("pgx", servertest.Postgres(t).Database(t))
	ok(t, err)
	defer db.Close()
	begin := func() *sql.Tx {
		tx, err := db.BeginTx(t.Context(), nil)
		ok(t, err)
		t.Cleanup(func() { _ = tx.Rollback() })
		return tx
	}
	run := func(tx *sql.Tx, statement string) {
		t.Helper()
		_, err := tx.ExecContext(t.Context(), statement)
		ok(t, err)
	}
	// waiting returns when a lock of this kind, which another transaction has, is waited for.
	waiting := func(kind string) {
		t.Helper()
		for {
			var n int
			ok(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_locks WHERE locktype = $1 AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())", kind).Scan(&n))
			if n > 0 {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	_, err = db.ExecContext(t.Context(), "CREATE TABLE first (id int); CREATE TABLE second (id int); CREATE TABLE tries (id serial)")
	ok(t, err)

	gate, fleet := begin(), begin()
	run(gate, "SELECT pg_advisory_xact_lock(7)")
	run(fleet, "SET LOCAL deadlock_timeout = '1h'") // it never finds the deadlock: the migration does, and is ended
	run(fleet, "LOCK TABLE second")

	provider, err := goose.NewProvider(goose.DialectPostgres, db, fstest.MapFS{"00001_locks.sql": {Data: []byte(`-- +goose Up
INSERT INTO tries DEFAULT VALUES;
LOCK TABLE first;
SELECT pg_advisory_xact_lock(7);
LOCK TABLE second;
`)}}, goose.WithDisableGlobalRegistry(true))
	ok(t, err)
	migrated := make(chan error, 1)
	go func() { migrated <- up(t.Context(), provider) }()
	waiting("advisory") // the migration has the first table

	went := make(chan error, 1)
	go func() {
		_, err := fleet.ExecContext(t.Context(), "LOCK TABLE first")
		went <- err
	}()
	waiting("relation") // the fleet has the second one and waits for the first
	ok(t, gate.Rollback())

	ok(t, <-went)
	ok(t, fleet.Commit())
	ok(t, <-migrated)
	var tries, version int
	ok(t, db.QueryRowContext(t.Context(), "SELECT max(id) FROM tries").Scan(&tries))
	ok(t, db.QueryRowContext(t.Context(), "SELECT max(version_id) FROM goose_db_version").Scan(&version))
	if tries < 2 || version != 1 {
		t.Errorf("the schema is at %d after %d tries, want 1 after 2 or more", version, tries)
	}
}
