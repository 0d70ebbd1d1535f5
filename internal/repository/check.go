package repository

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// checkers is how many frames or chunks Check reads at once.
const checkers = 8

// Problem is one thing that a check has found wrong.
type Problem struct {
	Item   string // ID of the entry that cannot be read
	Name   string // what a person recognises of it
	Reason string // names the object
	Object string // that is at fault, as DamagedObject has it
}

// Checked is what a check has read.
type Checked struct {
	Items  int64 // entries looked at
	Bytes  int64 // plain bytes, each frame and each chunk once
	Chunks int64 // distinct chunks of shared content
	Faults int64 // problems reported
}

// Check reads again everything that a snapshot names, each object once, and proves it
// against its hash or authentication tag: index, payloads, and shared content. Damage to
// an item is reported to report, once per item and object, and the check goes on; an index
// that cannot be read ends it with Corrupt, a store that cannot be reached with its kind.
// report is not called concurrently.
//
// Memory: about 100 MB, whatever the snapshot has. One of more than 150,000 items has its index read
// several times, each time for a part of the frames and chunks; those are read once all the same.
func (r *Repository) Check(ctx context.Context, s tenantry.Series, seq int64, report func(Problem)) (Checked, error) {
	rd, err := r.OpenSnapshot(ctx, s, seq)
	if err != nil {
		return Checked{}, err
	}
	defer rd.Close()
	c := newChecker(rd, report)
	err = c.passes(ctx, c.checkAll)
	return c.done, err
}

// checkAll reads everything of a pass.
func (c *checker) checkAll(ctx context.Context) error {
	if err := c.checkFrames(ctx); err != nil {
		return err
	}
	return c.checkChunks(ctx)
}

// passItems is about how many items' places are known at a time, some 300 bytes each.
const passItems = 150_000

// newChecker returns a checker that needs as many passes as the snapshot has items for.
func newChecker(rd *Reader, report func(Problem)) *checker {
	return &checker{rd: rd, report: report, of: int(min(256, 1+rd.head.Counts.GetItems()/passItems))}
}

// passes has each part of the frames and chunks collected and checked.
func (c *checker) passes(ctx context.Context, check func(context.Context) error) error {
	for c.pass = range c.of {
		c.uses, c.chunks = c.uses[:0], map[chunk][]string{}
		if err := c.collect(ctx); err != nil {
			return err
		}
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// mine reports whether a chunk whose random name begins so is of this pass.
func (c *checker) mine(first byte) bool { return int(first)*c.of/256 == c.pass }

// mineFrame is mine for a frame of a pack. Frames of one pack are spread over all passes, since a few packs may have
// everything; not where packs are looked at as a whole.
func (c *checker) mineFrame(pack packID, frame uint32) bool {
	if c.wholePacks {
		frame = 0
	}
	return c.mine(pack[0] + byte(frame*97))
}

// use says that an entry has bytes in a frame.
type use struct {
	frame frameKey
	end   uint64 // of them, in the frame's plain bytes
	entry string
}

type checker struct {
	rd         *Reader
	pass, of   int // which part of frames and chunks is checked, of how many
	uses       []use
	wholePacks bool
	chunks     map[chunk][]string // who needs a chunk; only the first for each part

	mu     sync.Mutex // guards what follows
	report func(Problem)
	done   Checked
}

// collect notes where the content of all entries is.
func (c *checker) collect(ctx context.Context) error {
	top, err := c.rd.inline.records(nil)
	if err != nil {
		return c.rd.repo.fail(c.rd.series, err)
	}
	if c.pass == 0 {
		if err := c.rd.index.checkFilters(ctx); err != nil {
			return c.rd.repo.fail(c.rd.series, err)
		}
	}
	items, places := int64(0), int64(0)
	for r, err := range c.rd.index.scan(ctx, top, nil, nil) { // every block, not only those that have IDs
		if err == nil && r.key[0] == idSpace {
			items++
			err = c.noteEntry(ctx, r.value)
		} else if err == nil && r.key[0] == placeSpace {
			places++
		}
		if err != nil {
			return c.rd.repo.fail(c.rd.series, err)
		}
	}
	if c.done.Items = items; places != items {
		return tenantry.Errorf(tenantry.Corrupt, "series %s: snapshot %d has %d items and %d places of items", c.rd.series, c.rd.head.Seq, items, places)
	}
	slices.SortFunc(c.uses, func(a, b use) int {
		if d := slices.Compare(a.frame.pack[:], b.frame.pack[:]); d != 0 {
			return d
		}
		return cmp.Compare(a.frame.frame, b.frame.frame)
	})
	return nil
}

// noteEntry notes where the content of one entry is.
func (c *checker) noteEntry(ctx context.Context, value []byte) error {
	e, err := decodeEntry(value)
	if err != nil {
		return err
	}
	if err := c.note(ctx, &e, e.ID, e.Payload, -1); err != nil {
		return err
	}
	for i := range e.Parts {
		if err := c.note(ctx, &e, e.ID, e.Parts[i].Ref, e.Parts[i].Size); err != nil {
			return err
		}
	}
	return nil
}

// note notes one Ref of an entry. size is what it must add up to; -1 if nobody said.
func (c *checker) note(ctx context.Context, e *Entry, at string, r Ref, size int64) error {
	direct, err := c.rd.resolve(ctx, r)
	if err != nil {
		if abort(ctx, err) {
			return err
		}
		if c.pass == 0 {
			c.problem(e, err)
		}
		return nil
	}
	if got := direct.plainSize(); size >= 0 && got != size && c.pass == 0 {
		c.problem(e, tenantry.Errorf(tenantry.Corrupt, "%d bytes are stored of %d", got, size))
	}
	for _, part := range direct.chunks {
		if !c.mine(part.hash[0]) {
			continue
		}
		if who := c.chunks[part]; len(who) == 0 || who[len(who)-1] != at {
			c.chunks[part] = append(who, at)
		}
	}
	if direct.length > 0 && c.mineFrame(direct.pack, direct.frame) {
		c.uses = append(c.uses, use{frame: frameKey{direct.pack, direct.frame}, end: uint64(direct.offset) + uint64(direct.length), entry: at})
	}
	return nil
}

// checkFrames reads every frame that is used, once.
func (c *checker) checkFrames(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(checkers)
	for begin := 0; begin < len(c.uses); {
		end := begin + 1
		for end < len(c.uses) && c.uses[end].frame == c.uses[begin].frame {
			end++
		}
		uses := c.uses[begin:end]
		group.Go(func() error { return c.checkFrame(ctx, uses) })
		begin = end
	}
	return group.Wait()
}

func (c *checker) checkFrame(ctx context.Context, uses []use) error {
	p, err := c.rd.packFor(ctx, uses[0].frame.pack)
	var plain []byte
	if err == nil {
		plain, err = c.rd.repo.frame(ctx, p, uses[0].frame.frame)
	}
	if abort(ctx, err) {
		return err
	}
	c.mu.Lock()
	c.done.Bytes += int64(len(plain))
	c.mu.Unlock()
	for _, u := range uses {
		reason := err
		if reason == nil && u.end > uint64(len(plain)) {
			reason = tenantry.Errorf(tenantry.Corrupt, "object %s: frame %d is shorter than the item", c.rd.repo.object(p.name), u.frame.frame)
		}
		if reason != nil {
			if err := c.blame(ctx, u.entry, reason); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkChunks reads every chunk that is used, once.
func (c *checker) checkChunks(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(checkers)
	for part, who := range c.chunks {
		group.Go(func() error {
			plain, err := c.rd.repo.readChunk(ctx, part)
			if abort(ctx, err) {
				return err
			}
			c.mu.Lock()
			c.done.Chunks++
			c.done.Bytes += int64(len(plain))
			c.mu.Unlock()
			if err == nil {
				return nil
			}
			for _, at := range who {
				if err := c.blame(ctx, at, err); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// abort reports whether an error is not about stored data: then checking on is pointless.
func abort(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil {
		return err != nil
	}
	switch tenantry.KindOf(err) {
	case tenantry.Corrupt, tenantry.WrongKey, tenantry.Invalid: // Invalid: a format version that nobody wrote
		return false
	}
	return true
}

func (c *checker) blame(ctx context.Context, at string, reason error) error {
	e, _, err := c.rd.Lookup(ctx, at)
	if err != nil {
		return err
	}
	c.problem(&e, reason)
	return nil
}

func (c *checker) problem(e *Entry, reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done.Faults++
	c.report(Problem{Item: e.ID, Name: e.Name, Reason: reason.Error(), Object: DamagedObject(reason)})
}
