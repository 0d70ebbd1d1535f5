package throttle

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// The life of a permit (Limits.Outlook.PermitLife) and its parts.
func (b *Book) permitLife() time.Duration { return time.Duration(b.limits.Outlook.PermitLife) }

// renewEvery is when a permit is renewed: a call may fail and the next one is in time.
func (b *Book) renewEvery() time.Duration { return b.permitLife() / 3 }

// renewAgain is the pause after a renewal that failed.
func (b *Book) renewAgain() time.Duration { return b.permitLife() / 15 }

// usable is how long a permit may be used after Redis was asked for it. The rest of
// its life is for the holder to end the request, and for clocks that are not equal.
func (b *Book) usable() time.Duration { return b.permitLife() - b.permitLife()/10 }

// keep renews the permits that this process holds until the book is closed.
func (b *Book) keep() {
	timer := time.NewTimer(b.renewEvery())
	defer timer.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-timer.C:
		}
		pause := b.renewEvery()
		if err := b.renewAll(); err != nil {
			pause = b.renewAgain() // no one to tell: who loses a permit is told so
		}
		timer.Reset(pause)
	}
}

// renewAll renews all permits held here with one script call, if there are any.
func (b *Book) renewAll() error {
	ctx, cancel := context.WithTimeout(context.Background(), b.permitLife()/6)
	defer cancel()
	return b.renew(ctx, b.renewal())
}

// renewal is the document of renew.lua, with its keys and what it is about.
type renewal struct {
	Now  int64      `json:"now,omitempty"`
	TTL  int64      `json:"ttl"`
	Held [][]string `json:"held"` // IDs, by mailbox

	keys  []string
	slots []*slot
	sent  time.Time
}

// renewal lists the permits to renew, free ones too. One whose request should have
// ended is left to expire: somebody forgot it. One that is overdue is lost, even if
// Redis still has it: who was frozen must not go on in the middle of its last second.
func (b *Book) renewal() *renewal {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &renewal{Now: b.redisNow(), TTL: b.permitLife().Milliseconds(), keys: b.head(), sent: b.now()}
	for key, m := range b.mailboxes {
		ids := make([]string, 0, len(m.slots))
		for _, s := range slices.Clone(m.slots) {
			switch {
			case !r.sent.Before(s.until):
				m.part(s)
			case s.inUse && !r.sent.Before(s.ends):
			default:
				ids, r.slots = append(ids, s.id), append(r.slots, s)
			}
		}
		if len(ids) > 0 {
			r.Held, r.keys = append(r.Held, ids), append(r.keys, b.key(permitsKey(key)))
		}
	}
	return r
}

// renew runs renew.lua. What Redis no longer knows is lost. What was given back or
// lost here while the answer was on its way stays so.
func (b *Book) renew(ctx context.Context, r *renewal) error {
	if len(r.slots) == 0 {
		return nil
	}
	reply, err := b.run(ctx, renewScript, r.keys, r, 1)
	if err != nil {
		return err
	}
	gone := map[string]bool{}
	for _, id := range list(reply[0]) {
		gone[fmt.Sprint(id)] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range r.slots {
		switch {
		case !s.held():
		case gone[s.id]:
			b.mailbox(s.mailbox).part(s)
		default:
			s.until = r.sent.Add(b.usable())
		}
	}
	return nil
}

// ring is a slot's alarm: the slot is lost, or it has been renewed and the alarm is
// set again.
func (b *Book) ring(s *slot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !s.held() {
		return
	}
	if left := s.until.Sub(b.now()); left > 0 {
		s.alarm.Reset(left)
		return
	}
	b.mailbox(s.mailbox).part(s)
}

// lose ends what is held of permits; nobody will renew it. Called with mu held.
func (b *Book) lose() {
	for _, m := range b.mailboxes {
		for _, s := range slices.Clone(m.slots) {
			m.part(s)
		}
	}
}
