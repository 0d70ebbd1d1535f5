package throttle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(holderEnv); addr != "" {
		holdPermits(addr) // never returns
	}
	servertest.Main(m)
}

// clock is a time that a test moves; it also stands in for Redis's.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func connect(t testing.TB, addr string) redis.UniversalClient {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// onRedis runs a test on a real Redis and on miniredis, the embedded one.
func onRedis(t *testing.T, test func(t *testing.T, rdb redis.UniversalClient)) {
	t.Run("redis", func(t *testing.T) { test(t, connect(t, servertest.Redis(t))) })
	t.Run("embedded", func(t *testing.T) { test(t, connect(t, miniredis.RunT(t).Addr())) })
}

func small(tenantry.TenantID) Size { return Size{Users: 10, Licences: 10} }

// open opens a book on a test's clock. It neither sweeps nor renews by itself.
func open(t testing.TB, rdb redis.UniversalClient, c *clock, l Limits) *Book {
	t.Helper()
	if err := l.Validate(); err != nil {
		t.Fatal(err)
	}
	b := New(rdb, "app", l, small)
	b.now, b.redisNow = c.now, func() int64 { return c.now().UnixMilli() }
	b.running = true
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

// resumed opens the book of a new installation.
func resumed(t testing.TB, rdb redis.UniversalClient, c *clock, l Limits) *Book {
	t.Helper()
	b := open(t, rdb, c, l)
	if err := b.Resume(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return b
}

func outlook(box string) Call {
	return Call{Tenant: "t1", Service: tenantry.Outlook, Mailbox: box}
}

func sharePoint(units int) Call {
	return Call{Tenant: "t1", Service: tenantry.SharePoint, Units: units}
}

// take tries once and returns the permit, or the refusal.
func take(t testing.TB, b *Book, c Call) (*Permit, refusal) {
	t.Helper()
	p, no, err := b.try(context.Background(), b.draft(c))
	if err != nil {
		t.Fatal(err)
	}
	return p, no
}

func mustTake(t testing.TB, b *Book, c Call) *Permit {
	t.Helper()
	p, no := take(t, b, c)
	if p == nil {
		t.Fatalf("refused: %+v", no)
	}
	return p
}

func mustRefuse(t testing.TB, b *Book, c Call, code string) refusal {
	t.Helper()
	p, no := take(t, b, c)
	if p != nil {
		t.Fatalf("granted %+v, want refused by %s", c, code)
	}
	if no.code != code || no.wait <= 0 {
		t.Fatalf("refused by %q for %v, want %s", no.code, no.wait, code)
	}
	return no
}

func TestEveryServiceDrawsItsAccounts(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		b := resumed(t, rdb, newClock(), Documented())
		for _, c := range []Call{
			{Tenant: "t1", Service: tenantry.Identity, Units: 2},
			{Tenant: "t1", Service: tenantry.Identity, Write: true},
			{Tenant: "t1", Service: tenantry.SharePoint, Units: 5, UploadBytes: 1 << 20, DownloadBytes: 1 << 30},
			{Tenant: "t1", Service: tenantry.Teams},
			{Tenant: "t1", Service: tenantry.Teams, Kind: TeamsMessages, Resource: "general"},
			{Tenant: "t1", Service: tenantry.Outlook, Mailbox: "ada", Write: true, UploadBytes: 1 << 20},
			{Tenant: "t1", Service: tenantry.Outlook},
		} {
			mustTake(t, b, c).Release()
		}
		have, err := rdb.Keys(t.Context(), "*").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{
			"a/app", "a/app/identity", "a/identity/t1", "a/app/writes", "a/writes/t1", "a/minute/t1", "a/day/t1",
			"a/all/t1", "a/in/t1", "a/out/t1", "a/all_writes/t1", "a/app/teams/other", "a/teams/t1/other",
			"a/app/teams/messages", "a/teams/t1/messages", "a/teams/t1/messages/general", "a/mailbox/t1/ada", "a/upload/t1/ada", "permits/t1/ada", "book", "days",
		} {
			if !contains(have, "tenantry:{app}:"+name) {
				t.Errorf("%s was not drawn on; keys: %v", name, have)
			}
		}
		for _, key := range have {
			if !strings.HasPrefix(key, "tenantry:{app}:") {
				t.Errorf("key %s is in another slot", key)
			}
		}
	})
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// Nothing is taken from any account when one of them refuses.
func TestAllOrNothing(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c, l := newClock(), Documented()
		l.SharePoint.Tiers[0].Day = per(10, day)
		b := resumed(t, rdb, c, l)
		call := sharePoint(4)
		call.Reserve = true // to the last unit
		mustTake(t, b, call)
		mustTake(t, b, call)
		before := levels(t, rdb)
		mustRefuse(t, b, call, sharePointDay)
		if after := levels(t, rdb); after != before {
			t.Errorf("a refused call changed the accounts:\n%s\n%s", before, after)
		}
	})
}

func levels(t *testing.T, rdb redis.UniversalClient) string {
	t.Helper()
	text := ""
	for _, name := range []string{"a/app", "a/minute/t1", "a/day/t1"} {
		h, err := rdb.HGetAll(t.Context(), "tenantry:{app}:"+name).Result()
		if err != nil {
			t.Fatal(err)
		}
		if _, bucket := h["level"]; bucket { // not what is lent out: a refused caller, too, reports what it used
			h = map[string]string{"level": h["level"], "at": h["at"]}
		}
		text += fmt.Sprint(name, h, "; ")
	}
	return text
}

func TestReserveIsForRestores(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c, l := newClock(), Documented()
		l.SharePoint.Tiers[0].Minute = per(10_000, time.Minute)
		l.SharePoint.Tiers[0].Day = per(1_000, day)
		b := resumed(t, rdb, c, l)
		bulk, restore := sharePoint(1), sharePoint(1)
		restore.Reserve = true
		n := 0
		for ; ; n++ {
			p, no := take(t, b, bulk)
			if p == nil {
				// The floor melts by one unit in a quarter of an hour.
				if no.code != sharePointDay || no.wait > 15*time.Minute {
					t.Fatalf("refused by %s for %v", no.code, no.wait)
				}
				c.pass(no.wait + time.Second)
				mustTake(t, b, bulk)
				n++
				break
			}
			c.pass(time.Second)
		}
		// Noon: half of the tenth has melted.
		if n < 940 || n > 955 {
			t.Errorf("bulk drew %d of 1000", n)
		}
		for n = 0; ; n++ {
			if p, _ := take(t, b, restore); p == nil {
				break
			}
			c.pass(time.Second)
		}
		if n < 45 || n > 60 {
			t.Errorf("restores drew %d more", n)
		}
	})
}

func TestMailboxPermits(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newClock()
		a, other := resumed(t, rdb, c, Documented()), open(t, rdb, c, Documented())
		restore := outlook("ada")
		restore.Reserve = true
		held := []*Permit{
			mustTake(t, a, outlook("ada")), mustTake(t, other, outlook("ada")), mustTake(t, a, outlook("ada")),
		}
		mustRefuse(t, other, outlook("ada"), outlookPermits) // the fourth is for restores
		mustTake(t, other, outlook("bob")).Release()         // another mailbox
		held = append(held, mustTake(t, other, restore))
		mustRefuse(t, a, restore, outlookPermits)

		scripts := a.scripts
		held[0].Release()
		held[0].Release() // only the first counts
		held[0] = mustTake(t, a, outlook("ada"))
		if a.scripts != scripts {
			t.Error("a permit that was free here was asked of Redis")
		}
		mustRefuse(t, other, restore, outlookPermits)
		held[0].Release()
		c.pass(permitIdle)
		a.sweep(whatIsIdle) // idle: given back
		held[0] = mustTake(t, other, restore)
		mustRefuse(t, a, restore, outlookPermits)

		if d := held[0].Deadline(); d.Sub(c.now()) != a.longest() {
			t.Errorf("deadline in %v, not after the longest request", d.Sub(c.now()))
		}
	})
}

// Who makes a second request on a mailbox beside the first one gets a third permit with it,
// if there is one for bulk; it is another's when it was idle, and the fourth is for restores.
func TestSparePermit(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newClock()
		a, other := resumed(t, rdb, c, Documented()), open(t, rdb, c, Documented())
		restore := outlook("ada")
		restore.Reserve = true
		held := []*Permit{mustTake(t, a, outlook("ada"))}
		mustTake(t, other, outlook("ada")).Release() // one alone brings no second
		c.pass(permitIdle)
		other.sweep(whatIsIdle)
		held = append(held, mustTake(t, a, outlook("ada")))
		mustRefuse(t, other, outlook("ada"), outlookPermits)
		scripts := a.scripts
		mustTake(t, a, outlook("ada")).Release()
		if a.scripts != scripts {
			t.Error("the third permit was asked of Redis")
		}
		mustTake(t, other, restore).Release()
		c.pass(permitIdle)
		a.sweep(whatIsIdle)
		other.sweep(whatIsIdle)
		mustTake(t, other, outlook("ada"))
		mustRefuse(t, a, outlook("ada"), outlookPermits)
		if lost(held[0]) || lost(held[1]) {
			t.Error("giving up the spare permit ended another")
		}
	})
}

// A permit that is free here serves even while blocks have to be asked for.
func TestFreePermitServesWhileBlocksAreShort(t *testing.T) {
	c := newClock()
	b := resumed(t, connect(t, miniredis.RunT(t).Addr()), c, Documented())
	for range 20 {
		mustTake(t, b, outlook("ada")).Release()
		c.pass(600 * time.Millisecond) // the application's block expires
	}
	if n := len(b.mailboxes["t1/ada"].slots); n != 1 {
		t.Errorf("%d permits for one request at a time", n)
	}
}

// What is left of a block goes back after a second, and sooner where the account could not
// give all that was asked for: others wait for it.
func TestIdleBlocksGoBack(t *testing.T) {
	c := newClock()
	b := resumed(t, connect(t, miniredis.RunT(t).Addr()), c, Documented().Faster(6))
	c.pass(time.Minute)
	blocks := func() int { return len(b.purses["minute/t1"].blocks) }
	mustTake(t, b, sharePoint(1)) // all that was asked for
	life := b.purses["minute/t1"].life
	c.pass(life / 2)
	if b.sweep(whatIsIdle); blocks() == 0 {
		t.Error("a block went back before its time")
	}
	for range 100 { // faster than the account is filled
		take(t, b, sharePoint(1))
		c.pass(time.Millisecond)
	}
	c.pass(200 * time.Millisecond)
	mustTake(t, b, sharePoint(1))
	if !b.purses["minute/t1"].scarce || blocks() == 0 {
		t.Fatal("the account was not exhausted")
	}
	c.pass(life / 2)
	if b.sweep(whatIsIdle); blocks() != 0 {
		t.Error("a scarce account's block was kept idle for half of its life")
	}
}

func TestUpload(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newClock()
		b := resumed(t, rdb, c, Documented())
		put := Call{Tenant: "t1", Service: tenantry.Outlook, Mailbox: "ada", Write: true, UploadBytes: 30_000_000, Reserve: true}
		for range 5 {
			mustTake(t, b, put).Release()
		}
		no := mustRefuse(t, b, put, outlookUpload)
		if no.wait < 4*time.Minute || no.wait > 6*time.Minute {
			t.Errorf("wait %v", no.wait)
		}
		mustTake(t, b, outlook("ada")).Release() // reads go on
		c.pass(no.wait)
		mustTake(t, b, put).Release()
	})
}

func TestWaitsInPlaceAndParksBeyond(t *testing.T) {
	l := Documented()
	l.Teams.Kinds = map[string]TeamsLimit{TeamsOther: {App: 1000, Tenant: 100}}
	l.Teams.Sustained = 1
	l.Reserve = 0
	b := New(connect(t, servertest.Redis(t)), "app", l, small)
	defer func() { _ = b.Close(context.Background()) }()
	if err := b.Resume(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	teams := Call{Tenant: "t1", Service: tenantry.Teams}
	start := time.Now()
	var all sync.WaitGroup
	for range 60 { // 20 at once, the others at 96 per second
		all.Go(func() {
			p, err := b.Acquire(context.Background(), teams)
			if err != nil {
				t.Error(err)
				return
			}
			p.Release()
		})
	}
	all.Wait()
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("took %v", took)
	}

	p, err := b.Acquire(t.Context(), teams)
	if err != nil {
		t.Fatal(err)
	}
	wait := p.Done(http.StatusTooManyRequests, http.Header{"Retry-After": {"60"}})
	p.Release()
	if wait < time.Minute || wait > 70*time.Second {
		t.Errorf("Done says %v", wait)
	}
	start = time.Now()
	_, err = b.Acquire(t.Context(), teams)
	if tenantry.KindOf(err) != tenantry.Throttled || tenantry.CodeOf(err) != "cooldown/tenant/t1/teams" {
		t.Fatalf("%v, code %s", err, tenantry.CodeOf(err))
	}
	until := tenantry.UntilOf(err)
	if wait := until.Sub(start); wait < 55*time.Second || wait > 70*time.Second {
		t.Errorf("until %v from the start of the call", wait)
	}
	if !time.Now().Before(until) {
		t.Error("waited in place for all of the cooldown")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Acquire(ctx, sharePoint(1)); tenantry.KindOf(err) != tenantry.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

func TestRedisDown(t *testing.T) {
	server := servertest.StartRedis(t)
	c := newClock()
	rdb := connect(t, server.Addr)
	b := resumed(t, rdb, c, Documented())
	mustTake(t, b, sharePoint(1))
	server.Kill()
	c.pass(longestLife)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for what, f := range map[string]func() error{
		"Acquire":  func() error { _, err := b.Acquire(ctx, sharePoint(1)); return err },
		"Snapshot": func() error { _, err := b.Snapshot(ctx); return err },
		"Resume":   func() error { return b.Resume(ctx, nil) },
		"Usage":    func() error { _, err := b.Usage(ctx, "t1"); return err },
	} {
		if err := f(); tenantry.KindOf(err) != tenantry.Shared || tenantry.CodeOf(err) != "redis" {
			t.Errorf("%s: %v", what, err)
		}
	}
	server.Start()
	mustRefuse(t, b, sharePoint(1), bookLost)
}

// After a loss buckets start at zero, rings wait for the mirror, and then go on where
// they were.
func TestLostBook(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c, l := newClock(), Documented()
		l.SharePoint.Tiers[0].Day = per(5_000, day)
		b := resumed(t, rdb, c, l)
		for range 100 {
			mustTake(t, b, sharePoint(5))
			c.pass(time.Second)
		}
		doc, err := b.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		b.purses = map[string]*purse{} // as in a new process

		mustRefuse(t, b, outlook("ada"), outlookRequests)
		upload := outlook("ada")
		upload.UploadBytes = 1000
		mustRefuse(t, b, sharePoint(5), bookLost)
		if _, err := b.Snapshot(t.Context()); tenantry.KindOf(err) != tenantry.Conflict || tenantry.CodeOf(err) != bookLost {
			t.Errorf("a lost book was mirrored: %v", err)
		}
		if u := usageOf(t, b, sharePointDay); u.Left != 0 {
			t.Errorf("left %d while unknown", u.Left)
		}
		if err := b.Resume(t.Context(), doc); err != nil {
			t.Fatal(err)
		}
		if err := b.Resume(t.Context(), nil); err != nil { // a second has no effect
			t.Fatal(err)
		}
		mustRefuse(t, b, upload, bookLost) // not mirrored: one window
		c.pass(time.Second)
		mustTake(t, b, sharePoint(5))
		// 500 drawn, perhaps 1250 in the minute of the gap, 5 now, and blocks.
		if u := usageOf(t, b, sharePointDay); u.Left > 5_000-500-1_250-5 || u.Left < 5_000-500-1_250-100 {
			t.Errorf("left %d", u.Left)
		}
		c.pass(time.Duration(l.Outlook.Upload.Window))
		mustTake(t, b, upload).Release()
	})
}

func usageOf(t *testing.T, b *Book, name string) Account {
	t.Helper()
	list, err := b.Usage(t.Context(), "t1")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if a.Name == name {
			return a
		}
	}
	t.Fatalf("no account %s in %+v", name, list)
	return Account{}
}

func TestResumeRefusesWhatItCannotRead(t *testing.T) {
	b := open(t, connect(t, miniredis.RunT(t).Addr()), newClock(), Documented())
	for _, doc := range []string{"{", `{"version":2}`, `{"version":1,"days":{"t1":null}}`, `{"version":1,"days":{"t1":{"x":1}}}`} {
		if err := b.Resume(t.Context(), []byte(doc)); tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("%s: %v", doc, err)
		}
	}
	mustRefuse(t, b, sharePoint(1), bookLost)
}

// A mirror larger than one batch comes back whole.
// What is lent out is mirrored as drawn: after a loss neither the block that a process still
// holds nor what it did not hold any more is there to draw again.
func TestOutstandingBlocksAreMirrored(t *testing.T) {
	rdb := connect(t, servertest.Redis(t))
	c := newClock()
	limits := Documented()
	for i := range limits.SharePoint.Tiers {
		limits.SharePoint.Tiers[i].Day.Amount = 20_000
	}
	b := resumed(t, rdb, c, limits)
	mustTake(t, b, sharePoint(1))
	day := b.purses["day/t1"]
	lent := day.blocks[0].left
	if lent == 0 {
		t.Fatal("nothing was drawn ahead")
	}
	doc, err := b.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var m mirror
	if err := json.Unmarshal(doc, &m); err != nil {
		t.Fatal(err)
	}
	var mirrored int64
	for _, n := range m.Days["t1"] {
		mirrored += n
	}
	if mirrored != 1+lent {
		t.Errorf("%d units are mirrored; one was used, and %d are lent", mirrored, lent)
	}
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.Resume(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	list, err := b.Usage(t.Context(), "t1")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(a Account) bool { return a.Name == sharePointDay })
	if i < 0 || list[i].Left > list[i].Limit-mirrored {
		t.Errorf("after the loss: %+v", list)
	}
}

func TestMirrorOfManyTenants(t *testing.T) {
	rdb := connect(t, servertest.Redis(t))
	c := newClock()
	b := resumed(t, rdb, c, Documented())
	const tenants = 2*mirrorBatch + 7
	call := func(i int) Call {
		return Call{Tenant: tenantry.TenantID(fmt.Sprint("t", i)), Service: tenantry.SharePoint, Units: 5}
	}
	for i := range tenants {
		mustTake(t, b, call(i))
		c.pass(10 * time.Millisecond)
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
	for i := range tenants {
		list, err := b.Usage(t.Context(), call(i).Tenant)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range list {
			if a.Name == sharePointDay && a.Left > a.Limit-5-1250 {
				t.Fatalf("tenant %d has %d left", i, a.Left)
			}
		}
	}
}

func TestUsage(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newClock()
		b := resumed(t, rdb, c, Documented())
		if u := usageOf(t, b, identityUnits); u.Limit != 3500 || u.Left != 3500 || !u.CoolingUntil.IsZero() {
			t.Errorf("fresh: %+v", u)
		}
		call := sharePoint(5)
		p := mustTake(t, b, call)
		if u := usageOf(t, b, sharePointDay); u.Limit != 1_200_000 || u.Left >= u.Limit {
			t.Errorf("after a call: %+v", u)
		}
		p.Done(http.StatusTooManyRequests, http.Header{"Retry-After": {"30"}})
		o := mustTake(t, b, outlook("ada"))
		o.Done(http.StatusTooManyRequests, http.Header{"Retry-After": {"30"}})
		for _, name := range []string{sharePointMinute, sharePointDay, "outlook/mailbox/ada"} {
			if u := usageOf(t, b, name); u.CoolingUntil.Before(c.now().Add(30*time.Second)) || u.CoolingUntil.After(c.now().Add(35*time.Second)) {
				t.Errorf("%s cools until %v", name, u.CoolingUntil)
			}
		}
		if u := usageOf(t, b, identityUnits); !u.CoolingUntil.IsZero() {
			t.Errorf("identity cools: %+v", u)
		}
	})
}

func TestClose(t *testing.T) {
	rdb := connect(t, servertest.Redis(t))
	c := newClock()
	b, other := resumed(t, rdb, c, Documented()), open(t, rdb, c, Documented())
	for range 3 {
		mustTake(t, b, outlook("ada")).Release()
	}
	mustTake(t, b, sharePoint(1))
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Acquire(t.Context(), sharePoint(2)); tenantry.KindOf(err) != tenantry.Canceled {
		t.Errorf("closed: %v", err)
	}
	if n := rdb.ZCard(t.Context(), "tenantry:{app}:permits/t1/ada").Val(); n != 0 {
		t.Errorf("%d permits left", n)
	}
	if u := usageOf(t, other, sharePointDay); u.Left != u.Limit-1 {
		t.Errorf("the block of the day account did not come back: %+v", u)
	}
}

func TestZeroPermit(t *testing.T) {
	p := &Permit{}
	p.Release()
	for _, tc := range []struct {
		status int
		header string
		want   time.Duration
	}{{429, "7", 7 * time.Second}, {503, "1.5", 1500 * time.Millisecond}, {429, "", 0}, {200, "7", 0}, {404, "7", 0}} {
		if got := p.Done(tc.status, http.Header{"Retry-After": {tc.header}}); got != tc.want {
			t.Errorf("%d %q: %v, want %v", tc.status, tc.header, got, tc.want)
		}
	}
	if !p.Deadline().IsZero() || p.Context().Done() != nil {
		t.Error("a bound out of nothing")
	}
}

// A busy process asks Redis about once in twenty requests.
func TestBlocksSpareRedis(t *testing.T) {
	c := newClock()
	rdb := connect(t, servertest.Redis(t))
	b := resumed(t, rdb, c, Documented())
	const mailboxes, requests = 100, 60
	for range requests {
		for m := range mailboxes {
			p := mustTake(t, b, outlook(fmt.Sprint("box", m)))
			p.Done(http.StatusOK, nil)
			p.Release()
			c.pass(time.Millisecond) // ten requests a second on each mailbox
		}
	}
	acquired, scripts := b.Traffic()
	t.Logf("%d requests, %d script calls: one for %.1f", acquired, scripts, float64(acquired)/float64(scripts))
	if acquired != mailboxes*requests || scripts*15 > acquired {
		t.Errorf("%d script calls for %d requests", scripts, acquired)
	}
}

func TestConcurrentUse(t *testing.T) {
	l := Documented()
	b := New(connect(t, servertest.Redis(t)), "app", l, small)
	defer func() { _ = b.Close(context.Background()) }()
	if err := b.Resume(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var inside, most, throttledCalls atomic.Int32
	for i := range 8 {
		all.Go(func() {
			for range 20 {
				p, err := b.Acquire(context.Background(), outlook("ada"))
				if err != nil {
					if tenantry.KindOf(err) != tenantry.Throttled {
						t.Error(err)
					}
					throttledCalls.Add(1)
					continue
				}
				n := inside.Add(1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				if i%2 == 0 {
					p.Done(http.StatusOK, http.Header{})
				}
				inside.Add(-1)
				p.Release()
			}
		})
	}
	all.Wait()
	if most.Load() > 3 || throttledCalls.Load() > 0 {
		t.Errorf("%d at once, %d refused", most.Load(), throttledCalls.Load())
	}
}

func TestErrorsAreOurs(t *testing.T) {
	err := throttled(refusal{time.Minute, sharePointDay})
	var e *tenantry.Error
	if !errors.As(err, &e) || e.Code != sharePointDay || !strings.Contains(e.Error(), "sharepoint/day") {
		t.Errorf("%v", err)
	}
}
