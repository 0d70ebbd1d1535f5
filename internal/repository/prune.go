package repository

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

const (
	// deleters is how many objects are deleted at once.
	deleters = 16
	// worthForgetting is how many packs the index lists in vain before a sweep commits for them alone.
	worthForgetting = 64
)

// Freed is what a collection has deleted.
type Freed struct {
	Objects int64 // deleted
	Bytes   int64 // they had
	Locked  int64 // garbage that an object lock keeps: for a later collection
}

// Prune drops snapshots from the live list, in one commit: from then on they are not listed, and
// what they alone needed is garbage for Sweep. Numbers that are not live are none of its business.
// It returns how many were dropped; none, and there is no commit. Fenced if another owner took the
// series.
func (w *Writer) Prune(ctx context.Context, drop []int64) (int, error) {
	w.life.Lock()
	defer w.life.Unlock()
	if err := w.writable(); err != nil {
		return 0, err
	}
	live := slices.DeleteFunc(slices.Clone(w.head.Live), func(s *pb.Snapshot) bool { return slices.Contains(drop, s.Seq) })
	dropped := len(w.head.Live) - len(live)
	if dropped == 0 {
		return 0, nil
	}
	w.head.Live = live
	return dropped, w.commitAtRest(ctx)
}

// Live returns the snapshots that are kept as of the last commit, newest first.
func (w *Writer) Live() []Snapshot {
	w.life.RLock()
	defer w.life.RUnlock()
	return toSnapshots(w.head.Live)
}

// Sweep deletes what no manifest of the series needs any more: packs, segments and manifests that
// none has named for three hours (see past), and what was never committed. It first commits an open
// manifest of its own, if it finds anything, so that no older owner can name what it deletes. It may
// be cut at any point and repeated. Packs that carry changes of the index in their footer stay as
// long as a manifest lists them, because runs are made again from them. Where snapshots were dropped, the commit also has the
// index list no packs any more that nothing needs; for a few of them there is none.
//
// Memory: 100 bytes for each object of the series. It reads manifests and, where snapshots were
// dropped, each run of the index once.
func (w *Writer) Sweep(ctx context.Context) (Freed, error) {
	w.life.Lock()
	defer w.life.Unlock()
	if err := w.writable(); err != nil {
		return Freed{}, err
	}
	w.recent.forget() // it may name packs that are about to go
	s := &sweep{repo: w.repo, series: w.series}
	garbage, manifests, err := s.find(ctx)
	if err != nil {
		return Freed{}, w.repo.fail(w.series, err)
	}
	if len(garbage)+len(manifests) == 0 {
		return Freed{}, nil
	}
	useless, err := w.uselessPacks(ctx, s.deep)
	if err != nil {
		return Freed{}, w.repo.fail(w.series, err)
	}
	if !w.committed || len(useless) >= worthForgetting {
		w.mem.forget(useless)
		if err := w.commitAtRest(ctx); err != nil {
			return Freed{}, err
		}
	}
	// Manifests last: they tell a repeated sweep that packs may have become garbage with them.
	freed, err := w.repo.deleteAll(ctx, garbage, time.Time{})
	if err == nil {
		var more Freed
		more, err = w.repo.deleteAll(ctx, manifests, time.Time{})
		freed = Freed{freed.Objects + more.Objects, freed.Bytes + more.Bytes, freed.Locked + more.Locked}
	}
	return freed, w.repo.fail(w.series, err)
}

// uselessPacks returns the packs that the newest state lists and nothing needs, of all that are needed; none if that is
// not known. The caller holds life.
func (w *Writer) uselessPacks(ctx context.Context, needed map[string]bool) ([]packID, error) {
	if needed == nil {
		return nil, nil
	}
	top, err := w.mem.records([]byte{packSpace})
	if err != nil {
		return nil, err
	}
	var useless []packID
	for r, err := range w.index.scan(ctx, top, []byte{packSpace}, nil) {
		if err != nil {
			return nil, err
		}
		p, err := decodePack(r.value)
		if err != nil {
			return nil, err
		}
		if id := packID(p.Id); !needed[w.repo.object(packName(w.series, id))] {
			useless = append(useless, id)
		}
	}
	return useless, nil
}

// sweep finds the garbage of a series.
type sweep struct {
	repo   *Repository
	series tenantry.Series
	deep   map[string]bool // what is needed, where that was looked at pack by pack
}

func (s *sweep) find(ctx context.Context) (garbage, manifests []blob.Info, err error) {
	listed, err := s.repo.listManifests(ctx, s.series, false)
	if err != nil || len(listed) == 0 {
		return nil, nil, err
	}
	past, err := s.repo.readPast(ctx, s.series, listed)
	if err != nil {
		return nil, nil, err
	}
	deep := false
	for _, info := range listed {
		seq, err := manifestSeq(info.Key)
		if err != nil {
			return nil, nil, err
		}
		if _, ok := past.manifests[seq]; ok || seq >= past.floor {
			continue
		}
		manifests = append(manifests, info)
		if !deep {
			m, err := s.repo.readManifest(ctx, s.series, seq)
			if err != nil && !isNotFound(err) {
				return nil, nil, err
			}
			deep = err == nil && m.Sealed
		}
	}
	needed, err := s.needed(ctx, past, deep)
	if err != nil {
		return nil, nil, err
	}
	if deep {
		s.deep = needed
	}
	cutoff := s.repo.now().Add(-grace)
	for _, folder := range []string{"p/", "s/"} {
		prefix := s.repo.object(seriesName(s.series) + folder)
		for info, err := range s.repo.store.List(ctx, prefix) {
			if err != nil {
				return nil, nil, err
			}
			if !needed[info.Key] && !info.Modified.After(cutoff) {
				garbage = append(garbage, info)
			}
		}
	}
	return garbage, manifests, nil
}

// needed returns the keys of the packs and segments that a past needs; unless deep, of all packs
// that it lists.
func (s *sweep) needed(ctx context.Context, p past, deep bool) (map[string]bool, error) {
	needed := map[string]bool{}
	add := func(name string) { needed[s.repo.object(name)] = true }
	seen := map[packID]bool{}
	for _, m := range p.manifests {
		for _, meta := range m.Segments {
			add(segmentName(s.series, packID(meta.Id)))
		}
		rd, err := s.repo.readerOf(s.series, m)
		if err != nil {
			return nil, err
		}
		listed := func(pack *pb.Pack) {
			if !deep || pack.Changes > 0 {
				add(packName(s.series, packID(pack.Id)))
			}
		}
		for _, pack := range rd.inline.packs {
			listed(pack)
		}
		err = rd.scanNew(ctx, seen, []byte{packSpace}, func(value []byte) error {
			pack, err := decodePack(value)
			if err == nil {
				listed(pack)
			}
			return err
		})
		rd.Close()
		if err != nil {
			return nil, err
		}
	}
	if !deep {
		return needed, nil
	}
	return needed, s.repo.references(ctx, s.series, p, func(ref Ref) {
		if ref.length > 0 {
			add(packName(s.series, ref.pack))
		}
	})
}

// decodePack reads a value of the index's space of packs.
func decodePack(value []byte) (*pb.Pack, error) {
	var pack pb.Pack
	if err := proto.Unmarshal(value, &pack); err != nil {
		return nil, tenantry.E(tenantry.Corrupt, "decode the index's record of a pack", err)
	}
	_, err := toPackID(pack.Id)
	return &pack, err
}

// deleteAll deletes objects, several at once; what is locked is counted and stays. Nothing is
// deleted once the time has come, if one is given.
func (r *Repository) deleteAll(ctx context.Context, objects []blob.Info, until time.Time) (Freed, error) {
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(deleters)
	results := make([]error, len(objects))
	done := make([]bool, len(objects))
	for i, info := range objects {
		if inner.Err() != nil {
			break
		}
		group.Go(func() error {
			if !until.IsZero() && !r.now().Before(until) {
				return nil
			}
			if info.Size == 0 {
				found, err := r.store.Stat(inner, info.Key)
				if isNotFound(err) {
					return nil
				}
				if err != nil {
					return err
				}
				objects[i].Size = found.Size
			}
			err := r.store.Delete(inner, info.Key)
			results[i], done[i] = err, true
			if errors.Is(err, blob.ErrLocked) {
				return nil
			}
			return err
		})
	}
	err := group.Wait()
	if err == nil && ctx.Err() != nil {
		err = tenantry.E(tenantry.KindOf(ctx.Err()), "delete garbage", ctx.Err())
	}
	var freed Freed
	for i, info := range objects {
		switch {
		case done[i] && results[i] == nil:
			freed.Objects++
			freed.Bytes += info.Size
		case errors.Is(results[i], blob.ErrLocked):
			freed.Locked++
		}
	}
	return freed, err
}
