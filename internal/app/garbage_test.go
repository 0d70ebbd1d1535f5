package app

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

func TestPercentFor(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		live, floor uint64
		base, want  int
	}{
		{1 * mb, 64 * mb, 100, 400}, {8 * mb, 64 * mb, 100, 400}, {16 * mb, 64 * mb, 100, 300}, {31 * mb, 64 * mb, 100, 106},
		{32 * mb, 64 * mb, 100, 100}, {63 * mb, 64 * mb, 100, 100}, {64 * mb, 64 * mb, 100, 100}, {500 * mb, 64 * mb, 100, 100},
		{20 * mb, 64 * mb, 400, 400}, {8 * mb, 64 * mb, 800, 800}, {8 * mb, 64 * mb, -1, -1}, {0, 64 * mb, 100, 100},
	} {
		if got := percentFor(c.live, c.floor, c.base); got != c.want {
			t.Errorf("%d of %d MB live at %d %%: %d, expected %d", c.live/mb, c.floor/mb, c.base, got, c.want)
		}
	}
}

// The pace follows the heap in both directions, and ends as it was.
func TestCollectorFollowsTheHeap(t *testing.T) {
	const floor = 256 << 20 // far above what tests of this package hold
	before := pace()
	c := newCollector(floor)
	defer c.end()
	becomes := func(what string, ok func(percent uint64) bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(pace()); {
			if time.Now().After(deadline) {
				t.Fatalf("%s: the pace is %d %%", what, pace())
			}
			runtime.GC() // a round; its cleanups run beside
		}
	}
	small := func(percent uint64) bool { return percent > 2*before }
	becomes("a small heap", small)
	held := make([]byte, 160<<20) // never touched: the collector counts it all the same
	becomes("more than half of the floor", func(percent uint64) bool { return percent == before })
	runtime.KeepAlive(held)
	becomes("a small heap again", small)
	c.end()
	if got := pace(); got != before {
		t.Errorf("it ends at %d %%, and was at %d", got, before)
	}
	runtime.GC()
}

// pace is the percent that the collector goes by.
func pace() uint64 {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
