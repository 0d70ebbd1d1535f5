package api

import (
	"fmt"
	"testing"
	"time"
)

// Millions of callers take bounded memory, and who is busy is not forgotten.
func TestLimitersAreBounded(t *testing.T) {
	t.Parallel()
	l := newLimiters(1, 1)
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	for i := range 5 * limitersMax {
		now = now.Add(time.Microsecond)
		if wait := l.take(fmt.Sprint(i), now); wait != 0 {
			t.Fatalf("caller %d waits %v for its first request", i, wait)
		}
		if wait := l.take("busy", now); i > 0 && wait == 0 {
			t.Fatalf("the busy one was forgotten after %d others", i)
		}
	}
	if len(l.of) > limitersMax {
		t.Errorf("%d callers are remembered", len(l.of))
	}
	if wait := l.take("busy", now.Add(time.Second)); wait != 0 {
		t.Errorf("a second later: %v", wait)
	}
}
