package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The real asynqmon over a real Redis works behind the session cookie, and only
// behind it.
func TestQueuesServeAsynqmon(t *testing.T) {
	t.Parallel()
	options := queue.Options{URL: servertest.Redis(t)}
	client, err := queue.NewClient(options)
	must(t, err)
	defer func() { must(t, client.Close()) }()
	ref := queue.Ref{Tenant: "t-1", Task: "k-1", Admission: 1}
	_, err = client.Enqueue(t.Context(), queue.Backup, ref)
	must(t, err)
	monitor, closeMonitor, err := queue.Monitor(options, "/queues", func(context.Context, queue.Ref) string { return "Ada's mailbox" })
	must(t, err)
	defer func() { must(t, closeMonitor()) }()

	h := newHouse(t, func(c *api.Config) { c.Monitor = monitor })
	_, cookie := h.signIn(h.token)
	get := func(path string) reply {
		r := h.request("GET", path, nil)
		r.AddCookie(cookie)
		return h.send(r)
	}
	if page := get("/queues/"); page.status != http.StatusOK || !strings.Contains(string(page.body), "<html") {
		t.Errorf("page: %d %.100s", page.status, page.body)
	}
	if policy := get("/queues/").header.Values("Content-Security-Policy"); len(policy) != 1 || !strings.Contains(policy[0], "script-src") {
		t.Errorf("policies %q", policy)
	}
	tasks := get("/queues/api/queues/backup/pending_tasks")
	if tasks.status != http.StatusOK || !strings.Contains(string(tasks.body), "Ada's mailbox") {
		t.Errorf("tasks: %d %s", tasks.status, tasks.body)
	}

	const pause = "/queues/api/queues/backup:pause"
	h.problemWith(h.send(h.request("POST", pause, nil)), http.StatusUnauthorized, tenantry.Unauthorized)
	write := h.request("POST", pause, nil)
	write.AddCookie(cookie)
	write.Header.Set("Origin", h.server.URL)
	write.Header.Set("Sec-Fetch-Site", "same-origin")
	if got := h.send(write); got.status >= 300 {
		t.Errorf("pause: %d %s", got.status, got.body)
	}
	paused, err := client.Paused(t.Context())
	must(t, err)
	if len(paused) != 1 || paused[0] != queue.Backup {
		t.Errorf("paused %v", paused)
	}
	for method, want := range map[string]int{"POST": http.StatusForbidden, "PUT": http.StatusMethodNotAllowed} { // no page sends these
		r := h.request(method, pause, nil)
		r.AddCookie(cookie)
		got := h.send(r)
		if got.status != want || got.header.Get("Content-Type") != "application/problem+json" || got.text("code") == "" {
			t.Errorf("%s: %d %s", method, got.status, got.body)
		}
	}
	if n := h.audited("queues-post"); n != 2 { // the refused one was asked for, too
		t.Errorf("%d audit entries", n)
	}
}
