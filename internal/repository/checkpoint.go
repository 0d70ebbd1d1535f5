package repository

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// maxInline is how large an index delta may be to stand in the manifest; a larger one
// goes into a pack.
const maxInline = 16 << 10

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
	return w.dirty || len(w.packs) > 0 || (w.pack != nil && w.pack.size() > 0)
}

// commit makes everything durable in one manifest, sealed at the given time or open. The
// caller holds life, so nothing else runs. Any failure makes the writer void: what the
// bucket holds is then for a new claim to read.
func (w *Writer) commit(ctx context.Context, sealed *time.Time) error {
	inline, err := w.settlePacks(ctx)
	if err != nil {
		return w.spoil(err)
	}
	m := w.nextManifest(inline, sealed)
	body, err := w.repo.sealManifest(w.series, m)
	if err != nil {
		return w.spoil(err)
	}
	if err := w.repo.commit(ctx, w.series, m.Seq, body); err != nil {
		return w.spoil(err)
	}
	w.stored.Add(int64(len(body)))
	w.head = manifest{Manifest: m, digest: digestOf(body)}
	w.packs, w.pending, w.dirty = nil, 0, false
	if sealed != nil {
		snapshot := toSnapshot(m.Live[0])
		w.done = &snapshot
	}
	return nil
}

// settlePacks cuts the last pack, if there is anything to put into one, waits until all
// packs are durable, and returns the index delta that goes into the manifest instead.
func (w *Writer) settlePacks(ctx context.Context) (*pb.IndexDelta, error) {
	w.packing.Lock()
	defer w.packing.Unlock()
	inline := w.head.Inline // as it was: nobody has looked at the index
	var change encoded
	if w.loaded.Load() {
		change = w.index.encode(w.delta)
		inline = nil
	}
	switch {
	case w.pack != nil && w.pack.size() > 0, change.entries+change.removed > 0 && len(change.data) > maxInline:
		if _, err := w.currentPack(); err != nil {
			return nil, err
		}
		if err := w.cut(ctx); err != nil {
			return nil, err
		}
	case change.entries > 0 || change.removed > 0:
		inline = &pb.IndexDelta{}
		if err := proto.Unmarshal(change.data, inline); err != nil {
			return nil, tenantry.E(tenantry.Internal, "decode one's own index delta", err)
		}
	}
	return inline, w.wait(ctx)
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

// cut ends the current pack with the index delta of this moment and sends it off. It
// waits while enough packs are on their way. The caller holds packing.
func (w *Writer) cut(ctx context.Context) error {
	release, err := acquire(ctx, w.uploads)
	if err != nil {
		return err
	}
	if err := w.readable(); err != nil { // an upload that failed meanwhile
		release()
		return err
	}
	w.state.Lock()
	defer w.state.Unlock()
	var change encoded
	if w.loaded.Load() {
		change = w.index.encode(w.delta)
	}
	object, entry, err := w.pack.cut(change)
	if err != nil {
		release()
		return w.spoil(err)
	}
	if w.loaded.Load() {
		w.delta = w.index.newDelta()
	}
	name := w.repo.object(packName(w.series, w.pack.id))
	w.pack = nil
	w.packs = append(w.packs, entry)
	w.pending += entry.Size
	w.uploading.Go(func() error {
		defer release()
		if err := w.repo.store.Put(w.ctx, name, object); err != nil {
			return w.spoil(err)
		}
		w.stored.Add(int64(len(object)))
		return nil
	})
	return nil
}

// nextManifest is the head with everything new.
func (w *Writer) nextManifest(inline *pb.IndexDelta, sealed *time.Time) *pb.Manifest {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce)
	counts := w.counts
	counts.Stored += w.stored.Load()
	m := &pb.Manifest{
		Version: formatVersion, Seq: w.head.Seq + 1, Epoch: w.fence.Epoch, Task: string(w.fence.Task), Nonce: nonce,
		Parent: w.head.digest, Sealed: sealed != nil, Cursors: w.cursorMessages(),
		Packs: append(slices.Clone(w.head.Packs), w.packs...), Inline: inline, Counts: countsMessage(counts), Live: w.head.Live,
	}
	if sealed != nil {
		m.Live = append([]*pb.Snapshot{{
			Seq: m.Seq, Time: sealed.UnixMicro(), Task: m.Task, Nonce: nonce, Counts: m.Counts,
		}}, m.Live...)
		counts.Stored = 0 // the next snapshot counts from here
		m.Counts = countsMessage(counts)
	}
	return m
}

func (w *Writer) cursorMessages() []*pb.Cursor {
	out := make([]*pb.Cursor, 0, len(w.cursors))
	for collection, c := range w.cursors {
		out = append(out, &pb.Cursor{Collection: collection, Link: c.Link, Generation: c.Generation, Complete: c.Complete})
	}
	slices.SortFunc(out, func(a, b *pb.Cursor) int { return strings.Compare(a.Collection, b.Collection) })
	return out
}
