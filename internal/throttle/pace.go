package throttle

import (
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// brakeEvery is how often one process passes on what headers say about one account.
	brakeEvery = time.Second
	// oneThrottle is within which time what several processes report is one throttle.
	oneThrottle = time.Second
	// warning is where x-ms-throttle-limit-percentage begins to be sent; at 1 throttling
	// starts. Half speed is our answer to the second.
	warning = 0.8
)

// slowing is how an account's pace changes: the part of settle.lua's document.
type slowing struct {
	Fall   float64 `json:"fall,omitempty"`   // what is left of its share, once per Hold
	AtMost float64 `json:"atmost,omitempty"` // the largest share that the limit proved to be
	Brake  float64 `json:"brake,omitempty"`  // share until Hold is over
	Hold   int64   `json:"hold"`             // ms
	Least  float64 `json:"least"`
	Grow   float64 `json:"grow"`
	TTL    int64   `json:"ttl"`

	key string
}

// paced is the account whose rate decides whether a call is throttled: that of the
// service in the tenant, or of the mailbox. Rings have no rate.
func (l Limits) paced(c Call, s Size) (account, bool) {
	name := ""
	switch c.Service {
	case tenantry.Identity:
		if name = identityUnits; c.Write {
			name = identityWrites
		}
	case tenantry.SharePoint:
		name = sharePointMinute
	case tenantry.Outlook:
		name = outlookRequests
	case tenantry.Teams:
		kind, _ := l.Teams.of(c.Kind)
		name = teamsTenant + kind
	}
	c.Units = 1 // one that is covered tells as much
	for _, a := range l.accounts(c, s) {
		if a.Name == name {
			return a, true
		}
	}
	return account{}, false
}

func (b *Book) slowing(a account, hold time.Duration) slowing {
	return slowing{
		Hold: max(1, hold.Milliseconds()), Least: b.limits.Pace.Least, Grow: a.Grow, TTL: a.TTL, key: a.key,
	}
}

// fall slows the account of a call that was throttled although the book had let it go:
// its limit is lower than documented, or others draw on it too.
func (b *Book) fall(c Call) {
	if a, ok := b.limits.paced(c, b.size(c.Tenant)); ok {
		s := b.slowing(a, oneThrottle)
		s.Fall = b.limits.Pace.Fall
		b.slow(s)
	}
}

// steer slows an account before it is throttled, as the headers of a good answer ask,
// and tells the fleet at most once a second.
func (b *Book) steer(c Call, s signals) {
	hurried := c.Service == tenantry.SharePoint && s.remaining > 0 && s.reset > 0
	warned := c.Service == tenantry.Identity && s.percentage >= warning
	if !hurried && !warned {
		return // as almost every answer: it is not worth working out the accounts
	}
	a, ok := b.limits.paced(c, b.size(c.Tenant))
	if !ok {
		return
	}
	var w slowing
	if hurried {
		w = b.slowing(a, s.reset)
		documented := float64(a.Limit) / float64(a.Window)
		w.Brake = float64(s.remaining) / float64(s.reset.Milliseconds()) / documented
		if s.limit > 0 && s.limit < a.Limit {
			w.AtMost = float64(s.limit) / float64(a.Limit)
		}
	} else {
		w = b.slowing(a, time.Duration(a.Window)*time.Millisecond)
		w.Brake = 1 - (s.percentage-warning)/(1-warning)/2
	}
	if w.AtMost == 0 && (w.Brake == 0 || w.Brake >= 1) {
		return
	}
	b.mu.Lock()
	p, now := b.purse(a), b.now()
	heard := now.Sub(p.braked) < brakeEvery
	if !heard {
		p.braked = now
	}
	b.mu.Unlock()
	if !heard {
		b.slow(w)
		b.publish()
	}
}

// slow keeps a slowing for the next settlement; the latest of an account stands.
func (b *Book) slow(s slowing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slowed[s.key] = s
}
