package engine

import (
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/tenantry/tenantry/internal/repository"
)

// sweep drops what no collection shows any more: the unseen of enumerations that came to their end,
// and what still hangs under removed containers, at any depth. It runs once, before the seal: until
// then each round may have told of a new place for an entry. It reads the folders it is about, and the
// whole index only where an enumeration was of everything.
func (b *backup) sweep(ctx context.Context) error {
	if err := b.dropUnseen(ctx); err != nil {
		return err
	}
	if err := b.dropCondemned(ctx); err != nil {
		return err
	}
	for id := range b.plan.condemned {
		b.w.DropCursor(id)
	}
	clear(b.plan.condemned)
	clear(b.plan.sweeps)
	return nil
}

func (b *backup) dropUnseen(ctx context.Context) error {
	for _, collection := range slices.Sorted(maps.Keys(b.plan.sweeps)) {
		if !b.inTree(collection) && collection != RootCollection {
			if err := b.dropUnseenOf(ctx, b.w.Children(ctx, collection)); err != nil {
				return err
			}
			continue
		}
		if err := b.dropUnseenOf(ctx, b.w.Entries(ctx)); err != nil {
			return err
		}
	}
	return nil
}

func (b *backup) dropUnseenOf(ctx context.Context, entries iter.Seq2[repository.Entry, error]) error {
	for e, err := range entries {
		if err != nil {
			return ofSeries(err)
		}
		if !b.unseen(e) {
			continue
		}
		if err := b.discard(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// unseen reports whether a completed enumeration should have shown the entry and did not.
func (b *backup) unseen(e repository.Entry) bool {
	generation, swept := b.plan.sweeps[b.home(e)]
	return swept && e.Generation < generation
}

// dropCondemned drops the condemned containers and all that hangs under them.
func (b *backup) dropCondemned(ctx context.Context) error {
	doomed := slices.Sorted(maps.Keys(b.plan.condemned))
	known := maps.Clone(b.plan.condemned)
	for len(doomed) > 0 {
		id := doomed[0]
		doomed = doomed[1:]
		e, ok, err := b.w.Lookup(ctx, id)
		if err != nil {
			return ofSeries(err)
		}
		if ok {
			if err := b.discard(ctx, e); err != nil {
				return err
			}
		}
		for e, err := range b.w.Children(ctx, id) {
			if err != nil {
				return ofSeries(err)
			}
			if _, twice := known[e.ID]; container(e) && !twice {
				known[e.ID] = struct{}{}
				doomed = append(doomed, e.ID)
				continue
			}
			if err := b.discard(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}
