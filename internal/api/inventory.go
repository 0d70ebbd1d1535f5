package api

import (
	"context"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
)

const (
	// inventoryShare is how many times as long as counting took its result is remembered: the database spends at
	// most a twentieth of its time on it, however many look, and a small fleet is counted each time.
	inventoryShare = 20
	// inventoryMemory bounds how old a result may be. The API's document names it.
	inventoryMemory = 30 * time.Second
	// inventoryQuick is what may be counted each time.
	inventoryQuick = 50 * time.Millisecond
)

// inventory remembers what the fleet protects, which takes half a second to count where hundreds of thousands of
// resources are. Safe for concurrent use: one caller counts, and the others wait for it.
type inventory struct {
	turn chan struct{} // its only token: who counts

	mu    sync.Mutex
	known catalog.Inventory // never changed
	at    time.Time         // when counting began; zero: never
	until time.Time
}

func newInventory() *inventory { return &inventory{turn: make(chan struct{}, 1)} }

// get returns what was counted and when, or counts. The error is that of count or of ctx.
func (i *inventory) get(ctx context.Context, now func() time.Time, count func(context.Context) (catalog.Inventory, error)) (catalog.Inventory, time.Time, error) {
	if known, at, ok := i.recall(now()); ok {
		return known, at, nil
	}
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return catalog.Inventory{}, time.Time{}, ctx.Err()
	}
	began := now()
	if known, at, ok := i.recall(began); ok { // somebody counted meanwhile
		return known, at, nil
	}
	fresh, err := count(ctx)
	if err != nil {
		return fresh, began, err
	}
	i.remember(fresh, began, now().Sub(began))
	return fresh, began, nil
}

func (i *inventory) recall(now time.Time) (catalog.Inventory, time.Time, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.known, i.at, !i.at.IsZero() && now.Before(i.until)
}

func (i *inventory) remember(fresh catalog.Inventory, began time.Time, took time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.known, i.at, i.until = fresh, began, began
	if took > inventoryQuick {
		i.until = began.Add(min(inventoryShare*took, inventoryMemory))
	}
}
