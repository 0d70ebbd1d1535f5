package throttle

import (
	"fmt"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/servertest"
)

// BenchmarkTake compares, in one run, a call that asks Redis with one that is served
// from a block: what blocks are for.
func BenchmarkTake(b *testing.B) {
	c := newClock()
	book := resumed(b, connect(b, servertest.Redis(b)), c, Documented())
	var asked, served time.Duration
	var asks, serves int
	for i := 0; b.Loop(); i++ {
		before, start := book.scripts, time.Now()
		mustTake(b, book, outlook(fmt.Sprint(i/10%1000))).Release()
		if took := time.Since(start); book.scripts > before {
			asked, asks = asked+took, asks+1
		} else {
			served, serves = served+took, serves+1
		}
		c.pass(20 * time.Millisecond)
	}
	perAsk := float64(asked.Nanoseconds()) / float64(max(asks, 1))
	perServe := float64(served.Nanoseconds()) / float64(max(serves, 1))
	b.ReportMetric(perAsk, "ns/asked")
	b.ReportMetric(perServe, "ns/served")
	b.ReportMetric(perAsk/max(perServe, 1), "asked/served")
	b.ReportMetric(float64(asks+serves)/float64(max(asks, 1)), "calls/script")
}
