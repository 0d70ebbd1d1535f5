package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// commitTries bounds how often a manifest is put, and how often its key is read to
	// learn what became of it.
	commitTries = 5
	// commitGrace is how long learning the outcome may go on after the caller's context
	// has ended: a worker that drains wants to know whether its last commit counts.
	commitGrace = 15 * time.Second
	// backoff is the first wait between tries; it doubles, and half of it is random.
	backoff = 50 * time.Millisecond
)

// commit puts a manifest's body under its name, once, whatever the network does:
//
//	PUT If-None-Match ──ok──────────────────────────────► committed
//	   ▲       │ 412, 409, 5xx, time-out, cut connection
//	   │       ▼
//	absent ── GET the key ──our own body────────────────► committed
//	           │    └──────another body─────────────────► Fenced
//	           └─ no answer after all tries ────────────► Transient: outcome unknown
//
// The body carries a random nonce inside its encryption, so equal bytes mean that it is
// one's own. known is when the number was known to be free: long after that another one's manifest may
// have had it and be swept, so nothing is put any more. A PUT that is believed lost may still land later; putting again is then
// answered by 412 and the GET finds one's own body.
func (r *Repository) commit(ctx context.Context, s tenantry.Series, seq int64, body []byte, known time.Time) error {
	key := r.object(manifestName(s, seq))
	for try := range commitTries {
		if err := pause(ctx, try); err != nil {
			return err
		}
		if late := passed(known, r.now()); late > 2*sliceBound {
			return tenantry.Errorf(tenantry.Transient, "commit number %d: its predecessor was read %v ago", seq, late)
		}
		putErr := r.store.PutIfAbsent(ctx, key, body)
		if putErr == nil {
			return nil
		}
		if kind := tenantry.KindOf(putErr); kind == tenantry.Invalid {
			return putErr
		}
		found, err := r.settled(ctx, key)
		switch {
		case err == nil && bytes.Equal(found, body):
			return nil
		case err == nil:
			return tenantry.Errorf(tenantry.Fenced, "commit snapshot data number %d: %s", seq, r.winner(s, seq, found))
		case !errors.Is(err, blob.ErrNotFound):
			return tenantry.Errorf(tenantry.KindOf(err), "commit number %d, outcome unknown: %w", seq, errors.Join(putErr, err))
		case ctx.Err() != nil || tenantry.KindOf(putErr) == tenantry.Shared:
			return tenantry.Errorf(tenantry.KindOf(putErr), "commit number %d: %w", seq, putErr)
		}
	}
	return tenantry.Errorf(tenantry.Transient, "commit number %d: the store took none of %d tries", seq, commitTries)
}

// settled reads what lies under a key after a put whose outcome is unknown.
func (r *Repository) settled(ctx context.Context, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitGrace)
	defer cancel()
	var last error
	for try := range commitTries {
		if err := pause(ctx, try); err != nil {
			return nil, errors.Join(last, err)
		}
		body, err := blob.ReadAll(ctx, r.store, key, maxManifest)
		if err == nil || errors.Is(err, blob.ErrNotFound) {
			return body, err
		}
		last = err
	}
	return nil, last
}

// winner says in words who has committed instead.
func (r *Repository) winner(s tenantry.Series, seq int64, body []byte) string {
	m, err := r.openManifest(s, seq, body)
	if err != nil {
		return "another object has its name and does not open"
	}
	return fmt.Sprintf("task %s committed it in epoch %d", m.Task, m.Epoch)
}

// pause waits before the given try, longer each time; not before the first.
func pause(ctx context.Context, try int) error {
	if err := ctx.Err(); err != nil {
		return tenantry.E(tenantry.KindOf(err), "write to the repository", err)
	}
	if try == 0 {
		return nil
	}
	wait := backoff << (try - 1)
	wait = wait/2 + rand.N(wait/2)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return tenantry.E(tenantry.KindOf(ctx.Err()), "write to the repository", ctx.Err())
	}
}
