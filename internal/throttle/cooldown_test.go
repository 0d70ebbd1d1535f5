package throttle

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func tooMany(retryAfter string) http.Header { return http.Header{"Retry-After": {retryAfter}} }

// A cooldown reaches every process at its next question to Redis, and voids the
// blocks it holds.
func TestCooldownIsFleetWide(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newClock()
		a, other := resumed(t, rdb, c, Documented()), open(t, rdb, c, Documented())
		p := mustTake(t, a, sharePoint(1))
		mustTake(t, other, sharePoint(1)) // holds a block now
		if !other.purses["minute/t1"].has(1, c.now()) {
			t.Fatal("the other process holds no block: the test proves nothing")
		}
		wait := p.Done(http.StatusTooManyRequests, tooMany("20"))
		if wait < 20*time.Second || wait > 22*time.Second {
			t.Errorf("Done says %v", wait)
		}
		mustRefuse(t, a, sharePoint(1), "cooldown/tenant/t1/sharepoint")
		mustTake(t, other, Call{Tenant: "t2", Service: tenantry.SharePoint}) // another tenant's call tells it
		mustRefuse(t, other, sharePoint(1), "cooldown/tenant/t1/sharepoint")
		mustTake(t, other, outlook("ada")).Release() // other services go on
		fresh := open(t, rdb, c, Documented())
		mustRefuse(t, fresh, sharePoint(1), "cooldown/tenant/t1/sharepoint")
		c.pass(wait + time.Second)
		for _, b := range []*Book{a, other, fresh} {
			mustTake(t, b, sharePoint(1))
		}
	})
}

// A process that asks nothing hears of a cooldown within a sweep, by the real clock.
func TestCooldownReachesAQuietProcess(t *testing.T) {
	rdb := connect(t, servertest.Redis(t))
	open := func() *Book {
		b := New(rdb, "app", Documented(), small)
		t.Cleanup(func() { _ = b.Close(context.Background()) })
		return b
	}
	a, quiet := open(), open()
	if err := a.Resume(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	held := mustTake(t, quiet, outlook("ada"))
	defer held.Release()
	mustTake(t, a, outlook("ada")).Done(http.StatusTooManyRequests, tooMany("60"))
	deadline := time.After(time.Minute)
	for {
		quiet.mu.Lock()
		known := quiet.cooling["mailbox/t1/ada"] != nil
		quiet.mu.Unlock()
		if known {
			return
		}
		select {
		case <-deadline:
			t.Fatal("not heard of within a minute")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestTheLatestEndWins(t *testing.T) {
	c := newClock()
	rdb := connect(t, servertest.Redis(t))
	a, other := resumed(t, rdb, c, Documented()), open(t, rdb, c, Documented())
	one, two := mustTake(t, a, outlook("ada")), mustTake(t, other, outlook("ada"))
	one.Done(http.StatusTooManyRequests, tooMany("100"))
	two.Done(http.StatusTooManyRequests, tooMany("5"))
	for _, b := range []*Book{a, other, open(t, rdb, c, Documented())} {
		if no := mustRefuse(t, b, outlook("ada"), "cooldown/mailbox/t1/ada"); no.wait < 100*time.Second || no.wait > 111*time.Second {
			t.Errorf("wait %v", no.wait)
		}
	}
}

func TestBackoffGrowsAndIsForgiven(t *testing.T) {
	c := newClock()
	b := resumed(t, connect(t, servertest.Redis(t)), c, Documented())
	last := time.Duration(0)
	for i := range 5 {
		p := mustTake(t, b, outlook("ada"))
		again := mustTake(t, b, outlook("ada"))
		wait := p.Done(http.StatusTooManyRequests, tooMany("1"))
		again.Done(http.StatusTooManyRequests, tooMany("1")) // the same throttle: counts once
		if least := time.Second << i; wait < least || wait > least*12/10 || wait <= last {
			t.Errorf("throttle %d: %v after %v", i, wait, last)
		}
		last = wait
		p.Release()
		again.Release()
		c.pass(wait*11/10 + time.Second) // the second one's jitter may have been larger
	}
	p := mustTake(t, b, outlook("ada"))
	p.Done(http.StatusOK, nil)
	if wait := p.Done(http.StatusTooManyRequests, tooMany("1")); wait > 2*time.Second {
		t.Errorf("after a good answer: %v", wait)
	}
}

// A cooldown that could not be sent is kept here and sent when Redis is back.
func TestCooldownSurvivesRedisOutage(t *testing.T) {
	server := servertest.StartRedis(t)
	c := newClock()
	b := resumed(t, connect(t, server.Addr), c, Documented())
	p := mustTake(t, b, outlook("ada"))
	server.Kill()
	p.Done(http.StatusTooManyRequests, tooMany("100"))
	mustRefuse(t, b, outlook("ada"), "cooldown/mailbox/t1/ada")
	server.Start()
	b.sweep(whatIsIdle)
	fresh := open(t, connect(t, server.Addr), c, Documented())
	mustRefuse(t, fresh, outlook("ada"), "cooldown/mailbox/t1/ada")
}

func TestCooldownsAreMirrored(t *testing.T) {
	rdb := connect(t, servertest.Redis(t))
	c := newClock()
	b := resumed(t, rdb, c, Documented())
	mustTake(t, b, sharePoint(1)).Done(http.StatusServiceUnavailable, tooMany("300"))
	doc, err := b.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	fresh := open(t, rdb, c, Documented())
	if err := fresh.Resume(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, fresh, sharePoint(1), "cooldown/tenant/t1/sharepoint")
}

func TestVerdict(t *testing.T) {
	identity := Call{Tenant: "t1", Service: tenantry.Identity}
	write := Call{Tenant: "t1", Service: tenantry.Identity, Write: true}
	share, teams := sharePoint(1), Call{Tenant: "t1", Service: tenantry.Teams}
	h := func(kv ...string) http.Header {
		out := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			out[kv[i]] = []string{kv[i+1]}
		}
		return out
	}
	cases := []struct {
		name   string
		call   Call
		status int
		header http.Header
		scope  string
		wait   time.Duration
	}{
		{"well", share, 200, h(), "", 0},
		{"outlook", outlook("ada"), 429, h("Retry-After", "10"), "mailbox/t1/ada", 10 * time.Second},
		{"outlook without mailbox", outlook(""), 429, h("Retry-After", "10"), "tenant/t1/outlook", 10 * time.Second},
		{"outlook 503", outlook("ada"), 503, h(), "", 0},
		{"outlook 503 that says when", outlook("ada"), 503, h("Retry-After", "3"), "mailbox/t1/ada", 3 * time.Second},
		{"fraction", share, 429, h("Retry-After", "2.128"), "tenant/t1/sharepoint", 2128 * time.Millisecond},
		{"date", share, 429, h("Retry-After", "Fri, 20 Nov 2026 12:01:00 GMT"), "tenant/t1/sharepoint", time.Minute},
		{"date that is over", share, 429, h("Retry-After", "Fri, 20 Nov 2026 11:00:00 GMT"), "tenant/t1/sharepoint", 0},
		{"no header", share, 429, h(), "tenant/t1/sharepoint", 0},
		{"nonsense", share, 429, h("Retry-After", "soon"), "tenant/t1/sharepoint", 0},
		{"too busy", share, 503, h(), "tenant/t1/sharepoint", 0},
		{"bandwidth", share, 509, h("Retry-After", "5"), "tenant/t1/sharepoint", 5 * time.Second},
		{"timed out", share, 504, h("Retry-After", "5"), "", 0},
		{"no answer", share, 0, nil, "", 0},
		{"greater of both", share, 429, h("Retry-After", "3", "Ratelimit-Reset", "27"), "tenant/t1/sharepoint", 27 * time.Second},
		{"lower case in a batch", share, 429, h("retry-after", "4"), "tenant/t1/sharepoint", 4 * time.Second},
		{"used up", share, 200, h("Ratelimit-Remaining", "0", "Ratelimit-Reset", "11"), "tenant/t1/sharepoint", 11 * time.Second},
		{"some left", share, 200, h("Ratelimit-Remaining", "310", "Ratelimit-Reset", "11"), "", 0},
		{"longest", share, 429, h("Retry-After", "1e9"), "tenant/t1/sharepoint", longestCooldown},
		{"teams", teams, 429, h("Retry-After", "1"), "tenant/t1/teams", time.Second},
		{"identity", identity, 429, h("Retry-After", "1"), "tenant/t1/identity", time.Second},
		{"identity app", identity, 429, h("X-Ms-Throttle-Scope", "Application/ReadWrite/app/t"), "app/identity", 0},
		{"identity tenant", identity, 429, h("X-Ms-Throttle-Scope", "Tenant_Application/Read/app/t"), "tenant/t1/identity", 0},
		{"identity writes", write, 429, h("X-Ms-Throttle-Scope", "Tenant_Application/Write/app/t"), "tenant/t1/identity/write", 0},
		{"identity app writes", write, 429, h("X-Ms-Throttle-Scope", "Application/Write/app/t"), "app/identity/write", 0},
		{"full", identity, 200, h("X-Ms-Throttle-Limit-Percentage", "1.1"), "tenant/t1/identity", time.Second},
		{"nearly", identity, 200, h("X-Ms-Throttle-Limit-Percentage", "0.9"), "", 0},
	}
	now := newClock().now()
	for _, tc := range cases {
		scope, wait := verdict(tc.call, tc.status, readSignals(tc.header, now))
		if scope != tc.scope || wait != tc.wait {
			t.Errorf("%s: %q %v, want %q %v", tc.name, scope, wait, tc.scope, tc.wait)
		}
		if scope != "" && !contains(tc.call.scopes(), scope) {
			t.Errorf("%s: %q does not close the call itself", tc.name, scope)
		}
	}
}

// Writes can be closed while reads pass.
func TestWritesCoolAlone(t *testing.T) {
	c := newClock()
	b := resumed(t, connect(t, servertest.Redis(t)), c, Documented())
	write := Call{Tenant: "t1", Service: tenantry.Identity, Write: true}
	mustTake(t, b, write).Done(429, http.Header{"X-Ms-Throttle-Scope": {"Tenant_Application/Write/a/t"}})
	mustRefuse(t, b, write, "cooldown/tenant/t1/identity/write")
	mustTake(t, b, Call{Tenant: "t1", Service: tenantry.Identity})
}

func TestAnyHeaderGivesABoundedWait(t *testing.T) {
	names := []string{"Retry-After", "Ratelimit-Reset", "Ratelimit-Remaining", "X-Ms-Throttle-Scope", "X-Ms-Throttle-Limit-Percentage"}
	rapid.Check(t, func(t *rapid.T) {
		h := http.Header{}
		for _, n := range names {
			h[n] = []string{rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"-1", "NaN", "Inf", "1e400", "0x10", "5"})).Draw(t, n)}
		}
		s := readSignals(h, newClock().now())
		if w := s.wait(); w < 0 || w > longestCooldown {
			t.Fatalf("%v from %v", w, h)
		}
	})
}
