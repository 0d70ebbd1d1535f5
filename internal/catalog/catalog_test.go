package catalog_test

import (
	"path/filepath"
	"testing"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/servertest"
)

func TestMain(m *testing.M) {
	if childMain() {
		return
	}
	servertest.Main(m)
}

func open(t testing.TB, dsn string) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func sqliteDSN(t testing.TB) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "a folder", "it's #1 100%.db")
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	catalogtest.Run(t, func(t *testing.T) *catalog.Catalog { return open(t, catalogtest.SQLite(t)) })
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	server := servertest.Postgres(t)
	migrated := server.Database(t) // once: it takes longer than most of the cases
	c, err := catalog.Open(t.Context(), migrated)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	catalogtest.Run(t, func(t *testing.T) *catalog.Catalog { return open(t, server.Copy(t, migrated)) })
}
