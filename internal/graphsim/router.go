package graphsim

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// service says whose limits a request counts against.
type service int

const (
	identity service = iota
	outlook
	sharePoint
	teams
)

func (s service) String() string { return [...]string{"identity", "outlook", "sharepoint", "teams"}[s] }

// route is one operation of Graph. Its pattern is the path below /v1.0 with
// {variables}; a segment @path stands for path addressing (":/a/b:").
type route struct {
	method  string
	pattern string
	service service
	units   int // resource units (identity, SharePoint)
	roles   []string
	takes   *taken // query options
	beta    bool   // not in v1.0
	appOnly bool   // not for signed-in people
	handle  func(*call) error

	segments []string
}

// router finds routes by method and path.
type router struct {
	bySize map[int][]*route
	cloud  Cloud // lacks some of them
}

func newRouter() *router {
	rt := &router{bySize: map[int][]*route{}}
	for _, area := range [][]route{directoryRoutes(), partnerRoutes(), registrationRoutes(), siteRoutes(), exchangeRoutes(), officeRoutes()} {
		for _, r := range area {
			r.segments = strings.Split(r.pattern, "/")
			if r.takes != nil && r.takes.of == nil && len(r.takes.names) > 0 {
				r.takes = &taken{of: r.typeOf(), names: r.takes.names, single: r.takes.single}
			}
			rt.bySize[len(r.segments)] = append(rt.bySize[len(r.segments)], &r)
		}
	}
	return rt
}

// find returns the route for a path, and the values of its variables. Earlier
// routes win, so that users/delta stands before users/{user}.
func (rt *router) find(version, method string, segments []string) (*route, map[string]string, error) {
	known := false
	for _, r := range rt.bySize[len(segments)] {
		params, ok := r.match(segments)
		if !ok || r.beta && version != "beta" || rt.cloud != CloudGlobal && rt.cloud.lacks(r.pattern) {
			continue
		}
		known = true
		if r.method == method {
			return r, params, nil
		}
	}
	if known {
		return nil, nil, fail(http.StatusMethodNotAllowed, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
	}
	return nil, nil, fail(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '%s'.", segments[len(segments)-1])
}

func (rt *route) match(segments []string) (map[string]string, bool) {
	for i, want := range rt.segments {
		if want[0] != '{' && !strings.EqualFold(want, segments[i]) {
			return nil, false
		}
	}
	params := map[string]string{}
	for i, want := range rt.segments {
		if want[0] == '{' {
			params[want[1:len(want)-1]] = segments[i]
		}
	}
	return params, true
}

// target is a request path taken apart.
type target struct {
	segments []string // unescaped
	path     string   // the relative path of path addressing, unescaped
	args     url.Values
}

var (
	// keyed is OData's other way to name an entity: mailFolders('id').
	keyed = regexp.MustCompile(`^([A-Za-z]+)\('([^']*)'\)$`)
	// alternate names one by another key: applications(uniqueName='x').
	alternate = regexp.MustCompile(`^([A-Za-z]+)\(([A-Za-z]+)='([^']*)'\)$`)
	// function is a call like delta(), delta(token='x') or microsoft.graph.delta().
	function = regexp.MustCompile(`^(?:microsoft\.graph\.)?(delta|getAllSites|getAllMessages|allMessages)(?:\(([^)]*)\))?$`)
	argument = regexp.MustCompile(`([A-Za-z]+)='([^']*)'`)
)

// parseTarget splits an escaped path below /v1.0 and brings the several ways in
// which OData lets one write it to one form.
func parseTarget(escaped string) (target, error) {
	t := target{args: url.Values{}}
	raw := strings.Split(strings.Trim(escaped, "/"), "/")
	for i := 0; i < len(raw); i++ {
		seg, err := url.PathUnescape(raw[i])
		if err != nil {
			return target{}, fail(http.StatusBadRequest, "BadRequest", "The path is not well formed.")
		}
		if before, ok := strings.CutSuffix(seg, ":"); ok && i > 0 && i+1 < len(raw) {
			used, err := t.addressed(before, raw[i+1:])
			if err != nil {
				return target{}, err
			}
			i += used
			continue
		}
		t.add(seg)
	}
	return t, nil
}

func (t *target) add(seg string) {
	if m := keyed.FindStringSubmatch(seg); m != nil {
		t.segments = append(t.segments, m[1], m[2])
		return
	}
	if m := function.FindStringSubmatch(seg); m != nil {
		for _, arg := range argument.FindAllStringSubmatch(m[2], -1) {
			t.args.Set(arg[1], arg[2])
		}
		t.segments = append(t.segments, m[1])
		return
	}
	if m := alternate.FindStringSubmatch(seg); m != nil {
		t.segments = append(t.segments, m[1], m[2]+"="+m[3])
		return
	}
	t.segments = append(t.segments, seg)
}

// addressed takes the segments of ":/a/b:" after the item they start from.
func (t *target) addressed(item string, rest []string) (used int, err error) {
	if item == "root" && t.segments[len(t.segments)-1] != "items" {
		t.segments = append(t.segments, "items")
	}
	t.segments = append(t.segments, item, "@path")
	var names []string
	for _, raw := range rest {
		used++
		name, err := url.PathUnescape(raw)
		if err != nil {
			return 0, fail(http.StatusBadRequest, "BadRequest", "The path is not well formed.")
		}
		name, closed := strings.CutSuffix(name, ":")
		names = append(names, name)
		if closed {
			break
		}
	}
	t.path = strings.Join(names, "/")
	return used, nil
}

// canonical writes segments back as a path for links.
func canonical(segments []string) string {
	escaped := make([]string, len(segments))
	for i, s := range segments {
		escaped[i] = url.PathEscape(s)
	}
	return strings.Join(escaped, "/")
}
