package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/app"
	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/queue"
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

const (
	demoClientID = "de300000-0000-4000-8000-000000000001"
	startLimit   = 30 * time.Second
	// demoClock is how many times as fast as ours the simulator's clock runs, so that the
	// windows of its limits pass during a demo. The fleet keeps the limits of that clock.
	demoClock = 20
)

// world is everything a demo runs on: a simulated Microsoft 365, embedded Redis,
// SQLite, a folder as bucket, api and scheduler in this process, and a worker in a
// process of its own, so that it can be killed.
type world struct {
	dir   string
	cfg   app.Config
	sim   *graphsim.Server
	api   *apiclient.ClientWithResponses
	url   string
	token tenantry.Secret

	log     *zap.Logger
	logFile *os.File
	secret  string
	worker  *child
	stops   []func()
}

// startWorld starts everything but the worker.
func startWorld(ctx context.Context, dir string) (_ *world, err error) {
	w := &world{dir: dir, secret: string(tenantry.NewTaskID(time.Now()))}
	defer func() {
		if err != nil {
			w.stop()
		}
	}()
	if w.logFile, err = os.Create(filepath.Join(dir, "demo.log")); err != nil {
		return nil, err
	}
	w.log = zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.Lock(w.logFile), zapcore.InfoLevel))

	w.sim, err = graphsim.Start(graphsim.Options{ClientID: demoClientID, Secret: w.secret, Clock: demoClock})
	if err != nil {
		return nil, fmt.Errorf("start the simulated Microsoft 365: %w", err)
	}
	w.stops = append(w.stops, func() { _ = w.sim.Close() })

	redis, stopRedis, err := queue.StartEmbedded(ctx)
	if err != nil {
		return nil, fmt.Errorf("start the embedded Redis: %w", err)
	}
	w.stops = append(w.stops, stopRedis)
	if err := w.configure(redis); err != nil {
		return nil, err
	}
	if w.token, err = app.Init(ctx, w.cfg, "demo"); err != nil {
		return nil, err
	}
	for _, role := range []app.Role{app.RoleAPI, app.RoleScheduler} {
		if err := w.start(ctx, role); err != nil {
			return nil, fmt.Errorf("start the %s: %w", role, err)
		}
	}
	w.api, err = apiclient.New(w.url, w.token)
	return w, err
}

func (w *world) configure(redis string) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	w.url = "http://" + addr
	w.cfg = app.Defaults()
	w.cfg.Listen = addr
	w.cfg.Catalog = "sqlite:" + filepath.Join(w.dir, "tenantry.db")
	w.cfg.Redis = redis
	w.cfg.Bucket = "file:" + filepath.Join(w.dir, "bucket")
	w.cfg.KeyFile = filepath.Join(w.dir, "tenantry.keys")
	w.cfg.CacheDir = filepath.Join(w.dir, "cache")
	w.cfg.GraphURL, w.cfg.LoginURL = w.sim.URL(), w.sim.URL()
	w.cfg.ClientID = demoClientID
	w.cfg.PublicURL = w.url
	w.cfg.LimitsFile = filepath.Join(w.dir, "limits.json")
	limits, err := json.MarshalIndent(throttle.Documented().Faster(demoClock), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(w.cfg.LimitsFile, limits, 0o600)
}

func (w *world) start(ctx context.Context, role app.Role) error {
	cfg := w.cfg
	if role != app.RoleAPI {
		cfg.Listen = "127.0.0.1:0"
	}
	p, err := app.Start(ctx, role, cfg, w.log.Named(string(role)))
	if err != nil {
		return err
	}
	w.stops = append(w.stops, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = p.Stop(ctx)
	})
	return nil
}

// stop ends everything, what was started last first.
func (w *world) stop() {
	if w.worker != nil {
		w.worker.stop()
	}
	for i := len(w.stops) - 1; i >= 0; i-- {
		w.stops[i]()
	}
	if w.logFile != nil {
		_ = w.logFile.Close()
	}
}

// loseFleet ends every program of the fleet, and Redis, and deletes SQL: what is left is
// the bucket, the key file, and the simulated Microsoft 365 to compare with.
func (w *world) loseFleet() error {
	if w.worker != nil {
		w.worker.stop()
		w.worker = nil
	}
	for i := len(w.stops) - 1; i > 0; i-- { // the first is the simulator's
		w.stops[i]()
	}
	w.stops = w.stops[:1]
	files, err := filepath.Glob(filepath.Join(w.dir, "tenantry.db*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	return nil
}

// child is a worker in a process of its own.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// startWorker starts a worker process and waits until it is ready.
func (w *world) startWorker(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "demo-worker", "-listen", addr)
	cmd.Env = append(os.Environ(),
		"TENANTRY_CATALOG="+w.cfg.Catalog, "TENANTRY_REDIS="+w.cfg.Redis, "TENANTRY_BUCKET="+w.cfg.Bucket,
		"TENANTRY_KEY_FILE="+w.cfg.KeyFile, "TENANTRY_GRAPH_URL="+w.cfg.GraphURL, "TENANTRY_LOGIN_URL="+w.cfg.LoginURL,
		"TENANTRY_CLIENT_ID="+w.cfg.ClientID, "TENANTRY_CLIENT_SECRET="+w.secret,
		"TENANTRY_LIMITS_FILE="+w.cfg.LimitsFile, "TENANTRY_CACHE_DIR="+w.cfg.CacheDir,
		// Small steps, so that a killed worker shows that the next one goes on from a checkpoint.
		"TENANTRY_CHECKPOINT_TIME=2s", "TENANTRY_CHECKPOINT_BYTES=1048576", "TENANTRY_SLICE_TIME=20s")
	cmd.Stdout, cmd.Stderr = w.logFile, w.logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches us; we stop it in order
	if err := cmd.Start(); err != nil {
		return err
	}
	w.worker = &child{cmd: cmd, done: make(chan struct{})}
	go func(c *child) { _ = c.cmd.Wait(); close(c.done) }(w.worker)
	return w.worker.ready(ctx, "http://"+addr+"/readyz")
}

func (c *child) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		answer, err := http.Get(url)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-c.done:
			return errors.New("the worker ended before it was ready: see demo.log")
		case <-ctx.Done():
			return fmt.Errorf("the worker is not ready: %w", errors.Join(ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// kill ends the worker as a crash would.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
}

func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(40 * time.Second):
		c.kill()
	}
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// command is how a person repeats a step: the client finds the fleet by its environment.
func command(args ...string) string {
	for i, a := range args {
		if strings.ContainsAny(a, " ()\"'&?=") {
			args[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return "bin/tenantry " + strings.Join(args, " ")
}
