package engine

import (
	"context"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// What vanished from a collection, and shows in no other, is gone for good or lies in one that was read before. Most
// often it is gone: somebody emptied a bin. To ask for one message costs a request, to ask all collections again as
// many as there are, so that a few messages are asked for themselves, and then only the collection that one of them
// names is read again.

// Locator is a Source that can tell where an item lies.
type Locator interface {
	// Locate returns a function that tells the parent of an entry's item as it is now, NotFound if it is gone; nil if
	// it cannot. The function is called from several goroutines.
	Locate(e repository.Entry) func(ctx context.Context) (parent string, err error)
}

// locate asks for what vanished where that costs less than another round, and notes which collections have to be read
// again for it. What it cannot settle is left to the round.
func (b *backup) locate(ctx context.Context, space string) error {
	src, ok := b.src.(Locator)
	if !ok || b.again || len(b.vanished) == 0 || len(b.vanished)+1 >= b.overdue(space) {
		return nil
	}
	ids := slices.Sorted(maps.Keys(b.vanished))
	parents, gone := make([]string, len(ids)), make([]bool, len(ids))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(b.limits.Concurrency)
	for i, id := range ids {
		ask := src.Locate(b.gone[id])
		if ask == nil {
			continue
		}
		g.Go(func() error {
			parent, err := ask(gctx)
			switch tenantry.KindOf(err) {
			case tenantry.NotFound:
				gone[i] = true
			case tenantry.Throttled, tenantry.Canceled:
				return err
			case "":
				parents[i] = parent
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, id := range ids {
		if parents[i] != "" {
			b.reopen(space, parents[i])
		}
		if gone[i] || parents[i] != "" {
			delete(b.vanished, id)
		}
	}
	return nil
}

// overdue is how many collections of a space would have to be read again for what vanished, beside those that have to be
// for another reason.
func (b *backup) overdue(space string) (n int) {
	last := 0
	for _, at := range b.vanished {
		last = max(last, at)
	}
	for _, c := range append(b.plan.order(b.w, space), space) {
		if at, ok := b.readAt[c]; ok && at >= b.missed && at < last {
			n++
		}
	}
	return n
}

// reopen has a collection read again, or what lists the collections if it is unknown: it may have been made under way.
func (b *backup) reopen(space, collection string) {
	if !b.plan.has(collection) {
		collection = space
	}
	delete(b.readAt, collection)
	b.reopened = true
}
