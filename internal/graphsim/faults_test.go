package graphsim_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/graphsim"
)

func inject(t *testing.T, s *graphsim.Server, f graphsim.Fault) {
	t.Helper()
	_, err := s.Inject(f)
	must(t, err)
}

func TestFaultStatus(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	inject(t, s, graphsim.Fault{Path: "^/users$", Nth: 2, Status: 503, Code: "serviceNotAvailable", Headers: map[string]string{"Retry-After": "7"}})
	c.get("users")
	resp := c.do("GET", "users", nil)
	resp.Body.Close()
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "7" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	c.get("users")
	if f := s.Faults()[0]; f.Struck != 1 || f.Matched != 3 {
		t.Errorf("fault %+v", f)
	}
	s.Clear("")
	inject(t, s, graphsim.Fault{Tenant: c.tenant.ID(), Every: 2, Kind: graphsim.FaultHTML})
	c.get("users")
	resp = c.do("GET", "users", nil)
	text, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 503 || !strings.Contains(string(text), "<html>") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if _, err := s.Inject(graphsim.Fault{Path: "("}); err == nil {
		t.Error("a bad path is taken")
	}
	if _, err := s.Inject(graphsim.Fault{Kind: "x"}); err == nil {
		t.Error("a bad kind is taken")
	}
}

func TestFaultConnections(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	user := c.tenant.Users()[0].ID
	ask := func(method, path, body string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+"/v1.0/"+path, strings.NewReader(body))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+c.token)
		return c.http.Do(req)
	}
	inject(t, s, graphsim.Fault{Path: "mailFolders$", Method: "POST", Kind: graphsim.FaultReset, Count: 1})
	if resp, err := ask("POST", "users/"+user+"/mailFolders", `{"displayName":"x"}`); err == nil {
		resp.Body.Close()
		t.Error("reset: no error")
	}
	c.want(201, "POST", "users/"+user+"/mailFolders", object{"displayName": "x"}) // it was not made
	inject(t, s, graphsim.Fault{Path: "mailFolders$", Method: "POST", Kind: graphsim.FaultLost, Count: 1})
	if resp, err := ask("POST", "users/"+user+"/mailFolders", `{"displayName":"y"}`); err == nil {
		resp.Body.Close()
		t.Error("lost: no error")
	}
	c.refused(409, "POST", "users/"+user+"/mailFolders", object{"displayName": "y"}) // it was made
	inject(t, s, graphsim.Fault{Path: "^/users/delta", Kind: graphsim.FaultCut, Count: 1})
	resp, err := ask("GET", "users/delta", "")
	must(t, err)
	if data, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("cut: %d bytes and no error", len(data))
	}
	resp.Body.Close()
}

func TestFaultSlowEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	inject(t, s, graphsim.Fault{Path: "^/users", Kind: graphsim.FaultSlow, Delay: time.Millisecond})
	c.get("users")
}

func TestFaultMoveWhileListing(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{PageSize: 5}, graphsim.TenantSpec{Users: 1, MailsPerUser: 60})
	user := c.tenant.Users()[0].ID
	sent := "users/" + user + "/mailFolders/sentitems/messages/delta"
	inbox := "users/" + user + "/mailFolders/inbox/messages/delta"
	_, inboxLink, _ := c.round(inbox)
	inject(t, s, graphsim.Fault{Path: "messages/delta$", Nth: 2, Kind: graphsim.FaultMove})
	items, sentLink, _ := c.round(sent)
	arrived, _, _ := c.round(inboxLink)
	if len(arrived) != 1 || ids(items)[arrived[0]["id"].(string)] != nil {
		t.Fatalf("arrived %d, and listed in sent items too", len(arrived))
	}
	if removed, _, _ := c.round(sentLink); len(removed) != 1 || removed[0]["@removed"] == nil {
		t.Errorf("sent items show %v", removed)
	}
}

func TestFaultGoneAtLoginAndFiles(t *testing.T) {
	t.Parallel()
	s, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 1})
	user := c.tenant.Users()[0].ID
	_, err := c.tenant.PutFile(user, "f", []byte("content"))
	must(t, err)
	_, link, _ := c.round("users/" + user + "/drive/root/delta")
	inject(t, s, graphsim.Fault{Path: "root/delta$", Kind: graphsim.FaultGone, Count: 1})
	resp := c.do("GET", link, nil)
	resp.Body.Close()
	if resp.StatusCode != 410 {
		t.Fatalf("status %d", resp.StatusCode)
	}
	if items, _, _ := c.round(resp.Header.Get("Location")); len(items) != 2 {
		t.Errorf("the new enumeration has %d items", len(items))
	}
	inject(t, s, graphsim.Fault{Path: "/oauth2/v2.0/token$", Status: 503, Count: 1})
	if status, _ := c.askToken(c.tenant.ID(), secretForm(graphsim.DefaultClientID, graphsim.DefaultSecret)); status != 503 {
		t.Errorf("token: %d", status)
	}
	inject(t, s, graphsim.Fault{Path: "^/download/", Kind: graphsim.FaultEmpty, Status: 404, Count: 1})
	id := c.get("users/" + user + "/drive/root:/f")["id"].(string)
	resp = c.do("GET", c.drive(user)+"/items/"+id+"/content", nil)
	resp.Body.Close()
	resp = c.do("GET", resp.Header.Get("Location"), nil)
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("download: %d", resp.StatusCode)
	}
}
