package report

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"pgregory.net/rapid"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/servertest"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func TestMain(m *testing.M) {
	if childMain() {
		return
	}
	servertest.Main(m)
}

// received is a mail as the server took it.
type received struct {
	from, to string
	data     []byte
}

// parsed takes a mail apart: its headers, and its parts by media type.
func (r received) parsed(t testing.TB) (mail.Header, map[string]string) {
	t.Helper()
	msg, err := mail.ReadMessage(bytes.NewReader(r.data))
	if err != nil {
		t.Fatalf("%v in\n%s", err, r.data)
	}
	_, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	reader := multipart.NewReader(msg.Body, params["boundary"])
	for {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return msg.Header, parts
		}
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
		text, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		parts[kind] = strings.ReplaceAll(string(text), "\r\n", "\n")
	}
}

// subject is the decoded subject.
func (r received) subject(t testing.TB) string {
	t.Helper()
	header, _ := r.parsed(t)
	subject, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	return subject
}

// postOffice is a real SMTP server that keeps what it takes.
type postOffice struct {
	addr  string
	roots *x509.CertPool
	cert  []byte // DER

	mu     sync.Mutex
	mails  []received
	tries  map[string]int // RCPT by address
	answer func(to string, try int) error
	logins []string
}

type officeOptions struct {
	implicit  bool
	noTLS     bool
	signIn    bool   // user "fleet", password "sesame", required
	otherName string // the certificate's
	listener  net.Listener
}

// openOffice starts a server on a free port, until the end of the test.
func openOffice(t testing.TB, o officeOptions) *postOffice {
	t.Helper()
	name := "localhost"
	if o.otherName != "" {
		name = o.otherName
	}
	cert, roots := certificateFor(t, name)
	office := &postOffice{roots: roots, cert: cert.Certificate[0], tries: map[string]int{}}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{office: office, conn: c, options: o}, nil
	}))
	server.Domain, server.ReadTimeout, server.WriteTimeout = "localhost", time.Minute, time.Minute
	if !o.noTLS {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	listener := o.listener
	if listener == nil {
		var err error
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	office.addr = "localhost:" + port
	if o.implicit {
		listener = tls.NewListener(listener, server.TLSConfig)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	// The listener itself, too: a server that is closed before it serves would serve for ever.
	t.Cleanup(func() { _ = server.Close(); _ = listener.Close(); <-done })
	return office
}

func (p *postOffice) taken() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]received{}, p.mails...)
}

// to lists the subjects of what an address got, in order.
func (p *postOffice) to(t testing.TB, address string) (subjects []string) {
	t.Helper()
	for _, m := range p.taken() {
		if m.to == address {
			subjects = append(subjects, m.subject(t))
		}
	}
	return subjects
}

// pemFile is a file with the server's certificate.
func (p *postOffice) pemFile(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (p *postOffice) refuse(answer func(to string, try int) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

type session struct {
	office   *postOffice
	conn     *smtp.Conn
	options  officeOptions
	from, to string
	in       bool
}

func (s *session) AuthMechanisms() []string {
	if !s.options.signIn {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		s.office.mu.Lock()
		defer s.office.mu.Unlock()
		s.office.logins = append(s.office.logins, user)
		if user != "fleet" || password != "sesame" {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "no"}
		}
		s.in = true
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if _, secure := s.conn.TLSConnectionState(); !secure && !s.options.noTLS {
		return &smtp.SMTPError{Code: 530, Message: "TLS first"}
	}
	if s.options.signIn && !s.in {
		return smtp.ErrAuthRequired
	}
	if strings.HasPrefix(from, "stranger@") {
		return &smtp.SMTPError{Code: 550, Message: "who are you"}
	}
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.office.mu.Lock()
	s.office.tries[to]++
	try, answer := s.office.tries[to], s.office.answer
	s.office.mu.Unlock()
	if answer != nil {
		if err := answer(to, try); err != nil {
			return err
		}
	}
	s.to = to
	return nil
}

func (s *session) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.office.mu.Lock()
	defer s.office.mu.Unlock()
	s.office.mails = append(s.office.mails, received{s.from, s.to, data})
	return nil
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

// certificateFor makes a certificate for a name, signed by itself.
func certificateFor(t testing.TB, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func (p *postOffice) sender(t testing.TB, change func(*SMTPOptions)) *SMTP {
	t.Helper()
	o := SMTPOptions{Addr: p.addr, TLS: StartTLS, Roots: p.roots, From: "backup@provider.example", Name: "Tenantry"}
	if change != nil {
		change(&o)
	}
	s, err := NewSMTP(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testMail(to string) catalog.Mail {
	return catalog.Mail{Key: "test " + to, Event: "test", To: to, Subject: "Grüße: all is well", Plain: "Plain\nwords", HTML: "<p>Words</p>", CreatedAt: time.Unix(1_795_000_000, 0)}
}

func send(t testing.TB, s Sender, mails ...catalog.Mail) []error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return s.Send(ctx, mails)
}

// Over each way to a server that can be trusted mails arrive whole, with both bodies and no surprise in their headers.
func TestSMTPSends(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		office officeOptions
		change func(*SMTPOptions)
	}{
		"starttls": {officeOptions{}, nil},
		"implicit": {officeOptions{implicit: true}, func(o *SMTPOptions) { o.TLS = Implicit }},
		"starttls with sign-in": {officeOptions{signIn: true}, func(o *SMTPOptions) {
			o.User, o.Password = "fleet", tenantry.NewSecret("sesame")
		}},
		"implicit with sign-in": {officeOptions{implicit: true, signIn: true}, func(o *SMTPOptions) {
			o.TLS, o.User, o.Password = Implicit, "fleet", tenantry.NewSecret("sesame")
		}},
		"a relay on this host": {officeOptions{noTLS: true}, func(o *SMTPOptions) { o.TLS = Clear }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			office := openOffice(t, c.office)
			for i, err := range send(t, office.sender(t, c.change), testMail("ada@contoso.com"), testMail("bob@contoso.com")) {
				if err != nil {
					t.Fatalf("mail %d: %v", i, err)
				}
			}
			got := office.taken()
			if len(got) != 2 || got[0].to != "ada@contoso.com" || got[1].to != "bob@contoso.com" || got[0].from != "backup@provider.example" {
				t.Fatalf("the server took %+v", got)
			}
			header, parts := got[0].parsed(t)
			if parts["text/plain"] != "Plain\nwords" || parts["text/html"] != "<p>Words</p>" || got[0].subject(t) != "Grüße: all is well" {
				t.Errorf("parts %q, subject %q", parts, got[0].subject(t))
			}
			if header.Get("To") != "<ada@contoso.com>" || header.Get("Auto-Submitted") != "auto-generated" || header.Get("Cc")+header.Get("Bcc") != "" {
				t.Errorf("headers %v", header)
			}
			if again, _ := got[1].parsed(t); again.Get("Message-ID") == header.Get("Message-ID") {
				t.Error("mails to two addresses have the same Message-ID")
			}
		})
	}
}

// A server that cannot be used, or not be trusted, is everybody's trouble and no mail's; nothing goes out in the clear,
// and no password to a stranger.
func TestSMTPTrustsNobody(t *testing.T) {
	t.Parallel()
	closed := servertest.Addr(t)
	signIn := func(o *SMTPOptions) { o.User, o.Password = "fleet", tenantry.NewSecret("open") }
	for name, c := range map[string]struct {
		office officeOptions
		change func(*SMTPOptions)
	}{
		"nobody listens":        {officeOptions{}, func(o *SMTPOptions) { o.Addr = closed }},
		"no STARTTLS":           {officeOptions{noTLS: true}, nil},
		"no STARTTLS, sign-in":  {officeOptions{noTLS: true, signIn: true}, signIn},
		"another's certificate": {officeOptions{otherName: "evil.example"}, signIn},
		"an unknown authority":  {officeOptions{}, func(o *SMTPOptions) { o.Roots = x509.NewCertPool() }},
		"implicit, unknown":     {officeOptions{implicit: true}, func(o *SMTPOptions) { o.TLS, o.Roots = Implicit, x509.NewCertPool() }},
		"wrong password":        {officeOptions{signIn: true}, signIn},
		"sign-in is needed":     {officeOptions{signIn: true}, nil},
		"refused sender":        {officeOptions{}, func(o *SMTPOptions) { o.From = "stranger@provider.example" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			office := openOffice(t, c.office)
			for _, err := range send(t, office.sender(t, c.change), testMail("ada@contoso.com"), testMail("bob@contoso.com")) {
				if tenantry.KindOf(err) != tenantry.Shared {
					t.Errorf("%v of kind %s", err, tenantry.KindOf(err))
				}
				if strings.Contains(err.Error(), "open") && name == "wrong password" {
					t.Errorf("the error shows the password: %v", err)
				}
			}
			if len(office.taken()) != 0 || name != "wrong password" && len(office.logins) > 0 {
				t.Errorf("the server took %d mails and saw sign-ins %v", len(office.taken()), office.logins)
			}
		})
	}
}

// What the server says of one mail concerns that one alone.
func TestSMTPRefusals(t *testing.T) {
	t.Parallel()
	office := openOffice(t, officeOptions{})
	office.refuse(func(to string, try int) error {
		switch {
		case strings.HasPrefix(to, "nobody"):
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
		case strings.HasPrefix(to, "grey") && try == 1:
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted"}
		}
		return nil
	})
	s := office.sender(t, nil)
	mails := []catalog.Mail{testMail("ada@contoso.com"), testMail("nobody@contoso.com"), testMail("grey@contoso.com"), testMail("bob@contoso.com")}
	want := []tenantry.Kind{"", tenantry.Denied, tenantry.Transient, ""}
	for i, err := range send(t, s, mails...) {
		if tenantry.KindOf(err) != want[i] {
			t.Errorf("%s: %v of kind %q, want %q", mails[i].To, err, tenantry.KindOf(err), want[i])
		}
	}
	if err := send(t, s, mails[2])[0]; err != nil {
		t.Errorf("the second try of a greylisted mail: %v", err)
	}
	if got := len(office.taken()); got != 3 {
		t.Errorf("the server took %d mails, want 3", got)
	}
}

// A server that says nothing, or hangs up, is left within the call's time.
func TestSMTPDoesNotHang(t *testing.T) {
	t.Parallel()
	for name, greet := range map[string]func(net.Conn){
		"silence":       func(net.Conn) {},
		"a slow banner": func(c net.Conn) { _, _ = io.WriteString(c, "220 wait") },
		"hangs up":      func(c net.Conn) { _ = c.Close() },
		"garbage":       func(c net.Conn) { _, _ = io.WriteString(c, strings.Repeat("\x00\xff", 5000)+"\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var conns []net.Conn
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					c, err := listener.Accept()
					if err != nil {
						return
					}
					greet(c)
					conns = append(conns, c)
				}
			}()
			s := (&postOffice{addr: listener.Addr().String()}).sender(t, nil)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := s.Send(ctx, []catalog.Mail{testMail("ada@contoso.com")})[0]; tenantry.KindOf(err) != tenantry.Shared {
				t.Errorf("%v of kind %s", err, tenantry.KindOf(err))
			}
			_ = listener.Close()
			<-done
			for _, c := range conns {
				_ = c.Close()
			}
		})
	}
}

func TestSMTPOptions(t *testing.T) {
	t.Parallel()
	good := SMTPOptions{Addr: "smtp.example.com:587", TLS: StartTLS, From: "backup@provider.example"}
	if _, err := NewSMTP(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*SMTPOptions){
		"no port":            func(o *SMTPOptions) { o.Addr = "smtp.example.com" },
		"no host":            func(o *SMTPOptions) { o.Addr = ":587" },
		"port":               func(o *SMTPOptions) { o.Addr = "smtp.example.com:99999" },
		"sender":             func(o *SMTPOptions) { o.From = "a@b\r\nBcc: c@d" },
		"mode":               func(o *SMTPOptions) { o.TLS = "maybe" },
		"clear to elsewhere": func(o *SMTPOptions) { o.TLS = Clear },
		"clear with sign-in": func(o *SMTPOptions) {
			o.Addr, o.TLS, o.User, o.Password = "localhost:25", Clear, "u", tenantry.NewSecret("p")
		},
		"user without password": func(o *SMTPOptions) { o.User = "u" },
		"password without user": func(o *SMTPOptions) { o.Password = tenantry.NewSecret("p") },
	} {
		o := good
		change(&o)
		if _, err := NewSMTP(o); tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever a tenant or policy is called, its mail has the headers it should, each once, and its name is text in HTML.
func TestNoInjection(t *testing.T) {
	t.Parallel()
	office := openOffice(t, officeOptions{})
	s := office.sender(t, nil)
	evil := []string{
		"Contoso\r\nBcc: eve@evil.example", "Contoso\nSubject: other", "a\r\n\r\n<script>alert(1)</script>", "\x00\x1b[2J", "x\u2028Bcc: eve@evil.example",
		"\u202egnp.exe", "=?utf-8?q?a=0D=0ABcc:_eve@evil.example?=", strings.Repeat("long ", 200), "\xff\xfe", "\r", ".\r\n.\r\nMAIL FROM:<eve@evil.example>",
	}
	check := func(name string) error {
		l := letter{
			subject: name + ": hello", title: name, lines: []string{name}, footer: name,
			tables: []table{{Caption: name, Header: []string{name, "n"}, rows: [][]string{{name, "1"}}}},
		}
		m := testMail("ada@contoso.com")
		var err error
		if m.Subject, m.Plain, m.HTML, err = l.render(); err != nil {
			return err
		}
		msg, err := s.message(m)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if _, err := msg.WriteTo(&out); err != nil {
			return err
		}
		parsed, err := mail.ReadMessage(&out)
		if err != nil {
			return err
		}
		for field, values := range parsed.Header {
			if len(values) != 1 || field == "Bcc" || field == "Cc" {
				return errors.New("header " + field + ": " + strings.Join(values, " | "))
			}
		}
		if strings.ContainsAny(m.Subject, "\r\n\x00\x1b\u2028\u202e") || strings.Contains(m.HTML, "<script") {
			return errors.New("not clean: " + m.Subject)
		}
		return nil
	}
	for _, name := range evil {
		if err := check(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringMatching(`([a-z]|\r\n|\n|: |Bcc|<|>|=\?){0,30}`)).Draw(t, "name")
		if err := check(name); err != nil {
			t.Fatal(err)
		}
	})
	m := testMail("ada@contoso.com")
	m.Subject, m.Plain = evil[0], evil[len(evil)-1]
	if err := send(t, s, m)[0]; err != nil {
		t.Fatal(err)
	}
	got := office.taken()
	if len(got) != 1 || got[0].to != "ada@contoso.com" || got[0].from != "backup@provider.example" {
		t.Fatalf("the server took %+v", got)
	}
	m.To = "ada@contoso.com>\r\nRCPT TO:<eve@evil.example"
	if err := send(t, s, m)[0]; tenantry.KindOf(err) != tenantry.Denied {
		t.Errorf("an address that is a command: %v", err)
	}
}
