package graphsim_test

import (
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
