package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// maxFaultBody bounds what is read of an error's body: gateways answer with
	// whole HTML pages.
	maxFaultBody = 64 << 10
	// maxFaultText bounds what of Graph's message goes into the error's text.
	maxFaultText = 300
	// maxNesting bounds the innerError chain that is followed.
	maxNesting = 8
)

// A fault is an answer of status 400 and up, with what is needed to act on it
// and to ask Microsoft about it. It is the cause inside a tenantry.Error.
type fault struct {
	status    int
	code      string   // the deepest code that is known, else the outermost
	codes     []string // outermost first
	message   string   // for people; may change, may be empty
	requestID string
	date      string
	wait      time.Duration // what the answer asks for; 0: nothing
	open      bool          // from a pre-authenticated host, not from Graph
	size      int64         // of the content, where a refused range names it; else -1
}

func (f *fault) Error() string {
	var b strings.Builder
	host := "Graph"
	if f.open {
		host = "content host"
	}
	fmt.Fprintf(&b, "%s answered %d", host, f.status)
	if f.code != "" {
		b.WriteString(" " + f.code)
	}
	if f.message != "" {
		b.WriteString(": " + f.message)
	}
	if f.requestID != "" {
		fmt.Fprintf(&b, " (request-id %s, %s)", f.requestID, f.date)
	}
	return b.String()
}

// Answered returns the HTTP status. That it is in an error's chain tells a throttle that Microsoft
// answered from one of the account book, which came before the request.
func (f *fault) Answered() int { return f.status }

// RequestID returns Graph's name for the request, which Microsoft's support asks for; "" if
// the answer had none.
func (f *fault) RequestID() string { return f.requestID }

// faultOf returns the fault in err's chain, or nil.
func faultOf(err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	return nil
}

// statusOf returns the HTTP status in err's chain, or 0.
func statusOf(err error) int {
	if f := faultOf(err); f != nil {
		return f.status
	}
	return 0
}

// readFault reads an answer of status 400 and up and closes it. Any body will
// do: OData errors, token-like errors, HTML, nothing.
func readFault(resp *http.Response, open bool, now time.Time) *fault {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxFaultBody)) // the status says enough
	_ = resp.Body.Close()
	f := &fault{
		status:    resp.StatusCode,
		requestID: firstOf(resp.Header, "request-id", "x-ms-request-id", "SPRequestGuid"),
		date:      resp.Header.Get("Date"),
		wait:      waitOf(resp.Header, now),
		open:      open,
		size:      sizeOf(resp.Header.Get("Content-Range")),
	}
	f.codes, f.message = parseFault(body)
	f.code = deepestKnown(f.codes)
	if f.code == "" && resp.Header.Get("X-Virus-Infected") == "true" {
		f.code = "malwareDetected" // seen on download hosts, which send no OData body
	}
	f.message = presentable(f.message)
	return f
}

func firstOf(h http.Header, names ...string) string {
	for _, name := range names {
		if v := h.Get(name); v != "" {
			return v
		}
	}
	return ""
}

// sizeOf reads the size from "bytes */1234", which comes with status 416; -1
// when there is none.
func sizeOf(contentRange string) int64 {
	_, text, ok := strings.Cut(contentRange, "*/")
	size, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil {
		return -1
	}
	return size
}

// parseFault reads {"error": {"code", "message", "innerError": {…}}} as far as
// the body is like that. "innererror" is the schema's spelling, "innerError" the
// usual one; encoding/json matches both. Numbers may stand where strings should.
func parseFault(body []byte) (codes []string, message string) {
	var outer struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &outer) != nil {
		return nil, ""
	}
	next := outer.Error
	for range maxNesting {
		var level struct {
			Code    any             `json:"code"`
			Message any             `json:"message"`
			Inner   json.RawMessage `json:"innerError"`
		}
		if len(next) == 0 || json.Unmarshal(next, &level) != nil {
			break
		}
		if code, ok := level.Code.(string); ok && code != "" {
			codes = append(codes, code)
		}
		if text, ok := level.Message.(string); ok && message == "" {
			message = text
		}
		next = level.Inner
	}
	return codes, message
}

// deepestKnown picks the code to act on: inner codes are more specific, but only
// those with a meaning here count.
func deepestKnown(codes []string) string {
	for i := len(codes) - 1; i >= 0; i-- {
		if _, ok := kindByCode[strings.ToLower(codes[i])]; ok {
			return codes[i]
		}
	}
	if len(codes) > 0 {
		return codes[0]
	}
	return ""
}

var addresses = regexp.MustCompile(`(?i)\bhttps?://[^\s"'<>]+`)

// presentable makes Graph's message fit for a log line: one line, bounded, and
// without addresses, which may be pre-authenticated.
func presentable(text string) string {
	text = addresses.ReplaceAllString(strings.Join(strings.Fields(text), " "), "(address)")
	if len(text) > maxFaultText {
		text = strings.ToValidUTF8(text[:maxFaultText], "") + "…"
	}
	return text
}

// waitOf returns how long an answer asks to wait: the greater of Retry-After
// (seconds, fractions of seconds, or an HTTP date) and, when it is exhausted,
// RateLimit-Reset (SharePoint, IETF draft-03).
func waitOf(h http.Header, now time.Time) time.Duration {
	wait := retryAfter(h.Get("Retry-After"), now)
	if h.Get("RateLimit-Remaining") == "0" {
		wait = max(wait, retryAfter(h.Get("RateLimit-Reset"), now))
	}
	return wait
}

func retryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		if !(seconds > 0) {
			return 0
		}
		return min(time.Duration(min(seconds, 1e6)*float64(time.Second)), maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil && at.After(now) {
		return min(at.Sub(now), maxRetryAfter)
	}
	return 0
}

// maxRetryAfter bounds what a header may ask for: a broken clock somewhere must
// not park a tenant for years.
const maxRetryAfter = 24 * time.Hour

// failed turns a fault into the error of a failed action.
func failed(op string, f *fault, now time.Time) *tenantry.Error {
	e := &tenantry.Error{Kind: kindOf(f), Op: op, Code: f.code, Err: f}
	if e.Kind == tenantry.Reconnect && strings.EqualFold(f.code, "Authorization_RequestDenied") {
		e.Op += ": permission missing: consent again"
	}
	if f.wait > 0 && (e.Kind == tenantry.Throttled || e.Kind == tenantry.Transient) {
		e.Until = now.Add(f.wait)
	}
	return e
}

// unreached is the error of a request that got no answer, or of a body that
// broke. The HTTP client's error names the address, which may be
// pre-authenticated: only its cause is kept.
func unreached(op string, err error) *tenantry.Error {
	var ours *tenantry.Error
	if errors.As(err, &ours) {
		return tenantry.E(ours.Kind, op, ours)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	kind := tenantry.Transient
	if tenantry.KindOf(err) == tenantry.Canceled {
		kind = tenantry.Canceled
	}
	return tenantry.E(kind, op, err)
}

// withKind returns err as an error of another kind, everything else kept.
func withKind(err error, kind tenantry.Kind) error {
	var e *tenantry.Error
	if !errors.As(err, &e) {
		return err
	}
	other := *e
	other.Kind = kind
	return &other
}
