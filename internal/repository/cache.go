package repository

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/blake3"
)

const (
	// cacheShare is what part of a cache's limit a process writes before it looks what the directory holds, and how much
	// is free after that. An object that is larger is not cached.
	cacheShare = 8
	// cacheTouch is how old the note of a file's last use may be.
	cacheTouch = time.Hour
	// cacheRest is how long nothing is written after the directory refused it.
	cacheRest = time.Minute
	// cacheCharge is what a file counts at least, so that their number is bounded too: a block of most file systems.
	cacheCharge = 4 << 10
	// cacheLitter is when a file that was not finished is of a process that has died.
	cacheLitter = time.Hour
)

// cacheTag says to programs that make backups of machines what the directory is (bford.info/cachedir).
const (
	cacheTagName = "CACHEDIR.TAG"
	cacheTag     = "Signature: 8a477f597d28d172789f06886806bc55\n# Index objects of Tenantry's buckets, as they are there: encrypted. May be deleted at any time.\n"
)

// Cache keeps in a local directory what was read and written of the objects of indexes, as they are in the bucket:
// encrypted, so that nobody can read them here either. Whatever becomes of it, no backup is worse for it: who reads it
// proves what it has by the object's own authentication, and asks the bucket where that fails (see proved).
//
//	<dir>/<2 hex>/<38 hex>   a part of an object, or all of it; the name is a hash of which
//
// Several processes may share a directory. A file appears whole, by rename, and is never changed; nothing is synced,
// since a torn file does not authenticate. Each process looks what there is once it has written an eighth of the limit,
// and deletes what was used longest ago, to the hour, until an eighth is free: so one process keeps within the limit,
// and each further one may exceed it by an eighth.
//
// Safe for concurrent use. It has no goroutine, holds no file open, and nothing of what it keeps in memory; looking
// what there is takes some 200 bytes for each file.
type Cache struct {
	dir   string
	limit int64
	warn  func(error)

	hits, misses, read, written, evicted atomic.Int64

	mu      sync.Mutex // guards what follows
	fresh   int64      // bytes written since it was looked what there is
	pending int64      // of them, those that are being written
	looked  bool       // since this process began
	said    bool       // that the directory cannot be written
	until   time.Time  // nothing is written before
}

// CacheStats counts what a cache has done since the process began.
type CacheStats struct {
	Hits, Misses int64 // reads that the bucket was spared of, and that it was not
	Read         int64 // bytes that came from the cache
	Written      int64 // bytes
	Evicted      int64 // bytes that made room
}

// NewCache returns a cache of at most so many bytes in a directory, which is made when something is written and whose
// other files are left alone. A directory that cannot be written is no error: warn, if not nil, is told once until it can be
// again, and everything is read from the bucket.
func NewCache(dir string, limit int64, warn func(error)) *Cache {
	return &Cache{dir: dir, limit: limit, warn: warn}
}

// Stats returns what the cache has done so far. A nil cache has done nothing.
func (c *Cache) Stats() CacheStats {
	if c == nil {
		return CacheStats{}
	}
	return CacheStats{Hits: c.hits.Load(), Misses: c.misses.Load(), Read: c.read.Load(), Written: c.written.Load(), Evicted: c.evicted.Load()}
}

// extent is a part of an object that has size bytes.
type extent struct {
	object          string // which bucket, and its key there
	offset, n, size int64
}

// all is the whole object.
func (e extent) all() extent { return extent{e.object, 0, e.size, e.size} }

// file is where an extent is kept. The hash keeps names of people out of a listing of the directory.
func (c *Cache) file(e extent) string {
	h := blake3.New()
	_, _ = fmt.Fprintf(h, "tenantry cache v1\n%s\n%d %d %d", e.object, e.offset, e.n, e.size) // never fails
	name := hex.EncodeToString(h.Sum(nil)[:20])
	return filepath.Join(c.dir, name[:2], name[2:])
}

// get returns a part of an object, if that or all of the object is kept. What it returns may be damaged.
func (c *Cache) get(e extent) ([]byte, bool) {
	data, ok := c.readFile(c.file(e.all()), e.size, e.offset, e.n)
	if !ok && e != e.all() {
		data, ok = c.readFile(c.file(e), e.n, 0, e.n)
	}
	return data, ok
}

// readFile reads a part of a file that has to have size bytes; another one is removed.
func (c *Cache) readFile(path string, size, offset, n int64) ([]byte, bool) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false
	}
	if info.Size() != size {
		_ = os.Remove(path)
		return nil, false
	}
	if offset < 0 || n < 0 || offset > size-n {
		return nil, false
	}
	data := make([]byte, n)
	if _, err := f.ReadAt(data, offset); err != nil {
		return nil, false
	}
	if now := time.Now(); now.Sub(info.ModTime()).Abs() > cacheTouch {
		_ = os.Chtimes(path, time.Time{}, now) // when it was used last; without that it goes earlier
	}
	return data, true
}

// count notes how a read ended: with what the cache had, or not.
func (c *Cache) count(hit bool, n int64) {
	if !hit {
		c.misses.Add(1)
		return
	}
	c.hits.Add(1)
	c.read.Add(n)
}

// put keeps a part of an object, in place of what is kept of it under the same name.
func (c *Cache) put(e extent, data []byte) {
	charge := max(int64(len(data)), cacheCharge)
	if !c.begin(charge) {
		return
	}
	err := c.writeFile(c.file(e), data)
	c.ended(charge, err)
	if err == nil {
		c.written.Add(int64(len(data)))
	}
}

// drop forgets a part of an object, and all of it.
func (c *Cache) drop(e extent) {
	_ = os.Remove(c.file(e))
	_ = os.Remove(c.file(e.all()))
}

// begin makes room for so many bytes; false if they are not to be written.
func (c *Cache) begin(charge int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	share := c.limit / cacheShare
	if charge > share || time.Now().Before(c.until) {
		return false
	}
	if !c.looked || c.fresh+charge > share {
		if err := c.evict(share); err != nil {
			c.refused(err)
			return false
		}
		c.looked, c.fresh = true, c.pending
	}
	c.fresh += charge
	c.pending += charge
	return true
}

// ended says how the write ended that begin made room for.
func (c *Cache) ended(charge int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending -= charge
	if err != nil {
		c.refused(err)
		return
	}
	c.said = false
}

// refused lets the directory be for a while, and says so the first time. The caller holds mu.
func (c *Cache) refused(err error) {
	c.until = time.Now().Add(cacheRest)
	if !c.said && c.warn != nil {
		c.warn(fmt.Errorf("write to the cache of index objects: %w", err))
	}
	c.said = true
}

func (c *Cache) writeFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o700); err == nil {
			temp, err = os.CreateTemp(dir, ".new-*")
		}
	}
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temp.Name())
	}
	return err
}

// cachedFile is a file of the directory.
type cachedFile struct {
	path string
	size int64 // as it counts
	used time.Time
}

// evict looks what there is and deletes what was used longest ago until so much is free. The caller holds mu.
func (c *Cache) evict(free int64) error {
	files, err := c.list()
	if err != nil {
		return err
	}
	total := int64(0)
	for _, f := range files {
		total += f.size
	}
	slices.SortFunc(files, func(a, b cachedFile) int { return a.used.Compare(b.used) })
	for _, f := range files {
		if total <= c.limit-free {
			break
		}
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		total -= f.size
		c.evicted.Add(f.size)
	}
	return nil
}

// list returns the files that are the cache's own, and removes those that nobody will finish. It makes the directory where
// there is none.
func (c *Cache) list() ([]cachedFile, error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(c.dir, cacheTagName)); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(filepath.Join(c.dir, cacheTagName), []byte(cacheTag), 0o600); err != nil {
			return nil, err
		}
	}
	var files []cachedFile
	for first := range 256 {
		dir := filepath.Join(c.dir, fmt.Sprintf("%02x", first))
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || !info.Mode().IsRegular() {
				continue // another process has deleted it
			}
			f := cachedFile{filepath.Join(dir, e.Name()), max(info.Size(), cacheCharge), info.ModTime()}
			if litter(e.Name()) && time.Since(f.used) > cacheLitter {
				_ = os.Remove(f.path)
				continue
			}
			if litter(e.Name()) || cached(e.Name()) {
				files = append(files, f)
			}
		}
	}
	return files, nil
}

// litter reports whether a file is one that is being written, or was.
func litter(name string) bool {
	ok, _ := filepath.Match(".new-*", name) // the pattern is a good one
	return ok
}

// cached reports whether a file has the name of an extent.
func cached(name string) bool {
	raw, err := hex.DecodeString(name)
	return err == nil && len(raw) == 19
}
