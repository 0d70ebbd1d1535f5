package repository

import (
	"cmp"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// Reindexed says what Reindex has done.
type Reindexed struct {
	Packs  int    // whose changes were applied again; 0: the index is sound, and nothing was done
	Items  int64  // in the state
	Damage string // what was wrong with the index
}

// Reindex makes the index of the series' newest state anew if it is damaged, from the changes in the
// footers of its packs and what stands in the manifest (docs/FORMAT.md, "Runs"), and commits it. The
// result has to count what the manifest counts, or it is refused: Corrupt, and nothing has changed.
// Earlier snapshots whose index has the same damage stay unreadable.
//
// It reads the index whole, and the footers of packs with changes, one after the other. Memory is a
// memtable and 150 bytes for each pack. The writer has to be fresh: nothing was put.
func (w *Writer) Reindex(ctx context.Context) (Reindexed, error) {
	w.life.Lock()
	defer w.life.Unlock()
	if err := w.writable(); err != nil {
		return Reindexed{}, err
	}
	if w.changed() {
		return Reindexed{}, tenantry.Errorf(tenantry.Invalid, "reindex series %s: something was put already", w.series)
	}
	damage := w.readIndex(ctx)
	if damage == nil || abort(ctx, damage) {
		return Reindexed{}, w.repo.fail(w.series, damage)
	}
	packs, err := w.committedPacks(ctx)
	if err != nil {
		return Reindexed{}, w.repo.fail(w.series, err)
	}
	out, err := w.replay(ctx, packs)
	if err != nil {
		return Reindexed{}, w.spoil(err)
	}
	out.Damage = damage.Error()
	return out, w.commitAtRest(ctx)
}

// readIndex reads every record of the index.
func (w *Writer) readIndex(ctx context.Context) error {
	for _, err := range w.index.view().scan(ctx, nil, nil, nil) {
		if err != nil {
			return err
		}
	}
	return nil
}

// replay makes new runs of what the packs say has changed, in the order in which it did.
func (w *Writer) replay(ctx context.Context, packs []*pb.Pack) (Reindexed, error) {
	inline, counts := w.mem, w.counts
	w.index, w.mem, w.counts = w.repo.newIndex(w.series, nil), newMemtable(), tenantry.Counts{}
	w.dirty = true
	var out Reindexed
	for _, p := range packs {
		w.mem.packs = append(w.mem.packs, p)
		if p.Changes == 0 {
			continue
		}
		footer, err := w.footerOf(ctx, p)
		if err != nil {
			return out, err
		}
		if err := w.apply(ctx, footer.Delta); err != nil {
			return out, err
		}
		out.Packs++
	}
	// What is inline stands in no footer: it stays apart, to be written there when it becomes a run.
	if err := w.spill(ctx, false); err != nil {
		return out, err
	}
	delta, err := inline.delta()
	if err != nil {
		return out, err
	}
	if err := w.apply(ctx, delta); err != nil {
		return out, err
	}
	w.mem.packs = inline.packs
	counts.Stored, w.counts.Stored, w.counts.Total = 0, 0, counts.Total
	if w.counts != counts {
		return out, tenantry.Errorf(tenantry.Corrupt, "the index cannot be made again: the packs tell of %d items with %d bytes, the manifest of %d with %d",
			w.counts.Items, w.counts.Bytes, counts.Items, counts.Bytes)
	}
	w.counts.Stored = w.head.Counts.GetStored()
	out.Items = w.counts.Items
	return out, nil
}

// apply brings changes into the memtable, which becomes a run when it is full: without a pack, since
// the changes stand in one already.
func (w *Writer) apply(ctx context.Context, delta *pb.IndexDelta) error {
	for _, one := range delta.GetChanges() {
		id, c, counts := one.Removed, change{}, tenantry.Counts{}
		if one.Entry != nil {
			e, err := toEntry(one.Entry)
			if err != nil {
				return err
			}
			if c.entry, err = marshal(one.Entry); err != nil {
				return err
			}
			id, c.place, counts = e.ID, placeKey(e.Parent, e.Name, e.ID), e.counts()
		}
		if id == "" {
			return tenantry.Errorf(tenantry.Corrupt, "a change of the index has no ID")
		}
		full, err := w.put(ctx, id, c, counts)
		if err != nil {
			return err
		}
		if full {
			if err := w.spill(ctx, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// footerOf reads the footer of a pack, with the changes of the index in it.
func (w *Writer) footerOf(ctx context.Context, p *pb.Pack) (*pb.Footer, error) {
	name := packName(w.series, packID(p.Id))
	_, plain, err := w.repo.readEnd(ctx, name, kindPack, p.Size, p.Footer)
	if err != nil {
		return nil, objectError(w.repo.object(name), err)
	}
	var footer pb.Footer
	if err := proto.Unmarshal(plain, &footer); err != nil {
		return nil, objectError(w.repo.object(name), tenantry.E(tenantry.Corrupt, "decode its footer", err))
	}
	return &footer, nil
}

// committedPacks returns the packs of the series' newest state in the order of their numbers. Manifests
// and what can be read of runs say which were committed. What they do not say is told by the packs
// themselves, except where an owner that died has left one under a number that another took: then
// nobody knows, and it is Corrupt.
func (w *Writer) committedPacks(ctx context.Context) ([]*pb.Pack, error) {
	known, err := w.namedPacks(ctx)
	if err != nil {
		return nil, err
	}
	taken := map[uint64]bool{}
	for _, p := range known {
		taken[p.Number] = true
	}
	strays := map[uint64][]*pb.Pack{}
	for info, err := range w.repo.store.List(ctx, w.repo.object(seriesName(w.series)+"p/")) {
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(info.Key, w.repo.object(""))
		if known[name] != nil {
			continue
		}
		p, err := w.strayPack(ctx, name, info.Size)
		if abort(ctx, err) {
			return nil, objectError(info.Key, err)
		}
		// One that cannot be read would be missed by the counts; one whose number is taken, or too high,
		// is of an owner that never committed it.
		if err == nil && !taken[p.Number] && p.Number <= w.head.PackNumber {
			strays[p.Number] = append(strays[p.Number], p)
			known[name] = p
		}
	}
	for number, same := range strays {
		if len(same) > 1 && slices.ContainsFunc(same, func(p *pb.Pack) bool { return p.Changes > 0 }) {
			return nil, tenantry.Errorf(tenantry.Corrupt, "the index cannot be made again: packs %s and %s have the number %d, and nothing tells which was committed",
				packID(same[0].Id), packID(same[1].Id), number)
		}
	}
	for _, p := range w.mem.packs { // these stay inline
		delete(known, packName(w.series, packID(p.Id)))
	}
	return slices.SortedFunc(maps.Values(known), func(a, b *pb.Pack) int { return cmp.Compare(a.Number, b.Number) }), nil
}

// namedPacks collects, by name, the packs that the manifests of the series name, themselves and in the
// segments that can be read.
func (w *Writer) namedPacks(ctx context.Context) (map[string]*pb.Pack, error) {
	known := map[string]*pb.Pack{}
	add := func(p *pb.Pack) {
		if p.Number <= w.head.PackNumber {
			known[packName(w.series, packID(p.Id))] = p
		}
	}
	listed, err := w.repo.listManifests(ctx, w.series, false)
	if err != nil {
		return nil, err
	}
	seen := map[packID]bool{}
	for _, info := range listed {
		seq, err := manifestSeq(info.Key)
		if err != nil {
			return nil, err
		}
		m, err := w.repo.readManifest(ctx, w.series, seq)
		if err != nil {
			if abort(ctx, err) && !isNotFound(err) {
				return nil, err
			}
			continue
		}
		rd, err := w.repo.readerOf(w.series, m)
		if err != nil {
			return nil, err
		}
		for _, p := range rd.inline.packs {
			add(p)
		}
		err = rd.readablePacks(ctx, seen, add)
		rd.Close()
		if err != nil {
			return nil, err
		}
	}
	return known, nil
}

// readablePacks yields the packs in those segments that were not seen before and can be read.
func (rd *Reader) readablePacks(ctx context.Context, seen map[packID]bool, yield func(*pb.Pack)) error {
	for _, meta := range rd.head.Segments {
		one := &Reader{repo: rd.repo, series: rd.series, head: manifest{Manifest: &pb.Manifest{Segments: []*pb.Segment{meta}}}}
		err := one.scanNew(ctx, seen, []byte{packSpace}, func(value []byte) error {
			p, err := decodePack(value)
			if err == nil {
				yield(p)
			}
			return err
		})
		if abort(ctx, err) {
			return err
		}
	}
	return nil
}

// strayPack reads what a pack says of itself that nothing names.
func (w *Writer) strayPack(ctx context.Context, name string, size int64) (*pb.Pack, error) {
	id, err := parsePackID(name[strings.LastIndexByte(name, '/')+1:])
	if err != nil {
		return nil, err
	}
	if size < headerSize+frameOverhead+trailerSize {
		return nil, tenantry.Errorf(tenantry.Corrupt, "it is cut short at %d bytes", size)
	}
	trailer, err := w.repo.readRange(ctx, name, size-trailerSize, trailerSize)
	if err != nil {
		return nil, err
	}
	p := &pb.Pack{Id: id[:], Size: size, Footer: int64(binary.BigEndian.Uint32(trailer))}
	footer, err := w.footerOf(ctx, p)
	if err != nil {
		return nil, err
	}
	p.Number, p.Changes = footer.Number, int64(len(footer.Delta.GetChanges()))
	return p, nil
}
