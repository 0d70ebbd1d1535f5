package repository

import (
	"cmp"
	"context"
	"maps"
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
// Memory: what the index and eight frames take, and some 100 bytes for each frame and each chunk, of those of a pass:
// a snapshot of more than 50 GB has its index read several times, each time for a part of its frames and chunks; those
// are read once all the same. Who needs what was found damaged is looked up at the end, in one more reading of the index.
func (r *Repository) Check(ctx context.Context, s tenantry.Series, seq int64, report func(Problem)) (Checked, error) {
	rd, err := r.OpenStored(ctx, s, seq)
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

// passBytes is how much content, in the smallest chunks, has its places known at a time: 400,000 of them.
const passBytes = 400_000 * minChunk

// newChecker returns a checker that needs as many passes as the snapshot has content for.
func newChecker(rd *Reader, report func(Problem)) *checker {
	return &checker{
		rd: rd, report: report, of: int(min(256, 1+max(0, rd.head.Counts.GetBytes())/passBytes)),
		badFrames: map[frameKey]fault{}, badChunks: map[chunk]error{},
	}
}

// passes has each part of the frames and chunks collected and checked.
func (c *checker) passes(ctx context.Context, check func(context.Context) error) error {
	for c.pass = range c.of {
		c.frames, c.chunks = map[frameKey]uint64{}, map[chunk]struct{}{}
		if err := c.collect(ctx); err != nil {
			return err
		}
		if err := check(ctx); err != nil {
			return err
		}
	}
	if len(c.badFrames)+len(c.badChunks) == 0 {
		return nil
	}
	return c.blame(ctx)
}

// mine reports whether a chunk whose random name begins so is of this pass.
func (c *checker) mine(first byte) bool { return int(first)*c.of/256 == c.pass }

// mineFrame is mine for a frame of a pack. Frames of one pack are spread over all passes, since a few packs may have
// everything; where packs are looked at as a whole, frame is 0.
func (c *checker) mineFrame(at frameKey) bool { return c.mine(at.pack[0] + byte(at.frame*97)) }

// frameOf is the frame that a Ref is about; the first one where packs are looked at as a whole.
func (c *checker) frameOf(direct Ref) frameKey {
	if c.wholePacks {
		return frameKey{direct.pack, 0}
	}
	return frameKey{direct.pack, direct.frame}
}

type checker struct {
	rd         *Reader
	pass, of   int // which part of frames and chunks is checked, of how many
	wholePacks bool
	frames     map[frameKey]uint64 // of the pass, and how many plain bytes of each are needed
	chunks     map[chunk]struct{}  // of the pass

	opening sync.Mutex // held while a pack is opened

	mu        sync.Mutex // guards what follows
	badFrames map[frameKey]fault
	badChunks map[chunk]error
	report    func(Problem)
	done      Checked
}

// fault is what is wrong with a frame, for those who need more than so many plain bytes of it.
type fault struct {
	err  error
	good uint64
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
	return nil
}

// noteEntry notes where the content of one entry is.
func (c *checker) noteEntry(ctx context.Context, value []byte) error {
	e, err := decodeEntry(value)
	if err != nil {
		return err
	}
	if err := c.note(ctx, &e, e.Payload, -1); err != nil {
		return err
	}
	for i := range e.Parts {
		if err := c.note(ctx, &e, e.Parts[i].Ref, e.Parts[i].Size); err != nil {
			return err
		}
	}
	return nil
}

// note notes one Ref of an entry. size is what it must add up to; -1 if nobody said.
func (c *checker) note(ctx context.Context, e *Entry, r Ref, size int64) error {
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
		if c.mine(part.hash[0]) {
			c.chunks[part] = struct{}{}
		}
	}
	if at := c.frameOf(direct); direct.length > 0 && c.mineFrame(at) {
		c.frames[at] = max(c.frames[at], direct.end())
	}
	return nil
}

// end is where the bytes of a Ref end in the frame's plain bytes.
func (r Ref) end() uint64 { return uint64(r.offset) + uint64(r.length) }

// checkFrames reads every frame that is used, once, pack after pack, several packs at once.
func (c *checker) checkFrames(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(checkers)
	frames := slices.SortedFunc(maps.Keys(c.frames), frameKey.compare)
	for len(frames) > 0 {
		end := slices.IndexFunc(frames, func(at frameKey) bool { return at.pack != frames[0].pack })
		if end < 0 {
			end = len(frames)
		}
		ofPack := frames[:end]
		frames = frames[end:]
		group.Go(func() error { return c.checkPack(ctx, ofPack) })
	}
	return group.Wait()
}

// checkPack reads frames of one pack.
func (c *checker) checkPack(ctx context.Context, frames []frameKey) error {
	p, err := c.openPack(ctx, frames[0].pack)
	if abort(ctx, err) {
		return err
	}
	for _, at := range frames {
		if err := c.checkFrame(ctx, p, err, at); err != nil {
			return err
		}
	}
	return nil
}

// openPack opens one pack after the other: a footer has up to 8 MiB where a run of the index was written with it.
func (c *checker) openPack(ctx context.Context, id packID) (*packReader, error) {
	c.opening.Lock()
	defer c.opening.Unlock()
	return c.rd.packFor(ctx, id)
}

func (k frameKey) compare(o frameKey) int {
	return cmp.Or(slices.Compare(k.pack[:], o.pack[:]), cmp.Compare(k.frame, o.frame))
}

// checkFrame reads one frame of a pack, which could not be opened if err is not nil.
func (c *checker) checkFrame(ctx context.Context, p *packReader, err error, at frameKey) error {
	var plain []byte
	if err == nil {
		var buffer *[]byte
		plain, buffer, err = c.rd.repo.frame(ctx, p, at.frame)
		defer giveBack(buffer)
	}
	if abort(ctx, err) {
		return err
	}
	good, needed := uint64(0), c.frames[at]
	if err == nil && needed > uint64(len(plain)) {
		err, good = tenantry.Errorf(tenantry.Corrupt, "object %s: frame %d is shorter than the item", c.rd.repo.object(p.name), at.frame), uint64(len(plain))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done.Bytes += int64(len(plain))
	if err != nil {
		c.badFrames[at] = fault{err, good}
	}
	return nil
}

// checkChunks reads every chunk that is used, once.
func (c *checker) checkChunks(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(checkers)
	for part := range c.chunks {
		group.Go(func() error {
			plain, buffer, err := c.rd.repo.readChunk(ctx, part)
			if abort(ctx, err) {
				return err
			}
			giveBack(buffer)
			c.checkedChunk(part, len(plain), err)
			return nil
		})
	}
	return group.Wait()
}

func (c *checker) checkedChunk(part chunk, size int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done.Chunks++
	c.done.Bytes += int64(size)
	if err != nil {
		c.badChunks[part] = err
	}
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

// blame reports what was found damaged to every entry that needs it, once for each object.
func (c *checker) blame(ctx context.Context) error {
	for e, err := range c.rd.Entries(ctx) {
		if err != nil {
			return err
		}
		var told []string
		tell := func(err error) {
			if err != nil && !slices.Contains(told, err.Error()) {
				told = append(told, err.Error())
				c.problem(&e, err)
			}
		}
		for r := range e.refs() {
			direct, err := c.rd.resolve(ctx, r)
			if abort(ctx, err) {
				return err
			}
			if err != nil {
				continue // reported when it was met first
			}
			if direct.length > 0 {
				if bad := c.badFrames[c.frameOf(direct)]; direct.end() > bad.good {
					tell(bad.err)
				}
			}
			for _, part := range direct.chunks {
				tell(c.badChunks[part])
			}
		}
	}
	return nil
}

func (c *checker) problem(e *Entry, reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done.Faults++
	c.report(Problem{Item: e.ID, Name: e.Name, Reason: reason.Error(), Object: DamagedObject(reason)})
}
