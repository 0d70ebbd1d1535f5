package repository

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// whole is all of an object of n bytes.
func whole(object string, n int) extent { return extent{object, 0, int64(n), int64(n)} }

// filesOf lists what a cache has on its disk, and what that takes.
func filesOf(t testing.TB, c *Cache) (paths []string, bytes int64) {
	t.Helper()
	err := filepath.Walk(c.dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && filepath.Base(path) != cacheTagName {
			paths, bytes = append(paths, path), bytes+info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths, bytes
}

// Of an object that is kept whole every part is there; of one that is kept in parts, those alone.
func TestCacheHasPartsOfWhatItKeeps(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "tenantry-cache-")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		c := NewCache(dir, 1<<20, func(err error) { rt.Error(err) })
		body := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(rt, "object")
		size := len(body)
		part := func(name string) extent {
			from := rapid.IntRange(0, size-1).Draw(rt, name+" from")
			n := rapid.IntRange(1, size-from).Draw(rt, name+" bytes")
			return extent{"an object", int64(from), int64(n), int64(size)}
		}
		a, b := part("kept"), part("asked for")
		c.put(a, body[a.offset:a.offset+a.n])
		if got, ok := c.get(b); ok != (a == b || a == a.all()) || ok && !bytes.Equal(got, body[b.offset:b.offset+b.n]) {
			rt.Errorf("%v is kept, %v is %q, %v", a, b, got, ok)
		}
		other := b
		other.object = "another object"
		if _, ok := c.get(other); ok {
			rt.Error("another object has it too")
		}
		c.put(a.all(), body)
		if got, ok := c.get(b); !ok || !bytes.Equal(got, body[b.offset:b.offset+b.n]) {
			rt.Errorf("all is kept, and %v is %q, %v", b, got, ok)
		}
		c.drop(a)
		if _, ok := c.get(a); ok {
			rt.Error("what was dropped is there")
		}
	})
}

// Nobody else can read the directory; programs that make backups are told to leave it out.
func TestCacheIsPrivate(t *testing.T) {
	c := NewCache(filepath.Join(t.TempDir(), "made", "by it"), 1<<20, func(err error) { t.Error(err) })
	c.put(whole("t-1/r/ada@contoso.example/mailbox/s/1", 3), []byte("abc"))
	paths, _ := filesOf(t, c)
	if len(paths) != 1 {
		t.Fatalf("it has %q", paths)
	}
	for path, want := range map[string]os.FileMode{c.dir: 0o700, filepath.Dir(paths[0]): 0o700, paths[0]: 0o600, filepath.Join(c.dir, cacheTagName): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		if bytes.Contains([]byte(path[len(c.dir):]), []byte("ada")) {
			t.Errorf("%s names somebody", path)
		}
	}
}

// However much is written, from however many goroutines, one process keeps within the limit, and what was used last stays.
func TestCacheKeepsWithinItsLimit(t *testing.T) {
	const limit, objects, size = 1 << 20, 150, 10_000
	c := NewCache(t.TempDir(), limit, func(err error) { t.Error(err) })
	old := time.Now().Add(-48 * time.Hour)
	for i := range 40 { // one of them is used again, long after
		c.put(whole(fmt.Sprint("old ", i), size), make([]byte, size))
		if err := os.Chtimes(c.file(whole(fmt.Sprint("old ", i), size)), old, old.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := c.get(whole("old 0", size)); !ok {
		t.Fatal("it is not there")
	}
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 20 {
				c.put(whole(fmt.Sprint("new ", g, " ", i), size), make([]byte, size))
			}
		})
	}
	all.Wait()
	if _, bytes := filesOf(t, c); bytes > limit || bytes < limit/2 {
		t.Errorf("it has %d bytes, the limit is %d", bytes, limit)
	}
	if _, ok := c.get(whole("old 0", size)); !ok {
		t.Error("what was used last is gone")
	}
	if _, ok := c.get(whole("old 1", size)); ok {
		t.Error("what was used first is there")
	}
	for i := range objects {
		c.put(whole(fmt.Sprint("newer ", i), size), make([]byte, size))
		if _, bytes := filesOf(t, c); i%20 == 0 && bytes > limit {
			t.Fatalf("it has %d bytes, the limit is %d", bytes, limit)
		}
	}
	c.put(whole("too large", limit/cacheShare+1), make([]byte, limit/cacheShare+1))
	if _, ok := c.get(whole("too large", limit/cacheShare+1)); ok {
		t.Error("one object may not drive out an eighth of all")
	}
	if s := c.Stats(); s.Evicted == 0 || s.Written < objects*size {
		t.Errorf("it says %+v", s)
	}
}

// Small files count as what they take on a disk, so that their number is bounded too.
func TestCacheBoundsItsFiles(t *testing.T) {
	const limit = 64 * cacheCharge
	c := NewCache(t.TempDir(), limit, func(err error) { t.Error(err) })
	for i := range 200 {
		c.put(whole(fmt.Sprint(i), 1), []byte{1})
	}
	if paths, _ := filesOf(t, c); len(paths) > limit/cacheCharge || len(paths) < limit/cacheCharge/2 {
		t.Errorf("%d files", len(paths))
	}
}

// Two processes share a directory: what one has kept the other has, and together they exceed the limit by no more than is said.
func TestCachesShareADirectory(t *testing.T) {
	const limit, size = 256 << 10, 8_000
	dir := t.TempDir()
	caches := []*Cache{NewCache(dir, limit, nil), NewCache(dir, limit, nil)}
	caches[0].put(whole("theirs", 3), []byte("abc"))
	if got, ok := caches[1].get(whole("theirs", 3)); !ok || string(got) != "abc" {
		t.Errorf("the other has %q, %v", got, ok)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 150 {
		caches[random.IntN(2)].put(whole(fmt.Sprint(i), size), make([]byte, size))
		if _, bytes := filesOf(t, caches[0]); i%5 == 0 && bytes > limit+limit/cacheShare {
			t.Fatalf("they have %d bytes", bytes)
		}
	}
}

// What is not the cache's own is left alone, but what a process that died has left half written is removed.
func TestCacheLeavesOthersAlone(t *testing.T) {
	const limit = 16 * cacheCharge
	dir := t.TempDir()
	c := NewCache(dir, limit, func(err error) { t.Error(err) })
	c.put(whole("first", 1), []byte{1})
	old := time.Now().Add(-30 * 24 * time.Hour)
	paths, _ := filesOf(t, c)
	theirs := []string{filepath.Join(dir, "letter.txt"), filepath.Join(filepath.Dir(paths[0]), "letter.txt")}
	litter := filepath.Join(filepath.Dir(paths[0]), ".new-123")
	for _, path := range append(theirs, litter) {
		if err := os.WriteFile(path, make([]byte, 2*limit), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		c.put(whole(fmt.Sprint(i), 1), []byte{1})
	}
	for _, path := range theirs {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%v", err)
		}
	}
	if _, err := os.Stat(litter); err == nil {
		t.Error("what nobody will finish is there")
	}
}

// Whatever becomes of the directory, reads and writes go on; it is said once, and once more after it was well.
func TestCacheGoesOnWithoutItsDirectory(t *testing.T) {
	said := 0
	dir := filepath.Join(t.TempDir(), "cache")
	c := NewCache(dir, 1<<20, func(error) { said++ })
	try := func(object string) bool {
		c.until = time.Time{} // it would let the directory be for a while
		c.put(whole(object, 3), []byte("abc"))
		_, ok := c.get(whole(object, 3))
		return ok
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the directory should be: root may write anything else
		t.Fatal(err)
	}
	if try("1") || try("2") || said != 1 {
		t.Errorf("it is no directory, and that was said %d times", said)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if !try("3") || said != 1 {
		t.Errorf("it can be made, and that it cannot was said %d times", said)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.get(whole("3", 3)); ok {
		t.Error("it is gone, and has something")
	}
	if !try("4") || said != 1 {
		t.Errorf("it can be made again, and that it cannot was said %d times", said)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if try("5") || said != 2 {
		t.Errorf("it is none again, and that was said %d times", said)
	}
	c.put(whole("6", 3), []byte("abc")) // within the rest: nothing is tried, nothing said
	if said != 2 {
		t.Errorf("said %d times", said)
	}
}
