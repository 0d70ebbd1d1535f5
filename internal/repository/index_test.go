package repository

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// However changes are spread over deltas, folding them gives what a map would hold.
func TestIndexFoldsLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ix, want := newIndex(), map[string]Entry{}
		d := ix.newDelta()
		var deltas [][]byte
		for range rapid.IntRange(0, 400).Draw(t, "steps") {
			id := fmt.Sprint("id-", rapid.IntRange(0, 20).Draw(t, "id"))
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				ix.remove(d, id)
				delete(want, id)
			case 1:
				deltas = append(deltas, ix.encode(d).data)
				d = ix.newDelta()
			case 2: // as from one manifest to the next
				var inline pb.IndexDelta
				if err := proto.Unmarshal(ix.encode(d).data, &inline); err != nil {
					t.Fatal(err)
				}
				d = ix.newDelta()
				if err := ix.adopt(d, &inline); err != nil {
					t.Fatal(err)
				}
			default:
				e := drawEntry(t, id)
				if err := ix.put(d, &e); err != nil {
					t.Fatal(err)
				}
				want[id] = e
			}
		}
		last := ix.encode(d)
		checkOnce(t, last)
		deltas = append(deltas, last.data)
		read := newIndex()
		for _, data := range deltas {
			if err := read.fold(data); err != nil {
				t.Fatal(err)
			}
		}
		for _, ix := range []*index{ix, read} {
			checkIndex(t, ix, want)
		}
	})
}

func drawEntry(t *rapid.T, id string) Entry {
	n := rapid.Uint32Range(1, 1000).Draw(t, "n")
	e := Entry{
		ID: id, Parent: fmt.Sprint("p-", n%3), Kind: []string{"", "folder", "message"}[n%3], Name: fmt.Sprint(n), Generation: int64(n),
		Payload: Ref{pack: packID{byte(n % 4)}, frame: n, offset: n, length: n},
	}
	if n%5 == 0 {
		e.Parts = []Part{{Name: "a", Size: int64(n), Digest: []byte{1}, Ref: Ref{chunks: []chunk{{hash: chunkHash{byte(n)}, size: n}}}}}
	}
	return e
}

// checkOnce fails if an ID stands twice in a delta.
func checkOnce(t *rapid.T, d encoded) {
	var m pb.IndexDelta
	if err := proto.Unmarshal(d.data, &m); err != nil {
		t.Fatal(err)
	}
	seen := slices.Clone(m.Removed)
	for _, e := range m.Entries {
		seen = append(seen, e.Id)
	}
	slices.Sort(seen)
	if n := len(seen); len(slices.Compact(seen)) != n || n != d.entries+d.removed {
		t.Fatalf("%d entries and %d removed are said, %d stand there: %v", d.entries, d.removed, n, seen)
	}
}

func checkIndex(t *rapid.T, ix *index, want map[string]Entry) {
	var ids []string
	for _, l := range ix.sorted() {
		e, err := ix.decode(l)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
		w := want[e.ID]
		same := e.Parent == w.Parent && e.Kind == w.Kind && e.Name == w.Name && e.Generation == w.Generation &&
			e.Payload.Equal(w.Payload) && len(e.Parts) == len(w.Parts)
		for i := range e.Parts {
			same = same && e.Parts[i].Ref.Equal(w.Parts[i].Ref)
		}
		if !same {
			t.Fatalf("got %+v, expected %+v", e, w)
		}
	}
	if !slices.Equal(ids, slices.Sorted(maps.Keys(want))) {
		t.Fatalf("got %v, expected %v", ids, slices.Sorted(maps.Keys(want)))
	}
}

// Whatever bytes an authenticated frame might hold, folding them is an error or works.
func TestFoldOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ix := newIndex()
		if ix.fold(rapid.SliceOf(rapid.Byte()).Draw(t, "delta")) == nil {
			for _, l := range ix.sorted() {
				_, _ = ix.decode(l)
			}
		}
	})
}

// A connection that is cut is not damage, though both end early.
func TestShortReads(t *testing.T) {
	_, err := readExactly(strings.NewReader("short"), 10)
	if tenantry.KindOf(err) != tenantry.Corrupt {
		t.Errorf("a short object: %v", err)
	}
	for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF} {
		_, err = readExactly(iotest.ErrReader(tenantry.E(tenantry.Transient, "read", cause)), 10)
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
	series := tenantry.Series{Tenant: "t", Resource: "u-1", Workload: tenantry.Mailbox}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64Min(1).Draw(t, "a"), rapid.Int64Min(1).Draw(t, "b")
		nameA, nameB := manifestName(series, a), manifestName(series, b)
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
