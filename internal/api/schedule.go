package api

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Schedule says when a policy starts its backups.
type Schedule struct {
	Kind          string     `json:"kind" enum:"daily,window,every,fixed,off-peak" doc:"daily: once a day, each workload at a stable time of its own, for even load; window: spread over some minutes from a local time on; every: every some hours; fixed: at a local time; off-peak: spread over the night of the tenant's time zone"`
	At            string     `json:"at,omitempty" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" patternDescription:"time of day, HH:MM" doc:"window, fixed: local time of day at which backups begin to start" example:"01:30"`
	WindowMinutes int        `json:"window_minutes,omitempty" minimum:"1" maximum:"1440" doc:"window: spread the starts over so many minutes; without it 240"`
	EveryHours    int        `json:"every_hours,omitempty" minimum:"1" maximum:"168" doc:"every: hours from one start to the next"`
	TimeZone      string     `json:"time_zone,omitempty" maxLength:"64" doc:"IANA name, of times of day and of the days that retention counts; without it that of the tenant (get-planning), which is its region's unless it has one, of a policy that is changed the one it has" example:"Europe/Vienna"`
	Blackouts     []Blackout `json:"blackouts,omitempty" nullable:"false" maxItems:"20" doc:"Weekly windows in which nothing starts"`
}

// Blackout is a weekly window in which nothing of a policy starts.
type Blackout struct {
	Days []string `json:"days,omitempty" nullable:"false" maxItems:"7" enum:"mon,tue,wed,thu,fri,sat,sun" uniqueItems:"true" doc:"On which it begins; without it every day"`
	From string   `json:"from" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" patternDescription:"time of day, HH:MM" example:"08:00"`
	To   string   `json:"to" pattern:"^([01][0-9]|2[0-3]):[0-5][0-9]$" patternDescription:"time of day, HH:MM" doc:"Of the next day where it is not after from" example:"18:00"`
}

// weekdays are the names of the days of the week, Sunday first as in package time.
var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func scheduleOf(p catalog.Policy) Schedule {
	s := Schedule{Kind: string(p.Schedule), TimeZone: p.TimeZone}
	switch p.Schedule {
	case catalog.ScheduleEvery:
		s.EveryHours = p.Hours
	case catalog.ScheduleFixed:
		s.At = clockTime(p.At)
	case catalog.ScheduleWindow, catalog.ScheduleOffPeak:
		s.At, s.WindowMinutes = clockTime(p.At), p.Window
	}
	for _, b := range p.Blackouts {
		one := Blackout{From: clockTime(b.From), To: clockTime(b.To)}
		for _, day := range b.Days {
			one.Days = append(one.Days, weekdays[day])
		}
		s.Blackouts = append(s.Blackouts, one)
	}
	return s
}

func clockTime(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }

// minuteOf is the minute of the day of a time that the document's pattern has let through.
func minuteOf(location, text string) (int, error) {
	at, err := time.Parse("15:04", text)
	if err != nil {
		return 0, invalid(location, text, "must be a time of day, HH:MM")
	}
	return at.Hour()*60 + at.Minute(), nil
}

// apply puts the schedule into a policy; tenant is the time zone of the tenant.
func (n Schedule) apply(p *catalog.Policy, tenant string) error {
	p.Schedule = catalog.ScheduleKind(n.Kind)
	p.At, p.Window, p.Hours, p.Blackouts = 0, 0, 0, nil
	var err error
	var wrong complaints
	p.TimeZone, err = n.zone(p.TimeZone, tenant)
	wrong.add(err)
	timed := n.Kind == "window" || n.Kind == "fixed"
	switch {
	case timed && n.At == "":
		wrong.add(invalid("body.schedule.at", n.At, "must be given with the kind %s", n.Kind))
	case !timed && n.Kind != "off-peak" && n.At != "":
		wrong.add(invalid("body.schedule.at", n.At, "goes with the kinds window and fixed"))
	case timed:
		p.At, err = minuteOf("body.schedule.at", n.At)
		wrong.add(err)
	}
	if n.WindowMinutes > 0 && n.Kind != "window" && n.Kind != "off-peak" {
		wrong.add(invalid("body.schedule.window_minutes", n.WindowMinutes, "goes with the kind window"))
	}
	switch {
	case n.Kind == "every" && n.EveryHours == 0:
		wrong.add(invalid("body.schedule.every_hours", n.EveryHours, "must be given with the kind every"))
	case n.Kind != "every" && n.EveryHours > 0:
		wrong.add(invalid("body.schedule.every_hours", n.EveryHours, "goes with the kind every"))
	}
	p.Window, p.Hours = n.WindowMinutes, n.EveryHours
	if n.Kind == "window" && p.Window == 0 {
		p.Window = usualWindow
	}
	wrong.add(n.blackouts(p))
	return wrong.err()
}

// usualWindow is the length of a window that is not given, in minutes.
const usualWindow = 240

// zone is the schedule's time zone: the one that is given, else the one there is, else the tenant's.
func (n Schedule) zone(present, tenant string) (string, error) {
	name := cmp.Or(n.TimeZone, present, tenant)
	switch {
	case n.TimeZone == "" && n.Kind == "off-peak":
		name = tenant
	case n.Kind == "off-peak" && name != tenant:
		return "", invalid("body.schedule.time_zone", name, "is %s with the kind off-peak, that of the tenant (set-planning)", tenant)
	}
	return zoneName("body.schedule.time_zone", name)
}

// zoneName checks the name of a time zone.
func zoneName(location, name string) (string, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || zone == time.Local || name == "" {
		return "", invalid(location, name, "must be an IANA time zone such as Europe/Vienna")
	}
	return zone.String(), nil
}

func (n Schedule) blackouts(p *catalog.Policy) error {
	var wrong complaints
	for i, b := range n.Blackouts {
		at := fmt.Sprintf("body.schedule.blackouts[%d]", i)
		from, err := minuteOf(at+".from", b.From)
		wrong.add(err)
		to, err := minuteOf(at+".to", b.To)
		wrong.add(err)
		one := catalog.Blackout{From: from, To: to}
		for _, day := range b.Days {
			one.Days = append(one.Days, time.Weekday(slices.Index(weekdays, day)))
		}
		p.Blackouts = append(p.Blackouts, one)
	}
	if err := wrong.err(); err != nil {
		return err
	}
	if !p.LeavesRoom() {
		return invalid("body.schedule.blackouts", n.Blackouts, "leave no time to start anything")
	}
	return nil
}

// mayChoose refuses a schedule that the caller may not choose: for the even load of the fleet the
// provider has locked them, and daily is what everybody may have.
func mayChoose(c caller, n *Schedule, planning catalog.Planning) error {
	if c.tenant == "" || planning.OpenSchedules || n == nil || (n.Kind == "daily" && len(n.Blackouts) == 0) {
		return nil
	}
	return tenantry.Errorf(tenantry.Forbidden, "body.schedule: the provider has locked schedules of this tenant: its own tokens may choose daily alone")
}
