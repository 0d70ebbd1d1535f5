package repository

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// maxCondemned bounds one list: 36 bytes each.
	maxCondemned = 1 << 20
	// condemnedAge is how old a list may be that writers of one process share.
	condemnedAge = 5 * time.Minute
	listFolder   = "g/"
	openedSuffix = ".go"
)

// chunkKey names a chunk, in the order of the names' hashes: hash, then generation.
type chunkKey [36]byte

func (c chunk) key() (k chunkKey) {
	copy(k[:], c.hash[:])
	binary.BigEndian.PutUint32(k[32:], c.generation)
	return k
}

func (k chunkKey) chunk() chunk {
	return chunk{hash: chunkHash(k[:32]), generation: binary.BigEndian.Uint32(k[32:])}
}

func compareKeys(a, b chunkKey) int { return bytes.Compare(a[:], b[:]) }

// condemnedList is a list of chunks that are to be deleted, unless they are found to be needed.
//
//	published ──grace──► opened (one collector deletes) ──grace──► void, removed
//
// The list's object begins it, a second one beside it ("opened") is written by the one that deletes.
type condemnedList struct {
	name      string    // within the tenant
	published time.Time // by the store's clock
	opened    time.Time // zero: not yet
}

// void reports whether nobody deletes by the list any more.
func (l condemnedList) void(now time.Time, after time.Duration) bool {
	return !l.opened.IsZero() && now.Sub(l.opened) >= after
}

// listLists lists the lists that are there, oldest first: those of condemned chunks, and those of
// damaged ones (see distrustPrefix).
func (r *Repository) listLists(ctx context.Context) (condemned []condemnedList, damaged []blob.Info, err error) {
	lists := map[string]condemnedList{}
	for info, err := range r.store.List(ctx, r.object(listFolder)) {
		if err != nil {
			return nil, nil, err
		}
		name := strings.TrimPrefix(info.Key, r.object(""))
		if strings.HasPrefix(name, distrustPrefix) {
			damaged = append(damaged, info)
			continue
		}
		base, opened := strings.CutSuffix(name, openedSuffix)
		l := lists[base]
		l.name = base
		if opened {
			l.opened = info.Modified
		} else {
			l.published = info.Modified
		}
		lists[base] = l
	}
	for _, l := range lists {
		condemned = append(condemned, l)
	}
	slices.SortFunc(condemned, func(a, b condemnedList) int { return strings.Compare(a.name, b.name) })
	return condemned, damaged, nil
}

// readCondemned reads a list: sorted.
func (r *Repository) readCondemned(ctx context.Context, name string) ([]chunkKey, error) {
	body, err := blob.ReadAll(ctx, r.store, r.object(name), maxCondemned*int64(len(chunkKey{}))*2)
	if err != nil {
		return nil, err
	}
	keys, err := r.openCondemned(name, body)
	if err != nil {
		return nil, objectError(r.object(name), err)
	}
	return keys, nil
}

func (r *Repository) openCondemned(name string, body []byte) ([]chunkKey, error) {
	if len(body) < headerSize {
		return nil, tenantry.Errorf(tenantry.Corrupt, "it is cut short at %d bytes", len(body))
	}
	b, err := r.keys.openBox(name, kindCondemned, body[:headerSize])
	if err != nil {
		return nil, err
	}
	const size = len(chunkKey{})
	plain, err := b.open(body[headerSize:], 0, maxCondemned*size)
	if err != nil {
		return nil, err
	}
	if len(plain)%size != 0 {
		return nil, tenantry.Errorf(tenantry.Corrupt, "it holds %d bytes, which are no whole names", len(plain))
	}
	keys := make([]chunkKey, len(plain)/size)
	for i := range keys {
		copy(keys[i][:], plain[i*size:])
	}
	if !slices.IsSortedFunc(keys, compareKeys) {
		return nil, tenantry.Errorf(tenantry.Corrupt, "its names are not in order")
	}
	return keys, nil
}

// publish writes a list.
func (r *Repository) publish(ctx context.Context, name string, keys []chunkKey) error {
	b, err := r.keys.newBox(name, kindCondemned)
	if err != nil {
		return err
	}
	plain := make([]byte, 0, len(keys)*len(chunkKey{}))
	for _, k := range keys {
		plain = append(plain, k[:]...)
	}
	return r.store.PutIfAbsent(ctx, r.object(name), b.seal(append([]byte(nil), b.header[:]...), plain, 0))
}

// condemned is what must not be hit, as of a time: what is to be deleted, and what is damaged.
type condemned struct {
	at   time.Time
	keys [][]chunkKey
}

func (c *condemned) has(k chunkKey) bool {
	return slices.ContainsFunc(c.keys, func(keys []chunkKey) bool {
		_, found := slices.BinarySearchFunc(keys, k, compareKeys)
		return found
	})
}

// condemnation keeps what is condemned for the writers of one process.
type condemnation struct {
	mu   sync.Mutex
	last *condemned
}

// condemned reads all lists that are not void, unless they were read within condemnedAge.
func (r *Repository) condemned(ctx context.Context) (*condemned, error) {
	r.condemnation.mu.Lock()
	defer r.condemnation.mu.Unlock()
	now := r.now()
	if last := r.condemnation.last; last != nil && passed(last.at, now) < condemnedAge {
		return last, nil
	}
	lists, damaged, err := r.listLists(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, l := range lists {
		if !l.published.IsZero() && !l.void(now, 2*grace) { // longer than collectors mind it: clocks differ
			names = append(names, l.name)
		}
	}
	for _, info := range damaged {
		names = append(names, strings.TrimPrefix(info.Key, r.object("")))
	}
	fresh := &condemned{at: now}
	for _, name := range names {
		keys, err := r.readCondemned(ctx, name)
		if isNotFound(err) || unreadable(name, err) { // it became void just now
			continue
		}
		if err != nil {
			return nil, err
		}
		fresh.keys = append(fresh.keys, keys)
	}
	r.condemnation.last = fresh
	return fresh, nil
}

// passed is how much time has passed at most, whether the machine slept (then the wall clock has
// gone on) or the wall clock was set (then the monotonic one tells).
func passed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

// hits guards the references of one writer to shared content until they are committed: it holds
// what is condemned, and the chunks it has used.
type hits struct {
	repo *Repository
	mu   sync.Mutex
	list *condemned // nil: no shared content was used
	used map[chunkKey]struct{}
}

// use returns the chunk as it may be used: of a generation that is not condemned.
func (h *hits) use(ctx context.Context, c chunk) (chunk, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.renew(ctx); err != nil {
		return c, err
	}
	for h.list.has(c.key()) {
		c.generation++
	}
	h.used[c.key()] = struct{}{}
	return c, nil
}

// check is asked before a commit: it fails if something that was used may be deleted by now.
func (h *hits) check(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.list == nil {
		return nil
	}
	return h.renew(ctx)
}

// renew reads the lists again once in sliceBound. Later than twice that, something may have been
// condemned, deleted and forgotten meanwhile: then what was not committed is void.
func (h *hits) renew(ctx context.Context) error {
	now := h.repo.now()
	if h.list != nil {
		age := passed(h.list.at, now)
		if age < sliceBound-condemnedAge {
			return nil
		}
		if age > 2*sliceBound {
			return tenantry.Errorf(tenantry.Transient, "shared content was not committed for %v, and may have been collected", age)
		}
	}
	list, err := h.repo.condemned(ctx)
	if err != nil {
		return err
	}
	if h.used == nil {
		h.used = map[chunkKey]struct{}{}
	}
	for k := range h.used {
		if list.has(k) {
			return tenantry.Errorf(tenantry.Transient, "chunk %s was condemned while it was used", k.chunk().name())
		}
	}
	h.list = list
	return nil
}

// parseChunkName is the inverse of chunk.name, for a key in the store.
func parseChunkName(key string) (chunkKey, bool) {
	name := key[strings.LastIndexByte(key, '/')+1:]
	hash, generation, ok := strings.Cut(name, ".")
	if !ok || len(hash) != 2*len(chunkHash{}) {
		return chunkKey{}, false
	}
	var c chunk
	for i := range c.hash {
		b, err := strconv.ParseUint(hash[2*i:2*i+2], 16, 8)
		if err != nil {
			return chunkKey{}, false
		}
		c.hash[i] = byte(b)
	}
	n, err := strconv.ParseUint(generation, 10, 32)
	if err != nil {
		return chunkKey{}, false
	}
	c.generation = uint32(n)
	return c.key(), true
}
