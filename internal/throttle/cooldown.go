package throttle

import (
	"context"
	"time"
)

const (
	// strikesKept is how long after a cooldown the next one counts as a repetition.
	strikesKept = 5 * time.Minute
	// longestBackoff bounds our own exponential backoff.
	longestBackoff = 5 * time.Minute
	// longestCooldown bounds what a header can ask for.
	longestCooldown = 24 * time.Hour
	// publishTimeout bounds how long Done waits for Redis.
	publishTimeout = 2 * time.Second
)

// cooldown is a scope that is closed, or was lately. Guarded by Book.mu.
type cooldown struct {
	until   time.Time
	strikes int  // times in a row, as seen here
	unsent  bool // the fleet has not heard of it yet
}

// cool closes a scope here until a time; the latest wins.
func (b *Book) cool(scope string, until time.Time) *cooldown {
	c := b.cooling[scope]
	if c == nil {
		c = &cooldown{}
		b.cooling[scope] = c
	}
	if until.After(c.until) {
		c.until = until
	}
	return c
}

// strike closes a scope here for at least a time, longer with each repetition, and
// returns for how long, and whether the scope was open. Several answers to one throttle
// count once.
func (b *Book) strike(scope string, asked time.Duration, jitter float64) (wait time.Duration, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	c := b.cool(scope, time.Time{})
	if first = !now.Before(c.until); first {
		c.strikes++
	}
	backoff := min(longestBackoff, time.Second<<min(max(c.strikes-1, 0), 16))
	wait = min(max(asked, backoff), longestCooldown)
	wait += time.Duration(jitter * float64(min(wait/10, 10*time.Second)))
	if now.Add(wait).After(c.until) {
		c.until, c.unsent = now.Add(wait), true
	}
	return c.until.Sub(now), first
}

// forgive ends the count of repetitions of scopes that answer well again.
func (b *Book) forgive(scopes []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, scope := range scopes {
		if c := b.cooling[scope]; c != nil && !b.now().Before(c.until) {
			c.strikes = 0
		}
	}
}

// publish tells the fleet about a cooldown now. If Redis is out of reach, the
// sweeper tries again each second.
func (b *Book) publish() {
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	b.mu.Lock()
	b.start()
	l := b.collectCooldowns(b.now())
	b.mu.Unlock()
	_ = b.settle(ctx, l) // kept for the sweeper
}
