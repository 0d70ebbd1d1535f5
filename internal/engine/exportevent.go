package engine

import (
	"context"
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/emersion/go-ical"
	"github.com/teambition/rrule-go"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

type graphTime struct {
	DateTime string `json:"dateTime"`
	TimeZone string `json:"timeZone"`
}

// graphEvent is what iCalendar has of Graph's event resource.
type graphEvent struct {
	ID            string           `json:"id"`
	ICalUID       string           `json:"iCalUId"`
	Subject       string           `json:"subject"`
	Body          graphBody        `json:"body"`
	Start         graphTime        `json:"start"`
	End           graphTime        `json:"end"`
	OriginalStart time.Time        `json:"originalStart"`
	AllDay        bool             `json:"isAllDay"`
	Cancelled     bool             `json:"isCancelled"`
	ShowAs        string           `json:"showAs"`
	Sensitivity   string           `json:"sensitivity"`
	Importance    string           `json:"importance"`
	Categories    []string         `json:"categories"`
	Created       time.Time        `json:"createdDateTime"`
	Modified      time.Time        `json:"lastModifiedDateTime"`
	WebLink       string           `json:"onlineMeetingUrl"`
	ReminderOn    bool             `json:"isReminderOn"`
	Reminder      int              `json:"reminderMinutesBeforeStart"`
	Organizer     *graphAddress    `json:"organizer"`
	Recurrence    *graphRecurrence `json:"recurrence"`
	Location      struct {
		DisplayName string `json:"displayName"`
	} `json:"location"`
	Attendees []struct {
		graphAddress
		Type   string `json:"type"`
		Status struct {
			Response string `json:"response"`
		} `json:"status"`
	} `json:"attendees"`
	graphSeries
}

// graphSeries is what is special in a recurring event: part of it, or stored beside it.
type graphSeries struct {
	CancelledOccurrences []string     `json:"cancelledOccurrences"`
	Exceptions           []graphEvent `json:"exceptionOccurrences"`
}

type graphRecurrence struct {
	Pattern struct {
		Type       string   `json:"type"`
		Interval   int      `json:"interval"`
		Month      int      `json:"month"`
		DayOfMonth int      `json:"dayOfMonth"`
		DaysOfWeek []string `json:"daysOfWeek"`
		FirstDay   string   `json:"firstDayOfWeek"`
		Index      string   `json:"index"`
	} `json:"pattern"`
	Range struct {
		Type        string `json:"type"`
		EndDate     string `json:"endDate"`
		Occurrences int    `json:"numberOfOccurrences"`
	} `json:"range"`
}

// WriteEvent writes an event as iCalendar (RFC 5545): a series with its exceptions and
// without the occurrences that were cancelled. Attachments are not part of it: their names
// stand in X-TENANTRY-ATTACHMENT.
func WriteEvent(ctx context.Context, w io.Writer, e repository.Entry, raw []byte, open OpenPart) error {
	var ev graphEvent
	if err := json.Unmarshal(raw, &ev); err != nil {
		return tenantry.E(tenantry.Corrupt, "read a stored event", err)
	}
	data, ok, err := readPart(ctx, e, exportSeries, open)
	if err != nil {
		return err
	}
	if ok {
		if err := json.Unmarshal(data, &ev.graphSeries); err != nil {
			return tenantry.E(tenantry.Corrupt, "read a stored series", err)
		}
	}
	attached, err := attachmentsOf(ctx, e, open)
	if err != nil {
		return err
	}
	master, err := ev.component(e)
	if err != nil {
		return err
	}
	for _, a := range attached {
		addText(master, "X-TENANTRY-ATTACHMENT", a.Name)
	}
	cal := ical.NewCalendar()
	cal.Props.SetText(ical.PropVersion, "2.0")
	cal.Props.SetText(ical.PropProductID, "-//Tenantry//export//EN")
	cal.Children = append(cal.Children, master)
	for i := range ev.Exceptions {
		exception, err := ev.exception(&ev.Exceptions[i], e)
		if err != nil {
			return err
		}
		cal.Children = append(cal.Children, exception)
	}
	if err := ical.NewEncoder(w).Encode(cal); err != nil {
		return tenantry.E(tenantry.Poison, "write an event as iCalendar", err)
	}
	return nil
}

// component makes the VEVENT of the event itself.
func (ev *graphEvent) component(e repository.Entry) (*ical.Component, error) {
	c := ical.NewComponent(ical.CompEvent)
	c.Props.SetText(ical.PropUID, firstText(ev.ICalUID, ev.ID, e.ID))
	c.Props.SetDateTime(ical.PropDateTimeStamp, firstTime(ev.Modified, ev.Created, e.Modified, time.Unix(0, 0)).UTC())
	for name, at := range map[string]graphTime{ical.PropDateTimeStart: ev.Start, ical.PropDateTimeEnd: ev.End} {
		prop, err := at.prop(name, ev.AllDay)
		if err != nil {
			return nil, err
		}
		c.Props.Set(prop)
	}
	for name, text := range map[string]string{
		ical.PropSummary: ev.Subject, ical.PropLocation: ev.Location.DisplayName, ical.PropDescription: ev.plainBody(),
		ical.PropTransparency: map[string]string{"free": "TRANSPARENT"}[ev.ShowAs],
		ical.PropClass:        map[string]string{"private": "PRIVATE", "confidential": "CONFIDENTIAL", "personal": "PRIVATE"}[ev.Sensitivity],
		ical.PropPriority:     map[string]string{"high": "1", "low": "9"}[ev.Importance],
		ical.PropStatus:       map[bool]string{true: "CANCELLED"}[ev.Cancelled],
	} {
		if text != "" {
			c.Props.SetText(name, lines(text))
		}
	}
	if strings.EqualFold(ev.Body.ContentType, "html") && ev.Body.Content != "" {
		prop := ical.NewProp("X-ALT-DESC")
		prop.Params.Set("FMTTYPE", "text/html")
		prop.SetText(lines(ev.Body.Content))
		c.Props.Set(prop)
	}
	if len(ev.Categories) > 0 {
		prop := ical.NewProp(ical.PropCategories)
		categories := make([]string, len(ev.Categories))
		for i, category := range ev.Categories {
			categories[i] = oneLine(category)
		}
		prop.SetTextList(categories)
		c.Props.Set(prop)
	}
	ev.people(c)
	ev.reminder(c)
	return c, ev.recur(c)
}

// plainBody is the body where it is text.
func (ev *graphEvent) plainBody() string {
	if strings.EqualFold(ev.Body.ContentType, "html") {
		return ""
	}
	return ev.Body.Content
}

func (ev *graphEvent) people(c *ical.Component) {
	add := func(name string, a graphAddress, params map[string]string) {
		if a.EmailAddress.Address == "" {
			return
		}
		prop := ical.NewProp(name)
		prop.Value = (&url.URL{Scheme: "mailto", Opaque: oneLine(a.EmailAddress.Address)}).String()
		if cn := strings.ReplaceAll(oneLine(a.EmailAddress.Name), `"`, "'"); cn != "" {
			prop.Params.Set("CN", cn)
		}
		for k, v := range params {
			if v != "" {
				prop.Params.Set(k, v)
			}
		}
		c.Props.Add(prop)
	}
	if len(ev.Attendees) > 0 && ev.Organizer != nil {
		add(ical.PropOrganizer, *ev.Organizer, nil)
	}
	for _, a := range ev.Attendees {
		add(ical.PropAttendee, a.graphAddress, map[string]string{
			"ROLE":     map[string]string{"optional": "OPT-PARTICIPANT", "resource": "NON-PARTICIPANT"}[a.Type],
			"PARTSTAT": map[string]string{"accepted": "ACCEPTED", "declined": "DECLINED", "tentativelyAccepted": "TENTATIVE"}[a.Status.Response],
		})
	}
}

func (ev *graphEvent) reminder(c *ical.Component) {
	if !ev.ReminderOn {
		return
	}
	alarm := ical.NewComponent(ical.CompAlarm)
	alarm.Props.SetText(ical.PropAction, "DISPLAY")
	alarm.Props.SetText(ical.PropDescription, lines(firstText(ev.Subject, "reminder")))
	trigger := ical.NewProp(ical.PropTrigger)
	trigger.SetDuration(-time.Duration(ev.Reminder) * time.Minute)
	alarm.Props.Set(trigger)
	c.Children = append(c.Children, alarm)
}

// recur adds the rule and the dates that are left out.
func (ev *graphEvent) recur(c *ical.Component) error {
	if ev.Recurrence == nil {
		return nil
	}
	rule, err := ev.Recurrence.rule()
	if err != nil {
		return err
	}
	prop := ical.NewProp(ical.PropRecurrenceRule)
	prop.SetValueType(ical.ValueRecurrence)
	prop.Value = rule.RRuleString()
	c.Props.Set(prop)
	for _, id := range ev.CancelledOccurrences {
		// An occurrence's ID ends with its date: OID.<master>.2026-03-01 (Graph, event resource, cancelledOccurrences).
		date, ok := occurrenceDate(id)
		if !ok {
			addText(c, "X-TENANTRY-CANCELLED", id)
			continue
		}
		at := ev.Start
		if _, clock, found := strings.Cut(at.DateTime, "T"); found {
			at.DateTime = date + "T" + clock
		}
		prop, err := at.prop(ical.PropExceptionDates, ev.AllDay)
		if err != nil {
			return err
		}
		c.Props.Add(prop)
	}
	return nil
}

func occurrenceDate(id string) (string, bool) {
	at := strings.LastIndexByte(id, '.')
	if at < 0 {
		return "", false
	}
	_, err := time.Parse(time.DateOnly, id[at+1:])
	return id[at+1:], err == nil
}

// exception makes the VEVENT of one occurrence that differs from its series.
func (ev *graphEvent) exception(x *graphEvent, e repository.Entry) (*ical.Component, error) {
	x.Recurrence, x.Exceptions, x.CancelledOccurrences = nil, nil, nil
	c, err := x.component(e)
	if err != nil {
		return nil, err
	}
	c.Props.SetText(ical.PropUID, firstText(ev.ICalUID, ev.ID, e.ID))
	if !x.OriginalStart.IsZero() {
		id := ical.NewProp(ical.PropRecurrenceID)
		if ev.AllDay {
			id.SetDate(x.OriginalStart)
		} else {
			id.SetDateTime(x.OriginalStart.UTC())
		}
		c.Props.Set(id)
	}
	return c, nil
}

// graphDays are the days of the week as Graph names them.
var graphDays = map[string]rrule.Weekday{
	"monday": rrule.MO, "tuesday": rrule.TU, "wednesday": rrule.WE, "thursday": rrule.TH, "friday": rrule.FR, "saturday": rrule.SA, "sunday": rrule.SU,
}

// rule turns a pattern into an RRULE (Graph, recurrencePattern and recurrenceRange resources).
func (r *graphRecurrence) rule() (*rrule.ROption, error) {
	p := r.Pattern
	o := &rrule.ROption{Interval: max(p.Interval, 1)}
	var days []rrule.Weekday
	for _, name := range p.DaysOfWeek {
		day, ok := graphDays[strings.ToLower(name)]
		if !ok {
			return nil, tenantry.Errorf(tenantry.Poison, "write a recurrence: there is no day %q", name)
		}
		days = append(days, day)
	}
	switch p.Type {
	case "daily":
		o.Freq = rrule.DAILY
	case "weekly":
		o.Freq, o.Byweekday = rrule.WEEKLY, days
		if first, ok := graphDays[strings.ToLower(p.FirstDay)]; ok {
			o.Wkst = first
		}
	case "absoluteMonthly", "absoluteYearly":
		o.Freq, o.Bymonthday = rrule.MONTHLY, []int{p.DayOfMonth}
	case "relativeMonthly", "relativeYearly":
		nth, ok := map[string]int{"": 1, "first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}[p.Index]
		if !ok {
			return nil, tenantry.Errorf(tenantry.Poison, "write a recurrence: there is no index %q", p.Index)
		}
		o.Freq, o.Byweekday, o.Bysetpos = rrule.MONTHLY, days, []int{nth}
	default:
		return nil, tenantry.Errorf(tenantry.Poison, "write a recurrence: there is no pattern %q", p.Type)
	}
	if strings.HasSuffix(p.Type, "Yearly") {
		o.Freq, o.Bymonth = rrule.YEARLY, []int{p.Month}
	}
	switch r.Range.Type {
	case "numbered":
		o.Count = r.Range.Occurrences
	case "endDate":
		end, err := time.Parse(time.DateOnly, r.Range.EndDate)
		if err != nil {
			return nil, tenantry.E(tenantry.Poison, "write a recurrence's end", err)
		}
		o.Until = end.Add(24*time.Hour - time.Second)
	}
	return o, nil
}

// prop makes a date or a time of what Graph sent: UTC and IANA zones as such, a Windows
// zone by its name, which Outlook understands.
func (t graphTime) prop(name string, allDay bool) (*ical.Prop, error) {
	const layout = "2006-01-02T15:04:05"
	at, err := time.Parse(layout, strings.TrimSuffix(t.DateTime, "Z")) // takes fractions too
	if err != nil {
		return nil, tenantry.E(tenantry.Poison, "read an event's time", err)
	}
	prop := ical.NewProp(name)
	switch {
	case allDay:
		prop.SetDate(at)
	case t.TimeZone == "" || strings.EqualFold(t.TimeZone, "UTC") || strings.HasSuffix(t.DateTime, "Z"):
		prop.SetDateTime(at)
	default:
		prop.Params.Set(ical.PropTimezoneID, strings.ReplaceAll(oneLine(t.TimeZone), `"`, "'"))
		prop.Value = at.Format("20060102T150405")
	}
	return prop, nil
}

// lines ends every line of a text with a line feed alone, which is all that a text of iCalendar can have (RFC 5545, 3.3.11).
func lines(text string) string {
	return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
}

func addText(c *ical.Component, name, text string) {
	prop := ical.NewProp(name)
	prop.SetText(oneLine(text))
	c.Props.Add(prop)
}
