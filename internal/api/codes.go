package api

import (
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Code is the reason of a problem, for programs: it is never renamed and means the same ever after; new ones come. Where no
// closer reason is known it is the kind of error.
type Code string

// The reasons that are closer than a kind of error.
const (
	codeMalformed       Code = "malformed_body"
	codeTooLarge        Code = "too_large"
	codeMediaType       Code = "unsupported_media_type"
	codeSlow            Code = "request_timeout"
	codeUnknownPath     Code = "unknown_path"
	codeMethod          Code = "method_not_allowed"
	codeCursor          Code = "cursor_invalid"
	codeTaken           Code = "taken"
	codeSeveral         Code = "ambiguous"
	codeChanged         Code = "changed_meanwhile"
	codeKeyReused       Code = "key_reused"
	codeKeyBusy         Code = "key_busy"
	codeShownOnce       Code = "answer_shown_once"
	codeForeignOrigin   Code = "foreign_origin"
	codeRate            Code = "rate_limited"
	codeWatched         Code = "too_many_watched"
	codeNeverConsented  Code = "never_consented"
	codeConsentLost     Code = "consent_lost"
	codeNeedsPostgres   Code = "needs_postgres"
	codeOwnApplication  Code = "needs_own_application"
	codeNotRotated      Code = "not_rotated_here"
	codeHeadersTooLarge Code = "headers_too_large"
	codeRepeated        Code = "header_repeated"
)

// Reason is one code: what it means, and the status it comes with.
type Reason struct {
	Code   Code
	Status int
	Means  string
}

// closer are the reasons that are closer than a kind, by status.
var closer = []Reason{
	{codeMalformed, http.StatusBadRequest, "The body is not JSON in UTF-8, says a name twice, or is nested too deep; or its length is not the one that was announced"},
	{codeRepeated, http.StatusBadRequest, "A header that has one value stands twice"},
	{codeUnknownPath, http.StatusNotFound, "The API has no such path"},
	{codeMethod, http.StatusMethodNotAllowed, "The path is there, for other methods: `Allow` names them"},
	{codeSlow, http.StatusRequestTimeout, "The body did not come in time"},
	{codeTaken, http.StatusConflict, "The value of the named field is another thing's already"},
	{codeSeveral, http.StatusConflict, "Several things have this name: say whose"},
	{codeKeyBusy, http.StatusConflict, "The first request with this idempotency key has not answered: look whether it took effect before you ask with another key"},
	{codeShownOnce, http.StatusConflict, "It was done with this idempotency key, and its answer held a secret, which is shown once"},
	{codeNeverConsented, http.StatusConflict, "The tenant's administrator has not consented yet: send the consent link"},
	{codeConsentLost, http.StatusConflict, "The tenant had consented, and no longer does: its administrator has to consent again"},
	{codeNeedsPostgres, http.StatusConflict, "The fleet's catalog is SQLite, and this takes Postgres"},
	{codeOwnApplication, http.StatusBadGateway, "The worker is outside, and the API has no credential of the provider's application to get it tokens with: give it one, or the tenant an application of its own"},
	{codeNotRotated, http.StatusConflict, "The tenant goes by no certificate that the fleet registered: who gave the credential renews it"},
	{codeChanged, http.StatusPreconditionFailed, "`If-Match` names settings that are others by now: read them again"},
	{codeTooLarge, http.StatusRequestEntityTooLarge, "The body is larger than 1 MiB"},
	{codeMediaType, http.StatusUnsupportedMediaType, "The body is no JSON, is compressed, or is in another character set than UTF-8"},
	{codeCursor, http.StatusUnprocessableEntity, "`after` is no `next` of this listing"},
	{codeKeyReused, http.StatusUnprocessableEntity, "The idempotency key was used for another request"},
	{codeRate, http.StatusTooManyRequests, "The token, or the address without one, sends too much: `Retry-After` says when to go on"},
	{codeWatched, http.StatusTooManyRequests, "Too many runs are watched at once"},
	{codeForeignOrigin, http.StatusForbidden, "A page of another origin asks"},
	{codeHeadersTooLarge, http.StatusRequestHeaderFieldsTooLarge, "The headers are larger than 64 KiB"},
}

// Reasons are all codes that the API answers, by status, then by name.
func Reasons() []Reason {
	all := slices.Clone(closer)
	for kind, m := range meanings {
		all = append(all, Reason{Code(kind), m.status, m.title})
	}
	slices.SortFunc(all, func(a, b Reason) int {
		if a.Status != b.Status {
			return a.Status - b.Status
		}
		if a.Code < b.Code {
			return -1
		}
		return 1
	})
	return all
}

// known reports whether a code is one of the API's own: others are those of causes, such as Microsoft's.
func (c Code) known() bool {
	return slices.ContainsFunc(closer, func(r Reason) bool { return r.Code == c })
}

// Schema lists the codes in the document.
func (Code) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString, Description: "Why, for programs: a code is never renamed, and new ones come", Examples: []any{codeTaken}}
	for _, r := range Reasons() {
		s.Enum = append(s.Enum, string(r.Code))
	}
	slices.SortFunc(s.Enum, func(a, b any) int {
		if a.(string) < b.(string) {
			return -1
		}
		return 1
	})
	return s
}

// codeOfStatus is the reason of refusals that come from below us, by status.
func codeOfStatus(status int) Code {
	for _, code := range []Code{codeMalformed, codeTooLarge, codeMediaType, codeSlow} {
		if i := slices.IndexFunc(closer, func(r Reason) bool { return r.Code == code }); closer[i].Status == status {
			return code
		}
	}
	return ""
}

// because gives a problem a closer reason, and its status.
func (p *Problem) because(code Code) *Problem {
	p.Code = code
	if i := slices.IndexFunc(closer, func(r Reason) bool { return r.Code == code }); i >= 0 && p.Status != closer[i].Status {
		p.Status, p.Title = closer[i].Status, closer[i].Means
	}
	return p
}

// reason takes over the code of a cause: as the reason where it is one of ours, else beside it.
func (p *Problem) reason(err error) {
	switch code := tenantry.CodeOf(err); {
	case code == "":
	case Code(code).known():
		p.Code = Code(code)
	default:
		p.Cause = code
	}
}
