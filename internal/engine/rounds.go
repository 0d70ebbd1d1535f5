package engine

import (
	"context"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// rounds reads every collection, and again for as long as the last round may have missed a move.
func (b *backup) rounds(ctx context.Context) error {
	for round := 0; ; round++ {
		b.again = false
		if err := b.round(ctx); err != nil {
			return err
		}
		if !b.again || round == maxRounds {
			return nil
		}
	}
}

// round reads the root and then every folder that the index has. A folder that was left in the
// middle of an enumeration comes first: its next page may show the past, and must not overwrite
// what another folder says about the present.
func (b *backup) round(ctx context.Context) error {
	if err := b.read(ctx, RootCollection); err != nil {
		return err
	}
	for _, c := range b.plan.order(b.w) {
		if err := b.read(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// read reads one collection to the end of what changed.
func (b *backup) read(ctx context.Context, collection string) error {
	for {
		cur := b.cursor(collection)
		page, err := b.src.Page(ctx, collection, cur.Link)
		switch kind := tenantry.KindOf(err); {
		case kind == tenantry.Resync:
			if err := b.restart(collection, err); err != nil {
				return err
			}
			continue
		case kind == tenantry.NotFound && collection != RootCollection:
			return b.missing(collection, err)
		case err != nil:
			return err
		}
		if !page.Done && page.Next == cur.Link {
			return tenantry.Errorf(tenantry.Internal, "read %s: the next page is the page itself", describe(collection))
		}
		delete(b.lost, collection)
		if cur.Link == "" {
			// Should only a part of this page become durable, then the enumeration begins anew, and
			// what vanishes in between is told by nobody: that one has to sweep.
			b.w.SetCursor(collection, repository.Cursor{Generation: cur.Generation + 1})
		}
		if err := b.apply(ctx, collection, cur.Generation, page); err != nil {
			return err
		}
		b.advance(collection, cur, page)
		if err := b.pause(ctx); err != nil || page.Done {
			return err
		}
	}
}

// cursor returns how far a collection was read. Generations count from 1.
func (b *backup) cursor(collection string) repository.Cursor {
	cur, _ := b.w.Cursor(collection)
	cur.Generation = max(cur.Generation, 1)
	return cur
}

// advance moves the cursor behind a page. The end of an enumeration completes the collection; if it
// was not the first, the plan says that the unseen is still to be swept.
func (b *backup) advance(collection string, cur repository.Cursor, page Page) {
	enumerated := page.Done && !cur.Complete
	if enumerated {
		cur.Complete = true
		if cur.Generation > 1 {
			b.plan.sweeps[collection] = cur.Generation
		}
		// What moved away before its folder was enumerated shows nowhere but in the folder it went to.
		b.again = b.again || b.src.Scoped()
	}
	if cur.Link != page.Next || enumerated {
		cur.Link = page.Next
		b.w.SetCursor(collection, cur)
	}
	if len(page.Items)+len(page.Removed) > 0 {
		b.progressed()
	}
}

// restart enumerates a collection anew: its link is no longer valid.
func (b *backup) restart(collection string, cause error) error {
	if b.restarts[collection]++; b.restarts[collection] > maxRestarts {
		return tenantry.E(tenantry.Transient, "read "+describe(collection)+": its links expire again and again", cause)
	}
	delete(b.plan.sweeps, collection)
	b.w.SetCursor(collection, repository.Cursor{Generation: b.cursor(collection).Generation + 1})
	return nil
}

// missing notes that a folder was not found. A lone 404 may be a lie, so it is the root that decides:
// it is enumerated anew, once in a slice, and the sweep drops the folder if it is not there. What was
// left of the folder's own enumeration is given up: read after the other folders, it may show the past.
func (b *backup) missing(collection string, cause error) error {
	b.lost[collection] = cause
	if cur := b.cursor(collection); !cur.Complete && cur.Link != "" {
		b.w.SetCursor(collection, repository.Cursor{Generation: cur.Generation + 1})
	}
	if b.restarts[RootCollection] > 0 {
		return nil
	}
	b.again = true
	return b.restart(RootCollection, cause)
}

func describe(collection string) string {
	if collection == RootCollection {
		return "the root collection"
	}
	return "collection " + collection
}
