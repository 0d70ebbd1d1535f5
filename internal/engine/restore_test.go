package engine_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// place is a target in memory: paths to contents.
type place struct {
	mu      sync.Mutex
	folders map[string]string // ID to path
	items   map[string]string // path to content
	writes  int
	failOn  map[string]error // by item ID, each struck once
}

func newPlace() *place {
	return &place{folders: map[string]string{"": ""}, items: map[string]string{}, failOn: map[string]error{}}
}

func (p *place) strike(id string) error {
	err := p.failOn[id]
	delete(p.failOn, id)
	return err
}

func (p *place) Folder(_ context.Context, parent string, e repository.Entry, _ []byte) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	path, ok := p.folders[parent]
	if !ok {
		return "", tenantry.Errorf(tenantry.Internal, "folder %s before its parent %s", e.ID, parent)
	}
	p.folders["made "+e.ID] = path + "/" + e.ID
	return "made " + e.ID, p.strike(e.ID)
}

func (p *place) Item(ctx context.Context, folder string, e repository.Entry, _ []byte, open engine.OpenPart) (engine.Written, error) {
	body, err := open(ctx, e.Parts[0], 0)
	if err != nil {
		return engine.Written{}, err
	}
	content, err := io.ReadAll(body)
	if err != nil {
		return engine.Written{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	path := p.folders[folder] + "/" + e.ID
	if _, ok := p.items[path]; ok {
		return engine.Written{ID: path, Existed: true}, nil
	}
	if err := p.strike(e.ID); err != nil {
		return engine.Written{}, err
	}
	p.items[path] = string(content)
	p.writes++
	return engine.Written{ID: path}, nil
}

// saved returns a mailbox of the shape
//
//	f1/{m1,m2,m3}  f1/f2/{m4}  f1/f2/f3/{m5}  f4/{m6}
//
// as a backup stores it.
func saved(t *testing.T) *memory {
	t.Helper()
	w := newWorld(1, true)
	w.pageSize = 10
	for _, n := range []node{{id: "f1", folder: true}, {id: "f2", parent: "f1", folder: true}, {id: "f3", parent: "f2", folder: true}, {id: "f4", folder: true}} {
		w.put(n)
	}
	for id, parent := range map[string]string{"m1": "f1", "m2": "f1", "m3": "f1", "m4": "f2", "m5": "f3", "m6": "f4"} {
		w.put(node{id: id, parent: parent})
	}
	m := newMemory()
	m.begin()
	if out, err := engine.Backup(t.Context(), w, m, engine.Limits{}, nil, nil); err != nil || !out.Done {
		t.Fatal(out, err)
	}
	return m
}

func TestRestoreSelection(t *testing.T) {
	m := saved(t)
	for name, c := range map[string]struct {
		items []string
		want  []string
	}{
		"everything":              {nil, []string{"/f1/f2/f3/m5", "/f1/f2/m4", "/f1/m1", "/f1/m2", "/f1/m3", "/f4/m6"}},
		"a folder is its subtree": {[]string{"f2"}, []string{"/f1/f2/f3/m5", "/f1/f2/m4"}},
		"items in their places":   {[]string{"m5", "m6"}, []string{"/f1/f2/f3/m5", "/f4/m6"}},
		"an item below a folder":  {[]string{"m5", "f3", "m4"}, []string{"/f1/f2/f3/m5", "/f1/f2/m4"}},
	} {
		t.Run(name, func(t *testing.T) {
			dst := newPlace()
			for range 2 { // twice: no duplicates
				out, err := engine.Restore(t.Context(), m, dst, tenantry.RestoreRequest{Items: c.items}, engine.Limits{}, nil, nil)
				if err != nil || !out.Done || len(out.Problems) > 0 {
					t.Fatal(out, err)
				}
			}
			if diff := cmp.Diff(c.want, slices.Sorted(maps.Keys(dst.items))); diff != "" {
				t.Error(diff)
			}
			if dst.writes != len(c.want) {
				t.Errorf("%d writes of %d items", dst.writes, len(c.want))
			}
		})
	}
}

func TestRestoreGoesOnPastOneBadItem(t *testing.T) {
	for _, kind := range []tenantry.Kind{tenantry.Poison, tenantry.Denied, tenantry.NotFound, tenantry.Invalid, tenantry.Corrupt, tenantry.Internal} {
		m, dst := saved(t), newPlace()
		dst.failOn["m2"] = tenantry.Errorf(kind, "refused")
		dst.failOn["f2"] = tenantry.Errorf(kind, "refused too")
		out, err := engine.Restore(t.Context(), m, dst, tenantry.RestoreRequest{}, engine.Limits{}, nil, nil)
		want := []engine.Problem{{ID: "f2", Reason: "refused too", Kind: kind}, {ID: "m2", Reason: "refused", Kind: kind}}
		slices.SortFunc(out.Problems, func(a, b engine.Problem) int { return strings.Compare(a.ID, b.ID) })
		if diff := cmp.Diff(want, out.Problems); diff != "" || err != nil || !out.Done || out.Counts.Skipped != 2 {
			t.Errorf("%s: %+v %v %s", kind, out, err, diff)
		}
		if got := slices.Sorted(maps.Keys(dst.items)); !slices.Equal(got, []string{"/f1/m1", "/f1/m3", "/f4/m6"}) {
			t.Errorf("%s: restored %v", kind, got)
		}
	}
}

func TestRestoreEndsOnWhatIsNotOneItems(t *testing.T) {
	for _, kind := range []tenantry.Kind{tenantry.Throttled, tenantry.Transient, tenantry.Capacity, tenantry.Reconnect, tenantry.Shared} {
		m, dst := saved(t), newPlace()
		dst.failOn["m5"] = tenantry.Errorf(kind, "not now")
		out, err := engine.Restore(t.Context(), m, dst, tenantry.RestoreRequest{}, engine.Limits{}, nil, nil)
		if tenantry.KindOf(err) != kind || out.Done {
			t.Errorf("%s: %+v %v", kind, out, err)
		}
		out, err = engine.Restore(t.Context(), m, dst, tenantry.RestoreRequest{}, engine.Limits{}, nil, nil)
		if err != nil || !out.Done || len(dst.items) != 6 || dst.writes != 6 {
			t.Errorf("%s, again: %+v %v, %d writes", kind, out, err, dst.writes)
		}
	}
}

func TestRestoreDrains(t *testing.T) {
	drain := make(chan struct{})
	close(drain)
	out, err := engine.Restore(t.Context(), saved(t), newPlace(), tenantry.RestoreRequest{}, engine.Limits{}, drain, nil)
	if err != nil || out.Done {
		t.Errorf("%+v %v", out, err)
	}
}

func TestRestoreStopsWhenTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out, err := engine.Restore(ctx, saved(t), newPlace(), tenantry.RestoreRequest{}, engine.Limits{}, nil, nil)
	if tenantry.KindOf(err) != tenantry.Canceled || out.Done {
		t.Errorf("%+v %v", out, err)
	}
}

// TestSliceTime shows that time ends a slice, but never one that has got nothing done: the same way
// walked again must not be all that ever happens.
func TestSliceTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, dst := saved(t), newPlace()
		slow := &slowTarget{place: dst}
		slices := 0
		for done := false; !done; slices++ {
			out, err := engine.Restore(t.Context(), m, slow, tenantry.RestoreRequest{}, engine.Limits{SliceTime: time.Minute, Concurrency: 1}, nil, nil)
			if err != nil || slices > 10 {
				t.Fatal(slices, err)
			}
			done = out.Done
		}
		if slices < 2 || dst.writes != 6 {
			t.Errorf("%d slices, %d writes", slices, dst.writes)
		}
	})
}

// TestLongPartsBreakOff: the end of a slice cuts a long part, and a short one is written to its end; a folder on this machine,
// for which nobody waits, gets all in one slice however long it takes.
func TestLongPartsBreakOff(t *testing.T) {
	m := newMemory()
	long := strings.Repeat("12345678", 9<<17) // 9 MiB
	for id, content := range map[string]string{"a": "short", "b": long} {
		m.contents[id] = content
		m.now.entries[id] = repository.Entry{ID: id, Kind: "file", Name: id + ".txt", Modified: time.Unix(1, 0), Parts: []repository.Part{
			{Name: "content", Digest: []byte(id), Size: int64(len(content))},
		}}
	}
	drained := make(chan struct{})
	close(drained)
	limits := engine.Limits{SliceTime: time.Nanosecond, ContentBytes: 1}
	for name, drain := range map[string]chan struct{}{"its time is over": nil, "the worker drains": drained} {
		dst := newPlace()
		out, err := engine.Restore(t.Context(), m, dst, tenantry.RestoreRequest{}, limits, drain, nil)
		if err != nil || out.Done || len(out.Problems) > 0 || dst.items["/b"] != "" {
			t.Errorf("%s: %+v, %v, %d bytes of the long one", name, out, err, len(dst.items["/b"]))
		}
	}
	dir := t.TempDir()
	folder, err := engine.NewFolderTarget(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = folder.Close() }()
	out, err := engine.Restore(t.Context(), m, folder, tenantry.RestoreRequest{}, limits, nil, nil)
	got, readErr := os.ReadFile(filepath.Join(dir, "b.txt"))
	if err != nil || readErr != nil || !out.Done || out.Counts.Items != 2 || string(got) != long {
		t.Errorf("%+v, %v, %v: %d bytes of the long one", out, err, readErr, len(got))
	}
}

type slowTarget struct{ *place }

func (s *slowTarget) Item(ctx context.Context, folder string, e repository.Entry, raw []byte, open engine.OpenPart) (engine.Written, error) {
	time.Sleep(time.Minute) // of the bubble's clock
	return s.place.Item(ctx, folder, e, raw, open)
}

func TestVerify(t *testing.T) {
	m := saved(t)
	out, err := engine.Verify(t.Context(), m, engine.Limits{}, nil, nil)
	if err != nil || !out.Done || out.Counts.Items != 6 || out.Counts.Bytes == 0 || len(out.Problems) > 0 {
		t.Fatalf("%+v %v", out, err)
	}
	delete(m.contents, string(m.now.entries["m4"].Parts[0].Digest))
	out, err = engine.Verify(t.Context(), m, engine.Limits{}, nil, nil)
	if err != nil || !out.Done || len(out.Problems) != 1 || out.Problems[0].ID != "m4" || out.Counts.Items != 6 {
		t.Fatalf("%+v %v", out, err)
	}
}

func TestBrowsePages(t *testing.T) {
	m := newMemory()
	m.now.entries["f"] = repository.Entry{ID: "f", Kind: engine.KindFolder}
	var want []string
	for i := range 25 {
		id := fmt.Sprintf("m%02d", i)
		m.now.entries[id] = repository.Entry{ID: id, Parent: "f", Name: strings.Repeat("same", i%2)}
	}
	for e := range m.Children(t.Context(), "f") {
		want = append(want, e.ID)
	}
	rapid.Check(t, func(t *rapid.T) {
		var got []string
		for token, first := "", true; first || token != ""; first = false {
			l, err := engine.Browse(context.Background(), m, "f", token, rapid.IntRange(-1, 30).Draw(t, "limit"))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range l.Entries {
				got = append(got, e.ID)
			}
			token = l.Next
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
	for name, c := range map[string]struct {
		folder, token string
		kind          tenantry.Kind
	}{
		"no such folder":  {"x", "", tenantry.NotFound},
		"no such token":   {"f", "!", tenantry.Invalid},
		"a foreign token": {"f", "aGVsbG8", tenantry.Invalid},
	} {
		if _, err := engine.Browse(t.Context(), m, c.folder, c.token, 10); tenantry.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// ready is a place that notes what it was told of folders and of the end.
type ready struct {
	*place
	told    []string
	fail    map[string]error
	lacking map[string]error // what is told of entries at the end
}

func (p *ready) Begin(ctx context.Context, id string, e repository.Entry, _ engine.OpenPart) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, fmt.Sprintf("%s as %s before %d", e.ID, id, p.writes))
	return p.fail[e.ID]
}

func (p *ready) End(ctx context.Context, lacks engine.Lacks) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, why := range p.lacking {
		if err := lacks(ctx, id, why); err != nil {
			return err
		}
	}
	p.told = append(p.told, fmt.Sprintf("end after %d", p.writes))
	return p.fail[""]
}

// TestTargetsAreToldWhatBegins: of every folder before anything lies in it, also on the way to a single item, and of the
// end once all is written; what one folder lacks, or the end, is a problem and stops nobody.
func TestTargetsAreToldWhatBegins(t *testing.T) {
	refused := tenantry.Errorf(tenantry.Denied, "refused")
	for name, tt := range map[string]struct {
		items []string
		want  []string
	}{
		"one item":   {[]string{"m5"}, []string{"f1 as made f1 before 0", "f2 as made f2 before 0", "f3 as made f3 before 0", "end after 1"}},
		"one folder": {[]string{"f4"}, []string{"f4 as made f4 before 0", "end after 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			snap := saved(t)
			to := &ready{place: newPlace(), fail: map[string]error{"f1": refused, "": refused}}
			out, err := engine.Restore(t.Context(), snap, to, tenantry.RestoreRequest{Items: tt.items}, engine.Limits{}, nil, nil)
			if err != nil || !out.Done || out.Counts.Items != 1 {
				t.Fatalf("%+v, %v", out, err)
			}
			if diff := cmp.Diff(tt.want, to.told); diff != "" {
				t.Error(diff)
			}
			if want := len(tt.items[0:1]) + strings.Count(strings.Join(tt.want, " "), "f1 as"); len(out.Problems) != want {
				t.Errorf("%d problems, expected %d: %+v", len(out.Problems), want, out.Problems)
			}
		})
	}
	drained := make(chan struct{})
	close(drained)
	lacking := &ready{place: newPlace(), lacking: map[string]error{"m5": refused}}
	if out, err := engine.Restore(t.Context(), saved(t), lacking, tenantry.RestoreRequest{}, engine.Limits{}, nil, nil); err != nil ||
		len(out.Problems) != 1 || out.Problems[0].ID != "m5" || out.Problems[0].Kind != tenantry.Denied {
		t.Errorf("an item that lacks something: %+v, %v", out.Problems, err)
	}
	lacking.lacking["m5"] = tenantry.Errorf(tenantry.Transient, "not now")
	if out, err := engine.Restore(t.Context(), saved(t), lacking, tenantry.RestoreRequest{}, engine.Limits{}, nil, nil); tenantry.KindOf(err) != tenantry.Transient || out.Done {
		t.Errorf("what is no item's own: %+v, %v", out, err)
	}
	to := &ready{place: newPlace()}
	if _, err := engine.Restore(t.Context(), saved(t), to, tenantry.RestoreRequest{}, engine.Limits{}, drained, nil); err != nil || slices.Contains(to.told, "end after 0") {
		t.Errorf("a slice that ended early: %v, %v", to.told, err)
	}
}
