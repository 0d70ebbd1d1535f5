package graphsim

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// FaultKind says what goes wrong.
type FaultKind string

// The kinds of fault.
const (
	// FaultStatus answers Status with Code, Message and Headers; the default.
	FaultStatus FaultKind = "status"
	// FaultHTML is a gateway's 503: HTML, not JSON.
	FaultHTML FaultKind = "html"
	// FaultEmpty answers Status (default 404) with an empty body.
	FaultEmpty FaultKind = "empty"
	// FaultReset cuts the connection before an answer, FaultLost after the
	// request was carried out: the client cannot know.
	FaultReset FaultKind = "reset"
	FaultLost  FaultKind = "lost"
	// FaultCut sends the head and half of the body of the right answer.
	FaultCut FaultKind = "cut"
	// FaultSlow waits Delay, then answers rightly.
	FaultSlow FaultKind = "slow"
	// FaultGone is 410 with the Location of a new enumeration: a delta reset.
	FaultGone FaultKind = "gone"
	// FaultMove moves the youngest message out of the folder that is being
	// listed, then answers rightly.
	FaultMove FaultKind = "move"
)

// Fault is something that goes wrong on demand. It strikes requests that match
// Method, Path and Tenant; which of those is said by Nth, Every or Probability
// (none: all); Count bounds how often.
type Fault struct {
	ID     string    `json:"id"`
	Method string    `json:"method,omitempty"`
	Path   string    `json:"path,omitempty"`   // regular expression on the path without /v1.0, or on the login or file path
	Tenant string    `json:"tenant,omitempty"` // ID
	Kind   FaultKind `json:"kind"`

	Nth         int     `json:"nth,omitempty"`         // the n-th matching request, once
	Every       int     `json:"every,omitempty"`       // each n-th
	Probability float64 `json:"probability,omitempty"` // by a seeded die
	Count       int     `json:"count,omitempty"`       // at most so often; 0 is without bound

	Status  int               `json:"status,omitempty"`
	Code    string            `json:"code,omitempty"`
	Message string            `json:"message,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Delay   time.Duration     `json:"delay,omitempty"` // nanoseconds

	// Matched and Struck are how many requests matched and how many were hit.
	Matched int `json:"matched"`
	Struck  int `json:"struck"`
}

type armedFault struct {
	Fault
	path *regexp.Regexp
	die  *rand.Rand
}

// faultSet is the faults in force. Safe for concurrent use.
type faultSet struct {
	mu   sync.Mutex
	list []*armedFault
	next int
}

// Inject arms a fault and returns its ID. Errors: a path that is no regular
// expression, an unknown kind.
func (s *Server) Inject(f Fault) (string, error) {
	path, err := regexp.Compile(f.Path)
	if err != nil {
		return "", fmt.Errorf("graphsim: fault path: %w", err)
	}
	setDefault(&f.Kind, FaultStatus)
	switch f.Kind {
	case FaultStatus, FaultHTML, FaultEmpty, FaultReset, FaultLost, FaultCut, FaultSlow, FaultGone, FaultMove:
	default:
		return "", fmt.Errorf("graphsim: unknown kind of fault %q", f.Kind)
	}
	set := &s.faults
	set.mu.Lock()
	defer set.mu.Unlock()
	set.next++
	f.ID, f.Matched, f.Struck = strconv.Itoa(set.next), 0, 0
	set.list = append(set.list, &armedFault{Fault: f, path: path, die: newRand(mix(s.seed, uint64(set.next)))})
	return f.ID, nil
}

// Clear removes a fault; "" removes all.
func (s *Server) Clear(id string) {
	set := &s.faults
	set.mu.Lock()
	defer set.mu.Unlock()
	var kept []*armedFault
	for _, f := range set.list {
		if id != "" && f.ID != id {
			kept = append(kept, f)
		}
	}
	set.list = kept
}

// Faults returns the faults in force with how often they struck.
func (s *Server) Faults() []Fault {
	set := &s.faults
	set.mu.Lock()
	defer set.mu.Unlock()
	list := make([]Fault, len(set.list))
	for i, f := range set.list {
		list[i] = f.Fault
	}
	return list
}

// faultQuery is a request as faults see it.
type faultQuery struct {
	method, path, tenant string
	call                 *call // nil outside Graph
}

// strike is a fault that hits one request.
type strike struct {
	Fault
	call *call
}

// take returns the first fault that strikes a request, or nil.
func (set *faultSet) take(q faultQuery) *strike {
	set.mu.Lock()
	defer set.mu.Unlock()
	for _, f := range set.list {
		if f.matches(q) && f.strikes() {
			return &strike{Fault: f.Fault, call: q.call}
		}
	}
	return nil
}

func (f *armedFault) matches(q faultQuery) bool {
	return (f.Method == "" || f.Method == q.method) && (f.Tenant == "" || f.Tenant == q.tenant) && f.path.MatchString(q.path)
}

func (f *armedFault) strikes() bool {
	if f.Count > 0 && f.Struck >= f.Count {
		return false
	}
	f.Matched++
	switch {
	case f.Nth > 0:
		if f.Matched != f.Nth {
			return false
		}
	case f.Every > 0:
		if f.Matched%f.Every != 0 {
			return false
		}
	case f.Probability > 0:
		if f.die.Float64() >= f.Probability {
			return false
		}
	}
	f.Struck++
	return true
}

// apply does what the fault says; serve gives the right answer. It reports
// whether the request is answered.
func (f *strike) apply(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter)) bool {
	switch f.Kind {
	case FaultSlow:
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
			return false
		case <-r.Context().Done():
			return true
		}
	case FaultMove:
		if f.call != nil {
			f.call.moveYoungest()
		}
		return false
	case FaultReset:
		cutConnection(w)
	case FaultLost:
		serve(&heldResponse{header: http.Header{}})
		cutConnection(w)
	case FaultCut:
		held := &heldResponse{header: w.Header()}
		serve(held)
		held.sendHalf(w)
	default:
		f.answer(w)
	}
	return true
}

func (f *strike) answer(w http.ResponseWriter) {
	status, code := f.Status, f.Code
	switch f.Kind {
	case FaultHTML:
		setDefault(&status, http.StatusServiceUnavailable)
		w.Header().Set("Content-Type", "text/html")
	case FaultEmpty:
		setDefault(&status, http.StatusNotFound)
	case FaultGone:
		setDefault(&status, http.StatusGone)
		setDefault(&code, "resyncRequired")
		if f.call != nil {
			w.Header().Set("Location", f.call.root()+f.call.canonical)
		}
	default:
		setDefault(&status, http.StatusServiceUnavailable)
		setDefault(&code, "serviceNotAvailable")
	}
	for k, v := range f.Headers {
		w.Header().Set(k, v)
	}
	switch f.Kind {
	case FaultHTML:
		w.WriteHeader(status)
		fmt.Fprint(w, "<html><head><title>Service Unavailable</title></head><body><h2>Our services aren't available right now</h2></body></html>")
	case FaultEmpty:
		w.WriteHeader(status)
	default:
		id := w.Header().Get("request-id")
		fail(status, code, "%s", f.Message).write(w, id, id)
	}
}

// cutConnection resets the connection of a request.
func cutConnection(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		return
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		return
	}
	below := conn
	for {
		wrapped, ok := below.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		below = wrapped.NetConn()
	}
	if tcp, ok := below.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // so that the client sees a reset, not an end
	}
	_ = below.Close()
}

// heldResponse keeps an answer back.
type heldResponse struct {
	header http.Header
	status int
	body   []byte
}

func (h *heldResponse) Header() http.Header { return h.header }

func (h *heldResponse) WriteHeader(status int) { setDefault(&h.status, status) }

func (h *heldResponse) Write(p []byte) (int, error) {
	setDefault(&h.status, http.StatusOK)
	h.body = append(h.body, p...)
	return len(p), nil
}

// sendHalf announces the whole answer, sends half of its body and ends the
// connection.
func (h *heldResponse) sendHalf(w http.ResponseWriter) {
	w.Header().Set("Content-Length", strconv.Itoa(len(h.body)))
	setDefault(&h.status, http.StatusOK)
	w.WriteHeader(h.status)
	_, _ = w.Write(h.body[:len(h.body)/2])
	if flusher, ok := w.(http.Flusher); ok {
		flusher.Flush()
	}
	cutConnection(w)
}

// moveYoungest moves the youngest message of the request's folder to the first
// folder that is not it: already listed by most clients, so it is easily lost.
func (c *call) moveYoungest() {
	b, err := c.lockMailbox()
	if err != nil {
		return
	}
	defer b.mu.Unlock()
	f, err := b.folder(c.param("folder"))
	if err != nil || len(f.items) == 0 {
		return
	}
	to := b.wellKnown["inbox"]
	if f == to {
		to = b.wellKnown["archive"]
	}
	b.moveMessage(f.items[len(f.items)-1], to)
}
