package queue

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// leaseGrace is how long after its expiry an asynq lease (30 s, renewed every 5 s)
// is still believed, for clocks that differ: the score is the worker's time.
const leaseGrace = 10 * time.Second

// maxBatch bounds what InspectAll sends in one round trip.
const maxBatch = 1000

// Client enqueues deliveries and looks at them. Safe for concurrent use.
//
// It reads four of asynq's keys directly (see keys.go) instead of through
// asynq.Inspector, whose calls take no context and several round trips each.
type Client struct {
	rdb   redis.UniversalClient
	asynq *asynq.Client
	used  sync.Map // names of queues that got deliveries: a few of each pool
}

// NewClient returns a client; it connects on first use. Invalid if o cannot be read.
func NewClient(o Options) (*Client, error) {
	rdb, err := o.RedisClient()
	if err != nil {
		return nil, err
	}
	rdb = sendTogether(rdb)
	return &Client{rdb: rdb, asynq: asynq.NewClientFromRedisClient(rdb)}, nil
}

// Close closes the connections.
func (c *Client) Close() error {
	if err := c.rdb.Close(); err != nil {
		return tenantry.E(tenantry.Internal, "close queue client", err)
	}
	return nil
}

// Ping asks Redis for an answer. Shared if there is none.
func (c *Client) Ping(ctx context.Context) error {
	if err := c.rdb.Ping(ctx).Err(); err != nil {
		return redisError("ping redis", err)
	}
	return nil
}

// Enqueue adds a delivery under TaskID "task:admission" and returns Pending. If that
// ID is in Redis already, nothing is added and its state is returned: Pending or
// Active mean that it will run or does, Settled that the next admission is due.
// Invalid for an unknown queue, Shared if Redis does not answer.
func (c *Client) Enqueue(ctx context.Context, queue string, r Ref) (State, error) {
	if err := checkQueue(queue); err != nil {
		return "", err
	}
	payload, err := encode(r)
	if err != nil {
		return "", err
	}
	c.used.Store(queue, nil)
	_, err = c.asynq.EnqueueContext(ctx, asynq.NewTask(taskType, payload),
		asynq.Queue(queue), asynq.TaskID(r.ID()), asynq.MaxRetry(0),
		asynq.Timeout(timeout), asynq.Retention(retention))
	switch {
	case err == nil:
		return Pending, nil
	case errors.Is(err, asynq.ErrTaskIDConflict):
		return c.Inspect(ctx, queue, r)
	}
	return "", redisError("enqueue "+r.ID(), err)
}

// Inspect returns the state of a delivery. Shared if Redis does not answer.
func (c *Client) Inspect(ctx context.Context, queue string, r Ref) (State, error) {
	states, err := c.InspectAll(ctx, queue, []Ref{r})
	if err != nil {
		return "", err
	}
	return states[0], nil
}

// InspectAll returns the states of many deliveries of one queue, in their order,
// with one round trip per thousand: to find admitted tasks whose delivery was
// archived or deleted by hand.
func (c *Client) InspectAll(ctx context.Context, queue string, refs []Ref) ([]State, error) {
	if err := checkQueue(queue); err != nil {
		return nil, err
	}
	states := make([]State, 0, len(refs))
	for len(refs) > 0 {
		n := min(len(refs), maxBatch)
		some, err := c.inspect(ctx, queue, refs[:n])
		if err != nil {
			return nil, err
		}
		states, refs = append(states, some...), refs[n:]
	}
	return states, nil
}

func (c *Client) inspect(ctx context.Context, queue string, refs []Ref) ([]State, error) {
	exists := make([]*redis.IntCmd, len(refs))
	state := make([]*redis.StringCmd, len(refs))
	lease := make([]*redis.FloatCmd, len(refs))
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, r := range refs {
			exists[i] = p.Exists(ctx, taskKey(queue, r.ID()))
			state[i] = p.HGet(ctx, taskKey(queue, r.ID()), "state")
			lease[i] = p.ZScore(ctx, leaseKey(queue), r.ID())
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) { // Nil: some key or field is not there
		return nil, redisError("inspect deliveries in "+queue, err)
	}
	live := liveSince()
	states := make([]State, len(refs))
	for i := range refs {
		states[i] = stateOf(exists[i].Val() > 0, state[i].Val(), lease[i].Val() >= live)
	}
	return states, nil
}

// stateOf maps asynq's state; leased tells whether somebody renews the lease.
func stateOf(exists bool, state string, leased bool) State {
	switch {
	case !exists:
		return Missing
	case state == "pending" || state == "scheduled" || state == "retry":
		return Pending
	case state == "active" && leased:
		return Active
	}
	return Settled
}

// Paused lists the queues, by name, that an operator has paused in asynqmon: those of every
// pool, with their pools' names.
func (c *Client) Paused(ctx context.Context) ([]string, error) {
	known, err := c.rdb.SMembers(ctx, queuesKey).Result()
	if err != nil {
		return nil, redisError("list queues", err)
	}
	known = slices.DeleteFunc(known, func(q string) bool { return checkQueue(q) != nil })
	known = append(known, Names()...)
	slices.Sort(known)
	known = slices.Compact(known)
	paused := make(map[string]*redis.IntCmd, len(known))
	_, err = c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, q := range known {
			paused[q] = p.Exists(ctx, pausedKey(q))
		}
		return nil
	})
	if err != nil {
		return nil, redisError("list paused queues", err)
	}
	return slices.DeleteFunc(known, func(q string) bool { return paused[q].Val() == 0 }), nil
}

// Depth returns, for each queue, how many deliveries are pending or active, in one
// round trip. A delivery whose worker died is not counted. It also has asynqmon list the queues
// that this process has used, of all pools.
func (c *Client) Depth(ctx context.Context) (map[string]int, error) {
	pending, active := make(map[string]*redis.IntCmd), make(map[string]*redis.IntCmd)
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		// asynq registers a queue once per process. After a Redis that lost its data
		// asynqmon would show nothing until the process restarts.
		p.SAdd(ctx, queuesKey, c.registered()...)
		from := strconv.FormatFloat(liveSince(), 'f', 0, 64)
		for _, q := range Names() {
			pending[q] = p.LLen(ctx, pendingKey(q))
			active[q] = p.ZCount(ctx, leaseKey(q), from, "+inf")
		}
		return nil
	})
	if err != nil {
		return nil, redisError("measure queues", err)
	}
	depth := make(map[string]int)
	for _, q := range Names() {
		depth[q] = int(pending[q].Val() + active[q].Val())
	}
	return depth, nil
}

// liveSince is the lease score below which its holder is dead, in Unix seconds.
func liveSince() float64 { return float64(time.Now().Add(-leaseGrace).Unix()) }

func checkQueue(name string) error {
	for _, q := range Names() {
		if q == base(name) {
			return nil
		}
	}
	return tenantry.Errorf(tenantry.Invalid, "queue %q is unknown", name)
}

// registered are the queues that asynqmon is to list: the main pool's, and those of other pools
// that this process has used.
func (c *Client) registered() []any {
	var names []any
	for _, q := range Names() {
		names = append(names, q)
	}
	c.used.Range(func(name, _ any) bool {
		names = append(names, name)
		return true
	})
	return names
}
