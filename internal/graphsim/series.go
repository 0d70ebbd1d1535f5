package graphsim

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/teambition/rrule-go"
)

// series is what a series master has besides its pattern. Dates are those of the
// original start on the clock of the series, 2026-01-31.
type series struct {
	// exceptions hold only what differs from the master; attachments that are
	// nil are the master's.
	exceptions map[string]*pimContent
	cancelled  []string // sorted
}

func (s *series) clone() *series {
	if s == nil {
		return nil
	}
	return &series{exceptions: maps.Clone(s.exceptions), cancelled: slices.Clone(s.cancelled)}
}

// recurrence is a patternedRecurrence of Graph.
type recurrence struct {
	Pattern struct {
		Type                        string
		Interval, Month, DayOfMonth int
		DaysOfWeek                  []string
		FirstDayOfWeek, Index       string
	}
	Range struct {
		Type, StartDate, EndDate, RecurrenceTimeZone string
		NumberOfOccurrences                          int
	}
}

var (
	dayForm        = oneOf("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
	recurrenceForm = record(
		field{name: "pattern", def: "null", form: record(
			field{name: "type", form: oneOf("daily", "weekly", "absoluteMonthly", "relativeMonthly", "absoluteYearly", "relativeYearly"), def: `"daily"`},
			field{name: "interval", form: integerForm, def: "1"}, field{name: "month", form: integerForm, def: "0"},
			field{name: "dayOfMonth", form: integerForm, def: "0"}, field{name: "daysOfWeek", form: listOf(dayForm)},
			field{name: "firstDayOfWeek", form: dayForm, def: `"sunday"`},
			field{name: "index", form: oneOf("first", "second", "third", "fourth", "last"), def: `"first"`})},
		field{name: "range", def: "null", form: record(
			field{name: "type", form: oneOf("endDate", "noEnd", "numbered"), def: `"endDate"`},
			field{name: "startDate", form: dateForm, def: "null"}, field{name: "endDate", form: dateForm, def: `"0001-01-01"`},
			field{name: "recurrenceTimeZone", form: textForm, def: `""`},
			field{name: "numberOfOccurrences", form: integerForm, def: "0"})})
)

var weekdays = map[string]rrule.Weekday{"monday": rrule.MO, "tuesday": rrule.TU, "wednesday": rrule.WE, "thursday": rrule.TH,
	"friday": rrule.FR, "saturday": rrule.SA, "sunday": rrule.SU}

var positions = map[string]int{"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}

// rule turns a recurrence into the rule of RFC 5545 that means the same, beginning
// at start; its location is the clock of the series.
func (r recurrence) rule(start time.Time) (*rrule.RRule, error) {
	p := r.Pattern
	o := rrule.ROption{Dtstart: start, Interval: max(1, p.Interval), Wkst: weekdays[strings.ToLower(p.FirstDayOfWeek)]}
	days := make([]rrule.Weekday, 0, len(p.DaysOfWeek))
	for _, d := range p.DaysOfWeek {
		days = append(days, weekdays[strings.ToLower(d)])
	}
	relative := strings.HasPrefix(p.Type, "relative")
	if (p.Type == "weekly" || relative) && len(days) == 0 {
		return nil, validation("the pattern needs daysOfWeek.")
	}
	if yearly := strings.HasSuffix(p.Type, "Yearly"); yearly {
		if p.Month < 1 || p.Month > 12 {
			return nil, validation("the pattern needs a month.")
		}
		o.Bymonth = []int{p.Month}
	}
	switch p.Type {
	case "daily":
		o.Freq = rrule.DAILY
	case "weekly":
		o.Freq, o.Byweekday = rrule.WEEKLY, days
	case "absoluteMonthly", "relativeMonthly":
		o.Freq = rrule.MONTHLY
	default:
		o.Freq = rrule.YEARLY
	}
	switch {
	case relative:
		o.Byweekday, o.Bysetpos = days, []int{positions[strings.ToLower(p.Index)]}
	case strings.HasPrefix(p.Type, "absolute"):
		if p.DayOfMonth < 1 || p.DayOfMonth > 31 {
			return nil, validation("the pattern needs a dayOfMonth.")
		}
		o.Bymonthday = []int{p.DayOfMonth}
		if p.DayOfMonth > 28 { // the last day of a shorter month
			for d := p.DayOfMonth - 1; d >= 28; d-- {
				o.Bymonthday = append(o.Bymonthday, d)
			}
			o.Bysetpos = []int{-1}
		}
	}
	return r.bounded(o)
}

// bounded adds the end of the range.
func (r recurrence) bounded(o rrule.ROption) (*rrule.RRule, error) {
	switch r.Range.Type {
	case "numbered":
		if r.Range.NumberOfOccurrences < 1 {
			return nil, validation("the range needs numberOfOccurrences.")
		}
		o.Count = r.Range.NumberOfOccurrences
	case "endDate":
		last, err := time.ParseInLocation(time.DateOnly, r.Range.EndDate, o.Dtstart.Location())
		if err != nil || last.AddDate(0, 0, 1).Before(o.Dtstart) {
			return nil, validation("the range ends before it begins.")
		}
		o.Until = last.AddDate(0, 0, 1).Add(-time.Second)
	}
	rule, err := rrule.NewRRule(o)
	if err != nil {
		return nil, validation("%v", err)
	}
	return rule, nil
}

// occurrence is one instance of a series; exception is nil where it is as the
// pattern says.
type occurrence struct {
	date       string
	start, end time.Time
	exception  *pimContent
}

func (v props) zoned(name string) (z zoned) {
	v.into(name, &z)
	return z
}

// recurrenceOf reads a master's rule; nil when it has none.
func recurrenceOf(v props) *rrule.RRule {
	var r *recurrence
	v.into("recurrence", &r)
	if r == nil {
		return nil
	}
	rule, err := r.rule(v.zoned("start").at())
	if err != nil {
		return nil
	}
	return rule
}

// occurrences are the instances of a series that touch [from, to), by start.
func (c *pimContent) occurrences(from, to time.Time) (list []occurrence) {
	rule := recurrenceOf(c.values)
	if rule == nil {
		return nil
	}
	length := c.values.zoned("end").at().Sub(c.values.zoned("start").at())
	for _, start := range rule.Between(from.Add(-length-time.Second), to, true) {
		o := occurrence{date: start.Format(time.DateOnly), start: start, end: start.Add(length)}
		if c.series.exceptions[o.date] == nil && !slices.Contains(c.series.cancelled, o.date) && touches(o.start, o.end, from, to) {
			list = append(list, o)
		}
	}
	for _, date := range slices.Sorted(maps.Keys(c.series.exceptions)) {
		o, ok := c.occurrence(date)
		if ok && touches(o.start, o.end, from, to) {
			list = append(list, o)
		}
	}
	slices.SortStableFunc(list, func(x, y occurrence) int { return x.start.Compare(y.start) })
	return list
}

func touches(start, end, from, to time.Time) bool {
	return start.Before(to) && (end.After(from) || start.Equal(from))
}

// occurrence finds the instance whose original start is on a date.
func (c *pimContent) occurrence(date string) (occurrence, bool) {
	rule := recurrenceOf(c.values)
	if rule == nil || slices.Contains(c.series.cancelled, date) {
		return occurrence{}, false
	}
	first := c.values.zoned("start").at()
	day, err := time.ParseInLocation(time.DateOnly, date, first.Location())
	if err != nil {
		return occurrence{}, false
	}
	starts := rule.Between(day, day.AddDate(0, 0, 1).Add(-time.Nanosecond), true)
	if len(starts) == 0 {
		return occurrence{}, false
	}
	o := occurrence{date: date, start: starts[0], exception: c.series.exceptions[date]}
	o.end = o.start.Add(c.values.zoned("end").at().Sub(first))
	if o.exception != nil {
		if z := o.exception.values.zoned("start"); z.DateTime != "" {
			o.start = z.at()
		}
		if z := o.exception.values.zoned("end"); z.DateTime != "" {
			o.end = z.at()
		}
	}
	return o, true
}

// original is when an occurrence would have begun by the pattern.
func (c *pimContent) original(date string) time.Time {
	first := c.values.zoned("start").at()
	day, _ := time.ParseInLocation(time.DateOnly, date, first.Location())
	return time.Date(day.Year(), day.Month(), day.Day(), first.Hour(), first.Minute(), first.Second(), 0, first.Location())
}

// valuesAt are the properties an occurrence shows: the master's, with its own
// times and what the exception changed.
func (c *pimContent) valuesAt(o occurrence) props {
	v := maps.Clone(c.values)
	first, last := v.zoned("start"), v.zoned("end")
	v["start"] = zoned{DateTime: o.start.Format(zonedLayout), TimeZone: first.TimeZone}.json()
	v["end"] = zoned{DateTime: o.end.Format(zonedLayout), TimeZone: last.TimeZone}.json()
	if o.exception != nil {
		maps.Copy(v, o.exception.values)
	}
	v["recurrence"] = "null"
	return v
}

// checkSeries refuses a recurrence that makes no sense for its event.
func checkSeries(v props) error {
	raw, ok := v["recurrence"]
	if !ok || raw == "null" {
		return nil
	}
	var r recurrence
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		return asBadProperty("recurrence", err)
	}
	start := v.zoned("start")
	clock := start
	if name := r.Range.RecurrenceTimeZone; name != "" {
		loc, err := zone(name)
		if err != nil {
			return err
		}
		clock = start.in(name, loc)
	}
	if r.Range.StartDate != clock.DateTime[:len(time.DateOnly)] {
		return validation("the startDate of the recurrence is not the date of the start.")
	}
	_, err := r.rule(start.at())
	return err
}
