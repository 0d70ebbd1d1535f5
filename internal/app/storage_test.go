package app

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func newTestRepositories(t *testing.T) (*repositories, *blobtest.Faulty) {
	t.Helper()
	dir := t.TempDir()
	store, err := blob.Open(t.Context(), "file:"+filepath.Join(dir, "bucket"), blob.S3Options{})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := repository.OpenKeyFile(filepath.Join(dir, "keys"), true)
	if err != nil {
		t.Fatal(err)
	}
	faulty := blobtest.NewFaulty(store)
	return newRepositories(faulty, ring), faulty
}

func TestRepositoriesOpenOnce(t *testing.T) {
	repos, _ := newTestRepositories(t)
	var group sync.WaitGroup
	got := make([]*repository.Repository, 16)
	for i := range got {
		group.Go(func() {
			r, err := repos.Open(t.Context(), "t-1")
			if err != nil {
				t.Error(err)
			}
			got[i] = r
		})
	}
	group.Wait()
	for _, r := range got {
		if r == nil || r != got[0] {
			t.Fatal("one tenant's repository was opened more than once")
		}
	}
	if other, err := repos.Open(t.Context(), "t-2"); err != nil || other == got[0] {
		t.Fatalf("two tenants share a repository: %v", err)
	}
}

func TestRepositoriesForgetAFailure(t *testing.T) {
	repos, faulty := newTestRepositories(t)
	away := tenantry.E(tenantry.Shared, "read key", errors.New("bucket away"))
	faulty.Add(&blobtest.Fault{Mode: blobtest.Fail, Times: 1, Err: away})
	if _, err := repos.Open(t.Context(), "t-1"); tenantry.KindOf(err) != tenantry.Shared {
		t.Fatalf("got %v, expected the bucket's error", err)
	}
	if _, err := repos.Open(t.Context(), "t-1"); err != nil {
		t.Fatalf("the failure was kept: %v", err)
	}
}
