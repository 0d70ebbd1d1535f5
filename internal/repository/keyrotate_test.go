package repository_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// saved writes one snapshot with one part, and returns what reads it back.
func saved(t *testing.T, r *repository.Repository, epoch int64, content []byte) func(*repository.Repository) error {
	t.Helper()
	w := begin(t, r, epoch, tenantry.TaskID(fmt.Sprint("task-", epoch)))
	part, err := w.PutContent(t.Context(), bytes.NewReader(content))
	must(t, err)
	must(t, w.Put(t.Context(), repository.Entry{ID: "item", Kind: "file", Name: "item", Parts: []repository.Part{part}}))
	seq := seal(t, w).Seq
	return func(r *repository.Repository) error { return readAll(t.Context(), r, seq) }
}

func manager(t *testing.T, p place) repository.KeyManager {
	t.Helper()
	ring, err := repository.OpenKeyFile(p.keyFile, true)
	must(t, err)
	return ring
}

// bothRings runs a test over a key file and over KMS.
func bothRings(t *testing.T, run func(t *testing.T, store blob.Store, ring repository.KeyManager)) {
	t.Run("key file", func(t *testing.T) {
		p := folder(t)
		run(t, p.store(t), manager(t, p))
	})
	t.Run("kms", func(t *testing.T) {
		_, ring := startKMS(t)
		run(t, folder(t).store(t), ring)
	})
}

func openWith(t *testing.T, store blob.Store, ring repository.Keyring) *repository.Repository {
	t.Helper()
	r, err := repository.Open(t.Context(), store, ring, tenant)
	must(t, err)
	return r
}

func TestRotations(t *testing.T) {
	bothRings(t, func(t *testing.T, store blob.Store, ring repository.KeyManager) {
		old := openWith(t, store, ring)
		first := saved(t, old, 1, noise(1, 300<<10))
		before, stored := len(objects(t, store)), chunks(t, store) // the boundaries are the tenant's own

		wrapped, err := repository.RotateWrappingKey(t.Context(), store, ring, tenant)
		must(t, err)
		if wrapped.Generation != 2 || wrapped.DataKeys != 1 || len(wrapped.Earlier) != 1 || wrapped.Earlier[0] == wrapped.WrappingKey {
			t.Errorf("after a rotation of the wrapping key: %+v", wrapped)
		}
		if n := len(objects(t, store)); n != before {
			t.Errorf("%d objects, %d before the rotation", n, before)
		}
		must(t, first(openWith(t, store, ring)))

		data, err := repository.RotateDataKey(t.Context(), store, ring, tenant)
		must(t, err)
		if data.Generation != 3 || data.DataKeys != 2 || data.WrappingKey != wrapped.WrappingKey {
			t.Errorf("after a rotation of the data key: %+v", data)
		}
		fresh := openWith(t, store, ring)
		must(t, first(fresh))
		second := saved(t, fresh, 2, noise(1, 300<<10))
		if n := chunks(t, store); n != stored {
			t.Errorf("the same content is stored in %d chunks, before the rotation in %d: its names changed", n, stored)
		}
		must(t, second(fresh))

		retired, err := repository.RetireWrappingKeys(t.Context(), store, ring, tenant)
		if err != nil || len(retired) != 1 || retired[0] != wrapped.Earlier[0] {
			t.Errorf("retired %v, expected %v, %v", retired, wrapped.Earlier, err)
		}
		must(t, second(openWith(t, store, ring)))
		status, err := repository.CheckKey(t.Context(), store, ring, tenant)
		if err != nil || len(status.Earlier) > 0 || status.DataKeys != 2 {
			t.Errorf("after retiring: %+v, %v", status, err)
		}
	})
}

func chunks(t *testing.T, store blob.Store) (n int) {
	for _, o := range objects(t, store) {
		if strings.Contains(o.Key, "/c/") {
			n++
		}
	}
	return n
}

// A repository that was opened before a rotation reads what was written after it.
func TestRotationIsNoticed(t *testing.T) {
	p := folder(t)
	store, ring := p.store(t), manager(t, p)
	old := openWith(t, store, ring)
	must(t, repository.SetKeyAge(old, time.Hour))
	_, err := repository.RotateDataKey(t.Context(), store, ring, tenant)
	must(t, err)
	after := saved(t, openWith(t, store, ring), 1, noise(1, 300<<10))
	must(t, after(old))
}

// Of several rotations at once each one counts or says that it did not: no data key is lost.
func TestRotationsRace(t *testing.T) {
	p := folder(t)
	store := p.store(t)
	openWith(t, store, manager(t, p))
	const racers = 6
	errs := make([]error, racers)
	var wg sync.WaitGroup
	for i := range racers {
		ring := manager(t, p)
		wg.Go(func() { _, errs[i] = repository.RotateDataKey(t.Context(), store, ring, tenant) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case tenantry.KindOf(err) != tenantry.Conflict:
			t.Errorf("a racer: %v", err)
		}
	}
	status, err := repository.CheckKey(t.Context(), store, manager(t, p), tenant)
	if err != nil || won == 0 || status.DataKeys != 1+won || status.Generation != int64(1+won) {
		t.Errorf("%d rotations won: %+v, %v", won, status, err)
	}
}

// overtaken is a store in which something happens before the first PUT.
type overtaken struct {
	blob.Store
	once   sync.Once
	before func()

	mu      sync.Mutex
	removed []string
}

func (o *overtaken) PutIfAbsent(ctx context.Context, name string, body []byte) error {
	o.once.Do(o.before)
	return o.Store.PutIfAbsent(ctx, name, body)
}

func (o *overtaken) Delete(ctx context.Context, name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.removed = append(o.removed, name)
	return o.Store.Delete(ctx, name)
}

// A rotation that two others overtake finds the name of its generation free again. It did not count, says so, and leaves
// nothing that a listing could take for the newest.
func TestRotationIsOvertaken(t *testing.T) {
	p := folder(t)
	store := p.store(t)
	openWith(t, store, manager(t, p))
	slow := &overtaken{Store: store, before: func() {
		for range 2 {
			_, err := repository.RotateDataKey(t.Context(), store, manager(t, p), tenant)
			must(t, err)
		}
	}}
	if _, err := repository.RotateDataKey(t.Context(), slow, manager(t, p), tenant); tenantry.KindOf(err) != tenantry.Conflict {
		t.Errorf("the one that was overtaken: %v", err)
	}
	status, err := repository.CheckKey(t.Context(), store, manager(t, p), tenant)
	if err != nil || status.Generation != 3 || status.DataKeys != 3 {
		t.Errorf("two rotations counted: %+v, %v", status, err)
	}
	var left []string
	for _, o := range objects(t, store) {
		if strings.HasPrefix(o.Key, string(tenant)+"/key") {
			left = append(left, o.Key)
		}
	}
	if len(left) != 1 || left[0] != status.Object {
		t.Errorf("left: %v", left)
	}
}

// Earlier generations go oldest first, so that a listing beside it never ends with one that is older than what it missed.
func TestEarlierKeysGoOldestFirst(t *testing.T) {
	p := folder(t)
	store := p.store(t)
	openWith(t, store, manager(t, p))
	last := &overtaken{Store: store, before: func() {}}
	for range 3 { // the earlier ones stay, as if they were locked
		_, err := repository.RotateDataKey(t.Context(), keeping{store}, manager(t, p), tenant)
		must(t, err)
	}
	_, err := repository.RotateDataKey(t.Context(), last, manager(t, p), tenant)
	must(t, err)
	want := []string{"key", "key.0000000002", "key.0000000003", "key.0000000004"}
	for i, name := range last.removed {
		last.removed[i] = strings.TrimPrefix(name, string(tenant)+"/")
	}
	if !slices.Equal(last.removed, want) {
		t.Errorf("removed %v, expected %v", last.removed, want)
	}
}

// keeping is a store that deletes nothing, like one with locks.
type keeping struct{ blob.Store }

func (keeping) Delete(context.Context, string) error { return blob.ErrLocked }

func TestTamperedKeyObject(t *testing.T) {
	bothRings(t, func(t *testing.T, store blob.Store, ring repository.KeyManager) {
		openWith(t, store, ring)
		name := string(tenant) + "/key"
		body, err := blob.ReadAll(t.Context(), store, name, 1<<20)
		must(t, err)
		for i := 8; i < len(body)-32; i++ { // with a checksum that fits: not damage but an attack
			tampered := bytes.Clone(body)
			tampered[i] ^= 1
			must(t, store.Put(t.Context(), name, repository.ResumKeyObject(tampered)))
			_, err := repository.OpenExisting(t.Context(), store, ring, tenant)
			switch tenantry.KindOf(err) {
			case tenantry.Corrupt, tenantry.WrongKey, tenantry.Invalid: // WrongKey: the name of the wrapping key
				continue
			}
			// What is only told (when it was made, earlier keys) is not protected.
			if err != nil {
				t.Fatalf("byte %d tampered with: %v", i, err)
			}
		}
	})
}

func TestDestroyedKeyIsForgotten(t *testing.T) {
	p := folder(t)
	store, ring := p.store(t), manager(t, p)
	openWith(t, store, ring)
	other := manager(t, p)
	openWith(t, store, other) // another process, which has the key in memory
	ids, err := ring.WrappingKeys(t.Context(), tenant)
	if err != nil || len(ids) != 1 {
		t.Fatalf("%v, %v", ids, err)
	}
	_, err = ring.Destroy(t.Context(), tenant, ids[0])
	must(t, err)
	for name, r := range map[string]repository.Keyring{"this process": ring, "another": other} {
		if _, err := repository.OpenExisting(t.Context(), store, r, tenant); tenantry.KindOf(err) != tenantry.WrongKey {
			t.Errorf("%s opens a shredded repository: %v", name, err)
		}
	}
}

func TestEscrow(t *testing.T) {
	bothRings(t, func(t *testing.T, store blob.Store, ring repository.KeyManager) {
		read := saved(t, openWith(t, store, ring), 1, noise(1, 200<<10))
		path := filepath.Join(t.TempDir(), "escrow.json")
		tenants, err := repository.WriteEscrow(t.Context(), store, ring, path)
		if err != nil || len(tenants) != 1 {
			t.Fatalf("%v, %v", tenants, err)
		}
		_, err = repository.WriteEscrow(t.Context(), store, ring, path)
		wantKind(t, err, tenantry.Conflict) // never over an earlier copy
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		receipt, err := repository.CheckEscrow(t.Context(), store, path)
		if err != nil || receipt.Tenants[tenant] != 1 || len(receipt.SHA256) != 64 {
			t.Errorf("%+v, %v", receipt, err)
		}
		copied, err := repository.OpenKeys(path)
		must(t, err)
		must(t, read(openExisting(t, store, copied)))
		_, _, err = copied.Wrap(t.Context(), "t-2", []byte("x"))
		wantKind(t, err, tenantry.Invalid)

		_, err = repository.Open(t.Context(), store, ring, "t-2") // came after the copy
		must(t, err)
		_, err = repository.CheckEscrow(t.Context(), store, path)
		wantKind(t, err, tenantry.WrongKey)
		if err != nil && !strings.Contains(err.Error(), "t-2") {
			t.Errorf("the tenant is not named: %v", err)
		}
	})
}

func openExisting(t *testing.T, store blob.Store, ring repository.Keyring) *repository.Repository {
	t.Helper()
	r, err := repository.OpenExisting(t.Context(), store, ring, tenant)
	must(t, err)
	return r
}

func TestEscrowIsStaleAfterRotation(t *testing.T) {
	p := folder(t)
	store, ring := p.store(t), manager(t, p)
	openWith(t, store, ring)
	path := filepath.Join(t.TempDir(), "escrow.json")
	_, err := repository.WriteEscrow(t.Context(), store, ring, path)
	must(t, err)
	_, err = repository.RotateDataKey(t.Context(), store, ring, tenant)
	must(t, err)
	_, err = repository.CheckEscrow(t.Context(), store, path)
	wantKind(t, err, tenantry.WrongKey)
	if _, err := repository.CheckEscrow(t.Context(), store, p.keyFile); err != nil {
		t.Errorf("a copy of the key file is an escrow copy too: %v", err)
	}
}

// Under object locks earlier generations of the key object stay, and the newest is found.
func TestRotationUnderLocks(t *testing.T) {
	srv := servertest.S3Locks(t)
	store, err := blob.Open(t.Context(), "s3://"+srv.Bucket+"?endpoint="+srv.Endpoint, blob.S3Options{
		AccessKey: srv.AccessKey, SecretKey: tenantry.NewSecret(srv.SecretKey),
		Lock: blob.LockPolicy{Mode: blob.Governance, For: time.Hour},
	})
	must(t, err)
	ring := manager(t, folder(t))
	read := saved(t, openWith(t, store, ring), 1, noise(1, 200<<10))
	status, err := repository.RotateWrappingKey(t.Context(), store, ring, tenant)
	must(t, err)
	must(t, read(openWith(t, store, ring)))
	lock, err := store.(blob.Locker).LockOf(t.Context(), status.Object, "")
	if err != nil || !lock.Holds(time.Now().Add(time.Hour)) {
		t.Errorf("the key object is locked as %+v, %v", lock, err)
	}
	if err := store.Delete(t.Context(), string(tenant)+"/key"); !errors.Is(err, blob.ErrLocked) {
		t.Errorf("the first generation: %v", err)
	}
	must(t, saved(t, openWith(t, store, ring), 2, noise(1, 200<<10))(openWith(t, store, ring)))
}
