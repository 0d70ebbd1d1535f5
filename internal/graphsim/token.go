package graphsim

import (
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// accessClaims is what an access token says.
type accessClaims struct {
	jwt.RegisteredClaims
	TenantID string   `json:"tid"`
	AppID    string   `json:"appid"`
	Roles    []string `json:"roles,omitempty"`
	Scopes   string   `json:"scp,omitempty"` // of a signed-in user
	User     string   `json:"upn,omitempty"`
	Version  string   `json:"ver"`
	// Capabilities are those that the client declared (cp1).
	Capabilities []string `json:"xms_cc,omitempty"`
	// Serial rises when a tenant's tokens are refused as a whole, Challenge when a
	// continuous access evaluation event ends those of clients that declared cp1.
	Serial    int `json:"sim_serial,omitempty"`
	Challenge int `json:"sim_challenge,omitempty"`
}

// tokenCache remembers checked tokens, so that a signature is verified once and
// not per request. It is emptied when it grows past its bound.
type tokenCache struct {
	mu   sync.Mutex
	seen map[string]*accessClaims
}

const tokenCacheBound = 20_000

func (c *tokenCache) get(token string) *accessClaims {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[token]
}

func (c *tokenCache) put(token string, claims *accessClaims) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil || len(c.seen) >= tokenCacheBound {
		c.seen = map[string]*accessClaims{}
	}
	c.seen[token] = claims
}

// newToken makes a token for a client in a tenant, without roles.
func (s *Server) newToken(t *Tenant, client *oauthClient, audience, host string, wish claimsWish) *accessClaims {
	now := time.Now()
	serial, challenge := t.serials()
	claims := &accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			ID: newID(), Issuer: host + "/" + t.id + "/", Audience: jwt.ClaimStrings{audience},
			Subject: client.principal, IssuedAt: jwt.NewNumericDate(now),
			NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(s.tokenLife(wish.cp1()))),
		},
		TenantID: t.id, AppID: client.id, Version: "1.0", Serial: serial,
	}
	if wish.cp1() {
		claims.Capabilities = []string{"cp1"}
		// Only a request that answers the challenge gets past it.
		if claims.Challenge = challenge; challenge > 0 && len(wish.AccessToken.NotBefore) == 0 {
			claims.Challenge--
		}
	}
	return claims
}

// leastTokenLife is what a faster clock leaves of an access token: clients renew some seconds
// before the end.
const leastTokenLife = time.Minute

// tokenLife is 60 to 90 minutes at random, 28 hours for a client that can be challenged
// ("Configurable token lifetimes"), of simulated time; or what Options.TokenLife says.
func (s *Server) tokenLife(cp1 bool) time.Duration {
	if s.o.TokenLife > 0 {
		return s.o.TokenLife
	}
	life := time.Hour + rand.N(30*time.Minute)
	if cp1 {
		life = 28 * time.Hour
	}
	return max(s.realWait(life), leastTokenLife)
}

// signedAnswer is the answer of the token endpoint with a token.
func (s *Server) signedAnswer(claims *accessClaims) (map[string]any, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = s.keyID
	signed, err := token.SignedString(s.tokenKey)
	if err != nil {
		return nil, err
	}
	life := int(time.Until(claims.ExpiresAt.Time).Round(time.Second) / time.Second)
	answer := map[string]any{"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": signed}
	if len(claims.Capabilities) > 0 && s.o.TokenLife == 0 {
		answer["refresh_in"] = life / 2
	}
	return answer, nil
}

// authenticate returns the tenant a Graph request speaks for, and its claims.
func (s *Server) authenticate(r *http.Request) (*Tenant, *accessClaims, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return nil, nil, s.o.Cloud.unauthenticated("Access token is empty.")
	}
	claims := s.tokens.get(token)
	if claims == nil {
		claims = &accessClaims{}
		_, err := jwt.ParseWithClaims(token, claims, s.verificationKey,
			jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired())
		if err != nil {
			return nil, nil, s.o.Cloud.unauthenticated("Access token validation failure: %v", err)
		}
		s.tokens.put(token, claims)
	}
	if time.Now().After(claims.ExpiresAt.Time) {
		return nil, nil, s.o.Cloud.unauthenticated("Lifetime validation failed, the token is expired.")
	}
	if !slices.ContainsFunc(claims.Audience, func(a string) bool { return s.isGraph(a, r) }) {
		return nil, nil, s.o.Cloud.unauthenticated("Access token validation failure. Invalid audience.")
	}
	t := s.Tenant(claims.TenantID)
	if t == nil {
		return nil, nil, s.o.Cloud.unauthenticated("Access token is of an unknown tenant.")
	}
	serial, challenge := t.serials()
	switch {
	case len(claims.Capabilities) > 0 && (claims.Serial < serial || claims.Challenge < challenge):
		return nil, nil, s.o.Cloud.claimsChallenge()
	case claims.Serial < serial:
		return nil, nil, s.o.Cloud.unauthenticated("Access token has been revoked.")
	}
	return t, claims, nil
}

// verificationKey is the public key of a token that this server signed.
func (s *Server) verificationKey(token *jwt.Token) (any, error) {
	if token.Header["kid"] != s.keyID {
		return nil, errors.New("signed with an unknown key")
	}
	return &s.tokenKey.PublicKey, nil
}

// permissions are what a token opens: the application's roles, or a signed-in user's scopes.
func (c *accessClaims) permissions() []string {
	if c.Scopes != "" {
		return strings.Fields(c.Scopes)
	}
	return c.Roles
}

// isGraph reports whether an audience or resource is Graph: under the name that it has in
// this cloud or under the address the simulator is reached by.
func (s *Server) isGraph(resource string, r *http.Request) bool {
	return resource == s.o.Cloud.hosts().root() || resource == origin(r) || resource == graphAppID
}

func (c Cloud) unauthenticated(format string, args ...any) *apiError {
	return fail(http.StatusUnauthorized, "InvalidAuthenticationToken", format, args...).
		with("WWW-Authenticate", `Bearer realm="", `+c.hosts().authorizeURI())
}

// claimsChallenge asks a client that declared cp1 for a new token ("Claims challenges,
// claims requests, and client capabilities").
func (c Cloud) claimsChallenge() *apiError {
	claims := fmt.Sprintf(`{"access_token":{"nbf":{"essential":true,"value":"%d"}}}`, time.Now().Unix())
	return fail(http.StatusUnauthorized, "InvalidAuthenticationToken", "Continuous access evaluation resulted in challenge with result: InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp.").
		with("WWW-Authenticate", `Bearer realm="", `+c.hosts().authorizeURI()+`, error="insufficient_claims", claims="`+
			base64.StdEncoding.EncodeToString([]byte(claims))+`"`)
}

// registeredCert is a certificate whose key may sign client assertions.
type registeredCert struct {
	key                *rsa.PublicKey
	sha1Text           []string // accepted spellings of x5t
	sha256Text         []string // accepted spellings of x5t#S256
	notBefore, expires time.Time
}

func parseCertificates(data []byte) ([]registeredCert, error) {
	var certs []registeredCert
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read registered certificate: %w", err)
		}
		registered, err := registeredFrom(cert)
		if err != nil {
			return nil, err
		}
		certs = append(certs, registered)
	}
	if len(data) > 0 && len(certs) == 0 {
		return nil, fmt.Errorf("read registered certificate: no CERTIFICATE block")
	}
	return certs, nil
}

func registeredFrom(cert *x509.Certificate) (registeredCert, error) {
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return registeredCert{}, fmt.Errorf("read registered certificate: key is %T, not RSA", cert.PublicKey)
	}
	one, two := sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw)
	return registeredCert{key: key, sha1Text: spellings(one[:]), sha256Text: spellings(two[:]),
		notBefore: cert.NotBefore, expires: cert.NotAfter}, nil
}

// spellings lists how a thumbprint may be written: the documentation says
// base64url, MSAL for Go writes standard Base64.
func spellings(sum []byte) []string {
	return []string{base64.RawURLEncoding.EncodeToString(sum), base64.URLEncoding.EncodeToString(sum),
		base64.StdEncoding.EncodeToString(sum)}
}

// keyAmong finds the certificate that the header of a client assertion names.
func keyAmong(certs []registeredCert) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		strong, _ := t.Header["x5t#S256"].(string)
		weak, _ := t.Header["x5t"].(string)
		for _, c := range certs {
			if slices.Contains(c.sha256Text, strong) || (t.Method.Alg() == "RS256" && slices.Contains(c.sha1Text, weak)) {
				return c.key, nil
			}
		}
		return nil, fmt.Errorf("the certificate with the thumbprint of the assertion is not registered")
	}
}

// proofAudience is what a proof of possession is for ("Generate proof of possession tokens
// for rolling keys").
const proofAudience = "00000002-0000-0000-c000-000000000000"

// checkProof holds the proof of addKey and removeKey against the application's own keys.
// Which header names the key is not documented: any valid key may have signed it.
func (c *call) checkProof(r *registration, proof string) error {
	refused := fail(http.StatusForbidden, "Authorization_RequestDenied", "The proof is missing, expired, or not signed by a key of the application.")
	if c.app != r.appID && !slices.ContainsFunc(rolesApplicationsWrite, func(role string) bool { return slices.Contains(c.roles, role) }) {
		return requestDenied()
	}
	certs, _ := r.credentialsOf(time.Now())
	for _, cert := range certs {
		var claims jwt.RegisteredClaims
		_, err := jwt.ParseWithClaims(proof, &claims, func(*jwt.Token) (any, error) { return cert.key, nil },
			jwt.WithValidMethods([]string{"RS256", "PS256"}), jwt.WithExpirationRequired(), jwt.WithAudience(proofAudience), jwt.WithIssuer(r.id))
		if err == nil && claims.NotBefore != nil && claims.ExpiresAt.Sub(claims.NotBefore.Time) <= 10*time.Minute {
			return nil
		}
	}
	return refused
}

// serveKeys publishes the key that access tokens are signed with.
func (s *Server) serveKeys(w http.ResponseWriter) {
	pub := s.tokenKey.PublicKey
	writeJSON(w, http.StatusOK, map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": s.keyID,
		"n": base64.RawURLEncoding.EncodeToString(pub.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(pub.E)).Bytes()),
	}}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}
