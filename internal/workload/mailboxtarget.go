package workload

import (
	"cmp"
	"context"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// mailboxTarget writes into one mailbox.
type mailboxTarget[P Pages] struct {
	conflict  string
	mail      *mailTarget[P]
	contacts  *contactTarget[P]
	calendars *calendarTarget[P]
	tasks     *taskTarget[P]
	settings  *settingsTarget[P]
	said      *notes
}

// NewMailboxTarget returns the target that writes into a user's mailbox: into folders and calendars of
// their own that are found or made, or, with folder "", to the original places, where well-known folders
// and the default calendar stand for each other. conflict is skip, copy or replace ("" is copy) and says
// what becomes of an item that is there in a different version. Invalid names a conflict that is none of
// these at the first write. Nothing is ever sent: rules that forward, and automatic replies, are switched off.
func NewMailboxTarget[P Pages](api MailboxWriter[P], user, folder, conflict string) engine.Target {
	said := &notes{}
	mail := newMailTarget(api, user, folder, conflict, said)
	return &mailboxTarget[P]{
		conflict: conflict, mail: mail, said: said,
		contacts:  newContactTarget(api, user, folder, conflict),
		calendars: newCalendarTarget(api, user, folder, conflict, said),
		tasks:     newTaskTarget(api, user, folder, conflict, said),
		settings:  newSettingsTarget(api, user, folder, conflict, mail),
	}
}

// Notes says what became of much of what was written, and is no fault of single items.
func (t *mailboxTarget[P]) Notes() string { return t.said.text() }

func (t *mailboxTarget[P]) check() error {
	return knownConflict(t.conflict)
}

// Folder finds or makes the folder or calendar that stands for e.
func (t *mailboxTarget[P]) Folder(ctx context.Context, parent string, e repository.Entry, raw []byte) (string, error) {
	if err := t.check(); err != nil {
		return "", err
	}
	switch {
	case e.ID == partMail:
		return t.mail.top(ctx)
	case e.ID == partContacts, e.ID == partCalendars, e.ID == partTasks, e.ID == partSettings,
		e.ID == settingsRules, e.ID == settingsCategories:
		return e.ID, nil
	case e.Kind == kindContactFolder:
		return t.contacts.Folder(ctx, parent, e)
	case e.Kind == kindCalendar:
		return t.calendars.Folder(ctx, e, raw)
	case e.Kind == kindTaskList:
		return t.tasks.Folder(ctx, e, raw)
	}
	return t.mail.Folder(ctx, parent, e, raw)
}

// Item writes an item, unless it is there.
func (t *mailboxTarget[P]) Item(ctx context.Context, folder string, e repository.Entry, raw []byte, open engine.OpenPart) (engine.Written, error) {
	if err := t.check(); err != nil {
		return engine.Written{}, err
	}
	switch e.Kind {
	case kindMessage:
		return t.mail.Item(ctx, folder, e, raw, open)
	case kindContact:
		return t.contacts.Item(ctx, folder, e, raw, open)
	case kindEvent:
		return t.calendars.Item(ctx, folder, e, raw, open)
	case kindTask:
		return t.tasks.Item(ctx, folder, e, raw, open)
	case kindRule:
		return t.settings.rule(ctx, e, raw, open)
	case kindCategory:
		return t.settings.category(ctx, raw)
	case kindSettings:
		return t.settings.settings(ctx, raw)
	}
	return engine.Written{}, tenantry.Errorf(tenantry.Invalid, "restore into a mailbox: there is no way to write a %s", e.Kind)
}

// itemWriter is how one item is written. complete adds what its creation could not carry, as far as it is
// missing; it may run again, and the first time, right behind create, the item is fresh: it has none of it.
type itemWriter struct {
	create   func(context.Context) (id string, err error)
	complete func(ctx context.Context, id string, fresh bool) error
	remove   func(ctx context.Context, id string) error
	list     func(property string, visit func(jsontext.Value) error) error // its folder, with one of our properties
}

// settle writes an item unless its folder has it: made by an earlier restore, which may have been killed
// before the item was complete, or the original itself. Where another version has the place, conflict
// decides.
func settle(ctx context.Context, there *presence, m *restored, conflict string, w itemWriter) (engine.Written, error) {
	other, same := there.rival(m)
	// What it replaces may be more than it was: all of a series, where there was one event.
	var kept error
	if now := there.became(m); now != "" && conflict == conflictReplace {
		other, kept = "", tenantry.Errorf(tenantry.Conflict, "restored beside what has its place, which is left: it was of type %s, and is of type %s now", m.kind, now)
	}
	if id, ok := there.made(m.mark); ok {
		err := w.complete(ctx, id, false)
		if err == nil && conflict == conflictReplace {
			err = finishReplacing(ctx, there, m, id, w)
		}
		return engine.Written{ID: id, Existed: true}, cmp.Or(err, kept)
	}
	if same || other != "" && conflict == conflictSkip {
		return engine.Written{ID: other, Existed: true}, nil
	}
	if other != "" && conflict == conflictReplace {
		m.replaces(other)
	}
	id, err := w.create(ctx)
	if err != nil {
		return engine.Written{}, err
	}
	there.note(m.mark, id)
	if err := w.complete(ctx, id, true); err != nil {
		return engine.Written{}, err
	}
	if other != "" && conflict == conflictReplace {
		if err := removed(w.remove(ctx, other)); err != nil {
			return engine.Written{}, err
		}
	}
	return engine.Written{ID: id}, kept
}

// finishReplacing removes what m was made to replace, if the restore that made it ended in between. What an earlier
// restore put beside it, as a copy, stays.
func finishReplacing(ctx context.Context, there *presence, m *restored, id string, w itemWriter) error {
	if !there.contested(m) {
		return nil
	}
	other, err := there.replacedBy(id, w.list)
	if err != nil || !there.replaceable(m, other) {
		return err
	}
	return removed(w.remove(ctx, other))
}

// removed is the outcome of removing what may be gone already.
func removed(err error) error {
	if tenantry.KindOf(err) == tenantry.NotFound {
		return nil
	}
	return err
}
