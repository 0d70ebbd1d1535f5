package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	_ "github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc" // registers the algorithm below
	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Chunk boundaries. Changing any of these, or the version of the chunker, stores all
// content anew on the next change: nothing breaks, but nothing is shared with the past.
const (
	chunkAlgorithm = "fastcdc-v1.0.0"
	minChunk       = 128 << 10
	averageChunk   = 512 << 10
	maxChunk       = 4 << 20
	// wholeContent is above averageChunk, as every buffer of the chunker has to be, and a size of bufferSizes.
	wholeContent = frameSize
)

const (
	// maxRefChunks is how many chunks a Ref names itself; more go into a stored list.
	maxRefChunks = 64
	// maxDepth bounds lists of lists: three levels are more than 10^15 bytes.
	maxDepth = 3
	// chunkUploads and contentStreams bound the memory of one writer: so many chunks of up
	// to 4 MiB (plain and sealed) on their way, so many buffers of 8 MiB being cut.
	chunkUploads   = 4
	contentStreams = 4
	// chunkTries bounds how often one chunk is looked for and written.
	chunkTries = 4
)

// PutContent streams separate content: below 128 KiB into the pack, above as shared chunks,
// which are durable when it returns. Memory is bounded whatever the size. Returns reference,
// digest and size; the name is the caller's to set. An error of r is returned wrapped, with
// its own kind.
func (w *Writer) PutContent(ctx context.Context, r io.Reader) (Part, error) {
	w.life.RLock()
	defer w.life.RUnlock()
	if err := w.writable(); err != nil {
		return Part{}, err
	}
	begin := borrow(smallContent)
	defer giveBack(begin)
	n, err := readUpTo(r, *begin)
	if err != nil {
		return Part{}, fmt.Errorf("read content: %w", err)
	}
	if n < smallContent {
		digest := w.repo.keys.chunkHash((*begin)[:n])
		part := Part{Size: int64(n), Digest: digest[:]}
		part.Ref, err = w.putOnce(ctx, (*begin)[:n], digest)
		return part, err
	}
	hasher := w.repo.keys.borrowHasher()
	defer w.repo.keys.hashers.Put(hasher)
	chunks, digest, err := w.putChunks(ctx, streamBounds(w.streams), io.MultiReader(bytes.NewReader((*begin)[:n]), r), hasher)
	if err != nil {
		return Part{}, err
	}
	ref, err := w.refTo(ctx, chunks, 0)
	return Part{Size: chunks.size, Digest: digest, Ref: ref}, err
}

// PutPayload stores a payload (an item's raw bytes) in the current pack; one of 128 KiB
// and more becomes shared chunks as content does.
func (w *Writer) PutPayload(ctx context.Context, b []byte) (Ref, error) {
	w.life.RLock()
	defer w.life.RUnlock()
	if err := w.writable(); err != nil {
		return Ref{}, err
	}
	return w.putBytes(ctx, b)
}

func (w *Writer) putBytes(ctx context.Context, b []byte) (Ref, error) {
	if len(b) < smallContent {
		return w.putSmall(ctx, payloadLane, b)
	}
	chunks, _, err := w.putChunks(ctx, streamBounds(w.streams), bytes.NewReader(b), nil)
	if err != nil {
		return Ref{}, err
	}
	return w.refTo(ctx, chunks, 0)
}

// refTo returns a Ref to the chunks, storing their list first if it is long.
func (w *Writer) refTo(ctx context.Context, chunks *chunkList, depth uint8) (Ref, error) {
	for chunks.n > maxRefChunks {
		if depth++; depth > maxDepth {
			return Ref{}, tenantry.Errorf(tenantry.Invalid, "content is too large: %d lists deep", depth)
		}
		list := chunks.encoded()
		begin := make([]byte, smallContent)
		n, err := readUpTo(list, begin)
		if err != nil {
			return Ref{}, err
		}
		if n < smallContent {
			ref, err := w.putSmall(ctx, contentLane, begin[:n])
			ref.depth = depth
			return ref, err
		}
		if chunks, _, err = w.putChunks(ctx, listBounds(w.lists), io.MultiReader(bytes.NewReader(begin), list), nil); err != nil {
			return Ref{}, err
		}
	}
	return Ref{chunks: chunks.flat(), depth: depth}, nil
}

// bounds are the slots, of a writer and of the process, that a content takes while it is cut.
type bounds struct{ own, process chan struct{} }

func streamBounds(own chan struct{}) bounds { return bounds{own, streamSlots} }

// listBounds are those of lists of chunks, which are stored while a content still holds its own.
func listBounds(own chan struct{}) bounds { return bounds{own, listSlots} }

// putChunks cuts r into chunks, stores those that the tenant does not have yet, and returns the digest of all of them, if
// there is what makes one.
func (w *Writer) putChunks(ctx context.Context, within bounds, r io.Reader, hasher *blake3.Hasher) (*chunkList, []byte, error) {
	c, err := w.newCutting(ctx, within, &chunkList{}, hasher)
	if err != nil {
		return nil, nil, err
	}
	defer c.end()
	if err := c.beginAny(r); err != nil {
		return nil, nil, err
	}
	if _, err := c.store(ctx, nil); err != nil {
		return nil, nil, err
	}
	return c.chunks, c.digest(), nil
}

// cutting is one content that is being cut into chunks. Not safe for concurrent use.
type cutting struct {
	w       *Writer
	chunks  *chunkList
	hasher  *blake3.Hasher // of the chunks, but for one that is the whole content; nil: nobody asks
	source  *endReader
	read    int64 // bytes of the chunks that did not come from source
	cutter  *chunkers.Chunker
	buffer  *[]byte // of the cutter
	whole   *[]byte // of a content that was read before it is cut, or its beginning
	release func()
}

// newCutting waits for a slot; end gives it back.
func (w *Writer) newCutting(ctx context.Context, within bounds, chunks *chunkList, hasher *blake3.Hasher) (*cutting, error) {
	release, err := acquireBoth(ctx, within.own, within.process)
	if err != nil {
		return nil, err
	}
	return &cutting{w: w, chunks: chunks, hasher: hasher, read: chunks.size, release: release}, nil
}

// begin says where what follows the chunks comes from.
func (c *cutting) begin(r io.Reader) error { return c.beginIn(maxChunk, r) }

// beginAny is begin where r is often short, as attachments are: one that ends within wholeContent is read first and cut in a
// buffer that holds it, and not in one of maxChunk.
func (c *cutting) beginAny(r io.Reader) error {
	c.whole = borrow(wholeContent)
	n, err := readUpTo(r, (*c.whole)[:wholeContent])
	if err != nil {
		return fmt.Errorf("read content: %w", err)
	}
	if n < wholeContent {
		return c.beginIn(wholeContent, bytes.NewReader((*c.whole)[:n]))
	}
	return c.begin(io.MultiReader(&beginning{cutting: c, rest: *c.whole}, r))
}

// beginning reads what was read ahead of a longer content, and gives its buffer back behind the last byte.
type beginning struct {
	*cutting
	rest []byte
}

// Read implements io.Reader.
func (b *beginning) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		giveBack(b.whole)
		b.whole = nil
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// beginIn is begin with a buffer of so many bytes. A content that is no longer is cut as it is in any larger one: the
// chunker looks at the end of its buffer only where that comes before the content's.
func (c *cutting) beginIn(size int, r io.Reader) (err error) {
	c.buffer = borrow(int64(size))
	c.source = &endReader{r: r}
	c.cutter, err = chunkers.NewChunkerBuffer(chunkAlgorithm, c.source,
		&chunkers.ChunkerOpts{MinSize: minChunk, NormalSize: averageChunk, MaxSize: size, Key: c.w.repo.keys.gear}, (*c.buffer)[:size])
	if err != nil {
		return tenantry.E(tenantry.Internal, "make a chunker", err)
	}
	return nil
}

// digest is that of all chunks so far, nil if nobody asked for it. One chunk's is in its name: both are BLAKE3 keyed by
// the tenant.
func (c *cutting) digest() []byte {
	if c.hasher == nil {
		return nil
	}
	if c.chunks.n == 1 {
		for only := range c.chunks.all() {
			return bytes.Clone(only.hash[:])
		}
	}
	return c.hasher.Sum(nil)
}

func (c *cutting) end() {
	if c.release != nil {
		giveBack(c.buffer)
		giveBack(c.whole)
		c.buffer, c.whole = nil, nil
		c.release()
		c.release = nil
	}
}

// store stores chunks, a few at a time, until the content ends (then it returns true) or there are enough: that is asked
// behind each chunk, of all of them; nil: never. It returns when all that it has cut are durable. On an error it waits
// for those under way.
func (c *cutting) store(ctx context.Context, enough func(size int64) bool) (end bool, err error) {
	w := c.w
	group, ctx := errgroup.WithContext(ctx)
	for !end {
		piece, readErr := c.cutter.Next()
		end = readErr == io.EOF //nolint:errorlint // only io.EOF itself is an end; a wrapped one is a cut connection
		if readErr != nil && !end {
			err = fmt.Errorf("read content: %w", readErr)
			break
		}
		if len(piece) == 0 {
			continue
		}
		var release func()
		if release, err = acquireBoth(ctx, w.chunks, chunkSlots); err != nil {
			break
		}
		stored := c.chunks.add(chunk{size: uint32(len(piece))})
		end = end || c.source.gave(c.chunks.size-c.read)
		if c.hasher != nil && (!end || c.chunks.n > 1) {
			_, _ = c.hasher.Write(piece)
		}
		if end { // nothing is read over it any more: it is stored from where it lies
			err = w.storeChunk(ctx, stored, piece)
			release()
			break
		}
		plain := borrow(int64(len(piece)))
		n := copy(*plain, piece)
		group.Go(func() error {
			defer release()
			defer giveBack(plain)
			return w.storeChunk(ctx, stored, (*plain)[:n])
		})
		if enough != nil && enough(c.chunks.size) {
			break
		}
	}
	if waitErr := group.Wait(); waitErr != nil {
		err = waitErr // the first cause; what the loop saw is its echo
	}
	return end && err == nil, err
}

// storeChunk fills in c's name and stores it unless it is there already.
func (w *Writer) storeChunk(ctx context.Context, c *chunk, plain []byte) error {
	c.hash = w.repo.keys.chunkHash(plain)
	var err error
	if *c, err = w.hits.use(ctx, *c); err != nil {
		return err
	}
	var object []byte
	var buffer *[]byte
	var last error
	for try := range chunkTries {
		if err := pause(ctx, try); err != nil {
			return err
		}
		info, err := w.repo.store.Stat(ctx, w.repo.object(c.name()))
		if err == nil {
			if info.Size <= headerSize+frameOverhead {
				return tenantry.Errorf(tenantry.Corrupt, "object %s: it has only %d bytes", info.Key, info.Size)
			}
			if err = blob.Retain(ctx, w.repo.store, info.Key); err == nil { // its lock has to cover this snapshot too
				return nil
			}
		}
		if errors.Is(err, blob.ErrNotFound) {
			if object == nil {
				if object, buffer, err = w.repo.sealChunk(*c, plain); err != nil {
					return err
				}
			}
			err = w.repo.store.PutIfAbsent(ctx, w.repo.object(c.name()), object)
			if err == nil {
				w.stored.Add(int64(len(object)))
				giveBack(buffer) // only now: what failed may still be on its way
				return nil
			}
			if errors.Is(err, blob.ErrExists) {
				return nil // another series has just stored the same
			}
		}
		if tenantry.KindOf(err) != tenantry.Transient || ctx.Err() != nil {
			return err
		}
		last = err
	}
	return last
}

// putOnce is putSmall for content that may have come before.
func (w *Writer) putOnce(ctx context.Context, b []byte, digest [32]byte) (Ref, error) {
	if ref, ok := w.recent.find(digest); ok {
		return ref, nil
	}
	ref, err := w.putSmall(ctx, laneOf(b), b)
	if err == nil && len(b) >= minRepeated {
		w.recent.add(digest, ref)
	}
	return ref, err
}

// putSmall appends to the current pack, cutting it when it is full. It waits while two
// packs are on their way already.
func (w *Writer) putSmall(ctx context.Context, l lane, b []byte) (Ref, error) {
	if len(b) == 0 {
		return Ref{}, nil
	}
	w.packing.Lock()
	defer w.packing.Unlock()
	p, err := w.currentPack()
	if err != nil {
		return Ref{}, err
	}
	ref := p.add(l, b)
	if p.full() {
		return ref, w.cut(ctx, nil, 0)
	}
	return ref, nil
}

// sealChunk returns the object of a chunk, in a borrowed buffer.
func (r *Repository) sealChunk(c chunk, plain []byte) (object []byte, buffer *[]byte, err error) {
	b, err := r.keys.newBox(c.name(), kindChunk)
	if err != nil {
		return nil, nil, err
	}
	object, buffer = b.sealBorrowed(contentEncoder(), b.header[:], plain, 0)
	return object, buffer, nil
}

// readChunk reads one chunk into a borrowed buffer, and checks that it is what its name says.
func (r *Repository) readChunk(ctx context.Context, c chunk) (plain []byte, buffer *[]byte, err error) {
	buffer = borrow(int64(c.size))
	if plain, err = r.openChunk(ctx, c, *buffer); err != nil {
		giveBack(buffer)
		return nil, nil, objectError(r.object(c.name()), err)
	}
	return plain, buffer, nil
}

// openChunk is readChunk into a buffer that has room for it.
func (r *Repository) openChunk(ctx context.Context, c chunk, into []byte) ([]byte, error) {
	buffer := borrow(int64(c.size) + int64(c.size)/64 + 1024)
	defer giveBack(buffer)
	body, err := blob.ReadInto(ctx, r.store, r.object(c.name()), *buffer)
	if tenantry.KindOf(err) == tenantry.Invalid { // another object is in its place
		return nil, tenantry.E(tenantry.Corrupt, "it is not of the size that was stored", err)
	}
	if err != nil {
		return nil, missing(err)
	}
	if len(body) < headerSize {
		return nil, tenantry.Errorf(tenantry.Corrupt, "it is cut short at %d bytes", len(body))
	}
	b, err := r.keys.openBox(c.name(), kindChunk, body[:headerSize])
	if err != nil {
		return nil, err
	}
	plain, err := b.openInto(into, body[headerSize:], 0, maxChunk)
	if err != nil {
		return nil, err
	}
	if len(plain) != int(c.size) || r.keys.chunkHash(plain) != c.hash {
		return nil, tenantry.Errorf(tenantry.Corrupt, "it does not hold the bytes that its name says")
	}
	return plain, nil
}

// hasher returns BLAKE3 keyed by the tenant.
func (k *keys) hasher() *blake3.Hasher {
	h, err := blake3.NewKeyed(k.hash)
	if err != nil {
		panic("repository: BLAKE3 refuses a key of 32 bytes: " + err.Error())
	}
	return h
}

// borrowHasher is hasher for one that is put into hashers when it is done with.
func (k *keys) borrowHasher() *blake3.Hasher {
	h, ok := k.hashers.Get().(*blake3.Hasher)
	if !ok {
		return k.hasher()
	}
	h.Reset()
	return h
}

func (k *keys) chunkHash(plain []byte) (sum chunkHash) {
	h := k.borrowHasher()
	_, _ = h.Write(plain)
	h.Sum(sum[:0])
	k.hashers.Put(h)
	return sum
}

// readUpTo fills p unless r ends before. Unlike io.ReadFull it tells an end from a cut
// connection, which readers report as io.ErrUnexpectedEOF.
func readUpTo(r io.Reader, p []byte) (int, error) {
	n, empty := 0, 0
	for n < len(p) {
		m, err := r.Read(p[n:])
		n += m
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if m > 0 {
			empty = 0
		} else if empty++; empty > 100 {
			return n, io.ErrNoProgress
		}
	}
	return n, nil
}

// endReader notes how much a reader gave, and whether that was all. For one goroutine.
type endReader struct {
	r   io.Reader
	n   int64
	end bool
}

func (r *endReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.n += int64(n)
	r.end = r.end || err == io.EOF
	return n, err
}

// gave reports whether so many bytes were all there are.
func (r *endReader) gave(n int64) bool { return r.end && r.n == n }

// acquire takes a slot and returns how to give it back.
func acquire(ctx context.Context, slots chan struct{}) (release func(), err error) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, tenantry.E(tenantry.KindOf(ctx.Err()), "store content", ctx.Err())
	}
}
