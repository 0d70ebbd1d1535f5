package api

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
)

// stock is an inventory over a clock and a count that takes as long as it is told to.
type stock struct {
	*inventory
	clock time.Time
	takes time.Duration
	fails error
	n     int64 // how often was counted
}

func (s *stock) now() time.Time { return s.clock }

func (s *stock) count(context.Context) (catalog.Inventory, error) {
	s.n++
	s.clock = s.clock.Add(s.takes)
	return catalog.Inventory{Protected: s.n}, s.fails
}

// A count is remembered in proportion to what it took, never longer than is said, and a quick one not at all.
func TestInventoryIsRemembered(t *testing.T) {
	t.Parallel()
	for _, one := range []struct{ takes, remembered time.Duration }{
		{0, 0}, {inventoryQuick, 0}, {inventoryQuick + time.Millisecond, 20 * (inventoryQuick + time.Millisecond)},
		{time.Second, 20 * time.Second}, {10 * time.Second, inventoryMemory},
	} {
		s := &stock{inventory: newInventory(), clock: time.Unix(1_800_000_000, 0), takes: one.takes}
		ask := func(want int64) {
			t.Helper()
			got, at, err := s.get(t.Context(), s.now, s.count)
			if err != nil || got.Protected != want {
				t.Fatalf("a count that takes %v: got number %d, want %d: %v", one.takes, got.Protected, want, err)
			}
			if age := s.clock.Sub(at); age < 0 || age > max(one.takes, one.remembered) {
				t.Fatalf("a count that takes %v is %v old", one.takes, age)
			}
		}
		began := s.clock
		ask(1)
		if one.remembered > one.takes {
			s.clock = began.Add(one.remembered - 1)
			ask(1)
		}
		s.clock = began.Add(max(one.remembered, one.takes))
		ask(2)
	}
}

// A count that failed is nobody's: the next caller counts.
func TestInventoryFails(t *testing.T) {
	t.Parallel()
	s := &stock{inventory: newInventory(), clock: time.Unix(1_800_000_000, 0), takes: time.Second, fails: errors.New("no database")}
	if _, _, err := s.get(t.Context(), s.now, s.count); !errors.Is(err, s.fails) {
		t.Fatalf("a count that failed: %v", err)
	}
	s.fails = nil
	if got, _, err := s.get(t.Context(), s.now, s.count); err != nil || got.Protected != 2 {
		t.Fatalf("after a failure: %+v, %v", got, err)
	}
}

// Of many callers at once one counts; who gives up while waiting is told so, and holds nobody up.
func TestInventoryIsCountedOnce(t *testing.T) {
	t.Parallel()
	i, counting, goOn := newInventory(), make(chan struct{}), make(chan struct{})
	clock := time.Unix(1_800_000_000, 0)
	var mu sync.Mutex
	now := func() time.Time { mu.Lock(); defer mu.Unlock(); return clock }
	counts := 0
	count := func(context.Context) (catalog.Inventory, error) {
		counts++ // by one at a time: the race detector would see two
		close(counting)
		<-goOn
		mu.Lock()
		defer mu.Unlock()
		clock = clock.Add(time.Second)
		return catalog.Inventory{Protected: 7}, nil
	}
	var all sync.WaitGroup
	ask := func() {
		if got, _, err := i.get(t.Context(), now, count); err != nil || got.Protected != 7 {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	all.Go(ask)
	<-counting
	for range 8 {
		all.Go(ask)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := i.get(gone, now, count); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that gave up: %v", err)
	}
	close(goOn)
	all.Wait()
	if counts != 1 {
		t.Errorf("counted %d times", counts)
	}
}
