package catalog

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"net/url"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// One directory per dialect: what differs are partitions, collations and the wake counter.
//
//go:embed migrations
var migrations embed.FS

const (
	// migrateLock is the key of the advisory lock under which one process migrates.
	migrateLock = 0x74656e616e747279 // "tenantry"
	// migrateWait bounds the wait for it, in tries one second apart.
	migrateWait = 120
	// migrateTries bounds how often a migration is done again after a deadlock; the pauses between take 19 s at most.
	migrateTries = 20
	// walTries bounds how often a SQLite file that another process opens is tried again.
	walTries = 100
)

func migratePostgres(ctx context.Context, db *sql.DB, asIs bool) error {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrateLock), lock.WithLockTimeout(1, migrateWait))
	if err != nil {
		return wrap("migrate catalog", err)
	}
	return migrate(ctx, db, asIs, goose.DialectPostgres, "migrations/postgres", goose.WithSessionLocker(locker))
}

func migrateSQLite(ctx context.Context, db *sql.DB, path string, asIs bool) error {
	// Of several processes that open a new file at once one turns it into WAL mode, and
	// SQLite refuses the others without waiting.
	for range walTries {
		err := db.PingContext(ctx)
		if err == nil || !locked(err) {
			break
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return wrap("migrate catalog", err)
		}
	}
	return migrate(ctx, db, asIs, goose.DialectSQLite3, "migrations/sqlite", goose.WithLocker(&fileLocker{path: path + "-migrate"}))
}

// migrate brings the schema up to what this program needs, or with asIs only looks whether it is; either way it
// refuses one that is too new.
func migrate(ctx context.Context, db *sql.DB, asIs bool, dialect goose.Dialect, dir string, locker goose.ProviderOption) error {
	const op = "migrate catalog"
	if err := db.PingContext(ctx); err != nil {
		return wrap(op, err)
	}
	files, err := fs.Sub(migrations, dir)
	if err != nil {
		return wrap(op, err)
	}
	provider, err := goose.NewProvider(dialect, db, files, locker, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return wrap(op, err)
	}
	sources := provider.ListSources()
	newest := sources[len(sources)-1].Version
	version := schemaVersion(ctx, db)
	if asIs {
		if err := checkOld(version, newest); err != nil {
			return err
		}
	}
	if version < newest {
		if err := up(ctx, provider); err != nil {
			return wrap(op, err)
		}
		if err := raiseFloor(ctx, db); err != nil {
			return wrap(op, err)
		}
	}
	return checkFloor(ctx, db, newest)
}

// up applies what is missing. A migration is a transaction, whose locks may meet those of a fleet that goes on working:
// one that the database ended for that is done again.
func up(ctx context.Context, provider *goose.Provider) error {
	for try := 1; ; try++ {
		_, err := provider.Up(ctx)
		if err == nil || try == migrateTries || !collided(err) {
			return err
		}
		if err := pause(ctx, time.Duration(try)*100*time.Millisecond); err != nil {
			return err
		}
	}
}

// schemaVersion is the newest migration of the schema, read without any lock: mostly there is nothing to do. 0: there
// is none, or nobody knows; whoever migrates then looks again.
func schemaVersion(ctx context.Context, db *sql.DB) (version int64) {
	err := db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied").Scan(&version)
	if err != nil {
		return 0
	}
	return version
}

// fileLocker lets one process at a time migrate a SQLite file: goose checks versions
// outside of its transactions, so that two would apply the same migration. It holds an
// exclusive transaction on a database beside the file, which dies with its process.
type fileLocker struct {
	path string
	db   *sql.DB
	tx   *sql.Tx
}

func (l *fileLocker) Lock(ctx context.Context, _ *sql.DB) error {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: l.path}).EscapedPath()+"?_pragma=busy_timeout(60000)&_txlock=exclusive")
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		_ = db.Close()
		return err
	}
	l.db, l.tx = db, tx
	return nil
}

func (l *fileLocker) Unlock(context.Context, *sql.DB) error {
	return errors.Join(l.tx.Rollback(), l.db.Close())
}
