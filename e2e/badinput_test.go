package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// TestBadInput gives a running fleet what is wrong with one tenant, one resource or one
// object. Each is explained in words on the run, the task, the tenant or in the answer;
// other tenants and other tasks go on; when the cause is removed, so does the rest.
func TestBadInput(t *testing.T) {
	t.Parallel()
	house := newFleet(t, "--tenants", "2", "--users", "4", "--unlicensed", "1", "--no-drive", "1", "--mails", "12", "--files-per-user", "3")
	f := house
	f.scheduler("scheduler")
	f.worker("worker")
	sims := f.simTenants()
	tn, other := f.connect(sims[0]), f.connect(sims[1])
	users := f.users(tn, "mailbox")
	first, second := users[0], users[1]
	neighbour := f.users(other, "mailbox")[0]
	mailbox := []string{"mailbox"}
	// fine backs up one mailbox, which has to work.
	fine := func(f *fleet, t tenant, r resource) {
		f.t.Helper()
		before := len(f.snapshots(t, r, "mailbox"))
		f.awaitDone(t, f.backupOf(t, mailbox, r))
		if after := len(f.snapshots(t, r, "mailbox")); after != before+1 {
			f.t.Errorf("%s has %d snapshots, expected %d", r.Name, after, before+1)
		}
	}

	t.Run("unknown tenant", func(t *testing.T) {
		f := f.within(t)
		f.refused("GET", "/tenants/t-unknown", nil, http.StatusNotFound, "not_found", `tenant "t-unknown" is unknown`)
		f.refused("POST", "/tenants/t-unknown/runs", map[string]any{"resources": []string{first.ID}}, http.StatusNotFound, "not_found", "t-unknown")
		f.refused("GET", "/tenants/"+other.ID+"/runs/r-unknown", nil, http.StatusNotFound, "not_found", "no run", "r-unknown")
		// Microsoft does not know the directory that an answer names.
		stranger := f.add(simTenant{Name: "Nobody", Domain: "nobody.example"})
		const nowhere = "99999999-9999-4999-8999-999999999999"
		f.browse(f.callback(f.consentState(stranger), url.Values{"tenant": {nowhere}, "admin_consent": {"True"}}))
		f.awaitState(&stranger, "refused")
		says(t, "the tenant", stranger.Reason, "this tenant does not exist", nowhere)
	})

	t.Run("mailbox without licence, drive not provisioned", func(t *testing.T) {
		f := f.within(t)
		lost := f.fault(map[string]any{
			"tenant": sims[0].ID, "path": "users/" + first.ObjectID + "/(mailFolders|contact|calendar|todo|mailboxSettings|outlook)", "status": 404,
			"code": "MailboxNotEnabledForRESTAPI", "message": "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
		})
		r := f.awaitDone(tn, f.backup(tn, f.policy(tn))) // done: there is nothing that anybody could do better
		f.explained(tn, r, first, "mailbox", "done", "absent", "The mailbox is either inactive, soft-deleted")
		undriven := slices.IndexFunc(f.simUsers(tn), func(u simUser) bool { return u.Mailbox && u.Drive == "" })
		f.explained(tn, r, f.userOf(tn, f.simUsers(tn)[undriven].ID), "drive", "done", "absent", "list drives", "mysite")
		if len(r.Problems) != 2 || r.Done != r.Tasks {
			t.Errorf("expected 2 of %d tasks to be explained: %+v", r.Tasks, r)
		}
		if n := len(f.snapshots(tn, second, "mailbox")); n != 1 {
			t.Errorf("%s has %d snapshots, expected 1", second.Name, n)
		}
		for _, u := range f.resources(tn, "kind=user&state=active") {
			if len(u.Workloads) == 0 { // never had a licence
				f.refused("POST", "/tenants/"+tn.ID+"/runs", map[string]any{"resources": []string{u.ID}, "workloads": mailbox},
					http.StatusUnprocessableEntity, "invalid", u.Name, "has no mailbox")
			}
		}
		f.simulate("DELETE", "/faults/"+lost, nil, nil)
		fine(f, tn, first)
		f.undisturbed(tn, other)
	})

	t.Run("expired token", func(t *testing.T) {
		f := f.within(t)
		f.revoke(sims[0])
		f.simulate("POST", "/tenants/"+sims[0].ID+"/consent", nil, nil) // what is refused are the tokens
		r := f.awaitDone(tn, f.backupOf(tn, mailbox, first))
		if len(r.Problems) != 0 || len(f.alarms()) != 0 {
			t.Errorf("a token that Microsoft refuses is fetched anew, and nobody is told: %+v %+v", r.Problems, f.alarms())
		}
		f.undisturbed(tn, other)
	})

	t.Run("revoked consent", func(t *testing.T) {
		f := f.within(t)
		f.revoke(sims[0])
		r := f.backupOf(tn, mailbox, first, second)
		gone := tn
		f.awaitState(&gone, "disconnected")
		says(t, "the tenant", gone.Reason, "no consent in this tenant", "consent again")
		f.awaitExplained(tn, r)
		f.explained(tn, r, first, "mailbox", "ready", "reconnect", "consent again")
		f.refused("POST", "/tenants/"+tn.ID+"/runs", map[string]any{"resources": []string{first.ID}},
			http.StatusConflict, "reconnect", "is disconnected", "ask for a consent URL")
		fine(f, other, neighbour)
		if a := f.alarms(); len(a) != 0 {
			t.Errorf("one tenant's consent raised %+v", a)
		}
		f.consentAs(gone, sims[0].ID, "accept")
		f.awaitState(&gone, "connected")
		f.awaitDone(tn, r) // what waited goes on
		f.undisturbed(tn, other)
	})

	t.Run("wrong key", func(t *testing.T) {
		f := f.within(t)
		f.started["worker"].stop()
		repair := damage(t, filepath.Join(f.dir, "keys"), func(text []byte) []byte { return otherKey(t, text, tn.ID) })
		house.worker("worker")
		r := f.awaitRun(tn, f.backupOf(tn, mailbox, first))
		f.explained(tn, r, first, "mailbox", "failed", "wrong_key", "has no wrapping key", filepath.Join(f.dir, "keys"))
		fine(f, other, neighbour)
		f.undisturbed(tn, other)
		f.started["worker"].stop()
		repair()
		house.worker("worker")
		fine(f, tn, first)
	})

	t.Run("spoilt key", func(t *testing.T) {
		f := f.within(t)
		f.started["worker"].stop()
		repair := damage(t, filepath.Join(f.dir, "keys"), func(text []byte) []byte { return spoiltKey(t, text, tn.ID) })
		house.worker("worker") // starts all the same
		r := f.awaitRun(tn, f.backupOf(tn, mailbox, first))
		f.explained(tn, r, first, "mailbox", "failed", "wrong_key", "wrapping key file-", "of tenant "+tn.ID+" is damaged")
		fine(f, other, neighbour)
		f.undisturbed(tn, other)
		var raised, others page[alarm]
		f.must("GET", "/tenants/"+tn.ID+"/alarms", nil, &raised)
		f.must("GET", "/tenants/"+other.ID+"/alarms", nil, &others)
		if len(raised.Items) != 1 || raised.Items[0].Cause != "key" || len(others.Items) != 0 {
			t.Errorf("alarms: %+v, and of the other tenant %+v", raised.Items, others.Items)
		} else {
			says(t, "the alarm", raised.Items[0].Detail, "wrapping key file-", "is damaged")
		}
		repair()
		fine(f, tn, first) // without a new start
	})

	t.Run("corrupt pack", func(t *testing.T) {
		f := f.within(t)
		var repairs []func()
		for _, pack := range f.objects(tn, "r/"+first.ID+"/mailbox/p/*") {
			repairs = append(repairs, damage(t, pack, func(b []byte) []byte { b[len(b)/3] ^= 1; return b }))
		}
		seq := f.latest(tn, first, "mailbox").Seq
		r := f.awaitRun(tn, f.verify(tn, first, "mailbox", seq))
		bad := f.explained(tn, r, first, "mailbox", "failed", "corrupt", "damaged")
		if len(bad.Problems) == 0 {
			t.Fatal("the damaged items are not named")
		}
		says(t, "the first problem", bad.Problems[0].Reason, first.ID, "/p/")
		f.awaitDone(tn, f.verify(tn, second, "mailbox", f.latest(tn, second, "mailbox").Seq))
		f.healed(tn, first)
		for _, repair := range repairs {
			repair()
		}
		f.awaitDone(tn, f.verify(tn, first, "mailbox", seq))
		f.undisturbed(tn, other)
	})

	t.Run("truncated manifest", func(t *testing.T) {
		f := f.within(t)
		kept := f.snapshots(tn, first, "mailbox")
		repair := damage(t, f.objects(tn, "r/"+first.ID+"/mailbox/m/*")[0], func(b []byte) []byte { return b[:len(b)/2] })
		r := f.awaitRun(tn, f.backupOf(tn, mailbox, first, second))
		if r.State != "partial" {
			t.Errorf("the run is %s: %+v", r.State, r)
		}
		f.explained(tn, r, first, "mailbox", "failed", "corrupt", first.ID, "/m/")
		f.refused("GET", fmt.Sprintf("/tenants/%s/resources/%s/workloads/mailbox/snapshots/%d/items", tn.ID, first.ID, kept[0].Seq),
			nil, http.StatusInternalServerError, "corrupt", first.ID, "/m/")
		fine(f, other, neighbour)
		f.undisturbed(tn, other)
		repair()
		fine(f, tn, first)
		if now := f.snapshots(tn, first, "mailbox"); len(now) != len(kept)+1 {
			t.Errorf("%d snapshots, expected the %d from before and a new one", len(now), len(kept))
		}
		for _, s := range kept {
			f.awaitDone(tn, f.verify(tn, first, "mailbox", s.Seq))
		}
	})

	if a := f.alarms(); len(a) != 0 {
		t.Errorf("what is wrong with one tenant raised %+v", a)
	}
}

// otherKey gives a tenant another wrapping key in the text of a key file.
func otherKey(t *testing.T, text []byte, tenant string) []byte {
	t.Helper()
	var file struct {
		Version int `json:"version"`
		Tenants map[string][]struct {
			ID  string `json:"id"`
			Key []byte `json:"key"`
		} `json:"tenants"`
	}
	if err := json.Unmarshal(text, &file); err != nil || len(file.Tenants[tenant]) == 0 {
		t.Fatalf("the key file has no key of %s: %v", tenant, err)
	}
	for another, keys := range file.Tenants { // a key has the name that it means: one that fits itself, but not the bucket
		if another != tenant {
			file.Tenants[tenant] = keys
		}
	}
	text, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// healed waits for the repair that a verification has asked for, and holds that the next backup makes a
// snapshot that verifies, while what is stored stays damaged.
func (f *fleet) healed(tn tenant, r resource) {
	f.t.Helper()
	eventually(f.t, "the repair ran", func() (bool, string) {
		var runs page[run]
		f.must("GET", "/tenants/"+tn.ID+"/runs", nil, &runs)
		return slices.ContainsFunc(runs.Items, func(r run) bool { return r.Action == "repair" && r.State == "done" }), fmt.Sprintf("%+v", runs.Items)
	})
	f.awaitDone(tn, f.backupOf(tn, []string{"mailbox"}, r))
	f.awaitDone(tn, f.verify(tn, r, "mailbox", f.latest(tn, r, "mailbox").Seq))
	var raised page[alarm]
	f.must("GET", "/tenants/"+tn.ID+"/alarms", nil, &raised)
	if slices.ContainsFunc(raised.Items, func(a alarm) bool { return a.Cause == "damage" }) {
		f.t.Errorf("the alarm goes on after a backup has healed the damage: %+v", raised.Items)
	}
}

// spoiltKey changes the key of a tenant in the text of a key file, but not its name.
func spoiltKey(t *testing.T, text []byte, tenant string) []byte {
	t.Helper()
	own := bytes.Index(text, []byte(strconv.Quote(tenant)))
	begin := bytes.Index(text[max(own, 0):], []byte(`"key": "`))
	if own < 0 || begin < 0 {
		t.Fatalf("the key file has no key of %s", tenant)
	}
	text = bytes.Clone(text)
	at := own + begin + len(`"key": "`)
	text[at] = map[bool]byte{true: 'B', false: 'A'}[text[at] == 'A']
	return text
}

// TestSharedCauses breaks what all tenants need. Admission pauses with one alarm that
// names the cause, no tenant changes its state, no task fails; when the cause is gone,
// nobody has to do anything.
func TestSharedCauses(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--tenants", "2", "--users", "2", "--mails", "6", "--files-per-user", "2")
	f.scheduler("scheduler")
	f.worker("worker")
	tenants, runs := f.backupAll()
	for i, tn := range tenants {
		f.awaitDone(tn, runs[i])
	}
	// breaks runs backups of both tenants while something is broken, and again when it is
	// repaired: these very runs have to complete.
	breaks := func(f *fleet, cause string, words []string, repair func()) {
		f.t.Helper()
		var waiting []run
		for _, tn := range tenants {
			waiting = append(waiting, f.backupOf(tn, []string{"mailbox"}, f.users(tn, "mailbox")...))
		}
		raised := f.awaitAlarm(cause, words...)
		f.awaitExplained(tenants[0], waiting[0])
		r := waiting[0]
		f.must("GET", "/tenants/"+tenants[0].ID+"/runs/"+r.ID, nil, &r)
		if p := r.Problems[0]; p.Kind != "shared" || p.State == "failed" {
			f.t.Errorf("a task is explained by %+v", p)
		}
		f.undisturbed(tenants...)
		repair()
		for i, tn := range tenants {
			f.awaitDone(tn, waiting[i])
		}
		f.awaitCalm(raised)
		f.undisturbed(tenants...)
	}

	t.Run("unreachable bucket", func(t *testing.T) {
		f := f.within(t)
		f.s3.Stop()
		breaks(f, "bucket", []string{f.s3.Bucket, f.s3.Endpoint, "cannot be reached"}, f.s3.Start)
	})

	t.Run("wrong secret", func(t *testing.T) {
		f := f.within(t)
		f.started["worker"].stop()
		f.worker("mistaken", "TENANTRY_CLIENT_SECRET=mistyped")
		breaks(f, "credential", []string{"AADSTS7000215", "the application's own credential is wrong"}, func() {
			f.started["mistaken"].stop()
			f.worker("worker")
		})
	})
}

// TestServersAway takes SQL and Redis away from a running fleet, and gives them back.
func TestServersAway(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--tenants", "2", "--users", "3", "--mails", "40", "--files-per-user", "2", "--latency", "20ms")
	f.scheduler("scheduler")
	f.worker("worker")
	tenants, runs := f.backupAll()

	t.Run("SQL", func(t *testing.T) {
		f := f.within(t)
		f.underWay(tenants[0], runs[0], func(task) bool { return true })
		f.postgres.Stop()
		f.refused("GET", "/tenants/"+tenants[0].ID, nil, http.StatusServiceUnavailable, "shared", "the database")
		for _, p := range []string{"api", "scheduler", "worker"} {
			eventually(t, p+" says that it is not ready", func() (bool, string) {
				answer, err := http.Get("http://" + f.started[p].addr + "/readyz")
				if err != nil {
					t.Fatal(err)
				}
				_ = answer.Body.Close()
				return answer.StatusCode == http.StatusServiceUnavailable, answer.Status
			})
		}
		f.postgres.Start()
		for i, tn := range tenants {
			f.awaitDone(tn, runs[i])
		}
		f.undisturbed(tenants...)
		for _, a := range f.alarms() {
			if a.Cause != "catalog" {
				t.Errorf("SQL was away, and the alarm is %+v", a)
			}
		}
	})

	t.Run("Redis", func(t *testing.T) {
		f := f.within(t)
		f.redis.Kill()
		var waiting []run
		for _, tn := range tenants {
			waiting = append(waiting, f.backupOf(tn, []string{"mailbox"}, f.users(tn, "mailbox")...))
		}
		raised := f.awaitAlarm("redis", "connection refused")
		f.undisturbed(tenants...)
		f.redis.Start()
		for i, tn := range tenants {
			f.awaitDone(tn, waiting[i])
		}
		f.awaitCalm(raised)
		f.undisturbed(tenants...)
	})
}

// TestFullDisk fills the disk of the bucket up under a running fleet.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--tenants", "2", "--users", "2", "--mails", "6", "--files-per-user", "2")
	fill, free := smallDisk(t, f.s3.Dir, 8<<20)
	f.scheduler("scheduler")
	f.worker("worker")
	tenants, runs := f.backupAll()
	for i, tn := range tenants {
		f.awaitDone(tn, runs[i])
	}
	fill()
	var waiting []run
	for _, tn := range tenants {
		waiting = append(waiting, f.backupOf(tn, []string{"mailbox"}, f.users(tn, "mailbox")...))
	}
	raised := f.awaitAlarm("bucket", f.s3.Bucket, "the store is full")
	f.undisturbed(tenants...)
	free()
	for i, tn := range tenants {
		f.awaitDone(tn, waiting[i])
		for _, u := range f.users(tn, "mailbox") {
			if n := len(f.snapshots(tn, u, "mailbox")); n != 2 {
				t.Errorf("the mailbox of %s has %d snapshots, expected 2", u.Name, n)
			}
			f.awaitDone(tn, f.verify(tn, u, "mailbox", f.latest(tn, u, "mailbox").Seq))
		}
	}
	f.awaitCalm(raised)
}
