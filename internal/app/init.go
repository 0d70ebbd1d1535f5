package app

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/internal/api"
	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Init makes the catalog and the key file if they are not there and adds an API token
// of the provider's administrator under the given name. The token is returned once: only its hash is kept.
func Init(ctx context.Context, cfg Config, name string) (tenantry.Secret, error) {
	cat, err := catalog.Open(ctx, cfg.Catalog)
	if err != nil {
		return tenantry.Secret{}, err
	}
	defer func() { _ = cat.Close() }()
	if _, err := openKeys(ctx, cfg); err != nil {
		return tenantry.Secret{}, err
	}
	token, hash := api.NewToken()
	admin := catalog.Token{Name: name, Role: string(api.ProviderAdmin), CreatedBy: "tenantry init", CreatedAt: time.Now()}
	if err := cat.Fleet().AddToken(ctx, admin, hash); err != nil {
		return tenantry.Secret{}, err
	}
	return token, nil
}

// openCatalog opens the catalog of a program that serves, which migrates it unless another is to.
func openCatalog(ctx context.Context, cfg Config) (*catalog.Catalog, error) {
	if cfg.Migrate {
		return catalog.Open(ctx, cfg.Catalog)
	}
	return catalog.OpenAsIs(ctx, cfg.Catalog)
}

// Migrate brings the catalog's schema to what this release needs. Every program does so
// at its start; before a rolling upgrade it is done once, apart.
func Migrate(ctx context.Context, cfg Config) error {
	cat, err := catalog.Open(ctx, cfg.Catalog)
	if err != nil {
		return err
	}
	return cat.Close()
}
