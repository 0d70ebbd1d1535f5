package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// sse is one event of a stream.
type sse struct{ name, id, data string }

// watching is an open stream; events is closed with it.
type watching struct {
	answer *http.Response
	events chan sse
}

// stream opens a stream. It ends with the test, or with ctx.
func (h *house) stream(ctx context.Context, path, last string) watching {
	h.t.Helper()
	r := h.request("GET", path+"/events", nil).WithContext(ctx)
	r.Header.Set("Authorization", "Bearer "+h.token)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	answer, err := http.DefaultClient.Do(r)
	must(h.t, err)
	h.t.Cleanup(func() { _ = answer.Body.Close() })
	w := watching{answer, make(chan sse, 100)}
	go func() {
		defer close(w.events)
		var e sse
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "event":
				e.name = value
			case "id":
				e.id = value
			case "data":
				e.data = value
			case "":
				if e.name != "" {
					w.events <- e
				}
				e = sse{}
			}
		}
	}()
	return w
}

// next is the next event; ok is false at the end of the stream.
func (w watching) next(t *testing.T) (e sse, run api.Run, ok bool) {
	t.Helper()
	select {
	case e, ok = <-w.events:
	case <-time.After(time.Minute):
		t.Fatal("nothing came for a minute")
	}
	if e.name == "run" {
		must(t, json.Unmarshal([]byte(e.data), &run))
	}
	return e, run, ok
}

func (w watching) ended(t *testing.T) {
	t.Helper()
	if e, _, ok := w.next(t); ok {
		t.Errorf("want the end of the stream, got %+v", e)
	}
}

// started starts a backup and returns its path.
func (h *house) started(id tenantry.TenantID) (path string, run tenantry.RunID) {
	h.t.Helper()
	base := "/v1/tenants/" + string(id) + "/runs"
	r := h.want(201, "POST", base, map[string]any{"resources": []string{string(bob)}})
	return base + "/" + r.text("id"), tenantry.RunID(r.text("id"))
}

func TestWatchARunToItsEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	path, run := h.started(id)
	w := h.stream(t.Context(), path, "")
	if kind := w.answer.Header.Get("Content-Type"); w.answer.StatusCode != 200 || kind != "text/event-stream" {
		t.Fatalf("%s, %s", w.answer.Status, kind)
	}
	first, got, _ := w.next(t)
	if got.ID != run || got.State != catalog.RunRunning || first.id == "" {
		t.Errorf("first: %+v", first)
	}
	claim := h.claim(id, run)
	must(t, h.catalog.Tenant(id).Progress(t.Context(), claim, tenantry.Counts{Items: 7}))
	second, got, _ := w.next(t)
	for got.Progress.Items != 7 { // the claim may show first
		second, got, _ = w.next(t)
	}
	must(t, h.catalog.Tenant(id).Settle(t.Context(), claim, catalog.Settlement{State: catalog.TaskFailed, Kind: tenantry.Denied, Reason: "no licence"}, h.clock.Now()))
	last, got, _ := w.next(t)
	for got.State == catalog.RunRunning {
		last, got, _ = w.next(t)
	}
	if got.State != catalog.RunFailed || len(got.Problems) != 1 || got.Problems[0].Reason != "no licence" || last.id == second.id {
		t.Errorf("last: %+v", last)
	}
	w.ended(t)

	// Who comes back having seen the end is sent away for good; who has not, sees it.
	if again := h.stream(t.Context(), path, last.id); again.answer.StatusCode != http.StatusNoContent {
		t.Errorf("after the end: %s", again.answer.Status)
	}
	again := h.stream(t.Context(), path, second.id)
	if e, _, _ := again.next(t); e != last {
		t.Errorf("after a break: %+v, want %+v", e, last)
	}
	again.ended(t)
}

// A client that comes back hears nothing that it knows, only what changes.
func TestWatchResumes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	path, run := h.started(id)
	ctx, hangUp := context.WithCancel(t.Context())
	w := h.stream(ctx, path, "")
	first, _, _ := w.next(t)
	hangUp()
	w.ended(t)
	again := h.stream(t.Context(), path, first.id)
	must(t, h.catalog.Tenant(id).CancelRun(t.Context(), run, h.clock.Now()))
	e, got, _ := again.next(t)
	if e.id == first.id || got.State != catalog.RunCanceled || got.CanceledAt == nil {
		t.Errorf("after the break: %+v", e)
	}
	again.ended(t)
}

// A token that is revoked sees no more of a stream that it has opened.
func TestWatchEndsWithTheToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	path, _ := h.started(id)
	made := h.want(201, "POST", "/v1/tokens", map[string]any{"name": "guest", "role": "read-only", "tenant": id})
	var w watching
	h.as(made.text("token"), func() { w = h.stream(t.Context(), path, "") })
	w.next(t)
	h.want(204, "DELETE", "/v1/tokens/guest", nil)
	e, _, _ := w.next(t)
	if e.name != "problem" || !strings.Contains(e.data, `"unauthorized"`) || strings.Contains(e.data, made.text("token")) {
		t.Errorf("after the token was revoked: %+v", e)
	}
	w.ended(t)
}

// Streams are bounded for each token, and end when the process begins to stop.
func TestWatchIsBounded(t *testing.T) {
	t.Parallel()
	closing := make(chan struct{})
	h := newHouse(t, func(c *api.Config) { c.Closing = closing })
	id := h.addConnected("Contoso", contosoGUID)
	path, _ := h.started(id)
	var open []watching
	for range 20 {
		w := h.stream(t.Context(), path, "")
		w.next(t)
		open = append(open, w)
	}
	refused := h.stream(t.Context(), path, "")
	if refused.answer.StatusCode != http.StatusTooManyRequests || refused.answer.Header.Get("Retry-After") == "" {
		t.Errorf("one more: %s %v", refused.answer.Status, refused.answer.Header)
	}
	h.as(h.tokenFor(api.ReadOnly, id), func() {
		if other := h.stream(t.Context(), path, ""); other.answer.StatusCode != 200 {
			t.Errorf("another token: %s", other.answer.Status)
		}
	})
	close(closing)
	for _, w := range open {
		w.ended(t)
	}
	if again := h.stream(t.Context(), path, ""); again.answer.StatusCode != 200 {
		t.Errorf("once there is room: %s", again.answer.Status)
	}
}

// Nobody retries or finds what they may not start or see.
func TestSteeringIsByAction(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	fabrikam := h.addConnected("Fabrikam", fabrikamGUID)
	h.seal(id)
	base := "/v1/tenants/" + string(id)
	start := func() reply {
		return h.want(201, "POST", base+"/restores", map[string]any{"resource": ada, "workload": "mailbox", "snapshot": 7})
	}
	restore := start()
	one := base + "/runs/" + restore.text("id")
	h.as(h.tokenFor(api.TenantAdmin, fabrikam), func() {
		if r := h.want(200, "GET", "/v1/runs?reference="+restore.text("reference"), nil); r.field("items.0") != nil {
			t.Errorf("another tenant's run is found: %s", r.body)
		}
	})
	path, _ := h.started(id)
	h.as(h.tokenFor(api.RestoreOperator, id), func() {
		h.want(403, "POST", path+"/cancel", nil)
		h.want(403, "POST", path+"/retry", nil)
		h.want(200, "POST", one+"/cancel", nil)
		h.want(409, "POST", one+"/cancel", nil)
	})
	h.as(h.tokenFor(api.Operator, ""), func() { h.want(200, "POST", path+"/cancel", nil) })
	restore = start()
	one = base + "/runs/" + restore.text("id")
	claim := h.claim(id, tenantry.RunID(restore.text("id")))
	must(t, h.catalog.Tenant(id).Settle(t.Context(), claim, catalog.Settlement{State: catalog.TaskFailed}, h.clock.Now()))
	h.as(h.tokenFor(api.Operator, ""), func() {
		h.want(403, "POST", one+"/retry", nil)
		h.want(403, "POST", base+"/restores", map[string]any{"resource": ada, "workload": "mailbox", "snapshot": 7})
	})
	h.as(h.tokenFor(api.RestoreOperator, id), func() { h.want(201, "POST", one+"/retry", nil) })
	for _, bad := range []string{"1234567890", "abcdefghijkl", "4827-730-19"} {
		h.problemWith(h.call("GET", "/v1/runs?reference="+bad, nil), 422, tenantry.Invalid, "reference")
	}
	h.problemWith(h.call("GET", "/v1/runs", nil), 422, tenantry.Invalid, "reference")
}
