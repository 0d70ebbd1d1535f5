package report

import (
	"context"
	"errors"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// sendBatch is how many mails go to the server over one connection.
	sendBatch = 20
	// noteTime bounds how long it is noted what became of them.
	noteTime = 10 * time.Second

	// A mail that the server puts off waits for firstWait, then twice as long each time up to longestWait, and
	// is given up after giveUp. Greylisting takes minutes; RFC 5321 (4.5.4.1) asks for four to five days.
	firstWait   = time.Minute
	longestWait = 2 * time.Hour
	giveUp      = 5 * 24 * time.Hour

	// While the server cannot be used at all it is asked again after awayFirst, at most awayLongest.
	awayFirst   = 15 * time.Second
	awayLongest = 5 * time.Minute
)

// deliver sends mails that wait, a batch at a time, until none is due.
func (n *Notifier) deliver(ctx context.Context, fence int64) error {
	for range 10 { // the next round goes on
		now := n.cfg.Now()
		if now.Before(n.away) {
			return nil
		}
		mails, err := n.fleet.ClaimMails(ctx, fence, n.cfg.Process, sendBatch, n.cfg.Lease, now)
		if err != nil || len(mails) == 0 {
			return err
		}
		if err := n.send(ctx, mails); err != nil {
			return err
		}
	}
	return nil
}

func (n *Notifier) send(ctx context.Context, mails []catalog.Mail) error {
	call, cancel := context.WithTimeout(ctx, n.cfg.Lease/2) // nobody else sends meanwhile
	results := n.cfg.Sender.Send(call, mails)
	cancel()
	now := n.cfg.Now()
	// What the server has taken is noted even when this leader is told to stop meanwhile.
	note, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	var errs []error
	for i, m := range mails {
		v := judgeMail(m, results[i], now)
		err := n.fleet.SettleMail(note, m, v.state, v.notBefore, v.reason, now)
		if tenantry.KindOf(err) != tenantry.Fenced { // else it took longer than the lease
			errs = append(errs, err)
		}
		n.cfg.Observer.Mailed(v.what)
		if v.state == catalog.MailFailed {
			n.cfg.Log.Warnw("a mail was given up", "tenant", m.Tenant, "event", m.Event, "mail", m.ID, "attempts", m.Attempts, "reason", v.reason)
		}
	}
	n.reachable(results, now)
	return errors.Join(errs...)
}

// reachable notes whether the server can be used.
func (n *Notifier) reachable(results []error, now time.Time) {
	for _, err := range results {
		if tenantry.KindOf(err) != tenantry.Shared {
			if n.tries > 0 {
				n.cfg.Log.Infow("the mail server works again")
			}
			n.tries, n.away = 0, time.Time{}
			return
		}
	}
	if n.tries == 0 {
		n.cfg.Log.Warnw("the mail server cannot be used; mails wait", "error", results[0])
	}
	n.away = now.Add(min(awayFirst<<min(n.tries, 10), awayLongest))
	n.tries++
}

// sentence is what becomes of a mail.
type sentence struct {
	state     catalog.MailState
	notBefore time.Time
	reason    string
	what      string // for the observer
}

// judgeMail decides what becomes of a mail after an attempt. Pure.
func judgeMail(m catalog.Mail, err error, now time.Time) sentence {
	if err == nil {
		return sentence{catalog.MailSent, now, "", "sent"}
	}
	reason := clean(err.Error(), 500)
	if tenantry.KindOf(err) == tenantry.Denied {
		return sentence{catalog.MailFailed, now, reason, "refused"}
	}
	if now.Sub(m.CreatedAt) >= giveUp {
		return sentence{catalog.MailFailed, now, "it was tried for five days: " + reason, "refused"}
	}
	wait := min(firstWait<<min(max(m.Attempts-1, 0), 10), longestWait)
	if tenantry.KindOf(err) == tenantry.Shared {
		wait = awayFirst // the server's own back-off rules
	}
	return sentence{catalog.MailWaiting, now.Add(wait), reason, "deferred"}
}
