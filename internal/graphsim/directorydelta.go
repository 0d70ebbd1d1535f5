package graphsim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// maxDeltaFilter is how many objects a delta of users or groups can be narrowed to.
const maxDeltaFilter = 50

// A change in the log of a directory is written
//
//	id            the object came, went, or came back
//	id#property   one property changed
//	id|member     a membership began or ended
//
// so that a round can leave out what its $select does not cover.
func propertyChange(id, property string) string { return id + "#" + strings.ToLower(property) }

func memberChange(group, member string) string { return group + "|" + member }

// directoryDelta serves a round of users or groups.
func (c *call) directoryDelta(d *directory, render func(*entry) []byte) error {
	ids, err := c.deltaFilter(c.query.Get("$filter"))
	if err != nil {
		return err
	}
	c.extra = strings.Join(ids, ",")
	c.t.mu.RLock()
	defer c.t.mu.RUnlock()
	src := d.source(c.t.id, render)
	src.list = func(after uint64, limit int) ([][]byte, uint64, bool) { return c.listForDelta(d, after, limit, render) }
	src.render = func(changes []string) [][]byte { return c.renderChanged(d, changes, render) }
	return c.deltaPage(src, deltaOptions{nextParam: "$skiptoken", deltaParam: "$deltatoken", life: directoryTokenLife,
		pageSize: c.pageSize(100, 999), stale: staleDirectory})
}

// deltaFilter reads the one filter that delta knows: id eq '..' or id eq '..'.
func (c *call) deltaFilter(text string) (ids []string, err error) {
	if c.filter == nil || text == "" {
		return nil, nil
	}
	terms := []*predicate{c.filter}
	if c.filter.op == "or" {
		terms = c.filter.args
	}
	for _, e := range terms {
		id, isText := e.value.(string)
		if e.op != "compare" || e.name != "eq" || !strings.EqualFold(e.path, "id") || !isText {
			return nil, fail(http.StatusBadRequest, "Request_UnsupportedQuery", "Delta is filtered by the IDs of objects only.")
		}
		ids = append(ids, strings.ToLower(id))
	}
	if len(ids) > maxDeltaFilter {
		return nil, fail(http.StatusBadRequest, "Request_UnsupportedQuery", "Delta is filtered to at most %d objects.", maxDeltaFilter)
	}
	return ids, nil
}

// tracked reports whether the round's filter covers an object. The filter travels in the
// token (c.extra), so that it is read when the page is made.
func (c *call) tracked(id string) bool {
	return c.extra == "" || slices.Contains(strings.Split(c.extra, ","), strings.ToLower(id))
}

// trackedPlaces is where the objects are that the round's filter covers; nil is all.
func (c *call) trackedPlaces(d *directory) map[int]bool {
	if c.extra == "" {
		return nil
	}
	places := map[int]bool{}
	for id := range strings.SplitSeq(c.extra, ",") {
		if place, ok := d.place(id); ok {
			places[place] = true
		}
	}
	return places
}

// memberSlice is how many members of a group a page of delta holds: a large group is split
// and the same group appears again with the next slice.
const memberSlice = 20

// withMembers reports whether the round tells members: it does without a $select.
func (c *call) withMembers(d *directory) bool {
	return d == &c.t.groups && (c.sel == nil || c.sel["members"])
}

// listForDelta is the first part of a round. after is an object's place and, in the low
// bits, the place of the last of its members that was told: who leaves meanwhile shifts
// nobody.
func (c *call) listForDelta(d *directory, after uint64, limit int, render func(*entry) []byte) (items [][]byte, reached uint64, more bool) {
	const bits = 24
	at, told := after>>bits, after&(1<<bits-1)
	wanted := c.trackedPlaces(d)
	for ; at < uint64(d.size()); at, told = at+1, 0 {
		if !d.isActive(int(at)) || wanted != nil && !wanted[int(at)] {
			continue
		}
		if len(items) == limit {
			return items, at << bits, true
		}
		e := d.at(int(at))
		if !c.withMembers(d) {
			items = append(items, render(e))
			continue
		}
		members := slices.DeleteFunc(c.t.members(e), func(m ref) bool { return c.t.memberPlace(m) <= told })
		slice := members[:min(memberSlice, len(members))]
		items = append(items, withMembersDelta(render(e), slice, nil))
		if len(slice) < len(members) {
			return items, at<<bits | c.t.memberPlace(slice[len(slice)-1]), true
		}
	}
	return items, at << bits, false
}

// memberPlace orders what may be in a group as members does: users before groups, by age.
func (t *Tenant) memberPlace(m ref) uint64 {
	if m.in == &t.groups {
		return 1<<23 | m.ordinal()
	}
	return m.ordinal()
}

// withMembersDelta adds members@delta to a group.
func withMembersDelta(group []byte, joined, left []ref) []byte {
	if len(joined)+len(left) == 0 {
		return group
	}
	b := append(group[:len(group)-1:len(group)-1], `,"members@delta":[`...)
	for i, m := range slices.Concat(joined, left) {
		e := m.entry()
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"@odata.type":"#microsoft.graph.`+e.kindName()+`","id":`+quoted(e.id)...)
		if i >= len(joined) {
			b = append(b, `,"@removed":{"reason":"deleted"}`...)
		}
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

// changed is what a page has to say of one object.
type changed struct {
	id         string
	whole      bool
	properties []string
	members    []string
}

// gather joins the log's entries of each object.
func gather(changes []string) []*changed {
	var list []*changed
	byID := map[string]*changed{}
	for _, text := range changes {
		at := strings.IndexAny(text, "#|")
		id, rest := text, ""
		if at >= 0 {
			id, rest = text[:at], text[at+1:]
		}
		one := byID[id]
		if one == nil {
			one = &changed{id: id}
			byID[id] = one
			list = append(list, one)
		}
		switch {
		case at < 0:
			one.whole = true
		case text[at] == '#':
			one.properties = append(one.properties, rest)
		default:
			one.members = append(one.members, rest)
		}
	}
	return list
}

// renderChanged writes what changed and is selected.
func (c *call) renderChanged(d *directory, changes []string, render func(*entry) []byte) (items [][]byte) {
	for _, one := range gather(changes) {
		e := d.find(one.id)
		if e == nil || !c.tracked(e.id) {
			continue
		}
		if e.state != Active {
			if one.whole {
				items = append(items, removedEntry(e))
			}
			continue
		}
		properties := slices.DeleteFunc(one.properties, func(p string) bool { return c.sel != nil && !c.sel[p] })
		joined, left := c.memberChanges(d, e, one)
		if !one.whole && len(properties)+len(joined)+len(left) == 0 {
			continue // nothing that this round asks for
		}
		items = append(items, withMembersDelta(c.renderMinimal(e, one, properties, render), joined, left))
	}
	return items
}

// memberChanges splits the members that changed into those who are in and those who left.
// A group that came back tells all its members.
func (c *call) memberChanges(d *directory, e *entry, one *changed) (joined, left []ref) {
	if !c.withMembers(d) {
		return nil, nil
	}
	if one.whole {
		joined = c.t.members(e)
	}
	for _, id := range one.members {
		m, ok := c.t.memberByID(id)
		switch {
		case !ok || slices.Contains(joined, m):
		case c.t.isMember(e, m):
			joined = append(joined, m)
		default:
			left = append(left, m)
		}
	}
	return joined, left
}

// renderMinimal writes the whole object, or with Prefer: return=minimal its ID and what
// changed.
func (c *call) renderMinimal(e *entry, one *changed, properties []string, render func(*entry) []byte) []byte {
	if one.whole || !c.prefer("return=minimal") {
		return render(e)
	}
	asked := c.sel
	defer func() { c.sel = asked }()
	c.sel = selection{"id": true}
	for _, p := range properties {
		c.sel[p] = true
	}
	return render(e)
}

// selected picks properties of a JSON object that was written by hand.
func selected(sel selection, object []byte) []byte {
	if sel == nil {
		return object
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(object, &all) != nil {
		return object
	}
	for name := range all {
		if !sel.has(name) {
			delete(all, name)
		}
	}
	out, _ := json.Marshal(all)
	return out
}
