package graphsim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// listing is a collection that a request reads: filtered, sorted and cut by the options.
type listing struct {
	count  int
	render func(i int) []byte
	// value gives a property of an item, for $filter, $orderby and $search. Nil: they are
	// read from what full, or render, writes.
	value func(i int, path string) any
	// full writes an item with all its properties, whatever is selected.
	full func(i int) []byte
	// usual and most are page sizes; param is "$skiptoken" (default, opaque) or "$skip".
	usual, most int
	param       string
}

// list answers with one page of a listing.
func (c *call) list(l listing) error {
	setDefault(&l.param, "$skiptoken")
	if err := c.checkPageSize(l.most); err != nil {
		return err
	}
	size := c.pageSize(l.usual, l.most)
	picked := c.pick(l)
	if picked == nil {
		return c.skipPage(l.count, size, l.param, l.render)
	}
	return c.skipPage(len(picked), size, l.param, func(i int) []byte { return l.render(picked[i]) })
}

// skipPage answers with a part of a list that is cut by number, as $skip does, with the
// nextLink in $skip or in an opaque $skiptoken. render makes one item. It looks at no other
// option: a handler that has none of its own for $filter and the like calls list.
func (c *call) skipPage(count, size int, param string, render func(i int) []byte) error {
	from, err := c.offset(param)
	if err != nil {
		return err
	}
	from = min(from, count)
	end := min(from+size, count)
	items := make([][]byte, 0, end-from)
	for i := from; i < end; i++ {
		items = append(items, render(i))
	}
	next := ""
	if end < count {
		next = c.nextLink(param, end)
	}
	counted := int64(-1)
	if c.count && !c.query.Has(param) {
		counted = int64(count) // on the first page only
	}
	return c.writePage(items, next, "", counted)
}

// checkPageSize refuses what the directory does not serve; other services take less.
func (c *call) checkPageSize(most int) error {
	if c.top > most && c.rt != nil && c.rt.service == identity {
		return c.rt.badOption("Invalid page size specified: '%d'. Must be between 1 and %d inclusive.", c.top, most)
	}
	return nil
}

// pick applies $filter, $search and $orderby; nil means all, in their order.
func (c *call) pick(l listing) []int {
	o := &c.options
	if o.filter == nil && o.search == "" && len(o.order) == 0 {
		return nil
	}
	// One item after the other: of a large listing only places and what it is sorted by are
	// in memory.
	type candidate struct {
		place int
		by    []any
	}
	value := l.values()
	var found []candidate
	for i := range l.count {
		get := func(path string) any { return value(i, path) }
		if (o.filter == nil || o.filter.match(get)) && (o.search == "" || searched(o.search, get)) {
			one := candidate{place: i}
			for _, by := range o.order {
				one.by = append(one.by, get(by.path))
			}
			found = append(found, one)
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return sortKeys(o.order, a.by, b.by) })
	picked := make([]int, len(found))
	for i, one := range found {
		picked[i] = one.place
	}
	return picked
}

// sortKeys orders two items by what $orderby names of them.
func sortKeys(order []ordering, a, b []any) int {
	for i, by := range order {
		result := sortOrder(a[i], b[i])
		if by.desc {
			result = -result
		}
		if result != 0 {
			return result
		}
	}
	return 0
}

// values is value, or reads the properties from the items' JSON, the last one of which
// stays decoded.
func (l listing) values() func(i int, path string) any {
	if l.value != nil {
		return l.value
	}
	write := l.full
	if write == nil {
		write = l.render
	}
	last, decoded := -1, any(nil)
	return func(i int, path string) any {
		if i != last {
			last, decoded = i, nil
			_ = json.NewDecoder(bytes.NewReader(write(i))).Decode(&decoded) // our own JSON
		}
		return member(decoded, path)
	}
}

// sortOrder puts what is not there first.
func sortOrder(a, b any) int {
	if a == nil || b == nil {
		return cmp.Compare(btoi(a != nil), btoi(b != nil))
	}
	if x, isTime := instantOf(a); isTime {
		if y, ok := instantOf(b); ok {
			return x.Compare(y)
		}
	}
	if x, isBool := a.(bool); isBool {
		y, _ := b.(bool)
		return cmp.Compare(btoi(x), btoi(y))
	}
	order, _ := orderOf(a, b)
	return order
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// searched evaluates $search: "property:text", quoted each, joined by AND or OR. A text is
// found at the beginning of a word ("Use the $search query parameter").
func searched(search string, get values) bool {
	for alternative := range strings.SplitSeq(search, " OR ") {
		all := true
		for _, term := range searchTerms(alternative) {
			value, _ := get(term.property).(string)
			all = all && slices.ContainsFunc(strings.FieldsFunc(strings.ToLower(value), notWord), func(word string) bool {
				return strings.HasPrefix(word, strings.ToLower(term.text))
			})
		}
		if all {
			return true
		}
	}
	return false
}

// searchTerm is one "property:text" of a $search.
type searchTerm struct{ property, text string }

// searchTerms splits a $search, or a part of one, into its terms.
func searchTerms(search string) (list []searchTerm) {
	for alternative := range strings.SplitSeq(search, " OR ") {
		for text := range strings.SplitSeq(alternative, " AND ") {
			var term searchTerm
			term.property, term.text, _ = strings.Cut(strings.Trim(strings.TrimSpace(text), `"`), ":")
			list = append(list, term)
		}
	}
	return list
}

func notWord(r rune) bool { return strings.ContainsRune(` .,;@-_'"()`, r) }

// offset is where the page begins: $skip in the clear, or an opaque $skiptoken.
func (c *call) offset(param string) (int, error) {
	token := c.query.Get("$skiptoken")
	if param != "$skiptoken" || token == "" {
		return c.skip, nil
	}
	cur, ok := c.s.unseal(token)
	if !ok || cur.Collection != c.t.id+"/"+c.canonical {
		return 0, c.rt.badOption("The value of $skiptoken is not one that was given for this request.")
	}
	return int(cur.After), nil
}

// nextLink continues a listing with the options of this request. They have to be sent as
// they are: only headers are not remembered.
func (c *call) nextLink(param string, at int) string {
	q := url.Values{}
	for name, values := range c.query {
		q[name] = values
	}
	if param == "$skiptoken" {
		q.Del("$skip")
		q.Set(param, c.s.seal(cursor{Collection: c.t.id + "/" + c.canonical, After: uint64(at)}))
	} else {
		q.Set(param, strconv.Itoa(at))
	}
	return c.root() + c.canonical + "?" + q.Encode()
}

// countOf answers a /$count path with a number in plain text.
func (c *call) countOf(l listing) error {
	if c.rt.service == identity && !strings.EqualFold(c.r.Header.Get("ConsistencyLevel"), "eventual") {
		return fail(http.StatusBadRequest, "Request_BadRequest", "$count is not currently supported.")
	}
	total := l.count
	if picked := c.pick(l); picked != nil {
		total = len(picked)
	}
	c.w.Header().Set("Content-Type", "text/plain")
	_, _ = c.w.Write([]byte(strconv.Itoa(total)))
	return nil
}
