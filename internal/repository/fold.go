package repository

import (
	"context"
)

const (
	// foldRatio: after a seal every run is at least so many times as large as all newer ones
	// together. So there are at most about log4(items / 150) runs, and an entry is written anew
	// some three times for each of them in its life.
	foldRatio = 4
	// maxRuns is how many runs an unfinished snapshot may come to before they are folded too.
	maxRuns = 16
)

// foldable says how many of the newest runs are to be made one; 0: none. sizes are their
// records, newest first.
func foldable(sizes []int64, sealing bool) int {
	if !sealing && len(sizes) <= maxRuns {
		return 0
	}
	sum, fold := int64(0), 0
	for i, size := range sizes {
		if i > 0 && size < foldRatio*sum {
			fold = i + 1
		}
		sum += size
	}
	return fold
}

// fold makes one run of the newest runs of the index where foldable says so.
func (w *Writer) fold(ctx context.Context, sealing bool) error {
	n := foldable(w.index.sizes(), sealing)
	if n == 0 {
		return nil
	}
	return w.rewrite(ctx, nil, n)
}

// spill writes the memtable as a new run, folded at once with those that foldable would fold it with next:
// what is written twice is paid for twice. The caller holds life.
func (w *Writer) spill(ctx context.Context, sealing bool) error {
	records, err := w.mem.records(nil)
	if err != nil {
		return err
	}
	n := foldable(append([]int64{int64(len(records))}, w.index.sizes()...), sealing)
	if err := w.rewrite(ctx, records, max(n-1, 0)); err != nil {
		return err
	}
	w.mem = newMemtable()
	return nil
}

// rewrite makes one run of the sorted records of top and, older, the n newest runs. It streams: memory
// is a segment being written and what each run reads ahead.
func (w *Writer) rewrite(ctx context.Context, top []record, n int) error {
	over := sliceCursor(top)
	cursors := []cursor{&over}
	for _, run := range w.index.runs[:n] {
		cursors = append(cursors, w.index.runCursor(run, nil))
	}
	oldest := n == len(w.index.runs)
	b := w.runBuilder(ctx)
	for r, err := range merged(ctx, cursors, !oldest) {
		if err == nil {
			err = b.add(r)
		}
		if err != nil {
			return err
		}
	}
	segments, err := b.finish()
	if err != nil {
		return err
	}
	for _, run := range w.index.runs[n:] {
		for _, t := range run {
			segments = append(segments, t.meta)
		}
	}
	w.index.setRuns(segments)
	return nil
}

// runBuilder begins a new run, whose segments are durable when it is finished.
func (w *Writer) runBuilder(ctx context.Context) *runBuilder {
	w.runNumber++
	return &runBuilder{keys: w.repo.keys, series: w.series, number: w.runNumber, emit: func(object []byte, name string) error {
		if err := w.repo.store.Put(ctx, w.repo.object(name), object); err != nil {
			return err
		}
		w.stored.Add(int64(len(object)))
		return nil
	}}
}
