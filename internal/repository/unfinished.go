package repository

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Stream stores one content that is too long for one call: what is stored of it can be committed under way, as the part of
// an entry, and another writer goes on from there. Not safe for concurrent use; calls of the writer may come between.
//
//	Stream(from) ──► Begin(all of it, from the first byte) ──► Store ──► Part ──► ... ──► Store says end ──► Part ──► Close
//	                                                             ▲         │
//	                                                             └─────────┘
type Stream struct {
	w      *Writer
	from   Part
	stored *pieces // what from has
	c      *cutting
}

// Stream begins to store a content, or goes on behind the part from, which the last commit has: what PutContent or
// Stream.Part returned. A zero part is nothing. It waits for a slot of the writer and keeps it until Close. ctx bounds
// what is read of what is stored. Corrupt: what is stored cannot be gone on with.
func (w *Writer) Stream(ctx context.Context, from Part) (*Stream, error) {
	w.life.RLock()
	defer w.life.RUnlock()
	if err := w.writable(); err != nil {
		return nil, err
	}
	s := &Stream{w: w, from: from, stored: &pieces{}}
	chunks := &chunkList{}
	if from.Size > 0 {
		if err := s.read(ctx, chunks); err != nil {
			return nil, w.repo.fail(w.series, err)
		}
	}
	var err error
	if s.c, err = w.newCutting(ctx, streamBounds(w.streams), chunks, w.repo.keys.hasher()); err != nil {
		s.stored.close()
		return nil, err
	}
	return s, nil
}

// read finds the chunks that are stored, and begins to read them.
func (s *Stream) read(ctx context.Context, chunks *chunkList) error {
	rd, err := s.w.repo.readerOf(s.w.series, s.w.head)
	if err != nil {
		return err
	}
	defer rd.Close()
	ref, err := rd.resolve(ctx, s.from.Ref)
	if err != nil {
		return err
	}
	for _, c := range ref.chunks {
		chunks.add(c)
	}
	if chunks.size != s.from.Size {
		return tenantry.Errorf(tenantry.Corrupt, "an unfinished content of %d bytes has chunks of %d", s.from.Size, chunks.size)
	}
	s.stored = readAhead(ctx, s.w.repo, ref.chunks)
	return nil
}

// Stored streams the bytes that are stored already, unchecked: Begin checks them.
func (s *Stream) Stored() io.Reader { return &piecesReader{pieces: s.stored} }

// Begin takes all of the content, from its first byte on. Those that are stored already are not stored
// again; Corrupt: they are not what was stored. An error of r is returned wrapped, with its own kind.
func (s *Stream) Begin(r io.Reader) error {
	buffer := borrow(frameSize)
	defer giveBack(buffer)
	n, err := io.CopyBuffer(onlyWriter{s.c.hasher}, onlyReader{io.LimitReader(r, s.from.Size)}, *buffer)
	switch {
	case err != nil:
		return fmt.Errorf("read content: %w", err)
	case n < s.from.Size || n > 0 && !bytes.Equal(s.c.hasher.Sum(nil), s.from.Digest):
		return tenantry.Errorf(tenantry.Corrupt, "read content: its first %d bytes are not those that were stored", s.from.Size)
	}
	return s.c.begin(r)
}

// Store stores what Begin was given until it ends, which it says, or enough says so, which is asked behind each chunk of
// up to 4 MiB with how many bytes are stored, of all. They are durable when it returns. Errors are those of
// PutContent: after one of r there is what was stored before, after any other nothing to do but Close.
func (s *Stream) Store(ctx context.Context, enough func(stored int64) bool) (end bool, err error) {
	s.w.life.RLock()
	defer s.w.life.RUnlock()
	if err := s.w.writable(); err != nil {
		return false, err
	}
	return s.c.store(ctx, enough)
}

// Part is what is stored so far: a part of its own, that ends where Store has. Its name is the caller's to set.
func (s *Stream) Part(ctx context.Context) (Part, error) {
	s.w.life.RLock()
	defer s.w.life.RUnlock()
	if err := s.w.writable(); err != nil {
		return Part{}, err
	}
	ref, err := s.w.refTo(ctx, s.c.chunks, 0)
	return Part{Size: s.c.chunks.size, Digest: s.c.digest(), Ref: ref}, err
}

// Close gives back what the stream holds. It may be called twice.
func (s *Stream) Close() {
	s.stored.close()
	s.c.end()
}

// piecesReader streams pieces.
type piecesReader struct {
	pieces *pieces
	rest   []byte
}

// Read implements io.Reader.
func (r *piecesReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.rest) == 0 {
		piece, err := r.pieces.next()
		if err != nil {
			return 0, err
		}
		if len(piece) == 0 {
			return 0, io.EOF
		}
		r.rest = piece
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// onlyReader and onlyWriter hide what else their values can do: io.CopyBuffer has to use its buffer.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)
