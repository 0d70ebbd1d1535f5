package repository

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

var testSeries = tenantry.Series{Tenant: "t-1", Resource: "u-1", Workload: tenantry.Mailbox}

func testRepository(t testing.TB) *Repository {
	t.Helper()
	dir := t.TempDir()
	store, err := blob.Open(context.Background(), "file://"+filepath.Join(dir, "store"), blob.S3Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.(io.Closer).Close() })
	ring, err := OpenKeyFile(filepath.Join(dir, "keys.json"), true)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(context.Background(), store, ring, testSeries.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// However changes are spread over runs, folds, manifests and owners, the index says what a map
// would hold: by ID, by place, item by item, and in its counts.
func TestIndexIsLikeAMap(t *testing.T) {
	base := testRepository(t)
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		s := testSeries
		s.Resource = tenantry.ResourceID(fmt.Sprint("u-", n))
		m := &indexModel{t: t, repo: base, series: s, want: map[string]Entry{}}
		m.begin()
		defer func() { m.w.Close() }()
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			m.step()
		}
		m.check(m.w.Lookup, m.w.Entries, m.w.Children)
		snap, err := m.w.Seal(t.Context(), time.Now())
		m.must(err)
		if snap.Counts.Items != int64(len(m.want)) {
			t.Fatalf("%d items are counted of %d", snap.Counts.Items, len(m.want))
		}
		rd, err := m.repo.OpenSnapshot(t.Context(), s, snap.Seq)
		m.must(err)
		defer rd.Close()
		m.check(rd.Lookup, rd.Entries, rd.Children)
		m.checkPages(rd)
	})
}

type indexModel struct {
	t      *rapid.T
	repo   *Repository
	series tenantry.Series
	w      *Writer
	epoch  int64
	want   map[string]Entry
}

func (m *indexModel) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *indexModel) begin() {
	m.epoch++
	var err error
	m.w, err = m.repo.Begin(context.Background(), m.series, Fence{Epoch: m.epoch, Task: tenantry.TaskID(fmt.Sprint("task-", m.epoch))})
	m.must(err)
}

func (m *indexModel) step() {
	ctx := m.t.Context()
	switch rapid.IntRange(0, 9).Draw(m.t, "step") {
	case 0:
		m.w.life.Lock()
		err := m.w.flush(ctx, rapid.Bool().Draw(m.t, "sealing"))
		m.w.life.Unlock()
		m.must(err)
	case 1:
		m.w.life.Lock()
		err := m.w.fold(ctx, true)
		m.w.life.Unlock()
		m.must(err)
	case 2:
		m.must(m.w.Checkpoint(ctx))
		m.w.Close()
		m.begin()
	case 3:
		_, err := m.w.Seal(ctx, time.Now())
		m.must(err)
		m.w.Close()
		m.begin()
	case 4:
		if ids := slices.Sorted(maps.Keys(m.want)); len(ids) > 0 {
			m.must(m.w.Remove(ctx, ids[0]))
			delete(m.want, ids[0])
		}
		m.must(m.w.Remove(ctx, "never there"))
	default:
		seed := rapid.Uint64Range(0, 1000).Draw(m.t, "seed")
		rnd := rand.New(rand.NewPCG(seed, 1))
		for range rapid.IntRange(1, 60).Draw(m.t, "batch") {
			id := fmt.Sprint("id-", rnd.IntN(200))
			if rnd.IntN(4) == 0 {
				m.must(m.w.Remove(ctx, id))
				delete(m.want, id)
				continue
			}
			e := randomEntry(rnd, id)
			m.must(m.w.Put(ctx, e))
			m.want[id] = e
		}
	}
}

// randomEntry is large enough that a few make a block.
func randomEntry(rnd *rand.Rand, id string) Entry {
	n := rnd.Uint32N(1000) + 1
	e := Entry{
		ID: id, Parent: fmt.Sprint("p\x00-", n%3), Kind: "message", Name: fmt.Sprint([]string{"", "a\x00", "a\x01b", "z"}[n%4], n%7),
		Generation: int64(n), From: fmt.Sprint("user", n%5), Date: time.UnixMicro(int64(n)).UTC(), ETag: strings.Repeat(fmt.Sprint(rnd.Uint64()), 100),
		Payload: Ref{pack: packID{byte(n % 4)}, frame: n, offset: n, length: n},
	}
	if n%5 == 0 {
		e.Parts = []Part{{Name: "a", Size: int64(n), Digest: []byte{1}, Ref: Ref{chunks: []chunk{{hash: chunkHash{byte(n)}, size: n}}}}}
	}
	return e
}

func sameEntry(a, b Entry) bool {
	same := a.ID == b.ID && a.Parent == b.Parent && a.Kind == b.Kind && a.Name == b.Name && a.Generation == b.Generation &&
		a.ETag == b.ETag && a.From == b.From && a.Date.Equal(b.Date) && a.Payload.Equal(b.Payload) && len(a.Parts) == len(b.Parts)
	for i := range a.Parts {
		same = same && a.Parts[i].Ref.Equal(b.Parts[i].Ref)
	}
	return same
}

func (m *indexModel) check(lookup func(context.Context, string) (Entry, bool, error), all func(context.Context) iter.Seq2[Entry, error],
	children func(context.Context, string) iter.Seq2[Entry, error]) {
	m.t.Helper()
	m.same("all", all(m.t.Context()), m.sorted(func(Entry) bool { return true }, func(a, b Entry) int { return cmp.Compare(a.ID, b.ID) }))
	for i := range 3 {
		parent := fmt.Sprint("p\x00-", i)
		m.same("children of "+parent, children(m.t.Context(), parent), m.children(parent))
	}
	for i := range 200 {
		id := fmt.Sprint("id-", i)
		got, ok, err := lookup(m.t.Context(), id)
		m.must(err)
		if want, there := m.want[id]; ok != there || ok && !sameEntry(got, want) {
			m.t.Fatalf("%s: got %+v, %v, expected %+v, %v", id, got, ok, want, there)
		}
	}
}

func (m *indexModel) children(parent string) []Entry {
	return m.sorted(func(e Entry) bool { return e.Parent == parent },
		func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
}

// checkPages lists a folder page by page, each from the last entry of the one before.
func (m *indexModel) checkPages(rd *Reader) {
	want := m.children("p\x00-1")
	var name, id string
	for len(want) > 0 {
		n := 0
		for e, err := range rd.ChildrenAfter(m.t.Context(), "p\x00-1", name, id) {
			m.must(err)
			if !sameEntry(e, want[0]) {
				m.t.Fatalf("got %q %q, expected %q %q", e.Name, e.ID, want[0].Name, want[0].ID)
			}
			want, name, id = want[1:], e.Name, e.ID
			if n++; n == 3 {
				break
			}
		}
		if n == 0 {
			m.t.Fatalf("the listing ends before %d more", len(want))
		}
	}
}

func (m *indexModel) sorted(keep func(Entry) bool, order func(a, b Entry) int) []Entry {
	var out []Entry
	for _, e := range m.want {
		if keep(e) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, order)
	return out
}

func (m *indexModel) same(what string, got iter.Seq2[Entry, error], want []Entry) {
	m.t.Helper()
	i := 0
	for e, err := range got {
		m.must(err)
		if i >= len(want) || !sameEntry(e, want[i]) {
			m.t.Fatalf("%s: entry %d is %q under %q, expected one of %d", what, i, e.ID, e.Parent, len(want))
		}
		i++
	}
	if i != len(want) {
		m.t.Fatalf("%s: %d entries, expected %d", what, i, len(want))
	}
}

// Whatever the sizes: after a seal each run is much larger than all newer ones, and few are left.
func TestFoldable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOf(rapid.Int64Range(1, 1<<40)).Draw(t, "sizes")
		n := foldable(sizes, true)
		if n == 1 || n > len(sizes) {
			t.Fatalf("%d of %d", n, len(sizes))
		}
		sum := int64(0)
		for _, size := range sizes[:n] {
			sum += size
		}
		for _, size := range sizes[n:] {
			if sum > 0 && size < foldRatio*sum {
				t.Fatalf("%v: %d are folded, and one of %d stays under newer ones of %d", sizes, n, size, sum)
			}
			sum += size
		}
		if open := foldable(sizes, false); open != 0 && len(sizes) <= maxRuns {
			t.Fatalf("%d of %d runs are folded before the seal", open, len(sizes))
		}
	})
}

// What is written into a block comes out again; whatever else is in one, reading it is an error
// or comes to its end.
func TestBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := slices.Sorted(maps.Keys(rapid.MapOf(rapid.StringN(1, 20, -1), rapid.Bool()).Draw(t, "keys")))
		var block, last []byte
		for i, key := range keys {
			block = appendRecord(block, last, record{key: []byte(key), value: []byte(key[1:]), dead: i%3 == 0})
			last = []byte(key)
		}
		reader := blockReader{rest: block}
		for i, key := range keys {
			r, ok, err := reader.next()
			if err != nil || !ok || string(r.key) != key || r.dead != (i%3 == 0) || !r.dead && string(r.value) != key[1:] {
				t.Fatalf("record %d of %q: %+v, %v, %v", i, keys, r, ok, err)
			}
		}
		if _, ok, err := reader.next(); ok || err != nil {
			t.Fatalf("after the last record: %v, %v", ok, err)
		}
	})
}

// Prints deny no ID that they were made of, and every other one whose fingerprint differs, however many there are.
func TestPrints(t *testing.T) {
	var none prints
	if !none.mayHave(idHash{1}) {
		t.Error("no prints deny something")
	}
	sparse := rapid.Uint64Range(0, 1<<printBits-1)
	dense := rapid.Uint64Range(0, 3000)
	rapid.Check(t, func(t *rapid.T) {
		draw := rapid.SampledFrom([]*rapid.Generator[uint64]{sparse, dense}).Draw(t, "how dense")
		all := rapid.SliceOfN(draw, 1, 600).Draw(t, "fingerprints")
		others := rapid.SliceOf(draw).Draw(t, "others")
		hash := func(print uint64) idHash { return idHash{print << (64 - printBits)} }
		var hashes []idHash
		for _, print := range all {
			hashes = append(hashes, hash(print))
		}
		p := newPrints(hashes)
		for _, print := range slices.Concat(all, others) {
			if got, want := p.mayHave(hash(print)), slices.Contains(all, print); got != want {
				t.Fatalf("fingerprint %x: %v, expected %v", print, got, want)
			}
		}
	})
}

// An ID takes some three bytes.
func TestPrintsAreSmall(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for n, most := range map[int]float64{50: 5.2, 2000: 4, 20_000: 3.6, 300_000: 3.1} {
		hashes, there := make([]idHash, n), map[uint64]bool{}
		for i := range hashes {
			hashes[i] = idHash{rnd.Uint64(), rnd.Uint64()}
			there[fingerprint(hashes[i])] = true
		}
		p := newPrints(hashes)
		if each := float64(len(p)) / float64(n); each > most {
			t.Errorf("%d IDs take %.2f bytes each", n, each)
		}
		for i, h := range hashes {
			if !p.mayHave(h) {
				t.Fatalf("ID %d of %d is denied", i, n)
			}
		}
		for range 1000 {
			if h := (idHash{rnd.Uint64()}); p.mayHave(h) != there[fingerprint(h)] {
				t.Fatalf("of %d, an ID that is not there seems to be", n)
			}
		}
	}
}

// The order of places is that of parent, name and ID, whatever bytes they have.
func TestPlaceKeysSort(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune{0, 1, 2, 'a', 'b', 'é'}), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		a := []string{text.Draw(t, "parent"), text.Draw(t, "name"), text.Draw(t, "id")}
		b := []string{text.Draw(t, "parent"), text.Draw(t, "name"), text.Draw(t, "id")}
		got := bytes.Compare(placeKey(a[0], a[1], a[2]), placeKey(b[0], b[1], b[2]))
		if want := slices.Compare(a, b); got != want {
			t.Fatalf("%q and %q compare as %d, their keys as %d", a, b, want, got)
		}
		if in := bytes.HasPrefix(placeKey(a[0], a[1], a[2]), folderKey(b[0])); in != (a[0] == b[0]) {
			t.Fatalf("the place of %q lies in folder %q: %v", a, b[0], in)
		}
	})
}

// A connection that is cut is not damage, though both end early.
func TestShortReads(t *testing.T) {
	_, err := readExactly(strings.NewReader("short"), 10, nil)
	if tenantry.KindOf(err) != tenantry.Corrupt {
		t.Errorf("a short object: %v", err)
	}
	for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF} {
		_, err = readExactly(iotest.ErrReader(tenantry.E(tenantry.Transient, "read", cause)), 10, nil)
		if tenantry.KindOf(err) != tenantry.Transient {
			t.Errorf("a cut connection: %v (%s)", err, tenantry.KindOf(err))
		}
		n, err := readUpTo(iotest.ErrReader(fmt.Errorf("get: %w", cause)), make([]byte, 10))
		if n != 0 || !errors.Is(err, cause) {
			t.Errorf("content that breaks off: %d, %v", n, err)
		}
	}
}

func TestManifestNamesSortNewestFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64Min(1).Draw(t, "a"), rapid.Int64Min(1).Draw(t, "b")
		nameA, nameB := manifestName(testSeries, a), manifestName(testSeries, b)
		if (a > b) != (nameA < nameB) {
			t.Fatalf("%d is %s, %d is %s", a, nameA, b, nameB)
		}
		if seq, err := manifestSeq(nameA); err != nil || seq != a {
			t.Fatalf("%s is read as %d, %v", nameA, seq, err)
		}
	})
	for _, bad := range []string{"", "m/", "m/1", "m/-000000000000000001", "m/99999999999999999999"} {
		if seq, err := manifestSeq(bad); err == nil {
			t.Errorf("%q is read as %d", bad, seq)
		}
	}
}
