package app

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Init makes the catalog and the key file if they are not there and adds an API token
// under the given name. The token is returned once: only its hash is kept.
func Init(ctx context.Context, cfg Config, name string) (tenantry.Secret, error) {
	cat, err := catalog.Open(ctx, cfg.Catalog)
	if err != nil {
		return tenantry.Secret{}, err
	}
	defer func() { _ = cat.Close() }()
	if _, err := openKeys(ctx, cfg); err != nil {
		return tenantry.Secret{}, err
	}
	random := make([]byte, 24)
	_, _ = rand.Read(random) // never fails since Go 1.24
	token := "tenantry_" + base64.RawURLEncoding.EncodeToString(random)
	sum := sha256.Sum256([]byte(token))
	if err := cat.Fleet().AddToken(ctx, name, hex.EncodeToString(sum[:]), time.Now()); err != nil {
		return tenantry.Secret{}, err
	}
	return tenantry.NewSecret(token), nil
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
