//go:build proof

package proof

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/repository/formattest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const tenant = tenantry.TenantID("t-1")

var (
	alice = tenantry.Series{Tenant: tenant, Resource: "u-alice", Workload: tenantry.Mailbox}
	bob   = tenantry.Series{Tenant: tenant, Resource: "u-bob", Workload: tenantry.Mailbox}
)

// keyring is one key file for all worlds: wrapping keys are per tenant, and all have one tenant.
var (
	keyring repository.Keyring
	keyFile formattest.KeyFile
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tenantry-proof-")
	if err == nil {
		err = openKeyring(filepath.Join(dir, "keys.json"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := flag.Set("rapid.checks", "800"); err != nil { // some 40 seconds; ask for more with -rapid.checks
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// openKeyring makes the keys, and everything that a process makes once: what is made within
// one virtual clock cannot be used under another.
func openKeyring(path string) error {
	ring, err := repository.OpenKeyFile(path, true)
	if err != nil {
		return err
	}
	keyring = &oneByOne{ring: ring}
	w := newWorld()
	if err := w.backup(context.Background(), newProcess(w.store), alice, "warm-up", mailbox(1, 400)); err != nil {
		return err
	}
	if err := w.restore(context.Background(), newProcess(w.store)); err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err == nil {
		keyFile, err = formattest.ParseKeyFile(text)
	}
	return err
}

// oneByOne lets nobody wait for the lock on the key file, which is real and knows no virtual clock.
type oneByOne struct {
	mu   sync.Mutex
	ring repository.Keyring
}

// Wrap implements repository.Keyring.
func (o *oneByOne) Wrap(ctx context.Context, id tenantry.TenantID, key []byte) (wrapped []byte, keyID string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ring.Wrap(ctx, id, key)
}

// Unwrap implements repository.Keyring.
func (o *oneByOne) Unwrap(ctx context.Context, id tenantry.TenantID, keyID string, wrapped []byte) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ring.Unwrap(ctx, id, keyID, wrapped)
}

// state is what a mailbox holds: the version of each item, by ID. An item's bytes follow from both.
type state map[string]int

// mailbox returns n items of a version.
func mailbox(version, n int) state {
	s := state{}
	for i := range n {
		s[fmt.Sprintf("item-%04d", i)] = version
	}
	return s
}

// with returns s with some items set to a version, or removed where it is 0.
func (s state) with(version int, ids ...string) state {
	out := maps.Clone(s)
	for _, id := range ids {
		if out[id] = version; version == 0 {
			delete(out, id)
		}
	}
	return out
}

// contents are an item's payload and its attachment. Every third attachment is large, and every
// large one is there twice.
func contents(id string, version int) (payload, attachment []byte) {
	number := 0
	_, _ = fmt.Sscanf(id, "item-%d", &number)
	payload = noise(number+version*10_000, 120)
	switch number % 6 {
	case 0, 3:
		return payload, noise(number/6+version*10_000, 128<<10) // one chunk: two would wait for a lock, which stops a virtual clock
	case 1:
		return payload, noise(number, 300)
	}
	return payload, nil
}

// subject takes some 50 bytes in the index, compressed, so that few items make a run.
func subject(id string, version int) string {
	payload, _ := contents(id, version)
	return fmt.Sprintf("Report %x", payload[:50])
}

func noise(seed, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	_, _ = r.Read(b)
	return b
}

// world is one bucket, what SQL knows of it, and the truth.
type world struct {
	store  *blobtest.Memory
	epochs map[tenantry.Series]int64
	truth  map[tenantry.TaskID]state // what the task backs up
	ended  time.Time                 // of a virtual clock: when it was prepared
	every  int                       // how many changes a checkpoint commits
	sealed map[tenantry.TaskID]bool  // snapshots that somebody was told of, and that nobody has dropped since
	cache  *repository.Cache         // of those who back up, maintain and restore; nil: none
}

// open opens the repository as those do who may have a cache.
func (w *world) open(ctx context.Context, store blob.Store) (*repository.Repository, error) {
	repo, err := repository.Open(ctx, store, keyring, tenant)
	if err == nil {
		w.useCache(repo)
	}
	return repo, err
}

func (w *world) useCache(repo *repository.Repository) {
	if w.cache != nil {
		repo.UseCache(w.cache, "the bucket")
	}
}

func newWorld() *world {
	return &world{
		store: blobtest.NewMemory(), epochs: map[tenantry.Series]int64{}, truth: map[tenantry.TaskID]state{},
		sealed: map[tenantry.TaskID]bool{}, every: 150,
	}
}

// clone returns the same world for another virtual clock, which goes on when the world ended.
func (w *world) clone() *world {
	time.Sleep(time.Until(w.ended))
	return &world{store: w.store.Clone(), epochs: maps.Clone(w.epochs), truth: maps.Clone(w.truth), sealed: maps.Clone(w.sealed), every: w.every}
}

// claim is what SQL does: epoch = max(SQL, head) + 1.
func (w *world) claim(ctx context.Context, repo *repository.Repository, s tenantry.Series) (int64, error) {
	head, err := repo.Head(ctx, s)
	if err != nil {
		return 0, err
	}
	w.epochs[s] = max(w.epochs[s], head.Epoch) + 1
	return w.epochs[s], nil
}

// backup brings a series to a state, as one task.
func (w *world) backup(ctx context.Context, store blob.Store, s tenantry.Series, task tenantry.TaskID, want state) error {
	w.truth[task] = want
	repo, err := w.open(ctx, store)
	if err != nil {
		return err
	}
	epoch, err := w.claim(ctx, repo, s)
	if err != nil {
		return err
	}
	wr, err := repo.Begin(ctx, s, repository.Fence{Epoch: epoch, Task: task})
	if err != nil {
		return err
	}
	defer wr.Close()
	if _, done := wr.SealedByTask(); !done {
		if err := update(ctx, wr, want, w.every); err != nil {
			return err
		}
		if _, err := wr.Seal(ctx, time.Now()); err != nil {
			return err
		}
	}
	w.sealed[task] = true
	return nil
}

// update tells a writer what differs from the state that is wanted.
func update(ctx context.Context, wr *repository.Writer, want state, every int) error {
	has := state{}
	for e, err := range wr.Entries(ctx) {
		if err != nil {
			return err
		}
		has[e.ID] = int(e.Generation)
	}
	all := maps.Clone(has)
	maps.Copy(all, want)
	changes := 0
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if has[id] == want[id] {
			continue
		}
		if err := tell(ctx, wr, id, want[id]); err != nil {
			return err
		}
		if changes++; changes%every == 0 {
			if err := wr.Checkpoint(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// tell stores an item, or removes it.
func tell(ctx context.Context, wr *repository.Writer, id string, version int) error {
	if version == 0 {
		return wr.Remove(ctx, id)
	}
	payload, attachment := contents(id, version)
	ref, err := wr.PutPayload(ctx, payload)
	if err != nil {
		return err
	}
	e := repository.Entry{ID: id, Parent: "inbox", Kind: "message", Name: subject(id, version), Generation: int64(version), Payload: ref}
	if attachment != nil {
		part, err := wr.PutContent(ctx, bytes.NewReader(attachment))
		if err != nil {
			return err
		}
		e.Parts = []repository.Part{part}
	}
	return wr.Put(ctx, e)
}

// restore reads every live snapshot of every series and compares each byte. What was sealed must be live.
func (w *world) restore(ctx context.Context, store blob.Store) error {
	repo, err := repository.OpenExisting(ctx, store, keyring, tenant)
	if err != nil {
		return err
	}
	w.useCache(repo)
	all, err := repo.List(ctx)
	if err != nil {
		return err
	}
	live := map[tenantry.TaskID]bool{}
	for _, s := range all {
		snapshots, err := repo.Snapshots(ctx, s)
		if err != nil {
			return err
		}
		for _, snapshot := range snapshots {
			live[snapshot.Task] = true
			if err := w.read(ctx, repo, s, snapshot); err != nil {
				return fmt.Errorf("%s: snapshot %d of %s: %w", s, snapshot.Seq, snapshot.Task, err)
			}
		}
	}
	for task := range w.sealed {
		if !live[task] {
			return fmt.Errorf("the snapshot that %s sealed is gone", task)
		}
	}
	return nil
}

// read compares one snapshot with the truth, and has it checked.
func (w *world) read(ctx context.Context, repo *repository.Repository, s tenantry.Series, snapshot repository.Snapshot) error {
	rd, err := repo.OpenSnapshot(ctx, s, snapshot.Seq)
	if err != nil {
		return err
	}
	defer rd.Close()
	if err := compare(ctx, rd, w.truth[snapshot.Task]); err != nil {
		return err
	}
	var problems []error
	_, err = repo.Check(ctx, s, snapshot.Seq, func(p repository.Problem) { problems = append(problems, errors.New(p.Reason)) })
	return errors.Join(append(problems, err)...)
}

// errTruth says that something reads well and is wrong.
var errTruth = errors.New("truth")

// compare holds all that a reader finds against the truth.
func compare(ctx context.Context, rd *repository.Reader, want state) error {
	found := 0
	for e, err := range rd.Entries(ctx) {
		if err != nil {
			return err
		}
		found++
		payload, attachment := contents(e.ID, want[e.ID])
		got, err := rd.Payload(ctx, e)
		if err != nil {
			return err
		}
		if want[e.ID] == 0 || int(e.Generation) != want[e.ID] || !bytes.Equal(got, payload) || len(e.Parts) == 0 != (attachment == nil) {
			return fmt.Errorf("%s in version %d is not version %d of the %w", e.ID, e.Generation, want[e.ID], errTruth)
		}
		for _, part := range e.Parts {
			if err := comparePart(ctx, rd, e, part, attachment); err != nil {
				return err
			}
		}
	}
	if found != len(want) {
		return fmt.Errorf("%d items are not the %d of the %w", found, len(want), errTruth)
	}
	return nil
}

func comparePart(ctx context.Context, rd *repository.Reader, e repository.Entry, part repository.Part, want []byte) error {
	stream, err := rd.Open(ctx, e, part)
	if err != nil {
		return err
	}
	defer stream.Close()
	got, err := io.ReadAll(stream)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("attachment of %s is not that of the %w", e.ID, errTruth)
	}
	return err
}

// reread reads the live snapshots once more, with the reader that knows docs/FORMAT.md alone.
func (w *world) reread(series ...tenantry.Series) error {
	reader, err := formattest.NewReader(bucketOf(w.store), keyFile, string(tenant))
	if err != nil {
		return err
	}
	for _, s := range series {
		head, err := reader.Open(string(s.Resource), string(s.Workload))
		if err != nil {
			return err
		}
		for _, live := range head.Head.Live {
			items, err := reader.Snapshot(string(s.Resource), string(s.Workload), live.Seq)
			if err != nil {
				return err
			}
			want := w.truth[tenantry.TaskID(live.Task)]
			if len(items) != len(want) {
				return fmt.Errorf("%s: snapshot %d: %d items of %d", s, live.Seq, len(items), len(want))
			}
			for id, item := range items {
				if payload, _ := contents(id, want[id]); !bytes.Equal(item.Payload, payload) {
					return fmt.Errorf("%s: snapshot %d: %s differs", s, live.Seq, id)
				}
			}
		}
	}
	return nil
}

func bucketOf(store *blobtest.Memory) formattest.Bucket {
	bucket := formattest.Bucket{}
	for key, body := range store.Bodies(string(tenant) + "/") {
		bucket[strings.TrimPrefix(key, string(tenant)+"/")] = body
	}
	return bucket
}
