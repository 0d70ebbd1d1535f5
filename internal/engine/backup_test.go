package engine_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestMain(m *testing.M) {
	// A thousand cases take a second: the default of a hundred finds too little. A wish on the command
	// line comes later and wins.
	_ = flag.Set("rapid.checks", "1000")
	servertest.Main(m)
}

// script is a source whose pages are written down.
type script struct {
	scoped bool
	pages  map[string]func() (engine.Page, error) // by collection and link
	asked  []string
}

func (s *script) Tree(string) (string, bool) { return engine.RootCollection, !s.scoped }
func (s *script) Page(_ context.Context, collection, link string) (engine.Page, error) {
	key := collection + "|" + link
	s.asked = append(s.asked, key)
	if p := s.pages[key]; p != nil {
		page, err := p()
		page.Items = slices.Clone(page.Items) // they are the reader's
		return page, err
	}
	return engine.Page{Next: link, Done: true}, nil
}

func once(p engine.Page) func() (engine.Page, error) {
	return func() (engine.Page, error) { return p, nil }
}

// file is an item with one part that reads as content, or fails.
func file(id, etag, content string, fail error) engine.Item {
	return engine.Item{
		ID: id, Kind: "item", ETag: etag, Raw: fmt.Appendf(nil, `{"ID":%q,"etag":%q}`, id, etag),
		Parts: func(context.Context) ([]engine.ItemPart, error) {
			return []engine.ItemPart{
				{Name: "a", Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), fail }},
				{Name: "b", Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("b")), nil }},
			}, nil
		},
	}
}

func backup(t *testing.T, src engine.Source, m *memory) engine.Outcome {
	t.Helper()
	m.begin()
	out, err := engine.Backup(t.Context(), src, m, engine.Limits{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// keeping remembers the page that it gave out last.
type keeping struct {
	*script
	items []engine.Item
}

func (k *keeping) Page(ctx context.Context, collection, link string) (engine.Page, error) {
	page, err := k.script.Page(ctx, collection, link)
	k.items = page.Items
	return page, err
}

// While the end of a page is applied, nothing holds what its beginning brought: pages are megabytes, and many are read side
// by side.
func TestWhatWasAppliedIsLetGo(t *testing.T) {
	k := &keeping{}
	var items []engine.Item
	for i := range 100 {
		items = append(items, file(fmt.Sprintf("x%02d", i), "1", "good", nil))
	}
	looked := false
	last := &items[len(items)-1]
	parts := last.Parts
	last.Parts = func(ctx context.Context) ([]engine.ItemPart, error) {
		if looked = true; k.items[0].Raw != nil || k.items[0].Parts != nil || k.items[len(items)-1].Raw == nil {
			t.Error("the first item of the page is still held, or the last is not")
		}
		return parts(ctx)
	}
	k.script = &script{pages: map[string]func() (engine.Page, error){"|": once(engine.Page{Items: items, Next: "d1", Done: true})}}
	m := newMemory()
	if out := backup(t, k, m); !out.Done || len(m.committed.entries) < len(items) || !looked {
		t.Errorf("%+v", out)
	}
}

func TestOneBadPartKeepsTheItemAndItsLastGoodVersion(t *testing.T) {
	for _, kind := range []tenantry.Kind{tenantry.Poison, tenantry.Denied, tenantry.NotFound, tenantry.Absent, tenantry.Internal, tenantry.Conflict} {
		m := newMemory()
		bad := tenantry.Errorf(kind, "cannot be read")
		s := &script{pages: map[string]func() (engine.Page, error){
			"|": once(engine.Page{Items: []engine.Item{file("x", "1", "good", nil), file("y", "1", "", bad)}, Next: "d1", Done: true}),
		}}
		out := backup(t, s, m)
		y := m.committed.entries["y"]
		if !out.Done || out.Counts.Skipped != 1 || !strings.Contains(y.Problem, "cannot be read") || len(y.Parts) != 1 || y.Parts[0].Name != "b" {
			t.Errorf("%s: %+v, %+v", kind, out, y)
		}
		s.pages["|d1"] = once(engine.Page{Items: []engine.Item{file("x", "2", "", bad)}, Next: "d2", Done: true})
		backup(t, s, m)
		x := m.committed.entries["x"]
		if x.Problem == "" || x.ProblemAt.IsZero() || len(x.Parts) != 2 || string(x.Parts[0].Digest) != "good" || !strings.HasPrefix(x.ETag, "2") {
			t.Errorf("%s: %+v", kind, x)
		}
		s.pages["|d2"] = once(engine.Page{Items: []engine.Item{file("x", "3", "better", nil)}, Next: "d3", Done: true})
		backup(t, s, m)
		x = m.committed.entries["x"]
		if x.Problem != "" || !x.ProblemAt.IsZero() || string(x.Parts[0].Digest) != "better" {
			t.Errorf("%s: %+v", kind, x)
		}
	}
}

func TestAnItemThatCannotBeSavedKeepsItsLastGoodVersion(t *testing.T) {
	m := newMemory()
	infected := engine.Item{ID: "x", Kind: "item", ETag: "2", Raw: []byte(`{"ID":"x","etag":"2"}`), Problem: "malware"}
	s := &script{pages: map[string]func() (engine.Page, error){
		"|":   once(engine.Page{Items: []engine.Item{file("x", "1", "good", nil)}, Next: "d1", Done: true}),
		"|d1": once(engine.Page{Items: []engine.Item{infected}, Next: "d2", Done: true}),
	}}
	backup(t, s, m)
	out := backup(t, s, m)
	x := m.committed.entries["x"]
	if len(out.Problems) != 1 || x.Problem != "malware" || x.ETag != "1" || string(x.Parts[0].Digest) != "good" || !strings.Contains(m.committed.payloads["x"], `"1"`) {
		t.Errorf("%+v %+v %s", out, x, m.committed.payloads["x"])
	}
}

// TestErrorsEndTheSliceBehindACheckpoint shows that what was read before an error is not read again.
func TestErrorsEndTheSliceBehindACheckpoint(t *testing.T) {
	for _, kind := range []tenantry.Kind{tenantry.Throttled, tenantry.Transient, tenantry.Shared, tenantry.Reconnect, tenantry.Denied, tenantry.Absent} {
		m := newMemory()
		fails := true
		s := &script{pages: map[string]func() (engine.Page, error){
			"|": once(engine.Page{Items: []engine.Item{file("x", "1", "good", nil)}, Next: "n1"}),
			"|n1": func() (engine.Page, error) {
				if fails {
					return engine.Page{}, tenantry.Errorf(kind, "not now")
				}
				return engine.Page{Next: "d1", Done: true}, nil
			},
		}}
		m.begin()
		out, err := engine.Backup(t.Context(), s, m, engine.Limits{}, nil, nil)
		if tenantry.KindOf(err) != kind || out.Done || out.Counts.Items != 1 || m.commits != 1 {
			t.Errorf("%s: %+v %v, %d commits", kind, out, err, m.commits)
		}
		fails, s.asked = false, nil
		if out := backup(t, s, m); !out.Done || s.asked[0] != "|n1" {
			t.Errorf("%s: asked %v", kind, s.asked)
		}
	}
}

// TestAFailingSeriesIsNotCheckpointed: what a fenced writer holds is void.
func TestAFailingSeriesIsNotCheckpointed(t *testing.T) {
	m := newMemory()
	s := &script{pages: map[string]func() (engine.Page, error){"|": once(engine.Page{Items: []engine.Item{file("x", "1", "good", nil)}, Next: "n1"})}}
	m.begin()
	_, err := engine.Backup(t.Context(), s, fenced{m}, engine.Limits{}, nil, nil)
	if tenantry.KindOf(err) != tenantry.Fenced || m.commits != 0 {
		t.Errorf("%v, %d commits", err, m.commits)
	}
}

type fenced struct{ *memory }

func (fenced) Put(context.Context, repository.Entry) error {
	return tenantry.Errorf(tenantry.Fenced, "another owner took the series")
}

func TestSealedByThisTaskIsOnlySettled(t *testing.T) {
	m := newMemory()
	s := &script{}
	backup(t, s, m)
	s.asked = nil
	out, err := engine.Backup(t.Context(), s, m, engine.Limits{}, nil, nil)
	if err != nil || !out.Done || len(s.asked) > 0 || out.Snapshot.Time.IsZero() {
		t.Errorf("%+v %v, asked %v", out, err, s.asked)
	}
}

// TestLinksThatAlwaysExpire must not loop: in the field, a client asked 4,801 times in 20 s.
func TestLinksThatAlwaysExpire(t *testing.T) {
	m := newMemory()
	s := &script{pages: map[string]func() (engine.Page, error){
		"|": once(engine.Page{Next: "n1"}),
		"|n1": func() (engine.Page, error) {
			return engine.Page{}, tenantry.Errorf(tenantry.Resync, "syncStateNotFound")
		},
	}}
	m.begin()
	_, err := engine.Backup(t.Context(), s, m, engine.Limits{}, nil, nil)
	if tenantry.KindOf(err) != tenantry.Transient || len(s.asked) > 10 {
		t.Errorf("%v after %d requests", err, len(s.asked))
	}
}

func TestAPageThatLeadsToItself(t *testing.T) {
	m := newMemory()
	s := &script{pages: map[string]func() (engine.Page, error){"|": once(engine.Page{Next: "n1"}), "|n1": once(engine.Page{Next: "n1"})}}
	m.begin()
	if _, err := engine.Backup(t.Context(), s, m, engine.Limits{}, nil, nil); tenantry.KindOf(err) != tenantry.Internal {
		t.Error(err)
	}
}

// TestContentIsReadOnce holds what a rename, a flag and a move cost: no content, and for mail one list.
func TestContentIsReadOnce(t *testing.T) {
	w := newWorld(3, true)
	w.pageSize = 10
	for _, n := range []node{{id: "a", folder: true}, {id: "b", folder: true}, {id: "m", parent: "b"}} {
		w.put(n)
	}
	m := newMemory()
	m.begin()
	backup(t, w, m)
	for name, change := range map[string]func(*node){
		"flag":      func(n *node) { n.version++ },
		"move":      func(n *node) { n.parent = map[string]string{"a": "b", "b": "a"}[n.parent] },
		"move back": func(n *node) { n.parent, n.version = map[string]string{"a": "b", "b": "a"}[n.parent], n.version+1 },
	} {
		n := w.nodes["m"]
		change(&n)
		w.put(n)
		w.downloads = 0
		backup(t, w, m)
		if e := m.committed.entries["m"]; w.downloads > 0 || e.Parent != n.parent || !strings.HasPrefix(e.ETag, n.etag()) {
			t.Errorf("%s: %d downloads, %+v", name, w.downloads, e)
		}
	}
}

// TestCheckpoints shows the three reasons to commit before the end: bytes, time, and a drain.
func TestCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pages := map[string]func() (engine.Page, error){}
		for i := range 10 {
			link, next := fmt.Sprint("|n", i), fmt.Sprint("n", i+1)
			if i == 0 {
				link = "|"
			}
			pages[link] = func() (engine.Page, error) {
				time.Sleep(time.Minute) // of the bubble's clock
				return engine.Page{Items: []engine.Item{file(fmt.Sprint("x", i), "1", strings.Repeat("z", 100), nil)}, Next: next, Done: i == 9}, nil
			}
		}
		for name, c := range map[string]struct {
			limits engine.Limits
			want   int // commits, the seal among them
		}{
			"by bytes":   {engine.Limits{CheckpointBytes: 250}, 4}, // a page has some 130
			"by time":    {engine.Limits{CheckpointTime: 3 * time.Minute}, 4},
			"by default": {engine.Limits{}, 3}, // 5 minutes
		} {
			m := newMemory()
			m.begin()
			out, err := engine.Backup(t.Context(), &script{pages: pages}, m, c.limits, nil, nil)
			if err != nil || !out.Done || m.commits != c.want {
				t.Errorf("%s: %v, %d commits, want %d", name, err, m.commits, c.want)
			}
		}
		m := newMemory()
		m.begin()
		slices := 1
		for {
			out, err := engine.Backup(t.Context(), &script{pages: pages}, m, engine.Limits{SliceTime: 4 * time.Minute}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if out.Done {
				break
			}
			slices++
			m.begin()
		}
		if slices != 3 || len(m.committed.entries) != 10 {
			t.Errorf("%d slices, %d entries", slices, len(m.committed.entries))
		}
	})
}

// TestACutPageIsCountedOnce ends slices in the middle of a page, by a drain and by a throttle. The
// page is read again, and what of it was stored counts once.
func TestACutPageIsCountedOnce(t *testing.T) {
	const n = 60
	for name, end := range map[string]func(drain func()) error{
		"drain":    func(drain func()) error { drain(); return nil },
		"throttle": func(func()) error { return tenantry.Errorf(tenantry.Throttled, "wait") },
	} {
		t.Run(name, func(t *testing.T) {
			m, drain, ended, read := newMemory(), make(chan struct{}), false, map[string]int{}
			items := make([]engine.Item, n)
			for i := range items {
				id := fmt.Sprint("i", i)
				items[i] = file(id, "1", id, nil)
				items[i].Parts = func(context.Context) ([]engine.ItemPart, error) {
					if i == n/2 && !ended {
						ended = true
						if err := end(func() { close(drain) }); err != nil {
							return nil, err
						}
					}
					read[id]++
					return nil, nil
				}
			}
			s := &script{pages: map[string]func() (engine.Page, error){"|": once(engine.Page{Items: items, Next: "d1", Done: true})}}
			m.begin()
			first, err := engine.Backup(t.Context(), s, m, engine.Limits{Concurrency: 1}, drain, nil)
			if first.Done || (err != nil) != (name == "throttle") || first.Counts.Items == 0 || first.Counts.Items == n {
				t.Fatalf("the page was not cut: %+v, %v", first, err)
			}
			m.begin()
			second, err := engine.Backup(t.Context(), s, m, engine.Limits{Concurrency: 1}, nil, nil)
			if err != nil || !second.Done {
				t.Fatalf("%+v, %v", second, err)
			}
			if sum := first.Counts.Items + second.Counts.Items; sum != n {
				t.Errorf("%d items and then %d: %d in all, expected %d", first.Counts.Items, second.Counts.Items, sum, n)
			}
			for id, times := range read {
				if times != 1 {
					t.Errorf("%s was read %d times", id, times)
				}
			}
		})
	}
}

// TestASliceEndsAfterItsPages reads a collection of seven pages in slices of two, each of which commits
// where it was, and begins no page twice.
func TestASliceEndsAfterItsPages(t *testing.T) {
	const pages = 7
	m, s := newMemory(), &script{pages: map[string]func() (engine.Page, error){}}
	link := func(i int) string {
		if i == 0 {
			return ""
		}
		return fmt.Sprint("n", i)
	}
	for i := range pages {
		s.pages["|"+link(i)] = once(engine.Page{Items: []engine.Item{file(fmt.Sprint("i", i), "1", "x", nil)}, Next: link(i + 1), Done: i == pages-1})
	}
	var total int64
	for slice := 1; ; slice++ {
		m.begin()
		out, err := engine.Backup(t.Context(), s, m, engine.Limits{SlicePages: 2}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		total += out.Counts.Items
		if out.Done {
			if slice != pages/2+1 {
				t.Errorf("sealed in slice %d", slice)
			}
			break
		}
		if out.Counts.Items != 2 || len(m.committed.entries) != 2*slice {
			t.Fatalf("slice %d: %+v, %d entries are committed", slice, out, len(m.committed.entries))
		}
	}
	if total != pages || len(m.committed.entries) != pages {
		t.Errorf("%d items, %d entries", total, len(m.committed.entries))
	}
	asked := map[string]int{}
	for _, key := range s.asked {
		if asked[key]++; asked[key] > 1 && key != "|"+link(pages) {
			t.Errorf("%s was asked for %d times", key, asked[key])
		}
	}
}
