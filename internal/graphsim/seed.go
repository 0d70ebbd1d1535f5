package graphsim

import "math/rand/v2"

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
	var text [36]byte
	at := 0
	put := func(v uint64, digits int) {
		for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
			text[at] = "0123456789abcdef"[v>>shift&15]
			at++
		}
	}
	dash := func() { text[at] = '-'; at++ }
	put(a>>32, 8)
	dash()
	put(a>>16&0xffff, 4)
	dash()
	put(0x4000|a&0xfff, 4)
	dash()
	put(0x8000|b>>52, 4)
	dash()
	put(b&0xffffffffffff, 12)
	return string(text[:])
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }
