// Package graph is the only user of the Graph SDK. It owns how the fleet speaks
// to Microsoft 365: clouds, tokens, requests and their cost, paging, delta,
// download, upload, and the kinds of error. What is backed up passes through as
// the bytes Graph sent; only the directory and small facts are typed.
//
// The SDK builds requests and parses typed answers. It never sends one: every
// request, typed or raw, goes one way, with one retry policy (see [Tenant]).
//
//	           limiter.Acquire          HTTP              permit.Done
//	request ────────────────▶ permit ────────▶ answer ─────────────────┐
//	   ▲             │                                                 │
//	   │             └─▶ Throttled, Shared: to the caller at once      │
//	   │                                                               │
//	   ├── 401, the first time: token dropped, asked once more ◀───────┤
//	   ├── 429, 503, 509: waits up to 5 s in place ◀───────────────────┤
//	   ├── 500, 502, 504, cut connection: backoff, 5 tries ◀───────────┤
//	   │                                                               │
//	   └── everything else: an error of its kind ◀─────────────────────┤
//	                                                                   │
//	       permit.Release ◀── body consumed or closed ◀── 2xx, 302 ◀───┘
//
// A permit is held until the body is done, because Exchange counts a request
// that is still being read. A request whose permit is lost (the book could not
// renew it, see package throttle) is cut at once, which is Transient. Nothing waits
// longer than 5 s in place: what needs longer goes back to the caller as Throttled
// with its time, or as Transient.
//
// The bearer token goes to the Graph host of the cloud and nowhere else:
// redirects are never followed by the HTTP client, links of foreign hosts are
// refused, and pre-authenticated addresses (downloads, uploads), which are
// credentials themselves, are asked without it, only on content hosts of the
// cloud, and never shown in an error.
package graph
