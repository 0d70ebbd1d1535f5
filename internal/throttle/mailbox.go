package throttle

import "time"

const (
	// permitHold is by how much a permit outlives the longest request: for so long
	// it can be used again without asking Redis.
	permitHold = 30 * time.Second
	// permitMargin is by how much a permit's local end comes before Redis's.
	permitMargin = time.Second
	// permitPoll is how often a call that waits for a permit looks again.
	permitPoll = 100 * time.Millisecond
	// parkForPermit is how long a task parks that found no permit.
	parkForPermit = 10 * time.Second
)

// mailbox is what this process holds of one mailbox's permits. Guarded by Book.mu.
type mailbox struct {
	free  []*slot
	inUse int
	drop  []string // to be given up with the next question
}

// slot is one concurrency permit.
type slot struct {
	id      string
	until   time.Time
	freed   time.Time
	reserve bool // beyond what calls without Reserve may use
}

func (b *Book) mailbox(key string) *mailbox {
	m := b.mailboxes[key]
	if m == nil {
		m = &mailbox{}
		b.mailboxes[key] = m
	}
	return m
}

// idle takes a free slot that lasts until a time; nil if there is none.
func (m *mailbox) idle(reserve bool, lasts time.Time) *slot {
	for i := len(m.free) - 1; i >= 0; i-- {
		s := m.free[i]
		if s.until.Before(lasts) {
			m.drop = append(m.drop, s.id)
			m.free = append(m.free[:i], m.free[i+1:]...)
			continue
		}
		if s.reserve && !reserve {
			continue
		}
		m.free = append(m.free[:i], m.free[i+1:]...)
		m.inUse++
		return s
	}
	return nil
}

// give takes a slot back into the free ones.
func (m *mailbox) give(s *slot, now time.Time) {
	m.inUse--
	s.freed = now
	m.free = append(m.free, s)
}

// retire collects the slots that were free since a time.
func (m *mailbox) retire(since time.Time) []string {
	ids := m.drop
	m.drop = nil
	keep := m.free[:0]
	for _, s := range m.free {
		if s.freed.After(since) {
			keep = append(keep, s)
		} else {
			ids = append(ids, s.id)
		}
	}
	m.free = keep
	return ids
}
