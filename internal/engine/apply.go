package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// apply brings one page into the index: removals first, then items, whose separate content is
// fetched a batch at a time. Items become visible one by one, the cursor moves only behind the whole
// page, so that a checkpoint between batches is safe: the page is read again and finds them stored. What was
// applied is cleared from the page: fifty tasks hold megabytes of payloads each.
func (b *backup) apply(ctx context.Context, collection string, generation int64, page Page) error {
	for _, id := range page.Removed {
		if err := b.removed(ctx, collection, id); err != nil {
			return err
		}
	}
	_, b.cut = b.plan.cut[collection]
	b.cut = b.cut || page.Listed
	b.plan.cut[collection] = struct{}{}
	if err := b.find(ctx, page.Items); err != nil {
		return err
	}
	fetched := false
	for items := range slices.Chunk(page.Items, b.batchSize()) {
		if fetched {
			if err := b.pause(ctx); err != nil {
				return err
			}
		}
		var err error
		if fetched, err = b.applyItems(ctx, collection, generation, items); err != nil {
			return err
		}
		clear(items)
	}
	delete(b.plan.cut, collection)
	b.ahead.clear()
	return nil
}

// applyItems brings a stretch of a page into the index; fetched tells that content was read for it.
func (b *backup) applyItems(ctx context.Context, collection string, generation int64, items []Item) (fetched bool, err error) {
	if items, err = b.load(ctx, collection, items); err != nil {
		return false, err
	}
	batch := make([]change, 0, len(items))
	for _, item := range items {
		c, err := b.compare(ctx, collection, generation, item)
		if err != nil {
			return false, err
		}
		if !c.fetch {
			if err := b.store(ctx, c); err != nil {
				return false, err
			}
			continue
		}
		if b.cut && c.counts {
			b.ahead.show(item.ID, c.unread())
		}
		batch = append(batch, c)
	}
	return len(batch) > 0, b.fetchAll(ctx, batch)
}

// batchSize is how many items are fetched between two looks at whether the slice is over.
func (b *backup) batchSize() int { return max(4*b.limits.Concurrency, 16) }

// removed takes an item out of the index, if this collection has a say in it.
func (b *backup) removed(ctx context.Context, collection, id string) error {
	e, ok, err := b.w.Lookup(ctx, id)
	switch {
	case err != nil:
		return ofSeries(err)
	case !ok:
		// Never seen, and it may be because it has moved to where we have looked already.
		b.miss(id)
		if _, ok := b.plan.awaited[id]; ok {
			delete(b.plan.awaited, id)
			b.plan.condemned[id] = struct{}{}
		}
		return nil
	case b.home(e) != collection:
		// It lies elsewhere; but an enumeration under way may not have shown it there yet.
		b.again = b.again || e.Generation < b.cursor(b.home(e)).Generation
		return nil
	}
	b.vanish(id)
	b.remember(e)
	return b.discard(ctx, e)
}

// discard drops an entry; if it is a container, what hangs under it is swept before the seal.
func (b *backup) discard(ctx context.Context, e repository.Entry) error {
	if container(e) {
		b.plan.condemned[e.ID] = struct{}{}
	}
	if e.Collection != "" {
		delete(b.plan.collections, e.Collection)
		delete(b.plan.lists, e.Collection)
		delete(b.plan.long, e.Collection)
		delete(b.plan.refused, e.Collection)
		// Should the folder come back before the sweep, it must outdo what the old one left.
		b.w.SetCursor(e.Collection, repository.Cursor{Generation: b.cursor(e.Collection).Generation + 1})
	}
	return ofSeries(b.w.Remove(ctx, e.ID))
}

// remember keeps a removed entry for a while: if it only moved, its content need not be read again.
// The content is safe to name: this series has not been sealed without it yet.
func (b *backup) remember(e repository.Entry) {
	if len(b.gone) < maxGone {
		b.gone[e.ID] = e
	}
}

// home returns the collection that lists an entry: folders are listed by what showed them, everything else
// by its tree or its folder.
func (b *backup) home(e repository.Entry) string {
	if e.Collection != "" {
		return b.plan.collections[e.Collection].In
	}
	if tree, ok := b.src.Tree(e.ID); ok {
		return tree
	}
	return e.Parent
}

func container(e repository.Entry) bool {
	return e.Collection != "" || e.Kind == KindFolder || e.Kind == KindPackage
}

// change is one listed item against what is stored.
type change struct {
	item   Item
	stored repository.Entry // zero if nothing is known of the item
	known  bool             // stored has something
	fetch  bool             // its parts have to be read
	dirty  bool             // the index has to change
	lister string           // the collection that showed it
	entry  repository.Entry // what the index shall say
	good   int64            // the snapshot that has it whole, should it fail

	passing error // Transient, or throttled, of what its parts answered last
	aside   bool  // the item waits to be asked for again
	counts  bool  // it is one more that the task has done, once it is stored

	unfinished []repository.Part // of contents of which a part is stored: see unfinished.go
	commit     func() error      // commits what the slice has; with the batch locked
}

// compare decides what a listed item changes, without reading its content.
func (b *backup) compare(ctx context.Context, collection string, generation int64, item Item) (change, error) {
	stored, indexed, err := b.w.Lookup(ctx, item.ID)
	if err != nil {
		return change{}, ofSeries(err)
	}
	known := indexed
	if !indexed {
		stored, known = b.gone[item.ID]
	}
	if err := b.await(ctx, item); err != nil {
		return change{}, err
	}
	c := change{item: item, known: known, dirty: !indexed, lister: collection, good: b.good(stored, known)}
	c.take(stored)
	stored = c.stored
	c.entry = repository.Entry{
		ID: item.ID, Parent: item.Parent, Kind: item.Kind, Name: item.Name, ETag: joinVersion(item.ETag, item.Content),
		Modified: item.Modified, Size: item.Size, Collection: item.Collection, From: item.From, To: item.To, Date: item.Date,
		Generation: b.generation(collection, generation, item),
		Payload:    stored.Payload, Parts: stored.Parts,
	}
	etag, content := splitVersion(stored.ETag)
	whole := known && stored.Problem == ""
	sameVersion := known && item.ETag != "" && item.ETag == etag
	// A page that was cut shows what was stored of it, and counted, a second time; a list shows all there is.
	again := b.cut && indexed && (sameVersion || item.Problem != "" && item.Problem == stored.Problem)
	c.counts = !c.entry.Place() && !again
	if item.Problem != "" {
		c.failed(item.Problem, cmp.Or(item.ProblemKind, tenantry.Poison))
		if !known && len(item.Raw) > 0 {
			c.entry.Payload, err = b.w.PutPayload(ctx, item.Raw)
		}
		return c, ofSeries(err)
	}
	sameContent := whole && (sameVersion || item.Content != "" && item.Content == content)
	if c.fetch = item.Parts != nil && !sameContent; item.Parts == nil {
		c.entry.Parts = nil
	}
	if sameContent && item.Content == "" {
		c.entry.ETag = joinVersion(item.ETag, content)
	}
	c.dirty = c.dirty || !whole || !sameVersion || !sameShape(stored, c.entry)
	_, waits := b.plan.aside[item.ID]
	_, spent := b.plan.spent[item.ID]
	if c.fetch && (waits && sameVersion || spent && stored.Problem != "") {
		c.fetch, c.aside = false, waits // asked for at the end of the slice, or in the next run
		c.entry.Problem, c.entry.ProblemAt = stored.Problem, stored.ProblemAt
		c.entry.ProblemKind, c.entry.Good = stored.ProblemKind, stored.Good
		if sameVersion {
			c.entry.ETag = stored.ETag
		}
	}
	if sameVersion && sameShape(stored, c.entry) || len(item.Raw) == 0 {
		return c, nil
	}
	c.entry.Payload, err = b.w.PutPayload(ctx, item.Raw)
	b.took(item.ID, int64(len(item.Raw)))
	return c, ofSeries(err)
}

// await notes a parent that was not listed yet: should it vanish before it ever is, what lies in it
// must go with it. Items of a folder's own collection need no such note, the folder has been listed.
func (b *backup) await(ctx context.Context, item Item) error {
	if item.Parent == "" || !b.inTree(item.ID) && item.Collection == "" {
		return nil
	}
	_, ok, err := b.w.Lookup(ctx, item.Parent)
	if _, doomed := b.plan.condemned[item.Parent]; err == nil && !ok && !doomed {
		b.plan.awaited[item.Parent] = struct{}{}
	}
	return ofSeries(err)
}

// generation is the generation an item is seen in: that of the collection it belongs to, which for
// an item that is listed while it moves is not the one that lists it.
func (b *backup) generation(collection string, generation int64, item Item) int64 {
	if item.Collection != "" || item.Parent == collection || b.inTree(item.ID) {
		return generation
	}
	return b.cursor(item.Parent).Generation
}

// failed makes the change one of the reason alone: the last good version stays.
func (c *change) failed(reason string, kind tenantry.Kind) {
	c.dirty = c.dirty || c.stored.Problem != reason || !sameShape(c.stored, c.entry) || c.stored.Generation != c.entry.Generation
	c.entry.ETag, c.entry.Payload, c.entry.Parts = c.stored.ETag, c.stored.Payload, c.stored.Parts
	c.entry.Problem, c.entry.ProblemAt = reason, c.stored.ProblemAt
	if c.stored.Problem != reason {
		c.entry.ProblemAt = time.Now()
	}
	c.entry.ProblemKind, c.entry.Good = kind, c.good
}

// sameShape reports whether the index says of two entries the same, versions and content aside.
func sameShape(a, b repository.Entry) bool {
	return a.Parent == b.Parent && a.Kind == b.Kind && a.Name == b.Name && a.Size == b.Size && a.Collection == b.Collection
}

// store brings a decided change into the index.
func (b *backup) store(ctx context.Context, c change) error {
	e := c.entry
	if c.aside {
		e.Parts = slices.Concat(e.Parts, c.unfinished)
	}
	if b.ahead.done(e.ID); c.counts {
		b.add(tenantry.Counts{Items: 1})
	}
	if e.Collection != "" {
		if !b.plan.has(e.Collection) {
			b.miss(c.lister) // what moved out of it, to where we have looked already
		}
		b.plan.collections[e.Collection] = b.listed(c, e)
	}
	if c.lister != "" { // else it was counted when it was shown, or a root shows it
		b.expect(c)
		b.movedWhileListed(c.lister, e)
	}
	delete(b.plan.condemned, e.ID)
	delete(b.plan.awaited, e.ID)
	delete(b.plan.failed, e.ID)
	if !c.aside {
		b.plan.served(e.ID)
		b.note(c)
	}
	b.bear(c)
	delete(b.gone, e.ID)
	delete(b.vanished, e.ID)
	if !c.dirty && e.Generation == c.stored.Generation {
		return nil
	}
	return ofSeries(b.w.Put(ctx, e))
}

// movedWhileListed sees to an item that was in another list when it was read whole. Should it go before that one shows
// it, the list would look as it did before, and the item stay: it has to compare with the index.
func (b *backup) movedWhileListed(lister string, e repository.Entry) {
	if home := b.home(e); e.Collection == "" && home != lister {
		delete(b.plan.lists, home)
	}
}

// note tells of an item's problem, and sees that it is tried again in the next run.
func (b *backup) note(c change) {
	e := c.entry
	if e.Problem == "" {
		return
	}
	again := c.item.Parts != nil && len(b.plan.failed) < maxFailed
	b.fails(e, again)
	if again {
		b.plan.failed[e.ID] = struct{}{}
	}
}

// fetchAll reads the parts of a batch of items, several at once, and stores what came of it. An item
// that was read stays stored when another one ends the slice. Where a long one meets the end of the slice, no other
// begins.
func (b *backup) fetchAll(ctx context.Context, batch []change) error {
	var next atomic.Int64
	var over atomic.Bool
	commit := func() error { return b.checkpoint(ctx) } // not cut off by an item that ends the slice
	g, ctx := errgroup.WithContext(ctx)
	for range min(b.limits.Concurrency, len(batch)) {
		g.Go(func() error { // of several items: its stack has grown for the first one
			for !over.Load() {
				at := int(next.Add(1)) - 1
				if at >= len(batch) {
					return nil
				}
				c := batch[at]
				c.commit = commit
				switch err := b.fetchOne(ctx, c); {
				case errors.Is(err, errSliceOver):
					over.Store(true)
				case err != nil:
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil || !over.Load() {
		return err
	}
	return errSliceOver
}

// fetchOne reads the parts of one item and stores what came of it.
func (b *backup) fetchOne(ctx context.Context, c change) error {
	if err := ctx.Err(); err != nil {
		return err // another one has ended the slice
	}
	moved, err := b.fetch(ctx, &c)
	if err != nil {
		return err
	}
	b.batch.Lock()
	defer b.batch.Unlock()
	b.again = b.again || moved
	return b.conclude(ctx, c)
}

// An entry's ETag holds the item's version and, behind a line feed, that of its separate content.
func joinVersion(etag, content string) string {
	if content == "" {
		return etag
	}
	return etag + "\n" + content
}

func splitVersion(v string) (etag, content string) {
	etag, content, _ = strings.Cut(v, "\n")
	return etag, content
}
