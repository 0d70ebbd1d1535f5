package tenantry

import (
	"net/mail"
	"slices"
	"strings"
	"time"
)

// Notices says who is told what by mail: about a tenant as a whole, about one policy, or, for
// the provider, about the fleet. The zero value tells nobody.
type Notices struct {
	To []string `json:"to,omitempty"` // addresses, at most MaxAddresses
	// Events are the mails of a first backup, of FirstBackupEvents; nil: all of them, empty: none.
	Events []string `json:"events"`
	Report string   `json:"report,omitempty"` // ReportOff, ReportDaily, ReportWeekly; empty: off
	// At is the local time of day of reports and digests, "HH:MM" (empty: 07:00), Weekday the English name
	// of the day of weekly ones (empty: monday), Zone the IANA time zone of both (empty: UTC).
	At      string `json:"at,omitempty"`
	Weekday string `json:"weekday,omitempty"`
	Zone    string `json:"time_zone,omitempty"`
	// Problems tells of failures, stale backups and alarms at once.
	Problems bool `json:"problems,omitempty"`
	// StaleHours is how old the newest snapshot of a series may be before it is stale; 0: as old as its policy's
	// objective says.
	StaleHours int `json:"stale_hours,omitempty"`
	// Stopped keeps the settings and sends nothing.
	Stopped bool `json:"stopped,omitempty"`
}

// How often a report is sent.
const (
	ReportOff    = "off"
	ReportDaily  = "daily"
	ReportWeekly = "weekly"
)

// The mails of a first backup.
const (
	EventAccepted  = "accepted"  // a workload was enabled
	EventListed    = "listed"    // what there is of it is known
	EventProgress  = "progress"  // every six hours until the end
	EventCompleted = "completed" // everything was tried, and something was saved
	EventFailed    = "failed"    // everything was tried, and nothing was saved; or it cannot be listed
)

// FirstBackupEvents lists them in their order.
func FirstBackupEvents() []string {
	return []string{EventAccepted, EventListed, EventProgress, EventCompleted, EventFailed}
}

const (
	// MaxAddresses bounds Notices.To.
	MaxAddresses = 20
	// maxAddress is the longest address that SMTP carries (RFC 5321, 4.5.3.1.3, less the angle brackets).
	maxAddress = 254
	// maxStaleHours is a year.
	maxStaleHours = 366 * 24

	defaultReportAt = "07:00"
)

// ParseAddress returns Invalid unless address is a bare mailbox ("ada@contoso.com") that can stand in an SMTP
// command and in a header as it is: ASCII, without spaces, quotes and control characters.
func ParseAddress(address string) error {
	parsed, err := mail.ParseAddress(address)
	local, domain, _ := strings.Cut(address, "@")
	odd := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"\(),:;<>[]`, r) }
	if err != nil || parsed.Address != address || parsed.Name != "" || len(address) > maxAddress || len(local) > 64 ||
		strings.Contains(domain, "@") || strings.ContainsFunc(address, odd) {
		return Errorf(Invalid, "notices: %q is no mail address such as ada@contoso.com", strings.ToValidUTF8(address, "?"))
	}
	return nil
}

// Validate returns Invalid naming the field that cannot be.
func (n Notices) Validate() error {
	if len(n.To) > MaxAddresses {
		return Errorf(Invalid, "notices: to has %d addresses; it may have %d", len(n.To), MaxAddresses)
	}
	for _, address := range n.To {
		if err := ParseAddress(address); err != nil {
			return err
		}
	}
	for _, event := range n.Events {
		if !slices.Contains(FirstBackupEvents(), event) {
			return Errorf(Invalid, "notices: events has %q; it may have %s", event, strings.Join(FirstBackupEvents(), ", "))
		}
	}
	if !slices.Contains([]string{"", ReportOff, ReportDaily, ReportWeekly}, n.Report) {
		return Errorf(Invalid, "notices: report is %q; it may be off, daily or weekly", n.Report)
	}
	if _, err := time.Parse("15:04", n.At); n.At != "" && err != nil {
		return Errorf(Invalid, "notices: at is %q; it may be a time of day, HH:MM", n.At)
	}
	if _, ok := weekdays[n.Weekday]; !ok {
		return Errorf(Invalid, "notices: weekday is %q; it may be monday to sunday", n.Weekday)
	}
	if zone, err := time.LoadLocation(n.Zone); err != nil || zone == time.Local {
		return Errorf(Invalid, "notices: time_zone is %q; it may be an IANA time zone such as Europe/Vienna", n.Zone)
	}
	if n.StaleHours < 0 || n.StaleHours > maxStaleHours {
		return Errorf(Invalid, "notices: stale_hours is %d; it may be 0 to %d", n.StaleHours, maxStaleHours)
	}
	return nil
}

var weekdays = map[string]time.Weekday{
	"": time.Monday, "monday": time.Monday, "tuesday": time.Tuesday, "wednesday": time.Wednesday, "thursday": time.Thursday,
	"friday": time.Friday, "saturday": time.Saturday, "sunday": time.Sunday,
}

// Tells reports whether anybody is told of the event of a first backup.
func (n Notices) Tells(event string) bool {
	return n.Speaks() && (n.Events == nil || slices.Contains(n.Events, event))
}

// Speaks reports whether anybody is told anything.
func (n Notices) Speaks() bool { return !n.Stopped && len(n.To) > 0 }

// Location is the time zone of the notices; UTC where it is empty or unknown.
func (n Notices) Location() *time.Location {
	if zone, err := time.LoadLocation(n.Zone); err == nil && zone != time.Local {
		return zone
	}
	return time.UTC
}

// StaleAfter is how old the newest snapshot of a series may be; 0: as its policy says.
func (n Notices) StaleAfter() time.Duration { return time.Duration(n.StaleHours) * time.Hour }

// NextReport is when the next report is due after a time; zero: none is wanted.
func (n Notices) NextReport(after time.Time) time.Time {
	if !n.Speaks() || (n.Report != ReportDaily && n.Report != ReportWeekly) {
		return time.Time{}
	}
	next := n.NextMorning(after)
	for n.Report == ReportWeekly && next.Weekday() != weekdays[n.Weekday] {
		next = n.NextMorning(next)
	}
	return next
}

// NextMorning is when it is At again after a time, in the time zone of the notices. A time of day that the
// change to summer leaves out is taken an hour later; one that comes twice is taken once.
func (n Notices) NextMorning(after time.Time) time.Time {
	at := n.At
	if at == "" {
		at = defaultReportAt
	}
	clock, err := time.Parse("15:04", at)
	if err != nil {
		clock = time.Time{}
	}
	local := after.In(n.Location())
	for day := 0; ; day++ {
		next := time.Date(local.Year(), local.Month(), local.Day()+day, clock.Hour(), clock.Minute(), 0, 0, local.Location())
		if next.After(after) {
			return next
		}
	}
}
