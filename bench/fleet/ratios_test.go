package main

import (
	"math"
	"testing"
)

func TestJain(t *testing.T) {
	for _, c := range []struct {
		shares []float64
		want   float64
	}{{[]float64{5, 5, 5}, 1}, {[]float64{1, 0, 0, 0}, 0.25}, {[]float64{4, 2}, 0.9}, {nil, 0}} {
		if got := jain(c.shares); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("jain(%v) is %v, expected %v", c.shares, got, c.want)
		}
	}
}

// Two accounts of 100 a minute that had work from second 30 on, one of which took twice as
// long as it needed.
func TestRatios(t *testing.T) {
	u := ratios([]account{{Used: 200, Last: 150}, {Used: 200, Last: 270}}, 100, 30)
	if want := 400.0 / (200 + 400); math.Abs(u.goodput-want) > 1e-9 {
		t.Errorf("goodput is %v, expected %v", u.goodput, want)
	}
	if u.makespan != 2 || u.windows != 4 {
		t.Errorf("makespan %v in %v windows, expected 2 in 4", u.makespan, u.windows)
	}
}

func TestMissed(t *testing.T) {
	if got := missed(map[string]float64{"fleet.jain": 0.99, "queue.recover_s": 40, "unknown.row": 7}); len(got) != 0 {
		t.Errorf("nothing was missed, and it says %q", got)
	}
	if got := missed(map[string]float64{"fleet.jain": 0.98, "queue.recover_s": 41}); len(got) != 2 {
		t.Errorf("two targets were missed, and it says %q", got)
	}
}
