package throttle

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Permit lets one request go. The zero value is valid and belongs to no book: Done
// returns what the headers ask for, Release does nothing.
type Permit struct {
	book     *Book
	call     Call
	scopes   []string
	deadline time.Time
	slot     *slot
	release  sync.Once
}

// permit is called with Book.mu held.
func (b *Book) permit(d draft, s *slot) *Permit {
	p := &Permit{book: b, call: d.call, scopes: d.scopes, slot: s}
	if s != nil {
		p.deadline = s.ends
	}
	return p
}

// Deadline returns when the request, its body included, must have ended: the mailbox's
// concurrency permit is not renewed beyond. Zero if there is no such bound.
func (p *Permit) Deadline() time.Time { return p.deadline }

// Context returns a context that ends when the request must stop at once, its body
// included: the mailbox's concurrency permit could not be renewed and is about to be
// somebody else's, or the book was closed. It may also end after Release. Without a
// concurrency permit it never ends.
func (p *Permit) Context() context.Context {
	if p.slot == nil {
		return context.Background()
	}
	return p.slot.ctx
}

// Done tells what came back (status 0: no answer): 429 and 503 set cooldowns with
// scope for the whole fleet, headers teach. It returns how long this very call should
// wait before it is tried again (0 unless throttled).
//
// The wait is the longest of Retry-After, RateLimit-Reset and an exponential backoff,
// plus jitter: a Retry-After of 1 on every Outlook 429 has been seen, so the header is
// a lower bound. An Outlook throttle closes the mailbox, one of SharePoint or Teams
// that service of the tenant, one of identity what x-ms-throttle-scope names.
func (p *Permit) Done(status int, h http.Header) time.Duration {
	if p.book == nil {
		if isThrottle(status, tenantry.SharePoint, signals{}) {
			return readSignals(h, time.Now()).wait()
		}
		return 0
	}
	s := readSignals(h, time.Now())
	scope, wait := verdict(p.call, status, s)
	switch {
	case scope == "":
		if status >= 200 && status < 400 {
			p.book.forgive(p.scopes)
			p.book.steer(p.call, s)
		}
		return 0
	case isThrottle(status, p.call.Service, s):
		p.book.observer.Throttled(p.call.Service, status)
		wait, first := p.book.strike(scope, wait, rand.Float64())
		if first {
			p.book.fall(p.call)
		}
		p.book.publish()
		return wait
	}
	p.book.pause(scope, wait)
	return 0
}

// Release gives back the concurrency permit. Only the first call counts.
func (p *Permit) Release() {
	if p.slot == nil {
		return
	}
	p.release.Do(func() {
		p.book.mu.Lock()
		defer p.book.mu.Unlock()
		p.book.mailbox(p.slot.mailbox).give(p.slot, p.book.now())
	})
}

// pause closes a scope because a good answer said that the limit is reached.
func (b *Book) pause(scope string, wait time.Duration) {
	b.mu.Lock()
	c, until := b.cool(scope, time.Time{}), b.now().Add(min(wait, longestCooldown))
	fresh := until.After(c.until)
	if fresh {
		c.until, c.unsent = until, true
	}
	b.mu.Unlock()
	if fresh {
		b.publish()
	}
}
