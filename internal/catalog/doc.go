// Package catalog owns what to do and what happened, in SQL: tenants, resources,
// policies, runs, tasks, series, leases, tokens, audit. One set of queries runs on
// SQLite (embedded, several processes may share the file) and Postgres (the fleet).
//
// Scope: [Catalog.Tenant] returns a handle whose every statement carries the tenant
// in its WHERE; [Catalog.Fleet] serves the leader, the reaper and the operator.
// Times are stored as integer microseconds UTC. What a caller decides carries the
// caller's now; what processes compete for (leases, leadership) goes by the
// database's clock, which is one for all of them.
//
// State machine of a task:
//
//	ready -> admitted      leader, raises admission
//	admitted -> admitted   leader: the delivery was lost or settled in asynq; next admission
//	admitted -> running    worker's claim, guarded by (id, admission, state)
//	admitted -> ready      the claim met a series with another owner
//	running -> ready       more to do; parked until not_before with a reason; retry; its process died
//	running -> done | failed
//	ready | admitted -> canceled
//	running -> running, marked   somebody cancels it: its worker is told by CanceledTasks
//	running, marked -> canceled | done | failed   where it would have gone back to ready, it ends
//
// Unfinished tasks stand in the table tasks, which is small, hot and has the indexes
// the leader needs. Ended ones move to ended_tasks, which nobody updates: partitioned
// by day on Postgres and dropped by partition, deleted by range on SQLite. Readers see
// both as one.
//
// State machine of a series (one row, the unit of exclusion):
//
//	free -> owned    Claim of a task that writes it; the epoch rises
//	owned -> owned   RaiseEpoch, when the bucket's head carries a higher epoch
//	owned -> free    Settle, Reap, Leave
//
// Beside its owner the row names the series' one unfinished backup, from the moment that
// is inserted until it ends: this is what makes starting a backup idempotent.
//
// State machine of a policy:
//
//	(none) -> draft      AddPolicy: protects nobody, but whom it is activated for by name
//	(none) -> active     AddPolicy, activated at once
//	draft -> active      ActivatePolicy: takes in whom it covers
//	active -> paused     PausePolicy: holds whom it has, starts nothing, takes in nobody
//	paused -> active     ActivatePolicy
//	any -> deleted       DeletePolicy: only its name is left, for the history of runs
//
// A policy covers the resources that it reaches (named, in a group that is named, or of a
// kind) and does not exclude. It protects those of them that it has taken in (policy_members):
// with the sync that finds them, at a local time of day, or once, as it says. Of several
// policies one protects each workload: the nearest reach, then the oldest, then the lowest ID
// (comparePrecedence). Whoever needs a seat and gets none is not protected, and its standing
// says so. All of that follows from rows by pure rules (judge), and is written down in the
// transaction of whatever changes those rows, under one lock for each tenant.
//
// Locks on Postgres are taken in one order, so that transactions wait rather than
// deadlock: leader, process, protections, tasks, series, runs, tenants, paces, ledger. What
// deadlocks all the same is run again.
package catalog
