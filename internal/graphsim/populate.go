package graphsim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// populate makes the directory of a new tenant. Users and their sites are only counted:
// what they are follows from their places. Groups and team sites are made.
func (t *Tenant) populate() {
	users := &t.users.seeded
	users.count = t.seats().total()
	users.compute, users.keyOf = t.seedUser, textKey
	users.index = placeIndex{count: users.count, key: func(place int) uint64 { return guidKey(t.userSeed(place)) }}

	sites := &t.sites.seeded
	sites.count = t.seats().drives
	sites.compute, sites.keyOf = t.seedSite, siteTextKey
	sites.index = placeIndex{count: sites.count, key: func(place int) uint64 { return guidKey(mix(t.seed, 's', uint64(place))) }}
	t.personalDrives = placeIndex{count: sites.count, key: func(place int) uint64 { return siteKey(t.personalSite(place)) }}

	for i := range t.spec.Groups {
		t.addGroup(fmt.Sprintf("%s %d", []string{"Finance", "Sales", "Projekt Öst", "Leadership"}[i%4], i+1), i%2 == 0)
	}
	for i := range t.spec.Sites {
		t.addSite(fmt.Sprintf("Team Site %d", i+1), nil, nil)
	}
	for i := range t.spec.Subsites {
		t.addSubsite(i)
	}
}

// seats says how the places of the users that the seed lays out are divided: people,
// shared mailboxes, equipment, rooms. The first of the people have a licence, the first of
// those a drive.
type seats struct{ people, licensed, drives, shared, equipment, rooms int }

func (t *Tenant) seats() seats {
	s := seats{people: max(0, t.spec.Users), shared: max(0, t.spec.Shared), equipment: max(0, t.spec.Equipment), rooms: max(0, t.spec.Rooms)}
	s.licensed = min(s.people, max(0, s.people-t.spec.Unlicensed))
	s.drives = min(s.licensed, max(0, s.licensed-t.spec.NoDrive))
	return s
}

func (s seats) total() int { return s.people + s.shared + s.equipment + s.rooms }

// firstRoom is the place of the first room.
func (s seats) firstRoom() int { return s.total() - s.rooms }

// of returns what sits at a place ("" is a person), and its number among those.
func (s seats) of(place int) (kind string, i int) {
	if place < s.people {
		return "", place
	}
	if place -= s.people; place < s.shared {
		return "shared", place
	}
	if place -= s.shared; place < s.equipment {
		return "equipment", place
	}
	return "room", place - s.equipment
}

// userSeed is what the object ID of a user is made from.
func (t *Tenant) userSeed(place int) uint64 {
	switch kind, i := t.seats().of(place); kind {
	case "":
		return mix(t.seed, 'u', uint64(i))
	case "shared":
		return mix(t.seed, 'm', uint64(i))
	default:
		return mix(mixString(t.seed, kind), uint64(i))
	}
}

// seedUser computes the user at a place.
func (t *Tenant) seedUser(place int) *entry {
	s := t.seats()
	kind, i := s.of(place)
	e := &entry{id: guid(t.userSeed(place)), alias: kind + strconv.Itoa(i+1), made: epoch.AddDate(-1, 0, 0).Unix()}
	switch kind {
	case "":
		e.name, e.alias = person(t.seed, i)
		e.licensed, e.made = i < s.licensed, personMade(i)
		if i < s.drives {
			e.site = t.personalSite(i)
		}
	case "shared":
		e.name, e.shared = fmt.Sprintf("Shared Desk %d", i+1), true
	default:
		e.name, e.purpose = fmt.Sprintf("%s%s %d", strings.ToUpper(kind[:1]), kind[1:], i+1), kind
	}
	return e
}

func personMade(i int) int64 { return epoch.AddDate(-2, 0, -i%300).Unix() }

// personalSite is the ID of the site of the person at a place.
func (t *Tenant) personalSite(place int) string { return t.siteID(t.personalHost(), place) }

// siteID is the ID of the site that is made at a place.
func (t *Tenant) siteID(host string, place int) string {
	return host + "," + guid(mix(t.seed, 's', uint64(place))) + "," + guid(mix(t.seed, 'w', uint64(place)))
}

// siteTextKey is the key of a site's ID, which is host,collection,web.
func siteTextKey(id string) (uint64, bool) {
	_, rest, _ := strings.Cut(id, ",")
	collection, _, _ := strings.Cut(rest, ",")
	return textKey(collection)
}

// seedSite computes the personal site at a place, which is that of its owner.
func (t *Tenant) seedSite(place int) *entry {
	name, alias := person(t.seed, place)
	return &entry{id: t.personalSite(place), name: name, owner: guid(t.userSeed(place)), path: t.personalSitePath(alias),
		made: epoch.AddDate(-1, 0, 0).Unix()}
}

// personalPath makes a principal name part of a path.
var personalPath = strings.NewReplacer(".", "_", "@", "_")

func (t *Tenant) personalSitePath(alias string) string {
	return "personal/" + personalPath.Replace(alias+"@"+t.spec.Domain)
}

// addSubsite makes a web below one of the team sites: of the same collection, with a web
// ID of its own.
func (t *Tenant) addSubsite(i int) {
	tops := slices.DeleteFunc(slices.Clone(t.sites.added), func(e *entry) bool {
		return e.owner != "" || e.group != "" || e.parent != ""
	})
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

// addUser adds a person with a licence and a drive to those that the seed laid out.
func (t *Tenant) addUser() *entry {
	place := t.users.size()
	name, alias := person(t.seed, place)
	e := &entry{id: guid(mix(t.seed, 'u', uint64(place))), name: name, alias: alias, licensed: true, made: personMade(place)}
	t.users.add(e)
	t.addSite(name, e, nil)
	return e
}

func (t *Tenant) addGroup(name string, unified bool) *entry {
	n := uint64(t.groups.size())
	e := &entry{id: guid(mix(t.seed, 'g', n)), name: name, alias: fmt.Sprintf("group%d", n+1), isGroup: true, unified: unified,
		team: unified && n%4 == 0, dynamic: n%6 == 4, made: epoch.AddDate(-1, 0, 0).Unix()}
	// Of those that are no Microsoft 365 groups the first is a security group, the next one a distribution group, and the
	// third one a mail-enabled security group.
	other := n / 2 % 3
	e.mailed, e.secures = unified || other > 0, !unified && other != 1
	t.groups.add(e)
	if unified {
		t.addSite(name, nil, e)
	}
	t.addChannelSites(e)
	return e
}

// addSite makes a site: the personal one of a user, that of a group, or a team site.
func (t *Tenant) addSite(name string, owner, group *entry) *entry {
	n := t.sites.size()
	e := &entry{name: name, made: epoch.AddDate(-1, 0, 0).Unix()}
	if owner != nil {
		e.id, e.owner, e.path = t.personalSite(n), owner.id, t.personalSitePath(owner.alias)
		owner.site = e.id
	} else {
		e.id, e.path = t.siteID(t.host(), n), fmt.Sprintf("sites/site%d", n+1)
	}
	if group != nil {
		e.group, group.site = group.id, e.id
	}
	t.sites.add(e)
	t.libraries[siteKey(e.id)] = e
	return e
}

// userByAlias finds the active user with a name: the oldest, where a restored one took the
// name of another.
func (t *Tenant) userByAlias(alias string) *entry {
	var found *entry
	try := func(e *entry) {
		if e.alias == alias && e.state == Active && (found == nil || e.ordinal < found.ordinal) {
			found = e
		}
	}
	for _, place := range t.numbered(alias) {
		try(t.users.at(place))
	}
	for _, e := range t.renamed {
		try(e)
	}
	if found == nil {
		return nil
	}
	return t.users.keep(int(found.ordinal) - 1)
}

// numbered returns the places whose users may have had a name from the seed: it ends in
// their number, of people and of what was added by place, of others among their kind.
func (t *Tenant) numbered(name string) (places []int) {
	n, err := strconv.Atoi(name[len(strings.TrimRight(name, "0123456789")):])
	if err != nil || n < 1 || n > t.users.size() {
		return nil
	}
	s := t.seats()
	for _, place := range []int{n - 1, s.people + n - 1, s.people + s.shared + n - 1, s.firstRoom() + n - 1} {
		if place < t.users.size() {
			places = append(places, place)
		}
	}
	return places
}
