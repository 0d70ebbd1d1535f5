package engine_test

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// state is what a series holds. Content is kept by item: a repository's references are its own.
type state struct {
	entries  map[string]repository.Entry
	payloads map[string]string // by entry ID
	cursors  map[string]repository.Cursor
}

func newState() state {
	return state{map[string]repository.Entry{}, map[string]string{}, map[string]repository.Cursor{}}
}

func (s state) clone() state {
	return state{maps.Clone(s.entries), maps.Clone(s.payloads), maps.Clone(s.cursors)}
}

// memory is a series in memory: committed survives a kill, the rest does not.
type memory struct {
	mu        sync.Mutex
	committed state
	now       state
	contents  map[string]string // by digest
	staged    map[string]string // payloads of entries that were not put yet
	sealed    *repository.Snapshot
	live      []repository.Snapshot // newest first
	kept      map[int64]state       // by sequence number
	pending   int64
	commits   int
	puts      int // entries put since begin
	streams   int // contents put since begin
}

func newMemory() *memory {
	return &memory{committed: newState(), now: newState(), contents: map[string]string{}, staged: map[string]string{}, kept: map[int64]state{}}
}

// begin is what a new owner of the series sees.
func (m *memory) begin() {
	clear(m.staged)
	m.now, m.sealed, m.pending, m.puts, m.streams = m.committed.clone(), nil, 0, 0, 0
}

func (m *memory) Lookup(_ context.Context, id string) (repository.Entry, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.now.entries[id]
	return e, ok, nil
}

func (m *memory) Entries(context.Context) iter.Seq2[repository.Entry, error] {
	return func(yield func(repository.Entry, error) bool) {
		now := maps.Clone(m.now.entries)
		for _, id := range slices.Sorted(maps.Keys(now)) {
			if !yield(now[id], nil) {
				return
			}
		}
	}
}

func (m *memory) EntriesAfter(ctx context.Context, id string) iter.Seq2[repository.Entry, error] {
	return behind(m.Entries(ctx), func(e repository.Entry) bool { return e.ID > id })
}

func (m *memory) ChildrenAfter(ctx context.Context, parent, name, id string) iter.Seq2[repository.Entry, error] {
	return behind(m.Children(ctx, parent), func(e repository.Entry) bool {
		return cmp.Or(cmp.Compare(e.Name, name), cmp.Compare(e.ID, id)) > 0
	})
}

func behind(all iter.Seq2[repository.Entry, error], is func(repository.Entry) bool) iter.Seq2[repository.Entry, error] {
	return func(yield func(repository.Entry, error) bool) {
		for e := range all {
			if is(e) && !yield(e, nil) {
				return
			}
		}
	}
}

func (m *memory) Children(ctx context.Context, parent string) iter.Seq2[repository.Entry, error] {
	var list []repository.Entry
	for e := range m.Entries(ctx) {
		if e.Parent == parent {
			list = append(list, e)
		}
	}
	slices.SortStableFunc(list, func(a, b repository.Entry) int { return strings.Compare(a.Name, b.Name) })
	return func(yield func(repository.Entry, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (m *memory) Put(_ context.Context, e repository.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.entries[e.ID] = e
	if raw, ok := m.staged[e.ID]; ok {
		m.now.payloads[e.ID] = raw
		delete(m.staged, e.ID)
	}
	m.puts++
	return nil
}

func (m *memory) Remove(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.now.entries, id)
	return nil
}

func (m *memory) PutPayload(_ context.Context, b []byte) (repository.Ref, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var v struct{ ID string }
	if err := json.Unmarshal(b, &v); err != nil {
		return repository.Ref{}, err
	}
	m.staged[v.ID] = string(b)
	m.pending += int64(len(b))
	return repository.Ref{}, nil
}

func (m *memory) PutContent(_ context.Context, r io.Reader) (repository.Part, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return repository.Part{}, tenantry.E(tenantry.Internal, "store content", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending += int64(len(b))
	m.streams++
	m.contents[string(b)] = string(b)
	return repository.Part{Size: int64(len(b)), Digest: b}, nil
}

// Stream is for what is resumed, which no source of these tests tells of.
func (m *memory) Stream(context.Context, repository.Part) (*repository.Stream, error) {
	return nil, tenantry.Errorf(tenantry.Internal, "there are no streams in memory")
}

func (m *memory) Cursor(c string) (repository.Cursor, bool) { v, ok := m.now.cursors[c]; return v, ok }
func (m *memory) SetCursor(c string, cur repository.Cursor) { m.now.cursors[c] = cur }
func (m *memory) DropCursor(c string)                       { delete(m.now.cursors, c) }
func (m *memory) SealedByTask() (s repository.Snapshot, b bool) {
	if m.sealed != nil {
		return *m.sealed, true
	}
	return s, false
}
func (m *memory) Live() []repository.Snapshot { return m.live }
func (m *memory) Pending() int64              { return m.pending }
func (m *memory) Stored() int64               { return 0 }

func (m *memory) Checkpoint(context.Context) error {
	clear(m.staged) // what was not put by now was cut, and its entry names the payload it had
	m.committed, m.pending = m.now.clone(), 0
	m.commits++
	return nil
}

func (m *memory) Seal(ctx context.Context, now time.Time) (repository.Snapshot, error) {
	m.sealed = &repository.Snapshot{Seq: int64(len(m.live) + 1), Time: now, Counts: tenantry.Counts{Items: m.now.items()}}
	m.live = append([]repository.Snapshot{*m.sealed}, m.live...)
	err := m.Checkpoint(ctx)
	m.kept[m.sealed.Seq] = m.committed.clone()
	return *m.sealed, err
}

func (m *memory) Snapshot() repository.Snapshot {
	return repository.Snapshot{Counts: tenantry.Counts{Items: m.now.items()}}
}

func (m *memory) Payload(_ context.Context, e repository.Entry) ([]byte, error) {
	return []byte(m.now.payloads[e.ID]), nil
}

func (m *memory) Open(ctx context.Context, e repository.Entry, p repository.Part) (io.ReadCloser, error) {
	return m.OpenFrom(ctx, e, p, 0)
}

func (m *memory) OpenFrom(_ context.Context, _ repository.Entry, p repository.Part, from int64) (io.ReadCloser, error) {
	content, ok := m.contents[string(p.Digest)]
	if !ok {
		return nil, tenantry.Errorf(tenantry.Corrupt, "part %s is not stored", p.Name)
	}
	return io.NopCloser(strings.NewReader(content[from:])), nil
}

var (
	_ engine.Series   = (*memory)(nil)
	_ engine.Snapshot = (*memory)(nil)
)

// items counts what is no place, as the repository does.
func (s state) items() (n int64) {
	for _, e := range s.entries {
		if !e.Place() {
			n++
		}
	}
	return n
}
