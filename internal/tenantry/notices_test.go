package tenantry

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestNoticesValidate(t *testing.T) {
	t.Parallel()
	good := Notices{To: []string{"ada@contoso.com", "o'brien+backup@mail.contoso.co.uk"}, Report: ReportWeekly, At: "23:59", Weekday: "sunday", Zone: "Australia/Sydney", StaleHours: 24}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := (Notices{}).Validate(); err != nil {
		t.Fatal(err)
	}
	for field, n := range map[string]Notices{
		"to":          {To: make([]string, MaxAddresses+1)},
		"no mail":     {To: []string{"ada"}},
		"events":      {Events: []string{"born"}},
		"report":      {Report: "hourly"},
		"at":          {At: "24:00"},
		"weekday":     {Weekday: "someday"},
		"time_zone":   {Zone: "Local"},
		"time_zone ":  {Zone: "../../etc/passwd"},
		"stale_hours": {StaleHours: -1},
	} {
		if err := n.Validate(); KindOf(err) != Invalid || !strings.Contains(err.Error(), strings.TrimSpace(field)) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// No address carries anything into a header or an SMTP command but itself.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"", "ada", "ada@", "@contoso.com", "Ada <ada@contoso.com>", "ada@contoso.com\r\nBcc: eve@evil.example", "ada@contoso.com\n",
		"ada@contoso.com, eve@evil.example", `"a b"@contoso.com`, `"\r\n"@contoso.com`, "ada@[127.0.0.1]", "ädä@contoso.com", "ada@cöntoso.com",
		"ada @contoso.com", "ada(comment)@contoso.com", "ada@contoso.com\x00", strings.Repeat("a", 65) + "@contoso.com", "a@" + strings.Repeat("b", 254) + ".com",
		"<ada@contoso.com>", "ada@contoso.com>", "a@b@c",
	} {
		if KindOf(ParseAddress(address)) != Invalid {
			t.Errorf("%q passes", address)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		address := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{1,20}@[ -~]{1,20}`)).Draw(t, "address")
		if ParseAddress(address) == nil && strings.ContainsAny(address, "\r\n\x00<>,;: \"") {
			t.Fatalf("%q passes", address)
		}
	})
}

func TestNextReport(t *testing.T) {
	t.Parallel()
	vienna, _ := time.LoadLocation("Europe/Vienna")
	at := func(s string) time.Time {
		when, err := time.ParseInLocation("2006-01-02 15:04", s, vienna)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	n := Notices{To: []string{"ada@contoso.com"}, Zone: "Europe/Vienna", Report: ReportDaily}
	for _, c := range []struct {
		n           Notices
		after, want string
	}{
		{n, "2026-11-21 06:59", "2026-11-21 07:00"},
		{n, "2026-11-21 07:00", "2026-11-22 07:00"},
		{n.every(ReportWeekly, "", ""), "2026-11-21 12:00", "2026-11-23 07:00"}, // a Saturday, to Monday
		{n.every(ReportWeekly, "saturday", "12:00"), "2026-11-21 12:00", "2026-11-28 12:00"},
		{n.every(ReportDaily, "", "02:30"), "2026-03-28 12:00", "2026-03-29 03:30"}, // left out by the change to summer
		{n.every(ReportDaily, "", "07:00"), "2026-10-24 08:00", "2026-10-25 07:00"}, // a day of 25 hours
	} {
		if got := c.n.NextReport(at(c.after)); !got.Equal(at(c.want)) {
			t.Errorf("%s %s %s after %s: %v, want %s", c.n.Report, c.n.Weekday, c.n.At, c.after, got, c.want)
		}
	}
	for _, silent := range []Notices{{Report: ReportDaily}, {To: n.To}, {To: n.To, Report: ReportDaily, Stopped: true}, {To: n.To, Report: ReportOff}} {
		if got := silent.NextReport(at("2026-11-21 06:59")); !got.IsZero() {
			t.Errorf("%+v: report at %v", silent, got)
		}
	}
}

func (n Notices) every(report, weekday, at string) Notices {
	n.Report, n.Weekday, n.At = report, weekday, at
	return n
}

// Reports come once a day, or a week, whatever the zone does to its clocks.
func TestReportsKeepTheirPace(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := Notices{
			To: []string{"ada@contoso.com"}, Report: rapid.SampledFrom([]string{ReportDaily, ReportWeekly}).Draw(t, "report"),
			Zone: rapid.SampledFrom([]string{"", "Europe/Vienna", "Australia/Lord_Howe", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"}).Draw(t, "zone"),
			At:   rapid.SampledFrom([]string{"", "00:00", "02:15", "02:45", "23:59"}).Draw(t, "at"),
		}
		from := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "from"), 0)
		pace := 24 * time.Hour
		if n.Report == ReportWeekly {
			pace *= 7
		}
		first := n.NextReport(from)
		second := n.NextReport(first)
		if gap := second.Sub(first); !first.After(from) || first.Sub(from) > pace+time.Hour || gap < pace-2*time.Hour || gap > pace+2*time.Hour {
			t.Fatalf("%+v: after %v at %v and %v", n, from, first, second)
		}
	})
}
