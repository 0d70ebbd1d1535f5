package worker

import (
	"errors"

	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// taskLog writes lines that say whose task they are about. Logs hold neither secrets nor
// content: what Microsoft says about a person's things, and their names, stands in SQL.
type taskLog struct {
	log   queue.Logger
	about []any
}

// logger returns the log of the job's slice.
func (j *job) logger() queue.Logger {
	about := []any{"tenant", j.claim.Tenant, "task", j.claim.ID, "action", j.claim.Action, "attempt", j.claim.Attempt + 1}
	if j.claim.Resource != "" {
		about = append(about, "resource", j.claim.Resource, "workload", j.claim.Workload)
	}
	return taskLog{j.cfg.Log, about}
}

func (l taskLog) with(kv []any) []any { return append(l.about[:len(l.about):len(l.about)], kv...) }

func (l taskLog) Debugw(msg string, kv ...any) { l.log.Debugw(msg, l.with(kv)...) }
func (l taskLog) Infow(msg string, kv ...any)  { l.log.Infow(msg, l.with(kv)...) }
func (l taskLog) Warnw(msg string, kv ...any)  { l.log.Warnw(msg, l.with(kv)...) }
func (l taskLog) Errorw(msg string, kv ...any) { l.log.Errorw(msg, l.with(kv)...) }

// tellable are the kinds whose errors are about the fleet, not about a customer's things.
var tellable = map[tenantry.Kind]bool{
	tenantry.Internal: true, tenantry.Shared: true, tenantry.Corrupt: true,
	tenantry.WrongKey: true, tenantry.Fenced: true, tenantry.Transient: true,
}

// why describes a failure for a log line: its kind and code, how Microsoft names the
// request that failed, and, unless its text may tell content, its text.
func why(err error) []any {
	if err == nil {
		return nil
	}
	kv := []any{"kind", tenantry.KindOf(err)}
	if code := tenantry.CodeOf(err); code != "" {
		kv = append(kv, "code", code)
	}
	if until := tenantry.UntilOf(err); !until.IsZero() {
		kv = append(kv, "until", until)
	}
	var answer interface {
		Answered() int
		RequestID() string
	}
	if errors.As(err, &answer) {
		kv = append(kv, "status", answer.Answered())
		if id := answer.RequestID(); id != "" {
			kv = append(kv, "request-id", id)
		}
		return kv
	}
	if tellable[tenantry.KindOf(err)] {
		kv = append(kv, "error", err.Error())
	}
	return kv
}
