package graphsim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// The rules of "Microsoft Graph service-specific throttling limits", "Microsoft Graph
// throttling guidance" and "Avoid getting throttled or blocked in SharePoint Online",
// one test each.

// The published numbers, as the pages list them.
func TestLimitsAreAsDocumented(t *testing.T) {
	t.Parallel()
	l := graphsim.DocumentedLimits()
	for name, c := range map[string]struct{ got, want graphsim.Quota }{
		"any request, per app over all tenants: 130,000 / 10 s":        {l.App, graphsim.Quota{Max: 130_000, Seconds: 10}},
		"identity writes, app + tenant: 3,000 / 2 min 30 s":            {l.IdentityWrites, graphsim.Quota{Max: 3_000, Seconds: 150}},
		"identity units, app: 150,000 / 20 s":                          {l.IdentityApp, graphsim.Quota{Max: 150_000, Seconds: 20}},
		"identity writes, app: 35,000 / 5 min":                         {l.IdentityAppWrites, graphsim.Quota{Max: 35_000, Seconds: 300}},
		"identity writes, tenant: 18,000 / 5 min":                      {l.IdentityTenantWrites, graphsim.Quota{Max: 18_000, Seconds: 300}},
		"Outlook requests, app + mailbox: 10,000 / 10 min":             {l.Mailbox, graphsim.Quota{Max: 10_000, Seconds: 600}},
		"Outlook upload, app + mailbox: 150 MB / 5 min":                {l.MailboxUpload, graphsim.Quota{Max: 150_000_000, Seconds: 300}},
		"SharePoint requests on behalf of a user: 3,000 / 5 min":       {l.SharePointUser, graphsim.Quota{Max: 3_000, Seconds: 300}},
		"SharePoint ingress, user: 50 GB / h":                          {l.SharePointUserIngress, graphsim.Quota{Max: 50_000_000_000, Seconds: 3600}},
		"SharePoint egress, user: 100 GB / h":                          {l.SharePointUserEgress, graphsim.Quota{Max: 100_000_000_000, Seconds: 3600}},
		"SharePoint delegation tokens, user: 50 / 5 min":               {l.SharePointUserTokens, graphsim.Quota{Max: 50, Seconds: 300}},
		"SharePoint sharing mails, user: 200 / h":                      {l.SharePointUserMails, graphsim.Quota{Max: 200, Seconds: 3600}},
		"SharePoint anonymous links, site: 3,000 / 5 min":              {l.SharePointLinks, graphsim.Quota{Max: 3_000, Seconds: 300}},
		"SharePoint anonymous egress, site: 100 GB / 2 h":              {l.SharePointAnonymousEgress, graphsim.Quota{Max: 100_000_000_000, Seconds: 7200}},
		"SharePoint ingress, app + tenant: 400 GB / h":                 {l.SharePointIngress, graphsim.Quota{Max: 400_000_000_000, Seconds: 3600}},
		"SharePoint egress, app + tenant: 400 GB / h":                  {l.SharePointEgress, graphsim.Quota{Max: 400_000_000_000, Seconds: 3600}},
		"Teams: 83 % of the listed values is the sustained ceiling":    {graphsim.Quota{Max: l.Burst.Max}, graphsim.Quota{Max: 83}},
		"Outlook concurrency, app + mailbox: 4 (the last of the list)": {graphsim.Quota{Max: int64(l.MailboxConcurrent)}, graphsim.Quota{Max: 4}},
	} {
		if c.got != c.want {
			t.Errorf("%s: %+v", name, c.got)
		}
	}
	for name, c := range map[string]struct {
		got     []graphsim.Tier
		seconds int64
		upTo    []int64
		most    []int64
	}{
		"identity units by users":      {l.Identity, 10, []int64{49, 500, 0}, []int64{3_500, 5_000, 8_000}},
		"SharePoint minute by licence": {l.SharePointMinute, 60, []int64{1_000, 5_000, 15_000, 50_000, 0}, []int64{1_250, 2_500, 3_750, 5_000, 6_250}},
		"SharePoint day by licence":    {l.SharePointDay, 86_400, []int64{1_000, 5_000, 15_000, 50_000, 0}, []int64{1_200_000, 2_400_000, 3_600_000, 4_800_000, 6_000_000}},
		"SharePoint tenant by licence": {l.SharePointTenant, 300, []int64{1_000, 5_000, 15_000, 50_000, 0}, []int64{18_750, 37_500, 56_250, 75_000, 93_750}},
	} {
		for i, tier := range c.got {
			if tier.UpTo != c.upTo[i] || tier.Max != c.most[i] || tier.Seconds != c.seconds {
				t.Errorf("%s: %+v", name, tier)
			}
		}
	}
}

// documentedRules is one request of each row that is bounded by its path, with the
// quotas the page gives: per app, per app and tenant, per tenant, per resource.
var documentedRules = []struct{ rule, method, path, quotas string }{
	{"teams.getAllMessages", "GET", "teams/a/channels/getAllMessages", "app 1000/1 appTenant 200/1"},
	{"teams.getAllMessages", "GET", "users/a/chats/getAllMessages", "app 1000/1 appTenant 200/1"},
	{"teams.getAllMessages", "GET", "teams/a/channels/getAllRetainedMessages", "app 1000/1 appTenant 200/1"},
	{"teams.messages", "GET", "teams/a/channels/c/messages", "app 200/1 appTenant 20/1 resource 1/1"},
	{"teams.messages", "GET", "chats/c/messages", "app 200/1 appTenant 20/1 resource 1/1"},
	{"teams.hostedContents", "GET", "chats/c/messages/m/hostedContents", "app 500/1 appTenant 50/1 resource 1/1"},
	{"teams.hostedContent", "GET", "chats/c/messages/m/hostedContents/h/$value", "app 600/1 appTenant 60/1 resource 1/1"},
	{"teams.team", "GET", "teams/a", "app 1500/1 appTenant 30/1 resource 4/1"},
	{"teams.channels", "GET", "teams/a/channels", "app 1200/1 appTenant 60/1 resource 4/1"},
	{"teams.channel", "GET", "teams/a/channels/c", "app 600/1 appTenant 30/1 resource 1/1"},
	{"teams.members", "GET", "teams/a/members", "app 1200/1 appTenant 60/1 resource 4/1"},
	{"teams.send", "POST", "teams/a/channels/c/messages", "app 500/1 appTenant 50/1 resource 1/1"},
	{"teams.get", "GET", "chats/c/members", "app 1500/1 appTenant 30/1 resource 1/1"},
	{"teams.write", "PATCH", "teams/a/channels/c/tabs/x", "app 300/1 appTenant 30/1 resource 1/1"},
	{"teams.delete", "DELETE", "teams/a/channels/c", "app 150/1 appTenant 15/1 resource 1/1"},
	{"oneNote", "GET", "users/a/onenote/pages", "app 240/60 800/3600 user 120/60 400/3600 concurrent 20/5"},
	{"reports.csv", "GET", "reports/getMailboxUsageDetail", "appTenant 14/600 tenant 40/600"},
	{"reports.json", "GET", "reports/getMailboxUsageDetail?$format=application/json", "appTenant 100/600"},
	{"subscriptions.write", "POST", "subscriptions", "app 2000/20 appTenant 500/20"},
	{"subscriptions.reauthorize", "POST", "subscriptions/s/reauthorize", "app 4000/20 appTenant 1000/20"},
	{"subscriptions.get", "GET", "subscriptions/s", "app 2000/20 appTenant 500/20"},
	{"subscriptions.list", "GET", "subscriptions", "app 40/20 appTenant 25/20"},
	{"serviceCommunications", "GET", "admin/serviceAnnouncement/messages", "appTenant 240/60 800/3600"},
	{"audit", "GET", "auditLogs/signIns", "app 122/10 appTenant 5/10"},
	{"signInActivity", "GET", "users?$select=id,signInActivity", "appTenant 10/60"},
	{"identityProtection", "GET", "identityProtection/riskyUsers", "tenant 1/1"},
	{"extensions", "GET", "users/a/messages/m/extensions/e", "appTenant 455/10"},
	{"sharing", "POST", "drives/d/items/i/createLink", "appTenant 300/300"},
	{"sensitivityLabels", "POST", "drives/d/items/i/assignSensitivityLabel", "tenant 100/300"},
	{"search", "POST", "search/query", "user 10/1 appTenant 25/1"},
	{"messageTrace", "GET", "admin/exchange/tracing/messageTraces", "tenant 100/300"},
	{"embedded", "GET", "storage/fileStorage/containers/b", "resource 3000/60"}, // a path that this table gives it
	{"bookings", "GET", "solutions/bookingBusinesses/b/appointments", "each 4"},
}

func quotasOf(r graphsim.Rule) string {
	var parts []string
	for _, scope := range []struct {
		name string
		list []graphsim.Quota
	}{{"app", r.App}, {"user", r.User}, {"appTenant", r.AppTenant}, {"tenant", r.Tenant}, {"resource", r.Resource}} {
		for i, q := range scope.list {
			if i == 0 {
				parts = append(parts, scope.name)
			}
			parts = append(parts, fmt.Sprintf("%d/%d", q.Max, q.Seconds))
		}
	}
	if r.Concurrent > 0 {
		parts = append(parts, fmt.Sprintf("concurrent %d/%d", r.Concurrent, r.UserConcurrent))
	}
	if r.EachConcurrent > 0 {
		parts = append(parts, fmt.Sprintf("each %d", r.EachConcurrent))
	}
	return strings.Join(parts, " ")
}

// Every request of the table counts against its rule, and against no other of its
// family; with one request allowed the second is refused, with or without Retry-After
// as the service documents.
func TestRulesByPath(t *testing.T) {
	t.Parallel()
	rules := graphsim.DocumentedLimits().Rules
	seen := map[string]bool{}
	for _, c := range documentedRules {
		seen[c.rule] = true
		t.Run(c.rule+" "+c.method+" "+c.path, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(rules, func(r graphsim.Rule) bool { return r.Name == c.rule })
			if i < 0 || quotasOf(rules[i]) != c.quotas {
				t.Fatalf("quotas of rule %d: %+v", i, rules)
			}
			one := slices.Clone(rules)
			one[i].App, one[i].AppTenant, one[i].Tenant, one[i].Resource = []graphsim.Quota{{Max: 1, Seconds: 3600}}, nil, nil, nil
			one[i].Concurrent, one[i].EachConcurrent = 0, 0
			if len(one[i].Paths) == 0 {
				one[i].Paths = []string{c.path}
			}
			_, k := start(t, graphsim.Options{Limits: graphsim.Limits{Rules: one}}, graphsim.TenantSpec{Users: 1})
			k.tenant.Consent(append(slices.Clone(graphsim.DefaultRoles), "Teamwork.Migrate.All")...) // to post
			k.token = k.mustToken()
			first := k.do(c.method, c.path, nil)
			first.Body.Close()
			second := k.do(c.method, c.path, nil)
			second.Body.Close()
			if first.StatusCode == 429 || second.StatusCode != 429 {
				t.Errorf("%d, then %d", first.StatusCode, second.StatusCode)
			}
			if none := second.Header.Get("Retry-After") == ""; none != rules[i].NoRetryAfter {
				t.Errorf("Retry-After %q", second.Header.Get("Retry-After"))
			}
		})
	}
	for _, r := range rules {
		if !seen[r.Name] {
			t.Errorf("rule %s is not tested", r.Name)
		}
	}
}

// A rule's quotas per resource, tenant and application are apart from each other.
func TestRuleScopes(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	other := s.AddTenant(graphsim.TenantSpec{Users: 1})
	other.Consent()
	second := newClient(t, s, other)
	status := func(c *client, path string) int {
		resp := c.do("GET", path, nil)
		resp.Body.Close()
		return resp.StatusCode
	}
	status(c, "chats/one/messages")
	if status(c, "chats/one/messages") != 429 || status(c, "chats/two/messages") == 429 || status(second, "chats/one/messages") == 429 {
		t.Error("a chat is not an account of its own")
	}
	for _, path := range []string{"auditLogs/signIns", "auditLogs/directoryAudits"} {
		for range 3 {
			status(c, path)
		}
	}
	if status(c, "auditLogs/signIns") != 429 || status(second, "auditLogs/signIns") == 429 {
		t.Error("audit requests of a tenant are not counted together")
	}
	for range 15 {
		status(c, "reports/getTeamsUserActivityUserDetail")
	}
	if status(c, "reports/getTeamsUserActivityUserDetail") != 429 || status(c, "reports/getMailboxUsageDetail") == 429 {
		t.Error("each report has limits of its own")
	}
}

// 83 % of a Teams limit is what holds over a longer time.
func TestTeamsSustainedLimit(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{Limits: graphsim.Limits{Burst: graphsim.Quota{Max: 83, Seconds: 10}}}, graphsim.TenantSpec{})
	passed := 0
	for range 12 { // one a second, as the burst allows
		resp := c.do("GET", "chats/one/messages", nil)
		resp.Body.Close()
		if resp.StatusCode != 429 {
			passed++
		}
		s.Advance(1010 * time.Millisecond)
	}
	if passed != 8 && passed != 9 {
		t.Errorf("%d of 12 requests passed", passed)
	}
}

// Identity: the price of each request in resource units, with its modifiers.
func TestIdentityUnits(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 2, Groups: 1})
	user, group := c.tenant.Users()[0].ID, c.tenant.Groups()[0].ID
	for path, want := range map[string]string{
		"users":                               "2",
		"users?$select=id":                    "1",
		"users?$top=5":                        "1",
		"users?$select=id&$top=5":             "1", // never under 1
		"groups/" + group + "/members":        "3",
		"groups/" + group + "/members?$top=5": "2",
		"users/" + user + "/licenseDetails":   "2",
		"subscribedSkus":                      "3",
		"users/delta":                         "1",
		"groups":                              "1",
		"directory/deletedItems/microsoft.graph.user": "1",
	} {
		resp := c.do("GET", path, nil)
		resp.Body.Close()
		if got := resp.Header.Get("x-ms-resource-unit"); got != want {
			t.Errorf("%s: %s units, want %s (%d)", path, got, want, resp.StatusCode)
		}
	}
}

// Identity: what a 429 says, for each of the accounts that refuse.
func TestIdentityThrottleHeaders(t *testing.T) {
	t.Parallel()
	one := graphsim.Quota{Max: 1, Seconds: 600}
	for name, c := range map[string]struct {
		limits             graphsim.Limits
		method             string
		scope, information string
	}{
		"units per tenant": {graphsim.Limits{Identity: []graphsim.Tier{{Quota: one}}}, "GET", "Tenant_Application/ReadWrite/", "ResourceUnitLimitExceeded"},
		"units per app":    {graphsim.Limits{IdentityApp: one}, "GET", "Application/ReadWrite/", "ResourceUnitLimitExceeded"},
		"writes":           {graphsim.Limits{IdentityWrites: one}, "POST", "Tenant_Application/Write/", "WriteLimitExceeded"},
		"writes per app":   {graphsim.Limits{IdentityAppWrites: one}, "POST", "Application/Write/", "WriteLimitExceeded"},
		"tenant's writes":  {graphsim.Limits{IdentityTenantWrites: one}, "POST", "Tenant/Write/", "WriteLimitExceeded"},
	} {
		_, k := start(t, graphsim.Options{Limits: c.limits}, graphsim.TenantSpec{Users: 1})
		path := "users/delta"
		if c.method == "POST" {
			path = "directory/deletedItems/" + k.tenant.Users()[0].ID + "/restore"
		}
		k.do(c.method, path, nil).Body.Close()
		resp := k.do(c.method, path, nil)
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		h := resp.Header
		if resp.StatusCode != 429 || h.Get("Retry-After") == "" || !strings.Contains(string(text), "TooManyRequests") {
			t.Errorf("%s: %d %v %s", name, resp.StatusCode, h, text)
		}
		if !strings.HasPrefix(h.Get("x-ms-throttle-scope"), c.scope+graphsim.DefaultClientID+"/") || h.Get("x-ms-throttle-information") != c.information {
			t.Errorf("%s: scope %q, information %q", name, h.Get("x-ms-throttle-scope"), h.Get("x-ms-throttle-information"))
		}
	}
}

// The percentage comes only above 0.8, and never exceeds 1.8.
func TestIdentityThrottlePercentage(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{Limits: graphsim.Limits{Identity: []graphsim.Tier{{Quota: graphsim.Quota{Max: 10, Seconds: 3600}}}}}, graphsim.TenantSpec{Users: 1})
	var seen []string
	for range 25 {
		resp := c.do("GET", "users/delta", nil)
		resp.Body.Close()
		seen = append(seen, resp.Header.Get("x-ms-throttle-limit-percentage"))
	}
	if seen[6] != "" || seen[7] != "0.8" || seen[9] != "1.0" || seen[24] != "1.8" {
		t.Errorf("percentages %v", seen)
	}
}

// Writes may be throttled while reads still pass.
func TestWritesThrottledReadsPass(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{Limits: graphsim.Limits{IdentityWrites: graphsim.Quota{Max: 1, Seconds: 600}}}, graphsim.TenantSpec{Users: 1})
	path := "directory/deletedItems/" + c.tenant.Users()[0].ID + "/restore"
	c.do("POST", path, nil).Body.Close()
	c.refused(429, "POST", path, nil)
	c.get("users/delta")
}

// Outlook: four requests of a mailbox at the same time, of an application.
func TestMailboxConcurrency(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{Latency: time.Second}, graphsim.TenantSpec{Users: 2})
	path := "users/" + c.tenant.Users()[0].ID + "/mailFolders/inbox"
	codes := make([]int, 8)
	var asking sync.WaitGroup
	for i := range codes {
		asking.Go(func() {
			target := path
			if i >= 6 { // another mailbox does not mind
				target = "users/" + c.tenant.Users()[1].ID + "/mailFolders/inbox"
			}
			req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL()+"/v1.0/"+target, nil)
			if err != nil {
				return
			}
			req.Header.Set("Authorization", "Bearer "+c.token)
			if resp, err := c.http.Do(req); err == nil {
				codes[i] = resp.StatusCode
				resp.Body.Close()
			}
		})
	}
	asking.Wait()
	throttled := 0
	for _, code := range codes[:6] {
		if code == 429 {
			throttled++
		}
	}
	if throttled != 2 || codes[6] != 200 || codes[7] != 200 {
		t.Errorf("statuses %v", codes)
	}
}

// Outlook: the bytes of PATCH, POST and PUT, however the mailbox is named, a body
// without an announced length included.
func TestMailboxUploadBytes(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{Limits: graphsim.Limits{MailboxUpload: graphsim.Quota{Max: 2000, Seconds: 300}}}, graphsim.TenantSpec{Users: 2})
	u := c.tenant.Users()
	draft := object{"subject": "s", "body": object{"contentType": "html", "content": strings.Repeat("x", 1200)}}
	c.want(201, "POST", "users/"+u[0].ID+"/messages", draft)
	if code := c.refused(429, "POST", "users/"+u[0].PrincipalName+"/messages", draft); code != "ApplicationThrottled" {
		t.Errorf("code %s", code)
	}
	c.want(201, "POST", "users/"+u[1].ID+"/messages", draft)
	c.get("users/" + u[0].ID + "/mailFolders/inbox") // reads still pass
}

// SharePoint: units by operation, as the page prices them.
func TestSharePointUnits(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, FilesPerUser: 3})
	user := c.tenant.Users()[0].ID
	drive := c.drive(user)
	id, err := c.tenant.PutFile(user, "f", []byte("content"))
	must(t, err)
	_, deltaLink, _ := c.round(drive + "/root/delta")
	location := c.do("GET", drive+"/items/"+id+"/content", nil)
	location.Body.Close()
	for path, want := range map[string]int64{
		drive + "/items/" + id:                          1, // single item
		drive + "/root/children":                        2, // several items
		drive + "/root/delta":                           2, // delta without a token
		deltaLink:                                       1, // delta with a token
		drive + "/items/" + id + "/content":             1, // download
		drive + "/items/" + id + "/permissions":         5,
		drive + "/items/" + id + "?$expand=permissions": 5,
		drive + "/root/delta?$expand=permissions":       5,
		location.Header.Get("Location"):                 1,
	} {
		before := used(s, "sharepoint.minute", c.tenant.ID())
		c.do("GET", path, nil).Body.Close()
		if got := used(s, "sharepoint.minute", c.tenant.ID()) - before; got != want {
			t.Errorf("%s: %d units, want %d", path, got, want)
		}
	}
	before := used(s, "sharepoint.minute", c.tenant.ID())
	c.want(201, "POST", drive+"/root/children", object{"name": "new", "folder": object{}})
	if got := used(s, "sharepoint.minute", c.tenant.ID()) - before; got != 2 {
		t.Errorf("create: %d units", got)
	}
}

func used(s *graphsim.Server, kind, tenant string) (n int64) {
	for _, a := range s.Accounts(kind, tenant) {
		n += a.Used
	}
	return n
}

// SharePoint: each account refuses by itself; only the minute has RateLimit headers.
func TestSharePointAccounts(t *testing.T) {
	t.Parallel()
	few := []graphsim.Tier{{Quota: graphsim.Quota{Max: 3, Seconds: 600}}}
	for name, c := range map[string]struct {
		limits graphsim.Limits
		header bool
	}{
		"minute": {graphsim.Limits{SharePointMinute: few}, true},
		"day":    {graphsim.Limits{SharePointDay: few}, false},
		"tenant": {graphsim.Limits{SharePointTenant: few}, false},
	} {
		_, k := start(t, graphsim.Options{Limits: c.limits}, graphsim.TenantSpec{Users: 1})
		path := "users/" + k.tenant.Users()[0].ID + "/drive"
		for range 3 {
			k.get(path)
		}
		resp := k.do("GET", path, nil)
		resp.Body.Close()
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" || (resp.Header.Get("RateLimit-Reset") != "") != c.header {
			t.Errorf("%s: %d %v", name, resp.StatusCode, resp.Header)
		}
	}
}

// SharePoint: who goes on while throttled is blocked, by 503.
func TestSharePointBlocks(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{Limits: graphsim.Limits{SharePointBlock: graphsim.Quota{Max: 5, Seconds: 3600}}},
		graphsim.TenantSpec{Users: 1, SharePointPerMinute: 1})
	path := "users/" + c.tenant.Users()[0].ID + "/drive"
	c.get(path)
	for range 6 {
		c.refused(429, "GET", path, nil)
	}
	resp := c.do("GET", path, nil)
	resp.Body.Close()
	if resp.StatusCode != 503 {
		t.Fatalf("status %d", resp.StatusCode)
	}
	s.Advance(retryAfter(t, resp) + time.Minute)
	c.get(path)
}

// SharePoint: bytes in and out; the answer is 509.
func TestSharePointBandwidth(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{Limits: graphsim.Limits{SharePointEgress: graphsim.Quota{Max: 1500, Seconds: 3600}}}, graphsim.TenantSpec{Users: 1})
	user := c.tenant.Users()[0].ID
	id, err := c.tenant.PutFile(user, "f", make([]byte, 1000))
	must(t, err)
	resp := c.do("GET", c.drive(user)+"/items/"+id+"/content", nil)
	resp.Body.Close()
	for i, want := range []int{200, 200, 509} {
		part := c.do("GET", resp.Header.Get("Location"), nil)
		_, _ = io.Copy(io.Discard, part.Body)
		part.Body.Close()
		if part.StatusCode != want {
			t.Errorf("download %d: %d", i, part.StatusCode)
		}
	}
}

// The limit over all services and tenants.
func TestApplicationLimit(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{Limits: graphsim.Limits{App: graphsim.Quota{Max: 2, Seconds: 600}}}, graphsim.TenantSpec{Users: 1})
	user := c.tenant.Users()[0].ID
	c.get("users/delta")
	c.get("users/" + user + "/mailFolders/inbox")
	if code := c.refused(429, "GET", "users/"+user+"/drive", nil); code != "TooManyRequests" {
		t.Errorf("code %s", code)
	}
}

// Batch: each part is priced and throttled by itself, under an outer 200.
func TestBatchPartsAreThrottled(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, MailLimit: 3})
	var parts []object
	for i := range 5 {
		parts = append(parts, object{"id": fmt.Sprint(i), "method": "GET", "url": "/users/" + c.tenant.Users()[0].ID + "/mailFolders/inbox"})
	}
	answer := c.want(200, "POST", "$batch", object{"requests": parts})
	throttled := 0
	for _, p := range answer["responses"].([]any) {
		part := p.(object)
		if part["status"] == 429.0 {
			throttled++
			if part["headers"].(object)["Retry-After"] == nil {
				t.Errorf("part %v", part)
			}
		}
	}
	if throttled != 2 {
		t.Errorf("%d of 5 parts were throttled", throttled)
	}
}

// With a faster clock windows end sooner, and Retry-After is in real seconds.
func TestClockRunsFaster(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{Clock: 6000}, graphsim.TenantSpec{Users: 1, MailLimit: 2})
	path := "users/" + c.tenant.Users()[0].ID + "/mailFolders/inbox"
	c.get(path)
	c.get(path)
	resp := c.do("GET", path, nil)
	resp.Body.Close()
	if resp.StatusCode != 429 {
		t.Fatalf("status %d", resp.StatusCode)
	}
	if wait := retryAfter(t, resp); wait > 200*time.Millisecond {
		t.Errorf("ten minutes take %v", wait)
	}
}

// The record of accounts: what was allowed, used and refused, window by window.
func TestAccountsTellUsage(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1, MailLimit: 3})
	user := c.tenant.Users()[0].ID
	path := "users/" + user + "/mailFolders/inbox"
	for range 3 {
		c.get(path)
	}
	c.refused(429, "GET", path, nil)
	s.Advance(1300 * time.Second)
	c.get(path)
	var list []graphsim.AccountUsage
	must(t, json.Unmarshal(c.bytes(s.AdminURL()+"/_sim/accounts?kind=outlook.requests&tenant="+c.tenant.ID()), &list))
	if len(list) != 1 || list[0].Resource != user || list[0].Used != 4 || list[0].Throttled != 1 || len(list[0].Windows) != 2 {
		t.Fatalf("accounts %+v", list)
	}
	if w := list[0].Windows; w[0] != (graphsim.UsageWindow{Start: 0, Allowed: 3, Used: 3, Throttled: 1}) || w[1] != (graphsim.UsageWindow{Start: 1200, Allowed: 3, Used: 1}) {
		t.Errorf("windows %+v", w)
	}
	s.ResetStats()
	if len(s.Accounts("", "")) != 0 {
		t.Error("usage is still there")
	}
}

// A file overrides single numbers, and is refused when it names what is not there.
func TestLimitsFromAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "limits.json")
	for text, ok := range map[string]bool{
		`{"mailbox":{"max":7,"seconds":60},"rules":[]}`: true,
		`{"mailboxes":{"max":7,"seconds":60}}`:          false,
		`{"mailbox":{"max":7}}`:                         false,
		`{"sharePointDay":[]}`:                          false,
		`[]`:                                            false,
	} {
		must(t, os.WriteFile(file, []byte(text), 0o600))
		l, err := graphsim.LoadLimits(file)
		if (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
		if ok && (l.Mailbox.Max != 7 || l.MailboxConcurrent != 4 || len(l.Rules) != 0) {
			t.Errorf("%s: %+v", text, l)
		}
	}
	if _, err := graphsim.LoadLimits(file + "x"); err == nil {
		t.Error("no file is no error")
	}
	// What is exported can be read back.
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{})
	must(t, os.WriteFile(file, c.bytes(s.AdminURL()+"/_sim/limits"), 0o600))
	l, err := graphsim.LoadLimits(file)
	must(t, err)
	got, _ := json.Marshal(l)
	want, _ := json.Marshal(graphsim.DocumentedLimits())
	if string(got) != string(want) {
		t.Error("the exported limits are not those in force")
	}
}
