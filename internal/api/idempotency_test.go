package api_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
)

// keyed sends a POST with an idempotency key.
func (h *house) keyed(key, path string, body any) reply {
	h.t.Helper()
	r := h.request("POST", path, body)
	r.Header.Set("Authorization", "Bearer "+h.token)
	r.Header.Set("Idempotency-Key", key)
	return h.send(r)
}

// A POST that is sent again is done once, and answered the same.
func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	contoso := map[string]any{"name": "Contoso", "directory": "contoso.com"}
	first := h.keyed("k1", "/v1/tenants", contoso)
	again := h.keyed("k1", "/v1/tenants", contoso)
	if first.status != 201 || again.status != 201 || string(first.body) != string(again.body) ||
		first.header.Get("Location") != again.header.Get("Location") || again.header.Get("Location") == "" {
		t.Errorf("first %d %s, again %d %s", first.status, first.body, again.status, again.body)
	}
	if first.header.Get("Idempotency-Replayed") != "" || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("replayed: %q, then %q", first.header.Get("Idempotency-Replayed"), again.header.Get("Idempotency-Replayed"))
	}
	if n := h.audited("add-tenant"); n != 1 {
		t.Errorf("%d entries in the audit log", n)
	}
	other := h.keyed("k1", "/v1/tenants", map[string]any{"name": "Fabrikam", "directory": "fabrikam.com"})
	h.problemWith(other, 422, "invalid", "another request")

	// Another token's key is another key.
	h.as(h.tokenFor(api.ProviderAdmin, ""), func() {
		if got := h.keyed("k1", "/v1/tenants", map[string]any{"name": "F", "directory": "fabrikam.com"}); got.status != 201 {
			t.Errorf("another caller: %d %s", got.status, got.body)
		}
	})
	// So is that of another tenant's token of the same name.
	for i, directory := range []string{contosoGUID, fabrikamGUID} {
		id := string(h.addConnected("T", directory))
		token := h.want(201, "POST", "/v1/tokens", map[string]any{"name": "same", "role": "tenant-admin", "tenant": id}).text("token")
		h.as(token, func() {
			if got := h.keyed("theirs", "/v1/tenants/"+id+"/policies", map[string]any{"name": "P" + strconv.Itoa(i)}); got.status != 201 || got.header.Get("Idempotency-Replayed") != "" {
				t.Errorf("a token of the same name: %d %s", got.status, got.body)
			}
		})
	}
	// What failed changed nothing and may be tried again.
	id := string(h.addConnected("Northwind", "northwind.com"))
	path := "/v1/tenants/" + id + "/holds"
	h.problemWith(h.keyed("k2", path, map[string]any{"reason": "a", "resource": "u-none"}), 404, "not_found")
	if got := h.keyed("k2", path, map[string]any{"reason": "a"}); got.status != 201 {
		t.Errorf("after a failure: %d %s", got.status, got.body)
	}
	// A secret is shown once, also to whoever asks with the same key.
	ask := map[string]any{"name": "ada", "role": "auditor"}
	if got := h.keyed("k3", "/v1/tokens", ask); got.status != 201 {
		t.Errorf("token: %d %s", got.status, got.body)
	}
	h.problemWith(h.keyed("k3", "/v1/tokens", ask), 409, "conflict", "shown once")
	for _, bad := range []string{strings.Repeat("x", 101), "with space", "ümlaut"} {
		h.problemWith(h.keyed(bad, "/v1/tenants", contoso), 422, "invalid", "Idempotency-Key")
	}

	h.clock.Add(catalog.KeepRequests + time.Hour)
	must(t, h.catalog.Fleet().Partitions(t.Context(), h.clock.Now(), 90*24*time.Hour))
	h.problemWith(h.keyed("k1", "/v1/tenants", contoso), 409, "conflict") // forgotten, so it is a new one
}

// Of many at once with one key, one is done.
func TestIdempotencyKeyRace(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	before := h.runCount(id)
	codes := make([]int, 8)
	var wait sync.WaitGroup
	for i := range codes {
		r := h.request("POST", "/v1/tenants/"+string(id)+"/refresh", nil)
		r.Header.Set("Authorization", "Bearer "+h.token)
		r.Header.Set("Idempotency-Key", "once")
		wait.Go(func() {
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			_ = answer.Body.Close()
			codes[i] = answer.StatusCode
		})
	}
	wait.Wait()
	for _, code := range codes {
		if code != 201 && code != 409 {
			t.Errorf("answers %v", codes)
		}
	}
	if n := h.runCount(id) - before; n != 1 {
		t.Errorf("%d runs of %v", n, codes)
	}
}

// A token that sends too much is told when to come back; others go on.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *api.Config) { c.Rate = 10 })
	var refused reply
	for range 100 { // each moves the clock by a millisecond
		if refused = h.call("GET", "/v1/whoami", nil); refused.status != 200 {
			break
		}
	}
	if refused.status != http.StatusTooManyRequests || refused.header.Get("Retry-After") == "" || refused.text("code") != "rate_limited" {
		t.Fatalf("after 100 requests at once: %d %s", refused.status, refused.body)
	}
	h.as(h.tokenFor(api.ReadOnly, ""), func() { h.want(200, "GET", "/v1/whoami", nil) })
	h.clock.Add(time.Second)
	h.want(200, "GET", "/v1/whoami", nil)

	// Nobody tries tokens, or signs in, for long.
	h.as("tenantry_wrong", func() {
		codes := map[int]int{}
		for range 60 {
			codes[h.call("GET", "/v1/whoami", nil).status]++
		}
		if codes[401] == 0 || codes[429] == 0 || codes[401] > 40 {
			t.Errorf("answers to wrong tokens: %v", codes)
		}
	})
	if got, _ := h.signIn("tenantry_wrong"); got.status != http.StatusTooManyRequests {
		t.Errorf("sign-in: %d", got.status)
	}
	h.want(200, "GET", "/v1/whoami", nil)
}
