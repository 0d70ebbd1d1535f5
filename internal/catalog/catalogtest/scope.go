package catalogtest

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// filled is a tenant with a row in every table; another one has the same names.
type filled struct {
	*catalog.Tenant
	id             tenantry.TenantID
	run            catalog.Run
	ended, running catalog.Claim
	waiting        catalog.Task
}

func (w *world) fill(name string, p tenantry.ProcessID) filled {
	w.t.Helper()
	f := filled{Tenant: w.enrolled(name, 4), id: tenantry.TenantID("t-" + name)}
	run, claims := w.claimed(f.Tenant, p, 3)
	f.run, f.ended, f.running = run, claims[0], claims[1]
	snapshot := &catalog.SnapshotRow{Seq: 1, Time: now}
	w.ok(f.Settle(w.ctx, f.ended, catalog.Settlement{State: catalog.TaskDone, Snapshot: snapshot, Problems: []catalog.Problem{{ItemID: name}}}, now))
	w.ok(f.Settle(w.ctx, claims[2], catalog.Settlement{State: catalog.TaskReady, Reason: "more to do", Counts: tenantry.Counts{Items: 3}}, now))
	w.ok(f.Progress(w.ctx, f.running, tenantry.Counts{Items: 7}))
	f.waiting = w.admit(f.id, "backup", 1)[0]
	w.ok(w.f.Audit(w.ctx, catalog.AuditEntry{At: now, Actor: "admin", Tenant: f.id, Action: "fill"}))
	w.ok(f.SetNotices(w.ctx, "p-daily", telling, now))
	w.ok(f.PutMail(w.ctx, catalog.Mail{Key: name, To: "ada@contoso.com"}, now))
	w.ok(f.StartRegistration(w.ctx, catalog.Registration{State: tenantry.RegAsking, Name: name, StartedAt: now}))
	w.ok(f.AddCredential(w.ctx, catalog.Credential{ID: "c-1", Label: name, AddedAt: now}))
	w.ok(f.KeepUpload(w.ctx, catalog.KeptUpload{Task: f.running.ID, Name: "u-1", KeyID: name, Wrapped: []byte(name)}))
	w.ok(f.KeepUpload(w.ctx, catalog.KeptUpload{Task: f.ended.ID, Name: "u-1", KeyID: name, Wrapped: []byte(name)}))
	return f
}

// dump reads all that can be read of a tenant.
func (w *world) dump(f filled) map[string]any {
	w.t.Helper()
	out := map[string]any{}
	for name, read := range map[string]func() (any, error){
		"row":          func() (any, error) { return f.Get(w.ctx) },
		"resources":    func() (any, error) { return f.Resources(w.ctx, catalog.ResourceFilter{}) },
		"policies":     func() (any, error) { return f.Policies(w.ctx) },
		"targets":      func() (any, error) { return f.PolicyTargets(w.ctx, "p-daily") },
		"runs":         func() (any, error) { return f.Runs(w.ctx, "", 0) },
		"tasks":        func() (any, error) { return f.Tasks(w.ctx, f.run.ID, "", 0) },
		"counts":       func() (any, error) { return f.ResourceCounts(w.ctx) },
		"troubles":     func() (any, error) { return f.RunProblems(w.ctx, f.run.ID, 0) },
		"problems":     func() (any, error) { return f.Problems(w.ctx, f.ended.ID) },
		"holds":        func() (any, error) { return f.Holds(w.ctx) },
		"standing":     func() (any, error) { return f.SeriesStanding(w.ctx, user(0), tenantry.Mailbox) },
		"snapshots":    func() (any, error) { return f.Snapshots(w.ctx, user(0), tenantry.Mailbox, 0, 0) },
		"newest":       func() (any, error) { return f.NewestSnapshots(w.ctx, "", "", 0) },
		"alarms":       func() (any, error) { return f.Alarms(w.ctx) },
		"notices":      func() (any, error) { return f.Notices(w.ctx) },
		"mails":        func() (any, error) { return f.Mails(w.ctx, "", 0) },
		"audit":        func() (any, error) { return f.AuditTrail(w.ctx, 0, 0) },
		"ledger":       func() (any, error) { return f.RunLedger(w.ctx, f.run.ID) },
		"days":         func() (any, error) { return f.Ledger(w.ctx, now, now) },
		"link":         func() (any, error) { link, _, err := f.SyncLink(w.ctx, tenantry.User); return link, err },
		"workloads":    func() (any, error) { return f.Workloads(w.ctx) },
		"registration": func() (any, error) { return f.Registration(w.ctx) },
		"credentials":  func() (any, error) { return f.Credentials(w.ctx) },
		"upload":       func() (any, error) { return f.KeptUpload(w.ctx, f.running.ID, "u-1") },
		"left uploads": func() (any, error) { return f.LeftUploads(w.ctx) },
		"due": func() (any, error) {
			due, err := w.f.Due(w.ctx, now.Add(72*time.Hour), 10000)
			var own []catalog.Due
			for _, d := range due {
				if d.Tenant == f.id {
					own = append(own, d)
				}
			}
			return own, err
		},
	} {
		value, err := read()
		w.ok(err)
		out[name] = value
	}
	return out
}

// testScope calls every method of the tenant handle with everything it can be given of
// another tenant, and holds that the other's rows are neither returned nor changed.
func testScope(_ *testing.T, w *world) {
	p := w.worker("1")
	mine, other := w.fill("mine", p), w.fill("other", p)
	before := w.dump(other)
	after := now.Add(time.Minute)
	stolen := func(c catalog.Claim) catalog.Claim { c.Tenant = mine.id; return c }

	// Each returns what it read; errors are the method's affair, rows are not.
	calls := map[string]func() any{
		"Get":            func() any { row, _ := mine.Get(w.ctx); return row },
		"SetState":       func() any { return mine.SetState(w.ctx, tenantry.TenantDisconnected, "x") },
		"SetDirectoryID": func() any { return mine.SetDirectoryID(w.ctx, "guid") },
		"Exclusive":      func() any { return mine.Exclusive(w.ctx, func(context.Context) error { return nil }) },
		"SetRoles":       func() any { return mine.SetRoles(w.ctx, []string{"Mail.Read"}) },
		"Workloads":      func() any { list, _ := mine.Workloads(w.ctx); return list },
		"Eligible":       func() any { counts, _ := mine.Eligible(w.ctx); return counts[tenantry.Drive] },
		"EnableWorkload": func() any { return mine.EnableWorkload(w.ctx, tenantry.Drive, catalog.Enabling{Trusted: true}, after) },
		"DisableWorkload": func() any {
			return mine.DisableWorkload(w.ctx, tenantry.SiteContent, []string{"Sites.Read.All"}, after)
		},
		"AuthoriseWorkloads": func() any {
			return mine.AuthoriseWorkloads(w.ctx, map[tenantry.Workload][]string{tenantry.TeamContent: {"Team.ReadBasic.All"}}, after)
		},
		"StartRegistration": func() any {
			return mine.StartRegistration(w.ctx, catalog.Registration{State: tenantry.RegAsking, StartedAt: after})
		},
		"MoveRegistration": func() any {
			return mine.MoveRegistration(w.ctx, tenantry.RegAsking, catalog.Registration{State: tenantry.RegFailed, Name: "mine"})
		},
		"Registration":      func() any { r, _ := mine.Registration(w.ctx); return r },
		"UseCredential":     func() any { return mine.UseCredential(w.ctx, "c-1", tenantry.ToRestore) },
		"AddCredential":     func() any { return mine.AddCredential(w.ctx, catalog.Credential{ID: "mine", AddedAt: after}) },
		"Credentials":       func() any { list, _ := mine.Credentials(w.ctx); return list },
		"CredentialTold":    func() any { return mine.CredentialTold(w.ctx, "c-1", "AADSTS1", after) },
		"OfferCredential":   func() any { return mine.OfferCredential(w.ctx, "c-1", time.Time{}, after) },
		"CredentialKnownAs": func() any { return mine.CredentialKnownAs(w.ctx, "c-1", "mine") },
		"AskRotation":       func() any { return mine.AskRotation(w.ctx, "c-1", after) },
		"CredentialStuck":   func() any { return mine.CredentialStuck(w.ctx, "c-1", "mine") },
		"RemoveCredential":  func() any { return mine.RemoveCredential(w.ctx, "c-1") },
		"KeepUpload": func() any {
			return mine.KeepUpload(w.ctx, catalog.KeptUpload{Task: other.running.ID, Name: "u-1", KeyID: "mine", Wrapped: []byte{1}})
		},
		"KeptUpload":      func() any { u, _ := mine.KeptUpload(w.ctx, other.running.ID, "u-1"); return u.KeyID },
		"DropUpload":      func() any { return mine.DropUpload(w.ctx, other.running.ID, "u-1") },
		"LeftUploads":     func() any { list, _ := mine.LeftUploads(w.ctx); return len(list) },
		"SetRestoreRoles": func() any { return mine.SetRestoreRoles(w.ctx, []string{"Mail.ReadWrite"}) },
		"ListingBegan":    func() any { return mine.ListingBegan(w.ctx, after) },
		"ListingEnded": func() any {
			return mine.ListingEnded(w.ctx, map[tenantry.ResourceKind]string{tenantry.Group: "x"}, after)
		},
		"SetSize":        func() any { return mine.SetSize(w.ctx, 1, 2) },
		"SyncDone":       func() any { return mine.SyncDone(w.ctx, after, after) },
		"StartConsent":   func() any { return mine.StartConsent(w.ctx, "hash", after) },
		"Resources":      func() any { list, _ := mine.Resources(w.ctx, catalog.ResourceFilter{}); return len(list) },
		"ResourceCounts": func() any { counts, _ := mine.ResourceCounts(w.ctx); return counts[tenantry.Active] },
		"Resource":       func() any { r, _ := mine.Resource(w.ctx, user(0)); return r },
		"SyncLink":       func() any { link, _, _ := mine.SyncLink(w.ctx, tenantry.User); return link },
		"ApplySync": func() any {
			gone := users(2)
			gone[0].State, gone[1].Name = tenantry.Gone, "renamed"
			return mine.ApplySync(w.ctx, tenantry.User, gone, "mine", after)
		},
		"AddPolicy": func() any { return mine.AddPolicy(w.ctx, policy("more"), after) },
		"Policies":  func() any { list, _ := mine.Policies(w.ctx); return list },
		"Policy":    func() any { p, _ := mine.Policy(w.ctx, "p-daily"); return p },
		"BackupOptions": func() any {
			o, _ := mine.BackupOptions(w.ctx, catalog.Resource{Kind: tenantry.User}, tenantry.Drive)
			return o
		},
		"PolicyTargets": func() any { list, _ := mine.PolicyTargets(w.ctx, "p-daily"); return len(list) },
		"StartRun": func() any {
			_, err := mine.StartRun(w.ctx, tenantry.Backup, catalog.TriggerManual, "", mailboxes(4), after)
			return err
		},
		"RunLedger":      func() any { l, _ := mine.RunLedger(w.ctx, other.run.ID); return l.Delays.Queue },
		"Ledger":         func() any { list, _ := mine.Ledger(w.ctx, now, after); return list },
		"Flows":          func() any { list, _ := mine.Flows(w.ctx); return list },
		"ActivatePolicy": func() any { _, err := mine.ActivatePolicy(w.ctx, "p-daily", nil, after); return err },
		"PausePolicy":    func() any { _, err := mine.PausePolicy(w.ctx, "p-daily", after); return err },
		"ChangePolicy": func() any {
			rename := func(p catalog.Policy) (catalog.Policy, error) { p.Name = "mine"; return p, nil }
			_, err := mine.ChangePolicy(w.ctx, "p-daily", rename, after)
			return err
		},
		"ApplyMembers":     func() any { return mine.ApplyMembers(w.ctx, someGroup, []tenantry.ResourceID{user(0)}, "", after) },
		"MemberLists":      func() any { list, _ := mine.MemberLists(w.ctx); return list },
		"PolicyNames":      func() any { names, _ := mine.PolicyNames(w.ctx); return len(names) },
		"CountProtections": func() any { counts, _ := mine.CountProtections(w.ctx); return len(counts) },
		"Explain":          func() any { x, _ := mine.Explain(w.ctx, user(0), after); return x },
		"Forecast":         func() any { f, _ := mine.Forecast(w.ctx, policy("daily")); return f.Resources },
		"Coverage":         func() any { c, _ := mine.Coverage(w.ctx, after); return c },
		"Planning":         func() any { p, _ := mine.Planning(w.ctx); return p },
		"SetPlanning":      func() any { return mine.SetPlanning(w.ctx, catalog.Planning{TimeZone: "Europe/Vienna"}, after) },
		"FollowZone":       func() any { return mine.FollowZone(w.ctx, "Asia/Tokyo", after) },
		"Missing":          func() any { list, _ := mine.Missing(w.ctx, []tenantry.ResourceID{user(0)}); return list },
		"ResourceNames": func() any {
			names := map[tenantry.ResourceID]string{user(0): ""}
			_ = mine.ResourceNames(w.ctx, names)
			return names
		},
		"Licensing": func() any { l, _, _ := mine.Licensing(w.ctx); return l },
		"SetLicensing": func() any {
			return mine.SetLicensing(w.ctx, catalog.Licensing{Mode: catalog.SeatsManual, Take: []catalog.SeatClass{catalog.SeatUser}}, after)
		},
		"AssignSeats": func() any { return mine.AssignSeats(w.ctx, []tenantry.ResourceID{user(0)}, "mine", after) },
		"RevokeSeats": func() any { return mine.RevokeSeats(w.ctx, []tenantry.ResourceID{user(0)}, after) },
		"Seats":       func() any { list, _ := mine.Seats(w.ctx, after.Year(), after.Month(), "", 0); return list },
		"RunProblems": func() any { list, _ := mine.RunProblems(w.ctx, other.run.ID, 0); return list },
		"Run":         func() any { run, _ := mine.Run(w.ctx, other.run.ID); return run },
		"RunsOf": func() any {
			list, _ := mine.RunsOf(w.ctx, catalog.RunFilter{Action: tenantry.Backup}, "", 0)
			return list
		},
		"Runs":       func() any { list, _ := mine.Runs(w.ctx, "", 0); return list },
		"Tasks":      func() any { list, _ := mine.Tasks(w.ctx, other.run.ID, "", 0); return list },
		"Task":       func() any { task, _ := mine.Task(w.ctx, other.running.ID); return task },
		"NextBackup": func() any { at, _ := mine.NextBackup(w.ctx, user(0), tenantry.Mailbox); return at },
		"Hasten":     func() any { return mine.Hasten(w.ctx, user(0), tenantry.Mailbox, now.Add(time.Second)) },
		"FirstProblems": func() any {
			all, _ := mine.FirstProblems(w.ctx, []tenantry.TaskID{other.ended.ID})
			return len(all)
		},
		"Problems":        func() any { list, _ := mine.Problems(w.ctx, other.ended.ID); return list },
		"Snapshots":       func() any { list, _ := mine.Snapshots(w.ctx, user(0), tenantry.Mailbox, 0, 0); return list },
		"NewestSnapshots": func() any { list, _ := mine.NewestSnapshots(w.ctx, "", "", 0); return list },
		"MirrorSnapshots": func() any {
			return mine.MirrorSnapshots(w.ctx, user(0), tenantry.Mailbox, []catalog.SnapshotRow{{Seq: 9, Time: after, Task: "mine"}})
		},
		"AuditTrail": func() any {
			list, _ := mine.AuditTrail(w.ctx, 0, 0)
			return list
		},
		"SetRetention":   func() any { return mine.SetRetention(w.ctx, "p-daily", tenantry.Retention{Last: 3}) },
		"SetHold":        func() any { return mine.SetHold(w.ctx, catalog.Hold{Reason: "case", At: after}) },
		"Holds":          func() any { list, _ := mine.Holds(w.ctx); return list },
		"LiftHold":       func() any { return mine.LiftHold(w.ctx, "") },
		"SeriesStanding": func() any { s, _ := mine.SeriesStanding(w.ctx, user(0), tenantry.Mailbox); return s },
		"Suspend":        func() any { return mine.Suspend(w.ctx, user(0), tenantry.Mailbox, 1, "half of it went", now) },
		"Suspensions":    func() any { list, _ := mine.Suspensions(w.ctx); return list },
		"Acknowledge":    func() any { return mine.Acknowledge(w.ctx, user(0), tenantry.Mailbox) },
		"AdoptResources": func() any {
			n, _ := mine.AdoptResources(w.ctx, []catalog.Resource{{ID: user(0), Kind: tenantry.User, State: tenantry.Gone}}, after)
			return n
		},
		"RaiseAlarm":      func() any { return mine.RaiseAlarm(w.ctx, catalog.AlarmDamage, "u/drive", "mine", now) },
		"ClearAlarm":      func() any { return mine.ClearAlarm(w.ctx, catalog.AlarmKey, "") },
		"Alarms":          func() any { list, _ := mine.Alarms(w.ctx); return list },
		"SetNotices":      func() any { return mine.SetNotices(w.ctx, "", telling, now) },
		"Notices":         func() any { list, _ := mine.Notices(w.ctx); return list },
		"RemoveNotices":   func() any { return mine.RemoveNotices(w.ctx, "p-daily") },
		"ReportNow":       func() any { return mine.ReportNow(w.ctx, "p-daily", after) },
		"Standings":       func() any { list, _ := mine.Standings(w.ctx, "", 0, after); return list },
		"Activity":        func() any { list, _ := mine.Activity(w.ctx, "", now, after); return list },
		"Failures":        func() any { list, _ := mine.Failures(w.ctx, "", now, after); return len(list) },
		"Mails":           func() any { list, _ := mine.Mails(w.ctx, "", 0); return list },
		"PutMail":         func() any { return mine.PutMail(w.ctx, catalog.Mail{Key: "mine", To: "ada@contoso.com"}, now) },
		"RetainSnapshots": func() any { return mine.RetainSnapshots(w.ctx, user(0), tenantry.Mailbox, 9, nil) },
		"CancelRun":       func() any { return mine.CancelRun(w.ctx, other.run.ID, after) },
		"RunFailures": func() any {
			list, _ := mine.RunFailures(w.ctx, other.run.ID, catalog.FailureCursor{}, 0)
			return list
		},
		"RetryRun": func() any { run, _ := mine.RetryRun(w.ctx, other.run.ID, after); return run },
		"Claim": func() any {
			c, _ := mine.Claim(w.ctx, other.waiting.ID, other.waiting.Admission, p)
			return c
		},
		"RaiseEpoch": func() any { epoch, _ := mine.RaiseEpoch(w.ctx, stolen(other.running), 99); return epoch },
		"Progress":   func() any { return mine.Progress(w.ctx, stolen(other.running), tenantry.Counts{Items: 99}) },
		"Settle": func() any {
			return mine.Settle(w.ctx, stolen(other.running), catalog.Settlement{State: catalog.TaskFailed}, after)
		},
		"DeletePolicy": func() any { return mine.DeletePolicy(w.ctx, "p-daily", after) },
	}

	methods := reflect.TypeFor[*catalog.Tenant]()
	for i := range methods.NumMethod() {
		name := methods.Method(i).Name
		call, ok := calls[name]
		if !ok {
			w.t.Errorf("Tenant.%s is not in the test of the tenant scope", name)
			continue
		}
		got := call()
		if names(reflect.ValueOf(got), string(other.id)) {
			w.t.Errorf("Tenant.%s returns a row of another tenant: %+v", name, got)
		}
		if diff := cmp.Diff(before, w.dump(other)); diff != "" {
			w.t.Fatalf("Tenant.%s changes rows of another tenant:\n%s", name, diff)
		}
	}
	for _, foreign := range []string{"Run", "Task", "Claim"} {
		if got := reflect.ValueOf(calls[foreign]()); !got.IsZero() {
			w.t.Errorf("Tenant.%s finds another tenant's: %+v", foreign, got)
		}
	}
	// The other tenant's claim still holds.
	w.ok(other.Settle(w.ctx, other.running, catalog.Settlement{State: catalog.TaskDone}, now))
	epoch, err := other.Claim(w.ctx, other.waiting.ID, other.waiting.Admission, p)
	w.ok(err)
	expect(w, "epoch of the other's series", epoch.Epoch, int64(2))
}

// names reports whether a value shows the ID anywhere outside of an error.
func names(v reflect.Value, id string) bool {
	switch v.Kind() {
	case reflect.String:
		return v.String() == id
	case reflect.Slice:
		for i := range v.Len() {
			if names(v.Index(i), id) {
				return true
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if names(v.Field(i), id) {
				return true
			}
		}
	}
	return false
}
