package catalog_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// noSpread is a policy whose window is so short that the offset is below a minute.
func noSpread(zone string, at int) catalog.Policy {
	return catalog.Policy{At: at, Window: 1, TimeZone: zone}
}

// TestNextDueAroundClockChanges holds the opening of the window against the wall clock on
// days with a gap or an overlap. Source of the changes: the IANA time zone database.
func TestNextDueAroundClockChanges(t *testing.T) {
	for _, test := range []struct {
		name, zone, after string
		at                int
		opens             []string // on consecutive days, as UTC
	}{
		{
			"gap of an hour", "Europe/Berlin", "2026-03-28T00:00:00Z", 2*60 + 30,
			[]string{"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		},
		{
			"the minute of the gap's end", "Europe/Berlin", "2026-03-28T03:00:00Z", 3 * 60,
			[]string{"2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"},
		},
		{
			"overlap: the first of the two", "Europe/Berlin", "2026-10-24T00:00:00Z", 2*60 + 30,
			[]string{"2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		},
		{
			"overlap in the west", "America/New_York", "2026-10-31T12:00:00Z", 90,
			[]string{"2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"},
		},
		{
			"gap in the west", "America/New_York", "2026-03-07T12:00:00Z", 2 * 60,
			[]string{"2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"},
		},
		{
			"half an hour, in the south", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 2*60 + 15,
			[]string{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"},
		},
		{
			"midnight in a zone whose midnight is skipped", "America/Santiago", "2026-09-05T12:00:00Z", 0,
			[]string{"2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"},
		},
		{
			"a zone ahead of UTC by a day", "Pacific/Kiritimati", "2026-01-01T00:00:00Z", 0,
			[]string{"2026-01-01T10:00:00Z", "2026-01-02T10:00:00Z"},
		},
		{
			"no such zone counts as UTC", "Nowhere/Land", "2026-01-01T12:00:00Z", 60,
			[]string{"2026-01-02T01:00:00Z"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			after := parse(t, test.after)
			for _, opens := range test.opens {
				due := catalog.NextDue(noSpread(test.zone, test.at), "u-1", tenantry.Mailbox, after)
				if open := due.UTC().Truncate(time.Minute); !open.Equal(parse(t, opens)) {
					t.Fatalf("after %s: got %s, expected %s", after, open.Format(time.RFC3339), opens)
				}
				after = due
			}
		})
	}
}

func parse(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func drawPolicy(t *rapid.T) catalog.Policy {
	return catalog.Policy{
		At: rapid.IntRange(0, 1439).Draw(t, "at"), Window: rapid.IntRange(1, 1440).Draw(t, "window"),
		TimeZone: rapid.SampledFrom([]string{
			"UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "America/Nuuk", "Asia/Kolkata", "Asia/Kathmandu",
			"Australia/Lord_Howe", "Pacific/Kiritimati", "Pacific/Apia", "Africa/Casablanca", "Antarctica/Troll",
		}).Draw(t, "zone"),
	}
}

// Whatever the policy and the day: the next start lies after the given time and within a
// day and a change of clocks, nothing lies between, and successive starts keep their
// distance from the opening.
func TestNextDueProperties(t *testing.T) {
	from := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) // after Samoa's missing day
	rapid.Check(t, func(t *rapid.T) {
		p := drawPolicy(t)
		r := tenantry.ResourceID(rapid.StringN(1, 8, 8).Draw(t, "resource"))
		after := from.Add(time.Duration(rapid.Int64Range(0, 10*365*24*3600).Draw(t, "second")) * time.Second)
		first := catalog.NextDue(p, r, tenantry.Mailbox, after)
		if !first.After(after) || first.Sub(after) > 26*time.Hour {
			t.Fatalf("after %s comes %s", after, first)
		}
		if again := catalog.NextDue(p, r, tenantry.Mailbox, first.Add(-time.Second)); !again.Equal(first) {
			t.Fatalf("just before %s the next is %s", first, again)
		}
		second := catalog.NextDue(p, r, tenantry.Mailbox, first)
		if apart := second.Sub(first); apart < 22*time.Hour || apart > 26*time.Hour {
			t.Fatalf("after %s comes %s", first, second)
		}
		// The window: with the offset taken away both show the same minute, but for gaps.
		narrow := p
		narrow.Window = 1
		open := catalog.NextDue(narrow, r, tenantry.Mailbox, first.Add(-time.Duration(p.Window+1)*time.Minute))
		if late := first.Sub(open); late < -time.Minute || late >= time.Duration(p.Window)*time.Minute {
			t.Fatalf("starts %s after its window opened", late)
		}
	})
}

// The starts of many resources fill a window evenly.
func TestNextDueSpreads(t *testing.T) {
	p := catalog.Policy{At: 22 * 60, Window: 480, TimeZone: "Europe/Berlin"}
	after := parse(t, "2026-06-01T12:00:00Z")
	open := parse(t, "2026-06-01T20:00:00Z")
	const n, hours = 8000, 8
	var perHour [hours]int
	apart := 0
	for i := range n {
		r := tenantry.UserResource(fmt.Sprint(i))
		mailbox, drive := catalog.NextDue(p, r, tenantry.Mailbox, after), catalog.NextDue(p, r, tenantry.Drive, after)
		perHour[mailbox.Sub(open)/time.Hour]++
		if mailbox != drive {
			apart++
		}
	}
	for hour, count := range perHour {
		if count < n/hours*9/10 || count > n/hours*11/10 {
			t.Errorf("hour %d has %d of %d starts", hour, count, n)
		}
	}
	if apart < n*99/100 {
		t.Errorf("only %d of %d drives start at another time than their mailbox", apart, n)
	}
}

// Over a day's plan the busiest hour starts at most a quarter more than the mean one,
// however different the tenants are in size and zone, if their policies leave the day open.
// Not where clocks are set forward: each local day has its start, so that for the hour that
// is skipped the windows of two days overlap.
func TestPeakHour(t *testing.T) {
	zones := []string{"UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"}
	unchanged := []time.Month{time.January, time.February, time.May, time.June, time.July, time.August, time.December}
	const resources = 10_000
	rapid.Check(t, func(t *rapid.T) {
		day := time.Date(2026, rapid.SampledFrom(unchanged).Draw(t, "month"), rapid.IntRange(1, 28).Draw(t, "day"), 0, 0, 0, 0, time.UTC)
		var hours [24]int
		planned := 0
		for tenant := 0; planned < resources; tenant++ {
			policy := catalog.Policy{
				At: rapid.IntRange(0, 24*60-1).Draw(t, "at"), Window: 24 * 60,
				TimeZone: rapid.SampledFrom(zones).Draw(t, "zone"),
			}
			size := min(1<<rapid.IntRange(0, 13).Draw(t, "size"), resources-planned)
			seed := rapid.Uint64().Draw(t, "directory")
			for i := range size {
				id := tenantry.UserResource(fmt.Sprintf("%x-%d-%d", seed, tenant, i))
				due := catalog.NextDue(policy, id, tenantry.Mailbox, day.Add(-time.Microsecond))
				if due.Sub(day) < 24*time.Hour { // a day of 25 hours has one start too, perhaps after this one's end
					hours[due.UTC().Hour()]++
				}
			}
			planned += size
		}
		busiest := 0
		for _, n := range hours {
			busiest = max(busiest, n)
		}
		if ratio := float64(busiest) * 24 / float64(planned); ratio > 1.25 {
			t.Fatalf("peak hour ratio %.3f: %v", ratio, hours)
		}
	})
}
