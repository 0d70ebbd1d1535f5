package repository

import (
	"encoding/json"
	"slices"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// keyFileJSON is a key file (docs/FORMAT.md, "Key file"). What is spoilt of one tenant is that
// tenant's misfortune alone: it is refused when it is asked for, and written back as it was found.
type keyFileJSON struct {
	Version int                            `json:"version"`
	Tenants map[tenantry.TenantID]*keyRing `json:"tenants"`
}

// keyRing is the wrapping keys of one tenant, or the text that cannot be read as such.
type keyRing struct {
	keys   []wrappingKey
	spoilt json.RawMessage // not nil: no list of keys
}

// wrappingKey is one wrapping key, or the text that cannot be read as one.
type wrappingKey struct {
	wrappingKeyJSON
	spoilt json.RawMessage // not nil: not the key that ID means; ID may be empty
}

type wrappingKeyJSON struct {
	ID  string `json:"id"`  // "file-" and the key's fingerprint
	Key []byte `json:"key"` // 32 bytes, base64
}

// UnmarshalJSON implements json.Unmarshaler; it keeps what it cannot read.
func (r *keyRing) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &r.keys) != nil {
		r.keys, r.spoilt = nil, append(json.RawMessage{}, text...)
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (r *keyRing) MarshalJSON() ([]byte, error) {
	if r.spoilt != nil {
		return r.spoilt, nil
	}
	return json.Marshal(r.keys)
}

// UnmarshalJSON implements json.Unmarshaler; it keeps what it cannot read.
func (k *wrappingKey) UnmarshalJSON(text []byte) error {
	err := json.Unmarshal(text, &k.wrappingKeyJSON)
	if err == nil && len(k.Key) == 32 && k.ID == keyFingerprint(k.Key) {
		return nil
	}
	var named struct{ ID string } // the error names the key, where it can
	_ = json.Unmarshal(text, &named)
	*k = wrappingKey{spoilt: append(json.RawMessage{}, text...)}
	k.ID = named.ID
	return nil
}

// MarshalJSON implements json.Marshaler.
func (k wrappingKey) MarshalJSON() ([]byte, error) {
	if k.spoilt != nil {
		return k.spoilt, nil
	}
	return json.Marshal(k.wrappingKeyJSON)
}

// find returns the key of an ID. WrongKey if there is none, or it is damaged.
func (r *keyRing) find(path string, tenant tenantry.TenantID, id string) ([]byte, error) {
	if r == nil {
		return nil, tenantry.Errorf(tenantry.WrongKey, "key file %s has no wrapping key %s of tenant %s", path, id, tenant)
	}
	for _, k := range r.keys {
		if k.spoilt == nil && k.ID == id {
			return k.Key, nil
		}
	}
	if r.damaged() { // whichever it was
		return nil, damagedKey(path, tenant, id)
	}
	return nil, tenantry.Errorf(tenantry.WrongKey, "key file %s has no wrapping key %s of tenant %s", path, id, tenant)
}

// newest returns the key that wraps; false if there is none. WrongKey if it is damaged: to wrap under an
// older one would undo a rotation.
func (r *keyRing) newest(path string, tenant tenantry.TenantID) (wrappingKey, bool, error) {
	switch {
	case r == nil || r.spoilt == nil && len(r.keys) == 0:
		return wrappingKey{}, false, nil
	case r.spoilt != nil:
		return wrappingKey{}, false, damagedKey(path, tenant, "")
	}
	k := r.keys[len(r.keys)-1]
	if k.spoilt != nil {
		return wrappingKey{}, false, damagedKey(path, tenant, k.ID)
	}
	return k, true, nil
}

// damagedName stands for entries that cannot be read, where wrapping keys are listed.
const damagedName = "damaged"

// names lists the keys. What is damaged is listed, too: a crypto-shred has to destroy it.
func (r *keyRing) names() []string {
	if r == nil {
		return nil
	}
	var ids []string
	for _, k := range r.keys {
		if k.spoilt == nil {
			ids = append(ids, k.ID)
		}
	}
	if r.damaged() {
		ids = append(ids, damagedName)
	}
	return ids
}

func (r *keyRing) damaged() bool {
	return r.spoilt != nil || slices.ContainsFunc(r.keys, func(k wrappingKey) bool { return k.spoilt != nil })
}

// without removes a key and reports whether nothing is left.
func (r *keyRing) without(id string) bool {
	if r == nil {
		return true
	}
	if id == damagedName {
		r.spoilt = nil
	}
	r.keys = slices.DeleteFunc(r.keys, func(k wrappingKey) bool {
		return k.ID == id || k.spoilt != nil && id == damagedName
	})
	return r.spoilt == nil && len(r.keys) == 0
}

// damagedKey never quotes the file: it may be most of a key.
func damagedKey(path string, tenant tenantry.TenantID, id string) error {
	return tenantry.Errorf(tenantry.WrongKey,
		"key file %s: wrapping key %s of tenant %s is damaged: put its entry back from a copy of the file; other tenants are not affected", path, id, tenant)
}

// add gives a tenant a fresh wrapping key. WrongKey if its entry is no list that could take one.
func (doc keyFileJSON) add(path string, tenant tenantry.TenantID) (id string, key []byte, err error) {
	ring := doc.Tenants[tenant]
	if ring == nil {
		ring = &keyRing{}
		doc.Tenants[tenant] = ring
	}
	if ring.spoilt != nil {
		return "", nil, damagedKey(path, tenant, "")
	}
	key = randomKey()
	id = keyFingerprint(key)
	ring.keys = append(ring.keys, wrappingKey{wrappingKeyJSON: wrappingKeyJSON{ID: id, Key: key}})
	return id, key, nil
}
