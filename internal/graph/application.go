package graph

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Application is an Entra registration and what proves to be it.
type Application struct {
	ClientID string
	// Proofs are tried in their order: the newest first, so that an old one overlaps with it while it is
	// rotated. Never empty.
	Proofs []Proof
	// Fleet says that it is the provider's own: what is wrong with it is wrong for every tenant.
	Fleet bool
}

// mark tells applications apart, and what each of them is proved by.
func (a *Application) mark() string {
	h := sha256.New()
	for _, p := range a.Proofs {
		fmt.Fprintf(h, "%q %q %q\n", p.Secret.Reveal(), p.Certificate.Reveal(), p.TokenFile)
	}
	return a.ClientID + " " + hex.EncodeToString(h.Sum(nil))
}

// Proof is one way to prove to be an application: exactly one of secret, certificate, token file and giver.
type Proof struct {
	ID          string          // for Told
	Secret      tenantry.Secret // client secret
	Certificate tenantry.Secret // PEM of a certificate and its RSA key
	TokenFile   string          // holds a JWT of an issuer that the registration trusts; read for every token
	Giver       Giver           // has the credential in our place
}

// Giver gives the tokens of an application whose credential this process has not got. Each is asked for when the one
// before ends or was refused: a giver gives a new one every time. Asked at most once at a time for a tenant and a purpose.
type Giver interface {
	Give(ctx context.Context) (Token, error)
}

// Token is an access token for Graph.
type Token struct {
	Value   tenantry.Secret
	Expires time.Time // zero: not known
}

// Applications finds the application by which a tenant is spoken to. Called before each token is asked for and
// at most once per request, from any goroutine; it answers from memory nearly always.
type Applications interface {
	// Application returns the tenant's; none, the client's own.
	Application(ctx context.Context, t tenantry.TenantID, purpose tenantry.Purpose) (*Application, error)
	// Told hears what Microsoft said to a proof: nil, it was accepted.
	Told(ctx context.Context, t tenantry.TenantID, proof string, refusal error)
}

// credentials completes a token request with the proof.
func (p Proof) credentials(cfg *clientcredentials.Config, now time.Time) error {
	var assertion string
	switch {
	case !p.Certificate.IsZero():
		certificate, err := tenantry.ReadCertificate([]byte(p.Certificate.Reveal()))
		if err != nil {
			return err
		}
		if assertion, err = newSigner(certificate.DER, certificate.Key).assertion(cfg.ClientID, cfg.TokenURL, now); err != nil {
			return tenantry.E(tenantry.Invalid, "sign the client assertion", err)
		}
	case p.TokenFile != "":
		text, err := os.ReadFile(p.TokenFile)
		if err != nil {
			return &tenantry.Error{Kind: tenantry.Shared, Op: "read the federated token", Code: "credential", Err: err}
		}
		assertion = strings.TrimSpace(string(text))
	default:
		cfg.ClientSecret = p.Secret.Reveal()
		return nil
	}
	cfg.EndpointParams = url.Values{
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion},
	}
	return nil
}

// prove asks for a token with each proof of an application until one is accepted. The error is the first one's:
// the newest is what should work.
func (t *tokens) prove(ctx context.Context, w holder, app *Application) (token, error) {
	var first error
	for _, proof := range app.Proofs {
		cfg := clientcredentials.Config{
			ClientID: app.ClientID, TokenURL: t.at.tokenURL(w.directory), Scopes: []string{t.at.scope},
			AuthStyle: oauth2.AuthStyleInParams, // Entra takes both; detecting would ask twice
		}
		k, err := t.ask(ctx, cfg, proof)
		refused := credentialRefused(err)
		if err != nil && !app.Fleet {
			err = ofTenant(err)
		}
		if proof.ID != "" && t.apps != nil && (err == nil || refused) {
			t.apps.Told(ctx, w.tenant, proof.ID, err)
		}
		if err == nil {
			return k, nil
		}
		if first == nil {
			first = err
		}
		if !refused {
			break // another proof would not help
		}
	}
	return token{}, first
}

func (t *tokens) ask(ctx context.Context, cfg clientcredentials.Config, proof Proof) (token, error) {
	const op = "get a token"
	if proof.Giver != nil {
		given, err := proof.Giver.Give(ctx)
		return newToken(given.Value.Reveal(), given.Expires, time.Now()), err
	}
	if err := proof.credentials(&cfg, time.Now()); err != nil {
		return token{}, err
	}
	got, err := cfg.Token(context.WithValue(ctx, oauth2.HTTPClient, t.http))
	if err != nil {
		return token{}, refused(op, err, time.Now())
	}
	return newToken(got.AccessToken, got.Expiry, time.Now()), nil
}

// credentialRefused reports whether an error is about the proof itself ("Microsoft Entra authentication and
// authorization error codes").
func credentialRefused(err error) bool {
	switch tenantry.CodeOf(err) {
	case "AADSTS7000215", "AADSTS7000222", "AADSTS700027", "AADSTS50012", "AADSTS700030", "AADSTS50027", "AADSTS70021":
		return true
	}
	return tenantry.KindOf(err) == tenantry.Invalid
}

// given reports whether tokens of the application come from a giver, and so for one tenant and purpose each.
func (a *Application) given() bool { return len(a.Proofs) > 0 && a.Proofs[0].Giver != nil }

// ofTenant turns what is wrong with a tenant's own application into that tenant's affair: it must not stop the
// fleet.
func ofTenant(err error) error {
	code := tenantry.CodeOf(err)
	if kind := tenantry.KindOf(err); (kind != tenantry.Shared && kind != tenantry.Invalid) || code == "credential" {
		return err
	}
	return &tenantry.Error{
		Kind: tenantry.Reconnect, Op: "the tenant's own application or its credential is not accepted: change it", Code: code, Err: err,
	}
}
