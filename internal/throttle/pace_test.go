package throttle

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func near(got, want float64) bool { return got > want-0.011 && got < want+0.011 }

// granted counts how many calls a book lets go within a time, however often it is asked.
func granted(t *testing.T, b *Book, c *clock, call Call, length time.Duration) (n int) {
	t.Helper()
	for end := c.now().Add(length); c.now().Before(end); {
		p, no := take(t, b, call)
		if p != nil {
			n++
			p.Release()
			continue
		}
		c.pass(min(max(no.wait, time.Millisecond), end.Sub(c.now())))
	}
	return n
}

// A throttled answer that the book did not expect: the rate falls at once, once per
// cooldown, for the whole fleet, and comes back slowly. The ledger says so.
func TestRateFallsAtOnceAndRecoversSlowly(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newClock()
		b, other := resumed(t, rdb, c, Documented()), open(t, rdb, c, Documented())
		before := granted(t, b, c, sharePoint(1), 2*time.Minute)
		c.pass(time.Minute)
		p := mustTake(t, b, sharePoint(1))
		again := mustTake(t, b, sharePoint(1))
		wait := p.Done(http.StatusTooManyRequests, tooMany("10"))
		again.Done(http.StatusTooManyRequests, tooMany("10")) // the same throttle: counts once
		fell := c.now()
		if u := usageOf(t, other, sharePointMinute); !near(u.Share, 0.8) || !u.SlowedAt.Equal(fell) {
			t.Errorf("after a throttle: share %v since %v, want 0.8 since %v", u.Share, u.SlowedAt, fell)
		}
		if u := usageOf(t, other, sharePointDay); u.Share != 1 || !u.SlowedAt.IsZero() {
			t.Errorf("the day account is slowed: %+v", u)
		}
		c.pass(wait + 5*time.Second)
		after := granted(t, other, c, sharePoint(1), 2*time.Minute)
		if share := float64(after) / float64(before); share < 0.76 || share > 0.9 {
			t.Errorf("%d calls in two minutes, %d before: a share of %.2f", after, before, share)
		}
		c.pass(3 * time.Minute)
		if u := usageOf(t, b, sharePointMinute); u.Share < 0.86 || u.Share > 0.95 {
			t.Errorf("five minutes later: share %v", u.Share)
		}
		c.pass(6 * time.Minute)
		mustTake(t, b, sharePoint(1))
		if u := usageOf(t, b, sharePointMinute); u.Share != 1 {
			t.Errorf("eleven minutes later: share %v", u.Share)
		}
	})
}

// However often it is throttled, an account keeps a tenth of its rate.
func TestRateNeverFallsToNothing(t *testing.T) {
	c := newClock()
	l := Documented()
	l.Pace.Recovery = 1e-6
	b := resumed(t, connect(t, servertest.Redis(t)), c, l)
	for range 12 {
		p := mustTake(t, b, sharePoint(1))
		c.pass(p.Done(http.StatusServiceUnavailable, nil) + 10*time.Second)
	}
	if u := usageOf(t, b, sharePointMinute); !near(u.Share, 0.1) {
		t.Errorf("share %v", u.Share)
	}
}

// A service whose real limit is half of the documented one: the fleet finds it, and
// few of its requests are throttled.
func TestPaceFindsALowerLimit(t *testing.T) {
	rdb := connect(t, servertest.Redis(t))
	c := newClock()
	books := []*Book{resumed(t, rdb, c, Documented()), open(t, rdb, c, Documented())}
	call := sharePoint(1)
	var recent []time.Time
	good, throttled := 0, 0
	for start := c.now(); c.now().Sub(start) < 40*time.Minute; {
		wait := time.Second
		for _, b := range books {
			p, no := take(t, b, call)
			if p == nil {
				wait = min(wait, max(no.wait, time.Millisecond))
				continue
			}
			for len(recent) > 0 && c.now().Sub(recent[0]) >= time.Minute {
				recent = recent[1:]
			}
			recent = append(recent, c.now()) // what is throttled counts, too
			status, wait2 := http.StatusOK, 5*time.Millisecond
			if len(recent) > 625 {
				status = http.StatusTooManyRequests
				throttled++
			} else {
				good++
			}
			p.Done(status, http.Header{})
			p.Release()
			wait = min(wait, wait2)
		}
		c.pass(wait)
	}
	if share := float64(throttled) / float64(good+throttled); share > 0.01 {
		t.Errorf("%d of %d throttled", throttled, good+throttled)
	}
	if used := float64(good) / (40 * 625); used < 0.7 {
		t.Errorf("%d good answers: %.2f of what the service allowed", good, used)
	}
}

// Headers of good answers slow the rate before anything is throttled.
func TestHeadersSteer(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newClock()
		b, other := resumed(t, rdb, c, Documented()), open(t, rdb, c, Documented())
		left := http.Header{"Ratelimit-Limit": {"1250"}, "Ratelimit-Remaining": {"100"}, "Ratelimit-Reset": {"30"}}
		mustTake(t, b, sharePoint(1)).Done(http.StatusOK, left)
		if u := usageOf(t, b, sharePointMinute); !near(u.Share, 0.16) {
			t.Errorf("100 left for 30 s of 1250 a minute: share %v, want 0.16", u.Share)
		}
		if n := granted(t, other, c, sharePoint(1), 30*time.Second); n > 100+25 { // and what stood in the bucket
			t.Errorf("%d granted, 100 were left", n)
		}
		c.pass(time.Second)
		if u := usageOf(t, b, sharePointMinute); u.Share != 1 {
			t.Errorf("after the reset: share %v", u.Share)
		}

		lower := http.Header{"Ratelimit-Limit": {"1000"}, "Ratelimit-Remaining": {"900"}, "Ratelimit-Reset": {"10"}}
		mustTake(t, b, sharePoint(1)).Done(http.StatusOK, lower)
		if u := usageOf(t, other, sharePointMinute); !near(u.Share, 0.8) {
			t.Errorf("the limit is said to be 1000 of 1250: share %v", u.Share)
		}

		directory := Call{Tenant: "t1", Service: tenantry.Identity}
		mustTake(t, b, directory).Done(http.StatusOK, http.Header{"X-Ms-Throttle-Limit-Percentage": {"0.9"}})
		if u := usageOf(t, other, identityUnits); !near(u.Share, 0.75) {
			t.Errorf("at 90 %% of the quota: share %v", u.Share)
		}
	})
}

// One mailbox that is throttled is that mailbox; several of one tenant within half a
// minute are the tenant's Outlook, for every process and at most a minute.
func TestManyMailboxesAreTheTenant(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newClock()
		b, other := resumed(t, rdb, c, Documented()), open(t, rdb, c, Documented())
		throttle := func(b *Book, box string) {
			p := mustTake(t, b, outlook(box))
			p.Done(http.StatusTooManyRequests, tooMany("300"))
			p.Release()
		}
		throttle(b, "ada")
		throttle(other, "bob")
		c.pass(31 * time.Second)
		throttle(b, "cem")
		throttle(other, "dan")
		mustTake(t, b, outlook("eve")).Release() // two within half a minute: still mailboxes
		throttle(b, "fay")
		no := mustRefuse(t, open(t, rdb, c, Documented()), outlook("eve"), "cooldown/tenant/t1/outlook")
		if no.wait > time.Minute {
			t.Errorf("cools for %v", no.wait)
		}
		mustTake(t, b, sharePoint(1))
		mustTake(t, b, Call{Tenant: "t2", Service: tenantry.Outlook, Mailbox: "eve"}).Release()
		c.pass(time.Minute + time.Second)
		mustTake(t, b, outlook("eve")).Release()
		mustRefuse(t, b, outlook("fay"), "cooldown/mailbox/t1/fay")
	})
}

// A slowing that could not be sent is kept here and sent when Redis is back.
func TestSlowingSurvivesRedisOutage(t *testing.T) {
	server := servertest.StartRedis(t)
	c := newClock()
	b := resumed(t, connect(t, server.Addr), c, Documented())
	p := mustTake(t, b, sharePoint(1))
	server.Kill()
	p.Done(http.StatusTooManyRequests, tooMany("10"))
	server.Start()
	b.sweep(whatIsIdle)
	if u := usageOf(t, b, sharePointMinute); !near(u.Share, 0.8) {
		t.Errorf("share %v", u.Share)
	}
}

// Each channel has its own account, and one a second is what it gets.
func TestTeamsByResource(t *testing.T) {
	c := newClock()
	b := resumed(t, connect(t, servertest.Redis(t)), c, Documented())
	c.pass(time.Minute)
	read := func(channel string) Call {
		return Call{Tenant: "t1", Service: tenantry.Teams, Kind: TeamsMessages, Resource: channel}
	}
	mustTake(t, b, read("general"))
	mustRefuse(t, b, read("general"), teamsResource+TeamsMessages)
	mustTake(t, b, read("random"))
	mustTake(t, b, Call{Tenant: "t1", Service: tenantry.Teams, Kind: TeamsExport, Resource: "general"})
	if n := granted(t, b, c, read("general"), time.Minute); n < 35 || n > 50 { // 83 % of 60, less the slack
		t.Errorf("%d in a minute", n)
	}
}

// A lost Redis does not make the fleet believe a wrong limit again: what slowed an account
// comes back from the mirror, as old as it was.
func TestPacesAreMirrored(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newClock()
		b := resumed(t, rdb, c, Documented())
		mustTake(t, b, sharePoint(1)).Done(http.StatusTooManyRequests, tooMany("10"))
		fell := c.now()
		identity := Call{Tenant: "t1", Service: tenantry.Identity}
		mustTake(t, b, identity).Done(http.StatusOK, http.Header{"X-Ms-Throttle-Limit-Percentage": {"0.9"}})
		c.pass(2 * time.Second)
		before, braked := usageOf(t, b, sharePointMinute), usageOf(t, b, identityUnits)
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
		if u := usageOf(t, fresh, sharePointMinute); u.Share >= 0.83 || !near(u.Share, before.Share) || !u.SlowedAt.Equal(fell) {
			t.Errorf("after a loss: share %v since %v, want %v since %v", u.Share, u.SlowedAt, before.Share, fell)
		}
		if u := usageOf(t, fresh, identityUnits); !near(u.Share, 0.75) || !near(braked.Share, 0.75) {
			t.Errorf("after a loss the brake is %v, was %v, want 0.75", u.Share, braked.Share)
		}
		again, err := fresh.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var m mirror
		if err := json.Unmarshal(again, &m); err != nil || m.Paces["minute/t1"].Fell != fell.UnixMilli() {
			t.Errorf("the resumed book does not mirror it again: %s, %v", again, err)
		}
		c.pass(12 * time.Minute) // 0.2 at 2 % a minute
		mustTake(t, fresh, sharePoint(1))
		if u := usageOf(t, fresh, sharePointMinute); u.Share != 1 {
			t.Errorf("twelve minutes later: share %v", u.Share)
		}
		if done, err := fresh.Snapshot(t.Context()); err != nil || strings.Contains(string(done), "paces") {
			t.Errorf("an account that is whole again is still mirrored: %s, %v", done, err)
		}
	})
}

// However many mailboxes are slowed, the mirror holds those that are slow for longest.
func TestMirroredPacesAreBounded(t *testing.T) {
	rdb := connect(t, servertest.Redis(t))
	c := newClock()
	b := resumed(t, rdb, c, Documented())
	const more = 37
	for i := range mirrorPaces + more {
		call := outlook(fmt.Sprint("box", i))
		a, ok := b.limits.paced(call, small(call.Tenant))
		if !ok {
			t.Fatal("no rate decides")
		}
		s := b.slowing(a, oneThrottle)
		s.Fall = b.limits.Pace.Fall
		b.slow(s)
		if i%settleBatch == settleBatch-1 {
			b.publish()
			c.pass(time.Second)
		}
	}
	b.publish()
	if n := rdb.ZCard(t.Context(), b.key("paces")).Val(); n != mirrorPaces {
		t.Errorf("the list holds %d accounts, want %d", n, mirrorPaces)
	}
	doc, err := b.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.Resume(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	if n := rdb.ZCard(t.Context(), b.key("paces")).Val(); n != mirrorPaces {
		t.Errorf("%d accounts came back, want %d", n, mirrorPaces)
	}
	last := outlook(fmt.Sprint("box", mirrorPaces+more-1))
	a, _ := b.limits.paced(last, small(last.Tenant))
	if share := rdb.HGet(t.Context(), b.key(accountKey(a.key)), "share").Val(); share != "0.8000" {
		t.Errorf("the one slowed last came back with share %q", share)
	}
}

func TestResumeRefusesADamagedPace(t *testing.T) {
	b := open(t, connect(t, servertest.Redis(t)), newClock(), Documented())
	for _, pace := range []string{`{"share":2,"fell":5}`, `{"share":-1,"fell":5}`, `{"share":0.5,"fell":-5}`, `{"till":7}`, `{"fell":7,"brake":0.5}`} {
		doc := `{"version":1,"at":1,"days":{},"cooldowns":{},"paces":{"minute/t1":` + pace + `}}`
		if err := b.Resume(t.Context(), []byte(doc)); tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("%s: %v", pace, err)
		}
	}
}
