package blobtest

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // as S3 does
	"encoding/hex"
	"io"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Memory is a Store in memory that behaves as S3 does, for proofs that run one scenario
// thousands of times. Unlike a folder it can be copied in no time, and all that it does is
// in memory, so that it can be used under a virtual clock (testing/synctest). What a bucket
// or a disk really does, tests of the real ones show. Safe for concurrent use.
type Memory struct {
	mu      sync.Mutex
	objects map[string]memoryObject
}

type memoryObject struct {
	body     []byte // never changed
	modified time.Time
	etag     string
}

func newMemoryObject(body []byte) memoryObject {
	sum := md5.Sum(body) //nolint:gosec // as S3 does
	return memoryObject{bytes.Clone(body), time.Now(), hex.EncodeToString(sum[:])}
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{objects: map[string]memoryObject{}} }

// Clone returns a store with the same objects, which from now on goes its own way.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{objects: maps.Clone(m.objects)}
}

// Bodies returns the objects under a prefix by key. The bodies are the store's own: not to be changed.
func (m *Memory) Bodies(prefix string) map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string][]byte{}
	for key, o := range m.objects {
		if strings.HasPrefix(key, prefix) {
			out[key] = o.body
		}
	}
	return out
}

// Put implements blob.Store.
func (m *Memory) Put(ctx context.Context, key string, body []byte) error {
	if err := admit(ctx, key, memoryKey); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[key] = newMemoryObject(body)
	return nil
}

// PutIfAbsent implements blob.Store.
func (m *Memory) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	if err := admit(ctx, key, memoryKey); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.objects[key]; taken {
		return blob.ErrExists
	}
	m.objects[key] = newMemoryObject(body)
	return nil
}

// Get implements blob.Store.
func (m *Memory) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, error) {
	if offset < 0 {
		return nil, tenantry.Errorf(tenantry.Invalid, "read %s from %d", key, offset)
	}
	o, err := m.find(ctx, key)
	if err != nil {
		return nil, err
	}
	rest := o.body[min(offset, int64(len(o.body))):]
	if n >= 0 {
		rest = rest[:min(n, int64(len(rest)))]
	}
	return io.NopCloser(bytes.NewReader(rest)), nil
}

// Stat implements blob.Store.
func (m *Memory) Stat(ctx context.Context, key string) (blob.Info, error) {
	o, err := m.find(ctx, key)
	if err != nil {
		return blob.Info{}, err
	}
	return blob.Info{Key: key, Size: int64(len(o.body)), Modified: o.modified}, nil
}

func (m *Memory) find(ctx context.Context, key string) (memoryObject, error) {
	if err := admit(ctx, key, memoryKey); err != nil {
		return memoryObject{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return o, blob.ErrNotFound
	}
	return o, nil
}

// List implements blob.Store. It yields what was there when it began.
func (m *Memory) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for _, info := range m.infos(prefix) {
			if err := admit(ctx, prefix, memoryPrefix); err != nil {
				yield(blob.Info{}, err)
				return
			}
			if !yield(info, nil) {
				return
			}
		}
		if err := admit(ctx, prefix, memoryPrefix); err != nil {
			yield(blob.Info{}, err)
		}
	}
}

func (m *Memory) infos(prefix string) []blob.Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []blob.Info
	for key, o := range m.objects {
		if strings.HasPrefix(key, prefix) {
			out = append(out, blob.Info{Key: key, Size: int64(len(o.body)), Modified: o.modified, ETag: o.etag})
		}
	}
	slices.SortFunc(out, func(a, b blob.Info) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// Folders implements blob.Store.
func (m *Memory) Folders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := admit(ctx, prefix, memoryFolder); err != nil {
			yield("", err)
			return
		}
		names := map[string]bool{}
		for _, info := range m.infos(prefix) {
			if name, _, below := strings.Cut(info.Key[len(prefix):], "/"); below {
				names[name] = true
			}
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// Delete implements blob.Store.
func (m *Memory) Delete(ctx context.Context, key string) error {
	if err := admit(ctx, key, memoryKey); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	return nil
}

// The rules of package blob for keys, prefixes and folders.
var (
	memoryKey    = regexp.MustCompile(`^([!-\-0-\[\]-~][!-.0-\[\]-~]*/)*[!-\-0-\[\]-~][!-.0-\[\]-~]*$`)
	memoryPrefix = regexp.MustCompile(`^([!-\-0-\[\]-~][!-.0-\[\]-~]*/)*([!-\-0-\[\]-~][!-.0-\[\]-~]*)?$`)
	memoryFolder = regexp.MustCompile(`^([!-\-0-\[\]-~][!-.0-\[\]-~]*/)*$`)
)

// admit refuses keys that break the rules, and callers whose context has ended.
func admit(ctx context.Context, key string, rule *regexp.Regexp) error {
	if !rule.MatchString(key) || len(key) > 900 {
		return tenantry.Errorf(tenantry.Invalid, "key %q breaks the rules of package blob", key)
	}
	if err := ctx.Err(); err != nil {
		return tenantry.E(tenantry.KindOf(err), "blobtest: use a store in memory", err)
	}
	return nil
}
