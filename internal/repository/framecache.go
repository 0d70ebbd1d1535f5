package repository

import (
	"container/list"
	"context"
	"sync"

	"github.com/tenantry/tenantry/internal/tenantry"
)

type frameKey struct {
	pack  packID
	frame uint32
}

// frameCache keeps the frames of packs, or the blocks of segments, that were used last. Several that ask for one frame at the same time
// share one read. Safe for concurrent use.
type frameCache struct {
	limit int // frames

	mu    sync.Mutex
	order *list.List // of *cachedFrame, used last first
	at    map[frameKey]*list.Element
}

// cachedFrame is a frame that is or was in the cache.
//
//	claim: users + 1 --read--> ready ... release: users - 1
//	remove: gone; with the last user its buffer serves another one
type cachedFrame struct {
	key    frameKey
	ready  chan struct{} // closed when data or err is set
	data   []byte
	buffer *[]byte // that data is in, if it is used again
	err    error

	users int  // guarded by the cache's mu, as is gone
	gone  bool // it is not in the cache any more
}

func newFrameCache(limit int) *frameCache {
	return &frameCache{limit: limit, order: list.New(), at: map[frameKey]*list.Element{}}
}

// get returns the frame, reading it if it is not there. A failed read is not kept: those
// that waited for it read again themselves, under their own context.
func (c *frameCache) get(ctx context.Context, key frameKey, read func() ([]byte, error)) ([]byte, error) {
	f, mine := c.claim(key) // it is never released: the caller may keep what it has got
	return c.fill(ctx, f, mine, func() ([]byte, *[]byte, error) {
		data, err := read()
		return data, nil, err
	})
}

// use is get for a read that borrows a buffer, and a caller that looks at the frame only while look runs.
func (c *frameCache) use(ctx context.Context, key frameKey, read func() ([]byte, *[]byte, error), look func(data []byte) error) error {
	f, mine := c.claim(key)
	defer c.release(f)
	data, err := c.fill(ctx, f, mine, read)
	if err != nil {
		return err
	}
	return look(data)
}

func (c *frameCache) fill(ctx context.Context, f *cachedFrame, mine bool, read func() ([]byte, *[]byte, error)) ([]byte, error) {
	if mine {
		f.data, f.buffer, f.err = read()
		if f.err != nil {
			c.drop(f)
		}
		close(f.ready)
		return f.data, f.err
	}
	select {
	case <-f.ready:
	case <-ctx.Done():
		return nil, tenantry.E(tenantry.KindOf(ctx.Err()), "read a frame", ctx.Err())
	}
	if f.err != nil {
		data, _, err := read()
		return data, err
	}
	return f.data, nil
}

// claim returns the frame's place, and whether it is for the caller to fill.
func (c *frameCache) claim(key frameKey) (*cachedFrame, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.at[key]; ok {
		c.order.MoveToFront(at)
		f := at.Value.(*cachedFrame)
		f.users++
		return f, false
	}
	f := &cachedFrame{key: key, ready: make(chan struct{}), users: 1}
	c.at[key] = c.order.PushFront(f)
	if c.order.Len() > c.limit {
		c.remove(c.order.Back())
	}
	return f, true
}

// release says that a user of the frame does not look at it any more.
func (c *frameCache) release(f *cachedFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.users--
	f.recycle()
}

// recycle gives the buffer of a frame back that nobody can see any more. The caller holds the cache's mu.
func (f *cachedFrame) recycle() {
	if f.users == 0 && f.gone {
		giveBack(f.buffer)
		f.data, f.buffer = nil, nil
	}
}

func (c *frameCache) drop(f *cachedFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.at[f.key]; ok && at.Value == f {
		c.remove(at)
	}
}

func (c *frameCache) remove(at *list.Element) {
	f := at.Value.(*cachedFrame)
	delete(c.at, f.key)
	c.order.Remove(at)
	f.gone = true
	f.recycle()
}

func (c *frameCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.order.Len() > 0 {
		c.remove(c.order.Back())
	}
}
