// Package repository owns a tenant's encrypted storage in a bucket: packs of small
// items, shared content, the index of both, and the manifests that commit them under a fence. docs/FORMAT.md
// has every byte of it.
//
// Truth: what is stored is what the newest manifest of a series names, nothing else. A
// manifest is written once, under a name that only one writer can take (see commit), so a
// series is a chain of commits:
//
//	         Begin by another owner            Checkpoint        Seal
//	empty ───────────────────────────► open ◄──────────► open ────────► sealed
//	  │                                  ▲                                │
//	  └──────────── Begin ───────────────┴───────────── Begin ────────────┘
//
// A sealed manifest is a snapshot: self-contained. An open manifest is a checkpoint:
// progress that the next owner goes on from. What no manifest names is garbage and harms
// nobody.
//
// Retention is a commit (Writer.Prune), then deletions: Writer.Sweep deletes what a series no longer
// needs, Repository.Collect what no series does. Writer.Compact empties packs that
// are mostly dead, so that they go too; Writer.Fold tidies the index. What is not needed has to age first, so that no
// reader and no writer, however late it wakes, meets a hole.
//
// Damage is found by Check (all that a snapshot names), CheckQuick (its structure) and Patrol (everything
// that is stored, a share each day). What was found is healed from the source, not here: Distrust keeps
// damaged chunks from being shared, the next backup stores what it names anew. Writer.Reindex makes an index
// anew from what packs and manifests say. Retain keeps locks in step with the snapshots that need them.
//
// The index is log-structured, so that a run costs what has changed and not what there is:
//
//	Put, Remove ──► memtable ──small──► in the manifest, until it is large
//	                   │
//	                   └────large────► run (segments) ──fold──► larger run
//
// A lookup asks the memtable, then run after run from the newest on; filters spare most
// reads. A listing merges them.
//
// Who backs up, browses, searches or restores may read the index through a Cache on a local disk (UseCache). The bucket
// stays the only truth: cached.go says what may be kept, and why it cannot mislead.
//
// Concurrency: any number of processes may read. Of those that write one series, the
// manifests decide: a writer that was overtaken gets Fenced at its next commit, and what
// it wrote since its last one is garbage. Different series share only content (chunks),
// which is named by what it holds.
//
// Errors: Corrupt for what is damaged, missing or tampered with, naming series and
// object, and the item where one was asked for; WrongKey if the keyring does not open the
// repository; Fenced; and the kinds of package blob.
package repository

import (
	"context"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Repository is one tenant's repository, opened. Safe for concurrent use. It holds the
// tenant's keys and nothing else that needs closing.
type Repository struct {
	store  blob.Store
	tenant tenantry.TenantID
	keys   *keys

	cache *Cache // nil: none
	place string // which bucket it is, to the cache

	condemnation condemnation
	clock        func() time.Time // nil: time.Now
}

// now is the time by which garbage ages.
func (r *Repository) now() time.Time {
	if r.clock != nil {
		return r.clock()
	}
	return time.Now()
}

// Open opens the tenant's repository in the store, creating it (its key object) if it is
// new. Several workers may do so at once. Corrupt if the key object is missing while other
// objects of the tenant are there.
func Open(ctx context.Context, store blob.Store, ring Keyring, tenant tenantry.TenantID) (*Repository, error) {
	r, err := OpenExisting(ctx, store, ring, tenant)
	if tenantry.KindOf(err) != tenantry.NotFound {
		return r, err
	}
	k, err := createKeys(ctx, store, ring, tenant)
	if err != nil {
		return nil, tenantry.Errorf(tenantry.KindOf(err), "create repository of tenant %s: %w", tenant, err)
	}
	return &Repository{store: store, tenant: tenant, keys: k}, nil
}

// OpenExisting is Open for those that only read: NotFound if there is no such repository.
func OpenExisting(ctx context.Context, store blob.Store, ring Keyring, tenant tenantry.TenantID) (*Repository, error) {
	if !segment.MatchString(string(tenant)) {
		return nil, tenantry.Errorf(tenantry.Invalid, "tenant ID %q cannot name a repository", tenant)
	}
	k, err := openKeys(ctx, store, ring, tenant)
	if isNotFound(err) {
		return nil, tenantry.E(tenantry.NotFound, "open repository of tenant "+string(tenant), err)
	}
	if err != nil {
		return nil, tenantry.Errorf(tenantry.KindOf(err), "open repository of tenant %s: %w", tenant, err)
	}
	return &Repository{store: store, tenant: tenant, keys: k}, nil
}

// Tenants lists the tenants that have a repository in the store, in ascending order: one
// listing and one look per tenant.
func Tenants(ctx context.Context, store blob.Store) ([]tenantry.TenantID, error) {
	var tenants []tenantry.TenantID
	for name, err := range store.Folders(ctx, "") {
		if err != nil {
			return nil, err
		}
		if !segment.MatchString(name) {
			continue
		}
		_, err := newestKeyObject(ctx, store, tenantry.TenantID(name))
		if isNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		tenants = append(tenants, tenantry.TenantID(name))
	}
	return tenants, nil
}

// listers is how many resources are looked into at once by List.
const listers = 16

// List returns all series that the repository has, in ascending order: one listing per
// resource, and none of what is in a series.
func (r *Repository) List(ctx context.Context) ([]tenantry.Series, error) {
	var mu sync.Mutex
	var found []tenantry.Series
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(listers)
	var err error
	for resource, listErr := range r.store.Folders(ctx, r.object("r/")) {
		if err = listErr; err != nil || inner.Err() != nil {
			break
		}
		group.Go(func() error {
			for workload, err := range r.store.Folders(inner, r.object("r/"+resource+"/")) {
				if err != nil {
					return err
				}
				mu.Lock()
				found = append(found, tenantry.Series{
					Tenant: r.tenant, Resource: tenantry.ResourceID(resource), Workload: tenantry.Workload(workload),
				})
				mu.Unlock()
			}
			return nil
		})
	}
	if err := errors.Join(err, group.Wait()); err != nil {
		return nil, tenantry.Errorf(tenantry.KindOf(err), "list series of tenant %s: %w", r.tenant, err)
	}
	slices.SortFunc(found, func(a, b tenantry.Series) int { return strings.Compare(a.String(), b.String()) })
	return found, nil
}

// Snapshots returns the live snapshots of a series, newest first.
func (r *Repository) Snapshots(ctx context.Context, s tenantry.Series) ([]Snapshot, error) {
	head, err := r.Head(ctx, s)
	return head.Live, err
}

// object returns the key in the store of an object of this tenant.
func (r *Repository) object(name string) string { return string(r.tenant) + "/" + name }

// segment is what may stand between two slashes of an object's name.
var segment = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@=-]{0,199}$`)

// check returns Invalid unless s is a series that this repository can hold.
func (r *Repository) check(s tenantry.Series) error {
	if s.Tenant != r.tenant {
		return tenantry.Errorf(tenantry.Invalid, "series %s is not of tenant %s", s, r.tenant)
	}
	if !segment.MatchString(string(s.Resource)) || !segment.MatchString(string(s.Workload)) {
		return tenantry.Errorf(tenantry.Invalid, "series %s: resource or workload cannot name objects", s)
	}
	return nil
}

// fail says which series an error is about, keeping its kind; nil stays nil.
func (r *Repository) fail(s tenantry.Series, err error) error {
	if err == nil {
		return nil
	}
	return tenantry.Errorf(tenantry.KindOf(err), "series %s: %w", s, err)
}

func isNotFound(err error) bool { return errors.Is(err, blob.ErrNotFound) }

func digestOf(body []byte) []byte {
	sum := blake3.Sum256(body)
	return sum[:]
}

// believed is how many bytes are made room for before any has been read.
const believed = 16 << 20

// readExactly appends n bytes to data, which is empty; fewer are Corrupt. Memory follows what comes, not what was promised.
func readExactly(body io.Reader, n int64, data []byte) ([]byte, error) {
	for {
		room := data[len(data):min(n, int64(cap(data)))]
		got, err := io.ReadFull(body, room)
		data = data[:len(data)+got]
		if err == io.EOF || err == io.ErrUnexpectedEOF { // wrapped, they are a cut connection
			return nil, tenantry.Errorf(tenantry.Corrupt, "it is cut short: %d bytes where %d were expected", len(data), n)
		}
		if err != nil || int64(len(data)) == n {
			return data, err
		}
		data = slices.Grow(data, max(len(data), 512))
	}
}
