package graphsim

import (
	"fmt"
	"slices"
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
	made    int64      // Unix seconds: a hundred thousand of these are in memory
	left    *departure // of a deleted one

	isGroup, unified, team bool
	// Users.
	licensed bool
	shared   bool
	noDrive  bool
	late     bool   // came after the tenant was made: in no group by seed
	purpose  string // "room" or "equipment"
	// Groups. membership is what differs from the seed, by member ID.
	membership   map[string]bool
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

// directory is one collection of entries; guarded by the tenant's lock.
type directory struct {
	name       string
	byID       map[string]*entry
	order      []*entry
	log        changeLog
	generation int
}

func newDirectory(name string) directory {
	return directory{name: name, byID: map[string]*entry{}}
}

// reserve makes room for that many entries, so that laying out a large tenant leaves no
// outgrown tables behind.
func (d *directory) reserve(n int) {
	n = max(0, n)
	d.order, d.byID = make([]*entry, 0, n), make(map[string]*entry, n)
}

func (d *directory) add(e *entry) {
	e.ordinal = uint64(len(d.order) + 1)
	e.state = Active
	d.order = append(d.order, e)
	d.byID[e.id] = e
}

// find returns an entry whatever its state, or nil.
func (d *directory) find(id string) *entry {
	if e := d.byID[id]; e != nil {
		return e
	}
	return d.byID[strings.ToLower(id)]
}

func (d *directory) active(id string) *entry {
	if e := d.find(id); e != nil && e.state == Active {
		return e
	}
	return nil
}

// move changes an entry's state, if it is in one of the states it may come from.
func (d *directory) move(id string, to State, from ...State) error {
	e := d.find(id)
	if e == nil || !slices.Contains(from, e.state) {
		return fmt.Errorf("graphsim: %s %s is not %v", d.name, id, from)
	}
	e.state = to
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
			for reached = after; reached < uint64(len(d.order)); reached++ {
				if len(items) == limit {
					return items, reached, true
				}
				if e := d.order[reached]; e.state == Active {
					items = append(items, render(e))
				}
			}
			return items, reached, false
		},
		render: func(ids []string) [][]byte {
			items := make([][]byte, len(ids))
			for i, id := range ids {
				items[i] = render(d.byID[id])
			}
			return items
		},
	}
}

// populate makes the directory of a new tenant.
func (t *Tenant) populate() {
	licensed := max(0, t.spec.Users-t.spec.Unlicensed)
	t.users.reserve(t.spec.Users + t.spec.Shared + t.spec.Rooms + t.spec.Equipment)
	t.sites.reserve(licensed + t.spec.Groups + t.spec.Sites + t.spec.Subsites)
	t.libraries = make(map[uint64]*entry, cap(t.sites.order))
	for i := range t.spec.Users {
		t.addUser(i, i < licensed, i < licensed && i >= licensed-t.spec.NoDrive)
	}
	for i := range t.spec.Shared {
		e := &entry{id: guid(mix(t.seed, 'm', uint64(i))), name: fmt.Sprintf("Shared Desk %d", i+1),
			alias: fmt.Sprintf("shared%d", i+1), shared: true, made: epoch.AddDate(-1, 0, 0).Unix()}
		t.users.add(e)
	}
	for kind, n := range map[string]int{"equipment": t.spec.Equipment, "room": t.spec.Rooms} {
		for i := range n {
			t.users.add(&entry{id: guid(mix(mixString(t.seed, kind), uint64(i))), name: fmt.Sprintf("%s %d", strings.ToUpper(kind[:1])+kind[1:], i+1),
				alias: fmt.Sprintf("%s%d", kind, i+1), purpose: kind, made: epoch.AddDate(-1, 0, 0).Unix()})
		}
	}
	for i := range t.spec.Groups {
		t.addGroup(fmt.Sprintf("%s %d", []string{"Finance", "Sales", "Projekt Öst", "Leadership"}[i%4], i+1), i%2 == 0)
	}
	for i := range t.spec.Sites {
		t.addSite(fmt.Sprintf("Team Site %d", i+1), "", "")
	}
	for i := range t.spec.Subsites {
		t.addSubsite(i)
	}
}

// addSubsite makes a web below one of the team sites: of the same collection, with a web
// ID of its own.
func (t *Tenant) addSubsite(i int) {
	var tops []*entry
	for _, e := range t.sites.order {
		if e.owner == "" && e.group == "" && e.parent == "" {
			tops = append(tops, e)
		}
	}
	if len(tops) == 0 {
		return
	}
	top := tops[i%len(tops)]
	collection, _ := cutLast(top.id, ",")
	e := &entry{id: collection + "," + guid(mix(t.seed, 'b', uint64(i))), name: fmt.Sprintf("Subsite %d", i+1),
		path: fmt.Sprintf("%s/sub%d", top.path, i+1), parent: top.id, made: epoch.AddDate(0, -6, 0).Unix()}
	t.sites.add(e)
	t.libraries[siteKey(e.id)] = e
}

func cutLast(s, separator string) (before, after string) {
	i := strings.LastIndex(s, separator)
	return s[:i], s[i+len(separator):]
}

func (t *Tenant) addUser(i int, licensed, noDrive bool) *entry {
	name, alias := person(t.seed, i)
	e := &entry{id: guid(mix(t.seed, 'u', uint64(i))), name: name, alias: alias, licensed: licensed, noDrive: noDrive,
		made: epoch.AddDate(-2, 0, -i%300).Unix()}
	t.users.add(e)
	if licensed && !noDrive {
		t.addSite(name, e.id, "")
	}
	return e
}

func (t *Tenant) addGroup(name string, unified bool) *entry {
	n := uint64(len(t.groups.order))
	e := &entry{id: guid(mix(t.seed, 'g', n)), name: name, alias: fmt.Sprintf("group%d", n+1), isGroup: true, unified: unified,
		team: unified && n%4 == 0, made: epoch.AddDate(-1, 0, 0).Unix()}
	t.groups.add(e)
	if unified {
		t.addSite(name, "", e.id)
	}
	t.addChannelSites(e)
	return e
}

// personalPath makes a principal name part of a path.
var personalPath = strings.NewReplacer(".", "_", "@", "_")

// addSite makes a site: the personal one of a user, that of a group, or a team site.
func (t *Tenant) addSite(name, owner, group string) *entry {
	n := uint64(len(t.sites.order))
	host, path := t.host(), ""
	if e := t.users.byID[owner]; e != nil {
		host, path = t.personalHost(), "personal/"+personalPath.Replace(t.principalName(e))
	} else {
		path = fmt.Sprintf("sites/site%d", n+1)
	}
	e := &entry{id: host + "," + guid(mix(t.seed, 's', n)) + "," + guid(mix(t.seed, 'w', n)),
		name: name, owner: owner, group: group, path: path, made: epoch.AddDate(-1, 0, 0).Unix()}
	for _, of := range []*entry{t.users.byID[owner], t.groups.byID[group]} {
		if of != nil {
			of.site = e.id
		}
	}
	t.sites.add(e)
	t.libraries[siteKey(e.id)] = e
	return e
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
		for _, e := range t.users.order {
			if e.alias == alias && e.state == Active {
				return e
			}
		}
	}
	return nil
}
