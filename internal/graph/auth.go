package graph

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// tokenTimeout bounds one token request: x/oauth2 knows no other bound.
	tokenTimeout = 20 * time.Second
	// renewBefore is how long before its end a token is renewed, plus jitter.
	renewBefore = 5 * time.Minute
	renewJitter = time.Minute
	// renewPause is how long renewing waits after it failed in passing.
	renewPause = 15 * time.Second
	// assertionLife is how long a signed assertion is good for.
	assertionLife = 5 * time.Minute
	// refusalLife is how long a refusal is remembered: a thousand tasks of a
	// tenant without consent must not ask a thousand times (AADSTS50196 punishes
	// that), yet a repaired consent must work at once for people.
	refusalLife = 5 * time.Second
)

// tokens fetches and keeps the access tokens for one cloud, one per application
// and directory, in memory only. Safe for concurrent use; concurrent callers
// for one directory share one request.
type tokens struct {
	at     endpoints
	own    *Application
	apps   Applications // nil: every tenant is spoken to by own
	http   *http.Client
	flight singleflight.Group

	mu    sync.Mutex
	known map[string]token // by application and directory
}

// holder is whose token is wanted, and what for.
type holder struct {
	tenant    tenantry.TenantID
	directory string
	purpose   tenantry.Purpose
	app       *Application // nil: as the purpose says
}

// application returns the application of a holder and the key under which its token is known.
func (t *tokens) application(ctx context.Context, w holder) (*Application, string, error) {
	app := t.own
	if w.app != nil { // a proof that is only tried must not refuse the others their token
		return w.app, "given " + w.app.mark() + " " + w.directory, nil
	}
	if t.apps != nil {
		found, err := t.apps.Application(ctx, w.tenant, w.purpose)
		if err != nil {
			return nil, "", err
		}
		if found != nil {
			app = found
		}
	}
	if app == t.own {
		return app, w.directory, nil
	}
	if app.given() {
		return app, fmt.Sprintf("given for %s to %s %s", w.tenant, w.purpose, w.directory), nil
	}
	return app, app.ClientID + " " + w.directory, nil
}

// token is what is known of one directory: a token, or a fresh refusal.
type token struct {
	value   string
	renew   time.Time // from here on a new one is fetched
	expires time.Time
	refusal error
}

func newTokens(cfg Config, at endpoints, rt http.RoundTripper) (*tokens, error) {
	t := &tokens{
		at: at, apps: cfg.Applications,
		http:  &http.Client{Transport: rt, CheckRedirect: refuseRedirects, Timeout: tokenTimeout},
		known: map[string]token{},
	}
	proof := Proof{Secret: cfg.Secret, TokenFile: cfg.TokenFile}
	if cfg.Certificate != "" {
		pem, err := readCertificate(cfg.Certificate)
		if err != nil {
			return nil, err
		}
		proof.Certificate = tenantry.NewSecret(string(pem))
	}
	if proof == (Proof{}) {
		if t.apps != nil { // each tenant has to have its own
			t.own = &Application{ClientID: cfg.ClientID, Fleet: true}
			return t, nil
		}
		return nil, tenantry.Errorf(tenantry.Invalid, "client-secret: missing: give a secret, a certificate or a federated token file")
	}
	t.own = &Application{ClientID: cfg.ClientID, Proofs: []Proof{proof}, Fleet: true}
	return t, nil
}

// get returns a token of directory that is good for a while. When renewing a
// token that still works fails in passing, the old one is used on.
func (t *tokens) get(ctx context.Context, w holder) (string, error) {
	app, key, err := t.application(ctx, w)
	if err != nil {
		return "", err
	}
	k, ok := t.recall(key)
	if ok {
		return k.value, k.refusal
	}
	fresh, err := t.fetchAs(ctx, w, app, key, false)
	if err != nil && k.value != "" && time.Now().Before(k.expires) && !lasting(err) && ctx.Err() == nil {
		return k.value, nil
	}
	return fresh.value, err
}

// recall returns what is known under a key, and whether it will do.
func (t *tokens) recall(key string) (token, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.known[key]
	return k, time.Now().Before(k.renew)
}

// lasting reports whether a refusal stays until somebody repairs its cause.
func lasting(err error) bool {
	kind := tenantry.KindOf(err)
	return kind == tenantry.Reconnect || kind == tenantry.Shared
}

// drop forgets a token that Graph refused, unless it was replaced meanwhile.
func (t *tokens) drop(value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, k := range t.known {
		if k.value == value {
			delete(t.known, key)
			return
		}
	}
}

// fetch asks for a new token, together with whoever else asks for this
// directory now; anew says that one which just came will not do. The request
// outlives a caller that gives up, by tokenTimeout at most: the others still
// want it.
func (t *tokens) fetch(ctx context.Context, w holder, anew bool) (token, error) {
	app, key, err := t.application(ctx, w)
	if err != nil {
		return token{}, err
	}
	return t.fetchAs(ctx, w, app, key, anew)
}

func (t *tokens) fetchAs(ctx context.Context, w holder, app *Application, key string, anew bool) (token, error) {
	flight := key
	if anew {
		flight += " anew"
	}
	asked := t.flight.DoChan(flight, func() (any, error) {
		if k, ok := t.recall(key); ok && !anew {
			return k, k.refusal
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tokenTimeout)
		defer cancel()
		k, err := t.request(ctx, w, app)
		t.remember(key, k, err)
		return k, err
	})
	select {
	case r := <-asked:
		if r.Err != nil {
			return token{}, r.Err
		}
		return r.Val.(token), nil
	case <-ctx.Done():
		return token{}, unreached("wait for a token", ctx.Err())
	}
}

// remember keeps what came of a request: the token, for a short while a refusal
// that asking again would not change, or that renewing may wait a little. What
// has expired of other directories goes on the way.
func (t *tokens) remember(key string, k token, err error) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for d, old := range t.known {
		if old.expires.Before(now) {
			delete(t.known, d)
		}
	}
	old, ok := t.known[key]
	switch {
	case err == nil:
		t.known[key] = k
	case lasting(err):
		until := now.Add(refusalLife)
		t.known[key] = token{refusal: err, renew: until, expires: until}
	case ok:
		old.renew = now.Add(renewPause)
		t.known[key] = old
	}
}

// request sends client-credentials requests (Microsoft identity platform,
// "OAuth 2.0 client credentials flow").
func (t *tokens) request(ctx context.Context, w holder, app *Application) (token, error) {
	if w.directory == "" {
		return token{}, tenantry.Errorf(tenantry.Invalid, "get a token: the tenant's directory is not known: consent first")
	}
	return t.prove(ctx, w, app)
}

// newToken says when to renew: 5 to 6 minutes before the end, but not in the
// first half of a short life (a tenant's policy may set 10 minutes).
func newToken(value string, expires, now time.Time) token {
	if expires.IsZero() {
		expires = now.Add(10 * time.Minute) // no expires_in: the shortest life there is
	}
	early := renewBefore + time.Duration(rand.Int64N(int64(renewJitter)))
	if half := expires.Sub(now) / 2; early > half {
		early = half
	}
	return token{value: value, expires: expires, renew: expires.Add(-early)}
}

// signer signs client assertions with the application's certificate.
type signer struct {
	key        *rsa.PrivateKey
	thumbprint string
}

func newSigner(certificate []byte, key *rsa.PrivateKey) *signer {
	sum := sha256.Sum256(certificate)
	return &signer{key: key, thumbprint: base64.RawURLEncoding.EncodeToString(sum[:])}
}

// assertion returns the signed JWT that stands for a secret: PS256, certificate
// by x5t#S256 (Microsoft identity platform, "certificate credentials").
func (s *signer) assertion(clientID, audience string, now time.Time) (string, error) {
	claims := jwt.MapClaims{
		"aud": audience, "iss": clientID, "sub": clientID, "jti": uuid.NewString(),
		"nbf": now.Unix(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	}
	token := jwt.NewWithClaims(jwt.SigningMethodPS256, claims)
	token.Header["x5t#S256"] = s.thumbprint
	return token.SignedString(s.key)
}
