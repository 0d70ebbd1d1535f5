//go:build proof

package proof

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/repository/formattest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// aged is longer than garbage has to be there before it is deleted: three slices of an hour.
const aged = 3*time.Hour + 10*time.Minute

// maintenance are the scenarios of pruning and collecting: they go on where they were cut short, and
// in the end nothing is left over.
var maintenance = []scenario{
	{
		name:    "prune",
		prepare: threeSnapshots,
		act: func(ctx context.Context, w *world, store blob.Store) error {
			return w.prune(ctx, store, alice, "prune", "first", "second")
		},
		writes: []string{"put manifest"},
	},
	{
		name:    "sweep",
		prepare: garbage,
		act: func(ctx context.Context, w *world, store blob.Store) error {
			return w.prune(ctx, store, alice, "prune")
		},
		writes: []string{"put manifest", "delete pack", "delete pack", "delete segment", "delete manifest", "delete manifest"},
	},
	{
		name:    "fold",
		prepare: manyRuns,
		act: func(ctx context.Context, w *world, store blob.Store) error {
			return w.maintain(ctx, store, alice, "fold", func(wr *repository.Writer) error {
				_, err := wr.Fold(ctx)
				return err
			})
		},
		writes: []string{"put segment", "put manifest"},
	},
	{
		name:    "sweep that forgets packs",
		prepare: uselessPacks,
		act: func(ctx context.Context, w *world, store blob.Store) error {
			return w.prune(ctx, store, alice, "prune")
		},
		after:  listsWhatIsThere,
		writes: []string{"put manifest", "delete pack", "delete pack", "delete pack", "delete manifest"},
	},
	{
		name:    "compact",
		prepare: mostlyDead,
		act: func(ctx context.Context, w *world, store blob.Store) error {
			return w.compact(ctx, store, alice, "compact")
		},
		after:  freesPacks,
		writes: []string{"put pack", "put pack", "put segment", "put manifest"},
	},
	{
		name:    "reindex",
		prepare: withoutIndex,
		act: func(ctx context.Context, w *world, store blob.Store) error {
			return w.maintain(ctx, store, alice, "reindex", func(wr *repository.Writer) error {
				out, err := wr.Reindex(ctx)
				if err == nil && len(out.Refused) > 0 {
					err = fmt.Errorf("refused: %q", out.Refused)
				}
				return err
			})
		},
		writes: []string{"put segment", "put segment", "put manifest", "put manifest", "put manifest", "put manifest"},
	},
	{
		name:    "condemn",
		prepare: garbage,
		act:     collect,
		after:   collectAll,
		writes:  []string{"put list"},
	},
	{
		name: "delete what is condemned",
		prepare: func(ctx context.Context, w *world) error {
			return inTurn(ctx, w, garbage, collectOnce)
		},
		act:    collect,
		after:  collectAll,
		writes: []string{"put list", "delete chunk", "delete chunk"},
	},
	{
		name: "remove the list",
		prepare: func(ctx context.Context, w *world) error {
			return inTurn(ctx, w, garbage, collectOnce, collectOnce)
		},
		act:    collect,
		after:  collectAll,
		writes: []string{"delete list", "delete list"},
	},
	{
		name: "patrol",
		prepare: func(ctx context.Context, w *world) error {
			return inTurn(ctx, w, threeSnapshots, patrolDay)
		},
		act:    patrol,
		after:  patrolRound,
		writes: []string{"put note", "delete note"},
	},
	{
		name:    "distrust",
		prepare: threeSnapshots,
		act:     distrust,
		writes:  []string{"put list"},
	},
}

// inTurn prepares a world in several steps.
func inTurn(ctx context.Context, w *world, steps ...func(context.Context, *world) error) error {
	for _, step := range steps {
		if err := step(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// threeSnapshots differ in everything, and share nothing with bob's but what they began with.
func threeSnapshots(ctx context.Context, w *world) error {
	w.every = 100
	for i, task := range []tenantry.TaskID{"first", "second", "third"} {
		want := texts(i+1, 280).with(i+1, "item-0000", "item-0003", "item-0006", "item-0009")
		if err := w.backup(ctx, w.store, alice, task, want); err != nil {
			return err
		}
	}
	return w.backup(ctx, w.store, bob, "bob", mailbox(1, 4))
}

// manyRuns leaves runs of the index that backups did not fold, over one in which items changed and went.
func manyRuns(ctx context.Context, w *world) error {
	if err := w.backup(ctx, w.store, alice, "run-0", texts(1, 500)); err != nil {
		return err
	}
	after := func(n int) state { return texts(1, n).with(0, "item-0002", "item-0008").with(2, "item-0001") }
	if err := w.backup(ctx, w.store, alice, "run-1", after(750)); err != nil {
		return err
	}
	return added(ctx, w, after(750), after(1000), after(1250), after(1500))
}

// uselessPacks leaves runs of the index that list packs which only dropped snapshots have needed.
func uselessPacks(ctx context.Context, w *world) error {
	for i := range 4 { // each replaces all there was, too little for a run
		if err := w.backup(ctx, w.store, alice, tenantry.TaskID(fmt.Sprint("small-", i)), texts(1+i, 20)); err != nil {
			return err
		}
	}
	now := func(n int) state {
		s := texts(1, n)
		maps.Copy(s, texts(4, 20))
		return s
	}
	if err := added(ctx, w, texts(4, 20), now(300), now(550)); err != nil {
		return err
	}
	err := w.prune(ctx, w.store, alice, "drop", "small-0", "small-1", "small-2")
	time.Sleep(aged)
	return err
}

// listedAndGone is how many packs alice's newest state lists that are not there.
func (w *world) listedAndGone() (n int, err error) {
	bucket := bucketOf(w.store)
	reader, err := formattest.NewReader(bucket, keyFile, string(tenant))
	if err != nil {
		return 0, err
	}
	listed, err := reader.Listed(string(alice.Resource), string(alice.Workload))
	for _, name := range listed {
		if _, ok := bucket[name]; !ok {
			n++
		}
	}
	return n, err
}

// listsWhatIsThere checks that the newest state lists no packs that are gone, and that it can be made again where its
// runs are lost.
func listsWhatIsThere(ctx context.Context, w *world) error {
	gone, err := w.listedAndGone()
	if err != nil {
		return err
	}
	if gone > 0 {
		return fmt.Errorf("%d packs are listed that are gone", gone)
	}
	for key := range w.store.Bodies(string(tenant) + "/") {
		if strings.Contains(key, "/s/") {
			if err := w.store.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return w.maintain(ctx, w.store, alice, "reindex", func(wr *repository.Writer) error {
		out, err := wr.Reindex(ctx)
		if err == nil && (out.Packs == 0 || len(out.Refused) > 0) {
			err = fmt.Errorf("%+v", out)
		}
		return err
	})
}

// mostlyDead leaves packs of which the newest state needs little, or only the changes of the index in their footers.
func mostlyDead(ctx context.Context, w *world) error {
	if err := w.backup(ctx, w.store, alice, "first", texts(1, 900)); err != nil {
		return err
	}
	left := state{}
	for i, id := range slices.Sorted(maps.Keys(texts(1, 900))) {
		if i%40 == 0 {
			left[id] = 1
		}
	}
	return w.backup(ctx, w.store, alice, "second", left)
}

// compact does what the weekly compaction of a series does.
func (w *world) compact(ctx context.Context, store blob.Store, s tenantry.Series, task tenantry.TaskID) error {
	return w.maintain(ctx, store, s, task, func(wr *repository.Writer) error {
		_, err := wr.Compact(ctx, repository.CompactLimits{Budget: 1 << 20, MinDead: 1 << 10, AnyGain: true})
		return err
	})
}

// freesPacks drops the snapshots that were there before, and checks that the packs of the first one go with them.
func freesPacks(ctx context.Context, w *world) error {
	had := w.bytes("/p/")
	if err := w.prune(ctx, w.store, alice, "drop", "first", "second"); err != nil {
		return err
	}
	time.Sleep(aged)
	for i := range 2 {
		if err := w.prune(ctx, w.store, alice, tenantry.TaskID(fmt.Sprint("sweep-", i))); err != nil {
			return err
		}
		time.Sleep(aged)
	}
	if left := w.bytes("/p/"); left > had/2 {
		return fmt.Errorf("of %d bytes of packs %d are left", had, left)
	}
	return nil
}

// bytes is how much is stored under names with a text in them.
func (w *world) bytes(in string) (n int) {
	for key, body := range w.store.Bodies(string(tenant) + "/") {
		if strings.Contains(key, in) {
			n += len(body)
		}
	}
	return n
}

// withoutIndex leaves snapshots none of which can be read: their indexes are gone, and an owner that died has left packs
// whose numbers others took.
func withoutIndex(ctx context.Context, w *world) error {
	if err := abandoned(ctx, w); err != nil {
		return err
	}
	if err := manyRuns(ctx, w); err != nil {
		return err
	}
	for key := range w.store.Bodies(string(tenant) + "/") {
		if !strings.Contains(key, "/s/") {
			continue
		}
		if err := w.store.Delete(ctx, key); err != nil {
			return err
		}
	}
	clear(w.sealed)
	return nil
}

// garbage leaves packs, segments, manifests and chunks that nobody needs and that have aged.
func garbage(ctx context.Context, w *world) error {
	if err := threeSnapshots(ctx, w); err != nil {
		return err
	}
	p := newProcess(w.store)
	p.at, p.how = 5, diesBefore
	if err := w.backup(ctx, p, alice, "dead", mailbox(9, 200)); err == nil {
		return fmt.Errorf("the backup that was to be abandoned was sealed")
	}
	if err := w.prune(ctx, w.store, alice, "earlier prune", "first", "second"); err != nil {
		return err
	}
	time.Sleep(aged)
	if err := w.backup(ctx, w.store, alice, "fourth", texts(3, 285)); err != nil {
		return err
	}
	time.Sleep(aged)
	return nil
}

// prune drops the snapshots of some tasks, and sweeps the series.
func (w *world) prune(ctx context.Context, store blob.Store, s tenantry.Series, task tenantry.TaskID, drop ...tenantry.TaskID) error {
	for _, t := range drop {
		delete(w.sealed, t) // whether or not this comes to an end
	}
	return w.maintain(ctx, store, s, task, func(wr *repository.Writer) error {
		var numbers []int64
		for _, live := range wr.Live() {
			for _, t := range drop {
				if live.Task == t {
					numbers = append(numbers, live.Seq)
				}
			}
		}
		if _, err := wr.Prune(ctx, numbers); err != nil {
			return err
		}
		_, err := wr.Sweep(ctx)
		return err
	})
}

// maintain takes a series and does something to it that is no backup.
func (w *world) maintain(ctx context.Context, store blob.Store, s tenantry.Series, task tenantry.TaskID, act func(*repository.Writer) error) error {
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
	return act(wr)
}

// collect takes one step of collecting shared content.
func collect(ctx context.Context, _ *world, store blob.Store) error {
	repo, err := repository.Open(ctx, store, keyring, tenant)
	if err != nil {
		return err
	}
	_, err = repo.Collect(ctx)
	return err
}

// patrol reads a day's share.
func patrol(ctx context.Context, _ *world, store blob.Store) error {
	repo, err := repository.Open(ctx, store, keyring, tenant)
	if err != nil {
		return err
	}
	_, err = repo.Patrol(ctx, nil)
	return err
}

func patrolDay(ctx context.Context, w *world) error {
	err := patrol(ctx, w, w.store)
	time.Sleep(24 * time.Hour)
	return err
}

// patrolRound goes on to the end of a round, and finds nothing: nothing is damaged.
func patrolRound(ctx context.Context, w *world) error {
	repo, err := repository.Open(ctx, w.store, keyring, tenant)
	if err != nil {
		return err
	}
	for range 31 {
		out, err := repo.Patrol(ctx, nil)
		if err != nil || len(out.Damaged) > 0 {
			return fmt.Errorf("a patrol: %w, found %v", err, out.Damaged)
		}
		if out.Left == 0 {
			return nil
		}
		time.Sleep(24 * time.Hour)
	}
	return fmt.Errorf("a month was not enough to read everything")
}

// distrust names all chunks as damaged: what comes after shares none of them.
func distrust(ctx context.Context, w *world, store blob.Store) error {
	repo, err := repository.Open(ctx, store, keyring, tenant)
	if err != nil {
		return err
	}
	var names []string
	for key := range w.store.Bodies(string(tenant) + "/c/") {
		names = append(names, strings.TrimPrefix(key, string(tenant)+"/"))
	}
	_, err = repo.Distrust(ctx, names)
	return err
}

// collectOnce takes a step and lets time pass until the next.
func collectOnce(ctx context.Context, w *world) error {
	err := collect(ctx, w, w.store)
	time.Sleep(aged)
	return err
}

// collectRest sweeps and collects for as long as it takes until nothing is left.
func collectRest(ctx context.Context, w *world) error {
	if err := w.prune(ctx, w.store, alice, "sweep"); err != nil {
		return err
	}
	for range 6 {
		if err := collectOnce(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// collectAll is collectRest, and checks that nothing is left.
func collectAll(ctx context.Context, w *world) error {
	if err := collectRest(ctx, w); err != nil {
		return err
	}
	if got, want := w.chunks(), w.needed(); got != want {
		return fmt.Errorf("%d large attachments are stored, %d are needed", got, want)
	}
	return nil
}

// needed is how many different large attachments all snapshots have that are kept.
func (w *world) needed() int {
	distinct := map[string]bool{}
	for task := range w.sealed {
		for id, version := range w.truth[task] {
			if _, attachment := contents(id, version); len(attachment) > 1000 {
				distinct[string(attachment[:32])] = true
			}
		}
	}
	return len(distinct)
}

// chunks is how many chunks are stored. Each large attachment has one.
func (w *world) chunks() int {
	n := 0
	for key := range w.store.Bodies(string(tenant) + "/c/") {
		if strings.Contains(key, "/c/") {
			n++
		}
	}
	return n
}
