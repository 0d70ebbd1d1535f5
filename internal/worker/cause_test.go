package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/engine"
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

// rereader is a source that can read one item again.
type rereader struct{ engine.Source }

func (rereader) Reread(e repository.Entry) func(context.Context) ([]engine.ItemPart, error) {
	if e.ID != "known" {
		return nil
	}
	return func(context.Context) ([]engine.ItemPart, error) {
		return nil, tenantry.Errorf(tenantry.Shared, "broken")
	}
}

// What a source can read again, it can with marks as well: else nothing that was bad is ever tried again.
func TestMarkedSourceReadsAgain(t *testing.T) {
	var src engine.Source = markedSource{rereader{}}
	parts := src.(engine.Rereader).Reread(repository.Entry{ID: "known"})
	if parts == nil {
		t.Fatal("nothing can be read again")
	}
	if _, err := parts(t.Context()); causeOf(err) != causeGraph {
		t.Errorf("%v is marked as of %s", err, causeOf(err))
	}
	if src.(engine.Rereader).Reread(repository.Entry{ID: "other"}) != nil {
		t.Error("what cannot be read again is told to be")
	}
	if (markedSource{struct{ engine.Source }{}}).Reread(repository.Entry{ID: "known"}) != nil {
		t.Error("a source that cannot read again is told to")
	}
}

// loading is a source that shows one item, which has to be read by itself.
type loading struct{ engine.Source }

func (loading) Page(context.Context, string, string) (engine.Page, error) {
	return engine.Page{Done: true, Items: []engine.Item{{ID: "x", Load: func(context.Context) (engine.Item, error) {
		return engine.Item{Parts: broken}, tenantry.Errorf(tenantry.Shared, "broken")
	}}}}, nil
}

func broken(context.Context) ([]engine.ItemPart, error) {
	return nil, tenantry.Errorf(tenantry.Shared, "broken")
}

// What an item says when it is read by itself is said by Graph, not by the bucket.
func TestMarkedSourceLoads(t *testing.T) {
	page, err := markedSource{loading{}}.Page(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := page.Items[0].Load(t.Context())
	if causeOf(err) != causeGraph {
		t.Errorf("%v is marked as of %s", err, causeOf(err))
	}
	if _, err := whole.Parts(t.Context()); causeOf(err) != causeGraph {
		t.Errorf("its parts: %v is marked as of %s", err, causeOf(err))
	}
}

// closedCatalog is what a real catalog says that cannot be reached.
func closedCatalog(t *testing.T) error {
	t.Helper()
	cat, err := catalog.Open(t.Context(), catalogtest.SQLite(t))
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
