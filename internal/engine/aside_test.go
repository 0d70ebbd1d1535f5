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
	asked []string
}

func newShelf(n int) *shelf {
	s := &shelf{etag: "1", down: map[string]bool{}}
	for i := range n {
		s.names = append(s.names, fmt.Sprintf("f%03d", i))
	}
	return s
}

func (s *shelf) Scoped() bool { return false }

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
	if err != nil && tenantry.KindOf(err) != tenantry.Transient {
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
		if n == 2 && len(s.asked) != 2 { // a second time at once, and not with the page
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
	// The next run asks for it once and does not wait for it.
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
