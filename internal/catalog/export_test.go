package catalog

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// What tests outside of the package look into.

// Settled is a policy as it is stored.
func Settled(p Policy) Policy { return p.settled() }

// CycleOf names the run that a start belongs to.
func CycleOf(p Policy, due time.Time) int64 { return cycleOf(p, due) }

// FlushTally writes to the ledger what is still to be written.
func FlushTally(ctx context.Context, c *Catalog) error { return c.tally.flush(ctx) }

// AddWaits adds what a task waited for to what is still to be written, as if it had been settled.
func AddWaits(c *Catalog, of Claim, d tenantry.Delays, now time.Time) {
	c.tally.add([]*settleAsk{{claim: of, Settlement: Settlement{Delays: d}, now: now}})
}

// DrawReferences has references drawn from a list, the last of which comes again and again.
func DrawReferences(c *Catalog, list ...tenantry.Reference) {
	c.drawReference = func() tenantry.Reference {
		next := list[0]
		if len(list) > 1 {
			list = list[1:]
		}
		return next
	}
}
