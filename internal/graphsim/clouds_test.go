package graphsim_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// Source: the metadata of v1.0, cloud by cloud.
func TestConformanceClouds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		cloud graphsim.Cloud
		lacks map[string]bool // of the paths below
	}{
		{"the global cloud has everything", graphsim.CloudGlobal, nil},
		{"US Government L4 lacks no delta", graphsim.CloudUSGov, map[string]bool{"export": true}},
		{"US Government L5 is not documented to lack anything", graphsim.CloudDoD, nil},
		{"21Vianet has no delta of mail and contacts, and no partners", graphsim.CloudChina, map[string]bool{"export": true, "mail": true, "folders": true, "contacts": true}},
		{"USNat has no delta of sites and no userPurpose", graphsim.CloudUSNat, map[string]bool{"export": true, "sites": true, "purpose": true}},
		{"USSec has no delta of sites and no userPurpose", graphsim.CloudUSSec, map[string]bool{"export": true, "sites": true, "purpose": true}},
		{"Bleu has no userPurpose", graphsim.CloudBleu, map[string]bool{"export": true, "purpose": true}},
		{"Delos has no userPurpose and no getAllMessages", graphsim.CloudDelos, map[string]bool{"export": true, "purpose": true, "messages": true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, k := start(t, graphsim.Options{Cloud: c.cloud}, graphsim.TenantSpec{Users: 1, Groups: 1})
			user := "users/" + k.tenant.Users()[0].ID
			for what, path := range map[string]string{
				"mail": user + "/mailFolders/inbox/messages/delta", "folders": user + "/mailFolders/delta", "contacts": user + "/contactFolders/delta",
				"events": user + "/calendarView/delta?startDateTime=2026-03-01T00:00:00Z&endDateTime=2026-05-01T00:00:00Z",
				"sites":  "sites/delta", "purpose": user + "/mailboxSettings?$select=userPurpose", "all sites": "sites/getAllSites",
				"export":   user + "/settings/exchange",
				"messages": "teams/" + k.tenant.Groups()[0].ID + "/channels/getAllMessages", "list": user + "/mailFolders/inbox/messages",
			} {
				resp := k.do("GET", path, nil)
				resp.Body.Close()
				if there := resp.StatusCode == 200; there == c.lacks[what] {
					t.Errorf("%s: %d", what, resp.StatusCode)
				}
			}
		})
	}
	if _, err := graphsim.Start(graphsim.Options{Cloud: "mars"}); err == nil {
		t.Error("started in no cloud")
	}
}

// A cloud's login host gives tokens for its own Graph, and its Graph takes no other's.
// Source: "Microsoft Graph national cloud deployments".
func TestConformanceCloudHosts(t *testing.T) {
	t.Parallel()
	t.Run("a cloud has its own names of login and Graph, and takes no other's", func(t *testing.T) {
		t.Parallel()
		names := map[graphsim.Cloud][2]string{
			graphsim.CloudGlobal: {"login.microsoftonline.com", "graph.microsoft.com"},
			graphsim.CloudUSGov:  {"login.microsoftonline.us", "graph.microsoft.us"},
			graphsim.CloudDoD:    {"login.microsoftonline.us", "dod-graph.microsoft.us"},
			graphsim.CloudChina:  {"login.partner.microsoftonline.cn", "microsoftgraph.chinacloudapi.cn"},
		}
		clients, tokens := map[graphsim.Cloud]*client{}, map[graphsim.Cloud]string{}
		for cloud, of := range names {
			s, c := start(t, graphsim.Options{Cloud: cloud, ProxyAddr: "127.0.0.1:0"}, graphsim.TenantSpec{Name: string(cloud), Users: 1})
			clients[cloud] = c
			for other, name := range names {
				form := secretForm(graphsim.DefaultClientID, graphsim.DefaultSecret)
				form.Set("scope", "https://"+name[1]+"/.default")
				status, answer := c.askToken(c.tenant.ID(), form)
				if want := map[bool]int{true: 200, false: 400}[cloud == other]; status != want {
					t.Errorf("%s: a token for the Graph of %s: %d %v", cloud, other, status, answer)
				}
				if cloud == other {
					tokens[cloud], _ = answer["access_token"].(string)
				}
			}
			req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+of[1]+"/v1.0/users/delta", nil)
			must(t, err)
			req.Header.Set("Authorization", "Bearer "+tokens[cloud])
			resp, err := proxied(t, s).Do(req)
			must(t, err)
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("%s: its Graph by its name: %d", cloud, resp.StatusCode)
			}
		}
		for cloud, c := range clients {
			for other, token := range tokens {
				c.token = token
				resp := c.do("GET", "users/delta", nil)
				resp.Body.Close()
				if here := cloud == other; here != (resp.StatusCode == 200) || !here && !strings.Contains(resp.Header.Get("WWW-Authenticate"), names[cloud][0]) {
					t.Errorf("%s: a token of %s: %d %s", cloud, other, resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
				}
			}
			if got := c.s.Stats().Refused; got != int64(len(names)-1) {
				t.Errorf("%s has counted %d tokens of others", cloud, got)
			}
		}
	})
}
