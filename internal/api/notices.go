package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// NewNotices says who is told what by mail.
type NewNotices struct {
	To         []string `json:"to" nullable:"false" maxItems:"20" uniqueItems:"true" doc:"Mail addresses" example:"[\"ada@contoso.com\"]"`
	Events     []string `json:"events,omitempty" nullable:"false" maxItems:"5" enum:"accepted,listed,progress,completed,failed,none" uniqueItems:"true" doc:"Mails of a first backup: accepted, listed, its progress every six hours, completed or failed; or none. Without it all of them"`
	Report     string   `json:"report,omitempty" enum:"off,daily,weekly" default:"off" doc:"How often a report is sent"`
	At         string   `json:"at,omitempty" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" patternDescription:"time of day, HH:MM" default:"07:00" doc:"Local time of day of reports and digests"`
	Weekday    string   `json:"weekday,omitempty" enum:"monday,tuesday,wednesday,thursday,friday,saturday,sunday" default:"monday" doc:"Day of weekly reports"`
	TimeZone   string   `json:"time_zone,omitempty" maxLength:"64" doc:"IANA name; without it that of the tenant's first policy, else UTC" example:"Europe/Vienna"`
	Problems   bool     `json:"problems,omitempty" doc:"Tell of failures, stale backups and alarms at once: once a day for each cause, then in a digest"`
	StaleHours int      `json:"stale_hours,omitempty" minimum:"0" maximum:"8784" doc:"How old the newest restore point may be; without it as old as the objective of its policy"`
	Stopped    bool     `json:"stopped,omitempty" doc:"Send nothing, and keep the rest"`
}

// Notices are who is told what by mail, as it is set.
type Notices struct {
	Policy     tenantry.PolicyID `json:"policy,omitempty" doc:"Of one policy; absent: of the tenant, or the fleet"`
	PolicyName string            `json:"policy_name,omitempty" doc:"What people call the policy"`
	NewNotices
	ChangedAt  *time.Time `json:"changed_at,omitempty"`
	NextReport *time.Time `json:"next_report,omitempty"`
	ETag       string     `json:"etag" doc:"Names these settings: send it as If-Match with a change of them"`
}

// Mail is a mail to one address, without its text.
type Mail struct {
	ID        string            `json:"id"`
	Event     string            `json:"event" doc:"accepted, listed, progress, completed, failed, report, problems, digest, over, test"`
	Policy    tenantry.PolicyID `json:"policy,omitempty"`
	To        string            `json:"to"`
	Subject   string            `json:"subject"`
	State     catalog.MailState `json:"state" enum:"waiting,sending,sent,failed"`
	Attempts  int               `json:"attempts"`
	Reason    string            `json:"reason,omitempty" doc:"Why it waits or failed: the mail server's words"`
	CreatedAt *time.Time        `json:"created_at,omitempty"`
	NotBefore *time.Time        `json:"not_before,omitempty" doc:"When it is tried again"`
	EndedAt   *time.Time        `json:"ended_at,omitempty"`
}

func noticesOf(row catalog.NoticeRow) Notices {
	n := row.Settings
	events := n.Events
	if events == nil {
		events = tenantry.FirstBackupEvents()
	} else if len(events) == 0 {
		events = []string{noEvents}
	}
	return Notices{
		Policy: row.Policy, ChangedAt: when(row.ChangedAt), NextReport: when(row.NextReport),
		NewNotices: NewNotices{
			To: append([]string{}, n.To...), Events: events, Report: n.Report, At: n.At, Weekday: n.Weekday, TimeZone: n.Zone,
			Problems: n.Problems, StaleHours: int(n.StaleAfter() / time.Hour), Stopped: n.Stopped,
		},
		ETag: etagOf(n),
	}
}

// noticeSettings reads what the ETag of a tenant's notices, or of a policy's, names.
func noticeSettings(t *catalog.Tenant, policy tenantry.PolicyID) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) {
		rows, err := t.Notices(ctx)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(rows, func(row catalog.NoticeRow) bool { return row.Policy == policy })
		if at < 0 {
			return tenantry.Notices{}, nil
		}
		return rows[at].Settings, nil
	}
}

func mailOf(m catalog.Mail) Mail {
	out := Mail{
		ID: m.ID, Event: m.Event, Policy: m.Policy, To: m.To, Subject: m.Subject, State: m.State, Attempts: m.Attempts,
		Reason: m.Reason, CreatedAt: when(m.CreatedAt), EndedAt: when(m.EndedAt),
	}
	if m.State == catalog.MailWaiting {
		out.NotBefore = when(m.NotBefore)
	}
	return out
}

// noEvents asks for no mail of a first backup.
const noEvents = "none"

// settings checks what was given, by the names of its fields under at.
func (n NewNotices) settings(at string) (tenantry.Notices, error) {
	var wrong complaints
	for i, address := range n.To {
		if tenantry.ParseAddress(address) != nil {
			wrong.add(invalid(fmt.Sprintf("%s.to[%d]", at, i), address, "must be a mail address such as ada@contoso.com, without a name"))
		}
	}
	if zone, err := time.LoadLocation(n.TimeZone); err != nil || zone == time.Local {
		wrong.add(invalid(at+".time_zone", n.TimeZone, "must be an IANA time zone such as Europe/Vienna"))
	}
	events := n.Events
	switch {
	case slices.Contains(events, noEvents) && len(events) > 1:
		wrong.add(invalid(at+".events", events, "must be none alone, or others"))
	case slices.Contains(events, noEvents):
		events = []string{}
	case len(events) == 0:
		events = nil
	}
	if err := wrong.err(); err != nil {
		return tenantry.Notices{}, err
	}
	out := tenantry.Notices{
		To: n.To, Events: events, Report: n.Report, At: n.At, Weekday: n.Weekday, Zone: n.TimeZone,
		Problems: n.Problems, StaleHours: n.StaleHours, Stopped: n.Stopped,
	}
	return out, out.Validate()
}

type setNoticesInput struct {
	TenantPath
	IfMatch
	Body NewNotices
}

func (in *setNoticesInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.Body }

type setPolicyNoticesInput struct {
	PolicyPath
	IfMatch
	Body NewNotices
}

func (in *setPolicyNoticesInput) audit() (tenantry.TenantID, any) {
	return in.Tenant, map[string]any{"policy": in.Policy, "notices": in.Body}
}

type removeNoticesInput struct {
	TenantPath
	Policy tenantry.PolicyID `query:"policy" maxLength:"64" doc:"Whose; without it those of the whole tenant"`
}

func (in *removeNoticesInput) audit() (tenantry.TenantID, any) {
	return in.Tenant, map[string]any{"policy": in.Policy}
}

type testNoticesInput struct{ TenantPath }

func (in *testNoticesInput) audit() (tenantry.TenantID, any) { return in.Tenant, nil }

type setFleetNoticesInput struct {
	IfMatch
	Body NewNotices
}

func (in *setFleetNoticesInput) audit() (tenantry.TenantID, any) { return "", in.Body }

type sendReportInput struct {
	TenantPath
	Policy tenantry.PolicyID `query:"policy" maxLength:"64" doc:"About which; without it about the whole tenant"`
}

func (in *sendReportInput) audit() (tenantry.TenantID, any) {
	return in.Tenant, map[string]any{"policy": in.Policy}
}

type sendFleetReportInput struct{}

func (in *sendFleetReportInput) audit() (tenantry.TenantID, any) { return "", nil }

type testFleetNoticesInput struct{}

func (in *testFleetNoticesInput) audit() (tenantry.TenantID, any) { return "", nil }

type listMailsInput struct {
	TenantPath
	PageQuery
}

func (s *service) noticeRoutes() {
	const tag, tenant = "notices", "/v1/tenants/{tenant}"
	read(s, get("list-notices", tag, tenant+"/notices", "Show who is told what by mail, about the tenant and its policies"), s.listNotices)
	write(s, operation(http.MethodPut, http.StatusOK, "set-notices", tag, tenant+"/notices", "Say who is told what about a tenant"), s.setNotices)
	write(s, operation(http.MethodPut, http.StatusOK, "set-policy-notices", tag, tenant+"/policies/{policy}/notices", "Say who is told what about a policy, in place of what is set for the tenant"), s.setPolicyNotices)
	read(s, get("get-policy-notices", tag, tenant+"/policies/{policy}/notices", "Show who is told what about a policy in place of what is set for the tenant"), s.policyNotices)
	write(s, remove("remove-notices", tag, tenant+"/notices", "Tell nobody any more, and forget their addresses"), s.removeNotices)
	write(s, post(http.StatusAccepted, "test-notices", tag, tenant+"/notices/test", "Send a test mail to everybody who is told about the tenant"), s.testNotices)
	write(s, post(http.StatusAccepted, "send-report", tag, tenant+"/notices/report", "Send the daily or weekly report now; the next one comes at its time"), s.sendReport)
	read(s, get("list-mails", tag, tenant+"/mails", "List the mails about a tenant, newest first, and what became of them"), s.listMails)
	read(s, get("get-fleet-notices", tag, "/v1/notices", "Show what the provider is told about the fleet"), s.fleetNotices)
	write(s, operation(http.MethodPut, http.StatusOK, "set-fleet-notices", tag, "/v1/notices", "Say what the provider is told about the fleet"), s.setFleetNotices)
	write(s, post(http.StatusAccepted, "test-fleet-notices", tag, "/v1/notices/test", "Send a test mail to the provider's addresses"), s.testFleetNotices)
	write(s, post(http.StatusAccepted, "send-fleet-report", tag, "/v1/notices/report", "Send the provider's report now"), s.sendFleetReport)
	read(s, get("list-fleet-mails", tag, "/v1/mails", "List the mails to the provider, newest first"), s.listFleetMails)
}

// listNotices has the ETag of the tenant's own: it is the one that set-notices takes.
func (s *service) listNotices(ctx context.Context, in *tenantInput) (*versioned[Page[Notices]], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	rows, err := t.Notices(ctx)
	if err != nil {
		return nil, err
	}
	return &versioned[Page[Notices]]{noticesIn(rows, "").ETag, paged(rows, len(rows), noticesOf, nil).Body}, nil
}

func (s *service) policyNotices(ctx context.Context, in *policyInput) (*versioned[Notices], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if _, err := policyIn(ctx, t, in.Policy); err != nil {
		return nil, err
	}
	rows, err := t.Notices(ctx)
	if err != nil {
		return nil, err
	}
	n := noticesIn(rows, in.Policy)
	return &versioned[Notices]{n.ETag, n}, nil
}

// noticesIn are those of a policy, or with "" the tenant's own; where none are set they tell nobody.
func noticesIn(rows []catalog.NoticeRow, policy tenantry.PolicyID) Notices {
	for _, row := range rows {
		if row.Policy == policy {
			return noticesOf(row)
		}
	}
	return noticesOf(catalog.NoticeRow{Policy: policy})
}

func (s *service) setNotices(ctx context.Context, in *setNoticesInput) (*versioned[Notices], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	return s.putNotices(ctx, t, "", in.IfMatch, in.Body, "body")
}

func (s *service) setPolicyNotices(ctx context.Context, in *setPolicyNoticesInput) (*versioned[Notices], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	if _, err := policyIn(ctx, t, in.Policy); err != nil {
		return nil, err
	}
	return s.putNotices(ctx, t, in.Policy, in.IfMatch, in.Body, "body")
}

// noticesFor checks what was given at a place of the body. The time zone is the tenant's unless it is given.
func (s *service) noticesFor(ctx context.Context, t *catalog.Tenant, policy tenantry.PolicyID, n NewNotices, at string) (tenantry.Notices, error) {
	settings, err := n.settings(at)
	if err != nil || settings.Zone != "" {
		return settings, err
	}
	policies, err := t.Policies(ctx)
	for _, p := range policies {
		if settings.Zone == "" || p.ID == policy {
			settings.Zone = p.TimeZone
		}
	}
	return settings, err
}

// putNotices sets what was given at a place of the body.
func (s *service) putNotices(ctx context.Context, t *catalog.Tenant, policy tenantry.PolicyID, m IfMatch, n NewNotices, at string) (*versioned[Notices], error) {
	settings, err := s.noticesFor(ctx, t, policy, n, at)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, t, m, noticeSettings(t, policy), func(ctx context.Context) error { return t.SetNotices(ctx, policy, settings, s.Now()) })
	if err != nil {
		return nil, err
	}
	rows, err := t.Notices(ctx)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if row.Policy == policy {
			return versionedNotices(row), nil
		}
	}
	return nil, tenantry.Errorf(tenantry.Conflict, "the notices were removed meanwhile")
}

func (s *service) removeNotices(ctx context.Context, in *removeNoticesInput) (*struct{}, error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	return nil, t.RemoveNotices(ctx, in.Policy)
}

func versionedNotices(row catalog.NoticeRow) *versioned[Notices] {
	n := noticesOf(row)
	return &versioned[Notices]{n.ETag, n}
}

func (s *service) fleetNotices(ctx context.Context, _ *struct{}) (*versioned[Notices], error) {
	row, err := s.Catalog.Fleet().Notices(ctx)
	return versionedNotices(row), err
}

func (s *service) setFleetNotices(ctx context.Context, in *setFleetNoticesInput) (*versioned[Notices], error) {
	settings, err := in.Body.settings("body")
	if err != nil {
		return nil, err
	}
	fleet := s.Catalog.Fleet()
	err = s.change(ctx, nil, in.IfMatch, func(ctx context.Context) (any, error) { row, err := fleet.Notices(ctx); return row.Settings, err },
		func(ctx context.Context) error { return fleet.SetNotices(ctx, settings, s.Now()) })
	if err != nil {
		return nil, err
	}
	return s.fleetNotices(ctx, nil)
}

// A test mail says the same to everybody.
const (
	testSubject = "Test of the backup's notices"
	testPlain   = "This is a test of the notices of your backup. Nothing is wrong: mails arrive.\n"
	testHTML    = "<!DOCTYPE html>\n<html lang=\"en\"><body><p>This is a test of the notices of your backup. Nothing is wrong: mails arrive.</p></body></html>\n"
)

func (s *service) testNotices(ctx context.Context, in *testNoticesInput) (*struct{}, error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	rows, err := t.Notices(ctx)
	if err != nil {
		return nil, err
	}
	return nil, s.sendTest(ctx, string(in.Tenant), rows, t.PutMail)
}

func (s *service) testFleetNotices(ctx context.Context, _ *testFleetNoticesInput) (*struct{}, error) {
	row, err := s.Catalog.Fleet().Notices(ctx)
	if err != nil {
		return nil, err
	}
	return nil, s.sendTest(ctx, "", []catalog.NoticeRow{row}, s.Catalog.Fleet().PutMail)
}

// sendTest writes a test mail to each address down, one a minute.
func (s *service) sendTest(ctx context.Context, tenant string, rows []catalog.NoticeRow, put func(context.Context, catalog.Mail, time.Time) error) error {
	now := s.Now()
	told, to := map[string]bool{}, []string{}
	for _, row := range rows {
		for _, address := range row.Settings.To {
			if row.Settings.Speaks() && !told[address] && len(to) < tenantry.MaxAddresses {
				told[address], to = true, append(to, address)
			}
		}
	}
	if len(to) == 0 {
		return tenantry.Errorf(tenantry.Conflict, "nobody is told: set notices first")
	}
	for i, address := range to {
		m := catalog.Mail{
			Key: fmt.Sprintf("test/%s/%s", tenant, now.UTC().Format("2006-01-02T15:04")), Event: "test",
			To: address, Subject: testSubject, Plain: testPlain, HTML: testHTML,
		}
		if err := put(ctx, m, now.Add(time.Duration(i)*time.Microsecond)); err != nil {
			return err
		}
	}
	s.wake(ctx)
	return nil
}

func (s *service) sendReport(ctx context.Context, in *sendReportInput) (*struct{}, error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	return nil, t.ReportNow(ctx, in.Policy, s.Now())
}

func (s *service) sendFleetReport(ctx context.Context, _ *sendFleetReportInput) (*struct{}, error) {
	return nil, s.Catalog.Fleet().ReportNow(ctx, s.Now())
}

func (s *service) listMails(ctx context.Context, in *listMailsInput) (*body[Page[Mail]], error) {
	t, _, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	rows, err := t.Mails(ctx, in.After, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return paged(rows, in.Limit, mailOf, func(m catalog.Mail) string { return m.ID }), nil
}

func (s *service) listFleetMails(ctx context.Context, in *PageQuery) (*body[Page[Mail]], error) {
	rows, err := s.Catalog.Fleet().Mails(ctx, in.After, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return paged(rows, in.Limit, mailOf, func(m catalog.Mail) string { return m.ID }), nil
}
