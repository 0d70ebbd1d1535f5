package throttle

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
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

// BenchmarkBusyFleet is what Redis sees of a busy fleet: four processes that run 16
// tasks each, of fifty requests of 50 ms, on the mailboxes and drives of fifty tenants.
func BenchmarkBusyFleet(b *testing.B) {
	const processes, slots, requests = 4, 16, 50
	rdb := connect(b, servertest.Redis(b))
	c := newClock()
	books := []*Book{resumed(b, rdb, c, Documented())}
	for len(books) < processes {
		books = append(books, open(b, rdb, c, Documented()))
	}
	for _, book := range books {
		book.size = func(t tenantry.TenantID) Size { // a third each of three sizes
			n := len(t) + int(t[len(t)-1])
			return []Size{{Users: 100, Licences: 200}, {Users: 2000, Licences: 3000}, {Users: 8000, Licences: 12000}}[n%3]
		}
	}
	type task struct {
		call Call
		left int
	}
	tasks, begun := make([]task, processes*slots), 0
	swept := c.now()
	for b.Loop() {
		for i := range tasks {
			t := &tasks[i]
			if t.left == 0 {
				tenant := tenantry.TenantID(fmt.Sprint("t", begun%50))
				t.call = Call{Tenant: tenant, Service: tenantry.SharePoint}
				if begun/50%2 == 0 {
					t.call = Call{Tenant: tenant, Service: tenantry.Outlook, Mailbox: fmt.Sprint("m", begun)}
				}
				t.left = requests
				begun++
			}
			if p, _, err := books[i/slots].try(context.Background(), books[i/slots].draft(t.call)); err != nil {
				b.Fatal(err)
			} else if p != nil {
				t.left--
				p.Release()
			}
		}
		c.pass(50 * time.Millisecond)
		if c.now().Sub(swept) >= sweepEvery {
			swept = c.now()
			for _, book := range books {
				book.sweep(whatIsIdle)
			}
		}
	}
	var calls, scripts uint64
	for _, book := range books {
		n, m := book.Traffic()
		calls, scripts = calls+n, scripts+m
	}
	b.ReportMetric(float64(calls)/float64(max(scripts, 1)), "calls/script")
}
