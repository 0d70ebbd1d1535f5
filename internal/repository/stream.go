package repository

import (
	"bytes"
	"container/list"
	"context"
	"io"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// chunkReads is how many chunks of one stream are read at once: up to 4 MiB each.
	chunkReads = 4
	// cachedFrames is how many frames of 1 MiB a Reader keeps.
	cachedFrames = 24
)

// pieces yields content in order: one piece that is ready, or chunks that are read ahead.
// Not safe for concurrent use.
type pieces struct {
	ready  []byte
	ahead  chan chan piece // in order; nil if everything is ready
	cancel context.CancelFunc
	done   sync.WaitGroup
	err    error // why ahead was closed early; read after that
}

type piece struct {
	data []byte
	err  error
}

// readAhead starts reading chunks, a few at once. close ends it.
func readAhead(ctx context.Context, r *Repository, chunks []chunk) *pieces {
	ctx, cancel := context.WithCancel(ctx)
	// One is being consumed and one waits at the channel, beside those in it.
	p := &pieces{ahead: make(chan chan piece, chunkReads-2), cancel: cancel}
	p.done.Go(func() {
		defer close(p.ahead)
		for _, c := range chunks {
			answer := make(chan piece, 1)
			p.done.Go(func() {
				data, err := r.readChunk(ctx, c)
				answer <- piece{data, err}
			})
			select {
			case p.ahead <- answer:
			case <-ctx.Done():
				p.err = tenantry.E(tenantry.KindOf(ctx.Err()), "read content", ctx.Err())
				return
			}
		}
	})
	return p
}

// next returns the next piece, or nothing after the last. (Not io.EOF: an error of the
// network may be a wrapped one.)
func (p *pieces) next() ([]byte, error) {
	if p.ahead == nil {
		data := p.ready
		p.ready = nil
		return data, nil
	}
	answer, ok := <-p.ahead
	if !ok {
		return nil, p.err
	}
	got := <-answer
	return got.data, got.err
}

func (p *pieces) close() {
	if p.cancel != nil {
		p.cancel()
		p.done.Wait()
	}
}

// partReader streams a part and checks its digest and size before it says io.EOF.
type partReader struct {
	rd     *Reader
	entry  Entry
	part   Part
	pieces *pieces
	digest *blake3.Hasher
	size   int64
	rest   []byte
	err    error
}

func (r *partReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.fetch()
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// fetch takes the next piece, or notes why there is none.
func (r *partReader) fetch() {
	data, err := r.pieces.next()
	switch {
	case err != nil:
		r.err = r.rd.itemError(r.entry, err)
		return
	case len(data) == 0:
		r.err = r.verify()
		return
	}
	_, _ = r.digest.Write(data)
	r.size += int64(len(data))
	r.rest = data
}

func (r *partReader) verify() error {
	if r.size != r.part.Size || !bytes.Equal(r.digest.Sum(nil), r.part.Digest) {
		return r.rd.itemError(r.entry, tenantry.Errorf(tenantry.Corrupt,
			"part %q: %d bytes were read that are not the %d bytes that were stored", r.part.Name, r.size, r.part.Size))
	}
	return io.EOF
}

// Close implements io.Closer. It may be called twice.
func (r *partReader) Close() error {
	r.pieces.close()
	if r.err == nil {
		r.err = tenantry.Errorf(tenantry.Canceled, "read a stream that is closed")
	}
	r.rest = nil
	return nil
}

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

type cachedFrame struct {
	key   frameKey
	ready chan struct{} // closed when data or err is set
	data  []byte
	err   error
}

func newFrameCache(limit int) *frameCache {
	return &frameCache{limit: limit, order: list.New(), at: map[frameKey]*list.Element{}}
}

// get returns the frame, reading it if it is not there. A failed read is not kept: those
// that waited for it read again themselves, under their own context.
func (c *frameCache) get(ctx context.Context, key frameKey, read func() ([]byte, error)) ([]byte, error) {
	f, mine := c.claim(key)
	if mine {
		f.data, f.err = read()
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
		return read()
	}
	return f.data, nil
}

// claim returns the frame's place, and whether it is for the caller to fill.
func (c *frameCache) claim(key frameKey) (*cachedFrame, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.at[key]; ok {
		c.order.MoveToFront(at)
		return at.Value.(*cachedFrame), false
	}
	f := &cachedFrame{key: key, ready: make(chan struct{})}
	c.at[key] = c.order.PushFront(f)
	if c.order.Len() > c.limit {
		c.remove(c.order.Back())
	}
	return f, true
}

func (c *frameCache) drop(f *cachedFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.at[f.key]; ok && at.Value == f {
		c.remove(at)
	}
}

func (c *frameCache) remove(at *list.Element) {
	delete(c.at, at.Value.(*cachedFrame).key)
	c.order.Remove(at)
}

func (c *frameCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order.Init()
	clear(c.at)
}
