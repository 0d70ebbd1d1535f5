package catalog_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestBadDSN(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "text")
	if err := os.WriteFile(file, []byte("this is no database, but long enough to be read as one: "+strings.Repeat("x", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, test := range []struct {
		dsn  string
		kind tenantry.Kind
	}{
		{"", tenantry.Invalid},
		{"mysql://root@localhost", tenantry.Invalid},
		{"sqlite:", tenantry.Invalid},
		{"sqlite::memory:", tenantry.Invalid},
		{"sqlite:" + dir + "/x.db?mode=ro", tenantry.Invalid},
		{"sqlite:" + dir, tenantry.Shared},
		{"sqlite:" + file, tenantry.Shared},
		{"sqlite:" + file + "/below.db", tenantry.Shared},
		{"postgres://tenantry:s3cret@127.0.0.1:port/x", tenantry.Invalid},
		{"postgres://tenantry:s3cret@127.0.0.1:1/x?sslmode=odd", tenantry.Invalid},
		{"postgres://tenantry:s3cret@127.0.0.1:1/x?sslmode=disable&connect_timeout=3", tenantry.Shared},
	} {
		c, err := catalog.Open(ctx, test.dsn)
		if err == nil {
			_ = c.Close()
		}
		if got := tenantry.KindOf(err); got != test.kind {
			t.Errorf("%q: got %v of kind %q, expected kind %q", test.dsn, err, got, test.kind)
		}
		if err != nil && strings.Contains(fmt.Sprintf("%v %+v", err, err), "s3cret") {
			t.Errorf("%q: the error shows the password: %v", test.dsn, err)
		}
	}
}

func TestEndedContext(t *testing.T) {
	t.Parallel()
	c := open(t, sqliteDSN(t))
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancelLate()
	for ctx, kind := range map[context.Context]tenantry.Kind{canceled: tenantry.Canceled, late: tenantry.Transient} {
		if err := c.Ping(ctx); tenantry.KindOf(err) != kind {
			t.Errorf("a read: got %v, expected kind %s", err, kind)
		}
		if err := c.Fleet().Resume(ctx, "bucket"); tenantry.KindOf(err) != kind {
			t.Errorf("a write: got %v, expected kind %s", err, kind)
		}
	}
}

func TestSQLiteFileIsPrivate(t *testing.T) {
	dsn := sqliteDSN(t)
	open(t, dsn)
	info, err := os.Stat(strings.TrimPrefix(dsn, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Fatalf("the file has mode %o", mode)
	}
}

// Many processes that start at once migrate an empty database once.
func TestOpenRace(t *testing.T) {
	t.Parallel()
	dsns := map[string]func() string{
		"sqlite":   func() string { return sqliteDSN(t) },
		"postgres": func() string { return servertest.Postgres(t).Database(t) },
	}
	for name, dsn := range dsns {
		t.Run(name, func(t *testing.T) {
			dsn := dsn()
			var wait sync.WaitGroup
			for i := range 8 {
				wait.Go(func() {
					c, err := catalog.Open(t.Context(), dsn)
					if err != nil {
						t.Error(err)
						return
					}
					if err := c.Fleet().AddTenant(t.Context(), catalog.TenantRow{ID: tenantry.TenantID(fmt.Sprint(i))}); err != nil {
						t.Error(err)
					}
					if err := c.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			wait.Wait()
			tenants, err := open(t, dsn).Fleet().Tenants(t.Context(), "", 0)
			if err != nil || len(tenants) != 8 {
				t.Fatalf("%d tenants, error %v", len(tenants), err)
			}
		})
	}
}

// A server that cuts every connection is a shared cause, and the next calls find it again.
func TestPostgresConnectionsCut(t *testing.T) {
	t.Parallel()
	dsn := servertest.Postgres(t).Database(t)
	c := open(t, dsn)
	admin, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	_, err = admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if err != nil {
		t.Fatal(err)
	}
	const pooled = 16
	for try := 0; ; try++ {
		err := c.Fleet().Resume(t.Context(), "bucket")
		if err == nil {
			break
		}
		if tenantry.KindOf(err) != tenantry.Shared || try > pooled {
			t.Fatalf("try %d: got %v of kind %s", try, err, tenantry.KindOf(err))
		}
	}

	// So is a database that is not there.
	none := strings.Replace(dsn, admin.Config().Database, "none", 1)
	if _, err := catalog.Open(t.Context(), none); tenantry.KindOf(err) != tenantry.Shared {
		t.Fatalf("got %v of kind %s", err, tenantry.KindOf(err))
	}
}

// Wakes survive the loss of the connection that listens.
func TestWakesReconnect(t *testing.T) {
	t.Parallel()
	dsn := servertest.Postgres(t).Database(t)
	c := open(t, dsn)
	wakes, err := c.Fleet().Wakes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	var killed int
	err = admin.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE datname = current_database() AND query LIKE 'LISTEN%' AND pid <> pg_backend_pid()`).Scan(&killed)
	if err != nil || killed != 1 {
		t.Fatalf("%d listeners killed, error %v", killed, err)
	}
	receive(t, wakes) // it listens again
	if err := c.Fleet().Wake(t.Context()); err != nil {
		t.Fatal(err)
	}
	receive(t, wakes)
}

// A wake by another process arrives through the file.
func TestWakesAcrossSQLiteProcesses(t *testing.T) {
	t.Parallel()
	dsn := sqliteDSN(t)
	wakes, err := open(t, dsn).Fleet().Wakes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := open(t, dsn).Fleet().Wake(t.Context()); err != nil {
		t.Fatal(err)
	}
	receive(t, wakes)
}

func receive(t *testing.T, wakes <-chan struct{}) {
	t.Helper()
	select {
	case _, ok := <-wakes:
		if !ok {
			t.Fatal("the channel is closed")
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("no wake arrived")
	}
}

// Nobody who reaches the database through a program's account rewrites the audit log
// without taking the guard away first.
func TestAuditIsAppendOnly(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tenantry.db")
	postgres := servertest.Postgres(t).Database(t)
	for dsn, raw := range map[string][2]string{"sqlite:" + file: {"sqlite", file}, postgres: {"pgx", postgres}} {
		c := open(t, dsn)
		if err := c.Fleet().Audit(t.Context(), catalog.AuditEntry{Actor: "ada", Action: "add-tenant"}); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open(raw[0], raw[1])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		for _, statement := range []string{"UPDATE audit SET actor = 'eve'", "DELETE FROM audit"} {
			if _, err := db.ExecContext(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "append-only") {
				t.Errorf("%s: %s: %v", raw[0], statement, err)
			}
		}
		trail, err := c.Fleet().AuditTrail(t.Context(), 0, 0)
		if err != nil || len(trail) != 1 || trail[0].Actor != "ada" {
			t.Errorf("%s: %v %v", raw[0], trail, err)
		}
	}
}
