package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Problem is an error as callers see it: RFC 9457 problem details, with the kind
// of error that says what to do next.
type Problem struct {
	Type   string              `json:"type" doc:"Identifies the kind of problem: urn:tenantry:problem:KIND" example:"urn:tenantry:problem:not_found"`
	Title  string              `json:"title" doc:"What the kind means, the same for every occurrence" example:"The named thing does not exist"`
	Status int                 `json:"status" doc:"HTTP status" example:"404"`
	Detail string              `json:"detail,omitempty" doc:"What went wrong this time" example:"tenant \"t-00\" is unknown"`
	Kind   tenantry.Kind       `json:"kind" doc:"What to do next: invalid, not_found, conflict, unauthorized, forbidden, reconnect, shared, transient, throttled, absent, denied, capacity, corrupt, wrong_key, fenced, canceled, internal" example:"not_found"`
	Code   Code                `json:"code"`
	Cause  string              `json:"cause,omitempty" doc:"What the service behind it gave as its reason, if it did: a Graph error code, an AADSTS number" example:"AADSTS700016"`
	Errors []*huma.ErrorDetail `json:"errors,omitempty" doc:"Which fields are wrong, and why"`

	retryAfter time.Duration
}

func (p *Problem) Error() string { return p.Detail }

// GetStatus tells huma the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType tells huma the media type.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders tells huma when to try again.
func (p *Problem) GetHeaders() http.Header {
	if p.retryAfter <= 0 {
		return nil
	}
	return http.Header{"Retry-After": {retrySeconds(p.retryAfter)}}
}

// meaning is what a kind of error means to a caller of the API.
type meaning struct {
	status int
	title  string
	retry  time.Duration // when the cause names no time; 0: retrying does not help
}

// meanings is the one place where kinds become HTTP.
var meanings = map[tenantry.Kind]meaning{
	tenantry.Internal:     {http.StatusInternalServerError, "Something went wrong on our side", 0},
	tenantry.Transient:    {http.StatusServiceUnavailable, "It passes by itself", 5 * time.Second},
	tenantry.Throttled:    {http.StatusServiceUnavailable, "Microsoft asks us to wait", 30 * time.Second},
	tenantry.Invalid:      {http.StatusUnprocessableEntity, "The request is not valid", 0},
	tenantry.NotFound:     {http.StatusNotFound, "The named thing does not exist", 0},
	tenantry.Conflict:     {http.StatusConflict, "The present state does not allow it", 0},
	tenantry.Absent:       {http.StatusConflict, "There is nothing to back up", 0},
	tenantry.Denied:       {http.StatusBadGateway, "Microsoft refuses this resource", 0},
	tenantry.Unauthorized: {http.StatusUnauthorized, "A valid token is needed", 0},
	tenantry.Forbidden:    {http.StatusForbidden, "The token may not do this", 0},
	tenantry.Reconnect:    {http.StatusConflict, "The tenant is not connected", 0},
	tenantry.Shared:       {http.StatusServiceUnavailable, "A service that every tenant needs is not available", 30 * time.Second},
	tenantry.Resync:       {http.StatusInternalServerError, "A collection must be listed anew", 0},
	tenantry.Poison:       {http.StatusInternalServerError, "One item cannot be read", 0},
	tenantry.Capacity:     {http.StatusInsufficientStorage, "The target is full", 0},
	tenantry.Corrupt:      {http.StatusInternalServerError, "Stored data is damaged", 0},
	tenantry.WrongKey:     {http.StatusInternalServerError, "The key does not open the repository", 0},
	tenantry.Fenced:       {http.StatusConflict, "Another owner has taken over", 0},
	tenantry.Canceled:     {http.StatusServiceUnavailable, "The request was given up", time.Second},
}

// kindOfStatus names the kind of errors that huma raises by itself.
func kindOfStatus(status int) tenantry.Kind {
	switch {
	case status == http.StatusUnauthorized:
		return tenantry.Unauthorized
	case status == http.StatusForbidden:
		return tenantry.Forbidden
	case status == http.StatusNotFound:
		return tenantry.NotFound
	case status == http.StatusRequestTimeout:
		return tenantry.Transient
	case status >= 400 && status < 500:
		return tenantry.Invalid
	default:
		return tenantry.Internal
	}
}

func newProblem(kind tenantry.Kind, detail string) *Problem {
	m, ok := meanings[kind]
	if !ok {
		kind, m = tenantry.Internal, meanings[tenantry.Internal]
	}
	return &Problem{
		Type: "urn:tenantry:problem:" + string(kind), Title: m.title, Status: m.status,
		Detail: shortTo(detail, maxDetail), Kind: kind, Code: Code(kind), retryAfter: m.retry,
	}
}

// problem turns a handler's error into what the caller sees, and logs it if it is
// our fault: the one place where handlers' errors are logged. The cause of an
// internal error is never shown.
func (s *service) problem(operation string, err error) *Problem {
	var ready *Problem
	if errors.As(err, &ready) {
		return ready
	}
	kind := tenantry.KindOf(err)
	p := newProblem(kind, err.Error())
	p.reason(err)
	if until := tenantry.UntilOf(err); !until.IsZero() {
		p.retryAfter = max(until.Sub(s.Now()), time.Second)
	}
	switch {
	case p.Kind == tenantry.Internal:
		p.Detail, p.Code, p.Cause = "the cause is in the log of the API", Code(tenantry.Internal), ""
		s.Logger.Error("request failed", zap.String("operation", operation), zap.Error(err))
	case p.Status >= 500 && kind != tenantry.Canceled:
		s.Logger.Warn("request failed", zap.String("operation", operation),
			zap.String("kind", string(kind)), zap.Error(err))
	}
	return p
}

// invalid is an Invalid problem that names the field, "body.at" or "query.after".
func invalid(location string, value any, format string, args ...any) *Problem {
	message := shortTo(fmt.Sprintf(format, args...), maxDetail)
	p := newProblem(tenantry.Invalid, location+": "+message)
	p.Errors = []*huma.ErrorDetail{{Location: location, Message: message, Value: shortValue(value)}}
	return p
}

// installProblems makes huma raise its own errors (validation, body too large) as
// Problem. huma offers this hook as a package variable only.
var installProblems = sync.OnceFunc(func() {
	huma.NewError = func(status int, detail string, errs ...error) huma.StatusError {
		if status == http.StatusInternalServerError && detail == unreadable {
			status = http.StatusBadRequest
		}
		p := newProblem(kindOfStatus(status), detail)
		p.Status = status
		if code := codeOfStatus(status); code != "" {
			p.Code = code
		}
		for i, err := range errs {
			if i == maxComplaints {
				p.Errors = append(p.Errors, andMore(len(errs)-i))
				break
			}
			p.add(err)
		}
		if first := p.firstField(); first != "" {
			p.Detail = detail + ": " + first
		}
		return p
	}
})

// unreadable is what huma says of a body that ends before its announced length, or is cut in other ways: with a 500,
// though it is the caller who sent it so.
const unreadable = "cannot read request body"

func (p *Problem) add(err error) {
	var detailer huma.ErrorDetailer
	switch {
	case err == nil:
	case errors.As(err, &detailer):
		p.Errors = append(p.Errors, withoutSecrets(detailer.ErrorDetail()))
	case p.Status < 500: // huma's own message about the request; a 5xx cause is not shown
		p.Errors = append(p.Errors, &huma.ErrorDetail{Message: short(err.Error())})
	}
}

// withoutSecrets drops the value that huma echoes where it could hold a credential: a whole body (which is the value
// of a property that it should not have, or lacks), or the field of one.
func withoutSecrets(d *huma.ErrorDetail) *huma.ErrorDetail {
	shown := huma.ErrorDetail{Message: short(d.Message), Location: short(d.Location), Value: shortValue(d.Value)}
	if d.Location == "body" || strings.HasPrefix(d.Location, "body.secret") || strings.HasPrefix(d.Location, "body.certificate") {
		shown.Value = nil
	}
	return &shown
}

// firstField puts the first wrong field into words, so that the detail alone is clear.
func (p *Problem) firstField() string {
	if len(p.Errors) == 0 {
		return ""
	}
	if e := p.Errors[0]; e.Location != "" {
		return e.Location + ": " + e.Message
	}
	return p.Errors[0].Message
}

// writeProblem answers outside of huma.
func writeProblem(w http.ResponseWriter, p *Problem) {
	body, err := json.Marshal(p)
	if err != nil { // only values huma echoes could fail, and there are none here
		http.Error(w, p.Title, p.Status)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", retrySeconds(p.retryAfter))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // the caller is gone: nobody to tell
}

func retrySeconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

// gaveUp reports whether the caller left before the answer.
func gaveUp(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// taken says of a Conflict that the value of a field is another thing's already; other errors stay as they are.
func taken(err error, location, value, message string) error {
	if tenantry.KindOf(err) != tenantry.Conflict {
		return err
	}
	p := newProblem(tenantry.Conflict, location+": "+message).because(codeTaken)
	p.Errors = []*huma.ErrorDetail{{Location: location, Message: message, Value: shortValue(value)}}
	return p
}
