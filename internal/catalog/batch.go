package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// batchWindow is the pause between two transactions of a batcher at least: what is asked
	// meanwhile, and while the one before ran, goes into the next one. So nobody waits longer for
	// company, and who asks after a pause does not wait at all.
	batchWindow = 5 * time.Millisecond
	// batchFull is how many questions one transaction answers at most.
	batchFull = 256
	// batchTime bounds one transaction.
	batchTime = 10 * time.Second
)

// batcher answers what many goroutines ask at about the same time in one transaction: a
// claim or a settlement alone costs ten round trips and a flush of the log, and a hundred
// together cost hardly more.
//
// Every question has its own answer. When a transaction fails as a whole, for another
// reason than the database's being away, each question is asked again alone, so that one
// that the database refuses fails nobody else. There is one transaction at a time, and no
// goroutine while nothing is asked. What waits is bounded by those who ask: each waits for
// its answer.
type batcher[Q, A any] struct {
	// answer runs one transaction: an answer for each question, in their order, or an
	// error when none of it happened.
	answer func(ctx context.Context, asked []Q) ([]reply[A], error)
	parent *Catalog

	mu      sync.Mutex
	waiting []*question[Q, A]
	running bool      // a goroutine works off what waits
	ended   time.Time // the transaction before
	closed  bool
}

// reply is the answer to one question.
type reply[A any] struct {
	value A
	err   error
}

type question[Q, A any] struct {
	asked Q
	taken bool // by a transaction
	reply chan reply[A]
}

// ask returns the answer to q. When ctx ends before a transaction has taken the question,
// it is withdrawn; after that the answer is awaited, for at most batchTime: a claim that
// nobody heard of would never be worked on.
func (b *batcher[Q, A]) ask(ctx context.Context, op fmt.Stringer, q Q) (A, error) {
	item := &question[Q, A]{asked: q, reply: make(chan reply[A], 1)}
	var none A
	if err := ctx.Err(); err != nil {
		return none, wrap(op.String(), err)
	}
	if !b.enter(item) {
		return none, wrap(op.String(), sql.ErrConnDone)
	}
	select {
	case r := <-item.reply:
		return r.value, r.err
	case <-ctx.Done():
	}
	if b.withdraw(item) {
		return none, wrap(op.String(), ctx.Err())
	}
	r := <-item.reply
	return r.value, r.err
}

func (b *batcher[Q, A]) enter(item *question[Q, A]) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.waiting = append(b.waiting, item)
	if !b.running {
		b.running = true
		b.parent.owned.Go(b.work)
	}
	return true
}

func (b *batcher[Q, A]) withdraw(item *question[Q, A]) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if item.taken {
		return false
	}
	for i, other := range b.waiting {
		if other == item {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			break
		}
	}
	return true
}

// close refuses what is asked from now on; what waits already is answered.
func (b *batcher[Q, A]) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

// work runs transactions until nothing waits.
func (b *batcher[Q, A]) work() {
	for {
		items := b.take()
		if len(items) == 0 {
			return
		}
		b.settle(items)
		b.end()
	}
}

// end begins the pause behind a transaction.
func (b *batcher[Q, A]) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = time.Now()
}

// take waits for the end of the window, unless a transaction is full already, and returns
// what waits then. After an empty one the caller must end: the next question starts another.
func (b *batcher[Q, A]) take() []*question[Q, A] {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait := batchWindow - time.Since(b.ended); wait > 0 && len(b.waiting) > 0 && len(b.waiting) < batchFull {
		b.mu.Unlock()
		time.Sleep(wait)
		b.mu.Lock()
	}
	n := min(len(b.waiting), batchFull)
	items := make([]*question[Q, A], n)
	copy(items, b.waiting)
	b.waiting = append(b.waiting[:0], b.waiting[n:]...)
	clear(b.waiting[len(b.waiting):cap(b.waiting)])
	for _, item := range items {
		item.taken = true
	}
	b.running = n > 0
	return items
}

// settle answers items, together or else one by one.
func (b *batcher[Q, A]) settle(items []*question[Q, A]) {
	replies, err := b.try(items)
	switch {
	case err == nil:
		for i, item := range items {
			item.reply <- replies[i]
		}
	case len(items) == 1 || away(err):
		for _, item := range items {
			item.reply <- reply[A]{err: err}
		}
	default:
		for i := range items {
			b.settle(items[i : i+1])
		}
	}
}

// away reports whether the database itself is what failed: asking it one by one would
// only take longer.
func away(err error) bool {
	switch tenantry.KindOf(err) {
	case tenantry.Shared, tenantry.Canceled:
		return true
	}
	return false
}

func (b *batcher[Q, A]) try(items []*question[Q, A]) ([]reply[A], error) {
	ctx, cancel := context.WithTimeout(b.parent.closing, batchTime)
	defer cancel()
	asked := make([]Q, len(items))
	for i, item := range items {
		asked[i] = item.asked
	}
	return b.answer(ctx, asked)
}
