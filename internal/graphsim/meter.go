package graphsim

import "time"

// meter counts one account in a fixed window (as a counter that starts anew) and
// in a sliding one (a ring of slots, the oldest weighted by what is left of it) at
// once; the worse count is what is used. Times are simulated, since the start.
type meter struct {
	window time.Duration

	fixed      int64
	fixedIndex int64 // which fixed window fixed counts

	slots [ringSize]int64
	last  int64 // number of the newest slot
}

// slotCount is how finely a sliding window is counted. The ring has one place
// more: a window that ends inside the newest slot begins inside the oldest.
const (
	slotCount = 100
	ringSize  = slotCount + 1
)

func (m *meter) slot() time.Duration { return m.window / slotCount }

func (m *meter) advance(now time.Duration) {
	if index := int64(now / m.window); index != m.fixedIndex {
		m.fixed, m.fixedIndex = 0, index
	}
	newest := int64(now / m.slot())
	for n := max(m.last+1, newest-slotCount); n <= newest; n++ {
		m.slots[n%ringSize] = 0
	}
	m.last = max(m.last, newest)
}

func (m *meter) add(now time.Duration, n int64) {
	m.advance(now)
	m.fixed += n
	m.slots[m.last%ringSize] += n
}

func (m *meter) used(now time.Duration) int64 {
	m.advance(now)
	return max(m.fixed, m.sliding(now))
}

// sliding is the sum of the slots, the oldest only by the part of it that the
// window still covers.
func (m *meter) sliding(now time.Duration) int64 {
	var sum int64
	for _, n := range m.slots {
		sum += n
	}
	passed := float64(now%m.slot()) / float64(m.slot())
	oldest := m.slots[(m.last+1)%ringSize]
	return sum - int64(passed*float64(oldest))
}

// told is what the account tells of itself; wait is for how long it refuses.
func (m *meter) told(now time.Duration, most int64, wait time.Duration) told {
	t := told{used: m.used(now), left: max(0, most-m.fixed), reset: m.window - now%m.window}
	if wait > 0 {
		t.left, t.reset = 0, max(wait, t.reset)
	}
	return t
}

// wait returns how long it takes until no more than room is used, if nothing is
// added meanwhile.
func (m *meter) wait(now time.Duration, room int64) time.Duration {
	future := *m
	for n := m.last + 1; n <= m.last+ringSize; n++ {
		at := time.Duration(n) * m.slot()
		if future.used(at) <= max(0, room) {
			return at - now
		}
	}
	return m.window
}
