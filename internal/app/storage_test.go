package app

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

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

// What one process has written of an index, the next one on the same machine does not read from the bucket, and /metrics shows it.
func TestRepositoriesUseTheCache(t *testing.T) {
	repos, faulty := newTestRepositories(t)
	cfg := Config{Region: "default", Bucket: "file:bucket", CacheDir: filepath.Join(t.TempDir(), "cache"), CacheMB: minCacheMB}
	series := tenantry.Series{Tenant: "t-1", Resource: "u-1", Workload: tenantry.Mailbox}
	for epoch := range int64(2) {
		process := newRepositories(repos.store, repos.ring)
		cache := openCache(cfg, zap.NewNop())
		process.useCache(cache, cfg)
		metrics := newMeter(RoleWorker)
		cacheMetrics(metrics, cache)
		repo, err := process.Open(t.Context(), "t-1")
		if err != nil {
			t.Fatal(err)
		}
		faulty.ResetCounts()
		w, err := repo.Begin(t.Context(), series, repository.Fence{Epoch: 1 + epoch, Task: tenantry.TaskID(fmt.Sprint(epoch))})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3000 {
			if epoch > 0 {
				break
			}
			id := fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
			if err := w.Put(t.Context(), repository.Entry{ID: id, Name: id}); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok, err := w.Lookup(t.Context(), fmt.Sprintf("%x", sha256.Sum256([]byte{1, 1}))); err != nil || !ok {
			t.Fatalf("it is not there: %v", err)
		}
		if _, err := w.Seal(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if gets := faulty.Count(blobtest.OpGet); gets != int(epoch) { // the manifest: a folder's listing says nothing of its content
			t.Errorf("process %d: %d GET", epoch, gets)
		}
		served := httptest.NewRecorder()
		metricsHandler(metrics).ServeHTTP(served, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if want := fmt.Sprintf("tenantry_index_cache_hits_total %d\n", epoch); !strings.Contains(served.Body.String(), want) {
			t.Errorf("process %d: /metrics does not show %q", epoch, want)
		}
	}
}
