package signin

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Session is what a program without a browser keeps of a sign-in. IDToken and Refresh are
// credentials.
type Session struct {
	Issuer   string    `json:"issuer"`
	ClientID string    `json:"client_id"`
	IDToken  string    `json:"id_token"`
	Refresh  string    `json:"refresh_token,omitempty"`
	Expires  time.Time `json:"expires"` // of IDToken
}

// Device signs somebody in who opens a page anywhere and types a code (RFC 8628). show is
// told both; page may hold the code already. It waits until they did, at most as long as
// the provider lets them. Errors: Unauthorized when they refused or took too long, Invalid
// when the provider has no such way, Transient.
func Device(ctx context.Context, issuer, clientID string, show func(page, code string)) (Session, error) {
	s := Session{Issuer: issuer, ClientID: clientID}
	cfg, ctx, err := s.oauth(ctx)
	if err != nil {
		return s, err
	}
	if cfg.Endpoint.DeviceAuthURL == "" {
		return s, tenantry.Errorf(tenantry.Invalid, "sign in: %s cannot sign in without a browser: use a token", issuer)
	}
	ask, err := cfg.DeviceAuth(ctx)
	if err != nil {
		return s, refusedOrAway("sign in: ask for a code", err)
	}
	page := ask.VerificationURI
	if ask.VerificationURIComplete != "" {
		page = ask.VerificationURIComplete
	}
	show(page, ask.UserCode)
	token, err := cfg.DeviceAccessToken(ctx, ask)
	if err != nil {
		return s, refusedOrAway("sign in: wait for the code to be typed", err)
	}
	return s.with(token)
}

// Fresh returns the session with an ID token that is valid for a minute at least. Errors:
// Unauthorized when somebody has to sign in again, Transient.
func (s Session) Fresh(ctx context.Context, now time.Time) (Session, error) {
	switch {
	case now.Add(time.Minute).Before(s.Expires):
		return s, nil
	case s.Refresh == "":
		return s, tenantry.Errorf(tenantry.Unauthorized, "the sign-in ended at %s", s.Expires.UTC().Format(time.RFC3339))
	}
	cfg, ctx, err := s.oauth(ctx)
	if err != nil {
		return s, err
	}
	token, err := cfg.TokenSource(ctx, &oauth2.Token{RefreshToken: s.Refresh}).Token()
	if err != nil {
		return s, refusedOrAway("renew the sign-in", err)
	}
	return s.with(token)
}

// oauth asks the issuer for its endpoints.
func (s Session) oauth(ctx context.Context) (*oauth2.Config, context.Context, error) {
	if u, err := url.Parse(s.Issuer); err != nil || u.Scheme != "https" && !loopback(u) {
		return nil, ctx, tenantry.Errorf(tenantry.Invalid, "sign in: %q is no https URL", s.Issuer)
	}
	ctx = oidc.ClientContext(ctx, &http.Client{Timeout: requestTimeout})
	provider, err := oidc.NewProvider(ctx, s.Issuer)
	if err != nil {
		return nil, ctx, tenantry.E(tenantry.Transient, "ask "+s.Issuer+" how to sign in", err)
	}
	return &oauth2.Config{ClientID: s.ClientID, Endpoint: provider.Endpoint(),
		Scopes: []string{oidc.ScopeOpenID, "profile", "email", oidc.ScopeOfflineAccess}}, ctx, nil
}

// with takes over what the provider answered. The token is for the API to verify; here only
// its end is read.
func (s Session) with(token *oauth2.Token) (Session, error) {
	raw, _ := token.Extra("id_token").(string)
	id, err := oidc.NewVerifier(s.Issuer, nil, &oidc.Config{ClientID: s.ClientID, InsecureSkipSignatureCheck: true}).Verify(context.Background(), raw)
	if err != nil {
		return s, tenantry.E(tenantry.Unauthorized, "sign in: read the token", err)
	}
	s.IDToken, s.Expires = raw, id.Expiry
	if token.RefreshToken != "" {
		s.Refresh = token.RefreshToken
	}
	return s, nil
}
