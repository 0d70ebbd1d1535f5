package repository

import (
	"bytes"
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
	ready  piece
	held   *[]byte         // that the piece is in which was yielded last
	ahead  chan chan piece // in order; nil if everything is ready
	cancel context.CancelFunc
	done   sync.WaitGroup
	err    error // why ahead was closed early; read after that
}

type piece struct {
	data   []byte
	buffer *[]byte // borrowed, that data is in
	err    error
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
				data, buffer, err := r.readChunk(ctx, c)
				answer <- piece{data, buffer, err}
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
// network may be a wrapped one.) It is valid until the call after.
func (p *pieces) next() ([]byte, error) {
	giveBack(p.held)
	p.held = nil
	got := p.ready
	p.ready = piece{}
	if p.ahead != nil {
		answer, ok := <-p.ahead
		if !ok {
			return nil, p.err
		}
		got = <-answer
	}
	p.held = got.buffer
	return got.data, got.err
}

// close leaves the piece that was yielded last alone: who streams may still look at it in another goroutine.
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
	digest *blake3.Hasher // nil: it does not begin at the first byte
	size   int64          // what was read, and lies before that
	skip   int64          // bytes at the front of the first piece that nobody asked for
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

// WriteTo implements io.WriterTo: what Read would give, without a copy of it. It returns nil only where Read would say io.EOF.
func (r *partReader) WriteTo(to io.Writer) (n int64, err error) {
	for {
		if len(r.rest) > 0 {
			m, err := to.Write(r.rest)
			n, r.rest = n+int64(m), r.rest[m:]
			if err != nil {
				return n, err
			}
			continue
		}
		if r.err == io.EOF { //nolint:errorlint // only io.EOF itself is an end; a wrapped one is a cut connection
			return n, nil
		}
		if r.err != nil {
			return n, r.err
		}
		r.fetch()
	}
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
	if r.digest != nil {
		_, _ = r.digest.Write(data)
	}
	r.size += int64(len(data))
	if r.skip > int64(len(data)) {
		r.err = r.rd.itemError(r.entry, tenantry.Errorf(tenantry.Corrupt, "part %q: fewer bytes are there than were stored", r.part.Name))
		return
	}
	r.rest, r.skip = data[r.skip:], 0
}

func (r *partReader) verify() error {
	same := r.size == r.part.Size
	if r.digest != nil {
		same = same && bytes.Equal(r.digest.Sum(nil), r.part.Digest)
		r.rd.repo.keys.hashers.Put(r.digest)
		r.digest = nil // nothing is read behind the end
	}
	if !same {
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
