package repository

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

const (
	// blockSize is how many plain bytes of records make a block, the least that is read: some
	// 150 entries.
	blockSize = 64 << 10
	// segmentSize is when a segment of a run is ended and the next begun.
	segmentSize = 8 << 20
	// maxBlock bounds a block that is read: one entry may have many parts.
	maxBlock = 64 << 20
	// maxNamed bounds the filters that stand in a manifest, so that an incremental of a mailbox of up to 1,500,000 items
	// need not open a segment to know that a mail is new. In a manifest that is neither sealed nor at rest, after which
	// others soon follow, one has at most checkpointFilter.
	maxNamed         = 4 << 20
	checkpointFilter = 72 << 10
	// maxFilters bounds the filters of a run that stand together in its last segment: where no manifest has them, one
	// GET tells that a mail is new.
	maxFilters = 8 << 20
)

func segmentName(s tenantry.Series, id packID) string { return seriesName(s) + "s/" + id.String() }

// runBuilder writes the segments of one run from records in ascending order of keys.
type runBuilder struct {
	keys   *keys
	series tenantry.Series
	number uint64
	emit   func(object []byte, name string) error // keeps object

	box      *box
	meta     *pb.Segment
	object   []byte
	block    []byte
	first    []byte // key of the block
	last     []byte
	blocks   []*pb.Block
	hashes   []idHash
	segments []*pb.Segment
	filters  pb.Filters // of segments
}

// add appends a record; keys ascend.
func (b *runBuilder) add(r record) error {
	if b.box == nil {
		if err := b.begin(r.key); err != nil {
			return err
		}
	}
	if len(b.block) == 0 {
		b.first = bytes.Clone(r.key)
		b.last = b.last[:0]
	}
	b.block = appendRecord(b.block, b.last, r)
	b.last = append(b.last[:0], r.key...)
	b.meta.Records++
	if r.key[0] == idSpace {
		b.hashes = append(b.hashes, b.keys.idHash(r.key[1:]))
	}
	if len(b.block) >= blockSize {
		b.flush()
	}
	if len(b.object) >= segmentSize {
		return b.cut(false)
	}
	return nil
}

func (b *runBuilder) begin(first []byte) error {
	var id packID
	_, _ = rand.Read(id[:])
	box, err := b.keys.newBox(segmentName(b.series, id), kindSegment)
	if err != nil {
		return err
	}
	b.box = box
	b.meta = &pb.Segment{Id: id[:], Run: b.number, First: bytes.Clone(first)}
	b.object, b.blocks, b.hashes = append([]byte(nil), box.header[:]...), nil, b.hashes[:0]
	return nil
}

func (b *runBuilder) flush() {
	if len(b.block) == 0 {
		return
	}
	before := len(b.object)
	b.object = b.box.seal(b.object, b.block, uint32(len(b.blocks)))
	b.blocks = append(b.blocks, &pb.Block{First: b.first, Stored: uint32(len(b.object) - before), Plain: uint32(len(b.block))})
	b.block = b.block[:0]
}

// cut ends a segment; the last one of a run has the filters of those before it.
func (b *runBuilder) cut(last bool) error {
	b.flush()
	b.meta.Prints = newPrints(b.hashes)
	if last {
		if err := b.addFilters(); err != nil {
			return err
		}
	}
	tail, err := marshal(&pb.Tail{Blocks: b.blocks, Prints: b.meta.Prints, Filters: b.meta.Filters})
	if err != nil {
		return err
	}
	b.object, b.meta.Tail = b.box.end(b.object, tail)
	b.meta.Size, b.meta.Last = int64(len(b.object)), bytes.Clone(b.last)
	name := b.box.name
	b.box = nil
	b.segments = append(b.segments, b.meta)
	b.filters.Filter, b.filters.Prints = append(b.filters.Filter, nil), append(b.filters.Prints, b.meta.Prints)
	return b.emit(b.object, name)
}

// addFilters writes the filters of the segments before this one, if there are any that some manifest leaves out.
func (b *runBuilder) addFilters() error {
	total, large := 0, false
	for _, f := range b.filters.Prints {
		total, large = total+len(f), large || len(f) > checkpointFilter
	}
	if !large || total > maxFilters {
		return nil
	}
	plain, err := marshal(&b.filters)
	if err != nil {
		return err
	}
	before := len(b.object)
	b.object = b.box.seal(b.object, plain, uint32(len(b.blocks)))
	b.meta.Filters = int64(len(b.object) - before)
	return nil
}

// finish ends the run and returns its segments.
func (b *runBuilder) finish() ([]*pb.Segment, error) {
	if b.box != nil {
		if err := b.cut(true); err != nil {
			return nil, err
		}
	}
	return b.segments, nil
}

// appendRecord appends a record: how many bytes its key shares with the one before, how many
// follow, those, the length of the value plus one (0: dead), the value.
func appendRecord(dst, last []byte, r record) []byte {
	shared := 0
	for shared < min(len(last), len(r.key)) && last[shared] == r.key[shared] {
		shared++
	}
	dst = binary.AppendUvarint(dst, uint64(shared))
	dst = binary.AppendUvarint(dst, uint64(len(r.key)-shared))
	dst = append(dst, r.key[shared:]...)
	if r.dead {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.value))+1)
	return append(dst, r.value...)
}

// blockReader reads the records of a block, one after another.
type blockReader struct {
	rest []byte
	key  []byte
}

// next returns the next record, valid until the call after; false at the end of the block.
func (b *blockReader) next() (record, bool, error) {
	if len(b.rest) == 0 {
		return record{}, false, nil
	}
	shared, ok1 := b.number()
	n, ok2 := b.number()
	if !ok1 || !ok2 || shared > uint64(len(b.key)) || n > uint64(len(b.rest)) {
		return record{}, false, errBlock()
	}
	b.key = append(b.key[:shared], b.rest[:n]...)
	b.rest = b.rest[n:]
	size, ok := b.number()
	if !ok || len(b.key) == 0 || size > uint64(len(b.rest))+1 {
		return record{}, false, errBlock()
	}
	if size == 0 {
		return record{key: b.key, dead: true}, true, nil
	}
	value := b.rest[: size-1 : size-1]
	b.rest = b.rest[size-1:]
	return record{key: b.key, value: value}, true, nil
}

func (b *blockReader) number() (uint64, bool) {
	v, n := binary.Uvarint(b.rest)
	if n <= 0 {
		return 0, false
	}
	b.rest = b.rest[n:]
	return v, true
}

func errBlock() error {
	return tenantry.Errorf(tenantry.Corrupt, "a block of the index is not well-formed")
}

// table is an open segment. Read-only.
type table struct {
	id      packID
	name    string
	total   int64  // bytes that the object has
	cache   *Cache // nil: everything is read from the bucket
	box     *box
	blocks  []*pb.Block
	offsets []int64 // of each block, and of the tail
	filter  filter
	before  []filter // those of the run's segments before it, if they were read

	single atomic.Int32           // blocks that were read one by one
	fill   sync.Mutex             // held while stored is set
	stored atomic.Pointer[[]byte] // all blocks as they are stored, once it was worth it
}

// reading is how much of a segment is read to open it.
type reading int

const (
	readTail    reading = iota // the least
	readFilters                // with the filters of the segments before it
	readWhole
)

// from returns where in a segment reading begins.
func (how reading) from(m *pb.Segment) int64 {
	switch how {
	case readWhole:
		return 0
	case readFilters:
		return m.Size - trailerSize - m.Tail - m.Filters
	default:
		return m.Size - trailerSize - m.Tail
	}
}

// openTable opens a segment: one GET, or none where the cache has it, if one is given.
func (r *Repository) openTable(ctx context.Context, s tenantry.Series, m *pb.Segment, how reading, c *Cache) (*table, error) {
	id, err := toPackID(m.Id)
	if err != nil {
		return nil, err
	}
	t := &table{id: id, name: segmentName(s, id), total: m.Size, cache: c}
	if err := r.openTail(ctx, t, m, how); err != nil {
		return nil, objectError(r.object(t.name), err)
	}
	return t, nil
}

func (r *Repository) openTail(ctx context.Context, t *table, m *pb.Segment, how reading) error {
	if m.Filters < 0 || m.Tail < 0 || m.Size-trailerSize-m.Tail-m.Filters < headerSize {
		return tenantry.Errorf(tenantry.Corrupt, "it cannot have %d bytes with so much at its end", m.Size)
	}
	from := how.from(m)
	if m.Size-trailerSize-m.Tail == headerSize { // as readEndBy has it
		from = 0
	}
	end := stretch{name: t.name, offset: from, n: m.Size - from, size: m.Size, cache: t.cache}
	end.prove = func(rest []byte) error { return r.openRest(t, m, how, from, rest) }
	if how == readWhole {
		end.sound = func() bool { return t.authentic(*t.stored.Load(), 0, len(t.blocks)) }
	}
	return r.proved(ctx, end)
}

// openRest opens the end of a segment, of which all from an offset on was read.
func (r *Repository) openRest(t *table, m *pb.Segment, how reading, from int64, rest []byte) error {
	read := func(offset, n int64) ([]byte, error) { return rest[offset-from : offset-from+n], nil } // readEndBy keeps within the size
	b, plain, err := r.readEndBy(t.name, kindSegment, m.Size, m.Tail, read)
	if err == nil && how == readWhole {
		err = b.begins(rest[:headerSize])
	}
	if err != nil {
		return fmt.Errorf("tail: %w", err)
	}
	if err := t.parse(b, plain, m); err != nil {
		return err
	}
	blocks := t.offsets[len(t.offsets)-1]
	if how == readWhole {
		stored := rest[headerSize:blocks]
		t.stored.Store(&stored)
	}
	if how != readTail && m.Filters > 0 {
		t.before, err = b.openFilters(rest[blocks-from:blocks-from+m.Filters], len(t.blocks))
	}
	return err
}

// authentic reports whether blocks that follow one another are what was stored.
func (t *table) authentic(stored []byte, from, to int) bool {
	for number := from; number < to; number++ {
		n := t.offsets[number+1] - t.offsets[number]
		if !t.box.authentic(stored[:n], uint32(number)) {
			return false
		}
		stored = stored[n:]
	}
	return true
}

// parse takes in what a tail says.
func (t *table) parse(b *box, plain []byte, m *pb.Segment) error {
	var tail pb.Tail
	if err := proto.Unmarshal(plain, &tail); err != nil {
		return tenantry.E(tenantry.Corrupt, "decode its tail", err)
	}
	t.offsets = []int64{headerSize}
	for _, block := range tail.Blocks {
		t.offsets = append(t.offsets, t.offsets[len(t.offsets)-1]+int64(block.Stored))
	}
	sorted := slices.IsSortedFunc(tail.Blocks, func(a, b *pb.Block) int { return bytes.Compare(a.First, b.First) })
	if t.offsets[len(t.offsets)-1]+tail.Filters != m.Size-trailerSize-m.Tail || tail.Filters != m.Filters || !sorted {
		return tenantry.Errorf(tenantry.Corrupt, "its blocks are not where its tail says")
	}
	t.box, t.blocks, t.filter = b, tail.Blocks, filter{tail.Prints, tail.Filter}
	return nil
}

// openFilters opens the frame behind the blocks of the last segment of a run.
func (b *box) openFilters(stored []byte, blocks int) ([]filter, error) {
	plain, err := b.open(stored, uint32(blocks), 2*maxFilters)
	if err != nil {
		return nil, fmt.Errorf("filters: %w", err)
	}
	var all pb.Filters
	if err := proto.Unmarshal(plain, &all); err != nil {
		return nil, tenantry.E(tenantry.Corrupt, "decode its filters", err)
	}
	out := make([]filter, max(len(all.Filter), len(all.Prints)))
	for i := range all.Filter {
		out[i].bloom = all.Filter[i]
	}
	for i := range all.Prints {
		out[i].prints = all.Prints[i]
	}
	return out, nil
}

// find returns the number of the last block that begins at key or before; -1 if none does.
func (t *table) find(key []byte) int {
	at, equal := slices.BinarySearchFunc(t.blocks, key, func(b *pb.Block, key []byte) int { return bytes.Compare(b.First, key) })
	if equal {
		return at
	}
	return at - 1
}

// readBlocks reads blocks that follow one another, as they are stored: one ranged GET, unless they are held. The first is
// read with the header before it, as readFramesInto does. once: who asks does so for all of the segment, and not again.
func (r *Repository) readBlocks(ctx context.Context, t *table, from, to int, once bool) ([]byte, error) {
	if all := t.stored.Load(); all != nil {
		return (*all)[t.offsets[from]-headerSize : t.offsets[to]-headerSize], nil
	}
	begin := t.offsets[from]
	if from == 0 {
		begin = 0
	}
	return r.readPart(ctx, t, stretch{offset: begin, n: t.offsets[to] - begin, once: once}, from, to)
}

// readAllBlocks reads all blocks, as they are stored; for a cache it reads the whole segment, so that it has that.
func (r *Repository) readAllBlocks(ctx context.Context, t *table) ([]byte, error) {
	if t.cache == nil {
		return r.readBlocks(ctx, t, 0, len(t.blocks), false)
	}
	return r.readPart(ctx, t, stretch{n: t.total}, 0, len(t.blocks))
}

// readPart reads a stretch of a segment that has some of its blocks, and returns those.
func (r *Repository) readPart(ctx context.Context, t *table, part stretch, from, to int) (stored []byte, err error) {
	part.name, part.size, part.cache = t.name, t.total, t.cache
	part.prove = func(data []byte) error {
		stored = data[t.offsets[from]-part.offset : t.offsets[to]-part.offset]
		if part.offset > 0 {
			return nil
		}
		return t.box.begins(data[:headerSize])
	}
	part.sound = func() bool { return t.authentic(stored, from, to) }
	if err := r.proved(ctx, part); err != nil {
		return nil, objectError(r.object(t.name), err)
	}
	return stored, nil
}

// size is how many bytes all blocks take, stored.
func (t *table) size() int64 { return t.offsets[len(t.offsets)-1] - headerSize }

// held is how many of them are in memory.
func (t *table) held() int64 {
	if t.stored.Load() == nil {
		return 0
	}
	return t.size()
}

func (r *Repository) openBlock(t *table, number int, stored []byte) ([]byte, error) {
	size := int(t.blocks[number].Plain)
	plain, err := t.box.open(stored, uint32(number), min(size, maxBlock))
	if err == nil && len(plain) != size {
		err = tenantry.Errorf(tenantry.Corrupt, "it holds %d bytes, expected %d", len(plain), size)
	}
	if err != nil {
		return nil, objectError(r.object(t.name), fmt.Errorf("block %d: %w", number, err))
	}
	return plain, nil
}
