// Package signin owns signing in through an OpenID Connect provider: it believes ID tokens
// that the provider signed for us, and says from their claims which role somebody has in
// the fleet.
//
//	browser:  CodeURL -> the provider asks for the password -> Exchange
//	          (authorization code with PKCE; state is the caller's, nonce is in the token)
//	program:  gets an ID token by itself, for example by device code -> Verify
//
// It keeps the provider's description and keys in memory and nothing else. A provider that
// is away stops nobody who has signed in: its keys are known. Sources: OpenID Connect Core
// 1.0 and Discovery 1.0, RFC 7636 (PKCE).
package signin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/time/rate"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// requestTimeout bounds each request to the provider.
	requestTimeout = 10 * time.Second
	// retryAfter is how long a provider that did not answer is left alone.
	retryAfter = 5 * time.Second
	// requestRate and requestBurst bound requests to the provider: a token with an unknown
	// key makes us look for new ones, and anybody can send such tokens.
	requestRate, requestBurst = 1, 20
	// nameMax bounds a person's name, in bytes.
	nameMax = 200
)

// Config names the provider. Issuer, ClientID and Grants are required.
type Config struct {
	Issuer       string // as the provider's tokens say it: "https://login.example.com"
	ClientID     string // of this fleet at the provider; tokens must be for it
	ClientSecret tenantry.Secret
	// DeviceClientID is the fleet's name for programs, which cannot keep a secret; "" is ClientID.
	DeviceClientID string
	Claim          string  // which claim of a token says what somebody may; "" is "roles"
	Grants         []Grant // what its values mean
	Now            func() time.Time
}

// Grant gives a role to everybody whose claim has a value.
type Grant struct {
	Value  string
	Role   string
	Tenant tenantry.TenantID // the only tenant the role is good for; "" is the whole fleet
}

// ParseGrants reads "VALUE=ROLE" or "VALUE=ROLE@TENANT", separated by commas. Where several
// values are somebody's, the first grant counts. Errors: Invalid.
func ParseGrants(text string) ([]Grant, error) {
	var list []Grant
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		value, role, ok := strings.Cut(part, "=")
		role, tenant, confined := strings.Cut(role, "@")
		g := Grant{strings.TrimSpace(value), strings.TrimSpace(role), tenantry.TenantID(strings.TrimSpace(tenant))}
		if !ok || g.Value == "" || g.Role == "" || confined && g.Tenant == "" {
			return nil, tenantry.Errorf(tenantry.Invalid, "%q is not VALUE=ROLE or VALUE=ROLE@TENANT", part)
		}
		list = append(list, g)
	}
	return list, nil
}

// Person is who signed in.
type Person struct {
	// Name is unique among the provider's people: what they call themselves, and their
	// subject, which never changes.
	Name    string
	Role    string
	Tenant  tenantry.TenantID
	Expires time.Time // of the token
}

// Provider verifies tokens. It is safe for concurrent use.
type Provider struct {
	cfg    Config
	client *http.Client

	mu      sync.Mutex
	known   *discovered // nil until the provider has answered
	failure error
	until   time.Time // of failure
}

// discovered is what the provider says of itself.
type discovered struct {
	endpoint oauth2.Endpoint
	verifier *oidc.IDTokenVerifier
}

// New returns a provider without asking it for anything. Errors: Invalid, naming the field.
func New(cfg Config) (*Provider, error) {
	u, err := url.Parse(cfg.Issuer)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && !loopback(u):
		return nil, tenantry.Errorf(tenantry.Invalid, "oidc-issuer is %q; it may be an https URL, or an http one on loopback", cfg.Issuer)
	case cfg.ClientID == "":
		return nil, tenantry.Errorf(tenantry.Invalid, "oidc-client-id is empty: the provider shows it where this fleet is registered")
	case len(cfg.Grants) == 0:
		return nil, tenantry.Errorf(tenantry.Invalid, "oidc-grants is empty: nobody could sign in")
	}
	if cfg.DeviceClientID == "" {
		cfg.DeviceClientID = cfg.ClientID
	}
	if cfg.Claim == "" {
		cfg.Claim = "roles"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	bounded := &boundedTransport{limiter: rate.NewLimiter(requestRate, requestBurst), next: http.DefaultTransport}
	return &Provider{cfg: cfg, client: &http.Client{Timeout: requestTimeout, Transport: bounded}}, nil
}

func loopback(u *url.URL) bool {
	host := u.Hostname()
	return u.Scheme == "http" && (host == "127.0.0.1" || host == "::1" || host == "localhost")
}

// Issuer and DeviceClientID are what a program needs to get a token by itself.
func (p *Provider) Issuer() string { return p.cfg.Issuer }

// DeviceClientID is the fleet's name at the provider for programs; it is no secret.
func (p *Provider) DeviceClientID() string { return p.cfg.DeviceClientID }

// Grants are what values of the claim mean.
func (p *Provider) Grants() []Grant { return p.cfg.Grants }

// Verify returns who a token was signed for. Errors: Unauthorized when it is not the
// provider's, not for us, not valid now; Forbidden when it gives no role; Transient when
// the provider has to be asked and does not answer.
func (p *Provider) Verify(ctx context.Context, token string) (Person, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return Person{}, err
	}
	id, err := verify(ctx, found.verifier, token, p.cfg.ClientID, p.cfg.DeviceClientID)
	if err != nil {
		return Person{}, err
	}
	return p.person(id)
}

// CodeURL returns where a browser goes to sign in. It comes back to redirect with state and
// a code. Errors: Transient.
func (p *Provider) CodeURL(ctx context.Context, redirect, state, nonce, verifier string) (string, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return "", err
	}
	return p.oauth(found, redirect).AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), nil
}

// Exchange returns who came back with a code. Errors: as Verify has them.
func (p *Provider) Exchange(ctx context.Context, redirect, code, nonce, verifier string) (Person, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return Person{}, err
	}
	token, err := p.oauth(found, redirect).Exchange(oidc.ClientContext(ctx, p.client), code, oauth2.VerifierOption(verifier))
	if err != nil {
		return Person{}, refusedOrAway("sign in: exchange the code", err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := verify(ctx, found.verifier, raw, p.cfg.ClientID)
	if err != nil {
		return Person{}, err
	}
	if id.Nonce != nonce {
		return Person{}, tenantry.Errorf(tenantry.Unauthorized, "sign in: the token was made for another sign-in")
	}
	return p.person(id)
}

// refusedOrAway tells a provider that said no from one that did not answer.
func refusedOrAway(action string, err error) error {
	kind := tenantry.Transient
	if refused := (*oauth2.RetrieveError)(nil); errors.As(err, &refused) && refused.Response.StatusCode < 500 {
		kind = tenantry.Unauthorized
	}
	return tenantry.E(kind, action, err)
}

func (p *Provider) oauth(found *discovered, redirect string) *oauth2.Config {
	return &oauth2.Config{ClientID: p.cfg.ClientID, ClientSecret: p.cfg.ClientSecret.Reveal(), Endpoint: found.endpoint,
		RedirectURL: redirect, Scopes: []string{oidc.ScopeOpenID, "profile", "email"}}
}

// discover asks the provider for its endpoints, once.
func (p *Provider) discover(ctx context.Context) (*discovered, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.known != nil:
		return p.known, nil
	case p.cfg.Now().Before(p.until):
		return nil, p.failure
	}
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.cfg.Issuer)
	if err != nil {
		p.failure = tenantry.E(tenantry.Transient, "ask "+p.cfg.Issuer+" how to sign in", err)
		if ctx.Err() == nil {
			p.until = p.cfg.Now().Add(retryAfter)
		}
		return nil, p.failure
	}
	var claims struct {
		Keys       string   `json:"jwks_uri"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := provider.Claims(&claims); err != nil {
		return nil, tenantry.E(tenantry.Transient, "read what "+p.cfg.Issuer+" says of itself", err)
	}
	keys := tellingKeys{oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), p.client), claims.Keys)}
	p.known = &discovered{provider.Endpoint(), oidc.NewVerifier(p.cfg.Issuer, keys,
		&oidc.Config{SkipClientIDCheck: true, SupportedSigningAlgs: signing(claims.Algorithms), Now: p.cfg.Now})}
	return p.known, nil
}

// signing leaves out what is no signature of the provider's own: "none" and shared secrets.
func signing(algorithms []string) (list []string) {
	for _, a := range algorithms {
		if a != "none" && !strings.HasPrefix(a, "HS") {
			list = append(list, a)
		}
	}
	return list
}

// person reads who a verified token is about.
func (p *Provider) person(id *oidc.IDToken) (Person, error) {
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return Person{}, tenantry.E(tenantry.Unauthorized, "sign in: read the token", err)
	}
	who := Person{Name: nameOf(claims, id.Subject), Expires: id.Expiry}
	held := map[string]bool{}
	switch v := claims[p.cfg.Claim].(type) {
	case string:
		held[v] = true
	case []any:
		for _, one := range v {
			if text, ok := one.(string); ok {
				held[text] = true
			}
		}
	}
	for _, g := range p.cfg.Grants {
		if held[g.Value] {
			who.Role, who.Tenant = g.Role, g.Tenant
			return who, nil
		}
	}
	return Person{}, tenantry.Errorf(tenantry.Forbidden, "sign in: nothing in the claim %q of %s gives a role", p.cfg.Claim, who.Name)
}

// nameOf says what somebody is called, and their subject behind it: the first can be
// changed by them, the second cannot.
func nameOf(claims map[string]any, subject string) string {
	for _, claim := range []string{"preferred_username", "email"} {
		name, _ := claims[claim].(string)
		if name != "" && len(name)+len(subject) < nameMax && !strings.ContainsFunc(name, awkward) {
			return name + "/" + subject
		}
	}
	return "oidc/" + subject[:min(len(subject), nameMax)]
}

func awkward(r rune) bool { return r == '/' || unicode.IsSpace(r) || !unicode.IsPrint(r) }

type failureKey struct{}

// verify tells a token that is wrong, or for none of the clients, from a provider that is
// away.
func verify(ctx context.Context, v *oidc.IDTokenVerifier, token string, clients ...string) (*oidc.IDToken, error) {
	var away error
	id, err := v.Verify(context.WithValue(ctx, failureKey{}, &away), token)
	switch {
	case err == nil && slices.ContainsFunc(clients, func(c string) bool { return slices.Contains(id.Audience, c) }):
		return id, nil
	case err == nil:
		return nil, tenantry.Errorf(tenantry.Unauthorized, "sign in: the token is for %v", id.Audience)
	case away != nil:
		return nil, tenantry.E(tenantry.Transient, "sign in: ask the provider for its keys", away)
	}
	return nil, tenantry.E(tenantry.Unauthorized, "sign in: verify the token", err)
}

// tellingKeys says apart, in the context, that keys could not be fetched: the verifier makes
// one text of all errors.
type tellingKeys struct{ oidc.KeySet }

// VerifySignature implements oidc.KeySet.
func (k tellingKeys) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.KeySet.VerifySignature(ctx, jwt)
	if at, ok := ctx.Value(failureKey{}).(*error); ok && err != nil {
		if unanswered := (*url.Error)(nil); errors.As(err, &unanswered) {
			*at = err
		}
	}
	return payload, err
}

// boundedTransport sends so many requests and refuses the others.
type boundedTransport struct {
	limiter *rate.Limiter
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !t.limiter.Allow() {
		return nil, errors.New("too many requests to the sign-in provider: wait")
	}
	return t.next.RoundTrip(r)
}
