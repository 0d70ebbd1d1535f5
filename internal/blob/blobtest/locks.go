package blobtest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// LockStore is a Store in a bucket with versions and object locks.
type LockStore interface {
	blob.Store
	blob.Locker
	blob.Versioned
}

// RunLocks runs the part of the suite for stores that lock, which a folder cannot be.
func RunLocks(t *testing.T, open func(t *testing.T) LockStore) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, LockStore)
	}{
		{"every version is seen and deleted", testVersions},
		{"governance", testGovernance},
		{"compliance", testCompliance},
		{"extending never shortens", testExtend},
		{"legal hold", testHold},
		{"a locked write decides races too", testLockedRace},
		{"locks of absent objects", testLockAbsent},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func soon(d time.Duration) time.Time { return time.Now().Add(d).Truncate(time.Second) }

func versions(t *testing.T, s LockStore, key string) []blob.Version {
	t.Helper()
	var all []blob.Version
	for v, err := range s.Versions(t.Context(), key) {
		if err != nil {
			t.Fatalf("Versions(%s): %v", key, err)
		}
		if v.Key == key {
			all = append(all, v)
		}
	}
	return all
}

func lockOf(t *testing.T, s LockStore, key string) blob.Lock {
	t.Helper()
	lock, err := s.LockOf(t.Context(), key, "")
	if err != nil {
		t.Fatalf("LockOf(%s): %v", key, err)
	}
	return lock
}

func testVersions(t *testing.T, s LockStore) {
	put(t, s, "v/a", []byte("one"))
	put(t, s, "v/a", []byte("second"))
	put(t, s, "v/ab", []byte("x"))
	got := versions(t, s, "v/a")
	if len(got) != 2 || !got[0].Latest || got[1].Latest || got[0].Size != 6 || got[1].Size != 3 || got[0].ID == got[1].ID {
		t.Fatalf("versions of an object that was replaced: %+v", got)
	}
	if err := s.Delete(t.Context(), "v/a"); err != nil {
		t.Fatal(err)
	}
	if got := versions(t, s, "v/a"); len(got) > 0 {
		t.Errorf("left after Delete: %+v", got)
	}
	if got := versions(t, s, "v/ab"); len(got) != 1 {
		t.Errorf("an object whose key goes on behind the deleted one: %+v", got)
	}
	if _, err := s.Stat(t.Context(), "v/a"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Stat of what was deleted: %v", err)
	}
}

// refused checks that neither kind of deletion removes a version that is locked.
func refused(t *testing.T, s LockStore, key string) {
	t.Helper()
	if err := s.Delete(t.Context(), key); !errors.Is(err, blob.ErrLocked) || tenantry.KindOf(err) != tenantry.Conflict {
		t.Errorf("Delete(%s): %v", key, err)
	}
	for _, v := range versions(t, s, key) {
		if err := s.DeleteVersion(t.Context(), key, v.ID, false); !errors.Is(err, blob.ErrLocked) {
			t.Errorf("DeleteVersion(%s): %v", key, err)
		}
	}
	if got := read(t, s, key, 0, -1); string(got) != "locked" {
		t.Errorf("%s reads %q", key, got)
	}
}

func testGovernance(t *testing.T, s LockStore) {
	until := soon(time.Hour)
	if err := s.PutLocked(t.Context(), "g", []byte("locked"), false, blob.Lock{Mode: blob.Governance, Until: until}); err != nil {
		t.Fatal(err)
	}
	if got := lockOf(t, s, "g"); got.Mode != blob.Governance || !got.Until.Equal(until) || got.Hold {
		t.Errorf("locked as %+v, expected until %v", got, until)
	}
	refused(t, s, "g")
	for _, v := range versions(t, s, "g") {
		if err := s.DeleteVersion(t.Context(), "g", v.ID, true); err != nil {
			t.Errorf("with a bypass: %v", err)
		}
	}
	if _, err := s.Stat(t.Context(), "g"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("after a bypass: %v", err)
	}
}

func testCompliance(t *testing.T, s LockStore) {
	if err := s.PutLocked(t.Context(), "c", []byte("locked"), true, blob.Lock{Mode: blob.Compliance, Until: soon(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	refused(t, s, "c")
	for _, v := range versions(t, s, "c") {
		if err := s.DeleteVersion(t.Context(), "c", v.ID, true); !errors.Is(err, blob.ErrLocked) {
			t.Errorf("with a bypass: %v", err)
		}
	}
}

func testExtend(t *testing.T, s LockStore) {
	first, later := soon(time.Hour), soon(3*time.Hour)
	if err := s.PutLocked(t.Context(), "e", []byte("locked"), false, blob.Lock{Mode: blob.Governance, Until: first}); err != nil {
		t.Fatal(err)
	}
	for _, until := range []time.Time{later, first} {
		if err := s.Extend(t.Context(), "e", blob.Lock{Mode: blob.Governance, Until: until}); err != nil {
			t.Fatalf("Extend: %v", err)
		}
		if got := lockOf(t, s, "e"); !got.Until.Equal(later) {
			t.Errorf("extended to %v: until %v, expected %v", until, got.Until, later)
		}
	}
	put(t, s, "e-free", []byte("x"))
	if err := s.Extend(t.Context(), "e-free", blob.Lock{Mode: blob.Compliance, Until: first}); err != nil {
		t.Fatalf("lock what was not: %v", err)
	}
	if err := s.Extend(t.Context(), "e-free", blob.Lock{Mode: blob.Governance, Until: later}); err != nil {
		t.Fatal(err)
	}
	if got := lockOf(t, s, "e-free"); got.Mode != blob.Compliance || !got.Until.Equal(later) {
		t.Errorf("a weaker mode made it %+v", got)
	}
}

func testHold(t *testing.T, s LockStore) {
	put(t, s, "h", []byte("locked"))
	if err := s.Hold(t.Context(), "h", true); err != nil {
		t.Fatal(err)
	}
	if got := lockOf(t, s, "h"); !got.Hold || !got.Holds(time.Now().Add(1000*time.Hour)) {
		t.Errorf("held as %+v", got)
	}
	refused(t, s, "h")
	if err := s.Hold(t.Context(), "h", false); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "h"); err != nil {
		t.Errorf("after the hold was lifted: %v", err)
	}
}

func testLockedRace(t *testing.T, s LockStore) {
	lock := blob.Lock{Mode: blob.Governance, Until: soon(time.Hour)}
	first := s.PutLocked(t.Context(), "once", []byte("locked"), true, lock)
	second := s.PutLocked(t.Context(), "once", []byte("other"), true, lock)
	if first != nil || !errors.Is(second, blob.ErrExists) {
		t.Errorf("locked writes of one key: %v, %v", first, second)
	}
	if n := len(versions(t, s, "once")); n != 1 {
		t.Errorf("%d versions of what was to be written once", n)
	}
}

func testLockAbsent(t *testing.T, s LockStore) {
	errs := []error{s.Extend(t.Context(), "nothing", blob.Lock{Mode: blob.Governance, Until: soon(time.Hour)}), s.Hold(t.Context(), "nothing", true)}
	_, err := s.LockOf(t.Context(), "nothing", "")
	for i, err := range append(errs, err) {
		if !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if slices.ContainsFunc(versions(t, s, "nothing"), func(blob.Version) bool { return true }) {
		t.Error("an absent object has versions")
	}
}
