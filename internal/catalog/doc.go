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
// Locks on Postgres are taken in one order, so that transactions wait rather than
// deadlock: leader, process, protections, tasks, series, runs, tenants, paces, ledger. What
// deadlocks all the same is run again.
package catalog
