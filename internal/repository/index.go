package repository

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

const (
	// cachedBlocks is how many blocks of 64 KiB an index keeps.
	cachedBlocks = 128
	// smallSegment is up to which size a segment is read whole at once: a request is dearer than the bytes. Where many
	// look-ups are to come, as in a backup, it is mediumSegment, as long as an index then holds no more than maxStored, and
	// largeIndex where there is room for all of the index (see reserveIndex).
	smallSegment  = 256 << 10
	mediumSegment = 4 << 20
	// singleReads is how many blocks of a segment are read one by one before all are read whole, as long as
	// an index then holds no more than maxStored bytes of segments.
	singleReads = 1
	maxStored   = 4 << 20
	// scanBytes is how much of a segment a scan reads at once, once it has gone on for a while.
	scanBytes = 256 << 10
	// maxStep is how many blocks of a segment a scan reads at once at most; one that folds reads so much at once.
	maxStep   = 64
	foldAhead = 1 << 20
)

// index is what the segments of a manifest say: runs of sorted tables, of which a newer one
// overrides the older. It reads blocks as they are needed and keeps the last few; it never
// reads a run whole unless it is scanned whole. Safe for concurrent use.
//
// Memory: 128 blocks of 64 KiB, 4 MiB of blocks as they are stored (16 MiB where the process has room, see memory.go), the
// filters that the manifest has, and per segment that was touched its directory and filter, about 1 % of its plain bytes,
// and all of it if it is small.
type index struct {
	repo   *Repository
	series tenantry.Series
	runs   [][]*lazyTable // newest first, each in ascending order of keys
	blocks *frameCache
	held   *atomic.Int64 // bytes of tables that were read whole later
	room   int64         // for them
	whole  int64         // up to which size segments are read whole at once
	cache  *Cache        // nil: everything is read from the bucket
}

// lazyTable is a segment that is opened when it is first needed.
type lazyTable struct {
	meta *pb.Segment

	mu     sync.Mutex // held while it is opened
	open   *table
	filter filter
}

func (r *Repository) newIndex(s tenantry.Series, segments []*pb.Segment) *index {
	ix := &index{repo: r, series: s, blocks: newFrameCache(cachedBlocks), held: new(atomic.Int64), room: maxStored, whole: smallSegment}
	ix.setRuns(segments)
	return ix
}

// setRuns replaces what the index consists of; tables that stay stay open.
func (ix *index) setRuns(segments []*pb.Segment) {
	known := map[string]*lazyTable{}
	for _, run := range ix.runs {
		for _, t := range run {
			known[string(t.meta.Id)] = t
		}
	}
	ix.runs = nil
	held := int64(0)
	for i, m := range segments {
		t, ok := known[string(m.Id)]
		if !ok {
			t = &lazyTable{meta: m, filter: filter{m.Prints, m.Filter}}
		}
		held += t.held()
		if i == 0 || m.Run != segments[i-1].Run {
			ix.runs = append(ix.runs, nil)
		}
		last := len(ix.runs) - 1
		ix.runs[last] = append(ix.runs[last], t)
	}
	ix.held.Store(held)
}

// held is how many bytes of the segment were read whole.
func (t *lazyTable) held() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil || t.meta.Size <= smallSegment {
		return 0
	}
	return t.open.held()
}

// atHand reports whether all of the segment is in memory.
func (t *lazyTable) atHand() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open != nil && t.open.held() > 0
}

// segments returns what setRuns was told.
func (ix *index) segments() []*pb.Segment {
	var out []*pb.Segment
	for _, run := range ix.runs {
		for _, t := range run {
			out = append(out, t.meta)
		}
	}
	return out
}

// named returns the segments as a manifest names them: with their filters, as far as there is room, those of the newest
// first. One that is to be followed soon has the small ones alone.
func (ix *index) named(soon bool) []*pb.Segment {
	var out []*pb.Segment
	room := maxNamed
	for _, run := range ix.runs {
		for _, t := range run {
			m := t.named(room, soon)
			room -= len(m.Filter) + len(m.Prints)
			out = append(out, m)
		}
	}
	return out
}

func (t *lazyTable) named(room int, soon bool) *pb.Segment {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := &pb.Segment{
		Id: t.meta.Id, Run: t.meta.Run, Size: t.meta.Size, Tail: t.meta.Tail, Records: t.meta.Records,
		First: t.meta.First, Last: t.meta.Last, Filters: t.meta.Filters,
	}
	if size := t.filter.size(); size <= room && (!soon || size <= checkpointFilter) {
		m.Prints, m.Filter = t.filter.prints, t.filter.bloom
	}
	return m
}

// sizes are the records of the runs, newest first.
func (ix *index) sizes() []int64 {
	sizes := make([]int64, len(ix.runs))
	for i, run := range ix.runs {
		for _, t := range run {
			sizes[i] += t.meta.Records
		}
	}
	return sizes
}

// view returns the index as it is now, whatever setRuns does later.
func (ix *index) view() *index {
	return &index{repo: ix.repo, series: ix.series, runs: ix.runs, blocks: ix.blocks, held: ix.held, room: ix.room, whole: ix.whole, cache: ix.cache}
}

func (ix *index) table(ctx context.Context, t *lazyTable) (*table, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		how, taken := ix.reading(t.meta)
		opened, err := ix.repo.openTable(ctx, ix.series, t.meta, how, ix.cache)
		if err != nil {
			ix.held.Add(-taken)
			return nil, err
		}
		if taken > 0 {
			ix.held.Add(opened.size() - taken)
		}
		t.open, t.filter = opened, opened.filter
	}
	return t.open, nil
}

// reading says how much of a segment to read when it is opened, and how much of the room it has taken for that.
func (ix *index) reading(m *pb.Segment) (how reading, taken int64) {
	whole := ix.whole
	if m.First[0] != idSpace { // none that look-ups go to: the room is for those
		whole = min(whole, mediumSegment)
	}
	switch {
	case m.Size <= smallSegment:
		return readWhole, 0
	case m.Size > whole:
		return readTail, 0
	}
	if ix.held.Add(m.Size) > ix.room {
		ix.held.Add(-m.Size)
		return readTail, 0
	}
	return readWhole, m.Size
}

// learnFilters reads the filters of all segments of a run at once, unless the one that is asked about is known or
// they stand nowhere together.
func (ix *index) learnFilters(ctx context.Context, run []*lazyTable, at int) error {
	last := run[len(run)-1]
	if last.meta.Filters == 0 || at == len(run)-1 || run[at].knowsFilter() {
		return nil
	}
	opened, err := ix.openFilters(ctx, run)
	if err != nil {
		return err
	}
	for i, t := range run[:len(run)-1] {
		t.learn(opened.before[i])
	}
	opened.before = nil
	last.mu.Lock()
	defer last.mu.Unlock()
	if last.open == nil {
		last.open, last.filter = opened, opened.filter
	}
	return nil
}

// openFilters opens the last segment of a run with the filters of those before it.
func (ix *index) openFilters(ctx context.Context, run []*lazyTable) (*table, error) {
	opened, err := ix.repo.openTable(ctx, ix.series, run[len(run)-1].meta, readFilters, ix.cache)
	if err == nil && len(opened.before) != len(run)-1 {
		err = objectError(ix.repo.object(opened.name), tenantry.Errorf(tenantry.Corrupt, "it has filters for %d segments, not %d", len(opened.before), len(run)-1))
	}
	return opened, err
}

// checkFilters reads the filters that no scan reads.
func (ix *index) checkFilters(ctx context.Context) error {
	for _, run := range ix.runs {
		if run[len(run)-1].meta.Filters == 0 {
			continue
		}
		if _, err := ix.openFilters(ctx, run); err != nil {
			return err
		}
	}
	return nil
}

func (t *lazyTable) knowsFilter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.filter.known() || t.open != nil
}

func (t *lazyTable) learn(f filter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.filter = f
}

// mayHave reports whether a segment may have a key, from what is known without reading.
func (t *lazyTable) mayHave(key []byte, hash idHash) bool {
	if bytes.Compare(key, t.meta.First) < 0 || bytes.Compare(key, t.meta.Last) > 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return key[0] != idSpace || t.filter.mayHave(hash)
}

// get returns the value of a key.
func (ix *index) get(ctx context.Context, key []byte) ([]byte, bool, error) {
	var hash idHash
	if key[0] == idSpace && len(ix.runs) > 0 {
		hash = ix.repo.keys.idHash(key[1:])
	}
	for _, run := range ix.runs {
		at := segmentFor(run, key)
		if at < 0 || !run[at].mayHave(key, hash) {
			continue
		}
		if key[0] == idSpace {
			if err := ix.learnFilters(ctx, run, at); err != nil {
				return nil, false, err
			}
			if !run[at].mayHave(key, hash) {
				continue
			}
		}
		t, err := ix.table(ctx, run[at])
		if err != nil {
			return nil, false, err
		}
		if !run[at].mayHave(key, hash) { // its filter is known now
			continue
		}
		r, ok, err := ix.find(ctx, t, key)
		if err != nil {
			return nil, false, err
		}
		if ok {
			return r.value, !r.dead, nil
		}
	}
	return nil, false, nil
}

// segmentFor returns the number of the last segment that begins at key or before; -1 if none does.
func segmentFor(run []*lazyTable, key []byte) int {
	at, equal := slices.BinarySearchFunc(run, key, func(t *lazyTable, key []byte) int { return bytes.Compare(t.meta.First, key) })
	if equal {
		return at
	}
	return at - 1
}

// find looks a key up in the one block that may have it.
func (ix *index) find(ctx context.Context, t *table, key []byte) (record, bool, error) {
	at := t.find(key)
	if at < 0 {
		return record{}, false, nil
	}
	data, err := ix.blocks.get(ctx, frameKey{t.id, uint32(at)}, func() ([]byte, error) {
		stored, err := ix.readBlock(ctx, t, at)
		if err != nil {
			return nil, err
		}
		return ix.repo.openBlock(t, at, stored)
	})
	if err != nil {
		return record{}, false, err
	}
	reader := blockReader{rest: data}
	for {
		r, ok, err := reader.next()
		if err != nil {
			return record{}, false, objectError(ix.repo.object(t.name), err)
		}
		if !ok {
			return record{}, false, nil
		}
		switch bytes.Compare(r.key, key) {
		case 0:
			return r, true, nil
		case 1:
			return record{}, false, nil
		}
	}
}

// readBlock reads one block as it is stored; after some of a segment, all of it.
func (ix *index) readBlock(ctx context.Context, t *table, at int) ([]byte, error) {
	if t.single.Add(1) > singleReads && t.stored.Load() == nil {
		if err := ix.readWhole(ctx, t); err != nil {
			return nil, err
		}
	}
	return ix.repo.readBlocks(ctx, t, at, at+1, false)
}

// readWhole reads all blocks of a segment, if there is room for them.
func (ix *index) readWhole(ctx context.Context, t *table) error {
	t.fill.Lock()
	defer t.fill.Unlock()
	if t.stored.Load() != nil {
		return nil
	}
	if ix.held.Add(t.size()) > ix.room {
		ix.held.Add(-t.size())
		return nil
	}
	stored, err := ix.repo.readAllBlocks(ctx, t)
	if err != nil {
		ix.held.Add(-t.size())
		return err
	}
	t.stored.Store(&stored)
	return nil
}

// entry decodes the value of a key.
func (ix *index) entry(ctx context.Context, key []byte) (Entry, bool, error) {
	value, ok, err := ix.get(ctx, key)
	if err != nil || !ok {
		return Entry{}, false, err
	}
	e, err := decodeEntry(value)
	return e, err == nil, err
}

// pack finds where a pack ends.
func (ix *index) pack(ctx context.Context, id packID) (*pb.Pack, bool, error) {
	value, ok, err := ix.get(ctx, packKey(id))
	if err != nil || !ok {
		return nil, false, err
	}
	var p pb.Pack
	if err := proto.Unmarshal(value, &p); err != nil {
		return nil, false, tenantry.E(tenantry.Corrupt, "decode the index's record of pack "+id.String(), err)
	}
	return &p, true, nil
}

// cursor walks through sorted records. next returns a record that stays valid until the call after.
type cursor interface {
	next(ctx context.Context) (record, bool, error)
}

// sliceCursor walks through records in memory.
type sliceCursor []record

func (c *sliceCursor) next(context.Context) (record, bool, error) {
	if len(*c) == 0 {
		return record{}, false, nil
	}
	r := (*c)[0]
	*c = (*c)[1:]
	return r, true, nil
}

// runCursor walks through one run from a key on, reading ahead more and more.
type runCursor struct {
	ix     *index
	tables []*lazyTable // still to come, the current one first
	from   []byte       // skip what is before; nil once that is done
	block  int          // to be read next
	step   int          // how many blocks to read at once
	most   int64        // up to how many bytes
	ready  *table
	stored []byte // blocks from ready, to be opened one by one
	opened int    // block to be opened next
	reader blockReader
}

func (ix *index) runCursor(run []*lazyTable, from []byte) *runCursor {
	return &runCursor{ix: ix, tables: run[max(segmentFor(run, from), 0):], from: from, block: -1, step: 1, most: scanBytes}
}

func (c *runCursor) next(ctx context.Context) (record, bool, error) {
	for {
		r, ok, err := c.reader.next()
		if err != nil {
			return record{}, false, objectError(c.ix.repo.object(c.ready.name), err)
		}
		switch {
		case ok && c.from != nil && bytes.Compare(r.key, c.from) < 0:
			continue
		case ok:
			c.from = nil
			return r, true, nil
		}
		if more, err := c.advance(ctx); err != nil || !more {
			return record{}, false, err
		}
	}
}

// advance goes to the next block.
func (c *runCursor) advance(ctx context.Context) (bool, error) {
	for len(c.stored) == 0 {
		if len(c.tables) == 0 {
			return false, nil
		}
		t, err := c.ix.table(ctx, c.tables[0])
		if err != nil {
			return false, err
		}
		if c.block < 0 {
			c.block = 0
			if c.from != nil {
				c.block = max(t.find(c.from), 0)
			}
		}
		if c.block == len(t.blocks) {
			c.tables, c.block = c.tables[1:], -1
			continue
		}
		to := c.block + 1
		for to < len(t.blocks) && to-c.block < c.step && t.offsets[to]-t.offsets[c.block] < c.most {
			to++
		}
		if c.stored, err = c.ix.repo.readBlocks(ctx, t, c.block, to, c.most > scanBytes); err != nil {
			return false, err
		}
		c.ready, c.opened, c.block, c.step = t, c.block, to, min(2*c.step, maxStep)
	}
	n := c.ready.blocks[c.opened].Stored
	plain, err := c.ix.repo.openBlock(c.ready, c.opened, c.stored[:n])
	if err != nil {
		return false, err
	}
	c.stored, c.opened = c.stored[n:], c.opened+1
	c.reader = blockReader{rest: plain, key: c.reader.key[:0]}
	return true, nil
}

// merged yields what cursors say together, in ascending order of keys: of several records of one
// key that of the first cursor. Dead ones are left out unless they are asked for. It ends at the
// first error, which it yields. A record is valid until the next one.
func merged(ctx context.Context, cursors []cursor, dead bool) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		heads := make([]record, len(cursors))
		live := make([]bool, len(cursors))
		advance := func(i int) (err error) {
			heads[i], live[i], err = cursors[i].next(ctx)
			return err
		}
		for i := range cursors {
			if err := advance(i); err != nil {
				yield(record{}, err)
				return
			}
		}
		var key []byte
		for {
			best := -1
			for i := range heads {
				if live[i] && (best < 0 || byKey(heads[i], heads[best]) < 0) {
					best = i
				}
			}
			if best < 0 {
				return
			}
			key = append(key[:0], heads[best].key...)
			if (dead || !heads[best].dead) && !yield(heads[best], nil) {
				return
			}
			for i := range heads {
				for live[i] && bytes.Equal(heads[i].key, key) {
					if err := advance(i); err != nil {
						yield(record{}, err)
						return
					}
				}
			}
		}
	}
}

// scan yields the records whose keys begin with prefix and come after the key after (nil: all),
// newer overlaid by the sorted records of top. See merged.
func (ix *index) scan(ctx context.Context, top []record, prefix, after []byte) iter.Seq2[record, error] {
	from := prefix
	if bytes.Compare(after, prefix) > 0 {
		from = after
	}
	at, _ := slices.BinarySearchFunc(top, record{key: from}, byKey)
	over := sliceCursor(top[at:])
	cursors := []cursor{&over}
	for _, run := range ix.runs {
		if bytes.Compare(run[len(run)-1].meta.Last, from) >= 0 {
			cursors = append(cursors, ix.runCursor(run, from))
		}
	}
	return func(yield func(record, error) bool) {
		for r, err := range merged(ctx, cursors, false) {
			if err == nil && !bytes.HasPrefix(r.key, prefix) {
				return
			}
			if err == nil && after != nil && bytes.Equal(r.key, after) {
				continue
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// entries is scan for the values of the two spaces of entries.
func (ix *index) entries(ctx context.Context, top []record, prefix, after []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for r, err := range ix.scan(ctx, top, prefix, after) {
			var e Entry
			if err == nil {
				if e, err = decodeEntry(r.value); err != nil {
					err = fmt.Errorf("index key %q: %w", r.key, err)
				}
			}
			if err != nil {
				yield(Entry{}, ix.repo.fail(ix.series, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}
