package catalog

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
	_ "time/tzdata" // an image without zone files knows the zones all the same

	"github.com/tenantry/tenantry/internal/tenantry"
)

// NextDue returns when policy p is next due for workload w of resource r: the first start
// after the given time. A start is the opening of the policy's window on a local day plus
// an offset, hash(resource, workload) over the window, which spreads the load and stays
// the same from day to day.
//
// The window opens when the local clock first shows p.At on that day; on a day on which
// clocks skip that minute, at the instant of the change. The offset is elapsed time. So
// each local day has exactly one start, 23 to 25 hours after the last. An unknown time
// zone counts as UTC (AddPolicy refuses it). Pure: no clock, no I/O beyond zone files.
func NextDue(p Policy, r tenantry.ResourceID, w tenantry.Workload, after time.Time) time.Time {
	zone, err := location(p.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	offset := spread(r, w, p.Window)
	// An offset reaches at most one day on, and a zone at most one day aside: two days back
	// is before every start that can be the next.
	year, month, day := after.In(zone).Date()
	for day -= 2; ; day++ {
		if due := opening(zone, year, month, day, p.At).Add(offset); due.After(after) {
			return due
		}
	}
}

// spread maps a workload of a resource evenly onto [0, window minutes), in whole seconds.
func spread(r tenantry.ResourceID, w tenantry.Workload, window int) time.Duration {
	sum := sha256.Sum256([]byte(string(r) + "/" + string(w)))
	seconds := uint64(max(window, 1)) * 60
	return time.Duration(binary.BigEndian.Uint64(sum[:8])%seconds) * time.Second
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
