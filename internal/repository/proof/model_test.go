//go:build proof

package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// actor is one process of a plan: what it does, when, and what befalls it. Plans are drawn whole
// before they run: then only the virtual clock decides who goes next, and a plan that fails shrinks.
type actor struct {
	Role    string
	Series  tenantry.Series
	Start   time.Duration // since the beginning
	Version int           // of what a writer backs up
	Items   int
	At      int // number of the write that is struck
	How     strike
	// Sleeps: after so many requests the machine sleeps for so long. A request that it was about to send
	// is then refused, as S3 refuses what was signed more than 15 minutes ago.
	Sleeps int
	Nap    time.Duration
	// Machine is where it runs: those of one machine share a cache of index objects; 0: one that has none.
	Machine int
}

// The roles.
const (
	writer    = "writer"
	parker    = "parked writer" // commits a checkpoint half way, and another process goes on for it
	pruner    = "pruner"
	collector = "collector"
	reader    = "reader"
)

func drawActor(t *rapid.T) actor {
	a := actor{
		Role:    rapid.SampledFrom([]string{writer, writer, writer, parker, pruner, pruner, collector, collector, reader}).Draw(t, "role"),
		Series:  rapid.SampledFrom([]tenantry.Series{alice, bob}).Draw(t, "series"),
		Start:   time.Duration(rapid.IntRange(0, 200).Draw(t, "start")) * 11 * time.Minute,
		Version: rapid.IntRange(1, 3).Draw(t, "version"),
		Items:   rapid.IntRange(0, 13).Draw(t, "items"),
		At:      rapid.IntRange(-8, 12).Draw(t, "struck"),
		How:     rapid.SampledFrom(strikes).Draw(t, "how"),
		Machine: rapid.IntRange(0, machines).Draw(t, "machine"),
	}
	if a.Role != reader && rapid.IntRange(0, 2).Draw(t, "late") == 0 {
		a.Sleeps = rapid.IntRange(1, 40).Draw(t, "sleeps after")
		a.Nap = time.Duration(rapid.IntRange(1, 60).Draw(t, "nap")) * 17 * time.Minute
	}
	return a
}

// machines is how many have a cache, which is so small that it does not hold all there is.
const (
	machines   = 2
	smallCache = 128 << 10
)

// model is a world with many processes at once, and what must hold in it.
type model struct {
	mu      sync.Mutex // guards the world's maps and what follows
	world   *world
	dropped map[tenantry.TaskID]bool
	taken   map[string][]byte // manifests by key: whoever wrote one wrote it for ever
	lists   int               // of condemned chunks, ever
	faults  []error
	caches  [1 + machines]string
	spared  *atomic.Int64
}

func (m *model) fault(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, fmt.Errorf(format, args...))
}

// Whoever writes, parks, wakes late, prunes, collects and reads at once: no snapshot ever loses a
// byte, no number is taken twice, nothing is stored as a new generation without cause, nobody meets
// damage, and those who read always can.
func TestAnyInterleaving(t *testing.T) {
	var spared atomic.Int64 // reads
	rapid.Check(t, func(rt *rapid.T) {
		plan := rapid.SliceOfN(rapid.Custom(drawActor), 3, 16).Draw(rt, "plan")
		var faults []error
		synctest.Test(t, func(t *testing.T) { faults = run(t.Context(), plan, &spared) })
		if len(faults) > 0 {
			rt.Fatalf("%v", errors.Join(faults...))
		}
	})
	if t.Logf("caches spared the buckets %d reads", spared.Load()); spared.Load() == 0 {
		t.Error("no cache had anything: its part of the proof proves nothing")
	}
}

// run runs a plan to its end, and then checks what is left.
func run(ctx context.Context, plan []actor, spared *atomic.Int64) []error {
	m := &model{world: newWorld(), dropped: map[tenantry.TaskID]bool{}, taken: map[string][]byte{}, spared: spared}
	for i := range machines {
		dir, err := os.MkdirTemp("", "tenantry-proof-cache-")
		if err != nil {
			return []error{err}
		}
		defer os.RemoveAll(dir)
		m.caches[1+i] = dir
	}
	if err := m.world.backup(ctx, m.process(-1, actor{At: -1}), alice, "first", mailbox(1, 7)); err != nil {
		return []error{err}
	}
	var all sync.WaitGroup
	for i, a := range plan {
		all.Go(func() {
			time.Sleep(a.Start)
			m.act(ctx, i, a)
		})
	}
	all.Wait()
	if len(m.faults) > 0 {
		return m.faults
	}
	for task := range m.dropped {
		delete(m.world.sealed, task)
	}
	check := func() error { return m.world.restore(ctx, newProcess(m.world.store)) }
	time.Sleep(aged)
	steps := []func() error{
		check,
		func() error { return m.world.backup(ctx, m.process(-2, actor{At: -1}), alice, "next", mailbox(2, 9)) },
		func() error { return collectRest(ctx, m.world) }, check,
		func() error { return m.world.backup(ctx, m.process(-3, actor{At: -1}), alice, "last", mailbox(3, 9)) }, check,
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return append(m.faults, fmt.Errorf("afterwards, step %d: %w", i, err))
		}
	}
	return m.faults
}

// act plays one process. What it may end with: success, a store that fails, a fence.
func (m *model) act(ctx context.Context, number int, a actor) {
	p := m.process(number, a)
	defer p.end()
	defer func() { m.spared.Add(p.cache.Stats().Hits) }()
	var err error
	task := tenantry.TaskID(fmt.Sprintf("task-%d", number))
	switch a.Role {
	case writer:
		err = m.write(ctx, p, a, task, 0)
	case parker:
		if err = m.write(ctx, p, a, task, max(1, a.Items/2)); err == nil {
			time.Sleep(a.Nap)
			err = m.write(ctx, m.process(number+1000, actor{At: -1, Machine: a.Machine}), a, task, 0)
		}
	case pruner:
		err = m.prune(ctx, p, a, task)
	case collector:
		err = collect(ctx, m.world, p)
	case reader:
		err = m.read(ctx, p, a)
	}
	switch tenantry.KindOf(err) {
	case tenantry.Transient, tenantry.Fenced, tenantry.Canceled:
	default:
		if err != nil {
			m.fault("process %d (%s): %w (%s)", number, a.Role, err, tenantry.KindOf(err))
		}
	}
}

// begin claims a series, as SQL would have it.
func (m *model) begin(ctx context.Context, p *slow, s tenantry.Series, task tenantry.TaskID) (*repository.Writer, error) {
	repo, err := repository.Open(ctx, p, keyring, tenant)
	if err != nil {
		return nil, err
	}
	m.useCache(repo, p)
	head, err := repo.Head(ctx, s)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	epoch := max(m.world.epochs[s], head.Epoch) + 1
	m.world.epochs[s] = epoch
	m.mu.Unlock()
	return repo.Begin(ctx, s, repository.Fence{Epoch: epoch, Task: task})
}

// useCache gives a process the cache of its machine.
func (m *model) useCache(repo *repository.Repository, p *slow) {
	dir := m.caches[p.actor.Machine]
	if dir == "" {
		return
	}
	p.cache = repository.NewCache(dir, smallCache, func(err error) { m.fault("process %d: %w", p.number, err) })
	repo.UseCache(p.cache, "the bucket")
}

// mostly is a mailbox of a version, but for one item that stays as it was: for its sake packs live that are mostly dead.
func mostly(version, n int) state {
	s := mailbox(version, n)
	if _, ok := s["item-0002"]; ok {
		s["item-0002"] = 1
	}
	return s
}

// write backs a state up; with stop it commits a checkpoint after so many changes and leaves.
func (m *model) write(ctx context.Context, p *slow, a actor, task tenantry.TaskID, stop int) error {
	want := mostly(a.Version, a.Items)
	m.mu.Lock()
	m.world.truth[task] = want
	m.mu.Unlock()
	w, err := m.begin(ctx, p, a.Series, task)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, done := w.SealedByTask(); !done {
		if stop > 0 {
			want = mostly(a.Version, stop)
		}
		if err := update(ctx, w, want, 4); err != nil {
			return err
		}
		if stop > 0 {
			return w.Checkpoint(ctx)
		}
		if _, err := w.Seal(ctx, time.Now()); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.world.sealed[task] = true
	return nil
}

// prune drops all but the newest snapshot of a series, empties packs that are mostly dead, and sweeps it.
func (m *model) prune(ctx context.Context, p *slow, a actor, task tenantry.TaskID) error {
	w, err := m.begin(ctx, p, a.Series, task)
	if err != nil {
		return err
	}
	defer w.Close()
	var drop []int64
	for i, live := range w.Live() {
		if i > 0 {
			drop = append(drop, live.Seq)
			m.mu.Lock()
			m.dropped[live.Task] = true
			m.mu.Unlock()
		}
	}
	if _, err := w.Prune(ctx, drop); err != nil {
		return err
	}
	if _, err := w.Compact(ctx, repository.CompactLimits{Budget: 1 << 20, MinDead: 1, AnyGain: true}); err != nil {
		return err
	}
	if _, err := w.Fold(ctx); err != nil {
		return err
	}
	_, err = w.Sweep(ctx)
	return err
}

// read reads all snapshots of a series that are live when it begins.
func (m *model) read(ctx context.Context, p *slow, a actor) error {
	repo, err := repository.OpenExisting(ctx, p, keyring, tenant)
	if err != nil {
		return err
	}
	m.useCache(repo, p)
	live, err := repo.Snapshots(ctx, a.Series)
	if err != nil {
		return err
	}
	for _, snapshot := range live {
		m.mu.Lock()
		want := m.world.truth[snapshot.Task]
		m.mu.Unlock()
		rd, err := repo.OpenSnapshot(ctx, a.Series, snapshot.Seq)
		if err == nil {
			err = compare(ctx, rd, want)
			rd.Close()
		}
		if err != nil {
			return fmt.Errorf("snapshot %d of %s: %w", snapshot.Seq, snapshot.Task, err)
		}
	}
	return nil
}

// slow is a process's store with the way to it: every request takes its time, of which only the
// process, the request and its number decide, and the machine may fall asleep.
type slow struct {
	*process
	model  *model
	number int
	actor  actor
	cache  *repository.Cache

	mu   sync.Mutex // guards what follows
	seen map[string]int
	sent int
}

func (m *model) process(number int, a actor) *slow {
	p := newProcess(m.world.store)
	p.at, p.how = a.At, a.How
	return &slow{process: p, model: m, number: number, actor: a, seen: map[string]int{}}
}

// wait lets a request take its time.
func (s *slow) wait(op, key string) error {
	kind := op + " " + objectKind(key)
	s.mu.Lock()
	s.sent++
	asleep := s.sent == s.actor.Sleeps
	s.seen[kind]++
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, s.number, kind, s.seen[kind])
	s.mu.Unlock()
	if asleep {
		time.Sleep(s.actor.Nap)
		return errCut
	}
	time.Sleep(time.Duration(h.Sum64() % uint64(40*time.Second)))
	return nil
}

// Put implements blob.Store.
func (s *slow) Put(ctx context.Context, key string, body []byte) error {
	if err := s.wait("put", key); err != nil {
		return err
	}
	return s.process.Put(ctx, key, body)
}

// PutIfAbsent implements blob.Store, and notes who takes what.
func (s *slow) PutIfAbsent(_ context.Context, key string, body []byte) error {
	if err := s.wait("put", key); err != nil {
		return err
	}
	return s.write("put", key, func() error {
		err := s.store.PutIfAbsent(context.Background(), key, body)
		if err == nil {
			s.model.note(s.number, key, body)
		}
		return err
	})
}

// note holds what was just written against the rules.
func (m *model) note(number int, key string, body []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch objectKind(key) {
	case "list":
		m.lists++
	case "chunk":
		if !strings.HasSuffix(key, ".0") && m.lists == 0 {
			m.faults = append(m.faults, fmt.Errorf("process %d stored %s and nothing was ever condemned", number, key))
		}
	case "manifest":
		if earlier, taken := m.taken[key]; taken && !bytes.Equal(earlier, body) {
			m.faults = append(m.faults, fmt.Errorf("process %d took number %s a second time", number, key))
		}
		m.taken[key] = bytes.Clone(body)
	}
}

// Delete implements blob.Store.
func (s *slow) Delete(ctx context.Context, key string) error {
	if err := s.wait("delete", key); err != nil {
		return err
	}
	return s.process.Delete(ctx, key)
}

// Get implements blob.Store.
func (s *slow) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	if err := s.wait("get", key); err != nil {
		return nil, err
	}
	return s.process.Get(ctx, key, offset, n)
}

// Stat implements blob.Store.
func (s *slow) Stat(ctx context.Context, key string) (blob.Info, error) {
	if err := s.wait("stat", key); err != nil {
		return blob.Info{}, err
	}
	return s.process.Stat(ctx, key)
}

// List implements blob.Store.
func (s *slow) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	if err := s.wait("list", prefix); err != nil {
		return func(yield func(blob.Info, error) bool) { yield(blob.Info{}, err) }
	}
	return s.process.List(ctx, prefix)
}
