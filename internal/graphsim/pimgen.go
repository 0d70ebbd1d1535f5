package graphsim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// layOutPIM makes the folders and calendars of a mailbox and the items in them.
// Generated items are numbers only: what they say is made when it is read.
func (b *mailbox) layOutPIM() {
	p := b.pim
	group := p.putShelf(&shelf{kind: calendarGroupKind, name: "My Calendars"})
	others := p.putShelf(&shelf{kind: calendarGroupKind, name: "Other Calendars"})
	p.contacts = p.putShelf(&shelf{kind: contactFolderKind, name: "Contacts"})
	p.calendar = p.putShelf(&shelf{kind: calendarKind, name: "Calendar", group: group.number})
	p.tasks = p.putShelf(&shelf{kind: taskListKind, name: "Tasks"})
	if b.bare {
		return
	}
	p.lastNumber = firstShelf
	contacts, events := b.t.spec.ContactsPerUser, b.t.spec.EventsPerUser
	folders, calendars := []*shelf{p.contacts}, []*shelf{p.calendar}
	if contacts > 0 {
		partners := p.putShelf(&shelf{kind: contactFolderKind, name: "Partner & Söhne", parent: p.contacts})
		folders = append(folders, partners, p.putShelf(&shelf{kind: contactFolderKind, name: "連絡先/旧", parent: partners}))
	}
	if events > 0 {
		calendars = append(calendars,
			p.putShelf(&shelf{kind: calendarKind, name: "Projekte", group: group.number, values: props{"color": `"lightGreen"`}}))
		name, alias := person(b.t.seed, 0)
		p.putShelf(&shelf{kind: calendarKind, name: name, group: others.number, foreign: &address{name, alias + "@" + b.t.spec.Domain}})
	}
	p.lastNumber = firstContact - 1
	for range contacts {
		seed := mix(b.seed, 'c', p.lastNumber)
		p.put(contactKind, folders[min(2, seed%8)], nil, pimTime(seed))
	}
	p.lastNumber = firstEvent - 1
	for range events {
		seed := mix(b.seed, 'e', p.lastNumber)
		p.put(eventKind, calendars[min(1, seed%4)], nil, pimTime(seed))
	}
	if tasks := b.t.spec.TasksPerUser; tasks > 0 {
		lists := []*shelf{p.tasks, p.putShelf(&shelf{kind: taskListKind, name: "Einkauf 🛒"})}
		for range tasks {
			seed := mix(b.seed, 't', p.lastNumber)
			p.put(taskKind, lists[seed%2], nil, pimTime(seed))
		}
	}
	b.layOutSettings()
	p.lastNumber = firstWritten
	if b.corpus != nil {
		b.addCorpusItems(b.corpus)
	}
}

// Where the numbers of what the seed lays out begin.
const (
	firstShelf   = 100
	firstContact = 1_001
	firstEvent   = 10_000_001
	firstWritten = 20_000_000
)

func pimTime(seed uint64) time.Time { return epoch.Add(-time.Duration(seed%31_000_000) * time.Second) }

func set(v props, name string, value any) {
	data, _ := json.Marshal(value)
	v[name] = string(data)
}

// put sets a property as a client would, through its form.
func (e *schema) put(v props, name string, value any) {
	data, _ := json.Marshal(value)
	if text, err := e.byName[name].form(data); err == nil {
		v[name] = text
	}
}

// generateContact makes the content of a seeded contact.
func (b *mailbox) generateContact(number uint64) *pimContent {
	seed := mix(b.seed, number, 'c')
	r := newRand(seed)
	l := languages[b.t.tongue(seed)]
	given, family := pick(r, l.given), pick(r, l.family)
	name := l.fullName(given, family)
	c := &pimContent{values: props{}, created: pimTime(seed).Add(-time.Hour)}
	put := func(name string, value any) { contactSchema.put(c.values, name, value) }
	put("givenName", given)
	put("surname", family)
	put("displayName", name)
	put("fileAs", family+", "+given)
	mails := []address{{name, latin(given, "given") + "." + latin(family, "family") + "@partner.example"}}
	if r.IntN(3) == 0 {
		mails = append(mails, address{given, fmt.Sprintf("%s%d@home.example", latin(given, "given"), r.IntN(100))})
	}
	put("emailAddresses", mails)
	put("mobilePhone", fmt.Sprintf("+49 170 %07d", r.IntN(10_000_000)))
	put("businessPhones", []string{fmt.Sprintf("+1 (425) 555-%04d", r.IntN(10_000))})
	put("companyName", pick(r, []string{"Contoso GmbH & Co. KG", "Société Générale d'Été", "株式会社サンプル", "O'Neil \"Quoted\" Ltd."}))
	put("jobTitle", l.sentence(r, 2))
	l.describe(put, given, family)
	if r.IntN(2) == 0 {
		put("businessAddress", map[string]string{"street": cmp.Or(l.street, "Straße 12\r\nHinterhaus"), "city": cmp.Or(l.city, "Łódź"), "state": "",
			"countryOrRegion": cmp.Or(l.country, "Polska"), "postalCode": "90-001"})
		put("birthday", time.Date(1950+r.IntN(55), time.Month(1+r.IntN(12)), 1+r.IntN(28), 11, 59, 0, 0, time.UTC))
	}
	if r.IntN(3) == 0 {
		put("personalNotes", l.sentence(r, 30)+"\r\n\r\n"+l.sentence(r, 10))
		put("categories", []string{pick(r, []string{"Blue category", "Kunde/Partner"})})
		put("imAddresses", []string{"sip:" + latin(given, "given") + "@partner.example"})
		put("spouseName", pick(r, l.given))
		put("children", []string{pick(r, l.given), pick(r, l.given)})
	}
	if r.IntN(4) == 0 {
		c.photo, c.photoType = seededContent{seed: mix(seed, 'p') | 1, length: int64(2_000 + r.IntN(20_000))}, "image/jpeg"
	}
	return c
}

// describe gives a contact what its language has: a company, and how its name sounds.
func (l language) describe(put func(name string, value any), given, family string) {
	if l.company != "" {
		put("companyName", l.company)
	}
	if reading := l.readings[given]; reading != "" {
		put("yomiGivenName", reading)
		put("yomiSurname", l.readings[family])
	}
}

// latin is a name as an address has it; other where no letter is left.
func latin(name, other string) string { return cmp.Or(ascii(name), other) }

// generatedZones are the clocks events are made on.
var generatedZones = []string{"W. Europe Standard Time", "Pacific Standard Time", "Tokyo Standard Time", "UTC", "Europe/Vienna", "India Standard Time"}

// generateEvent makes the content of a seeded event: single, all day, or a series,
// some with exceptions, cancellations and attachments.
func (b *mailbox) generateEvent(number uint64) *pimContent {
	seed := mix(b.seed, number, 'e')
	r := newRand(seed)
	c := &pimContent{values: props{}, created: pimTime(seed).Add(-time.Hour)}
	put := func(name string, value any) { eventSchema.put(c.values, name, value) }
	l := languages[b.t.tongue(seed)]
	put("subject", l.sentence(r, 2+r.IntN(5)))
	put("body", map[string]string{"contentType": "html", "content": l.htmlBody(mix(seed, 'b'), 600+r.IntN(1_500), "")})
	room := pick(r, []string{"Room 1", "Büro Süd", "会議室 3", ""})
	if l.street != "" && room != "" {
		room = l.street + ", " + l.city
	}
	put("location", map[string]any{"displayName": room})
	put("locations", []json.RawMessage{json.RawMessage(c.values["location"])})
	clock := pick(r, generatedZones)
	day := epoch.AddDate(0, 0, r.IntN(500)-400)
	start := time.Date(day.Year(), day.Month(), day.Day(), 7+r.IntN(11), 15*r.IntN(4), 0, 0, time.UTC)
	end := start.Add(time.Duration(15*(1+r.IntN(8))) * time.Minute)
	if r.IntN(6) == 0 {
		start = day
		end = day.AddDate(0, 0, 1+r.IntN(3))
		put("isAllDay", true)
		put("showAs", "free")
	}
	put("start", zoned{start.Format(zonedLayout), clock})
	put("end", zoned{end.Format(zonedLayout), clock})
	set(c.values, "iCalUId", fmt.Sprintf("040000008200E00074C5B7101A82E008%016X%016X", mix(seed, 'u'), mix(seed, 'v')))
	b.decorateEvent(c, r)
	if r.IntN(3) == 0 {
		b.generateSeries(c, l, r, start, clock)
	}
	if r.IntN(5) == 0 {
		c.add(b.newFile(r, seed))
	}
	if r.IntN(12) == 0 {
		c.add(&attachment{kind: "item", name: "FW: " + l.sentence(r, 2), item: b.embedded(r, seed)})
	}
	return c
}

// decorateEvent adds what only some events have.
func (b *mailbox) decorateEvent(c *pimContent, r *rand.Rand) {
	put := func(name string, value any) { eventSchema.put(c.values, name, value) }
	if r.IntN(4) == 0 {
		put("categories", []string{pick(r, []string{"Red category", "Vertraulich 🔒"})})
		put("sensitivity", pick(r, []string{"private", "confidential", "personal"}))
		put("importance", "high")
		put("reminderMinutesBeforeStart", 5*r.IntN(10))
	}
	if r.IntN(4) == 0 {
		put("isReminderOn", false)
		put("showAs", pick(r, []string{"tentative", "oof", "workingElsewhere"}))
	}
	if r.IntN(3) > 0 {
		return
	}
	name, alias := person(mix(b.t.seed, 77), r.IntN(500))
	other := map[string]any{"emailAddress": address{name, alias + "@partner.example"}}
	self := map[string]any{"emailAddress": b.self, "type": "required"}
	put("attendees", []any{map[string]any{"emailAddress": other["emailAddress"], "type": "optional"}, self})
	if r.IntN(2) == 0 {
		set(c.values, "organizer", other)
		set(c.values, "responseStatus", map[string]any{"response": "accepted", "time": formatTime(c.created)})
	}
}

func (b *mailbox) generateSeries(c *pimContent, l language, r *rand.Rand, start time.Time, clock string) {
	pattern := map[string]any{"interval": 1 + r.IntN(2)}
	weekday := strings.ToLower(start.Weekday().String())
	switch r.IntN(4) {
	case 0:
		pattern["type"] = "daily"
	case 1:
		pattern["type"], pattern["daysOfWeek"], pattern["firstDayOfWeek"] = "weekly", []string{weekday}, "monday"
	case 2:
		pattern["type"], pattern["dayOfMonth"] = "absoluteMonthly", start.Day()
	default:
		pattern["type"], pattern["daysOfWeek"], pattern["index"] = "relativeMonthly", []string{weekday}, "last"
	}
	span := map[string]any{"startDate": start.Format(time.DateOnly), "recurrenceTimeZone": clock}
	switch r.IntN(3) {
	case 0:
		span["type"] = "noEnd"
	case 1:
		span["type"], span["numberOfOccurrences"] = "numbered", 4+r.IntN(20)
	default:
		span["type"], span["endDate"] = "endDate", start.AddDate(0, 6+r.IntN(12), 0).Format(time.DateOnly)
	}
	eventSchema.put(c.values, "recurrence", map[string]any{"pattern": pattern, "range": span})
	if checkSeries(c.values) != nil || recurrenceOf(c.values) == nil {
		c.values["recurrence"] = "null"
		return
	}
	c.series = &series{exceptions: map[string]*pimContent{}}
	from := c.values.zoned("start").at()
	dates := c.occurrences(from, from.AddDate(0, 6, 0))
	if len(dates) < 4 {
		return
	}
	if r.IntN(2) == 0 {
		c.cancel(dates[1].date)
	}
	if r.IntN(2) == 0 {
		moved := dates[2].start.Add(30 * time.Minute)
		exception := &pimContent{values: props{}, created: c.created}
		if !c.values.boolean("isAllDay") {
			eventSchema.put(exception.values, "start", zoned{moved.Format(zonedLayout), clock})
			eventSchema.put(exception.values, "end", zoned{dates[2].end.Add(30 * time.Minute).Format(zonedLayout), clock})
		}
		eventSchema.put(exception.values, "subject", "Moved: "+l.sentence(r, 3))
		c.series.exceptions[dates[2].date] = exception
	}
}

// generateTask makes the content of a seeded task.
func (b *mailbox) generateTask(number uint64) *pimContent {
	seed := mix(b.seed, number, 't')
	r := newRand(seed)
	c := &pimContent{values: props{}, parts: map[string]entryList{}, created: pimTime(seed).Add(-time.Hour)}
	put := func(name string, value any) { taskSchema.put(c.values, name, value) }
	l := languages[b.t.tongue(seed)]
	put("title", l.sentence(r, 2+r.IntN(5)))
	put("body", map[string]string{"contentType": "text", "content": l.sentence(r, r.IntN(20))})
	due := zoned{epoch.AddDate(0, 0, r.IntN(90)-60).Format(zonedLayout), "UTC"}
	switch r.IntN(4) {
	case 0:
		put("status", "completed")
		put("completedDateTime", due)
	case 1:
		put("dueDateTime", due)
		put("isReminderOn", true)
		put("reminderDateTime", due)
		put("importance", "high")
	}
	for range r.IntN(4) {
		v := props{}
		checklistSchema.put(v, "displayName", l.sentence(r, 3))
		checklistSchema.put(v, "isChecked", r.IntN(2) == 0)
		c.parts["checklistItems"], _ = c.parts["checklistItems"].with(v)
	}
	if r.IntN(5) == 0 {
		v := props{}
		linkSchema.put(v, "displayName", l.sentence(r, 2))
		linkSchema.put(v, "applicationName", "Mail")
		linkSchema.put(v, "webUrl", "https://partner.example/1")
		c.parts["linkedResources"], _ = c.parts["linkedResources"].with(v)
	}
	return c
}

// layOutSettings gives a generated mailbox a rule, categories and settings of its own.
func (b *mailbox) layOutSettings() {
	p := b.pim
	if b.t.spec.ContactsPerUser+b.t.spec.EventsPerUser+b.t.spec.TasksPerUser == 0 {
		return
	}
	for i, name := range []string{"Red category", "Kunde/Partner", "Vertraulich 🔒"} {
		v := props{}
		categorySchema.put(v, "displayName", name)
		categorySchema.put(v, "color", fmt.Sprintf("preset%d", i))
		p.categories, _ = p.categories.with(v)
	}
	v := props{}
	ruleSchema.put(v, "displayName", "Invoices")
	ruleSchema.put(v, "conditions", map[string]any{"subjectContains": []string{"Rechnung", "invoice"}})
	ruleSchema.put(v, "actions", map[string]any{"moveToFolder": b.wellKnown["archive"].id(), "stopProcessingRules": true})
	p.rules, _ = p.rules.with(v)
	p.settings = props{}
	settingsSchema.put(p.settings, "timeZone", "W. Europe Standard Time")
	settingsSchema.put(p.settings, "automaticRepliesSetting", map[string]any{"status": "scheduled", "internalReplyMessage": "<p>Bin in Züri</p>",
		"scheduledStartDateTime": zoned{"2026-12-24T00:00:00", "W. Europe Standard Time"}})
}
