package graph

import (
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// TestWaitAfter: a pause is at least what was asked for, whenever that is, and bounded by the policy.
func TestWaitAfter(t *testing.T) {
	p := policy{tries: 5, first: time.Second, pause: 5 * time.Second, total: 20 * time.Second}
	for name, c := range map[string]struct {
		until       time.Duration // from now; 0 none
		least, most time.Duration
		again       bool
	}{
		"nothing asked":   {0, 500 * time.Millisecond, time.Second, true},
		"soon":            {3 * time.Second, 2900 * time.Millisecond, 3400 * time.Millisecond, true},
		"long":            {time.Minute, 59 * time.Second, time.Minute, false},
		"just now":        {-time.Millisecond, 250 * time.Millisecond, time.Second, true},
		"long passed":     {-time.Hour, 250 * time.Millisecond, time.Second, true},
		"a moment passed": {-11 * time.Millisecond, 250 * time.Millisecond, time.Second, true},
	} {
		err := tenantry.Errorf(tenantry.Throttled, "slow down")
		if c.until != 0 {
			err.Until = time.Now().Add(c.until)
		}
		wait, again := p.waitAfter(err, 1, false)
		if again != c.again || wait < c.least || wait > c.most {
			t.Errorf("%s: %s, %t", name, wait, again)
		}
	}
}
