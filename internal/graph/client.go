package graph

import (
	"context"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// Limiter is the account book as this package needs it (*throttle.Book): asked
// once before every HTTP request, tokens apart, from any goroutine. An error comes
// with a kind; Throttled has its time.
type Limiter interface {
	Acquire(ctx context.Context, c throttle.Call) (*throttle.Permit, error)
}

// Config is one application in one cloud.
type Config struct {
	Cloud       string          // global (default), gcchigh, dod, china
	GraphURL    string          // instead of the cloud's Graph root; plain http on loopback only
	LoginURL    string          // instead of the cloud's login host; likewise
	ClientID    string          // Entra application ID
	Secret      tenantry.Secret // client secret
	Certificate string          // PEM file with certificate and RSA key, instead of Secret
	TokenFile   string          // file with a JWT of an issuer that the registration trusts, instead of both
	// Applications finds tenants' own applications; nil: none has one.
	Applications Applications
	UserAgent    string // default "ISV|Tenantry|Tenantry/<version>", as SharePoint asks ISVs to decorate traffic
}

// Client speaks to one cloud as one application. Safe for concurrent use; one
// per process is enough.
type Client struct {
	cfg     Config
	at      endpoints
	tokens  *tokens
	http    *http.Client
	limiter Limiter
	policy  policy
	build   builders
}

// New returns a client. It sends nothing yet. Errors are of kind Invalid and
// name the configuration key.
func New(cfg Config, limiter Limiter) (*Client, error) {
	at, err := resolve(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.ClientID == "" {
		return nil, tenantry.Errorf(tenantry.Invalid, "client-id: missing: the application ID of the Entra registration")
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "ISV|Tenantry|Tenantry/" + version()
	}
	client := &http.Client{Transport: transport(), CheckRedirect: refuseRedirects}
	tokens, err := newTokens(cfg, at, client.Transport)
	if err != nil {
		return nil, err
	}
	build, err := newBuilders(at)
	if err != nil {
		return nil, err
	}
	return &Client{cfg: cfg, at: at, tokens: tokens, http: client, limiter: limiter, policy: standardPolicy, build: build}, nil
}

// Close closes idle connections. Requests under way go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ConsentURL is where an administrator of directory (GUID, domain, or "common"
// while unknown) consents to the application. state comes back unchanged on
// redirect, which must be registered; nothing in that answer is signed, so it
// proves nothing until [Tenant.Grant] succeeds.
func (c *Client) ConsentURL(directory, state, redirect string) string {
	return c.at.consentURL(c.cfg.ClientID, directory, state, redirect)
}

// ConsentURL is [Client.ConsentURL] for a process without a credential (the
// api): only cloud, login URL and client ID of cfg count. Errors are Invalid.
func ConsentURL(cfg Config, directory, state, redirect string) (string, error) {
	at, err := resolve(cfg)
	if err != nil {
		return "", err
	}
	if cfg.ClientID == "" {
		return "", tenantry.Errorf(tenantry.Invalid, "client-id: missing: the application ID of the Entra registration")
	}
	return at.consentURL(cfg.ClientID, directory, state, redirect), nil
}

// Tenant returns the handle for a tenant. directory is its GUID or one of its
// domains; id is what the account book knows it by.
func (c *Client) Tenant(id tenantry.TenantID, directory string) *Tenant {
	return &Tenant{client: c, id: id, directory: directory, purpose: tenantry.ToBackup}
}

// Tenant speaks to one Microsoft tenant. Safe for concurrent use.
//
// Every method takes its cost from the account book before it asks, waits and
// repeats as the package comment draws it, and fails with the kinds of
// [tenantry.Kind]: Throttled with the time to come back, Transient, Reconnect,
// Denied, Absent, NotFound, Resync, Poison, Capacity, Conflict, Invalid, Shared,
// Canceled. The error's code is Graph's (or AADSTS…), its text carries status
// and request-id.
type Tenant struct {
	client    *Client
	id        tenantry.TenantID
	directory string
	reserve   bool
	purpose   tenantry.Purpose
	app       *Application            // nil: as the purpose says
	bearer    tenantry.Secret         // of a person who signed in, instead of an application's token
	sessions  tenantry.UploadSessions // nil: none is kept
}

// holder says whose token this handle's calls carry.
func (t *Tenant) holder() holder {
	return holder{tenant: t.id, directory: t.directory, purpose: t.purpose, app: t.app}
}

// As returns a handle that speaks as the application for a purpose; without it, as the one for backups. Its
// requests draw on the same accounts, whichever application it is.
func (t *Tenant) As(purpose tenantry.Purpose) *Tenant {
	r := *t
	r.purpose = purpose
	return &r
}

// Reserve returns a handle whose calls may draw on what the account book keeps
// back for restores.
func (t *Tenant) Reserve() *Tenant {
	r := *t
	r.reserve = true
	return &r
}

// transport keeps connections open for the parallel requests of a whole worker.
// (Go's default keeps two per host and dials anew for the rest.)
func transport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		MaxIdleConns:          512,
		MaxIdleConnsPerHost:   128,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}

// refuseRedirects hands 3xx to the caller: who follows one decides by itself
// which credentials go along.
func refuseRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// version is the module's version in released binaries, else "devel".
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return strings.TrimPrefix(info.Main.Version, "v")
}
