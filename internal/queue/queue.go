// Package queue owns asynq: enqueueing admitted tasks, serving them, looking at
// what Redis holds. Payloads are IDs in protobuf JSON; what to do stands in SQL.
// (CONTRACT FILE: signatures first, to be filled in.)
package queue

import (
	"context"
	"net/http"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// The queues of a worker pool.
const (
	Interactive = "interactive" // restores, run now, connect
	Directory   = "directory"
	Backup      = "backup"
	Maintenance = "maintenance"
)

// Ref is what travels: an admission of a task.
type Ref struct {
	Tenant    tenantry.TenantID
	Task      tenantry.TaskID
	Admission int64
}

// Options say where Redis is. Addr "host:port" or "redis://..." URL.
type Options struct{ URL string }

// State of a delivery in Redis.
type State string

const (
	Pending State = "pending" // pending, scheduled, retry
	Active  State = "active"
	Settled State = "settled" // completed or archived
	Missing State = "missing"
)

type Client struct{}

func NewClient(o Options) (*Client, error)       { panic("contract") }
func (c *Client) Close() error                   { panic("contract") }
func (c *Client) Ping(ctx context.Context) error { panic("contract") }

// Enqueue adds a delivery under TaskID "task:admission". If that ID is in Redis already, nothing is added and its state is returned.
func (c *Client) Enqueue(ctx context.Context, queue string, r Ref) (State, error) { panic("contract") }

// Inspect returns the state of a delivery.
func (c *Client) Inspect(ctx context.Context, queue string, r Ref) (State, error) { panic("contract") }

// Paused lists paused queues. Depth is pending+active per queue.
func (c *Client) Paused(ctx context.Context) ([]string, error)      { panic("contract") }
func (c *Client) Depth(ctx context.Context) (map[string]int, error) { panic("contract") }

// Handler runs one delivery. The line is kept as asynq result for asynqmon. err with kind that will never be retried
// stands in the archive; any other outcome is completed (our retry policy is in SQL). ctx ends when drain's grace is over.
type Handler func(ctx context.Context, r Ref) (line string, err error)

type Server struct{}

// NewServer serves interactive with its own asynq server and slots (check interval 20 ms) and the other queues with another (100 ms).
func NewServer(o Options, slots map[string]int, h Handler, log Logger) (*Server, error) {
	panic("contract")
}
func (s *Server) Start(ctx context.Context) error { panic("contract") }

// Drain stops taking deliveries, and waits for handlers until ctx ends; then cancels their contexts and waits for them.
func (s *Server) Drain(ctx context.Context) error { panic("contract") }

// Logger is what this package says for operators (zap's SugaredLogger has it).
type Logger interface {
	Debugw(msg string, kv ...any)
	Infow(msg string, kv ...any)
	Warnw(msg string, kv ...any)
	Errorw(msg string, kv ...any)
}

// Describe turns a payload into what asynqmon shows (tenant, resource, workload, attempt, why parked). It must not fail.
type Describe func(ctx context.Context, r Ref) string

// Monitor serves asynqmon under root ("/queues"), read and write, WITHOUT authentication: mount it behind it. It checks
// same-origin on writes and sets a content security policy.
func Monitor(o Options, root string, d Describe) (http.Handler, func() error, error) {
	panic("contract")
}

var _ = time.Second
