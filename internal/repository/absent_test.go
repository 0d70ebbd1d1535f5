package repository_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
)

// What a writer remembers to be nowhere is there as soon as it is put, and is gone when it is removed, whether the
// changes are in memory, in a run or committed.
func TestLookupsFollowChanges(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "keys.json")
	rapid.Check(t, func(t *rapid.T) {
		ring, err := repository.OpenKeyFile(keyFile, true)
		must(t, err)
		repo, err := repository.Open(context.Background(), blobtest.NewMemory(), ring, tenant)
		must(t, err)
		w, err := repo.Begin(context.Background(), mailbox, repository.Fence{Epoch: 1, Task: "t"})
		must(t, err)
		defer w.Close()
		there := map[string]string{}
		look := func(id string) {
			e, ok, err := w.Lookup(context.Background(), id)
			must(t, err)
			if name, want := there[id]; ok != want || ok && e.Name != name {
				t.Fatalf("%s: %v %q, expected %v %q", id, ok, e.Name, want, name)
			}
		}
		pick := func(t *rapid.T) string { return fmt.Sprint("id ", rapid.IntRange(0, 400).Draw(t, "id")) }
		t.Repeat(map[string]func(*rapid.T){
			"look": func(t *rapid.T) { look(pick(t)) },
			"look at a page and put it": func(t *rapid.T) {
				first, n := rapid.IntRange(0, 300).Draw(t, "first"), rapid.IntRange(1, 300).Draw(t, "n")
				for i := range n {
					look(fmt.Sprint("id ", first+i))
				}
				name := rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "name")
				for i := range n {
					id := fmt.Sprint("id ", first+i)
					must(t, w.Put(context.Background(), repository.Entry{ID: id, Name: name}))
					there[id] = name
					look(id)
				}
			},
			"remove": func(t *rapid.T) {
				id := pick(t)
				must(t, w.Remove(context.Background(), id))
				delete(there, id)
				look(id)
			},
			"commit": func(t *rapid.T) { must(t, w.Checkpoint(context.Background())) },
		})
		sealed, err := w.Seal(context.Background(), noon)
		must(t, err)
		if got, want := sealed.Counts.Items, int64(len(there)); got != want {
			t.Fatalf("%d items are counted, %d are there", got, want)
		}
	})
}
