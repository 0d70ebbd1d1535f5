//go:build proof

package proof

import (
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
)

// noisy is a stream of n bytes no two megabytes of which are the same.
type noisy struct {
	block []byte
	n, at int64
}

func (s *noisy) Read(p []byte) (int, error) {
	if s.at == s.n {
		return 0, io.EOF
	}
	off := s.at % int64(len(s.block))
	if off == 0 {
		for i := 0; i < len(s.block); i += 64 << 10 {
			binary.BigEndian.PutUint64(s.block[i:], uint64(s.at))
		}
	}
	n := copy(p[:min(int64(len(p)), s.n-s.at)], s.block[off:])
	s.at += int64(n)
	return n, nil
}

// sink keeps all but chunks, and notes from time to time what is in use while they come.
type sink struct {
	blob.Store
	mu      sync.Mutex
	chunks  int64
	bytes   int64
	highest []int64 // bytes of heap in use, the most in each gigabyte
}

func (s *sink) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	if !strings.Contains(key, "/c/") {
		return s.Store.PutIfAbsent(ctx, key, body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += int64(len(body))
	if s.chunks++; s.chunks%128 == 0 {
		for int64(len(s.highest)) <= s.bytes>>30 {
			s.highest = append(s.highest, 0)
		}
		s.highest[len(s.highest)-1] = max(s.highest[len(s.highest)-1], inUse())
	}
	return nil
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What is held of a file while it streams are buffers, and 40 bytes for each chunk of half a megabyte: of 100 GB that is
// 8 MB. Here the buffers are seen to stay as they are over many gigabytes.
func TestLargeFileStreams(t *testing.T) {
	const size = 6 << 30
	s := &sink{Store: blobtest.NewMemory()}
	repo, err := repository.Open(t.Context(), s, keyring, tenant)
	must(t, err)
	w, err := repo.Begin(t.Context(), alice, repository.Fence{Epoch: 1, Task: "large"})
	must(t, err)
	defer w.Close()
	base, begun := inUse(), time.Now()
	part, err := w.PutContent(t.Context(), &noisy{block: []byte(string(noise(1, 1<<20))), n: size})
	must(t, err)
	if part.Size != size || s.bytes < size {
		t.Fatalf("%d bytes are said, %d were stored", part.Size, s.bytes)
	}
	t.Logf("%d chunks in %v; in use, in each gigabyte: %d MB", s.chunks, time.Since(begun), megabytes(s.highest, base))
	for i, high := range s.highest {
		if high-base > 64<<20 {
			t.Errorf("in gigabyte %d %d MB are in use", i, (high-base)>>20)
		}
	}
	if text, err := part.Ref.MarshalBinary(); err != nil || len(text) > 4096 {
		t.Errorf("the reference takes %d bytes, %v", len(text), err)
	}
}

func megabytes(of []int64, base int64) []int64 {
	out := make([]int64, len(of))
	for i, n := range of {
		out[i] = (n - base) >> 20
	}
	return out
}
