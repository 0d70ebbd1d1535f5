package engine_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// shelf is a drive with a page of files, of which some answer Transient.
type shelf struct {
	names []string
	etag  string
	down  map[string]bool
	until time.Time
	cold  error // what is down answers instead
	asked []string
}

func newShelf(n int) *shelf {
	s := &shelf{etag: "1", down: map[string]bool{}}
	for i := range n {
		s.names = append(s.names, fmt.Sprintf("f%03d", i))
	}
	return s
}

func (s *shelf) Tree(string) (string, bool) { return engine.RootCollection, true }

func (s *shelf) Page(_ context.Context, _, link string) (engine.Page, error) {
	p := engine.Page{Next: s.etag, Done: true}
	if link == s.etag {
		return p, nil
	}
	for _, name := range s.names {
		item := engine.Item{ID: name, Kind: "item", Name: name, ETag: s.etag, Raw: fmt.Appendf(nil, `{"ID":%q}`, name)}
		item.Parts = s.Reread(repository.Entry{ID: name})
		p.Items = append(p.Items, item)
	}
	return p, nil
}

func (s *shelf) Reread(e repository.Entry) func(context.Context) ([]engine.ItemPart, error) {
	part := engine.ItemPart{Name: "content", Open: func(context.Context) (io.ReadCloser, error) {
		s.asked = append(s.asked, e.ID)
		if s.down[e.ID] && s.cold != nil {
			return nil, s.cold
		}
		if s.down[e.ID] {
			return nil, &tenantry.Error{Kind: tenantry.Transient, Op: "503", Until: s.until}
		}
		return io.NopCloser(strings.NewReader(s.etag + " of " + e.ID)), nil
	}}
	return func(context.Context) ([]engine.ItemPart, error) { return []engine.ItemPart{part}, nil }
}

// slice runs one slice as a new owner of the series, who knows what was committed.
func (s *shelf) slice(t *testing.T, m *memory) (engine.Outcome, error) {
	t.Helper()
	m.begin()
	s.asked = nil
	out, err := engine.Backup(t.Context(), s, m, engine.Limits{Concurrency: 1}, nil, nil)
	if kind := tenantry.KindOf(err); err != nil && kind != tenantry.Transient && kind != tenantry.Throttled {
		t.Fatal(err)
	}
	return out, err
}

// An item whose content is not served holds up neither the others nor, after three slices, the run.
func TestContentThatIsNotServed(t *testing.T) {
	m, s := newMemory(), newShelf(4)
	if out, err := s.slice(t, m); err != nil || !out.Done {
		t.Fatalf("%+v %v", out, err)
	}
	s.etag, s.down["f001"], s.until = "2", true, time.Now().Add(time.Hour)
	for n := 1; n <= 2; n++ {
		out, err := s.slice(t, m)
		if err == nil || out.Done || out.Counts.Skipped > 0 || !tenantry.UntilOf(err).Equal(s.until) {
			t.Fatalf("slice %d: %+v %v", n, out, err)
		}
		// With the page of four in the first slice, and only at the end of the second; never twice before
		// the time that the answer names.
		if want := map[int]int{1: 4, 2: 1}[n]; len(s.asked) != want {
			t.Errorf("slice %d asked for %v", n, s.asked)
		}
		if e := m.committed.entries["f003"]; string(e.Parts[0].Digest) != "2 of f003" {
			t.Errorf("slice %d: the others wait: %+v", n, e)
		}
	}
	out, err := s.slice(t, m)
	e := m.committed.entries["f001"]
	if err != nil || !out.Done || out.Counts.Skipped != 1 || out.Problems[0].ID != "f001" || !strings.Contains(e.Problem, "503") ||
		string(e.Parts[0].Digest) != "1 of f001" || !strings.HasPrefix(e.ETag, "2") {
		t.Fatalf("%+v %v, %+v", out, err, e)
	}
	// The next run asks for it, a second time at once if it may, and does not wait for it.
	s.until = time.Time{}
	out, err = s.slice(t, m)
	if err != nil || !out.Done || out.Counts.Skipped != 1 || len(s.asked) != 2 {
		t.Fatalf("%+v %v, asked for %v", out, err, s.asked)
	}
	s.down = nil
	out, err = s.slice(t, m)
	e = m.committed.entries["f001"]
	if err != nil || !out.Done || out.Counts.Skipped > 0 || e.Problem != "" || string(e.Parts[0].Digest) != "2 of f001" {
		t.Fatalf("%+v %v, %+v", out, err, e)
	}
	if out, err = s.slice(t, m); err != nil || len(s.asked) > 0 || m.puts > 0 {
		t.Errorf("%+v %v, asked for %v", out, err, s.asked)
	}
}

// Two items that are not served and listed over and over must not hold up the seal in turns.
func TestWhatWasGivenUpIsListedAgain(t *testing.T) {
	m, s := newMemory(), newShelf(2)
	s.down["f000"] = true
	for n := 1; ; n++ {
		if n == 3 {
			s.down["f001"] = true
		}
		s.etag = fmt.Sprint(n)
		if out, err := s.slice(t, m); err == nil && out.Done {
			return
		}
		if n == 6 {
			t.Fatal("the run does not come to its end")
		}
	}
}

// What passes within the run is no problem of anything.
func TestContentThatIsServedLater(t *testing.T) {
	m, s := newMemory(), newShelf(4)
	s.down["f001"] = true
	if out, err := s.slice(t, m); err == nil {
		t.Fatalf("%+v", out)
	}
	s.down = nil
	out, err := s.slice(t, m)
	if e := m.committed.entries["f001"]; err != nil || !out.Done || len(out.Problems) > 0 || e.Problem != "" || len(s.asked) != 1 {
		t.Fatalf("%+v %v, %+v, asked for %v", out, err, e, s.asked)
	}
}

// When nothing is served, the service is in trouble: the slice ends soon, and no item is to blame.
func TestAnOutageEndsTheSlice(t *testing.T) {
	m, s := newMemory(), newShelf(40)
	for _, name := range s.names {
		s.down[name] = true
	}
	for n := range 5 {
		out, err := s.slice(t, m)
		if err == nil || out.Done || out.Counts.Skipped > 0 || len(s.asked) > 2*6 {
			t.Fatalf("slice %d: %+v %v, asked for %v", n, out, err, s.asked)
		}
	}
	s.down = nil
	out, err := s.slice(t, m)
	if err != nil || !out.Done || len(out.Problems) > 0 || len(m.committed.entries) != 40 {
		t.Fatalf("%+v %v", out, err)
	}
	for id, e := range m.committed.entries {
		if e.Problem != "" || len(e.Parts) != 1 {
			t.Errorf("%s: %+v", id, e)
		}
	}
}

// However many items fail between good ones, only so many are set aside: then the slice ends as it
// does in an outage, and nothing is given up.
func TestOnlySoManyAreSetAside(t *testing.T) {
	m, s := newMemory(), newShelf(240)
	for i, name := range s.names {
		s.down[name] = i%2 == 0
	}
	for n := range 10 {
		out, err := s.slice(t, m)
		if err == nil || out.Done || out.Counts.Skipped > 0 {
			t.Fatalf("slice %d: %+v %v", n, out, err)
		}
	}
	problems := 0
	for _, e := range m.committed.entries {
		if e.Problem != "" {
			problems++
		}
	}
	if problems != 100 {
		t.Errorf("%d items are set aside", problems)
	}
	s.down = nil
	if out, err := s.slice(t, m); err != nil || !out.Done || len(out.Problems) > 0 || len(m.committed.entries) != 240 {
		t.Fatalf("%+v %v", out, err)
	}
}

// All that is set aside is asked for in every slice, however many answer the same.
func TestManyItemsAreNotServed(t *testing.T) {
	m, s := newMemory(), newShelf(30)
	for i, name := range s.names {
		s.down[name] = i%2 == 0
	}
	for n := 1; n <= 2; n++ {
		if out, err := s.slice(t, m); err == nil {
			t.Fatalf("slice %d: %+v", n, out)
		}
	}
	if out, err := s.slice(t, m); err != nil || !out.Done || len(out.Problems) != 15 || len(s.asked) != 2*15 {
		t.Fatalf("%+v %v, asked for %v", out, err, s.asked)
	}
}

// manyParts is a page with one item of many parts, each of which answers as told.
func manyParts(n int, answer func() error) *rereading {
	item := file("x", "1", "", nil)
	item.Parts = func(context.Context) ([]engine.ItemPart, error) {
		var list []engine.ItemPart
		for i := range n {
			list = append(list, engine.ItemPart{Name: fmt.Sprint(i), Open: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader("good")), answer()
			}})
		}
		return list, nil
	}
	pages := map[string]func() (engine.Page, error){"|": once(engine.Page{Items: []engine.Item{item}, Next: "d1", Done: true})}
	return &rereading{script: &script{pages: pages}, parts: item}
}

// Of an item with many parts, a few tell that it is in trouble; one does not keep the others out.
func TestPartsThatAreNotServed(t *testing.T) {
	for name, c := range map[string]struct{ bad, asked, parts int }{"one": {1, 21, 19}, "all": {20, 10, 0}} {
		m, asked := newMemory(), 0
		src := manyParts(20, func() error {
			if asked++; asked <= 2*c.bad {
				return tenantry.Errorf(tenantry.Transient, "503")
			}
			return nil
		})
		src.parts.Parts = func(context.Context) ([]engine.ItemPart, error) { // at the end of the slice
			return nil, tenantry.Errorf(tenantry.Throttled, "not now")
		}
		m.begin()
		_, err := engine.Backup(t.Context(), src, m, engine.Limits{}, nil, nil)
		if e := m.committed.entries["x"]; tenantry.KindOf(err) != tenantry.Throttled || asked != c.asked || len(e.Parts) != c.parts {
			t.Errorf("%s: asked %d times, %v, %+v", name, asked, err, e)
		}
	}
}

// An item that was cut because another one ended the slice is not in trouble.
func TestAnItemThatWasCutIsNotSetAside(t *testing.T) {
	m, src := newMemory(), manyParts(1, nil)
	cut, throttled := file("cut", "1", "", nil), file("throttled", "1", "", nil)
	open := make(chan struct{})
	cut.Parts = func(ctx context.Context) ([]engine.ItemPart, error) {
		close(open)
		<-ctx.Done()
		return nil, tenantry.Errorf(tenantry.Transient, "cut")
	}
	throttled.Parts = func(context.Context) ([]engine.ItemPart, error) {
		<-open
		return nil, tenantry.Errorf(tenantry.Throttled, "not now")
	}
	src.pages["|"] = once(engine.Page{Items: []engine.Item{cut, throttled}, Next: "d1", Done: true})
	m.begin()
	_, err := engine.Backup(t.Context(), src, m, engine.Limits{}, nil, nil)
	if tenantry.KindOf(err) != tenantry.Throttled || len(m.committed.entries) > 0 {
		t.Errorf("%v: %+v", err, m.committed.entries)
	}
}

// An item that Microsoft throttles for good parks three slices, and one of every further run; the others
// are read meanwhile.
func TestContentThatIsThrottledForGood(t *testing.T) {
	m, s := newMemory(), newShelf(4)
	s.down["f000"], s.cold = true, tenantry.E(tenantry.Throttled, "slow down", answered{})
	for n := 1; n <= 3; n++ {
		out, err := s.slice(t, m)
		if tenantry.KindOf(err) != tenantry.Throttled || (out.Counts.Skipped > 0) != (n == 3) || n == 2 && len(s.asked) != 4 {
			t.Fatalf("slice %d: %+v %v, asked for %v", n, out, err, s.asked)
		}
	}
	if out, err := s.slice(t, m); err != nil || !out.Done || len(s.asked) > 0 || !strings.Contains(m.committed.entries["f000"].Problem, "slow down") {
		t.Fatalf("%+v %v, asked for %v", out, err, s.asked)
	}
	s.etag = "2" // listed anew, it is asked for in one slice of this run, too
	for n := 1; n <= 2; n++ {
		if out, err := s.slice(t, m); (err == nil && out.Done) != (n == 2) || len(s.asked) != map[int]int{1: 1, 2: 3}[n] {
			t.Fatalf("slice %d: %+v %v, asked for %v", n, out, err, s.asked)
		}
	}
	s.down = nil
	out, err := s.slice(t, m)
	if e := m.committed.entries["f000"]; err != nil || !out.Done || e.Problem != "" || string(e.Parts[0].Digest) != "2 of f000" {
		t.Fatalf("%+v %v, %+v", out, err, e)
	}
}

// A tenant that is throttled, by Microsoft or by our own account book, is no reason to give anything up.
func TestAThrottledTenantIsWaitedFor(t *testing.T) {
	for name, cold := range map[string]error{
		"Microsoft": tenantry.E(tenantry.Throttled, "slow down", answered{}), "account book": tenantry.Errorf(tenantry.Throttled, "cooldown"),
	} {
		m, s := newMemory(), newShelf(8)
		for _, name := range s.names {
			s.down[name] = true
		}
		s.cold = cold
		for n := range 40 {
			if out, err := s.slice(t, m); err == nil || out.Done || out.Counts.Skipped > 0 || len(s.asked) != 1 {
				t.Fatalf("%s, slice %d: %+v %v, asked for %v", name, n, out, err, s.asked)
			}
		}
		// It recovers, and one item is hit once more: what was before is not held against it.
		s.down = map[string]bool{"f007": true}
		if out, err := s.slice(t, m); err == nil || out.Counts.Skipped > 0 {
			t.Fatalf("%s: %+v %v", name, out, err)
		}
		s.down = nil
		out, err := s.slice(t, m)
		if err != nil || !out.Done || out.Counts.Skipped > 0 || len(m.committed.entries) != 8 {
			t.Fatalf("%s: %+v %v", name, out, err)
		}
	}
}

// A source that cannot ask again has its slice ended by every error that may pass.
func TestNobodyCanAskAgain(t *testing.T) {
	m, s := newMemory(), newShelf(4)
	s.down["f001"] = true
	for range 5 {
		m.begin()
		out, err := engine.Backup(t.Context(), struct{ engine.Source }{s}, m, engine.Limits{Concurrency: 1}, nil, nil)
		if tenantry.KindOf(err) != tenantry.Transient || out.Done {
			t.Fatalf("%+v %v", out, err)
		}
	}
}
