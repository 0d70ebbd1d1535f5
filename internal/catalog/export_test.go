package catalog

import "time"

// What tests outside of the package look into.

// Settled is a policy as it is stored.
func Settled(p Policy) Policy { return p.settled() }

// CycleOf names the run that a start belongs to.
func CycleOf(p Policy, due time.Time) int64 { return cycleOf(p, due) }
