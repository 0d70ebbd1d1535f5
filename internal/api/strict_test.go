package api_test

import (
	"net/http"
	"strings"
	"testing"
)

// A body is refused as a whole, with 400 and its reason, before anything is read from it.
func TestBodiesThatAreNoGoodJSON(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	deep := strings.Repeat("[", 33) + strings.Repeat("]", 33)
	for name, test := range map[string]struct{ body, says string }{
		"a name twice":          {`{"name":"A","directory":"a.example.com","name":"B"}`, "stands twice"},
		"a name twice, escaped": {`{"name":"A","n\u0061me":"B","directory":"a.example.com"}`, "stands twice"},
		"bytes that are none":   {"{\"name\":\"A\xff\",\"directory\":\"a.example.com\"}", "not UTF-8"},
		"half a character":      {`{"name":"A\ud800","directory":"a.example.com"}`, "not JSON"},
		"too deep":              {`{"name":` + deep + `,"directory":"a.example.com"}`, "deeper than 32"},
		"too long a list":       {`{"name":[` + strings.Repeat("1,", 10_000) + `1],"directory":"a.example.com"}`, "more than 10000 entries"},
		"long lists in a list":  {`{"name":[` + strings.Repeat("[],", 10_000) + `[]],"directory":"a.example.com"}`, "more than 10000 entries"},
		"a byte order mark":     {"\ufeff" + `{"name":"A","directory":"a.example.com"}`, "not JSON"},
		"something behind":      {`{"name":"A","directory":"a.example.com"} {}`, ""},
		"half of it":            {`{"name":"A","directory"`, "not JSON"},
	} {
		got := h.call("POST", "/v1/tenants", test.body)
		if got.status != http.StatusBadRequest || got.text("kind") != "invalid" || !strings.Contains(string(got.body), test.says) {
			t.Errorf("%s: %d %.300s", name, got.status, got.body)
		}
		if strings.Contains(string(got.body), "a.example.com") {
			t.Errorf("%s: shows the body: %.300s", name, got.body)
		}
	}
}

// What a refusal says is bounded, however much is wrong, and however long it is.
func TestRefusalsAreShort(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addTenant("Contoso", "contoso.com")
	many := `"x"` + strings.Repeat(`,"x"`, 9_999) // as many as a list may have: each is the one before, and no event
	for name, body := range map[string]string{
		"the same one over and over": `{"to":[` + many + `]}`,
		"none of them a word":        `{"to":[1` + strings.Repeat(",1", 9_999) + `]}`,
		"not the words of an enum":   `{"to":[],"events":[` + many + `]}`,
		"a name that is long":        `{"to":[],"` + strings.Repeat("n", 500_000) + `":1}`,
		"a value that is long":       `{"to":["` + strings.Repeat("n", 500_000) + `"]}`,
	} {
		got := h.call("PUT", "/v1/tenants/"+string(id)+"/notices", body)
		if got.status != http.StatusUnprocessableEntity || len(got.body) > 16<<10 || got.text("kind") != "invalid" {
			t.Errorf("%s: %d, %d bytes: %.300s", name, got.status, len(got.body), got.body)
		}
	}
}

// A policy's name stands in tables and in the subjects of mails.
func TestPolicyNames(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	path := "/v1/tenants/" + string(id) + "/policies"
	policy := h.want(http.StatusCreated, "POST", path, planBody()).text("id")
	for _, name := range []string{"a\r\nBcc: all@contoso.com", "a\x1b[31mb", " \t ", "\u0085"} {
		body := planBody()
		body["name"] = name
		if got := h.call("POST", path, body); got.status != http.StatusUnprocessableEntity || !strings.Contains(string(got.body), "body.name") {
			t.Errorf("added as %q: %d %s", name, got.status, got.body)
		}
		if got := h.call("PATCH", path+"/"+policy, map[string]any{"name": name}); got.status != http.StatusUnprocessableEntity || !strings.Contains(string(got.body), "body.name") {
			t.Errorf("renamed to %q: %d %s", name, got.status, got.body)
		}
	}
}
