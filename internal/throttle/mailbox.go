package throttle

import (
	"context"
	"slices"
	"time"
)

const (
	// permitPoll is how often a call that waits for a permit looks again.
	permitPoll = 100 * time.Millisecond
	// parkForPermit is how long a task parks that found no permit.
	parkForPermit = 10 * time.Second
)

// mailbox is what this process holds of one mailbox's permits. Guarded by Book.mu.
type mailbox struct {
	slots []*slot  // held: in use, or free for the next request
	drop  []string // to be given up with the next question
}

// slot is one concurrency permit, held from when Redis granted it until it is given
// back or lost. Guarded by Book.mu, but for ctx.
type slot struct {
	id      string
	mailbox string // its key
	reserve bool   // beyond what calls without Reserve may use

	until time.Time // by the process's clock: Redis counts it for longer than this
	inUse bool
	ends  time.Time // in use: when the request must have ended
	freed time.Time // free: since when

	// ctx ends when the slot is no longer held, by end: whoever still uses it stops.
	ctx   context.Context
	end   context.CancelFunc
	alarm *time.Timer // goes off at until
}

func (b *Book) mailbox(key string) *mailbox {
	m := b.mailboxes[key]
	if m == nil {
		m = &mailbox{}
		b.mailboxes[key] = m
	}
	return m
}

// hold begins to hold a slot that Redis granted. Called with mu held.
func (b *Book) hold(s *slot, until, now time.Time) {
	s.until = until
	s.ctx, s.end = context.WithCancel(context.Background())
	s.alarm = time.AfterFunc(until.Sub(now), func() { b.ring(s) })
	m := b.mailbox(s.mailbox)
	m.slots = append(m.slots, s)
}

// held reports whether a slot has been neither given back nor lost.
func (s *slot) held() bool { return s.ctx.Err() == nil }

// use begins a request.
func (s *slot) use(ends time.Time) { s.inUse, s.ends = true, ends }

// part ends the holding of a slot. What is no longer in use is also given up in Redis.
func (m *mailbox) part(s *slot) {
	m.slots = slices.DeleteFunc(m.slots, func(x *slot) bool { return x == s })
	s.alarm.Stop()
	s.end()
	if !s.inUse {
		m.drop = append(m.drop, s.id)
	}
}

// idle returns the free slot that was used last, among those that last until a time;
// nil if there is none.
func (m *mailbox) idle(reserve bool, lasts time.Time) *slot {
	var best *slot
	for _, s := range slices.Clone(m.slots) {
		switch {
		case s.inUse:
		case s.until.Before(lasts):
			m.part(s)
		case s.reserve && !reserve:
		case best == nil || s.freed.After(best.freed):
			best = s
		}
	}
	return best
}

// give ends a request. A slot that was lost meanwhile is not free, but given up.
func (m *mailbox) give(s *slot, now time.Time) {
	s.inUse, s.freed = false, now
	if !s.held() {
		m.drop = append(m.drop, s.id)
	}
}

// retire collects what is to be given up: slots that were free since a time.
func (m *mailbox) retire(since time.Time) []string {
	for _, s := range slices.Clone(m.slots) {
		if !s.inUse && !s.freed.After(since) {
			m.part(s)
		}
	}
	ids := m.drop
	m.drop = nil
	return ids
}

// busy reports whether requests of this process are under way.
func (m *mailbox) busy() bool {
	return slices.ContainsFunc(m.slots, func(s *slot) bool { return s.inUse })
}
