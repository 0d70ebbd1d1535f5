package app

import (
	"testing"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// A new fleet has full budgets; one whose Redis lost everything resumes from SQL.
func TestMirrorSurvivesALostRedis(t *testing.T) {
	ctx := t.Context()
	addr, stop, err := queue.StartEmbedded(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	rdb, err := queue.Options{URL: addr}.RedisClient()
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	cat, err := catalog.Open(ctx, catalogtest.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	defer cat.Close()

	book := throttle.New(rdb, "app", throttle.Documented(), newSizes(cat).of)
	defer func() { _ = book.Close(ctx) }()
	m := mirror{name: "throttle/app", book: book, fleet: cat.Fleet()}
	if err := m.save(ctx); err != nil { // the book is new: it is resumed from nothing
		t.Fatal(err)
	}
	permit, err := book.Acquire(ctx, throttle.Call{Tenant: "t-1", Service: tenantry.SharePoint, Units: 5})
	if err != nil {
		t.Fatalf("a new fleet may not draw on a day's budget: %v", err)
	}
	permit.Done(200, nil)
	permit.Release()
	if err := m.save(ctx); err != nil {
		t.Fatal(err)
	}
	if doc, _, err := cat.Fleet().LoadMirror(ctx, m.name); err != nil || len(doc) == 0 {
		t.Fatalf("nothing was mirrored: %v", err)
	}

	if err := rdb.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := book.Snapshot(ctx); tenantry.KindOf(err) != tenantry.Conflict {
		t.Fatalf("the loss is not told: %v", err)
	}
	if err := m.save(ctx); err != nil { // resumes
		t.Fatal(err)
	}
	if _, err := book.Snapshot(ctx); err != nil {
		t.Fatalf("the book was not resumed: %v", err)
	}
}

// When SQL cannot tell what was used, nothing is resumed.
func TestMirrorDoesNotResumeBlindly(t *testing.T) {
	ctx := t.Context()
	addr, stop, err := queue.StartEmbedded(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	rdb, err := queue.Options{URL: addr}.RedisClient()
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	cat, err := catalog.Open(ctx, catalogtest.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	book := throttle.New(rdb, "app", throttle.Documented(), newSizes(cat).of)
	defer func() { _ = book.Close(ctx) }()
	m := mirror{name: "throttle/app", book: book, fleet: cat.Fleet()}
	if err := cat.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.resume(ctx); err == nil {
		t.Fatal("resumed although SQL is away")
	}
	if _, err := book.Snapshot(ctx); tenantry.KindOf(err) != tenantry.Conflict {
		t.Fatalf("the book believes that it knows its past: %v", err)
	}
}
