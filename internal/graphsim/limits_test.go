package graphsim_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/graphsim"
)

func retryAfter(t *testing.T, resp *http.Response) time.Duration {
	t.Helper()
	seconds, err := strconv.ParseFloat(resp.Header.Get("Retry-After"), 64)
	must(t, err)
	return time.Duration(seconds * float64(time.Second))
}

func TestMailboxLimit(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 2, MailLimit: 5})
	path := "users/" + c.tenant.Users()[0].ID + "/mailFolders/inbox"
	for range 5 {
		c.get(path)
	}
	resp := c.do("GET", path, nil)
	body := decode[object](t, resp)["error"].(object)
	if resp.StatusCode != 429 || body["code"] != "ApplicationThrottled" {
		t.Fatalf("sixth request: %d %v", resp.StatusCode, body)
	}
	c.get("users/" + c.tenant.Users()[1].ID + "/mailFolders/inbox") // another mailbox is free
	if got := s.Stats().Tenants[c.tenant.ID()]; got.TotalThrottled() != 1 || got.Requests["outlook"] != 7 {
		t.Errorf("stats %+v", got)
	}
	s.Advance(retryAfter(t, resp))
	c.get(path)
}

// A burst at the end of one fixed window and another at the start of the next
// stay within each, but not within the sliding one.
func TestSlidingWindowCountsToo(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, MailLimit: 6})
	path := "users/" + c.tenant.Users()[0].ID + "/mailFolders/inbox"
	s.Advance(590 * time.Second)
	for range 4 {
		c.get(path)
	}
	s.Advance(20 * time.Second)
	c.get(path)
	c.get(path)
	if code := c.refused(429, "GET", path, nil); code != "ApplicationThrottled" {
		t.Errorf("code %s", code)
	}
}

// Who keeps asking while throttled waits longer.
func TestThrottledRequestsCount(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, MailLimit: 3})
	path := "users/" + c.tenant.Users()[0].ID + "/mailFolders/inbox"
	for range 3 {
		c.get(path)
	}
	s.Advance(300 * time.Second)
	for range 5 {
		c.refused(429, "GET", path, nil)
	}
	s.Advance(310 * time.Second) // the first three are out of every window, the refused are not
	c.refused(429, "GET", path, nil)
}

func TestSharePointLimit(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, SharePointPerMinute: 20})
	path := "users/" + c.tenant.Users()[0].ID + "/drive"
	var remaining []string
	for range 20 {
		resp := c.do("GET", path, nil)
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Fatalf("status %d", resp.StatusCode)
		}
		if v := resp.Header.Get("RateLimit-Remaining"); v != "" {
			remaining = append(remaining, v)
		}
	}
	if len(remaining) != 5 || remaining[0] != "4" || remaining[4] != "0" {
		t.Errorf("RateLimit-Remaining from 80 %% on: %v", remaining)
	}
	resp := c.do("GET", path, nil)
	resp.Body.Close()
	if resp.StatusCode != 429 || resp.Header.Get("RateLimit-Reset") == "" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	s.Advance(retryAfter(t, resp))
	c.get(path)
}

func TestIdentityLimit(t *testing.T) {
	t.Parallel()
	limits := graphsim.Limits{Identity: []graphsim.Tier{{UpTo: 0, Quota: graphsim.Quota{Max: 10, Seconds: 3600}}}}
	_, c := start(t, graphsim.Options{Limits: limits}, graphsim.TenantSpec{Users: 1})
	for i := range 5 {
		resp := c.do("GET", "users", nil) // 2 units
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.Header.Get("x-ms-resource-unit") != "2" {
			t.Fatalf("request %d: %d %v", i, resp.StatusCode, resp.Header)
		}
		if percentage := resp.Header.Get("x-ms-throttle-limit-percentage"); (percentage != "") != (i >= 3) {
			t.Errorf("request %d: percentage %q", i, percentage)
		}
	}
	resp := c.do("GET", "users", nil)
	resp.Body.Close()
	if resp.StatusCode != 429 || resp.Header.Get("x-ms-throttle-scope") == "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}
