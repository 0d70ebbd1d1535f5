package scheduler

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
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

// scope is whom an alarm stops: everybody, the tenants of a region, or those of a cloud.
type scope string

// everywhere is the scope of what all tenants share: SQL, Redis, and everything where there is one region, or one cloud.
const everywhere scope = ""

func ofRegion(name string) scope { return scope("region/" + name) }
func ofCloud(name string) scope  { return scope("cloud/" + name) }

// scopeOf is whom an alarm stops. A bucket and its keys are one region's, an application and its Graph one cloud's: the
// cause names it behind an @, unless it is the one that every fleet has. As long as all tenants are there, that is
// everybody.
func (s *Scheduler) scopeOf(cause string) scope {
	name, at, _ := strings.Cut(cause, "@")
	home := catalog.Place{Region: catalog.DefaultRegion, Cloud: s.cfg.Cloud}
	elsewhere := func(differs func(catalog.Place) bool) bool {
		known := s.places.Load()
		if known == nil {
			return false
		}
		for _, place := range known.of {
			if differs(place) {
				return true
			}
		}
		return false
	}
	switch name {
	case "bucket", "key":
		if at != "" || elsewhere(func(p catalog.Place) bool { return p.Region != home.Region }) {
			return ofRegion(cmp.Or(at, home.Region))
		}
	case "credential", "graph":
		if at != "" || elsewhere(func(p catalog.Place) bool { return p.Cloud != home.Cloud }) {
			return ofCloud(cmp.Or(at, home.Cloud))
		}
	}
	return everywhere
}

// stoppedBy are the scopes with a gate that is not open in which a tenant is, in order.
func (s *Scheduler) stoppedBy(id tenantry.TenantID, gates map[scope]gate) []scope {
	if len(gates) == 0 {
		return nil
	}
	var in []scope
	place := s.placeOf(id)
	for _, sc := range []scope{everywhere, ofCloud(place.Cloud), ofRegion(place.Region)} {
		if gates[sc] != open {
			in = append(in, sc)
		}
	}
	return in
}

// mayProbe reports whether a tenant's task may be the probe of a scope: all of its scopes wait for one.
func (s *Scheduler) mayProbe(id tenantry.TenantID, sc scope, gates map[scope]gate, probed map[scope]bool) bool {
	in := s.stoppedBy(id, gates)
	return slices.Contains(in, sc) && !slices.ContainsFunc(in, func(other scope) bool { return gates[other] == shut || probed[other] })
}

// watch is what is known of the alarms of one scope.
type watch struct {
	alarms map[string]catalog.Alarm // not known to be over, by cause
	probe  *probe                   // under way
}

// gates reads the alarms and decides what may be admitted in which scope, as the package comment draws it; what is
// not named is open. SQL lists an alarm as long as it is in force; one that ran out is remembered here until a probe
// has shown that it is over. One that went before its time was resumed by somebody. A new leader remembers nothing
// and begins without a probe.
func (t *term) gates(ctx context.Context, now time.Time) (map[scope]gate, error) {
	inForce, err := t.fleet.Paused(ctx, now)
	if err != nil {
		return nil, err
	}
	all := make(map[scope][]catalog.Alarm)
	for sc := range t.watches {
		all[sc] = nil
	}
	for _, a := range inForce {
		sc := t.scopeOf(a.Cause)
		all[sc] = append(all[sc], a)
	}
	before, n := t.watches, 0
	t.watches = make(map[scope]*watch, len(all))
	for sc, alarms := range all {
		w := before[sc]
		if w == nil {
			w = &watch{}
		}
		if t.remember(w, alarms, now); len(w.alarms) > 0 {
			t.watches[sc] = w
			n += len(w.alarms)
		}
	}
	t.cfg.Observer.Alarms(n)
	gates := make(map[scope]gate)
	for sc, w := range t.watches {
		if gates[sc], err = t.gate(ctx, w, len(all[sc]) > 0, now); err != nil {
			return nil, err
		}
		if gates[sc] == open {
			delete(gates, sc)
		}
	}
	return gates, nil
}

// gate is that of one scope, which has alarms.
func (t *term) gate(ctx context.Context, w *watch, inForce bool, now time.Time) (gate, error) {
	if a, down := w.alarms[redisCause]; down {
		return shut, t.tryRedis(ctx, w, a, now)
	}
	switch {
	case inForce:
		w.probe = nil
		return shut, nil
	case w.probe == nil:
		return probing, nil
	}
	return t.judge(ctx, w, now)
}

func (t *term) remember(w *watch, inForce []catalog.Alarm, now time.Time) {
	before := w.alarms
	w.alarms = make(map[string]catalog.Alarm, len(inForce))
	for cause, a := range before {
		if !a.Until.After(now) {
			w.alarms[cause] = a
		}
	}
	for _, a := range inForce {
		if _, known := before[a.Cause]; !known {
			t.cfg.Log.Warnw("an alarm stops admission", "cause", a.Cause, "detail", a.Detail, "until", a.Until)
		}
		w.alarms[a.Cause] = a
	}
}

// noteProbes notes which of the admitted tasks are the probes of scopes: nothing else was admitted in them.
func (t *term) noteProbes(tasks []catalog.Task, gates map[scope]gate, now time.Time) {
	for sc, g := range gates {
		if g != probing {
			continue
		}
		for _, task := range tasks {
			if slices.Contains(t.stoppedBy(task.Tenant, gates), sc) {
				t.watches[sc].probe = &probe{task: task, since: now}
				break
			}
		}
	}
}

// resume ends an alarm.
func (t *term) resume(ctx context.Context, w *watch, a catalog.Alarm) error {
	if err := t.fleet.Resume(ctx, a.Cause); err != nil {
		return err
	}
	delete(w.alarms, a.Cause)
	t.cfg.Log.Infow("an alarm is over; admission goes on", "cause", a.Cause, "since", a.Since, "times", a.Times)
	return nil
}

// judge looks how the probe fares. While it runs nothing else is admitted.
func (t *term) judge(ctx context.Context, w *watch, now time.Time) (gate, error) {
	task, err := t.cfg.Catalog.Tenant(w.probe.task.Tenant).Task(ctx, w.probe.task.ID)
	if err != nil && tenantry.KindOf(err) != tenantry.NotFound {
		return shut, err
	}
	late := now.Sub(w.probe.since) >= probeTime
	switch task.State {
	case catalog.TaskAdmitted: // no worker has taken it: it proves nothing
		if late {
			w.probe = nil
		}
		return shut, nil
	case catalog.TaskRunning:
		if !late {
			return shut, nil
		}
	}
	w.probe = nil
	for _, a := range w.alarms {
		if proves(task.Action, a.Cause) {
			if err := t.resume(ctx, w, a); err != nil {
				return shut, err
			}
		}
	}
	if len(w.alarms) > 0 {
		return probing, nil
	}
	return open, nil
}

// proves tells whether a task of that action would have met the cause.
func proves(action tenantry.Action, cause string) bool {
	name, _, _ := strings.Cut(cause, "@")
	switch name {
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
func (t *term) tryRedis(ctx context.Context, w *watch, a catalog.Alarm, now time.Time) error {
	ping, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := t.cfg.Deliveries.Ping(ping); err != nil {
		if a.Until.After(now) {
			return nil // said already
		}
		return t.redisFailed(ctx, redisError{err})
	}
	return t.resume(ctx, w, a)
}
