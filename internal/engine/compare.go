package engine

import (
	"context"
	"encoding/base64"
	"iter"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// What became of an item from one snapshot to a later one.
const (
	Added   = "added"
	Changed = "changed" // its content, its name or the folder it lies in
	Removed = "removed"
)

// Change is one difference between two snapshots: the entry as the later one has it, or, of what was removed,
// as the earlier one had it.
type Change struct {
	What  string
	Entry repository.Entry
}

// Comparison is one page of the differences between two snapshots.
type Comparison struct {
	Changes  []Change
	Next     string // token of the next page, "" at the end
	Examined int    // entries that were looked at
}

// Compare returns how two snapshots of a series differ, by ascending ID: at most limit changes (1 to MaxListing)
// behind the page that token after names, "" for the first. It passes over both indexes side by side, holding
// no more than a page, and looks at no more than examine entries (1 at least): a page may have fewer than limit,
// or none, and still have a Next. Folders count; what a folder holds does not change it. Invalid: a
// token that Compare did not make.
func Compare(ctx context.Context, before, after Lister, token string, limit, examine int) (Comparison, error) {
	from, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return Comparison{}, tenantry.E(tenantry.Invalid, "read page token", err)
	}
	limit, examine = max(1, min(limit, MaxListing)), max(1, examine)
	old := pulled(before.EntriesAfter(ctx, string(from)))
	defer old.stop()
	now := pulled(after.EntriesAfter(ctx, string(from)))
	defer now.stop()
	var c Comparison
	for last := ""; ; c.Examined++ {
		switch {
		case old.err != nil:
			return Comparison{}, old.err
		case now.err != nil:
			return Comparison{}, now.err
		case !old.more && !now.more:
			return c, nil
		case c.Examined == examine || len(c.Changes) == limit:
			c.Next = base64.RawURLEncoding.EncodeToString([]byte(last))
			return c, nil
		case !old.more || now.more && now.at.ID < old.at.ID:
			c.Changes, last = append(c.Changes, Change{Added, now.at}), now.at.ID
			now.next()
		case !now.more || old.at.ID < now.at.ID:
			c.Changes, last = append(c.Changes, Change{Removed, old.at}), old.at.ID
			old.next()
		default:
			if last = now.at.ID; differs(old.at, now.at) {
				c.Changes = append(c.Changes, Change{Changed, now.at})
			}
			old.next()
			now.next()
		}
	}
}

// differs reports whether an item is another than it was. What Microsoft counts in a folder changes its
// payload all the time.
func differs(a, b repository.Entry) bool {
	return a.Name != b.Name || a.Parent != b.Parent || !container(b) && !repository.SameContent(a, b)
}

// pull is a listing that is read entry by entry.
type pull struct {
	at     repository.Entry
	more   bool
	err    error
	follow func() (repository.Entry, error, bool)
	stop   func()
}

func pulled(entries iter.Seq2[repository.Entry, error]) *pull {
	p := &pull{}
	p.follow, p.stop = iter.Pull2(entries)
	p.next()
	return p
}

func (p *pull) next() { p.at, p.err, p.more = p.follow() }
