package graphsim

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// maxBatch is how many requests a batch may hold ("Combine multiple requests in one HTTP
// call using JSON batching").
const maxBatch = 20

// batchWidth is how many parts run at a time: Graph forwards an unordered batch
// to Outlook four wide.
const batchWidth = 4

// batchPart is one request of a batch. What else it says (atomicityGroup) is ignored.
type batchPart struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
	DependsOn []string          `json:"dependsOn"`

	key string // the ID without case
}

type batchAnswer struct {
	ID      string            `json:"id"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    json.RawMessage   `json:"body,omitempty"`
}

// serveBatch answers $batch: each part is routed, priced and throttled by itself, and the
// answers come in any order. 200 says that the batch could be read, and nothing of its parts.
func (s *Server) serveBatch(w http.ResponseWriter, r *http.Request, t *Tenant, version string) error {
	s.stats.request(t.id, "batch")
	if r.Method != http.MethodPost {
		return fail(http.StatusMethodNotAllowed, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
	}
	c := &call{s: s, t: t, r: r, w: w}
	parts, err := c.readBatch()
	if err != nil {
		return err
	}
	answers := s.runBatch(r, version, parts)
	rand.Shuffle(len(answers), func(i, j int) { answers[i], answers[j] = answers[j], answers[i] })
	writeJSON(w, http.StatusOK, map[string]any{"responses": answers})
	return nil
}

// readBatch reads the body, in which requests is the only property.
func (c *call) readBatch() ([]batchPart, error) {
	var top map[string]json.RawMessage
	if err := c.decode(&top); err != nil {
		return nil, err
	}
	var parts []batchPart
	for name, value := range top {
		if name != "requests" {
			return nil, badRequest("Invalid batch payload format: unexpected property '%s'.", name)
		}
		if err := json.Unmarshal(value, &parts); err != nil {
			return nil, badRequest("Invalid batch payload format: %v", err)
		}
	}
	return parts, c.checkBatch(parts)
}

func (c *call) checkBatch(parts []batchPart) error {
	if len(parts) == 0 || len(parts) > maxBatch {
		return badRequest("A batch holds 1 to %d requests.", maxBatch)
	}
	seen := map[string]bool{}
	for i := range parts {
		p := &parts[i]
		p.key = strings.ToLower(p.ID)
		switch {
		case p.key == "" || seen[p.key]:
			return badRequest("Every request of a batch needs an id of its own.")
		case p.Method == "" || !p.relative():
			return badRequest("A request of the batch has no method or no relative url, or is a batch itself.")
		}
		for _, dep := range p.DependsOn {
			if !seen[strings.ToLower(dep)] {
				return badRequest("The dependency '%s' is not an earlier request.", dep)
			}
		}
		seen[p.key] = true
	}
	if c.s.o.StrictBatchOrder && !oneShape(parts) {
		return badRequest("A batch is parallel, serial, or all of it depends on the same request.")
	}
	return nil
}

// relative reports whether the URL is below the version root, and no batch again.
func (p *batchPart) relative() bool {
	u, err := url.Parse("http://graph/" + strings.TrimPrefix(p.URL, "/"))
	return err == nil && strings.HasPrefix(p.URL, "/") && u.Host == "graph" && !strings.EqualFold(strings.Trim(u.Path, "/"), "$batch")
}

// oneShape reports whether the parts are all parallel, a serial chain, or all depend on
// the same one: the older rule ("Known issues", JSON batching).
func oneShape(parts []batchPart) bool {
	parallel, serial, common := true, true, true
	for i, p := range parts {
		if len(p.DependsOn) > 1 {
			return false
		}
		parallel = parallel && len(p.DependsOn) == 0
		if i == 0 {
			continue
		}
		serial = serial && len(p.DependsOn) == 1 && strings.EqualFold(p.DependsOn[0], parts[i-1].ID)
		common = common && len(p.DependsOn) == 1 && strings.EqualFold(p.DependsOn[0], parts[0].ID)
	}
	return parallel || serial || common
}

// runBatch runs the parts, each after those it depends on.
func (s *Server) runBatch(r *http.Request, version string, parts []batchPart) []batchAnswer {
	answers := make([]batchAnswer, len(parts))
	index := map[string]int{}
	done := make([]chan struct{}, len(parts))
	for i, p := range parts {
		index[p.key], done[i] = i, make(chan struct{})
	}
	slots := make(chan struct{}, batchWidth)
	var running sync.WaitGroup
	for i, p := range parts {
		running.Go(func() {
			defer close(done[i])
			for _, dep := range p.DependsOn { // earlier parts only, so this ends
				at := index[strings.ToLower(dep)]
				<-done[at]
				if answers[at].Status >= http.StatusBadRequest {
					answers[i] = failedDependency(p.ID)
					return
				}
			}
			slots <- struct{}{}
			defer func() { <-slots }()
			answers[i] = s.runPart(r, version, p)
		})
	}
	running.Wait()
	return answers
}

func failedDependency(id string) batchAnswer {
	return batchAnswer{ID: id, Status: http.StatusFailedDependency, Headers: map[string]string{"Content-Type": "application/json"},
		Body: json.RawMessage(`{"error":{"code":"FailedDependency","message":"A request this one depends on failed."}}`)}
}

// runPart runs one part under the batch's own authorization; no other header is inherited.
func (s *Server) runPart(outer *http.Request, version string, p batchPart) (a batchAnswer) {
	held := &heldResponse{header: http.Header{}}
	defer func() {
		if cut := recover(); cut != nil {
			if err, ok := cut.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(cut)
			}
			// A fault cut the connection behind the batch: that is a gateway's answer.
			held = &heldResponse{header: http.Header{}}
			fail(http.StatusGatewayTimeout, "UnknownError", "").write(held, newID(), newID())
			a = held.part(p.ID)
		}
	}()
	inner, err := p.request(outer, version)
	if err != nil {
		asAPIError(err).write(held, newID(), newID())
		return held.part(p.ID)
	}
	s.serveGraph(held, inner)
	return held.part(p.ID)
}

// request makes the request that a part describes.
func (p *batchPart) request(outer *http.Request, version string) (*http.Request, error) {
	header := http.Header{}
	for k, v := range p.Headers {
		header.Set(k, v)
	}
	data, err := p.payload(header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if data != nil {
		body = bytes.NewReader(data)
	}
	inner, err := http.NewRequestWithContext(outer.Context(), p.Method, origin(outer)+"/"+version+p.URL, body)
	if err != nil {
		return nil, badRequest("The request cannot be read: %v", err)
	}
	if body == nil {
		inner.Body = http.NoBody
	}
	inner.TLS, inner.RemoteAddr = outer.TLS, outer.RemoteAddr
	header.Set("Authorization", outer.Header.Get("Authorization"))
	inner.Header = header
	return inner, nil
}

// payload is the body as bytes: JSON as it is, anything else from Base64. A body needs a
// content type, and a POST a body.
func (p *batchPart) payload(contentType string) ([]byte, error) {
	if len(p.Body) == 0 || string(p.Body) == "null" {
		if strings.EqualFold(p.Method, http.MethodPost) {
			return nil, badRequest("Write request id : %s does not contain Content-Type header or body.", p.ID)
		}
		return nil, nil
	}
	var text string
	switch {
	case contentType == "":
		return nil, badRequest("Write request id : %s does not contain Content-Type header or body.", p.ID)
	case strings.Contains(strings.ToLower(contentType), "json"):
		return p.Body, nil
	case json.Unmarshal(p.Body, &text) != nil:
		return nil, badRequest("The body of request %s is neither JSON nor Base64.", p.ID)
	}
	text = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(text), "=")
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, badRequest("The body of request %s is not Base64.", p.ID)
	}
	return slices.Clip(data), nil
}

// part turns a held answer into one of a batch: JSON as it is, anything else as a
// Base64 string.
func (h *heldResponse) part(id string) batchAnswer {
	setDefault(&h.status, http.StatusOK)
	a := batchAnswer{ID: id, Status: h.status, Headers: map[string]string{}}
	for k, v := range h.header {
		a.Headers[k] = strings.Join(v, ",")
	}
	switch {
	case len(h.body) == 0:
	case json.Valid(h.body) && strings.Contains(h.header.Get("Content-Type"), "json"):
		a.Body = h.body
	default:
		a.Body, _ = json.Marshal(base64.StdEncoding.EncodeToString(h.body))
	}
	return a
}
