package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tenantry/tenantry/internal/servertest"
)

// door is the name under which workers outside know the API.
const door = "backup.test"

// doorFiles makes a certificate for the door, which is its own authority, and its key.
func doorFiles(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: door}, DNSNames: []string{door}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "door.pem"), filepath.Join(dir, "door.key")
	for file, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: text}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

// onlyTo is a proxy that leads to the door alone, at addr, and counts who came through.
func onlyTo(t *testing.T, addr string) (env []string, came *atomic.Int64) {
	t.Helper()
	came = &atomic.Int64{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != door+":443" {
			http.Error(w, "this proxy leads to the door alone", http.StatusForbidden)
			return
		}
		there, err := net.Dial("tcp", addr)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer there.Close()
		here, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		came.Add(1)
		if _, err := io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
			return
		}
		back := make(chan struct{})
		go func() { defer close(back); _, _ = io.Copy(here, there); _ = here.Close() }()
		_, _ = io.Copy(there, buffered)
		_ = there.Close()
		<-back
	}))
	t.Cleanup(proxy.Close)
	return []string{"HTTPS_PROXY=" + proxy.URL, "https_proxy=" + proxy.URL, "NO_PROXY=", "no_proxy="}, came
}

// A worker on premises far away: it reaches the API by TLS with certificate files and a private authority, through an HTTP
// proxy that leads nowhere else; its tenant lives in a national cloud, which the door tells it of; and what it writes is
// locked in a bucket that it does not know.
func TestWorkerOnPremisesFarAway(t *testing.T) {
	world := []string{"--users", "2", "--mails", "3", "--files-per-user", "1", "--groups", "0", "--sites", "0"}
	f := newFleetOn(t, programs, servertest.S3Locks, world...)
	f.env = append(f.env, "TENANTRY_LOCK_MODE=governance", "TENANTRY_LOCK_FOR=48h")
	there := f.cloud("china", append(world, "--seed", "7")...)
	f.scheduler("scheduler")
	f.worker("main", "TENANTRY_CLOUD_CHINA_CLIENT_SECRET="+cloudSecret) // keeps the mirror of the account books
	certificate, key := doorFiles(t)
	addr := servertest.Addr(t)
	spawn(t, "api with TLS", addr, f.api+"/readyz", append(f.env, "TENANTRY_TLS_CERTIFICATE="+certificate, "TENANTRY_TLS_KEY="+key),
		f.program("api"), "-listen", addr)
	proxied, came := onlyTo(t, addr)

	away := tenant{sim: there.simTenants()[0]}
	f.must("POST", "/pools", map[string]any{"name": "beijing"}, nil)
	f.must("POST", "/tenants", map[string]any{"name": away.sim.Name, "directory": away.sim.Domain, "cloud": "china", "pool": "beijing"}, &away)
	f.must("POST", "/tenants/"+away.ID+"/credentials", map[string]any{"kind": "secret", "client_id": cloudClientID, "secret": cloudSecret, "purpose": "backup"}, nil)

	identity := filepath.Join(t.TempDir(), "identity.json")
	token := f.run("tenantry", "pools", "enrol", "beijing")
	enrol := func(args ...string) (string, error) {
		cmd := exec.Command(f.program("worker"), append([]string{"enrol", "-url", "https://" + door, "-token-file", "-", "-identity", identity, "-name", "premises"}, args...)...)
		cmd.Stdin, cmd.Env = strings.NewReader(token+"\n"), append(os.Environ(), proxied...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	eventually(t, "the api serves TLS", func() (bool, string) {
		out, err := enrol() // without the authority
		if err == nil {
			t.Fatalf("a worker enrolls by a certificate of an authority that nobody named:\n%s", out)
		}
		return strings.Contains(out, "certificate"), out
	})
	out, err := enrol("-ca", certificate)
	if err != nil {
		t.Fatalf("enrol: %v\n%s", err, out)
	}
	says(t, "enrol", out, "of the pool beijing")
	listen := servertest.Addr(t)
	premises := spawn(t, "premises", listen, "http://"+listen+"/readyz", proxied, f.program("worker"), "-identity", identity, "-listen", listen)

	there.enable(away, "mailbox", "drive")
	there.consentAs(away, away.sim.ID, "accept")
	there.awaitState(&away, "connected")
	there.awaitWorkload(away, "mailbox", "ready")
	there.awaitWorkload(away, "drive", "ready")
	user := there.resources(away, "kind=user&limit=100")[0]
	done := there.awaitDone(away, there.backupOf(away, []string{"mailbox", "drive"}, user))
	for _, x := range there.tasks(away, done) {
		if x.Process != premises.fleetName() {
			t.Errorf("%s ran on %s, not on the premises", x.Workload, x.Process)
		}
	}
	for _, load := range []string{"mailbox", "drive"} {
		there.complete(away, user, load, there.latest(away, user, load).Seq)
	}
	if came.Load() == 0 {
		t.Error("nothing came through the proxy")
	}
	there.ownTokens(away)
	there.ownBooks(map[string]tenant{cloudClientID: away})
	var stats cloudStats
	f.simulate("GET", "/stats", nil, &stats)
	if stats.Refused != 0 || len(stats.Tenants) != 0 {
		t.Errorf("the public cloud was asked: %+v", stats)
	}
	f.locked(away)
}

// locked holds that the bucket keeps everything of the tenant's series from being deleted for the time that the fleet says.
func (f *fleet) locked(of tenant) {
	f.t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := s3.New(s3.Options{
		BaseEndpoint: &f.s3.Endpoint, Region: f.s3.Region, UsePathStyle: true, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider(f.s3.AccessKey, f.s3.SecretKey, ""),
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	prefix := "e2e/" + of.ID + "/r/"
	page, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &f.s3.Bucket, Prefix: &prefix})
	if err != nil {
		f.t.Fatal(err)
	}
	if len(page.Contents) < 2 {
		f.t.Errorf("the bucket has %d objects of the series", len(page.Contents))
	}
	for _, o := range page.Contents {
		lock, err := client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: &f.s3.Bucket, Key: o.Key})
		if err != nil || lock.Retention == nil || lock.Retention.RetainUntilDate == nil || time.Until(*lock.Retention.RetainUntilDate) < 40*time.Hour {
			f.t.Errorf("%s is locked by %+v: %v", *o.Key, lock, err)
		}
	}
}
