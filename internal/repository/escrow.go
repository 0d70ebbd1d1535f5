package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// escrowKind is what an escrow copy says it is.
const escrowKind = "tenantry escrow"

// escrowJSON is an escrow copy (docs/FORMAT.md, "Escrow copy"): what the wrapping keys
// protect, so that it opens the bucket when key file or KMS are lost.
type escrowJSON struct {
	Kind    string                               `json:"kind"`
	Version int                                  `json:"version"`
	Created time.Time                            `json:"created"`
	Tenants map[tenantry.TenantID]escrowedTenant `json:"tenants"`
}

type escrowedTenant struct {
	Generation int64  `json:"generation"` // of the key object it was taken from
	Material   []byte `json:"material"`   // an encoded KeyMaterial, base64
}

// WriteEscrow writes a copy of the keys of all tenants in the store to a new file of mode
// 0600 and returns which tenants it holds. Whoever has it can read every backup. Conflict if
// the file exists; a tenant whose key does not open fails the whole copy.
func WriteEscrow(ctx context.Context, store blob.Store, ring Keyring, path string) ([]tenantry.TenantID, error) {
	tenants, err := Tenants(ctx, store)
	if err != nil {
		return nil, err
	}
	doc := escrowJSON{Kind: escrowKind, Version: 1, Created: time.Now().UTC().Truncate(time.Second), Tenants: map[tenantry.TenantID]escrowedTenant{}}
	for _, tenant := range tenants {
		object, material, err := openKeyObject(ctx, store, ring, tenant)
		if err != nil {
			return nil, tenantry.Errorf(tenantry.KindOf(err), "copy the keys of tenant %s: %w", tenant, err)
		}
		plain, err := proto.Marshal(material)
		if err != nil {
			return nil, tenantry.E(tenantry.Internal, "encode key material", err)
		}
		doc.Tenants[tenant] = escrowedTenant{Generation: object.Generation, Material: plain}
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "encode the escrow copy", err)
	}
	return tenants, writeNew(path, append(text, '\n'))
}

// writeNew writes a file of mode 0600 durably, and only if it does not exist.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return tenantry.Errorf(tenantry.Conflict, "file %s exists already", path)
	}
	if err != nil {
		return tenantry.E(tenantry.Invalid, "make file "+path, err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = os.Remove(path) // half a copy is worse than none
		return tenantry.E(tenantry.Invalid, "write file "+path, err)
	}
	return nil
}

// escrowRing is a Keyring that opens with an escrow copy. It wraps nothing.
type escrowRing struct {
	path string
	doc  escrowJSON
}

// OpenKeys opens a file with keys for reading, a key file or an escrow copy: whichever it is.
func OpenKeys(path string) (Keyring, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, tenantry.E(tenantry.NotFound, "open key file", err)
	}
	if err != nil {
		return nil, tenantry.E(tenantry.Invalid, "open key file", err)
	}
	var doc escrowJSON
	if json.Unmarshal(text, &doc) != nil || doc.Kind != escrowKind {
		return OpenKeyFile(path, false)
	}
	if doc.Version != 1 {
		return nil, tenantry.Errorf(tenantry.Invalid, "escrow copy %s has version %d, this program reads 1", path, doc.Version)
	}
	return &escrowRing{path: path, doc: doc}, nil
}

// Wrap implements Keyring by refusing.
func (e *escrowRing) Wrap(_ context.Context, tenant tenantry.TenantID, _ []byte) ([]byte, string, error) {
	return nil, "", tenantry.Errorf(tenantry.Invalid, "escrow copy %s only opens: it cannot wrap a key for tenant %s", e.path, tenant)
}

// Unwrap implements Keyring: the copy holds what is wrapped, whatever wrapped it.
func (e *escrowRing) Unwrap(_ context.Context, tenant tenantry.TenantID, _ string, _ []byte) ([]byte, error) {
	t, ok := e.doc.Tenants[tenant]
	if !ok {
		return nil, tenantry.Errorf(tenantry.WrongKey, "escrow copy %s of %s does not hold the keys of tenant %s", e.path, e.doc.Created.Format(time.DateOnly), tenant)
	}
	return t.Material, nil
}

// EscrowReceipt says that an escrow copy was tried, on what, and when.
type EscrowReceipt struct {
	Checked time.Time                   `json:"checked"`
	SHA256  string                      `json:"sha256"` // of the copy
	Tenants map[tenantry.TenantID]int64 `json:"tenants"`
}

// CheckEscrow opens every tenant's repository in the store with an escrow copy and reads
// one manifest of each, which proves that the copy alone recovers the backups. NotFound
// names a tenant that the copy does not hold, WrongKey one whose data key was rotated since.
func CheckEscrow(ctx context.Context, store blob.Store, path string) (EscrowReceipt, error) {
	ring, err := OpenKeys(path)
	if err != nil {
		return EscrowReceipt{}, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return EscrowReceipt{}, tenantry.E(tenantry.Invalid, "read the escrow copy", err)
	}
	sum := sha256.Sum256(text)
	receipt := EscrowReceipt{Checked: time.Now().UTC().Truncate(time.Second), SHA256: hex.EncodeToString(sum[:]), Tenants: map[tenantry.TenantID]int64{}}
	tenants, err := Tenants(ctx, store)
	if err != nil {
		return EscrowReceipt{}, err
	}
	for _, tenant := range tenants {
		generation, err := checkEscrowed(ctx, store, ring, tenant)
		if err != nil {
			return EscrowReceipt{}, tenantry.Errorf(tenantry.KindOf(err), "the copy does not recover tenant %s: %w", tenant, err)
		}
		receipt.Tenants[tenant] = generation
	}
	return receipt, nil
}

func checkEscrowed(ctx context.Context, store blob.Store, ring Keyring, tenant tenantry.TenantID) (int64, error) {
	object, err := readKeyObject(ctx, store, tenant)
	if err != nil {
		return 0, err
	}
	if e, ok := ring.(*escrowRing); ok && e.doc.Tenants[tenant].Material != nil && e.doc.Tenants[tenant].Generation < object.Generation {
		return 0, tenantry.Errorf(tenantry.WrongKey, "its keys were rotated since: the copy has generation %d, the bucket %d; make a new copy",
			e.doc.Tenants[tenant].Generation, object.Generation)
	}
	repo, err := OpenExisting(ctx, store, ring, tenant)
	if err != nil {
		return 0, err
	}
	series, err := repo.List(ctx)
	if err != nil {
		return 0, err
	}
	if len(series) > 0 { // one that opens proves the keys
		_, err = repo.Head(ctx, series[0])
	}
	return object.Generation, err
}
