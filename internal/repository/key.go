package repository

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
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
	// maxKeyObject bounds the key object: a few wrapped keys.
	maxKeyObject = 64 << 10
	// keyTries bounds how often a new key object is written and read back.
	keyTries = 4
)

// openKeys reads the tenant's key object and unwraps what is in it.
func openKeys(ctx context.Context, store blob.Store, ring Keyring, tenant tenantry.TenantID) (*keys, error) {
	name := string(tenant) + "/" + keyName
	body, err := blob.ReadAll(ctx, store, name, maxKeyObject)
	if err != nil {
		return nil, err
	}
	object, err := decodeKeyObject(body)
	if err != nil {
		return nil, tenantry.Errorf(tenantry.KindOf(err), "open key object %s: %w", name, err)
	}
	material, err := ring.Unwrap(ctx, tenant, object.WrappingKeyId, object.Wrapped)
	if err != nil {
		return nil, tenantry.Errorf(tenantry.KindOf(err), "open key object %s: %w", name, err)
	}
	k, err := newKeys(material)
	if err != nil {
		return nil, tenantry.Errorf(tenantry.Corrupt, "open key object %s: %w", name, err)
	}
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
	body, err := encodeKeyObject(ctx, ring, tenant)
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

// encodeKeyObject returns a key object with fresh keys.
func encodeKeyObject(ctx context.Context, ring Keyring, tenant tenantry.TenantID) ([]byte, error) {
	data, hash := make([]byte, 32), make([]byte, 32)
	_, _ = rand.Read(data)
	_, _ = rand.Read(hash)
	material, err := proto.Marshal(&pb.KeyMaterial{DataKeys: []*pb.DataKey{{Number: 1, Key: data}}, HashSecret: hash})
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "encode key material", err)
	}
	wrapped, id, err := ring.Wrap(ctx, tenant, material)
	if err != nil {
		return nil, tenantry.Errorf(tenantry.KindOf(err), "wrap the key of tenant %s: %w", tenant, err)
	}
	body, err := proto.Marshal(&pb.KeyObject{
		Version: formatVersion, Tenant: string(tenant), WrappingKeyId: id, Wrapped: wrapped, Created: time.Now().UnixMicro(),
	})
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "encode key object", err)
	}
	out := append([]byte(keyMagic), 0, 0, 0, formatVersion)
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
	if v := binary.BigEndian.Uint32(body[4:8]); v != formatVersion {
		return nil, tenantry.Errorf(tenantry.Invalid, "it has format version %d, this program reads %d", v, formatVersion)
	}
	var object pb.KeyObject
	if err := proto.Unmarshal(body[headerSize:end], &object); err != nil {
		return nil, tenantry.E(tenantry.Corrupt, "decode it", err)
	}
	return &object, nil
}

// newKeys opens unwrapped key material.
func newKeys(material []byte) (*keys, error) {
	var m pb.KeyMaterial
	if err := proto.Unmarshal(material, &m); err != nil {
		return nil, tenantry.E(tenantry.Corrupt, "decode key material", err)
	}
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
