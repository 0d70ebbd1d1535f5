// Package throttle owns the account book of Graph's budgets that the whole fleet
// shares in Redis: what a request costs, what is left, cooldowns, what headers teach.
//
// A request draws on several accounts at once (application, tenant, mailbox). One Lua
// script takes from all of them or from none, on Redis's clock; the keys of one
// application share a hash slot. Accounts have one of two shapes:
//
//   - A bucket is for short windows with many requests. With limit L in window W,
//     what stands in it plus what is lent out as blocks never exceeds a slack of 4 %
//     of L, and it refills at (L - slack) per W. Whatever is used in any stretch of
//     length W was therefore in it or lent out at the beginning (slack) or refilled
//     since (L - slack): at most L, in fixed windows and in sliding ones.
//   - A ring is for long windows and large amounts (24 hours, upload bytes). It counts
//     what was drawn in slots of W/48 and admits while the slots that touch the last W
//     hold less than L. It may be spent in one burst, and its history can be mirrored.
//
// Blocks. A process draws a little more than it needs and serves the next requests
// from that without asking Redis. A block lives a twentieth of its window, at most
// 5 s where others could use it (that of the application a fifth: every request draws on it),
// by the process's monotonic clock, counted from before the question was sent.
// What is neither used nor returned by then counts as spent. Block sizes follow use:
// doubled when used up, halved when they were used to less than a half. What is idle for a
// second is returned, sooner where the account gave less than was asked for. With its next
// question a process tells what it has used of them, so that more can be lent.
//
// Permits. Outlook allows four requests at once per mailbox. A permit is a member of
// a sorted set that expires by itself after a short life (15 s); a process renews all
// it holds with one script call every third of that, and keeps a free one for two seconds
// for the next request on the mailbox; who has a request under way and makes another asks
// for two. A permit that was not renewed for nine tenths
// of its life, by the process's monotonic clock and counted from before the question
// was sent, or that Redis no longer knows, is lost: its Context ends, and with it the
// request. One whose request should have ended (LongestRequest) is not renewed. What
// was given back or has expired is never added again by a renewal that comes late.
//
//	          take                   Release
//	absent ───────────▶ in use ◀──────────────▶ free ──idle 2 s──▶ absent
//	                      │  renewed: stays as it is │
//	                      └───────────┬──────────────┘
//	                              not renewed
//	                                  ▼
//	          lost: used no more ──life is over in Redis──▶ absent
//
// The permits of a killed process are free within one life. Its connections died with
// it, so that Microsoft ends what it asked for, but nobody here sees when: until then,
// a mailbox may count requests that no permit stands for.
//
// Cooldowns. A 429, 503 or 509 closes a scope (mailbox; service of a tenant; service
// of the application) until a time; the latest time wins. Each has a number from a
// sequence, and every script call tells the process which are new to it; a process
// that holds blocks calls at least once a second. So a block of a scope that cools
// is void at once in every process that asks Redis, and after one second in all.
//
// Several mailboxes of a tenant that are throttled within a short time cool the tenant's
// Outlook. And a throttle that the book did not foresee proves its numbers wrong: the
// rate of the bucket it met falls at once to a share of itself, for all, and recovers
// slowly. Headers of good answers slow it before it comes to that: to what is left
// until the limit resets (SharePoint), or by how near it is (identity). Usage shows it.
//
// A book that was lost (Redis came back empty) is noticed by its missing birth mark.
// Its buckets start at zero, not full. Its rings admit nothing for one window, because
// what they held may all have been recent; those of 24 hours are resumed from the
// mirror in SQL (Snapshot, Resume), and so are cooldowns and the paces of slowed accounts. Life of the book:
//
//	absent --first use--> born --Resume(mirror)--> resumed --Redis lost--> absent
//	absent or born --Resume(nil): a new installation, nothing was ever drawn--> resumed
//
// Restores keep a reserve: calls without Call.Reserve leave the last tenth of each
// balance untouched. In the 24 h account that tenth melts over the UTC day. Bulk calls
// that have to wait for a bucket wait for a block's worth, so that a fleet at its limit
// does not ask Redis for each request.
//
// What is not bounded: permits of requests in flight are forgotten with a lost book.
// Until the next renewal tells their holders, a mailbox can see more than four. So it
// can while a process is frozen (stopped, or its machine paused) with requests on open
// connections for longer than a permit lives: it ends them only when it wakes up.
package throttle
