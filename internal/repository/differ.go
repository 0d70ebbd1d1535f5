package repository

import (
	"context"
	"iter"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Difference is what became of the items of a snapshot in a later one. Places do not count.
type Difference struct {
	Before  int64 // items that there were
	Changed int64 // of them, whose content is another
	Removed int64 // of them, that are gone
}

// Differ compares two snapshots of a series, by reading both indexes side by side, unless the manifests
// tell that so little is new that the share of changed and removed items cannot exceed the given one:
// then it returns the bound as Changed. NotFound if there is no such snapshot.
func (r *Repository) Differ(ctx context.Context, s tenantry.Series, before, after int64, share float64) (Difference, error) {
	a, err := r.OpenSnapshot(ctx, s, before)
	if err != nil {
		return Difference{}, err
	}
	defer a.Close()
	b, err := r.OpenSnapshot(ctx, s, after)
	if err != nil {
		return Difference{}, err
	}
	defer b.Close()
	d := Difference{Before: a.Snapshot().Counts.Items}
	if bound := apart(a, b); float64(bound) <= share*float64(d.Before) {
		d.Changed = bound
		return d, nil
	}
	nextA, stopA := iter.Pull2(a.Entries(ctx))
	defer stopA()
	nextB, stopB := iter.Pull2(b.Entries(ctx))
	defer stopB()
	return d, d.merge(nextA, nextB)
}

// apart is how many records two snapshots do not have in common, at most: an entry stands in several of
// them. What was removed may be in the earlier one alone, where a fold has dropped it.
func apart(a, b *Reader) int64 {
	n := int64(len(a.inline.changes) + len(b.inline.changes))
	segments := map[string]int64{}
	for _, rd := range []*Reader{a, b} {
		for _, m := range rd.head.Segments {
			if _, both := segments[string(m.Id)]; both {
				delete(segments, string(m.Id))
			} else {
				segments[string(m.Id)] = m.Records
			}
		}
	}
	for _, records := range segments {
		n += records
	}
	return n
}

func (d *Difference) merge(nextA, nextB func() (Entry, error, bool)) error {
	b, err, more := nextB()
	for {
		a, errA, ok := nextA()
		if errA != nil || !ok {
			return errA
		}
		for more && err == nil && b.ID < a.ID {
			b, err, more = nextB()
		}
		if err != nil {
			return err
		}
		switch {
		case a.Place():
		case !more || b.ID != a.ID:
			d.Removed++
		case !SameContent(a, b):
			d.Changed++
		}
	}
}

// SameContent reports whether two entries point at the same bytes.
func SameContent(a, b Entry) bool {
	if !a.Payload.Equal(b.Payload) || len(a.Parts) != len(b.Parts) {
		return false
	}
	for i := range a.Parts {
		if !a.Parts[i].Ref.Equal(b.Parts[i].Ref) {
			return false
		}
	}
	return true
}
