package report

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/catalog/catalogtest"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// house is a catalog with a tenant, a mail server, and a notifier whose clock the test moves.
type house struct {
	t      *testing.T
	cat    *catalog.Catalog
	dsn    string
	office *postOffice
	n      *Notifier
	now    time.Time
	fence  int64
	tenant *catalog.Tenant
}

const (
	tenantID = tenantry.TenantID("t-contoso")
	boss     = "boss@provider.example"
	ada      = "ada@contoso.com"
)

func newHouse(t *testing.T, dsn string) *house {
	t.Helper()
	if dsn == "" {
		dsn = catalogtest.SQLite(t)
	}
	cat, err := catalog.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cat.Close() })
	h := &house{t: t, cat: cat, dsn: dsn, office: openOffice(t, officeOptions{}), now: time.Now().UTC().Truncate(time.Second)}
	h.n = h.notifier("scheduler@1")
	h.ok(cat.Fleet().AddTenant(t.Context(), catalog.TenantRow{
		ID: tenantID, Name: "Contoso", Directory: "contoso.example", State: tenantry.TenantConnected, AddedAt: h.now, NextSyncAt: h.now.Add(time.Hour),
	}))
	h.tenant = cat.Tenant(tenantID)
	h.ok(h.tenant.EnableWorkload(t.Context(), tenantry.Mailbox, catalog.Enabling{}, h.now))
	h.lead("scheduler@1")
	return h
}

func (h *house) notifier(p tenantry.ProcessID) *Notifier {
	h.t.Helper()
	n, err := New(Config{
		Catalog: h.cat, Sender: h.office.sender(h.t, nil), Process: p, Log: zap.NewNop().Sugar(), Now: func() time.Time { return h.now },
	})
	h.ok(err)
	return n
}

func (h *house) lead(p tenantry.ProcessID) {
	h.t.Helper()
	fence, won, err := h.cat.Fleet().Lead(h.t.Context(), p, time.Hour)
	h.ok(err)
	if !won {
		h.t.Fatal("somebody else leads")
	}
	h.fence = fence
}

func (h *house) ok(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) round() {
	h.t.Helper()
	h.ok(h.n.Round(h.t.Context(), h.fence))
}

// pass moves the clock and plays a round.
func (h *house) pass(d time.Duration) {
	h.t.Helper()
	h.now = h.now.Add(d)
	h.round()
}

// users syncs so many users with a mailbox.
func (h *house) users(n int) {
	h.t.Helper()
	var list []catalog.Resource
	for i := range n {
		list = append(list, catalog.Resource{
			ID: userID(i), Kind: tenantry.User, ObjectID: fmt.Sprint(i), Name: fmt.Sprintf("Secret Person %d", i), Address: fmt.Sprintf("person%d@contoso.com", i),
			State: tenantry.Active, StateAt: h.now, Workloads: []tenantry.Workload{tenantry.Mailbox},
		})
	}
	h.ok(h.tenant.ApplySync(h.t.Context(), tenantry.User, list, "link", h.now))
	h.ok(h.tenant.SyncDone(h.t.Context(), h.now, h.now.Add(24*time.Hour)))
}

func userID(n int) tenantry.ResourceID { return tenantry.UserResource(fmt.Sprintf("%04d", n)) }

func (h *house) policy(id, name string) {
	h.t.Helper()
	h.ok(h.tenant.AddPolicy(h.t.Context(), catalog.Policy{
		ID: tenantry.PolicyID(id), Name: name, Kinds: []tenantry.ResourceKind{tenantry.User}, Workloads: []tenantry.Workload{tenantry.Mailbox},
		At: 90, Window: 60, TimeZone: "Europe/Vienna",
	}, h.now))
}

// backup backs up user n under a policy, with a snapshot or a failure of a kind.
func (h *house) backup(policy string, n int, kind tenantry.Kind) {
	h.t.Helper()
	ctx := h.t.Context()
	fleet := h.cat.Fleet()
	run, err := h.tenant.StartRun(ctx, tenantry.Backup, catalog.TriggerManual, tenantry.PolicyID(policy), []catalog.NewTask{{Resource: userID(n), Workload: tenantry.Mailbox, Queue: "backup"}}, h.now)
	h.ok(err)
	h.ok(fleet.Beat(ctx, catalog.Process{ID: "worker@1", Role: "worker"}, time.Hour))
	tasks, err := fleet.Admit(ctx, h.fence, []catalog.Pick{{Tenant: tenantID, Queue: "backup", Service: tenantry.Outlook, N: 10}}, h.now)
	h.ok(err)
	for _, task := range tasks {
		if task.Run != run.ID {
			h.t.Fatalf("admitted another run's task %+v", task)
		}
		claim, err := h.tenant.Claim(ctx, task.ID, task.Admission, "worker@1")
		h.ok(err)
		s := catalog.Settlement{State: catalog.TaskDone, Counts: tenantry.Counts{Items: 1200, Bytes: 5_000_000, Stored: 2_000_000}}
		if kind == "" {
			s.Snapshot = &catalog.SnapshotRow{Seq: h.now.Unix(), Time: h.now}
		} else {
			s.State, s.Kind, s.Reason = catalog.TaskFailed, kind, "mail \"Secret subject\" cannot be read"
		}
		h.ok(h.tenant.Settle(ctx, claim, s, h.now))
	}
}

// enable enables a workload; told is who is named.
func (h *house) enable(w tenantry.Workload, told *tenantry.Notices) {
	h.t.Helper()
	h.ok(h.tenant.EnableWorkload(h.t.Context(), w, catalog.Enabling{Told: told}, h.now))
}

// listed ends a listing of what is enabled, but for those kinds.
func (h *house) listed(failed map[tenantry.ResourceKind]string) {
	h.t.Helper()
	h.ok(h.tenant.ListingBegan(h.t.Context(), h.now))
	h.ok(h.tenant.ListingEnded(h.t.Context(), failed, h.now))
}

func (h *house) notices(policy string, n tenantry.Notices) {
	h.t.Helper()
	h.ok(h.tenant.SetNotices(h.t.Context(), tenantry.PolicyID(policy), n, h.now))
}

// got expects the subjects that an address got since the last call.
func (h *house) got(address string, want ...string) {
	h.t.Helper()
	got := h.office.to(h.t, address)
	h.office.mu.Lock()
	h.office.mails = nil
	h.office.mu.Unlock()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		h.t.Errorf("%s got\n  %s\nwant\n  %s", address, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// The course of a first backup from the enabling on, as those who were named and the tenant's people hear of it;
// nothing in any mail names a person or a mail.
func TestFirstBackupIsTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	h.notices("", tenantry.Notices{To: []string{ada}})
	h.round()
	h.got(ada, "Contoso: Mailboxes: backup was accepted")
	h.pass(time.Minute)
	h.users(3)
	h.listed(nil)
	h.pass(time.Minute)
	h.got(ada, "Contoso: Mailboxes: 3 listed")
	h.pass(24 * time.Hour) // no policy covers them
	h.got(ada)
	h.policy("p-0", "All")
	h.backup("p-0", 0, "")
	h.pass(time.Minute)
	h.got(ada, "Contoso: Mailboxes: first backup, 33 % done")
	h.pass(5 * time.Hour)
	h.got(ada)
	h.pass(time.Hour)
	h.got(ada, "Contoso: Mailboxes: first backup, 33 % done")
	h.backup("p-0", 1, tenantry.Denied)
	h.backup("p-0", 2, "")
	h.pass(time.Hour)
	mails := h.office.taken()
	h.got(ada, "Contoso: Mailboxes: first backup is complete")
	_, parts := mails[0].parsed(t)
	for _, want := range []string{"1 has no restore point", "Mailboxes", "Microsoft refuses access"} {
		if !strings.Contains(parts["text/plain"], want) || !strings.Contains(parts["text/html"], want) {
			t.Errorf("the mail does not say %q:\n%s", want, parts["text/plain"])
		}
	}
	for _, secret := range []string{"Secret", "person", userIDText(0)} {
		if strings.Contains(string(mails[0].data), secret) {
			t.Errorf("the mail says %q:\n%s", secret, mails[0].data)
		}
	}
	h.policy("p-1", "More") // mails of a first backup follow the enabling, not a policy
	h.pass(30 * 24 * time.Hour)
	h.got(ada)
}

// Who is named when a workload is enabled is told of that one's first backup.
func TestWhoIsNamedIsTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	h.enable(tenantry.Mailbox, &tenantry.Notices{To: []string{ada}})
	h.enable(tenantry.SiteContent, &tenantry.Notices{To: []string{boss}, Events: []string{tenantry.EventAccepted, tenantry.EventFailed}})
	h.round()
	if got := h.office.to(t, boss); strings.Join(got, "") != "Contoso: Sites: backup was accepted" {
		t.Errorf("the boss got %q", got)
	}
	h.got(ada, "Contoso: Mailboxes: backup was accepted")
	h.listed(map[tenantry.ResourceKind]string{tenantry.Site: "Microsoft refuses it"})
	h.pass(time.Minute)
	parts := map[string]string{}
	for _, m := range h.office.taken() {
		if m.to == boss {
			_, parts = m.parsed(t)
		}
	}
	if !strings.Contains(parts["text/plain"], "Microsoft refuses it") || !strings.Contains(parts["text/plain"], "enable the workload again") {
		t.Errorf("the mail has no reason, or no remedy:\n%s", parts["text/plain"])
	}
	h.got(boss, "Contoso: Sites: cannot be backed up")
	h.pass(time.Minute)
	h.got(boss)
	h.enable(tenantry.SiteContent, nil) // tries again, and begins anew: as it was said before
	h.pass(time.Minute)
	h.got(boss, "Contoso: Sites: backup was accepted")
	h.notices("", tenantry.Notices{To: []string{ada}, Stopped: true})
	h.listed(map[tenantry.ResourceKind]string{tenantry.Site: "Microsoft refuses it"})
	h.pass(time.Minute)
	h.got(boss)
}

func userIDText(n int) string { return string(userID(n)) }

func TestFailedFirstBackupIsTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	h.notices("", tenantry.Notices{To: []string{boss}, Events: []string{tenantry.EventAccepted, tenantry.EventFailed}})
	h.users(1)
	h.listed(nil)
	h.policy("p-1", "Nightly")
	h.round()
	h.got(boss, "Contoso: Mailboxes: backup was accepted")
	h.backup("p-1", 0, tenantry.Denied)
	h.pass(time.Minute)
	h.got(boss, "Contoso: Mailboxes: first backup failed")

	// Whoever is asked to be told nothing is told nothing; and of what ended meanwhile nothing begins.
	h.notices("", tenantry.Notices{To: []string{boss}, Stopped: true})
	h.ok(h.tenant.DisableWorkload(t.Context(), tenantry.Mailbox, nil, h.now))
	h.enable(tenantry.Mailbox, nil)
	h.listed(nil)
	h.backup("p-1", 0, "")
	h.pass(time.Minute)
	h.notices("", tenantry.Notices{To: []string{boss}})
	h.pass(time.Minute)
	h.got(boss)
}

// A credential of the provider's that ends is told twice, in time and last, and stands in the provider's report.
func TestOwnCredentialIsTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	fleet := h.cat.Fleet()
	h.ok(fleet.SetNotices(t.Context(), tenantry.Notices{To: []string{boss}, Problems: true}, h.now))
	warn := func(cause string) {
		h.ok(fleet.Warn(t.Context(), catalog.ProviderWarning{Cause: cause, Subject: "c-1", Detail: "it ends"}, h.now))
	}
	warn(catalog.AlarmCredential)
	h.round()
	h.got(boss)
	h.pass(3 * time.Minute)
	h.got(boss, "The fleet: Alarm: a credential ends within 30 days: add another one")
	warn(catalog.AlarmCredential)
	h.pass(time.Minute)
	h.got(boss)
	h.ok(fleet.EndWarning(t.Context(), catalog.AlarmCredential, "c-1"))
	h.pass(48 * time.Hour)
	warn(catalog.AlarmCredentialLast)
	h.round()
	h.pass(3 * time.Minute)
	h.got(boss, "The fleet: Alarm: a credential ends within a week, has ended, or is refused: add another one now")
	h.ok(fleet.SetNotices(t.Context(), tenantry.Notices{To: []string{boss}, Report: tenantry.ReportDaily}, h.now))
	h.ok(fleet.ReportNow(t.Context(), h.now))
	h.round()
	mails := h.office.taken()
	_, parts := mails[0].parsed(t)
	if !strings.Contains(parts["text/plain"], "a credential ends within a week") {
		t.Errorf("the report does not name it:\n%s", parts["text/plain"])
	}
}

// Reports come at their time, once, with what happened since the last.
func TestReports(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	h.users(2)
	h.policy("p-1", "Nightly")
	h.now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	none := []string{}
	h.notices("", tenantry.Notices{To: []string{ada, boss}, Events: none, Report: tenantry.ReportDaily, Zone: "Europe/Vienna"})
	h.notices("p-1", tenantry.Notices{To: []string{boss}, Events: none, Report: tenantry.ReportWeekly, Weekday: "friday", At: "18:00"})
	h.backup("p-1", 0, "")
	h.backup("p-1", 1, tenantry.Capacity)
	h.round()
	h.got(ada)
	h.now = time.Date(2026, 12, 2, 5, 59, 0, 0, time.UTC)
	h.round()
	h.got(ada)
	h.pass(time.Minute)
	mails := h.office.taken()
	if len(mails) != 2 || mails[0].subject(t) != "Contoso: backup report, 1 failure" {
		t.Fatalf("mails %d: %v", len(mails), h.office.to(t, ada))
	}
	_, parts := mails[0].parsed(t)
	for _, want := range []string{
		"From Tue 1 Dec 2026 13:00 CET to Wed 2 Dec 2026 07:00 CET.", "Mailboxes  2        1                     0        1", "Backups failed: the target is full",
		"Backups  1     1       0          2,400  0          10.0 MB  4.0 MB",
	} {
		if !strings.Contains(parts["text/plain"], want) {
			t.Errorf("the report does not say %q:\n%s", want, parts["text/plain"])
		}
	}
	if strings.Contains(parts["text/html"], "http") || strings.Contains(parts["text/html"], "src=") {
		t.Error("the report loads something from elsewhere")
	}
	h.office.refuse(nil)
	h.got(ada, "Contoso: backup report, 1 failure")
	h.pass(time.Minute)
	h.got(ada)
	// Three days without a scheduler are one report; by then one restore point is too old.
	h.pass(72 * time.Hour)
	h.got(ada, "Contoso: backup report, 1 stale")
	h.now = time.Date(2026, 12, 4, 18, 0, 0, 0, time.UTC)
	h.now = time.Date(2026, 12, 11, 18, 0, 0, 0, time.UTC)
	h.notices("", tenantry.Notices{To: []string{ada}, Stopped: true})
	h.round()
	h.got(boss, `Contoso, "Nightly": backup report, 1 stale`)

	h.ok(h.cat.Fleet().SetNotices(t.Context(), tenantry.Notices{To: []string{boss}, Report: tenantry.ReportDaily}, h.now))
	h.ok(h.tenant.DeletePolicy(t.Context(), "p-1", h.now))
	h.pass(24 * time.Hour)
	h.got(boss, "Fleet report, all is well")
}

// Trouble is told at once, to those who want it; stale backups and alarms with it.
func TestTroublesAreTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	h.users(3)
	h.policy("p-1", "Nightly")
	h.backup("p-1", 0, "")
	h.backup("p-1", 1, "")
	h.notices("", tenantry.Notices{To: []string{ada}, Events: []string{}, Problems: true})
	h.ok(h.cat.Fleet().SetNotices(t.Context(), tenantry.Notices{To: []string{boss}, Problems: true}, h.now))
	h.round()
	h.backup("p-1", 2, tenantry.Corrupt)
	h.ok(h.tenant.RaiseAlarm(t.Context(), catalog.AlarmMassChange, userIDText(0)+"/mailbox", "of 100 items 90 were removed", h.now))
	h.round()
	h.pass(settle)
	mails := h.office.taken()
	h.got(ada, "Contoso: Something is wrong with the backup")
	_, parts := mails[0].parsed(t)
	for _, want := range []string{"unusually much was deleted or changed", "what is stored is damaged"} {
		if !strings.Contains(parts["text/plain"], want) {
			t.Errorf("the mail does not say %q:\n%s", want, parts["text/plain"])
		}
	}
	h.pass(49 * time.Hour)
	h.pass(settle)
	h.got(ada, "Contoso: Restore points are older than they may be")

	// The storage is away: the provider hears of it once, and when it is back.
	h.ok(h.cat.Fleet().Pause(t.Context(), "bucket", "no route to host", h.now.Add(time.Hour), h.now))
	h.round()
	h.pass(settle)
	h.ok(h.cat.Fleet().Pause(t.Context(), "bucket", "no route to host", h.now.Add(2*time.Hour), h.now))
	h.pass(time.Hour)
	h.got(boss, "The fleet: Everybody waits: the storage cannot be used")
	h.ok(h.cat.Fleet().Resume(t.Context(), "bucket"))
	h.pass(time.Minute)
	h.got(boss, "The fleet: It is over")
}

// Many consents that go at once are one mail to the provider.
func TestLostConsentsAreOneAlarm(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	h.ok(h.cat.Fleet().SetNotices(t.Context(), tenantry.Notices{To: []string{boss}, Problems: true}, h.now))
	for i := range 4 {
		id := tenantry.TenantID(fmt.Sprint("t-", i))
		h.ok(h.cat.Fleet().AddTenant(t.Context(), catalog.TenantRow{ID: id, Name: "Some", State: tenantry.TenantConnected, AddedAt: h.now}))
		h.ok(h.cat.Tenant(id).SetNotices(t.Context(), "", tenantry.Notices{To: []string{ada}, Problems: true}, h.now))
		h.ok(h.cat.Tenant(id).SetState(t.Context(), tenantry.TenantDisconnected, "gone"))
	}
	h.round()
	h.pass(settle)
	for range 8 {
		h.pass(10 * time.Minute)
	}
	if got := h.office.to(t, boss); len(got) != 1 || !strings.HasPrefix(got[0], "The fleet: Many tenants at once: The consent is gone") {
		t.Errorf("the provider got %q", got)
	}
	if got := h.office.to(t, ada); len(got) > 4 || len(got) > 0 && !strings.Contains(got[0], "What else") {
		t.Errorf("the tenants got %q", got)
	}
}

// A server that is away is asked again, and gets everything when it is back; one that puts a mail off gets it later; one
// that refuses it for good is not asked again.
func TestServerTroubles(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "")
	test := func(key, to string) {
		t.Helper()
		h.now = h.now.Add(time.Millisecond)
		h.ok(h.tenant.PutMail(t.Context(), catalog.Mail{Key: key, Event: "test", To: to, Subject: key, Plain: "p", HTML: "h"}, h.now))
	}
	addr := servertest.Addr(t)
	back := h.n.cfg.Sender
	var err error
	h.n.cfg.Sender, err = NewSMTP(SMTPOptions{Addr: addr, TLS: StartTLS, From: "backup@provider.example"})
	h.ok(err)
	for i := range 3 {
		test(fmt.Sprint("away ", i), ada)
	}
	h.round()
	h.pass(time.Second) // not asked again at once
	list, err := h.tenant.Mails(t.Context(), "", 0)
	h.ok(err)
	for _, m := range list {
		if m.State != catalog.MailWaiting || m.Attempts != 1 || !strings.Contains(m.Reason, "reach the mail server") {
			t.Errorf("mail %+v", m)
		}
	}
	h.n.cfg.Sender = back
	h.pass(time.Minute)
	h.got(ada, "away 0", "away 1", "away 2")

	h.office.refuse(func(to string, try int) error {
		if to == "nobody@contoso.com" {
			return &smtp.SMTPError{Code: 550, Message: "no such user"}
		}
		if to == ada && try < 6 { // three were taken before
			return &smtp.SMTPError{Code: 451, Message: "greylisted"}
		}
		return nil
	})
	test("grey", ada)
	test("lost", "nobody@contoso.com")
	h.round()
	h.pass(30 * time.Second)
	h.got(ada)
	h.pass(30 * time.Second)
	h.pass(2 * time.Minute)
	h.got(ada, "grey")
	h.pass(24 * time.Hour)
	list, err = h.tenant.Mails(t.Context(), "", 0)
	h.ok(err)
	if m := list[0]; m.To != "nobody@contoso.com" || m.State != catalog.MailFailed || m.Attempts != 1 || !strings.Contains(m.Reason, "no such user") {
		t.Errorf("the refused mail stands as %+v", m)
	}
}

// Two schedulers at once, one of which leads no more: each mail is composed once and sent once.
func TestTwoSchedulers(t *testing.T) {
	t.Parallel()
	h := newHouse(t, servertest.Postgres(t).Database(t))
	h.users(2)
	h.listed(nil)
	h.notices("", tenantry.Notices{To: []string{ada, boss}, Report: tenantry.ReportDaily})
	h.policy("p-1", "Nightly")
	h.backup("p-1", 0, "")
	h.backup("p-1", 1, "")
	for i := range 50 {
		h.ok(h.tenant.PutMail(t.Context(), catalog.Mail{Key: fmt.Sprint(i), To: ada, Subject: fmt.Sprint(i), Plain: "p", HTML: "h"}, h.now))
	}
	old := h.fence
	var group sync.WaitGroup
	first := h.n
	second := h.notifier("scheduler@2")
	rounds := func(n *Notifier, fence int64) {
		for range 5 {
			if err := n.Round(t.Context(), fence); err != nil && tenantry.KindOf(err) != tenantry.Fenced {
				t.Errorf("round: %v", err)
			}
		}
	}
	group.Go(func() { rounds(first, old) })
	h.ok(h.cat.Fleet().Resign(t.Context(), "scheduler@1"))
	h.lead("scheduler@2")
	group.Go(func() { rounds(first, h.fence) })
	rounds(second, h.fence)
	group.Wait()
	if err := second.Round(t.Context(), h.fence); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, m := range h.office.taken() {
		header, _ := m.parsed(t)
		seen[header.Get("Message-ID")]++
		if seen[header.Get("Message-ID")] > 1 {
			t.Errorf("%q came twice", m.subject(t))
		}
	}
	if len(seen) != 50+2*3 { // and accepted, listed, completed to two
		t.Errorf("%d mails came: %q", len(seen), h.office.to(t, boss))
	}
	waiting, err := h.cat.Fleet().WaitingMails(context.Background())
	h.ok(err)
	if waiting != 0 {
		t.Errorf("%d mails wait", waiting)
	}
}
