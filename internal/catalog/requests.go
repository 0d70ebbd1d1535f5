package catalog

import (
	"context"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// A request with an idempotency key is done once. Its row says how far it came:
//
//	(none) -BeginRequest-> begun -EndRequest-> answered -a day later-> (none)
//	                        | DropRequest: it failed and changed nothing
//	                        v
//	                      (none)
//
// A row that stays begun is of a process that died in between: whether the request took
// effect is not known, so that nobody does it again under the same key.

// KeepRequests is how long an answer is kept.
const KeepRequests = 24 * time.Hour

// Request is one that came with an idempotency key.
type Request struct {
	Actor   string // key of the token
	Key     string // as the caller chose it
	Content string // fingerprint of what was asked for
}

// BeginRequest says that r is under way. It returns the answer, not nil, if r was done
// before. Invalid: the key belongs to another request; Conflict: the first request with
// it has not answered.
func (f *Fleet) BeginRequest(ctx context.Context, r Request, now time.Time) ([]byte, error) {
	const op = "begin request"
	var found []struct {
		Content string
		Answer  []byte
	}
	fresh := false
	err := f.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		n, err := exec(ctx, tx, `INSERT INTO requests (actor, key, content, answer, at) VALUES (?, ?, ?, NULL, ?)
			ON CONFLICT (actor, key) DO NOTHING`, r.Actor, r.Key, r.Content, micros(now))
		if fresh = n > 0; err != nil || fresh {
			return err
		}
		found = nil
		return scan(ctx, tx, &found, "SELECT content, answer FROM requests WHERE actor = ? AND key = ?", r.Actor, r.Key)
	})
	switch {
	case err != nil || fresh:
		return nil, err
	case len(found) == 0 || found[0].Content == r.Content && found[0].Answer == nil:
		return nil, &tenantry.Error{Kind: tenantry.Conflict, Op: op, Code: "key_busy", Err: errors.New(
			"the first one with this idempotency key has not answered yet: look whether it took effect before you ask again with another key")}
	case found[0].Content != r.Content:
		return nil, &tenantry.Error{Kind: tenantry.Invalid, Op: op, Code: "key_reused", Err: errors.New("this idempotency key was used for another request")}
	}
	return found[0].Answer, nil
}

// EndRequest keeps the answer of a request that was begun.
func (f *Fleet) EndRequest(ctx context.Context, r Request, answer []byte) error {
	const op = "end request"
	return f.c.one(ctx, op, tenantry.Errorf(tenantry.Internal, "%s: it was not begun", op),
		"UPDATE requests SET answer = ? WHERE actor = ? AND key = ? AND answer IS NULL", answer, r.Actor, r.Key)
}

// DropRequest forgets a request that was begun and has failed.
func (f *Fleet) DropRequest(ctx context.Context, r Request) error {
	return f.c.one(ctx, "drop request", nil, "DELETE FROM requests WHERE actor = ? AND key = ? AND answer IS NULL", r.Actor, r.Key)
}
