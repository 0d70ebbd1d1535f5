package app

import (
	"context"
	"errors"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// uploads keep the upload sessions of one task in the catalog, wrapped with its tenant's key. Safe for concurrent use.
type uploads struct {
	scope  *catalog.Tenant
	ring   repository.Keyring
	tenant tenantry.TenantID
	task   tenantry.TaskID
}

var _ tenantry.UploadSessions = uploads{}

// Find implements tenantry.UploadSessions. One that cannot be opened any more is none: the upload begins anew.
func (u uploads) Find(ctx context.Context, name string) (tenantry.Secret, error) {
	kept, err := u.scope.KeptUpload(ctx, u.task, name)
	if tenantry.KindOf(err) == tenantry.NotFound {
		return tenantry.Secret{}, nil
	}
	if err != nil {
		return tenantry.Secret{}, err
	}
	session, err := u.open(ctx, kept)
	if unopenable(err) {
		return tenantry.Secret{}, nil
	}
	return session, err
}

// Keep implements tenantry.UploadSessions.
func (u uploads) Keep(ctx context.Context, name string, session tenantry.Secret, ends time.Time) error {
	plain, err := tenantry.CredentialSecret{ID: u.id(name), Secret: session}.Seal()
	if err != nil {
		return tenantry.E(tenantry.Internal, "keep an upload session", err)
	}
	kept := catalog.KeptUpload{Task: u.task, Name: name, EndsAt: ends}
	if kept.Wrapped, kept.KeyID, err = u.ring.Wrap(ctx, u.tenant, plain); err != nil {
		return err
	}
	return u.scope.KeepUpload(ctx, kept)
}

// Drop implements tenantry.UploadSessions.
func (u uploads) Drop(ctx context.Context, name string) error {
	return u.scope.DropUpload(ctx, u.task, name)
}

func (u uploads) open(ctx context.Context, kept catalog.KeptUpload) (tenantry.Secret, error) {
	plain, err := u.ring.Unwrap(ctx, u.tenant, kept.KeyID, kept.Wrapped)
	if err != nil {
		return tenantry.Secret{}, err
	}
	secret, err := tenantry.OpenCredentialSecret(plain, u.id(kept.Name))
	return secret.Secret, err
}

// id is what a wrapped session names, so that no other's can be put into its place.
func (u uploads) id(name string) string { return "upload " + string(u.task) + " " + name }

// unopenable reports whether what is wrapped will never open: its key was destroyed, or it was tampered with.
func unopenable(err error) bool {
	kind := tenantry.KindOf(err)
	return kind == tenantry.WrongKey || kind == tenantry.Corrupt
}

// endUploads has Microsoft drop what the sessions hold that a tenant's ended tasks have left, and forgets them. What it
// cannot reach now it is asked for again by the next call, until Microsoft ends it by itself.
func endUploads(ctx context.Context, g *graph.Tenant, scope *catalog.Tenant, ring repository.Keyring, tenant tenantry.TenantID) error {
	left, err := scope.LeftUploads(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, kept := range left {
		u := uploads{scope, ring, tenant, kept.Task}
		if err := u.end(ctx, g, kept); err != nil {
			failed = append(failed, err)
			continue
		}
		if err := u.Drop(ctx, kept.Name); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// end returns nil if nothing is to be ended any more, or ever can.
func (u uploads) end(ctx context.Context, g *graph.Tenant, kept catalog.KeptUpload) error {
	if !kept.EndsAt.IsZero() && kept.EndsAt.Before(time.Now()) {
		return nil
	}
	session, err := u.open(ctx, kept)
	if err == nil {
		err = g.EndUpload(ctx, session)
	}
	if unopenable(err) || tenantry.KindOf(err) == tenantry.Invalid {
		return nil
	}
	return err
}
