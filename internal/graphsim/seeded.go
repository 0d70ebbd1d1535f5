package graphsim

import (
	"math/bits"
	"strconv"
	"sync"
)

// seeded is what the seed says of a collection: count entries, each computed from its
// place when it is looked at. Only those that somebody named are kept, so that whoever
// holds or changes one has the same as everybody else:
//
//	computed (by peek, for the moment) --[keep]--> kept (for good, the only one)
//
// It is safe for concurrent use; what a kept entry says is guarded by the tenant's lock.
type seeded struct {
	count   int
	compute func(place int) *entry
	// keyOf is the key in index of an object ID; false for one that is not of this kind.
	keyOf func(id string) (uint64, bool)
	index placeIndex

	mu   sync.Mutex
	kept map[int]*entry // by place
}

// peek returns an entry to be read and forgotten.
func (s *seeded) peek(place int) *entry {
	s.mu.Lock()
	e := s.kept[place]
	s.mu.Unlock()
	if e == nil {
		e = s.at(place)
	}
	return e
}

// keep returns an entry to be changed or held.
func (s *seeded) keep(place int) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.kept[place]
	if e == nil {
		e = s.at(place)
		if s.kept == nil {
			s.kept = map[int]*entry{}
		}
		s.kept[place] = e
	}
	return e
}

// at computes an entry as the seed has it.
func (s *seeded) at(place int) *entry {
	e := s.compute(place)
	e.ordinal, e.state = uint64(place+1), Active
	return e
}

// find returns the place of an object ID.
func (s *seeded) find(id string) (place int, ok bool) {
	if s.count == 0 {
		return 0, false
	}
	key, ok := s.keyOf(id)
	if !ok {
		return 0, false
	}
	return s.index.find(key, func(place int) bool { return s.peek(place).id == id })
}

// placeIndex finds places by a key that follows from the seed: a hash table that holds
// six bytes for each place and computes the keys instead of holding them. It is made when
// it is first asked.
type placeIndex struct {
	count int
	key   func(place int) uint64 // evenly spread over all 64 bit, the high ones at least
	once  sync.Once
	slots []uint32 // place + 1; 0 is free
}

// find returns the place with a key that match accepts.
func (x *placeIndex) find(key uint64, match func(place int) bool) (place int, ok bool) {
	if x.count == 0 {
		return 0, false
	}
	x.once.Do(x.build)
	for at := x.slot(key); x.slots[at] != 0; at = (at + 1) % len(x.slots) {
		place = int(x.slots[at]) - 1
		if x.key(place) == key && match(place) {
			return place, true
		}
	}
	return 0, false
}

func (x *placeIndex) slot(key uint64) int {
	high, _ := bits.Mul64(key, uint64(len(x.slots)))
	return int(high)
}

func (x *placeIndex) build() {
	x.slots = make([]uint32, x.count+x.count/2+1) // always one free, so that a search ends
	for place := range x.count {
		at := x.slot(x.key(place))
		for x.slots[at] != 0 {
			at = (at + 1) % len(x.slots)
		}
		x.slots[at] = uint32(place + 1)
	}
}

// guidKey and textKey are the same number for a seed and for the GUID that guid makes
// from it: its first twelve digits.
func guidKey(seed uint64) uint64 { return mix(seed, 1) &^ 0xffff }

func textKey(id string) (key uint64, ok bool) {
	if len(id) != guidLength || id[8] != '-' {
		return 0, false
	}
	key, err := strconv.ParseUint(id[:8]+id[9:13], 16, 64)
	return key << 16, err == nil
}

const guidLength = 36
