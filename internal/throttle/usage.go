package throttle

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Account is how one account stands, for people.
type Account struct {
	Name  string // "sharepoint/day", "identity/10s", ...
	Limit int64  // requests or resource units in the account's window; 0 for a mailbox that cools
	// Left is what a ring has left in its window. Of a bucket, which refills all the
	// time, it is how full it is, as a share of Limit.
	Left         int64
	CoolingUntil time.Time // zero: not cooling
	// Share is the share of the documented rate that is in use, from 0 to 1: below 1,
	// throttled answers or headers said at SlowedAt that the limit is lower than
	// documented, or that others draw on it. It grows back slowly. Rings have no rate: 1.
	Share    float64
	SlowedAt time.Time // zero: not slowed since the account was last idle
}

// Usage is what one tenant has used and has left, per account, followed by its
// mailboxes that cool ("outlook/mailbox/<object ID>"). Shared if Redis is down.
func (b *Book) Usage(ctx context.Context, t tenantry.TenantID) ([]Account, error) {
	const op = "read the account book"
	now, resumed, err := b.state(ctx)
	if err != nil {
		return nil, err
	}
	list := b.tenantAccounts(t)
	read := make([]*redis.MapStringStringCmd, len(list))
	var cool *redis.ZSliceCmd
	var mark *redis.StringCmd
	if _, err = b.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, a := range list {
			read[i] = p.HGetAll(ctx, b.key(accountKey(a.key)))
		}
		cool = p.ZRangeByScoreWithScores(ctx, b.key("cool"), &redis.ZRangeBy{Min: "(" + strconv.FormatInt(now, 10), Max: "+inf"})
		mark = p.HGet(ctx, b.key("book"), "born")
		return nil
	}); err != nil && !errors.Is(err, redis.Nil) {
		return nil, redisError(op, err)
	}
	born := now
	if n, err := strconv.ParseInt(mark.Val(), 10, 64); err == nil {
		born = n
	}
	until := coolingOf(t, cool.Val())
	accounts := make([]Account, 0, len(list))
	for i, a := range list {
		h := read[i].Val()
		service, _, _ := strings.Cut(a.Name, "/")
		if service == string(tenantry.Teams) && len(h) == 0 {
			continue // of its many kinds, those in use
		}
		share, at := a.share(h, now)
		accounts = append(accounts, Account{
			Name: a.Name, Limit: a.Limit, Left: a.left(h, now, born, resumed, share),
			CoolingUntil: until[service], Share: share, SlowedAt: at,
		})
	}
	whole := len(accounts)
	for name, at := range until {
		if strings.Contains(name, "/") {
			accounts = append(accounts, Account{Name: name, CoolingUntil: at, Share: 1})
		}
	}
	slices.SortStableFunc(accounts[whole:], func(x, y Account) int { return strings.Compare(x.Name, y.Name) })
	return accounts, nil
}

// tenantAccounts lists the accounts of a tenant that are not a mailbox's.
func (b *Book) tenantAccounts(t tenantry.TenantID) []account {
	size := b.size(t)
	var list []account
	calls := []Call{
		{Tenant: t, Service: tenantry.Identity, Write: true}, {Tenant: t, Service: tenantry.SharePoint, UploadBytes: 1, DownloadBytes: 1},
	}
	for _, kind := range slices.Sorted(maps.Keys(b.limits.Teams.Kinds)) {
		calls = append(calls, Call{Tenant: t, Service: tenantry.Teams, Kind: kind})
	}
	for _, c := range calls {
		for _, a := range b.limits.accounts(c, size) {
			if !strings.HasPrefix(a.Name, "app/") {
				list = append(list, a)
			}
		}
	}
	return list
}

// left is what an account has left, from its hash in Redis (as take.lua reads it).
func (a account) left(h map[string]string, now, born int64, resumed bool, share float64) int64 {
	if a.Ring {
		if now-born < a.Window && !resumed {
			return 0
		}
		left := a.Limit
		for slot, text := range h {
			k, _ := strconv.ParseInt(slot, 10, 64)
			if n, _ := strconv.ParseInt(text, 10, 64); k >= now/a.Slot-a.Slots {
				left -= n
			}
		}
		return max(0, left)
	}
	level, err := strconv.ParseFloat(h["level"], 64)
	since, _ := strconv.ParseInt(h["at"], 10, 64)
	if err != nil {
		level, since = 0, born
	}
	level = min(a.Cap, level+float64(max(0, now-since))*a.Rate*share)
	return int64(max(0, level) / a.Cap * float64(a.Limit))
}

// share is an account's pace as common.lua has it, and when it last fell.
func (a account) share(h map[string]string, now int64) (share float64, at time.Time) {
	number := func(field string) float64 { n, _ := strconv.ParseFloat(h[field], 64); return n }
	share = 1
	if fell := number("fell"); fell > 0 {
		share, at = min(1, number("share")+max(0, float64(now)-fell)*a.Grow), time.UnixMilli(int64(fell))
	}
	if till := number("till"); till > float64(now) {
		share = min(share, number("brake"))
		if at.IsZero() {
			at = time.UnixMilli(now)
		}
	}
	return share, at
}

// coolingOf picks a tenant's cooldowns: by service, and by "outlook/mailbox/<id>".
func coolingOf(t tenantry.TenantID, cool []redis.Z) map[string]time.Time {
	until := map[string]time.Time{}
	latest := func(name string, at time.Time) {
		if at.After(until[name]) {
			until[name] = at
		}
	}
	for _, z := range cool {
		scope, _ := z.Member.(string)
		at := time.UnixMilli(int64(z.Score))
		kind, tail, _ := strings.Cut(scope, "/")
		owner, rest, _ := strings.Cut(tail, "/")
		switch {
		case kind == "app":
			latest(owner, at) // "app/identity": owner is the service
		case owner != string(t):
		case kind == "mailbox":
			latest("outlook/mailbox/"+rest, at)
		default:
			latest(strings.TrimSuffix(rest, writeSuffix), at)
		}
	}
	return until
}
