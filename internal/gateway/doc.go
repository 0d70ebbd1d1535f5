// Package gateway owns the one door through which workers outside of the provider's network do their work: what they are
// asked, what they get, and that it concerns their pool's tenants alone. Its server is part of the api process, under
// /gateway/; its client is what such a worker has in the place of Postgres, Redis, the bucket and the keys.
//
//	worker outside                         api process                              provider's network
//	catalog.OpenConfined ── tunnel ──────▶ worker's credential ── bytes ──────────▶ Postgres: a role of its own, row-level security
//	asynq, account book ─── tunnel ──────▶ worker's credential ── bytes ──────────▶ Redis: a user of its own, keys of its tenants
//	Store ───────────────── PUT, GET ────▶ key under a tenant of its pool? ───────▶ bucket of the pool's data region
//	Keyring ─────────────── unwrap ──────▶ a tenant of its pool? ─────────────────▶ that region's key file or KMS
//	graph.Giver ─────────── token ───────▶ a tenant of its pool? ─────────────────▶ Microsoft: the tenant's directory alone
//
// The outside world reaches HTTPS and nothing else. The bucket's credentials, the wrapping keys and the provider's credential at
// Microsoft stay where they are; what a worker gets is data keys and access tokens of its tenants, one at a time, and what is sealed. A token is good
// for one tenant's directory and as long as that says (60 to 90 minutes), which no revocation shortens. It is for the directory that the
// tenant's row was made with, which no worker can change. A pool works for one data region, and has that region's tenants
// alone (package catalog); a region whose bucket is away harms its own workers, whose requests share neither memory nor waits with others.
//
// Life of a worker. Its secret is made on its machine and written there before anything is sent; here its SHA-256 is kept.
//
//	(nothing) ──secret written──▶ pending ──Enrol: one-time token and hash──▶ enrolled ──revoked here──▶ refused
//	              ▲ a machine that missed the answer asks again with the same token and secret, for an hour
//
//	enrolled ──Open──▶ session: fresh passwords at Postgres and Redis, those before are void
//
// One process per enrolment: a second one would take the first one's passwords away. The secret is replaced every 30 days: the next one is
// written beside it, offered, and used; its first use makes it the only one. Interrupted anywhere, one of the two is good.
//
// A revocation shows in the database with the next statement (confined_tenants), at the door within accessAge, in Redis and
// in open tunnels at once, through other api processes within watchEvery; leases of its processes end with it, so that what they ran is
// ready for others.
package gateway

import "time"

// Path is where the server is mounted.
const Path = "/gateway/v1/"

// ObjectMax is how many bytes an object may have that passes: what the memory of a program has to have room for beside
// Config.Room.
const ObjectMax = 128 << 20

const (
	// accessAge is how long a worker's credential and its pool's tenants are believed without asking SQL.
	accessAge = time.Second
	// accessesMax bounds how many are remembered.
	accessesMax = 1000
	// watchEvery is how often tunnels and the accounts at Redis are held against the catalog.
	watchEvery = 2 * time.Second
	// tunnelsMax bounds the open tunnels of one worker through one process.
	tunnelsMax = 256
	// objectMax bounds one object in bytes: the largest that a repository writes, a manifest, has 64 MiB at most.
	objectMax = ObjectMax
	// objectTime bounds a request about objects, shortTime any other one.
	objectTime, shortTime = 10 * time.Minute, 30 * time.Second
	// smallBody bounds every body but an object's, in bytes.
	smallBody = 64 << 10
	// upgradeTo is the protocol of tunnels: bytes.
	upgradeTo = "tenantry-tunnel"
	// rotateAfter is how old a worker's secret becomes.
	rotateAfter = 30 * 24 * time.Hour
)

// codeObject tells an object that is not there from anything else that is not.
const codeObject = "object_not_found"

// enrolRequest uses a token.
type enrolRequest struct {
	Token string `json:"token"`
	Pool  string `json:"pool,omitempty"` // that the worker shall join; "": the token's
	Name  string `json:"name"`           // of the machine
	Hash  string `json:"hash"`           // SHA-256 of the worker's secret, in hex
}

// enrolAnswer is who the worker is from now on.
type enrolAnswer struct {
	Worker string `json:"worker"`
	Pool   string `json:"pool"`
}

// rotateRequest offers the next secret.
type rotateRequest struct {
	Hash string `json:"hash"`
}

// sessionRequest begins to work.
type sessionRequest struct {
	Version string `json:"version"`
}

// Welcome is what every worker outside is told of the fleet.
type Welcome struct {
	Cloud          // the fleet's own
	Others []Cloud `json:"others,omitempty"` // the further clouds in which the fleet has an application
	Limits []byte  `json:"limits,omitempty"` // the file of Graph's limits, if the fleet has one
}

// Cloud is one of Microsoft's, as workers outside reach it: with applications of its tenants' own, or with tokens of the
// fleet's there, whose account book it is in either case.
type Cloud struct {
	ClientID string `json:"client_id"` // by which the account book is known
	Name     string `json:"cloud"`
	GraphURL string `json:"graph_url,omitempty"` // instead of the cloud's
	LoginURL string `json:"login_url,omitempty"` // likewise
}

// Session is what a worker works with until it begins another one.
type Session struct {
	Welcome
	Pool     string  `json:"pool"`
	Region   string  `json:"region"` // the pool's data region
	Catalog  Account `json:"catalog"`
	Redis    Account `json:"redis"`
	Locks    *Locks  `json:"locks,omitempty"` // absent: the store locks nothing
	Rotated  int64   `json:"rotated"`         // when the worker's secret was new, Unix seconds
	Lifetime int64   `json:"lifetime"`        // of secrets, in seconds
}

// Account is an account at Postgres or Redis, which is reached through a tunnel.
type Account struct {
	User     string `json:"user"`
	Password string `json:"password"`
	Database string `json:"database"`
	TLS      bool   `json:"tls,omitempty"` // the server wants TLS inside of the tunnel
}

// Locks say by what the store locks objects.
type Locks struct {
	Mode string        `json:"mode"`
	For  time.Duration `json:"for"`
}

// wrapRequest and wrapAnswer are about a key of a tenant.
type wrapRequest struct {
	Tenant string `json:"tenant"`
	KeyID  string `json:"key_id,omitempty"`
	Key    []byte `json:"key"` // plain to be wrapped, or wrapped
}

type wrapAnswer struct {
	KeyID string `json:"key_id,omitempty"`
	Key   []byte `json:"key"`
}

// objectInfo describes an object; the last line of a listing is one with End, or with what went wrong.
type objectInfo struct {
	Key      string   `json:"key,omitempty"`
	Size     int64    `json:"size,omitempty"`
	Modified int64    `json:"modified,omitempty"` // Unix nanoseconds
	End      bool     `json:"end,omitempty"`
	Failure  *failure `json:"failure,omitempty"`
}

// failure is an error as the door tells it, in the words of the API (RFC 9457) as far as they go.
type failure struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Kind   string `json:"kind"`
	Code   string `json:"code,omitempty"`
}
