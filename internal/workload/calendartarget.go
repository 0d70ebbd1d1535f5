package workload

import (
	"context"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// calendarTarget writes events into one mailbox. Nobody is invited: attendees are kept in a property of
// ours, not among the attendees.
type calendarTarget[P Pages] struct {
	api         CalendarWriter[P]
	user        string
	folder      string
	conflict    string
	attachments attachmentTarget[P]
	said        *notes

	mu        sync.Mutex // guards what follows
	calendars map[string]string
	home      string
	present   presences
}

func newCalendarTarget[P Pages](api CalendarWriter[P], user, folder, conflict string, said *notes) *calendarTarget[P] {
	return &calendarTarget[P]{
		api: api, user: user, folder: folder, conflict: conflict, said: said,
		attachments: attachmentTarget[P]{api: api, user: user, of: ofEvent, said: said},
	}
}

// Folder finds or makes the calendar that stands for e. Calendars are not nested: those of a restore into
// a folder have its name before their own.
func (t *calendarTarget[P]) Folder(ctx context.Context, e repository.Entry, raw []byte) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var c calendar
	if err := parse("a stored calendar", raw, &c); err != nil {
		return "", err
	}
	if err := t.load(ctx); err != nil {
		return "", err
	}
	name := e.Name
	switch {
	case t.folder != "":
		name = t.folder + " - " + name
	case c.Default && t.home != "":
		return t.home, nil
	}
	id, err := t.findOrMake(ctx, name)
	if tenantry.KindOf(err) == tenantry.Conflict { // one that others share has the name
		return t.findOrMake(ctx, name+" (restored)")
	}
	return id, err
}

// load lists the calendars, once. Those that others share are not to be written to.
func (t *calendarTarget[P]) load(ctx context.Context) error {
	if t.calendars != nil {
		return nil
	}
	all, err := calendars(ctx, t.api, t.user)
	if err != nil {
		return err
	}
	t.calendars = map[string]string{}
	for _, c := range owned(all) {
		t.calendars[strings.ToLower(c.Name)] = c.ID
		if c.Default {
			t.home = c.ID
		}
	}
	return nil
}

func (t *calendarTarget[P]) findOrMake(ctx context.Context, name string) (string, error) {
	key := strings.ToLower(name)
	if id, ok := t.calendars[key]; ok {
		return id, nil
	}
	id, err := t.api.CreateCalendar(ctx, t.user, name)
	if mayExist(err) {
		t.calendars = nil
		if again := t.load(ctx); again != nil {
			return "", again
		}
		if known := t.calendars[key]; known != "" {
			return known, nil
		}
	}
	if err != nil {
		return "", err
	}
	t.calendars[key] = id
	return id, nil
}

// mayExist reports whether what could not be made may be there: made by somebody else since we looked, or
// by a request of which only the answer was lost.
func mayExist(err error) bool {
	kind := tenantry.KindOf(err)
	return kind == tenantry.Conflict || kind == tenantry.Transient
}

// calendar returns the ID of the calendar that the engine names.
func (t *calendarTarget[P]) calendar(ctx context.Context, folder string) (string, error) {
	if folder != "" && folder != partCalendars {
		return folder, nil
	}
	if err := t.load(ctx); err != nil {
		return "", err
	}
	if t.folder != "" {
		return t.findOrMake(ctx, t.folder)
	}
	if t.home == "" {
		return "", tenantry.Errorf(tenantry.NotFound, "restore an event: the mailbox has no default calendar")
	}
	return t.home, nil
}

// Item writes an event or a whole series, unless it is there.
func (t *calendarTarget[P]) Item(ctx context.Context, folder string, e repository.Entry, raw []byte, open engine.OpenPart) (engine.Written, error) {
	ev, err := newRestoredEvent(e, raw)
	if err != nil {
		return engine.Written{}, err
	}
	t.mu.Lock()
	calendar, err := t.calendar(ctx, folder)
	there := t.present.of(calendar)
	t.mu.Unlock()
	if err != nil {
		return engine.Written{}, err
	}
	list := func(property string, visit func(jsontext.Value) error) error {
		return walk(func(link string) (P, error) {
			return t.api.Events(ctx, t.user, calendar, presentSelect+",type", property, link, versionPage)
		}, visit)
	}
	if err := there.load(list); err != nil {
		return engine.Written{}, err
	}
	return settle(ctx, there, &ev.restored, t.conflict, itemWriter{
		create: func(ctx context.Context) (string, error) {
			// However often the request is repeated, it makes one event. The number is of this creation: what
			// was deleted since an earlier one can be restored again.
			body := append(ev.body[:len(ev.body)-1:len(ev.body)-1], `,"transactionId":"`+uuid.NewString()+`"}`...)
			return t.api.CreateEvent(ctx, t.user, calendar, body)
		},
		complete: func(ctx context.Context, id string, fresh bool) error {
			return t.complete(ctx, id, fresh, e, ev, open)
		},
		remove: func(ctx context.Context, id string) error { return t.api.DeleteEvent(ctx, t.user, id) },
		list:   list,
	})
}

// complete adds attachments, and what is special in a series.
func (t *calendarTarget[P]) complete(ctx context.Context, id string, fresh bool, e repository.Entry, ev *restoredEvent, open engine.OpenPart) error {
	if len(ev.event.Attendees) > 0 {
		t.said.say(attendeesNote)
	}
	lost := t.attachments.attach(ctx, id, fresh, e, attachmentsPart, open)
	if lost != nil && tenantry.KindOf(lost) != tenantry.Poison {
		return lost
	}
	if err := t.series(ctx, id, e, ev, open); err != nil {
		return err
	}
	return lost
}
