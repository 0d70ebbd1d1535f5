// Command ours is the repository as a program of its own, so that bench/repository can measure
// its whole process as it measures restic and kopia:
//
//	ours -dir DIR -epoch 1 full TREE            back the tree up
//	ours -dir DIR -epoch 2 told TREE LIST       back up what the list names, as a delta would
//	ours -dir DIR -epoch 2 walked TREE          find out by size and time what has changed, and back it up
//	ours -dir DIR restore SUMS                  read the newest snapshot and hold every byte against SUMS
//	ours -dir DIR -epoch 1 fill N               write a series of N items
//	ours -dir DIR -epoch 2 open N               open it for an incremental
//
// With -cache DIR it keeps index objects there, as a worker does with cache-dir.
//
// It prints lines of "name value".
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// series is the one that is written.
var series = tenantry.Series{Tenant: "bench", Resource: "u-1", Workload: tenantry.Mailbox}

func main() {
	dir := flag.String("dir", "", "folder with the store and its key file")
	epoch := flag.Int64("epoch", 1, "of the fence: one more for each run")
	cache := flag.String("cache", "", "folder of the cache of index objects; empty: none")
	profile := flag.String("cpuprofile", "", "write a profile into this file")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := profiled(*profile, func() error { return run(ctx, *dir, *cache, *epoch, flag.Args(), os.Stdout) }); err != nil {
		fmt.Fprintln(os.Stderr, "ours:", err)
		os.Exit(1)
	}
}

// profiled does the work, and writes where its CPU time went if that is wanted.
func profiled(file string, work func() error) error {
	if file == "" {
		return work()
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return work()
}

// cacheLimit is what cache-mb is without more.
const cacheLimit = 512 << 20

func run(ctx context.Context, dir, cache string, epoch int64, args []string, out io.Writer) error {
	if dir == "" || len(args) < 2 {
		return fmt.Errorf("-dir, a command and what it works on are needed, got %q", args)
	}
	folder, err := blob.OpenFolder(filepath.Join(dir, "store"))
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	ring, err := repository.OpenKeyFile(filepath.Join(dir, "keys.json"), true)
	if err != nil {
		return err
	}
	store := &counted{Store: folder}
	r, err := repository.Open(ctx, store, ring, series.Tenant)
	if err != nil {
		return err
	}
	if cache != "" {
		r.UseCache(repository.NewCache(cache, cacheLimit, func(err error) { fmt.Fprintln(os.Stderr, "ours:", err) }), "bench")
	}
	p := program{Repository: r, store: store, epoch: epoch, out: out}
	defer p.memory()
	switch command, on := args[0], args[1]; {
	case command == "full":
		return p.full(ctx, on)
	case command == "told" && len(args) == 3:
		return p.told(ctx, on, args[2])
	case command == "walked":
		return p.walked(ctx, on)
	case command == "restore":
		return p.restore(ctx, on)
	case command == "fill" || command == "open":
		n, err := strconv.Atoi(on)
		if err != nil {
			return err
		}
		if command == "fill" {
			return p.fill(ctx, n)
		}
		return p.open(ctx, n)
	}
	return fmt.Errorf("cannot do %q", args)
}

// program does one command on an open repository.
type program struct {
	*repository.Repository
	store *counted
	epoch int64
	out   io.Writer
}

// write runs a backup and prints what it asked of the store, from the series being taken on.
func (p program) write(ctx context.Context, work func(w *repository.Writer) error) error {
	p.store.reset()
	w, err := p.Begin(ctx, series, p.fence())
	if err != nil {
		return err
	}
	defer w.Close()
	if err := work(w); err != nil {
		return err
	}
	if _, err := w.Seal(ctx, time.Now()); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "put %d\nget %d\nlist %d\n", p.store.puts.Load(), p.store.gets.Load(), p.store.lists.Load())
	return nil
}

func (p program) fence() repository.Fence {
	return repository.Fence{Epoch: p.epoch, Task: tenantry.TaskID(fmt.Sprint("task-", p.epoch))}
}
