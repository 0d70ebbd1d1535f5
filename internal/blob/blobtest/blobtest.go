// Package blobtest owns what every blob.Store must do: Run is the conformance suite that
// each implementation passes. It also has Faulty, a Store that fails on demand, for the
// tests of those who use one. For tests only.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Run runs the suite. open returns a store that is empty but for what Open puts there
// itself; it may be called several times.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, blob.Store)
	}{
		{"what is put comes back", testRoundTrip},
		{"ranges", testRanges},
		{"put replaces", testPutReplaces},
		{"absent objects", testAbsent},
		{"one of many wins", testRace},
		{"the winner is whole", testWinnerIsWhole},
		{"listing", testList},
		{"long listing", testLongList},
		{"folders", testFolders},
		{"bad keys", testBadKeys},
		{"ended context", testEndedContext},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	_, _ = r.Read(b)
	return b
}

func read(t *testing.T, s blob.Store, key string, offset, n int64) []byte {
	t.Helper()
	body, err := s.Get(t.Context(), key, offset, n)
	if err != nil {
		t.Fatalf("Get(%s, %d, %d): %v", key, offset, n, err)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	if err := body.Close(); err != nil {
		t.Fatalf("close %s: %v", key, err)
	}
	return data
}

func put(t *testing.T, s blob.Store, key string, body []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, body); err != nil {
		t.Fatalf("Put(%s): %v", key, err)
	}
}

func testRoundTrip(t *testing.T, s blob.Store) {
	for _, n := range []int{0, 1, 4095, 1 << 20, 9<<20 + 1} {
		for _, how := range []struct {
			name string
			put  func(context.Context, string, []byte) error
		}{{"put", s.Put}, {"absent", s.PutIfAbsent}} {
			key := fmt.Sprintf("round/trip/%s-%d", how.name, n)
			body := noise(n)
			if err := how.put(t.Context(), key, body); err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			if got := read(t, s, key, 0, -1); !bytes.Equal(got, body) {
				t.Errorf("%s: %d bytes came back, different from the %d that were put", key, len(got), n)
			}
			info, err := s.Stat(t.Context(), key)
			if err != nil || info.Key != key || info.Size != int64(n) || info.Modified.IsZero() {
				t.Errorf("Stat(%s) = %+v, %v", key, info, err)
			}
			if err := s.PutIfAbsent(t.Context(), key, []byte("other")); !errors.Is(err, blob.ErrExists) {
				t.Errorf("PutIfAbsent(%s) on a taken key: %v", key, err)
			}
		}
	}
}

func testRanges(t *testing.T, s blob.Store) {
	body := noise(1000)
	put(t, s, "ranges", body)
	for _, r := range []struct{ offset, n, begin, end int64 }{
		{0, -1, 0, 1000}, {0, 10, 0, 10}, {990, 10, 990, 1000}, {500, -1, 500, 1000}, {999, 1, 999, 1000},
		{0, 0, 0, 0}, {990, 100, 990, 1000}, {1000, 5, 0, 0}, {2000, -1, 0, 0},
	} {
		if got := read(t, s, "ranges", r.offset, r.n); !bytes.Equal(got, body[r.begin:r.end]) {
			t.Errorf("%d bytes from %d: got %d bytes, expected those from %d to %d", r.n, r.offset, len(got), r.begin, r.end)
		}
	}
	if _, err := s.Get(t.Context(), "ranges", -1, 1); tenantry.KindOf(err) != tenantry.Invalid {
		t.Errorf("a negative offset: %v", err)
	}
}

func testPutReplaces(t *testing.T, s blob.Store) {
	put(t, s, "replaced", noise(100))
	put(t, s, "replaced", []byte("shorter"))
	if got := read(t, s, "replaced", 0, -1); string(got) != "shorter" {
		t.Errorf("after a second Put: %q", got)
	}
}

func testAbsent(t *testing.T, s blob.Store) {
	put(t, s, "folder/object", []byte("x"))
	for _, key := range []string{"nothing", "no/folder/nothing", "folder", "folder/object/below"} {
		if _, err := s.Get(t.Context(), key, 0, -1); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Get(%s): %v", key, err)
		}
		if _, err := s.Get(t.Context(), key, 0, 0); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Get(%s) of no bytes: %v", key, err)
		}
		if _, err := s.Stat(t.Context(), key); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Stat(%s): %v", key, err)
		}
	}
	for range 2 {
		if err := s.Delete(t.Context(), "folder/object"); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
	if _, err := s.Stat(t.Context(), "folder/object"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Stat of what was deleted: %v", err)
	}
	if err := s.PutIfAbsent(t.Context(), "folder/object", []byte("again")); err != nil {
		t.Errorf("PutIfAbsent of what was deleted: %v", err)
	}
}

// testRace is the property that the fences stand on.
func testRace(t *testing.T, s blob.Store) {
	const rounds, racers = 20, 8
	for round := range rounds {
		key := fmt.Sprintf("race/%d", round)
		var wg sync.WaitGroup
		start := make(chan struct{})
		errs := make([]error, racers)
		for i := range racers {
			wg.Go(func() {
				<-start
				errs[i] = s.PutIfAbsent(t.Context(), key, fmt.Appendf(nil, "racer %d", i))
			})
		}
		close(start)
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner < 0:
				winner = i
			case err == nil:
				t.Fatalf("%s: racers %d and %d both won", key, winner, i)
			case !errors.Is(err, blob.ErrExists) && tenantry.KindOf(err) != tenantry.Transient:
				t.Errorf("%s: racer %d: %v", key, i, err)
			}
		}
		if winner < 0 {
			t.Fatalf("%s: nobody won", key)
		}
		if got := read(t, s, key, 0, -1); string(got) != fmt.Sprintf("racer %d", winner) {
			t.Errorf("%s: racer %d won, %q is stored", key, winner, got)
		}
	}
}

// testWinnerIsWhole reads a key while it is being made: nothing or all of it.
func testWinnerIsWhole(t *testing.T, s blob.Store) {
	body := noise(2 << 20)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.PutIfAbsent(t.Context(), "whole", body); err != nil {
			t.Errorf("PutIfAbsent: %v", err)
		}
	})
	for {
		data, err := blob.ReadAll(t.Context(), s, "whole", int64(len(body)))
		if errors.Is(err, blob.ErrNotFound) {
			continue
		}
		if err != nil || !bytes.Equal(data, body) {
			t.Errorf("read while it was made: %d of %d bytes, %v", len(data), len(body), err)
		}
		break
	}
	wg.Wait()
}

func list(t *testing.T, s blob.Store, prefix string) []string {
	t.Helper()
	var keys []string
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("List(%s): %v", prefix, err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func testList(t *testing.T, s blob.Store) {
	all := []string{"l/a", "l/a-b", "l/a.b", "l/b/1", "l/b/2", "l/b-", "l/b0", "l/c/d/e/f", "l/ca", "m/x"}
	for i, key := range all {
		put(t, s, key, noise(i+1))
	}
	slices.Sort(all)
	for _, prefix := range []string{"l/", "l/b", "l/b/", "l/c/d/e", "m/x", "m/xx", "nothing/here"} {
		var want []string
		for _, key := range all {
			if strings.HasPrefix(key, prefix) {
				want = append(want, key)
			}
		}
		if got := list(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("List(%s)\n got %q\nwant %q", prefix, got, want)
		}
	}
	for info, err := range s.List(t.Context(), "l/a-b") {
		if err != nil || info.Size != 2 || info.Modified.IsZero() {
			t.Errorf("listed as %+v, %v", info, err)
		}
	}
	for info, err := range s.List(t.Context(), "l/") { // stopping early is fine
		if err != nil || info.Key != "l/a" {
			t.Errorf("the first is %s, %v", info.Key, err)
		}
		break
	}
}

func testLongList(t *testing.T, s blob.Store) {
	const n = 1100 // more than two pages of S3
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := s.Put(t.Context(), fmt.Sprintf("long/%05d", n-i), []byte("x")); err != nil {
				t.Errorf("Put: %v", err)
			}
		})
	}
	wg.Wait()
	got := list(t, s, "long/")
	if len(got) != n || !slices.IsSorted(got) || got[0] != "long/00001" {
		t.Errorf("%d of %d keys listed, sorted: %v", len(got), n, slices.IsSorted(got))
	}
}

func testFolders(t *testing.T, s blob.Store) {
	for _, key := range []string{"f/b/1", "f/b/2", "f/a/x/y", "f/object", "f/c-d/z"} {
		put(t, s, key, []byte("x"))
	}
	for prefix, want := range map[string][]string{"f/": {"a", "b", "c-d"}, "f/a/": {"x"}, "f/b/": nil, "none/": nil} {
		var got []string
		for name, err := range s.Folders(t.Context(), prefix) {
			if err != nil {
				t.Fatalf("Folders(%s): %v", prefix, err)
			}
			got = append(got, name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("Folders(%s) = %q, expected %q", prefix, got, want)
		}
	}
	for _, err := range s.Folders(t.Context(), "f") {
		if tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("Folders without a slash: %v", err)
		}
	}
}

func testBadKeys(t *testing.T, s blob.Store) {
	for _, key := range []string{
		"", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/..", ".tmp/x", "a/.b", "a b", "a\nb", "a\\b", "ä", strings.Repeat("k", 901),
	} {
		errs := map[string]error{
			"Put":         s.Put(t.Context(), key, nil),
			"PutIfAbsent": s.PutIfAbsent(t.Context(), key, nil),
			"Delete":      s.Delete(t.Context(), key),
		}
		_, errs["Get"] = s.Get(t.Context(), key, 0, -1)
		_, errs["Stat"] = s.Stat(t.Context(), key)
		for op, err := range errs {
			if tenantry.KindOf(err) != tenantry.Invalid {
				t.Errorf("%s(%q): %v", op, key, err)
			}
		}
	}
	for _, err := range s.List(t.Context(), "../") {
		if tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("List of a folder above: %v", err)
		}
	}
}

func testEndedContext(t *testing.T, s blob.Store) {
	put(t, s, "ended", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	errs := map[string]error{
		"Put":         s.Put(ctx, "ended-1", nil),
		"PutIfAbsent": s.PutIfAbsent(ctx, "ended-2", nil),
		"Delete":      s.Delete(ctx, "ended"),
	}
	_, errs["Get"] = s.Get(ctx, "ended", 0, -1)
	_, errs["Stat"] = s.Stat(ctx, "ended")
	for _, err := range s.List(ctx, "ended") {
		errs["List"] = err
	}
	for _, err := range s.Folders(ctx, "") {
		errs["Folders"] = err
	}
	for _, op := range []string{"Put", "PutIfAbsent", "Delete", "Get", "Stat", "List", "Folders"} {
		if tenantry.KindOf(errs[op]) != tenantry.Canceled {
			t.Errorf("%s: %v", op, errs[op])
		}
	}
}
