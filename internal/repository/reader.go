package repository

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Reader reads one sealed snapshot. Safe for concurrent use.
//
// Memory: the index once it is needed (see Writer), and up to 24 frames of 1 MiB that
// were read last, so that reading neighbours costs one GET per frame.
type Reader struct {
	repo   *Repository
	series tenantry.Series
	head   manifest
	frames *frameCache

	mu       sync.Mutex // guards what follows; held while the index is loaded
	index    *index
	packs    map[packID]*packReader
	order    []loc           // by ID
	children map[idKey][]loc // by parent; each by name, then ID, once asked for
	sorted   map[idKey]bool
}

// OpenSnapshot opens a sealed snapshot for reading: one GET. NotFound if there is none of
// that number, or only a checkpoint.
func (r *Repository) OpenSnapshot(ctx context.Context, s tenantry.Series, seq int64) (*Reader, error) {
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
	return &Reader{repo: r, series: s, head: m, frames: newFrameCache()}, nil
}

// Snapshot describes what is read.
func (rd *Reader) Snapshot() Snapshot { return toSnapshot(rd.head.Live[0]) }

// load reads the index if that has not been done. The caller holds mu.
func (rd *Reader) load(ctx context.Context) error {
	if rd.index != nil {
		return nil
	}
	readers := make([]*packReader, len(rd.head.Packs))
	deltas := make([][]byte, len(rd.head.Packs))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(footerReads)
	for i, p := range rd.head.Packs {
		group.Go(func() (err error) {
			readers[i], deltas[i], err = rd.repo.openPack(inner, rd.series, p)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return rd.repo.fail(rd.series, err)
	}
	ix, packs := newIndex(), make(map[packID]*packReader, len(readers))
	for i, p := range rd.head.Packs {
		if err := ix.fold(deltas[i]); err != nil {
			return rd.repo.fail(rd.series, objectError(rd.repo.object(readers[i].name), err))
		}
		packs[packID(p.Id)] = readers[i] // openPack has checked the ID
	}
	if err := ix.adopt(ix.newDelta(), rd.head.Inline); err != nil {
		return rd.repo.fail(rd.series, err)
	}
	rd.index, rd.packs = ix, packs
	return nil
}

// Lookup finds an entry by its ID.
func (rd *Reader) Lookup(ctx context.Context, id string) (Entry, bool, error) {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	if err := rd.load(ctx); err != nil {
		return Entry{}, false, err
	}
	e, ok, err := rd.index.get(id)
	return e, ok, rd.repo.fail(rd.series, err)
}

// Entries yields all entries in ascending order of their IDs. It ends at the first
// error, which it yields.
func (rd *Reader) Entries(ctx context.Context) iter.Seq2[Entry, error] {
	return rd.yield(ctx, func() ([]loc, error) {
		if rd.order == nil {
			rd.order = rd.index.sorted()
		}
		return rd.order, nil
	})
}

// Children yields the entries whose parent has the ID, in ascending order of name, then
// ID. It ends at the first error, which it yields.
func (rd *Reader) Children(ctx context.Context, parent string) iter.Seq2[Entry, error] {
	return rd.yield(ctx, func() ([]loc, error) {
		if err := rd.loadChildren(); err != nil {
			return nil, err
		}
		key := rd.index.key(parent)
		if rd.sorted[key] {
			return rd.children[key], nil
		}
		locs, err := rd.byName(rd.children[key])
		if err == nil {
			rd.children[key], rd.sorted[key] = locs, true
		}
		return locs, err
	})
}

// yield yields the entries at the places that find returns; find runs with mu held and
// the index loaded.
func (rd *Reader) yield(ctx context.Context, find func() ([]loc, error)) iter.Seq2[Entry, error] {
	locs := func() (*index, []loc, error) {
		rd.mu.Lock()
		defer rd.mu.Unlock()
		if err := rd.load(ctx); err != nil {
			return nil, nil, err
		}
		found, err := find()
		return rd.index, found, rd.repo.fail(rd.series, err)
	}
	return func(yield func(Entry, error) bool) {
		ix, found, err := locs()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for _, l := range found {
			e, err := ix.decode(l) // without the lock: a reader's index does not change
			if err != nil {
				yield(Entry{}, rd.repo.fail(rd.series, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (rd *Reader) loadChildren() error {
	if rd.children != nil {
		return nil
	}
	children := map[idKey][]loc{}
	for _, l := range rd.index.at {
		e, err := rd.index.decode(l)
		if err != nil {
			return err
		}
		key := rd.index.key(e.Parent)
		children[key] = append(children[key], l)
	}
	rd.children, rd.sorted = children, map[idKey]bool{}
	return nil
}

func (rd *Reader) byName(locs []loc) ([]loc, error) {
	type named struct {
		name, id string
		loc      loc
	}
	all := make([]named, len(locs))
	for i, l := range locs {
		e, err := rd.index.decode(l)
		if err != nil {
			return nil, err
		}
		all[i] = named{e.Name, e.ID, l}
	}
	slices.SortFunc(all, func(a, b named) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	out := make([]loc, len(all))
	for i := range all {
		out[i] = all[i].loc
	}
	return out, nil
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
	pieces, err := rd.pieces(ctx, p.Ref)
	if err != nil {
		return nil, rd.itemError(e, err)
	}
	return &partReader{rd: rd, entry: e, part: p, pieces: pieces, digest: rd.repo.keys.hasher()}, nil
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
	rd.index, rd.packs, rd.children, rd.sorted, rd.order = nil, nil, nil, nil, nil
}

// packFor returns where the frames of a pack are.
func (rd *Reader) packFor(ctx context.Context, id packID) (*packReader, error) {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	if err := rd.load(ctx); err != nil {
		return nil, err
	}
	p, ok := rd.packs[id]
	if !ok {
		return nil, tenantry.Errorf(tenantry.Corrupt, "its pack %s is not named by snapshot %d", id, rd.head.Seq)
	}
	return p, nil
}

// small reads what a Ref without chunks points at.
func (rd *Reader) small(ctx context.Context, r Ref) ([]byte, error) {
	if r.length == 0 {
		return nil, nil
	}
	p, err := rd.packFor(ctx, r.pack)
	if err != nil {
		return nil, err
	}
	plain, err := rd.frames.get(ctx, frameKey{r.pack, r.frame}, func() ([]byte, error) {
		return rd.repo.frame(ctx, p, r.frame)
	})
	if err != nil {
		return nil, err
	}
	if uint64(r.offset)+uint64(r.length) > uint64(len(plain)) {
		return nil, tenantry.Errorf(tenantry.Corrupt, "object %s: frame %d has %d bytes, the item is said to end at %d",
			rd.repo.object(p.name), r.frame, len(plain), uint64(r.offset)+uint64(r.length))
	}
	return slices.Clone(plain[r.offset : r.offset+r.length]), nil
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
	pieces, err := rd.pieces(ctx, r)
	if err != nil {
		return nil, err
	}
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

// pieces opens what a Ref points at as a sequence of pieces.
func (rd *Reader) pieces(ctx context.Context, r Ref) (*pieces, error) {
	r, err := rd.resolve(ctx, r)
	if err != nil {
		return nil, err
	}
	if len(r.chunks) > 0 {
		return readAhead(ctx, rd.repo, r.chunks), nil
	}
	data, err := rd.small(ctx, r)
	if err != nil {
		return nil, err
	}
	return &pieces{ready: data}, nil
}
