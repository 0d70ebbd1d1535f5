package repository

import "encoding/binary"

// idHash is what filters know of an ID: the first two words, big-endian, of its BLAKE3 keyed by the hash key.
type idHash [2]uint64

func (k *keys) idHash(id []byte) idHash {
	sum := k.chunkHash(id)
	return idHash{binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])}
}

// filter says which IDs a segment does not have. The zero value denies nothing. Read-only.
type filter struct {
	prints prints
	bloom  bloom // of a segment that was written before there were prints
}

func (f filter) mayHave(h idHash) bool { return f.prints.mayHave(h) && f.bloom.mayHave(h) }

// known reports whether there is anything that it knows of.
func (f filter) known() bool { return f.size() > 0 }

// size is how many bytes it takes.
func (f filter) size() int { return len(f.prints) + len(f.bloom) }

const bloomHashes = 11

// bloom is the filter of older segments, 16 bits an ID: with h and d as the words of an ID's hash, the bits are
// h, h + d, h + 2d, ... modulo the number of bits. It takes one of 2,000 IDs that are not there for one that is.
type bloom []byte

func (f bloom) mayHave(h idHash) bool {
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
