package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// contract is the document as far as it says what holds for many operations alike.
type contract struct {
	OpenAPI    string
	Paths      map[string]map[string]contractOperation
	Components struct {
		Responses map[string]contractResponse
	}
}

type contractOperation struct {
	OperationID string
	Parameters  []struct {
		Name, In, Description string
		Example               any
		Schema                struct {
			Type, Pattern        string
			MinLength, MaxLength int
			Examples             []string
		}
	}
	Responses map[string]contractResponse
}

type contractResponse struct {
	Ref     string `json:"$ref"`
	Headers map[string]struct {
		Schema struct{ Type string }
	}
	Content map[string]struct {
		Schema struct {
			Ref string `json:"$ref"`
		}
	}
}

func (o contractOperation) done() contractResponse {
	for status, answer := range o.Responses {
		if strings.HasPrefix(status, "2") {
			return answer
		}
	}
	return contractResponse{}
}

func (h *house) contract() contract {
	h.t.Helper()
	var c contract
	must(h.t, json.Unmarshal(h.want(http.StatusOK, "GET", "/openapi.json", nil).body, &c))
	if c.OpenAPI != "3.1.0" || len(c.Paths) < 50 {
		h.t.Fatalf("OpenAPI %s, %d paths", c.OpenAPI, len(c.Paths))
	}
	return c
}

// The document says of every operation what its callers have to send and may meet: idempotency keys, ETags, when to try again.
func TestDocumentSaysWhatHoldsForAll(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.contract()
	posts := 0
	for path, methods := range c.Paths {
		for method, op := range methods {
			keys := 0
			for _, p := range op.Parameters {
				if p.Name == "Idempotency-Key" {
					keys++
					if p.In != "header" || p.Schema.Pattern == "" || p.Schema.MinLength != 1 || p.Schema.MaxLength != 100 || p.Example == nil || !strings.Contains(p.Description, "key_reused") {
						t.Errorf("%s: idempotency key %+v", op.OperationID, p)
					}
				}
				if p.Name == "If-Match" && (len(p.Schema.Examples) == 0 || op.Responses["412"].Ref == "") {
					t.Errorf("%s: If-Match %+v, 412 %+v", op.OperationID, p, op.Responses["412"])
				}
			}
			if want := map[bool]int{true: 1}[method == "post"]; keys != want {
				t.Errorf("%s %s takes %d idempotency keys", method, path, keys)
			}
			if method == "post" {
				posts++
				_, says := op.done().Headers["Idempotency-Replayed"]
				if once := slices.Contains([]string{"add-token", "start-consent", "enable-workload", "add-enrolment"}, op.OperationID); says == once {
					t.Errorf("%s says that answers are replayed: %v", op.OperationID, says)
				}
				if op.Responses["409"].Ref == "" {
					t.Errorf("%s has no 409", op.OperationID)
				}
			}
			for _, status := range []string{"401", "403", "422", "429", "503"} {
				answer, ok := c.Components.Responses[strings.TrimPrefix(op.Responses[status].Ref, "#/components/responses/")]
				if !ok || !strings.HasSuffix(answer.Content["application/problem+json"].Schema.Ref, "/Problem") {
					t.Errorf("%s: %s is %+v", op.OperationID, status, op.Responses[status])
				}
			}
		}
	}
	if posts < 30 {
		t.Errorf("%d POSTs", posts)
	}
	for _, status := range []string{"429", "503"} {
		if c.Components.Responses["Refused"+status].Headers["Retry-After"].Schema.Type != "integer" {
			t.Errorf("%s does not say when to try again", status)
		}
	}
}

// changeable is a setting that a PUT or a PATCH changes: where it is read, and two values of it.
type changeable struct {
	read          string // "" is where it is written
	first, second map[string]any
}

// changeables are the settings that every PUT and PATCH of the document changes, by operation.
func changeables() map[string]changeable {
	type object = map[string]any
	return map[string]changeable{
		"change-tenant":      {"", object{"weight": 20}, object{"weight": 30}},
		"set-pool":           {"/v1/tenants/{tenant}", object{"pool": "perth"}, object{"pool": "main"}},
		"change-policy":      {"", object{"name": "nightly"}, object{"name": "weekly"}},
		"set-planning":       {"", object{"time_zone": "Europe/Vienna", "open_schedules": true}, object{"time_zone": "UTC", "open_schedules": true}},
		"set-licensing":      {"", object{"mode": "automatic", "take": []string{"user"}, "soft_quota": 5}, object{"mode": "manual", "take": []string{"user"}}},
		"set-retention":      {"/v1/tenants/{tenant}/policies/{policy}", object{"last": 3}, object{"last": 4}},
		"set-notices":        {"", object{"to": []string{"ada@example.com"}}, object{"to": []string{"bob@example.com"}}},
		"set-policy-notices": {"", object{"to": []string{"ada@example.com"}}, object{"to": []string{"bob@example.com"}}},
		"set-fleet-notices":  {"", object{"to": []string{"ada@example.com"}}, object{"to": []string{"bob@example.com"}}},
	}
}

// Every PUT and PATCH there is: what it changes is read with an ETag; with that it is done once, and a second time refused with a
// stable code, changing nothing; without it, it is done whatever the settings are, as the document says.
func TestEveryChangeTakesWhatWasRead(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.want(http.StatusCreated, "POST", "/v1/pools", map[string]any{"name": "perth"})
	walked := 0
	for path, methods := range h.contract().Paths {
		for method, op := range methods {
			if method != "put" && method != "patch" {
				continue
			}
			walked++
			c, known := changeables()[op.OperationID]
			if !known {
				t.Errorf("%s changes something that nobody reads here", op.OperationID)
				continue
			}
			t.Run(op.OperationID, func(t *testing.T) {
				h := *h
				h.t = t
				id := string(h.addConnected("Contoso", "00000000-0000-4000-8000-"+strconv.Itoa(100000000000+walked)))
				policy := h.want(http.StatusCreated, "POST", "/v1/tenants/"+id+"/policies", map[string]any{"name": "daily"}).text("id")
				fill := strings.NewReplacer("{tenant}", id, "{policy}", policy)
				write, read := fill.Replace(path), fill.Replace(c.read)
				if read == "" {
					read = write
				}
				method := strings.ToUpper(method)
				etag := func() string {
					t.Helper()
					tag := h.want(http.StatusOK, "GET", read, nil).header.Get("ETag")
					if len(tag) < 10 || !strings.HasPrefix(tag, `"`) {
						t.Fatalf("ETag %q", tag)
					}
					return tag
				}
				before := etag()
				first := h.changed(method, write, before, c.first)
				if first.status != http.StatusOK || first.header.Get("ETag") == before || first.header.Get("ETag") != etag() {
					t.Fatalf("with what was read: %d, ETag %s: %s", first.status, first.header.Get("ETag"), first.body)
				}
				second := h.changed(method, write, before, c.second)
				h.problemWith(second, http.StatusPreconditionFailed, "conflict")
				if second.text("code") != "changed_meanwhile" || etag() != first.header.Get("ETag") {
					t.Errorf("with what is not so any more: %s, now %s", second.body, etag())
				}
				if again := h.want(http.StatusOK, method, write, c.second); again.header.Get("ETag") != etag() || etag() == first.header.Get("ETag") {
					t.Errorf("without what was read: %s", again.body)
				}
			})
		}
	}
	if walked != len(changeables()) {
		t.Errorf("%d PUTs and PATCHes, %d settings", walked, len(changeables()))
	}
}
