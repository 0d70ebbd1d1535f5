package engine

import (
	"context"

	"github.com/tenantry/tenantry/internal/repository"
)

// maxSweep is how many entries a sweep removes between two scans of the index, which must not
// change while it is scanned.
const maxSweep = 1 << 16

// sweep drops what no collection shows any more: the unseen of enumerations that came to their end,
// and what still hangs under removed containers, at any depth. It runs once, before the seal: until
// then each round may have told of a new place for an entry.
func (b *backup) sweep(ctx context.Context) error {
	if len(b.plan.sweeps) > 0 {
		if err := b.drop(ctx, b.unseen); err != nil {
			return err
		}
	}
	if len(b.plan.condemned) > 0 {
		doomed, err := b.doomed(ctx)
		if err != nil {
			return err
		}
		hangs := func(e repository.Entry) bool { return doomed[e.Parent] || doomed[e.ID] }
		if err := b.drop(ctx, hangs); err != nil {
			return err
		}
	}
	for id := range b.plan.condemned {
		b.w.DropCursor(id)
	}
	clear(b.plan.condemned)
	clear(b.plan.sweeps)
	return nil
}

// unseen reports whether a completed enumeration should have shown the entry and did not.
func (b *backup) unseen(e repository.Entry) bool {
	collection := RootCollection
	if b.src.Scoped() {
		collection = home(e)
	}
	generation, swept := b.plan.sweeps[collection]
	return swept && e.Generation < generation
}

// doomed returns the condemned containers and all that hang under them.
func (b *backup) doomed(ctx context.Context) (map[string]bool, error) {
	parents := map[string]string{}
	for e, err := range b.w.Entries(ctx) {
		if err != nil {
			return nil, ofSeries(err)
		}
		if container(e) {
			parents[e.ID] = e.Parent
		}
	}
	doomed := make(map[string]bool, len(b.plan.condemned))
	for id := range b.plan.condemned {
		doomed[id] = true
	}
	for found := true; found; {
		found = false
		for id, parent := range parents {
			if doomed[parent] && !doomed[id] {
				doomed[id], found = true, true
			}
		}
	}
	return doomed, nil
}

// drop removes every entry that is to go.
func (b *backup) drop(ctx context.Context, goes func(repository.Entry) bool) error {
	for {
		var list []repository.Entry
		for e, err := range b.w.Entries(ctx) {
			if err != nil {
				return ofSeries(err)
			}
			if goes(e) {
				list = append(list, e)
			}
			if len(list) == maxSweep {
				break
			}
		}
		for _, e := range list {
			if err := b.discard(ctx, e); err != nil {
				return err
			}
		}
		if len(list) < maxSweep {
			return nil
		}
	}
}
