package repository_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// large is a series of n mails in 100 folders, written once, changed a little, read.
type large struct {
	tb    testing.TB
	n     int
	store *blobtest.Faulty
	repo  *repository.Repository
	base  int64
	peak  int64 // bytes of heap in use, of what was looked at
}

func newLarge(tb testing.TB, n int) *large {
	p := folder(tb)
	store := blobtest.NewFaulty(p.store(tb))
	return &large{tb: tb, n: n, store: store, repo: openOver(tb, p, store), base: heap()}
}

// look notes how much heap is in use.
func (l *large) look() { l.peak = max(l.peak, heap()-l.base) }

func largeEntry(i, version int) repository.Entry {
	rnd := rand.New(rand.NewPCG(uint64(i), uint64(version)))
	return repository.Entry{
		ID: largeID(i), Parent: fmt.Sprint("folder-", i%100), Kind: "message", Name: fmt.Sprintf("Report %d of %x", rnd.IntN(1000), rnd.Uint32()),
		ETag: fmt.Sprintf("CQAAABYAAAC%016x%016x", rnd.Uint64(), rnd.Uint64()), Modified: noon.Add(time.Duration(i) * time.Second),
		Size: 7500, From: fmt.Sprintf("user%d@contoso.example", i%500), Date: noon.Add(time.Duration(i) * time.Second), Generation: 1,
	}
}

// largeID is in no order.
func largeID(i int) string {
	return fmt.Sprintf("AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A%08x%08x", uint32(i)*2654435761, i)
}

func (l *large) write() int64 {
	w := begin(l.tb, l.repo, 1, "full")
	defer w.Close()
	for i := range l.n {
		e := largeEntry(i, 0)
		var err error
		e.Payload, err = w.PutPayload(context.Background(), noise(i, 64))
		must(l.tb, err)
		must(l.tb, w.Put(context.Background(), e))
		if i%(l.n/10) == l.n/10-1 {
			must(l.tb, w.Checkpoint(context.Background()))
			l.look()
		}
	}
	s := seal(l.tb, w)
	l.look()
	if s.Counts.Items != int64(l.n) {
		l.tb.Fatalf("%d items are counted of %d", s.Counts.Items, l.n)
	}
	return s.Seq
}

func (l *large) change(epoch int64) int64 {
	w := begin(l.tb, l.repo, epoch, tenantry.TaskID(fmt.Sprint("change-", epoch)))
	defer w.Close()
	for i := range 50 {
		_, ok, err := w.Lookup(context.Background(), largeID(i*97%l.n))
		if err != nil || !ok {
			l.tb.Fatalf("Lookup: %v, %v", ok, err)
		}
		must(l.tb, w.Put(context.Background(), largeEntry(i*97%l.n, int(epoch))))
	}
	l.look()
	return seal(l.tb, w).Seq
}

func (l *large) list(seq int64) (folderItems, all int) {
	rd, err := l.repo.OpenSnapshot(context.Background(), mailbox, seq)
	must(l.tb, err)
	defer rd.Close()
	for _, err := range rd.Children(context.Background(), "folder-7") {
		must(l.tb, err)
		folderItems++
	}
	l.look()
	for _, err := range rd.Entries(context.Background()) {
		must(l.tb, err)
		if all++; all%(l.n/4) == 0 {
			l.look()
		}
	}
	return folderItems, all
}

// check reads everything that a snapshot names, or its structure alone, while what is in use is looked at.
func (l *large) check(seq int64, quick bool) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-time.After(100 * time.Millisecond): // how often is looked; nothing waits for it
				l.look()
			}
		}
	}()
	check := l.repo.Check
	if quick {
		check = l.repo.CheckQuick
	}
	done, err := check(context.Background(), mailbox, seq, func(p repository.Problem) { l.tb.Errorf("%+v", p) })
	must(l.tb, err)
	close(end)
	<-ended
	l.look()
	if done.Items != int64(l.n) {
		l.tb.Errorf("%d items were checked of %d", done.Items, l.n)
	}
}

// What is held in memory does not follow the number of items, and what is read follows what is asked.
func TestManyItems(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: writes 60,000 entries")
	}
	l := newLarge(t, 60_000)
	l.write()
	l.store.ResetCounts()
	seq := l.change(2)
	if n := l.store.Count(blobtest.OpPut, blobtest.OpPutIfAbsent); n > 3 {
		t.Errorf("%d PUT for 50 changes", n)
	}
	if n := l.store.Count(blobtest.OpGet); n > 60 {
		t.Errorf("%d GET for 50 changes", n)
	}
	inFolder, all := l.list(seq)
	if inFolder != 600 || all != 60_000 {
		t.Errorf("%d entries, %d in one folder", all, inFolder)
	}
	l.check(seq, false)
	if l.peak > 96<<20 {
		t.Errorf("%d MB in use", l.peak>>20)
	}
}

// BenchmarkMillion does the same with a million mails and prints "name value unit" lines.
func BenchmarkMillion(b *testing.B) {
	for b.Loop() {
		l := newLarge(b, 1_000_000)
		step := func(name string, work func()) {
			l.store.ResetCounts()
			l.peak = 0
			before, begun := cpu(), time.Now()
			work()
			var u syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
			fmt.Fprintf(os.Stdout, "%s_rss_so_far %.1f MB\n", name, float64(u.Maxrss)/1e3)
			fmt.Fprintf(os.Stdout, "%s_cpu %.3f s\n%s_wall %.3f s\n%s_heap %.1f MB\n%s_put %d requests\n%s_get %d requests\n",
				name, (cpu() - before).Seconds(), name, time.Since(begun).Seconds(), name, float64(l.peak)/1e6,
				name, l.store.Count(blobtest.OpPut, blobtest.OpPutIfAbsent), name, l.store.Count(blobtest.OpGet))
		}
		seq := int64(0)
		step("million_write", func() { seq = l.write() })
		step("million_open", func() {
			begin(b, l.repo, 2, "open").Close()
		})
		step("million_change50", func() { seq = l.change(3) })
		step("million_list", func() {
			if _, all := l.list(seq); all != l.n {
				b.Fatalf("%d entries", all)
			}
		})
		step("million_check_quick", func() { l.check(seq, true) })
		step("million_check", func() { l.check(seq, false) })
	}
}
