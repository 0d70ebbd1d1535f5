package graphsim

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// call is one Graph request on its way through the simulator.
type call struct {
	s     *Server
	t     *Tenant
	r     *http.Request
	w     http.ResponseWriter
	query url.Values
	sel   selection
	roles []string

	// canonical is the path below /v1.0, escaped, without function brackets.
	canonical string
	params    map[string]string
	extra     string // an option of the first call that a delta token carries
}

// param returns a variable of the route's pattern, unescaped.
func (c *call) param(name string) string { return c.params[name] }

// root is the Graph root the client knows, with the version and a slash.
func (c *call) root() string { return origin(c.r) + "/v1.0/" }

// link makes a continuation link of this request's path.
func (c *call) link(param, token string) string {
	return c.root() + c.canonical + "?" + param + "=" + url.QueryEscape(token)
}

// prefer reports whether a Prefer header (several, or one with commas) has a value.
func (c *call) prefer(value string) bool {
	for _, header := range c.r.Header.Values("Prefer") {
		for part := range strings.SplitSeq(header, ",") {
			if strings.EqualFold(strings.ReplaceAll(strings.TrimSpace(part), `"`, ""), value) {
				return true
			}
		}
	}
	return false
}

// pageSize is what the client asks for ($top, odata.maxpagesize), within bounds.
func (c *call) pageSize(usual, most int) int {
	size := usual
	if n, err := strconv.Atoi(c.query.Get("$top")); err == nil && n > 0 {
		size = n
	}
	for _, header := range c.r.Header.Values("Prefer") {
		for part := range strings.SplitSeq(header, ",") {
			v, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(part)), "odata.maxpagesize=")
			if n, err := strconv.Atoi(v); ok && err == nil && n > 0 {
				size = n
			}
		}
	}
	if c.s.o.PageSize > 0 {
		size = min(size, c.s.o.PageSize)
	}
	return min(size, most)
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
	size := 256
	for _, item := range items {
		size += len(item) + 1
	}
	b := append(make([]byte, 0, size), `{"@odata.context":`...)
	b = appendQuoted(b, c.root()+"$metadata#Collection")
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

// skipPage answers with a part of a list that is cut by number, as $skip does.
// render makes one item.
func (c *call) skipPage(count, size int, param string, render func(i int) []byte) error {
	skip, _ := strconv.Atoi(c.query.Get(param))
	skip = max(0, min(skip, count))
	end := min(skip+size, count)
	items := make([][]byte, 0, end-skip)
	for i := skip; i < end; i++ {
		items = append(items, render(i))
	}
	next := ""
	if end < count {
		q := url.Values{}
		for k, v := range c.query {
			q[k] = v
		}
		q.Set(param, strconv.Itoa(end))
		next = c.root() + c.canonical + "?" + q.Encode()
	}
	return c.page(items, next, "")
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
