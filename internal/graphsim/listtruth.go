package graphsim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ListTruth is one list of a site.
type ListTruth struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Template string            `json:"template"`
	Hidden   bool              `json:"hidden,omitempty"`
	System   bool              `json:"system,omitempty"`
	Drive    string            `json:"drive,omitempty"` // of a library, whose items are the drive's
	Columns  map[string]string `json:"columns"`         // the kind of each, by name
	Items    int               `json:"items"`
}

// ListItemTruth is one item of a list.
type ListItemTruth struct {
	ID       string            `json:"id"`
	List     string            `json:"list"`   // ID
	Fields   map[string]string `json:"fields"` // compact JSON by column
	Modified time.Time         `json:"modified"`
	Versions int               `json:"versions"` // the current one too
	// Digest is the SHA-256 (hex) over the fields.
	Digest string `json:"digest"`
}

// withSite calls do with the lists and pages of a site, locked.
func (t *Tenant) withSite(owner string, do func(*siteStore) error) error {
	st, err := t.openSite(owner)
	if err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return do(st)
}

// Lists returns the lists of a site (or of the site of a user or group), the hidden
// and system ones and the libraries too. Errors: an owner without a site.
func (t *Tenant) Lists(owner string) (list []ListTruth, err error) {
	err = t.withSite(owner, func(st *siteStore) error {
		for _, l := range st.lists {
			truth := ListTruth{ID: l.id, Name: l.name, Template: l.template, Hidden: l.hidden, System: l.system, Drive: l.drive,
				Columns: map[string]string{}}
			for _, col := range l.columns {
				truth.Columns[col.name] = col.kind
			}
			for _, item := range l.items {
				truth.Items += btoi(!item.deleted)
			}
			list = append(list, truth)
		}
		return nil
	})
	return list, err
}

// ListTruth returns every item of every list of a site, by list and ID; those of
// libraries are the files of their drives.
func (t *Tenant) ListTruth(owner string) (list []ListItemTruth, err error) {
	err = t.withSite(owner, func(st *siteStore) error {
		for _, l := range st.lists {
			for _, item := range l.items {
				if !item.deleted {
					list = append(list, item.truth(l))
				}
			}
		}
		return nil
	})
	return list, err
}

func (i *listItem) truth(l *list) ListItemTruth {
	truth := ListItemTruth{ID: strconv.Itoa(i.id), List: l.id, Fields: map[string]string{}, Modified: i.modified, Versions: len(i.history) + 1}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(i.fields)) {
		truth.Fields[name] = sameJSON(i.fields[name])
		fmt.Fprintf(sum, "%s=%s\n", name, truth.Fields[name])
	}
	truth.Digest = hex.EncodeToString(sum.Sum(nil))
	return truth
}

// withListNamed calls do with a list of a site, by ID or name.
func (t *Tenant) withListNamed(owner, name string, do func(*siteStore, *list) error) error {
	return t.withSite(owner, func(st *siteStore) error {
		for _, l := range st.lists {
			if l.id == name || l.name == name {
				return do(st, l)
			}
		}
		return itemNotFound()
	})
}

// rawFields are values as the columns hold them.
func rawFields(values map[string]any) (map[string]json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	for name, v := range values {
		data, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("graphsim: field %s: %w", name, err)
		}
		fields[name] = data
	}
	return fields, nil
}

// NewListItem adds an item to a list, by ID or name, and returns its ID.
func (t *Tenant) NewListItem(owner, name string, values map[string]any) (id string, err error) {
	fields, err := rawFields(values)
	if err != nil {
		return "", err
	}
	err = t.withListNamed(owner, name, func(st *siteStore, l *list) error {
		if err := st.check(l, fields, nil); err != nil {
			return err
		}
		id = strconv.Itoa(l.add(fields, time.Now().UTC().Truncate(time.Second)).id)
		return nil
	})
	return id, err
}

// SetListItemType gives an item of a list a content type of the list's own, by its name; "" the usual one. Error: an item
// that is not there.
func (t *Tenant) SetListItemType(owner, name, id, contentType string) error {
	return t.withListNamed(owner, name, func(_ *siteStore, l *list) error {
		item, err := l.item(id)
		if err != nil {
			return err
		}
		item.contentType = contentType
		l.edit(item, nil, t.s.o.SharePoint.VersionLimit)
		return nil
	})
}

// EditListItem changes fields of an item; nil takes a value away.
func (t *Tenant) EditListItem(owner, name, id string, values map[string]any) error {
	fields, err := rawFields(values)
	if err != nil {
		return err
	}
	return t.withListNamed(owner, name, func(st *siteStore, l *list) error {
		item, err := l.item(id)
		if err == nil {
			err = st.check(l, fields, item)
		}
		if err == nil {
			l.edit(item, fields, t.s.o.SharePoint.VersionLimit)
		}
		return err
	})
}

// DeleteListItem deletes an item.
func (t *Tenant) DeleteListItem(owner, name, id string) error {
	return t.withListNamed(owner, name, func(_ *siteStore, l *list) error {
		item, err := l.item(id)
		if err == nil {
			l.remove(item)
		}
		return err
	})
}

// ResyncList makes a list forget the delta tokens it gave out, as ResyncDrive does.
func (t *Tenant) ResyncList(owner, name string, keepBoth bool) error {
	return t.withListNamed(owner, name, func(_ *siteStore, l *list) error {
		l.generation++
		l.keepBoth = keepBoth
		return nil
	})
}

// applyList makes a change of a list; known is false for another op. User is the
// site, Folder the list.
func (t *Tenant) applyList(m Mutation) (id string, known bool, err error) {
	known = true
	switch strings.ToLower(m.Op) {
	case "newlistitem":
		id, err = t.NewListItem(m.User, m.Folder, m.Properties)
	case "editlistitem":
		err = t.EditListItem(m.User, m.Folder, m.ID, m.Properties)
	case "deletelistitem":
		err = t.DeleteListItem(m.User, m.Folder, m.ID)
	case "resynclist":
		both, _ := m.Properties["keepBoth"].(bool)
		err = t.ResyncList(m.User, m.Folder, both)
	default:
		known = false
	}
	return id, known, err
}
