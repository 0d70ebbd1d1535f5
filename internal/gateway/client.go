package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Client is the worker's side of the door. Safe for concurrent use.
type Client struct {
	file string // of the identity
	base *url.URL
	tls  *tls.Config // nil: the API is spoken to in the clear
	http *http.Client

	mu sync.Mutex
	id Identity
}

// newClient speaks for an identity.
func newClient(id Identity, file string) (*Client, error) {
	base, err := url.Parse(id.URL)
	if err != nil || base.Host == "" || (base.Scheme != "https" && base.Scheme != "http") {
		return nil, tenantry.Errorf(tenantry.Invalid, "url: %q is not an absolute https URL", id.URL)
	}
	if base.Scheme == "http" && !loopback(base.Hostname()) {
		return nil, tenantry.Errorf(tenantry.Invalid, "url: %q is not https: what goes through must not be read on its way", id.URL)
	}
	c := &Client{file: file, base: base, id: id}
	if base.Scheme == "https" {
		c.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: base.Hostname()}
		if id.CA != "" {
			c.tls.RootCAs = x509.NewCertPool()
			if !c.tls.RootCAs.AppendCertsFromPEM([]byte(id.CA)) {
				return nil, tenantry.Errorf(tenantry.Invalid, "ca: it holds no certificate in PEM")
			}
		}
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: c.tls, MaxIdleConnsPerHost: 32, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: dialTime, ResponseHeaderTimeout: objectTime, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the credential goes to the API alone
	}
	return c, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// Open begins a session of the worker whose identity a file holds. A secret that grew old is replaced before. Unauthorized: the
// worker was revoked. Shared: the API cannot be reached.
func Open(ctx context.Context, file, version string) (*Client, Session, error) {
	var session Session
	id, err := LoadIdentity(file)
	if err != nil {
		return nil, session, err
	}
	if id.Worker == "" {
		return nil, session, tenantry.Errorf(tenantry.Invalid, "the identity %s is pending: run `worker enrol` again, with the same token", file)
	}
	c, err := newClient(id, file)
	if err != nil {
		return nil, session, err
	}
	if err := c.settle(ctx); err != nil {
		return nil, session, err
	}
	if err := c.call(ctx, "session", sessionRequest{Version: version}, &session); err != nil {
		return nil, session, err
	}
	return c, session, nil
}

// settle finds out which of two secrets is good, after a rotation that was interrupted.
func (c *Client) settle(ctx context.Context) error {
	c.mu.Lock()
	next := c.id.Next
	c.mu.Unlock()
	if next == "" {
		return nil
	}
	err := c.callAs(ctx, next, "confirm", struct{}{}, nil)
	switch {
	case err == nil:
		return c.adopt(next)
	case tenantry.KindOf(err) == tenantry.Unauthorized:
		return nil // it was never offered: the other one is good, and Rotate offers it again
	}
	return err
}

// adopt makes the next secret the only one.
func (c *Client) adopt(next string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id.Secret, c.id.Next = next, ""
	return c.id.save(c.file)
}

// Rotate replaces the worker's secret: the next one is written down, offered, and used.
func (c *Client) Rotate(ctx context.Context) error {
	c.mu.Lock()
	if c.id.Next == "" {
		c.id.Next = freshSecret()
	}
	id := c.id
	err := id.save(c.file)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err := c.call(ctx, "rotate", rotateRequest{Hash: hashOf(id.Next)}, nil); err != nil {
		return err
	}
	if err := c.callAs(ctx, id.Next, "confirm", struct{}{}, nil); err != nil {
		return err
	}
	return c.adopt(id.Next)
}

// rotateTry is how soon a rotation that failed is tried again.
const rotateTry = time.Hour

// KeepRotating replaces the worker's secret whenever it grew old, until ctx ends.
func (c *Client) KeepRotating(ctx context.Context, s Session, log *zap.Logger) {
	timer := time.NewTimer(max(0, time.Until(time.Unix(s.Rotated, 0).Add(time.Duration(s.Lifetime)*time.Second))))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		call, cancel := context.WithTimeout(ctx, shortTime)
		err := c.Rotate(call)
		cancel()
		if err != nil && ctx.Err() == nil {
			log.Warn("cannot replace the worker's secret; trying again in an hour", zap.Error(err))
			timer.Reset(rotateTry)
			continue
		}
		log.Info("replaced the worker's secret")
		timer.Reset(time.Duration(s.Lifetime) * time.Second)
	}
}

// Worker is the worker's ID, Pool its pool.
func (c *Client) Worker() string { return c.id.Worker }

// Close closes idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

func (c *Client) secret() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id.Secret
}

func (c *Client) address(name string, query url.Values) string {
	u := c.base.JoinPath(Path, name)
	u.RawQuery = query.Encode()
	return u.String()
}

// request is one to the door, under the worker's credential.
func (c *Client) request(ctx context.Context, secret, method, name string, query url.Values, body io.Reader) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.address(name, query), body)
	if err != nil {
		return nil, tenantry.E(tenantry.Internal, "ask the API", err)
	}
	if c.id.Worker != "" {
		r.Header.Set("Authorization", "Bearer "+c.id.Worker+"."+secret)
	}
	return r, nil
}

// do sends a request. An answer that is not good is an error of the kind that the server told.
func (c *Client) do(r *http.Request) (*http.Response, error) {
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, unreachable(r.Context(), err)
	}
	if answer.StatusCode < 300 {
		return answer, nil
	}
	defer answer.Body.Close()
	return nil, refusal(answer)
}

// unreachable is an error of the way to the API. What urls hold of it is left out.
func unreachable(ctx context.Context, err error) error {
	const op = "ask the API"
	if cause := ctx.Err(); cause != nil {
		return tenantry.E(tenantry.KindOf(cause), op, cause)
	}
	var told *url.Error
	if errors.As(err, &told) {
		err = told.Err
	}
	e := tenantry.E(tenantry.Shared, op, err)
	e.Code = "api"
	return e
}

func refusal(answer *http.Response) error {
	var f failure
	text, _ := io.ReadAll(io.LimitReader(answer.Body, smallBody)) // what cannot be read tells nothing
	if json.Unmarshal(text, &f) != nil || f.Kind == "" {
		f = failure{Kind: string(tenantry.Transient), Detail: "the API answered " + answer.Status}
		if answer.StatusCode == http.StatusPreconditionFailed {
			return errExists
		}
	}
	return f.err()
}

// err is a failure as its kind of error.
func (f failure) err() error {
	kind := tenantry.Kind(f.Kind)
	if f.Status == http.StatusTooManyRequests {
		kind = tenantry.Transient
	}
	e := tenantry.E(kind, "ask the API", errors.New(f.Detail))
	e.Code = f.Code
	return e
}

// call posts in and reads out, which may be nil.
func (c *Client) call(ctx context.Context, name string, in, out any) error {
	return c.callAs(ctx, c.secret(), name, in, out)
}

func (c *Client) callAs(ctx context.Context, secret, name string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, shortTime)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return tenantry.E(tenantry.Internal, "ask the API", err)
	}
	r, err := c.request(ctx, secret, http.MethodPost, name, nil, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 4<<20)).Decode(out); err != nil {
		return tenantry.E(tenantry.Transient, "read the API's answer", err)
	}
	return nil
}

// DialCatalog and DialRedis open connections to the servers behind the door; network and address are the door's affair.
func (c *Client) DialCatalog(ctx context.Context, _, _ string) (net.Conn, error) {
	return c.tunnel(ctx, "catalog")
}

// DialRedis is like DialCatalog.
func (c *Client) DialRedis(ctx context.Context, _, _ string) (net.Conn, error) {
	return c.tunnel(ctx, "redis")
}

// tunnel asks for an upgrade, and is left with the connection, through whatever proxy it goes.
func (c *Client) tunnel(ctx context.Context, name string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTime)
	defer cancel()
	var conn net.Conn
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { conn = info.Conn }})
	r, err := c.request(ctx, c.secret(), http.MethodGet, name, nil, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", upgradeTo)
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		defer answer.Body.Close()
		return nil, refusal(answer)
	}
	body, ok := answer.Body.(io.ReadWriteCloser)
	if !ok || conn == nil {
		_ = answer.Body.Close()
		return nil, tenantry.Errorf(tenantry.Internal, "open a tunnel: the connection cannot be written to")
	}
	return &tunnelConn{Conn: conn, body: body}, nil
}

// tunnelConn reads and writes by the body of the upgrade, which may have read ahead, and is a connection otherwise.
type tunnelConn struct {
	net.Conn
	body io.ReadWriteCloser
}

func (t *tunnelConn) Read(p []byte) (int, error)  { return t.body.Read(p) }
func (t *tunnelConn) Write(p []byte) (int, error) { return t.body.Write(p) }
func (t *tunnelConn) Close() error                { return t.body.Close() }
