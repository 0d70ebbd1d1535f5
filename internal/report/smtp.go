package report

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// TLSMode says how the connection to the mail server is encrypted.
type TLSMode string

// talkTime bounds one exchange with the server; the call's context bounds all of them.
const talkTime = time.Minute

// The modes.
const (
	StartTLS TLSMode = "starttls" // begins in the clear and must become TLS before anything else is said
	Implicit TLSMode = "implicit" // TLS from the first byte (port 465)
	Clear    TLSMode = "none"     // for a relay on this host: without sign-in, to loopback alone
)

// SMTPOptions name a mail server and who sends.
type SMTPOptions struct {
	Addr     string // HOST:PORT
	TLS      TLSMode
	Roots    *x509.CertPool // nil: those of the system
	User     string         // empty: no sign-in
	Password tenantry.Secret
	From     string // bare address of the sender
	Name     string // shown beside it
}

// SMTP sends mails over SMTP (RFC 5321). It holds no connection between calls.
type SMTP struct {
	options    SMTPOptions
	host, port string
}

// NewSMTP returns a sender; it connects when it sends. Invalid names the option.
func NewSMTP(o SMTPOptions) (*SMTP, error) {
	host, port, err := net.SplitHostPort(o.Addr)
	if n, bad := strconv.Atoi(port); err != nil || host == "" || bad != nil || n < 1 || n > 65535 {
		return nil, tenantry.Errorf(tenantry.Invalid, "smtp: the address %q is not HOST:PORT", o.Addr)
	}
	if err := tenantry.ParseAddress(o.From); err != nil {
		return nil, tenantry.Errorf(tenantry.Invalid, "smtp: the sender %q is no mail address", o.From)
	}
	switch o.TLS {
	case StartTLS, Implicit:
	case Clear:
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) || o.User != "" {
			return nil, tenantry.Errorf(tenantry.Invalid, "smtp: without TLS mails go to a relay on this host alone, without sign-in")
		}
	default:
		return nil, tenantry.Errorf(tenantry.Invalid, "smtp: TLS is %q; it may be starttls, implicit or none", o.TLS)
	}
	if (o.User == "") != o.Password.IsZero() {
		return nil, tenantry.Errorf(tenantry.Invalid, "smtp: user and password belong together")
	}
	return &SMTP{options: o, host: host, port: port}, nil
}

// Send implements Sender: all mails over one connection, each to its own address alone.
func (s *SMTP) Send(ctx context.Context, mails []catalog.Mail) []error {
	results := make([]error, len(mails))
	all := func(err error) []error {
		for i := range results {
			results[i] = err
		}
		return results
	}
	dial := dialer{mode: s.options.TLS, config: s.tlsConfig()}
	dial.until, _ = ctx.Deadline()
	client, err := s.client(&dial)
	if err != nil {
		return all(tenantry.E(tenantry.Shared, "prepare for the mail server", err))
	}
	defer dial.close()
	stop := context.AfterFunc(ctx, dial.close)
	defer stop()
	if err := client.DialWithContext(ctx); err != nil {
		return all(tenantry.E(tenantry.Shared, "reach the mail server "+s.options.Addr, cause(ctx, err)))
	}
	for i, m := range mails {
		results[i] = s.one(ctx, client, m)
	}
	_ = client.Close() // what was taken was taken
	return results
}

func (s *SMTP) client(dial *dialer) (*mail.Client, error) {
	port, _ := strconv.Atoi(s.port)
	// With implicit TLS the dialer's connection is encrypted already, and such servers offer no STARTTLS.
	policy := map[TLSMode]mail.TLSPolicy{StartTLS: mail.TLSMandatory, Implicit: mail.TLSOpportunistic, Clear: mail.NoTLS}[s.options.TLS]
	options := []mail.Option{
		mail.WithPort(port), mail.WithTLSPolicy(policy), mail.WithTLSConfig(s.tlsConfig()), mail.WithDialContextFunc(dial.dial),
		mail.WithTimeout(talkTime), mail.WithoutNoop(),
	}
	if s.options.User != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.options.User), mail.WithPassword(s.options.Password.Reveal()))
	}
	return mail.NewClient(s.host, options...)
}

func (s *SMTP) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: s.host, RootCAs: s.options.Roots, MinVersion: tls.VersionTLS12}
}

// one sends one mail.
func (s *SMTP) one(ctx context.Context, client *mail.Client, m catalog.Mail) error {
	msg, err := s.message(m)
	if err != nil {
		return tenantry.E(tenantry.Denied, "write the mail", err)
	}
	err = client.Send(msg)
	if err == nil || msg.IsDelivered() { // what comes after the server's yes takes nothing back
		return nil
	}
	return judgeReply(cause(ctx, err))
}

// judgeReply says what a failed attempt means, by the reply codes of RFC 5321 (4.2.1): 4xx is for now, 5xx for good.
// A refused sender and a service that closes (421) concern every mail.
func judgeReply(err error) error {
	const op = "send the mail"
	var refused *mail.SendError
	if !errors.As(err, &refused) {
		return tenantry.E(tenantry.Transient, op, err)
	}
	switch code := refused.ErrorCode(); {
	case code == 421, code == 530, code == 535, code >= 500 && refused.Reason == mail.ErrSMTPMailFrom:
		return tenantry.E(tenantry.Shared, op, err)
	case code >= 500:
		return tenantry.E(tenantry.Denied, op, err)
	}
	return tenantry.E(tenantry.Transient, op, err)
}

// cause is what ended a call: the end of its context, where that is it.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

// message makes the mail. Its Message-ID follows from what it tells whom, so that one that is sent twice is known
// to be the same.
func (s *SMTP) message(m catalog.Mail) (*mail.Msg, error) {
	if err := tenantry.ParseAddress(m.To); err != nil {
		return nil, err
	}
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := msg.FromFormat(clean(s.options.Name, 60), s.options.From); err != nil {
		return nil, err
	}
	if err := msg.To(m.To); err != nil {
		return nil, err
	}
	_, domain, _ := strings.Cut(s.options.From, "@")
	sum := sha256.Sum256([]byte(m.Key))
	msg.SetMessageIDWithValue(hex.EncodeToString(sum[:16]) + "@" + domain)
	msg.Subject(clean(m.Subject, subjectRunes))
	msg.SetDateWithValue(m.CreatedAt)
	msg.SetGenHeader("Auto-Submitted", "auto-generated")     // RFC 3834: no automatic answers, please
	msg.SetGenHeader("X-Auto-Response-Suppress", "All")      // the same for Exchange
	msg.SetGenHeader("X-Tenantry-Event", clean(m.Event, 40)) // for rules of the recipient
	msg.SetBodyString(mail.TypeTextPlain, m.Plain)
	msg.AddAlternativeString(mail.TypeTextHTML, m.HTML)
	return msg, nil
}

// dialer connects, bounds everything on the connection by the context's deadline, and closes it: the library
// leaves one open whose greeting fails.
type dialer struct {
	mode   TLSMode
	config *tls.Config
	until  time.Time // zero: as long as the library likes

	mu    sync.Mutex
	conns []net.Conn
}

// close closes what was opened.
func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, conn := range d.conns {
		_ = conn.Close() // once more is an error that says nothing
	}
	d.conns = nil
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	b := &bounded{Conn: conn, until: d.until}
	first, _ := ctx.Deadline()
	if err := b.SetDeadline(first); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	d.mu.Lock()
	d.conns = append(d.conns, conn)
	d.mu.Unlock()
	if d.mode != Implicit {
		return b, nil
	}
	secure := tls.Client(b, d.config)
	return secure, secure.HandshakeContext(ctx)
}

// bounded is a connection whose deadline never moves beyond until.
type bounded struct {
	net.Conn
	until time.Time
}

// SetDeadline implements net.Conn.
func (b *bounded) SetDeadline(t time.Time) error {
	if !b.until.IsZero() && (t.IsZero() || t.After(b.until)) {
		t = b.until
	}
	return b.Conn.SetDeadline(t)
}
