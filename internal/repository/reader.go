package repository

import (
	"context"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// maxPackReaders is how many packs a Reader remembers the frames of.
const maxPackReaders = 4096

// Reader reads one sealed snapshot. Safe for concurrent use.
//
// Memory: of the index what is said at type index, whatever the snapshot's size; up to 24 frames
// of 1 MiB that were read last, so that reading neighbours costs one GET per frame; and where the
// frames of 4,096 packs are.
type Reader struct {
	repo   *Repository
	series tenantry.Series
	head   manifest
	frames *frameCache
	index  *index
	inline *memtable // read-only

	mu    sync.Mutex // guards what follows
	packs map[packID]*packReader
}

// OpenSnapshot opens a sealed snapshot for reading: one GET. NotFound if there is none of
// that number, or only a checkpoint. Its index is read through the cache, if there is one.
func (r *Repository) OpenSnapshot(ctx context.Context, s tenantry.Series, seq int64) (*Reader, error) {
	rd, err := r.OpenStored(ctx, s, seq)
	if err == nil {
		rd.index.cache = r.cache
	}
	return rd, err
}

// OpenStored is OpenSnapshot for proofs: everything is read from the bucket, whatever a cache has of it.
func (r *Repository) OpenStored(ctx context.Context, s tenantry.Series, seq int64) (*Reader, error) {
	if err := r.check(s); err != nil {
		return nil, err
	}
	if seq < 1 {
		return nil, tenantry.Errorf(tenantry.NotFound, "series %s has no snapshot %d", s, seq)
	}
	m, err := r.readManifest(ctx, s, seq)
	switch {
	case isNotFound(err):
		return nil, tenantry.Errorf(tenantry.NotFound, "series %s has no snapshot %d", s, seq)
	case err != nil:
		return nil, r.fail(s, err)
	case !m.Sealed || len(m.Live) == 0 || m.Live[0].Seq != seq:
		return nil, tenantry.Errorf(tenantry.NotFound, "number %d of series %s is a checkpoint, not a snapshot", seq, s)
	}
	rd, err := r.readerOf(s, m)
	return rd, r.fail(s, err)
}

// readerOf reads the state that a manifest names, sealed or not.
func (r *Repository) readerOf(s tenantry.Series, m manifest) (*Reader, error) {
	inline, err := readMemtable(m.Inline)
	if err != nil {
		return nil, err
	}
	return &Reader{
		repo: r, series: s, head: m, frames: newFrameCache(cachedFrames), index: r.newIndex(s, m.Segments),
		inline: inline, packs: map[packID]*packReader{},
	}, nil
}

// Snapshot describes what is read.
func (rd *Reader) Snapshot() Snapshot { return toSnapshot(rd.head.Live[0]) }

// Lookup finds an entry by its ID, reading no more than a block or two of the index.
func (rd *Reader) Lookup(ctx context.Context, id string) (Entry, bool, error) {
	e, ok, err := rd.lookup(ctx, id)
	return e, ok, rd.repo.fail(rd.series, err)
}

func (rd *Reader) lookup(ctx context.Context, id string) (Entry, bool, error) {
	c, changed := rd.inline.changes[id]
	switch {
	case !changed:
		return rd.index.entry(ctx, idKey(id))
	case c.entry == nil:
		return Entry{}, false, nil
	}
	e, err := decodeEntry(c.entry)
	return e, err == nil, err
}

// Entries yields all entries in ascending order of their IDs, reading as it goes. It ends at
// the first error, which it yields.
func (rd *Reader) Entries(ctx context.Context) iter.Seq2[Entry, error] {
	return rd.list(ctx, []byte{idSpace}, nil)
}

// EntriesAfter is Entries from behind an ID on, which need not exist; "" is before all.
func (rd *Reader) EntriesAfter(ctx context.Context, id string) iter.Seq2[Entry, error] {
	return rd.list(ctx, []byte{idSpace}, idKey(id))
}

// Children yields the entries whose parent has the ID, in ascending order of name (its first 512
// bytes), then ID. It reads no others, and ends at the first error, which it yields.
func (rd *Reader) Children(ctx context.Context, parent string) iter.Seq2[Entry, error] {
	return rd.list(ctx, folderKey(parent), nil)
}

// ChildrenAfter is Children from behind a name and ID on, which need not exist: the next page.
func (rd *Reader) ChildrenAfter(ctx context.Context, parent, name, id string) iter.Seq2[Entry, error] {
	return rd.list(ctx, folderKey(parent), placeKey(parent, name, id))
}

func (rd *Reader) list(ctx context.Context, prefix, after []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		top, err := rd.inline.records(prefix)
		if err != nil {
			yield(Entry{}, rd.repo.fail(rd.series, err))
			return
		}
		rd.index.entries(ctx, top, prefix, after)(yield)
	}
}

// Payload reads an entry's raw bytes, checked. Corrupt names series, item and object.
func (rd *Reader) Payload(ctx context.Context, e Entry) ([]byte, error) {
	data, err := rd.readAll(ctx, e.Payload)
	if err != nil {
		return nil, rd.itemError(e, err)
	}
	return data, nil
}

// Open streams a part's plain bytes; the digest is checked at the end, before io.EOF: a
// reader that ends with io.EOF has delivered what was stored. Corrupt otherwise. Close the
// stream; ctx must live as long.
func (rd *Reader) Open(ctx context.Context, e Entry, p Part) (io.ReadCloser, error) {
	pieces, _, err := rd.pieces(ctx, p.Ref, 0)
	if err != nil {
		return nil, rd.itemError(e, err)
	}
	return &partReader{rd: rd, entry: e, part: p, pieces: pieces, digest: rd.repo.keys.borrowHasher()}, nil
}

// OpenFrom is Open from byte from on. Chunks before it are not read, and those behind are checked each by itself; the
// digest of the whole is checked only from 0 on. Invalid: the part has fewer bytes.
func (rd *Reader) OpenFrom(ctx context.Context, e Entry, p Part, from int64) (io.ReadCloser, error) {
	if from == 0 {
		return rd.Open(ctx, e, p)
	}
	if from < 0 || from > p.Size {
		return nil, rd.itemError(e, tenantry.Errorf(tenantry.Invalid, "part %q has %d bytes: it cannot be read from %d on", p.Name, p.Size, from))
	}
	pieces, skip, err := rd.pieces(ctx, p.Ref, from)
	if err != nil {
		return nil, rd.itemError(e, err)
	}
	return &partReader{rd: rd, entry: e, part: p, pieces: pieces, size: from - skip, skip: skip}, nil
}

// itemError says which item an error is about, keeping its kind.
func (rd *Reader) itemError(e Entry, err error) error {
	return tenantry.Errorf(tenantry.KindOf(err), "series %s: item %q (%s): %w", rd.series, e.ID, e.Name, err)
}

// Close releases memory. Calls under way end well; later ones read anew.
func (rd *Reader) Close() {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	rd.frames.clear()
	rd.index.blocks.clear()
	clear(rd.packs)
}

// packFor returns where the frames of a pack are: one ranged GET, unless it is known.
func (rd *Reader) packFor(ctx context.Context, id packID) (*packReader, error) {
	rd.mu.Lock()
	known := rd.packs[id]
	rd.mu.Unlock()
	if known != nil {
		return known, nil
	}
	p, ok := rd.inline.pack(id)
	if !ok {
		var err error
		if p, ok, err = rd.index.pack(ctx, id); err != nil {
			return nil, err
		}
	}
	if !ok {
		return nil, tenantry.Errorf(tenantry.Corrupt, "its pack %s is not named by snapshot %d", id, rd.head.Seq)
	}
	pr, err := rd.repo.openPack(ctx, rd.series, p)
	if err != nil {
		return nil, err
	}
	rd.mu.Lock()
	defer rd.mu.Unlock()
	if len(rd.packs) >= maxPackReaders {
		clear(rd.packs)
	}
	rd.packs[id] = pr
	return pr, nil
}

// small appends what a Ref without chunks points at to a slice.
func (rd *Reader) small(ctx context.Context, r Ref, out []byte) ([]byte, error) {
	if r.length == 0 {
		return out, nil
	}
	p, err := rd.packFor(ctx, r.pack)
	if err != nil {
		return nil, err
	}
	read := func() ([]byte, *[]byte, error) { return rd.repo.frame(ctx, p, r.frame) }
	err = rd.frames.use(ctx, frameKey{r.pack, r.frame}, read, func(plain []byte) error {
		if uint64(r.offset)+uint64(r.length) > uint64(len(plain)) {
			return tenantry.Errorf(tenantry.Corrupt, "object %s: frame %d has %d bytes, the item is said to end at %d",
				rd.repo.object(p.name), r.frame, len(plain), uint64(r.offset)+uint64(r.length))
		}
		out = append(out, plain[r.offset:r.offset+r.length]...)
		return nil
	})
	return out, err
}

// resolve follows lists of chunks down to the chunks of the content itself.
func (rd *Reader) resolve(ctx context.Context, r Ref) (Ref, error) {
	for r.depth > 0 {
		list, err := rd.readAll(ctx, Ref{pack: r.pack, frame: r.frame, offset: r.offset, length: r.length, chunks: r.chunks})
		if err != nil {
			return Ref{}, fmt.Errorf("list of its chunks: %w", err)
		}
		chunks, err := decodeChunkList(list)
		if err != nil {
			return Ref{}, err
		}
		r = Ref{chunks: chunks, depth: r.depth - 1}
	}
	return r, nil
}

// readAll reads everything that a Ref points at into memory.
func (rd *Reader) readAll(ctx context.Context, r Ref) ([]byte, error) {
	r, err := rd.resolve(ctx, r)
	if err != nil {
		return nil, err
	}
	if len(r.chunks) == 0 {
		return rd.small(ctx, r, nil)
	}
	pieces := readAhead(ctx, rd.repo, r.chunks)
	defer pieces.close()
	var out []byte
	for {
		piece, err := pieces.next()
		if err != nil {
			return nil, err
		}
		if len(piece) == 0 {
			return out, nil
		}
		out = append(out, piece...)
	}
}

// pieces opens what a Ref points at as a sequence of pieces, without the chunks that end before byte from; the first
// piece begins skip bytes before that.
func (rd *Reader) pieces(ctx context.Context, r Ref, from int64) (p *pieces, skip int64, err error) {
	if r, err = rd.resolve(ctx, r); err != nil {
		return nil, 0, err
	}
	if chunks := r.chunks; len(chunks) > 0 {
		for len(chunks) > 0 && from >= int64(chunks[0].size) {
			from -= int64(chunks[0].size)
			chunks = chunks[1:]
		}
		return readAhead(ctx, rd.repo, chunks), from, nil
	}
	buffer := borrow(int64(r.length))
	data, err := rd.small(ctx, r, (*buffer)[:0])
	if err != nil {
		return nil, 0, err
	}
	return &pieces{ready: piece{data: data, buffer: buffer}}, from, nil
}
