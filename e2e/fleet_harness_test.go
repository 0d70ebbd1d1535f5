package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/servertest"
)

const (
	clientID     = "11111111-aaaa-4aaa-8aaa-111111111111"
	clientSecret = "e2e-client-secret"
	patience     = 2 * time.Minute
)

// programs is the folder of the built commands.
var programs string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tenantry-e2e")
	if err != nil {
		panic(err)
	}
	programs = dir
	build := exec.Command("go", "build", "-o", dir+"/", "../cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as `make build` does
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the programs: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// process is one running program of the fleet.
type process struct {
	t    *testing.T
	name string
	addr string
	cmd  *exec.Cmd
	log  *tail
	done chan struct{}
}

// spawn starts a program that listens on addr and waits until url answers 200.
func spawn(t *testing.T, name, addr, url string, env []string, program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, addr: addr, log: &tail{}, done: make(chan struct{})}
	p.cmd = exec.Command(commandOf(programs, program), args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, p.log)
		}
	})
	p.await(url)
	return p
}

func (p *process) await(url string) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		answer, err := http.Get(url)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
			err = errors.New(answer.Status)
		}
		select {
		case <-p.done:
			p.t.Fatalf("%s ended before it was ready:\n%s", p.name, p.log)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s is not ready: %v\n%s", p.name, err, p.log)
		}
	}
}

// fleetName is the name under which the fleet knows a worker: tasks name their process by it.
func (p *process) fleetName() string {
	p.t.Helper()
	name := regexp.MustCompile(`worker@[\w.-]+-[0-9a-f]{8}`).FindString(p.log.String())
	if name == "" {
		p.t.Fatalf("%s does not say who it is:\n%s", p.name, p.log)
	}
	return name
}

// kill ends the process as a crash would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop ends the process gracefully.
func (p *process) stop() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(45 * time.Second):
		p.t.Errorf("%s did not stop within 45 s of SIGTERM", p.name)
		p.kill()
	}
}

// tail keeps the end of what a process prints, or all of it.
type tail struct {
	mu   sync.Mutex
	text []byte
	all  bool
}

// keepAll keeps what is printed from now on, whatever its length.
func (b *tail) keepAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = true
}

func (b *tail) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	if over := len(b.text) - 16<<10; over > 0 && !b.all {
		b.text = append(b.text[:0], b.text[over:]...)
	}
	return len(p), nil
}

func (b *tail) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

// commandOf is a program of a folder, unless its path is given.
func commandOf(folder, program string) string {
	if filepath.IsAbs(program) {
		return program
	}
	return filepath.Join(folder, program)
}

// fleet is a running fleet and a user of its API.
type fleet struct {
	t        *testing.T
	programs string   // folder of the api, schedulers, workers and command line that are started
	env      []string // what every program is told
	sim      string   // URL of the simulated Microsoft 365
	simAdmin string   // URL of its control interface
	api      string
	token    string
	s3       *servertest.S3Server
	redis    *servertest.RedisServer
	catalog  string
	dir      string
	started  map[string]*process

	postgres *servertest.PostgresServer
}

// newFleet starts the servers, the simulator and the api; schedulers and workers are
// added by the test. The simulator gets the given arguments.
func newFleet(t *testing.T, simArgs ...string) *fleet {
	t.Helper()
	return newFleetOf(t, programs, simArgs...)
}

// newFleetOf is newFleet with the programs of another folder; the simulator is always this one.
func newFleetOf(t *testing.T, programs string, simArgs ...string) *fleet {
	t.Helper()
	return newFleetOn(t, programs, servertest.S3, simArgs...)
}

// newFleetOn is newFleetOf with a bucket of the given server.
func newFleetOn(t *testing.T, programs string, bucketOf func(testing.TB) *servertest.S3Server, simArgs ...string) *fleet {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED because of -short: starts a whole fleet")
	}
	f := &fleet{t: t, programs: programs, dir: t.TempDir(), started: map[string]*process{}}
	f.redis = servertest.StartRedis(t)
	f.postgres = servertest.Postgres(t)
	f.catalog = f.postgres.Database(t)
	f.s3 = bucketOf(t)

	simAddr := servertest.Addr(t)
	f.sim = "http://" + simAddr
	adminAddr := servertest.Addr(t)
	f.simAdmin = "http://" + adminAddr
	// Tests that want the corpus name it: the others count what is generated.
	args := append([]string{"--addr", simAddr, "--admin", adminAddr, "--client-id", clientID, "--client-secret", clientSecret, "--corpus", ""}, simArgs...)
	f.started["graphsim"] = spawn(t, "graphsim", simAddr, f.simAdmin+"/_sim/stats", nil, "graphsim", args...)

	apiAddr := servertest.Addr(t)
	f.api = "http://" + apiAddr
	bucket := fmt.Sprintf("s3://%s/e2e?endpoint=%s&region=%s", f.s3.Bucket, url.QueryEscape(f.s3.Endpoint), f.s3.Region)
	f.env = []string{
		"TENANTRY_CATALOG=" + f.catalog, "TENANTRY_REDIS=" + f.redis.Addr, "TENANTRY_BUCKET=" + bucket, "TENANTRY_ESCROW=none",
		"TENANTRY_KEY_FILE=" + filepath.Join(f.dir, "keys"), "TENANTRY_GRAPH_URL=" + f.sim, "TENANTRY_LOGIN_URL=" + f.sim,
		"TENANTRY_CLIENT_ID=" + clientID, "TENANTRY_PUBLIC_URL=" + f.api,
		"AWS_ACCESS_KEY_ID=" + f.s3.AccessKey, "AWS_SECRET_ACCESS_KEY=" + f.s3.SecretKey,
	}
	f.token = f.run("tenantry", "init")
	// The api gets no Graph credential, and limits its callers as it does everywhere.
	f.started["api"] = spawn(t, "api", apiAddr, f.api+"/readyz", f.env, f.program("api"), "-listen", apiAddr)
	return f
}

// program is the path of one of the fleet's programs.
func (f *fleet) program(name string) string { return commandOf(f.programs, name) }

// run runs a program of the fleet to its end and returns what it printed.
func (f *fleet) run(program string, args ...string) string {
	f.t.Helper()
	cmd := exec.Command(f.program(program), args...)
	cmd.Env = append(append(os.Environ(), f.env...), "TENANTRY_URL="+f.api, "TENANTRY_TOKEN="+f.token)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		f.t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// scheduler starts a scheduler: no Graph credential either.
func (f *fleet) scheduler(name string) *process {
	f.t.Helper()
	addr := servertest.Addr(f.t)
	p := spawn(f.t, name, addr, "http://"+addr+"/readyz", f.env, f.program("scheduler"), "-listen", addr)
	f.started[name] = p
	return p
}

// worker starts a worker with the Graph credential and further settings.
func (f *fleet) worker(name string, env ...string) *process {
	f.t.Helper()
	addr := servertest.Addr(f.t)
	all := append(append([]string{}, f.env...), "TENANTRY_CLIENT_SECRET="+clientSecret)
	p := spawn(f.t, name, addr, "http://"+addr+"/readyz", append(all, env...), f.program("worker"), "-listen", addr)
	f.started[name] = p
	return p
}

// leader returns the scheduler that leads, by its own metrics, and the others.
func (f *fleet) leader(schedulers ...*process) (leads *process, others []*process) {
	f.t.Helper()
	eventually(f.t, "a scheduler leads", func() (bool, string) {
		leads, others = nil, nil
		for _, s := range schedulers {
			if strings.Contains("\n"+f.browse("http://"+s.addr+"/metrics"), "\ntenantry_leader 1\n") {
				leads = s
			} else {
				others = append(others, s)
			}
		}
		return leads != nil && len(others) == len(schedulers)-1, ""
	})
	return leads, others
}

// problem is the answer to a request that failed (RFC 9457).
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Kind   string `json:"kind"`

	retryAfter time.Duration
}

// call makes one API request; a nil in sends no body, a nil out reads none.
func (f *fleet) call(method, path string, in, out any) *problem {
	f.t.Helper()
	return f.request(f.api, f.token, method, "/v1"+path, in, out)
}

// must makes an API request that has to succeed.
func (f *fleet) must(method, path string, in, out any) {
	f.t.Helper()
	if p := f.call(method, path, in, out); p != nil {
		f.t.Fatalf("%s %s: %d %s: %s", method, path, p.Status, p.Title, p.Detail)
	}
}

// simulate makes one request to the simulator's own interface.
func (f *fleet) simulate(method, path string, in, out any) {
	f.t.Helper()
	if p := f.request(f.simAdmin, "", method, "/_sim"+path, in, out); p != nil {
		f.t.Fatalf("simulator: %s %s: %d %s", method, path, p.Status, p.Detail)
	}
}

// request makes one HTTP request, again when it is told to slow down, as any client has to.
func (f *fleet) request(base, token, method, path string, in, out any) *problem {
	f.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		p := f.send(base, token, method, path, in, out)
		if p == nil || p.Status != http.StatusTooManyRequests || p.retryAfter == 0 || time.Now().Add(p.retryAfter).After(deadline) {
			return p
		}
		time.Sleep(p.retryAfter)
	}
}

func (f *fleet) send(base, token, method, path string, in, out any) *problem {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			f.t.Fatal(err)
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	if answer.StatusCode >= 400 {
		p := &problem{Status: answer.StatusCode, Title: answer.Status, Detail: string(text)}
		_ = json.Unmarshal(text, p)
		if s, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil {
			p.retryAfter = time.Duration(s) * time.Second
		}
		return p
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			f.t.Fatalf("%s %s answers %s: %v", method, path, text, err)
		}
	}
	return nil
}

// eventually polls until ok says yes or patience ends; what it waits for is an event in
// other processes, which only their interface shows.
func eventually(t *testing.T, what string, ok func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		done, seen := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s; last seen: %s", patience, what, seen)
		}
		<-tick.C
	}
}
