package repository_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// life is a series that is backed up, pruned, swept and folded day after day.
type life struct {
	*repository.Repository
	t     *testing.T
	store *blobtest.Memory
	now   time.Time
	epoch int64
}

func (l *life) begin(task string) *repository.Writer {
	l.t.Helper()
	l.epoch++
	w, err := l.Begin(l.t.Context(), mailbox, repository.Fence{Epoch: l.epoch, Task: tenantry.TaskID(fmt.Sprint(task, "-", l.epoch))})
	must(l.t, err)
	l.t.Cleanup(w.Close)
	return w
}

// day backs up some changed mails four times, and on some days so many folders that a run of the index is written; the prune
// of the day keeps the newest snapshot.
func (l *life) day(number int) {
	ctx := l.t.Context()
	for range 4 {
		w := l.begin("few")
		for i := range 5 {
			message(l.t, w, i, noise(int(l.epoch)*10+i, 3000))
		}
		seal(l.t, w)
		w.Close()
	}
	if number%5 == 4 {
		w := l.begin("many")
		for i := range 300 {
			must(l.t, w.Put(ctx, repository.Entry{ID: fmt.Sprintf("folder-%03d", i), Kind: repository.KindFolder, Name: fmt.Sprintf("%x", noise(1000*number+i, 60))}))
		}
		seal(l.t, w)
		w.Close()
	}
	l.now = l.now.Add(24 * time.Hour)
	w := l.begin("prune")
	defer w.Close()
	var drop []int64
	for _, s := range w.Live()[1:] {
		drop = append(drop, s.Seq)
	}
	_, err := w.Prune(ctx, drop)
	must(l.t, err)
	_, err = w.Sweep(ctx)
	must(l.t, err)
}

// listedAndGone is how many packs the newest state lists that are not there.
func (l *life) listedAndGone() int {
	l.t.Helper()
	listed, err := repository.ListedPacks(l.t.Context(), l.Repository, mailbox)
	must(l.t, err)
	there := l.store.Bodies("")
	return len(slices.DeleteFunc(listed, func(name string) bool { _, ok := there[name]; return ok }))
}

// Packs that were swept are not listed for ever: some sweep has the index forget them. What an entry refers to, and what
// carries changes of the index, stays.
func TestSweptPacksAreForgotten(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := folder(t)
	l := &life{t: t, store: blobtest.NewMemory(), now: time.Now()}
	l.Repository = openOver(t, p, l.store)
	repository.SetClock(l.Repository, func() time.Time { return l.now })
	most, swept, before := 0, 0, 0
	for day := range 24 {
		l.day(day)
		gone := l.listedAndGone()
		most, swept, before = max(most, gone), swept+max(0, gone-before), gone
	}
	if bound := repository.WorthForgetting + 5; most > bound || swept <= bound {
		t.Fatalf("of %d packs that were swept, %d were listed at once", swept, most)
	}
	// A sweep that has to commit in any case forgets the last of them as well.
	w := l.begin("more")
	must(t, w.Put(ctx, repository.Entry{ID: "more"}))
	newest := seal(t, w).Seq
	w.Close()
	w = l.begin("drop")
	_, err := w.Prune(ctx, []int64{w.Live()[1].Seq})
	must(t, err)
	w.Close()
	l.now = l.now.Add(24 * time.Hour)
	w = l.begin("sweep")
	_, err = w.Sweep(ctx)
	must(t, err)
	w.Close()
	if gone := l.listedAndGone(); gone > 0 {
		t.Errorf("%d packs are listed that are gone", gone)
	}
	must(t, readAll(ctx, openOver(t, p, l.store), newest))
	for key := range l.store.Bodies("") {
		if strings.Contains(key, "/s/") {
			must(t, l.store.Delete(ctx, key))
		}
	}
	w = l.begin("repair")
	fixed, err := w.Reindex(ctx)
	if err != nil || fixed.Packs == 0 || len(fixed.Refused) > 0 {
		t.Errorf("%+v, %v", fixed, err)
	}
	w.Close()
	must(t, readAll(ctx, openOver(t, p, l.store), newest))
}
