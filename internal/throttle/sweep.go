package throttle

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// sweepEvery is how often idle blocks and permits go back, and how old a
	// process's knowledge of cooldowns can be while it holds blocks.
	sweepEvery = time.Second
	// lookEvery is how often it is looked for idle blocks of accounts that are scarce.
	lookEvery = sweepEvery / 5
	// permitIdle is how long a free permit waits for the next request on its mailbox.
	permitIdle = 2 * time.Second
	// forgetAfter is when a purse or mailbox that nobody uses is forgotten.
	forgetAfter = 10 * time.Second
	// settleBatch bounds the keys of one script call.
	settleBatch = 500
)

// settlement is the document of settle.lua, with its keys.
type settlement struct {
	Now  int64      `json:"now,omitempty"`
	Seen int64      `json:"seen"`
	Cool []chill    `json:"cool"`
	Give []gift     `json:"give"`
	Drop [][]string `json:"drop"`
	Slow []slowing  `json:"slow"`
	// Paces bounds the list of slowed accounts.
	Paces int `json:"paces"`

	giveKeys, dropKeys, slowKeys, coolKeys []string
}

// chill is a cooldown. That of a mailbox names the wider scope that cools if enough
// mailboxes do within a time.
type chill struct {
	Scope     string `json:"scope"`
	MS        int64  `json:"ms"`
	Wider     string `json:"wider,omitempty"`
	Mailboxes int    `json:"mailboxes,omitempty"`
	Within    int64  `json:"within,omitempty"`
	Longest   int64  `json:"longest,omitempty"`
}

func (b *Book) chill(scope string, left time.Duration) (c chill, key string) {
	c = chill{Scope: scope, MS: max(1, left.Milliseconds())}
	kind, rest, _ := strings.Cut(scope, "/")
	tenant, _, _ := strings.Cut(rest, "/")
	if kind == "mailbox" {
		p := b.limits.Pace
		c.Wider, c.Mailboxes = tenantScope(tenantry.TenantID(tenant), tenantry.Outlook), p.Mailboxes
		c.Within, c.Longest = time.Duration(p.Within).Milliseconds(), time.Duration(p.Longest).Milliseconds()
	}
	return c, b.key("throttled/" + tenant)
}

type gift struct {
	Slot   int64   `json:"slot"`
	Amount int64   `json:"amount"`
	Ring   bool    `json:"ring"`
	Cap    float64 `json:"cap"`
}

func newSettlement() *settlement {
	// Not nil: the scripts expect lists.
	return &settlement{Cool: []chill{}, Give: []gift{}, Drop: [][]string{}, Slow: []slowing{}, Paces: mirrorPaces}
}

func (l *settlement) size() int { return len(l.Cool) + len(l.Give) + len(l.Drop) + len(l.Slow) }

func (l *settlement) empty() bool { return l.size() == 0 }

func (l *settlement) full() bool { return l.size() >= settleBatch }

// start starts the sweeper and the keeper once. Called with mu held.
func (b *Book) start() {
	if b.running || b.closed {
		return
	}
	b.running = true
	b.done.Go(b.keep)
	b.done.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-b.stop:
				return
			case <-tick.C:
				if n%int(sweepEvery/lookEvery) == 0 {
					b.sweep(whatIsIdle)
				} else {
					b.sweep(whatIsScarce)
				}
			}
		}
	})
}

// sweep gives back what is idle, sends cooldowns that could not be sent, and asks for
// new ones if this process could otherwise miss them.
func (b *Book) sweep(r reach) {
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	b.mu.Lock()
	now := b.now()
	l := b.collectCooldowns(now)
	holds := b.collect(l, r, now)
	curious := holds && now.Sub(b.asked) >= sweepEvery
	b.mu.Unlock()
	if !l.empty() || curious {
		// What cannot be given back counts as spent; who needs Redis will be told.
		_ = b.settle(ctx, l)
	}
}

// collectCooldowns takes the cooldowns and slowings that the fleet has not heard of.
// Called with mu held.
func (b *Book) collectCooldowns(now time.Time) *settlement {
	l := newSettlement()
	for scope, c := range b.cooling {
		switch {
		case !now.Before(c.until):
			c.unsent = false
			if now.Sub(c.until) > strikesKept {
				delete(b.cooling, scope)
			}
		case c.unsent && !l.full():
			c.unsent = false
			chill, key := b.chill(scope, c.until.Sub(now))
			l.Cool, l.coolKeys = append(l.Cool, chill), append(l.coolKeys, key)
		}
	}
	for key, s := range b.slowed {
		if l.full() {
			break
		}
		l.Slow, l.slowKeys = append(l.Slow, s), append(l.slowKeys, b.key(accountKey(key)))
		delete(b.slowed, key)
	}
	return l
}

// reach is how much collect takes.
type reach int

const (
	whatIsScarce reach = iota // idle blocks that others wait for
	whatIsIdle                // all idle blocks and permits
	whatIsFree                // all blocks, and permits that are not in use
)

// collect takes blocks and permits out of purses and mailboxes, forgets those nobody uses,
// and reports whether anything is still held. Called with mu held.
func (b *Book) collect(l *settlement, r reach, now time.Time) (holds bool) {
	since := now.Add(-permitIdle)
	if r == whatIsFree {
		since = now
	}
	for key, p := range b.purses {
		p.expire(now)
		idle := now.Sub(p.used) >= p.idle() && (p.scarce || r == whatIsIdle)
		if (idle || r == whatIsFree) && !l.full() {
			for _, k := range p.blocks {
				p.spare(k)
				l.Give = append(l.Give, gift{k.slot, k.left, p.ring, p.cap})
				l.giveKeys = append(l.giveKeys, b.key(accountKey(key)))
			}
			p.blocks = nil
		}
		if len(p.blocks) > 0 {
			holds = true
		} else if now.Sub(p.used) > forgetAfter && now.After(p.refused.until) {
			delete(b.purses, key)
		}
	}
	for key, m := range b.mailboxes {
		if l.full() {
			break
		}
		if r == whatIsScarce {
			holds = holds || m.busy()
			continue
		}
		if ids := m.retire(since); len(ids) > 0 {
			l.Drop = append(l.Drop, ids)
			l.dropKeys = append(l.dropKeys, b.key(permitsKey(key)))
		}
		if len(m.slots)+len(m.drop) == 0 {
			delete(b.mailboxes, key)
		}
		holds = holds || m.busy()
	}
	return holds
}

// settle runs settle.lua. If it fails, cooldowns and slowings are kept for the next time.
func (b *Book) settle(ctx context.Context, l *settlement) error {
	b.mu.Lock()
	l.Now, l.Seen = b.redisNow(), b.seen
	b.mu.Unlock()
	keys := slices.Concat(b.head(), l.giveKeys, l.dropKeys, l.slowKeys, l.coolKeys, []string{b.key("paces")})
	sent := b.now()
	reply, err := b.run(ctx, settleScript, keys, l, 2)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		for _, c := range l.Cool {
			if known := b.cooling[c.Scope]; known != nil {
				known.unsent = true
			}
		}
		for _, s := range l.Slow {
			if _, later := b.slowed[s.key]; !later {
				b.slowed[s.key] = s
			}
		}
		return err
	}
	b.hear(reply[0], reply[1], sent)
	return nil
}

// Close gives back what this process holds and ends its goroutines. The contexts of
// permits that are still out end, and Redis forgets them after their life. Shared if Redis does not answer: what is held then
// counts as spent. Acquire fails afterwards.
func (b *Book) Close(ctx context.Context) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	close(b.stop)
	b.mu.Unlock()
	b.done.Wait()
	b.mu.Lock()
	b.lose()
	b.mu.Unlock()
	for {
		b.mu.Lock()
		now := b.now()
		l := b.collectCooldowns(now)
		b.collect(l, whatIsFree, now)
		b.mu.Unlock()
		if l.empty() {
			return nil
		}
		if err := b.settle(ctx, l); err != nil {
			return err
		}
	}
}
