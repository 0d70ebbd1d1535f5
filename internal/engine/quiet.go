package engine

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// In most runs most collections have nothing new, and each says so in one empty page. Those pages are asked for
// side by side; of a mailbox of fifty folders they are all there is to wait for.
//
// Only an empty page is taken: it says that the collection was at rest until it was asked for, which is when it
// counts as read. A page that shows something was asked for before its neighbours were, and may show the past of
// what they tell, so it is dropped and asked for again in its turn: one request more for a collection that changed.

// Parallel is a Source of which several collections may be asked for at once.
type Parallel interface {
	// Quiet reports whether a collection that is at rest answers to this link with one empty page, its last.
	// Such pages are read from up to Limits.Concurrency goroutines, each of another collection.
	Quiet(collection, link string) bool
}

// quiet asks for the next pages of the collections that come first in todo, as many as may be asked for at once,
// and returns those that had nothing new. asked learns which were asked.
func (b *backup) quiet(ctx context.Context, todo []string, asked map[string]bool) (map[string]bool, error) {
	src, ok := b.src.(Parallel)
	if !ok || b.limits.Concurrency < 2 {
		return nil, nil
	}
	var batch []string
	for _, c := range todo {
		cur := b.cursor(c)
		if !asked[c] && cur.Complete && cur.Link != "" && !b.plan.collections[c].First && src.Quiet(c, cur.Link) {
			asked[c] = true
			if batch = append(batch, c); len(batch) == b.limits.Concurrency {
				break
			}
		}
	}
	if len(batch) < 2 {
		return nil, nil
	}
	b.tick++ // what vanishes from now on may have moved to one of these
	at := b.tick
	pages, err := b.peek(ctx, batch)
	if err != nil {
		return nil, err
	}
	rest := map[string]bool{}
	for i, c := range batch {
		page := pages[i]
		if !page.Done || page.Listed || len(page.Items)+len(page.Removed) > 0 {
			continue
		}
		if err := b.accept(ctx, c); err != nil {
			return nil, err
		}
		b.readAt[c], rest[c] = at, true
		b.advance(c, b.cursor(c), page)
	}
	return rest, b.pause(ctx)
}

// peek reads a page of each collection. One that cannot be read is left for its turn, which judges the error.
func (b *backup) peek(ctx context.Context, collections []string) ([]Page, error) {
	pages := make([]Page, len(collections))
	g, ctx := errgroup.WithContext(ctx)
	for i, c := range collections {
		link := b.cursor(c).Link
		g.Go(func() error {
			page, err := b.src.Page(ctx, c, link)
			switch tenantry.KindOf(err) {
			case tenantry.Throttled, tenantry.Canceled:
				return err // the turn would end the slice, too
			}
			if err == nil {
				pages[i] = page
			}
			return nil
		})
	}
	return pages, g.Wait()
}
