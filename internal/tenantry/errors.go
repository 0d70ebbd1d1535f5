package tenantry

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind says what to do next about an error. It is mapped once to retry (by the
// worker) and once to HTTP (by the API).
type Kind string

// The kinds of error.
const (
	// Internal is a defect of ours or an answer nobody expected. Retried a few
	// times, then the task fails.
	Internal Kind = "internal"
	// Transient passes by itself: a cut connection, a 503. Retried with backoff.
	Transient Kind = "transient"
	// Throttled means wait until Error.Until. The task parks; nothing failed.
	Throttled Kind = "throttled"
	// Invalid is bad input; the message names the field. Never retried.
	Invalid Kind = "invalid"
	// NotFound means that the named thing does not exist. Never retried.
	NotFound Kind = "not_found"
	// Conflict means that the state changed under way: read again, decide again.
	Conflict Kind = "conflict"
	// Absent means that there is nothing to back up: no licence, drive not
	// provisioned, mailbox not in the cloud. The task ends well, with its reason.
	Absent Kind = "absent"
	// Denied means that Microsoft refuses this resource. The task fails; others go on.
	Denied Kind = "denied"
	// Unauthorized means that a caller of our API has no valid token.
	Unauthorized Kind = "unauthorized"
	// Forbidden means that the token of a caller of our API may not do what was asked.
	Forbidden Kind = "forbidden"
	// Reconnect means that this tenant's consent is missing or revoked. The tenant
	// is marked disconnected, its tasks wait for a new consent.
	Reconnect Kind = "reconnect"
	// Shared is a cause that hits every tenant: our own credential, the bucket,
	// SQL, Redis. It pauses admission with one alarm and changes no tenant's state.
	Shared Kind = "shared"
	// Resync means that a delta link is no longer valid: list the collection anew.
	Resync Kind = "resync"
	// Poison is one item that cannot be read for good. Recorded, the rest goes on.
	Poison Kind = "poison"
	// Capacity means that the target is full. Never retried by itself.
	Capacity Kind = "capacity"
	// Corrupt means that stored data is damaged or was tampered with.
	Corrupt Kind = "corrupt"
	// WrongKey means that the key does not open the repository.
	WrongKey Kind = "wrong_key"
	// Fenced means that another owner has taken the series: discard, claim anew.
	Fenced Kind = "fenced"
	// Canceled means that we were told to stop. The work goes on elsewhere.
	Canceled Kind = "canceled"
)

// Error is an error with a kind, the action that failed and the cause.
type Error struct {
	Kind Kind
	// Op is the action that failed, in words: "read page of users".
	Op string
	// Code is a stable reason for machines, where the cause gave one (a Graph error
	// code, an AADSTS number), or which shared cause it is ("catalog", "redis", "key").
	// May be empty.
	Code string
	// Until is the earliest time to try again; zero when unknown.
	Until time.Time
	// Err is the cause; may be nil.
	Err error
}

// E returns an error of the given kind for the failed action op and its cause.
func E(kind Kind, op string, cause error) *Error { return &Error{Kind: kind, Op: op, Err: cause} }

// Errorf returns an error of the given kind whose text is formatted like fmt.Errorf.
func Errorf(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Op: err.Error(), Err: errors.Unwrap(err)}
}

func (e *Error) Error() string {
	if e.Err == nil || (e.Op != "" && errorfCarries(e.Op, e.Err)) {
		return e.Op
	}
	return e.Op + ": " + e.Err.Error()
}

// errorfCarries reports whether op already shows the cause, as Errorf with %w does.
func errorfCarries(op string, cause error) bool {
	text := cause.Error()
	return len(op) >= len(text) && op[len(op)-len(text):] == text
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first Error in err's chain. A context that ended
// is Canceled (cancelled) or Transient (deadline); anything else is Internal; nil is "".
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Transient
	}
	return Internal
}

// UntilOf returns the earliest time to try again that err's chain names, or zero.
func UntilOf(err error) time.Time {
	var e *Error
	if errors.As(err, &e) {
		return e.Until
	}
	return time.Time{}
}

// CodeOf returns the machine-readable reason that err's chain names, the outermost if
// several do, or "".
func CodeOf(err error) string {
	var e *Error
	for errors.As(err, &e) {
		if e.Code != "" {
			return e.Code
		}
		err = e.Err
	}
	return ""
}
