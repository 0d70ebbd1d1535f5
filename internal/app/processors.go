package app

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"syscall"
	"time"
)

// Go wakes an idle processor whenever a goroutine hands something to another one, which an HTTP request does five times.
// That processor looks for work, finds that it is being done already, and goes to sleep again: a worker whose tasks wait
// for Graph most of the time spent a fifth of its CPU on that, and does as much in the same time with fewer processors.
const (
	paceEvery = 250 * time.Millisecond
	// filled is how much of its processors a process uses when it could use more.
	filled = 0.9
	// longWait is for how long goroutines wait in the mean when there are too few processors, whatever is used of them: the
	// file system holds one up, until the runtime notices within 10 ms. Where other processes take the machine's
	// processors goroutines wait for some milliseconds, too, and more threads would only cost more.
	longWait = 20 * time.Millisecond
	// fewWaits tell nothing.
	fewWaits = 16
	// shortHold and longHold are for how many rounds more processors are kept that were asked for: the longer the more often
	// fewer have proved too few, within soon rounds.
	shortHold, longHold = 4, 240
	soon                = 20
	// lookEvery is after how many rounds it is asked again how many processors there may be at most: the limit of a
	// container can change.
	lookEvery = 240
)

// processors decides how many processors Go may use (GOMAXPROCS), round by round: twice as many as soon as they are filled
// or goroutines wait long for one, one fewer while the others could carry the load. Not safe for concurrent use.
//
//	        filled, or waited for: doubled
//	fewer ────────────────────────────────▶ more, held for a while
//	  ▲                                          │
//	  └──── the load would fit into one fewer ───┘
type processors struct {
	most, now int
	hold      int // rounds that the next increase is held for
	held      int // rounds that are left of it
	lowered   int // rounds since there was one more
}

func newProcessors(most int) *processors {
	return &processors{most: most, now: most, hold: shortHold, lowered: soon + 1}
}

// load is what a process did in a round.
type load struct {
	used   float64       // processors, in the mean
	waited time.Duration // of a goroutine for a processor, in the mean
}

// next returns how many processors the load of the last round asks for.
func (p *processors) next(l load) int {
	p.lowered++
	switch {
	case l.used > filled*float64(p.now) || l.waited > longWait:
		p.more()
	case p.held > 0:
		p.held--
	case p.now > 1 && l.used < filled*float64(p.now-1):
		p.now--
		p.lowered = 0
	}
	return p.now
}

func (p *processors) more() {
	if p.now == p.most {
		p.held = p.hold
		return
	}
	if p.lowered > soon {
		p.hold = shortHold
	} else {
		p.hold = min(2*p.hold, longHold)
	}
	p.now, p.held = min(2*p.now, p.most), p.hold
}

// pacing is set while a program of this process paces the processors: those of the demo share them.
var pacing atomic.Bool

// paceProcessors keeps Go to the processors that this process needs until ctx ends, unless GOMAXPROCS says how many.
func paceProcessors(ctx context.Context) {
	if os.Getenv("GOMAXPROCS") != "" || !pacing.CompareAndSwap(false, true) {
		return
	}
	defer pacing.Store(false)
	defer runtime.SetDefaultGOMAXPROCS() // which also follows the limits of a container again
	p := newProcessors(runtime.GOMAXPROCS(0))
	clock := time.NewTicker(paceEvery)
	defer clock.Stop()
	last := takeReading()
	for round := 1; ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
		}
		now := takeReading()
		before := p.now
		if round%lookEvery == 0 {
			runtime.SetDefaultGOMAXPROCS()
			before = runtime.GOMAXPROCS(0)
			p.most, p.now = before, min(p.now, before)
		}
		if after := p.next(now.since(last)); after != before {
			runtime.GOMAXPROCS(after)
		}
		last = now
	}
}

// reading is what a process has done until a time.
type reading struct {
	at    time.Time
	cpu   time.Duration
	waits *metrics.Float64Histogram // nil: not known
}

func takeReading() reading {
	r := reading{at: time.Now()}
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) == nil {
		r.cpu = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	sample := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	if metrics.Read(sample); sample[0].Value.Kind() == metrics.KindFloat64Histogram {
		r.waits = sample[0].Value.Float64Histogram()
	}
	return r
}

// since is the load between two readings.
func (r reading) since(before reading) load {
	l := load{used: float64(r.cpu-before.cpu) / float64(max(r.at.Sub(before.at), time.Millisecond))}
	if r.waits == nil || before.waits == nil {
		return l
	}
	seconds, n := 0.0, uint64(0)
	for i, count := range r.waits.Counts {
		count -= before.waits.Counts[i]
		n += count
		if low := r.waits.Buckets[i]; !math.IsInf(low, 0) { // the lower end: it was that long for sure
			seconds += low * float64(count)
		}
	}
	if n >= fewWaits {
		l.waited = time.Duration(seconds / float64(n) * float64(time.Second))
	}
	return l
}
