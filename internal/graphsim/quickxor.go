package graphsim

import (
	"encoding/base64"
	"encoding/binary"
)

// quickXorHash is the hash that OneDrive for Business reports, written from the
// description in the OneDrive documentation ("QuickXorHash algorithm"): byte i is
// XORed into a 160-bit register at bit (11*i) mod 160, the length into its end.
//
// Bytes whose index is equal mod 160 meet at the same bit, so it is enough to fold
// them together first.
type quickXorHash struct {
	folded [160]byte
	length uint64
}

func (q *quickXorHash) Write(p []byte) (int, error) {
	at := q.length % 160
	for _, b := range p {
		q.folded[at] ^= b
		if at++; at == 160 {
			at = 0
		}
	}
	q.length += uint64(len(p))
	return len(p), nil
}

func (q *quickXorHash) sum() [20]byte {
	var register [20]byte
	for i, b := range q.folded {
		bit := 11 * i % 160
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
