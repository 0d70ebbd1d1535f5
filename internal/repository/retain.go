package repository

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// retainers is how many locks are looked at at once.
const retainers = 16

// maxRetained bounds the objects that are remembered as looked at, 60 bytes each: beyond it some are
// looked at twice.
const maxRetained = 1 << 20

// Retained counts what Retain has done.
type Retained struct {
	Looked   int64 // objects whose lock was looked at
	Extended int64 // of them, those whose lock ended too early
}

// Retain sees that every object which a live snapshot of the series needs is locked for as long as the
// policy says, counted from the newest snapshot that needs it: what a backup did not write anew was locked
// for an earlier one. Without object locks it does nothing. It may run beside everything, be cut short and
// repeated. One HEAD for each object, and a PUT for each lock that moves. The series' index is read
// once; memory is 60 bytes per object, at most 60 MB.
func (r *Repository) Retain(ctx context.Context, s tenantry.Series) (Retained, error) {
	retainer, ok := r.store.(blob.Retainer)
	if !ok || retainer.Policy().Mode == blob.NoLock {
		return Retained{}, nil
	}
	k := &keeper{repo: r, retainer: retainer, seen: map[string]bool{}, runs: map[packID]bool{}, packRuns: map[packID]bool{}}
	k.group, ctx = errgroup.WithContext(ctx)
	k.group.SetLimit(retainers)
	err := k.series(ctx, s)
	if waitErr := k.group.Wait(); waitErr != nil {
		err = waitErr
	}
	return k.done, r.fail(s, err)
}

// RetainDue reports whether the locks of a series are to be looked at on a day: several times within the
// reserve by which locks are made longer, on days that differ from series to series.
func (r *Repository) RetainDue(s tenantry.Series, now time.Time) bool {
	retainer, ok := r.store.(blob.Retainer)
	if !ok || retainer.Policy().Mode == blob.NoLock {
		return false
	}
	period := uint64(max(1, retainer.Policy().Reserve()/4/(24*time.Hour)))
	h := fnv.New64a()
	fmt.Fprint(h, s)
	return (h.Sum64()+uint64(now.Unix()/86400))%period == 0
}

// keeper looks at the locks of one series.
type keeper struct {
	repo     *Repository
	retainer blob.Retainer
	group    *errgroup.Group
	// Segments that were read, for what entries need, and for packs.
	runs, packRuns map[packID]bool

	mu   sync.Mutex // guards what follows
	seen map[string]bool
	done Retained
}

// series visits the live snapshots, the newest first: what one needs is kept for its time, and is the same
// or less to those before it.
func (k *keeper) series(ctx context.Context, s tenantry.Series) error {
	live, err := k.repo.Snapshots(ctx, s)
	if err != nil {
		return err
	}
	for _, snapshot := range live {
		m, err := k.repo.readManifest(ctx, s, snapshot.Seq)
		if err != nil {
			return missing(err)
		}
		until := snapshot.Time.Add(k.retainer.Policy().For)
		if err := k.manifest(ctx, s, m, until); err != nil {
			return err
		}
	}
	return nil
}

func (k *keeper) manifest(ctx context.Context, s tenantry.Series, m manifest, until time.Time) error {
	rd, err := k.repo.readerOf(s, m)
	if err != nil {
		return err
	}
	defer rd.Close()
	if err := k.keep(ctx, manifestName(s, m.Seq), until); err != nil {
		return err
	}
	for _, meta := range m.Segments {
		if err := k.keep(ctx, segmentName(s, packID(meta.Id)), until); err != nil {
			return err
		}
	}
	var failed error
	visit := func(ref Ref) {
		if ref.length > 0 && failed == nil {
			failed = k.keep(ctx, packName(s, ref.pack), until)
		}
		for i := range ref.chunks {
			if failed == nil {
				failed = k.keep(ctx, ref.chunks[i].name(), until)
			}
		}
	}
	if err := rd.references(ctx, k.runs, visit); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	return k.changes(ctx, s, rd, until)
}

// changes keeps the packs that carry changes of the index: runs are made again from them.
func (k *keeper) changes(ctx context.Context, s tenantry.Series, rd *Reader, until time.Time) error {
	packs := slices.Clone(rd.inline.packs)
	err := rd.scanNew(ctx, k.packRuns, []byte{packSpace}, func(value []byte) error {
		p, err := decodePack(value)
		if err == nil {
			packs = append(packs, p)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, p := range packs {
		if p.Changes == 0 {
			continue
		}
		if err := k.keep(ctx, packName(s, packID(p.Id)), until); err != nil {
			return err
		}
	}
	return nil
}

// keep looks at the lock of an object, once; the first time counts, which is the latest.
func (k *keeper) keep(ctx context.Context, name string, until time.Time) error {
	k.mu.Lock()
	known := k.seen[name]
	if len(k.seen) >= maxRetained {
		clear(k.seen)
	}
	k.seen[name] = true
	k.mu.Unlock()
	if known {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return tenantry.E(tenantry.KindOf(err), "look at locks", err)
	}
	k.group.Go(func() error {
		moved, err := k.retainer.RetainUntil(ctx, k.repo.object(name), until)
		if isNotFound(err) {
			return nil // damage is for others to find, and so is what was swept meanwhile
		}
		if err != nil {
			return err
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.done.Looked++
		if moved {
			k.done.Extended++
		}
		return nil
	})
	return nil
}
