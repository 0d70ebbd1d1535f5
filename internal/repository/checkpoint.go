package repository

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

const (
	// maxInline is how large an index delta may be, compressed, to stand in the manifest: some 150
	// new mails. A larger one becomes a run.
	maxInline = 16 << 10
	// maxInlinePlain is beyond what is worth compressing to find out.
	maxInlinePlain = 256 << 10
)

// Checkpoint commits an open manifest: packs, index delta, cursors. Nothing new: no PUT.
// Fenced if another owner took the series: everything in memory is then void.
func (w *Writer) Checkpoint(ctx context.Context) error {
	w.life.Lock()
	defer w.life.Unlock()
	if err := w.readable(); err != nil || w.done != nil {
		return err
	}
	if !w.changed() {
		return nil
	}
	return w.commit(ctx, nil)
}

// Seal commits a sealed manifest: the snapshot. One PUT if nothing has changed. Sealed
// again, it returns the same snapshot. now becomes the snapshot's time.
func (w *Writer) Seal(ctx context.Context, now time.Time) (Snapshot, error) {
	w.life.Lock()
	defer w.life.Unlock()
	if err := w.readable(); err != nil {
		return Snapshot{}, err
	}
	if w.done == nil {
		if err := w.commit(ctx, &now); err != nil {
			return Snapshot{}, err
		}
	}
	return *w.done, nil
}

func (w *Writer) changed() bool {
	return w.dirty || w.pending > 0 || (w.pack != nil && w.pack.size() > 0)
}

// commit makes everything durable in one manifest, sealed at the given time or open. The
// caller holds life, so nothing else runs. Any failure makes the writer void: what the
// bucket holds is then for a new claim to read.
func (w *Writer) commit(ctx context.Context, sealed *time.Time) error {
	if err := w.settle(ctx, sealed != nil); err != nil {
		return w.spoil(err)
	}
	if err := w.hits.check(ctx); err != nil {
		return w.spoil(err)
	}
	if err := w.confirm(ctx); err != nil {
		return w.spoil(err)
	}
	m, err := w.nextManifest(sealed)
	if err != nil {
		return w.spoil(err)
	}
	body, err := w.repo.sealManifest(w.series, m)
	if err != nil {
		return w.spoil(err)
	}
	now := w.repo.now()
	if err := w.repo.commit(ctx, w.series, m.Seq, body, w.known); err != nil {
		return w.spoil(err)
	}
	w.known = now
	w.stored.Add(int64(len(body)))
	w.repo.keepManifest(w.series, m.Seq, body)
	w.repo.forgetManifest(w.series, w.head)
	w.head = manifest{Manifest: m, digest: digestOf(body), stored: int64(len(body))}
	w.pending, w.saved, w.dirty, w.committed = 0, w.mem.size, false, true
	if sealed != nil {
		snapshot := toSnapshot(m.Live[0])
		w.done = &snapshot
	}
	return nil
}

// commitAtRest commits an open manifest for maintenance, which changes nothing that a backup would go on from: whoever
// comes next need not take the series over. The caller holds life.
func (w *Writer) commitAtRest(ctx context.Context) error {
	w.resting = true
	defer func() { w.resting = false }()
	return w.commit(ctx, nil)
}

// confirm looks whether the head is still the newest manifest, if that has not been known for sure within
// sliceBound. A writer that woke up late could otherwise take a number whose manifest was committed by
// another and swept since.
func (w *Writer) confirm(ctx context.Context) error {
	now := w.repo.now()
	if passed(w.known, now) < sliceBound {
		return nil
	}
	newest := int64(0)
	for info, err := range w.repo.store.List(ctx, w.repo.object(seriesName(w.series)+"m/")) {
		if err == nil {
			newest, err = manifestSeq(info.Key)
		}
		if err != nil {
			return err
		}
		break
	}
	if newest != w.head.Seq {
		return tenantry.Errorf(tenantry.Fenced, "commit number %d: number %d was committed meanwhile", w.head.Seq+1, newest)
	}
	w.known = now
	return nil
}

// settle makes all packs and all of the index durable but what is small enough to stand in the
// manifest. The caller holds life.
func (w *Writer) settle(ctx context.Context, sealing bool) error {
	if !w.fits() {
		if err := w.flush(ctx, sealing); err != nil {
			return err
		}
	} else {
		if err := w.cutRest(ctx, nil); err != nil {
			return err
		}
		if err := w.fold(ctx, sealing); err != nil { // what an unfinished snapshot left
			return err
		}
	}
	return w.wait(ctx)
}

// fits reports whether the changes of the index may stand in the manifest.
func (w *Writer) fits() bool {
	packs := w.mem.packsSize()
	if w.mem.size+int64(packs) <= maxInline {
		return true
	}
	if w.mem.size > maxInlinePlain || packs > maxInline {
		return false
	}
	return compressedSize(w.mem.encode())+packs <= maxInline
}

// packRecord is about what a pack takes in a manifest, goneRecord what one does that is listed no more.
const (
	packRecord = 40
	goneRecord = 18
)

// flush writes the changes of the index as a new run, and once more into the footer of a pack,
// from which the run can be made again. The caller holds life.
func (w *Writer) flush(ctx context.Context, sealing bool) error {
	if err := w.cutRest(ctx, w.mem); err != nil {
		return err
	}
	return w.spill(ctx, sealing)
}

// cutRest cuts the pack that is being filled, if there is one, and lets it carry what has changed
// in the index, if that is given.
func (w *Writer) cutRest(ctx context.Context, mem *memtable) error {
	w.packing.Lock()
	defer w.packing.Unlock()
	var delta []byte
	changes := 0
	if mem != nil {
		delta, changes = mem.encode(), len(mem.changes)
	}
	if changes > 0 {
		if _, err := w.currentPack(); err != nil {
			return err
		}
	}
	if w.pack == nil || changes == 0 && w.pack.size() == 0 {
		return nil
	}
	return w.cut(ctx, delta, changes)
}

// wait waits for the uploads under way, or for the end of ctx.
func (w *Writer) wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, w.cancel)
	err := w.uploading.Wait()
	if !stop() && ctx.Err() != nil {
		return tenantry.E(tenantry.KindOf(ctx.Err()), "upload packs", ctx.Err())
	}
	w.uploading = &errgroup.Group{}
	return err
}

// currentPack returns the pack being filled. The caller holds packing.
func (w *Writer) currentPack() (*packer, error) {
	if w.pack == nil {
		p, err := newPacker(w.repo.keys, w.series)
		if err != nil {
			return nil, err
		}
		w.pack = p
	}
	return w.pack, nil
}

// cut ends the current pack, with an index delta if there is one, and sends it off. It waits
// while enough packs are on their way. The caller holds packing.
func (w *Writer) cut(ctx context.Context, delta []byte, changes int) error {
	release, err := acquireBoth(ctx, w.uploads, uploadSlots)
	if err != nil {
		return err
	}
	if err := w.readable(); err != nil { // an upload that failed meanwhile
		release()
		return err
	}
	w.packNumber++
	object, entry, err := w.pack.cut(w.packNumber, delta, changes, chained{previous: w.lastChanges})
	if err != nil {
		release()
		return w.spoil(err)
	}
	if changes > 0 {
		w.lastChanges = entry.Id
	}
	w.state.Lock()
	defer w.state.Unlock()
	name := w.repo.object(packName(w.series, w.pack.id))
	pack := w.pack
	w.pack = nil
	w.mem.packs = append(w.mem.packs, entry)
	w.pending += entry.Size
	w.uploading.Go(func() error {
		defer release()
		defer pack.release()
		if err := w.repo.store.Put(w.ctx, name, object); err != nil {
			return w.spoil(err)
		}
		w.stored.Add(int64(len(object)))
		return nil
	})
	return nil
}

// nextManifest is the head with everything new.
func (w *Writer) nextManifest(sealed *time.Time) (*pb.Manifest, error) {
	inline, err := w.mem.delta()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce)
	counts := w.counts
	counts.Stored += w.stored.Load()
	m := &pb.Manifest{
		Version: formatVersion, Seq: w.head.Seq + 1, Epoch: w.fence.Epoch, Task: string(w.fence.Task), Nonce: nonce,
		Parent: w.head.digest, Sealed: sealed != nil, Cursors: w.cursorMessages(),
		Segments: w.index.named(sealed == nil && !w.resting), Inline: inline, PackNumber: w.packNumber, RunNumber: w.runNumber,
		Counts: countsMessage(counts), Live: w.head.Live, AtRest: w.resting, Changed: w.lastChanges,
	}
	if sealed != nil {
		m.Live = append([]*pb.Snapshot{{
			Seq: m.Seq, Time: sealed.UnixMicro(), Task: m.Task, Nonce: nonce, Counts: m.Counts,
		}}, m.Live...)
		counts.Stored = 0 // the next snapshot counts from here
		m.Counts = countsMessage(counts)
	}
	return m, nil
}

func (w *Writer) cursorMessages() []*pb.Cursor {
	out := make([]*pb.Cursor, 0, len(w.cursors))
	for collection, c := range w.cursors {
		out = append(out, &pb.Cursor{Collection: collection, Link: c.Link, Generation: c.Generation, Complete: c.Complete})
	}
	slices.SortFunc(out, func(a, b *pb.Cursor) int { return strings.Compare(a.Collection, b.Collection) })
	return out
}
