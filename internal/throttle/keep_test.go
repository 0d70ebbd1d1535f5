package throttle

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/servertest"
)

const adasPermits = "tenantry:{app}:permits/t1/ada"

// brief returns limits with permits of the shortest life.
func brief() Limits {
	l := Documented()
	l.Outlook.PermitLife = Duration(time.Second)
	return l
}

func restoring(box string) Call {
	c := outlook(box)
	c.Reserve = true
	return c
}

// takeAll takes all permits of ada's mailbox.
func takeAll(t testing.TB, b *Book) []*Permit {
	t.Helper()
	all := make([]*Permit, b.limits.Outlook.Concurrency)
	for i := range all {
		all[i] = mustTake(t, b, restoring("ada"))
	}
	return all
}

func renew(t testing.TB, b *Book) {
	t.Helper()
	if err := b.renewAll(); err != nil {
		t.Fatal(err)
	}
}

func lost(p *Permit) bool { return p.Context().Err() != nil }

// A request of any length up to the longest keeps its permit, however short that lives.
func TestPermitsAreRenewed(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newClock()
		a, other := resumed(t, rdb, c, Documented()), open(t, rdb, c, Documented())
		all := takeAll(t, a)
		bob := mustTake(t, a, outlook("bob"))
		mustTake(t, a, outlook("eve")).Release() // free ones, too
		end := c.now().Add(a.longest())
		for c.now().Add(a.renewEvery()).Before(end) {
			c.pass(a.renewEvery())
			before := a.scripts
			renew(t, a)
			if a.scripts != before+1 {
				t.Fatalf("%d script calls to renew the permits of three mailboxes", a.scripts-before)
			}
			mustRefuse(t, other, restoring("ada"), outlookPermits)
		}
		for _, p := range append(all, bob) {
			if lost(p) {
				t.Fatal("a permit that was renewed in time was lost")
			}
		}

		// Whoever forgets to release holds nobody up for ever.
		for range 4 {
			c.pass(a.renewEvery())
			renew(t, a)
		}
		for _, p := range all {
			if !lost(p) {
				t.Error("renewed beyond the longest request")
			}
		}
		takeAll(t, other)
	})
}

// With nothing held, Redis is left alone.
func TestNothingToRenew(t *testing.T) {
	c := newClock()
	b := resumed(t, connect(t, servertest.Redis(t)), c, Documented())
	mustTake(t, b, outlook("ada")).Release()
	c.pass(2 * sweepEvery)
	b.sweep(whatIsIdle)
	before := b.scripts
	renew(t, b)
	if b.scripts != before {
		t.Error("asked Redis to renew nothing")
	}
}

// What is given back while its renewal is on the way stays given back.
func TestRenewalAfterRelease(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newClock()
		a, other := resumed(t, rdb, c, Documented()), open(t, rdb, c, Documented())
		all := takeAll(t, a)
		late := a.renewal()
		for _, p := range all[1:] {
			p.Release()
		}
		c.pass(permitIdle)
		a.sweep(whatIsIdle)
		if err := a.renew(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		if n := rdb.ZCard(t.Context(), adasPermits).Val(); n != 1 || lost(all[0]) {
			t.Errorf("%d permits in Redis, lost: %v; one is held", n, lost(all[0]))
		}
		for range 3 {
			mustTake(t, other, restoring("ada"))
		}
		mustRefuse(t, other, restoring("ada"), outlookPermits)
	})
}

// Who slept over the end of its permits has lost them, before others get them, and
// takes none from them when it renews or releases.
func TestFrozenProcess(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := newClock()
		a, other := resumed(t, rdb, c, Documented()), open(t, rdb, c, Documented())
		all := takeAll(t, a)
		late := a.renewal()
		c.pass(a.usable())
		mustRefuse(t, other, restoring("ada"), outlookPermits)
		if no, _ := take(t, a, restoring("ada")); no != nil {
			t.Fatal("granted a fifth")
		}
		renew(t, a)
		for _, p := range all {
			if !lost(p) {
				t.Fatal("in use in the last tenth of its life")
			}
		}
		c.pass(a.permitLife() - a.usable())
		others := takeAll(t, other)
		if err := a.renew(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			p.Release()
		}
		a.sweep(whatIsIdle)
		mustRefuse(t, a, restoring("ada"), outlookPermits)
		others[0].Release()
		mustTake(t, other, restoring("ada"))
	})
}

// A new life counts from before the question: the answer may have been long on its way.
func TestLateRenewal(t *testing.T) {
	c := newClock()
	rdb := connect(t, servertest.Redis(t))
	b := resumed(t, rdb, c, Documented())
	p := mustTake(t, b, outlook("ada"))
	late := b.renewal()
	c.pass(b.renewEvery())
	if err := b.renew(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	c.pass(b.usable() - b.renewEvery() - time.Millisecond)
	b.ring(p.slot)
	if lost(p) {
		t.Error("lost too early")
	}
	c.pass(time.Millisecond)
	b.ring(p.slot)
	if !lost(p) {
		t.Error("used for longer than Redis was asked for")
	}
}

// A lost permit that is released is free for others at once.
func TestLostPermitIsGivenUp(t *testing.T) {
	c := newClock()
	rdb := connect(t, servertest.Redis(t))
	a, other := resumed(t, rdb, c, Documented()), open(t, rdb, c, Documented())
	all := takeAll(t, a)
	c.pass(a.usable())
	renew(t, a)
	all[0].Release()
	a.sweep(whatIsIdle)
	mustTake(t, other, restoring("ada"))
	mustRefuse(t, other, restoring("ada"), outlookPermits)
}

// After Redis lost everything, the next renewal tells the holders.
func TestPermitsOfALostBook(t *testing.T) {
	onRedis(t, func(t *testing.T, rdb redis.UniversalClient) {
		b := resumed(t, rdb, newClock(), Documented())
		p := mustTake(t, b, outlook("ada"))
		if err := rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		renew(t, b)
		if !lost(p) {
			t.Error("nobody knows of the permit, but its holder was not told")
		}
		if n := rdb.Exists(t.Context(), adasPermits).Val(); n != 0 {
			t.Error("the renewal added what was not there")
		}
	})
}

func TestCloseTellsTheHolders(t *testing.T) {
	b := resumed(t, connect(t, servertest.Redis(t)), newClock(), Documented())
	p := mustTake(t, b, outlook("ada"))
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !lost(p) {
		t.Error("nobody renews it, but its holder was not told")
	}
	p.Release()
}

// The alarm tells the holder even while nobody renews: the keeper may be waiting for
// Redis.
func TestAlarm(t *testing.T) {
	b := New(connect(t, servertest.Redis(t)), "app", brief(), small)
	b.running = true // no keeper
	defer func() { _ = b.Close(context.Background()) }()
	if err := b.Resume(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	p := mustTake(t, b, restoring("ada"))
	select {
	case <-p.Context().Done():
	case <-time.After(time.Minute):
		t.Fatal("the holder was never told")
	}
	p.Release()
}

// Redis is gone: the holder is told when Redis, were it only out of reach, would still
// count the permit.
func TestRedisGoneWhileHolding(t *testing.T) {
	server := servertest.StartRedis(t)
	b := New(connect(t, server.Addr), "app", brief(), small)
	defer func() { _ = b.Close(context.Background()) }()
	if err := b.Resume(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	p, err := b.Acquire(t.Context(), outlook("ada"))
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	killed := time.Now() // no renewal was sent after this
	select {
	case <-p.Context().Done():
	case <-time.After(time.Minute):
		t.Fatal("the holder was never told")
	}
	b.mu.Lock()
	until := p.slot.until
	b.mu.Unlock()
	if last := killed.Add(b.usable()); until.After(last) {
		t.Errorf("usable until %v after the last renewal", until.Sub(last))
	}
	p.Release()
}

const holderEnv = "TENANTRY_TEST_HOLD_PERMITS"

// holdPermits is a worker of its own: it takes all of ada's permits, says so, and
// holds them until it is killed.
func holdPermits(addr string) {
	rdb := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	b := New(rdb, "app", brief(), small)
	for range b.limits.Outlook.Concurrency {
		if _, err := b.Acquire(context.Background(), restoring("ada")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	fmt.Println("held")
	select {}
}

// The permits of a killed worker, which it held far beyond their life, are another's
// when their last life is over.
func TestKilledWorker(t *testing.T) {
	addr := servertest.Redis(t)
	rdb := connect(t, addr)
	other := New(rdb, "app", brief(), small)
	defer func() { _ = other.Close(context.Background()) }()
	if err := other.Resume(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	worker := exec.CommandContext(t.Context(), os.Args[0])
	worker.Env = append(os.Environ(), holderEnv+"="+addr)
	worker.Stderr = os.Stderr
	worker.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := worker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = worker.Wait() }()
	defer func() { _ = worker.Process.Kill() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the worker said %q, %v", line, err)
	}
	first, _ := lives(t, rdb)
	for limit := time.After(time.Minute); ; {
		if now, _ := lives(t, rdb); now > first+2*other.permitLife().Milliseconds() {
			break // renewed, more than once
		}
		select {
		case <-limit:
			t.Fatal("the worker does not renew its permits")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err := worker.Process.Kill(); err != nil { // SIGKILL
		t.Fatal(err)
	}
	_ = worker.Wait()

	least, most := lives(t, rdb)
	if now := redisClock(t, rdb); most > now+other.permitLife().Milliseconds() {
		t.Errorf("they live %d ms longer, with a life of %v", most-now, other.permitLife())
	}
	at := least - 1
	other.redisNow = func() int64 { return at }
	mustRefuse(t, other, restoring("ada"), outlookPermits)
	at = most
	for _, p := range takeAll(t, other) {
		p.Release()
	}
}

// lives returns when the first and the last of ada's four permits expire in Redis.
func lives(t *testing.T, rdb redis.UniversalClient) (least, most int64) {
	t.Helper()
	all, err := rdb.ZRangeWithScores(t.Context(), adasPermits, 0, -1).Result()
	if err != nil || len(all) != 4 {
		t.Fatalf("%d permits in Redis, %v", len(all), err)
	}
	return int64(all[0].Score), int64(all[3].Score)
}

func redisClock(t *testing.T, rdb redis.UniversalClient) int64 {
	t.Helper()
	now, err := rdb.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return now.UnixMilli()
}

// crowd is several processes at one mailbox, of which any may freeze or die.
type crowd struct {
	fleet
	held [][]*Permit // by process
}

// usable counts the permits that may be used now, by the clock of their holders.
func (c *crowd) usable() (all, bulk int) {
	for _, held := range c.held {
		for _, p := range held {
			if !lost(p) && c.clock.now().Before(p.slot.until) {
				all++
				if !p.call.Reserve {
					bulk++
				}
			}
		}
	}
	return all, bulk
}

func (c *crowd) step(t *rapid.T, nested bool) {
	i := rapid.IntRange(0, len(c.books)-1).Draw(t, "process")
	b := c.books[i]
	switch rapid.IntRange(0, 11).Draw(t, "do") {
	default:
		call := outlook("ada")
		call.Reserve = rapid.Bool().Draw(t, "reserve")
		p, _, err := b.try(context.Background(), b.draft(call))
		if err != nil {
			t.Fatal(err)
		}
		if p != nil {
			if left := p.slot.until.Sub(c.clock.now()); left < b.renewEvery() {
				t.Fatalf("granted with %v to live", left)
			}
			c.held[i] = append(c.held[i], p)
		}
	case 5, 6:
		if len(c.held[i]) > 0 {
			c.held[i][0].Done(http.StatusOK, nil)
			c.held[i][0].Release()
			c.held[i] = c.held[i][1:]
		}
	case 7:
		c.clock.pass(time.Duration(rapid.SampledFrom([]int{1, 400, 1_500, 5_000, 9_000, 13_499}).Draw(t, "pause")) * time.Millisecond)
	case 8:
		b.sweep(whatIsIdle)
	case 9, 10:
		r := b.renewal()
		for range rapid.IntRange(0, 3).Draw(t, "between") {
			if !nested {
				c.step(t, true)
			}
		}
		if err := b.renew(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	case 11: // killed: its connections, too
		if !nested {
			c.books[i], c.held[i] = c.open(), nil
		}
	}
}

// Whoever takes, renews, releases, sleeps or dies, in whichever order: no more than
// four requests use the mailbox at once, three of them for bulk, and who renews in time
// keeps what it has.
func TestNoMailboxSeesMoreThanFour(t *testing.T) {
	rdb := connect(t, servertest.Redis(t))
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		c := crowd{fleet: fleet{rdb: rdb, clock: newClock(), limits: Documented(), app: fmt.Sprint("crowd", run)}, held: make([][]*Permit, 3)}
		for range c.held {
			c.books = append(c.books, c.open())
		}
		defer func() {
			for _, b := range c.books {
				_ = b.Close(context.Background())
			}
		}()
		if err := c.books[0].Resume(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		c.clock.pass(time.Minute)
		for range rapid.IntRange(20, 120).Draw(t, "steps") {
			c.step(t, false)
			if all, bulk := c.usable(); all > 4 || bulk > 3 {
				t.Fatalf("%d permits in use, %d for bulk", all, bulk)
			}
		}
	})
}
