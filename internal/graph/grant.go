package graph

import (
	"context"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Grant is what a fresh token says about a tenant's consent. Missing roles do
// not prove missing access (Exchange grants by its own RBAC, too) and present
// ones do not prove access to one mailbox: probe what matters.
type Grant struct {
	DirectoryID string    // the tenant's GUID
	Roles       []string  // consented application permissions, like "Mail.Read"
	Expires     time.Time // when this token ends
}

// Grant asks for a fresh token and tells what it says. It asks even if a token
// is at hand: a consent that was just given or revoked shows only in a new one.
// Reconnect means no consent, Shared that our own credential is at fault.
//
// Consent takes minutes to spread: right after it, Reconnect may still pass.
func (t *Tenant) Grant(ctx context.Context) (Grant, error) {
	var grant Grant
	err := t.client.policy.retry(ctx, false, func() error {
		k, err := t.client.tokens.fetch(ctx, t.holder(), true)
		if err != nil {
			return err
		}
		grant, err = readGrant(k.value)
		return err
	})
	return grant, err
}

// readGrant decodes the token without verifying it: it came from the login host
// over TLS, and nothing is decided by it that Graph does not decide again.
func readGrant(token string) (Grant, error) {
	const op = "read the token's claims"
	var claims struct {
		jwt.RegisteredClaims
		Tenant string   `json:"tid"`
		Roles  []string `json:"roles"`
	}
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil {
		return Grant{}, tenantry.E(tenantry.Internal, op, errors.New("the token is not a JWT")) // the cause may show it
	}
	if claims.Tenant == "" || claims.ExpiresAt == nil {
		return Grant{}, tenantry.E(tenantry.Internal, op, errors.New("tid or exp is missing"))
	}
	return Grant{DirectoryID: claims.Tenant, Roles: claims.Roles, Expires: claims.ExpiresAt.Time}, nil
}
