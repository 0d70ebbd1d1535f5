package apiclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// eventMax bounds one event, in bytes: a run with its problems is a few KB.
	eventMax = 4 << 20
	// silenceMax is how long a stream may say nothing; the API says something every 15 s.
	silenceMax = 60 * time.Second
	// watchRetry is when a stream that broke is opened again, unless the API says otherwise, and
	// watchTries how often in a row that brings nothing.
	watchRetry = 2 * time.Second
	watchTries = 10
)

// WatchRun follows a run until it has ended, and returns how it did; see is called with the
// run now and whenever it has changed, from the caller's goroutine. A stream that breaks is
// opened again where it broke off. Errors are those of other requests; Transient also when the
// API could not be reached ten times in a row.
func WatchRun(ctx context.Context, client *ClientWithResponses, tenant, run string, see func(*Run)) (*Run, error) {
	w := watch{client: client, tenant: tenant, run: run, see: see, retry: watchRetry}
	for failures := 0; ; {
		seen, err := w.stream(ctx)
		if w.ended() {
			return w.latest, nil
		}
		if ctx.Err() != nil {
			return nil, tenantry.E(tenantry.KindOf(ctx.Err()), "watch run "+run, ctx.Err())
		}
		if kind := tenantry.KindOf(err); kind != tenantry.Transient && kind != tenantry.Canceled { // of the stream, for its silence
			return nil, err
		}
		if failures++; seen {
			failures = 0
		}
		if failures == watchTries {
			return nil, err
		}
		if err := pause(ctx, w.retry); err != nil {
			return nil, tenantry.E(tenantry.KindOf(err), "watch run "+run, err)
		}
	}
}

// watch is a run that is followed over any number of streams.
type watch struct {
	client      *ClientWithResponses
	tenant, run string
	see         func(*Run)

	latest *Run
	last   string // ID of the last event
	retry  time.Duration
}

func (w *watch) ended() bool { return w.latest != nil && w.latest.State != RunStateRunning }

type lastsKey struct{}

// lasts reports whether an answer may take as long as it likes.
func lasts(ctx context.Context) bool { return ctx.Value(lastsKey{}) != nil }

// stream opens a stream and reads it to its end. It reports whether it brought anything.
func (w *watch) stream(ctx context.Context) (seen bool, err error) {
	ctx, cancel := context.WithCancel(context.WithValue(ctx, lastsKey{}, true))
	defer cancel()
	silence := time.AfterFunc(silenceMax, cancel)
	defer silence.Stop()
	answer, err := w.client.WatchRun(ctx, w.tenant, w.run, &WatchRunParams{LastEventID: w.last})
	if err != nil {
		return false, err
	}
	defer func() { _ = answer.Body.Close() }() // read only: nothing is lost
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, eventMax)
	var e event
	for lines.Scan() {
		silence.Reset(silenceMax)
		if !e.add(lines.Bytes()) {
			continue
		}
		if err := w.take(e); err != nil {
			return seen, err
		}
		seen, e = true, event{}
	}
	if err := lines.Err(); err != nil {
		return seen, tenantry.E(tenantry.Transient, "watch run "+w.run, err)
	}
	return seen, tenantry.Errorf(tenantry.Transient, "watch run %s: the stream ended before the run", w.run)
}

// take understands an event.
func (w *watch) take(e event) error {
	if e.retry > 0 {
		w.retry = min(e.retry, silenceMax)
	}
	switch e.name {
	case "run":
		var run Run
		if err := json.Unmarshal(e.data, &run); err != nil {
			return tenantry.E(tenantry.Internal, "watch run "+w.run+": read an event", err)
		}
		w.latest, w.last = &run, e.id
		w.see(&run)
	case "problem":
		var p Problem
		if err := json.Unmarshal(e.data, &p); err != nil {
			return tenantry.E(tenantry.Internal, "watch run "+w.run+": read a problem", err)
		}
		refused := tenantry.E(tenantry.Kind(p.Kind), describe(p), nil)
		refused.Code = string(p.Code)
		return refused
	}
	return nil
}

// event is one server-sent event (WHATWG HTML, "Parsing an event stream"), of what the API
// makes use of.
type event struct {
	name, id string
	data     []byte
	retry    time.Duration
}

// add takes a line, and reports whether the event is complete.
func (e *event) add(line []byte) bool {
	if len(line) == 0 {
		return e.name != "" || e.retry > 0
	}
	field, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(field) {
	case "event":
		e.name = string(value)
	case "id":
		e.id = string(value)
	case "data":
		if e.data != nil {
			e.data = append(e.data, '\n')
		}
		e.data = append(e.data, value...)
	case "retry":
		if ms, err := strconv.Atoi(string(value)); err == nil && ms > 0 {
			e.retry = time.Duration(ms) * time.Millisecond
		}
	}
	return false
}
