package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// maxMark bounds the chunks that are known to be needed at a time, 36 bytes each: a tenant that
	// has more is marked in several passes, each over a part of the hashes.
	maxMark = 4 << 20
	// markers is how many series are read at once.
	markers = 8
	// markTries is how often more a series is read that is swept meanwhile.
	markTries = 3
	// deleteTime is how long one collector may delete by a list. It is far below grace.
	deleteTime = sliceBound
)

// Collected says what one step of a collection of shared content has done.
type Collected struct {
	Freed
	Condemned int64     // chunks on the list that stands now
	Again     time.Time // when the next step may come; zero: this collection is over
}

// Collect takes the next step of collecting the tenant's shared content, which any process may do at
// any time, beside any number of writers and readers. All state is in the bucket (see condemnedList):
//
//  1. No list stands: mark what all series need; publish a list of what is not needed and older
//     than three hours. From then on nobody uses what it names; those who did so before commit
//     within the bound of a slice, or not at all.
//  2. Three hours later: mark again, and delete what still nobody needs. One collector wins the
//     right to, for an hour.
//  3. Three hours after that the list is void, and the next one may come.
//
// Content that an object lock keeps is not condemned. Damage to an index ends it with Corrupt:
// what cannot be read cannot be marked, and nothing is deleted.
//
// Memory: 150 MB for the marks, 36 MB for the list, whatever the tenant has.
func (r *Repository) Collect(ctx context.Context) (Collected, error) {
	c := &collector{repo: r, maxMark: maxMark, maxCondemned: maxCondemned}
	out, err := c.step(ctx)
	if err != nil {
		return out, tenantry.Errorf(tenantry.KindOf(err), "collect shared content of tenant %s: %w", r.tenant, err)
	}
	return out, nil
}

type collector struct {
	repo                  *Repository
	maxMark, maxCondemned int
}

func (c *collector) step(ctx context.Context) (Collected, error) {
	lists, damaged, err := c.repo.listLists(ctx)
	if err != nil {
		return Collected{}, err
	}
	if err := c.trustAgain(ctx, damaged); err != nil {
		return Collected{}, err
	}
	now := c.repo.now()
	for _, l := range lists {
		switch {
		case l.void(now, grace):
			if err := c.remove(ctx, l); err != nil {
				return Collected{}, err
			}
		case !l.opened.IsZero():
			return Collected{}, nil // somebody deletes, or has done so; it is void before the next collection
		case now.Sub(l.published) < grace:
			return Collected{Again: l.published.Add(grace)}, nil
		default:
			return c.deleteBy(ctx, l)
		}
	}
	return c.condemn(ctx)
}

// remove deletes a void list; a lock may keep it, void as it is.
func (c *collector) remove(ctx context.Context, l condemnedList) error {
	for _, name := range []string{l.name, l.name + openedSuffix} {
		if err := c.repo.store.Delete(ctx, c.repo.object(name)); err != nil && !errors.Is(err, blob.ErrLocked) {
			return err
		}
	}
	return nil
}

// condemn publishes a list of what nobody needs, if there is anything.
func (c *collector) condemn(ctx context.Context) (Collected, error) {
	var list []chunkKey
	for lo := 0; lo < 256 && len(list) < c.maxCondemned; {
		needed, hi, err := c.mark(ctx, lo)
		if err != nil {
			return Collected{}, err
		}
		if list, err = c.unneeded(ctx, list, needed, lo, hi); err != nil {
			return Collected{}, err
		}
		lo = hi
	}
	if len(list) == 0 {
		return Collected{}, nil
	}
	slices.SortFunc(list, compareKeys)
	if err := c.repo.publish(ctx, listFolder+fmt.Sprintf("%019d", c.repo.now().UnixMicro()), list); err != nil {
		return Collected{}, err
	}
	return Collected{Condemned: int64(len(list)), Again: c.repo.now().Add(grace)}, nil
}

// markSet collects sorted names whose first byte is from lo up to below hi, of which it lets go when
// there are too many.
type markSet struct {
	mu     sync.Mutex
	keys   []chunkKey
	lo, hi int
	limit  int
}

func (m *markSet) add(k chunkKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if int(k[0]) < m.lo || int(k[0]) >= m.hi {
		return
	}
	if m.keys = append(m.keys, k); len(m.keys) >= m.limit {
		m.compact()
		for len(m.keys) > m.limit/2 && m.hi > m.lo+1 {
			m.hi = m.lo + (m.hi-m.lo)/2
			at, _ := slices.BinarySearchFunc(m.keys, chunkKey{byte(m.hi)}, compareKeys)
			m.keys = m.keys[:at]
		}
		if len(m.keys) > m.limit/2 {
			m.limit *= 2 // one byte's share of more than 500 million chunks
		}
	}
}

func (m *markSet) compact() {
	slices.SortFunc(m.keys, compareKeys)
	m.keys = slices.Compact(m.keys)
}

func (m *markSet) has(k chunkKey) bool {
	_, ok := slices.BinarySearchFunc(m.keys, k, compareKeys)
	return ok
}

// mark returns the chunks that series need, of those whose hash begins with a byte from lo up to
// below hi, which it chooses so that they fit.
func (c *collector) mark(ctx context.Context, lo int) (*markSet, int, error) {
	m := &markSet{lo: lo, hi: 256, limit: c.maxMark}
	if err := c.repo.chunksInUse(ctx, m.add); err != nil {
		return nil, 0, err
	}
	m.compact()
	return m, m.hi, nil
}

// chunksInUse yields every chunk that any series needs, some several times, from several goroutines.
func (r *Repository) chunksInUse(ctx context.Context, visit func(chunkKey)) error {
	all, err := r.List(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(markers)
	for _, s := range all {
		group.Go(func() error {
			// A sweep may delete the oldest of what is read: then the next try knows it.
			for try := 0; ; try++ {
				err := r.chunksOf(ctx, s, visit)
				if !isNotFound(err) || try == markTries {
					return r.fail(s, err)
				}
			}
		})
	}
	return group.Wait()
}

// chunksOf is chunksInUse for one series.
func (r *Repository) chunksOf(ctx context.Context, s tenantry.Series, visit func(chunkKey)) error {
	listed, err := r.listManifests(ctx, s, true)
	if err != nil {
		return err
	}
	p, err := r.readPast(ctx, s, listed)
	if err != nil {
		return err
	}
	return r.references(ctx, s, p, func(ref Ref) {
		for i := range ref.chunks {
			visit(ref.chunks[i].key())
		}
	})
}

// unneeded adds to list the chunks in the store that nobody needs, from lo up to below hi.
func (c *collector) unneeded(ctx context.Context, list []chunkKey, needed *markSet, lo, hi int) ([]chunkKey, error) {
	prefixes := []string{"c/"}
	if lo > 0 || hi < 256 {
		prefixes = nil
		for b := lo; b < hi; b++ {
			prefixes = append(prefixes, fmt.Sprintf("c/%02x", b))
		}
	}
	cutoff := c.repo.now().Add(-grace)
	for _, prefix := range prefixes {
		for info, err := range c.repo.store.List(ctx, c.repo.object(prefix)) {
			if err != nil {
				return nil, err
			}
			k, ok := parseChunkName(info.Key)
			if !ok || needed.has(k) || info.Modified.After(cutoff) {
				continue
			}
			locked, err := c.locked(ctx, info)
			if err != nil {
				return nil, err
			}
			if !locked {
				list = append(list, k)
			}
			if len(list) == c.maxCondemned {
				return list, nil
			}
		}
	}
	return list, nil
}

// locked reports whether a lock keeps an object beyond the time at which it would be deleted.
func (c *collector) locked(ctx context.Context, info blob.Info) (bool, error) {
	retainer, ok := c.repo.store.(blob.Retainer)
	if !ok || retainer.Policy().Mode == blob.NoLock {
		return false, nil
	}
	then := c.repo.now().Add(grace)
	if info.Modified.Add(retainer.Policy().For).After(then) {
		return true, nil
	}
	locker, ok := c.repo.store.(blob.Locker)
	if !ok {
		return false, nil
	}
	lock, err := locker.LockOf(ctx, info.Key, "")
	if errors.Is(err, blob.ErrNotFound) {
		return true, nil
	}
	return lock.Holds(then), err
}

// deleteBy marks again what a list names, and deletes the rest.
func (c *collector) deleteBy(ctx context.Context, l condemnedList) (Collected, error) {
	keys, err := c.repo.readCondemned(ctx, l.name)
	if err != nil {
		return Collected{}, err
	}
	var mu sync.Mutex
	spared := make([]bool, len(keys))
	err = c.repo.chunksInUse(ctx, func(k chunkKey) {
		if at, found := slices.BinarySearchFunc(keys, k, compareKeys); found {
			mu.Lock()
			spared[at] = true
			mu.Unlock()
		}
	})
	if err != nil {
		return Collected{}, err
	}
	// Whoever writes this object deletes, and only for a while: what was deleted may come again
	// once the list is void, and must not be deleted by one that was asleep.
	until := c.repo.now().Add(deleteTime)
	err = c.repo.store.PutIfAbsent(ctx, c.repo.object(l.name+openedSuffix), nil)
	if errors.Is(err, blob.ErrExists) {
		return Collected{}, nil
	}
	if err != nil {
		return Collected{}, err
	}
	var doomed []blob.Info
	for i, k := range keys {
		if !spared[i] {
			doomed = append(doomed, blob.Info{Key: c.repo.object(k.chunk().name())})
		}
	}
	freed, err := c.repo.deleteAll(ctx, doomed, until)
	return Collected{Freed: freed, Condemned: int64(len(keys))}, err
}
