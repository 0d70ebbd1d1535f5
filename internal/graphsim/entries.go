package graphsim

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// entry of a small list of a mailbox: a rule, a category, a step of a task.
type listEntry struct {
	number uint64
	values props
	made   time.Time
}

// entryList is such a list. It is changed by replacing it, so a list that an answer
// holds stays as it is.
type entryList struct {
	last    uint64
	entries []*listEntry
}

func (l entryList) with(v props) (entryList, *listEntry) {
	l.last++
	e := &listEntry{number: l.last, values: v, made: time.Now().UTC().Truncate(time.Second)}
	l.entries = append(slices.Clone(l.entries), e)
	return l, e
}

func (l entryList) replace(old, e *listEntry) entryList {
	l.entries = slices.Clone(l.entries)
	at := slices.Index(l.entries, old)
	if e == nil {
		l.entries = slices.Delete(l.entries, at, at+1)
	} else {
		l.entries[at] = e
	}
	return l
}

// entryKind is a type of small list and how a request reaches one.
type entryKind struct {
	schema *schema
	param  string
	id     func(*mailbox, *call, *listEntry) string
	// open calls do with the list of the request, under the mailbox's lock; what it
	// returns is kept.
	open func(*call, func(*mailbox, entryList) (entryList, error)) error
	// check refuses an entry; old is what it replaces, nil for a new one.
	check func(b *mailbox, l entryList, old *listEntry, v props) error
	extra func(o *object, e *listEntry)
}

func (k *entryKind) routes(base string, read, write []string) []route {
	return pathsTo([]string{base},
		route{method: "GET", service: outlook, roles: read, handle: k.list},
		route{method: "POST", service: outlook, roles: write, handle: k.create},
		route{method: "GET", pattern: "{" + k.param + "}", service: outlook, roles: read, handle: k.get},
		route{method: "PATCH", pattern: "{" + k.param + "}", service: outlook, roles: write, handle: k.patch},
		route{method: "DELETE", pattern: "{" + k.param + "}", service: outlook, roles: write, handle: k.remove})
}

func (k *entryKind) render(b *mailbox, c *call, e *listEntry, sel selection) []byte {
	o := newObject(sel)
	o.str("id", k.id(b, c, e))
	k.schema.render(o, e.values)
	if k.extra != nil {
		k.extra(o, e)
	}
	return o.done()
}

func (k *entryKind) list(c *call) error {
	return k.open(c, func(b *mailbox, l entryList) (entryList, error) {
		return l, c.list(listing{count: len(l.entries), usual: 100, most: 1000, param: "$skip",
			render: func(i int) []byte { return k.render(b, c, l.entries[i], c.sel) },
			full:   func(i int) []byte { return k.render(b, c, l.entries[i], nil) }})
	})
}

func (k *entryKind) find(b *mailbox, c *call, l entryList) (*listEntry, error) {
	for _, e := range l.entries {
		if k.id(b, c, e) == c.param(k.param) {
			return e, nil
		}
	}
	return nil, mailItemNotFound()
}

func (k *entryKind) get(c *call) error {
	return k.open(c, func(b *mailbox, l entryList) (entryList, error) {
		e, err := k.find(b, c, l)
		if err != nil {
			return l, err
		}
		return l, c.json(http.StatusOK, k.render(b, c, e, c.sel))
	})
}

// read reads a client's entry over what is there.
func (k *entryKind) read(b *mailbox, l entryList, old *listEntry, in map[string]json.RawMessage) (props, error) {
	v := props{}
	if old != nil {
		for name, value := range old.values {
			v[name] = value
		}
	}
	if err := k.schema.read(in, v); err != nil {
		return nil, err
	}
	if k.check == nil {
		return v, nil
	}
	return v, k.check(b, l, old, v)
}

func (k *entryKind) create(c *call) error {
	var in map[string]json.RawMessage
	if err := c.decode(&in); err != nil {
		return err
	}
	return k.open(c, func(b *mailbox, l entryList) (entryList, error) {
		v, err := k.read(b, l, nil, in)
		if err != nil {
			return l, err
		}
		grown, e := l.with(v)
		return grown, c.json(http.StatusCreated, k.render(b, c, e, nil))
	})
}

func (k *entryKind) patch(c *call) error {
	var in map[string]json.RawMessage
	if err := c.decode(&in); err != nil {
		return err
	}
	return k.open(c, func(b *mailbox, l entryList) (entryList, error) {
		old, err := k.find(b, c, l)
		if err != nil {
			return l, err
		}
		v, err := k.read(b, l, old, in)
		if err != nil {
			return l, err
		}
		e := &listEntry{number: old.number, values: v, made: old.made}
		return l.replace(old, e), c.json(http.StatusOK, k.render(b, c, e, nil))
	})
}

func (k *entryKind) remove(c *call) error {
	return k.open(c, func(b *mailbox, l entryList) (entryList, error) {
		old, err := k.find(b, c, l)
		if err != nil {
			return l, err
		}
		return l.replace(old, nil), c.empty(http.StatusNoContent)
	})
}
