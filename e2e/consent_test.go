package e2e

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/servertest"
)

// TestConsent walks the ways that a consent can go, as browsers and Microsoft walk them:
// what the administrator reads, what the provider reads, and what the tenant becomes.
// How a state expires is tested in package api, which has a clock to move.
func TestConsent(t *testing.T) {
	t.Parallel()
	house := newFleet(t, "--tenants", "5", "--users", "1", "--mails", "1", "--files-per-user", "1")
	house.scheduler("scheduler")
	house.worker("worker")
	sims := house.simTenants()
	agreed := func(directory string) url.Values {
		return url.Values{"tenant": {directory}, "admin_consent": {"True"}}
	}
	// connects fails unless the right administrator can still consent.
	connects := func(f *fleet, tn tenant) {
		f.t.Helper()
		says(f.t, "the page", f.consentAs(tn, tn.sim.ID, "accept"), "Consent received", tn.Name, tn.sim.ID)
		f.awaitState(&tn, "connected")
		if tn.DirectoryID != tn.sim.ID || tn.Reason != "" {
			f.t.Errorf("%s is proved to be %q, expected %q; reason %q", tn.Name, tn.DirectoryID, tn.sim.ID, tn.Reason)
		}
	}

	t.Run("accepted, added by domain or by GUID", func(t *testing.T) {
		f := house.within(t)
		connects(f, f.add(sims[0]))
		byGUID := f.add(simTenant{ID: sims[1].ID, Name: sims[1].Name, Domain: strings.ToUpper(sims[1].ID)})
		connects(f, byGUID)
		again := byGUID
		f.must("GET", "/tenants/"+again.ID, nil, &again)
		f.consentAs(again, sims[0].ID, "refuse") // a browser's answer takes nothing away
		f.undisturbed(again)
	})

	t.Run("refused by the administrator", func(t *testing.T) {
		f := house.within(t)
		tn := f.add(sims[2])
		says(t, "the page", f.consentAs(tn, sims[2].ID, "refuse"), "The consent was declined", tn.Name, "Ask your backup provider for a new consent link")
		f.awaitState(&tn, "refused")
		says(t, "the tenant", tn.Reason, "The administrator declined the consent")
		f.refused("POST", "/tenants/"+tn.ID+"/refresh", nil, 409, "reconnect", "declined")
		connects(f, tn)
	})

	t.Run("wrong tenant consents", func(t *testing.T) {
		f := house.within(t)
		// Expected by GUID, the API sees it.
		tn := f.add(simTenant{ID: sims[3].ID, Name: sims[3].Name, Domain: sims[3].ID})
		page := f.consentAs(tn, sims[4].ID, "accept")
		says(t, "the page", page, "The wrong Microsoft tenant consented", sims[3].ID, sims[4].ID)
		f.awaitState(&tn, "refused")
		says(t, "the tenant", tn.Reason, "expected "+sims[3].ID, sims[4].ID+" answered")
		connects(f, tn)
		// Expected by domain, the worker asks whom it belongs to.
		other := f.add(sims[4])
		says(t, "the page", f.consentAs(other, sims[3].ID, "accept"), "Expected Microsoft tenant", sims[4].Domain, sims[3].ID)
		f.awaitState(&other, "refused")
		says(t, "the tenant", other.Reason, "expected the consent of "+sims[4].Domain, sims[3].Name, sims[3].ID)
		f.must("GET", "/tenants/"+tn.ID, nil, &tn)
		if tn.State != "connected" {
			t.Errorf("%s became %s, and did nothing", tn.Name, tn.State)
		}
	})

	t.Run("permissions missing", func(t *testing.T) {
		f := house.within(t)
		other := f.find(sims[4].Domain)
		other.sim = sims[4]
		f.simulate("POST", "/tenants/"+sims[4].ID+"/consent", map[string]any{"roles": []string{"User.Read.All", "Organization.Read.All", "Mail.ReadWrite"}}, nil)
		f.browse(f.callback(f.consentState(other), agreed(sims[4].ID)))
		eventually(t, "the missing permissions are named", func() (bool, string) {
			f.must("GET", "/tenants/"+other.ID, nil, &other)
			return strings.Contains(other.Reason, "lacks"), other.Reason
		})
		says(t, "the tenant", other.Reason, sims[4].ID, "lacks Group.Read.All:", "consent again")
		if other.State != "refused" || strings.Contains(other.Reason, "Mail.Read") {
			t.Errorf("the tenant is %s: %s", other.State, other.Reason)
		}
		// What single workloads lack keeps no tenant from being connected.
		f.simulate("POST", "/tenants/"+sims[4].ID+"/consent", map[string]any{"roles": []string{"User.Read.All", "Group.Read.All", "Organization.Read.All", "Mail.ReadWrite"}}, nil)
		f.browse(f.callback(f.consentState(other), agreed(sims[4].ID)))
		f.awaitState(&other, "connected")
		states := f.workloads(other)
		if states["mailbox"].State != "authorised" || states["drive"].State != "unauthorised" || states["drive"].Backup.Ready {
			t.Errorf("workloads: %+v", states)
		}
		says(t, "the drive", states["drive"].Backup.Reason+states["drive"].Remedy, "Files.Read.All", "consent again")
		connects(f, other)
	})

	t.Run("state tampered with or used again", func(t *testing.T) {
		f := house.within(t)
		tn := f.add(simTenant{Name: "Target", Domain: "target.example"})
		state := f.consentState(tn)
		runs := func() int { return len(list[run](f, "/tenants/"+tn.ID+"/runs")) }
		for _, tampered := range []string{"A" + state[1:], state + "A", "stranger." + state[strings.Index(state, ".")+1:], strings.ReplaceAll(state, ".", "")} {
			if tampered != state {
				says(t, "the page", f.browse(f.callback(tampered, agreed(sims[0].ID))), "was not made here, or was changed on its way", "Nothing was changed")
			}
		}
		if n := runs(); n != 0 {
			t.Fatalf("a tampered state started %d runs", n)
		}
		// Any api process takes the callback of another's, once.
		addr := servertest.Addr(t)
		spawn(t, "api2", addr, "http://"+addr+"/readyz", f.env, "api", "-listen", addr)
		replica := *f
		replica.api = "http://" + addr
		says(t, "the page", replica.browse(replica.callback(state, agreed(sims[0].ID))), "Consent received")
		for range 2 {
			says(t, "the page", f.browse(f.callback(state, agreed(sims[0].ID))), "was used before or has expired", "Nothing was changed")
		}
		f.awaitState(&tn, "refused") // by the worker: that organisation is another one
		says(t, "the tenant", tn.Reason, "target.example", sims[0].ID)
		if n := runs(); n != 1 {
			t.Errorf("one state started %d runs", n)
		}
	})
}

// find is the tenant that was added for a directory.
func (f *fleet) find(directory string) tenant {
	f.t.Helper()
	for _, p := range list[struct {
		tenant
		Directory string `json:"directory"`
	}](f, "/tenants") {
		if p.Directory == directory {
			return p.tenant
		}
	}
	f.t.Fatalf("no tenant was added for %s", directory)
	return tenant{}
}
