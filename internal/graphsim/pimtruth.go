package graphsim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-ical"
	"github.com/emersion/go-vcard"
)

// Shown is what programs show of an item. Truths are compared by their digests, which say
// what has to come back: whatever is shown is equal to anything else.
type Shown[T any] struct{ Of T }

// Equal is asked by comparisons.
func (Shown[T]) Equal(Shown[T]) bool { return true }

// ContactTruth is what a restore of one contact has to bring back.
type ContactTruth struct {
	ID   string `json:"id"`   // immutable
	Path string `json:"path"` // of the folder, by names from the default one; "/" in a name is %2F
	Name string `json:"name"`
	// Digest is the SHA-256 (hex) over every property that clients can write,
	// defaults filled in; neither IDs nor change keys nor times of the service.
	Digest string `json:"digest"`
	Photo  string `json:"photo,omitempty"` // SHA-256 (hex) of the picture
	// Card is what a vCard has of it. Only for tests in the same process.
	Card Shown[vcard.Card] `json:"-"`
}

// CalendarTruth is a calendar, a contact folder or a To Do list.
type CalendarTruth struct {
	ID      string `json:"id"`
	Path    string `json:"path"`
	Default bool   `json:"default,omitempty"`
	// Owner is the address of the person a shared calendar belongs to, "" of the mailbox's own.
	Owner string `json:"owner,omitempty"`
	Items int    `json:"items"`
}

// EventTruth is what a restore of one event or series has to bring back.
type EventTruth struct {
	ID       string `json:"id"`       // immutable
	Calendar string `json:"calendar"` // by name; "/" is %2F
	Shared   bool   `json:"shared,omitempty"`
	Subject  string `json:"subject"`
	Type     string `json:"type"` // singleInstance or seriesMaster
	// Digest is the SHA-256 (hex) over every property that clients can write,
	// times as moments together with the time zones they were given in (a series
	// that comes back in another zone moves when the clocks change). Left out is
	// what must not be written, since it would send mail, and what the service
	// sets: attendees, organizer, answers, online meeting, iCalUId, IDs.
	Digest      string            `json:"digest"`
	Attachments []AttachmentTruth `json:"attachments"`
	// Attendees are who is invited; to be kept, not to be invited again.
	Attendees []string `json:"attendees,omitempty"`
	// Exceptions and Cancelled are by the date of the original start (2026-01-31)
	// on the clock of the series.
	Exceptions []ExceptionTruth `json:"exceptions,omitempty"`
	Cancelled  []string         `json:"cancelled,omitempty"`
	// Form is what iCalendar has of it, without exceptions and what was cancelled. Only for tests in the same process.
	Form Shown[*ical.Event] `json:"-"`
}

// ExceptionTruth is a changed instance of a series: what it shows as a whole.
type ExceptionTruth struct {
	Date        string            `json:"date"`
	Digest      string            `json:"digest"`
	Attachments []AttachmentTruth `json:"attachments"`
}

// SentTruth is a message that a mailbox sent to somebody: an "invitation", an
// "update" or a "cancellation" of a meeting, or a "mail".
type SentTruth struct {
	Kind    string   `json:"kind"`
	Subject string   `json:"subject"`
	To      []string `json:"to"`
}

// escaped is a name as a part of a path.
func escaped(name string) string { return strings.NewReplacer("%", "%25", "/", "%2F").Replace(name) }

func (s *shelf) path() string {
	if s.parent == nil {
		return escaped(s.name)
	}
	return s.parent.path() + "/" + escaped(s.name)
}

func hashJSON(v any) string {
	data, _ := json.Marshal(v) // made of valid JSON
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// pimTruths collects the truth of the items of a kind, whatever the user's state.
func pimTruths[T any](t *Tenant, user string, shelfKind byte, order func(T) string, one func(*mailbox, *pimItem) (T, error)) ([]T, error) {
	list := []T{}
	err := t.withMailbox(user, func(b *mailbox) error {
		for _, s := range b.store().list(shelfKind, nil) {
			for _, it := range s.items {
				truth, err := one(b, it)
				if err != nil {
					return err
				}
				list = append(list, truth)
			}
		}
		return nil
	})
	slices.SortFunc(list, func(x, y T) int { return strings.Compare(order(x), order(y)) })
	return list, err
}

// ContactTruth returns every contact of a user, ordered by path and ID.
func (t *Tenant) ContactTruth(user string) ([]ContactTruth, error) {
	return pimTruths(t, user, contactFolderKind, func(c ContactTruth) string { return c.Path + "\x00" + c.ID },
		func(b *mailbox, it *pimItem) (ContactTruth, error) {
			c := b.contentOf(it)
			truth := ContactTruth{ID: b.pimID(it, true), Path: it.shelf.path(), Name: c.values.text("displayName"),
				Digest: hashJSON(contactSchema.canonical(c.values)), Card: Shown[vcard.Card]{contactCard(c.values)}}
			if c.photo == nil {
				return truth, nil
			}
			var err error
			truth.Photo, _, err = fingerprint(c.photo)
			return truth, err
		})
}

// EventTruth returns every event of a user's calendars, those shared by others
// too, ordered by calendar and ID.
func (t *Tenant) EventTruth(user string) ([]EventTruth, error) {
	return pimTruths(t, user, calendarKind, func(e EventTruth) string { return e.Calendar + "\x00" + e.ID },
		func(b *mailbox, it *pimItem) (EventTruth, error) { return b.eventTruth(it) })
}

func (b *mailbox) eventTruth(it *pimItem) (EventTruth, error) {
	c := b.contentOf(it)
	truth := EventTruth{ID: b.pimID(it, true), Calendar: it.shelf.path(), Shared: it.shelf.foreign != nil, Subject: c.values.text("subject"),
		Type: "singleInstance", Digest: eventDigest(c.values), Form: Shown[*ical.Event]{calendarEvent(c.values)}}
	var attendees []recipient
	c.values.into("attendees", &attendees)
	for _, a := range attendees {
		if a.EmailAddress != nil {
			truth.Attendees = append(truth.Attendees, a.EmailAddress.Address)
		}
	}
	var err error
	if truth.Attachments, err = truthOfAttachments(c.attachments); err != nil || c.series == nil {
		return truth, err
	}
	truth.Type, truth.Cancelled = "seriesMaster", slices.Clone(c.series.cancelled)
	for _, date := range slices.Sorted(maps.Keys(c.series.exceptions)) {
		o, ok := c.occurrence(date)
		if !ok {
			continue
		}
		attachments := c.attachments
		if own := o.exception.attachments; own != nil {
			attachments = own
		}
		exception := ExceptionTruth{Date: date, Digest: eventDigest(c.valuesAt(o))}
		if exception.Attachments, err = truthOfAttachments(attachments); err != nil {
			return truth, err
		}
		truth.Exceptions = append(truth.Exceptions, exception)
	}
	return truth, nil
}

// eventDigest is over what a restore can write, times as moments with their zones.
func eventDigest(v props) string {
	form := eventSchema.canonical(v)
	for _, name := range []string{"start", "end"} {
		z := v.zoned(name)
		moment := z.at().UTC().Format(time.RFC3339)
		if v.boolean("isAllDay") { // the same date everywhere
			moment = z.DateTime
		}
		form[name] = json.RawMessage(quoted(moment + " " + z.TimeZone))
	}
	return hashJSON(form)
}

// TaskTruth is what a restore of one task has to bring back.
type TaskTruth struct {
	ID    string `json:"id"`   // immutable
	List  string `json:"list"` // by name; "/" is %2F
	Title string `json:"title"`
	// Digest is the SHA-256 (hex) over every property that clients can write, and
	// over the checklist and the linked resources in their order.
	Digest      string            `json:"digest"`
	Attachments []AttachmentTruth `json:"attachments,omitempty"`
}

// TaskTruth returns every task of a user, ordered by list and ID.
func (t *Tenant) TaskTruth(user string) ([]TaskTruth, error) {
	return pimTruths(t, user, taskListKind, func(x TaskTruth) string { return x.List + "\x00" + x.ID },
		func(b *mailbox, it *pimItem) (TaskTruth, error) {
			c := b.contentOf(it)
			files, err := truthOfAttachments(c.attachments)
			return TaskTruth{ID: b.pimID(it, true), List: it.shelf.path(), Title: c.values.text("title"), Attachments: files, Digest: hashJSON([]any{
				taskSchema.canonical(c.values), canonicalEntries(checklist, c.parts["checklistItems"]), canonicalEntries(linked, c.parts["linkedResources"])})}, err
		})
}

func canonicalEntries(k *entryKind, l entryList) []map[string]json.RawMessage {
	list := []map[string]json.RawMessage{}
	for _, e := range l.entries {
		list = append(list, k.schema.canonical(e.values))
	}
	return list
}

// SettingTruth is a rule, a category or the settings of a mailbox. In the digest of a
// rule, the folders it names are paths.
type SettingTruth struct {
	Kind   string `json:"kind"` // rule, category or settings
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// SettingTruth returns the rules, the categories and the settings of a user.
func (t *Tenant) SettingTruth(user string) ([]SettingTruth, error) {
	list := []SettingTruth{}
	err := t.withMailbox(user, func(b *mailbox) error {
		p := b.store()
		for _, e := range p.rules.entries {
			list = append(list, SettingTruth{"rule", e.values.text("displayName"), hashJSON(b.canonicalRule(e.values))})
		}
		for _, e := range p.categories.entries {
			list = append(list, SettingTruth{"category", e.values.text("displayName"), hashJSON(categories.schema.canonical(e.values))})
		}
		list = append(list, SettingTruth{"settings", "", hashJSON(settingsSchema.canonical(p.settings))})
		return nil
	})
	return list, err
}

func folderTruths(t *Tenant, user string, kind byte) ([]CalendarTruth, error) {
	list := []CalendarTruth{}
	err := t.withMailbox(user, func(b *mailbox) error {
		p := b.store()
		for _, s := range p.list(kind, nil) {
			truth := CalendarTruth{ID: b.shelfID(s), Path: s.path(), Default: s == p.calendar || s == p.contacts || s == p.tasks, Items: len(s.items)}
			if s.foreign != nil {
				truth.Owner = s.foreign.Address
			}
			list = append(list, truth)
		}
		return nil
	})
	slices.SortFunc(list, func(x, y CalendarTruth) int { return strings.Compare(x.Path+x.ID, y.Path+y.ID) })
	return list, err
}

// CalendarTruth returns the calendars of a user, by name.
func (t *Tenant) CalendarTruth(user string) ([]CalendarTruth, error) {
	return folderTruths(t, user, calendarKind)
}

// ContactFolderTruth returns the contact folders of a user, by path.
func (t *Tenant) ContactFolderTruth(user string) ([]CalendarTruth, error) {
	return folderTruths(t, user, contactFolderKind)
}

// TaskListTruth returns the To Do lists of a user, by name.
func (t *Tenant) TaskListTruth(user string) ([]CalendarTruth, error) {
	return folderTruths(t, user, taskListKind)
}

// SentTruth returns what the mailbox of a user sent since it was made, the first
// 10,000 messages of it. A restore that sends anything has failed.
func (t *Tenant) SentTruth(user string) ([]SentTruth, error) {
	list := []SentTruth{}
	err := t.withMailbox(user, func(b *mailbox) error {
		list = append(list, b.store().sent...)
		return nil
	})
	return list, err
}
