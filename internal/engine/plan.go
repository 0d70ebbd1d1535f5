package engine

import (
	"encoding/json"
	"slices"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// planCursor is the name under which the plan is kept among the cursors, where it is committed
// together with them. No source has a collection of that name.
const planCursor = "engine:plan"

// plan is what a backup has to know between slices besides the index and the cursors. It saves a
// scan of the whole index at every start: the cost of a run follows what changed.
type plan struct {
	collections map[string]listing  // folders that are collections
	condemned   map[string]struct{} // removed containers whose content is to be swept
	awaited     map[string]struct{} // containers that an entry names as its parent and that were not listed yet
	failed      map[string]struct{} // items of which a part could not be read: to be tried again
	aside       map[string]int      // items whose content was not served: in how many slices
	doubted     map[string]struct{} // those of them that were throttled, with nothing read since
	spent       map[string]struct{} // items that were throttled and given up: not asked for again in this run
	refused     map[string]struct{} // collections that could not be read: their entries say why
	lists       map[string]string   // collections without a delta: digest of the IDs that they showed
	long        map[string]int      // those of them that take more than one page: how many
	sweeps      map[string]int64    // collections enumerated anew to the end: their generation
	cut         map[string]struct{} // collections of whose page only a part was stored: it is read again
	damaged     map[string]struct{} // items whose stored content is damaged: to be forgotten, and read again
	healing     map[string]struct{} // those that were forgotten by this run
	open        bool                // items were stored since the newest snapshot
	saved       string
}

// listing says where a collection belongs.
type listing struct {
	In    string `json:"in,omitempty"`    // the collection that shows it
	Apart bool   `json:"apart,omitempty"` // see Item.Apart
	First bool   `json:"first,omitempty"` // see Item.First
	Left  int64  `json:"left,omitempty"`  // items it has still to show, see expect
}

type planFile struct {
	Collections map[string]listing `json:"collections,omitempty"`
	Condemned   []string           `json:"condemned,omitempty"`
	Awaited     []string           `json:"awaited,omitempty"`
	Failed      []string           `json:"failed,omitempty"`
	Aside       map[string]int     `json:"aside,omitempty"`
	Doubted     []string           `json:"doubted,omitempty"`
	Spent       []string           `json:"spent,omitempty"`
	Refused     []string           `json:"refused,omitempty"`
	Lists       map[string]string  `json:"lists,omitempty"`
	Long        map[string]int     `json:"long,omitempty"`
	Sweeps      map[string]int64   `json:"sweeps,omitempty"`
	Cut         []string           `json:"cut,omitempty"`
	Damaged     []string           `json:"damaged,omitempty"`
	Healing     []string           `json:"healing,omitempty"`
	Open        bool               `json:"open,omitempty"`
}

func loadPlan(w Cursors) (*plan, error) {
	cur, _ := w.Cursor(planCursor)
	var f planFile
	if cur.Link != "" {
		if err := json.Unmarshal([]byte(cur.Link), &f); err != nil {
			return nil, tenantry.E(tenantry.Corrupt, "read the plan of the series", err)
		}
	}
	if f.Aside == nil {
		f.Aside = map[string]int{}
	}
	if f.Collections == nil {
		f.Collections = map[string]listing{}
	}
	if f.Lists == nil {
		f.Lists = map[string]string{}
	}
	if f.Long == nil {
		f.Long = map[string]int{}
	}
	if f.Sweeps == nil {
		f.Sweeps = map[string]int64{}
	}
	return &plan{
		collections: f.Collections, condemned: set(f.Condemned), awaited: set(f.Awaited), failed: set(f.Failed),
		aside: f.Aside, doubted: set(f.Doubted), spent: set(f.Spent),
		refused: set(f.Refused), lists: f.Lists, long: f.Long, sweeps: f.Sweeps, cut: set(f.Cut),
		damaged: set(f.Damaged), healing: set(f.Healing), open: f.Open, saved: cur.Link,
	}, nil
}

// save puts the plan among the cursors if it changed: an unchanged series must not make a commit.
func (p *plan) save(w Cursors) error {
	f := planFile{
		Collections: p.collections, Condemned: sorted(p.condemned), Awaited: sorted(p.awaited), Failed: sorted(p.failed),
		Aside: p.aside, Doubted: sorted(p.doubted), Spent: sorted(p.spent),
		Refused: sorted(p.refused), Lists: p.lists, Long: p.long, Sweeps: p.sweeps, Cut: sorted(p.cut),
		Damaged: sorted(p.damaged), Healing: sorted(p.healing), Open: p.open,
	}
	text, err := json.Marshal(f)
	if err != nil {
		return tenantry.E(tenantry.Internal, "write the plan of the series", err)
	}
	if string(text) != p.saved && (p.saved != "" || string(text) != "{}") {
		p.saved = string(text)
		w.SetCursor(planCursor, repository.Cursor{Link: p.saved})
	}
	return nil
}

// served notes that an item no longer waits to be asked for again.
func (p *plan) served(id string) {
	delete(p.aside, id)
	delete(p.doubted, id)
}

// spares reports whether an item that was not served in so many slices is not given up yet.
func (p *plan) spares(id string, tries int) bool {
	_, doubted := p.doubted[id]
	return tries < maxTries || doubted && len(p.doubted) > maxTroubled
}

// waiting returns what is set aside: what was asked for least comes first, so that no item keeps the
// others from being asked for by ending every slice.
func (p *plan) waiting() []string {
	ids := sorted(p.aside)
	slices.SortStableFunc(ids, func(a, b string) int { return p.aside[a] - p.aside[b] })
	return ids
}

func (p *plan) has(collection string) bool { _, ok := p.collections[collection]; return ok }

// space returns the collection under which c is read: what moves stays below it.
func (p *plan) space(c string) string {
	for range len(p.collections) {
		at, ok := p.collections[c]
		if !ok || at.Apart {
			return c
		}
		c = at.In
	}
	return c
}

// apart returns the collections that are read by themselves, beside the root.
func (p *plan) apart() []string {
	var list []string
	for _, c := range sorted(p.collections) {
		if p.collections[c].Apart {
			list = append(list, c)
		}
	}
	return list
}

// order returns the collections to read under space: those in the middle of an enumeration first,
// then those that the source wants first.
func (p *plan) order(w Cursors, space string) []string {
	var reading, first, rest []string
	for _, c := range sorted(p.collections) {
		if c == space || p.space(c) != space {
			continue
		}
		if cur, ok := w.Cursor(c); ok && !cur.Complete && cur.Link != "" {
			reading = append(reading, c)
		} else if p.collections[c].First {
			first = append(first, c)
		} else {
			rest = append(rest, c)
		}
	}
	return slices.Concat(reading, first, rest)
}

// known returns the lists under space that were read to their ends before, the longest last.
func (p *plan) known(w Cursors, space string) []string {
	list := slices.DeleteFunc(p.order(w, space), func(c string) bool { _, ok := p.lists[c]; return !ok })
	slices.SortStableFunc(list, func(a, b string) int { return p.long[a] - p.long[b] })
	return list
}

func set(ids []string) map[string]struct{} {
	m := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		m[id] = struct{}{}
	}
	return m
}

func sorted[V any](m map[string]V) []string {
	ids := make([]string, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
