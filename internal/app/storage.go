package app

import (
	"context"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// openRepositories is how many tenants' repositories a process keeps open: each
// holds a key and a few hundred bytes.
const openRepositories = 4096

// openFor is how long a repository is used before it is opened again: so long a process
// may go on with a key that was destroyed, or seal under one that was rotated.
const openFor = 15 * time.Minute

// repositories opens tenants' repositories in one store and keeps them open. Safe
// for concurrent use.
type repositories struct {
	store blob.Store
	ring  repository.Keyring
	cache *repository.Cache // of index objects; nil: none
	place string            // which bucket it is, to the cache

	mu   sync.Mutex
	open map[tenantry.TenantID]*opening
}

// opening is a repository that is open or being opened.
type opening struct {
	done  chan struct{}
	repo  *repository.Repository
	err   error
	since time.Time
}

func newRepositories(store blob.Store, ring repository.Keyring) *repositories {
	return &repositories{store: store, ring: ring, open: map[tenantry.TenantID]*opening{}}
}

// useCache has what is opened from now on read its indexes through a cache, if there is one; cfg says which bucket it is.
func (r *repositories) useCache(c *repository.Cache, cfg Config) {
	r.cache, r.place = c, cfg.Region+"\n"+cfg.Bucket
}

// Open returns the tenant's repository. Many callers at once open it once; a failure
// is not kept.
func (r *repositories) Open(ctx context.Context, tenant tenantry.TenantID) (*repository.Repository, error) {
	r.mu.Lock()
	o, ok := r.open[tenant]
	if !ok || time.Since(o.since) > openFor {
		ok = false
		r.makeRoom()
		o = &opening{done: make(chan struct{}), since: time.Now()}
		r.open[tenant] = o
	}
	r.mu.Unlock()
	if !ok {
		// Others wait for this opening, so one caller's cancellation must not fail it.
		o.repo, o.err = repository.Open(context.WithoutCancel(ctx), r.store, r.ring, tenant)
		if o.err == nil && r.cache != nil {
			o.repo.UseCache(r.cache, r.place)
		}
		if o.err != nil {
			r.mu.Lock()
			if r.open[tenant] == o {
				delete(r.open, tenant)
			}
			r.mu.Unlock()
		}
		close(o.done)
	}
	select {
	case <-o.done:
		return o.repo, o.err
	case <-ctx.Done():
		return nil, tenantry.E(tenantry.KindOf(ctx.Err()), "open repository of tenant "+string(tenant), ctx.Err())
	}
}

// makeRoom forgets any one repository when too many are open; whoever uses it keeps it.
func (r *repositories) makeRoom() {
	if len(r.open) < openRepositories {
		return
	}
	for tenant := range r.open {
		delete(r.open, tenant)
		return
	}
}
