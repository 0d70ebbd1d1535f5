package graphsim

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"time"
)

func rawProperties(properties map[string]any) (map[string]json.RawMessage, error) {
	raw := map[string]json.RawMessage{}
	for name, value := range properties {
		data, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("graphsim: property %s: %w", name, err)
		}
		raw[name] = data
	}
	return raw, nil
}

// NewContact makes a contact, its properties named as in Graph, in a folder given
// by ID ("" is the default one), and returns its immutable ID.
func (t *Tenant) NewContact(user, folder string, properties map[string]any) (id string, err error) {
	raw, err := rawProperties(properties)
	if err != nil {
		return "", err
	}
	err = t.withMailbox(user, func(b *mailbox) error {
		f := b.store().contacts
		if folder != "" {
			if f, err = b.findShelf(contactFolderKind, folder); err != nil {
				return err
			}
		}
		c := &pimContent{values: props{}, created: time.Now().UTC().Truncate(time.Second)}
		if err := applyContact(c, raw); err != nil {
			return err
		}
		fillContact(c.values)
		id = b.pimID(b.store().addItem(contactKind, f, c), true)
		return nil
	})
	return id, err
}

// NewEvent makes an event or a series in a calendar of a user or group given by ID ("" is
// the default one), without sending anything, and returns its immutable ID.
func (t *Tenant) NewEvent(owner, calendar string, properties map[string]any) (id string, err error) {
	raw, err := rawProperties(properties)
	if err != nil {
		return "", err
	}
	with := t.withMailbox
	if t.isGroup(owner) {
		with = t.withGroupMailbox
	}
	err = with(owner, func(b *mailbox) error {
		s := b.store().calendar
		if calendar != "" {
			if s, err = b.findShelf(calendarKind, calendar); err != nil {
				return err
			}
		}
		c := &pimContent{values: props{}, created: time.Now().UTC().Truncate(time.Second)}
		if err := b.readEvent(c, raw); err != nil {
			return err
		}
		id = b.pimID(b.store().addItem(eventKind, s, c), true)
		return nil
	})
	return id, err
}

// NewTask makes a task in a list given by ID ("" is the default one) and returns its
// immutable ID.
func (t *Tenant) NewTask(user, list string, properties map[string]any) (id string, err error) {
	raw, err := rawProperties(properties)
	if err != nil {
		return "", err
	}
	err = t.withMailbox(user, func(b *mailbox) error {
		s := b.store().tasks
		if list != "" {
			if s, err = b.findShelf(taskListKind, list); err != nil {
				return err
			}
		}
		c := newTaskContent()
		if err := applyTask(c, raw); err != nil {
			return err
		}
		id = b.pimID(b.store().addItem(taskKind, s, c), true)
		return nil
	})
	return id, err
}

// findAny finds a contact, an event, an instance of a series or a task by ID.
func (b *mailbox) findAny(id string) (eventRef, error) {
	kind, _, _, _ := b.parseID(id)
	switch kind {
	case contactKind, contactKind + immutable:
		it, err := b.findItem(contactKind, id)
		return eventRef{item: it}, err
	case taskKind, taskKind + immutable:
		it, err := b.findItem(taskKind, id)
		return eventRef{item: it}, err
	}
	return b.findEvent(id)
}

// withItem calls do with an item of a mailbox, locked.
func (t *Tenant) withItem(user, id string, do func(*mailbox, eventRef) error) error {
	return t.withMailbox(user, func(b *mailbox) error {
		e, err := b.findAny(id)
		if err != nil {
			return err
		}
		return do(b, e)
	})
}

// EditItem changes properties of a contact, an event, an instance of a series
// (which makes it an exception) or a task.
func (t *Tenant) EditItem(user, id string, properties map[string]any) error {
	raw, err := rawProperties(properties)
	if err != nil {
		return err
	}
	return t.withItem(user, id, func(b *mailbox, e eventRef) error {
		switch e.item.kind {
		case contactKind:
			return b.editItem(e.item, func(c *pimContent) error { return applyContact(c, raw) })
		case eventKind:
			_, err := b.editEvent(e, raw)
			return err
		}
		return b.editItem(e.item, func(c *pimContent) error { return applyTask(c, raw) })
	})
}

// DeleteItem removes a contact, an event or a task, or cancels an instance of a series.
func (t *Tenant) DeleteItem(user, id string) error {
	return t.withItem(user, id, func(b *mailbox, e eventRef) error { return b.removeEvent(e) })
}

// CancelOccurrence takes the instance of a series away whose original start is on a
// date (2026-01-31) of the series' clock.
func (t *Tenant) CancelOccurrence(user, series, date string) error {
	return t.withItem(user, series, func(b *mailbox, e eventRef) error {
		o, ok := b.contentOf(e.item).occurrence(date)
		if e.item.kind != eventKind || !ok {
			return fmt.Errorf("graphsim: %s has no instance on %s", series, date)
		}
		return b.removeEvent(eventRef{item: e.item, at: &o})
	})
}

// MoveItem moves a contact, an event or a task to another folder, calendar or list;
// its immutable ID stays.
func (t *Tenant) MoveItem(user, id, to string) error {
	return t.withItem(user, id, func(b *mailbox, e eventRef) error {
		s, err := b.findShelf(e.item.shelf.kind, to)
		if err == nil {
			b.moveItem(e.item, s)
		}
		return err
	})
}

// NewContactFolder makes a folder below another ("" is the default one) and returns its ID.
func (t *Tenant) NewContactFolder(user, parent, name string) (id string, err error) {
	err = t.withMailbox(user, func(b *mailbox) error {
		above := b.store().contacts
		if parent != "" {
			if above, err = b.findShelf(contactFolderKind, parent); err != nil {
				return err
			}
		}
		f, err := b.addContactFolder(above, name)
		if err == nil {
			id = b.shelfID(f)
		}
		return err
	})
	return id, err
}

// FillMailbox puts a mailbox over its quota, or back under it: nothing can be written
// into a full one, and its deltas fail.
func (t *Tenant) FillMailbox(user string, full bool) error {
	return t.withMailbox(user, func(b *mailbox) error {
		b.full = full
		return nil
	})
}

// ArchiveMailbox gives a mailbox an in-place archive, or takes it away: beta names it, no request reaches it.
func (t *Tenant) ArchiveMailbox(user string, has bool) error {
	return t.withMailbox(user, func(b *mailbox) error {
		b.archive = has
		return nil
	})
}

// applyExchange makes a change of what a mailbox holds besides mail; known is false
// for another op.
func (t *Tenant) applyExchange(m Mutation) (id string, known bool, err error) {
	switch strings.ToLower(m.Op) {
	case "newcontact":
		id, err = t.NewContact(m.User, m.Folder, m.Properties)
	case "newevent":
		id, err = t.NewEvent(m.User, m.Folder, m.Properties)
	case "fillmailbox":
		err = t.FillMailbox(m.User, m.Size > 0)
	case "archivemailbox":
		err = t.ArchiveMailbox(m.User, m.Size > 0)
	case "newtask":
		id, err = t.NewTask(m.User, m.Folder, m.Properties)
	case "newcontactfolder":
		id, err = t.NewContactFolder(m.User, m.Parent, m.Name)
	case "edititem":
		err = t.EditItem(m.User, m.ID, m.Properties)
	case "moveitem":
		err = t.MoveItem(m.User, m.ID, m.Folder)
	case "deleteitem":
		err = t.DeleteItem(m.User, m.ID)
	case "canceloccurrence":
		err = t.CancelOccurrence(m.User, m.ID, m.Name)
	default:
		return "", false, nil
	}
	return id, true, err
}

// churnPIM changes one contact, event or folder of those. A mailbox without any
// stays so.
func (t *Tenant) churnPIM(r *rand.Rand, u UserInfo) (did bool, err error) {
	err = t.withMailbox(u.ID, func(b *mailbox) (err error) {
		if len(b.store().items) == 0 {
			return nil
		}
		switch dice := r.IntN(3); {
		case t.spec.TasksPerUser > 0 && r.IntN(3) == 0:
			did, err = b.churnTasks(r)
		case dice == 0:
			did, err = b.churnContacts(r)
		default:
			did, err = b.churnCalendars(r)
		}
		return err
	})
	return did, err
}

func (b *mailbox) churnContacts(r *rand.Rand) (bool, error) {
	folders := b.store().list(contactFolderKind, nil)
	from, to := pick(r, folders), pick(r, folders)
	dice := r.IntN(10)
	if dice < 2 || len(from.items) == 0 {
		c := b.generateContact(uint64(r.IntN(1_000_000)))
		c.created = time.Now().UTC().Truncate(time.Second)
		b.store().addItem(contactKind, from, c)
		return true, nil
	}
	it := pick(r, from.items)
	switch {
	case dice < 5:
		return true, b.editItem(it, func(c *pimContent) error {
			contactSchema.put(c.values, "jobTitle", sentence(r, 2))
			return nil
		})
	case dice < 7:
		b.moveItem(it, to)
	case dice < 9:
		b.dropItem(it)
	default:
		_, err := b.addContactFolder(to, fmt.Sprintf("New %d", r.IntN(1_000_000_000)))
		return true, err
	}
	return true, nil
}

func (b *mailbox) churnCalendars(r *rand.Rand) (bool, error) {
	calendars := b.store().list(calendarKind, func(s *shelf) bool { return s.foreign == nil })
	from, to := pick(r, calendars), pick(r, calendars)
	dice := r.IntN(10)
	if dice < 2 || len(from.items) == 0 {
		c := b.generateEvent(uint64(r.IntN(1_000_000)))
		c.created = time.Now().UTC().Truncate(time.Second)
		b.store().addItem(eventKind, from, c)
		return true, nil
	}
	it := pick(r, from.items)
	if dice < 5 && b.contentOf(it).series != nil {
		return b.churnSeries(r, it)
	}
	switch {
	case dice < 7:
		return true, b.editItem(it, func(c *pimContent) error {
			eventSchema.put(c.values, "subject", sentence(r, 3))
			return nil
		})
	case dice < 8:
		b.moveItem(it, to)
	default:
		b.dropItem(it)
	}
	return true, nil
}

// churnTasks adds, renames, completes or deletes a task.
func (b *mailbox) churnTasks(r *rand.Rand) (bool, error) {
	from := pick(r, b.store().list(taskListKind, nil))
	dice := r.IntN(10)
	if dice < 3 || len(from.items) == 0 {
		c := b.generateTask(uint64(r.IntN(1_000_000)))
		c.created = time.Now().UTC().Truncate(time.Second)
		b.store().addItem(taskKind, from, c)
		return true, nil
	}
	it := pick(r, from.items)
	if dice >= 8 {
		b.dropItem(it)
		return true, nil
	}
	return true, b.editItem(it, func(c *pimContent) error {
		if dice < 6 {
			taskSchema.put(c.values, "title", sentence(r, 3))
		} else {
			taskSchema.put(c.values, "importance", "high")
		}
		return nil
	})
}

// churnSeries cancels an instance, or changes one.
func (b *mailbox) churnSeries(r *rand.Rand, it *pimItem) (bool, error) {
	c := b.contentOf(it)
	from := c.values.zoned("start").at()
	list := c.occurrences(from, from.AddDate(0, 3, 0))
	if len(list) == 0 {
		return false, nil
	}
	o := pick(r, list)
	if r.IntN(2) == 0 {
		return true, b.removeEvent(eventRef{item: it, at: &o})
	}
	change := map[string]json.RawMessage{"subject": json.RawMessage(quoted("Changed " + sentence(r, 2)))}
	_, err := b.editEvent(eventRef{item: it, at: &o}, maps.Clone(change))
	return true, err
}
