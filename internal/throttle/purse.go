package throttle

import (
	"slices"
	"time"
)

// purse is what this process holds of one account. Guarded by Book.mu.
type purse struct {
	ring    bool
	alone   bool // this process draws on it alone, as a rule
	cap     float64
	life    time.Duration // of its blocks
	max     int64
	want    int64 // size of the next block
	blocks  []*block
	spent   map[int64]int64 // by slot: used of blocks since Redis was told; not of rings
	wasted  bool            // a block was too large since then
	scarce  bool            // the account gave less than was asked for, or not at once
	used    time.Time       // last taken from
	refused refused
	braked  time.Time // when headers last slowed the account
}

// block is an amount drawn ahead.
type block struct {
	left, size int64
	until      time.Time
	slot       int64 // where the account counts it
}

// refused remembers what an account could not give, so that all who wait for it do
// not ask Redis again before it can.
type refused struct {
	until   time.Time
	believe time.Time // limits change: a long refusal is asked for again
	need    int64
	reserve bool
	code    string
}

// covers reports whether the refusal stands for another call too: one that needs no
// less and may not draw deeper.
func (r refused) covers(need int64, reserve bool, now time.Time) bool {
	return now.Before(r.believe) && need >= r.need && (r.reserve || !reserve)
}

// purse returns the purse of an account, as its present limits size it.
func (b *Book) purse(a account) *purse {
	p := b.purses[a.key]
	if p == nil {
		p = &purse{want: (a.max + 1) / 2, used: b.now(), spent: map[int64]int64{}}
		if a.alone {
			p.want = a.max
		}
		b.purses[a.key] = p
	}
	p.ring, p.alone, p.cap, p.max, p.life = a.ring, a.alone, a.Cap, a.max, a.life
	p.want = min(p.want, p.max)
	return p
}

// expire forgets blocks whose time is over: what is left of them counts as spent.
func (p *purse) expire(now time.Time) {
	p.blocks = slices.DeleteFunc(p.blocks, func(k *block) bool {
		if now.Before(k.until) {
			return k.left == 0
		}
		p.spare(k)
		return true
	})
}

// spare learns from a block that is over: one that was used to less than a half was too large.
func (p *purse) spare(k *block) {
	if k.left*2 > k.size {
		p.want, p.wasted = max(1, p.want/2), true
	}
}

// has reports whether the blocks hold an amount.
func (p *purse) has(amount int64, now time.Time) bool {
	p.expire(now)
	for _, k := range p.blocks {
		amount -= k.left
	}
	return amount <= 0
}

// take takes an amount that the blocks hold, the oldest first, and returns the pieces,
// which are to be spent or put back.
func (p *purse) take(amount int64, now time.Time) (pieces []block) {
	p.used = now
	for _, k := range p.blocks {
		n := min(k.left, amount)
		if n == 0 {
			continue
		}
		k.left -= n
		amount -= n
		pieces = append(pieces, block{left: n, size: k.size, until: k.until, slot: k.slot})
		if k.left == 0 {
			p.want = min(p.max, p.want*2)
		}
	}
	return pieces
}

// putBack undoes take.
func (p *purse) putBack(pieces []block) {
	for _, k := range pieces {
		p.blocks = append(p.blocks, &k)
	}
}

// spend records that what was taken is used.
func (p *purse) spend(pieces []block) {
	if p.ring {
		return
	}
	for _, k := range pieces {
		p.spent[k.slot] += k.left
	}
}

// report hands over what was used since the last report, once: if it is lost on the
// way, Redis believes it lent out until its time is over. eager: no block was too large.
func (p *purse) report() (spent [][2]int64, eager bool) {
	for slot, n := range p.spent {
		spent = append(spent, [2]int64{slot, n})
	}
	clear(p.spent)
	eager = len(spent) > 0 && !p.wasted
	p.wasted = false
	return spent, eager
}

// idle is how long a block is kept that is not used: others wait for what is scarce, and
// nobody for what one process draws on alone.
func (p *purse) idle() time.Duration {
	switch {
	case p.alone:
		return p.life
	case p.scarce:
		return min(sweepEvery, p.life/3)
	}
	return sweepEvery
}

// put adds a block; asked for was want.
func (p *purse) put(amount, want, slot int64, until, now time.Time) {
	p.scarce = amount < want || p.refused.code != ""
	p.used, p.refused = now, refused{}
	if amount > 0 {
		p.blocks = append(p.blocks, &block{left: amount, size: amount, until: until, slot: slot})
	}
}
