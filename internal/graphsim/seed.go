package graphsim

import (
	"fmt"
	"math/rand/v2"
)

// mix folds numbers into one well-spread seed (the finalizer of splitmix64), so
// that everything generated depends on the server's seed and its own place only.
func mix(parts ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, p := range parts {
		h += p + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// mixString folds a text into a seed (FNV-1a).
func mixString(seed uint64, s string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001b3
	}
	return mix(seed, h)
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x7465_6e61_6e74)) }

// guid returns a random-looking (version 4) GUID made from a seed.
func guid(seed uint64) string {
	a, b := mix(seed, 1), mix(seed, 2)
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x",
		a>>32, a>>16&0xffff, a&0xfff, b>>52, b&0xffffffffffff)
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }
