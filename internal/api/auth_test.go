package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// operation is one line of the OpenAPI document.
type operation struct{ id, method, path string }

// filled is the path with an ID for every parameter.
func (o operation) filled(tenant tenantry.TenantID) string {
	return strings.NewReplacer(
		"{tenant}", string(tenant), "{resource}", string(ada), "{workload}", "mailbox", "{snapshot}", "7",
		"{item}", "i1", "{policy}", "p-0000000000000000", "{run}", "0000000000000aaaaaaaaaaaa", "{task}", "0000000000000aaaaaaaaaaaa",
		"{name}", "nobody", "{credential}", "c-0000000000000000", "{pool}", "nowhere",
	).Replace(o.path)
}

func operations(t *testing.T) []operation {
	t.Helper()
	doc, err := api.OpenAPI()
	must(t, err)
	var spec struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		}
	}
	must(t, json.Unmarshal(doc, &spec))
	var all []operation
	for path, methods := range spec.Paths {
		for method, op := range methods {
			all = append(all, operation{op.OperationID, strings.ToUpper(method), path})
		}
	}
	if len(all) < 20 {
		t.Fatalf("the document has %d operations only", len(all))
	}
	return all
}

// Every documented operation refuses every wrong credential in the same words.
func TestEveryOperationNeedsToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	tenant := h.addTenant("Contoso", contosoGUID)
	other, _ := api.NewToken()
	credentials := map[string]func(*http.Request){
		"none":       func(*http.Request) {},
		"empty":      func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") },
		"basic":      func(r *http.Request) { r.SetBasicAuth("operator", h.token) },
		"unknown":    func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+other.Reveal()) },
		"hash":       func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+api.HashToken(h.token)) },
		"very long":  func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+strings.Repeat("x", 5000)) },
		"the cookie": func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "tenantry_session", Value: h.token}) },
	}
	var first []byte
	for _, op := range operations(t) {
		for name, credential := range credentials {
			r := h.request(op.method, op.filled(tenant), nil)
			credential(r)
			got := h.send(r)
			h.problemWith(got, http.StatusUnauthorized, tenantry.Unauthorized)
			if got.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s with %s: no WWW-Authenticate", op.id, name)
			}
			if first == nil {
				first = got.body
			}
			if string(got.body) != string(first) {
				t.Errorf("%s with %s answers %s, others %s", op.id, name, got.body, first)
			}
		}
	}
}

// The routes that are open are these and no others: everything that is mounted
// beside the documented operations is named here.
func TestOpenRoutes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for path, want := range map[string]int{
		"/":                    http.StatusSeeOther,
		"/docs":                http.StatusOK,
		"/assets/page.css":     http.StatusOK,
		"/assets/docs.js":      http.StatusOK,
		"/assets/docs.html":    http.StatusNotFound,
		"/assets/..%2fpage.go": http.StatusNotFound,
		"/openapi.json":        http.StatusOK,
		"/login":               http.StatusOK,
		"/healthz":             http.StatusOK,
		"/readyz":              http.StatusOK,
		"/metrics":             http.StatusOK,
		"/v1/consent/callback": http.StatusBadRequest,
		"/queues":              http.StatusUnauthorized,
		"/queues/api/queues":   http.StatusUnauthorized,
		"/v1/nothing":          http.StatusNotFound,
	} {
		if got := h.send(h.request("GET", path, nil)); got.status != want {
			t.Errorf("GET %s: %d, want %d: %s", path, got.status, want, got.body)
		}
	}
}

func TestTokenTextAndHash(t *testing.T) {
	t.Parallel()
	token, hash := api.NewToken()
	again, _ := api.NewToken()
	if token == again {
		t.Error("two tokens are the same")
	}
	if hash != api.HashToken(token.Reveal()) || strings.Contains(hash, token.Reveal()) {
		t.Error("the hash is not that of the token")
	}
	if !strings.HasPrefix(token.Reveal(), "tenantry_") || len(token.Reveal()) < 40 {
		t.Errorf("token %d characters, want a prefix and 256 bits", len(token.Reveal()))
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for name, cfg := range map[string]api.Config{
		"Catalog":   {PublicURL: "https://backup.example.com"},
		"PublicURL": {Catalog: h.catalog, PublicURL: "backup.example.com"},
	} {
		_, err := api.New(cfg)
		if tenantry.KindOf(err) != tenantry.Invalid || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want Invalid naming %s", err, name)
		}
	}
}
