package directory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// The certificates that registrations made are rotated by the syncs of their tenant, each of which goes as far as it
// can. No step is lost with a worker, and each may be repeated:
//
//	used --[it ends within Config.RotateBefore, or somebody asked]--> another is made, wrapped in SQL with the purpose rotate: one of an application
//	rotate --[Microsoft takes it, since the one in use signed for it]--> offered
//	offered --[a token by it alone, and again RotateSettle later]--> used: it is tried first, and both work
//	the older one --[RotateOverlap later, with a token by the new one alone]--> removed at Microsoft, and here
//
// A sync that leaves a rotation half done has the next one come when that can go on, not a day later.
//
// What is in the way is kept with the credential, and told with the alarm of its end a month before. One that has
// ended cannot sign for another: a person registers the application again, which is found.

// KeyRoller changes the certificates of the application that it speaks as (*graph.KeyRoller, which says more).
type KeyRoller interface {
	AddKey(ctx context.Context, objectID, name string, holder, fresh tenantry.Certificate) (remoteKey string, err error)
	RemoveKey(ctx context.Context, objectID, remoteKey string, holder tenantry.Certificate) error
}

// The usual Config of rotations.
const (
	// rotateBefore is how long before its end a certificate is rotated: a month before the first warning.
	rotateBefore = 2 * catalog.CredentialSoon
	// rotateOverlap is how long the old one stays beside the new one.
	rotateOverlap = 7 * 24 * time.Hour
	// rotateRetry is when a rotation that somebody asked for is tried again after it failed.
	rotateRetry = time.Hour
)

// rotation is the rotation of the certificates of the application that a tenant is spoken to by.
type rotation struct {
	*Directory
	tenant    tenantry.TenantID
	scope     *catalog.Tenant
	directory string
	current   catalog.Credential   // the newest in use
	older     []catalog.Credential // of the same application, in use, too
	next      *catalog.Credential  // to be used; nil: none
	strays    []catalog.Credential // were to be used, and are of no use any more
}

// rotate goes on with the rotation of the tenant's registered certificates. What cannot be done now is done by a later
// sync; it keeps nothing else from going on.
func (s *syncing) rotate(ctx context.Context, directory string) {
	if s.cfg.SignIns == nil || s.cfg.Keys == nil {
		return
	}
	list, err := s.scope.Credentials(ctx)
	if err != nil {
		s.cfg.Log.Warnw("the tenant's certificates cannot be looked at; the next sync does", "tenant", s.tenant, "error", err)
		return
	}
	r := rotation{Directory: s.Directory, tenant: s.tenant, scope: s.scope, directory: directory}
	r.sort(list)
	err = r.step(ctx)
	s.again = r.again(err)
	if tenantry.KindOf(err) == tenantry.Conflict {
		return // another worker is at it
	}
	stuck := ""
	if err != nil {
		s.cfg.Log.Warnw("a certificate cannot be rotated now; the next sync tries again", "tenant", s.tenant, "credential", r.current.ID, "error", err)
		stuck = err.Error()
	}
	if stuck == r.current.Stuck || r.current.ID == "" {
		return
	}
	if err := s.scope.CredentialStuck(ctx, r.current.ID, stuck); err != nil {
		s.cfg.Log.Warnw("why a certificate cannot be rotated could not be noted", "tenant", s.tenant, "error", err)
	}
}

// rotationAsked reports whether somebody has asked for a rotation since this sync looked for that.
func (s *syncing) rotationAsked(ctx context.Context, began time.Time) bool {
	list, err := s.scope.Credentials(ctx)
	if err != nil {
		s.cfg.Log.Warnw("the tenant's certificates cannot be looked at; the next sync does", "tenant", s.tenant, "error", err)
	}
	return slices.ContainsFunc(list, func(c catalog.Credential) bool { return c.Purpose == tenantry.ToBackup && c.RotateAt.After(began) })
}

// again is when the rotation can go on; zero: nothing waits for it but time.
func (r *rotation) again(failed error) time.Time {
	now := r.cfg.Now()
	switch {
	case r.current.ObjectID == "":
		return time.Time{}
	case failed != nil && tenantry.KindOf(failed) != tenantry.Conflict:
		if r.current.RotateAt.IsZero() {
			return time.Time{} // the day's sync tries again
		}
		return now.Add(rotateRetry)
	case r.next != nil && r.next.AcceptedAt.IsZero() && now.Sub(r.next.AddedAt) > rotateRetry:
		return time.Time{} // not taken for an hour: it is offered again day by day
	case r.next != nil:
		return now.Add(r.cfg.RotateSettle)
	case len(r.older) > 0 && !r.current.AcceptedAt.IsZero():
		return later(now.Add(r.cfg.RotateSettle), r.current.AcceptedAt.Add(r.cfg.RotateOverlap))
	}
	return time.Time{}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// sort finds what there is to rotate in the tenant's credentials, the newest of which come first. The fleet rotates
// what it registered itself; who gave us another credential renews it.
func (r *rotation) sort(list []catalog.Credential) {
	for _, c := range list {
		switch {
		case c.Purpose != tenantry.ToBackup:
		case r.current.ID == "":
			r.current = c
		case c.ObjectID == r.current.ObjectID:
			r.older = append(r.older, c)
		}
	}
	for _, c := range list {
		switch {
		case c.Purpose != tenantry.ToRotate:
		case r.current.ObjectID != "" && c.ObjectID == r.current.ObjectID && c.AddedAt.After(r.current.AddedAt):
			r.next = &c
		default: // the application was registered again meanwhile, or is used no more
			r.strays = append(r.strays, c)
		}
	}
}

func (r *rotation) step(ctx context.Context) error {
	now := r.cfg.Now()
	for _, c := range r.strays {
		if err := r.forget(ctx, c); err != nil {
			return err
		}
	}
	if r.current.ObjectID == "" {
		return nil
	}
	if r.next == nil {
		if err := r.retire(ctx, now); err != nil {
			return err
		}
		if !now.Before(r.current.ExpiresAt) || (r.current.RotateAt.IsZero() && r.current.ExpiresAt.Sub(now) > r.cfg.RotateBefore) {
			return nil
		}
		if err := r.prepare(ctx); err != nil {
			return err
		}
	}
	if !r.next.OfferedAt.IsZero() {
		err := r.prove(ctx, *r.next)
		switch {
		case err == nil:
			return r.accepted(ctx, now)
		case !refusedYet(err) || now.Sub(r.next.OfferedAt) < r.cfg.RotateSettle:
			return err
		}
	}
	if err := r.offer(ctx, now); err != nil {
		return err
	}
	if err := r.prove(ctx, *r.next); err == nil {
		return r.accepted(ctx, now)
	}
	return nil // not known everywhere: the next sync asks again
}

// refusedYet reports whether Microsoft does not take the certificate, as it does until all of its nodes know it.
func refusedYet(err error) bool {
	kind := tenantry.KindOf(err)
	return kind == tenantry.Reconnect || kind == tenantry.Invalid || kind == tenantry.Denied
}

// prepare writes the new certificate down before Microsoft hears of it: none is lost.
func (r *rotation) prepare(ctx context.Context) error {
	c, err := r.makeCertificate(ctx, r.tenant, catalog.Credential{
		Purpose: tenantry.ToRotate, ClientID: r.current.ClientID, ObjectID: r.current.ObjectID, Label: r.current.Label, AddedBy: "system",
	})
	if err != nil {
		return err
	}
	if err := r.scope.AddCredential(ctx, c); err != nil {
		return err
	}
	r.next = &c
	return nil
}

// offer has Microsoft take the new certificate.
func (r *rotation) offer(ctx context.Context, now time.Time) error {
	holder, err := r.certificate(ctx, r.current)
	if err != nil {
		return err
	}
	fresh, err := r.certificate(ctx, *r.next)
	if err != nil {
		return err
	}
	roller, err := r.roller(ctx, r.current)
	if err != nil {
		return err
	}
	if err := r.scope.OfferCredential(ctx, r.next.ID, r.next.OfferedAt, now); err != nil {
		return err
	}
	remote, err := roller.AddKey(ctx, r.current.ObjectID, r.next.ID, holder, fresh)
	if err != nil {
		return err
	}
	r.audit(ctx, "credential-offered", fmt.Sprintf("certificate %s (SHA-256 %s) is to take the place of %s, which ends on %s",
		r.next.ID, r.next.Fingerprint, r.current.ID, r.current.ExpiresAt.UTC().Format(time.DateOnly)))
	return r.scope.CredentialKnownAs(ctx, r.next.ID, remote)
}

// accepted uses the new certificate once Microsoft has taken it twice, with some time between.
func (r *rotation) accepted(ctx context.Context, now time.Time) error {
	first := r.next.AcceptedAt
	if err := r.scope.CredentialTold(ctx, r.next.ID, "", now); err != nil {
		return err
	}
	if first.IsZero() {
		r.next.AcceptedAt = now
	}
	if first.IsZero() || now.Sub(first) < r.cfg.RotateSettle {
		return nil
	}
	if err := r.scope.UseCredential(ctx, r.next.ID, tenantry.ToBackup); err != nil {
		return err
	}
	r.audit(ctx, "credential-rotated", fmt.Sprintf("certificate %s, which ends on %s, is used; %s stays beside it for %s",
		r.next.ID, r.next.ExpiresAt.UTC().Format(time.DateOnly), r.current.ID, r.cfg.RotateOverlap))
	r.older = append(r.older, r.current)
	r.current, r.next = *r.next, nil
	return nil
}

// retire removes what the one in use has replaced. That has to be good by itself: without any, none could be added.
func (r *rotation) retire(ctx context.Context, now time.Time) error {
	if len(r.older) == 0 || r.current.AcceptedAt.IsZero() || r.current.Refusal != "" || now.Sub(r.current.AcceptedAt) < r.cfg.RotateOverlap {
		return nil
	}
	if err := r.prove(ctx, r.current); err != nil {
		return err
	}
	holder, err := r.certificate(ctx, r.current)
	if err != nil {
		return err
	}
	roller, err := r.roller(ctx, r.current)
	if err != nil {
		return err
	}
	for _, old := range r.older {
		left, err := removeKey(ctx, roller, old, holder)
		if err != nil {
			return err
		}
		if err := r.forget(ctx, old); err != nil {
			return err
		}
		r.audit(ctx, "credential-retired", "certificate "+old.ID+" was replaced by "+r.current.ID+", and its key is destroyed"+left)
	}
	r.older = nil
	return nil
}

// removeKey takes an old certificate from the application, and says what is left of it there. Its key is ours alone:
// an entry that stays is of no use to anybody, and ends by itself.
func removeKey(ctx context.Context, roller KeyRoller, old catalog.Credential, holder tenantry.Certificate) (left string, err error) {
	stays := "; its entry in Entra stays until " + old.ExpiresAt.UTC().Format(time.DateOnly)
	if old.RemoteKey == "" {
		return stays, nil
	}
	err = roller.RemoveKey(ctx, old.ObjectID, old.RemoteKey, holder)
	switch tenantry.KindOf(err) {
	case "":
		return "", nil
	case tenantry.Invalid, tenantry.NotFound, tenantry.Denied, tenantry.Reconnect:
		return stays + ", unless it is gone: " + err.Error(), nil
	}
	return "", err
}

// forget drops a credential and what was told of it.
func (r *rotation) forget(ctx context.Context, c catalog.Credential) error {
	if err := r.scope.RemoveCredential(ctx, c.ID); err != nil && tenantry.KindOf(err) != tenantry.NotFound {
		return err
	}
	for _, cause := range catalog.CredentialAlarms() {
		if err := r.scope.ClearAlarm(ctx, cause, c.ID); err != nil {
			return err
		}
	}
	return nil
}

// prove asks for a token by one certificate alone.
func (r *rotation) prove(ctx context.Context, c catalog.Credential) error {
	app, err := r.application(ctx, c)
	if err != nil {
		return err
	}
	_, err = r.cfg.SignIns.GrantOf(ctx, r.tenant, r.directory, app)
	return err
}

func (r *rotation) roller(ctx context.Context, c catalog.Credential) (KeyRoller, error) {
	app, err := r.application(ctx, c)
	if err != nil {
		return nil, err
	}
	return r.cfg.SignIns.KeyRoller(r.tenant, r.directory, app), nil
}

func (r *rotation) application(ctx context.Context, c catalog.Credential) (graph.Application, error) {
	secret, err := r.openCredential(ctx, r.tenant, c)
	return graph.Application{ClientID: c.ClientID, Proofs: []graph.Proof{{Certificate: secret.Certificate}}}, err
}

func (r *rotation) certificate(ctx context.Context, c catalog.Credential) (tenantry.Certificate, error) {
	secret, err := r.openCredential(ctx, r.tenant, c)
	if err != nil {
		return tenantry.Certificate{}, err
	}
	return tenantry.ReadCertificate([]byte(secret.Certificate.Reveal()))
}

// audit keeps a step in the audit log; the log of programs stands in when that cannot be written.
func (r *rotation) audit(ctx context.Context, action, detail string) {
	err := r.cfg.Catalog.Fleet().Audit(ctx, catalog.AuditEntry{At: r.cfg.Now(), Actor: "system", Tenant: r.tenant, Action: action, Detail: detail})
	if err != nil {
		r.cfg.Log.Warnw("a step of a rotation could not be audited", "tenant", r.tenant, "step", action, "detail", detail, "error", err)
	}
}
