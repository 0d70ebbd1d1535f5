package catalogtest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/internal/catalog"
)

// SQLite returns the DSN of an empty catalog on SQLite that t has for itself. It has been migrated
// already, which is done once in a process: it takes longer than most of what is tested with it.
func SQLite(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "catalog.db")
	content, err := empty()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + file
}

var empty = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "catalogtest-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "catalog.db")
	c, err := catalog.Open(context.Background(), "sqlite:"+file)
	if err != nil {
		return nil, err
	}
	if err := c.Close(); err != nil { // leaves everything in the one file
		return nil, err
	}
	return os.ReadFile(file)
})
