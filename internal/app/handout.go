package app

import (
	"cmp"
	"context"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/gateway"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// issuers get tokens of the provider's applications for workers outside (gateway.Tokens). They go by the provider's
// credentials alone, those in the catalog and those of the configuration: a tenant's own stand in rows that such a worker may write.
type issuers struct {
	own string
	in  map[string]*graph.Issuer // by cloud
}

// newIssuers opens one for each cloud in which the fleet has an application. home opens the provider's credentials.
func newIssuers(cfg Config, cat *catalog.Catalog, home repository.Keyring, log *zap.Logger) (issuers, error) {
	all := issuers{own: cfg.Cloud, in: map[string]*graph.Issuer{}}
	for _, cloud := range cfg.cloudNames() {
		in, _ := cfg.at(cloud)
		apps := newApplications(cat, home, in.FederatedTokenFile, cloud == cfg.Cloud, log)
		apps.fleetOnly = true
		graphCfg := graphConfig(in)
		graphCfg.Applications = apps
		issuer, err := graph.NewIssuer(graphCfg)
		if err != nil {
			// The configuration may be the workers', and name what is on their machines alone: nobody else is worse off.
			log.Warn("the configured credential of the provider's application is of no use here: workers outside get no tokens by it", zap.String("cloud", cloud), zap.Error(err))
			graphCfg.Secret, graphCfg.Certificate, graphCfg.TokenFile = tenantry.Secret{}, "", ""
			if issuer, err = graph.NewIssuer(graphCfg); err != nil {
				return all, err
			}
		}
		all.in[cloud] = issuer
	}
	return all, nil
}

// Has implements gateway.Tokens, as does Token.
func (i issuers) Has(ctx context.Context, cloud string) (bool, error) {
	issuer, ok := i.in[cmp.Or(cloud, i.own)]
	if !ok {
		return false, nil
	}
	return issuer.Ready(ctx)
}

func (i issuers) Token(ctx context.Context, t tenantry.TenantID, cloud, directory string, purpose tenantry.Purpose) (gateway.Token, error) {
	issuer, ok := i.in[cmp.Or(cloud, i.own)]
	if !ok {
		return gateway.Token{}, notInCloud(cloud)
	}
	got, err := issuer.Issue(ctx, t, directory, purpose)
	return gateway.Token(got), err
}

// given is the provider's application as a worker outside speaks by it: with tokens that the door hands out.
func (a *applications) given(tenant tenantry.TenantID, purpose tenantry.Purpose) *graph.Application {
	// What is wrong with getting one is told with its kind by the door, which knows whose fault it is: Fleet leaves it.
	return &graph.Application{ClientID: a.clientID, Fleet: true, Proofs: []graph.Proof{{Giver: handedOut{a.door, tenant, purpose}}}}
}

// tokenDoor hands out tokens (*gateway.Client, which says more). Called when one is wanted that is not at hand, by many
// goroutines.
type tokenDoor interface {
	Token(ctx context.Context, t tenantry.TenantID, purpose tenantry.Purpose) (gateway.Token, error)
}

// handedOut asks the door for the tokens of one tenant.
type handedOut struct {
	door    tokenDoor
	tenant  tenantry.TenantID
	purpose tenantry.Purpose
}

// Give implements graph.Giver.
func (h handedOut) Give(ctx context.Context) (graph.Token, error) {
	got, err := h.door.Token(ctx, h.tenant, h.purpose)
	return graph.Token(got), err
}
