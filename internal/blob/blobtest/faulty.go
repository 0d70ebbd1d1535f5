package blobtest

import (
	"bytes"
	"context"
	"io"
	"iter"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Op is one operation of a Store, for faults and for counting.
type Op string

// The operations.
const (
	OpPut         Op = "put"
	OpPutIfAbsent Op = "put-if-absent"
	OpGet         Op = "get"
	OpStat        Op = "stat"
	OpList        Op = "list" // List and Folders
	OpDelete      Op = "delete"
)

// Mode is what goes wrong.
type Mode int

// The modes of a fault.
const (
	// Fail answers with an error; the store has done nothing.
	Fail Mode = iota
	// LoseAnswer does it and then answers with an error, as when the connection is cut
	// after the server applied the request.
	LoseAnswer
	// Truncate delivers half of what is read and then io.EOF; of what is written, it
	// stores half and says that all is well.
	Truncate
	// Flip delivers what is read with one bit in the middle turned over.
	Flip
	// Wait sends on Fault.Reached and does not go on before Fault.Release is closed or
	// the context ends. Then the operation runs as if nothing had been.
	Wait
)

// Fault makes operations go wrong. Fields are not changed once it is added.
type Fault struct {
	Ops   []Op   // which operations; empty: all
	Key   string // which keys: those that contain it
	After int    // how many matching operations pass before
	Times int    // how many then go wrong; 0: all
	Mode  Mode
	Err   error // what Fail and LoseAnswer answer; nil: a cut connection, Transient

	Reached chan struct{} // Wait: receives once per operation that waits; buffer it
	Release chan struct{} // Wait: closed to let them go on

	seen int
}

// Faulty is a Store that behaves as the one it wraps but for its faults. It counts the
// operations. Safe for concurrent use.
type Faulty struct {
	store blob.Store

	mu     sync.Mutex
	faults []*Fault
	counts map[Op]int
	dead   bool
	fuse   int // operations until death; negative: none
	lose   bool

	bytesPut atomic.Int64
}

// NewFaulty wraps a store. It has no faults yet.
func NewFaulty(store blob.Store) *Faulty {
	return &Faulty{store: store, counts: map[Op]int{}, fuse: -1}
}

// Add adds a fault. Where several match, the earliest added counts.
func (f *Faulty) Add(fault *Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, fault)
}

// DieAfter lets n more operations pass. From the next on everything fails, as if the
// process had been killed: nothing that it does reaches the store any more. With applied
// the deadly operation itself still reaches it, without an answer.
func (f *Faulty) DieAfter(n int, applied bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fuse, f.lose = n, applied
}

// Dead reports whether death has come.
func (f *Faulty) Dead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead
}

// Count returns how many operations there were, of the given kinds or of all.
func (f *Faulty) Count(ops ...Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for op, count := range f.counts {
		if matches(ops, op) {
			n += count
		}
	}
	return n
}

// BytesPut returns how many bytes were handed to Put and PutIfAbsent.
func (f *Faulty) BytesPut() int64 { return f.bytesPut.Load() }

// ResetCounts begins counting anew.
func (f *Faulty) ResetCounts() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.counts)
	f.bytesPut.Store(0)
}

func matches(ops []Op, op Op) bool {
	for _, o := range ops {
		if o == op {
			return true
		}
	}
	return len(ops) == 0
}

var (
	errCut  = tenantry.Errorf(tenantry.Transient, "blobtest: connection cut")
	errDead = tenantry.Errorf(tenantry.Transient, "blobtest: this process is dead")
)

// strike counts an operation and returns the fault that hits it, if any.
func (f *Faulty) strike(op Op, key string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[op]++
	if f.dead {
		return &Fault{Mode: Fail, Err: errDead}
	}
	if f.fuse == 0 {
		f.dead = true
		mode := Fail
		if f.lose {
			mode = LoseAnswer
		}
		return &Fault{Mode: mode, Err: errDead}
	}
	if f.fuse > 0 {
		f.fuse--
	}
	for _, fault := range f.faults {
		if !matches(fault.Ops, op) || !strings.Contains(key, fault.Key) {
			continue
		}
		fault.seen++
		if n := fault.seen - fault.After; n >= 1 && (fault.Times == 0 || n <= fault.Times) {
			return fault
		}
	}
	return nil
}

// before runs what a fault does ahead of an operation: an error ends it.
func (fault *Fault) before(ctx context.Context) error {
	if fault == nil {
		return nil
	}
	switch fault.Mode {
	case Fail:
		return fault.err()
	case Wait:
		fault.Reached <- struct{}{}
		select {
		case <-fault.Release:
		case <-ctx.Done():
			return tenantry.E(tenantry.KindOf(ctx.Err()), "blobtest: wait", ctx.Err())
		}
	}
	return nil
}

// after replaces an operation's answer if it is to be lost.
func (fault *Fault) after(err error) error {
	if fault != nil && fault.Mode == LoseAnswer {
		return fault.err()
	}
	return err
}

func (fault *Fault) err() error {
	if fault.Err != nil {
		return fault.Err
	}
	return errCut
}

func (fault *Fault) is(m Mode) bool { return fault != nil && fault.Mode == m }

// Put implements blob.Store.
func (f *Faulty) Put(ctx context.Context, key string, body []byte) error {
	return f.put(ctx, OpPut, key, body, f.store.Put)
}

// PutIfAbsent implements blob.Store.
func (f *Faulty) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	return f.put(ctx, OpPutIfAbsent, key, body, f.store.PutIfAbsent)
}

func (f *Faulty) put(ctx context.Context, op Op, key string, body []byte, put func(context.Context, string, []byte) error) error {
	fault := f.strike(op, key)
	f.bytesPut.Add(int64(len(body)))
	if err := fault.before(ctx); err != nil {
		return err
	}
	if fault.is(Truncate) {
		body = body[:len(body)/2]
	}
	return fault.after(put(ctx, key, body))
}

// Get implements blob.Store.
func (f *Faulty) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	fault := f.strike(OpGet, key)
	if err := fault.before(ctx); err != nil {
		return nil, err
	}
	body, err := f.store.Get(ctx, key, offset, n)
	if err := fault.after(err); err != nil {
		if body != nil {
			_ = body.Close()
		}
		return nil, err
	}
	if !fault.is(Truncate) && !fault.is(Flip) {
		return body, nil
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if fault.Mode == Truncate {
		data = data[:len(data)/2]
	} else if len(data) > 0 {
		data[len(data)/2] ^= 1
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// Stat implements blob.Store.
func (f *Faulty) Stat(ctx context.Context, key string) (blob.Info, error) {
	fault := f.strike(OpStat, key)
	if err := fault.before(ctx); err != nil {
		return blob.Info{}, err
	}
	info, err := f.store.Stat(ctx, key)
	return info, fault.after(err)
}

// List implements blob.Store.
func (f *Faulty) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		fault := f.strike(OpList, prefix)
		if err := fault.after(fault.before(ctx)); err != nil {
			yield(blob.Info{}, err)
			return
		}
		f.store.List(ctx, prefix)(yield)
	}
}

// Folders implements blob.Store.
func (f *Faulty) Folders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		fault := f.strike(OpList, prefix)
		if err := fault.after(fault.before(ctx)); err != nil {
			yield("", err)
			return
		}
		f.store.Folders(ctx, prefix)(yield)
	}
}

// Delete implements blob.Store.
func (f *Faulty) Delete(ctx context.Context, key string) error {
	fault := f.strike(OpDelete, key)
	if err := fault.before(ctx); err != nil {
		return err
	}
	return fault.after(f.store.Delete(ctx, key))
}
