package throttle

import (
	"context"
	"fmt"
	"sort"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// tight returns limits small enough to be met within a short test.
func tight() Limits {
	l := Documented()
	l.App = per(2_000, 10*time.Second)
	l.Identity.Small = per(300, 10*time.Second)
	l.Outlook.Requests = per(400, 20*time.Second)
	l.Outlook.Upload = Limit{Amount: 1000, Window: Duration(30 * time.Second), Block: 50}
	l.SharePoint.Tiers = []SharePointTier{{Minute: per(500, 20*time.Second), Day: per(700, 60*time.Second), Tenant: per(900, 40*time.Second)}}
	return l
}

// drawn is what a model of Microsoft's side has counted on one account.
type drawn struct {
	limit Limit
	at    []int64 // ms
	cost  []int64
}

// worst returns the largest sum in any window, which bounds every fixed one too.
func (d *drawn) worst() (most int64) {
	var sum int64
	from := 0
	for i := range d.at {
		sum += d.cost[i]
		for d.at[i]-d.at[from] >= time.Duration(d.limit.Window).Milliseconds() {
			sum -= d.cost[from]
			from++
		}
		most = max(most, sum)
	}
	return most
}

// fleet is several processes with one book, of which any may die at any time.
type fleet struct {
	rdb    redis.UniversalClient
	clock  *clock
	limits Limits
	app    string
	books  []*Book
	counts map[string]*drawn
	mirror []byte
}

func (f *fleet) open() *Book {
	b := New(f.rdb, f.app, f.limits, small)
	b.now, b.redisNow = f.clock.now, func() int64 { return f.clock.now().UnixMilli() }
	b.running = true // only when the test says so
	return b
}

func (f *fleet) count(c Call) {
	now := f.clock.now().UnixMilli()
	for _, a := range f.limits.accounts(c, small(c.Tenant)) {
		d := f.counts[a.key]
		if d == nil {
			d = &drawn{limit: Limit{Amount: a.Limit, Window: Duration(a.Window * int64(time.Millisecond))}}
			f.counts[a.key] = d
		}
		d.at, d.cost = append(d.at, now), append(d.cost, a.Need)
	}
}

func drawCall(t *rapid.T) Call {
	c := Call{Tenant: "t1", Reserve: rapid.Bool().Draw(t, "reserve")}
	switch rapid.IntRange(0, 4).Draw(t, "service") {
	case 0:
		c.Service, c.Units = tenantry.Identity, rapid.IntRange(1, 5).Draw(t, "units")
	case 1:
		c.Service, c.Units = tenantry.SharePoint, rapid.IntRange(1, 5).Draw(t, "units")
	case 2:
		c.Service, c.Mailbox = tenantry.Outlook, "ada"
	case 3:
		c.Service, c.Kind, c.Resource = tenantry.Teams, TeamsMessages, "general"
	case 4:
		c.Service, c.Mailbox, c.UploadBytes = tenantry.Outlook, "ada", rapid.Int64Range(1, 200).Draw(t, "bytes")
	}
	return c
}

// Whatever arrives, whoever dies, and even if Redis forgets everything: no window,
// fixed or sliding, counts more than the limit.
func TestNoWindowExceedsItsLimit(t *testing.T) {
	rdb := connect(t, servertest.Redis(t))
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		f := &fleet{
			rdb: rdb, clock: newClock(), limits: tight(), app: fmt.Sprint("app", run), counts: map[string]*drawn{},
		}
		for range 3 {
			f.books = append(f.books, f.open())
		}
		if err := f.books[0].Resume(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(5, 12).Draw(t, "steps") {
			f.step(t)
		}
		for key, d := range f.counts {
			if most := d.worst(); most > d.limit.Amount {
				t.Fatalf("%s: %d in one window, limit %d", key, most, d.limit.Amount)
			}
		}
		if err := rdb.FlushAll(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
	})
}

func (f *fleet) step(t *rapid.T) {
	ctx := context.Background()
	i := rapid.IntRange(0, len(f.books)-1).Draw(t, "process")
	switch rapid.IntRange(0, 11).Draw(t, "do") {
	case 0, 1, 2:
		f.saturate(t, drawCall(t), time.Duration(rapid.IntRange(1, 6).Draw(t, "seconds"))*time.Second)
	case 6, 7:
		f.clock.pass(time.Duration(rapid.IntRange(1, 20_000).Draw(t, "pause")) * time.Millisecond)
	case 8:
		f.books[i].sweep(whatIsIdle)
	case 9: // killed: nothing is given back
		f.books[i] = f.open()
	case 10:
		if err := f.books[i].Close(ctx); err != nil {
			t.Fatal(err)
		}
		f.books[i] = f.open()
	case 11:
		f.lose(t)
	default: // a burst of one kind of call, spaced
		c, gap := drawCall(t), time.Duration(rapid.SampledFrom([]int{0, 1, 5, 30, 200}).Draw(t, "gap"))*time.Millisecond
		for range rapid.IntRange(1, 80).Draw(t, "burst") {
			p, _, err := f.books[i].try(ctx, f.books[i].draft(c))
			if err != nil {
				t.Fatal(err)
			}
			if p != nil {
				f.count(c)
				p.Release()
			}
			f.clock.pass(gap)
		}
	}
}

// saturate lets every process ask for the same for a while, as often as it may.
func (f *fleet) saturate(t interface{ Fatal(...any) }, c Call, length time.Duration) {
	end := f.clock.now().Add(length)
	for f.clock.now().Before(end) {
		granted, wait := false, time.Second
		for _, b := range f.books {
			p, no, err := b.try(context.Background(), b.draft(c))
			if err != nil {
				t.Fatal(err)
			}
			if p == nil {
				wait = min(wait, no.wait)
				continue
			}
			granted = true
			f.count(c)
			p.Release()
		}
		if granted {
			wait = 5 * time.Millisecond
		}
		f.clock.pass(wait)
	}
}

// lose empties Redis, and perhaps resumes from a mirror taken just before.
func (f *fleet) lose(t *rapid.T) {
	ctx := context.Background()
	if doc, err := f.books[0].Snapshot(ctx); err == nil {
		f.mirror = doc
	} else if tenantry.KindOf(err) != tenantry.Conflict {
		t.Fatal(err)
	}
	if err := f.rdb.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if f.mirror != nil && rapid.Bool().Draw(t, "resume") {
		if err := f.books[0].Resume(ctx, f.mirror); err != nil {
			t.Fatal(err)
		}
	}
}

// What a bucket holds and what it has lent never exceed 4 % of its limit, however many
// processes hold blocks.
func TestOvercommitIsBounded(t *testing.T) {
	rdb := connect(t, servertest.Redis(t))
	c, l := newClock(), Documented()
	books := []*Book{resumed(t, rdb, c, l)}
	for range 29 {
		books = append(books, open(t, rdb, c, l))
	}
	var most float64
	for i := range 300 { // each process asks, and leaves its block unused
		take(t, books[i%len(books)], Call{Tenant: "t1", Service: tenantry.Identity, Reserve: true})
		c.pass(20 * time.Millisecond)
		h, err := rdb.HGetAll(t.Context(), "tenantry:{app}:a/identity/t1").Result()
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, overcommit(h, c.now()))
	}
	if most > 0.04*3_500 || most < 0.01*3_500 {
		t.Errorf("%.1f held and lent", most)
	}
}

// A bucket that Redis lost starts at zero: a window across losses keeps its limit.
func TestLossesInsideAWindow(t *testing.T) {
	rdb := connect(t, servertest.Redis(t))
	f := &fleet{rdb: rdb, clock: newClock(), limits: tight(), app: "app", counts: map[string]*drawn{}}
	f.limits.Reserve = 0
	f.books = []*Book{f.open()}
	if err := f.books[0].Resume(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	call := outlook("ada")
	call.Reserve = true
	for range 4 {
		f.saturate(t, call, 5*time.Second)
		if err := rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if most := f.counts["mailbox/t1/ada"].worst(); most > 400 || most < 350 {
		t.Errorf("%d in a window, limit 400", most)
	}
}

func overcommit(h map[string]string, now time.Time) float64 {
	var total float64
	for field, text := range h {
		var slot int64
		var n float64
		_, _ = fmt.Sscan(text, &n)
		if _, err := fmt.Sscan(field, &slot); err == nil && slot <= now.UnixMilli() || field == "at" {
			continue
		}
		total += n
	}
	return total
}

// A mailbox that is asked without pause gets nearly its whole limit.
func TestTheLimitIsUsed(t *testing.T) {
	c, l := newClock(), Documented()
	b := resumed(t, connect(t, servertest.Redis(t)), c, l)
	end := c.now().Add(time.Duration(l.Outlook.Requests.Window))
	granted := 0
	for c.now().Before(end) {
		p, no := take(t, b, outlook("ada"))
		if p == nil {
			c.pass(no.wait)
			continue
		}
		granted++
		p.Release()
	}
	_, scripts := b.Traffic()
	t.Logf("%d of 10,000 in ten minutes with %d script calls", granted, scripts)
	if granted < 9_500 || granted > 10_000 {
		t.Errorf("granted %d of 10,000 in its window", granted)
	}
	if scripts*4 > uint64(granted) {
		t.Errorf("%d script calls at the limit", scripts)
	}
}

func TestDrawnFindsTheWorstWindow(t *testing.T) {
	d := &drawn{limit: per(10, 100*time.Millisecond), at: []int64{0, 50, 99, 100, 160}, cost: []int64{1, 2, 3, 4, 5}}
	if !sort.SliceIsSorted(d.at, func(i, j int) bool { return d.at[i] < d.at[j] }) || d.worst() != 12 {
		t.Errorf("worst %d", d.worst())
	}
}
