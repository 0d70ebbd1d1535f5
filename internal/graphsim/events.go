package graphsim

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

var (
	coordinatesForm = record(field{name: "accuracy", form: numberForm}, field{name: "altitude", form: numberForm},
		field{name: "altitudeAccuracy", form: numberForm}, field{name: "latitude", form: numberForm}, field{name: "longitude", form: numberForm})
	locationForm = record(field{name: "displayName", form: textForm, def: `""`}, field{name: "locationUri", form: textForm, def: `""`},
		field{name: "locationType", form: oneOf("default", "conferenceRoom", "homeAddress", "businessAddress", "geoCoordinates",
			"streetAddress", "hotel", "restaurant", "localBusiness", "postalAddress"), def: `"default"`},
		field{name: "uniqueId", form: textForm}, field{name: "uniqueIdType", form: oneOf("unknown", "locationStore", "directory", "private", "bing"), def: `"unknown"`},
		field{name: "locationEmailAddress", form: textForm}, field{name: "address", form: postalForm, def: "{}"},
		field{name: "coordinates", form: coordinatesForm, def: "{}"})
	responseForm = record(field{name: "response", form: oneOf("none", "organizer", "tentativelyAccepted", "accepted", "declined", "notResponded"), def: `"none"`},
		field{name: "time", form: instantForm, def: `"0001-01-01T00:00:00Z"`})
	attendeeForm = record(field{name: "type", form: oneOf("required", "optional", "resource"), def: `"required"`},
		field{name: "status", form: responseForm, def: `{"response":"none","time":"0001-01-01T00:00:00Z"}`},
		field{name: "emailAddress", form: addressForm, def: "null"},
		field{name: "proposedNewTime", form: record(field{name: "start", form: zonedForm}, field{name: "end", form: zonedForm})})
	noLocation = `{"displayName":"","locationUri":"","locationType":"default","uniqueIdType":"unknown","address":{},"coordinates":{}}`
)

// eventSchema is the event resource type of Graph v1.0. What a restore must not
// send (attendees) or cannot set (organizer, online meeting) is quiet.
var eventSchema = newSchema("event",
	field{name: "id"}, field{name: "changeKey"}, field{name: "createdDateTime"}, field{name: "lastModifiedDateTime"},
	field{name: "categories", form: textsForm, def: "[]"},
	field{name: "transactionId", form: textForm, quiet: true},
	field{name: "originalStartTimeZone"}, field{name: "originalEndTimeZone"}, field{name: "iCalUId"},
	field{name: "reminderMinutesBeforeStart", form: integerForm, def: "15"},
	field{name: "isReminderOn", form: booleanForm, def: "true"},
	field{name: "hasAttachments"},
	field{name: "subject", form: textForm, def: `""`},
	field{name: "bodyPreview"},
	field{name: "importance", form: oneOf("low", "normal", "high"), def: `"normal"`},
	field{name: "sensitivity", form: oneOf("normal", "personal", "private", "confidential"), def: `"normal"`},
	field{name: "isAllDay", form: booleanForm, def: "false"},
	field{name: "isCancelled", def: "false"}, field{name: "isOrganizer"},
	field{name: "responseRequested", form: booleanForm, def: "true"},
	field{name: "seriesMasterId"},
	field{name: "showAs", form: oneOf("free", "tentative", "busy", "oof", "workingElsewhere", "unknown"), def: `"busy"`},
	field{name: "type"}, field{name: "webLink"}, field{name: "onlineMeetingUrl", def: "null"},
	field{name: "isOnlineMeeting", form: booleanForm, def: "false", quiet: true},
	field{name: "onlineMeetingProvider", form: oneOf("unknown", "teamsForBusiness", "skypeForBusiness", "skypeForConsumer"), def: `"unknown"`, quiet: true},
	field{name: "allowNewTimeProposals", form: booleanForm, def: "true"},
	field{name: "isDraft", form: booleanForm, def: "false", quiet: true},
	field{name: "hideAttendees", form: booleanForm, def: "false"},
	field{name: "originalStart"}, field{name: "occurrenceId"}, field{name: "onlineMeeting", def: "null"},
	field{name: "recurrence", form: recurrenceForm, def: "null"},
	field{name: "responseStatus"},
	field{name: "body", form: bodyForm, def: `{"contentType":"html","content":""}`},
	field{name: "start", form: zonedForm}, field{name: "end", form: zonedForm},
	field{name: "location", form: locationForm, def: noLocation},
	field{name: "locations", form: listOf(locationForm), def: "[]"},
	field{name: "attendees", form: listOf(attendeeForm), def: "[]", quiet: true},
	field{name: "organizer"},
)

// eventBases are the paths that lead to the events of a calendar; without a
// calendar they are those of the default one.
var eventBases = []string{"users/{user}", "users/{user}/calendar", "users/{user}/calendars/{calendar}",
	"users/{user}/calendarGroups/{calendarGroup}/calendars/{calendar}"}

func eventRoutes() []route {
	read := func(r route) route { r.service, r.roles = outlook, rolesCalendars; return r }
	write := func(r route) route { r.service, r.roles = outlook, rolesCalendarsWrite; return r }
	return pathsTo(eventBases,
		read(route{method: "GET", pattern: "events", handle: listEvents}),
		write(route{method: "POST", pattern: "events", handle: createEvent}),
		read(route{method: "GET", pattern: "events/delta", handle: eventsDelta}),
		read(route{method: "GET", pattern: "events/{event}", handle: getEvent}),
		write(route{method: "PATCH", pattern: "events/{event}", handle: patchEvent}),
		write(route{method: "DELETE", pattern: "events/{event}", handle: deleteEvent}),
		write(route{method: "POST", pattern: "events/{event}/permanentDelete", handle: deleteEvent}),
		read(route{method: "GET", pattern: "events/{event}/instances", handle: listInstances}),
		read(route{method: "GET", pattern: "calendarView", handle: listCalendarView}),
		read(route{method: "GET", pattern: "calendarView/delta", handle: calendarViewDelta}))
}

// eventRef is what an event's ID names: an item, and of a series maybe one instance.
type eventRef struct {
	item *pimItem
	at   *occurrence
}

func dayNumber(date string) uint32 {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil || t.Before(time.Unix(0, 0)) {
		return 0
	}
	return uint32(t.Unix() / 86400)
}

func dayDate(n uint32) string { return time.Unix(int64(n)*86400, 0).UTC().Format(time.DateOnly) }

func (b *mailbox) occurrenceID(it *pimItem, date string, unchanging bool) string {
	kind := byte(occurrenceKind)
	if unchanging {
		kind += immutable
	}
	return b.itemID(kind, it.number, dayNumber(date))
}

// occurrenceName is the occurrenceId of an instance (event resource type): stable
// from the time the series is made, also after the instance is cancelled.
func (b *mailbox) occurrenceName(it *pimItem, date string, unchanging bool) string {
	return "OID." + b.pimID(it, unchanging) + "." + date
}

// findEvent finds what an event's ID names.
func (b *mailbox) findEvent(id string) (eventRef, error) {
	kind, number, day, ok := b.parseID(id)
	if ok && (kind == occurrenceKind || kind == occurrenceKind+immutable) {
		it := b.store().items[number]
		if it == nil || it.kind != eventKind || b.contentOf(it).series == nil {
			return eventRef{}, mailItemNotFound()
		}
		o, ok := b.contentOf(it).occurrence(dayDate(day))
		if !ok {
			return eventRef{}, mailItemNotFound()
		}
		return eventRef{item: it, at: &o}, nil
	}
	it, err := b.findItem(eventKind, id)
	return eventRef{item: it}, err
}

// withEvent calls do with the event of the request, under the mailbox's lock.
func (c *call) withEvent(do func(*mailbox, eventRef) error) error {
	return c.withCalendar(func(b *mailbox, s *shelf) error {
		e, err := b.findEvent(c.param("event"))
		if err != nil {
			return err
		}
		if c.param("calendar") != "" && e.item.shelf != s {
			return mailItemNotFound()
		}
		return do(b, e)
	})
}

// shown are all properties of an event as an answer may carry them.
func (b *mailbox) shown(e eventRef, v pimView) props {
	c := b.contentOf(e.item)
	s := maps.Clone(c.values)
	attachments := c.attachments
	s["type"], s["seriesMasterId"] = `"singleInstance"`, "null"
	switch {
	case e.at != nil:
		s = c.valuesAt(*e.at)
		s["type"], s["seriesMasterId"] = `"occurrence"`, quoted(b.pimID(e.item, v.immutable))
		s["originalStart"] = quoted(formatTime(c.original(e.at.date)))
		s["occurrenceId"] = quoted(b.occurrenceName(e.item, e.at.date, v.immutable))
		if e.at.exception != nil {
			s["type"] = `"exception"`
			if own := e.at.exception.attachments; own != nil {
				attachments = own
			}
		}
	case c.series != nil:
		s["type"] = `"seriesMaster"`
	}
	b.showTimes(s, v)
	b.showPeople(s)
	s["hasAttachments"] = "false"
	if len(attachments) > 0 {
		s["hasAttachments"] = "true"
	}
	var body struct{ ContentType, Content string }
	s.into("body", &body)
	s["bodyPreview"] = quoted(preview(body.Content, body.ContentType))
	if v.text && body.ContentType == "html" {
		s["body"] = `{"contentType":"text","content":` + quoted(stripTags(body.Content)) + `}`
	}
	return s
}

// showTimes turns start and end to the zone the request prefers. Those of an event
// that lasts all day are the same date everywhere.
func (b *mailbox) showTimes(s props, v pimView) {
	for _, name := range []string{"start", "end"} {
		z := s.zoned(name)
		s["original"+strings.ToUpper(name[:1])+name[1:]+"TimeZone"] = quoted(z.TimeZone)
		if s.boolean("isAllDay") {
			s[name] = zoned{DateTime: z.DateTime, TimeZone: v.zone}.json()
		} else {
			s[name] = z.in(v.zone, v.loc).json()
		}
	}
}

func (b *mailbox) showPeople(s props) {
	if s["organizer"] == "" {
		s["organizer"] = addressJSON(&b.self)
	}
	var organizer recipient
	s.into("organizer", &organizer)
	own := organizer.EmailAddress != nil && strings.EqualFold(organizer.EmailAddress.Address, b.self.Address)
	s["isOrganizer"] = "false"
	response := `{"response":"notResponded","time":"0001-01-01T00:00:00Z"}`
	if own {
		s["isOrganizer"], response = "true", `{"response":"organizer","time":"0001-01-01T00:00:00Z"}`
	}
	if s["responseStatus"] == "" {
		s["responseStatus"] = response
	}
}

func (b *mailbox) renderEvent(it *pimItem, v pimView) []byte {
	return b.renderEventRef(eventRef{item: it}, v)
}

func (b *mailbox) renderEventRef(e eventRef, v pimView) []byte {
	c := b.contentOf(e.item)
	o := newObject(v.sel)
	b.renderEventHead(o, e, c, v)
	eventSchema.render(o, b.shown(e, v))
	o.str("webLink", "https://outlook.office365.example/owa/?itemid="+b.pimID(e.item, v.immutable)+"&exvsurl=1&path=/calendar/item")
	v.renderProperties(o, c)
	if options, ok := v.expands("attachments"); ok {
		b.renderAttachments(o, b.eventHolder(e), attachmentOptions(options))
	}
	if e.at != nil || c.series == nil {
		return o.done()
	}
	if o.sel.asked("cancelledOccurrences") {
		names := make([]string, len(c.series.cancelled))
		for i, date := range c.series.cancelled {
			names[i] = b.occurrenceName(e.item, date, v.immutable)
		}
		o.strings("cancelledOccurrences", names)
	}
	if options, ok := v.expands("exceptionOccurrences"); ok {
		o.always("exceptionOccurrences")
		o.b = append(append(append(o.b, '['), b.renderExceptions(e.item, v, options)...), ']')
	}
	return o.done()
}

// renderEventHead is renderHead with the ID of an instance where it is one.
func (b *mailbox) renderEventHead(o *object, e eventRef, c *pimContent, v pimView) {
	if e.at == nil {
		b.renderHead(o, e.item, c, v)
		return
	}
	key := changeKey(e.item.number, e.item.revision)
	o.str("@odata.etag", `W/"`+key+`"`)
	o.str("id", b.occurrenceID(e.item, e.at.date, v.immutable))
	o.instant("createdDateTime", c.created)
	o.instant("lastModifiedDateTime", e.item.modified.UTC().Truncate(time.Second))
	o.str("changeKey", key)
}

func (b *mailbox) renderExceptions(it *pimItem, v pimView, options url.Values) []byte {
	c := b.contentOf(it)
	v.expand, v.sel = nil, nil
	if options.Has("$select") {
		v.sel = parseSelect(options.Get("$select"))
	}
	var out []byte
	for i, date := range slices.Sorted(maps.Keys(c.series.exceptions)) {
		o, ok := c.occurrence(date)
		if !ok {
			continue
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, b.renderEventRef(eventRef{item: it, at: &o}, v)...)
	}
	return out
}

func listEvents(c *call) error {
	return c.withCalendar(func(b *mailbox, s *shelf) error { return c.listItems(b, s.items, b.renderEvent) })
}

func (c *call) showEvent(status int, b *mailbox, e eventRef) error {
	v, err := c.pimView()
	if err != nil {
		return err
	}
	return c.json(status, b.renderEventRef(e, v))
}

func getEvent(c *call) error {
	return c.withEvent(func(b *mailbox, e eventRef) error { return c.showEvent(http.StatusOK, b, e) })
}

// applyEvent writes a client's JSON into the values of an event or an exception.
func applyEvent(v props, in map[string]json.RawMessage) error {
	if err := eventSchema.read(in, v); err != nil {
		return err
	}
	_, one := in["location"]
	_, many := in["locations"]
	switch { // the two always say the same (event resource type)
	case one && !many:
		v["locations"] = "[]"
		if v["location"] != "null" && v["location"] != noLocation {
			v["locations"] = "[" + v["location"] + "]"
		}
	case many:
		var list []json.RawMessage
		v.into("locations", &list)
		if len(list) > 0 {
			v["location"] = string(list[0])
		}
	}
	for _, name := range []string{"location", "body"} {
		if v[name] == "null" {
			delete(v, name)
		}
	}
	return nil
}

// checkEvent refuses an event whose parts do not fit.
func checkEvent(v props) error {
	start, end := v.zoned("start"), v.zoned("end")
	if start.DateTime == "" || end.DateTime == "" {
		return validation("an event needs a start and an end.")
	}
	if end.at().Before(start.at()) {
		return validation("the end is before the start.")
	}
	if v.boolean("isAllDay") && (!strings.HasSuffix(start.DateTime, "T00:00:00.0000000") || !strings.HasSuffix(end.DateTime, "T00:00:00.0000000") ||
		end.DateTime <= start.DateTime || start.TimeZone != end.TimeZone) {
		return fail(http.StatusBadRequest, "ErrorInvalidRequest", "The start and end of an all-day event need to be set to midnight, in one time zone.")
	}
	return checkSeries(v)
}

func createEvent(c *call) error {
	var in map[string]json.RawMessage
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withCalendar(func(b *mailbox, s *shelf) error {
		if s.foreign != nil {
			return calendarDenied()
		}
		if err := b.checkRoom(); err != nil {
			return err
		}
		made := &pimContent{values: props{}, created: time.Now().UTC().Truncate(time.Second)}
		if err := b.readEvent(made, in); err != nil {
			return err
		}
		if it := b.sameTransaction(made.values["transactionId"]); it != nil {
			return c.showEvent(http.StatusCreated, b, eventRef{item: it})
		}
		it := b.store().addItem(eventKind, s, made)
		b.invite("invitation", made.values)
		return c.showEvent(http.StatusCreated, b, eventRef{item: it})
	})
}

func (b *mailbox) readEvent(made *pimContent, in map[string]json.RawMessage) error {
	if err := made.takeProperties(in); err != nil {
		return err
	}
	var attachments []json.RawMessage
	if raw, ok := in["attachments"]; ok {
		delete(in, "attachments")
		if err := json.Unmarshal(raw, &attachments); err != nil {
			return asBadProperty("attachments", err)
		}
	}
	if err := applyEvent(made.values, in); err != nil {
		return err
	}
	if err := checkEvent(made.values); err != nil {
		return err
	}
	if made.values["recurrence"] != "" && made.values["recurrence"] != "null" {
		made.series = &series{exceptions: map[string]*pimContent{}}
	}
	for _, raw := range attachments {
		a, err := b.readAttachment(raw)
		if err != nil {
			return err
		}
		made.add(a)
	}
	made.values["iCalUId"] = quoted(strings.ToUpper("040000008200E00074C5B7101A82E008" + strings.ReplaceAll(newID(), "-", "")))
	return nil
}

// sameTransaction finds the event that a repeated POST has already made: a
// transactionId makes retries harmless (event resource type).
func (b *mailbox) sameTransaction(id string) *pimItem {
	if id == "" || id == "null" {
		return nil
	}
	for _, it := range b.store().items {
		if it.kind == eventKind && it.own != nil && it.own.values["transactionId"] == id {
			return it
		}
	}
	return nil
}

func patchEvent(c *call) error {
	var in map[string]json.RawMessage
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withEvent(func(b *mailbox, e eventRef) error {
		if e.item.shelf.foreign != nil {
			return calendarDenied()
		}
		if err := c.checkMatch(e.item); err != nil {
			return err
		}
		if _, given := in["transactionId"]; given {
			return fail(http.StatusBadRequest, "ErrorInvalidRequest", "The transactionId cannot be changed.")
		}
		changed, err := b.editEvent(e, in)
		if err != nil {
			return err
		}
		b.invite("update", b.shown(changed, pimView{zone: "UTC", loc: time.UTC}))
		return c.showEvent(http.StatusOK, b, changed)
	})
}

// editEvent changes an event, or makes an exception of an instance.
func (b *mailbox) editEvent(e eventRef, in map[string]json.RawMessage) (eventRef, error) {
	err := b.editItem(e.item, func(content *pimContent) error {
		if e.at != nil {
			return content.except(e.at.date, in)
		}
		if err := content.takeProperties(in); err != nil {
			return err
		}
		if err := applyEvent(content.values, in); err != nil {
			return err
		}
		content.reshape(in)
		return checkEvent(content.values)
	})
	if err != nil {
		return e, err
	}
	if e.at == nil {
		return e, nil
	}
	o, _ := b.contentOf(e.item).occurrence(e.at.date)
	return eventRef{item: e.item, at: &o}, nil
}

// reshape follows a change of the pattern: a new one has neither exceptions nor
// cancellations, none at all makes a single event.
func (c *pimContent) reshape(in map[string]json.RawMessage) {
	if _, given := in["recurrence"]; !given {
		return
	}
	if c.series = nil; c.values["recurrence"] != "null" {
		c.series = &series{exceptions: map[string]*pimContent{}}
	}
}

// except writes a client's JSON into the exception of a date.
func (c *pimContent) except(date string, in map[string]json.RawMessage) error {
	if _, given := in["recurrence"]; given {
		return fail(http.StatusBadRequest, "ErrorInvalidRequest", "An instance of a series cannot have a recurrence.")
	}
	own := &pimContent{values: props{}, created: time.Now().UTC().Truncate(time.Second)}
	if old := c.series.exceptions[date]; old != nil {
		own = old.clone()
	}
	if err := own.takeProperties(in); err != nil {
		return err
	}
	if err := applyEvent(own.values, in); err != nil {
		return err
	}
	c.setException(date, own)
	o, _ := c.occurrence(date)
	return checkEvent(c.valuesAt(o))
}

// setException stores an exception with its times on the clock of the series: an
// instance has no time zone of its own.
func (c *pimContent) setException(date string, own *pimContent) {
	clock := c.values.zoned("start").TimeZone
	loc, err := zone(clock)
	for _, name := range []string{"start", "end"} {
		z := own.values.zoned(name)
		switch allDay := own.values["isAllDay"]; {
		case z.DateTime == "" || err != nil:
		case allDay == "true" || (allDay == "" && c.values.boolean("isAllDay")):
			own.values[name] = zoned{DateTime: z.DateTime, TimeZone: clock}.json()
		default:
			own.values[name] = z.in(clock, loc).json()
		}
	}
	c.series.exceptions[date] = own
}

// cancel takes one instance out of a series.
func (c *pimContent) cancel(date string) {
	delete(c.series.exceptions, date)
	if !slices.Contains(c.series.cancelled, date) {
		c.series.cancelled = append(c.series.cancelled, date)
		slices.Sort(c.series.cancelled)
	}
}

func deleteEvent(c *call) error {
	return c.withEvent(func(b *mailbox, e eventRef) error {
		if e.item.shelf.foreign != nil {
			return calendarDenied()
		}
		b.invite("cancellation", b.shown(e, pimView{zone: "UTC", loc: time.UTC}))
		if err := b.removeEvent(e); err != nil {
			return err
		}
		return c.empty(http.StatusNoContent)
	})
}

func (b *mailbox) removeEvent(e eventRef) error {
	if e.at == nil {
		b.dropItem(e.item)
		return nil
	}
	return b.editItem(e.item, func(content *pimContent) error {
		content.cancel(e.at.date)
		return nil
	})
}

// maxSent bounds what is remembered of the mail a mailbox sent.
const maxSent = 10_000

// invite remembers what Exchange sends to the attendees when an organizer makes,
// changes or removes a meeting (Create event).
func (b *mailbox) invite(kind string, v props) {
	var attendees []recipient
	v.into("attendees", &attendees)
	if len(attendees) == 0 || v["isOrganizer"] == "false" {
		return
	}
	sent := SentTruth{Kind: kind, Subject: v.text("subject")}
	for _, a := range attendees {
		if a.EmailAddress != nil {
			sent.To = append(sent.To, a.EmailAddress.Address)
		}
	}
	b.noteSent(sent)
}

func (b *mailbox) noteSent(sent SentTruth) {
	p := b.store()
	if len(p.sent) < maxSent {
		p.sent = append(p.sent, sent)
	}
}
