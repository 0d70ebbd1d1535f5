// Package scheduler owns what is due, who goes next, and the leader that acts on it.
//
// Every scheduler process campaigns for one lease in SQL; the one that holds it leads:
//
//	standby --lease free--> leading --renewed every third of the lease--> leading
//	leading --lease lost, or not renewed in time--> standby
//
// A leader acts under the fence of its lease. It cancels everything under way before
// the lease can have passed to another, and SQL refuses the writes of an old fence, so
// a leader that slept acts no more.
//
// One tick: policies whose time of day has come take in newcomers, tenants whose directory is due get a sync run, protections whose time has
// come get tasks (each moved to its next time in the same transaction), and Pick
// chooses which ready tasks are admitted and enqueued: fair over tenants, and none of a
// flow (a tenant's requests to one service) that Microsoft has told to wait. Beside the ticks the leader
// reaps processes whose lease ended, and offers admitted tasks that nobody claimed to
// Redis again, so that a Redis that lost everything loses no task.
//
// A shared cause (our credential, the bucket, Redis, Microsoft) stands as an alarm in
// SQL and stops admission:
//
//	closed --worker or leader raises an alarm--> open (nothing is admitted)
//	open --until has passed--> probing (one task is admitted)
//	probing --alarm raised again--> open
//	probing --the probe ended, or ran a minute, without it--> closed (alarm resumed)
//
// Where tenants are in several regions or clouds, each has such a state of its own: a bucket, or its keys, stops the
// tenants of its region, an application or Graph those of its cloud ("bucket@REGION", "credential@CLOUD"; without
// a name the default region, the fleet's own cloud). Redis and SQL stop everybody.
//
// What the leader decides is pure (Pick, Demand); what it does is SQL and Redis only.
// It never talks to Microsoft and needs no credential.
package scheduler
