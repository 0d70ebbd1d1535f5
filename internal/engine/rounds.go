package engine

import (
	"context"
	"maps"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// spaces reads every collection: the root with what lies under it, then each part that is apart. A
// source of which every part is refused is refused as a whole.
func (b *backup) spaces(ctx context.Context) error {
	if err := b.rounds(ctx, RootCollection); err != nil {
		return err
	}
	parts := b.plan.apart()
	for _, part := range parts {
		if err := b.rounds(ctx, part); err != nil {
			return err
		}
	}
	var refusal error
	for _, part := range parts {
		cause, ok := b.refusals[part]
		if !ok {
			return nil
		}
		if refusal == nil || tenantry.KindOf(cause) == tenantry.Denied && tenantry.KindOf(refusal) != tenantry.Denied {
			refusal = cause // Absent only if all of them are
		}
	}
	return refusal
}

// rounds reads the collections of a space, and again for as long as the last round may have missed a move.
func (b *backup) rounds(ctx context.Context, space string) error {
	due := 0
	for round := 0; ; round++ {
		b.again, b.missed, b.reopened = false, 0, false
		clear(b.vanished)
		if err := b.round(ctx, space, due); err != nil {
			return err
		}
		if err := b.locate(ctx, space); err != nil {
			return err
		}
		if due = b.due(); due == 0 {
			return nil
		}
		if round == maxRounds {
			b.unsettled = true
			b.problem(Problem{
				ID: space, Reason: "it changed in every round: what moved meanwhile may be in the next snapshot only",
				Kind: tenantry.Conflict, Again: true,
			})
			return nil
		}
	}
}

// Time is counted in collections that were read. What vanishes from one moved, if it did, to another that
// either is read later, and shows it, or was read before, and has to be read again.

// miss notes that something that belongs to a collection, or an item of that ID, may have moved to what was
// read before now.
func (b *backup) miss(id string) {
	if !b.inTree(id) {
		b.missed = max(b.missed, b.tick)
	}
}

func (b *backup) inTree(id string) bool { _, ok := b.src.Tree(id); return ok }

// vanish notes that an item is missing until another collection shows it.
func (b *backup) vanish(id string) {
	switch {
	case b.inTree(id):
	case len(b.vanished) < maxGone:
		b.vanished[id] = b.tick
	default:
		b.miss(id)
	}
}

// due returns the time before which collections have to be read again; 0 if none has.
func (b *backup) due() int {
	if b.again {
		return b.tick + 1 // all of them
	}
	due := b.missed
	for _, at := range b.vanished {
		due = max(due, at)
	}
	if due == 0 && b.reopened {
		due = 1 // none but those
	}
	return due
}

// visit reads a collection and notes when.
func (b *backup) visit(ctx context.Context, collection string) error {
	b.tick++
	b.readAt[collection] = b.tick
	return b.read(ctx, collection)
}

// round reads the top of a space and then every folder that the index has of it. A folder that was left in the
// middle of an enumeration comes first: its next page may show the past, and must not overwrite
// what another folder says about the present. Lists are read even before the top, see lists.go. In a further
// round only those are read that were not since due.
func (b *backup) round(ctx context.Context, space string, due int) error {
	read, asked := map[string]bool{}, map[string]bool{}
	if due == 0 {
		if err := b.readLists(ctx, space, read); err != nil {
			return err
		}
	}
	if due == 0 || b.readAt[space] < due {
		if err := b.visit(ctx, space); err != nil {
			return err
		}
	}
	if _, refused := b.refusals[space]; refused {
		return nil
	}
	for {
		var todo []string
		for _, c := range b.plan.order(b.w, space) {
			if at, ok := b.readAt[c]; read[c] || ok && due > 0 && at >= due {
				continue
			}
			todo = append(todo, c)
		}
		if len(todo) == 0 {
			return nil
		}
		if err := b.turn(ctx, todo, read, asked); err != nil {
			return err
		}
	} // what was read may have shown further folders
}

// turn reads collections one after the other, those that are at rest side by side.
func (b *backup) turn(ctx context.Context, todo []string, read, asked map[string]bool) error {
	for i, c := range todo {
		if !b.plan.has(c) {
			read[c] = true
		}
		if read[c] {
			continue
		}
		if !asked[c] {
			rest, err := b.quiet(ctx, todo[i:], asked)
			if err != nil {
				return err
			}
			maps.Copy(read, rest)
			if rest[c] {
				continue
			}
		}
		read[c] = true
		if err := b.visit(ctx, c); err != nil {
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
		if tenantry.KindOf(err) == tenantry.Resync {
			if err := b.restart(collection, err); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return b.unread(ctx, collection, err)
		}
		if page.Listed {
			return b.list(ctx, collection, cur, page)
		}
		if !page.Done && page.Next == cur.Link {
			return tenantry.Errorf(tenantry.Internal, "read %s: the next page is the page itself", describe(collection))
		}
		if err := b.accept(ctx, collection); err != nil {
			return err
		}
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
		b.paid(collection)
		if cur.Generation > 1 {
			b.plan.sweeps[collection] = cur.Generation
		}
		// What moved away before its folder was enumerated shows nowhere but in the folder it went to.
		b.miss(collection)
	}
	if cur.Link != page.Next || enumerated {
		cur.Link = page.Next
		b.w.SetCursor(collection, cur)
	}
	if len(page.Items)+len(page.Removed) > 0 {
		b.turned()
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

// unread decides what it means that a page could not be read: something about its collection, or the end
// of the slice.
func (b *backup) unread(ctx context.Context, collection string, err error) error {
	if collection == RootCollection {
		return err
	}
	if b.early && isOfCollection(err) {
		return errEarly
	}
	switch tenantry.KindOf(err) {
	case tenantry.NotFound:
		if b.space(collection) != collection {
			return b.missing(collection, err)
		}
		return b.refuse(ctx, collection, err)
	case tenantry.Denied, tenantry.Absent, tenantry.Invalid:
		return b.refuse(ctx, collection, err)
	}
	return err
}

// space is the collection under which another is read: itself if it is the root or apart.
func (b *backup) space(collection string) string { return b.plan.space(collection) }

// refuse notes that a collection cannot be read, in its entry: what is stored of it stays, and the next
// run asks again.
func (b *backup) refuse(ctx context.Context, collection string, cause error) error {
	b.refusals[collection] = cause
	b.plan.refused[collection] = struct{}{}
	return b.blame(ctx, collection, cause)
}

// accept takes back what was said of a collection that can be read again.
func (b *backup) accept(ctx context.Context, collection string) error {
	delete(b.lost, collection)
	delete(b.refusals, collection)
	if _, ok := b.plan.refused[collection]; !ok {
		return nil
	}
	delete(b.plan.refused, collection)
	return b.blame(ctx, collection, nil)
}

// blame writes the reason why it cannot be read, if there is one, into the entry of a collection.
func (b *backup) blame(ctx context.Context, collection string, cause error) error {
	e, ok, err := b.w.Lookup(ctx, collection)
	if err != nil || !ok {
		return ofSeries(err)
	}
	blamed := e
	blamed.Problem, blamed.ProblemAt, blamed.ProblemKind, blamed.Good = "", time.Time{}, "", 0
	if cause != nil {
		blamed.Problem, blamed.ProblemAt = "it cannot be read: "+cause.Error(), e.ProblemAt
		blamed.ProblemKind, blamed.Good = tenantry.KindOf(cause), b.good(e, true)
		if e.Problem != blamed.Problem {
			blamed.ProblemAt = time.Now()
		}
		b.fails(blamed, true)
	}
	if e.Problem == blamed.Problem {
		return nil
	}
	return ofSeries(b.w.Put(ctx, blamed))
}

// missing notes that a folder was not found. A lone 404 may be a lie, so it is what lists the folder that
// decides: it is enumerated anew, once in a slice, and the sweep drops the folder if it is not there. What was
// left of the folder's own enumeration is given up: read after the other folders, it may show the past.
func (b *backup) missing(collection string, cause error) error {
	b.lost[collection] = cause
	if cur := b.cursor(collection); !cur.Complete && cur.Link != "" {
		b.w.SetCursor(collection, repository.Cursor{Generation: cur.Generation + 1})
	}
	in := b.plan.collections[collection].In
	if b.restarts[in] > 0 {
		return nil
	}
	b.again = true
	return b.restart(in, cause)
}

func describe(collection string) string {
	if collection == RootCollection {
		return "the root collection"
	}
	return "collection " + collection
}
