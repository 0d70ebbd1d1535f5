package repository_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// chunkReads counts the chunks that are read from a store.
type chunkReads struct {
	blob.Store
	n atomic.Int64
}

func (c *chunkReads) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	if strings.Contains(key, "/c/") {
		c.n.Add(1)
	}
	return c.Store.Get(ctx, key, offset, n)
}

// TestOpenFrom reads contents, in a frame and in chunks, from bytes all over them: what comes is what lies behind, and
// chunks that end before it are not read.
func TestOpenFrom(t *testing.T) {
	t.Parallel()
	p := folder(t)
	store := &chunkReads{Store: p.store(t)}
	r := openOver(t, p, store)
	w := begin(t, r, 1, "task-1")
	contents := [][]byte{noise(1, 20<<20), noise(2, 1000), {}}
	e := repository.Entry{ID: "file", Kind: "file", Name: "disk.img"}
	for _, content := range contents {
		part, err := w.PutContent(t.Context(), bytes.NewReader(content))
		must(t, err)
		e.Parts = append(e.Parts, part)
	}
	must(t, w.Put(t.Context(), e))
	rd := snapshot(t, r, seal(t, w).Seq)
	for i, content := range contents {
		size := int64(len(content))
		for _, from := range []int64{0, 1, size / 3, size/2 + 12345, size - 1, size} {
			if from < 0 || from > size {
				continue
			}
			store.n.Store(0)
			body, err := rd.OpenFrom(t.Context(), e, e.Parts[i], from)
			must(t, err)
			got, err := io.ReadAll(body)
			must(t, err)
			must(t, body.Close())
			if !bytes.Equal(got, content[from:]) {
				t.Errorf("%d bytes came of a content of %d from %d on, and others than those", len(got), size, from)
			}
			// A chunk has 128 KiB at least, but for the last (docs/FORMAT.md); the one that from lies in is read, too.
			if reads := store.n.Load(); from == size && reads > 0 || i == 0 && reads > (size-from)/(128<<10)+2 {
				t.Errorf("%d chunks were read for the last %d bytes", reads, size-from)
			}
		}
		for _, from := range []int64{-1, size + 1} {
			_, err := rd.OpenFrom(t.Context(), e, e.Parts[i], from)
			wantKind(t, err, tenantry.Invalid)
		}
	}
	store.n.Store(0)
	whole, err := rd.Open(t.Context(), e, e.Parts[0])
	must(t, err)
	_, err = io.Copy(io.Discard, whole)
	must(t, err)
	must(t, whole.Close())
	all := store.n.Swap(0)
	half, err := rd.OpenFrom(t.Context(), e, e.Parts[0], 10<<20)
	must(t, err)
	_, err = io.Copy(io.Discard, half)
	must(t, err)
	must(t, half.Close())
	if n := store.n.Load(); n == 0 || n >= all {
		t.Errorf("%d chunks were read for the second half, and %d for the whole", n, all)
	}
}
