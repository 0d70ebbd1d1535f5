package graphsim

import (
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const keyID = "graphsim-1"

// accessClaims is what an access token says.
type accessClaims struct {
	jwt.RegisteredClaims
	TenantID string   `json:"tid"`
	AppID    string   `json:"appid"`
	Roles    []string `json:"roles,omitempty"`
	Version  string   `json:"ver"`
	// Serial rises when a tenant's tokens are refused as a whole.
	Serial int `json:"sim_serial,omitempty"`
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

func (s *Server) issueToken(t *Tenant, audience, host string) (string, error) {
	now := time.Now()
	roles, serial := t.grant()
	claims := accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: host + "/" + t.id + "/", Audience: jwt.ClaimStrings{audience},
			Subject: guid(mixString(t.seed, s.o.ClientID)), IssuedAt: jwt.NewNumericDate(now),
			NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(s.o.TokenLife)),
		},
		TenantID: t.id, AppID: s.o.ClientID, Roles: roles, Version: "1.0", Serial: serial,
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = keyID
	return token.SignedString(s.tokenKey)
}

// authenticate returns the tenant a Graph request speaks for, and its roles.
func (s *Server) authenticate(r *http.Request) (*Tenant, []string, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return nil, nil, unauthenticated("Access token is empty.")
	}
	claims := s.tokens.get(token)
	if claims == nil {
		claims = &accessClaims{}
		_, err := jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return &s.tokenKey.PublicKey, nil },
			jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired())
		if err != nil {
			return nil, nil, unauthenticated("Access token validation failure: %v", err)
		}
		s.tokens.put(token, claims)
	}
	if time.Now().After(claims.ExpiresAt.Time) {
		return nil, nil, unauthenticated("Lifetime validation failed, the token is expired.")
	}
	if !slices.ContainsFunc(claims.Audience, func(a string) bool { return isGraph(a, r.Host) }) {
		return nil, nil, unauthenticated("Access token validation failure. Invalid audience.")
	}
	t := s.Tenant(claims.TenantID)
	if t == nil || !t.accepts(claims.Serial) {
		return nil, nil, unauthenticated("Access token has been revoked.")
	}
	return t, claims.Roles, nil
}

// isGraph reports whether an audience or resource is Graph: under its public name
// or under the address the simulator is reached by.
func isGraph(resource, host string) bool {
	return resource == "https://graph.microsoft.com" || resource == "http://"+host
}

func unauthenticated(format string, args ...any) *apiError {
	return fail(http.StatusUnauthorized, "InvalidAuthenticationToken", format, args...).
		with("WWW-Authenticate", `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize"`)
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
		key, ok := cert.PublicKey.(*rsa.PublicKey)
		if !ok {
			return nil, fmt.Errorf("read registered certificate: key is %T, not RSA", cert.PublicKey)
		}
		one, two := sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw)
		certs = append(certs, registeredCert{key: key, sha1Text: spellings(one[:]), sha256Text: spellings(two[:]),
			notBefore: cert.NotBefore, expires: cert.NotAfter})
	}
	if len(data) > 0 && len(certs) == 0 {
		return nil, fmt.Errorf("read registered certificate: no CERTIFICATE block")
	}
	return certs, nil
}

// spellings lists how a thumbprint may be written: the documentation says
// base64url, MSAL for Go writes standard Base64.
func spellings(sum []byte) []string {
	return []string{base64.RawURLEncoding.EncodeToString(sum), base64.URLEncoding.EncodeToString(sum),
		base64.StdEncoding.EncodeToString(sum)}
}

// assertionKey finds the certificate that the header of a client assertion names.
func (s *Server) assertionKey(t *jwt.Token) (any, error) {
	strong, _ := t.Header["x5t#S256"].(string)
	weak, _ := t.Header["x5t"].(string)
	for _, c := range s.certs {
		if slices.Contains(c.sha256Text, strong) || (t.Method.Alg() == "RS256" && slices.Contains(c.sha1Text, weak)) {
			return c.key, nil
		}
	}
	return nil, fmt.Errorf("the certificate with the thumbprint of the assertion is not registered")
}

// serveKeys publishes the key that access tokens are signed with.
func (s *Server) serveKeys(w http.ResponseWriter) {
	pub := s.tokenKey.PublicKey
	writeJSON(w, http.StatusOK, map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": keyID,
		"n": base64.RawURLEncoding.EncodeToString(pub.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(pub.E)).Bytes()),
	}}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}
