package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/servertest"
)

// installed unpacks the worker's package and installs it below a folder, as its install script does.
func (f *fleet) installed() (root string) {
	f.t.Helper()
	dir := f.t.TempDir()
	root = filepath.Join(dir, "root")
	archive := filepath.Join(dir, "worker.tar.gz")
	pack := exec.Command("go", "run", "./package", "-program", f.program("worker"), "-out", archive)
	pack.Dir = "../deployments"
	f.execute(pack)
	f.execute(exec.Command("tar", "-xzf", archive, "-C", dir))
	scripts, err := filepath.Glob(filepath.Join(dir, "*", "install.sh"))
	if err != nil || len(scripts) != 1 {
		f.t.Fatalf("the package has the scripts %v, %v", scripts, err)
	}
	install := exec.Command("sh", scripts[0])
	install.Env = append(os.Environ(), "ROOT="+root)
	f.execute(install)
	return root
}

func (f *fleet) execute(cmd *exec.Cmd) string {
	f.t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// A worker on a customer's premises: unpacked from the package, enrolled by a one-time token, it does the work of its pool's
// tenant, which goes by the provider's application, with nothing but the address of the API, and sees no other tenant. Revoked, it does nothing more.
func TestWorkerOnPremises(t *testing.T) {
	f := newFleet(t, "--tenants", "2", "--users", "2", "--mails", "3", "--files-per-user", "1", "--groups", "0", "--sites", "1")
	f.scheduler("scheduler")
	f.worker("worker")
	sims := f.simTenants()
	f.must("POST", "/pools", map[string]any{"name": "munich"}, nil)
	here, elsewhere := f.add(sims[0]), f.connect(sims[1])
	f.must("PUT", "/tenants/"+here.ID+"/pool", map[string]any{"pool": "munich"}, nil)

	root := f.installed()
	identity, program := filepath.Join(root, "var/lib/tenantry/identity.json"), filepath.Join(root, "usr/bin/tenantry-worker")
	token := f.run("tenantry", "pools", "enrol", "munich")
	enrol := func() *exec.Cmd {
		cmd := exec.Command(program, "enrol", "-url", f.api, "-token-file", "-", "-identity", identity, "-name", "premises")
		cmd.Stdin = strings.NewReader(token + "\n")
		return cmd
	}
	says(t, "enrol", f.execute(enrol()), "of the pool munich")
	if info, err := os.Stat(identity); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the identity: %v, %v", info, err)
	}
	again := enrol()
	again.Args[7] = filepath.Join(root, "another.json")
	if out, err := again.CombinedOutput(); err == nil || !strings.Contains(string(out), "used already") {
		t.Errorf("a token used twice: %v\n%s", err, out)
	}

	addr := servertest.Addr(t)
	premises := spawn(t, "premises", addr, "http://"+addr+"/readyz", nil, program,
		"-config", filepath.Join(root, "etc/tenantry/worker.yaml"), "-identity", identity, "-listen", addr)
	f.started["premises"] = premises
	premises.log.keepAll()
	f.handsTokens(here)
	f.enable(here)
	f.consentAs(here, sims[0].ID, "accept")
	f.awaitState(&here, "connected")
	f.awaitSyncs(here, 1)

	done := f.awaitDone(here, f.backup(here, f.policy(here)))
	other := f.awaitDone(elsewhere, f.backup(elsewhere, f.policy(elsewhere)))
	for _, x := range f.tasks(here, done) {
		if x.Process != premises.fleetName() {
			t.Errorf("%s of the premises' tenant ran on %s", x.Workload, x.Process)
		}
	}
	for _, x := range f.tasks(elsewhere, other) {
		if x.Process == premises.fleetName() {
			t.Errorf("%s of another tenant ran on the premises", x.Workload)
		}
	}
	user := f.resources(here, "kind=user&limit=100")[0]
	f.complete(here, user, "mailbox", f.latest(here, user, "mailbox").Seq)
	f.behindTheDoor(identity, here, elsewhere)
	f.goesByTokens(premises, root, here)
	f.revoked(premises, program, identity, here)
	nothingSecret(t, "the log", premises.log.String())
}

// handsTokens gives the API the provider's credential: from then on workers outside need no application of their tenants' own.
func (f *fleet) handsTokens(here tenant) {
	f.t.Helper()
	var shown struct {
		Needs []struct{ Code string }
	}
	f.must("GET", "/tenants/"+here.ID, nil, &shown)
	if len(shown.Needs) != 1 || shown.Needs[0].Code != "needs_own_application" {
		f.t.Errorf("before the API has a credential the tenant needs %v", shown.Needs)
	}
	f.must("POST", "/credentials", map[string]any{"kind": "secret", "client_id": clientID, "secret": clientSecret, "purpose": "backup"}, nil)
	eventually(f.t, "the API hands out tokens", func() (bool, string) {
		shown.Needs = nil
		f.must("GET", "/tenants/"+here.ID, nil, &shown)
		return len(shown.Needs) == 0, ""
	})
}

// goesByTokens shows that the worker had tokens, which the audit log tells, and nothing that opens more than they do.
func (f *fleet) goesByTokens(premises *process, root string, here tenant) {
	f.t.Helper()
	says(f.t, "audit", f.run("tenantry", "tenants", "audit", here.ID), "hand-token")
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", premises.cmd.Process.Pid))
	if err != nil {
		f.t.Fatal(err)
	}
	nothingSecret(f.t, "the environment", string(environ))
	files := 0
	err = filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if !strings.HasPrefix(path, filepath.Join(root, "usr/bin")) {
			nothingSecret(f.t, path, string(text))
		}
		return nil
	})
	if err != nil || files < 3 {
		f.t.Errorf("looked at %d files below %s: %v", files, root, err)
	}
}

// jwt is what an access token looks like: a random key, which may hold its beginning, has no dot.
var jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.eyJ`)

// nothingSecret looks for the provider's credential, and for tokens.
func nothingSecret(t *testing.T, where, text string) {
	t.Helper()
	if strings.Contains(text, clientSecret) || jwt.MatchString(text) {
		t.Errorf("%s of the worker shows the provider's secret, or a token", where)
	}
}

// behindTheDoor asks for what is of both tenants with the worker's own credential.
func (f *fleet) behindTheDoor(identity string, here, elsewhere tenant) {
	f.t.Helper()
	text, err := os.ReadFile(identity)
	if err != nil {
		f.t.Fatal(err)
	}
	var id struct{ Worker, Secret string }
	if err := json.Unmarshal(text, &id); err != nil {
		f.t.Fatal(err)
	}
	ask := func(credential, path string) int {
		f.t.Helper()
		r, err := http.NewRequest(http.MethodGet, f.api+path, nil)
		if err != nil {
			f.t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+credential)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			f.t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode
	}
	own := id.Worker + "." + id.Secret
	for what, c := range map[string]struct {
		credential, path string
		want             int
	}{
		"its tenant's objects":    {own, "/gateway/v1/list?prefix=" + url.QueryEscape(here.ID+"/"), http.StatusOK},
		"another's objects":       {own, "/gateway/v1/list?prefix=" + url.QueryEscape(elsewhere.ID+"/"), http.StatusForbidden},
		"everybody's objects":     {own, "/gateway/v1/list?prefix=", http.StatusForbidden},
		"a token by GET":          {own, "/gateway/v1/token?tenant=" + here.ID, http.StatusNotFound},
		"the API":                 {own, "/v1/tenants", http.StatusUnauthorized},
		"the door with a token":   {f.token, "/gateway/v1/folders", http.StatusUnauthorized},
		"the door with a guess":   {id.Worker + ".guess", "/gateway/v1/folders", http.StatusUnauthorized},
		"the folders that it has": {own, "/gateway/v1/folders", http.StatusOK},
	} {
		if got := ask(c.credential, c.path); got != c.want {
			f.t.Errorf("%s: %d, want %d", what, got, c.want)
		}
	}
}

// revoked takes the worker's rights away: it loses its lease, gets nothing more, and cannot come back.
func (f *fleet) revoked(premises *process, program, identity string, here tenant) {
	f.t.Helper()
	workers := f.run("tenantry", "workers", "list")
	says(f.t, "workers", workers, "premises", "working")
	id := strings.Fields(strings.Split(workers, "\n")[1])[0]
	f.run("tenantry", "workers", "revoke", id)
	eventually(f.t, "the revoked worker is not ready", func() (bool, string) {
		answer, err := http.Get("http://" + premises.addr + "/readyz")
		if err != nil {
			return true, ""
		}
		defer answer.Body.Close()
		return answer.StatusCode != http.StatusOK, answer.Status
	})
	var waiting run
	f.must("POST", "/tenants/"+here.ID+"/refresh", nil, &waiting)
	says(f.t, "workers", f.run("tenantry", "workers", "list"), "revoked")
	premises.kill()
	f.must("GET", "/tenants/"+here.ID+"/runs/"+waiting.ID, nil, &waiting)
	if waiting.State != "running" {
		f.t.Errorf("a sync of the tenant is %s, though its pool has no worker", waiting.State)
	}
	eventually(f.t, "a revoked worker is told so", func() (bool, string) { // or first to slow down: its process asked often
		out, err := exec.Command(program, "-identity", identity, "-listen", servertest.Addr(f.t)).CombinedOutput()
		if err == nil {
			f.t.Fatalf("a revoked worker starts:\n%s", out)
		}
		return strings.Contains(string(out), "revoked"), string(out)
	})
	f.must("PUT", "/tenants/"+here.ID+"/pool", map[string]any{"pool": "main"}, nil)
	f.awaitDone(here, waiting) // others take over
}
