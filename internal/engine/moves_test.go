package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The tests in this file are what the random one found after thousands of tries, written down.

func folder(id string) engine.Item {
	return engine.Item{ID: id, Kind: engine.KindFolder, Collection: id, ETag: "1", Raw: []byte(`{"ID":"` + id + `"}`)}
}

func mailIn(id, parent string) engine.Item {
	return engine.Item{ID: id, Parent: parent, Kind: "item", ETag: "1", Raw: []byte(`{"ID":"` + id + `"}`)}
}

func listing(next string, items ...engine.Item) func() (engine.Page, error) {
	return once(engine.Page{Items: items, Next: next, Done: strings.HasPrefix(next, "d")})
}

func removal(next string, ids ...string) func() (engine.Page, error) {
	return once(engine.Page{Removed: ids, Next: next, Done: true})
}

func failing(kind tenantry.Kind) func() (engine.Page, error) {
	return func() (engine.Page, error) { return engine.Page{}, tenantry.Errorf(kind, "not now") }
}

// then serves first once, and after it what follows.
func then(first, next func() (engine.Page, error)) func() (engine.Page, error) {
	asked := false
	return func() (engine.Page, error) {
		if asked {
			return next()
		}
		asked = true
		return first()
	}
}

// mailbox is folders a and b, read up to the delta links dR, dA and dB.
func mailbox(inA, inB []engine.Item) *script {
	return &script{scoped: true, pages: map[string]func() (engine.Page, error){
		"|": listing("dR", folder("a"), folder("b")), "a|": listing("dA", inA...), "b|": listing("dB", inB...),
	}}
}

// slices runs backups of one task until it is done; only throttling may end a slice early.
func runSlices(t *testing.T, s *script, m *memory) engine.Outcome {
	t.Helper()
	m.begin()
	for range 5 {
		out, err := engine.Backup(t.Context(), s, m, engine.Limits{}, nil, nil)
		switch {
		case err == nil && out.Done:
			return out
		case tenantry.KindOf(err) != tenantry.Throttled:
			t.Fatalf("%+v %v", out, err)
		}
		m.begin()
	}
	t.Fatal("the backup does not come to an end")
	return engine.Outcome{}
}

func wantIn(t *testing.T, m *memory, id, parent string) {
	t.Helper()
	if e, ok := m.committed.entries[id]; !ok || e.Parent != parent {
		t.Errorf("%s is stored as %+v (%t), should lie in %s", id, e, ok, parent)
	}
}

// A folder in the middle of an enumeration may go on to show the past.
func TestAnInterruptedEnumerationGoesOnFirst(t *testing.T) {
	m, s := newMemory(), mailbox(nil, nil)
	s.pages["b|"] = listing("s1", mailIn("x", "b"))
	s.pages["b|s1"] = then(failing(tenantry.Throttled), listing("dB", mailIn("m", "b"))) // m has moved since
	s.pages["a|dA"] = listing("dA2", mailIn("m", "a"))
	s.pages["b|dB"] = removal("dB2", "m")
	runSlices(t, s, m)
	wantIn(t, m, "m", "a")
}

// What is left of an enumeration is given up when its folder goes missing in between.
func TestAMissingFolderStartsOver(t *testing.T) {
	m, s := newMemory(), mailbox(nil, nil)
	s.pages["|"] = listing("dR", folder("b"), folder("c"))
	s.pages["b|"] = then(listing("s1", mailIn("x", "b")), listing("dB", mailIn("x", "b")))
	s.pages["b|s1"] = then(failing(tenantry.NotFound), then(listing("s2", mailIn("m", "b")), failing(tenantry.Internal)))
	s.pages["b|s2"] = failing(tenantry.Resync)
	s.pages["c|"] = listing("dC", mailIn("m", "c"))
	runSlices(t, s, m)
	wantIn(t, m, "m", "c")
	wantIn(t, m, "x", "b")
}

// A folder that is gone without a word is dropped in the same run, with all that lies in it.
func TestAFolderThatIsGoneWithoutAWord(t *testing.T) {
	m, s := newMemory(), mailbox([]engine.Item{mailIn("m", "a")}, []engine.Item{mailIn("n", "b")})
	runSlices(t, s, m)
	s.pages["|"] = listing("dR2", folder("b"))
	s.pages["a|dA"] = failing(tenantry.NotFound)
	out := runSlices(t, s, m)
	if _, ok := m.committed.entries["m"]; ok || len(m.committed.entries) != 2 || len(out.Problems) > 0 {
		t.Errorf("%+v, %+v", m.committed.entries, out)
	}
	wantIn(t, m, "n", "b")
}

// A folder that is listed and cannot be found keeps what it had, and is a problem.
func TestAFolderThatIsListedAndNotFound(t *testing.T) {
	m, s := newMemory(), mailbox([]engine.Item{mailIn("m", "a")}, nil)
	runSlices(t, s, m)
	s.pages["a|dA"] = failing(tenantry.NotFound)
	out := runSlices(t, s, m)
	if len(out.Problems) != 1 || out.Problems[0].ID != "a" {
		t.Errorf("%+v", out)
	}
	wantIn(t, m, "m", "a")
}

// A removal that does not count tells all the same that the item was on its way.
func TestAMoveIntoAFolderThatWasEnumeratedWithoutIt(t *testing.T) {
	m, s := newMemory(), mailbox([]engine.Item{mailIn("m", "a")}, nil)
	runSlices(t, s, m)
	// m goes to b; a is enumerated anew; then m comes back, behind the reader.
	s.pages["a|dA"] = failing(tenantry.Resync)
	s.pages["a|"] = listing("dA2")
	s.pages["b|dB"] = then(failing(tenantry.Throttled), removal("dB2", "m"))
	s.pages["a|dA2"] = then(listing("dA2"), listing("dA3", mailIn("m", "a")))
	runSlices(t, s, m)
	wantIn(t, m, "m", "a")
}

// A page may list an item that is already on its way out: its place is what the item says.
func TestAnItemListedWhileItMoves(t *testing.T) {
	m, s := newMemory(), mailbox([]engine.Item{mailIn("x", "a")}, nil)
	runSlices(t, s, m)
	s.pages["a|dA"] = failing(tenantry.Resync)
	s.pages["a|"] = listing("dA2", mailIn("x", "a"))
	s.pages["b|dB"] = listing("dB2", mailIn("m", "a"))
	s.pages["b|dB2"] = removal("dB3", "m")
	runSlices(t, s, m)
	wantIn(t, m, "m", "a")
}

// What was not found between list and read is looked for once more.
func TestAnItemThatVanishesBetweenListAndRead(t *testing.T) {
	m := newMemory()
	s := &script{pages: map[string]func() (engine.Page, error){
		"|":   listing("d1", file("x", "1", "", tenantry.Errorf(tenantry.NotFound, "itemNotFound"))),
		"|d1": removal("d2", "x"),
	}}
	out := backup(t, s, m)
	if len(m.committed.entries) > 0 || !slices.Contains(s.asked, "|d1") || !out.Done {
		t.Errorf("%+v, asked %v", m.committed.entries, s.asked)
	}
}

// An item with a problem is read again when it is listed again, even in the same version.
func TestABadPartIsTriedAgain(t *testing.T) {
	m := newMemory()
	s := &script{pages: map[string]func() (engine.Page, error){
		"|": listing("d1", file("x", "1", "", tenantry.Errorf(tenantry.Poison, "cannot be read"))),
	}}
	backup(t, s, m)
	s.pages["|d1"] = listing("d2", file("x", "1", "good", nil))
	backup(t, s, m)
	if x := m.committed.entries["x"]; x.Problem != "" || len(x.Parts) != 2 || string(x.Parts[0].Digest) != "good" {
		t.Errorf("%+v", x)
	}
}

// The first page of an enumeration became durable in part; what vanished before it was read again is
// told by nobody.
func TestAFirstPageThatWasStoredInPart(t *testing.T) {
	m := newMemory()
	s := &script{pages: map[string]func() (engine.Page, error){
		"|": then(
			listing("d1", mailIn("x", ""), file("y", "1", "", tenantry.Errorf(tenantry.Throttled, "not now"))),
			listing("d1", file("y", "1", "good", nil))),
	}}
	runSlices(t, s, m)
	if _, ok := m.committed.entries["x"]; ok || len(m.committed.entries) != 1 {
		t.Errorf("%+v", m.committed.entries)
	}
}

// A folder that vanishes before it is listed takes along what was listed of it.
func TestAFolderThatVanishesBeforeItIsListed(t *testing.T) {
	m := newMemory()
	s := &script{pages: map[string]func() (engine.Page, error){"|": listing("n1", mailIn("x", "f"), mailIn("y", "")), "|n1": removal("d1", "f")}}
	runSlices(t, s, m)
	wantIn(t, m, "y", "")
	if len(m.committed.entries) != 1 {
		t.Errorf("%+v", m.committed.entries)
	}
}

// rereading is a script whose bad parts heal between runs.
type rereading struct {
	*script
	parts engine.Item
	asked int
}

func (r *rereading) Reread(repository.Entry) func(context.Context) ([]engine.ItemPart, error) {
	r.asked++
	return r.parts.Parts
}

// What could not be read is tried again in the next run, though its source tells of no change.
func TestABadPartIsTriedAgainWithoutAChange(t *testing.T) {
	bad := tenantry.Errorf(tenantry.Poison, "cannot be read")
	m := newMemory()
	s := &rereading{script: &script{pages: map[string]func() (engine.Page, error){"|": listing("d1", file("x", "1", "", bad))}}}
	if out := backup(t, s, m); out.Counts.Skipped != 1 || s.asked != 0 {
		t.Errorf("%+v, reread %d times", out, s.asked)
	}
	s.parts = file("x", "1", "", bad)
	if out := backup(t, s, m); out.Counts.Skipped != 1 || s.asked != 1 {
		t.Errorf("%+v, reread %d times", out, s.asked)
	}
	s.parts = file("x", "1", "good", nil)
	backup(t, s, m)
	if x := m.committed.entries["x"]; x.Problem != "" || len(x.Parts) != 2 || string(x.Parts[0].Digest) != "good" || !strings.HasPrefix(x.ETag, "1") {
		t.Errorf("%+v", x)
	}
	if backup(t, s, m); s.asked != 2 || m.puts != 0 {
		t.Errorf("reread %d times, %d entries changed", s.asked, m.puts)
	}
}

// A list that shrinks between its pages lets an item slip through, which nobody has seen before: such a
// list counts when it shows the same twice.
func TestListShrinksUnderWay(t *testing.T) {
	listed := func(next string, done bool, items ...engine.Item) func() (engine.Page, error) {
		return once(engine.Page{Items: items, Next: next, Done: done, Listed: true})
	}
	s := &script{scoped: true, pages: map[string]func() (engine.Page, error){
		"|": listing("dR", folder("a")), "|dR": removal("dR"),
		"a|":   listed("l1", false, mailIn("gone", "a")), // and "slipped" behind it, until this one goes
		"a|l1": listed("v0", true),
		"a|v0": listed("v0", true, mailIn("slipped", "a")),
	}}
	m := newMemory()
	if out := runSlices(t, s, m); !out.Done {
		t.Fatalf("%+v", out)
	}
	if _, ok := m.committed.entries["slipped"]; !ok {
		t.Errorf("the snapshot has %v", m.committed.entries)
	}
	if _, ok := m.committed.entries["gone"]; ok {
		t.Error("what went under way is still there")
	}
}
