package app

import (
	"context"

	"github.com/tenantry/tenantry/internal/directory"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// signIns is what a registration asks of Microsoft through the worker's Graph client.
type signIns struct{ *graph.Client }

// SignedIn implements directory.SignIns.
func (s signIns) SignedIn(t tenantry.TenantID, name string, token tenantry.Secret) directory.Registrar {
	return s.Client.SignedIn(t, name, token)
}

// GrantOf implements directory.SignIns.
func (s signIns) GrantOf(ctx context.Context, t tenantry.TenantID, name string, app graph.Application) (graph.Grant, error) {
	return s.Tenant(t, name).With(&app).Grant(ctx)
}

// KeyRoller implements directory.SignIns.
func (s signIns) KeyRoller(t tenantry.TenantID, name string, app graph.Application) directory.KeyRoller {
	return s.Client.KeyRoller(t, name, app)
}
