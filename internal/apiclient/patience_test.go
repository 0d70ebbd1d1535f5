package apiclient_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// putOff answers as the API does when a token sends too much.
func putOff(w http.ResponseWriter, status int, kind string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"kind":%q,"title":"T","status":%d,"type":"x","detail":"slow down","code":"rate_limited"}`, kind, status)
}

// What is put off is sent again, whole, under the same idempotency key.
func TestWaitsWhenToldTo(t *testing.T) {
	t.Parallel()
	var tries atomic.Int64
	keys, bodies := make(chan string, 10), make(chan string, 10)
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		keys <- r.Header.Get("Idempotency-Key")
		bodies <- string(body)
		if tries.Add(1) == 1 {
			putOff(w, 429, "transient")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(201)
		fmt.Fprint(w, `{"id":"t-1"}`)
	})
	began := time.Now()
	answer, err := client.AddTenantWithResponse(t.Context(), apiclient.NewTenant{Name: "Contoso", Directory: "contoso.com"})
	if err != nil || answer.JSON201.Id != "t-1" {
		t.Fatalf("%v", err)
	}
	if waited := time.Since(began); waited < 900*time.Millisecond {
		t.Errorf("sent again after %v, want the second it was told", waited)
	}
	first, again := <-bodies, <-bodies
	if first != again || !strings.Contains(again, "Contoso") {
		t.Errorf("sent %q and then %q", first, again)
	}
	if a, b := <-keys, <-keys; a != b || len(a) < 20 {
		t.Errorf("keys %q and %q", a, b)
	}
}

func TestKeysAreFresh(t *testing.T) {
	t.Parallel()
	keys := make(chan string, 10)
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		keys <- r.Method + r.Header.Get("Idempotency-Key")
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{}`)
	})
	for range 2 {
		if _, err := client.CancelRunWithResponse(t.Context(), "t-1", "r-1"); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := <-keys, <-keys; a == b {
		t.Errorf("two requests with the key %q", a)
	}
	own := func(_ context.Context, r *http.Request) error {
		r.Header.Set("Idempotency-Key", "mine")
		return nil
	}
	if _, err := client.CancelRunWithResponse(t.Context(), "t-1", "r-1", own); err != nil {
		t.Fatal(err)
	}
	if got := <-keys; got != "POSTmine" {
		t.Errorf("own key: %q", got)
	}
	if _, err := client.GetTenantWithResponse(t.Context(), "t-1"); err != nil {
		t.Fatal(err)
	}
	if got := <-keys; got != "GET" {
		t.Errorf("a GET has a key: %q", got)
	}
}

// offline is a client over a round tripper, so that time can be virtual.
func offline(t *testing.T, f func(*http.Request) (*http.Response, error)) *apiclient.ClientWithResponses {
	t.Helper()
	client, err := apiclient.NewOver(roundTripper(f), "https://backup.example.com", tenantry.NewSecret("x"))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func off(status int, kind, after string) *http.Response {
	h := http.Header{"Content-Type": {"application/problem+json"}}
	if after != "" {
		h.Set("Retry-After", after)
	}
	body := fmt.Sprintf(`{"kind":%q,"title":"T","status":%d,"type":"x","detail":"slow down","code":"rate_limited"}`, kind, status)
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

// Patience ends after a minute, and the error says so; what does not pass is not waited for.
func TestPatienceEnds(t *testing.T) {
	for name, c := range map[string]struct {
		answer   func() *http.Response
		min, max int
		longest  time.Duration
	}{
		"rate":         {func() *http.Response { return off(429, "transient", "5") }, 8, 12, time.Minute},
		"transient":    {func() *http.Response { return off(503, "transient", "30") }, 2, 2, time.Minute},
		"a long wait":  {func() *http.Response { return off(429, "transient", "600") }, 1, 1, 0},
		"no time told": {func() *http.Response { return off(503, "transient", "") }, 1, 1, 0},
		"shared cause": {func() *http.Response { return off(503, "shared", "5") }, 1, 1, 0},
		"refused":      {func() *http.Response { return off(422, "invalid", "") }, 1, 1, 0},
		"a proxy's": {func() *http.Response {
			a := off(429, "transient", "2")
			a.Body = io.NopCloser(strings.NewReader("slow down"))
			return a
		}, 12, 12, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				client := offline(t, func(*http.Request) (*http.Response, error) {
					tries++
					return c.answer(), nil
				})
				began := time.Now()
				_, err := client.AddTenantWithResponse(t.Context(), apiclient.NewTenant{Name: "A", Directory: "a.example"})
				if err == nil || tries < c.min || tries > c.max || time.Since(began) > c.longest {
					t.Errorf("%d tries in %v: %v", tries, time.Since(began), err)
				}
				if says := strings.Contains(fmt.Sprint(err), fmt.Sprintf("asked %d times", tries)); says != (c.longest > 0 || name == "a long wait") {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// A context that ends, or would end before the next try, ends the waiting.
func TestPatienceIsTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := offline(t, func(*http.Request) (*http.Response, error) { return off(429, "transient", "10"), nil })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		_, err := client.GetTenantWithResponse(ctx, "t-1")
		if time.Since(began) != 0 || tenantry.KindOf(err) != tenantry.Transient || !strings.Contains(err.Error(), "slow down") {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		_, err = client.GetTenantWithResponse(ctx, "t-1")
		if waited := time.Since(began); waited != 3*time.Second || tenantry.KindOf(err) != tenantry.Canceled {
			t.Errorf("after %v: %v", waited, err)
		}
	})
}

const running, over = `{"id":"r-1","state":"running","tasks":2}`, `{"id":"r-1","state":"partial","tasks":2}`

// A stream that breaks is opened again with the last ID, and nothing is seen twice.
func TestWatchRunResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		client := offline(t, func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.Header.Get("Last-Event-ID"))
			stream := map[int]string{
				1: "retry: 3000\n\nevent: run\nid: a\ndata: " + running + "\n\n: still here\n\nevent: run\nid: b\nda",
				2: "",
				3: "event: unheard of\ndata: 1\n\nevent: run\nid: c\ndata: " + over + "\n\n",
			}[len(asked)]
			if len(asked) == 2 {
				return nil, fmt.Errorf("connection refused")
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(stream))}, nil
		})
		var seen []apiclient.RunState
		began := time.Now()
		run, err := apiclient.WatchRun(t.Context(), client, "t-1", "r-1", func(r *apiclient.Run) { seen = append(seen, r.State) })
		if err != nil || run.State != apiclient.RunStatePartial || fmt.Sprint(seen) != "[running partial]" {
			t.Errorf("%v, %v", seen, err)
		}
		if fmt.Sprint(asked) != "[ a a]" || time.Since(began) != 6*time.Second {
			t.Errorf("asked from %q in %v", asked, time.Since(began))
		}
	})
}

// What ends a watch before the run has ended is an error, soon or in the end.
func TestWatchRunGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		stream string
		kind   tenantry.Kind
		asked  int
	}{
		"token revoked": {"event: problem\ndata: {\"kind\":\"unauthorized\",\"title\":\"T\"}\n\n", tenantry.Unauthorized, 1},
		"no run":        {"event: run\nid: a\ndata: {nonsense\n\n", tenantry.Internal, 1},
		"silence":       {"", tenantry.Transient, 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				client := offline(t, func(*http.Request) (*http.Response, error) {
					asked++
					return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(c.stream))}, nil
				})
				_, err := apiclient.WatchRun(t.Context(), client, "t-1", "r-1", func(*apiclient.Run) {})
				if tenantry.KindOf(err) != c.kind || asked != c.asked {
					t.Errorf("asked %d times: %s: %v", asked, tenantry.KindOf(err), err)
				}
			})
		})
	}
}
