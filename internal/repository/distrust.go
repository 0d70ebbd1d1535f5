package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// distrustPrefix names lists of chunks that were found damaged. They stand until none of
// their chunks is left: nobody may share such a chunk, however often its content comes again.
const distrustPrefix = listFolder + "bad."

// objectFault is an error about one stored object.
type objectFault struct {
	object string // key in the store
	err    error
}

func (f *objectFault) Error() string { return "object " + f.object + ": " + f.err.Error() }
func (f *objectFault) Unwrap() error { return f.err }

func objectError(object string, err error) error { return &objectFault{object: object, err: err} }

// DamagedObject names the object that a Corrupt error is about, within its tenant ("c/...",
// "r/<resource>/<workload>/p/..."); "" if it is about none.
func DamagedObject(err error) string {
	var f *objectFault
	if tenantry.KindOf(err) != tenantry.Corrupt || !errors.As(err, &f) {
		return ""
	}
	_, name, _ := strings.Cut(f.object, "/")
	return name
}

// Distrust has every writer of the tenant, from an hour on and of this process at once, store the
// content of damaged chunks anew, as their next generations, instead of sharing what is there. names
// are those of DamagedObject; what is no chunk, or is on a list already, is left out. It returns how
// many were new.
func (r *Repository) Distrust(ctx context.Context, names []string) (int, error) {
	fail := func(err error) (int, error) {
		return 0, tenantry.Errorf(tenantry.KindOf(err), "distrust chunks of tenant %s: %w", r.tenant, err)
	}
	_, lists, err := r.listLists(ctx)
	if err != nil {
		return fail(err)
	}
	known := &condemned{}
	for _, l := range lists {
		keys, err := r.readCondemned(ctx, strings.TrimPrefix(l.Key, r.object("")))
		if isNotFound(err) || tenantry.KindOf(err) == tenantry.Corrupt {
			continue
		}
		if err != nil {
			return fail(err)
		}
		known.keys = append(known.keys, keys)
	}
	var fresh []chunkKey
	for _, name := range names {
		if k, ok := parseChunkName(name); ok && strings.HasPrefix(name, "c/") && !known.has(k) && len(fresh) < maxCondemned {
			fresh = append(fresh, k)
		}
	}
	slices.SortFunc(fresh, compareKeys)
	fresh = slices.Compact(fresh)
	if len(fresh) == 0 {
		return 0, nil
	}
	if err := r.publish(ctx, distrustPrefix+fmt.Sprintf("%019d", r.now().UnixMicro()), fresh); err != nil {
		return fail(err)
	}
	r.condemnation.mu.Lock()
	r.condemnation.last = nil
	r.condemnation.mu.Unlock()
	return len(fresh), nil
}

// unreadable reports whether a list of damaged chunks is damaged itself: it must not stop every
// backup of the tenant. What it named is found again when it is read again.
func unreadable(name string, err error) bool {
	return strings.HasPrefix(name, distrustPrefix) && tenantry.KindOf(err) == tenantry.Corrupt
}

// trustAgain removes lists of damaged chunks of which none is left in the store. A lock may keep
// them, which costs generations and nothing else.
func (c *collector) trustAgain(ctx context.Context, lists []blob.Info) error {
	for _, l := range lists {
		keys, err := c.repo.readCondemned(ctx, strings.TrimPrefix(l.Key, c.repo.object("")))
		if isNotFound(err) || unreadable(distrustPrefix, err) {
			continue
		}
		if err != nil {
			return err
		}
		left, err := c.anyLeft(ctx, keys)
		if err != nil {
			return err
		}
		if left {
			continue
		}
		if err := c.repo.store.Delete(ctx, l.Key); err != nil && !errors.Is(err, blob.ErrLocked) {
			return err
		}
	}
	return nil
}

func (c *collector) anyLeft(ctx context.Context, keys []chunkKey) (bool, error) {
	for _, k := range keys {
		_, err := c.repo.store.Stat(ctx, c.repo.object(k.chunk().name()))
		if err == nil || !isNotFound(err) {
			return err == nil, err
		}
	}
	return false, nil
}
