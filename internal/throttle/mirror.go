package throttle

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// mirrorVersion is the format of the mirror. A reader refuses a later one.
const mirrorVersion = 1

// mirrorBatch is how many accounts one round trip reads or writes.
const mirrorBatch = 200

// mirrorPaces is how many slowed accounts are mirrored: of more, those that are slow for
// longest. The others find their pace by being throttled once more.
const mirrorPaces = 1000

// mirror is the document kept in SQL.
type mirror struct {
	Version int   `json:"version"`
	At      int64 `json:"at"` // Unix ms of Redis's clock
	// Days is what each 24 h account drew: tenant -> slot -> units.
	Days      map[tenantry.TenantID]map[string]int64 `json:"days"`
	Cooldowns map[string]int64                       `json:"cooldowns"` // scope -> Unix ms
	// Paces is what slowed each account: account key -> pacing. Readers of version 1 that
	// know nothing of it go without.
	Paces map[string]pacing `json:"paces,omitempty"`
}

// pacing is the part of a bucket's hash that slows it (see common.lua). Fell and Till are
// Unix ms; 0: no throttled answer, no header has slowed it.
type pacing struct {
	Share float64 `json:"share,omitempty"`
	Fell  int64   `json:"fell,omitempty"`
	Brake float64 `json:"brake,omitempty"`
	Till  int64   `json:"till,omitempty"`
}

// valid reports whether the book can have written it.
func (p pacing) valid() bool {
	slows := func(share float64, at int64) bool { return at == 0 || at > 0 && share > 0 && share <= 1 }
	return slows(p.Share, p.Fell) && slows(p.Brake, p.Till)
}

// Snapshot returns 24 h usage, cooldowns and paces as JSON for the SQL mirror; take one
// every 10 s in one process. Conflict with Code "book/lost" if the book was lost and
// not resumed: keep the last mirror and call Resume with it. Shared if Redis is down.
func (b *Book) Snapshot(ctx context.Context) ([]byte, error) {
	const op = "snapshot the account book"
	now, resumed, err := b.state(ctx)
	if err != nil {
		return nil, err
	}
	if !resumed {
		return nil, &tenantry.Error{Kind: tenantry.Conflict, Op: op + ": it was lost, resume it first", Code: bookLost}
	}
	m := mirror{Version: mirrorVersion, At: now, Days: map[tenantry.TenantID]map[string]int64{}, Cooldowns: map[string]int64{}}
	cooling, err := b.rdb.ZRangeByScoreWithScores(ctx, b.key("cool"), &redis.ZRangeBy{
		Min: "(" + strconv.FormatInt(now, 10), Max: "+inf",
	}).Result()
	if err != nil {
		return nil, redisError(op, err)
	}
	for _, z := range cooling {
		scope, _ := z.Member.(string)
		m.Cooldowns[scope] = int64(z.Score)
	}
	if err := b.readPaces(ctx, &m); err != nil {
		return nil, redisError(op, err)
	}
	keys, err := b.rdb.SMembers(ctx, b.key("days")).Result()
	if err != nil {
		return nil, redisError(op, err)
	}
	for len(keys) > 0 {
		n := min(len(keys), mirrorBatch)
		if err := b.readDays(ctx, keys[:n], &m); err != nil {
			return nil, redisError(op, err)
		}
		keys = keys[n:]
	}
	doc, err := json.Marshal(m)
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, op, err)
	}
	return doc, nil
}

// readDays adds the rings under keys to the mirror, and strikes out those that are gone.
func (b *Book) readDays(ctx context.Context, keys []string, m *mirror) error {
	read := make([]*redis.MapStringStringCmd, len(keys))
	if _, err := b.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			read[i] = p.HGetAll(ctx, key)
		}
		return nil
	}); err != nil {
		return err
	}
	var gone []any
	for i, key := range keys {
		tenant := tenantry.TenantID(strings.TrimPrefix(key, b.key(accountKey(dayPrefix))))
		ring := b.limits.dayRing(tenant, b.size(tenant), 1)
		slots := map[string]int64{}
		for slot, text := range read[i].Val() {
			k, _ := strconv.ParseInt(slot, 10, 64)
			if n, _ := strconv.ParseInt(text, 10, 64); n > 0 && k >= m.At/ring.Slot-ring.Slots {
				slots[slot] = n
			}
		}
		if len(slots) > 0 {
			m.Days[tenant] = slots
		} else if len(read[i].Val()) == 0 {
			gone = append(gone, key)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return b.rdb.SRem(ctx, b.key("days"), gone...).Err()
}

// readPaces adds the paces of slowed accounts to the mirror.
func (b *Book) readPaces(ctx context.Context, m *mirror) error {
	keys, err := b.rdb.ZRevRangeByScore(ctx, b.key("paces"), &redis.ZRangeBy{
		Min: "(" + strconv.FormatInt(m.At, 10), Max: "+inf", Count: mirrorPaces,
	}).Result()
	m.Paces = make(map[string]pacing, len(keys))
	for err == nil && len(keys) > 0 {
		batch := keys[:min(len(keys), mirrorBatch)]
		keys = keys[len(batch):]
		read := make([]*redis.SliceCmd, len(batch))
		_, err = b.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, key := range batch {
				read[i] = p.HMGet(ctx, key, "share", "fell", "brake", "till")
			}
			return nil
		})
		for i, key := range batch {
			if p := pacingOf(read[i].Val()); p != (pacing{}) {
				m.Paces[strings.TrimPrefix(key, b.key(accountKey("")))] = p
			}
		}
	}
	return err
}

// pacingOf reads share, fell, brake and till; what is absent is nil.
func pacingOf(fields []any) (p pacing) {
	numbers := [4]float64{}
	for i := range min(len(fields), len(numbers)) {
		text, _ := fields[i].(string)
		numbers[i], _ = strconv.ParseFloat(text, 64)
	}
	return pacing{Share: numbers[0], Fell: int64(numbers[1]), Brake: numbers[2], Till: int64(numbers[3])}
}

// resumeRequest is the document of resume.lua.
type resumeRequest struct {
	Now   int64        `json:"now,omitempty"`
	Fresh bool         `json:"fresh"`
	Days  []resumeDay  `json:"days"`
	Cool  []resumeCool `json:"cool"`
	Last  bool         `json:"last"`
	Slow  []pacing     `json:"slow"`
	Grow  float64      `json:"grow"`
	Paces int          `json:"paces"` // bounds the list of slowed accounts
}

type resumeDay struct {
	Slots map[string]int64 `json:"slots"`
	TTL   int64            `json:"ttl"`
}

type resumeCool struct {
	Scope string `json:"scope"`
	Until int64  `json:"until"`
}

// Resume carries the mirror into a book that was lost; a book that knows its past
// stays as it is, so every process may call it at its start, and again whenever
// Snapshot says Conflict. Until it is called, a new book admits nothing that a 24 h
// account or the upload account bounds (Code "book/lost"). An empty doc says that
// nothing was ever mirrored: a new installation, whose accounts are full.
//
// What was drawn after the mirror was written is unknown: each 24 h account is charged
// what its minute account can have given since. Invalid for a document that it cannot
// read, Shared if Redis is down.
func (b *Book) Resume(ctx context.Context, doc []byte) error {
	const op = "resume the account book"
	m := mirror{}
	if len(doc) > 0 {
		if err := json.Unmarshal(doc, &m); err != nil {
			return tenantry.E(tenantry.Invalid, op, err)
		}
		if m.Version != mirrorVersion {
			return tenantry.Errorf(tenantry.Invalid, "%s: mirror of version %d", op, m.Version)
		}
	}
	now, resumed, err := b.state(ctx)
	if err != nil || resumed {
		return err
	}
	req, keys := b.resumeRequest(len(doc) == 0, now), append(b.head(), b.key("days"), b.key("paces"))
	head := len(keys)
	for scope, until := range m.Cooldowns {
		req.Cool = append(req.Cool, resumeCool{scope, until})
	}
	for tenant, slots := range m.Days {
		if !readable(slots) {
			return tenantry.Errorf(tenantry.Invalid, "%s: mirror of tenant %s is damaged", op, tenant)
		}
		ring := b.chargeGap(tenant, slots, now, m.At)
		req.Days = append(req.Days, resumeDay{slots, ring.TTL})
		keys = append(keys, b.key(accountKey(ring.key)))
		if len(req.Days) == mirrorBatch {
			if err := b.resume(ctx, keys, req); err != nil {
				return err
			}
			req, keys = b.resumeRequest(false, now), keys[:head]
		}
	}
	for key, p := range m.Paces {
		if !p.valid() {
			return tenantry.Errorf(tenantry.Invalid, "%s: the mirrored pace of %s is damaged", op, key)
		}
		req.Slow = append(req.Slow, p)
		keys = append(keys, b.key(accountKey(key)))
		if len(req.Days)+len(req.Slow) == mirrorBatch {
			if err := b.resume(ctx, keys, req); err != nil {
				return err
			}
			req, keys = b.resumeRequest(false, now), keys[:head]
		}
	}
	req.Last = true
	return b.resume(ctx, keys, req)
}

// readable reports whether every slot is a number and counts something.
func readable(slots map[string]int64) bool {
	for slot, n := range slots {
		if _, err := strconv.ParseInt(slot, 10, 64); err != nil || n < 0 {
			return false
		}
	}
	return slots != nil
}

func (b *Book) resumeRequest(fresh bool, now int64) resumeRequest {
	r := resumeRequest{
		Fresh: fresh, Days: []resumeDay{}, Cool: []resumeCool{}, Slow: []pacing{},
		Grow: b.limits.grow(), Paces: mirrorPaces,
	}
	if b.redisNow() != 0 {
		r.Now = now
	}
	return r
}

// chargeGap adds what a tenant can have drawn since the mirror was written.
func (b *Book) chargeGap(t tenantry.TenantID, slots map[string]int64, now, at int64) account {
	size := b.size(t)
	ring, minute := b.limits.dayRing(t, size, 1), b.limits.SharePoint.tier(size).Minute
	gap := min(max(now-at, 0), ring.Window)
	windows := gap/time.Duration(minute.Window).Milliseconds() + 1
	slots[strconv.FormatInt(now/ring.Slot, 10)] += min(ring.Limit, minute.Amount*windows)
	return ring
}

func (b *Book) resume(ctx context.Context, keys []string, req resumeRequest) error {
	doc, err := json.Marshal(req)
	if err != nil {
		return tenantry.E(tenantry.Internal, "resume the account book", err)
	}
	if err := resumeScript.Run(ctx, b.rdb, keys, doc).Err(); err != nil {
		return redisError("resume the account book", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.purses {
		p.refused = refused{}
	}
	return nil
}

// state returns Redis's time in Unix ms, and whether the book knows its past.
func (b *Book) state(ctx context.Context) (now int64, resumed bool, err error) {
	var clock *redis.TimeCmd
	var mark *redis.StringCmd
	_, err = b.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		clock, mark = p.Time(ctx), p.HGet(ctx, b.key("book"), "resumed")
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, false, redisError("look at the account book", err)
	}
	if now = b.redisNow(); now == 0 {
		now = clock.Val().UnixMilli()
	}
	return now, mark.Val() != "", nil
}
