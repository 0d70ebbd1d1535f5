package graphsim

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// maxBatch is how many requests a batch may hold.
const maxBatch = 20

// batchWidth is how many parts run at a time: Graph forwards an unordered batch
// to Outlook four wide.
const batchWidth = 4

type batchPart struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
	DependsOn []string          `json:"dependsOn"`
}

type batchAnswer struct {
	ID      string            `json:"id"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    json.RawMessage   `json:"body,omitempty"`
}

// serveBatch answers $batch: each part is routed, priced and throttled by itself.
func (s *Server) serveBatch(w http.ResponseWriter, r *http.Request, t *Tenant, version string) error {
	s.stats.request(t.id, "batch")
	c := &call{s: s, t: t, r: r, w: w}
	var in struct {
		Requests []batchPart `json:"requests"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := checkBatch(in.Requests); err != nil {
		return err
	}
	answers := make([]batchAnswer, len(in.Requests))
	done := map[string]chan struct{}{}
	index := map[string]int{}
	for i, p := range in.Requests {
		done[p.ID], index[p.ID] = make(chan struct{}), i
	}
	slots := make(chan struct{}, batchWidth)
	var running sync.WaitGroup
	for i, p := range in.Requests {
		running.Go(func() {
			defer close(done[p.ID])
			for _, dep := range p.DependsOn { // earlier parts only, so this ends
				<-done[dep]
				if answers[index[dep]].Status >= 400 {
					answers[i] = batchAnswer{ID: p.ID, Status: http.StatusFailedDependency, Headers: map[string]string{},
						Body: json.RawMessage(`{"error":{"code":"FailedDependency","message":"A request this one depends on failed."}}`)}
					return
				}
			}
			slots <- struct{}{}
			answers[i] = s.runPart(r, version, p)
			<-slots
		})
	}
	running.Wait()
	writeJSON(w, http.StatusOK, map[string]any{"responses": answers})
	return nil
}

func checkBatch(parts []batchPart) error {
	seen := map[string]bool{}
	for _, p := range parts {
		id := strings.ToLower(p.ID)
		switch {
		case id == "" || seen[id]:
			return badRequest("Every request of a batch needs an id of its own.")
		case p.Method == "" || !strings.HasPrefix(p.URL, "/") || strings.HasPrefix(p.URL, "/$batch"):
			return badRequest("A request of the batch has no method or no relative url.")
		}
		for _, dep := range p.DependsOn {
			if !seen[strings.ToLower(dep)] {
				return badRequest("The dependency '%s' is not an earlier request.", dep)
			}
		}
		seen[id] = true
	}
	if len(parts) == 0 || len(parts) > maxBatch {
		return badRequest("A batch holds 1 to %d requests.", maxBatch)
	}
	return nil
}

func (s *Server) runPart(outer *http.Request, version string, p batchPart) batchAnswer {
	var body io.Reader
	if len(p.Body) > 0 {
		body = bytes.NewReader(p.Body)
	}
	inner, err := http.NewRequestWithContext(outer.Context(), p.Method, origin(outer)+"/"+version+p.URL, body)
	held := &heldResponse{header: http.Header{}}
	if err != nil {
		badRequest("The request cannot be read: %v", err).write(held, "", "")
		return held.part(p.ID)
	}
	inner.TLS = outer.TLS
	inner.Header.Set("Authorization", outer.Header.Get("Authorization"))
	for k, v := range p.Headers {
		inner.Header.Set(k, v)
	}
	s.serveGraph(held, inner)
	return held.part(p.ID)
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
	case json.Valid(h.body):
		a.Body = h.body
	default:
		a.Body, _ = json.Marshal(base64.StdEncoding.EncodeToString(h.body))
	}
	return a
}
