package catalog

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// enrolmentsOpen bounds how many tokens of one pool wait to be used.
	enrolmentsOpen = 100
	// enrolmentsKept is how long a token that is over stays in the list.
	enrolmentsKept = 90 * 24 * time.Hour
	// enrolAgain is for how long the machine that used a token may ask again, because it missed the answer.
	enrolAgain = time.Hour
	// loginPrefix begins the names of enrolled workers in Postgres and Redis; migration 00040 knows it, too.
	loginPrefix = "tenantry_w_"
)

// Enrolment is a one-time token by which a worker outside of the provider's network joins a pool; the token itself is
// known to its holder alone.
//
//	open --EnrolWorker--> used, by one worker
//	open --its time is over--> expired
//	open --RevokeEnrolment--> revoked
type Enrolment struct {
	ID        string
	Pool      string
	MadeBy    string // name of a token of the API
	MadeAt    time.Time
	ExpiresAt time.Time
	UsedAt    time.Time // zero: not yet
	UsedBy    string    // the machine, as it named itself
	Worker    string    // ID of the worker that it made
	RevokedAt time.Time // zero: never
}

// RemoteWorker is a worker that joined by an enrolment.
type RemoteWorker struct {
	ID         string
	Pool       string
	Name       string // the machine, as it named itself
	Login      string // its role in Postgres and its user in Redis
	Hash       string // of its credential
	NextHash   string // of the credential that follows when it is used first; "" is none
	RedisHash  string // SHA-256 of its password in Redis, in hex; "" before its first session
	Version    string // of its program, when it was seen last
	EnrolledAt time.Time
	RotatedAt  time.Time // when its credential was new
	SeenAt     time.Time // when its last session began
	RevokedAt  time.Time // zero: never
	RevokedBy  string
	Live       bool // it has a process whose lease is in force
}

type enrolmentRow struct {
	ID        string
	Pool      string
	MadeBy    string
	MadeAt    int64
	ExpiresAt int64
	UsedAt    int64
	UsedBy    string
	Worker    string
	RevokedAt int64
}

const enrolmentColumns = "id, pool, made_by, made_at, expires_at, used_at, used_by, worker, revoked_at"

func (r enrolmentRow) enrolment() Enrolment {
	return Enrolment{
		ID: r.ID, Pool: r.Pool, MadeBy: r.MadeBy, MadeAt: fromMicros(r.MadeAt), ExpiresAt: fromMicros(r.ExpiresAt),
		UsedAt: fromMicros(r.UsedAt), UsedBy: r.UsedBy, Worker: r.Worker, RevokedAt: fromMicros(r.RevokedAt),
	}
}

type workerRow struct {
	ID         string
	Pool       string
	Name       string
	Login      string
	Hash       string
	NextHash   string
	RedisHash  string
	Version    string
	EnrolledAt int64
	RotatedAt  int64
	SeenAt     int64
	RevokedAt  int64
	RevokedBy  string
	Live       bool
}

// workerColumns are those of workers w; the argument ?0 of their statement is the database's clock.
const workerColumns = `w.id, w.pool, w.name, w.login, w.hash, w.next_hash, w.redis_hash, w.version, w.enrolled_at, w.rotated_at, w.seen_at,
	w.revoked_at, w.revoked_by, EXISTS (SELECT 1 FROM processes p WHERE p.worker = w.id AND p.expires_at > ?0) AS live`

func (r workerRow) worker() RemoteWorker {
	return RemoteWorker{
		ID: r.ID, Pool: r.Pool, Name: r.Name, Login: r.Login, Hash: r.Hash, NextHash: r.NextHash, RedisHash: r.RedisHash, Version: r.Version,
		EnrolledAt: fromMicros(r.EnrolledAt), RotatedAt: fromMicros(r.RotatedAt), SeenAt: fromMicros(r.SeenAt),
		RevokedAt: fromMicros(r.RevokedAt), RevokedBy: r.RevokedBy, Live: r.Live,
	}
}

// AddEnrolment stores a token by its hash. NotFound: there is no such pool. Conflict: a hundred tokens of the pool wait
// already.
func (f *Fleet) AddEnrolment(ctx context.Context, e Enrolment, hash string) error {
	op := "add a token for pool " + e.Pool
	return f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		var pools []string
		if err := scan(ctx, tx, &pools, "SELECT name FROM pools WHERE name = ?", e.Pool); err != nil {
			return err
		}
		if len(pools) == 0 {
			return tenantry.Errorf(tenantry.NotFound, "%s: there is none", op)
		}
		if _, err := exec(ctx, tx, "DELETE FROM enrolments WHERE expires_at < ?", micros(e.MadeAt.Add(-enrolmentsKept))); err != nil {
			return err
		}
		var open []int64
		err := scan(ctx, tx, &open, "SELECT count(*) FROM enrolments WHERE pool = ? AND used_at = 0 AND revoked_at = 0 AND expires_at > ?", e.Pool, micros(e.MadeAt))
		if err != nil {
			return err
		}
		if open[0] >= enrolmentsOpen {
			return tenantry.Errorf(tenantry.Conflict, "%s: %d wait to be used: revoke some", op, open[0])
		}
		_, err = exec(ctx, tx, `INSERT INTO enrolments (hash, id, pool, made_by, made_at, expires_at, used_at, used_by) VALUES (?, ?, ?, ?, ?, ?, 0, '')`,
			hash, e.ID, e.Pool, e.MadeBy, micros(e.MadeAt), micros(e.ExpiresAt))
		return err
	})
}

// Enrolments lists the tokens of a pool, the newest first, those that are over for 90 days too: a thousand at most.
func (f *Fleet) Enrolments(ctx context.Context, pool string) ([]Enrolment, error) {
	var found []enrolmentRow
	err := f.c.read(ctx, "list the tokens of pool "+pool, &found,
		"SELECT "+enrolmentColumns+" FROM enrolments WHERE pool = ? AND id <> '' ORDER BY made_at DESC, id LIMIT 1000", pool)
	out := make([]Enrolment, len(found))
	for i, row := range found {
		out[i] = row.enrolment()
	}
	return out, err
}

// RevokeEnrolment makes a token of a pool worthless; done again, it changes nothing. NotFound. Conflict: it was used, and
// it is the worker that has to be revoked.
func (f *Fleet) RevokeEnrolment(ctx context.Context, pool, id string, now time.Time) error {
	op := "revoke token " + id + " of pool " + pool
	return f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		var found []enrolmentRow
		err := scan(ctx, tx, &found, "SELECT "+enrolmentColumns+" FROM enrolments WHERE pool = ? AND id = ? AND id <> '' ?", pool, id, f.c.lock("FOR UPDATE"))
		switch {
		case err != nil:
			return err
		case len(found) == 0:
			return tenantry.Errorf(tenantry.NotFound, "%s: it is not known", op)
		case found[0].UsedAt != 0:
			return tenantry.Errorf(tenantry.Conflict, "%s: worker %s joined by it: revoke that", op, found[0].Worker)
		}
		_, err = exec(ctx, tx, "UPDATE enrolments SET revoked_at = ? WHERE pool = ? AND id = ? AND revoked_at = 0", micros(now), pool, id)
		return err
	})
}

// NewWorkerID returns a fresh ID of an enrolled worker.
func NewWorkerID() string { return "w-" + string(tenantry.NewTenantID())[2:] }

// EnrolWorker uses a token: the worker that asks becomes one of the token's pool. w has the ID it shall get, its name, the hash of the
// credential that it made for itself, and perhaps a pool, which has to be the token's. The same machine with the same
// credential may ask again for an hour and gets the same answer, because it may have missed the first. Unauthorized, with a code
// (enrolment_unknown, _used, _expired, _revoked, _pool): the token is good for nothing.
func (f *Fleet) EnrolWorker(ctx context.Context, tokenHash string, w RemoteWorker, now time.Time) (joined RemoteWorker, err error) {
	err = f.c.write(ctx, "enrol a worker", func(ctx context.Context, tx bun.Tx) error {
		var found []enrolmentRow
		if err := scan(ctx, tx, &found, "SELECT "+enrolmentColumns+" FROM enrolments WHERE hash = ? AND id <> '' ?", tokenHash, f.c.lock("FOR UPDATE")); err != nil {
			return err
		}
		if len(found) == 0 {
			return refusedEnrolment("unknown", "there is no such token")
		}
		e := found[0].enrolment()
		switch {
		case !e.RevokedAt.IsZero():
			return refusedEnrolment("revoked", "the token was revoked")
		case w.Pool != "" && w.Pool != e.Pool:
			return refusedEnrolment("pool", "the token is for another pool")
		case !e.UsedAt.IsZero():
			joined, err = f.c.joinedBy(ctx, tx, e, w.Hash, now)
			return err
		case !now.Before(e.ExpiresAt):
			return refusedEnrolment("expired", "the token has expired")
		}
		joined = RemoteWorker{ID: w.ID, Pool: e.Pool, Name: w.Name, Login: loginPrefix + w.ID[2:], Hash: w.Hash, EnrolledAt: now, RotatedAt: now}
		_, err := exec(ctx, tx, `INSERT INTO workers (id, pool, name, login, hash, next_hash, redis_hash, enrolled_at, rotated_at, seen_at, version, revoked_at, revoked_by)
			VALUES (?0, ?1, ?2, ?3, ?4, '', '', ?5, ?5, 0, '', 0, '')`, joined.ID, joined.Pool, joined.Name, joined.Login, joined.Hash, micros(now))
		if err != nil {
			return err
		}
		_, err = exec(ctx, tx, "UPDATE enrolments SET used_at = ?, used_by = ?, worker = ? WHERE hash = ?", micros(now), w.Name, w.ID, tokenHash)
		return err
	})
	return joined, err
}

// joinedBy returns the worker that used a token, to itself alone.
func (c *Catalog) joinedBy(ctx context.Context, tx bun.Tx, e Enrolment, hash string, now time.Time) (RemoteWorker, error) {
	var found []workerRow
	err := scan(ctx, tx, &found, "SELECT "+workerColumns+" FROM workers w WHERE id = ?1 AND hash = ?2 AND revoked_at = 0", c.now(), e.Worker, hash)
	if err != nil {
		return RemoteWorker{}, err
	}
	if len(found) == 0 || now.After(e.UsedAt.Add(enrolAgain)) {
		return RemoteWorker{}, refusedEnrolment("used", "the token was used already")
	}
	return found[0].worker(), nil
}

func refusedEnrolment(code, text string) error {
	return coded("enrolment_"+code, tenantry.Errorf(tenantry.Unauthorized, "enrol a worker: %s", text))
}

// RemoteWorker returns an enrolled worker, a revoked one too. NotFound.
func (f *Fleet) RemoteWorker(ctx context.Context, id string) (RemoteWorker, error) {
	op := "read worker " + id
	var found []workerRow
	if err := f.c.read(ctx, op, &found, "SELECT "+workerColumns+" FROM workers w WHERE id = ?1", f.c.now(), id); err != nil {
		return RemoteWorker{}, err
	}
	if len(found) == 0 {
		return RemoteWorker{}, tenantry.Errorf(tenantry.NotFound, "%s: it is not known", op)
	}
	return found[0].worker(), nil
}

// RemoteWorkers lists the enrolled workers, the newest first, revoked ones too: a thousand at most.
func (f *Fleet) RemoteWorkers(ctx context.Context) ([]RemoteWorker, error) {
	var found []workerRow
	err := f.c.read(ctx, "list enrolled workers", &found, "SELECT "+workerColumns+" FROM workers w ORDER BY enrolled_at DESC, id LIMIT 1000", f.c.now())
	out := make([]RemoteWorker, len(found))
	for i, row := range found {
		out[i] = row.worker()
	}
	return out, err
}

// PoolTenants lists the tenants that belong to a pool, by ID.
func (f *Fleet) PoolTenants(ctx context.Context, pool string) ([]tenantry.TenantID, error) {
	var found []tenantry.TenantID
	err := f.c.read(ctx, "list the tenants of pool "+pool, &found, "SELECT id FROM tenants WHERE pool = ? ORDER BY id", pool)
	return found, err
}

// OutsideWorkers counts the enrolled workers of a pool that were not revoked, whether they run or not.
func (f *Fleet) OutsideWorkers(ctx context.Context, pool string) (int64, error) {
	var found []int64
	err := f.c.read(ctx, "count the enrolled workers of pool "+pool, &found, "SELECT count(*) FROM workers WHERE pool = ? AND revoked_at = 0", pool)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	return found[0], nil
}

// PoolClouds lists the clouds of a pool's tenants; "" is the fleet's own.
func (f *Fleet) PoolClouds(ctx context.Context, pool string) ([]string, error) {
	var found []string
	err := f.c.read(ctx, "list the clouds of pool "+pool, &found, "SELECT DISTINCT cloud FROM tenants WHERE pool = ? ORDER BY cloud", pool)
	return found, err
}

// BeginSession notes that an enrolled worker begins to work: its program's version and the hash of its new password in
// Redis. NotFound: it is not known, or revoked.
func (f *Fleet) BeginSession(ctx context.Context, id, version, redisHash string, now time.Time) error {
	op := "begin a session of worker " + id
	return f.c.one(ctx, op, tenantry.Errorf(tenantry.NotFound, "%s: it is not known", op),
		"UPDATE workers SET seen_at = ?, version = ?, redis_hash = ? WHERE id = ? AND revoked_at = 0", micros(now), version, redisHash, id)
}

// OfferCredential keeps the hash of a worker's next credential, in the place of one that was never used. NotFound as BeginSession.
func (f *Fleet) OfferCredential(ctx context.Context, id, next string) error {
	op := "take the next credential of worker " + id
	return f.c.one(ctx, op, tenantry.Errorf(tenantry.NotFound, "%s: it is not known", op),
		"UPDATE workers SET next_hash = ? WHERE id = ? AND revoked_at = 0", next, id)
}

// RotateWorker makes the next credential of a worker, which it has used for the first time, its only one.
func (f *Fleet) RotateWorker(ctx context.Context, id, next string, now time.Time) error {
	return f.c.one(ctx, "rotate the credential of worker "+id, nil,
		"UPDATE workers SET hash = next_hash, next_hash = '', rotated_at = ? WHERE id = ? AND next_hash = ? AND next_hash <> ''", micros(now), id, next)
}

// RevokeWorker takes everything from an enrolled worker: its credential, its view of the database, which is empty from its next
// statement on, and the leases of its processes, so that what they run is ready for others as soon as it is reaped. Done again,
// it changes nothing. NotFound.
func (f *Fleet) RevokeWorker(ctx context.Context, id, by string, now time.Time) error {
	op := "revoke worker " + id
	return f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		n, err := exec(ctx, tx, `UPDATE workers SET revoked_by = CASE WHEN revoked_at = 0 THEN ?0 ELSE revoked_by END,
			revoked_at = CASE WHEN revoked_at = 0 THEN ?1 ELSE revoked_at END WHERE id = ?2`, by, micros(now), id)
		if err == nil && n == 0 {
			err = tenantry.Errorf(tenantry.NotFound, "%s: it is not known", op)
		}
		if err != nil {
			return err
		}
		_, err = exec(ctx, tx, "UPDATE processes SET expires_at = 0 WHERE worker = ?", id)
		return err
	})
}

// coded gives an error the stable reason that machines go by.
func coded(code string, e *tenantry.Error) error {
	e.Code = code
	return e
}
