package workload

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// writableEvent are the properties of an event that can be given at its creation without anybody being
// told. start and end are given in the zone in which the event was made; attendees and organizer in
// properties of ours.
var writableEvent = []string{
	"subject", "body", "isAllDay", "location", "locations", "recurrence", "showAs", "sensitivity", "importance", "categories",
	"isReminderOn", "reminderMinutesBeforeStart", "responseRequested", "allowNewTimeProposals", "hideAttendees",
}

// The properties that keep who took part in a restored meeting, as the JSON that Graph had of them.
const (
	attendeesProperty = "String {5d0e2ac5-2f0e-4a07-9f2b-6f2c7a3e9b14} Name TenantryAttendees"
	organizerProperty = "String {5d0e2ac5-2f0e-4a07-9f2b-6f2c7a3e9b14} Name TenantryOrganizer"
)

// graphTime is the form of a dateTimeTimeZone's dateTime.
const graphTime = "2006-01-02T15:04:05.9999999"

// zonedTime is a dateTimeTimeZone: what a clock shows.
type zonedTime struct {
	DateTime string `json:"dateTime"`
	TimeZone string `json:"timeZone"`
}

// instant returns the time that is meant; ok is false if it is none.
func (z zonedTime) instant() (at time.Time, ok bool) {
	loc, ok := zone(z.TimeZone)
	if !ok {
		return at, false
	}
	at, err := time.ParseInLocation(graphTime, z.DateTime, loc)
	return at, err == nil
}

// in shows the same time on the clock of another zone. A zone that we do not know leaves it as it is. What
// lasts all day is a date, which is the same on every clock.
func (z zonedTime) in(name string, allDay bool) zonedTime {
	if name == "" || name == z.TimeZone {
		return z
	}
	loc, ok := zone(name)
	if !ok {
		return z
	}
	if allDay {
		return zonedTime{DateTime: z.DateTime, TimeZone: name}
	}
	at, ok := z.instant()
	if !ok {
		return z
	}
	return zonedTime{DateTime: at.In(loc).Format("2006-01-02T15:04:05.0000000"), TimeZone: name}
}

// storedEvent is what a restore reads of a stored event.
type storedEvent struct {
	ID            string    `json:"id"`
	Start         zonedTime `json:"start"`
	End           zonedTime `json:"end"`
	StartZone     string    `json:"originalStartTimeZone"`
	EndZone       string    `json:"originalEndTimeZone"`
	OriginalStart string    `json:"originalStart"`
	AllDay        bool      `json:"isAllDay"`
	Attachments   bool      `json:"hasAttachments"`
	Attendees     []any     `json:"attendees"`
	Recurrence    *struct {
		Range struct {
			Zone string `json:"recurrenceTimeZone"`
		} `json:"range"`
	} `json:"recurrence"`
	have map[string]jsontext.Value
}

func readEvent(raw jsontext.Value) (*storedEvent, error) {
	var e storedEvent
	if err := parse("a stored event", raw, &e); err != nil {
		return nil, err
	}
	if err := parse("a stored event", raw, &e.have); err != nil {
		return nil, err
	}
	e.Start, e.End = e.Start.in(e.StartZone, e.AllDay), e.End.in(e.EndZone, e.AllDay)
	return &e, nil
}

func (e *storedEvent) times() string {
	return `"start":` + timeJSON(e.Start) + `,"end":` + timeJSON(e.End) + `,`
}

func timeJSON(z zonedTime) string {
	return `{"dateTime":` + quote(z.DateTime) + `,"timeZone":` + quote(z.TimeZone) + `}`
}

// restoredEvent is an event to be created.
type restoredEvent struct {
	restored
	event *storedEvent
}

func newRestoredEvent(e repository.Entry, raw []byte) (*restoredEvent, error) {
	event, err := readEvent(raw)
	if err != nil {
		return nil, err
	}
	_, who, err := readStored("a stored event", raw)
	if err != nil {
		return nil, err
	}
	fields := keep(event.have, writableEvent) + event.times()
	m := &restoredEvent{restored: restored{id: e.ID, kind: who.Type, fingerprint: who.fingerprint(), mark: markOf(e, fields)}, event: event}
	properties := []string{property(markProperty, m.mark.String())}
	if len(event.Attendees) > 0 {
		properties = append(properties, property(attendeesProperty, string(event.have["attendees"])))
		if organizer := event.have["organizer"]; len(organizer) > 0 {
			properties = append(properties, property(organizerProperty, string(organizer)))
		}
	}
	m.body = withProperties(fields, properties...)
	return m, nil
}

// readStored takes a stored item apart.
func readStored(what string, raw []byte) (map[string]jsontext.Value, *identity, error) {
	var have map[string]jsontext.Value
	if err := parse(what, raw, &have); err != nil {
		return nil, nil, err
	}
	var who identity
	return have, &who, parse(what, raw, &who)
}

// withProperties closes an object whose members end in a comma.
func withProperties(fields string, properties ...string) []byte {
	return []byte("{" + fields + `"singleValueExtendedProperties":[` + strings.Join(properties, ",") + propertiesEnd)
}

// propertiesEnd is how an object ends whose last member are its properties, of which there is one at least.
const propertiesEnd = "]}"

// occurrence is one of a series, as it is now.
type occurrence struct {
	id string
	at time.Time // when it would begin by the pattern
}

// series gives a restored series its exceptions and cancellations. It may run again: what is cancelled is
// not there any more, and an exception is made the same once more.
func (t *calendarTarget[P]) series(ctx context.Context, id string, e repository.Entry, ev *restoredEvent, open engine.OpenPart) error {
	special, err := storedSeries(ctx, e, open)
	if err != nil || special == nil {
		return err
	}
	clock := ev.event.clock()
	cancelled, strange := cancelledDates(special.Cancelled)
	exceptions := make([]*storedEvent, len(special.Exceptions))
	var first, last time.Time
	cover := func(at time.Time) {
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
	}
	for date := range cancelled {
		at, _ := time.ParseInLocation(time.DateOnly, date, clock)
		cover(at)
	}
	for i, raw := range special.Exceptions {
		if exceptions[i], err = readEvent(raw); err != nil {
			return err
		}
		at := instant(exceptions[i].OriginalStart)
		cover(at)
		if now, ok := exceptions[i].Start.instant(); ok {
			cover(now)
		}
	}
	there, err := t.occurrences(ctx, id, first, last, clock)
	if err != nil {
		return err
	}
	var lost []string
	for _, x := range exceptions {
		at := instant(x.OriginalStart)
		o, ok := there[at.In(clock).Format(time.DateOnly)]
		if !ok {
			lost = append(lost, "the exception of "+x.OriginalStart)
			continue
		}
		if err := t.except(ctx, o, x, ev.event, e, open); err != nil {
			return err
		}
	}
	for date := range cancelled {
		if o, ok := there[date]; ok {
			if err := t.api.DeleteEvent(ctx, t.user, o.id); err != nil {
				return err
			}
		}
	}
	if lost = append(lost, strange...); len(lost) > 0 {
		return tenantry.Errorf(tenantry.Poison, "restored without %s", strings.Join(lost, ", "))
	}
	return nil
}

// clock is the one by which a series repeats.
func (e *storedEvent) clock() *time.Location {
	names := []string{e.Start.TimeZone}
	if e.Recurrence != nil && e.Recurrence.Range.Zone != "" {
		names = []string{e.Recurrence.Range.Zone, e.Start.TimeZone}
	}
	for _, name := range names {
		if loc, ok := zone(name); ok {
			return loc
		}
	}
	return time.UTC
}

func storedSeries(ctx context.Context, e repository.Entry, open engine.OpenPart) (*series, error) {
	for _, p := range e.Parts {
		if p.Name != seriesPart {
			continue
		}
		raw, err := readAll(ctx, func(ctx context.Context) (io.ReadCloser, error) { return open(ctx, p, 0) }, maxList)
		if err != nil {
			return nil, err
		}
		var s series
		err = parse("the stored exceptions of a series", raw, &s)
		if len(s.Cancelled)+len(s.Exceptions) == 0 {
			return nil, err
		}
		return &s, err
	}
	return nil, nil
}

// cancelledDates reads the dates of cancelled occurrences, whose names end in them, by the clock of the
// series: "OID.<master>.2026-01-31". What has no date is told.
func cancelledDates(names []string) (dates map[string]bool, strange []string) {
	dates = map[string]bool{}
	for _, name := range names {
		date := name[strings.LastIndexByte(name, '.')+1:]
		if _, err := time.Parse(time.DateOnly, date); err != nil {
			strange = append(strange, "the cancellation of "+name)
			continue
		}
		dates[date] = true
	}
	return dates, strange
}

// maxWindow is how much of a series is asked for at once; the service refuses more than five years.
const maxWindow = 4 * 365 * 24 * time.Hour

// occurrences lists those of a series between two times, by the date on which they would begin.
func (t *calendarTarget[P]) occurrences(ctx context.Context, id string, first, last time.Time, clock *time.Location) (map[string]occurrence, error) {
	there := map[string]occurrence{}
	for from, end := first.AddDate(0, 0, -2), last.AddDate(0, 0, 3); from.Before(end); from = from.Add(maxWindow) {
		to := from.Add(maxWindow)
		if to.After(end) {
			to = end
		}
		err := walk(func(link string) (P, error) { return t.api.Instances(ctx, t.user, id, from, to, link) }, func(raw jsontext.Value) error {
			var e storedEvent
			if err := parse("an occurrence", raw, &e); err != nil {
				return err
			}
			at := instant(e.OriginalStart)
			if at.IsZero() {
				at, _ = e.Start.instant()
			}
			there[at.In(clock).Format(time.DateOnly)] = occurrence{id: e.ID, at: at}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return there, nil
}

// except makes an occurrence the exception that was stored: by what differs from its series.
func (t *calendarTarget[P]) except(ctx context.Context, o occurrence, x, master *storedEvent, e repository.Entry, open engine.OpenPart) error {
	var differs []string
	for _, name := range writableEvent {
		if name != "recurrence" && !sameValue(x.have[name], master.have[name]) {
			differs = append(differs, name)
		}
	}
	fields := keep(x.have, differs)
	if !x.asPattern(o, master) {
		fields += x.times()
	}
	if fields == "" && x.Attachments == master.Attachments {
		fields = keep(x.have, []string{"subject"}) // an exception that says nothing new is one all the same
	}
	if fields != "" {
		if err := t.api.UpdateEvent(ctx, t.user, o.id, []byte("{"+strings.TrimSuffix(fields, ",")+"}")); err != nil {
			return err
		}
	}
	return t.attachments.attach(ctx, o.id, false, e, exceptionList(x.ID), open)
}

func sameValue(a, b jsontext.Value) bool {
	a, b = a.Clone(), b.Clone()
	if a.Canonicalize() != nil || b.Canonicalize() != nil {
		return string(a) == string(b)
	}
	return string(a) == string(b)
}

// asPattern reports whether an exception takes place when its series says.
func (e *storedEvent) asPattern(o occurrence, master *storedEvent) bool {
	start, ok1 := e.Start.instant()
	end, ok2 := e.End.instant()
	first, ok3 := master.Start.instant()
	last, ok4 := master.End.instant()
	return ok1 && ok2 && ok3 && ok4 && start.Equal(o.at) && end.Sub(start) == last.Sub(first) && e.Start.TimeZone == master.Start.TimeZone
}
