package graphsim

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// call is one Graph request on its way through the simulator.
type call struct {
	s     *Server
	t     *Tenant
	r     *http.Request
	w     http.ResponseWriter
	rt    *route
	query url.Values // system options in lower case
	sel   selection
	options
	roles []string
	// app is the application of the token; delegated tells that a person signed in.
	app       string
	delegated bool
	user      string // whom a delegated token speaks for
	// tokenTooOld makes a delta token look expired (FaultExpired).
	tokenTooOld bool

	path    string // below the version, unescaped, as the client wrote it
	version string // of the API: "v1.0" or "beta"
	// canonical is the path below the version, escaped, without function brackets.
	canonical string
	params    map[string]string
	extra     string // an option of the first call that a delta token carries
}

// param returns a variable of the route's pattern, unescaped.
func (c *call) param(name string) string { return c.params[name] }

// root is the Graph root the client knows, with the version and a slash.
func (c *call) root() string { return origin(c.r) + "/" + c.version + "/" }

// link makes a continuation link of this request's path.
func (c *call) link(param, token string) string {
	return c.root() + c.canonical + "?" + param + "=" + url.QueryEscape(token)
}

// preferences are the values of the Prefer headers (several, or one with commas).
func (c *call) preferences(yield func(string) bool) {
	for _, header := range c.r.Header.Values("Prefer") {
		for part := range strings.SplitSeq(header, ",") {
			if part = strings.TrimSpace(part); part != "" && !yield(part) {
				return
			}
		}
	}
}

// prefer reports whether the client prefers a value, and tells it that it got it.
func (c *call) prefer(value string) bool {
	for part := range c.preferences {
		if strings.EqualFold(strings.ReplaceAll(part, `"`, ""), value) {
			c.applied(part)
			return true
		}
	}
	return false
}

// applied notes a preference that took effect in the answer's Preference-Applied.
func (c *call) applied(preference string) {
	const name = "Preference-Applied"
	before := c.w.Header().Get(name)
	switch {
	case before == "":
		c.w.Header().Set(name, preference)
	case !slices.Contains(strings.Split(before, ", "), preference):
		c.w.Header().Set(name, before+", "+preference)
	}
}

// pageSize is what the client asks for ($top, odata.maxpagesize), within bounds.
func (c *call) pageSize(usual, most int) int {
	size := usual
	if c.top > 0 {
		size = c.top
	}
	for part := range c.preferences {
		v, ok := strings.CutPrefix(strings.ToLower(part), "odata.maxpagesize=")
		if n, err := strconv.Atoi(v); ok && err == nil && n > 0 {
			size = n
			c.applied(part)
		}
	}
	if c.s.o.PageSize > 0 {
		size = min(size, c.s.o.PageSize)
	}
	return min(size, most)
}

// prefersPageSize reports whether this request says how long a page is.
func (c *call) prefersPageSize() bool {
	for part := range c.preferences {
		if strings.HasPrefix(strings.ToLower(part), "odata.maxpagesize=") {
			return true
		}
	}
	return false
}

const jsonType = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"

func (c *call) json(status int, body []byte) error {
	c.w.Header().Set("Content-Type", jsonType)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body) // the client has gone: nothing to tell it
	return nil
}

func (c *call) empty(status int) error {
	c.w.WriteHeader(status)
	return nil
}

// page answers with a collection and its continuation.
func (c *call) page(items [][]byte, next, delta string) error {
	return c.writePage(items, next, delta, -1)
}

// writePage is page with a count of all items, unless it is negative.
func (c *call) writePage(items [][]byte, next, delta string, count int64) error {
	size := 256
	for _, item := range items {
		size += len(item) + 1
	}
	b := append(make([]byte, 0, size), `{"@odata.context":`...)
	b = appendQuoted(b, c.root()+"$metadata#"+c.contextPath())
	if count >= 0 {
		b = strconv.AppendInt(append(b, `,"@odata.count":`...), count, 10)
	}
	if next != "" {
		b = appendQuoted(append(b, `,"@odata.nextLink":`...), next)
	}
	if delta != "" {
		b = appendQuoted(append(b, `,"@odata.deltaLink":`...), delta)
	}
	b = append(b, `,"value":[`...)
	for i, item := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, item...)
	}
	return c.json(http.StatusOK, append(b, "]}"...))
}

// contextPath names the collection of the request as OData's metadata does:
// users('id')/mailFolders.
func (c *call) contextPath() string {
	if c.rt == nil {
		return "Collection"
	}
	var b strings.Builder
	for _, s := range c.rt.segments {
		switch {
		case s == "delta" || s == "getAllSites" || strings.Contains(s, "."):
		case s[0] == '{':
			b.WriteString("('" + url.PathEscape(c.params[s[1:len(s)-1]]) + "')")
		case s[0] != '@':
			if b.Len() > 0 {
				b.WriteByte('/')
			}
			b.WriteString(s)
		}
	}
	return b.String()
}

// entity answers with one object and the context that says of which collection it is.
func (c *call) entity(status int, body []byte) error {
	b := append(make([]byte, 0, len(body)+128), `{"@odata.context":`...)
	path := strings.TrimSuffix(c.contextPath(), "')")
	if i := strings.LastIndex(path, "('"); i > 0 && len(path) < len(c.contextPath()) {
		path = path[:i]
	}
	b = appendQuoted(b, c.root()+"$metadata#"+path+"/$entity")
	if len(body) > 2 {
		b = append(b, ',')
	}
	return c.json(status, append(b, body[1:]...))
}

// maxJSONBody is the largest request body Graph takes outside uploads.
const maxJSONBody = 4 << 20

// body reads the request's body, refusing more than limit bytes.
func (c *call) body(limit int64) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, fail(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request body is over %d bytes.", limit)
	case err != nil:
		return nil, badRequest("IO error during request payload read: %v", err)
	}
	return data, nil
}

// decode reads the request's body as a JSON object.
func (c *call) decode(v any) error {
	data, err := c.body(maxJSONBody)
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return badRequest("The request has no body.")
	}
	if err := json.Unmarshal(data, v); err != nil {
		return badRequest("Unable to read JSON request payload: %v", err)
	}
	return nil
}
