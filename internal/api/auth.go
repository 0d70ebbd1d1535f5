package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

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

type actorKey struct{}

// actorOf names the token that the request came with.
func actorOf(ctx context.Context) string {
	actor, _ := ctx.Value(actorKey{}).(string)
	return actor
}

// authenticate is huma's middleware in front of every operation.
func (s *service) authenticate(ctx huma.Context, next func(huma.Context)) {
	actor, err := s.bearer(ctx.Context(), ctx.Header("Authorization"))
	if err != nil {
		p := s.problem(ctx.Operation().OperationID, err)
		ctx.SetHeader("Content-Type", p.ContentType(""))
		for name, values := range p.GetHeaders() {
			ctx.SetHeader(name, values[0])
		}
		if p.Kind == tenantry.Unauthorized {
			ctx.SetHeader("WWW-Authenticate", challenge)
		}
		ctx.SetStatus(p.Status)
		_ = s.api.Marshal(ctx.BodyWriter(), "application/json", p) // the caller is gone: nobody to tell
		return
	}
	next(huma.WithValue(ctx, actorKey{}, actor))
}

const challenge = `Bearer realm="tenantry"`

// bearer returns the name of the token in an Authorization header.
func (s *service) bearer(ctx context.Context, header string) (string, error) {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", unauthorized()
	}
	return s.tokenName(ctx, strings.TrimSpace(token))
}

// tokenName looks a token up. Whatever is wrong with it, the answer is the same,
// except when the database cannot say.
func (s *service) tokenName(ctx context.Context, token string) (string, error) {
	if token == "" || len(token) > tokenMax {
		return "", unauthorized()
	}
	name, err := s.Catalog.Fleet().TokenName(ctx, HashToken(token))
	switch tenantry.KindOf(err) {
	case "":
		return name, nil
	case tenantry.Unauthorized, tenantry.NotFound:
		return "", unauthorized()
	default:
		return "", err
	}
}

func unauthorized() error {
	return tenantry.Errorf(tenantry.Unauthorized, "send a valid token: Authorization: Bearer tenantry_...")
}

// sessionCookie carries a token for browsers, which cannot send a header when a
// person follows a link. It is sent under /queues only, by our own pages only, and
// is hidden from scripts. Deleting the token ends the session at once.
const sessionCookie = "tenantry_session"

// sessionSeconds is how long a browser keeps the cookie: a working day.
const sessionSeconds = 10 * 60 * 60

func (s *service) session(value string, seconds int) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: value, Path: s.public.Path + "/queues", MaxAge: seconds,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: s.public.Scheme == "https",
	}
}

// operatorOf authenticates a request for /queues by header or cookie.
func (s *service) operatorOf(r *http.Request) (string, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		return s.bearer(r.Context(), header)
	}
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return "", unauthorized()
	}
	return s.tokenName(r.Context(), cookie.Value)
}
