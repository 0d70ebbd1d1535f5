package gateway

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// usualRoom is what requests may hold of objects where the configuration does not say, in bytes.
const usualRoom = 128 << 20

// room is the memory that requests hold of objects: never more than its bytes and one object. The data regions have equal
// shares of it, so that those that wait for one region's bucket keep nobody else's from theirs; an object that is larger
// than a share has the one place for such, which all regions take turns in. Safe for concurrent use.
type room struct {
	share int64
	large *semaphore.Weighted

	mu     sync.Mutex
	shares map[string]*semaphore.Weighted
}

// newRoom makes room of so many bytes for so many regions.
func newRoom(bytes int64, regions int) *room {
	return &room{share: max(1, bytes/int64(max(1, regions))), large: semaphore.NewWeighted(1), shares: map[string]*semaphore.Weighted{}}
}

// take waits until there is room for an object of a region, of n bytes, and returns what gives it back.
func (r *room) take(ctx context.Context, region string, n int64) (free func(), err error) {
	place := r.large
	if n = max(1, n); n <= r.share {
		place = r.of(region)
	} else {
		n = 1
	}
	if !place.TryAcquire(n) { // a request that has ended may still take what nobody waits for
		if err := place.Acquire(ctx, n); err != nil {
			return nil, err
		}
	}
	return func() { place.Release(n) }, nil
}

// of is the share of a region: one of those that the configuration has, which are few.
func (r *room) of(region string) *semaphore.Weighted {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shares[region] == nil {
		r.shares[region] = semaphore.NewWeighted(r.share)
	}
	return r.shares[region]
}
