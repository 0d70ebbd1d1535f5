package repository

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

const (
	// packUploads is how many packs may be on their way while the next is filled.
	packUploads = 2
	// footerReads is how many footers are read at once when an index is loaded.
	footerReads = 16
)

// Fence is the right to write a series: the epoch claimed in SQL and the task that claimed it.
type Fence struct {
	Epoch int64 // from 1
	Task  tenantry.TaskID
}

// Writer writes one series under one fence. Safe for concurrent use except Checkpoint,
// Seal and Close, which wait for what is under way. After any failed upload or commit
// everything in memory is void: every call returns that error, and the series is claimed
// anew. Close it in any case.
//
// Memory: the current pack and two on their way (8 MiB each), four chunks (8 MiB each),
// four buffers for cutting (4 MiB each), and, once anything is looked up or changed, the
// index: per entry its encoding, which is about 300 bytes, and 60.
type Writer struct {
	repo   *Repository
	series tenantry.Series
	fence  Fence

	// life is held for reading by every call and for writing by those that commit.
	life   sync.RWMutex
	head   manifest // what the next commit builds on
	packs  []*pb.Pack
	done   *Snapshot // sealed: there is nothing more to write
	broken atomic.Pointer[error]

	packing sync.Mutex // guards pack; taken before state
	pack    *packer

	loading sync.Mutex // one goroutine loads the index
	loaded  atomic.Bool

	state   sync.Mutex // guards what follows
	index   *index
	delta   *delta
	cursors map[string]Cursor
	counts  tenantry.Counts // of the state; Stored is that of the head
	dirty   bool
	pending int64 // bytes of packs cut and not committed

	streams, chunks, uploads chan struct{}
	uploading                *errgroup.Group
	ctx                      context.Context // ends with Close
	cancel                   context.CancelFunc
	stored                   atomic.Int64
}

// Begin takes the series for writing under the fence: it reads the head, refuses a head of
// a higher epoch (Fenced), commits an empty open manifest when it takes over an unfinished
// series of another epoch or task, so that the older owner can commit no more. On a head of
// the same epoch and task it resumes. One LIST and one GET, and one PUT on takeover; the
// index is read when it is first needed.
func (r *Repository) Begin(ctx context.Context, s tenantry.Series, f Fence) (*Writer, error) {
	if err := r.check(s); err != nil {
		return nil, err
	}
	if f.Epoch < 1 || f.Task == "" {
		return nil, tenantry.Errorf(tenantry.Invalid, "begin %s: a fence needs an epoch from 1 and a task", s)
	}
	head, err := r.readHead(ctx, s)
	if err != nil {
		return nil, err
	}
	if head.Epoch > f.Epoch {
		return nil, tenantry.Errorf(tenantry.Fenced, "begin %s in epoch %d: task %s has it in epoch %d", s, f.Epoch, head.Task, head.Epoch)
	}
	w := r.newWriter(ctx, s, f, head)
	for _, live := range head.Live {
		if live.Task == string(f.Task) {
			snapshot := toSnapshot(live)
			w.done = &snapshot
			return w, nil
		}
	}
	unfinished := head.Seq > 0 && !head.Sealed
	if unfinished && (head.Epoch != f.Epoch || head.Task != string(f.Task)) {
		if err := w.commit(ctx, nil); err != nil {
			w.Close()
			return nil, err
		}
	}
	return w, nil
}

func (r *Repository) newWriter(ctx context.Context, s tenantry.Series, f Fence, head manifest) *Writer {
	w := &Writer{
		repo: r, series: s, fence: f, head: head,
		index: newIndex(), cursors: make(map[string]Cursor, len(head.Cursors)), counts: toCounts(head.Counts),
		streams: make(chan struct{}, contentStreams), chunks: make(chan struct{}, chunkUploads),
		uploads: make(chan struct{}, packUploads), uploading: &errgroup.Group{},
	}
	// Uploads outlive the call that cut a pack, so they end with the writer, not with a call.
	w.ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, c := range head.Cursors {
		w.cursors[c.Collection] = Cursor{Link: c.Link, Generation: c.Generation, Complete: c.Complete}
	}
	return w
}

// SealedByTask reports the snapshot that this very task has sealed already, if it has: then there is only to settle.
func (w *Writer) SealedByTask() (Snapshot, bool) {
	w.life.RLock()
	defer w.life.RUnlock()
	if w.done == nil {
		return Snapshot{}, false
	}
	return *w.done, true
}

// readable returns the error that has made the writer void, if any.
func (w *Writer) readable() error {
	if err := w.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// writable is readable for calls that change something.
func (w *Writer) writable() error {
	if w.done != nil {
		return tenantry.Errorf(tenantry.Conflict, "write series %s: task %s has sealed it", w.series, w.fence.Task)
	}
	return w.readable()
}

// spoil makes the writer void; the first cause counts.
func (w *Writer) spoil(err error) error {
	err = w.repo.fail(w.series, err)
	w.broken.CompareAndSwap(nil, &err)
	return *w.broken.Load()
}

// load reads the index of the head, if that has not been done: one ranged GET per pack
// that carries entries, some at a time.
func (w *Writer) load(ctx context.Context) error {
	if w.loaded.Load() {
		return nil
	}
	w.loading.Lock()
	defer w.loading.Unlock()
	if w.loaded.Load() {
		return nil
	}
	deltas, err := w.repo.readDeltas(ctx, w.series, w.head.Packs)
	if err != nil {
		return w.repo.fail(w.series, err)
	}
	w.state.Lock()
	defer w.state.Unlock()
	ix := newIndex()
	for _, d := range deltas {
		if err := ix.fold(d); err != nil {
			return w.repo.fail(w.series, err)
		}
	}
	d := ix.newDelta()
	if err := ix.adopt(d, w.head.Inline); err != nil {
		return w.repo.fail(w.series, err)
	}
	w.index, w.delta = ix, d
	w.loaded.Store(true)
	return nil
}

// readDeltas reads the index deltas of packs, in their order.
func (r *Repository) readDeltas(ctx context.Context, s tenantry.Series, packs []*pb.Pack) ([][]byte, error) {
	deltas := make([][]byte, len(packs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(footerReads)
	for i, p := range packs {
		if p.Entries == 0 && p.Removed == 0 {
			continue
		}
		group.Go(func() error {
			_, delta, err := r.openPack(ctx, s, p)
			deltas[i] = delta
			return err
		})
	}
	return deltas, group.Wait()
}

// Lookup finds an entry in the state as of now (head + what was put since).
func (w *Writer) Lookup(ctx context.Context, id string) (Entry, bool, error) {
	w.life.RLock()
	defer w.life.RUnlock()
	if err := w.readable(); err != nil {
		return Entry{}, false, err
	}
	if err := w.load(ctx); err != nil {
		return Entry{}, false, err
	}
	w.state.Lock()
	defer w.state.Unlock()
	e, ok, err := w.index.get(id)
	return e, ok, w.repo.fail(w.series, err)
}

// Entries yields the state of the moment it is called, in unspecified order. It ends at
// the first error, which it yields.
func (w *Writer) Entries(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		ix, locs, err := w.locs(ctx)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for _, l := range locs {
			w.state.Lock()
			e, err := ix.decode(l)
			w.state.Unlock()
			if err != nil {
				yield(Entry{}, w.repo.fail(w.series, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// locs returns where all entries lie at this moment, and in which index: that one stays
// readable whatever is put, and after Close.
func (w *Writer) locs(ctx context.Context) (*index, []loc, error) {
	w.life.RLock()
	defer w.life.RUnlock()
	if err := w.readable(); err != nil {
		return nil, nil, err
	}
	if err := w.load(ctx); err != nil {
		return nil, nil, err
	}
	w.state.Lock()
	defer w.state.Unlock()
	locs := make([]loc, 0, len(w.index.at))
	for _, l := range w.index.at {
		locs = append(locs, l)
	}
	return w.index, locs, nil
}

// Put sets an entry. It becomes durable with the next Checkpoint or Seal. Invalid for an
// entry without ID or with an ID that is not UTF-8.
func (w *Writer) Put(ctx context.Context, e Entry) error {
	if e.ID == "" {
		return tenantry.Errorf(tenantry.Invalid, "put an entry without ID into series %s", w.series)
	}
	return w.change(ctx, e.ID, func() error {
		if err := w.index.put(w.delta, &e); err != nil {
			return err
		}
		w.counts = w.counts.Add(e.counts())
		return nil
	})
}

// Remove drops an entry; absent is fine. It becomes durable with the next Checkpoint or Seal.
func (w *Writer) Remove(ctx context.Context, id string) error {
	return w.change(ctx, id, nil)
}

// change replaces the entry with the ID by what set puts, or by nothing.
func (w *Writer) change(ctx context.Context, id string, set func() error) error {
	w.life.RLock()
	defer w.life.RUnlock()
	if err := w.writable(); err != nil {
		return err
	}
	if err := w.load(ctx); err != nil {
		return err
	}
	w.state.Lock()
	defer w.state.Unlock()
	old, ok, err := w.index.get(id)
	if err != nil {
		return w.repo.fail(w.series, err)
	}
	switch {
	case set != nil:
		if err := set(); err != nil {
			return w.repo.fail(w.series, err)
		}
	case ok:
		w.index.remove(w.delta, id)
	default:
		return nil
	}
	if ok {
		w.counts = minus(w.counts, old.counts())
	}
	w.dirty = true
	return nil
}

// Cursor reads the cursor of a collection.
func (w *Writer) Cursor(collection string) (Cursor, bool) {
	w.life.RLock()
	defer w.life.RUnlock()
	w.state.Lock()
	defer w.state.Unlock()
	c, ok := w.cursors[collection]
	return c, ok
}

// SetCursor sets the cursor of a collection; the same again is no change.
func (w *Writer) SetCursor(collection string, c Cursor) {
	w.life.RLock()
	defer w.life.RUnlock()
	w.state.Lock()
	defer w.state.Unlock()
	if old, ok := w.cursors[collection]; !ok || old != c {
		w.cursors[collection] = c
		w.dirty = true
	}
}

// DropCursor forgets the cursor of a collection.
func (w *Writer) DropCursor(collection string) {
	w.life.RLock()
	defer w.life.RUnlock()
	w.state.Lock()
	defer w.state.Unlock()
	if _, ok := w.cursors[collection]; ok {
		delete(w.cursors, collection)
		w.dirty = true
	}
}

// Pending is how many bytes of packs are not committed yet, the frame that is being
// filled uncompressed. Shared content does not count: it is durable already.
func (w *Writer) Pending() int64 {
	w.life.RLock()
	defer w.life.RUnlock()
	w.packing.Lock()
	defer w.packing.Unlock()
	w.state.Lock()
	defer w.state.Unlock()
	n := w.pending
	if w.pack != nil {
		n += w.pack.size()
	}
	return n
}

// Stored is how many bytes this writer has added to the bucket.
func (w *Writer) Stored() int64 { return w.stored.Load() }

// Close ends what is under way and releases memory; what was not committed is void. It
// may be called twice.
func (w *Writer) Close() {
	w.cancel()
	w.life.Lock()
	defer w.life.Unlock()
	_ = w.uploading.Wait() // its error, if any, was for those who wanted to commit
	_ = w.spoil(tenantry.Errorf(tenantry.Canceled, "the writer is closed"))
	w.state.Lock()
	defer w.state.Unlock()
	w.index, w.delta, w.pack = newIndex(), nil, nil
}
