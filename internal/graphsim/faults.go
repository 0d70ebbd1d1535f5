package graphsim

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
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
	// FaultSlow waits Delay, then answers rightly; FaultStall answers rightly, but
	// waits Delay after the first bytes of the body.
	FaultSlow  FaultKind = "slow"
	FaultStall FaultKind = "stall"
	// FaultGone is 410 with the Location of a new enumeration: a delta reset.
	FaultGone FaultKind = "gone"
	// FaultExpired answers as if what the request carries had grown too old: the
	// token in a nextLink or deltaLink, or the download URL. Any other request is
	// answered rightly.
	FaultExpired FaultKind = "expired"
	// FaultToken answers 401, as to an access token that has expired.
	FaultToken FaultKind = "token"
	// FaultMove moves the youngest message or file out of what is being listed to
	// another folder, then answers rightly.
	FaultMove FaultKind = "move"
	// FaultDuplicate names some entries of a page a second time, FaultReorder puts
	// the entries of a page into another order: a move is then told in either order.
	FaultDuplicate FaultKind = "duplicate"
	FaultReorder   FaultKind = "reorder"
)

var faultKinds = []FaultKind{FaultStatus, FaultHTML, FaultEmpty, FaultReset, FaultLost, FaultCut, FaultSlow, FaultStall,
	FaultGone, FaultExpired, FaultToken, FaultMove, FaultDuplicate, FaultReorder}

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
	cloud Cloud // of the server

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
	if !slices.Contains(faultKinds, f.Kind) {
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
	cloud Cloud
	call  *call
	seed  uint64 // of this strike
}

// take returns the first fault that strikes a request, or nil.
func (set *faultSet) take(q faultQuery) *strike {
	set.mu.Lock()
	defer set.mu.Unlock()
	for _, f := range set.list {
		if f.matches(q) && f.strikes() {
			return &strike{Fault: f.Fault, cloud: set.cloud, call: q.call, seed: f.die.Uint64()}
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
