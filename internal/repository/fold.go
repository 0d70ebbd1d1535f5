package repository

import (
	"context"
)

const (
	// foldRatio: after Fold every run is at least so many times as large as all newer ones
	// together. So there are at most about log4(items / 150) runs, and an entry is written anew
	// some three times for each of them in its life.
	foldRatio = 4
	// maxRuns is how many runs there may be before those that commit fold them, whatever they have to read for it.
	maxRuns = 16
	// maxSmallFold is how many stored bytes of runs become one segment for sure: one PUT.
	maxSmallFold = segmentSize / 2
	// bulk is from how many records on a writer pays for folds: of up to bulkShare times what it has written.
	bulk      = 8 << 10
	bulkShare = 8
	// worthFolding is how few runs Fold leaves alone: its commit costs a PUT as well.
	worthFolding = 3
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

// affordable says how many of the n newest runs of the index a commit folds, of n that are to be. A run of the backup
// that has changed some mails is to cost three PUT at most, and one GET where nothing has to be looked up: so it
// folds into one segment, and only what it has read anyway, unless there are too many runs. One that has changed much
// folds in proportion. What is left is for Fold.
func (w *Writer) affordable(n int) int {
	afford, records, bytes, atHand := 0, int64(0), int64(0), true
	for i, run := range w.index.runs[:n] {
		for _, t := range run {
			records, bytes, atHand = records+t.meta.Records, bytes+t.meta.Size, atHand && t.atHand()
		}
		small := bytes <= maxSmallFold && (atHand || len(w.index.runs) > maxRuns)
		if small || w.spilled >= bulk && records <= bulkShare*w.spilled {
			afford = i + 1
		}
	}
	return afford
}

// fold makes one run of the newest runs of the index where foldable says so and it is affordable.
func (w *Writer) fold(ctx context.Context, sealing bool) error {
	n := w.affordable(foldable(w.index.sizes(), sealing))
	if n < 2 {
		return nil
	}
	return w.rewrite(ctx, nil, n)
}

// spill writes the memtable as a new run, folded at once with those that foldable would fold it with next, as far as
// that is affordable: what is written twice is paid for twice. The caller holds life.
func (w *Writer) spill(ctx context.Context, sealing bool) error {
	records, err := w.mem.records(nil)
	if err != nil {
		return err
	}
	w.spilled += int64(len(records))
	n := foldable(append([]int64{int64(len(records))}, w.index.sizes()...), sealing)
	if err := w.rewrite(ctx, records, w.affordable(max(n-1, 0))); err != nil {
		return err
	}
	w.mem = newMemtable()
	return nil
}

// Fold folds the runs of the index that runs of the backup have left, if they are some, and commits that. It returns
// how many runs have become one. It streams: memory is a segment being written, and 1 MiB for each run.
func (w *Writer) Fold(ctx context.Context) (runs int, err error) {
	w.life.Lock()
	defer w.life.Unlock()
	if err := w.writable(); err != nil {
		return 0, err
	}
	n := foldable(w.index.sizes(), true)
	if n < worthFolding {
		return 0, nil
	}
	if err := w.rewrite(ctx, nil, n); err != nil {
		return 0, w.spoil(err)
	}
	return n, w.commitAtRest(ctx)
}

// rewrite makes one run of the sorted records of top and, older, the n newest runs. It streams: memory
// is a segment being written and what each run reads ahead.
func (w *Writer) rewrite(ctx context.Context, top []record, n int) error {
	over := sliceCursor(top)
	cursors := []cursor{&over}
	for _, run := range w.index.runs[:n] {
		c := w.index.runCursor(run, nil)
		c.step, c.most = maxStep, foldAhead
		cursors = append(cursors, c)
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
	for i, run := range w.index.runs {
		for _, t := range run {
			if i < n {
				w.repo.forgetSegment(w.series, t.meta)
				continue
			}
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
		w.repo.keepSegment(name, object)
		return nil
	}}
}
