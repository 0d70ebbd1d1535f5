package graph

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// call is one request as it is meant, apart from token, tries and permits.
type call struct {
	op     string // what fails if it fails: "read a page of messages"
	method string
	url    string
	header http.Header
	body   []byte
	cost   throttle.Call
	// open: the address carries its own credential. No bearer token goes there.
	open bool
	// once: carrying it out twice does its work twice.
	once bool
	// stream: the body is read at the reader's pace, bounded by stalls and by the
	// permit's deadline, not by the policy's time for a request.
	stream bool
}

// do sends c, by the retry policy, and hands the answer (2xx, 3xx) to use within
// the try, so that a body that breaks is asked for again. The answer is closed
// when use returns.
func (t *Tenant) do(ctx context.Context, c call, use func(*answer) error) error {
	return t.client.policy.retry(ctx, c.once, func() error {
		a, err := t.attempt(ctx, c)
		if err != nil {
			return err
		}
		defer a.end()
		return use(a)
	})
}

// open sends c like do and returns the answer, whose body the caller reads and
// closes.
func (t *Tenant) open(ctx context.Context, c call) (*answer, error) {
	var a *answer
	err := t.client.policy.retry(ctx, c.once, func() (err error) {
		a, err = t.attempt(ctx, c)
		return err
	})
	return a, err
}

// attempt is one try. A 401 has one more with a fresh token: the cached one may
// have been revoked. The second 401 is the tenant's answer.
func (t *Tenant) attempt(ctx context.Context, c call) (*answer, error) {
	if c.open {
		return t.send(ctx, c, "")
	}
	if !t.bearer.IsZero() {
		return t.send(ctx, c, t.bearer.Reveal()) // there is no other
	}
	for fresh := false; ; fresh = true {
		bearer, err := t.client.tokens.get(ctx, t.holder())
		if err != nil {
			return nil, notSent(c.op, err)
		}
		a, err := t.send(ctx, c, bearer)
		if statusOf(err) != http.StatusUnauthorized {
			return a, err
		}
		t.client.tokens.drop(bearer)
		if fresh {
			return nil, err
		}
	}
}

// notSent keeps kind, time and code of an error that came before the request.
func notSent(op string, err error) error {
	e := &tenantry.Error{Kind: tenantry.KindOf(err), Op: op, Until: tenantry.UntilOf(err), Code: tenantry.CodeOf(err)}
	e.Err = sendError{err}
	return e
}

// sendError marks its cause as one of before the request left.
type sendError struct{ error }

func (e sendError) Unwrap() []error { return []error{e.error, errNotSent} }

// send makes one HTTP request under one permit.
func (t *Tenant) send(ctx context.Context, c call, bearer string) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, body(c))
	if err != nil || !t.client.permitted(c, req.URL) {
		return nil, wrong(tenantry.Internal, codeForeign, c.op, "the address is not on a host of this cloud: refused")
	}
	t.client.dress(req, c, bearer)
	ctx, span := traced(ctx, c)
	a, err := t.exchange(ctx, c, req, span)
	if err != nil {
		endFailed(span, err)
		return nil, err
	}
	a.span = span
	return a, nil
}

// exchange pays for a request and sends it. The span is the caller's to end.
func (t *Tenant) exchange(ctx context.Context, c call, req *http.Request, span trace.Span) (*answer, error) {
	asked := time.Now()
	permit, err := t.client.limiter.Acquire(ctx, c.cost)
	waited(span, asked)
	if err != nil {
		return nil, notSent(c.op, err)
	}
	a := newAnswer(ctx, c, t.client.policy, permit)
	resp, err := t.client.http.Do(req.WithContext(a.ctx))
	if err != nil {
		err = a.cause(err)
		permit.Done(0, nil)
		a.end()
		return nil, unreached(c.op, err)
	}
	a.resp = resp
	answeredWith(span, resp.StatusCode)
	wait := permit.Done(resp.StatusCode, resp.Header)
	if resp.StatusCode < http.StatusBadRequest {
		a.rest()
		return a, nil
	}
	now := time.Now()
	f := readFault(resp, c.open, now)
	f.wait = max(f.wait, wait)
	a.end()
	return nil, failed(c.op, f, now)
}

// permitted says whether a request may go there: one with a token only to this cloud's Graph, and a
// pre-authenticated one only to a host that keeps content of this cloud.
func (c *Client) permitted(call call, to *url.URL) bool {
	if call.open {
		return c.at.keepsContent(to)
	}
	return c.at.own(to)
}

func body(c call) io.Reader {
	if c.body == nil {
		return nil
	}
	return bytes.NewReader(c.body) // with a known length: nothing goes chunked
}

// dress adds what every request carries. A fresh client-request-id per try is
// what Microsoft's support asks for.
func (c *Client) dress(req *http.Request, call call, bearer string) {
	for name, values := range call.header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if call.open {
		return
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	if call.cost.Service == tenantry.Identity {
		// Under throttling, sheds bulk work first. It changes no quota.
		req.Header.Set("x-ms-throttle-priority", priority(call.cost.Reserve))
	}
	req.Header.Set("Client-Request-Id", uuid.NewString())
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
}

func priority(reserve bool) string {
	if reserve {
		return "high"
	}
	return "low"
}

// An answer is a response (2xx, 3xx) with its permit and its clock. Its reader
// turns what breaks into errors of ours. For one goroutine.
type answer struct {
	resp     *http.Response
	op       string
	ctx      context.Context
	cancel   context.CancelCauseFunc
	stop     context.CancelFunc
	stall    *time.Timer // nil unless the body is a stream
	patience time.Duration
	permit   *throttle.Permit
	unwatch  func() bool // of the permit
	span     trace.Span  // nil until there is an answer: ends with its body
	closed   sync.Once
}

var (
	errStalled = errors.New("nothing came for too long")
	errTooSlow = errors.New("no complete answer in time")
	errPermit  = errors.New("the mailbox's concurrency permit was lost")
)

func newAnswer(ctx context.Context, c call, p policy, permit *throttle.Permit) *answer {
	a := &answer{op: c.op, patience: p.stall, permit: permit}
	end := time.Time{}
	if !c.stream {
		end = time.Now().Add(p.request)
	}
	if !permit.Deadline().IsZero() && (end.IsZero() || permit.Deadline().Before(end)) {
		end = permit.Deadline() // beyond it the permit is not renewed
	}
	a.stop = func() {}
	if !end.IsZero() {
		ctx, a.stop = context.WithDeadlineCause(ctx, end, errTooSlow)
	}
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	// Without it the mailbox would see more requests than the book counts.
	a.unwatch = context.AfterFunc(permit.Context(), func() { a.cancel(errPermit) })
	if c.stream {
		a.stall = time.AfterFunc(p.stall, func() { a.cancel(errStalled) })
	}
	return a
}

// cause names what ended the request if one of our clocks did.
func (a *answer) cause(err error) error {
	if c := context.Cause(a.ctx); errors.Is(c, errStalled) || errors.Is(c, errTooSlow) || errors.Is(c, errPermit) {
		return c
	}
	return err
}

// Read reads the body. A body that breaks is Transient.
func (a *answer) Read(p []byte) (int, error) {
	if a.stall != nil { // runs only while we wait for Graph, not for our reader
		a.stall.Reset(a.patience)
		defer a.rest()
	}
	n, err := a.resp.Body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = unreached(a.op, a.cause(err))
	}
	return n, err
}

// rest stops the stall clock: it is not Graph we wait for.
func (a *answer) rest() {
	if a.stall != nil {
		a.stall.Stop()
	}
}

// Close is end, for those who know the body as an io.ReadCloser.
func (a *answer) Close() error {
	a.end()
	return nil
}

// end ends the request and gives its permit back. It may be called again.
func (a *answer) end() {
	a.closed.Do(func() {
		a.rest()
		a.unwatch()
		if a.resp != nil {
			_ = a.resp.Body.Close()
		}
		a.cancel(nil)
		a.stop()
		a.permit.Release()
		if a.span != nil {
			a.span.End()
		}
	})
}
