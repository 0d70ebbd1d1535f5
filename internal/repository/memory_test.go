package repository

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// However many writers a process has, their packs together stay within the bound, and none of it is still
// counted when they are closed, whether they have committed or not.
func TestWritersShareTheMemoryOfPacks(t *testing.T) {
	repo := testRepository(t)
	const writers, each = 40, 3 << 20 // less than a pack: by themselves they would hold all of it
	before := packBytes.Load()
	random := rand.NewChaCha8([32]byte{7})
	content := make([]byte, 64<<10)
	var all []*Writer
	most := int64(0)
	for i := range writers {
		s := testSeries
		s.Resource = tenantry.ResourceID(fmt.Sprint("u-", i))
		w, err := repo.Begin(t.Context(), s, Fence{Epoch: 1, Task: "task"})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		all = append(all, w)
	}
	for range each / len(content) {
		for _, w := range all {
			_, _ = random.Read(content) // never fails
			if _, err := w.PutPayload(t.Context(), content); err != nil {
				t.Fatal(err)
			}
			most = max(most, packBytes.Load()-before)
		}
	}
	const bound = processPacks + writers*(earlyPack+frameSize)
	if most > bound || most < processPacks/2 {
		t.Errorf("the writers held up to %d MiB of packs, the bound is %d", most>>20, bound>>20)
	}
	for i, w := range all {
		if i%2 == 0 {
			if err := w.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
	}
	if left := packBytes.Load() - before; left != 0 {
		t.Errorf("%d bytes are still counted", left)
	}
}
