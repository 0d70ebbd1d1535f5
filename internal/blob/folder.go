package blob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// tempDir holds half-written objects. No key reaches it: segments of keys do not
	// begin with a dot.
	tempDir = ".tmp"
	// tempAge is how old a half-written object must be before a start removes it. A
	// live writer needs seconds.
	tempAge = 24 * time.Hour
	// maxSynced bounds the memory for the names of folders known to be durable.
	maxSynced = 4096
)

// Folder is a Store in a local folder. Objects are files of mode 0600.
//
// Durability: an object's bytes and its name are on disk (fsync of file and of every
// folder on the way) before a put returns. Races: link(2) makes the name or fails
// with EEXIST, between processes too, on any file system with hard links.
type Folder struct {
	root *os.Root
	dir  string

	mu     sync.Mutex
	synced map[string]struct{} // folders whose names are durable up to the root
}

// OpenFolder opens the folder, making it if it does not exist, and removes
// leftovers of processes that died long ago. Shared if it cannot be used.
func OpenFolder(dir string) (*Folder, error) {
	f := &Folder{dir: dir, synced: map[string]struct{}{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, f.fail(err, "make", "")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, f.fail(err, "open", "")
	}
	f.root = root
	if err := root.Mkdir(tempDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		_ = root.Close()
		return nil, f.fail(err, "make", tempDir)
	}
	f.sweep(time.Now())
	return f, nil
}

// Close releases the folder's handle.
func (f *Folder) Close() error { return f.root.Close() }

// sweep removes what died half-written. Failing to is harmless: the next start tries again.
func (f *Folder) sweep(now time.Time) {
	entries, err := f.readDir(tempDir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > tempAge {
			_ = f.root.Remove(path.Join(tempDir, e.Name()))
		}
	}
}

// Put implements Store by an atomic rename.
func (f *Folder) Put(ctx context.Context, key string, body []byte) error {
	return f.place(ctx, key, body, f.root.Rename)
}

// PutIfAbsent implements Store by link(2).
func (f *Folder) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	return f.place(ctx, key, body, f.root.Link)
}

// place writes a durable temporary file and gives it its name by rename or link.
func (f *Folder) place(ctx context.Context, key string, body []byte, name func(from, to string) error) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if err := ended(ctx, "write "+key); err != nil {
		return err
	}
	temp, err := f.writeTemp(body)
	if err != nil {
		return f.fail(err, "write", key)
	}
	defer func() { _ = f.root.Remove(temp) }()
	err = name(temp, key)
	if errors.Is(err, fs.ErrNotExist) {
		if err := f.root.MkdirAll(path.Dir(key), 0o700); err != nil {
			return f.fail(err, "make the folder of", key)
		}
		err = name(temp, key)
	}
	exists := errors.Is(err, fs.ErrExist)
	if err != nil && !exists {
		return f.fail(err, "name", key)
	}
	// The loser of a race syncs as well: it relies on the winner's object from now on.
	if err := f.sync(path.Dir(key)); err != nil {
		return f.fail(err, "make durable the folder of", key)
	}
	if exists {
		return ErrExists
	}
	return nil
}

func (f *Folder) writeTemp(body []byte) (string, error) {
	var id [16]byte
	_, _ = rand.Read(id[:])
	name := path.Join(tempDir, hex.EncodeToString(id[:]))
	file, err := f.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	_, err = file.Write(body)
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = f.root.Remove(name)
		return "", err
	}
	return name, nil
}

// sync makes the names in dir durable, and dir's own name up to the root if this
// process has not seen to that before.
func (f *Folder) sync(dir string) error {
	if err := f.fsync(dir); err != nil {
		return err
	}
	f.mu.Lock()
	_, known := f.synced[dir]
	f.mu.Unlock()
	if known {
		return nil
	}
	for up := dir; up != "."; {
		up = path.Dir(up)
		if err := f.fsync(up); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.synced) >= maxSynced {
		clear(f.synced)
	}
	f.synced[dir] = struct{}{}
	return nil
}

func (f *Folder) fsync(dir string) error {
	d, err := f.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Get implements Store.
func (f *Folder) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, tenantry.Errorf(tenantry.Invalid, "read %s from offset %d", key, offset)
	}
	if err := ended(ctx, "read "+key); err != nil {
		return nil, err
	}
	file, err := f.root.Open(key)
	if err != nil {
		return nil, f.fail(err, "open", key)
	}
	if info, err := file.Stat(); err != nil || info.IsDir() {
		_ = file.Close()
		if err != nil {
			return nil, f.fail(err, "open", key)
		}
		return nil, ErrNotFound
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		_ = file.Close()
		return nil, f.fail(err, "seek in", key)
	}
	var r io.Reader = file
	if n >= 0 {
		r = io.LimitReader(file, n)
	}
	return &fileReader{ctx: ctx, r: r, file: file, f: f, key: key}, nil
}

// fileReader gives a file's errors their kinds and ends with its context.
type fileReader struct {
	ctx  context.Context
	r    io.Reader
	file *os.File
	f    *Folder
	key  string
}

func (r *fileReader) Read(p []byte) (int, error) {
	if err := ended(r.ctx, "read "+r.key); err != nil {
		return 0, err
	}
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // only io.EOF itself is an end; a wrapped one is a cut connection
		err = r.f.fail(err, "read", r.key)
	}
	return n, err
}

func (r *fileReader) Close() error { return r.file.Close() }

// Stat implements Store.
func (f *Folder) Stat(ctx context.Context, key string) (Info, error) {
	if err := checkKey(key); err != nil {
		return Info{}, err
	}
	if err := ended(ctx, "look at "+key); err != nil {
		return Info{}, err
	}
	info, err := f.root.Stat(key)
	if err != nil {
		return Info{}, f.fail(err, "look at", key)
	}
	if info.IsDir() {
		return Info{}, ErrNotFound
	}
	return Info{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

// Delete implements Store.
func (f *Folder) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if err := ended(ctx, "delete "+key); err != nil {
		return err
	}
	if err := f.root.Remove(key); err != nil {
		if err := f.fail(err, "delete", key); !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// List implements Store. One folder's names are in memory at a time.
func (f *Folder) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := checkPrefix(prefix); err != nil {
			yield(Info{}, err)
			return
		}
		dir, begin := path.Split(prefix)
		f.walk(ctx, dir, begin, yield)
	}
}

// walk yields what is under dir ("" or ending with a slash) and begins with begin.
// It reports whether to go on.
func (f *Folder) walk(ctx context.Context, dir, begin string, yield func(Info, error) bool) bool {
	if err := ended(ctx, "list "+dir); err != nil {
		return yield(Info{}, err) && false
	}
	names, err := f.names(dir)
	if err != nil {
		return yield(Info{}, err) && false
	}
	for _, n := range names {
		if !strings.HasPrefix(n.name, begin) {
			continue
		}
		if n.entry.IsDir() {
			if !f.walk(ctx, dir+n.name, "", yield) {
				return false
			}
			continue
		}
		info, err := n.entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return yield(Info{}, f.fail(err, "look at", dir+n.name)) && false
		}
		if !yield(Info{Key: dir + n.name, Size: info.Size(), Modified: info.ModTime()}, nil) {
			return false
		}
	}
	return true
}

type named struct {
	name  string // with a slash at the end if it is a folder
	entry fs.DirEntry
}

// names reads a folder in the order of keys: "a-b" comes before "a/c", because a
// folder sorts with its slash.
func (f *Folder) names(dir string) ([]named, error) {
	entries, err := f.readDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, f.fail(err, "list", dir)
	}
	names := make([]named, 0, len(entries))
	for _, e := range entries {
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir():
			names = append(names, named{e.Name() + "/", e})
		default:
			names = append(names, named{e.Name(), e})
		}
	}
	slices.SortFunc(names, func(a, b named) int { return strings.Compare(a.name, b.name) })
	return names, nil
}

func (f *Folder) readDir(dir string) ([]fs.DirEntry, error) {
	d, err := f.root.Open(path.Clean(dir))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadDir(-1)
}

// Folders implements Store.
func (f *Folder) Folders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		err := checkFolder(prefix)
		if err == nil {
			err = ended(ctx, "list "+prefix)
		}
		var names []named
		if err == nil {
			names, err = f.names(prefix)
		}
		if err != nil {
			yield("", err)
			return
		}
		for _, n := range names {
			if n.entry.IsDir() && !yield(strings.TrimSuffix(n.name, "/"), nil) {
				return
			}
		}
	}
}

// fail turns an error of the file system into one that says what to do next.
func (f *Folder) fail(err error, action, key string) error {
	op := action + " " + path.Join(f.dir, key)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return tenantry.E(tenantry.Shared, op+": disk full", err)
	case errors.Is(err, fs.ErrNotExist) && key != "", errors.Is(err, syscall.ENOTDIR) && key != "":
		return ErrNotFound
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EMLINK):
		if action == "name" {
			return tenantry.E(tenantry.Shared, op+": the file system has no hard links, which decide races between workers", err)
		}
	case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return tenantry.E(tenantry.Transient, op, err)
	}
	return tenantry.E(tenantry.Shared, op, err)
}
