package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A watched run is a stream of server-sent events (WHATWG HTML, "Server-sent events"). Each
// `run` event is the whole run as get-run shows it, so that nobody has to have seen the ones
// before; its ID is a fingerprint of it. Who comes back with that ID, to whichever api process,
// hears of it again once the run is another. The stream ends with the run, and who comes back
// then is told 204, which ends an EventSource.
const (
	watchEvery  = time.Second      // how often a run is read, for all who watch it in this process
	watchBeat   = 15 * time.Second // a comment, so that nobody in between takes the stream for dead
	watchLife   = 15 * time.Minute // after which a client comes back: deadlines exist everywhere
	watchStall  = 10 * time.Second // how long a client may not take what is sent
	watchRetry  = 2 * time.Second  // when a client shall come back
	watchMax    = 500              // streams of this process
	watchTokens = 20               // of them for one token
)

type watchRunInput struct {
	RunPath
	LastEventID string `header:"Last-Event-ID" maxLength:"64" doc:"ID of the last event that was seen"`
}

func (s *service) watchRoutes() {
	watch := get("watch-run", "runs", "/v1/tenants/{tenant}/runs/{run}/events",
		"Watch a run: an event with the whole run whenever it has changed, until it has ended")
	watch.Responses = map[string]*huma.Response{
		"200": {Description: "Server-sent events named run, whose data is a Run; problem, whose data is a Problem, before an early end",
			Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}}},
		"204": {Description: "The run has ended, and the client has seen how"},
	}
	read(s, watch, s.watchRun)
}

func (s *service) watchRun(ctx context.Context, in *watchRunInput) (*huma.StreamResponse, error) {
	t, _, err := s.run(ctx, in.RunPath)
	if err != nil {
		return nil, err
	}
	w, leave, err := s.watchers.enter(callerOf(ctx).key(), in.RunPath, t)
	if err != nil {
		return nil, err
	}
	first, err := w.read(ctx, s)
	if err != nil {
		leave()
		return nil, err
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		defer leave()
		if first.ended && first.id == in.LastEventID {
			c.SetStatus(http.StatusNoContent)
			return
		}
		r, out := humago.Unwrap(c)
		st := &stream{s: s, watched: w, out: out, control: http.NewResponseController(out), last: in.LastEventID}
		st.run(connectionOf(ctx), in.Tenant, r.Header.Get("Authorization"), first)
	}}, nil
}

// stream is one client's view of a watched run.
type stream struct {
	s       *service
	watched *watched
	out     http.ResponseWriter
	control *http.ResponseController
	last    string // ID of the last event that the client has seen
}

// run sends events until the run has ended, the client has gone, its token is no longer good,
// the api stops, or watchLife is over.
func (st *stream) run(ctx context.Context, tenant tenantry.TenantID, authorization string, first view) {
	ctx, cancel := context.WithTimeout(ctx, watchLife)
	defer cancel()
	st.out.Header().Set("Content-Type", "text/event-stream")
	st.out.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	// The server's limits are for requests that end. Where there are none, in tests, there is nothing to lift.
	_ = st.control.SetReadDeadline(time.Time{})
	if !st.send(fmt.Sprintf("retry: %d\n\n", watchRetry.Milliseconds())) || !st.show(first) {
		return
	}
	tick, beat := time.NewTicker(watchEvery), time.NewTicker(watchBeat)
	defer tick.Stop()
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-st.s.Closing:
			return
		case <-beat.C:
			if !st.send(": still here\n\n") {
				return
			}
			continue
		case <-tick.C:
		}
		now, err := st.look(ctx, tenant, authorization)
		if err != nil {
			if problem := st.s.problem("watch-run", err); problem.Status < http.StatusInternalServerError {
				st.event("problem", "", problem)
				return
			}
			continue // it passes: the stream's life bounds it
		}
		if !st.show(now) {
			return
		}
	}
}

// look reads the run anew for a client that may still see it.
func (st *stream) look(ctx context.Context, tenant tenantry.TenantID, authorization string) (view, error) {
	ctx, cancel := context.WithTimeout(ctx, handlerTimeout)
	defer cancel()
	c, err := st.s.bearer(ctx, authorization)
	if err == nil {
		err = authorize(c, "watch-run", tenant)
	}
	if err != nil {
		return view{}, err
	}
	return st.watched.read(ctx, st.s)
}

// show sends the run if the client has not seen it so, and reports whether to go on.
func (st *stream) show(v view) bool {
	if v.id != st.last {
		if !st.event("run", v.id, v.run) {
			return false
		}
		st.last = v.id
	}
	return !v.ended
}

func (st *stream) event(name, id string, data any) bool {
	text, err := json.Marshal(data)
	if err != nil { // it is made of our own types
		return false
	}
	head := "event: " + name + "\n"
	if id != "" {
		head += "id: " + id + "\n"
	}
	return st.send(head + "data: " + string(text) + "\n\n")
}

// send writes and flushes, and reports whether the client takes it.
func (st *stream) send(text string) bool {
	_ = st.control.SetWriteDeadline(time.Now().Add(watchStall))
	if _, err := st.out.Write([]byte(text)); err != nil {
		return false
	}
	return st.control.Flush() == nil
}

// watchers are the runs that clients of this process watch. It is safe for concurrent use.
type watchers struct {
	mu      sync.Mutex
	streams int
	by      map[string]int // streams by the name of the token
	of      map[RunPath]*watched
}

// enter counts a stream of a caller in, or refuses it; leave counts it out.
func (w *watchers) enter(caller string, key RunPath, t *catalog.Tenant) (*watched, func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.streams >= watchMax || w.by[caller] >= watchTokens {
		p := tooMany(watchRetry)
		p.Code, p.Detail = codeWatched, fmt.Sprintf("too many runs are watched at once: %d by one token, %d in all", watchTokens, watchMax)
		return nil, nil, p
	}
	if w.of == nil {
		w.by, w.of = map[string]int{}, map[RunPath]*watched{}
	}
	one := w.of[key]
	if one == nil {
		one = &watched{tenant: t, run: key.Run}
		w.of[key] = one
	}
	w.streams++
	w.by[caller]++
	one.streams++
	return one, func() { w.leave(caller, key) }, nil
}

func (w *watchers) leave(caller string, key RunPath) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.streams--
	if w.by[caller]--; w.by[caller] == 0 {
		delete(w.by, caller)
	}
	if w.of[key].streams--; w.of[key].streams == 0 {
		delete(w.of, key)
	}
}

// watched is a run that somebody watches: it is read once for all who do.
type watched struct {
	tenant  *catalog.Tenant
	run     tenantry.RunID
	streams int // guarded by the watchers' lock

	mu   sync.Mutex
	at   time.Time // of the newest view, by the monotonic clock
	view view
}

// view is a run at a moment.
type view struct {
	run   Run
	id    string
	ended bool
}

// read returns a view that is at most about watchEvery old.
func (w *watched) read(ctx context.Context, s *service) (view, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.at.IsZero() && time.Since(w.at) < watchEvery*4/5 {
		return w.view, nil
	}
	row, err := w.tenant.Run(ctx, w.run)
	if err != nil {
		return view{}, err
	}
	run, err := s.wholeRun(ctx, w.tenant, row)
	if err != nil {
		return view{}, err
	}
	text, err := json.Marshal(run)
	if err != nil {
		return view{}, tenantry.E(tenantry.Internal, "encode a run", err)
	}
	sum := sha256.Sum256(text)
	w.at, w.view = time.Now(), view{run, hex.EncodeToString(sum[:12]), row.State != catalog.RunRunning}
	return w.view, nil
}
