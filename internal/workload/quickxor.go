package workload

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
)

// quickXor computes the hash that OneDrive for Business and SharePoint name for a file's content
// (Microsoft, onedrive-api-docs, "QuickXorHash Algorithm"). Byte i is XORed into a register of 160 bits
// at bit 11*i mod 160, wrapping around its end; the length into the last 64 bits. Bytes 160 apart
// meet at the same bit, so they are folded together first and shifted once, in Sum.
type quickXor struct {
	folded [quickXorFold]byte
	length uint64
}

// quickXorFold is a multiple of 160 that is long enough for the processor's widest exclusive or to pay.
const quickXorFold = 160 * 12

func (q *quickXor) Write(p []byte) (int, error) {
	at := int(q.length % quickXorFold)
	q.length += uint64(len(p))
	for rest := p; len(rest) > 0; at = 0 {
		fold := q.folded[at:]
		n := subtle.XORBytes(fold, fold, rest)
		rest = rest[n:]
	}
	return len(p), nil
}

// Sum returns the hash as the service writes it: standard Base64 of 20 bytes.
func (q quickXor) Sum() string {
	var out [20]byte
	once := q.folded[:160]
	for at := 160; at < quickXorFold; at += 160 {
		subtle.XORBytes(once, once, q.folded[at:at+160])
	}
	for i, b := range once {
		bit := 11 * i % 160
		at, shift := bit/8, bit%8
		out[at] ^= b << shift
		out[(at+1)%20] ^= byte(uint16(b) >> (8 - shift))
	}
	tail := out[12:]
	binary.LittleEndian.PutUint64(tail, binary.LittleEndian.Uint64(tail)^q.length)
	return base64.StdEncoding.EncodeToString(out[:])
}
