package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// An item that is new since the last run and moves during this one, from a list that is read later to one that was
// read before, shows in neither, and no list tells that it went: what was read before has to be read once more.
// Of the lists c1 .. cn that items move between, in a collection that lists them, a run reads
//
//	c1 .. cn, the top, c1 .. c(n-1)
//
// and cn again if it has several pages. So whatever moves once during the run shows in one of them, be it into a list
// that is made meanwhile; a mailbox of one calendar needs nothing twice. The longest list comes last. Should one
// show something else than a moment ago, or the top a new one, then those before it are read again, in at most
// maxRounds rounds. No number of rounds finds an item that moves back and forth before each of them.

// errEarly ends the reading of lists before the top: one of them cannot be read, and what lists it may know why.
var errEarly = errors.New("a list cannot be read")

func isOfCollection(err error) bool {
	switch tenantry.KindOf(err) {
	case tenantry.NotFound, tenantry.Denied, tenantry.Absent, tenantry.Invalid:
		return true
	}
	return false
}

// readLists reads the lists of a space that were read to their ends before, ahead of the top.
func (b *backup) readLists(ctx context.Context, space string, read map[string]bool) error {
	b.early = true
	defer func() { b.early = false }()
	for _, c := range b.plan.known(b.w, space) {
		if b.inTree(c) {
			continue
		}
		if err := b.visit(ctx, c); errors.Is(err, errEarly) {
			delete(b.readAt, c)
			return nil
		} else if err != nil {
			return err
		}
		read[c] = true
	}
	return nil
}

// seen is the set of IDs that a list has shown, in little memory, and its digest, which does not depend
// on their order.
type seen struct {
	ids    map[[16]byte]struct{}
	digest [16]byte
}

func newSeen() *seen { return &seen{ids: map[[16]byte]struct{}{}} }

func short(id string) [16]byte {
	sum := sha256.Sum256([]byte(id))
	return [16]byte(sum[:16])
}

func (s *seen) add(id string) {
	key := short(id)
	if _, ok := s.ids[key]; ok {
		return
	}
	s.ids[key] = struct{}{}
	for i := range key {
		s.digest[i] ^= key[i]
	}
}

func (s *seen) has(id string) bool { _, ok := s.ids[short(id)]; return ok }

func (s *seen) String() string { return hex.EncodeToString(s.digest[:]) }

// list reads a collection that has no delta to its end, beginning with its first page, and takes out of
// the index what it did not show. An interrupted list begins anew: what it showed is stored and costs no
// more than its pages. Since items shift between the pages of a list that shrinks under way, whatever is
// missing from it has the round repeated. While a list shows what it showed the last time, the index need
// not be searched.
func (b *backup) list(ctx context.Context, collection string, cur repository.Cursor, page Page) error {
	if err := b.accept(ctx, collection); err != nil {
		return err
	}
	// Without the digest an interrupted list, which may have stored what is gone by the next one, has that
	// compare with the index.
	before := b.plan.lists[collection]
	delete(b.plan.lists, collection)
	shown, pages := newSeen(), 1
	for link := cur.Link; ; pages++ {
		for _, item := range page.Items {
			shown.add(item.ID)
		}
		if err := b.apply(ctx, collection, cur.Generation, page); err != nil {
			return err
		}
		if len(page.Items) > 0 && !cur.Complete {
			b.progressed()
		}
		if page.Done {
			break
		}
		if err := b.pause(ctx); err != nil {
			return err
		}
		if page.Next == link {
			return tenantry.Errorf(tenantry.Internal, "list %s: the next page is the page itself", describe(collection))
		}
		link = page.Next
		var err error
		page, err = b.src.Page(ctx, collection, link)
		if tenantry.KindOf(err) == tenantry.Resync {
			if err := b.restart(collection, err); err != nil {
				return err
			}
			return b.read(ctx, collection)
		}
		if err != nil {
			return b.unread(ctx, collection, err)
		}
	}
	if shown.String() != before {
		b.again = b.again || pages > 1 && b.inTree(collection)
		if err := b.unlisted(ctx, collection, shown); err != nil {
			return err
		}
	}
	b.plan.lists[collection] = shown.String()
	if b.showsOther(collection, shown.String()) {
		b.miss(collection) // what moved to where we have looked already
		b.mistrust(collection, pages)
	}
	if delete(b.plan.long, collection); pages > 1 {
		b.plan.long[collection] = pages
	}
	if b.paid(collection); cur.Link != page.Next || !cur.Complete {
		b.w.SetCursor(collection, repository.Cursor{Generation: cur.Generation, Link: page.Next, Complete: true})
	}
	return b.pause(ctx)
}

// showsOther reports whether a list shows something else than when it was read before in this slice, if it was. What
// lists others shows none that could move.
func (b *backup) showsOther(collection, digest string) bool {
	before, again := b.looks[collection]
	b.looks[collection] = digest
	return collection != b.space(collection) && (!again || before != digest)
}

// mistrust has a list of several pages read once more, since they shift: what was removed under way from one lets
// something slip through before the next.
func (b *backup) mistrust(collection string, pages int) {
	if pages > 1 && !b.inTree(collection) {
		b.missed = max(b.missed, b.tick+1)
	}
}

// unlisted takes out of the index what a list did not show.
func (b *backup) unlisted(ctx context.Context, collection string, shown *seen) error {
	var missing []string
	for e, err := range b.w.Entries(ctx) {
		if err != nil {
			return ofSeries(err)
		}
		if b.home(e) == collection && e.ID != collection && !shown.has(e.ID) {
			missing = append(missing, e.ID)
		}
	}
	b.again = b.again || len(missing) > 0
	for _, id := range missing {
		if err := b.removed(ctx, collection, id); err != nil {
			return err
		}
	}
	return nil
}

// strays reports whether an item is on its way to a folder that nobody has listed yet. It waits for that: should
// the folder vanish before it is listed, nothing would take the item out of the index again.
func (b *backup) strays(collection string, item Item) bool {
	return item.Collection == "" && item.Parent != collection && !b.plan.has(item.Parent) && !b.inTree(item.ID)
}

// load reads the items of which a page showed the version alone, and leaves out those that are stored in
// it. What cannot be read is a problem of its item; what is gone again is left out, and looked for in
// another round.
func (b *backup) load(ctx context.Context, collection string, items []Item) ([]Item, error) {
	var list []Item
	for _, item := range items {
		if item.Load != nil {
			e, ok, err := b.w.Lookup(ctx, item.ID)
			if err != nil {
				return nil, ofSeries(err)
			}
			if etag, _ := splitVersion(e.ETag); ok && item.ETag != "" && etag == item.ETag && e.Parent == item.Parent {
				if e.Problem != "" {
					_, again := b.plan.failed[e.ID]
					b.fails(e, again)
				}
				continue
			}
		}
		list = append(list, item)
	}
	gone := make([]bool, len(list))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(b.limits.Concurrency)
	for i, item := range list {
		if item.Load == nil {
			continue
		}
		g.Go(func() error {
			whole, err := twice(gctx, item.Load)
			switch {
			case err == nil:
				list[i] = whole
			case tenantry.KindOf(err) == tenantry.NotFound:
				gone[i] = true
			case oneBadItem(err):
				list[i].Problem, list[i].ProblemKind = err.Error(), tenantry.KindOf(err)
			default:
				return err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	whole := list[:0]
	for i, item := range list {
		if gone[i] || b.strays(collection, item) {
			b.again = true
			continue
		}
		whole = append(whole, item)
	}
	return whole, nil
}
