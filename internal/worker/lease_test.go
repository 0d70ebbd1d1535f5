package worker

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	_ "modernc.org/sqlite"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

type leaseWatch chan bool

func (leaseWatch) Slice(string, tenantry.Action, string, time.Duration) {}
func (leaseWatch) Waited(tenantry.Delays)                               {}
func (w leaseWatch) Leased(on bool)                                     { w <- on }
func (leaseWatch) Parked(string)                                        {}

// The database stands still (another connection holds its write lock): slices are
// canceled before the lease is over, with a cause that says why, and when the database
// is back new slices may run.
func TestLeaseThatCannotBeRenewedEndsSlices(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	cat, err := catalog.Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cat.Close() })
	watch := make(leaseWatch, 10)
	l := newLease(Config{
		Catalog: cat, ID: "worker@test", Log: zap.NewNop().Sugar(), Observer: watch,
		LeaseTime: time.Second, BeatEvery: 100 * time.Millisecond,
	})
	if err := l.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if !<-watch || !l.alive() {
		t.Fatal("the lease is not held")
	}
	ctx, cancel := l.bind(t.Context())
	defer cancel(nil)

	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	conn, err := other.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 5000"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	locked := time.Now()
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, errLeaseLost) {
		t.Errorf("the slice ended with %v", cause)
	}
	if took := time.Since(locked); took > time.Second {
		t.Errorf("the slice ran on for %v after the last renewal", took)
	}
	if <-watch || l.alive() {
		t.Error("the lease still counts as held")
	}
	if late, cancel := l.bind(t.Context()); late.Err() == nil {
		<-late.Done() // bound to a lost lease: ends by itself
		cancel(nil)
	}
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if !<-watch || !l.alive() {
		t.Error("the lease was not taken again")
	}
	fresh, cancelFresh := l.bind(t.Context())
	defer cancelFresh(nil)
	if fresh.Err() != nil {
		t.Error("a new slice cannot run")
	}
}
