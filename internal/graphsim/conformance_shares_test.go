package graphsim_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// In the last share of a quota low requests are refused while others pass, high ones to the
// last; none has more of it, and what is refused is counted whatever its priority.
func TestIdentityPriority(t *testing.T) {
	t.Parallel()
	hundred := []graphsim.Tier{{Quota: graphsim.Quota{Max: 100, Seconds: 3600}}}
	passed := func(c *client, priority string, most int) (n int) {
		for ; n < most; n++ {
			resp := c.do("GET", "users/delta", nil, "x-ms-throttle-priority", priority)
			resp.Body.Close()
			if resp.StatusCode == http.StatusTooManyRequests {
				if wait := retryAfter(t, resp); wait <= 0 || !strings.HasPrefix(resp.Header.Get("x-ms-throttle-scope"), "Tenant_Application/ReadWrite/") {
					t.Errorf("%s: after %s, scope %q", priority, wait, resp.Header.Get("x-ms-throttle-scope"))
				}
				return n
			}
		}
		return n
	}
	for name, tc := range map[string]struct {
		shares graphsim.Priorities
		asked  []string // in turn, each until it is refused
		passed []int    // of 100 units, of which one goes for each refusal
	}{
		"as documented":         {graphsim.Priorities{}, []string{"low", "normal"}, []int{90, 9}},
		"none is normal":        {graphsim.Priorities{}, []string{"Low", "no such priority"}, []int{90, 9}},
		"high has no more":      {graphsim.Priorities{}, []string{"high", "low", "normal"}, []int{100, 0, 0}},
		"low stays refused":     {graphsim.Priorities{}, []string{"low", "low", "low", "high"}, []int{90, 0, 0, 7}},
		"shares from the table": {graphsim.Priorities{Low: 50, Normal: 80}, []string{"low", "normal", "low", "high"}, []int{50, 29, 0, 18}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c := start(t, graphsim.Options{Limits: graphsim.Limits{Identity: hundred, IdentityPriority: tc.shares}}, graphsim.TenantSpec{Users: 1})
			for i, priority := range tc.asked {
				if n := passed(c, priority, 101); n != tc.passed[i] {
					t.Errorf("%d: %d of priority %s pass, not %d", i, n, priority, tc.passed[i])
				}
			}
		})
	}
	t.Run("writes", func(t *testing.T) {
		t.Parallel()
		_, c := start(t, graphsim.Options{Limits: graphsim.Limits{IdentityWrites: graphsim.Quota{Max: 10, Seconds: 3600}}}, graphsim.TenantSpec{Users: 1})
		path := "directory/deletedItems/" + c.tenant.Users()[0].ID + "/restore"
		for i, priority := range strings.Fields("low low low low low low low low low low normal normal") {
			resp := c.do("POST", path, nil, "x-ms-throttle-priority", priority)
			resp.Body.Close()
			if refused := resp.StatusCode == http.StatusTooManyRequests; refused != (i >= 9) {
				t.Errorf("write %d of priority %s: %d", i+1, priority, resp.StatusCode)
			}
		}
	})
	t.Run("Outlook has no priorities", func(t *testing.T) {
		t.Parallel()
		_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, MailLimit: 10})
		for range 10 {
			c.want(200, "GET", "users/"+c.tenant.Users()[0].ID+"/mailFolders/inbox", nil, "x-ms-throttle-priority", "low")
		}
	})
}

// Shares that rise the wrong way are refused before anything starts.
func TestPrioritiesAreChecked(t *testing.T) {
	t.Parallel()
	for shares, good := range map[string]bool{`{"low": 60}`: true, `{"low": 95, "normal": 90}`: false, `{"high": 101}`: false, `{"low": -1}`: false} {
		file := filepath.Join(t.TempDir(), "limits.json")
		must(t, os.WriteFile(file, []byte(`{"identityPriority": `+shares+`}`), 0o600))
		if _, err := graphsim.LoadLimits(file); (err == nil) != good {
			t.Errorf("%s: %v", shares, err)
		}
	}
}

// SharePoint Embedded counts units of a container by the price of each request, on the paths
// that a table of limits gives it: without, on none.
func TestEmbeddedUnits(t *testing.T) {
	t.Parallel()
	const box = "storage/fileStorage/containers/"
	rules := slices.Clone(graphsim.DocumentedLimits().Rules)
	i := slices.IndexFunc(rules, func(r graphsim.Rule) bool { return r.Name == "embedded" })
	rules[i].Resource = []graphsim.Quota{{Max: 10, Seconds: 3600}}
	unnamed := slices.Clone(rules)
	rules[i].Paths = []string{box + "{}", box + "{}/**"}
	passed := func(c *client, method, path string) (n int) {
		for ; n < 40; n++ {
			resp := c.do(method, path, nil)
			resp.Body.Close()
			if resp.StatusCode == http.StatusTooManyRequests {
				return n
			}
		}
		return n
	}
	for _, tc := range []struct {
		method, path string
		want         int
	}{
		{"GET", box + "a", 10}, {"GET", box + "a/columns", 5}, {"GET", box + "a/columns/c", 10}, {"PATCH", box + "a", 5},
		{"GET", box + "a/permissions", 2}, {"DELETE", box + "a/permissions/p", 2}, {"GET", box + "a?$expand=permissions", 2},
	} {
		_, c := start(t, graphsim.Options{Limits: graphsim.Limits{Rules: rules}}, graphsim.TenantSpec{Users: 1})
		if n := passed(c, tc.method, tc.path); n != tc.want {
			t.Errorf("%s %s passes %d times, not %d", tc.method, tc.path, n, tc.want)
		}
	}
	_, c := start(t, graphsim.Options{Limits: graphsim.Limits{Rules: rules}}, graphsim.TenantSpec{Users: 1})
	if a, b := passed(c, "GET", box+"a"), passed(c, "GET", box+"b"); a != 10 || b != 10 {
		t.Errorf("two containers take %d and %d of 10 each", a, b)
	}
	_, c = start(t, graphsim.Options{Limits: graphsim.Limits{Rules: unnamed}}, graphsim.TenantSpec{Users: 1})
	if n := passed(c, "GET", box+"a"); n != 40 {
		t.Errorf("without paths %d of 40 requests pass", n)
	}
}
