package gateway

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is asked for in whatever order: what is held is never more than the room and one object, a region that takes
// all it can leaves the others their shares, and what is given back can be taken again.
func TestRoom(t *testing.T) {
	const whole, largest = 1000, 700
	ended, cancel := context.WithCancel(context.Background())
	cancel() // whoever would have to wait is told so at once
	rapid.Check(t, func(t *rapid.T) {
		regions := rapid.IntRange(1, 5).Draw(t, "regions")
		r := newRoom(whole, regions)
		share := int64(whole / regions)
		type held struct {
			n    int64
			free func()
		}
		var all []held
		var sum int64
		inShare := map[string]int64{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(all) > 0 && rapid.Bool().Draw(t, "gives back") {
				i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
				all[i].free()
				sum -= all[i].n
				all = append(all[:i], all[i+1:]...)
				continue
			}
			region, n := fmt.Sprint("r", rapid.IntRange(1, regions).Draw(t, "region")), rapid.Int64Range(0, largest).Draw(t, "bytes")
			free, err := r.take(ended, region, n)
			switch {
			case err != nil && !errors.Is(err, context.Canceled):
				t.Fatal(err)
			case err != nil && n <= share && inShare[region]+max(1, n) <= share:
				t.Fatalf("no room for %d bytes of %s, which holds %d of %d", n, region, inShare[region], share)
			case err != nil:
				continue
			}
			if n <= share {
				inShare[region] += max(1, n)
				was := free
				free = func() { inShare[region] -= max(1, n); was() }
			}
			sum += n
			all = append(all, held{n, free})
			if sum > whole+largest {
				t.Fatalf("%d bytes are held at once", sum)
			}
		}
		for _, h := range all {
			h.free()
		}
		for i := range regions { // everything can be had again
			if _, err := r.take(ended, fmt.Sprint("r", i+1), share); err != nil {
				t.Fatalf("region %d of %d: %v", i+1, regions, err)
			}
		}
	})
}
