package graphsim

import (
	"math"
	"time"
)

// Retention is how long deleted objects live on, in simulated time. Zero fields take
// their default; a negative one means not at all.
type Retention struct {
	// Users, Groups and Applications is how long soft-deleted ones stand in
	// deletedItems and can be restored; then they are gone for good. Default 30 days
	// ("directory resource type").
	Users        time.Duration `json:"users"`
	Groups       time.Duration `json:"groups"`
	Applications time.Duration `json:"applications"`
	// Sites is how long a deleted site answers by its ID. It can be restored for 93
	// days ("SharePoint retention and deletion"), which is the default; that it is
	// readable so long is not documented. The site of a group goes with the group.
	Sites time.Duration `json:"sites"`
}

func (r Retention) withDefaults() Retention {
	const day = 24 * time.Hour
	setDefault(&r.Users, 30*day)
	setDefault(&r.Groups, 30*day)
	setDefault(&r.Applications, 30*day)
	setDefault(&r.Sites, 93*day)
	return r
}

// never is a time that does not come.
const never = time.Duration(math.MaxInt64)

// purgeExpired removes for good what has been deleted for longer than it is kept. It
// runs before each request and costs one comparison while nothing is due.
func (t *Tenant) purgeExpired() {
	now := t.s.elapsed()
	if now < time.Duration(t.nextPurge.Load()) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nextPurge.Store(int64(never)) // what is deleted from here on puts it forward again
	next := never
	for _, d := range []*directory{&t.users, &t.groups, &t.sites} {
		for _, e := range d.deleted() {
			if now >= e.left.until {
				// It stands there as deleted, so that this cannot fail.
				_ = t.turnLocked(d, e.id, Purged, Deleted)
			} else {
				next = min(next, e.left.until)
			}
		}
	}
	t.purgeNoLaterThan(min(next, t.purgeRegistrations(now)))
}

// keepUntil notes when a deleted entry's time ends.
func (t *Tenant) keepUntil(d *directory, e *entry) {
	r := t.s.o.Retention
	keep := map[*directory]time.Duration{&t.users: r.Users, &t.groups: r.Groups, &t.sites: r.Sites}[d]
	if d == &t.sites && e.group != "" {
		keep = r.Groups
	}
	e.left.until = t.s.elapsed() + keep
	t.purgeNoLaterThan(e.left.until)
}

func (t *Tenant) purgeNoLaterThan(at time.Duration) {
	for {
		next := t.nextPurge.Load()
		if next <= int64(at) || t.nextPurge.CompareAndSwap(next, int64(at)) {
			return
		}
	}
}
