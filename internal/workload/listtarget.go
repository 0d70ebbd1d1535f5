package workload

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/engine"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A restored list item has nothing by which a repeated restore could know it again: Graph lets an application
// set neither its ID nor its times. So items are told by their values: of those with the same values, as many
// are made as are missing.

// column is what a restore needs of a column of a list ("columnDefinition resource type").
type column struct {
	Name     string `json:"name"`
	ReadOnly bool   `json:"readOnly"`
	Hidden   bool   `json:"hidden"`
	Lookup   *struct {
		ListID string `json:"listId"`
	} `json:"lookup"`
	Person     *struct{} `json:"personOrGroup"`
	Calculated *struct{} `json:"calculated"`
	Term       *struct{} `json:"term"`
	Thumbnail  *struct{} `json:"thumbnail"`
	Approval   *struct{} `json:"contentApprovalStatus"`

	raw jsontext.Value
}

// builtIn are the columns that every list has.
var builtIn = []string{"Title", "ContentType", "Attachments", "ID", "Modified", "Created", "Author", "Editor", fileName}

// fileName is the column of a library that is the name of the file.
const fileName = "FileLeafRef"

// made reports whether a restore makes the column where it is missing.
func (c *column) made() bool {
	return !c.Hidden && (!c.ReadOnly || c.Calculated != nil) && !slices.Contains(builtIn, c.Name) && c.Approval == nil
}

// plain reports whether the column's values are written as they are.
func (c *column) plain() bool {
	return !c.ReadOnly && (!c.Hidden || c.Name == "Title") && c.Lookup == nil && c.Person == nil && c.Calculated == nil &&
		c.Term == nil && c.Thumbnail == nil && c.Approval == nil && c.Name != "ContentType" && c.Name != "Attachments" && c.Name != fileName
}

// listTarget is one list that is restored, or the list that a library is.
type listTarget struct {
	site, id string
	drive    string // of a library: where its files are
	source   string // ID of the stored list, as Microsoft has it
	original bool   // it is the list that was saved
	columns  []column
	present  map[string][]string          // by fingerprint of their plain values: IDs of items that are there
	linked   map[string]map[string]string // by item: what its lookups say
	ids      map[string]string            // of the items that are there, with their content types
	unmade   map[string]bool              // columns that the service would not make
	looks    map[string]string            // by column of the target: the list that it looks up
	types    map[string]string            // of a library: by kind of item, the content type that new ones get
}

func readColumns(raw []byte) ([]column, error) {
	var l struct {
		Columns []jsontext.Value `json:"columns"`
	}
	if err := parse("the columns of a list", raw, &l); err != nil {
		return nil, err
	}
	list := make([]column, len(l.Columns))
	for i, raw := range l.Columns {
		if err := parse("a column", raw, &list[i]); err != nil {
			return nil, err
		}
		list[i].raw = raw
	}
	return list, nil
}

// list finds or makes the list that stands for e, with its columns.
func (t *siteTarget[P]) list(ctx context.Context, site string, e repository.Entry, raw []byte) (*listTarget, error) {
	t.mu.Lock()
	known, ok := t.lists[e.ID]
	t.mu.Unlock()
	if ok {
		return known, nil
	}
	columns, err := readColumns(raw)
	if err != nil {
		return nil, err
	}
	n, err := newNamed("a stored list", raw)
	if err != nil {
		return nil, err
	}
	l := &listTarget{site: site, source: n.ID, columns: columns, unmade: map[string]bool{}, looks: map[string]string{}}
	if l.id, err = t.findOrMakeList(ctx, site, n, raw); err != nil {
		return nil, err
	}
	l.original = e.ID == listID+site+"|"+l.id
	if err := t.makeColumns(ctx, l); err != nil {
		return nil, err
	}
	if err := t.present(ctx, l); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lists[e.ID] = l
	return l, nil
}

func (t *siteTarget[P]) findOrMakeList(ctx context.Context, site string, n named, raw []byte) (string, error) {
	name := n.DisplayName
	if t.req.Folder != "" {
		name = t.req.Folder + " - " + name
	}
	there, err := t.listed(listID+site, func(link string) (P, error) { return t.api.Lists(ctx, site, link) })
	if err != nil {
		return "", err
	}
	for _, same := range []func(named) bool{
		func(l named) bool { return t.req.Folder == "" && l.ID == n.ID },
		func(l named) bool { return strings.EqualFold(l.DisplayName, name) },
	} {
		if at := slices.IndexFunc(there, same); at >= 0 {
			return there[at].ID, nil
		}
	}
	var stored struct {
		Description string `json:"description"`
	}
	if err := parse("a stored list", raw, &stored); err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]any{
		"displayName": name, "description": stored.Description, "list": map[string]string{"template": n.List.Template},
	})
	if err != nil {
		return "", tenantry.E(tenantry.Internal, "write a list", err)
	}
	return t.api.CreateList(ctx, site, body)
}

// makeColumns adds the columns that the list has not. Those that look values up in other lists are made
// where the list is known by its new ID.
func (t *siteTarget[P]) makeColumns(ctx context.Context, l *listTarget) error {
	raw, err := t.api.List(ctx, l.site, l.id)
	if err != nil {
		return err
	}
	there, err := readColumns(raw)
	if err != nil {
		return err
	}
	for _, c := range there {
		if c.Lookup != nil {
			l.looks[c.Name] = c.Lookup.ListID
		}
	}
	for _, c := range l.columns {
		if !c.made() || slices.ContainsFunc(there, func(o column) bool { return o.Name == c.Name }) {
			continue
		}
		body, ok, err := t.columnBody(l, c)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		switch err := t.api.CreateColumn(ctx, l.site, l.id, body); tenantry.KindOf(err) {
		case "":
			if c.Lookup != nil {
				l.looks[c.Name] = t.mapped(l, c.Lookup.ListID)
			}
		case tenantry.Conflict:
		case tenantry.Invalid, tenantry.Denied: // the items are worth more than one of their columns
			l.unmade[c.Name] = true
		default:
			return err
		}
	}
	return nil
}

// columnBody is the JSON that makes a column; ok is false for one that looks values up in a list that the
// target does not know.
func (t *siteTarget[P]) columnBody(l *listTarget, c column) (body []byte, ok bool, err error) {
	var definition map[string]jsontext.Value
	if err := parse("a column", c.raw, &definition); err != nil {
		return nil, false, err
	}
	for _, own := range []string{"id", "readOnly", "hidden", "isSealed", "isDeletable", "isReorderable", "columnGroup", "type"} {
		delete(definition, own)
	}
	if c.Lookup != nil {
		list := t.mapped(l, c.Lookup.ListID)
		if list == "" {
			return nil, false, nil
		}
		var facet map[string]any
		if err := parse("a lookup", definition["lookup"], &facet); err != nil {
			return nil, false, err
		}
		facet["listId"] = list
		if definition["lookup"], err = json.Marshal(facet); err != nil {
			return nil, false, tenantry.E(tenantry.Internal, "write a column", err)
		}
	}
	body, err = json.Marshal(definition)
	return body, err == nil, err
}

// mapped is the target's ID of a stored list of the same site, "" if it has none yet.
func (t *siteTarget[P]) mapped(l *listTarget, list string) string {
	if list == l.source {
		return l.id
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, other := range t.lists {
		if other.source == list {
			return other.id
		}
	}
	for _, there := range t.existing[listID+l.site] {
		if there.ID == list {
			return list
		}
	}
	return ""
}

// present reads the items that are there.
func (t *siteTarget[P]) present(ctx context.Context, l *listTarget) error {
	l.present, l.linked, l.ids = map[string][]string{}, map[string]map[string]string{}, map[string]string{}
	kinds := map[string]string{} // a few names, each once
	return walk(func(link string) (P, error) { return t.api.ListItems(ctx, l.site, l.id, link) }, func(raw jsontext.Value) error {
		var r struct {
			ID     string                    `json:"id"`
			Fields map[string]jsontext.Value `json:"fields"`
			Type   struct {
				Name string `json:"name"`
			} `json:"contentType"`
		}
		if err := parse("a list item", raw, &r); err != nil {
			return err
		}
		plain, linked, _ := l.split(r.Fields)
		print := fingerprint(plain)
		l.present[print] = append(l.present[print], r.ID)
		if _, known := kinds[r.Type.Name]; !known {
			kinds[r.Type.Name] = r.Type.Name
		}
		l.ids[r.ID] = kinds[r.Type.Name]
		if len(linked) > 0 {
			l.linked[r.ID] = linked
		}
		return nil
	})
}

// split parts the values of an item: those that are written as they are, by column the items that it looks up,
// and the columns of which nothing can be written.
func (l *listTarget) split(fields map[string]jsontext.Value) (plain map[string]jsontext.Value, linked map[string]string, lost []string) {
	plain, linked = map[string]jsontext.Value{}, map[string]string{}
	for _, c := range l.columns {
		value, ok := fields[c.Name]
		id, single := fields[c.Name+lookupSuffix]
		switch {
		case (!ok || value.Kind() == 'n') && !single:
		case l.unmade[c.Name] && !c.ReadOnly && !c.Hidden:
			lost = append(lost, c.Name)
		case c.plain():
			plain[c.Name] = value
		case c.ReadOnly || c.Hidden || c.Calculated != nil || c.Name == "ContentType" || c.Name == "Attachments":
		case c.Lookup != nil && single && id.Kind() != 'n':
			linked[c.Name] = strings.Trim(string(id), `"`)
		default:
			lost = append(lost, c.Name)
		}
	}
	return plain, linked, lost
}

// lookupSuffix follows the name of a column in that of the ID which it looks up.
const lookupSuffix = "LookupId"

// lostTypes names the content types of a stored list that the one which stands for it has not: no page of Graph's says how
// the types of one list come to another.
func (t *siteTarget[P]) lostTypes(ctx context.Context, e repository.Entry, open engine.OpenPart) error {
	t.mu.Lock()
	l := t.lists[e.ID]
	t.mu.Unlock()
	raw, ok, err := storedPart(ctx, e, contentTypesPart, open)
	if err != nil || !ok || l == nil || l.original {
		return err
	}
	var saved []contentType
	if err := parse("the stored content types of a list", raw, &saved); err != nil {
		return err
	}
	there := map[string]bool{}
	err = walk(func(link string) (P, error) { return t.api.ContentTypes(ctx, l.site, l.id, link) }, func(raw jsontext.Value) error {
		var c contentType
		err := parse("a content type", raw, &c)
		there[c.Name] = true
		return err
	})
	if err != nil {
		return err
	}
	var lost []string
	for _, c := range saved {
		if !there[c.Name] && !c.Hidden {
			lost = append(lost, "the content type "+c.Name)
		}
	}
	if len(lost) > 0 {
		return lostValues(lost)
	}
	return nil
}

// contentType is a content type of a list ("contentType resource type").
type contentType struct {
	Name   string `json:"name"`
	Hidden bool   `json:"hidden"`
}

// row writes an item of a list, unless one with its values is there.
func (t *siteTarget[P]) row(ctx context.Context, e repository.Entry, raw []byte) (engine.Written, error) {
	t.mu.Lock()
	l := t.lists[e.Parent]
	t.mu.Unlock()
	if l == nil {
		return engine.Written{}, tenantry.Errorf(tenantry.Invalid, "restore a list item: its list is not restored")
	}
	var r fileRow
	if err := parse("a stored list item", raw, &r); err != nil {
		return engine.Written{}, err
	}
	plain, linked, lost := l.split(r.Fields)
	w, err := t.putRow(ctx, l, within(e.ID), plain)
	if err != nil {
		return engine.Written{}, err
	}
	if w.kept {
		linked = nil
	}
	t.said.say(rowsNote)
	t.mu.Lock()
	t.links.note(l, e.ID, w.ID, linked)
	t.mu.Unlock()
	lost = append(lost, lostTypeOf(r.Type, w.kind)...)
	lost = append(lost, lostFiles(r.Fields)...)
	if len(lost) > 0 && !w.Existed {
		return w.Written, lostValues(lost)
	}
	return w.Written, nil
}

// lostFiles names the files that were attached to an item of a list: the backup did not get them, since v1.0 has no way to
// them, and the item must not look whole without them.
func lostFiles(fields map[string]jsontext.Value) []string {
	if fields["Attachments"].Kind() == 't' {
		return []string{"its attachments"}
	}
	return nil
}

// writtenRow says what became of an item of a list.
type writtenRow struct {
	engine.Written
	kept bool   // another version has the place and stays
	kind string // the content type of what was written, "" if it is not known
}

// putRow writes the plain values of an item. No page of Graph's says how a content type is set: a new item gets that of
// its list, which the answer tells.
func (t *siteTarget[P]) putRow(ctx context.Context, l *listTarget, original string, plain map[string]jsontext.Value) (w writtenRow, err error) {
	if id, ok := t.take(l, original, fingerprint(plain)); ok {
		return writtenRow{Written: engine.Written{ID: id, Existed: true}}, nil
	}
	kind, there := l.ids[original]
	there = there && l.original
	switch {
	case there && t.req.Conflict == conflictSkip:
		return writtenRow{Written: engine.Written{ID: original, Existed: true}, kept: true}, nil
	case there && t.req.Conflict == conflictReplace:
		body, err := json.Marshal(l.replacing(plain))
		if err != nil {
			return w, tenantry.E(tenantry.Internal, "write a list item", err)
		}
		w.ID, w.kind = original, kind
		return w, t.api.UpdateListItem(ctx, l.site, l.id, original, body)
	}
	body, err := json.Marshal(map[string]any{"fields": plain})
	if err != nil {
		return w, tenantry.E(tenantry.Internal, "write a list item", err)
	}
	raw, err := t.api.CreateListItem(ctx, l.site, l.id, body)
	if err != nil {
		return w, err
	}
	var made struct {
		ID   string `json:"id"`
		Type struct {
			Name string `json:"name"`
		} `json:"contentType"`
	}
	err = parse("a list item that was made", raw, &made)
	w.ID, w.kind = made.ID, made.Type.Name
	return w, err
}

// replacing adds to an item's values that it has none in the other columns.
func (l *listTarget) replacing(plain map[string]jsontext.Value) map[string]jsontext.Value {
	values := maps.Clone(plain)
	for _, c := range l.columns {
		if _, ok := plain[c.Name]; !ok && c.plain() {
			values[c.Name] = jsontext.Value("null")
		}
	}
	return values
}

// take returns an item with these values that no other stored item stands for yet: the original, if it is one.
func (t *siteTarget[P]) take(l *listTarget, original, print string) (id string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	there := l.present[print]
	if len(there) == 0 {
		return "", false
	}
	at := 0
	if l.original {
		at = max(slices.Index(there, original), 0)
	}
	id = there[at]
	l.present[print] = slices.Delete(slices.Clone(there), at, at+1)
	return id, true
}

// lookups are the links between restored items. Guarded by their target.
type lookups struct {
	items   map[string]string // by stored list and item: the item that stands for it
	pending []lookup
	dropped int // links that were not remembered
}

type lookup struct {
	list   *listTarget
	stored string   // the ID of the entry
	item   string   // in the target: of a list, or of the drive of a library
	values []looked // what it looks up
	times  fileSpan // of a file: to be set again
}

// looked is a column and the stored item that it looks up.
type looked struct{ column, item string }

func sorted(linked map[string]string) (all []looked) {
	for _, column := range slices.Sorted(maps.Keys(linked)) {
		all = append(all, looked{column, linked[column]})
	}
	return all
}

// fileSpan is when a file was made and changed.
type fileSpan struct{ created, modified time.Time }

// maxLinks bounds what is remembered of list items: some 100 bytes each, and 300 of one that looks others up.
const maxLinks = 1_000_000

func (k *lookups) note(l *listTarget, stored, item string, linked map[string]string) {
	if len(k.items) >= maxLinks {
		k.dropped += len(linked)
		return
	}
	k.items[l.source+"/"+within(stored)] = item
	if len(linked) > 0 {
		k.pending = append(k.pending, lookup{list: l, stored: stored, item: item, values: sorted(linked)})
	}
}

// noteFile has a file linked, which no list item can look up: its ID among them is not known.
func (k *lookups) noteFile(l *listTarget, stored, item string, linked map[string]string, times fileSpan) {
	if len(linked) > 0 && len(k.pending) < maxLinks {
		k.pending = append(k.pending, lookup{l, stored, item, sorted(linked), times})
	} else {
		k.dropped += len(linked)
	}
}

// connect writes what list items look up in others, now that these have their IDs. Columns that look values up
// in a list which was restored later are made first. Each item that comes back without one of its links is named.
func (t *siteTarget[P]) connect(ctx context.Context, lacks engine.Lacks) error {
	t.mu.Lock()
	pending, dropped := t.links.pending, t.links.dropped
	t.links.pending, t.links.dropped = nil, 0
	t.mu.Unlock()
	done := map[*listTarget]bool{}
	for _, link := range pending {
		if !done[link.list] {
			done[link.list] = true
			if err := t.makeColumns(ctx, link.list); err != nil {
				return err
			}
		}
		missing, err := t.link(ctx, link)
		if err == nil && len(missing) > 0 {
			err = lacks(ctx, link.stored, tenantry.Errorf(tenantry.NotFound, "restored without what it looks up, which is not there: %s", strings.Join(missing, ", ")))
		}
		if err != nil {
			return err
		}
	}
	if dropped > 0 {
		return tenantry.Errorf(tenantry.Poison, "%d more links between list items were not written: there are more than %d", dropped, maxLinks)
	}
	return nil
}

// link writes what one item looks up, unless it says so already, and names the columns of which it could not.
func (t *siteTarget[P]) link(ctx context.Context, k lookup) (missing []string, err error) {
	values, written := map[string]string{}, []string(nil)
	for _, v := range k.values {
		name, stored := v.column, v.item
		at := slices.IndexFunc(k.list.columns, func(c column) bool { return c.Name == name })
		of := k.list.columns[at].Lookup.ListID
		if of == "" {
			of = k.list.source
		}
		item := t.lookedUp(k.list, name, of, stored)
		if item == "" || k.list.unmade[name] {
			missing = append(missing, name)
		} else if k.list.linked[k.item][name] != item {
			values[name+lookupSuffix] = item
			written = append(written, name)
		}
	}
	if len(values) == 0 {
		return missing, nil
	}
	body, err := json.Marshal(values)
	if err != nil {
		return missing, tenantry.E(tenantry.Internal, "write a list item", err)
	}
	if k.list.drive != "" {
		err = t.linkFile(ctx, k, body)
	} else {
		err = t.api.UpdateListItem(ctx, k.list.site, k.list.id, k.item, body)
	}
	switch tenantry.KindOf(err) {
	case "":
		return missing, nil
	case tenantry.Invalid, tenantry.NotFound: // what it looks up, or it, was deleted meanwhile
		return append(missing, written...), nil
	}
	return missing, fmt.Errorf("link what looks others up: %w", err)
}

// lookedUp is the item that stands for a stored one in the list which a column of the target looks up, "" if none does. A
// library that was there has its columns already, and they may look up another list than the one that was restored: the
// original, or one that nobody restored.
func (t *siteTarget[P]) lookedUp(l *listTarget, column, of, stored string) (item string) {
	mapped, looks := t.mapped(l, of), l.looks[column]
	switch {
	case looks != "" && looks == of && looks != mapped:
		return stored
	case looks != "" && looks != mapped:
		return ""
	}
	if item = t.links.items[of+"/"+stored]; item == "" && mapped == of { // the list itself is there, and was not restored
		item = stored
	}
	return item
}

// linkFile writes what a file looks up, and sets its times again, which that changes.
func (t *siteTarget[P]) linkFile(ctx context.Context, k lookup, body []byte) error {
	if err := t.api.UpdateFileFields(ctx, k.list.drive, k.item, body); err != nil || k.times.modified.IsZero() {
		return err
	}
	return t.api.SetItemTimes(ctx, k.list.drive, k.item, k.times.created, k.times.modified)
}
