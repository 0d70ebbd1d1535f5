package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Certificate says what was destroyed of a tenant and what remains, unreadable. It is
// signed by who made it (see the command line).
type Certificate struct {
	Version int               `json:"version"`
	Tenant  tenantry.TenantID `json:"tenant"`
	Store   string            `json:"store"`
	Begun   time.Time         `json:"begun"`
	Ended   time.Time         `json:"ended"`
	// Keys are the wrapping keys that were destroyed.
	Keys []DestroyedKey `json:"keys"`
	// KeyObjects are what those keys protected, by digest.
	KeyObjects []KeyDigest `json:"key_objects"`
	// Remains is the encrypted rest that lies in the store.
	Remains Remains `json:"remains"`
	// InventorySHA256 is the digest of the list of every version of every object.
	InventorySHA256 string `json:"inventory_sha256"`
	// Statements say in words what this proves and what it cannot.
	Statements []string `json:"statements"`
}

// DestroyedKey is one wrapping key.
type DestroyedKey struct {
	ID    string    `json:"id"`
	Final time.Time `json:"final"` // when it can no longer be undone
}

// KeyDigest names one version of a key object.
type KeyDigest struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	SHA256  string `json:"sha256,omitempty"` // empty for earlier versions, which are not read
}

// Remains counts what is left.
type Remains struct {
	Objects        int64     `json:"objects"`
	Versions       int64     `json:"versions"` // of them; as many as objects where the store keeps none
	Bytes          int64     `json:"bytes"`
	Locked         int64     `json:"locked"`
	LockedUntil    time.Time `json:"locked_until,omitzero"`
	Held           int64     `json:"held"` // under a legal hold
	Replicas       []string  `json:"replicas,omitempty"`
	ReplicasKnown  bool      `json:"replicas_known"`
	VersionsListed bool      `json:"versions_listed"`
}

// lockReads is how many locks are read at once.
const lockReads = 32

// Shred destroys all wrapping keys of a tenant, which makes every backup of it unreadable
// for good, wherever a copy lies, and returns the certificate. Nothing is deleted. The
// inventory, a line for each version of each object, goes to w.
//
// It may be repeated after an error. Shred fails if the tenant's key still opens
// afterwards. Running programs that have it open keep the data key in memory until they
// open the repository again (see package app).
func Shred(ctx context.Context, store blob.Store, ring KeyManager, tenant tenantry.TenantID, where string, w io.Writer) (Certificate, error) {
	cert := Certificate{Version: 1, Tenant: tenant, Store: where, Begun: time.Now().UTC().Truncate(time.Second)}
	object, err := readKeyObject(ctx, store, tenant)
	if isNotFound(err) {
		return cert, tenantry.E(tenantry.NotFound, "shred tenant "+string(tenant), err)
	}
	if err != nil {
		return cert, err
	}
	if err := cert.take(ctx, store, object, w); err != nil {
		return cert, fmt.Errorf("list what remains of tenant %s: %w", tenant, err)
	}
	known, err := ring.WrappingKeys(ctx, tenant)
	if err != nil {
		return cert, err
	}
	for _, id := range union(union(object.EarlierKeyIds, []string{object.WrappingKeyId}), known) {
		final, err := ring.Destroy(ctx, tenant, id)
		if err != nil {
			return cert, tenantry.Errorf(tenantry.KindOf(err), "destroy wrapping key %s of tenant %s: %w", id, tenant, err)
		}
		cert.Keys = append(cert.Keys, DestroyedKey{ID: id, Final: final.UTC().Truncate(time.Second)})
	}
	_, _, err = openKeyObject(ctx, store, ring, tenant)
	if tenantry.KindOf(err) != tenantry.WrongKey {
		return cert, tenantry.Errorf(tenantry.Internal, "the key object of tenant %s does not say that its key is gone: %v", tenant, err)
	}
	cert.Ended = time.Now().UTC().Truncate(time.Second)
	cert.state()
	return cert, nil
}

// take lists every version of every object and counts what keeps it.
func (c *Certificate) take(ctx context.Context, store blob.Store, object *keyObject, w io.Writer) error {
	sum := sha256.New()
	list := &inventory{cert: c, store: store, out: io.MultiWriter(w, sum), now: time.Now()}
	locker, locks := store.(blob.Locker)
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(lockReads)
	var failed error
	_, c.Remains.VersionsListed = store.(blob.Versioned)
	for v, err := range allVersions(ctx, store, string(c.Tenant)+"/") {
		if failed = err; err != nil || inner.Err() != nil {
			break
		}
		if failed = list.add(v); failed != nil {
			break
		}
		if locks && !v.Deleted {
			group.Go(func() error { return list.lock(inner, locker, v) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	digest := sha256.Sum256(object.body)
	c.KeyObjects = append(c.KeyObjects, KeyDigest{Name: object.name, SHA256: hex.EncodeToString(digest[:])})
	c.InventorySHA256 = hex.EncodeToString(sum.Sum(nil))
	if r, ok := store.(blob.Replicated); ok {
		replicas, err := r.Replicas(ctx)
		c.Remains.Replicas, c.Remains.ReplicasKnown = replicas, err == nil // unknown is stated
	}
	return nil
}

// allVersions lists versions where the store keeps them, else objects.
func allVersions(ctx context.Context, store blob.Store, prefix string) iter.Seq2[blob.Version, error] {
	if v, ok := store.(blob.Versioned); ok {
		return v.Versions(ctx, prefix)
	}
	return func(yield func(blob.Version, error) bool) {
		for info, err := range store.List(ctx, prefix) {
			if !yield(blob.Version{Info: info, Latest: true}, err) || err != nil {
				return
			}
		}
	}
}

type inventory struct {
	cert  *Certificate
	store blob.Store
	out   io.Writer
	now   time.Time
	mu    sync.Mutex // guards the counts of locks
}

func (i *inventory) add(v blob.Version) error {
	r := &i.cert.Remains
	i.mu.Lock()
	if v.Latest {
		r.Objects++
	}
	if !v.Deleted {
		r.Versions++
		r.Bytes += v.Size
	}
	i.mu.Unlock()
	name := strings.TrimPrefix(v.Key, string(i.cert.Tenant)+"/")
	if keyGeneration(name) > 0 && v.ID != "" && !v.Deleted {
		i.cert.KeyObjects = append(i.cert.KeyObjects, KeyDigest{Name: v.Key, Version: v.ID})
	}
	_, err := fmt.Fprintf(i.out, "%s\t%s\t%d\t%t\n", v.Key, v.ID, v.Size, v.Deleted)
	return err
}

func (i *inventory) lock(ctx context.Context, locker blob.Locker, v blob.Version) error {
	lock, err := locker.LockOf(ctx, v.Key, v.ID)
	if isNotFound(err) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	r := &i.cert.Remains
	if lock.Mode != blob.NoLock && lock.Until.After(i.now) {
		r.Locked++
		if lock.Until.After(r.LockedUntil) {
			r.LockedUntil = lock.Until.UTC()
		}
	}
	if lock.Hold {
		r.Held++
	}
	return nil
}

// state puts into words what was done, and what nobody can know from here.
func (c *Certificate) state() {
	r := c.Remains
	say := func(format string, args ...any) { c.Statements = append(c.Statements, fmt.Sprintf(format, args...)) }
	final := c.Ended
	for _, k := range c.Keys {
		if k.Final.After(final) {
			final = k.Final
		}
	}
	say("All %d wrapping keys of tenant %s that this fleet knows were destroyed; the tenant's key object no longer opens.", len(c.Keys), c.Tenant)
	if final.After(c.Ended) {
		say("Until %s the key service can still undo that; from then on nobody can.", final.Format(time.RFC3339))
	}
	say("%d objects in %d versions (%d bytes) remain in the store. They are encrypted (AES-256-GCM) under keys that only the destroyed keys opened.", r.Objects, r.Versions, r.Bytes)
	if !r.VersionsListed {
		say("The store has no versions and no object locks.")
	}
	if r.Locked > 0 {
		say("%d versions are locked, the last until %s: they cannot be deleted before.", r.Locked, r.LockedUntil.Format(time.RFC3339))
	}
	if r.Held > 0 {
		say("%d versions are under a legal hold, which has no end.", r.Held)
	}
	switch {
	case len(r.Replicas) > 0:
		say("The storage copies objects to %s; copies there are as unreadable as the originals.", strings.Join(r.Replicas, ", "))
	case r.ReplicasKnown:
		say("The bucket has no replication rules.")
	default:
		say("Whether the storage copies objects elsewhere could not be learnt; any copy is as unreadable as the original.")
	}
	say("Copies of the key file and escrow copies open the backups as before: this certificate holds only once all of them are destroyed as well.")
}
