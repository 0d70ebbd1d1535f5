package graphsim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// An index finds every place by its key, however many have the same, and no other.
func TestPlacesAreFoundByKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.Uint64Range(1, 1<<20).Draw(t, "keys") // a small number makes equal keys
		x := &placeIndex{count: rapid.IntRange(0, 300).Draw(t, "count"), key: func(place int) uint64 { return mix(uint64(place) % few) }}
		for want := range x.count {
			if place, ok := x.find(x.key(want), func(place int) bool { return place == want }); !ok || place != want {
				t.Fatalf("place %d is found as %d %v", want, place, ok)
			}
		}
		if place, ok := x.find(mix(few), func(int) bool { return true }); ok {
			t.Fatalf("a key of nobody is found as %d", place)
		}
	})
}

// entryModel is what a collection has to say, with every entry held.
type entryModel struct {
	id, name string
	state    State
}

// Whatever is kept, renamed, removed, brought back or added: a collection that computes its
// entries says what one that holds them says.
func TestComputedDirectoryIsAsOneThatIsHeld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDirectory("users")
		d.seeded.count = rapid.IntRange(0, 20).Draw(t, "seeded")
		made := func(place int) *entry { return &entry{id: guid(uint64(place)), name: strconv.Itoa(place)} }
		d.seeded.compute, d.seeded.keyOf = made, textKey
		d.seeded.index = placeIndex{count: d.seeded.count, key: func(place int) uint64 { return guidKey(uint64(place)) }}
		var model []*entryModel
		for place := range d.seeded.count {
			model = append(model, &entryModel{guid(uint64(place)), strconv.Itoa(place), Active})
		}
		for range rapid.IntRange(0, 40).Draw(t, "changes") {
			if len(model) == 0 || rapid.IntRange(0, 5).Draw(t, "add") == 0 {
				e := made(d.size())
				d.add(e)
				model = append(model, &entryModel{e.id, e.name, Active})
				continue
			}
			m := rapid.SampledFrom(model).Draw(t, "one")
			if rapid.Bool().Draw(t, "rename") {
				m.name = rapid.StringMatching(`[a-z]{3}`).Draw(t, "name")
				d.find(strings.ToUpper(m.id)).name = m.name
				continue
			}
			to := rapid.SampledFrom([]State{Active, Deleted, Purged}).Draw(t, "state")
			if err := d.move(m.id, to, m.state); err != nil {
				t.Fatal(err)
			}
			m.state = to
		}
		sameDirectory(t, &d, model)
	})
}

// sameDirectory compares a collection with what it has to say.
func sameDirectory(t *rapid.T, d *directory, model []*entryModel) {
	said := func(list []*entry) (all []entryModel) {
		for _, e := range list {
			all = append(all, entryModel{e.id, e.name, e.state})
		}
		return all
	}
	in := func(state State) (all []entryModel) {
		for _, m := range model {
			if m.state == state {
				all = append(all, *m)
			}
		}
		return all
	}
	var present []*entry
	for i := range d.present().count {
		present = append(present, d.present().at(i))
	}
	if got, want := said(present), in(Active); !slices.Equal(got, want) {
		t.Fatalf("active are %v, want %v", got, want)
	}
	if got, want := said(d.deleted()), in(Deleted); !slices.Equal(got, want) {
		t.Fatalf("deleted are %v, want %v", got, want)
	}
	for place, m := range model {
		if at, ok := d.place(m.id); !ok || at != place || d.isActive(place) != (m.state == Active) || d.at(place).ordinal != uint64(place+1) {
			t.Fatalf("place %d (%v) is found at %d %v", place, *m, at, ok)
		}
	}
	if e := d.find(guid(uint64(len(model)))); e != nil {
		t.Fatalf("%s is nobody's and found", e.id)
	}
}

// Recordings and reports name objects of a seed: it must make the same for ever. The digest
// was taken when directories were laid out as a whole.
func TestSeedMakesTheSameDirectoryForEver(t *testing.T) {
	s, err := Start(Options{Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tenant := s.AddTenant(TenantSpec{Domain: "Gold.example", Users: 300, Groups: 12, Sites: 7, Subsites: 5, Unlicensed: 11, NoDrive: 9,
		Shared: 4, Rooms: 3, ClosedChannels: 2})
	sum := sha256.New()
	for _, part := range []any{tenant.Users(), tenant.Groups(), tenant.Sites()} {
		if err := json.NewEncoder(sum).Encode(part); err != nil {
			t.Fatal(err)
		}
	}
	for _, g := range tenant.Groups() {
		members, err := tenant.Members(g.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range members {
			sum.Write([]byte(id))
		}
	}
	const want = "7cb2259af0376e5dc91b75562322a9cac5dcbb08b6978118b30b21feb72fb647"
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		t.Errorf("the seed makes another directory: %s, want %s", got, want)
	}
}

// Everybody is found by principal name and by the address of the personal site, and only so
// spelled; a name given at a restore is found instead of the first.
func TestUsersAreFoundByName(t *testing.T) {
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tenant := s.AddTenant(TenantSpec{Users: 30, Unlicensed: 3, NoDrive: 4, Shared: 12, Equipment: 3, Rooms: 11})
	added, err := tenant.NewUser("")
	if err != nil {
		t.Fatal(err)
	}
	users := tenant.Users()
	for _, u := range users {
		if e := tenant.userByKey(strings.ToUpper(u.PrincipalName)); e == nil || e.id != u.ID || e != tenant.users.find(u.ID) {
			t.Errorf("%s is found as %v", u.PrincipalName, e)
		}
		site := tenant.sites.find(tenant.users.find(u.ID).site)
		if site != nil && u.ID != added && tenant.personalSiteAt(site.path) != site {
			t.Errorf("%s is not found", site.path)
		}
	}
	alias, domain, _ := strings.Cut(users[4].PrincipalName, "@")
	for _, wrong := range []string{"", "5", alias + "5", strings.TrimSuffix(alias, "5") + "05", "x" + alias, "room0", "room12", "shared13",
		alias[:1] + "9223372036854775807", alias[:1] + "99999999999999999999"} {
		if e := tenant.userByKey(wrong + "@" + domain); e != nil {
			t.Errorf("%q is found as %s", wrong, e.alias)
		}
		if e := tenant.personalSiteAt("personal/" + wrong); e != nil {
			t.Errorf("%q is the site %s", wrong, e.path)
		}
	}
	if err := tenant.DeleteUser(users[4].ID); err != nil {
		t.Fatal(err)
	}
	if err := tenant.setPrincipalName(tenant.users.find(users[4].ID), "new.name@"+domain); err != nil {
		t.Fatal(err)
	}
	if err := tenant.RestoreUser(users[4].ID); err != nil {
		t.Fatal(err)
	}
	if e := tenant.userByKey("new.name@" + domain); e == nil || e.id != users[4].ID || tenant.userByKey(users[4].PrincipalName) != nil {
		t.Errorf("the new name is of %v", e)
	}
}
