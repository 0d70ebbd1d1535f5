package engine_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// shelves is a source of lists that items move between: calendars.
type shelves struct {
	in       map[string][]string // items by list
	pageSize int
	asked    []string       // lists, in the order in which their pages were asked for
	after    map[int]func() // what happens behind the page of that number
	refuse   map[string]tenantry.Kind
	read     map[string]func() string // items of which lists show the version alone: reading one tells where it is
}

func newShelves(in map[string][]string) *shelves { return &shelves{in: in, pageSize: 10} }

func (s *shelves) Tree(string) (string, bool) { return "", false }

func (s *shelves) Page(_ context.Context, collection, link string) (engine.Page, error) {
	s.asked = append(s.asked, collection)
	defer func(n int) {
		if happen := s.after[n]; happen != nil {
			happen()
		}
	}(len(s.asked))
	if kind, ok := s.refuse[collection]; ok {
		return engine.Page{}, tenantry.Errorf(kind, "not for you")
	}
	if collection == engine.RootCollection {
		p := engine.Page{Done: true, Listed: true}
		for _, id := range slices.Sorted(maps.Keys(s.in)) {
			p.Items = append(p.Items, folder(id))
		}
		return p, nil
	}
	items, ok := s.in[collection]
	if !ok {
		return engine.Page{}, tenantry.Errorf(tenantry.NotFound, "no such list")
	}
	start := 0
	_, _ = fmt.Sscanf(link, "at %d", &start)
	start = min(start, len(items))
	end := min(start+s.pageSize, len(items))
	p := engine.Page{Done: end == len(items), Listed: true}
	if !p.Done {
		p.Next = fmt.Sprint("at ", end)
	}
	for _, id := range items[start:end] {
		item := mailIn(id, collection)
		if read := s.read[id]; read != nil {
			item.Load = func(context.Context) (engine.Item, error) { return mailIn(id, read()), nil }
		}
		p.Items = append(p.Items, item)
	}
	return p, nil
}

func (s *shelves) move(id, from, to string) {
	s.in[from] = slices.DeleteFunc(slices.Clone(s.in[from]), func(other string) bool { return other == id })
	s.in[to] = append(slices.Clone(s.in[to]), id)
}

// again forgets what was asked for.
func (s *shelves) again() { s.asked, s.after = nil, map[int]func(){} }

// TestListsAtRest: of n lists at rest all but one are read twice, the longest once if it is one page, and what lists
// them once. One list needs nothing twice.
func TestListsAtRest(t *testing.T) {
	for name, c := range map[string]struct {
		in   map[string][]string
		want string
	}{
		"none":         {map[string][]string{}, ","},
		"one":          {map[string][]string{"a": {"m"}}, "a,"},
		"three":        {map[string][]string{"a": {"m"}, "b": nil, "c": {"n"}}, "a,b,c,,a,b"},
		"a long first": {map[string][]string{"a": strings.Split("0123456789ABCDE", ""), "b": nil, "c": {"n"}}, "b,c,a,a,,a,a,b,c"},
	} {
		t.Run(name, func(t *testing.T) {
			s, m := newShelves(c.in), newMemory()
			backup(t, s, m)
			s.again()
			backup(t, s, m)
			if got := strings.Join(s.asked, ","); got != strings.TrimSuffix(c.want, ",") && got != c.want {
				t.Errorf("asked for %q, want %q", got, c.want)
			}
			if m.puts > 0 {
				t.Errorf("%d entries changed", m.puts)
			}
		})
	}
}

// TestANewItemMovesBetweenLists: an item that is new since the last run, and moves once during this one, is in its
// snapshot, whenever and wherever it moves, be it into a list that did not exist when the run began.
func TestANewItemMovesBetweenLists(t *testing.T) {
	for _, from := range []string{"a", "b", "c", "new"} {
		for _, to := range []string{"a", "b", "c", "new", "made"} {
			for at := range 9 {
				s, m := newShelves(map[string][]string{"a": {"x"}, "b": {"y"}, "c": {"z"}}), newMemory()
				backup(t, s, m)
				s.again()
				s.in[from] = append(slices.Clone(s.in[from]), "moves")
				if to == "new" && from != to {
					s.in["new"] = nil
				}
				s.after[at] = func() { s.move("moves", from, to) }
				out := backup(t, s, m)
				if _, ok := m.committed.entries["moves"]; !ok || len(out.Problems) > 0 {
					t.Errorf("from %s to %s after %d pages (%q): stored %t, %v", from, to, at, s.asked, ok, out.Problems)
				}
			}
		}
	}
}

// TestAnItemMovesBeforeItIsReadAndGoes: it was in another list when it was read whole, and went before that one, at rest
// for all that it showed, was read.
func TestAnItemMovesBeforeItIsReadAndGoes(t *testing.T) {
	s, m := newShelves(map[string][]string{"a": {"x"}, "b": nil}), newMemory()
	backup(t, s, m)
	s.again()
	s.in["a"] = append(s.in["a"], "moves")
	s.read = map[string]func() string{"moves": func() string {
		s.in["a"] = []string{"x"}
		return "b"
	}}
	for range 2 {
		backup(t, s, m)
	}
	if e, stored := m.now.entries["moves"]; stored {
		t.Errorf("it is stored and gone: %+v", e)
	}
}

// TestAnItemSlipsThroughALongList: what is removed from the first page of a list lets a new item slip before the
// second, and the list may look as it did the last time.
func TestAnItemSlipsThroughALongList(t *testing.T) {
	s, m := newShelves(map[string][]string{"a": {"goes"}}), newMemory()
	s.pageSize = 1
	backup(t, s, m)
	s.again()
	s.in["a"] = []string{"goes", "slips"}
	s.after[1] = func() { s.in["a"] = []string{"slips"} }
	backup(t, s, m)
	if got := slices.Sorted(maps.Keys(m.committed.entries)); !slices.Equal(got, []string{"a", "slips"}) {
		t.Errorf("the snapshot has %v", got)
	}
}

// TestListsThatNeverRest: the rounds are bounded, and a snapshot that they could not settle says so.
func TestListsThatNeverRest(t *testing.T) {
	s, m := newShelves(map[string][]string{"a": nil, "b": nil}), newMemory()
	if out := backup(t, s, m); out.Unsettled || len(out.Problems) > 0 {
		t.Fatalf("%+v", out)
	}
	s.again()
	for n := range 100 {
		s.after[n] = func() { s.in["a"], s.in["b"] = []string{fmt.Sprint("m", n)}, []string{fmt.Sprint("n", n)} }
	}
	out := backup(t, s, m)
	if !out.Done || !out.Unsettled || len(out.Problems) != 1 || !strings.Contains(out.Problems[0].Reason, "changed in every round") {
		t.Errorf("%+v", out)
	}
	if len(s.asked) > 20 {
		t.Errorf("asked for %v", s.asked)
	}
	s.again()
	if out := backup(t, s, m); out.Unsettled || len(out.Problems) > 0 {
		t.Errorf("at rest again: %+v", out)
	}
}

// TestARefusalIsAskedWhereItComesFrom: lists that cannot be read are not blamed before what lists them was asked; what
// was stored of them stays.
func TestARefusalIsAskedWhereItComesFrom(t *testing.T) {
	s, m := newShelves(map[string][]string{"a": {"x"}, "b": {"y"}}), newMemory()
	backup(t, s, m)
	s.again()
	delete(s.in, "a")
	out := backup(t, s, m)
	if got := slices.Sorted(maps.Keys(m.committed.entries)); len(out.Problems) > 0 || !slices.Equal(got, []string{"b", "y"}) {
		t.Errorf("a list is gone: %+v, the snapshot has %v", out, got)
	}
	s.again()
	s.refuse = map[string]tenantry.Kind{"b": tenantry.Denied}
	out = backup(t, s, m)
	if e, ok := m.committed.entries["y"]; len(out.Problems) != 1 || out.Problems[0].ID != "b" || !ok || e.Problem != "" {
		t.Errorf("a list is refused: %+v", out)
	}
}
