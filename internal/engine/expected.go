package engine

import "github.com/tenantry/tenantry/internal/repository"

// How much there is to back up is known as far as containers say how many items they have: a folder of mail, of its
// messages; a folder of a drive, of what lies in it. A collection that is read for the first time, or anew, keeps in the
// plan how many it has still to show. What changed since the last run nobody tells ahead.

// expect counts what an item that was shown says of others, and that it is one of those that others told of.
func (b *backup) expect(c change) {
	e := c.entry
	if tree, ok := b.src.Tree(e.ID); ok {
		if e.Collection == "" { // else the tree itself
			b.owe(tree, c.item.Holds-1)
		}
		return
	}
	if e.Collection == "" {
		b.owe(e.Parent, -1)
		return
	}
	if cur := b.cursor(e.Collection); !cur.Complete && cur.Link == "" {
		at := b.plan.collections[e.Collection]
		at.Left = c.item.Holds
		b.plan.collections[e.Collection] = at
	}
}

// owe changes how many items a collection that is being enumerated has still to show.
func (b *backup) owe(collection string, n int64) {
	if at, ok := b.plan.collections[collection]; ok && n != 0 && !b.cursor(collection).Complete {
		at.Left += n
		b.plan.collections[collection] = at
	}
}

// paid forgets what a collection had to show, which has come to its end.
func (b *backup) paid(collection string) {
	if at, ok := b.plan.collections[collection]; ok && at.Left != 0 {
		at.Left = 0
		b.plan.collections[collection] = at
	}
}

// expected is how many items the collections have still to show, as far as they said.
func (b *backup) expected() (n int64) {
	for _, at := range b.plan.collections {
		n += max(0, at.Left)
	}
	return n
}

// listed is what the plan knows of a collection that an item has shown, without losing what it has still to show.
func (b *backup) listed(c change, e repository.Entry) listing {
	return listing{In: c.lister, Apart: c.item.Apart, First: c.item.First, Left: b.plan.collections[e.Collection].Left}
}
