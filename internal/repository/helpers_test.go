package repository_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tenantry/tenantry/internal/blob"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		os.Exit(helper())
	}
	// Properties here write to a disk that is synced; ask for more with -rapid.checks.
	if err := flag.Set("rapid.checks", "12"); err != nil {
		panic(err)
	}
	servertest.Main(m)
}

const tenant = tenantry.TenantID("t-1")

var mailbox = tenantry.Series{Tenant: tenant, Resource: "u-1", Workload: tenantry.Mailbox}

// place is where a test's repository lies.
type place struct {
	url     string
	s3      blob.S3Options
	keyFile string
}

// backends runs a test on a folder and on a real S3 server.
func backends(t *testing.T, run func(t *testing.T, p place)) {
	t.Run("folder", func(t *testing.T) { run(t, folder(t)) })
	t.Run("s3", func(t *testing.T) {
		srv := servertest.S3(t)
		run(t, place{
			url:     "s3://" + srv.Bucket + "/prefix?endpoint=" + url.QueryEscape(srv.Endpoint),
			s3:      blob.S3Options{AccessKey: srv.AccessKey, SecretKey: tenantry.NewSecret(srv.SecretKey)},
			keyFile: filepath.Join(t.TempDir(), "keys.json"),
		})
	})
}

func folder(t testing.TB) place {
	dir := t.TempDir()
	return place{url: "file://" + filepath.Join(dir, "store"), keyFile: filepath.Join(dir, "keys.json")}
}

func (p place) store(t testing.TB) blob.Store {
	t.Helper()
	s, err := blob.Open(context.Background(), p.url, p.s3)
	must(t, err)
	t.Cleanup(func() { _ = s.(io.Closer).Close() })
	return s
}

func (p place) ring(t testing.TB) repository.Keyring {
	t.Helper()
	ring, err := repository.OpenKeyFile(p.keyFile, true)
	must(t, err)
	return ring
}

func (p place) open(t testing.TB) *repository.Repository {
	t.Helper()
	return openOver(t, p, p.store(t))
}

func openOver(t testing.TB, p place, s blob.Store) *repository.Repository {
	t.Helper()
	r, err := repository.Open(context.Background(), s, p.ring(t), tenant)
	must(t, err)
	return r
}

func must(t interface {
	Helper()
	Fatalf(string, ...any)
}, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (%s)", err, tenantry.KindOf(err))
	}
}

func wantKind(t *testing.T, err error, kind tenantry.Kind) {
	t.Helper()
	if tenantry.KindOf(err) != kind {
		t.Fatalf("got %v (%s), expected the kind %s", err, tenantry.KindOf(err), kind)
	}
}

func begin(t testing.TB, r *repository.Repository, epoch int64, task tenantry.TaskID) *repository.Writer {
	t.Helper()
	w, err := r.Begin(context.Background(), mailbox, repository.Fence{Epoch: epoch, Task: task})
	must(t, err)
	t.Cleanup(w.Close)
	return w
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func seal(t testing.TB, w *repository.Writer) repository.Snapshot {
	t.Helper()
	s, err := w.Seal(context.Background(), noon)
	must(t, err)
	return s
}

// noise returns bytes that do not compress, always the same for a seed.
func noise(seed, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	_, _ = r.Read(b)
	return b
}

// mail returns a message of about n bytes that compresses as mail does.
func mail(seed, n int) []byte {
	var b bytes.Buffer
	r := rand.New(rand.NewPCG(uint64(seed), 7))
	fmt.Fprintf(&b, `{"@odata.etag":"W/\"CQAAABYAAAC%016x\"","subject":"Report %d","from":{"emailAddress":{"address":"user%d@contoso.example"}},"body":{"contentType":"html","content":"`,
		r.Uint64(), seed, r.IntN(500))
	words := []string{"quarter", "meeting", "budget", "please", "attached", "regards", "the", "of", "and", "delivery", "invoice", "tomorrow"}
	for b.Len() < n {
		fmt.Fprintf(&b, "%s %x ", words[r.IntN(len(words))], r.Uint32()&0xfff)
	}
	b.WriteString(`"}}`)
	return b.Bytes()
}

// message stores a mail and returns its entry.
func message(t testing.TB, w *repository.Writer, seed int, parts ...[]byte) repository.Entry {
	t.Helper()
	body := mail(seed, 2000)
	ref, err := w.PutPayload(context.Background(), body)
	must(t, err)
	e := repository.Entry{
		ID: messageID(seed), Parent: "folder-1", Kind: "message", Name: fmt.Sprintf("Report %d", seed),
		ETag: fmt.Sprintf("etag-%d", seed), Modified: noon.Add(time.Duration(seed) * time.Second), Size: int64(len(body)),
		Generation: 1, Payload: ref,
	}
	for i, content := range parts {
		part, err := w.PutContent(context.Background(), bytes.NewReader(content))
		must(t, err)
		part.Name = fmt.Sprintf("attachment-%d", i)
		e.Parts = append(e.Parts, part)
	}
	must(t, w.Put(context.Background(), e))
	return e
}

// messageID is as long as Exchange's immutable IDs are.
func messageID(seed int) string {
	return fmt.Sprintf("AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A%0110d", seed)
}

// checkMessage reads a message back and holds it against the truth.
func checkMessage(t testing.TB, rd *repository.Reader, seed int, parts ...[]byte) {
	t.Helper()
	e, ok, err := rd.Lookup(context.Background(), messageID(seed))
	must(t, err)
	if !ok {
		t.Fatalf("message %d is not there", seed)
	}
	got, err := rd.Payload(context.Background(), e)
	must(t, err)
	if !bytes.Equal(got, mail(seed, 2000)) {
		t.Fatalf("message %d came back different", seed)
	}
	if len(e.Parts) != len(parts) {
		t.Fatalf("message %d has %d parts, expected %d", seed, len(e.Parts), len(parts))
	}
	for i, p := range e.Parts {
		if got := readPart(t, rd, e, p); !bytes.Equal(got, parts[i]) {
			t.Fatalf("part %d of message %d came back different: %d bytes of %d", i, seed, len(got), len(parts[i]))
		}
	}
}

func readPart(t testing.TB, rd *repository.Reader, e repository.Entry, p repository.Part) []byte {
	t.Helper()
	stream, err := rd.Open(context.Background(), e, p)
	must(t, err)
	defer stream.Close()
	data, err := io.ReadAll(stream)
	must(t, err)
	return data
}

func snapshot(t testing.TB, r *repository.Repository, seq int64) *repository.Reader {
	t.Helper()
	rd, err := r.OpenSnapshot(context.Background(), mailbox, seq)
	must(t, err)
	t.Cleanup(rd.Close)
	return rd
}

func ids(t testing.TB, rd *repository.Reader) []string {
	t.Helper()
	var out []string
	for e, err := range rd.Entries(context.Background()) {
		must(t, err)
		out = append(out, e.ID)
	}
	return out
}

func diff(t testing.TB, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}
