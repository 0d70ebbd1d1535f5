// Package servertest starts the real servers that tests run against: redis-server,
// Postgres and an S3 server (versitygw), each on a free loopback port with its own
// data directory, stopped at the end of the test. It touches nothing global.
//
// It is used by tests only and imports nothing of ours.
package servertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A slow machine that is busy with other packages takes its time to start a server.
const startTimeout = 2 * time.Minute

// Redis starts a redis-server and returns its address, "127.0.0.1:port".
func Redis(t testing.TB) string {
	t.Helper()
	return StartRedis(t).Addr
}

// RedisServer is a running redis-server that a test can kill and start again, empty.
type RedisServer struct {
	Addr string
	t    testing.TB
	cmd  *exec.Cmd
}

// StartRedis starts a redis-server that keeps nothing on disk.
func StartRedis(t testing.TB) *RedisServer {
	t.Helper()
	skipShort(t, "redis-server")
	s := &RedisServer{Addr: Addr(t), t: t}
	s.Start()
	t.Cleanup(func() { stop(s.cmd) })
	return s
}

// Start starts the server again after Kill, without any data.
func (s *RedisServer) Start() {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	s.cmd = start(s.t, nil, nil, lookPath(s.t, "redis-server"),
		"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--maxmemory-policy", "noeviction", "--dir", s.t.TempDir())
	waitFor(s.t, "redis-server", s.cmd, func() error {
		conn, err := net.Dial("tcp", s.Addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("PING\r\n")); err != nil {
			return err
		}
		answer := make([]byte, 5)
		if _, err := conn.Read(answer); err != nil || string(answer) != "+PONG" {
			return fmt.Errorf("answer %q: %w", answer, err)
		}
		return nil
	})
}

// Kill ends the server at once: its data is lost.
func (s *RedisServer) Kill() {
	_ = s.cmd.Process.Kill()
	_, _ = s.cmd.Process.Wait()
}

// PostgresServer is a running Postgres.
type PostgresServer struct {
	port, bin, data string
	as              *syscall.Credential
	t               testing.TB
	cmd             *exec.Cmd
	databases       atomic.Int64 // made so far
}

// Postgres starts a Postgres of its own.
func Postgres(t testing.TB) *PostgresServer {
	t.Helper()
	skipShort(t, "Postgres")
	s := &PostgresServer{bin: postgresBin(t), as: unprivileged(t), t: t}
	// t.TempDir is private to root when root runs the tests; Postgres refuses to be root.
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if s.as != nil {
		if err := os.Chown(dir, int(s.as.Uid), int(s.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	_, s.port, _ = net.SplitHostPort(Addr(t))
	s.data = filepath.Join(dir, "data")
	s.run(t, dir, "initdb", "-D", s.data, "-U", "tenantry", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start starts the server again after Stop, with the data it had.
func (s *PostgresServer) Start() {
	s.t.Helper()
	s.cmd = start(s.t, s.as, nil, filepath.Join(s.bin, "postgres"), "-D", s.data, "-p", s.port,
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off",
		"-c", "max_connections=200", "-c", "shared_buffers=64MB")
	waitFor(s.t, "postgres", s.cmd, func() error {
		return s.command(filepath.Dir(s.data), "pg_isready", "-h", "127.0.0.1", "-p", s.port).Run()
	})
}

// Stop cuts all connections and ends the server at once; what was committed stays.
func (s *PostgresServer) Stop() {
	_ = s.cmd.Process.Signal(syscall.SIGQUIT)
	stop(s.cmd)
}

// Database creates a fresh database and returns its DSN, "postgres://...".
func (s *PostgresServer) Database(t testing.TB) string {
	t.Helper()
	return s.create(t)
}

// Copy creates a database that holds what another one of this server does, and returns its DSN. Nobody may be
// connected to the other one; it can be copied several times at once.
func (s *PostgresServer) Copy(t testing.TB, dsn string) string {
	t.Helper()
	of, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return s.create(t, "--template", strings.TrimPrefix(of.Path, "/"))
}

func (s *PostgresServer) create(t testing.TB, options ...string) string {
	t.Helper()
	name := fmt.Sprint("t", s.databases.Add(1))
	s.run(t, "/", "createdb", append(options, "-h", "127.0.0.1", "-p", s.port, "-U", "tenantry", name)...)
	return fmt.Sprintf("postgres://tenantry@127.0.0.1:%s/%s?sslmode=disable", s.port, name)
}

func (s *PostgresServer) command(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return cmd
}

func (s *PostgresServer) run(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	if out, err := s.command(dir, name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// S3Server is a running S3 server with one bucket.
type S3Server struct {
	Endpoint  string // "http://127.0.0.1:port"
	Bucket    string
	AccessKey string
	SecretKey string
	Region    string
	Dir       string // the folder that is the bucket: an object is the file of its key

	t    testing.TB
	args []string
	cmd  *exec.Cmd
}

// S3 starts versitygw over a temporary folder with one empty bucket.
func S3(t testing.TB) *S3Server {
	t.Helper()
	s, data, side := newS3(t)
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.args = append(s.args, "posix", "--sidecar", side, data)
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// S3Locks is S3 with a bucket that keeps versions and can lock objects. The server keeps its
// metadata in extended attributes, which the temporary folder must have: with a sidecar
// folder the pinned versitygw answers 412 for ever to a conditional write of a key that was deleted.
func S3Locks(t testing.TB) *S3Server {
	t.Helper()
	s, data, _ := newS3(t)
	versions := filepath.Join(filepath.Dir(data), "versions")
	if err := os.MkdirAll(versions, 0o755); err != nil {
		t.Fatal(err)
	}
	s.args = append(s.args, "posix", "--versioning-dir", versions, data)
	s.Start()
	t.Cleanup(s.Stop)
	s.makeBucket()
	return s
}

// newS3 prepares a server's folders.
func newS3(t testing.TB) (s *S3Server, data, side string) {
	t.Helper()
	skipShort(t, "versitygw")
	addr, dir := Addr(t), t.TempDir()
	s = &S3Server{
		Endpoint: "http://" + addr, Bucket: "tenantry",
		AccessKey: "test-access", SecretKey: "test-secret-key", Region: "us-east-1", t: t,
	}
	data, side = filepath.Join(dir, "data"), filepath.Join(dir, "meta")
	s.Dir = filepath.Join(data, s.Bucket)
	for _, folder := range []string{data, side} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.args = []string{"--port", addr, "--region", s.Region, "--quiet"}
	return s, data, side
}

// makeBucket makes the bucket with object locks, which turns versioning on.
func (s *S3Server) makeBucket() {
	s.t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := s3.New(s3.Options{
		BaseEndpoint: &s.Endpoint, Region: s.Region, UsePathStyle: true, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &s.Bucket, ObjectLockEnabledForBucket: aws.Bool(true)})
	if err != nil {
		s.t.Fatalf("make a bucket with object locks: %v", err)
	}
}

// Start starts the server again after Stop, with the objects it had.
func (s *S3Server) Start() {
	s.t.Helper()
	s.cmd = start(s.t, nil, []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey}, Tool(s.t, "versitygw"), s.args...)
	waitFor(s.t, "versitygw", s.cmd, func() error {
		conn, err := net.Dial("tcp", s.Endpoint[len("http://"):])
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// Stop ends the server; its objects stay.
func (s *S3Server) Stop() { stop(s.cmd) }

// Tool returns the path of a pinned tool that "make tools" has built into .bin.
func Tool(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, ".bin", name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatalf("%s is not built: run `make tools` first", name)
	return ""
}

func skipShort(t testing.TB, what string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("SKIPPED because of -short: needs a real %s", what)
	}
}

func lookPath(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run `make deps`", name)
	}
	return path
}

func postgresBin(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(real)
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	sort.Slice(found, func(i, j int) bool { return len(found[i]) < len(found[j]) || found[i] < found[j] })
	if len(found) == 0 {
		t.Fatal("Postgres is not installed: run `make deps`")
	}
	return filepath.Dir(found[len(found)-1])
}

// unprivileged returns the user that Postgres runs as when the tests run as root.
func unprivileged(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Fatal("running as root and found neither user postgres nor nobody to run Postgres as")
	return nil
}

func start(t testing.TB, as *syscall.Credential, env []string, path string, args ...string) *exec.Cmd {
	t.Helper()
	log, err := os.CreateTemp("", "server-*.log")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	// The server dies with the test process, even if that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("log of %s:\n%s", filepath.Base(path), text[max(0, len(text)-4000):])
		}
		_ = log.Close()
		_ = os.Remove(log.Name())
	})
	return cmd
}

// stop ends a server; one that has ended already is let be.
func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		_ = cmd.Process.Kill()
		<-done
	}
}

func waitFor(t testing.TB, what string, cmd *exec.Cmd, ready func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return
		}
		if cmd.Process.Signal(syscall.Signal(0)) != nil {
			t.Fatalf("%s ended before it was ready: %v", what, err)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s is not ready after %v: %v", what, startTimeout, errors.Join(err, ctx.Err()))
		case <-tick.C:
		}
	}
}
