package catalog_test

import (
	"fmt"
	"slices"
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
		open := catalog.NextDue(narrow, r, tenantry.Mailbox, first.Add(-time.Duration(p.Window)*time.Minute)) // not the one of the day before
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

// clockChanges are days of 2026 on which clocks of the zones below change, as UTC sees them.
var clockChanges = []int{67, 66, 88, 87, 94, 95, 276, 277, 298, 299, 305, 304} // days of the year

// Over a day's plan the busiest hour starts at most a quarter more than the mean one,
// however different the tenants are in size, zone and schedule, if their policies leave the
// day open: also on days on which clocks change.
func TestPeakHour(t *testing.T) {
	zones := []string{"UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"}
	const starts = 10_000
	rapid.Check(t, func(t *rapid.T) {
		anyDay := rapid.OneOf(rapid.IntRange(1, 365), rapid.SampledFrom(clockChanges))
		day := time.Date(2026, time.January, anyDay.Draw(t, "day"), 0, 0, 0, 0, time.UTC)
		var hours [24]int
		planned := 0
		for tenant := 0; planned < starts; tenant++ {
			policy := catalog.Policy{
				At: rapid.IntRange(0, 24*60-1).Draw(t, "at"), Window: 24 * 60,
				TimeZone: rapid.SampledFrom(zones).Draw(t, "zone"),
				Schedule: rapid.SampledFrom([]catalog.ScheduleKind{"", catalog.ScheduleWindow, catalog.ScheduleDaily, catalog.ScheduleEvery}).Draw(t, "schedule"),
				Hours:    rapid.IntRange(1, 24).Draw(t, "hours"),
			}
			perDay := 1.0
			if policy.Schedule == catalog.ScheduleEvery {
				perDay = 24 / float64(policy.Hours)
			}
			size := min(1<<rapid.IntRange(0, 13).Draw(t, "size"), int(float64(starts-planned)/perDay)+1)
			seed := rapid.Uint64().Draw(t, "directory")
			for i := range size {
				id := tenantry.UserResource(fmt.Sprintf("%x-%d-%d", seed, tenant, i))
				for due := day.Add(-time.Microsecond); ; {
					due = catalog.NextDue(policy, id, tenantry.Mailbox, due)
					if due.Sub(day) >= 24*time.Hour { // a day of 25 hours has one start too, perhaps after this one's end
						break
					}
					hours[due.UTC().Hour()]++
				}
			}
			planned += int(float64(size) * perDay)
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

// Off-peak starts lie in the nights of their tenants' zones, and in those the plan is even: no hour starts a quarter
// more than the busiest one would if every night's starts were spread perfectly.
func TestPeakHourOffPeak(t *testing.T) {
	zones := []string{"UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata", "Australia/Sydney"}
	const starts, night = 16_000, 10 * time.Hour
	rapid.Check(t, func(t *rapid.T) {
		day := time.Date(2026, time.January, rapid.IntRange(1, 365).Draw(t, "day"), 0, 0, 0, 0, time.UTC)
		var hours [24]int
		var even [24]float64
		for tenant, planned := 0, 0; planned < starts; tenant++ {
			policy := catalog.Settled(catalog.Policy{Schedule: catalog.ScheduleOffPeak, TimeZone: rapid.SampledFrom(zones).Draw(t, "zone")})
			if changesClocks(policy, day) {
				policy.TimeZone = "UTC"
			}
			size := min(1<<rapid.IntRange(0, 13).Draw(t, "size"), starts-planned)
			planned += size
			zone, err := time.LoadLocation(policy.TimeZone)
			if err != nil {
				t.Fatal(err)
			}
			begins := time.Date(day.Year(), day.Month(), day.Day(), 20, 0, 0, 0, zone)
			for m := range int(night / time.Minute) {
				even[begins.Add(time.Duration(m)*time.Minute).UTC().Hour()] += float64(size) / night.Minutes()
			}
			seed := rapid.Uint64().Draw(t, "directory")
			for i := range size {
				due := catalog.NextDue(policy, tenantry.UserResource(fmt.Sprintf("%x-%d-%d", seed, tenant, i)), tenantry.Mailbox, begins.Add(-time.Microsecond))
				if due.Before(begins) || !due.Before(begins.Add(night)) {
					t.Fatalf("a start of the night from %v on at %v", begins, due)
				}
				hours[due.UTC().Hour()]++
			}
		}
		if busiest, most := slices.Max(hours[:]), slices.Max(even[:]); float64(busiest) > 1.25*most {
			t.Fatalf("peak hour ratio %.3f: %v, even would be %.0f", float64(busiest)/most, hours, even)
		}
	})
}

// drawSchedule draws any schedule that AddPolicy would take.
func drawSchedule(t *rapid.T) catalog.Policy {
	p := drawPolicy(t)
	p.Schedule = rapid.SampledFrom([]catalog.ScheduleKind{
		catalog.ScheduleDaily, catalog.ScheduleWindow, catalog.ScheduleEvery, catalog.ScheduleFixed, catalog.ScheduleOffPeak,
	}).Draw(t, "schedule")
	p.Hours = rapid.IntRange(1, catalog.MaxEvery).Draw(t, "hours")
	for range rapid.IntRange(0, 4).Draw(t, "blackouts") {
		p.Blackouts = append(p.Blackouts, catalog.Blackout{
			Days: rapid.SliceOfNDistinct(rapid.SampledFrom([]time.Weekday{0, 1, 2, 3, 4, 5, 6}), 0, 5, rapid.ID).Draw(t, "days"),
			From: rapid.IntRange(0, 1439).Draw(t, "from"), To: rapid.IntRange(0, 1439).Draw(t, "to"),
		})
	}
	return catalog.Settled(p)
}

// dark is whether a blackout holds, by what the local clock shows.
func dark(p catalog.Policy, at time.Time) bool {
	zone, err := time.LoadLocation(p.TimeZone)
	if err != nil {
		return false
	}
	local := at.In(zone)
	minute := local.Hour()*60 + local.Minute()
	holds := func(b catalog.Blackout, day time.Weekday) bool {
		return len(b.Days) == 0 || slices.Contains(b.Days, day)
	}
	for _, b := range p.Blackouts {
		yesterday := local.AddDate(0, 0, -1).Weekday()
		switch {
		case b.From < b.To && holds(b, local.Weekday()) && minute >= b.From && minute < b.To:
			return true
		case b.From >= b.To && holds(b, local.Weekday()) && minute >= b.From:
			return true
		case b.From >= b.To && holds(b, yesterday) && minute < b.To:
			return true
		}
	}
	return false
}

// changesClocks is whether clocks change within two days of a time: what the clock shows
// then says less about elapsed time.
func changesClocks(p catalog.Policy, at time.Time) bool {
	zone, err := time.LoadLocation(p.TimeZone)
	if err != nil {
		return false
	}
	_, before := at.Add(-48 * time.Hour).In(zone).Zone()
	_, after := at.Add(48 * time.Hour).In(zone).Zone()
	return before != after
}

// Whatever the schedule: starts come one after the other, none in a blackout, never further
// apart than the schedule's interval (but for what a change of clocks adds), each in a cycle
// of its own, and from wherever one asks.
func TestScheduleProperties(t *testing.T) {
	from := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) // after Samoa's missing day
	rapid.Check(t, func(t *rapid.T) {
		p := drawSchedule(t)
		if !p.LeavesRoom() {
			t.Skip("blackouts leave nothing")
		}
		interval := p.Interval()
		r := tenantry.ResourceID(rapid.StringN(1, 8, 8).Draw(t, "resource"))
		at := from.Add(time.Duration(rapid.Int64Range(0, 10*365*24*3600).Draw(t, "second")) * time.Second)
		last, cycle := time.Time{}, int64(-1)
		for range 6 {
			due := catalog.NextDue(p, r, tenantry.Drive, at)
			if !due.After(at) {
				t.Fatalf("after %s comes %s", at, due)
			}
			if again := catalog.NextDue(p, r, tenantry.Drive, due.Add(-time.Second)); !again.Equal(due) {
				t.Fatalf("just before %s the next is %s", due, again)
			}
			if dark(p, due) && !changesClocks(p, due) {
				t.Fatalf("%s starts in a blackout of %+v", due.In(time.UTC), p.Blackouts)
			}
			if number := catalog.CycleOf(p, due); number <= cycle {
				t.Fatalf("cycle %d comes after cycle %d", number, cycle)
			} else {
				cycle = number
			}
			if !last.IsZero() && due.Sub(last) > interval+26*time.Hour {
				t.Fatalf("%s and %s are further apart than %s", last, due, interval)
			}
			last, at = due, due
		}
	})
}

// A start that a day's clocks skip is at the change, and each local day has its one.
func TestFixedHour(t *testing.T) {
	sydney := catalog.Policy{Schedule: catalog.ScheduleFixed, At: 20 * 60, Window: 1, TimeZone: "Australia/Sydney"}
	at := parse(t, "2026-04-04T00:00:00Z") // summer time ends on the 5th, and begins on October 4th
	for _, expected := range []string{"2026-04-04T09:00:00Z", "2026-04-05T10:00:00Z", "2026-04-06T10:00:00Z"} {
		due := catalog.NextDue(sydney, "u-1", tenantry.Mailbox, at)
		if got := due.UTC().Truncate(time.Minute); !got.Equal(parse(t, expected)) {
			t.Fatalf("after %s: got %s, expected %s", at, got, expected)
		}
		at = due
	}
}

// The starts of a day of which blackouts leave a part are spread over that part.
func TestBlackoutsSpread(t *testing.T) {
	p := catalog.Policy{
		Schedule: catalog.ScheduleDaily, TimeZone: "UTC",
		Blackouts: []catalog.Blackout{{From: 8 * 60, To: 18 * 60, Days: []time.Weekday{1, 2, 3, 4, 5}}, {From: 22 * 60, To: 2 * 60}},
	}
	monday := parse(t, "2026-06-01T00:00:00Z")
	var hours [24]int
	const n = 10_000
	for i := range n {
		due := catalog.NextDue(p, tenantry.UserResource(fmt.Sprint(i)), tenantry.Mailbox, monday.Add(-time.Second))
		if due.Sub(monday) >= 24*time.Hour {
			t.Fatalf("starts on %s", due)
		}
		hours[due.Hour()]++
	}
	for hour, count := range hours {
		open := hour >= 2 && hour < 8 || hour >= 18 && hour < 22
		if !open && count > 0 || open && (count < n/10*9/10 || count > n/10*11/10) {
			t.Errorf("hour %d has %d of %d starts", hour, count, n)
		}
	}
}
