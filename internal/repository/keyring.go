package repository

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/zeebo/blake3"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Keyring wraps and unwraps tenant keys: a local key file, KMS, or an escrow copy. Called
// once per opened repository, from any goroutine.
type Keyring interface {
	// Wrap encrypts a fresh tenant key under the tenant's own wrapping key, creating
	// that if the tenant has none, and names the wrapping key.
	Wrap(ctx context.Context, tenant tenantry.TenantID, key []byte) (wrapped []byte, keyID string, err error)
	// Unwrap is the inverse. WrongKey if the ring has no such key, Corrupt if it has the
	// key that the name means and what is wrapped was tampered with.
	// Both: Shared with the code "key" if the ring itself cannot be used.
	Unwrap(ctx context.Context, tenant tenantry.TenantID, keyID string, wrapped []byte) ([]byte, error)
}

// lockWait bounds how long a process waits for another one that writes the key file.
const lockWait = 10 * time.Second

// keyFile is a Keyring in a JSON file (docs/FORMAT.md, "Key file"). Every change is
// made under flock(2) on a file beside it, on what the file holds at that moment, and
// replaces it whole, so that several processes can share it.
type keyFile struct {
	path string
	mu   sync.Mutex
	doc  keyFileJSON // what was read last; never changed
	read stamp       // of the file that was read
}

// stamp tells one state of the file from another: it is always replaced whole.
type stamp struct {
	modified time.Time
	size     int64
	inode    uint64
}

// OpenKeyFile opens (and with create, makes, mode 0600) a local key file: one wrapping
// key of 32 bytes per tenant. Losing the file loses every backup; destroying a tenant's
// entry destroys that tenant's backups for good.
//
// NotFound if there is none and create is false; Invalid if others on the machine may
// read it or it is not a key file. A damaged entry is WrongKey when its key is needed, and harms
// no other tenant. The ring is safe for concurrent use, by processes too.
func OpenKeyFile(path string, create bool) (KeyManager, error) {
	f := &keyFile{path: path}
	err := f.refresh()
	if tenantry.KindOf(err) != tenantry.NotFound || !create {
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockWait)
	defer cancel()
	err = f.locked(ctx, func() error {
		if err := f.refresh(); tenantry.KindOf(err) != tenantry.NotFound {
			return err // another process has made it meanwhile
		}
		return f.write(keyFileJSON{Version: 1, Tenants: map[tenantry.TenantID]*keyRing{}})
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Wrap implements Keyring.
func (f *keyFile) Wrap(ctx context.Context, tenant tenantry.TenantID, key []byte) ([]byte, string, error) {
	id, wrapping, err := f.newest(ctx, tenant)
	if err != nil {
		return nil, "", err
	}
	aead, err := newAEAD(wrapping)
	if err != nil {
		return nil, "", err
	}
	return aead.Seal(nil, nil, key, wrapAD(tenant, id)), id, nil
}

// Unwrap implements Keyring.
func (f *keyFile) Unwrap(_ context.Context, tenant tenantry.TenantID, keyID string, wrapped []byte) ([]byte, error) {
	wrapping, err := f.find(tenant, keyID)
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(wrapping)
	if err != nil {
		return nil, err
	}
	key, err := aead.Open(nil, nil, wrapped, wrapAD(tenant, keyID))
	if err != nil {
		// The key's name is its fingerprint, so it is the right one.
		return nil, tenantry.Errorf(tenantry.Corrupt, "what wrapping key %s of tenant %s wrapped was tampered with", keyID, tenant)
	}
	return key, nil
}

// wrapAD binds a wrapped key to its tenant and wrapping key.
func wrapAD(tenant tenantry.TenantID, keyID string) []byte {
	return []byte("tenantry wrap v1 " + string(tenant) + " " + keyID)
}

// keyFingerprint names a wrapping key so that the name proves the key.
func keyFingerprint(key []byte) string {
	var sum [16]byte
	blake3.DeriveKey("tenantry 2026 wrapping key name v1", key, sum[:])
	return "file-" + hex.EncodeToString(sum[:])
}

// find returns a wrapping key, reading the file again if another process has changed it: a
// key that was destroyed must not live on in memory.
func (f *keyFile) find(tenant tenantry.TenantID, id string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now, err := stampOf(f.path); err != nil || now != f.read {
		if err := f.readLocked(); err != nil {
			return nil, keyless(err)
		}
	}
	return f.doc.Tenants[tenant].find(f.path, tenant, id)
}

// newest returns the key that wraps for a tenant, making the tenant's first one.
func (f *keyFile) newest(ctx context.Context, tenant tenantry.TenantID) (id string, key []byte, err error) {
	err = f.locked(ctx, func() error {
		doc, err := f.load()
		if err != nil {
			return err
		}
		k, ok, err := doc.Tenants[tenant].newest(f.path, tenant)
		if ok || err != nil {
			id, key = k.ID, k.Key
			return err
		}
		if id, key, err = doc.add(f.path, tenant); err != nil {
			return err
		}
		return f.write(doc)
	})
	return id, key, keyless(err)
}

// Rotate implements KeyManager.
func (f *keyFile) Rotate(ctx context.Context, tenant tenantry.TenantID) (id string, err error) {
	err = f.locked(ctx, func() error {
		doc, err := f.load()
		if err != nil {
			return err
		}
		if id, _, err = doc.add(f.path, tenant); err != nil {
			return err
		}
		return f.write(doc)
	})
	return id, keyless(err)
}

// WrappingKeys implements KeyManager.
func (f *keyFile) WrappingKeys(_ context.Context, tenant tenantry.TenantID) ([]string, error) {
	doc, err := f.load()
	if err != nil {
		return nil, keyless(err)
	}
	return doc.Tenants[tenant].names(), nil
}

// Destroy implements KeyManager: the entry leaves the file at once. Copies of the file
// still have it.
func (f *keyFile) Destroy(ctx context.Context, tenant tenantry.TenantID, id string) (time.Time, error) {
	err := f.locked(ctx, func() error {
		doc, err := f.load()
		if err != nil {
			return err
		}
		if doc.Tenants[tenant].without(id) {
			delete(doc.Tenants, tenant)
		}
		return f.write(doc)
	})
	return time.Now(), keyless(err)
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	s := stamp{modified: info.ModTime(), size: info.Size()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s, nil
}

// keyless is the error of a key file that was good when it was opened and is not now: it is
// nobody's repository that is wrong, so it hits every tenant.
func keyless(err error) error {
	switch tenantry.KindOf(err) {
	case tenantry.Shared, tenantry.NotFound, tenantry.Invalid:
		return &tenantry.Error{Kind: tenantry.Shared, Op: "use the key file", Code: "key", Err: err}
	}
	return err
}

func (f *keyFile) refresh() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.readLocked()
}

// readLocked reads the file again.
func (f *keyFile) readLocked() error {
	read, _ := stampOf(f.path) // before the content: a change between the two is read again
	doc, err := f.load()
	if err != nil {
		return err
	}
	f.read, f.doc = read, doc
	return nil
}

// load reads and checks the file.
func (f *keyFile) load() (keyFileJSON, error) {
	var doc keyFileJSON
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return doc, tenantry.E(tenantry.NotFound, "open key file", err)
	}
	if err != nil {
		return doc, tenantry.E(tenantry.Shared, "open key file", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return doc, tenantry.Errorf(tenantry.Invalid, "key file %s can be used by everybody on this machine (mode %04o): chmod 600 it", f.path, info.Mode().Perm())
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return doc, tenantry.E(tenantry.Shared, "read key file", err)
	}
	// The decoder's errors may quote the file, so they are not passed on.
	if json.Unmarshal(text, &doc) != nil || doc.Version != 1 {
		return doc, tenantry.Errorf(tenantry.Invalid, "key file %s is not a key file of version 1", f.path)
	}
	for tenant, ring := range doc.Tenants {
		if ring == nil { // the decoder does not ask a pointer about null
			doc.Tenants[tenant] = &keyRing{spoilt: json.RawMessage("null")}
		}
	}
	if doc.Tenants == nil {
		doc.Tenants = map[tenantry.TenantID]*keyRing{}
	}
	return doc, nil
}

// write replaces the file, durably and whole. The caller holds the file lock.
func (f *keyFile) write(doc keyFileJSON) error {
	fail := func(err error) error { return tenantry.E(tenantry.Shared, "write key file "+f.path, err) }
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return fail(err)
	}
	temp, err := os.CreateTemp(filepath.Dir(f.path), ".keys-*") // mode 0600
	if err != nil {
		return fail(err)
	}
	defer func() { _ = os.Remove(temp.Name()) }() // fails once it has its final name
	_, err = temp.Write(append(text, '\n'))
	if err == nil {
		err = temp.Sync()
	}
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp.Name(), f.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(f.path))
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// locked runs fn while this process alone holds the lock file.
func (f *keyFile) locked(ctx context.Context, fn func() error) error {
	lock, err := os.OpenFile(f.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return tenantry.E(tenantry.Shared, "lock key file", err)
	}
	defer lock.Close() // releases the lock
	deadline := time.NewTimer(lockWait)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return fn()
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return tenantry.E(tenantry.Shared, "lock key file "+f.path, err)
		}
		select {
		case <-ctx.Done():
			return tenantry.E(tenantry.KindOf(ctx.Err()), "wait for the lock of key file "+f.path, ctx.Err())
		case <-deadline.C:
			return tenantry.Errorf(tenantry.Shared, "key file %s is locked by another process for more than %v", f.path, lockWait)
		case <-tick.C:
		}
	}
}
