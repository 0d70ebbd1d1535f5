package catalog

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
	"time"
	_ "time/tzdata" // an image without zone files knows the zones all the same

	"github.com/tenantry/tenantry/internal/tenantry"
)

// NextDue returns when policy p is next due for workload w of resource r: the first start
// after the given time. Time is cut into cycles, and each has one start: the place in the
// cycle's time, less the blackouts, that hash(resource, workload) points to. That spreads
// the load and stays the same from day to day.
//
// The cycle of a window opens when the local clock first shows p.At on a day (on a day on
// which clocks skip that minute, at the instant of the change), and ends with the window,
// or where the next one opens. So each local day has exactly one start, 23 to 25 hours
// after the last, and two days never overlap: where clocks go forward, a window of a whole
// day is an hour shorter, and its starts are spread over 23 hours of elapsed time. Cycles
// of ScheduleEvery are hours of elapsed time since 1970, that of ScheduleDaily the UTC day.
//
// A cycle that blackouts leave no time in has no start. An unknown time zone counts as UTC
// (AddPolicy refuses it). Pure: no clock, no I/O beyond zone files.
func NextDue(p Policy, r tenantry.ResourceID, w tenantry.Workload, after time.Time) time.Time {
	place := hashOf(r, w)
	first := cycleBefore(&p, after)
	for c := first; c.start.Before(after.Add(blackoutReach)); c = c.next() {
		if due, ok := c.place(place); ok && due.After(after) {
			return due
		}
	}
	// Blackouts of a version with other rules leave nothing: a backup is better than none.
	p.Blackouts = nil
	for c := first; ; c = c.next() {
		if due, _ := c.place(place); due.After(after) {
			return due
		}
	}
}

// cycleOf names the cycle of a policy that a start belongs to: the run of its backups. Local
// days since 1970, or for ScheduleEvery the hour since 1970 at which it begins; the two are
// apart for ten thousand years.
func cycleOf(p Policy, due time.Time) int64 {
	c := cycleBefore(&p, due)
	for next := c.next(); !next.start.After(due); next = next.next() {
		c = next
	}
	return c.number()
}

// cycle is one stretch of a policy's time that has one start for each workload.
type cycle struct {
	p          *Policy
	zone       *time.Location
	day        time.Time // midnight UTC of the local day, of calendar cycles
	start, end time.Time
}

// cycleBefore returns a cycle that ends before the one that at lies in begins, or is at most
// two before it.
func cycleBefore(p *Policy, at time.Time) cycle {
	zone, err := location(p.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	if step := p.step(); step > 0 {
		start := time.Unix(at.Unix()-mod(at.Unix(), int64(step/time.Second)), 0).Add(-step).UTC()
		return cycle{p: p, zone: zone, start: start, end: start.Add(step)}
	}
	// A window reaches at most one day on, and a zone at most one day aside.
	year, month, day := at.In(zone).Date()
	return calendarCycle(p, zone, time.Date(year, month, day-2, 0, 0, 0, 0, time.UTC))
}

// step is the length of cycles that are elapsed time; 0 for those of the calendar.
func (p *Policy) step() time.Duration {
	switch p.Schedule {
	case ScheduleDaily:
		return 24 * time.Hour
	case ScheduleEvery:
		return time.Duration(max(p.Hours, 1)) * time.Hour
	}
	return 0
}

func calendarCycle(p *Policy, zone *time.Location, day time.Time) cycle {
	c := cycle{p: p, zone: zone, day: day, start: openingOn(zone, day, p.At)}
	c.end = c.start.Add(time.Duration(max(p.Window, 1)) * time.Minute)
	if next := openingOn(zone, day.AddDate(0, 0, 1), p.At); next.Before(c.end) {
		c.end = next
	}
	return c
}

func (c cycle) next() cycle {
	if step := c.p.step(); step > 0 {
		c.start, c.end = c.end, c.end.Add(step)
		return c
	}
	return calendarCycle(c.p, c.zone, c.day.AddDate(0, 0, 1))
}

func (c cycle) number() int64 {
	switch c.p.Schedule {
	case ScheduleDaily:
		return c.start.Unix() / int64((24 * time.Hour).Seconds())
	case ScheduleEvery:
		return c.start.Unix() / int64(time.Hour.Seconds())
	}
	return c.day.Unix() / int64((24 * time.Hour).Seconds())
}

// place is the start that a hash points to, in whole seconds; not ok if there is no time.
func (c cycle) place(hash uint64) (time.Time, bool) {
	return c.along(func(seconds uint64) uint64 {
		whole, _ := bits.Mul64(hash, seconds) // hash as a fraction of 2^64
		return whole
	})
}

// at is the start at a fraction, 0 to 1, of the cycle's time.
func (c cycle) at(fraction float64) (time.Time, bool) {
	return c.along(func(seconds uint64) uint64 { return uint64(fraction * float64(seconds)) })
}

func (c cycle) along(offset func(seconds uint64) uint64) (time.Time, bool) {
	allowed := c.allowed()
	seconds := uint64(length(allowed) / time.Second)
	if seconds == 0 {
		return time.Time{}, false
	}
	left := time.Duration(offset(seconds)) * time.Second
	for _, s := range allowed {
		if left < s.end.Sub(s.start) {
			return s.start.Add(left), true
		}
		left -= s.end.Sub(s.start)
	}
	return time.Time{}, false
}

// stretch is time from start up to end.
type stretch struct{ start, end time.Time }

func length(list []stretch) (sum time.Duration) {
	for _, s := range list {
		sum += s.end.Sub(s.start)
	}
	return sum
}

// allowed is the cycle's time less the blackouts, in order.
func (c cycle) allowed() []stretch {
	free := []stretch{{c.start, c.end}}
	if len(c.p.Blackouts) == 0 {
		return free
	}
	for _, b := range c.blackouts() {
		last := free[len(free)-1]
		if !b.start.Before(last.end) || !b.end.After(last.start) {
			continue
		}
		free = free[:len(free)-1]
		if b.start.After(last.start) {
			free = append(free, stretch{last.start, b.start})
		}
		// What is left behind it may be nothing: later blackouts begin no earlier.
		free = append(free, stretch{b.end, later(b.end, last.end)})
	}
	return slices.DeleteFunc(free, func(s stretch) bool { return !s.end.After(s.start) })
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// blackouts lists those that may touch the cycle, by their beginning.
func (c cycle) blackouts() []stretch {
	var list []stretch
	year, month, day := c.start.In(c.zone).Date()
	for at := time.Date(year, month, day-1, 0, 0, 0, 0, time.UTC); at.Before(c.end.AddDate(0, 0, 2)); at = at.AddDate(0, 0, 1) {
		for _, b := range c.p.Blackouts {
			if !b.on(at.Weekday()) {
				continue
			}
			until := at
			if b.To <= b.From {
				until = at.AddDate(0, 0, 1)
			}
			list = append(list, stretch{openingOn(c.zone, at, b.From), openingOn(c.zone, until, b.To)})
		}
	}
	slices.SortFunc(list, func(a, b stretch) int { return a.start.Compare(b.start) })
	return list
}

// hashOf maps a workload of a resource evenly onto 64 bits.
func hashOf(r tenantry.ResourceID, w tenantry.Workload) uint64 {
	sum := sha256.Sum256([]byte(string(r) + "/" + string(w)))
	return binary.BigEndian.Uint64(sum[:8])
}

// spread maps a workload of a resource evenly onto [0, window minutes), in whole seconds.
func spread(r tenantry.ResourceID, w tenantry.Workload, window int) time.Duration {
	return time.Duration(hashOf(r, w)%(uint64(max(window, 1))*60)) * time.Second
}

func mod(n, by int64) int64 { return (n%by + by) % by }

// openingOn is opening on the local day that a midnight UTC stands for.
func openingOn(zone *time.Location, day time.Time, minute int) time.Time {
	return opening(zone, day.Year(), day.Month(), day.Day(), minute)
}

// opening is the first instant at which the local clock shows the minute of the day, or
// that of the clock change that skips it.
func opening(zone *time.Location, year int, month time.Month, day, minute int) time.Time {
	t := time.Date(year, month, day, 0, minute, 0, 0, zone)
	start, end := t.ZoneBounds()
	switch wanted := time.Date(year, month, day, 0, minute, 0, 0, time.UTC); wallClock(t).Compare(wanted) {
	case -1: // skipped, and t lies before the change
		return end
	case 1: // skipped, and t lies after it
		return start
	default:
		return earlier(t, start)
	}
}

// earlier returns the first of the two instants that show t's local time when clocks were
// set back at start, and t when they were not.
func earlier(t, start time.Time) time.Time {
	if start.IsZero() {
		return t
	}
	_, now := t.Zone()
	_, before := start.Add(-time.Second).Zone()
	first := t.Add(time.Duration(now-before) * time.Second)
	if first.Before(start) && wallClock(first).Equal(wallClock(t)) {
		return first
	}
	return t
}

// wallClock is what t's local clock shows, as if it were UTC, for comparing.
func wallClock(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

var zones sync.Map // name to *time.Location; as many as IANA names

// location loads an IANA zone once.
func location(name string) (*time.Location, error) {
	if zone, ok := zones.Load(name); ok {
		return zone.(*time.Location), nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, err
	}
	zones.Store(name, zone)
	return zone, nil
}
