package engine_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/engine"
)

// wide is a mailbox whose folders may be asked for side by side.
type wide struct {
	script
	mu     sync.Mutex
	counts map[string]int // by collection
	arrive func()         // called within each page of a folder
}

func (w *wide) Quiet(collection, link string) bool { return collection != "" && link != "" }

func (w *wide) Page(ctx context.Context, collection, link string) (engine.Page, error) {
	if collection != "" && w.arrive != nil {
		w.arrive()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[collection]++
	return w.script.Page(ctx, collection, link)
}

// newWide is n folders that were read once, with a mail each.
func newWide(t *testing.T, n int) (*wide, *memory) {
	t.Helper()
	w := &wide{script: script{scoped: true, pages: map[string]func() (engine.Page, error){}}, counts: map[string]int{}}
	var folders []engine.Item
	for i := range n {
		id := fmt.Sprintf("f%02d", i)
		folders = append(folders, folder(id))
		w.pages[id+"|"] = listing("d0", mailIn("m"+id, id))
	}
	w.pages["|"] = listing("d0", folders...)
	m := newMemory()
	backup(t, w, m)
	w.counts = map[string]int{}
	return w, m
}

// TestQuietFoldersAreAskedSideBySide: of a mailbox at rest each folder is asked for once, four at a time.
func TestQuietFoldersAreAskedSideBySide(t *testing.T) {
	const folders, abreast = 12, 4
	w, m := newWide(t, folders)
	var mu sync.Mutex
	waiting, all := 0, make(chan struct{})
	w.arrive = func() { // nobody passes before four are there
		mu.Lock()
		if waiting++; waiting == abreast {
			close(all)
			waiting, all = 0, make(chan struct{})
			mu.Unlock()
			return
		}
		mine := all
		mu.Unlock()
		select {
		case <-mine:
		case <-time.After(time.Minute):
			t.Error("fewer than four folders are asked for at once")
		}
	}
	backup(t, w, m)
	want := map[string]int{"": 1}
	for i := range folders {
		want[fmt.Sprintf("f%02d", i)] = 1
	}
	if !maps.Equal(want, w.counts) {
		t.Errorf("asked %v", w.counts)
	}
}

// TestAMoveThatANeighbourMissed: a mail goes from the second folder to the first, which was asked for side by side
// with it, a moment too early. It is found in the same run, for one further request each.
func TestAMoveThatANeighbourMissed(t *testing.T) {
	w, m := newWide(t, 8)
	w.pages["f00|d0"] = then(once(engine.Page{Next: "d1", Done: true}), nil)
	w.pages["f00|d1"] = listing("d2", mailIn("mf01", "f00"))
	w.pages["f01|d0"] = removal("d1", "mf01")
	backup(t, w, m)
	wantIn(t, m, "mf01", "f00")
	if n := len(slices.DeleteFunc(slices.Clone(w.asked), func(key string) bool { return !strings.Contains(key, "|d") })); n > 24 {
		t.Errorf("%d requests: %v", n, w.counts)
	}
}
