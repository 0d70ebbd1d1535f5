package graphsim

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// propertyKind is what a property holds, for the literals that it may be compared with.
type propertyKind int

const (
	textProperty propertyKind = iota
	boolProperty
	numberProperty
	timeProperty
	collectionProperty // of texts or of complex values
	complexProperty
	navigationProperty // related objects: $expand, not $filter
	untypedProperty    // compared with anything
)

// property is one property of an entity type as the OData layer knows it.
type property struct {
	kind propertyKind
	// filter and order say whether $filter and $orderby take it.
	filter, order bool
	// single is a property that only the GET of one object returns.
	single bool
	// advanced is a property that is filtered with ConsistencyLevel: eventual only.
	advanced bool
	// hidden is a property that is filtered and sorted by, but never returned.
	hidden bool
}

// entityType is what is known of the objects of a collection. Names are lower-case.
type entityType struct {
	name       string // as in "microsoft.graph.user"
	properties map[string]property
	// open types have properties that no schema lists: the columns of a list.
	open bool
}

// find follows a path to its property; what lies below a complex value is not checked.
func (t *entityType) find(path string) (property, bool) {
	first, _, _ := strings.Cut(strings.ToLower(path), "/")
	p, ok := t.properties[first]
	return p, ok || t.open
}

// taken says which query options a route takes: system options ($select) and its own
// (includeHiddenFolders). All others are refused before the handler runs.
type taken struct {
	of    *entityType // nil: properties are not checked
	names []string    // lower-case
	// single is a route that answers with one object.
	single bool
}

// takes declares the options of a route that lists. Properties in $select, $filter and
// $orderby are held against the type, if there is one.
func takes(of *entityType, options ...string) *taken {
	return &taken{of: of, names: options}
}

// takesOne declares the options of a route that answers with one object.
func takesOne(of *entityType, options ...string) *taken {
	return &taken{of: of, names: options, single: true}
}

// expansion is one item of $expand, with its own options.
type expansion struct {
	name    string
	options url.Values
}

// ordering is one item of $orderby.
type ordering struct {
	path string
	desc bool
}

// options are the system query options of a request, parsed.
type options struct {
	filter *predicate
	order  []ordering
	expand []expansion
	search string
	top    int // 0: not given
	skip   int
	count  bool
}

// systemOptions are those that OData in Graph has ("Use query parameters").
var systemOptions = []string{"$select", "$expand", "$filter", "$top", "$skip", "$skiptoken", "$deltatoken",
	"$count", "$orderby", "$search"}

// normalized brings option names to one spelling: those of OData differ in case only.
func normalized(query url.Values) (url.Values, error) {
	out := url.Values{}
	for name, values := range query {
		if strings.HasPrefix(name, "$") {
			name = strings.ToLower(name)
		}
		if len(values) > 1 || out.Has(name) {
			return nil, fail(http.StatusBadRequest, "BadRequest", "Query option '%s' was specified more than once, but it must be specified at most once.", name)
		}
		out[name] = values
	}
	return out, nil
}

// parseOptions reads the query options and holds them against what the route takes.
func (c *call) parseOptions(rt *route) error {
	c.options = options{}
	for name := range c.query {
		if err := checkOption(rt, name); err != nil {
			return err
		}
	}
	c.sel = parseSelect(c.query.Get("$select"))
	var err error
	for _, step := range []func(*route) error{c.parseNumbers, c.parseExpand, c.parseOrder, c.parseFilterOption} {
		if err = step(rt); err != nil {
			return err
		}
	}
	c.search = c.query.Get("$search")
	if err := c.checkSelect(rt); err != nil {
		return err
	}
	return c.checkAdvanced(rt)
}

func checkOption(rt *route, name string) error {
	system := strings.HasPrefix(name, "$")
	switch {
	case system && !slices.Contains(systemOptions, name):
		return rt.badOption("The query parameter '%s' is not supported.", name)
	case rt.takes == nil || slices.Contains(rt.takes.names, name):
		return nil
	case system && rt.service == identity:
		return fail(http.StatusBadRequest, "Request_UnsupportedQuery", "The query option '%s' is not supported by this request.", name).
			withInner("invalidQueryOption")
	case rt.service == outlook:
		return fail(http.StatusBadRequest, "ErrorInvalidUrlQuery", "The following parameters are not supported over this resource: '%s'.", name).
			withInner("invalidQueryOption")
	}
	return rt.badOption("The query option '%s' is not supported by this request.", name)
}

// badOption refuses a query: the directory has codes of its own ("Advanced query
// capabilities"), the other services the generic ones ("Error responses").
func (rt *route) badOption(format string, args ...any) *apiError {
	code := "invalidRequest"
	if rt.service == identity {
		code = "Request_BadRequest"
	}
	return fail(http.StatusBadRequest, code, format, args...).withInner("invalidQueryOption")
}

func (c *call) parseNumbers(rt *route) error {
	for name, into := range map[string]*int{"$top": &c.top, "$skip": &c.skip} {
		if !c.query.Has(name) {
			continue
		}
		n, err := strconv.Atoi(c.query.Get(name))
		if err != nil || n < 0 || name == "$top" && n == 0 {
			return rt.badOption("Invalid value '%s' for %s query option found.", c.query.Get(name), name)
		}
		*into = n
	}
	switch v := strings.ToLower(c.query.Get("$count")); v {
	case "", "false":
	case "true":
		c.count = true
	default:
		return rt.badOption("Invalid value '%s' for $count query option found.", v)
	}
	return nil
}

func (c *call) parseExpand(rt *route) error {
	if !c.query.Has("$expand") {
		return nil
	}
	items, ok := splitTop(c.query.Get("$expand"), ',')
	if !ok {
		return rt.badOption("The value of $expand is not well formed.")
	}
	for _, item := range items {
		name, rest, nested := strings.Cut(strings.TrimSpace(item), "(")
		e := expansion{name: name, options: url.Values{}}
		if nested {
			parts, ok := splitTop(strings.TrimSuffix(rest, ")"), ';')
			if !ok || !strings.HasSuffix(rest, ")") {
				return rt.badOption("The options of $expand=%s are not well formed.", name)
			}
			for _, part := range parts {
				key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
				if !slices.Contains(systemOptions, strings.ToLower(key)) && !strings.EqualFold(key, "$levels") {
					return rt.badOption("The option '%s' of $expand=%s is not supported.", key, name)
				}
				if !slices.Contains(nestedOptions[strings.ToLower(name)], strings.ToLower(key)) {
					return rt.badOption("The option '%s' of $expand=%s is not supported.", key, name)
				}
				e.options.Set(strings.ToLower(key), value)
			}
		}
		if err := c.checkExpansion(rt, name); err != nil {
			return err
		}
		c.expand = append(c.expand, e)
	}
	return nil
}

// nestedOptions are the options that $expand takes for a relation.
var nestedOptions = map[string][]string{
	"members": {"$select"}, "owners": {"$select"}, "memberof": {"$select"}, "fields": {"$select"},
	"attachments": {"$select", "$expand"}, "singlevalueextendedproperties": {"$filter"}, "exceptionoccurrences": {"$select"}, "childfolders": {"$select"},
	"items": {"$select"}, "listitem": {"$select", "$expand"},
}

func (c *call) checkExpansion(rt *route, name string) error {
	if rt.takes == nil || rt.takes.of == nil {
		return nil
	}
	p, ok := rt.takes.of.find(name)
	switch {
	case !ok:
		return rt.noProperty(name)
	case p.kind != navigationProperty:
		return rt.badOption("Property '%s' on type '%s' is not a navigation property or complex property. Only navigation properties can be expanded.", name, rt.takes.of.name)
	}
	return nil
}

func (rt *route) noProperty(name string) *apiError {
	return rt.badOption("Could not find a property named '%s' on type '%s'.", name, rt.takes.of.name)
}

// splitTop splits at a separator outside of brackets and quotes.
func splitTop(s string, separator byte) (parts []string, ok bool) {
	depth, start, quoted := 0, 0, false
	for i := range len(s) {
		switch ch := s[i]; {
		case ch == '\'':
			quoted = !quoted
		case quoted:
		case ch == '(':
			depth++
		case ch == ')':
			depth--
		case ch == separator && depth == 0:
			parts = append(parts, s[start:i])
			start = i + 1
		}
		if depth < 0 {
			return nil, false
		}
	}
	return append(parts, s[start:]), depth == 0 && !quoted
}

func (c *call) parseOrder(rt *route) error {
	if !c.query.Has("$orderby") {
		return nil
	}
	for item := range strings.SplitSeq(c.query.Get("$orderby"), ",") {
		words := strings.Fields(item)
		if len(words) == 0 || len(words) > 2 || len(words) == 2 && !strings.EqualFold(words[1], "asc") && !strings.EqualFold(words[1], "desc") {
			return rt.badOption("Syntax error in $orderby=%s.", c.query.Get("$orderby"))
		}
		if rt.takes != nil && rt.takes.of != nil {
			p, ok := rt.takes.of.find(words[0])
			if !ok {
				return rt.noProperty(words[0])
			}
			whole := !strings.Contains(words[0], "/")
			if !p.order || whole && (p.kind == complexProperty || p.kind == collectionProperty) {
				return rt.unsupported("Sorting by property '%s' is not supported.", words[0])
			}
		}
		c.order = append(c.order, ordering{words[0], len(words) == 2 && strings.EqualFold(words[1], "desc")})
	}
	return nil
}

// unsupported refuses a query that is well formed.
func (rt *route) unsupported(format string, args ...any) *apiError {
	if rt.service == identity {
		return fail(http.StatusBadRequest, "Request_UnsupportedQuery", format, args...)
	}
	return rt.badOption(format, args...)
}

func (c *call) parseFilterOption(rt *route) error {
	if !c.query.Has("$filter") {
		return nil
	}
	filter, err := parseFilter(c.query.Get("$filter"))
	if err != nil {
		return rt.badOption("Invalid filter clause: %v.", err)
	}
	c.filter = filter
	if rt.takes == nil || rt.takes.of == nil {
		return nil
	}
	var bad error
	filter.walk(func(e *predicate, path string) {
		if bad == nil && (e.path != "" || e.op == "any" || e.op == "all") {
			bad = checkCondition(rt, e, path)
		}
	})
	return bad
}

// checkCondition holds one condition of a filter against the type of its property.
func checkCondition(rt *route, e *predicate, path string) error {
	bare, counted := cutFold(path, "/$count")
	if !counted {
		bare = path
	}
	p, ok := rt.takes.of.find(bare)
	switch {
	case !ok:
		return rt.noProperty(bare)
	case !p.filter:
		return rt.unsupported("Unsupported property filter clause for property '%s'.", bare)
	case counted || e.op == "any" || e.op == "all" || strings.Contains(path, "/") || p.kind == collectionProperty && e.path != path:
		return nil // what is inside of a complex value is not typed here
	case p.kind == collectionProperty || p.kind == complexProperty:
		return rt.badOption("A collection or complex value cannot be compared: '%s'.", bare)
	}
	for _, want := range append(e.list, e.value) {
		if want != nil && !p.kind.holds(want) {
			return rt.badOption("A binary operator with incompatible types was detected: property '%s'.", bare)
		}
	}
	return nil
}

func (k propertyKind) holds(v literal) bool {
	_, isText := v.(string)
	_, isBool := v.(bool)
	_, isNumber := v.(float64)
	_, isInstant := instantOf(v)
	switch k {
	case untypedProperty:
		return true
	case boolProperty:
		return isBool
	case numberProperty:
		return isNumber
	case timeProperty:
		return isInstant && !isText
	}
	return isText
}

// checkSelect refuses properties that are not there.
func (c *call) checkSelect(rt *route) error {
	if rt.takes == nil || rt.takes.of == nil {
		return nil
	}
	for name := range c.sel {
		p, ok := rt.takes.of.find(name)
		switch {
		case name == "*":
		case !ok || p.hidden:
			return rt.noProperty(name)
		case p.single && !rt.takes.single:
			return rt.unsupported("Property '%s' is returned for a single object only.", name)
		}
	}
	return nil
}

// checkAdvanced applies the rule of the directory: what only its index can answer needs
// the header ConsistencyLevel: eventual and, except $search, $count=true ("Advanced query
// capabilities").
func (c *call) checkAdvanced(rt *route) error {
	if rt.service != identity {
		return nil
	}
	eventual := strings.EqualFold(c.r.Header.Get("ConsistencyLevel"), "eventual")
	switch {
	case c.search != "" && !eventual:
		return fail(http.StatusBadRequest, "Request_UnsupportedQuery", "Request with $search query parameter only works through MSGraph with a special request header: 'ConsistencyLevel: eventual'")
	case c.count && !eventual:
		return fail(http.StatusBadRequest, "Request_BadRequest", "$count is not currently supported.")
	case c.needsIndex(rt) && (!eventual || !c.count):
		return fail(http.StatusBadRequest, "Request_UnsupportedQuery", "Operator or combination is not supported without the header ConsistencyLevel: eventual and $count=true.")
	}
	return nil
}

// needsIndex reports whether a query is an advanced one.
func (o *options) needsIndex(rt *route) bool {
	advanced := o.filter != nil && len(o.order) > 0
	o.filter.walk(func(e *predicate, path string) {
		_, counted := cutFold(path, "/$count")
		if counted || e.op == "not" || e.op == "compare" && e.name == "ne" || e.op == "call" && e.name != "startswith" {
			advanced = true
		}
		if rt.takes != nil && rt.takes.of != nil && e.path != "" {
			if p, _ := rt.takes.of.find(path); p.advanced {
				advanced = true
			}
		}
	})
	for _, item := range o.order {
		if rt.takes == nil || rt.takes.of == nil {
			continue
		}
		if p, _ := rt.takes.of.find(item.path); p.advanced {
			advanced = true
		}
	}
	return advanced
}
