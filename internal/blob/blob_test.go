package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/blob/blobtest"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("BLOB_TEST_FULL_DISK"); dir != "" {
		os.Exit(fillDisk(dir))
	}
	servertest.Main(m)
}

func open(t *testing.T, url string, o blob.S3Options) blob.Store {
	t.Helper()
	s, err := blob.Open(t.Context(), url, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = s.(io.Closer).Close() })
	return s
}

func credentials(srv *servertest.S3Server) blob.S3Options {
	return blob.S3Options{AccessKey: srv.AccessKey, SecretKey: tenantry.NewSecret(srv.SecretKey)}
}

func TestFolder(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		return open(t, "file://"+filepath.Join(t.TempDir(), "store"), blob.S3Options{})
	})
}

// A store that is measured is as good as the store, and its calls are told to the meter.
func TestMetered(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		return blob.Metered(open(t, "file://"+filepath.Join(t.TempDir(), "store"), blob.S3Options{}))
	})
	t.Run("meter", func(t *testing.T) {
		store, m := blob.Metered(blobtest.NewMemory()), tenantry.NewMeter(time.Now)
		ctx := tenantry.WithMeter(t.Context(), m)
		last := time.Duration(0)
		rose := func(call string, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", call, err)
			}
			d, _ := m.Read()
			if d.Storage <= last {
				t.Errorf("%s was not measured", call)
			}
			last = d.Storage
		}
		rose("Put", store.Put(ctx, "a/b", []byte("x")))
		rose("PutIfAbsent", store.PutIfAbsent(ctx, "a/c", []byte("x")))
		_, err := store.Stat(ctx, "a/b")
		rose("Stat", err)
		_, err = blob.ReadAll(ctx, store, "a/b", 10)
		rose("Get", err)
		for _, err := range store.List(ctx, "a/") {
			before, _ := m.Read()
			if between, _ := m.Read(); between.Storage != before.Storage {
				t.Error("the meter runs while the caller has the object")
			}
			rose("List", err)
		}
		for _, err := range store.Folders(ctx, "") {
			rose("Folders", err)
		}
		rose("Delete", store.Delete(ctx, "a/b"))
	})
}

func TestS3(t *testing.T) {
	srv := servertest.S3(t)
	blobtest.Run(t, func(t *testing.T) blob.Store {
		prefix := strings.NewReplacer(" ", "-", "/", "-").Replace(t.Name())
		return open(t, "s3://"+srv.Bucket+"/"+prefix+"/deep?endpoint="+srv.Endpoint, credentials(srv))
	})
}

func TestMemory(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Store { return blobtest.NewMemory() })
}

func TestFaultyWithoutFaults(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		return blobtest.NewFaulty(open(t, "file://"+t.TempDir(), blob.S3Options{}))
	})
}

func TestFolderLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	s := open(t, "file://"+dir, blob.S3Options{})
	for range 3 {
		err := s.PutIfAbsent(t.Context(), "a/b", []byte("x"))
		if err != nil && !errors.Is(err, blob.ErrExists) {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(filepath.Join(dir, ".tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("half-written files are left: %v, %v", left, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	srv := servertest.S3(t)
	refused := func(name string, kind tenantry.Kind, word, url string, o blob.S3Options) {
		t.Run(name, func(t *testing.T) {
			_, err := blob.Open(t.Context(), url, o)
			if tenantry.KindOf(err) != kind || !strings.Contains(err.Error(), word) {
				t.Errorf("got %v (%s), expected %s with %q", err, tenantry.KindOf(err), kind, word)
			}
			if err != nil && strings.Contains(err.Error(), srv.SecretKey) {
				t.Errorf("the message shows the secret: %v", err)
			}
		})
	}
	good := credentials(srv)
	at := "?endpoint=" + srv.Endpoint
	refused("no bucket there", tenantry.Shared, `bucket "missing" does not exist at `+srv.Endpoint, "s3://missing/"+at, good)
	refused("wrong secret", tenantry.Shared, `access to bucket "tenantry"`, "s3://"+srv.Bucket+at,
		blob.S3Options{AccessKey: srv.AccessKey, SecretKey: tenantry.NewSecret("wrong")})
	refused("nobody listens", tenantry.Shared, "cannot be reached", "s3://b?endpoint=http://"+servertest.Addr(t), good)
	refused("credentials in the URL", tenantry.Invalid, "credentials", "s3://key:"+srv.SecretKey+"@bucket"+at, good)
	refused("half of the credentials", tenantry.Invalid, "both or neither", "s3://b"+at, blob.S3Options{AccessKey: "a"})
	refused("unknown parameter", tenantry.Invalid, "secret", "s3://b?secret=x", good)
	refused("no bucket", tenantry.Invalid, "no bucket", "s3:///x", good)
	refused("other scheme", tenantry.Invalid, "ftp", "ftp://x/y", good)
	refused("relative folder", tenantry.Invalid, "absolute", "file://x/y", good)
	refused("no folder", tenantry.Shared, "make", "file:///dev/null/x", good)
}

// proxy stands between a store and a real S3 server and tampers with what passes.
func proxy(t *testing.T, srv *servertest.S3Server, tamper func(r *http.Request, next http.Handler, w http.ResponseWriter)) string {
	t.Helper()
	target, err := url.Parse(srv.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	transport := &http.Transport{}
	forward.Transport = transport
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tamper(r, forward, w) // the Host header stays as it was signed
	}))
	t.Cleanup(func() { p.Close(); transport.CloseIdleConnections() })
	return p.URL
}

// A server that ignores the condition lets two workers commit the same snapshot.
func TestOpenRefusesStoreWithoutConditions(t *testing.T) {
	srv := servertest.S3(t)
	ignoring := proxy(t, srv, func(r *http.Request, next http.Handler, w http.ResponseWriter) {
		if r.Header.Get("If-None-Match") != "" {
			w.Header().Set("ETag", `"x"`)
			return // "stored"
		}
		next.ServeHTTP(w, r)
	})
	_, err := blob.Open(t.Context(), "s3://"+srv.Bucket+"?endpoint="+ignoring, credentials(srv))
	if tenantry.KindOf(err) != tenantry.Shared || !strings.Contains(err.Error(), "If-None-Match") {
		t.Errorf("a store that ignores conditions: %v", err)
	}
	refusing := proxy(t, srv, func(_ *http.Request, _ http.Handler, w http.ResponseWriter) {
		w.WriteHeader(http.StatusNotImplemented)
	})
	_, err = blob.Open(t.Context(), "s3://"+srv.Bucket+"?endpoint="+refusing, credentials(srv))
	if tenantry.KindOf(err) != tenantry.Shared || !strings.Contains(err.Error(), "does not implement") {
		t.Errorf("a store without conditions: %v", err)
	}
}

// The connection is cut after the server has applied the write. A store (or SDK) that
// tried again would be told 412 by its own success.
func TestS3ConditionalPutIsNotRepeated(t *testing.T) {
	srv := servertest.S3(t)
	var puts, cut atomic.Int64
	through := proxy(t, srv, func(r *http.Request, next http.Handler, w http.ResponseWriter) {
		if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "victim") {
			next.ServeHTTP(w, r)
			return
		}
		puts.Add(1)
		if cut.Add(-1) < 0 {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
	s := open(t, "s3://"+srv.Bucket+"?endpoint="+through, credentials(srv))
	cut.Store(1)
	err := s.PutIfAbsent(t.Context(), "victim", []byte("mine"))
	if tenantry.KindOf(err) != tenantry.Transient || errors.Is(err, blob.ErrExists) {
		t.Errorf("a cut connection: %v", err)
	}
	if n := puts.Load(); n != 1 {
		t.Errorf("the conditional write was sent %d times", n)
	}
	if data, err := blob.ReadAll(t.Context(), s, "victim", 100); err != nil || string(data) != "mine" {
		t.Errorf("stored: %q, %v", data, err)
	}

	puts.Store(0)
	cut.Store(1)
	if err := s.Put(t.Context(), "victim", []byte("again")); err != nil {
		t.Errorf("an unconditional write is repeated by itself: %v", err)
	}
	if n := puts.Load(); n != 2 {
		t.Errorf("the unconditional write was sent %d times, expected 2", n)
	}
}

// An object is read whole into a buffer that it fits into, or not at all.
func TestReadInto(t *testing.T) {
	t.Parallel()
	s := blobtest.NewMemory()
	for _, size := range []int{0, 1, 1000} {
		body := bytes.Repeat([]byte{7}, size)
		if err := s.Put(t.Context(), "object", body); err != nil {
			t.Fatal(err)
		}
		for _, room := range []int{size, size + 1, size + 1000} {
			if data, err := blob.ReadInto(t.Context(), s, "object", make([]byte, room)); err != nil || !bytes.Equal(data, body) {
				t.Errorf("%d bytes into %d: %d, %v", size, room, len(data), err)
			}
		}
		if size == 0 {
			continue
		}
		if data, err := blob.ReadInto(t.Context(), s, "object", make([]byte, size-1)); tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("%d bytes into %d: %d, %v", size, size-1, len(data), err)
		}
	}
	if _, err := blob.ReadInto(t.Context(), s, "another", nil); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
}

// A download that ends early is an error, never a short object.
func TestS3DownloadCut(t *testing.T) {
	srv := servertest.S3(t)
	var cut atomic.Bool
	through := proxy(t, srv, func(r *http.Request, next http.Handler, w http.ResponseWriter) {
		if r.Method != http.MethodGet || !cut.Load() {
			next.ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
		panic(http.ErrAbortHandler)
	})
	s := open(t, "s3://"+srv.Bucket+"?endpoint="+through, credentials(srv))
	if err := s.Put(t.Context(), "half", make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	cut.Store(true)
	data, err := blob.ReadAll(t.Context(), s, "half", 1<<20)
	if tenantry.KindOf(err) != tenantry.Transient {
		t.Errorf("%d bytes read, %v", len(data), err)
	}
	if data, err = blob.ReadInto(t.Context(), s, "half", make([]byte, 1<<20)); tenantry.KindOf(err) != tenantry.Transient {
		t.Errorf("%d bytes read into a buffer, %v", len(data), err)
	}
}

// What the server keeps is damaged: no retry helps. Damage on the way is read again.
func TestS3ChecksumMismatch(t *testing.T) {
	srv := servertest.S3(t)
	var flips atomic.Int32
	through := proxy(t, srv, func(r *http.Request, next http.Handler, w http.ResponseWriter) {
		if r.Method != http.MethodGet || flips.Add(-1) < 0 {
			next.ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(rec.Code)
		body := rec.Body.Bytes()
		body[0] ^= 1
		_, _ = w.Write(body)
	})
	s := open(t, "s3://"+srv.Bucket+"?endpoint="+through, credentials(srv))
	if err := s.Put(t.Context(), "object", []byte("content")); err != nil {
		t.Fatal(err)
	}
	flips.Store(1)
	if data, err := blob.ReadAll(t.Context(), s, "object", 100); err != nil || string(data) != "content" {
		t.Errorf("damaged on its way once: %q, %v", data, err)
	}
	if flips.Load() >= 0 {
		t.Fatal("nothing was damaged on its way, or nothing was read again")
	}
	flips.Store(1)
	if data, err := blob.ReadInto(t.Context(), s, "object", make([]byte, 100)); err != nil || string(data) != "content" || flips.Load() >= 0 {
		t.Errorf("damaged on its way once, into a buffer: %q, %v", data, err)
	}
	for what, damaged := range map[string]string{"rewritten": "contend", "cut short": "cont"} {
		if err := os.WriteFile(filepath.Join(srv.Dir, "object"), []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if data, err := blob.ReadAll(t.Context(), s, "object", 100); tenantry.KindOf(err) != tenantry.Corrupt {
			t.Errorf("%s: %q, %v", what, data, err)
		}
	}
}

// fullDiskSize is the size of the disk that the child fills.
const fullDiskSize = "1m"

// A real disk that is full: a tmpfs of 1 MiB in a mount namespace of a child process.
func TestFolderDiskFull(t *testing.T) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "BLOB_TEST_FULL_DISK="+t.TempDir())
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := child.CombinedOutput()
	if child.ProcessState == nil || child.ProcessState.ExitCode() == 3 {
		t.Skipf("SKIPPED: this system lets no test mount a small disk (%v): %s", err, out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// fillDisk runs in the child. It returns the exit code: 3 if no disk can be mounted.
func fillDisk(dir string) int {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+fullDiskSize); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	if err := fillMounted(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func fillMounted(dir string) error {
	ctx := context.Background()
	s, err := blob.Open(ctx, "file://"+dir, blob.S3Options{})
	if err != nil {
		return err
	}
	if err := s.PutIfAbsent(ctx, "fits", make([]byte, 512<<10)); err != nil {
		return err
	}
	for name, put := range map[string]func(context.Context, string, []byte) error{"put": s.Put, "absent": s.PutIfAbsent} {
		err := put(ctx, "too-large/"+name, make([]byte, 800<<10))
		if tenantry.KindOf(err) != tenantry.Shared || !strings.Contains(err.Error(), "disk full") {
			return fmt.Errorf("expected Shared, disk full: %w", err)
		}
		if _, err := s.Stat(ctx, "too-large/"+name); !errors.Is(err, blob.ErrNotFound) {
			return fmt.Errorf("something half-written is visible: %w", err)
		}
	}
	// What failed gave its room back.
	return s.PutIfAbsent(ctx, "fits-too", make([]byte, 256<<10))
}
