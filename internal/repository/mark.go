package repository

import (
	"bytes"
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// Collection rests on two bounds. Whoever writes learns at least once in sliceBound what is
// condemned, or commits nothing; so what nobody could refer to for grace is garbage for ever,
// whatever woke up late. DESIGN calls it three slices.
const (
	sliceBound = time.Hour
	grace      = 3 * sliceBound
)

// past is what of a series is not to be collected: the head and everything since the newest
// manifest that is older than grace, and the snapshots that were live in any of those. So a
// snapshot is readable for grace after it was dropped, and what a slice knew when it began is
// there until it ends.
type past struct {
	manifests map[int64]manifest
	floor     int64 // the oldest of them that is not there for being a snapshot
}

// readPast reads the manifests of a series that are not to be collected. listed are all that
// there are, newest first.
func (r *Repository) readPast(ctx context.Context, s tenantry.Series, listed []blob.Info) (past, error) {
	p := past{manifests: map[int64]manifest{}}
	cutoff := r.now().Add(-grace)
	live := map[int64]bool{}
	for _, info := range listed {
		seq, err := manifestSeq(info.Key)
		if err != nil {
			return p, err
		}
		m, err := r.readManifest(ctx, s, seq)
		if isNotFound(err) && len(p.manifests) > 0 {
			continue // another collector's floor is a newer one already
		}
		if err != nil {
			return p, missing(err)
		}
		p.manifests[seq], p.floor = m.lean(), seq
		for _, snapshot := range m.Live {
			live[snapshot.Seq] = true
		}
		if !info.Modified.After(cutoff) {
			break
		}
	}
	for seq := range live {
		if _, ok := p.manifests[seq]; ok {
			continue
		}
		m, err := r.readManifest(ctx, s, seq)
		if isNotFound(err) && seq < p.floor {
			// An older list than the head's may name what was dropped and collected since.
			if !p.headHas(seq) {
				continue
			}
			err = missing(err)
		}
		if err != nil {
			return p, err
		}
		p.manifests[seq] = m.lean()
	}
	return p, nil
}

// headHas reports whether the newest manifest says that a snapshot is live.
func (p past) headHas(seq int64) bool {
	newest := int64(0)
	for n := range p.manifests {
		newest = max(newest, n)
	}
	for _, snapshot := range p.manifests[newest].Live {
		if snapshot.Seq == seq {
			return true
		}
	}
	return false
}

// listManifests lists the manifests of a series, newest first; with recent no more than readPast
// needs.
func (r *Repository) listManifests(ctx context.Context, s tenantry.Series, recent bool) ([]blob.Info, error) {
	cutoff := r.now().Add(-grace)
	var listed []blob.Info
	for info, err := range r.store.List(ctx, r.object(seriesName(s)+"m/")) {
		if err != nil {
			return nil, err
		}
		listed = append(listed, info)
		if recent && !info.Modified.After(cutoff) {
			break
		}
	}
	return listed, nil
}

// references yields what a past refers to: every Ref of every entry that any of its runs or inline
// deltas has, also where a newer run overrides it. Each run is read once, however many manifests
// name it. Lists of chunks are followed.
func (r *Repository) references(ctx context.Context, s tenantry.Series, p past, visit func(Ref)) error {
	seen := map[packID]bool{}
	for _, m := range p.manifests {
		rd, err := r.readerOf(s, m)
		if err != nil {
			return err
		}
		if err := rd.references(ctx, seen, visit); err != nil {
			return err
		}
		rd.Close()
	}
	return nil
}

func (rd *Reader) references(ctx context.Context, seen map[packID]bool, visit func(Ref)) error {
	note := func(e *Entry) error {
		for i := -1; i < len(e.Parts); i++ {
			ref := e.Payload
			if i >= 0 {
				ref = e.Parts[i].Ref
			}
			if err := rd.follow(ctx, ref, visit); err != nil {
				return rd.itemError(*e, err)
			}
		}
		return nil
	}
	for _, c := range rd.head.Inline.GetChanges() {
		if c.Entry == nil {
			continue
		}
		e, err := toEntry(c.Entry)
		if err == nil {
			err = note(&e)
		}
		if err != nil {
			return err
		}
	}
	return rd.scanNew(ctx, seen, []byte{idSpace}, func(value []byte) error {
		e, err := decodeEntry(value)
		if err != nil {
			return err
		}
		return note(&e)
	})
}

// scanNew yields the values of a space in those segments that were not seen before.
func (rd *Reader) scanNew(ctx context.Context, seen map[packID]bool, space []byte, yield func(value []byte) error) error {
	for _, meta := range rd.head.Segments {
		id := packID(meta.Id)
		if seen[id] {
			continue
		}
		seen[id] = true
		ix := rd.repo.newIndex(rd.series, []*pb.Segment{meta})
		c := ix.runCursor(ix.runs[0], space)
		for {
			record, ok, err := c.next(ctx)
			if err != nil {
				return err
			}
			if !ok || !bytes.HasPrefix(record.key, space) {
				break
			}
			if record.dead {
				continue
			}
			if err := yield(record.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// follow visits a Ref and, where it points at a list of chunks, what stands there.
func (rd *Reader) follow(ctx context.Context, ref Ref, visit func(Ref)) error {
	for {
		visit(ref)
		if ref.depth == 0 {
			return nil
		}
		deeper := ref.depth - 1
		ref.depth = 0
		list, err := rd.readAll(ctx, ref)
		if err != nil {
			return err
		}
		chunks, err := decodeChunkList(list)
		if err != nil {
			return err
		}
		ref = Ref{chunks: chunks, depth: deeper}
	}
}
