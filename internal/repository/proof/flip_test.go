//go:build proof

package proof

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
)

const (
	// small is up to which size every bit of an object is flipped.
	small = 1 << 10
	// flips is how many random bits are flipped in a larger one, beside all of its first and last bytes.
	flips = 300
	// edge is how many bytes at both ends are flipped bit by bit.
	edge = 40
)

// Whichever bit of whichever object turns over: reading everything ends with an error, and never with
// other bytes.
func TestEveryBitFlipIsDetected(t *testing.T) {
	w := newWorld()
	synctest.Test(t, func(t *testing.T) { damageable(t, w) })
	kinds := map[string]int{}
	all := w.store.Bodies("")
	for _, key := range slices.Sorted(maps.Keys(all)) {
		kinds[objectKind(key)]++
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			bits := bitsOf(len(all[key]))
			for _, bit := range bits {
				flip(t, w, key, all[key], bit)
			}
		})
	}
	for _, kind := range []string{"key", "manifest", "pack", "segment", "chunk"} {
		if kinds[kind] == 0 {
			t.Errorf("no %s was flipped", kind)
		}
	}
	t.Logf("objects: %v", kinds)
}

// damageable makes a series with every kind of object, each of which its newest snapshot needs.
func damageable(t *testing.T, w *world) {
	ctx := t.Context()
	w.every = 1 << 30 // nobody reads old checkpoints
	must(t, w.backup(ctx, w.store, alice, "first", mailbox(1, 6)))
	must(t, w.backup(ctx, w.store, alice, "second", texts(2, 300).with(1, "item-0000", "item-0003")))
}

// bitsOf chooses the bits to flip in an object of n bytes.
func bitsOf(n int) []int {
	var bits []int
	for bit := range 8 * n {
		if n <= small || bit < 8*edge || bit >= 8*(n-edge) {
			bits = append(bits, bit)
		}
	}
	if n > small {
		r := rand.New(rand.NewPCG(uint64(n), 1))
		for range flips {
			bits = append(bits, r.IntN(8*n))
		}
	}
	return bits
}

// flip reads everything with one bit turned over.
func flip(t *testing.T, w *world, key string, body []byte, bit int) {
	damaged := bytes.Clone(body)
	damaged[bit/8] ^= 1 << (bit % 8)
	store := w.store.Clone()
	must(t, store.Put(t.Context(), key, damaged))
	harmed := &world{store: store, truth: w.truth, sealed: w.sealed}
	err := harmed.restore(t.Context(), newProcess(store))
	if err == nil || errors.Is(err, errTruth) {
		t.Fatalf("bit %d was not noticed: %v", bit, err)
	}
}
