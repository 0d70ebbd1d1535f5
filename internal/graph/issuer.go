package graph

import (
	"context"
	"fmt"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Issuer asks Microsoft for tokens that others speak with: it keeps none and speaks to Graph itself never. Safe for
// concurrent use.
type Issuer struct{ tokens *tokens }

// NewIssuer returns the issuer of an application in a cloud, whose credential is in cfg or comes from cfg.Applications, which
// is required. Errors are as those of [New].
func NewIssuer(cfg Config) (*Issuer, error) {
	at, err := resolve(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.ClientID == "" || cfg.Applications == nil {
		return nil, tenantry.Errorf(tenantry.Invalid, "client-id: missing: the application ID of the Entra registration")
	}
	tokens, err := newTokens(cfg, at, transport())
	if err != nil {
		return nil, err
	}
	return &Issuer{tokens}, nil
}

// Ready reports whether there is a credential to get tokens with.
func (i *Issuer) Ready(ctx context.Context) (bool, error) {
	app, _, err := i.tokens.application(ctx, holder{purpose: tenantry.ToBackup})
	return err == nil && len(app.Proofs) > 0, err
}

// Issue asks for a new token for the Graph of one directory (its GUID, or one of its domains), which lives as long as its
// organisation says. Errors are those of every token; Denied, with the code no_credential, if there is none.
func (i *Issuer) Issue(ctx context.Context, t tenantry.TenantID, directory string, purpose tenantry.Purpose) (Token, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	w := holder{tenant: t, directory: directory, purpose: purpose}
	app, _, err := i.tokens.application(ctx, w)
	if err != nil {
		return Token{}, err
	}
	if len(app.Proofs) == 0 {
		return Token{}, &tenantry.Error{Kind: tenantry.Denied, Code: "no_credential", Op: "get a token",
			Err: fmt.Errorf("this process has no credential of the application %s", app.ClientID)}
	}
	k, err := i.tokens.request(ctx, w, app)
	if err != nil {
		return Token{}, err
	}
	return Token{Value: tenantry.NewSecret(k.value), Expires: k.expires}, nil
}
