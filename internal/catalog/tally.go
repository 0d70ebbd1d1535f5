package catalog

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// tallyEvery is how long waits stay in the tally at most, while the database answers.
	tallyEvery = 2 * time.Second
	// tallyFull is how many entries it holds before settlements write theirs themselves.
	tallyFull = 4096
)

// tally sums what settled tasks waited for, and writes it to the ledger every few seconds: a
// fleet settles thousands of tasks of few runs in that time, and each would write four rows of
// the ledger, the same ones again and again. What tasks spent and how they ended is not in it:
// that is written with their settlement.
//
// A process that crashes loses the waits of its last seconds, from the ledgers of runs and days
// alone: each task has its own on its row. They are counted twice where the answer to a commit
// was lost, and dropped where the database refuses those of a tenant: it has left the worker's
// pool.
//
//	add -> sums --every tallyEvery, or full--> ledger
//	        ^---- the database is away ----------'
//
// At most one goroutine, while there is something to write. Safe for concurrent use.
type tally struct {
	parent *Catalog

	writing sync.RWMutex // held while sums are on their way to the ledger; shared by who reads that

	mu     sync.Mutex
	sums   map[entryKey]int64
	timer  *time.Timer // set while there are sums
	closed bool
}

// add counts the waits of settlements that were committed.
func (y *tally) add(settled []*settleAsk) { y.put(sumEntries(settled, waitsOf)) }

func (y *tally) put(sums map[entryKey]int64) {
	if len(sums) == 0 {
		return
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.sums == nil {
		y.sums = make(map[entryKey]int64, len(sums))
	}
	for key, amount := range sums {
		y.sums[key] += amount
	}
	if y.timer == nil && !y.closed {
		y.parent.owned.Add(1)
		y.timer = time.AfterFunc(tallyEvery, y.fire)
	} else if y.timer != nil && len(y.sums) >= tallyFull && y.timer.Stop() {
		y.timer.Reset(0)
	}
}

// full reports whether settlements have to write their waits themselves.
func (y *tally) full() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.closed || len(y.sums) >= tallyFull
}

// fire is the goroutine of the timer.
func (y *tally) fire() {
	defer y.parent.owned.Done()
	y.mu.Lock()
	y.timer = nil
	y.mu.Unlock()
	ctx, cancel := context.WithTimeout(y.parent.closing, batchTime)
	defer cancel()
	_ = y.flush(ctx) // what failed is tried again
}

// flush writes all sums. What the database was away for stays in the tally.
func (y *tally) flush(ctx context.Context) error {
	y.writing.Lock()
	defer y.writing.Unlock()
	y.mu.Lock()
	sums := y.sums
	y.sums = nil
	y.mu.Unlock()
	keys := sortedEntries(sums)
	for chunk := range slices.Chunk(keys, batch) {
		if err := y.write(ctx, chunk, sums); err != nil {
			y.put(sums)
			return err
		}
		for _, key := range chunk {
			delete(sums, key)
		}
	}
	return nil
}

// write writes some sums together, or else by tenant: one that is refused keeps out no other.
func (y *tally) write(ctx context.Context, keys []entryKey, sums map[entryKey]int64) error {
	err := y.enter(ctx, keys, sums)
	if err == nil || away(err) {
		return err
	}
	for len(keys) > 0 {
		n := 1
		for n < len(keys) && keys[n].tenant == keys[0].tenant {
			n++
		}
		if err := y.enter(ctx, keys[:n], sums); away(err) {
			return err
		}
		for _, key := range keys[:n] {
			delete(sums, key)
		}
		keys = keys[n:]
	}
	return nil
}

func (y *tally) enter(ctx context.Context, keys []entryKey, sums map[entryKey]int64) error {
	return y.parent.transact(ctx, "write waits to the ledger", func(context.Context, stepper) ([]step, error) {
		return enterSums(keys, sums), nil
	})
}

// read reads the ledger and adds what is still to be written to it. Each entry is in exactly
// one of both.
func (y *tally) read(read func() error, add func(entryKey, int64)) error {
	y.writing.RLock()
	defer y.writing.RUnlock()
	if err := read(); err != nil {
		return err
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	for key, amount := range y.sums {
		add(key, amount)
	}
	return nil
}

// close writes what there is, for at most batchTime. Later settlements write their own.
func (y *tally) close() error {
	y.mu.Lock()
	y.closed = true
	if y.timer != nil && y.timer.Stop() {
		y.timer = nil
		y.parent.owned.Done()
	}
	y.mu.Unlock()
	ctx, cancel := context.WithTimeout(y.parent.closing, batchTime)
	defer cancel()
	return y.flush(ctx)
}
