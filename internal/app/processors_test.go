package app

import (
	"context"
	"math"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A load that stays as it is finds as many processors as it fills, none that would stand idle, and keeps them: it is
// tried ever more rarely whether fewer would do.
func TestProcessorsSettle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 64).Draw(t, "most")
		wanted := rapid.Float64Range(0, 80).Draw(t, "wanted")
		p := newProcessors(most)
		p.now = rapid.IntRange(1, most).Draw(t, "now")
		rounds, changes := 2_000, 0
		for round := range rounds {
			before := p.now
			now := p.next(load{used: min(wanted, float64(p.now))})
			if now < 1 || now > most {
				t.Fatalf("%d processors of %d", now, most)
			}
			if short := filled*float64(before) < wanted; short && before < most && now <= before {
				t.Fatalf("%v processors are wanted, %d were too few, and %d follow", wanted, before, now)
			}
			if round > rounds/2 && now != before {
				changes++
			}
		}
		// Of 1,000 rounds: an attempt with fewer every 240, and the steps down from twice as many behind it.
		if limit := 5 * (most + 2); changes > limit {
			t.Fatalf("%d changes in the second half", changes)
		}
		if fits := int(math.Ceil(wanted/filled)) + 1; wanted > 0 && fits < most && p.now > 2*fits {
			t.Fatalf("%v processors are wanted, and %d stay", wanted, p.now)
		}
	})
}

func TestProcessorsFollowTheLoad(t *testing.T) {
	p := newProcessors(8)
	feed := func(rounds int, l load) (now int) {
		for range rounds {
			now = p.next(l)
		}
		return now
	}
	for _, step := range []struct {
		what   string
		rounds int
		load   load
		want   int
	}{
		{"nothing to do", 100, load{}, 1},
		{"one is not filled", 10, load{used: 0.8}, 1},
		{"one is filled", 1, load{used: 1}, 2},
		{"two are filled", 1, load{used: 1.95}, 4},
		{"four are filled", 1, load{used: 4}, 8},
		{"all are filled", 100, load{used: 8}, 8},
		{"as many are wanted as five fill", 100, load{used: 4.4}, 5},
		{"little to do, and what there is waits", 1, load{used: 0.1, waited: longWait + time.Millisecond}, 8},
		{"little to do", 100, load{used: 0.1, waited: longWait}, 1},
	} {
		if got := feed(step.rounds, step.load); got != step.want {
			t.Fatalf("%s: %d processors, expected %d", step.what, got, step.want)
		}
	}
}

func TestLoadBetweenReadings(t *testing.T) {
	buckets := []float64{math.Inf(-1), 0, 0.001, 0.01, math.Inf(1)}
	at := time.Now()
	before := reading{at, time.Second, &metrics.Float64Histogram{Counts: []uint64{0, 5, 5, 5}, Buckets: buckets}}
	for _, c := range []struct {
		what   string
		counts []uint64
		want   load
	}{
		{"nothing waited", []uint64{0, 5, 5, 5}, load{used: 1.5}},
		{"too few waited to tell", []uint64{0, 5, 5, 15}, load{used: 1.5}},
		{"half waited for a millisecond", []uint64{0, 25, 25, 5}, load{1.5, 500 * time.Microsecond}},
		{"all waited for ten", []uint64{0, 5, 5, 105}, load{1.5, 10 * time.Millisecond}},
	} {
		after := reading{at.Add(2 * time.Second), 4 * time.Second, &metrics.Float64Histogram{Counts: c.counts, Buckets: buckets}}
		if got := after.since(before); got.used != c.want.used || (got.waited-c.want.waited).Abs() > time.Microsecond {
			t.Errorf("%s: %+v, expected %+v", c.what, got, c.want)
		}
	}
	if got := (reading{at: at, cpu: 2 * time.Second}).since(reading{at: at}); got.waited != 0 || got.used <= 0 {
		t.Errorf("without a histogram, and no time between: %+v", got)
	}
}

// What the process and the runtime say is understood: CPU is used, and goroutines wait.
func TestReadingOfThisProcess(t *testing.T) {
	before := takeReading()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		for range 1_000 {
			runtime.Gosched() // uses CPU, and waits for it
		}
		now := takeReading()
		if now.cpu > before.cpu && now.since(before).used > 0 && now.waits != nil && count(now.waits) > count(before.waits) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("two minutes of work are %+v", now.since(before))
		}
	}
}

func count(h *metrics.Float64Histogram) (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// A process with nothing to do keeps one processor, and has all of them again at the end.
func TestProcessorsOfThisProcess(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	t.Cleanup(runtime.SetDefaultGOMAXPROCS)
	runtime.GOMAXPROCS(4)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); paceProcessors(ctx) }()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(2 * time.Minute); runtime.GOMAXPROCS(0) > 1; <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d processors for nothing", runtime.GOMAXPROCS(0))
		}
	}
	cancel()
	<-done
	ended := runtime.GOMAXPROCS(0)
	runtime.SetDefaultGOMAXPROCS()
	if all := runtime.GOMAXPROCS(0); ended != all {
		t.Errorf("it ends with %d processors of %d", ended, all)
	}
}

// Whoever says how many processors there are is not overruled, and one program of a process paces for all.
func TestProcessorsLeftAlone(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	t.Setenv("GOMAXPROCS", "3")
	paceProcessors(t.Context()) // else it would stay until the test ends
	t.Setenv("GOMAXPROCS", "")
	pacing.Store(true)
	defer pacing.Store(false)
	paceProcessors(t.Context())
	if after := runtime.GOMAXPROCS(0); after != before {
		t.Errorf("%d processors became %d", before, after)
	}
}
