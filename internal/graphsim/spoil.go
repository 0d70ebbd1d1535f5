package graphsim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// apply does what the fault says; serve gives the right answer. It reports
// whether the request is answered.
func (f *strike) apply(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter)) bool {
	switch f.Kind {
	case FaultSlow:
		return !wait(r.Context(), f.Delay)
	case FaultStall:
		serve(&stalledResponse{ResponseWriter: w, ctx: r.Context(), delay: f.Delay})
	case FaultMove:
		if f.call != nil {
			f.call.moveYoungest()
		}
		return false
	case FaultExpired:
		return f.expire(w)
	case FaultToken:
		id := w.Header().Get("request-id")
		f.cloud.unauthenticated("Lifetime validation failed, the token is expired.").write(w, id, id)
	case FaultDuplicate, FaultReorder:
		held := &heldResponse{header: w.Header()}
		serve(held)
		held.body = f.rearrange(held.body)
		held.send(w)
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

// wait lets time pass; false means that the client went away.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// expire answers that what the request carries is too old. Delta tokens are refused
// by the collection itself, in its own way.
func (f *strike) expire(w http.ResponseWriter) bool {
	if f.call != nil {
		f.call.tokenTooOld = true
		return false
	}
	id := newID()
	fail(http.StatusUnauthorized, "unauthenticated", "The download URL has expired.").write(w, id, id)
	return true
}

// rearrange changes a page of a collection; anything else stays as it is.
func (f *strike) rearrange(body []byte) []byte {
	var page map[string]json.RawMessage
	var entries []json.RawMessage
	if json.Unmarshal(body, &page) != nil || json.Unmarshal(page["value"], &entries) != nil || len(entries) == 0 {
		return body
	}
	r := newRand(f.seed)
	if f.Kind == FaultDuplicate {
		for range 1 + r.IntN(len(entries)) {
			entries = append(entries, pick(r, entries))
		}
	} else {
		r.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	}
	page["value"], _ = json.Marshal(entries)
	changed, err := json.Marshal(page)
	if err != nil {
		return body
	}
	return changed
}

// stalledResponse sends the first bytes of a body, waits, and goes on.
type stalledResponse struct {
	http.ResponseWriter
	ctx     context.Context
	delay   time.Duration
	stalled bool
}

func (s *stalledResponse) Write(p []byte) (int, error) {
	if s.stalled || len(p) < 2 {
		return s.ResponseWriter.Write(p)
	}
	s.stalled = true
	n, err := s.ResponseWriter.Write(p[:len(p)/2])
	if err != nil {
		return n, err
	}
	if err := http.NewResponseController(s.ResponseWriter).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return n, err
	}
	if !wait(s.ctx, s.delay) {
		return n, s.ctx.Err()
	}
	m, err := s.ResponseWriter.Write(p[n:])
	return n + m, err
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
	if !ok { // a part of a batch has no connection of its own
		id := w.Header().Get("request-id")
		fail(http.StatusBadGateway, "UnknownError", "The service did not answer.").write(w, id, id)
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

// send sends the answer.
func (h *heldResponse) send(w http.ResponseWriter) {
	w.Header().Set("Content-Length", strconv.Itoa(len(h.body)))
	setDefault(&h.status, http.StatusOK)
	w.WriteHeader(h.status)
	_, _ = w.Write(h.body) // the client has gone
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

// moveYoungest moves the youngest message or file of what the request lists to
// another folder: already listed by most clients, so it is easily lost.
func (c *call) moveYoungest() {
	if c.param("drive") != "" {
		c.moveYoungestFile()
		return
	}
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

func (c *call) moveYoungestFile() {
	d, err := c.lockDrive()
	if err != nil {
		return
	}
	defer d.mu.Unlock()
	var youngest *driveItem
	for _, item := range d.order {
		switch {
		case item.deleted || item == d.root:
		case !item.isFolder():
			youngest = item
		}
	}
	if youngest == nil {
		return
	}
	for _, to := range d.order {
		if to.isFolder() && !to.deleted && to != youngest.parent && to.children[fold(youngest.name)] == nil &&
			d.move(youngest, to, youngest.name) == nil {
			return
		}
	}
}
