package graphsim

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
)

// quickXorHash is the hash that OneDrive for Business reports, written from the
// description in the OneDrive documentation ("QuickXorHash algorithm"): byte i is
// XORed into a 160-bit register at bit (11*i) mod 160, the length into its end.
//
// Bytes whose index is equal mod 160 meet at the same bit, so it is enough to fold
// them together first: by whole vectors of the processor, then once more to 160.
type quickXorHash struct {
	folded [foldedBytes]byte
	length uint64
}

const foldedBytes = 160 * 16

func (q *quickXorHash) Write(p []byte) (int, error) {
	size := len(p)
	for len(p) > 0 {
		into := q.folded[q.length%foldedBytes:]
		n := subtle.XORBytes(into, into, p)
		q.length, p = q.length+uint64(n), p[n:]
	}
	return size, nil
}

func (q *quickXorHash) sum() [20]byte {
	var register [20]byte
	for i, b := range q.folded {
		bit := 11 * (i % 160) % 160
		register[bit/8] ^= b << (bit % 8)
		register[(bit/8+1)%20] ^= byte(uint16(b) >> (8 - bit%8))
	}
	length := binary.LittleEndian.Uint64(register[12:]) ^ q.length
	binary.LittleEndian.PutUint64(register[12:], length)
	return register
}

func (q *quickXorHash) base64() string {
	sum := q.sum()
	return base64.StdEncoding.EncodeToString(sum[:])
}
