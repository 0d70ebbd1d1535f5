package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
)

// item is number i of a large series; its ID is as long as those of Exchange, and in no order.
func item(i int) repository.Entry {
	rnd := rand.New(rand.NewPCG(uint64(i), 0))
	return repository.Entry{
		ID: itemID(i), Parent: fmt.Sprint("folder-", i%100), Kind: "message", Name: fmt.Sprintf("Report %d of %x", rnd.IntN(1000), rnd.Uint32()),
		ETag: fmt.Sprintf("CQAAABYAAAC%016x%016x", rnd.Uint64(), rnd.Uint64()), Modified: time.Unix(int64(i), 0),
		Size: 7500, From: fmt.Sprintf("user%d@contoso.example", i%500), Date: time.Unix(int64(i), 0), Generation: 1,
	}
}

func itemID(i int) string {
	return fmt.Sprintf("AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A%08x%08x", uint32(i)*2654435761, i)
}

// fill writes a series of n items, in commits of some thousands.
func (p program) fill(ctx context.Context, n int) error {
	return p.write(ctx, func(w *repository.Writer) error {
		for i := range n {
			if err := w.Put(ctx, item(i)); err != nil {
				return err
			}
			if w.Pending() < checkpointBytes {
				continue
			}
			if err := w.Checkpoint(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// open takes the series of n items for an incremental, up to where the index has given its first answer.
func (p program) open(ctx context.Context, n int) error {
	p.store.reset()
	begun := time.Now()
	w, err := p.Begin(ctx, series, p.fence())
	if err != nil {
		return err
	}
	defer w.Close()
	_, ok, err := w.Lookup(ctx, itemID(n/3))
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("item %d is not there", n/3)
	}
	fmt.Fprintf(p.out, "open_us %d\nget %d\n", time.Since(begun).Microseconds(), p.store.gets.Load())
	return nil
}
