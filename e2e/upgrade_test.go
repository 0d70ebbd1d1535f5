package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRollingUpgrade starts a fleet of the release before (the commit in the file previous), and changes it, while
// backups run, to this one: the schema first, then programs of both run together, then those of the old release are
// told to stop one after the other. No task is lost, none runs twice to completion, and every series gets one snapshot,
// which verifies.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED because of -short: builds the release before, and starts a whole fleet of it")
	}
	old := buildPrevious(t)
	began := time.Now()
	f := newFleetOf(t, old, "--tenants", "2", "--users", "6", "--mails", "80", "--files-per-user", "6", "--latency", "40ms")
	few := []string{"TENANTRY_SLOTS_BACKUP=2", "TENANTRY_SLOTS_INTERACTIVE=3"} // work is left for both releases
	oldScheduler := f.scheduler("old scheduler")
	oldWorkers := []*process{f.worker("old worker 1", few...), f.worker("old worker 2", few...)}
	var tenants []tenant
	var runs []run
	var policies []string
	for _, sim := range f.simTenants() {
		tn := f.add(sim)
		f.consentAs(tn, sim.ID, "accept")
		f.awaitState(&tn, "connected")
		f.awaitSyncs(tn, 1)
		tenants = append(tenants, tn)
		policies = append(policies, f.policyOfBefore(tn))
		runs = append(runs, f.backup(tn, policies[len(policies)-1]))
	}
	f.underWay(tenants[0], runs[0], func(x task) bool { return x.Process != "" })

	f.programs = programs
	f.run("tenantry", "migrate")
	ended := f.ended(tenants, runs)
	f.awaitEnded(tenants, runs, ended+1) // the old release goes on under the new schema

	// Both together: the new ones join, and the old ones leave one after the other.
	newWorkers := []*process{f.worker("new worker 1", few...), f.worker("new worker 2", few...)}
	newScheduler := f.scheduler("new scheduler")
	f.underWay(tenants[1], runs[1], func(x task) bool { return isOf(newWorkers, x.Process) })
	for _, leaves := range append(oldWorkers, oldScheduler) {
		leaves.stop()
		if code := leaves.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s ended with exit code %d:\n%s", leaves.name, code, leaves.log)
		}
	}
	f.leader(newScheduler)
	f.changeAPI()

	by := map[string]int{}
	for i, tn := range tenants {
		r := f.awaitDone(tn, runs[i])
		list := f.tasks(tn, runs[i])
		if r.Tasks != 12 || r.Done != r.Tasks || int64(len(list)) != r.Tasks {
			t.Errorf("%s: %d of %d tasks are done, %d are known", tn.Name, r.Done, r.Tasks, len(list))
		}
		for _, x := range list {
			switch {
			case isOf(oldWorkers, x.Process):
				by["old"]++
			case isOf(newWorkers, x.Process):
				by["new"]++
			default:
				t.Errorf("task %s was done by %q", x.ID, x.Process)
			}
			if x.Attempt != 0 {
				t.Errorf("task %s counts %d failures: an upgrade is none", x.ID, x.Attempt)
			}
		}
	}
	if by["old"] == 0 || by["new"] == 0 {
		t.Errorf("tasks were done by %v: both releases have to", by)
	}
	f.verifyAll(tenants)

	// The new release does what the old one knew nothing of, on what it left.
	for i, tn := range tenants {
		f.awaitDone(tn, f.backup(tn, policies[i]))
	}
	t.Logf("tasks were done by %v; the fleet took %v", by, time.Since(began).Round(time.Millisecond))
}

// isOf reports whether a name is that of one of the processes.
func isOf(list []*process, name string) bool {
	for _, p := range list {
		if name != "" && p.fleetName() == name {
			return true
		}
	}
	return false
}

// changeAPI stops the api and starts that of the folder programs in its place.
func (f *fleet) changeAPI() {
	f.t.Helper()
	old := f.started["api"]
	old.stop()
	f.started["api"] = spawn(f.t, "api", old.addr, f.api+"/readyz", f.env, f.program("api"), "-listen", old.addr)
}

// policyOfBefore adds a policy as the release before knew it: active at once, in a window.
func (f *fleet) policyOfBefore(t tenant) string {
	f.t.Helper()
	var p struct {
		ID string `json:"id"`
	}
	f.must("POST", "/tenants/"+t.ID+"/policies", map[string]any{
		"name": "all users", "at": time.Now().UTC().Add(12 * time.Hour).Format("15:04"), "time_zone": "UTC",
	}, &p)
	return p.ID
}

// buildPrevious builds the programs of the commit that the file previous names, from this repository's history, and
// returns their folder. It stays for the next time, beside what other commits left.
func buildPrevious(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("previous")
	if err != nil {
		t.Fatal(err)
	}
	commit := strings.TrimSpace(string(text))
	if out, err := exec.Command("git", "cat-file", "-e", commit+"^{commit}").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: the commit of the release before, %s, is not in this clone (a shallow one? git fetch --unshallow): %v %s", commit, err, out)
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("tenantry-previous-%s-%d", commit[:12], os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil { // another run of the tests may build it, too
		t.Fatal(err)
	}
	source, out := filepath.Join(dir, "source"), filepath.Join(dir, "bin")
	began := time.Now()
	if err := os.MkdirAll(source, 0o700); err != nil {
		t.Fatal(err)
	}
	var archive, failed bytes.Buffer
	pack := exec.Command("git", "archive", commit, "go.mod", "go.sum", "cmd", "internal", "proto")
	pack.Dir, pack.Stdout, pack.Stderr = "..", &archive, &failed
	if err := pack.Run(); err != nil {
		t.Fatalf("git archive: %v\n%s", err, &failed)
	}
	unpack := exec.Command("tar", "-x", "-C", source)
	unpack.Stdin = &archive
	if text, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, text)
	}
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", out+"/", "./cmd/api", "./cmd/scheduler", "./cmd/worker", "./cmd/tenantry")
	build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the release before: %v\n%s", err, text)
	}
	t.Logf("the release before, %s, was built in %v", commit[:12], time.Since(began).Round(time.Millisecond))
	return out
}
