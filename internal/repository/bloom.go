package repository

import "encoding/binary"

const (
	// bloomBits is how many bits of a filter stand for one ID: of 2,000 IDs that are not there,
	// one seems to be, and costs a read.
	bloomBits   = 16
	bloomHashes = 11
)

// bloom says which IDs a segment does not have, without reading it. Bit positions come from
// the keyed BLAKE3 of the ID: its first two words, big-endian, are h and d, and the bits are
// h, h + d, h + 2d, ... modulo the number of bits. No filter: everything may be there.
type bloom []byte

func newBloom(hashes [][2]uint64) bloom {
	if len(hashes) == 0 {
		return nil
	}
	f := make(bloom, (len(hashes)*bloomBits+7)/8)
	for _, h := range hashes {
		for i := range uint64(bloomHashes) {
			at := (h[0] + i*h[1]) % uint64(len(f)*8)
			f[at/8] |= 1 << (at % 8)
		}
	}
	return f
}

func (f bloom) mayHave(h [2]uint64) bool {
	for i := range uint64(bloomHashes) {
		if len(f) == 0 {
			break
		}
		at := (h[0] + i*h[1]) % uint64(len(f)*8)
		if f[at/8]&(1<<(at%8)) == 0 {
			return false
		}
	}
	return true
}

// bloomHash is what a filter knows of an ID.
func (k *keys) bloomHash(id []byte) [2]uint64 {
	sum := k.chunkHash(id)
	return [2]uint64{binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])}
}
