package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// tokenPrefix lets secret scanners recognise a leaked token.
const tokenPrefix = "tenantry_"

// tokenMax bounds what is hashed for an unknown caller, in bytes.
const tokenMax = 256

// NewToken returns a fresh token to give to a caller, once, and the hash that
// catalog.Fleet.AddToken keeps.
func NewToken() (token tenantry.Secret, hash string) {
	text := tokenPrefix + randomText()
	return tenantry.NewSecret(text), HashToken(text)
}

// HashToken returns what the catalog keeps of a token: its SHA-256 in hex. A token
// has 256 random bits, so a slow hash would add nothing.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// randomText returns 32 random bytes in base64url.
func randomText() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(b)
}

const challenge = `Bearer realm="tenantry"`

// bearer returns who holds the token in an Authorization header.
func (s *service) bearer(ctx context.Context, header string) (caller, error) {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return caller{}, unauthorized()
	}
	return s.callerWith(ctx, strings.TrimSpace(token))
}

// tokenMemory is how long a token is believed without asking SQL: a revoked one may live
// as long in another process.
const tokenMemory = time.Second

// tokensMax bounds how many tokens are remembered.
const tokensMax = 10_000

// knownTokens remembers tokens for a moment, so that a caller who asks much costs one
// look-up a second. It is safe for concurrent use.
type knownTokens struct {
	mu sync.Mutex
	of map[string]knownToken
}

type knownToken struct {
	catalog.Token
	until time.Time
}

func (k *knownTokens) get(hash string, now time.Time, read func(hash string) (catalog.Token, error)) (catalog.Token, error) {
	k.mu.Lock()
	t, ok := k.of[hash]
	k.mu.Unlock()
	if ok && now.Before(t.until) && (t.ExpiresAt.IsZero() || now.Before(t.ExpiresAt)) {
		return t.Token, nil
	}
	fresh, err := read(hash)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		delete(k.of, hash)
		return fresh, err
	}
	if k.of == nil || len(k.of) >= tokensMax {
		k.of = map[string]knownToken{}
	}
	k.of[hash] = knownToken{fresh, now.Add(tokenMemory)}
	return fresh, nil
}

// forget makes this process ask for every token again.
func (k *knownTokens) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.of = nil
}

// callerWith looks a token up. Whatever is wrong with it, the answer is the same,
// except when the database cannot say.
func (s *service) callerWith(ctx context.Context, token string) (caller, error) {
	if s.SignIn != nil && looksSigned(token) {
		person, err := s.SignIn.Verify(ctx, token)
		if tenantry.KindOf(err) == tenantry.Unauthorized {
			err = unauthorized()
		}
		return callerIs(person), err
	}
	if token == "" || len(token) > tokenMax {
		return caller{}, unauthorized()
	}
	t, err := s.known.get(HashToken(token), s.Now(), func(hash string) (catalog.Token, error) {
		return s.Catalog.Fleet().Token(ctx, hash, s.Now())
	})
	switch tenantry.KindOf(err) {
	case "":
		return caller{name: t.Name, role: Role(t.Role), tenant: t.Tenant}, nil
	case tenantry.Unauthorized, tenantry.NotFound:
		return caller{}, unauthorized()
	default:
		return caller{}, err
	}
}

func unauthorized() error {
	return tenantry.Errorf(tenantry.Unauthorized, "send a valid token: Authorization: Bearer tenantry_...")
}

// sessionCookie carries a token for browsers, which cannot send a header when a
// person follows a link. It is sent under /queues only, by our own pages only, and
// is hidden from scripts. Revoking the token ends the session within tokenMemory.
const sessionCookie = "tenantry_session"

// sessionSeconds is how long a browser keeps the cookie: a working day.
const sessionSeconds = 10 * 60 * 60

func (s *service) session(value string, seconds int) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: value, Path: s.public.Path + "/queues", MaxAge: seconds,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: s.public.Scheme == "https",
	}
}
