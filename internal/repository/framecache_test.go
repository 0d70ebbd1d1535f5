package repository

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// A frame that somebody looks at keeps its bytes, whatever leaves the cache meanwhile and however buffers go round: each frame is full of
// its own number.
func TestFramesWhileTheyAreLookedAt(t *testing.T) {
	t.Parallel()
	c := newFrameCache(2)
	read := func(number uint32) func() ([]byte, *[]byte, error) {
		return func() ([]byte, *[]byte, error) {
			buffer := borrow(1000)
			plain := (*buffer)[:1000]
			for i := range plain {
				plain[i] = byte(number)
			}
			if number%5 == 4 {
				giveBack(buffer)
				return nil, nil, errors.New("not this one")
			}
			return plain, buffer, nil
		}
	}
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 0))
			for range 2000 {
				number := rnd.Uint32N(10)
				err := c.use(context.Background(), frameKey{frame: number}, read(number), func(data []byte) error {
					if want := bytes.Repeat([]byte{byte(number)}, 1000); !bytes.Equal(data, want) {
						t.Errorf("frame %d has bytes of another", number)
					}
					return nil
				})
				if (err != nil) != (number%5 == 4) {
					t.Errorf("frame %d: %v", number, err)
				}
				if rnd.IntN(100) == 0 {
					c.clear()
				}
			}
		})
	}
	wg.Wait()
	if c.order.Len() > c.limit || len(c.at) != c.order.Len() {
		t.Errorf("it keeps %d frames under %d names", c.order.Len(), len(c.at))
	}
}

// What one has borrowed is nobody else's until it is given back, and as large as was asked.
func TestBorrow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		held := map[*byte]*[]byte{}
		for _, n := range rapid.SliceOfN(rapid.Int64Range(0, 2*sealedChunk), 1, 20).Draw(t, "sizes") {
			b := borrow(n)
			if n > sealedChunk {
				if len(*b) != 0 {
					t.Fatalf("%d bytes for %d", len(*b), n)
				}
				giveBack(b)
				continue
			}
			if int64(len(*b)) < n {
				t.Fatalf("%d bytes for %d", len(*b), n)
			}
			if held[&(*b)[0]] != nil {
				t.Fatalf("a buffer of %d bytes is borrowed twice", len(*b))
			}
			if held[&(*b)[0]] = b; len(held) > 3 {
				for at, b := range held {
					delete(held, at)
					giveBack(b)
					break
				}
			}
		}
		for _, b := range held {
			giveBack(b)
		}
	})
	giveBack(nil)
}
