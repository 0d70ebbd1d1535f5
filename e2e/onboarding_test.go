package e2e

import "testing"

// A tenant gets on board by redirect: mail first, then SharePoint, for which something is missing. Nothing is
// protected before it is enabled.
func TestOnboardingByRedirect(t *testing.T) {
	f := newFleet(t, "--tenants", "1", "--users", "3", "--mails", "3", "--files-per-user", "2", "--groups", "1", "--sites", "2")
	f.scheduler("scheduler")
	f.worker("worker")
	sim := f.simTenants()[0]
	tn := f.add(sim)
	narrow := []string{"User.Read.All", "Group.Read.All", "Organization.Read.All", "Mail.ReadWrite"}
	f.simulate("POST", "/tenants/"+sim.ID+"/consent", map[string]any{"roles": narrow}, nil)
	f.must("POST", "/tenants/"+tn.ID+"/probe", nil, nil) // its consent is there already
	f.awaitState(&tn, "connected")
	f.awaitSyncs(tn, 1)

	policy := f.policy(tn)
	user := f.resources(tn, "kind=user&limit=100")[0]
	f.refused("POST", "/tenants/"+tn.ID+"/runs", map[string]any{"policy": policy}, 409, "conflict", "have to be enabled")
	f.refused("POST", "/tenants/"+tn.ID+"/runs", map[string]any{"resources": []string{user.ID}}, 422, "invalid", "not enabled")

	if link := f.enable(tn, "mailbox"); link != "" {
		t.Errorf("mail is permitted, and asks for consent: %s", link)
	}
	mail := f.awaitWorkload(tn, "mailbox", "ready")
	if !mail.Backup.Ready || !mail.Restore.Ready || mail.Eligible == 0 {
		t.Errorf("mail: %+v", mail)
	}
	link := f.enable(tn, "site")
	site := f.workloads(tn)["site"]
	if link == "" || site.State != "unauthorised" || !site.Enabled {
		t.Fatalf("sites: %+v, consent %q", site, link)
	}
	says(t, "sites", site.Reason, "Sites.Read.All")
	f.browse(link + "&auto=accept&as=" + sim.ID)
	f.awaitWorkload(tn, "site", "ready") // what was asked for goes on by itself
	if drive := f.workloads(tn)["drive"]; drive.State != "authorised" || drive.Enabled {
		t.Errorf("nobody has asked for drives: %+v", drive)
	}

	f.awaitDone(tn, f.backup(tn, policy))
	if n := len(f.snapshots(tn, user, "mailbox")); n != 1 {
		t.Errorf("%d snapshots of the mailbox", n)
	}
	if n := len(f.snapshots(tn, user, "drive")); n != 0 {
		t.Errorf("%d snapshots of a drive that is not enabled", n)
	}
}

// A tenant gets on board by device code, and workers die twice on the way: while the code waits, and once somebody
// has entered it. Its own application speaks for it from then on; the provider's has no consent there.
func TestOnboardingByDeviceCode(t *testing.T) {
	f := newFleet(t, "--tenants", "2", "--users", "2", "--mails", "3", "--files-per-user", "1", "--groups", "0", "--sites", "1",
		"--registration-delay", "2s")
	f.scheduler("scheduler")
	worker := f.worker("first")
	sims := f.simTenants()
	tn := f.add(sims[0])
	f.enable(tn, "mailbox")
	f.must("POST", "/tenants/"+tn.ID+"/registration", map[string]any{"name": "Our backup", "restore": true}, nil)
	code := f.awaitRegistration(tn, "waiting").Code
	worker.kill()
	worker = f.worker("second")
	f.enterCode(tn, code)
	eventually(t, "somebody has signed in", func() (bool, string) {
		state := f.registration(tn).State
		return state != "waiting", state
	})
	worker.kill()
	f.worker("third")
	done := f.awaitRegistration(tn, "done")
	f.awaitState(&tn, "connected")
	f.awaitWorkload(tn, "mailbox", "ready")

	user := f.resources(tn, "kind=user&limit=100")[0]
	f.awaitDone(tn, f.backupOf(tn, []string{"mailbox"}, user))
	var credentials struct {
		Items []struct {
			Purpose  string `json:"purpose"`
			Client   string `json:"client_id"`
			Accepted string `json:"accepted"`
		} `json:"items"`
	}
	f.must("GET", "/tenants/"+tn.ID+"/credentials", nil, &credentials)
	if c := credentials.Items; len(c) != 1 || c[0].Client != done.Client || c[0].Purpose != "backup" || c[0].Accepted == "" {
		t.Errorf("credentials: %+v, registered is %s", c, done.Client)
	}

	// Given up while the code waits: nothing was made, and it may begin anew.
	other := f.add(sims[1])
	f.must("POST", "/tenants/"+other.ID+"/registration", nil, nil)
	f.awaitRegistration(other, "waiting")
	f.refused("POST", "/tenants/"+other.ID+"/registration", nil, 409, "conflict", "under way")
	f.must("POST", "/tenants/"+other.ID+"/registration/cancel", nil, nil)
	f.awaitRegistration(other, "undone")
}

// A tenant in a second pool has its sync and its backups done by that pool's workers, and waits while there are
// none; the others go on.
func TestTenantInASecondPool(t *testing.T) {
	f := newFleet(t, "--tenants", "2", "--users", "2", "--mails", "3", "--files-per-user", "1", "--groups", "0", "--sites", "0")
	f.scheduler("scheduler")
	inMain := f.worker("main")
	sims := f.simTenants()
	f.must("POST", "/pools", map[string]any{"name": "munich"}, nil)
	away := f.add(sims[1])
	f.must("PUT", "/tenants/"+away.ID+"/pool", map[string]any{"pool": "munich"}, nil)
	f.enable(away, "mailbox")
	f.consentAs(away, sims[1].ID, "accept")
	f.connect(sims[0]) // the main pool works
	f.must("GET", "/tenants/"+away.ID, nil, &away)
	if away.State != "pending" {
		t.Fatalf("%s is %s, and its pool has no worker", away.Name, away.State)
	}
	munich := f.worker("munich", "TENANTRY_POOL=munich")
	f.awaitState(&away, "connected")
	f.awaitWorkload(away, "mailbox", "ready")
	user := f.resources(away, "kind=user&limit=100")[0]
	f.awaitDone(away, f.backupOf(away, []string{"mailbox"}, user))
	for _, r := range list[run](f, "/tenants/"+away.ID+"/runs") {
		for _, task := range list[task](f, "/tenants/"+away.ID+"/runs/"+r.ID+"/tasks") {
			if task.Process != munich.fleetName() {
				t.Errorf("%s ran on %s, not in munich (main is %s)", r.Action, task.Process, inMain.fleetName())
			}
		}
	}
}
