package engine

import (
	"context"
	"errors"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// readBatch is how many entries are sorted by where they are stored before they are read. In the
// order of names or IDs each would open another frame of a megabyte.
const readBatch = 8192

// maxDepth bounds the depth of folders; Exchange allows 300 levels.
const maxDepth = 400

// restore is one slice of a restore.
type restore struct {
	*slice
	snap    Snapshot
	dst     Target
	chosen  map[string]bool   // IDs that were asked for; empty: everything
	folders map[string]string // folders on the way to what was asked for: their ID in the target
}

// Restore runs one slice of a restore of req.Items, or of everything if that is empty; a folder stands
// for all that lies under it. Folders are made before what they hold. What a target refuses for one item
// is recorded as a problem and the rest goes on; errors that concern more than one item are returned.
//
// A restore may run any number of times: the target recognises what is there. So a slice that ends
// early (drain, or the slice's time after something was written) simply walks the same way again.
// It uses memory for one folder chain and a batch of entries, not for the selection.
func Restore(ctx context.Context, snap Snapshot, dst Target, req tenantry.RestoreRequest, l Limits, drain <-chan struct{}, progress func(tenantry.Counts)) (Outcome, error) {
	return newRestore(snap, dst, newSlice(l, drain, progress)).run(ctx, req.Items)
}

func newRestore(snap Snapshot, dst Target, s *slice) *restore {
	if _, ok := dst.(*FolderTarget); ok {
		s.whole = true // a file that is cut begins again: no slot waits for this one
	}
	return &restore{slice: s, snap: snap, dst: dst, chosen: map[string]bool{}, folders: map[string]string{}}
}

func (r *restore) run(ctx context.Context, chosen []string) (Outcome, error) {
	for _, id := range chosen {
		r.chosen[id] = true
	}
	var err error
	if len(chosen) == 0 {
		r.counts.Total = r.snap.Snapshot().Counts.Items
		err = r.children(ctx, "", "", 0)
	} else {
		err = r.selection(ctx, chosen)
	}
	if ender, ok := r.dst.(Ender); ok && err == nil {
		err = r.settle(repository.Entry{Name: "what was restored, as a whole"}, ender.End(ctx, r.lacks))
	}
	r.progress()
	out := r.outcome(err == nil)
	out.Snapshot = r.snap.Snapshot()
	if noter, ok := r.dst.(Noter); ok && out.Done {
		out.Notes = noter.Notes()
	}
	if errors.Is(err, errSliceOver) {
		err = nil
	}
	return out, err
}

// selection restores the chosen entries, each in its place.
func (r *restore) selection(ctx context.Context, ids []string) error {
	for _, id := range ids {
		e, ok, err := r.snap.Lookup(ctx, id)
		if err != nil {
			return err
		}
		if !ok {
			r.problem(Problem{ID: id, Reason: "it is not in this snapshot", Kind: tenantry.NotFound})
			continue
		}
		path, covered, err := r.path(ctx, e)
		if err != nil {
			return err
		}
		if covered {
			continue
		}
		parent, err := r.chain(ctx, path)
		if err == nil {
			err = r.entry(ctx, parent, e, len(path))
		}
		if err := r.settle(e, err); err != nil {
			return err
		}
	}
	return nil
}

// path returns the folders above e, outermost first; covered if one of them is chosen itself.
func (r *restore) path(ctx context.Context, e repository.Entry) (path []repository.Entry, covered bool, err error) {
	for at := e; at.Parent != ""; {
		parent, ok, err := r.snap.Lookup(ctx, at.Parent)
		if err != nil {
			return nil, false, err
		}
		if !ok || len(path) == maxDepth {
			break // what lies outside the snapshot is restored at the root of the target
		}
		if r.chosen[parent.ID] {
			return nil, true, nil
		}
		path = append([]repository.Entry{parent}, path...)
		at = parent
	}
	return path, false, nil
}

// chain finds or makes a chain of folders, and remembers them for the next selection.
func (r *restore) chain(ctx context.Context, path []repository.Entry) (id string, err error) {
	for _, e := range path {
		known, ok := r.folders[e.ID]
		if !ok {
			if known, err = r.folder(ctx, id, e); err != nil {
				return "", err
			}
			if len(r.folders) < maxGone {
				r.folders[e.ID] = known
			}
		}
		id = known
	}
	return id, nil
}

func (r *restore) folder(ctx context.Context, parent string, e repository.Entry) (string, error) {
	raw, err := r.snap.Payload(ctx, e)
	if err != nil {
		return "", err
	}
	return r.begin(ctx, parent, e, raw)
}

// begin finds or makes a folder, and has the target make it ready for what comes into it.
func (r *restore) begin(ctx context.Context, parent string, e repository.Entry, raw []byte) (id string, err error) {
	if id, err = r.dst.Folder(ctx, parent, e, raw); err != nil {
		return "", err
	}
	if beginner, ok := r.dst.(Beginner); ok {
		err = r.settle(e, beginner.Begin(ctx, id, e, r.opener(e)))
	}
	return id, err
}

// entry restores e under the target's folder parent: a container with all it holds, or one item.
func (r *restore) entry(ctx context.Context, parent string, e repository.Entry, depth int) error {
	if !container(e) {
		return r.item(ctx, parent, e)
	}
	if depth >= maxDepth {
		return tenantry.Errorf(tenantry.Invalid, "restore folder %s: more than %d folders deep", e.Name, maxDepth)
	}
	raw, err := r.snap.Payload(ctx, e)
	if err != nil {
		return err
	}
	id, err := r.begin(ctx, parent, e, raw)
	if err != nil {
		return err
	}
	if err := r.children(ctx, id, e.ID, depth+1); err != nil {
		return err
	}
	if finisher, ok := r.dst.(Finisher); ok {
		return finisher.Finish(ctx, id, e, raw, r.opener(e))
	}
	return nil
}

// children restores what lies in the folder source of the snapshot into the target's folder id:
// its items several at once, its folders one after another.
func (r *restore) children(ctx context.Context, id, source string, depth int) error {
	g, items := errgroup.WithContext(ctx)
	g.SetLimit(r.limits.Concurrency)
	err := r.walk(ctx, items, g, id, source, depth)
	if failed := g.Wait(); failed != nil {
		return failed
	}
	return err
}

func (r *restore) walk(ctx, items context.Context, g *errgroup.Group, id, source string, depth int) error {
	var batch []repository.Entry
	for e, err := range r.snap.Children(ctx, source) {
		switch {
		case err != nil:
			return err
		case container(e):
			if err := r.items(ctx, items, g, id, batch); err != nil {
				return err
			}
			batch = nil // what is deeper needs the room
			if err := r.more(items); err != nil {
				return err
			}
			if err := r.settle(e, r.entry(ctx, id, e, depth)); err != nil {
				return err
			}
			continue
		}
		if batch = append(batch, e); len(batch) == readBatch {
			if err := r.items(ctx, items, g, id, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return r.items(ctx, items, g, id, batch)
}

// more returns why there is to be no more: an item ended the slice, or we were told to stop.
func (r *restore) more(items context.Context) error {
	switch {
	case items.Err() != nil:
		return tenantry.E(tenantry.KindOf(items.Err()), "restore", items.Err())
	case r.over():
		return errSliceOver
	}
	return nil
}

// items restores a batch of items into a folder, several at once, in the order in which they are stored.
func (r *restore) items(ctx, items context.Context, g *errgroup.Group, folder string, batch []repository.Entry) error {
	slices.SortFunc(batch, repository.CompareStored)
	for _, e := range batch {
		if err := r.more(items); err != nil {
			return err
		}
		// A write under way comes to its end even when another one failed: cut, it could take
		// effect after the next slice has looked for it, and be there twice.
		g.Go(func() error { return r.settle(e, r.item(ctx, folder, e)) })
	}
	return nil
}

// item restores one item, unless it is there.
func (r *restore) item(ctx context.Context, folder string, e repository.Entry) error {
	if !saved(e) {
		return tenantry.Errorf(tenantry.Poison, "no version of it was saved: %s", e.Problem)
	}
	raw, err := r.snap.Payload(ctx, e)
	if err != nil {
		return err
	}
	count := tenantry.Counts{Items: 1, Bytes: int64(len(raw))}
	for _, p := range e.Parts {
		count.Bytes += p.Size
	}
	written, err := r.dst.Item(ctx, folder, e, raw, r.opener(e))
	if err != nil {
		return err
	}
	if written.Left {
		return nil
	}
	if written.Existed {
		count.Bytes = 0
	} else {
		r.progressed()
	}
	r.add(count)
	r.progress()
	return nil
}

func (r *restore) opener(e repository.Entry) OpenPart {
	return func(ctx context.Context, p repository.Part, from int64) (io.ReadCloser, error) {
		body, err := r.snap.OpenFrom(ctx, e, p, from)
		if err != nil || p.Size <= longPart {
			return body, err
		}
		return &leaving{ReadCloser: body, of: r.slice}, nil
	}
}

// longPart is the size from which on the end of a slice does not wait for a part to be read, in bytes: what is smaller
// is written to its end in a moment.
const longPart = 8 << 20

// leaving is a long part that breaks off when its slice has to end. What was read of it counts as progress, so that a
// slice that reads nothing else has an end, too.
type leaving struct {
	io.ReadCloser
	of *slice
	n  int64
}

func (l *leaving) Read(p []byte) (int, error) {
	if l.of.over() {
		return 0, errSliceOver
	}
	n, err := l.ReadCloser.Read(p)
	if l.n += int64(n); l.n >= l.of.limits.ContentBytes {
		l.of.progressed()
	}
	return n, err
}

// saved reports whether there is a good version of the entry.
func saved(e repository.Entry) bool { return e.Problem == "" || e.ETag != "" }

// lacks records what an entry was restored without.
func (r *restore) lacks(ctx context.Context, id string, why error) error {
	e, ok, err := r.snap.Lookup(ctx, id)
	if err != nil {
		return err
	}
	if !ok {
		e = repository.Entry{ID: id}
	}
	return r.settle(e, why)
}

// settle records an error that is one entry's own, and returns any other.
func (r *restore) settle(e repository.Entry, err error) error {
	if err == nil || errors.Is(err, errSliceOver) || !oneBadItem(err) {
		return err
	}
	r.problem(problemOf(e, err))
	return nil
}
