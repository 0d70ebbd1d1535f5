package repository_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestShred(t *testing.T) {
	bothRings(t, func(t *testing.T, store blob.Store, ring repository.KeyManager) {
		saved(t, openWith(t, store, ring), 1, noise(1, 200<<10))
		_, err := repository.RotateWrappingKey(t.Context(), store, ring, tenant)
		must(t, err)
		_, err = repository.Open(t.Context(), store, ring, "t-2")
		must(t, err)
		before := len(objects(t, store))
		var list bytes.Buffer
		cert, err := repository.Shred(t.Context(), store, ring, tenant, "here", &list)
		must(t, err)
		sum := sha256.Sum256(list.Bytes())
		if len(cert.Keys) != 2 || cert.InventorySHA256 != hex.EncodeToString(sum[:]) || cert.Remains.Objects != int64(strings.Count(list.String(), "\n")) ||
			len(objects(t, store)) != before || len(cert.KeyObjects) != 1 {
			t.Errorf("%+v\n%s", cert, &list)
		}
		_, err = repository.OpenExisting(t.Context(), store, ring, tenant)
		wantKind(t, err, tenantry.WrongKey)
		_, err = repository.OpenExisting(t.Context(), store, ring, "t-2")
		must(t, err)
		again, err := repository.Shred(t.Context(), store, ring, tenant, "here", &list)
		if err != nil || len(again.Keys) == 0 {
			t.Errorf("repeated: %+v, %v", again, err)
		}
		_, err = repository.Shred(t.Context(), store, ring, "t-none", "here", &list)
		wantKind(t, err, tenantry.NotFound)
	})
}

// What locks and versions keep is counted.
func TestShredUnderLocks(t *testing.T) {
	srv := servertest.S3Locks(t)
	store, err := blob.Open(t.Context(), "s3://"+srv.Bucket+"?endpoint="+srv.Endpoint, blob.S3Options{
		AccessKey: srv.AccessKey, SecretKey: tenantry.NewSecret(srv.SecretKey),
		Lock: blob.LockPolicy{Mode: blob.Governance, For: time.Hour},
	})
	must(t, err)
	ring := manager(t, folder(t))
	saved(t, openWith(t, store, ring), 1, noise(1, 200<<10))
	_, err = repository.RotateWrappingKey(t.Context(), store, ring, tenant)
	must(t, err)
	must(t, store.(blob.Locker).Hold(t.Context(), string(tenant)+"/key", true))
	var list bytes.Buffer
	cert, err := repository.Shred(t.Context(), store, ring, tenant, "here", &list)
	must(t, err)
	r := cert.Remains
	if r.Locked != r.Versions || r.Locked == 0 || r.Held != 1 || time.Until(r.LockedUntil) < time.Hour || !r.VersionsListed {
		t.Errorf("%+v", r)
	}
	if text := strings.Join(cert.Statements, " "); !strings.Contains(text, "legal hold") || !strings.Contains(text, "locked, the last until") {
		t.Errorf("it says: %s", text)
	}
}
