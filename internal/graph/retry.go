package graph

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// policy is the one policy of tries, pauses and time-outs, in place. Nothing holds a worker's slot for
// longer than it says: what needs more goes back to the caller, who parks.
type policy struct {
	tries int           // of a request that fails in passing, the first one included
	first time.Duration // pause before the second try; doubles
	pause time.Duration // longest single pause; a throttle that asks for more is not waited for
	total time.Duration // longest sum of pauses of one request

	request time.Duration // of one try with its body; not longer than a mailbox's permit is renewed
	stall   time.Duration // a stream may bring nothing for so long, its header included
}

var standardPolicy = policy{
	tries: 5, first: time.Second, pause: 5 * time.Second, total: 20 * time.Second,
	request: 100 * time.Second, stall: 60 * time.Second,
}

// retry runs try until it succeeds, fails for good, or the policy is used up.
// once says that repeating a request that may have been carried out would do its
// work twice: then only refusals are repeated, and the caller, who gets
// Transient, has to look before it asks again.
func (p policy) retry(ctx context.Context, once bool, try func() error) error {
	var slept time.Duration
	for n := 1; ; n++ {
		err := try()
		if err == nil {
			return nil
		}
		wait, ok := p.waitAfter(err, n, once)
		if !ok || slept+wait > p.total || ctx.Err() != nil {
			return told(ctx, p.timed(err, wait))
		}
		slept += wait
		end := tenantry.MeterOf(ctx).Graph(waitedFor(err))
		asleep := sleep(ctx, wait)
		end()
		if asleep != nil {
			return told(ctx, err)
		}
	}
}

// waitedFor names what a pause is due to: the account that the book named, or what
// Microsoft answered.
func waitedFor(err error) string {
	if tenantry.KindOf(err) != tenantry.Throttled {
		return throttle.Unavailable
	}
	return cmp.Or(throttle.AccountOf(tenantry.CodeOf(err)), throttle.Answered)
}

// told makes Canceled of a failure after which we were told to stop: what the
// failure asks for is for others to do.
func told(ctx context.Context, err error) error {
	if !errors.Is(ctx.Err(), context.Canceled) || tenantry.KindOf(err) == tenantry.Canceled {
		return err
	}
	return tenantry.E(tenantry.Canceled, "stopped", err)
}

// waitAfter says whether the nth failed try is worth another one, and after
// which pause.
func (p policy) waitAfter(err error, n int, once bool) (time.Duration, bool) {
	wait := p.backoff(n)
	if until := tenantry.UntilOf(err); !until.IsZero() {
		asked := time.Until(until)
		if asked > p.pause {
			return asked, false
		}
		// Everybody throttled hears the same time: spread what comes after it. A slow process hears it when it has passed.
		asked = max(asked, 0)
		wait = max(wait/2, asked+rand.N(asked/10+time.Millisecond))
	}
	switch tenantry.KindOf(err) {
	case tenantry.Throttled:
		return wait, true
	case tenantry.Transient:
		if once && mayBeDone(err) || errors.Is(err, errNoUse) {
			return 0, false
		}
		return wait, n < p.tries
	}
	return 0, false
}

// backoff is exponential with full jitter in its upper half.
func (p policy) backoff(n int) time.Duration {
	d := min(p.first<<min(n-1, 10), p.pause)
	return d/2 + rand.N(d/2+1)
}

// timed gives a throttle that carries no time the time to come back at, so that
// the task can be parked until then.
func (p policy) timed(err error, wait time.Duration) error {
	var e *tenantry.Error
	if !errors.As(err, &e) || e.Kind != tenantry.Throttled || !e.Until.IsZero() {
		return err
	}
	timed := *e
	timed.Until = time.Now().Add(max(wait, 2*p.pause))
	return &timed
}

// mayBeDone reports whether a failed request may have been carried out all the
// same: everything but a refusal at the door and a connection never made.
func mayBeDone(err error) bool {
	if status := statusOf(err); status != 0 {
		return status != http.StatusServiceUnavailable
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return false
	}
	return !errors.Is(err, errNotSent)
}

// errNoUse marks what may pass, but not by asking the same again.
var errNoUse = errors.New("no use to ask the same again")

// errNotSent marks failures before the request left: no token, for example.
var errNotSent = errors.New("not sent")

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
