package app

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

const (
	mirrorEvery   = 10 * time.Second
	mirrorTimeout = 5 * time.Second
)

// mirror keeps the account book's long-lived counters in SQL, so that losing Redis
// loses neither a day's usage nor a cooldown. Every worker runs one; they write the
// same shared counters.
type mirror struct {
	name  string
	book  *throttle.Book
	fleet *catalog.Fleet
}

// resume carries the mirror into a book that was lost; one that knows its past stays as
// it is. A fleet that has no mirror yet is new, and so are its budgets. When SQL cannot
// tell, nothing is resumed: the book then admits nothing that a day's budget bounds.
func (m mirror) resume(ctx context.Context) error {
	doc, _, err := m.fleet.LoadMirror(ctx, m.name)
	if err != nil && tenantry.KindOf(err) != tenantry.NotFound {
		return err
	}
	return m.book.Resume(ctx, doc)
}

// run mirrors the book until ctx ends.
func (m mirror) run(ctx context.Context, log *zap.Logger) {
	tick := time.NewTicker(mirrorEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := m.save(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			log.Warn("cannot mirror the account book; trying on", zap.Error(err))
		}
		failing = err != nil
	}
}

// save mirrors the book, or resumes it if it was lost in between.
func (m mirror) save(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, mirrorTimeout)
	defer cancel()
	doc, err := m.book.Snapshot(ctx)
	if tenantry.KindOf(err) == tenantry.Conflict {
		return m.resume(ctx)
	}
	if err != nil {
		return err
	}
	return m.fleet.SaveMirror(ctx, m.name, doc, time.Now())
}
