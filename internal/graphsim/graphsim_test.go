package graphsim_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tenantry/tenantry/internal/graphsim"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// start starts a simulator with one tenant that consented.
func start(t *testing.T, o graphsim.Options, spec graphsim.TenantSpec) (*graphsim.Server, *client) {
	t.Helper()
	s, err := graphsim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	tenant := s.AddTenant(spec)
	tenant.Consent()
	return s, newClient(t, s, tenant)
}

// client speaks to a simulator with nothing but net/http.
type client struct {
	t      *testing.T
	s      *graphsim.Server
	tenant *graphsim.Tenant
	http   *http.Client
	token  string
	prefer string
}

func newClient(t *testing.T, s *graphsim.Server, tenant *graphsim.Tenant) *client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	c := &client{t: t, s: s, tenant: tenant, prefer: `IdType="ImmutableId"`, http: &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	c.token = c.mustToken()
	return c
}

func (c *client) askToken(tenant string, form url.Values) (int, map[string]any) {
	c.t.Helper()
	resp, err := c.http.PostForm(c.s.URL()+"/"+tenant+"/oauth2/v2.0/token", form)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, decode[map[string]any](c.t, resp)
}

func secretForm(id, secret string) url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret},
		"scope": {"https://graph.microsoft.com/.default"}}
}

func (c *client) mustToken() string {
	c.t.Helper()
	form := secretForm(graphsim.DefaultClientID, graphsim.DefaultSecret)
	form.Set("scope", "00000003-0000-0000-c000-000000000000/.default") // Graph, in whichever cloud
	status, body := c.askToken(c.tenant.ID(), form)
	if status != http.StatusOK {
		c.t.Fatalf("token: %d %v", status, body)
	}
	return body["access_token"].(string)
}

func decode[T any](t *testing.T, resp *http.Response) (v T) {
	t.Helper()
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v in %q", err, data)
	}
	return v
}

// do sends a request to a path below /v1.0 or to a full URL.
func (c *client) do(method, target string, body any, headers ...string) *http.Response {
	c.t.Helper()
	if !strings.HasPrefix(target, "http") {
		target = c.s.URL() + "/v1.0/" + target
	}
	var rd io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		rd = bytes.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		rd = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, target, rd)
	if err != nil {
		c.t.Fatal(err)
	}
	if strings.HasPrefix(target, c.s.URL()) {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	req.Header.Set("Prefer", c.prefer)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp
}

type object = map[string]any

// want sends a request and returns the JSON answer, which must have a status.
func (c *client) want(status int, method, target string, body any, headers ...string) object {
	c.t.Helper()
	resp := c.do(method, target, body, headers...)
	if resp.StatusCode != status {
		data, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		c.t.Fatalf("%s %s: %d, want %d: %.300s", method, target, resp.StatusCode, status, data)
	}
	if resp.ContentLength == 0 {
		resp.Body.Close()
		return nil
	}
	return decode[object](c.t, resp)
}

func (c *client) get(target string) object { c.t.Helper(); return c.want(200, "GET", target, nil) }

// refused sends a request and returns the error code of the answer.
func (c *client) refused(status int, method, target string, body any, headers ...string) string {
	c.t.Helper()
	answer := c.want(status, method, target, body, headers...)
	return answer["error"].(object)["code"].(string)
}

// round follows a collection to its end; it returns the items, the deltaLink
// ("" of a list) and how many pages there were.
func (c *client) round(target string) (items []object, deltaLink string, pages int) {
	c.t.Helper()
	for {
		page := c.get(target)
		pages++
		for _, v := range page["value"].([]any) {
			items = append(items, v.(object))
		}
		next, more := page["@odata.nextLink"].(string)
		if !more {
			deltaLink, _ = page["@odata.deltaLink"].(string)
			return items, deltaLink, pages
		}
		target = next
	}
}

func ids(items []object) map[string]object {
	m := map[string]object{}
	for _, item := range items {
		m[item["id"].(string)] = item
	}
	return m
}
