package graphsim

import (
	"io"
	"mime/quotedprintable"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/teambition/rrule-go"
)

// corpusItem is a contact or an event of the corpus.
type corpusItem struct {
	file    string
	content *pimContent
	uid     string
	replace string // of an exception: the original start
}

// addCorpusItems puts the real contacts and events into the default folder and the
// default calendar.
func (b *mailbox) addCorpusItems(c *corpus) {
	p := b.pim
	for _, item := range c.contacts {
		p.put(contactKind, p.contacts, item.content, item.content.created)
	}
	for _, item := range c.events {
		p.put(eventKind, p.calendar, item.content, item.content.created)
	}
}

// line is one content line of a vCard or an iCalendar, its value as it stands.
type line struct {
	name   string
	params map[string][]string
	value  string
}

// param returns the first value of a parameter.
func (l line) param(name string) string {
	if list := l.params[name]; len(list) > 0 {
		return list[0]
	}
	return ""
}

// is reports whether a TYPE (or, in vCard 2.1, a bare parameter) is there.
func (l line) is(kind string) bool {
	return slices.ContainsFunc(append(l.params["TYPE"], l.params[""]...), func(s string) bool { return strings.EqualFold(s, kind) })
}

// text is the value without escapes and transfer encoding.
func (l line) text() string {
	value := l.value
	if strings.EqualFold(l.param("ENCODING"), "QUOTED-PRINTABLE") || slices.Contains(l.params[""], "QUOTED-PRINTABLE") {
		data, _ := io.ReadAll(quotedprintable.NewReader(strings.NewReader(value))) // what there is of a broken one
		value = decodeCharset(l.param("CHARSET"), data)
	}
	return unescapeText(value)
}

func unescapeText(s string) string {
	return valid(strings.NewReplacer(`\n`, "\n", `\N`, "\n", `\,`, ",", `\;`, ";", `\\`, `\`).Replace(s))
}

// fields splits a structured value at its semicolons.
func (l line) fields() []string {
	value := l
	value.value = strings.ReplaceAll(l.value, `\;`, "\x00")
	var out []string
	for part := range strings.SplitSeq(value.text(), ";") {
		out = append(out, strings.TrimSpace(strings.ReplaceAll(part, "\x00", ";")))
	}
	return append(out, "", "", "", "", "", "", "")
}

// component is a BEGIN ... END with its lines; nested ones are left out.
type component struct{ lines []line }

func (c component) first(name string) (line, bool) {
	for _, l := range c.lines {
		if l.name == name {
			return l, true
		}
	}
	return line{}, false
}

func (c component) text(name string) string {
	l, _ := c.first(name)
	return l.text()
}

// components reads, leniently, every component of a kind.
func components(raw []byte, kind string) (list []component) {
	text := strings.NewReplacer("\r\n ", "", "\r\n\t", "", "\n ", "", "\n\t", "", "=\r\n", "", "=\n", "").Replace(string(raw))
	var current *component
	inner := 0
	for s := range strings.Lines(text) {
		s = strings.TrimRight(s, "\r\n")
		upper := strings.ToUpper(strings.TrimSpace(s))
		switch {
		case upper == "BEGIN:"+kind:
			current, inner = &component{}, 0
		case upper == "END:"+kind:
			if current != nil {
				list = append(list, *current)
			}
			current = nil
		case current == nil:
		case strings.HasPrefix(upper, "BEGIN:"):
			inner++
		case strings.HasPrefix(upper, "END:"):
			inner--
		case inner == 0:
			if l, ok := parseLine(s); ok {
				current.lines = append(current.lines, l)
			}
		}
	}
	return list
}

// parseLine takes a content line apart; colons in quoted parameters are no end.
func parseLine(s string) (line, bool) {
	inQuotes := false
	colon := strings.IndexFunc(s, func(r rune) bool {
		if r == '"' {
			inQuotes = !inQuotes
		}
		return r == ':' && !inQuotes
	})
	if colon < 0 {
		return line{}, false
	}
	parts := strings.Split(s[:colon], ";")
	name := strings.ToUpper(parts[0][strings.LastIndexByte(parts[0], '.')+1:])
	l := line{name: name, params: map[string][]string{}, value: s[colon+1:]}
	for _, p := range parts[1:] {
		key, value, ok := strings.Cut(p, "=")
		if !ok {
			key, value = "", p
		}
		key = strings.ToUpper(key)
		for v := range strings.SplitSeq(strings.Trim(value, `"`), ",") {
			l.params[key] = append(l.params[key], v)
		}
	}
	return l, true
}

// loadCards reads vCards: one contact per BEGIN:VCARD.
func loadCards(dir string) (items []corpusItem, err error) {
	err = eachFile(dir, ".vcf", func(path string, raw []byte) {
		for _, card := range components(raw, "VCARD") {
			c := &pimContent{values: props{}, created: epoch.AddDate(-1, 0, 0)}
			readCard(c, card)
			fillContact(c.values)
			items = append(items, corpusItem{file: filepath.Base(path), content: c})
		}
	})
	return items, err
}

// cardTexts are the properties that a vCard and a contact share as they are.
var cardTexts = map[string]string{"FN": "displayName", "TITLE": "jobTitle", "ROLE": "profession", "NOTE": "personalNotes",
	"X-SPOUSE": "spouseName", "X-MANAGER": "manager", "X-ASSISTANT": "assistantName", "X-PHONETIC-FIRST-NAME": "yomiGivenName",
	"X-PHONETIC-LAST-NAME": "yomiSurname", "SORT-STRING": "fileAs"}

func readCard(c *pimContent, card component) {
	put := func(name string, value any) { contactSchema.put(c.values, name, value) }
	lists := map[string][]string{}
	var mails []address
	for _, l := range card.lines {
		if name := cardTexts[l.name]; name != "" && c.values[name] == "" {
			put(name, l.text())
			continue
		}
		switch l.name {
		case "N":
			f := l.fields()
			for i, name := range []string{"surname", "givenName", "middleName", "title", "generation"} {
				if f[i] != "" {
					put(name, f[i])
				}
			}
		case "NICKNAME":
			put("nickName", l.text())
		case "ORG":
			f := l.fields()
			put("companyName", f[0])
			put("department", f[1])
		case "EMAIL":
			mails = append(mails, address{Name: card.text("FN"), Address: l.text()})
		case "TEL":
			readPhone(c, l, lists)
		case "ADR":
			readPostal(c, l)
		case "URL":
			put("businessHomePage", l.text())
		case "IMPP", "X-JABBER", "X-AIM", "X-SKYPE", "X-ICQ", "X-MSN":
			lists["imAddresses"] = append(lists["imAddresses"], l.text())
		case "CATEGORIES":
			for name := range strings.SplitSeq(l.text(), ",") {
				lists["categories"] = append(lists["categories"], strings.TrimSpace(name))
			}
		case "BDAY":
			if t, ok := cardDate(l.value); ok {
				put("birthday", t)
			}
		case "PHOTO":
			readCardPhoto(c, l)
		}
	}
	if len(mails) > 0 {
		put("emailAddresses", mails[:min(len(mails), maxAddresses)])
	}
	for name, list := range lists {
		put(name, list)
	}
}

func readPhone(c *pimContent, l line, lists map[string][]string) {
	number := strings.TrimPrefix(l.text(), "tel:")
	switch {
	case l.is("CELL") && c.values["mobilePhone"] == "":
		contactSchema.put(c.values, "mobilePhone", number)
	case l.is("HOME") && len(lists["homePhones"]) < 2:
		lists["homePhones"] = append(lists["homePhones"], number)
	case len(lists["businessPhones"]) < 2:
		lists["businessPhones"] = append(lists["businessPhones"], number)
	}
}

func readPostal(c *pimContent, l line) {
	name := "otherAddress"
	switch {
	case l.is("HOME"):
		name = "homeAddress"
	case l.is("WORK"):
		name = "businessAddress"
	}
	f := l.fields()
	contactSchema.put(c.values, name, map[string]string{"street": strings.TrimSpace(f[1] + "\n" + f[2]), "city": f[3], "state": f[4],
		"postalCode": f[5], "countryOrRegion": f[6]})
}

func cardDate(s string) (time.Time, bool) {
	for _, layout := range []string{time.DateOnly, "20060102", time.RFC3339, "20060102T150405Z"} {
		if t, err := time.Parse(layout, strings.TrimSpace(s)); err == nil {
			return time.Date(t.Year(), t.Month(), t.Day(), 11, 59, 0, 0, time.UTC), true
		}
	}
	return time.Time{}, false
}

func readCardPhoto(c *pimContent, l line) {
	encoded := l.value
	if _, data, ok := strings.Cut(encoded, "base64,"); ok {
		encoded = data
	} else if e := l.param("ENCODING"); !strings.EqualFold(e, "b") && !strings.EqualFold(e, "BASE64") {
		return
	}
	data := decodeTransfer("base64", []byte(encoded))
	if len(data) == 0 || len(data) > maxPhoto {
		return
	}
	c.photo, c.photoType = bytesContent(data), "image/jpeg"
}

// loadCalendars reads iCalendar files: one event per BEGIN:VEVENT, those with a
// RECURRENCE-ID as exceptions of their series. What Outlook could not hold (no
// start, an unreadable one) is left out.
func loadCalendars(dir string) (items []corpusItem, err error) {
	err = eachFile(dir, ".ics", func(path string, raw []byte) {
		masters := map[string]*pimContent{}
		var exceptions []corpusItem
		for _, event := range components(raw, "VEVENT") {
			item := corpusItem{file: filepath.Base(path), uid: event.text("UID"), content: &pimContent{values: props{}, created: epoch.AddDate(-1, 0, 0)}}
			if !readVEvent(item.content, event) {
				continue
			}
			if l, ok := event.first("RECURRENCE-ID"); ok {
				z, _ := icalZoned(l)
				item.replace = z.DateTime[:len(time.DateOnly)]
				exceptions = append(exceptions, item)
				continue
			}
			if item.content.series != nil {
				masters[item.uid] = item.content
			}
			items = append(items, item)
		}
		for _, e := range exceptions {
			items = appendException(items, masters[e.uid], e)
		}
	})
	return items, err
}

// appendException gives an exception to its master; one without is a single event.
func appendException(items []corpusItem, master *pimContent, e corpusItem) []corpusItem {
	if master != nil {
		if _, ok := master.occurrence(e.replace); ok {
			delete(e.content.values, "iCalUId")
			delete(e.content.values, "recurrence")
			master.setException(e.replace, e.content)
			return items
		}
	}
	return append(items, e)
}

func readVEvent(c *pimContent, event component) bool {
	put := func(name string, value any) { eventSchema.put(c.values, name, value) }
	begin, ok := event.first("DTSTART")
	start, valid := icalZoned(begin)
	if !ok || !valid {
		return false
	}
	allDay := len(strings.TrimSpace(begin.value)) == 8
	put("start", start)
	put("end", icalEnd(event, start, allDay))
	put("isAllDay", allDay)
	put("subject", event.text("SUMMARY"))
	put("body", map[string]string{"contentType": "text", "content": event.text("DESCRIPTION")})
	if where := event.text("LOCATION"); where != "" {
		put("location", map[string]string{"displayName": where})
		c.values["locations"] = "[" + c.values["location"] + "]"
	}
	set(c.values, "iCalUId", event.text("UID"))
	put("sensitivity", map[string]string{"PRIVATE": "private", "CONFIDENTIAL": "confidential"}[event.text("CLASS")])
	if event.text("TRANSP") == "TRANSPARENT" {
		put("showAs", "free")
	}
	if n, err := strconv.Atoi(event.text("PRIORITY")); err == nil && n > 0 {
		put("importance", map[bool]string{true: "high", false: "low"}[n < 5])
	}
	if event.text("STATUS") == "CANCELLED" {
		c.values["isCancelled"] = "true"
	}
	var names []string
	for _, l := range event.lines {
		if l.name == "CATEGORIES" {
			names = append(names, strings.Split(l.text(), ",")...)
		}
	}
	put("categories", orEmpty(names))
	readPeople(c, event)
	readRule(c, event, start)
	return checkEvent(c.values) == nil
}

func readPeople(c *pimContent, event component) {
	person := func(l line) address {
		mail := l.text()
		if len(mail) > 7 && strings.EqualFold(mail[:7], "mailto:") {
			mail = mail[7:]
		}
		a := address{Name: valid(l.param("CN")), Address: mail}
		setDefault(&a.Name, mail)
		return a
	}
	var attendees []any
	for _, l := range event.lines {
		switch l.name {
		case "ATTENDEE":
			kind := "required"
			if l.param("ROLE") == "OPT-PARTICIPANT" {
				kind = "optional"
			}
			attendees = append(attendees, map[string]any{"emailAddress": person(l), "type": kind})
		case "ORGANIZER":
			set(c.values, "organizer", map[string]any{"emailAddress": person(l)})
		}
	}
	if attendees != nil {
		eventSchema.put(c.values, "attendees", attendees)
	}
}

// icalZoned reads 20140829T080000 with its TZID; a zone that nobody knows is UTC.
func icalZoned(l line) (zoned, bool) {
	value := strings.TrimSpace(l.value)
	name := l.param("TZID")
	if _, err := zone(name); err != nil || strings.HasSuffix(value, "Z") {
		name = "UTC"
	}
	for _, layout := range []string{"20060102T150405", "20060102T1504", "20060102"} {
		if t, err := time.Parse(layout, strings.TrimSuffix(value, "Z")); err == nil && t.Year() > 1600 {
			return zoned{t.Format(zonedLayout), name}, true
		}
	}
	return zoned{}, false
}

func icalEnd(event component, start zoned, allDay bool) zoned {
	if l, ok := event.first("DTEND"); ok {
		if end, valid := icalZoned(l); valid && !end.at().Before(start.at()) && (!allDay || end.DateTime > start.DateTime) {
			return end
		}
	}
	begin, _ := time.Parse(zonedLayout, start.DateTime)
	end := begin.Add(icalDuration(event.text("DURATION")))
	if allDay {
		end = begin.AddDate(0, 0, 1)
	}
	return zoned{end.Format(zonedLayout), start.TimeZone}
}

// icalDuration reads the durations that events have, P1DT2H30M.
func icalDuration(s string) (d time.Duration) {
	n := 0
	for _, r := range strings.ToUpper(s) {
		switch {
		case r >= '0' && r <= '9':
			n = min(n*10+int(r-'0'), 100_000)
			continue
		case r == 'W':
			d += time.Duration(n) * 7 * 24 * time.Hour
		case r == 'D':
			d += time.Duration(n) * 24 * time.Hour
		case r == 'H':
			d += time.Duration(n) * time.Hour
		case r == 'M':
			d += time.Duration(n) * time.Minute
		case r == 'S':
			d += time.Duration(n) * time.Second
		}
		n = 0
	}
	return d
}

// readRule turns an RRULE into the pattern of Outlook that means the same; a rule
// that Outlook cannot say stays a single event.
func readRule(c *pimContent, event component, start zoned) {
	o, err := rrule.StrToROption(event.text("RRULE"))
	if err != nil || event.text("RRULE") == "" {
		return
	}
	pattern := icalPattern(o, start.at())
	if pattern == nil {
		return
	}
	span := map[string]any{"type": "noEnd", "startDate": start.DateTime[:len(time.DateOnly)], "recurrenceTimeZone": start.TimeZone}
	switch {
	case o.Count > 0:
		span["type"], span["numberOfOccurrences"] = "numbered", o.Count
	case !o.Until.IsZero():
		span["type"], span["endDate"] = "endDate", o.Until.In(start.at().Location()).Format(time.DateOnly)
	}
	eventSchema.put(c.values, "recurrence", map[string]any{"pattern": pattern, "range": span})
	if checkSeries(c.values) != nil || recurrenceOf(c.values) == nil {
		delete(c.values, "recurrence")
		return
	}
	c.series = &series{exceptions: map[string]*pimContent{}}
	for _, l := range event.lines {
		for part := range strings.SplitSeq(l.value, ",") {
			z, ok := icalZoned(line{params: l.params, value: part})
			if l.name != "EXDATE" || !ok {
				continue
			}
			date := z.at().In(start.at().Location()).Format(time.DateOnly)
			if _, there := c.occurrence(date); there {
				c.cancel(date)
			}
		}
	}
}

// icalPattern is a recurrencePattern, nil when there is none for the rule.
func icalPattern(o *rrule.ROption, start time.Time) map[string]any {
	p := map[string]any{"interval": max(1, o.Interval)}
	var days []string
	index := 0
	for _, d := range o.Byweekday {
		for name, w := range weekdays {
			if w.Day() == d.Day() {
				days = append(days, name)
			}
		}
		index = d.N()
	}
	slices.Sort(days)
	if len(o.Bysetpos) == 1 {
		index = o.Bysetpos[0]
	}
	day, month := start.Day(), int(start.Month())
	if len(o.Bymonthday) > 0 {
		day = o.Bymonthday[0]
	}
	if len(o.Bymonth) > 0 {
		month = o.Bymonth[0]
	}
	if len(o.Bymonthday) > 1 || len(o.Bymonth) > 1 || day < 1 || len(o.Byyearday)+len(o.Byweekno)+len(o.Byhour)+len(o.Byeaster) > 0 {
		return nil
	}
	name := ""
	for text, n := range positions {
		if n == index {
			name = text
		}
	}
	relative := len(days) > 0
	switch {
	case o.Freq == rrule.DAILY && !relative:
		p["type"] = "daily"
	case o.Freq == rrule.WEEKLY || (o.Freq == rrule.DAILY && relative && o.Interval <= 1):
		if !relative {
			days = []string{strings.ToLower(start.Weekday().String())}
		}
		p["type"], p["daysOfWeek"], p["firstDayOfWeek"] = "weekly", days, "monday"
	case o.Freq == rrule.MONTHLY && !relative:
		p["type"], p["dayOfMonth"] = "absoluteMonthly", day
	case o.Freq == rrule.MONTHLY && name != "":
		p["type"], p["daysOfWeek"], p["index"] = "relativeMonthly", days, name
	case o.Freq == rrule.YEARLY && !relative:
		p["type"], p["dayOfMonth"], p["month"] = "absoluteYearly", day, month
	case o.Freq == rrule.YEARLY && name != "":
		p["type"], p["daysOfWeek"], p["index"], p["month"] = "relativeYearly", days, name, month
	default:
		return nil
	}
	return p
}
