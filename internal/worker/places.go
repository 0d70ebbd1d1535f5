package worker

import (
	"cmp"
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
)

// unservedWait is how long a task waits that this worker cannot do: until somebody has moved its tenant, or given
// the workers what they lack.
const unservedWait = time.Minute

func (w *Worker) unserved(t catalog.TenantRow) string {
	if w.cfg.Unserved == nil {
		return ""
	}
	return w.cfg.Unserved(t)
}

// leave leaves a task alone whose tenant this worker cannot serve: nothing was opened for it.
func (j *job) leave(ctx context.Context, reason string) (end, error) {
	j.log.Warnw("a tenant's work cannot be done here; its tasks wait", "reason", reason)
	err := j.scope.RaiseAlarm(ctx, catalog.AlarmPlace, "", reason, j.cfg.Now())
	return end{notBefore: j.cfg.Now().Add(unservedWait), reason: reason}, err
}

// inPlace ends the alarm of a tenant that was not served, if there is one. A sync or a connect looks, which is once
// a day or when somebody has changed something.
func (j *job) inPlace(ctx context.Context) error {
	if j.cfg.Unserved == nil {
		return nil // such workers raise none
	}
	return j.scope.ClearAlarm(ctx, catalog.AlarmPlace, "")
}

// causeHere names the alarm of a Shared error as that of a region, or a cloud, if it is not everybody's.
func (j *job) causeHere(err error) string {
	cause := causeOf(err)
	switch cause {
	case causeBucket, causeKey:
		if r := cmp.Or(j.cfg.Region, catalog.DefaultRegion); r != catalog.DefaultRegion {
			return cause + "@" + r
		}
	case causeGraph, causeCredential:
		if c := cmp.Or(j.claim.Of.Cloud, j.cfg.Cloud); c != j.cfg.Cloud {
			return cause + "@" + c
		}
	}
	return cause
}
