package repository

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/blake3"
	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
	pb "github.com/tenantry/tenantry/proto/repository/v1"
)

const (
	keyName  = "key"
	keyMagic = "TNRK"
	// keyVersion is the format of the key object itself.
	keyVersion = 1
	// maxKeyObject bounds the key object: a few thousand wrapped keys.
	maxKeyObject = 256 << 10
	// keyTries bounds how often a key object is written or read until its outcome is known.
	keyTries = 4
	// refetchAfter is how old a read of the key object must be before an object that is
	// sealed under an unknown key is a reason to read it again; refetchTime bounds that.
	refetchAfter = 5 * time.Second
	refetchTime  = 30 * time.Second
)

// keys are a tenant's opened keys. Safe for concurrent use: another process may rotate
// the data key while this one works, so an unknown key is looked for again.
type keys struct {
	hash []byte // 32 bytes: key of BLAKE3 for content
	gear []byte // 32 bytes: key of the chunker's table

	hashers sync.Pool // of *blake3.Hasher, keyed: making one costs more than hashing an ID

	mu      sync.RWMutex // guards what follows
	data    map[uint16][]byte
	newest  uint16
	fetched time.Time
	fetch   func(context.Context) (*keys, error) // nil: there is no more than this
}

// sealing returns the key for new objects.
func (k *keys) sealing() (uint16, []byte) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.newest, k.data[k.newest]
}

// opening returns the key of a number, reading the key object again if it may be new.
func (k *keys) opening(number uint16) ([]byte, bool) {
	k.mu.RLock()
	key, ok := k.data[number]
	k.mu.RUnlock()
	if ok || k.fetch == nil {
		return key, ok
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.data[number]; ok || time.Since(k.fetched) < refetchAfter {
		return key, ok
	}
	// Objects are opened deep below any call that has a context, and this is rare.
	ctx, cancel := context.WithTimeout(context.Background(), refetchTime)
	defer cancel()
	k.fetched = time.Now()
	if fresh, err := k.fetch(ctx); err == nil { // else the object is the one that cannot be opened
		k.data, k.newest = fresh.data, fresh.newest
	}
	key, ok = k.data[number]
	return key, ok
}

// keyObject is a key object as it was read.
type keyObject struct {
	*pb.KeyObject
	name string // within the store
	body []byte
}

// newestKeyObject finds the newest generation of a tenant's key object: one listing.
// blob.ErrNotFound if there is none.
func newestKeyObject(ctx context.Context, store blob.Store, tenant tenantry.TenantID) (name string, err error) {
	var newest int64
	for info, err := range store.List(ctx, string(tenant)+"/"+keyName) {
		if err != nil {
			return "", err
		}
		if n := keyGeneration(strings.TrimPrefix(info.Key, string(tenant)+"/")); n > newest {
			name, newest = info.Key, n
		}
	}
	if newest == 0 {
		return "", blob.ErrNotFound
	}
	return name, nil
}

// keyGeneration is the inverse of keyObjectName; 0 for other names.
func keyGeneration(name string) int64 {
	if name == keyName {
		return 1
	}
	number, ok := strings.CutPrefix(name, keyName+".")
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || n < 2 || keyObjectName(n) != name {
		return 0
	}
	return n
}

func keyObjectName(generation int64) string {
	if generation == 1 {
		return keyName
	}
	return fmt.Sprintf("%s.%010d", keyName, generation)
}

// readKeyObject reads the newest generation. A rotation may remove the one that a listing
// showed, so it looks again.
func readKeyObject(ctx context.Context, store blob.Store, tenant tenantry.TenantID) (*keyObject, error) {
	var last error
	for range keyTries {
		name, err := newestKeyObject(ctx, store, tenant)
		if err != nil {
			return nil, err
		}
		body, err := blob.ReadAll(ctx, store, name, maxKeyObject)
		if isNotFound(err) {
			last = err
			continue
		}
		if err != nil {
			return nil, err
		}
		object, err := decodeKeyObject(body)
		if err == nil && object.Tenant != string(tenant) {
			err = tenantry.Errorf(tenantry.Corrupt, "it is of tenant %q", object.Tenant)
		}
		if n := keyGeneration(strings.TrimPrefix(name, string(tenant)+"/")); err == nil && object.Generation != n {
			err = tenantry.Errorf(tenantry.Corrupt, "it is generation %d under the name of %d", object.Generation, n)
		}
		if err != nil {
			return nil, tenantry.Errorf(tenantry.KindOf(err), "open key object %s: %w", name, err)
		}
		return &keyObject{KeyObject: object, name: name, body: body}, nil
	}
	return nil, tenantry.E(tenantry.Transient, "read the key object of tenant "+string(tenant)+", which changes all the time", last)
}

// unwrap opens what is in a key object.
func (o *keyObject) unwrap(ctx context.Context, ring Keyring) (*pb.KeyMaterial, error) {
	plain, err := ring.Unwrap(ctx, tenantry.TenantID(o.Tenant), o.WrappingKeyId, o.Wrapped)
	var m pb.KeyMaterial
	if err == nil && proto.Unmarshal(plain, &m) != nil {
		err = tenantry.Errorf(tenantry.Corrupt, "its key material is no key material")
	}
	if err != nil {
		return nil, tenantry.Errorf(tenantry.KindOf(err), "open key object %s: %w", o.name, err)
	}
	return &m, nil
}

// openKeys reads the tenant's key object and unwraps what is in it.
func openKeys(ctx context.Context, store blob.Store, ring Keyring, tenant tenantry.TenantID) (*keys, error) {
	object, err := readKeyObject(ctx, store, tenant)
	if err != nil {
		return nil, err
	}
	material, err := object.unwrap(ctx, ring)
	if err != nil {
		return nil, err
	}
	k, err := newKeys(material)
	if err != nil {
		return nil, tenantry.Errorf(tenantry.KindOf(err), "open key object %s: %w", object.name, err)
	}
	k.fetched = time.Now()
	k.fetch = func(ctx context.Context) (*keys, error) { return openKeys(ctx, store, ring, tenant) }
	return k, nil
}

// createKeys writes a fresh key object if there is none, and opens whichever won: two
// workers may meet a new tenant at the same time.
func createKeys(ctx context.Context, store blob.Store, ring Keyring, tenant tenantry.TenantID) (*keys, error) {
	name := string(tenant) + "/" + keyName
	// Content without its key object is lost, or at the wrong place. A second key beside it
	// would hide that until somebody needs the backups.
	for info, err := range store.List(ctx, string(tenant)+"/") {
		if err != nil {
			return nil, err
		}
		if info.Key != name {
			return nil, tenantry.Errorf(tenantry.Corrupt, "key object %s is missing while the repository holds %s: put it back from a copy", name, info.Key)
		}
		break
	}
	material := &pb.KeyMaterial{HashSecret: randomKey()}
	addDataKey(material, time.Now())
	body, err := sealKeyObject(ctx, ring, &pb.KeyObject{Tenant: string(tenant), Generation: 1}, material)
	if err != nil {
		return nil, err
	}
	for try := range keyTries {
		if err = pause(ctx, try); err != nil {
			return nil, err
		}
		if err = store.PutIfAbsent(ctx, name, body); err != nil && !retriable(err) {
			return nil, err
		}
		k, readErr := openKeys(ctx, store, ring, tenant)
		if readErr == nil {
			return k, nil
		}
		if !errors.Is(readErr, blob.ErrNotFound) && !retriable(readErr) {
			return nil, readErr
		}
		err = errors.Join(err, readErr)
	}
	return nil, tenantry.E(tenantry.Transient, "create key object "+name, err)
}

func retriable(err error) bool {
	return errors.Is(err, blob.ErrExists) || tenantry.KindOf(err) == tenantry.Transient
}

// sealKeyObject wraps material under the ring's newest key for the tenant and completes the object.
func sealKeyObject(ctx context.Context, ring Keyring, o *pb.KeyObject, material *pb.KeyMaterial) ([]byte, error) {
	plain, err := proto.Marshal(material)
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "encode key material", err)
	}
	o.Version, o.Created = keyVersion, time.Now().UnixMicro()
	if o.Wrapped, o.WrappingKeyId, err = ring.Wrap(ctx, tenantry.TenantID(o.Tenant), plain); err != nil {
		return nil, tenantry.Errorf(tenantry.KindOf(err), "wrap the key of tenant %s: %w", o.Tenant, err)
	}
	body, err := proto.Marshal(o)
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "encode key object", err)
	}
	out := append([]byte(keyMagic), 0, 0, 0, keyVersion)
	out = append(out, body...)
	sum := blake3.Sum256(out)
	return append(out, sum[:]...), nil
}

// decodeKeyObject checks a key object's frame. Its checksum tells damage from a wrong key.
func decodeKeyObject(body []byte) (*pb.KeyObject, error) {
	end := len(body) - 32
	if end < headerSize || string(body[:4]) != keyMagic {
		return nil, tenantry.Errorf(tenantry.Corrupt, "it is not a key object")
	}
	if sum := blake3.Sum256(body[:end]); string(sum[:]) != string(body[end:]) {
		return nil, tenantry.Errorf(tenantry.Corrupt, "its checksum is wrong: damaged or cut short")
	}
	if v := binary.BigEndian.Uint32(body[4:8]); v != keyVersion {
		return nil, tenantry.Errorf(tenantry.Invalid, "it has format version %d, this program reads %d", v, keyVersion)
	}
	var object pb.KeyObject
	if err := proto.Unmarshal(body[headerSize:end], &object); err != nil {
		return nil, tenantry.E(tenantry.Corrupt, "decode it", err)
	}
	return &object, nil
}

// newKeys opens unwrapped key material.
func newKeys(m *pb.KeyMaterial) (*keys, error) {
	if len(m.DataKeys) == 0 || len(m.HashSecret) != 32 {
		return nil, tenantry.Errorf(tenantry.Corrupt, "its key material is incomplete")
	}
	k := &keys{
		data: make(map[uint16][]byte, len(m.DataKeys)),
		hash: make([]byte, 32),
		gear: make([]byte, 32),
	}
	for _, d := range m.DataKeys {
		if len(d.Key) != 32 || d.Number == 0 || d.Number > 1<<16-1 {
			return nil, tenantry.Errorf(tenantry.Corrupt, "its data key %d is not of 32 bytes", d.Number)
		}
		k.newest = uint16(d.Number)
		k.data[k.newest] = d.Key
	}
	// Two keys from one secret: knowing where chunks are cut must not help with their names.
	blake3.DeriveKey("tenantry 2026 content hash v1", m.HashSecret, k.hash)
	blake3.DeriveKey("tenantry 2026 chunk boundaries v1", m.HashSecret, k.gear)
	return k, nil
}
