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
	l.SharePoint.Tiers = []SharePointTier{{Minute: per(500, 20*time.Second), Day: per(700, 60*time.Second)}}
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
	b.sweeping = true // only when the test says so
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
	switch rapid.IntRange(0, 3).Draw(t, "service") {
	case 0:
		c.Service, c.Units = Identity, rapid.IntRange(1, 5).Draw(t, "units")
	case 1:
		c.Service, c.Units = SharePoint, rapid.IntRange(1, 5).Draw(t, "units")
	case 2:
		c.Service, c.Mailbox = Outlook, "ada"
	case 3:
		c.Service, c.Mailbox, c.UploadBytes = Outlook, "ada", rapid.Int64Range(1, 200).Draw(t, "bytes")
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
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
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
	case 6, 7:
		f.clock.pass(time.Duration(rapid.IntRange(1, 20_000).Draw(t, "pause")) * time.Millisecond)
	case 8:
		f.books[i].sweep()
	case 9: // killed: nothing is given back
		f.books[i] = f.open()
	case 10:
		if err := f.books[i].Close(ctx); err != nil {
			t.Fatal(err)
		}
		f.books[i] = f.open()
	case 11:
		f.lose(t)
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

// What a bucket holds and what it has lent never exceed 4 % of its limit.
func TestOvercommitIsBounded(t *testing.T) {
	rdb := connect(t, servertest.Redis(t))
	c, l := newClock(), Documented()
	first := resumed(t, rdb, c, l)
	books := []*Book{first}
	for range 9 {
		books = append(books, open(t, rdb, c, l))
	}
	key := "tenantry:{app}:a/mailbox/t1/ada"
	for i := range 2_000 {
		call := outlook("ada")
		call.Reserve = true
		if p, _ := take(t, books[i%len(books)], call); p != nil {
			p.Release()
		}
		c.pass(3 * time.Millisecond)
		h, err := rdb.HGetAll(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if held := overcommit(h, c.now()); held > 0.04*10_000 {
			t.Fatalf("step %d: %.1f held and lent: %v", i, held, h)
		}
	}
	for _, b := range books { // what is in the processes is what Redis has lent, or less
		b.sweep()
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
}

func TestDrawnFindsTheWorstWindow(t *testing.T) {
	d := &drawn{limit: per(10, 100*time.Millisecond), at: []int64{0, 50, 99, 100, 160}, cost: []int64{1, 2, 3, 4, 5}}
	if !sort.SliceIsSorted(d.at, func(i, j int) bool { return d.at[i] < d.at[j] }) || d.worst() != 12 {
		t.Errorf("worst %d", d.worst())
	}
}
