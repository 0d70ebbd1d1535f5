package blob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// probePrefix begins the names of the objects that Open writes in the root to learn
	// what a store can do. A random word follows: several processes may start at once.
	probePrefix = "tenantry-probe."
	// probeRacers is how many writes of one key race.
	probeRacers = 4
	// probeLock is how long a probe of object locks is locked: longer than clocks differ.
	probeLock = time.Minute
	// probeAge is how old a probe is that some start before left behind.
	probeAge = time.Hour
)

// prove learns what the store can do and returns it, locking if the policy wants that. On
// an error the store is closed.
func prove(ctx context.Context, s Store, where string, policy LockPolicy) (Store, error) {
	proved, err := proven(ctx, s, where, policy)
	if err != nil {
		if c, ok := s.(io.Closer); ok {
			_ = c.Close() // why the store is refused matters more
		}
		return nil, err
	}
	return proved, nil
}

func proven(ctx context.Context, s Store, where string, policy LockPolicy) (Store, error) {
	bucket, isS3 := s.(*S3)
	if !isS3 && policy.Mode != NoLock {
		return nil, tenantry.Errorf(tenantry.Invalid, "store %s is a folder, which cannot lock objects: use a bucket with object locks, or no lock mode", where)
	}
	if err := proveFence(ctx, s, where); err != nil {
		return nil, err
	}
	if isS3 {
		var err error
		if bucket.versions, err = bucket.versioning(ctx); err != nil {
			return nil, err
		}
	}
	sweepProbes(ctx, s)
	if policy.Mode == NoLock {
		return s, nil
	}
	if err := proveLocks(ctx, bucket, where); err != nil {
		return nil, err
	}
	return &locking{S3: bucket, policy: policy}, nil
}

func probeName() string {
	var word [8]byte
	_, _ = rand.Read(word[:])
	return probePrefix + hex.EncodeToString(word[:])
}

// proveFence lets conditional writes of one key race: one may win.
func proveFence(ctx context.Context, s Store, where string) error {
	key := probeName()
	body := []byte("written to learn whether this store honours If-None-Match\n")
	errs := make([]error, probeRacers)
	var racing sync.WaitGroup
	for i := range errs {
		racing.Go(func() { errs[i] = s.PutIfAbsent(ctx, key, body) })
	}
	racing.Wait()
	err := settleFence(ctx, s, where, key, body, errs)
	// Best effort: what stays is removed by a later start, and harms nobody.
	_ = s.Delete(context.WithoutCancel(ctx), key)
	return err
}

// settleFence judges the answers of a race, and asks once more alone: racers may all have
// been told 409, and a store that only serialises would let the last write win.
func settleFence(ctx context.Context, s Store, where, key string, body []byte, errs []error) error {
	won := 0
	for try := 0; try < probeRacers; try++ {
		errs = append(errs, s.PutIfAbsent(ctx, key, body))
		if err := errs[len(errs)-1]; err == nil || errors.Is(err, ErrExists) || tenantry.KindOf(err) != tenantry.Transient {
			break
		}
	}
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, ErrExists) && tenantry.KindOf(err) != tenantry.Transient:
			return err
		}
	}
	last := errs[len(errs)-1]
	switch {
	case won > 1:
		return tenantry.Errorf(tenantry.Shared,
			"store %s does not honour If-None-Match: it let %d conditional writes of one key succeed; two workers could overwrite each other's backups there", where, won)
	case last == nil || errors.Is(last, ErrExists):
		return nil
	}
	return tenantry.E(tenantry.Shared, "learn whether store "+where+" honours If-None-Match", last)
}

// proveLocks writes a locked object and tries to delete it.
func proveLocks(ctx context.Context, s *S3, where string) error {
	lacks := func(what string) error {
		return tenantry.Errorf(tenantry.Shared, "store %s has no %s, which the lock mode needs: make a bucket with object locks enabled", where, what)
	}
	if !s.versions {
		return lacks("versioning")
	}
	if able, err := s.lockable(ctx); err != nil {
		return err
	} else if !able {
		return lacks("object locks")
	}
	key := probeName()
	lock := Lock{Mode: Governance, Until: time.Now().Add(probeLock)}
	if err := s.PutLocked(ctx, key, []byte("written to learn whether this store locks objects\n"), true, lock); err != nil {
		return fmt.Errorf("write a locked probe: %w", err)
	}
	for v, err := range s.Versions(ctx, key) {
		if err != nil {
			return err
		}
		switch err := s.DeleteVersion(ctx, key, v.ID, false); {
		case err == nil:
			return lacks("object locks that hold: it let a locked probe be deleted")
		case !errors.Is(err, ErrLocked):
			return err
		}
		// Needs a right that a worker should not have; without it a later start removes the probe.
		_ = s.DeleteVersion(ctx, key, v.ID, true)
	}
	return nil
}

// sweepProbes removes what starts before this one left behind. Best effort.
func sweepProbes(ctx context.Context, s Store) {
	for info, err := range s.List(ctx, probePrefix) {
		if err != nil {
			return
		}
		if time.Since(info.Modified) > probeAge {
			_ = s.Delete(ctx, info.Key)
		}
	}
}
