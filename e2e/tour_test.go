package e2e

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTour walks the README's tour by the command line alone, as an operator does: onboard a
// tenant, enable mail and then SharePoint, protect, back up and watch, restore, export, and
// read the mail about it. Only the administrator's browser is not the command line.
func TestTour(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--users", "2", "--mails", "12", "--files-per-user", "4", "--groups", "0", "--sites", "1", "--latency", "20ms")
	box := openBox(t)
	f.env = append(f.env, box.settings()...)
	f.scheduler("scheduler")
	f.worker("worker")
	sim := f.simTenants()[0]

	added := f.cli("tenants", "add", "Contoso", sim.Domain)
	tn := tenant{ID: added["id"].(string), Name: "Contoso", sim: sim}
	f.cli("workloads", "enable", "Contoso", "mailbox", "--address", "ada@contoso.com", "--report", "daily", "--problems")
	consent := f.cli("tenants", "consent", "Contoso")
	says(t, "the administrator's page", f.browse(fmt.Sprintf("%s&auto=accept&as=%s", consent["url"], sim.ID)), "Consent received", "Contoso")
	f.awaitReady("mailbox")
	f.cli("workloads", "enable", "Contoso", "drive", "site") // SharePoint, by the same consent
	f.awaitReady("drive", "site")

	f.cli("notices", "set", "Contoso", "--address", "ada@contoso.com", "--report", "daily")
	policy := f.cli("policies", "add", "Contoso", "daily", "--at", time.Now().UTC().Add(12*time.Hour).Format("15:04"), "--activate")["id"].(string)
	run, said := f.watched("runs", "start", "Contoso", "--policy", policy)
	// Two users have a mailbox and a drive each.
	if run["state"] != "done" || run["tasks_done"] != 4.0 || !strings.Contains(said, "backup done: 4/4 tasks") || !strings.Contains(said, "backup running") {
		t.Fatalf("the backup: %v\n%s", run, said)
	}
	if found := f.cli("runs", "find", run["reference"].(string)); field(found, "items", 0, "id") != run["id"] {
		t.Errorf("%v finds %v", run["reference"], found)
	}

	user := f.simUsers(tn)[0]
	resource := "u-" + user.ID
	seq := fmt.Sprint(field(f.cli("snapshots", "Contoso", resource, "mailbox"), "items", 0, "seq"))
	before := f.truths(tn, user.ID, "mail")
	restored, said := f.watched("restore", "Contoso", resource, "mailbox", seq, "--folder", "Restored")
	if restored["state"] != "done" || !strings.Contains(said, "restore done: 1/1 tasks") {
		t.Fatalf("the restore: %v\n%s", restored, said)
	}
	same(t, "restored mail", writable(relative(before)), under(f.truths(tn, user.ID, "mail"), "Restored"))

	to := filepath.Join(t.TempDir(), "mail.zip")
	f.cli("export", "Contoso", resource, "mailbox", seq, "--to", to)
	archive, err := zip.OpenReader(to)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	mails := 0
	for _, entry := range archive.File {
		if strings.HasSuffix(entry.Name, ".eml") {
			mails++
		}
	}
	if mails != len(before) {
		t.Errorf("the export has %d mails of %d", mails, len(before))
	}
	f.run("tenantry", "notices", "report", "Contoso")
	box.await("ada@contoso.com", "Contoso: backup report, all is well")
	box.await("ada@contoso.com", `Contoso: first backup "daily" is complete`)
	if top := f.cli("top", "--once"); field(top, "items", 0) != nil {
		t.Errorf("the fleet has nothing to do, and top shows %v", top)
	}
}

// cli runs a command of the command line and returns what it shows as JSON.
func (f *fleet) cli(args ...string) map[string]any {
	f.t.Helper()
	var found map[string]any
	out := f.run("tenantry", append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		f.t.Fatalf("tenantry %s: %v in %s", strings.Join(args, " "), err, out)
	}
	return found
}

// watched is cli with --watch, and what it said meanwhile.
func (f *fleet) watched(args ...string) (found map[string]any, said string) {
	f.t.Helper()
	var progress strings.Builder
	cmd := exec.Command(filepath.Join(programs, "tenantry"), append(args, "--watch", "-o", "json")...)
	cmd.Env = append(cmd.Environ(), "TENANTRY_URL="+f.api, "TENANTRY_TOKEN="+f.token)
	cmd.Stderr = &progress
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if err != nil {
		f.t.Fatalf("tenantry %s: %v\n%s%s", strings.Join(args, " "), err, out, progress.String())
	}
	return found, progress.String()
}

// field walks down what JSON shows, nil where there is nothing.
func field(found any, path ...any) any {
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, _ := found.(map[string]any)
			found = m[s]
		case int:
			list, _ := found.([]any)
			if s >= len(list) {
				return nil
			}
			found = list[s]
		}
	}
	return found
}

// awaitReady waits until workloads of Contoso are ready.
func (f *fleet) awaitReady(names ...string) {
	f.t.Helper()
	eventually(f.t, strings.Join(names, ", ")+" are ready", func() (bool, string) {
		ready := 0
		all, _ := f.cli("workloads", "list", "Contoso")["items"].([]any)
		for _, w := range all {
			for _, name := range names {
				if field(w, "workload") == name && field(w, "state") == "ready" {
					ready++
				}
			}
		}
		return ready == len(names), fmt.Sprint(all)
	})
}
