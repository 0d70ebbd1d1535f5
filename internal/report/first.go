package report

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// firstEvery is how often a first backup is looked at, firstBatch how many in one round.
	firstEvery = 10 * time.Second
	firstBatch = 50
	// progressEvery is how often people hear of a first backup that goes on; after slowAfter once in slowEvery.
	progressEvery = 6 * time.Hour
	slowAfter     = 7 * 24 * time.Hour
	slowEvery     = 24 * time.Hour
	// A look takes some microseconds for each series: a large first backup is looked at less often by restPer for each,
	// at most restMost.
	restPer  = time.Millisecond
	restMost = 10 * time.Minute
)

// firstBackups tells how first backups go.
func (n *Notifier) firstBackups(ctx context.Context, fence int64) error {
	now := n.cfg.Now()
	list, err := n.fleet.FirstBackups(ctx, now.Add(-firstEvery), firstBatch)
	if err != nil {
		return err
	}
	var errs []error
	for _, b := range list {
		err := n.firstBackup(ctx, fence, b, now)
		if tenantry.KindOf(err) == tenantry.Fenced {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (n *Notifier) firstBackup(ctx context.Context, fence int64, b catalog.FirstBackup, now time.Time) error {
	scope := n.cfg.Catalog.Tenant(b.Tenant)
	tenant, err := scope.Get(ctx)
	if err != nil {
		return err
	}
	policy, err := scope.Policy(ctx, b.Policy)
	if err != nil {
		return err
	}
	standings, err := scope.Standings(ctx, b.Policy, 0, now)
	if err != nil {
		return err
	}
	told, err := n.audience(ctx, b.Tenant)
	if err != nil {
		return err
	}
	who := told.ofPolicy(b.Policy)
	s := firstStanding{FirstBackup: b, tenant: tenant, policy: policy, workloads: standings, zone: who.Location(), now: now}
	events := s.advance(who.Speaks())
	if events != nil {
		if s.failures, err = scope.Failures(ctx, b.Policy, b.BegunAt, now.Add(time.Second)); err != nil {
			return err
		}
	}
	s.Rest = min(time.Duration(s.sum().Total)*restPer, restMost)
	post := catalog.Posting{First: &s.FirstBackup}
	for _, event := range events {
		if !who.Tells(event) {
			continue
		}
		key := fmt.Sprintf("first/%s/%s/%s", b.Tenant, b.Policy, event)
		if event == tenantry.EventProgress {
			key += "/" + now.UTC().Format("2006-01-02T15")
		}
		more, err := mails(s.letter(event), who, catalog.Mail{Key: key, Tenant: b.Tenant, Policy: b.Policy, Event: event})
		if err != nil {
			return err
		}
		post.Mails = append(post.Mails, more...)
	}
	_, err = n.fleet.Post(ctx, fence, post, now)
	return err
}

// firstStanding is a first backup, and all that its mails tell.
type firstStanding struct {
	catalog.FirstBackup
	tenant    catalog.TenantRow
	policy    catalog.Policy
	workloads []catalog.WorkloadStanding
	failures  map[string]int64
	zone      *time.Location
	now       time.Time
}

// sum adds the workloads up.
func (s *firstStanding) sum() (all catalog.WorkloadStanding) {
	for _, w := range s.workloads {
		all.Total += w.Total
		all.Tried += w.Tried
		all.Saved += w.Saved
		all.Stale += w.Stale
	}
	return all
}

// advance moves the first backup on and returns what there is to tell, in order. Where nobody listens it waits
// before the stage that would be told, except that one that is over has ended.
func (s *firstStanding) advance(heard bool) (events []string) {
	all := s.sum()
	over := all.Total > 0 && all.Tried == all.Total
	if !heard {
		if over {
			s.Stage = catalog.FirstEnded
		}
		return nil
	}
	tell := func(event string, stage catalog.FirstStage) {
		events = append(events, event)
		s.Stage, s.ToldAt = stage, s.now
	}
	if s.Stage == catalog.FirstNew {
		tell(tenantry.EventAccepted, catalog.FirstAccepted)
	}
	if s.Stage == catalog.FirstAccepted && !s.tenant.LastSyncAt.IsZero() {
		tell(tenantry.EventListed, catalog.FirstListed)
	}
	if s.Stage != catalog.FirstListed {
		return events
	}
	switch {
	case over && all.Saved > 0:
		tell(tenantry.EventCompleted, catalog.FirstEnded)
	case over:
		tell(tenantry.EventFailed, catalog.FirstEnded)
	case all.Total > 0 && s.tenant.State == tenantry.TenantConnected && s.now.Sub(s.ToldAt) >= s.pace():
		tell(tenantry.EventProgress, catalog.FirstListed)
	}
	return events
}

// pace is how often progress is told.
func (s *firstStanding) pace() time.Duration {
	if s.now.Sub(s.BegunAt) >= slowAfter {
		return slowEvery
	}
	return progressEvery
}

// letter tells an event.
func (s *firstStanding) letter(event string) letter {
	all := s.sum()
	l := letter{footer: stopHint(s.Tenant)}
	say := func(subject string, lines ...string) {
		l.subject = fmt.Sprintf("%s: %s", s.tenant.Name, subject)
		l.title = subject
		l.lines = lines
	}
	name := s.policy.Name
	switch event {
	case tenantry.EventAccepted:
		say(fmt.Sprintf("backup %q was accepted", name),
			"The backup was accepted. What it covers is being listed; the first backup begins in its next window.",
			fmt.Sprintf("Backups start %s.", s.policy.Starts()))
	case tenantry.EventListed:
		say(fmt.Sprintf("backup %q: %s listed", name, amount(all.Total, "mailbox, drive or site", "mailboxes, drives and sites")),
			"What the backup covers was listed. The first backup takes everything, and as long as Microsoft's limits make it take.")
		l.tables = append(l.tables, coverage(s.workloads, false))
	case tenantry.EventProgress:
		say(fmt.Sprintf("first backup %q: %s done", name, share(all.Tried, all.Total)),
			fmt.Sprintf("The first backup goes on since %s.", s.BegunAt.In(s.zone).Format(dateTime)))
		l.tables = append(l.tables, coverage(s.workloads, true))
	case tenantry.EventCompleted:
		say(fmt.Sprintf("first backup %q is complete", name),
			fmt.Sprintf("The first backup ended at %s.", s.now.In(s.zone).Format(dateTime)))
		if all.Saved < all.Total {
			l.lines = append(l.lines, amount(all.Total-all.Saved, "has", "have")+" no restore point: there was nothing to save (no licence, not set up yet), or it failed. It is tried again with every backup.")
		}
		l.tables = append(l.tables, coverage(s.workloads, true))
	case tenantry.EventFailed:
		say(fmt.Sprintf("first backup %q failed", name),
			"Everything was tried, and nothing could be saved. It is tried again with every backup.")
		l.tables = append(l.tables, coverage(s.workloads, true))
	}
	if t := classes(s.failures); len(t.rows) > 0 && event != tenantry.EventAccepted && event != tenantry.EventListed {
		l.tables = append(l.tables, t)
	}
	return l
}
