package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/servertest"
)

// foreign is a simulator that clients reach as Microsoft's own hosts.
type foreign struct {
	t                   *testing.T
	admin, proxy, ca    string
	dir, tenant, person string
	drive               string
}

func newForeign(t *testing.T, args ...string) *foreign {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED because of -short: starts the simulator for a foreign client")
	}
	dir := t.TempDir()
	f := &foreign{t: t, dir: dir, ca: filepath.Join(dir, "ca.pem")}
	admin, proxy := servertest.Addr(t), servertest.Addr(t)
	f.admin, f.proxy = "http://"+admin, "http://"+proxy
	spawn(t, "graphsim", admin, f.admin+"/_sim/stats", nil, "graphsim", append([]string{"--addr", "127.0.0.1:0", "--admin", admin,
		"--connect-proxy", proxy, "--ca-out", f.ca, "--client-id", clientID, "--client-secret", clientSecret, "--corpus", "", "--consent",
		"--users", "3", "--mails", "60", "--files-per-user", "40"}, args...)...)
	var tenants []struct{ ID string }
	f.ask("/tenants", &tenants)
	f.tenant = tenants[0].ID
	users := f.users()
	f.person, f.drive = users[0].ID, users[0].Drive
	return f
}

type foreignUser struct{ ID, Drive string }

func (f *foreign) users() (users []foreignUser) {
	f.t.Helper()
	f.ask("/tenants/"+f.tenant+"/users", &users)
	return users
}

func (f *foreign) ask(path string, out any) {
	f.t.Helper()
	answer, err := http.Get(f.admin + "/_sim" + path)
	if err != nil {
		f.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		f.t.Fatalf("simulator: %s: %s", path, answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(out); err != nil {
		f.t.Fatal(err)
	}
}

// files is the truth of the person's drive: path to SHA-256 or "folder".
func (f *foreign) files() map[string]truth {
	f.t.Helper()
	sim := &fleet{t: f.t, simAdmin: f.admin}
	all := map[string]truth{}
	for _, x := range sim.truths(tenant{sim: simTenant{ID: f.tenant}}, f.person, "drive") {
		if !x.Folder {
			all[x.Path] = x
		}
	}
	return all
}

// program finds a foreign client. A machine that cannot have it is told so; CI has it.
func (f *foreign) program(name string) string {
	f.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		f.absent(name, err)
	}
	return path
}

func (f *foreign) absent(what string, err error) {
	f.t.Helper()
	if os.Getenv("CI") == "true" {
		f.t.Fatalf("%s is not here, and `make deps` should have installed it: %v", what, err)
	}
	f.t.Skipf("SKIPPED: %s is not here (`make deps` installs it): %v", what, err)
}

func fileSHA256(t *testing.T, path string) string {
	t.Helper()
	_, sum, err := digestOf(path)
	if err != nil {
		t.Error(err)
	}
	return sum
}

// run runs a client to its end and returns what it printed. It knows the proxy and the
// authority, and no address of the simulator.
func (f *foreign) run(env []string, program string, args ...string) string {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(append(os.Environ(), "HTTPS_PROXY="+f.proxy, "https_proxy="+f.proxy, "NO_PROXY=", "no_proxy="), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		f.t.Fatalf("%s %s: %v\n%s%s", filepath.Base(program), strings.Join(args, " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String()
}

// client is net/http through the proxy.
func (f *foreign) client() *http.Client {
	f.t.Helper()
	authority, err := os.ReadFile(f.ca)
	if err != nil {
		f.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	proxy, err := url.Parse(f.proxy)
	if err != nil {
		f.t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}}
	f.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// rcloneConfig writes a configuration as `rclone config` leaves it behind after a person
// has signed in; the access token has expired meanwhile.
func (f *foreign) rcloneConfig() string {
	f.t.Helper()
	saved, err := json.Marshal(map[string]string{"access_token": "long ago", "token_type": "Bearer", "refresh_token": f.signIn(),
		"expiry": time.Now().Add(-time.Hour).Format(time.RFC3339)})
	if err != nil {
		f.t.Fatal(err)
	}
	config := filepath.Join(f.dir, "rclone.conf")
	text := fmt.Sprintf("[onedrive]\ntype = onedrive\nclient_id = %s\nclient_secret = %s\ntoken = %s\ndrive_id = %s\ndrive_type = business\n",
		clientID, clientSecret, saved, f.drive)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return config
}

// signIn lets a person sign in by device code and returns the refresh token.
func (f *foreign) signIn() string {
	f.t.Helper()
	client := f.client()
	post := func(path string, form url.Values) (answer struct {
		UserCode     string `json:"user_code"`
		DeviceCode   string `json:"device_code"`
		URI          string `json:"verification_uri"`
		RefreshToken string `json:"refresh_token"`
	}) {
		f.t.Helper()
		form.Set("client_id", clientID)
		resp, err := client.PostForm("https://login.microsoftonline.com/organizations/oauth2/v2.0/"+path, form)
		if err != nil {
			f.t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
			f.t.Fatalf("%s: %s: %v", path, resp.Status, err)
		}
		return answer
	}
	device := post("devicecode", url.Values{"scope": {"Files.ReadWrite.All Sites.ReadWrite.All offline_access"}})
	resp, err := client.Get(device.URI + "?" + url.Values{"code": {device.UserCode}, "auto": {"accept"}, "as": {f.tenant}}.Encode())
	if err != nil {
		f.t.Fatal(err)
	}
	resp.Body.Close()
	return post("token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {device.DeviceCode}}).RefreshToken
}

// Debian's rclone lists, copies down and up, checks hashes, and brings changes, in a
// drive that it believes to be OneDrive for Business.
func TestForeignRclone(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	program, config := f.program("rclone"), f.rcloneConfig()
	rclone := func(args ...string) string {
		t.Helper()
		return f.run(nil, program, append([]string{"--config", config, "--ca-cert", f.ca, "--retries", "1"}, args...)...)
	}
	listed := strings.Split(strings.TrimSpace(rclone("lsf", "-R", "--files-only", "onedrive:")), "\n")
	slices.Sort(listed)
	want := f.files()
	if len(listed) != len(want) || len(want) != 40 {
		t.Fatalf("rclone lists %d files of %d", len(listed), len(want))
	}
	for _, path := range listed {
		if _, ok := want[path]; !ok {
			t.Errorf("rclone lists %q, which is not there", path)
		}
	}
	down := filepath.Join(f.dir, "down")
	rclone("copy", "onedrive:", down)
	rclone("check", "onedrive:", down) // by QuickXorHash
	for path, x := range want {
		if sum := fileSHA256(t, filepath.Join(down, path)); sum != x.SHA256 {
			t.Errorf("%s was not copied down as it is", path)
		}
	}
	f.rcloneUp(rclone)
	if kept, err := os.ReadFile(config); err != nil || bytes.Contains(kept, []byte("long ago")) {
		t.Errorf("rclone did not refresh its token: %v", err)
	}
}

// rcloneUp copies a folder up, changes it, and brings the changes only.
func (f *foreign) rcloneUp(rclone func(...string) string) {
	t := f.t
	t.Helper()
	up := filepath.Join(f.dir, "up")
	put := func(name string, size int) {
		t.Helper()
		path := filepath.Join(up, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Repeat([]byte(name), size/len(name)+1)[:size], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("small.txt", 10)
	put("ä #100% x.txt", 2000)
	put("deep/er/large.bin", 25<<20) // several fragments of an upload session
	rclone("copy", up, "onedrive:Up")
	rclone("check", up, "onedrive:Up")
	put("small.txt", 4000)
	put("deep/new.txt", 500)
	if err := os.Remove(filepath.Join(up, "ä #100% x.txt")); err != nil {
		t.Fatal(err)
	}
	var before, after struct {
		Tenants map[string]struct{ Requests map[string]int }
	}
	f.ask("/stats", &before)
	rclone("sync", up, "onedrive:Up")
	f.ask("/stats", &after)
	rclone("check", up, "onedrive:Up")
	got := f.files()
	for _, name := range []string{"small.txt", "deep/er/large.bin", "deep/new.txt"} {
		if got["Up/"+name].SHA256 != fileSHA256(t, filepath.Join(up, name)) {
			t.Errorf("%s is not in the drive as it is here", name)
		}
	}
	if _, ok := got["Up/ä #100% x.txt"]; ok {
		t.Error("what was deleted here is still in the drive")
	}
	if sent := after.Tenants[f.tenant].Requests["files"] - before.Tenants[f.tenant].Requests["files"]; sent > 2 {
		t.Errorf("two changed files took %d requests with content", sent)
	}
}

// The official JavaScript client reads users and messages by delta, uploads a large file
// and sends a batch.
func TestForeignJavaScript(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	node := f.program("node")
	if _, err := os.Stat("foreign/node_modules"); err != nil {
		f.absent("@microsoft/microsoft-graph-client", err)
	}
	var got struct {
		Users, Messages, Later []string
		Made                   string
		Uploaded               struct {
			ID   string
			Size int64
		}
		Statuses map[string]int
	}
	out := f.run([]string{"NODE_EXTRA_CA_CERTS=" + f.ca, "TENANT=" + f.tenant, "USER=" + f.person, "CLIENT_ID=" + clientID,
		"CLIENT_SECRET=" + clientSecret}, node, "foreign/graph.mjs")
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(got.Users) != len(f.users()) {
		t.Errorf("it found %d users of %d", len(got.Users), len(f.users()))
	}
	sim := &fleet{t: t, simAdmin: f.admin}
	inbox := 0
	for _, x := range sim.truths(tenant{sim: simTenant{ID: f.tenant}}, f.person, "mail") {
		if x.Path == "Inbox" && x.Subject != "from JavaScript" {
			inbox++
			if !slices.Contains(got.Messages, x.ID) {
				t.Errorf("it did not find message %s", x.ID)
			}
		}
	}
	if len(got.Messages) != inbox || len(got.Later) != 1 || got.Later[0] != "from JavaScript" {
		t.Errorf("it found %d messages of %d, and later %v", len(got.Messages), inbox, got.Later)
	}
	if x := f.files()["large.bin"]; x.Size != 5<<20+17 || got.Uploaded.Size != x.Size || x.ID != got.Uploaded.ID {
		t.Errorf("uploaded %+v, in the drive %+v", got.Uploaded, x)
	}
	if got.Statuses["me"] != 200 || got.Statuses["folder"] != 201 || got.Statuses["none"] != 404 {
		t.Errorf("batch: %v", got.Statuses)
	}
}
