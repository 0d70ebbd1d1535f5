package throttle

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Book is one process's view of the shared account book. Safe for concurrent use.
// It starts two goroutines at first use, the sweeper and the keeper of permits, which
// Close ends.
type Book struct {
	rdb    redis.UniversalClient
	prefix string // of every key: "tenantry:{app}:"
	limits Limits
	size   func(tenantry.TenantID) Size

	// now is the process's clock, for its monotonic part. redisNow overrides Redis's
	// clock by Unix milliseconds; 0, as always outside tests, means Redis's own.
	now      func() time.Time
	redisNow func() int64
	observer Observer

	mu        sync.Mutex
	purses    map[string]*purse    // by account key
	mailboxes map[string]*mailbox  // by mailbox key
	cooling   map[string]*cooldown // by scope
	gates     map[string]*gate     // by what its callers share
	slowed    map[string]slowing   // by account key: what the fleet has not heard of
	seen      int64                // number of the last cooldown heard of
	asked     time.Time            // when Redis last answered
	closed    bool
	running   bool
	acquired  uint64
	scripts   uint64

	stop chan struct{}
	done sync.WaitGroup
}

// New opens the book of one application (Entra app ID) on Redis. limits: Documented()
// or an override that passes Validate. size is asked on every call, from the caller's
// goroutine; a tenant of unknown size is a small one.
func New(rdb redis.UniversalClient, app string, limits Limits, size func(tenantry.TenantID) Size) *Book {
	return &Book{
		rdb: rdb, prefix: bookPrefix(app), limits: limits, size: size,
		now: time.Now, redisNow: func() int64 { return 0 }, observer: silent{},
		purses: map[string]*purse{}, mailboxes: map[string]*mailbox{},
		cooling: map[string]*cooldown{}, gates: map[string]*gate{},
		slowed: map[string]slowing{},
		stop:   make(chan struct{}),
	}
}

// bookPrefix begins every key of an application's book.
func bookPrefix(app string) string { return "tenantry:{" + app + "}:" }

// gate lets one caller at a time ask Redis for what several wait for: the others
// find the rest of the block that the first one brings.
type gate struct {
	turn  chan struct{}
	users int
}

// draft is a call with everything that is derived from it.
type draft struct {
	call     Call
	accounts []account
	scopes   []string
	mailbox  string // key of its permits; "" if it needs none
	gate     string
}

func (b *Book) draft(c Call) draft {
	d := draft{call: c, accounts: b.limits.accounts(c, b.size(c.Tenant)), scopes: c.scopes()}
	d.gate = d.scopes[1] // the tenant's
	if c.Service == tenantry.Outlook && c.Mailbox != "" {
		d.mailbox = mailboxKey(c)
		d.gate = mailboxScope(c.Tenant, c.Mailbox)
	}
	return d
}

// refusal is why a call cannot go now: how long until it may, and whose fault it is.
type refusal struct {
	wait time.Duration
	code string
}

// longestJitter bounds how much longer than it was told a call waits: what comes into a
// full bucket meanwhile is lost.
const longestJitter = 20 * time.Millisecond

// Acquire takes from all accounts of the call or from none. It waits in place up to
// 5 s (Limits.Patience); a longer wait is an error of kind Throttled with Until and a
// Code naming the account or "cooldown/<scope>", and nothing is taken. Redis down:
// Shared; ctx ended: its kind. The permit must be released exactly once, when the
// response's body is done, and its Context ends when it must no longer be used. Waits and
// cost are told to the meter of ctx (tenantry.MeterOf).
func (b *Book) Acquire(ctx context.Context, c Call) (*Permit, error) {
	d := b.draft(c)
	patience := time.Duration(b.limits.Patience)
	meter, start, waits := tenantry.MeterOf(ctx), b.now(), ""
	for {
		p, no, err := b.try(ctx, d)
		if p != nil {
			meter.Spend(c.Service, c.spent())
			if waits != "" {
				b.observer.Waited(AccountOf(waits), b.now().Sub(start))
			}
			return p, nil
		}
		if err != nil {
			return nil, err
		}
		waits = no.code
		if b.now().Sub(start)+no.wait > patience {
			return nil, throttled(no)
		}
		// A little more, so that those who wait for the same do not come at once.
		end := meter.Graph(AccountOf(no.code))
		err = sleep(ctx, no.wait+rand.N(min(no.wait/8, longestJitter)+2*time.Millisecond))
		end()
		if err != nil {
			return nil, tenantry.E(tenantry.KindOf(err), "wait for "+no.code, err)
		}
	}
}

func throttled(no refusal) error {
	wait := no.wait
	if no.code == outlookPermits {
		wait = parkForPermit // nobody knows when the others will be done
	}
	return &tenantry.Error{
		Kind: tenantry.Throttled, Op: "wait for " + no.code + " of Microsoft Graph",
		Code: no.code, Until: time.Now().Add(wait),
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// try serves a call from what this process holds, or else asks Redis. Exactly one of
// permit, refusal (code not empty) and error is given.
func (b *Book) try(ctx context.Context, d draft) (*Permit, refusal, error) {
	if p, no, done := b.local(d); done {
		return p, no, nil
	}
	leave, err := b.enter(ctx, d.gate)
	if err != nil {
		return nil, refusal{}, err
	}
	defer leave()
	if p, no, done := b.local(d); done { // what the one before brought
		return p, no, nil
	}
	return b.ask(ctx, d)
}

// enter waits for the gate's turn.
func (b *Book) enter(ctx context.Context, key string) (leave func(), err error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil, tenantry.Errorf(tenantry.Canceled, "the account book is closed")
	}
	g := b.gates[key]
	if g == nil {
		g = &gate{turn: make(chan struct{}, 1)}
		b.gates[key] = g
	}
	g.users++
	b.start()
	b.mu.Unlock()

	done := func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if g.users--; g.users == 0 {
			delete(b.gates, key)
		}
	}
	select {
	case g.turn <- struct{}{}:
		return func() { <-g.turn; done() }, nil
	case <-ctx.Done():
		done()
		return nil, tenantry.E(tenantry.KindOf(ctx.Err()), "wait for the account book", ctx.Err())
	}
}

// local serves a call from blocks and free permits, or refuses it for a reason known
// here. done is false if Redis has to be asked.
func (b *Book) local(d draft) (p *Permit, no refusal, done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if no := b.closedFor(d, now); no.wait > 0 {
		return nil, no, true
	}
	for _, a := range d.accounts {
		if !b.purse(a).has(a.Need, now) {
			return nil, refusal{}, false
		}
	}
	var slot *slot
	if d.mailbox != "" {
		if slot = b.mailbox(d.mailbox).idle(d.call.Reserve, now.Add(b.renewEvery())); slot == nil {
			return nil, refusal{}, false
		}
		slot.use(now.Add(b.longest()))
	}
	for _, a := range d.accounts {
		p := b.purse(a)
		p.spend(p.take(a.Need, now))
	}
	b.acquired++
	return b.permit(d, slot), refusal{}, true
}

// closedFor tells what is known here to refuse the call: a cooldown, or an account
// that refused the same lately.
func (b *Book) closedFor(d draft, now time.Time) refusal {
	var worst refusal
	for _, scope := range d.scopes {
		if c := b.cooling[scope]; c != nil && c.until.Sub(now) > worst.wait {
			worst = refusal{c.until.Sub(now), "cooldown/" + scope}
		}
	}
	for _, a := range d.accounts {
		if r := b.purse(a).refused; r.covers(a.Need, d.call.Reserve, now) && r.until.Sub(now) > worst.wait {
			worst = refusal{r.until.Sub(now), r.code}
		}
	}
	return worst
}

func (b *Book) longest() time.Duration { return time.Duration(b.limits.Outlook.LongestRequest) }

// Traffic returns how many calls were granted and how many times Redis was asked.
func (b *Book) Traffic() (acquired, scripts uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.acquired, b.scripts
}
