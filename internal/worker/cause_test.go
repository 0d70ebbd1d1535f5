package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// An alarm names what is broken, not where it was met: a sync asks Graph, which pays in
// Redis and signs in, and writes to SQL.
func TestCauseOf(t *testing.T) {
	shared := func(code string) error {
		return &tenantry.Error{Kind: tenantry.Shared, Op: "act", Code: code, Err: errors.New("broken")}
	}
	// A room above adds what it was doing, and has no code of its own.
	above := func(err error) error { return tenantry.E(tenantry.KindOf(err), "get page", err) }
	tests := []struct {
		name, want string
		err        error
	}{
		{"Microsoft", causeGraph, fromGraph(shared(""))},
		{"our secret", causeCredential, fromGraph(above(shared("AADSTS7000222")))},
		{"our certificate", causeCredential, fromGraph(above(shared("credential")))},
		{"Redis under Graph", causeRedis, fromGraph(above(shared("redis")))},
		{"Redis under a sync of pages into the bucket", causeRedis, fromBucket(fmt.Errorf("page: %w", above(fromGraph(shared("redis")))))},
		{"SQL under a sync", causeCatalog, fromGraph(closedCatalog(t))},
		{"SQL", causeCatalog, closedCatalog(t)},
		{"the bucket", causeBucket, fromBucket(shared(""))},
		{"the bucket under Graph", causeBucket, fromGraph(fromBucket(shared("")))},
		{"the keys", causeKey, fromBucket(brokenKeyFile(t))},
		{"nobody said", causeCatalog, shared("")},
	}
	for _, test := range tests {
		if got := causeOf(test.err); tenantry.KindOf(test.err) != tenantry.Shared || got != test.want {
			t.Errorf("%s: %q of kind %s, want %q: %v", test.name, got, tenantry.KindOf(test.err), test.want, test.err)
		}
	}
}

// closedCatalog is what a real catalog says that cannot be reached.
func closedCatalog(t *testing.T) error {
	t.Helper()
	cat, err := catalog.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = cat.Tenant("t-1").Get(context.Background())
	return err
}

// brokenKeyFile is what a real key file says that was overwritten under way.
func brokenKeyFile(t *testing.T) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	ring, err := repository.OpenKeyFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("not keys"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ring.Unwrap(context.Background(), "t-1", "file-1", []byte("wrapped"))
	return err
}
