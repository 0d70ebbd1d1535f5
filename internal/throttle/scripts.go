package throttle

import (
	"context"
	"crypto/rand"
	_ "embed" // the scripts
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/tenantry"
)

var (
	//go:embed common.lua
	commonLua string
	//go:embed take.lua
	takeLua string
	//go:embed settle.lua
	settleLua string
	//go:embed resume.lua
	resumeLua string
	//go:embed renew.lua
	renewLua string

	takeScript   = redis.NewScript(commonLua + takeLua)
	settleScript = redis.NewScript(commonLua + settleLua)
	resumeScript = redis.NewScript(commonLua + resumeLua)
	renewScript  = redis.NewScript(commonLua + renewLua)
)

// takeRequest is the document of take.lua.
type takeRequest struct {
	Now      int64          `json:"now,omitempty"`
	Seen     int64          `json:"seen"`
	Reserve  bool           `json:"reserve"`
	Scopes   []string       `json:"scopes"`
	Accounts []account      `json:"accounts"`
	Permit   *permitRequest `json:"permit,omitempty"`
}

type permitRequest struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Max  int    `json:"max"`
	TTL  int64  `json:"ttl"`
	Poll int64  `json:"poll"`
	// Spare is one more permit, if there is one, for the next call.
	Spare string   `json:"spare,omitempty"`
	Drop  []string `json:"drop,omitempty"`
}

// head lists the keys every script begins with.
func (b *Book) head() []string {
	return []string{b.key("book"), b.key("cool"), b.key("news")}
}

func (b *Book) key(name string) string { return b.prefix + name }

func accountKey(name string) string { return "a/" + name }

func permitsKey(mailbox string) string { return "permits/" + mailbox }

// run calls a script that answers with a list of so many parts.
func (b *Book) run(ctx context.Context, script *redis.Script, keys []string, req any, parts int) ([]any, error) {
	doc, err := json.Marshal(req)
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "ask the account book", err)
	}
	b.mu.Lock()
	b.scripts++
	b.mu.Unlock()
	reply, err := script.Run(ctx, b.rdb, keys, doc).Slice()
	if err != nil {
		return nil, redisError("ask the account book", err)
	}
	if len(reply) != parts {
		return nil, tenantry.Errorf(tenantry.Internal, "ask the account book: answer of %d parts, not %d", len(reply), parts)
	}
	return reply, nil
}

// redisError says that Redis did not answer, unless it was the caller who stopped waiting.
// Its code tells Redis from the other causes that all tenants share.
func redisError(op string, err error) error {
	if errors.Is(err, context.Canceled) {
		return tenantry.E(tenantry.Canceled, op, err)
	}
	return &tenantry.Error{Kind: tenantry.Shared, Op: op, Code: "redis", Err: fmt.Errorf("Redis: %w", err)}
}

// question is a request to take.lua with what it leaves out because it is held here.
type question struct {
	req    takeRequest
	keys   []string
	asked  []account // what Redis is asked for
	pieces map[string][]block
	permit *slot
	spare  *slot // asked for beside the permit
}

// ask draws what the call needs and blocks for the next ones. Called with its gate held.
func (b *Book) ask(ctx context.Context, d draft) (*Permit, refusal, error) {
	q := b.question(d)
	sent := b.now()
	reply, err := b.run(ctx, takeScript, q.keys, q.req, 6)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.takeBack(d, q, sent)
		return nil, refusal{}, err
	}
	b.hear(reply[1], reply[2], sent)
	if integer(reply[0]) == 0 {
		b.takeBack(d, q, sent)
		no := refusal{time.Duration(integer(reply[3])) * time.Millisecond, fmt.Sprint(reply[4])}
		b.remember(d, no, sent)
		return nil, no, nil
	}
	surplus, slots := list(reply[3]), list(reply[4])
	for i, a := range q.asked {
		b.purse(a).put(integer(surplus[i]), a.Want, integer(slots[i]), sent.Add(a.life), sent)
	}
	for _, a := range d.accounts {
		b.purse(a).spend(q.pieces[a.key])
	}
	if q.req.Permit != nil {
		b.hold(q.permit, sent.Add(b.usable()), b.now())
		q.permit.use(sent.Add(b.longest()))
	}
	if q.spare != nil && integer(reply[5]) == 1 {
		q.spare.freed = b.now()
		b.hold(q.spare, sent.Add(b.usable()), b.now())
	}
	b.acquired++
	return b.permit(d, q.permit), refusal{}, nil
}

// question takes what is held here for the call and asks for the rest: what other
// accounts it needs, with blocks, blocks for those that run low, and a permit.
func (b *Book) question(d draft) question {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	q := question{
		req: takeRequest{
			Now: b.redisNow(), Seen: b.seen, Reserve: d.call.Reserve, Scopes: d.scopes, Accounts: []account{},
		},
		keys: append(b.head(), b.key("days")), pieces: map[string][]block{},
	}
	for _, a := range d.accounts {
		p := b.purse(a)
		runsLow := p.want >= 2 && !p.has(a.Need+p.want/2, now)
		if runsLow || !p.has(a.Need, now) {
			a.Spent, a.Eager = p.report()
		}
		switch {
		case !p.has(a.Need, now):
			if a.Need <= a.max { // a large one would leave a small block that serves nobody
				a.Want = p.want
			}
		default:
			q.pieces[a.key] = p.take(a.Need, now)
			if !runsLow {
				continue
			}
			a.Need, a.Want = 0, p.want // Redis is asked anyway: fill up what would be next
		}
		q.asked, q.keys = append(q.asked, a), append(q.keys, b.key(accountKey(a.key)))
	}
	q.req.Accounts = append(q.req.Accounts, q.asked...)
	if d.mailbox != "" {
		b.askPermit(d, &q, now)
	}
	return q
}

// askPermit uses a free permit, or asks for one. Bulk that has a request on the mailbox
// under way already is about to make more at once, and asks for a second one.
func (b *Book) askPermit(d draft, q *question, now time.Time) {
	m, limits := b.mailbox(d.mailbox), b.limits.Outlook
	if q.permit = m.idle(d.call.Reserve, now.Add(b.renewEvery())); q.permit != nil {
		q.permit.use(now.Add(b.longest()))
		return
	}
	q.permit = &slot{id: rand.Text(), mailbox: d.mailbox, reserve: d.call.Reserve}
	q.keys = append(q.keys, b.key(permitsKey(d.mailbox)))
	q.req.Permit = &permitRequest{
		ID: q.permit.id, Name: outlookPermits, Max: limits.Concurrency,
		TTL:  b.permitLife().Milliseconds(),
		Poll: permitPoll.Milliseconds(), Drop: m.drop,
	}
	m.drop = nil
	if d.call.Reserve {
		return
	}
	q.req.Permit.Max -= limits.KeepFree
	if m.busy() {
		q.spare = &slot{id: rand.Text(), mailbox: d.mailbox}
		q.req.Permit.Spare = q.spare.id
	}
}

// takeBack undoes what a question took here. Called with mu held.
func (b *Book) takeBack(d draft, q question, now time.Time) {
	for _, a := range d.accounts {
		b.purse(a).putBack(q.pieces[a.key])
	}
	if q.permit != nil && q.req.Permit == nil {
		b.mailbox(d.mailbox).give(q.permit, now)
	}
}

// remember keeps a refusal with the account that caused it.
func (b *Book) remember(d draft, no refusal, now time.Time) {
	for _, a := range d.accounts {
		if a.Name == no.code || (no.code == bookLost && a.ring) {
			b.purse(a).refused = refused{
				until: now.Add(no.wait), believe: now.Add(min(no.wait, longestLife)),
				need: a.Need, reserve: d.call.Reserve, code: no.code,
			}
		}
	}
}

// hear learns the cooldowns that a script told.
func (b *Book) hear(seq, news any, sent time.Time) {
	b.seen, b.asked = integer(seq), sent
	told, now := list(news), b.now()
	for i := 0; i+1 < len(told); i += 2 {
		b.cool(fmt.Sprint(told[i]), now.Add(time.Duration(integer(told[i+1]))*time.Millisecond))
	}
}

func integer(v any) int64 {
	n, _ := v.(int64)
	return n
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}
