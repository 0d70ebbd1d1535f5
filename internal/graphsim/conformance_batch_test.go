package graphsim_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// held is a rule that a client of a tenant checks.
func held(name string, check func(t *testing.T, c *client)) rule {
	return rule{name, func(w *world) { w.t.Helper(); check(w.t, w.client) }}
}

// batch sends a batch and returns the answers by ID.
func (c *client) batch(parts ...object) map[string]object {
	c.t.Helper()
	answer := c.want(200, "POST", "$batch", object{"requests": parts})
	byID := map[string]object{}
	for _, v := range answer["responses"].([]any) {
		byID[v.(object)["id"].(string)] = v.(object)
	}
	return byID
}

func get(id, url string, more ...any) object {
	part := object{"id": id, "method": "GET", "url": url}
	for i := 0; i+1 < len(more); i += 2 {
		part[more[i].(string)] = more[i+1]
	}
	return part
}

// Source: "Combine multiple requests in one HTTP call using JSON batching", "Known issues".
func TestConformanceBatch(t *testing.T) {
	t.Parallel()
	status := func(t *testing.T, answers map[string]object, want map[string]float64) {
		t.Helper()
		for id, code := range want {
			if answers[id]["status"] != code {
				t.Errorf("part %s: %v, want %v", id, answers[id], code)
			}
		}
		if len(answers) != len(want) {
			t.Errorf("%d answers, want %d", len(answers), len(want))
		}
	}
	refuses := func(body any) func(*testing.T, *client) {
		return func(t *testing.T, c *client) { t.Helper(); c.refused(400, "POST", "$batch", body) }
	}
	many := make([]object, 21)
	for i := range many {
		many[i] = get(fmt.Sprint(i), "/organization")
	}
	conform(t, graphsim.Options{}, graphsim.TenantSpec{Users: 3, FilesPerUser: 2, MailsPerUser: 3}, []rule{
		held("up to 20 requests", func(t *testing.T, c *client) {
			if got := c.batch(many[:20]...); len(got) != 20 {
				t.Errorf("%d answers", len(got))
			}
		}),
		held("more than 20 requests are refused", refuses(object{"requests": many})),
		held("no requests are refused", refuses(object{"requests": []object{}})),
		held("requests is the only property", refuses(object{"requests": many[:1], "other": 1})),
		held("a malformed batch answers 400", refuses([]byte(`{"requests":[`))),
		held("an id is required", refuses(object{"requests": []object{{"method": "GET", "url": "/users"}}})),
		held("a duplicate id fails the whole batch, whatever its case", refuses(object{"requests": []object{get("a", "/users"), get("A", "/users")}})),
		held("a method is required", refuses(object{"requests": []object{{"id": "1", "url": "/users"}}})),
		held("urls are relative", refuses(object{"requests": []object{get("1", "https://graph.microsoft.com/v1.0/users")}})),
		held("no nested batches", refuses(object{"requests": []object{get("1", "/$batch")}})),
		held("no nested batches, escaped", refuses(object{"requests": []object{get("1", "/%24batch")}})),
		held("a dependency has to be there", refuses(object{"requests": []object{get("1", "/users", "dependsOn", []string{"x"})}})),
		held("200 says nothing about the parts", func(t *testing.T, c *client) {
			status(t, c.batch(get("1", "/users/nobody"), get("2", "/organization")), map[string]float64{"1": 404, "2": 200})
		}),
		held("a failed dependency answers 424 to its dependants", func(t *testing.T, c *client) {
			status(t, c.batch(get("a", "/users/nobody"), get("b", "/organization", "dependsOn", []string{"A"}), get("c", "/users", "dependsOn", []string{"b"}),
				get("d", "/organization")), map[string]float64{"a": 404, "b": 424, "c": 424, "d": 200})
		}),
		held("answers come in any order", func(t *testing.T, c *client) {
			for range 20 {
				answer := c.want(200, "POST", "$batch", object{"requests": many[:20]})
				for i, v := range answer["responses"].([]any) {
					if v.(object)["id"] != fmt.Sprint(i) {
						return
					}
				}
			}
			t.Error("twenty batches answered in the order of the requests")
		}),
		held("headers are those of the part, not of the batch", func(t *testing.T, c *client) {
			user := c.tenant.Users()[0].ID
			answers := c.batch(get("1", "/users/"+user+"/messages?$top=1"),
				get("2", "/users/"+user+"/messages?$top=1", "headers", object{"Prefer": `IdType="ImmutableId"`}))
			first := func(id string) any {
				return answers[id]["body"].(object)["value"].([]any)[0].(object)["id"]
			}
			if first("1") == first("2") {
				t.Error("Prefer of the batch reached a part")
			}
			if _, applied := answers["2"]["headers"].(object)["Preference-Applied"]; !applied {
				t.Errorf("headers %v", answers["2"]["headers"])
			}
		}),
		held("a body needs a content type", func(t *testing.T, c *client) {
			id := c.tenant.Users()[0].ID
			must(t, c.tenant.DeleteUser(id))
			post := object{"id": "1", "method": "POST", "url": "/directory/deletedItems/" + id + "/restore", "body": object{}}
			status(t, c.batch(post), map[string]float64{"1": 400})
			post["headers"] = object{"Content-Type": "application/json"}
			status(t, c.batch(post), map[string]float64{"1": 200})
		}),
		held("an action without parameters needs a body", func(t *testing.T, c *client) {
			status(t, c.batch(object{"id": "1", "method": "POST", "url": "/directory/deletedItems/x/restore",
				"headers": object{"Content-Type": "application/json"}}), map[string]float64{"1": 400})
		}),
		held("binary bodies come as Base64, content as 302 with Location", func(t *testing.T, c *client) {
			user := c.tenant.Users()[0]
			id, err := c.tenant.PutFile(user.ID, "note.txt", []byte("hello"))
			must(t, err)
			message := c.get("users/" + user.ID + "/messages?$top=1")["value"].([]any)[0].(object)["id"].(string)
			answers := c.batch(get("1", "/drives/"+user.Drive+"/items/"+id+"/content"),
				get("2", "/users/"+user.ID+"/messages/"+url.PathEscape(message)+"/$value", "headers", object{"Prefer": `IdType="ImmutableId"`}))
			status(t, answers, map[string]float64{"1": 302, "2": 200})
			if answers["1"]["headers"].(object)["Location"] == nil {
				t.Errorf("content: %v", answers["1"])
			}
			mime, err := base64.StdEncoding.DecodeString(answers["2"]["body"].(string))
			if err != nil || !strings.Contains(string(mime), "Message-ID") && !strings.Contains(string(mime), "Message-Id") {
				t.Errorf("%v: %.100q", err, mime)
			}
		}),
		held("a binary body is Base64url", func(t *testing.T, c *client) {
			user := c.tenant.Users()[0]
			put := object{"id": "1", "method": "PUT", "url": "/drives/" + user.Drive + "/items/root:/b.txt:/content",
				"headers": object{"Content-Type": "text/plain"}, "body": base64.RawURLEncoding.EncodeToString([]byte("over the wire?>"))}
			status(t, c.batch(put), map[string]float64{"1": 201})
			put["id"], put["body"] = "2", "not base 64!"
			status(t, c.batch(put), map[string]float64{"2": 400})
		}),
		held("each part is throttled by itself, with its own Retry-After", func(t *testing.T, c *client) {
			_, err := c.s.Inject(graphsim.Fault{Kind: graphsim.FaultStatus, Status: 429, Code: "TooManyRequests", Path: "^/organization$", Tenant: c.tenant.ID(), Count: 1})
			must(t, err)
			answers := c.batch(get("1", "/organization"), get("2", "/users"))
			status(t, answers, map[string]float64{"1": 429, "2": 200})
			if code := answers["1"]["body"].(object)["error"].(object)["code"]; code == nil {
				t.Errorf("body %v", answers["1"]["body"])
			}
		}),
		held("atomicityGroup is ignored", func(t *testing.T, c *client) {
			status(t, c.batch(get("1", "/organization", "atomicityGroup", "g"), get("2", "/users/nobody", "atomicityGroup", "g")), map[string]float64{"1": 200, "2": 404})
		}),
		held("nextLink of a part is absolute", func(t *testing.T, c *client) {
			next, _ := c.batch(get("1", "/users?$top=1"))["1"]["body"].(object)["@odata.nextLink"].(string)
			if users, _, _ := c.round(next); len(users) != 2 {
				t.Errorf("%s gives %d users", next, len(users))
			}
		}),
		held("beta batches reach beta", func(t *testing.T, c *client) {
			answer := c.want(200, "POST", c.s.URL()+"/beta/$batch", object{"requests": []object{get("1", "/users?$top=1")}})
			next := answer["responses"].([]any)[0].(object)["body"].(object)["@odata.nextLink"].(string)
			if !strings.Contains(next, "/beta/users") {
				t.Error(next)
			}
		}),
	})
	t.Run("one dependency and one shape by the rule of 2021", func(t *testing.T) {
		t.Parallel()
		_, c := start(t, graphsim.Options{StrictBatchOrder: true}, graphsim.TenantSpec{Users: 1})
		on := func(id string, deps ...string) object { return get(id, "/organization", "dependsOn", deps) }
		for _, parts := range [][]object{{on("1"), on("2"), on("3")}, {on("1"), on("2", "1"), on("3", "2")}, {on("1"), on("2", "1"), on("3", "1")}} {
			c.batch(parts...)
		}
		for _, parts := range [][]object{{on("1"), on("2", "1"), on("3")}, {on("1"), on("2", "1"), on("3", "1", "2")}} {
			c.refused(400, "POST", "$batch", object{"requests": parts})
		}
	})
}

// Source: "Error responses and resource types", "Best practices".
func TestConformanceErrors(t *testing.T) {
	t.Parallel()
	conform(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1}, []rule{
		held("an error has code, message and innerError with date and ids", func(t *testing.T, c *client) {
			resp := c.do("GET", "users/nobody", nil, "client-request-id", "66666666-7777-8888-9999-000000000000")
			body := decode[object](t, resp)["error"].(object)
			inner := body["innerError"].(object)
			if body["code"] != "Request_ResourceNotFound" || body["message"] == "" || inner["date"] == nil ||
				inner["request-id"] != resp.Header.Get("request-id") || inner["client-request-id"] != "66666666-7777-8888-9999-000000000000" ||
				resp.Header.Get("client-request-id") != "66666666-7777-8888-9999-000000000000" {
				t.Errorf("%v %v", resp.Header, body)
			}
		}),
		held("request-id is a GUID of its own", func(t *testing.T, c *client) {
			seen := map[string]bool{}
			for range 3 {
				resp := c.do("GET", "organization", nil)
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				id := resp.Header.Get("request-id")
				if len(id) != 36 || seen[id] || resp.Header.Get("Date") == "" {
					t.Errorf("request-id %q", id)
				}
				seen[id] = true
			}
		}),
		held("x-ms-ags-diagnostic is JSON with ServerInfo", func(t *testing.T, c *client) {
			resp := c.do("GET", "organization", nil)
			resp.Body.Close()
			var v struct{ ServerInfo map[string]string }
			must(t, json.Unmarshal([]byte(resp.Header.Get("x-ms-ags-diagnostic")), &v))
			for _, name := range []string{"DataCenter", "Slice", "Ring", "ScaleUnit", "RoleInstance"} {
				if v.ServerInfo[name] == "" {
					t.Errorf("no %s", name)
				}
			}
		}),
		held("Preference-Applied names what took effect and nothing else", func(t *testing.T, c *client) {
			c.prefer = `odata.maxpagesize=7, no.such.thing`
			resp := c.do("GET", "users", nil)
			resp.Body.Close()
			if got := resp.Header.Get("Preference-Applied"); got != "odata.maxpagesize=7" {
				t.Errorf("%q", got)
			}
		}),
		held("an unknown path is refused", func(t *testing.T, c *client) { c.refused(400, "GET", "nothing/of/that", nil) }),
		held("an unknown version is no Graph", func(t *testing.T, c *client) {
			resp := c.do("GET", c.s.URL()+"/v9.9/users", nil)
			resp.Body.Close()
			if resp.StatusCode != http.StatusNotFound {
				t.Errorf("%d", resp.StatusCode)
			}
		}),
		held("a wrong method answers 405 Request_BadRequest", func(t *testing.T, c *client) {
			if code := c.refused(405, "PUT", "organization", []byte("{}")); code != "Request_BadRequest" {
				t.Error(code)
			}
		}),
	})
}

// fuzzed starts a simulator for a fuzz target, without limits that its own traffic meets.
func fuzzed(f *testing.F, spec graphsim.TenantSpec) *client {
	f.Helper()
	s, err := graphsim.Start(graphsim.Options{TokenLife: 24 * time.Hour, TokenLoop: graphsim.Quota{Max: -1}})
	if err != nil {
		f.Fatal(err)
	}
	c := &client{t: new(testing.T), s: s, tenant: s.AddTenant(spec), http: &http.Client{Transport: &http.Transport{}}}
	c.tenant.Consent()
	c.token = c.mustToken()
	f.Cleanup(func() {
		c.http.CloseIdleConnections()
		if err := s.Close(); err != nil {
			f.Error(err)
		}
	})
	return c
}

// in is the client in one run of a fuzz target.
func (c *client) in(t *testing.T) *client {
	one := *c
	one.t = t
	return &one
}

// FuzzBatch: whatever a batch says, it is answered; 200 only with an answer to every part.
func FuzzBatch(f *testing.F) {
	for _, seed := range []string{
		`{"requests":[{"id":"1","method":"GET","url":"/users"}]}`,
		`{"requests":[{"id":"a","method":"GET","url":"/users"},{"id":"b","method":"GET","url":"/organization","dependsOn":["A"]}]}`,
		`{"requests":[{"id":"1","method":"POST","url":"/%24batch","body":{"requests":[]},"headers":{"Content-Type":"application/json"}}]}`,
		`{"requests":[{"id":"1","method":"G T","url":"/users"}]}`, `{"requests":null}`, `[]`, `{"requests":[{"id":1}]}`,
		`{"requests":[{"id":"1","method":"GET","url":"//evil/x"},{"id":"2","method":"GET","url":"/users/../$batch"}]}`,
		`{"requests":[{"id":"1","method":"PATCH","url":"/users/x","body":"AAA","headers":{"Content-Type":"a","Bad Header\n":"x"}}]}`,
	} {
		f.Add(seed)
	}
	c := fuzzed(f, graphsim.TenantSpec{Users: 2})
	f.Fuzz(func(t *testing.T, body string) {
		c := c.in(t)
		resp := c.do("POST", "$batch", []byte(body))
		if resp.StatusCode >= 500 {
			t.Fatalf("%d", resp.StatusCode)
		}
		answer := decode[object](t, resp)
		if resp.StatusCode != http.StatusOK {
			return
		}
		var in struct{ Requests []any }
		must(t, json.Unmarshal([]byte(body), &in))
		if got := len(answer["responses"].([]any)); got != len(in.Requests) || got == 0 {
			t.Fatalf("%d answers to %d requests", got, len(in.Requests))
		}
		for _, v := range answer["responses"].([]any) {
			if code := v.(object)["status"].(float64); code >= 500 {
				t.Fatalf("part: %v", v)
			}
		}
	})
}
