package graphsim_test

import (
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

// signIn lets a person sign in by device code; the client speaks for the person from then
// on. It returns the refresh token.
func (c *client) signIn(scope string) string {
	c.t.Helper()
	code := c.postForm("organizations/oauth2/v2.0/devicecode", url.Values{"client_id": {graphsim.DefaultClientID}, "scope": {scope + " offline_access"}})
	page := c.do("GET", code["verification_uri"].(string)+"?auto=accept&as="+c.tenant.ID()+"&code="+url.QueryEscape(code["user_code"].(string)), nil)
	page.Body.Close()
	got := c.postForm("organizations/oauth2/v2.0/token", devicePoll(code["device_code"].(string)))
	c.token = got["access_token"].(string)
	return got["refresh_token"].(string)
}

// linkTo puts a file of 1,000 bytes into somebody's OneDrive and returns the URL of a link to it.
func (c *client) linkTo(owner, name string, link object) string {
	c.t.Helper()
	id, err := c.tenant.PutFile(owner, name, make([]byte, 1000))
	must(c.t, err)
	link["type"] = "view"
	resp := c.do("POST", c.drive(owner)+"/items/"+id+"/createLink", link)
	defer resp.Body.Close()
	var p struct{ Link struct{ WebURL string } }
	must(c.t, json.NewDecoder(resp.Body).Decode(&p))
	return p.Link.WebURL
}

// anonymous follows a link without a token and returns the status and the bytes of the body.
func (c *client) anonymous(link string) (status, n int) {
	c.t.Helper()
	resp, err := http.Get(link) //nolint:noctx,gosec // the simulator's own
	must(c.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(c.t, err)
	return resp.StatusCode, len(body)
}

// Source: "Avoid getting throttled or blocked in SharePoint Online", per user and other.
func TestConformanceSharePointOthers(t *testing.T) {
	t.Parallel()
	two := graphsim.Quota{Max: 2, Seconds: 3600}
	outside := graphsim.SharePointOptions{ExternalSharing: true}
	world := func(t *testing.T, l graphsim.Limits, spec graphsim.TenantSpec) (*graphsim.Server, *client, string) {
		t.Helper()
		spec.Users, spec.FilesPerUser = 2, 4
		s, c := start(t, graphsim.Options{Limits: l, SharePoint: outside}, spec)
		return s, c, c.drive(c.tenant.Users()[0].ID) + "/items/"
	}
	t.Run("anonymous links of a site are bounded, other links are not", func(t *testing.T) {
		t.Parallel()
		_, c, _ := world(t, graphsim.Limits{SharePointLinks: two}, graphsim.TenantSpec{})
		link := func(user, name, scope string) int {
			id, err := c.tenant.PutFile(user, name, []byte("x"))
			must(t, err)
			resp := c.do("POST", c.drive(user)+"/items/"+id+"/createLink", object{"type": "view", "scope": scope})
			resp.Body.Close()
			return resp.StatusCode
		}
		one, other := c.tenant.Users()[0].ID, c.tenant.Users()[1].ID
		for i, want := range []int{201, 201, 429} {
			if got := link(one, fmt.Sprintf("a%d", i), "anonymous"); got != want {
				t.Errorf("link %d: %d", i, got)
			}
		}
		if link(one, "b", "organization") != 201 || link(other, "c", "anonymous") != 201 {
			t.Error("other links or sites are refused")
		}
	})
	t.Run("what anonymous callers are sent of a site is bounded", func(t *testing.T) {
		t.Parallel()
		s, c, _ := world(t, graphsim.Limits{SharePointAnonymousEgress: graphsim.Quota{Max: 1500, Seconds: 7200}}, graphsim.TenantSpec{})
		one, other := c.tenant.Users()[0].ID, c.tenant.Users()[1].ID
		for i, want := range []int{200, 200, 509} {
			if got, n := c.anonymous(c.linkTo(one, "f", object{"scope": "anonymous"})); got != want || want == 200 && n != 1000 {
				t.Errorf("download %d: %d with %d bytes", i, got, n)
			}
		}
		if got, _ := c.anonymous(c.linkTo(other, "f", object{"scope": "anonymous"})); got != 200 {
			t.Errorf("another site: %d", got)
		}
		s.Advance(3 * time.Hour)
		link := c.linkTo(one, "f", object{"scope": "anonymous"})
		before := used(s, "sharepoint.egress", c.tenant.ID())
		if got, _ := c.anonymous(link); got != 200 {
			t.Errorf("after the window: %d", got)
		}
		if got := used(s, "sharepoint.egress", c.tenant.ID()) - before; got != 0 {
			t.Errorf("the application's egress: %d", got)
		}
	})
	t.Run("only an anonymous link that has not ended and has no password opens without a token", func(t *testing.T) {
		t.Parallel()
		_, c, items := world(t, graphsim.Limits{}, graphsim.TenantSpec{})
		one := c.tenant.Users()[0].ID
		for name, tc := range map[string]struct {
			body object
			want int
		}{
			"organization": {object{"scope": "organization"}, 401}, "users": {object{"scope": "users"}, 401},
			"password": {object{"scope": "anonymous", "password": "p"}, 401},
			"ended":    {object{"scope": "anonymous", "expirationDateTime": "2020-01-01T00:00:00Z"}, 401},
			"running":  {object{"scope": "anonymous", "expirationDateTime": "2100-01-01T00:00:00Z"}, 200},
		} {
			if got, _ := c.anonymous(c.linkTo(one, name, tc.body)); got != tc.want {
				t.Errorf("%s: %d, not %d", name, got, tc.want)
			}
		}
		link := c.linkTo(one, "taken back", object{"scope": "anonymous"})
		c.anonymous(link)
		for _, p := range c.get(items + "root:/taken%20back:/permissions")["value"].([]any) {
			if p.(object)["link"] != nil {
				c.want(204, "DELETE", items+"root:/taken%20back:/permissions/"+p.(object)["id"].(string), nil)
			}
		}
		if got, _ := c.anonymous(link); got != 401 {
			t.Errorf("taken back: %d", got)
		}
		if got, _ := c.anonymous(link[:len(link)-4] + "AAAA"); got != 404 {
			t.Errorf("spoilt: %d", got)
		}
		content := c.do("GET", items+"root:/running:/content", nil)
		content.Body.Close()
		download, err := url.Parse(content.Header.Get("Location"))
		must(t, err)
		download.Path = strings.Replace(download.Path, "/download/", "/:x:/", 1)
		if got, _ := c.anonymous(download.String()); got != 404 {
			t.Errorf("a download URL as a link: %d", got)
		}
	})
	t.Run("a person's invitations outside are bounded, an application's are not", func(t *testing.T) {
		t.Parallel()
		_, c, items := world(t, graphsim.Limits{SharePointUserMails: two}, graphsim.TenantSpec{})
		id, err := c.tenant.PutFile(c.tenant.Users()[0].ID, "f", []byte("x"))
		must(t, err)
		invite := func(mail string) int {
			resp := c.do("POST", items+id+"/invite", object{"recipients": []object{{"email": mail}}, "roles": []string{"read"}, "sendInvitation": true})
			resp.Body.Close()
			return resp.StatusCode
		}
		for i := range 3 {
			if got := invite(fmt.Sprintf("app%d@outside.example", i)); got != 200 {
				t.Errorf("the application: %d", got)
			}
		}
		c.signIn("Files.ReadWrite.All")
		for i, want := range []int{200, 200, 429} {
			if got := invite(fmt.Sprintf("p%d@outside.example", i)); got != want {
				t.Errorf("the person's invitation %d: %d", i, got)
			}
		}
		if got := invite(c.tenant.Users()[1].PrincipalName); got != 200 {
			t.Errorf("somebody of the tenant: %d", got)
		}
	})
	t.Run("requests on behalf of a person are bounded, an application's are not", func(t *testing.T) {
		t.Parallel()
		_, c, items := world(t, graphsim.Limits{SharePointUser: two}, graphsim.TenantSpec{})
		for range 4 {
			c.get(items + "root")
		}
		c.signIn("Files.Read.All")
		c.get(items + "root")
		c.get(items + "root")
		c.refused(429, "GET", items+"root", nil)
	})
	t.Run("tokens on behalf of a person are bounded", func(t *testing.T) {
		t.Parallel()
		_, c, _ := world(t, graphsim.Limits{SharePointUserTokens: two}, graphsim.TenantSpec{})
		form := url.Values{"grant_type": {"refresh_token"}, "client_id": {graphsim.DefaultClientID}, "refresh_token": {c.signIn("Files.Read.All")}}
		if again := c.postForm("common/oauth2/v2.0/token", form); again["access_token"] == nil {
			t.Errorf("%v", again)
		}
		if refused := c.postForm("common/oauth2/v2.0/token", form); refused["error"] != "temporarily_unavailable" {
			t.Errorf("%v", refused)
		}
		c.mustToken() // the application is another account
	})
	t.Run("a person's bytes in and out are bounded", func(t *testing.T) {
		t.Parallel()
		_, c, items := world(t, graphsim.Limits{SharePointUserEgress: graphsim.Quota{Max: 1500, Seconds: 3600}}, graphsim.TenantSpec{})
		id, err := c.tenant.PutFile(c.tenant.Users()[0].ID, "f", make([]byte, 1000))
		must(t, err)
		c.signIn("Files.Read.All")
		for i, want := range []int{200, 200, 509} {
			location := c.do("GET", items+id+"/content", nil)
			location.Body.Close()
			resp := c.do("GET", location.Header.Get("Location"), nil)
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("download %d: %d", i, resp.StatusCode)
			}
		}
	})
	t.Run("who probes for many OneDrives that are not there gets 429 from every OneDrive", func(t *testing.T) {
		t.Parallel()
		s, c, items := world(t, graphsim.Limits{SharePointProbes: two}, graphsim.TenantSpec{NoDrive: 1})
		missing, there := "users/"+c.tenant.Users()[1].ID+"/drive", c.drive(c.tenant.Users()[0].ID)
		for range 2 {
			c.refused(404, "GET", missing, nil)
		}
		c.get(there)
		c.refused(429, "GET", missing+"/root/delta", nil)
		c.refused(429, "GET", there, nil)
		c.refused(429, "GET", items+"root/children", nil)
		c.get("users/" + c.tenant.Users()[0].ID + "/mailFolders/inbox")
		s.Advance(2 * time.Hour)
		c.get(there)
	})
	t.Run("delta with latest or a point in time has no token, and costs 2", func(t *testing.T) {
		t.Parallel()
		s, c, items := world(t, graphsim.Limits{}, graphsim.TenantSpec{})
		for path, want := range map[string]int64{items + "root/delta?token=latest": 2, items + "root/delta?token=2026-11-01T00%3A00%3A00Z": 2} {
			before := used(s, "sharepoint.minute", c.tenant.ID())
			c.get(path)
			if got := used(s, "sharepoint.minute", c.tenant.ID()) - before; got != want {
				t.Errorf("%s: %d units", path, got)
			}
		}
	})
	t.Run("a page of getAllSites costs 2, with a token or without", func(t *testing.T) {
		t.Parallel()
		s, c, _ := world(t, graphsim.Limits{}, graphsim.TenantSpec{Sites: 3})
		for path := "sites/getAllSites?$top=2"; path != ""; {
			before := used(s, "sharepoint.minute", c.tenant.ID())
			page := c.get(path)
			if got := used(s, "sharepoint.minute", c.tenant.ID()) - before; got != 2 {
				t.Errorf("%s: %d units", path, got)
			}
			path, _ = page["@odata.nextLink"].(string)
		}
	})
}
