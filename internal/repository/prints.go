package repository

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

const (
	// printBits is how long a fingerprint of an ID is. One of n IDs has that of an ID that is not among them by a chance
	// of n in 2^40: of 20,000 backups of 50 new mails in a mailbox of 1,000,000, one reads something in vain.
	printBits = 40
	// perGroup is how many fingerprints stand in a group at most in the mean, half of that at least.
	perGroup = 64
	// groupEnd is how many bytes say where a group ends.
	groupEnd = 4
)

// prints says which IDs a segment does not have, without reading it: their fingerprints, sorted, in groups by their
// first bits, each fingerprint as how much it exceeds the one before it in its group (Golomb-Rice code). An ID among
// 20,000 takes 3.5 bytes, among 1,000,000 2.8. docs/FORMAT.md ("Filters") has the bytes. Read-only.
type prints []byte

// fingerprint is what prints know of an ID whose hash is h.
func fingerprint(h idHash) uint64 { return h[0] >> (64 - printBits) }

// newPrints returns the prints of IDs; none for none.
func newPrints(hashes []idHash) prints {
	if len(hashes) == 0 {
		return nil
	}
	all := make([]uint64, len(hashes))
	for i, h := range hashes {
		all[i] = fingerprint(h)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	size := bits.Len(uint(len(all)))
	group, rice := max(0, size-bits.Len(perGroup-1)), max(0, printBits-size)
	ends := make([]byte, 0, groupEnd<<group)
	w := bitWriter{out: make([]byte, 0, len(all)*(rice+3)/8+1<<group)}
	for g, at := uint64(0), 0; g < 1<<group; g++ {
		last := g << (printBits - group)
		for ; at < len(all) && all[at]>>(printBits-group) == g; at++ {
			w.rice(all[at]-last, rice)
			last = all[at]
		}
		w.pad()
		ends = binary.BigEndian.AppendUint32(ends, uint32(len(w.out)))
	}
	return append(append([]byte{byte(group), byte(rice)}, ends...), w.out...)
}

// mayHave reports whether an ID with the hash may be among them. What is not well-formed denies nothing.
func (p prints) mayHave(h idHash) bool {
	if len(p) < 2 || p[0] > 24 || p[1] > printBits || len(p) < 2+groupEnd<<p[0] {
		return true
	}
	group, rice := int(p[0]), int(p[1])
	want := fingerprint(h)
	at := int(want >> (printBits - group))
	ends, data := p[2:2+groupEnd<<group], p[2+groupEnd<<group:]
	begin, end := 0, int(binary.BigEndian.Uint32(ends[groupEnd*at:]))
	if at > 0 {
		begin = int(binary.BigEndian.Uint32(ends[groupEnd*(at-1):]))
	}
	if begin > end || end > len(data) {
		return true
	}
	r := bitReader{rest: data[begin:end]}
	for value := uint64(at) << (printBits - group); ; {
		more, ok := r.rice(rice)
		if !ok {
			return false
		}
		if value += more; value >= want {
			return value == want
		}
	}
}

// bitWriter appends bits, the highest of a byte first.
type bitWriter struct {
	out  []byte
	last uint64 // bits that fill no byte yet, the lowest n
	n    int
}

// bits appends the lowest n bits of v, 48 at most.
func (w *bitWriter) bits(v uint64, n int) {
	w.last, w.n = w.last<<n|v, w.n+n
	for ; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.last>>(w.n-8)))
	}
	w.last &= 1<<w.n - 1
}

// rice appends a number: as many ones as 2^k goes into it, a zero, and the rest in k bits.
func (w *bitWriter) rice(v uint64, k int) {
	ones := v >> k
	for ; ones > 32; ones -= 32 {
		w.bits(1<<32-1, 32)
	}
	w.bits(1<<(ones+1)-2, int(ones)+1)
	w.bits(v&(1<<k-1), k)
}

// pad fills the last byte with ones, which are no number.
func (w *bitWriter) pad() {
	if w.n > 0 {
		w.bits(1<<(8-w.n)-1, 8-w.n)
	}
}

// bitReader reads what a bitWriter has written.
type bitReader struct {
	rest []byte
	next uint64 // bits to come, from the highest on
	n    int    // how many there are
}

// fill has 57 bits at hand at least, where there are so many.
func (r *bitReader) fill() {
	for r.n <= 56 && len(r.rest) > 0 {
		r.next |= uint64(r.rest[0]) << (56 - r.n)
		r.rest, r.n = r.rest[1:], r.n+8
	}
}

// rice reads a number; false at the end.
func (r *bitReader) rice(k int) (uint64, bool) {
	ones := uint64(0)
	for {
		r.fill()
		run := min(bits.LeadingZeros64(^r.next), r.n)
		ones += uint64(run)
		if r.n == run { // all that is left are ones
			r.skip(run)
			if len(r.rest) == 0 {
				return 0, false
			}
			continue
		}
		r.skip(run + 1)
		break
	}
	r.fill()
	if r.n < k || ones >= 1<<(printBits-k) {
		return 0, false
	}
	low := r.next >> (64 - k)
	r.skip(k)
	return ones<<k | low, true
}

func (r *bitReader) skip(n int) { r.next, r.n = r.next<<n, r.n-n }
