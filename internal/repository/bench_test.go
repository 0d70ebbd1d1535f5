package repository_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// heap returns how many bytes are in use.
func heap() int64 {
	var mem runtime.MemStats
	for range 3 { // what lies in a sync.Pool survives two
		runtime.GC()
	}
	runtime.ReadMemStats(&mem)
	return int64(mem.HeapAlloc)
}

// restore reads everything of a snapshot, in the order in which it is stored.
func restore(b *testing.B, r *repository.Repository, seq int64) {
	before := cpu()
	rd := snapshot(b, r, seq)
	var all []repository.Entry
	for e, err := range rd.Entries(context.Background()) {
		must(b, err)
		all = append(all, e)
	}
	slices.SortFunc(all, repository.CompareStored)
	total := int64(0)
	for _, e := range all {
		raw, err := rd.Payload(context.Background(), e)
		must(b, err)
		total += int64(len(raw))
		for _, p := range e.Parts {
			stream, err := rd.Open(context.Background(), e, p)
			must(b, err)
			n, err := io.Copy(io.Discard, stream)
			must(b, err)
			must(b, stream.Close())
			total += n
		}
	}
	fmt.Fprintf(os.Stdout, "restore_speed %.0f MB/core-s\n", float64(total)/1e6/(cpu()-before).Seconds())
}

// BenchmarkBackup writes 20,000 mails of about 7 KB and 100 files of 1 MB into a folder, then
// an incremental of 50 mails, then an unchanged run, and prints "name value unit" lines.
func BenchmarkBackup(b *testing.B) {
	const mails, files = 20_000, 100
	bodies := make([][]byte, mails+50)
	for i := range bodies {
		bodies[i] = mail(i, 7000)
	}
	raw := 0
	for _, body := range bodies[:mails] {
		raw += len(body)
	}
	for b.Loop() {
		p := folder(b)
		store := blobtest.NewFaulty(p.store(b))
		r := openOver(b, p, store)
		epoch := int64(0)
		run := func(name string, work func(w *repository.Writer)) {
			epoch++
			store.ResetCounts()
			base := heap()
			before, begun := cpu(), time.Now()
			w := begin(b, r, epoch, tenantry.TaskID(fmt.Sprint("task-", epoch)))
			work(w)
			s := seal(b, w)
			took, wall := cpu()-before, time.Since(begun)
			held := heap() - base
			w.Close()
			fmt.Fprintf(os.Stdout, "%s_cpu %.3f s\n%s_wall %.3f s\n", name, took.Seconds(), name, wall.Seconds())
			fmt.Fprintf(os.Stdout, "%s_stored %.3f MB\n%s_items %d items\n", name, float64(w.Stored())/1e6, name, s.Counts.Items)
			fmt.Fprintf(os.Stdout, "%s_writer_memory %.1f MB\n", name, float64(held)/1e6)
			fmt.Fprintf(os.Stdout, "%s_put %d requests\n%s_get %d requests\n", name,
				store.Count(blobtest.OpPut, blobtest.OpPutIfAbsent), name, store.Count(blobtest.OpGet, blobtest.OpStat, blobtest.OpList))
		}
		put := func(w *repository.Writer, i int) {
			id := messageID(i)
			old, _, err := w.Lookup(context.Background(), id)
			must(b, err)
			if old.ETag != "" {
				b.Fatal("the mail is there already")
			}
			ref, err := w.PutPayload(context.Background(), bodies[i])
			must(b, err)
			must(b, w.Put(context.Background(), repository.Entry{
				ID: id, Parent: messageID(1 << 20), Kind: "message", Name: fmt.Sprintf("Report %d", i), ETag: fmt.Sprintf("CQAAABYAAAC%020d", i),
				Modified: noon, Size: int64(len(bodies[i])), Generation: 1, Payload: ref,
			}))
		}
		fmt.Fprintf(os.Stdout, "full_raw %.3f MB\n", float64(raw+files<<20)/1e6)
		run("full", func(w *repository.Writer) {
			for i := range mails {
				put(w, i)
			}
			for i := range files {
				part, err := w.PutContent(context.Background(), bytes.NewReader(noise(i, 1<<20)))
				must(b, err)
				must(b, w.Put(context.Background(), repository.Entry{ID: fmt.Sprint("file-", i), Kind: "file", Parts: []repository.Part{part}}))
			}
		})
		run("plus50", func(w *repository.Writer) {
			for i := range 50 {
				put(w, mails+i)
			}
		})
		run("unchanged", func(*repository.Writer) {})
		restore(b, r, 3)
	}
}
