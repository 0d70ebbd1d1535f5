package report

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// toldMemory is how far back it is remembered that somebody was told: a local day, and one hour more.
	toldMemory = 26 * time.Hour
	// alarmRest is how long a shared cause must be gone before it is over: probes take a while.
	alarmRest = 10 * time.Minute
	// lookEvery is how often stale backups are looked for in a tenant, lookBatch in how many in one round.
	lookEvery = time.Hour
	lookBatch = 20
)

// troubles tells what is wrong.
func (n *Notifier) troubles(ctx context.Context, fence int64) error {
	now := n.cfg.Now()
	w, err := n.wrong(ctx, now)
	if err != nil {
		return err
	}
	var errs []error
	for _, tenant := range w.tenants() {
		err := n.tell(ctx, fence, tenant, w)
		if tenantry.KindOf(err) == tenantry.Fenced {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// wrong reads all that may have to be told.
func (n *Notifier) wrong(ctx context.Context, now time.Time) (*wrong, error) {
	list, err := n.fleet.Troubles(ctx, now.Add(-toldMemory), now)
	if err != nil {
		return nil, err
	}
	w := newWrong(list, now, n.cfg.Settle)
	alarms, err := n.fleet.Paused(ctx, now.Add(-alarmRest))
	if err != nil {
		return nil, err
	}
	for _, a := range alarms {
		w.count("", catalog.TroubleShared+a.Cause, 1)
	}
	if err := n.lookForStale(ctx, w); err != nil {
		return nil, err
	}
	provider, err := n.fleet.Notices(ctx)
	if err != nil {
		return nil, err
	}
	all, _, err := n.fleet.Deserted(ctx)
	if err != nil {
		return nil, err
	}
	if provider.Settings.Speaks() && provider.Settings.Problems {
		w.share(all)
	}
	return w, nil
}

// lookForStale counts stale backups of some tenants.
func (n *Notifier) lookForStale(ctx context.Context, w *wrong) error {
	due, err := n.fleet.DueLooks(ctx, w.now.Add(-lookEvery), lookBatch)
	if err != nil {
		return err
	}
	for _, tenant := range due {
		told, err := n.audience(ctx, tenant)
		if err != nil {
			return err
		}
		standings, err := n.cfg.Catalog.Tenant(tenant).Standings(ctx, "", told.ofProblems().StaleAfter(), w.now)
		if err != nil {
			return err
		}
		w.count(tenant, catalog.TroubleStale, sum(standings).Stale)
		w.looked[tenant] = true
	}
	return nil
}

// tell tells one tenant, or the provider, what there is to tell, and notes it.
func (n *Notifier) tell(ctx context.Context, fence int64, tenant tenantry.TenantID, w *wrong) error {
	told, err := n.audience(ctx, tenant)
	if err != nil {
		return err
	}
	who := told.ofProblems()
	v := w.judge(tenant, who)
	post := catalog.Posting{Troubles: v.changed}
	if w.looked[tenant] {
		post.Looked = tenant
	}
	if len(post.Troubles) == 0 && post.Looked == "" {
		return nil
	}
	name := "The fleet"
	if tenant != "" && len(v.atOnce)+len(v.digest) > 0 {
		row, err := n.cfg.Catalog.Tenant(tenant).Get(ctx)
		if err != nil {
			return err
		}
		name = row.Name
	}
	for _, m := range []struct {
		event    string
		troubles []catalog.Trouble
	}{{"problems", v.atOnce}, {"digest", v.digest}, {"over", v.over}} {
		if len(m.troubles) == 0 {
			continue
		}
		key := fmt.Sprintf("%s/%s/%s/%s", m.event, tenant, w.now.In(who.Location()).Format(time.DateOnly), fingerprint(m.troubles))
		more, err := mails(troubleLetter(m.event, name, tenant, m.troubles, who.Location(), w.now), who,
			catalog.Mail{Key: key, Tenant: tenant, Event: m.event})
		if err != nil {
			return err
		}
		post.Mails = append(post.Mails, more...)
	}
	_, err = n.fleet.Post(ctx, fence, post, w.now)
	return err
}

// fingerprint names a set of causes.
func fingerprint(troubles []catalog.Trouble) string {
	sum := sha256.New()
	for _, t := range troubles {
		_, _ = fmt.Fprintln(sum, t.Cause)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

func troubleLetter(event, name string, tenant tenantry.TenantID, troubles []catalog.Trouble, zone *time.Location, now time.Time) letter {
	l := letter{footer: stopHint(tenant)}
	t := table{Caption: "What is wrong", Header: []string{"Cause", "New"}}
	for _, trouble := range troubles {
		t.rows = append(t.rows, []string{causeWords(trouble.Cause), number(trouble.Untold)})
	}
	switch event {
	case "problems":
		l.title = "Something is wrong with the backup"
		l.lines = []string{"As of " + now.In(zone).Format(dateTime) + ". Further ones of today come in tomorrow's digest."}
		if len(troubles) == 1 {
			l.title = causeWords(troubles[0].Cause)
		}
	case "digest":
		l.title = "What else went wrong"
		l.lines = []string{"Until " + now.In(zone).Format(dateTime) + ", beside what was told at once."}
	case "over":
		l.title = "It is over"
		l.lines = []string{"As of " + now.In(zone).Format(dateTime) + ". What was held up goes on by itself."}
		t.Caption, t.Header = "What is over", t.Header[:1]
		for i := range t.rows {
			t.rows[i] = t.rows[i][:1]
		}
	}
	l.subject = name + ": " + l.title
	l.tables = []table{t}
	return l
}
