package repository

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

// KeyManager is a Keyring that can change a tenant's wrapping keys. Safe for concurrent
// use; errors as those of Keyring.
type KeyManager interface {
	Keyring
	// Rotate makes a new wrapping key for the tenant: Wrap uses it from now on, Unwrap
	// knows the earlier ones still.
	Rotate(ctx context.Context, tenant tenantry.TenantID) (keyID string, err error)
	// WrappingKeys lists those of the tenant's wrapping keys that the ring itself knows
	// of, oldest first.
	WrappingKeys(ctx context.Context, tenant tenantry.TenantID) ([]string, error)
	// Destroy destroys a wrapping key. What it returns is when that can no longer be
	// undone: now, or the end of a waiting period. Absent is fine.
	Destroy(ctx context.Context, tenant tenantry.TenantID, keyID string) (final time.Time, err error)
}

// KeyStatus describes a tenant's key object.
type KeyStatus struct {
	Tenant      tenantry.TenantID
	Object      string // its name in the store
	Generation  int64  // from 1; each rotation adds one
	WrappingKey string
	Earlier     []string // wrapping keys that open copies of earlier generations
	DataKeys    int      // new objects are sealed under the last one
	Changed     time.Time
}

// CheckKey proves that the ring opens the tenant's key object, and extends its lock where
// the store locks. NotFound without a repository, WrongKey if the ring's key does not
// fit, Corrupt if the object is damaged or tampered with.
func CheckKey(ctx context.Context, store blob.Store, ring Keyring, tenant tenantry.TenantID) (KeyStatus, error) {
	object, material, err := openKeyObject(ctx, store, ring, tenant)
	if err != nil {
		return KeyStatus{}, err
	}
	if err := blob.Retain(ctx, store, object.name); err != nil {
		return KeyStatus{}, tenantry.Errorf(tenantry.KindOf(err), "extend the lock of key object %s: %w", object.name, err)
	}
	return object.status(material), nil
}

func openKeyObject(ctx context.Context, store blob.Store, ring Keyring, tenant tenantry.TenantID) (*keyObject, *pb.KeyMaterial, error) {
	object, err := readKeyObject(ctx, store, tenant)
	if isNotFound(err) {
		return nil, nil, tenantry.E(tenantry.NotFound, "open the key object of tenant "+string(tenant), err)
	}
	if err != nil {
		return nil, nil, err
	}
	material, err := object.unwrap(ctx, ring)
	if err != nil {
		return nil, nil, err
	}
	if _, err := newKeys(material); err != nil {
		return nil, nil, tenantry.Errorf(tenantry.KindOf(err), "open key object %s: %w", object.name, err)
	}
	return object, material, nil
}

func (o *keyObject) status(m *pb.KeyMaterial) KeyStatus {
	return KeyStatus{
		Tenant: tenantry.TenantID(o.Tenant), Object: o.name, Generation: o.Generation, WrappingKey: o.WrappingKeyId,
		Earlier: o.EarlierKeyIds, DataKeys: len(m.DataKeys), Changed: time.UnixMicro(o.Created).UTC(),
	}
}

// RotateWrappingKey puts the tenant's keys under a new wrapping key. No data is touched:
// one listing, a GET, a conditional PUT. The earlier wrapping key stays until
// RetireWrappingKeys, because copies of the bucket may still need it. Conflict if another
// rotation was faster.
func RotateWrappingKey(ctx context.Context, store blob.Store, ring KeyManager, tenant tenantry.TenantID) (KeyStatus, error) {
	object, material, err := openKeyObject(ctx, store, ring, tenant)
	if err != nil {
		return KeyStatus{}, err
	}
	if _, err := ring.Rotate(ctx, tenant); err != nil {
		return KeyStatus{}, tenantry.Errorf(tenantry.KindOf(err), "make a new wrapping key for tenant %s: %w", tenant, err)
	}
	return succeed(ctx, store, ring, object, material)
}

// RotateDataKey makes a new data key: objects are sealed under it by every repository
// opened from now on, and by others when they are opened again. What was sealed before
// stays readable, and names of content stay what they were, so that nothing is stored
// twice. Conflict if another rotation was faster.
func RotateDataKey(ctx context.Context, store blob.Store, ring Keyring, tenant tenantry.TenantID) (KeyStatus, error) {
	object, material, err := openKeyObject(ctx, store, ring, tenant)
	if err != nil {
		return KeyStatus{}, err
	}
	if len(material.DataKeys) >= maxDataKeys {
		return KeyStatus{}, tenantry.Errorf(tenantry.Invalid, "tenant %s has %d data keys, the most there can be", tenant, maxDataKeys)
	}
	addDataKey(material, time.Now())
	return succeed(ctx, store, ring, object, material)
}

// RetireWrappingKeys destroys the tenant's wrapping keys but the one in use, which is
// proved to open the key object first, and returns those. Copies of earlier generations
// of the key object are unreadable from then on.
func RetireWrappingKeys(ctx context.Context, store blob.Store, ring KeyManager, tenant tenantry.TenantID) ([]string, error) {
	object, material, err := openKeyObject(ctx, store, ring, tenant)
	if err != nil {
		return nil, err
	}
	known, err := ring.WrappingKeys(ctx, tenant)
	if err != nil {
		return nil, err
	}
	var gone []string
	for _, id := range union(object.EarlierKeyIds, known) {
		if id == object.WrappingKeyId {
			continue
		}
		if _, err := ring.Destroy(ctx, tenant, id); err != nil {
			return gone, tenantry.Errorf(tenantry.KindOf(err), "destroy wrapping key %s of tenant %s: %w", id, tenant, err)
		}
		gone = append(gone, id)
	}
	if len(object.EarlierKeyIds) == 0 {
		return gone, nil
	}
	object.EarlierKeyIds = nil
	_, err = succeed(ctx, store, ring, object, material)
	return gone, err
}

// succeed commits the next generation of a key object: exactly one rotation wins a
// generation, so that no data key is ever lost to another rotation. Then the earlier ones
// go, as far as locks let them.
func succeed(ctx context.Context, store blob.Store, ring Keyring, old *keyObject, material *pb.KeyMaterial) (KeyStatus, error) {
	tenant := tenantry.TenantID(old.Tenant)
	next := &pb.KeyObject{Tenant: old.Tenant, Generation: old.Generation + 1, EarlierKeyIds: old.EarlierKeyIds}
	body, err := sealKeyObject(ctx, ring, next, material)
	if err != nil {
		return KeyStatus{}, err
	}
	if next.WrappingKeyId != old.WrappingKeyId {
		next.EarlierKeyIds = union(old.EarlierKeyIds, []string{old.WrappingKeyId})
		if body, err = sealKeyObject(ctx, ring, next, material); err != nil {
			return KeyStatus{}, err
		}
	}
	name := string(tenant) + "/" + keyObjectName(next.Generation)
	if err := putKeyObject(ctx, store, name, body); err != nil {
		return KeyStatus{}, err
	}
	object, proved, err := openKeyObject(ctx, store, ring, tenant) // never give up the old one untried
	if err != nil {
		return KeyStatus{}, tenantry.Errorf(tenantry.KindOf(err), "open the new key object: %w", err)
	}
	if !descends(object, proved, next, material) {
		// Two faster rotations had already removed the generation whose name was taken for free.
		if object.Generation > next.Generation {
			_ = store.Delete(ctx, name) // nobody reads it beside a newer one, and the next rotation tries again
		}
		return KeyStatus{}, tenantry.Errorf(tenantry.Conflict, "the keys of tenant %s were rotated by others meanwhile: look, and try again", tenant)
	}
	// Oldest first: a listing that loses sight of a generation because it goes never takes an earlier one, which
	// is gone by then, for the newest.
	for n := int64(1); n <= old.Generation; n++ {
		err := store.Delete(ctx, string(tenant)+"/"+keyObjectName(n))
		if errors.Is(err, blob.ErrLocked) {
			continue
		}
		if err != nil {
			return object.status(proved), tenantry.Errorf(tenantry.KindOf(err), "remove the earlier key object: %w", err)
		}
	}
	return object.status(proved), nil
}

// descends reports whether the newest key object has all that was to be committed: it is the one
// that was, or was made from it.
func descends(newest *keyObject, has *pb.KeyMaterial, next *pb.KeyObject, want *pb.KeyMaterial) bool {
	for _, d := range want.DataKeys {
		if !slices.ContainsFunc(has.DataKeys, func(h *pb.DataKey) bool { return h.Number == d.Number && bytes.Equal(h.Key, d.Key) }) {
			return false
		}
	}
	return slices.Contains(union(newest.EarlierKeyIds, []string{newest.WrappingKeyId}), next.WrappingKeyId)
}

// putKeyObject is the conditional PUT of a generation, until its outcome is known.
func putKeyObject(ctx context.Context, store blob.Store, name string, body []byte) error {
	var last error
	for try := range keyTries {
		if err := pause(ctx, try); err != nil {
			return err
		}
		if last = store.PutIfAbsent(ctx, name, body); last == nil {
			return nil
		}
		if !retriable(last) {
			return last
		}
		found, err := blob.ReadAll(ctx, store, name, maxKeyObject)
		switch {
		case err == nil && bytes.Equal(found, body):
			return nil
		case err == nil:
			return tenantry.Errorf(tenantry.Conflict, "key object %s was written by another rotation: look, and try again", name)
		case !isNotFound(err) && !retriable(err):
			return err
		}
	}
	return tenantry.E(tenantry.Transient, "write key object "+name, last)
}

// maxDataKeys is what fits an object's header: numbers from 1 of two bytes; and far more
// than a rotation each day for ten years.
const maxDataKeys = 4096

func addDataKey(m *pb.KeyMaterial, now time.Time) {
	var newest uint32
	for _, d := range m.DataKeys {
		newest = max(newest, d.Number)
	}
	m.DataKeys = append(m.DataKeys, &pb.DataKey{Number: newest + 1, Key: randomKey(), Created: now.UnixMicro()})
}

func randomKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails since Go 1.24
	return key
}

// union returns the words of both lists, each once, in order.
func union(a, b []string) []string {
	var out []string
	for _, id := range slices.Concat(a, b) {
		if id != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}
