package worker

import (
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The numbers of the retry policy.
const (
	maxAttempts = 8 // of any task: 10 s, 20 s, ... about 20 minutes in all
	firstWait   = 10 * time.Second
	longestWait = 15 * time.Minute

	// A fresh consent takes effect with a delay that Microsoft does not document
	// ("retry for minutes, not seconds", auth.md 2): about five minutes in all.
	maxConnects        = 12
	firstConnectWait   = 5 * time.Second
	longestConnectWait = 30 * time.Second

	throttleWait  = 30 * time.Second // where Microsoft did not say until when
	sharedWait    = 8 * time.Second  // after that the alarm decides; it is there when a probe is wanted
	reconnectWait = 5 * time.Second  // after that the tenant's state decides: disconnected, nothing is admitted
	reconnectTime = 24 * time.Hour   // then a task stops waiting for a consent
)

// failure is what the retry policy looks at.
type failure struct {
	action  tenantry.Action
	kind    tenantry.Kind
	until   time.Time // earliest time to try again; zero unknown
	attempt int       // failures so far
	created time.Time // of the task
}

// verdict is what becomes of a task after a failed slice.
type verdict struct {
	state     catalog.TaskState
	notBefore time.Time
	attempt   int
}

// decide is the one retry policy of the fleet. It is pure; spread, in [0,1), is the draw
// of the jitter that keeps tasks which failed together from coming back together.
//
//	Throttled            parked until then; nothing failed, so no attempt is counted
//	Shared               ready again soon, uncounted; the alarm stops admission
//	Canceled             ready at once: we were told to stop
//	Absent               done: there is nothing to back up
//	Reconnect            waits for a new consent, at most a day; a connect fails
//	Transient, Internal, Conflict, Resync, Fenced   backoff, then failed
//	everything else      failed: trying again changes nothing
//
// Fenced here means that the bucket has seen another owner while SQL names this one: the
// next claim raises the epoch. When SQL names another owner too, the settlement is refused.
func decide(f failure, now time.Time, spread float64) verdict {
	switch f.kind {
	case tenantry.Throttled:
		return f.park(throttledUntil(f.until, now))
	case tenantry.Shared:
		return f.park(now.Add(jitter(sharedWait, spread)))
	case tenantry.Canceled:
		return f.park(now)
	case tenantry.Absent:
		return verdict{state: catalog.TaskDone, attempt: f.attempt}
	case tenantry.Reconnect:
		if f.action == tenantry.Connect || now.Sub(f.created) > reconnectTime {
			return f.fail()
		}
		return f.park(now.Add(jitter(reconnectWait, spread)))
	case tenantry.Transient, tenantry.Internal, tenantry.Conflict, tenantry.Resync, tenantry.Fenced:
		return f.backOff(now, spread)
	}
	return f.fail()
}

func (f failure) park(until time.Time) verdict {
	return verdict{state: catalog.TaskReady, notBefore: until, attempt: f.attempt}
}

func (f failure) fail() verdict {
	return verdict{state: catalog.TaskFailed, attempt: f.attempt + 1}
}

func (f failure) backOff(now time.Time, spread float64) verdict {
	first, longest := firstWait, longestWait
	if f.action == tenantry.Connect {
		first, longest = firstConnectWait, longestConnectWait
	}
	if f.attempt+1 >= attemptsOf(f.action) {
		return f.fail()
	}
	wait := min(longest, first<<min(f.attempt, 20))
	v := f.park(now.Add(jitter(wait, spread)))
	v.attempt++
	if f.until.After(v.notBefore) {
		v.notBefore = f.until
	}
	return v
}

// attemptsOf is how often tasks of an action are tried.
func attemptsOf(a tenantry.Action) int {
	if a == tenantry.Connect {
		return maxConnects
	}
	return maxAttempts
}

// throttledUntil is when a throttled task goes on: at the time that was said. A time that
// lies behind says nothing, unless it passed while the slice ended.
func throttledUntil(until, now time.Time) time.Time {
	switch {
	case until.After(now):
		return until
	case now.Sub(until) < throttleWait: // it passed while the slice ended
		return now
	}
	return now.Add(throttleWait)
}

// jitter spreads d over 80 to 120 percent.
func jitter(d time.Duration, spread float64) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*spread))
}
