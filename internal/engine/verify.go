package engine

import (
	"context"
	"io"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Verify reads everything a snapshot names, as a restore would, and lists every damaged item as a
// problem with what is wrong with it. It returns an error when the index itself cannot be read, or when
// the storage does not answer: then nothing is known. Closing drain ends it with Outcome.Done
// false; it keeps no position and starts over, so it ignores Limits.SliceTime.
func Verify(ctx context.Context, snap Snapshot, l Limits, drain <-chan struct{}, progress func(tenantry.Counts)) (Outcome, error) {
	v := &verify{slice: newSlice(l, drain, progress), snap: snap}
	v.counts.Total = snap.Snapshot().Counts.Items
	done, err := v.all(ctx)
	v.progress()
	out := v.outcome(done && err == nil)
	out.Snapshot, out.Damage = snap.Snapshot(), v.damage
	return out, err
}

// Checker checks the structure of snapshots, as *repository.Repository does.
type Checker interface {
	CheckQuick(ctx context.Context, s tenantry.Series, seq int64, report func(repository.Problem)) (repository.Checked, error)
}

// VerifyQuick looks whether the index of a snapshot can be read whole, and whether every object that it
// names is there and has a size that fits: some reads and a HEAD for each object. What is damaged within
// is for Verify. It is not cut by a drain.
func VerifyQuick(ctx context.Context, c Checker, s tenantry.Series, seq int64, l Limits, progress func(tenantry.Counts)) (Outcome, error) {
	v := &verify{slice: newSlice(l, nil, progress)}
	checked, err := c.CheckQuick(ctx, s, seq, func(p repository.Problem) {
		v.problem(Problem{ID: p.Item, Name: p.Name, Reason: p.Reason, Kind: tenantry.Corrupt})
		v.damage.note(p.Item, p.Object)
	})
	v.add(tenantry.Counts{Items: checked.Items, Total: checked.Items})
	out := v.outcome(err == nil)
	out.Damage = v.damage
	return out, err
}

type verify struct {
	*slice
	snap Snapshot

	mu     sync.Mutex // guards what follows
	damage Damage
}

// damaged notes an item that cannot be read, and the object that is at fault.
func (v *verify) damaged(id string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.damage.note(id, repository.DamagedObject(err))
}

func (d *Damage) note(id, object string) {
	if len(d.Items) < maxFound {
		d.Items = append(d.Items, id)
	}
	if object != "" && len(d.Objects) < maxFound && !slices.Contains(d.Objects, object) {
		d.Objects = append(d.Objects, object)
	}
}

func (v *verify) all(ctx context.Context) (done bool, err error) {
	g, items := errgroup.WithContext(ctx)
	g.SetLimit(v.limits.Concurrency)
	done, err = v.walk(ctx, items, g)
	if failed := g.Wait(); failed != nil {
		return false, failed
	}
	return done, err
}

func (v *verify) walk(ctx, items context.Context, g *errgroup.Group) (done bool, err error) {
	var batch []repository.Entry
	for e, err := range v.snap.Entries(ctx) {
		if err != nil {
			return false, err
		}
		if batch = append(batch, e); len(batch) < readBatch {
			continue
		}
		if done, err := v.batch(items, g, batch); !done {
			return false, err
		}
		batch = batch[:0]
	}
	return v.batch(items, g, batch)
}

// batch verifies entries in the order in which they are stored.
func (v *verify) batch(items context.Context, g *errgroup.Group, batch []repository.Entry) (done bool, err error) {
	slices.SortFunc(batch, repository.CompareStored)
	for _, e := range batch {
		if items.Err() != nil {
			return false, tenantry.E(tenantry.KindOf(items.Err()), "verify", items.Err())
		}
		if v.draining() {
			return false, nil
		}
		g.Go(func() error { return v.entry(items, e) })
	}
	return true, nil
}

// entry reads the payload and every part of one entry.
func (v *verify) entry(ctx context.Context, e repository.Entry) error {
	n, err := v.read(ctx, e)
	count := tenantry.Counts{Items: 1, Bytes: n}
	if e.Place() {
		count.Items = 0
	}
	v.add(count)
	v.progress()
	if err != nil && oneBadItem(err) {
		v.problem(problemOf(e, err))
		v.damaged(e.ID, err)
		return nil
	}
	return err
}

func (v *verify) read(ctx context.Context, e repository.Entry) (n int64, err error) {
	if saved(e) {
		raw, err := v.snap.Payload(ctx, e)
		if err != nil {
			return 0, err
		}
		n = int64(len(raw))
	}
	for _, p := range e.Parts {
		size, err := v.part(ctx, e, p)
		n += size
		if err != nil {
			return n, err
		}
		if size != p.Size {
			return n, tenantry.Errorf(tenantry.Corrupt, "part %s has %d bytes, not %d", p.Name, size, p.Size)
		}
	}
	return n, nil
}

func (v *verify) part(ctx context.Context, e repository.Entry, p repository.Part) (int64, error) {
	body, err := v.snap.Open(ctx, e, p)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	return io.Copy(io.Discard, body)
}
