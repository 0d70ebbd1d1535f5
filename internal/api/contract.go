package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// What holds for many operations alike is put into the document here, once all are registered: the headers that the
// handlers do not declare, and the refusals that each can meet.

// keyParameter is the header that withKey reads.
func keyParameter() *huma.Param {
	least, most := 1, 100
	return &huma.Param{
		Name: keyHeader, In: "header",
		Description: "Has the request done once, however often it is sent, for a day: again with the same content it brings the same answer, " +
			"marked Idempotency-Replayed; with another content it is refused with 422 and the code key_reused; while the first has not answered, " +
			"with 409 and key_busy; where the answer held a secret, with 409 and answer_shown_once. What was refused may be sent again.",
		Schema:  &huma.Schema{Type: huma.TypeString, MinLength: &least, MaxLength: &most, Pattern: keyPattern.String()},
		Example: "4f0c7b1e-onboard-contoso",
	}
}

func textHeader(description, example string) *huma.Header {
	return &huma.Header{Description: description, Schema: &huma.Schema{Type: huma.TypeString}, Example: example}
}

func secondsHeader(description string) *huma.Header {
	least := 1.0
	return &huma.Header{Description: description, Schema: &huma.Schema{Type: huma.TypeInteger, Minimum: &least}, Example: 5}
}

// refusals are the answers that operations share, by status.
func refusals() map[int]*huma.Response {
	retry := map[string]*huma.Header{"Retry-After": secondsHeader("Seconds to wait before it is asked again")}
	return map[int]*huma.Response{
		http.StatusBadRequest:            {Description: "The body is no JSON that can be read"},
		http.StatusUnauthorized:          {Description: "A valid token is needed", Headers: map[string]*huma.Header{"WWW-Authenticate": textHeader("How to send one (RFC 6750)", challenge)}},
		http.StatusForbidden:             {Description: "The token may not do this"},
		http.StatusNotFound:              {Description: "The named thing does not exist, or is none of the token's"},
		http.StatusConflict:              {Description: "The present state does not allow it"},
		http.StatusPreconditionFailed:    {Description: "The settings are others by now than If-Match names"},
		http.StatusRequestEntityTooLarge: {Description: "The body is too large"},
		http.StatusUnsupportedMediaType:  {Description: "The body is no JSON, is compressed, or is in another character set than UTF-8"},
		http.StatusUnprocessableEntity:   {Description: "Fields are not valid: `errors` names them"},
		http.StatusTooManyRequests:       {Description: "The token sends too much", Headers: retry},
		http.StatusServiceUnavailable:    {Description: "It passes: ask again", Headers: retry},
	}
}

// refusalName is the name of a shared answer in the document.
func refusalName(status int) string { return "Refused" + strconv.Itoa(status) }

// describe completes the document.
func describe(document *huma.OpenAPI) {
	key := keyParameter()
	replayed := textHeader("true: the answer of the first request with this idempotency key", "true")
	if document.Components.Responses == nil {
		document.Components.Responses = map[string]*huma.Response{}
	}
	for status, refusal := range refusals() {
		refusal.Content = map[string]*huma.MediaType{"application/problem+json": {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}}}
		document.Components.Responses[refusalName(status)] = refusal
	}
	for path, item := range document.Paths {
		for _, op := range methodsOf(item) {
			if op.Method == http.MethodPost {
				op.Parameters = append(op.Parameters, key)
				if done := op.Responses[strconv.Itoa(op.DefaultStatus)]; done != nil && !shownOnce[op.OperationID] {
					if done.Headers == nil {
						done.Headers = map[string]*huma.Header{}
					}
					done.Headers["Idempotency-Replayed"] = replayed
				}
			}
			for _, status := range refusedWith(path, op) {
				op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/" + refusalName(status)}
			}
		}
	}
}

// refusedWith lists the statuses of refusals that an operation can meet.
func refusedWith(path string, op *huma.Operation) []int {
	met := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusServiceUnavailable}
	if strings.Contains(path, "{") || op.RequestBody != nil {
		met = append(met, http.StatusNotFound)
	}
	if op.Method != http.MethodGet {
		met = append(met, http.StatusConflict)
	}
	if op.RequestBody != nil {
		met = append(met, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.Name == "If-Match" }) {
		met = append(met, http.StatusPreconditionFailed)
	}
	return met
}

// methodsOf are the operations of a path.
func methodsOf(item *huma.PathItem) []*huma.Operation {
	return slices.DeleteFunc([]*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete}, func(op *huma.Operation) bool { return op == nil })
}
