package graphsim

import (
	"path/filepath"
	"strings"
)

// pimItem is a contact or an event as JSON members, without ID and dates.
type pimItem struct {
	name    string
	members [][2]string // name, JSON
}

// pimStore is the contacts and events of a mailbox. They do not change yet.
type pimStore struct {
	contacts, events []pimItem
}

func pimRoutes() []route {
	return []route{
		{method: "GET", pattern: "users/{user}/contactFolders", service: outlook, roles: rolesContacts, handle: listContactFolders},
		{method: "GET", pattern: "users/{user}/contactFolders/delta", service: outlook, roles: rolesContacts, handle: listContactFolders},
		{method: "GET", pattern: "users/{user}/contacts", service: outlook, roles: rolesContacts, handle: listContacts},
		{method: "GET", pattern: "users/{user}/contactFolders/{folder}/contacts", service: outlook, roles: rolesContacts, handle: listContacts},
		{method: "GET", pattern: "users/{user}/contactFolders/{folder}/contacts/delta", service: outlook, roles: rolesContacts, handle: contactsDelta},
		{method: "GET", pattern: "users/{user}/calendars", service: outlook, roles: rolesCalendars, handle: listCalendars},
		{method: "GET", pattern: "users/{user}/calendars/{calendar}/events", service: outlook, roles: rolesCalendars, handle: listEvents},
		{method: "GET", pattern: "users/{user}/events", service: outlook, roles: rolesCalendars, handle: listEvents},
		{method: "GET", pattern: "users/{user}/calendars/{calendar}/events/delta", service: outlook, roles: rolesCalendars, handle: eventsDelta},
	}
}

// The one contact folder and the one calendar of each mailbox.
const (
	contactsFolder = 1
	calendarFolder = 2
)

func listContactFolders(c *call) error {
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	o := newObject(c.sel)
	o.str("id", b.itemID('C', contactsFolder, 0))
	o.str("parentFolderId", b.wellKnown["msgfolderroot"].id())
	o.str("displayName", "Contacts")
	if strings.HasSuffix(c.canonical, "delta") {
		return c.page([][]byte{o.done()}, "", c.link("$deltatoken", c.s.seal(cursor{Collection: b.owner.id + "/contactFolders", Final: true})))
	}
	return c.page([][]byte{o.done()}, "", "")
}

func listCalendars(c *call) error {
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	o := newObject(c.sel)
	o.str("id", b.itemID('K', calendarFolder, 0))
	o.str("name", "Calendar")
	o.boolean("isDefaultCalendar", true)
	o.boolean("canEdit", true)
	o.raw("owner", `{"name":`+quoted(b.self.Name)+`,"address":`+quoted(b.self.Address)+`}`)
	return c.page([][]byte{o.done()}, "", "")
}

func (b *mailbox) renderItemOf(kind byte, i int, item pimItem, sel selection) []byte {
	o := newObject(sel)
	key := changeKey(uint64(i+1), 0)
	o.str("@odata.etag", `W/"`+key+`"`)
	o.str("id", b.itemID(kind, uint64(i+1), 0))
	o.instant("createdDateTime", epoch)
	o.instant("lastModifiedDateTime", epoch)
	o.str("changeKey", key)
	for _, m := range item.members {
		o.raw(m[0], m[1])
	}
	return o.done()
}

func listContacts(c *call) error {
	return c.listPIM('c', func(p *pimStore) []pimItem { return p.contacts })
}

func listEvents(c *call) error {
	return c.listPIM('e', func(p *pimStore) []pimItem { return p.events })
}

func (c *call) listPIM(kind byte, of func(*pimStore) []pimItem) error {
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	items := of(b.pim)
	return c.skipPage(len(items), c.pageSize(10, 1000), "$skip", func(i int) []byte { return b.renderItemOf(kind, i, items[i], c.sel) })
}

func contactsDelta(c *call) error {
	return c.pimDelta('c', "contacts", func(p *pimStore) []pimItem { return p.contacts })
}

func eventsDelta(c *call) error {
	return c.pimDelta('e', "events", func(p *pimStore) []pimItem { return p.events })
}

func (c *call) pimDelta(kind byte, name string, of func(*pimStore) []pimItem) error {
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	items := of(b.pim)
	src := deltaSource{collection: b.owner.id + "/" + name, generation: b.generation, log: &changeLog{},
		list: func(after uint64, limit int) (page [][]byte, reached uint64, more bool) {
			end := min(int(after)+limit, len(items))
			for i := int(after); i < end; i++ {
				page = append(page, b.renderItemOf(kind, i, items[i], c.sel))
			}
			return page, uint64(end), end < len(items)
		},
		render: func([]string) [][]byte { return nil },
	}
	return c.deltaPage(src, deltaOptions{nextParam: "$skiptoken", deltaParam: "$deltatoken", pageSize: c.pageSize(50, 1000), stale: staleMail})
}

// loadCards reads vCards, loosely: one contact per BEGIN:VCARD.
func loadCards(dir string) (items []pimItem, err error) {
	err = eachFile(dir, ".vcf", func(path string, raw []byte) {
		for _, card := range components(raw, "VCARD") {
			item := pimItem{name: filepath.Base(path)}
			set := func(name, value string) {
				if value != "" {
					item.members = append(item.members, [2]string{name, quoted(value)})
				}
			}
			set("displayName", card["FN"])
			family, rest, _ := strings.Cut(card["N"], ";")
			given, _, _ := strings.Cut(rest, ";")
			set("givenName", given)
			set("surname", family)
			set("companyName", strings.Split(card["ORG"], ";")[0])
			set("jobTitle", card["TITLE"])
			set("personalNotes", card["NOTE"])
			if mail := card["EMAIL"]; mail != "" {
				item.members = append(item.members, [2]string{"emailAddresses", `[{"name":` + quoted(card["FN"]) + `,"address":` + quoted(mail) + `}]`})
			}
			items = append(items, item)
		}
	})
	return items, err
}

// loadCalendars reads iCalendar files, loosely: one event per BEGIN:VEVENT.
func loadCalendars(dir string) (items []pimItem, err error) {
	err = eachFile(dir, ".ics", func(path string, raw []byte) {
		for _, event := range components(raw, "VEVENT") {
			item := pimItem{name: filepath.Base(path), members: [][2]string{
				{"iCalUId", quoted(event["UID"])}, {"subject", quoted(event["SUMMARY"])},
				{"body", `{"contentType":"text","content":` + quoted(event["DESCRIPTION"]) + `}`},
				{"start", icalTime(event["DTSTART"])}, {"end", icalTime(event["DTEND"])},
				{"location", `{"displayName":` + quoted(event["LOCATION"]) + `}`}, {"type", `"singleInstance"`},
			}}
			items = append(items, item)
		}
	})
	return items, err
}

// icalTime turns 20140829T080000 into a dateTimeTimeZone; anything else stays as it is.
func icalTime(s string) string {
	date := strings.TrimSuffix(s, "Z")
	if len(date) >= 8 {
		text := date[:4] + "-" + date[4:6] + "-" + date[6:8] + "T00:00:00"
		if len(date) >= 15 {
			text = text[:11] + date[9:11] + ":" + date[11:13] + ":" + date[13:15]
		}
		date = text + ".0000000"
	}
	return `{"dateTime":` + quoted(date) + `,"timeZone":"UTC"}`
}

// components returns the first value of each property of every component of a
// kind, without parameters.
func components(raw []byte, kind string) (list []map[string]string) {
	text := strings.NewReplacer("\r\n ", "", "\r\n\t", "", "\n ", "", "\n\t", "").Replace(valid(string(raw)))
	var current map[string]string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch strings.ToUpper(line) {
		case "BEGIN:" + kind:
			current = map[string]string{}
			continue
		case "END:" + kind:
			if current != nil {
				list = append(list, current)
			}
			current = nil
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || current == nil {
			continue
		}
		name, _, _ = strings.Cut(strings.ToUpper(name), ";")
		if _, dup := current[name]; !dup {
			current[name] = strings.NewReplacer(`\n`, "\n", `\,`, ",", `\;`, ";", `\\`, `\`).Replace(value)
		}
	}
	return list
}
