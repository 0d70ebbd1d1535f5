package catalog

import (
	"context"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// A question that the database refuses fails nobody who asked beside it; what is away fails all.
func TestBatcherAnswersEachAlone(t *testing.T) {
	for kind, expected := range map[tenantry.Kind]int{tenantry.Internal: 1, tenantry.Shared: 20} {
		begin, first := make(chan struct{}), make(chan struct{})
		var once sync.Once
		b := &batcher[int, int]{parent: newCatalog(nil, nil, nil)}
		b.answer = func(_ context.Context, asked []int) ([]reply[int], error) {
			once.Do(func() { close(first); <-begin }) // the others gather meanwhile
			replies := make([]reply[int], len(asked))
			for i, n := range asked {
				if n == 7 {
					return nil, tenantry.Errorf(kind, "refused")
				}
				replies[i].value = 2 * n
			}
			return replies, nil
		}
		var group sync.WaitGroup
		group.Go(func() { _, _ = b.ask(t.Context(), asking{}, -1) })
		<-first
		var mu sync.Mutex
		failed := 0
		for n := range 20 {
			group.Go(func() {
				got, err := b.ask(t.Context(), asking{}, n)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed++
				} else if got != 2*n {
					t.Errorf("%d was answered with %d", n, got)
				}
			})
		}
		for waiting := 0; waiting < 20; {
			b.mu.Lock()
			waiting = len(b.waiting)
			b.mu.Unlock()
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.ask(gone, asking{}, 100); tenantry.KindOf(err) != tenantry.Canceled {
			t.Errorf("who had gone was told %v", err)
		}
		close(begin)
		group.Wait()
		b.parent.owned.Wait()
		if failed != expected {
			t.Errorf("%s: %d failed, expected %d", kind, failed, expected)
		}
		b.close()
		if _, err := b.ask(t.Context(), asking{}, 1); tenantry.KindOf(err) != tenantry.Shared {
			t.Errorf("after close: %v", err)
		}
	}
}

// asking names a question in errors.
type asking struct{}

func (asking) String() string { return "ask" }
