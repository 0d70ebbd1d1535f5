package queue

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	interactiveCheck = 20 * time.Millisecond
	otherCheck       = 100 * time.Millisecond
	// settleGrace is how long Drain waits for handlers whose context it has ended.
	settleGrace = 30 * time.Second
	// noAbort switches off asynq's own end of patience at shutdown, after which it
	// would requeue a delivery whose handler still runs.
	noAbort = 10000 * time.Hour
	// maxLine bounds the result line kept in Redis, in bytes.
	maxLine = 1000
)

// Handler runs one delivery. The line is kept as asynq result for asynqmon. An err
// whose kind is never retried, or that is marked by Permanent, stands in the archive;
// any other outcome is completed (our retry policy is in SQL).
//
// ctx ends when drain's grace is over, when an operator cancels the delivery in
// asynqmon, when Redis was out of reach for longer than a lease (30 s), or after two
// hours. The handler must then end soon; its slot is not given away before.
type Handler func(ctx context.Context, r Ref) (line string, err error)

// Server serves deliveries until it is drained. It survives restarts of Redis.
//
//	NewServer -> Start -> Drain (once; safe to call again)
type Server struct {
	rdb    redis.UniversalClient
	pools  []*pool
	handle Handler
	log    Logger

	// grace ends when handlers must stop. It is not asynq's base context: asynq
	// abandons and archives a delivery whose own context has ended, though its
	// handler is about to return in good order.
	grace    context.Context
	endGrace context.CancelFunc

	settle time.Duration // settleGrace, except in tests

	mu      sync.Mutex
	closed  bool // no handler may begin
	running sync.WaitGroup
	drain   sync.Once
	drained chan struct{}
}

// pool is one asynq server. slots bounds the handlers that really run: asynq frees
// its own slot as soon as it has given a handler up.
type pool struct {
	server *asynq.Server
	slots  chan struct{}
}

// NewServer serves interactive with its own asynq server and slots (checked every
// 20 ms) and the other queues with another (100 ms): slots is how many handlers may
// run per queue. The other queues share the sum of theirs, weighted by them.
// A queue without slots is not served. Invalid for an unknown queue or no slots.
func NewServer(o Options, slots map[string]int, h Handler, log Logger) (*Server, error) {
	others, total, urgent := make(map[string]int), 0, Interactive
	for name, n := range slots {
		if err := checkQueue(name); err != nil {
			return nil, err
		}
		switch {
		case base(name) == Interactive:
			urgent = name
		case n > 0:
			others[name], total = n, total+n
		}
	}
	if slots[urgent] <= 0 && total == 0 {
		return nil, tenantry.Errorf(tenantry.Invalid, "serve queues: no queue has slots")
	}
	rdb, err := o.RedisClient()
	if err != nil {
		return nil, err
	}
	s := &Server{rdb: sendTogether(rdb), handle: h, log: log, settle: settleGrace, drained: make(chan struct{})}
	s.grace, s.endGrace = context.WithCancel(context.Background())
	if n := slots[urgent]; n > 0 {
		s.pools = append(s.pools, s.newPool(n, map[string]int{urgent: 1}, interactiveCheck))
	}
	if total > 0 {
		s.pools = append(s.pools, s.newPool(total, others, otherCheck))
	}
	return s, nil
}

func (s *Server) newPool(slots int, queues map[string]int, check time.Duration) *pool {
	return &pool{
		slots: make(chan struct{}, slots),
		server: asynq.NewServerFromRedisClient(s.rdb, asynq.Config{
			Concurrency:       slots,
			Queues:            queues,
			TaskCheckInterval: check,
			ShutdownTimeout:   noAbort,
			// 100 expired deliveries per round and process: 50/s, against the
			// 25/s that a large provider completes on average.
			JanitorInterval: 2 * time.Second,
			Logger:          asynqLog{s.log},
		}),
	}
}

// Start takes deliveries until Drain. Shared if Redis does not answer now.
func (s *Server) Start(ctx context.Context) error {
	if err := s.rdb.Ping(ctx).Err(); err != nil {
		return redisError("start serving queues", err)
	}
	for _, p := range s.pools {
		if err := p.server.Start(asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
			return s.process(ctx, p, t)
		})); err != nil {
			return tenantry.E(tenantry.Internal, "start serving queues", err)
		}
	}
	return nil
}

// Drain stops taking deliveries and waits for handlers until ctx ends; then it ends
// their contexts and waits for them, at most 30 s more. A handler that ends after
// that cancel is recorded with its outcome like any other. Internal if handlers
// still run; their deliveries stay active until their leases expire.
func (s *Server) Drain(ctx context.Context) error {
	s.drain.Do(func() { go s.shutDown() })
	select {
	case <-s.drained:
		return nil
	case <-ctx.Done():
	}
	s.endGrace()
	timer := time.NewTimer(s.settle)
	defer timer.Stop()
	select {
	case <-s.drained:
		return nil
	case <-timer.C:
		return tenantry.Errorf(tenantry.Internal, "drain queues: handlers ignore the end of their context")
	}
}

// shutDown ends when every handler has. asynq keeps renewing leases meanwhile.
func (s *Server) shutDown() {
	defer close(s.drained)
	for _, p := range s.pools { // first none takes any more, then wait
		p.server.Stop()
	}
	for _, p := range s.pools {
		p.server.Shutdown()
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.running.Wait() // those that asynq has given up
	s.endGrace()
	if err := s.rdb.Close(); err != nil {
		s.log.Warnw("cannot close connections to redis", "error", err)
	}
}

func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Add(1)
	}
	return !s.closed
}

// process runs one delivery in a slot and leaves its outcome for asynq to record.
func (s *Server) process(ctx context.Context, p *pool, t *asynq.Task) error {
	if !s.begin() {
		return asynq.SkipRetry
	}
	defer s.running.Done()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ref, err := decode(t.Payload())
	if err != nil {
		return archived{err.Error()}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.grace, cancel)()

	line, err := s.handle(ctx, ref)
	if line == "" && err != nil {
		line = err.Error()
	}
	line = oneLine(line)
	if _, werr := t.ResultWriter().Write([]byte(line)); werr != nil && ctx.Err() == nil {
		s.log.Warnw("cannot keep the result line of a delivery", "delivery", ref.ID(), "error", werr)
	}
	if isPermanent(err) {
		return archived{line}
	}
	return nil
}

// archived makes asynq archive a delivery with a text, without its own "skip retry".
type archived struct{ text string }

func (e archived) Error() string        { return e.text }
func (e archived) Is(target error) bool { return target == asynq.SkipRetry }

type permanent struct{ error }

func (e permanent) Unwrap() error { return e.error }

// Permanent marks an error as final though its kind may be retried in general (the
// attempts are used up), so that the delivery stands in the archive. nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

func isPermanent(err error) bool {
	var p permanent
	if errors.As(err, &p) {
		return true
	}
	switch tenantry.KindOf(err) {
	case tenantry.Invalid, tenantry.NotFound, tenantry.Denied, tenantry.Poison,
		tenantry.Capacity, tenantry.Corrupt, tenantry.WrongKey:
		return true
	}
	return false
}

func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "") + "..."
	}
	return text
}
