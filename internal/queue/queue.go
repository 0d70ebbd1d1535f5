// Package queue owns asynq: enqueueing admitted tasks, serving them, looking at
// what Redis holds. Payloads are IDs in protobuf JSON; what to do stands in SQL,
// and so does the only retry policy: nothing here retries a task.
//
// A delivery is one admission of one task, under the asynq task ID "task:admission":
//
//	            Enqueue                taken by a worker
//	Missing ------------> Pending ------------------------> Active
//	                         |                                |
//	   archived or deleted   |        handler ended: completed, or archived when its
//	   by hand in asynqmon   |        error is permanent; worker dead: lease expired
//	                         v                                v
//	                      Settled <------------------------ Settled
//
// Settled stays for an hour (archived ones longer) and keeps its ID blocked, so a
// task that runs again gets a new admission number and with it a new ID. Losing all
// of Redis turns every delivery into Missing; the scheduler enqueues again what SQL
// says is admitted.
//
// Why these options (measured with asynq 0.26): MaxRetry(0), because our policy is
// in SQL and asynq's would run beside it; no unique locks, because one survives the
// archive and leaks on an ID conflict; an explicit Timeout, because 0 means 30
// minutes; short check intervals, because asynq polls once a second by default.
package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/tenantry/tenantry/internal/tenantry"
	queuev1 "github.com/tenantry/tenantry/proto/queue/v1"
)

// The queues of a worker pool. There is never a queue per tenant: a dequeue costs
// Redis one look at each queue.
const (
	Interactive = "interactive" // restores, run now, connect
	Directory   = "directory"
	Backup      = "backup"
	Maintenance = "maintenance"
)

// MainPool is the pool of workers that every fleet has; its queues have their plain names.
const MainPool = "main"

// In is the name that a queue has in a pool of workers.
func In(pool, queue string) string {
	if pool == "" || pool == MainPool {
		return queue
	}
	return pool + "." + queue
}

// base is the name of a queue without its pool.
func base(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// Names returns all queues, the most urgent first.
func Names() []string { return []string{Interactive, Directory, Backup, Maintenance} }

const (
	// taskType is the one asynq task type: what a task does stands in SQL.
	taskType = "task"
	// retention is how long a completed delivery can be looked at in asynqmon.
	retention = time.Hour
	// timeout is when asynq gives a handler up. A worker bounds its slices at one
	// hour itself; this only catches one that does not.
	timeout = 2 * time.Hour
)

// Ref is what travels: an admission of a task.
type Ref struct {
	Tenant    tenantry.TenantID
	Task      tenantry.TaskID
	Admission int64
}

// ID returns the delivery's asynq task ID, "task:admission".
func (r Ref) ID() string { return string(r.Task) + ":" + strconv.FormatInt(r.Admission, 10) }

func encode(r Ref) ([]byte, error) {
	payload, err := protojson.Marshal(&queuev1.Task{
		TenantId: string(r.Tenant), TaskId: string(r.Task), Admission: r.Admission,
	})
	if err != nil {
		return nil, tenantry.E(tenantry.Invalid, "encode delivery "+r.ID(), err)
	}
	return payload, nil
}

// decode accepts unknown fields, because version N+1 of a scheduler may enqueue for
// version N of a worker during a rolling upgrade.
func decode(payload []byte) (Ref, error) {
	var m queuev1.Task
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(payload, &m); err != nil {
		return Ref{}, tenantry.E(tenantry.Invalid, "decode delivery", err)
	}
	if m.GetTaskId() == "" || m.GetTenantId() == "" {
		return Ref{}, tenantry.Errorf(tenantry.Invalid, "decode delivery: it names no task or no tenant")
	}
	return Ref{
		Tenant: tenantry.TenantID(m.GetTenantId()), Task: tenantry.TaskID(m.GetTaskId()), Admission: m.GetAdmission(),
	}, nil
}

// State of a delivery in Redis.
type State string

const (
	// Pending waits for a worker.
	Pending State = "pending"
	// Active is in the hands of a worker that renews its lease.
	Active State = "active"
	// Settled will not run any more under this ID, though the ID is taken:
	// completed, archived, or taken by a process that stopped renewing its lease.
	Settled State = "settled"
	// Missing is unknown to Redis: never enqueued, deleted, expired, or Redis lost it.
	Missing State = "missing"
)

// Logger is what this package says for operators (zap's SugaredLogger has it).
type Logger interface {
	Debugw(msg string, kv ...any)
	Infow(msg string, kv ...any)
	Warnw(msg string, kv ...any)
	Errorw(msg string, kv ...any)
}

// redisError says that Redis did not do what it was asked: a cause that hits every
// tenant, unless it was the caller who stopped waiting.
func redisError(op string, err error) error {
	if errors.Is(err, context.Canceled) {
		return tenantry.E(tenantry.Canceled, op, err)
	}
	return &tenantry.Error{Kind: tenantry.Shared, Op: op, Code: "redis", Err: fmt.Errorf("Redis: %w", err)}
}
