package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
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
	clientSecret = "bench-client-secret"
	workers      = 4
	patience     = 2 * time.Minute
)

// programsEnv names a folder with built programs to measure instead of those of this tree: two versions can be
// compared in alternation.
const programsEnv = "TENANTRY_BENCH_PROGRAMS"

// build builds the programs under measure and returns their folder.
func build(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv(programsEnv); dir != "" {
		return dir
	}
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir+"/", "../../cmd/...", "./naive")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as `make build` does
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	return dir
}

// process is one running program.
type process struct {
	t    testing.TB
	name string
	addr string
	cmd  *exec.Cmd
	log  *tail
	done chan struct{}
}

// spawn starts a program; what it prints is kept for failures.
func spawn(t testing.TB, name string, env []string, program string, args ...string) *process {
	t.Helper()
	return spawnWith(t, name, nil, env, program, args...)
}

// spawnWith is spawn with something to read.
func spawnWith(t testing.TB, name string, in io.Reader, env []string, program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, log: &tail{}, done: make(chan struct{}), cmd: exec.Command(program, args...)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, p.log, p.log
	// It dies with the benchmark, even if that is killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("log of %s ends:\n%s", name, p.log)
		}
	})
	return p
}

// await waits until a URL of the process answers 200.
func (p *process) await(url string) {
	p.t.Helper()
	eventually(p.t, p.name+" is ready", 50*time.Millisecond, func() bool {
		select {
		case <-p.done:
			p.t.Fatalf("%s ended before it was ready:\n%s", p.name, p.log)
		default:
		}
		answer, err := http.Get(url)
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

// fleetName is the name under which the fleet knows a worker.
func (p *process) fleetName() string {
	return regexp.MustCompile(`worker@[\w.-]+-[0-9a-f]{8}`).FindString(p.log.String())
}

// kill ends the process as a crash would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop ends the process gracefully, and after 30 s in any case.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.kill()
	}
}

// tail keeps the end of what a process prints, and its beginning, where it says who it is.
type tail struct {
	mu         sync.Mutex
	head, text []byte
}

func (b *tail) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.head) < 4<<10 {
		b.head = append(b.head, p...)
	}
	b.text = append(b.text, p...)
	if over := len(b.text) - 8<<10; over > 0 {
		b.text = append(b.text[:0], b.text[over:]...)
	}
	return len(p), nil
}

func (b *tail) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.head) + "\n...\n" + string(b.text)
}

// servers are what a fleet stands on; several fleets use them one after the other.
type servers struct {
	programs string
	postgres *servertest.PostgresServer
}

// fleet is one running fleet, all of its processes, and a user of its API.
type fleet struct {
	t        testing.TB
	programs string
	sim      *simulator
	env      []string
	api      string
	token    string
	catalog  string // DSN
	redis    *servertest.RedisServer
	all      map[string]*process
	workers  []*process
}

// newFleet starts a fleet of one api, one scheduler and four workers beside the given
// simulator, whose limits they read from a file.
func newFleet(t testing.TB, s servers, sim *simulator) *fleet {
	t.Helper()
	return newFleetOf(t, s, sim, workers)
}

// newFleetOf starts a fleet with so many workers, and settings as in the environment.
func newFleetOf(t testing.TB, s servers, sim *simulator, workers int, settings ...string) *fleet {
	t.Helper()
	dir := t.TempDir()
	f := &fleet{
		t: t, programs: s.programs, sim: sim, catalog: s.postgres.Database(t), redis: servertest.StartRedis(t), all: map[string]*process{},
	}
	addr := servertest.Addr(t)
	f.api = "http://" + addr
	f.env = append([]string{
		"TENANTRY_CATALOG=" + f.catalog, "TENANTRY_REDIS=" + f.redis.Addr,
		"TENANTRY_BUCKET=file:" + filepath.Join(dir, "bucket"), "TENANTRY_ESCROW=none", "TENANTRY_KEY_FILE=" + filepath.Join(dir, "keys"),
		"TENANTRY_GRAPH_URL=" + sim.url, "TENANTRY_LOGIN_URL=" + sim.url, "TENANTRY_CLIENT_ID=" + clientID,
		"TENANTRY_PUBLIC_URL=" + f.api, "TENANTRY_LIMITS_FILE=" + sim.limitsFile(dir), "TENANTRY_LOG_LEVEL=warn",
		"TENANTRY_API_RATE=0", // one token asks for all tenants
	}, settings...)
	out := &strings.Builder{}
	cmd := exec.Command(filepath.Join(f.programs, "tenantry"), "init")
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), f.env...), out, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("tenantry init: %v", err)
	}
	f.token = strings.TrimSpace(out.String())
	f.start("api", addr)
	f.start("scheduler", servertest.Addr(t))
	for range workers {
		f.addWorker()
	}
	return f
}

func (f *fleet) addWorker() *process {
	f.t.Helper()
	w := f.start(fmt.Sprint("worker", len(f.workers)+1), servertest.Addr(f.t), "TENANTRY_CLIENT_SECRET="+clientSecret, "TENANTRY_LOG_LEVEL=info")
	f.workers = append(f.workers, w)
	return w
}

func (f *fleet) start(name, addr string, env ...string) *process {
	f.t.Helper()
	program := filepath.Join(f.programs, strings.TrimRight(name, "0123456789"))
	p := spawn(f.t, name, append(append([]string{}, f.env...), env...), program, "-listen", addr)
	p.addr = addr
	p.await("http://" + addr + "/readyz")
	f.all[name] = p
	return p
}

// stop ends the fleet's processes, so that the next measurement has the machine.
func (f *fleet) stop() {
	var all sync.WaitGroup
	for _, p := range f.all {
		all.Go(p.stop)
	}
	all.Wait()
}

// metric sums a metric over all workers; a name may have labels behind it.
func (f *fleet) metric(name string) (sum float64) {
	f.t.Helper()
	for _, w := range f.workers {
		answer, err := http.Get("http://" + w.addr + "/metrics")
		if err != nil {
			continue // killed by a measurement
		}
		lines := bufio.NewScanner(answer.Body)
		for lines.Scan() {
			line := lines.Text()
			if strings.HasPrefix(line, name+" ") || strings.HasPrefix(line, name+"{") {
				n, _ := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
				sum += n
			}
		}
		_ = answer.Body.Close()
	}
	return sum
}

// cpu is the CPU seconds that each process of the fleet, its servers and its simulator
// have used, by name.
func (f *fleet) cpu(s servers) map[string]float64 {
	used := map[string]float64{
		"graphsim": cpuSeconds(f.sim.proc.cmd.Process.Pid), "redis": f.redis.CPU().Seconds(), "postgres": s.postgres.CPU().Seconds(),
		"bench": cpuSeconds(os.Getpid()),
	}
	for name, p := range f.all {
		used[name] = cpuSeconds(p.cmd.Process.Pid)
	}
	return used
}

// clockTick is what the kernel counts CPU time in on every Linux (USER_HZ).
const clockTick = 0.01

// cpuSeconds is the user and system time of a process and of its children that ended.
func cpuSeconds(pid int) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), ") ") // the name may hold spaces
	fields := strings.Fields(rest)
	var ticks float64
	for i := 11; i <= 14 && i < len(fields); i++ {
		n, _ := strconv.ParseFloat(fields[i], 64)
		ticks += n
	}
	return ticks * clockTick
}

// eventually polls what other processes do, which only their interface shows.
func eventually(t testing.TB, what string, every time.Duration, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(every); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for this: %s", patience, what)
		}
	}
}
