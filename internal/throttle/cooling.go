package throttle

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// coolingMost bounds what Cooling reads.
const coolingMost = 10_000

// Cooldown is a scope of Microsoft's limiters that answers nothing until a time.
type Cooldown struct {
	Tenant  tenantry.TenantID // "": all tenants of the application
	Service tenantry.Service  // NoService: all services
	Mailbox string            // object ID of the one mailbox that cools; "": the whole service
	Writes  bool              // only writes are refused
	Until   time.Time         // by this process's clock
}

// Cooling lists the scopes that cool now, in one round trip; of more than 10,000 those
// that cool longest. Shared if Redis is down. It takes nothing and needs no Resume: a
// process that only reads may call it as often as it likes.
func (b *Book) Cooling(ctx context.Context) ([]Cooldown, error) {
	var clock *redis.TimeCmd
	var scopes *redis.ZSliceCmd
	_, err := b.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		clock, scopes = p.Time(ctx), p.ZRevRangeWithScores(ctx, b.key("cool"), 0, coolingMost-1)
		return nil
	})
	if err != nil {
		return nil, redisError("read what cools", err)
	}
	now := b.redisNow()
	if now == 0 {
		now = clock.Val().UnixMilli()
	}
	var list []Cooldown
	for _, z := range scopes.Val() {
		left := time.Duration(int64(z.Score)-now) * time.Millisecond
		if left <= 0 {
			break // the rest are over, too
		}
		if c, ok := parseScope(z.Member); ok {
			c.Until = b.now().Add(left)
			list = append(list, c)
		}
	}
	return list, nil
}

// parseScope is the inverse of appScope, tenantScope and mailboxScope.
func parseScope(member any) (c Cooldown, ok bool) {
	scope, _ := member.(string)
	scope, c.Writes = strings.CutSuffix(scope, writeSuffix)
	kind, rest, _ := strings.Cut(scope, "/")
	switch kind {
	case "app":
		c.Service = tenantry.Service(rest)
		return c, true
	case "tenant", "mailbox":
	default:
		return c, false
	}
	tenant, tail, ok := strings.Cut(rest, "/")
	c.Tenant = tenantry.TenantID(tenant)
	if kind == "mailbox" {
		c.Service, c.Mailbox = tenantry.Outlook, tail
	} else {
		c.Service = tenantry.Service(tail)
	}
	return c, ok && tenant != "" && tail != ""
}
