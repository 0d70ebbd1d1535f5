package repository

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// Reindexed says what Reindex has done.
type Reindexed struct {
	Packs     int    // whose changes were applied again; 0: the indexes are sound, and nothing was done
	Items     int64  // in the newest state, if its index was made again
	Snapshots int    // older ones whose index was made again
	Damage    string // what was wrong, the first of it
	// Refused says why snapshots stay unreadable, each in a line.
	Refused []string
}

// Reindex makes the damaged indexes of a series anew, of its newest state and of every snapshot that is kept, from the
// changes in the footers of its packs and what stands in the manifests (docs/FORMAT.md, "Runs"). What comes of it has to
// count what the manifest counts, or it is refused: of a snapshot that is noted, of the newest state it is Corrupt, and
// nothing has changed there. The newest state is committed; the manifest of a snapshot is replaced by one that differs in
// the runs it names.
//
// It reads all indexes, each segment once, and the footers of packs with changes, one after the other and
// once for all states. Memory is a memtable and 150 bytes for each pack. The writer has to be fresh: nothing was put.
func (w *Writer) Reindex(ctx context.Context) (Reindexed, error) {
	w.life.Lock()
	defer w.life.Unlock()
	if err := w.writable(); err != nil {
		return Reindexed{}, err
	}
	if w.changed() {
		return Reindexed{}, tenantry.Errorf(tenantry.Invalid, "reindex series %s: something was put already", w.series)
	}
	r := &reindexer{w: w, looked: map[packID]error{}, applied: map[packID]bool{}}
	err := r.run(ctx)
	return r.out, w.repo.fail(w.series, err)
}

// reindexer goes through the history of a series once, from its first pack on, and stops at each state that is damaged.
type reindexer struct {
	w       *Writer
	looked  map[packID]error // what is wrong with segments, nil: nothing
	packs   packList
	past    *Writer // has applied the changes of some packs, and writes runs
	applied map[packID]bool
	out     Reindexed
}

func (r *reindexer) run(ctx context.Context) error {
	damaged, err := r.damagedSnapshots(ctx)
	if err != nil {
		return err
	}
	newest, err := r.damageOf(ctx, r.w.head)
	if err != nil {
		return err
	}
	if newest == nil && len(damaged) == 0 {
		return nil
	}
	if r.packs, err = r.w.committedPacks(ctx); err != nil {
		return err
	}
	if r.past, err = r.w.repo.newWriter(ctx, r.w.series, r.w.fence, manifest{Manifest: &pb.Manifest{RunNumber: r.w.runNumber}}); err != nil {
		return err
	}
	defer func() {
		r.w.stored.Add(r.past.Stored())
		r.past.Close()
	}()
	for _, m := range damaged {
		err := r.remake(ctx, m)
		if abort(ctx, err) {
			return err
		}
		if err != nil {
			r.out.Refused = append(r.out.Refused, tenantry.Errorf(tenantry.Corrupt, "snapshot %d: %w", m.Seq, err).Error())
		}
	}
	if newest == nil {
		return nil
	}
	return r.remakeNewest(ctx)
}

// damagedSnapshots returns the manifests of the snapshots that are kept and whose index is damaged, oldest first.
func (r *reindexer) damagedSnapshots(ctx context.Context) ([]manifest, error) {
	var damaged []manifest
	for _, live := range slices.Backward(r.w.head.Live) {
		m, err := r.w.repo.readManifest(ctx, r.w.series, live.Seq)
		if isNotFound(err) {
			err = missing(err)
		}
		if abort(ctx, err) {
			return nil, err
		}
		if err != nil {
			r.note(err)
			r.out.Refused = append(r.out.Refused, err.Error())
			continue
		}
		damage, err := r.damageOf(ctx, m)
		if err != nil {
			return nil, err
		}
		if damage != nil {
			damaged = append(damaged, m.lean())
		}
	}
	return damaged, nil
}

// damageOf reads the segments of a manifest that were not read before, and returns what is wrong with any.
func (r *reindexer) damageOf(ctx context.Context, m manifest) (damage, err error) {
	for _, meta := range m.Segments {
		id := packID(meta.Id)
		wrong, known := r.looked[id]
		if !known {
			wrong = r.w.repo.readSegment(ctx, r.w.series, meta)
			if abort(ctx, wrong) {
				return nil, wrong
			}
			r.looked[id] = wrong
		}
		if wrong != nil && damage == nil {
			damage = wrong
			r.note(wrong)
		}
	}
	return damage, nil
}

func (r *reindexer) note(damage error) {
	if r.out.Damage == "" {
		r.out.Damage = damage.Error()
	}
}

// readSegment reads everything in a segment.
func (r *Repository) readSegment(ctx context.Context, s tenantry.Series, meta *pb.Segment) error {
	if meta.Filters > 0 {
		if _, err := r.openTable(ctx, s, meta, readFilters, nil); err != nil {
			return err
		}
	}
	ix := r.newIndex(s, []*pb.Segment{meta})
	c := ix.runCursor(ix.runs[0], nil)
	for {
		if _, ok, err := c.next(ctx); err != nil || !ok {
			return err
		}
	}
}

// remake writes the manifest of a snapshot anew, with an index that can be read.
func (r *reindexer) remake(ctx context.Context, m manifest) error {
	inline, err := r.goTo(ctx, m)
	if err != nil {
		return err
	}
	if !r.w.committed { // from here on nobody else prunes or sweeps this series, or has to be told so by its next commit
		if err := r.w.commitAtRest(ctx); err != nil {
			return err
		}
	}
	again, ok := proto.Clone(m.Manifest).(*pb.Manifest)
	if !ok {
		return tenantry.Errorf(tenantry.Internal, "copy manifest %d", m.Seq)
	}
	again.Segments, again.Inline, again.RunNumber = r.past.index.segments(), inline, r.past.runNumber
	if again.Rebuilt = m.Rebuilt; len(again.Rebuilt) == 0 {
		again.Rebuilt = m.digest // what the manifest after it calls its parent
	}
	body, err := r.w.repo.sealManifest(r.w.series, again)
	if err != nil {
		return err
	}
	if err := r.w.repo.store.Put(ctx, r.w.repo.object(manifestName(r.w.series, m.Seq)), body); err != nil {
		return err
	}
	r.w.stored.Add(int64(len(body)))
	r.out.Snapshots++
	return nil
}

// remakeNewest commits the newest state with an index that can be read.
func (r *reindexer) remakeNewest(ctx context.Context) error {
	inline, err := r.goTo(ctx, r.w.head)
	if err != nil {
		return err
	}
	w := r.w
	mem, err := readMemtable(inline)
	if err != nil {
		return err
	}
	w.index, w.mem, w.runNumber = r.past.index, mem, r.past.runNumber
	w.dirty = true
	r.out.Items = w.counts.Items
	return w.commitAtRest(ctx)
}

// goTo applies what has changed up to a manifest, so that the runs of past are those of its state, and returns what
// stands inline in it. Corrupt if that is not what the manifest counts.
func (r *reindexer) goTo(ctx context.Context, m manifest) (*pb.IndexDelta, error) {
	chain, err := r.w.changesOf(ctx, r.packs, m.Manifest)
	if err != nil {
		return nil, err
	}
	past := r.past
	for _, p := range chain {
		if r.applied[packID(p.Id)] {
			continue
		}
		if err := r.apply(ctx, p); err != nil {
			return nil, err
		}
	}
	for _, p := range r.packs.of(m.Manifest) {
		if !r.applied[packID(p.Id)] { // none of its changes count: it has none, or was not committed
			r.applied[packID(p.Id)] = true
			past.mem.packs = append(past.mem.packs, &pb.Pack{Id: p.Id, Number: p.Number, Size: p.Size, Footer: p.Footer, StandsFor: p.StandsFor})
		}
	}
	// What is inline stands in no footer: it stays apart, to be written there when it becomes a run.
	if !past.mem.empty() {
		if err := past.spill(ctx, true); err != nil {
			return nil, err
		}
	}
	before := past.counts
	defer func() { past.mem, past.counts = newMemtable(), before }()
	if err := past.apply(ctx, m.Inline); err != nil {
		return nil, err
	}
	got, want := past.counts, toCounts(m.Counts)
	if got.Items != want.Items || got.Bytes != want.Bytes || got.Skipped != want.Skipped {
		return nil, tenantry.Errorf(tenantry.Corrupt, "the index cannot be made again: the packs tell of %d items with %d bytes, the manifest of %d with %d",
			got.Items, got.Bytes, want.Items, want.Bytes)
	}
	past.mem.packs, past.mem.gone = m.Inline.GetPacks(), m.Inline.GetGone()
	return past.mem.delta()
}

// apply takes in a pack with the changes in its footer.
func (r *reindexer) apply(ctx context.Context, p *pb.Pack) error {
	footer, err := r.w.footerOf(ctx, p)
	if err != nil {
		return err
	}
	r.applied[packID(p.Id)] = true
	r.past.mem.packs = append(r.past.mem.packs, p)
	r.out.Packs++
	return r.past.apply(ctx, footer.Delta)
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
