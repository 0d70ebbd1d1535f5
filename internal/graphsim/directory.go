package graphsim

import (
	"fmt"
	"iter"
	"slices"
	"sort"
	"strings"
	"time"
)

// State is where a directory object is in its life.
type State string

// The states of a user, group or site:
//
//	active <--> deleted (restorable) --> purged
const (
	Active  State = "active"
	Deleted State = "deleted"
	Purged  State = "purged"
)

// entry is a user, a group or a site.
type entry struct {
	id      string
	ordinal uint64 // its place by age
	name    string
	alias   string
	state   State
	made    int64      // Unix seconds
	left    *departure // of a deleted one

	isGroup, unified, team bool
	mailed, secures        bool // of a group: mailEnabled, securityEnabled
	dynamic                bool // of a group: a rule says who is in it
	// Users.
	licensed bool
	shared   bool
	purpose  string // "room" or "equipment"
	// Groups. membership is what differs from the seed.
	membership   map[ref]bool
	channelSites []string // of a team's private and shared channels
	// site is the ID of the personal site of a user or the site of a group.
	site string
	// Sites. owner is the user of a personal site, group the group of a group site.
	owner, group string
	path         string
	parent       string // the site that a subsite is below
}

// departure is when an entry was deleted, and the simulated time when it is gone for good.
type departure struct {
	at    time.Time
	until time.Duration
}

func (e *entry) created() time.Time { return time.Unix(e.made, 0).UTC() }

// directory is one collection of entries, by age: those that the seed lays out, and those
// that came later. Guarded by the tenant's lock.
type directory struct {
	name       string
	seeded     seeded
	added      []*entry
	byID       map[string]*entry // of those added
	gone       []int             // the places of those that are not active, in order
	log        changeLog
	generation int
}

func newDirectory(name string) directory {
	return directory{name: name, byID: map[string]*entry{}}
}

// size is how many entries there are, whatever their state.
func (d *directory) size() int { return d.seeded.count + len(d.added) }

func (d *directory) add(e *entry) {
	e.ordinal = uint64(d.size() + 1)
	e.state = Active
	d.added = append(d.added, e)
	d.byID[e.id] = e
}

// at returns an entry to be read and forgotten.
func (d *directory) at(place int) *entry {
	if place < d.seeded.count {
		return d.seeded.peek(place)
	}
	return d.added[place-d.seeded.count]
}

// keep returns an entry that may be changed or held.
func (d *directory) keep(place int) *entry {
	if place < d.seeded.count {
		return d.seeded.keep(place)
	}
	return d.added[place-d.seeded.count]
}

// all goes through the entries by age, to be read and forgotten.
func (d *directory) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for place := range d.size() {
			if !yield(d.at(place)) {
				return
			}
		}
	}
}

// place returns where the entry with an ID is.
func (d *directory) place(id string) (place int, ok bool) {
	for _, id := range []string{id, strings.ToLower(id)} {
		if e := d.byID[id]; e != nil {
			return int(e.ordinal) - 1, true
		}
		if place, ok := d.seeded.find(id); ok {
			return place, true
		}
	}
	return 0, false
}

// find returns an entry whatever its state, or nil. It may be changed and held.
func (d *directory) find(id string) *entry {
	if place, ok := d.place(id); ok {
		return d.keep(place)
	}
	return nil
}

func (d *directory) active(id string) *entry {
	if e := d.find(id); e != nil && e.state == Active {
		return e
	}
	return nil
}

func (d *directory) isActive(place int) bool {
	_, gone := slices.BinarySearch(d.gone, place)
	return !gone
}

// deleted lists the entries that wait to be restored or purged.
func (d *directory) deleted() (list []*entry) {
	for _, place := range d.gone {
		if e := d.keep(place); e.state == Deleted {
			list = append(list, e)
		}
	}
	return list
}

// move changes an entry's state, if it is in one of the states it may come from.
func (d *directory) move(id string, to State, from ...State) error {
	e := d.find(id)
	if e == nil || !slices.Contains(from, e.state) {
		return fmt.Errorf("graphsim: %s %s is not %v", d.name, id, from)
	}
	e.state = to
	place := int(e.ordinal) - 1
	switch at, gone := slices.BinarySearch(d.gone, place); {
	case gone && to == Active:
		d.gone = slices.Delete(d.gone, at, at+1)
	case !gone && to != Active:
		d.gone = slices.Insert(d.gone, at, place)
	}
	if to == Deleted {
		e.left = &departure{at: time.Now()}
	}
	d.log.note(e.id)
	return nil
}

// source shows the collection to a delta round.
func (d *directory) source(tenant string, render func(*entry) []byte) deltaSource {
	return deltaSource{
		collection: tenant + "/" + d.name, generation: d.generation, log: &d.log,
		list: func(after uint64, limit int) (items [][]byte, reached uint64, more bool) {
			for reached = after; reached < uint64(d.size()); reached++ {
				if len(items) == limit {
					return items, reached, true
				}
				if d.isActive(int(reached)) {
					items = append(items, render(d.at(int(reached))))
				}
			}
			return items, reached, false
		},
		render: func(ids []string) [][]byte {
			items := make([][]byte, len(ids))
			for i, id := range ids {
				items[i] = render(d.find(id))
			}
			return items
		},
	}
}

// ref names an entry without computing it.
type ref struct {
	in    *directory
	place int
}

func (r ref) entry() *entry    { return r.in.at(r.place) }
func (r ref) kindName() string { return strings.TrimSuffix(r.in.name, "s") } // as Graph names it
func (r ref) ordinal() uint64  { return uint64(r.place + 1) }
func (r ref) purged() bool     { return !r.in.isActive(r.place) && r.entry().state == Purged }

// roll is a list of entries, each computed when it is looked at.
type roll struct {
	count int
	at    func(i int) *entry
}

// present lists the active entries by age.
func (d *directory) present() roll { return d.without(d.gone) }

// without lists all entries by age but those at some places, which are in order.
func (d *directory) without(gaps []int) roll {
	return roll{d.size() - len(gaps), func(i int) *entry {
		// As many gaps are before the i-th of the rest as begin with no more than i before them.
		return d.at(i + sort.Search(len(gaps), func(n int) bool { return gaps[n]-n > i }))
	}}
}

// having lists those of a roll that are accepted.
func (r roll) having(accept func(*entry) bool) roll {
	var picked []int
	for i := range r.count {
		if accept(r.at(i)) {
			picked = append(picked, i)
		}
	}
	return roll{len(picked), func(i int) *entry { return r.at(picked[i]) }}
}

func rollOf(list []*entry) roll { return roll{len(list), func(i int) *entry { return list[i] }} }

func rollOfRefs(list []ref) roll {
	return roll{len(list), func(i int) *entry { return list[i].entry() }}
}

func (t *Tenant) host() string {
	return strings.Split(t.spec.Domain, ".")[0] + ".sharepoint.example"
}

func (t *Tenant) personalHost() string {
	return strings.Split(t.spec.Domain, ".")[0] + "-my.sharepoint.example"
}

func (e *entry) hasMailbox() bool { return e.licensed || e.shared || e.purpose != "" }

// userPurpose is the kind of a mailbox.
func (e *entry) userPurpose() string {
	switch {
	case e.purpose != "":
		return e.purpose
	case e.shared:
		return "shared"
	}
	return "user"
}

// kindName is the type of a user or group as Graph names it.
func (e *entry) kindName() string {
	if e.isGroup {
		return "group"
	}
	return "user"
}

func (t *Tenant) principalName(e *entry) string { return e.alias + "@" + t.spec.Domain }

// userByKey finds an active user by object ID or principal name.
func (t *Tenant) userByKey(key string) *entry {
	if e := t.users.active(key); e != nil {
		return e
	}
	if alias, ok := strings.CutSuffix(strings.ToLower(key), "@"+strings.ToLower(t.spec.Domain)); ok {
		return t.userByAlias(alias)
	}
	return nil
}
