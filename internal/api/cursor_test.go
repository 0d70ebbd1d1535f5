package api_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// A cursor leads on in the listing that gave it, with its filters, for whoever sees as much; anything else is refused.
func TestCursorsAreOfTheirListing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id, other := string(h.addConnected("Contoso", contosoGUID)), string(h.addConnected("Fabrikam", fabrikamGUID))
	list := func(path string, query url.Values) reply {
		t.Helper()
		return h.call("GET", path+"?"+query.Encode(), nil)
	}
	refused := func(what, path string, query url.Values) {
		t.Helper()
		got := list(path, query)
		h.problemWith(got, http.StatusUnprocessableEntity, tenantry.Invalid, "query.after")
		if got.text("code") != "cursor_invalid" || got.text("errors.0.location") != "query.after" {
			t.Errorf("%s: %s", what, got.body)
		}
	}
	resources := "/v1/tenants/" + id + "/resources"
	first := list(resources, url.Values{"limit": {"1"}, "kind": {"user"}})
	next := first.text("next")
	if first.status != http.StatusOK || next == "" || first.text("items.0.name") != "Ada" {
		t.Fatalf("%d %s", first.status, first.body)
	}
	// Where it may be used: however long the page is that comes.
	for _, limit := range []string{"1", "100"} {
		if got := list(resources, url.Values{"limit": {limit}, "kind": {"user"}, "after": {next}}); got.text("items.0.name") != "Bob" {
			t.Errorf("limit %s: %d %s", limit, got.status, got.body)
		}
	}
	refused("another filter", resources, url.Values{"kind": {"group"}, "after": {next}})
	refused("no filter", resources, url.Values{"after": {next}})
	refused("another tenant", "/v1/tenants/"+other+"/resources", url.Values{"kind": {"user"}, "after": {next}})
	refused("another listing", "/v1/tenants/"+id+"/runs", url.Values{"after": {next}})
	h.as(h.tokenFor(api.TenantAdmin, tenantry.TenantID(id)), func() {
		refused("another view", resources, url.Values{"kind": {"user"}, "after": {next}})
	})
	// Its last character has spare bits: each bit that counts is changed.
	text, err := base64.RawURLEncoding.DecodeString(next)
	must(t, err)
	for i := range text {
		tampered := append([]byte{}, text...)
		tampered[i] ^= 1
		refused("tampered with", resources, url.Values{"kind": {"user"}, "after": {base64.RawURLEncoding.EncodeToString(tampered)}})
	}
	for _, after := range []string{string(ada), "x", "1", next[:8], next + "AAAA", strings.Repeat("A", 4000), "'; DROP TABLE tenants; --"} {
		refused("made up", resources, url.Values{"kind": {"user"}, "after": {after}})
	}
}

// Every listing that takes a cursor refuses what is none, before it looks at anything else of it.
func TestEveryListingChecksItsCursor(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	policy := h.want(http.StatusCreated, "POST", "/v1/tenants/"+string(id)+"/policies", map[string]any{"name": "daily"}).text("id")
	listings := 0
	for _, op := range describedOperations(t) {
		takes := false
		for _, p := range op.params {
			takes = takes || p.Name == "after"
		}
		if !takes {
			continue
		}
		listings++
		path := strings.Replace(op.filled(id), "p-0000000000000000", policy, 1)
		for _, after := range []string{"r-0123456789abcdef", "17", "AAAAAAAAAAAAAAAAAAAAAAAA"} {
			var body any
			if valid, ok := bodies()[op.id]; ok {
				body = valid
			} else if op.fields != nil {
				body = map[string]any{}
			}
			got := h.call(op.method, path+"?after="+after, body)
			if got.status != http.StatusUnprocessableEntity || got.text("code") != "cursor_invalid" {
				t.Errorf("%s after %s: %d %s", op.id, after, got.status, got.body)
			}
		}
	}
	if listings < 15 {
		t.Errorf("%d listings", listings)
	}
}
