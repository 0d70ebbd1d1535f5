package engine

import (
	"context"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Measure counts what Restore would write of the chosen entries, or of everything: items and their bytes, and as
// skipped those of which no version was saved. It looks at no more than examine entries (1 at least); whole is
// false if there are others. An ID that is not in the snapshot counts as skipped.
func Measure(ctx context.Context, snap Snapshot, chosen []string, examine int) (counts tenantry.Counts, whole bool, err error) {
	if len(chosen) == 0 {
		c := snap.Snapshot().Counts
		return tenantry.Counts{Items: c.Items, Bytes: c.Bytes, Skipped: c.Skipped}, true, nil
	}
	m := &measure{restore: newRestore(snap, nil, newSlice(Limits{}, nil, nil)), left: max(1, examine)}
	for _, id := range chosen {
		m.chosen[id] = true
	}
	for _, id := range chosen {
		e, ok, err := snap.Lookup(ctx, id)
		if err != nil {
			return m.counts, false, err
		}
		if !ok {
			m.counts.Skipped++
			continue
		}
		_, covered, err := m.path(ctx, e)
		if err == nil && !covered {
			err = m.entry(ctx, e, 0)
		}
		if err != nil || m.left <= 0 {
			return m.counts, false, err
		}
	}
	return m.counts, true, nil
}

// measure goes the way of a restore.
type measure struct {
	*restore
	left   int // entries that may still be looked at; none left: there are others
	counts tenantry.Counts
}

func (m *measure) entry(ctx context.Context, e repository.Entry, depth int) error {
	if m.left--; m.left <= 0 {
		return nil
	}
	if !container(e) {
		m.item(e)
		return nil
	}
	if depth >= maxDepth {
		return nil
	}
	for child, err := range m.snap.Children(ctx, e.ID) {
		if err == nil {
			err = m.entry(ctx, child, depth+1)
		}
		if err != nil || m.left <= 0 {
			return err
		}
	}
	return nil
}

func (m *measure) item(e repository.Entry) {
	if !saved(e) {
		m.counts.Skipped++
		return
	}
	m.counts.Items++
	m.counts.Bytes += e.Size
	for _, p := range e.Parts {
		if p.Name != exportContent { // whose bytes are the item's size
			m.counts.Bytes += p.Size
		}
	}
}
