package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// TestFirstBackupIsMailed follows the first backup of a tenant's mailboxes from their enabling on in the box of a real
// SMTP server, which speaks to nobody without TLS and a password: it was accepted, listed and completed, each once,
// though two schedulers run and the one that leads is killed on the way.
func TestFirstBackupIsMailed(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "--users", "3", "--mails", "20", "--files-per-user", "2")
	box := openBox(t)
	f.env = append(f.env, box.settings()...)
	first, second := f.scheduler("scheduler1"), f.scheduler("scheduler2")
	f.worker("worker")
	sim := f.simTenants()[0]
	tn := f.add(sim)
	f.run("tenantry", "workloads", "enable", tn.ID, "mailbox", "--address", "ada@contoso.com", "--report", "daily")
	f.run("tenantry", "notices", "test", tn.ID)
	box.await("ada@contoso.com", "Test of the backup's notices")
	name := tn.Name + ": Mailboxes: "
	box.await("ada@contoso.com", name+"backup was accepted")
	f.consentAs(tn, sim.ID, "accept")
	f.awaitWorkload(tn, "mailbox", "ready")
	leads, others := f.leader(first, second)
	leads.kill()
	f.leader(others...)
	box.await("ada@contoso.com", name+"3 listed")
	f.awaitDone(tn, f.backup(tn, f.policy(tn)))
	box.await("ada@contoso.com", name+"first backup is complete")

	got := box.to("ada@contoso.com")
	want := []string{"Test of the backup's notices", name + "backup was accepted", name + "3 listed", name + "first backup is complete"}
	slices.Sort(got) // the test mail and the first one may come in either order
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the box holds\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	for _, u := range f.simUsers(tn) {
		if text := box.text(); strings.Contains(text, u.Name) || strings.Contains(text, u.ID) {
			t.Errorf("a mail names %s", u.Name)
		}
	}
	if shown := f.run("tenantry", "notices", "mails", tn.ID); strings.Count(shown, "sent") != len(want) {
		t.Errorf("the mails stand as\n%s", shown)
	}
}

// box is a real SMTP server: STARTTLS and a password are needed.
type box struct {
	t        *testing.T
	addr, ca string

	mu    sync.Mutex
	mails []letter
}

type letter struct {
	to, subject string
	data        []byte
}

func openBox(t *testing.T) *box {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	b := &box{t: t, ca: filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(b.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &smtpSession{box: b}, nil }))
	server.Domain = "localhost"
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	b.addr = "localhost:" + port
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	// The listener itself, too: a server that is closed before it serves would serve for ever.
	t.Cleanup(func() { _ = server.Close(); _ = listener.Close(); <-done })
	return b
}

// settings have a scheduler send its mails there, looking every second for what there is to say.
func (b *box) settings() []string {
	return []string{
		"TENANTRY_SMTP=" + b.addr, "TENANTRY_SMTP_CA=" + b.ca, "TENANTRY_SMTP_USER=fleet", "TENANTRY_SMTP_PASSWORD=sesame",
		"TENANTRY_SMTP_FROM=backup@provider.example", "TENANTRY_NOTICES_EVERY=1s",
	}
}

// to lists the subjects of what an address got, in order.
func (b *box) to(address string) (subjects []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.mails {
		if m.to == address {
			subjects = append(subjects, m.subject)
		}
	}
	return subjects
}

// text is all that came.
func (b *box) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all bytes.Buffer
	for _, m := range b.mails {
		all.Write(m.data)
	}
	return all.String()
}

func (b *box) await(address, subject string) {
	b.t.Helper()
	eventually(b.t, "the mail "+subject, func() (bool, string) {
		got := b.to(address)
		return slices.Contains(got, subject), fmt.Sprintf("%q", got)
	})
}

// smtpSession is one connection to the box.
type smtpSession struct {
	box *box
	in  bool
	to  string
}

func (*smtpSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (d *smtpSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if d.in = user == "fleet" && password == "sesame"; !d.in {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (d *smtpSession) Mail(string, *smtp.MailOptions) error {
	if !d.in {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (d *smtpSession) Rcpt(to string, _ *smtp.RcptOptions) error { d.to = to; return nil }

func (d *smtpSession) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	msg, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		return err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
	if err != nil {
		return err
	}
	d.box.mu.Lock()
	defer d.box.mu.Unlock()
	d.box.mails = append(d.box.mails, letter{d.to, subject, data})
	return nil
}

func (*smtpSession) Reset()        {}
func (*smtpSession) Logout() error { return nil }
