package worker

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	_ "modernc.org/sqlite"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

type leaseWatch chan bool

func (leaseWatch) Slice(string, tenantry.Action, string, time.Duration) {}
func (leaseWatch) Waited(tenantry.Delays)                               {}
func (w leaseWatch) Leased(on bool)                                     { w <- on }
func (leaseWatch) Parked(string)                                        {}

// The database stands still (another connection holds its write lock): slices are
// canceled, with a cause that says why, and when the database is back new slices may run.
// TestLeaseEndsSlicesInTime says when.
func TestLeaseThatCannotBeRenewedEndsSlices(t *testing.T) {
	t.Parallel()
	dsn := catalogtest.SQLite(t)
	cat, err := catalog.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cat.Close() })
	watch := make(leaseWatch, 10)
	l := newLease(Config{
		Catalog: cat, ID: "worker@test", Log: zap.NewNop().Sugar(), Observer: watch,
		LeaseTime: 5 * time.Second, BeatEvery: 100 * time.Millisecond,
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

	other, err := sql.Open("sqlite", strings.TrimPrefix(dsn, "sqlite:"))
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
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, errLeaseLost) {
		t.Errorf("the slice ended with %v", cause)
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

// stuck is a database that stands still while told to: a renewal that comes meanwhile is refused at its deadline.
type stuck struct {
	still atomic.Bool
	last  time.Time // when the last renewal was asked for that was made
}

func (s *stuck) Beat(ctx context.Context, _ catalog.Process, _ time.Duration) error {
	if s.still.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	s.last = time.Now()
	time.Sleep(30 * time.Millisecond) // of the bubble's clock: the answer's way back is not added to the lease
	return nil
}

func (s *stuck) Leave(context.Context, tenantry.ProcessID) error { return nil }

// Slices end at nine tenths of the lease after the last renewal was asked for, to the tick of the clock.
func TestLeaseEndsSlicesInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		watch, fleet := make(leaseWatch, 10), &stuck{}
		l := &lease{fleet: fleet, life: time.Second, every: 100 * time.Millisecond, log: zap.NewNop().Sugar(), observer: watch}
		if err := l.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := l.bind(t.Context())
		defer cancel(nil)
		time.Sleep(time.Minute) // it is renewed all the time
		if ctx.Err() != nil || !<-watch || !l.alive() {
			t.Fatal("the lease was lost while it was renewed")
		}
		synctest.Wait()
		last := fleet.last
		fleet.still.Store(true)
		<-ctx.Done()
		if took := time.Since(last); took != 900*time.Millisecond {
			t.Errorf("the slice ended %v after the last renewal, its lease is a second", took)
		}
		if <-watch || l.alive() {
			t.Error("the lease still counts as held")
		}
		fleet.still.Store(false)
		if !<-watch || !l.alive() {
			t.Error("the lease was not taken again")
		}
		if err := l.stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
