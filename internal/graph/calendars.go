package graph

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Calendars lists the calendars that a user sees: also those that others share.
func (t *Tenant) Calendars(ctx context.Context, user, link string) (RawPage, error) {
	const op = "list calendars"
	if err := given(op, user); err != nil {
		return RawPage{}, err
	}
	return t.mailPage(ctx, t.outlookRead(op, user, 0, listQuery(folderPage, "", ""), "calendars"), link, false)
}

// Events lists the single events and the masters of series of a calendar, at most pageSize a page, with
// the properties that sel names (comma separated; "" all) and the string extended property prop ("" none).
func (t *Tenant) Events(ctx context.Context, user, calendar, sel, prop, link string, pageSize int) (RawPage, error) {
	const op = "list events"
	if err := given(op, user, calendar); err != nil {
		return RawPage{}, err
	}
	return t.mailPage(ctx, t.outlookRead(op, user, 0, listQuery(pageSize, sel, prop), "calendars", calendar, "events"), link, false)
}

// Event returns one event as Graph describes it.
func (t *Tenant) Event(ctx context.Context, user, event string) (jsontext.Value, error) {
	return t.event(ctx, "read an event", user, event, nil)
}

// EventSeries returns what is special in a series: the master's cancelledOccurrences and its
// exceptionOccurrences, whole.
func (t *Tenant) EventSeries(ctx context.Context, user, event string) (jsontext.Value, error) {
	return t.event(ctx, "read the exceptions of a series", user, event,
		url.Values{"$select": {"id,cancelledOccurrences"}, "$expand": {"exceptionOccurrences"}})
}

func (t *Tenant) event(ctx context.Context, op, user, event string, query url.Values) (jsontext.Value, error) {
	if err := given(op, user, event); err != nil {
		return nil, err
	}
	doc, err := t.document(ctx, t.outlookRead(op, user, 0, query, "events", event))
	return doc, t.judged(ctx, mailError(err), t.itemProbe(user, OfEvent, event))
}

// Instances lists the occurrences and exceptions of a series between two times.
func (t *Tenant) Instances(ctx context.Context, user, event string, from, to time.Time, link string) (RawPage, error) {
	const op = "list the occurrences of a series"
	if err := given(op, user, event); err != nil {
		return RawPage{}, err
	}
	const graphTime = "2006-01-02T15:04:05.0000000"
	query := listQuery(findPage, "", "")
	query.Set("startDateTime", from.UTC().Format(graphTime))
	query.Set("endDateTime", to.UTC().Format(graphTime))
	return t.mailPage(ctx, t.outlookRead(op, user, 0, query, "events", event, "instances"), link, false)
}

// CreateCalendar creates a calendar. Conflict: the name is taken.
func (t *Tenant) CreateCalendar(ctx context.Context, user, name string) (id string, err error) {
	const op = "create a calendar"
	if err := given(op, user, name); err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		return "", tenantry.E(tenantry.Invalid, op, err)
	}
	return t.createdOnce(ctx, op, user, body, "calendars")
}

// CreateEvent creates an event in a calendar from its JSON. Microsoft sends invitations for an event that
// is created with attendees ("create event"), so one that has any is refused here, as Invalid. With a
// transactionId in it the request may be repeated: it makes one event.
func (t *Tenant) CreateEvent(ctx context.Context, user, calendar string, body []byte) (id string, err error) {
	const op = "create an event"
	if err := given(op, user, calendar); err != nil {
		return "", err
	}
	if err := inviteNobody(op, body); err != nil {
		return "", err
	}
	id, err = t.identifier(ctx, t.mailWrite(op, http.MethodPost, user, body, "calendars", calendar, "events"))
	return id, mailError(err)
}

// UpdateEvent changes an event, or makes an exception of an occurrence, by the JSON of what differs. What
// could send mail is refused as Invalid.
func (t *Tenant) UpdateEvent(ctx context.Context, user, event string, body []byte) error {
	const op = "change an event"
	if err := given(op, user, event); err != nil {
		return err
	}
	if err := inviteNobody(op, body); err != nil {
		return err
	}
	return mailError(t.accepted(ctx, t.mailWrite(op, http.MethodPatch, user, body, "events", event)))
}

// inviteNobody refuses a body with attendees: a restore never sends anything.
func inviteNobody(op string, body []byte) error {
	var event struct {
		Attendees []json.RawMessage `json:"attendees"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return tenantry.E(tenantry.Invalid, op, err)
	}
	if len(event.Attendees) > 0 {
		return tenantry.Errorf(tenantry.Invalid, "%s: with attendees it would send invitations", op)
	}
	return nil
}

// DeleteEvent deletes an event without attendees, or cancels an occurrence of a series without any; that
// it is gone already is no error.
func (t *Tenant) DeleteEvent(ctx context.Context, user, event string) error {
	return t.deleteItem(ctx, "delete an event", user, "events", event)
}
