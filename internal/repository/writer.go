package repository

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// packUploads is how many packs may be on their way while the next is filled.
	packUploads = 2
	// maxMemtable is when changes of the index are written as a run before the next commit.
	maxMemtable = 8 << 20
	// maxAbsent is how many IDs are known to be nowhere at once: those of a page.
	maxAbsent = 256
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
// Memory: the current pack and two on their way (8 MiB each, and one more while a pack is cut), four chunks (8 MiB
// each), four buffers for cutting (4 MiB each; all writers of a process together hold no more than is said in
// memory.go), where 8,192 small contents are (2 MB), changes of the index (8 MiB, and the same again while
// they are written or listed), and of the index itself what is said at type index: nothing that
// grows with the series but 1 % of the segments that are touched, and 3 bytes for each ID, up to 4 MiB.
type Writer struct {
	repo   *Repository
	series tenantry.Series
	fence  Fence

	// life is held for reading by every call and for writing by those that commit.
	life  sync.RWMutex
	head  manifest  // what the next commit builds on
	known time.Time // when head was the newest manifest for sure
	done  *Snapshot // sealed: there is nothing more to write
	// committed: a manifest of this writer stands, so no older owner can commit any more.
	committed bool
	// resting: what is committed now is at rest, see commitAtRest.
	resting bool
	hits    hits
	recent  recent
	broken  atomic.Pointer[error]

	packing     sync.Mutex // guards what follows; taken before state
	pack        *packer
	lastChanges []byte // ID of the newest pack with changes

	index                 *index // replaced parts of only with life held for writing
	packNumber, runNumber uint64 // of the newest ones
	reserved              int64  // bytes of segments that it may hold beyond maxStored; until Close
	spilled               int64  // records that this writer has written as runs; with life held for writing

	state   sync.Mutex // guards what follows
	mem     *memtable
	absent  map[string]struct{} // IDs that neither mem nor the runs have: who looks one up often puts it next
	cursors map[string]Cursor
	counts  tenantry.Counts // of the state; Stored is that of the head
	dirty   bool
	pending int64 // bytes of packs cut and not committed
	saved   int64 // size of mem at the last commit

	streams, lists, chunks, uploads chan struct{}
	uploading                       *errgroup.Group
	ctx                             context.Context // ends with Close
	cancel                          context.CancelFunc
	stored                          atomic.Int64
}

// Begin takes the series for writing under the fence: it reads the head, refuses a head of
// a higher epoch (Fenced), commits an empty open manifest when it takes over an unfinished
// series of another epoch or task, so that the older owner can commit no more; not where maintenance has
// committed last, and ended. On a head of
// the same epoch and task it resumes. One LIST and one GET, and one PUT on takeover; of
// the index, what is not in the manifest is read where it is needed.
func (r *Repository) Begin(ctx context.Context, s tenantry.Series, f Fence) (*Writer, error) {
	if err := r.check(s); err != nil {
		return nil, err
	}
	if f.Epoch < 1 || f.Task == "" {
		return nil, tenantry.Errorf(tenantry.Invalid, "begin %s: a fence needs an epoch from 1 and a task", s)
	}
	known := r.now()
	head, err := r.readHead(ctx, s)
	if err != nil {
		return nil, err
	}
	if head.Epoch > f.Epoch {
		return nil, tenantry.Errorf(tenantry.Fenced, "begin %s in epoch %d: task %s has it in epoch %d", s, f.Epoch, head.Task, head.Epoch)
	}
	w, err := r.newWriter(ctx, s, f, head)
	if err != nil {
		return nil, r.fail(s, err)
	}
	w.known = known
	for _, live := range head.Live {
		if live.Task == string(f.Task) {
			snapshot := toSnapshot(live)
			w.done = &snapshot
			return w, nil
		}
	}
	unfinished := head.Seq > 0 && !head.Sealed && !head.AtRest
	if unfinished && (head.Epoch != f.Epoch || head.Task != string(f.Task)) {
		if err := w.commit(ctx, nil); err != nil {
			w.Close()
			return nil, err
		}
	}
	return w, nil
}

func (r *Repository) newWriter(ctx context.Context, s tenantry.Series, f Fence, head manifest) (*Writer, error) {
	mem, err := readMemtable(head.Inline)
	if err != nil {
		return nil, err
	}
	w := &Writer{
		repo: r, series: s, fence: f, head: head,
		index: r.newIndex(s, head.Segments), absent: map[string]struct{}{}, mem: mem, saved: mem.size, lastChanges: head.Changed, packNumber: head.PackNumber, runNumber: head.RunNumber, cursors: make(map[string]Cursor, len(head.Cursors)), counts: toCounts(head.Counts),
		hits: hits{repo: r}, streams: make(chan struct{}, contentStreams), lists: make(chan struct{}, 1), chunks: make(chan struct{}, chunkUploads),
		uploads: make(chan struct{}, packUploads), uploading: &errgroup.Group{},
	}
	w.index.cache, w.index.whole = r.cache, mediumSegment
	if w.reserved = reserveIndex(head.Segments); w.reserved > 0 { // there is room for all of it
		w.index.whole = largeIndex
	}
	w.index.room += w.reserved
	// Uploads outlive the call that cut a pack, so they end with the writer, not with a call.
	w.ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, c := range head.Cursors {
		w.cursors[c.Collection] = Cursor{Link: c.Link, Generation: c.Generation, Complete: c.Complete}
	}
	return w, nil
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

// Lookup finds an entry in the state as of now (head + what was put since).
func (w *Writer) Lookup(ctx context.Context, id string) (Entry, bool, error) {
	w.life.RLock()
	defer w.life.RUnlock()
	if err := w.readable(); err != nil {
		return Entry{}, false, err
	}
	e, ok, err := w.lookup(ctx, id)
	return e, ok, w.repo.fail(w.series, err)
}

func (w *Writer) lookup(ctx context.Context, id string) (Entry, bool, error) {
	w.state.Lock()
	c, changed := w.mem.changes[id]
	_, absent := w.absent[id]
	w.state.Unlock()
	switch {
	case absent || changed && c.entry == nil:
		return Entry{}, false, nil
	case !changed:
		e, ok, err := w.index.entry(ctx, idKey(id))
		if err == nil && !ok {
			w.missed(id)
		}
		return e, ok, err
	}
	e, err := decodeEntry(c.entry)
	return e, err == nil, err
}

// missed notes that an ID is nowhere. The caller holds life, so that the runs are still those that were asked.
func (w *Writer) missed(id string) {
	w.state.Lock()
	defer w.state.Unlock()
	if _, changed := w.mem.changes[id]; changed {
		return
	}
	if len(w.absent) >= maxAbsent {
		clear(w.absent)
	}
	w.absent[id] = struct{}{}
}

// Entries yields the state of the moment it is called, in ascending order of IDs, reading as it
// goes. It ends at the first error, which it yields. Changing the series meanwhile is fine.
func (w *Writer) Entries(ctx context.Context) iter.Seq2[Entry, error] {
	return w.list(ctx, []byte{idSpace})
}

// Children is Entries for those whose parent has the ID, in ascending order of name, then ID. It
// reads no others.
func (w *Writer) Children(ctx context.Context, parent string) iter.Seq2[Entry, error] {
	return w.list(ctx, folderKey(parent))
}

func (w *Writer) list(ctx context.Context, prefix []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		ix, top, err := w.view(prefix)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		ix.entries(ctx, top, prefix, nil)(yield)
	}
}

// view returns the state of the moment: it stays as it is, and readable after Close.
func (w *Writer) view(prefix []byte) (*index, []record, error) {
	w.life.RLock()
	defer w.life.RUnlock()
	if err := w.readable(); err != nil {
		return nil, nil, err
	}
	w.state.Lock()
	defer w.state.Unlock()
	top, err := w.mem.records(prefix)
	return w.index.view(), top, err
}

// Put sets an entry. It becomes durable with the next Checkpoint or Seal. Invalid for an
// entry without ID, or with IDs that are not UTF-8 or longer than 4 KiB.
func (w *Writer) Put(ctx context.Context, e Entry) error {
	if err := checkIDs(&e); err != nil {
		return w.repo.fail(w.series, err)
	}
	data, err := appendEntry(nil, &e)
	if err != nil {
		return w.repo.fail(w.series, err)
	}
	place := placeKey(e.Parent, validText(e.Name), e.ID)
	return w.change(ctx, e.ID, change{entry: data, place: place}, e.counts())
}

// Remove drops an entry; absent is fine. It becomes durable with the next Checkpoint or Seal.
func (w *Writer) Remove(ctx context.Context, id string) error {
	return w.change(ctx, id, change{}, tenantry.Counts{})
}

// change replaces what is known of an ID, and what it counts.
func (w *Writer) change(ctx context.Context, id string, c change, counts tenantry.Counts) error {
	full, err := w.set(ctx, id, c, counts)
	if err != nil || !full {
		return err
	}
	w.life.Lock()
	defer w.life.Unlock()
	if err := w.writable(); err != nil || w.mem.size < maxMemtable {
		return err
	}
	if err := w.flush(ctx, false); err != nil {
		return w.spoil(err)
	}
	return nil
}

// set is change up to where the changes have become too many to keep.
func (w *Writer) set(ctx context.Context, id string, c change, counts tenantry.Counts) (full bool, err error) {
	w.life.RLock()
	defer w.life.RUnlock()
	if err := w.writable(); err != nil {
		return false, err
	}
	return w.put(ctx, id, c, counts)
}

// put is set for a caller that holds life.
func (w *Writer) put(ctx context.Context, id string, c change, counts tenantry.Counts) (full bool, err error) {
	// What the runs have does not change while life is held: it is read without the lock on state.
	base, old, err := w.below(ctx, id)
	if err != nil {
		return false, w.repo.fail(w.series, err)
	}
	c.base = base
	return w.exchange(id, c, counts, old)
}

// exchange is put where it is known what the runs have: c.base, and the entry old, which may differ from what they have
// in what does not count.
func (w *Writer) exchange(id string, c change, counts tenantry.Counts, old []byte) (full bool, err error) {
	w.state.Lock()
	defer w.state.Unlock()
	if earlier, ok := w.mem.changes[id]; ok {
		c.base, old = earlier.base, earlier.entry
	}
	if c.entry == nil && old == nil {
		return false, nil // it was not there
	}
	if old != nil {
		e, err := decodeEntry(old)
		if err != nil {
			return false, w.repo.fail(w.series, err)
		}
		counts = minus(counts, e.counts())
	}
	w.mem.set(id, c)
	delete(w.absent, id)
	w.counts = w.counts.Add(counts)
	w.dirty = true
	return w.mem.size >= maxMemtable, nil
}

// below returns what the runs say of an ID, unless it has changed since and nobody needs to know.
func (w *Writer) below(ctx context.Context, id string) (place, value []byte, err error) {
	w.state.Lock()
	_, changed := w.mem.changes[id]
	_, absent := w.absent[id]
	w.state.Unlock()
	if changed || absent {
		return nil, nil, nil
	}
	value, ok, err := w.index.get(ctx, idKey(id))
	if err != nil || !ok {
		return nil, nil, err
	}
	e, err := decodeEntry(value)
	return placeKey(e.Parent, e.Name, e.ID), value, err
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

// Pending is how many bytes of packs and of the index are not committed yet, the frame that is
// being filled and the index uncompressed. Shared content does not count: it is durable already.
func (w *Writer) Pending() int64 {
	w.life.RLock()
	defer w.life.RUnlock()
	w.packing.Lock()
	defer w.packing.Unlock()
	w.state.Lock()
	defer w.state.Unlock()
	n := w.pending + max(0, w.mem.size-w.saved)
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
	if w.pack != nil {
		w.pack.release()
	}
	w.index, w.mem, w.pack = w.repo.newIndex(w.series, nil), newMemtable(), nil
	indexBytes.Add(-w.reserved)
	w.reserved = 0
	w.recent.forget()
}
