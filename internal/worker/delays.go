package worker

import (
	"cmp"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// delays is what the slice waited for before it began and while it ran, and what it spent.
// The time between becoming ready and the claim is split at its last admission: until
// then it was the leader that let others go first, after it all slots were taken.
func (j *job) delays() (tenantry.Delays, map[tenantry.Service]int64) {
	d, spent := j.meter.Read()
	ready := j.claim.NotBefore
	if ready.IsZero() {
		ready = j.claim.CreatedAt
	}
	// Clocks of different processes: what is less than nothing is nothing.
	d.Queue = max(0, j.claim.AdmittedAt.Sub(ready))
	d.Worker = max(0, j.began.Sub(j.claim.AdmittedAt))
	return d, spent
}

// waitUntil is what a task that a failure makes wait will have waited for by its time.
func waitUntil(v verdict, cause error, now time.Time) tenantry.Delays {
	wait := v.notBefore.Sub(now)
	switch {
	case v.state != catalog.TaskReady || wait <= 0:
		return tenantry.Delays{}
	case tenantry.KindOf(cause) == tenantry.Throttled:
		return tenantry.Delays{Graph: map[string]time.Duration{accountOf(cause): wait}}
	}
	return tenantry.Delays{Retry: wait}
}

// accountOf names what a throttled error waits for.
func accountOf(err error) string {
	return cmp.Or(throttle.AccountOf(tenantry.CodeOf(err)), throttle.Answered)
}
