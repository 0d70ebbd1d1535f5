package formattest_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/repository/formattest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const tenant = tenantry.TenantID("t-1")

var series = tenantry.Series{Tenant: tenant, Resource: "u-1", Workload: tenantry.Mailbox}

// item is what was backed up.
type item struct {
	parent, name string
	payload      []byte
	parts        [][]byte
}

// source is a mailbox whose states are remembered by the snapshot that has them.
type source struct {
	t         *testing.T
	store     *blobtest.Memory
	ring      repository.Keyring
	repo      *repository.Repository
	items     map[string]item
	changed   map[string]bool
	snapshots map[int64]map[string]item
}

func noise(seed, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = r.Read(b)
	return b
}

func (s *source) open() {
	s.t.Helper()
	var err error
	if s.repo, err = repository.Open(s.t.Context(), s.store, s.ring, tenant); err != nil {
		s.t.Fatal(err)
	}
}

func (s *source) put(id string, it item) { s.items[id], s.changed[id] = it, true }

func (s *source) remove(id string) {
	delete(s.items, id)
	s.changed[id] = true
}

// backup tells the repository what has changed; several commits, if checkpoint says so.
func (s *source) backup(epoch int64, checkpoint bool) {
	s.t.Helper()
	ctx := s.t.Context()
	w, err := s.repo.Begin(ctx, series, repository.Fence{Epoch: epoch, Task: tenantry.TaskID(fmt.Sprint("task-", epoch))})
	if err != nil {
		s.t.Fatal(err)
	}
	defer w.Close()
	for i, id := range slices.Sorted(maps.Keys(s.changed)) {
		if err := s.tell(ctx, w, id); err != nil {
			s.t.Fatal(err)
		}
		if checkpoint && i == len(s.changed)/2 {
			if err := w.Checkpoint(ctx); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	w.SetCursor("inbox", repository.Cursor{Link: fmt.Sprint("delta-", epoch), Complete: true})
	snapshot, err := w.Seal(ctx, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	clear(s.changed)
	s.snapshots[snapshot.Seq] = maps.Clone(s.items)
}

func (s *source) tell(ctx context.Context, w *repository.Writer, id string) error {
	it, ok := s.items[id]
	if !ok {
		return w.Remove(ctx, id)
	}
	payload, err := w.PutPayload(ctx, it.payload)
	if err != nil {
		return err
	}
	e := repository.Entry{ID: id, Parent: it.parent, Name: it.name, Kind: "message", Payload: payload}
	for i, body := range it.parts {
		part, err := w.PutContent(ctx, bytes.NewReader(body))
		if err != nil {
			return err
		}
		part.Name = fmt.Sprint("attachment-", i)
		e.Parts = append(e.Parts, part)
	}
	return w.Put(ctx, e)
}

// A reader that knows docs/FORMAT.md alone finds every entry and every byte of all snapshots.
func TestSnapshotsReadFromTheDocument(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "keys.json")
	ring, err := repository.OpenKeyFile(keyFile, true)
	if err != nil {
		t.Fatal(err)
	}
	store := blobtest.NewMemory()
	s := &source{t: t, store: store, ring: ring, items: map[string]item{}, changed: map[string]bool{}, snapshots: map[int64]map[string]item{}}
	s.open()
	live(s)

	bucket := formattest.Bucket{}
	for key, body := range store.Bodies(string(tenant) + "/") {
		bucket[strings.TrimPrefix(key, string(tenant)+"/")] = body
	}
	text, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := formattest.ParseKeyFile(text)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := formattest.NewReader(bucket, keys, string(tenant))
	if err != nil {
		t.Fatal(err)
	}
	head, err := reader.Open(string(series.Resource), string(series.Workload))
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Sorted(maps.Keys(s.snapshots)); !slices.Equal(slices.Sorted(slices.Values(head.Live)), want) {
		t.Fatalf("live are %v, sealed were %v", head.Live, want)
	}
	for seq, want := range s.snapshots {
		got, err := reader.Snapshot(string(series.Resource), string(series.Workload), seq)
		if err != nil {
			t.Fatalf("snapshot %d: %v", seq, err)
		}
		compare(t, seq, got, want)
	}
}

// live is a series' life: everything that the format has a word for.
func live(s *source) {
	s.put("empty", item{parent: "inbox", name: "nothing"})
	s.put("odd \x00\x01\x02", item{parent: "in\x01\x00box", name: strings.Repeat("é\x00\x01", 200), payload: noise(1, 10)})
	s.put("large", item{parent: "inbox", name: "large", payload: noise(2, 300_000), parts: [][]byte{noise(3, 40<<20), noise(4, 700_000), nil}})
	s.put("zeros", item{parent: "inbox", name: "zeros", parts: [][]byte{make([]byte, 100_000), make([]byte, 5<<20)}})
	s.backup(1, false)
	for i := range 3000 { // more than stands in a manifest: a run, and several blocks of it
		s.put(fmt.Sprintf("item-%04d", i), item{parent: fmt.Sprint("folder-", i%7), name: fmt.Sprint("Report ", i), payload: noise(i, 900)})
	}
	s.backup(2, true)
	s.backup(3, false) // nothing new
	for i := range 600 {
		if id := fmt.Sprintf("item-%04d", i*3); i%2 == 0 {
			s.remove(id)
		} else {
			s.put(id, item{parent: "archive", name: fmt.Sprint("Moved ", i), payload: noise(i, 100)})
		}
	}
	s.backup(4, true)
	if _, err := repository.RotateDataKey(s.t.Context(), s.store, s.ring, tenant); err != nil {
		s.t.Fatal(err)
	}
	s.open()
	for i := range 30 { // stands in the manifest, over runs
		s.put(fmt.Sprint("late-", i), item{parent: "inbox", name: "Late", payload: noise(i, 50), parts: [][]byte{noise(4, 700_000), noise(i, 10)}})
		s.remove(fmt.Sprintf("item-%04d", i*10))
	}
	s.put("item-0001", item{parent: "elsewhere", name: "moved", payload: []byte("small")})
	s.backup(5, false)
}

func compare(t *testing.T, seq int64, got map[string]formattest.Item, want map[string]item) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("snapshot %d: %d entries, %d were sealed", seq, len(got), len(want))
	}
	for id, w := range want {
		g, ok := got[id]
		if !ok {
			t.Errorf("snapshot %d: %q is missing", seq, id)
			continue
		}
		if g.Entry.Parent != w.parent || g.Entry.Name != w.name || !bytes.Equal(g.Payload, w.payload) || !slices.EqualFunc(g.Parts, w.parts, bytes.Equal) {
			t.Errorf("snapshot %d: %q is not what was sealed", seq, id)
		}
	}
}
