package catalog

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// postgresConns and keyedConns bound the connections of one process.
	postgresConns = 12
	keyedConns    = 4
	// sqliteReaders bounds the concurrent readers of one process; there is one writer.
	sqliteReaders = 4
	// sqliteBusy is how long a writer waits for another process's transaction, in milliseconds.
	sqliteBusy = "10000"
)

// Catalog is an open database. Safe for concurrent use, like its handles.
type Catalog struct {
	writer *bun.DB // SQLite: one connection, every transaction immediate
	reader *bun.DB // SQLite: several, read-only; Postgres: the same pool
	// postgres is the configuration of further connections; nil on SQLite.
	postgres *pgx.ConnConfig
	keyed    *pgxpool.Pool // of steps; nil on SQLite
	local    local         // wakes inside this process, SQLite only

	exclusion *exclusion

	drawReference func() tenantry.Reference // tenantry.NewReference, but in tests

	handovers batcher[handover, Claim] // claims and settlements; those are answered without a claim
	tally     tally

	closing context.Context // ends when Close is called
	close   context.CancelFunc
	owned   sync.WaitGroup // goroutines of Wakes and batchers
}

// Tenant is the handle for one tenant: none of its statements sees or changes a row of
// another. Cheap to make; safe for concurrent use.
type Tenant struct {
	c  *Catalog
	id tenantry.TenantID
}

// Fleet is the handle over all tenants. Safe for concurrent use.
type Fleet struct{ c *Catalog }

// Open opens "sqlite:PATH" or "postgres://..." and migrates it to the current schema
// (safe when several processes start at once). Errors are kind Shared, or Invalid for a
// bad DSN or a schema that is more than one release newer; neither shows the DSN's password.
func Open(ctx context.Context, dsn string) (*Catalog, error) {
	return open(ctx, dsn, access{migrate: true, partitions: true})
}

// OpenAsIs is Open without the migration: a schema that is older than this program is refused, too (Invalid).
func OpenAsIs(ctx context.Context, dsn string) (*Catalog, error) {
	return open(ctx, dsn, access{partitions: true})
}

// Dial opens a connection to a Postgres server, as pgx wants it.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// OpenConfined is OpenAsIs for an enrolled worker, which changes nothing of the schema and reaches Postgres by dial.
func OpenConfined(ctx context.Context, dsn string, dial Dial) (*Catalog, error) {
	return open(ctx, dsn, access{dial: dial})
}

// access is how a catalog is opened.
type access struct {
	migrate    bool // bring an older schema up to date
	partitions bool // make those of the next days
	dial       Dial // nil: as usual
}

func open(ctx context.Context, dsn string, how access) (*Catalog, error) {
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch scheme {
	case "sqlite":
		return openSQLite(ctx, rest, !how.migrate)
	case "postgres", "postgresql":
		return openPostgres(ctx, dsn, how)
	}
	return nil, tenantry.Errorf(tenantry.Invalid, `open catalog: the DSN must begin with "sqlite:" or "postgres://"`)
}

func openSQLite(ctx context.Context, path string, asIs bool) (*Catalog, error) {
	if path == "" || strings.HasPrefix(path, ":memory:") || strings.ContainsAny(path, "?\x00") {
		return nil, tenantry.Errorf(tenantry.Invalid, `open catalog: "sqlite:" must be followed by the path of a file, without parameters`)
	}
	if err := prepareFile(path); err != nil {
		return nil, tenantry.E(tenantry.Shared, "open catalog", err)
	}
	file := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=busy_timeout(" + sqliteBusy + ")&_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)"
	// synchronous=FULL: a settled task stays settled when the machine loses power.
	writer, err := sql.Open("sqlite", file+"&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		return nil, wrap("open catalog", err)
	}
	writer.SetMaxOpenConns(1)
	if err := migrateSQLite(ctx, writer, path, asIs); err != nil {
		_ = writer.Close()
		return nil, err
	}
	reader, err := sql.Open("sqlite", file+"&_pragma=query_only(1)")
	if err != nil {
		_ = writer.Close()
		return nil, wrap("open catalog", err)
	}
	reader.SetMaxOpenConns(sqliteReaders)
	reader.SetMaxIdleConns(sqliteReaders)
	return newCatalog(bun.NewDB(writer, sqliteDialect{sqlitedialect.New()}), bun.NewDB(reader, sqliteDialect{sqlitedialect.New()}), nil), nil
}

// prepareFile creates the database for its owner only: it names every user of every tenant.
func prepareFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

func openPostgres(ctx context.Context, dsn string, how access) (*Catalog, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		// The cause quotes the DSN, and with it what stands in the place of a password.
		return nil, tenantry.Errorf(tenantry.Invalid, "open catalog: the postgres DSN cannot be parsed")
	}
	// bun writes the arguments into the statement: preparing each would fill the server's
	// cache with statements that never come again.
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "tenantry"
	}
	if how.dial != nil {
		config.DialFunc = pgconn.DialFunc(how.dial)
		// Whoever carries the connection resolves the name.
		config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	}
	pool := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(prepareSession))
	pool.SetMaxOpenConns(postgresConns)
	pool.SetMaxIdleConns(postgresConns)
	if err := migratePostgres(ctx, pool, !how.migrate); err != nil {
		_ = pool.Close()
		return nil, err
	}
	db := bun.NewDB(pool, postgresDialect{pgdialect.New()})
	c := newCatalog(db, db, config)
	if c.keyed, err = openKeyed(ctx, dsn, config); err != nil {
		_ = c.Close()
		return nil, wrap("open catalog", err)
	}
	if !how.partitions {
		return c, nil
	}
	if err := c.preparePartitions(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// prepareSession turns off just-in-time compilation: it costs a recursive query like that
// of Loads 400 ms each time and saves it 1 (measured with 1,000,000 ready tasks).
func prepareSession(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "SET jit = off")
	return err
}

func newCatalog(writer, reader *bun.DB, postgres *pgx.ConnConfig) *Catalog {
	c := &Catalog{writer: writer, reader: reader, postgres: postgres, exclusion: newExclusion(), drawReference: tenantry.NewReference}
	c.closing, c.close = context.WithCancel(context.Background())
	c.tally.parent = c
	c.handovers.parent, c.handovers.answer = c, c.handOver
	return c
}

// Close writes what the tally holds, ends all wakes and what is being asked, waits for their
// goroutines and closes the connections. Shared when the tally could not be written.
func (c *Catalog) Close() error {
	c.handovers.close()
	err := c.tally.close()
	c.close()
	c.owned.Wait()
	if c.keyed != nil {
		c.keyed.Close()
	}
	err = errors.Join(err, wrap("close catalog", c.writer.Close()))
	if c.reader != c.writer {
		err = errors.Join(err, wrap("close catalog", c.reader.Close()))
	}
	return err
}

// Ping asks the database for an answer. Shared when there is none.
func (c *Catalog) Ping(ctx context.Context) error {
	return c.read(ctx, "ping the catalog", new(int), "SELECT 1")
}

// Tenant returns the handle for one tenant. Whether that exists shows in the calls.
func (c *Catalog) Tenant(id tenantry.TenantID) *Tenant { return &Tenant{c: c, id: id} }

// Fleet returns the handle over all tenants.
func (c *Catalog) Fleet() *Fleet { return &Fleet{c: c} }
