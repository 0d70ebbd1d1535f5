package engine

import (
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// An item that cannot be saved names the class of its reason and the snapshot that has its last good version. That is
// decided when it fails first: it was whole until then, so the newest snapshot has it, unless it is younger than that.
// The entry keeps the number while it fails, whatever the reasons are.

// problemOf is what err is of an entry that was read, or written, one by one.
func problemOf(e repository.Entry, err error) Problem {
	return Problem{ID: e.ID, Name: e.Name, Reason: err.Error(), Kind: tenantry.KindOf(err)}
}

// fails reports the problem of an entry.
func (b *backup) fails(e repository.Entry, again bool) {
	b.problem(Problem{
		ID: e.ID, Name: e.Name, Reason: e.Problem, Kind: e.ProblemKind, Since: e.ProblemAt,
		Snapshot: b.keeps(e.Good), Again: again,
	})
}

// keeps returns a snapshot that still has what the given one had whole: itself or, if it was pruned, the oldest
// after it. An item that fails stays in the snapshots as it was when it last was whole.
func (b *backup) keeps(good int64) int64 {
	kept := int64(0)
	for _, s := range b.w.Live() {
		if good > 0 && s.Seq >= good && (kept == 0 || s.Seq < kept) {
			kept = s.Seq
		}
	}
	return kept
}

// good is the snapshot that has an entry whole which now fails; stored is what was known of it before.
func (b *backup) good(stored repository.Entry, known bool) int64 {
	switch live := b.w.Live(); {
	case !known:
		return 0
	case stored.Problem != "":
		return stored.Good
	case b.young(stored.ID) || len(live) == 0:
		return 0
	default:
		return live[0].Seq
	}
}

// young reports whether an item may be younger than the newest snapshot.
func (b *backup) young(id string) bool {
	_, ok := b.born[id]
	return ok || b.plan.open || len(b.born) >= maxGone
}

// bear notes an item that no snapshot has yet.
func (b *backup) bear(c change) {
	if !c.known && len(b.born) < maxGone && len(b.w.Live()) > 0 {
		b.born[c.entry.ID] = struct{}{}
	}
}
