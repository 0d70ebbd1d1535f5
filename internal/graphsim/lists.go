package graphsim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// siteStore is the lists and pages of a site. Everything in it is guarded by mu.
type siteStore struct {
	t    *Tenant
	site *entry
	seed uint64

	mu    sync.Mutex
	lists []*list
	pages []*sitePage // by number
	// lastPage is the number of the youngest page, a deleted one included.
	lastPage int
}

// list is one list of a site. A document library is a list as well, whose items are
// those of its drive.
type list struct {
	id, name, template string
	description        string
	hidden, system     bool
	drive              string // ID, of a library
	created, modified  time.Time
	columns            []*column
	items              []*listItem // by ID, the deleted ones too
	log                changeLog   // of item IDs
	generation         int
	keepBoth           bool // a resync keeps the client's own changes
}

// column describes a field. definition is what a client wrote or the seed made, by
// property; kind is the one type facet in it.
type column struct {
	id, name, kind string
	definition     map[string]json.RawMessage
	readOnly       bool
	unique         bool
}

// listItem is one row. Its ID is its place in the list, from 1 on.
type listItem struct {
	id                int
	revision          int
	fields            map[string]json.RawMessage
	created, modified time.Time
	author, editor    string // identity sets; "" is the owner of the site
	history           []itemVersion
	deleted           bool
	contentType       string // of the list's own, by its name; "" is the usual one
}

// itemVersion is what a list item was before it changed.
type itemVersion struct {
	revision int
	fields   map[string]json.RawMessage
	modified time.Time
	editor   string
}

// columnKinds are the type facets of a column ("columnDefinition resource type").
var columnKinds = []string{"text", "number", "choice", "dateTime", "boolean", "currency", "lookup", "personOrGroup", "calculated",
	"hyperlinkOrPicture", "term", "thumbnail", "geolocation", "contentApprovalStatus"}

// openSite returns what a site, or the site of a user or group, holds.
func (t *Tenant) openSite(owner string) (*siteStore, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := t.sites.find(owner)
	for _, d := range []*directory{&t.users, &t.groups} {
		if of := d.find(owner); of != nil {
			e = t.sites.find(of.site)
		}
	}
	if e == nil {
		return nil, fmt.Errorf("graphsim: no site of %q", owner)
	}
	t.office.mu.Lock()
	defer t.office.mu.Unlock()
	return lazily(&t.office.sites, e.id, func() *siteStore { return t.newSiteStore(e) }), nil
}

// newSiteStore lays the lists and pages of a site out.
func (t *Tenant) newSiteStore(e *entry) *siteStore {
	st := &siteStore{t: t, site: e, seed: mixString(t.seed, "lists/"+e.id)}
	for i, lib := range t.librariesOf(e) {
		template := "documentLibrary"
		if lib.number == pagesLibrary {
			template = "webPageLibrary"
		}
		l := st.addList(lib.name, template, e.created())
		l.drive, l.system = libraryID(e.id, lib.number), lib.system
		l.id = libraryListID(t, e.id, i)
		l.addColumn(textColumn("Title"))
	}
	hidden := st.addList("TaxonomyHiddenList", "genericList", e.created())
	hidden.hidden, hidden.system = true, true
	if e.owner != "" {
		return st
	}
	for i := range t.spec.Lists {
		st.seedList(i)
	}
	for i := range t.spec.Pages {
		st.seedPage(i)
	}
	st.seedLibraryColumns()
	return st
}

func (st *siteStore) addList(name, template string, at time.Time) *list {
	l := &list{id: guid(mix(st.seed, 'l', uint64(len(st.lists)))), name: name, template: template, created: at, modified: at}
	st.lists = append(st.lists, l)
	return l
}

func textColumn(name string) *column {
	return &column{name: name, kind: "text", definition: map[string]json.RawMessage{"displayName": json.RawMessage(quoted(name)), "text": json.RawMessage("{}")}}
}

func (l *list) addColumn(col *column) {
	col.id = guid(mixString(mixString(0, l.id), col.name))
	l.columns = append(l.columns, col)
}

// seedList makes a list with one column of each common kind.
func (st *siteStore) seedList(n int) {
	l := st.addList(fmt.Sprintf("%s %d", []string{"Tasks", "Verträge", "Assets", "Contacts"}[n%4], n+1), "genericList", st.site.created())
	l.addColumn(textColumn("Title"))
	for name, definition := range map[string]string{"Amount": `"number":{"decimalPlaces":"two"}`, "Due": `"dateTime":{"format":"dateOnly"}`,
		"Done": `"boolean":{}`, "Status": `"choice":{"choices":["open","closed"]}`, "Related": `"lookup":{"listId":"` + l.id + `","columnName":"Title"}`} {
		kind, facet, _ := strings.Cut(definition, ":")
		kind = strings.Trim(kind, `"`)
		l.addColumn(&column{name: name, kind: kind, definition: map[string]json.RawMessage{
			"displayName": json.RawMessage(quoted(name)), kind: json.RawMessage(facet)}})
	}
	slices.SortFunc(l.columns[1:], func(a, b *column) int { return strings.Compare(a.name, b.name) })
	r := newRand(mixString(st.seed, l.id))
	for i := range st.t.spec.ListItems {
		item := l.add(seedFields(r, i), epoch.Add(-time.Duration(i)*time.Hour))
		item.modified = item.created
	}
	l.log = changeLog{}
}

func seedFields(r *rand.Rand, i int) map[string]json.RawMessage {
	f := map[string]json.RawMessage{"Title": json.RawMessage(quoted(sentence(r, 3))),
		"Amount": json.RawMessage(strconv.Itoa(r.IntN(100_000))), "Done": json.RawMessage(strconv.FormatBool(r.IntN(2) == 0)),
		"Due":    json.RawMessage(quoted(formatTime(epoch.AddDate(0, 0, r.IntN(90)).Truncate(24 * time.Hour)))),
		"Status": json.RawMessage(quoted(pick(r, []string{"open", "closed"})))}
	if i > 0 {
		f["RelatedLookupId"] = json.RawMessage(quoted(strconv.Itoa(1 + r.IntN(i))))
	}
	return f
}

// add appends an item.
func (l *list) add(fields map[string]json.RawMessage, at time.Time) *listItem {
	item := &listItem{id: len(l.items) + 1, revision: 1, fields: fields, created: at, modified: at}
	l.items = append(l.items, item)
	l.note(item)
	return item
}

func (l *list) note(item *listItem) { l.log.note(strconv.Itoa(item.id)) }

// edit changes fields; null takes a value away. What the item was becomes a version.
func (l *list) edit(item *listItem, fields map[string]json.RawMessage, limit int) {
	item.history = append(item.history, itemVersion{item.revision, item.fields, item.modified, item.editor})
	if over := len(item.history) - limit; over > 0 {
		item.history = slices.Clone(item.history[over:])
	}
	next := map[string]json.RawMessage{}
	for name, v := range item.fields {
		next[name] = v
	}
	for name, v := range fields {
		if string(v) == "null" {
			delete(next, name)
		} else {
			next[name] = v
		}
	}
	item.fields, item.editor = next, ""
	item.revision++
	item.modified = time.Now().UTC().Truncate(time.Second)
	l.note(item)
}

func (l *list) remove(item *listItem) {
	item.deleted = true
	l.note(item)
}

// item finds an item that is there.
func (l *list) item(id string) (*listItem, error) {
	n, err := strconv.Atoi(id)
	if err != nil || n < 1 || n > len(l.items) || l.items[n-1].deleted {
		return nil, itemNotFound()
	}
	return l.items[n-1], nil
}

func (i *listItem) etag() string { return fmt.Sprintf(`"%d,%d"`, i.id, i.revision) }

func (st *siteStore) find(id string) (*list, error) {
	for _, l := range st.lists {
		if strings.EqualFold(l.id, id) {
			return l, nil
		}
	}
	return nil, itemNotFound()
}

func (l *list) column(name string) *column {
	at := slices.IndexFunc(l.columns, func(col *column) bool { return col.name == name })
	if at < 0 {
		return nil
	}
	return l.columns[at]
}

// check refuses values that do not belong to the list's columns. Columns of lookups
// and persons take the ID of what they point to, as <name>LookupId.
func (st *siteStore) check(l *list, fields map[string]json.RawMessage, of *listItem) error {
	for name, value := range fields {
		base, isLookup := strings.CutSuffix(name, "LookupId")
		col := l.column(name)
		if isLookup && col == nil {
			if col = l.column(base); col != nil && col.kind != "lookup" && col.kind != "personOrGroup" {
				col = nil
			}
		}
		switch {
		case name == "ContentType" || strings.HasSuffix(name, "@odata.type"):
			continue
		case col == nil:
			return fail(http.StatusBadRequest, "invalidRequest", "Field '%s' is not recognized", name)
		case col.readOnly:
			return fail(http.StatusBadRequest, "invalidRequest", "Field '%s' is read-only", name)
		case string(value) == "null":
			continue
		}
		if err := st.checkValue(l, col, value, isLookup); err != nil {
			return err
		}
		if col.unique && l.taken(name, value, of) {
			return fail(http.StatusBadRequest, "invalidRequest", "The value of field '%s' is not unique", name)
		}
	}
	return nil
}

func (l *list) taken(name string, value json.RawMessage, of *listItem) bool {
	return slices.ContainsFunc(l.items, func(item *listItem) bool {
		return item != of && !item.deleted && string(item.fields[name]) == string(value)
	})
}

func (st *siteStore) checkValue(l *list, col *column, value json.RawMessage, isLookup bool) error {
	var v any
	_ = json.Unmarshal(value, &v) // it is part of a body that was read
	_, text := v.(string)
	_, number := v.(float64)
	_, boolean := v.(bool)
	ok := true
	switch col.kind {
	case "text", "choice":
		ok = text
	case "dateTime":
		_, err := time.Parse(time.RFC3339, fmt.Sprint(v))
		ok = text && err == nil
	case "number", "currency":
		ok = number
	case "boolean":
		ok = boolean
	case "lookup":
		ok = isLookup && st.target(l, col, strings.Trim(string(value), `"`))
	case "personOrGroup":
		ok = isLookup
	}
	if !ok {
		return fail(http.StatusBadRequest, "invalidRequest", "The value of field '%s' is not a %s", col.name, col.kind)
	}
	return nil
}

// target reports whether a lookup points to an item that is there.
func (st *siteStore) target(l *list, col *column, id string) bool {
	var facet struct {
		ListID string `json:"listId"`
	}
	_ = json.Unmarshal(col.definition["lookup"], &facet)
	if facet.ListID != "" {
		other, err := st.find(facet.ListID)
		if err != nil {
			return false
		}
		l = other
	}
	_, err := l.item(id)
	return err == nil
}

// readColumn takes a column definition of a client: a name and exactly one type.
func readColumn(raw map[string]json.RawMessage) (*column, error) {
	col := &column{definition: raw}
	_ = json.Unmarshal(raw["name"], &col.name)
	_ = json.Unmarshal(raw["readOnly"], &col.readOnly)
	_ = json.Unmarshal(raw["enforceUniqueValues"], &col.unique)
	for _, kind := range columnKinds {
		if _, there := raw[kind]; there {
			if col.kind != "" {
				return nil, fail(http.StatusBadRequest, "invalidRequest", "A column has one type.")
			}
			col.kind = kind
		}
	}
	if col.name == "" || col.kind == "" {
		return nil, fail(http.StatusBadRequest, "invalidRequest", "A column has a name and a type.")
	}
	for _, own := range []string{"name", "id", "readOnly", "hidden"} {
		delete(raw, own)
	}
	return col, nil
}

func (st *siteStore) expire() {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, l := range st.lists {
		l.generation++
		l.keepBoth = false
	}
}
