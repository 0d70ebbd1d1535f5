package catalogtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

var telling = tenantry.Notices{To: []string{"ada@contoso.com"}, Report: tenantry.ReportDaily, Problems: true}

// testNotices: who is told what, for the tenant, a policy and the provider; reports come due and are moved on once.
func testNotices(_ *testing.T, w *world) {
	t := w.enrolled("told", 1)
	w.kind(t.SetNotices(w.ctx, "", tenantry.Notices{To: []string{"a\r\nb"}}, now), tenantry.Invalid)
	w.kind(t.SetNotices(w.ctx, "p-none", telling, now), tenantry.NotFound)
	w.kind(w.c.Tenant("t-none").SetNotices(w.ctx, "", telling, now), tenantry.NotFound)
	w.ok(t.SetNotices(w.ctx, "p-daily", tenantry.Notices{To: []string{"bob@contoso.com"}}, now))
	w.ok(t.SetNotices(w.ctx, "", telling, now))
	due := telling.NextReport(now)
	got, err := t.Notices(w.ctx)
	w.ok(err)
	want := []catalog.NoticeRow{
		{Tenant: "t-told", Settings: telling, ChangedAt: now, ReportedAt: now, NextReport: due},
		{Tenant: "t-told", Policy: "p-daily", Settings: tenantry.Notices{To: []string{"bob@contoso.com"}}, ChangedAt: now, ReportedAt: now},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatal(diff)
	}
	none, err := w.f.Notices(w.ctx)
	w.ok(err)
	expect(w, "notices of a silent provider", none.Settings.Speaks(), false)
	w.ok(w.f.SetNotices(w.ctx, telling, now))
	early, err := w.f.DueReports(w.ctx, due.Add(-time.Second), 0)
	w.ok(err)
	expect(w, "reports before their time", len(early), 0)
	reports, err := w.f.DueReports(w.ctx, due, 0)
	w.ok(err)
	expect(w, "due reports", len(reports), 2)

	fence := w.lead()
	next := due.Add(24 * time.Hour)
	post := catalog.Posting{Report: &want[0], Next: next, Mails: []catalog.Mail{{Key: "report 1", Tenant: "t-told", Event: "report", To: "ada@contoso.com"}}}
	n, err := w.f.Post(w.ctx, fence, post, due)
	w.ok(err)
	expect(w, "new mails", n, 1)
	_, err = w.f.Post(w.ctx, fence, post, due)
	w.kind(err, tenantry.Conflict)
	_, err = w.f.Post(w.ctx, fence+1, catalog.Posting{}, due)
	w.kind(err, tenantry.Fenced)
	reports, err = w.f.DueReports(w.ctx, due, 0)
	w.ok(err)
	expect(w, "reports after one was sent", len(reports), 1)

	// Somebody asks for one now: once a minute.
	asked := next.Add(-time.Hour)
	w.kind(t.ReportNow(w.ctx, "p-daily", asked), tenantry.Conflict)
	w.ok(t.ReportNow(w.ctx, "", asked))
	w.ok(w.f.ReportNow(w.ctx, asked))
	reports, err = w.f.DueReports(w.ctx, asked, 0)
	w.ok(err)
	expect(w, "reports that were asked for", len(reports), 2)
	for _, r := range reports {
		_, err = w.f.Post(w.ctx, fence, catalog.Posting{Report: &r, Next: next, Mails: []catalog.Mail{{Key: "asked", Tenant: r.Tenant, Event: "report", To: "ada@contoso.com"}}}, asked)
		w.ok(err)
	}
	w.kind(t.ReportNow(w.ctx, "", asked), tenantry.Conflict)
	w.ok(t.ReportNow(w.ctx, "", asked.Add(time.Minute)))

	looks, err := w.f.DueLooks(w.ctx, now, 0)
	w.ok(err)
	expect(w, "tenants to look at", len(looks), 1)
	_, err = w.f.Post(w.ctx, fence, catalog.Posting{Looked: "t-told"}, now)
	w.ok(err)
	looks, err = w.f.DueLooks(w.ctx, now, 0)
	w.ok(err)
	expect(w, "tenants to look at after a look", len(looks), 0)

	w.ok(t.RemoveNotices(w.ctx, ""))
	w.kind(t.RemoveNotices(w.ctx, ""), tenantry.NotFound)
	w.ok(t.DeletePolicy(w.ctx, "p-daily", now))
	w.ok(w.f.Partitions(w.ctx, now, 24*time.Hour))
	got, err = t.Notices(w.ctx)
	w.ok(err)
	expect(w, "notices of a deleted policy", len(got), 0)
}

// testOutbox: a mail is claimed by one at a time, as long as its lease lasts, and ends once.
func testOutbox(_ *testing.T, w *world) {
	t, fence := w.tenant("a"), w.lead()
	mail := catalog.Mail{Key: "k", Event: "test", To: "ada@contoso.com", Subject: "S", Plain: "P", HTML: "H"}
	w.ok(t.PutMail(w.ctx, mail, now))
	w.kind(t.PutMail(w.ctx, mail, now), tenantry.Conflict)
	w.ok(w.f.PutMail(w.ctx, catalog.Mail{Key: "fleet", Event: "test", To: "ada@contoso.com"}, now.Add(time.Hour)))
	other := mail
	other.To = "bob@contoso.com"
	w.ok(t.PutMail(w.ctx, other, now.Add(time.Second)))

	claim := func(p tenantry.ProcessID, lease time.Duration, at time.Time) []catalog.Mail {
		w.t.Helper()
		mails, err := w.f.ClaimMails(w.ctx, fence, p, 10, lease, at)
		w.ok(err)
		return mails
	}
	_, err := w.f.ClaimMails(w.ctx, fence+1, "s@1", 10, time.Hour, now)
	w.kind(err, tenantry.Fenced)
	first := claim("s@1", time.Hour, now)
	expect(w, "due mails", len(first), 1)
	m := first[0]
	if m.Subject != "S" || m.Plain != "P" || m.HTML != "H" || m.To != "ada@contoso.com" || m.Attempts != 1 || m.Tenant != "t-a" {
		w.t.Fatalf("claimed %+v", m)
	}
	expect(w, "mails while one is being sent", len(claim("s@2", time.Hour, now)), 0)
	w.ok(w.f.SettleMail(w.ctx, m, catalog.MailWaiting, now.Add(time.Minute), "greylisted", now))
	w.kind(w.f.SettleMail(w.ctx, m, catalog.MailSent, now, "", now), tenantry.Fenced)
	expect(w, "mails before their time", len(claim("s@2", time.Hour, now)), 0)

	// Its owner dies: the lease ends by the database's clock.
	expect(w, "mails", len(claim("s@1", -time.Second, now.Add(time.Minute))), 2)
	again := claim("s@2", time.Hour, now.Add(time.Minute))
	expect(w, "mails of a dead owner", len(again), 2)
	for i, m := range again {
		state := []catalog.MailState{catalog.MailSent, catalog.MailFailed}[i]
		w.ok(w.f.SettleMail(w.ctx, m, state, now, "because", now.Add(time.Minute)))
	}
	list, err := t.Mails(w.ctx, "", 0)
	w.ok(err)
	got := map[string]string{}
	for _, m := range list {
		got[m.To] = fmt.Sprint(m.State, m.Attempts, m.Reason, m.EndedAt.Equal(now.Add(time.Minute)))
	}
	if diff := cmp.Diff(map[string]string{"ada@contoso.com": "sent3becausetrue", "bob@contoso.com": "failed2becausetrue"}, got); diff != "" {
		w.t.Fatal(diff)
	}
	older, err := t.Mails(w.ctx, list[0].ID, 0)
	w.ok(err)
	expect(w, "older mails", len(older), 1)
	fleet, err := w.f.Mails(w.ctx, "", 0)
	w.ok(err)
	expect(w, "mails to the provider", len(fleet), 1)
	waiting, err := w.f.WaitingMails(w.ctx)
	w.ok(err)
	expect(w, "waiting mails", waiting, 1)

	w.ok(w.f.Partitions(w.ctx, now.Add(90*24*time.Hour), 365*24*time.Hour))
	list, err = t.Mails(w.ctx, "", 0)
	w.ok(err)
	expect(w, "mails after 90 days", len(list), 0)
}

// testOutboxRace: of several that claim at once each mail goes to one; what waits is bounded.
func testOutboxRace(_ *testing.T, w *world) {
	t, fence := w.tenant("a"), w.lead()
	for i := range 40 {
		w.ok(t.PutMail(w.ctx, catalog.Mail{Key: fmt.Sprint(i), To: "ada@contoso.com"}, now))
	}
	claimed := make([][]catalog.Mail, 4)
	for _, err := range race(4, func(i int) (err error) {
		claimed[i], err = w.f.ClaimMails(w.ctx, fence, tenantry.ProcessID(fmt.Sprint(i)), 20, time.Hour, now)
		return err
	}) {
		w.ok(err)
	}
	owner := map[string]int{}
	for i, mails := range claimed {
		for _, m := range mails {
			if by, twice := owner[m.ID]; twice {
				w.t.Fatalf("mail %s was claimed by %d and %d", m.ID, by, i)
			}
			owner[m.ID] = i
		}
	}
	for len(owner) < 40 { // SKIP LOCKED leaves to a later claim what another transaction held
		mails, err := w.f.ClaimMails(w.ctx, fence, "late", 40, time.Hour, now)
		w.ok(err)
		if len(mails) == 0 {
			w.t.Fatalf("%d mails were claimed of 40", len(owner))
		}
		for _, m := range mails {
			owner[m.ID] = 9
		}
	}
	var flood []catalog.Mail
	for i := range 600 {
		flood = append(flood, catalog.Mail{Key: fmt.Sprint("flood", i), Tenant: "t-a", To: "ada@contoso.com"})
	}
	n, err := w.f.Post(w.ctx, fence, catalog.Posting{Mails: flood}, now)
	w.ok(err)
	expect(w, "mails of one tenant that may wait", n, 460)
}

// testFirstBackups: workloads that are enabled tell how far their first backup is, and end; enabled anew they begin anew.
func testFirstBackups(_ *testing.T, w *world) {
	t := w.enrolled("first", 3)
	firsts := func(before time.Time) (list []catalog.FirstBackup) {
		w.t.Helper()
		all, err := w.f.FirstBackups(w.ctx, before, 0)
		w.ok(err)
		for _, b := range all {
			if b.Workload == tenantry.Mailbox {
				list = append(list, b)
			}
		}
		return list
	}
	list := firsts(now)
	if len(list) != 1 || list[0].Tenant != "t-first" || list[0].Stage != catalog.FirstNew || !list[0].BegunAt.Equal(now) || list[0].Told != nil {
		w.t.Fatalf("first backups %+v", list)
	}
	standing := func(at time.Time) catalog.WorkloadStanding {
		w.t.Helper()
		list, err := t.Standings(w.ctx, "p-daily", time.Minute, at)
		w.ok(err)
		for _, s := range list {
			if s.Workload == tenantry.Mailbox {
				return s
			}
		}
		return catalog.WorkloadStanding{}
	}
	expect(w, "standing", standing(now), catalog.WorkloadStanding{Workload: "mailbox", Total: 3})
	_, claims := w.claimed(t, w.worker("1"), 3)
	w.ok(t.Settle(w.ctx, claims[0], catalog.Settlement{State: catalog.TaskDone, Snapshot: &catalog.SnapshotRow{Seq: 1, Time: now}}, now))
	w.ok(t.Settle(w.ctx, claims[1], catalog.Settlement{State: catalog.TaskFailed, Kind: tenantry.Denied}, now))
	expect(w, "standing", standing(now), catalog.WorkloadStanding{Workload: "mailbox", Total: 3, Tried: 2, Saved: 1})
	stock, err := w.f.Inventory(w.ctx)
	w.ok(err)
	expect(w, "enrolments without a snapshot, one of them tried", stock.Unsaved, stock.Protected-1)
	expect(w, "standing later", standing(now.Add(time.Hour)), catalog.WorkloadStanding{Workload: "mailbox", Total: 3, Tried: 2, Saved: 1, Stale: 1})

	fence := w.lead()
	list[0].Stage, list[0].ToldAt = catalog.FirstListed, now
	_, err = w.f.Post(w.ctx, fence, catalog.Posting{First: &list[0]}, now)
	w.ok(err)
	expect(w, "first backups just after a look", len(firsts(now)), 0)
	if again := firsts(now.Add(time.Second)); len(again) != 1 || again[0].Stage != catalog.FirstListed || !again[0].ToldAt.Equal(now) {
		w.t.Fatalf("first backups %+v", again)
	}
	list[0].Stage = catalog.FirstEnded
	_, err = w.f.Post(w.ctx, fence, catalog.Posting{First: &list[0]}, now)
	w.ok(err)
	expect(w, "first backups after the end", len(firsts(now.Add(time.Hour))), 0)
	w.ok(t.EnableWorkload(w.ctx, tenantry.Mailbox, catalog.Enabling{}, now)) // it is enabled
	expect(w, "first backups after enabling what is enabled", len(firsts(now.Add(time.Hour))), 0)
	w.ok(t.DisableWorkload(w.ctx, tenantry.Mailbox, nil, now))
	w.ok(t.EnableWorkload(w.ctx, tenantry.Mailbox, catalog.Enabling{Told: &telling}, now.Add(time.Minute)))
	anew := firsts(now.Add(time.Hour))
	if len(anew) != 1 || anew[0].Stage != catalog.FirstNew || !anew[0].ToldAt.IsZero() || !cmp.Equal(anew[0].Told, &telling) {
		w.t.Fatalf("first backups %+v", anew)
	}
	_, err = w.f.Post(w.ctx, fence, catalog.Posting{First: &list[0]}, now)
	w.kind(err, tenantry.Conflict) // of the one before
	w.ok(t.DisableWorkload(w.ctx, tenantry.Mailbox, nil, now))
	expect(w, "first backups of what is disabled", len(firsts(now.Add(time.Hour))), 0)
	w.ok(t.EnableWorkload(w.ctx, tenantry.Mailbox, catalog.Enabling{}, now))

	activity, err := t.Activity(w.ctx, "", now.Add(-time.Hour), now.Add(time.Hour))
	w.ok(err)
	if len(activity) != 1 || activity[0].Runs != 1 || activity[0].Open != 1 || activity[0].Done != 1 || activity[0].Failed != 1 {
		w.t.Fatalf("activity %+v", activity)
	}
	failures, err := t.Failures(w.ctx, "", now.Add(-time.Hour), now.Add(time.Hour))
	w.ok(err)
	if diff := cmp.Diff(map[string]int64{"backup/denied": 1}, failures); diff != "" {
		w.t.Fatal(diff)
	}
	w.ok(t.Settle(w.ctx, claims[2], catalog.Settlement{State: catalog.TaskFailed, Kind: tenantry.Denied}, now))
	for name, at := range map[string]time.Time{"before": now.Add(-2 * time.Hour), "after": now.Add(2 * time.Hour)} {
		failures, err = t.Failures(w.ctx, "", at, at.Add(time.Hour))
		w.ok(err)
		expect(w, "failures "+name, len(failures), 0)
	}
}

// testEnablingNotices: who is named when a workload is enabled is told of the tenant, too, and takes nobody's place.
func testEnablingNotices(_ *testing.T, w *world) {
	t := w.tenant("named")
	whole := func() tenantry.Notices {
		w.t.Helper()
		rows, err := t.Notices(w.ctx)
		w.ok(err)
		if len(rows) != 1 || rows[0].Policy != "" {
			w.t.Fatalf("notices %+v", rows)
		}
		return rows[0].Settings
	}
	bad := tenantry.Notices{To: []string{"a\r\nb"}}
	w.kind(t.EnableWorkload(w.ctx, tenantry.Mailbox, catalog.Enabling{Told: &bad}, now), tenantry.Invalid)
	w.ok(t.EnableWorkload(w.ctx, tenantry.Mailbox, catalog.Enabling{Told: &telling}, now))
	expect(w, "notices", cmp.Diff(telling, whole()), "")
	other := tenantry.Notices{To: []string{"bob@contoso.com", telling.To[0]}, Report: tenantry.ReportWeekly}
	w.ok(t.EnableWorkload(w.ctx, tenantry.SiteContent, catalog.Enabling{Told: &other}, now))
	joined := telling
	joined.To = []string{telling.To[0], "bob@contoso.com"}
	expect(w, "notices", cmp.Diff(joined, whole()), "")
	list, err := w.f.FirstBackups(w.ctx, now, 0)
	w.ok(err)
	told := map[tenantry.Workload]*tenantry.Notices{}
	for _, b := range list {
		if b.Told != nil {
			told[b.Workload] = b.Told
		}
	}
	expect(w, "told of first backups", cmp.Diff(map[tenantry.Workload]*tenantry.Notices{tenantry.Mailbox: &telling, tenantry.SiteContent: &other}, told), "")
}

// testWarnings: what is wrong with something of the provider's is told until it ends, or nobody has seen it for long.
func testWarnings(_ *testing.T, w *world) {
	later := now.Add(time.Hour)
	warning := catalog.ProviderWarning{Cause: catalog.AlarmCredential, Subject: "c-1", Detail: "soon", Since: now, Seen: later}
	warnings := func(at time.Time) []catalog.ProviderWarning {
		w.t.Helper()
		list, err := w.f.Warnings(w.ctx, at)
		w.ok(err)
		return list
	}
	w.ok(w.f.Warn(w.ctx, catalog.ProviderWarning{Cause: warning.Cause, Subject: "c-1", Detail: "first"}, now))
	w.ok(w.f.Warn(w.ctx, warning, later))
	w.ok(w.f.Warn(w.ctx, catalog.ProviderWarning{Cause: catalog.AlarmCredentialLast, Subject: "c-2"}, later))
	expect(w, "warnings", cmp.Diff([]catalog.ProviderWarning{warning, {Cause: catalog.AlarmCredentialLast, Subject: "c-2", Since: later, Seen: later}}, warnings(later)), "")
	found, err := w.f.Troubles(w.ctx, now, later)
	w.ok(err)
	expect(w, "troubles", cmp.Diff([]catalog.Trouble{{Cause: "alarm/credential", Now: 1}, {Cause: "alarm/credential_last", Now: 1}}, found), "")
	w.ok(w.f.EndWarning(w.ctx, catalog.AlarmCredentialLast, "c-2"))
	w.ok(w.f.EndWarning(w.ctx, catalog.AlarmCredentialLast, "c-2"))
	expect(w, "warnings", len(warnings(later)), 1)
	long := later.Add(catalog.WarningMemory)
	expect(w, "warnings that nobody sees", len(warnings(long)), 0)
	w.ok(w.f.Warn(w.ctx, warning, long))
	expect(w, "a warning that comes again begins anew", warnings(long)[0].Since, long)
}

// testTroubles: failures only rise, alarms come and go, and what was told is remembered.
func testTroubles(_ *testing.T, w *world) {
	t, fence := w.tenant("a"), w.lead()
	troubles := func() map[string]catalog.Trouble {
		w.t.Helper()
		list, err := w.f.Troubles(w.ctx, now, now)
		w.ok(err)
		out := map[string]catalog.Trouble{}
		for _, trouble := range list {
			out[string(trouble.Tenant)+" "+trouble.Cause] = trouble
		}
		return out
	}
	post := func(troubles ...catalog.Trouble) {
		w.t.Helper()
		_, err := w.f.Post(w.ctx, fence, catalog.Posting{Troubles: troubles}, now)
		w.ok(err)
	}
	expect(w, "troubles of a healthy tenant", len(troubles()), 0)
	_, claims := w.claimed(t, w.worker("1"), 3)
	fail := func(i int) {
		w.t.Helper()
		w.ok(t.Settle(w.ctx, claims[i], catalog.Settlement{State: catalog.TaskFailed, Kind: tenantry.Corrupt}, now))
	}
	fail(0)
	w.ok(t.RaiseAlarm(w.ctx, catalog.AlarmDamage, "x/mailbox", "d", now))
	w.ok(t.RaiseAlarm(w.ctx, catalog.AlarmDamage, "y/mailbox", "d", now))
	w.ok(t.SetState(w.ctx, tenantry.TenantDisconnected, "gone"))
	got := troubles()
	expect(w, "failures", got["t-a failed/backup/corrupt"].Now, 1)
	expect(w, "alarms", got["t-a alarm/damage"].Now, 2)
	expect(w, "lost consent", got["t-a disconnected"].Now, 1)

	for _, trouble := range got {
		trouble.Seen, trouble.Since = trouble.Now, now
		post(trouble)
	}
	expect(w, "troubles that were told", len(troubles()), 0)
	w.ok(t.SetState(w.ctx, tenantry.TenantConnected, ""))
	w.ok(t.ClearAlarm(w.ctx, catalog.AlarmDamage, "x/mailbox"))
	fail(1)
	fail(2)
	got = troubles()
	expect(w, "failures", got["t-a failed/backup/corrupt"], catalog.Trouble{Tenant: "t-a", Cause: "failed/backup/corrupt", Seen: 1, Since: now, Now: 3})
	expect(w, "alarms", got["t-a alarm/damage"].Now, 1)
	expect(w, "restored consent", got["t-a disconnected"], catalog.Trouble{Tenant: "t-a", Cause: "disconnected", Seen: 1, Since: now})
	post(catalog.Trouble{Cause: "shared/bucket", Seen: 1, Untold: 1, Since: now, ToldAt: now}, catalog.Trouble{Tenant: "t-a", Cause: "stale", Seen: 4, Untold: 2, Since: now})
	got = troubles()
	expect(w, "stale", got["t-a stale"].Now, 4)
	expect(w, "shared", got[" shared/bucket"].Untold, 1)
	tenants, disconnected, err := w.f.Deserted(w.ctx)
	w.ok(err)
	expect(w, "tenants", tenants, 1)
	expect(w, "disconnected", disconnected, 0)
}
