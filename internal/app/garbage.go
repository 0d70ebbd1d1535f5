package app

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// heapFloor is the heap below which a worker or a scheduler does not look for garbage, in bytes.
// Little of theirs lives while tasks are small, and with Go's default a worker with 10 MB of it
// collects its garbage every 10 MB: a tenth of what a task costs.
const heapFloor = 64 << 20

// maxPercent bounds by how much more than what lives the heap may grow. A round of a heap that
// has just filled with what lives asks for so much until its cleanup has run, which takes some
// milliseconds.
const maxPercent = 400

// collector sets the pace of the garbage collector after each of its rounds: the heap may grow
// to a floor, or fivefold, and where more than half of that lives, as Go itself lets it (to twice that). So
// a process whose heap grows takes no more memory than it did, and the memory limit holds as
// ever.
//
//	round ends -> cleanup of a marker -> live heap -> percent for the next round
type collector struct {
	floor uint64

	mu   sync.Mutex
	base int // percent, as it was set before
	now  int
	over bool
}

// collecting is the one collector that a process has: the programs of the demo share it.
var collecting sync.Once

// spareCollector lets the heap of this process grow to heapFloor, unless GOGC says something.
func spareCollector() {
	if os.Getenv("GOGC") == "" {
		collecting.Do(func() { newCollector(heapFloor) })
	}
}

// newCollector begins to set the pace.
func newCollector(floor uint64) *collector {
	c := &collector{floor: floor}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base = debug.SetGCPercent(100) // the only way to read it
	c.now = 100
	c.set()
	c.mark()
	return c
}

// end sets the pace back to what it was.
func (c *collector) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	debug.SetGCPercent(c.base)
}

// round is called after each round of the collector, from the runtime's goroutine.
func (c *collector) round() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.set()
		c.mark()
	}
}

// mark leaves an object behind that the next round finds to be garbage.
func (c *collector) mark() {
	marker := new([16]byte) // large enough not to share its block with others
	runtime.AddCleanup(marker, func(c *collector) { c.round() }, c)
}

// set sets the percent that the live heap asks for. That stops the process for some
// microseconds, so that small changes are left alone.
func (c *collector) set() {
	percent := percentFor(liveHeap(), c.floor, c.base)
	if 8*max(percent-c.now, c.now-percent) < c.now {
		return
	}
	debug.SetGCPercent(percent)
	c.now = percent
}

// percentFor is how far a heap may grow, in percent of what lives, to reach a floor: at most
// maxPercent, and at least base.
func percentFor(live, floor uint64, base int) int {
	if base < 0 || live == 0 || live >= floor { // below 0 the collector is off
		return base
	}
	return max(base, min(maxPercent, int((floor-live)*100/live)))
}

// liveHeap is what the last round of the collector found to live, in bytes, never nothing.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 1 << 62 // an unknown metric: Go's own pace
	}
	return max(sample[0].Value.Uint64(), 1<<20)
}
