//go:build proof

package proof

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// scenario is something that a process does to a world that was prepared, and that is cut short.
type scenario struct {
	name    string
	prepare func(ctx context.Context, w *world) error
	act     func(ctx context.Context, w *world, store blob.Store) error
	// after, if set, runs at the end, when all else has been checked.
	after func(ctx context.Context, w *world) error
	// writes are the kinds of writes that act consists of, at least: otherwise it does not show what it is to.
	writes []string
}

var scenarios = []scenario{
	{
		name:    "first backup",
		prepare: func(context.Context, *world) error { return nil },
		act: func(ctx context.Context, w *world, store blob.Store) error {
			return w.backup(ctx, store, alice, "first", mailbox(1, 20))
		},
		writes: []string{"put key", "put chunk", "put pack", "put manifest"},
	},
	{
		name: "backup of what has changed",
		prepare: func(ctx context.Context, w *world) error {
			return w.backup(ctx, w.store, alice, "first", mailbox(1, 30))
		},
		act: func(ctx context.Context, w *world, store blob.Store) error {
			return w.backup(ctx, store, alice, "second", mailbox(1, 32).with(2, "item-0000", "item-0001", "item-0002").with(0, "item-0004", "item-0006"))
		},
		writes: []string{"put chunk", "put pack", "put manifest"},
	},
	{
		name: "backup with checkpoints and runs",
		prepare: func(ctx context.Context, w *world) error {
			return w.backup(ctx, w.store, bob, "bob", mailbox(1, 30))
		},
		act: func(ctx context.Context, w *world, store blob.Store) error {
			return w.backup(ctx, store, alice, "first", texts(1, 500))
		},
		writes: []string{"put segment", "put pack", "put manifest"},
	},
	{
		name:    "taking over",
		prepare: abandoned,
		act: func(ctx context.Context, w *world, store blob.Store) error {
			return w.backup(ctx, store, alice, "second", texts(3, 400))
		},
		writes: []string{"put segment", "put pack", "put manifest"},
	},
	{
		name:    "fold of what earlier runs left",
		prepare: unfolded,
		act: func(ctx context.Context, w *world, store blob.Store) error {
			return w.backup(ctx, store, alice, "third", texts(1, 810).with(0, "item-0002", "item-0004"))
		},
		writes: []string{"put segment", "put pack", "put manifest"},
	},
	{
		name:    "fold together with what has gathered",
		prepare: twice,
		act: func(ctx context.Context, w *world, store blob.Store) error {
			return w.backup(ctx, store, alice, "third", texts(1, 1100).with(0, "item-0002", "item-0004"))
		},
		writes: []string{"put segment", "put segment", "put pack", "put manifest"},
	},
}

// twice leaves a series with runs of the index that are about to be folded.
func twice(ctx context.Context, w *world) error {
	if err := w.backup(ctx, w.store, alice, "first", texts(1, 600)); err != nil {
		return err
	}
	return w.backup(ctx, w.store, alice, "second", texts(1, 700))
}

// unfolded leaves runs of the index whose backups have looked nothing up, and so could not afford to fold them.
func unfolded(ctx context.Context, w *world) error {
	return added(ctx, w, state{}, texts(1, 300), texts(1, 550), texts(1, 800))
}

// added backs up states that only add to one another and to what the series had. Its writers look nothing up, so each
// leaves a run of the index: what a backup has looked up it folds.
func added(ctx context.Context, w *world, had state, states ...state) error {
	for i, want := range states {
		task := tenantry.TaskID(fmt.Sprint("added-", i))
		w.truth[task] = want
		err := w.maintain(ctx, w.store, alice, task, func(wr *repository.Writer) error {
			for _, id := range slices.Sorted(maps.Keys(want)) {
				if had[id] != 0 {
					continue
				}
				if err := tell(ctx, wr, id, 1); err != nil {
					return err
				}
			}
			_, err := wr.Seal(ctx, time.Now())
			return err
		})
		if err != nil {
			return err
		}
		w.sealed[task], had = true, want
	}
	return nil
}

// texts is a mailbox of n items without large attachments.
func texts(version, n int) state {
	s := mailbox(version, 2*n)
	maps.DeleteFunc(s, func(id string, _ int) bool { _, a := contents(id, version); return len(a) > 1000 })
	for _, id := range slices.Sorted(maps.Keys(s))[n:] {
		delete(s, id)
	}
	return s
}

// abandoned leaves a series that its owner has checkpointed and never sealed.
func abandoned(ctx context.Context, w *world) error {
	if err := w.backup(ctx, w.store, alice, "first", texts(1, 20)); err != nil {
		return err
	}
	p := newProcess(w.store)
	p.at, p.how = 4, diesBefore
	if err := w.backup(ctx, p, alice, "dead", texts(2, 350)); err == nil {
		return fmt.Errorf("the backup that was to be abandoned was sealed")
	}
	return nil
}

// Whatever is cut short at whichever write, however: what was sealed restores, and the next run succeeds.
func TestCutShortAtEveryWrite(t *testing.T) {
	for _, sc := range slices.Concat(scenarios, maintenance) {
		t.Run(sc.name, func(t *testing.T) {
			// Half of the worlds share one cache of index objects as if they were one bucket, though their histories differ: what
			// it knows of one must not be believed of another.
			cache := repository.NewCache(t.TempDir(), 64<<20, func(err error) { t.Error(err) })
			var prepared *world
			var writes int
			t.Run("undisturbed", func(t *testing.T) {
				cryptotest.SetGlobalRandom(t, 1) // a world's keys decide what is looked up where, and so what is worth folding
				prepared, writes = sc.rehearse(t)
			})
			for _, how := range strikes {
				for at := range writes {
					t.Run(fmt.Sprintf("%s at write %d", how, at), func(t *testing.T) {
						t.Parallel()
						synctest.Test(t, func(t *testing.T) {
							w := prepared.clone()
							if at%2 == 1 {
								w.cache = cache
							}
							sc.strike(t, w, at, how)
						})
					})
				}
			}
		})
	}
}

// rehearse prepares the scenario, runs it undisturbed and says how many writes it has.
func (sc *scenario) rehearse(t *testing.T) (prepared *world, writes int) {
	synctest.Test(t, func(t *testing.T) {
		prepared = newWorld()
		must(t, sc.prepare(t.Context(), prepared))
		prepared.ended = time.Now()
		w := prepared.clone()
		p := newProcess(w.store)
		must(t, sc.act(t.Context(), w, p))
		must(t, w.restore(t.Context(), newProcess(w.store)))
		rest := slices.Clone(p.writes)
		for _, kind := range sc.writes {
			at := slices.Index(rest, kind)
			if at < 0 {
				t.Fatalf("it is to %q: %q", sc.writes, p.writes)
			}
			rest = slices.Delete(rest, at, at+1)
		}
		writes = len(p.writes)
	})
	t.Logf("%d writes, struck in %d ways", writes, len(strikes))
	return prepared, writes
}

// strike runs the scenario once, struck at one write, and then what must still be possible.
func (sc *scenario) strike(t *testing.T, w *world, at int, how strike) {
	ctx := t.Context()
	p := newProcess(w.store)
	p.at, p.how = at, how
	err := sc.act(ctx, w, p)
	if !p.struck() {
		t.Fatalf("write %d never came: %q", at, p.writes)
	}
	if err != nil && tenantry.KindOf(err) != tenantry.Transient {
		t.Fatalf("%s: %v (%s)", p.writes[at], err, tenantry.KindOf(err))
	}
	if err == nil && strings.HasPrefix(string(how), "dies") {
		t.Fatalf("%s: a dead process was told that all is well", p.writes[at])
	}
	if len(w.sealed) > 0 {
		must(t, w.restore(ctx, newProcess(w.store))) // at once: what was sealed is there all the time
	}
	p.end()
	must(t, sc.act(ctx, w, newProcess(w.store)))
	must(t, w.restore(ctx, newProcess(w.store)))
	must(t, w.backup(ctx, newProcess(w.store), alice, "next", mailbox(3, 10)))
	must(t, w.restore(ctx, newProcess(w.store)))
	must(t, w.reread(alice))
	if sc.after != nil {
		must(t, sc.after(ctx, w))
		must(t, w.restore(ctx, newProcess(w.store)))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (%s)", err, tenantry.KindOf(err))
	}
}
