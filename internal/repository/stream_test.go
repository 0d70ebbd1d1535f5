package repository_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// slab is a stream of n bytes that are never all in memory: a megabyte of noise, over and over, each
// time with its number in it so that no two are the same.
type slab struct {
	block []byte
	n     int64
	at    int64
}

func newSlab(n int64) *slab {
	s := &slab{block: make([]byte, 1<<20), n: n}
	_, _ = rand.NewChaCha8([32]byte{1}).Read(s.block)
	return s
}

func (s *slab) Read(p []byte) (int, error) {
	if s.at == s.n {
		return 0, io.EOF
	}
	off := s.at % int64(len(s.block))
	if off == 0 {
		for i := range 8 {
			s.block[i*131072] = byte(s.at >> 20 >> (8 * i))
		}
	}
	n := copy(p[:min(int64(len(p)), s.n-s.at)], s.block[off:])
	s.at += int64(n)
	return n, nil
}

// discard is a store that keeps everything but chunks, of which it knows that they are there.
type discard struct {
	blob.Store
	mu     sync.Mutex
	chunks int64
	bytes  int64
	peak   int64
	base   int64
}

func (d *discard) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	if !strings.Contains(key, "/c/") {
		return d.Store.PutIfAbsent(ctx, key, body)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bytes += int64(len(body))
	if d.chunks++; d.chunks%256 == 0 {
		d.peak = max(d.peak, heap()-d.base)
	}
	return nil
}

// A file of any size streams: what is held is buffers and 60 bytes for each chunk, which is 12 MB
// for 100 GB.
func TestLargeFileStreams(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: streams 1 GiB")
	}
	p := folder(t)
	store := &discard{Store: p.store(t)}
	r := openOver(t, p, store)
	w := begin(t, r, 1, "task-1")
	store.base = heap()
	const size = 1 << 30
	part, err := w.PutContent(t.Context(), newSlab(size))
	must(t, err)
	if part.Size != size || store.bytes < size || store.chunks < 256 {
		t.Errorf("%d bytes are said, %d were stored in %d chunks", part.Size, store.bytes, store.chunks)
	}
	text, err := part.Ref.MarshalBinary()
	must(t, err)
	if len(text) > 4096 {
		t.Errorf("the reference takes %d bytes", len(text))
	}
	if store.peak > 96<<20 || store.peak == 0 {
		t.Errorf("%d MB in use", store.peak>>20)
	}
}

// What is kept of each part is the keyed digest of all its bytes, however they are stored.
func TestDigests(t *testing.T) {
	t.Parallel()
	w := begin(t, folder(t).open(t), 1, "task-1")
	seen := map[string]int{}
	for _, n := range []int{0, 1, 127 << 10, 128 << 10, 3 << 20} {
		body := noise(5, n)
		first, err := w.PutContent(t.Context(), bytes.NewReader(body))
		must(t, err)
		again, err := w.PutContent(t.Context(), io.MultiReader(bytes.NewReader(body[:n/3]), bytes.NewReader(body[n/3:])))
		must(t, err)
		plain := blake3.Sum256(body)
		if len(first.Digest) != 32 || !bytes.Equal(first.Digest, again.Digest) || bytes.Equal(first.Digest, plain[:]) {
			t.Errorf("%d bytes: digests %x and %x", n, first.Digest, again.Digest)
		}
		if other, twice := seen[string(first.Digest)]; twice {
			t.Errorf("%d and %d bytes have the same digest", n, other)
		}
		seen[string(first.Digest)] = n
	}
}

// Damage to a segment of the index is told as such, by whoever needs it, and names the object.
func TestDamagedSegment(t *testing.T) {
	t.Parallel()
	p := folder(t)
	r := p.open(t)
	w := begin(t, r, 1, "task-1")
	for i := range 600 {
		e := message(t, w, i)
		e.ETag = string(bytes.Repeat([]byte{byte('a' + i%26)}, 1000))
		must(t, w.Put(t.Context(), e))
	}
	seq := seal(t, w).Seq
	store := p.store(t)
	damaged := 0
	for _, o := range objects(t, store) {
		if !strings.Contains(o.Key, "/s/") {
			continue
		}
		body, err := blob.ReadAll(t.Context(), store, o.Key, 1<<30)
		must(t, err)
		body[40] ^= 1
		must(t, store.Put(t.Context(), o.Key, body))
		damaged++
	}
	if damaged == 0 {
		t.Fatal("there is no segment")
	}
	rd := snapshot(t, r, seq)
	_, _, err := rd.Lookup(t.Context(), messageID(0))
	wantKind(t, err, tenantry.Corrupt)
	if !strings.Contains(err.Error(), "/s/") {
		t.Errorf("the object is not named: %v", err)
	}
	for _, err = range rd.Entries(t.Context()) {
		if err != nil {
			break
		}
	}
	wantKind(t, err, tenantry.Corrupt)
	_, err = r.Check(t.Context(), mailbox, seq, func(repository.Problem) {})
	wantKind(t, err, tenantry.Corrupt)
}
