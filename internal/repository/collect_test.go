package repository_test

import (
	"context"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// ages is a repository, and a store, whose time passes at the test's command.
type ages struct {
	*repository.Repository
	store  *aged
	offset atomic.Int64
	epoch  int64
}

// aged is a store whose objects are as old as the test's clock says.
type aged struct {
	blob.Store
	now     func() time.Time
	mu      sync.Mutex
	written map[string]time.Time
}

func (s *aged) note(key string, err error) error {
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.written[key] = s.now()
	}
	return err
}

func (s *aged) Put(ctx context.Context, key string, body []byte) error {
	return s.note(key, s.Store.Put(ctx, key, body))
}

func (s *aged) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	return s.note(key, s.Store.PutIfAbsent(ctx, key, body))
}

func (s *aged) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for info, err := range s.Store.List(ctx, prefix) {
			s.mu.Lock()
			if at, ok := s.written[info.Key]; ok {
				info.Modified = at
			}
			s.mu.Unlock()
			if !yield(info, err) {
				return
			}
		}
	}
}

func aging(t *testing.T, p place) *ages {
	a := &ages{}
	a.store = &aged{Store: p.store(t), now: a.now, written: map[string]time.Time{}}
	a.Repository = openOver(t, p, a.store)
	repository.SetClock(a.Repository, a.now)
	return a
}

func (a *ages) now() time.Time { return time.Now().Add(time.Duration(a.offset.Load())) }

func (a *ages) pass(d time.Duration) { a.offset.Add(int64(d)) }

// writer takes a series under the next epoch.
func (a *ages) writer(t *testing.T, s tenantry.Series) *repository.Writer {
	t.Helper()
	a.epoch++
	w, err := a.Begin(t.Context(), s, repository.Fence{Epoch: a.epoch, Task: tenantry.NewTaskID(time.Now())})
	must(t, err)
	t.Cleanup(w.Close)
	return w
}

// snapshot seals the messages, each with the parts.
func (a *ages) snapshot(t *testing.T, s tenantry.Series, seeds []int, parts ...[]byte) int64 {
	t.Helper()
	w := a.writer(t, s)
	defer w.Close()
	for _, seed := range seeds {
		message(t, w, seed, parts...)
	}
	return seal(t, w).Seq
}

func (a *ages) remove(t *testing.T, s tenantry.Series, seeds ...int) int64 {
	t.Helper()
	w := a.writer(t, s)
	defer w.Close()
	for _, seed := range seeds {
		must(t, w.Remove(t.Context(), messageID(seed)))
	}
	return seal(t, w).Seq
}

func (a *ages) prune(t *testing.T, s tenantry.Series, drop ...int64) {
	t.Helper()
	w := a.writer(t, s)
	defer w.Close()
	n, err := w.Prune(t.Context(), drop)
	must(t, err)
	if n != len(drop) {
		t.Fatalf("%d of %d were dropped", n, len(drop))
	}
}

func (a *ages) sweep(t *testing.T, s tenantry.Series) repository.Freed {
	t.Helper()
	w := a.writer(t, s)
	defer w.Close()
	freed, err := w.Sweep(t.Context())
	must(t, err)
	return freed
}

func (a *ages) collect(t *testing.T) repository.Collected {
	t.Helper()
	out, err := a.Collect(t.Context())
	must(t, err)
	return out
}

// count says how many objects have a part in their name.
func (a *ages) count(t *testing.T, part string) int {
	t.Helper()
	n := 0
	for _, o := range objects(t, a.store) {
		if strings.Contains(o.Key, part) {
			n++
		}
	}
	return n
}

func (a *ages) check(t *testing.T, s tenantry.Series, seq int64) {
	t.Helper()
	done, err := a.Check(t.Context(), s, seq, func(p repository.Problem) { t.Errorf("snapshot %d: %s: %s", seq, p.Item, p.Reason) })
	must(t, err)
	if done.Items == 0 {
		t.Errorf("snapshot %d is empty", seq)
	}
}

var drive = tenantry.Series{Tenant: tenant, Resource: "u-1", Workload: tenantry.Drive}

// A dropped snapshot is not listed, stays readable while readers may have it, and then goes with all
// that it alone needed.
func TestPruneAndSweep(t *testing.T) {
	backends(t, func(t *testing.T, p place) {
		a := aging(t, p)
		first := a.snapshot(t, mailbox, []int{1, 2, 3})
		second := a.snapshot(t, mailbox, []int{4})
		third := a.remove(t, mailbox, 1, 2, 3)
		if n := a.sweep(t, mailbox).Objects; n != 0 {
			t.Fatalf("%d objects were garbage", n)
		}
		a.prune(t, mailbox, first, second)
		live, err := a.Snapshots(t.Context(), mailbox)
		must(t, err)
		if len(live) != 1 || live[0].Seq != third {
			t.Fatalf("live are %v", live)
		}
		if n := a.sweep(t, mailbox).Objects; n != 0 {
			t.Errorf("%d objects were deleted at once", n)
		}
		a.check(t, mailbox, first)

		a.pass(4 * time.Hour)
		packs := a.count(t, "/p/")
		freed := a.sweep(t, mailbox)
		if freed.Objects < 3 || freed.Bytes == 0 || a.count(t, "/p/") != packs-1 {
			t.Errorf("freed %+v, %d packs were %d", freed, a.count(t, "/p/"), packs)
		}
		_, err = a.OpenSnapshot(t.Context(), mailbox, first)
		wantKind(t, err, tenantry.NotFound)
		a.check(t, mailbox, third)
		a.check(t, mailbox, a.snapshot(t, mailbox, []int{5}))
		a.pass(4 * time.Hour)
		a.sweep(t, mailbox)
		if n := a.sweep(t, mailbox).Objects; n > 2 { // what the sweeps themselves committed
			t.Errorf("a sweep after a sweep deletes %d objects", n)
		}
		checkMessage(t, snapshot(t, a.Repository, third), 4)
	})
}

// The newest may go too: of a resource that has departed.
func TestPruneAll(t *testing.T) {
	t.Parallel()
	a := aging(t, folder(t))
	seq := a.snapshot(t, mailbox, []int{1, 2})
	a.prune(t, mailbox, seq)
	a.pass(4 * time.Hour)
	a.sweep(t, mailbox)
	live, err := a.Snapshots(t.Context(), mailbox)
	must(t, err)
	if len(live) != 0 {
		t.Errorf("live are %v", live)
	}
	a.check(t, mailbox, a.snapshot(t, mailbox, []int{3})) // the series goes on: the state is as it was
}

// A writer that slept cannot commit what a sweep has deleted.
func TestSweepFencesLateWriters(t *testing.T) {
	t.Parallel()
	a := aging(t, folder(t))
	last := a.snapshot(t, mailbox, []int{1})
	late := a.writer(t, mailbox)
	for i := 2; i < 40; i++ {
		message(t, late, i, noise(i, 120<<10), noise(100+i, 120<<10), noise(200+i, 120<<10), noise(300+i, 120<<10), noise(400+i, 120<<10), noise(500+i, 120<<10))
	}
	packs := a.count(t, "/p/")
	if packs < 2 {
		t.Fatal("nothing was uploaded yet")
	}
	a.pass(4 * time.Hour)
	if freed := a.sweep(t, mailbox); freed.Objects == 0 {
		t.Error("what nobody committed is not garbage")
	}
	_, err := late.Seal(t.Context(), noon)
	wantKind(t, err, tenantry.Fenced)
	a.check(t, mailbox, last)
}

func TestCollect(t *testing.T) {
	backends(t, func(t *testing.T, p place) {
		a := aging(t, p)
		kept, lost := noise(1, 300<<10), noise(2, 1<<20)
		mail := a.snapshot(t, mailbox, []int{1}, kept)
		gone := a.snapshot(t, drive, []int{2}, lost, kept)
		empty := a.remove(t, drive, 2)
		chunks := a.count(t, "/c/")
		a.prune(t, drive, gone)
		if out := a.collect(t); out.Condemned != 0 {
			t.Fatalf("%+v: a reader may have it", out)
		}
		a.pass(4 * time.Hour)
		a.sweep(t, drive)

		out := a.collect(t)
		if out.Condemned == 0 || out.Again.IsZero() || out.Objects != 0 {
			t.Fatalf("%+v", out)
		}
		if again := a.collect(t); again.Objects != 0 || again.Again.IsZero() {
			t.Fatalf("deleted too early: %+v", again)
		}
		// From now on a writer does not trust what is condemned.
		next := a.snapshot(t, drive, []int{3}, lost)
		if n := a.count(t, ".1"); int64(n) != out.Condemned {
			t.Errorf("%d chunks are of a next generation, %d condemned", n, out.Condemned)
		}
		a.pass(4 * time.Hour)
		freed := a.collect(t)
		if freed.Objects != out.Condemned || freed.Bytes < 1<<20 {
			t.Errorf("freed %+v of %+v", freed, out)
		}
		if n := a.count(t, "/c/"); n != chunks {
			t.Errorf("%d chunks, there were %d", n, chunks)
		}
		a.check(t, mailbox, mail)
		a.check(t, drive, next)
		if _, err := a.OpenSnapshot(t.Context(), drive, empty); err != nil {
			t.Error(err)
		}
		a.pass(7 * time.Hour)
		if out := a.collect(t); out.Condemned != 0 || a.count(t, "/g/") != 0 {
			t.Errorf("the list is not removed: %+v", out)
		}
		// The name is free again.
		a.remove(t, drive, 3)
		a.check(t, mailbox, a.snapshot(t, mailbox, []int{4}, lost))
	})
}

// A writer that used a chunk before it was condemned, and commits in time, keeps it; one that commits
// too late commits nothing.
func TestCollectBesideWriters(t *testing.T) {
	t.Parallel()
	content := noise(7, 400<<10)
	condemned := func(t *testing.T) *ages {
		a := aging(t, folder(t))
		seq := a.snapshot(t, drive, []int{1}, content)
		a.remove(t, drive, 1)
		a.prune(t, drive, seq)
		a.pass(4 * time.Hour)
		return a
	}
	t.Run("in time", func(t *testing.T) {
		t.Parallel()
		a := condemned(t)
		w := a.writer(t, mailbox)
		message(t, w, 2, content)
		if out := a.collect(t); out.Condemned == 0 {
			t.Fatal("nothing is condemned")
		}
		a.pass(50 * time.Minute)
		seq := seal(t, w).Seq
		a.pass(4 * time.Hour)
		if out := a.collect(t); out.Objects != 0 {
			t.Errorf("deleted what is used: %+v", out)
		}
		a.check(t, mailbox, seq)
	})
	t.Run("condemned meanwhile", func(t *testing.T) {
		t.Parallel()
		a := condemned(t)
		w := a.writer(t, mailbox)
		message(t, w, 2, content)
		a.collect(t)
		a.pass(70 * time.Minute)
		_, err := w.Seal(t.Context(), noon)
		wantKind(t, err, tenantry.Transient)
		a.check(t, mailbox, a.snapshot(t, mailbox, []int{2}, content))
	})
	t.Run("long after", func(t *testing.T) {
		t.Parallel()
		a := condemned(t)
		w := a.writer(t, mailbox)
		message(t, w, 2, content)
		a.collect(t)
		a.pass(4 * time.Hour)
		if out := a.collect(t); out.Objects == 0 {
			t.Fatal("nothing was deleted")
		}
		a.pass(7 * time.Hour)
		a.collect(t)
		_, err := w.Seal(t.Context(), noon)
		wantKind(t, err, tenantry.Transient)
	})
	t.Run("a long file goes on", func(t *testing.T) {
		t.Parallel()
		a := condemned(t)
		w := a.writer(t, mailbox)
		for i := range 4 {
			message(t, w, 10+i, noise(50+i, 200<<10))
			a.pass(time.Hour)
		}
		a.check(t, mailbox, seal(t, w).Seq)
	})
}

// Two collectors at once: one deletes.
func TestCollectorsRace(t *testing.T) {
	t.Parallel()
	a := aging(t, folder(t))
	seq := a.snapshot(t, drive, []int{1}, noise(3, 2<<20))
	a.remove(t, drive, 1)
	a.prune(t, drive, seq)
	a.pass(4 * time.Hour)
	list := a.collect(t).Condemned
	a.pass(4 * time.Hour)
	freed := make(chan int64, 2)
	for range 2 {
		go func() {
			out, err := a.Collect(t.Context())
			if err != nil {
				t.Error(err)
			}
			freed <- out.Objects
		}()
	}
	if x, y := <-freed, <-freed; x+y != list || x*y != 0 {
		t.Errorf("%d and %d of %d were deleted", x, y, list)
	}
}

// With little memory it takes more passes, and more lists, and says the same.
func TestCollectInPasses(t *testing.T) {
	t.Parallel()
	a := aging(t, folder(t))
	mail := a.snapshot(t, mailbox, []int{1}, noise(1, 8<<20), noise(2, 8<<20))
	gone := a.snapshot(t, drive, []int{2}, noise(3, 8<<20))
	a.remove(t, drive, 2)
	a.prune(t, drive, gone)
	a.pass(4 * time.Hour)
	before := a.count(t, "/c/")
	deleted := int64(0)
	for range 20 {
		out, err := repository.CollectWith(t.Context(), a.Repository, 8, 4)
		must(t, err)
		deleted += out.Objects
		if out.Condemned > 4 {
			t.Fatalf("a list of %d", out.Condemned)
		}
		a.pass(4 * time.Hour)
		if out == (repository.Collected{}) {
			break
		}
	}
	if left := a.count(t, "/c/"); deleted < 8 || int64(before-left) != deleted {
		t.Errorf("%d chunks were %d, %d were deleted", left, before, deleted)
	}
	a.check(t, mailbox, mail)
}

// What a lock keeps is neither condemned nor fails a sweep.
func TestCollectUnderLocks(t *testing.T) {
	srv := servertest.S3Locks(t)
	p := place{
		url: "s3://" + srv.Bucket + "?endpoint=" + srv.Endpoint,
		s3: blob.S3Options{
			AccessKey: srv.AccessKey, SecretKey: tenantry.NewSecret(srv.SecretKey),
			Lock: blob.LockPolicy{Mode: blob.Governance, For: 30 * 24 * time.Hour},
		},
		keyFile: t.TempDir() + "/keys.json",
	}
	a := &ages{}
	a.Repository = p.open(t) // with nothing around the store, which would hide its locks
	repository.SetClock(a.Repository, a.now)
	gone := a.snapshot(t, drive, []int{1}, noise(1, 300<<10))
	last := a.remove(t, drive, 1)
	a.prune(t, drive, gone)
	a.pass(4 * time.Hour)
	if freed := a.sweep(t, drive); freed.Locked == 0 || freed.Objects != 0 {
		t.Errorf("freed %+v", freed)
	}
	if out := a.collect(t); out.Condemned != 0 {
		t.Errorf("condemned what is locked: %+v", out)
	}
	if _, err := a.OpenSnapshot(t.Context(), drive, last); err != nil {
		t.Error(err)
	}
	a.check(t, drive, gone) // it is all there still
}
