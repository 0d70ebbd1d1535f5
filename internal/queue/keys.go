package queue

// What this package reads of asynq 0.26's layout in Redis (its internal/base).
// TestKeysAreAsynqs holds it against asynq's own inspector.

// queuesKey is the set of queue names that asynqmon lists.
const queuesKey = "asynq:queues"

func prefix(queue string) string { return "asynq:{" + queue + "}:" }

// taskKey is the hash of one task: msg, state, result.
func taskKey(queue, id string) string { return prefix(queue) + "t:" + id }

// pendingKey is the list of IDs that wait.
func pendingKey(queue string) string { return prefix(queue) + "pending" }

// leaseKey is the sorted set of active IDs by lease expiry, in Unix seconds.
func leaseKey(queue string) string { return prefix(queue) + "lease" }

// pausedKey exists while the queue is paused.
func pausedKey(queue string) string { return prefix(queue) + "paused" }
