package app

import (
	"cmp"
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// applicationAge is how long a tenant's application is believed before the catalog is asked again: so soon a
	// changed credential is used.
	applicationAge = 15 * time.Second
	// applicationsKept bounds how many are remembered.
	applicationsKept = 10_000
	// applicationTime bounds one look, and noting what Microsoft said.
	applicationTime = 10 * time.Second
)

// applications finds the applications of tenants, and the provider's that were changed without a restart, in the
// catalog. It opens what is wrapped there; nothing secret leaves the process's memory. On a worker outside the
// provider's is known by its tokens alone. Safe for concurrent use.
type applications struct {
	cat       *catalog.Catalog
	ring      repository.Keyring
	tokenFile string    // of federated credentials
	fleet     bool      // those of the provider are for this cloud, and the ring opens them
	fleetOnly bool      // tenants' own are not looked at
	door      tokenDoor // hands out tokens to a worker outside, which has no credential of the provider; nil: it has
	clientID  string    // of the provider's application
	log       *zap.Logger

	mu    sync.Mutex
	known map[applicationOf]knownApplication
}

type applicationOf struct {
	tenant  tenantry.TenantID
	purpose tenantry.Purpose
}

type knownApplication struct {
	app *graph.Application // nil: the configured one
	at  time.Time
}

func newApplications(cat *catalog.Catalog, ring repository.Keyring, tokenFile string, fleet bool, log *zap.Logger) *applications {
	return &applications{cat: cat, ring: ring, tokenFile: tokenFile, fleet: fleet, log: log, known: map[applicationOf]knownApplication{}}
}

// Application implements graph.Applications: the tenant's own, else the provider's. A restore goes by the one for
// restores, if there is one.
func (a *applications) Application(ctx context.Context, tenant tenantry.TenantID, purpose tenantry.Purpose) (*graph.Application, error) {
	key := applicationOf{tenant, purpose}
	a.mu.Lock()
	k, ok := a.known[key]
	a.mu.Unlock()
	if ok && time.Since(k.at) < applicationAge {
		return k.app, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), applicationTime)
	defer cancel()
	app, err := a.find(ctx, tenant, purpose)
	if err != nil {
		if ok && tenantry.KindOf(err) != tenantry.WrongKey {
			return k.app, nil // SQL is away: what was true a moment ago
		}
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) >= applicationsKept {
		clear(a.known)
	}
	a.known[key] = knownApplication{app, time.Now()}
	return app, nil
}

func (a *applications) find(ctx context.Context, tenant tenantry.TenantID, purpose tenantry.Purpose) (*graph.Application, error) {
	var own []catalog.Credential
	var err error
	if !a.fleetOnly {
		if own, err = a.cat.Tenant(tenant).Credentials(ctx); err != nil {
			return nil, err
		}
	}
	var fleet []catalog.Credential
	if a.fleet {
		if fleet, err = a.cat.Fleet().Credentials(ctx); err != nil {
			return nil, err
		}
	}
	purposes := []tenantry.Purpose{purpose}
	if purpose != tenantry.ToBackup {
		purposes = append(purposes, tenantry.ToBackup)
	}
	for _, of := range []struct {
		owner tenantry.TenantID
		list  []catalog.Credential
	}{{tenant, own}, {tenantry.FleetOwner, fleet}} {
		for _, p := range purposes {
			app, err := a.open(ctx, of.owner, p, of.list)
			if app != nil || err != nil {
				return app, err
			}
		}
	}
	if a.door != nil {
		return a.given(tenant, purpose), nil
	}
	return nil, nil
}

// open makes the application of an owner for a purpose: the newest credential names it, and those of the same
// application overlap with it.
func (a *applications) open(ctx context.Context, owner tenantry.TenantID, purpose tenantry.Purpose, list []catalog.Credential) (*graph.Application, error) {
	var app *graph.Application
	var failed error
	for _, c := range list {
		if c.Purpose != purpose || (app != nil && app.ClientID != c.ClientID) {
			continue
		}
		proof, err := a.proof(ctx, owner, c)
		if err != nil {
			failed = err
			continue
		}
		if app == nil {
			app = &graph.Application{ClientID: c.ClientID, Fleet: owner == tenantry.FleetOwner}
		}
		app.Proofs = append(app.Proofs, proof)
	}
	if app == nil {
		return nil, failed
	}
	return app, nil
}

func (a *applications) proof(ctx context.Context, owner tenantry.TenantID, c catalog.Credential) (graph.Proof, error) {
	p := graph.Proof{ID: c.ID}
	if c.Kind == catalog.Federated {
		if a.tokenFile == "" {
			return p, tenantry.Errorf(tenantry.Shared, "credential %s is federated, and this worker has no federated-token-file", c.ID)
		}
		p.TokenFile = a.tokenFile
		return p, nil
	}
	plain, err := a.ring.Unwrap(ctx, owner, c.KeyID, c.Wrapped)
	if err != nil {
		return p, err
	}
	secret, err := tenantry.OpenCredentialSecret(plain, c.ID)
	p.Secret, p.Certificate = secret.Secret, secret.Certificate
	return p, err
}

// Told implements graph.Applications: it keeps what Microsoft said, where people see it.
func (a *applications) Told(ctx context.Context, tenant tenantry.TenantID, proof string, refusal error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), applicationTime)
	defer cancel()
	text, now := "", time.Now()
	if refusal != nil {
		text = cmp.Or(tenantry.CodeOf(refusal), string(tenantry.KindOf(refusal)))
	}
	scope := a.cat.Tenant(tenant)
	err := scope.CredentialTold(ctx, proof, text, now)
	if err == nil {
		err = a.cat.Fleet().CredentialTold(ctx, proof, text, now) // IDs are unique: it is one of the two
	}
	if err == nil && refusal != nil {
		a.mu.Lock()
		clear(a.known) // it may have been changed meanwhile
		a.mu.Unlock()
	}
	if err != nil {
		a.log.Warn("what became of a credential could not be noted", zap.String("tenant", string(tenant)), zap.Error(err))
	}
}
