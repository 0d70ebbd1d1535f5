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
		switch tenantry.KindOf(err) {
		case tenantry.Fenced:
			return err
		case tenantry.Conflict: // it was enabled anew, or disabled, just now
			continue
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (n *Notifier) firstBackup(ctx context.Context, fence int64, b catalog.FirstBackup, now time.Time) error {
	s, who, err := n.firstStanding(ctx, b, now)
	if err != nil {
		return err
	}
	events := s.advance(who.Speaks())
	if events != nil {
		if s.failures, err = n.cfg.Catalog.Tenant(b.Tenant).Failures(ctx, "", b.BegunAt, now.Add(time.Second)); err != nil {
			return err
		}
	}
	s.Rest = min(time.Duration(max(s.Total, s.eligible))*restPer, restMost)
	post := catalog.Posting{First: &s.FirstBackup}
	for _, event := range events {
		if !who.Tells(event) {
			continue
		}
		key := fmt.Sprintf("enabled/%s/%s/%d/%s", b.Tenant, b.Workload, b.BegunAt.UnixMicro(), event)
		if event == tenantry.EventProgress {
			key += "/" + now.UTC().Format("2006-01-02T15")
		}
		more, err := mails(s.letter(event), who, catalog.Mail{Key: key, Tenant: b.Tenant, Event: event})
		if err != nil {
			return err
		}
		post.Mails = append(post.Mails, more...)
	}
	_, err = n.fleet.Post(ctx, fence, post, now)
	return err
}

// firstStanding reads how a first backup stands, and who is told.
func (n *Notifier) firstStanding(ctx context.Context, b catalog.FirstBackup, now time.Time) (*firstStanding, tenantry.Notices, error) {
	s := &firstStanding{FirstBackup: b, now: now, WorkloadStanding: catalog.WorkloadStanding{Workload: b.Workload}}
	var who tenantry.Notices
	scope := n.cfg.Catalog.Tenant(b.Tenant)
	told, err := n.audience(ctx, b.Tenant)
	if err != nil {
		return nil, who, err
	}
	who = told.ofEnabling(b.Told)
	s.zone = who.Location()
	if s.tenant, err = scope.Get(ctx); err != nil {
		return nil, who, err
	}
	rows, err := scope.Workloads(ctx)
	if err != nil {
		return nil, who, err
	}
	for _, row := range rows {
		if row.Workload == b.Workload {
			s.row = row
		}
	}
	standings, err := scope.Standings(ctx, "", 0, now)
	if err != nil {
		return nil, who, err
	}
	for _, w := range standings {
		if w.Workload == b.Workload {
			s.WorkloadStanding = w
		}
	}
	eligible, err := scope.Eligible(ctx)
	s.eligible = eligible[b.Workload]
	return s, who, err
}

// firstStanding is a first backup, and all that its mails tell.
type firstStanding struct {
	catalog.FirstBackup
	catalog.WorkloadStanding // of what policies cover
	tenant                   catalog.TenantRow
	row                      catalog.WorkloadRow
	eligible                 int64 // resources that have it
	failures                 map[string]int64
	zone                     *time.Location
	now                      time.Time
}

// advance moves the first backup on and returns what there is to tell, in order. Where nobody listens it waits
// before the stage that would be told, except that one that is over has ended.
func (s *firstStanding) advance(heard bool) (events []string) {
	over := s.Total > 0 && s.Tried == s.Total
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
	switch {
	case s.Stage != catalog.FirstAccepted && s.Stage != catalog.FirstFailed:
	case s.row.State == tenantry.Failed && s.Stage == catalog.FirstAccepted:
		tell(tenantry.EventFailed, catalog.FirstFailed)
	case s.row.State == tenantry.Ready:
		tell(tenantry.EventListed, catalog.FirstListed)
	}
	if s.Stage != catalog.FirstListed {
		return events
	}
	switch {
	case over && s.Saved > 0:
		tell(tenantry.EventCompleted, catalog.FirstEnded)
	case over:
		tell(tenantry.EventFailed, catalog.FirstEnded)
	case s.Total > 0 && s.tenant.State == tenantry.TenantConnected && s.now.Sub(s.ToldAt) >= s.pace():
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
	l := letter{footer: stopHint(s.Tenant)}
	say := func(subject string, lines ...string) {
		l.subject = fmt.Sprintf("%s: %s", s.tenant.Name, subject)
		l.title = subject
		l.lines = lines
	}
	name := workloadWord(s.FirstBackup.Workload)
	standing := []catalog.WorkloadStanding{s.WorkloadStanding}
	switch event {
	case tenantry.EventAccepted:
		say(name+": backup was accepted", "The backup was accepted. What there is of it is being listed.")
		if s.row.State == tenantry.Unauthorised {
			l.lines = append(l.lines, "It waits for an administrator of the tenant: "+s.row.Reason+".")
		}
	case tenantry.EventListed:
		say(fmt.Sprintf("%s: %s listed", name, number(s.eligible)))
		if s.Total == 0 {
			l.lines = []string{"What there is was listed. No policy covers any of it yet: the first backup begins when one does."}
			break
		}
		l.lines = []string{"What there is was listed. The first backup takes everything, and as long as Microsoft's limits make it take."}
		l.tables = append(l.tables, coverage(standing, false))
	case tenantry.EventProgress:
		say(fmt.Sprintf("%s: first backup, %s done", name, share(s.Tried, s.Total)),
			fmt.Sprintf("They were enabled on %s; their first backup goes on.", s.BegunAt.In(s.zone).Format(dateTime)))
		l.tables = append(l.tables, coverage(standing, true))
	case tenantry.EventCompleted:
		say(name+": first backup is complete", fmt.Sprintf("The first backup ended at %s.", s.now.In(s.zone).Format(dateTime)))
		if s.Saved < s.Total {
			l.lines = append(l.lines, amount(s.Total-s.Saved, "has", "have")+" no restore point: there was nothing to save (no licence, not set up yet), or it failed. It is tried again with every backup.")
		}
		l.tables = append(l.tables, coverage(standing, true))
	case tenantry.EventFailed:
		if s.Total == 0 || s.row.State == tenantry.Failed {
			say(name+": cannot be backed up", "Reason: "+s.row.Reason+".", "What to do: "+s.row.Remedy+".")
			break
		}
		say(name+": first backup failed", "Everything was tried, and nothing could be saved. It is tried again with every backup.")
		l.tables = append(l.tables, coverage(standing, true))
	}
	if t := classes(s.failures); len(t.rows) > 0 && event != tenantry.EventAccepted && event != tenantry.EventListed {
		t.Caption = "What failed in this tenant since"
		l.tables = append(l.tables, t)
	}
	return l
}
