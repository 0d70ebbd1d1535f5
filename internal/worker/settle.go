package worker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	sharedPause   = 10 * time.Second // how long an alarm stops admission before a probe: one task
	settleRetry   = 200 * time.Millisecond
	settleRetries = 5 * time.Second // longest wait between two tries
)

// settle writes down what becomes of the task, and tells Redis in a line.
func (j *job) settle(ctx context.Context, e end, err error) (string, error) {
	now := j.cfg.Now()
	if until, left := leftToOthers(err, j.claim.CreatedAt, now, rand.Float64()); left {
		e, err = end{counts: e.counts, notBefore: until, reason: err.Error() + ": it waits for a worker of a release that does"}, nil
	}
	s := catalog.Settlement{Counts: j.total(e.counts), Snapshot: e.snapshot, Took: time.Since(j.began)}
	s.Delays, s.Spent = j.delays()
	if err == nil || e.counts.Items > 0 {
		s.Units = s.Spent[j.claim.Service]
	}
	s.Anew = j.claim.Action != tenantry.Backup // the others walk their way again from the start, as in total
	for _, p := range e.problems {
		s.Problems = append(s.Problems, catalog.Problem{
			ItemID: p.ID, Name: p.Name, Reason: p.Reason, Kind: p.Kind, Since: p.Since, Snapshot: p.Snapshot, Again: p.Again,
		})
	}
	if err == nil {
		s.State, s.Reason = catalog.TaskDone, e.reason
		if !e.done {
			s.State, s.NotBefore = catalog.TaskReady, now
			if e.notBefore.After(now) {
				s.NotBefore = e.notBefore
			}
		}
		return j.finish(ctx, s, nil)
	}
	f := failure{
		action: j.claim.Action, kind: tenantry.KindOf(err), until: tenantry.UntilOf(err),
		attempt: j.claim.Attempt, created: j.claim.CreatedAt,
	}
	if e.counts.Stored > 0 {
		f.attempt = 0 // it got further: the failures before do not count
	}
	v := decide(f, now, rand.Float64())
	j.consequences(ctx, v, f.kind, err)
	s.State, s.NotBefore, s.Attempt = v.state, v.notBefore, v.attempt
	s.Kind, s.Reason = f.kind, err.Error()
	s.Delays = s.Delays.Add(waitUntil(v, err, now))
	return j.finish(ctx, s, err)
}

// consequences are what a failure means beyond its task. They come before the settlement,
// so that whoever sees that sees them too.
func (j *job) consequences(ctx context.Context, v verdict, kind tenantry.Kind, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.cfg.SettleTimeout)
	defer cancel()
	var err error
	switch {
	case kind == tenantry.Shared && j.cfg.Outside: // its task says why it waits
	case kind == tenantry.Shared:
		now := j.cfg.Now()
		err = j.cfg.Catalog.Fleet().Pause(ctx, j.causeHere(cause), cause.Error(), now.Add(sharedPause), now)
	case kind == tenantry.Corrupt && indexDamaged(cause) && j.claim.Action != tenantry.Repair && j.claim.Resource != "":
		err = j.askReindex(ctx, cause)
	case kind == tenantry.WrongKey: // cleared by the check of keys, once it opens
		err = j.scope.RaiseAlarm(ctx, catalog.AlarmKey, "", cause.Error(), j.cfg.Now())
	case j.claim.Action == tenantry.Connect && v.state == catalog.TaskFailed:
		err = j.refuse(ctx, kind, cause)
	case kind == tenantry.Reconnect:
		err = j.disconnect(ctx, cause)
	}
	if err != nil {
		j.log.Warnw("cannot note what a failure means for others; the next one will", "error", err)
	}
}

// refuse keeps the reason why a connect failed for good on the tenant. A connected tenant
// stays so unless its own consent is what is wrong: another organisation's administrator
// who followed its link changes nothing for it.
func (j *job) refuse(ctx context.Context, kind tenantry.Kind, cause error) error {
	tenant, err := j.scope.Get(ctx)
	if err != nil {
		return err
	}
	switch tenant.State {
	case tenantry.TenantConnected:
		if kind != tenantry.Reconnect {
			return nil
		}
		return j.scope.SetState(ctx, tenantry.TenantDisconnected, cause.Error())
	case tenantry.TenantDisconnected:
		return j.scope.SetState(ctx, tenantry.TenantDisconnected, cause.Error())
	}
	return j.scope.SetState(ctx, tenantry.TenantRefused, cause.Error())
}

// disconnect marks the tenant whose consent is gone, once.
func (j *job) disconnect(ctx context.Context, cause error) error {
	tenant, err := j.scope.Get(ctx)
	if err != nil || tenant.State != tenantry.TenantConnected {
		return err
	}
	j.log.Warnw("a tenant is disconnected: it has to consent again", why(cause)...)
	return j.scope.SetState(ctx, tenantry.TenantDisconnected, cause.Error())
}

// finish settles, and goes on trying while SQL is away: the task is ours as long as the
// process lives, and nobody else would take it. It ends without having settled only when
// the claim was taken away, or the process leaves, which returns the task to ready.
func (j *job) finish(ctx context.Context, s catalog.Settlement, cause error) (string, error) {
	ctx = context.WithoutCancel(ctx)
	refused := false
	for wait := settleRetry; ; wait = min(2*wait, settleRetries) {
		err := j.try(ctx, s)
		switch tenantry.KindOf(err) {
		case "":
			return j.told(s, cause)
		case tenantry.Fenced, tenantry.NotFound, tenantry.Conflict:
			return j.dropped(err), nil
		case tenantry.Shared, tenantry.Transient:
			j.log.Warnw("cannot settle a task; trying on", "error", err)
			if !j.pause(wait) {
				return j.dropped(err), nil
			}
		default: // the settlement itself is what SQL refuses: say so in its place
			j.log.Errorw("the settlement of a task is refused", "error", err)
			if refused {
				return j.dropped(err), nil
			}
			refused, cause = true, err
			s = catalog.Settlement{State: catalog.TaskFailed, Attempt: j.claim.Attempt + 1, Kind: tenantry.Internal, Reason: err.Error()}
		}
	}
}

// pause waits before settling is tried again. It reports false when the grace of a drain
// is over.
func (j *job) pause(d time.Duration) bool {
	select {
	case <-j.graceOver:
		return false
	default:
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-j.graceOver: // once more, and then no more
	}
	return true
}

func (j *job) try(ctx context.Context, s catalog.Settlement) error {
	ctx, cancel := context.WithTimeout(ctx, j.cfg.SettleTimeout)
	defer cancel()
	return j.scope.Settle(ctx, j.claim, s, j.cfg.Now())
}

// told reports the settlement to the log, to metrics and to Redis.
func (j *job) told(s catalog.Settlement, cause error) (string, error) {
	line, result := describe(s, j.cfg.Now())
	j.cfg.Observer.Slice(j.claim.Queue, j.claim.Action, result, time.Since(j.began))
	j.cfg.Observer.Waited(s.Delays)
	if result == "parked" {
		j.cfg.Observer.Parked(accountOf(cause))
	}
	j.conclude(j.span, s, result)
	say := j.log.Debugw
	if s.State == catalog.TaskFailed {
		say = j.log.Warnw
	}
	say("slice ended: "+result, append(why(cause), "items", s.Counts.Items, "skipped", s.Counts.Skipped,
		"stored", s.Counts.Stored, "problems", len(s.Problems), "took", time.Since(j.began))...)
	if s.State == catalog.TaskFailed {
		return line, queue.Permanent(cause)
	}
	return line, nil
}

func (j *job) dropped(err error) string {
	j.cfg.Observer.Slice(j.claim.Queue, j.claim.Action, "dropped", time.Since(j.began))
	j.log.Infow("a slice's claim was taken away; what it committed stands", "reason", err)
	return "dropped: " + err.Error()
}

// describe says in a line, and in a word, what a settlement means.
func describe(s catalog.Settlement, now time.Time) (line, result string) {
	c := fmt.Sprintf("%d items, %d skipped, %d bytes, %d stored", s.Counts.Items, s.Counts.Skipped, s.Counts.Bytes, s.Counts.Stored)
	switch {
	case s.State == catalog.TaskFailed:
		return fmt.Sprintf("failed (%s) at attempt %d: %s", s.Kind, s.Attempt, s.Reason), "failed"
	case s.State == catalog.TaskDone && s.Kind == tenantry.Absent:
		return "done, nothing to back up: " + s.Reason, "done"
	case s.State == catalog.TaskDone && s.Reason != "":
		return "done, " + c + ": " + s.Reason, "done"
	case s.State == catalog.TaskDone && s.Snapshot != nil:
		return fmt.Sprintf("done: snapshot %d, %s", s.Snapshot.Seq, c), "done"
	case s.State == catalog.TaskDone:
		return "done: " + c, "done"
	case s.Reason == "" || s.Kind == tenantry.Canceled:
		return "more to do: " + c, "more"
	case s.Kind == "":
		return fmt.Sprintf("left alone until %s: %s", s.NotBefore.UTC().Format(time.TimeOnly), s.Reason), "more"
	case s.Kind == tenantry.Throttled:
		return fmt.Sprintf("parked until %s: %s", s.NotBefore.UTC().Format(time.TimeOnly), s.Reason), "parked"
	}
	wait := s.NotBefore.Sub(now).Round(time.Second)
	return fmt.Sprintf("again in %s after failure %d (%s): %s", wait, s.Attempt, s.Kind, s.Reason), "retry"
}
