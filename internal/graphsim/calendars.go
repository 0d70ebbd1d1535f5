package graphsim

import (
	"encoding/json"
	"net/http"
	"strings"
)

// calendarSchema is what clients can set of a calendar.
var calendarSchema = newSchema("calendar",
	field{name: "id"}, field{name: "changeKey"}, field{name: "owner"}, field{name: "canEdit"}, field{name: "canShare"},
	field{name: "canViewPrivateItems"}, field{name: "isRemovable"}, field{name: "isTallyingResponses"},
	field{name: "allowedOnlineMeetingProviders"},
	field{name: "name", form: textForm},
	field{name: "color", def: `"auto"`, form: oneOf("auto", "lightBlue", "lightGreen", "lightOrange", "lightGray",
		"lightYellow", "lightTeal", "lightPink", "lightBrown", "lightRed", "maxColor")},
	field{name: "hexColor", form: textForm, def: `""`},
	field{name: "isDefaultCalendar", form: booleanForm},
	field{name: "defaultOnlineMeetingProvider", form: oneOf("unknown", "teamsForBusiness", "skypeForBusiness", "skypeForConsumer"), def: `"unknown"`},
)

func calendarRoutes() []route {
	const user = "users/{user}/"
	read := func(r route) route { r.service, r.roles = outlook, rolesCalendars; return r }
	write := func(r route) route { r.service, r.roles = outlook, rolesCalendarsWrite; return r }
	list := pathsTo([]string{user + "calendars", user + "calendarGroups/{calendarGroup}/calendars"},
		read(route{method: "GET", handle: listCalendars}), write(route{method: "POST", handle: createCalendar}),
		read(route{method: "GET", pattern: "{calendar}", handle: getCalendar}),
		write(route{method: "PATCH", pattern: "{calendar}", handle: patchCalendar}),
		write(route{method: "DELETE", pattern: "{calendar}", handle: deleteCalendar}),
		write(route{method: "POST", pattern: "{calendar}/permanentDelete", handle: deleteCalendar}))
	list = append(list, read(route{method: "GET", pattern: user + "calendar", handle: getCalendar}),
		write(route{method: "PATCH", pattern: user + "calendar", handle: patchCalendar}))
	return append(list, pathsTo([]string{user + "calendarGroups"},
		read(route{method: "GET", handle: listCalendarGroups}), write(route{method: "POST", handle: createCalendarGroup}),
		read(route{method: "GET", pattern: "{calendarGroup}", handle: getCalendarGroup}),
		write(route{method: "PATCH", pattern: "{calendarGroup}", handle: patchCalendarGroup}),
		write(route{method: "DELETE", pattern: "{calendarGroup}", handle: deleteCalendarGroup}))...)
}

// withCalendar calls do with the calendar of the request, the default one if it
// names none, under the mailbox's lock.
func (c *call) withCalendar(do func(*mailbox, *shelf) error) error {
	return c.withBox(func(b *mailbox) error {
		s := b.store().calendar
		if id := c.param("calendar"); id != "" {
			var err error
			if s, err = b.findShelf(calendarKind, id); err != nil {
				return err
			}
		}
		if id := c.param("calendarGroup"); id != "" {
			g, err := b.findShelf(calendarGroupKind, id)
			if err != nil || g.number != s.group {
				return mailItemNotFound()
			}
		}
		return do(b, s)
	})
}

func (b *mailbox) renderCalendar(s *shelf, sel selection) []byte {
	o := newObject(sel)
	standard := s == b.store().calendar
	o.str("id", b.shelfID(s))
	o.str("name", s.name)
	o.str("changeKey", changeKey(s.number, s.revision))
	o.boolean("canShare", s.foreign == nil)
	o.boolean("canViewPrivateItems", s.foreign == nil)
	o.boolean("canEdit", s.foreign == nil)
	o.raw("allowedOnlineMeetingProviders", `["teamsForBusiness"]`)
	o.boolean("isTallyingResponses", standard)
	o.boolean("isRemovable", !standard)
	v := props{"isDefaultCalendar": "false"}
	if standard {
		v["isDefaultCalendar"] = "true"
	}
	for name, value := range s.values {
		v[name] = value
	}
	calendarSchema.render(o, v)
	owner := b.self
	if s.foreign != nil {
		owner = *s.foreign
	}
	o.raw("owner", `{"name":`+quoted(owner.Name)+`,"address":`+quoted(owner.Address)+`}`)
	return o.done()
}

func listCalendars(c *call) error {
	return c.withBox(func(b *mailbox) error {
		list := b.store().list(calendarKind, nil)
		if id := c.param("calendarGroup"); id != "" {
			g, err := b.findShelf(calendarGroupKind, id)
			if err != nil {
				return err
			}
			list = b.store().list(calendarKind, func(s *shelf) bool { return s.group == g.number })
		}
		return c.list(listing{count: len(list), usual: 10, most: 1000, param: "$skip",
			render: func(i int) []byte { return b.renderCalendar(list[i], c.sel) },
			full:   func(i int) []byte { return b.renderCalendar(list[i], nil) }})
	})
}

func getCalendar(c *call) error {
	return c.withCalendar(func(b *mailbox, s *shelf) error { return c.json(http.StatusOK, b.renderCalendar(s, c.sel)) })
}

// applyCalendar writes a client's JSON into a calendar.
func (b *mailbox) applyCalendar(s *shelf, in map[string]json.RawMessage) error {
	v := props{}
	if err := calendarSchema.read(in, v); err != nil {
		return err
	}
	if name, ok := v["name"]; ok {
		text := v.text("name")
		switch other := b.store().calendarNamed(text); {
		case strings.TrimSpace(text) == "":
			return fail(http.StatusBadRequest, "ErrorInvalidRequest", "The name %s is no name.", name)
		case other != nil && other != s:
			return folderExists()
		}
		s.name = text
		delete(v, "name")
	}
	delete(v, "isDefaultCalendar") // the service's own in all mailboxes of this simulator
	merged := props{}
	for _, from := range []props{s.values, v} {
		for name, value := range from {
			merged[name] = value
		}
	}
	s.values = merged
	return nil
}

func (p *pimStore) calendarNamed(name string) *shelf { return p.named(calendarKind, nil, name) }

func createCalendar(c *call) error {
	var in map[string]json.RawMessage
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withBox(func(b *mailbox) error {
		p := b.store()
		s := &shelf{kind: calendarKind, group: p.list(calendarGroupKind, nil)[0].number}
		if id := c.param("calendarGroup"); id != "" {
			g, err := b.findShelf(calendarGroupKind, id)
			if err != nil {
				return err
			}
			s.group = g.number
		}
		if _, ok := in["name"]; !ok {
			return fail(http.StatusBadRequest, "ErrorInvalidRequest", "The calendar has no name.")
		}
		if err := b.applyCalendar(s, in); err != nil {
			return err
		}
		p.noteShelf(p.putShelf(s))
		return c.json(http.StatusCreated, b.renderCalendar(s, nil))
	})
}

func patchCalendar(c *call) error {
	var in map[string]json.RawMessage
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withCalendar(func(b *mailbox, s *shelf) error {
		if s.foreign != nil {
			return calendarDenied()
		}
		if err := b.applyCalendar(s, in); err != nil {
			return err
		}
		b.store().noteShelf(s)
		return c.json(http.StatusOK, b.renderCalendar(s, nil))
	})
}

func calendarDenied() *apiError {
	return fail(http.StatusForbidden, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
}

func deleteCalendar(c *call) error {
	return c.withCalendar(func(b *mailbox, s *shelf) error {
		if s == b.store().calendar {
			return fail(http.StatusForbidden, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")
		}
		b.dropShelf(s)
		return c.empty(http.StatusNoContent)
	})
}

func (b *mailbox) renderCalendarGroup(s *shelf, sel selection) []byte {
	o := newObject(sel)
	o.str("id", b.shelfID(s))
	o.str("name", s.name)
	o.str("classId", guid(mix(b.seed, s.number)))
	o.str("changeKey", changeKey(s.number, s.revision))
	return o.done()
}

func listCalendarGroups(c *call) error {
	return c.withBox(func(b *mailbox) error {
		list := b.store().list(calendarGroupKind, nil)
		return c.list(listing{count: len(list), usual: 10, most: 1000, param: "$skip",
			render: func(i int) []byte { return b.renderCalendarGroup(list[i], c.sel) },
			full:   func(i int) []byte { return b.renderCalendarGroup(list[i], nil) }})
	})
}

func createCalendarGroup(c *call) error {
	name, err := c.readName("name")
	if err != nil {
		return err
	}
	return c.withBox(func(b *mailbox) error {
		p := b.store()
		if p.named(calendarGroupKind, nil, name) != nil {
			return folderExists()
		}
		s := p.putShelf(&shelf{kind: calendarGroupKind, name: name})
		p.noteShelf(s)
		return c.json(http.StatusCreated, b.renderCalendarGroup(s, nil))
	})
}

// withCalendarGroup calls do with the group of the request, under the mailbox's lock.
func (c *call) withCalendarGroup(do func(*mailbox, *shelf) error) error {
	return c.withBox(func(b *mailbox) error {
		s, err := b.findShelf(calendarGroupKind, c.param("calendarGroup"))
		if err != nil {
			return err
		}
		return do(b, s)
	})
}

func getCalendarGroup(c *call) error {
	return c.withCalendarGroup(func(b *mailbox, s *shelf) error { return c.json(http.StatusOK, b.renderCalendarGroup(s, c.sel)) })
}

func patchCalendarGroup(c *call) error {
	name, err := c.readName("name")
	if err != nil {
		return err
	}
	return c.withCalendarGroup(func(b *mailbox, s *shelf) error {
		s.name = name
		b.store().noteShelf(s)
		return c.json(http.StatusOK, b.renderCalendarGroup(s, nil))
	})
}

func deleteCalendarGroup(c *call) error {
	return c.withCalendarGroup(func(b *mailbox, s *shelf) error {
		p := b.store()
		if len(p.list(calendarKind, func(k *shelf) bool { return k.group == s.number })) > 0 {
			return fail(http.StatusBadRequest, "ErrorCalendarGroupIsNotEmpty", "The calendar group is not empty.")
		}
		s.gone = true
		p.noteShelf(s)
		return c.empty(http.StatusNoContent)
	})
}
