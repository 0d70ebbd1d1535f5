package catalog

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// ScheduleKind is how a policy chooses when each of its workloads starts.
type ScheduleKind string

// The kinds of schedule. Every start is spread by a fraction that is stable for each
// workload of each resource.
const (
	// ScheduleDaily starts each workload once a day at a time of its own, spread over the
	// whole day for even load. What a policy has that asks for nothing else.
	ScheduleDaily ScheduleKind = "daily"
	// ScheduleWindow spreads starts over Window minutes from the local time At on.
	ScheduleWindow ScheduleKind = "window"
	// ScheduleEvery starts each workload every Hours hours of elapsed time, spread over them.
	ScheduleEvery ScheduleKind = "every"
	// ScheduleFixed starts everything in the minute of the local time At.
	ScheduleFixed ScheduleKind = "fixed"
	// ScheduleOffPeak spreads starts over the night, in the time zone of the tenant's region:
	// nights are among the hours in which Microsoft throttles less (Microsoft Learn, "Avoid
	// getting throttled or blocked in SharePoint Online").
	ScheduleOffPeak ScheduleKind = "off-peak"
)

// Bounds and fixed values of schedules.
const (
	// MaxEvery is the largest number of hours between starts: a week.
	MaxEvery = 7 * 24
	// MaxBlackouts is how many blackout windows a policy may have.
	MaxBlackouts = 20

	dayMinutes    = 24 * 60
	nightAt       = 20 * 60
	nightMinutes  = 10 * 60
	blackoutReach = 15 * 24 * time.Hour // every week is alike, but for clocks that change
)

// Blackout is a weekly window in which nothing of a policy starts, in the policy's time
// zone. What runs already goes on.
type Blackout struct {
	Days []time.Weekday `json:"days,omitempty"` // on which it begins; none is every day
	From int            `json:"from"`           // minute of the local day, 0..1439
	To   int            `json:"to"`             // exclusive; at or before From it is of the next day
}

func (b Blackout) on(day time.Weekday) bool { return len(b.Days) == 0 || slices.Contains(b.Days, day) }

func (b Blackout) validate() error {
	for _, day := range b.Days {
		if day < time.Sunday || day > time.Saturday {
			return tenantry.Errorf(tenantry.Invalid, "policy: blackouts: there is no weekday %d", day)
		}
	}
	if b.From < 0 || b.From >= dayMinutes || b.To < 0 || b.To >= dayMinutes {
		return tenantry.Errorf(tenantry.Invalid, "policy: blackouts: %d to %d is not in 0..1439", b.From, b.To)
	}
	return nil
}

// settled returns the policy with the fields that follow from its kind of schedule. They are
// such that a program which knows windows alone starts it at about the right time.
func (p Policy) settled() Policy {
	switch p.Schedule {
	case "":
		p.Schedule = ScheduleWindow
	case ScheduleDaily:
		p.At, p.Window = 0, dayMinutes
	case ScheduleEvery:
		p.At, p.Window = 0, min(p.Hours*60, dayMinutes)
	case ScheduleFixed:
		p.Window = 1
	case ScheduleOffPeak:
		p.At, p.Window = nightAt, nightMinutes
	}
	if p.Schedule != ScheduleEvery {
		p.Hours = 0
	}
	if p.Objective == 0 {
		p.Objective = p.usualObjective()
	}
	return p
}

func (p Policy) validateSchedule() error {
	_, zoneErr := location(p.TimeZone)
	switch {
	case !slices.Contains([]ScheduleKind{"", ScheduleDaily, ScheduleWindow, ScheduleEvery, ScheduleFixed, ScheduleOffPeak}, p.Schedule):
		return tenantry.Errorf(tenantry.Invalid, "policy: there is no schedule %q", p.Schedule)
	case p.TimeZone == "" || p.TimeZone == "Local" || zoneErr != nil:
		return tenantry.Errorf(tenantry.Invalid, "policy: time_zone %q is no IANA name", p.TimeZone)
	case p.At < 0 || p.At >= dayMinutes:
		return tenantry.Errorf(tenantry.Invalid, "policy: at %d is not in 0..1439", p.At)
	case (p.Schedule == "" || p.Schedule == ScheduleWindow) && (p.Window < 1 || p.Window > dayMinutes):
		return tenantry.Errorf(tenantry.Invalid, "policy: window %d is not in 1..1440", p.Window)
	case p.Schedule == ScheduleEvery && (p.Hours < 1 || p.Hours > MaxEvery):
		return tenantry.Errorf(tenantry.Invalid, "policy: every %d hours is not in 1..%d", p.Hours, MaxEvery)
	case len(p.Blackouts) > MaxBlackouts:
		return tenantry.Errorf(tenantry.Invalid, "policy: %d blackouts are more than %d", len(p.Blackouts), MaxBlackouts)
	}
	for _, b := range p.Blackouts {
		if err := b.validate(); err != nil {
			return err
		}
	}
	if !p.LeavesRoom() {
		return tenantry.Errorf(tenantry.Invalid, "policy: blackouts: they leave no time to start anything")
	}
	return nil
}

// anyMonday is where weekly rules are tried out: clocks change nowhere around it.
var anyMonday = time.Date(2026, time.January, 5, 0, 0, 0, 0, time.UTC)

// LeavesRoom reports whether the blackouts leave a start in a week.
func (p Policy) LeavesRoom() bool {
	for c := p.settledCycle(anyMonday); c.start.Before(anyMonday.Add(p.reach())); c = c.next() {
		if length(c.allowed()) > 0 {
			return true
		}
	}
	return false
}

// reach is how long starts have to be looked at until they lie to the blackouts of a week
// as they did at first, and a while more, for the gap before the first of them.
func (p Policy) reach() time.Duration {
	if p.Schedule != ScheduleEvery || len(p.Blackouts) == 0 || p.Hours <= 0 {
		return blackoutReach
	}
	const week = 7 * 24
	shared := week
	for rest := p.Hours; rest != 0; {
		shared, rest = rest, shared%rest
	}
	return time.Duration(p.Hours/shared*week)*time.Hour + blackoutReach
}

func (p Policy) settledCycle(at time.Time) cycle {
	p.Objective = 1 // not asked for, and working it out looks at cycles
	p = p.settled()
	return cycleBefore(&p, at)
}

// Interval is the longest time between two starts of a workload under the policy's schedule,
// as long as clocks do not change.
func (p Policy) Interval() time.Duration {
	longest := time.Duration(0)
	for _, fraction := range []float64{0, 0.25, 0.5, 0.75, 0.999} {
		last := time.Time{}
		for c := p.settledCycle(anyMonday); c.start.Before(anyMonday.Add(p.reach())); c = c.next() {
			due, ok := c.at(fraction)
			if !ok {
				continue
			}
			if !last.IsZero() {
				longest = max(longest, due.Sub(last))
			}
			last = due
		}
	}
	if longest == 0 { // one start in the whole stretch: a week's schedule
		return MaxEvery * time.Hour
	}
	return longest
}

// usualObjective is the age up to which a newest backup counts as fresh: half as long again
// as the schedule's interval, for the backup itself and for a day on which it waits.
func (p Policy) usualObjective() time.Duration { return p.Interval() * 3 / 2 }

// Starts says when the policy's backups start, for a person: "daily at 01:00 (UTC)".
func (p Policy) Starts() string {
	text := fmt.Sprintf("daily at %02d:%02d (%s), spread over %d minutes", p.At/60, p.At%60, p.TimeZone, p.Window)
	switch p.Schedule {
	case ScheduleDaily:
		text = "once a day, each at a time of its own"
	case ScheduleEvery:
		text = fmt.Sprintf("every %d hours, each at a time of its own", p.Hours)
	case ScheduleFixed:
		text = fmt.Sprintf("daily at %02d:%02d (%s)", p.At/60, p.At%60, p.TimeZone)
	}
	if len(p.Blackouts) > 0 {
		text += ", except in the hours that are kept free"
	}
	return text
}

func encodeBlackouts(list []Blackout) string {
	if len(list) == 0 {
		return ""
	}
	text, _ := json.Marshal(list) // numbers
	return string(text)
}

// decodeBlackouts reads a policy's blackouts. What cannot be read is none: a backup too
// many is better than none.
func decodeBlackouts(text string) []Blackout {
	var list []Blackout
	if text == "" || json.Unmarshal([]byte(text), &list) != nil {
		return nil
	}
	return list
}
