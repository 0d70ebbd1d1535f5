package scheduler

import (
	"context"
	"errors"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// redisCause is the alarm that the leader raises and resumes itself: it can ask Redis.
// All others are raised by workers and resumed after a probe.
const redisCause = "redis"

const (
	redisPause = 5 * time.Second
	// probeTime is how long a probe must run to count as success when it does not end:
	// what is broken for everybody shows at once.
	probeTime = time.Minute
)

// gate says how much may be admitted.
type gate int

const (
	open    gate = iota // as much as fits
	probing             // one task
	shut                // nothing
)

// probe is the one task that was admitted to see whether the shared causes are gone.
type probe struct {
	task  catalog.Task
	since time.Time
}

// gate reads the alarms and decides what may be admitted, as the package comment draws
// it. SQL lists an alarm as long as it is in force; one that ran out is remembered here
// until a probe has shown that it is over. One that went before its time was resumed by
// somebody. A new leader remembers nothing and begins without a probe.
func (t *term) gate(ctx context.Context, now time.Time) (gate, error) {
	inForce, err := t.fleet.Paused(ctx, now)
	if err != nil {
		return shut, err
	}
	t.remember(inForce, now)
	t.cfg.Observer.Alarms(len(t.alarms))
	if a, down := t.alarms[redisCause]; down {
		return shut, t.tryRedis(ctx, a, now)
	}
	switch {
	case len(t.alarms) == 0:
		t.probe = nil
		return open, nil
	case len(inForce) > 0:
		t.probe = nil
		return shut, nil
	case t.probe == nil:
		return probing, nil
	}
	return t.judge(ctx, now)
}

func (t *term) remember(inForce []catalog.Alarm, now time.Time) {
	before := t.alarms
	t.alarms = make(map[string]catalog.Alarm, len(inForce))
	for cause, a := range before {
		if !a.Until.After(now) {
			t.alarms[cause] = a
		}
	}
	for _, a := range inForce {
		if _, known := before[a.Cause]; !known {
			t.cfg.Log.Warnw("an alarm stops admission", "cause", a.Cause, "detail", a.Detail, "until", a.Until)
		}
		t.alarms[a.Cause] = a
	}
}

// resume ends an alarm.
func (t *term) resume(ctx context.Context, a catalog.Alarm) error {
	if err := t.fleet.Resume(ctx, a.Cause); err != nil {
		return err
	}
	delete(t.alarms, a.Cause)
	t.cfg.Log.Infow("an alarm is over; admission goes on", "cause", a.Cause, "since", a.Since, "times", a.Times)
	return nil
}

// judge looks how the probe fares. While it runs nothing else is admitted.
func (t *term) judge(ctx context.Context, now time.Time) (gate, error) {
	task, err := t.cfg.Catalog.Tenant(t.probe.task.Tenant).Task(ctx, t.probe.task.ID)
	if err != nil && tenantry.KindOf(err) != tenantry.NotFound {
		return shut, err
	}
	late := now.Sub(t.probe.since) >= probeTime
	switch task.State {
	case catalog.TaskAdmitted: // no worker has taken it: it proves nothing
		if late {
			t.probe = nil
		}
		return shut, nil
	case catalog.TaskRunning:
		if !late {
			return shut, nil
		}
	}
	t.probe = nil
	for _, a := range t.alarms {
		if proves(task.Action, a.Cause) {
			if err := t.resume(ctx, a); err != nil {
				return shut, err
			}
		}
	}
	if len(t.alarms) > 0 {
		return probing, nil
	}
	return open, nil
}

// proves tells whether a task of that action would have met the cause.
func proves(action tenantry.Action, cause string) bool {
	switch cause {
	case "bucket", "key":
		return action != tenantry.Connect && action != tenantry.Sync
	case "credential", "graph":
		return tenantry.ServiceOf(action, tenantry.Mailbox) != tenantry.NoService
	}
	return true
}

// redisError marks an error as Redis's: SQL's are of kind Shared too.
type redisError struct{ error }

func (e redisError) Unwrap() error { return e.error }

// redisFailed raises the alarm if err is Redis's, and returns err. SQL stays as it is;
// what was admitted is offered again when Redis is back.
func (t *term) redisFailed(ctx context.Context, err error) error {
	if !errors.As(err, new(redisError)) || ctx.Err() != nil {
		return err
	}
	now := t.cfg.Now()
	return errors.Join(err, t.fleet.Pause(ctx, redisCause, err.Error(), now.Add(redisPause), now))
}

// tryRedis ends the redis alarm when Redis answers, and raises it anew when it runs out.
func (t *term) tryRedis(ctx context.Context, a catalog.Alarm, now time.Time) error {
	ping, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := t.cfg.Deliveries.Ping(ping); err != nil {
		if a.Until.After(now) {
			return nil // said already
		}
		return t.redisFailed(ctx, redisError{err})
	}
	return t.resume(ctx, a)
}
