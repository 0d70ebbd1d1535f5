package workload

import (
	"bytes"
	"context"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	kindCalendar = "calendar"
	kindEvent    = "event"

	// calendarID precedes the ID of a calendar, which is that of a folder.
	calendarID = "calendar:"
	// seriesPart is what is special in a series: its exceptions and cancelled occurrences.
	seriesPart = "series.json"
	typeMaster = "seriesMaster"

	// Events come with their bodies: field practice found that 500 a page answer with empty 503s.
	maxEventPage = 50
	minEventPage = 10
	// versionPage is how many events a page holds that shows their versions alone.
	versionPage   = 250
	versionSelect = "id,changeKey,lastModifiedDateTime"

	// versions precedes the links of a list that shows versions alone; it is what a calendar is asked for
	// once it was read whole.
	versions = "versions "
)

// calendarSource reads the calendars of one mailbox. Their delta is documented for a window of the primary
// calendar alone, so they are read whole once, and then compared by their change keys.
type calendarSource[P Pages] struct {
	api         CalendarReader[P]
	user        string
	attachments attachmentSource[P]
	size        *pageSize // of whole events
	versionSize *pageSize // of versions
}

func newCalendarSource[P Pages](api CalendarReader[P], user string) *calendarSource[P] {
	return &calendarSource[P]{
		api: api, user: user, size: &pageSize{n: maxEventPage, min: minEventPage, max: maxEventPage},
		versionSize: &pageSize{n: versionPage, min: minEventPage, max: versionPage}, attachments: attachmentSource[P]{api: api, user: user, of: ofEvent},
	}
}

type calendar struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Default bool   `json:"isDefaultCalendar"`
	Owner   struct {
		Address string `json:"address"`
	} `json:"owner"`
	raw jsontext.Value
}

// calendarPage lists the calendars that belong to the mailbox: those that others share with it are saved
// with theirs.
func (s *calendarSource[P]) calendarPage(ctx context.Context) (engine.Page, error) {
	all, err := calendars(ctx, s.api, s.user)
	if err != nil {
		return engine.Page{}, err
	}
	list := newChanges(len(all))
	for _, c := range owned(all) {
		id := calendarID + c.ID
		list.put(engine.Item{
			ID: id, Parent: partCalendars, Kind: kindCalendar, Name: c.Name, Collection: id, ETag: digest(c.raw), Raw: c.raw,
		})
	}
	p := list.page("", true)
	p.Listed = true
	return p, nil
}

// calendars lists what calendars a user sees.
func calendars[P Pages](ctx context.Context, api CalendarLister[P], user string) ([]calendar, error) {
	var all []calendar
	err := walk(func(link string) (P, error) { return api.Calendars(ctx, user, link) }, func(raw jsontext.Value) error {
		c := calendar{raw: raw}
		if err := parse("a calendar", raw, &c); err != nil {
			return err
		}
		if c.ID == "" {
			return tenantry.Errorf(tenantry.Internal, "read a calendar: it has no ID")
		}
		all = append(all, c)
		return nil
	})
	return all, err
}

// owned leaves out the calendars of others: those whose owner is not that of the default calendar.
func owned(all []calendar) []calendar {
	self := ""
	for _, c := range all {
		if c.Default {
			self = c.Owner.Address
		}
	}
	var mine []calendar
	for _, c := range all {
		if self == "" || c.Owner.Address == "" || strings.EqualFold(c.Owner.Address, self) {
			mine = append(mine, c)
		}
	}
	return mine
}

// page reads a page of a calendar: of whole events, or of their versions.
func (s *calendarSource[P]) page(ctx context.Context, calendar, link string) (engine.Page, error) {
	if next, ok := strings.CutPrefix(link, versions); ok {
		return s.versions(ctx, calendar, next)
	}
	got, err := s.read(s.size, link, func(size int) (P, error) { return s.api.Events(ctx, s.user, calendar, "", "", link, size) })
	if err != nil {
		return engine.Page{}, err
	}
	p := page(got)
	list := newChanges(len(p.Items))
	for _, raw := range p.Items {
		item, err := s.item(calendar, raw)
		if err != nil {
			return engine.Page{}, err
		}
		list.put(item)
	}
	if p.Done {
		p.Next = versions
	}
	out := list.page(p.Next, p.Done)
	out.Listed = true
	return out, nil
}

// read reads a page, a first one in a size that the service answers in time: the link of another has its size in it.
func (s *calendarSource[P]) read(size *pageSize, link string, read func(size int) (P, error)) (P, error) {
	if link != "" {
		return read(size.get())
	}
	return sized(size, read)
}

// versions reads a page that shows which events there are, and in which version.
func (s *calendarSource[P]) versions(ctx context.Context, calendar, link string) (engine.Page, error) {
	got, err := s.read(s.versionSize, link, func(size int) (P, error) {
		return s.api.Events(ctx, s.user, calendar, versionSelect, "", link, size)
	})
	if err != nil {
		return engine.Page{}, err
	}
	p := page(got)
	list := newChanges(len(p.Items))
	for _, raw := range p.Items {
		var e event
		if err := e.parse(raw); err != nil {
			return engine.Page{}, err
		}
		list.put(engine.Item{
			ID: e.ID, Parent: calendarID + calendar, Kind: kindEvent, ETag: version(e.ChangeKey, e.ETag, raw),
			Load: func(ctx context.Context) (engine.Item, error) {
				whole, err := s.api.Event(ctx, s.user, e.ID)
				if err != nil {
					return engine.Item{}, err
				}
				return s.item(calendar, whole)
			},
		})
	}
	out := list.page(versions+p.Next, p.Done)
	out.Listed = true
	return out, nil
}

type event struct {
	ID          string   `json:"id"`
	ETag        string   `json:"@odata.etag"`
	ChangeKey   string   `json:"changeKey"`
	Subject     string   `json:"subject"`
	Type        string   `json:"type"`
	Modified    string   `json:"lastModifiedDateTime"`
	Attachments bool     `json:"hasAttachments"`
	Organizer   person   `json:"organizer"`
	Attendees   []person `json:"attendees"`
	hidden      bool     // attachments within the text, which hasAttachments may not count
}

func (e *event) parse(raw jsontext.Value) error {
	if err := parse("an event", raw, e); err != nil {
		return err
	}
	if e.ID == "" {
		return tenantry.Errorf(tenantry.Internal, "read an event: it has no ID")
	}
	e.hidden = bytes.Contains(raw, []byte("cid:")) || bytes.Contains(raw, []byte("CID:"))
	return nil
}

func (s *calendarSource[P]) item(calendar string, raw jsontext.Value) (engine.Item, error) {
	var e event
	if err := e.parse(raw); err != nil {
		return engine.Item{}, err
	}
	item := engine.Item{
		ID: e.ID, Parent: calendarID + calendar, Kind: kindEvent, Name: e.Subject, ETag: version(e.ChangeKey, e.ETag, raw),
		Modified: instant(e.Modified), Size: int64(len(raw)), Raw: raw, From: e.Organizer.String(), To: people(e.Attendees),
	}
	if e.Attachments || e.hidden || e.Type == typeMaster {
		item.Parts = func(ctx context.Context) ([]engine.ItemPart, error) { return s.parts(ctx, e) }
	}
	return item, nil
}

// parts reads what an event's own JSON does not have: the exceptions of a series, with their attachments,
// and its own attachments.
func (s *calendarSource[P]) parts(ctx context.Context, e event) ([]engine.ItemPart, error) {
	var parts []engine.ItemPart
	if e.Type == typeMaster {
		raw, err := s.api.EventSeries(ctx, s.user, e.ID)
		if err != nil {
			return nil, err
		}
		parts = append(parts, bytesPart(seriesPart, raw))
		var special series
		if err := parse("the exceptions of a series", raw, &special); err != nil {
			return nil, err
		}
		for _, exception := range special.Exceptions {
			var x event
			if err := x.parse(exception); err != nil {
				return nil, err
			}
			if x.Attachments || x.hidden {
				more, err := s.attachments.parts(ctx, x.ID, exceptionList(x.ID))
				if err != nil {
					return nil, err
				}
				parts = append(parts, more...)
			}
		}
	}
	if e.Attachments || e.hidden {
		more, err := s.attachments.parts(ctx, e.ID, attachmentsPart)
		return append(parts, more...), err
	}
	return parts, nil
}

// series is what EventSeries answers.
type series struct {
	Cancelled  []string         `json:"cancelledOccurrences"`
	Exceptions []jsontext.Value `json:"exceptionOccurrences"`
}

// exceptionList names the list of an exception's own attachments.
func exceptionList(exception string) string { return exception + "/" + attachmentsPart }

// reread reads the parts of an event of which nothing but the ID is known.
func (s *calendarSource[P]) reread(ctx context.Context, id string) ([]engine.ItemPart, error) {
	raw, err := s.api.Event(ctx, s.user, id)
	if err != nil {
		return nil, err
	}
	var e event
	if err := e.parse(raw); err != nil {
		return nil, err
	}
	return s.parts(ctx, e)
}
