package blob

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// ErrLocked says that a version is under retention or a legal hold: it cannot be deleted
// now, and trying again soon does not help.
var ErrLocked = errors.New("object is locked")

// LockMode is how strong a retention is.
type LockMode string

// The modes of S3 Object Lock (Amazon S3 User Guide, "Locking objects with Object Lock").
const (
	NoLock LockMode = ""
	// Governance keeps objects from everybody but those who may bypass it.
	Governance LockMode = "governance"
	// Compliance keeps them from everybody, the owner of the account too.
	Compliance LockMode = "compliance"
)

// Lock is what keeps one version from being deleted.
type Lock struct {
	Mode  LockMode  // NoLock: no retention
	Until time.Time // end of the retention
	Hold  bool      // a legal hold, which has no end
}

// Holds reports whether the lock keeps its version at the time.
func (l Lock) Holds(now time.Time) bool { return l.Hold || (l.Mode != NoLock && l.Until.After(now)) }

// Version is one version of an object.
type Version struct {
	Info
	ID      string
	Latest  bool
	Deleted bool // a delete marker: the object reads as absent, its older versions remain
}

// Locker is what a Store in a bucket with object locks can do beside. A folder cannot.
// All methods are safe for concurrent use; errors are those of Store.
type Locker interface {
	// PutLocked is Put, or with absent PutIfAbsent, of an object that is locked from its
	// first moment on.
	PutLocked(ctx context.Context, key string, body []byte, absent bool, lock Lock) error
	// Extend makes the retention of the latest version last until the lock's end at
	// least. It never shortens or weakens one.
	Extend(ctx context.Context, key string, lock Lock) error
	// Hold sets or lifts the legal hold of the latest version.
	Hold(ctx context.Context, key string, on bool) error
	// LockOf tells what keeps a version; an empty ID means the latest.
	LockOf(ctx context.Context, key, version string) (Lock, error)
}

// Versioned is what a Store in a bucket with versioning can do beside. A folder cannot.
// There Delete of a Store removes every version of a key.
type Versioned interface {
	// Versions yields all versions and delete markers under a prefix, by key, newest
	// first. It ends at the first error, which it yields.
	Versions(ctx context.Context, prefix string) iter.Seq2[Version, error]
	// DeleteVersion removes one version for good; absent is fine. ErrLocked if a lock
	// keeps it; bypass overrides a Governance retention if the credentials may.
	DeleteVersion(ctx context.Context, key, version string, bypass bool) error
}

// LockPolicy says how what is written is locked. The zero value locks nothing.
type LockPolicy struct {
	Mode LockMode
	// For is how long everything is kept at least, from the time it is written or last
	// used: as long as the longest snapshot.
	For time.Duration
}

// Reserve is how much longer than For a retention is made, so that content which is used
// again and again is extended once in a while, not at every use.
func (p LockPolicy) Reserve() time.Duration { return min(p.For/4, 30*24*time.Hour) }

// check returns Invalid unless the policy can be meant.
func (p LockPolicy) check() error {
	switch {
	case p.Mode == NoLock:
		return nil
	case p.Mode != Governance && p.Mode != Compliance:
		return tenantry.Errorf(tenantry.Invalid, "lock mode is %q; it may be governance or compliance", p.Mode)
	case p.For < time.Minute || p.For > 100*365*24*time.Hour:
		return tenantry.Errorf(tenantry.Invalid, "objects are to be locked for %v; it may be a minute to a hundred years", p.For)
	}
	return nil
}

// Retainer is a Store whose objects are locked as a policy says. Using an object again
// (a chunk that is stored already, the key) calls Retain, so that its lock covers the new
// use; a Store that is no Retainer needs no such call.
type Retainer interface {
	// Retain extends the lock of an object to the policy's time from now. It costs one
	// call, and a second only where the lock has to move. ErrNotFound if absent.
	Retain(ctx context.Context, key string) error
	// RetainUntil extends the lock of an object that ends before a time, and by a reserve beyond it, so
	// that it need not be moved again soon; it reports whether it did. It costs what Retain does, and
	// never shortens a lock. ErrNotFound if absent.
	RetainUntil(ctx context.Context, key string, until time.Time) (moved bool, err error)
	// Policy is what the store locks by.
	Policy() LockPolicy
}

// Retain extends the lock of an object if the store locks at all.
func Retain(ctx context.Context, s Store, key string) error {
	if r, ok := s.(Retainer); ok {
		return r.Retain(ctx, key)
	}
	return nil
}

// locking is an S3 store that locks what it writes.
type locking struct {
	*S3
	policy LockPolicy
}

// Put implements Store.
func (l *locking) Put(ctx context.Context, key string, body []byte) error {
	return l.PutLocked(ctx, key, body, false, l.lock())
}

// PutIfAbsent implements Store.
func (l *locking) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	return l.PutLocked(ctx, key, body, true, l.lock())
}

// lock is what an object written now gets.
func (l *locking) lock() Lock {
	return Lock{Mode: l.policy.Mode, Until: time.Now().Add(l.policy.For + l.policy.Reserve())}
}

// Retain implements Retainer.
func (l *locking) Retain(ctx context.Context, key string) error {
	_, err := l.RetainUntil(ctx, key, time.Now().Add(l.policy.For))
	return err
}

// RetainUntil implements Retainer.
func (l *locking) RetainUntil(ctx context.Context, key string, until time.Time) (moved bool, err error) {
	have, err := l.LockOf(ctx, key, "")
	if err != nil {
		return false, err
	}
	if have.Mode != NoLock && have.Until.After(until) && !weaker(have.Mode, l.policy.Mode) {
		return false, nil
	}
	return true, l.Extend(ctx, key, Lock{Mode: l.policy.Mode, Until: until.Add(l.policy.Reserve())})
}

// Policy implements Retainer.
func (l *locking) Policy() LockPolicy { return l.policy }

// weaker reports whether mode a keeps less than mode b.
func weaker(a, b LockMode) bool {
	rank := map[LockMode]int{NoLock: 0, Governance: 1, Compliance: 2}
	return rank[a] < rank[b]
}
